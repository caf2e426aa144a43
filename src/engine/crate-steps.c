/* How each step of a run went, for a crate: one action a step, whatever the number of its tasks,
 * so that a crate's size depends on the pipeline and not on the data. */
#include "engine/private-crate.h"

/* ------------------------------------------------------------------ counting */

struct scan { /* tasks come in order of their steps: one digest is under way at a time */
    struct sha256 *hash;
    struct crate_step *step;
};

static void scan_release(struct scan *scan) {
    sha256_free(scan->hash);
}

static void end_step(struct scan *scan) {
    if (scan->step && scan->step->has_output)
        sha256_finish(scan->hash, scan->step->output);
}

static void note_times(struct crate_step *step, int64_t started, int64_t ended) {
    if (started && (!step->started || started < step->started))
        step->started = started;
    if (ended > step->ended)
        step->ended = ended;
}

static void count_task(struct scan *scan, struct rows *rows) {
    struct crate_step *step = scan->step;
    int64_t state = rows_integer(rows, 2), cause = rows_integer(rows, 3);
    int64_t started = rows_integer(rows, 4), ended = rows_integer(rows, 5);
    size_t size = 0;
    step->total++;
    if (state >= 0 && state < TASK_STATE_COUNT)
        step->states[state]++;
    if (state == TASK_FAILED && cause >= 0 && cause < CAUSE_COUNT)
        step->causes[cause]++;
    step->launches += rows_integer(rows, 6);
    note_times(step, started, ended);
    const char *partition = rows_text(rows, 1);
    const void *output = rows_bytes(rows, 7, &size);
    if (size != SHA256_SIZE || (state != TASK_SUCCEEDED && state != TASK_REUSED))
        return;
    sha256_add(scan->hash, partition, strlen(partition) + 1);
    sha256_add(scan->hash, output, size);
    step->has_output = true;
}

/* Of tasks that wait only numbers are told: their order does not matter. */
static int count_waiting(struct crate_writer *crate, struct error **err) {
    OWN_ROWS rows = store_query(crate->engine->store, err,
                                "SELECT step, state, count(*), sum(attempts), min(nullif(started, "
                                "0)), max(ended) FROM task WHERE run = ? AND state IN (0, 1) "
                                "GROUP BY state, step",
                                "i", crate->id);
    int more = rows ? 1 : -1;
    while (more > 0 && (more = rows_next(rows, err)) > 0) {
        size_t number = (size_t)rows_integer(rows, 0);
        if (number >= crate->pipeline->step_count)
            continue;
        struct crate_step *step = &crate->steps[number];
        int64_t count = rows_integer(rows, 2);
        step->total += count;
        step->states[rows_integer(rows, 1)] += count;
        step->launches += rows_integer(rows, 3);
        note_times(step, rows_integer(rows, 4), rows_integer(rows, 5));
    }
    return more;
}

static int count_tasks(struct crate_writer *crate, struct error **err) {
    struct scan scan CLEANUP(scan_release) = {.hash = sha256_new()};
    if (count_waiting(crate, err) < 0)
        return -1;
    OWN_ROWS rows =
        store_query(crate->engine->store, err,
                    "SELECT step, partition, state, cause, started, ended, attempts, "
                    "output FROM task WHERE run = ? AND state > 1 ORDER BY step, partition",
                    "i", crate->id);
    if (!rows || !scan.hash)
        return rows ? error_set_memory(err) : -1;
    int more;
    while ((more = rows_next(rows, err)) > 0) {
        size_t number = (size_t)rows_integer(rows, 0);
        if (number >= crate->pipeline->step_count)
            continue;
        if (scan.step != &crate->steps[number]) {
            end_step(&scan);
            scan.step = &crate->steps[number];
        }
        count_task(&scan, rows);
    }
    end_step(&scan);
    return more;
}

static int sum_attempts(struct crate_writer *crate, struct error **err) {
    OWN_ROWS rows =
        store_query(crate->engine->store, err,
                    "SELECT t.step, sum(coalesce(a.cpu_user, 0) + coalesce(a.cpu_system, 0)), "
                    "max(a.peak_memory), min(a.sandbox), count(DISTINCT a.sandbox) FROM task t "
                    "JOIN attempt a ON a.task = t.id WHERE t.run = ? GROUP BY t.step",
                    "i", crate->id);
    if (!rows)
        return -1;
    int more;
    while ((more = rows_next(rows, err)) > 0) {
        size_t number = (size_t)rows_integer(rows, 0);
        if (number >= crate->pipeline->step_count)
            continue;
        struct crate_step *step = &crate->steps[number];
        step->cpu = rows_integer(rows, 1);
        step->peak_memory = rows_integer(rows, 2);
        step->sandboxes = rows_integer(rows, 4);
        if (rows_text(rows, 3) && !(step->sandbox = memory_copy_string(rows_text(rows, 3))))
            return error_set_memory(err);
    }
    return more;
}

/* ------------------------------------------------------------------- programs */

/* registry/name:tag@sha256:… as people write it; Docker's rule says what is a registry. */
static void add_image(struct crate_writer *crate, const struct step *step, const char *image,
                      const char *id, json_t *action) {
    json_t *entity = crate_entity(crate, id, "ContainerImage");
    if (*step->image != '/') /* as the pipeline has it: it is compared by that when it runs again */
        crate_set_text(crate, entity, "alternateName", step->image);
    const char *slash = strchr(image, '/'), *at = strstr(image, "@sha256:");
    size_t first = slash ? (size_t)(slash - image) : 0;
    bool registry = slash && (memchr(image, '.', first) || memchr(image, ':', first) ||
                              strncmp(image, "localhost", first) == 0);
    const char *name = registry ? slash + 1 : image;
    size_t size = at ? (size_t)(at - name) : strlen(name);
    const char *tag = memchr(name, ':', size);
    crate_refer(crate, entity, "additionalType",
                "https://w3id.org/ro/terms/workflow-run#DockerImage");
    crate_set(crate, entity, "registry",
              registry ? json_stringn(image, first) : json_string("docker.io"));
    crate_set(crate, entity, "name", json_stringn(name, tag ? (size_t)(tag - name) : size));
    if (tag)
        crate_set(crate, entity, "tag", json_stringn(tag + 1, size - (size_t)(tag + 1 - name)));
    if (at)
        crate_set_text(crate, entity, "sha256", at + strlen("@sha256:"));
    crate_refer(crate, action, "containerImage", id);
}

/* What the step's image was pinned to when the run was made. */
static const char *image_of(const struct crate_writer *crate, const struct step *step) {
    const json_t *images = json_object_get(crate->record, "images");
    return json_get_string(images, step->image, step->image);
}

static void add_program(struct crate_writer *crate, const struct step *step, const char *id) {
    json_t *program = crate_entity(crate, id, "SoftwareApplication");
    if (step->tool) {
        crate_set(crate, program, "name", json_sprintf("glovebox tool %s", step->tool));
        crate_set_text(crate, program, "softwareVersion", GLOVEBOX_VERSION);
    } else if (step->image) {
        const char *at = strrchr(image_of(crate, step), '@');
        crate_set_text(crate, program, "name",
                       *step->image == '/' ? image_of(crate, step) : step->image);
        crate_set_text(crate, program, "softwareVersion", at ? at + 1 : NULL);
    } else if (step->type == STEP_COMMAND) {
        crate_set(crate, program, "name", json_sprintf("the command of step %s", step->id));
    } else {
        crate_set_text(crate, program, "name", step_type_name(step->type));
        crate_set_text(crate, program, "softwareVersion", GLOVEBOX_VERSION);
    }
}

/* ------------------------------------------------------------------- actions */

static void add_usage(struct crate_writer *crate, json_t *action, const char *step,
                      const char *prefix, const char *what, const char *unit, int64_t value) {
    OWN_BUFFER id = {0};
    if (value <= 0)
        return;
    json_t *usage = crate_entity(crate, crate_id(crate, prefix, step, &id), "PropertyValue");
    crate_set_text(crate, usage, "name", what);
    crate_set(crate, usage, "propertyID",
              json_sprintf("https://w3id.org/ro/terms/workflow-run#%s", what));
    crate_set_text(crate, usage, "unitCode", unit);
    crate_set(crate, usage, "value", json_sprintf("%lld", (long long)value));
    crate_refer(crate, action, "resourceUsage", buffer_text(&id));
}

static void describe(struct crate_writer *crate, json_t *action, const struct crate_step *sums) {
    OWN_BUFFER text = {0};
    bool first = true;
    for (int state = 0; state < TASK_STATE_COUNT; state++)
        if (sums->states[state]) {
            buffer_format(&text, "%s%lld %s", first ? "tasks: " : ", ",
                          (long long)sums->states[state], task_state_name((enum task_state)state));
            first = false;
        }
    buffer_format(&text, "; launched %lld times", (long long)sums->launches);
    crate_set_text(crate, action, "description", buffer_text(&text));
    buffer_clear(&text);
    first = true;
    for (int cause = 0; cause < CAUSE_COUNT; cause++)
        if (sums->causes[cause]) {
            const char *name = cause_name((enum cause)cause);
            buffer_format(&text, "%s%lld failed: %s", first ? "" : ", ",
                          (long long)sums->causes[cause], *name ? name : "before it started");
            first = false;
        }
    if (sums->states[TASK_FAILED])
        crate_set_text(crate, action, "error", buffer_text(&text));
    else if (sums->states[TASK_CANCELLED])
        crate_set_text(crate, action, "error", "cancelled");
}

static const char *status_of(const struct crate_step *sums) {
    if (sums->states[TASK_FAILED] || sums->states[TASK_CANCELLED])
        return "http://schema.org/FailedActionStatus";
    for (int state = 0; state < TASK_SUCCEEDED; state++)
        if (sums->states[state])
            return "http://schema.org/ActiveActionStatus";
    return "http://schema.org/CompletedActionStatus";
}

/* What the step reads, as the things that the crate knows. Items of a fan are of what it lists. */
static void add_objects(struct crate_writer *crate, const struct step *step, json_t *action) {
    const struct pipeline *pipeline = crate->pipeline;
    OWN_BUFFER id = {0};
    for (size_t i = 0; i < step->input_count; i++) {
        const struct reference *reference = &step->inputs[i];
        if (reference->kind == REFERENCE_ITEM && reference->level < step->axis_count)
            reference = &pipeline->steps[step->axis[reference->level]].fan.over;
        if (reference->kind == REFERENCE_INPUT &&
            json_object_get(json_object_get(crate->record, "inputs"),
                            pipeline->inputs[reference->index].name))
            crate_id(crate, "#input-", pipeline->inputs[reference->index].name, &id);
        else if (reference->kind == REFERENCE_PARAMETER &&
                 json_object_get(json_object_get(crate->record, "parameters"),
                                 pipeline->parameters[reference->index].name))
            crate_id(crate, "#file-", pipeline->parameters[reference->index].name, &id);
        else if (reference->kind == REFERENCE_STEP && crate->steps[reference->index].has_output)
            crate_id(crate, "#result-", pipeline->steps[reference->index].id, &id);
        else
            continue;
        crate_refer(crate, action, "object", buffer_text(&id));
    }
}

static bool has_acted(const struct crate_step *sums) {
    return sums->total > sums->states[TASK_SKIPPED] + sums->states[TASK_WAITING];
}

static void add_facts(struct crate_writer *crate, const struct step *step, json_t *action) {
    const struct crate_step *sums = &crate->steps[step->index];
    OWN_BUFFER id = {0};
    add_usage(crate, action, step->id, "#cpu-", "cpuMicroseconds", "B98", sums->cpu);
    add_usage(crate, action, step->id, "#memory-", "peakMemoryBytes", "AD", sums->peak_memory);
    if (sums->sandbox) {
        json_t *box = crate_entity(crate, crate_id(crate, "#box-", step->id, &id), "PropertyValue");
        crate_set_text(crate, box, "name", "sandbox");
        crate_set_text(crate, box, "value", sums->sandbox);
        if (sums->sandboxes > 1)
            crate_set(crate, box, "description",
                      json_sprintf("one of %lld kinds", (long long)sums->sandboxes));
        crate_refer(crate, action, "environment", buffer_text(&id));
    }
    if (sums->has_output) {
        char text[SHA256_HEX_SIZE];
        json_t *result =
            crate_entity(crate, crate_id(crate, "#result-", step->id, &id), "CreativeWork");
        hex_encode(sums->output, SHA256_SIZE, text);
        crate_set(crate, result, "name", json_sprintf("what step %s left", step->id));
        crate_set(crate, result, "identifier", json_sprintf("%s%s", CRATE_TREE, text));
        crate_refer(crate, action, "result", buffer_text(&id));
    }
}

static void add_action(struct crate_writer *crate, const struct step *step, const char *program,
                       const char *how_to) {
    const struct crate_step *sums = &crate->steps[step->index];
    OWN_BUFFER id = {0}, other = {0};
    json_t *action =
        crate_entity(crate, crate_id(crate, "#action-", step->id, &id), "CreateAction");
    crate_set(crate, action, "name", json_sprintf("Step %s", step->id));
    crate_refer(crate, action, "instrument", program);
    crate_refer(crate, action, "agent", "#agent");
    crate_set_time(crate, action, "startTime", sums->started);
    crate_set_time(crate, action, "endTime", sums->ended);
    crate_set_text(crate, action, "actionStatus", status_of(sums));
    describe(crate, action, sums);
    add_objects(crate, step, action);
    if (step->image)
        add_image(crate, step, image_of(crate, step), crate_id(crate, "#image-", step->id, &other),
                  action);
    add_facts(crate, step, action);
    crate_refer(crate, crate->root, "mentions", buffer_text(&id));
    crate_refer(crate, crate->workflow, "hasPart", program);
    json_t *control =
        crate_entity(crate, crate_id(crate, "#control-", step->id, &other), "ControlAction");
    crate_set(crate, control, "name", json_sprintf("Orchestration of step %s", step->id));
    crate_refer(crate, control, "instrument", how_to);
    crate_refer(crate, control, "object", buffer_text(&id));
}

static void add_orchestration(struct crate_writer *crate) {
    OWN_BUFFER id = {0};
    json_t *organize = crate_entity(crate, "#orchestration", "OrganizeAction");
    crate_set(crate, organize, "name", json_sprintf("Glovebox's part in run %s", crate->run));
    crate_refer(crate, organize, "instrument", "#glovebox");
    crate_refer(crate, organize, "agent", "#agent");
    crate_refer(crate, organize, "result", "#run");
    for (size_t i = 0; i < crate->pipeline->step_count; i++)
        if (has_acted(&crate->steps[i]))
            crate_refer(crate, organize, "object",
                        crate_id(crate, "#control-", crate->pipeline->steps[i].id, &id));
    json_t *profile =
        crate_entity(crate, "https://w3id.org/ro/wfrun/provenance/0.5", "CreativeWork");
    crate_set_text(crate, profile, "name", "Provenance Run Crate");
    crate_set_text(crate, profile, "version", "0.5");
    crate_refer(crate, crate->root, "conformsTo", "https://w3id.org/ro/wfrun/provenance/0.5");
}

int crate_add_steps(struct crate_writer *crate, struct error **err) {
    const struct pipeline *pipeline = crate->pipeline;
    bool any = false;
    if (pipeline->step_count > CRATE_STEPS_MAXIMUM)
        return 0;
    crate->steps = memory_array(pipeline->step_count, sizeof(*crate->steps));
    if (!crate->steps)
        return error_set_memory(err);
    if (count_tasks(crate, err) < 0 || sum_attempts(crate, err) < 0)
        return -1;
    for (size_t i = 0; i < pipeline->step_count; i++) {
        const struct step *step = &pipeline->steps[i];
        OWN_BUFFER how_to = {0}, program = {0};
        crate_id(crate, "#step-", step->id, &how_to);
        crate_id(crate, "#program-", step->id, &program);
        json_t *entity = crate_entity(crate, buffer_text(&how_to), "HowToStep");
        crate_set_text(crate, entity, "name", step->id);
        crate_set_text(crate, entity, "description", step->title);
        crate_set(crate, entity, "position", json_sprintf("%zu", i + 1));
        crate_refer(crate, entity, "workExample", buffer_text(&program));
        crate_refer(crate, crate->workflow, "step", buffer_text(&how_to));
        add_program(crate, step, buffer_text(&program));
        if (has_acted(&crate->steps[i])) {
            add_action(crate, step, buffer_text(&program), buffer_text(&how_to));
            any = true;
        }
    }
    if (any)
        add_orchestration(crate);
    return 0;
}
