/* `next`: what a step's success leads to (MedPerf's way: OR, cycles allowed). */
#include "private.h"

static int test_jq(struct task *task, const struct next_edge *edge, bool *ret, struct error **err) {
    *ret = true;
    if (!edge->condition)
        return 0;
    OWN_JSON input = task_result(task, err);
    OWN_JSON values = input ? values_of(task, true, err) : NULL;
    struct expression *expression =
        values ? expression_cache_get(task->step->run->engine->expressions, edge->condition, err)
               : NULL;
    if (!expression || expression_test(expression, input, values, ret, err) < 0)
        return error_wrap(err, "condition of `next`");
    return 0;
}

/* What is known here and now: the first branch that holds (or -1), and the Python functions of
 * those before it, which are to be asked first, with their branches. */
struct choice {
    int branch;
    json_t *functions, *branches;
};

static void choice_release(struct choice *choice) {
    json_decref(choice->functions);
    json_decref(choice->branches);
}

static int choose(struct task *task, struct choice *ret, struct error **err) {
    const struct step *step = task->step->step;
    *ret = (struct choice){-1, json_array(), json_array()};
    if (!ret->functions || !ret->branches)
        return error_set_memory(err);
    for (size_t i = 0; i < step->next_count && ret->branch < 0; i++) {
        const struct next_edge *edge = &step->next[i];
        bool holds = false;
        if (i && edge->branch == step->next[i - 1].branch)
            continue;
        if (edge->function) {
            if (json_array_append_new(ret->functions, json_string(edge->function)) < 0 ||
                json_array_append_new(ret->branches, json_integer((json_int_t)edge->branch)) < 0)
                return error_set_memory(err);
            continue;
        }
        if (test_jq(task, edge, &holds, err) < 0)
            return -1;
        if (holds)
            ret->branch = (int)edge->branch;
    }
    return 0;
}

static int fire_at(struct node *node, void *context, struct error **err) {
    const struct run_step *step = context;
    struct task *task = node->index < step->task_capacity ? step->tasks[node->index] : NULL;
    return task ? graph_fire(task, err) : 0;
}

/* The branch that this task took, or -1. */
static int branch_of(const struct task *task) {
    return task_has_data(task) && task->chosen && task->chosen < NEXT_NONE ? task->chosen - 1 : -1;
}

int next_follow(struct task *task, struct error **err) {
    const struct step *step = task->step->step;
    int branch = branch_of(task);
    for (size_t i = 0; branch >= 0 && i < step->next_count; i++) {
        const struct next_edge *edge = &step->next[i];
        struct run_step *target = &task->step->run->steps[edge->target];
        if (edge->relation != RELATION_JOIN && edge->branch == (size_t)branch &&
            axis_visit(target->axis, task->node, fire_at, target, err) < 0)
            return -1;
    }
    return 0;
}

/* ------------------------------------------------------------------------- joins */

/* A jump out of partitions: whether it is time for the step that they meet in. */
struct meeting {
    struct run *run;
    const struct axis *axis; /* of those that lead there */
    size_t target;
    struct node *top;
    bool all, any, failed; /* of the partitions: lead there; one failed */
};

static const struct next_edge *edge_into(const struct step *owner, const struct meeting *meeting,
                                         int branch) {
    for (size_t i = 0; i < owner->next_count; i++)
        if (owner->next[i].target == meeting->target && owner->next[i].relation == RELATION_JOIN &&
            (branch < 0 || owner->next[i].branch == (size_t)branch))
            return &owner->next[i];
    return NULL;
}

static bool is_owner(const struct run_step *step, const struct meeting *meeting) {
    return step->axis == meeting->axis && edge_into(step->step, meeting, -1);
}

static int look_at(struct node *node, void *context, struct error **err) {
    struct meeting *meeting = context;
    bool leads = false;
    (void)err;
    for (size_t i = 0; i < meeting->run->pipeline->step_count; i++) {
        const struct run_step *step = &meeting->run->steps[i];
        if (!is_owner(step, meeting) || node->index >= step->task_capacity ||
            !step->tasks[node->index])
            continue;
        const struct task *task = step->tasks[node->index];
        int branch = branch_of(task);
        leads = leads || (branch >= 0 && edge_into(step->step, meeting, branch));
        meeting->failed = meeting->failed || task_counts_as_failed(task);
    }
    meeting->all = meeting->all && leads;
    meeting->any = meeting->any || leads;
    return 0;
}

/* Those that lead there are all at their end. `*ret_ok`: how many of their tasks left data. */
static int are_closed(const struct meeting *meeting, bool *ret, size_t *ret_ok,
                      struct error **err) {
    *ret = true;
    *ret_ok = 0;
    for (size_t i = 0; i < meeting->run->pipeline->step_count; i++) {
        struct run_step *step = &meeting->run->steps[i];
        if (!is_owner(step, meeting))
            continue;
        uint32_t *open = counter_at(step, meeting->top->level, meeting->top->index, err);
        if (!open)
            return -1;
        *ret = *ret && !*open;
        *ret_ok += step->ok;
    }
    return 0;
}

/* It is time when each partition has come by one way or another; or when nobody is on a way there
 * any more, some have come, and none failed. */
static int is_time(struct meeting *meeting, bool *ret, struct error **err) {
    bool closed = false;
    size_t ok = 0;
    *ret = false;
    if (are_closed(meeting, &closed, &ok, err) < 0)
        return -1;
    if (!closed && ok < meeting->axis->count && !meeting->top->level)
        return 0; /* the usual case costs nothing */
    meeting->all = true;
    meeting->any = meeting->failed = false;
    if (axis_visit(meeting->axis, meeting->top, look_at, meeting, err) < 0)
        return -1;
    *ret = meeting->any && !meeting->failed && (meeting->all || closed);
    return 0;
}

/* Only once for those that did not come: their end is no news to a step that was fired before. */
static int fire_first(struct node *node, void *context, struct error **err) {
    const struct run_step *step = context;
    struct task *task = node->index < step->task_capacity ? step->tasks[node->index] : NULL;
    return task && task->state == TASK_WAITING && !task->fired ? graph_fire(task, err) : 0;
}

int next_join(struct task *task, struct error **err) {
    const struct step *step = task->step->step;
    struct run *run = task->step->run;
    int branch = branch_of(task);
    for (size_t i = 0; i < step->next_count; i++) {
        const struct next_edge *edge = &step->next[i];
        struct meeting meeting = {.run = run,
                                  .axis = task->step->axis,
                                  .target = edge->target,
                                  .top = node_at_level(task->node, (uint32_t)edge->common)};
        bool time = false, comes = branch >= 0 && edge->branch == (size_t)branch;
        if (edge->relation != RELATION_JOIN)
            continue;
        if (is_time(&meeting, &time, err) < 0)
            return -1;
        struct run_step *target = &run->steps[edge->target];
        if (time &&
            axis_visit(target->axis, meeting.top, comes ? fire_at : fire_first, target, err) < 0)
            return -1;
    }
    return 0;
}

int next_catch_up(struct task *task, struct error **err) {
    struct run *run = task->step->run;
    for (size_t i = 0; i < run->pipeline->step_count; i++) {
        const struct step *step = &run->pipeline->steps[i];
        for (size_t n = 0; n < step->next_count && !task->fired; n++) {
            const struct next_edge *edge = &step->next[n];
            if (edge->target != task->step->step->index)
                continue;
            bool fires = false;
            const struct task *owner = graph_upstream(task, i);
            if (edge->relation != RELATION_JOIN)
                fires = owner && branch_of(owner) == (int)edge->branch;
            struct meeting meeting = {.run = run,
                                      .axis = run->steps[i].axis,
                                      .target = edge->target,
                                      .top = node_at_level(task->node, (uint32_t)edge->common)};
            if (edge->relation == RELATION_JOIN && is_time(&meeting, &fires, err) < 0)
                return -1;
            if (fires && graph_fire(task, err) < 0)
                return -1;
        }
    }
    return 0;
}

/* -------------------------------------------------------------------- conditions */

/* Sleeps until the conditions are asked (again). Days of asking leave one event. */
static int poll_at(struct task *task, int64_t wake, struct error **err) {
    bool again = task->state == TASK_SLEEPING && task->chosen == NEXT_POLLS;
    task->chosen = NEXT_POLLS;
    task->wake = wake;
    return again ? 0
                 : task_move(task, TASK_SLEEPING, "waits until a condition of `next` holds", err);
}

static int settle(struct task *task, int branch, enum task_state state, const char *reason,
                  struct error **err) {
    const struct step *step = task->step->step;
    if (branch < 0 && step->next_polls)
        return poll_at(task, clock_wall() + (step->next_wait ? step->next_wait : 60000), err);
    task->chosen = branch >= 0 ? (uint16_t)(branch + 1) : NEXT_NONE;
    return task_move(task, state, reason, err);
}

/* Conditions are asked before the task is final, so that one that cannot be answered fails it. */
int next_settle(struct task *task, enum task_state state, const char *reason, struct error **err) {
    struct choice choice CLEANUP(choice_release) = {-1, NULL, NULL};
    struct error *problem = NULL;
    if (!task->step->step->next_count)
        return task_move(task, state, reason, err);
    if (choose(task, &choice, &problem) < 0)
        return task_fail(task, problem, err);
    if (!json_array_size(choice.functions))
        return settle(task, choice.branch, state, reason, err);
    return poll_at(task, clock_wall(), err); /* functions take their time: next_wake() asks them */
}

int next_wake(struct task *task, struct error **err) {
    struct choice choice CLEANUP(choice_release) = {-1, NULL, NULL};
    struct error *problem = NULL;
    if (choose(task, &choice, &problem) < 0)
        return task_fail(task, problem, err);
    if (!json_array_size(choice.functions))
        return settle(task, choice.branch, TASK_SUCCEEDED, NULL, err);
    if (!call_is_possible(task))
        return 0; /* it is looked at again soon */
    if (call_conditions(task, choice.functions, choice.branches, choice.branch, &problem) < 0)
        return task_fail(task, problem, err);
    return 0;
}

int next_answered(struct task *task, int branch, struct error **err) {
    return settle(task, branch, TASK_SUCCEEDED, NULL, err);
}
