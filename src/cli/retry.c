/* glovebox retry */
#include "cli/change.h"
#include "cli/follow.h"

static int handle(const struct invocation *invocation, struct error **err) {
    OWN_ENGINE engine = NULL;
    OWN_STRING run = NULL;
    if (session_open_run(invocation, SESSION_CHANGE, &engine, &run, err) < 0)
        return -1;
    if (engine_retry(engine, run, given_argument(invocation, 1), err) < 0)
        return -1;
    return follow_command(invocation, engine, run, err);
}

static const struct argument_entry arguments[] = {ARGUMENT_RUN, ARGUMENT_TASK_OR_ALL};
static const struct option_entry options[] = {OPTION_DETACH, OPTION_FOLLOW};

const struct command command_retry = {
    .name = "retry",
    .group = GROUP_CHANGE,
    .summary = "give failed tasks another chance",
    .description =
        "Failed and cancelled tasks, and those that never ran because of them, are run again; what "
        "succeeded stays. The run goes on here, with progress, unless another program drives the "
        "home: then that one goes on with it.\n"
        "\n"
        "A run keeps the pipeline that it was made from. After an edit of the file, use \"glovebox "
        "run\" again: what was done before and is still the same is reused.",
    .examples = "# After the cause is gone\n"
                "glovebox retry last\n"
                "# Only one task\n"
                "glovebox retry last classify@patient-1\n",
    COMMAND_ARGUMENTS(arguments),
    COMMAND_OPTIONS(options),
    .handle = handle,
};
