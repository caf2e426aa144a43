/* What a bundle has besides images: pipelines and the files they name, put into a folder. */
#include "private-image.h"

#include <fcntl.h>
#include <unistd.h>

static int refuse(const char *why, const char *name, struct error **err) {
    OWN_BUFFER shown = {0};
    text_append_printable(&shown, name);
    error_set(err, ERROR_INVALID, "its " BUNDLE_DOCUMENT " %s: %.200s", why, buffer_text(&shown));
    return error_hint(err, "save the bundle anew by \"glovebox image save\"");
}

/* A file that is there already stays when it is the same, and is never replaced by another. */
static int place(struct staging *staging, int into, const char *name, const char *digest,
                 struct error **err) {
    uint8_t hash[SHA256_SIZE];
    char found[SHA256_HEX_SIZE];
    OWN_STRING source = staging_path(staging, digest, err);
    OWN_STRING folder = memory_copy_bytes(name, (size_t)(path_base_name(name) - name));
    if (!source || !folder)
        return error_set_memory(err);
    if (*folder && directory_make(into, folder, 0777, err) < 0)
        return -1;
    if (!file_exists(into, name))
        return file_copy(staging->store->directory, source, into, name, 0644, err);
    if (sha256_file(into, name, hash, NULL, err) < 0)
        return -1;
    hex_encode(hash, sizeof(hash), found);
    if (text_equal(found, digest + 7))
        return 0;
    error_set(err, ERROR_EXISTS, "another %s is in %s already", name, staging->options->into);
    return error_hint(err, "choose a new folder for --into");
}

/* Every file that glovebox.json lists must be in the archive, with that digest. */
static int check_files(struct staging *staging, const json_t *files, struct error **err) {
    const char *name;
    json_t *file;
    if (!json_is_object(files))
        return refuse("has no list of files", "files", err);
    json_object_foreach((json_t *)(uintptr_t)files, name, file) {
        const char *said = json_get_string(file, "digest", "");
        const char *found = staging_digest(staging, name);
        if (!path_is_safe_relative(name) || !text_starts_with(name, "pipelines/"))
            return refuse("names a file that leads elsewhere", name, err);
        if (!found)
            return refuse("names a file that is not in it", name, err);
        if (!text_equal(found, said)) {
            error_set(err, ERROR_CORRUPT, "the file %.200s is not the one that was saved", name);
            return error_hint(err, "copy the bundle anew");
        }
    }
    return 0;
}

static int place_files(struct staging *staging, const json_t *files, struct error **err) {
    const char *name;
    json_t *file;
    if (directory_make(AT_FDCWD, staging->options->into, 0777, err) < 0)
        return -1;
    OWN_FD into = file_open(AT_FDCWD, staging->options->into, O_RDONLY | O_DIRECTORY, 0, err);
    if (into < 0)
        return -1;
    json_object_foreach((json_t *)(uintptr_t)files, name, file) {
        if (place(staging, into, name + strlen("pipelines/"), staging_digest(staging, name), err) <
            0)
            return -1;
    }
    return 0;
}

/* Where it lies now. */
static char *placed_path(const struct staging *staging, const char *path, struct error **err) {
    const char *into = staging->options->into;
    char *text = into ? path_join(into, path + strlen("pipelines/")) : memory_copy_string(path);
    if (!text)
        error_set_memory(err);
    return text;
}

static int add_pipeline(struct staging *staging, const json_t *pipeline, const json_t *files,
                        struct error **err) {
    const char *path = json_get_string(pipeline, "path", ""), *name;
    json_t *parameters = json_object_get(pipeline, "parameters"), *value;
    OWN_JSON placed = json_object();
    if (!json_object_get(files, path))
        return refuse("has a pipeline without a file", path, err);
    json_object_foreach(parameters, name, value) {
        const char *file = json_string_value(value);
        OWN_STRING where = NULL;
        if (!file || !json_object_get(files, file))
            return refuse("has a parameter without a file", name, err);
        if (!(where = placed_path(staging, file, err)))
            return -1;
        if (json_object_set_new(placed, name, json_string(where)) < 0)
            return error_set_memory(err);
    }
    OWN_STRING where = placed_path(staging, path, err);
    if (!where)
        return -1;
    json_t *one =
        json_pack("{s:s, s:s, s:O, s:b}", "pipeline", json_get_string(pipeline, "pipeline", ""),
                  "path", where, "parameters", placed, "placed", staging->options->into != NULL);
    return json_array_append_new(staging->result, one) < 0 ? error_set_memory(err) : 0;
}

int bundle_import(struct staging *staging, struct error **err) {
    OWN_JSON bundle = staging_document(staging, BUNDLE_DOCUMENT, err);
    if (!bundle)
        return -1;
    const json_t *files = json_object_get(bundle, "files"), *pipeline;
    size_t i;
    if (json_get_integer(bundle, "version", 0) != 1) {
        error_set(err, ERROR_UNSUPPORTED,
                  "it is a bundle of a form that this version does not know");
        return error_hint(err, "a newer glovebox may have written it");
    }
    if (check_files(staging, files, err) < 0)
        return -1;
    json_array_foreach(json_object_get(bundle, "pipelines"), i, pipeline) {
        if (add_pipeline(staging, pipeline, files, err) < 0)
            return -1;
    }
    return staging->options->into ? place_files(staging, files, err) : 0;
}
