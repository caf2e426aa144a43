/* From a launch message to a process. */
#include "compute/keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* The next of the message's texts, or NULL when it ends before its NUL. */
static char *next_text(char **at, const char *end) {
    char *text = *at;
    char *nul = text < end ? memchr(text, '\0', (size_t)(end - text)) : NULL;
    if (nul)
        *at = nul + 1;
    return nul ? text : NULL;
}

static int parse_mounts(struct launch *launch, uint32_t count, char **at, const char *end) {
    for (uint32_t i = 0; i < count; i++) {
        const char *mode = next_text(at, end);
        const char *source = next_text(at, end);
        const char *target = next_text(at, end);
        if (!target || target[0] != '/')
            return -1;
        launch->mounts[i] = (struct launch_mount){source, target, mode[0] == 'w'};
    }
    return 0;
}

/* Room for the two numbers that the keeper writes. */
static bool config_is_sane(const struct launch *launch) {
    const struct launch_message *message = launch->message;
    size_t size = strlen(launch->config);
    if (!launch->image[0])
        return true;
    return size >= HOST_ID_SIZE && message->host_user_at <= size - HOST_ID_SIZE &&
           message->host_group_at <= size - HOST_ID_SIZE;
}

int launch_parse(struct keeper *keeper, const struct launch_message *message) {
    struct launch *launch = &keeper->launch;
    char *at = (char *)(uintptr_t)(message + 1);
    const char *end = (const char *)message + message->header.size;
    if (message->header.size < sizeof(*message) || message->argument_count < 1 ||
        message->argument_count > ARGUMENTS_MAXIMUM ||
        message->environment_count > ARGUMENTS_MAXIMUM || message->mount_count > MOUNTS_MAXIMUM)
        return -1;
    launch->message = message;
    launch->log = next_text(&at, end);
    launch->work = next_text(&at, end);
    launch->directory = next_text(&at, end);
    launch->image = next_text(&at, end);
    launch->config = next_text(&at, end);
    launch->path = DEFAULT_PATH;
    launch->arguments = keeper->arguments;
    launch->environment = keeper->arguments + message->argument_count + 1;
    for (uint32_t i = 0; i < message->argument_count; i++)
        launch->arguments[i] = next_text(&at, end);
    launch->arguments[message->argument_count] = NULL;
    for (uint32_t i = 0; i < message->environment_count; i++) {
        launch->environment[i] = next_text(&at, end);
        if (launch->environment[i] && strncmp(launch->environment[i], "PATH=", 5) == 0)
            launch->path = launch->environment[i] + 5;
    }
    launch->environment[message->environment_count] = NULL;
    const char *last = message->environment_count
                           ? launch->environment[message->environment_count - 1]
                           : launch->arguments[message->argument_count - 1];
    if (!last || !launch->config || !config_is_sane(launch))
        return -1;
    return parse_mounts(launch, message->mount_count, &at, end);
}

static void set_limit(__rlimit_resource_t resource, uint64_t value) {
    struct rlimit limit;
    if (getrlimit(resource, &limit) < 0)
        return;
    if (limit.rlim_max == RLIM_INFINITY || value < limit.rlim_max)
        limit.rlim_max = value;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(resource, &limit);
}

int launch_limits(const struct launch *launch, uint32_t sandbox) {
    set_limit(RLIMIT_CORE, 0); /* a core file would hold patient data */
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max < 4096 ? files.rlim_max : 4096;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    /* Not RLIMIT_AS: programs reserve address space that they never use. */
    if (sandbox & SANDBOX_MEMORY_PROCESS)
        set_limit(RLIMIT_DATA, launch->message->memory);
    if (sandbox & SANDBOX_PROCESSES_USER)
        set_limit(RLIMIT_NPROC, /* and the box's init */
                  (launch->message->processes ? launch->message->processes : DEFAULT_PROCESSES) +
                      1);
    return 0;
}

/* execve over the folders of PATH. Only returns when none had it, with the errno worth telling:
 * a program that may not be run says more than one that is not there. */
static int search_and_execute(const struct launch *launch) {
    const char *program = launch->arguments[0];
    if (strchr(program, '/')) {
        (void)execve(program, launch->arguments, launch->environment);
        return errno;
    }
    int worth = ENOENT;
    char path[4096];
    for (const char *at = launch->path; at;) {
        const char *colon = strchr(at, ':');
        int size = colon ? (int)(colon - at) : (int)strlen(at);
        int length = snprintf(path, sizeof(path), "%.*s%s%s", size, at, size ? "/" : "./", program);
        at = colon ? colon + 1 : NULL;
        if (length < 0 || length >= (int)sizeof(path))
            continue;
        (void)execve(path, launch->arguments, launch->environment);
        if (errno != ENOENT && errno != ENOTDIR)
            worth = errno;
        if (errno != ENOENT && errno != ENOTDIR && errno != EACCES && errno != ENODEV)
            break;
    }
    return worth;
}

void launch_execute(const struct keeper *keeper, int log, struct outcome *outcome) {
    const struct launch *launch = &keeper->launch;
    (void)setsid();
    if (log < 0)
        log = keeper->null;
    outcome->stage = STAGE_LOG;
    if (dup2(keeper->null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0) {
        outcome->number = errno;
        return;
    }
    /* All are close-on-exec already; this is the second lock on that door. */
    (void)syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
    const char *directory = launch->directory[0] ? launch->directory
                            : keeper->boxed      ? "/"
                                                 : launch->work;
    outcome->stage = STAGE_DIRECTORY;
    if (directory[0] && chdir(directory) < 0) {
        outcome->number = errno;
        return;
    }
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    outcome->stage = STAGE_NONE;
    int number = search_and_execute(launch);
    outcome->number = number;
    outcome->stage = STAGE_PROGRAM;
}

/* ------------------------------------------------------------- a plain process */

struct plain_child {
    struct keeper *keeper;
    struct job *job;
    pid_t parent;
};

static int run_plain_child(void *argument) {
    struct plain_child *child = argument;
    struct outcome *outcome = child->job->outcome;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != child->parent)
        _exit(127);
    if (group_join(child->keeper->groups, &child->job->group) < 0) {
        outcome->stage = STAGE_CGROUP;
        outcome->number = errno;
        _exit(127);
    }
    (void)launch_limits(&child->keeper->launch, child->job->sandbox);
    launch_execute(child->keeper, child->job->log, outcome);
    _exit(127);
}

pid_t launch_plain(struct keeper *keeper, struct job *job) {
    /* As posix_spawn does it: the child borrows this memory until it executes the program, and
     * this process sleeps meanwhile. */
    struct plain_child child = {keeper, job, getpid()};
    return clone(run_plain_child, keeper->stack + sizeof(keeper->stack),
                 CLONE_VM | CLONE_VFORK | SIGCHLD, &child);
}
