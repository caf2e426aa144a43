/* What the documents of an archive or a folder name: `docker save` and OCI layouts. */
#include "private-image.h"

#define INDEX_DEPTH    4
#define IMAGES_MAXIMUM 1000
#define NAMES_OF_ONE   64

/* The names that an image comes under. */
struct names {
    char *items[NAMES_OF_ONE];
    size_t count;
};

static void names_release(struct names *names) {
    for (size_t i = 0; i < names->count; i++)
        memory_free(names->items[i]);
    names->count = 0;
}

static int add_name(struct names *names, const char *text, struct error **err) {
    OWN_IMAGE_REFERENCE reference = {0};
    if (image_reference_parse(text, &reference, err) < 0)
        return -1;
    if (names->count == NAMES_OF_ONE)
        return error_set(err, ERROR_LIMIT, "an image of it has more than %d names", NAMES_OF_ONE);
    memory_free(reference.digest); /* a name that is given, not one that is asked for */
    reference.digest = NULL;
    if (!reference.tag && !(reference.tag = memory_copy_string("latest")))
        return error_set_memory(err);
    names->items[names->count] = image_reference_text(&reference, err);
    return names->items[names->count++] ? 0 : -1;
}

static int add_docker_names(struct names *names, const json_t *tags, struct error **err) {
    size_t i;
    const json_t *tag;
    json_array_foreach(tags, i, tag) {
        if (!json_is_string(tag))
            return error_set(err, ERROR_INVALID, "its RepoTags are no texts");
        if (add_name(names, json_string_value(tag), err) < 0)
            return -1;
    }
    return 0;
}

static int take_image(struct staging *staging, const char *digest, const char *index_digest,
                      struct names *names, struct error **err) {
    const char *wanted = staging->options->name;
    if (wanted) {
        names_release(names);
        if (add_name(names, wanted, err) < 0)
            return -1;
    }
    if (names->count == 0 && add_name(names, staging->fallback, err) < 0)
        return -1;
    struct arrival arrival = {.digest = digest,
                              .references = (const char *const *)names->items,
                              .reference_count = names->count,
                              .index_digest = index_digest,
                              .signer = staging->signer};
    return arrival_take(staging, &arrival, err);
}

static int check_count(const struct staging *staging, size_t count, struct error **err) {
    if (count == 0)
        return error_set(err, ERROR_INVALID, "there is no image in it");
    if (count > IMAGES_MAXIMUM)
        return error_set(err, ERROR_LIMIT, "it holds more than %d images", IMAGES_MAXIMUM);
    if (count > 1 && staging->options->name) {
        error_set(err, ERROR_USAGE, "it holds %zu images: they cannot all have the name %.200s",
                  count, staging->options->name);
        return error_hint(err, "leave --name out, they come under the names they have");
    }
    return 0;
}

/* -------------------------------------------------------------- docker save */

static json_t *describe_blob(struct staging *staging, const json_t *name, const char *media_type,
                             struct error **err) {
    const char *text = json_string_value(name);
    const char *digest = text ? staging_digest(staging, text) : NULL;
    uint64_t size = 0;
    if (!digest) {
        OWN_BUFFER shown = {0};
        text_append_printable(&shown, text ? text : "?");
        error_set(err, ERROR_INVALID, "its manifest.json names %.200s, which is not in it",
                  buffer_text(&shown));
        error_hint(err, "save the image anew");
        return NULL;
    }
    enum packing packing = PACKING_NONE;
    if (staging_look(staging, digest, &packing, &size, err) < 0)
        return NULL;
    bool layer = text_equal(media_type, MEDIA_LAYER);
    json_t *json = json_pack("{s:s+, s:s, s:I}", "mediaType", media_type,
                             layer && packing == PACKING_GZIP ? "+gzip" : "", "digest", digest,
                             "size", (json_int_t)size);
    if (!json)
        error_set_memory(err);
    return json;
}

/* An OCI manifest of what manifest.json lists. */
static json_t *make_manifest(struct staging *staging, const json_t *entry, struct error **err) {
    const json_t *names = json_object_get(entry, "Layers"), *name;
    size_t i;
    if (!json_is_array(names) || json_array_size(names) > IMAGES_MAXIMUM) {
        error_set(err, ERROR_INVALID, "its manifest.json lists no layers");
        return NULL;
    }
    OWN_JSON layers = json_array();
    OWN_JSON config =
        layers ? describe_blob(staging, json_object_get(entry, "Config"), MEDIA_CONFIG, err) : NULL;
    if (!config)
        return NULL;
    json_array_foreach(names, i, name) {
        json_t *layer = describe_blob(staging, name, MEDIA_LAYER, err);
        if (!layer)
            return NULL;
        if (json_array_append_new(layers, layer) < 0) {
            error_set_memory(err);
            return NULL;
        }
    }
    json_t *manifest = json_pack("{s:i, s:s, s:O, s:O}", "schemaVersion", 2, "mediaType",
                                 MEDIA_MANIFEST, "config", config, "layers", layers);
    if (!manifest)
        error_set_memory(err);
    return manifest;
}

int manifest_import(struct staging *staging, const json_t *manifest, struct error **err) {
    struct names names CLEANUP(names_release) = {0};
    char digest[IMAGE_DIGEST_SIZE];
    OWN_STRING text = json_canonical(manifest, err);
    if (!text || staging_write(staging, text, strlen(text), digest, err) < 0)
        return -1;
    return take_image(staging, digest, NULL, &names, err);
}

static int docker_one(struct staging *staging, const json_t *entry, struct error **err) {
    struct names names CLEANUP(names_release) = {0};
    char digest[IMAGE_DIGEST_SIZE];
    OWN_JSON manifest = make_manifest(staging, entry, err);
    OWN_STRING text = manifest ? json_canonical(manifest, err) : NULL;
    if (!text || staging_write(staging, text, strlen(text), digest, err) < 0 ||
        add_docker_names(&names, json_object_get(entry, "RepoTags"), err) < 0)
        return -1;
    return take_image(staging, digest, NULL, &names, err);
}

int docker_import(struct staging *staging, const json_t *manifest, struct error **err) {
    size_t i;
    const json_t *entry;
    if (!json_is_array(manifest))
        return error_set(err, ERROR_INVALID, "its manifest.json is not that of docker save");
    if (check_count(staging, json_array_size(manifest), err) < 0)
        return -1;
    json_array_foreach(manifest, i, entry) {
        if (docker_one(staging, entry, err) < 0)
            return -1;
    }
    return 0;
}

/* --------------------------------------------------------------- OCI layouts */

/* The manifest for this machine behind a descriptor; the index that it was chosen from is the one
 * that a registry would be asked for. */
static int choose(struct staging *staging, const json_t *descriptor,
                  char manifest[IMAGE_DIGEST_SIZE], char index[IMAGE_DIGEST_SIZE],
                  struct error **err) {
    index[0] = '\0';
    if (descriptor_check(descriptor, "manifest", err) < 0)
        return -1;
    (void)snprintf(manifest, IMAGE_DIGEST_SIZE, "%s", json_get_string(descriptor, "digest", ""));
    for (int depth = 0; depth < INDEX_DEPTH; depth++) {
        OWN_JSON json = staging_json(staging, manifest, err);
        if (!json)
            return -1;
        if (!json_object_get(json, "manifests"))
            return 0;
        if (depth == 0)
            (void)snprintf(index, IMAGE_DIGEST_SIZE, "%s", manifest);
        const json_t *chosen = index_choose(json, err);
        if (!chosen)
            return -1;
        (void)snprintf(manifest, IMAGE_DIGEST_SIZE, "%s", json_get_string(chosen, "digest", ""));
    }
    error_set(err, ERROR_LIMIT, "its indexes are nested deeper than %d levels", INDEX_DEPTH);
    return error_hint(err, "save or pull it anew");
}

/* RepoTags of the entry of manifest.json that has the same configuration. */
static int add_names_of_config(struct staging *staging, const json_t *docker, const char *digest,
                               struct names *names, struct error **err) {
    OWN_JSON manifest = staging_json(staging, digest, err);
    if (!manifest)
        return -1;
    const char *config = json_get_string(json_object_get(manifest, "config"), "digest", "");
    size_t i;
    const json_t *entry;
    json_array_foreach(docker, i, entry) {
        const char *name = json_get_string(entry, "Config", NULL);
        const char *found = name ? staging_digest(staging, name) : NULL;
        if (found && text_equal(found, config))
            return add_docker_names(names, json_object_get(entry, "RepoTags"), err);
    }
    return 0;
}

static int layout_one(struct staging *staging, const json_t *descriptor, const json_t *docker,
                      struct error **err) {
    struct names names CLEANUP(names_release) = {0};
    char digest[IMAGE_DIGEST_SIZE], index[IMAGE_DIGEST_SIZE];
    if (choose(staging, descriptor, digest, index, err) < 0)
        return -1;
    const json_t *annotations = json_object_get(descriptor, "annotations");
    const char *name = json_get_string(annotations, ANNOTATION_DOCKER_NAME, NULL);
    if (!name)
        name = json_get_string(annotations, ANNOTATION_NAME, NULL);
    /* a tag alone says nothing of the image's name */
    if (name && strpbrk(name, "/:") && add_name(&names, name, err) < 0)
        return -1;
    if (names.count == 0 && docker && add_names_of_config(staging, docker, digest, &names, err) < 0)
        return -1;
    return take_image(staging, digest, *index ? index : NULL, &names, err);
}

/* Several entries without names may be one image for several machines. */
static bool is_for_us(const json_t *descriptor) {
    const json_t *platform = json_object_get(descriptor, "platform");
    const char *made_for = json_get_string(platform, "architecture", NULL);
    return !made_for || text_equal(made_for, machine_architecture());
}

int layout_import(struct staging *staging, const json_t *index, const json_t *docker,
                  struct error **err) {
    const json_t *list = json_object_get(index, "manifests"), *entry;
    size_t i, count = 0;
    if (!json_is_array(list))
        return error_set(err, ERROR_INVALID, "its index.json is not that of an OCI image");
    json_array_foreach(list, i, entry) count += is_for_us(entry);
    if (count == 0 && json_array_size(list) > 0)
        return index_choose(index, err) ? 0 : -1;
    if (check_count(staging, count, err) < 0)
        return -1;
    json_array_foreach(list, i, entry) {
        if (is_for_us(entry) && layout_one(staging, entry, docker, err) < 0)
            return -1;
    }
    return 0;
}
