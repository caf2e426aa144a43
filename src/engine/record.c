/* The end of a run: outputs are delivered, and a record is written that a stranger can read. */
#include "private.h"

#include <fcntl.h>
#include <sys/stat.h>

struct finish_run_job {
    struct pool_job job;
    enum run_state state;
    int64_t round;             /* of syncing */
    struct delivery *delivery; /* NULL: the run did not succeed */
    struct delivery_item *items;
    size_t count, capacity;
    struct error *failure;
};

static void finish_run_job_free(struct finish_run_job *job) {
    if (!job)
        return;
    for (size_t i = 0; i < job->count; i++) {
        memory_free(job->items[i].source);
        memory_free(job->items[i].target);
    }
    memory_free(job->items);
    delivery_free(job->delivery);
    error_free(job->failure);
    memory_free(job);
}

static void finish_run_job_cleanup(struct finish_run_job **job) {
    finish_run_job_free(*job);
}

static int add_delivery(struct finish_run_job *job, const char *source, const char *target,
                        struct error **err) {
    if (array_reserve(&job->items, &job->capacity, job->count, sizeof(*job->items), TASKS_MAXIMUM,
                      err) < 0)
        return -1;
    struct delivery_item *item = &job->items[job->count++];
    item->source = memory_copy_string(source);
    item->target = memory_copy_string(target);
    return item->source && item->target ? 0 : error_set_memory(err);
}

/* ------------------------------------------------------------------- outputs */

struct gather {
    struct finish_run_job *job;
    const struct run_step *step;
    const struct pipeline_output *output;
};

static bool is_file(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

/* A file keeps its ending: output `report` from report/all.pdf becomes report.pdf. */
static char *target_of(const struct run *run, const char *name, const char *key,
                       const char *source) {
    bool file = is_file(source);
    const char *dot = file ? strrchr(path_base_name(source), '.') : NULL;
    if (!*key)
        return memory_format("%s/%s%s", run->output, name, dot ? dot : "");
    OWN_STRING part = path_is_safe_relative(key) ? memory_copy_string(key) : text_safe_name(key);
    if (!part)
        return NULL;
    return file ? memory_format("%s/%s/%s/%s", run->output, name, part, path_base_name(source))
                : memory_format("%s/%s/%s", run->output, name, part);
}

static int gather_output(struct node *node, void *context, struct error **err) {
    struct gather *gather = context;
    struct task *task =
        node->index < gather->step->task_capacity ? gather->step->tasks[node->index] : NULL;
    if (!task || !task_has_data(task) || !task->has_output)
        return 0;
    OWN_ERROR problem = NULL;
    OWN_STRING source = result_inside(task, gather->output->from.path, &problem);
    if (!source && problem && problem->code == ERROR_NOT_FOUND)
        return 0; /* this partition left none */
    if (!source && problem &&
        problem->code == ERROR_DENIED) { /* a guest's link that leads outside */
        error_wrap(&problem, "output %s", gather->output->name);
        if (!gather->job->failure)
            gather->job->failure = take(&problem);
        return 0;
    }
    if (!source)
        return problem ? error_move(err, take(&problem)) : error_set_memory(err);
    OWN_STRING target = target_of(task->step->run, gather->output->name, node->key, source);
    return target ? add_delivery(gather->job, source, target, err) : error_set_memory(err);
}

static int gather_outputs(struct run *run, struct finish_run_job *job, struct error **err) {
    struct node *root = run->axes[run->pipeline->step_count]->nodes[0];
    for (size_t i = 0; i < run->pipeline->output_count; i++) {
        const struct pipeline_output *output = &run->pipeline->outputs[i];
        if (output->from.kind != REFERENCE_STEP)
            continue;
        struct gather gather = {job, &run->steps[output->from.index], output};
        if (axis_visit(gather.step->axis, root, gather_output, &gather, err) < 0)
            return -1;
    }
    return 0;
}

/* In the pool. */
static void deliver(struct pool_job *base) {
    struct finish_run_job *job = (struct finish_run_job *)base;
    struct error **err = &job->failure;
    if (job->failure)
        return;
    if ((job->delivery && (delivery_put(job->delivery, job->items, job->count, err) < 0 ||
                           delivery_tidy(job->delivery, err) < 0)) ||
        power_sync(base->run->engine, err) < 0)
        error_wrap(err, "outputs");
}

/* {name: path} of what was delivered; a folder when there is one for each partition. */
static json_t *delivered_outputs(const struct run *run, const struct finish_run_job *job) {
    json_t *outputs = json_object();
    for (size_t i = 0; outputs && i < run->pipeline->output_count; i++) {
        const char *name = run->pipeline->outputs[i].name;
        size_t size = strlen(run->output) + 1 + strlen(name);
        for (size_t d = 0; d < job->count && !json_object_get(outputs, name); d++) {
            const char *target = job->items[d].target;
            if (strncmp(target + strlen(run->output) + 1, name, strlen(name)) != 0)
                continue;
            bool folder = target[size] == '/';
            if (folder || target[size] == '\0' || target[size] == '.')
                json_object_set_new(outputs, name,
                                    folder ? json_stringn(target, size) : json_string(target));
        }
    }
    return outputs;
}

/* -------------------------------------------------------------------- record */

static void append_time(struct buffer *out, const char *name, struct rows *rows, int column) {
    char text[CLOCK_TEXT_SIZE];
    if (rows_null(rows, column) || !rows_integer(rows, column)) {
        buffer_format(out, ",\"%s\":null", name);
        return;
    }
    clock_format(rows_integer(rows, column), text);
    buffer_format(out, ",\"%s\":\"%s\"", name, text);
}

static void append_string(struct buffer *out, const char *name, const char *text) {
    buffer_format(out, ",\"%s\":", name);
    json_append_string(out, text);
}

/* A column that holds JSON as we wrote it. */
static void append_raw(struct buffer *out, const char *name, const char *text) {
    buffer_format(out, ",\"%s\":%s", name, text ? text : "null");
}

static void append_number(struct buffer *out, const char *name, struct rows *rows, int column) {
    if (rows_null(rows, column))
        buffer_format(out, ",\"%s\":null", name);
    else
        buffer_format(out, ",\"%s\":%lld", name, (long long)rows_integer(rows, column));
}

static void append_digest(struct buffer *out, const char *name, struct rows *rows, int column) {
    size_t size = 0;
    const void *bytes = rows_bytes(rows, column, &size);
    char text[SHA256_HEX_SIZE];
    if (size == SHA256_SIZE)
        hex_encode(bytes, size, text);
    append_string(out, name, size == SHA256_SIZE ? text : NULL);
}

static void append_attempt(struct buffer *out, struct engine *engine, struct rows *rows) {
    OWN_STRING log = home_path(engine, "%s", rows_text(rows, 13));
    buffer_format(out, "{\"number\":%lld", (long long)rows_integer(rows, 10));
    append_string(out, "driver", rows_text(rows, 11));
    append_raw(out, "command", rows_text(rows, 12));
    append_raw(out, "environment", rows_text(rows, 27));
    append_raw(out, "inputs", rows_text(rows, 28));
    append_string(out, "log", log);
    append_raw(out, "box", rows_text(rows, 14));
    append_string(out, "sandbox", rows_text(rows, 15));
    append_time(out, "launched", rows, 16);
    append_time(out, "started", rows, 17);
    append_time(out, "ended", rows, 18);
    append_string(out, "cause",
                  rows_null(rows, 18) ? "running" : cause_name((enum cause)rows_integer(rows, 19)));
    append_number(out, "exit", rows, 20);
    append_number(out, "signal", rows, 21);
    append_number(out, "peak_memory", rows, 22);
    append_number(out, "cpu_user", rows, 23);
    append_number(out, "cpu_system", rows, 24);
    append_string(out, "detail", rows_text(rows, 25));
    buffer_append_char(out, '}');
}

static void append_output_path(struct buffer *out, const struct engine *engine, struct rows *rows) {
    size_t size = 0, left = 0;
    const void *key = rows_bytes(rows, 7, &size);
    (void)rows_bytes(rows, 8, &left);
    int64_t state = rows_integer(rows, 3);
    bool there = size == SHA256_SIZE && left == SHA256_SIZE &&
                 (state == TASK_SUCCEEDED || state == TASK_REUSED);
    OWN_STRING folder = there ? result_folder(engine, key) : NULL;
    OWN_STRING path = folder ? path_join(folder, "output") : NULL;
    append_string(out, "output_path", path);
}

static void append_task(struct buffer *out, const struct run *run, struct rows *rows) {
    const struct pipeline *pipeline = run->pipeline;
    size_t step = (size_t)rows_integer(rows, 1);
    buffer_append(out, "{\"step\":");
    json_append_string(out, step < pipeline->step_count ? pipeline->steps[step].id : "?");
    append_string(out, "partition", rows_text(rows, 2));
    append_string(out, "state", task_state_name((enum task_state)rows_integer(rows, 3)));
    append_string(out, "cause", cause_name((enum cause)rows_integer(rows, 4)));
    append_time(out, "started", rows, 5);
    append_time(out, "ended", rows, 6);
    append_digest(out, "key", rows, 7);
    append_digest(out, "output", rows, 8);
    append_output_path(out, run->engine, rows);
    append_string(out, "reason", rows_text(rows, 9));
    append_number(out, "attempts_made", rows, 29);
    append_number(out, "exit", rows, 30);
    append_raw(out, "result", rows_text(rows, 26));
    append_raw(out, "origin", rows_text(rows, 31));
    append_raw(out, "recipe", rows_text(rows, 32));
    buffer_append(out, ",\"attempts\":[");
}

/* One line a task, with all its attempts. */
static int append_tasks(struct run *run, struct buffer *out, struct error **err) {
    OWN_ROWS rows = store_query(
        run->engine->store, err,
        "SELECT t.id, t.step, t.partition, t.state, t.cause, t.started, t.ended, t.key, t.output, "
        "t.reason, a.number, a.driver, json_extract(a.recipe, '$.command'), a.log, a.box, "
        "a.sandbox, a.launched, a.started, a.ended, a.cause, nullif(a.exit, -1), a.signal, "
        "a.peak_memory, a.cpu_user, a.cpu_system, a.detail, t.result, "
        "json_extract(a.recipe, '$.environment'), json_extract(a.recipe, '$.inputs'), t.attempts, "
        "nullif(t.exit, -1), CASE WHEN r.key IS NOT NULL THEN json_object('run', r.run, 'step', "
        "r.step, 'partition', r.partition, 'attempt', r.attempt) END, r.recipe FROM task t "
        "LEFT JOIN attempt a ON a.task = t.id "
        "LEFT JOIN result r ON r.key = t.key AND t.state = 6 " /* reused */
        "WHERE t.run = ? ORDER BY t.step, t.partition, a.number",
        "i", run->id);
    if (!rows)
        return -1;
    int64_t before = -1;
    int more;
    while ((more = rows_next(rows, err)) > 0) {
        bool again = rows_integer(rows, 0) == before;
        if (before >= 0 && !again)
            buffer_append(out, "]}\n");
        if (!again)
            append_task(out, run, rows);
        else
            buffer_append_char(out, ',');
        if (!rows_null(rows, 10))
            append_attempt(out, run->engine, rows);
        before = rows_integer(rows, 0);
    }
    if (before >= 0)
        buffer_append(out, "]}\n");
    return more < 0 ? -1 : buffer_check(out, err);
}

static int write_json(const char *path, const json_t *json, struct error **err) {
    OWN_STRING text = json_text(json, JSON_INDENT(2) | JSON_SORT_KEYS, err);
    return text ? file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, err) : -1;
}

static int write_tasks(struct run *run, struct error **err) {
    OWN_STRING tasks = home_path(run->engine, "runs/%s/tasks.jsonl", run->name);
    OWN_BUFFER lines = {.maximum = (size_t)1 << 30};
    if (!tasks)
        return error_set_memory(err);
    if (append_tasks(run, &lines, err) < 0)
        return -1;
    return file_write_atomic(AT_FDCWD, tasks, buffer_text(&lines), lines.size, 0600, err);
}

static int write_record(struct run *run, bool with_tasks, struct error **err) {
    struct engine *engine = run->engine;
    OWN_STRING record = home_path(engine, "runs/%s/run.json", run->name);
    OWN_STRING pipeline = home_path(engine, "runs/%s/pipeline.json", run->name);
    OWN_JSON status = query_record(engine, run->name, err);
    if (!status)
        return -1;
    if (!record || !pipeline)
        return error_set_memory(err);
    if (write_json(record, status, err) < 0 ||
        write_json(pipeline, run->pipeline->document, err) < 0 ||
        (with_tasks && write_tasks(run, err) < 0))
        return -1;
    return crate_write(engine, run->name, status, err);
}

int record_write(struct run *run, struct error **err) {
    return write_record(run, true, err);
}

void record_note(struct run *run) {
    OWN_ERROR problem = NULL;
    if (write_record(run, false, &problem) < 0)
        log_message(LOG_WARNING, "the record of run %s could not be written: %s", run->name,
                    problem->message);
}

/* What never started is left to a retry; whoever looks at the run sees why. */
static int leave_the_rest(const struct run *run, struct error **err) {
    return store_run(run->engine->store, err,
                     "UPDATE task SET state = 0, reason = ? WHERE run = ? AND state IN (0, 1)",
                     "si", NOT_STARTED, run->id);
}

/* A step that ran and left nothing under the name: the run is well, but somebody counts on it. */
static int warn_of_missing(struct run *run, const json_t *outputs, struct error **err) {
    for (size_t i = 0; i < run->pipeline->output_count; i++) {
        const struct pipeline_output *output = &run->pipeline->outputs[i];
        if (output->from.kind != REFERENCE_STEP || json_object_get(outputs, output->name) ||
            !run->steps[output->from.index].ok)
            continue;
        OWN_STRING message =
            memory_format("the output \"%s\" is not there: step %s left nothing of that name",
                          output->name, run->pipeline->steps[output->from.index].id);
        if (!message)
            return error_set_memory(err);
        if (event_add(run->engine, run->id, 0, "warning",
                      json_pack("{s:s, s:s}", "message", message, "hint",
                                "name it in the step's `out:`, so that the step fails without it"),
                      err) < 0)
            return -1;
    }
    return 0;
}

static int delivered(struct pool_job *base, struct error **err) {
    CLEANUP(finish_run_job_cleanup) struct finish_run_job *job = (struct finish_run_job *)base;
    struct run *run = base->run;
    run->finishing = false;
    run->ended = true;
    enum run_state state = job->state;
    const char *note = NULL;
    if (job->failure) {
        state = RUN_FAILED;
        note = job->failure->message;
        if (event_add(run->engine, run->id, 0, "problem", json_pack("{s:s}", "message", note),
                      err) < 0)
            return -1;
    }
    if (job->delivery && delivery_save(run, job->delivery, !job->failure, err) < 0)
        return -1;
    if (!job->failure && power_synced(run->engine, job->round, err) < 0)
        return -1;
    OWN_JSON outputs = state == RUN_SUCCEEDED ? delivered_outputs(run, job) : json_object();
    if (!outputs)
        return error_set_memory(err);
    if (state == RUN_SUCCEEDED && warn_of_missing(run, outputs, err) < 0)
        return -1;
    if (event_add(run->engine, run->id, 0, "outputs", take(&outputs), err) < 0)
        return -1;
    OWN_ERROR problem = NULL;
    json_t *digests = state == RUN_SUCCEEDED ? crate_output_digests(run, &problem) : NULL;
    if (digests && event_add(run->engine, run->id, 0, "digests", digests, err) < 0)
        return -1;
    if (problem) /* the run is as good as without them */
        log_message(LOG_WARNING, "the outputs of run %s have no digests: %s", run->name,
                    problem->message);
    if (leave_the_rest(run, err) < 0 || run_move(run, state, note, err) < 0)
        return -1;
    run->engine->ending = true;
    report_write(run, true);
    error_free(take(&problem));
    if (record_write(run, &problem) < 0)
        log_message(LOG_WARNING, "the record of run %s could not be written: %s", run->name,
                    problem->message);
    return 0;
}

int record_finish(struct run *run, enum run_state state, struct error **err) {
    CLEANUP(finish_run_job_cleanup) struct finish_run_job *job = memory_allocate(sizeof(*job));
    if (!job)
        return error_set_memory(err);
    job->job = (struct pool_job){.run = run, .work = deliver, .done = delivered};
    job->state = state;
    job->round = run->engine->sync_round++;
    run->finishing = true;
    if (state == RUN_SUCCEEDED &&
        (delivery_new(run, &job->delivery, err) < 0 || gather_outputs(run, job, err) < 0))
        return -1;
    return pool_queue(run, &take(&job)->job, err);
}
