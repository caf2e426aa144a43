/* What all drawings of the graph share. */
#include "pipeline/private-graph.h"

void graph_describe(const struct step *step, struct buffer *out) {
    switch (step->type) {
    case STEP_TOOL:
        buffer_format(out, "tool %s", step->tool);
        break;
    case STEP_CONTAINER:
        buffer_format(out, "image %s", path_base_name(step->image));
        break;
    case STEP_MANUAL_REVIEW:
        buffer_append(out, "a person reviews");
        break;
    case STEP_MANUAL_APPROVAL:
        buffer_append(out, "a person approves");
        break;
    case STEP_WAIT:
        buffer_append(out, "waits");
        break;
    case STEP_NOTIFY:
        buffer_append(out, "notifies");
        break;
    case STEP_COMMAND:
    case STEP_DUMMY:
        buffer_append(out, step_type_name(step->type));
        break;
    }
    if (step->cleanup_only)
        buffer_append(out, ", cleans up");
}

bool graph_is_person(const struct step *step) {
    return step->type == STEP_MANUAL_REVIEW || step->type == STEP_MANUAL_APPROVAL;
}

static const char *fan_word(const struct fan *fan) {
    switch (fan->kind) {
    case FAN_DIRECTORIES:
        return "folder";
    case FAN_GLOB:
        return "file";
    case FAN_DICOM:
        return dicom_levels[fan->level];
    case FAN_CSV:
        return "row";
    case FAN_JSON:
        return "item";
    default:
        return "partition";
    }
}

void graph_axis(const struct pipeline *pipeline, const struct step *step, struct buffer *out) {
    for (size_t i = 0; i < step->axis_count; i++)
        buffer_format(out, "%s× %s", i ? " " : "", fan_word(&pipeline->steps[step->axis[i]].fan));
}

int pipeline_graph(const struct pipeline *pipeline, enum graph_format format, unsigned width,
                   bool colour, const char *const *states, struct buffer *out, struct error **err) {
    int status = 0;
    switch (format) {
    case GRAPH_TEXT:
        status = graph_text(pipeline, width ? width : 80, colour, states, out, err);
        break;
    case GRAPH_DOT:
        status = graph_dot(pipeline, states, out);
        break;
    case GRAPH_MERMAID:
        status = graph_mermaid(pipeline, states, out);
        break;
    case GRAPH_JSON:
        status = graph_json(pipeline, states, out, err);
        break;
    }
    return status < 0 ? -1 : buffer_check(out, err);
}
