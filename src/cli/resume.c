/* glovebox resume */
#include "cli/change.h"
#include "cli/follow.h"

static int handle(const struct invocation *invocation, struct error **err) {
    OWN_ENGINE engine = NULL;
    OWN_STRING run = NULL;
    if (session_open_run(invocation, SESSION_CHANGE, &engine, &run, err) < 0)
        return -1;
    if (engine_resume(engine, run, err) < 0)
        return -1;
    return follow_command(invocation, engine, run, err);
}

static const struct argument_entry arguments[] = {ARGUMENT_RUN};
static const struct option_entry options[] = {OPTION_DETACH, OPTION_FOLLOW};

const struct command command_resume = {
    .name = "resume",
    .group = GROUP_CHANGE,
    .summary = "go on with a run that was paused, left or interrupted",
    .description = "Goes on with a run that was paused, left by Ctrl-C, or whose program was "
                   "killed. Tasks that still run are found again; nothing that finished runs "
                   "twice.",
    COMMAND_ARGUMENTS(arguments),
    COMMAND_OPTIONS(options),
    .handle = handle,
};
