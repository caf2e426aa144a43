/* Images in containers, from within and from without. Started by root it runs once as root and once
 * as an ordinary user. */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct job contained(struct bed *bed, const char *name, const char *const *arguments) {
    return (struct job){.name = name,
                        .image = "test/busybox",
                        .arguments = arguments,
                        .work = bed->work,
                        .log = bed->log,
                        .box = BOX_SEALED};
}

static bool shell(const char *text) {
    const char *const argv[] = {"/bin/sh", "-c", text, NULL};
    struct process_options options = {.argv = argv, .input = -1, .output = -1, .error = 2};
    pid_t pid;
    int status = -1;
    return process_spawn(&options, &pid, NULL) == 0 && waitpid(pid, &status, 0) == pid &&
           status == 0;
}

static bool make_image(struct bed *bed) {
    OWN_STRING c =
        memory_format("mkdir -p %s/images/test/busybox/rootfs && cd %s/images/test/busybox/rootfs "
                      "&& mkdir bin etc proc sys dev tmp root && cp /bin/busybox bin/ && for a in "
                      "$(/bin/busybox --list); do [ $a = busybox ] || ln -s busybox bin/$a; done; "
                      "echo 'root:x:0:0:root:/root:/bin/sh' >etc/passwd; echo "
                      "'{\"config\":{\"Env\":[\"PATH=/bin\"],\"Cmd\":[\"true\"]}}' >../config.json",
                      bed->home, bed->home);
    return shell(c);
}

TEST(what_a_container_sees) {
    struct bed bed;
    REQUIRE(bed_make(&bed) && make_image(&bed));
    struct job job =
        contained(&bed, "see",
                  SHELL("id -u; hostname; pwd; echo $HOME $PATH; "
                        "echo x >/tmp/y && cat /tmp/y; "
                        "echo to-stdout >>/dev/stdout; cat /proc/self/mountinfo; ls -la / /dev; "
                        "cat /etc/hosts; ls /sys /sys/devices; ps; grep -i 'cap\\|secc\\|nonew' "
                        "/proc/self/status;cat /proc/self/limits; ls -l /proc/self/fd; ulimit -a; "
                        "wc </dev/stdin"));
    const struct report *report = bed_run(&bed, &job);
    REQUIRE(report);
    CHECK_INTEGER(report->cause, CAUSE_NONE);
    printf("%s\n", bed_log(&bed));
    printf("%s %ld %ld %ld\n", report->sandbox, (long)report->cpu_user, (long)report->cpu_system,
           (long)report->peak_memory);
    bed_remove(&bed);
}

TAP_MAIN
