/* Groups DICOM files by patient, study, series or instance: a head is read from each file, files of
 * other kinds are counted and left out. */
#include "dicom/dicom.h"
#include "partition-kinds.h"

#include <fcntl.h>
#include <stdlib.h>

#define WITHOUT_ID "without-id"

struct found {
    const char *path;
    char id[256]; /* "" when the file tells none, or is broken */
    int64_t number;
};

static const char *id_of(const struct dicom_identity *identity, enum dicom_level level) {
    switch (level) {
    case DICOM_PATIENT:
        return identity->patient_id;
    case DICOM_STUDY:
        return identity->study_uid;
    case DICOM_INSTANCE:
        return identity->instance_uid;
    default:
        return identity->series_uid;
    }
}

/* Real names that look like the one of the nameless are lengthened, so that the two never meet. */
static char *partition_name(const char *id) {
    if (!*id)
        return memory_copy_string(WITHOUT_ID);
    const char *rest = id + strlen(WITHOUT_ID);
    bool alike = text_starts_with(id, WITHOUT_ID) && rest[strspn(rest, "_")] == '\0';
    return memory_format("%s%s", id, alike ? "_" : "");
}

static int compare_found(const void *a, const void *b) {
    const struct found *x = a, *y = b;
    int order = strcmp(x->id, y->id);
    if (!order)
        order = x->number < y->number ? -1 : x->number > y->number;
    return order ? order : strcmp(x->path, y->path);
}

static int add_group(struct partition_list *list, const struct found *found, size_t count,
                     struct error **err) {
    OWN_STRING name = partition_name(found->id);
    if (!name)
        return error_set_memory(err);
    json_t *item =
        json_pack("{s:s?, s:I}", "key", *found->id ? found->id : NULL, "files", (json_int_t)count);
    if (partition_list_add(list, name, "", item, err) < 0)
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

/* DICOM_NOT when it is left out. A broken file is nobody's, but it is not passed over in silence:
 * the step that gets it says what is wrong with it. */
static int identify(int directory, const char *path, enum dicom_level level, struct found *ret,
                    struct error **err) {
    struct dicom_identity identity = {0};
    OWN_ERROR problem = NULL;
    int outcome = dicom_identify(directory, path, &identity, &problem);
    if (outcome == DICOM_NOT)
        return DICOM_NOT;
    if (outcome < 0 && problem && problem->code == ERROR_MEMORY)
        return error_move(err, take(&problem));
    if (outcome < 0)
        identity = (struct dicom_identity){0};
    *ret = (struct found){.path = path, .number = identity.instance_number};
    (void)snprintf(ret->id, sizeof(ret->id), "%s", id_of(&identity, level));
    return DICOM_OK;
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
        int outcome = identify(directory, entry->path, fan->level, &found[count], err);
        if (outcome < 0)
            return -1;
        if (outcome == DICOM_OK)
            count++;
        else
            list->ignored++;
    }
    if (count)
        qsort(found, count, sizeof(*found), compare_found);
    for (size_t start = 0, end; start < count; start = end) {
        for (end = start + 1; end < count && text_equal(found[end].id, found[start].id);)
            end++;
        if (add_group(list, found + start, end - start, err) < 0)
            return -1;
    }
    return 0;
}
