/* Manifests: the files of a folder with sizes and digests, and what is the same. */
#include "digest-cache.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct build {
    struct manifest *manifest;
    struct digest_cache *cache;
    unsigned flags;
};

static struct manifest *manifest_new(struct error **err) {
    struct manifest *manifest = memory_allocate(sizeof(*manifest));
    if (manifest)
        manifest->arena = arena_new(MANIFEST_MAXIMUM_MEMORY);
    if (!manifest || !manifest->arena) {
        manifest_free(manifest);
        error_set_memory(err);
        return NULL;
    }
    return manifest;
}

void manifest_free(struct manifest *manifest) {
    if (!manifest)
        return;
    arena_free(manifest->arena);
    memory_free(manifest->entries);
    memory_free(manifest);
}

void manifest_cleanup(struct manifest **manifest) {
    manifest_free(*manifest);
    *manifest = NULL;
}

static struct manifest_entry *add(struct manifest *manifest, const char *path, struct error **err) {
    if (array_reserve(&manifest->entries, &manifest->capacity, manifest->count,
                      sizeof(*manifest->entries), MANIFEST_MAXIMUM_ENTRIES, err) < 0)
        return NULL;
    struct manifest_entry *entry = &manifest->entries[manifest->count];
    memset(entry, 0, sizeof(*entry));
    entry->path = arena_copy_string(manifest->arena, path);
    if (!entry->path) {
        error_set_memory(err);
        return NULL;
    }
    manifest->count++;
    return entry;
}

static int64_t modified_of(const struct stat *status) {
    return (int64_t)status->st_mtim.tv_sec * 1000000000 + status->st_mtim.tv_nsec;
}

static int add_file(struct build *build, int directory, const char *name, const char *path,
                    const struct stat *status, struct error **err) {
    struct manifest_entry *entry = add(build->manifest, path, err);
    if (!entry)
        return -1;
    entry->kind = ENTRY_FILE;
    entry->executable = status->st_mode & 0111;
    entry->size = (uint64_t)status->st_size;
    entry->modified = modified_of(status);
    build->manifest->bytes += entry->size;
    if (build->flags & MANIFEST_NAMES_ONLY)
        return 0;
    if (build->cache && digest_cache_find(build->cache, path, status, entry->digest))
        return 0;
    if (sha256_file(directory, name, entry->digest, &entry->size, err) < 0)
        return -1;
    if (build->cache)
        digest_cache_add(build->cache, path, status, entry->digest);
    return 0;
}

static int add_link(struct build *build, const struct tree_entry *found, struct error **err) {
    char target[4097];
    ssize_t size = readlinkat(found->directory, found->name, target, sizeof(target) - 1);
    if (size < 0)
        return error_set_errno(err, errno, "cannot read a link");
    struct manifest_entry *entry = add(build->manifest, found->path, err);
    if (!entry)
        return -1;
    entry->kind = ENTRY_LINK;
    entry->size = (uint64_t)size;
    sha256_of(target, (size_t)size, entry->digest);
    target[size] = '\0';
    build->manifest->outside += !tree_link_stays_inside(target, found->depth);
    return 0;
}

static int visit(const struct tree_entry *found, void *context, enum tree_verdict *verdict,
                 struct error **err) {
    struct build *build = context;
    const struct stat *status = found->status;
    (void)verdict;
    bool strict = build->flags & MANIFEST_STRICT;
    if (strict && (status->st_mode & (S_ISUID | S_ISGID)) && !S_ISDIR(status->st_mode))
        return error_set(err, ERROR_DENIED, "a set-uid or set-gid file is among the outputs");
    if (S_ISREG(status->st_mode))
        return add_file(build, found->directory, found->name, found->path, status, err);
    if (S_ISLNK(status->st_mode))
        return add_link(build, found, err);
    if (S_ISDIR(status->st_mode)) {
        struct manifest_entry *entry = add(build->manifest, found->path, err);
        if (entry)
            entry->kind = ENTRY_DIRECTORY;
        return entry ? 0 : -1;
    }
    if (strict)
        return error_set(err, ERROR_DENIED,
                         "something that is not a file, directory or link is among the outputs");
    build->manifest->ignored++;
    return 0;
}

struct manifest *manifest_build(const char *root, unsigned flags, struct digest_cache *cache,
                                struct error **err) {
    struct stat status;
    if (stat(root, &status) < 0) {
        error_set_errno(err, errno, "%s", root);
        return NULL;
    }
    OWN_MANIFEST manifest = manifest_new(err);
    if (!manifest)
        return NULL;
    struct build build = {manifest, cache, flags};
    int result = S_ISDIR(status.st_mode) ? tree_walk(AT_FDCWD, root, visit, &build, err)
                                         : add_file(&build, AT_FDCWD, root, "", &status, err);
    return result < 0 ? NULL : take(&manifest);
}

/* Order of a walk: byte order of component after component ('/' sorts before all). */
static int compare_paths(const char *a, const char *b) {
    while (*a && *a == *b) {
        a++;
        b++;
    }
    unsigned char x = *a == '/' ? 1 : (unsigned char)*a, y = *b == '/' ? 1 : (unsigned char)*b;
    return x < y ? -1 : x > y;
}

/* Index of the first entry that is not before `path`. */
static size_t lower_bound(const struct manifest *manifest, const char *path) {
    size_t low = 0, high = manifest->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_paths(manifest->entries[middle].path, path) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct manifest_entry *manifest_find(const struct manifest *manifest, const char *path) {
    size_t at = lower_bound(manifest, path);
    return at < manifest->count && text_equal(manifest->entries[at].path, path)
               ? &manifest->entries[at]
               : NULL;
}

static void hash_entry(struct sha256 *hash, const struct manifest_entry *entry, size_t skip) {
    char head[64], digest[SHA256_HEX_SIZE];
    hex_encode(entry->digest, SHA256_SIZE, digest);
    int size = snprintf(head, sizeof(head), "%c%c %" PRIu64 " ", entry->kind,
                        entry->executable ? 'x' : '-', entry->size);
    sha256_add(hash, head, (size_t)size);
    sha256_add(hash, digest, sizeof(digest) - 1);
    sha256_add(hash, entry->path + skip, strlen(entry->path + skip) + 1);
}

bool manifest_digest(const struct manifest *manifest, const char *path,
                     uint8_t digest[SHA256_SIZE]) {
    size_t length = strlen(path);
    CLEANUP(sha256_cleanup) struct sha256 *hash = sha256_new();
    if (!hash)
        return false;
    if (!length) {
        for (size_t i = 0; i < manifest->count; i++)
            hash_entry(hash, &manifest->entries[i], 0);
        sha256_finish(hash, digest);
        return true;
    }
    size_t at = lower_bound(manifest, path);
    if (at >= manifest->count || !text_equal(manifest->entries[at].path, path))
        return false;
    if (manifest->entries[at].kind != ENTRY_DIRECTORY)
        hash_entry(hash, &manifest->entries[at], length);
    for (at++; at < manifest->count; at++) {
        const char *entry = manifest->entries[at].path;
        if (strncmp(entry, path, length) != 0 || entry[length] != '/')
            break;
        hash_entry(hash, &manifest->entries[at], length + 1);
    }
    sha256_finish(hash, digest);
    return true;
}

static int check_entry(const struct manifest_entry *entry, const char *root, struct error **err) {
    OWN_STRING path = *entry->path ? path_join(root, entry->path) : memory_copy_string(root);
    struct stat status;
    if (!path)
        return error_set_memory(err);
    if (lstat(path, &status) < 0)
        return error_set(err, ERROR_INVALID, "a file is gone");
    if (*entry->path && !S_ISREG(status.st_mode))
        return error_set(err, ERROR_INVALID, "a file is none any more");
    if (S_ISREG(status.st_mode) &&
        ((uint64_t)status.st_size != entry->size || modified_of(&status) != entry->modified))
        return error_set(err, ERROR_INVALID, "a file is not what it was");
    return 0;
}

int manifest_check_unchanged(const struct manifest *manifest, const char *root, const char *path,
                             size_t *budget, struct error **err) {
    size_t length = strlen(path);
    for (size_t at = lower_bound(manifest, path); at < manifest->count && *budget; at++) {
        const struct manifest_entry *entry = &manifest->entries[at];
        if (length && (strncmp(entry->path, path, length) != 0 ||
                       (entry->path[length] && entry->path[length] != '/')))
            break;
        if (entry->kind != ENTRY_FILE)
            continue;
        --*budget;
        if (check_entry(entry, root, err) < 0)
            return -1;
    }
    return 0;
}

/* Names may hold anything but NUL: '\n' and '\\' are escaped so that a line stays a line. */
static void append_escaped(struct buffer *buffer, const char *path) {
    for (; *path; path++) {
        if (*path == '\n')
            buffer_append(buffer, "\\n");
        else if (*path == '\\')
            buffer_append(buffer, "\\\\");
        else
            buffer_append_char(buffer, *path);
    }
}

int manifest_write(const struct manifest *manifest, int directory, const char *path,
                   struct error **err) {
    OWN_BUFFER text = {.maximum = MANIFEST_MAXIMUM_MEMORY};
    char digest[SHA256_HEX_SIZE];
    for (size_t i = 0; i < manifest->count; i++) {
        const struct manifest_entry *entry = &manifest->entries[i];
        hex_encode(entry->digest, SHA256_SIZE, digest);
        buffer_format(&text, "%c %s %" PRIu64 " %s ", entry->kind,
                      entry->executable ? "0755" : "0644", entry->size, digest);
        append_escaped(&text, entry->path);
        buffer_append_char(&text, '\n');
    }
    if (buffer_check(&text, err) < 0)
        return -1;
    OWN_FD fd = file_open(directory, path, O_WRONLY | O_CREAT | O_TRUNC, 0644, err);
    if (fd < 0)
        return -1;
    return file_write_all(fd, buffer_text(&text), text.size, err) < 0 ? error_wrap(err, "manifest")
                                                                      : 0;
}

static int read_line(struct manifest *manifest, char *line, struct error **err) {
    char kind = line[0];
    char *mode = line + 2, *size = NULL, *digest = NULL, *path = NULL;
    if (kind && line[1] == ' ' && (size = strchr(mode, ' ')) && (digest = strchr(size + 1, ' ')))
        path = strchr(digest + 1, ' ');
    if (!path || path - digest != SHA256_HEX_SIZE)
        return error_set(err, ERROR_CORRUPT, "a line of a manifest is not as we wrote it");
    *size++ = *digest++ = *path++ = '\0';
    char *out = path;
    for (const char *in = path; *in; in++, out++) {
        if (in[0] == '\\' && in[1]) {
            in++;
            *out = *in == 'n' ? '\n' : *in;
        } else {
            *out = *in;
        }
    }
    *out = '\0';
    struct manifest_entry *entry = add(manifest, path, err);
    if (!entry)
        return -1;
    entry->kind = (enum entry_kind)kind;
    entry->executable = text_equal(mode, "0755");
    int64_t value = 0;
    if (text_parse_integer(size, 0, INT64_MAX, &value, err) < 0)
        return -1;
    entry->size = (uint64_t)value;
    manifest->bytes += entry->size;
    return hex_decode(digest, entry->digest, SHA256_SIZE, err);
}

struct manifest *manifest_read(int directory, const char *path, struct error **err) {
    OWN_BUFFER text = {.maximum = MANIFEST_MAXIMUM_MEMORY};
    if (file_read_all(directory, path, MANIFEST_MAXIMUM_MEMORY - 1, &text, err) < 0)
        return NULL;
    OWN_MANIFEST manifest = manifest_new(err);
    if (!manifest)
        return NULL;
    char *line = text.data;
    while (line && *line) {
        char *end = strchr(line, '\n');
        if (end)
            *end = '\0';
        if (read_line(manifest, line, err) < 0) {
            error_wrap(err, "%s", path);
            return NULL;
        }
        line = end ? end + 1 : NULL;
    }
    return take(&manifest);
}
