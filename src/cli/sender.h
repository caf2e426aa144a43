/* Telling others how runs are: options, one report, and reports beside driving. Private to the
 * room. */
#ifndef GLOVEBOX_CLI_SENDER_H
#define GLOVEBOX_CLI_SENDER_H

#include "cli/session.h"

/* What the options below say, over what `to` holds already. 1 when any of them was given, 0, or -1
 * with what is wrong with them: files are looked at here, before anything starts. */
int sender_options(const struct invocation *invocation, struct reporting *to,
                   struct error **err) MUST_CHECK;
/* Sends the run's report, if it is news, and records what came of it. `wait`: for a program that
 * sends just now. *ret_sent: it was news and was accepted. */
int sender_send(struct engine *engine, const char *run, bool wait, bool *ret_sent,
                struct error **err) MUST_CHECK;

/* Beside driving: a program of its own sends what is due, so that a server that hangs holds up
 * nothing. */
struct sender {
    pid_t child; /* or 0 */
    int64_t look;
};
void sender_tick(struct sender *sender, struct engine *engine);
/* When driving is over: the last report, here, with a word about what became of it. Nothing when
 * the run reports to nobody, or somebody else drives it on. */
void sender_finish(const struct invocation *invocation, struct engine *engine, const char *run);

#define SENDER_OPTIONS                                                                             \
    {.name = "medperf",                                                                            \
     .value = "URL",                                                                               \
     .help = "tell this MedPerf server how far the run is, as it moves"},                          \
        {.name = "dataset",                                                                        \
         .value = "NUMBER",                                                                        \
         .help = "the dataset of the server that the run prepares"},                               \
        {.name = "token-file",                                                                     \
         .value = "FILE",                                                                          \
         .complete = COMPLETE_FILE,                                                                \
         .help = "holds the access token of the dataset's owner; nobody else may read it"},        \
        {.name = "ca",                                                                             \
         .value = "FILE",                                                                          \
         .complete = COMPLETE_FILE,                                                                \
         .help = "certificate of the only authority to trust, instead of the system's"},           \
        {.name = "share-progress",                                                                 \
         .help = "you agree that the percentages of the steps leave the site"},                    \
        {.name = "no-share-progress", .help = "you do not, which is so unless you say otherwise"}, \
    {                                                                                              \
        .name = "every", .value = "TIME",                                                          \
        .help =                                                                                    \
            "how often the report is written (else 2s) and sent (else 30s) while the run moves"    \
    }

#endif
