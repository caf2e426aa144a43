/* What most commands begin with: the home, the run, the pipeline file. Private to the room. */
#ifndef GLOVEBOX_CLI_SESSION_H
#define GLOVEBOX_CLI_SESSION_H

#include "cli/private-command.h"
#include "engine/engine.h"
#include "pipeline/pipeline.h"

enum session_use {
    SESSION_ASK,
    SESSION_CHANGE,
    SESSION_MAKE /* change, and make the home if there is none */
};
/* Opens the home that --home and the environment say. */
int session_open(const struct invocation *invocation, enum session_use use, struct engine **ret,
                 struct error **err) MUST_CHECK;
/* Opens the home and finds the run of the first argument. */
int session_open_run(const struct invocation *invocation, enum session_use use, struct engine **ret,
                     char **ret_run, struct error **err) MUST_CHECK;

/* What the site allows, with the home that --home and the environment say. */
int session_read_policy(const struct invocation *invocation, struct policy **ret,
                        struct error **err) MUST_CHECK;
/* pipeline_load() with what this build can do (its tools, whether it runs images) and what `policy`
 * allows (NULL: all); --plugins is heeded. Or the pipeline of a crate, which *ret_crate then gets
 * (it may be NULL). `only_warn`: the pipeline may be meant for another machine. Diagnostics are
 * collected, not printed. */
struct pipeline *session_load(const struct invocation *invocation, const char *path,
                              const struct policy *policy, bool only_warn, struct crate *ret_crate,
                              struct diagnostics *diagnostics, struct error **err) MUST_CHECK;
/* --plugins DIR, for the tables of commands that load a pipeline's file. */
#define SESSION_PLUGINS_OPTION                                                                     \
    {                                                                                              \
        .name = "plugins", .value = "DIR", .complete = COMPLETE_DIRECTORY,                         \
        .help = "where the descriptors of a ChRIS pipeline's plugins lie, if not beside it"        \
    }
/* The file of this program, to start it once more. */
int session_own_program(char *path, size_t size, struct error **err) MUST_CHECK;
/* Diagnostics to standard error, in colour where that is wanted. */
int session_print_diagnostics(const struct invocation *invocation,
                              const struct diagnostics *diagnostics, struct error **err) MUST_CHECK;
#define OWN_DIAGNOSTICS CLEANUP(diagnostics_release) struct diagnostics

/* Prints an error and its hint to standard error, as cli_main() does. */
void session_print_error(const struct error *error);

#endif
