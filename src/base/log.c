/* The one global: who is told what happens, and how much of it. */
#include "base/base.h"

#include <stdatomic.h>
#include <unistd.h>

static _Atomic int log_level_now = LOG_WARNING;
static _Atomic int log_fd = STDERR_FILENO;
static _Atomic bool log_json;

void log_configure(enum log_level level, bool json, int fd) {
    log_level_now = level;
    log_json = json;
    log_fd = fd;
}

bool log_enabled(enum log_level level) {
    return (int)level <= log_level_now;
}

void log_message(enum log_level level, const char *format, ...) {
    static const char *const names[] = {"error", "warning", "info", "debug"};
    if (!log_enabled(level))
        return;
    OWN_BUFFER message = {.maximum = 8192};
    va_list list;
    va_start(list, format);
    buffer_format_list(&message, format, list);
    va_end(list);

    OWN_BUFFER line = {.maximum = 65536};
    char now[CLOCK_TEXT_SIZE];
    clock_format(clock_wall(), now);
    OWN_JSON object = NULL;
    if (log_json)
        object = json_pack("{s:s, s:s, s:s}", "time", now, "level", names[level], "message",
                           buffer_text(&message));
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    if (text)
        buffer_format(&line, "%s\n", text);
    else
        buffer_format(&line, "glovebox: %s: %s\n", names[level], buffer_text(&message));
    free(text);
    /* One write, so that lines of threads do not mix. There is nobody to tell when it fails. */
    ssize_t written = write(log_fd, buffer_text(&line), line.size);
    (void)written;
}
