/* glovebox gc */
#include "cli/private-command.h"
#include "cli/session.h"
#include "cli/terminal.h"

static int report(const struct invocation *invocation, bool dry_run, const struct gc_report *found,
                  struct error **err) {
    if (given_flag(invocation, "json")) {
        OWN_JSON json = json_pack("{s:b, s:I, s:I, s:I}", "dry_run", dry_run, "results",
                                  (json_int_t)found->results, "bytes", (json_int_t)found->bytes,
                                  "work_folders", (json_int_t)found->work_folders);
        return json ? print_json(json, false, err) : error_set_memory(err);
    }
    OWN_BUFFER out = {0};
    buffer_format(&out, "%llu result%s, ", (unsigned long long)found->results,
                  found->results == 1 ? "" : "s");
    text_format_size(&out, found->bytes);
    buffer_append(&out, dry_run ? ", would be dropped\n" : ", dropped\n");
    return print_checked(&out, err);
}

static int handle(const struct invocation *invocation, struct error **err) {
    int64_t older_than = 0;
    const char *given = given_value(invocation, "older-than", "30d");
    if (text_parse_duration(given, &older_than, err) < 0) {
        (*err)->code = ERROR_USAGE;
        return error_wrap(err, "--older-than");
    }
    bool dry_run = given_flag(invocation, "dry-run");
    OWN_ENGINE engine = NULL;
    struct gc_report found = {0};
    if (session_open(invocation, dry_run ? SESSION_ASK : SESSION_CHANGE, &engine, err) < 0)
        return -1;
    if (engine_gc(engine, older_than, dry_run, &found, err) < 0)
        return -1;
    return report(invocation, dry_run, &found, err) < 0 ? -1 : STATUS_SUCCEEDED;
}

static const struct option_entry options[] = {
    {.name = "older-than",
     .value = "TIME",
     .help = "only results that were last used before that: 12h, 7d; 30d if not given"},
    {.name = "dry-run", .letter = 'n', .help = "only say what would be dropped"},
};

const struct command command_gc = {
    .name = "gc",
    .group = GROUP_HOUSE,
    .summary = "drop intermediate data that no run needs",
    .description =
        "Drops the files of results that are no run's output and were not used for a while. How "
        "each was made and the digest of what it was are kept: a later run still knows what is "
        "unchanged, and makes again only what it really needs.",
    COMMAND_OPTIONS(options),
    .handle = handle,
};
