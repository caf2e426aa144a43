/* Fans: turning what a step's `foreach` lists into partitions and tasks. */
#include "private.h"

#include <errno.h>
#include <sys/stat.h>

static int insert_new(struct task *task, bool fan, struct error **err) {
    const struct run *run = task->step->run;
    const struct node *node = task->node;
    if (store_run(run->engine->store, err,
                  "INSERT INTO task(run, step, partition, parent, path, item, files, state, fresh) "
                  "VALUES(?, ?, ?, ?, ?, ?, ?, 0, ?)",
                  "iisssssi", run->id, (int64_t)task->step->step->index, node->key,
                  fan ? node->parent->key : NULL, fan ? node->path : NULL, fan ? node->item : NULL,
                  fan ? node->files : NULL, (int64_t)task->fresh) < 0)
        return -1;
    task->id = store_last_id(run->engine->store);
    return 0;
}

/* A partition that was there before a restart goes on with its attempts. */
static int insert_again(struct task *task, bool fan, struct error **err) {
    const struct run *run = task->step->run;
    const struct node *node = task->node;
    OWN_ROWS rows = store_query(
        run->engine->store, err,
        "INSERT INTO task(run, step, partition, parent, path, item, files, state, fresh) "
        "VALUES(?, ?, ?, ?, ?, ?, ?, 0, ?) ON CONFLICT(run, step, partition) DO UPDATE SET "
        "parent = excluded.parent, path = excluded.path, item = excluded.item, "
        "files = excluded.files, state = 0, fresh = excluded.fresh, skip = 0, cause = 0, "
        "exit = -1, tries = 0, fired = 0, chosen = 0, key = NULL, output = NULL, result = NULL, "
        "reason = NULL, started = NULL, ended = NULL, wake = NULL RETURNING id, attempts",
        "iisssssi", run->id, (int64_t)task->step->step->index, node->key,
        fan ? node->parent->key : NULL, fan ? node->path : NULL, fan ? node->item : NULL,
        fan ? node->files : NULL, (int64_t)task->fresh);
    if (!rows || rows_next(rows, err) <= 0)
        return -1;
    task->id = rows_integer(rows, 0);
    task->attempts = (uint16_t)rows_integer(rows, 1);
    return 0;
}

static int insert_task(struct run_step *step, struct node *node, bool fresh, bool again,
                       struct error **err) {
    bool fan = step->axis->fan_step == step->step->index;
    struct task *task = task_new(step, node, err);
    if (!task)
        return -1;
    task->fresh = fresh;
    step->counts[TASK_WAITING]++;
    return again ? insert_again(task, fan, err) : insert_new(task, fan, err);
}

/* Whether partitions of the step are on record that a restart took back. */
static int has_gone(const struct run_step *step, int64_t *ret, struct error **err) {
    return store_integer(step->run->engine->store, 0, ret, err,
                         "SELECT EXISTS(SELECT 1 FROM task WHERE run = ? AND state = ? AND "
                         "step = ?)",
                         "iii", step->run->id, (int64_t)STATE_GONE, (int64_t)step->step->index);
}

/* "STEP" or "STEP@PARTITION" of --from: must this task run anew? */
static bool is_from(const struct run *run, const struct step *step, const struct node *node) {
    const char *from = json_get_string(run->selection, "from", NULL);
    if (!from)
        return json_is_true(json_object_get(run->selection, "no_reuse"));
    size_t size = strcspn(from, "@");
    if (strlen(step->id) != size || memcmp(step->id, from, size) != 0)
        return false;
    return !from[size] || text_equal(from + size + 1, node->key);
}

static int insert_tasks(struct run *run, struct axis *axis, const struct range *range,
                        struct error **err) {
    for (size_t s = 0; s < run->pipeline->step_count; s++) {
        struct run_step *step = &run->steps[s];
        if (step->axis != axis)
            continue;
        int64_t again = 0;
        if (has_gone(step, &again, err) < 0)
            return -1;
        for (uint32_t i = 0; i < range->count; i++) {
            struct node *node = axis->nodes[range->first + i];
            if (insert_task(step, node, is_from(run, step->step, node), again, err) < 0)
                return -1;
        }
    }
    return 0;
}

static int connect_tasks(struct run *run, struct axis *axis, const struct range *range,
                         struct error **err) {
    for (size_t s = 0; s < run->pipeline->step_count; s++) {
        struct run_step *step = &run->steps[s];
        for (uint32_t i = 0; step->axis == axis && i < range->count; i++) {
            struct task *task = step->tasks[axis->nodes[range->first + i]->index];
            if (graph_connect(task, err) < 0 || (step->step->fired && next_catch_up(task, err) < 0))
                return -1;
            graph_wake(task);
        }
    }
    return 0;
}

static int expand_items(struct run *run, struct axis *axis, const struct range *range,
                        struct error **err);

/* Whether `key` is the partition `wanted`, or, being one of a level above, may come to hold it. */
bool expand_leads_to(const char *key, const char *wanted, bool above) {
    size_t size = strlen(key);
    return above ? !size || (text_starts_with(wanted, key) && wanted[size] == '/')
                 : text_equal(key, wanted);
}

/* --from STEP@PARTITION must not pass unseen where there is no such partition. Its name may be a
 * patient's, so it is not said. */
static int check_from(struct run *run, const struct axis *axis, const struct node *above,
                      struct error **err) {
    const char *from = json_get_string(run->selection, "from", NULL);
    const char *wanted = from ? strchr(from, '@') : NULL;
    OWN_STRING id = wanted++ ? memory_copy_bytes(from, strcspn(from, "@")) : NULL;
    const struct step *step = id ? pipeline_find_step(run->pipeline, id) : NULL;
    if (!step)
        return 0;
    const struct axis *own = run->steps[step->index].axis, *on = own;
    while (on && on != axis)
        on = on->above;
    const struct range *range =
        above->index < axis->range_capacity ? &axis->ranges[above->index] : NULL;
    if (!on || !range || !range->made || range->outcome ||
        !expand_leads_to(above->key, wanted, true))
        return 0;
    for (uint32_t i = 0; i < range->count; i++)
        if (expand_leads_to(axis->nodes[range->first + i]->key, wanted, axis != own))
            return 0;
    run->stopping = true;
    OWN_STRING message = memory_format("step %s has no such partition as --from names", step->id);
    OWN_STRING hint =
        memory_format("`glovebox tasks %s --step %s` lists those there are", run->name, step->id);
    return event_add(
        run->engine, run->id, 0, "problem",
        json_pack("{s:s, s:s, s:s}", "step", step->id, "message", message, "hint", hint), err);
}

static int record(struct run *run, struct axis *axis, struct node *above, enum skip outcome,
                  uint32_t count, struct error **err) {
    struct range *range = axis_range(axis, above, err);
    if (!range)
        return -1;
    range->first = (uint32_t)axis->count - count;
    range->count = count;
    range->made = true;
    range->outcome = (uint8_t)outcome;
    if (engine_write(run->engine, err) < 0)
        return -1;
    if (store_run(run->engine->store, err,
                  "INSERT OR REPLACE INTO expansion(run, step, parent, outcome, count) "
                  "VALUES(?, ?, ?, ?, ?)",
                  "iisii", run->id, (int64_t)axis->fan_step, above->key, (int64_t)outcome,
                  (int64_t)count) < 0)
        return -1;
    if (insert_tasks(run, axis, range, err) < 0 || graph_expanded(run, axis, above, err) < 0)
        return -1;
    struct range made = *range;
    if (connect_tasks(run, axis, &made, err) < 0)
        return -1;
    engine_touch(run->engine);
    if (check_from(run, axis, above, err) < 0 || expand_items(run, axis, &made, err) < 0)
        return -1;
    return outcome
               ? 0
               : event_add(run->engine, run->id, 0, "expanded",
                           json_pack("{s:s, s:i}", "step", run->pipeline->steps[axis->fan_step].id,
                                     "count", (int)count),
                           err);
}

static int add_nodes(struct run *run, struct axis *axis, struct node *above,
                     const struct partition_list *list, struct error **err) {
    for (size_t i = 0; i < list->count; i++) {
        const struct partition *partition = &list->items[i];
        OWN_STRING key = *above->key ? memory_format("%s/%s", above->key, partition->name)
                                     : memory_copy_string(partition->name);
        OWN_STRING item = json_canonical(partition->item, err);
        if (!key || !item)
            return error_set_memory(err);
        if (axis_find(axis, key))
            return error_set(err, ERROR_INVALID, "two partitions have the same key");
        struct node *node = axis_add(run, axis, above, key, err);
        if (!node)
            return -1;
        node->path = arena_copy_string(run->arena, partition->path);
        node->item = arena_copy_string(run->arena, item);
        if (partition->files) {
            OWN_JSON files = json_array();
            for (size_t f = 0; files && f < partition->file_count; f++)
                json_array_append_new(files, json_string(partition->files[f]));
            OWN_STRING text = files ? json_canonical(files, err) : NULL;
            node->files = text ? arena_copy_string(run->arena, text) : NULL;
            if (!node->files)
                return error_set_memory(err);
        }
        if (!node->path || !node->item)
            return error_set_memory(err);
    }
    return 0;
}

int expand_make(struct run *run, size_t fan_step, struct node *above,
                const struct partition_list *list, struct error **err) {
    struct axis *axis = run->axes[fan_step];
    if (engine_write(run->engine, err) < 0 || add_nodes(run, axis, above, list, err) < 0)
        return -1;
    return record(run, axis, above, SKIP_NONE, (uint32_t)list->count, err);
}

int expand_blocked(struct run *run, size_t fan_step, struct node *above, enum skip outcome,
                   struct error **err) {
    return record(run, run->axes[fan_step], above, outcome, 0, err);
}

/* The items of a list need no jq unless the pipeline asks for it: compiling it takes milliseconds.
 */
static json_t *list_items(const struct fan *fan, json_t *document, const json_t *values,
                          struct error **err) {
    if (text_equal(fan->items, ".[]") && json_is_array(document))
        return json_incref(document); /* as usual: to compile any jq takes 20 ms */
    struct expression *items = expression_new(fan->items, expression_variables, err);
    json_t *found = items ? expression_run(items, document, values, err) : NULL;
    expression_free(items);
    return found;
}

/* Items of a JSON document through jq: {items}, and {key} of each. */
static int list_json(const json_t *parameters, const struct fan *fan, const char *path,
                     struct partition_list *list, struct error **err) {
    OWN_JSON document = json_read_file(-100 /* AT_FDCWD */, path, (size_t)64 << 20, err);
    OWN_JSON values = json_object();
    if (!document || !values)
        return document ? error_set_memory(err) : -1;
    json_object_set(values, "params", (json_t *)parameters);
    struct expression *key = fan->key ? expression_new(fan->key, expression_variables, err) : NULL;
    json_t *found = key || !fan->key ? list_items(fan, document, values, err) : NULL;
    int result = found ? 0 : -1;
    const json_t *stream = found;
    if (found && json_array_size(found) == 1 && json_is_array(json_array_get(found, 0)))
        stream = json_array_get(found, 0);
    for (size_t i = 0; result == 0 && i < json_array_size(stream); i++) {
        json_t *item = json_array_get(stream, i);
        OWN_JSON keys = key ? expression_run(key, item, values, err) : NULL;
        const json_t *name = keys ? json_array_get(keys, 0) : item;
        OWN_STRING text = json_is_string(name) ? memory_copy_string(json_string_value(name))
                          : !name || json_is_object(name) || json_is_array(name)
                              ? memory_format("%zu", i + 1)
                              : json_canonical(name, err);
        if (key && !keys)
            result = -1;
        else if (!text)
            result = error_set_memory(err);
        else
            result = partition_list_add(list, text, "", json_incref(item), err);
    }
    json_decref(found);
    expression_free(key);
    return result < 0 ? -1 : partition_list_finish(list, err);
}

/* Opening a pipe would wait for a writer for ever. */
static int check_document(const char *path, struct error **err) {
    struct stat status;
    if (stat(path, &status) < 0)
        return error_set_errno(err, errno, "cannot read %s", path);
    if (S_ISREG(status.st_mode))
        return 0;
    error_set(err, ERROR_INVALID, "%s is not a file", path);
    return error_hint(err, "name a CSV or JSON file");
}

int expand_list(const json_t *parameters, const struct fan *fan, const char *path,
                const struct manifest *manifest, struct partition_list *list, struct error **err) {
    if ((fan->kind == FAN_JSON || fan->kind == FAN_CSV) && fan->over.kind != REFERENCE_STEP &&
        check_document(path, err) < 0)
        return -1;
    if (fan->kind != FAN_JSON)
        return partition_list_make(fan, path, manifest, list, err);
    if (fan->over.kind != REFERENCE_STEP || *fan->over.path)
        return list_json(parameters, fan, path, list, err);
    /* A step as a whole: its result. The guest may have made it a link to anywhere. */
    OWN_STRING inside = path_resolve_beneath(path, "result.json", err);
    OWN_STRING result = inside ? path_join(path, inside) : NULL;
    return result ? list_json(parameters, fan, result, list, err) : -1;
}

/* No partition at all is an error unless the pipeline allows it: better said than a run that
 * succeeds by doing nothing. */
int expand_check(const struct run *run, size_t fan_step, const struct partition_list *list,
                 struct error **err) {
    const struct step *step = &run->pipeline->steps[fan_step];
    if (list->count || step->fan.allow_empty)
        return 0;
    error_set(err, ERROR_INVALID, "it found nothing to work on");
    if (list->ignored)
        return error_hint(err, "%zu files were looked at and are not DICOM", list->ignored);
    return error_hint(err, "check the input; if nothing is a good answer, say `allow_empty: true`");
}

/* A fan that cannot be made fails the step that asks for it, in words, not the engine. */
static int expand_failed(struct run *run, size_t fan_step, struct node *above,
                         struct error *problem, struct error **err) {
    OWN_ERROR own = problem;
    const struct step *step = &run->pipeline->steps[fan_step];
    if (own->code == ERROR_MEMORY)
        return error_move(err, take(&own));
    error_wrap(&own, "step %s: `foreach`", step->id);
    if (step->on_failure == ON_FAILURE_FAIL || step->on_failure == ON_FAILURE_RUN)
        run->stopping = true;
    if (event_add(run->engine, run->id, 0, "problem",
                  json_pack("{s:s, s:s, s:s*}", "step", step->id, "message", own->message, "hint",
                            own->hint),
                  err) < 0)
        return -1;
    return expand_blocked(
        run, fan_step, above,
        step->on_failure == ON_FAILURE_SKIP_PARTITION ? SKIP_PARTITION : SKIP_UPSTREAM_FAILED, err);
}

/* Listing in the pool: what a step left may be large, and DICOM files are read for it. Meanwhile a
 * command may build the run anew: the place is found again by its names. */
struct list_job {
    struct pool_job job;
    size_t fan_step;
    char *above, *path;
    uint8_t output[SHA256_SIZE]; /* of the task whose outputs are listed */
    bool of_task;
    struct partition_list list;
    struct error *problem;
};

static void list_job_cleanup(struct list_job **job) {
    if (!*job)
        return;
    memory_free((*job)->above);
    memory_free((*job)->path);
    partition_list_release(&(*job)->list);
    error_free((*job)->problem);
    memory_free(*job);
}

/* In the pool. */
static void list_partitions(struct pool_job *base) {
    struct list_job *job = (struct list_job *)base;
    const struct run *run = base->run;
    const struct fan *fan = &run->pipeline->steps[job->fan_step].fan;
    OWN_MANIFEST manifest = NULL;
    if (fan->kind != FAN_JSON && fan->kind != FAN_CSV) {
        manifest = manifest_build(job->path, MANIFEST_NAMES_ONLY, NULL, &job->problem);
        if (!manifest)
            return;
    }
    if (expand_list(run->parameters, fan, job->path, manifest, &job->list, &job->problem) < 0 ||
        expand_check(run, job->fan_step, &job->list, &job->problem) < 0)
        return;
}

static int partitions_listed(struct pool_job *base, struct error **err) {
    CLEANUP(list_job_cleanup) struct list_job *job = (struct list_job *)base;
    struct run *run = base->run;
    const struct fan *fan = &run->pipeline->steps[job->fan_step].fan;
    struct node *above = axis_find(run->axes[job->fan_step]->above, job->above);
    struct range *range = above ? axis_range(run->axes[job->fan_step], above, err) : NULL;
    if (!range)
        return above ? -1 : 0;
    range->listing = false;
    if (range->made || run->cancelling)
        return 0;
    if (job->of_task) {
        const struct run_step *step = &run->steps[fan->over.index];
        struct task *task = above->index < step->task_capacity ? step->tasks[above->index] : NULL;
        if (!task || !task_state_is_final(task->state))
            return 0;
        if (!task_has_data(task) || memcmp(task->output, job->output, SHA256_SIZE) != 0)
            return expand_after(task, err); /* it ran once more meanwhile */
    }
    struct error *problem = take(&job->problem);
    if (problem || expand_make(run, job->fan_step, above, &job->list, &problem) < 0)
        return expand_failed(run, job->fan_step, above, problem, err);
    return 0;
}

/* Takes over `path`; `task` is the one whose outputs it lies in, or NULL. */
static int begin_listing(struct run *run, size_t fan_step, const struct node *above,
                         const struct task *task, char *path, struct error **err) {
    OWN_STRING own = path;
    struct range *range = axis_range(run->axes[fan_step], above, err);
    if (!range)
        return -1;
    CLEANUP(list_job_cleanup) struct list_job *job = memory_allocate(sizeof(*job));
    if (!job || !(job->above = memory_copy_string(above->key)))
        return error_set_memory(err);
    job->job = (struct pool_job){.run = run, .work = list_partitions, .done = partitions_listed};
    job->fan_step = fan_step;
    job->path = take(&own);
    job->of_task = task;
    if (task)
        memcpy(job->output, task->output, SHA256_SIZE);
    range->listing = true;
    return pool_queue(run, &take(&job)->job, err);
}

/* Fans over what a step left. */
static int expand_from_task(struct task *task, size_t fan_step, struct error **err) {
    struct run *run = task->step->run;
    char *path = result_inside(task, run->pipeline->steps[fan_step].fan.over.path, err);
    return path ? begin_listing(run, fan_step, task->node, task, path, err) : -1;
}

static bool fans_over(const struct step *step, size_t upstream) {
    return step->fan.kind > FAN_STEP && step->fan.over.kind == REFERENCE_STEP &&
           step->fan.over.index == upstream;
}

int expand_after(struct task *task, struct error **err) {
    struct run *run = task->step->run;
    for (size_t i = 0; i < run->pipeline->step_count && !run->cancelling; i++) {
        if (!fans_over(&run->pipeline->steps[i], task->step->step->index))
            continue;
        struct range *range = axis_range(run->axes[i], task->node, err);
        if (!range)
            return -1;
        if (range->made || range->listing)
            continue;
        if (!task_has_data(task)) {
            enum skip outcome = task_counts_as_failed(task)  ? SKIP_UPSTREAM_FAILED
                                : task->state == TASK_FAILED ? SKIP_PARTITION
                                                             : (enum skip)task->skip;
            if (expand_blocked(run, i, task->node, outcome, err) < 0)
                return -1;
            continue;
        }
        struct error *problem = NULL;
        if (expand_from_task(task, i, &problem) < 0 &&
            expand_failed(run, i, task->node, problem, err) < 0)
            return -1;
    }
    return 0;
}

int expand_from_source(struct run *run, size_t fan_step, const struct partition_list *list,
                       struct error *problem, struct error **err) {
    struct node *root = run->axes[run->pipeline->step_count]->nodes[0];
    struct range *range = axis_range(run->axes[fan_step], root, err);
    if (!range || range->made) {
        error_free(problem);
        return range ? 0 : -1;
    }
    struct error *made = problem;
    if (made || expand_check(run, fan_step, list, &made) < 0 ||
        expand_make(run, fan_step, root, list, &made) < 0)
        return expand_failed(run, fan_step, root, made, err);
    return 0;
}

/* A fan over the item of a partition one level up: made as soon as that partition is there. */
static int expand_item(struct run *run, size_t fan_step, struct node *above, struct error **err) {
    const struct fan *fan = &run->pipeline->steps[fan_step].fan;
    CLEANUP(spot_release) struct spot spot = {0};
    struct node *owner = node_at_level(above, run->axes[fan->over.index]->level);
    if (spot_of_item(run, fan->over.index, owner, fan->over.path, &spot, err) < 0)
        return -1;
    char *path = spot_host_path(&spot, err);
    return path ? begin_listing(run, fan_step, above, NULL, path, err) : -1;
}

static int expand_items(struct run *run, struct axis *axis, const struct range *range,
                        struct error **err) {
    for (size_t i = 0; i < run->pipeline->step_count; i++) {
        const struct fan *fan = &run->pipeline->steps[i].fan;
        if (fan->kind <= FAN_STEP || fan->over.kind != REFERENCE_ITEM ||
            run->axes[i]->above != axis)
            continue;
        for (uint32_t n = 0; n < range->count; n++) {
            struct node *above = axis->nodes[range->first + n];
            struct range *mine = axis_range(run->axes[i], above, err);
            if (!mine)
                return -1;
            struct error *problem = NULL;
            if (!mine->made && !mine->listing && expand_item(run, i, above, &problem) < 0 &&
                expand_failed(run, i, above, problem, err) < 0)
                return -1;
        }
    }
    return 0;
}

int expand_ready(struct run *run, struct error **err) {
    for (size_t i = 0; i < run->pipeline->step_count; i++) {
        struct run_step *step = &run->steps[i];
        for (size_t n = 0; n < step->task_capacity; n++)
            if (step->tasks[n] && task_state_is_final(step->tasks[n]->state) &&
                expand_after(step->tasks[n], err) < 0)
                return -1;
        struct axis *axis = run->axes[i];
        for (size_t n = 0; axis && n < axis->range_capacity && n < axis->above->count; n++) {
            struct range range = axis->ranges[n];
            if (check_from(run, axis, axis->above->nodes[n], err) < 0 ||
                expand_items(run, axis, &range, err) < 0)
                return -1;
        }
    }
    return 0;
}
