/* The reader of pipelines against anything; test/bad-input is its corpus. */
#include "fuzz.h"
#include "pipeline/pipeline.h"

const char *__lsan_default_suppressions(void);

/* jq 1.6's own parser forgets tokens when it meets a syntax error; libfyaml 0.7.12 a buffer. */
const char *__lsan_default_suppressions(void) {
    return "leak:libjq\nleak:libfyaml\n";
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    const struct pipeline_options options = {.can_run_images = true};
    struct diagnostics diagnostics = {0};
    OWN_ERROR error = NULL;
    OWN_BUFFER out = {0};
    OWN_PIPELINE pipeline =
        pipeline_parse((const char *)bytes, size, "fuzz.yaml", &options, &diagnostics, &error);
    diagnostics_print(&diagnostics, false, &out);
    if (!pipeline && !diagnostics.errors && (!error || error->code == ERROR_INVALID))
        abort(); /* refused without a reason */
    if (pipeline && diagnostics.errors)
        abort();
    if (!text_is_utf8(buffer_text(&out), out.size))
        abort(); /* would garble a terminal */
    if (pipeline) {
        OWN_PIPELINE again =
            pipeline_from_document(pipeline->document, "fuzz.yaml", &options, NULL);
        if (!again || again->step_count != pipeline->step_count)
            abort();
        for (int format = GRAPH_TEXT; format <= GRAPH_JSON; format++)
            if (pipeline_graph(pipeline, (enum graph_format)format, 80, false, NULL, &out, NULL) <
                0)
                break;
    }
    diagnostics_release(&diagnostics);
    return 0;
}
