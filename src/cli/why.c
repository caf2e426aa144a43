/* glovebox why */
#include "cli/private-command.h"
#include "cli/session.h"
#include "cli/terminal.h"

#include <unistd.h>

static void detail(const json_t *one, const struct terminal *terminal, struct buffer *out) {
    OWN_BUFFER text = {0};
    if (json_is_string(one)) {
        text_append_printable(&text, json_string_value(one));
    } else {
        OWN_STRING canonical = json_canonical(one, NULL);
        text_append_printable(&text, canonical ? canonical : "");
    }
    buffer_append(out, "  ");
    text_append_wrapped(out, buffer_text(&text), 4, 2, terminal->width);
}

static int handle(const struct invocation *invocation, struct error **err) {
    OWN_ENGINE engine = NULL;
    OWN_STRING run = NULL;
    if (session_open_run(invocation, SESSION_ASK, &engine, &run, err) < 0)
        return -1;
    OWN_JSON why = engine_why(engine, run, given_argument(invocation, 1), err);
    if (!why)
        return -1;
    if (given_flag(invocation, "json"))
        return print_json(why, false, err) < 0 ? -1 : STATUS_SUCCEEDED;
    struct terminal terminal;
    terminal_examine(invocation, STDOUT_FILENO, &terminal);
    OWN_BUFFER out = {0}, because = {0};
    const char *state = json_get_string(why, "state", "");
    text_append_task(&out, json_step(why), json_partition(why));
    unsigned column = (unsigned)text_width(buffer_text(&out)) + 1 + (unsigned)strlen(state) + 2;
    buffer_append_char(&out, ' ');
    style_text(&out, terminal.colour, style_of_state(state), state);
    buffer_append(&out, ": ");
    text_append_printable(&because, json_get_string(why, "because", ""));
    text_append_wrapped(&out, buffer_text(&because), 2, column, terminal.width);
    size_t i;
    const json_t *one;
    json_array_foreach(json_object_get(why, "details"), i, one) detail(one, &terminal, &out);
    return print_checked(&out, err) < 0 ? -1 : STATUS_SUCCEEDED;
}

static const struct argument_entry arguments[] = {
    {.name = "RUN", .help = "the run: a name, a number, or last", .complete = COMPLETE_RUN},
    {.name = "STEP[@PARTITION]", .help = "the task"},
};

const struct command command_why = {
    .name = "why",
    .group = GROUP_ASK,
    .summary = "explain why a task ran, was reused, waits or failed",
    .description = "Says in a sentence why the task is in the state it is in: reused because "
                   "nothing changed, ran because this or that changed, waits for these tasks, "
                   "failed of this cause; then the details.",
    .examples = "# Why was this done again?\n"
                "glovebox why last slice@patient-1\n",
    COMMAND_ARGUMENTS(arguments),
    .handle = handle,
};
