/* The line to a keeper: starting it, connecting, records and messages. */
#include "compute/private-link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PATIENCE = 5000,
    LONG_PATIENCE = 60000, /* it may have to see to what a killed one left first */
    OUTPUT_MAXIMUM = 64 << 20,
    JOURNAL_MAXIMUM = 512 << 20,
    KIND_FILE_SIZE = 32
};

/* "box.journal" and so on. */
static void name_file(const struct link *link, const char *what, char name[KIND_FILE_SIZE]) {
    (void)snprintf(name, KIND_FILE_SIZE, "%s.%s", keeper_kind_name(link->kind), what);
}

bool link_is_open(const struct link *link) {
    return link->fd >= 0;
}

bool link_has_journal(const struct link *link) {
    char name[KIND_FILE_SIZE];
    name_file(link, "journal", name);
    return file_exists(link->directory, name);
}

/* ------------------------------------------------------------------- the keeper */

char *link_keeper_path(struct error **err) {
    const char *given = getenv("GLOVEBOX_KEEPER");
    if (given && given[0] == '/')
        return memory_copy_string(given);
    /* Installed beside the program or in libexec; the rest is the build tree. */
    static const char *const places[] = {"glovebox-keeper",
                                         "../libexec/glovebox/glovebox-keeper",
                                         "src/compute/keeper/glovebox-keeper",
                                         "../compute/keeper/glovebox-keeper",
                                         "../src/compute/keeper/glovebox-keeper",
                                         "../../../src/compute/keeper/glovebox-keeper"};
    OWN_STRING folder = process_executable_directory(err);
    if (!folder)
        return NULL;
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        OWN_STRING path = path_join(folder, places[i]);
        if (path && access(path, X_OK) == 0)
            return take(&path);
    }
    error_set(err, ERROR_NOT_FOUND, "glovebox-keeper is not installed beside glovebox");
    error_hint(err, "install it in %s, or set GLOVEBOX_KEEPER to its path", folder);
    return NULL;
}

static bool wait_for(int fd, short events, int64_t until) {
    for (;;) {
        int64_t left = until - clock_monotonic();
        struct pollfd polled = {.fd = fd, .events = events};
        int count = poll(&polled, 1, left > 0 ? (int)left : 0);
        if (count > 0)
            return true;
        if (count == 0 || errno != EINTR)
            return false;
    }
}

/* Reads the keeper's one line: "ready", or why it cannot. */
static int wait_ready(int fd, int64_t patience, struct error **err) {
    char text[256];
    size_t size = 0;
    int64_t until = clock_monotonic() + patience;
    while (size < sizeof(text) - 1 && (!size || text[size - 1] != '\n')) {
        if (!wait_for(fd, POLLIN, until))
            return error_set(err, ERROR_BUSY, "the keeper does not answer");
        ssize_t count = read(fd, text + size, sizeof(text) - 1 - size);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            break;
        size += (size_t)count;
    }
    text[size] = '\0';
    if (text_equal(text, "ready\n"))
        return 0;
    text[strcspn(text, "\n")] = '\0';
    return error_set(err, ERROR_UNSUPPORTED, "the keeper could not start: %s",
                     text[0] ? text : "it ended without a word");
}

static int start_keeper(struct link *link, struct error **err) {
    OWN_STRING path = link_keeper_path(err);
    if (!path)
        return -1;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(err, errno, "cannot make a pipe");
    OWN_FD ready = ends[0];
    OWN_FD output = ends[1];
    OWN_FD errors =
        file_open(link->directory, "keeper.log", O_WRONLY | O_CREAT | O_APPEND, 0600, err);
    if (errors < 0)
        return -1;
    char folder[64];
    (void)snprintf(folder, sizeof(folder), "/proc/self/fd/%d", link->directory);
    const char *argv[2 + ARRAY_SIZE(link->arguments)] = {path, keeper_kind_name(link->kind)};
    memcpy(argv + 2, link->arguments, sizeof(link->arguments));
    static const char *const environment[] = {NULL};
    struct process_options options = {.argv = argv,
                                      .environment = environment,
                                      .directory = folder,
                                      .input = -1,
                                      .output = output,
                                      .error = errors,
                                      .new_session = true};
    pid_t pid;
    if (process_spawn(&options, &pid, err) < 0)
        return -1;
    file_close(&output);
    int bad = wait_ready(ready, link->kind == KEEPER_USERS ? LONG_PATIENCE : PATIENCE, err);
    /* What we started detaches and ends at once; the keeper itself is nobody's child. */
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    return bad;
}

/* --------------------------------------------------------------------- connecting */

static int connect_socket(struct link *link) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    /* Through the descriptor: HOME may be longer than a socket's name can be. */
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s.socket",
                   link->directory, keeper_kind_name(link->kind));
    OWN_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -1;
    int moved = fd;
    fd = -1;
    return moved;
}

/* 1: said hello; 0: it left; -1: it talks with somebody else, or nonsense. */
static int read_hello(struct link *link, int fd, struct error **err) {
    struct record hello;
    size_t size = 0;
    int64_t until = clock_monotonic() + PATIENCE;
    while (size < sizeof(hello)) {
        if (!wait_for(fd, POLLIN, until)) {
            error_set(err, ERROR_BUSY, "another program works with this home");
            return error_hint(err, "wait for it, or choose another --home");
        }
        ssize_t count = recv(fd, (char *)&hello + size, sizeof(hello) - size, 0);
        if (count < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (count <= 0)
            return 0;
        size += (size_t)count;
    }
    if (!record_is_valid(&hello) || hello.type != RECORD_HELLO)
        return error_set(err, ERROR_CORRUPT, "the keeper's greeting is not understood");
    if (hello.version != KEEPER_PROTOCOL)
        return error_set(err, ERROR_UNSUPPORTED,
                         "a keeper of another version (%u) still holds jobs of this home",
                         hello.version);
    link->pid = hello.pid;
    return 1;
}

static int connect_keeper(struct link *link, struct error **err) {
    /* A keeper without jobs leaves by itself, perhaps just now: hence the tries. */
    for (int tries = 0; tries < 3; tries++) {
        OWN_FD fd = connect_socket(link);
        if (fd < 0) {
            if (start_keeper(link, err) < 0)
                return -1;
            fd = connect_socket(link);
            if (fd < 0)
                continue;
        }
        int said = read_hello(link, fd, err);
        if (said < 0)
            return -1;
        if (said > 0) {
            link->fd = fd;
            fd = -1;
            return 0;
        }
    }
    return error_set(err, ERROR_IO, "cannot connect to the keeper");
}

/* Read after the greeting: what the keeper writes from then on comes by the socket as well. */
static int read_journal(struct link *link, struct error **err) {
    char name[KIND_FILE_SIZE];
    name_file(link, "journal", name);
    OWN_FD fd = file_open(link->directory, name, O_RDONLY, 0, err);
    if (fd < 0)
        return -1;
    struct record records[64];
    size_t held = 0;
    for (size_t total = 0; total < JOURNAL_MAXIMUM;) {
        ssize_t count = read(fd, (char *)records + held, sizeof(records) - held);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return error_set_errno(err, errno, "cannot read the keeper's journal");
        if (count == 0)
            return 0;
        held += (size_t)count;
        total += (size_t)count;
        size_t whole = held / sizeof(records[0]);
        for (size_t i = 0; i < whole; i++) {
            if (record_is_valid(&records[i]))
                link->received(link->context, link, &records[i]);
        }
        held -= whole * sizeof(records[0]);
        memmove(records, records + whole, held);
    }
    return error_set(err, ERROR_LIMIT, "the keeper's journal is too large");
}

/* ------------------------------------------------------------------------ traffic */

/* False at the end of the connection. */
static bool read_records(struct link *link) {
    for (;;) {
        struct record batch[64];
        memcpy(batch, &link->input, link->input_size);
        ssize_t count =
            recv(link->fd, (char *)batch + link->input_size, sizeof(batch) - link->input_size, 0);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EAGAIN)
            return true;
        if (count <= 0)
            return false;
        size_t size = link->input_size + (size_t)count;
        size_t whole = size / sizeof(batch[0]);
        for (size_t i = 0; i < whole; i++) {
            if (record_is_valid(&batch[i]))
                link->received(link->context, link, &batch[i]);
        }
        link->input_size = size - whole * sizeof(batch[0]);
        memcpy(&link->input, batch + whole, link->input_size);
        if (size < sizeof(batch))
            return true;
    }
}

static void on_poll(uv_poll_t *poll, int status, int events) {
    struct link *link = poll->data;
    bool alive = status == 0;
    if (alive && (events & (UV_READABLE | UV_DISCONNECT)))
        alive = read_records(link);
    if (alive && (events & UV_WRITABLE))
        link_flush(link);
    if (!alive) {
        link_close(link);
        link->ended(link->context, link);
    } else {
        link->readable(link->context, link);
    }
}

static void free_handle(uv_handle_t *handle) {
    memory_free(handle);
}

static int watch(struct link *link, struct error **err) {
    link->poll = memory_allocate(sizeof(*link->poll));
    if (!link->poll)
        return error_set_memory(err);
    int bad = uv_poll_init(link->loop, link->poll, link->fd);
    if (bad) {
        memory_free(take(&link->poll));
        return error_set(err, ERROR_IO, "cannot watch the keeper: %s", uv_strerror(bad));
    }
    link->poll->data = link;
    bad = uv_poll_start(link->poll, UV_READABLE, on_poll);
    uv_unref((uv_handle_t *)link->poll);
    return bad ? error_set(err, ERROR_IO, "cannot watch the keeper: %s", uv_strerror(bad)) : 0;
}

int link_open(struct link *link, struct error **err) {
    if (link_is_open(link))
        return 0;
    if (connect_keeper(link, err) < 0)
        return -1;
    link->output.maximum = OUTPUT_MAXIMUM;
    int bad = watch(link, err);
    if (!bad && link->kind == KEEPER_BOX) {
        OWN_BUFFER filter = {0};
        bad = filter_message(&filter, err);
        bad = bad ? bad : link_queue(link, filter.data, filter.size, err);
    }
    if (bad || read_journal(link, err) < 0) {
        link_close(link);
        return -1;
    }
    return 0;
}

void link_close(struct link *link) {
    if (link->poll) {
        uv_close((uv_handle_t *)link->poll, free_handle);
        link->poll = NULL;
    }
    file_close(&link->fd);
    buffer_release(&link->output);
    link->output_sent = 0;
    link->input_size = 0;
    link->writing = false;
}

int link_queue(struct link *link, const void *message, size_t size, struct error **err) {
    if (link->output.size + size > OUTPUT_MAXIMUM)
        return error_set(err, ERROR_LIMIT, "too many launches wait for the keeper");
    buffer_append_bytes(&link->output, message, size);
    return buffer_check(&link->output, err);
}

void link_flush(struct link *link) {
    while (link_is_open(link) && link->output_sent < link->output.size) {
        ssize_t count = send(link->fd, link->output.data + link->output_sent,
                             link->output.size - link->output_sent, MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            break; /* full: on_poll goes on; broken: on_poll sees the end */
        link->output_sent += (size_t)count;
    }
    bool more = link->output_sent < link->output.size;
    if (!more) {
        buffer_clear(&link->output);
        link->output_sent = 0;
    }
    if (link->poll && more != link->writing) {
        link->writing = more;
        (void)uv_poll_start(link->poll, UV_READABLE | (more ? UV_WRITABLE : 0), on_poll);
    }
}

void link_hold(struct link *link, bool hold) {
    if (link->poll && hold)
        uv_ref((uv_handle_t *)link->poll);
    else if (link->poll)
        uv_unref((uv_handle_t *)link->poll);
}

struct answer {
    const char *name;
    struct record *record;
    bool found;
    void *context;
    void (*received)(void *context, struct link *link, const struct record *record);
};

static void look_for_answer(void *context, struct link *link, const struct record *record) {
    struct answer *answer = context;
    if (record->type == RECORD_USAGE) {
        if (text_equal(record->name, answer->name)) {
            *answer->record = *record;
            answer->found = true;
        }
        return;
    }
    answer->received(answer->context, link, record);
}

int link_ask(struct link *link, const struct name_message *question, struct record *ret,
             struct error **err) {
    if (link_queue(link, question, sizeof(*question), err) < 0)
        return -1;
    struct answer answer = {question->name, ret, false, link->context, link->received};
    link->context = &answer;
    link->received = look_for_answer;
    int64_t until = clock_monotonic() + 1000;
    bool alive = true;
    while (alive && !answer.found && clock_monotonic() < until) {
        link_flush(link);
        bool writing = link->output_sent < link->output.size;
        if (wait_for(link->fd, (short)(POLLIN | (writing ? POLLOUT : 0)), until))
            alive = read_records(link);
    }
    link->context = answer.context;
    link->received = answer.received;
    /* An end is seen again by on_poll, which deals with it. */
    return answer.found ? 0 : error_set(err, ERROR_BUSY, "the keeper does not answer");
}
