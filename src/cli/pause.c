/* glovebox pause */
#include "cli/change.h"
#include "cli/session.h"

static int handle(const struct invocation *invocation, struct error **err) {
    OWN_ENGINE engine = NULL;
    OWN_STRING run = NULL;
    if (session_open_run(invocation, SESSION_CHANGE, &engine, &run, err) < 0)
        return -1;
    if (engine_pause(engine, run, err) < 0)
        return -1;
    return change_report(invocation, run, NULL, "paused", err) < 0 ? -1 : STATUS_SUCCEEDED;
}

static const struct argument_entry arguments[] = {ARGUMENT_RUN};

const struct command command_pause = {
    .name = "pause",
    .group = GROUP_CHANGE,
    .summary = "let a run start nothing new",
    .description = "Tasks that run go on to their end; no other is started until \"glovebox "
                   "resume\".",
    COMMAND_ARGUMENTS(arguments),
    .handle = handle,
};
