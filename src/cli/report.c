/* glovebox report */
#include "cli/sender.h"

#include "api/api.h"
#include "cli/terminal.h"

static int print_preview(const struct invocation *invocation, const struct report *report,
                         struct error **err) {
    OWN_JSON preview = medperf_preview(&report->to, report->body, err);
    if (!preview)
        return -1;
    if (given_flag(invocation, "json"))
        return print_json(preview, false, err);
    OWN_BUFFER out = {0};
    size_t i;
    const json_t *header;
    buffer_format(&out, "%s %s\n", json_get_string(preview, "method", ""),
                  json_get_string(preview, "url", ""));
    json_array_foreach(json_object_get(preview, "headers"), i, header) {
        text_append_printable(&out, json_string_value(header));
        buffer_append_char(&out, '\n');
    }
    buffer_format(&out, "\n%s\n", report->body);
    return print_checked(&out, err);
}

static int print_sent(const struct invocation *invocation, struct engine *engine, const char *run,
                      bool sent, struct error **err) {
    OWN_REPORT report = {0};
    if (engine_report(engine, run, &report, err) < 0)
        return -1;
    if (given_flag(invocation, "json")) {
        OWN_JSON json = json_pack("{s:s, s:s, s:I, s:b}", "run", run, "server", report.to.server,
                                  "dataset", (json_int_t)report.to.dataset, "sent", (int)sent);
        return json ? print_json(json, true, err) : error_set_memory(err);
    }
    tell(invocation, "%s: %s %s, dataset %lld\n", run, sent ? "reported to" : "nothing new for",
         report.to.server, (long long)report.to.dataset);
    return 0;
}

static int stop(const struct invocation *invocation, struct engine *engine, const char *run,
                struct error **err) {
    if (engine_report_stop(engine, run, err) < 0)
        return -1;
    if (given_flag(invocation, "json")) {
        OWN_JSON json = json_pack("{s:s, s:n, s:b}", "run", run, "server", "sent", 0);
        return json ? print_json(json, true, err) : error_set_memory(err);
    }
    tell(invocation, "%s: reports to nobody any more\n", run);
    return 0;
}

/* Of one run: what is given is put on record, then it is sent. */
static int report_run(const struct invocation *invocation, struct engine *engine, const char *run,
                      struct error **err) {
    OWN_REPORT report = {0};
    OWN_ERROR none = NULL;
    if (engine_report(engine, run, &report, &none) < 0 && none->code != ERROR_NOT_FOUND)
        return error_move(err, take(&none));
    int given = sender_options(invocation, &report.to, err);
    if (given < 0)
        return -1;
    if (!report.to.server) /* says what is missing */
        return given_flag(invocation, "stop") ? stop(invocation, engine, run, err)
                                              : error_move(err, take(&none));
    if (given_flag(invocation, "dry-run")) {
        memory_free(report.body);
        report.body = engine_report_body(engine, run, report.to.progress, err);
        return report.body ? print_preview(invocation, &report, err) : -1;
    }
    if (given_flag(invocation, "stop"))
        return stop(invocation, engine, run, err);
    if (given && engine_report_to(engine, run, &report.to, err) < 0)
        return -1;
    if (given && !report.to.progress)
        tell(invocation, "only how the run is leaves the site, not how far its steps are; "
                         "--share-progress agrees to that\n");
    bool sent = false;
    if (sender_send(engine, run, true, &sent, err) < 0)
        return -1;
    return print_sent(invocation, engine, run, sent, err);
}

/* Of all that have something to tell; one that fails does not keep the others back. */
static int report_all(const struct invocation *invocation, struct engine *engine,
                      struct error **err) {
    bool due = given_flag(invocation, "due");
    OWN_JSON runs = engine_reports_due(engine, !due, err);
    if (!runs)
        return -1;
    size_t i, failed = 0;
    const json_t *run;
    json_array_foreach(runs, i, run) {
        const char *name = json_string_value(run);
        OWN_ERROR problem = NULL;
        bool sent = false;
        if (sender_send(engine, name, !due, &sent, &problem) < 0) {
            if (due && problem->code == ERROR_BUSY)
                return 0;
            error_wrap(&problem, "%s", name);
            session_print_error(problem);
            failed++;
        } else if (print_sent(invocation, engine, name, sent, err) < 0)
            return -1;
    }
    return failed ? STATUS_FAILED : STATUS_SUCCEEDED;
}

static int handle(const struct invocation *invocation, struct error **err) {
    static const char *const of_one[] = {"medperf", "dataset",        "token-file",
                                         "ca",      "share-progress", "no-share-progress",
                                         "every",   "stop",           "dry-run"};
    OWN_ENGINE engine = NULL;
    const char *given = given_argument(invocation, 0);
    for (size_t i = 0; i < ARRAY_SIZE(of_one) && !given; i++)
        if (given_flag(invocation, of_one[i]))
            given = "last";
    if (given && given_flag(invocation, "due"))
        return error_set(err, ERROR_USAGE, "--due is for all runs: name none, and nothing of one");
    enum session_use use = given_flag(invocation, "dry-run") ? SESSION_ASK : SESSION_CHANGE;
    if (session_open(invocation, use, &engine, err) < 0)
        return -1;
    if (!given)
        return report_all(invocation, engine, err);
    OWN_STRING run = NULL;
    if (engine_find_run(engine, given, &run, err) < 0)
        return -1;
    return report_run(invocation, engine, run, err) < 0 ? -1 : STATUS_SUCCEEDED;
}

static const struct argument_entry arguments[] = {
    {.name = "RUN",
     .help = "the run: a name, a number, or last; none: all that have something to tell",
     .complete = COMPLETE_RUN,
     .optional = true},
};
static const struct option_entry options[] = {
    SENDER_OPTIONS,
    {.name = "stop", .help = "tell nothing of the run any more"},
    {.name = "due", .help = "send only what is due, and leave servers alone that failed just now"},
    {.name = "dry-run", .letter = 'n', .help = "print what would be sent, and send nothing"},
};

const struct command command_report = {
    .name = "report",
    .group = GROUP_CHANGE,
    .summary = "tell a MedPerf server how far a run is",
    .description =
        "Sends a run's report to a MedPerf server: whether it runs, has finished, failed or was "
        "interrupted, and, only with --share-progress, how many percent of each step are done. "
        "Nothing else leaves the site: no name of a partition, no file, no log. --dry-run prints "
        "what would be sent, to the byte.\n"
        "\n"
        "Where a run reports to is put on record, with who agreed to what: after that, whoever "
        "drives the run sends its report while it moves and when it ends. A report that the "
        "server has already is not sent again. One that cannot be sent is kept: it is tried "
        "again later and later, up to an hour apart, while anything in the home is driven, and at "
        "once by \"glovebox report\". \"glovebox status\" says what has been sent.\n"
        "\n"
        "The token is read from the file each time it is needed, so a new one may be put there at "
        "any time. Certificates are always verified, and redirects are not followed.",
    .examples = "# See what would leave the site\n"
                "glovebox report last --medperf https://api.medperf.org --dataset 7 "
                "--token-file token --share-progress --dry-run\n"
                "# Report on a run, now and whenever it moves\n"
                "glovebox report last --medperf https://api.medperf.org --dataset 7 "
                "--token-file token --share-progress\n"
                "# Send what was kept\n"
                "glovebox report\n",
    COMMAND_ARGUMENTS(arguments),
    COMMAND_OPTIONS(options),
    .handle = handle,
};
