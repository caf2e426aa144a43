/*
 * Commands that set a run going: drive it here with progress, or let a program in the background
 * drive it. Private to the room.
 */
#ifndef GLOVEBOX_CLI_FOLLOW_H
#define GLOVEBOX_CLI_FOLLOW_H

#include "cli/session.h"
#include "cli/terminal.h"

/* Drives (or follows) `run` here until it ends or only people can move it on, shows how it moves,
 * and says at the end what came out. Returns the exit status.
 *
 * Ctrl-C, a closed terminal and SIGTERM end the driving, not the tasks: those that run go on under
 * their keepers, and the run goes on from there with `glovebox resume`. A second Ctrl-C ends this
 * program at once; nothing is lost by that either. */
int follow_run(const struct invocation *invocation, struct engine *engine, const char *run,
               bool wait, struct error **err) MUST_CHECK;
/* Starts a program in the background that drives `run`; its messages go to drive.log in the run's
 * folder. Returns when it drives, or with its reason when it does not. */
int follow_detach(struct engine *engine, const char *run, struct error **err) MUST_CHECK;
/* The same for --detach: prints the run's name, or its status as JSON. Returns the exit status. */
int follow_in_background(const struct invocation *invocation, struct engine *engine,
                         const char *run, struct error **err) MUST_CHECK;
/* After a command was given that lets tasks run: --detach, or someone who drives already, or here.
 * Returns the exit status. */
int follow_command(const struct invocation *invocation, struct engine *engine, const char *run,
                   struct error **err) MUST_CHECK;

/* What came of a run, for people. */
enum summary_part {
    SUMMARY_HEAD = 1,  /* its state */
    SUMMARY_WRONG = 2, /* errors, warnings and failures */
    SUMMARY_REST = 4,  /* what waits, how to go on, outputs */
    SUMMARY_TOLD = 8,  /* whom it reports to, and what became of that */
};
int summary_append(struct engine *engine, const char *run, const struct terminal *terminal,
                   unsigned parts, struct buffer *out, struct error **err) MUST_CHECK;

#endif
