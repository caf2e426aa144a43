/*
 * The system-call filter of a box: what a task has no business with is refused as if the kernel
 * did not permit it. Made by libseccomp here, once for each keeper, which only installs the bytes.
 */
#include "compute/private-link.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FCHMODAT2 = 452 };

/* Near the default profile of Docker and Podman, turned into a list of refusals. */
static const char *const refused[] = {
    /* other namespaces, other roots */
    "setns", "unshare", "mount", "umount", "umount2", "pivot_root", "chroot", "open_tree",
    "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "open_by_handle_at",
    "name_to_handle_at", "open_tree_attr", "statmount", "listmount",
    /* the kernel itself */
    "init_module", "finit_module", "delete_module", "create_module", "query_module",
    "get_kernel_syms", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "syslog",
    "acct", "quotactl", "quotactl_fd", "_sysctl", "sysfs", "uselib", "ustat", "vhangup",
    "nfsservctl", "lookup_dcookie", "iopl", "ioperm", "modify_ldt", "vm86", "vm86old",
    "settimeofday", "stime", "clock_settime", "clock_adjtime", "adjtimex", "sethostname",
    "setdomainname",
    /* large surfaces of attack that a task can do without */
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter",
    "io_uring_register", "fanotify_init", "fanotify_mark", "keyctl", "add_key", "request_key",
    "kcmp", "pidfd_getfd", "process_madvise", "move_pages", "migrate_pages"};

static int refuse(scmp_filter_ctx filter, const char *name, int number, unsigned count,
                  struct scmp_arg_cmp argument) {
    int call = seccomp_syscall_resolve_name(name);
    if (call == __NR_SCMP_ERROR)
        return 0; /* unknown to this libseccomp, hence to this architecture */
    int bad =
        seccomp_rule_add_array(filter, SCMP_ACT_ERRNO((unsigned)number), call, count, &argument);
    return bad == -EDOM ? 0 : bad;
}

static struct scmp_arg_cmp has_bits(unsigned argument, scmp_datum_t bits) {
    return (struct scmp_arg_cmp){argument, SCMP_CMP_MASKED_EQ, bits, bits};
}

/* Programs that take on their owner's rights: a task's files come to belong to whoever runs it. The
 * argument that holds the mode, for each call that takes one; openat2 hides it behind a pointer. */
static int add_modes(scmp_filter_ctx filter) {
    static const struct {
        const char *call;
        unsigned argument;
        bool opens; /* the argument before says whether the mode counts */
    } calls[] = {{"chmod", 1, false}, {"fchmod", 1, false}, {"fchmodat", 2, false},
                 {"creat", 1, false}, {"mknod", 1, false},  {"mknodat", 2, false},
                 {"open", 2, true},   {"openat", 3, true}};
    static const scmp_datum_t making[] = {O_CREAT, O_TMPFILE & ~O_DIRECTORY};
    int bad = 0;
    for (size_t i = 0; i < ARRAY_SIZE(calls) && !bad; i++) {
        int call = seccomp_syscall_resolve_name(calls[i].call);
        struct scmp_arg_cmp checks[2] = {has_bits(calls[i].argument, S_ISUID)};
        if (call < 0)
            continue; /* not on this architecture */
        for (size_t j = 0; j < (calls[i].opens ? ARRAY_SIZE(making) : 1) && !bad; j++) {
            checks[1] = has_bits(calls[i].argument - 1, making[j]);
            bad = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), call,
                                         calls[i].opens ? 2 : 1, checks);
        }
    }
    struct scmp_arg_cmp any = {0};
    bad = bad ? bad : refuse(filter, "openat2", ENOSYS, 0, any);
    /* Newer than this libseccomp; the same number everywhere. Without it fchmodat is used. */
    bad = bad ? bad : seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), FCHMODAT2, 0);
    return bad == -EEXIST ? 0 : bad;
}

static int add_rules(scmp_filter_ctx filter) {
    struct scmp_arg_cmp any = {0};
    int bad = 0;
    for (size_t i = 0; i < ARRAY_SIZE(refused) && !bad; i++)
        bad = refuse(filter, refused[i], EPERM, 0, any);
    /* A new thread or process, but in these namespaces. clone3 hides its flags behind a pointer:
     * without it the C libraries use clone. */
    static const unsigned long namespaces[] = {CLONE_NEWUSER, CLONE_NEWNS,     CLONE_NEWPID,
                                               CLONE_NEWNET,  CLONE_NEWCGROUP, CLONE_NEWUTS,
                                               CLONE_NEWIPC};
    for (size_t i = 0; i < ARRAY_SIZE(namespaces) && !bad; i++)
        bad = refuse(filter, "clone", EPERM, 1,
                     SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces[i], namespaces[i]));
    bad = bad ? bad : refuse(filter, "clone3", ENOSYS, 0, any);
    /* Families beyond Unix, Internet and netlink; vsock would reach out of a virtual machine. */
    bad = bad ? bad : refuse(filter, "socket", EAFNOSUPPORT, 1, SCMP_A0(SCMP_CMP_GT, AF_NETLINK));
    bad = bad ? bad : add_modes(filter);
    /* Typing into somebody's terminal. */
    bad =
        bad ? bad
            : refuse(filter, "ioctl", EPERM, 1, SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, TIOCSTI));
    bad = bad ? bad
              : refuse(filter, "ioctl", EPERM, 1,
                       SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, TIOCLINUX));
    return bad;
}

/* libseccomp writes to a descriptor only. */
static int export_filter(scmp_filter_ctx filter, struct buffer *ret, struct error **err) {
    OWN_FD fd = memfd_create("glovebox-filter", MFD_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, errno, "cannot hold the system-call filter");
    int bad = seccomp_export_bpf(filter, fd);
    if (bad)
        return error_set_errno(err, -bad, "cannot make the system-call filter");
    char block[4096];
    off_t at = 0;
    ssize_t size;
    while ((size = pread(fd, block, sizeof(block), at)) > 0) {
        buffer_append_bytes(ret, block, (size_t)size);
        at += size;
    }
    return size < 0 ? error_set_errno(err, errno, "cannot read the system-call filter") : 0;
}

int filter_message(struct buffer *ret, struct error **err) {
    struct message_header header = {.type = MESSAGE_FILTER};
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter)
        return error_set_memory(err);
    buffer_append_bytes(ret, &header, sizeof(header));
    int bad = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a list */
    bad = bad ? bad : seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
    bad = bad ? bad : add_rules(filter);
    if (bad)
        error_set_errno(err, -bad, "cannot make the system-call filter");
    else
        bad = export_filter(filter, ret, err);
    seccomp_release(filter);
    if (bad || buffer_check(ret, err) < 0)
        return -1;
    header.size = (uint32_t)ret->size;
    memcpy(ret->data, &header, sizeof(header));
    return 0;
}
