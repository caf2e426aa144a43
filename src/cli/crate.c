/* A crate in the place of a pipeline's file: what was not given on the command line is as it was
 * recorded. */
#include "cli/crate.h"

struct pipeline *crate_pipeline(const struct crate *crate, const struct pipeline_options *options,
                                struct error **err) {
    struct pipeline *pipeline = pipeline_from_document(crate->document, crate->path, options, err);
    if (!pipeline)
        error_wrap(err, "the crate's pipeline");
    return pipeline;
}

/* A sub-pipeline's parameter that its caller makes of others: made anew when any is given. */
static bool is_made_of_others(const struct parameter *parameter) {
    const char *text = json_string_value(parameter->fallback);
    return strchr(parameter->name, '.') && text && strstr(text, "${");
}

static int fill(json_t *given, const char *name, json_t *value, struct error **err) {
    if (!value || json_object_get(given, name))
        return 0;
    return json_object_set(given, name, value) < 0 ? error_set_memory(err) : 0;
}

int crate_fill(const struct crate *crate, const struct pipeline *pipeline, json_t *parameters,
               json_t *inputs, struct error **err) {
    bool any = json_object_size(parameters) > 0;
    for (size_t i = 0; i < pipeline->parameter_count; i++) {
        const struct parameter *parameter = &pipeline->parameters[i];
        if (any && is_made_of_others(parameter))
            continue;
        if (fill(parameters, parameter->name, json_object_get(crate->parameters, parameter->name),
                 err) < 0)
            return -1;
    }
    for (size_t i = 0; i < pipeline->input_count; i++) {
        const struct pipeline_input *input = &pipeline->inputs[i];
        if (!input->writable &&
            fill(inputs, input->name, json_object_get(crate->inputs, input->name), err) < 0)
            return -1;
    }
    return 0;
}
