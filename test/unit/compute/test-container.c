/* Images in containers: what is theirs. What they share with boxes is in shut-in.c. */
#include "guests.h"
#include "shut-in.h"

#include "compute/private-oci.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

const bool shut_in_users = false;

bool shut_in_make(struct bed *bed) {
    return guests_make(bed);
}

struct job shut_in(struct bed *bed, const char *name, const char *const *arguments) {
    struct job job = bed_shell(bed, name, arguments);
    job.box = BOX_SEALED;
    job.image = "glovebox.test/busybox:1";
    return job;
}

static const char *const nothing[] = {NULL};

TEST(what_a_container_sees) {
    struct bed bed;
    struct stat null;
    REQUIRE(stat("/dev/null", &null) == 0);
    REQUIRE(shut_in_make(&bed));
    struct job job = shut_in(&bed, "see",
                             SHELL("id -u; hostname; pwd; echo $HOME $PATH; echo x >/tmp/y && "
                                   "cat /tmp/y; echo to-stdout >>/dev/stdout; ls / | xargs echo; "
                                   "cat </dev/stdin | wc -c; grep -c localhost /etc/hosts; "
                                   "touch /new /root/new 2>/dev/null || echo read-only"));
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NONE);
    CHECK_TEXT(bed_log(&bed), "0\nglovebox\n/\n/root /bin:/usr/bin:/sbin:/usr/sbin\nx\nto-stdout\n"
                              "bin dev etc proc root sys tmp usr\n0\n2\nread-only\n");
    CHECK(text_starts_with(report->sandbox, "container: crun; namespaces: mount,pid,ipc,uts,net"));
    CHECK(strstr(report->sandbox, ",user; no capabilities; no new privileges; seccomp"));
    CHECK(strstr(report->sandbox, geteuid() == 0 ? "; unprivileged user" : "; caller's user"));
    struct stat status;
    REQUIRE(stat(bed.log, &status) == 0);
    CHECK_INTEGER(status.st_uid, geteuid()); /* lent and given back */
    job = shut_in(&bed, "without-a-log",
                  SHELL("chmod 0 /dev/null || chown 5 /dev/null || "
                        "echo x >/dev/null && exit 7"));
    job.log = NULL;
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->exit_code, 7);
    struct stat after;
    REQUIRE(stat("/dev/null", &after) == 0);
    CHECK_INTEGER(after.st_uid, null.st_uid);
    CHECK_INTEGER(after.st_mode, null.st_mode);
    bed_remove(&bed);
}

/* ENTRYPOINT, CMD, ENV and WORKDIR, as Docker has them. */
TEST(what_an_image_asks_for) {
    static const char *const one[] = {"one", NULL};
    static const char *const echo[] = {"/bin/echo", "-n", NULL};
    static const char *const environment[] = {"WHO=job", NULL};
    static const struct {
        const char *const *entrypoint, *const *arguments;
        const char *const *environment;
        const char *directory, *log;
    } cases[] = {
        {NULL, nothing, NULL, NULL, "[own]\n[command]\nimage image /root\n/work/here\n0\n0\n"},
        {NULL, one, environment, NULL, "[one]\njob image /root\n/work/here\n0\n0\n"},
        {NULL, one, NULL, "/etc", "[one]\nimage image /root\n/etc\n0\n0\n"},
        {echo, one, NULL, NULL, "one"},
        {echo, nothing, NULL, NULL, ""},
    };
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "case-%zu", i);
        struct job job = shut_in(&bed, name, cases[i].arguments);
        job.image = "glovebox.test/entry:1";
        job.entrypoint = cases[i].entrypoint;
        job.environment = cases[i].environment;
        job.directory = cases[i].directory;
        const struct report *report = bed_run(&bed, &job);
        REQUIRE(report);
        CHECK_INTEGER(report->cause, CAUSE_NONE);
        CHECK_TEXT(bed_log(&bed), cases[i].log);
    }
    struct job job = shut_in(&bed, "nothing", nothing);
    job.image = "glovebox.test/empty:1";
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NOT_STARTED);
    CHECK(strstr(report->detail, "neither an entry point nor a command"));
    bed_remove(&bed);
}

/* Whoever the image's user is, what it leaves belongs to whoever runs it. */
TEST(users_of_images) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    static const char script[] = "id -u; id -g; echo $HOME; cat ~reader/mine; cat /private "
                                 "2>/dev/null; cp /home/reader/mine /out/copy && ls -ln /out/copy "
                                 "| cut -c 1-40 | tr -s ' '";
    struct compute_mount mount = {.source = bed.work, .target = "/out", .writable = true};
    static const char *const images[] = {"glovebox.test/named:1", "glovebox.test/numbered:1"};
    OWN_STRING copy = path_join(bed.work, "copy");
    for (size_t i = 0; i < 2; i++) {
        struct job job = shut_in(&bed, images[i] + 14, SHELL(script));
        OWN_STRING name = memory_format("user-%zu", i);
        job.name = name;
        job.image = images[i];
        job.mounts = &mount;
        job.mount_count = 1;
        const struct report *report = bed_run(&bed, &job);
        REQUIRE(report);
        CHECK_INTEGER(report->cause, CAUSE_NONE);
        CHECK(text_starts_with(bed_log(&bed), i ? "1000\n4000000000\n/home/reader\nmine\n"
                                                : "1000\n100\n/home/reader\nmine\n"));
        CHECK(strstr(bed_log(&bed), i ? "1 1000 4000000000 " : "1 1000 100 "));
        struct stat status;
        REQUIRE(stat(copy, &status) == 0);
        CHECK_INTEGER(status.st_uid, geteuid());
        CHECK_INTEGER(status.st_gid, getegid());
        CHECK(unlink(copy) == 0);
    }
    struct job job = shut_in(&bed, "stranger", nothing);
    job.image = "glovebox.test/stranger:1";
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NOT_STARTED);
    CHECK(strstr(report->detail, "the user \"stranger\", which the image does not have"));
    bed_remove(&bed);
}

/* No user that an image names makes its task the one who runs it. */
TEST(users_that_want_to_be_root) {
    static const char *const expected[] = {"4294967294 0\nmine\n", "0 65534\nmine\n",
                                           "0 99999\nmine\n", "65534 65534\nmine\n"};
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        OWN_STRING name = memory_format("user-%zu", i);
        OWN_STRING image = memory_format("glovebox.test/user-%zu:1", i);
        struct job job = shut_in(&bed, name,
                                 SHELL("echo $(id -u) $(id -g); cat /home/reader/mine; "
                                       "cat /proc/self/uid_map /proc/self/gid_map"));
        job.image = image;
        const struct report *report = bed_run(&bed, &job);
        REQUIRE(report);
        CHECK_INTEGER(report->cause, CAUSE_NONE);
        CHECK(strstr(report->sandbox, geteuid() == 0 ? "; unprivileged user" : "; caller's user"));
        CHECK(text_starts_with(bed_log(&bed), expected[i]));
        unsigned inside, user = 0, group = 0;
        REQUIRE(sscanf(bed_log(&bed) + strlen(expected[i]), "%u %u 1 %u %u 1", &inside, &user,
                       &inside, &group) == 4);
        CHECK(geteuid() != 0 || (user != 0 && group != 0));
    }
    bed_remove(&bed);
}

/* Links in place of what a container is given, and files of other owners. */
TEST(images_as_they_come) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    struct job job = shut_in(&bed, "linked",
                             SHELL("pwd; touch new && ls; grep -c localhost /etc/hosts; "
                                   "cat /etc/hostname /home/reader/mine; "
                                   "[ -e /etc/resolv.conf ] || echo unresolved"));
    job.image = "glovebox.test/linked:1";
    job.writable_root = true;
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NONE);
    CHECK_TEXT(bed_log(&bed), "/work/here\nnew\n2\nglovebox\nmine\nunresolved\n");
    job = shut_in(&bed, "linked-with-network", SHELL("cat /etc/resolv.conf"));
    job.image = "glovebox.test/linked:1";
    job.network = "host";
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NONE);
    job = shut_in(&bed, "looped", SHELL("true"));
    job.image = "glovebox.test/looped:1";
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NOT_STARTED);
    CHECK_TEXT(report->detail, "cannot make the box's root folder: /loop/here: "
                               "Too many levels of symbolic links");
    bed_remove(&bed);
}

/* The accounts of an image are a stranger's. */
TEST(accounts_that_want_harm) {
    struct bed bed;
    REQUIRE(bed_make(&bed));
    OWN_STRING root = path_join(bed.home, "root");
    OWN_STRING etc = path_join(root, "etc");
    OWN_STRING passwd = path_join(etc, "passwd");
    OWN_STRING outside = path_join(bed.home, "outside");
    OWN_STRING accounts = path_join(root, "accounts");
    struct oci_user user;
    OWN_ERROR error = NULL;
    REQUIRE(mkdir(root, 0755) == 0 && mkdir(etc, 0755) == 0);
    REQUIRE(write_text(bed.home, "outside", "who:x:7:8::/x:\n", 0644));
    /* no accounts at all: numbers do */
    CHECK(oci_find_user(root, "", &user, NULL) == 0 && user.user == 0 && user.group == 0);
    CHECK(oci_find_user(root, "12:34", &user, NULL) == 0 && user.user == 12 && user.group == 34);
    CHECK(oci_find_user(root, "who", &user, NULL) < 0);
    CHECK(oci_find_user(root, "0:4294967295", &user, &error) < 0);
    CHECK(error && strstr(error->message, "cannot be mapped: numbers end at 4294967294"));
    error_free(error);
    error = NULL;
    /* links lead nowhere but into the image */
    REQUIRE(symlink(outside, passwd) == 0);
    CHECK(oci_find_user(root, "who", &user, NULL) < 0);
    REQUIRE(unlink(passwd) == 0 && symlink("../../outside", passwd) == 0);
    CHECK(oci_find_user(root, "who", &user, NULL) < 0);
    REQUIRE(unlink(passwd) == 0 && symlink("/accounts", passwd) == 0);
    REQUIRE(write_text(root, "accounts",
                       "who\nwho:x\n:x:1:1::/:\nwho:x:-1:1::/:\nwho:x:4294967295:1::/:\n"
                       "who:x:99999999999:1::/:\nwho:x:5:6:a:relative:sh:more:and:more\nwho:x:9:9",
                       0644));
    CHECK(oci_find_user(root, "who", &user, NULL) == 0);
    CHECK(user.user == 5 && user.group == 6 && text_equal(user.home, "/"));
    static const char *const bad[] = {"who\nwho", "-1", "4294967295", "0x0", "who:nogroup", " 0"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK(oci_find_user(root, bad[i], &user, NULL) < 0);
    /* groups that it is in, by its whole name, and no more of them than there is room for */
    OWN_BUFFER groups = {0};
    buffer_append(&groups, "a:x:11:who\nb:x:12:whose,awho\nc:x:-1:who\nd:x:13:else,who\n");
    REQUIRE(write_text(etc, "group", buffer_text(&groups), 0644));
    CHECK(oci_find_user(root, "5", &user, NULL) == 0 && user.group_count == 2);
    CHECK(user.groups[0] == 11 && user.groups[1] == 13);
    CHECK(oci_find_user(root, "who:12", &user, NULL) == 0 && user.group_count == 0);
    CHECK(oci_find_user(root, "77", &user, NULL) == 0 && user.group_count == 0);
    for (int i = 0; i < 200; i++)
        buffer_append(&groups, "e:x:14:who\n");
    REQUIRE(write_text(etc, "group", buffer_text(&groups), 0644));
    CHECK(oci_find_user(root, "who", &user, NULL) == 0 && user.group_count == GROUPS_MAXIMUM + 1);
    /* and a file without end is not read to its end */
    REQUIRE(truncate(accounts, (off_t)1 << 40) == 0);
    CHECK(oci_find_user(root, "who", &user, &error) < 0);
    CHECK(error && error->code == ERROR_LIMIT);
    bed_remove(&bed);
}

TEST(a_writable_root_is_the_jobs_own) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    struct job job = shut_in(&bed, "writes",
                             SHELL("echo changed >/etc/passwd && rm /bin/true && mkdir /new && "
                                   "cat /etc/passwd; head -c 20971520 /dev/zero >/new/big; "
                                   "wc -c </new/big"));
    job.writable_root = true;
    job.limits.scratch = 8 << 20;
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK(text_starts_with(bed_log(&bed), "changed\n"));
    CHECK(!strstr(bed_log(&bed), "20971520\n"));
    job =
        shut_in(&bed, "finds-it-as-it-was", SHELL("true && grep -c root /etc/passwd; ls -d /new"));
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK(text_starts_with(bed_log(&bed), "1\n"));
    CHECK(strstr(bed_log(&bed), "/new: No such file"));
    bed_remove(&bed);
}

/* A machine whose GPUs are /dev/null and /dev/zero. */
static bool describe_gpus(const struct bed *bed) {
    static const char json[] =
        "{\"cdiVersion\":\"0.5.0\",\"kind\":\"example.com/gpu\",\"devices\":[{\"name\":\"0\","
        "\"containerEdits\":{\"deviceNodes\":[{\"path\":\"/dev/gpu0\",\"hostPath\":\"/dev/null\"}],"
        "\"env\":[\"GPU=zero\"]}},{\"name\":\"all\",\"containerEdits\":{}}],"
        "\"containerEdits\":{\"mounts\":[{\"hostPath\":\"/etc/hostname\",\"containerPath\":"
        "\"/driver/name\"}]}}";
    static const char yaml[] =
        "cdiVersion: 0.5.0\nkind: example.org/gpu\ndevices:\n- name: \"1\"\n  "
        "containerEdits:\n    deviceNodes:\n    - path: /dev/gpu1\n      "
        "hostPath: /dev/zero\n";
    OWN_STRING folder = path_join(bed->home, "cdi");
    return mkdir(folder, 0700) == 0 && write_text(folder, "a.json", json, 0600) &&
           write_text(folder, "b.yaml", yaml, 0600) &&
           write_text(folder, "c.txt", "no specification", 0600) &&
           setenv("GLOVEBOX_CDI_PATH", folder, 1) == 0;
}

TEST(gpus_by_cdi) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    (void)setenv("GLOVEBOX_CDI_PATH", "/nonexistent/cdi", 1);
    struct job job = shut_in(&bed, "none", SHELL("true"));
    job.limits.gpus = 1;
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NOT_STARTED);
    CHECK(strstr(report->detail, "no file of /nonexistent/cdi describes a device"));
    REQUIRE(describe_gpus(&bed));
    struct compute_capacity capacity;
    CHECK(bed.driver->capacity(bed.compute, &capacity, NULL) == 0);
    CHECK_INTEGER(capacity.gpus, 2);
    job = shut_in(&bed, "both",
                  SHELL("cat /dev/gpu0; head -c 3 /dev/gpu1 | wc -c; echo $GPU; "
                        "wc -l </driver/name; echo x >/driver/name; ls /dev"));
    job.limits.gpus = 2;
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NONE);
    CHECK(text_starts_with(bed_log(&bed), "3\nzero\n1\n"));
    CHECK(strstr(bed_log(&bed), "Read-only file system"));
    /* each GPU is one job's at a time, also for the next program */
    job = shut_in(&bed, "first", SHELL("sleep 1000"));
    job.limits.gpus = 1;
    REQUIRE(bed_launch(&bed, &job));
    bed_close(&bed);
    REQUIRE(bed_open(&bed));
    CHECK_INTEGER(bed.driver->find(bed.compute, "first"), JOB_RUNNING);
    job = shut_in(&bed, "second", SHELL("ls /dev | grep gpu"));
    job.limits.gpus = 1;
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_TEXT(bed_log(&bed), "gpu1\n");
    job = shut_in(&bed, "third", SHELL("true"));
    job.limits.gpus = 2;
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK(strstr(report->detail, "1 of the 2 GPUs here are free, and 2 wanted"));
    CHECK(bed.driver->stop(bed.compute, "first", CAUSE_CANCELLED, 0, NULL) == 0);
    REQUIRE(bed_wait(&bed, bed.count + 1, 10000));
    job = shut_in(&bed, "fourth", SHELL("true"));
    job.limits.gpus = 2;
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NONE);
    (void)unsetenv("GLOVEBOX_CDI_PATH");
    bed_remove(&bed);
}

/* Places that cannot be, in the image or in another mount. */
TEST(targets_that_cannot_be_made_are_named) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    OWN_STRING input = path_join(bed.home, "input");
    OWN_STRING file = path_join(input, "file");
    REQUIRE(mkdir(input, 0755) == 0 && write_text(input, "file", "x", 0644));
    const struct {
        const char *source, *target, *detail;
    } cases[] = {
        {input, "/etc/passwd/deeper", "/etc/passwd/deeper: Not a directory"},
        {input, "/etc/passwd", "/etc/passwd: Not a directory"},
        {file, "/etc", "/etc: Not a directory"},
        {input, "/input/file", "/input/file: Not a directory"},
        {input, "/input/file/deeper", "/input/file/deeper: Not a directory"},
        {input, "/input/new", "/input/new: Read-only file system"},
        {file, "/input/new", "/input/new: No such file or directory"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        OWN_STRING name = memory_format("case-%zu", i);
        struct compute_mount mounts[] = {{.source = input, .target = "/input"},
                                         {.source = cases[i].source, .target = cases[i].target}};
        struct job job = shut_in(&bed, name, SHELL("true"));
        job.mounts = mounts;
        job.mount_count = 2;
        const struct report *report = bed_run(&bed, &job);
        REQUIRE(report);
        CHECK_INTEGER(report->cause, CAUSE_NOT_STARTED);
        OWN_STRING detail = memory_format("cannot mount into the box at %s", cases[i].detail);
        CHECK_TEXT(report->detail, detail);
    }
    bed_remove(&bed);
}

TEST(what_cannot_start_is_told) {
    static const char *const garbage[] = {"/garbage", NULL};
    static const char *const folder[] = {"/etc", NULL};
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    struct job job = shut_in(&bed, "no-image", nothing);
    job.image = "glovebox.test/no-such:1";
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_IMAGE_NOT_FOUND);
    CHECK(
        strstr(report->detail, "there is no image glovebox.test/no-such:1 here (glovebox image "));
    static const struct {
        const char *name, *const *arguments, *detail;
    } cases[] = {{"garbage", garbage, "cannot run /garbage: Exec format error"},
                 {"folder", folder, "cannot run /etc: Permission denied"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        job = shut_in(&bed, cases[i].name, cases[i].arguments);
        job.image = "glovebox.test/entry:1";
        job.entrypoint = cases[i].arguments;
        report = bed_run(&bed, &job);
        REQUIRE(report);
        CHECK_INTEGER(report->cause, CAUSE_NOT_STARTED);
        CHECK_TEXT(report->detail, cases[i].detail);
    }
    char *pinned = NULL;
    CHECK(bed.driver->pin(bed.home, "glovebox.test/busybox:1", &pinned, NULL) == 0);
    CHECK(pinned && text_starts_with(pinned, "glovebox.test/busybox@sha256:"));
    job = shut_in(&bed, "pinned", SHELL("true"));
    job.image = pinned;
    report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NONE);
    memory_free(pinned);
    bed_remove(&bed);
}

TAP_MAIN
