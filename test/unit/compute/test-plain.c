/* Plain jobs through the driver and a real keeper. */
#include "harness.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

TEST(exit_codes_signals_and_output) {
    struct bed bed;
    REQUIRE(bed_make(&bed));
    struct job job = bed_shell(&bed, "well", SHELL("echo out; echo err >&2; pwd"));
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NONE);
    CHECK_INTEGER(report->exit_code, 0);
    CHECK(report->started > 0 && report->ended >= report->started);
    CHECK(report->peak_memory > 100000);
    CHECK_TEXT(report->sandbox, "no box");
    char expected[128];
    (void)snprintf(expected, sizeof(expected), "out\nerr\n%s\n", bed.work);
    CHECK_TEXT(bed_log(&bed), expected);

    job = bed_shell(&bed, "seven", SHELL("exit 7"));
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_EXIT);
    CHECK_INTEGER(report->exit_code, 7);

    job = bed_shell(&bed, "killed", SHELL("kill -SEGV $$"));
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_SIGNAL);
    CHECK_INTEGER(report->signal, SIGSEGV);
    CHECK_INTEGER(report->exit_code, -1);
    bed_remove(&bed);
}

TEST(what_cannot_start_is_reported) {
    struct bed bed;
    REQUIRE(bed_make(&bed));
    const char *const missing[] = {"no-such-program", NULL};
    struct job job = {
        .name = "missing", .arguments = missing, .work = bed.work, .log = bed.log, .box = BOX_OFF};
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NOT_STARTED);
    CHECK_TEXT(report->detail,
               "cannot run no-such-program: no such program, or its interpreter is missing");

    job = bed_shell(&bed, "nowhere", SHELL("true"));
    job.directory = "/no/such/folder";
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NOT_STARTED);
    CHECK(strstr(report->detail, "working directory"));

    job = bed_shell(&bed, "gpu", SHELL("true"));
    job.limits.gpus = 1;
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NOT_STARTED);
    CHECK(strstr(report->detail, "GPU"));

    job = bed_shell(&bed, "no-log", SHELL("true"));
    job.log = "/no/such/folder/log";
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NOT_STARTED);
    CHECK(strstr(report->detail, "log"));
    bed_remove(&bed);
}

TEST(bad_jobs_and_used_names_are_refused) {
    struct bed bed;
    REQUIRE(bed_make(&bed));
    OWN_ERROR error = NULL;
    struct job job = bed_shell(&bed, "a/b", SHELL("true"));
    CHECK(bed.driver->launch(bed.compute, &job, &error) < 0 && error->code == ERROR_INVALID);
    error_cleanup(&error);
    error = NULL;
    size_t size = 300000;
    OWN_STRING large = memory_allocate(size);
    REQUIRE(large);
    memset(large, 'x', size - 1);
    job = bed_shell(&bed, "large", SHELL(large));
    CHECK(bed.driver->launch(bed.compute, &job, &error) < 0 && error->code == ERROR_LIMIT);
    error_cleanup(&error);
    error = NULL;
    job = bed_shell(&bed, "once", SHELL("true"));
    REQUIRE(bed_run(&bed, &job));
    CHECK(bed.driver->launch(bed.compute, &job, &error) < 0 && error->code == ERROR_EXISTS);
    bed_remove(&bed);
}

TEST(environment_and_descriptors) {
    struct bed bed;
    REQUIRE(bed_make(&bed));
    const char *const environment[] = {"PATH=/usr/bin:/bin", "COLOUR=blue green", NULL};
    int leaked = open("/etc/passwd", O_RDONLY); /* without O_CLOEXEC, on purpose */
    struct job job =
        bed_shell(&bed, "look",
                  SHELL("env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= | sort; "
                        "ls /proc/self/fd | tr '\\n' ' '; cat; readlink /proc/self/fd/0"));
    job.environment = environment;
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    /* 3 is ls's own */
    CHECK_TEXT(bed_log(&bed), "COLOUR=blue green\nPATH=/usr/bin:/bin\n0 1 2 3 /dev/null\n");
    close(leaked);
    bed_remove(&bed);
}

TEST(time_limit_and_stop) {
    struct bed bed;
    REQUIRE(bed_make(&bed));
    struct job job = bed_shell(&bed, "slow", SHELL("sleep 30 & sleep 30"));
    job.limits.timeout = 200;
    int64_t start = clock_monotonic();
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_TIMEOUT);
    CHECK_INTEGER(report->signal, SIGTERM);
    CHECK(clock_monotonic() - start < 3000);

    job = bed_shell(&bed, "deaf", SHELL("trap '' TERM; while :; do sleep 0.05; done"));
    job.limits.timeout = 200;
    job.limits.grace = 300;
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_TIMEOUT);
    CHECK_INTEGER(report->signal, SIGKILL);
    CHECK(report->ended - report->started >= 490);

    job =
        bed_shell(&bed, "stopped", SHELL("trap 'echo bye; exit 0' TERM; echo up; sleep 30 & wait"));
    REQUIRE(bed_launch(&bed, &job));
    bed_pause(&bed, 200);
    CHECK(bed.driver->stop(bed.compute, "stopped", CAUSE_CANCELLED, 5000, NULL) == 0);
    REQUIRE(bed_wait(&bed, 3, 5000));
    report = bed_report(&bed, "stopped");
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_CANCELLED);
    CHECK_INTEGER(report->exit_code, 0);
    bed_remove(&bed);
}

TEST(children_left_behind_are_ended) {
    struct bed bed;
    REQUIRE(bed_make(&bed));
    struct job job =
        bed_shell(&bed, "fork", SHELL("sleep 1000 & echo $!; setsid sleep 1000 & echo $!"));
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NONE);
    const char *text = bed_log(&bed);
    char *end;
    pid_t first = (pid_t)strtol(text, &end, 10);
    pid_t second = (pid_t)strtol(end, NULL, 10);
    REQUIRE(first > 1 && second > 1);
    CHECK(process_ends(first));
    CHECK(process_ends(second));
    bed_remove(&bed);
}

TEST(usage_of_a_running_job) {
    struct bed bed;
    REQUIRE(bed_make(&bed));
    struct job job = bed_shell(&bed, "busy", SHELL("while :; do :; done"));
    REQUIRE(bed_launch(&bed, &job));
    bed_pause(&bed, 400);
    struct exit_report usage;
    OWN_ERROR error = NULL;
    CHECK(bed.driver->usage(bed.compute, "busy", &usage, &error) == 0);
    CHECK(usage.cpu_user + usage.cpu_system > 50000);
    CHECK(usage.peak_memory > 100000);
    CHECK(bed.driver->usage(bed.compute, "unheard-of", &usage, NULL) < 0);
    CHECK(bed.driver->stop(bed.compute, "busy", CAUSE_CANCELLED, 0, NULL) == 0);
    REQUIRE(bed_wait(&bed, 1, 5000));
    CHECK_INTEGER(bed.reports[0].signal, SIGKILL);
    CHECK(bed.reports[0].cpu_user > 50000);
    bed_remove(&bed);
}

TEST(logs_are_bounded) {
    struct bed bed;
    REQUIRE(bed_make(&bed));
    struct job job = bed_shell(&bed, "chatty",
                               SHELL("echo first; i=0; while [ $i -lt 60 ]; do "
                                     "head -c 100000 /dev/zero | tr '\\0' x; echo; i=$((i+1)); "
                                     "sleep 0.03; done; echo last"));
    job.log_maximum = 400000;
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NONE);
    CHECK(strstr(report->detail, "log"));
    struct stat status;
    REQUIRE(stat(bed.log, &status) == 0);
    CHECK(status.st_blocks * 512 <= 420000);
    OWN_BUFFER text = {0};
    REQUIRE(file_read_all(AT_FDCWD, bed.log, 10000000, &text, NULL) == 0);
    CHECK(text_starts_with(buffer_text(&text), "first\n"));
    CHECK(text_ends_with(buffer_text(&text), "\nlast\n"));
    bed_remove(&bed);
}

/* The keeper has looked at it once it has trimmed it. */
TEST(a_log_that_its_task_cuts_is_told) {
    struct bed bed;
    REQUIRE(bed_make(&bed));
    struct job job = bed_shell(&bed, "cutter",
                               SHELL("head -c 1000000 /dev/zero | tr '\\0' x; "
                                     "until grep -q passed /proc/$$/fd/1; do sleep 0.01; done; "
                                     "echo after >/dev/stderr"));
    job.log_maximum = 400000;
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NONE);
    CHECK(strstr(report->detail, "emptied its log itself"));
    CHECK_TEXT(bed_log(&bed), "after\n");
    bed_remove(&bed);
}

TEST(capacity) {
    struct bed bed;
    REQUIRE(bed_make(&bed));
    struct compute_capacity capacity;
    REQUIRE(bed.driver->capacity(bed.compute, &capacity, NULL) == 0);
    CHECK(capacity.cpus >= 1);
    CHECK(capacity.memory > (uint64_t)64 << 20);
    CHECK_INTEGER(capacity.gpus, 0);
    bed_remove(&bed);
}

TAP_MAIN

TEST(a_name_may_be_used_again_once_it_is_forgotten) {
    struct bed bed;
    REQUIRE(bed_make(&bed));
    struct job job = bed_shell(&bed, "again", SHELL("exit 3"));
    REQUIRE(bed_run(&bed, &job));
    bed.driver->forget(bed.compute, "again"); /* read by the keeper together with the launch */
    job = bed_shell(&bed, "again", SHELL("exit 4"));
    REQUIRE(bed_launch(&bed, &job));
    REQUIRE(bed_wait(&bed, 2, 20000));
    CHECK_INTEGER(bed.reports[1].cause, CAUSE_EXIT);
    CHECK_INTEGER(bed.reports[1].exit_code, 4);
    bed_remove(&bed);
}

TEST(a_job_after_another_waits_for_its_end) {
    struct bed bed;
    REQUIRE(bed_make(&bed));
    struct job job =
        bed_shell(&bed, "a", SHELL("until [ -e go ]; do sleep 0.01; done; echo a; exit 3"));
    REQUIRE(bed_launch(&bed, &job));
    job = bed_shell(&bed, "b", SHELL("echo b"));
    job.after = "a";
    REQUIRE(bed_launch(&bed, &job));
    static const char *const missing[] = {"no-such-program", NULL};
    job = bed_shell(&bed, "c", SHELL("true"));
    job.arguments = missing;
    job.after = "b";
    REQUIRE(bed_launch(&bed, &job));
    job = bed_shell(&bed, "d", SHELL("echo d"));
    job.after = "c";
    REQUIRE(bed_launch(&bed, &job));
    job = bed_shell(&bed, "e", SHELL("echo e; touch go"));
    job.after = "never-heard-of";
    REQUIRE(bed_launch(&bed, &job));
    REQUIRE(bed_wait(&bed, 5, 20000));
    CHECK_TEXT(bed_log(&bed), "e\na\nb\nd\n");
    CHECK_INTEGER(bed_report(&bed, "a")->exit_code, 3);
    CHECK_INTEGER(bed_report(&bed, "b")->cause, CAUSE_NONE);
    CHECK_INTEGER(bed_report(&bed, "c")->cause, CAUSE_NOT_STARTED);
    CHECK_INTEGER(bed_report(&bed, "d")->cause, CAUSE_NONE);
    CHECK(bed_report(&bed, "b")->started >= bed_report(&bed, "a")->ended);
    /* What is over holds nobody up. */
    job = bed_shell(&bed, "f", SHELL("echo f"));
    job.after = "a";
    CHECK(bed_run(&bed, &job));
    bed_remove(&bed);
}

TEST(a_job_that_waits_for_another_can_be_stopped) {
    struct bed bed;
    REQUIRE(bed_make(&bed));
    OWN_ERROR error = NULL;
    static const char *const names[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct job job = bed_shell(&bed, names[i], SHELL(i ? "echo ran; sleep 0.1" : "sleep 30"));
        job.after = i == 3 ? "a" : i ? names[i - 1] : NULL; /* a <- b <- c, a <- d */
        REQUIRE(bed_launch(&bed, &job));
    }
    CHECK(bed.driver->stop(bed.compute, "b", CAUSE_CANCELLED, 0, &error) == 0);
    REQUIRE(bed_wait(&bed, 1, 20000));
    CHECK_INTEGER(bed_report(&bed, "b")->cause, CAUSE_CANCELLED);
    bed.driver->forget(bed.compute, "b");
    CHECK(bed.driver->find(bed.compute, "c") == JOB_RUNNING); /* waits for a now */
    bed_pause(&bed, 100);
    CHECK_TEXT(bed_log(&bed), "");
    CHECK(bed.driver->stop(bed.compute, "a", CAUSE_CANCELLED, 0, &error) == 0);
    REQUIRE(bed_wait(&bed, 4, 20000));
    CHECK_INTEGER(bed_report(&bed, "c")->cause, CAUSE_NONE);
    CHECK_INTEGER(bed_report(&bed, "d")->cause, CAUSE_NONE);
    CHECK_TEXT(bed_log(&bed), "ran\nran\n");
    bed_remove(&bed);
}

TEST(jobs_that_wait_start_without_their_driver) {
    struct bed bed;
    REQUIRE(bed_make(&bed));
    struct job job = bed_shell(&bed, "a", SHELL("sleep 0.3; echo a"));
    REQUIRE(bed_launch(&bed, &job));
    job = bed_shell(&bed, "b", SHELL("echo b"));
    job.after = "a";
    REQUIRE(bed_launch(&bed, &job));
    bed_pause(&bed, 50);
    bed_close(&bed);
    REQUIRE(bed_open(&bed));
    CHECK(bed.driver->find(bed.compute, "a") != JOB_UNKNOWN);
    CHECK(bed.driver->find(bed.compute, "b") != JOB_UNKNOWN);
    REQUIRE(bed_wait(&bed, 2, 20000));
    CHECK_TEXT(bed_log(&bed), "a\nb\n");
    CHECK_INTEGER(bed_report(&bed, "b")->cause, CAUSE_NONE);
    bed_remove(&bed);
}
