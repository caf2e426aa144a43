/*
 * The sealed box. Its life:
 *
 *   box_open(), once: the keeper leaves for a mount namespace of its own (as an ordinary user for
 *   a user namespace as well) and stages there what all boxes have in common.
 *   box_start(), for each job: a clone with new namespaces becomes the box's init. It builds a
 *   root folder from the stage and the job's mounts, moves into it, gives up all privileges,
 *   installs the system-call filter, starts the task and waits for it. When it ends, the kernel
 *   ends everything else in the box.
 */
#include "compute/keeper/private-box.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ------------------------------------------------------------ once for the keeper */

static int write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t size = write(fd, text, strlen(text));
    int number = errno;
    close(fd);
    errno = number;
    return size < 0 ? -1 : 0;
}

/* A single user: all that an unprivileged process may map. Who makes containers is root inside,
 * since crun asks for that; boxes show the user as it is. */
static int map_single(uid_t user, gid_t group, bool as_root) {
    char map[64];
    (void)snprintf(map, sizeof(map), "%u %u 1\n", as_root ? 0 : user, user);
    int bad = write_file("/proc/self/setgroups", "deny");
    bad |= write_file("/proc/self/uid_map", map);
    (void)snprintf(map, sizeof(map), "%u %u 1\n", as_root ? 0 : group, group);
    return bad | write_file("/proc/self/gid_map", map);
}

/* What can be given up here need not be given up in each box. The keeper keeps the capabilities
 * that it holds; they end with the next execve, of which there is none but the tasks'. */
static int limit_successors(bool containers) {
    /* crun needs what the keeper has, and takes it all from the task. */
    if (containers)
        return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++) {
        if (prctl(PR_CAPBSET_DROP, capability) < 0)
            return -1;
    }
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return -1;
    unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
                         SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED | SECBIT_KEEP_CAPS_LOCKED;
    if (prctl(PR_SET_SECUREBITS, bits) < 0)
        return -1;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/* A keeper whose range cannot be had still tells what became of its jobs; new ones are refused. */
static int leave(struct box *box, const struct range *range) {
    if (box->caller == 0 && unshare(CLONE_NEWNS) == 0) {
        box->user = box->group = BOX_USER;
        box->privileged = true;
        box->ranged = range->user != 0;
        box->range_user = range->user;
        box->range_group = range->group;
        return 0;
    }
    int entered = range->user ? users_enter_namespace(range) : -1;
    box->ranged = entered > 0;
    box->range_user = box->range_group = 1;
    if (box->ranged)
        return 0;
    if (entered < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        return -1;
    /* One of the two may have been mapped before the other could not be. */
    if (map_single(box->caller, box->caller_group, box->containers) < 0)
        return entered == 0 && geteuid() == 0 && getegid() == 0 ? 0 : -1;
    return 0;
}

struct box *box_open(const struct keeper *keeper, struct groups **groups, const char **reason) {
    struct box *box = calloc(1, sizeof(*box));
    *reason = "memory";
    if (!box)
        return NULL;
    box->containers = keeper->runtime != NULL;
    box->caller = geteuid();
    box->caller_group = getegid();
    box->user = box->caller;
    box->group = box->caller_group;
    *groups = groups_open(true);
    *reason = "user namespaces are not available to this user";
    if (leave(box, &keeper->range) < 0)
        return NULL;
    *reason = "cannot prepare the box's folders";
    if (stage_make(box, keeper->runtime) < 0)
        return NULL;
    *reason = "cannot give up privileges";
    return limit_successors(box->containers) < 0 ? NULL : box;
}

pid_t box_clone_holder(unsigned long namespaces) {
    pid_t keeper = getpid();
    pid_t pid = (pid_t)syscall(SYS_clone, namespaces | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != keeper))
        _exit(127);
    return pid;
}

/* ------------------------------------------------------------------- inside the box */

struct setup {
    struct keeper *keeper;
    struct job *job;
    struct outcome *outcome;
    const struct launch *launch;
    int devices; /* the box's /proc/net/dev, -1 without a net namespace */
};

void box_fail(struct outcome *outcome, enum stage stage) {
    outcome->number = errno ? errno : EINVAL;
    outcome->stage = stage;
    _exit(127);
}

/* Without a pids cgroup there is RLIMIT_NPROC, which counts all processes of a user. In a user
 * namespace of its own the box is counted alone. `self` is the host's /proc/self: the box's own
 * is read-only. */
static int count_alone(uid_t user, gid_t group, int self) {
    char map[2][64];
    static const char *const files[] = {"setgroups", "uid_map", "gid_map"};
    (void)snprintf(map[0], sizeof(map[0]), "%u %u 1\n", user, user);
    (void)snprintf(map[1], sizeof(map[1]), "%u %u 1\n", group, group);
    const char *const texts[] = {"deny", map[0], map[1]};
    if (unshare(CLONE_NEWUSER) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        int fd = openat(self, files[i], O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, texts[i], strlen(texts[i])) < 0)
            return -1;
        close(fd);
    }
    return 0;
}

/* Where a container has several users, its init keeps the right to pass SIGTERM on to them all: it
 * sees no process but those. */
static int give_up_privileges(const struct box *box, uid_t user, gid_t group) {
    if (box->ranged && prctl(PR_SET_KEEPCAPS, 1) < 0)
        return -1;
    if (box->privileged) {
        if (setgroups(0, NULL) < 0 || setresgid(group, group, group) < 0 ||
            setresuid(user, user, user) < 0)
            return -1;
    }
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct kept[2] = {0};
    kept[0].permitted = kept[0].effective = box->ranged ? 1u << CAP_KILL : 0;
    if (syscall(SYS_capset, &header, kept) < 0)
        return -1;
    /* Nobody in the box may look into this process, which knows the other jobs. */
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static int install_filter(const struct keeper *keeper, uint32_t *sandbox) {
    if (!keeper->filter.len) { /* no driver sent one: better no task than an open box */
        errno = ENOSYS;
        return -1;
    }
    *sandbox |= SANDBOX_SECCOMP;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0u, &keeper->filter);
}

static bool keeper_is_dead(const struct keeper *keeper) {
    struct pollfd polled = {.fd = keeper->alive, .events = POLLIN};
    return poll(&polled, 1, 0) > 0;
}

static int run_task(void *argument) {
    struct setup *setup = argument;
    launch_execute(setup->keeper, setup->job->log, setup->outcome);
    _exit(127);
}

void box_add_usage(struct outcome *outcome, const struct rusage *usage) {
    outcome->cpu_user += (int64_t)usage->ru_utime.tv_sec * 1000000 + usage->ru_utime.tv_usec;
    outcome->cpu_system += (int64_t)usage->ru_stime.tv_sec * 1000000 + usage->ru_stime.tv_usec;
    uint64_t peak = (uint64_t)usage->ru_maxrss * 1024;
    outcome->peak_memory = peak > outcome->peak_memory ? peak : outcome->peak_memory;
}

/* Processes of this pid namespace but its init. */
static uint64_t count_others(void) {
    DIR *list = opendir("/proc");
    uint64_t count = 0;
    for (struct dirent *entry; list && (entry = readdir(list));)
        count += entry->d_name[0] >= '0' && entry->d_name[0] <= '9';
    if (list)
        (void)closedir(list);
    return count ? count - 1 : 0;
}

void box_end(struct outcome *outcome, int status, int devices) {
    /* With the one that has just failed. */
    outcome->processes = status ? count_others() + 1 : 0;
    outcome->status = status;
    outcome->network_used = !network_is_pristine(devices);
    outcome->finished = 1;
    _exit(0);
}

/* The init's work: to bury the dead, and to pass on SIGTERM. A task that were process 1 itself
 * would be deaf to signals that it has no handler for, and abort() would not abort. */
static void wait_for_task(struct outcome *outcome, pid_t task, int devices) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    for (;;) {
        int status;
        struct rusage usage;
        pid_t pid;
        while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
            box_add_usage(outcome, &usage);
            if (pid == task)
                box_end(outcome, status, devices);
        }
        if (sigwaitinfo(&set, NULL) == SIGTERM)
            (void)kill(-1, SIGTERM);
    }
}

/* The init keeps nothing open but the box's /proc/net/dev, as its standard input, and `number`, as
 * its output. */
static void close_files(struct setup *setup, int number) {
    if ((number >= 0 && dup2(number, 1) < 0) ||
        (setup->devices >= 0 && dup2(setup->devices, 0) < 0))
        box_fail(setup->outcome, STAGE_INIT);
    if (setup->devices >= 0)
        setup->devices = 0;
    else
        close(0);
    (void)syscall(SYS_close_range, number >= 0 ? 2u : 1u, ~0u, 0u);
}

static void become_init(struct setup *setup) {
    struct keeper *keeper = setup->keeper;
    pid_t task = clone(run_task, keeper->stack + sizeof(keeper->stack),
                       CLONE_VM | CLONE_VFORK | SIGCHLD, setup);
    if (task < 0)
        box_fail(setup->outcome, STAGE_CLONE);
    close_files(setup, -1);
    wait_for_task(setup->outcome, task, setup->devices);
}

/* From here on the process is nobody: it must not be able to take anything back. */
static void become_nobody(struct setup *setup, const struct root *root) {
    if (give_up_privileges(setup->keeper->box, root->user, root->group) < 0)
        box_fail(setup->outcome, STAGE_PRIVILEGE);
    /* Changing the user has cleared this, and the keeper may have died meanwhile. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (keeper_is_dead(setup->keeper))
        _exit(127);
}

static void join(struct setup *setup) {
    struct keeper *keeper = setup->keeper;
    struct outcome *outcome = setup->outcome;
    bool network = setup->job->network >= 0;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (group_join(keeper->groups, &setup->job->group) < 0)
        box_fail(outcome, STAGE_CGROUP);
    outcome->sandbox = SANDBOX_BOX | (network ? SANDBOX_NETWORK : 0) |
                       (keeper->box->privileged ? 0 : SANDBOX_USER);
    if (unshare(CLONE_NEWCGROUP) == 0)
        outcome->sandbox |= SANDBOX_CGROUP;
    if (network && setns(setup->job->network, CLONE_NEWNET) < 0)
        box_fail(outcome, STAGE_NETWORK);
    if (sethostname("glovebox", 8) < 0)
        box_fail(outcome, STAGE_ROOT);
}

static void open_devices(struct setup *setup) {
    if (setup->job->network >= 0)
        setup->devices = open("/proc/self/net/dev", O_RDONLY | O_CLOEXEC);
}

static void run_box(struct setup *setup, struct root *root) {
    struct keeper *keeper = setup->keeper;
    struct outcome *outcome = setup->outcome;
    bool alone = (setup->job->sandbox & SANDBOX_PROCESSES_USER) &&
                 setup->launch->message->processes && !keeper->box->privileged;
    int self = alone ? open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    enum stage stage = root_make(root);
    if (stage != STAGE_NONE)
        box_fail(outcome, stage);
    if (self >= 0 && count_alone(keeper->box->user, keeper->box->group, self) < 0)
        box_fail(outcome, STAGE_LIMIT);
    open_devices(setup);
    if (launch_limits(setup->launch, setup->job->sandbox) < 0)
        box_fail(outcome, STAGE_LIMIT);
    become_nobody(setup, root);
    if (install_filter(keeper, &outcome->sandbox) < 0)
        box_fail(outcome, STAGE_FILTER);
    become_init(setup);
}

/* crun makes the container: namespaces of user and mounts, the filter, the limit of processes.
 * It is gone once the task runs, and the task is this process's child then. */
static void run_vessel(struct setup *setup, struct root *root) {
    struct outcome *outcome = setup->outcome;
    bool range_missing = setup->keeper->kind == KEEPER_USERS && !root->box->ranged;
    errno = 0;
    enum stage stage = range_missing ? STAGE_RANGE : vessel_make(root);
    if (stage != STAGE_NONE)
        box_fail(outcome, stage);
    open_devices(setup);
    /* crun sets the limit of processes before it makes the container's user namespace, which then
     * holds for all processes of its maker in the one above; but not for root of the machine, which
     * several users of an image would make use of. */
    bool alone = root->box->ranged || !root->box->privileged;
    int self = alone ? open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (self >= 0 && (root->box->ranged ? users_count_alone(self) : count_alone(0, 0, self)) < 0)
        box_fail(outcome, STAGE_LIMIT);
    if (launch_limits(setup->launch, setup->job->sandbox & ~(uint32_t)SANDBOX_PROCESSES_USER) < 0)
        box_fail(outcome, STAGE_LIMIT);
    int number = vessel_open_number();
    pid_t runtime = number < 0 ? -1 : vessel_start(setup->keeper, setup->job->log);
    if (runtime < 0)
        box_fail(outcome, STAGE_CLONE);
    outcome->sandbox |= SANDBOX_CONTAINER | SANDBOX_USER | SANDBOX_SECCOMP |
                        (root->box->ranged ? SANDBOX_USERS : 0);
    become_nobody(setup, root);
    close_files(setup, number);
    vessel_wait(outcome, runtime, 1, setup->devices);
}

static void run_child(struct setup *setup) {
    struct root root = {.box = setup->keeper->box,
                        .launch = setup->launch,
                        .outcome = setup->outcome,
                        .log = setup->job->log,
                        .image = -1};
    join(setup);
    if (root.box->containers)
        run_vessel(setup, &root);
    else
        run_box(setup, &root);
}

/* The task, or crun for it, may change the owner and the group of its log. */
static void lend_log(const struct box *box, struct job *job) {
    struct stat status;
    job->log_lent = box->privileged || box->ranged;
    job->log_owner = box->privileged ? box->caller : 0;
    job->log_group =
        job->log_lent && job->log >= 0 && fstat(job->log, &status) == 0 ? status.st_gid : (gid_t)-1;
}

pid_t box_start(struct keeper *keeper, struct job *job) {
    struct setup setup = {keeper, job, job->outcome, &keeper->launch, -1};
    unsigned long flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | SIGCHLD;
    if (!(keeper->launch.message->flags & LAUNCH_HOST_NETWORK)) {
        job->network = network_take(keeper->box);
        if (job->network < 0)
            return -1;
    }
    if (keeper->kind == KEEPER_USERS && users_note(keeper, job) < 0) {
        box_finish(keeper, job);
        return -1;
    }
    owners_prepare(keeper->box, &keeper->launch);
    lend_log(keeper->box, job);
    /* A true copy of this process, which is small: it works in parallel with us. */
    pid_t pid = (pid_t)syscall(SYS_clone, flags, 0, 0, 0, 0);
    if (pid == 0) {
        run_child(&setup);
        _exit(127);
    }
    if (keeper->kind == KEEPER_USERS)
        users_note_init(job, pid);
    if (pid < 0) {
        users_release(keeper, job);
        box_finish(keeper, job);
    }
    return pid;
}

void box_finish(struct keeper *keeper, struct job *job) {
    if (job->network >= 0)
        network_give_back(keeper->box, job->network,
                          job->outcome->finished && !job->outcome->network_used);
    job->network = -1;
}
