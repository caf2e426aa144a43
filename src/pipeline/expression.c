/* jq programs: compiled once, run within bounds of time and size. */
#include "pipeline/private-expression.h"

#include <ctype.h>

const char *const expression_variables[] = {"params", "inputs",  "in",  "out",  "partition",
                                            "item",   "results", "run", "step", NULL};

struct expression {
    jq_state *jq;
    struct watchdog *watchdog;
    char *problem; /* of the current compilation or run */
    size_t variable_count;
};

/* ------------------------------------------------------------------- messages */

static void cut(char *text, const char *at) {
    char *found = strstr(text, at);
    if (found)
        *found = '\0';
}

/* jq's words without what makes sense on its own command line only. */
static void on_message(void *context, jv message) {
    struct expression *expression = context;
    if (jv_get_kind(message) == JV_KIND_STRING && !expression->problem) {
        const char *text = jv_string_value(message);
        if (text_starts_with(text, "jq: error: "))
            text += strlen("jq: error: ");
        char *copy = memory_copy_string(text);
        if (copy) {
            cut(copy, "\n");
            cut(copy, " (Unix shell quoting issues?)");
            cut(copy, " at <top-level>");
            cut(copy, ", expecting $end");
        }
        expression->problem = copy;
    }
    jv_free(message);
}

static int fail(struct expression *expression, struct error **err) {
    char *problem = take(&expression->problem);
    error_set(err, ERROR_INVALID, "%s", problem ? problem : "jq refuses it");
    memory_free(problem);
    return -1;
}

/* -------------------------------------------------------------------- compile */

/* The program runs on {i: input, v: values}: so it is compiled once, with variables that change. */
static char *wrap(const char *program, const char *const *variables, struct error **err) {
    OWN_BUFFER text = {0};
    for (size_t i = 0; variables && variables[i]; i++)
        buffer_format(&text, ".v.%s as $%s | ", variables[i], variables[i]);
    buffer_format(&text, "{} as $ENV | .i | %s", program);
    return buffer_take(&text, err);
}

static bool is_blank(const char *text) {
    while (isspace((unsigned char)*text))
        text++;
    return !*text;
}

static int compile(struct expression *expression, const char *program, const char *const *variables,
                   struct error **err) {
    if (is_blank(program))
        return error_set(err, ERROR_INVALID, "the expression is empty");
    if (strlen(program) > EXPRESSION_MAXIMUM_PROGRAM)
        return error_set(err, ERROR_LIMIT, "the expression is longer than %zu KiB",
                         EXPRESSION_MAXIMUM_PROGRAM >> 10);
    if (expression_check_words(program, err) < 0)
        return -1;
    OWN_STRING text = wrap(program, variables, err);
    if (!text)
        return -1;
    expression->jq = jq_init();
    if (!expression->jq)
        return error_set_memory(err);
    jq_set_error_cb(expression->jq, on_message, expression);
    return jq_compile(expression->jq, text) ? 0 : fail(expression, err);
}

struct expression *expression_new(const char *program, const char *const *variables,
                                  struct error **err) {
    struct expression *expression = memory_allocate(sizeof(*expression));
    if (!expression) {
        error_set_memory(err);
        return NULL;
    }
    if (compile(expression, program, variables, err) < 0) {
        expression_free(expression);
        return NULL;
    }
    return expression;
}

void expression_free(struct expression *expression) {
    if (!expression)
        return;
    watchdog_free(expression->watchdog);
    if (expression->jq)
        jq_teardown(&expression->jq);
    memory_free(expression->problem);
    memory_free(expression);
}

/* ------------------------------------------------------------------------ run */

static int start(struct expression *expression, const json_t *input, const json_t *values,
                 struct error **err) {
    if (!expression->watchdog && !(expression->watchdog = watchdog_new(expression->jq)))
        return error_set_memory(err);
    memory_free(take(&expression->problem));
    jv whole = jv_object();
    whole = jv_object_set(whole, jv_string("i"), jv_from_json(input, 0));
    whole = jv_object_set(whole, jv_string("v"), values ? jv_from_json(values, 0) : jv_object());
    jq_start(expression->jq, whole, 0);
    watchdog_start(expression->watchdog, EXPRESSION_TIME);
    return 0;
}

/* jq quotes values ("string (\"Smith\") and number (1) cannot be added"), which may be patient
 * data. What stands from the first to the last of them is left out. */
static void hide_values(char *message) {
    static const char *const kinds[] = {"string (", "number (", "object (", "array (", "boolean ("};
    char *end = strrchr(message, ')'), *first = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        char *found = strstr(message, kinds[i]);
        char *open = found ? found + strlen(kinds[i]) : NULL;
        if (open && (!first || open < first))
            first = open;
    }
    if (!first || !end || end <= first + 3)
        return;
    memcpy(first, "...", 3);
    memmove(first + 3, end, strlen(end) + 1);
}

/* The end of the outputs: an error of the program, or simply no more. */
static int finish(struct expression *expression, jv last, struct error **err) {
    if (watchdog_stop(expression->watchdog)) {
        jv_free(last);
        return error_set(err, ERROR_LIMIT,
                         "the expression ran for more than %d s of processor time and was stopped",
                         EXPRESSION_TIME / 1000);
    }
    if (!jv_invalid_has_msg(jv_copy(last))) {
        jv_free(last);
        return 0;
    }
    jv message = jv_invalid_get_msg(last);
    if (jv_get_kind(message) != JV_KIND_STRING)
        message = jv_dump_string(message, 0);
    OWN_STRING text = memory_copy_string(jv_string_value(message));
    jv_free(message);
    if (!text)
        return error_set_memory(err);
    hide_values(text);
    return error_set(err, ERROR_INVALID, "%.400s", text);
}

json_t *expression_run(struct expression *expression, const json_t *input, const json_t *values,
                       struct error **err) {
    OWN_JSON outputs = json_array();
    if (!outputs || start(expression, input, values, err) < 0)
        return NULL;
    size_t budget = EXPRESSION_MAXIMUM_VALUES;
    jv value = jq_next(expression->jq);
    for (; jv_is_valid(value); value = jq_next(expression->jq)) {
        json_t *output = jv_to_json(value, &budget);
        bool full = json_array_size(outputs) == EXPRESSION_MAXIMUM_OUTPUTS;
        if (full)
            json_decref(output);
        if (full || !output || json_array_append_new(outputs, output) < 0) {
            watchdog_stop(expression->watchdog);
            error_set(err, ERROR_LIMIT, "the expression gives too much");
            return NULL;
        }
    }
    if (finish(expression, value, err) < 0)
        return NULL;
    return take(&outputs);
}

int expression_test(struct expression *expression, const json_t *input, const json_t *values,
                    bool *ret, struct error **err) {
    if (start(expression, input, values, err) < 0)
        return -1;
    jv value = jq_next(expression->jq);
    if (!jv_is_valid(value)) {
        if (finish(expression, value, err) < 0)
            return -1;
        *ret = false;
        return 0;
    }
    jv_kind kind = jv_get_kind(value);
    jv_free(value);
    if (watchdog_stop(expression->watchdog))
        return error_set(err, ERROR_LIMIT, "the expression ran too long");
    *ret = kind != JV_KIND_FALSE && kind != JV_KIND_NULL;
    return 0;
}

/* ---------------------------------------------------------------------- cache */

struct cached {
    char *program;
    struct expression *expression;
    uint64_t used;
};
struct expression_cache {
    struct cached items[EXPRESSION_CACHE_MAXIMUM];
    size_t count;
    uint64_t clock;
};

struct expression_cache *expression_cache_new(void) {
    return memory_allocate(sizeof(struct expression_cache));
}

static void drop(struct cached *item) {
    memory_free(take(&item->program));
    expression_free(take(&item->expression));
}

void expression_cache_free(struct expression_cache *cache) {
    for (size_t i = 0; cache && i < cache->count; i++)
        drop(&cache->items[i]);
    memory_free(cache);
}

struct expression *expression_cache_get(struct expression_cache *cache, const char *program,
                                        struct error **err) {
    size_t oldest = 0;
    for (size_t i = 0; i < cache->count; i++) {
        struct cached *item = &cache->items[i];
        if (item->program && text_equal(item->program, program)) {
            item->used = ++cache->clock;
            return item->expression;
        }
        if (item->used < cache->items[oldest].used)
            oldest = i;
    }
    struct expression *expression = expression_new(program, expression_variables, err);
    OWN_STRING copy = memory_copy_string(program);
    if (!expression || !copy) {
        if (expression)
            error_set_memory(err);
        expression_free(expression);
        return NULL;
    }
    size_t at = cache->count < EXPRESSION_CACHE_MAXIMUM ? cache->count++ : oldest;
    drop(&cache->items[at]);
    cache->items[at] = (struct cached){take(&copy), expression, ++cache->clock};
    return expression;
}
