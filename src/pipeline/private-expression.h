/* What the files about jq share. */
#ifndef GLOVEBOX_PIPELINE_EXPRESSION_H
#define GLOVEBOX_PIPELINE_EXPRESSION_H

#include "pipeline/pipeline.h"

#include <jq.h>

#define EXPRESSION_MAXIMUM_PROGRAM ((size_t)64 << 10)
#define EXPRESSION_MAXIMUM_OUTPUTS 200000
#define EXPRESSION_MAXIMUM_VALUES  2000000 /* in all outputs together */
#define EXPRESSION_TIME            5000    /* ms of processor time, for one run */

/* Direct conversion, without text in between. Invalid / NULL beyond the bounds. */
jv jv_from_json(const json_t *json, unsigned depth);
/* Consumes `value`; takes what it makes off *budget. */
json_t *jv_to_json(jv value, size_t *budget);

/* Refuses what would read the world or hang: input, env, debug, include… */
int expression_check_words(const char *program, struct error **err) MUST_CHECK;

/* True when every bracket is closed: then it may stand between brackets. */
bool expression_is_balanced(const char *program);

/* Stops a jq that runs for too long. For one thread. */
struct watchdog;
struct watchdog *watchdog_new(jq_state *jq) MUST_CHECK;
void watchdog_free(struct watchdog *watchdog);
void watchdog_start(struct watchdog *watchdog, int64_t milliseconds);
/* True when it had to stop the program. */
bool watchdog_stop(struct watchdog *watchdog);

#endif
