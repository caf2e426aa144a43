/*
 * YAML -> nodes, from libfyaml's events. Aliases and merge keys are expanded here: libfyaml
 * 0.7.12's own resolver refuses a merge of an alias to a list, which MedPerf's files use. An
 * alias shares the anchored node; since it can only name a node that is complete, there is no
 * loop, and weights (nodes with aliases written out) bound what a bomb can expand to.
 */
#include "pipeline/private-node.h"

#include <libfyaml.h>

#define TOO_DEEP_HINT "is a [ or { not closed? no pipeline needs so many"

struct anchor {
    const char *name;
    struct node *node;
    bool complete;
};

/* A list or mapping that is being filled. */
struct level {
    struct node *node;
    struct node **items; /* lists: values; mappings: key, value, key, value… */
    size_t count, capacity;
    size_t anchor; /* index + 1 of its anchor; 0: none */
};

struct reader {
    struct arena *arena;
    const struct source *source;
    struct trouble *trouble;
    struct fy_parser *parser;
    struct anchor *anchors;
    size_t anchor_count, anchor_capacity;
    struct level levels[NODE_MAXIMUM_DEPTH];
    size_t depth;
    size_t nodes;
    size_t skipped; /* bytes of a byte order mark */
    struct node *root;
    unsigned documents;
    bool failed;
};

static void fail(struct reader *reader, unsigned line, unsigned column, const char *hint,
                 const char *format, ...) PRINTF_LIKE(5, 6);
static void fail(struct reader *reader, unsigned line, unsigned column, const char *hint,
                 const char *format, ...) {
    char message[512];
    va_list list;
    va_start(list, format);
    vsnprintf(message, sizeof(message), format, list);
    va_end(list);
    reader->failed = true;
    trouble_add(reader->trouble, SEVERITY_ERROR, reader->source, line, column, hint, "%s", message);
}

static void no_memory(struct reader *reader) {
    reader->failed = true;
    reader->trouble->no_memory = true;
}

static struct node *new_node(struct reader *reader, struct fy_event *event, enum node_kind kind) {
    struct node *node = node_new(reader->arena, NULL, kind);
    if (!node) {
        no_memory(reader);
        return NULL;
    }
    const struct fy_mark *mark = fy_event_start_mark(event);
    node->source = reader->source;
    node->line = mark ? (unsigned)mark->line + 1 : 1;
    node->column = mark ? (unsigned)mark->column + 1 : 1;
    node->offset = (mark ? mark->input_pos : 0) + reader->skipped;
    if (++reader->nodes > NODE_MAXIMUM_WEIGHT)
        fail(reader, node->line, node->column, NULL, "the document has more than %d values",
             NODE_MAXIMUM_WEIGHT);
    return node;
}

static char *token_text(struct reader *reader, struct fy_token *token, size_t *ret_size) {
    size_t size = 0;
    const char *text = token ? fy_token_get_text(token, &size) : "";
    char *copy = text ? arena_copy_bytes(reader->arena, text, size) : NULL;
    if (!copy)
        no_memory(reader);
    else if (ret_size)
        *ret_size = size;
    return copy;
}

/* Remembers the event's anchor. Returns its index + 1, or 0. */
static size_t add_anchor(struct reader *reader, struct fy_event *event, struct node *node,
                         bool complete) {
    struct fy_token *token = fy_event_get_anchor_token(event);
    if (!token)
        return 0;
    char *name = token_text(reader, token, NULL);
    if (!name)
        return 0;
    if (array_reserve(&reader->anchors, &reader->anchor_capacity, reader->anchor_count,
                      sizeof(*reader->anchors), NODE_MAXIMUM_WEIGHT, NULL) < 0) {
        no_memory(reader);
        return 0;
    }
    reader->anchors[reader->anchor_count++] = (struct anchor){name, node, complete};
    return reader->anchor_count;
}

static void insert(struct reader *reader, struct node *node) {
    if (!reader->depth) {
        reader->root = node;
        return;
    }
    struct level *level = &reader->levels[reader->depth - 1];
    if (array_reserve(&level->items, &level->capacity, level->count, sizeof(*level->items),
                      2 * NODE_MAXIMUM_WEIGHT, NULL) < 0) {
        no_memory(reader);
        return;
    }
    if (level->node->kind == NODE_MAPPING && level->count % 2 == 0 && !node_is_scalar(node)) {
        fail(reader, node->line, node->column, "a [ or { at this place needs quotes",
             "a key must be a single word or text, not %s", node_kind_name(node->kind));
        return;
    }
    level->items[level->count++] = node;
}

static void on_alias(struct reader *reader, struct fy_event *event) {
    OWN_BUFFER hint = {0};
    const struct fy_mark *mark = fy_event_start_mark(event);
    unsigned line = mark ? (unsigned)mark->line + 1 : 1;
    unsigned column = mark ? (unsigned)mark->column + 1 : 1;
    char *name = token_text(reader, event->alias.anchor, NULL);
    if (!name)
        return;
    OWN_MEMORY(const char *) names = memory_array(reader->anchor_count, sizeof(*names));
    for (size_t i = reader->anchor_count; i-- > 0;) {
        const struct anchor *anchor = &reader->anchors[i];
        if (names)
            names[i] = anchor->name;
        if (!text_equal(anchor->name, name))
            continue;
        if (!anchor->complete) {
            fail(reader, line, column, "move the anchor, or write out what is meant",
                 "*%s refers to itself: it stands inside &%s", name, name);
            return;
        }
        anchor->node->aliased = true;
        insert(reader, anchor->node);
        return;
    }
    const char *near = names ? text_nearest(name, names, reader->anchor_count) : NULL;
    if (near)
        buffer_format(&hint, "did you mean *%s?", near);
    fail(reader, line, column, near ? buffer_text(&hint) : NULL,
         "*%s: no anchor &%s stands before it", name, name);
}

/* A tag of another program (`!env HOME`) would be dropped in silence, and its value with it. */
static void check_tag(struct reader *reader, struct fy_token *token, const struct node *node) {
    static const char prefix[] = "tag:yaml.org,2002:";
    static const char *const known[] = {"str",  "int", "float", "bool",
                                        "null", "map", "seq",   "timestamp"};
    OWN_STRING tag = NULL;
    size_t size = 0;
    const char *text = token ? fy_token_get_text(token, &size) : NULL;
    if (!text || (size == 1 && *text == '!'))
        return;
    tag = memory_copy_bytes(text, size);
    for (size_t i = 0; tag && i < ARRAY_SIZE(known); i++)
        if (text_starts_with(tag, prefix) && text_equal(tag + strlen(prefix), known[i]))
            return;
    if (!tag)
        no_memory(reader);
    else
        fail(reader, node->line, node->column, "remove it; a text that begins with ! needs quotes",
             "the tag `%.100s` has no meaning here", tag);
}

static void on_scalar(struct reader *reader, struct fy_event *event) {
    struct node *node = new_node(reader, event, NODE_STRING);
    size_t size = 0;
    char *text = node ? token_text(reader, event->scalar.value, &size) : NULL;
    if (!text)
        return;
    check_tag(reader, event->scalar.tag, node);
    if (!text_is_utf8(text, size) || memchr(text, '\0', size))
        fail(reader, node->line, node->column, "remove the \\0 or other escape from it",
             "the text is not valid UTF-8 without NUL");
    bool plain = !event->scalar.value || fy_token_scalar_style(event->scalar.value) == FYSS_PLAIN;
    size_t tag_size = 0;
    const char *tag = event->scalar.tag ? fy_token_get_text(event->scalar.tag, &tag_size) : NULL;
    if (tag && ((tag_size == 1 && *tag == '!') ||
                (tag_size >= 4 && memcmp(tag + tag_size - 4, ":str", 4) == 0)))
        plain = false; /* "!!str 1" is a text */
    node_set_scalar(node, text, size, plain);
    add_anchor(reader, event, node, true);
    insert(reader, node);
}

static void on_start(struct reader *reader, struct fy_event *event, enum node_kind kind) {
    struct node *node = new_node(reader, event, kind);
    if (!node)
        return;
    check_tag(reader, kind == NODE_LIST ? event->sequence_start.tag : event->mapping_start.tag,
              node);
    if (reader->depth == NODE_MAXIMUM_DEPTH) {
        fail(reader, node->line, node->column, TOO_DEEP_HINT, "nested more than %d levels deep",
             NODE_MAXIMUM_DEPTH);
        return;
    }
    struct level *level = &reader->levels[reader->depth];
    level->node = node;
    level->count = 0;
    level->anchor = add_anchor(reader, event, node, false);
    reader->depth++;
}

/* True when the mapping, of which `count` pairs stand, already has the key. */
static struct node *find_key(const struct node *mapping, const char *key) {
    for (size_t i = 0; i < mapping->count; i++)
        if (text_equal(mapping->keys[i]->text, key))
            return mapping->keys[i];
    return NULL;
}

static void merge_mapping(struct reader *reader, struct node *into, const struct node *from) {
    for (size_t i = 0; i < from->count; i++)
        if (!find_key(into, from->keys[i]->text)) {
            into->keys[into->count] = from->keys[i];
            into->values[into->count++] = from->values[i];
        }
}

/* Merged keys never override those written out; of several mappings, the first wins. */
static void merge(struct reader *reader, struct node *into, struct node *from,
                  const struct node *key) {
    if (from->kind == NODE_MAPPING) {
        merge_mapping(reader, into, from);
        return;
    }
    for (size_t i = 0; from->kind == NODE_LIST && i < from->count; i++) {
        if (from->values[i]->kind != NODE_MAPPING)
            fail(reader, key->line, key->column, NULL,
                 "`<<` merges mappings, but number %zu of the list is %s", i + 1,
                 node_kind_name(from->values[i]->kind));
        else
            merge_mapping(reader, into, from->values[i]);
    }
    if (from->kind != NODE_LIST)
        fail(reader, key->line, key->column, "write `<<: *ANCHOR` or `<<: [*ONE, *TWO]`",
             "`<<` merges a mapping or a list of mappings, not %s", node_kind_name(from->kind));
}

static bool is_merge_key(const struct node *key) {
    return key->plain && text_equal(key->text, "<<");
}

static size_t merged_count(const struct node *value) {
    size_t count = value->kind == NODE_MAPPING ? value->count : 0;
    for (size_t i = 0; value->kind == NODE_LIST && i < value->count; i++)
        count += value->values[i]->kind == NODE_MAPPING ? value->values[i]->count : 0;
    return count;
}

/* Room for `count` keys and values. */
static bool reserve_pairs(struct reader *reader, struct node *node, size_t count) {
    reader->nodes += count; /* a bomb of merges is bounded like any other */
    if (reader->nodes > 4 * (size_t)NODE_MAXIMUM_WEIGHT) {
        fail(reader, node->line, node->column, NULL, "merges expand to too many values");
        return false;
    }
    node->keys = arena_allocate(reader->arena, count * sizeof(struct node *));
    node->values = arena_allocate(reader->arena, count * sizeof(struct node *));
    if (node->keys && node->values)
        return true;
    no_memory(reader);
    return false;
}

/* Keys are found by looking through all of them: this keeps that cheap. */
#define MAPPING_MAXIMUM 1000

static void finish_mapping(struct reader *reader, struct level *level) {
    struct node *node = level->node;
    size_t count = level->count / 2;
    for (size_t i = 0; i < level->count / 2; i++)
        if (is_merge_key(level->items[2 * i]))
            count += merged_count(level->items[2 * i + 1]);
    if (count > MAPPING_MAXIMUM) {
        fail(reader, node->line, node->column, NULL, "a mapping with more than %d keys",
             MAPPING_MAXIMUM);
        return;
    }
    if (!reserve_pairs(reader, node, count))
        return;
    for (size_t i = 0; i < level->count / 2; i++) {
        struct node *key = level->items[2 * i];
        if (is_merge_key(key))
            continue;
        struct node *before = find_key(node, key->text);
        if (before) {
            fail(reader, key->line, key->column, "remove one of the two",
                 "the key `%.100s` stands here for the second time, first in line %u", key->text,
                 before->line);
            continue;
        }
        node->keys[node->count] = key;
        node->values[node->count++] = level->items[2 * i + 1];
    }
    for (size_t i = 0; i < level->count / 2; i++)
        if (is_merge_key(level->items[2 * i]))
            merge(reader, node, level->items[2 * i + 1], level->items[2 * i]);
}

static void finish_list(struct reader *reader, struct level *level) {
    struct node *node = level->node;
    node->values = arena_allocate(reader->arena, level->count * sizeof(struct node *));
    if (!node->values) {
        no_memory(reader);
        return;
    }
    if (level->count)
        memcpy(node->values, level->items, level->count * sizeof(struct node *));
    node->count = level->count;
}

static void on_end(struct reader *reader) {
    struct level *level = &reader->levels[--reader->depth];
    struct node *node = level->node;
    if (node->kind == NODE_MAPPING)
        finish_mapping(reader, level);
    else
        finish_list(reader, level);
    for (size_t i = 0; i < node->count; i++)
        node->weight += node->values[i]->weight + (node->kind == NODE_MAPPING);
    if (node->weight > NODE_MAXIMUM_WEIGHT)
        fail(reader, node->line, node->column, "an anchor that repeats anchors grows fast",
             "with its aliases written out, this has more than %d values", NODE_MAXIMUM_WEIGHT);
    if (level->anchor)
        reader->anchors[level->anchor - 1].complete = true;
    if (!reader->failed)
        insert(reader, node);
}

static void on_event(struct reader *reader, struct fy_event *event) {
    switch (event->type) {
    case FYET_DOCUMENT_START:
        if (reader->documents++ == 1) {
            const struct fy_mark *mark = fy_event_start_mark(event);
            fail(reader, mark ? (unsigned)mark->line + 1 : 0, 1, "keep one pipeline a file",
                 "a second document starts here");
        }
        break;
    case FYET_MAPPING_START:
        on_start(reader, event, NODE_MAPPING);
        break;
    case FYET_SEQUENCE_START:
        on_start(reader, event, NODE_LIST);
        break;
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END:
        on_end(reader);
        break;
    case FYET_SCALAR:
        on_scalar(reader, event);
        break;
    case FYET_ALIAS:
        on_alias(reader, event);
        break;
    default:
        break;
    }
}

/* What usually is the matter when libfyaml says so. */
static const char *parser_hint(const char *message) {
    static const struct {
        const char *part, *hint;
    } hints[] = {
        {"tab character", "indent with spaces"},
        {"quoted scalar", "a quote is not closed, or needs a \\ before it"},
        {"escape", "write \\\\ for a backslash, or use single quotes"},
        {"cannot start with", "put the text in quotes"},
        {"nested block mapping on the same line", "put the text in quotes: it holds a colon"},
        {"multiline plain key", "between a key and its value stand a colon and a space"},
        {"closing bracket", "a [ or { is not closed"},
        {"missing comma", "a [ or { before this is not closed, or a comma is missing"},
        {"expected node content", "there is a comma or a bracket too many"},
        {"block", "indent the line like those that it belongs to"},
        {"expected", "indent the line like those that it belongs to"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(hints); i++)
        if (strstr(message, hints[i].part))
            return hints[i].hint;
    return "look at the indentation, the quotes and the brackets before this";
}

/* libfyaml's own words, at its own places. */
static void report_parser_errors(struct reader *reader, struct fy_diag *diag) {
    void *iterator = NULL;
    struct fy_diag_error *error;
    bool said = false;
    while ((error = fy_diag_errors_iterate(diag, &iterator))) {
        if (said || !error->msg)
            continue; /* what follows the first is noise */
        said = true;
        unsigned line = error->line > 0 ? (unsigned)error->line : 0;
        unsigned column = error->column > 0 ? (unsigned)error->column : 0;
        fail(reader, line, line ? column : 0, parser_hint(error->msg), "not valid YAML: %s",
             error->msg);
    }
    if (!said)
        fail(reader, 0, 0, "look at the digits behind | and >, and at lines that begin with %",
             "not valid YAML");
}

static void parse_events(struct reader *reader, struct fy_diag *diag) {
    struct fy_event *event;
    while (!reader->failed && (event = fy_parser_parse(reader->parser))) {
        on_event(reader, event);
        fy_parser_event_free(reader->parser, event);
    }
    if (!reader->failed && fy_parser_get_stream_error(reader->parser))
        report_parser_errors(reader, diag);
}

static void parse(struct reader *reader, const char *text, size_t size) {
    struct fy_diag_cfg diag_options = {.level = FYET_ERROR, .module_mask = ~0u};
    struct fy_diag *diag = fy_diag_create(&diag_options);
    if (!diag) {
        no_memory(reader);
        return;
    }
    fy_diag_set_collect_errors(diag, true);
    struct fy_parse_cfg options = {.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG |
                                            FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE |
                                            FYPCF_DISABLE_RECYCLING,
                                   .diag = diag};
    reader->parser = fy_parser_create(&options);
    if (reader->parser && fy_parser_set_string(reader->parser, text, size) == 0)
        parse_events(reader, diag);
    else
        no_memory(reader);
    fy_parser_destroy(reader->parser);
    fy_diag_destroy(diag);
}

/* libfyaml scans a nested flow collection whole before its first event, at hundreds of bytes for
 * each bracket: what is nested absurdly is refused before it comes to that. Brackets in texts are
 * counted too, which is why the bound is far above NODE_MAXIMUM_DEPTH. */
#define BRACKETS_MAXIMUM 2000

/* Control characters are not YAML, but libfyaml takes them, and ends at a zero byte in silence. */
static bool check_characters(struct reader *reader, const char *text, size_t size) {
    size_t depth = 0;
    unsigned line = 1;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        line += c == '\n';
        if (((unsigned char)c < 0x20 && !strchr("\t\r\n", c)) || c == 0x7f || c == '\0') {
            fail(reader, line, 1, "remove it, or write it as an escape between double quotes",
                 "the line holds a control character, \\x%02x", (unsigned char)c);
            return false;
        }
        if (c == '[' || c == '{')
            depth++;
        else if ((c == ']' || c == '}') && depth)
            depth--;
        if (depth > BRACKETS_MAXIMUM) {
            fail(reader, line, 1, TOO_DEEP_HINT, "nested more than %d levels deep",
                 NODE_MAXIMUM_DEPTH);
            return false;
        }
    }
    return true;
}

struct node *yaml_parse(struct arena *arena, const struct source *source, struct trouble *trouble) {
    OWN_MEMORY(struct reader) reader = memory_allocate(sizeof(*reader));
    if (!reader) {
        trouble->no_memory = true;
        return NULL;
    }
    reader->arena = arena;
    reader->source = source;
    reader->trouble = trouble;
    const char *text = source->text;
    size_t size = source->size;
    if (size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) { /* Windows' byte order mark */
        text += 3;
        size -= 3;
        reader->skipped = 3;
    }
    if (size > YAML_MAXIMUM_SIZE)
        fail(reader, 0, 0, NULL, "the file is larger than %zu MiB", YAML_MAXIMUM_SIZE >> 20);
    else if (!text_is_utf8(text, size))
        fail(reader, 0, 0, "save it as UTF-8", "the file is not text in UTF-8");
    else if (size && check_characters(reader, text, size))
        parse(reader, text, size);
    if (!reader->failed && !reader->root)
        fail(reader, 0, 0, "the least: steps: [{id: hello, command: echo hello}]",
             "the file is empty");
    for (size_t i = 0; i < NODE_MAXIMUM_DEPTH; i++)
        memory_free(reader->levels[i].items);
    memory_free(reader->anchors);
    return reader->failed || trouble->no_memory ? NULL : reader->root;
}
