/* Driving a run, or watching who does, until it rests or a person has seen enough. */
#include "cli/follow.h"
#include "cli/progress.h"
#include "cli/sender.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define DRIVE_INTERVAL 100
#define DETACH_TIMEOUT 5000

/* ------------------------------------------------------------------ in front */

struct drive {
    struct engine *engine;
    struct progress *progress;
    struct sender sender;
    sigset_t signals, before;
    int interrupted; /* the signal, or 0 */
};

/* Signals are blocked and asked for here, so that nothing happens in the middle of a write. */
static void block_signals(struct drive *drive) {
    sigemptyset(&drive->signals);
    sigaddset(&drive->signals, SIGINT);
    sigaddset(&drive->signals, SIGTERM);
    sigaddset(&drive->signals, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &drive->signals, &drive->before);
}

/* From now on a second Ctrl-C ends the program. */
static void unblock_signals(struct drive *drive) {
    (void)pthread_sigmask(SIG_SETMASK, &drive->before, NULL);
}

static bool on_progress(void *context) {
    struct drive *drive = context;
    struct timespec none = {0};
    int signal = sigtimedwait(&drive->signals, NULL, &none);
    if (signal > 0) {
        drive->interrupted = signal;
        unblock_signals(drive);
        return false;
    }
    progress_show(drive->progress, false);
    sender_tick(&drive->sender, drive->engine);
    return true;
}

static int status_of_state(enum run_state state) {
    switch (state) {
    case RUN_SUCCEEDED:
        return STATUS_SUCCEEDED;
    case RUN_PAUSED:
    case RUN_WAITING:
        return STATUS_WAITING;
    default:
        return STATUS_FAILED;
    }
}

static void tell_interrupted(const struct invocation *invocation, struct engine *engine,
                             const char *run) {
    if (engine_is_driven(engine)) { /* we only watched */
        tell(invocation,
             "\nleft %s: another program drives this home and goes on with it\n"
             "  glovebox status --follow %s    watches it\n"
             "  glovebox cancel %s             stops it\n",
             run, run, run);
        return;
    }
    tell(invocation,
         "\nleft %s: what runs goes on, nothing new starts\n"
         "  glovebox resume %s    goes on from here\n"
         "  glovebox cancel %s    stops it\n",
         run, run, run);
}

static int print_outcome(const struct invocation *invocation, struct engine *engine,
                         const char *run, struct error **err) {
    if (given_flag(invocation, "json")) {
        OWN_JSON status = engine_status(engine, run, err);
        return status ? print_json(status, false, err) : -1;
    }
    struct terminal terminal;
    terminal_examine(invocation, STDOUT_FILENO, &terminal);
    OWN_BUFFER out = {0};
    if (summary_append(engine, run, &terminal, SUMMARY_HEAD | SUMMARY_REST, &out, err) < 0)
        return -1;
    return print_checked(&out, err);
}

/* The outcome on standard output, what went wrong on standard error. */
static int finish(const struct invocation *invocation, struct engine *engine, const char *run,
                  struct error **err) {
    if (print_outcome(invocation, engine, run, err) < 0)
        return -1;
    (void)fflush(stdout);
    struct terminal terminal;
    terminal_examine(invocation, STDERR_FILENO, &terminal);
    OWN_BUFFER wrong = {0};
    if (summary_append(engine, run, &terminal, SUMMARY_WRONG, &wrong, err) < 0)
        return -1;
    (void)fputs(buffer_text(&wrong), stderr);
    return 0;
}

int follow_run(const struct invocation *invocation, struct engine *engine, const char *run,
               bool wait, struct error **err) {
    OWN_PROGRESS progress = progress_new(invocation, engine, run, err);
    if (!progress)
        return -1;
    struct drive drive = {.engine = engine, .progress = progress};
    struct drive_options options = {
        .wait = wait, .progress = on_progress, .context = &drive, .interval = DRIVE_INTERVAL};
    enum run_state state = RUN_PLANNED;
    block_signals(&drive);
    progress_show(progress, true);
    int bad = engine_drive(engine, run, &options, &state, err);
    unblock_signals(&drive);
    progress_end(progress);
    if (bad < 0)
        return -1;
    if (drive.interrupted) {
        tell_interrupted(invocation, engine, run);
        sender_finish(invocation, engine, run);
        return 128 + drive.interrupted;
    }
    bool json = given_flag(invocation, "json"); /* which says what was sent */
    if (json)
        sender_finish(invocation, engine, run);
    if (finish(invocation, engine, run, err) < 0)
        return -1;
    if (!json)
        sender_finish(invocation, engine, run);
    return status_of_state(state);
}

/* -------------------------------------------------------------- in background */

static int open_drive_log(struct engine *engine, const char *run, char **ret_path,
                          struct error **err) {
    OWN_STRING folder = engine_run_folder(engine, run, err);
    if (!folder || directory_make(AT_FDCWD, folder, 0700, err) < 0)
        return -1;
    OWN_STRING path = path_join(folder, "drive.log");
    if (!path)
        return error_set_memory(err);
    int fd = file_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND, 0600, err);
    if (fd >= 0)
        *ret_path = take(&path);
    return fd;
}

/* Waits until somebody drives the home, or the child has ended. */
static int wait_for_driver(struct engine *engine, pid_t child, const char *log,
                           struct error **err) {
    int64_t end = clock_monotonic() + DETACH_TIMEOUT;
    while (clock_monotonic() < end) {
        int status = 0;
        if (waitpid(child, &status, WNOHANG) == child) {
            /* A short run is over before we look: that is no failure of ours. */
            if (WIFEXITED(status) && WEXITSTATUS(status) != STATUS_USAGE)
                return 0;
            error_set(err, ERROR_INTERNAL, "the program in the background ended at once");
            return error_hint(err, "see %s", log);
        }
        if (engine_is_driven(engine))
            return 0;
        struct timespec nap = {.tv_nsec = 20 * 1000 * 1000};
        (void)nanosleep(&nap, NULL);
    }
    return 0;
}

int follow_detach(struct engine *engine, const char *run, struct error **err) {
    OWN_STRING log = NULL;
    OWN_FD fd = open_drive_log(engine, run, &log, err);
    if (fd < 0)
        return -1;
    char program[4096];
    if (session_own_program(program, sizeof(program), err) < 0)
        return -1;
    const char *argv[] = {program, "drive", "--home", engine_home(engine), "--quiet", run, NULL};
    struct process_options options = {.argv = argv,
                                      .directory = "/",
                                      .input = -1,
                                      .output = fd,
                                      .error = fd,
                                      .new_session = true};
    pid_t child;
    if (process_spawn(&options, &child, err) < 0)
        return -1;
    return wait_for_driver(engine, child, log, err);
}

int follow_in_background(const struct invocation *invocation, struct engine *engine,
                         const char *run, struct error **err) {
    if (follow_detach(engine, run, err) < 0)
        return -1;
    if (given_flag(invocation, "json")) {
        OWN_JSON status = engine_status(engine, run, err);
        return !status || print_json(status, false, err) < 0 ? -1 : STATUS_SUCCEEDED;
    }
    printf("%s\n", run);
    tell(invocation, "it goes on in the background; \"glovebox status %s\" says how far it is\n",
         run);
    return STATUS_SUCCEEDED;
}

int follow_command(const struct invocation *invocation, struct engine *engine, const char *run,
                   struct error **err) {
    if (given_flag(invocation, "follow"))
        return follow_run(invocation, engine, run, false, err);
    if (engine_is_driven(engine)) {
        tell(invocation,
             "%s: recorded; the program that drives this home goes on with it "
             "(\"glovebox status --follow %s\" watches)\n",
             run, run);
        if (given_flag(invocation, "json"))
            return finish(invocation, engine, run, err) < 0 ? -1 : STATUS_SUCCEEDED;
        return STATUS_SUCCEEDED;
    }
    if (given_flag(invocation, "detach"))
        return follow_in_background(invocation, engine, run, err);
    return follow_run(invocation, engine, run, false, err);
}
