/* From a file to a pipeline: which style it is, and every part in its order. */
#include "pipeline/private-load.h"

#include <fcntl.h>

#define ARENA_MAXIMUM ((size_t)512 << 20)

/* -------------------------------------------------------------- top-level keys */

/* A key that only holds anchors for others to use, such as MedPerf's `base_step`. */
static bool holds_anchor(const struct node *node) {
    if (node->aliased)
        return true;
    for (size_t i = 0; i < node->count; i++)
        if (holds_anchor(node->values[i]))
            return true;
    return false;
}

/* The document without anchor holders, whose use is over. */
static struct node *without_holders(struct loader *loader, struct node *document) {
    struct node *copy = node_new(loader->arena, document, NODE_MAPPING);
    if (!copy || !(copy->keys = arena_allocate(loader->arena, document->count * sizeof(void *))) ||
        !(copy->values = arena_allocate(loader->arena, document->count * sizeof(void *)))) {
        loader->trouble.no_memory = true;
        return NULL;
    }
    for (size_t i = 0; i < document->count; i++) {
        bool known = false;
        for (size_t k = 0; k < language_key_count && !known; k++)
            known = text_equal(language_keys[k].where, "pipeline") &&
                    text_equal(language_keys[k].name, document->keys[i]->text);
        if (!known && holds_anchor(document->values[i]))
            continue;
        copy->keys[copy->count] = document->keys[i];
        copy->values[copy->count++] = document->values[i];
        copy->weight += 1 + document->values[i]->weight;
    }
    return copy;
}

/* MedPerf's files have no declarations, and volumes or host functions in their place. */
static bool is_medperf(const struct node *document) {
    static const char *const ours[] = {"params", "inputs", "outputs", "partition"};
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
        if (node_get(document, ours[i]))
            return false;
    if (node_get(document, "partition_def") || node_get(document, "per_subject_def"))
        return true;
    const struct node *conditions = node_get_value(document, "conditions");
    for (size_t i = 0; conditions && i < conditions->count; i++)
        if (node_get(conditions->values[i], "function_name"))
            return true;
    const struct node *steps = node_get_value(document, "steps");
    for (size_t i = 0; steps && i < steps->count; i++) {
        const struct node *mounts = node_get_value(steps->values[i], "mounts");
        if (node_get(mounts, "input_volumes") || node_get(mounts, "output_volumes"))
            return true;
    }
    return false;
}

static void load_top(struct loader *loader, const struct node *document) {
    struct pipeline *pipeline = loader->pipeline;
    const char *name = key_text(loader, document, "name");
    const char *version = key_text(loader, document, "version");
    const char *description = key_text(loader, document, "description");
    const char *base = path_base_name(pipeline->path);
    size_t length = strcspn(base, ".");
    pipeline->name =
        name ? name : loader_format(loader, "%.*s", (int)(length ? length : strlen(base)), base);
    pipeline->version = version ? version : "";
    pipeline->description = description ? description : "";
    pipeline->limit = key_count(loader, document, "limit", 1, 1000000, 0);
    if (name && (!*name || strlen(name) > 200))
        node_error(&loader->trouble, node_get(document, "name"), NULL,
                   "a name has 1 to 200 characters");
}

/* ------------------------------------------------------------ scopes and drafts */

static struct scope *add_scope(struct loader *loader, struct scope *parent, size_t caller,
                               const struct node *document, const char *prefix) {
    struct scope *scope = loader_allocate(loader, sizeof(*scope));
    if (!scope || array_reserve(&loader->scopes, &loader->scope_capacity, loader->scope_count,
                                sizeof(scope), STEP_MAXIMUM, NULL) < 0) {
        loader->trouble.no_memory = true;
        return NULL;
    }
    *scope =
        (struct scope){.parent = parent, .caller = caller, .document = document, .prefix = prefix};
    scope->partition = node_get_value(document, "partition");
    if (!scope->partition)
        scope->partition = node_get_value(document, "partition_def");
    if (!scope->partition)
        scope->partition = node_get_value(document, "per_subject_def");
    loader->scopes[loader->scope_count++] = scope;
    return scope;
}

/* A kind that nobody knows is taken for a command: such a step may have outputs, so that those who
 * read them are not complained about as well. */
static enum step_type guess_type(const char *kind) {
    for (int type = STEP_COMMAND; type <= STEP_NOTIFY; type++)
        if (kind && text_equal(kind, step_type_name((enum step_type)type)))
            return (enum step_type)type;
    return kind && text_equal(kind, "pipeline") ? STEP_DUMMY : STEP_COMMAND;
}

static bool check_id(struct loader *loader, const struct node *node, const char *id) {
    static const char *const reserved[] = {"inputs", "params", "item"};
    for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
        if (text_equal(id, reserved[i])) {
            node_error(&loader->trouble, node, NULL, "a step cannot be called `%s`", id);
            return false;
        }
    bool fine = loader->medperf ? *id && strlen(id) <= NAME_MAXIMUM : is_name(id);
    if (!fine)
        node_error(&loader->trouble, node, "use letters, digits, - and _",
                   "`%.100s` cannot be the id of a step", id);
    return fine;
}

static void add_draft(struct loader *loader, struct scope *scope, const struct node *node) {
    if (!expect_kind(loader, node, NODE_MAPPING, "a step"))
        return;
    const char *id = key_text(loader, node, "id");
    if (!id) {
        if (!node_get_value(node, "id"))
            node_error(&loader->trouble, node, "id: NAME", "a step needs an id");
        return;
    }
    id = step_name(loader, id);
    if (!check_id(loader, node_get(node, "id"), id))
        return;
    struct draft *before = find_draft(loader, scope, id);
    if (before) {
        node_error(&loader->trouble, node_get(node, "id"), NULL,
                   "two steps are called `%s`; the first is in line %u", id, before->node->line);
        return;
    }
    struct draft *draft = loader_allocate(loader, sizeof(*draft));
    if (loader->draft_count == STEP_MAXIMUM) {
        node_error(&loader->trouble, node, NULL, "more than %d steps", STEP_MAXIMUM);
        return;
    }
    if (!draft || array_reserve(&loader->drafts, &loader->draft_capacity, loader->draft_count,
                                sizeof(draft), STEP_MAXIMUM, NULL) < 0) {
        loader->trouble.no_memory = true;
        return;
    }
    draft->step.id = loader_format(loader, "%s%s", scope->prefix, id);
    draft->node = node;
    draft->scope = scope;
    draft->step.index = loader->draft_count;
    draft->step.type = guess_type(step_kind(node));
    if (!draft->step.id)
        return;
    loader->drafts[loader->draft_count++] = draft;
    HASH_ADD_KEYPTR(hh, loader->by_id, draft->step.id, strlen(draft->step.id), draft);
    if (!draft->hh.tbl)
        loader->trouble.no_memory = true;
}

/* The steps of a scope, then those of the sub-pipelines that they call. */
static void collect(struct loader *loader, struct scope *scope) {
    const struct node *steps = node_get_value(scope->document, "steps");
    if (!steps) {
        node_error(&loader->trouble, scope->document, "steps: [{id: hello, command: echo hello}]",
                   "a pipeline needs `steps`");
        return;
    }
    if (!expect_kind(loader, steps, NODE_LIST, "steps"))
        return;
    if (!steps->count)
        node_error(&loader->trouble, steps, NULL, "the pipeline has no steps");
    size_t first = loader->draft_count;
    for (size_t i = 0; i < steps->count && !loader->trouble.no_memory; i++)
        add_draft(loader, scope, steps->values[i]);
    size_t last = loader->draft_count;
    for (size_t i = first; i < last && !loader->trouble.no_memory; i++) {
        struct draft *draft = loader->drafts[i];
        const struct node *call = node_get_value(draft->node, "pipeline");
        const char *kind = step_kind(draft->node);
        if (!call || call->kind != NODE_MAPPING || !kind || !text_equal(kind, "pipeline"))
            continue;
        const char *prefix = loader_format(loader, "%s.", draft->step.id);
        draft->child = prefix ? add_scope(loader, scope, i, call, prefix) : NULL;
        if (draft->child) {
            check_keys(loader, call, "pipeline", NULL);
            collect(loader, draft->child);
        }
    }
}

/* ----------------------------------------------------------------------- whole */

static void take_over(struct loader *loader) {
    struct pipeline *pipeline = loader->pipeline;
    struct parameter *parameters =
        loader_allocate(loader, loader->parameter_count * sizeof(*parameters));
    struct pipeline_input *inputs = loader_allocate(loader, loader->input_count * sizeof(*inputs));
    if (!parameters || !inputs)
        return;
    if (loader->parameter_count)
        memcpy(parameters, loader->parameters, loader->parameter_count * sizeof(*parameters));
    if (loader->input_count)
        memcpy(inputs, loader->inputs, loader->input_count * sizeof(*inputs));
    pipeline->parameters = parameters;
    pipeline->parameter_count = loader->parameter_count;
    loader->parameter_count = 0; /* their JSON is the pipeline's now */
    pipeline->inputs = inputs;
    pipeline->input_count = loader->input_count;
}

static void load_document(struct loader *loader, struct node *document) {
    if (!expect_kind(loader, document, NODE_MAPPING, "a pipeline") ||
        !(document = translate_foreign(loader, document)) ||
        !(document = without_holders(loader, document)) ||
        !(document = inline_subpipelines(loader, document)))
        return;
    loader->medperf = is_medperf(document);
    loader->pipeline->dialect = loader->medperf ? DIALECT_MEDPERF : DIALECT_GLOVEBOX;
    check_keys(loader, document, "pipeline", NULL);
    load_top(loader, document);
    struct scope *whole = add_scope(loader, NULL, SIZE_MAX, document, "");
    if (!whole)
        return;
    collect(loader, whole);
    for (size_t i = 0; i < loader->scope_count; i++) {
        load_parameters(loader, loader->scopes[i]);
        load_pipeline_inputs(loader, loader->scopes[i]);
        declare_mounted_inputs(loader, loader->scopes[i]);
        load_conditions(loader, loader->scopes[i]);
    }
    for (size_t i = 0; i < loader->draft_count && !loader->trouble.no_memory; i++)
        load_step(loader, loader->drafts[i]);
    load_outputs(loader, whole);
    if (!loader->options || !loader->options->trusted)
        check_programs(loader);
    if (loader->draft_count && !loader->trouble.no_memory)
        link_steps(loader);
    loader->pipeline->document = node_to_json(document);
    if (!loader->pipeline->document)
        loader->trouble.no_memory = true;
    take_over(loader);
}

static void loader_release(struct loader *loader) {
    HASH_CLEAR(hh, loader->by_id);
    HASH_CLEAR(hh, loader->parameter_names);
    HASH_CLEAR(hh, loader->input_names);
    HASH_CLEAR(hh, loader->image_names);
    forget_programs(loader);
    for (size_t i = 0; i < loader->draft_count; i++)
        memory_free(loader->drafts[i]->edges);
    for (size_t i = 0; i < loader->parameter_count; i++) {
        json_decref(loader->parameters[i].fallback);
        json_decref(loader->parameters[i].choices);
    }
    memory_free(loader->drafts);
    memory_free(loader->scopes);
    memory_free(loader->parameters);
    memory_free(loader->inputs);
    pipeline_free(loader->pipeline);
}

static struct pipeline *pipeline_new(const char *path, struct error **err) {
    struct arena *arena = arena_new(ARENA_MAXIMUM);
    struct pipeline *pipeline = arena ? arena_allocate(arena, sizeof(*pipeline)) : NULL;
    if (pipeline)
        pipeline->path = arena_copy_string(arena, path);
    if (!pipeline || !pipeline->path) {
        arena_free(arena);
        error_set_memory(err);
        return NULL;
    }
    pipeline->arena = arena;
    return pipeline;
}

static struct pipeline *finish(struct loader *loader, size_t errors_before, struct error **err) {
    size_t errors = loader->trouble.diagnostics->errors - errors_before;
    if (loader->trouble.no_memory)
        error_set_memory(err);
    else if (errors)
        error_set(err, ERROR_INVALID, "%s has %zu mistake%s", loader->pipeline->path, errors,
                  errors == 1 ? "" : "s");
    struct pipeline *pipeline =
        loader->trouble.no_memory || errors ? NULL : take(&loader->pipeline);
    loader_release(loader);
    return pipeline;
}

static bool loader_start(struct loader *loader, const char *path,
                         const struct pipeline_options *options, struct diagnostics *diagnostics,
                         struct error **err) {
    *loader = (struct loader){.options = options, .trouble = {.diagnostics = diagnostics}};
    loader->pipeline = pipeline_new(path, err);
    loader->arena = loader->pipeline ? loader->pipeline->arena : NULL;
    return loader->pipeline;
}

static struct pipeline *load_source(struct loader *loader, const struct source *source,
                                    struct error **err) {
    size_t errors = loader->trouble.diagnostics->errors;
    struct node *document = yaml_parse(loader->arena, source, &loader->trouble);
    if (document)
        load_document(loader, document);
    return finish(loader, errors, err);
}

struct pipeline *pipeline_load(const char *path, const struct pipeline_options *options,
                               struct diagnostics *diagnostics, struct error **err) {
    struct loader loader;
    struct source *source = NULL;
    if (!loader_start(&loader, path, options, diagnostics, err))
        return NULL;
    if (!source_read(&loader, path, &source, err)) {
        loader_release(&loader);
        return NULL;
    }
    return load_source(&loader, source, err);
}

struct pipeline *pipeline_parse(const char *text, size_t size, const char *path,
                                const struct pipeline_options *options,
                                struct diagnostics *diagnostics, struct error **err) {
    struct loader loader;
    if (!loader_start(&loader, path, options, diagnostics, err))
        return NULL;
    struct source *source = loader_allocate(&loader, sizeof(*source));
    if (source) {
        source->path = loader.pipeline->path;
        source->text = arena_copy_bytes(loader.arena, text, size);
        source->size = size;
    }
    if (!source || !source->text) {
        loader_release(&loader);
        error_set_memory(err);
        return NULL;
    }
    return load_source(&loader, source, err);
}

struct pipeline *pipeline_from_document(const json_t *document, const char *path,
                                        const struct pipeline_options *options,
                                        struct error **err) {
    struct loader loader;
    struct diagnostics diagnostics = {0};
    if (!loader_start(&loader, path, options, &diagnostics, err))
        return NULL;
    struct source *source = loader_allocate(&loader, sizeof(*source));
    struct node *root = NULL;
    if (source) {
        source->path = loader.pipeline->path;
        source->loose = true;
        root = node_from_json(loader.arena, source, document);
    }
    if (root)
        load_document(&loader, root);
    else
        loader.trouble.no_memory = true;
    struct pipeline *pipeline = finish(&loader, 0, err);
    if (!pipeline && err && *err && diagnostics.count)
        error_hint(err, "%s", diagnostics.items[0].message);
    diagnostics_release(&diagnostics);
    return pipeline;
}

void pipeline_free(struct pipeline *pipeline) {
    if (!pipeline)
        return;
    for (size_t i = 0; i < pipeline->parameter_count; i++) {
        json_decref(pipeline->parameters[i].fallback);
        json_decref(pipeline->parameters[i].choices);
    }
    json_decref(pipeline->document);
    arena_free(pipeline->arena); /* which holds the pipeline itself */
}

void pipeline_cleanup(struct pipeline **pipeline) {
    pipeline_free(*pipeline);
    *pipeline = NULL;
}

const struct step *pipeline_find_step(const struct pipeline *pipeline, const char *id) {
    for (size_t i = 0; i < pipeline->step_count; i++)
        if (text_equal(pipeline->steps[i].id, id))
            return &pipeline->steps[i];
    return NULL;
}
