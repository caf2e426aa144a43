#include "data/data.h"
#include "tap.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char *scratch(void) {
    char *path = memory_copy_string("/tmp/glovebox-test-XXXXXX");
    return path && mkdtemp(path) ? path : NULL;
}

static void put(const char *root, const char *path, const char *text) {
    OWN_STRING full = path_join(root, path);
    OWN_STRING parent = memory_copy_bytes(full, (size_t)(path_base_name(full) - full));
    CHECK(directory_make(AT_FDCWD, parent, 0755, NULL) == 0);
    CHECK(file_write_atomic(AT_FDCWD, full, text, strlen(text), 0644, NULL) == 0);
}

static bool digest_of(const char *root, const char *path, char text[SHA256_HEX_SIZE]) {
    OWN_MANIFEST manifest = manifest_build(root, 0, NULL, NULL);
    uint8_t digest[SHA256_SIZE];
    if (!manifest || !manifest_digest(manifest, path, digest))
        return false;
    hex_encode(digest, sizeof(digest), text);
    return true;
}

TEST(a_digest_depends_on_names_contents_and_the_executable_bit) {
    OWN_STRING root = scratch();
    OWN_STRING file = path_join(root, "a/one");
    char before[SHA256_HEX_SIZE], now[SHA256_HEX_SIZE];
    put(root, "a/one", "1");
    put(root, "b", "2");
    REQUIRE(digest_of(root, "", before));
    const struct timespec times[2] = {{1, 0}, {1, 0}};
    CHECK(utimensat(AT_FDCWD, file, times, 0) == 0);
    CHECK(digest_of(root, "", now));
    CHECK_TEXT(now, before);
    CHECK(chmod(file, 0600) == 0);
    CHECK(digest_of(root, "", now));
    CHECK_TEXT(now, before);
    CHECK(chmod(file, 0700) == 0);
    CHECK(digest_of(root, "", now) && strcmp(now, before) != 0);
    CHECK(chmod(file, 0644) == 0);
    put(root, "a/one", "x");
    CHECK(digest_of(root, "", now) && strcmp(now, before) != 0);
    put(root, "a/one", "1");
    CHECK(digest_of(root, "", now));
    CHECK_TEXT(now, before);
    OWN_STRING moved = path_join(root, "a/two");
    CHECK(rename(file, moved) == 0);
    CHECK(digest_of(root, "", now) && strcmp(now, before) != 0);
    CHECK(tree_remove(AT_FDCWD, root, NULL) == 0);
}

TEST(a_part_has_the_digest_of_the_same_tree_elsewhere) {
    OWN_STRING one = scratch();
    OWN_STRING two = scratch();
    char a[SHA256_HEX_SIZE], b[SHA256_HEX_SIZE];
    put(one, "deep/er/x/f", "1");
    put(one, "deep/er/x/g/h", "2");
    put(one, "deep/er/x y/f", "3"); /* its name begins like x */
    put(one, "deep/er/x-/f", "4");
    put(two, "f", "1");
    put(two, "g/h", "2");
    REQUIRE(digest_of(one, "deep/er/x", a) && digest_of(two, "", b));
    CHECK_TEXT(a, b);
    CHECK(!digest_of(one, "deep/e", a) && !digest_of(one, "deep/er/x/", a));
    CHECK(tree_remove(AT_FDCWD, one, NULL) == 0);
    CHECK(tree_remove(AT_FDCWD, two, NULL) == 0);
}

TEST(trees_that_differ_only_in_their_shape_differ) {
    OWN_STRING one = scratch();
    OWN_STRING two = scratch();
    char a[SHA256_HEX_SIZE], b[SHA256_HEX_SIZE];
    put(one, "ab", "c");
    put(two, "a", "bc");
    CHECK(digest_of(one, "", a) && digest_of(two, "", b) && strcmp(a, b) != 0);
    CHECK(tree_remove(AT_FDCWD, one, NULL) == 0 && tree_remove(AT_FDCWD, two, NULL) == 0);
    CHECK(directory_make(AT_FDCWD, one, 0755, NULL) == 0);
    CHECK(directory_make(AT_FDCWD, two, 0755, NULL) == 0);
    OWN_STRING empty = path_join(two, "empty");
    CHECK(mkdir(empty, 0755) == 0);
    CHECK(digest_of(one, "", a) && digest_of(two, "", b) && strcmp(a, b) != 0);
    CHECK(tree_remove(AT_FDCWD, one, NULL) == 0 && tree_remove(AT_FDCWD, two, NULL) == 0);
}

TEST(every_entry_is_found_whatever_its_name) {
    OWN_STRING root = scratch();
    static const char *const names[] = {"a",       "a b",     "a-b", "a.b",    "a/b",      "a0",
                                        "a\nb",    "a\\nb",   "a\\", "A",      "\xc3\xa9", "-",
                                        "a/b.c/d", "a/b/c/d", "~",   "a/b c/d"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        OWN_STRING path = memory_format("%s.x", names[i]);
        put(root, path, names[i]);
    }
    OWN_MANIFEST manifest = manifest_build(root, 0, NULL, NULL);
    REQUIRE(manifest);
    CHECK(manifest_write(manifest, AT_FDCWD, "/tmp/glovebox-test-manifest", NULL) == 0);
    OWN_MANIFEST again = manifest_read(AT_FDCWD, "/tmp/glovebox-test-manifest", NULL);
    REQUIRE(again);
    CHECK_INTEGER(again->count, manifest->count);
    CHECK_INTEGER(again->bytes, manifest->bytes);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        OWN_STRING path = memory_format("%s.x", names[i]);
        const struct manifest_entry *entry = manifest_find(again, path);
        if (!CHECK(entry))
            continue;
        uint8_t digest[SHA256_SIZE];
        sha256_of(names[i], strlen(names[i]), digest);
        CHECK(memcmp(entry->digest, digest, sizeof(digest)) == 0);
        CHECK(entry->kind == ENTRY_FILE && entry->size == strlen(names[i]) && !entry->executable);
    }
    uint8_t a[SHA256_SIZE], b[SHA256_SIZE];
    CHECK(manifest_digest(manifest, "", a) && manifest_digest(again, "", b));
    CHECK(memcmp(a, b, sizeof(a)) == 0);
    CHECK(!manifest_find(again, "b") && !manifest_find(again, "a/b.c/"));
    CHECK(unlink("/tmp/glovebox-test-manifest") == 0);
    CHECK(tree_remove(AT_FDCWD, root, NULL) == 0);
}

TEST(a_link_is_hashed_and_not_followed) {
    OWN_STRING root = scratch();
    OWN_STRING link = path_join(root, "link");
    CHECK(symlink("/etc/passwd", link) == 0);
    OWN_MANIFEST manifest = manifest_build(root, MANIFEST_STRICT, NULL, NULL);
    REQUIRE(manifest && manifest->count == 1);
    uint8_t digest[SHA256_SIZE];
    sha256_of("/etc/passwd", strlen("/etc/passwd"), digest);
    CHECK(manifest->entries[0].kind == ENTRY_LINK);
    CHECK(memcmp(manifest->entries[0].digest, digest, sizeof(digest)) == 0);
    CHECK(tree_remove(AT_FDCWD, root, NULL) == 0);
}

TEST(strict_refuses_what_is_no_data) {
    static const mode_t kinds[] = {S_IFIFO | 0600, S_IFSOCK | 0600, S_IFREG | S_ISUID | 0755,
                                   S_IFREG | S_ISGID | 0755};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        OWN_STRING root = scratch();
        OWN_STRING odd = path_join(root, "odd");
        OWN_ERROR error = NULL;
        CHECK(mknod(odd, kinds[i] & ~(mode_t)07000, 0) == 0);
        CHECK(chmod(odd, kinds[i] & 07777) == 0);
        OWN_MANIFEST manifest = manifest_build(root, MANIFEST_STRICT, NULL, &error);
        CHECK(!manifest && error && error->code == ERROR_DENIED);
        OWN_MANIFEST tolerant = manifest_build(root, 0, NULL, NULL);
        CHECK(tolerant && tolerant->count == (S_ISREG(kinds[i]) ? 1 : 0));
        CHECK(tree_remove(AT_FDCWD, root, NULL) == 0);
    }
}

TEST(a_damaged_manifest_is_said_to_be_damaged) {
    static const char digest[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static const char *const lines[] = {
        "f", "f 0644", "f 0644 1 12 a", "f 0644 x %s a\n", "f 0644 -1 %s a\n", "nonsense\n"};
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        OWN_BUFFER text = {0};
        const char *at = strstr(lines[i], "%s");
        buffer_append_bytes(&text, lines[i], at ? (size_t)(at - lines[i]) : strlen(lines[i]));
        if (at) {
            buffer_append(&text, digest);
            buffer_append(&text, at + 2);
        }
        OWN_STRING root = scratch();
        OWN_STRING path = path_join(root, "m");
        OWN_ERROR error = NULL;
        CHECK(file_write_atomic(AT_FDCWD, path, buffer_text(&text), text.size, 0644, NULL) == 0);
        OWN_MANIFEST manifest = manifest_read(AT_FDCWD, path, &error);
        CHECK(!manifest && error);
        CHECK(tree_remove(AT_FDCWD, root, NULL) == 0);
    }
}

TEST(the_cache_remembers_only_what_did_not_change) {
    OWN_STRING root = scratch();
    OWN_STRING folder = path_join(root, "data");
    OWN_STRING database = path_join(root, "a.db");
    OWN_STRING file = path_join(folder, "f");
    static const char *const scripts[] = {digests_sql};
    struct store_migrations migrations = {scripts, 1};
    OWN_STORE store = NULL;
    char first[SHA256_HEX_SIZE], plain[SHA256_HEX_SIZE], cached[SHA256_HEX_SIZE];
    put(folder, "f", "1");
    REQUIRE(store_open(database, &migrations, 0, &store, NULL) == 0);
    CHECK(digest_of(folder, "", first));
    usleep(2100000); /* younger files are not trusted */
    for (int round = 0; round < 3; round++) {
        if (round == 2) {
            struct stat status;
            CHECK(stat(file, &status) == 0);
            int fd = open(file, O_WRONLY | O_CLOEXEC); /* in place: same inode, same size */
            CHECK(write(fd, "2", 1) == 1 && close(fd) == 0);
            const struct timespec times[2] = {status.st_atim, status.st_mtim};
            CHECK(utimensat(AT_FDCWD, file, times, 0) == 0);
        }
        struct digest_cache *cache = digest_cache_load(store, folder, NULL);
        REQUIRE(cache);
        OWN_MANIFEST manifest = manifest_build(folder, 0, cache, NULL);
        REQUIRE(manifest);
        uint8_t digest[SHA256_SIZE];
        CHECK(manifest_digest(manifest, "", digest));
        hex_encode(digest, sizeof(digest), cached);
        CHECK(digest_of(folder, "", plain));
        CHECK_TEXT(cached, plain);
        CHECK((strcmp(cached, first) == 0) == (round < 2));
        CHECK(digest_cache_save(store, cache, NULL) == 0);
        digest_cache_free(cache);
    }
    int64_t rows = 0;
    CHECK(store_integer(store, 0, &rows, NULL, "SELECT count(*) FROM file_digest", "") == 0);
    CHECK_INTEGER(rows, 1);
    store_close(take(&store));
    CHECK(tree_remove(AT_FDCWD, root, NULL) == 0);
}

TEST(what_is_not_there) {
    OWN_ERROR error = NULL;
    OWN_MANIFEST manifest = manifest_build("/no/such/folder", 0, NULL, &error);
    CHECK(!manifest && error && error->code == ERROR_NOT_FOUND);
}

TAP_MAIN
