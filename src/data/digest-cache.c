/* Digests of files that were read before, by inode, size and times. */
#include "digest-cache.h"

#include <time.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* A file changed within the last seconds may change again without its times showing it. */
#define RACY_MILLISECONDS 2000

struct known {
    char *path;
    int64_t inode, size, modified, changed;
    uint8_t digest[SHA256_SIZE];
    bool fresh; /* not in the database yet */
    UT_hash_handle hh;
};
struct digest_cache {
    char *root;
    struct known *files;
};

void digest_cache_free(struct digest_cache *cache) {
    if (!cache)
        return;
    struct known *file, *next;
    HASH_ITER(hh, cache->files, file, next) {
        HASH_DEL(cache->files, file);
        memory_free(file->path);
        memory_free(file);
    }
    memory_free(cache->root);
    memory_free(cache);
}

static struct known *put(struct digest_cache *cache, const char *path) {
    struct known *file = NULL;
    HASH_FIND_STR(cache->files, path, file);
    if (file)
        return file;
    file = memory_allocate(sizeof(*file));
    if (!file)
        return NULL;
    file->path = memory_copy_string(path);
    if (file->path)
        HASH_ADD_KEYPTR(hh, cache->files, file->path, strlen(file->path), file);
    if (!file->path || !file->hh.tbl) {
        memory_free(file->path);
        memory_free(file);
        return NULL;
    }
    return file;
}

static int load_rows(struct digest_cache *cache, struct rows *rows, struct error **err) {
    size_t skip = strlen(cache->root);
    int more;
    while ((more = rows_next(rows, err)) > 0) {
        const char *path = rows_text(rows, 0) + skip;
        struct known *file = put(cache, *path == '/' ? path + 1 : path);
        size_t size = 0;
        const void *digest = rows_bytes(rows, 5, &size);
        if (!file)
            return error_set_memory(err);
        if (size != SHA256_SIZE)
            continue;
        memcpy(file->digest, digest, SHA256_SIZE);
        file->inode = rows_integer(rows, 1);
        file->size = rows_integer(rows, 2);
        file->modified = rows_integer(rows, 3);
        file->changed = rows_integer(rows, 4);
    }
    return more;
}

struct digest_cache *digest_cache_load(struct store *store, const char *root, struct error **err) {
    struct digest_cache *cache = memory_allocate(sizeof(*cache));
    if (!cache || !(cache->root = memory_copy_string(root))) {
        digest_cache_free(cache);
        error_set_memory(err);
        return NULL;
    }
    /* Everything below root: from "root/" up to, not including, "root0" ('0' follows '/'). */
    OWN_STRING low = memory_format("%s/", root);
    OWN_STRING high = memory_format("%s0", root);
    if (!low || !high) {
        digest_cache_free(cache);
        error_set_memory(err);
        return NULL;
    }
    OWN_ROWS rows = store_query(store, err,
                                "SELECT path, inode, size, modified, changed, digest "
                                "FROM file_digest WHERE path = ? OR (path >= ? AND path < ?)",
                                "sss", root, low, high);
    if (!rows || load_rows(cache, rows, err) < 0) {
        digest_cache_free(cache);
        return NULL;
    }
    return cache;
}

int digest_cache_save(struct store *store, struct digest_cache *cache, struct error **err) {
    struct known *file, *next;
    HASH_ITER(hh, cache->files, file, next) {
        if (!file->fresh)
            continue;
        OWN_STRING path = path_join(cache->root, file->path);
        if (!path)
            return error_set_memory(err);
        if (store_run(store, err, "INSERT OR REPLACE INTO file_digest VALUES(?, ?, ?, ?, ?, ?)",
                      "siiiib", path, file->inode, file->size, file->modified, file->changed,
                      (const void *)file->digest, (size_t)SHA256_SIZE) < 0)
            return -1;
        file->fresh = false;
    }
    return 0;
}

static int64_t nanoseconds(const struct timespec *time) {
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

bool digest_cache_find(struct digest_cache *cache, const char *path, const struct stat *status,
                       uint8_t digest[SHA256_SIZE]) {
    struct known *file = NULL;
    HASH_FIND_STR(cache->files, path, file);
    if (!file || file->inode != (int64_t)status->st_ino || file->size != (int64_t)status->st_size ||
        file->modified != nanoseconds(&status->st_mtim) ||
        file->changed != nanoseconds(&status->st_ctim))
        return false;
    memcpy(digest, file->digest, SHA256_SIZE);
    return true;
}

void digest_cache_add(struct digest_cache *cache, const char *path, const struct stat *status,
                      const uint8_t digest[SHA256_SIZE]) {
    int64_t newest = nanoseconds(&status->st_mtim) > nanoseconds(&status->st_ctim)
                         ? nanoseconds(&status->st_mtim)
                         : nanoseconds(&status->st_ctim);
    if (clock_wall() - newest / 1000000 < RACY_MILLISECONDS)
        return;
    struct known *file = put(cache, path);
    if (!file)
        return;
    file->inode = (int64_t)status->st_ino;
    file->size = (int64_t)status->st_size;
    file->modified = nanoseconds(&status->st_mtim);
    file->changed = nanoseconds(&status->st_ctim);
    memcpy(file->digest, digest, SHA256_SIZE);
    file->fresh = true;
}
