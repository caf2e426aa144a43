/* Driving: one loop thread owns everything. A turn: what happened is applied, what can start is
 * prepared, all of it is committed at once, and only then launched. */
#include "private.h"

#include <unistd.h>

#define POLL_INTERVAL   100 /* ms: commands, sleepers, reviews */
#define FOLLOW_INTERVAL 200
#define CLOCK_SLACK     2000 /* ms: less is steering, not setting */

struct drive {
    struct engine *engine;
    const struct drive_options *options;
    int64_t run_id;
    uv_prepare_t prepare;
    uv_timer_t poll, progress;
    bool stop;
    bool looked; /* at what people left meanwhile: before that, the run does not wait for them */
};

void engine_touch(struct engine *engine) {
    engine->dirty = true;
}

void engine_fail(struct engine *engine, struct error *error) {
    if (engine->failure)
        error_free(error);
    else
        engine->failure = error;
    engine->dirty = true;
}

struct run *engine_loaded_run(struct engine *engine, int64_t id) {
    struct run *run = engine->runs;
    while (run && run->id != id)
        run = run->next;
    return run;
}

/* --------------------------------------------------------------------- pool */

static void pool_work(uv_work_t *request) {
    struct pool_job *job = request->data;
    job->work(job);
}

static void pool_done(uv_work_t *request, int status) {
    struct pool_job *job = request->data;
    struct run *run = job->run;
    struct engine *engine = run->engine;
    struct error *problem = NULL;
    (void)status;
    run->pool--;
    engine_touch(engine);
    if (job->done(job, &problem) < 0)
        engine_fail(engine, problem);
}

int pool_queue(struct run *run, struct pool_job *job, struct error **err) {
    if (!run->engine->loop) {
        job->work(job);
        return job->done(job, err);
    }
    job->request.data = job;
    run->pool++;
    if (uv_queue_work(run->engine->loop, &job->request, pool_work, pool_done) == 0)
        return 0;
    run->pool--;
    return error_set_memory(err);
}

/* --------------------------------------------------------------------- turn */

static uint32_t count_of(const struct run *run, enum task_state state) {
    uint32_t count = 0;
    for (size_t i = 0; i < run->pipeline->step_count; i++)
        count += run->steps[i].counts[state];
    return count;
}

static bool has_failed(const struct run *run) {
    for (size_t i = 0; i < run->pipeline->step_count; i++)
        if (run->steps[i].failed)
            return true;
    return false;
}

/* Nothing moves any more: what is still waiting will never be asked for. */
static int skip_the_rest(struct run *run, bool *ret_any, struct error **err) {
    *ret_any = false;
    if (run->stopping || run->cancelling)
        return 0; /* left waiting, so that a retry takes them up */
    for (size_t i = 0; i < run->pipeline->step_count; i++) {
        struct run_step *step = &run->steps[i];
        for (size_t n = 0; step->counts[TASK_WAITING] && n < step->task_capacity; n++) {
            struct task *task = step->tasks[n];
            if (!task || task->state != TASK_WAITING || task->waiting || task->woken)
                continue;
            *ret_any = true;
            if (task_skip(task, SKIP_NOT_FIRED, err) < 0)
                return -1;
        }
    }
    return graph_drain(run, err);
}

/* What came up after the command: a job that ended before it could be stopped leads on, and one
 * that failed, or whose launch was cut short, would be tried again. */
static int cancel_the_rest(struct run *run, struct error **err) {
    for (size_t i = 0; i < run->pipeline->step_count; i++) {
        struct run_step *step = &run->steps[i];
        bool any = step->counts[TASK_WAITING] || step->counts[TASK_READY] ||
                   step->counts[TASK_SLEEPING] || step->counts[TASK_DECIDING];
        for (size_t n = 0; any && n < step->task_capacity; n++)
            if (step->tasks[n] && task_cancel(step->tasks[n], err) < 0)
                return -1;
    }
    return 0;
}

static int settle_run(struct run *run, struct error **err) {
    if (run->state == RUN_PAUSED || run->state >= RUN_SUCCEEDED || run->finishing ||
        !run->sources_ready)
        return 0;
    if (run->cancelling && cancel_the_rest(run, err) < 0)
        return -1;
    bool moving = run->in_flight || run->pool || run->calls || count_of(run, TASK_RUNNING) ||
                  (count_of(run, TASK_SLEEPING) && !run->stopping) ||
                  (count_of(run, TASK_READY) && !run->stopping);
    if (moving)
        return 0;
    if (run->cancelling)
        return record_finish(run, RUN_CANCELLED, err);
    if (count_of(run, TASK_DECIDING) && !run->stopping) {
        if (run->state == RUN_WAITING)
            return 0;
        if (run_move(run, RUN_WAITING, "waits for a person", err) < 0)
            return -1;
        record_note(run);
        return 0;
    }
    bool any = false;
    if (skip_the_rest(run, &any, err) < 0)
        return -1;
    if (any)
        return 0;
    return record_finish(run, has_failed(run) || run->stopping ? RUN_FAILED : RUN_SUCCEEDED, err);
}

/* A run that waited moves again as soon as something can be done. */
static int wake_run(struct run *run, struct error **err) {
    bool can = count_of(run, TASK_READY) || count_of(run, TASK_RUNNING);
    if (run->state == RUN_PLANNED || (run->state == RUN_WAITING && can))
        return run_move(run, RUN_RUNNING, run->cancelling ? NOTE_CANCELLING : NULL, err);
    return 0;
}

int drive_turn(struct engine *engine, struct error **err) {
    for (int round = 0; engine->dirty && round < 100; round++) {
        engine->dirty = false;
        for (struct run *run = engine->runs; run; run = run->next)
            if (run->state < RUN_SUCCEEDED && (graph_drain(run, err) < 0 || wake_run(run, err) < 0))
                return -1;
        if (schedule_dispatch(engine, err) < 0)
            return -1;
        for (struct run *run = engine->runs; run; run = run->next)
            if (settle_run(run, err) < 0)
                return -1;
        if (engine->failure) { /* what a callback left half done must not be committed */
            store_rollback(engine->store);
            return error_move(err, take(&engine->failure));
        }
        if (store_in_transaction(engine->store) && store_commit(engine->store, err) < 0)
            return -1;
        if (engine->ending && store_sync(engine->store, err) < 0)
            return -1;
        engine->ending = false;
        if (flight_after_commit(engine, err) < 0)
            return -1;
    }
    return 0;
}

/* ---------------------------------------------------------------- callbacks */

static void stop_with(struct drive *drive, struct error *problem) {
    if (problem)
        engine_fail(drive->engine, problem);
    drive->stop = true;
    uv_stop(drive->engine->loop);
}

static bool is_settled(const struct drive *drive) {
    const struct run *run = engine_loaded_run(drive->engine, drive->run_id);
    if (!run || run->ended)
        return true;
    if (run->state == RUN_PAUSED)
        return !run->in_flight && !run->pool && !run->calls;
    return run->state == RUN_WAITING && !drive->options->wait && !run->pool && drive->looked;
}

static void on_prepare(uv_prepare_t *handle) {
    struct drive *drive = handle->data;
    struct error *problem = NULL;
    if (drive->stop)
        return;
    if (drive_turn(drive->engine, &problem) < 0)
        stop_with(drive, problem);
    else if (is_settled(drive))
        stop_with(drive, NULL);
    else
        usleep(schedule_leisure(drive->engine));
}

/* Names of the runs under way that were made since we last looked, and of the one we are here for;
 * not of those that a command has woken, and loaded, meanwhile. */
static json_t *list_new(struct engine *engine, const char *wanted, struct error **err) {
    OWN_JSON names = json_array();
    OWN_ROWS rows = store_query(engine->store, err,
                                "SELECT name, id FROM run WHERE (state IN (0, 1) AND id > ?) OR "
                                "name = ? ORDER BY id",
                                "is", engine->newest, wanted);
    if (!rows || !names)
        return NULL;
    int more;
    while ((more = rows_next(rows, err)) > 0) {
        if (!engine_loaded_run(engine, rows_integer(rows, 1)))
            json_array_append_new(names, json_string(rows_text(rows, 0)));
        if (rows_integer(rows, 1) > engine->newest)
            engine->newest = rows_integer(rows, 1);
    }
    return more < 0 ? NULL : take(&names);
}

/* A trouble of the machine, not of the run: it is taken up when that is over. */
static bool is_passing(const struct error *problem) {
    return problem->code == ERROR_MEMORY || problem->code == ERROR_IO ||
           problem->code == ERROR_BUSY || problem->code == ERROR_DENIED;
}

/* It cannot even be loaded: that is said once, not at every drive. */
static int give_up(struct engine *engine, const char *name, const struct error *problem,
                   struct error **err) {
    log_message(LOG_WARNING, "run %s cannot be taken up: %s", name, problem->message);
    if (engine_write(engine, err) < 0)
        return -1;
    return store_run(engine->store, err,
                     "UPDATE run SET state = ?, note = ?, ended = ? WHERE name = ?", "isis",
                     (int64_t)RUN_FAILED, problem->message, clock_wall(), name);
}

static int take_up_new(struct engine *engine, const char *wanted, int64_t *ret_id,
                       struct error **err) {
    OWN_JSON names = list_new(engine, wanted, err);
    if (!names)
        return -1;
    size_t index;
    json_t *name;
    json_array_foreach(names, index, name) {
        const char *text = json_string_value(name);
        struct run *run = NULL;
        OWN_ERROR problem = NULL;
        if (drive_take_up(engine, text, &run, &problem) == 0) {
            if (text_equal(text, wanted))
                *ret_id = run->id;
            continue;
        }
        if (is_passing(problem))
            return error_move(err, take(&problem));
        if (run) { /* half of it is there: nothing is done with it any more */
            run->state = RUN_FAILED;
            run->ended = true;
        }
        if (give_up(engine, text, problem, err) < 0)
            return -1;
        if (text_equal(text, wanted))
            return store_in_transaction(engine->store) && store_commit(engine->store, err) < 0
                       ? -1
                       : error_move(err, take(&problem));
    }
    return 0;
}

/* When the wall clock was set back, what sleeps until a time would sleep so much longer. */
static void follow_clock(struct engine *engine, int64_t now) {
    int64_t boot = now - clock_monotonic(), jump = boot - engine->boot;
    bool back = engine->boot && jump < -CLOCK_SLACK;
    engine->boot = boot;
    for (struct run *run = back ? engine->runs : NULL; run; run = run->next)
        people_shift(run, jump);
}

int drive_poll(struct engine *engine, struct error **err) {
    bool any = false;
    int64_t none = 0;
    if (take_up_new(engine, "", &none, err) < 0 || commands_apply(engine, &any, err) < 0)
        return -1;
    int64_t now = clock_wall();
    follow_clock(engine, now);
    for (struct run *run = engine->runs; run; run = run->next) {
        bool active = run->state == RUN_RUNNING || run->state == RUN_WAITING;
        if (active && run->sources_ready && people_poll(run, now, err) < 0)
            return -1;
        if (active)
            report_write(run, false);
    }
    engine_touch(engine);
    return 0;
}

static void on_poll(uv_timer_t *handle) {
    struct drive *drive = handle->data;
    struct error *problem = NULL;
    if (drive_poll(drive->engine, &problem) < 0)
        stop_with(drive, problem);
    const struct run *run = engine_loaded_run(drive->engine, drive->run_id);
    drive->looked = run && run->sources_ready;
}

static void on_progress(uv_timer_t *handle) {
    struct drive *drive = handle->data;
    if (drive->options->progress && !drive->options->progress(drive->options->context))
        stop_with(drive, NULL);
}

static void on_trouble(void *context, const char *message) {
    (void)context;
    log_message(LOG_WARNING, "%s", message);
}

/* ------------------------------------------------------------------- driving */

static int attach_all(struct run *run, struct error **err) {
    for (size_t i = 0; i < run->pipeline->step_count; i++) {
        struct run_step *step = &run->steps[i];
        for (size_t n = 0; step->counts[TASK_RUNNING] && n < step->task_capacity; n++) {
            struct task *task = step->tasks[n];
            if (!task || task->state != TASK_RUNNING || task->flight)
                continue;
            if (flight_attach(task, err) < 0 ||
                (run->cancelling && flight_stop(task, CAUSE_CANCELLED, err) < 0))
                return -1;
        }
    }
    return 0;
}

static int set_going(struct run *run, struct error **err) {
    if (attach_all(run, err) < 0 || sources_begin(run, err) < 0)
        return -1;
    return expand_ready(run, err);
}

int drive_take_up(struct engine *engine, const char *name, struct run **ret, struct error **err) {
    CLEANUP(run_cleanup) struct run *run = NULL;
    if (run_load(engine, name, &run, err) < 0)
        return -1;
    struct run **end = &engine->runs; /* the oldest comes first to what is free */
    while (*end)
        end = &(*end)->next;
    struct run *loaded = *end = take(&run);
    engine_touch(engine);
    if (loaded->state >= RUN_SUCCEEDED)
        loaded->ended = true;
    else if (engine->compute && set_going(loaded, err) < 0) {
        loaded->state = RUN_FAILED; /* nobody drives it; what is under way still refers to it */
        loaded->ended = true;
        return -1;
    }
    *ret = loaded;
    return 0;
}

void drive_forget(struct engine *engine) {
    while (engine->flights) {
        struct flight *flight = engine->flights;
        engine->flights = flight->next;
        flight_free(flight);
    }
    while (engine->landed) {
        struct flight *flight = engine->landed;
        engine->landed = flight->next_launch;
        flight_free(flight);
    }
    engine->launches = NULL;
    call_forget_all(engine);
    while (engine->runs) {
        struct run *run = engine->runs;
        engine->runs = run->next;
        run_free(run);
    }
    engine->newest = 0;
    engine->cpus_taken = 0;
    engine->memory_taken = 0;
    engine->gpus_taken = 0;
}

static int open_compute(struct engine *engine, struct error **err) {
    if (!engine->driver)
        return error_set(err, ERROR_UNSUPPORTED, "this build has no compute driver");
    if (!engine->own_folder && !(engine->own_folder = process_executable_directory(err)))
        return -1;
    if (!engine->expressions && !(engine->expressions = expression_cache_new()))
        return error_set_memory(err);
    struct compute_host host = {.loop = engine->loop,
                                .home = engine->home,
                                .context = engine,
                                .exited = flight_exited,
                                .troubled = on_trouble};
    if (engine->driver->open(&host, &engine->compute, err) < 0)
        return -1;
    OWN_ERROR untidy = NULL; /* which harms nobody */
    if (call_recover(engine, &untidy) < 0)
        log_message(LOG_WARNING, "what an earlier program asked stays behind: %s",
                    untidy ? untidy->message : "no memory");
    return engine->driver->capacity(engine->compute, &engine->capacity, err);
}

static int start_handles(struct drive *drive, struct error **err) {
    uv_loop_t *loop = drive->engine->loop;
    uv_prepare_init(loop, &drive->prepare);
    uv_timer_init(loop, &drive->poll);
    uv_timer_init(loop, &drive->progress);
    drive->prepare.data = drive->poll.data = drive->progress.data = drive;
    uint64_t interval = drive->options->interval > 0 ? (uint64_t)drive->options->interval : 125;
    if (uv_prepare_start(&drive->prepare, on_prepare) ||
        uv_timer_start(&drive->poll, on_poll, 0, POLL_INTERVAL) ||
        uv_timer_start(&drive->progress, on_progress, interval, interval))
        return error_set(err, ERROR_INTERNAL, "the loop does not start");
    return 0;
}

static void close_handle(uv_handle_t *handle, void *context) {
    (void)context;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* Work in the pool refers to runs: it is waited for before they go. */
static void wait_for_pool(struct engine *engine) {
    for (;;) {
        bool busy = false;
        for (struct run *run = engine->runs; run; run = run->next)
            busy |= run->pool > 0;
        if (!busy)
            return;
        uv_run(engine->loop, UV_RUN_ONCE);
    }
}

/* Folders of attempts that were prepared, and never began: whoever drove before us died first. */
static void sweep_work(struct engine *engine) {
    struct gc_report report = {0};
    OWN_ERROR untidy = NULL; /* which harms nobody */
    if (gc_sweep_work(engine, false, &report, &untidy) < 0)
        log_message(LOG_WARNING, "folders of earlier attempts stay behind: %s",
                    untidy ? untidy->message : "no memory");
}

int drive_begin(struct engine *engine, const char *name, int64_t *ret_id, struct error **err) {
    engine->driving = true;
    engine->dirty = true;
    if (open_compute(engine, err) < 0 || power_begin(engine, err) < 0)
        return -1;
    sweep_work(engine);
    if (take_up_new(engine, name, ret_id, err) < 0)
        return -1;
    flight_forget_settled(engine);
    return 0;
}

int drive_end(struct engine *engine, int result, struct error **err) {
    for (struct run *run = engine->runs; run && result == 0; run = run->next)
        if (run->state < RUN_SUCCEEDED)
            report_write(run, true);
    if (result == 0 && engine->failure)
        result = error_move(err, take(&engine->failure));
    if (result == 0 && store_in_transaction(engine->store))
        result = store_commit(engine->store, err);
    if (result == 0)
        flight_forget_landed(engine);
    store_rollback(engine->store);
    if (engine->compute)
        engine->driver->close(engine->compute);
    engine->compute = NULL;
    drive_forget(engine);
    expression_cache_free(engine->expressions);
    engine->expressions = NULL;
    engine->driving = false;
    return result;
}

static int lead(struct drive *drive, const char *name, struct error **err) {
    struct engine *engine = drive->engine;
    uv_loop_t loop;
    if (uv_loop_init(&loop) != 0)
        return error_set_memory(err);
    engine->loop = &loop;
    int result = drive_begin(engine, name, &drive->run_id, err);
    if (result == 0)
        result = start_handles(drive, err);
    while (result == 0 && !drive->stop)
        uv_run(&loop, UV_RUN_DEFAULT);
    drive->stop = true;
    wait_for_pool(engine);
    result = drive_end(engine, result, err);
    uv_walk(&loop, close_handle, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    engine->loop = NULL;
    return result;
}

static int state_of(struct engine *engine, const char *name, enum run_state *ret,
                    struct error **err) {
    int64_t state = -1;
    if (store_integer(engine->store, -1, &state, err, "SELECT state FROM run WHERE name = ?", "s",
                      name) < 0)
        return -1;
    if (state < 0)
        return error_set(err, ERROR_NOT_FOUND, "there is no run \"%s\"", name);
    *ret = (enum run_state)state;
    return 0;
}

/* 1 when nothing more will happen by itself. A run that a command is about to wake does not rest:
 * who drives it may just not have read that yet. */
static int rests(struct engine *engine, const char *name, enum run_state state,
                 const struct drive_options *options, struct error **err) {
    int64_t commands = 0;
    if (state < RUN_SUCCEEDED && state != RUN_PAUSED && (state != RUN_WAITING || options->wait))
        return 0;
    if (store_integer(engine->store, 0, &commands, err,
                      "SELECT count(*) FROM command c JOIN run r ON r.id = c.run WHERE r.name = ? "
                      "AND c.applied IS NULL",
                      "s", name) < 0)
        return -1;
    return commands == 0;
}

int engine_drive(struct engine *engine, const char *run, const struct drive_options *options,
                 enum run_state *ret_state, struct error **err) {
    for (bool first = true;; first = false) {
        if (state_of(engine, run, ret_state, err) < 0)
            return -1;
        int resting = first ? 0 : rests(engine, run, *ret_state, options, err);
        if (resting)
            return resting < 0 ? -1 : 0;
        int locked = home_lock(engine, err);
        if (locked < 0)
            return -1;
        if (locked) {
            struct drive drive = {.engine = engine, .options = options, .run_id = -1};
            int result = lead(&drive, run, err);
            home_unlock(engine);
            return result < 0 ? -1 : state_of(engine, run, ret_state, err);
        }
        home_unlock(engine);
        if (options->progress && !options->progress(options->context))
            return 0;
        usleep(FOLLOW_INTERVAL * 1000);
    }
}
