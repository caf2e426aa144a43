/* glovebox status */
#include "cli/follow.h"
#include "cli/private-command.h"
#include "cli/progress.h"
#include "cli/session.h"
#include "cli/terminal.h"

#include <unistd.h>

static int print_status(const struct invocation *invocation, struct engine *engine, const char *run,
                        struct error **err) {
    OWN_JSON status = engine_status(engine, run, err);
    if (!status)
        return -1;
    if (given_flag(invocation, "json"))
        return print_json(status, false, err);
    struct terminal terminal;
    terminal_examine(invocation, STDOUT_FILENO, &terminal);
    terminal.height = 10000; /* it scrolls: every step is shown */
    OWN_BUFFER out = {0};
    progress_draw(status, &terminal, clock_wall(), &out);
    if (summary_append(engine, run, &terminal, SUMMARY_WRONG | SUMMARY_REST | SUMMARY_TOLD, &out,
                       err) < 0)
        return -1;
    return print_checked(&out, err);
}

static bool over(const char *state) {
    static const char *const ends[] = {"succeeded", "failed", "cancelled", "waiting", "paused"};
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
        if (text_equal(state, ends[i]))
            return true;
    return false;
}

/* Only watches: nothing is driven here, so this may be left at any time. */
static int watch(const struct invocation *invocation, struct engine *engine, const char *run,
                 struct error **err) {
    OWN_PROGRESS progress = progress_new(invocation, engine, run, err);
    if (!progress)
        return -1;
    for (;;) {
        OWN_JSON status = engine_status(engine, run, err);
        if (!status)
            return -1;
        progress_show(progress, false);
        if (over(json_get_string(status, "state", "")))
            break;
        struct timespec nap = {.tv_nsec = 200 * 1000 * 1000};
        (void)nanosleep(&nap, NULL);
    }
    progress_end(progress);
    return 0;
}

static int handle(const struct invocation *invocation, struct error **err) {
    OWN_ENGINE engine = NULL;
    OWN_STRING run = NULL;
    if (session_open_run(invocation, SESSION_ASK, &engine, &run, err) < 0)
        return -1;
    if (given_flag(invocation, "follow") && watch(invocation, engine, run, err) < 0)
        return -1;
    return print_status(invocation, engine, run, err) < 0 ? -1 : STATUS_SUCCEEDED;
}

static const struct argument_entry arguments[] = {
    {.name = "RUN", .help = "the run: a name, a number, or last", .complete = COMPLETE_RUN},
};
static const struct option_entry options[] = {
    {.name = "follow",
     .letter = 'f',
     .help = "show how it moves until it ends, is paused, or waits for people"},
};

const struct command command_status = {
    .name = "status",
    .group = GROUP_ASK,
    .summary = "say how far a run is",
    .description = "Shows the run's steps and how many of their tasks are done, what runs, what "
                   "waits for a person, what failed and where its log is, and the outputs. The "
                   "exit status says whether the question could be answered, not how the run "
                   "ended: that is \"state\" in --json.",
    .examples = "# The latest run\n"
                "glovebox status last\n"
                "# For a script\n"
                "glovebox status covidnet-7 --json | jq -r .state\n",
    COMMAND_ARGUMENTS(arguments),
    COMMAND_OPTIONS(options),
    .handle = handle,
};
