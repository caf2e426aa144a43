/* A log that outgrew its bound loses its middle. */
#include "compute/keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Tasks write to their log directly, so its bound is kept from outside: when it outgrew it, the
 * middle is cut out, and head and tail stay. Where the file system cannot collapse a range
 * (ext4 and XFS can), a hole is punched, which frees the space but keeps the length.
 */

/*
 * What a task may write to it may also shorten: by ftruncate(2), and `echo x >/dev/stderr` in a
 * shell opens the file anew and empties it. Only a pipe would keep it from that, with a copy of all
 * that is ever written and a keeper that every task waits for. So it is told: a log that is shorter
 * than when it was last looked at was cut by its task.
 */

static const char marker[] = "\n[glovebox: the log passed its bound; a part was dropped here]\n";

static void mark(const struct job *job, off_t at) {
    /* The job's own descriptor appends, whatever the position. */
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", job->log);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (pwrite(fd, marker, sizeof(marker) - 1, at) < 0)
        errno = 0; /* the cut itself is what matters */
    close(fd);
}

int log_trim(struct job *job) {
    struct stat status;
    if (job->log < 0 || fstat(job->log, &status) < 0)
        return 0;
    job->log_cut = job->log_cut || status.st_size < job->log_size;
    job->log_size = status.st_size;
    /* Blocks, not length: a punched log stays long. */
    if ((uint64_t)status.st_blocks * 512 <= job->log_maximum ||
        (uint64_t)status.st_size <= job->log_maximum)
        return 0;
    off_t block = status.st_blksize > 0 ? status.st_blksize : 4096;
    off_t head = (off_t)(job->log_maximum / 4) / block * block;
    off_t tail = (off_t)(job->log_maximum / 2);
    off_t size = (status.st_size - tail - head) / block * block;
    if (head <= 0 || size <= 0)
        return -1;
    job->log_trimmed = true;
    if (fallocate(job->log, FALLOC_FL_COLLAPSE_RANGE, head, size) == 0) {
        job->log_size -= size;
        mark(job, head);
        return 0;
    }
    if (fallocate(job->log, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, head, size) < 0)
        return -1;
    mark(job, head);
    return 0;
}
