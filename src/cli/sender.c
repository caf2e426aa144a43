/* Telling others how runs are. */
#include "cli/sender.h"

#include "api/api.h"
#include "cli/terminal.h"

#include <sys/wait.h>
#include <unistd.h>

#define LOOK_INTERVAL 1000  /* ms: what is due is asked of the database */
#define START_AGAIN   60000 /* ms, when the sending program could not be started */
#define LOCK_TIMEOUT  60000 /* a program that sends is done by then, or sends much */
#define EVERY_MINIMUM 1000
#define EVERY_MAXIMUM 86400000
#define LOCK_NAP      100000000 /* ns */

/* ------------------------------------------------------------------- options */

static int replace(char **place, char *value, struct error **err) {
    if (!value)
        return err && *err ? -1 : error_set_memory(err);
    memory_free(*place);
    *place = value;
    return 1;
}

static int server_option(const struct invocation *invocation, struct reporting *to,
                         struct error **err) {
    const char *given = given_value(invocation, "medperf", NULL);
    return given ? replace(&to->server, medperf_server(given, err), err) : 0;
}

static int dataset_option(const struct invocation *invocation, struct reporting *to,
                          struct error **err) {
    const char *given = given_value(invocation, "dataset", NULL);
    if (!given)
        return 0;
    if (text_parse_integer(given, 1, INT32_MAX, &to->dataset, NULL) == 0)
        return 1;
    error_set(err, ERROR_USAGE, "--dataset is not the number of a dataset");
    return error_hint(err, "the server counts its datasets: 1, 2, 3…");
}

static int every_option(const struct invocation *invocation, struct reporting *to,
                        struct error **err) {
    const char *given = given_value(invocation, "every", NULL);
    if (!given)
        return 0;
    if (text_parse_duration(given, &to->every, NULL) == 0 && to->every >= EVERY_MINIMUM &&
        to->every <= EVERY_MAXIMUM)
        return 1;
    error_set(err, ERROR_USAGE, "--every is not a time between a second and a day");
    return error_hint(err, "such as 30s, 5m or 1h");
}

static int file_options(const struct invocation *invocation, struct reporting *to,
                        struct error **err) {
    const char *token = given_value(invocation, "token-file", NULL),
               *ca = given_value(invocation, "ca", NULL);
    if (token && (replace(&to->token_file, path_resolve(token, err), err) < 0))
        return error_wrap(err, "--token-file");
    if (token && medperf_check_token(to->token_file, err) < 0)
        return -1;
    if (ca && replace(&to->ca_file, path_resolve(ca, err), err) < 0)
        return error_wrap(err, "--ca");
    return token || ca;
}

static int progress_options(const struct invocation *invocation, struct reporting *to,
                            struct error **err) {
    bool yes = given_flag(invocation, "share-progress"),
         no = given_flag(invocation, "no-share-progress");
    if (yes && no)
        return error_set(err, ERROR_USAGE,
                         "--share-progress and --no-share-progress exclude each other");
    if (yes || no)
        to->progress = yes;
    return yes || no;
}

int sender_options(const struct invocation *invocation, struct reporting *to, struct error **err) {
    static int (*const readers[])(const struct invocation *, struct reporting *,
                                  struct error **) = {server_option, dataset_option, every_option,
                                                      file_options, progress_options};
    int any = 0, server_only = 0;
    for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
        int given = readers[i](invocation, to, err);
        if (given < 0)
            return -1;
        any |= given;
        if (readers[i] != every_option)
            server_only |= given;
    }
    if (!any || (!to->server && !server_only))
        return any;
    const char *missing = !to->server       ? "--medperf URL"
                          : !to->dataset    ? "--dataset NUMBER"
                          : !to->token_file ? "--token-file FILE"
                                            : NULL;
    if (!missing)
        return 1;
    error_set(err, ERROR_USAGE, "to report to a MedPerf server, %s is needed too", missing);
    return error_hint(err, "--medperf URL --dataset NUMBER --token-file FILE say whom, on what, "
                           "and as whom");
}

/* ------------------------------------------------------------------- sending */

static int lock(struct engine *engine, bool wait, struct error **err) {
    int64_t end = clock_monotonic() + LOCK_TIMEOUT;
    for (;;) {
        OWN_ERROR problem = NULL;
        int fd = engine_lock_reports(engine, &problem);
        if (fd >= 0)
            return fd;
        if (!wait || problem->code != ERROR_BUSY || clock_monotonic() > end)
            return error_move(err, take(&problem));
        struct timespec nap = {.tv_nsec = LOCK_NAP};
        (void)nanosleep(&nap, NULL);
    }
}

int sender_send(struct engine *engine, const char *run, bool wait, bool *ret_sent,
                struct error **err) {
    OWN_REPORT report = {0};
    *ret_sent = false;
    OWN_FD locked = lock(engine, wait, err);
    if (locked < 0 || engine_report(engine, run, &report, err) < 0)
        return -1;
    OWN_ERROR problem = NULL;
    if (report.news && medperf_send(&report, &problem) < 0) {
        if (engine_report_done(engine, &report, problem->message, err) < 0)
            return -1;
        return error_move(err, take(&problem));
    }
    *ret_sent = report.news;
    return engine_report_done(engine, &report, NULL, err);
}

/* ------------------------------------------------------------ beside driving */

static void start(struct sender *sender, struct engine *engine) {
    char program[4096];
    OWN_ERROR problem = NULL;
    if (session_own_program(program, sizeof(program), &problem) == 0) {
        const char *argv[] = {program,   "report", "--home", engine_home(engine),
                              "--quiet", "--due",  NULL};
        struct process_options options = {.argv = argv,
                                          .directory = "/",
                                          .input = -1,
                                          .output = -1,
                                          .error = -1,
                                          .new_session = true};
        if (process_spawn(&options, &sender->child, &problem) == 0)
            return;
    }
    sender->child = 0;
    sender->look += START_AGAIN;
    log_message(LOG_WARNING, "reports cannot be sent: %s", problem->message);
}

void sender_tick(struct sender *sender, struct engine *engine) {
    int64_t now = clock_monotonic();
    if (now < sender->look)
        return;
    sender->look = now + LOOK_INTERVAL;
    if (sender->child && waitpid(sender->child, NULL, WNOHANG) == 0)
        return;
    sender->child = 0;
    OWN_JSON due = engine_reports_due(engine, false, NULL);
    if (json_array_size(due) > 0)
        start(sender, engine);
}

/* A program that still sends is waited for: what it said may not come after this. */
void sender_finish(const struct invocation *invocation, struct engine *engine, const char *run) {
    OWN_REPORT report = {0};
    OWN_ERROR problem = NULL;
    bool sent = false;
    if (engine_is_driven(engine) || engine_report(engine, run, &report, NULL) < 0)
        return;
    if (sender_send(engine, run, true, &sent, &problem) == 0) {
        if (sent)
            tell(invocation, "reported to %s, dataset %lld\n", report.to.server,
                 (long long)report.to.dataset);
        return;
    }
    OWN_BUFFER text = {0};
    text_append_printable(&text, problem->message);
    tell(invocation, "the report was not sent: %s\n", buffer_text(&text));
    if (problem->hint)
        tell(invocation, "  hint: %s\n", problem->hint);
    tell(invocation, "  glovebox report %s    sends it\n", run);
}
