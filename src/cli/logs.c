/* glovebox logs */
#include "cli/private-command.h"
#include "cli/session.h"
#include "cli/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define BLOCK         65536
#define FOLLOW_NAP_MS 200

struct reader {
    const struct invocation *invocation;
    struct engine *engine;
    const char *run, *where;
    bool raw; /* bytes as they are; else made harmless for a terminal */
};

static const json_t *find_attempt(const json_t *task, int64_t number) {
    const json_t *attempts = json_object_get(task, "attempts");
    size_t count = json_array_size(attempts), i;
    const json_t *attempt;
    if (number == 0 && count > 0)
        return json_array_get(attempts, count - 1);
    json_array_foreach(attempts, i, attempt) if (json_get_integer(attempt, "number", 0) ==
                                                 number) return attempt;
    return NULL;
}

/* Logs are written by programs that are not trusted: on a terminal only text and colours pass. */
static void append_harmless(struct buffer *out, const char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '\033' && i + 1 < size && bytes[i + 1] == '[') {
            size_t end = i + 2;
            while (end < size && (bytes[end] == ';' || (bytes[end] >= '0' && bytes[end] <= '9')))
                end++;
            if (end < size && bytes[end] == 'm') {
                buffer_append_bytes(out, bytes + i, end - i + 1);
                i = end;
                continue;
            }
        }
        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f) {
            if (c != '\r' || (i + 1 < size && bytes[i + 1] != '\n'))
                buffer_format(out, "\\x%02x", c);
        } else if (c == 0xc2 && i + 1 < size && (unsigned char)bytes[i + 1] < 0xa0) {
            buffer_format(out, "\\x%02x", (unsigned char)bytes[++i]); /* C1 control in UTF-8 */
        } else {
            buffer_append_char(out, (char)c);
        }
    }
}

/* Prints what is there from *offset on. */
static int copy_from(const struct reader *reader, int fd, off_t *offset, struct error **err) {
    char block[BLOCK];
    ssize_t size;
    while ((size = pread(fd, block, sizeof(block), *offset)) > 0) {
        *offset += size;
        if (reader->raw) {
            (void)fwrite(block, 1, (size_t)size, stdout);
        } else {
            OWN_BUFFER out = {0};
            append_harmless(&out, block, (size_t)size);
            if (print_checked(&out, err) < 0)
                return -1;
        }
        if (ferror(stdout))
            return 0;
    }
    return size < 0 ? error_set_errno(err, errno, "cannot read the log") : 0;
}

static char *log_path(const struct reader *reader, const json_t *attempt, struct error **err) {
    const char *log = json_get_string(attempt, "log", NULL);
    char *path = log ? path_join(engine_home(reader->engine), log) : NULL;
    if (!path)
        error_set(err, ERROR_NOT_FOUND, "this attempt left no log");
    return path;
}

static bool is_over(const json_t *task) {
    const char *state = json_get_string(task, "state", "");
    for (int i = TASK_SUCCEEDED; i < TASK_STATE_COUNT; i++)
        if (text_equal(state, task_state_name((enum task_state)i)))
            return true;
    return false;
}

static void nap(void) {
    struct timespec time = {.tv_nsec = FOLLOW_NAP_MS * 1000 * 1000};
    (void)fflush(stdout);
    (void)nanosleep(&time, NULL);
}

/* Prints as the log grows, and goes over to the next attempt when there is one. */
static int follow(const struct reader *reader, struct error **err) {
    OWN_FD fd = -1;
    off_t offset = 0;
    int64_t shown = 0;
    for (;;) {
        OWN_JSON task = engine_task(reader->engine, reader->run, reader->where, err);
        if (!task)
            return -1;
        bool over = is_over(task); /* asked before reading: what came until then is printed */
        const json_t *attempt = find_attempt(task, 0);
        if (fd >= 0 && copy_from(reader, fd, &offset, err) < 0)
            return -1;
        if (attempt && json_get_integer(attempt, "number", 0) != shown) {
            OWN_STRING path = log_path(reader, attempt, err);
            if (!path)
                return -1;
            file_close(&fd);
            offset = 0;
            shown = json_get_integer(attempt, "number", 0);
            if (file_exists(AT_FDCWD, path) &&
                ((fd = file_open(AT_FDCWD, path, O_RDONLY, 0, err)) < 0 ||
                 copy_from(reader, fd, &offset, err) < 0))
                return -1;
            if (fd < 0)
                shown = 0; /* not there yet */
        }
        if (over || ferror(stdout))
            return 0;
        nap();
    }
}

/* Of a MedPerf workflow: what the Python functions of its `next` printed last lies beside the log.
 */
static int show_conditions(const struct reader *reader, const char *log, struct error **err) {
    OWN_STRING stem = memory_copy_bytes(log, strlen(log) - strlen(".log"));
    char *dot = stem ? strrchr(stem, '.') : NULL;
    if (dot)
        *dot = '\0';
    OWN_STRING path = stem ? memory_format("%s.next.log", stem) : NULL;
    off_t offset = 0;
    if (!path)
        return error_set_memory(err);
    if (!file_exists(AT_FDCWD, path))
        return 0;
    OWN_FD fd = file_open(AT_FDCWD, path, O_RDONLY, 0, err);
    if (fd < 0)
        return -1;
    tell(reader->invocation, "the conditions of its `next` printed, when they were asked last:\n");
    return copy_from(reader, fd, &offset, err);
}

static int show(const struct reader *reader, const json_t *attempt, struct error **err) {
    OWN_STRING path = log_path(reader, attempt, err);
    if (!path)
        return -1;
    OWN_FD fd = file_open(AT_FDCWD, path, O_RDONLY, 0, err);
    off_t offset = 0;
    if (fd < 0 || copy_from(reader, fd, &offset, err) < 0)
        return -1;
    if (offset == 0)
        tell(reader->invocation, "%s printed nothing\n", reader->where);
    return show_conditions(reader, path, err);
}

static int no_attempt(const json_t *task, int64_t number, const struct reader *reader,
                      struct error **err) {
    if (number > 0)
        return error_set(err, ERROR_NOT_FOUND, "there is no attempt %lld", (long long)number);
    error_set(err, ERROR_NOT_FOUND, "it has no log: it was never started in this run, it is %s",
              json_get_string(task, "state", "in an unknown state"));
    return error_hint(err, "\"glovebox why %s %s\" says why", reader->run, reader->where);
}

static int handle(const struct invocation *invocation, struct error **err) {
    OWN_ENGINE engine = NULL;
    OWN_STRING run = NULL;
    int64_t number = 0;
    const char *given = given_value(invocation, "attempt", NULL);
    if (given && text_parse_integer(given, 1, 1000000, &number, err) < 0) {
        (*err)->code = ERROR_USAGE;
        return error_wrap(err, "--attempt");
    }
    if (session_open_run(invocation, SESSION_ASK, &engine, &run, err) < 0)
        return -1;
    struct reader reader = {invocation, engine, run, given_argument(invocation, 1),
                            given_flag(invocation, "raw") || !isatty(STDOUT_FILENO)};
    bool json = given_flag(invocation, "json");
    if (given_flag(invocation, "follow") && !number && !json)
        return follow(&reader, err) < 0 ? -1 : STATUS_SUCCEEDED;
    OWN_JSON task = engine_task(engine, run, reader.where, err);
    if (!task)
        return -1;
    const json_t *attempt = find_attempt(task, number);
    if (!attempt)
        return no_attempt(task, number, &reader, err);
    if (!json)
        return show(&reader, attempt, err) < 0 ? -1 : STATUS_SUCCEEDED;
    OWN_STRING path = log_path(&reader, attempt, err);
    OWN_JSON one = path ? json_pack("{s:s, s:s, s:s, s:I, s:s}", "run", run, "step",
                                    json_step(task), "partition", json_partition(task), "attempt",
                                    (json_int_t)json_get_integer(attempt, "number", 0), "log", path)
                        : NULL;
    if (!one)
        return path ? error_set_memory(err) : -1;
    return print_json(one, false, err) < 0 ? -1 : STATUS_SUCCEEDED;
}

static const struct argument_entry arguments[] = {
    {.name = "RUN", .help = "the run: a name, a number, or last", .complete = COMPLETE_RUN},
    {.name = "STEP[@PARTITION]", .help = "the task"},
};
static const struct option_entry options[] = {
    {.name = "follow", .letter = 'f', .help = "go on printing until the task ends"},
    {.name = "attempt", .value = "NUMBER", .help = "of this attempt, instead of the latest"},
    {.name = "raw", .help = "on a terminal too, print control characters as they are"},
};

const struct command command_logs = {
    .name = "logs",
    .group = GROUP_ASK,
    .summary = "print what a task wrote",
    .description = "Prints the standard output and standard error of a task's latest attempt. On "
                   "a terminal, control characters other than colours are made visible. With "
                   "--json, says where the log is.",
    .examples = "# Watch a task work\n"
                "glovebox logs -f last classify@patient-1\n",
    COMMAND_ARGUMENTS(arguments),
    COMMAND_OPTIONS(options),
    .handle = handle,
};
