/* glovebox check */
#include "cli/private-command.h"
#include "cli/session.h"
#include "cli/terminal.h"

/* What is known of one file, as JSON; also prints for people. */
static int check_one(const struct invocation *invocation, const char *path,
                     const struct policy *policy, json_t *files, bool *all_good,
                     struct error **err) {
    OWN_DIAGNOSTICS diagnostics = {0};
    OWN_ERROR problem = NULL;
    OWN_PIPELINE pipeline =
        session_load(invocation, path, policy, true, NULL, &diagnostics, &problem);
    bool json = given_flag(invocation, "json");
    if (!pipeline)
        *all_good = false;
    OWN_JSON list = diagnostics_json(&diagnostics);
    if (!list)
        return error_set_memory(err);
    /* A file that cannot be read has no diagnostics, only a reason. */
    if (!pipeline && diagnostics.errors == 0 && problem) {
        json_t *one =
            json_pack("{s:s, s:s, s:n, s:n, s:s, s:s*}", "severity", "error", "file", path, "line",
                      "column", "message", problem->message, "hint", problem->hint);
        if (json_array_append_new(list, one) < 0)
            return error_set_memory(err);
        if (!json)
            session_print_error(problem);
    }
    if (!json && diagnostics.count && session_print_diagnostics(invocation, &diagnostics, err) < 0)
        return -1;
    json_t *entry =
        json_pack("{s:s, s:b, s:s?, s:I, s:O}", "file", path, "ok", pipeline != NULL, "pipeline",
                  pipeline ? pipeline->name : NULL, "steps",
                  (json_int_t)(pipeline ? pipeline->step_count : 0), "diagnostics", list);
    if (json_array_append_new(files, entry) < 0)
        return error_set_memory(err);
    if (pipeline && !json && !given_flag(invocation, "quiet")) {
        OWN_BUFFER out = {0};
        text_append_printable(&out, path);
        buffer_format(&out, ": ok, %zu step%s\n", pipeline->step_count,
                      pipeline->step_count == 1 ? "" : "s");
        return print_checked(&out, err);
    }
    return 0;
}

static int handle(const struct invocation *invocation, struct error **err) {
    OWN_JSON files = json_array();
    OWN_POLICY policy = NULL;
    bool all_good = true;
    if (!files)
        return error_set_memory(err);
    if (session_read_policy(invocation, &policy, err) < 0)
        return -1;
    for (size_t i = 0; i < invocation->argument_count; i++)
        if (check_one(invocation, invocation->arguments[i], policy, files, &all_good, err) < 0)
            return -1;
    if (given_flag(invocation, "json")) {
        OWN_JSON all = json_pack("{s:b, s:O}", "ok", all_good, "files", files);
        if (!all)
            return error_set_memory(err);
        if (print_json(all, false, err) < 0)
            return -1;
    }
    return all_good ? STATUS_SUCCEEDED : STATUS_INVALID;
}

static const struct argument_entry arguments[] = {
    {.name = "FILE", .help = "a pipeline file", .complete = COMPLETE_FILE, .repeats = true},
};

static const struct option_entry options[] = {
    SESSION_PLUGINS_OPTION,
};

const struct command command_check = {
    .name = "check",
    .group = GROUP_PIPELINE,
    .summary = "check pipeline files and report every mistake",
    .description =
        "Reads each pipeline whole, with the sub-pipelines it names, and reports every mistake at "
        "once as FILE:LINE:COLUMN: error: MESSAGE, with the line and, where a name is misspelt, "
        "the one that was meant. Nothing is run. The exit status is 3 when any file has a "
        "mistake.",
    .examples = "# Check a pipeline before handing it on\n"
                "glovebox check pipelines/covidnet.yaml\n",
    COMMAND_ARGUMENTS(arguments),
    COMMAND_OPTIONS(options),
    .handle = handle,
};
