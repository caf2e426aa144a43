#include "base/base.h"
#include "tap.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *scratch(void) {
    char *path = memory_copy_string("/tmp/glovebox-test-XXXXXX");
    return path && mkdtemp(path) ? path : NULL;
}

TEST(atomic_write_replaces_whole) {
    OWN_STRING root = scratch();
    REQUIRE(root);
    OWN_STRING path = path_join(root, "state.json");
    CHECK(file_write_atomic(AT_FDCWD, path, "one", 3, 0600, NULL) == 0);
    CHECK(file_write_atomic(AT_FDCWD, path, "three", 5, 0600, NULL) == 0);
    OWN_BUFFER text = {0};
    CHECK(file_read_all(AT_FDCWD, path, 100, &text, NULL) == 0);
    CHECK_TEXT(buffer_text(&text), "three");
    OWN_ERROR error = NULL;
    OWN_BUFFER small = {0};
    CHECK(file_read_all(AT_FDCWD, path, 3, &small, &error) < 0);
    CHECK(error && error->code == ERROR_LIMIT);
    CHECK(tree_remove(AT_FDCWD, root, NULL) == 0);
    CHECK(!file_exists(AT_FDCWD, root));
}

TEST(safe_relative_paths) {
    CHECK(path_is_safe_relative("a/b"));
    CHECK(path_is_safe_relative("a/b/"));
    CHECK(!path_is_safe_relative(""));
    CHECK(!path_is_safe_relative("/a"));
    CHECK(!path_is_safe_relative("a/../b"));
    CHECK(!path_is_safe_relative("./a"));
    CHECK(!path_is_safe_relative("a//b"));
    CHECK(path_is_safe_relative("..a/b.."));
}

static int collect(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                   struct error **err) {
    struct buffer *list = context;
    buffer_format(list, "%s%s ", entry->path, S_ISDIR(entry->status->st_mode) ? "/" : "");
    if (text_equal(entry->name, "skip"))
        *verdict = TREE_SKIP;
    return 0;
}

TEST(walks_in_order_and_links_without_following) {
    OWN_STRING root = scratch();
    REQUIRE(root);
    OWN_FD fd = file_open(AT_FDCWD, root, O_RDONLY | O_DIRECTORY, 0, NULL);
    REQUIRE(fd >= 0);
    CHECK(directory_make(fd, "from/b/deep", 0755, NULL) == 0);
    CHECK(directory_make(fd, "from/skip/x", 0755, NULL) == 0);
    CHECK(file_write_atomic(fd, "from/b/file", "1", 1, 0644, NULL) == 0);
    CHECK(file_write_atomic(fd, "from/a", "2", 1, 0644, NULL) == 0);
    CHECK(symlinkat("/etc/passwd", fd, "from/out") == 0);
    CHECK(symlinkat("../a", fd, "from/b/in") == 0);
    OWN_BUFFER list = {0};
    CHECK(tree_walk(fd, "from", collect, &list, NULL) == 0);
    CHECK_TEXT(buffer_text(&list), "a b/ b/deep/ b/file b/in out skip/ ");

    CHECK(tree_link(fd, "from", fd, "to", NULL) == 0);
    struct stat a, b;
    CHECK(fstatat(fd, "from/a", &a, 0) == 0 && fstatat(fd, "to/a", &b, 0) == 0);
    CHECK(a.st_ino == b.st_ino);
    CHECK(fstatat(fd, "to/out", &a, AT_SYMLINK_NOFOLLOW) < 0);
    CHECK(fstatat(fd, "to/b/in", &a, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(a.st_mode));
    CHECK(tree_remove(AT_FDCWD, root, NULL) == 0);
}

static void check_beneath(const char *root, const char *path, const char *expected,
                          enum error_code code) {
    OWN_ERROR error = NULL;
    OWN_STRING inside = path_resolve_beneath(root, path, &error);
    CHECK_TEXT(inside, expected);
    if (!expected && CHECK(error != NULL))
        CHECK_INTEGER(error->code, code);
}

TEST(paths_are_resolved_beneath_their_root) {
    OWN_STRING root = scratch();
    REQUIRE(root);
    OWN_FD fd = file_open(AT_FDCWD, root, O_RDONLY | O_DIRECTORY, 0, NULL);
    REQUIRE(fd >= 0);
    CHECK(directory_make(fd, "a/b", 0755, NULL) == 0);
    CHECK(file_write_atomic(fd, "a/b/file", "1", 1, 0644, NULL) == 0);
    CHECK(symlinkat("b/file", fd, "a/inside") == 0);
    CHECK(symlinkat("../..", fd, "a/up") == 0);
    CHECK(symlinkat("/etc", fd, "a/absolute") == 0);
    CHECK(symlinkat("loop", fd, "loop") == 0);
    check_beneath(root, "", "", 0);
    check_beneath(root, "a/b/file", "a/b/file", 0);
    check_beneath(root, "a/inside", "a/b/file", 0);
    check_beneath(root, "a/..", "", 0);
    check_beneath(root, "..", NULL, ERROR_DENIED);
    check_beneath(root, "a/up", NULL, ERROR_DENIED);
    check_beneath(root, "a/absolute", NULL, ERROR_DENIED);
    check_beneath(root, "a/absolute/passwd", NULL, ERROR_DENIED);
    check_beneath(root, "/etc", NULL, ERROR_DENIED);
    check_beneath(root, "none", NULL, ERROR_NOT_FOUND);
    check_beneath(root, "loop", NULL, ERROR_IO);
    CHECK(tree_remove(AT_FDCWD, root, NULL) == 0);
}

TEST(processes_are_spawned_and_told_apart) {
    static const char *const argv[] = {"/bin/sh", "-c", "exit 7", NULL};
    struct process_options options = {.argv = argv, .input = -1, .output = -1, .error = -1};
    pid_t pid = 0;
    REQUIRE(process_spawn(&options, &pid, NULL) == 0);
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    CHECK(process_start_time(getpid()) > 0);
    CHECK(process_start_time(0x3fffffff) == 0);
    enum cause cause;
    CHECK(cause_parse("out_of_memory", &cause, NULL) == 0 && cause == CAUSE_OUT_OF_MEMORY);
    OWN_ERROR error = NULL;
    CHECK(cause_parse("out_of_memroy", &cause, &error) < 0);
    CHECK(error && error->hint && strstr(error->hint, "out_of_memory"));
}

TAP_MAIN
