/* What the terminal can do: size, colours, styles. */
#include "cli/terminal.h"

#include <errno.h>
#include <langinfo.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ------------------------------------------------------------- the terminal */

static unsigned environment_number(const char *name) {
    const char *text = getenv(name);
    int64_t value;
    if (!text || text_parse_integer(text, 1, 10000, &value, NULL) < 0)
        return 0;
    return (unsigned)value;
}

void terminal_resize(int fd, struct terminal *terminal) {
    struct winsize size = {0};
    bool known = terminal->is_terminal && ioctl(fd, TIOCGWINSZ, &size) == 0;
    unsigned width = known ? size.ws_col : 0, height = known ? size.ws_row : 0;
    if (width == 0)
        width = environment_number("COLUMNS");
    if (height == 0)
        height = environment_number("LINES");
    terminal->width = width ? width : 80;
    terminal->height = height ? height : 24;
}

void terminal_examine(const struct invocation *invocation, int fd, struct terminal *ret) {
    const char *type = getenv("TERM"), *plain = getenv("NO_COLOR");
    const char *when = given_value(invocation, "color", "auto");
    bool dumb = !type || !*type || text_equal(type, "dumb");
    *ret = (struct terminal){0};
    ret->is_terminal = isatty(fd) && !dumb;
    ret->colour = ret->is_terminal && !(plain && *plain);
    if (!text_equal(when, "auto"))
        ret->colour = text_equal(when, "always");
    ret->unicode = text_equal(nl_langinfo(CODESET), "UTF-8");
    terminal_resize(fd, ret);
}

/* --------------------------------------------------------------------- style */

static const char *const style_codes[] = {
    [STYLE_PLAIN] = "",   [STYLE_STRONG] = "1", [STYLE_FAINT] = "2",  [STYLE_GOOD] = "32",
    [STYLE_BAD] = "1;31", [STYLE_BUSY] = "36",  [STYLE_ASK] = "1;33",
};

void style_begin(struct buffer *out, bool colour, enum style style) {
    if (colour && style != STYLE_PLAIN)
        buffer_format(out, "\033[%sm", style_codes[style]);
}

void style_end(struct buffer *out, bool colour, enum style style) {
    if (colour && style != STYLE_PLAIN)
        buffer_append(out, "\033[0m");
}

void style_text(struct buffer *out, bool colour, enum style style, const char *text) {
    style_begin(out, colour, style);
    buffer_append(out, text);
    style_end(out, colour, style);
}

enum style style_of_state(const char *state) {
    static const struct {
        const char *state;
        enum style style;
    } styles[] = {
        {"succeeded", STYLE_GOOD}, {"reused", STYLE_GOOD},   {"failed", STYLE_BAD},
        {"cancelled", STYLE_BAD},  {"running", STYLE_BUSY},  {"deciding", STYLE_ASK},
        {"sleeping", STYLE_BUSY},  {"paused", STYLE_ASK},    {"skipped", STYLE_FAINT},
        {"waiting", STYLE_FAINT},  {"planned", STYLE_FAINT},
    };
    for (size_t i = 0; i < ARRAY_SIZE(styles); i++)
        if (text_equal(styles[i].state, state))
            return styles[i].style;
    return STYLE_PLAIN;
}

/* ---------------------------------------------------------------------- text */

/* Bytes of the UTF-8 character at `text` (which is printable, so well-formed). */
static size_t character_size(const char *text) {
    size_t size = 1;
    while (((unsigned char)text[size] & 0xc0) == 0x80)
        size++;
    return size;
}

void text_append_field(struct buffer *out, const char *text, unsigned width, bool unicode) {
    OWN_BUFFER shown = {0};
    text_append_printable(&shown, text);
    const char *at = buffer_text(&shown);
    size_t full = text_width(at);
    if (full <= width) {
        buffer_append(out, at);
        buffer_append_repeat(out, ' ', width - full);
        return;
    }
    size_t used = 0;
    while (*at && width > 0) {
        size_t size = character_size(at);
        char one[8] = {0};
        memcpy(one, at, size < sizeof(one) ? size : sizeof(one) - 1);
        size_t columns = text_width(one);
        if (used + columns > width - 1)
            break;
        buffer_append_bytes(out, at, size);
        used += columns;
        at += size;
    }
    if (width > 0)
        buffer_append(out, unicode ? "…" : ">");
    if (used + 1 < width)
        buffer_append_repeat(out, ' ', width - used - 1);
}

void text_append_wrapped(struct buffer *out, const char *text, unsigned indent, unsigned column,
                         unsigned width) {
    bool first = true;
    if (width < indent + 20)
        width = indent + 20;
    while (*text) {
        size_t size = strcspn(text, " ");
        OWN_STRING word = memory_format("%.*s", (int)size, text);
        unsigned columns = word ? (unsigned)text_width(word) : (unsigned)size;
        if (!first && column + 1 + columns > width) {
            buffer_append_char(out, '\n');
            buffer_append_repeat(out, ' ', indent);
            column = indent;
        } else if (!first) {
            buffer_append_char(out, ' ');
            column++;
        }
        buffer_append_bytes(out, text, size);
        column += columns;
        first = false;
        text += size;
        text += strspn(text, " ");
    }
    buffer_append_char(out, '\n');
}

/* -------------------------------------------------------------------- output */

void print_buffer(const struct buffer *buffer) {
    (void)fwrite(buffer_text(buffer), 1, buffer->size, stdout);
}

int print_checked(struct buffer *buffer, struct error **err) {
    if (buffer_check(buffer, err) < 0)
        return -1;
    print_buffer(buffer);
    return 0;
}

int print_json(const json_t *json, bool compact, struct error **err) {
    size_t flags = JSON_ENCODE_ANY | (compact ? JSON_COMPACT : (size_t)JSON_INDENT(2));
    if (json_dumpf(json, stdout, flags) < 0 && !ferror(stdout))
        return error_set_memory(err);
    (void)fputc('\n', stdout);
    return 0;
}

void tell(const struct invocation *invocation, const char *format, ...) {
    if (given_flag(invocation, "quiet"))
        return;
    OWN_BUFFER text = {0};
    va_list list;
    va_start(list, format);
    buffer_format_list(&text, format, list);
    va_end(list);
    (void)fwrite(buffer_text(&text), 1, text.size, stderr);
}

/* --------------------------------------------------------------------- times */

int64_t json_time(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (json_is_integer(value))
        return json_integer_value(value);
    const char *text = json_string_value(value);
    struct tm parts = {0};
    const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &parts) : NULL;
    if (!rest)
        return -1;
    int64_t milliseconds = 0;
    if (rest[0] == '.' && strlen(rest) >= 4) {
        char digits[4] = {rest[1], rest[2], rest[3], '\0'};
        if (text_parse_integer(digits, 0, 999, &milliseconds, NULL) < 0)
            milliseconds = 0;
    }
    return (int64_t)timegm(&parts) * 1000 + milliseconds;
}

void text_append_time(struct buffer *out, int64_t wall) {
    time_t seconds = (time_t)(wall / 1000);
    struct tm parts;
    char text[32];
    if (wall < 0 || !localtime_r(&seconds, &parts) ||
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &parts) == 0)
        buffer_append(out, "-");
    else
        buffer_append(out, text);
}
