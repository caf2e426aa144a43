/* Who waits for whom. Counters make it cheap: a task knows how many of its edges are open, a step
 * knows how many of its tasks (and fans not made yet) are open below each partition. */
#include "private.h"

struct task *graph_upstream(const struct task *task, size_t step) {
    struct run_step *upstream = &task->step->run->steps[step];
    uint32_t level = upstream->axis->level;
    if (level > task->node->level)
        return NULL;
    struct node *node = node_at_level(task->node, level);
    return node->index < upstream->task_capacity ? upstream->tasks[node->index] : NULL;
}

bool task_counts_as_failed(const struct task *task) {
    if (task->state == TASK_FAILED)
        return task->step->step->on_failure != ON_FAILURE_SKIP_PARTITION;
    return task->state == TASK_CANCELLED ||
           (task->state == TASK_SKIPPED && task->skip == SKIP_UPSTREAM_FAILED);
}

static bool is_tolerated(const struct task *task) {
    return task->state == TASK_FAILED ||
           (task->state == TASK_SKIPPED && task->skip == SKIP_PARTITION);
}

bool task_has_data(const struct task *task) {
    return task->state == TASK_SUCCEEDED || task->state == TASK_REUSED;
}

struct task *task_new(struct run_step *step, struct node *node, struct error **err) {
    while (node->index >= step->task_capacity)
        if (array_reserve(&step->tasks, &step->task_capacity, step->task_capacity,
                          sizeof(*step->tasks), TASKS_MAXIMUM, err) < 0)
            return NULL;
    struct task *task = arena_allocate(step->run->arena, sizeof(*task));
    if (!task) {
        error_set_memory(err);
        return NULL;
    }
    task->step = step;
    task->node = node;
    task->exit = -1;
    step->tasks[node->index] = task;
    return task;
}

/* ----------------------------------------------------------------- counters */

/* Adds `change` to the open counters of every level above and including the node's. */
static int count_open(struct run_step *step, struct node *node, int change, struct error **err) {
    for (struct node *at = node;; at = at->parent) {
        uint32_t *counter = counter_at(step, at->level, at->index, err);
        if (!counter)
            return -1;
        *counter += (uint32_t)change;
        if (!at->parent)
            return 0;
    }
}

/* The sums that joins over a whole step ask for. */
static void tally(struct task *task, int change) {
    struct run_step *step = task->step;
    if (task_has_data(task))
        step->ok += (uint32_t)change;
    else if (task_counts_as_failed(task))
        step->failed += (uint32_t)change;
    else if (is_tolerated(task))
        step->tolerated += (uint32_t)change;
    else
        step->skipped += (uint32_t)change;
    if (task->fresh)
        step->fresh += (uint32_t)change;
}

static void tally_blocked(struct run_step *step, enum skip outcome) {
    if (outcome == SKIP_UPSTREAM_FAILED)
        step->failed++;
    else if (outcome == SKIP_PARTITION)
        step->tolerated++;
    else
        step->skipped++;
}

/* ------------------------------------------------------------------ waiting */

static int stop_waiting(struct task *task, struct error **err) {
    (void)err;
    if (task->waiting)
        task->waiting--;
    graph_wake(task);
    return 0;
}

static int stop_waiting_at(struct node *node, void *context, struct error **err) {
    const struct run_step *step = context;
    struct task *task = node->index < step->task_capacity ? step->tasks[node->index] : NULL;
    return task ? stop_waiting(task, err) : 0;
}

static int wait_again_at(struct node *node, void *context, struct error **err) {
    const struct run_step *step = context;
    struct task *task = node->index < step->task_capacity ? step->tasks[node->index] : NULL;
    if (task && task->state == TASK_WAITING)
        task->waiting++;
    return 0;
}

void graph_wake(struct task *task) {
    struct run *run = task->step->run;
    if (task->woken || task->waiting || task->state != TASK_WAITING)
        return;
    task->woken = true;
    task->queue_next = NULL;
    if (run->woken_last)
        run->woken_last->queue_next = task;
    else
        run->woken_first = task;
    run->woken_last = task;
}

/* Calls `use` for each dependent task that waits for the tasks of `step` at or above `node`. */
static int for_dependents(struct run_step *step, struct node *node, bool single, node_visitor use,
                          struct error **err) {
    for (size_t i = 0; i < step->dependent_count && !step->run->loading; i++) {
        struct run_step *other = step->dependents[i].step;
        const struct edge *edge = &other->step->edges[step->dependents[i].edge];
        struct node *top = node;
        if (edge->relation == RELATION_JOIN) {
            top = node_at_level(node, (uint32_t)edge->common);
            uint32_t *open = counter_at(step, top->level, top->index, err);
            if (!open)
                return -1;
            bool turned = use == stop_waiting_at ? *open == 0 : *open == 1;
            if (!turned)
                continue;
        } else if (!single) {
            continue; /* no task of this node: nobody waits for it alone */
        }
        if (top->level == 0 && other->axis->level > 0 && edge->relation == RELATION_JOIN)
            top = step->run->axes[step->run->pipeline->step_count]->nodes[0];
        if (axis_visit(other->axis, top, use, other, err) < 0)
            return -1;
    }
    return 0;
}

int graph_settled(struct task *task, struct error **err) {
    tally(task, 1);
    if (count_open(task->step, task->node, -1, err) < 0 ||
        for_dependents(task->step, task->node, true, stop_waiting_at, err) < 0)
        return -1;
    /* Last: the tasks that this makes know already that we are final, and must not be told. */
    return expand_after(task, err);
}

int graph_reopened(struct task *task, struct error **err) {
    tally(task, -1);
    if (count_open(task->step, task->node, 1, err) < 0)
        return -1;
    return for_dependents(task->step, task->node, true, wait_again_at, err);
}

int graph_count_final(struct task *task, struct error **err) {
    tally(task, 1);
    return count_open(task->step, task->node, -1, err);
}

/* Before a fan is made, the place counts as one open thing; now its tasks (or nothing) do. */
int graph_expanded(struct run *run, struct axis *axis, struct node *above, struct error **err) {
    struct range *range = axis_range(axis, above, err);
    if (!range)
        return -1;
    for (size_t i = 0; i < run->pipeline->step_count; i++) {
        struct run_step *step = &run->steps[i];
        const struct axis *on = step->axis;
        while (on && on != axis)
            on = on->above;
        if (!on)
            continue;
        if (range->outcome)
            tally_blocked(step, range->outcome);
        if (count_open(step, above, (int)range->count - 1, err) < 0)
            return -1;
        for (uint32_t n = 0; n < range->count; n++) {
            struct node *node = axis->nodes[range->first + n];
            uint32_t *open = counter_at(step, node->level, node->index, err);
            if (!open)
                return -1;
            *open = 1; /* one task, or one fan below that is not made yet */
        }
        if (!range->count && for_dependents(step, above, false, stop_waiting_at, err) < 0)
            return -1;
    }
    return 0;
}

static int edge_is_open(const struct task *task, const struct edge *edge, bool *ret,
                        struct error **err) {
    struct run_step *upstream = &task->step->run->steps[edge->step];
    if (edge->relation == RELATION_JOIN) {
        struct node *top = node_at_level(task->node, (uint32_t)edge->common);
        uint32_t *open = counter_at(upstream, top->level, top->index, err);
        if (!open)
            return -1;
        *ret = *open > 0;
        return 0;
    }
    const struct task *other = graph_upstream(task, edge->step);
    *ret = !other || !task_state_is_final(other->state);
    return 0;
}

int graph_connect(struct task *task, struct error **err) {
    const struct step *step = task->step->step;
    task->waiting = 0;
    for (size_t i = 0; i < step->edge_count; i++) {
        bool open = false;
        if (edge_is_open(task, &step->edges[i], &open, err) < 0)
            return -1;
        task->waiting += open;
    }
    return 0;
}

/* --------------------------------------------------------------- evaluation */

struct outcome {
    uint32_t ok, failed, tolerated, skipped, fresh;
};

static void add_outcome(struct outcome *sum, const struct task *task) {
    sum->ok += task_has_data(task);
    if (task_counts_as_failed(task))
        sum->failed++;
    else if (is_tolerated(task))
        sum->tolerated++;
    else if (!task_has_data(task))
        sum->skipped++;
    sum->fresh += task->fresh;
}

struct gather {
    const struct run_step *step;
    struct outcome *sum;
};

static int gather_at(struct node *node, void *context, struct error **err) {
    struct gather *gather = context;
    (void)err;
    if (node->index < gather->step->task_capacity && gather->step->tasks[node->index])
        add_outcome(gather->sum, gather->step->tasks[node->index]);
    return 0;
}

static int edge_outcome(const struct task *task, const struct edge *edge, struct outcome *ret,
                        struct error **err) {
    const struct run_step *upstream = &task->step->run->steps[edge->step];
    memset(ret, 0, sizeof(*ret));
    if (edge->relation == RELATION_JOIN && edge->common == 0) {
        *ret = (struct outcome){upstream->ok, upstream->failed, upstream->tolerated,
                                upstream->skipped, upstream->fresh};
        return 0;
    }
    if (edge->relation == RELATION_JOIN) {
        struct gather gather = {upstream, ret};
        struct node *top = node_at_level(task->node, (uint32_t)edge->common);
        return axis_visit(upstream->axis, top, gather_at, &gather, err);
    }
    const struct task *other = graph_upstream(task, edge->step);
    if (other)
        add_outcome(ret, other);
    return 0;
}

static enum skip verdict_of_edge(const struct edge *edge, const struct outcome *outcome) {
    if (edge->kind != EDGE_DATA || outcome->ok)
        return SKIP_NONE;
    if (outcome->tolerated)
        return SKIP_PARTITION;
    return outcome->skipped ? SKIP_UPSTREAM_SKIPPED : SKIP_NONE;
}

static enum skip apply_rule(enum trigger_rule rule, const struct outcome *all) {
    switch (rule) {
    case TRIGGER_ALL_SUCCEEDED:
    case TRIGGER_NONE_FAILED:
        return all->failed ? SKIP_UPSTREAM_FAILED : SKIP_NONE;
    case TRIGGER_ALL_DONE:
        return SKIP_NONE;
    case TRIGGER_ANY_FAILED:
        return all->failed + all->tolerated ? SKIP_NONE : SKIP_TRIGGER;
    case TRIGGER_ANY_SUCCEEDED:
        return all->ok ? SKIP_NONE : SKIP_TRIGGER;
    case TRIGGER_ALL_FAILED:
        return all->failed + all->tolerated && !all->ok ? SKIP_NONE : SKIP_TRIGGER;
    }
    return SKIP_NONE;
}

static int judge(struct task *task, enum skip *ret, struct error **err) {
    const struct step *step = task->step->step;
    struct outcome all = {0};
    enum skip data = SKIP_NONE;
    for (size_t i = 0; i < step->edge_count; i++) {
        struct outcome one;
        if (edge_outcome(task, &step->edges[i], &one, err) < 0)
            return -1;
        if (step->edges[i].kind != EDGE_DATA && one.tolerated &&
            step->edges[i].relation != RELATION_JOIN)
            data = SKIP_PARTITION;
        enum skip verdict = verdict_of_edge(&step->edges[i], &one);
        data = data ? data : verdict;
        all.ok += one.ok;
        all.failed += one.failed;
        all.tolerated += one.tolerated;
        all.skipped += one.skipped;
        all.fresh += one.fresh;
    }
    *ret = apply_rule(step->trigger_rule, &all);
    bool strict =
        step->trigger_rule == TRIGGER_ALL_SUCCEEDED || step->trigger_rule == TRIGGER_NONE_FAILED;
    if (!*ret && strict)
        *ret = data;
    if (all.fresh && !task->fresh)
        task->fresh = true;
    return 0;
}

/* A clean-up for several tasks waits for those that still run: it is to find what they all left,
 * and to come once. Nothing new of them starts, as the run is stopping. */
static bool may_still_fail(const struct task *cleanup) {
    const struct run *run = cleanup->step->run;
    for (size_t i = 0; i < run->pipeline->step_count; i++) {
        const struct run_step *step = &run->steps[i];
        if (step->step->on_failure == ON_FAILURE_RUN &&
            step->step->on_failure_step == cleanup->step->step->index &&
            step->axis->level > cleanup->step->axis->level && step->in_flight)
            return true;
    }
    return false;
}

void graph_wake_cleanup(struct run_step *step) {
    if (step->step->on_failure != ON_FAILURE_RUN || !step->failed || step->in_flight)
        return;
    struct run_step *cleanup = &step->run->steps[step->step->on_failure_step];
    for (size_t i = 0; i < cleanup->task_capacity; i++)
        if (cleanup->tasks[i] && cleanup->tasks[i]->fired &&
            cleanup->tasks[i]->state == TASK_WAITING)
            graph_wake(cleanup->tasks[i]);
}

static int evaluate(struct task *task, struct error **err) {
    if (task->state != TASK_WAITING || task->waiting)
        return 0;
    if (!task->step->selected)
        return task_skip(task, SKIP_SELECTION, err);
    bool waits = task->step->step->fired && !task->step->starts;
    if ((waits || task->step->step->cleanup_only) && !task->fired)
        return 0;
    if (task->step->step->cleanup_only && may_still_fail(task))
        return 0;
    enum skip skip = SKIP_NONE;
    if (!task->step->step->cleanup_only && judge(task, &skip, err) < 0)
        return -1;
    if (skip)
        return task_skip(task, skip, err);
    bool wanted = true;
    struct error *problem = NULL;
    if (task_test_when(task, &wanted, &problem) < 0) {
        OWN_ERROR own = problem;
        task->cause = CAUSE_NOT_STARTED;
        return task_move(task, TASK_FAILED, own->message, err);
    }
    if (!wanted)
        return task_skip(task, SKIP_WHEN, err);
    return task_move(task, TASK_READY, NULL, err);
}

int graph_drain(struct run *run, struct error **err) {
    while (run->woken_first) {
        struct task *task = run->woken_first;
        run->woken_first = task->queue_next;
        if (!run->woken_first)
            run->woken_last = NULL;
        task->queue_next = NULL;
        task->woken = false;
        if (evaluate(task, err) < 0)
            return -1;
    }
    return 0;
}

/* `next` named this task (or a failure wants it as clean-up). While it is under way, one more
 * round is remembered. */
int graph_fire(struct task *task, struct error **err) {
    if (!task->step->selected)
        return 0;
    if (task->state == TASK_WAITING) {
        struct engine *engine = task->step->run->engine;
        task->fired = true;
        graph_wake(task);
        return engine_write(engine, err) < 0
                   ? -1
                   : store_run(engine->store, err, "UPDATE task SET fired = 1 WHERE id = ?", "i",
                               task->id);
    }
    bool cleanup = task->step->step->cleanup_only;
    if (!task_state_is_final(task->state)) {
        task->fire_again = !cleanup || task->state != TASK_READY; /* then it comes after this too */
        return 0;
    }
    if (graph_reopened(task, err) < 0)
        return -1;
    task->fired = true;
    task->fresh = true;
    task->chosen = 0;
    task->tries = 0;
    if (cleanup) {
        if (task_move(task, TASK_WAITING, "a task failed again", err) < 0)
            return -1;
        graph_wake(task);
        return 0;
    }
    return task_move(task, TASK_READY, "named by `next` again", err);
}
