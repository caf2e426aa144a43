/* glovebox runs */
#include "cli/private-command.h"
#include "cli/session.h"
#include "cli/terminal.h"

#include <unistd.h>

#define RUNS_DEFAULT 20
#define RUNS_MAXIMUM 100000

static unsigned widest(const json_t *runs, const char *key, unsigned least, unsigned most) {
    size_t i;
    const json_t *run;
    json_array_foreach(runs, i, run) {
        unsigned width = (unsigned)text_width(json_get_string(run, key, ""));
        least = width > least ? width : least;
    }
    return least > most ? most : least;
}

static void print_run(const json_t *run, unsigned name, unsigned pipeline,
                      const struct terminal *terminal, struct buffer *out) {
    const char *state = json_get_string(run, "state", "");
    text_append_field(out, json_get_string(run, "run", ""), name, terminal->unicode);
    buffer_append(out, "  ");
    style_text(out, terminal->colour, style_of_state(state), state);
    buffer_append_repeat(out, ' ', strlen(state) < 9 ? 9 - strlen(state) : 0);
    buffer_append(out, "  ");
    text_append_time(out, json_time(run, "created"));
    int64_t started = json_time(run, "started"), ended = json_time(run, "ended");
    OWN_BUFFER took = {0};
    if (started >= 0)
        text_format_duration(&took, (ended >= 0 ? ended : clock_wall()) - started);
    buffer_format(out, "  %7s  ", buffer_text(&took));
    text_append_field(out, json_get_string(run, "pipeline", ""), pipeline, terminal->unicode);
    const json_t *tasks = json_object_get(run, "tasks");
    int64_t failed = json_count(tasks, "failed"), people = json_count(tasks, "deciding");
    if (failed > 0)
        buffer_format(out, "  %lld failed", (long long)failed);
    if (people > 0)
        buffer_format(out, "  %lld for you to decide", (long long)people);
    buffer_append_char(out, '\n');
}

static int print_runs(const struct invocation *invocation, const json_t *runs, struct error **err) {
    if (given_flag(invocation, "json"))
        return print_json(runs, false, err);
    struct terminal terminal;
    terminal_examine(invocation, STDOUT_FILENO, &terminal);
    OWN_BUFFER out = {0};
    bool names_only = given_flag(invocation, "quiet");
    unsigned name = widest(runs, "run", 3, 40), pipeline = widest(runs, "pipeline", 4, 40);
    size_t i;
    const json_t *run;
    json_array_foreach(runs, i, run) {
        if (names_only)
            buffer_format(&out, "%s\n", json_get_string(run, "run", ""));
        else
            print_run(run, name, pipeline, &terminal, &out);
    }
    if (i == 0)
        tell(invocation, "no runs yet; \"glovebox run PIPELINE\" makes one\n");
    return print_checked(&out, err);
}

static int handle(const struct invocation *invocation, struct error **err) {
    int64_t most = RUNS_DEFAULT;
    const char *given = given_value(invocation, "maximum", NULL);
    if (given && text_parse_integer(given, 1, RUNS_MAXIMUM, &most, err) < 0) {
        (*err)->code = ERROR_USAGE;
        return error_wrap(err, "--maximum");
    }
    if (given_flag(invocation, "all"))
        most = RUNS_MAXIMUM;
    OWN_ENGINE engine = NULL;
    OWN_ERROR problem = NULL;
    OWN_JSON runs = NULL;
    if (session_open(invocation, SESSION_ASK, &engine, &problem) == 0)
        runs = engine_runs(engine, (unsigned)most, &problem);
    else if (problem && problem->code == ERROR_NOT_FOUND)
        runs = json_array(); /* no home yet: no runs yet */
    if (!runs)
        return problem ? error_move(err, take(&problem)) : error_set_memory(err);
    return print_runs(invocation, runs, err) < 0 ? -1 : STATUS_SUCCEEDED;
}

static const struct option_entry options[] = {
    {.name = "maximum", .letter = 'n', .value = "NUMBER", .help = "list so many, 20 if not given"},
    {.name = "all", .letter = 'a', .help = "list all"},
};

const struct command command_runs = {
    .name = "runs",
    .group = GROUP_ASK,
    .summary = "list runs, the newest first",
    .description = "Lists the runs of the home: name, state, when made, how long, pipeline. With "
                   "--quiet, names only.",
    COMMAND_OPTIONS(options),
    .handle = handle,
};
