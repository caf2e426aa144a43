/*
 * A task that tries to get out of its box. Each attempt prints "name: refused" or "name:
 * POSSIBLE"; the test reads the lines. Statically linked, so that it needs nothing of the box.
 *   hostile SECRET PORT INPUT OUTPUT [users]: a file of the home that must be unreachable, a port
 *   where the host listens, and a read-only and a writable folder of the box. "users": it may
 * change user, and has the rights that this takes, but no others.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void tell(const char *name, bool possible) {
    printf("%s: %s\n", name, possible ? "POSSIBLE" : "refused");
    (void)fflush(stdout);
}

static void try_call(const char *name, long result) {
    tell(name, result >= 0);
}

static void try_open(const char *name, const char *path, int flags) {
    int fd = open(path, flags | O_CLOEXEC, 0644);
    tell(name, fd >= 0);
    if (fd >= 0)
        close(fd);
}

static void try_namespaces(void) {
    try_call("mount a tmpfs", mount("x", "/tmp", "tmpfs", 0, ""));
    try_call("remount /usr", mount(NULL, "/usr", NULL, MS_REMOUNT | MS_BIND, NULL));
    try_call("unmount /proc", umount2("/proc", MNT_DETACH));
    try_call("pivot_root", syscall(SYS_pivot_root, "/tmp", "/tmp"));
    try_call("chroot", chroot("/tmp"));
    try_call("unshare a user namespace", unshare(CLONE_NEWUSER));
    try_call("unshare a mount namespace", unshare(CLONE_NEWNS));
    long child = syscall(SYS_clone, (unsigned long)(CLONE_NEWUSER | SIGCHLD), 0, 0, 0, 0);
    if (child == 0)
        _exit(0);
    try_call("clone into a user namespace", child);
    try_call("clone3", syscall(SYS_clone3, NULL, 0));
    int fd = open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);
    try_call("setns to the init's", fd < 0 ? -1 : setns(fd, 0));
    try_call("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
    try_call("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
    try_call("sethostname", sethostname("evil", 4));
}

static void try_init(void) {
    char byte;
    try_open("read the init's environment", "/proc/1/environ", O_RDONLY);
    try_open("read the init's memory", "/proc/1/mem", O_RDONLY);
    try_open("write the init's memory", "/proc/1/mem", O_WRONLY);
    try_open("enter the init's root", "/proc/1/root/etc", O_RDONLY);
    try_open("use the init's files", "/proc/1/fd/0", O_RDONLY);
    try_call("attach to the init", ptrace(PTRACE_ATTACH, 1, 0, 0));
    try_call("see the init's program", readlink("/proc/1/exe", &byte, 1));
    /* The kernel accepts these and drops them; that we still run is the proof. */
    (void)kill(1, SIGKILL);
    (void)kill(1, SIGSTOP);
    (void)usleep(50000);
    tell("kill the init", false);
}

static int count_processes(DIR *list) {
    int count = 0;
    if (list)
        rewinddir(list);
    for (struct dirent *entry; list && (entry = readdir(list));)
        count += entry->d_name[0] >= '0' && entry->d_name[0] <= '9';
    return count;
}

static void try_processes(void) {
    DIR *list = opendir("/proc");
    /* What started a container is seen for an instant, on its way out. */
    int count = count_processes(list);
    for (int tries = 0; count != 2 && tries < 200; tries++) {
        (void)usleep(10000);
        count = count_processes(list);
    }
    tell("see other processes", count != 2);
    bool leak = false;
    for (int fd = 3; fd < 1024; fd++)
        leak |= fd != (list ? dirfd(list) : -1) && fcntl(fd, F_GETFD) >= 0;
    tell("use a leaked descriptor", leak);
    if (list)
        closedir(list);
    /* The parent of this process is the init, which is 1; above it there is nothing to see. */
    tell("see beyond the init", getppid() != 1);
}

static void try_files(const char *secret, const char *input) {
    char path[512];
    try_open("read a file of the host", secret, O_RDONLY);
    (void)snprintf(path, sizeof(path), "/proc/self/root/%s", secret);
    try_open("read it by /proc/self/root", path, O_RDONLY);
    (void)snprintf(path, sizeof(path), "/proc/self/cwd/../../../../../../%s", secret);
    try_open("read it by dots", path, O_RDONLY);
    try_open("read /etc/shadow", "/etc/shadow", O_RDONLY);
    try_open("write to /usr", "/usr/evil", O_WRONLY | O_CREAT);
    try_open("write to /", "/evil", O_WRONLY | O_CREAT);
    try_open("write /etc/passwd", "/etc/passwd", O_WRONLY);
    try_open("write to /dev", "/dev/evil", O_WRONLY | O_CREAT);
    try_call("close /dev/null to all", chmod("/dev/null", 0));
    (void)snprintf(path, sizeof(path), "%s/file", input);
    try_open("write an input", path, O_WRONLY);
    try_call("remove an input", unlink(path));
    try_call("chmod an input", chmod(path, 0777));
    try_call("chown an input", chown(path, 1, 1));
    (void)snprintf(path, sizeof(path), "%s/new", input);
    try_open("add an input", path, O_WRONLY | O_CREAT);
    try_call("make a disk's node", mknod("/tmp/disk", S_IFBLK | 0600, 0xfe00));
    try_call("make a memory's node", mknod("/tmp/memory", S_IFCHR | 0600, 0x0101));
    try_open("open a disk", "/dev/vda", O_RDONLY);
    try_open("open /dev/mem", "/dev/mem", O_RDONLY);
    try_open("open /dev/kmsg", "/dev/kmsg", O_RDONLY);
    try_open("open a terminal", "/dev/tty", O_RDWR);
    char byte;
    int core = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
    tell("read kernel memory", core >= 0 && read(core, &byte, 1) > 0);
    int keys = open("/proc/keys", O_RDONLY | O_CLOEXEC);
    tell("read keys", keys >= 0 && read(keys, &byte, 1) > 0);
    try_open("set a switch of the kernel", "/proc/sys/kernel/core_pattern", O_WRONLY);
    try_open("set a switch of the network", "/proc/sys/net/ipv4/ip_forward", O_WRONLY);
    try_open("press SysRq", "/proc/sysrq-trigger", O_WRONLY);
    try_open("see cgroups", "/sys/fs/cgroup", O_RDONLY);
}

static int connect_by_path(const char *home, const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/compute/process/%s.socket", home,
                   name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int bad = connect(fd, (struct sockaddr *)&address, sizeof(address));
    close(fd);
    return bad;
}

/* The keepers, which would start anything for whoever reaches them. */
static void try_keepers(const char *secret) {
    char home[512];
    (void)snprintf(home, sizeof(home), "%s", secret);
    *strrchr(home, '/') = '\0';
    try_call("speak to the keeper of boxes", connect_by_path(home, "box"));
    try_call("speak to the keeper of containers", connect_by_path(home, "container"));
    try_call("speak to the keeper of users", connect_by_path(home, "users"));
}

static void try_outputs(const char *secret, const char *output) {
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/../../escaped", output);
    try_open("write above the output", path, O_WRONLY | O_CREAT);
    (void)snprintf(path, sizeof(path), "%s/link", output);
    if (symlink(secret, path) < 0)
        printf("cannot plant a link\n");
    try_open("follow a link that it planted", path, O_RDONLY);
    try_open("write through it", path, O_WRONLY);
    (void)unlink(path);
    (void)snprintf(path, sizeof(path), "%s/device", output);
    try_call("leave a device", mknod(path, S_IFCHR | 0666, 0x0101));
    (void)snprintf(path, sizeof(path), "%s/program", output);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0755);
    if (fd < 0)
        printf("cannot write an output\n");
    try_call("leave a set-uid program", chmod(path, 04755));
    try_call("leave one by its descriptor", fchmod(fd, 04755));
    try_call("leave one by fchmodat2", syscall(452, AT_FDCWD, path, 04755, 0));
    (void)unlink(path);
    try_call("create one", open(path, O_RDWR | O_CREAT | O_CLOEXEC, 04755));
    try_call("create one by creat", creat(path, 04755));
    unsigned long long how[3] = {O_RDWR | O_CREAT, 04755, 0};
    try_call("create one by openat2", syscall(437, AT_FDCWD, path, how, sizeof(how)));
    (void)unlink(path);
}

static void try_without_end(void) {
    int count = 0;
    while (count < 100000 && open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
        count++;
    tell("open files without end", count == 100000);
    (void)close_range(3, ~0u, 0);
}

static int connect_to(const char *address, int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    (void)inet_pton(AF_INET, address, &to.sin_addr);
    int bad = fd < 0 ? -1 : connect(fd, (struct sockaddr *)&to, sizeof(to));
    if (fd >= 0)
        close(fd);
    return bad;
}

static void try_network(int port) {
    try_call("connect to the host's loopback", connect_to("127.0.0.1", port));
    try_call("connect to the outside", connect_to("192.0.2.1", 80));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    (void)snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "glovebox-hostile-%d", port);
    socklen_t size =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name.sun_path + 1));
    try_call("connect to an abstract socket", connect(fd, (struct sockaddr *)&name, size));
    try_call("packet socket", socket(AF_PACKET, SOCK_RAW, 0));
    try_call("raw socket", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
    try_call("vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
    try_call("kernel crypto socket", socket(AF_ALG, SOCK_SEQPACKET, 0));
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(80)};
    int low = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    tell("own loopback works (is meant to)",
         !(low >= 0 && (own.sin_port = htons(8080)) &&
           bind(low, (struct sockaddr *)&own, sizeof(own)) == 0 && listen(low, 1) == 0 &&
           connect_to("127.0.0.1", 8080) == 0));
}

/* Rights over ids of the container's own: nothing of the host is its. */
static void try_users(const char *secret, const char *input, const char *output) {
    char path[512];
    struct stat status;
    (void)snprintf(path, sizeof(path), "%s/theirs", output);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0755);
    if (fd < 0 || fchown(fd, 33, 33) < 0)
        printf("cannot give a file away\n");
    try_call("leave another user's set-uid program", fchmod(fd, 04755));
    try_call("give to a user that is not there", fchown(fd, 70000, 0));
    try_call("give to a group that is not there", fchown(fd, 0, 70000));
    try_call("become one that is not there", setresuid(70000, 70000, 70000));
    try_call("give an input away", chown(input, 33, 33));
    try_call("give the memory of nothing away", chown("/dev/null", 33, 33));
    try_call("give a switch of the kernel away", chown("/proc/sys/kernel/core_pattern", 0, 0));
    try_call("give the init away", chown("/proc/1", 33, 33));
    (void)snprintf(path, sizeof(path), "%s/way-out", output);
    if (symlink(secret, path) < 0)
        printf("cannot plant a link\n");
    try_call("give away what a link leads to", chown(path, 33, 33));
    try_call("find the input's owner outside", stat(secret, &status));
    long child = syscall(SYS_clone, (unsigned long)SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        const gid_t group = 33;
        if (setgroups(1, &group) < 0 || setresgid(33, 33, 33) < 0 || setresuid(33, 33, 33) < 0)
            printf("cannot become another user\n");
        try_call("come back from another user", setresuid(0, 0, 0));
        try_call("give away as another user", chown(output, 33, 33));
        try_open("read another user's memory", "/proc/1/mem", O_RDONLY);
        (void)fflush(stdout);
        _exit(0);
    }
    (void)waitpid((pid_t)child, NULL, 0);
}

static void try_privileges(bool users) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct all[2] = {{.effective = ~0u, .permitted = ~0u}};
    try_call("take capabilities", syscall(SYS_capset, &header, all));
    if (getuid() != 0)
        try_call("become root", setuid(0));
    tell("gain privileges by execve", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1);
    FILE *status = fopen("/proc/self/status", "re");
    char line[256];
    bool any = false;
    while (status && fgets(line, sizeof(line), status)) {
        /* chown, dac_override, fowner, kill, setgid, setuid */
        if (strncmp(line, "Cap", 3) == 0 && users)
            any |= strtoull(line + 7, NULL, 16) & ~0xebULL;
        else if (strncmp(line, "Cap", 3) == 0)
            any |= strspn(line + 7, "\t0\n") != strlen(line + 7);
        if (strncmp(line, "Seccomp:", 8) == 0)
            tell("run without a filter", !strchr(line, '2'));
    }
    if (status)
        (void)fclose(status);
    tell("hold a capability", !status || any);
    try_call("raise a limit", nice(-5));
}

static void try_kernel(void) {
    static char zeros[256];
    try_call("bpf", syscall(SYS_bpf, 5, zeros, sizeof(zeros)));
    try_call("perf_event_open", syscall(SYS_perf_event_open, zeros, 0, -1, -1, 0));
    try_call("io_uring", syscall(SYS_io_uring_setup, 1, zeros));
    try_call("keyctl", syscall(SYS_keyctl, 0, -3, 0));
    try_call("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -2));
    try_call("userfaultfd", syscall(SYS_userfaultfd, 1));
    try_call("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, zeros, 0));
    try_call("init_module", syscall(SYS_init_module, zeros, 0, ""));
    try_call("syslog", syscall(SYS_syslog, 10, NULL, 0));
    try_call("swapoff", syscall(SYS_swapoff, "/nothing"));
    try_call("acct", syscall(SYS_acct, NULL));
    struct timespec time = {.tv_sec = 1};
    try_call("set the clock", clock_settime(CLOCK_REALTIME, &time));
    /* Raw numbers of the 32-bit and x32 tables must not pass by the filter. */
    try_call("x32 call", syscall(0x40000000 | SYS_getpid));
}

int main(int argc, char **argv) {
    bool users = argc == 6 && strcmp(argv[5], "users") == 0;
    if (argc != 5 && !users)
        return 2;
    try_processes();
    try_files(argv[1], argv[3]);
    try_namespaces();
    try_init();
    try_network((int)strtol(argv[2], NULL, 10));
    try_kernel();
    try_keepers(argv[1]);
    try_outputs(argv[1], argv[4]);
    if (users)
        try_users(argv[1], argv[3], argv[4]);
    else
        try_call("become somebody else", setuid(4242));
    try_privileges(users);
    try_without_end();
    printf("done\n");
    return 0;
}
