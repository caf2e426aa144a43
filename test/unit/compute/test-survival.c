/* The death of the program and of the keeper, at any moment. */
#include "harness.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(a_new_program_finds_running_and_ended_jobs) {
    struct bed bed;
    REQUIRE(bed_make(&bed));
    struct job job = bed_shell(&bed, "short", SHELL("sleep 0.2; exit 3"));
    REQUIRE(bed_launch(&bed, &job));
    job = bed_shell(&bed, "long", SHELL("sleep 1.2; exit 4"));
    REQUIRE(bed_launch(&bed, &job));
    bed_pause(&bed, 50);
    bed_close(&bed);
    (void)usleep(500000);
    REQUIRE(bed_open(&bed));
    CHECK_INTEGER(bed.driver->find(bed.compute, "short"), JOB_EXITED);
    CHECK_INTEGER(bed.driver->find(bed.compute, "long"), JOB_RUNNING);
    CHECK_INTEGER(bed.driver->find(bed.compute, "other"), JOB_UNKNOWN);
    CHECK_INTEGER(bed.count, 0); /* not from within find() */
    REQUIRE(bed_wait(&bed, 2, 5000));
    CHECK_INTEGER(bed.reports[0].exit_code, 3);
    CHECK_INTEGER(bed.reports[1].exit_code, 4);
    bed.driver->forget(bed.compute, "short");
    bed_pause(&bed, 50);
    bed_close(&bed);
    REQUIRE(bed_open(&bed));
    CHECK_INTEGER(bed.driver->find(bed.compute, "short"), JOB_UNKNOWN);
    CHECK_INTEGER(bed.driver->find(bed.compute, "long"), JOB_EXITED);
    REQUIRE(bed_wait(&bed, 3, 5000));
    CHECK_INTEGER(bed.reports[2].exit_code, 4);
    CHECK_INTEGER(bed.driver->launch(bed.compute, &job, NULL), -1); /* the name is used up */
    bed.driver->forget(bed.compute, "long");
    bed_remove(&bed);
}

TEST(the_keeper_leaves_and_its_journal_stays) {
    struct bed bed;
    REQUIRE(bed_make(&bed));
    struct job job = bed_shell(&bed, "one", SHELL("exit 5"));
    REQUIRE(bed_run(&bed, &job));
    bed_close(&bed);
    pid_t keepers[2];
    for (int tries = 0; tries < 200 && bed_keepers(&bed, keepers, 2); tries++)
        (void)usleep(10000);
    CHECK_INTEGER(bed_keepers(&bed, keepers, 2), 0);
    REQUIRE(bed_open(&bed));
    CHECK_INTEGER(bed.driver->find(bed.compute, "one"), JOB_EXITED);
    REQUIRE(bed_wait(&bed, 2, 5000));
    CHECK_INTEGER(bed.reports[1].exit_code, 5);
    bed.driver->forget(bed.compute, "one");
    bed_remove(&bed);
}

TEST(a_killed_keeper_loses_its_jobs_once) {
    struct bed bed;
    REQUIRE(bed_make(&bed));
    struct job job = bed_shell(&bed, "lost", SHELL("sleep 1000 & echo $$ $!; sleep 1000"));
    REQUIRE(bed_launch(&bed, &job));
    job = bed_shell(&bed, "ended", SHELL("exit 6"));
    REQUIRE(bed_launch(&bed, &job));
    REQUIRE(bed_wait(&bed, 1, 5000));
    bed_pause(&bed, 200);
    pid_t keeper = bed_only_keeper(&bed);
    REQUIRE(keeper > 0);
    CHECK(kill(keeper, SIGKILL) == 0);
    REQUIRE(bed_wait(&bed, 2, 5000));
    bed_pause(&bed, 200);
    CHECK_INTEGER(bed.count, 2);
    const struct report *report = bed_report(&bed, "lost");
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_LOST);
    char *end;
    pid_t shell = (pid_t)strtol(bed_log(&bed), &end, 10);
    pid_t child = (pid_t)strtol(end, NULL, 10);
    REQUIRE(shell > 1 && child > 1);
    CHECK(process_ends(shell));
    CHECK(process_ends(child));
    /* and life goes on */
    job = bed_shell(&bed, "next", SHELL("exit 0"));
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NONE);
    bed_remove(&bed);
}

TEST(a_keeper_killed_while_nobody_looked) {
    struct bed bed;
    REQUIRE(bed_make(&bed));
    struct job job = bed_shell(&bed, "lost", SHELL("sleep 1000"));
    REQUIRE(bed_launch(&bed, &job));
    bed_pause(&bed, 100);
    bed_close(&bed);
    pid_t keeper = bed_only_keeper(&bed);
    REQUIRE(keeper > 0);
    CHECK(kill(keeper, SIGKILL) == 0);
    REQUIRE(bed_open(&bed));
    CHECK_INTEGER(bed.driver->find(bed.compute, "lost"), JOB_EXITED);
    REQUIRE(bed_wait(&bed, 1, 5000));
    CHECK_INTEGER(bed.reports[0].cause, CAUSE_LOST);
    bed.driver->forget(bed.compute, "lost");
    bed_remove(&bed);
}

/* Damage at the end of the journal, as a keeper killed within a write leaves it. */
TEST(a_torn_journal_is_read_up_to_the_tear) {
    struct bed bed;
    REQUIRE(bed_make(&bed));
    struct job job = bed_shell(&bed, "whole", SHELL("exit 8"));
    REQUIRE(bed_run(&bed, &job));
    bed_close(&bed);
    pid_t keeper;
    while (bed_keepers(&bed, &keeper, 1))
        (void)usleep(10000);
    OWN_STRING path = path_join(bed.home, "compute/process/plain.journal");
    OWN_FD fd = file_open(AT_FDCWD, path, O_WRONLY | O_APPEND, 0, NULL);
    REQUIRE(fd >= 0);
    char rubbish[300];
    memset(rubbish, 'x', sizeof(rubbish));
    CHECK(file_write_all(fd, rubbish, sizeof(rubbish), NULL) == 0);
    REQUIRE(bed_open(&bed));
    CHECK_INTEGER(bed.driver->find(bed.compute, "whole"), JOB_EXITED);
    job = bed_shell(&bed, "after", SHELL("exit 9"));
    REQUIRE(bed_launch(&bed, &job));
    REQUIRE(bed_wait(&bed, 3, 5000));
    bed_close(&bed);
    REQUIRE(bed_open(&bed));
    CHECK_INTEGER(bed.driver->find(bed.compute, "after"), JOB_EXITED);
    bed_remove(&bed);
}

TEST(a_second_program_is_told_to_wait) {
    struct bed bed;
    REQUIRE(bed_make(&bed));
    struct job job = bed_shell(&bed, "mine", SHELL("sleep 30"));
    REQUIRE(bed_launch(&bed, &job));
    bed_pause(&bed, 100);
    uv_loop_t loop;
    REQUIRE(uv_loop_init(&loop) == 0);
    struct compute_host host = {.loop = &loop, .home = bed.home};
    struct compute *second = NULL;
    OWN_ERROR error = NULL;
    CHECK(bed.driver->open(&host, &second, &error) < 0);
    CHECK(error && error->code == ERROR_BUSY);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_INTEGER(uv_loop_close(&loop), 0);
    CHECK(bed.driver->stop(bed.compute, "mine", CAUSE_CANCELLED, 0, NULL) == 0);
    REQUIRE(bed_wait(&bed, 1, 5000));
    bed_remove(&bed);
}

TAP_MAIN

/* Brings the journal to the end of a page, so that no more fits on a full disk. */
static bool fill_page(struct bed *bed, const char *journal) {
    for (int number = 0; number < 60; number++) {
        struct stat status;
        bed_pause(bed, 60);
        if (stat(journal, &status) < 0)
            return false;
        if (status.st_size % 4096 == 0)
            return true;
        /* Two records, or three when it is worth a note of its process id. */
        bool odd = status.st_size / 256 % 2;
        char name[32];
        (void)snprintf(name, sizeof(name), "filler-%d", number);
        struct job job = bed_shell(bed, name, SHELL(odd ? "sleep 0.1" : "true"));
        if (!bed_run(bed, &job))
            return false;
    }
    return false;
}

static void fill_disk(const char *path) {
    OWN_FD fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    static const char zeros[4096];
    while (fd >= 0 && (write(fd, zeros, sizeof(zeros)) > 0 || write(fd, zeros, 1) > 0))
        continue;
}

/* The disk is full when a job ends and nobody listens; then somebody asks. */
TEST(an_end_that_could_not_be_written_is_told_all_the_same) {
    struct bed bed;
    REQUIRE(bed_make(&bed));
    bed_close(&bed);
    char folder[128], path[192];
    (void)snprintf(folder, sizeof(folder), "%s/compute", bed.home);
    if (mount("none", folder, "tmpfs", MS_NOSUID | MS_NODEV, "size=256k,mode=0700") < 0) {
        CHECK(bed_open(&bed));
        bed_remove(&bed);
        SKIP("a small disk can only be mounted as root");
    }
    REQUIRE(bed_open(&bed));
    struct job job =
        bed_shell(&bed, "one", SHELL("until [ -e go ]; do sleep 0.02; done; touch ended; exit 5"));
    REQUIRE(bed_launch(&bed, &job));
    job = bed_shell(&bed, "two", SHELL("until [ -e leave ]; do sleep 0.1; done"));
    REQUIRE(bed_launch(&bed, &job)); /* the keeper stays for it */
    (void)snprintf(path, sizeof(path), "%s/process/plain.journal", folder);
    REQUIRE(fill_page(&bed, path));
    size_t count = bed.count;
    bed_close(&bed);
    (void)snprintf(path, sizeof(path), "%s/filler", folder);
    fill_disk(path);
    char mark[128];
    (void)snprintf(mark, sizeof(mark), "%s/go", bed.work);
    CHECK(file_write_atomic(AT_FDCWD, mark, "", 0, 0600, NULL) == 0);
    (void)snprintf(mark, sizeof(mark), "%s/ended", bed.work);
    for (int tries = 0; tries < 500 && access(mark, F_OK) < 0; tries++)
        (void)usleep(10000);
    (void)usleep(100000); /* until the keeper has seen the end */
    REQUIRE(bed_open(&bed));
    CHECK(bed.driver->find(bed.compute, "one") != JOB_UNKNOWN);
    CHECK(bed_wait(&bed, count + 1, 3000));
    CHECK(bed_report(&bed, "one") && bed_report(&bed, "one")->exit_code == 5);
    CHECK(unlink(path) == 0);
    (void)snprintf(mark, sizeof(mark), "%s/leave", bed.work);
    CHECK(file_write_atomic(AT_FDCWD, mark, "", 0, 0600, NULL) == 0);
    CHECK(bed.driver->find(bed.compute, "two") != JOB_UNKNOWN);
    CHECK(bed_wait(&bed, count + 2, 5000));
    bed_close(&bed);
    for (pid_t keepers[2]; bed_keepers(&bed, keepers, 2);)
        (void)usleep(10000);
    CHECK(umount2(folder, MNT_DETACH) == 0);
    CHECK(bed_open(&bed));
    bed_remove(&bed);
}
