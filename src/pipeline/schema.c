/* JSON Schema (2020-12) of the language, made from the language's table. */
#include "pipeline/pipeline.h"

#include <ctype.h>

#define WORD_MAXIMUM 400

static json_t *type_schema(const char *type);

/* Appends and frees; -1 when either is missing. */
static int append(json_t *list, json_t *item) {
    return item ? json_array_append_new(list, item) : -1;
}

static json_t *enumeration(const char *words) {
    OWN_JSON list = json_array();
    while (list && *words) {
        size_t size = strcspn(words, "|");
        if (append(list, json_stringn(words, size)) < 0)
            return NULL;
        words += size + (words[size] == '|');
    }
    return list ? json_pack("{s:O}", "enum", list) : NULL;
}

static json_t *reference(const char *name) {
    char path[WORD_MAXIMUM + 16];
    snprintf(path, sizeof(path), "#/$defs/%c%s", tolower((unsigned char)*name), name + 1);
    return json_pack("{s:s}", "$ref", path);
}

static json_t *simple(const char *type) {
    static const char *const texts[] = {"text", "template", "jq", "path", "name", "reference"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (text_equal(type, texts[i])) /* YAML's 1.0 and true are texts too where one is asked */
            return json_pack("{s:[s, s, s]}", "type", "string", "number", "boolean");
    if (text_equal(type, "any"))
        return json_object();
    if (text_equal(type, "duration"))
        return json_pack("{s:[s, s], s:s}", "type", "string", "number", "pattern",
                         "^[0-9]+(\\.[0-9]+)?(ms|s|m|h|d)?$");
    if (text_equal(type, "size"))
        return json_pack("{s:[s, s], s:s}", "type", "string", "number", "pattern",
                         "^[0-9]+(\\.[0-9]+)? ?([kKmMgGtT]i?)?[bB]?$");
    return json_pack("{s:s}", "type", type); /* integer, number, boolean, null */
}

/* {anyOf: […]} of the parts of `text` between `separator`; the part alone when it is one. */
static json_t *alternatives(const char *text, const char *separator, bool and_null) {
    OWN_JSON list = json_array();
    while (list && *text) {
        const char *end = strstr(text, separator);
        size_t size = end ? (size_t)(end - text) : strlen(text);
        OWN_STRING part = memory_copy_bytes(text, size);
        if (!part || append(list, type_schema(part)) < 0)
            return NULL;
        text += size + (end ? strlen(separator) : 0);
    }
    if (list && and_null && append(list, simple("null")) < 0)
        return NULL;
    if (json_array_size(list) == 1)
        return json_incref(json_array_get(list, 0));
    return list ? json_pack("{s:O}", "anyOf", list) : NULL;
}

static json_t *type_schema(const char *type) {
    if (strstr(type, " or "))
        return alternatives(type, " or ", false);
    if (text_starts_with(type, "one of "))
        return enumeration(type + strlen("one of "));
    if (text_starts_with(type, "list of "))
        return json_pack("{s:s, s:o}", "type", "array", "items",
                         type_schema(type + strlen("list of ")));
    if (text_starts_with(type, "mapping of "))
        return json_pack("{s:s, s:o}", "type", "object", "additionalProperties",
                         alternatives(type + strlen("mapping of "), "/", true));
    return isupper((unsigned char)*type) ? reference(type) : simple(type);
}

/* Keys that a mapping cannot do without. */
static const char *const required[][2] = {
    {"pipeline", "steps"},    {"step", "id"},     {"condition", "id"},
    {"volume", "mount_path"}, {"from", "step"},   {"from", "mount"},
    {"if", "target"},         {"mount", "path"},  {"on_failure", "run"},
    {"next", "if"},           {"output", "from"}, {"partition_def", "function_name"}};

static json_t *required_keys(const char *where) {
    OWN_JSON list = json_array();
    for (size_t i = 0; list && i < ARRAY_SIZE(required); i++)
        if (text_equal(required[i][0], where) && append(list, json_string(required[i][1])) < 0)
            return NULL;
    return take(&list);
}

/* A step says what it is by its type or by what it has. */
static int add_kinds(json_t *schema) {
    return json_object_set_new(schema, "anyOf",
                               json_pack("[{s:[s]}, {s:[s]}, {s:[s]}, {s:[s]}, {s:[s]}]",
                                         "required", "type", "required", "tool", "required",
                                         "image", "required", "command", "required", "pipeline"));
}

static json_t *mapping_schema(const char *where) {
    OWN_JSON properties = json_object();
    for (size_t i = 0; properties && i < language_key_count; i++) {
        const struct language_key *key = &language_keys[i];
        if (!text_equal(key->where, where))
            continue;
        json_t *schema = type_schema(key->type);
        if (!schema || json_object_set_new(schema, "description", json_string(key->help)) < 0 ||
            json_object_set_new(properties, key->name, schema) < 0)
            return NULL;
    }
    /* x-… is free everywhere; base_… holds anchors in MedPerf's files. */
    const char *free_keys = text_equal(where, "pipeline") ? "^(x-|base_)" : "^x-";
    OWN_JSON schema = json_pack("{s:s, s:O, s:{s:{}}, s:b, s:o}", "type", "object", "properties",
                                properties, "patternProperties", free_keys, "additionalProperties",
                                0, "required", required_keys(where));
    if (schema && text_equal(where, "step") && add_kinds(schema) < 0)
        return NULL;
    return take(&schema);
}

json_t *pipeline_schema(struct error **err) {
    OWN_JSON definitions = json_object();
    for (size_t i = 0; definitions && i < language_key_count; i++) {
        const char *where = language_keys[i].where;
        if (!json_object_get(definitions, where) &&
            json_object_set_new(definitions, where, mapping_schema(where)) < 0) {
            error_set_memory(err);
            return NULL;
        }
    }
    json_t *schema = definitions ? json_pack("{s:s, s:s, s:s, s:O}", "$schema",
                                             "https://json-schema.org/draft/2020-12/schema",
                                             "title", "Glovebox pipeline", "$ref",
                                             "#/$defs/pipeline", "$defs", definitions)
                                 : NULL;
    if (!schema)
        error_set_memory(err);
    return schema;
}
