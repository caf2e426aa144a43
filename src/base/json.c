/* JSON by jansson, within bounds, and its canonical text. */
#include "base/base.h"

#include <stdlib.h>

void json_cleanup(json_t **json) {
    json_decref(*json);
    *json = NULL;
}

static int append_dump(const char *bytes, size_t size, void *context) {
    buffer_append_bytes(context, bytes, size);
    return 0;
}

char *json_text(const json_t *json, size_t flags, struct error **err) {
    OWN_BUFFER text = {.maximum = (size_t)1 << 30};
    if (json_dump_callback(json, append_dump, &text, flags) < 0) {
        error_set_memory(err);
        return NULL;
    }
    return buffer_take(&text, err);
}

char *json_canonical(const json_t *json, struct error **err) {
    return json_text(
        json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17), err);
}

static const char *json_hint(const char *message) {
    static const struct {
        const char *part, *hint;
    } hints[] = {
        {"decode", "save it as UTF-8"},
        {"duplicate", "remove one of the two"},
        {"end of", "is it complete? a quote or a bracket is not closed"},
        {"depth", "JSON is nested at most 2048 levels deep"},
        {"overflow", "the number is too large"},
        {"invalid token", "JSON has no NaN, no comments and no single quotes"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(hints); i++)
        if (strstr(message, hints[i].part))
            return hints[i].hint;
    return "`jq . FILE` says what is the matter";
}

json_t *json_parse(const char *text, size_t size, struct error **err) {
    json_error_t problem;
    if (size == 0) {
        error_set(err, ERROR_INVALID, "not JSON: it is empty");
        error_hint(err, "the least that is JSON: {}");
        return NULL;
    }
    json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &problem);
    if (json)
        return json;
    if (json_error_code(&problem) == json_error_out_of_memory) {
        error_set_memory(err);
        return NULL;
    }
    /* What jansson quotes may be patient data, and messages are logged: the place must do. */
    char *quoted = strstr(problem.text, " near '");
    if (quoted)
        *quoted = '\0';
    error_set(err, ERROR_INVALID, "line %d, column %d: not JSON: %s", problem.line, problem.column,
              problem.text);
    error_hint(err, "%s", json_hint(problem.text));
    return NULL;
}

json_t *json_read_file(int directory, const char *path, size_t maximum, struct error **err) {
    OWN_BUFFER text = {.maximum = maximum};
    if (file_read_all(directory, path, maximum, &text, err) < 0)
        return NULL;
    size_t mark = text_starts_with(buffer_text(&text), "\xef\xbb\xbf") ? 3 : 0;
    json_t *json = json_parse(buffer_text(&text) + mark, text.size - mark, err);
    if (!json)
        error_wrap(err, "%s", path);
    return json;
}

const char *json_get_string(const json_t *object, const char *key, const char *fallback) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : fallback;
}

int64_t json_get_integer(const json_t *object, const char *key, int64_t fallback) {
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : fallback;
}

void json_append_string(struct buffer *buffer, const char *text) {
    if (!text) {
        buffer_append(buffer, "null");
        return;
    }
    bool valid = text_is_utf8(text, strlen(text));
    buffer_append_char(buffer, '"');
    while (*text) {
        size_t plain = 0;
        while ((unsigned char)text[plain] >= 0x20 && text[plain] != '"' && text[plain] != '\\' &&
               (valid || (unsigned char)text[plain] < 0x80))
            plain++;
        buffer_append_bytes(buffer, text, plain);
        text += plain;
        if (!*text)
            break;
        if ((unsigned char)*text >= 0x80)
            buffer_append(buffer, "\\ufffd");
        else if (*text == '"' || *text == '\\')
            buffer_format(buffer, "\\%c", *text);
        else
            buffer_format(buffer, "\\u%04x", (unsigned char)*text);
        text++;
    }
    buffer_append_char(buffer, '"');
}
