/* The root folder of one box: a tmpfs of its own, the shared folders, /proc, and the job's
 * mounts. Runs in the box's init, while it still sees the host. */
#include "compute/keeper/private-box.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_inside(int root, const char *path) {
    /* Folders that are mounted writable may hold links made by earlier tasks. */
    struct open_how how = {.flags = O_PATH | O_CLOEXEC,
                           .resolve =
                               RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

/* Opens the place of a mount, making what is missing of it. */
static int open_target(int root, const char *target, bool is_folder) {
    int fd = open_inside(root, target);
    if (fd >= 0 || errno != ENOENT)
        return fd;
    char path[4096];
    size_t size = strlen(target);
    if (size >= sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(path, target, size + 1);
    int parent = fcntl(root, F_DUPFD_CLOEXEC, 3);
    for (char *at = path; parent >= 0;) {
        at += strspn(at, "/");
        char *end = at + strcspn(at, "/");
        bool last = end[strspn(end, "/")] == '\0';
        *end = '\0';
        if (!last || is_folder) {
            if (mkdirat(parent, at, 0755) < 0 && errno != EEXIST)
                break;
        } else {
            int file = openat(parent, at, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
            if (file < 0)
                break;
            close(file);
        }
        fd = open_inside(parent, at);
        close(parent);
        parent = fd;
        if (last || fd < 0)
            return fd;
        at = end + 1;
    }
    int number = errno;
    if (parent >= 0)
        close(parent);
    errno = number;
    return -1;
}

int root_mount_tmpfs(const char *target, uint64_t size, const char *mode) {
    char options[96];
    /* A page for each inode is the least that one takes. */
    (void)snprintf(options, sizeof(options), "size=%llu,nr_inodes=%llu,mode=%s",
                   (unsigned long long)size, (unsigned long long)(size / 4096 + 64), mode);
    return mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, options);
}

/* ------------------------------------------------------------------- the job's mounts */

/* A detached copy of the mount at the source, with its attributes; `map` < 0: owners as they
 * are. */
static int open_mount(const struct launch_mount *wanted, int map) {
    int tree =
        open_tree(AT_FDCWD, wanted->source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    if (tree < 0)
        return -1;
    struct mount_attr set = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
    if (!wanted->writable)
        set.attr_set |= MOUNT_ATTR_RDONLY;
    if (map >= 0) {
        set.attr_set |= MOUNT_ATTR_IDMAP;
        set.userns_fd = (uint64_t)map;
    }
    if (mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &set, sizeof(set)) == 0)
        return tree;
    int number = errno;
    close(tree);
    errno = number;
    return -1;
}

/* The same with its owner shown as the task. */
static int open_mapped(struct root *root, const struct launch_mount *wanted) {
    struct stat status;
    int map = -1;
    if (root->user != root->box->caller) {
        if (stat(wanted->source, &status) < 0)
            return -1;
        map = owner_map(root->box, &status, root->user, root->group);
        if (map == -2) {
            /* Boxes do without where there are no user namespaces; containers cannot. */
            root->unmappable = !root->launch->image[0] || root->box->ranged;
            errno = EPERM;
            return -1;
        }
    }
    int tree = open_mount(wanted, map);
    if (tree < 0 && map >= 0)
        root->unmappable = errno == EINVAL || errno == EOPNOTSUPP;
    if (tree >= 0 && map >= 0)
        root->outcome->sandbox |= SANDBOX_MAPPED;
    return tree;
}

static void close_mounts(struct root *root) {
    for (uint32_t i = 0; i < root->launch->message->mount_count; i++) {
        if (root->trees[i] >= 0)
            close(root->trees[i]);
        root->trees[i] = -1;
    }
    if (root->image >= 0)
        close(root->image);
    root->image = -1;
}

/* Copies of all the job's mounts, for a task that is `root->user`. -1: one cannot be had so. */
static int open_mounts(struct root *root) {
    const struct launch *launch = root->launch;
    for (uint32_t i = 0; i < launch->message->mount_count; i++)
        root->trees[i] = -1;
    for (uint32_t i = 0; i < launch->message->mount_count; i++) {
        root->outcome->mount = (int32_t)i + 1;
        if (!launch->mounts[i].source[0])
            continue;
        root->trees[i] = open_mapped(root, &launch->mounts[i]);
        if (root->trees[i] < 0)
            return -1;
    }
    if (!launch->image[0])
        return 0;
    /* All of an image belongs to whoever unpacked it, and so to the task. */
    const struct launch_mount image = {.source = launch->image};
    root->outcome->mount = 0;
    root->image = open_mapped(root, &image);
    return root->image < 0 ? -1 : 0;
}

static int attach(int root, int tree, const char *target) {
    struct stat status;
    if (fstatat(tree, "", &status, AT_EMPTY_PATH) < 0)
        return -1;
    int place = open_target(root, target, S_ISDIR(status.st_mode));
    if (place < 0)
        return -1;
    int bad = move_mount(tree, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
    int number = errno;
    close(place);
    errno = number;
    return bad;
}

static int mount_fresh(const struct root *root, const struct launch_mount *wanted) {
    char path[64];
    uint64_t scratch = root->launch->message->scratch;
    int place = open_target(root->fd, wanted->target, true);
    if (place < 0)
        return -1;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", place);
    int bad = root_mount_tmpfs(path, scratch ? scratch : DEFAULT_SCRATCH,
                               wanted->writable ? "1777" : "755");
    int number = errno;
    close(place);
    errno = number;
    return bad;
}

static int attach_mounts(struct root *root) {
    for (uint32_t i = 0; i < root->launch->message->mount_count; i++) {
        const struct launch_mount *wanted = &root->launch->mounts[i];
        root->outcome->mount = (int32_t)i + 1;
        int bad = root->trees[i] < 0 ? mount_fresh(root, wanted)
                                     : attach(root->fd, root->trees[i], wanted->target);
        if (bad)
            return -1;
    }
    return 0;
}

/* ------------------------------------------------------------------------ the root */

int root_choose_user(struct root *root) {
    owner_of_task(root->box, root->launch, &root->user, &root->group);
    int bad = open_mounts(root);
    if (bad && root->unmappable && !root->box->ranged) {
        /* This file system shows owners only as they are. The caller's own user, without any
         * capability, is what an ordinary user's tasks run as, too. */
        close_mounts(root);
        root->outcome->sandbox &= ~(uint32_t)SANDBOX_MAPPED;
        root->outcome->sandbox |= root->box->caller == 0 ? SANDBOX_ROOT : 0;
        root->user = root->box->caller;
        root->group = root->box->caller_group;
        bad = open_mounts(root);
    }
    if (bad || root->user == root->box->caller)
        return bad;
    root->outcome->sandbox |= SANDBOX_OTHER_USER;
    /* So that /dev/stdout can be opened; given back at the end. */
    if (root->log >= 0 && fchown(root->log, root->user, (gid_t)-1) < 0)
        errno = 0;
    return 0;
}

static int make_folders(const struct box *box) {
    static const char *const names[] = {"proc", "run", "var", "home"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (mkdir(names[i], 0755) < 0)
            return -1;
    }
    if (mkdir("tmp", 0700) < 0 || chmod("tmp", 01777) < 0 || symlink("/tmp", "var/tmp") < 0)
        return -1;
    for (size_t i = 0; i < box->link_count; i++) {
        if (symlink(box->links[i].target, box->links[i].name) < 0)
            return -1;
    }
    for (size_t i = 0; i < box->folder_count; i++) {
        char source[64];
        (void)snprintf(source, sizeof(source), "%s/%s", box->stage, box->folders[i]);
        if (mkdir(box->folders[i], 0755) < 0 ||
            mount(source, box->folders[i], NULL, MS_BIND | MS_REC, NULL) < 0)
            return -1;
    }
    return 0;
}

static int mount_own(const struct root *root) {
    uint64_t shared = root->launch->message->shared_memory;
    /* /tmp and the root are one file system; the root alone becomes read-only. */
    if (mount("tmp", "tmp", NULL, MS_BIND, NULL) < 0)
        return -1;
    if (root_mount_tmpfs("dev/shm", shared ? shared : DEFAULT_SHARED, "1777") < 0)
        return -1;
    /* Read-only, so that no switch of the kernel is within reach. */
    if (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL) < 0)
        return -1;
    /* The first is for all; the others are root's alone to read, and covered only when the task
     * has root's number. */
    size_t count = root->user == 0 ? root->box->mask_count : root->box->mask_count > 0;
    for (size_t i = 0; i < count; i++) {
        if (mount("dev/null", root->box->masks[i], NULL, MS_BIND, NULL) < 0)
            return -1;
    }
    return 0;
}

static int enter(void) {
    struct mount_attr set = {.attr_set = MOUNT_ATTR_RDONLY};
    if (mount_setattr(AT_FDCWD, ".", 0, &set, sizeof(set)) < 0)
        return -1;
    if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0)
        return -1;
    return chdir("/");
}

enum stage root_make(struct root *root) {
    char path[64];
    uint64_t scratch = root->launch->message->scratch;
    if (root_choose_user(root) < 0)
        return STAGE_MOUNT;
    (void)snprintf(path, sizeof(path), "%s/root", root->box->stage);
    if (root_mount_tmpfs(path, scratch ? scratch : DEFAULT_SCRATCH, "755") < 0 || chdir(path) < 0)
        return STAGE_ROOT;
    if (make_folders(root->box) < 0 || mount_own(root) < 0)
        return STAGE_ROOT;
    root->fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root->fd < 0)
        return STAGE_ROOT;
    if (attach_mounts(root) < 0)
        return STAGE_MOUNT;
    close_mounts(root);
    return enter() < 0 ? STAGE_PIVOT : STAGE_NONE;
}
