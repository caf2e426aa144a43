#include "data/data.h"
#include "tap.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static char *scratch(void) {
    char *path = memory_copy_string("/tmp/glovebox-test-XXXXXX");
    return path && mkdtemp(path) ? path : NULL;
}

/* "name|name|…" of what a fan finds below `root`, or "!message". */
static char *names_of(const struct fan *fan, const char *root) {
    CLEANUP(partition_list_release) struct partition_list list = {0};
    OWN_ERROR error = NULL;
    OWN_MANIFEST manifest = manifest_build(root, MANIFEST_NAMES_ONLY, NULL, NULL);
    OWN_BUFFER out = {0};
    if (!manifest || partition_list_make(fan, root, manifest, &list, &error) < 0)
        return memory_format("!%s", error ? error->message : "no manifest");
    for (size_t i = 0; i < list.count; i++)
        buffer_format(&out, "%s%s", i ? "|" : "", list.items[i].name);
    return buffer_take(&out, NULL);
}

static char *csv(const char *text, const char *key) {
    OWN_STRING root = scratch();
    OWN_STRING path = path_join(root, "t.csv");
    struct fan fan = {.kind = FAN_CSV, .key = key};
    CHECK(file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644, NULL) == 0);
    char *names = names_of(&fan, path);
    CHECK(tree_remove(AT_FDCWD, root, NULL) == 0);
    return names;
}

TEST(rows_of_a_table) {
    static const struct {
        const char *text, *key, *names;
    } tables[] = {
        {"s,n\nb,1\na,2\n", "s", "a|b"},
        {"s,n\nb,1\na,2", "n", "1|2"},
        {"s,n\r\nb,1\r\n\r\na,2\r\n", "s", "a|b"},
        {"s;n\n\"a;b\";1\n", "s", "a;b"},
        {"s\tn\na,b\t1\n", "s", "a,b"},
        {"s,n\n\"a\"\"b\",1\n", "s", "a\"b"},
        {"s,n\n\"two\nlines\",1\n", "s", "two\nlines"},
        {"s\nx\ny\n", "s", "x|y"},
        {"s,n\n", "s", ""},
        {"\xef\xbb\xbfs,n\na,1\n", "s", "a"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
        OWN_STRING names = csv(tables[i].text, tables[i].key);
        CHECK_TEXT(names, tables[i].names);
    }
}

TEST(mistakes_in_a_table) {
    static const struct {
        const char *text, *key, *says;
    } tables[] = {
        {"s,n\na,1\na,2\n", "s", "same key"},
        {"s,n\na,1\n", "t", "no column \"t\""},
        {"s,n\na\n", "s", "line 2"},
        {"s,n\na,1,2\n", "s", "line 2"},
        {"s,n\n\"a,1\n", "s", "never closed"},
        {"s,n\n\"a\"b,1\n", "s", "closing quote"},
        {"s,n\n,1\n", "s", "empty name"},
        {"s,n\n\xff,1\n", "s", "UTF-8"},
        {"s,n\n1,\"\n\n\n\"\nx\n", "s", "line 6"},
        {"", "s", "the file is empty"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
        OWN_STRING names = csv(tables[i].text, tables[i].key);
        if (!CHECK(names[0] == '!' && strstr(names, tables[i].says)))
            printf("# %s\n", names);
    }
}

TEST(folders_and_globs) {
    OWN_STRING root = scratch();
    static const char *const files[] = {"b/x/1.txt", "a/y/2.txt", "a/z/3.dat", "top.txt",
                                        ".h/4.txt"};
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        OWN_STRING full = path_join(root, files[i]);
        OWN_STRING parent = memory_copy_bytes(full, (size_t)(path_base_name(full) - full));
        CHECK(directory_make(AT_FDCWD, parent, 0755, NULL) == 0);
        CHECK(file_write_atomic(AT_FDCWD, full, "", 0, 0644, NULL) == 0);
    }
    static const struct {
        struct fan fan;
        const char *names;
    } fans[] = {
        {{.kind = FAN_DIRECTORIES, .depth = 1}, ".h|a|b"},
        {{.kind = FAN_DIRECTORIES, .depth = 1, .glob = "[ab]"}, "a|b"},
        {{.kind = FAN_DIRECTORIES, .depth = 2}, "a/y|a/z|b/x"},
        {{.kind = FAN_DIRECTORIES, .depth = 3}, ""},
        {{.kind = FAN_GLOB, .glob = "*.txt"}, "top.txt"},
        {{.kind = FAN_GLOB, .glob = "a/*/*.txt"}, "a/y/2.txt"},
        {{.kind = FAN_GLOB, .glob = "nothing"}, ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(fans); i++) {
        OWN_STRING names = names_of(&fans[i].fan, root);
        CHECK_TEXT(names, fans[i].names);
    }
    struct fan deep = {.kind = FAN_GLOB, .glob = "**/*.txt"};
    OWN_STRING names = names_of(&deep, root);
    CHECK(strstr(names, "a/y/2.txt") && strstr(names, "b/x/1.txt") && strstr(names, "top.txt"));
    CHECK(!strstr(names, "3.dat"));
    CHECK(tree_remove(AT_FDCWD, root, NULL) == 0);
}

TEST(files_that_are_not_dicom_are_counted_and_left_out) {
    OWN_STRING root = scratch();
    OWN_STRING note = path_join(root, "note.txt");
    struct fan fan = {.kind = FAN_DICOM, .level = DICOM_STUDY};
    CLEANUP(partition_list_release) struct partition_list list = {0};
    CHECK(file_write_atomic(AT_FDCWD, note, "DICM", 4, 0644, NULL) == 0);
    OWN_MANIFEST manifest = manifest_build(root, MANIFEST_NAMES_ONLY, NULL, NULL);
    REQUIRE(manifest);
    CHECK(partition_list_make(&fan, root, manifest, &list, NULL) == 0);
    CHECK_INTEGER(list.count, 0);
    CHECK_INTEGER(list.ignored, 1);
    CHECK(tree_remove(AT_FDCWD, root, NULL) == 0);
}

TEST(names_are_checked_and_sorted) {
    CLEANUP(partition_list_release) struct partition_list list = {0};
    char large[1100];
    memset(large, 'x', sizeof(large));
    large[1001] = '\0';
    OWN_ERROR one = NULL;
    OWN_ERROR two = NULL;
    OWN_ERROR three = NULL;
    CHECK(partition_list_add(&list, large, "", json_null(), &one) < 0 && one->code == ERROR_LIMIT);
    CHECK(partition_list_add(&list, "", "", json_null(), &two) < 0 && two->code == ERROR_INVALID);
    CHECK(partition_list_add(&list, "\xff", "", json_null(), &three) < 0);
    large[1000] = '\0';
    CHECK(partition_list_add(&list, large, "p", json_integer(1), NULL) == 0);
    CHECK(partition_list_add(&list, "b", "", json_integer(2), NULL) == 0);
    CHECK(partition_list_add(&list, "B", "", json_integer(3), NULL) == 0);
    CHECK(partition_list_finish(&list, NULL) == 0);
    CHECK_TEXT(list.items[0].name, "B");
    CHECK_TEXT(list.items[2].path, "p");
    CHECK(partition_list_add(&list, "b", "", json_integer(4), NULL) == 0);
    OWN_ERROR error = NULL;
    CHECK(partition_list_finish(&list, &error) < 0 && error->code == ERROR_INVALID);
}

TAP_MAIN
