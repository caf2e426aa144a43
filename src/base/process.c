/* Programs started without a fork, and why they ended. */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <unistd.h>

extern char **environ;

static const char *const cause_names[CAUSE_COUNT] = {
    [CAUSE_NONE] = "",
    [CAUSE_EXIT] = "exit",
    [CAUSE_SIGNAL] = "signal",
    [CAUSE_OUT_OF_MEMORY] = "out_of_memory",
    [CAUSE_TIMEOUT] = "timeout",
    [CAUSE_CANCELLED] = "cancelled",
    [CAUSE_LOST] = "lost",
    [CAUSE_IMAGE_NOT_FOUND] = "image_not_found",
    [CAUSE_NOT_STARTED] = "not_started",
    [CAUSE_POLICY] = "policy",
    [CAUSE_OUTPUT] = "output",
    [CAUSE_REJECTED] = "rejected",
};

const char *cause_name(enum cause cause) {
    return (unsigned)cause < CAUSE_COUNT ? cause_names[cause] : "unknown";
}

int cause_parse(const char *name, enum cause *ret_cause, struct error **err) {
    for (int cause = CAUSE_EXIT; cause < CAUSE_COUNT; cause++) {
        if (text_equal(name, cause_names[cause])) {
            *ret_cause = (enum cause)cause;
            return 0;
        }
    }
    error_set(err, ERROR_INVALID, "unknown cause \"%s\"", name);
    const char *near = text_nearest(name, cause_names + 1, CAUSE_COUNT - 1);
    if (near)
        error_hint(err, "did you mean \"%s\"?", near);
    return -1;
}

uint64_t process_start_time(pid_t pid) {
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    OWN_BUFFER text = {0};
    if (file_read_all(AT_FDCWD, path, 4096, &text, NULL) < 0)
        return 0;
    /* The name, field 2, may hold anything: count from its closing bracket. */
    const char *at = strrchr(buffer_text(&text), ')');
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at + 1, NULL, 10) : 0;
}

static int add_standard_fd(posix_spawn_file_actions_t *actions, int fd, int target) {
    if (fd < 0)
        return posix_spawn_file_actions_addopen(actions, target, "/dev/null",
                                                target ? O_WRONLY : O_RDONLY, 0);
    return posix_spawn_file_actions_adddup2(actions, fd, target);
}

static int prepare(const struct process_options *options, posix_spawn_file_actions_t *actions,
                   posix_spawnattr_t *attributes) {
    int bad = add_standard_fd(actions, options->input, 0);
    bad = bad ? bad : add_standard_fd(actions, options->output, 1);
    bad = bad ? bad : add_standard_fd(actions, options->error, 2);
    if (!bad && options->directory)
        bad = posix_spawn_file_actions_addchdir_np(actions, options->directory);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    if (options->new_session)
        flags |= POSIX_SPAWN_SETSID;
    bad = bad ? bad : posix_spawnattr_setsigmask(attributes, &none);
    bad = bad ? bad : posix_spawnattr_setsigdefault(attributes, &all);
    return bad ? bad : posix_spawnattr_setflags(attributes, flags);
}

int process_spawn(const struct process_options *options, pid_t *ret_pid, struct error **err) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    if (posix_spawn_file_actions_init(&actions) != 0)
        return error_set_memory(err);
    if (posix_spawnattr_init(&attributes) != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return error_set_memory(err);
    }
    int bad = prepare(options, &actions, &attributes);
    const char *const *environment =
        options->environment ? options->environment : (const char *const *)environ;
    if (!bad)
        bad = posix_spawn(ret_pid, options->argv[0], &actions, &attributes,
                          (char *const *)(uintptr_t)options->argv,
                          (char *const *)(uintptr_t)environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return bad ? error_set_errno(err, bad, "cannot start %s", options->argv[0]) : 0;
}

char *process_executable_directory(struct error **err) {
    char path[4096];
    ssize_t size = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (size < 0) {
        error_set_errno(err, errno, "cannot read /proc/self/exe");
        return NULL;
    }
    path[size] = '\0';
    char *slash = strrchr(path, '/');
    if (slash && slash != path)
        *slash = '\0';
    char *copy = memory_copy_string(path);
    if (!copy)
        error_set_memory(err);
    return copy;
}
