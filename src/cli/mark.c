/* glovebox skip, glovebox succeed: a person says that a task need not run. */
#include "cli/change.h"
#include "cli/session.h"

static int mark(const struct invocation *invocation, bool succeeded, const char *done,
                struct error **err) {
    const char *reason = given_value(invocation, "reason", NULL);
    const char *where = given_argument(invocation, 1);
    if (!reason || !*reason) {
        error_set(err, ERROR_USAGE, "%s: --reason is missing", invocation->command->name);
        return error_hint(err, "say why: the record keeps it");
    }
    OWN_ENGINE engine = NULL;
    OWN_STRING run = NULL;
    if (session_open_run(invocation, SESSION_CHANGE, &engine, &run, err) < 0)
        return -1;
    if (engine_mark(engine, run, where, succeeded, reason, err) < 0)
        return -1;
    if (change_report(invocation, run, where, done, err) < 0)
        return -1;
    return change_go_on(invocation, engine, run, err) < 0 ? -1 : STATUS_SUCCEEDED;
}

static int skip(const struct invocation *invocation, struct error **err) {
    return mark(invocation, false, "skipped", err);
}

static int succeed(const struct invocation *invocation, struct error **err) {
    return mark(invocation, true, "marked as succeeded", err);
}

static const struct argument_entry arguments[] = {ARGUMENT_RUN, ARGUMENT_TASK};
static const struct option_entry options[] = {
    {.name = "reason", .letter = 'r', .value = "TEXT", .help = "why it need not run; required"},
    CHANGE_NO_RESUME_OPTION,
};

const struct command command_skip = {
    .name = "skip",
    .group = GROUP_CHANGE,
    .summary = "skip a task, with a reason",
    .description = "The task is not run; what follows treats it as skipped. The reason and who "
                   "gave it stand in the run's record. Then the run goes on: by the program that "
                   "drives the home, or else in the background.",
    COMMAND_ARGUMENTS(arguments),
    COMMAND_OPTIONS(options),
    .handle = skip,
};

const struct command command_succeed = {
    .name = "succeed",
    .group = GROUP_CHANGE,
    .summary = "mark a task as succeeded, with a reason",
    .description = "The task counts as succeeded without being run, with whatever outputs it has. "
                   "The reason and who gave it stand in the run's record. Then the run goes on: by "
                   "the program that drives the home, or else in the background.",
    COMMAND_ARGUMENTS(arguments),
    COMMAND_OPTIONS(options),
    .handle = succeed,
};
