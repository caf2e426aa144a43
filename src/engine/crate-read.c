/* Reading a crate to run it again. It may come from anybody: nothing outside of its folder is
 * opened, everything has a bound, and what it says is checked like what a person types. */
#include "engine/private-crate.h"

#include <fcntl.h>
#include <sys/stat.h>

#define METADATA_NAME     "ro-crate-metadata.json"
#define METADATA_MAXIMUM  ((size_t)64 << 20)
#define FILE_SIZE_MAXIMUM ((size_t)64 << 20)
#define FILES_MAXIMUM     1000

struct reader {
    struct crate *crate;
    json_t *index; /* entities by @id */
    json_t *root, *workflow, *action;
};

static void reader_release(struct reader *reader) {
    json_cleanup(&reader->index);
}

void crate_release(struct crate *crate) {
    memory_free(crate->folder);
    memory_free(crate->path);
    json_cleanup(&crate->document);
    json_cleanup(&crate->parameters);
    json_cleanup(&crate->inputs);
    json_cleanup(&crate->only);
    json_cleanup(&crate->files);
    json_cleanup(&crate->recorded);
    *crate = (struct crate){0};
}

static int bad(struct error **err, const char *format, ...) PRINTF_LIKE(2, 3);
static int bad(struct error **err, const char *format, ...) {
    OWN_BUFFER text = {0}, shown = {0};
    va_list list;
    va_start(list, format);
    buffer_format_list(&text, format, list);
    va_end(list);
    text_append_printable(&shown, buffer_text(&text));
    error_set(err, ERROR_INVALID, "the crate cannot be run: %s", buffer_text(&shown));
    return error_hint(err, "glovebox runs crates that glovebox wrote, whole and unchanged; else "
                           "give it the pipeline's own file");
}

/* ------------------------------------------------------------------ entities */

/* The @id that a property refers to; NULL when it is none, or several. */
static const char *reference(const json_t *entity, const char *key) {
    return json_get_string(json_object_get(entity, key), "@id", NULL);
}

static json_t *referred(const struct reader *reader, const json_t *entity, const char *key) {
    const char *id = reference(entity, key);
    return id ? json_object_get(reader->index, id) : NULL;
}

static bool has_type(const json_t *entity, const char *type) {
    const json_t *types = json_object_get(entity, "@type"), *one;
    size_t i;
    if (json_is_string(types))
        return text_equal(json_string_value(types), type);
    json_array_foreach(types, i, one) {
        if (json_is_string(one) && text_equal(json_string_value(one), type))
            return true;
    }
    return false;
}

static int index_graph(struct reader *reader, const json_t *metadata, struct error **err) {
    const json_t *graph = json_object_get(metadata, "@graph");
    json_t *entity;
    size_t i;
    reader->index = json_object();
    if (!reader->index)
        return error_set_memory(err);
    if (!json_is_array(graph))
        return bad(err, METADATA_NAME " has no @graph");
    json_array_foreach(graph, i, entity) {
        const char *id = json_get_string(entity, "@id", NULL);
        if (!id)
            return bad(err, "entity %zu of @graph has no @id", i + 1);
        if (json_object_get(reader->index, id))
            return bad(err, "two entities have the @id \"%s\"", id);
        if (json_object_set(reader->index, id, entity) < 0)
            return error_set_memory(err);
    }
    return 0;
}

static int find_main(struct reader *reader, struct error **err) {
    json_t *descriptor = json_object_get(reader->index, METADATA_NAME);
    reader->root = referred(reader, descriptor, "about");
    if (!reader->root)
        return bad(err, "nothing says what it is about");
    reader->workflow = referred(reader, reader->root, "mainEntity");
    if (!reader->workflow)
        return bad(err, "it has no workflow as its mainEntity");
    const char *language = reference(reader->workflow, "programmingLanguage");
    if (!language || !text_equal(language, CRATE_LANGUAGE))
        return bad(err, "its workflow is not written for Glovebox%s%s", language ? " but for " : "",
                   language ? language : "");
    const char *id, *main_id = json_get_string(reader->workflow, "@id", "");
    json_t *entity;
    json_object_foreach(reader->index, id, entity) {
        const char *instrument = reference(entity, "instrument");
        if (has_type(entity, "CreateAction") && instrument && text_equal(instrument, main_id))
            reader->action = entity;
    }
    return reader->action ? 0 : bad(err, "no action says how its workflow was run");
}

/* --------------------------------------------------------------------- files */

/* The path that an @id stands for; NULL and an error unless it is a safe one. */
static char *decode_path(const char *id, struct error **err) {
    OWN_BUFFER path = {.maximum = 4096};
    for (const char *c = id; *c; c++) {
        uint8_t byte = 0;
        char digits[3] = {0};
        if (*c != '%') {
            buffer_append_char(&path, *c);
            continue;
        }
        memcpy(digits, c + 1, strnlen(c + 1, 2));
        for (size_t i = 0; i < 2; i++)
            if (digits[i] >= 'A' && digits[i] <= 'F')
                digits[i] = (char)(digits[i] - 'A' + 'a');
        if (strlen(digits) != 2 || hex_decode(digits, &byte, 1, NULL) < 0 || !byte) {
            (void)bad(err, "\"%s\" is no path", id);
            return NULL;
        }
        buffer_append_char(&path, (char)byte);
        c += 2;
    }
    if (path.failed || !path_is_safe_relative(buffer_text(&path)) ||
        !text_is_utf8(buffer_text(&path), path.size)) {
        (void)bad(err, "\"%.200s\" is no path inside of it", id);
        return NULL;
    }
    return buffer_take(&path, err);
}

/* The bytes of a file of the crate, which must be those that the crate says. */
static int read_part(const struct reader *reader, const json_t *entity, struct buffer *out,
                     char **ret_path, struct error **err) {
    OWN_STRING path = decode_path(json_get_string(entity, "@id", ""), err);
    if (!path)
        return -1;
    OWN_ERROR problem = NULL;
    OWN_STRING inside = path_resolve_beneath(reader->crate->folder, path, &problem);
    OWN_STRING whole = inside ? path_join(reader->crate->folder, inside) : NULL;
    struct stat status;
    if (!whole)
        return problem ? bad(err, "%s: %s", path, problem->message) : error_set_memory(err);
    if (stat(whole, &status) < 0 || !S_ISREG(status.st_mode))
        return bad(err, "%s is not a file", path);
    if (file_read_all(AT_FDCWD, whole, FILE_SIZE_MAXIMUM, out, &problem) < 0)
        return bad(err, "%s: %s", path, problem ? problem->message : "no memory");
    uint8_t digest[SHA256_SIZE];
    char text[SHA256_HEX_SIZE];
    sha256_of(buffer_text(out), out->size, digest);
    hex_encode(digest, sizeof(digest), text);
    if (!text_equal(json_get_string(entity, "sha256", ""), text))
        return bad(err, "%s is not as it was when the run was recorded", path);
    *ret_path = take(&path);
    return 0;
}

/* Sources are kept as texts: a run that is made of the crate gets them too. */
static int keep_source(struct reader *reader, const json_t *entity, struct error **err) {
    OWN_BUFFER text = {.maximum = FILE_SIZE_MAXIMUM + 1};
    OWN_STRING path = NULL;
    if (read_part(reader, entity, &text, &path, err) < 0)
        return -1;
    if (!text_starts_with(path, "workflow/"))
        return 0;
    if (json_object_size(reader->crate->files) >= FILES_MAXIMUM)
        return bad(err, "it has more than %d files of a workflow", FILES_MAXIMUM);
    json_t *value = json_stringn(buffer_text(&text), text.size);
    if (!value)
        return bad(err, "%s is not UTF-8", path);
    return json_object_set_new(reader->crate->files, path, value) < 0 ? error_set_memory(err) : 0;
}

static int read_files(struct reader *reader, struct error **err) {
    struct crate *crate = reader->crate;
    OWN_BUFFER text = {.maximum = FILE_SIZE_MAXIMUM + 1};
    OWN_STRING path = NULL;
    OWN_STRING own = NULL;
    const json_t *resolved = json_object_get(reader->index, "pipeline.json");
    if (!resolved)
        return bad(err, "it does not have pipeline.json");
    if (read_part(reader, resolved, &text, &path, err) < 0)
        return -1;
    OWN_ERROR problem = NULL;
    crate->document = json_parse(buffer_text(&text), text.size, &problem);
    if (!crate->document)
        return bad(err, "pipeline.json: %s", problem ? problem->message : "no memory");
    const char *id;
    json_t *entity;
    json_object_foreach(reader->index, id, entity) {
        if (has_type(entity, "File") && has_type(entity, "SoftwareSourceCode") &&
            keep_source(reader, entity, err) < 0)
            return -1;
    }
    own = decode_path(json_get_string(reader->workflow, "@id", ""), err);
    if (!own)
        return -1;
    crate->path = path_join(crate->folder, own);
    return crate->path ? 0 : error_set_memory(err);
}

/* -------------------------------------------------------------------- values */

static bool is_plain(const json_t *value) {
    const json_t *one;
    size_t i;
    json_array_foreach(value, i, one) {
        if (!json_is_string(one))
            return false;
    }
    return json_is_array(value) || json_is_string(value) || json_is_number(value) ||
           json_is_boolean(value);
}

static int read_value(struct reader *reader, const json_t *entity, const char *name,
                      struct error **err) {
    json_t *value = json_object_get(entity, "value");
    if (!is_plain(value))
        return bad(err, "the value of \"%s\" is none that a parameter can have", name);
    return json_object_set(reader->crate->parameters, name, value) < 0 ? error_set_memory(err) : 0;
}

/* An object or a result of the run: a parameter's value, or data with a digest. */
static int read_thing(struct reader *reader, const json_t *given, bool result, struct error **err) {
    const char *id = json_get_string(given, "@id", NULL);
    const json_t *entity = id ? json_object_get(reader->index, id) : NULL;
    if (!entity)
        return bad(err, "its action speaks of something that is not described");
    const json_t *formal = referred(reader, entity, "exampleOfWork");
    const char *name = json_get_string(formal, "name", NULL);
    const char *of = json_get_string(formal, "@id", "");
    if (!formal && text_equal(id, "#only")) {
        if (!json_is_array(json_object_get(entity, "value")) ||
            !is_plain(json_object_get(entity, "value")))
            return bad(err, "the steps that were asked for are not a list of names");
        reader->crate->only = json_incref(json_object_get(entity, "value"));
        return 0;
    }
    if (!name)
        return bad(err, "\"%s\" belongs to no parameter with a name", id);
    if (has_type(entity, "PropertyValue"))
        return result ? 0 : read_value(reader, entity, name, err);
    const char *digest = json_get_string(entity, "identifier", "");
    uint8_t bytes[SHA256_SIZE];
    if (!text_starts_with(digest, CRATE_TREE))
        return 0;
    digest += strlen(CRATE_TREE);
    if (strlen(digest) != 2 * SHA256_SIZE || hex_decode(digest, bytes, sizeof(bytes), NULL) < 0)
        return bad(err, "the identifier of \"%s\" is no digest", id);
    OWN_STRING key = memory_format("%s.%s",
                                   result                            ? "outputs"
                                   : text_starts_with(of, "#param-") ? "params"
                                                                     : "inputs",
                                   name);
    json_t *digests = json_object_get(reader->crate->recorded, "digests");
    return !key || json_object_set_new(digests, key, json_string(digest)) < 0
               ? error_set_memory(err)
               : 0;
}

static int read_things(struct reader *reader, const char *key, struct error **err) {
    const json_t *things = json_object_get(reader->action, key), *one;
    size_t i;
    if (json_is_object(things))
        return read_thing(reader, things, text_equal(key, "result"), err);
    if (things && !json_is_array(things))
        return bad(err, "the %s of its action is no reference", key);
    json_array_foreach(things, i, one) {
        if (read_thing(reader, one, text_equal(key, "result"), err) < 0)
            return -1;
    }
    return 0;
}

/* The image of a step: its name in the pipeline, and what that was. */
static int read_image(struct reader *reader, const json_t *entity, struct error **err) {
    const char *name = json_get_string(entity, "alternateName", NULL);
    const char *digest = json_get_string(entity, "sha256", NULL);
    uint8_t bytes[SHA256_SIZE];
    if (!name || !digest)
        return 0;
    if (strlen(digest) != 2 * SHA256_SIZE || hex_decode(digest, bytes, sizeof(bytes), NULL) < 0)
        return bad(err, "the sha256 of the image \"%s\" is no digest", name);
    OWN_STRING key = memory_format(CRATE_IMAGES "%s", name);
    json_t *digests = json_object_get(reader->crate->recorded, "digests");
    return !key || json_object_set_new(digests, key, json_string(digest)) < 0
               ? error_set_memory(err)
               : 0;
}

static int read_images(struct reader *reader, struct error **err) {
    const char *id;
    json_t *entity;
    json_object_foreach(reader->index, id, entity) {
        if (has_type(entity, "ContainerImage") && read_image(reader, entity, err) < 0)
            return -1;
    }
    return 0;
}

/* Paths stand in run.json alone, which need not be there: people leave it out when they hand a
 * crate on. */
static int read_paths(struct reader *reader, struct error **err) {
    struct crate *crate = reader->crate;
    OWN_ERROR problem = NULL;
    OWN_STRING inside = path_resolve_beneath(crate->folder, "run.json", &problem);
    if (!inside)
        return problem && problem->code == ERROR_NOT_FOUND
                   ? 0
                   : bad(err, "run.json: %s", problem ? problem->message : "no memory");
    OWN_STRING whole = path_join(crate->folder, inside);
    OWN_JSON record = whole ? json_read_file(AT_FDCWD, whole, METADATA_MAXIMUM, &problem) : NULL;
    if (!record)
        return bad(err, "run.json: %s", problem ? problem->message : "no memory");
    const char *name;
    json_t *path, *inputs = json_object_get(record, "inputs"),
                  *parameters = json_object_get(record, "parameters");
    if (!json_is_object(inputs) || !json_is_object(parameters))
        return bad(err, "run.json does not say its inputs and parameters");
    json_object_foreach(inputs, name, path) {
        if (!json_is_string(path) || *json_string_value(path) != '/')
            return bad(err, "run.json: input \"%s\" is no absolute path", name);
        if (json_object_set(crate->inputs, name, path) < 0)
            return error_set_memory(err);
    }
    json_object_foreach(parameters, name, path) {
        /* Plain values were read already, from where they are said for everybody. */
        if (json_is_string(path) && *json_string_value(path) == '/' &&
            !json_object_get(crate->parameters, name) &&
            json_object_set(crate->parameters, name, path) < 0)
            return error_set_memory(err);
    }
    return 0;
}

static int read_all(struct reader *reader, const json_t *metadata, struct error **err) {
    struct crate *crate = reader->crate;
    if (index_graph(reader, metadata, err) < 0 || find_main(reader, err) < 0)
        return -1;
    const char *run = json_get_string(reader->action, "name", "");
    crate->parameters = json_object();
    crate->inputs = json_object();
    crate->files = json_object();
    crate->recorded =
        json_pack("{s:s, s:{}}", "run", run + (text_starts_with(run, "Run ") ? 4 : 0), "digests");
    if (!crate->parameters || !crate->inputs || !crate->files || !crate->recorded)
        return error_set_memory(err);
    return read_files(reader, err) < 0 || read_things(reader, "object", err) < 0 ||
                   read_things(reader, "result", err) < 0 || read_images(reader, err) < 0 ||
                   read_paths(reader, err) < 0
               ? -1
               : 0;
}

bool crate_is_one(const char *path) {
    if (text_equal(path_base_name(path), METADATA_NAME))
        return file_exists(AT_FDCWD, path);
    OWN_STRING metadata = path_join(path, METADATA_NAME);
    return metadata && file_exists(AT_FDCWD, metadata);
}

int crate_read(const char *path, struct crate *ret, struct error **err) {
    bool file = text_equal(path_base_name(path), METADATA_NAME);
    OWN_STRING folder =
        file ? memory_copy_bytes(path, (size_t)(path_base_name(path) - path)) : NULL;
    if (file && !folder)
        return error_set_memory(err);
    struct crate crate CLEANUP(crate_release) = {0};
    crate.folder = path_resolve(!file ? path : *folder ? folder : ".", err);
    OWN_STRING metadata_path = crate.folder ? path_join(crate.folder, METADATA_NAME) : NULL;
    if (!crate.folder)
        return -1;
    OWN_ERROR problem = NULL;
    OWN_JSON metadata =
        metadata_path ? json_read_file(AT_FDCWD, metadata_path, METADATA_MAXIMUM, &problem) : NULL;
    if (!metadata)
        return bad(err, METADATA_NAME ": %s", problem ? problem->message : "no memory");
    struct reader reader CLEANUP(reader_release) = {.crate = &crate};
    if (read_all(&reader, metadata, err) < 0)
        return -1;
    *ret = crate;
    crate = (struct crate){0};
    return 0;
}
