/* The sealed box: what is its own. What it shares with containers is in shut-in.c. */
#include "shut-in.h"

#include <stdlib.h>
#include <sys/stat.h>

const bool shut_in_users = false;

bool shut_in_make(struct bed *bed) {
    return bed_make(bed);
}

struct job shut_in(struct bed *bed, const char *name, const char *const *arguments) {
    struct job job = bed_shell(bed, name, arguments);
    job.box = BOX_SEALED;
    return job;
}

TEST(what_a_task_sees) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    struct job job = shut_in(&bed, "see",
                             SHELL("id -un; hostname; pwd; ls /; echo x >/tmp/y && cat /tmp/y; "
                                   "echo to-stdout >>/dev/stdout; ls /home | wc -l"));
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NONE);
    const char *log = bed_log(&bed);
    CHECK(text_starts_with(log, "glovebox\nglovebox\n/\nbin\n"));
    CHECK(strstr(log, "\nx\n"));
    CHECK(!strstr(log, "root\n"));
    CHECK(text_ends_with(log, "\nto-stdout\n0\n"));
    CHECK(strstr(report->sandbox, "namespaces: mount,pid,ipc,uts,net"));
    CHECK(strstr(report->sandbox, "; seccomp"));
    CHECK(
        strstr(report->sandbox, geteuid() == 0 ? "; unprivileged user" : ",user; no capabilities"));
    struct stat status;
    REQUIRE(stat(bed.log, &status) == 0);
    CHECK_INTEGER(status.st_uid, geteuid()); /* lent and given back */
    bed_remove(&bed);
}

/* An earlier task may leave a link where a mount is to go. */
TEST(links_do_not_lead_mounts_astray) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    OWN_STRING trap = path_join(bed.home, "trap");
    OWN_STRING link = path_join(trap, "in");
    OWN_STRING outside = path_join(bed.home, "outside");
    REQUIRE(mkdir(trap, 0700) == 0 && mkdir(outside, 0700) == 0 && symlink(outside, link) == 0);
    struct compute_mount mounts[] = {{.source = trap, .target = "/trap", .writable = true},
                                     {.source = outside, .target = "/trap/in/deeper"}};
    struct job job = shut_in(&bed, "astray", SHELL("true"));
    job.mounts = mounts;
    job.mount_count = 2;
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NOT_STARTED);
    OWN_STRING deeper = path_join(outside, "deeper");
    CHECK(!file_exists(AT_FDCWD, deeper));
    bed_remove(&bed);
}

/* Net namespaces are used again, but never one that saw traffic. */
TEST(a_used_network_is_thrown_away) {
    struct bed bed;
    REQUIRE(shut_in_make(&bed));
    static const char script[] = "readlink /proc/self/ns/net; grep -c 'lo:.*[1-9]' /proc/net/dev; "
                                 "[ -z \"$TALK\" ] || python3 -c 'import socket; "
                                 "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); "
                                 "s.sendto(b\"x\",(\"127.0.0.1\",9))'";
    const char *const talk[] = {"TALK=1", NULL};
    struct job job = shut_in(&bed, "talks", SHELL(script));
    job.environment = talk;
    REQUIRE(bed_run(&bed, &job));
    job = shut_in(&bed, "next", SHELL(script));
    REQUIRE(bed_run(&bed, &job));
    CHECK(strstr(bed_log(&bed), "]\n0\n"));
    bed_remove(&bed);
}

TAP_MAIN
