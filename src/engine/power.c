/* Power cuts. The death of a program takes nothing, for the kernel holds what it wrote; when the
 * machine itself goes down, what was not synced may be gone, in any order. Syncing each result
 * would cost more than most tasks, so results are synced together at each run's end, and those that
 * were not are looked at, byte by byte, when the home is next driven in another boot. */
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

struct doubtful {
    uint8_t key[SHA256_SIZE], output[SHA256_SIZE];
};
struct doubtful_list {
    struct doubtful *items;
    size_t count, capacity;
};

static void list_release(struct doubtful_list *list) {
    memory_free(list->items);
}

static int list_doubtful(struct engine *engine, struct doubtful_list *list, struct error **err) {
    OWN_ROWS rows = store_query(engine->store, err,
                                "SELECT key, output FROM result WHERE unsafe IS NOT NULL AND "
                                "dropped IS NULL",
                                "");
    if (!rows)
        return -1;
    int more;
    while ((more = rows_next(rows, err)) > 0) {
        size_t size = 0, output_size = 0;
        const void *key = rows_bytes(rows, 0, &size), *output = rows_bytes(rows, 1, &output_size);
        if (size != SHA256_SIZE || output_size != SHA256_SIZE)
            continue;
        if (array_reserve(&list->items, &list->capacity, list->count, sizeof(*list->items),
                          (size_t)64 << 20, err) < 0)
            return -1;
        memcpy(list->items[list->count].key, key, SHA256_SIZE);
        memcpy(list->items[list->count++].output, output, SHA256_SIZE);
    }
    return more;
}

static bool has_digest(const struct manifest *manifest, const uint8_t output[SHA256_SIZE]) {
    uint8_t digest[SHA256_SIZE];
    return manifest && manifest_digest(manifest, "", digest) &&
           memcmp(digest, output, SHA256_SIZE) == 0;
}

static bool is_whole(const char *folder, const struct doubtful *item) {
    OWN_STRING output = path_join(folder, "output");
    OWN_STRING list = path_join(folder, "manifest");
    OWN_MANIFEST written = list ? manifest_read(AT_FDCWD, list, NULL) : NULL;
    if (!output || !has_digest(written, item->output))
        return false;
    OWN_MANIFEST there = manifest_build(output, MANIFEST_STRICT, NULL, NULL);
    return has_digest(there, item->output);
}

/* It was never made: runs that are under way make it again. */
static int forget(struct engine *engine, const struct doubtful *item, const char *folder,
                  struct error **err) {
    if (store_run(engine->store, err,
                  "UPDATE result SET dropped = ?, recipe_key = NULL WHERE key = ?", "ib",
                  clock_wall(), (const void *)item->key, (size_t)SHA256_SIZE) < 0 ||
        store_run(engine->store, err,
                  "UPDATE task SET state = 0, tries = 0, started = NULL, ended = NULL, "
                  "reason = 'its outputs were lost with the power of the machine' "
                  "WHERE key = ? AND state IN (5, 6) AND "
                  "run IN (SELECT id FROM run WHERE state < 4)",
                  "b", (const void *)item->key, (size_t)SHA256_SIZE) < 0)
        return -1;
    return tree_remove(AT_FDCWD, folder, err);
}

static int examine(struct engine *engine, struct error **err) {
    CLEANUP(list_release) struct doubtful_list list = {0};
    if (list_doubtful(engine, &list, err) < 0)
        return -1;
    size_t lost = 0;
    for (size_t i = 0; i < list.count; i++) {
        OWN_STRING folder = result_folder(engine, list.items[i].key);
        if (!folder)
            return error_set_memory(err);
        if (is_whole(folder, &list.items[i]))
            continue;
        lost++;
        if (forget(engine, &list.items[i], folder, err) < 0)
            return -1;
    }
    if (list.count)
        log_message(LOG_WARNING,
                    "the machine went down while runs were under way: of %zu results that were not "
                    "synced, %zu were lost and are made again",
                    list.count, lost);
    return 0;
}

static int read_boot(struct buffer *ret, struct error **err) {
    if (file_read_all(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, ret, err) < 0)
        return error_wrap(err, "which boot this is");
    while (ret->size && ret->data[ret->size - 1] == '\n')
        buffer_truncate(ret, ret->size - 1);
    return 0;
}

/* For whoever drives the home from now on: what runs is older than the machine's last start. What
 * an attempt says that it left may be gone, so it counts as lost, whenever it is heard of. */
static int mark_doubtful(struct engine *engine, struct error **err) {
    if (store_run(engine->store, err, "UPDATE attempt SET cause = ? WHERE ended IS NULL", "i",
                  (int64_t)CAUSE_LOST) < 0)
        return -1;
    return store_run(engine->store, err,
                     "INSERT OR REPLACE INTO home(name, value) "
                     "SELECT 'older', coalesce(max(id), 0) FROM run",
                     "");
}

/* While runs are under way that are older than the last start. */
static int load_rebooted(struct engine *engine, struct error **err) {
    int64_t any = 0;
    if (store_integer(engine->store, 0, &any, err,
                      "SELECT EXISTS(SELECT 1 FROM run WHERE state < 4 AND id <= "
                      "(SELECT CAST(value AS INTEGER) FROM home WHERE name = 'older'))",
                      "") < 0)
        return -1;
    engine->rebooted = any;
    return 0;
}

int power_begin(struct engine *engine, struct error **err) {
    OWN_BUFFER boot = {.maximum = 128};
    int64_t same = 0, busy = 0;
    if (read_boot(&boot, err) < 0 ||
        store_integer(engine->store, 0, &engine->sync_round, err,
                      "SELECT coalesce(max(unsafe), 0) + 1 FROM result WHERE unsafe IS NOT NULL",
                      "") < 0 ||
        store_integer(engine->store, -1, &same, err,
                      "SELECT value = ? FROM home WHERE name = 'boot'", "s",
                      buffer_text(&boot)) < 0)
        return -1;
    if (same == 1)
        return load_rebooted(engine, err);
    if (engine_write(engine, err) < 0)
        return -1;
    if (store_integer(engine->store, 0, &busy, err,
                      "SELECT EXISTS(SELECT 1 FROM run WHERE state < 4)", "") < 0)
        return -1;
    if (same == 0 && (busy || engine->sync_round > 1) &&
        (examine(engine, err) < 0 || mark_doubtful(engine, err) < 0))
        return -1;
    if (store_run(engine->store, err, "UPDATE result SET unsafe = NULL WHERE unsafe IS NOT NULL",
                  "") < 0 ||
        store_run(engine->store, err, "INSERT OR REPLACE INTO home(name, value) VALUES('boot', ?)",
                  "s", buffer_text(&boot)) < 0 ||
        store_commit(engine->store, err) < 0)
        return -1;
    return load_rebooted(engine, err);
}

int power_sync(const struct engine *engine, struct error **err) {
    return syncfs(engine->home_fd) == 0
               ? 0
               : error_set_errno(err, errno, "cannot sync %s", engine->home);
}

int power_synced(struct engine *engine, int64_t round, struct error **err) {
    return store_run(engine->store, err, "UPDATE result SET unsafe = NULL WHERE unsafe <= ?", "i",
                     round);
}
