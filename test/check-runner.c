/*
 * Reads pipeline files as `glovebox check` does and prints what it finds: diagnostics to standard
 * error, exit 3 when there are errors. For tests of the language alone.
 *   check-runner [--images] [--graph text|dot|mermaid|json] [--schema] [--document | --steps] FILE…
 */
#include "pipeline/pipeline.h"

#include <unistd.h>

static const char *const tools[] = {"dicom-fetch", "dicom-anonymize", "dicom-dump", "dicom-convert",
                                    "classify",    "report",          "file-join"};

static int print_json(json_t *json) {
    char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    if (!text)
        return 1;
    puts(text);
    memory_free(text);
    return 0;
}

/* What MedPerf's own expansion shows of a step. */
static int print_steps(const struct pipeline *pipeline) {
    OWN_JSON steps = json_array();
    for (size_t i = 0; i < pipeline->step_count; i++) {
        const struct step *step = &pipeline->steps[i];
        OWN_JSON command = json_array();
        OWN_JSON mounts = json_array();
        OWN_JSON next = json_array();
        for (size_t k = 0; k < step->command_count; k++)
            json_array_append_new(command, json_string(step->command[k]));
        for (size_t k = 0; k < step->next_count; k++)
            json_array_append_new(next, json_string(pipeline->steps[step->next[k].target].id));
        for (size_t k = 0; k < step->mount_count; k++) {
            const struct reference *from = &step->mounts[k].from;
            const char *name = step->mounts[k].is_fresh       ? ""
                               : from->kind == REFERENCE_STEP ? pipeline->steps[from->index].id
                                                              : pipeline->inputs[from->index].name;
            json_array_append_new(mounts, json_pack("{s:s, s:s, s:b}", "input", name, "target",
                                                    step->mounts[k].target, "writable",
                                                    step->mounts[k].writable));
        }
        json_array_append_new(steps,
                              json_pack("{s:s, s:O, s:O, s:O, s:i, s:i}", "id", step->id, "command",
                                        command, "mounts", mounts, "next", next, "limit",
                                        (int)step->limit, "levels", (int)step->axis_count));
    }
    return print_json(steps);
}

static int check(const char *path, const struct pipeline_options *options, const char *graph,
                 const char *print) {
    struct diagnostics diagnostics = {0};
    OWN_ERROR error = NULL;
    OWN_BUFFER out = {0};
    OWN_PIPELINE pipeline = pipeline_load(path, options, &diagnostics, &error);
    diagnostics_print(&diagnostics, false, &out);
    fputs(buffer_text(&out), stderr);
    if (!pipeline && !diagnostics.count)
        fprintf(stderr, "%s: error: %s\n", path, error->message);
    diagnostics_release(&diagnostics);
    if (!pipeline)
        return 3;
    if (print && text_equal(print, "--document"))
        return print_json(pipeline->document);
    if (print)
        return print_steps(pipeline);
    static const char *const formats[] = {"text", "dot", "mermaid", "json"};
    buffer_clear(&out);
    for (size_t i = 0; graph && i < ARRAY_SIZE(formats); i++)
        if (text_equal(graph, formats[i]) &&
            pipeline_graph(pipeline, (enum graph_format)i, 100, false, NULL, &out, &error) < 0)
            fprintf(stderr, "%s\n", error->message);
    fputs(buffer_text(&out), stdout);
    return 0;
}

int main(int argc, char **argv) {
    struct pipeline_options options = {.tools = tools, .tool_count = ARRAY_SIZE(tools)};
    const char *graph = NULL;
    const char *print = NULL;
    int status = 0;
    for (int i = 1; i < argc; i++) {
        if (text_equal(argv[i], "--images")) {
            options.can_run_images = true;
        } else if (text_equal(argv[i], "--document") || text_equal(argv[i], "--steps")) {
            print = argv[i];
        } else if (text_equal(argv[i], "--graph") && i + 1 < argc) {
            graph = argv[++i];
        } else if (text_equal(argv[i], "--schema")) {
            OWN_JSON schema = pipeline_schema(NULL);
            return print_json(schema);
        } else {
            int result = check(argv[i], &options, graph, print);
            status = result ? result : status;
        }
    }
    return status;
}
