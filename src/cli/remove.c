/* glovebox rm */
#include "cli/change.h"
#include "cli/session.h"
#include "cli/terminal.h"

#include <stdlib.h>
#include <unistd.h>

/* Asks on the terminal. Anything but yes is no. */
static bool confirmed(const char *run) {
    char *line = NULL;
    size_t capacity = 0;
    (void)fprintf(stderr, "remove %s with its logs and its record? [y/N] ", run);
    ssize_t size = getline(&line, &capacity, stdin);
    bool yes = size > 0 && (text_equal(line, "y\n") || text_equal(line, "yes\n"));
    free(line);
    return yes;
}

static int report(const struct invocation *invocation, const char *run, bool dry_run,
                  const struct gc_report *found, struct error **err) {
    if (given_flag(invocation, "json")) {
        OWN_JSON json =
            json_pack("{s:s, s:b, s:I, s:I, s:I}", "run", run, "dry_run", dry_run, "results",
                      (json_int_t)found->results, "bytes", (json_int_t)found->bytes, "work_folders",
                      (json_int_t)found->work_folders);
        return json ? print_json(json, false, err) : error_set_memory(err);
    }
    OWN_BUFFER size = {0};
    text_format_size(&size, found->bytes);
    tell(invocation, "%s %s, %s\n", run, dry_run ? "would be removed" : "removed",
         buffer_text(&size));
    return 0;
}

static int handle(const struct invocation *invocation, struct error **err) {
    OWN_ENGINE engine = NULL;
    OWN_STRING run = NULL;
    bool dry_run = given_flag(invocation, "dry-run");
    if (session_open_run(invocation, dry_run, &engine, &run, err) < 0)
        return -1;
    if (!dry_run && !given_flag(invocation, "yes")) {
        if (!isatty(STDIN_FILENO)) {
            error_set(err, ERROR_USAGE, "rm: nobody can be asked here whether %s is to go", run);
            return error_hint(err, "say --yes, or look first with --dry-run");
        }
        if (!confirmed(run))
            return STATUS_FAILED;
    }
    struct gc_report found = {0};
    if (engine_remove(engine, run, dry_run, &found, err) < 0)
        return -1;
    return report(invocation, run, dry_run, &found, err) < 0 ? -1 : STATUS_SUCCEEDED;
}

static const struct argument_entry arguments[] = {ARGUMENT_RUN};
static const struct option_entry options[] = {
    {.name = "dry-run", .letter = 'n', .help = "only say what would be removed"},
    {.name = "yes", .letter = 'y', .help = "do not ask"},
};

const struct command command_remove = {
    .name = "rm",
    .group = GROUP_HOUSE,
    .summary = "remove a finished run",
    .description = "Removes a run that has ended, its logs and its record. Outputs that were put "
                   "into a folder of your own with --output stay. Results that other runs use "
                   "stay; \"glovebox gc\" drops those that nobody uses.",
    COMMAND_ARGUMENTS(arguments),
    COMMAND_OPTIONS(options),
    .handle = handle,
};
