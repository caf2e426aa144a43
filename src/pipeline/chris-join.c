/* A plugin of ChRIS of type ts: what it joins, what it makes of it, and both together, are three
 * steps; of the one whose program does nothing, one. */
#include "pipeline/private-chris.h"

#include <regex.h>

bool is_join_parameter(const struct node *plugin, const char *name) {
    for (size_t i = 0; i < ARRAY_SIZE(plugin_join_parameters); i++)
        if (text_equal(plugin_type(plugin), "ts") && text_equal(plugin_join_parameters[i], name))
            return true;
    return false;
}

bool plugin_is_only_join(const struct node *plugin) {
    const struct node *name = node_get_value(plugin, "name");
    return name && name->kind == NODE_STRING && text_equal(name->text, "pl-topologicalcopy");
}

const struct node *plugin_value(const struct plugin_use *use, const char *name) {
    const struct node *given = use->defaults ? node_get_value(use->defaults, name) : NULL;
    const struct node *list = node_get_value(use->plugin, "parameters");
    for (size_t i = 0; !given && list && list->kind == NODE_LIST && i < list->count; i++) {
        const struct node *its = node_get_value(list->values[i], "name");
        if (its && its->kind == NODE_STRING && text_equal(its->text, name))
            given = node_get_value(list->values[i], "default");
    }
    return given;
}

const char *plugin_text(struct loader *loader, const struct plugin_use *use, const char *name) {
    const struct node *value = plugin_value(use, name);
    return value ? scalar_text(loader, value, name) : NULL;
}

const struct node *plugin_value_place(const struct plugin_use *use, const char *name) {
    const struct node *value = plugin_value(use, name);
    return value ? value : use->place;
}

static void push_option(struct loader *loader, struct node *list, const struct node *place,
                        const char *option, const char *value) {
    push(list, new_text(loader, place, option));
    push(list, new_literal(loader, place, value));
}

static size_t count_items(const char *text) {
    size_t count = *text != '\0';
    for (; *text; text++)
        count += *text == ',';
    return count;
}

static void check_filters(struct loader *loader, const struct plugin_use *use, const char *filters,
                          const char *order) {
    const struct node *place = plugin_value_place(use, "filter");
    if (count_items(filters) != count_items(order))
        node_error(&loader->trouble, place, "filter: REGEX,REGEX",
                   "`filter` has not as many parts as nodes are joined");
    for (const char *at = filters; *at;) {
        size_t size = strcspn(at, ",");
        const char *filter = loader_format(loader, "%.*s", (int)size, at);
        regex_t pattern;
        if (filter && regcomp(&pattern, filter, REG_EXTENDED | REG_NOSUB) != 0)
            node_error(&loader->trouble, place, "filter: REGEX,REGEX",
                       "`%.100s` is not a regular expression", filter);
        else if (filter)
            regfree(&pattern);
        at += size + (at[size] == ',');
    }
}

static struct node *tool_step(struct loader *loader, const struct plugin_use *use, const char *id,
                              const char *title, struct node *arguments, struct node *in) {
    struct node *step = new_mapping(loader, use->place);
    put_text(loader, &step, "id", use->place, id);
    put_text(loader, &step, "title", use->place, title);
    put_text(loader, &step, "tool", use->place, "file-join");
    put(loader, &step, "args", arguments);
    put(loader, &step, "in", in);
    return step;
}

/* What the plugin finds, as its parameters say. */
static struct node *incoming_step(struct loader *loader, const struct plugin_use *use,
                                  const char *id, const char *title, struct node *in) {
    struct node *arguments = new_list(loader, use->place, 5);
    const char *filters = plugin_text(loader, use, "filter");
    const struct node *group = plugin_value(use, "groupByInstance");
    push_option(loader, arguments, use->place, "--sources", use->joined);
    if (filters && *filters) {
        check_filters(loader, use, filters, use->joined ? use->joined : "");
        push_option(loader, arguments, use->place, "--filters", filters);
    }
    if (group && group->kind != NODE_BOOLEAN)
        node_error(&loader->trouble, group, "groupByInstance: true",
                   "`groupByInstance` is true or false");
    else if (group && group->boolean)
        push(arguments, new_text(loader, use->place, "--by-source"));
    return tool_step(loader, use, id, title, arguments, in);
}

/* What the plugin wrote, and what it was given. */
static struct node *outgoing_step(struct loader *loader, const struct plugin_join *join) {
    const struct plugin_use *use = &join->use;
    struct node *arguments = new_list(loader, use->place, 2), *in = new_mapping(loader, use->place);
    push_option(loader, arguments, use->place, "--sources", "written,joined");
    put_text(loader, &in, "written", use->place, loader_format(loader, "%s/outgoing", use->id));
    put_text(loader, &in, "joined", use->place, join->incoming);
    return tool_step(loader, use, join->outgoing,
                     loader_format(loader, "%s: what goes out", use->title), arguments, in);
}

void push_join_steps(struct loader *loader, const struct plugin_join *join, struct node *steps,
                     struct node **params) {
    struct plugin_use use = join->use;
    struct node *in = join->in;
    use.joined = join->order ? join->order : "incoming";
    if (!join->order)
        put_text(loader, &in, "incoming", use.place, "inputs.incoming");
    if (plugin_is_only_join(use.plugin)) {
        push(steps, incoming_step(loader, &use, join->outgoing, use.title, in));
        return;
    }
    push(steps, incoming_step(loader, &use, join->incoming,
                              loader_format(loader, "%s: what comes in", use.title), in));
    use.from = join->incoming;
    push(steps, plugin_step(loader, &use, params));
    push(steps, outgoing_step(loader, join));
}
