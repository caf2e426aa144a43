/*
 * What a task leaves in its work folder is bounded, so that it cannot fill the disk of the host. A
 * helper walks the folder now and then: as often as it must to notice in time, and no more, since
 * folders can be large. What is written between two looks can exceed the bound.
 */
#include "compute/keeper/private-box.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    DEPTH_MAXIMUM = 256, /* folders within folders: deeper is too many of them */
    FIRST_LOOK = 1000,   /* ms after the start; most tasks are shorter */
    LAST_LOOK = 30000    /* ms between two looks at most */
};
/* What a fast disk takes, to know how long one may look away. */
static const uint64_t bytes_each_ms = 2 << 20, files_each_ms = 100;

/* ------------------------------------------------------------------------ the walk */

struct walk {
    uint64_t bytes, files, bytes_maximum, files_maximum;
};

static bool is_too_much(const struct walk *walk) {
    return walk->bytes > walk->bytes_maximum || walk->files > walk->files_maximum;
}

static void look(struct walk *walk, int parent, const char *name, unsigned depth) {
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (!list) {
        if (fd >= 0)
            close(fd);
        return; /* gone meanwhile */
    }
    for (struct dirent *entry; !is_too_much(walk) && (entry = readdir(list));) {
        struct stat status;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        walk->files++;
        /* Links of one file share it. */
        walk->bytes += (uint64_t)status.st_blocks * 512 / (status.st_nlink ? status.st_nlink : 1);
        if (S_ISDIR(status.st_mode) && depth == DEPTH_MAXIMUM)
            walk->files = walk->files_maximum + 1;
        else if (S_ISDIR(status.st_mode))
            look(walk, fd, entry->d_name, depth + 1);
    }
    (void)closedir(list);
}

static void start_walk(struct keeper *keeper, struct job *job) {
    struct outcome *outcome = job->outcome;
    pid_t pid = box_clone_holder(0);
    if (pid > 0)
        job->output.looking = true;
    if (pid != 0)
        return;
    struct walk walk = {.bytes_maximum = job->output.bytes, .files_maximum = job->output.files};
    look(&walk, AT_FDCWD, job->output.folder, 1);
    outcome->walk_bytes = walk.bytes;
    outcome->walk_files = walk.files;
    /* The slot may be another job's by now: that one sees by the number that this is not its. */
    __atomic_store_n(&outcome->walk_of, job->output.number, __ATOMIC_RELEASE);
    _exit(0);
}

/* ------------------------------------------------------------------------- judging */

void output_watch(struct keeper *keeper, struct job *job, const struct launch *launch) {
    const struct launch_message *message = launch->message;
    struct statvfs space;
    if (!launch->work[0] || !(job->output.folder = strdup(launch->work)))
        return;
    job->output.number = ++keeper->walks;
    job->output.look_at = now_monotonic() + FIRST_LOOK;
    job->output.files = message->output_files ? message->output_files : DEFAULT_FILES;
    job->output.bytes = message->output;
    if (!job->output.bytes)
        job->output.bytes = statvfs(launch->work, &space) == 0
                                ? (uint64_t)space.f_bavail * space.f_frsize / 2
                                : UINT64_MAX;
}

static int64_t next_look(const struct job *job, int64_t now) {
    uint64_t bytes = job->output.bytes - job->outcome->walk_bytes;
    uint64_t files = job->output.files - job->outcome->walk_files;
    uint64_t wait = bytes / bytes_each_ms;
    wait = files / files_each_ms < wait ? files / files_each_ms : wait;
    return now + (wait < FIRST_LOOK ? FIRST_LOOK : wait > LAST_LOOK ? LAST_LOOK : (int64_t)wait);
}

void output_check(struct keeper *keeper, struct job *job, int64_t now) {
    const struct outcome *outcome = job->outcome;
    if (!job->output.folder || job->killed)
        return;
    if (!job->output.looking) {
        if (now >= job->output.look_at)
            start_walk(keeper, job);
        return;
    }
    if (__atomic_load_n(&outcome->walk_of, __ATOMIC_ACQUIRE) != job->output.number)
        return;
    job->output.looking = false;
    job->output.number = ++keeper->walks;
    bool large = outcome->walk_bytes > job->output.bytes;
    if (!large && outcome->walk_files <= job->output.files) {
        job->output.look_at = next_look(job, now);
        return;
    }
    job->remark = large ? REMARK_OUTPUT_SIZE : REMARK_OUTPUT_FILES;
    job_stop(keeper, job, CAUSE_OUTPUT, 0);
}

void output_release(struct job *job) {
    free(job->output.folder);
    job->output.folder = NULL;
}
