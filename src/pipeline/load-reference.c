/* References: names of steps, inputs and parameters, and paths below them. */
#include "pipeline/private-load.h"

static const char *const reserved[] = {"inputs", "params", "item"};

const char *step_name(struct loader *loader, const char *name) {
    if (!loader->medperf || !strpbrk(name, "/.@\n"))
        return name;
    char *legal = arena_copy_string(loader->arena, name);
    for (char *at = legal; at && (at = strpbrk(at, "/.@\n"));)
        *at = '_';
    loader->trouble.no_memory = loader->trouble.no_memory || !legal;
    return legal ? legal : name;
}

const char *draft_own_id(const struct draft *draft) {
    size_t skip = strlen(draft->scope->prefix);
    /* It is empty when there was no memory for it. */
    return strlen(draft->step.id) >= skip ? draft->step.id + skip : draft->step.id;
}

struct draft *find_draft(struct loader *loader, const struct scope *scope, const char *name) {
    char id[SUBPIPELINE_MAXIMUM_DEPTH * (NAME_MAXIMUM + 2) + 256];
    int length = snprintf(id, sizeof(id), "%s%s", scope->prefix, step_name(loader, name));
    if (length < 0 || (size_t)length >= sizeof(id))
        return NULL;
    struct draft *draft = NULL;
    HASH_FIND_STR(loader->by_id, id, draft);
    return draft && draft->scope == scope ? draft : NULL;
}

#define CANDIDATES_MAXIMUM 500

struct draft *require_draft(struct loader *loader, const struct scope *scope,
                            const struct node *node, const char *name) {
    struct draft *draft = find_draft(loader, scope, name);
    if (draft)
        return draft;
    const char *names[CANDIDATES_MAXIMUM];
    size_t count = 0;
    for (size_t i = 0; i < loader->draft_count && count < CANDIDATES_MAXIMUM; i++)
        if (loader->drafts[i]->scope == scope)
            names[count++] = draft_own_id(loader->drafts[i]);
    const char *otherwise = NULL;
    if (text_starts_with(name, "input.") || text_starts_with(name, "param."))
        otherwise = loader_format(loader, "did you mean `%.5ss%s`?", name, name + 5);
    node_error(&loader->trouble, node, nearest_hint(loader, name, names, count, otherwise),
               "no step is called `%.100s`", name);
    return NULL;
}

/* "a/b/c" -> "a" and "b/c". */
static const char *split(struct loader *loader, const char *text, const char **ret_rest) {
    size_t length = strcspn(text, "/");
    *ret_rest = text[length] ? text + length + 1 : "";
    return loader_format(loader, "%.*s", (int)length, text);
}

static const char *join(struct loader *loader, const char *first, const char *second) {
    if (!*first || !*second)
        return *first ? first : second;
    return loader_format(loader, "%s/%s", first, second);
}

/* What the caller of the sub-pipeline binds to the input, or NULL. */
static const struct node *binding(const struct loader *loader, const struct scope *scope,
                                  const char *name) {
    const struct node *in = node_get_value(loader->drafts[scope->caller]->node, "in");
    if (in && in->kind != NODE_MAPPING)
        return in;
    return node_get_value(in, name);
}

static bool unknown_input(struct loader *loader, const struct scope *scope, const struct node *node,
                          const char *name) {
    const char *names[CANDIDATES_MAXIMUM];
    size_t count = 0;
    const struct node *inputs = node_get_value(scope->document, "inputs");
    for (size_t i = 0; inputs && i < inputs->count && count < CANDIDATES_MAXIMUM; i++)
        names[count++] = inputs->keys ? inputs->keys[i]->text : "";
    node_error(&loader->trouble, node,
               nearest_hint(loader, name, names, count, "name it in the pipeline's `inputs`"),
               "no input is called `%.100s`", name);
    return false;
}

static bool input_reference(struct loader *loader, struct draft *draft, const struct scope *scope,
                            const struct node *node, const char *name, struct reference *ret) {
    const struct node *declared = node_get_value(scope->document, "inputs");
    const struct node *bound =
        scope->parent && node_get(declared, name) ? binding(loader, scope, name) : NULL;
    if (bound) {
        const char *text = scalar_text(loader, bound, "in");
        const char *below = ret->path;
        struct draft *caller = loader->drafts[scope->caller];
        if (!text || !parse_reference(loader, caller, scope->parent, bound, text, ret))
            return false;
        ret->path = join(loader, ret->path, below);
        return ret->path;
    }
    ret->kind = REFERENCE_INPUT;
    return find_input(loader, scope, name, &ret->index) || unknown_input(loader, scope, node, name);
}

static bool parameter_reference(struct loader *loader, const struct scope *scope,
                                const struct node *node, const char *name, struct reference *ret) {
    ret->kind = REFERENCE_PARAMETER;
    const struct parameter *parameter = find_parameter(loader, scope, name, &ret->index);
    if (!parameter)
        node_error(&loader->trouble, node, NULL, "no parameter is called `%.100s`", name);
    else if (parameter->type != VALUE_FILE && parameter->type != VALUE_DIRECTORY)
        node_error(&loader->trouble, node, "write ${params.NAME} in a command for its value",
                   "parameter `%s` has the type %s, not file or directory, so it cannot be read",
                   name, value_type_name(parameter->type));
    else
        return true;
    return false;
}

/* "outer/OUTPUT/path": what a sub-pipeline hands over. */
static bool child_reference(struct loader *loader, struct draft *outer, const struct node *node,
                            struct reference *ret) {
    const struct node *outputs = node_get_value(outer->child->document, "outputs");
    const char *rest = ret->path, *name = split(loader, ret->path, &rest);
    const struct node *output = NULL;
    if (outputs && outputs->kind == NODE_MAPPING && !*ret->path && outputs->count == 1)
        output = outputs->values[0];
    else if (name)
        output = node_get_value(outputs, name);
    if (output && output->kind == NODE_MAPPING)
        output = node_get_value(output, "from");
    if (!output) {
        if (*ret->path)
            node_error(&loader->trouble, node, "write STEP/OUTPUT with one of its outputs",
                       "the sub-pipeline `%s` has no output `%.100s`", outer->step.id, name);
        else
            node_error(&loader->trouble, node, "write STEP/OUTPUT with one of its outputs",
                       "`%s` does not say which output of the sub-pipeline", outer->step.id);
        return false;
    }
    const char *text = scalar_text(loader, output, "from"), *below = rest;
    if (!text || !parse_reference(loader, outer, outer->child, output, text, ret))
        return false;
    ret->path = join(loader, ret->path, below);
    return ret->path;
}

bool step_has_outputs(const struct step *step) {
    return step->type == STEP_COMMAND || step->type == STEP_TOOL || step->type == STEP_CONTAINER ||
           step->type == STEP_MANUAL_REVIEW;
}

static bool step_reference(struct loader *loader, struct draft *draft, const struct scope *scope,
                           const struct node *node, const char *name, struct reference *ret) {
    struct draft *upstream = require_draft(loader, scope, node, name);
    if (!upstream)
        return false;
    if (upstream->child)
        return child_reference(loader, upstream, node, ret);
    if (upstream == draft) {
        node_error(&loader->trouble, node, NULL, "step `%s` reads its own outputs", name);
        return false;
    }
    ret->kind = REFERENCE_STEP;
    ret->index = upstream->step.index;
    return true;
}

static bool has_two_words(const char *text, const char *root) {
    return text_starts_with(text, root) && text[strlen(root)] == '.';
}

bool parse_reference(struct loader *loader, struct draft *draft, const struct scope *scope,
                     const struct node *node, const char *text, struct reference *ret) {
    memset(ret, 0, sizeof(*ret));
    ret->name = ret->path = "";
    const char *rest = "", *head = split(loader, text, &rest);
    if (!head)
        return false;
    ret->path = load_path_template(loader, draft, node, rest);
    if (!ret->path)
        return false;
    if (text_equal(head, "item")) {
        ret->kind = REFERENCE_ITEM;
        ret->index = draft->step.index;
        draft->item_use = node;
        return true;
    }
    if (has_two_words(head, "inputs"))
        return input_reference(loader, draft, scope, node, head + strlen("inputs."), ret);
    if (has_two_words(head, "params"))
        return parameter_reference(loader, scope, node, head + strlen("params."), ret);
    for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
        if (text_equal(head, reserved[i])) {
            node_error(&loader->trouble, node, loader_format(loader, "%s.NAME", head),
                       "`%s` is not a reference: say which", head);
            return false;
        }
    if (text_starts_with(text, "${"))
        node_error(&loader->trouble, node, "write inputs.NAME, params.NAME, item or STEP/PATH",
                   "a reference is not a template");
    else
        return step_reference(loader, draft, scope, node, head, ret);
    return false;
}

/* -------------------------------------------------------------------- step.in */

static bool add_input(struct loader *loader, struct draft *draft, struct reference *list,
                      const char *name, const struct node *node) {
    struct step *step = &draft->step;
    const char *text = scalar_text(loader, node, "in");
    struct reference *reference = &list[step->input_count];
    if (!text || !parse_reference(loader, draft, draft->scope, node, text, reference))
        return false;
    reference->name = name;
    draft->input_nodes[step->input_count++] = node;
    return true;
}

/* `foreach: STEP` reads that step's outputs; any other foreach reads its item. */
static void default_input(struct loader *loader, struct draft *draft, struct reference *list) {
    struct step *step = &draft->step;
    bool fans = step->fan.kind != FAN_NONE && !draft->shares_partition;
    bool works = step->type == STEP_COMMAND || step->type == STEP_TOOL ||
                 step->type == STEP_CONTAINER || step->type == STEP_MANUAL_REVIEW;
    bool is_path = step->fan.kind != FAN_FUNCTION && step->fan.kind != FAN_CSV &&
                   step->fan.kind != FAN_JSON; /* whose items are values, for templates */
    if (!fans || !works || !is_path)
        return;
    struct reference *reference = &list[0];
    reference->name = reference->path = "";
    reference->kind = REFERENCE_ITEM;
    reference->index = step->index;
    const struct draft *over =
        step->fan.kind == FAN_STEP ? loader->drafts[step->fan.over.index] : NULL;
    if (over && step_has_outputs(&over->step)) {
        reference->kind = REFERENCE_STEP;
        reference->index = over->step.index;
    }
    draft->input_nodes[0] = draft->fan_node;
    step->input_count = 1;
}

void load_inputs(struct loader *loader, struct draft *draft) {
    const struct node *in = node_get_value(draft->node, "in");
    size_t count = in && in->kind == NODE_MAPPING ? in->count : 1;
    struct reference *list = loader_allocate(loader, count * sizeof(*list));
    draft->input_nodes = loader_allocate(loader, count * sizeof(*draft->input_nodes));
    if (!list || !draft->input_nodes)
        return;
    draft->step.inputs = list;
    if (draft->child)
        return; /* its `in` binds the sub-pipeline's inputs */
    if (!in) {
        default_input(loader, draft, list);
    } else if (in->kind == NODE_MAPPING) {
        for (size_t i = 0; i < in->count; i++) {
            if (!is_name(in->keys[i]->text))
                node_error(&loader->trouble, in->keys[i], "use letters, digits, - and _",
                           "`%.100s` cannot be the name of an input", in->keys[i]->text);
            add_input(loader, draft, list, in->keys[i]->text, in->values[i]);
        }
    } else if (in->kind == NODE_LIST) {
        node_error(&loader->trouble, in, "in: {images: slice, results: classify}",
                   "several inputs need names: write a mapping, not a list");
    } else {
        add_input(loader, draft, list, "", in);
    }
}

/* ------------------------------------------------------------ pipeline.outputs */

static void load_output(struct loader *loader, const struct node *key, const struct node *node,
                        struct draft *reader, struct pipeline_output *output) {
    const struct node *from = node;
    output->name = key->text;
    output->help = "";
    if (node->kind == NODE_MAPPING) {
        check_keys(loader, node, "output", NULL);
        from = node_get_value(node, "from");
        const char *help = key_text(loader, node, "help");
        output->help = help ? help : "";
    }
    if (!is_name(key->text))
        node_error(&loader->trouble, key, "use letters, digits, - and _",
                   "`%.100s` cannot be the name of an output", key->text);
    const char *text = from && from->kind != NODE_NULL ? scalar_text(loader, from, "from") : NULL;
    if (!from || from->kind == NODE_NULL)
        node_error(&loader->trouble, node, "NAME: STEP/PATH", "output `%s` needs `from`",
                   key->text);
    if (text && parse_reference(loader, reader, reader->scope, from, text, &output->from) &&
        output->from.kind == REFERENCE_ITEM)
        node_error(&loader->trouble, from, NULL, "an output cannot be `item`");
}

void load_outputs(struct loader *loader, struct scope *scope) {
    const struct node *outputs = node_get_value(scope->document, "outputs");
    if (!outputs || !expect_kind(loader, outputs, NODE_MAPPING, "outputs"))
        return;
    struct pipeline_output *list = loader_allocate(loader, outputs->count * sizeof(*list));
    struct draft *reader = loader_allocate(loader, sizeof(*reader)); /* stands for "after all" */
    if (!list || !reader)
        return;
    reader->scope = scope;
    reader->step.index = SIZE_MAX;
    reader->step.id = "outputs";
    for (size_t i = 0; i < outputs->count; i++)
        load_output(loader, outputs->keys[i], outputs->values[i], reader, &list[i]);
    loader->pipeline->outputs = list;
    loader->pipeline->output_count = outputs->count;
}
