/* Names of tasks in texts and commands, and what JSON about them says. */
#include "cli/terminal.h"

void text_append_task(struct buffer *out, const char *step, const char *partition) {
    text_append_printable(out, step);
    if (*partition) {
        buffer_append_char(out, '@');
        text_append_printable(out, partition);
    }
}

void text_append_argument(struct buffer *out, const char *text) {
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "@%+=:,./_-";
    if (*text && text[strspn(text, safe)] == '\0') {
        buffer_append(out, text);
        return;
    }
    OWN_BUFFER shown = {0};
    text_append_printable(&shown, text);
    buffer_append_char(out, '\'');
    for (const char *at = buffer_text(&shown); *at; at++) {
        if (*at == '\'')
            buffer_append(out, "'\\''");
        else
            buffer_append_char(out, *at);
    }
    buffer_append_char(out, '\'');
}

void text_append_task_argument(struct buffer *out, const char *step, const char *partition) {
    OWN_STRING whole =
        *partition ? memory_format("%s@%s", step, partition) : memory_copy_string(step);
    text_append_argument(out, whole ? whole : step);
}

const char *json_step(const json_t *object) {
    return json_get_string(object, "step", "");
}

const char *json_partition(const json_t *object) {
    return json_get_string(object, "partition", "");
}

int64_t json_count(const json_t *counts, const char *state) {
    return json_get_integer(counts, state, 0);
}
