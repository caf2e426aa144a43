/* Reading values of one type, and saying what else stands there. */
#include "pipeline/private-load.h"

void *loader_allocate(struct loader *loader, size_t size) {
    void *memory = arena_allocate(loader->arena, size);
    if (!memory)
        loader->trouble.no_memory = true;
    return memory;
}

const char *loader_format(struct loader *loader, const char *format, ...) {
    OWN_BUFFER text = {0};
    va_list list;
    va_start(list, format);
    buffer_format_list(&text, format, list);
    va_end(list);
    return loader_take(loader, &text);
}

const char *loader_take(struct loader *loader, const struct buffer *text) {
    const char *copy = text->failed ? NULL : arena_copy_string(loader->arena, buffer_text(text));
    if (copy)
        return copy;
    loader->trouble.no_memory = true;
    return "";
}

const char *nearest_hint(struct loader *loader, const char *text, const char *const *candidates,
                         size_t count, const char *otherwise) {
    const char *near = text_nearest(text, candidates, count);
    return near ? loader_format(loader, "did you mean `%s`?", near) : otherwise;
}

/* `word` stands in the blank-separated `list`. */
static bool has_word(const char *list, const char *word) {
    size_t size = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += size)
        if ((at == list || at[-1] == ' ') && (!at[size] || at[size] == ' '))
            return true;
    return false;
}

#define KEYS_MAXIMUM 64

/* An unknown key: in a MedPerf file a warning, since MedPerf ignores it. */
static void report_key(struct loader *loader, const struct node *key, const char *where) {
    const char *names[KEYS_MAXIMUM];
    size_t count = 0;
    for (size_t i = 0; i < language_key_count && count < KEYS_MAXIMUM; i++)
        if (text_equal(language_keys[i].where, where))
            names[count++] = language_keys[i].name;
    const char *hint = nearest_hint(loader, key->text, names, count, NULL);
    if (loader->medperf)
        node_warning(&loader->trouble, key, hint,
                     "unknown key `%.100s` is ignored, as MedPerf does", key->text);
    else
        node_error(&loader->trouble, key, hint, "unknown key `%.100s`%s%s", key->text,
                   text_equal(where, "pipeline") ? "" : " in ",
                   text_equal(where, "pipeline") ? "" : where);
}

static const struct language_key *find_key(const char *where, const char *name) {
    for (size_t k = 0; k < language_key_count; k++)
        if (text_equal(language_keys[k].where, where) && text_equal(language_keys[k].name, name))
            return &language_keys[k];
    return NULL;
}

bool is_language_key(const char *where, const char *name) {
    return find_key(where, name);
}

void check_keys(struct loader *loader, const struct node *mapping, const char *where,
                const char *type) {
    for (size_t i = 0; i < mapping->count; i++) {
        const struct node *key = mapping->keys[i];
        const struct language_key *row = find_key(where, key->text);
        if (!row && !text_starts_with(key->text, "x-"))
            report_key(loader, key, where);
        else if (row && row->steps && type && !has_word(row->steps, type) && !loader->medperf)
            node_error(&loader->trouble, key,
                       loader_format(loader, "it belongs to steps of type: %s", row->steps),
                       "a %s step has no `%s`", type, key->text);
    }
}

bool expect_kind(struct loader *loader, const struct node *node, enum node_kind kind,
                 const char *what) {
    if (node->kind == kind)
        return true;
    const char *hint = kind == NODE_MAPPING ? "write KEY: VALUE, with a space behind the colon"
                       : kind == NODE_LIST  ? "write [ONE, TWO], or each behind a dash"
                                            : NULL;
    node_error(&loader->trouble, node, hint, "%s must be %s, not %s", what, node_kind_name(kind),
               node_kind_name(node->kind));
    return false;
}

const char *scalar_text(struct loader *loader, const struct node *node, const char *what) {
    if (node_is_scalar(node) && node->kind != NODE_NULL)
        return node->text;
    const char *hint = NULL;
    if (node->kind == NODE_MAPPING && node->count == 1)
        hint = "a text that has `: ` or starts with `{` needs quotes";
    node_error(&loader->trouble, node, hint, "%s must be a text, not %s", what,
               node_kind_name(node->kind));
    return NULL;
}

const char *key_text(struct loader *loader, const struct node *mapping, const char *key) {
    const struct node *node = node_get_value(mapping, key);
    return node ? scalar_text(loader, node, key) : NULL;
}

static bool is_word_of(const char *text, const char *const *words, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(text, words[i]) == 0)
            return true;
    return false;
}

bool node_boolean(struct loader *loader, const struct node *node, const char *what, bool fallback) {
    static const char *const yes[] = {"yes", "on", "y"}, *const no[] = {"no", "off", "n"};
    if (node->kind == NODE_BOOLEAN)
        return node->boolean;
    /* MedPerf's reader is YAML 1.1, where these are booleans. */
    if (loader->medperf && node->kind == NODE_STRING && node->plain) {
        if (is_word_of(node->text, yes, 3))
            return true;
        if (is_word_of(node->text, no, 3))
            return false;
    }
    const char *hint = NULL;
    if (node->kind == NODE_STRING && is_word_of(node->text, yes, 3))
        hint = "write true";
    else if (node->kind == NODE_STRING && is_word_of(node->text, no, 3))
        hint = "write false";
    node_error(&loader->trouble, node, hint, "%s must be true or false", what);
    return fallback;
}

bool key_boolean(struct loader *loader, const struct node *mapping, const char *key,
                 bool fallback) {
    const struct node *node = node_get_value(mapping, key);
    return node ? node_boolean(loader, node, key, fallback) : fallback;
}

/* JSON could not keep every number as it was written: see number_to_json(). */
static bool as_number(const struct node *node, struct node *ret) {
    *ret = *node;
    if (node->kind == NODE_STRING && node->source->loose)
        node_set_scalar(ret, node->text, node->text_size, true);
    return ret->kind == NODE_INTEGER || ret->kind == NODE_NUMBER;
}

bool node_integer(struct loader *loader, const struct node *node, const char *what, int64_t minimum,
                  int64_t maximum, int64_t *ret) {
    struct node value;
    if (!as_number(node, &value) || value.kind != NODE_INTEGER) {
        node_error(&loader->trouble, node, NULL, "%s must be a whole number", what);
        return false;
    }
    if (value.integer < minimum || value.integer > maximum) {
        node_error(&loader->trouble, node, NULL, "%s must be from %lld to %lld", what,
                   (long long)minimum, (long long)maximum);
        return false;
    }
    *ret = value.integer;
    return true;
}

bool node_number(struct loader *loader, const struct node *node, const char *what, double minimum,
                 double maximum, double *ret) {
    struct node value;
    if (!as_number(node, &value)) {
        node_error(&loader->trouble, node, NULL, "%s must be a number", what);
        return false;
    }
    if (!(value.number >= minimum && value.number <= maximum)) {
        node_error(&loader->trouble, node, NULL, "%s must be from %g to %g", what, minimum,
                   maximum);
        return false;
    }
    *ret = value.number;
    return true;
}

unsigned key_count(struct loader *loader, const struct node *mapping, const char *key,
                   unsigned minimum, unsigned maximum, unsigned fallback) {
    int64_t value = fallback;
    const struct node *node = node_get_value(mapping, key);
    if (node)
        node_integer(loader, node, key, minimum, maximum, &value);
    return (unsigned)value;
}

bool note_no_memory(struct loader *loader, const struct error *error) {
    bool none = !error || error->code == ERROR_MEMORY;
    loader->trouble.no_memory = loader->trouble.no_memory || none;
    return none;
}

int64_t key_duration(struct loader *loader, const struct node *mapping, const char *key,
                     int64_t fallback) {
    const struct node *node = node_get_value(mapping, key);
    const char *text = node ? scalar_text(loader, node, key) : NULL;
    if (!text)
        return fallback;
    OWN_ERROR error = NULL;
    int64_t value = 0;
    int parsed = text_parse_duration(text, &value, &error);
    if (parsed == 0 && value >= 0)
        return value;
    if (parsed < 0 && note_no_memory(loader, error))
        return fallback;
    node_error(&loader->trouble, node, "write a number and a unit: 250ms, 90s, 15m, 2h, 1d",
               "%s: `%.100s` is not a length of time", key, text);
    return fallback;
}

uint64_t key_size(struct loader *loader, const struct node *mapping, const char *key) {
    const struct node *node = node_get_value(mapping, key);
    const char *text = node ? scalar_text(loader, node, key) : NULL;
    OWN_ERROR error = NULL;
    uint64_t value = 0;
    if (text && text_parse_size(text, &value, &error) < 0 && !note_no_memory(loader, error))
        node_error(&loader->trouble, node, "write a number and a unit: 512m, 4g, 500MB, 2GiB",
                   "%s: `%.100s` is not a size", key, text);
    return value;
}

int key_word(struct loader *loader, const struct node *mapping, const char *key,
             const char *const *words, size_t count, int otherwise) {
    const struct node *node = node_get_value(mapping, key);
    const char *text = node ? scalar_text(loader, node, key) : NULL;
    if (!node)
        return otherwise;
    if (!text)
        return -1;
    OWN_BUFFER list = {0};
    for (size_t i = 0; i < count; i++) {
        if (text_equal(text, words[i]))
            return (int)i;
        buffer_format(&list, "%s%s", i ? ", " : "", words[i]);
    }
    node_error(&loader->trouble, node,
               nearest_hint(loader, text, words, count,
                            loader_format(loader, "one of: %s", buffer_text(&list))),
               "unknown %s `%.100s`", key, text);
    return -1;
}

size_t node_items(struct loader *loader, const struct node *node, const char *what,
                  struct node *const **ret_items) {
    if (node->kind == NODE_NULL)
        return 0;
    if (node->kind == NODE_LIST) {
        *ret_items = node->values;
        return node->count;
    }
    if (node->kind == NODE_MAPPING) {
        node_error(&loader->trouble, node, NULL, "%s must be a text or a list, not a mapping",
                   what);
        return 0;
    }
    struct node **one = loader_allocate(loader, sizeof(*one));
    if (!one)
        return 0;
    *one = (struct node *)node;
    *ret_items = one;
    return 1;
}

bool is_name(const char *text) {
    if (!*text || strlen(text) > NAME_MAXIMUM || *text == '-')
        return false;
    return text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")] ==
           '\0';
}
