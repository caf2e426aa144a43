/* Files that say what is there. The first byte says which: c: a CSV of partitions; m: a manifest;
 * j: JSON; g: a pattern and a path, in two lines; t: a length of time, a size, a number. */
#include "data/data.h"
#include "fuzz.h"

#include <fcntl.h>

static void read_csv(const uint8_t *bytes, size_t size) {
    OWN_FUZZ_FILE file = fuzz_file_make(bytes, size);
    struct fan fan = {.kind = FAN_CSV, .key = size % 2 ? "id" : NULL};
    CLEANUP(partition_list_release) struct partition_list list = {0};
    OWN_ERROR error = NULL;
    if (partition_list_make(&fan, file.path, NULL, &list, &error) < 0) {
        fuzz_check_error(error);
        return;
    }
    for (size_t i = 0; i < list.count; i++) {
        const struct partition *partition = &list.items[i];
        fuzz_require(*partition->name && json_is_object(partition->item));
        fuzz_require(text_is_utf8(partition->name, strlen(partition->name)));
        fuzz_require(i == 0 || strcmp(list.items[i - 1].name, partition->name) < 0);
    }
}

/* What was read is written as it was read. */
static void read_manifest(const uint8_t *bytes, size_t size) {
    OWN_FUZZ_FILE file = fuzz_file_make(bytes, size);
    OWN_ERROR error = NULL;
    OWN_MANIFEST manifest = manifest_read(AT_FDCWD, file.path, &error);
    if (!manifest) {
        fuzz_check_error(error);
        return;
    }
    uint8_t digest[SHA256_SIZE];
    fuzz_require(manifest_digest(manifest, "", digest));
    for (size_t i = 0; i < manifest->count && i < 100; i++) {
        (void)manifest_find(manifest, manifest->entries[i].path);
        (void)manifest_digest(manifest, manifest->entries[i].path, digest);
    }
}

static void read_json(const uint8_t *bytes, size_t size) {
    OWN_ERROR error = NULL;
    OWN_JSON json = json_parse((const char *)bytes, size, &error);
    if (!json) {
        fuzz_check_error(error);
        return;
    }
    OWN_STRING text = json_canonical(json, NULL);
    OWN_JSON again = text ? json_parse(text, strlen(text), NULL) : NULL;
    OWN_STRING same = again ? json_canonical(again, NULL) : NULL;
    fuzz_require(same && text_equal(text, same));
}

static void read_texts(const char *text) {
    OWN_BUFFER out = {0};
    int64_t time;
    uint64_t bytes;
    double number;
    if (text_parse_duration(text, &time, NULL) == 0)
        text_format_duration(&out, time);
    if (text_parse_size(text, &bytes, NULL) == 0)
        text_format_size(&out, bytes);
    if (text_parse_integer(text, -5, 5, &time, NULL) == 0)
        fuzz_require(time >= -5 && time <= 5);
    (void)text_parse_number(text, &number, NULL);
    text_append_printable(&out, text);
    OWN_STRING name = text_safe_name(text);
    fuzz_require(name && path_is_safe_relative(name) && !strchr(name, '/') && strlen(name) <= 120);
    fuzz_require(text_is_utf8(buffer_text(&out), out.size));
}

static void match(char *text) {
    char *line = strchr(text, '\n');
    if (!line)
        return;
    *line = '\0';
    (void)text_glob_match(text, line + 1);
    const char *candidates[] = {line + 1, "partition"};
    (void)text_nearest(text, candidates, ARRAY_SIZE(candidates));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (size == 0)
        return 0;
    OWN_STRING text = memory_copy_bytes(bytes + 1, size - 1);
    fuzz_require(text);
    if (*bytes == 'c')
        read_csv(bytes + 1, size - 1);
    else if (*bytes == 'm')
        read_manifest(bytes + 1, size - 1);
    else if (*bytes == 'j')
        read_json(bytes + 1, size - 1);
    else if (*bytes == 'g')
        match(text);
    else if (*bytes == 't')
        read_texts(text);
    return 0;
}
