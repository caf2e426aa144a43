/* Texts with ${…} taken apart, and put together with values. */
#include "pipeline/private-template.h"

#include <ctype.h>

/* ------------------------------------------------------------------------ parse */

bool template_is_path(const char *inside) {
    for (const char *at = inside;; at++) {
        bool first = at == inside;
        if (!isalnum((unsigned char)*at) && *at != '_')
            return false;
        if (first && isdigit((unsigned char)*at))
            return false;
        while (isalnum((unsigned char)*at) || *at == '_' || *at == '-')
            at++;
        if (*at != '.')
            return !*at;
    }
}

/* The '}' that closes what was opened before `at`, or NULL. Braces and strings of jq nest. */
static const char *find_end(const char *at) {
    unsigned depth = 0;
    for (; *at; at++) {
        if (*at == '"') {
            for (at++; *at && *at != '"'; at++)
                if (*at == '\\' && at[1])
                    at++;
            if (!*at)
                return NULL;
        } else if (*at == '{') {
            depth++;
        } else if (*at == '}' && depth-- == 0) {
            return at;
        }
    }
    return NULL;
}

static int use_part(const char *open, const char *close, const char *text,
                    const struct template_parts *parts, struct error **err) {
    const char *from = open + 2, *to = close;
    while (from < to && isspace((unsigned char)*from))
        from++;
    while (to > from && isspace((unsigned char)to[-1]))
        to--;
    if (from == to)
        return error_set(err, ERROR_INVALID, "there is nothing between ${ and }");
    OWN_STRING inside = memory_copy_bytes(from, (size_t)(to - from));
    if (!inside)
        return error_set_memory(err);
    return parts->use ? parts->use(inside, (size_t)(from - text), parts->context, err) : 0;
}

static int use_literal(const char *from, const char *to, const struct template_parts *parts,
                       struct error **err) {
    if (from == to || !parts->literal)
        return 0;
    return parts->literal(from, (size_t)(to - from), parts->context, err);
}

int template_walk(const char *text, const struct template_parts *parts, struct error **err) {
    const char *from = text;
    for (const char *at = text; *at;) {
        bool escaped = at[0] == '$' && at[1] == '$' && at[2] == '{';
        if (!escaped && !(at[0] == '$' && at[1] == '{')) {
            at++;
            continue;
        }
        if (use_literal(from, at, parts, err) < 0)
            return -1;
        if (escaped) {
            if (use_literal(at + 1, at + 3, parts, err) < 0)
                return -1;
            from = at += 3;
            continue;
        }
        const char *end = find_end(at + 2);
        if (!end) {
            error_set(err, ERROR_INVALID, "${ without its }");
            return error_hint(err, "write $${ for the characters themselves");
        }
        if (use_part(at, end, text, parts, err) < 0)
            return -1;
        from = at = end + 1;
    }
    return use_literal(from, from + strlen(from), parts, err);
}

struct scan {
    int (*use)(const char *inside, size_t offset, void *context);
    void *context;
};

static int scan_use(const char *inside, size_t offset, void *context, struct error **err) {
    struct scan *scan = context;
    return scan->use(inside, offset, scan->context);
}

int template_scan(const char *text, int (*use)(const char *inside, size_t offset, void *context),
                  void *context) {
    struct scan scan = {use, context};
    struct template_parts parts = {NULL, scan_use, &scan};
    return template_walk(text, &parts, NULL);
}

char *template_escape(const char *text) {
    OWN_BUFFER out = {0};
    for (const char *at = text; *at; at++) {
        if (at[0] == '$' && at[1] == '{')
            buffer_append_char(&out, '$');
        buffer_append_char(&out, *at);
    }
    return buffer_take(&out, NULL);
}

/* ----------------------------------------------------------------------- expand */

struct expansion {
    const json_t *values;
    struct expression_cache *cache;
    struct buffer *out;
};

/* Names may themselves hold dots ("outer.inner", a step of a sub-pipeline): where the first word
 * is no member, longer ones are tried. */
static const json_t *look_up(const json_t *at, const char *path) {
    size_t length = strcspn(path, ".");
    for (;;) {
        char key[512];
        if (length < sizeof(key)) {
            memcpy(key, path, length);
            key[length] = '\0';
            const json_t *value = NULL;
            int64_t index = 0;
            if (json_is_object(at))
                value = json_object_get(at, key);
            else if (json_is_array(at) && text_parse_integer(key, 0, INT32_MAX, &index, NULL) == 0)
                value = json_array_get(at, (size_t)index);
            if (value && path[length])
                value = look_up(value, path + length + 1);
            if (value)
                return value;
        }
        if (!path[length])
            return NULL;
        length += 1 + strcspn(path + length + 1, ".");
    }
}

static int append_value(struct buffer *out, const json_t *value, struct error **err) {
    if (json_is_string(value)) {
        buffer_append_bytes(out, json_string_value(value), json_string_length(value));
        return 0;
    }
    OWN_STRING text = json_text(value, JSON_ENCODE_ANY | JSON_COMPACT, NULL);
    if (!text)
        return error_set_memory(err);
    buffer_append(out, text);
    return 0;
}

/* All that the program gives, or NULL. */
static json_t *outputs_of(const struct expansion *expansion, const char *program,
                          struct error **err) {
    struct expression *own = NULL, *expression;
    if (expansion->cache)
        expression = expression_cache_get(expansion->cache, program, err);
    else
        expression = own = expression_new(program, expression_variables, err);
    json_t *outputs =
        expression ? expression_run(expression, expansion->values, expansion->values, err) : NULL;
    expression_free(own);
    if (!outputs)
        error_wrap(err, "${%s}", program);
    return outputs;
}

static int run_program(struct expansion *expansion, const char *program, struct error **err) {
    OWN_JSON outputs = outputs_of(expansion, program, err);
    if (!outputs)
        return -1;
    if (json_array_size(outputs) != 1)
        return error_set(err, ERROR_INVALID, "${%s} gives %zu values, not one", program,
                         json_array_size(outputs));
    return append_value(expansion->out, json_array_get(outputs, 0), err);
}

static int expand_use(const char *inside, size_t offset, void *context, struct error **err) {
    struct expansion *expansion = context;
    if (!template_is_path(inside))
        return run_program(expansion, inside, err);
    const json_t *value = look_up(expansion->values, inside);
    if (!value)
        return error_set(err, ERROR_INVALID, "${%s} has no value here", inside);
    return append_value(expansion->out, value, err);
}

static int expand_literal(const char *text, size_t size, void *context, struct error **err) {
    struct expansion *expansion = context;
    buffer_append_bytes(expansion->out, text, size);
    return 0;
}

char *template_expand_cached(const char *text, const json_t *values, struct expression_cache *cache,
                             struct error **err) {
    OWN_BUFFER out = {.maximum = TEMPLATE_MAXIMUM_RESULT};
    struct expansion expansion = {values, cache, &out};
    struct template_parts parts = {expand_literal, expand_use, &expansion};
    if (template_walk(text, &parts, err) < 0)
        return NULL;
    if (!out.size && !out.failed)
        return memory_copy_string("");
    return buffer_take(&out, err);
}

char *template_expand(const char *text, const json_t *values, struct error **err) {
    return template_expand_cached(text, values, NULL, err);
}

/* The jq program of a text that is one ${…} and nothing else; NULL: it is another text. */
static char *lone_program(const char *text) {
    const char *end = text_starts_with(text, "${") ? find_end(text + 2) : NULL;
    if (!end || end[1])
        return NULL;
    const char *from = text + 2, *to = end;
    while (from < to && isspace((unsigned char)*from))
        from++;
    while (to > from && isspace((unsigned char)to[-1]))
        to--;
    OWN_STRING inside = memory_copy_bytes(from, (size_t)(to - from));
    return inside && *inside && !template_is_path(inside) ? take(&inside) : NULL;
}

json_t *template_expand_words(const char *text, const json_t *values,
                              struct expression_cache *cache, struct error **err) {
    OWN_STRING program = lone_program(text);
    OWN_JSON words = json_array();
    const struct expansion expansion = {values, cache, NULL};
    OWN_JSON outputs = program ? outputs_of(&expansion, program, err) : json_null();
    if (!words || !outputs)
        return NULL;
    for (size_t i = 0; i < (program ? json_array_size(outputs) : 1); i++) {
        OWN_BUFFER word = {.maximum = TEMPLATE_MAXIMUM_RESULT};
        OWN_STRING whole = program ? NULL : template_expand_cached(text, values, cache, err);
        if ((!program && !whole) ||
            (program && append_value(&word, json_array_get(outputs, i), err) < 0) ||
            buffer_check(&word, err) < 0)
            return NULL;
        if (json_array_append_new(words, json_string(whole ? whole : buffer_text(&word))) < 0) {
            error_set(err, ERROR_INVALID, "a word of the command is not UTF-8");
            return NULL;
        }
    }
    return take(&words);
}
