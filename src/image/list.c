/* The list of a root folder: every file of it with its digest, made when it was unpacked and
 * compared by `verify`. What has no place in a root is left out on the way. */
#include "private-image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* A byte that could end a word or a line is written as \ooo. */
static void append_escaped(struct buffer *out, const char *text) {
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c <= ' ' || c == '\\' || c >= 0x7f)
            buffer_format(out, "\\%03o", c);
        else
            buffer_append_char(out, *text);
    }
}

/* "f 0755 0 0 1234 HEX bin/x": kind, mode, owner, group, size, content, path. */
int root_line(const struct tree_entry *entry, struct buffer *out, struct error **err) {
    const struct stat *status = entry->status;
    char text[4096] = "-";
    char kind = S_ISREG(status->st_mode)   ? 'f'
                : S_ISDIR(status->st_mode) ? 'd'
                : S_ISLNK(status->st_mode) ? 'l'
                                           : 'x';
    if (kind == 'f') {
        uint8_t hash[SHA256_SIZE];
        if (sha256_file(entry->directory, entry->name, hash, NULL, err) < 0)
            return -1;
        hex_encode(hash, sizeof(hash), text);
    } else if (kind == 'l') {
        ssize_t size = readlinkat(entry->directory, entry->name, text, sizeof(text) - 1);
        if (size < 0)
            return error_set_errno(err, errno, "cannot read a link");
        text[size] = '\0';
    }
    buffer_clear(out);
    buffer_format(out, "%c %04o %u %u %lld ", kind, (unsigned)status->st_mode & 07777,
                  (unsigned)status->st_uid, (unsigned)status->st_gid,
                  kind == 'f' ? (long long)status->st_size : 0LL);
    append_escaped(out, text);
    buffer_append_char(out, ' ');
    append_escaped(out, entry->path);
    return buffer_check(out, err);
}

struct listing {
    struct staging *staging;
    FILE *file;
    struct buffer line;
    uint64_t size, count;
};

/* Files that root unpacked have owners: they become root's, as others' files are the caller's, so
 * that an image is the same whoever unpacks it. */
static int own(int directory, const char *name, struct stat *status, struct error **err) {
    uid_t user = geteuid();
    gid_t group = getegid();
    if (user != 0 || (status->st_uid == user && status->st_gid == group))
        return 0;
    if (fchownat(directory, name, user, group, AT_SYMLINK_NOFOLLOW) < 0)
        return error_set_errno(err, errno, "cannot take over a file");
    status->st_uid = user;
    status->st_gid = group;
    return 0;
}

/* Leaves out devices, sockets and FIFOs, set-uid bits and owners; the owner can read what is
 * his. */
static int clean(const struct tree_entry *entry, struct stat *status, bool *ret_gone,
                 struct error **err) {
    mode_t mode = status->st_mode & 07777, wanted = mode;
    *ret_gone = false;
    if (S_ISLNK(status->st_mode))
        return own(entry->directory, entry->name, status, err);
    if (!S_ISREG(status->st_mode) && !S_ISDIR(status->st_mode)) {
        *ret_gone = true;
        return unlinkat(entry->directory, entry->name, 0) < 0
                   ? error_set_errno(err, errno, "cannot leave out a device")
                   : 0;
    }
    if (S_ISREG(status->st_mode))
        wanted &= ~(mode_t)(S_ISUID | S_ISGID);
    wanted |= S_ISDIR(status->st_mode) ? 0700 : 0400;
    if (own(entry->directory, entry->name, status, err) < 0)
        return -1;
    if (wanted != mode && fchmodat(entry->directory, entry->name, wanted, 0) < 0)
        return error_set_errno(err, errno, "cannot set the mode of a file");
    status->st_mode = (status->st_mode & (mode_t)~07777) | wanted;
    return 0;
}

static int visit(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                 struct error **err) {
    struct listing *listing = context;
    struct staging *staging = listing->staging;
    struct stat status = *entry->status;
    struct tree_entry cleaned = *entry;
    cleaned.status = &status;
    bool gone = false;
    if (clean(entry, &status, &gone, err) < 0)
        return -1;
    if (gone)
        return 0;
    listing->size += S_ISREG(status.st_mode) ? (uint64_t)status.st_size : 0;
    if (listing->size > staging_maximum(staging))
        return staging_too_large(staging, err);
    if (++listing->count > staging_maximum_files(staging))
        return staging_too_many(staging, err);
    if (root_line(&cleaned, &listing->line, err) < 0)
        return -1;
    if (staging->options->progress && listing->count % 256 == 0)
        staging->options->progress(staging->options->context, "checking", listing->size, 0);
    if (fputs(buffer_text(&listing->line), listing->file) < 0 || fputc('\n', listing->file) < 0)
        return error_set_errno(err, errno, "cannot write the list of its files");
    return 0;
}

int root_list(struct staging *staging, const char *root, struct error **err) {
    int directory = staging->store->directory;
    OWN_STRING path = path_join(root, "list");
    OWN_STRING rootfs = path_join(root, "rootfs");
    if (!path || !rootfs)
        return error_set_memory(err);
    int fd = file_open(directory, path, O_WRONLY | O_CREAT | O_TRUNC, 0600, err);
    if (fd < 0)
        return -1;
    struct listing listing = {.staging = staging};
    struct stat top = {.st_uid = (uid_t)-1};
    listing.file = fdopen(fd, "w");
    if (!listing.file) {
        file_close(&fd);
        return error_set_memory(err);
    }
    /* an image may close its own top folder */
    int bad = own(directory, rootfs, &top, err);
    if (bad == 0)
        bad = fchmodat(directory, rootfs, 0755, 0) < 0
                  ? error_set_errno(err, errno, "it left no root folder")
                  : tree_walk(directory, rootfs, visit, &listing, err);
    bool deep =
        listing.size <= staging_maximum(staging) && listing.count <= staging_maximum_files(staging);
    if (bad < 0 && err && *err && (*err)->code == ERROR_LIMIT && deep)
        error_hint(err, "no image that is meant for use is like that; ask who made it");
    buffer_release(&listing.line);
    if (fclose(listing.file) != 0 && bad == 0)
        bad = error_set_errno(err, errno, "cannot write the list of its files");
    return bad;
}
