/*
 * MedPerf's host-side functions: conditions of `next`, and lists of partitions. Each call is a job
 * of its own: python3 in a sealed box, with the inputs and the folders of the functions read-only.
 *
 * Calls are not in the database. When the driver of the home dies, the question is simply asked
 * again; the folder work/JOB that a call leaves behind leads its successor to what is left of it.
 */
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define CALLS_MAXIMUM   4 /* at once: they cost a processor each */
#define CALL_TIMEOUT    60000
#define CALL_MEMORY     ((uint64_t)2 << 30)
#define ANSWER_MAXIMUM  ((size_t)64 << 20)
#define FOLDERS_MAXIMUM 4
#define MARK            ".call."

extern const char call_program[];

struct call {
    struct engine *engine;
    struct call *next;
    int64_t run_id, task_id; /* task 0: partitions */
    size_t step;             /* that asks, or that fans out */
    unsigned attempts;       /* of the task: else it ran anew meanwhile */
    char job[96];
    char *work, *out, *log;
    struct arena *arena;
    json_t *state, *path, *functions;
    json_t *branches; /* of each function */
    int fallback;     /* branch when no function holds, or -1 */
    struct compute_mount mounts[256];
    size_t mount_count;
};

static void call_free(struct call *call) {
    if (!call)
        return;
    memory_free(call->work);
    memory_free(call->out);
    memory_free(call->log);
    arena_free(call->arena);
    json_decref(call->state);
    json_decref(call->path);
    json_decref(call->functions);
    json_decref(call->branches);
    memory_free(call);
}

static void call_cleanup(struct call **call) {
    call_free(*call);
}

static int add_mount(struct call *call, const char *source, const char *target, bool writable,
                     struct error **err) {
    if (call->mount_count == ARRAY_SIZE(call->mounts))
        return error_set(err, ERROR_LIMIT, "too many inputs for a function");
    struct compute_mount *mount = &call->mounts[call->mount_count++];
    *mount = (struct compute_mount){.source = arena_copy_string(call->arena, source),
                                    .target = arena_copy_string(call->arena, target),
                                    .writable = writable};
    return mount->source && mount->target ? 0 : error_set_memory(err);
}

/* ---------------------------------------------------------------------- the state */

/* The state object's attributes, in MedPerf's words. */
static const char *attribute_of(const char *input) {
    static const char *const names[][2] = {{"data_path", "host_input_data_path"},
                                           {"output_path", "host_output_data_path"},
                                           {"labels_path", "host_labels_path"},
                                           {"output_labels_path", "host_output_labels_path"}};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (text_equal(names[i][0], input))
            return names[i][1];
    return NULL;
}

static int add_input(struct call *call, const struct run *run, size_t index, struct error **err) {
    const struct pipeline_input *input = &run->pipeline->inputs[index];
    const char *attribute = attribute_of(input->name);
    const char *given = run->input_sources[index].path;
    OWN_STRING path =
        given || !input->writable ? memory_copy_string(given) : run_volume(run, index, err);
    if (!path)
        return given || input->writable ? -1 : 0;
    OWN_STRING shown = memory_format("/medperf/%s", input->name);
    OWN_STRING plain = memory_format("host_%s", input->name);
    if (!shown || !plain)
        return error_set_memory(err);
    if (add_mount(call, path, shown, false, err) < 0)
        return -1;
    if (json_object_set_new(call->state, plain, json_string(shown)) < 0 ||
        (attribute && json_object_set_new(call->state, attribute, json_string(shown)) < 0))
        return error_set_memory(err);
    return 0;
}

static int add_state(struct call *call, const struct run *run, const char *partition,
                     struct error **err) {
    call->state = json_pack("{s:s?, s:n, s:n, s:n, s:n}", "running_subject",
                            partition && *partition ? partition : NULL, "host_input_data_path",
                            "host_output_data_path", "host_labels_path", "host_output_labels_path");
    if (!call->state)
        return error_set_memory(err);
    for (size_t i = 0; i < run->pipeline->input_count; i++)
        if (add_input(call, run, i, err) < 0)
            return -1;
    return 0;
}

/* Where modules are looked for: what was given as additional_files, then what lies beside the
 * pipeline's file. */
static int add_folder(struct call *call, const char *path, struct error **err) {
    if (!path || !file_exists(AT_FDCWD, path))
        return 0;
    OWN_STRING shown = memory_format("/functions/%zu", json_array_size(call->path));
    if (!shown)
        return error_set_memory(err);
    if (json_array_append_new(call->path, json_string(shown)) < 0)
        return error_set_memory(err);
    return add_mount(call, path, shown, false, err);
}

static int add_folders(struct call *call, const struct run *run, struct error **err) {
    const char *beside, *path = run->pipeline->path;
    OWN_STRING folder = memory_copy_bytes(path, (size_t)(path_base_name(path) - path));
    call->path = json_array();
    if (!folder || !call->path)
        return error_set_memory(err);
    for (size_t i = 0; i < run->pipeline->input_count; i++)
        if (text_equal(run->pipeline->inputs[i].name, "additional_files") &&
            add_folder(call, run->input_sources[i].path, err) < 0)
            return -1;
    for (size_t i = 0; (beside = pipeline_function_folder(i)); i++) {
        OWN_STRING place = *beside ? path_join(folder, beside) : memory_copy_string(folder);
        if (!place)
            return error_set_memory(err);
        if (add_folder(call, place, err) < 0)
            return -1;
    }
    return 0;
}

/* ----------------------------------------------------------------------- launch */

static struct call *call_new(struct run *run, size_t step, const char *partition, int64_t task,
                             struct error **err) {
    CLEANUP(call_cleanup) struct call *call = memory_allocate(sizeof(*call));
    if (!call) {
        error_set_memory(err);
        return NULL;
    }
    call->engine = run->engine;
    call->run_id = run->id;
    call->task_id = task;
    call->step = step;
    call->fallback = -1;
    call->arena = arena_new((size_t)16 << 20);
    (void)snprintf(call->job, sizeof(call->job), "%.50s" MARK "%llu.%u", run->name,
                   (unsigned long long)clock_wall(), ++run->engine->calls_made);
    call->work = home_path(run->engine, "work/%s", call->job);
    call->out = home_path(run->engine, "work/%s/out", call->job);
    const char *id = run->pipeline->steps[step].id;
    call->log = task ? home_path(run->engine, "runs/%s/logs/%s/%lld.next.log", run->name, id,
                                 (long long)task)
                     : home_path(run->engine, "runs/%s/logs/partitions.log", run->name);
    if (!call->arena || !call->work || !call->out || !call->log) {
        error_set_memory(err);
        return NULL;
    }
    if (add_state(call, run, task ? partition : NULL, err) < 0 || add_folders(call, run, err) < 0 ||
        add_mount(call, call->out, "/out", true, err) < 0)
        return NULL;
    return take(&call);
}

static int make_folders(const struct call *call, struct error **err) {
    OWN_STRING logs =
        memory_copy_bytes(call->log, (size_t)(path_base_name(call->log) - call->log) - 1);
    if (!logs)
        return error_set_memory(err);
    if (directory_make(AT_FDCWD, logs, 0700, err) < 0)
        return -1;
    if (unlink(call->log) < 0 && errno != ENOENT) /* only the last one is kept */
        return error_set_errno(err, errno, "cannot remove an old log");
    if (directory_make(AT_FDCWD, call->work, 0700, err) < 0)
        return -1;
    return directory_make(AT_FDCWD, call->out, 0777, err);
}

static int call_launch(struct call *call, const char *request, struct error **err) {
    static const char *const environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp",
                                              "TMPDIR=/tmp", "LANG=C.UTF-8", NULL};
    const char *const arguments[] = {"python3", "-I", "-B", "-c", call_program, request, NULL};
    int64_t timeout =
        policy_seconds(call->engine->policy, "function_timeout", CALL_TIMEOUT / 1000) * 1000;
    struct job job = {.name = call->job,
                      .arguments = arguments,
                      .environment = environment,
                      .directory = "/tmp",
                      .work = call->work,
                      .mounts = call->mounts,
                      .mount_count = call->mount_count,
                      .log = call->log,
                      .log_maximum = (uint64_t)1 << 20,
                      .limits = {.cpus = 1, .memory = CALL_MEMORY, .timeout = timeout, .grace = 1},
                      .box = BOX_SEALED};
    if (make_folders(call, err) < 0 ||
        call->engine->driver->launch(call->engine->compute, &job, err) < 0)
        return -1;
    return call->engine->driver->flush(call->engine->compute, err);
}

/* Takes over the call. */
static int begin(struct call *own, struct run *run, json_t *request, struct error **err) {
    CLEANUP(call_cleanup) struct call *call = own;
    OWN_JSON whole = request;
    if (!whole || json_object_set(whole, "path", call->path) < 0 ||
        json_object_set(whole, "state", call->state) < 0)
        return error_set_memory(err);
    OWN_STRING text = json_canonical(whole, err);
    if (!text || call_launch(call, text, err) < 0)
        return -1;
    call->next = run->engine->calls;
    run->engine->calls = take(&call);
    run->calls++;
    return 0;
}

int call_partitions(struct run *run, size_t fan_step, struct error **err) {
    struct call *call = call_new(run, fan_step, NULL, 0, err);
    const char *function = run->pipeline->steps[fan_step].fan.function;
    return call ? begin(call, run, json_pack("{s:s}", "partitions", function), err) : -1;
}

bool call_is_possible(const struct task *task) {
    unsigned count = 0;
    for (const struct call *call = task->step->run->engine->calls; call; call = call->next) {
        if (call->task_id == task->id)
            return false; /* it is asked already */
        count++;
    }
    return count < CALLS_MAXIMUM;
}

int call_conditions(struct task *task, const json_t *functions, const json_t *branches,
                    int fallback, struct error **err) {
    struct run *run = task->step->run;
    struct call *call = call_new(run, task->step->step->index, task->node->key, task->id, err);
    if (!call)
        return -1;
    call->attempts = task->attempts;
    call->branches = json_deep_copy(branches);
    call->fallback = fallback;
    if (!call->branches) {
        call_free(call);
        return error_set_memory(err);
    }
    return begin(call, run, json_pack("{s:O}", "conditions", (json_t *)functions), err);
}

/* ------------------------------------------------------------------------- answers */

/* No messages of exceptions here: they may name patients. */
static int explain(const struct call *call, const json_t *answer, struct error **err) {
    static const struct {
        const char *word, *text, *hint;
        bool detailed;
    } rows[] = {
        {"name", "is not of the form MODULE.FUNCTION", NULL, false},
        {"no_module", "is in no module that was found",
         "give the folder of its module with -i additional_files=DIR, or put it beside the "
         "pipeline's file",
         false},
        {"no_import", "needs a module that this machine's python3 does not have: ", NULL, true},
        {"no_function", "is not in its module", NULL, false},
        {"raised", "raised ", NULL, true},
        {"type", "must return a list of texts, and returned a value of type ", NULL, true},
        {"item", "must return a list of texts, and has in it a value of type ", NULL, true},
        {"text", "lists a partition whose name is not UTF-8, or holds a zero byte",
         "rename what it is named after", false}};
    const char *word = json_get_string(answer, "problem", "");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (!text_equal(rows[i].word, word))
            continue;
        error_set(err, ERROR_INVALID, "the function %s %s%s",
                  json_get_string(answer, "function", "?"), rows[i].text,
                  rows[i].detailed ? json_get_string(answer, "detail", "") : "");
        return rows[i].hint ? error_hint(err, "%s", rows[i].hint)
                            : error_hint(err, "what it wrote is in %s", call->log);
    }
    return error_set(err, ERROR_INVALID, "the program that calls functions gave a strange answer");
}

static int explain_end(const struct call *call, const struct exit_report *report,
                       struct error **err) {
    switch (report->cause) {
    case CAUSE_TIMEOUT:
        error_set(err, ERROR_LIMIT, "the Python function took too long and was stopped");
        return error_hint(err, "\"function_timeout\" in policy.json allows more seconds");
    case CAUSE_NOT_STARTED:
        error_set(err, ERROR_NOT_FOUND,
                  "this pipeline names Python functions, and python3 does "
                  "not start here: %s",
                  report->detail);
        return error_hint(err, "install python3");
    default:
        error_set(err, ERROR_INVALID, "the Python function ended without an answer%s%s",
                  *report->detail ? ": " : "", report->detail);
        return error_hint(err, "what it wrote is in %s", call->log);
    }
}

static json_t *read_answer(const struct call *call, const struct exit_report *report,
                           struct error **err) {
    if (report->cause != CAUSE_NONE) {
        explain_end(call, report, err);
        return NULL;
    }
    /* A guest wrote it. */
    OWN_STRING inside = path_resolve_beneath(call->out, "answer.json", err);
    OWN_STRING path = inside ? path_join(call->out, inside) : NULL;
    OWN_JSON answer = path ? json_read_file(AT_FDCWD, path, ANSWER_MAXIMUM, err) : NULL;
    if (!answer)
        return NULL;
    if (json_object_get(answer, "problem")) {
        explain(call, answer, err);
        return NULL;
    }
    return take(&answer);
}

static int list_partitions(const json_t *answer, struct partition_list *list, struct error **err) {
    size_t index;
    json_t *name;
    json_array_foreach(json_object_get(answer, "partitions"), index, name) {
        const char *text = json_string_value(name);
        if (!text)
            return error_set(err, ERROR_INVALID, "a partition is not a text");
        if (partition_list_add(list, text, "", json_incref(name), err) < 0)
            return -1;
    }
    return partition_list_finish(list, err);
}

static int partitions_answered(const struct call *call, struct run *run, const json_t *answer,
                               struct error *problem, struct error **err) {
    CLEANUP(partition_list_release) struct partition_list list = {0};
    struct error *made = problem;
    if (!made)
        (void)list_partitions(answer, &list, &made);
    return expand_from_source(run, call->step, &list, made, err);
}

static struct task *task_of(const struct call *call, struct run *run) {
    struct run_step *step = &run->steps[call->step];
    for (size_t i = 0; i < step->task_capacity; i++)
        if (step->tasks[i] && step->tasks[i]->id == call->task_id)
            return step->tasks[i];
    return NULL;
}

static int conditions_answered(const struct call *call, struct run *run, const json_t *answer,
                               struct error *problem, struct error **err) {
    struct task *task = task_of(call, run);
    if (!task || task->state != TASK_SLEEPING || task->chosen != NEXT_POLLS ||
        task->attempts != call->attempts) { /* a command changed it meanwhile */
        error_free(problem);
        return 0;
    }
    if (problem)
        return task_fail(task, problem, err);
    const json_t *chosen = json_object_get(answer, "chosen");
    const json_t *branch = json_is_integer(chosen)
                               ? json_array_get(call->branches, (size_t)json_integer_value(chosen))
                               : NULL;
    return next_answered(task, branch ? (int)json_integer_value(branch) : call->fallback, err);
}

static int answered(const struct call *call, const struct exit_report *report, struct error **err) {
    struct run *run = engine_loaded_run(call->engine, call->run_id);
    struct error *problem = NULL;
    OWN_JSON answer = read_answer(call, report, &problem);
    if (!run || run->state >= RUN_SUCCEEDED) {
        error_free(problem);
        return 0;
    }
    run->calls--;
    int result = call->task_id ? conditions_answered(call, run, answer, problem, err)
                               : partitions_answered(call, run, answer, problem, err);
    return result < 0 ? -1 : graph_drain(run, err);
}

static void remove_work(const char *path) {
    OWN_ERROR problem = NULL;
    if (tree_remove(AT_FDCWD, path, &problem) < 0)
        log_message(LOG_WARNING, "a work folder stays behind: %s", problem->message);
}

bool call_exited(struct engine *engine, const struct exit_report *report, struct error **err) {
    struct call **at = &engine->calls;
    while (*at && !text_equal((*at)->job, report->name))
        at = &(*at)->next;
    CLEANUP(call_cleanup) struct call *call = *at;
    if (!call)
        return false;
    *at = call->next;
    if (answered(call, report, err) < 0 && err && !*err)
        error_set(err, ERROR_INTERNAL, "an answer could not be used");
    engine->driver->forget(engine->compute, call->job);
    remove_work(call->work);
    return true;
}

void call_forget_all(struct engine *engine) {
    while (engine->calls) {
        struct call *call = engine->calls;
        engine->calls = call->next;
        call_free(call);
    }
}

/* ------------------------------------------------------------------------ recovery */

/* What the last driver of the home asked: nobody waits for the answer any more. */
static int drop_leftover(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                         struct error **err) {
    struct engine *engine = context;
    *verdict = TREE_SKIP;
    if (!strstr(entry->name, MARK))
        return 0;
    /* Once it has ended, flight_exited() finds nobody who asked, and has it forgotten. */
    if (engine->driver->find(engine->compute, entry->name) == JOB_RUNNING &&
        engine->driver->stop(engine->compute, entry->name, CAUSE_CANCELLED, 0, err) < 0)
        return -1;
    return tree_remove(entry->directory, entry->name, err);
}

int call_recover(struct engine *engine, struct error **err) {
    OWN_STRING work = home_path(engine, "work");
    return work ? tree_walk(AT_FDCWD, work, drop_leftover, engine, err) : error_set_memory(err);
}
