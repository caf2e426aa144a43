/* The files of sub-pipelines, read and put in the place of their names. */
#include "pipeline/private-load.h"

#include <errno.h>
#include <fcntl.h>

struct chain { /* the files that are being read, innermost first */
    const struct chain *outer;
    const char *path;
    unsigned depth;
};

/* For the records of runs. */
static bool keep_file(struct loader *loader, const struct source *source) {
    struct pipeline_file **end = &loader->pipeline->files;
    for (; *end; end = &(*end)->next)
        if (text_equal((*end)->path, source->path))
            return true;
    struct pipeline_file *file = arena_allocate(loader->arena, sizeof(*file));
    if (file)
        *file = (struct pipeline_file){source->path, source->text, source->size, NULL};
    *end = file;
    return file;
}

bool source_read(struct loader *loader, const char *path, struct source **ret, struct error **err) {
    OWN_BUFFER text = {.maximum = YAML_MAXIMUM_SIZE + 1};
    struct error *problem = NULL;
    if (file_read_all(AT_FDCWD, path, YAML_MAXIMUM_SIZE, &text, &problem) < 0) {
        if (problem && problem->code == ERROR_LIMIT)
            error_hint(&problem, "a pipeline names data as inputs, and does not hold it");
        else if (problem && problem->number == EISDIR)
            error_hint(&problem, "name the file in it");
        else if (problem && problem->code == ERROR_DENIED)
            error_hint(&problem, "ask its owner, or copy it to where you may read");
        else if (problem && problem->code == ERROR_NOT_FOUND && *path != '/')
            error_hint(&problem, "the path is relative to the folder that you are in");
        return error_move(err, problem) == 0;
    }
    struct source *source = loader_allocate(loader, sizeof(*source));
    if (!source)
        return error_set_memory(err) == 0;
    source->path = arena_copy_string(loader->arena, path);
    source->text = arena_copy_bytes(loader->arena, buffer_text(&text), text.size);
    source->size = text.size;
    *ret = source;
    return (source->path && source->text && keep_file(loader, source)) ||
           error_set_memory(err) == 0;
}

char *join_to_source(struct loader *loader, const struct source *source, const char *path) {
    size_t length = strlen(source->path) - strlen(path_base_name(source->path));
    OWN_STRING folder = memory_copy_bytes(source->path, length);
    OWN_STRING joined =
        folder ? (length ? path_join(folder, path) : memory_copy_string(path)) : NULL;
    char *copy = joined ? arena_copy_string(loader->arena, joined) : NULL;
    if (!copy)
        loader->trouble.no_memory = true;
    return copy;
}

/* The places beside a file where the modules of its Python functions are looked for. */
const char *pipeline_function_folder(size_t index) {
    static const char *const folders[] = {"additional_files", "workspace/additional_files", ""};
    return index < ARRAY_SIZE(folders) ? folders[index] : NULL;
}

void keep_module(struct loader *loader, const struct node *place, const char *function) {
    size_t size =
        strspn(function, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    if (!strchr(function, '.'))
        node_error(&loader->trouble, place, "function_name: MODULE.FUNCTION",
                   "`%.100s` does not say in which module the function is", function);
    /* A document that was made of a file has none: whoever made it has kept the files. */
    if (!loader->pipeline->files || function[size] != '.')
        return;
    const char *folder;
    for (size_t i = 0; (folder = pipeline_function_folder(i)); i++) {
        const char *name =
            loader_format(loader, "%s%s%.*s.py", folder, *folder ? "/" : "", (int)size, function);
        const char *path = name ? join_to_source(loader, place->source, name) : NULL;
        struct source *source = NULL;
        if (!path || !file_exists(AT_FDCWD, path))
            continue;
        OWN_BUFFER text = {.maximum = YAML_MAXIMUM_SIZE + 1};
        OWN_ERROR problem = NULL; /* the call will tell */
        if (file_read_all(AT_FDCWD, path, YAML_MAXIMUM_SIZE, &text, &problem) < 0 ||
            !text_is_utf8(buffer_text(&text), text.size) ||
            !(source = loader_allocate(loader, sizeof(*source))))
            return;
        *source = (struct source){
            path, arena_copy_bytes(loader->arena, buffer_text(&text), text.size), text.size};
        loader->trouble.no_memory =
            loader->trouble.no_memory || !source->text || !keep_file(loader, source);
        return;
    }
}

/* Defaults that are paths were written relative to the sub-pipeline's own folder. */
static struct node *move_defaults(struct loader *loader, struct node *document, const char *key,
                                  const char *folder) {
    struct node *section = node_get_value(document, key);
    for (size_t i = 0; section && section->kind == NODE_MAPPING && i < section->count; i++) {
        struct node *item = section->values[i];
        const struct node *path = node_get_value(item, "default");
        const struct node *type = node_get_value(item, "type");
        const char *word = type && type->kind == NODE_STRING ? type->text : "";
        bool is_path =
            text_equal(key, "inputs") || text_equal(word, "file") || text_equal(word, "directory");
        if (!is_path || !path || path->kind != NODE_STRING || *path->text == '/')
            continue;
        OWN_STRING moved = path_join(folder, path->text);
        struct node *value = moved ? node_new_string(loader->arena, path, moved) : NULL;
        struct node *copy = value ? node_with(loader->arena, item, "default", value) : NULL;
        section = copy ? node_with(loader->arena, section, section->keys[i]->text, copy) : NULL;
        document = section ? node_with(loader->arena, document, key, section) : NULL;
        if (!document) {
            loader->trouble.no_memory = true;
            return NULL;
        }
    }
    return document;
}

/* The same of images that are files. */
static struct node *move_images(struct loader *loader, struct node *document, const char *folder) {
    const struct node *steps = node_get_value(document, "steps");
    if (!steps || steps->kind != NODE_LIST)
        return document;
    struct node *list = node_new(loader->arena, steps, NODE_LIST);
    if (list)
        list->values = loader_allocate(loader, steps->count * sizeof(struct node *));
    for (size_t i = 0; list && list->values && i < steps->count; i++) {
        struct node *step = steps->values[i];
        const struct node *image =
            step->kind == NODE_MAPPING ? node_get_value(step, "image") : NULL;
        if (image && image->kind == NODE_STRING && *image->text == '.') {
            OWN_STRING moved = path_join(folder, image->text);
            bool outside = moved && *moved != '/' && *moved != '.';
            const char *text = moved ? loader_format(loader, outside ? "./%s" : "%s", moved) : NULL;
            struct node *value = text ? node_new_string(loader->arena, image, text) : NULL;
            step = value ? node_with(loader->arena, step, "image", value) : NULL;
        }
        loader->trouble.no_memory = loader->trouble.no_memory || !step;
        list->values[list->count++] = step ? step : steps->values[i];
        list->weight += list->values[i]->weight;
    }
    document = list && list->values ? node_with(loader->arena, document, "steps", list) : NULL;
    loader->trouble.no_memory = loader->trouble.no_memory || !document;
    return document;
}

static struct node *inline_document(struct loader *loader, struct node *document,
                                    const struct chain *chain);

static bool is_in_chain(const struct chain *chain, const char *path) {
    for (; chain; chain = chain->outer)
        if (chain->path && text_equal(chain->path, path))
            return true;
    return false;
}

static struct node *read_subpipeline(struct loader *loader, const struct node *node,
                                     const struct chain *chain) {
    OWN_ERROR error = NULL;
    char *path = join_to_source(loader, node->source, node->text);
    OWN_STRING whole = path ? path_resolve(path, &error) : NULL;
    struct source *source = NULL;
    if (!whole || !source_read(loader, path, &source, &error)) {
        node_error(&loader->trouble, node, "the path is relative to this file", "sub-pipeline: %s",
                   error ? error->message : "no memory");
        return NULL;
    }
    if (is_in_chain(chain, whole)) {
        node_error(&loader->trouble, node, NULL, "the sub-pipelines call each other in a circle");
        return NULL;
    }
    struct node *document = yaml_parse(loader->arena, source, &loader->trouble);
    if (!document || !expect_kind(loader, document, NODE_MAPPING, "a pipeline") ||
        !(document = translate_foreign(loader, document)))
        return NULL;
    size_t length = strlen(node->text) - strlen(path_base_name(node->text));
    OWN_STRING folder = memory_copy_bytes(node->text, length);
    if (folder && *folder) {
        document = move_defaults(loader, document, "inputs", folder);
        document = document ? move_defaults(loader, document, "params", folder) : NULL;
        document = document ? move_images(loader, document, folder) : NULL;
    }
    struct chain inner = {chain, whole, chain->depth + 1};
    return document ? inline_document(loader, document, &inner) : NULL;
}

/* The step with its sub-pipeline in place; itself when it has none; NULL when reported. */
static struct node *inline_step(struct loader *loader, struct node *step,
                                const struct chain *chain) {
    struct node *call = step->kind == NODE_MAPPING ? node_get_value(step, "pipeline") : NULL;
    if (!call)
        return step;
    if (chain->depth >= SUBPIPELINE_MAXIMUM_DEPTH) {
        node_error(&loader->trouble, call, NULL, "sub-pipelines more than %d levels deep",
                   SUBPIPELINE_MAXIMUM_DEPTH);
        return NULL;
    }
    struct chain inner = {chain, NULL, chain->depth + 1};
    struct node *document = NULL;
    if (call->kind == NODE_STRING)
        document = read_subpipeline(loader, call, chain);
    else if (expect_kind(loader, call, NODE_MAPPING, "pipeline"))
        document = inline_document(loader, call, &inner);
    if (!document)
        return NULL;
    struct node *copy = node_with(loader->arena, step, "pipeline", document);
    if (!copy)
        loader->trouble.no_memory = true;
    return copy;
}

static struct node *inline_document(struct loader *loader, struct node *document,
                                    const struct chain *chain) {
    const struct node *steps = node_get_value(document, "steps");
    if (!steps || steps->kind != NODE_LIST)
        return document;
    struct node *list = node_new(loader->arena, steps, NODE_LIST);
    if (!list ||
        !(list->values = arena_allocate(loader->arena, steps->count * sizeof(struct node *)))) {
        loader->trouble.no_memory = true;
        return NULL;
    }
    bool changed = false, failed = false;
    for (; list->count < steps->count; list->count++) {
        struct node *step = inline_step(loader, steps->values[list->count], chain);
        changed = changed || step != steps->values[list->count];
        failed = failed || !step;
        list->values[list->count] = step ? step : steps->values[list->count];
        list->weight += list->values[list->count]->weight;
    }
    if (failed || list->weight > NODE_MAXIMUM_WEIGHT) {
        if (!failed)
            node_error(&loader->trouble, steps, NULL,
                       "with its sub-pipelines, this has more than %d values", NODE_MAXIMUM_WEIGHT);
        return NULL;
    }
    return changed ? node_with(loader->arena, document, "steps", list) : document;
}

struct node *inline_subpipelines(struct loader *loader, struct node *document) {
    OWN_STRING whole = document->source->text ? path_resolve(document->source->path, NULL) : NULL;
    struct chain chain = {NULL, whole, 0};
    return inline_document(loader, document, &chain);
}
