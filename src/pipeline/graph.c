#include "pipeline/pipeline.h"

int pipeline_graph(const struct pipeline *pipeline, enum graph_format format, unsigned width,
                   bool colour, const char *const *states, struct buffer *out,
                   struct error **err) {
    return error_set(err, ERROR_UNSUPPORTED, "not drawn yet");
}
