/* Every allocation and every system call of the pipeline room, made to fail in turn. jq and
 * libfyaml allocate for themselves, and are left alone. */
#include "faults.h"
#include "pipeline/pipeline.h"
#include "tap.h"

#include <fcntl.h>

static const char part[] = "name: part\n"
                           "inputs: {scans: {}}\n"
                           "params: {n: {type: integer, default: 2}}\n"
                           "steps:\n"
                           "  - {id: inner, in: inputs.scans, command: [cut, \"${params.n}\"]}\n"
                           "outputs: {cut: inner}\n";
static const char whole[] =
    "name: whole\n"
    "version: \"1.2\"\n"
    "inputs: {scans: {help: some}, table: {type: file, optional: true}}\n"
    "params: {size: {type: integer, minimum: 1, default: 5}, mode: {choices: [a, b], default: a}}\n"
    "limit: 4\n"
    "steps:\n"
    "  - id: each\n"
    "    foreach: {directories: inputs.scans, match: \"sub-*\"}\n"
    "    command: &work [work, --size, \"${params.size}\"]\n"
    "    resources: {cpus: 2, memory: 1g}\n"
    "    retries: {count: 2, backoff: 10s, causes: [exit, lost]}\n"
    "  - {id: part, pipeline: part.yaml, in: {scans: inputs.scans}, params: {n: 3}}\n"
    "  - {id: look, type: manual_approval, foreach: each, message: \"${partition}?\"}\n"
    "  - {id: join, in: {all: each, cut: part}, needs: [look], command: *work, timeout: 5m}\n"
    "outputs: {all: join, cut: part}\n";

static int write_text(const char *folder, const char *name, const char *text, struct error **err) {
    OWN_STRING path = path_join(folder, name);
    return path ? file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644, err)
                : error_set_memory(err);
}

static struct pipeline *load(const char *scratch, struct error **err) {
    struct pipeline_options options = {.can_run_images = true, .trusted = true};
    struct diagnostics diagnostics = {0};
    OWN_STRING path = path_join(scratch, "whole.yaml");
    struct pipeline *pipeline = NULL;
    if (!path)
        error_set_memory(err);
    else if (write_text(scratch, "part.yaml", part, err) == 0 &&
             write_text(scratch, "whole.yaml", whole, err) == 0)
        pipeline = pipeline_load(path, &options, &diagnostics, err);
    diagnostics_release(&diagnostics);
    return pipeline;
}

static int load_and_tell(const char *scratch, struct buffer *out, struct error **err) {
    OWN_PIPELINE pipeline = load(scratch, err);
    OWN_STRING document = pipeline ? json_canonical(pipeline->document, err) : NULL;
    if (!document)
        return -1;
    buffer_append(out, document);
    for (size_t i = 0; i < pipeline->step_count; i++) {
        const struct step *step = &pipeline->steps[i];
        buffer_format(out, "\n%s %zu edges %zu arguments %lld", step->id, step->edge_count,
                      step->command_count, (long long)step->timeout);
    }
    return buffer_check(out, err);
}

TEST(a_pipeline_is_read_whole_or_not_at_all) {
    CHECK(faults_try("load", load_and_tell) > 300);
}

static int rebuild(const char *scratch, struct buffer *out, struct error **err) {
    OWN_PIPELINE first = load(scratch, err);
    struct pipeline_options options = {.can_run_images = true, .trusted = true};
    OWN_PIPELINE pipeline =
        first ? pipeline_from_document(first->document, first->path, &options, err) : NULL;
    return pipeline ? pipeline_graph(pipeline, GRAPH_TEXT, 80, false, NULL, out, err) : -1;
}

TEST(a_pipeline_is_rebuilt_and_drawn) {
    CHECK(faults_try("draw", rebuild) > 300);
}

static int bind(const char *scratch, struct buffer *out, struct error **err) {
    struct diagnostics diagnostics = {0};
    OWN_PIPELINE pipeline = load(scratch, err);
    if (!pipeline)
        return -1;
    json_auto_t *given = json_pack("{s:s}", "size", "7");
    json_auto_t *paths = json_pack("{s:s}", "scans", scratch);
    if (!given || !paths)
        return error_set_memory(err);
    OWN_JSON parameters = pipeline_bind_parameters(pipeline, given, &diagnostics, err);
    OWN_JSON inputs = parameters ? pipeline_bind_inputs(pipeline, paths, &diagnostics, err) : NULL;
    diagnostics_release(&diagnostics);
    OWN_JSON values = inputs ? json_pack("{s:O}", "params", parameters) : NULL;
    if (inputs && !values)
        return error_set_memory(err);
    OWN_STRING text = values ? template_expand("${params.size}/${params.mode}", values, err) : NULL;
    OWN_STRING canonical = text ? json_canonical(parameters, err) : NULL;
    if (!canonical)
        return -1;
    buffer_format(out, "%s %s %zu", text, canonical, json_object_size(inputs));
    return buffer_check(out, err);
}

TEST(values_are_bound_or_refused) {
    CHECK(faults_try("bind", bind) > 300);
}

TAP_MAIN
