/* glovebox tasks */
#include "cli/private-command.h"
#include "cli/session.h"
#include "cli/terminal.h"

#include <unistd.h>

struct listing {
    struct terminal terminal;
    bool json;
    unsigned step; /* columns */
    size_t count;
};

static void print_task(const struct listing *listing, const json_t *task, struct buffer *out) {
    const char *state = json_get_string(task, "state", "");
    style_text(out, listing->terminal.colour, style_of_state(state), state);
    buffer_append_repeat(out, ' ', strlen(state) < 9 ? 9 - strlen(state) : 0);
    buffer_append(out, "  ");
    int64_t started = json_time(task, "started"), ended = json_time(task, "ended");
    OWN_BUFFER took = {0};
    if (started >= 0)
        text_format_duration(&took, (ended >= 0 ? ended : clock_wall()) - started);
    int64_t attempts = json_get_integer(task, "attempts", 0);
    buffer_format(out, "%7s  %2lld  ", buffer_text(&took), (long long)attempts);
    text_append_field(out, json_step(task), listing->step, listing->terminal.unicode);
    buffer_append(out, "  ");
    text_append_printable(out, json_partition(task));
    const char *cause = json_get_string(task, "cause", "");
    if (*cause) {
        buffer_append(out, *json_partition(task) ? "  " : "");
        style_begin(out, listing->terminal.colour, STYLE_BAD);
        buffer_append(out, cause);
        if (text_equal(cause, "exit"))
            buffer_format(out, " %lld", (long long)json_get_integer(task, "exit", -1));
        style_end(out, listing->terminal.colour, STYLE_BAD);
    }
    buffer_append_char(out, '\n');
}

static int use(const json_t *task, void *context, struct error **err) {
    struct listing *listing = context;
    listing->count++;
    if (ferror(stdout)) /* nobody reads on */
        return error_set(err, ERROR_IO, "cannot write to standard output");
    if (listing->json)
        return print_json(task, true, err);
    OWN_BUFFER line = {0};
    print_task(listing, task, &line);
    return print_checked(&line, err);
}

/* Steps come from the pipeline, so that a column fits before the first task is known; and a
 * misspelt --step is told from one without tasks. */
static int measure(struct engine *engine, const char *run, const char *step, unsigned *ret_width,
                   struct error **err) {
    OWN_PIPELINE pipeline = engine_pipeline(engine, run, err);
    if (!pipeline)
        return -1;
    OWN_MEMORY(const char *) names = memory_array(pipeline->step_count + 1, sizeof(*names));
    if (!names)
        return error_set_memory(err);
    unsigned width = 4;
    for (size_t i = 0; i < pipeline->step_count; i++) {
        names[i] = pipeline->steps[i].id;
        unsigned one = (unsigned)text_width(names[i]);
        width = one > width ? one : width;
    }
    *ret_width = width > 40 ? 40 : width;
    if (!step || pipeline_find_step(pipeline, step))
        return 0;
    OWN_BUFFER shown = {0};
    text_append_printable(&shown, step);
    error_set(err, ERROR_NOT_FOUND, "%s has no step \"%s\"", run, buffer_text(&shown));
    const char *near = text_nearest(step, names, pipeline->step_count);
    return near ? error_hint(err, "did you mean \"%s\"?", near) : -1;
}

static int handle(const struct invocation *invocation, struct error **err) {
    OWN_ENGINE engine = NULL;
    OWN_STRING run = NULL;
    if (session_open_run(invocation, SESSION_ASK, &engine, &run, err) < 0)
        return -1;
    struct listing listing = {.json = given_flag(invocation, "json")};
    const char *step = given_value(invocation, "step", NULL);
    terminal_examine(invocation, STDOUT_FILENO, &listing.terminal);
    if (measure(engine, run, step, &listing.step, err) < 0)
        return -1;
    OWN_ERROR problem = NULL;
    int bad = engine_tasks(engine, run, step, given_value(invocation, "state", NULL), use, &listing,
                           &problem);
    if (bad < 0 && !ferror(stdout)) /* else it is told once, at the end */
        return error_move(err, take(&problem));
    if (listing.count == 0)
        tell(invocation, "no such tasks\n");
    return STATUS_SUCCEEDED;
}

static const struct argument_entry arguments[] = {
    {.name = "RUN", .help = "the run: a name, a number, or last", .complete = COMPLETE_RUN},
};
static const struct option_entry options[] = {
    {.name = "step", .value = "STEP", .help = "only tasks of this step"},
    {.name = "state",
     .value = "STATE",
     .choices = "waiting ready running deciding sleeping succeeded reused skipped failed cancelled",
     .help = "only tasks in this state"},
};

const struct command command_tasks = {
    .name = "tasks",
    .group = GROUP_ASK,
    .summary = "list the tasks of a run",
    .description =
        "Lists tasks in the order of steps and partitions: state, time, attempts, step, partition, "
        "and what a failed one died of. With --json, an object a line.",
    .examples = "# What failed\n"
                "glovebox tasks last --state failed\n"
                "# The slowest tasks of a step\n"
                "glovebox tasks last --step classify --json | jq -r '[.started, .ended, "
                ".partition] | @tsv'\n",
    COMMAND_ARGUMENTS(arguments),
    COMMAND_OPTIONS(options),
    .handle = handle,
};
