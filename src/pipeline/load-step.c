/* One step: its kind and the keys that belong to it. */
#include "pipeline/private-load.h"

static const char *const step_types[] = {"command",         "tool", "container", "manual_review",
                                         "manual_approval", "wait", "dummy",     "notify"};

const char *step_type_name(enum step_type type) {
    return step_types[type];
}

const char *step_kind(const struct node *step) {
    static const char *const implied[][2] = {
        {"tool", "tool"}, {"image", "container"}, {"pipeline", "pipeline"}, {"command", "command"}};
    const struct node *type = node_get_value(step, "type");
    if (type && type->kind == NODE_STRING)
        return type->text;
    for (size_t i = 0; i < ARRAY_SIZE(implied); i++)
        if (node_get_value(step, implied[i][0]))
            return implied[i][1];
    return NULL;
}

/* A key that is likely a misspelt one of those that say what a step does; it is reported as such.
 */
static bool has_misspelt_kind(const struct node *step) {
    static const char *const kinds[] = {"type", "tool", "image", "command", "pipeline"};
    for (size_t i = 0; i < step->count; i++) {
        const char *key = step->keys[i]->text;
        if (!is_language_key("step", key) && !text_starts_with(key, "x-") &&
            text_nearest(key, kinds, ARRAY_SIZE(kinds)))
            return true;
    }
    return false;
}

/* False when it was reported; then the step is what guess_type() took it for. */
static bool load_type(struct loader *loader, struct draft *draft) {
    static const char *const words[] = {"command",         "tool", "container", "manual_review",
                                        "manual_approval", "wait", "dummy",     "notify",
                                        "pipeline"};
    const char *kind = step_kind(draft->node);
    if (!kind && !loader->medperf && has_misspelt_kind(draft->node))
        return false;
    if (!kind) {
        node_error(&loader->trouble, draft->node,
                   "give it a `type`, or a `tool`, `image`, `command` or `pipeline`",
                   "step `%s` does not say what it does", draft_own_id(draft));
        return false;
    }
    int type = 0;
    if (node_get_value(draft->node, "type"))
        type = key_word(loader, draft->node, "type", words, ARRAY_SIZE(words), -1);
    else
        while (!text_equal(words[type], kind))
            type++;
    if (type < 0)
        return false;
    bool calls = (size_t)type >= ARRAY_SIZE(step_types); /* a sub-pipeline */
    draft->step.type = calls ? STEP_DUMMY : (enum step_type)type;
    return true;
}

static void require_key(struct loader *loader, const struct draft *draft, const char *key) {
    if (!node_get_value(draft->node, key))
        node_error(&loader->trouble, draft->node, NULL, "%s step `%s` needs `%s`",
                   step_kind(draft->node), draft_own_id(draft), key);
}

struct tool_arguments {
    struct loader *loader;
    const struct draft *draft;
    const struct node *args;
};

static void complain(size_t at, const char *message, const char *hint, void *context) {
    const struct tool_arguments *self = context;
    const struct node *node = node_get_value(self->draft->node, "tool");
    if (at < self->draft->step.command_count)
        node = self->args->kind == NODE_LIST ? self->args->values[at] : self->args;
    node_error(&self->loader->trouble, node, hint, "%s", message);
}

static void check_arguments(struct loader *loader, const struct draft *draft) {
    const struct step *step = &draft->step;
    struct tool_arguments self = {loader, draft, node_get_value(draft->node, "args")};
    OWN_ERROR problem = NULL;
    if (!loader->options->check_tool)
        return;
    if (self.args && self.args->kind == NODE_LIST && self.args->count != step->command_count)
        return; /* what is wrong with one of them was told */
    if (loader->options->check_tool(step->tool, step->command, step->command_count, complain, &self,
                                    &problem) < 0)
        loader->trouble.no_memory = true;
}

static void check_tool(struct loader *loader, const struct draft *draft) {
    const struct pipeline_options *options = loader->options;
    const struct node *node = node_get_value(draft->node, "tool");
    const char *tool = draft->step.tool;
    if (!options || !options->tools || !tool)
        return;
    for (size_t i = 0; i < options->tool_count; i++)
        if (text_equal(options->tools[i], tool))
            return check_arguments(loader, draft);
    node_error(&loader->trouble, node,
               nearest_hint(loader, tool, options->tools, options->tool_count,
                            "`glovebox tool` lists them"),
               "no built-in tool is called `%.100s`", tool);
}

static void load_people(struct loader *loader, struct draft *draft) {
    struct step *step = &draft->step;
    const struct node *message = node_get_value(draft->node, "message");
    const struct node *until = node_get_value(draft->node, "until");
    const struct node *file = node_get_value(draft->node, "file");
    if (message)
        step->message = load_template(loader, draft, message, "message");
    if (until)
        step->wait_until = load_jq(loader, draft->scope, until, "until");
    if (file)
        step->wait_file = load_template(loader, draft, file, "file");
    step->wait_for = key_duration(loader, draft->node, "for", 0);
    step->wait_every = key_duration(loader, draft->node, "every", 30000);
    if (step->wait_every < 100)
        node_error(&loader->trouble, node_get_value(draft->node, "every"), NULL,
                   "every must be at least 100ms");
    if (step->type == STEP_WAIT && !until && !file && !node_get_value(draft->node, "for"))
        node_error(&loader->trouble, draft->node, "give it `for`, `until` or `file`",
                   "wait step `%s` does not say what it waits for", draft_own_id(draft));
    if (step->type == STEP_NOTIFY)
        require_key(loader, draft, "message");
}

static void load_declared_outputs(struct loader *loader, struct draft *draft) {
    const struct node *out = node_get_value(draft->node, "out");
    struct node *const *items = NULL;
    size_t count = out ? node_items(loader, out, "out", &items) : 0;
    const char **list = loader_allocate(loader, count * sizeof(*list));
    if (!list)
        return;
    if (count && !step_has_outputs(&draft->step))
        node_error(&loader->trouble, out, NULL, "a %s step has no outputs", step_kind(draft->node));
    for (size_t i = 0; i < count; i++) {
        const char *text = scalar_text(loader, items[i], "out");
        const char *path = text ? load_path_template(loader, draft, items[i], text) : NULL;
        if (path)
            list[draft->step.output_count++] = path;
    }
    draft->step.outputs = list;
}

static void check_calling(struct loader *loader, const struct draft *draft) {
    static const char *const allowed[] = {"id",        "type",   "title", "help",
                                          "pipeline",  "in",     "needs", "foreach",
                                          "partition", "params", "limit", "per_subject"};
    for (size_t i = 0; i < draft->node->count; i++) {
        const struct node *key = draft->node->keys[i];
        bool found = text_starts_with(key->text, "x-");
        for (size_t k = 0; k < ARRAY_SIZE(allowed); k++)
            found = found || text_equal(key->text, allowed[k]);
        if (!found)
            node_error(&loader->trouble, key, "give it to the steps inside",
                       "a step that calls a sub-pipeline cannot have `%.100s`", key->text);
    }
}

static void load_texts(struct loader *loader, struct draft *draft) {
    struct step *step = &draft->step;
    const char *title = key_text(loader, draft->node, "title");
    const char *help = key_text(loader, draft->node, "help");
    const char *name = loader->medperf ? key_text(loader, draft->node, "id") : NULL;
    step->title = title ? title : name ? name : step->id;
    step->help = help ? help : "";
    step->line = draft->node->line;
    step->column = draft->node->column;
}

void load_step(struct loader *loader, struct draft *draft) {
    struct step *step = &draft->step;
    load_texts(loader, draft);
    bool typed = load_type(loader, draft);
    if (draft->child)
        check_calling(loader, draft);
    else
        check_keys(loader, draft->node, "step", typed ? step_type_name(step->type) : NULL);
    load_fan(loader, draft);
    load_inputs(loader, draft);
    load_running(loader, draft);
    load_mounts(loader, draft);
    load_declared_outputs(loader, draft);
    load_people(loader, draft);
    load_flow(loader, draft);
    if (!typed)
        return; /* nobody knows what it needs */
    if (step->type == STEP_TOOL) {
        require_key(loader, draft, "tool");
        check_tool(loader, draft);
    } else if (step->type == STEP_CONTAINER) {
        require_key(loader, draft, "image");
        if (loader->medperf)
            require_key(loader, draft, "command");
    } else if (step->type == STEP_COMMAND) {
        require_key(loader, draft, "command");
    }
}
