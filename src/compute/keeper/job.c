/* Jobs: started, waited for, timed, ended. */
#include "compute/keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TICK = 1000, NOTE_AFTER = 20 };

static struct job *take_slot(struct keeper *keeper) {
    if (keeper->running_count == RUNNING_MAXIMUM)
        return NULL;
    uint16_t slot = keeper->running[keeper->running_count++];
    struct job *job = &keeper->jobs[slot];
    *job = (struct job){.outcome = &keeper->outcomes[slot], .log = -1, .network = -1};
    memset(job->outcome, 0, sizeof(*job->outcome));
    return job;
}

static void give_slot_back(struct keeper *keeper, struct job *job) {
    uint16_t slot = (uint16_t)(job - keeper->jobs);
    size_t at = 0;
    while (keeper->running[at] != slot)
        at++;
    keeper->running[at] = keeper->running[--keeper->running_count];
    keeper->running[keeper->running_count] = slot;
}

static struct entry **end_of(struct entry **list) {
    while (*list)
        list = &(*list)->next_follower;
    return list;
}

/* Rounded down from nanoseconds, as the wall clock is: two roundings of their own would now and
 * then let a job end after the next one had started. */
static int64_t milliseconds_since(const struct timespec *begun) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return ((int64_t)(now.tv_sec - begun->tv_sec) * 1000000000 + now.tv_nsec - begun->tv_nsec) /
           1000000;
}

static void mark_start(struct entry *entry) {
    entry->record.started = now_wall();
    (void)clock_gettime(CLOCK_MONOTONIC, &entry->begun);
}

static void finish_entry(struct keeper *keeper, struct entry *entry) {
    entry->job = NULL;
    for (struct entry *follower = entry->followers; follower; follower = follower->next_follower)
        follower->after = NULL;
    *end_of(&keeper->due) = entry->followers;
    entry->followers = NULL;
    entry->record.type = RECORD_EXITED;
    entry->record.ended = entry->record.started + milliseconds_since(&entry->begun);
    if (journal_append(&keeper->journal, &entry->record) < 0)
        record_seal(&entry->record);
}

static void fail_entry(struct keeper *keeper, struct entry *entry, enum stage stage, int number) {
    entry->record.cause = CAUSE_NOT_STARTED;
    entry->record.exit_code = -1;
    entry->record.stage = stage;
    entry->record.number = number;
    finish_entry(keeper, entry);
    keeper_send(keeper, &entry->record);
}

static int open_log(struct job *job, const struct launch *launch) {
    if (!launch->log[0])
        return 0;
    job->log =
        open(launch->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0640);
    uint64_t maximum = launch->message->log_maximum;
    job->log_maximum = maximum ? maximum : DEFAULT_LOG;
    return job->log < 0 ? -1 : 0;
}

static void arm(struct job *job, const struct launch_message *message) {
    int64_t now = now_monotonic();
    job->memory = message->memory;
    job->processes = message->processes ? message->processes : DEFAULT_PROCESSES;
    job->grace = message->grace ? message->grace : DEFAULT_GRACE;
    job->kill_at = INT64_MAX;
    job->note_at = now + NOTE_AFTER;
    job->deadline = message->timeout > 0 && message->timeout < INT64_MAX - now
                        ? now + message->timeout
                        : INT64_MAX;
}

void job_start(struct keeper *keeper, struct entry *entry, const struct launch_message *message) {
    mark_start(entry);
    if (keeper->journal_failed) {
        fail_entry(keeper, entry, STAGE_JOURNAL, ENOSPC);
        return;
    }
    if (launch_parse(keeper, message) < 0) {
        fail_entry(keeper, entry, STAGE_REFUSED, EINVAL);
        return;
    }
    struct job *job = take_slot(keeper);
    if (!job) {
        fail_entry(keeper, entry, STAGE_FULL, 0);
        return;
    }
    const struct launch *launch = &keeper->launch;
    (void)snprintf(entry->record.subject, sizeof(entry->record.subject), "%s",
                   launch->arguments[0]);
    enum stage stage = STAGE_LOG;
    job->entry = entry;
    if (open_log(job, launch) == 0) {
        stage = STAGE_CLONE;
        group_make(keeper->groups, &job->group, message, &job->sandbox);
        arm(job, message);
        job->pid = keeper->boxed ? box_start(keeper, job) : launch_plain(keeper, job);
        if (job->pid > 0) {
            entry->record.pid = job->pid;
            entry->job = job;
            output_watch(keeper, job, launch);
            return;
        }
    }
    int number = errno;
    group_remove(keeper->groups, &job->group);
    if (job->log >= 0)
        close(job->log);
    give_slot_back(keeper, job);
    fail_entry(keeper, entry, stage, number);
}

void job_start_after(struct keeper *keeper, struct entry *entry, struct entry *before,
                     const struct launch_message *message) {
    entry->message = malloc(message->header.size);
    if (!entry->message) {
        mark_start(entry);
        fail_entry(keeper, entry, STAGE_FULL, ENOMEM);
        return;
    }
    memcpy(entry->message, message, message->header.size);
    entry->after = before;
    *end_of(&before->followers) = entry;
}

void job_start_due(struct keeper *keeper) {
    while (keeper->due) {
        struct entry *entry = keeper->due;
        struct launch_message *message = entry->message;
        keeper->due = entry->next_follower;
        entry->next_follower = NULL;
        entry->message = NULL;
        job_start(keeper, entry, message);
        free(message);
    }
}

void job_withdraw(struct keeper *keeper, struct entry *entry, enum cause cause) {
    struct entry **at = entry->after ? &entry->after->followers : &keeper->due;
    while (*at != entry)
        at = &(*at)->next_follower;
    /* Those that wait for it wait on, for what it waited for. */
    for (struct entry *follower = entry->followers; follower; follower = follower->next_follower)
        follower->after = entry->after;
    *end_of(&entry->followers) = entry->next_follower;
    *at = entry->followers;
    entry->followers = entry->next_follower = entry->after = NULL;
    free(entry->message);
    entry->message = NULL;
    mark_start(entry);
    entry->record.cause = (int32_t)cause;
    entry->record.exit_code = -1;
    finish_entry(keeper, entry);
    keeper_send(keeper, &entry->record);
}

/* --------------------------------------------------------------------- the end */

/* Why it may have failed, or what it lost. What there is no evidence of is not told: where a limit
 * is the process's own (rlimit), the kernel does not say that it was met. */
static enum remark find_remark(const struct job *job, struct group_end end,
                               const struct record *record) {
    const struct outcome *outcome = job->outcome;
    bool failed = record->exit_code != 0 || record->signal;
    if (job->remark)
        return job->remark;
    if (end.full || (outcome->processes && outcome->processes >= job->processes))
        return REMARK_PROCESSES;
    if (failed && job->sandbox & SANDBOX_MEMORY_PROCESS &&
        record->peak_memory >= job->memory / 8 * 7)
        return REMARK_NEAR_MEMORY;
    if (job->log_cut)
        return REMARK_LOG_CUT;
    return job->log_trimmed ? REMARK_LOG_TRIMMED : REMARK_NONE;
}

static void judge(const struct job *job, int status, struct group_end end, struct record *record) {
    const struct outcome *outcome = job->outcome;
    bool out_of_memory = end.out_of_memory;
    record->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    record->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    record->remark = find_remark(job, end, record);
    if (record->remark == REMARK_PROCESSES)
        record->number = (int32_t)job->processes;
    bool starved = out_of_memory && outcome->stage == STAGE_RUNTIME;
    if (outcome->stage != STAGE_NONE && !starved &&
        (outcome->number || job->stop_cause == CAUSE_NONE)) {
        record->cause = CAUSE_NOT_STARTED;
        record->exit_code = -1;
        record->signal = 0;
        record->stage = outcome->stage;
        record->number = outcome->number;
        if (outcome->stage == STAGE_MOUNT && !outcome->subject[0])
            (void)snprintf(record->subject, sizeof(record->subject), "%d", outcome->mount);
        else if (outcome->stage == STAGE_RUNTIME || outcome->stage == STAGE_ROOT ||
                 outcome->stage == STAGE_MOUNT)
            memcpy(record->subject, outcome->subject, sizeof(record->subject));
    } else if (job->stop_cause != CAUSE_NONE) {
        record->cause = job->stop_cause;
    } else if (out_of_memory && status != 0) {
        record->cause = CAUSE_OUT_OF_MEMORY;
        record->remark = REMARK_MEMORY_LIMIT;
    } else {
        record->cause = record->signal           ? CAUSE_SIGNAL
                        : record->exit_code != 0 ? CAUSE_EXIT
                                                 : CAUSE_NONE;
    }
}

static int64_t microseconds(struct timeval time) {
    return (int64_t)time.tv_sec * 1000000 + time.tv_usec;
}

static void finish_log(struct job *job) {
    if (job->log < 0)
        return;
    (void)log_trim(job);
    if (job->log_lent && fchown(job->log, job->log_owner, job->log_group) < 0)
        job->log_lent = false;
    close(job->log);
}

static void finish(struct keeper *keeper, struct job *job, int status, const struct rusage *usage) {
    struct record *record = &job->entry->record;
    const struct outcome *outcome = job->outcome;
    if (job->users.giving) {
        users_end_giving(keeper, job, status);
        status = job->users.status;
        usage = &job->users.usage;
    }
    record->cpu_user = microseconds(usage->ru_utime);
    record->cpu_system = microseconds(usage->ru_stime);
    record->peak_memory = (uint64_t)usage->ru_maxrss * 1024;
    if (keeper->boxed) {
        box_finish(keeper, job);
        if (outcome->finished) {
            /* The init tells what the task alone used and how it ended. */
            status = outcome->status;
            record->cpu_user = outcome->cpu_user;
            record->cpu_system = outcome->cpu_system;
            record->peak_memory = outcome->peak_memory;
        }
    } else {
        (void)kill(-job->pid, SIGKILL); /* what it left in its process group */
    }
    struct group_end end = group_read(keeper->groups, &job->group, record);
    group_kill(keeper->groups, &job->group);
    group_remove(keeper->groups, &job->group);
    finish_log(job);
    output_release(job);
    judge(job, status, end, record);
    record->sandbox = job->sandbox | outcome->sandbox;
    finish_entry(keeper, job->entry);
    give_slot_back(keeper, job);
}

static struct job *job_of(struct keeper *keeper, pid_t pid) {
    for (size_t i = 0; i < keeper->running_count; i++) {
        struct job *job = &keeper->jobs[keeper->running[i]];
        if (job->pid == pid)
            return job;
    }
    return NULL;
}

void job_reap(struct keeper *keeper) {
    enum { BATCH = 256 };
    struct entry *ended[BATCH];
    size_t count = 0;
    int status;
    struct rusage usage;
    pid_t pid;
    while (count < BATCH && (pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
        struct job *job = job_of(keeper, pid);
        if (!job)
            continue; /* a process that a plain job left behind */
        if (users_begin_giving(keeper, job, status, &usage))
            continue;
        ended[count++] = job->entry;
        finish(keeper, job, status, &usage);
    }
    if (!count)
        return;
    /* Written down before it is told. */
    keeper->journal_failed = journal_commit(&keeper->journal) < 0;
    for (size_t i = 0; i < count; i++)
        keeper_send(keeper, &ended[i]->record);
    job_start_due(keeper);
    if (count == BATCH)
        job_reap(keeper);
}

void job_end_strays(void) {
    char text[4096];
    siginfo_t info = {0};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
        return; /* as nearly always: no child at all */
    int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t size = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[size > 0 ? size : 0] = '\0';
    char *at = text;
    for (;;) {
        char *end;
        long pid = strtol(at, &end, 10);
        if (end == at || pid <= 1)
            return;
        (void)kill((pid_t)pid, SIGKILL);
        at = end;
    }
}

/* ------------------------------------------------------------------ time and logs */

static void send_signal(struct keeper *keeper, const struct job *job, int number) {
    if (job->users.giving) /* its task is over */
        return;
    if (keeper->boxed) {
        (void)kill(job->pid, number); /* the box's init passes SIGTERM on to all */
        return;
    }
    (void)kill(-job->pid, number);
    if (number == SIGKILL)
        group_kill(keeper->groups, &job->group);
}

void job_stop(struct keeper *keeper, struct job *job, enum cause cause, int64_t grace) {
    if (job->stop_cause == CAUSE_NONE)
        job->stop_cause = cause;
    int64_t kill_at = now_monotonic() + grace;
    if (grace <= 0) {
        job->killed = true;
        send_signal(keeper, job, SIGKILL);
        return;
    }
    if (kill_at < job->kill_at)
        job->kill_at = kill_at;
    send_signal(keeper, job, SIGTERM);
}

static void watch_time(struct keeper *keeper, struct job *job, int64_t now) {
    if (now >= job->deadline) {
        job->deadline = INT64_MAX;
        job_stop(keeper, job, CAUSE_TIMEOUT, job->grace);
    }
    if (now >= job->kill_at) {
        job->kill_at = now + TICK; /* again, should a process have been born meanwhile */
        job->killed = true;
        send_signal(keeper, job, SIGKILL);
    }
    if (now >= job->note_at) {
        job->note_at = INT64_MAX;
        (void)journal_append(&keeper->journal, &job->entry->record);
    }
}

static void watch_log(struct keeper *keeper, struct job *job) {
    if (log_trim(job) == 0 || job->killed)
        return;
    job->remark = REMARK_LOG_OVERFLOW;
    job_stop(keeper, job, CAUSE_POLICY, 0);
}

int64_t job_tick(struct keeper *keeper, int64_t now) {
    bool tick = now >= keeper->next_tick;
    int64_t next = INT64_MAX;
    if (tick)
        keeper->next_tick = now + TICK;
    for (size_t i = 0; i < keeper->running_count; i++) {
        struct job *job = &keeper->jobs[keeper->running[i]];
        watch_time(keeper, job, now);
        if (tick) {
            watch_log(keeper, job);
            output_check(keeper, job, now);
        }
        next = job->deadline < next ? job->deadline : next;
        next = job->kill_at < next ? job->kill_at : next;
        next = job->note_at < next ? job->note_at : next;
        next = keeper->next_tick < next ? keeper->next_tick : next;
    }
    if (tick && groups_tidy(keeper->groups))
        next = keeper->next_tick < next ? keeper->next_tick : next;
    if (keeper->journal.pending_count)
        keeper->journal_failed = journal_commit(&keeper->journal) < 0;
    return next;
}
