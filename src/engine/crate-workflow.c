/* What was to be run, for a crate: the pipeline's files, its parameters, inputs and outputs. */
#include "engine/private-crate.h"

#include <fcntl.h>
#include <sys/stat.h>

/* -------------------------------------------------------- the pipeline's files */

/* "workflow/NAME" of the pipeline's own file; NULL: no memory. */
static char *main_name(const char *path) {
    const char *base = path_base_name(path);
    bool plain = path_is_safe_relative(base) && text_is_utf8(base, strlen(base));
    OWN_STRING safe = plain ? memory_copy_string(base) : text_safe_name(base);
    return safe ? memory_format("workflow/%s", safe) : NULL;
}

/* Files below the pipeline's folder keep their places; others are put together. */
static char *kept_name(const char *own, const char *path, size_t number) {
    size_t folder = (size_t)(path_base_name(own) - own);
    bool below = strncmp(own, path, folder) == 0 && path_is_safe_relative(path + folder) &&
                 text_is_utf8(path + folder, strlen(path + folder));
    if (below)
        return memory_format("workflow/%s", path + folder);
    OWN_STRING safe = text_safe_name(path_base_name(path));
    return safe ? memory_format("workflow/elsewhere/%zu-%s", number, safe) : NULL;
}

int crate_keep_files(const struct pipeline *pipeline, const char *path, const char *folder,
                     struct error **err) {
    size_t number = 0;
    for (const struct pipeline_file *file = pipeline->files; file; file = file->next, number++) {
        OWN_STRING name = number ? kept_name(pipeline->path, file->path, number) : main_name(path);
        OWN_STRING target = name ? path_join(folder, name) : NULL;
        OWN_STRING parent =
            target ? memory_copy_bytes(target, (size_t)(path_base_name(target) - target)) : NULL;
        if (!parent)
            return error_set_memory(err);
        if (directory_make(AT_FDCWD, parent, 0700, err) < 0 ||
            file_write_atomic(AT_FDCWD, target, file->text, file->size, 0600, err) < 0)
            return -1;
    }
    return 0;
}

static json_t *add_file(struct crate_writer *crate, const char *path, const char *type,
                        const char *format, struct error **err) {
    OWN_BUFFER id = {0};
    uint8_t digest[SHA256_SIZE];
    char text[SHA256_HEX_SIZE];
    uint64_t size = 0;
    OWN_STRING whole = path_join(crate->folder, path);
    if (!whole) {
        error_set_memory(err);
        return NULL;
    }
    if (sha256_file(AT_FDCWD, whole, digest, &size, err) < 0)
        return NULL;
    hex_encode(digest, sizeof(digest), text);
    json_t *file = crate_entity(crate, crate_id(crate, "", path, &id), type);
    crate_set_text(crate, file, "name", path_base_name(path));
    crate_set_text(crate, file, "encodingFormat", format);
    crate_set_text(crate, file, "sha256", text);
    crate_set(crate, file, "contentSize", json_sprintf("%llu", (unsigned long long)size));
    crate_refer(crate, crate->root, "hasPart", buffer_text(&id));
    return file;
}

struct part {
    struct crate_writer *crate;
    const char *main;
};

static int add_part(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                    struct error **err) {
    struct part *part = context;
    OWN_STRING path = memory_format("workflow/%s", entry->path);
    (void)verdict;
    if (!path)
        return error_set_memory(err);
    if (!S_ISREG(entry->status->st_mode) || text_equal(path, part->main))
        return 0;
    bool module = text_ends_with(path, ".py"), json = text_ends_with(path, ".json");
    json_t *file = add_file(part->crate, path, "File SoftwareSourceCode",
                            module ? "text/x-python"
                            : json ? "application/json"
                                   : "application/yaml",
                            err);
    if (!file)
        return -1;
    if (module) {
        crate_set_text(part->crate, file, "programmingLanguage", "Python");
        crate_set_text(part->crate, file, "description", "functions that the workflow calls");
        return 0;
    }
    crate_refer(part->crate, file, "programmingLanguage", CRATE_LANGUAGE);
    crate_set_text(part->crate, file, "description",
                   json ? "a sub-pipeline, or a plugin that is named" : "a sub-pipeline");
    return 0;
}

/* The file as it was typed, and beside it the document that it came to; a run that was made from
 * a document has only that. */
static int add_files(struct crate_writer *crate, struct error **err) {
    OWN_STRING name = main_name(json_get_string(crate->record, "pipeline_file", ""));
    OWN_STRING whole = name ? path_join(crate->folder, name) : NULL;
    OWN_STRING folder = path_join(crate->folder, "workflow");
    if (!whole || !folder)
        return error_set_memory(err);
    static const char workflow[] = "File SoftwareSourceCode ComputationalWorkflow HowTo";
    bool there = file_exists(AT_FDCWD, whole);
    crate->workflow =
        there
            ? add_file(crate, name, workflow,
                       text_ends_with(name, ".json") ? "application/json" : "application/yaml", err)
            : add_file(crate, "pipeline.json", workflow, "application/json", err);
    if (!crate->workflow)
        return -1;
    if (!there)
        return 0;
    json_t *resolved =
        add_file(crate, "pipeline.json", "File SoftwareSourceCode", "application/json", err);
    if (!resolved)
        return -1;
    crate_refer(crate, resolved, "isBasedOn",
                json_get_string(crate->workflow, "@id", "pipeline.json"));
    crate_refer(crate, resolved, "programmingLanguage", CRATE_LANGUAGE);
    crate_set_text(crate, resolved, "version", crate->pipeline->version);
    crate_set_text(crate, resolved, "description",
                   "the pipeline as it was run: with its sub-pipelines, without YAML's aliases");
    struct part part = {crate, name};
    return tree_walk(AT_FDCWD, folder, add_part, &part, err);
}

/* --------------------------------------------- parameters, inputs and outputs */

static const char *type_word(enum value_type type) {
    static const char *const words[] = {
        [VALUE_STRING] = "Text",     [VALUE_INTEGER] = "Integer", [VALUE_NUMBER] = "Float",
        [VALUE_BOOLEAN] = "Boolean", [VALUE_FILE] = "File",       [VALUE_DIRECTORY] = "Dataset",
        [VALUE_LIST] = "Text",
    };
    return words[type];
}

static json_t *add_formal(struct crate_writer *crate, const char *id, const char *name,
                          const char *type, const char *help, const char *role) {
    json_t *formal = crate_entity(crate, id, "FormalParameter");
    crate_refer(crate, formal, "conformsTo",
                "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE");
    crate_set_text(crate, formal, "name", name);
    crate_set_text(crate, formal, "additionalType", type);
    crate_set_text(crate, formal, "description", help);
    crate_refer(crate, crate->workflow, role, id);
    return formal;
}

int crate_add_workflow(struct crate_writer *crate, struct error **err) {
    const struct pipeline *pipeline = crate->pipeline;
    if (add_files(crate, err) < 0)
        return -1;
    json_t *workflow = crate->workflow;
    crate_set_text(crate, workflow, "name", pipeline->name);
    crate_set_text(crate, workflow, "version", pipeline->version);
    crate_set_text(crate, workflow, "description", pipeline->description);
    crate_refer(crate, workflow, "programmingLanguage", CRATE_LANGUAGE);
    crate_refer(crate, workflow, "conformsTo",
                "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE");
    crate_refer(crate, crate->root, "mainEntity",
                json_get_string(workflow, "@id", "pipeline.json"));
    return 0;
}

/* `value` belongs to a parameter of the workflow and was an object or result of the run. */
static void connect_value(struct crate_writer *crate, json_t *formal, json_t *value,
                          const char *role) {
    const char *id = json_get_string(value, "@id", "");
    crate_refer(crate, formal, "workExample", id);
    crate_refer(crate, value, "exampleOfWork", json_get_string(formal, "@id", ""));
    crate_refer(crate, crate->action, role, id);
}

static const char *format_of(const char *path) {
    static const struct {
        const char *end, *format;
    } known[] = {{".txt", "text/plain"},        {".csv", "text/csv"},
                 {".json", "application/json"}, {".pdf", "application/pdf"},
                 {".png", "image/png"},         {".html", "text/html"},
                 {".dcm", "application/dicom"}, {".xml", "application/xml"}};
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (text_ends_with(path, known[i].end))
            return known[i].format;
    return "application/octet-stream";
}

/* Data that stay where they are: known by their digest alone. `key` is as in `digests`. */
static json_t *add_data(struct crate_writer *crate, const char *id, const char *name,
                        enum value_type type, bool writable, const char *path, const char *key) {
    json_t *data = crate_entity(crate, id, type_word(type));
    if (type == VALUE_FILE && path)
        crate_set_text(crate, data, "encodingFormat", format_of(path));
    const json_t *digest = json_object_get(json_object_get(crate->record, "digests"), key);
    const char *text = json_get_string(digest, "sha256", NULL);
    crate_set_text(crate, data, "name", name);
    if (!text) {
        crate_set_text(crate, data, "description",
                       writable ? "written by the run, so without a digest; not in this crate"
                                : "not read yet; not in this crate");
        return data;
    }
    crate_set(crate, data, "identifier", json_sprintf("%s%s", CRATE_TREE, text));
    crate_set(crate, data, "description",
              json_sprintf("%lld entries, %lld bytes; not in this crate",
                           (long long)json_get_integer(digest, "files", 0),
                           (long long)json_get_integer(digest, "bytes", 0)));
    crate_set(crate, data, "contentSize",
              json_sprintf("%lld", (long long)json_get_integer(digest, "bytes", 0)));
    return data;
}

static void add_parameter(struct crate_writer *crate, const struct parameter *parameter) {
    OWN_BUFFER id = {0};
    const char *name = parameter->name;
    json_t *formal = add_formal(crate, crate_id(crate, "#param-", name, &id), name,
                                type_word(parameter->type), parameter->help, "input");
    bool data = parameter->type == VALUE_FILE || parameter->type == VALUE_DIRECTORY;
    crate_set(crate, formal, "valueRequired", json_boolean(!parameter->fallback));
    if (parameter->fallback && !data && !json_is_null(parameter->fallback))
        crate_set(crate, formal, "defaultValue", json_incref(parameter->fallback));
    json_t *value = json_object_get(json_object_get(crate->record, "parameters"), name);
    if (!value || json_is_null(value))
        return;
    if (data) {
        OWN_STRING key = memory_format("params.%s", name);
        connect_value(crate, formal,
                      add_data(crate, crate_id(crate, "#file-", name, &id), name, parameter->type,
                               false, json_string_value(value), key ? key : ""),
                      "object");
        return;
    }
    json_t *given = crate_entity(crate, crate_id(crate, "#value-", name, &id), "PropertyValue");
    crate_set_text(crate, given, "name", name);
    crate_set(crate, given, "value", json_incref(value));
    connect_value(crate, formal, given, "object");
}

static void add_input(struct crate_writer *crate, const struct pipeline_input *input) {
    OWN_BUFFER id = {0};
    json_t *formal = add_formal(crate, crate_id(crate, "#in-", input->name, &id), input->name,
                                type_word(input->type), input->help, "input");
    crate_set(crate, formal, "valueRequired", json_boolean(!input->optional && !input->fallback));
    const char *path = json_get_string(json_object_get(crate->record, "inputs"), input->name, NULL);
    OWN_STRING key = memory_format("inputs.%s", input->name);
    if (path && *path)
        connect_value(crate, formal,
                      add_data(crate, crate_id(crate, "#input-", input->name, &id), input->name,
                               input->type, input->writable, path, key ? key : ""),
                      "object");
}

/* Where it is in the crate, when it was put into the run's own folder. */
static const char *inside_of(const struct crate_writer *crate, const char *path) {
    size_t size = strlen(crate->folder);
    return path && strncmp(path, crate->folder, size) == 0 && path[size] == '/' ? path + size + 1
                                                                                : NULL;
}

static void add_output(struct crate_writer *crate, const struct pipeline_output *output) {
    OWN_BUFFER id = {0};
    const char *path =
        json_get_string(json_object_get(crate->record, "outputs"), output->name, NULL);
    const char *inside = inside_of(crate, path);
    struct stat status;
    bool file = path && stat(path, &status) == 0 && S_ISREG(status.st_mode);
    json_t *formal = add_formal(crate, crate_id(crate, "#out-", output->name, &id), output->name,
                                file ? "File" : "Dataset", output->help, "output");
    if (!path)
        return;
    crate_id(crate, inside ? "" : "#output-", inside ? inside : output->name, &id);
    if (inside && !file)
        buffer_append_char(&id, '/');
    json_t *data = crate_entity(crate, buffer_text(&id), file ? "File" : "Dataset");
    crate_set_text(crate, data, "name", output->name);
    if (file)
        crate_set_text(crate, data, "encodingFormat", format_of(path));
    const char *digest =
        json_get_string(json_object_get(crate->digests, output->name), "sha256", NULL);
    if (digest)
        crate_set(crate, data, "identifier", json_sprintf("%s%s", CRATE_TREE, digest));
    if (inside)
        crate_refer(crate, crate->root, "hasPart", buffer_text(&id));
    else
        crate_set_text(crate, data, "description", "put outside of this crate");
    connect_value(crate, formal, data, "result");
}

void crate_add_values(struct crate_writer *crate) {
    const struct pipeline *pipeline = crate->pipeline;
    for (size_t i = 0; i < pipeline->parameter_count; i++)
        add_parameter(crate, &pipeline->parameters[i]);
    for (size_t i = 0; i < pipeline->input_count; i++)
        add_input(crate, &pipeline->inputs[i]);
    for (size_t i = 0; i < pipeline->output_count; i++)
        add_output(crate, &pipeline->outputs[i]);
    json_t *only = json_object_get(json_object_get(crate->record, "selection"), "only");
    if (!json_array_size(only))
        return;
    json_t *value = crate_entity(crate, "#only", "PropertyValue");
    crate_set_text(crate, value, "name", "only");
    crate_set_text(crate, value, "description",
                   "the steps that were asked for, with what they need");
    crate_set(crate, value, "value", json_incref(only));
    crate_refer(crate, crate->action, "object", "#only");
}
