/* Which ready task runs next: steps with the longest way still to go first, then the oldest. */
#include "private.h"

void schedule_queue(struct task *task) {
    struct run_step *step = task->step;
    task->queue_next = NULL;
    if (step->queue_last)
        step->queue_last->queue_next = task;
    else
        step->queue_first = task;
    step->queue_last = task;
}

void schedule_unqueue(struct task *task) {
    struct run_step *step = task->step;
    struct task **at = &step->queue_first, *before = NULL;
    while (*at && *at != task) {
        before = *at;
        at = &(*at)->queue_next;
    }
    if (!*at)
        return;
    *at = task->queue_next;
    if (step->queue_last == task)
        step->queue_last = before;
    task->queue_next = NULL;
}

static bool needs_compute(const struct step *step) {
    return step->type == STEP_COMMAND || step->type == STEP_TOOL || step->type == STEP_CONTAINER;
}

static double cpus_of(const struct run_step *step) {
    return step->resources.cpus > 0 ? step->resources.cpus : 1;
}

static bool fits_at_all(const struct engine *engine, const struct run_step *step) {
    const struct compute_capacity *all = &engine->capacity;
    return cpus_of(step) <= all->cpus && (!all->memory || step->resources.memory <= all->memory) &&
           step->resources.gpus <= all->gpus;
}

static bool fits_now(const struct engine *engine, const struct run_step *step) {
    const struct compute_capacity *all = &engine->capacity;
    return engine->cpus_taken + cpus_of(step) <= all->cpus + 1e-9 &&
           (!all->memory || engine->memory_taken + step->resources.memory <= all->memory) &&
           engine->gpus_taken + step->resources.gpus <= all->gpus;
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

void schedule_release(struct task *task) {
    if (!task->counted)
        return;
    struct engine *engine = task->step->run->engine;
    const struct run_step *step = task->step;
    engine->cpus_taken -= cpus_of(step);
    engine->memory_taken -= step->resources.memory;
    engine->gpus_taken -= step->resources.gpus;
    task->step->in_flight--;
    task->step->run->in_flight--;
    task->counted = false;
}

static bool may_start(const struct run *run, const struct run_step *step) {
    if (run->stopping && !step->step->cleanup_only)
        return false;
    return !step->step->limit || step->in_flight < step->step->limit;
}

static int dispatch_step(struct run_step *step, bool *ret_full, struct error **err) {
    struct run *run = step->run;
    struct engine *engine = run->engine;
    bool compute = needs_compute(step->step);
    while (step->queue_first && may_start(run, step)) {
        struct task *task = step->queue_first;
        if (!compute) {
            if (people_begin(task, err) < 0)
                return -1;
            continue;
        }
        if (run->pipeline->limit && run->in_flight >= run->pipeline->limit) {
            *ret_full = true;
            return 0;
        }
        if (!fits_at_all(engine, step)) {
            task->cause = CAUSE_NOT_STARTED;
            if (task_move(task, TASK_FAILED, "it asks for more than this machine has", err) < 0)
                return -1;
            continue;
        }
        if (!fits_now(engine, step))
            return 0; /* a smaller one of another step may fit */
        take_resources(task);
        if (flight_begin(task, err) < 0)
            return -1;
    }
    return 0;
}

int schedule_dispatch(struct engine *engine, struct error **err) {
    for (struct run *run = engine->runs; run; run = run->next) {
        if (run->state != RUN_RUNNING || run->cancelling || !run->sources_ready)
            continue;
        bool full = false;
        for (size_t i = 0; i < run->pipeline->step_count && !full; i++)
            if (dispatch_step(run->order[i], &full, err) < 0)
                return -1;
        if (graph_drain(run, err) < 0)
            return -1;
    }
    return 0;
}
