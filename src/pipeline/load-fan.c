/* What a step fans out over: `foreach`, `partition`, and the pipeline's own `partition`. */
#include "pipeline/private-load.h"

struct fan_reader {
    struct loader *loader;
    struct draft *draft;
    const struct scope *scope;
    struct fan *fan;
};

/* Parts a pattern from the folder that it is about; NULL when there is no pattern. */
static const char *split_glob(struct loader *loader, const char *text, const char **ret_head) {
    const char *first = strpbrk(text, "*?[");
    const char *cut = NULL;
    for (const char *at = text; first && at < first; at++)
        if (*at == '/')
            cut = at;
    if (!first || !cut)
        return NULL;
    *ret_head = loader_format(loader, "%.*s", (int)(cut - text), text);
    return cut + 1;
}

static bool read_over(struct fan_reader *reader, const struct node *node, const char *text) {
    struct loader *loader = reader->loader;
    const struct node *before = reader->draft->item_use;
    if (!parse_reference(loader, reader->draft, reader->scope, node, text, &reader->fan->over))
        return false;
    reader->draft->item_use = before;
    const struct reference *over = &reader->fan->over;
    if (over->kind == REFERENCE_ITEM && over->index == reader->draft->step.index) {
        node_error(&loader->trouble, node, NULL, "foreach makes the items: it cannot list `item`");
        return false;
    }
    return true;
}

static void read_glob(struct fan_reader *reader, const struct node *node, const char *text) {
    struct loader *loader = reader->loader;
    const char *head = NULL, *glob = split_glob(loader, text, &head);
    if (!glob) {
        node_error(&loader->trouble, node, "write REFERENCE/PATTERN, as in inputs.scans/*.dcm",
                   "`%.200s` does not say where to look", text);
        return;
    }
    const char *parts = glob;
    for (; *parts; parts += strcspn(parts, "/"), parts += *parts == '/')
        if (text_equal(parts, "..") || text_starts_with(parts, "../"))
            node_error(&loader->trouble, node, NULL, "a pattern cannot contain ..");
    if (read_over(reader, node, head)) {
        reader->fan->kind = FAN_GLOB;
        reader->fan->glob = glob;
    }
}

static void read_same_as(struct fan_reader *reader, const struct node *node, const char *name) {
    struct draft *other = require_draft(reader->loader, reader->scope, node, name);
    if (!other)
        return;
    if (other == reader->draft) {
        node_error(&reader->loader->trouble, node, NULL, "step `%s` fans out over itself", name);
        return;
    }
    reader->fan->kind = FAN_STEP;
    reader->fan->over.kind = REFERENCE_STEP;
    reader->fan->over.index = other->step.index;
    reader->fan->over.name = reader->fan->over.path = "";
    reader->draft->fan_is_edge = true;
}

static void read_text(struct fan_reader *reader, const struct node *node) {
    struct loader *loader = reader->loader;
    const char *text = scalar_text(loader, node, "foreach");
    if (!text)
        return;
    if (strpbrk(text, "*?["))
        read_glob(reader, node, text);
    else if (!strchr(text, '/') && !text_starts_with(text, "inputs.") &&
             !text_starts_with(text, "params.") && !text_equal(text, "item"))
        read_same_as(reader, node, text);
    else
        node_error(&loader->trouble, node,
                   loader_format(loader,
                                 "write %s/*.dcm for its files, or {directories: %s} for its "
                                 "folders",
                                 text, text),
                   "`%.200s` does not say what to list there", text);
}

const char *const dicom_levels[] = {"patient", "study", "series", "instance"};

/* The key that says which form of fan it is. */
static const char *const forms[] = {"step", "directories", "glob",         "dicom",
                                    "csv",  "json",        "function_name"};
static const enum fan_kind form_kinds[] = {FAN_STEP, FAN_DIRECTORIES, FAN_GLOB,    FAN_DICOM,
                                           FAN_CSV,  FAN_JSON,        FAN_FUNCTION};

/* Keys that belong to one form only. */
static void check_form_keys(struct loader *loader, const struct node *node, enum fan_kind kind) {
    static const struct {
        const char *key;
        enum fan_kind first, second;
    } rows[] = {{"depth", FAN_DIRECTORIES, FAN_DIRECTORIES},
                {"match", FAN_DIRECTORIES, FAN_DIRECTORIES},
                {"by", FAN_DICOM, FAN_DICOM},
                {"key", FAN_CSV, FAN_JSON},
                {"items", FAN_JSON, FAN_JSON}};
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct node *value = node_get_value(node, rows[i].key);
        if (value && kind != rows[i].first && kind != rows[i].second)
            node_error(&loader->trouble, value, NULL, "`%s` has no meaning in this foreach",
                       rows[i].key);
    }
}

static void read_json(struct fan_reader *reader, const struct node *node) {
    const struct node *items = node_get_value(node, "items"), *key = node_get_value(node, "key");
    reader->fan->items = items ? load_jq(reader->loader, reader->scope, items, "items") : ".[]";
    reader->fan->key = key ? load_jq(reader->loader, reader->scope, key, "key") : NULL;
}

static void read_details(struct fan_reader *reader, const struct node *node, enum fan_kind kind) {
    struct loader *loader = reader->loader;
    struct fan *fan = reader->fan;
    int level = DICOM_SERIES;
    switch (kind) {
    case FAN_DIRECTORIES:
        fan->depth = key_count(loader, node, "depth", 1, 32, 1);
        fan->glob = key_text(loader, node, "match");
        break;
    case FAN_DICOM:
        level = key_word(loader, node, "by", dicom_levels, DICOM_INSTANCE + 1, DICOM_SERIES);
        fan->level = level < 0 ? DICOM_SERIES : (enum dicom_level)level;
        break;
    case FAN_CSV:
        fan->key = key_text(loader, node, "key");
        if (!fan->key)
            node_error(&loader->trouble, node, "key: COLUMN",
                       "foreach over a csv needs `key`, the column that names the partition");
        break;
    case FAN_JSON:
        read_json(reader, node);
        break;
    default:
        break;
    }
}

static void read_mapping(struct fan_reader *reader, const struct node *node) {
    struct loader *loader = reader->loader;
    const struct node *found = NULL;
    size_t form = 0, count = 0;
    check_keys(loader, node, node_get(node, "function_name") ? "partition_def" : "foreach", NULL);
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
        if (node_get_value(node, forms[i])) {
            found = node_get_value(node, forms[i]);
            form = i;
            count++;
        }
    if (count != 1) {
        node_error(&loader->trouble, node, "one of: step, directories, glob, dicom, csv, json",
                   count ? "foreach lists one thing, not several"
                         : "foreach does not say what to list");
        return;
    }
    const char *text = scalar_text(loader, found, forms[form]);
    enum fan_kind kind = form_kinds[form];
    check_form_keys(loader, node, kind);
    reader->fan->allow_empty = key_boolean(loader, node, "allow_empty", false);
    if (!text)
        return;
    read_details(reader, node, kind);
    if (kind == FAN_STEP) {
        read_same_as(reader, found, text);
    } else if (kind == FAN_GLOB) {
        read_glob(reader, found, text);
    } else if (kind == FAN_FUNCTION) {
        reader->fan->kind = FAN_FUNCTION;
        reader->fan->function = text;
        keep_module(loader, found, text);
    } else if (read_over(reader, found, text)) {
        reader->fan->kind = kind;
    }
}

void parse_fan(struct loader *loader, struct draft *draft, const struct scope *scope,
               const struct node *node, struct fan *fan) {
    struct fan_reader reader = {loader, draft, scope, fan};
    draft->fan_node = node;
    if (node->kind == NODE_MAPPING)
        read_mapping(&reader, node);
    else
        read_text(&reader, node);
}

static void share_partition(struct loader *loader, struct draft *draft, const struct node *node) {
    draft->shares_partition = true;
    draft->fan_node = node;
    struct scope *scope = draft->scope;
    if (scope->partition && !scope->fan_read) {
        /* Read as if by a step of its own: what it names is the pipeline's, not this step's. */
        struct draft *reader = loader_allocate(loader, sizeof(*reader));
        scope->fan_read = true;
        if (!reader)
            return;
        reader->scope = scope;
        reader->step.index = SIZE_MAX;
        reader->step.id = "partition";
        parse_fan(loader, reader, scope, scope->partition, &scope->fan);
    }
    if (scope->partition)
        return;
    if (loader->medperf)
        node_error(&loader->trouble, node, "partition_def: {function_name: MODULE.FUNCTION}",
                   "a step with `partition: true` needs the pipeline's `partition_def`");
    else
        node_error(&loader->trouble, node, "partition: {directories: inputs.NAME}, beside `steps`",
                   "`partition: true` needs a `partition` of the whole pipeline");
}

void load_fan(struct loader *loader, struct draft *draft) {
    const struct node *foreach = node_get_value(draft->node, "foreach");
    const struct node *partition = node_get_value(draft->node, "partition");
    const struct node *old = node_get_value(draft->node, "per_subject");
    if (!partition)
        partition = old;
    bool is_word = partition && partition->kind != NODE_MAPPING &&
                   (loader->medperf || partition->kind == NODE_BOOLEAN || partition == old);
    if (is_word && !node_boolean(loader, partition, "partition", false))
        partition = NULL;
    if (foreach && partition) {
        node_error(&loader->trouble, partition, NULL,
                   "a step has `foreach` or `partition`, not both");
        return;
    }
    if (foreach)
        parse_fan(loader, draft, draft->scope, foreach, &draft->step.fan);
    else if (partition && is_word)
        share_partition(loader, draft, partition);
    else if (partition)
        parse_fan(loader, draft, draft->scope, partition, &draft->step.fan);
    /* Steps of a sub-pipeline take part in the fan of its call; see axis.c. */
}
