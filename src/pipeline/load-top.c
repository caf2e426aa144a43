/* The top of a pipeline: name, parameters, inputs, outputs. */
#include "pipeline/private-load.h"

#include <float.h>
#include <regex.h>

static const char *const value_types[] = {"string", "integer",   "number", "boolean",
                                          "file",   "directory", "list"};

const char *value_type_name(enum value_type type) {
    return value_types[type];
}

/* "STEP.NAME" is a name too: so the parameters of a ChRIS pipeline's plugins are called. */
static bool is_parameter_name(const char *text) {
    char first[NAME_MAXIMUM + 1];
    size_t length = strcspn(text, ".");
    if (!text[length] || length > NAME_MAXIMUM)
        return is_name(text);
    memcpy(first, text, length);
    first[length] = '\0';
    return is_name(first) && is_name(text + length + 1);
}

static void check_name(struct loader *loader, const struct node *key, const char *what) {
    if (!(text_equal(what, "a parameter") ? is_parameter_name(key->text) : is_name(key->text)))
        node_error(&loader->trouble, key, "use letters, digits, - and _",
                   "`%.100s` cannot be the name of %s", key->text, what);
}

/* Looks up a name of `scope`. False when there is none. */
static bool find_name(struct name_index *names, const struct scope *scope, const char *name,
                      size_t *ret_index) {
    char full[SUBPIPELINE_MAXIMUM_DEPTH * (NAME_MAXIMUM + 2) + 256];
    int length = snprintf(full, sizeof(full), "%s%s", scope->prefix, name);
    struct name_index *found = NULL;
    if (length >= 0 && (size_t)length < sizeof(full))
        HASH_FIND_STR(names, full, found);
    if (found)
        *ret_index = found->index;
    return found;
}

static void add_name(struct loader *loader, struct name_index **names, const char *name,
                     size_t index) {
    struct name_index *item = loader_allocate(loader, sizeof(*item));
    if (!item)
        return;
    item->name = name;
    item->index = index;
    HASH_ADD_KEYPTR(hh, *names, item->name, strlen(item->name), item);
    if (!item->hh.tbl)
        loader->trouble.no_memory = true;
}

bool note_image(struct loader *loader, const char *image) {
    struct name_index *found = NULL;
    HASH_FIND_STR(loader->image_names, image, found);
    if (!found)
        add_name(loader, &loader->image_names, image, 0);
    return !found;
}

/* ---------------------------------------------------------------- parameters */

static void load_bounds(struct loader *loader, const struct node *node,
                        struct parameter *parameter) {
    const struct node *minimum = node_get_value(node, "minimum");
    const struct node *maximum = node_get_value(node, "maximum");
    bool counts = parameter->type == VALUE_INTEGER || parameter->type == VALUE_NUMBER;
    if ((minimum || maximum) && !counts)
        node_error(&loader->trouble, minimum ? minimum : maximum, NULL,
                   "a %s has no minimum or maximum", value_type_name(parameter->type));
    if (minimum)
        parameter->has_minimum =
            node_number(loader, minimum, "minimum", -DBL_MAX, DBL_MAX, &parameter->minimum);
    if (maximum)
        parameter->has_maximum =
            node_number(loader, maximum, "maximum", -DBL_MAX, DBL_MAX, &parameter->maximum);
    if (parameter->has_minimum && parameter->has_maximum && parameter->minimum > parameter->maximum)
        node_error(&loader->trouble, maximum, NULL, "the maximum is below the minimum");
}

static void load_pattern(struct loader *loader, const struct node *node,
                         struct parameter *parameter) {
    const struct node *pattern = node_get_value(node, "pattern");
    if (!pattern || !(parameter->pattern = scalar_text(loader, pattern, "pattern")))
        return;
    regex_t compiled;
    int status = regcomp(&compiled, parameter->pattern, REG_EXTENDED | REG_NOSUB);
    if (status == 0) {
        regfree(&compiled);
        return;
    }
    char message[200];
    regerror(status, &compiled, message, sizeof(message));
    node_error(&loader->trouble, pattern, NULL, "pattern: %s", message);
    parameter->pattern = NULL;
}

/* Checks a default (or a choice) as if a person had given it. */
static json_t *load_value(struct loader *loader, const struct node *node, const char *what,
                          const struct parameter *parameter) {
    OWN_JSON json = node_to_json(node);
    OWN_STRING problem = NULL;
    json_t *value = json ? parameter_value(parameter, json, &problem) : NULL;
    if (!value && problem)
        node_error(&loader->trouble, node, NULL, "%s of `%s`: %s", what, parameter->name, problem);
    else if (!value)
        loader->trouble.no_memory = true;
    return value;
}

static void load_choices(struct loader *loader, const struct node *node,
                         struct parameter *parameter) {
    const struct node *choices = node_get_value(node, "choices");
    if (!choices || !expect_kind(loader, choices, NODE_LIST, "choices"))
        return;
    json_t *list = json_array();
    for (size_t i = 0; list && i < choices->count; i++) {
        json_t *value = load_value(loader, choices->values[i], "a choice", parameter);
        if (value && json_array_append_new(list, value) < 0)
            loader->trouble.no_memory = true;
    }
    if (!list)
        loader->trouble.no_memory = true;
    if (!choices->count)
        node_error(&loader->trouble, choices, NULL, "no choices at all");
    parameter->choices = list;
}

/* The value that the caller of a sub-pipeline gives, or NULL. */
static const struct node *given_value(const struct loader *loader, const struct scope *scope,
                                      const char *name) {
    return scope->parent
               ? node_get_value(node_get(loader->drafts[scope->caller]->node, "params"), name)
               : NULL;
}

static void load_fallback(struct loader *loader, const struct scope *scope, const struct node *node,
                          const char *name, struct parameter *parameter) {
    const struct node *given = given_value(loader, scope, name);
    /* "${…}" in what a call gives is text of the caller's, expanded when values are bound. */
    parameter->derived = given && given->kind == NODE_STRING && strstr(given->text, "${");
    if (!given)
        given = node_get_value(node, "default");
    if (parameter->derived) {
        struct draft *caller = loader->drafts[scope->caller];
        const char *text = load_template(loader, caller, given, "params");
        for (const char *at = text; at && (at = strstr(at, "${")); at += 2)
            if (!text_starts_with(at, "${params."))
                node_error(&loader->trouble, given, "give other things by `in` or `env`",
                           "a value for a sub-pipeline can use ${params.NAME} only");
        parameter->fallback = text ? json_string(text) : NULL;
    } else if (given) {
        parameter->fallback = load_value(loader, given, "the value", parameter);
    } else if (scope->parent) {
        node_error(&loader->trouble, loader->drafts[scope->caller]->node,
                   loader_format(loader, "params: {%s: …}", name),
                   "the sub-pipeline needs a value for its parameter `%s`", name);
    }
}

static void load_parameter(struct loader *loader, const struct scope *scope, const struct node *key,
                           const struct node *node) {
    check_name(loader, key, "a parameter");
    struct parameter parameter = {.help = ""};
    parameter.name = loader_format(loader, "%s%s", scope->prefix, key->text);
    struct node *mapping = (struct node *)node;
    if (node->kind != NODE_MAPPING) { /* `threshold: 0.9` for {default: 0.9} */
        node_error(&loader->trouble, node,
                   loader_format(loader, "%s: {type: string, default: …}", key->text),
                   "a parameter is a mapping with type and default, not %s",
                   node_kind_name(node->kind));
        mapping = node_new(loader->arena, node, NODE_MAPPING);
    }
    if (!mapping || !parameter.name)
        return;
    check_keys(loader, mapping, "param", NULL);
    int type =
        key_word(loader, mapping, "type", value_types, ARRAY_SIZE(value_types), VALUE_STRING);
    parameter.type = type < 0 ? VALUE_STRING : (enum value_type)type;
    const char *help = key_text(loader, mapping, "help");
    parameter.help = help ? help : "";
    load_bounds(loader, mapping, &parameter);
    load_pattern(loader, mapping, &parameter);
    if (type >= 0)
        load_choices(loader, mapping, &parameter);
    if (array_reserve(&loader->parameters, &loader->parameter_capacity, loader->parameter_count,
                      sizeof(parameter), 10000, NULL) < 0) {
        json_decref(parameter.choices);
        loader->trouble.no_memory = true;
        return;
    }
    if (type >= 0)
        load_fallback(loader, scope, mapping, key->text, &parameter);
    add_name(loader, &loader->parameter_names, parameter.name, loader->parameter_count);
    loader->parameters[loader->parameter_count++] = parameter;
}

/* Values given to parameters that the sub-pipeline does not have. */
static void check_given(struct loader *loader, const struct scope *scope) {
    const struct node *given = node_get_value(loader->drafts[scope->caller]->node, "params");
    const struct node *declared = node_get_value(scope->document, "params");
    if (!given || !expect_kind(loader, given, NODE_MAPPING, "params"))
        return;
    for (size_t i = 0; i < given->count; i++)
        if (!node_get(declared, given->keys[i]->text))
            node_error(&loader->trouble, given->keys[i], NULL,
                       "the sub-pipeline has no parameter `%.100s`", given->keys[i]->text);
}

void load_parameters(struct loader *loader, const struct scope *scope) {
    const struct node *params = node_get_value(scope->document, "params");
    if (scope->parent)
        check_given(loader, scope);
    if (!params || !expect_kind(loader, params, NODE_MAPPING, "params"))
        return;
    for (size_t i = 0; i < params->count; i++)
        load_parameter(loader, scope, params->keys[i], params->values[i]);
}

const struct parameter *find_parameter(const struct loader *loader, const struct scope *scope,
                                       const char *name, size_t *ret_index) {
    size_t index = 0;
    if (!find_name(loader->parameter_names, scope, name, &index))
        return NULL;
    if (ret_index)
        *ret_index = index;
    return &loader->parameters[index];
}

/* -------------------------------------------------------------------- inputs */

const struct pipeline_input *find_input(const struct loader *loader, const struct scope *scope,
                                        const char *name, size_t *ret_index) {
    size_t index = 0;
    if (!find_name(loader->input_names, scope, name, &index))
        return NULL;
    if (ret_index)
        *ret_index = index;
    return &loader->inputs[index];
}

bool declare_input(struct loader *loader, struct pipeline_input input) {
    const struct scope whole = {.prefix = ""};
    if (find_input(loader, &whole, input.name, NULL))
        return true;
    if (array_reserve(&loader->inputs, &loader->input_capacity, loader->input_count, sizeof(input),
                      10000, NULL) < 0) {
        loader->trouble.no_memory = true;
        return false;
    }
    add_name(loader, &loader->input_names, input.name, loader->input_count);
    loader->inputs[loader->input_count++] = input;
    return true;
}

/* True when the caller of the sub-pipeline gives this input. */
static bool is_given(const struct loader *loader, const struct scope *scope, const char *name) {
    const struct node *in = node_get_value(loader->drafts[scope->caller]->node, "in");
    const struct node *inputs = node_get_value(scope->document, "inputs");
    if (!in)
        return false;
    if (in->kind == NODE_MAPPING)
        return node_get_value(in, name);
    return inputs->count == 1;
}

static void load_input(struct loader *loader, const struct scope *scope, const struct node *key,
                       const struct node *node) {
    static const char *const types[] = {"file", "directory"};
    check_name(loader, key, "an input");
    struct pipeline_input input = {.type = VALUE_DIRECTORY, .help = ""};
    input.name = loader_format(loader, "%s%s", scope->prefix, key->text);
    if (node->kind == NODE_MAPPING) {
        check_keys(loader, node, "input", NULL);
        int type = key_word(loader, node, "type", types, 2, 1);
        input.type = type == 0 ? VALUE_FILE : VALUE_DIRECTORY;
        const char *help = key_text(loader, node, "help");
        input.help = help ? help : "";
        input.fallback = key_text(loader, node, "default");
        input.optional = key_boolean(loader, node, "optional", false);
        input.writable = key_boolean(loader, node, "writable", false);
    } else if (node->kind != NODE_NULL) {
        node_error(&loader->trouble, node,
                   loader_format(loader, "%s: {type: directory}", key->text),
                   "an input is a mapping with type and help, not %s", node_kind_name(node->kind));
    }
    if (!input.name || (scope->parent && is_given(loader, scope, key->text)))
        return;
    if (scope->parent && !input.fallback && !input.optional)
        node_error(&loader->trouble, loader->drafts[scope->caller]->node,
                   loader_format(loader, "in: {%s: …}", key->text),
                   "the sub-pipeline needs its input `%s`", key->text);
    declare_input(loader, input);
}

/* `in` of a call names only what the sub-pipeline has. */
static void check_bindings(struct loader *loader, const struct scope *scope,
                           const struct node *inputs) {
    const struct node *in = node_get_value(loader->drafts[scope->caller]->node, "in");
    if (!in)
        return;
    if (in->kind != NODE_MAPPING && (!inputs || inputs->count != 1))
        node_error(&loader->trouble, in, "in: {NAME: …}",
                   "the sub-pipeline has %zu inputs: say which", inputs ? inputs->count : 0);
    for (size_t i = 0; in->kind == NODE_MAPPING && i < in->count; i++)
        if (!node_get(inputs, in->keys[i]->text))
            node_error(&loader->trouble, in->keys[i], NULL,
                       "the sub-pipeline has no input `%.100s`", in->keys[i]->text);
}

void load_pipeline_inputs(struct loader *loader, const struct scope *scope) {
    const struct node *inputs = node_get_value(scope->document, "inputs");
    if (inputs && !expect_kind(loader, inputs, NODE_MAPPING, "inputs"))
        return;
    if (scope->parent)
        check_bindings(loader, scope, inputs);
    for (size_t i = 0; inputs && i < inputs->count; i++)
        load_input(loader, scope, inputs->keys[i], inputs->values[i]);
}

/* ---------------------------------------------------------------- conditions */

static void load_condition(struct loader *loader, const struct scope *scope,
                           const struct node *node) {
    if (!expect_kind(loader, node, NODE_MAPPING, "a condition"))
        return;
    check_keys(loader, node, "condition", NULL);
    struct condition *condition = loader_allocate(loader, sizeof(*condition));
    if (!condition)
        return;
    condition->scope = scope;
    condition->id = key_text(loader, node, "id");
    const struct node *jq = node_get_value(node, "jq");
    condition->jq = jq ? load_jq(loader, scope, jq, "jq") : NULL;
    condition->function = key_text(loader, node, "function_name");
    if (condition->function)
        keep_module(loader, node_get_value(node, "function_name"), condition->function);
    if (!condition->id) {
        node_error(&loader->trouble, node, NULL, "a condition needs an id");
        return;
    }
    if (!jq == !condition->function)
        node_error(&loader->trouble, node, NULL,
                   "condition `%s` needs `jq` (or MedPerf's `function_name`), and one of them only",
                   condition->id);
    for (const struct condition *other = loader->conditions; other; other = other->next)
        if (other->scope == scope && text_equal(other->id, condition->id))
            node_error(&loader->trouble, node, NULL, "two conditions are called `%s`",
                       condition->id);
    condition->next = loader->conditions;
    loader->conditions = condition;
}

void load_conditions(struct loader *loader, const struct scope *scope) {
    const struct node *conditions = node_get_value(scope->document, "conditions");
    if (!conditions || !expect_kind(loader, conditions, NODE_LIST, "conditions"))
        return;
    for (size_t i = 0; i < conditions->count; i++)
        load_condition(loader, scope, conditions->values[i]);
}
