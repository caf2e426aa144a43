/* What the commands have in common that change a run. Private to the room. */
#ifndef GLOVEBOX_CLI_CHANGE_H
#define GLOVEBOX_CLI_CHANGE_H

#include "cli/private-command.h"
#include "engine/engine.h"

/* Says that it is done: a line for people, or {run, command, step, partition} with --json. `where`
 * may be NULL. */
int change_report(const struct invocation *invocation, const char *run, const char *where,
                  const char *done, struct error **err) MUST_CHECK;
/* Goes on with the run in the background when nobody drives the home and something can go on: who
 * decides is often not who started it, and does not want to wait. Not with --no-resume. */
int change_go_on(const struct invocation *invocation, struct engine *engine, const char *run,
                 struct error **err) MUST_CHECK;
/* The person at the keyboard, for the record. */
char *change_who(void) MUST_CHECK;

/* Table entries that several commands share. */
#define ARGUMENT_RUN                                                                               \
    { .name = "RUN", .help = "the run: a name, a number, or last", .complete = COMPLETE_RUN }
#define ARGUMENT_TASK                                                                              \
    { .name = "STEP[@PARTITION]", .help = "the task; without @PARTITION, all tasks of the step" }
#define ARGUMENT_TASK_OR_ALL                                                                       \
    {                                                                                              \
        .name = "STEP[@PARTITION]", .help = "a task, or all tasks of a step; none: the whole run", \
        .optional = true                                                                           \
    }
#define OPTION_DETACH                                                                              \
    { .name = "detach", .letter = 'd', .help = "go on in the background; print the run's name" }
#define CHANGE_NO_RESUME_OPTION                                                                    \
    { .name = "no-resume", .help = "only put it on record; do not go on with the run" }
#define OPTION_FOLLOW                                                                              \
    {                                                                                              \
        .name = "follow", .letter = 'f',                                                           \
        .help = "when another program drives the home, watch the run until it ends"                \
    }

#endif
