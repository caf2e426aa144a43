/* glovebox graph */
#include "cli/private-command.h"
#include "cli/session.h"
#include "cli/terminal.h"

#include <unistd.h>

/* One word for a step, from the counts of its tasks' states: what a reader looks for first. */
static const char *state_of_step(const json_t *step) {
    static const char *const order[] = {"failed",  "deciding",  "running",   "sleeping", "ready",
                                        "waiting", "cancelled", "succeeded", "reused",   "skipped"};
    const json_t *counts = json_object_get(step, "tasks");
    for (size_t i = 0; i < ARRAY_SIZE(order); i++)
        if (json_count(counts, order[i]) > 0)
            return order[i];
    return "waiting";
}

static const char **states_of_run(const struct pipeline *pipeline, const json_t *status,
                                  struct error **err) {
    const char **states = memory_array(pipeline->step_count + 1, sizeof(*states));
    if (!states) {
        error_set_memory(err);
        return NULL;
    }
    for (size_t i = 0; i < pipeline->step_count; i++)
        states[i] = "waiting";
    size_t number;
    const json_t *step;
    json_array_foreach(json_object_get(status, "steps"), number, step) {
        const struct step *known = pipeline_find_step(pipeline, json_step(step));
        if (known)
            states[known->index] = state_of_step(step);
    }
    return states;
}

static int draw(const struct invocation *invocation, const struct pipeline *pipeline,
                const char *const *states, struct error **err) {
    static const char *const names[] = {"text", "dot", "mermaid", "json"};
    const char *wanted = given_value(invocation, "format", NULL);
    if (!wanted)
        wanted = given_flag(invocation, "json") ? "json" : "text";
    int format = GRAPH_TEXT;
    for (int i = 0; i < (int)ARRAY_SIZE(names); i++)
        if (text_equal(names[i], wanted))
            format = i;
    struct terminal terminal;
    terminal_examine(invocation, STDOUT_FILENO, &terminal);
    OWN_BUFFER out = {0};
    if (pipeline_graph(pipeline, (enum graph_format)format, terminal.width, terminal.colour, states,
                       &out, err) < 0)
        return -1;
    return print_checked(&out, err);
}

static int handle_run(const struct invocation *invocation, const char *given, struct error **err) {
    OWN_ENGINE engine = NULL;
    OWN_STRING run = NULL;
    if (session_open(invocation, SESSION_ASK, &engine, err) < 0 ||
        engine_find_run(engine, given, &run, err) < 0)
        return -1;
    OWN_PIPELINE pipeline = engine_pipeline(engine, run, err);
    if (!pipeline)
        return -1;
    OWN_JSON status = engine_status(engine, run, err);
    if (!status)
        return -1;
    OWN_MEMORY(const char *) states = states_of_run(pipeline, status, err);
    return !states || draw(invocation, pipeline, states, err) < 0 ? -1 : STATUS_SUCCEEDED;
}

static int handle(const struct invocation *invocation, struct error **err) {
    const char *run = given_value(invocation, "run", NULL), *path = given_argument(invocation, 0);
    if (!run == !path) {
        error_set(err, ERROR_USAGE, "graph: give either FILE or --run RUN");
        return error_hint(err, "try \"glovebox help graph\"");
    }
    if (run)
        return handle_run(invocation, run, err);
    OWN_DIAGNOSTICS diagnostics = {0};
    OWN_ERROR problem = NULL;
    OWN_PIPELINE pipeline =
        session_load(invocation, path, NULL, true, NULL, &diagnostics, &problem);
    if (!pipeline) {
        if (diagnostics.errors == 0)
            session_print_error(problem);
        else if (session_print_diagnostics(invocation, &diagnostics, err) < 0)
            return -1;
        return STATUS_INVALID;
    }
    return draw(invocation, pipeline, NULL, err) < 0 ? -1 : STATUS_SUCCEEDED;
}

static const struct argument_entry arguments[] = {
    {.name = "FILE", .help = "a pipeline file", .complete = COMPLETE_FILE, .optional = true},
};
static const struct option_entry options[] = {
    {.name = "format",
     .letter = 'f',
     .value = "FORMAT",
     .choices = "text dot mermaid json",
     .help = "how to draw"},
    {.name = "run",
     .value = "RUN",
     .complete = COMPLETE_RUN,
     .help = "draw the pipeline of a run, with the states of its steps"},
    SESSION_PLUGINS_OPTION,
};

const struct command command_graph = {
    .name = "graph",
    .group = GROUP_PIPELINE,
    .summary = "draw the graph of a pipeline or a run",
    .description = "Draws which step follows which: in the terminal, as DOT for Graphviz, as "
                   "Mermaid for documents, or as JSON.",
    .examples = "# Draw a pipeline in the terminal\n"
                "glovebox graph pipelines/covidnet.yaml\n"
                "# Make a picture of it\n"
                "glovebox graph --format dot pipelines/covidnet.yaml | dot -Tsvg > covidnet.svg\n"
                "# See where the latest run stands\n"
                "glovebox graph --run last\n",
    COMMAND_ARGUMENTS(arguments),
    COMMAND_OPTIONS(options),
    .handle = handle,
};
