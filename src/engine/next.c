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

struct votes {
    const struct run_step *owner;
    size_t branch;
    bool any, failed;
};

static int count_vote(struct node *node, void *context, struct error **err) {
    struct votes *votes = context;
    const struct task *task =
        node->index < votes->owner->task_capacity ? votes->owner->tasks[node->index] : NULL;
    (void)err;
    if (!task)
        return 0;
    votes->any = votes->any || branch_of(task) == (int)votes->branch;
    votes->failed = votes->failed || task_counts_as_failed(task);
    return 0;
}

/* The target of a join runs when all partitions below `top` are done, if one of them at least
 * leads there: which of them ended last, and where that one went, does not matter. */
static int leads_on(struct run_step *owner, const struct next_edge *edge, struct node *top,
                    bool *ret, struct error **err) {
    struct votes votes = {.owner = owner, .branch = edge->branch};
    uint32_t *open = counter_at(owner, top->level, top->index, err);
    *ret = false;
    if (!open)
        return -1;
    if (*open)
        return 0;
    if (axis_visit(owner->axis, top, count_vote, &votes, err) < 0)
        return -1;
    *ret = votes.any && !votes.failed;
    return 0;
}

int next_join(struct task *task, struct error **err) {
    const struct step *step = task->step->step;
    for (size_t i = 0; i < step->next_count; i++) {
        const struct next_edge *edge = &step->next[i];
        struct run_step *target = &task->step->run->steps[edge->target];
        struct node *top = node_at_level(task->node, (uint32_t)edge->common);
        bool fires = false;
        if (edge->relation != RELATION_JOIN)
            continue;
        if (leads_on(task->step, edge, top, &fires, err) < 0)
            return -1;
        if (fires && axis_visit(target->axis, top, fire_at, target, err) < 0)
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
            else if (leads_on(&run->steps[i], edge,
                              node_at_level(task->node, (uint32_t)edge->common), &fires, err) < 0)
                return -1;
            if (fires && graph_fire(task, err) < 0)
                return -1;
        }
    }
    return 0;
}

/* -------------------------------------------------------------------- conditions */

static int settle(struct task *task, int branch, enum task_state state, const char *reason,
                  struct error **err) {
    const struct step *step = task->step->step;
    task->chosen = branch >= 0 ? (uint16_t)(branch + 1) : NEXT_NONE;
    if (branch >= 0 || !step->next_polls)
        return task_move(task, state, reason, err);
    task->chosen = NEXT_POLLS;
    task->wake = clock_wall() + (step->next_wait ? step->next_wait : 60000);
    return task_move(task, TASK_SLEEPING, "waits until a condition of `next` holds", err);
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
    task->chosen = NEXT_POLLS; /* functions take their time: next_wake() asks them */
    task->wake = clock_wall();
    return task_move(task, TASK_SLEEPING, "asks the conditions of `next`", err);
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
