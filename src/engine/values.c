/* What expressions and templates see. */
#include "private.h"

json_t *task_result(struct task *task, struct error **err) {
    if (task->has_new_result)
        return task->new_result ? json_parse(task->new_result, strlen(task->new_result), err)
                                : json_null();
    OWN_ROWS rows = store_query(task->step->run->engine->store, err,
                                "SELECT result FROM task WHERE id = ?", "i", task->id);
    if (!rows)
        return NULL;
    int more = rows_next(rows, err);
    if (more < 0)
        return NULL;
    const char *text = more ? rows_text(rows, 0) : NULL;
    return text ? json_parse(text, strlen(text), err) : json_null();
}

/* The node of the innermost fan, whose item it is. */
static json_t *item_of(const struct node *node, struct error **err) {
    if (!node->item)
        return json_null();
    return json_parse(node->item, strlen(node->item), err);
}

struct collect {
    const struct run_step *step;
    json_t *list;
};

#define JOINED_RESULTS_MAXIMUM 100000

static int collect_result(struct node *node, void *context, struct error **err) {
    struct collect *collect = context;
    struct task *task =
        node->index < collect->step->task_capacity ? collect->step->tasks[node->index] : NULL;
    if (!task || !task_has_data(task))
        return 0;
    if (json_array_size(collect->list) >= JOINED_RESULTS_MAXIMUM)
        return error_set(err, ERROR_LIMIT, "more than %d results in one expression",
                         JOINED_RESULTS_MAXIMUM);
    json_t *result = task_result(task, err);
    return result ? json_array_append_new(collect->list, result) : -1;
}

/* {step id: its result}; of a join the array of the results. */
static json_t *results_of(struct task *task, struct error **err) {
    const struct step *step = task->step->step;
    OWN_JSON results = json_object();
    for (size_t i = 0; results && i < step->edge_count; i++) {
        const struct edge *edge = &step->edges[i];
        struct run_step *upstream = &task->step->run->steps[edge->step];
        json_t *result = NULL;
        if (edge->relation == RELATION_JOIN) {
            struct collect collect = {upstream, json_array()};
            struct node *top = node_at_level(task->node, (uint32_t)edge->common);
            result = collect.list;
            if (!result || axis_visit(upstream->axis, top, collect_result, &collect, err) < 0) {
                json_decref(result);
                return NULL;
            }
        } else {
            struct task *other = graph_upstream(task, edge->step);
            result = other ? task_result(other, err) : json_null();
        }
        if (!result || json_object_set_new(results, upstream->step->id, result) < 0)
            return NULL;
    }
    return take(&results);
}

json_t *values_of(struct task *task, bool with_results, struct error **err) {
    struct run *run = task->step->run;
    OWN_JSON item = item_of(task->node, err);
    if (!item)
        return NULL;
    OWN_JSON results = with_results ? results_of(task, err) : json_object();
    if (!results)
        return NULL;
    json_t *values =
        json_pack("{s:O, s:O, s:s, s:O, s:O, s:s, s:s, s:n, s:n}", "params", run->parameters,
                  "inputs", run->inputs, "partition", task->node->key, "item", item, "results",
                  results, "run", run->name, "step", task->step->step->id, "in", "out");
    if (!values)
        error_set_memory(err);
    return values;
}

json_t *value_input(struct task *task, struct error **err) {
    const struct step *step = task->step->step;
    size_t from = SIZE_MAX;
    if (step->fan.kind == FAN_STEP)
        from = step->fan.over.index;
    else if (step->input_count && step->inputs[0].kind == REFERENCE_STEP)
        from = step->inputs[0].index;
    else if (step->edge_count)
        from = step->edges[0].step;
    struct task *other = from != SIZE_MAX ? graph_upstream(task, from) : NULL;
    return other ? task_result(other, err) : json_null();
}

int task_test_when(struct task *task, bool *ret, struct error **err) {
    struct run_step *step = task->step;
    *ret = true;
    if (!step->step->when)
        return 0;
    OWN_JSON input = value_input(task, err);
    OWN_JSON values =
        input ? values_of(task, strstr(step->step->when, "results") != NULL, err) : NULL;
    struct expression *when =
        values ? expression_cache_get(step->run->engine->expressions, step->step->when, err) : NULL;
    if (!when || expression_test(when, input, values, ret, err) < 0)
        return error_wrap(err, "`when`");
    return 0;
}
