/* Files that are read from front to back, uncompressed on the way by the usual programs. */
#include "private-image.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

struct stream {
    char *path;
    int file;  /* the file itself */
    int input; /* what is read: the file, or the program's pipe */
    pid_t pid; /* of the program; 0: none, or it has ended */
    uint64_t total;
    const char *program;
};

enum packing packing_of(const void *bytes, size_t size) {
    static const struct {
        enum packing packing;
        size_t size;
        const char *begin;
    } known[] = {
        {PACKING_GZIP, 3, "\x1f\x8b\x08"},
        {PACKING_XZ, 6,
         "\xfd"
         "7zXZ\0"},
        {PACKING_ZSTD, 4, "\x28\xb5\x2f\xfd"},
        {PACKING_BZIP2, 3, "BZh"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (size >= known[i].size && memcmp(bytes, known[i].begin, known[i].size) == 0)
            return known[i].packing;
    return PACKING_NONE;
}

static int start(struct stream *stream, enum packing packing, struct error **err) {
    static const char *const programs[] = {[PACKING_GZIP] = "gzip",
                                           [PACKING_XZ] = "xz",
                                           [PACKING_ZSTD] = "zstd",
                                           [PACKING_BZIP2] = "bzip2"};
    static const char *const packages[] = {[PACKING_GZIP] = "gzip",
                                           [PACKING_XZ] = "xz-utils",
                                           [PACKING_ZSTD] = "zstd",
                                           [PACKING_BZIP2] = "bzip2"};
    OWN_STRING program = program_find(programs[packing], packages[packing], err);
    if (!program)
        return -1;
    int pipe[2];
    if (pipe2(pipe, O_CLOEXEC) < 0)
        return error_set_errno(err, errno, "cannot make a pipe");
    OWN_FD write_end = pipe[1];
    stream->input = pipe[0];
    (void)fcntl(write_end, F_SETPIPE_SZ, 1 << 20);
    const char *argv[] = {program, "-dc", NULL};
    struct process_options options = {
        .argv = argv, .input = stream->file, .output = write_end, .error = -1};
    stream->program = programs[packing];
    return process_spawn(&options, &stream->pid, err);
}

int stream_open(int directory, const char *path, struct stream **ret, struct error **err) {
    OWN_STREAM stream = memory_allocate(sizeof(*stream));
    if (!stream)
        return error_set_memory(err);
    stream->file = stream->input = -1;
    if (!(stream->path = memory_copy_string(path)))
        return error_set_memory(err);
    stream->file = file_open(directory, path, O_RDONLY | O_NOCTTY, 0, err);
    if (stream->file < 0)
        return -1;
    struct stat status;
    if (fstat(stream->file, &status) < 0 || !S_ISREG(status.st_mode)) {
        error_set(err, ERROR_INVALID, "%s is no file", path);
        return error_hint(err, "an archive is a file; an OCI image may also be a folder that has "
                               "index.json");
    }
    stream->total = (uint64_t)status.st_size;
    char bytes[8];
    ssize_t size = pread(stream->file, bytes, sizeof(bytes), 0);
    if (size < 0)
        return error_set_errno(err, errno, "cannot read %s", path);
    enum packing packing = packing_of(bytes, (size_t)size);
    if (packing != PACKING_NONE && start(stream, packing, err) < 0)
        return -1;
    *ret = take(&stream);
    return 0;
}

/* The program has said all: was it content? */
static int finish(struct stream *stream, struct error **err) {
    int status = 0;
    while (stream->pid > 0 && waitpid(stream->pid, &status, 0) < 0)
        if (errno != EINTR)
            return error_set_errno(err, errno, "cannot wait for %s", stream->program);
    stream->pid = 0;
    if (status == 0)
        return 0;
    error_set(err, ERROR_INVALID, "it is damaged: %s cannot unpack it", stream->program);
    return error_hint(err, "copy it anew and compare its size or digest with the original's");
}

ssize_t stream_read(struct stream *stream, void *bytes, size_t size, struct error **err) {
    for (;;) {
        ssize_t got = read(stream->input >= 0 ? stream->input : stream->file, bytes, size);
        if (got > 0)
            return got;
        if (got == 0)
            return finish(stream, err);
        if (errno != EINTR)
            return error_set_errno(err, errno, "cannot read %s", stream->path);
    }
}

void stream_progress(const struct stream *stream, uint64_t *ret_done, uint64_t *ret_total) {
    /* the program reads by our descriptor's own position */
    off_t at = lseek(stream->file, 0, SEEK_CUR);
    *ret_done = at > 0 ? (uint64_t)at : 0;
    *ret_total = stream->total;
}

void stream_close(struct stream *stream) {
    if (!stream)
        return;
    file_close(&stream->input);
    if (stream->pid > 0) {
        (void)kill(stream->pid, SIGKILL);
        (void)waitpid(stream->pid, NULL, 0);
    }
    file_close(&stream->file);
    memory_free(stream->path);
    memory_free(stream);
}

void stream_cleanup(struct stream **stream) {
    stream_close(*stream);
    *stream = NULL;
}
