/* Into the folder for outputs: everything is copied aside first, beside its places, and then moved
 * there file by file, so that nobody sees half a file. What an earlier run of the same pipeline on
 * the same inputs put there and this one does not goes away, unless somebody changed it. */
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct delivered {
    char *path; /* below the folder */
    int64_t inode, size, modified, changed;
};
struct delivered_list {
    struct delivered *items;
    size_t count, capacity;
};
struct delivery {
    char *folder, *aside;
    struct delivered_list before, now;
};

static void list_release(struct delivered_list *list) {
    for (size_t i = 0; i < list->count; i++)
        memory_free(list->items[i].path);
    memory_free(list->items);
}

void delivery_free(struct delivery *delivery) {
    if (!delivery)
        return;
    list_release(&delivery->before);
    list_release(&delivery->now);
    memory_free(delivery->folder);
    memory_free(delivery->aside);
    memory_free(delivery);
}

static struct delivered *add(struct delivered_list *list, const char *path, struct error **err) {
    if (array_reserve(&list->items, &list->capacity, list->count, sizeof(*list->items),
                      (size_t)64 << 20, err) < 0)
        return NULL;
    struct delivered *item = &list->items[list->count];
    item->path = memory_copy_string(path);
    if (!item->path) {
        error_set_memory(err);
        return NULL;
    }
    list->count++;
    return item;
}

static int load_before(const struct run *run, struct delivered_list *list, struct error **err) {
    OWN_ROWS rows = store_query(
        run->engine->store, err,
        "SELECT d.path, d.inode, d.size, d.modified, d.changed FROM run mine JOIN delivery d ON "
        "d.folder = mine.output JOIN run r ON r.id = d.run WHERE mine.id = ? AND "
        "r.pipeline = mine.pipeline AND r.inputs = mine.inputs",
        "i", run->id);
    if (!rows)
        return -1;
    int more;
    while ((more = rows_next(rows, err)) > 0) {
        struct delivered *item = add(list, rows_text(rows, 0), err);
        if (!item)
            return -1;
        item->inode = rows_integer(rows, 1);
        item->size = rows_integer(rows, 2);
        item->modified = rows_integer(rows, 3);
        item->changed = rows_integer(rows, 4);
    }
    return more;
}

int delivery_new(const struct run *run, struct delivery **ret, struct error **err) {
    struct delivery *delivery = *ret = memory_allocate(sizeof(*delivery));
    if (!delivery)
        return error_set_memory(err);
    delivery->folder = memory_copy_string(run->output);
    delivery->aside = memory_format("%s/.glovebox-%s", run->output, run->name);
    if (!delivery->folder || !delivery->aside)
        return error_set_memory(err);
    /* With --only, what was left out is no longer made but not gone. */
    if (json_array_size(json_object_get(run->selection, "only")))
        return 0;
    return load_before(run, &delivery->before, err);
}

/* ------------------------------------------------------------------- putting */

static int64_t nanoseconds(const struct timespec *time) {
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

static void describe(const struct stat *status, struct delivered *ret) {
    ret->inode = (int64_t)status->st_ino;
    ret->size = (int64_t)status->st_size;
    ret->modified = nanoseconds(&status->st_mtim);
    ret->changed = nanoseconds(&status->st_ctim);
}

static int move_there(struct delivery *delivery, int directory, const char *name,
                      const char *target, struct error **err) {
    struct stat status;
    if (renameat(directory, name, AT_FDCWD, target) < 0 ||
        fstatat(AT_FDCWD, target, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return error_set_errno(err, errno, "cannot write an output");
    struct delivered *item = add(&delivery->now, target + strlen(delivery->folder) + 1, err);
    if (!item)
        return -1;
    describe(&status, item);
    return 0;
}

struct moving {
    struct delivery *delivery;
    const char *target;
};

static int move_entry(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                      struct error **err) {
    const struct moving *moving = context;
    (void)verdict;
    OWN_STRING target = path_join(moving->target, entry->path);
    if (!target)
        return error_set_memory(err);
    if (S_ISDIR(entry->status->st_mode))
        return directory_make(AT_FDCWD, target, 0755, err);
    return move_there(moving->delivery, entry->directory, entry->name, target, err);
}

static int put_one(struct delivery *delivery, const char *aside, const char *target,
                   struct error **err) {
    struct stat status;
    OWN_STRING parent = memory_copy_bytes(target, (size_t)(path_base_name(target) - target));
    if (!parent)
        return error_set_memory(err);
    if (directory_make(AT_FDCWD, parent, 0755, err) < 0)
        return -1;
    if (fstatat(AT_FDCWD, aside, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return error_set_errno(err, errno, "cannot look at an output");
    if (!S_ISDIR(status.st_mode))
        return move_there(delivery, AT_FDCWD, aside, target, err);
    struct moving moving = {delivery, target};
    if (directory_make(AT_FDCWD, target, 0755, err) < 0)
        return -1;
    return tree_walk(AT_FDCWD, aside, move_entry, &moving, err);
}

static int sync_folder(const char *path, struct error **err) {
    OWN_FD fd = file_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0, err);
    if (fd < 0)
        return -1;
    return syncfs(fd) == 0 ? 0 : error_set_errno(err, errno, "cannot write %s", path);
}

int delivery_put(struct delivery *delivery, const struct delivery_item *items, size_t count,
                 struct error **err) {
    if (!count)
        return 0;
    if (tree_remove(AT_FDCWD, delivery->aside, err) < 0 ||
        directory_make(AT_FDCWD, delivery->aside, 0700, err) < 0)
        return -1;
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        OWN_STRING aside = memory_format("%s/%zu", delivery->aside, i);
        result = aside ? tree_copy(AT_FDCWD, items[i].source, AT_FDCWD, aside, err)
                       : error_set_memory(err);
    }
    if (result == 0) /* no name may stand for bytes that a power cut could still take */
        result = sync_folder(delivery->aside, err);
    for (size_t i = 0; i < count && result == 0; i++) {
        OWN_STRING aside = memory_format("%s/%zu", delivery->aside, i);
        result = aside ? put_one(delivery, aside, items[i].target, err) : error_set_memory(err);
    }
    return tree_remove(AT_FDCWD, delivery->aside, result < 0 ? NULL : err) < 0 ? -1 : result;
}

/* -------------------------------------------------------------------- tidying */

static int compare_paths(const void *a, const void *b) {
    return strcmp(((const struct delivered *)a)->path, ((const struct delivered *)b)->path);
}

/* Folders that became empty go too, up to the folder for outputs. */
static void remove_empty(const struct delivery *delivery, char *path) {
    size_t root = strlen(delivery->folder);
    for (char *slash; (slash = strrchr(path, '/')) && (size_t)(slash - path) > root;) {
        *slash = '\0';
        if (rmdir(path) < 0)
            return;
    }
}

int delivery_tidy(struct delivery *delivery, struct error **err) {
    struct delivered_list *now = &delivery->now;
    if (now->count)
        qsort(now->items, now->count, sizeof(*now->items), compare_paths);
    for (size_t i = 0; i < delivery->before.count; i++) {
        const struct delivered *item = &delivery->before.items[i];
        if (now->count && bsearch(item, now->items, now->count, sizeof(*now->items), compare_paths))
            continue;
        OWN_STRING path = path_join(delivery->folder, item->path);
        struct stat status;
        struct delivered there;
        if (!path)
            return error_set_memory(err);
        if (fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        describe(&status, &there);
        if (there.inode != item->inode || there.size != item->size ||
            there.modified != item->modified || there.changed != item->changed)
            continue; /* somebody's own by now */
        if (unlink(path) < 0)
            return error_set_errno(err, errno, "cannot remove an output of an earlier run");
        remove_empty(delivery, path);
    }
    return delivery->now.count ? sync_folder(delivery->folder, err) : 0;
}

int delivery_save(const struct run *run, const struct delivery *delivery, bool whole,
                  struct error **err) {
    struct store *store = run->engine->store;
    for (size_t i = 0; whole && i < delivery->before.count; i++)
        if (store_run(store, err, "DELETE FROM delivery WHERE folder = ? AND path = ?", "ss",
                      delivery->folder, delivery->before.items[i].path) < 0)
            return -1;
    for (size_t i = 0; i < delivery->now.count; i++) {
        const struct delivered *item = &delivery->now.items[i];
        if (store_run(store, err,
                      "INSERT OR REPLACE INTO delivery(folder, path, run, inode, size, modified, "
                      "changed) VALUES(?, ?, ?, ?, ?, ?, ?)",
                      "ssiiiii", delivery->folder, item->path, run->id, item->inode, item->size,
                      item->modified, item->changed) < 0)
            return -1;
    }
    return 0;
}
