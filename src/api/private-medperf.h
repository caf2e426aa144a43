/* Private to api/: what a MedPerf server's answer means. */
#ifndef GLOVEBOX_API_PRIVATE_MEDPERF_H
#define GLOVEBOX_API_PRIVATE_MEDPERF_H

#include "api/api.h"
#include "net/net.h"

/* 0 when the answer says that the report is kept. What else it says is told within bounds and
 * without anything that looks like a token. */
int medperf_judge(const struct net_response *response, const struct reporting *to,
                  const char *token, struct error **err) MUST_CHECK;

#endif
