/* glovebox tool: hands over to the tools' own table. */
#include "tools/tools.h"

#include "cli/private-command.h"
#include "cli/terminal.h"

static int list_json(struct error **err) {
    OWN_JSON list = json_array();
    for (size_t i = 0; list && i < tool_count; i++) {
        json_t *one = json_pack("{s:s, s:s}", "name", tools[i]->name, "summary", tools[i]->summary);
        if (json_array_append_new(list, one) < 0)
            return error_set_memory(err);
    }
    return list ? print_json(list, false, err) : error_set_memory(err);
}

static int list(const struct invocation *invocation, struct error **err) {
    if (given_flag(invocation, "json"))
        return list_json(err) < 0 ? -1 : STATUS_SUCCEEDED;
    OWN_BUFFER out = {0};
    for (size_t i = 0; given_flag(invocation, "quiet") && i < tool_count; i++)
        buffer_format(&out, "%s\n", tools[i]->name);
    if (!given_flag(invocation, "quiet"))
        tool_help(NULL, &out);
    return print_checked(&out, err) < 0 ? -1 : STATUS_SUCCEEDED;
}

static int handle(const struct invocation *invocation, struct error **err) {
    if (invocation->rest_count == 0)
        return list(invocation, err);
    const char *name = invocation->rest[0];
    if (!tool_find(name)) {
        const char *names[64];
        size_t count = 0;
        for (; count < tool_count && count < ARRAY_SIZE(names); count++)
            names[count] = tools[count]->name;
        OWN_BUFFER shown = {0};
        text_append_printable(&shown, name);
        error_set(err, ERROR_USAGE, "there is no tool \"%s\"", buffer_text(&shown));
        const char *near = text_nearest(name, names, count);
        return near ? error_hint(err, "did you mean \"glovebox tool %s\"?", near)
                    : error_hint(err, "\"glovebox tool\" lists them");
    }
    return tool_main(invocation->rest_count, invocation->rest);
}

static const struct argument_entry arguments[] = {
    {.name = "NAME", .help = "the tool", .complete = COMPLETE_TOOL, .optional = true},
    {.name = "ARGUMENT",
     .help = "INPUT, OUTPUT and options of the tool: see \"glovebox tool NAME --help\"",
     .complete = COMPLETE_FILE,
     .optional = true,
     .repeats = true},
};

const struct command command_tool = {
    .name = "tool",
    .group = GROUP_HOUSE,
    .summary = "run a built-in tool by hand, or list them",
    .description = "Tools are what steps of type tool run. Each reads INPUT, a file or a folder, "
                   "and writes into the folder OUTPUT. Everything after NAME belongs to the tool. "
                   "Its exit status is 5 when it did its work but some files were broken.",
    .examples = "# List the tools\n"
                "glovebox tool\n"
                "# Explain one\n"
                "glovebox tool dicom-convert --help\n"
                "# Make PNG files of DICOM files\n"
                "glovebox tool dicom-convert lungs pictures\n",
    COMMAND_ARGUMENTS(arguments),
    .hands_over = true,
    .handle = handle,
};
