/* Partitions of what a fan lists: directories, patterns, and what all kinds share. */
#include "partition-kinds.h"

#include <stdlib.h>

#define NAME_MAXIMUM 1000

void partition_list_release(struct partition_list *list) {
    for (size_t i = 0; i < list->count; i++)
        json_decref(list->items[i].item);
    memory_free(list->items);
    arena_free(list->arena);
    memset(list, 0, sizeof(*list));
}

int partition_list_add(struct partition_list *list, const char *name, const char *path,
                       json_t *item, struct error **err) {
    OWN_JSON own = item;
    if (!list->arena && !(list->arena = arena_new((size_t)512 << 20)))
        return error_set_memory(err);
    if (!*name) {
        error_set(err, ERROR_INVALID, "a partition has an empty name");
        return error_hint(err, "each needs a key that names it");
    }
    if (strlen(name) > NAME_MAXIMUM) {
        error_set(err, ERROR_LIMIT, "the name of a partition is longer than %d bytes",
                  NAME_MAXIMUM);
        return error_hint(err, "choose a shorter key");
    }
    if (!text_is_utf8(name, strlen(name))) {
        error_set(err, ERROR_INVALID, "the name of a partition is not UTF-8");
        return error_hint(err, "rename what has letters of an older encoding");
    }
    if (array_reserve(&list->items, &list->capacity, list->count, sizeof(*list->items),
                      PARTITIONS_MAXIMUM, err) < 0)
        return error_wrap(err, "partitions");
    struct partition *partition = &list->items[list->count];
    memset(partition, 0, sizeof(*partition));
    partition->name = arena_copy_string(list->arena, name);
    partition->path = arena_copy_string(list->arena, path);
    if (!partition->name || !partition->path || !own)
        return error_set_memory(err);
    partition->item = take(&own);
    list->count++;
    return 0;
}

static int compare_partitions(const void *a, const void *b) {
    const struct partition *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->line > y->line) - (x->line < y->line);
}

/* Without the key, which is patient data. */
static int refuse_twins(const struct partition *first, const struct partition *second,
                        struct error **err) {
    if (first->line)
        error_set(err, ERROR_INVALID, "lines %u and %u have the same key", first->line,
                  second->line);
    else
        error_set(err, ERROR_INVALID, "two partitions have the same key");
    return error_hint(err, "the key names the partition: it must differ from all others");
}

int partition_list_finish(struct partition_list *list, struct error **err) {
    if (list->count)
        qsort(list->items, list->count, sizeof(*list->items), compare_partitions);
    for (size_t i = 1; i < list->count; i++)
        if (text_equal(list->items[i].name, list->items[i - 1].name))
            return refuse_twins(&list->items[i - 1], &list->items[i], err);
    return 0;
}

static unsigned depth_of(const char *path) {
    unsigned depth = 1;
    for (; *path; path++)
        depth += *path == '/';
    return depth;
}

static int list_directories(const struct fan *fan, const struct manifest *manifest,
                            struct partition_list *list, struct error **err) {
    for (size_t i = 0; i < manifest->count; i++) {
        const struct manifest_entry *entry = &manifest->entries[i];
        if (entry->kind != ENTRY_DIRECTORY || depth_of(entry->path) != fan->depth)
            continue;
        if (fan->glob && !text_glob_match(fan->glob, entry->path))
            continue;
        if (partition_list_add(list, entry->path, entry->path, json_string(entry->path), err) < 0)
            return -1;
    }
    return 0;
}

static int list_glob(const struct fan *fan, const struct manifest *manifest,
                     struct partition_list *list, struct error **err) {
    for (size_t i = 0; i < manifest->count; i++) {
        const struct manifest_entry *entry = &manifest->entries[i];
        if (entry->kind == ENTRY_DIRECTORY || !text_glob_match(fan->glob, entry->path))
            continue;
        if (partition_list_add(list, entry->path, entry->path, json_string(entry->path), err) < 0)
            return -1;
    }
    return 0;
}

int partition_list_make(const struct fan *fan, const char *root, const struct manifest *manifest,
                        struct partition_list *ret, struct error **err) {
    int result;
    switch (fan->kind) {
    case FAN_DIRECTORIES:
        result = list_directories(fan, manifest, ret, err);
        break;
    case FAN_GLOB:
        result = list_glob(fan, manifest, ret, err);
        break;
    case FAN_DICOM:
        result = partition_list_dicom(fan, root, manifest, ret, err);
        break;
    case FAN_CSV:
        result = partition_list_csv(fan, root, ret, err);
        break;
    default:
        result = error_set(err, ERROR_INTERNAL, "partitions of this kind are not files");
    }
    return result < 0 ? -1 : partition_list_finish(ret, err);
}
