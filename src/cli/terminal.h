/*
 * What standard output and standard error are, and how text for people is laid out on them.
 * Private to the room.
 */
#ifndef GLOVEBOX_CLI_TERMINAL_H
#define GLOVEBOX_CLI_TERMINAL_H

#include "cli/private-command.h"

struct terminal {
    bool is_terminal; /* and one that understands cursor movements */
    bool colour;
    bool unicode;
    unsigned width, height;
};
/* `fd` is 1 or 2; honours --color, NO_COLOR, TERM, COLUMNS and the locale. */
void terminal_examine(const struct invocation *invocation, int fd, struct terminal *ret);
/* Asks again for the size, which may have changed. */
void terminal_resize(int fd, struct terminal *terminal);

enum style { STYLE_PLAIN, STYLE_STRONG, STYLE_FAINT, STYLE_GOOD, STYLE_BAD, STYLE_BUSY, STYLE_ASK };
void style_begin(struct buffer *out, bool colour, enum style style);
void style_end(struct buffer *out, bool colour, enum style style);
void style_text(struct buffer *out, bool colour, enum style style, const char *text);
/* The style that a state of a task or run is shown in. */
enum style style_of_state(const char *state);

/* Appends `text`, made printable, in exactly `width` columns: padded, or cut with an ellipsis. */
void text_append_field(struct buffer *out, const char *text, unsigned width, bool unicode);
/* Appends `text` wrapped at blanks, every line after `indent` blanks. The first line is taken to
 * stand at column `column` already. */
void text_append_wrapped(struct buffer *out, const char *text, unsigned indent, unsigned column,
                         unsigned width);

/* Writes to standard output; whether that worked is checked once, at the end. */
void print_buffer(const struct buffer *buffer);
int print_checked(struct buffer *buffer, struct error **err) MUST_CHECK;
/* One JSON document and a newline; `compact` on one line. */
int print_json(const json_t *json, bool compact, struct error **err) MUST_CHECK;
/* Writes to standard error unless --quiet. */
void tell(const struct invocation *invocation, const char *format, ...) PRINTF_LIKE(2, 3);

/* Times in JSON are RFC 3339 texts, null where unknown. -> ms since 1970, or -1. */
int64_t json_time(const json_t *object, const char *key);
/* "2026-11-21 03:04:05" in local time, or "-". */
void text_append_time(struct buffer *out, int64_t wall);

/* "STEP@PARTITION" or "STEP". */
void text_append_task(struct buffer *out, const char *step, const char *partition);
/* The same as an argument for the shell: quoted when it has to be. */
void text_append_task_argument(struct buffer *out, const char *step, const char *partition);
void text_append_argument(struct buffer *out, const char *text);
/* Reads "step" and "partition" of a JSON object. */
const char *json_step(const json_t *object);
const char *json_partition(const json_t *object);
/* tasks in this state, in an object of counts */
int64_t json_count(const json_t *counts, const char *state);

#endif
