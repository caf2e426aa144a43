/* Rows of a CSV file (RFC 4180: quotes, doubled quotes, line ends inside quotes; a semicolon or a
 * tab instead of the comma is recognised from the first line). */
#include "partition-kinds.h"

#include <fcntl.h>

#define CSV_MAXIMUM     ((size_t)64 << 20)
#define COLUMNS_MAXIMUM 1000

struct csv {
    const char *at;
    char separator;
    unsigned line;
};

/* Reads one field; *last says whether it ended its record. */
static int read_field(struct csv *csv, struct buffer *field, bool *last, struct error **err) {
    buffer_clear(field);
    if (*csv->at == '"') {
        unsigned opened = csv->line;
        for (csv->at++;; csv->at++) {
            if (!*csv->at) {
                error_set(err, ERROR_INVALID, "line %u: a quote is never closed", opened);
                return error_hint(err, "a quote inside a field is written twice: \"\"");
            }
            if (*csv->at == '"' && *++csv->at != '"')
                break;
            csv->line += *csv->at == '\n';
            buffer_append_char(field, *csv->at);
        }
    } else {
        char stops[] = {csv->separator, '\r', '\n', '\0'};
        size_t size = strcspn(csv->at, stops);
        buffer_append_bytes(field, csv->at, size);
        csv->at += size;
    }
    if (*csv->at == '\r' && csv->at[1] == '\n')
        csv->at++;
    *last = !*csv->at || *csv->at == '\n' || *csv->at == '\r';
    if (!*last && *csv->at != csv->separator) {
        error_set(err, ERROR_INVALID, "line %u: text after a closing quote", csv->line);
        return error_hint(err, "a quote inside a field is written twice: \"\"");
    }
    csv->line += *last;
    csv->at += *csv->at != '\0';
    return buffer_check(field, err);
}

static int read_record(struct csv *csv, json_t *record, struct error **err) {
    OWN_BUFFER field = {.maximum = 1 << 20};
    bool last = false;
    unsigned line = csv->line;
    while (!last) {
        if (read_field(csv, &field, &last, err) < 0)
            return -1;
        if (json_array_size(record) >= COLUMNS_MAXIMUM)
            return error_set(err, ERROR_LIMIT, "more than %d columns", COLUMNS_MAXIMUM);
        if (!text_is_utf8(buffer_text(&field), field.size)) {
            error_set(err, ERROR_INVALID, "line %u: not UTF-8", line);
            return error_hint(err, "save the file as UTF-8");
        }
        json_t *text = json_string(buffer_text(&field));
        if (!text || json_array_append_new(record, text) < 0)
            return error_set_memory(err);
    }
    return 0;
}

static char separator_of(const char *text) {
    size_t size = strcspn(text, "\r\n");
    static const char candidates[] = ",;\t";
    char best = ',';
    size_t most = 0;
    for (const char *candidate = candidates; *candidate; candidate++) {
        size_t count = 0;
        for (size_t i = 0; i < size; i++)
            count += text[i] == *candidate;
        if (count > most) {
            most = count;
            best = *candidate;
        }
    }
    return best;
}

static int key_column(const struct fan *fan, const json_t *header, size_t *ret,
                      struct error **err) {
    const char *names[COLUMNS_MAXIMUM];
    size_t count = json_array_size(header);
    bool found = !fan->key;
    *ret = 0;
    for (size_t i = 0; i < count; i++) {
        names[i] = json_string_value(json_array_get(header, i));
        for (size_t n = 0; n < i; n++)
            if (*names[i] && text_equal(names[i], names[n])) {
                error_set(err, ERROR_INVALID, "columns %zu and %zu have the same name", n + 1,
                          i + 1);
                return error_hint(err, "rename one of them in the first line");
            }
        if (fan->key && text_equal(names[i], fan->key)) {
            *ret = i;
            found = true;
        }
    }
    if (found)
        return 0;
    error_set(err, ERROR_INVALID, "there is no column \"%s\"", fan->key);
    const char *near = text_nearest(fan->key, names, count);
    return near && *near ? error_hint(err, "did you mean \"%s\"?", near)
                         : error_hint(err, "the first line names the columns; case matters");
}

static int add_row(struct partition_list *list, const json_t *header, const json_t *record,
                   size_t key, unsigned line, struct error **err) {
    if (json_array_size(record) != json_array_size(header)) {
        error_set(err, ERROR_INVALID,
                  "line %u: number of fields: %zu, but the first line names %zu", line,
                  json_array_size(record), json_array_size(header));
        return error_hint(err, "a field that holds the separator needs quotes");
    }
    OWN_JSON item = json_object();
    for (size_t i = 0; item && i < json_array_size(header); i++)
        if (json_object_set(item, json_string_value(json_array_get(header, i)),
                            json_array_get(record, i)) < 0)
            return error_set_memory(err);
    const char *name = json_string_value(json_array_get(record, key));
    if (partition_list_add(list, name, "", take(&item), err) < 0)
        return error_wrap(err, "line %u", line);
    list->items[list->count - 1].line = line;
    return 0;
}

int partition_list_csv(const struct fan *fan, const char *path, struct partition_list *list,
                       struct error **err) {
    OWN_BUFFER text = {.maximum = CSV_MAXIMUM};
    if (file_read_all(AT_FDCWD, path, CSV_MAXIMUM - 1, &text, err) < 0)
        return -1;
    const char *start = buffer_text(&text);
    if (text.size == 0) {
        error_set(err, ERROR_INVALID, "%s: the file is empty", path_base_name(path));
        return error_hint(err, "its first line names the columns");
    }
    if (strlen(start) < text.size) {
        error_set(err, ERROR_INVALID, "%s: it is not text: it holds a zero byte",
                  path_base_name(path));
        return error_hint(err, "save it as CSV in UTF-8");
    }
    start += text_starts_with(start, "\xef\xbb\xbf") ? 3 : 0;
    struct csv csv = {.at = start, .separator = separator_of(start), .line = 1};
    OWN_JSON header = json_array();
    if (!header)
        return error_set_memory(err);
    size_t key = 0;
    if (read_record(&csv, header, err) < 0 || key_column(fan, header, &key, err) < 0)
        return error_wrap(err, "%s", path_base_name(path));
    while (*csv.at) {
        unsigned line = csv.line;
        OWN_JSON record = json_array();
        if (!record)
            return error_set_memory(err);
        if (read_record(&csv, record, err) < 0)
            return error_wrap(err, "%s", path_base_name(path));
        bool blank = json_array_size(record) == 1 && !*json_string_value(json_array_get(record, 0));
        if (!blank && add_row(list, header, record, key, line, err) < 0)
            return error_wrap(err, "%s", path_base_name(path));
    }
    return 0;
}
