/* The tree of a YAML document, with the place of each value. */
#include "pipeline/private-node.h"

#include <math.h>
#include <stdlib.h>

const char *node_kind_name(enum node_kind kind) {
    static const char *const names[] = {
        [NODE_NULL] = "nothing",     [NODE_BOOLEAN] = "true or false", [NODE_INTEGER] = "a number",
        [NODE_NUMBER] = "a number",  [NODE_STRING] = "a text",         [NODE_LIST] = "a list",
        [NODE_MAPPING] = "a mapping"};
    return names[kind];
}

struct node *node_get(const struct node *mapping, const char *key) {
    if (!mapping || mapping->kind != NODE_MAPPING)
        return NULL;
    for (size_t i = 0; i < mapping->count; i++)
        if (text_equal(mapping->keys[i]->text, key))
            return mapping->values[i];
    return NULL;
}

struct node *node_get_value(const struct node *mapping, const char *key) {
    struct node *value = node_get(mapping, key);
    return value && value->kind != NODE_NULL ? value : NULL;
}

static bool is_one_of(const char *text, const char *a, const char *b, const char *c) {
    return text_equal(text, a) || text_equal(text, b) || text_equal(text, c);
}

static bool all_digits(const char *text, const char *digits) {
    return *text && text[strspn(text, digits)] == '\0';
}

static bool looks_like_integer(const char *text) {
    return all_digits(text + (*text == '-' || *text == '+'), "0123456789");
}

/* [-+]? ( . digits | digits ( . digits* )? ) ( [eE] [-+]? digits )? */
static bool looks_like_number(const char *text) {
    text += *text == '-' || *text == '+';
    size_t whole = strspn(text, "0123456789"), part = 0;
    text += whole;
    if (*text == '.') {
        part = strspn(++text, "0123456789");
        text += part;
    }
    if (!whole && !part)
        return false;
    if (*text != 'e' && *text != 'E')
        return !*text;
    text++;
    text += *text == '-' || *text == '+';
    return all_digits(text, "0123456789");
}

static bool set_integer(struct node *node, const char *text) {
    int64_t value = 0;
    if (text_starts_with(text, "0x") && all_digits(text + 2, "0123456789abcdefABCDEF") &&
        strlen(text) <= 17)
        value = (int64_t)strtoull(text + 2, NULL, 16);
    else if (text_starts_with(text, "0o") && all_digits(text + 2, "01234567") && strlen(text) <= 22)
        value = (int64_t)strtoull(text + 2, NULL, 8);
    else if (!looks_like_integer(text) ||
             text_parse_integer(text + (*text == '+'), INT64_MIN, INT64_MAX, &value, NULL) < 0)
        return false;
    node->kind = NODE_INTEGER;
    node->integer = value;
    node->number = (double)value;
    return true;
}

void node_set_scalar(struct node *node, const char *text, size_t size, bool plain) {
    node->text = text;
    node->text_size = size;
    node->plain = plain;
    node->kind = NODE_STRING;
    if (!plain || strlen(text) != size)
        return;
    double number = 0;
    if (!*text || text_equal(text, "~") || is_one_of(text, "null", "Null", "NULL")) {
        node->kind = NODE_NULL;
    } else if (is_one_of(text, "true", "True", "TRUE")) {
        node->kind = NODE_BOOLEAN;
        node->boolean = true;
    } else if (is_one_of(text, "false", "False", "FALSE")) {
        node->kind = NODE_BOOLEAN;
    } else if (!set_integer(node, text) && looks_like_number(text) &&
               text_parse_number(text + (*text == '+'), &number, NULL) == 0) {
        node->kind = NODE_NUMBER;
        node->number = number;
    }
}

struct node *node_new(struct arena *arena, const struct node *place, enum node_kind kind) {
    struct node *node = arena_allocate(arena, sizeof(*node));
    if (!node)
        return NULL;
    node->kind = kind;
    node->weight = 1;
    if (place) {
        node->line = place->line;
        node->column = place->column;
        node->source = place->source;
    }
    return node;
}

struct node *node_new_string(struct arena *arena, const struct node *place, const char *text) {
    struct node *node = node_new(arena, place, NODE_STRING);
    if (!node)
        return NULL;
    node->text = arena_copy_string(arena, text);
    if (!node->text)
        return NULL;
    node->text_size = strlen(text);
    return node;
}

struct node *node_with(struct arena *arena, const struct node *mapping, const char *key,
                       struct node *value) {
    struct node *copy = node_new(arena, mapping, NODE_MAPPING);
    if (!copy || !value)
        return NULL;
    copy->keys = arena_allocate(arena, (mapping->count + 1) * sizeof(struct node *));
    copy->values = arena_allocate(arena, (mapping->count + 1) * sizeof(struct node *));
    if (!copy->keys || !copy->values)
        return NULL;
    bool found = false;
    for (size_t i = 0; i < mapping->count; i++) {
        bool here = text_equal(mapping->keys[i]->text, key);
        copy->keys[i] = mapping->keys[i];
        copy->values[i] = here ? value : mapping->values[i];
        found = found || here;
    }
    copy->count = mapping->count;
    if (!found) {
        copy->keys[copy->count] = node_new_string(arena, value, key);
        if (!copy->keys[copy->count])
            return NULL;
        copy->values[copy->count++] = value;
    }
    for (size_t i = 0; i < copy->count; i++)
        copy->weight += 1 + copy->values[i]->weight;
    return copy;
}

/* Numbers that would not come back from JSON as they were written ("1.10") stay text, so that a
 * version stays what the author wrote. */
static json_t *number_to_json(const struct node *node) {
    char text[64];
    if (node->kind == NODE_INTEGER) {
        snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, (json_int_t)node->integer);
        if (text_equal(text, node->text))
            return json_integer(node->integer);
        return json_string(node->text);
    }
    OWN_JSON real = json_real(node->number);
    OWN_STRING dumped =
        real ? json_text(real, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17), NULL) : NULL;
    if (!dumped)
        return NULL;
    return text_equal(dumped, node->text) ? take(&real) : json_string(node->text);
}

static json_t *container_to_json(const struct node *node) {
    bool is_list = node->kind == NODE_LIST;
    OWN_JSON json = is_list ? json_array() : json_object();
    for (size_t i = 0; json && i < node->count; i++) {
        json_t *value = node_to_json(node->values[i]);
        if (!value || (is_list ? json_array_append_new(json, value)
                               : json_object_set_new(json, node->keys[i]->text, value)) < 0)
            return NULL;
    }
    return take(&json);
}

json_t *node_to_json(const struct node *node) {
    switch (node->kind) {
    case NODE_NULL:
        return json_null();
    case NODE_BOOLEAN:
        return json_boolean(node->boolean);
    case NODE_INTEGER:
    case NODE_NUMBER:
        return number_to_json(node);
    case NODE_STRING:
        return json_stringn(node->text, node->text_size);
    case NODE_LIST:
    case NODE_MAPPING:
        return container_to_json(node);
    }
    return NULL;
}

static bool scalar_from_json(struct arena *arena, struct node *node, const json_t *json) {
    char text[64];
    switch (json_typeof(json)) {
    case JSON_STRING:
        node->text = arena_copy_bytes(arena, json_string_value(json), json_string_length(json));
        node->text_size = json_string_length(json);
        node->kind = NODE_STRING;
        return node->text;
    case JSON_INTEGER:
        snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(json));
        break;
    case JSON_REAL:
        snprintf(text, sizeof(text), "%.17g", json_real_value(json));
        if (!strpbrk(text, ".e"))
            snprintf(text, sizeof(text), "%.1f", json_real_value(json));
        break;
    default:
        snprintf(text, sizeof(text), "%s",
                 json_is_null(json) ? "null" : (json_is_true(json) ? "true" : "false"));
    }
    char *copy = arena_copy_string(arena, text);
    if (copy)
        node_set_scalar(node, copy, strlen(copy), true);
    return copy;
}

static struct node *from_json(struct arena *arena, const struct source *source, const json_t *json,
                              unsigned depth) {
    struct node *node = node_new(arena, NULL, NODE_NULL);
    if (!node || depth > NODE_MAXIMUM_DEPTH)
        return NULL;
    node->source = source;
    if (!json_is_object(json) && !json_is_array(json))
        return scalar_from_json(arena, node, json) ? node : NULL;
    size_t count = json_is_object(json) ? json_object_size(json) : json_array_size(json);
    node->kind = json_is_object(json) ? NODE_MAPPING : NODE_LIST;
    node->values = arena_allocate(arena, count * sizeof(struct node *));
    node->keys = arena_allocate(arena, count * sizeof(struct node *));
    if (!node->values || !node->keys)
        return NULL;
    void *iterator = json_object_iter((json_t *)json);
    for (; node->count < count; node->count++) {
        size_t i = node->count;
        const json_t *value = iterator ? json_object_iter_value(iterator) : json_array_get(json, i);
        node->values[i] = from_json(arena, source, value, depth + 1);
        if (!node->values[i])
            return NULL;
        node->weight += node->values[i]->weight;
        if (!iterator)
            continue;
        node->keys[i] = node_new_string(arena, node, json_object_iter_key(iterator));
        if (!node->keys[i])
            return NULL;
        iterator = json_object_iter_next((json_t *)json, iterator);
    }
    return node;
}

struct node *node_from_json(struct arena *arena, const struct source *source, const json_t *json) {
    return from_json(arena, source, json, 0);
}
