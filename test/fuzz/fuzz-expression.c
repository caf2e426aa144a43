/* The first line is a jq program or a template, the rest a JSON document that it is asked of. */
#include "fuzz.h"
#include "pipeline/pipeline.h"

const char *__lsan_default_suppressions(void);

/* jq 1.6's own parser forgets tokens when it meets a syntax error. */
const char *__lsan_default_suppressions(void) {
    return "leak:libjq\n";
}

static void ask(const char *program, const json_t *document, const json_t *values) {
    OWN_ERROR error = NULL;
    bool holds;
    struct expression *expression = expression_new(program, expression_variables, &error);
    if (!expression) {
        fuzz_check_error(error);
        return;
    }
    OWN_JSON found = expression_run(expression, document, values, &error);
    if (found)
        fuzz_require(json_is_array(found));
    else
        fuzz_require(error && error->message);
    (void)expression_test(expression, document, values, &holds, NULL);
    expression_free(expression);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    const char *line = size ? memchr(bytes, '\n', size) : NULL;
    if (!line || memchr(bytes, '\0', size))
        return 0;
    size_t length = (size_t)(line - (const char *)bytes);
    OWN_STRING program = memory_copy_bytes(bytes, length);
    OWN_JSON document = json_parse(line + 1, size - length - 1, NULL);
    OWN_JSON values = json_pack("{s:O}", "params", document ? document : json_null());
    if (!program || !values || !text_is_utf8(program, length))
        return 0;
    OWN_ERROR error = NULL;
    OWN_STRING text = template_expand(program, values, &error);
    fuzz_require(text || (error && error->message));
    if (document)
        ask(program, document, values);
    return 0;
}
