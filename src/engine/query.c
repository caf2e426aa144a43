/* Answers about runs and tasks, from the database alone: any program may ask at any time. */
#include "private.h"

#include <fcntl.h>

#define NAMED_MAXIMUM 12 /* steps, in a hint */

struct pipeline *engine_pipeline(struct engine *engine, const char *run, struct error **err) {
    OWN_ROWS rows =
        store_query(engine->store, err, "SELECT document, path FROM run WHERE name = ?", "s", run);
    if (!rows)
        return NULL;
    int more = rows_next(rows, err);
    if (more <= 0) {
        if (!more)
            error_set(err, ERROR_NOT_FOUND, "there is no run \"%s\"", run);
        return NULL;
    }
    const char *text = rows_text(rows, 0);
    OWN_JSON document = json_parse(text, strlen(text), err);
    struct pipeline_options options = {.can_run_images = true, .trusted = true};
    return document ? pipeline_from_document(document, rows_text(rows, 1), &options, err) : NULL;
}

const struct pipeline *query_pipeline(struct engine *engine, const char *run, struct error **err) {
    if (engine->asked && text_equal(engine->asked_name, run))
        return engine->asked;
    struct pipeline *pipeline = engine_pipeline(engine, run, err);
    if (!pipeline)
        return NULL;
    pipeline_free(engine->asked);
    engine->asked = pipeline;
    (void)snprintf(engine->asked_name, sizeof(engine->asked_name), "%s", run);
    return pipeline;
}

char *engine_run_folder(struct engine *engine, const char *run, struct error **err) {
    char *path = run_id_of(engine, run, err) < 0 ? NULL : home_path(engine, "runs/%s", run);
    return path;
}

/* Times as RFC 3339, or null. */
json_t *query_time(int64_t wall) {
    char text[CLOCK_TEXT_SIZE];
    if (!wall)
        return json_null();
    clock_format(wall, text);
    return json_string(text);
}

json_t *query_parse(const char *text) {
    json_t *json = text ? json_parse(text, strlen(text), NULL) : NULL;
    return json ? json : json_null();
}

/* --------------------------------------------------------------------- runs */

static json_t *counts_object(const int64_t counts[TASK_STATE_COUNT]) {
    json_t *object = json_object();
    for (int state = 0; object && state < TASK_STATE_COUNT; state++)
        json_object_set_new(object, task_state_name((enum task_state)state),
                            json_integer(counts[state]));
    return object;
}

static int count_tasks(struct engine *engine, int64_t run, int64_t counts[TASK_STATE_COUNT],
                       struct error **err) {
    memset(counts, 0, TASK_STATE_COUNT * sizeof(*counts));
    OWN_ROWS rows =
        store_query(engine->store, err,
                    "SELECT state, count(*) FROM task WHERE run = ? GROUP BY state", "i", run);
    if (!rows)
        return -1;
    int more;
    while ((more = rows_next(rows, err)) > 0) {
        int64_t state = rows_integer(rows, 0);
        if (state >= 0 && state < TASK_STATE_COUNT)
            counts[state] = rows_integer(rows, 1);
    }
    return more;
}

static json_t *run_object(struct engine *engine, struct rows *rows, struct error **err) {
    int64_t counts[TASK_STATE_COUNT];
    if (count_tasks(engine, rows_integer(rows, 0), counts, err) < 0)
        return NULL;
    return json_pack(
        "{s:s, s:s, s:s?, s:s, s:o, s:o, s:o, s:s?, s:s, s:o}", "run", rows_text(rows, 1),
        "pipeline", rows_text(rows, 2), "version", rows_text(rows, 3), "state",
        run_state_name((enum run_state)rows_integer(rows, 4)), "created",
        query_time(rows_integer(rows, 5)), "started", query_time(rows_integer(rows, 6)), "ended",
        query_time(rows_integer(rows, 7)), "note", rows_text(rows, 8), "output", rows_text(rows, 9),
        "tasks", counts_object(counts));
}

json_t *engine_runs(struct engine *engine, unsigned maximum, struct error **err) {
    OWN_JSON list = json_array();
    OWN_ROWS rows = store_query(engine->store, err,
                                "SELECT id, name, pipeline, version, state, created, started, "
                                "ended, note, output FROM run ORDER BY id DESC LIMIT ?",
                                "i", (int64_t)maximum);
    if (!rows || !list)
        return NULL;
    int more;
    while ((more = rows_next(rows, err)) > 0) {
        json_t *run = run_object(engine, rows, err);
        if (!run || json_array_append_new(list, run) < 0)
            return NULL;
    }
    return more < 0 ? NULL : take(&list);
}

/* ------------------------------------------------------------------- status */

struct step_sum {
    int64_t counts[TASK_STATE_COUNT], total, seconds_of, milliseconds;
};

static int sum_steps(struct engine *engine, int64_t run, struct step_sum *sums, size_t count,
                     struct error **err) {
    OWN_ROWS rows = store_query(engine->store, err,
                                "SELECT step, state, count(*) FROM task WHERE run = ? "
                                "GROUP BY state, step",
                                "i", run);
    if (!rows)
        return -1;
    int more;
    while ((more = rows_next(rows, err)) > 0) {
        size_t step = (size_t)rows_integer(rows, 0), state = (size_t)rows_integer(rows, 1);
        if (step >= count || state >= TASK_STATE_COUNT)
            continue;
        sums[step].counts[state] = rows_integer(rows, 2);
        sums[step].total += rows_integer(rows, 2);
    }
    return more;
}

/* The mean of some finished tasks is enough to tell how long the rest takes. */
static int sum_times(struct engine *engine, int64_t run, struct step_sum *sums, size_t count,
                     struct error **err) {
    for (size_t step = 0; step < count; step++) {
        if (!sums[step].counts[TASK_SUCCEEDED])
            continue;
        OWN_ROWS rows = store_query(engine->store, err,
                                    "SELECT started, ended FROM task WHERE run = ? AND state = 5 "
                                    "AND step = ? LIMIT 200",
                                    "ii", run, (int64_t)step);
        if (!rows)
            return -1;
        int more;
        while ((more = rows_next(rows, err)) > 0) {
            if (rows_null(rows, 0))
                continue;
            sums[step].seconds_of++;
            sums[step].milliseconds += rows_integer(rows, 1) - rows_integer(rows, 0);
        }
        if (more < 0)
            return -1;
    }
    return 0;
}

static int expanded(struct engine *engine, int64_t run, const struct step *step, bool *ret,
                    struct error **err) {
    int64_t open = 0;
    *ret = true;
    for (size_t level = 0; level < step->axis_count && *ret; level++) {
        const char *sql =
            level == 0
                ? "SELECT NOT EXISTS(SELECT 1 FROM expansion WHERE run = ?1 AND "
                  "step = ?2)"
                : "SELECT EXISTS(SELECT 1 FROM task t WHERE t.run = ?1 AND "
                  "t.step = ?3 AND t.state >= 0 AND NOT EXISTS(SELECT 1 FROM expansion e WHERE "
                  "e.run = ?1 AND e.step = ?2 AND e.parent = t.partition))";
        int result =
            level == 0 ? store_integer(engine->store, 0, &open, err, sql, "ii", run,
                                       (int64_t)step->axis[0])
                       : store_integer(engine->store, 0, &open, err, sql, "iii", run,
                                       (int64_t)step->axis[level], (int64_t)step->axis[level - 1]);
        if (result < 0)
            return -1;
        *ret = !open;
    }
    return 0;
}

static int add_steps(struct engine *engine, int64_t run, const struct pipeline *pipeline,
                     json_t *status, struct error **err) {
    OWN_MEMORY(struct step_sum) sums = memory_array(pipeline->step_count, sizeof(*sums));
    json_t *steps = json_array();
    if (!sums || !steps || json_object_set_new(status, "steps", steps) < 0)
        return error_set_memory(err);
    if (sum_steps(engine, run, sums, pipeline->step_count, err) < 0 ||
        sum_times(engine, run, sums, pipeline->step_count, err) < 0)
        return -1;
    for (size_t i = 0; i < pipeline->step_count; i++) {
        const struct step *step = &pipeline->steps[i];
        bool all = true;
        if (expanded(engine, run, step, &all, err) < 0)
            return -1;
        double mean = sums[i].seconds_of
                          ? (double)sums[i].milliseconds / 1000 / (double)sums[i].seconds_of
                          : 0;
        json_array_append_new(steps,
                              json_pack("{s:s, s:s, s:s, s:o, s:I, s:b, s:o}", "step", step->id,
                                        "type", step_type_name(step->type), "title",
                                        step->title ? step->title : step->id, "tasks",
                                        counts_object(sums[i].counts), "total",
                                        (json_int_t)sums[i].total, "expanded", (int)all, "seconds",
                                        sums[i].seconds_of ? json_real(mean) : json_null()));
    }
    return 0;
}

/* The first tasks in one state, as the status shows them. */
static int add_tasks(struct engine *engine, int64_t run, const struct pipeline *pipeline,
                     enum task_state state, json_t *status, const char *name, struct error **err) {
    json_t *list = json_array();
    if (!list || json_object_set_new(status, name, list) < 0)
        return error_set_memory(err);
    OWN_ROWS rows = store_query(
        engine->store, err,
        "SELECT t.step, t.partition, t.cause, t.exit, t.reason, t.started, t.attempts, a.detail, "
        "a.log FROM task t LEFT JOIN attempt a ON a.task = t.id AND a.number = t.attempts "
        "WHERE t.run = ? AND t.state = ? ORDER BY t.state, t.step LIMIT 20",
        "ii", run, (int64_t)state);
    if (!rows)
        return -1;
    int more;
    while ((more = rows_next(rows, err)) > 0) {
        size_t step = (size_t)rows_integer(rows, 0);
        const char *reason = rows_text(rows, 4), *detail = rows_text(rows, 7);
        if (!detail || !*detail)
            detail = reason;
        int64_t number = rows_integer(rows, 3);
        OWN_STRING log = rows_text(rows, 8) ? home_path(engine, "%s", rows_text(rows, 8)) : NULL;
        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:s, s:o, s:s?, s:s?, s:s?, s:o}", "step",
                      step < pipeline->step_count ? pipeline->steps[step].id : "?", "partition",
                      rows_text(rows, 1), "cause", cause_name((enum cause)rows_integer(rows, 2)),
                      "exit", number < 0 ? json_null() : json_integer(number), "message", reason,
                      "detail", detail, "log", log, "started", query_time(rows_integer(rows, 5))));
    }
    return more;
}

/* What went wrong, or is weaker than it should be, since the run last began to move. */
static int add_said(struct engine *engine, int64_t run, const char *kind, const char *name,
                    json_t *status, struct error **err) {
    json_t *list = json_array();
    if (!list || json_object_set_new(status, name, list) < 0)
        return error_set_memory(err);
    OWN_ROWS rows =
        store_query(engine->store, err,
                    "SELECT data FROM event WHERE run = ?1 AND kind = ?2 AND kind <> 'state' AND "
                    "id > coalesce((SELECT max(id) FROM event WHERE run = ?1 AND "
                    "kind = 'run' AND kind <> 'state' AND data LIKE '%\"running\"%'), 0) LIMIT 20",
                    "is", run, kind);
    if (!rows)
        return -1;
    int more;
    while ((more = rows_next(rows, err)) > 0)
        json_array_append_new(list, query_parse(rows_text(rows, 0)));
    return more;
}

/* Links that tasks left and nobody will find: one warning a step, for there may be many tasks. */
static int add_left_out(struct engine *engine, int64_t run, const struct pipeline *pipeline,
                        json_t *status, struct error **err) {
    json_t *list = json_object_get(status, "warnings");
    OWN_ROWS rows = store_query(
        engine->store, err,
        "SELECT t.step, sum(json_extract(e.data, '$.outside')) FROM event e JOIN task t ON "
        "t.id = e.task WHERE e.run = ? AND e.kind = 'links' AND e.kind <> 'state' GROUP BY t.step",
        "i", run);
    int more = rows ? 1 : -1;
    while (more > 0 && (more = rows_next(rows, err)) > 0) {
        size_t step = (size_t)rows_integer(rows, 0);
        json_int_t count = (json_int_t)rows_integer(rows, 1);
        OWN_STRING message = memory_format(
            "step %s: %lld symbolic link%s in what it left lead%s outside, and %s left out where "
            "that is handed on",
            step < pipeline->step_count ? pipeline->steps[step].id : "?", count,
            count == 1 ? "" : "s", count == 1 ? "s" : "", count == 1 ? "is" : "are");
        if (!message || json_array_append_new(
                            list, json_pack("{s:s, s:s}", "message", message, "hint",
                                            "a task's links must be relative and stay below its "
                                            "output folder; or let it copy the files")) < 0)
            return error_set_memory(err);
    }
    return more;
}

json_t *query_last_event(struct engine *engine, int64_t run, const char *kind, struct error **err) {
    OWN_ROWS rows = store_query(engine->store, err,
                                "SELECT data FROM event WHERE run = ? AND kind = ? AND kind <> "
                                "'state' ORDER BY id DESC LIMIT 1",
                                "is", run, kind);
    int more = rows ? rows_next(rows, err) : -1;
    if (more < 0)
        return NULL;
    json_t *data = more ? query_parse(rows_text(rows, 0)) : json_object();
    if (!data)
        error_set_memory(err);
    return data;
}

static int add_outputs(struct engine *engine, int64_t run, json_t *status, struct error **err) {
    json_t *outputs = query_last_event(engine, run, "outputs", err);
    return outputs && json_object_set_new(status, "outputs", outputs) == 0 ? 0 : -1;
}

json_t *engine_status(struct engine *engine, const char *run, struct error **err) {
    int64_t id = run_id_of(engine, run, err);
    CLEANUP(pipeline_cleanup)
    struct pipeline *pipeline = id < 0 ? NULL : engine_pipeline(engine, run, err);
    if (!pipeline)
        return NULL;
    OWN_ROWS rows = store_query(engine->store, err,
                                "SELECT id, name, pipeline, version, state, created, started, "
                                "ended, note, output, images FROM run WHERE id = ?",
                                "i", id);
    if (!rows || rows_next(rows, err) < 0)
        return NULL;
    OWN_JSON status = run_object(engine, rows, err);
    if (!status || json_object_set_new(status, "images", query_parse(rows_text(rows, 10))) < 0) {
        error_set_memory(err);
        return NULL;
    }
    if (add_steps(engine, id, pipeline, status, err) < 0 ||
        add_tasks(engine, id, pipeline, TASK_DECIDING, status, "waiting", err) < 0 ||
        add_tasks(engine, id, pipeline, TASK_FAILED, status, "failed", err) < 0 ||
        add_tasks(engine, id, pipeline, TASK_RUNNING, status, "running", err) < 0 ||
        add_said(engine, id, "problem", "problems", status, err) < 0 ||
        add_said(engine, id, "warning", "warnings", status, err) < 0 ||
        add_left_out(engine, id, pipeline, status, err) < 0 ||
        add_outputs(engine, id, status, err) < 0 ||
        query_add_recorded(engine, id, status, err) < 0 ||
        query_add_reporting(engine, run, status, err) < 0)
        return NULL;
    return take(&status);
}

json_t *query_record(struct engine *engine, const char *run, struct error **err) {
    OWN_JSON status = engine_status(engine, run, err);
    if (!status)
        return NULL;
    OWN_ROWS rows = store_query(engine->store, err,
                                "SELECT path, parameters, inputs, digests, selection, who FROM run "
                                "WHERE name = ?",
                                "s", run);
    if (!rows || rows_next(rows, err) < 0)
        return NULL;
    json_object_set_new(status, "pipeline_file", json_string(rows_text(rows, 0)));
    json_object_set_new(status, "parameters", query_parse(rows_text(rows, 1)));
    json_object_set_new(status, "inputs", query_parse(rows_text(rows, 2)));
    json_object_set_new(status, "digests", query_parse(rows_text(rows, 3)));
    json_object_set_new(status, "selection", query_parse(rows_text(rows, 4)));
    json_object_set_new(status, "started_by", json_string(rows_text(rows, 5)));
    json_object_set_new(status, "glovebox", json_string(GLOVEBOX_VERSION));
    json_object_del(status, "running");
    return take(&status);
}

/* -------------------------------------------------------------------- tasks */

static json_t *task_object(struct rows *rows, const struct pipeline *pipeline) {
    size_t step = (size_t)rows_integer(rows, 1);
    return json_pack("{s:s, s:s, s:s, s:I, s:o, s:s, s:o, s:o}", "step",
                     step < pipeline->step_count ? pipeline->steps[step].id : "?", "partition",
                     rows_text(rows, 2), "state",
                     task_state_name((enum task_state)rows_integer(rows, 3)), "attempts",
                     (json_int_t)rows_integer(rows, 4), "exit",
                     rows_integer(rows, 5) < 0 ? json_null() : json_integer(rows_integer(rows, 5)),
                     "cause", cause_name((enum cause)rows_integer(rows, 6)), "started",
                     query_time(rows_integer(rows, 7)), "ended", query_time(rows_integer(rows, 8)));
}

static int state_number(const char *name, int64_t *ret, struct error **err) {
    const char *names[TASK_STATE_COUNT];
    *ret = -1;
    for (int state = 0; state < TASK_STATE_COUNT; state++) {
        names[state] = task_state_name((enum task_state)state);
        if (name && text_equal(name, names[state]))
            *ret = state;
    }
    if (!name || *ret >= 0)
        return 0;
    error_set(err, ERROR_USAGE, "there is no state \"%s\"", name);
    const char *near = text_nearest(name, names, TASK_STATE_COUNT);
    return near ? error_hint(err, "did you mean \"%s\"?", near) : -1;
}

int query_unknown_step(const struct pipeline *pipeline, const char *id, enum error_code code,
                       struct error **err) {
    const char *names[256];
    size_t count = 0;
    for (; count < pipeline->step_count && count < ARRAY_SIZE(names); count++)
        names[count] = pipeline->steps[count].id;
    error_set(err, code, "there is no step \"%s\"", id);
    const char *near = text_nearest(id, names, count);
    if (near)
        return error_hint(err, "did you mean \"%s\"?", near);
    OWN_BUFFER all = {0};
    for (size_t i = 0; i < count && i < NAMED_MAXIMUM; i++)
        buffer_format(&all, "%s%s", i ? ", " : "", names[i]);
    buffer_append(&all, count > NAMED_MAXIMUM ? "…" : "");
    return error_hint(err, "its steps are %s", buffer_text(&all));
}

int query_step(const struct pipeline *pipeline, const char *id, int64_t *ret, struct error **err) {
    *ret = -1;
    if (!id)
        return 0;
    const struct step *step = pipeline_find_step(pipeline, id);
    if (!step)
        return query_unknown_step(pipeline, id, ERROR_NOT_FOUND, err);
    *ret = (int64_t)step->index;
    return 0;
}

int engine_tasks(struct engine *engine, const char *run, const char *step, const char *state,
                 int (*use)(const json_t *task, void *context, struct error **err), void *context,
                 struct error **err) {
    int64_t id = run_id_of(engine, run, err), only_step = -1, only_state = -1;
    CLEANUP(pipeline_cleanup)
    struct pipeline *pipeline = id < 0 ? NULL : engine_pipeline(engine, run, err);
    if (!pipeline || query_step(pipeline, step, &only_step, err) < 0 ||
        state_number(state, &only_state, err) < 0)
        return -1;
    OWN_ROWS rows = store_query(engine->store, err,
                                "SELECT id, step, partition, state, attempts, exit, cause, "
                                "started, ended FROM task WHERE run = ?1 AND state >= 0 AND "
                                "(?2 < 0 OR step = ?2) AND (?3 < 0 OR state = ?3) "
                                "ORDER BY step, partition",
                                "iii", id, only_step, only_state);
    if (!rows)
        return -1;
    int more;
    while ((more = rows_next(rows, err)) > 0) {
        OWN_JSON task = task_object(rows, pipeline);
        if (!task)
            return error_set_memory(err);
        if (use(task, context, err) < 0)
            return -1;
    }
    return more;
}
