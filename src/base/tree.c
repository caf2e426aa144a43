/* Walking, removing and linking trees of files. Everything goes through descriptors of the
 * folders, so that a tree that changes under us cannot lead us elsewhere. */
#include "base/base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define TREE_MAXIMUM_ENTRIES ((size_t)16 << 20) /* in one folder */

struct names {
    char **items;
    size_t count, capacity;
};

static void names_release(struct names *names) {
    for (size_t i = 0; i < names->count; i++)
        memory_free(names->items[i]);
    memory_free(names->items);
    memset(names, 0, sizeof(*names));
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Reads a folder's names, sorted. Takes over `fd`. */
static int read_names(int fd, struct names *names, struct error **err) {
    DIR *stream = fdopendir(fd);
    if (!stream) {
        int number = errno;
        close(fd);
        return error_set_errno(err, number, "cannot list a directory");
    }
    int result = 0;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(stream);
        if (!entry) {
            if (errno)
                result = error_set_errno(err, errno, "cannot list a directory");
            break;
        }
        if (text_equal(entry->d_name, ".") || text_equal(entry->d_name, ".."))
            continue;
        result = array_reserve(&names->items, &names->capacity, names->count, sizeof(*names->items),
                               TREE_MAXIMUM_ENTRIES, err);
        if (result < 0)
            break;
        names->items[names->count] = memory_copy_string(entry->d_name);
        if (!names->items[names->count]) {
            result = error_set_memory(err);
            break;
        }
        names->count++;
    }
    closedir(stream);
    if (result == 0 && names->count)
        qsort(names->items, names->count, sizeof(*names->items), compare_names);
    return result;
}

struct walk {
    tree_visitor visitor;
    void *context;
    struct buffer path;
    bool stopped;
};

static int walk_directory(struct walk *walk, int directory, unsigned depth, struct error **err);

static int walk_entry(struct walk *walk, int directory, const char *name, unsigned depth,
                      struct error **err) {
    struct stat status;
    if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno == ENOENT)
            return 0; /* gone since we listed it */
        return error_set_errno(err, errno, "cannot look at %s", buffer_text(&walk->path));
    }
    struct tree_entry entry = {buffer_text(&walk->path), name, directory, &status, depth};
    enum tree_verdict verdict = TREE_CONTINUE;
    if (walk->visitor(&entry, walk->context, &verdict, err) < 0)
        return -1;
    walk->stopped = verdict == TREE_STOP;
    if (verdict != TREE_CONTINUE || !S_ISDIR(status.st_mode))
        return 0;
    if (depth >= TREE_MAXIMUM_DEPTH) {
        error_set(err, ERROR_LIMIT, "directories are nested deeper than %d levels",
                  TREE_MAXIMUM_DEPTH);
        return error_hint(err, "pack the tree into an archive, or point at a folder further down");
    }
    int fd = file_open(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, err);
    if (fd < 0)
        return -1;
    OWN_FD own = fd;
    return walk_directory(walk, own, depth + 1, err);
}

static int walk_directory(struct walk *walk, int directory, unsigned depth, struct error **err) {
    CLEANUP(names_release) struct names names = {0};
    int copy = fcntl(directory, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return error_set_errno(err, errno, "cannot list a directory");
    if (read_names(copy, &names, err) < 0)
        return -1;
    size_t size = walk->path.size;
    int result = 0;
    for (size_t i = 0; i < names.count && result == 0 && !walk->stopped; i++) {
        if (size)
            buffer_append_char(&walk->path, '/');
        buffer_append(&walk->path, names.items[i]);
        result = buffer_check(&walk->path, err);
        if (result == 0)
            result = walk_entry(walk, directory, names.items[i], depth, err);
        buffer_truncate(&walk->path, size);
    }
    return result;
}

int tree_walk(int directory, const char *root, tree_visitor visitor, void *context,
              struct error **err) {
    OWN_FD fd = file_open(directory, root, O_RDONLY | O_DIRECTORY, 0, err);
    if (fd < 0)
        return -1;
    struct walk walk = {.visitor = visitor, .context = context, .path = {.maximum = 1 << 20}};
    int result = walk_directory(&walk, fd, 1, err);
    buffer_release(&walk.path);
    return result;
}

static int remove_below(int directory, const char *name, unsigned depth, struct error **err) {
    if (depth > 4 * TREE_MAXIMUM_DEPTH)
        return error_set(err, ERROR_LIMIT, "directories are nested too deep to remove");
    OWN_FD fd = file_open(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, NULL);
    if (fd < 0 && errno == EACCES && fchmodat(directory, name, 0700, 0) == 0)
        fd = file_open(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, NULL);
    if (fd < 0)
        return error_set_errno(err, errno, "cannot open %s to remove it", name);
    (void)fchmod(fd, 0700); /* a guest may have taken away our right to empty it */
    CLEANUP(names_release) struct names names = {0};
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return error_set_errno(err, errno, "cannot list a directory");
    if (read_names(copy, &names, err) < 0)
        return -1;
    for (size_t i = 0; i < names.count; i++) {
        if (unlinkat(fd, names.items[i], 0) == 0 || errno == ENOENT)
            continue;
        if (errno != EISDIR && errno != EPERM)
            return error_set_errno(err, errno, "cannot remove %s", names.items[i]);
        if (remove_below(fd, names.items[i], depth + 1, err) < 0)
            return -1;
    }
    if (unlinkat(directory, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return error_set_errno(err, errno, "cannot remove %s", name);
    return 0;
}

int tree_remove(int directory, const char *path, struct error **err) {
    struct stat status;
    if (fstatat(directory, path, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : error_set_errno(err, errno, "cannot look at %s", path);
    if (S_ISDIR(status.st_mode))
        return remove_below(directory, path, 0, err);
    if (unlinkat(directory, path, 0) < 0 && errno != ENOENT)
        return error_set_errno(err, errno, "cannot remove %s", path);
    return 0;
}

struct linking {
    bool copy;
    int to;
    const char *to_root;
};

bool tree_link_stays_inside(const char *target, unsigned depth) {
    if (target[0] == '/')
        return false;
    int level = (int)depth - 1;
    while (*target) {
        size_t size = strcspn(target, "/");
        if (size == 2 && memcmp(target, "..", 2) == 0)
            level--;
        else if (size && !(size == 1 && target[0] == '.'))
            level++;
        if (level < 0)
            return false;
        target += size + (target[size] == '/');
    }
    return true;
}

static int link_file(const struct tree_entry *entry, bool copy, int to, const char *target,
                     struct error **err) {
    if (copy) {
        unlinkat(to, target, 0);
        return file_copy(entry->directory, entry->name, to, target, entry->status->st_mode & 0777,
                         err);
    }
    if (linkat(entry->directory, entry->name, to, target, 0) == 0)
        return 0;
    if (errno != EXDEV && errno != EPERM && errno != EMLINK && errno != EACCES)
        return error_set_errno(err, errno, "cannot link %s", target);
    return file_copy(entry->directory, entry->name, to, target, entry->status->st_mode & 0777, err);
}

static int link_entry(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                      struct error **err) {
    const struct linking *linking = context;
    OWN_STRING target = path_join(linking->to_root, entry->path);
    if (!target)
        return error_set_memory(err);
    if (S_ISDIR(entry->status->st_mode)) {
        if (mkdirat(linking->to, target, 0755) < 0 && errno != EEXIST)
            return error_set_errno(err, errno, "cannot make directory %s", target);
        return 0;
    }
    if (S_ISREG(entry->status->st_mode))
        return link_file(entry, linking->copy, linking->to, target, err);
    if (S_ISLNK(entry->status->st_mode)) {
        char text[4096];
        ssize_t size = readlinkat(entry->directory, entry->name, text, sizeof(text) - 1);
        if (size < 0)
            return error_set_errno(err, errno, "cannot read link %s", target);
        text[size] = '\0';
        if (tree_link_stays_inside(text, entry->depth) &&
            symlinkat(text, linking->to, target) < 0 && errno != EEXIST)
            return error_set_errno(err, errno, "cannot make link %s", target);
    }
    return 0; /* sockets, devices and pipes are not data */
}

static int recreate(int from_directory, const char *from, struct linking *linking,
                    struct error **err) {
    struct stat status;
    if (fstatat(from_directory, from, &status, 0) < 0)
        return error_set_errno(err, errno, "cannot look at %s", from);
    if (!S_ISDIR(status.st_mode)) {
        struct tree_entry entry = {from, from, from_directory, &status, 1};
        return link_file(&entry, linking->copy, linking->to, linking->to_root, err);
    }
    if (directory_make(linking->to, linking->to_root, 0755, err) < 0)
        return -1;
    return tree_walk(from_directory, from, link_entry, linking, err);
}

int tree_link(int from_directory, const char *from, int to_directory, const char *to,
              struct error **err) {
    struct linking linking = {false, to_directory, to};
    return recreate(from_directory, from, &linking, err);
}

int tree_copy(int from_directory, const char *from, int to_directory, const char *to,
              struct error **err) {
    struct linking linking = {true, to_directory, to};
    return recreate(from_directory, from, &linking, err);
}
