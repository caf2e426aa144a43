/* Texts with ${…}: what stands in them, checked. */
#include "pipeline/private-load.h"
#include "pipeline/private-template.h"

/* The words that may begin a path in ${…}. */
static const char *const roots[] = {"params", "inputs",  "in",  "out", "partition",
                                    "item",   "results", "run", "step"};

struct place_in_file {
    const char *at, *end;
    unsigned line, column;
};

/* A ${…} of a shell command, in order. */
struct shell_use {
    const struct node *node;
    const char *inside;
    struct shell_use *next;
};

/* A shell command as the shell's quotes see it: a mark for each ${…}, of which `first` is the next
 * to be looked at. */
struct shell_text {
    struct buffer text;
    struct shell_use *first, *last;
    size_t passed; /* how many before `first` have been looked at */
};

struct rewriting {
    struct loader *loader;
    struct draft *draft; /* whose text it is */
    const struct node *whole;
    const struct node *node; /* the place of the ${…} at hand */
    struct place_in_file place;
    struct buffer out;
    struct shell_text *shell; /* NULL: the text is not for a shell */
};

/* ------------------------------------------------------------------------ jq */

/* Inside a sub-pipeline $params and $results are those of its own names. */
static const char *scoped_jq(struct loader *loader, const struct scope *scope,
                             const struct node *node, const char *program) {
    static const char *const variables[] = {"params", "results"};
    OWN_BUFFER text = {0};
    if (scope->parent && strstr(program, "$inputs"))
        node_error(&loader->trouble, node, "read it with `in`, and use $in",
                   "jq in a sub-pipeline cannot use $inputs");
    for (size_t i = 0; scope->parent && i < ARRAY_SIZE(variables); i++) {
        OWN_STRING name = memory_format("$%s", variables[i]);
        if (!name)
            loader->trouble.no_memory = true;
        else if (strstr(program, name))
            buffer_format(&text,
                          "(%s | with_entries(select(.key | startswith(\"%s\")) | .key |= .[%zu:]))"
                          " as %s | ",
                          name, scope->prefix, strlen(scope->prefix), name);
    }
    buffer_append(&text, program);
    return loader_take(loader, &text);
}

const char *load_jq(struct loader *loader, const struct scope *scope, const struct node *node,
                    const char *what) {
    const char *text = node->kind == NODE_BOOLEAN ? node->text : scalar_text(loader, node, what);
    if (!text)
        return NULL;
    add_program(loader, node, what, text);
    return scoped_jq(loader, scope, node, text);
}

/* ----------------------------------------------------------------- templates */

static void note_partition(struct draft *draft, const struct node *node, const char *inside) {
    bool path = template_is_path(inside);
    if (path ? text_equal(inside, "item") || text_starts_with(inside, "item.")
             : strstr(inside, "$item") != NULL)
        draft->item_use = node;
    if (path ? text_equal(inside, "partition") : strstr(inside, "$partition") != NULL)
        draft->partition_use = node;
}

#define CANDIDATES_MAXIMUM 200

static const char *parameter_hint(struct rewriting *rewriting, const char *name) {
    const struct loader *loader = rewriting->loader;
    const char *names[CANDIDATES_MAXIMUM];
    size_t count = 0, skip = strlen(rewriting->draft->scope->prefix);
    for (size_t i = 0; i < loader->parameter_count && count < CANDIDATES_MAXIMUM; i++)
        if (text_starts_with(loader->parameters[i].name, rewriting->draft->scope->prefix))
            names[count++] = loader->parameters[i].name + skip;
    return nearest_hint(rewriting->loader, name, names, count, NULL);
}

/* The first name after the root: of "params.model.x" it is "model". */
static const char *second_word(struct loader *loader, const char *inside) {
    const char *dot = strchr(inside, '.');
    if (!dot)
        return NULL;
    return loader_format(loader, "%.*s", (int)strcspn(dot + 1, "."), dot + 1);
}

static void use_parameter(struct rewriting *rewriting, const char *name, const char *rest) {
    const struct scope *scope = rewriting->draft->scope;
    const char *whole = loader_format(rewriting->loader, "%s%s", name, rest);
    if (!find_parameter(rewriting->loader, scope, name, NULL) &&
        !find_parameter(rewriting->loader, scope, whole, NULL))
        node_error(&rewriting->loader->trouble, rewriting->node, parameter_hint(rewriting, name),
                   "no parameter is called `%s`", name);
    buffer_format(&rewriting->out, "${params.%s%s%s}", scope->prefix, name, rest);
}

static void use_input(struct rewriting *rewriting, const char *name) {
    struct loader *loader = rewriting->loader;
    const char *text = loader_format(loader, "inputs.%s", name);
    struct reference reference;
    if (!text || !parse_reference(loader, rewriting->draft, rewriting->draft->scope,
                                  rewriting->node, text, &reference))
        return;
    if (reference.kind != REFERENCE_INPUT) {
        node_error(&loader->trouble, rewriting->node, "read it with `in`, and use ${in.NAME}",
                   "the caller gives `inputs.%s` from a step, so it has no path here", name);
        return;
    }
    buffer_format(&rewriting->out, "${inputs.%s}%s%s", loader->inputs[reference.index].name,
                  *reference.path ? "/" : "", reference.path);
}

static void use_in(struct rewriting *rewriting, const char *name, const char *inside) {
    const struct step *step = &rewriting->draft->step;
    const char *names[CANDIDATES_MAXIMUM];
    size_t count = 0;
    bool found = false;
    for (size_t i = 0; i < step->input_count; i++) {
        found = found || text_equal(step->inputs[i].name, name);
        if (count < CANDIDATES_MAXIMUM)
            names[count++] = step->inputs[i].name;
    }
    if (!found)
        node_error(&rewriting->loader->trouble, rewriting->node,
                   nearest_hint(rewriting->loader, name, names, count,
                                "name it in the step's `in: {NAME: …}`"),
                   "the step reads nothing called `%s`", name);
    buffer_format(&rewriting->out, "${%s}", inside);
}

static void use_result(struct rewriting *rewriting, const struct scope *scope, const char *name,
                       const char *rest) {
    const struct draft *upstream = require_draft(rewriting->loader, scope, rewriting->node, name);
    struct result_use *use = loader_allocate(rewriting->loader, sizeof(*use));
    if (!upstream || !use)
        return;
    *use =
        (struct result_use){upstream->step.index, rewriting->node, rewriting->draft->result_uses};
    rewriting->draft->result_uses = use;
    buffer_format(&rewriting->out, "${results.%s%s%s}", scope->prefix, name, rest);
}

/* A path whose first word is none of ours: likely a variable of the shell. */
static void bad_root(struct rewriting *rewriting, const char *inside) {
    struct loader *loader = rewriting->loader;
    const char *word = loader_format(loader, "%.*s", (int)strcspn(inside, "."), inside);
    if (!word)
        return;
    const char *otherwise =
        strchr(inside, '.')
            ? "a template knows params, inputs, in, out, partition, item, results, run and step"
            : loader_format(loader, "for a variable of the shell write $%s or $${%s}", word, word);
    node_error(&loader->trouble, rewriting->node,
               nearest_hint(loader, word, roots, ARRAY_SIZE(roots), otherwise),
               "${%s}: there is no `%s` here", inside, word);
}

static void use_path(struct rewriting *rewriting, const char *inside) {
    struct loader *loader = rewriting->loader;
    const char *name = second_word(loader, inside);
    size_t root = ARRAY_SIZE(roots), length = strcspn(inside, ".");
    for (size_t i = 0; i < ARRAY_SIZE(roots); i++)
        if (strlen(roots[i]) == length && memcmp(roots[i], inside, length) == 0)
            root = i;
    if (root == ARRAY_SIZE(roots)) {
        bad_root(rewriting, inside);
        return;
    }
    const char *rest = name ? inside + length + 1 + strlen(name) : "";
    if (name && text_equal(roots[root], "params"))
        use_parameter(rewriting, name, rest);
    else if (name && text_equal(roots[root], "inputs"))
        use_input(rewriting, name);
    else if (name && text_equal(roots[root], "in"))
        use_in(rewriting, name, inside);
    else if (name && text_equal(roots[root], "results"))
        use_result(rewriting, rewriting->draft->scope, name, rest);
    else
        buffer_format(&rewriting->out, "${%s}", inside);
}

/* Escapes and indentation make a text longer in the file than it is. */
static void start_search(struct place_in_file *place, const struct node *node) {
    const struct source *source = node->source;
    size_t size = 4 * node->text_size + 4000;
    if (!source->text || node->offset > source->size)
        return;
    if (size > source->size - node->offset)
        size = source->size - node->offset;
    *place = (struct place_in_file){source->text + node->offset, source->text + node->offset + size,
                                    node->line, node->column};
}

/* Where in the file ${inside} stands: a long text may have many of them. They come in order, so
 * each search goes on where the last one ended. */
static const struct node *find_use(struct rewriting *rewriting, const char *inside) {
    const struct node *whole = rewriting->whole;
    struct place_in_file *place = &rewriting->place;
    for (; place->at < place->end; place->at++) {
        const char *at = place->at;
        if (*at == '\n') {
            place->line++;
            place->column = 1;
            continue;
        }
        bool opens = at[0] == '$' && at[1] == '{';
        unsigned column = place->column;
        place->column += ((unsigned char)*at & 0xC0) != 0x80;
        if (!opens || !text_starts_with(at + 2 + strspn(at + 2, " \t"), inside))
            continue;
        struct node *node = node_new(rewriting->loader->arena, whole, NODE_STRING);
        place->at++;
        if (!node)
            return whole;
        node->line = place->line;
        node->column = column;
        return node;
    }
    return whole;
}

static void note_shell_use(struct rewriting *rewriting, const char *inside) {
    struct shell_text *shell = rewriting->shell;
    struct shell_use *use = loader_allocate(rewriting->loader, sizeof(*use));
    if (!use)
        return;
    *use =
        (struct shell_use){rewriting->node, loader_format(rewriting->loader, "%s", inside), NULL};
    *(shell->last ? &shell->last->next : &shell->first) = use;
    shell->last = use;
    buffer_append_char(&shell->text, SHELL_MARK);
}

static void warn_of_quotes(size_t mark, void *context) {
    struct rewriting *rewriting = context;
    struct shell_text *shell = rewriting->shell;
    for (; shell->first && shell->passed < mark; shell->passed++)
        shell->first = shell->first->next;
    const struct shell_use *use = shell->first;
    if (use)
        node_warning(&rewriting->loader->trouble, use->node,
                     loader_format(rewriting->loader,
                                   "use double quotes, or leave the single ones for it: "
                                   "'…'\"${%s}\"'…'",
                                   use->inside),
                     "${%s} stands in single quotes, where the shell puts in no value",
                     use->inside);
}

static int on_use(const char *inside, size_t offset, void *context, struct error **err) {
    struct rewriting *rewriting = context;
    (void)offset;
    rewriting->node = find_use(rewriting, inside);
    if (rewriting->shell)
        note_shell_use(rewriting, inside);
    note_partition(rewriting->draft, rewriting->node, inside);
    if (template_is_path(inside)) {
        use_path(rewriting, inside);
        return 0;
    }
    add_program(rewriting->loader, rewriting->node, "${…}", inside);
    const char *program =
        scoped_jq(rewriting->loader, rewriting->draft->scope, rewriting->node, inside);
    if (program)
        buffer_format(&rewriting->out, "${%s}", program);
    return 0;
}

static int on_literal(const char *text, size_t size, void *context, struct error **err) {
    struct rewriting *rewriting = context;
    if (rewriting->shell)
        buffer_append_bytes(&rewriting->shell->text, text, size);
    /* The walker gives "${" for "$${": write it back. */
    if (size == 2 && memcmp(text, "${", 2) == 0)
        buffer_append(&rewriting->out, "$${");
    else
        buffer_append_bytes(&rewriting->out, text, size);
    return 0;
}

static const char *rewrite(struct loader *loader, struct draft *draft, const struct node *node,
                           const char *text, const char *what, struct shell_text *shell) {
    if (!strchr(text, '$'))
        return text;
    if (loader->medperf) { /* MedPerf has no templates: the text means itself */
        OWN_STRING escaped = template_escape(text);
        loader->trouble.no_memory = loader->trouble.no_memory || !escaped;
        return escaped ? loader_format(loader, "%s", escaped) : NULL;
    }
    OWN_ERROR error = NULL;
    struct rewriting rewriting = {
        .loader = loader, .draft = draft, .whole = node, .node = node, .shell = shell};
    struct template_parts parts = {on_literal, on_use, &rewriting};
    start_search(&rewriting.place, node);
    const char *result = NULL;
    if (template_walk(text, &parts, &error) == 0)
        result = loader_take(loader, &rewriting.out);
    else if (!error || error->code == ERROR_MEMORY)
        loader->trouble.no_memory = true;
    else
        node_error(&loader->trouble, node, error->hint, "%s: %s", what, error->message);
    if (result && shell)
        shell_find_quoted(buffer_text(&shell->text), warn_of_quotes, &rewriting);
    buffer_release(&rewriting.out);
    return result;
}

const char *load_template(struct loader *loader, struct draft *draft, const struct node *node,
                          const char *what) {
    if (node->kind == NODE_NULL)
        return "";
    const char *text = scalar_text(loader, node, what);
    return text ? rewrite(loader, draft, node, text, what, NULL) : NULL;
}

const char *load_shell_text(struct loader *loader, struct draft *draft, const struct node *node,
                            const char *what) {
    const char *text = scalar_text(loader, node, what);
    struct shell_text shell = {0};
    const char *result = text ? rewrite(loader, draft, node, text, what, &shell) : NULL;
    buffer_release(&shell.text);
    return result;
}

const char *load_path_template(struct loader *loader, struct draft *draft, const struct node *node,
                               const char *path) {
    if (!strstr(path, "${") && *path && !path_is_safe_relative(path)) {
        node_error(&loader->trouble, node, "use a relative path without . and ..",
                   "`%.200s` is not a path below a folder", path);
        return NULL;
    }
    return rewrite(loader, draft, node, path, "path", NULL);
}
