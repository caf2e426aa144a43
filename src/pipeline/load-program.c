/* Expressions of a pipeline: each is compiled when the file is checked. */
#include "pipeline/private-expression.h"
#include "pipeline/private-load.h"

struct program {
    const char *text;
    const char *what;
    const struct node *node;
    struct program *same; /* the same text elsewhere */
    UT_hash_handle hh;
};

/* Enough together to be fast, few enough for jq's limit on the size of a function. */
#define TOGETHER      200
#define TOGETHER_SIZE 16384

void add_program(struct loader *loader, const struct node *node, const char *what,
                 const char *text) {
    struct program *program = loader_allocate(loader, sizeof(*program)), *before = NULL;
    char *copy = arena_copy_string(loader->arena, text);
    if (!program || !copy) {
        loader->trouble.no_memory = true;
        return;
    }
    *program = (struct program){.text = copy, .what = what, .node = node};
    HASH_FIND_STR(loader->programs, copy, before);
    if (before) {
        program->same = before->same;
        before->same = program;
        return;
    }
    HASH_ADD_KEYPTR(hh, loader->programs, program->text, strlen(program->text), program);
    if (!program->hh.tbl)
        loader->trouble.no_memory = true;
}

static void check_alone(struct loader *loader, const struct program *program) {
    OWN_ERROR error = NULL;
    struct expression *expression = expression_new(program->text, expression_variables, &error);
    expression_free(expression);
    if (!expression && (!error || error->code == ERROR_MEMORY)) {
        loader->trouble.no_memory = true;
        return;
    }
    for (; !expression && program; program = program->same) {
        const char *hint = error->hint;
        if (!hint && text_equal(program->what, "${…}"))
            hint = "for the shell's own ${…} write $${…}";
        node_error(&loader->trouble, program->node, hint, "%s: %s", program->what, error->message);
    }
}

static bool is_simple(const char *text) {
    return text[strspn(text, " \t\r\n")] && strlen(text) < TOGETHER_SIZE / 4 &&
           expression_is_balanced(text);
}

/* Checks those in `list` together; false when one of them is wrong. */
static bool check_together(struct program *const *list, size_t count) {
    OWN_BUFFER text = {0};
    for (size_t i = 0; i < count; i++)
        buffer_format(&text, "%s(%s\n)", i ? "," : "", list[i]->text);
    struct expression *expression =
        count ? expression_new(buffer_text(&text), expression_variables, NULL) : NULL;
    expression_free(expression);
    return expression || !count;
}

static void check_group(struct loader *loader, struct program *const *list, size_t count) {
    if (check_together(list, count))
        return;
    for (size_t i = 0; i < count; i++)
        check_alone(loader, list[i]);
}

void check_programs(struct loader *loader) {
    struct program *group[TOGETHER] = {0}, *program, *next;
    size_t count = 0, size = 0;
    HASH_ITER(hh, loader->programs, program, next) {
        if (!is_simple(program->text)) {
            check_alone(loader, program);
            continue;
        }
        group[count++] = program;
        size += strlen(program->text);
        if (count == TOGETHER || size > TOGETHER_SIZE) {
            check_group(loader, group, count);
            count = size = 0;
        }
    }
    check_group(loader, group, count);
}

void forget_programs(struct loader *loader) {
    HASH_CLEAR(hh, loader->programs);
}
