/* glovebox decide */
#include "cli/change.h"
#include "cli/session.h"

static int handle(const struct invocation *invocation, struct error **err) {
    OWN_ENGINE engine = NULL;
    OWN_STRING run = NULL;
    OWN_STRING who = change_who();
    const char *where = given_argument(invocation, 1);
    bool approved = text_equal(given_argument(invocation, 2), "approve");
    if (!who)
        return error_set_memory(err);
    if (session_open_run(invocation, SESSION_CHANGE, &engine, &run, err) < 0)
        return -1;
    if (engine_decide(engine, run, where, approved, given_value(invocation, "note", NULL), who,
                      err) < 0)
        return -1;
    if (change_report(invocation, run, where, approved ? "approved" : "rejected", err) < 0)
        return -1;
    return change_go_on(invocation, engine, run, err) < 0 ? -1 : STATUS_SUCCEEDED;
}

static const struct argument_entry arguments[] = {
    ARGUMENT_RUN,
    {.name = "STEP[@PARTITION]", .help = "the task that waits for the decision"},
    {.name = "DECISION", .help = "the answer", .choices = "approve reject"},
};
static const struct option_entry options[] = {
    {.name = "note", .letter = 'n', .value = "TEXT", .help = "what to put on record with it"},
    CHANGE_NO_RESUME_OPTION,
};

const struct command command_decide = {
    .name = "decide",
    .group = GROUP_CHANGE,
    .summary = "approve or reject what waits for a person",
    .description = "Records the decision, with who made it, when, and the note; it is durable when "
                   "the command returns. Then the run goes on: by the program that drives the "
                   "home, or else in the background.",
    .examples = "# Let a reviewed subject through\n"
                "glovebox decide last review@patient-1 approve --note 'contours are right'\n",
    COMMAND_ARGUMENTS(arguments),
    COMMAND_OPTIONS(options),
    .handle = handle,
};
