/* Jobs as messages to a keeper, and its records as sentences for people. */
#include "compute/private-link.h"
#include "compute/private-oci.h"

#include <ctype.h>
#include <errno.h>

/* ----------------------------------------------------------------------- encoding */

static int check_name(const char *name, struct error **err) {
    size_t size = name ? strlen(name) : 0;
    bool good = size >= 1 && size <= 100;
    for (size_t i = 0; good && i < size; i++)
        good = isalnum((unsigned char)name[i]) || strchr("._-", name[i]);
    return good ? 0 : error_set(err, ERROR_INVALID, "not a job's name: \"%s\"", name ? name : "");
}

static uint32_t count_texts(const char *const *texts) {
    uint32_t count = 0;
    while (texts && texts[count])
        count++;
    return count;
}

int launch_check(const struct job *job, struct error **err) {
    if (check_name(job->name, err) < 0 || (job->after && check_name(job->after, err) < 0))
        return -1;
    uint32_t arguments = count_texts(job->arguments);
    if (arguments == 0 && !job->image)
        return error_set(err, ERROR_INVALID, "job %s has no command", job->name);
    if (arguments > ARGUMENTS_MAXIMUM || count_texts(job->environment) > ARGUMENTS_MAXIMUM)
        return error_set(err, ERROR_LIMIT, "job %s has more than %d arguments or variables",
                         job->name, ARGUMENTS_MAXIMUM);
    if (job->mount_count > MOUNTS_MAXIMUM)
        return error_set(err, ERROR_LIMIT, "job %s has more than %d mounts", job->name,
                         MOUNTS_MAXIMUM);
    for (size_t i = 0; i < job->mount_count; i++) {
        const char *target = job->mounts[i].target;
        if (!target || target[0] != '/' || !path_is_safe_relative(target + 1))
            return error_set(err, ERROR_INVALID, "job %s: mount %zu has no plain absolute target",
                             job->name, i + 1);
        if (job->mounts[i].source && job->mounts[i].source[0] != '/')
            return error_set(err, ERROR_INVALID, "job %s: mount %zu has no absolute source",
                             job->name, i + 1);
    }
    return 0;
}

static void append_text(struct buffer *buffer, const char *text) {
    if (text)
        buffer_append(buffer, text);
    buffer_append_char(buffer, '\0');
}

static struct launch_message header_of(const struct job *job) {
    const struct compute_limits *limits = &job->limits;
    double quota = limits->cpus > 0 ? limits->cpus * 100000.0 : 0;
    struct launch_message message = {.header = {.type = MESSAGE_LAUNCH},
                                     .argument_count = count_texts(job->arguments),
                                     .environment_count = count_texts(job->environment),
                                     .mount_count = (uint32_t)job->mount_count,
                                     .cpu_quota = quota <= 0     ? 0
                                                  : quota < 1000 ? 1000
                                                  : quota > 1e12 ? 0
                                                                 : (uint64_t)quota,
                                     .memory = limits->memory,
                                     .shared_memory = limits->shared_memory,
                                     .scratch = limits->scratch,
                                     .log_maximum = job->log_maximum,
                                     .processes = limits->processes,
                                     .output = limits->output,
                                     .output_files = limits->output_files,
                                     .timeout = limits->timeout,
                                     .grace = limits->grace};
    (void)snprintf(message.name, sizeof(message.name), "%s", job->name);
    (void)snprintf(message.after, sizeof(message.after), "%s", job->after ? job->after : "");
    if (job->network && text_equal(job->network, "host"))
        message.flags |= LAUNCH_HOST_NETWORK;
    if (job->writable_root)
        message.flags |= LAUNCH_WRITABLE_ROOT;
    return message;
}

/* The arguments and the environment of a container stand in its configuration. */
static void describe_container(const struct oci_container *container,
                               struct launch_message *message) {
    message->argument_count = 1;
    message->environment_count = 0;
    message->host_user_at = (uint32_t)container->host_user_at;
    message->host_group_at = (uint32_t)container->host_group_at;
}

int launch_encode(const struct job *job, const struct oci_container *container, struct buffer *ret,
                  struct error **err) {
    if (launch_check(job, err) < 0)
        return -1;
    struct launch_message message = header_of(job);
    if (container)
        describe_container(container, &message);
    buffer_append_bytes(ret, &message, sizeof(message));
    append_text(ret, job->log);
    append_text(ret, job->work);
    append_text(ret, container ? container->directory : job->directory);
    append_text(ret, container ? container->image->root : NULL);
    append_text(ret, container ? buffer_text(&container->config) : NULL);
    for (uint32_t i = 0; i < message.argument_count; i++)
        append_text(ret, container ? container->program : job->arguments[i]);
    for (uint32_t i = 0; i < message.environment_count; i++)
        append_text(ret, job->environment[i]);
    for (size_t i = 0; i < job->mount_count; i++) {
        append_text(ret, job->mounts[i].writable ? "w" : "r");
        append_text(ret, job->mounts[i].source);
        append_text(ret, job->mounts[i].target);
    }
    while (ret->size % 8)
        buffer_append_char(ret, '\0');
    if (buffer_check(ret, err) < 0)
        return -1;
    if (ret->size > MESSAGE_MAXIMUM)
        return error_set(err, ERROR_LIMIT, "job %s: its command and environment exceed %zu KiB",
                         job->name, MESSAGE_MAXIMUM >> 10);
    message.header.size = (uint32_t)ret->size;
    memcpy(ret->data, &message, sizeof(message));
    return 0;
}

/* ---------------------------------------------------------------------- describing */

static const char *const stage_texts[] = {
    [STAGE_REFUSED] = "the keeper refused the job",
    [STAGE_FULL] = "too many jobs run already",
    [STAGE_JOURNAL] = "cannot write the keeper's journal",
    [STAGE_LOG] = "cannot open the log",
    [STAGE_CLONE] = "cannot start a process",
    [STAGE_CGROUP] = "cannot enter the cgroup of its limits",
    [STAGE_NETWORK] = "cannot set up the box's network",
    [STAGE_ROOT] = "cannot make the box's root folder",
    [STAGE_MOUNT] = "cannot mount into the box",
    [STAGE_PIVOT] = "cannot enter the box",
    [STAGE_LIMIT] = "cannot set limits",
    [STAGE_PRIVILEGE] = "cannot give up privileges",
    [STAGE_FILTER] = "cannot install the system-call filter",
    [STAGE_DIRECTORY] = "cannot enter the working directory",
    [STAGE_PROGRAM] = "cannot run",
    [STAGE_INIT] = "the box's first process was killed before the task started",
    [STAGE_RUNTIME] = "crun could not start the container",
    [STAGE_RANGE] = "\"users: image\" is not to be had: newuidmap or newgidmap would not map the "
                    "range of /etc/subuid and /etc/subgid; compute/process/keeper.log in the home "
                    "has what it said",
    [STAGE_OWNERS] =
        "\"users: image\" is not to be had: this file system cannot map owners, as ext4, "
        "XFS and Btrfs can",
};

static void describe_stage(const struct record *record, struct buffer *ret) {
    const char *text = record->stage < ARRAY_SIZE(stage_texts) ? stage_texts[record->stage] : NULL;
    buffer_append(ret, text ? text : "it could not be started");
    if (record->stage == STAGE_PROGRAM || record->stage == STAGE_MOUNT) {
        bool numbered = record->stage == STAGE_MOUNT && record->subject[0] != '/';
        buffer_append(ret, numbered ? " (mount " : record->stage == STAGE_MOUNT ? " at " : " ");
        text_append_printable(ret, record->subject);
        buffer_append(ret, numbered ? ")" : "");
    }
    if (record->stage == STAGE_RUNTIME || (record->stage == STAGE_ROOT && record->subject[0])) {
        buffer_append(ret, ": ");
        text_append_printable(ret, record->subject);
    }
    if (record->stage == STAGE_RANGE || record->stage == STAGE_OWNERS)
        return;
    if (record->stage == STAGE_PROGRAM && record->number == ENOENT)
        buffer_append(ret, ": no such program, or its interpreter is missing");
    else if (record->number)
        buffer_format(ret, ": %s", strerror(record->number));
}

static const char *cause_text(const struct record *record) {
    switch (record->cause) {
    case CAUSE_TIMEOUT:
        return "it ran longer than it may";
    case CAUSE_OUT_OF_MEMORY:
        return "it needed more memory than its limit";
    default:
        return NULL;
    }
}

static const char *const remark_texts[] = {
    [REMARK_KEEPER_DIED] = "its keeper was killed, and the job with it",
    [REMARK_LOG_OVERFLOW] = "its log grew beyond its bound and could not be trimmed",
    [REMARK_LOG_CUT] = "it emptied its log itself, as `>/dev/stderr` in a shell does: `>>` adds",
    [REMARK_LOG_TRIMMED] = "the middle of its log was dropped: it passed its bound",
    [REMARK_OUTPUT_SIZE] = "it was stopped: its output grew beyond the bytes that it may have",
    [REMARK_OUTPUT_FILES] = "it was stopped: its output grew beyond the files that it may have",
    [REMARK_NEAR_MEMORY] = "it may have run out of memory: one of its processes had used nearly "
                           "all that each may have",
};

void describe_detail(const struct record *record, struct buffer *ret) {
    if (record->stage != STAGE_NONE) {
        describe_stage(record, ret);
        return;
    }
    const char *cause = cause_text(record);
    const char *remark =
        record->remark < ARRAY_SIZE(remark_texts) ? remark_texts[record->remark] : NULL;
    if (record->cause == CAUSE_SIGNAL)
        buffer_format(ret, "killed by signal %d (%s)", record->signal, strsignal(record->signal));
    else if (cause)
        buffer_append(ret, cause);
    if (ret->size && (remark || record->remark == REMARK_PROCESSES))
        buffer_append(ret, "; ");
    if (record->remark == REMARK_PROCESSES)
        buffer_format(ret, "it reached its limit of %d processes", record->number);
    else if (remark)
        buffer_append(ret, remark);
}

void describe_sandbox(const struct record *record, struct buffer *ret) {
    uint32_t flags = record->sandbox;
    if (flags & SANDBOX_BOX) {
        buffer_append(ret, flags & SANDBOX_CONTAINER ? "container: crun; " : "");
        buffer_append(ret, "namespaces: mount,pid,ipc,uts");
        buffer_append(ret, flags & SANDBOX_NETWORK ? ",net" : "");
        buffer_append(ret, flags & SANDBOX_CGROUP ? ",cgroup" : "");
        buffer_append(ret, flags & SANDBOX_USER ? ",user" : "");
        buffer_append(ret, flags & SANDBOX_NETWORK ? "" : "; network: the host's");
        buffer_append(ret, flags & SANDBOX_USERS
                               ? "; users: the image's; capabilities over them: chown, "
                                 "dac_override, fowner, kill, setgid, setuid"
                               : "; no capabilities");
        buffer_append(ret, "; no new privileges");
        buffer_append(ret, flags & SANDBOX_SECCOMP ? "; seccomp" : "; no seccomp");
        buffer_append(ret, flags & SANDBOX_OTHER_USER ? "; unprivileged user"
                           : flags & SANDBOX_ROOT     ? "; uid 0 (no mapped owners to be had)"
                                                      : "; caller's user");
        buffer_append(ret, flags & SANDBOX_MAPPED ? "; mapped owners" : "");
    } else if (record->type == RECORD_EXITED) {
        buffer_append(ret, "no box");
    }
    const char *version = flags & SANDBOX_CGROUP_V2 ? "cgroup v2" : "cgroup v1";
    if (flags & SANDBOX_MEMORY_CGROUP)
        buffer_format(ret, "; memory: %s", version);
    else if (flags & SANDBOX_MEMORY_PROCESS)
        buffer_append(ret, "; memory: each process by rlimit (no cgroup to be had)");
    if (flags & SANDBOX_CPU_CGROUP)
        buffer_format(ret, "; cpu: %s", version);
    else if (flags & SANDBOX_CPU_NONE)
        buffer_append(ret, "; cpu: not limited (no cgroup to be had)");
    if (flags & SANDBOX_PROCESSES_CGROUP)
        buffer_format(ret, "; processes: %s", version);
    else if (flags & SANDBOX_PROCESSES_USER)
        buffer_append(ret, "; processes: rlimit of the user");
}

void describe_weaker(const struct record *record, struct buffer *ret) {
    static const struct {
        uint32_t flag;
        const char *text;
    } texts[] = {
        {SANDBOX_MEMORY_PROCESS,
         "no memory cgroup is to be had here: memory is limited for each process alone"},
        {SANDBOX_CPU_NONE, "no cpu cgroup is to be had here: processor time is not limited"},
        {SANDBOX_ROOT, "a file system here cannot map owners: tasks run as uid 0, without "
                       "capabilities"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (record->sandbox & texts[i].flag)
            buffer_format(ret, "%s%s", ret->size ? "; " : "", texts[i].text);
}
