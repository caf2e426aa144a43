/* What is in the store, for people and programs. */
#include "private-image.h"

#include <stdlib.h>

static json_t *describe(struct image_store *store, const char *reference, const char *digest,
                        struct error **err) {
    const json_t *record = store_record(store->index, digest);
    json_t *one =
        json_pack("{s:s?, s:s, s:I, s:I, s:s?}", "reference", reference, "digest", digest, "size",
                  (json_int_t)json_get_integer(record, "size", 0), "made",
                  (json_int_t)json_get_integer(record, "made", 0), "signer",
                  reference ? image_signer(json_object_get(record, "signers"), reference) : NULL);
    if (!one)
        error_set_memory(err);
    return one;
}

static int compare(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Keys of an object, sorted; they belong to it. */
static const char **sorted_keys(json_t *object, struct error **err) {
    const char **keys = memory_array(json_object_size(object) + 1, sizeof(*keys));
    const char *key;
    json_t *value;
    size_t count = 0;
    if (!keys) {
        error_set_memory(err);
        return NULL;
    }
    json_object_foreach(object, key, value) keys[count++] = key;
    qsort(keys, count, sizeof(*keys), compare);
    return keys;
}

static bool has_name(const json_t *names, const char *digest) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)names, name, value) {
        if (text_equal(json_string_value(value), digest))
            return true;
    }
    return false;
}

json_t *image_list(struct image_store *store, struct error **err) {
    if (store_read(store, err) < 0)
        return NULL;
    json_t *names = json_object_get(store->index, "names");
    json_t *images = json_object_get(store->index, "images");
    OWN_JSON list = json_array();
    OWN_MEMORY(const char *) name_keys = sorted_keys(names, err);
    OWN_MEMORY(const char *) image_keys = name_keys ? sorted_keys(images, err) : NULL;
    if (!image_keys)
        return NULL;
    for (size_t i = 0; name_keys[i]; i++) {
        const char *digest = json_get_string(names, name_keys[i], "");
        json_t *one = describe(store, name_keys[i], digest, err);
        if (!one)
            return NULL;
        if (json_array_append_new(list, one) < 0) {
            error_set_memory(err);
            return NULL;
        }
    }
    for (size_t i = 0; image_keys[i]; i++) {
        json_t *one =
            has_name(names, image_keys[i]) ? NULL : describe(store, NULL, image_keys[i], err);
        if (!one && !has_name(names, image_keys[i]))
            return NULL;
        if (one && json_array_append_new(list, one) < 0) {
            error_set_memory(err);
            return NULL;
        }
    }
    return take(&list);
}

/* Names that point to an image. */
static json_t *names_of(struct image_store *store, const char *digest, struct error **err) {
    json_t *all = json_object_get(store->index, "names");
    OWN_JSON names = json_array();
    OWN_MEMORY(const char *) keys = sorted_keys(all, err);
    for (size_t i = 0; keys && names && keys[i]; i++) {
        if (!text_equal(json_get_string(all, keys[i], ""), digest))
            continue;
        if (json_array_append_new(names, json_string(keys[i])) < 0) {
            error_set_memory(err);
            return NULL;
        }
    }
    return keys ? take(&names) : NULL;
}

json_t *image_show(struct image_store *store, const char *reference, struct error **err) {
    OWN_IMAGE image = {0};
    int found = image_find(store, reference, &image, err);
    if (found <= 0) {
        if (found == 0)
            store_not_there(reference, err);
        return NULL;
    }
    const json_t *record = store_record(store->index, image.digest);
    OWN_STRING blob = memory_format("blobs/sha256/%s", image.digest + 7);
    OWN_JSON names = names_of(store, image.digest, err);
    OWN_JSON manifest =
        blob && names ? json_read_file(store->directory, blob, IMAGE_DOCUMENT_MAXIMUM, err) : NULL;
    if (!manifest) {
        if (!blob)
            error_set_memory(err);
        return NULL;
    }
    json_t *indexes = json_object_get(record, "indexes");
    OWN_JSON none = json_array();
    json_t *all = json_pack(
        "{s:s, s:s, s:O, s:O, s:I, s:I, s:s?, s:s, s:O, s:O}", "reference", image.reference,
        "digest", image.digest, "indexes", indexes ? indexes : none, "names", names, "size",
        (json_int_t)image.size, "made", (json_int_t)image.made, "signer", image.signer, "root",
        image.root, "manifest", manifest, "config", image.config);
    if (!all)
        error_set_memory(err);
    return all;
}
