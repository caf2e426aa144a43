/* An image whose blobs are at hand comes into the store: checked, allowed, unpacked, recorded. */
#include "private-image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int staging_look(struct staging *staging, const char *digest, enum packing *ret_packing,
                 uint64_t *ret_size, struct error **err) {
    int there = staging_need(staging, digest, err);
    if (there < 0)
        return -1;
    if (there == 0) {
        error_set(err, ERROR_INVALID, "the blob %.100s is missing in it", digest);
        return error_hint(err, "copy or save it anew");
    }
    OWN_STRING path = staging_path(staging, digest, err);
    OWN_FD fd = path ? file_open(staging->store->directory, path, O_RDONLY, 0, err) : -1;
    struct stat status;
    char bytes[8];
    if (fd < 0)
        return -1;
    ssize_t size = fstat(fd, &status) < 0 ? -1 : pread(fd, bytes, sizeof(bytes), 0);
    if (size < 0)
        return error_set_errno(err, errno, "cannot read a blob");
    *ret_packing = packing_of(bytes, (size_t)size);
    *ret_size = (uint64_t)status.st_size;
    return 0;
}

/* Blobs are there, as large as said, and not too large together. */
static int check_blobs(struct staging *staging, const json_t *manifest, uint64_t *ret_size,
                       struct error **err) {
    const json_t *layers = json_object_get(manifest, "layers");
    size_t count = json_array_size(layers);
    *ret_size = 0;
    for (size_t i = 0; i <= count; i++) {
        const json_t *one =
            i < count ? json_array_get(layers, i) : json_object_get(manifest, "config");
        const char *digest = json_get_string(one, "digest", "");
        enum packing packing;
        uint64_t size = 0;
        if (staging_look(staging, digest, &packing, &size, err) < 0)
            return -1;
        if (size != (uint64_t)json_get_integer(one, "size", -1)) {
            error_set(err, ERROR_CORRUPT, "the blob %.19s is not as large as its manifest says",
                      digest);
            return error_hint(err, "copy or save it anew");
        }
        *ret_size += size;
    }
    return 0;
}

enum kind { KIND_TEXT, KIND_TEXTS, KIND_OBJECT, KIND_OBJECTS, KIND_COUNT };

static bool is_of_kind(const json_t *value, enum kind kind) {
    if (!value || json_is_null(value))
        return true;
    if (kind == KIND_TEXT || kind == KIND_OBJECT)
        return kind == KIND_TEXT ? json_is_string(value) : json_is_object(value);
    size_t i;
    const json_t *item;
    json_array_foreach(value, i, item) {
        if (kind == KIND_TEXTS ? !json_is_string(item) : !json_is_object(item))
            return false;
    }
    return json_is_array(value);
}

/* What umoci and we read of it. */
static int check_kinds(const json_t *config, struct error **err) {
    static const char *const names[KIND_COUNT] = {"a text", "a list of texts", "an object",
                                                  "a list of objects"};
    static const struct {
        const char *parent, *key;
        enum kind kind;
    } fields[] = {
        {NULL, "architecture", KIND_TEXT},
        {NULL, "os", KIND_TEXT},
        {NULL, "created", KIND_TEXT},
        {NULL, "author", KIND_TEXT},
        {NULL, "history", KIND_OBJECTS},
        {NULL, "rootfs", KIND_OBJECT},
        {"rootfs", "type", KIND_TEXT},
        {"rootfs", "diff_ids", KIND_TEXTS},
        {NULL, "config", KIND_OBJECT},
        {"config", "User", KIND_TEXT},
        {"config", "Env", KIND_TEXTS},
        {"config", "Entrypoint", KIND_TEXTS},
        {"config", "Cmd", KIND_TEXTS},
        {"config", "WorkingDir", KIND_TEXT},
        {"config", "StopSignal", KIND_TEXT},
        {"config", "Labels", KIND_OBJECT},
        {"config", "ExposedPorts", KIND_OBJECT},
        {"config", "Volumes", KIND_OBJECT},
    };
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        const char *parent = fields[i].parent;
        const json_t *where = parent ? json_object_get(config, parent) : config;
        if (is_of_kind(json_object_get(where, fields[i].key), fields[i].kind))
            continue;
        error_set(err, ERROR_INVALID, "\"%s%s%s\" in its configuration is not %s",
                  parent ? parent : "", parent ? "." : "", fields[i].key, names[fields[i].kind]);
        return error_hint(err, "save or pull it anew; else ask who made it");
    }
    return 0;
}

/* The configuration: for this machine, and of these layers. */
static int check_config(const json_t *manifest, const json_t *config, struct error **err) {
    if (!json_is_object(config))
        return error_set(err, ERROR_INVALID, "its configuration is no JSON object");
    if (check_kinds(config, err) < 0)
        return -1;
    const char *kernel = json_get_string(config, "os", "linux");
    const char *machine = json_get_string(config, "architecture", machine_architecture());
    const json_t *layers = json_object_get(manifest, "layers");
    const json_t *diff_ids = json_object_get(json_object_get(config, "rootfs"), "diff_ids");
    if (!text_equal(kernel, "linux") || !text_equal(machine, machine_architecture())) {
        OWN_BUFFER shown = {0};
        buffer_format(&shown, "%.50s on %.50s", kernel, machine);
        OWN_BUFFER safe = {0};
        text_append_printable(&safe, buffer_text(&shown));
        error_set(err, ERROR_UNSUPPORTED, "it is made for %s; this machine is linux on %s",
                  buffer_text(&safe), machine_architecture());
        return error_hint(err, "load the one that is made for this machine");
    }
    if (json_array_size(diff_ids) != json_array_size(layers)) {
        error_set(err, ERROR_INVALID, "its configuration knows %zu layers, its manifest %zu",
                  json_array_size(diff_ids), json_array_size(layers));
        return error_hint(err, "save or pull it anew");
    }
    size_t i;
    const json_t *layer;
    json_array_foreach(layers, i, layer) {
        const char *said = json_string_value(json_array_get(diff_ids, i));
        bool plain = text_equal(json_get_string(layer, "mediaType", ""), MEDIA_LAYER);
        if (!digest_is_valid(said) ||
            (plain && !text_equal(said, json_get_string(layer, "digest", "")))) {
            error_set(err, ERROR_CORRUPT,
                      "its layer %zu is not the one that its configuration says", i + 1);
            return error_hint(err, "save or pull it anew");
        }
    }
    return 0;
}

static int ask(const struct staging *staging, const struct arrival *arrival, struct error **err) {
    const struct image_options *options = staging->options;
    /* what was verified once stays so of the same repository: a signature names it */
    const json_t *signers =
        json_object_get(store_record(staging->store->index, arrival->digest), "signers");
    for (size_t i = 0; options->allow && i < arrival->reference_count; i++) {
        struct image_candidate candidate = {
            arrival->references[i], arrival->digest, arrival->index_digest,
            arrival->signer ? arrival->signer : image_signer(signers, arrival->references[i])};
        if (options->allow(options->context, &candidate, err) < 0)
            return -1;
    }
    return 0;
}

/* From the work folder to the store. */
static int keep_blob(struct staging *staging, const char *digest, struct error **err) {
    int directory = staging->store->directory;
    OWN_STRING from = staging_path(staging, digest, err);
    OWN_STRING to = memory_format("blobs/sha256/%s", digest + 7);
    if (!from || !to)
        return to ? -1 : error_set_memory(err);
    if (text_equal(from, to))
        return 0;
    return renameat(directory, from, directory, to) < 0
               ? error_set_errno(err, errno, "cannot keep a blob")
               : 0;
}

static int keep_blobs(struct staging *staging, const char *digest, const json_t *manifest,
                      struct error **err) {
    const json_t *layers = json_object_get(manifest, "layers"), *layer;
    size_t i;
    json_array_foreach(layers, i, layer) {
        if (keep_blob(staging, json_get_string(layer, "digest", ""), err) < 0)
            return -1;
    }
    if (keep_blob(staging, json_get_string(json_object_get(manifest, "config"), "digest", ""),
                  err) < 0)
        return -1;
    return keep_blob(staging, digest, err);
}

/* An index is kept where it came along, for whoever is handed the image by us. */
static int keep_index(struct staging *staging, const char *digest, struct error **err) {
    int there = digest ? staging_need(staging, digest, err) : 0;
    return there > 0 ? keep_blob(staging, digest, err) : there;
}

/* ----------------------------------------------------------------- recording */

struct recording {
    const struct arrival *arrival;
    const json_t *manifest, *config;
    uint64_t size;
};

static int add_once(json_t *record, const char *key, const char *text, struct error **err) {
    json_t *list = json_object_get(record, key), *item;
    size_t i;
    if (!list) {
        list = json_array();
        if (json_object_set_new(record, key, list) < 0)
            return error_set_memory(err);
    }
    json_array_foreach(list, i, item) {
        if (text_equal(json_string_value(item), text))
            return 0;
    }
    return json_array_append_new(list, json_string(text)) < 0 ? error_set_memory(err) : 0;
}

static int add_signer(json_t *record, const char *repository, const char *signer,
                      struct error **err) {
    if (!signer)
        return 0;
    json_t *signers = json_object_get(record, "signers");
    if (!signers) {
        signers = json_object();
        if (json_object_set_new(record, "signers", signers) < 0)
            return error_set_memory(err);
    }
    return json_object_set_new(signers, repository, json_string(signer)) < 0 ? error_set_memory(err)
                                                                             : 0;
}

static int record(json_t *index, void *context, struct error **err) {
    const struct recording *recording = context;
    const struct arrival *arrival = recording->arrival;
    json_t *images = json_object_get(index, "images"), *names = json_object_get(index, "names");
    json_t *one = json_object_get(images, arrival->digest);
    if (!one) {
        const json_t *config = json_object_get(recording->manifest, "config");
        one = json_pack("{s:s, s:I, s:I, s:s}", "config", json_get_string(config, "digest", ""),
                        "size", (json_int_t)recording->size, "made", (json_int_t)clock_wall(),
                        "architecture", machine_architecture());
        if (json_object_set_new(images, arrival->digest, one) < 0)
            return error_set_memory(err);
        const json_t *layer;
        size_t i;
        json_array_foreach(json_object_get(recording->manifest, "layers"), i, layer) {
            if (add_once(one, "layers", json_get_string(layer, "digest", ""), err) < 0)
                return -1;
        }
    }
    if (arrival->index_digest && add_once(one, "indexes", arrival->index_digest, err) < 0)
        return -1;
    for (size_t i = 0; i < arrival->reference_count; i++) {
        const char *name = arrival->references[i];
        OWN_STRING repository = reference_repository(name, err);
        if (!repository || add_once(one, "repositories", repository, err) < 0 ||
            add_signer(one, repository, arrival->signer, err) < 0)
            return -1;
        if (json_object_set_new(names, name, json_string(arrival->digest)) < 0)
            return error_set_memory(err);
    }
    return 0;
}

static int add_result(struct staging *staging, const struct arrival *arrival, bool known,
                      struct error **err) {
    for (size_t i = 0; i < arrival->reference_count; i++) {
        json_t *one = json_pack("{s:s, s:s, s:b}", "reference", arrival->references[i], "digest",
                                arrival->digest, "new", !known);
        if (json_array_append_new(staging->result, one) < 0)
            return error_set_memory(err);
    }
    return 0;
}

int arrival_take(struct staging *staging, const struct arrival *arrival, struct error **err) {
    struct image_store *store = staging->store;
    struct recording recording = {.arrival = arrival};
    OWN_JSON manifest = staging_json(staging, arrival->digest, err);
    if (!manifest || manifest_check(manifest, err) < 0 ||
        check_blobs(staging, manifest, &recording.size, err) < 0)
        return -1;
    const char *config_digest = json_get_string(json_object_get(manifest, "config"), "digest", "");
    OWN_JSON config = staging_json(staging, config_digest, err);
    if (!config || check_config(manifest, config, err) < 0 || store_read(store, err) < 0 ||
        ask(staging, arrival, err) < 0)
        return -1;
    bool known = store_record(store->index, arrival->digest) != NULL;
    recording.manifest = manifest;
    recording.config = config;
    if (keep_blobs(staging, arrival->digest, manifest, err) < 0 ||
        keep_index(staging, arrival->index_digest, err) < 0 ||
        root_unpack(staging, arrival->digest, manifest, err) < 0 ||
        store_change(store, record, &recording, err) < 0)
        return -1;
    return add_result(staging, arrival, known, err);
}
