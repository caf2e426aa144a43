/* glovebox cancel */
#include "cli/change.h"
#include "cli/session.h"

static int handle(const struct invocation *invocation, struct error **err) {
    OWN_ENGINE engine = NULL;
    OWN_STRING run = NULL;
    const char *where = given_argument(invocation, 1);
    if (session_open_run(invocation, SESSION_CHANGE, &engine, &run, err) < 0)
        return -1;
    if (engine_cancel(engine, run, where, err) < 0)
        return -1;
    return change_report(invocation, run, where, "cancelled", err) < 0 ? -1 : STATUS_SUCCEEDED;
}

static const struct argument_entry arguments[] = {ARGUMENT_RUN, ARGUMENT_TASK_OR_ALL};

const struct command command_cancel = {
    .name = "cancel",
    .group = GROUP_CHANGE,
    .summary = "stop a run, or some of its tasks",
    .description = "Running tasks are asked to end (SIGTERM), then killed; what has not begun will "
                   "not. Results that are there stay, and \"glovebox retry\" goes on from them.",
    COMMAND_ARGUMENTS(arguments),
    .handle = handle,
};
