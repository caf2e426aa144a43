/* A file system in memory for SQLite. A write counts at once, as with the kernel's cache; what was
 * not synced may be lost, in any part, when the power goes. One connection at a time. */
#include "simulation.h"

#include <sqlite3.h>
#include <stdlib.h>

#define SECTOR 512

struct change { /* not synced yet */
    int64_t offset;
    size_t size;
    unsigned char *bytes;
    struct change *next;
};
struct memory_file {
    char name[256];
    unsigned char *data, *synced;
    size_t size, capacity, synced_size;
    struct change *first, **end;
    void *regions[64];
    struct memory_file *next;
};
struct handle {
    sqlite3_file base;
    struct memory_file *file;
};

static struct memory_file *files;

static struct memory_file *find(const char *name) {
    struct memory_file *file = files;
    while (file && !text_equal(file->name, name))
        file = file->next;
    return file;
}

static void drop_changes(struct memory_file *file) {
    while (file->first) {
        struct change *change = file->first;
        file->first = change->next;
        free(change->bytes);
        free(change);
    }
    file->end = &file->first;
}

static void drop_regions(struct memory_file *file) {
    for (size_t i = 0; i < ARRAY_SIZE(file->regions); i++) {
        free(file->regions[i]);
        file->regions[i] = NULL;
    }
}

static void drop_file(struct memory_file *file) {
    struct memory_file **at = &files;
    while (*at != file)
        at = &(*at)->next;
    *at = file->next;
    drop_changes(file);
    drop_regions(file);
    free(file->data);
    free(file->synced);
    free(file);
}

void database_forget(void) {
    sqlite3_randomness(0, NULL); /* begins anew, too */
    while (files)
        drop_file(files);
}

static void grow(struct memory_file *file, size_t size) {
    if (size > file->capacity) {
        size_t capacity = size * 2 + 4096;
        file->data = realloc(file->data, capacity);
        if (!file->data)
            abort();
        file->capacity = capacity;
    }
    if (size > file->size) {
        memset(file->data + file->size, 0, size - file->size);
        file->size = size;
    }
}

static void put(struct memory_file *file, const void *bytes, size_t size, int64_t offset) {
    if (!size)
        return;
    grow(file, (size_t)offset + size);
    memcpy(file->data + offset, bytes, size);
}

static void note(struct memory_file *file, const void *bytes, size_t size, int64_t offset) {
    struct change *change = calloc(1, sizeof(*change));
    unsigned char *copy = malloc(size ? size : 1);
    if (!change || !copy)
        abort();
    memcpy(copy, bytes, size);
    *change = (struct change){offset, size, copy, NULL};
    *file->end = change;
    file->end = &change->next;
}

static void sync_file(struct memory_file *file) {
    drop_changes(file);
    free(file->synced);
    file->synced = malloc(file->size ? file->size : 1);
    if (!file->synced)
        abort();
    if (file->size)
        memcpy(file->synced, file->data, file->size);
    file->synced_size = file->size;
}

/* An empty database, as the engine makes it: making it takes as long as much of a schedule. */
static struct {
    char name[256];
    unsigned char *data;
    size_t size;
} fresh;

static struct memory_file *add(const char *name) {
    struct memory_file *file = calloc(1, sizeof(*file));
    if (!file)
        abort();
    (void)snprintf(file->name, sizeof(file->name), "%s", name);
    file->end = &file->first;
    file->next = files;
    files = file;
    return file;
}

void database_keep(void) {
    const struct memory_file *file = files;
    if (fresh.data || !file || file->next || !file->size)
        return; /* it is one file once it has been closed */
    (void)snprintf(fresh.name, sizeof(fresh.name), "%s", file->name);
    fresh.data = malloc(file->size);
    if (!fresh.data)
        abort();
    memcpy(fresh.data, file->data, file->size);
    fresh.size = file->size;
}

bool database_restore(void) {
    database_forget();
    if (!fresh.data)
        return false;
    struct memory_file *file = add(fresh.name);
    put(file, fresh.data, fresh.size, 0);
    sync_file(file);
    return true;
}

void database_drop_kept(void) {
    free(fresh.data);
    memset(&fresh, 0, sizeof(fresh));
}

void database_lose_power(struct chance *chance) {
    for (struct memory_file *file = files; file; file = file->next) {
        struct change *change = file->first;
        file->first = NULL;
        file->end = &file->first;
        file->size = 0;
        if (file->synced_size)
            put(file, file->synced, file->synced_size, 0);
        unsigned keep = chance_below(chance, 4); /* none, some, most, all */
        while (change) {
            struct change *next = change->next;
            size_t size = change->size;
            bool kept = keep == 3 || (keep && chance_below(chance, 8) < keep * 3);
            if (kept && keep < 3 && !chance_below(chance, 6)) /* torn */
                size = SECTOR * chance_below(chance, (unsigned)(size / SECTOR) + 1);
            if (kept)
                put(file, change->bytes, size < change->size ? size : change->size, change->offset);
            free(change->bytes);
            free(change);
            change = next;
        }
        sync_file(file);
        drop_regions(file);
    }
}

/* -------------------------------------------------------------------- methods */

static struct memory_file *file_of(sqlite3_file *base) {
    return ((struct handle *)base)->file;
}

static int on_close(sqlite3_file *base) {
    (void)base;
    return SQLITE_OK;
}

static int on_read(sqlite3_file *base, void *to, int amount, sqlite3_int64 offset) {
    struct memory_file *file = file_of(base);
    if (disk_fails(DISK_READS))
        return SQLITE_IOERR_READ;
    size_t there = (size_t)offset < file->size ? file->size - (size_t)offset : 0;
    size_t size = there < (size_t)amount ? there : (size_t)amount;
    memset(to, 0, (size_t)amount);
    if (size)
        memcpy(to, file->data + offset, size);
    return size < (size_t)amount ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
}

static int on_write(sqlite3_file *base, const void *from, int amount, sqlite3_int64 offset) {
    struct memory_file *file = file_of(base);
    size_t size = (size_t)amount;
    bool before = world.disk.frozen;
    bool fails = disk_fails(DISK_WRITES);
    if (fails && before)
        return SQLITE_IOERR_WRITE;
    if (fails) /* torn: what fitted, or what came before the crash */
        size = size / 2 / SECTOR * SECTOR;
    put(file, from, size, offset);
    note(file, from, size, offset);
    if (!fails)
        return SQLITE_OK;
    return errno == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

static int on_truncate(sqlite3_file *base, sqlite3_int64 size) {
    struct memory_file *file = file_of(base);
    if (disk_fails(DISK_WRITES))
        return SQLITE_IOERR_TRUNCATE;
    if ((size_t)size < file->size)
        file->size = (size_t)size;
    sync_file(file);
    return SQLITE_OK;
}

static int on_sync(sqlite3_file *base, int flags) {
    (void)flags;
    if (disk_fails(DISK_WRITES))
        return SQLITE_IOERR_FSYNC;
    sync_file(file_of(base));
    return SQLITE_OK;
}

static int on_size(sqlite3_file *base, sqlite3_int64 *ret) {
    *ret = (sqlite3_int64)file_of(base)->size;
    return SQLITE_OK;
}

static int on_lock(sqlite3_file *base, int level) {
    (void)base;
    (void)level;
    return SQLITE_OK;
}

static int on_check_lock(sqlite3_file *base, int *ret) {
    (void)base;
    *ret = 0;
    return SQLITE_OK;
}

static int on_control(sqlite3_file *base, int operation, void *argument) {
    (void)base;
    (void)operation;
    (void)argument;
    return SQLITE_NOTFOUND;
}

static int on_sector(sqlite3_file *base) {
    (void)base;
    return SECTOR;
}

static int on_traits(sqlite3_file *base) {
    (void)base;
    return 0;
}

static int on_map(sqlite3_file *base, int region, int size, int extend, void volatile **ret) {
    struct memory_file *file = file_of(base);
    *ret = NULL;
    if (region >= (int)ARRAY_SIZE(file->regions))
        return SQLITE_IOERR_SHMMAP;
    if (!file->regions[region] && extend)
        file->regions[region] = calloc(1, (size_t)size);
    *ret = file->regions[region];
    return SQLITE_OK;
}

static int on_map_lock(sqlite3_file *base, int offset, int count, int flags) {
    (void)base;
    (void)offset;
    (void)count;
    (void)flags;
    return SQLITE_OK;
}

static void on_barrier(sqlite3_file *base) {
    (void)base;
}

static int on_unmap(sqlite3_file *base, int forget) {
    (void)forget;
    drop_regions(file_of(base));
    return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
    2,           on_close,   on_read,       on_write,   on_truncate, on_sync,   on_size,
    on_lock,     on_lock,    on_check_lock, on_control, on_sector,   on_traits, on_map,
    on_map_lock, on_barrier, on_unmap,      NULL,       NULL};

static int on_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *ret) {
    (void)vfs;
    base->pMethods = NULL;
    if (!name)
        return SQLITE_CANTOPEN;
    struct memory_file *file = find(name);
    if (disk_fails(file ? DISK_READS : DISK_WRITES) || (!file && !(flags & SQLITE_OPEN_CREATE)))
        return SQLITE_CANTOPEN;
    if (!file)
        file = add(name);
    ((struct handle *)base)->file = file;
    base->pMethods = &methods;
    if (ret)
        *ret = flags;
    return SQLITE_OK;
}

static int on_delete(sqlite3_vfs *vfs, const char *name, int sync) {
    (void)vfs;
    (void)sync;
    struct memory_file *file = find(name);
    if (disk_fails(DISK_WRITES))
        return SQLITE_IOERR_DELETE;
    if (!file)
        return SQLITE_IOERR_DELETE_NOENT;
    drop_file(file);
    return SQLITE_OK;
}

static int on_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret) {
    (void)vfs;
    (void)flags;
    *ret = find(name) != NULL;
    return SQLITE_OK;
}

static int on_path(sqlite3_vfs *vfs, const char *name, int size, char *ret) {
    (void)vfs;
    (void)snprintf(ret, (size_t)size, "%s", name);
    return SQLITE_OK;
}

static int on_random(sqlite3_vfs *vfs, int size, char *ret) {
    (void)vfs;
    for (int i = 0; i < size; i++)
        ret[i] = (char)mix(world.seed, (uint64_t)i); /* the schedule's own chance stays as it is */
    return size;
}

static int on_sleep(sqlite3_vfs *vfs, int microseconds) {
    (void)vfs;
    return microseconds;
}

static int on_time(sqlite3_vfs *vfs, sqlite3_int64 *ret) {
    (void)vfs;
    *ret = world.now + (sqlite3_int64)210866760000000;
    return SQLITE_OK;
}

void database_register(void) {
    static sqlite3_vfs vfs = {.iVersion = 2,
                              .szOsFile = sizeof(struct handle),
                              .mxPathname = 255,
                              .zName = "simulation",
                              .xOpen = on_open,
                              .xDelete = on_delete,
                              .xAccess = on_access,
                              .xFullPathname = on_path,
                              .xRandomness = on_random,
                              .xSleep = on_sleep,
                              .xCurrentTimeInt64 = on_time};
    /* One thread; what that saves is a schedule more in four. */
    if (sqlite3_config(SQLITE_CONFIG_SINGLETHREAD) != SQLITE_OK ||
        sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) != SQLITE_OK ||
        sqlite3_vfs_register(&vfs, 1) != SQLITE_OK)
        abort();
}
