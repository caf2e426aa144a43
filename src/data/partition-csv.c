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
            if (!*csv->at)
                return error_set(err, ERROR_INVALID, "line %u: a quote is never closed", opened);
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
    if (!*last && *csv->at != csv->separator)
        return error_set(err, ERROR_INVALID, "line %u: text after a closing quote", csv->line);
    csv->line += *last;
    csv->at += *csv->at != '\0';
    return buffer_check(field, err);
}

static int read_record(struct csv *csv, json_t *record, struct error **err) {
    OWN_BUFFER field = {.maximum = 1 << 20};
    bool last = false;
    while (!last) {
        if (read_field(csv, &field, &last, err) < 0)
            return -1;
        if (json_array_size(record) >= COLUMNS_MAXIMUM)
            return error_set(err, ERROR_LIMIT, "more than %d columns", COLUMNS_MAXIMUM);
        json_t *text = json_string(buffer_text(&field));
        if (!text)
            return error_set(err, ERROR_INVALID, "line %u: not UTF-8", csv->line);
        if (json_array_append_new(record, text) < 0)
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
    *ret = 0;
    for (size_t i = 0; i < count; i++) {
        names[i] = json_string_value(json_array_get(header, i));
        if (fan->key && text_equal(names[i], fan->key)) {
            *ret = i;
            return 0;
        }
    }
    if (!fan->key)
        return 0;
    error_set(err, ERROR_INVALID, "there is no column \"%s\"", fan->key);
    const char *near = text_nearest(fan->key, names, count);
    if (near && *near)
        error_hint(err, "did you mean \"%s\"?", near);
    return -1;
}

static int add_row(struct partition_list *list, const json_t *header, const json_t *record,
                   size_t key, unsigned line, struct error **err) {
    if (json_array_size(record) != json_array_size(header))
        return error_set(err, ERROR_INVALID, "line %u: %zu fields, but the first line names %zu",
                         line, json_array_size(record), json_array_size(header));
    OWN_JSON item = json_object();
    for (size_t i = 0; item && i < json_array_size(header); i++)
        if (json_object_set(item, json_string_value(json_array_get(header, i)),
                            json_array_get(record, i)) < 0)
            return error_set_memory(err);
    const char *name = json_string_value(json_array_get(record, key));
    if (partition_list_add(list, name, "", take(&item), err) < 0)
        return error_wrap(err, "line %u", line);
    return 0;
}

int partition_list_csv(const struct fan *fan, const char *path, struct partition_list *list,
                       struct error **err) {
    OWN_BUFFER text = {.maximum = CSV_MAXIMUM};
    if (file_read_all(AT_FDCWD, path, CSV_MAXIMUM - 1, &text, err) < 0)
        return -1;
    const char *start = buffer_text(&text);
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
