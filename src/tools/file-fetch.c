/* glovebox tool file-fetch: files from where they are into the pipeline. */
#include "tools/private-tools.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct wanted_file { /* a line of the SHA-256 list */
    char *path;
    uint8_t digest[SHA256_SIZE];
    bool seen;
};
#define MAXIMUM_WANTED 1000000

struct fetcher {
    const char *glob;
    struct wanted_file *wanted;
    size_t wanted_count, wanted_capacity;
    bool has_list;
    uint64_t bytes;
    json_t *files;
};

static const struct tool_option options[] = {
    {"glob", "PATTERN", "only files whose path below INPUT matches; ** crosses folders", "**"},
    {"sha256", "FILE",
     "a list as sha256sum writes it: only these files are fetched, each must be there and must "
     "have its digest",
     NULL},
    TOOL_BATCH_OPTIONS,
};

static void fetcher_release(struct fetcher *self) {
    for (size_t i = 0; i < self->wanted_count; i++)
        memory_free(self->wanted[i].path);
    memory_free(self->wanted);
}

/* "<64 hex digits>  path" or "<64 hex digits> *path". */
static int parse_line(struct fetcher *self, const char *line, size_t size, size_t number,
                      struct error **err) {
    if (size == 0 || line[0] == '#')
        return 0;
    if (size < 67 || line[64] != ' ' || (line[65] != ' ' && line[65] != '*'))
        return error_set(err, ERROR_INVALID, "the SHA-256 list's line %zu is not one", number);
    if (array_reserve(&self->wanted, &self->wanted_capacity, self->wanted_count,
                      sizeof(*self->wanted), MAXIMUM_WANTED, err) != 0)
        return -1;
    struct wanted_file *wanted = &self->wanted[self->wanted_count];
    OWN_STRING hex = memory_copy_bytes(line, 64);
    const char *path = line + 66;
    size_t length = size - 66;
    if (length > 2 && path[0] == '.' && path[1] == '/') {
        path += 2;
        length -= 2;
    }
    *wanted = (struct wanted_file){.path = memory_copy_bytes(path, length)};
    if (!hex || !wanted->path)
        return error_set_memory(err);
    self->wanted_count++;
    if (hex_decode(hex, wanted->digest, SHA256_SIZE, NULL) != 0)
        return error_set(err, ERROR_INVALID, "the SHA-256 list's line %zu has no digest", number);
    if (!path_is_safe_relative(wanted->path))
        return error_set(err, ERROR_INVALID, "the SHA-256 list's line %zu leaves the input",
                         number);
    return 0;
}

static int compare_wanted(const void *a, const void *b) {
    return strcmp(((const struct wanted_file *)a)->path, ((const struct wanted_file *)b)->path);
}

static int load_list(struct fetcher *self, const char *path, struct error **err) {
    OWN_BUFFER text = {0};
    if (!path)
        return 0;
    self->has_list = true;
    if (file_read_all(AT_FDCWD, path, BUFFER_DEFAULT_MAXIMUM, &text, err) != 0)
        return -1;
    const char *line = buffer_text(&text);
    for (size_t number = 1; *line; number++) {
        size_t size = strcspn(line, "\r\n");
        if (parse_line(self, line, size, number, err) != 0)
            return -1;
        line += size;
        line += *line == '\r';
        line += *line == '\n';
    }
    if (self->wanted_count)
        qsort(self->wanted, self->wanted_count, sizeof(self->wanted[0]), compare_wanted);
    return 0;
}

static struct wanted_file *find_wanted(struct fetcher *self, const char *path) {
    struct wanted_file key = {.path = (char *)(uintptr_t)path};
    return self->wanted_count ? bsearch(&key, self->wanted, self->wanted_count,
                                        sizeof(self->wanted[0]), compare_wanted)
                              : NULL;
}

/* Copies and hashes in one pass. */
static int copy_hashed(int from, int to, uint8_t digest[SHA256_SIZE], uint64_t *ret_size,
                       struct error **err) {
    CLEANUP(sha256_cleanup) struct sha256 *hash = sha256_new();
    OWN_MEMORY(char) block = memory_allocate(1 << 18);
    if (!hash || !block)
        return error_set_memory(err);
    for (*ret_size = 0;;) {
        ssize_t got = read(from, block, 1 << 18);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(err, errno, "cannot read the file");
        if (got == 0)
            break;
        sha256_add(hash, block, (size_t)got);
        if (file_write_all(to, block, (size_t)got, err) != 0)
            return -1;
        *ret_size += (uint64_t)got;
    }
    sha256_finish(hash, digest);
    return 0;
}

static int fetch_to(struct batch *batch, const struct wanted_file *wanted, const char *partial,
                    struct error **err) {
    struct fetcher *self = batch->context;
    uint8_t digest[SHA256_SIZE];
    char hex[SHA256_HEX_SIZE];
    uint64_t size = 0;
    OWN_FD from =
        openat(batch->directory, batch->name,
               O_RDONLY | O_CLOEXEC | O_NONBLOCK | (batch->directory < 0 ? 0 : O_NOFOLLOW));
    if (from < 0)
        return error_set_errno(err, errno, "cannot open the file");
    OWN_FD to = file_open(batch->output, partial, O_WRONLY | O_CREAT | O_TRUNC, 0644, err);
    if (to < 0 || copy_hashed(from, to, digest, &size, err) != 0)
        return -1;
    if (wanted && memcmp(wanted->digest, digest, sizeof(digest)) != 0)
        return error_set(err, ERROR_INVALID, "its SHA-256 is not the one of the list");
    if (renameat(batch->output, partial, batch->output, batch->path) != 0)
        return error_set_errno(err, errno, "cannot name the file");
    hex_encode(digest, sizeof(digest), hex);
    self->bytes += size;
    OWN_BUFFER name = {0};
    text_append_printable(&name, batch->path);
    json_t *entry = json_pack("{s:s, s:I, s:s}", "file", buffer_text(&name), "size",
                              (json_int_t)size, "sha256", hex);
    return json_array_append_new(self->files, entry) == 0 ? BATCH_DONE : error_set_memory(err);
}

static int fetch_one(struct batch *batch, struct error **err) {
    struct fetcher *self = batch->context;
    struct wanted_file *wanted = find_wanted(self, batch->path);
    if ((self->has_list && !wanted) || !text_glob_match(self->glob, batch->path))
        return BATCH_SKIPPED;
    if (wanted)
        wanted->seen = true;
    const char *slash = strrchr(batch->path, '/');
    if (slash) {
        OWN_STRING folder = memory_copy_bytes(batch->path, (size_t)(slash - batch->path));
        if (!folder)
            return error_set_memory(err);
        if (directory_make(batch->output, folder, 0755, err) != 0)
            return -1;
    }
    OWN_STRING partial = memory_format("%s.partial", batch->path);
    if (!partial)
        return error_set_memory(err);
    int result = fetch_to(batch, wanted, partial, err);
    if (result < 0)
        unlinkat(batch->output, partial, 0);
    return result;
}

static int note_missing(struct batch *batch, struct fetcher *self, struct error **err) {
    for (size_t i = 0; i < self->wanted_count; i++) {
        if (self->wanted[i].seen || !text_glob_match(self->glob, self->wanted[i].path))
            continue;
        batch->broken++;
        OWN_BUFFER name = {0};
        text_append_printable(&name, self->wanted[i].path);
        json_t *entry = json_pack("{s:s, s:s}", "file", buffer_text(&name), "reason",
                                  "it is in the SHA-256 list but not in the input");
        if (json_array_append_new(batch->failed, entry) != 0)
            return error_set_memory(err);
        if (tool_switch(batch->call, "strict"))
            return error_set(err, ERROR_NOT_FOUND, "line %zu of the list: no such file", i + 1);
    }
    return 0;
}

static int fetch_all(struct batch *batch, struct fetcher *self, struct error **err) {
    const struct tool_call *call = batch->call;
    if (load_list(self, tool_value(call, "sha256"), err) != 0 ||
        batch_open(batch, call, err) != 0 || batch_walk(batch, err) != 0 ||
        note_missing(batch, self, err) != 0)
        return -1;
    if (json_object_set(batch->result, "files", self->files) != 0 ||
        json_object_set_new(batch->result, "bytes", json_integer((json_int_t)self->bytes)) != 0)
        return error_set_memory(err);
    return batch_finish(batch, err);
}

static int run(const struct tool_call *call, struct error **err) {
    OWN_JSON files = json_array();
    struct fetcher self = {.glob = tool_value(call, "glob"), .files = files};
    OWN_BATCH batch = {
        .call = call, .kind = "matching file", .each = fetch_one, .context = &self, .output = -1};
    if (!files)
        return error_set_memory(err);
    int result = fetch_all(&batch, &self, err);
    fetcher_release(&self);
    return result;
}

const struct tool tool_file_fetch = {
    .name = "file-fetch",
    .summary = "Copies chosen files, checking their digests",
    .input = "a file, or a directory",
    .output = "the files, in the same folders, and result.json with their sizes and digests",
    .help = "Symbolic links are not followed. A file appears under its name only when it is "
            "complete and, with --sha256, has the digest that the list gives.",
    .options = options,
    .option_count = ARRAY_SIZE(options),
    .run = run,
};
