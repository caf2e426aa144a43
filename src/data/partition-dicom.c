/* Groups DICOM files by patient, study or series: a head is read from each file, files of other
 * kinds are counted and left out. */
#include "dicom/dicom.h"
#include "partition-kinds.h"

#include <fcntl.h>
#include <stdlib.h>

struct found {
    const char *path;
    char key[256];
    int64_t number;
};

static const char *key_of(const struct dicom_identity *identity, enum dicom_level level) {
    const char *key = level == DICOM_PATIENT ? identity->patient_id
                      : level == DICOM_STUDY ? identity->study_uid
                                             : identity->series_uid;
    return *key ? key : "unknown";
}

static int compare_found(const void *a, const void *b) {
    const struct found *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    if (!order)
        order = x->number < y->number ? -1 : x->number > y->number;
    return order ? order : strcmp(x->path, y->path);
}

static int add_group(struct partition_list *list, const struct found *found, size_t count,
                     struct error **err) {
    if (partition_list_add(list, found->key, "",
                           json_pack("{s:s, s:I}", "key", found->key, "files", (json_int_t)count),
                           err) < 0)
        return -1;
    struct partition *partition = &list->items[list->count - 1];
    const char **paths = arena_allocate(list->arena, count * sizeof(*paths));
    if (!paths)
        return error_set_memory(err);
    for (size_t i = 0; i < count; i++) {
        paths[i] = arena_copy_string(list->arena, found[i].path);
        if (!paths[i])
            return error_set_memory(err);
    }
    partition->files = paths;
    partition->file_count = count;
    return 0;
}

int partition_list_dicom(const struct fan *fan, const char *root, const struct manifest *manifest,
                         struct partition_list *list, struct error **err) {
    OWN_FD directory = file_open(AT_FDCWD, root, O_RDONLY | O_DIRECTORY, 0, err);
    if (directory < 0)
        return -1;
    OWN_MEMORY(struct found) found = memory_array(manifest->count, sizeof(*found));
    if (!found)
        return error_set_memory(err);
    size_t count = 0;
    for (size_t i = 0; i < manifest->count; i++) {
        const struct manifest_entry *entry = &manifest->entries[i];
        if (entry->kind != ENTRY_FILE || (fan->glob && !text_glob_match(fan->glob, entry->path)))
            continue;
        struct dicom_identity identity;
        int outcome = dicom_identify(directory, entry->path, &identity, NULL);
        if (outcome != DICOM_OK) {
            list->ignored++;
            continue;
        }
        found[count].path = entry->path;
        found[count].number = identity.instance_number;
        (void)snprintf(found[count].key, sizeof(found[count].key), "%s",
                       key_of(&identity, fan->level));
        count++;
    }
    if (count)
        qsort(found, count, sizeof(*found), compare_found);
    for (size_t start = 0, end; start < count; start = end) {
        for (end = start + 1; end < count && text_equal(found[end].key, found[start].key);)
            end++;
        if (add_group(list, found + start, end - start, err) < 0)
            return -1;
    }
    return 0;
}
