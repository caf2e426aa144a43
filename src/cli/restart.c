/* glovebox restart */
#include "cli/change.h"
#include "cli/follow.h"

static int handle(const struct invocation *invocation, struct error **err) {
    const char *from = given_value(invocation, "from", NULL);
    if (!from) {
        error_set(err, ERROR_USAGE, "restart: --from is missing");
        return error_hint(err, "name the step to begin with: --from STEP or STEP@PARTITION");
    }
    OWN_ENGINE engine = NULL;
    OWN_STRING run = NULL;
    if (session_open_run(invocation, SESSION_CHANGE, &engine, &run, err) < 0)
        return -1;
    if (engine_restart(engine, run, from, err) < 0)
        return -1;
    return follow_command(invocation, engine, run, err);
}

static const struct argument_entry arguments[] = {ARGUMENT_RUN};
static const struct option_entry options[] = {
    {.name = "from", .value = "STEP[@PARTITION]", .help = "the task or step to begin with"},
    OPTION_DETACH,
    OPTION_FOLLOW,
};

const struct command command_restart = {
    .name = "restart",
    .group = GROUP_CHANGE,
    .summary = "run a step and all that follows from it anew",
    .description = "The task or step and all that depends on it run anew, even if nothing "
                   "changed. Everything else stays as it is.",
    .examples = "# A report with the new template\n"
                "glovebox restart last --from report\n",
    COMMAND_ARGUMENTS(arguments),
    COMMAND_OPTIONS(options),
    .handle = handle,
};
