/* Attempts: from a ready task to a launched job, and back from its end. */
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

void flight_free(struct flight *flight) {
    if (!flight)
        return;
    memory_free(flight->work);
    memory_free(flight->out);
    memory_free(flight->log);
    arena_free(flight->arena);
    memory_free(flight->arguments);
    memory_free(flight->environment);
    memory_free(flight->mounts);
    memory_free(flight->farms);
    memory_free(flight->watched);
    json_decref(flight->recipe);
    json_decref(flight->in_paths);
    memory_free(flight->recipe_text);
    memory_free(flight->detail);
    memory_free(flight->sandbox);
    memory_free(flight);
}

static void unlink_flight(struct flight *flight) {
    struct flight **at = &flight->engine->flights;
    while (*at && *at != flight)
        at = &(*at)->next;
    if (*at)
        *at = flight->next;
    flight->task->flight = NULL;
}

/* Mostly it is empty by now. */
static void remove_work(const char *folder) {
    OWN_ERROR problem = NULL;
    if (rmdir(folder) < 0 && tree_remove(AT_FDCWD, folder, &problem) < 0)
        log_message(LOG_WARNING, "a work folder stays behind: %s", problem->message);
}

void flight_drop(struct flight *flight) {
    unlink_flight(flight);
    remove_work(flight->work);
    flight_free(flight);
}

static struct flight *flight_new(struct task *task, unsigned number, struct error **err) {
    struct run *run = task->step->run;
    struct engine *engine = run->engine;
    struct flight *flight = memory_allocate(sizeof(*flight));
    if (!flight) {
        error_set_memory(err);
        return NULL;
    }
    flight->engine = engine;
    flight->task = task;
    flight->number = number;
    flight->run_id = run->id;
    flight->task_id = task->id;
    flight->step_index = task->step->step->index;
    (void)snprintf(flight->job, sizeof(flight->job), "%.60s.%lld.%u", run->name,
                   (long long)task->id, number);
    flight->work = home_path(engine, "work/%s", flight->job);
    flight->out = home_path(engine, "work/%s/out", flight->job);
    /* By the task's number: its partition may be the name of a patient, and paths get about. */
    flight->log = home_path(engine, "runs/%s/logs/%s/%lld.%u.log", run->name, task->step->step->id,
                            (long long)task->id, number);
    flight->arena = arena_new((size_t)256 << 20);
    if (!flight->work || !flight->out || !flight->log || !flight->arena) {
        flight_free(flight);
        error_set_memory(err);
        return NULL;
    }
    flight->next = engine->flights;
    engine->flights = flight;
    task->flight = flight;
    return flight;
}

static int name_review(struct flight *flight, struct error **err) {
    flight->recipe_text = memory_format("{\"review\":\"%s\"}", flight->job);
    if (!flight->recipe_text)
        return error_set_memory(err);
    sha256_of(flight->recipe_text, strlen(flight->recipe_text), flight->task->key);
    flight->task->has_key = true;
    return 0;
}

/* A copy: a person's work stays where it is, whatever happens to us. */
static int copy_review(struct flight *flight, const char *out, struct error **err) {
    if (mkdir(flight->work, 0700) < 0 && errno != EEXIST)
        return error_set_errno(err, errno, "cannot make a work folder");
    if (tree_remove(AT_FDCWD, flight->out, err) < 0)
        return -1;
    if (tree_copy(AT_FDCWD, out, AT_FDCWD, flight->out, err) < 0)
        return error_wrap(err, "cannot take over what the review left");
    return 0;
}

struct flight *flight_new_review(struct task *task, const char *out, struct error **err) {
    struct flight *flight = flight_new(task, ++task->attempts, err);
    if (!flight || name_review(flight, err) < 0)
        return NULL;
    flight->report = (struct exit_report){.started = clock_wall(), .ended = clock_wall()};
    if (copy_review(flight, out, err) < 0)
        return NULL;
    return flight;
}

/* -------------------------------------------------------------------- reuse */

/* At the end its bytes are handed over. */
static bool feeds_output(const struct task *task) {
    const struct pipeline *pipeline = task->step->run->pipeline;
    for (size_t i = 0; i < pipeline->output_count; i++)
        if (pipeline->outputs[i].from.kind == REFERENCE_STEP &&
            pipeline->outputs[i].from.index == task->step->step->index)
            return true;
    return false;
}

/* A fan that is not made yet reads its outputs. */
static bool feeds_fan(const struct task *task) {
    const struct run *run = task->step->run;
    for (size_t i = 0; i < run->pipeline->step_count; i++) {
        const struct fan *fan = &run->pipeline->steps[i].fan;
        const struct axis *axis = run->axes[i];
        if (fan->kind > FAN_STEP && fan->over.kind == REFERENCE_STEP &&
            fan->over.index == task->step->step->index &&
            (task->node->index >= axis->range_capacity || !axis->ranges[task->node->index].made))
            return true;
    }
    return false;
}

/* The next task_move() stores it. */
static void set_result(struct task *task, const char *result) {
    task->has_new_result = true;
    task->new_result = result;
}

int flight_own_key(const struct flight *flight, uint8_t ret[SHA256_SIZE], struct error **err) {
    OWN_STRING unique = memory_format("%s %s", flight->job, flight->recipe_text);
    if (!unique)
        return error_set_memory(err);
    sha256_of(unique, strlen(unique), ret);
    return 0;
}

/* Whether there is as much of a known result as this task needs. */
static bool is_enough(const struct task *task, const uint8_t key[SHA256_SIZE], bool dropped) {
    OWN_STRING folder = result_folder(task->step->run->engine, key);
    OWN_STRING output = folder ? path_join(folder, "output") : NULL;
    if (dropped)
        return !task->needed && !feeds_fan(task) && !feeds_output(task);
    return output && file_exists(AT_FDCWD, output);
}

/* Who made it, in words. */
static char *tell_origin(struct rows *rows) {
    const char *partition = rows_text(rows, 7);
    OWN_STRING attempt = rows_null(rows, 8)
                             ? memory_copy_string("")
                             : memory_format(", attempt %lld", (long long)rows_integer(rows, 8));
    return attempt ? memory_format("the same work was done in run %s: %s%s%s%s", rows_text(rows, 4),
                                   rows_text(rows, 6), *partition ? "@" : "", partition, attempt)
                   : NULL;
}

/* 1: the outputs of this recipe are known and were taken over; 0: it must run. */
static int try_reuse(struct flight *flight, struct error **err) {
    struct task *task = flight->task;
    if (!flight->cacheable || task->fresh)
        return 0;
    struct engine *engine = flight->engine;
    OWN_ROWS rows =
        store_query(engine->store, err,
                    "SELECT output, files, result, dropped, run, key, step, partition, attempt "
                    "FROM result WHERE recipe_key = ? ORDER BY created DESC LIMIT 1",
                    "b", (const void *)flight->recipe_key, (size_t)SHA256_SIZE);
    if (!rows)
        return -1;
    int more = rows_next(rows, err);
    if (more <= 0)
        return more;
    bool files = rows_integer(rows, 1) > 0, dropped = !rows_null(rows, 3);
    size_t size = 0, key_size = 0;
    const void *digest = rows_bytes(rows, 0, &size), *key = rows_bytes(rows, 5, &key_size);
    if (size != SHA256_SIZE || key_size != SHA256_SIZE || (files && !is_enough(task, key, dropped)))
        return 0;
    memcpy(task->output, digest, SHA256_SIZE);
    memcpy(task->key, key, SHA256_SIZE);
    task->has_output = files;
    OWN_STRING result = memory_copy_string(rows_text(rows, 2));
    OWN_STRING reason = tell_origin(rows);
    rows_close(take(&rows));
    if (!reason)
        return error_set_memory(err);
    set_result(task, result);
    if (engine_write(engine, err) < 0 ||
        store_run(engine->store, err, "UPDATE result SET used = ? WHERE key = ?", "ib",
                  clock_wall(), (const void *)task->key, (size_t)SHA256_SIZE) < 0)
        return -1;
    schedule_release(task);
    flight_drop(flight);
    return next_settle(task, TASK_REUSED, reason, err) < 0 ? -1 : 1;
}

/* The attempt that does the same work right now, or NULL. */
static const struct flight *same_work(const struct flight *flight) {
    for (const struct flight *other = flight->engine->flights; other; other = other->next)
        if (other != flight && other->cacheable &&
            memcmp(other->recipe_key, flight->recipe_key, SHA256_SIZE) == 0)
            return other;
    return NULL;
}

/* The task waits for the other's end, and is looked at anew then: it is reused, or, where the other
 * failed or it was asked to run anew, it runs. */
static int wait_for(struct flight *flight, const struct flight *other, struct error **err) {
    struct task *task = flight->task;
    OWN_STRING reason = memory_format(WAITS_FOR_SAME " in run %s", other->task->step->run->name);
    if (!reason)
        return error_set_memory(err);
    schedule_release(task);
    flight_drop(flight);
    if (task_move(task, TASK_READY, reason, err) < 0)
        return -1;
    schedule_park(task);
    return 0;
}

int flight_need(struct task *task, struct error **err) {
    task->needed = true;
    if (!task_state_is_final(task->state))
        return 0;
    if (graph_reopened(task, err) < 0)
        return -1;
    return task_move(task, TASK_READY, "its outputs were dropped and are needed again", err);
}

/* A source below results/ that is gone: whose is it? The task that must run again, or NULL. */
static struct task *find_dropped(const struct task *task) {
    const struct step *step = task->step->step;
    struct run *run = task->step->run;
    for (size_t i = 0; i < step->edge_count; i++) {
        struct run_step *upstream = &run->steps[step->edges[i].step];
        for (size_t n = 0; n < upstream->task_capacity; n++) {
            struct task *other = upstream->tasks[n];
            if (!other || !task_has_data(other) || !other->has_output)
                continue;
            bool ours = step->edges[i].relation == RELATION_JOIN
                            ? node_at_level(other->node, (uint32_t)step->edges[i].common) ==
                                  node_at_level(task->node, (uint32_t)step->edges[i].common)
                            : graph_upstream(task, step->edges[i].step) == other;
            OWN_STRING path = ours ? result_path(other, "") : NULL;
            if (path && !file_exists(AT_FDCWD, path))
                return other;
        }
    }
    return NULL;
}

/* ------------------------------------------------------------------- launch */

static json_t *describe_box(const struct flight *flight) {
    const struct step *step = flight->task->step->step;
    json_t *mounts = json_array();
    for (size_t i = 0; mounts && i < flight->mount_count; i++)
        json_array_append_new(mounts, json_pack("{s:s, s:b}", "target", flight->mounts[i].target,
                                                "writable", (int)flight->mounts[i].writable));
    return json_pack("{s:s, s:s, s:f, s:I, s:I, s:o}", "mode",
                     step->box == BOX_WISH_SEALED ? "sealed" : "off", "network",
                     step->network ? step->network : "none", "cpus",
                     flight->task->step->resources.cpus, "memory",
                     (json_int_t)flight->task->step->resources.memory, "timeout",
                     (json_int_t)step->timeout, "mounts", mounts);
}

static int save_intent(struct flight *flight, struct error **err) {
    struct task *task = flight->task;
    struct engine *engine = flight->engine;
    OWN_JSON box = describe_box(flight);
    OWN_STRING text = box ? json_canonical(box, err) : NULL;
    if (!text)
        return error_set_memory(err);
    if (engine_write(engine, err) < 0 ||
        store_run(engine->store, err,
                  "INSERT INTO attempt(task, number, job, driver, recipe, cacheable, box, log, "
                  "launched) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
                  "iisssissi", task->id, (int64_t)flight->number, flight->job, engine->driver->name,
                  flight->recipe_text, (int64_t)flight->cacheable, text,
                  flight->log + strlen(engine->home) + 1, clock_wall()) < 0)
        return -1;
    task->attempts++;
    task->tries++;
    return task_move(task, TASK_RUNNING, NULL, err);
}

static int make_folders(struct flight *flight, struct error **err) {
    if (mkdir(flight->work, 0700) < 0 && errno != EEXIST)
        return error_set_errno(err, errno, "cannot make a work folder");
    if (mkdir(flight->out, 0755) < 0 && errno != EEXIST)
        return error_set_errno(err, errno, "cannot make a work folder");
    OWN_STRING folder =
        memory_copy_bytes(flight->log, (size_t)(path_base_name(flight->log) - flight->log) - 1);
    if (!folder)
        return error_set_memory(err);
    if (!flight->task->step->has_log_folder && directory_make(AT_FDCWD, folder, 0700, err) < 0)
        return -1;
    flight->task->step->has_log_folder = true;
    if (unlink(flight->log) < 0 && errno != ENOENT) /* of an attempt that a power cut undid */
        return error_set_errno(err, errno, "cannot begin a log");
    return 0;
}

/* In the pool: links what lies in several places into one folder. */
struct farm_job {
    struct pool_job job;
    struct flight *flight;
    struct error *failure;
};

static int link_one(const struct farm *farm, struct error **err) {
    OWN_STRING parent =
        memory_copy_bytes(farm->target, (size_t)(path_base_name(farm->target) - farm->target));
    if (!parent)
        return error_set_memory(err);
    if (directory_make(AT_FDCWD, parent, 0755, err) < 0)
        return -1;
    return tree_link(AT_FDCWD, farm->source, AT_FDCWD, farm->target, err);
}

static void link_farms(struct pool_job *base) {
    struct farm_job *job = (struct farm_job *)base;
    for (size_t i = 0; i < job->flight->farm_count && !job->failure; i++)
        if (link_one(&job->flight->farms[i], &job->failure) < 0)
            return;
}

static void add_launch(struct flight *flight) {
    struct flight **end = &flight->engine->launches; /* few: those of one turn */
    while (*end)
        end = &(*end)->next_launch;
    *end = flight;
    flight->next_launch = NULL;
    flight->going = true;
    engine_touch(flight->engine);
}

/* Before the process exists: the attempt fails in words. */
static int fail_unstarted(struct flight *flight, enum cause cause, struct error *problem,
                          struct error **err) {
    OWN_ERROR own = problem;
    flight->report = (struct exit_report){
        .cause = cause, .exit_code = -1, .started = clock_wall(), .ended = clock_wall()};
    flight->detail = own->hint ? memory_format("%s (%s)", own->message, own->hint)
                               : memory_copy_string(own->message);
    return flight_failed(flight, err);
}

static int farms_done(struct pool_job *base, struct error **err) {
    OWN_MEMORY(struct farm_job) job = (struct farm_job *)base;
    struct error *failure = take(&job->failure);
    if (failure)
        return fail_unstarted(job->flight, CAUSE_NOT_STARTED, failure, err);
    add_launch(job->flight);
    return 0;
}

static int start(struct flight *flight, struct error **err) {
    struct error *problem = NULL;
    if (make_folders(flight, &problem) < 0)
        return fail_unstarted(flight, CAUSE_NOT_STARTED, problem, err);
    if (!flight->farm_count) {
        add_launch(flight);
        return 0;
    }
    struct farm_job *job = memory_allocate(sizeof(*job));
    if (!job)
        return error_set_memory(err);
    job->job =
        (struct pool_job){.run = flight->task->step->run, .work = link_farms, .done = farms_done};
    job->flight = flight;
    return pool_queue(flight->task->step->run, &job->job, err);
}

/* A folder that is there already was made for an attempt of this name that a power cut took out of
 * the database: nothing of it may be seen. */
static int clear_work(const struct flight *flight, struct error **err) {
    return rmdir(flight->work) == 0 || errno == ENOENT ? 0
                                                       : tree_remove(AT_FDCWD, flight->work, err);
}

int flight_begin(struct task *task, struct error **err) {
    struct flight *flight = flight_new(task, task->attempts + 1u, err);
    if (!flight)
        return -1;
    struct error *problem = NULL;
    if (clear_work(flight, &problem) < 0 || flight_prepare(flight, &problem) < 0) {
        OWN_ERROR own = problem;
        task->cause = own->code == ERROR_DENIED ? CAUSE_POLICY : CAUSE_NOT_STARTED;
        OWN_STRING reason = own->hint ? memory_format("%s (%s)", own->message, own->hint)
                                      : memory_copy_string(own->message);
        schedule_release(task);
        flight_drop(flight);
        if (own->code == ERROR_MEMORY)
            return error_move(err, take(&own));
        return task_move(task, TASK_FAILED, reason, err);
    }
    if (!flight->cacheable && flight_own_key(flight, task->key, err) < 0)
        return -1;
    const struct flight *other = flight->cacheable ? same_work(flight) : NULL;
    if (other)
        return wait_for(flight, other, err);
    int reused = try_reuse(flight, err);
    if (reused)
        return reused < 0 ? -1 : 0;
    struct task *dropped = task->step->run->dropped_any ? find_dropped(task) : NULL;
    if (dropped) {
        schedule_release(task);
        flight_drop(flight);
        if (task_move(task, TASK_WAITING, "waits for dropped data to be made again", err) < 0)
            return -1;
        return flight_need(dropped, err);
    }
    if (save_intent(flight, err) < 0)
        return -1;
    return start(flight, err);
}

static int launch(struct flight *flight, struct error **err) {
    const struct step *step = flight->task->step->step;
    const struct resources *resources = &flight->task->step->resources;
    struct compute_limits defaults;
    policy_defaults(flight->engine->policy, &defaults);
    struct job job = {
        .name = flight->job,
        .after = flight->before ? flight->before->job : NULL,
        .image = images_of(flight->task->step->run, step),
        .entrypoint = flight->entrypoint,
        .arguments = flight->arguments + flight->entrypoint_count,
        .environment = flight->environment,
        .directory = step->box == BOX_WISH_SEALED && !step->image ? "/tmp" : NULL,
        .work = flight->work,
        .mounts = flight->mounts,
        .mount_count = flight->mount_count,
        .log = flight->log,
        .network = step->network,
        .limits = {.cpus = resources->cpus,
                   .memory = resources->memory,
                   .shared_memory = resources->shared_memory,
                   .scratch = resources->scratch,
                   .output = resources->output ? resources->output : defaults.output,
                   .output_files = resources->files ? resources->files : defaults.output_files,
                   .processes = resources->processes ? resources->processes : defaults.processes,
                   .gpus = resources->gpus,
                   .timeout = step->timeout},
        .writable_root = step->writable_root,
        .users = step->users == USERS_IMAGE,
        .box = step->box == BOX_WISH_SEALED ? BOX_SEALED : BOX_OFF,
    };
    return flight->engine->driver->launch(flight->engine->compute, &job, err);
}

void flight_forget_landed(struct engine *engine) {
    while (engine->landed) {
        struct flight *flight = engine->landed;
        engine->landed = flight->next_launch;
        remove_work(flight->work);
        engine->driver->forget(engine->compute, flight->job);
        flight_free(flight);
    }
}

int flight_after_commit(struct engine *engine, struct error **err) {
    flight_forget_landed(engine);
    bool any = engine->launches;
    while (engine->launches) {
        struct flight *flight = engine->launches;
        engine->launches = flight->next_launch;
        struct error *problem = NULL;
        if (launch(flight, &problem) < 0 &&
            fail_unstarted(flight, CAUSE_NOT_STARTED, problem, err) < 0)
            return -1;
    }
    return any ? engine->driver->flush(engine->compute, err) : 0;
}

/* ------------------------------------------------------------------- attach */

static int load_attempt(struct flight *flight, struct error **err) {
    OWN_ROWS rows = store_query(flight->engine->store, err,
                                "SELECT recipe, cacheable, job, cause FROM attempt "
                                "WHERE task = ? AND number = ?",
                                "ii", flight->task->id, (int64_t)flight->number);
    if (!rows)
        return -1;
    int more = rows_next(rows, err);
    if (more <= 0)
        return more < 0 ? -1 : error_set(err, ERROR_CORRUPT, "a running task has no attempt");
    flight->recipe_text = memory_copy_string(rows_text(rows, 0));
    flight->cacheable = rows_integer(rows, 1);
    (void)snprintf(flight->job, sizeof(flight->job), "%s", rows_text(rows, 2));
    flight->doubtful = rows_integer(rows, 3) == CAUSE_LOST;
    if (!flight->recipe_text)
        return error_set_memory(err);
    sha256_of(flight->recipe_text, strlen(flight->recipe_text), flight->recipe_key);
    return 0;
}

/* A review's outputs were being stored. */
static int attach_review(struct task *task, struct error **err) {
    struct flight *flight = flight_new(task, task->attempts, err);
    OWN_STRING folder = people_review_folder(task, err);
    OWN_STRING out = folder ? path_join(folder, "out") : NULL;
    if (!flight || !out || name_review(flight, err) < 0 || copy_review(flight, out, err) < 0)
        return -1;
    return flight_finish(flight, err);
}

int flight_attach(struct task *task, struct error **err) {
    struct engine *engine = task->step->run->engine;
    if (task->step->step->type == STEP_MANUAL_REVIEW)
        return attach_review(task, err);
    if (!task->attempts)
        return error_set(err, ERROR_CORRUPT, "a running task was never launched");
    struct flight *flight = flight_new(task, task->attempts, err);
    if (!flight || load_attempt(flight, err) < 0)
        return -1;
    schedule_take(task);
    if (engine->driver->find(engine->compute, flight->job) != JOB_UNKNOWN)
        return 0;
    /* The intent was durable, the launch never came: it is as if we had not tried. */
    schedule_release(task);
    flight_drop(flight);
    if (engine_write(engine, err) < 0 ||
        store_run(engine->store, err, "DELETE FROM attempt WHERE task = ? AND number = ?", "ii",
                  task->id, (int64_t)task->attempts) < 0)
        return -1;
    task->attempts--;
    task->tries -= task->tries > 0;
    return task_move(task, TASK_READY, "its launch was cut short before it began", err);
}

bool flight_parse_job(const char *job, int64_t *ret_task, int64_t *ret_number) {
    OWN_STRING name = memory_copy_string(job);
    char *number = name ? strrchr(name, '.') : NULL;
    if (number)
        *number++ = '\0';
    const char *task = number ? strrchr(name, '.') : NULL;
    return task && text_parse_integer(task + 1, 1, INT64_MAX, ret_task, NULL) == 0 &&
           text_parse_integer(number, 1, UINT16_MAX, ret_number, NULL) == 0;
}

/* The report of this job is stored, or nobody asks for it any more: a run that was removed, an
 * attempt that a power cut took out of the database and that will be launched under this name. */
static bool is_settled(struct engine *engine, const char *job) {
    int64_t id = 0, attempt = 0, open = 1;
    if (!flight_parse_job(job, &id, &attempt))
        return false;
    return store_integer(engine->store, 0, &open, NULL,
                         "SELECT count(*) FROM attempt WHERE task = ? AND number = ? AND job = ? "
                         "AND ended IS NULL",
                         "iis", id, attempt, job) == 0 &&
           !open;
}

static void forget_settled(void *context, const char *job) {
    struct engine *engine = context;
    if (!is_settled(engine, job))
        return;
    OWN_STRING work = home_path(engine, "work/%s", job);
    if (work)
        remove_work(work);
    engine->driver->forget(engine->compute, job);
}

void flight_forget_settled(struct engine *engine) {
    engine->driver->list_ended(engine->compute, forget_settled, engine);
}

/* --------------------------------------------------------------------- ends */

static struct flight *find_flight(const struct engine *engine, const char *job) {
    struct flight *flight = engine->flights;
    while (flight && !text_equal(flight->job, job))
        flight = flight->next;
    return flight;
}

static int save_end(const struct flight *flight, struct error **err) {
    const struct exit_report *report = &flight->report;
    if (engine_write(flight->engine, err) < 0)
        return -1;
    return store_run(flight->engine->store, err,
                     "UPDATE attempt SET started = ?, ended = ?, cause = ?, exit = ?, signal = ?, "
                     "peak_memory = ?, cpu_user = ?, cpu_system = ?, detail = ?, sandbox = ? "
                     "WHERE task = ? AND number = ?",
                     "iiiiiiiissii", report->started, report->ended, (int64_t)report->cause,
                     (int64_t)report->exit_code, (int64_t)report->signal,
                     (int64_t)report->peak_memory, report->cpu_user, report->cpu_system,
                     flight->detail, flight->sandbox, flight->task->id, (int64_t)flight->number);
}

/* A limit that does not hold must not be a secret of the record: it is said once a run. */
static int warn_once(struct run *run, const char *weaker, struct error **err) {
    if (run->warned || !weaker || !*weaker)
        return 0;
    run->warned = true;
    return event_add(run->engine, run->id, 0, "warning",
                     json_pack("{s:s, s:s}", "message", weaker, "hint",
                               "`glovebox doctor` says what would help"),
                     err);
}

void flight_exited(void *context, const struct exit_report *report) {
    struct engine *engine = context;
    struct flight *flight = find_flight(engine, report->name);
    struct error *problem = NULL;
    if (!flight && call_exited(engine, report, &problem)) {
        engine_touch(engine);
        if (problem)
            engine_fail(engine, problem);
        return;
    }
    if (!flight) { /* of a run that is gone */
        engine->driver->forget(engine->compute, report->name);
        return;
    }
    flight->report = *report;
    flight->ended_well = report->cause == CAUSE_NONE;
    flight->report.name = NULL;
    flight->report.detail = NULL;
    flight->report.sandbox = NULL;
    flight->report.weaker = NULL;
    flight->sandbox = memory_copy_string(report->sandbox);
    flight->detail = memory_copy_string(report->detail);
    if (flight->doubtful && report->cause == CAUSE_NONE) {
        memory_free(flight->detail);
        flight->detail = memory_copy_string("the machine went down before its outputs were safe");
        flight->report.cause = CAUSE_LOST;
    }
    flight->task->exit = report->exit_code;
    engine_touch(engine);
    int result = warn_once(flight->task->step->run, report->weaker, &problem);
    if (result == 0)
        result = flight->report.cause == CAUSE_NONE ? flight_finish(flight, &problem)
                                                    : flight_failed(flight, &problem);
    if (result < 0)
        engine_fail(engine, problem);
}

/* Takes the flight off the task; what is left of it goes after the commit. Not before: should we
 * die, its good end is reported again, and its outputs must still lie there. What failed by itself
 * makes room at once, perhaps for the very commit. */
void flight_land(struct flight *flight) {
    schedule_release(flight->task);
    unlink_flight(flight);
    if (!flight->ended_well)
        remove_work(flight->work);
    if (flight->cacheable)
        schedule_unpark(flight->engine, flight->recipe_key);
    flight->next_launch = flight->engine->landed;
    flight->engine->landed = flight;
}

static int64_t backoff(const struct retries *retries, unsigned tries) {
    int64_t wait = retries->backoff;
    for (unsigned i = 1; i < tries && wait < (int64_t)1 << 40; i++)
        wait *= 2;
    return retries->cap && wait > retries->cap ? retries->cap : wait;
}

static bool may_retry(const struct task *task, enum cause cause) {
    const struct retries *retries = &task->step->step->retries;
    if (task->step->step->type == STEP_MANUAL_REVIEW)
        return false; /* a person's work is not tried again */
    if (cause == CAUSE_CANCELLED || cause == CAUSE_POLICY || task->tries > retries->count)
        return false;
    return !retries->causes || (retries->causes & 1u << cause);
}

/* What a failed attempt says of itself is kept where it can be read: its outputs are not. */
static char *failed_result(const struct flight *flight) {
    OWN_ERROR problem = NULL;
    char *result = NULL;
    if (result_read(flight->out, FAILED_RESULT_MAXIMUM, &result, &problem) < 0)
        return NULL; /* it failed: half a file is nothing strange */
    return result;
}

int flight_failed(struct flight *flight, struct error **err) {
    struct task *task = flight->task;
    enum cause cause = flight->report.cause;
    if (save_end(flight, err) < 0)
        return -1;
    OWN_STRING detail = memory_copy_string(flight->detail ? flight->detail : "");
    bool review = task->step->step->type == STEP_MANUAL_REVIEW; /* its result is the decision */
    OWN_STRING result = review ? NULL : failed_result(flight);
    flight_land(flight);
    if (!review)
        set_result(task, result);
    task->cause = (uint8_t)cause;
    if (cause == CAUSE_CANCELLED)
        return task_move(task, TASK_CANCELLED, "stopped by a person", err);
    if (cause == CAUSE_LOST && task->lost < LOST_MAXIMUM) {
        task->lost++;
        task->tries -= task->tries > 0;
        return task_move(task, TASK_READY, "its process was lost with its keeper", err);
    }
    if (!may_retry(task, cause))
        return task_move(task, TASK_FAILED, detail, err);
    int64_t wait = backoff(&task->step->step->retries, task->tries);
    if (!wait)
        return task_move(task, TASK_READY, "tried again", err);
    task->wake = clock_wall() + wait;
    return task_move(task, TASK_SLEEPING, "waits before it is tried again", err);
}

int flight_succeeded(struct flight *flight, const char *result, uint64_t bytes, uint64_t files,
                     struct error **err) {
    struct task *task = flight->task;
    struct run *run = task->step->run;
    int64_t now = clock_wall();
    if (save_end(flight, err) < 0)
        return -1;
    schedule_timed(task->step, flight->report.ended - flight->report.started);
    set_result(task, result);
    bool remember = flight->cacheable || files; /* else nobody can ever ask for it */
    /* What is there under the key already is the same: who made it first stays on record. */
    if (remember &&
        store_run(flight->engine->store, err,
                  "INSERT INTO result(key, recipe_key, recipe, pipeline, step, partition, attempt, "
                  "output, bytes, files, result, run, created, used, unsafe) VALUES(?1, ?2, ?3, "
                  "?4, ?5, ?6, ?7, "
                  "?8, ?9, ?10, ?11, ?12, ?13, ?13, nullif(?14, 0)) ON CONFLICT(key) DO UPDATE SET "
                  "created = excluded.created, used = excluded.used, dropped = NULL, "
                  "recipe_key = excluded.recipe_key, unsafe = coalesce(excluded.unsafe, unsafe)",
                  "bbssssibiissii", (const void *)task->key, (size_t)SHA256_SIZE,
                  (const void *)flight->recipe_key, (size_t)(flight->cacheable ? SHA256_SIZE : 0),
                  flight->recipe_text, run->pipeline->name, task->step->step->id, task->node->key,
                  (int64_t)flight->number, (const void *)task->output, (size_t)SHA256_SIZE,
                  (int64_t)bytes, (int64_t)files, result, run->name, now,
                  files ? flight->engine->sync_round : 0) < 0)
        return -1;
    flight_land(flight);
    task->cause = CAUSE_NONE;
    task->needed = false;
    return next_settle(task, TASK_SUCCEEDED, NULL, err);
}

int flight_stop(struct task *task, enum cause cause, struct error **err) {
    struct engine *engine = task->step->run->engine;
    if (!task->flight)
        return 0;
    return engine->driver->stop(engine->compute, task->flight->job, cause, 10000, err);
}
