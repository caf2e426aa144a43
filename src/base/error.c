/* The error object: code, message, hint, and what callers wrap around it. */
#include "base/base.h"

#include <errno.h>
#include <stdlib.h>

/* What is left to say when there is no memory to say it with. Never freed. */
static struct error error_no_memory = {
    .code = ERROR_MEMORY, .message = (char *)"out of memory", .hint = NULL};

/* Messages quote names and bytes of others, and end in JSON and on terminals: they stay one line of
 * UTF-8 in any case. */
static void make_line(char *text) {
    bool valid = text_is_utf8(text, strlen(text));
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f || (c >= 0x80 && !valid))
            *text = '?';
    }
}

static char *format_list(const char *format, va_list list) PRINTF_LIKE(1, 0);
static char *format_list(const char *format, va_list list) {
    char *text = NULL;
    if (vasprintf(&text, format, list) < 0)
        return NULL;
    make_line(text);
    return text;
}

int error_set(struct error **err, enum error_code code, const char *format, ...) {
    if (!err)
        return -1;
    struct error *error = calloc(1, sizeof(*error));
    va_list list;
    va_start(list, format);
    char *message = error ? format_list(format, list) : NULL;
    va_end(list);
    if (!message) {
        free(error);
        *err = &error_no_memory;
        return -1;
    }
    error->code = code;
    error->message = message;
    *err = error;
    return -1;
}

static enum error_code code_of_errno(int number) {
    switch (number) {
    case ENOENT:
    case ENOTDIR:
        return ERROR_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERROR_DENIED;
    case EEXIST:
        return ERROR_EXISTS;
    case ENOMEM:
        return ERROR_MEMORY;
    default:
        return ERROR_IO;
    }
}

int error_set_errno(struct error **err, int number, const char *format, ...) {
    if (!err)
        return -1;
    va_list list;
    va_start(list, format);
    char *context = format_list(format, list);
    va_end(list);
    error_set(err, code_of_errno(number), "%s: %s", context ? context : "system call",
              strerror(number));
    free(context);
    if (*err != &error_no_memory)
        (*err)->number = number;
    return -1;
}

int error_set_memory(struct error **err) {
    if (err)
        *err = &error_no_memory;
    return -1;
}

int error_wrap(struct error **err, const char *format, ...) {
    if (!err || !*err || *err == &error_no_memory)
        return -1;
    va_list list;
    va_start(list, format);
    char *context = format_list(format, list);
    va_end(list);
    char *message = NULL;
    if (context && asprintf(&message, "%s: %s", context, (*err)->message) >= 0) {
        free((*err)->message);
        (*err)->message = message;
    }
    free(context);
    return -1;
}

int error_hint(struct error **err, const char *format, ...) {
    if (!err || !*err || *err == &error_no_memory)
        return -1;
    va_list list;
    va_start(list, format);
    char *hint = format_list(format, list);
    va_end(list);
    if (hint) {
        free((*err)->hint);
        (*err)->hint = hint;
    }
    return -1;
}

void error_free(struct error *error) {
    if (!error || error == &error_no_memory)
        return;
    free(error->message);
    free(error->hint);
    free(error);
}

void error_cleanup(struct error **error) {
    error_free(*error);
    *error = NULL;
}

int error_move(struct error **err, struct error *error) {
    if (err)
        *err = error;
    else
        error_free(error);
    return -1;
}

const char *error_code_name(enum error_code code) {
    static const char *const names[] = {
        [ERROR_INTERNAL] = "internal",
        [ERROR_MEMORY] = "memory",
        [ERROR_IO] = "io",
        [ERROR_USAGE] = "usage",
        [ERROR_INVALID] = "invalid",
        [ERROR_NOT_FOUND] = "not_found",
        [ERROR_EXISTS] = "exists",
        [ERROR_BUSY] = "busy",
        [ERROR_LIMIT] = "limit",
        [ERROR_DENIED] = "denied",
        [ERROR_UNSUPPORTED] = "unsupported",
        [ERROR_CORRUPT] = "corrupt",
    };
    return (size_t)code < ARRAY_SIZE(names) && names[code] ? names[code] : "unknown";
}
