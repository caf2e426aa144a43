/* Images that change user. What they share with other containers is in shut-in.c. */
#include "guests.h"
#include "shut-in.h"

#include "compute/private-oci.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

const bool shut_in_users = true;

bool shut_in_make(struct bed *bed) {
    return guests_make(bed);
}

/* The image's user is root, and it knows a reader, 1000:100. */
struct job shut_in(struct bed *bed, const char *name, const char *const *arguments) {
    struct job job = bed_shell(bed, name, arguments);
    job.box = BOX_SEALED;
    job.image = "glovebox.test/busybox:1";
    job.users = true;
    return job;
}

static struct job with_output(struct bed *bed, const char *name, const char *const *arguments,
                              struct compute_mount *mount) {
    static const char *const env[] = {"env", NULL};
    struct job job = shut_in(bed, name, arguments);
    *mount = (struct compute_mount){.source = bed->work, .target = "/out", .writable = true};
    job.image = "glovebox.test/entry:1";
    job.entrypoint = env;
    job.mounts = mount;
    job.mount_count = 1;
    return job;
}

static int check_owner(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                       struct error **err) {
    size_t *count = context;
    if (entry->status->st_uid != geteuid() || entry->status->st_gid != getegid())
        printf("# %s belongs to %u:%u\n", entry->path, entry->status->st_uid,
               entry->status->st_gid);
    else
        ++*count;
    return 0;
}

/* How many files below `path`, with itself, belong to the caller. */
static size_t count_own(const char *path) {
    struct stat status;
    size_t count =
        lstat(path, &status) == 0 && status.st_uid == geteuid() && status.st_gid == getegid();
    return tree_walk(AT_FDCWD, path, check_owner, &count, NULL) == 0 ? count : 0;
}

static size_t count_notes(const struct bed *bed) {
    OWN_STRING notes = path_join(bed->home, "compute/process/users");
    size_t count = 0;
    return tree_walk(AT_FDCWD, notes, check_owner, &count, NULL) == 0 ? count : 999;
}

TEST(all_that_its_users_leave_is_the_callers) {
    struct bed bed;
    struct compute_mount mounts[2];
    REQUIRE(shut_in_make(&bed));
    OWN_STRING input = path_join(bed.home, "input");
    OWN_STRING fifo = path_join(bed.work, "locked/fifo");
    OWN_STRING locked = path_join(bed.work, "locked");
    REQUIRE(mkdir(input, 0700) == 0 && write_text(input, "file", "x\n", 0600));
    struct job job = with_output(
        &bed, "leaves",
        SHELL("id -u; cat /in/file; cd /out; echo a >given && chown 33:44 given && "
              "chown 1000:1000 . && chown 55:66 /dev/stdout; "
              "ln -s /in/file link; chown -h 77:77 link; ln given twin; mkdir locked; "
              "su reader -c 'id -u; id -G; echo b >own; chmod 600 own; cat /in/file; mkdir -p d/e; "
              "cp own d/e/f; kill -0 1 || echo no-init; mkfifo fifo'; mv fifo locked; "
              "chown -R 12:12 locked; chmod 0 locked; su reader -c 'cat /out/given' && "
              "ls -ldn /out/own | cut -c 1-31 | tr -s ' '"),
        mounts);
    mounts[1] = (struct compute_mount){.source = input, .target = "/in"};
    job.mount_count = 2;
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NONE);
    CHECK_TEXT(bed_log(&bed), "0\nx\n1000\n100 700 701\ncat: can't open '/in/file': Permission "
                              "denied\nsh: can't kill pid 1: Operation not permitted\n"
                              "no-init\na\n-rw------- 1 1000 100 \n");
    CHECK(strstr(report->sandbox, "; users: the image's; capabilities over them: chown, "));
    struct stat status;
    REQUIRE(lstat(locked, &status) == 0);
    CHECK_INTEGER(status.st_mode & 07777, 0);
    REQUIRE(chmod(locked, 0700) == 0);
    /* work, given, link, twin, locked, locked/fifo, own, d, d/e, d/e/f */
    CHECK_INTEGER(count_own(bed.work), 10);
    CHECK(lstat(fifo, &status) == 0 && S_ISFIFO(status.st_mode));
    CHECK(stat(bed.log, &status) == 0 && status.st_uid == geteuid() && status.st_gid == getegid());
    CHECK_INTEGER(count_own(input), 2);
    CHECK_INTEGER(count_notes(&bed), 0);
    bed_remove(&bed);
}

/* What lies too deep for one walk is brought up, also where its name is taken; nothing is left that
 * the caller cannot remove. Twice as deep, a job that takes long enough is stopped. */
TEST(folders_without_end_are_the_callers_too) {
    struct bed bed;
    struct compute_mount mount;
    REQUIRE(shut_in_make(&bed));
    struct job job =
        with_output(&bed, "deep",
                    SHELL("cd /out; mkdir .glovebox-deep-0; i=0; while [ $i -lt 250 ]; do mkdir d "
                          "&& chown 33:33 d && "
                          "chmod 700 d && cd d || exit 1; i=$((i+1)); done; echo x >f; chown 9 f"),
                    &mount);
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NONE);
    for (int i = -1; i < 2; i++) {
        OWN_STRING part = i < 0 ? memory_copy_string("d") : memory_format(".glovebox-deep-%d", i);
        OWN_STRING path = path_join(bed.work, part);
        struct stat status;
        REQUIRE(lstat(path, &status) == 0);
        CHECK_INTEGER(status.st_uid, geteuid());
    }
    CHECK(tree_remove(AT_FDCWD, bed.work, NULL) == 0);
    bed_remove(&bed);
}

TEST(more_files_than_it_may_leave) {
    struct bed bed;
    struct compute_mount mount;
    REQUIRE(shut_in_make(&bed));
    struct job job = with_output(&bed, "many",
                                 SHELL("cd /out; i=0; while [ $i -lt 60 ]; do echo >$i; "
                                       "chown 33 $i; i=$((i+1)); done"),
                                 &mount);
    job.limits.output_files = 50;
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_OUTPUT);
    CHECK(strstr(report->detail, "beyond the files"));
    CHECK_INTEGER(count_own(bed.work), 61);
    bed_remove(&bed);
}

TEST(other_users_are_asked_to_end_too) {
    struct bed bed;
    struct compute_mount mount;
    REQUIRE(shut_in_make(&bed));
    OWN_STRING ready = path_join(bed.work, "ready");
    struct job job =
        with_output(&bed, "polite",
                    SHELL("chown reader /out; exec su reader -c 'trap \"echo bye; exit 0\" TERM; "
                          "echo >/out/ready; sleep 1000 & wait'"),
                    &mount);
    REQUIRE(bed_launch(&bed, &job));
    /* Root may look into the folder now, an ordinary caller may only search it. */
    for (int tries = 0; tries < 1000 && access(ready, F_OK) < 0; tries++)
        bed_pause(&bed, 20);
    CHECK(bed.driver->stop(bed.compute, "polite", CAUSE_CANCELLED, 60000, NULL) == 0);
    REQUIRE(bed_wait(&bed, 1, 20000));
    CHECK_INTEGER(bed.reports[0].cause, CAUSE_CANCELLED);
    CHECK_INTEGER(bed.reports[0].exit_code, 0);
    CHECK_TEXT(bed_log(&bed), "bye\n");
    bed_remove(&bed);
}

/* The caller of an ordinary user's job cannot remove what another id owns; the next keeper sees to
 * it. */
TEST(what_a_killed_keeper_left_is_the_callers_too) {
    struct bed bed;
    struct compute_mount mount;
    REQUIRE(shut_in_make(&bed));
    OWN_STRING there = path_join(bed.work, "there");
    struct job job = with_output(&bed, "doomed",
                                 SHELL("cd /out; mkdir d d/e; chown 33:33 d d/e; chmod 700 d; "
                                       "su -s /bin/sh reader -c 'sleep 98763.5' & "
                                       "echo >there; sleep 98763.5"),
                                 &mount);
    REQUIRE(bed_launch(&bed, &job));
    for (int tries = 0; tries < 500 && access(there, F_OK) < 0; tries++)
        bed_pause(&bed, 20);
    CHECK_INTEGER(count_notes(&bed), 1);
    pid_t keeper;
    REQUIRE(bed_keepers(&bed, &keeper, 1) == 1);
    CHECK(kill(keeper, SIGKILL) == 0);
    REQUIRE(bed_wait(&bed, 1, 20000));
    CHECK_INTEGER(bed.reports[0].cause, CAUSE_LOST);
    CHECK_INTEGER(count_own(bed.work), 4);
    CHECK_INTEGER(count_notes(&bed), 0);
    bed_remove(&bed);
}

/* Of the image's own user: its groups, no right to change, and the other ids beside it. */
TEST(users_that_are_not_root) {
    static const struct {
        const char *image, *groups;
    } cases[] = {{"glovebox.test/named:1", "100 700 701\n"},
                 {"glovebox.test/numbered:1", "4000000000\n"}};
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        OWN_STRING name = memory_format("user-%zu", i);
        struct job job = shut_in(&bed, name,
                                 SHELL("id -G; cat /home/reader/mine; chown 0 /tmp || "
                                       "grep CapEff /proc/self/status"));
        job.image = cases[i].image;
        const struct report *report = bed_run(&bed, &job);
        REQUIRE(report);
        CHECK_INTEGER(report->cause, CAUSE_NONE);
        CHECK(text_starts_with(bed_log(&bed), cases[i].groups));
        CHECK(strstr(bed_log(&bed), "\nmine\n"));
        CHECK(strstr(bed_log(&bed), "CapEff:\t0000000000000000\n"));
    }
    bed_remove(&bed);
}

/* Many users are not many times as many processes. */
TEST(the_bound_of_processes_is_one_for_all_users) {
    struct bed bed;
    struct compute_mount mount;
    REQUIRE(shut_in_make(&bed));
    struct job job = with_output(
        &bed, "many",
        SHELL("for user in root reader root reader; do su -s /bin/sh $user -c "
              "'i=0; while [ $i -lt 12 ]; do sleep 2 & i=$((i+1)); done; echo all' & done; wait"),
        &mount);
    job.limits.processes = 20;
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK(!strstr(bed_log(&bed), "all\nall\nall\n"));
    CHECK(strstr(bed_log(&bed), "can't fork") || report->cause != CAUSE_NONE);
    bed_remove(&bed);
}

/* Who was given no ids can test nothing here; the ordinary user whom root's tests make has some. */
int main(int argc, char **argv) {
    struct oci_range range CLEANUP(oci_range_release) = {0};
    OWN_ERROR missing = NULL;
    if (geteuid() != 0 && !getenv("GLOVEBOX_TEST_RANGES") && oci_find_range(&range, &missing) < 0) {
        printf("1..0 # SKIP %s\n", missing->message);
        return 0;
    }
    return tap_run(argc, argv);
}
