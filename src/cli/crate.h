/* A crate in the place of a pipeline's file. Private to the room. */
#ifndef GLOVEBOX_CLI_CRATE_H
#define GLOVEBOX_CLI_CRATE_H

#include "engine/engine.h"
#include "pipeline/pipeline.h"

struct pipeline *crate_pipeline(const struct crate *crate, const struct pipeline_options *options,
                                struct error **err) MUST_CHECK;
/* Adds to what was given what the crate says. What a run may write (a writable input) is never
 * taken from a crate: whoever runs it says that. */
int crate_fill(const struct crate *crate, const struct pipeline *pipeline, json_t *parameters,
               json_t *inputs, struct error **err) MUST_CHECK;

#endif
