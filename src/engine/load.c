/* A run in memory, built from the database. */
#include "private.h"

int64_t run_id_of(struct engine *engine, const char *name, struct error **err) {
    int64_t id = -1;
    if (store_integer(engine->store, -1, &id, err, "SELECT id FROM run WHERE name = ?", "s", name) <
        0)
        return -1;
    if (id < 0)
        error_set(err, ERROR_NOT_FOUND, "there is no run \"%s\"", name);
    return id;
}

/* Frees what run_reload() builds anew. */
static void clear(struct run *run) {
    size_t count = run->pipeline ? run->pipeline->step_count : 0;
    for (size_t i = 0; run->steps && i < count; i++) {
        struct run_step *step = &run->steps[i];
        for (size_t level = 0; level <= LEVELS_MAXIMUM; level++)
            memory_free(step->open[level].items);
        memory_free(step->tasks);
        memory_free(step->dependents);
    }
    for (size_t i = 0; run->axes && i <= count; i++) {
        if (run->axes[i]) {
            axis_clear(run->axes[i]);
            memory_free(run->axes[i]);
        }
    }
    memory_free(run->steps);
    memory_free(run->axes);
    arena_free(run->arena);
    run->steps = NULL;
    run->axes = NULL;
    run->arena = NULL;
    run->woken_first = run->woken_last = run->parked = NULL;
    run->reset_list = NULL; /* of a command that was refused half-way */
    run->undone = false;
}

void run_free(struct run *run) {
    if (!run)
        return;
    clear(run);
    size_t inputs = run->pipeline ? run->pipeline->input_count : 0;
    size_t parameters = run->pipeline ? run->pipeline->parameter_count : 0;
    for (size_t i = 0; run->input_sources && i < inputs; i++)
        manifest_free(run->input_sources[i].manifest);
    for (size_t i = 0; run->parameter_sources && i < parameters; i++)
        manifest_free(run->parameter_sources[i].manifest);
    manifest_free(run->kept_manifest);
    memory_free(run->report);
    memory_free(run->input_sources);
    memory_free(run->parameter_sources);
    json_decref(run->parameters);
    json_decref(run->inputs);
    json_decref(run->selection);
    json_decref(run->images);
    pipeline_free(run->pipeline);
    memory_free(run->output);
    memory_free(run);
}

void run_cleanup(struct run **run) {
    run_free(*run);
    *run = NULL;
}

/* -------------------------------------------------------------------- steps */

static int make_axes(struct run *run, struct error **err) {
    const struct pipeline *pipeline = run->pipeline;
    size_t count = pipeline->step_count;
    run->axes = memory_array(count + 1, sizeof(*run->axes));
    if (!run->axes || !(run->axes[count] = memory_allocate(sizeof(**run->axes))))
        return error_set_memory(err);
    run->axes[count]->fan_step = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        const struct step *step = &pipeline->steps[i];
        if (step->axis_count > LEVELS_MAXIMUM)
            return error_set(err, ERROR_LIMIT, "step %s: more than %d levels of foreach", step->id,
                             LEVELS_MAXIMUM);
        struct axis *above = run->axes[count];
        for (size_t level = 0; level < step->axis_count; level++) {
            size_t fan = step->axis[level];
            if (!run->axes[fan]) {
                struct axis *axis = run->axes[fan] = memory_allocate(sizeof(*axis));
                if (!axis)
                    return error_set_memory(err);
                axis->fan_step = fan;
                axis->above = above;
                axis->level = (uint32_t)level + 1;
            }
            above = run->axes[fan];
        }
        run->steps[i].axis = above;
    }
    return axis_add(run, run->axes[count], NULL, "", err) ? 0 : -1;
}

static int add_dependent(struct run_step *upstream, struct run_step *step, size_t edge,
                         struct error **err) {
    size_t count = upstream->dependent_count;
    struct dependent *grown =
        memory_reallocate(upstream->dependents, (count + 1) * sizeof(*upstream->dependents));
    if (!grown)
        return error_set_memory(err);
    upstream->dependents = grown;
    grown[count] = (struct dependent){step, edge};
    upstream->dependent_count++;
    return 0;
}

/* --only: these steps and all they need. */
/* Another step that was selected leads to it by `next`. */
static bool has_selected_owner(const struct run *run, size_t target) {
    for (size_t i = 0; i < run->pipeline->step_count; i++) {
        const struct step *step = &run->pipeline->steps[i];
        for (size_t n = 0; n < step->next_count; n++)
            if (step->next[n].target == target && i != target && run->steps[i].selected)
                return true;
    }
    return false;
}

static void select_steps(struct run *run) {
    const json_t *only = json_object_get(run->selection, "only");
    size_t count = run->pipeline->step_count;
    bool all = !json_array_size(only);
    for (size_t i = count; i-- > 0;) {
        const struct step *step = &run->pipeline->steps[i];
        struct run_step *mine = &run->steps[i];
        mine->selected |= all;
        for (size_t o = 0; o < json_array_size(only); o++)
            mine->selected |= text_equal(json_string_value(json_array_get(only, o)), step->id);
        for (size_t e = 0; mine->selected && e < step->edge_count; e++)
            run->steps[step->edges[e].step].selected = true;
        for (size_t l = 0; mine->selected && l < step->axis_count; l++)
            run->steps[step->axis[l]].selected = true;
    }
    for (size_t i = 0; i < count; i++)
        run->steps[i].starts = run->pipeline->steps[i].fired && run->steps[i].selected && !all &&
                               !has_selected_owner(run, i);
}

/* What the step says itself goes first, then its flavor, a named size from the site's policy, then
 * what the policy says of all that do not say. */
static int apply_policy(struct run_step *step, struct error **err) {
    const struct policy *policy = step->run->engine->policy;
    struct resources *resources = &step->resources;
    struct resources flavor = {0};
    *resources = step->step->resources;
    if (resources->flavor && policy_flavor(policy, resources->flavor, &flavor, err) < 0)
        return error_wrap(err, "step %s", step->step->id);
    struct compute_limits defaults;
    policy_defaults(policy, &defaults);
    if (!resources->cpus)
        resources->cpus = flavor.cpus > 0 ? flavor.cpus : defaults.cpus;
    if (!resources->gpus)
        resources->gpus = flavor.gpus;
    if (!resources->memory)
        resources->memory = flavor.memory ? flavor.memory : defaults.memory;
    if (!resources->scratch)
        resources->scratch = defaults.scratch;
    return 0;
}

static int make_steps(struct run *run, struct error **err) {
    size_t count = run->pipeline->step_count;
    run->arena = arena_new(RUN_MEMORY_MAXIMUM);
    run->steps = memory_array(count, sizeof(*run->steps));
    if (!run->arena || !run->steps)
        return error_set_memory(err);
    for (size_t i = 0; i < count; i++) {
        run->steps[i].run = run;
        run->steps[i].step = &run->pipeline->steps[i];
        if (apply_policy(&run->steps[i], err) < 0)
            return -1;
    }
    if (make_axes(run, err) < 0)
        return -1;
    for (size_t i = count; i-- > 0;) {
        const struct step *step = &run->pipeline->steps[i];
        run->steps[i].weight++;
        for (size_t e = 0; e < step->edge_count; e++) {
            struct run_step *upstream = &run->steps[step->edges[e].step];
            if (upstream->weight < run->steps[i].weight)
                upstream->weight = run->steps[i].weight;
            if (add_dependent(upstream, &run->steps[i], e, err) < 0)
                return -1;
        }
        uint32_t *open = counter_at(&run->steps[i], 0, 0, err);
        if (!open)
            return -1;
        *open = 1;
    }
    select_steps(run);
    return 0;
}

/* -------------------------------------------------------------------- tasks */

static int load_nodes(struct run *run, struct axis *axis, struct error **err) {
    OWN_ROWS rows = store_query(run->engine->store, err,
                                "SELECT partition, parent, path, item, files FROM task "
                                "WHERE run = ? AND step = ? AND state >= 0 "
                                "ORDER BY parent, partition",
                                "ii", run->id, (int64_t)axis->fan_step);
    if (!rows)
        return -1;
    int more;
    while ((more = rows_next(rows, err)) > 0) {
        const char *parent = rows_text(rows, 1);
        struct node *above = axis_find(axis->above, parent ? parent : "");
        if (!above)
            return error_set(err, ERROR_CORRUPT, "run %s: a partition has lost its parent",
                             run->name);
        struct range *range = axis_range(axis, above, err);
        struct node *node = range ? axis_add(run, axis, above, rows_text(rows, 0), err) : NULL;
        if (!node)
            return -1;
        if (!range->count)
            range->first = node->index;
        range->count++;
        const char *path = rows_text(rows, 2);
        node->path = arena_copy_string(run->arena, path ? path : "");
        node->item = arena_copy_string(run->arena, rows_text(rows, 3));
        node->files = arena_copy_string(run->arena, rows_text(rows, 4));
        if (!node->path)
            return error_set_memory(err);
    }
    return more;
}

static int load_expansions(struct run *run, struct error **err) {
    OWN_ROWS rows =
        store_query(run->engine->store, err,
                    "SELECT step, parent, outcome FROM expansion WHERE run = ?", "i", run->id);
    if (!rows)
        return -1;
    int more;
    while ((more = rows_next(rows, err)) > 0) {
        size_t step = (size_t)rows_integer(rows, 0);
        struct axis *axis = step < run->pipeline->step_count ? run->axes[step] : NULL;
        struct node *above = axis ? axis_find(axis->above, rows_text(rows, 1)) : NULL;
        if (!above)
            continue; /* its parent is gone: it was restarted */
        struct range *range = axis_range(axis, above, err);
        if (!range)
            return -1;
        range->made = true;
        range->outcome = (uint8_t)rows_integer(rows, 2);
    }
    return more;
}

static void copy_digest(struct rows *rows, int column, uint8_t digest[SHA256_SIZE], bool *ret_has) {
    size_t size = 0;
    const void *bytes = rows_bytes(rows, column, &size);
    *ret_has = size == SHA256_SIZE;
    if (*ret_has)
        memcpy(digest, bytes, SHA256_SIZE);
}

static int load_task(struct run *run, struct rows *rows, struct error **err) {
    size_t index = (size_t)rows_integer(rows, 1);
    if (index >= run->pipeline->step_count)
        return error_set(err, ERROR_CORRUPT, "run %s: a task has no step", run->name);
    struct run_step *step = &run->steps[index];
    struct node *node = axis_find(step->axis, rows_text(rows, 2));
    if (!node)
        return error_set(err, ERROR_CORRUPT, "run %s: a task has no partition", run->name);
    struct task *task = task_new(step, node, err);
    if (!task)
        return -1;
    bool has;
    task->id = rows_integer(rows, 0);
    task->state = (uint8_t)rows_integer(rows, 3);
    task->skip = (uint8_t)rows_integer(rows, 4);
    task->cause = (uint8_t)rows_integer(rows, 5);
    task->exit = (int)rows_integer(rows, 6);
    task->attempts = (uint16_t)rows_integer(rows, 7);
    task->tries = (uint16_t)rows_integer(rows, 8);
    task->fresh = rows_integer(rows, 9);
    task->fired = rows_integer(rows, 10);
    copy_digest(rows, 11, task->key, &has);
    task->has_key = has;
    copy_digest(rows, 12, task->output, &has);
    task->has_output = has;
    task->wake = rows_integer(rows, 13);
    task->chosen = (uint16_t)rows_integer(rows, 14);
    step->counts[task->state]++;
    return 0;
}

static int load_tasks(struct run *run, struct error **err) {
    OWN_ROWS rows =
        store_query(run->engine->store, err,
                    "SELECT id, step, partition, state, skip, cause, exit, attempts, "
                    "tries, fresh, fired, key, output, wake, chosen FROM task WHERE run = ? "
                    "AND state >= 0 ORDER BY id",
                    "i", run->id);
    if (!rows)
        return -1;
    int more;
    while ((more = rows_next(rows, err)) > 0)
        if (load_task(run, rows, err) < 0)
            return -1;
    return more;
}

/* Tasks of steps that do not fan out are there from the start. */
static int make_root_tasks(struct run *run, struct error **err) {
    struct axis *root = run->axes[run->pipeline->step_count];
    for (size_t i = 0; i < run->pipeline->step_count; i++) {
        struct run_step *step = &run->steps[i];
        if (step->axis != root || (step->task_capacity && step->tasks[0]))
            continue;
        struct task *task = task_new(step, root->nodes[0], err);
        if (!task || engine_write(run->engine, err) < 0)
            return -1;
        const char *from = json_get_string(run->selection, "from", NULL);
        task->fresh = from ? text_equal(from, step->step->id)
                           : json_is_true(json_object_get(run->selection, "no_reuse"));
        if (store_run(run->engine->store, err,
                      "INSERT INTO task(run, step, partition, state, fresh) VALUES(?, ?, '', 0, ?)",
                      "iii", run->id, (int64_t)i, (int64_t)task->fresh) < 0)
            return -1;
        task->id = store_last_id(run->engine->store);
        step->counts[TASK_WAITING]++;
    }
    return 0;
}

static int rebuild_counters(struct run *run, struct error **err) {
    size_t count = run->pipeline->step_count;
    run->loading = true;
    for (size_t i = 0; i < count; i++) {
        struct axis *axis = run->axes[i];
        for (size_t n = 0; axis && n < axis->range_capacity; n++)
            if (axis->ranges[n].made && graph_expanded(run, axis, axis->above->nodes[n], err) < 0)
                return -1;
    }
    for (size_t i = 0; i < count; i++) {
        struct run_step *step = &run->steps[i];
        for (size_t n = 0; n < step->task_capacity; n++)
            if (step->tasks[n] && task_state_is_final(step->tasks[n]->state) &&
                graph_count_final(step->tasks[n], err) < 0)
                return -1;
    }
    run->loading = false;
    return 0;
}

/* What each open task waits for next. */
static int set_going(struct run *run, struct error **err) {
    for (size_t i = 0; i < run->pipeline->step_count; i++) {
        struct run_step *step = &run->steps[i];
        for (size_t n = 0; n < step->task_capacity; n++) {
            struct task *task = step->tasks[n];
            if (!task)
                continue;
            if (task->state == TASK_READY)
                schedule_queue(task);
            if (task->state == TASK_FAILED && (step->step->on_failure == ON_FAILURE_FAIL ||
                                               step->step->on_failure == ON_FAILURE_RUN))
                run->stopping = true;
            if (task->state != TASK_WAITING)
                continue;
            if (graph_connect(task, err) < 0)
                return -1;
            graph_wake(task);
        }
    }
    return 0;
}

/* Attempts that are under way belong to the new task objects now. */
static void relink_flights(struct run *run) {
    for (struct flight *flight = run->engine->flights; flight; flight = flight->next) {
        if (flight->run_id != run->id)
            continue;
        struct run_step *step = &run->steps[flight->step_index];
        for (size_t n = 0; n < step->task_capacity; n++) {
            struct task *task = step->tasks[n];
            if (!task || task->id != flight->task_id)
                continue;
            flight->task = task;
            task->flight = flight;
            task->counted = flight->counted;
            step->in_flight += task->counted;
            run->in_flight += task->counted;
        }
    }
}

int run_reload(struct run *run, struct error **err) {
    for (struct flight *flight = run->engine->flights; flight; flight = flight->next)
        if (flight->run_id == run->id)
            flight->counted = flight->task->counted;

    clear(run);
    run->stopping = false;
    run->in_flight = 0;
    if (make_steps(run, err) < 0)
        return -1;
    /* Steps stand in topological order, so an axis stands after the one above it. */
    for (size_t i = 0; i < run->pipeline->step_count; i++)
        if (run->axes[i] && load_nodes(run, run->axes[i], err) < 0)
            return -1;
    if (load_expansions(run, err) < 0 || load_tasks(run, err) < 0 || make_root_tasks(run, err) < 0)
        return -1;
    relink_flights(run);
    return rebuild_counters(run, err) < 0 ? -1 : set_going(run, err);
}

static json_t *parse_column(struct rows *rows, int column, struct error **err) {
    const char *text = rows_text(rows, column);
    return json_parse(text ? text : "{}", text ? strlen(text) : 2, err);
}

static int load_row(struct run *run, const char *name, struct error **err) {
    OWN_ROWS rows = store_query(run->engine->store, err,
                                "SELECT id, name, path, document, parameters, inputs, selection, "
                                "output, state, note, images FROM run WHERE name = ?",
                                "s", name);
    if (!rows)
        return -1;
    int more = rows_next(rows, err);
    if (more < 0)
        return -1;
    if (!more)
        return error_set(err, ERROR_NOT_FOUND, "there is no run \"%s\"", name);
    run->id = rows_integer(rows, 0);
    (void)snprintf(run->name, sizeof(run->name), "%s", rows_text(rows, 1));
    run->state = (enum run_state)rows_integer(rows, 8);
    const char *note = rows_text(rows, 9);
    run->cancelling = run->state < RUN_SUCCEEDED && note && text_equal(note, NOTE_CANCELLING);
    run->output = memory_copy_string(rows_text(rows, 7));
    OWN_JSON document = parse_column(rows, 3, err);
    if (!document || !(run->parameters = parse_column(rows, 4, err)) ||
        !(run->inputs = parse_column(rows, 5, err)) ||
        !(run->selection = parse_column(rows, 6, err)) ||
        !(run->images = parse_column(rows, 10, err)))
        return -1;
    if (!run->output)
        return error_set_memory(err);
    struct pipeline_options options = {.can_run_images = true, .trusted = true};
    run->pipeline = pipeline_from_document(document, rows_text(rows, 2), &options, err);
    return run->pipeline ? 0 : -1;
}

int run_load(struct engine *engine, const char *name, struct run **ret, struct error **err) {
    CLEANUP(run_cleanup) struct run *run = memory_allocate(sizeof(*run));
    if (!run)
        return error_set_memory(err);
    run->engine = engine;
    if (load_row(run, name, err) < 0)
        return error_wrap(err, "run %s", name);
    run->input_sources = memory_array(run->pipeline->input_count, sizeof(struct source));
    run->parameter_sources = memory_array(run->pipeline->parameter_count, sizeof(struct source));
    if (!run->input_sources || !run->parameter_sources)
        return error_set_memory(err);
    int64_t dropped = 0;
    if (store_integer(engine->store, 0, &dropped, err,
                      "SELECT 1 FROM result WHERE dropped IS NOT NULL LIMIT 1", "") < 0)
        return -1;
    run->dropped_any = dropped;
    if (run_reload(run, err) < 0)
        return error_wrap(err, "run %s", name);
    *ret = take(&run);
    return 0;
}
