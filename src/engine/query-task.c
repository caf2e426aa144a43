/* One task whole: its attempts, what happened to it, and why. */
#include "private.h"

static json_t *attempt_object(struct engine *engine, struct rows *rows) {
    OWN_JSON recipe = query_parse(rows_text(rows, 2));
    OWN_STRING log = home_path(engine, "%s", rows_text(rows, 4));
    bool ended = !rows_null(rows, 7);
    json_t *command = json_object_get(recipe, "command");
    return json_pack(
        "{s:I, s:s, s:O?, s:O?, s:O?, s:o, s:s?, s:o, s:o, s:o, s:o, s:I, s:s, s:s?, s:I, s:I, "
        "s:I}",
        "number", (json_int_t)rows_integer(rows, 0), "driver", rows_text(rows, 1), "command",
        command, "environment", json_object_get(recipe, "environment"), "inputs",
        json_object_get(recipe, "inputs"), "box", query_parse(rows_text(rows, 3)), "log", log,
        "launched", query_time(rows_integer(rows, 5)), "started", query_time(rows_integer(rows, 6)),
        "ended", query_time(rows_integer(rows, 7)), "exit",
        ended && rows_integer(rows, 9) >= 0 ? json_integer(rows_integer(rows, 9)) : json_null(),
        "signal", (json_int_t)rows_integer(rows, 10), "cause",
        ended ? cause_name((enum cause)rows_integer(rows, 8)) : "running", "detail",
        rows_text(rows, 14), "peak_memory", (json_int_t)rows_integer(rows, 11), "cpu_user",
        (json_int_t)rows_integer(rows, 12), "cpu_system", (json_int_t)rows_integer(rows, 13),
        "sandbox", rows_text(rows, 15));
}

static json_t *attempts_of(struct engine *engine, int64_t task, struct error **err) {
    OWN_JSON list = json_array();
    OWN_ROWS rows = store_query(engine->store, err,
                                "SELECT number, driver, recipe, box, log, launched, started, "
                                "ended, cause, exit, signal, peak_memory, cpu_user, cpu_system, "
                                "detail, sandbox FROM attempt WHERE task = ? ORDER BY number",
                                "i", task);
    if (!rows || !list)
        return NULL;
    int more;
    while ((more = rows_next(rows, err)) > 0) {
        json_t *attempt = attempt_object(engine, rows);
        if (!attempt || json_array_append_new(list, attempt) < 0) {
            error_set_memory(err);
            return NULL;
        }
    }
    return more < 0 ? NULL : take(&list);
}

static void hex_column(json_t *object, const char *name, struct rows *rows, int column) {
    size_t size = 0;
    const void *bytes = rows_bytes(rows, column, &size);
    char text[SHA256_HEX_SIZE];
    if (size == SHA256_SIZE)
        hex_encode(bytes, size, text);
    json_object_set_new(object, name, size == SHA256_SIZE ? json_string(text) : json_null());
}

#define TASK_COLUMNS                                                                               \
    "id, step, partition, state, attempts, exit, cause, started, ended, key, output, result, "     \
    "reason, skip, fresh"

static json_t *whole_task(struct engine *engine, const struct pipeline *pipeline, struct rows *rows,
                          struct error **err) {
    size_t step = (size_t)rows_integer(rows, 1);
    OWN_JSON attempts = attempts_of(engine, rows_integer(rows, 0), err);
    if (!attempts)
        return NULL;
    json_t *task = json_pack(
        "{s:s, s:s, s:s, s:I, s:o, s:s, s:o, s:o, s:o, s:s?, s:O}", "step",
        step < pipeline->step_count ? pipeline->steps[step].id : "?", "partition",
        rows_text(rows, 2), "state", task_state_name((enum task_state)rows_integer(rows, 3)),
        "attempts_made", (json_int_t)rows_integer(rows, 4), "exit",
        rows_integer(rows, 5) < 0 ? json_null() : json_integer(rows_integer(rows, 5)), "cause",
        cause_name((enum cause)rows_integer(rows, 6)), "started", query_time(rows_integer(rows, 7)),
        "ended", query_time(rows_integer(rows, 8)), "result", query_parse(rows_text(rows, 11)),
        "reason", rows_text(rows, 12), "attempts", attempts);
    if (!task) {
        error_set_memory(err);
        return NULL;
    }
    hex_column(task, "key", rows, 9);
    hex_column(task, "output", rows, 10);
    size_t size = 0;
    const void *key = rows_bytes(rows, 9, &size);
    int64_t state = rows_integer(rows, 3);
    if (size == SHA256_SIZE && (state == TASK_SUCCEEDED || state == TASK_REUSED)) {
        OWN_STRING folder = result_folder(engine, key);
        OWN_STRING output = folder ? path_join(folder, "output") : NULL;
        if (output && file_exists(-100, output))
            json_object_set_new(task, "output_path", json_string(output));
    }
    return task;
}

/* The row of "STEP" or "STEP@PARTITION". Without a partition the step must have one task. */
static struct rows *find_task(struct engine *engine, int64_t run, const struct pipeline *pipeline,
                              const char *where, struct error **err) {
    size_t size = strcspn(where, "@");
    OWN_STRING id = memory_copy_bytes(where, size);
    int64_t step = -1;
    if (!id || query_step(pipeline, id, &step, err) < 0)
        return NULL;
    const char *partition = where[size] ? where + size + 1 : NULL;
    int64_t count = 0;
    if (!partition &&
        store_integer(engine->store, 0, &count, err,
                      "SELECT count(*) FROM task WHERE run = ? AND step = ? AND state >= 0", "ii",
                      run, step) < 0)
        return NULL;
    if (count > 1) {
        error_set(err, ERROR_INVALID, "step %s has %lld partitions", id, (long long)count);
        error_hint(err, "say which: %s@PARTITION; `glovebox tasks` lists them", id);
        return NULL;
    }
    struct rows *rows = store_query(engine->store, err,
                                    "SELECT " TASK_COLUMNS " FROM task WHERE run = ?1 AND "
                                    "step = ?2 AND (?3 IS NULL AND state >= 0 OR partition = ?3)",
                                    "iis", run, step, partition);
    int more = rows ? rows_next(rows, err) : -1;
    if (more > 0)
        return rows;
    rows_close(rows);
    if (more == 0 && partition)
        error_set(err, ERROR_NOT_FOUND, "step %s has no partition \"%s\"", id, partition);
    else if (more == 0)
        error_set(err, ERROR_NOT_FOUND, "step %s has no tasks yet: its partitions are not known",
                  id);
    return NULL;
}

json_t *engine_task(struct engine *engine, const char *run, const char *where, struct error **err) {
    int64_t id = run_id_of(engine, run, err);
    CLEANUP(pipeline_cleanup)
    struct pipeline *pipeline = id < 0 ? NULL : engine_pipeline(engine, run, err);
    OWN_ROWS rows = pipeline ? find_task(engine, id, pipeline, where, err) : NULL;
    return rows ? whole_task(engine, pipeline, rows, err) : NULL;
}

json_t *engine_events(struct engine *engine, const char *run, int64_t after, unsigned maximum,
                      struct error **err) {
    int64_t id = run_id_of(engine, run, err);
    CLEANUP(pipeline_cleanup)
    struct pipeline *pipeline = id < 0 ? NULL : engine_pipeline(engine, run, err);
    OWN_JSON list = json_array();
    if (!pipeline || !list)
        return NULL;
    OWN_ROWS rows = store_query(engine->store, err,
                                "SELECT e.id, e.at, e.kind, e.data, t.step, t.partition FROM event "
                                "e LEFT JOIN task t ON t.id = e.task WHERE e.run = ? AND e.id > ? "
                                "ORDER BY e.id LIMIT ?",
                                "iii", id, after, (int64_t)maximum);
    if (!rows)
        return NULL;
    int more;
    while ((more = rows_next(rows, err)) > 0) {
        const char *kind = rows_text(rows, 2);
        size_t step = (size_t)rows_integer(rows, 4);
        bool task = !rows_null(rows, 4) && step < pipeline->step_count;
        json_t *data = text_equal(kind, "state") ? json_string(rows_text(rows, 3))
                                                 : query_parse(rows_text(rows, 3));
        json_array_append_new(list,
                              json_pack("{s:I, s:o, s:s, s:s?, s:s?, s:o}", "id",
                                        (json_int_t)rows_integer(rows, 0), "at",
                                        query_time(rows_integer(rows, 1)), "kind", kind, "step",
                                        task ? pipeline->steps[step].id : NULL, "partition",
                                        task ? rows_text(rows, 5) : NULL, "data", data));
    }
    return more < 0 ? NULL : take(&list);
}

/* ---------------------------------------------------------------------- why */

/* Of its latest attempt. */
static json_t *recipe_of(struct engine *engine, int64_t task, struct error **err) {
    OWN_ROWS rows = store_query(
        engine->store, err,
        "SELECT recipe FROM attempt WHERE task = ? ORDER BY number DESC LIMIT 1", "i", task);
    int more = rows ? rows_next(rows, err) : -1;
    return more > 0 ? query_parse(rows_text(rows, 0)) : NULL;
}

/* "inputs.scan", "command"… that differ between two recipes. */
static bool differ(const json_t *a, const json_t *b) {
    return a != b && !json_equal(a, b);
}

/* The name may be the same: then it means another image by now. */
static void compare_images(const json_t *before, const json_t *now, json_t *details) {
    const char *old = json_get_string(before, "image", NULL);
    const char *new = json_get_string(now, "image", NULL);
    if (old && new && !text_equal(old, new))
        json_array_append_new(
            details, json_sprintf("image changed: it was %.19s…, now it is %.19s…", old, new));
}

static void compare(const json_t *before, const json_t *now, json_t *details) {
    static const char *const flat[] = {"type",        "tool",    "entrypoint", "command",
                                       "environment", "network", "partition",  "glovebox"};
    static const char *const nested[] = {"inputs", "mounts", "files", "secrets"};
    for (size_t i = 0; i < ARRAY_SIZE(flat); i++)
        if (differ(json_object_get(before, flat[i]), json_object_get(now, flat[i])))
            json_array_append_new(details, json_sprintf("%s changed", flat[i]));
    compare_images(before, now, details);
    for (size_t i = 0; i < ARRAY_SIZE(nested); i++) {
        json_t *old = json_object_get(before, nested[i]), *new = json_object_get(now, nested[i]);
        const char *key;
        json_t *value;
        json_object_foreach(new, key, value) {
            const json_t *other = json_object_get(old, key);
            if (!other)
                json_array_append_new(details, json_sprintf("%s %s is new", nested[i], key));
            else if (!json_equal(value, other))
                json_array_append_new(details, json_sprintf("%s %s changed", nested[i], key));
        }
        json_object_foreach(old, key, value) {
            if (!json_object_get(new, key))
                json_array_append_new(details, json_sprintf("%s %s is gone", nested[i], key));
        }
    }
}

/* Against the last other work that this step did for this partition. */
static int explain_run(struct engine *engine, const struct pipeline *pipeline,
                       const struct step *step, struct rows *task, json_t *details,
                       const char **ret_because, struct error **err) {
    size_t size = 0;
    const void *key = rows_bytes(task, 9, &size);
    OWN_JSON now = recipe_of(engine, rows_integer(task, 0), err);
    OWN_ROWS rows = store_query(engine->store, err,
                                "SELECT recipe FROM result WHERE pipeline = ? AND step = ? AND "
                                "partition = ? AND key <> ? ORDER BY created DESC LIMIT 1",
                                "sssb", pipeline->name, step->id, rows_text(task, 2), key, size);
    int more = rows ? rows_next(rows, err) : -1;
    if (more < 0)
        return -1;
    bool asked = rows_integer(task, 14);
    if (more && now) {
        OWN_JSON before = query_parse(rows_text(rows, 0));
        compare(before, now, details);
    }
    if (step->cache == CACHE_OFF)
        *ret_because = "it ran because it says `cache: false`";
    else if (asked)
        *ret_because = "it ran anew because it, or what it depends on, was asked to";
    else if (json_array_size(details))
        *ret_because = "it ran because something changed since it last ran";
    else
        *ret_because = more ? "it ran because its earlier results cannot be reused"
                            : "it ran because nothing like it was done before";
    return 0;
}

static int explain_success(struct engine *engine, const struct pipeline *pipeline,
                           struct rows *task, json_t *details, const char **ret_because,
                           struct error **err) {
    const struct step *step = &pipeline->steps[rows_integer(task, 1)];
    const char *reason = rows_text(task, 12);
    bool running = rows_integer(task, 3) == TASK_RUNNING;
    if (reason && text_starts_with(reason, "marked as succeeded")) {
        *ret_because = "a person marked it as succeeded";
        json_array_append_new(details, json_string(reason));
        return 0;
    }
    if (step->type == STEP_WAIT) {
        *ret_because = step->wait_for ? "its time has come" : "what it waited for is there";
        return 0;
    }
    if (step->type > STEP_CONTAINER) {
        *ret_because = reason ? reason : "it costs no process";
        return 0;
    }
    if (explain_run(engine, pipeline, step, task, details, ret_because, err) < 0)
        return -1;
    if (running) {
        json_array_insert_new(details, 0, json_string(*ret_because));
        *ret_because = "it is running";
    }
    return 0;
}

static int explain_wait(struct engine *engine, int64_t run, const struct pipeline *pipeline,
                        const struct step *step, json_t *details, struct error **err) {
    for (size_t i = 0; i < step->edge_count; i++) {
        const struct step *upstream = &pipeline->steps[step->edges[i].step];
        int64_t open = 0, all = 0;
        if (store_integer(engine->store, 0, &open, err,
                          "SELECT count(*) FROM task WHERE run = ? AND step = ? AND state "
                          "BETWEEN 0 AND 4",
                          "ii", run, (int64_t)upstream->index) < 0 ||
            store_integer(engine->store, 0, &all, err,
                          "SELECT count(*) FROM task WHERE run = ? AND step = ? AND state >= 0",
                          "ii", run, (int64_t)upstream->index) < 0)
            return -1;
        if (!all)
            json_array_append_new(details, json_sprintf("%s has no tasks yet", upstream->id));
        else if (open)
            json_array_append_new(details,
                                  json_sprintf("%s: %lld of %lld are not done", upstream->id,
                                               (long long)open, (long long)all));
    }
    if (step->fired)
        json_array_append_new(details, json_string("it waits to be named by `next`"));
    return 0;
}

/* The beginning of what a failed task left in result.json; the record has it whole. */
static json_t *shorten_result(const char *result) {
    size_t size = strlen(result), shown = size < 1000 ? size : 1000;
    while (shown < size && ((uint8_t)result[shown] & 0xc0) == 0x80)
        shown--;
    return json_sprintf("result.json: %.*s%s", (int)shown, result, shown < size ? "…" : "");
}

static int explain(struct engine *engine, int64_t run, const struct pipeline *pipeline,
                   struct rows *task, json_t *details, const char **ret_because,
                   struct error **err) {
    const struct step *step = &pipeline->steps[rows_integer(task, 1)];
    const char *reason = rows_text(task, 12);
    if (rows_integer(task, 3) == STATE_GONE) {
        *ret_because = "its partition was not made again when the run was restarted";
        return 0;
    }
    int64_t run_state = RUN_RUNNING, state = rows_integer(task, 3);
    if (store_integer(engine->store, RUN_RUNNING, &run_state, err,
                      "SELECT state FROM run WHERE id = ?", "i", run) < 0)
        return -1;
    if (state == TASK_WAITING && run_state >= RUN_SUCCEEDED) {
        *ret_because = NOT_STARTED;
        json_array_append_new(details, json_string("`glovebox retry` takes it up"));
        return 0;
    }
    switch ((enum task_state)state) {
    case TASK_WAITING:
        *ret_because = "it waits for what comes before it";
        return explain_wait(engine, run, pipeline, step, details, err);
    case TASK_READY:
        if (reason && text_starts_with(reason, WAITS_FOR_SAME)) {
            *ret_because = "it waits for another task that does the same work";
            break;
        }
        *ret_because = "it waits for room: limits and resources, see `glovebox status`";
        return 0;
    case TASK_RUNNING:
    case TASK_SUCCEEDED:
        return explain_success(engine, pipeline, task, details, ret_because, err);
    case TASK_REUSED:
        *ret_because = "its outputs were reused: command, parameters and inputs are the same";
        break;
    case TASK_SKIPPED:
        *ret_because = skip_sentence((enum skip)rows_integer(task, 13));
        if (rows_integer(task, 13) != SKIP_PERSON)
            return 0;
        break;
    case TASK_FAILED:
        *ret_because = "it failed";
        json_array_append_new(
            details, json_sprintf("cause: %s", cause_name((enum cause)rows_integer(task, 6))));
        if (rows_integer(task, 5) > 0)
            json_array_append_new(
                details, json_sprintf("exit status %lld", (long long)rows_integer(task, 5)));
        if (step->type <= STEP_CONTAINER && rows_text(task, 11))
            json_array_append_new(details, shorten_result(rows_text(task, 11)));
        break;
    case TASK_CANCELLED:
        *ret_because = "a person stopped it";
        return 0;
    case TASK_DECIDING:
        *ret_because = "it waits for a person: `glovebox decide`";
        break;
    case TASK_SLEEPING:
        *ret_because = "it waits for a time, a file or a condition";
        break;
    default:
        break;
    }
    if (reason && *reason)
        json_array_append_new(details, json_string(reason));
    return 0;
}

json_t *engine_why(struct engine *engine, const char *run, const char *where, struct error **err) {
    int64_t id = run_id_of(engine, run, err);
    CLEANUP(pipeline_cleanup)
    struct pipeline *pipeline = id < 0 ? NULL : engine_pipeline(engine, run, err);
    OWN_ROWS task = pipeline ? find_task(engine, id, pipeline, where, err) : NULL;
    if (!task)
        return NULL;
    OWN_JSON details = json_array();
    const char *because = "";
    if (!details || explain(engine, id, pipeline, task, details, &because, err) < 0)
        return NULL;
    return json_pack("{s:s, s:s, s:s, s:s, s:O}", "step", pipeline->steps[rows_integer(task, 1)].id,
                     "partition", rows_text(task, 2), "state",
                     task_state_name((enum task_state)rows_integer(task, 3)), "because", because,
                     "details", details);
}
