/* Mistakes with their places, kept in order and printed with the line they stand in. */
#include "pipeline/private-node.h"

#include <stdlib.h>

void diagnostics_release(struct diagnostics *diagnostics) {
    for (size_t i = 0; i < diagnostics->count; i++) {
        struct diagnostic *item = &diagnostics->items[i];
        memory_free(item->file);
        memory_free(item->message);
        memory_free(item->hint);
        memory_free(item->source);
    }
    memory_free(diagnostics->items);
    memset(diagnostics, 0, sizeof(*diagnostics));
}

#define SOURCE_LINE_MAXIMUM 400

/* The text of line `line` (from 1), or NULL. */
static char *copy_line(const struct source *source, unsigned line) {
    if (!source->text || !line)
        return NULL;
    const char *at = source->text, *end = source->text + source->size;
    for (unsigned i = 1; i < line; i++) {
        const char *next = memchr(at, '\n', (size_t)(end - at));
        if (!next)
            return NULL;
        at = next + 1;
    }
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    size_t size = (size_t)((stop ? stop : end) - at);
    if (size && at[size - 1] == '\r')
        size--;
    if (size > SOURCE_LINE_MAXIMUM)
        size = SOURCE_LINE_MAXIMUM;
    return memory_copy_bytes(at, size);
}

/* The same mistake at the same place is said once, however often an alias brings it up. */
static bool already_said(const struct diagnostics *diagnostics, const struct diagnostic *item) {
    if (!item->line)
        return false;
    for (size_t i = 0; i < diagnostics->count; i++) {
        const struct diagnostic *other = &diagnostics->items[i];
        if (other->line == item->line && other->column == item->column &&
            text_equal(other->message, item->message) && text_equal(other->file, item->file))
            return true;
    }
    return false;
}

static void free_item(struct diagnostic *item) {
    memory_free(item->file);
    memory_free(item->message);
    memory_free(item->hint);
    memory_free(item->source);
}

static void add(struct trouble *trouble, struct diagnostic item, const char *hint,
                const struct source *source) {
    struct diagnostics *diagnostics = trouble->diagnostics;
    if (diagnostics->count == DIAGNOSTICS_MAXIMUM) {
        diagnostics->errors += item.severity == SEVERITY_ERROR;
        memory_free(item.message);
        return;
    }
    item.file = memory_copy_string(source->path);
    item.hint = memory_copy_string(hint);
    item.source = copy_line(source, item.line);
    if (!item.file || !item.message || (hint && !item.hint)) {
        trouble->no_memory = true;
        free_item(&item);
        return;
    }
    if (already_said(diagnostics, &item)) {
        free_item(&item);
        return;
    }
    if (item.severity == SEVERITY_ERROR)
        diagnostics->errors++;
    OWN_ERROR error = NULL;
    if (array_reserve(&diagnostics->items, &diagnostics->capacity, diagnostics->count, sizeof(item),
                      DIAGNOSTICS_MAXIMUM, &error) < 0) {
        if (error && error->code == ERROR_MEMORY)
            trouble->no_memory = true;
        free_item(&item);
        return;
    }
    diagnostics->items[diagnostics->count++] = item;
}

static char *format_message(const char *format, va_list list) PRINTF_LIKE(1, 0);
static char *format_message(const char *format, va_list list) {
    OWN_BUFFER raw = {0};
    OWN_BUFFER text = {0};
    buffer_format_list(&raw, format, list);
    /* Names come from the file: nothing of it may drive the terminal. */
    text_append_printable(&text, buffer_text(&raw));
    return raw.failed ? NULL : buffer_take(&text, NULL);
}

void trouble_add(struct trouble *trouble, enum severity severity, const struct source *source,
                 unsigned line, unsigned column, const char *hint, const char *format, ...) {
    va_list list;
    va_start(list, format);
    struct diagnostic item = {.severity = severity, .line = line, .column = column};
    item.message = format_message(format, list);
    va_end(list);
    add(trouble, item, hint, source);
}

static void add_at(struct trouble *trouble, enum severity severity, const struct node *node,
                   const char *hint, const char *format, va_list list) PRINTF_LIKE(5, 0);
static void add_at(struct trouble *trouble, enum severity severity, const struct node *node,
                   const char *hint, const char *format, va_list list) {
    struct diagnostic item = {.severity = severity, .line = node->line, .column = node->column};
    item.message = format_message(format, list);
    add(trouble, item, hint, node->source);
}

void node_error(struct trouble *trouble, const struct node *node, const char *hint,
                const char *format, ...) {
    va_list list;
    va_start(list, format);
    add_at(trouble, SEVERITY_ERROR, node, hint, format, list);
    va_end(list);
}

void node_warning(struct trouble *trouble, const struct node *node, const char *hint,
                  const char *format, ...) {
    va_list list;
    va_start(list, format);
    add_at(trouble, SEVERITY_WARNING, node, hint, format, list);
    va_end(list);
}

static int by_place(const void *left, const void *right) {
    const struct diagnostic *a = *(const struct diagnostic *const *)left;
    const struct diagnostic *b = *(const struct diagnostic *const *)right;
    int files = strcmp(a->file, b->file);
    if (files)
        return files;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    if (a->column != b->column)
        return a->column < b->column ? -1 : 1;
    return a < b ? -1 : a > b; /* as found */
}

/* By place in the file, as a reader goes through it. NULL when there is no memory. */
static const struct diagnostic **sorted(const struct diagnostics *diagnostics) {
    const struct diagnostic **list = memory_array(diagnostics->count, sizeof(*list));
    if (!list)
        return NULL;
    for (size_t i = 0; i < diagnostics->count; i++)
        list[i] = &diagnostics->items[i];
    qsort(list, diagnostics->count, sizeof(*list), by_place);
    return list;
}

/* The offending line with tabs as blanks, and a caret under the column (which counts
 * characters). */
static void print_source(const struct diagnostic *item, bool colour, struct buffer *out) {
    OWN_BUFFER line = {0};
    OWN_BUFFER before = {0};
    unsigned column = 1;
    for (const char *at = item->source; *at; at++) {
        bool starts = ((unsigned char)*at & 0xC0) != 0x80;
        if (starts && column++ == item->column)
            buffer_append(&before, buffer_text(&line));
        buffer_append_char(&line, *at == '\t' ? ' ' : *at);
    }
    if (column == item->column)
        buffer_append(&before, buffer_text(&line));
    OWN_BUFFER shown = {0};
    text_append_printable(&shown, buffer_text(&line));
    buffer_format(out, "  %s\n", buffer_text(&shown));
    if (!item->column || item->column > column)
        return;
    buffer_clear(&shown);
    text_append_printable(&shown, buffer_text(&before));
    buffer_append(out, "  ");
    buffer_append_repeat(out, ' ', text_width(buffer_text(&shown)));
    buffer_append(out, colour ? "\x1b[32m^\x1b[0m\n" : "^\n");
}

static void print_item(const struct diagnostic *item, bool colour, struct buffer *out) {
    const char *word = item->severity == SEVERITY_ERROR ? "error" : "warning";
    if (colour)
        buffer_append(out, "\x1b[1m");
    text_append_printable(out, item->file);
    if (item->line)
        buffer_format(out, ":%u:%u", item->line, item->column);
    buffer_append(out, ": ");
    if (colour)
        buffer_append(out, item->severity == SEVERITY_ERROR ? "\x1b[31m" : "\x1b[35m");
    buffer_format(out, "%s:", word);
    if (colour)
        buffer_append(out, "\x1b[0m");
    buffer_format(out, " %s\n", item->message);
    if (item->source && *item->source)
        print_source(item, colour, out);
    if (item->hint)
        buffer_format(out, "  hint: %s\n", item->hint);
}

void diagnostics_print(const struct diagnostics *diagnostics, bool colour, struct buffer *out) {
    OWN_MEMORY(const struct diagnostic *) list = sorted(diagnostics);
    size_t errors = 0;
    for (size_t i = 0; i < diagnostics->count; i++) {
        const struct diagnostic *item = list ? list[i] : &diagnostics->items[i];
        errors += item->severity == SEVERITY_ERROR;
        print_item(item, colour, out);
    }
    if (diagnostics->errors > errors)
        buffer_format(out, "… and %zu more errors\n", diagnostics->errors - errors);
}

json_t *diagnostics_json(const struct diagnostics *diagnostics) {
    OWN_JSON array = json_array();
    OWN_MEMORY(const struct diagnostic *) list = sorted(diagnostics);
    if (!array || !list)
        return NULL;
    for (size_t i = 0; i < diagnostics->count; i++) {
        const struct diagnostic *item = list[i];
        json_t *object = json_pack("{s:s, s:s, s:i, s:i, s:s, s:s?}", "severity",
                                   item->severity == SEVERITY_ERROR ? "error" : "warning", "file",
                                   item->file, "line", (int)item->line, "column", (int)item->column,
                                   "message", item->message, "hint", item->hint);
        if (!object || json_array_append_new(array, object) < 0)
            return NULL;
    }
    return take(&array);
}
