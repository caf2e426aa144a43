/* Every allocation and every system call of base, made to fail in turn. */
#include "faults.h"
#include "tap.h"

#include <fcntl.h>
#include <sys/stat.h>

static int write_text(const char *folder, const char *name, const char *text, struct error **err) {
    OWN_STRING path = path_join(folder, name);
    return path ? file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644, err)
                : error_set_memory(err);
}

static int read_back(const char *folder, const char *name, struct buffer *out, struct error **err) {
    OWN_STRING path = path_join(folder, name);
    return path ? file_read_all(AT_FDCWD, path, 1 << 20, out, err) : error_set_memory(err);
}

static int write_and_read(const char *scratch, struct buffer *out, struct error **err) {
    if (write_text(scratch, "one", "some text\n", err) < 0 ||
        write_text(scratch, "one", "another text\n", err) < 0)
        return -1;
    return read_back(scratch, "one", out, err);
}

TEST(a_file_is_written_whole_or_not_at_all) {
    CHECK(faults_try("write", write_and_read) > 20);
}

static int copy_file(const char *scratch, struct buffer *out, struct error **err) {
    OWN_STRING from = path_join(scratch, "from");
    OWN_STRING to = path_join(scratch, "deep/er/to");
    OWN_STRING folder = path_join(scratch, "deep/er");
    uint8_t digest[SHA256_SIZE];
    uint64_t size = 0;
    if (!from || !to || !folder)
        return error_set_memory(err);
    if (write_text(scratch, "from", "copied", err) < 0 ||
        directory_make(AT_FDCWD, folder, 0755, err) < 0 ||
        file_copy(AT_FDCWD, from, AT_FDCWD, to, 0600, err) < 0 ||
        sha256_file(AT_FDCWD, to, digest, &size, err) < 0)
        return -1;
    char text[SHA256_HEX_SIZE];
    hex_encode(digest, sizeof(digest), text);
    buffer_format(out, "%s %llu ", text, (unsigned long long)size);
    if (buffer_check(out, err) < 0)
        return -1;
    return read_back(scratch, "deep/er/to", out, err);
}

TEST(a_copy_is_whole_or_not_there) {
    CHECK(faults_try("copy", copy_file) > 20);
}

static int list_entry(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                      struct error **err) {
    struct buffer *out = context;
    (void)verdict;
    buffer_format(out, "%s %lld\n", entry->path,
                  S_ISREG(entry->status->st_mode) ? (long long)entry->status->st_size : -1);
    return buffer_check(out, err);
}

static int make_tree(const char *scratch, struct error **err) {
    OWN_STRING folder = path_join(scratch, "tree/b");
    if (!folder)
        return error_set_memory(err);
    return directory_make(AT_FDCWD, folder, 0755, err) < 0 ||
                   write_text(scratch, "tree/a", "a", err) < 0 ||
                   write_text(scratch, "tree/b/c", "cc", err) < 0 ||
                   write_text(scratch, "tree/b/d", "ddd", err) < 0
               ? -1
               : 0;
}

static int link_and_copy(const char *scratch, struct buffer *out, struct error **err) {
    OWN_STRING tree = path_join(scratch, "tree");
    OWN_STRING linked = path_join(scratch, "linked");
    OWN_STRING copied = path_join(scratch, "copied");
    if (!tree || !linked || !copied)
        return error_set_memory(err);
    if (make_tree(scratch, err) < 0 || tree_link(AT_FDCWD, tree, AT_FDCWD, linked, err) < 0 ||
        tree_copy(AT_FDCWD, tree, AT_FDCWD, copied, err) < 0 ||
        tree_remove(AT_FDCWD, tree, err) < 0)
        return -1;
    buffer_append(out, file_exists(AT_FDCWD, tree) ? "still there\n" : "gone\n");
    if (buffer_check(out, err) < 0)
        return -1;
    return tree_walk(AT_FDCWD, scratch, list_entry, out, err);
}

TEST(trees_are_whole_or_an_error_says_so) {
    CHECK(faults_try("trees", link_and_copy) > 60);
}

static int resolve(const char *scratch, struct buffer *out, struct error **err) {
    if (make_tree(scratch, err) < 0)
        return -1;
    OWN_STRING inside = path_resolve_beneath(scratch, "tree/../tree/b/c", err);
    OWN_STRING whole = inside ? path_resolve(scratch, err) : NULL;
    OWN_STRING name = whole ? text_safe_name("Müller/Ö") : NULL;
    if (inside && whole && !name)
        return error_set_memory(err);
    if (!name)
        return -1;
    buffer_format(out, "%s %d %s", inside, text_equal(whole, scratch), name);
    return buffer_check(out, err);
}

TEST(paths_are_resolved_or_not) {
    CHECK(faults_try("paths", resolve) > 20);
}

static int go_through_json(const char *scratch, struct buffer *out, struct error **err) {
    static const char text[] = "{\"b\": [1, 2.5, \"three\", null, true], \"a\": {\"x\": \"y\"}}";
    if (write_text(scratch, "x.json", text, err) < 0)
        return -1;
    OWN_STRING path = path_join(scratch, "x.json");
    if (!path)
        return error_set_memory(err);
    OWN_JSON json = json_read_file(AT_FDCWD, path, 4096, err);
    OWN_STRING canonical = json ? json_canonical(json, err) : NULL;
    if (!canonical)
        return -1;
    buffer_append(out, canonical);
    json_append_string(out, "a \"quoted\" word\n");
    return buffer_check(out, err);
}

TEST(json_is_read_whole_or_not_at_all) {
    CHECK(faults_try("json", go_through_json) > 30);
}

static int use_memory(const char *scratch, struct buffer *out, struct error **err) {
    (void)scratch;
    OWN_MEMORY(int) items = NULL;
    size_t capacity = 0;
    for (size_t i = 0; i < 40; i++) {
        if (array_reserve(&items, &capacity, i, sizeof(*items), 1000, err) < 0)
            return -1;
        items[i] = (int)i;
    }
    struct arena *arena = arena_new(1 << 20);
    const char *text = arena ? arena_format(arena, "%d and %s", items[39], "text") : NULL;
    const char *large = text ? arena_copy_bytes(arena, "x", 1) : NULL;
    const void *block = large ? arena_allocate(arena, 50000) : NULL;
    if (block)
        buffer_format(out, "%s %s %400d", text, large, 1);
    arena_free(arena);
    text_format_duration(out, 125000);
    text_append_printable(out, "a\nb\x1b");
    return block ? buffer_check(out, err) : error_set_memory(err);
}

TEST(arrays_arenas_and_buffers) {
    CHECK(faults_try("memory", use_memory) > 8);
}

static int read_texts(const char *scratch, struct buffer *out, struct error **err) {
    (void)scratch;
    int64_t duration = 0, integer = 0;
    uint64_t size = 0;
    double number = 0;
    if (text_parse_duration("2h", &duration, err) < 0 || text_parse_size("4GiB", &size, err) < 0 ||
        text_parse_integer("42", 0, 100, &integer, err) < 0 ||
        text_parse_number("2.5", &number, err) < 0)
        return -1;
    /* A wrong one: its error must come, or say that there is no memory for it. */
    OWN_ERROR wrong = NULL;
    if (text_parse_size("four", &size, &wrong) == 0 || !wrong)
        buffer_append(out, "no error");
    else if (wrong->code == ERROR_MEMORY)
        return error_move(err, take(&wrong));
    error_wrap(&wrong, "in %s", "context");
    buffer_format(out, "%lld %lld %g", (long long)duration, (long long)integer, number);
    return buffer_check(out, err);
}

TEST(texts_are_read) {
    CHECK(faults_try("texts", read_texts) > 3);
}

TAP_MAIN
