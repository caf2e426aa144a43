/* Files whole, by descriptor, and never half: read to a bound, write aside and rename. */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

void file_close(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void file_close_cleanup(int *fd) {
    file_close(fd);
}

int file_open(int directory, const char *path, int flags, mode_t mode, struct error **err) {
    int fd;
    do
        fd = openat(directory, path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        error_set_errno(err, errno, "cannot open %s", path);
    return fd;
}

int file_read_all(int directory, const char *path, size_t maximum, struct buffer *ret,
                  struct error **err) {
    OWN_FD fd = file_open(directory, path, O_RDONLY | O_NOCTTY, 0, err);
    if (fd < 0)
        return -1;
    char block[16384];
    for (;;) {
        ssize_t got = read(fd, block, sizeof(block));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(err, errno, "cannot read %s", path);
        if (got == 0)
            return buffer_check(ret, err);
        if (ret->size + (size_t)got > maximum) {
            OWN_BUFFER size = {0};
            text_format_size(&size, maximum);
            return error_set(err, ERROR_LIMIT, "%s is larger than %s", path, buffer_text(&size));
        }
        buffer_append_bytes(ret, block, (size_t)got);
    }
}

int file_write_all(int fd, const void *bytes, size_t size, struct error **err) {
    for (size_t done = 0; done < size;) {
        ssize_t put = write(fd, (const char *)bytes + done, size - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return error_set_errno(err, errno, "cannot write");
        done += (size_t)put;
    }
    return 0;
}

static int sync_parent(int directory, const char *path) {
    const char *slash = strrchr(path, '/');
    OWN_STRING parent =
        slash ? memory_copy_bytes(path, (size_t)(slash - path) + 1) : memory_copy_string(".");
    if (!parent)
        return -1;
    OWN_FD fd = file_open(directory, parent, O_RDONLY | O_DIRECTORY, 0, NULL);
    return fd < 0 ? -1 : fsync(fd);
}

int file_write_atomic(int directory, const char *path, const void *bytes, size_t size, mode_t mode,
                      struct error **err) {
    uint8_t salt[6];
    char suffix[13];
    if (random_bytes(salt, sizeof(salt), err) < 0)
        return -1;
    hex_encode(salt, sizeof(salt), suffix);
    OWN_STRING temporary = memory_format("%s.tmp-%s", path, suffix);
    if (!temporary)
        return error_set_memory(err);
    OWN_FD fd = file_open(directory, temporary, O_WRONLY | O_CREAT | O_EXCL, mode, err);
    if (fd < 0)
        return -1;
    int result = file_write_all(fd, bytes, size, err);
    if (result < 0)
        error_wrap(err, "%s", path);
    else if (fsync(fd) < 0 || renameat(directory, temporary, directory, path) < 0)
        result = error_set_errno(err, errno, "cannot write %s", path);
    else if (sync_parent(directory, path) < 0)
        return error_set_errno(err, errno, "cannot sync the folder of %s", path);
    if (result < 0)
        unlinkat(directory, temporary, 0);
    return result;
}

bool file_exists(int directory, const char *path) {
    return faccessat(directory, path, F_OK, 0) == 0;
}

int file_check_private(const struct stat *status, const char *what, struct error **err) {
    if (!S_ISREG(status->st_mode))
        return error_set(err, ERROR_DENIED, "%s is not a file", what);
    if (!(status->st_mode & 077))
        return 0;
    error_set(err, ERROR_DENIED, "%s may be used by others than its owner: its mode is %04o", what,
              (unsigned)(status->st_mode & 07777));
    return error_hint(err, "chmod 600 it; if others may have read it, change what it holds");
}

static int copy_bytes(int from, int to, struct error **err) {
    for (;;) {
        ssize_t moved = copy_file_range(from, NULL, to, NULL, (size_t)1 << 30, 0);
        if (moved == 0)
            return 0;
        if (moved < 0)
            break; /* another kind of file system: by hand, from where we are */
    }
    OWN_MEMORY(char) block = memory_allocate((size_t)1 << 17);
    if (!block)
        return error_set_memory(err);
    for (;;) {
        ssize_t got = read(from, block, (size_t)1 << 17);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(err, errno, "cannot read");
        if (got == 0)
            return 0;
        if (file_write_all(to, block, (size_t)got, err) < 0)
            return -1;
    }
}

int file_copy(int from_directory, const char *from, int to_directory, const char *to, mode_t mode,
              struct error **err) {
    OWN_FD source = file_open(from_directory, from, O_RDONLY | O_NOCTTY, 0, err);
    if (source < 0)
        return -1;
    OWN_FD target = file_open(to_directory, to, O_WRONLY | O_CREAT | O_EXCL, mode, err);
    if (target < 0)
        return -1;
    if (copy_bytes(source, target, err) == 0)
        return 0;
    unlinkat(to_directory, to, 0);
    return error_wrap(err, "copy of %s", from);
}

int directory_make(int directory, const char *path, mode_t mode, struct error **err) {
    if (mkdirat(directory, path, mode) == 0)
        return 0;
    if (errno == ENOENT) {
        OWN_STRING parent = memory_copy_string(path);
        if (!parent)
            return error_set_memory(err);
        size_t size = strlen(parent);
        while (size > 1 && parent[size - 1] == '/')
            parent[--size] = '\0';
        char *slash = strrchr(parent, '/');
        if (slash && slash != parent) {
            *slash = '\0';
            if (directory_make(directory, parent, mode, err) < 0)
                return -1;
            if (mkdirat(directory, path, mode) == 0)
                return 0;
        } else {
            errno = ENOENT;
        }
    }
    if (errno == EEXIST) {
        struct stat status;
        if (fstatat(directory, path, &status, 0) == 0 && S_ISDIR(status.st_mode))
            return 0;
        errno = EEXIST;
    }
    return error_set_errno(err, errno, "cannot make directory %s", path);
}

char *path_resolve(const char *path, struct error **err) {
    char *resolved = realpath(path, NULL);
    if (!resolved)
        error_set_errno(err, errno, "%s", path);
    return resolved;
}

char *path_join(const char *a, const char *b) {
    if (b[0] == '/' || !a[0])
        return memory_copy_string(b);
    if (!b[0])
        return memory_copy_string(a);
    return memory_format("%s%s%s", a, text_ends_with(a, "/") ? "" : "/", b);
}

static char *copy_path(const char *path, struct error **err) {
    char *copy = memory_copy_string(path);
    if (!copy)
        error_set_memory(err);
    return copy;
}

/* What the kernel calls an open descriptor. */
static char *path_of_descriptor(int fd, struct error **err) {
    char name[64], path[4096];
    (void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    ssize_t size = readlink(name, path, sizeof(path) - 1);
    if (size < 0) {
        error_set_errno(err, errno, "cannot resolve a path");
        return NULL;
    }
    path[size] = '\0';
    return copy_path(path, err);
}

char *path_resolve_beneath(const char *root, const char *path, struct error **err) {
    if (!*path)
        return copy_path("", err);
    OWN_FD top = file_open(AT_FDCWD, root, O_PATH | O_DIRECTORY, 0, err);
    if (top < 0)
        return NULL;
    struct open_how how = {.flags = O_PATH | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    OWN_FD fd = (int)syscall(SYS_openat2, top, path, &how, sizeof(how));
    if (fd < 0 && errno == EXDEV) {
        error_set(err, ERROR_DENIED, "%s leads outside its folder", path);
        error_hint(err, "it is a symbolic link: put what it points to into the folder itself");
        return NULL;
    }
    if (fd < 0) {
        error_set_errno(err, errno, "%s", path);
        return NULL;
    }
    OWN_STRING from = path_of_descriptor(top, err);
    OWN_STRING to = from ? path_of_descriptor(fd, err) : NULL;
    if (!to)
        return NULL;
    size_t size = text_equal(from, "/") ? 0 : strlen(from);
    if (text_equal(from, to))
        return copy_path("", err);
    if (strncmp(from, to, size) != 0 || to[size] != '/') {
        error_set(err, ERROR_DENIED, "%s moved while it was looked at", path);
        return NULL;
    }
    return copy_path(to + size + 1, err);
}

const char *path_base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool path_is_safe_relative(const char *path) {
    if (!*path || *path == '/')
        return false;
    while (*path) {
        size_t size = strcspn(path, "/");
        if (size == 0 || (size == 1 && path[0] == '.') || (size == 2 && memcmp(path, "..", 2) == 0))
            return false;
        path += size;
        if (*path == '/' && path[1])
            path++;
        else if (*path == '/')
            break; /* one trailing slash is fine */
    }
    return true;
}
