/* `next`: what a step's success leads to (MedPerf's way: OR, cycles allowed). */
#include "private.h"

static int test_condition(struct task *task, const struct next_edge *edge, bool *ret,
                          struct error **err) {
    *ret = true;
    if (edge->function)
        return error_set(err, ERROR_UNSUPPORTED,
                         "conditions that are Python functions are not supported yet");
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

/* The branch that is taken, or -1. */
static int choose(struct task *task, int *ret, struct error **err) {
    const struct step *step = task->step->step;
    *ret = -1;
    for (size_t i = 0; i < step->next_count && *ret < 0; i++) {
        bool holds = false;
        if (i && step->next[i].branch == step->next[i - 1].branch)
            continue;
        if (test_condition(task, &step->next[i], &holds, err) < 0)
            return -1;
        if (holds)
            *ret = (int)step->next[i].branch;
    }
    return 0;
}

static int fire_at(struct node *node, void *context, struct error **err) {
    const struct run_step *step = context;
    struct task *task = node->index < step->task_capacity ? step->tasks[node->index] : NULL;
    return task ? graph_fire(task, err) : 0;
}

static int fire(struct task *task, const struct next_edge *edge, struct error **err) {
    struct run *run = task->step->run;
    struct run_step *target = &run->steps[edge->target];
    struct node *top = task->node;
    if (edge->relation == RELATION_JOIN) {
        top = node_at_level(task->node, (uint32_t)edge->common);
        uint32_t *open = counter_at(task->step, top->level, top->index, err);
        if (!open)
            return -1;
        if (*open || (edge->common == 0 && task->step->failed))
            return 0; /* not all are done, or not all went well */
    }
    return axis_visit(target->axis, top, fire_at, target, err);
}

int next_follow(struct task *task, struct error **err) {
    const struct step *step = task->step->step;
    if (!step->next_count)
        return 0;
    int branch = -1;
    if (task->chosen != NEXT_NONE)
        branch = (int)task->chosen - 1;
    task->chosen = 0;
    for (size_t i = 0; i < step->next_count; i++)
        if (branch >= 0 && step->next[i].branch == (size_t)branch &&
            fire(task, &step->next[i], err) < 0)
            return -1;
    return 0;
}

/* Conditions are asked before the task is final, so that one that cannot be answered fails it. */
int next_settle(struct task *task, enum task_state state, const char *reason, struct error **err) {
    const struct step *step = task->step->step;
    int branch = -1;
    struct error *problem = NULL;
    if (!step->next_count)
        return task_move(task, state, reason, err);
    if (choose(task, &branch, &problem) < 0)
        return task_fail(task, problem, err);
    task->chosen = branch >= 0 ? (uint16_t)(branch + 1) : NEXT_NONE;
    if (branch >= 0 || !step->next_polls)
        return task_move(task, state, reason, err);
    task->chosen = NEXT_POLLS;
    task->wake = clock_wall() + (step->next_wait ? step->next_wait : 60000);
    return task_move(task, TASK_SLEEPING, "waits until a condition of `next` holds", err);
}

int next_wake(struct task *task, struct error **err) {
    task->chosen = 0;
    return next_settle(task, TASK_SUCCEEDED, NULL, err);
}
