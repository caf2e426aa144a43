/*
 * The node tree: YAML (or JSON) as values with positions. Aliases and merges are already expanded
 * in it, so that the rest of the room never hears of them. An anchored node may have several
 * parents; nodes are never changed once the tree stands.
 */
#ifndef GLOVEBOX_PIPELINE_NODE_H
#define GLOVEBOX_PIPELINE_NODE_H

#include "pipeline/pipeline.h"

/* One file. Lives in the arena. */
struct source {
    const char *path;
    const char *text; /* NULL for a tree made from JSON */
    size_t size;
    bool loose; /* made from JSON, where a number that JSON cannot keep is a string */
};

enum node_kind {
    NODE_NULL,
    NODE_BOOLEAN,
    NODE_INTEGER,
    NODE_NUMBER,
    NODE_STRING,
    NODE_LIST,
    NODE_MAPPING
};

struct node {
    enum node_kind kind;
    bool boolean;
    bool aliased; /* an alias or a merge refers to it */
    bool plain;   /* a scalar without quotes */
    unsigned line, column;
    size_t offset; /* in the source's text, in bytes */
    const struct source *source;
    const char *text; /* scalars: as written. NULL otherwise */
    size_t text_size;
    int64_t integer;
    double number;        /* of integers too */
    struct node **keys;   /* mappings: scalars, one for each value */
    struct node **values; /* lists and mappings */
    size_t count;
    size_t weight; /* nodes below and including this one, with aliases written out */
};

#define NODE_MAXIMUM_DEPTH  64
#define NODE_MAXIMUM_WEIGHT 500000 /* nodes of a document with all aliases written out */
#define YAML_MAXIMUM_SIZE   ((size_t)8 << 20)

/* What went wrong while reading: mistakes of the file go to `diagnostics`, broken promises of the
 * machine (no memory) to the flag. */
struct trouble {
    struct diagnostics *diagnostics;
    bool no_memory;
};
void trouble_add(struct trouble *trouble, enum severity severity, const struct source *source,
                 unsigned line, unsigned column, const char *hint, const char *format, ...)
    PRINTF_LIKE(7, 8);
/* At a node. */
void node_error(struct trouble *trouble, const struct node *node, const char *hint,
                const char *format, ...) PRINTF_LIKE(4, 5);
void node_warning(struct trouble *trouble, const struct node *node, const char *hint,
                  const char *format, ...) PRINTF_LIKE(4, 5);

const char *node_kind_name(enum node_kind kind); /* "a list" */
static inline bool node_is_scalar(const struct node *node) {
    return node->kind < NODE_LIST;
}
/* Value of a key, or NULL when it is absent (a key with a null value gives a NODE_NULL). */
struct node *node_get(const struct node *mapping, const char *key);
/* The same, NULL also when the value is null. */
struct node *node_get_value(const struct node *mapping, const char *key);
/* The scalar for a plain or quoted text; types plain ones by the core schema of YAML 1.2. */
void node_set_scalar(struct node *node, const char *text, size_t size, bool plain);
struct node *node_new(struct arena *arena, const struct node *place, enum node_kind kind);
struct node *node_new_string(struct arena *arena, const struct node *place, const char *text);
/* A mapping with `key` set (or replaced) to `value`; the given one is not changed. */
struct node *node_with(struct arena *arena, const struct node *mapping, const char *key,
                       struct node *value);
json_t *node_to_json(const struct node *node) MUST_CHECK;
struct node *node_from_json(struct arena *arena, const struct source *source, const json_t *json);

/* Reads YAML. NULL when there were mistakes. */
struct node *yaml_parse(struct arena *arena, const struct source *source, struct trouble *trouble);

#endif
