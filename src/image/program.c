/* Programs that are run to their end: what they said, and why they failed. */
#include "private-image.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define COMPLAINT_MAXIMUM ((size_t)64 << 10)
#define WATCH_INTERVAL    250

char *program_find(const char *name, const char *package, struct error **err) {
    const char *path = getenv("PATH");
    OWN_STRING copy = memory_copy_string(path && *path ? path : "/usr/bin:/bin");
    char *rest = copy;
    for (char *folder; rest && (folder = strsep(&rest, ":"));) {
        if (folder[0] != '/')
            continue;
        OWN_STRING full = path_join(folder, name);
        if (full && access(full, X_OK) == 0)
            return take(&full);
    }
    error_set(err, ERROR_UNSUPPORTED, "the program %s is not installed", name);
    error_hint(err, "on Debian: apt-get install %s", package);
    return NULL;
}

/* Keeps the last of what is said, which is where the reason stands. */
static void keep_last(struct buffer *buffer, const char *bytes, size_t size, size_t maximum) {
    if (buffer->size + size > maximum) {
        size_t keep = buffer->size < maximum / 2 ? buffer->size : maximum / 2;
        OWN_BUFFER last = {0};
        buffer_append_bytes(&last, buffer_text(buffer) + buffer->size - keep, keep);
        buffer_clear(buffer);
        buffer_append_bytes(buffer, buffer_text(&last), last.size);
    }
    buffer_append_bytes(buffer, bytes, size);
}

/* skopeo and umoci log as time="…" level=fatal msg="…". */
static void append_reason(struct buffer *out, const struct buffer *said) {
    const char *text = buffer_text(said);
    size_t size = said->size;
    while (size && (text[size - 1] == '\n' || text[size - 1] == ' '))
        size--;
    size_t begin = size;
    while (begin && text[begin - 1] != '\n')
        begin--;
    OWN_STRING line = memory_copy_bytes(text + begin, size - begin);
    if (!line)
        return;
    char *message = strstr(line, " msg=\"");
    char *end = message ? strrchr(message + 6, '"') : NULL;
    if (end) {
        *end = '\0';
        message += 6;
    } else {
        message = line;
    }
    while (*message == ' ' || strncmp(message, "\u2a2f", 3) == 0) /* umoci's cross */
        message += *message == ' ' ? 1 : 3;
    char *to = message;
    for (const char *from = message; *from; from++)
        if (*from != '\\' || from[1] != '"')
            *to++ = *from;
    *to = '\0';
    OWN_BUFFER shown = {0};
    text_append_printable(&shown, message);
    buffer_format(out, "%.2000s", *message ? buffer_text(&shown) : "it said nothing");
}

struct running {
    const struct program *program;
    pid_t pid;
    int output, error; /* read ends; -1: at their end */
    struct buffer said;
};

static int take_bytes(int *fd, struct buffer *buffer, bool keep_end, struct error **err) {
    char bytes[16384];
    ssize_t size = read(*fd, bytes, sizeof(bytes));
    if (size < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (size <= 0) {
        file_close(fd);
        return 0;
    }
    if (keep_end)
        keep_last(buffer, bytes, (size_t)size, COMPLAINT_MAXIMUM);
    else if (buffer)
        buffer_append_bytes(buffer, bytes, (size_t)size);
    return buffer ? buffer_check(buffer, err) : 0;
}

static int listen_to(struct running *running, struct error **err) {
    const struct program *program = running->program;
    int64_t next = clock_monotonic() + WATCH_INTERVAL;
    while (running->output >= 0 || running->error >= 0) {
        struct pollfd fds[2] = {{.fd = running->output, .events = POLLIN},
                                {.fd = running->error, .events = POLLIN}};
        int64_t wait = next - clock_monotonic();
        int ready = poll(fds, 2, program->watch ? (int)(wait > 0 ? wait : 0) : -1);
        if (ready < 0 && errno != EINTR)
            return error_set_errno(err, errno, "cannot wait for %s", program->argv[0]);
        if (ready > 0 && fds[0].revents &&
            take_bytes(&running->output, program->output, false, err) < 0)
            return -1;
        if (ready > 0 && fds[1].revents &&
            take_bytes(&running->error, &running->said, true, err) < 0)
            return -1;
        if (program->watch && clock_monotonic() >= next) {
            if (program->watch(program->context, err) < 0)
                return -1;
            next = clock_monotonic() + WATCH_INTERVAL;
        }
    }
    return 0;
}

/* What it is still writing must not be under our feet: it is gone when this returns. */
static int finish(struct running *running, bool kill_it, int *ret_status) {
    if (kill_it)
        (void)kill(running->pid, SIGKILL);
    file_close(&running->output);
    file_close(&running->error);
    while (waitpid(running->pid, ret_status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return 0;
}

/* A program that outlived us would be watched by nobody and hold the store's lock: the kernel ends
 * it with us. posix_spawn() cannot ask for that, setpriv can; the shell looks whether we died
 * before it had asked. Both become the program, under the same id. */
static const char **die_with_us(const char *setpriv, const char *const *argv, const char *us,
                                struct error **err) {
    const char *const first[] = {setpriv,   "--pdeathsig", "KILL",
                                 "/bin/sh", "-c",          "[ \"$PPID\" = \"$0\" ] && exec \"$@\"",
                                 us};
    size_t count = 0;
    while (argv[count])
        count++;
    const char **all = memory_allocate((ARRAY_SIZE(first) + count + 1) * sizeof(*all));
    if (!all) {
        error_set_memory(err);
        return NULL;
    }
    memcpy(all, first, sizeof(first));
    memcpy(all + ARRAY_SIZE(first), argv, (count + 1) * sizeof(*all));
    return all;
}

static int start(struct running *running, struct error **err) {
    char us[24];
    (void)snprintf(us, sizeof(us), "%d", (int)getpid());
    OWN_STRING setpriv = program_find("setpriv", "util-linux", err);
    OWN_MEMORY(const char *)
    argv = setpriv ? die_with_us(setpriv, running->program->argv, us, err) : NULL;
    if (!argv)
        return -1;
    int output[2] = {-1, -1}, error[2] = {-1, -1};
    if (pipe2(output, O_CLOEXEC) < 0)
        return error_set_errno(err, errno, "cannot make a pipe");
    OWN_FD output_write = output[1];
    running->output = output[0];
    if (pipe2(error, O_CLOEXEC) < 0) {
        int number = errno;
        file_close(&running->output);
        return error_set_errno(err, number, "cannot make a pipe");
    }
    OWN_FD error_write = error[1];
    running->error = error[0];
    struct process_options options = {.argv = argv,
                                      .environment = running->program->environment,
                                      .directory = running->program->directory,
                                      .input = running->program->input,
                                      .output = output_write,
                                      .error = error_write};
    if (process_spawn(&options, &running->pid, err) == 0)
        return 0;
    file_close(&running->output);
    file_close(&running->error);
    return -1;
}

bool stall_notice(struct stall *stall, uint64_t done, int64_t now) {
    if (stall->since && done == stall->done)
        return now - stall->since >= STALL_MAXIMUM;
    *stall = (struct stall){done, now};
    return false;
}

int program_run(const struct program *program, struct error **err) {
    struct running running = {
        .program = program, .output = -1, .error = -1, .said = {.maximum = 2 * COMPLAINT_MAXIMUM}};
    if (start(&running, err) < 0)
        return -1;
    int status = 0;
    int bad = listen_to(&running, err);
    if (finish(&running, bad < 0, &status) < 0 && bad == 0)
        bad = error_set_errno(err, errno, "cannot wait for %s", program->argv[0]);
    const char *name = path_base_name(program->argv[0]);
    if (bad == 0 && WIFSIGNALED(status))
        bad = error_set(err, ERROR_IO, "%s was killed by signal %d", name, WTERMSIG(status));
    if (bad == 0 && WEXITSTATUS(status) != 0) {
        OWN_BUFFER reason = {0};
        append_reason(&reason, &running.said);
        bad = error_set(err, ERROR_IO, "%s: %s", name, buffer_text(&reason));
    }
    buffer_release(&running.said);
    return bad;
}
