/* A Workflow Run RO-Crate beside a run's record: what ran on what, in words that other programs
 * know. It names no partition, no file of an input and no path of this machine: those are in
 * run.json and tasks.jsonl, which it lists. See doc/how-to/crate.md. */
#include "engine/private-crate.h"

#include <fcntl.h>
#include <sys/stat.h>

/* ------------------------------------------------------------------ entities */

void crate_set(struct crate_writer *crate, json_t *entity, const char *key, json_t *value) {
    if (json_object_set_new(entity, key, value) < 0)
        crate->no_memory = true;
}

void crate_set_text(struct crate_writer *crate, json_t *entity, const char *key, const char *text) {
    if (text && *text)
        crate_set(crate, entity, key, json_string(text));
}

void crate_set_time(struct crate_writer *crate, json_t *entity, const char *key, int64_t at) {
    if (!at)
        return;
    char text[CLOCK_TEXT_SIZE];
    clock_format(at, text);
    text[strcspn(text, "Z")] = '\0'; /* the profiles want the offset in digits */
    crate_set(crate, entity, key, json_sprintf("%s+00:00", text));
}

json_t *crate_entity(struct crate_writer *crate, const char *id, const char *type) {
    json_t *entity = json_object();
    if (json_array_append_new(crate->graph, entity) < 0)
        crate->no_memory = true;
    crate_set_text(crate, entity, "@id", id);
    if (!strchr(type, ' ')) {
        crate_set_text(crate, entity, "@type", type);
        return entity;
    }
    json_t *types = json_array();
    for (size_t size; *type; type += size + (type[size] == ' ')) {
        size = strcspn(type, " ");
        if (json_array_append_new(types, json_stringn(type, size)) < 0)
            crate->no_memory = true;
    }
    crate_set(crate, entity, "@type", types);
    return entity;
}

const char *crate_id(struct crate_writer *crate, const char *prefix, const char *name,
                     struct buffer *out) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
                                "~/";
    buffer_clear(out);
    buffer_append(out, prefix);
    for (; *name; name++) {
        if (strchr(plain, *name))
            buffer_append_char(out, *name);
        else
            buffer_format(out, "%%%02X", (unsigned)(unsigned char)*name);
    }
    if (buffer_check(out, NULL) < 0)
        crate->no_memory = true;
    return buffer_text(out);
}

void crate_refer(struct crate_writer *crate, json_t *entity, const char *key, const char *id) {
    json_t *reference = json_pack("{s:s}", "@id", id), *there = json_object_get(entity, key);
    if (!there) {
        crate_set(crate, entity, key, reference);
        return;
    }
    if (!json_is_array(there)) {
        json_t *list = json_pack("[O]", there);
        crate_set(crate, entity, key, list);
        there = list;
    }
    if (json_array_append_new(there, reference) < 0)
        crate->no_memory = true;
}

/* ----------------------------------------------------------------- the whole */

static void add_descriptor(struct crate_writer *crate) {
    json_t *descriptor = crate_entity(crate, "ro-crate-metadata.json", "CreativeWork");
    crate_refer(crate, descriptor, "about", "./");
    crate_refer(crate, descriptor, "conformsTo", "https://w3id.org/ro/crate/1.1");
    crate_refer(crate, descriptor, "conformsTo",
                "https://w3id.org/workflowhub/workflow-ro-crate/1.0");
}

static void add_profile(struct crate_writer *crate, const char *id, const char *name,
                        const char *version) {
    json_t *profile = crate_entity(crate, id, "CreativeWork");
    crate_set_text(crate, profile, "name", name);
    crate_set_text(crate, profile, "version", version);
    crate_refer(crate, crate->root, "conformsTo", id);
}

static int64_t tasks_in(const struct crate_writer *crate, const char *state) {
    return json_get_integer(json_object_get(crate->record, "tasks"), state, 0);
}

static void add_root(struct crate_writer *crate) {
    const char *state = json_get_string(crate->record, "state", "");
    const char *name = json_get_string(crate->record, "pipeline", "");
    crate->root = crate_entity(crate, "./", "Dataset");
    crate_set(crate, crate->root, "name", json_sprintf("Run %s of pipeline %s", crate->run, name));
    crate_set(
        crate, crate->root, "description",
        json_sprintf("What Glovebox did in run %s of pipeline %s (%s). The data that were read "
                     "are not in it: they stayed where they were, and are known by their "
                     "digests.",
                     crate->run, name, state));
    json_t *license = crate_entity(crate, "#licence", "CreativeWork");
    crate_set_text(crate, license, "name", "no licence");
    crate_set_text(crate, license, "description",
                   "No licence was stated for this run. Its inputs are not part of it.");
    crate_refer(crate, crate->root, "license", "#licence");
    crate_refer(crate, crate->root, "author", "#agent");
    crate_set_time(crate, crate->root, "datePublished", clock_wall());
    add_profile(crate, "https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate", "0.5");
    add_profile(crate, "https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate", "0.5");
    add_profile(crate, "https://w3id.org/workflowhub/workflow-ro-crate/1.0", "Workflow RO-Crate",
                "1.0");
}

/* What was wrong in numbers: the words may name files of patients. */
static void add_error(struct crate_writer *crate, const char *state) {
    if (text_equal(state, "cancelled"))
        crate_set_text(crate, crate->action, "error", "cancelled by a person");
    else if (tasks_in(crate, "failed"))
        crate_set(crate, crate->action, "error",
                  json_sprintf("%lld of its tasks failed", (long long)tasks_in(crate, "failed")));
    else
        crate_set_text(crate, crate->action, "error", "the run failed outside its tasks");
}

static int add_action(struct crate_writer *crate, struct error **err) {
    const char *state = json_get_string(crate->record, "state", "");
    OWN_ROWS rows = store_query(crate->engine->store, err,
                                "SELECT coalesce(started, created), ended, state FROM run WHERE "
                                "id = ?",
                                "i", crate->id);
    if (!rows || rows_next(rows, err) < 0)
        return -1;
    enum run_state number = (enum run_state)rows_integer(rows, 2);
    json_t *action = crate->action = crate_entity(crate, "#run", "CreateAction");
    crate_set(crate, action, "name", json_sprintf("Run %s", crate->run));
    crate_set(
        crate, action, "description",
        json_sprintf("%lld tasks succeeded, %lld were reused from earlier runs, %lld were "
                     "skipped, %lld failed, %lld were cancelled; the run: %s.",
                     (long long)tasks_in(crate, "succeeded"), (long long)tasks_in(crate, "reused"),
                     (long long)tasks_in(crate, "skipped"), (long long)tasks_in(crate, "failed"),
                     (long long)tasks_in(crate, "cancelled"), state));
    crate_set_time(crate, action, "startTime", rows_integer(rows, 0));
    if (number >= RUN_SUCCEEDED)
        crate_set_time(crate, action, "endTime", rows_integer(rows, 1));
    crate_set(crate, action, "actionStatus",
              json_sprintf("http://schema.org/%sActionStatus", number == RUN_SUCCEEDED ? "Completed"
                                                               : number >= RUN_SUCCEEDED ? "Failed"
                                                               : number == RUN_PLANNED ? "Potential"
                                                                                       : "Active"));
    if (number > RUN_SUCCEEDED)
        add_error(crate, state);
    crate_refer(crate, action, "agent", "#agent");
    json_t *agent = crate_entity(crate, "#agent", "Person");
    crate_set_text(crate, agent, "name", json_get_string(crate->record, "started_by", "unknown"));
    crate_set_text(crate, agent, "description", "the account that started the run");
    crate_refer(crate, crate->root, "mentions", "#run");
    return 0;
}

static void add_engine(struct crate_writer *crate) {
    json_t *engine = crate_entity(crate, "#glovebox", "SoftwareApplication");
    crate_set_text(crate, engine, "name", "Glovebox");
    crate_set_text(crate, engine, "softwareVersion", GLOVEBOX_VERSION);
    crate_set_text(crate, engine, "description", "the workflow engine that drove the run");
    json_t *language = crate_entity(crate, CRATE_LANGUAGE, "ComputerLanguage");
    crate_set_text(crate, language, "name",
                   crate->pipeline->dialect == DIALECT_MEDPERF ? "MedPerf workflow"
                                                               : "Glovebox pipeline");
    crate_set_text(crate, language, "version", GLOVEBOX_VERSION);
}

static void add_record_file(struct crate_writer *crate, const char *name, const char *type,
                            const char *what) {
    OWN_STRING path = path_join(crate->folder, name);
    struct stat status;
    if (!path) {
        crate->no_memory = true;
        return;
    }
    if (stat(path, &status) < 0)
        return;
    json_t *file = crate_entity(crate, name, "File");
    crate_set_text(crate, file, "name", name);
    crate_set_text(crate, file, "description", what);
    crate_set_text(crate, file, "encodingFormat", type);
    crate_set(crate, file, "contentSize", json_sprintf("%lld", (long long)status.st_size));
    crate_refer(crate, crate->root, "hasPart", name);
}

/* ------------------------------------------------------------------- writing */

static void crate_writer_release(struct crate_writer *crate) {
    for (size_t i = 0; crate->steps && i < crate->pipeline->step_count; i++)
        memory_free(crate->steps[i].sandbox);
    memory_free(crate->steps);
    memory_free(crate->folder);
    json_cleanup(&crate->digests);
    json_cleanup(&crate->graph);
}

/* Words of the profiles that the context of RO-Crate 1.1 does not have. */
static json_t *context_of(void) {
    static const char *const terms[] = {"sha256",        "environment", "containerImage",
                                        "resourceUsage", "registry",    "tag",
                                        "ContainerImage"};
    json_t *own = json_object();
    for (size_t i = 0; own && i < ARRAY_SIZE(terms); i++)
        json_object_set_new(own, terms[i],
                            json_sprintf("https://w3id.org/ro/terms/workflow-run#%s", terms[i]));
    return json_pack("[s, o]", "https://w3id.org/ro/crate/1.1/context", own);
}

static int fill(struct crate_writer *crate, struct error **err) {
    add_descriptor(crate);
    add_root(crate);
    if (crate_add_workflow(crate, err) < 0 || add_action(crate, err) < 0)
        return -1;
    add_engine(crate);
    crate_refer(crate, crate->action, "instrument",
                json_get_string(crate->workflow, "@id", "pipeline.json"));
    crate_add_values(crate);
    if (crate_add_steps(crate, err) < 0)
        return -1;
    add_record_file(crate, "run.json", "application/json",
                    "The run's record: paths of inputs and outputs on the machine that ran it. "
                    "They may name patients.");
    add_record_file(crate, "tasks.jsonl", "application/x-ndjson",
                    "Every task with its attempts, a line each. Names of partitions may be names "
                    "of patients.");
    return 0;
}

int crate_write(struct engine *engine, const char *run, const json_t *record, struct error **err) {
    struct crate_writer crate CLEANUP(crate_writer_release) = {
        .engine = engine, .run = run, .record = record};
    crate.id = run_id_of(engine, run, err);
    if (crate.id < 0 || !(crate.pipeline = query_pipeline(engine, run, err)))
        return -1;
    crate.folder = home_path(engine, "runs/%s", run);
    crate.digests = query_last_event(engine, crate.id, "digests", err);
    crate.graph = json_array();
    if (!crate.digests)
        return -1;
    if (!crate.folder || !crate.graph)
        return error_set_memory(err);
    if (fill(&crate, err) < 0)
        return -1;
    OWN_JSON whole = json_pack("{s:o, s:O}", "@context", context_of(), "@graph", crate.graph);
    char *text = whole && !crate.no_memory ? json_dumps(whole, JSON_INDENT(1)) : NULL;
    OWN_STRING own = text;
    OWN_STRING path = path_join(crate.folder, "ro-crate-metadata.json");
    return own && path ? file_write_atomic(AT_FDCWD, path, own, strlen(own), 0600, err)
                       : error_set_memory(err);
}
