/* glovebox drive: what `run --detach` starts in the background. Hidden. */
#include "cli/sender.h"

struct drive {
    struct engine *engine;
    struct sender sender;
};

static bool on_progress(void *context) {
    struct drive *drive = context;
    sender_tick(&drive->sender, drive->engine);
    return true;
}

static int handle(const struct invocation *invocation, struct error **err) {
    OWN_ENGINE engine = NULL;
    OWN_STRING run = NULL;
    if (session_open_run(invocation, SESSION_CHANGE, &engine, &run, err) < 0)
        return -1;
    struct drive drive = {.engine = engine};
    struct drive_options options = {.progress = on_progress, .context = &drive};
    enum run_state state = RUN_PLANNED;
    if (engine_drive(engine, run, &options, &state, err) < 0)
        return -1;
    sender_finish(invocation, engine, run);
    if (state == RUN_WAITING || state == RUN_PAUSED)
        return STATUS_WAITING;
    return state == RUN_SUCCEEDED ? STATUS_SUCCEEDED : STATUS_FAILED;
}

static const struct argument_entry arguments[] = {
    {.name = "RUN", .help = "the run to drive"},
};

const struct command command_drive = {
    .name = "drive",
    .group = GROUP_HOUSE,
    .summary = "drive a run without saying anything",
    .description = "Drives a run until it ends or only people can move it on.",
    COMMAND_ARGUMENTS(arguments),
    .hidden = true,
    .handle = handle,
};
