/*
 * How a run moves, on standard error: on a terminal a block of lines that is redrawn in place, a
 * line a step; else plain lines, one at each end of a task. Private to the room.
 */
#ifndef GLOVEBOX_CLI_PROGRESS_H
#define GLOVEBOX_CLI_PROGRESS_H

#include "cli/terminal.h"
#include "engine/engine.h"

struct progress;
/* --quiet makes one that shows nothing. */
struct progress *progress_new(const struct invocation *invocation, struct engine *engine,
                              const char *run, struct error **err) MUST_CHECK;
/* Shows the present state, if it is time to. */
void progress_show(struct progress *progress, bool now);
/* Shows the last state and leaves it on the terminal. */
void progress_end(struct progress *progress);
void progress_free(struct progress *progress);
void progress_cleanup(struct progress **progress);
#define OWN_PROGRESS CLEANUP(progress_cleanup) struct progress *

/* The block of lines for a status (engine_status()), at most terminal->height - 1 of them, each
 * at most terminal->width wide. For progress.c, `status --follow` and tests. */
void progress_draw(const json_t *status, const struct terminal *terminal, int64_t now,
                   struct buffer *out);
/* Estimated ms until the run ends, or -1 when too little is known. */
int64_t progress_left(const json_t *status, int64_t now);

#endif
