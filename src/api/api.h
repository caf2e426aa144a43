/*
 * api — what we say to others over HTTP, in their words. So far: MedPerf's.
 *
 * A MedPerf server keeps a report for each dataset: how far its preparation is. It is replaced
 * whole by PUT /api/v0/datasets/N/, by the dataset's owner. What the report says is made by
 * engine_report(); here it is sent, and the answer is judged.
 */
#ifndef GLOVEBOX_API_H
#define GLOVEBOX_API_H

#include "engine/engine.h"

/* Address of the interface from what a person typed: "https://api.medperf.org" is enough. Caller
 * frees. */
char *medperf_server(const char *given, struct error **err) MUST_CHECK;
/* Whether the file holds a token, and nobody but its owner can read it. The token stands in no
 * argument, environment, database, message or log. */
int medperf_check_token(const char *path, struct error **err) MUST_CHECK;
/* {method, url, headers, body}: what would be sent, to the byte, but for the token. */
json_t *medperf_preview(const struct reporting *to, const char *body,
                        struct error **err) MUST_CHECK;
/* Sends it: 0 when the server accepted it. Bounded in time; see net_request(). */
int medperf_send(const struct report *report, struct error **err) MUST_CHECK;

#endif
