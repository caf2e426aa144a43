/* The stage: a small tmpfs, visible to the keeper alone, with the folders that every box shows:
 * /usr, a minimal /etc, /dev, and what of /sys tells the shape of the processor. */
#include "compute/keeper/private-box.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

static int write_text(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return -1;
    ssize_t size = write(fd, text, strlen(text));
    close(fd);
    return size < 0 ? -1 : 0;
}

/* Shows a file or folder of the host, read-only, at a place of the stage. */
static int show(const char *source, const char *target, uint64_t attributes) {
    struct stat status;
    if (stat(source, &status) < 0)
        return -1;
    if (S_ISDIR(status.st_mode)) {
        if (mkdir(target, 0755) < 0 && errno != EEXIST)
            return -1;
    } else if (write_text(target, "") < 0 && errno != EEXIST) {
        return -1;
    }
    int tree = open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    if (tree < 0)
        return -1;
    struct mount_attr set = {.attr_set = attributes};
    int bad = mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &set, sizeof(set));
    if (!bad)
        bad = move_mount(tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
    int number = errno;
    close(tree);
    errno = number;
    return bad;
}

enum { SHOWN = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV };

static int stage_programs(struct box *box) {
    /* On a merged /usr these are links; elsewhere folders of their own. */
    static const char *const names[] = {"bin", "sbin", "lib", "lib32", "lib64", "libx32"};
    if (show("/usr", "usr", SHOWN) < 0)
        return -1;
    box->folders[box->folder_count++] = "usr";
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char host[32];
        (void)snprintf(host, sizeof(host), "/%s", names[i]);
        char target[48];
        ssize_t size = readlink(host, target, sizeof(target) - 1);
        if (size > 0) {
            target[size] = '\0';
            (void)snprintf(box->links[box->link_count].name, 16, "%s", names[i]);
            memcpy(box->links[box->link_count++].target, target, sizeof(target));
        } else if (access(host, F_OK) == 0 && box->folder_count < LINKS_MAXIMUM) {
            if (show(host, names[i], SHOWN) < 0)
                return -1;
            box->folders[box->folder_count++] = names[i];
        }
    }
    return 0;
}

/* The host's accounts, keys and configuration stay outside. */
static int stage_etc(struct box *box) {
    char text[512];
    if (mkdir("etc", 0755) < 0)
        return -1;
    (void)snprintf(text, sizeof(text),
                   "root:x:0:0:root:/:/usr/sbin/nologin\nglovebox:x:%u:%u:task:/tmp:/bin/sh\n",
                   box->user, box->group);
    if (write_text("etc/passwd", text) < 0)
        return -1;
    (void)snprintf(text, sizeof(text), "root:x:0:\nglovebox:x:%u:\n", box->group);
    if (write_text("etc/group", text) < 0 ||
        write_text("etc/hosts", "127.0.0.1 localhost glovebox\n::1 localhost\n") < 0 ||
        write_text("etc/hostname", "glovebox\n") < 0 ||
        write_text("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n") < 0)
        return -1;
    ssize_t size = readlink("/etc/localtime", text, sizeof(text) - 1);
    if (size > 0) {
        text[size] = '\0';
        if (symlink(text, "etc/localtime") < 0)
            return -1;
    }
    /* What programs of /usr cannot do without; each may be absent. */
    static const char *const shown[] = {"ld.so.cache", "alternatives", "fonts"};
    for (size_t i = 0; i < ARRAY_SIZE(shown); i++) {
        char host[64];
        (void)snprintf(host, sizeof(host), "/etc/%s", shown[i]);
        if (show(host, host + 1, SHOWN) < 0 && errno != ENOENT)
            return -1;
    }
    box->folders[box->folder_count++] = "etc";
    return 0;
}

static int stage_devices(struct box *box) {
    static const char *const nodes[] = {"null", "zero", "full", "random", "urandom"};
    static const char *const links[][2] = {{"/proc/self/fd", "dev/fd"},
                                           {"/proc/self/fd/0", "dev/stdin"},
                                           {"/proc/self/fd/1", "dev/stdout"},
                                           {"/proc/self/fd/2", "dev/stderr"}};
    if (mkdir("dev", 0755) < 0 || mkdir("dev/shm", 01777) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
        char host[32];
        (void)snprintf(host, sizeof(host), "/dev/%s", nodes[i]);
        /* Read-only: devices are written to all the same, but nobody changes their mode or owner.
         */
        if (show(host, host + 1, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC) < 0)
            return -1;
    }
    for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
        if (symlink(links[i][0], links[i][1]) < 0)
            return -1;
    }
    box->folders[box->folder_count++] = "dev";
    return 0;
}

/* Numeric libraries size their thread pools by these. */
static int stage_sys(struct box *box) {
    static const char *const shown[] = {"/sys/devices/system/cpu", "/sys/devices/system/node"};
    if (mkdir("sys", 0755) < 0 || mkdir("sys/devices", 0755) < 0 ||
        mkdir("sys/devices/system", 0755) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(shown); i++) {
        if (show(shown[i], shown[i] + 1, SHOWN | MOUNT_ATTR_NOEXEC) < 0 && errno != ENOENT)
            return -1;
    }
    box->folders[box->folder_count++] = "sys";
    return 0;
}

static void choose_masks(struct box *box) {
    static const char *const masks[] = {"proc/keys",     "proc/kcore",       "proc/timer_list",
                                        "proc/kallsyms", "proc/sched_debug", "proc/slabinfo"};
    for (size_t i = 0; i < ARRAY_SIZE(masks); i++) {
        char host[32];
        (void)snprintf(host, sizeof(host), "/%s", masks[i]);
        if (access(host, F_OK) == 0)
            box->masks[box->mask_count++] = masks[i];
    }
}

/* Covers, for this process alone, a folder that exists everywhere and that no job will ask for:
 * below a job's source the stage would be shown with it. */
static int mount_stage(struct box *box) {
    static const char *const places[] = {"/sys/kernel", "/mnt", "/media"};
    if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        if (mount("glovebox", places[i], "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755") == 0) {
            box->stage = places[i];
            return 0;
        }
    }
    return -1;
}

/* crun looks for cgroups, which are not its business here, and refuses a mixture of both versions.
 * It runs from a read-only mount, or else it would first make such a copy of itself, each time. */
static int stage_runtime(const char *runtime) {
    struct statfs status;
    static const char unified[] = "/sys/fs/cgroup/unified";
    if (statfs(unified, &status) == 0 && status.f_type == CGROUP2_SUPER_MAGIC &&
        mount("none", unified, "tmpfs", MS_NOSUID | MS_NODEV, "size=4k") < 0)
        return -1;
    return show(runtime, "runtime", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV);
}

int stage_make(struct box *box, const char *runtime) {
    int home = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (home < 0 || mount_stage(box) < 0 || chdir(box->stage) < 0)
        return -1;
    int bad = mkdir("root", 0755);
    if (runtime)
        bad = bad ? bad : stage_runtime(runtime);
    else
        bad = bad ? bad : stage_programs(box);
    bad = bad ? bad : stage_etc(box);
    bad = bad ? bad : stage_devices(box);
    bad = bad ? bad : stage_sys(box);
    choose_masks(box);
    struct mount_attr set = {.attr_set = MOUNT_ATTR_RDONLY};
    bad = bad ? bad : mount_setattr(AT_FDCWD, ".", 0, &set, sizeof(set));
    int number = errno;
    if (fchdir(home) < 0)
        bad = -1;
    close(home);
    errno = number;
    return bad;
}
