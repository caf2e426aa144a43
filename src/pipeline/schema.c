#include "pipeline/pipeline.h"

json_t *pipeline_schema(struct error **err) {
    error_set(err, ERROR_UNSUPPORTED, "not made yet");
    return NULL;
}
