/*
 * Net namespaces are the dearest part of a box: a third of its cost. A task has no capability,
 * hence cannot change one; all that it can leave behind is traffic of its own over the loopback
 * interface. So a namespace in which nothing was ever sent is as good as new, and serves the next
 * box, one box at a time. One that saw traffic is thrown away.
 */
#include "compute/keeper/private-box.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Programs expect to reach themselves at 127.0.0.1. */
static int raise_loopback(void) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int bad = ioctl(fd, SIOCSIFFLAGS, &request);
    close(fd);
    return bad;
}

/* A helper makes it: the keeper stays where it is, since it could not come back as an ordinary
 * user. */
static int make_network(void) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    pid_t pid = box_clone_holder(CLONE_NEWNET);
    if (pid == 0) {
        char word = raise_loopback() < 0 ? 'n' : 'y';
        if (write(ends[1], &word, 1) == 1)
            (void)pause();
        _exit(1);
    }
    int number = errno;
    close(ends[1]);
    int fd = -1;
    if (pid > 0) {
        char word = 'n', path[64];
        (void)snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
        if (read(ends[0], &word, 1) == 1 && word == 'y')
            fd = open(path, O_RDONLY | O_CLOEXEC);
        number = errno;
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
    close(ends[0]);
    errno = number;
    return fd;
}

int network_take(struct box *box) {
    return box->network_count ? box->networks[--box->network_count] : make_network();
}

void network_give_back(struct box *box, int network, bool pristine) {
    if (pristine && box->network_count < NETWORKS_MAXIMUM)
        box->networks[box->network_count++] = network;
    else
        close(network);
}

/* "lo:" and sixteen counters. A packet may be on its way when this is read; it would have to be
 * sent in the instant in which all of the box is killed, and shows in counters only. */
bool network_is_pristine(int devices) {
    char text[1024];
    if (devices < 0)
        return false;
    ssize_t size = pread(devices, text, sizeof(text) - 1, 0);
    if (size <= 0)
        return false;
    text[size] = '\0';
    const char *at = strstr(text, "lo:");
    if (!at || strchr(at, '\n') != text + size - 1)
        return false; /* another interface: not ours */
    return strspn(at + 3, " 0\n") == strlen(at + 3);
}
