/* Tasks that are played, behind the table of functions of a place to run them. What is in
 * world.plays is what a keeper knows: it outlives the engine. */
#include "simulation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static struct play *find_play(const char *name) {
    struct play *play = world.plays;
    while (play && !text_equal(play->name, name))
        play = play->next;
    return play;
}

static void play_empty(struct play *play) {
    for (size_t i = 0; i < play->in_count; i++)
        memory_free(play->ins[i]);
    memory_free(play->ins);
    memory_free(play->out);
    play->ins = NULL;
    play->out = NULL;
    play->in_count = 0;
}

void plays_free(void) {
    while (world.plays) {
        struct play *play = world.plays;
        world.plays = play->next;
        play_empty(play);
        memory_free(play);
    }
}

static const struct part *part_of(const struct play *play) {
    for (size_t i = 0; i < world.part_count; i++)
        if (text_equal(world.parts[i].id, play->step))
            return &world.parts[i];
    blame("%s is played and no step of ours", play->name);
    return &world.parts[0];
}

static bool is_live(const struct play *play) {
    return play->state == PLAY_SENT || play->state == PLAY_RUNS;
}

unsigned plays_ended(const char *step, const char *partition, bool well) {
    unsigned count = 0;
    for (const struct play *play = world.plays; play; play = play->next)
        count += play->decided && (play->decision == CAUSE_NONE) == well &&
                 text_equal(play->step, step) && text_equal(play->partition, partition);
    return count;
}

/* ------------------------------------------------------------------- a task */

/* What a task does depends on the seed, the step, the partition and how often it has failed. */
static enum cause decide(const struct play *play) {
    static const enum cause bad[] = {CAUSE_EXIT, CAUSE_SIGNAL, CAUSE_OUT_OF_MEMORY, CAUSE_TIMEOUT};
    const struct part *part = part_of(play);
    uint64_t hash = mix_text(mix(world.seed, part->salt), play->partition);
    unsigned kind = (unsigned)(hash % 100), fails = 0;
    if (kind >= 85)
        fails = 1000;
    else if (kind >= 60 && !world.simple_failures)
        fails = 1 + (unsigned)(hash >> 32) % 2;
    return plays_ended(play->step, play->partition, false) < fails ? bad[(hash >> 40) % 4]
                                                                   : CAUSE_NONE;
}

struct reading {
    uint64_t sum;
    size_t files;
};

static int read_entry(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                      struct error **err) {
    struct reading *reading = context;
    (void)verdict;
    OWN_BUFFER text = {0};
    if (!S_ISREG(entry->status->st_mode))
        return 0;
    if (file_read_all(entry->directory, entry->name, 4096, &text, err) < 0)
        return -1;
    reading->sum = mix_text(mix_text(reading->sum, entry->path), buffer_text(&text));
    reading->files++;
    return 0;
}

static void write_file(const struct play *play, const char *name, const char *text) {
    OWN_STRING path = path_join(play->out, name);
    OWN_FD fd = file_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0644, NULL);
    if (fd < 0 || file_write_all(fd, text, strlen(text), NULL) < 0)
        blame("%s: a task that runs has lost its folder", play->name);
}

static void work(const struct play *play) {
    const struct part *part = part_of(play);
    struct reading reading = {mix_text(part->salt, play->partition), 0};
    for (size_t i = 0; i < play->in_count; i++) {
        OWN_ERROR problem = NULL;
        if (tree_walk(AT_FDCWD, play->ins[i], read_entry, &reading, &problem) < 0)
            blame("%s: what it reads is not there: %s", play->name, problem->message);
    }
    char text[128];
    (void)snprintf(text, sizeof(text), "%s %016llx %zu\n", play->step,
                   (unsigned long long)reading.sum, reading.files);
    write_file(play, "v", text);
    if (part->lists)
        write_file(play, "list.json", "[\"a\",\"b\",\"c\"]");
    (void)snprintf(text, sizeof(text), "{\"n\": %u}", plays_ended("work", play->partition, true));
    if (part->loops)
        write_file(play, "result.json", text);
}

void play_end(struct play *play) {
    play->state = PLAY_ENDED;
    if (play->stop) {
        play->cause = play->stop;
    } else {
        if (!play->decided)
            play->decision = decide(play);
        play->decided = true;
        play->cause = play->decision;
    }
    trace("end %s %s", play->name, cause_name(play->cause));
    if (play->cause == CAUSE_NONE)
        work(play);
    else
        write_file(play, "half", "half");
}

static void lose(struct play *play) {
    play->state = PLAY_ENDED;
    play->cause = CAUSE_LOST;
}

void keeper_dies(void) {
    for (struct play *play = world.plays; play; play = play->next)
        if (is_live(play))
            lose(play);
}

static void power_fails(struct play *play) {
    /* The keeper's journal is not synced: its tail is gone. */
    bool tail = !chance_below(&world.chance, 4);
    if (play->state == PLAY_RUNS || (play->state == PLAY_ENDED && tail))
        lose(play);
    else if (play->state == PLAY_FORGOTTEN && tail && play->decided && play->launches == 1)
        play->state = PLAY_ENDED;
    if (!chance_below(&world.chance, 8))
        play->state = PLAY_FORGOTTEN;
}

void driver_process_died(bool power) {
    for (struct play *play = world.plays; play; play = play->next) {
        play->wanted = play->reported = false;
        if (play->state == PLAY_SENT && chance_below(&world.chance, 2))
            play->state = PLAY_FORGOTTEN; /* the message died with us */
        else if (play->state == PLAY_SENT)
            play->state = PLAY_RUNS;
        if (power)
            power_fails(play);
    }
}

/* -------------------------------------------------------------------- choice */

bool play_is_sent(const struct play *play) {
    return play->state == PLAY_SENT;
}

bool play_runs(const struct play *play) {
    return play->state == PLAY_RUNS;
}

bool play_is_to_report(const struct play *play) {
    return play->state == PLAY_ENDED && play->wanted && !play->reported;
}

struct play *play_pick(bool (*is_wanted)(const struct play *play)) {
    unsigned count = 0;
    struct play *chosen = NULL;
    for (struct play *play = world.plays; play; play = play->next)
        if (is_wanted(play) && !chance_below(&world.chance, ++count))
            chosen = play;
    return chosen;
}

void play_report(struct play *play) {
    struct exit_report report = {.name = play->name,
                                 .cause = play->cause,
                                 .exit_code = play->cause == CAUSE_NONE   ? 0
                                              : play->cause == CAUSE_EXIT ? 3
                                                                          : -1,
                                 .started = world.now,
                                 .ended = world.now,
                                 .detail = "",
                                 .weaker = "",
                                 .sandbox = ""};
    play->reported = true;
    trace("report %s", play->name);
    world.host.exited(world.host.context, &report);
}

/* -------------------------------------------------------------------- checks */

static struct task *task_of(const char *job) {
    for (struct flight *flight = world.engine->flights; flight; flight = flight->next)
        if (text_equal(flight->job, job))
            return flight->task;
    return NULL;
}

/* What the database says, once the transaction is over. */
static void check_recorded(const char *job) {
    struct store *store = world.engine->store;
    int64_t count = 0;
    if (store_in_transaction(store)) {
        blame("%s is launched before the intention is committed", job);
        return;
    }
    if (store_integer(store, 0, &count, NULL,
                      "SELECT count(*) FROM attempt a JOIN task t ON t.id = a.task WHERE a.job = ? "
                      "AND a.ended IS NULL AND t.state = 2 AND t.attempts = a.number",
                      "s", job) < 0 ||
        count != 1)
        blame("%s is launched and the database does not know", job);
}

static void check_upstream(struct task *task) {
    const struct step *step = task->step->step;
    struct run *run = task->step->run;
    for (size_t i = 0; i < step->edge_count; i++) {
        const struct edge *edge = &step->edges[i];
        struct task *other =
            edge->relation == RELATION_JOIN ? NULL : graph_upstream(task, edge->step);
        int64_t open = 1;
        if (store_integer(world.engine->store, 0, &open, NULL,
                          "SELECT count(*) FROM task WHERE run = ? AND step = ? AND state < 5 AND "
                          "(? OR partition = ?)",
                          "iiis", run->id, (int64_t)edge->step, (int64_t)!other,
                          other ? other->node->key : "") < 0 ||
            open)
            blame("%s@%s is launched before %s has ended", step->id, task->node->key,
                  run->pipeline->steps[edge->step].id);
    }
}

static void check_limits(const struct play *mine) {
    double cpus = 0;
    uint64_t memory = 0;
    unsigned of_step = 0, of_run = 0;
    for (const struct play *play = world.plays; play; play = play->next) {
        if (!is_live(play))
            continue;
        cpus += play->cpus;
        memory += play->memory;
        of_run++;
        of_step += text_equal(play->step, mine->step);
        if (play != mine && text_equal(play->step, mine->step) &&
            text_equal(play->partition, mine->partition))
            blame("%s and %s run at the same time", play->name, mine->name);
    }
    unsigned limit = part_of(mine)->limit;
    if (cpus > CPUS + 1e-6 || memory > MEMORY || (limit && of_step > limit) ||
        (world.limit && of_run > world.limit))
        blame("%s is launched beyond a limit: %g processors, %llu bytes, %u of its step, %u in all",
              mine->name, cpus, (unsigned long long)memory, of_step, of_run);
}

/* ------------------------------------------------------------- the functions */

static int on_open(const struct compute_host *host, struct compute **ret, struct error **err) {
    if (disk_fails(DISK_WRITES))
        return error_set_errno(err, errno, "compute");
    world.host = *host;
    *ret = (struct compute *)&world;
    return 0;
}

static void on_close(struct compute *compute) {
    (void)compute;
}

static int note_mounts(struct play *play, const struct job *job, struct error **err) {
    play_empty(play);
    play->ins = memory_array(job->mount_count, sizeof(*play->ins));
    if (!play->ins)
        return error_set_memory(err);
    for (size_t i = 0; i < job->mount_count; i++) {
        const struct compute_mount *mount = &job->mounts[i];
        if (text_equal(mount->target, "/out"))
            play->out = memory_copy_string(mount->source);
        else if (text_starts_with(mount->target, "/in") && mount->source)
            play->ins[play->in_count++] = memory_copy_string(mount->source);
    }
    if (!play->out)
        blame("%s has no folder for its outputs", play->name);
    return 0;
}

static const char *partition_of(const struct job *job) {
    static const char name[] = "GLOVEBOX_PARTITION=";
    for (const char *const *at = job->environment; *at; at++)
        if (text_starts_with(*at, name))
            return *at + strlen(name);
    return "";
}

static int on_launch(struct compute *compute, const struct job *job, struct error **err) {
    (void)compute;
    if (world.disk.frozen)
        return error_set(err, ERROR_IO, "crashed");
    struct play *play = find_play(job->name);
    if (play && play->state != PLAY_FORGOTTEN)
        return error_set(err, ERROR_EXISTS, "a job named %s was launched before", job->name);
    if (!play) {
        play = memory_allocate(sizeof(*play));
        if (!play)
            return error_set_memory(err);
        play->next = world.plays;
        world.plays = play;
    }
    bool inside = world.disk.inside;
    world.disk.inside = false;
    (void)snprintf(play->name, sizeof(play->name), "%s", job->name);
    (void)snprintf(play->step, sizeof(play->step), "%s", job->arguments[1]);
    (void)snprintf(play->partition, sizeof(play->partition), "%s", partition_of(job));
    play->cpus = job->limits.cpus > 0 ? job->limits.cpus : 1;
    play->memory = job->limits.memory;
    play->state = PLAY_SENT;
    play->wanted = true;
    play->reported = false;
    play->stop = CAUSE_NONE;
    play->launches++;
    trace("launch %s %s@%s", play->name, play->step, play->partition);
    int result = note_mounts(play, job, err);
    check_recorded(job->name);
    struct task *task = task_of(job->name);
    if (task)
        check_upstream(task);
    else
        blame("%s is launched and nobody waits for it", job->name);
    check_limits(play);
    world.disk.inside = inside;
    return result;
}

static int on_flush(struct compute *compute, struct error **err) {
    (void)compute;
    (void)err;
    return 0;
}

static enum job_state on_find(struct compute *compute, const char *name) {
    (void)compute;
    struct play *play = find_play(name);
    if (!play || play->state == PLAY_FORGOTTEN)
        return JOB_UNKNOWN;
    play->wanted = true;
    return play->state == PLAY_ENDED ? JOB_EXITED : JOB_RUNNING;
}

static int on_stop(struct compute *compute, const char *name, enum cause cause, int64_t grace,
                   struct error **err) {
    (void)compute;
    (void)grace;
    struct play *play = find_play(name);
    if (!play || play->state == PLAY_FORGOTTEN)
        return error_set(err, ERROR_NOT_FOUND, "no job named %s", name);
    if (!world.disk.frozen && is_live(play))
        play->stop = cause;
    return 0;
}

static int on_usage(struct compute *compute, const char *name, struct exit_report *ret,
                    struct error **err) {
    (void)compute;
    (void)ret;
    return error_set(err, ERROR_NOT_FOUND, "no running job named %s", name);
}

static int on_capacity(struct compute *compute, struct compute_capacity *ret, struct error **err) {
    (void)compute;
    (void)err;
    *ret = (struct compute_capacity){.cpus = CPUS, .memory = MEMORY};
    return 0;
}

static void on_forget(struct compute *compute, const char *name) {
    (void)compute;
    struct play *play = find_play(name);
    if (world.disk.frozen || !play || play->state == PLAY_FORGOTTEN)
        return;
    if (is_live(play))
        blame("%s runs and is forgotten", name);
    play->state = PLAY_FORGOTTEN;
}

static void on_list_ended(struct compute *compute, void (*use)(void *context, const char *name),
                          void *context) {
    (void)compute;
    for (struct play *play = world.plays; play; play = play->next)
        if (play->state == PLAY_ENDED && !play->wanted)
            use(context, play->name);
}

const struct driver simulated_driver = {.name = "simulated",
                                        .open = on_open,
                                        .close = on_close,
                                        .launch = on_launch,
                                        .flush = on_flush,
                                        .find = on_find,
                                        .stop = on_stop,
                                        .usage = on_usage,
                                        .capacity = on_capacity,
                                        .forget = on_forget,
                                        .list_ended = on_list_ended};
