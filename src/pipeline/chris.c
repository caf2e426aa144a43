/* A pipeline of ChRIS: a tree of plugins, in the form of CUBE 4 and later, in the older one with
 * `previous_index`, and in YAML. Descriptors of the plugins lie beside it. */
#include "pipeline/private-chris.h"

#include <ctype.h>
#include <fcntl.h>

#define NODES_MAXIMUM 5000

struct plugin_node {
    const struct node *node, *plugin, *defaults;
    const char *title, *id;
    size_t previous;         /* SIZE_MAX: the root */
    struct plugin_join join; /* of one that joins */
    bool has_children;
};

struct tree {
    struct loader *loader;
    struct plugin_node *nodes;
    size_t count;
};

bool is_chris_pipeline(const struct node *document) {
    return node_get(document, "plugin_tree");
}

static bool is_join(const struct plugin_node *one) {
    return one->plugin && text_equal(plugin_type(one->plugin), "ts");
}

/* ---------------------------------------------------------------------- descriptors */

/* "pl-covidnet v0.3.0" as the YAML form has it; the JSON forms have two keys. */
static bool name_plugin(struct loader *loader, const struct node *node, const char **ret_name,
                        const char **ret_version, const struct node **ret_place) {
    const struct node *both = node_get_value(node, "plugin");
    const char *text = both ? scalar_text(loader, both, "plugin") : NULL;
    if (text) {
        const char *blank = strrchr(text, ' ');
        *ret_name = loader_format(loader, "%.*s", (int)strcspn(text, " "), text);
        *ret_version = blank && blank[1] ? blank + 2 : "";
        *ret_place = both;
    } else if (!both) {
        *ret_name = key_text(loader, node, "plugin_name");
        *ret_version = key_text(loader, node, "plugin_version");
        *ret_place = node_get_value(node, "plugin_name");
    }
    if (*ret_name && *ret_version && **ret_version)
        return true;
    if (node_get_value(node, "plugin_id"))
        node_error(&loader->trouble, node_get_value(node, "plugin_id"),
                   "give plugin_name and plugin_version",
                   "`plugin_id` means something in one ChRIS only");
    else
        node_error(&loader->trouble, node, "plugin: NAME vVERSION",
                   "a node needs its plugin's name and version");
    return false;
}

static bool fits(const struct node *plugin, const char *name, const char *version) {
    const struct node *its_name = plugin ? node_get_value(plugin, "name") : NULL;
    const struct node *its_version = plugin ? node_get_value(plugin, "version") : NULL;
    return its_name && its_version && its_name->kind == NODE_STRING &&
           node_is_scalar(its_version) && text_equal(its_name->text, name) &&
           text_equal(its_version->text, version);
}

/* The descriptor at `path`, or NULL when there is none that fits. */
static struct node *try_plugin(struct loader *loader, const char *path, const char *name,
                               const char *version) {
    struct source *source = NULL;
    OWN_ERROR problem = NULL;
    if (!file_exists(AT_FDCWD, path))
        return NULL;
    if (!source_read(loader, path, &source, &problem)) {
        note_no_memory(loader, problem);
        return NULL;
    }
    struct node *plugin = yaml_parse(loader->arena, source, &loader->trouble);
    return plugin && plugin->kind == NODE_MAPPING && fits(plugin, name, version) ? plugin : NULL;
}

/* NAME.json, NAME-VERSION.json and the like, beside the pipeline, in its folder `plugins`, and in
 * the folder that was given. */
static struct node *find_plugin(struct loader *loader, const struct node *node, const char *name,
                                const char *version, const struct node *place) {
    static const char *const marks[] = {NULL, "-", "-v"};
    const char *option = loader->options ? loader->options->plugin_folder : NULL;
    const char *folders[] = {option, join_to_source(loader, node->source, "plugins"),
                             join_to_source(loader, node->source, "")};
    if (strchr(name, '/') || strchr(version, '/')) {
        node_error(&loader->trouble, place, NULL, "`%.100s` cannot be the name of a plugin", name);
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
        for (size_t form = 0; folders[i] && form < ARRAY_SIZE(marks); form++) {
            const char *slash = *folders[i] && !text_ends_with(folders[i], "/") ? "/" : "";
            const char *path =
                loader_format(loader, "%s%s%s%s%s.json", folders[i], slash, name,
                              marks[form] ? marks[form] : "", marks[form] ? version : "");
            struct node *plugin = try_plugin(loader, path, name, version);
            if (plugin)
                return plugin;
        }
    node_error(&loader->trouble, place,
               loader_format(loader,
                             "put it beside the pipeline as %s.json, or say --plugins DIR; "
                             "`chris_plugin_info` in its image writes it",
                             name),
               "there is no descriptor of plugin `%.100s`, version %.40s", name, version);
    return NULL;
}

/* ----------------------------------------------------------------------- the tree */

static bool is_free(const struct tree *tree, const char *id) {
    static const char *const reserved[] = {"inputs", "params", "item"};
    for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
        if (text_equal(reserved[i], id))
            return false;
    for (size_t i = 0; i < tree->count; i++) {
        const struct plugin_node *node = &tree->nodes[i];
        const char *taken[] = {node->id, node->join.incoming, node->join.outgoing};
        for (size_t k = 0; k < ARRAY_SIZE(taken); k++)
            if (taken[k] && text_equal(taken[k], id))
                return false;
    }
    return is_name(id);
}

/* Titles are for people; ids have letters, digits, - and _ only. */
static const char *id_of(struct tree *tree, const char *title) {
    OWN_BUFFER text = {.maximum = NAME_MAXIMUM - 8};
    for (const char *at = title; *at && text.size < NAME_MAXIMUM - 10; at++) {
        bool fine = isalnum((unsigned char)*at) || *at == '_' || *at == '-';
        if (fine)
            buffer_append_char(&text, *at);
        else if (text.size && text.data[text.size - 1] != '-')
            buffer_append_char(&text, '-');
    }
    while (text.size && text.data[text.size - 1] == '-')
        buffer_truncate(&text, text.size - 1);
    tree->loader->trouble.no_memory = tree->loader->trouble.no_memory || text.failed;
    const char *base = text.size ? loader_take(tree->loader, &text) : "node";
    if (!is_name(base))
        base = loader_format(tree->loader, "node-%s", base);
    const char *id = base;
    for (unsigned number = 2; !is_free(tree, id) && number < NODES_MAXIMUM + 4; number++)
        id = loader_format(tree->loader, "%s-%u", base, number);
    return id;
}

static size_t find_title(const struct tree *tree, const char *title) {
    for (size_t i = 0; i < tree->count; i++)
        if (text_equal(tree->nodes[i].title, title))
            return i;
    return SIZE_MAX;
}

/* {name: value}, from it or from [{name, default}]. */
static const struct node *read_defaults(struct loader *loader, const struct node *node) {
    struct node *given = node_get_value(node, "plugin_parameter_defaults");
    if (!given || given->kind == NODE_MAPPING)
        return given;
    struct node *defaults = new_mapping(loader, given);
    if (!expect_kind(loader, given, NODE_LIST, "plugin_parameter_defaults"))
        return NULL;
    for (size_t i = 0; i < given->count; i++) {
        const struct node *entry = given->values[i];
        if (!expect_kind(loader, entry, NODE_MAPPING, "a parameter's default"))
            continue;
        const char *name = key_text(loader, entry, "name");
        if (!name)
            node_error(&loader->trouble, entry, NULL, "a parameter's default needs its `name`");
        put(loader, &defaults, name ? name : "", node_get_value(entry, "default"));
    }
    return defaults;
}

#define PARAMETERS_MAXIMUM 500

static void check_defaults(struct loader *loader, const struct plugin_node *one) {
    const struct node *list = node_get_value(one->plugin, "parameters");
    const char *names[PARAMETERS_MAXIMUM + ARRAY_SIZE(plugin_join_parameters)];
    size_t count = 0;
    for (size_t i = 0; list && i < list->count && count < PARAMETERS_MAXIMUM; i++) {
        const struct node *name = node_get_value(list->values[i], "name");
        if (name && name->kind == NODE_STRING)
            names[count++] = name->text;
    }
    for (size_t i = 0; is_join(one) && i < ARRAY_SIZE(plugin_join_parameters); i++)
        names[count++] = plugin_join_parameters[i];
    for (size_t i = 0; one->defaults && i < one->defaults->count; i++) {
        const struct node *key = one->defaults->keys[i];
        bool known = false;
        for (size_t k = 0; k < count && !known; k++)
            known = text_equal(names[k], key->text);
        if (!known)
            node_error(&loader->trouble, key, nearest_hint(loader, key->text, names, count, NULL),
                       "the plugin has no parameter `%.100s`", key->text);
    }
}

static void read_node(struct tree *tree, const struct node *node) {
    struct loader *loader = tree->loader;
    struct plugin_node *one = &tree->nodes[tree->count];
    const char *name = NULL, *version = NULL;
    const struct node *place = node;
    if (!expect_kind(loader, node, NODE_MAPPING, "a node of the tree") ||
        !name_plugin(loader, node, &name, &version, &place))
        return;
    const char *title = key_text(loader, node, "title");
    *one = (struct plugin_node){.node = node, .title = title ? title : name};
    one->plugin = find_plugin(loader, node, name, version, place);
    one->defaults = read_defaults(loader, node);
    one->id = id_of(tree, one->title);
    if (title && find_title(tree, title) != SIZE_MAX)
        node_error(&loader->trouble, node_get(node, "title"), NULL,
                   "two nodes have the title `%.100s`", title);
    if (one->plugin)
        check_defaults(loader, one);
    tree->count++;
}

/* Who comes before: by title, or by the number of the node. */
static void read_previous(struct tree *tree, size_t number) {
    struct loader *loader = tree->loader;
    struct plugin_node *one = &tree->nodes[number];
    const struct node *title = node_get_value(one->node, "previous");
    const struct node *index = node_get_value(one->node, "previous_index");
    int64_t value = 0;
    one->previous = SIZE_MAX;
    if (title) {
        const char *text = scalar_text(loader, title, "previous");
        one->previous = text ? find_title(tree, text) : SIZE_MAX;
        const char *titles[200];
        size_t count = 0;
        for (; count < tree->count && count < ARRAY_SIZE(titles); count++)
            titles[count] = tree->nodes[count].title;
        if (text && one->previous == SIZE_MAX)
            node_error(&loader->trouble, title, nearest_hint(loader, text, titles, count, NULL),
                       "no node has the title `%.100s`", text);
    } else if (index &&
               node_integer(loader, index, "previous_index", 0, (int64_t)tree->count - 1, &value)) {
        one->previous = (size_t)value;
    }
    if (one->previous != SIZE_MAX)
        tree->nodes[one->previous].has_children = true;
}

static bool is_root(const struct plugin_node *one) {
    return !node_get_value(one->node, "previous") && !node_get_value(one->node, "previous_index");
}

static void check_roots(struct tree *tree, const struct node *list) {
    const struct plugin_node *first = NULL;
    for (size_t i = 0; i < tree->count; i++) {
        const struct plugin_node *one = &tree->nodes[i];
        if (!is_root(one))
            continue;
        if (first)
            node_error(&tree->loader->trouble, one->node, "give it its `previous`",
                       "the tree has two roots: `%.100s` and `%.100s`", first->title, one->title);
        first = one;
    }
    if (!first && tree->count)
        node_error(&tree->loader->trouble, list, "one node has `previous: null`",
                   "the tree has no root");
}

/* ---------------------------------------------------------------------------- joins */

static const char *outputs_of(struct loader *loader, const struct plugin_node *one) {
    return is_join(one) ? one->join.outgoing : loader_format(loader, "%s/outgoing", one->id);
}

/* Its own steps have names, too, which no node may have. */
static void name_join(struct tree *tree, struct plugin_node *one) {
    struct loader *loader = tree->loader;
    one->join.use = (struct plugin_use){.plugin = one->plugin,
                                        .place = one->node,
                                        .defaults = one->defaults,
                                        .id = one->id,
                                        .title = one->title,
                                        .prefix = loader_format(loader, "%s.", one->id)};
    one->join.outgoing = one->id;
    if (plugin_is_only_join(one->plugin))
        return;
    one->join.incoming = id_of(tree, loader_format(loader, "%s incoming", one->id));
    one->join.outgoing = id_of(tree, loader_format(loader, "%s outgoing", one->id));
}

/* "TITLE,TITLE" -> inputs of the step, and their ids in this order. */
static void find_joined(struct tree *tree, const struct plugin_node *one, const char *titles,
                        struct plugin_join *join, struct buffer *order) {
    struct loader *loader = tree->loader;
    for (const char *at = titles; *at;) {
        size_t blank = strspn(at, " \t"), size = strcspn(at, ",");
        const char *title =
            loader_format(loader, "%.*s", (int)(size > blank ? size - blank : 0), at + blank);
        size_t other = find_title(tree, title);
        at += size + (at[size] == ',');
        if (other == SIZE_MAX || &tree->nodes[other] == one) {
            node_error(&loader->trouble, plugin_value_place(&join->use, "plugininstances"),
                       "plugininstances: TITLE,TITLE",
                       "it joins `%.100s`, which is no other node's title", title);
            continue;
        }
        tree->nodes[other].has_children = true;
        put_text(loader, &join->in, tree->nodes[other].id, one->node,
                 outputs_of(loader, &tree->nodes[other]));
        buffer_format(order, "%s%s", order->size ? "," : "", tree->nodes[other].id);
    }
}

static void push_join(struct tree *tree, const struct plugin_node *one, struct node *steps,
                      struct node **params) {
    struct loader *loader = tree->loader;
    struct plugin_join join = one->join;
    const char *titles = plugin_text(loader, &join.use, "plugininstances");
    OWN_BUFFER order = {0};
    join.in = new_mapping(loader, one->node);
    if (!titles || !*titles)
        titles = one->previous != SIZE_MAX ? tree->nodes[one->previous].title : NULL;
    if (titles) {
        find_joined(tree, one, titles, &join, &order);
        loader->trouble.no_memory = loader->trouble.no_memory || order.failed;
        join.order = loader_take(loader, &order);
    }
    push_join_steps(loader, &join, steps, params);
}

/* -------------------------------------------------------------------------- the whole */

static void push_steps(struct tree *tree, const struct plugin_node *one, struct node *steps,
                       struct node **params) {
    struct loader *loader = tree->loader;
    if (is_join(one)) {
        push_join(tree, one, steps, params);
        return;
    }
    struct plugin_use use = {.plugin = one->plugin,
                             .place = one->node,
                             .defaults = one->defaults,
                             .id = one->id,
                             .title = one->title,
                             .prefix = loader_format(loader, "%s.", one->id)};
    if (one->previous != SIZE_MAX)
        use.from = outputs_of(loader, &tree->nodes[one->previous]);
    else if (plugin_reads(loader, one->plugin))
        use.from = "inputs.incoming";
    push(steps, plugin_step(loader, &use, params));
}

/* `plugin_tree` is a list, or in JSON the text of one. */
static const struct node *read_list(struct loader *loader, const struct node *document) {
    const struct node *list = node_get(document, "plugin_tree");
    if (list->kind == NODE_STRING) {
        struct source *source = loader_allocate(loader, sizeof(*source));
        if (!source)
            return NULL;
        *source = (struct source){
            .path = list->source->path, .text = list->text, .size = list->text_size};
        list = yaml_parse(loader->arena, source, &loader->trouble);
    }
    if (!list || !expect_kind(loader, list, NODE_LIST, "plugin_tree"))
        return NULL;
    if (!list->count)
        node_error(&loader->trouble, list, NULL, "the tree has no plugins");
    if (list->count > NODES_MAXIMUM)
        node_error(&loader->trouble, list, NULL, "more than %d plugins", NODES_MAXIMUM);
    return list->count && list->count <= NODES_MAXIMUM ? list : NULL;
}

static struct node *make_document(struct tree *tree, const struct node *document) {
    struct loader *loader = tree->loader;
    struct node *made = new_mapping(loader, document), *params = new_mapping(loader, document);
    struct node *steps = new_list(loader, document, JOIN_STEPS * tree->count);
    struct node *outputs = new_mapping(loader, document);
    bool reads = false;
    for (size_t i = 0; i < tree->count; i++) {
        push_steps(tree, &tree->nodes[i], steps, &params);
        reads = reads || (tree->nodes[i].previous == SIZE_MAX &&
                          plugin_reads(loader, tree->nodes[i].plugin));
    }
    for (size_t i = 0; i < tree->count; i++)
        if (!tree->nodes[i].has_children)
            put_text(loader, &outputs, tree->nodes[i].id, tree->nodes[i].node,
                     outputs_of(loader, &tree->nodes[i]));
    put(loader, &made, "name", node_get_value(document, "name"));
    put(loader, &made, "description", node_get_value(document, "description"));
    put_parts(loader, &made, params, reads, outputs, steps);
    return made;
}

struct node *translate_chris_pipeline(struct loader *loader, const struct node *document) {
    size_t errors = loader->trouble.diagnostics->errors;
    struct tree tree = {.loader = loader};
    const struct node *list = read_list(loader, document);
    if (!list || !(tree.nodes = loader_allocate(loader, list->count * sizeof(*tree.nodes))))
        return NULL;
    for (size_t i = 0; i < list->count; i++)
        read_node(&tree, list->values[i]);
    if (loader->trouble.diagnostics->errors > errors)
        return NULL;
    for (size_t i = 0; i < tree.count; i++) {
        read_previous(&tree, i);
        if (is_join(&tree.nodes[i]))
            name_join(&tree, &tree.nodes[i]);
    }
    check_roots(&tree, list);
    if (loader->trouble.diagnostics->errors > errors)
        return NULL;
    struct node *made = make_document(&tree, document);
    return loader->trouble.diagnostics->errors > errors ? NULL : made;
}
