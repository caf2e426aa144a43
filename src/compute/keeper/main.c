/* The loop: its driver, signals, jobs; and how a keeper begins and leaves. */
#include "compute/keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    INPUT_SIZE = 2 * (256 << 10), /* two of the largest messages */
    OUTPUT_MAXIMUM = 8 << 20,
    LINGER = 200,        /* ms without jobs and client before it leaves */
    FIRST_CLIENT = 10000 /* ms that it waits for its first */
};

int64_t now_wall(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_REALTIME, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

int64_t now_monotonic(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* ---------------------------------------------------------------------- the driver */

static void drop_client(struct keeper *keeper) {
    if (keeper->client >= 0)
        close(keeper->client);
    keeper->client = -1;
    keeper->input_size = keeper->output_size = keeper->output_sent = 0;
}

static void write_output(struct keeper *keeper) {
    while (keeper->client >= 0 && keeper->output_sent < keeper->output_size) {
        ssize_t count = send(keeper->client, keeper->output + keeper->output_sent,
                             keeper->output_size - keeper->output_sent, MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EAGAIN)
            return;
        if (count < 0) {
            keeper->output_sent = keeper->output_size = 0; /* its end is seen when reading */
            return;
        }
        keeper->output_sent += (size_t)count;
    }
    keeper->output_sent = keeper->output_size = 0;
}

void keeper_send(struct keeper *keeper, const struct record *record) {
    if (keeper->client < 0)
        return;
    if (keeper->output_size + sizeof(*record) > keeper->output_capacity) {
        size_t capacity = keeper->output_capacity ? keeper->output_capacity * 2 : 64 << 10;
        char *larger = capacity > OUTPUT_MAXIMUM ? NULL : realloc(keeper->output, capacity);
        if (!larger) {
            /* It does not read. The journal will tell it when it connects again. */
            (void)shutdown(keeper->client, SHUT_RDWR);
            return;
        }
        keeper->output = larger;
        keeper->output_capacity = capacity;
    }
    memcpy(keeper->output + keeper->output_size, record, sizeof(*record));
    keeper->output_size += sizeof(*record);
}

/* A driver that connects reads the journal. What a full disk kept out of it would reach that
 * driver never: the last one was told, and it is gone. */
static void tell_unwritten(struct keeper *keeper) {
    keeper->journal_failed = journal_commit(&keeper->journal) < 0;
    for (size_t i = 0; i < keeper->journal.pending_count; i++) {
        if (keeper->journal.pending[i].type == RECORD_EXITED)
            keeper_send(keeper, &keeper->journal.pending[i]);
    }
}

static void accept_client(struct keeper *keeper) {
    int fd = accept4(keeper->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    struct ucred peer;
    socklen_t size = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ||
        (peer.uid != getuid() && peer.uid != 0)) {
        close(fd);
        return;
    }
    keeper->client = fd;
    struct record hello = {.type = RECORD_HELLO,
                           .pid = getpid(),
                           .version = KEEPER_PROTOCOL,
                           .sandbox = groups_found(keeper->groups)};
    record_seal(&hello);
    keeper_send(keeper, &hello);
    tell_unwritten(keeper);
}

/* ------------------------------------------------------------------------ messages */

static bool name_is_valid(const char name[KEEPER_NAME_SIZE]) {
    size_t size = strnlen(name, KEEPER_NAME_SIZE);
    return size > 0 && size < KEEPER_NAME_SIZE;
}

/* First of two passes over what arrived: the launches are written down, all in one go. */
static void register_launch(struct keeper *keeper, const struct launch_message *message) {
    if (message->header.size < sizeof(*message) || !name_is_valid(message->name) ||
        journal_find(&keeper->journal, message->name))
        return;
    struct entry *entry = journal_add(&keeper->journal, message->name);
    if (!entry)
        return;
    entry->record.type = RECORD_LAUNCHED;
    (void)journal_append(&keeper->journal, &entry->record);
}

static void handle_launch(struct keeper *keeper, const struct launch_message *message) {
    if (message->header.size < sizeof(*message) || !name_is_valid(message->name))
        return;
    struct entry *entry = journal_find(&keeper->journal, message->name);
    if (!entry) { /* its name was in use at the first pass, and has been forgotten since */
        register_launch(keeper, message);
        keeper->journal_failed = journal_commit(&keeper->journal) < 0;
        entry = journal_find(&keeper->journal, message->name);
    }
    if (!entry) {
        struct record full = {.type = RECORD_EXITED,
                              .cause = CAUSE_NOT_STARTED,
                              .exit_code = -1,
                              .stage = STAGE_FULL,
                              .started = now_wall(),
                              .ended = now_wall()};
        (void)snprintf(full.name, sizeof(full.name), "%s", message->name);
        record_seal(&full);
        keeper_send(keeper, &full);
        return;
    }
    if (entry->record.type != RECORD_LAUNCHED || entry->job || entry->message ||
        entry->record.started)
        return;
    struct entry *before =
        name_is_valid(message->after) ? journal_find(&keeper->journal, message->after) : NULL;
    if (before && before != entry && (before->job || before->message))
        job_start_after(keeper, entry, before, message);
    else
        job_start(keeper, entry, message);
}

static void handle_filter(struct keeper *keeper, const struct message_header *header) {
    size_t size = header->size - sizeof(*header);
    size_t count = size / sizeof(struct sock_filter);
    struct sock_filter *copy = count && count <= FILTER_MAXIMUM ? malloc(size) : NULL;
    if (!copy)
        return;
    memcpy(copy, header + 1, size);
    free(keeper->filter.filter);
    /* Padding to 8 bytes is never needed: so large is an instruction. */
    keeper->filter = (struct sock_fprog){.len = (unsigned short)count, .filter = copy};
}

static void handle_named(struct keeper *keeper, const struct name_message *message) {
    if (message->header.size < sizeof(*message) || !name_is_valid(message->name))
        return;
    struct entry *entry = journal_find(&keeper->journal, message->name);
    if (message->header.type == MESSAGE_USAGE) {
        struct record usage = {.type = RECORD_USAGE, .cause = -1};
        (void)snprintf(usage.name, sizeof(usage.name), "%s", message->name);
        if (entry && entry->job) {
            usage.cause = 0;
            usage.started = entry->record.started;
            usage_measure(keeper, entry->job, &usage);
        }
        record_seal(&usage);
        keeper_send(keeper, &usage);
    } else if (entry && message->header.type == MESSAGE_STOP && entry->job) {
        job_stop(keeper, entry->job, (enum cause)message->cause, message->grace);
    } else if (entry && message->header.type == MESSAGE_STOP && entry->message) {
        job_withdraw(keeper, entry, (enum cause)message->cause);
    } else if (entry && message->header.type == MESSAGE_FORGET &&
               entry->record.type == RECORD_EXITED) {
        entry->record.type = RECORD_FORGOTTEN;
        (void)journal_append(&keeper->journal, &entry->record);
        journal_remove(&keeper->journal, entry);
    }
}

static void handle(struct keeper *keeper, const struct message_header *header) {
    if (header->type == MESSAGE_LAUNCH)
        handle_launch(keeper, (const struct launch_message *)(const void *)header);
    else if (header->type == MESSAGE_FILTER)
        handle_filter(keeper, header);
    else
        handle_named(keeper, (const struct name_message *)(const void *)header);
}

/* Both passes; returns how many bytes were whole messages, or -1 for nonsense. */
static ssize_t handle_input(struct keeper *keeper) {
    size_t whole = 0;
    while (keeper->input_size - whole >= sizeof(struct message_header)) {
        struct message_header header;
        memcpy(&header, keeper->input + whole, sizeof(header));
        if (header.size < sizeof(header) || header.size > MESSAGE_MAXIMUM || header.size % 8)
            return -1;
        if (keeper->input_size - whole < header.size)
            break;
        if (header.type == MESSAGE_LAUNCH)
            register_launch(keeper, (const void *)(keeper->input + whole));
        whole += header.size;
    }
    if (keeper->journal.pending_count)
        keeper->journal_failed = journal_commit(&keeper->journal) < 0;
    for (size_t at = 0; at < whole;) {
        const struct message_header *header = (const void *)(keeper->input + at);
        at += header->size;
        handle(keeper, header);
    }
    job_start_due(keeper);
    return (ssize_t)whole;
}

/* Reads until there is no more, so that what a dead driver had sent is done before the next
 * driver is let in. */
static void read_client(struct keeper *keeper) {
    while (keeper->client >= 0) {
        ssize_t count = recv(keeper->client, keeper->input + keeper->input_size,
                             INPUT_SIZE - keeper->input_size, 0);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EAGAIN)
            return;
        if (count <= 0) {
            drop_client(keeper);
            return;
        }
        keeper->input_size += (size_t)count;
        ssize_t whole = handle_input(keeper);
        if (whole < 0) {
            drop_client(keeper);
            return;
        }
        keeper->input_size -= (size_t)whole;
        memmove(keeper->input, keeper->input + whole, keeper->input_size);
        if (keeper->input_size == 0 && (size_t)count < (size_t)(64 << 10))
            return; /* most likely empty; poll will tell */
    }
}

/* ------------------------------------------------------------------------ start-up */

/* The boxes' inits are copies of this process, and their command line can be read from inside:
 * it shall not tell where the program is. */
static void hide_path(char **argv, enum keeper_kind kind) {
    const char *last = argv[1];
    for (char **at = argv; *at; at++)
        last = *at;
    size_t size = (size_t)(last + strlen(last) - argv[0]);
    memset(argv[0], 0, size);
    (void)snprintf(argv[0], size, "glovebox-keeper%s%s", kind == KEEPER_PLAIN ? "" : " ",
                   kind == KEEPER_PLAIN ? "" : keeper_kind_name(kind));
}

/* KIND, of containers also RUNTIME, and where these have users also FIRST-UID FIRST-GID NEWUIDMAP
 * NEWGIDMAP, see struct range. */
static bool parse_arguments(int argc, char **argv, struct keeper *keeper) {
    static const int counts[] = {
        [KEEPER_PLAIN] = 2, [KEEPER_BOX] = 2, [KEEPER_CONTAINER] = 3, [KEEPER_USERS] = 7};
    int kind = 0;
    while (argc >= 2 && kind < KEEPER_KINDS &&
           strcmp(argv[1], keeper_kind_name((enum keeper_kind)kind)) != 0)
        kind++;
    if (argc < 2 || kind == KEEPER_KINDS || argc != counts[kind])
        return false;
    keeper->kind = (enum keeper_kind)kind;
    keeper->boxed = kind != KEEPER_PLAIN;
    if (kind == KEEPER_USERS) {
        keeper->range = (struct range){.user = (uint32_t)strtoul(argv[3], NULL, 10),
                                       .group = (uint32_t)strtoul(argv[4], NULL, 10),
                                       .user_mapper = strdup(argv[5]),
                                       .group_mapper = strdup(argv[6])};
        if (!keeper->range.user_mapper || !keeper->range.group_mapper)
            return false;
    }
    keeper->runtime = kind >= KEEPER_CONTAINER ? strdup(argv[2]) : NULL;
    return kind < KEEPER_CONTAINER || keeper->runtime;
}

static int fail(const char *what) {
    dprintf(STDOUT_FILENO, "%s: %s\n", what, strerror(errno));
    return -1;
}

static int open_socket(struct keeper *keeper) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *name = address.sun_path;
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s.socket",
                   keeper_kind_name(keeper->kind));
    keeper->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (keeper->listener < 0)
        return fail("socket");
    (void)unlink(name); /* the lock says that nobody listens there */
    mode_t mask = umask(0177);
    int bad = bind(keeper->listener, (struct sockaddr *)&address, sizeof(address));
    (void)umask(mask);
    if (bad || listen(keeper->listener, 8) < 0)
        return fail("cannot listen");
    return 0;
}

/* The child goes on; the parent ends at once, so that the program which started it has a child to
 * wait for and the keeper has none. */
static void detach(void) {
    long pid = syscall(SYS_clone, (unsigned long)SIGCHLD, 0, 0, 0, 0);
    if (pid != 0)
        _exit(pid < 0);
}

static int lock_folder(struct keeper *keeper) {
    keeper->directory = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char name[32];
    (void)snprintf(name, sizeof(name), "%s.lock", keeper_kind_name(keeper->kind));
    keeper->lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (keeper->directory < 0 || keeper->lock < 0)
        return fail("cannot open the folder");
    for (int tries = 0; flock(keeper->lock, LOCK_EX | LOCK_NB) < 0; tries++) {
        if (errno != EWOULDBLOCK || tries == 100)
            return fail("another keeper is at work");
        struct timespec pause = {.tv_nsec = 10000000}; /* one that is just leaving */
        (void)nanosleep(&pause, NULL);
    }
    return 0;
}

static int open_signals(struct keeper *keeper) {
    for (int number = 1; number < 32; number++) {
        if (number != SIGKILL && number != SIGSTOP)
            (void)signal(number, SIG_DFL);
    }
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    (void)sigprocmask(SIG_SETMASK, &set, NULL);
    keeper->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    keeper->alive = (int)syscall(SYS_pidfd_open, getpid(), 0u);
    if (keeper->signals < 0 || keeper->alive < 0)
        return fail("signals");
    return 0;
}

static int open_memory(struct keeper *keeper) {
    size_t size = sizeof(struct outcome) * RUNNING_MAXIMUM;
    keeper->outcomes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    keeper->input = malloc(INPUT_SIZE);
    if (keeper->outcomes == MAP_FAILED || !keeper->input)
        return fail("memory");
    for (size_t i = 0; i < RUNNING_MAXIMUM; i++)
        keeper->running[i] = (uint16_t)i;
    /* One descriptor for each job's log. */
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    return 0;
}

static int open_keeper(struct keeper *keeper) {
    keeper->client = keeper->listener = keeper->signals = -1;
    keeper->null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (keeper->null < 0)
        return fail("/dev/null");
    if (open_memory(keeper) < 0 || lock_folder(keeper) < 0)
        return -1;
    if (keeper->boxed) {
        const char *reason = "";
        keeper->box = box_open(keeper, &keeper->groups, &reason);
        if (!keeper->box)
            return fail(reason);
    } else {
        keeper->groups = groups_open(false);
        (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    }
    if (open_signals(keeper) < 0)
        return -1;
    if (journal_open(&keeper->journal, keeper->directory, keeper->kind) < 0)
        return fail("journal");
    if (!keeper->boxed)
        journal_end_leftovers(&keeper->journal);
    if (keeper->kind == KEEPER_USERS)
        users_give_leftovers(keeper);
    return open_socket(keeper);
}

/* ------------------------------------------------------------------------ the loop */

static bool read_signals(struct keeper *keeper) {
    struct signalfd_siginfo signals[8];
    bool end = false;
    ssize_t size;
    while ((size = read(keeper->signals, signals, sizeof(signals))) > 0) {
        for (size_t i = 0; i < (size_t)size / sizeof(signals[0]); i++)
            end |= signals[i].ssi_signo == SIGTERM;
    }
    return end;
}

static void turn(struct keeper *keeper, bool *end, int timeout) {
    struct pollfd polled[2] = {
        {.fd = keeper->signals, .events = POLLIN},
        {.fd = keeper->client >= 0 ? keeper->client : keeper->listener, .events = POLLIN}};
    if (keeper->output_size)
        polled[1].events |= POLLOUT;
    if (poll(polled, 2, timeout) < 0)
        return;
    if (polled[0].revents) {
        *end = read_signals(keeper);
        job_reap(keeper);
    }
    if (polled[1].revents) {
        if (keeper->client < 0)
            accept_client(keeper);
        else if (polled[1].revents & ~POLLOUT)
            read_client(keeper);
    }
    write_output(keeper);
}

static void serve(struct keeper *keeper) {
    bool end = false;
    int64_t leave = now_monotonic() + FIRST_CLIENT;
    while (!end) {
        int64_t now = now_monotonic();
        int64_t next = job_tick(keeper, now);
        if (keeper->client >= 0 || keeper->running_count)
            leave = now + LINGER;
        else if (now >= leave)
            break;
        else
            next = leave;
        if (!keeper->boxed && keeper->running_count == 0)
            job_end_strays();
        int64_t wait = next == INT64_MAX ? -1 : next > now ? next - now : 0;
        turn(keeper, &end, wait > 60000 ? 60000 : (int)wait);
    }
    (void)groups_tidy(keeper->groups);
    journal_close(&keeper->journal);
    char name[32];
    (void)snprintf(name, sizeof(name), "%s.socket", keeper_kind_name(keeper->kind));
    (void)unlinkat(keeper->directory, name, 0);
}

int main(int argc, char **argv) {
    struct keeper *keeper =
        mmap(NULL, sizeof(*keeper), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (keeper == MAP_FAILED)
        return 1;
    if (!parse_arguments(argc, argv, keeper)) {
        dprintf(STDERR_FILENO, "glovebox-keeper is started by glovebox\n");
        return 2;
    }
    hide_path(argv, keeper->kind);
    (void)umask(022);
    detach();
    if (open_keeper(keeper) < 0)
        return 1;
    if (write(STDOUT_FILENO, "ready\n", 6) != 6)
        return 1;
    (void)dup2(keeper->null, STDOUT_FILENO);
    (void)dup2(keeper->null, STDIN_FILENO);
    if (chdir("/") == 0)
        serve(keeper);
    return 0;
}
