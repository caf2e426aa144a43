/* Chance, the clock, and the system calls that the engine makes: replaced at link time. */
#include "simulation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct world world;

uint64_t mix(uint64_t a, uint64_t b) {
    uint64_t x = a + 0x9e3779b97f4a7c15ULL * (b + 1);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

uint64_t mix_text(uint64_t a, const char *text) {
    for (; *text; text++)
        a = mix(a, (unsigned char)*text);
    return a;
}

unsigned chance_below(struct chance *chance, unsigned below) {
    chance->state = mix(chance->state, 1);
    return (unsigned)(chance->state >> 33) % below;
}

void blame(const char *format, ...) {
    if (world.problem[0])
        return;
    va_list list;
    va_start(list, format);
    (void)vsnprintf(world.problem, sizeof(world.problem), format, list);
    va_end(list);
}

void trace(const char *format, ...) {
    if (!world.verbose)
        return;
    va_list list;
    va_start(list, format);
    printf("# %lld ", (long long)world.now);
    vprintf(format, list);
    printf("\n");
    va_end(list);
}

bool disk_fails(enum disk_use use) {
    struct disk *disk = &world.disk;
    if (!disk->inside)
        return false;
    if (!disk->frozen && disk->crash_in && --disk->crash_in == 0) {
        trace("crash");
        disk->frozen = true;
    }
    if (disk->frozen) {
        errno = EIO;
        return true;
    }
    if (disk->fault_in && disk->fault_in > 1) {
        disk->fault_in--;
        return false;
    }
    if (!disk->fault_for || (use == DISK_READS && disk->fault_number == ENOSPC))
        return false;
    disk->fault_in = 0;
    disk->fault_for--;
    disk->faults++;
    trace("fault: %s", strerror(disk->fault_number));
    errno = disk->fault_number;
    return true;
}

/* --------------------------------------------------------------------- clock */

int64_t __wrap_clock_wall(void);
int64_t __wrap_clock_wall(void) {
    return world.now;
}

int64_t __wrap_clock_monotonic(void);
int64_t __wrap_clock_monotonic(void) {
    return world.now;
}

/* -------------------------------------------------------------- system calls */

#define CALL(use, type, name, parameters, arguments)                                               \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters {                                                                \
        return disk_fails(use) ? -1 : __real_##name arguments;                                     \
    }

CALL(DISK_WRITES, int, mkdir, (const char *path, mode_t mode), (path, mode))
CALL(DISK_WRITES, int, mkdirat, (int at, const char *path, mode_t mode), (at, path, mode))
CALL(DISK_WRITES, int, rename, (const char *from, const char *to), (from, to))
CALL(DISK_WRITES, int, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
CALL(DISK_WRITES, int, renameat2, (int a, const char *from, int b, const char *to, unsigned flags),
     (a, from, b, to, flags))
CALL(DISK_WRITES, int, linkat, (int a, const char *from, int b, const char *to, int flags),
     (a, from, b, to, flags))
CALL(DISK_WRITES, int, symlink, (const char *to, const char *path), (to, path))
CALL(DISK_WRITES, int, symlinkat, (const char *to, int at, const char *path), (to, at, path))
CALL(DISK_READS, int, unlink, (const char *path), (path)) /* works on a full disk */
CALL(DISK_READS, int, unlinkat, (int at, const char *path, int flags), (at, path, flags))
CALL(DISK_READS, int, rmdir, (const char *path), (path))
CALL(DISK_WRITES, int, fsync, (int fd), (fd))
CALL(DISK_READS, ssize_t, read, (int fd, void *to, size_t size), (fd, to, size))
CALL(DISK_WRITES, ssize_t, copy_file_range,
     (int from, off_t *a, int to, off_t *b, size_t size, unsigned flags),
     (from, a, to, b, size, flags))

ssize_t __real_write(int fd, const void *bytes, size_t size);
ssize_t __wrap_write(int fd, const void *bytes, size_t size);
ssize_t __wrap_write(int fd, const void *bytes, size_t size) {
    bool before = world.disk.frozen;
    if (!disk_fails(DISK_WRITES))
        return __real_write(fd, bytes, size);
    if (!before && world.disk.frozen) { /* torn by the crash */
        ssize_t half = __real_write(fd, bytes, size / 2);
        (void)half;
        errno = EIO;
    }
    return -1;
}

int __real_openat64(int at, const char *path, int flags, mode_t mode);
int __wrap_openat64(int at, const char *path, int flags, mode_t mode);
int __wrap_openat64(int at, const char *path, int flags, mode_t mode) {
    if (disk_fails(flags & O_CREAT ? DISK_WRITES : DISK_READS))
        return -1;
    if (text_equal(path, "/proc/sys/kernel/random/boot_id")) /* of the machine that we play */
        path = world.boot;
    return __real_openat64(at, path, flags, mode);
}
