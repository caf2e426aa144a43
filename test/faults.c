#include "faults.h"

#include "tap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const fault_names[FAULT_COUNT] = {"allocation",   "allocation of a library",
                                              "system call",  "full disk",
                                              "interruption", "short transfer"};

static struct {
    bool armed, hit;
    enum fault kind;
    uint64_t left;
} faults;

/* True when this is the one. */
static bool strikes(enum fault kind) {
    if (!faults.armed || faults.kind != kind || --faults.left)
        return false;
    faults.armed = false;
    faults.hit = true;
    return true;
}

/* ---------------------------------------------------------------- allocation */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size) {
    return strikes(FAULT_ALLOCATION) ? NULL : __real_malloc(size);
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size) {
    return strikes(FAULT_ALLOCATION) ? NULL : __real_calloc(count, size);
}

void *__real_realloc(void *pointer, size_t size);
void *__wrap_realloc(void *pointer, size_t size);
void *__wrap_realloc(void *pointer, size_t size) {
    return strikes(FAULT_ALLOCATION) ? NULL : __real_realloc(pointer, size);
}

char *__real_realpath(const char *path, char *to);
char *__wrap_realpath(const char *path, char *to);
char *__wrap_realpath(const char *path, char *to) {
    if (!strikes(FAULT_ALLOCATION))
        return __real_realpath(path, to);
    errno = ENOMEM;
    return NULL;
}

/* With _FORTIFY_SOURCE, and without. */
int __real_vasprintf(char **to, const char *format, va_list list);
int __wrap_vasprintf(char **to, const char *format, va_list list);
int __wrap_vasprintf(char **to, const char *format, va_list list) {
    if (!strikes(FAULT_ALLOCATION))
        return __real_vasprintf(to, format, list);
    *to = (char *)1; /* it is undefined then */
    return -1;
}

int __wrap___vasprintf_chk(char **to, int flag, const char *format, va_list list);
int __wrap___vasprintf_chk(char **to, int flag, const char *format, va_list list) {
    (void)flag;
    return __wrap_vasprintf(to, format, list);
}

int __wrap_asprintf(char **to, const char *format, ...);
int __wrap_asprintf(char **to, const char *format, ...) {
    va_list list;
    va_start(list, format);
    int size = __wrap_vasprintf(to, format, list);
    va_end(list);
    return size;
}

int __wrap___asprintf_chk(char **to, int flag, const char *format, ...);
int __wrap___asprintf_chk(char **to, int flag, const char *format, ...) {
    (void)flag;
    va_list list;
    va_start(list, format);
    int size = __wrap_vasprintf(to, format, list);
    va_end(list);
    return size;
}

static void *library_malloc(size_t size) {
    return strikes(FAULT_LIBRARY) ? NULL : __real_malloc(size);
}

static sqlite3_mem_methods sqlite_memory;

static void *sqlite_malloc(int size) {
    return strikes(FAULT_LIBRARY) ? NULL : sqlite_memory.xMalloc(size);
}

static void *sqlite_realloc(void *pointer, int size) {
    return strikes(FAULT_LIBRARY) ? NULL : sqlite_memory.xRealloc(pointer, size);
}

/* -------------------------------------------------------------- system calls */

static bool call_fails(bool writes) {
    if (strikes(FAULT_CALL)) {
        errno = EIO;
        return true;
    }
    if (!writes || !strikes(FAULT_FULL))
        return false;
    errno = ENOSPC;
    return true;
}

static bool is_interrupted(void) {
    if (!strikes(FAULT_INTERRUPTED))
        return false;
    errno = EINTR;
    return true;
}

#define CALL(writes, type, failure, name, parameters, arguments)                                   \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters {                                                                \
        return call_fails(writes) ? failure : __real_##name arguments;                             \
    }

CALL(true, int, -1, mkdirat, (int at, const char *path, mode_t mode), (at, path, mode))
CALL(true, int, -1, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
CALL(true, int, -1, linkat, (int a, const char *from, int b, const char *to, int flags),
     (a, from, b, to, flags))
CALL(true, int, -1, symlinkat, (const char *to, int at, const char *path), (to, at, path))
CALL(false, int, -1, unlinkat, (int at, const char *path, int flags), (at, path, flags))
CALL(true, int, -1, fsync, (int fd), (fd))
CALL(false, int, -1, fstatat64, (int at, const char *path, struct stat *to, int flags),
     (at, path, to, flags))
CALL(false, ssize_t, -1, readlinkat, (int at, const char *path, char *to, size_t size),
     (at, path, to, size))
CALL(false, ssize_t, -1, readlink, (const char *path, char *to, size_t size), (path, to, size))
CALL(false, DIR *, NULL, fdopendir, (int fd), (fd))
CALL(false, struct dirent *, NULL, readdir64, (DIR * stream), (stream))
CALL(true, ssize_t, -1, copy_file_range,
     (int from, off_t *a, int to, off_t *b, size_t size, unsigned flags),
     (from, a, to, b, size, flags))
CALL(false, ssize_t, -1, getrandom, (void *to, size_t size, unsigned flags), (to, size, flags))

int __real_openat64(int at, const char *path, int flags, mode_t mode);
int __wrap_openat64(int at, const char *path, int flags, mode_t mode);
int __wrap_openat64(int at, const char *path, int flags, mode_t mode) {
    if (call_fails(flags & O_CREAT) || is_interrupted())
        return -1;
    return __real_openat64(at, path, flags, mode);
}

ssize_t __real_read(int fd, void *to, size_t size);
ssize_t __wrap_read(int fd, void *to, size_t size);
ssize_t __wrap_read(int fd, void *to, size_t size) {
    if (call_fails(false) || is_interrupted())
        return -1;
    return __real_read(fd, to, size && strikes(FAULT_SHORT) ? 1 : size);
}

ssize_t __real_write(int fd, const void *bytes, size_t size);
ssize_t __wrap_write(int fd, const void *bytes, size_t size);
ssize_t __wrap_write(int fd, const void *bytes, size_t size) {
    if (call_fails(true) || is_interrupted())
        return -1;
    return __real_write(fd, bytes, size && strikes(FAULT_SHORT) ? 1 : size);
}

/* Those of SQLite, which lets them be replaced. */
static int sqlite_open(const char *path, int flags, int mode) {
    return call_fails(flags & O_CREAT) ? -1 : open(path, flags | O_CLOEXEC, mode);
}

static ssize_t sqlite_read(int fd, void *to, size_t size, off_t offset) {
    return call_fails(false) ? -1 : pread(fd, to, size, offset);
}

static ssize_t sqlite_write(int fd, const void *bytes, size_t size, off_t offset) {
    return call_fails(true) ? -1 : pwrite(fd, bytes, size, offset);
}

static int sqlite_truncate(int fd, off_t size) {
    return call_fails(true) ? -1 : ftruncate(fd, size);
}

static int sqlite_unlink(const char *path) {
    return call_fails(false) ? -1 : unlink(path);
}

static void replace_call(const char *name, void (*call)(void)) {
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    if (!vfs || vfs->xSetSystemCall(vfs, name, call) != SQLITE_OK)
        abort();
}

void faults_prepare(void) {
    static bool done;
    if (done)
        return;
    done = true;
    json_set_alloc_funcs(library_malloc, free);
    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory) != SQLITE_OK)
        abort();
    sqlite3_mem_methods ours = sqlite_memory;
    ours.xMalloc = sqlite_malloc;
    ours.xRealloc = sqlite_realloc;
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &ours) != SQLITE_OK ||
        sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0) != SQLITE_OK)
        abort();
    replace_call("open", (void (*)(void))sqlite_open);
    replace_call("pread", (void (*)(void))sqlite_read);
    replace_call("pread64", (void (*)(void))sqlite_read);
    replace_call("pwrite", (void (*)(void))sqlite_write);
    replace_call("pwrite64", (void (*)(void))sqlite_write);
    replace_call("ftruncate", (void (*)(void))sqlite_truncate);
    replace_call("unlink", (void (*)(void))sqlite_unlink);
}

/* -------------------------------------------------------------------- trying */

static char *make_scratch(void) {
    static const char *const places[] = {"/dev/shm", "/tmp"};
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        char *path = memory_format("%s/glovebox-faults-XXXXXX", places[i]);
        if (path && mkdtemp(path))
            return path;
        memory_free(path);
    }
    return NULL;
}

/* One time; true when the fault was reached. */
static bool try_once(const char *name, fault_operation operation, enum fault kind, uint64_t n,
                     const char *expected) {
    OWN_STRING scratch = make_scratch();
    OWN_BUFFER out = {0};
    struct error *error = NULL;
    if (!scratch)
        abort();
    faults.kind = kind;
    faults.left = n;
    faults.hit = false;
    faults.armed = n > 0;
    int result = operation(scratch, &out, &error);
    faults.armed = false;
    bool right = result == 0 ? !error && text_equal(buffer_text(&out), expected) : error != NULL;
    bool excuse = faults.hit && kind < FAULT_INTERRUPTED;
    if (!right || (result < 0 && !excuse))
        tap_fail(__FILE__, __LINE__, "%s, %s %llu fails: %s%s\n# instead of: %s", name,
                 fault_names[kind], (unsigned long long)n,
                 error         ? error->message
                 : result == 0 ? "success with something else: "
                               : "failure without a reason",
                 error ? "" : buffer_text(&out), expected);
    error_free(error);
    if (tree_remove(AT_FDCWD, scratch, NULL) < 0)
        tap_fail(__FILE__, __LINE__, "%s stays", scratch);
    return faults.hit;
}

size_t faults_try(const char *name, fault_operation operation) {
    OWN_STRING scratch = make_scratch();
    OWN_BUFFER expected = {0};
    OWN_ERROR error = NULL;
    size_t tried = 0;
    faults_prepare();
    if (!scratch || operation(scratch, &expected, &error) < 0) {
        tap_fail(__FILE__, __LINE__, "%s: %s", name, error ? error->message : "?");
        return 0;
    }
    if (tree_remove(AT_FDCWD, scratch, NULL) < 0)
        tap_fail(__FILE__, __LINE__, "%s stays", scratch);
    for (int kind = 0; kind < FAULT_COUNT; kind++) {
        uint64_t n = 1;
        while (tap_failures < 20 &&
               try_once(name, operation, (enum fault)kind, n, buffer_text(&expected))) {
            n++;
            tried++;
        }
    }
    printf("# %s: %zu faults\n", name, tried);
    return tried;
}
