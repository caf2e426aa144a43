/* What holds for whoever is shut in, in a box or in a container, also in one that changes user,
 * from within and from without. Each of the three is a test program. Started by root it runs once
 * as root and once as an ordinary user. */
#include "shut-in.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Beside the program, where an ordinary user has a copy, or in the build tree. */
char *part_path(const char *name) {
    OWN_STRING folder = process_executable_directory(NULL);
    OWN_STRING beside = path_join(folder, name);
    OWN_STRING below = path_join(folder, "unit/compute");
    return beside && file_exists(AT_FDCWD, beside) ? take(&beside) : path_join(below, name);
}

bool write_text(const char *folder, const char *name, const char *text, mode_t mode) {
    OWN_STRING path = path_join(folder, name);
    OWN_FD fd = file_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode, NULL);
    return fd >= 0 && file_write_all(fd, text, strlen(text), NULL) == 0;
}

TEST(true_causes) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    struct job job = shut_in(&bed, "code", SHELL("exit 7"));
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_EXIT);
    CHECK_INTEGER(report->exit_code, 7);
    job = shut_in(&bed, "signal", SHELL("kill -ABRT $$"));
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_SIGNAL);
    CHECK_INTEGER(report->signal, SIGABRT);
    const char *const missing[4] = {"no-such-program"};
    job = shut_in(&bed, "missing", missing);
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NOT_STARTED);
    CHECK(strstr(report->detail, "no-such-program"));
    struct compute_mount mount = {.source = "/no/such/input", .target = "/input"};
    job = shut_in(&bed, "no-input", SHELL("true"));
    job.mounts = &mount;
    job.mount_count = 1;
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NOT_STARTED);
    CHECK_TEXT(report->detail, "cannot mount into the box (mount 1): No such file or directory");
    bed_remove(&bed);
}

TEST(mounts_and_owners) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    OWN_STRING input = path_join(bed.home, "input");
    OWN_STRING output = path_join(bed.home, "output");
    OWN_STRING single = path_join(bed.home, "input/file");
    REQUIRE(mkdir(input, 0700) == 0 && mkdir(output, 0700) == 0);
    REQUIRE(write_text(input, "file", "content\n", 0600));
    struct compute_mount mounts[] = {{.source = input, .target = "/input"},
                                     {.source = output, .target = "/data/output", .writable = true},
                                     {.source = single, .target = "/data/one.txt"},
                                     {.source = NULL, .target = "/fresh", .writable = true}};
    struct job job =
        shut_in(&bed, "mounts",
                SHELL("cat /input/file one.txt && cp /input/file output/copy && "
                      "mkdir output/folder && touch /fresh/x && "
                      "! touch /input/new 2>/dev/null && ! echo x 2>/dev/null >one.txt"));
    job.mounts = mounts;
    job.mount_count = 4;
    job.directory = "/data";
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NONE);
    CHECK_TEXT(bed_log(&bed), "content\ncontent\n");
    struct stat status;
    OWN_STRING copy = path_join(output, "copy");
    REQUIRE(stat(copy, &status) == 0);
    CHECK_INTEGER(status.st_uid, geteuid());
    CHECK_INTEGER(status.st_gid, getegid());
    if (geteuid() == 0)
        CHECK(strstr(report->sandbox, "mapped owners"));
    bed_remove(&bed);
}

/* A listener on the host's loopback and one with an abstract name. */
static int listen_on_host(int *ret_port, int *ret_abstract) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 4) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        return -1;
    *ret_port = ntohs(address.sin_port);
    *ret_abstract = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    (void)snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "glovebox-hostile-%d", *ret_port);
    socklen_t length =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name.sun_path + 1));
    if (bind(*ret_abstract, (struct sockaddr *)&name, length) < 0 || listen(*ret_abstract, 4) < 0)
        return -1;
    return fd;
}

static void attack(struct bed *bed, bool unmappable) {
    OWN_STRING input = path_join(bed->home, "input");
    OWN_STRING secret = path_join(bed->home, "secret");
    OWN_STRING program = part_path("hostile");
    REQUIRE(mkdir(input, 0755) == 0 && write_text(input, "file", "x", 0644));
    REQUIRE(write_text(bed->home, "secret", "x", 0644));
    REQUIRE(access(program, X_OK) == 0);
    int port, abstract;
    OWN_FD listener = listen_on_host(&port, &abstract);
    REQUIRE(listener >= 0);
    char port_text[16];
    (void)snprintf(port_text, sizeof(port_text), "%d", port);
    /* sysfs cannot show other owners: the task has to run as the caller */
    struct compute_mount mounts[] = {{.source = program, .target = "/hostile"},
                                     {.source = input, .target = "/input"},
                                     {.source = bed->work, .target = "/output", .writable = true},
                                     {.source = "/sys/devices", .target = "/devices"}};
    const char *const arguments[] = {
        "/hostile", secret, port_text, "/input", "/output", shut_in_users ? "users" : NULL, NULL};
    struct job job = shut_in(bed, "hostile", arguments);
    job.mounts = mounts;
    job.mount_count = unmappable ? 4 : 3;
    const struct report *report = bed_run(bed, &job);
    REQUIRE(report);
    if (geteuid() == 0)
        CHECK(strstr(report->sandbox, unmappable ? "uid 0 (no mapped" : "unprivileged user"));
    CHECK_INTEGER(report->cause, CAUSE_NONE);
    char *rest = NULL;
    size_t refused = 0;
    OWN_STRING log = memory_copy_string(bed_log(bed));
    for (char *line = strtok_r(log, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        refused += text_ends_with(line, ": refused");
        if (strstr(line, "POSSIBLE"))
            printf("# %s\n", line);
    }
    CHECK(!strstr(bed_log(bed), "POSSIBLE"));
    CHECK(refused >= 83);
    CHECK(!strstr(bed_log(bed), "cannot"));
    CHECK(text_ends_with(bed_log(bed), "\ndone\n"));
    close(abstract);
}

TEST(a_hostile_task_stays_inside) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    attack(&bed, false);
    bed_remove(&bed);
}

/* Whoever has rights over the caller's own id must not be the caller. */
static void refuse_unmappable(struct bed *bed) {
    struct compute_mount mount = {.source = "/sys/devices", .target = "/devices"};
    struct job job = shut_in(bed, "unmappable", SHELL("echo here"));
    job.mounts = &mount;
    job.mount_count = 1;
    const struct report *report = bed_run(bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NOT_STARTED);
    CHECK(strstr(report->detail, "\"users: image\" is not to be had: this file system cannot map"));
    CHECK_TEXT(bed_log(bed), "");
}

TEST(nor_does_it_leave_as_root_without_capabilities) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    if (!shut_in_users || geteuid() != 0)
        attack(&bed, true);
    else
        refuse_unmappable(&bed);
    bed_remove(&bed);
}

TEST(time_stop_and_what_is_left_behind) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    struct job job = shut_in(&bed, "slow", SHELL("sleep 1000 & setsid sleep 1000 & sleep 1000"));
    job.limits.timeout = 300;
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_TIMEOUT);
    CHECK_INTEGER(report->signal, SIGTERM);
    CHECK(report->ended - report->started < 20000);
    job = shut_in(&bed, "deaf", SHELL("trap '' TERM; while :; do sleep 0.05; done"));
    job.limits.timeout = 200;
    job.limits.grace = 300;
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_TIMEOUT);
    job = shut_in(&bed, "daemon", SHELL("setsid sleep 1000 & echo started"));
    int64_t start = clock_monotonic();
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NONE);
    CHECK(clock_monotonic() - start < 20000);
    job = shut_in(&bed, "polite",
                  SHELL("trap 'echo bye; exit 0' TERM; echo ready; sleep 1000 & wait"));
    (void)unlink(bed.log);
    REQUIRE(bed_launch(&bed, &job));
    for (int tries = 0; tries < 400 && !strstr(bed_log(&bed), "ready"); tries++)
        bed_pause(&bed, 50);
    CHECK(bed.driver->stop(bed.compute, "polite", CAUSE_CANCELLED, 20000, NULL) == 0);
    REQUIRE(bed_wait(&bed, 4, 20000));
    report = bed_report(&bed, "polite");
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_CANCELLED);
    CHECK_INTEGER(report->exit_code, 0);
    bed_remove(&bed);
}

/* Lines that have the text in them. */
static size_t count_lines(const char *path, const char *text) {
    OWN_BUFFER file = {0};
    if (file_read_all(AT_FDCWD, path, 1 << 20, &file, NULL) < 0)
        return 0;
    size_t count = 0;
    char *rest = NULL;
    for (char *line = file.data ? strtok_r(file.data, "\n", &rest) : NULL; line;
         line = strtok_r(NULL, "\n", &rest))
        count += strstr(line, text) != NULL;
    return count;
}

/* Mounts of this system that are of this bed: other tests at work make their own. */
static size_t count_mounts(const struct bed *bed) {
    return count_lines("/proc/self/mountinfo", bed->home);
}

/* Running processes whose command line holds the text. */
static size_t count_processes(const char *text) {
    DIR *list = opendir("/proc");
    size_t count = 0;
    for (struct dirent *entry; list && (entry = readdir(list));) {
        char path[300];
        OWN_BUFFER line = {0};
        (void)snprintf(path, sizeof(path), "/proc/%s/cmdline", entry->d_name);
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9' ||
            file_read_all(AT_FDCWD, path, 65536, &line, NULL) < 0)
            continue;
        count += memmem(line.data ? line.data : "", line.size, text, strlen(text)) != NULL;
    }
    if (list)
        closedir(list);
    return count;
}

/* Processes that are found again among those of other tests at work, as this one's: they sleep for
 * `time` seconds, a number that is nobody else's. `script` starts three of them. */
struct sleepers {
    char time[16], script[96];
};
static struct sleepers make_sleepers(unsigned hundredths) {
    struct sleepers made;
    (void)snprintf(made.time, sizeof(made.time), "9%07d.%02u", (int)getpid(), hundredths % 100);
    (void)snprintf(made.script, sizeof(made.script), "sleep %s & setsid sleep %s & sleep %s",
                   made.time, made.time, made.time);
    return made;
}

static bool sleepers_end(const struct sleepers *sleepers) {
    for (int tries = 0; tries < 1000 && count_processes(sleepers->time); tries++)
        (void)usleep(10000);
    return count_processes(sleepers->time) == 0;
}

TEST(a_killed_keeper_takes_its_boxes_along) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    const struct sleepers sleepers = make_sleepers(25);
    struct job job = shut_in(&bed, "doomed", SHELL(sleepers.script));
    REQUIRE(bed_launch(&bed, &job));
    for (int tries = 0; tries < 100 && count_processes(sleepers.time) < 3; tries++)
        bed_pause(&bed, 100);
    CHECK(count_processes(sleepers.time) >= 3);
    pid_t keeper = bed_only_keeper(&bed);
    REQUIRE(keeper > 0);
    CHECK(kill(keeper, SIGKILL) == 0);
    REQUIRE(bed_wait(&bed, 1, 20000));
    CHECK_INTEGER(bed.reports[0].cause, CAUSE_LOST);
    CHECK(sleepers_end(&sleepers));
    job = shut_in(&bed, "after", SHELL("true"));
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NONE);
    bed_remove(&bed);
}

TEST(scratch_and_shared_memory_are_bounded) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    struct job job = shut_in(&bed, "fill",
                             SHELL("head -c 20971520 /dev/zero >/tmp/a; wc -c </tmp/a; "
                                   "head -c 20971520 /dev/zero >/dev/shm/b; wc -c </dev/shm/b; "
                                   "rm /tmp/a; i=0; while [ $i -lt 9000 ] && true >/tmp/n$i; "
                                   "do i=$((i+1)); done; [ $i -lt 9000 ] && echo bounded"));
    job.limits.scratch = 8 << 20;
    job.limits.shared_memory = 4 << 20;
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    const char *log = bed_log(&bed);
    CHECK(strstr(log, "No space left"));
    CHECK(strstr(log, "4194304\n"));
    CHECK(!strstr(log, "20971520\n"));
    CHECK(strstr(log, "bounded\n"));
    bed_remove(&bed);
}

TEST(output_is_bounded) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    struct compute_mount mount = {.source = bed.work, .target = "/out", .writable = true};
    struct job job = shut_in(&bed, "bytes",
                             SHELL("mkdir /out/deep; chmod 0 /out/deep; i=0; while :; do "
                                   "i=$((i+1)); head -c 1000000 /dev/zero >/out/$i; done"));
    job.mounts = &mount;
    job.mount_count = 1;
    job.limits.output = 16 << 20;
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_OUTPUT);
    CHECK(strstr(report->detail, "beyond the bytes"));
    REQUIRE(tree_remove(AT_FDCWD, bed.work, NULL) == 0 && mkdir(bed.work, 0755) == 0);
    job = shut_in(&bed, "files",
                  SHELL("i=0; while mkdir -p /out/a/$i && touch /out/a/$i/x; do "
                        "[ $i -lt 900 ] && i=$((i+1)); done"));
    job.mounts = &mount;
    job.mount_count = 1;
    job.limits.output_files = 500;
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_OUTPUT);
    CHECK(strstr(report->detail, "beyond the files"));
    job = shut_in(&bed, "modest", SHELL("sleep 1.5; echo x >/out/x"));
    job.mounts = &mount;
    job.mount_count = 1;
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NONE);
    bed_remove(&bed);
}

TEST(a_log_is_bounded) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    struct job job = shut_in(&bed, "chatty",
                             SHELL("echo first; i=0; while [ $i -lt 30 ]; do i=$((i+1)); "
                                   "head -c 10485760 /dev/zero; done; echo last"));
    job.log_maximum = 1 << 20;
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NONE);
    CHECK(strstr(report->detail, "the middle of its log was dropped"));
    struct stat status;
    REQUIRE(stat(bed.log, &status) == 0);
    CHECK(status.st_blocks * 512 < 3 << 20);
    bed_remove(&bed);
}

/* What a task writes about its end is not what is believed. */
TEST(nobody_tells_his_own_end) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    struct compute_mount mount = {.source = bed.work, .target = "/out", .writable = true};
    struct job job = shut_in(&bed, "liar",
                             SHELL("for f in exit status box.journal container.journal pid log; do "
                                   "echo 0 >/out/$f; done; exit 9"));
    job.mounts = &mount;
    job.mount_count = 1;
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_EXIT);
    CHECK_INTEGER(report->exit_code, 9);
    bed_remove(&bed);
}

TEST(a_new_program_finds_running_and_ended_jobs) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    struct compute_mount mount = {.source = bed.work, .target = "/out", .writable = true};
    struct job job = shut_in(&bed, "short", SHELL("exit 3"));
    REQUIRE(bed_launch(&bed, &job));
    job = shut_in(&bed, "long", SHELL("until [ -e /out/go ]; do sleep 0.05; done; exit 4"));
    job.mounts = &mount;
    job.mount_count = 1;
    REQUIRE(bed_launch(&bed, &job));
    REQUIRE(bed_wait(&bed, 1, 20000));
    bed_close(&bed);
    REQUIRE(bed_open(&bed));
    CHECK_INTEGER(bed.driver->find(bed.compute, "short"), JOB_EXITED);
    CHECK_INTEGER(bed.driver->find(bed.compute, "long"), JOB_RUNNING);
    REQUIRE(write_text(bed.work, "go", "", 0644));
    REQUIRE(bed_wait(&bed, 3, 20000));
    CHECK_INTEGER(bed.reports[1].exit_code, 3);
    CHECK_INTEGER(bed.reports[2].exit_code, 4);
    bed_remove(&bed);
}

TEST(a_fork_bomb_fizzles) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    struct job job = shut_in(&bed, "bomb",
                             SHELL("i=0; while [ $i -lt 60 ]; do sleep 0.5 & i=$((i+1)); "
                                   "done; echo not stopped"));
    job.limits.processes = 20;
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK(report->cause != CAUSE_NONE);
    CHECK(!strstr(bed_log(&bed), "not stopped"));
    CHECK(strstr(report->sandbox, "; processes: "));
    CHECK_TEXT(report->detail, "it reached its limit of 20 processes");
    job = shut_in(&bed, "few", SHELL("sleep 0.1 & sleep 0.1 & exit 3"));
    job.limits.processes = 20;
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_TEXT(report->detail, "");
    bed_remove(&bed);
}

TEST(too_much_memory) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    /* dd reads a block of 200 MB into its memory */
    struct job job =
        shut_in(&bed, "hungry", SHELL("exec dd if=/dev/zero of=/dev/null bs=200M count=2"));
    job.limits.memory = 64 << 20;
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    if (strstr(report->sandbox, "memory: cgroup")) {
        CHECK_INTEGER(report->cause, CAUSE_OUT_OF_MEMORY);
        CHECK(report->peak_memory > 32 << 20 && report->peak_memory <= 64 << 20);
    } else {
        CHECK(strstr(report->sandbox, "no cgroup to be had"));
        CHECK_INTEGER(report->cause, CAUSE_EXIT); /* dd is told that there is no memory */
        CHECK_TEXT(report->detail, "");           /* and we know nothing of it */
    }
    /* one that takes it little by little leaves evidence */
    job = shut_in(&bed, "growing",
                  SHELL("x=$(head -c 16000 /dev/zero | tr '\\0' x); i=0; "
                        "while :; do i=$((i+1)); eval \"v$i=\\$x\"; done"));
    job.limits.memory = 64 << 20;
    report = bed_run(&bed, &job);
    REQUIRE(report);
    if (strstr(report->sandbox, "memory: cgroup")) {
        CHECK_INTEGER(report->cause, CAUSE_OUT_OF_MEMORY);
    } else {
        CHECK(report->cause == CAUSE_EXIT || report->cause == CAUSE_SIGNAL); /* as shells take it */
        CHECK(strstr(report->detail, "it may have run out of memory: "));
    }
    job = shut_in(&bed, "modest", SHELL("head -c 10485760 /dev/zero | tail -c 1 | wc -c"));
    job.limits.memory = 64 << 20;
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NONE);
    bed_remove(&bed);
}

TEST(processor_time_is_limited) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    struct job job = shut_in(&bed, "busy", SHELL("while :; do :; done"));
    job.limits.cpus = 0.2;
    job.limits.timeout = 1500;
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_TIMEOUT);
    if (strstr(report->sandbox, "cpu: cgroup"))
        CHECK(report->cpu_user + report->cpu_system <
              (report->ended - report->started) * 400 + 100000);
    else
        CHECK(strstr(report->sandbox, "cpu: not limited"));
    bed_remove(&bed);
}

TEST(the_hosts_network_only_when_asked) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    struct job job = shut_in(&bed, "none", SHELL("readlink /proc/self/ns/net"));
    REQUIRE(bed_run(&bed, &job));
    char own[64];
    ssize_t size = readlink("/proc/self/ns/net", own, sizeof(own) - 1);
    REQUIRE(size > 0);
    own[size] = '\0';
    CHECK(!strstr(bed_log(&bed), own));
    job = shut_in(&bed, "host", SHELL("readlink /proc/self/ns/net"));
    job.network = "host";
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK(strstr(bed_log(&bed), own));
    CHECK(strstr(report->sandbox, "network: the host's"));
    job = shut_in(&bed, "other", SHELL("true"));
    job.network = "hospital";
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NOT_STARTED);
    bed_remove(&bed);
}

static size_t count_groups(pid_t keeper) {
    size_t count = 0;
    char find[128];
    (void)snprintf(find, sizeof(find),
                   "find /sys/fs/cgroup -name 'glovebox-%d-*' 2>/dev/null | wc -l", (int)keeper);
    const char *const command[] = {"/bin/sh", "-c", find, NULL};
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return 999;
    struct process_options options = {.argv = command, .input = -1, .output = ends[1], .error = -1};
    pid_t pid;
    if (process_spawn(&options, &pid, NULL) < 0)
        return 999;
    close(ends[1]);
    char number[32] = "";
    if (read(ends[0], number, sizeof(number) - 1) > 0)
        count = strtoul(number, NULL, 10);
    close(ends[0]);
    (void)waitpid(pid, NULL, 0);
    return count;
}

TEST(nothing_stays_behind) {
    struct bed bed;
    size_t all = count_lines("/proc/self/mountinfo", "");
    REQUIRE(shut_in_make(&bed));
    char names[40][16];
    for (int i = 0; i < 40; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "many-%d", i);
        struct job job = shut_in(&bed, names[i], SHELL("sleep 0.1 & echo x >/tmp/x"));
        job.limits = (struct compute_limits){.memory = 64 << 20, .processes = 10, .cpus = 1};
        REQUIRE(bed_launch(&bed, &job));
    }
    REQUIRE(bed_wait(&bed, 40, 20000));
    for (int i = 0; i < 40; i++) {
        CHECK_INTEGER(bed.reports[i].cause, CAUSE_NONE);
        bed.driver->forget(bed.compute, names[i]);
    }
    bed_pause(&bed, 100);
    pid_t keeper = bed_only_keeper(&bed);
    REQUIRE(keeper > 0);
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)keeper);
    size_t files = 0;
    DIR *list = opendir(path);
    while (list && readdir(list))
        files++;
    if (list)
        closedir(list);
    CHECK(files < 75); /* its own, and at most as many net namespaces as it keeps */
    (void)snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)keeper);
    CHECK(count_lines(path, "") < all + 24);
    CHECK_INTEGER(count_mounts(&bed), 0);
    bed_remove(&bed);
    CHECK_INTEGER(count_groups(keeper), 0);
}

/* Mounts of the bed, and entries of folders that a runtime could leave something in: those of other
 * tests at work, too, which come and go. */
static size_t count_traces(const struct bed *bed) {
    static const char *const folders[] = {"/run", "/run/crun", "/tmp"};
    size_t count = count_mounts(bed);
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
        DIR *list = opendir(folders[i]);
        for (struct dirent *entry; list && (entry = readdir(list));)
            count += text_starts_with(entry->d_name, "crun");
        if (list)
            closedir(list);
    }
    DIR *list = opendir(bed->work);
    while (list && readdir(list))
        count++;
    if (list)
        closedir(list);
    return count;
}

TEST(nothing_stays_however_it_ends) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    size_t before = count_traces(&bed);
    static const char *const missing[] = {"no-such-program", NULL};
    const struct sleepers sleepers = make_sleepers(75);
    const char *forever = sleepers.script;
    struct job jobs[] = {
        shut_in(&bed, "fails", SHELL("exit 3")),
        shut_in(&bed, "crashes", SHELL("kill -SEGV $$")),
        shut_in(&bed, "missing", missing),
        shut_in(&bed, "late", SHELL(forever)),
        shut_in(&bed, "hungry", SHELL("exec dd if=/dev/zero of=/dev/null bs=200M")),
        shut_in(&bed, "cancelled", SHELL(forever)),
        shut_in(&bed, "lost", SHELL(forever))};
    jobs[3].limits = (struct compute_limits){.timeout = 200, .grace = 100, .processes = 20};
    jobs[4].limits = (struct compute_limits){.memory = 64 << 20, .cpus = 1};
    for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
        REQUIRE(bed_launch(&bed, &jobs[i]));
    REQUIRE(bed_wait(&bed, 5, 20000));
    CHECK(bed.driver->stop(bed.compute, "cancelled", CAUSE_CANCELLED, 0, NULL) == 0);
    REQUIRE(bed_wait(&bed, 6, 20000));
    pid_t keeper = bed_only_keeper(&bed);
    REQUIRE(keeper > 0);
    CHECK_INTEGER(count_groups(keeper), 0);
    CHECK(kill(keeper, SIGKILL) == 0);
    REQUIRE(bed_wait(&bed, 7, 20000));
    const struct report *report = bed_report(&bed, "lost");
    CHECK(report && report->cause == CAUSE_LOST);
    CHECK(sleepers_end(&sleepers));
    for (int tries = 0; tries < 200 && count_traces(&bed) > before; tries++)
        (void)usleep(50000);
    CHECK(count_traces(&bed) <= before);
    bed_remove(&bed);
    CHECK_INTEGER(count_groups(keeper), 0);
}

/* What it makes namespaces with are copies of itself: one that outlived it would keep its lock and
 * its socket, and the home would be busy for ever. */
TEST(a_keeper_killed_while_it_makes_boxes_leaves_nobody) {
    for (unsigned round = 0; round < 30; round++) {
        struct bed bed;
        REQUIRE(shut_in_make(&bed));
        struct job first = shut_in(&bed, "first", SHELL("true"));
        REQUIRE(bed_run(&bed, &first));
        pid_t pids[16], keeper = bed_only_keeper(&bed);
        REQUIRE(keeper > 0);
        static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
            struct job job = shut_in(&bed, names[i], SHELL("true"));
            REQUIRE(bed_launch(&bed, &job));
        }
        (void)usleep(round * 331 % 5000);
        CHECK(kill(keeper, SIGKILL) == 0);
        bool empty = false;
        for (int tries = 0; tries < 2000 && !empty; tries++) {
            (void)usleep(10000);
            empty = bed_keepers(&bed, pids, ARRAY_SIZE(pids)) == 0;
        }
        CHECK(empty);
        bed_remove(&bed);
    }
}

/* ------------------------------------------------- the same once more, as an ordinary user */

static bool copy_program(const char *from, const char *folder, const char *name) {
    OWN_STRING to = path_join(folder, name);
    return from && to && file_copy(AT_FDCWD, from, AT_FDCWD, to, 0755, NULL) == 0 &&
           chmod(to, 0755) == 0;
}

/* Somebody with ranges of ids, as an administrator gives them: in an /etc that only he sees. */
static const char become_nobody[] =
    "cp -a /etc $0/etc && echo guest:x:61234:61234::/:/bin/sh >>$0/etc/passwd && "
    "for file in subuid subgid; do echo guest:200000000:65536 >>$0/etc/$file; done && "
    "mount --bind $0/etc /etc && export GLOVEBOX_TEST_RANGES=1 && "
    "exec setpriv --reuid=61234 --regid=61234 --clear-groups $0/test-program";

static int run_as_nobody(const char *folder) {
    OWN_STRING output = path_join(folder, "output");
    OWN_FD fd = file_open(AT_FDCWD, output, O_RDWR | O_CREAT, 0600, NULL);
    const char *const argv[] = {"/usr/bin/unshare", "--mount", "/bin/sh", "-c",
                                become_nobody,      folder,    NULL};
    struct process_options options = {
        .argv = argv, .directory = folder, .input = -1, .output = fd, .error = fd};
    pid_t pid;
    int status = -1;
    if (fd < 0 || process_spawn(&options, &pid, NULL) < 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    OWN_BUFFER text = {0};
    if (file_read_all(AT_FDCWD, output, 1 << 20, &text, NULL) < 0)
        return -1;
    char *rest = NULL;
    for (char *line = text.data ? strtok_r(text.data, "\n", &rest) : NULL; line;
         line = strtok_r(NULL, "\n", &rest))
        printf("# user: %s\n", line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(all_of_this_as_an_ordinary_user) {
    if (geteuid() != 0)
        SKIP("not root: the others ran as an ordinary user");
    char folder[] = "/tmp/glovebox-test-user-XXXXXX";
    REQUIRE(mkdtemp(folder));
    REQUIRE(chmod(folder, 0755) == 0);
    OWN_STRING own = process_executable_directory(NULL);
    OWN_STRING parts = path_join(own, "unit/compute");
    OWN_STRING hostile = path_join(parts, "hostile");
    OWN_STRING guests = path_join(parts, "guests");
    OWN_STRING copies = path_join(folder, "guests");
    OWN_STRING keeper = path_join(own, "../src/compute/keeper/glovebox-keeper");
    REQUIRE(copy_program("/proc/self/exe", folder, "test-program"));
    REQUIRE(copy_program(hostile, folder, "hostile"));
    REQUIRE(copy_program(keeper, folder, "glovebox-keeper"));
    REQUIRE(mkdir(copies, 0755) == 0);
    REQUIRE(tree_copy(AT_FDCWD, guests, AT_FDCWD, copies, NULL) == 0);
    CHECK_INTEGER(run_as_nobody(folder), 0);
    CHECK(tree_remove(AT_FDCWD, folder, NULL) == 0);
}
