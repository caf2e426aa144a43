/* Which ready task runs next, over all runs of the home: those of steps with the longest way still
 * to go first, then the oldest. A smaller one may overtake one that does not fit, for a while; then
 * room is kept for that one, so that nothing waits for ever behind what always fits.
 *
 * Tasks that take milliseconds would mostly wait for us. So of a step with such tasks the next ones
 * are launched ahead, each to start when the one before it ends and to take over its resources. */
#include "private.h"

#define PATIENCE 5000  /* ms that a task may be overtaken because it does not fit */
#define QUICK    20000 /* microseconds of work that are launched ahead of each running task… */
#define AHEAD    16    /* …but no more tasks than these */
#define NAP      2000  /* microseconds */

void schedule_queue(struct task *task) {
    struct run_step *step = task->step;
    task->queue_next = NULL;
    task->queued = clock_monotonic();
    if (step->queue_last)
        step->queue_last->queue_next = task;
    else
        step->queue_first = task;
    step->queue_last = task;
}

/* True when it was in the list. */
static bool take_out(struct task **first, struct task *task, struct task **ret_before) {
    struct task **at = first;
    *ret_before = NULL;
    while (*at && *at != task) {
        *ret_before = *at;
        at = &(*at)->queue_next;
    }
    if (!*at)
        return false;
    *at = task->queue_next;
    task->queue_next = NULL;
    return true;
}

void schedule_unqueue(struct task *task) {
    struct run_step *step = task->step;
    struct task *before;
    if (take_out(&step->queue_first, task, &before)) {
        if (step->queue_last == task)
            step->queue_last = before;
        return;
    }
    (void)take_out(&step->run->parked, task, &before);
}

void schedule_park(struct task *task) {
    schedule_unqueue(task);
    task->queue_next = task->step->run->parked;
    task->step->run->parked = task;
}

void schedule_unpark(struct engine *engine, const uint8_t key[SHA256_SIZE]) {
    for (struct run *run = engine->runs; run; run = run->next) {
        for (struct task **at = &run->parked; *at;) {
            struct task *task = *at;
            if (memcmp(task->key, key, SHA256_SIZE) != 0) {
                at = &task->queue_next;
                continue;
            }
            *at = task->queue_next;
            schedule_queue(task);
        }
    }
}

static bool needs_compute(const struct step *step) {
    return step->type == STEP_COMMAND || step->type == STEP_TOOL || step->type == STEP_CONTAINER;
}

static double cpus_of(const struct run_step *step) {
    return step->resources.cpus > 0 ? step->resources.cpus : 1;
}

/* Where there is no GPU at all, the driver says so, and what it looked for. */
static bool fits_at_all(const struct engine *engine, const struct run_step *step) {
    const struct compute_capacity *all = &engine->capacity;
    return cpus_of(step) <= all->cpus && (!all->memory || step->resources.memory <= all->memory) &&
           (!all->gpus || step->resources.gpus <= all->gpus);
}

/* `held` is the step whose task room is kept for, or NULL: others leave its room, or take nothing
 * of what it waits for. What is taken shrinks as tasks end and grows only beside that room, so that
 * it becomes free in the end. */
static bool fits_now(const struct engine *engine, const struct run_step *step,
                     const struct run_step *held) {
    const struct compute_capacity *all = &engine->capacity;
    double cpus = cpus_of(step) + (held ? cpus_of(held) : 0);
    uint64_t memory = step->resources.memory + (held ? held->resources.memory : 0);
    unsigned gpus = step->resources.gpus + (held ? held->resources.gpus : 0);
    return engine->cpus_taken + cpus <= all->cpus + 1e-9 &&
           (!all->memory || !step->resources.memory ||
            engine->memory_taken + memory <= all->memory) &&
           (!step->resources.gpus || !all->gpus || engine->gpus_taken + gpus <= all->gpus);
}

static void take_resources(struct task *task) {
    struct engine *engine = task->step->run->engine;
    const struct run_step *step = task->step;
    engine->cpus_taken += cpus_of(step);
    engine->memory_taken += step->resources.memory;
    engine->gpus_taken += step->resources.gpus;
    task->step->in_flight++;
    task->step->run->in_flight++;
    task->counted = true;
}

void schedule_take(struct task *task) {
    if (!task->counted)
        take_resources(task);
}

/* Takes it out of its line; returns who comes after it. */
static struct flight *leave_line(struct flight *flight) {
    if (!flight)
        return NULL;
    struct flight *before = take(&flight->before), *heir = take(&flight->heir);
    if (before)
        before->heir = heir;
    if (heir)
        heir->before = before;
    for (struct flight *next = heir; next; next = next->heir)
        next->ahead--;
    return heir;
}

void schedule_release(struct task *task) {
    struct flight *heir = leave_line(task->flight);
    if (!task->counted)
        return;
    if (heir) { /* of the same step, so it takes the same */
        heir->task->counted = true;
        task->counted = false;
        return;
    }
    struct engine *engine = task->step->run->engine;
    const struct run_step *step = task->step;
    engine->cpus_taken -= cpus_of(step);
    engine->memory_taken -= step->resources.memory;
    engine->gpus_taken -= step->resources.gpus;
    task->step->in_flight--;
    task->step->run->in_flight--;
    task->counted = false;
    graph_wake_cleanup(task->step);
}

static bool may_start(const struct run_step *step) {
    const struct run *run = step->run;
    if (run->stopping && !step->step->cleanup_only)
        return false;
    if (needs_compute(step->step) && run->pipeline->limit && run->in_flight >= run->pipeline->limit)
        return false;
    return !step->step->limit || step->in_flight < step->step->limit;
}

static bool comes_before(const struct task *a, const struct task *b) {
    if (a->step->weight != b->step->weight)
        return a->step->weight > b->step->weight;
    return a->queued != b->queued ? a->queued < b->queued : a->id < b->id;
}

static bool is_active(const struct run *run) {
    return run->state == RUN_RUNNING && !run->cancelling && run->sources_ready;
}

/* Of the tasks that may start; steps whose tasks were found not to fit in this round are left out.
 */
static struct task *first_in_order(const struct engine *engine) {
    struct task *first = NULL;
    for (const struct run *run = engine->runs; run; run = run->next) {
        for (size_t i = 0; is_active(run) && i < run->pipeline->step_count; i++) {
            const struct run_step *step = &run->steps[i];
            struct task *task = step->queue_first;
            if (task && step->passed != engine->round && may_start(step) &&
                (!first || comes_before(task, first)))
                first = task;
        }
    }
    return first;
}

static int begin(struct task *task, const struct run_step **held, struct error **err) {
    struct run_step *step = task->step;
    struct engine *engine = step->run->engine;
    if (engine->rebooted) { /* what it reads may have been lost meanwhile */
        if (graph_connect(task, err) < 0)
            return -1;
        if (task->waiting)
            return task_move(task, TASK_WAITING, "waits for data to be made again", err);
    }
    if (!needs_compute(step->step))
        return people_begin(task, err);
    if (!fits_at_all(engine, step)) {
        task->cause = CAUSE_NOT_STARTED;
        return task_move(task, TASK_FAILED, "it asks for more than this machine has", err);
    }
    if (!fits_now(engine, step, *held)) {
        step->passed = engine->round;
        if (!*held && clock_monotonic() - task->queued >= PATIENCE)
            *held = step;
        return 0;
    }
    take_resources(task);
    return flight_begin(task, err);
}

void schedule_timed(struct run_step *step, int64_t duration) {
    int64_t time = duration > 0 ? duration * 1000 : 0;
    step->pace = step->timed ? (3 * step->pace + time) / 4 : time;
    step->timed += step->timed < 4;
}

/* The running task of the step behind which there is most room, or NULL. */
static struct flight *shortest_line(const struct run_step *step) {
    struct flight *best = NULL;
    for (struct flight *flight = step->run->engine->flights; flight; flight = flight->next)
        if (flight->task->step == step && flight->going && !flight->heir && !flight->report.ended &&
            flight->ahead < AHEAD && flight->ahead * step->pace < QUICK &&
            (!best || flight->ahead < best->ahead))
            best = flight;
    return best;
}

/* Only for who would be next anyway: nobody is overtaken. */
static int begin_ahead(struct engine *engine, struct error **err) {
    struct task *task;
    engine->round++;
    while ((task = first_in_order(engine))) {
        const struct run_step *step = task->step;
        bool quick = needs_compute(step->step) && step->timed == 4 && step->pace < QUICK;
        struct flight *before = quick ? shortest_line(step) : NULL;
        if (!before)
            return 0;
        if (flight_begin(task, err) < 0)
            return -1;
        if (!task->flight)
            continue; /* reused, or it could not be prepared */
        task->flight->before = before;
        task->flight->ahead = before->ahead + 1;
        before->heir = task->flight;
    }
    return 0;
}

unsigned schedule_leisure(const struct engine *engine) {
    unsigned ahead = 0, running = 0;
    for (const struct flight *flight = engine->flights; flight; flight = flight->next) {
        ahead += flight->before != NULL;
        running += !flight->before;
    }
    return running && ahead >= AHEAD / 2 * running ? NAP : 0;
}

int schedule_dispatch(struct engine *engine, struct error **err) {
    const struct run_step *held = NULL;
    struct task *task;
    engine->round++;
    while ((task = first_in_order(engine)))
        if (begin(task, &held, err) < 0)
            return -1;
    if (!held && engine->driver->chains && begin_ahead(engine, err) < 0)
        return -1;
    for (struct run *run = engine->runs; run; run = run->next)
        if (is_active(run) && graph_drain(run, err) < 0)
            return -1;
    return 0;
}
