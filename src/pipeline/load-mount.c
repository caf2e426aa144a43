/* Mounts at fixed places: MedPerf's mapping of volumes, or our own list. */
#include "pipeline/private-load.h"

/* ------------------------------------------------------------ MedPerf's mapping */

#define CHAIN_MAXIMUM 64

/* The name of the pipeline's input that a volume is in the end: a `from` leads to a volume of
 * another step, and from there perhaps further. NULL when it was reported. */
static const char *volume_root(struct loader *loader, const struct scope *scope,
                               const struct node *volume, const char *name, unsigned depth) {
    const struct node *from = node_get_value(volume, "from");
    if (!from)
        return name;
    if (!expect_kind(loader, from, NODE_MAPPING, "from"))
        return NULL;
    check_keys(loader, from, "from", NULL);
    const char *step = key_text(loader, from, "step"), *mount = key_text(loader, from, "mount");
    if (!step || !mount) {
        node_error(&loader->trouble, from, "from: {step: STEP, mount: NAME}",
                   "`from` needs `step` and `mount`");
        return NULL;
    }
    if (depth > CHAIN_MAXIMUM) {
        node_error(&loader->trouble, from, NULL, "the volumes refer to each other in a circle");
        return NULL;
    }
    const struct draft *other = require_draft(loader, scope, node_get_value(from, "step"), step);
    if (!other)
        return NULL;
    const struct node *mounts = node_get_value(other->node, "mounts");
    const struct node *found = node_get_value(node_get_value(mounts, "output_volumes"), mount);
    if (!found)
        found = node_get_value(node_get_value(mounts, "input_volumes"), mount);
    if (found && found->kind == NODE_MAPPING)
        return volume_root(loader, scope, found, mount, depth + 1);
    const struct node *outputs = node_get_value(mounts, "output_volumes");
    const char *names[32];
    size_t count = 0;
    for (size_t i = 0; outputs && outputs->kind == NODE_MAPPING && i < outputs->count; i++)
        if (count < ARRAY_SIZE(names))
            names[count++] = outputs->keys[i]->text;
    node_error(&loader->trouble, node_get_value(from, "mount"),
               nearest_hint(loader, mount, names, count, NULL), "step `%s` has no volume `%.100s`",
               step, mount);
    return NULL;
}

static const char *mount_target(struct loader *loader, const struct node *node, const char *key) {
    const struct node *value = node_get_value(node, key);
    const char *path = value ? scalar_text(loader, value, key) : NULL;
    if (!value)
        node_error(&loader->trouble, node, NULL, "a mount needs `%s`", key);
    else if (path && (*path != '/' || !path[1] || strstr(path, "/../") ||
                      text_ends_with(path, "/..") || strstr(path, "${")))
        node_error(&loader->trouble, value, NULL, "`%.200s` is not an absolute path in the box",
                   path);
    else
        return path;
    return NULL;
}

static bool is_file_type(struct loader *loader, const struct node *node) {
    static const char *const types[] = {"file", "directory"};
    return key_word(loader, node, "type", types, 2, 1) == 0;
}

/* MedPerf's rule: inputs are read-only in a first step only, since later steps work on what the
 * earlier ones wrote. Here the data that the site brought stay read-only everywhere; they are the
 * volumes that no step has for its output. */
static bool is_brought(const struct loader *loader, const struct step_mount *mount) {
    return !mount->is_output && !loader->inputs[mount->from.index].writable;
}

/* MedPerf knows no other; a misspelt output would be a folder that nobody looks into. */
static void check_volume_name(struct loader *loader, const struct node *key) {
    static const char *const names[] = {
        "data_path",       "output_path",      "labels_path",   "output_labels_path",
        "statistics_file", "additional_files", "metadata_path", "parameters_file",
        "report_file",     "predictions",      "labels",        "local_outputs_path"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (text_equal(names[i], key->text))
            return;
    if (loader->medperf)
        node_warning(&loader->trouble, key,
                     nearest_hint(loader, key->text, names, ARRAY_SIZE(names),
                                  "a volume of another step needs `from`"),
                     "MedPerf has no volume `%.100s`", key->text);
}

static void add_volume(struct loader *loader, struct draft *draft, const struct node *key,
                       const struct node *volume, bool is_output, struct step_mount *mount) {
    if (!expect_kind(loader, volume, NODE_MAPPING, "a volume"))
        return;
    check_keys(loader, volume, "volume", NULL);
    if (!node_get_value(volume, "from"))
        check_volume_name(loader, key);
    const char *root = volume_root(loader, draft->scope, volume, key->text, 0);
    mount->name = key->text;
    mount->target = mount_target(loader, volume, "mount_path");
    mount->is_file = is_file_type(loader, volume);
    mount->is_output = is_output;
    mount->from.kind = REFERENCE_INPUT;
    mount->from.name = mount->from.path = "";
    bool known = root && find_input(loader, draft->scope, root, &mount->from.index);
    mount->writable = key_boolean(loader, volume, "writable", known && !is_brought(loader, mount));
    if (root && !known)
        node_error(&loader->trouble, key, NULL, "no input is called `%.100s`", root);
    if (known && mount->target)
        draft->step.mount_count++;
}

/* The same folder at the same place once: as an output, it is writable already. */
static void drop_double(struct loader *loader, struct draft *draft, size_t at,
                        const struct node *place) {
    const struct step_mount *list = draft->step.mounts;
    for (size_t k = 0; k < at && draft->step.mount_count > at; k++) {
        if (!text_equal(list[k].target, list[at].target))
            continue;
        if (list[k].from.index != list[at].from.index)
            node_error(&loader->trouble, place, NULL, "two volumes at `%.200s`", list[at].target);
        draft->step.mount_count = at;
    }
}

static void load_volumes(struct loader *loader, struct draft *draft, const struct node *mounts) {
    static const char *const sides[] = {"output_volumes", "input_volumes"};
    const struct node *volumes[2] = {node_get_value(mounts, sides[0]),
                                     node_get_value(mounts, sides[1])};
    check_keys(loader, mounts, "mounts", NULL);
    size_t count = (volumes[0] ? volumes[0]->count : 0) + (volumes[1] ? volumes[1]->count : 0);
    struct step_mount *list = loader_allocate(loader, count * sizeof(*list));
    if (!list)
        return;
    draft->step.mounts = list;
    for (size_t side = 0; side < 2; side++) {
        if (!volumes[side] || !expect_kind(loader, volumes[side], NODE_MAPPING, sides[side]))
            continue;
        for (size_t i = 0; i < volumes[side]->count; i++) {
            size_t at = draft->step.mount_count;
            add_volume(loader, draft, volumes[side]->keys[i], volumes[side]->values[i], side == 0,
                       &list[at]);
            drop_double(loader, draft, at, volumes[side]->keys[i]);
        }
    }
}

static void declare_volumes(struct loader *loader, const struct scope *scope,
                            const struct node *volumes, bool are_outputs) {
    if (!volumes || volumes->kind != NODE_MAPPING)
        return;
    for (size_t i = 0; i < volumes->count; i++) {
        const struct node *volume = volumes->values[i];
        const struct node *type = node_get_value(volume, "type");
        if (volume->kind != NODE_MAPPING || node_get_value(volume, "from"))
            continue;
        struct pipeline_input input = {.help = ""};
        input.name = loader_format(loader, "%s%s", scope->prefix, volumes->keys[i]->text);
        input.type = type && type->kind == NODE_STRING && text_equal(type->text, "file")
                         ? VALUE_FILE
                         : VALUE_DIRECTORY;
        input.optional = input.writable = are_outputs;
        if (input.name)
            declare_input(loader, input);
    }
}

/* What MedPerf has beside the volumes: a report, and the folder of the Python functions. */
static void declare_side_files(struct loader *loader, const struct scope *scope) {
    struct pipeline_input report = {
        .name = "report_file", .type = VALUE_FILE, .optional = true, .writable = true};
    struct pipeline_input functions = {
        .name = "additional_files", .type = VALUE_DIRECTORY, .optional = true};
    report.help = "where the progress of each step is written";
    functions.help = "the folder with the modules of the pipeline's Python functions";
    if (!loader->medperf || scope->parent)
        return;
    declare_input(loader, report);
    declare_input(loader, functions);
}

void declare_mounted_inputs(struct loader *loader, const struct scope *scope) {
    const struct node *steps = node_get_value(scope->document, "steps");
    /* Outputs first: what any step writes is not something that the site must bring. */
    for (int outputs = 1; outputs >= 0; outputs--)
        for (size_t i = 0; steps && i < steps->count; i++)
            declare_volumes(loader, scope,
                            node_get_value(node_get_value(steps->values[i], "mounts"),
                                           outputs ? "output_volumes" : "input_volumes"),
                            outputs);
    declare_side_files(loader, scope);
}

/* ---------------------------------------------------------------- our own list */

static bool load_mount(struct loader *loader, struct draft *draft, const struct node *node,
                       struct step_mount *mount) {
    if (!expect_kind(loader, node, NODE_MAPPING, "a mount"))
        return false;
    check_keys(loader, node, "mount", NULL);
    const struct node *from = node_get_value(node, "from");
    const char *text = from ? scalar_text(loader, from, "from") : NULL;
    mount->name = key_text(loader, node, "name");
    mount->target = mount_target(loader, node, "path");
    mount->is_file = is_file_type(loader, node);
    mount->is_fresh = mount->is_output = !from;
    mount->writable = key_boolean(loader, node, "writable", !from);
    mount->from.name = mount->from.path = "";
    if (text && !parse_reference(loader, draft, draft->scope, from, text, &mount->from))
        return false;
    bool is_writable_input =
        mount->from.kind == REFERENCE_INPUT && from && loader->inputs[mount->from.index].writable;
    if (from && mount->writable && !is_writable_input)
        node_error(&loader->trouble, node_get_value(node, "writable"),
                   "inputs are writable where the pipeline says `writable: true` of them",
                   "only a writable input can be mounted to be changed");
    if (!mount->name)
        mount->name = mount->target ? path_base_name(mount->target) : "";
    if (!from && mount->target && !is_name(mount->name))
        node_error(&loader->trouble, node, "name: results", "a mount for results needs a name");
    return mount->target;
}

void load_mounts(struct loader *loader, struct draft *draft) {
    const struct node *mounts = node_get_value(draft->node, "mounts");
    if (!mounts)
        return;
    if (mounts->kind == NODE_MAPPING) {
        load_volumes(loader, draft, mounts);
        return;
    }
    if (!expect_kind(loader, mounts, NODE_LIST, "mounts"))
        return;
    struct step_mount *list = loader_allocate(loader, mounts->count * sizeof(*list));
    if (!list)
        return;
    draft->step.mounts = list;
    for (size_t i = 0; i < mounts->count; i++) {
        size_t at = draft->step.mount_count;
        if (!load_mount(loader, draft, mounts->values[i], &list[at]))
            continue;
        for (size_t k = 0; k < at; k++)
            if (text_equal(list[k].target, list[at].target))
                node_error(&loader->trouble, mounts->values[i], NULL, "two mounts at `%s`",
                           list[at].target);
        draft->step.mount_count++;
    }
}
