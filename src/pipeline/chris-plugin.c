/* A plugin of ChRIS, as its descriptor tells: one step, with the plugin's parameters, that sees
 * /share/incoming and /share/outgoing. */
#include "pipeline/private-chris.h"

#include <math.h>

bool is_chris_plugin(const struct node *document) {
    return node_get(document, "selfexec") && node_get(document, "parameters") &&
           node_get(document, "dock_image");
}

const char *plugin_type(const struct node *plugin) {
    const struct node *type = node_get_value(plugin, "type");
    return type && type->kind == NODE_STRING ? type->text : "ds";
}

/* ---------------------------------------------------------------------- parameters */

/* In the order in which ChRIS writes them on the command line, in both spellings. */
static const char *const types[][3] = {
    {"unextpath", "unextpath", "string"}, {"path", "path", NULL},
    {"str", "string", "string"},          {"int", "integer", "integer"},
    {"float", "float", "number"},         {"bool", "boolean", "boolean"}};
#define TYPE_PATH    1
#define TYPE_BOOLEAN 5

static size_t type_of(struct loader *loader, const struct node *parameter) {
    const struct node *node = node_get_value(parameter, "type");
    const char *text = node ? scalar_text(loader, node, "type") : "str";
    for (size_t i = 0; text && i < ARRAY_SIZE(types); i++)
        if (text_equal(types[i][0], text) || text_equal(types[i][1], text))
            return i;
    if (text)
        node_error(&loader->trouble, node,
                   "a parameter is str, int, float, bool, path or unextpath",
                   "`%.100s` is not a type of ChRIS", text);
    return 2;
}

static const char *name_of(struct loader *loader, const struct node *parameter) {
    const struct node *name = node_get_value(parameter, "name");
    if (name)
        return scalar_text(loader, name, "name");
    node_error(&loader->trouble, parameter, NULL, "a parameter needs a name");
    return NULL;
}

/* What the pipeline says of it, else the plugin's own default; NULL: there is none. */
static struct node *default_of(const struct plugin_use *use, const struct node *parameter,
                               const char *name) {
    struct node *given = use->defaults ? node_get_value(use->defaults, name) : NULL;
    return given ? given : node_get_value(parameter, "default");
}

/* A parameter that may be left out and has no default: "" stands for that. */
static bool may_be_missing(const struct plugin_use *use, const struct node *parameter,
                           const char *name) {
    const struct node *optional = node_get_value(parameter, "optional");
    return optional && optional->kind == NODE_BOOLEAN && optional->boolean &&
           !default_of(use, parameter, name);
}

static struct node *declare(struct loader *loader, const struct plugin_use *use,
                            const struct node *parameter, const char *name) {
    struct node *made = new_mapping(loader, parameter);
    bool missing = may_be_missing(use, parameter, name);
    const char *type = types[type_of(loader, parameter)][2];
    put_text(loader, &made, "type", parameter, missing ? "string" : type);
    struct node *fallback = default_of(use, parameter, name);
    if (!fallback && missing)
        fallback = new_text(loader, parameter, "");
    if (fallback && text_equal(type, "string") && !missing && node_is_scalar(fallback))
        fallback = new_text(loader, fallback, fallback->text);
    put(loader, &made, "default", fallback);
    if (!missing && !text_equal(type, "boolean"))
        put(loader, &made, "choices", node_get_value(parameter, "choices"));
    struct node *help = node_get_value(parameter, "help");
    if (help && help->kind == NODE_STRING)
        put(loader, &made, "help", help);
    return made;
}

/* ---------------------------------------------------------------------- command line */

static const char *flag_of(struct loader *loader, const struct node *parameter) {
    const struct node *flag = node_get_value(parameter, "flag");
    if (!flag)
        flag = node_get_value(parameter, "short_flag");
    const char *text = flag ? scalar_text(loader, flag, "flag") : NULL;
    if (!flag)
        node_error(&loader->trouble, parameter, NULL, "a parameter needs a flag");
    /* It is put into jq and shown to people. */
    if (text && (*text != '-' || strpbrk(text, "\"\\${} \t\n")))
        node_error(&loader->trouble, flag, NULL, "`%.100s` cannot be a flag", text);
    return text ? text : "-";
}

/* One word that gives none, one or two arguments. */
static struct node *argument_word(struct loader *loader, const struct plugin_use *use,
                                  const struct node *parameter, size_t type, const char *name) {
    const char *flag = flag_of(loader, parameter);
    const struct node *action = node_get_value(parameter, "action");
    bool store_false =
        action && action->kind == NODE_STRING && text_equal(action->text, "store_false");
    const char *value = loader_format(loader, "$params[\"%s%s\"]", use->prefix, name);
    const char *text;
    if (type == TYPE_BOOLEAN)
        text = loader_format(loader, "${if %s then %s else %s end}", value,
                             store_false ? "empty" : loader_format(loader, "\"%s\"", flag),
                             store_false ? loader_format(loader, "\"%s\"", flag) : "empty");
    else if (may_be_missing(use, parameter, name))
        text = loader_format(loader, "${if %s == \"\" then empty else \"%s\", %s end}", value, flag,
                             value);
    else
        text = loader_format(loader, "${\"%s\", (%s | tostring)}", flag, value);
    return new_text(loader, parameter, text);
}

/* What a plugin joins stands fast: it is part of the pipeline's shape. Who is joined is told by the
 * names of the steps, as ChRIS tells its numbers. */
static void push_join_argument(struct loader *loader, const struct plugin_use *use,
                               const struct node *parameter, size_t type, const char *name,
                               struct node *command) {
    const struct node *value = plugin_value(use, name);
    const struct node *action = node_get_value(parameter, "action");
    bool unless = action && action->kind == NODE_STRING && text_equal(action->text, "store_false");
    const char *flag = flag_of(loader, parameter);
    if (type == TYPE_BOOLEAN) {
        if ((value && value->kind == NODE_BOOLEAN && value->boolean) != unless)
            push(command, new_text(loader, parameter, flag));
        return;
    }
    const char *text = text_equal(name, "plugininstances") ? use->joined
                       : value                             ? scalar_text(loader, value, name)
                                                           : "";
    push(command, new_text(loader, parameter, flag));
    push(command, new_literal(loader, parameter, text));
}

static void add_parameters(struct loader *loader, const struct plugin_use *use, size_t type,
                           struct node *command, struct node **params) {
    const struct node *list = node_get_value(use->plugin, "parameters");
    for (size_t i = 0; list && i < list->count; i++) {
        const struct node *parameter = list->values[i];
        if (parameter->kind != NODE_MAPPING || type_of(loader, parameter) != type)
            continue;
        const char *name = name_of(loader, parameter);
        if (!name)
            continue;
        if (!is_name(name)) {
            node_error(&loader->trouble, parameter, NULL,
                       "`%.100s` cannot be the name of a parameter", name);
        } else if (is_join_parameter(use->plugin, name)) {
            push_join_argument(loader, use, parameter, type, name, command);
        } else if (type == TYPE_PATH) {
            push(command, new_text(loader, parameter, flag_of(loader, parameter)));
            push(command, new_text(loader, parameter, PLUGIN_INCOMING));
        } else {
            push(command, argument_word(loader, use, parameter, type, name));
            put(loader, params, loader_format(loader, "%s%s", use->prefix, name),
                declare(loader, use, parameter, name));
        }
    }
}

static bool has_path(struct loader *loader, const struct node *plugin) {
    const struct node *list = node_get_value(plugin, "parameters");
    for (size_t i = 0; list && i < list->count; i++)
        if (list->values[i]->kind == NODE_MAPPING && type_of(loader, list->values[i]) == TYPE_PATH)
            return true;
    return false;
}

bool plugin_reads(struct loader *loader, const struct node *plugin) {
    return !text_equal(plugin_type(plugin), "fs") || has_path(loader, plugin);
}

static struct node *make_command(struct loader *loader, const struct plugin_use *use,
                                 struct node **params) {
    const struct node *list = node_get_value(use->plugin, "parameters");
    size_t room = 2 * (list ? list->count : 0) + 2;
    struct node *command = new_list(loader, use->plugin, room);
    for (size_t type = 0; type < ARRAY_SIZE(types); type++)
        add_parameters(loader, use, type, command, params);
    if (text_equal(plugin_type(use->plugin), "ds"))
        push(command, new_text(loader, use->plugin, PLUGIN_INCOMING));
    push(command, new_text(loader, use->plugin, PLUGIN_OUTGOING));
    return command;
}

static struct node *make_entrypoint(struct loader *loader, const struct node *plugin) {
    const char *shell = key_text(loader, plugin, "execshell");
    const char *path = key_text(loader, plugin, "selfpath");
    const char *program = key_text(loader, plugin, "selfexec");
    struct node *entrypoint = new_list(loader, plugin, 2);
    if (shell && *shell)
        push(entrypoint, new_text(loader, plugin, shell));
    if (path && *path)
        program = loader_format(loader, "%s/%s", path, program ? program : "");
    push(entrypoint, new_text(loader, plugin, program ? program : ""));
    return entrypoint;
}

/* --------------------------------------------------------------------------- the step */

static struct node *make_mount(struct loader *loader, const struct node *place, const char *name,
                               const char *path, const char *from) {
    struct node *mount = new_mapping(loader, place);
    put_text(loader, &mount, "name", place, name);
    put_text(loader, &mount, "path", place, path);
    if (from)
        put_text(loader, &mount, "from", place, from);
    return mount;
}

/* What a plugin may be given of the machine: its descriptor bounds it, the pipeline's node says it.
 */
struct limit {
    const char *key, *least, *most; /* keys of the node, and of the descriptor */
    const char *resource;           /* in our language */
    const char *name, *unit;        /* for people */
};
enum { LIMIT_CPU, LIMIT_MEMORY, LIMIT_GPU };
static const struct limit limits[] = {
    {"cpu_limit", "min_cpu_limit", "max_cpu_limit", "cpus", "CPU", "millicores"},
    {"memory_limit", "min_memory_limit", "max_memory_limit", "memory", "memory", "MiB"},
    {"gpu_limit", "min_gpu_limit", "max_gpu_limit", "gpus", "GPU", "GPU"}};

/* "8000m" or 8000 in millicores; "8Gi", "200Mi" or 200 in MiB; false when it says nothing. */
static bool read_limit(struct loader *loader, const struct node *node, size_t kind, double *ret) {
    const char *text = node ? scalar_text(loader, node, limits[kind].key) : NULL;
    if (!text || !*text)
        return false;
    size_t size = strlen(text);
    bool millicores = kind == LIMIT_CPU && text[size - 1] == 'm';
    bool bytes = kind == LIMIT_MEMORY && strspn(text, "0123456789") != size;
    uint64_t amount = 0;
    OWN_ERROR error = NULL;
    OWN_STRING number = memory_copy_bytes(text, size - millicores);
    bool good = number && (bytes ? text_parse_size(number, &amount, &error)
                                 : text_parse_number(number, ret, &error)) == 0;
    if (bytes)
        *ret = (double)amount / (1 << 20);
    if ((good && *ret >= 0) || (!good && note_no_memory(loader, error)))
        return good;
    node_error(&loader->trouble, node,
               kind == LIMIT_CPU      ? "cpu_limit: 2000m"
               : kind == LIMIT_MEMORY ? "memory_limit: 2Gi"
                                      : "gpu_limit: 1",
               "`%.100s` is no %s limit", text, limits[kind].name);
    return false;
}

static void put_limit(struct loader *loader, const struct plugin_use *use, size_t kind,
                      struct node **resources) {
    const struct limit *limit = &limits[kind];
    const struct node *given = node_get_value(use->place, limit->key);
    double amount = 0, least = 0, most = 0;
    bool says = read_limit(loader, given, kind, &amount);
    bool has_least = read_limit(loader, node_get_value(use->plugin, limit->least), kind, &least);
    bool has_most = read_limit(loader, node_get_value(use->plugin, limit->most), kind, &most);
    if (says && has_least && amount < least)
        node_error(&loader->trouble, given, NULL, "the plugin needs at least %g %s", least,
                   limit->unit);
    if (says && has_most && amount > most)
        node_error(&loader->trouble, given, NULL, "the plugin takes at most %g %s", most,
                   limit->unit);
    /* The least memory is none to be held to: in Docker it never was. */
    if (!says && kind != LIMIT_MEMORY)
        amount = least;
    if (amount <= 0)
        return;
    const struct node *place = given ? given : use->place;
    const char *text = kind == LIMIT_CPU      ? loader_format(loader, "%g", amount / 1000)
                       : kind == LIMIT_MEMORY ? loader_format(loader, "%.0fMi", amount)
                                              : loader_format(loader, "%.0f", amount);
    put(loader, resources, limit->resource, new_word(loader, place, text));
}

static void put_limits(struct loader *loader, const struct plugin_use *use, struct node **step) {
    struct node *resources = new_mapping(loader, use->place);
    for (size_t kind = 0; kind < ARRAY_SIZE(limits); kind++)
        put_limit(loader, use, kind, &resources);
    const struct node *workers = node_get_value(use->place, "number_of_workers");
    if (workers && workers->kind == NODE_INTEGER && workers->integer > 1)
        node_warning(&loader->trouble, workers, NULL, "one worker is used, not several");
    if (resources && resources->count)
        put(loader, step, "resources", resources);
}

static void check_type(struct loader *loader, const struct node *plugin) {
    static const char *const known[] = {"ds", "fs", "ts"};
    const struct node *node = node_get_value(plugin, "type");
    const char *word = plugin_type(plugin);
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (text_equal(known[i], word))
            return;
    node_error(&loader->trouble, node, "it is ds, fs or ts", "`%.100s` is no type of a plugin",
               word);
}

struct node *plugin_step(struct loader *loader, const struct plugin_use *use,
                         struct node **params) {
    const struct node *plugin = use->plugin, *list = node_get_value(plugin, "parameters");
    struct node *image = node_get_value(plugin, "dock_image");
    check_type(loader, plugin);
    if (list && !expect_kind(loader, list, NODE_LIST, "parameters"))
        return NULL;
    if (!image) {
        node_error(&loader->trouble, plugin, NULL, "the plugin has no `dock_image`");
        return NULL;
    }
    struct node *step = new_mapping(loader, use->place);
    struct node *mounts = new_list(loader, use->place, 2);
    put_text(loader, &step, "id", use->place, use->id);
    put_text(loader, &step, "type", use->place, "container");
    put_text(loader, &step, "title", use->place, use->title);
    put(loader, &step, "image", image);
    put(loader, &step, "entrypoint", make_entrypoint(loader, plugin));
    put(loader, &step, "command", make_command(loader, use, params));
    if (use->from)
        push(mounts, make_mount(loader, use->place, "incoming", PLUGIN_INCOMING, use->from));
    push(mounts, make_mount(loader, use->place, "outgoing", PLUGIN_OUTGOING, NULL));
    put(loader, &step, "mounts", mounts);
    put(loader, &step, "writable_root", new_word(loader, use->place, "true")); /* as in Docker */
    put_limits(loader, use, &step);
    return step;
}

/* {incoming: …}: what a tree's root reads. */
static struct node *incoming_input(struct loader *loader, const struct node *place) {
    struct node *inputs = new_mapping(loader, place), *input = new_mapping(loader, place);
    put_text(loader, &input, "type", place, "directory");
    put_text(loader, &input, "help", place, "what the plugin sees as /share/incoming");
    put(loader, &inputs, "incoming", input);
    return inputs;
}

void put_parts(struct loader *loader, struct node **made, struct node *params, bool reads,
               struct node *outputs, struct node *steps) {
    if (params && params->count)
        put(loader, made, "params", params);
    if (reads)
        put(loader, made, "inputs", incoming_input(loader, *made));
    put(loader, made, "outputs", outputs);
    put(loader, made, "steps", steps);
}

/* ---------------------------------------------------------------------- one by itself */

struct node *translate_chris_plugin(struct loader *loader, const struct node *document) {
    size_t errors = loader->trouble.diagnostics->errors;
    const char *name = key_text(loader, document, "name");
    const char *title = key_text(loader, document, "title");
    bool reads = plugin_reads(loader, document), joins = text_equal(plugin_type(document), "ts");
    struct plugin_use use = {.plugin = document,
                             .place = document,
                             .id = "plugin",
                             .title = title && *title ? title
                                      : name          ? name
                                                      : "plugin",
                             .prefix = "",
                             .from = reads ? "inputs.incoming" : NULL};
    struct node *made = new_mapping(loader, document), *params = new_mapping(loader, document);
    struct node *steps = new_list(loader, document, JOIN_STEPS);
    struct node *outputs = new_mapping(loader, document);
    struct plugin_join join = {.use = use,
                               .incoming = "plugin-incoming",
                               .outgoing = "plugin-outgoing",
                               .in = joins ? new_mapping(loader, document) : NULL};
    if (joins)
        push_join_steps(loader, &join, steps, &params);
    else
        push(steps, plugin_step(loader, &use, &params));
    put_text(loader, &outputs, "outgoing", document, joins ? join.outgoing : "plugin/outgoing");
    if (name)
        put_text(loader, &made, "name", document, name);
    put(loader, &made, "version", node_get_value(document, "version"));
    put_parts(loader, &made, params, reads, outputs, steps);
    return loader->trouble.diagnostics->errors > errors ? NULL : made;
}
