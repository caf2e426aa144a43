#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static void copy_text(char *to, size_t size, const char *from) {
    (void)snprintf(to, size, "%s", from);
}

static void on_exited(void *context, const struct exit_report *report) {
    struct bed *bed = context;
    if (bed->count == REPORTS_MAXIMUM)
        return;
    struct report *copy = &bed->reports[bed->count++];
    copy_text(copy->name, sizeof(copy->name), report->name);
    copy->cause = report->cause;
    copy->exit_code = report->exit_code;
    copy->signal = report->signal;
    copy->started = report->started;
    copy->ended = report->ended;
    copy->peak_memory = report->peak_memory;
    copy->cpu_user = report->cpu_user;
    copy->cpu_system = report->cpu_system;
    copy_text(copy->detail, sizeof(copy->detail), report->detail);
    copy_text(copy->sandbox, sizeof(copy->sandbox), report->sandbox);
}

static void on_troubled(void *context, const char *message) {
    struct bed *bed = context;
    bed->troubles++;
    printf("# troubled: %s\n", message);
}

bool bed_open(struct bed *bed) {
    struct compute_host host = {.loop = &bed->loop,
                                .home = bed->home,
                                .context = bed,
                                .exited = on_exited,
                                .troubled = on_troubled};
    OWN_ERROR error = NULL;
    if (bed->driver->open(&host, &bed->compute, &error) == 0)
        return true;
    printf("# open: %s\n", error->message);
    return false;
}

bool bed_make(struct bed *bed) {
    memset(bed, 0, sizeof(*bed));
    (void)snprintf(bed->home, sizeof(bed->home), "/tmp/glovebox-test-XXXXXX");
    if (!mkdtemp(bed->home))
        return false;
    (void)snprintf(bed->work, sizeof(bed->work), "%s/work", bed->home);
    (void)snprintf(bed->log, sizeof(bed->log), "%s/log", bed->home);
    if (directory_make(AT_FDCWD, bed->work, 0755, NULL) < 0 || uv_loop_init(&bed->loop) < 0)
        return false;
    bed->driver = compute_driver("process");
    return bed->driver && bed_open(bed);
}

void bed_close(struct bed *bed) {
    bed->driver->close(bed->compute);
    bed->compute = NULL;
    (void)uv_run(&bed->loop, UV_RUN_DEFAULT); /* the handles' last callbacks */
}

void bed_remove(struct bed *bed) {
    bed_close(bed);
    CHECK_INTEGER(uv_loop_close(&bed->loop), 0);
    /* A keeper without jobs leaves soon by itself; its files go with the home. */
    pid_t keepers[4];
    for (int tries = 0; tries < 2000 && bed_keepers(bed, keepers, 4); tries++)
        (void)usleep(10000);
    CHECK_INTEGER(bed_keepers(bed, keepers, 4), 0);
    CHECK(tree_remove(AT_FDCWD, bed->home, NULL) == 0);
}

static void on_time(uv_timer_t *timer) {
    *(bool *)timer->data = true;
}

static bool wait_until(struct bed *bed, size_t count, int64_t patience) {
    bool late = false;
    uv_timer_t timer;
    uv_update_time(&bed->loop);
    (void)uv_timer_init(&bed->loop, &timer);
    timer.data = &late;
    (void)uv_timer_start(&timer, on_time, (uint64_t)patience, 0);
    while (bed->count < count && !late)
        (void)uv_run(&bed->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    (void)uv_run(&bed->loop, UV_RUN_NOWAIT);
    return bed->count >= count;
}

/* A machine that is played by a program is some twenty times slower. */
static int64_t stretch(int64_t patience) {
    const char *factor = getenv("TEST_PATIENCE");
    return factor ? patience * strtol(factor, NULL, 10) : patience;
}

bool bed_wait(struct bed *bed, size_t count, int64_t patience) {
    return wait_until(bed, count, stretch(patience));
}

void bed_pause(struct bed *bed, int64_t milliseconds) {
    (void)wait_until(bed, REPORTS_MAXIMUM + 1, milliseconds);
}

const struct report *bed_report(const struct bed *bed, const char *name) {
    for (size_t i = 0; i < bed->count; i++) {
        if (text_equal(bed->reports[i].name, name))
            return &bed->reports[i];
    }
    return NULL;
}

struct job bed_shell(struct bed *bed, const char *name, const char *const *arguments) {
    return (struct job){
        .name = name, .arguments = arguments, .work = bed->work, .log = bed->log, .box = BOX_OFF};
}

bool bed_launch(struct bed *bed, const struct job *job) {
    OWN_ERROR error = NULL;
    if (bed->driver->launch(bed->compute, job, &error) == 0 &&
        bed->driver->flush(bed->compute, &error) == 0)
        return true;
    printf("# launch: %s\n", error->message);
    return false;
}

const struct report *bed_run(struct bed *bed, const struct job *job) {
    (void)unlink(bed->log);
    if (!bed_launch(bed, job) || !bed_wait(bed, bed->count + 1, 60000))
        return NULL;
    const struct report *report = bed_report(bed, job->name);
    if (report && report->detail[0])
        printf("# %s: %s\n", report->name, report->detail);
    return report;
}

const char *bed_log(struct bed *bed) {
    static char text[65536];
    OWN_BUFFER buffer = {0};
    text[0] = '\0';
    if (file_read_all(AT_FDCWD, bed->log, sizeof(text) - 1, &buffer, NULL) == 0)
        copy_text(text, sizeof(text), buffer_text(&buffer));
    return text;
}

/* A keeper's lock file is open in it, and in nobody else for long. */
static bool holds_lock(const struct bed *bed, const char *pid) {
    char folder[300];
    (void)snprintf(folder, sizeof(folder), "/proc/%s/fd", pid);
    DIR *fds = opendir(folder);
    bool holds = false;
    for (struct dirent *entry; fds && !holds && (entry = readdir(fds));) {
        char target[512];
        ssize_t size = readlinkat(dirfd(fds), entry->d_name, target, sizeof(target) - 1);
        target[size > 0 ? size : 0] = '\0';
        holds = text_starts_with(target, bed->home) && text_ends_with(target, ".lock");
    }
    if (fds)
        closedir(fds);
    return holds;
}

size_t bed_keepers(const struct bed *bed, pid_t *pids, size_t maximum) {
    DIR *processes = opendir("/proc");
    size_t count = 0;
    for (struct dirent *entry; processes && (entry = readdir(processes));) {
        int64_t pid;
        if (text_parse_integer(entry->d_name, 1, INT32_MAX, &pid, NULL) < 0 ||
            !holds_lock(bed, entry->d_name))
            continue;
        if (count < maximum)
            pids[count] = (pid_t)pid;
        count++;
    }
    if (processes)
        closedir(processes);
    return count;
}

pid_t bed_only_keeper(const struct bed *bed) {
    pid_t keeper = 0;
    for (int tries = 0; tries < 1000; tries++) {
        if (bed_keepers(bed, &keeper, 1) == 1)
            return keeper;
        (void)usleep(10000);
    }
    return 0;
}

bool process_ends(pid_t pid) {
    for (int tries = 0; tries < 200; tries++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        OWN_BUFFER text = {0};
        if (file_read_all(AT_FDCWD, path, 4096, &text, NULL) < 0 ||
            strstr(buffer_text(&text), ") Z "))
            return true;
        (void)usleep(10000);
    }
    return false;
}
