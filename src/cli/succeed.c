/* glovebox succeed */
#include "cli/change.h"
#include "cli/session.h"

static int handle(const struct invocation *invocation, struct error **err) {
    const char *reason = given_value(invocation, "reason", NULL);
    const char *where = given_argument(invocation, 1);
    if (!reason || !*reason) {
        error_set(err, ERROR_USAGE, "succeed: --reason is missing");
        return error_hint(err, "say why: the record keeps it");
    }
    OWN_ENGINE engine = NULL;
    OWN_STRING run = NULL;
    if (session_open_run(invocation, false, &engine, &run, err) < 0)
        return -1;
    if (engine_mark(engine, run, where, true, reason, err) < 0)
        return -1;
    return change_report(invocation, run, where, "marked as succeeded", err) < 0 ? -1
                                                                                 : STATUS_SUCCEEDED;
}

static const struct argument_entry arguments[] = {ARGUMENT_RUN, ARGUMENT_TASK};
static const struct option_entry options[] = {
    {.name = "reason",
     .letter = 'r',
     .value = "TEXT",
     .help = "why it counts as succeeded; required"},
};

const struct command command_succeed = {
    .name = "succeed",
    .group = GROUP_CHANGE,
    .summary = "mark a task as succeeded, with a reason",
    .description = "The task counts as succeeded without being run, with whatever outputs it has. "
                   "The reason and who gave it stand in the run's record.",
    COMMAND_ARGUMENTS(arguments),
    COMMAND_OPTIONS(options),
    .handle = handle,
};
