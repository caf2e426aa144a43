/*
 * Root's tasks run as an unprivileged user, yet must read root's inputs and leave outputs that
 * belong to root. Mounts with mapped owners do both: a user namespace that exchanges two ids is
 * laid over the mount, and files of the one appear as files of the other.
 */
#include "compute/keeper/private-box.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

void owner_of_task(const struct box *box, const struct launch *launch, uid_t *ret_user,
                   gid_t *ret_group) {
    struct stat status;
    *ret_user = box->user;
    *ret_group = box->group;
    if (box->privileged && launch->work[0] && stat(launch->work, &status) == 0 && status.st_uid) {
        *ret_user = status.st_uid;
        *ret_group = status.st_gid ? status.st_gid : box->group;
    }
}

/* "inside outside count" for every id there is, with `a` and `b`, which may be the same,
 * exchanged. */
static int write_exchange(pid_t pid, const char *file, uint32_t a, uint32_t b) {
    uint32_t low = a < b ? a : b, high = a < b ? b : a;
    const struct {
        uint32_t inside, outside, count;
    } ranges[] = {{0, 0, low},
                  {low, high, 1},
                  {low + 1, low + 1, high > low ? high - low - 1 : 0},
                  {high, low, high > low},
                  {high + 1, high + 1, UINT32_MAX - high - 1}};
    char text[256], path[64];
    int size = 0;
    for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
        if (ranges[i].count)
            size += snprintf(text + size, sizeof(text) - (size_t)size, "%u %u %u\n",
                             ranges[i].inside, ranges[i].outside, ranges[i].count);
    }
    (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t written = write(fd, text, (size_t)size);
    close(fd);
    return written < 0 ? -1 : 0;
}

static int make_map(const struct owner *owner) {
    pid_t pid = box_clone_holder(CLONE_NEWUSER);
    if (pid < 0)
        return -1;
    if (pid == 0) {
        for (;;)
            (void)pause();
    }
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
    int fd = -1;
    if (write_exchange(pid, "uid_map", owner->user, owner->other_user) == 0 &&
        write_exchange(pid, "gid_map", owner->group, owner->other_group) == 0)
        fd = open(path, O_RDONLY | O_CLOEXEC);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    return fd;
}

static bool is_same(const struct owner *owner, const struct stat *status, uid_t user, gid_t group) {
    return owner->user == status->st_uid && owner->group == status->st_gid &&
           owner->other_user == user && owner->other_group == group;
}

int owner_map(const struct box *box, const struct stat *status, uid_t user, gid_t group) {
    if (!box->privileged || status->st_uid == user)
        return -1;
    for (size_t i = 0; i < box->owner_count; i++) {
        if (is_same(&box->owners[i], status, user, group))
            return box->owners[i].fd;
    }
    return -2;
}

static void prepare(struct box *box, const struct stat *status, uid_t user, gid_t group) {
    if (owner_map(box, status, user, group) != -2)
        return;
    struct owner owner = {.user = status->st_uid,
                          .group = status->st_gid,
                          .other_user = user,
                          .other_group = group,
                          .fd = -1};
    owner.fd = make_map(&owner);
    if (owner.fd < 0)
        return;
    size_t at = box->owner_count < OWNERS_MAXIMUM ? box->owner_count++ : 0;
    if (at == 0 && box->owner_count == OWNERS_MAXIMUM)
        close(box->owners[0].fd);
    box->owners[at] = owner;
}

void owners_prepare(struct box *box, const struct launch *launch) {
    uid_t user;
    gid_t group;
    if (!box->privileged)
        return;
    owner_of_task(box, launch, &user, &group);
    for (uint32_t i = 0; i < launch->message->mount_count; i++) {
        struct stat status;
        const char *source = launch->mounts[i].source;
        if (source[0] && stat(source, &status) == 0)
            prepare(box, &status, user, group);
    }
    struct stat image;
    if (launch->image[0] && stat(launch->image, &image) == 0)
        prepare(box, &image, user, group);
}
