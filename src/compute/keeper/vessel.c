/*
 * The vessel of a container: the mount, pid, ipc, uts and net namespaces in which crun starts an
 * image's program. Its folder is a tmpfs of its own with an OCI bundle:
 *
 *   config.json   as the driver wrote it, with the numbers that only the keeper knows
 *   rootfs/       the image's root folder below a fresh upper layer
 *   mounts/N      the job's mounts, with owners as the task sees them
 *   state/        what crun notes
 *
 * All of it vanishes with the vessel's init, however that ends.
 */
#include "compute/keeper/private-box.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BUNDLE_SIZE = 4 << 20, FORKED_WITHOUT_EXEC = 0x40 /* the kernel's PF_FORKNOEXEC */ };

/* ----------------------------------------------------------------------- the bundle */

static int write_file(const char *path, const char *text, size_t size) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return -1;
    ssize_t written = write(fd, text, size);
    close(fd);
    return written == (ssize_t)size ? 0 : -1;
}

/* Links of an image may lead anywhere within it. */
static int open_inside(int root, const char *path) {
    struct open_how how = {.flags = O_PATH | O_CLOEXEC,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

/* The task's, as the image's own files are. */
static int make_part(const struct root *root, int parent, const char *name, bool is_folder) {
    struct stat status;
    if (is_folder && mkdirat(parent, name, 0755) < 0)
        return -1;
    if (!is_folder) {
        /* A link that leads nowhere, as to a file of systemd-resolved, gives way. */
        if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode) &&
            unlinkat(parent, name, 0) < 0)
            return -1;
        int fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        if (fd < 0)
            return -1;
        close(fd);
    }
    return root->box->privileged
               ? fchownat(parent, name, root->user, root->group, AT_SYMLINK_NOFOLLOW)
               : 0;
}

/* Makes what is missing of a path, so that the container's user, who may own nothing there, need
 * not. The last part is a folder or an empty file. */
static int make_place(const struct root *root, const char *target, bool is_folder) {
    char path[4096];
    size_t size = strlen(target);
    int found = open_inside(root->fd, target);
    if (found >= 0) {
        close(found);
        return 0;
    }
    (void)snprintf(root->outcome->subject, sizeof(root->outcome->subject), "%.55s", target);
    if ((errno != ENOENT && errno != ELOOP) || size >= sizeof(path))
        return -1;
    memcpy(path, target, size + 1);
    int parent = fcntl(root->fd, F_DUPFD_CLOEXEC, 3);
    for (char *at = path; parent >= 0 && *(at += strspn(at, "/"));) {
        char *end = at + strcspn(at, "/");
        char kept = *end;
        *end = '\0';
        int next = open_inside(root->fd, path);
        bool makes = next < 0 && (errno == ENOENT || (errno == ELOOP && !kept && !is_folder));
        if (makes && make_part(root, parent, at, kept || is_folder) == 0)
            next = open_inside(root->fd, path);
        close(parent);
        parent = next;
        *end = kept;
        at = end;
    }
    if (parent < 0)
        return -1;
    close(parent);
    return 0;
}

static int make_places(const struct root *root) {
    static const char *const folders[] = {"/proc", "/dev", "/sys", "/tmp"};
    static const char *const files[] = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"};
    const struct launch *launch = root->launch;
    /* The last is the host's, where its network is. */
    size_t count = ARRAY_SIZE(files) - !(launch->message->flags & LAUNCH_HOST_NETWORK);
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
        if (make_place(root, folders[i], true) < 0)
            return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (make_place(root, files[i], false) < 0)
            return -1;
    }
    if (launch->directory[0] && make_place(root, launch->directory, true) < 0)
        return -1;
    for (uint32_t i = 0; i < launch->message->mount_count; i++) {
        struct stat status = {.st_mode = S_IFDIR};
        if (root->trees[i] >= 0 && fstatat(root->trees[i], "", &status, AT_EMPTY_PATH) < 0)
            return -1;
        root->outcome->mount = (int32_t)i + 1;
        /* One below another mount is made there, by crun. */
        (void)make_place(root, launch->mounts[i].target, S_ISDIR(status.st_mode));
    }
    root->outcome->subject[0] = '\0';
    return 0;
}

static int attach(int tree, const char *place) {
    struct stat status;
    if (fstatat(tree, "", &status, AT_EMPTY_PATH) < 0)
        return -1;
    int bad = S_ISDIR(status.st_mode) ? mkdir(place, 0755) : write_file(place, "", 0);
    return bad ? -1 : move_mount(tree, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH);
}

static int attach_mounts(struct root *root) {
    if (mkdir("mounts", 0755) < 0)
        return -1;
    for (uint32_t i = 0; i < root->launch->message->mount_count; i++) {
        char place[32];
        (void)snprintf(place, sizeof(place), "mounts/%u", i);
        root->outcome->mount = (int32_t)i + 1;
        if (root->trees[i] >= 0 && attach(root->trees[i], place) < 0)
            return -1;
    }
    return 0;
}

static int mount_image(const struct root *root) {
    static const char options[] = "lowerdir=lower,upperdir=upper,workdir=work";
    struct stat status;
    unsigned long flags = MS_NOSUID | MS_NODEV;
    if (attach(root->image, "lower") < 0 || stat("lower", &status) < 0 ||
        mkdir("upper", 0700) < 0 || chown("upper", status.st_uid, status.st_gid) < 0 ||
        chmod("upper", status.st_mode & 0777) < 0 || mkdir("work", 0700) < 0 ||
        mkdir("rootfs", 0755) < 0)
        return -1;
    /* Without a privilege of the machine, notes on layers are kept in attributes of the user's. */
    if (!root->box->privileged &&
        mount("overlay", "rootfs", "overlay", flags,
              "lowerdir=lower,upperdir=upper,workdir=work,userxattr") == 0)
        return 0;
    return mount("overlay", "rootfs", "overlay", flags, options);
}

/* Who the container's user is outside of it is known here only. */
static int write_config(const struct root *root) {
    const struct launch *launch = root->launch;
    const struct launch_message *message = launch->message;
    bool privileged = root->box->privileged;
    char text[HOST_ID_SIZE + 1];
    (void)snprintf(text, sizeof(text), "%*u", HOST_ID_SIZE, privileged ? root->user : 0u);
    memcpy(launch->config + message->host_user_at, text, HOST_ID_SIZE);
    (void)snprintf(text, sizeof(text), "%*u", HOST_ID_SIZE, privileged ? root->group : 0u);
    memcpy(launch->config + message->host_group_at, text, HOST_ID_SIZE);
    return write_file("config.json", launch->config, strlen(launch->config));
}

enum stage vessel_make(struct root *root) {
    const struct launch_message *message = root->launch->message;
    uint64_t scratch = message->scratch ? message->scratch : DEFAULT_SCRATCH;
    bool writable = message->flags & LAUNCH_WRITABLE_ROOT;
    char path[64];
    if (root_choose_user(root) < 0)
        return root->unmappable && root->box->ranged ? STAGE_OWNERS : STAGE_MOUNT;
    (void)snprintf(path, sizeof(path), "%s/root", root->box->stage);
    if (root_mount_tmpfs(path, BUNDLE_SIZE + (writable ? scratch : 0), "755") < 0 ||
        chdir(path) < 0)
        return STAGE_ROOT;
    if (attach_mounts(root) < 0)
        return STAGE_MOUNT;
    if (mount_image(root) < 0)
        return STAGE_ROOT;
    root->fd = open("rootfs", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root->fd < 0 || make_places(root) < 0)
        return STAGE_ROOT;
    /* The container shares this pid namespace, so it is shown this view of it. */
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        return STAGE_ROOT;
    /* Standard input: crun would change the owner of the host's /dev/null. */
    if (write_file("empty", "", 0) < 0 || write_config(root) < 0)
        return STAGE_ROOT;
    return STAGE_NONE;
}

/* ------------------------------------------------------------------------------ crun */

struct start {
    const struct keeper *keeper;
    int log;
};

static int run_runtime(void *argument) {
    const struct start *start = argument;
    /* Absolute: crun finds itself in another folder when it has made devices. */
    char path[64], state[64], number[64];
    const char *const arguments[] = {"crun",      state, "--cgroup-manager=disabled",
                                     "--log=log", "run", "--detach",
                                     number,      "box", NULL};
    static const char *const environment[] = {NULL};
    const char *stage = start->keeper->box->stage;
    sigset_t none;
    /* crun gives these files to the task's user; not so the host's /dev/null. */
    int log = start->log >= 0 ? start->log : open("../dev/null", O_WRONLY | O_CLOEXEC);
    int input = open("empty", O_RDONLY | O_CLOEXEC);
    if (input < 0 || log < 0 || dup2(input, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
        _exit(126);
    (void)syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)snprintf(path, sizeof(path), "%s/runtime", stage);
    (void)snprintf(state, sizeof(state), "--root=%s/root/state", stage);
    (void)snprintf(number, sizeof(number), "--pid-file=%s/root/pid", stage);
    (void)execve(path, (char *const *)(uintptr_t)arguments, (char *const *)(uintptr_t)environment);
    _exit(127);
}

pid_t vessel_start(struct keeper *keeper, int log) {
    struct start start = {keeper, log};
    return clone(run_runtime, keeper->stack + sizeof(keeper->stack),
                 CLONE_VM | CLONE_VFORK | SIGCHLD, &start);
}

static ssize_t read_file(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t count = fd < 0 ? -1 : read(fd, text, size - 1);
    if (fd >= 0)
        close(fd);
    text[count > 0 ? count : 0] = '\0';
    return count;
}

int vessel_open_number(void) {
    return open("pid", O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
}

static pid_t read_task(int number) {
    char text[32];
    ssize_t size = pread(number, text, sizeof(text) - 1, 0);
    text[size > 0 ? size : 0] = '\0';
    return (pid_t)strtol(text, NULL, 10);
}

static int number_of(const char *reason) {
    for (int number = 1; number < 134; number++) {
        if (strcmp(strerror(number), reason) == 0)
            return number;
    }
    return 0;
}

/* "mkdir `TARGET`: REASON", "mount `mounts/1` to `TARGET`: REASON" and their like: a place that one
 * of the job's mounts was to have. */
static bool is_about_mount(char *text, struct outcome *outcome) {
    static const char *const verbs[] = {"mkdir `", "mount `", "open `", "openat `", "creat `"};
    char *reason = strstr(text, "`: ");
    bool known = false;
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        known |= strncmp(text, verbs[i], strlen(verbs[i])) == 0;
    int number = known && reason ? number_of(reason + 3) : 0;
    if (!number)
        return false;
    *reason = '\0';
    const char *target = strrchr(text, '`') + 1;
    /* Some it names as they are in here. */
    char folder[256];
    size_t size = getcwd(folder, sizeof(folder)) ? strlen(folder) : 0;
    if (size && strncmp(target, folder, size) == 0 && strncmp(target + size, "/rootfs/", 8) == 0)
        target += size + 8;
    (void)snprintf(outcome->subject, sizeof(outcome->subject), "/%.54s",
                   target + strspn(target, "/"));
    errno = number;
    return true;
}

/* crun could not start the task. What it says is in the job's log, too. */
static void tell_refusal(struct outcome *outcome) {
    static const char missing[] = "executable file `", *const denied = "open executable";
    char text[512];
    if (read_file("log", text, sizeof(text)) <= 0)
        (void)snprintf(text, sizeof(text), "it ended without a word");
    text[strcspn(text, "\n")] = '\0';
    bool absent = strncmp(text, missing, sizeof(missing) - 1) == 0;
    if (absent || strncmp(text, denied, strlen(denied)) == 0) {
        errno = absent ? ENOENT : EACCES;
        box_fail(outcome, STAGE_PROGRAM);
    }
    if (is_about_mount(text, outcome))
        box_fail(outcome, STAGE_MOUNT);
    (void)snprintf(outcome->subject, sizeof(outcome->subject), "%.55s", text);
    outcome->stage = STAGE_RUNTIME;
    _exit(127);
}

/* A process that ended without ever having become another program was never the task: its last
 * words were crun's, which the kernel had refused the program's execution. */
static bool never_began(pid_t task) {
    char path[64], text[512];
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)task);
    if (read_file(path, text, sizeof(text)) <= 0)
        return false;
    const char *at = strrchr(text, ')');
    for (int field = 2; at && field < 9; field++)
        at = strchr(at + 1, ' ');
    return at && (strtoul(at, NULL, 10) & FORKED_WITHOUT_EXEC);
}

struct vessel {
    struct outcome *outcome;
    pid_t runtime, task; /* 0: not there yet, or no more */
    int devices;
    bool terminate; /* SIGTERM came before there was a task */
};

static void bury(struct vessel *vessel, pid_t pid, int code) {
    bool refused = pid == vessel->task && code == CLD_EXITED && never_began(pid);
    int status = 0;
    struct rusage usage = {0};
    if (wait4(pid, &status, 0, &usage) != pid)
        return;
    if (pid == vessel->runtime && status != 0)
        tell_refusal(vessel->outcome);
    if (refused) {
        errno = WEXITSTATUS(status) == 127 ? ENOENT : ENOEXEC;
        box_fail(vessel->outcome, STAGE_PROGRAM);
    }
    if (pid == vessel->runtime)
        vessel->runtime = 0;
    else if (vessel->task && pid >= vessel->task) /* before it came crun's own */
        box_add_usage(vessel->outcome, &usage);
    if (pid == vessel->task)
        box_end(vessel->outcome, status, vessel->devices);
}

void vessel_wait(struct outcome *outcome, pid_t runtime, int number, int devices) {
    struct vessel vessel = {.outcome = outcome, .runtime = runtime, .devices = devices};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    for (;;) {
        siginfo_t info = {0};
        while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid) {
            /* The task is ours to bury once crun, whose child it was, has noted its number. */
            if (!vessel.task)
                vessel.task = read_task(number);
            bury(&vessel, info.si_pid, info.si_code);
            info.si_pid = 0;
        }
        if (!vessel.runtime && !vessel.task)
            tell_refusal(outcome);
        if (vessel.terminate && vessel.task) {
            vessel.terminate = false;
            (void)kill(vessel.task, SIGTERM);
        }
        if (sigwaitinfo(&set, NULL) == SIGTERM) {
            vessel.terminate = !vessel.task;
            (void)kill(-1, SIGTERM);
        }
    }
}
