/* glovebox help: from the table to the terminal, to manual pages, to documents. */
#include "cli/private-command.h"
#include "cli/terminal.h"

#include <fcntl.h>
#include <unistd.h>

static const struct command *find(const char *name, struct error **err) {
    const struct command *command = command_find(name);
    if (command)
        return command;
    const char *names[64];
    size_t count = 0;
    for (size_t i = 0; i < command_count && count < ARRAY_SIZE(names); i++)
        if (!command_table[i]->hidden)
            names[count++] = command_table[i]->name;
    OWN_BUFFER shown = {0};
    text_append_printable(&shown, name);
    error_set(err, ERROR_USAGE, "unknown command \"%s\"", buffer_text(&shown));
    const char *near = text_nearest(name, names, count);
    if (near)
        error_hint(err, "did you mean \"glovebox help %s\"?", near);
    else
        error_hint(err, "\"glovebox help\" lists the commands");
    return NULL;
}

static int write_page(const struct command *command, const char *folder, struct error **err) {
    OWN_BUFFER page = {0};
    OWN_STRING path = command ? memory_format("%s/glovebox-%s.1", folder, command->name)
                              : memory_format("%s/glovebox.1", folder);
    if (!path)
        return error_set_memory(err);
    if (manual_page(command, &page, err) < 0)
        return -1;
    return file_write_atomic(AT_FDCWD, path, buffer_text(&page), page.size, 0644, err);
}

static int write_manual(const char *folder, struct error **err) {
    if (directory_make(AT_FDCWD, folder, 0755, err) < 0 || write_page(NULL, folder, err) < 0)
        return -1;
    for (size_t i = 0; i < command_count; i++)
        if (!command_table[i]->hidden && write_page(command_table[i], folder, err) < 0)
            return -1;
    return STATUS_SUCCEEDED;
}

static int handle(const struct invocation *invocation, struct error **err) {
    const char *folder = given_value(invocation, "man-all", NULL);
    const char *name = given_argument(invocation, 0);
    if (folder)
        return write_manual(folder, err);
    const struct command *command = NULL;
    if (name && !(command = find(name, err)))
        return -1;
    if (given_flag(invocation, "json")) {
        OWN_JSON table = command_table_json(err);
        return !table || print_json(table, false, err) < 0 ? -1 : STATUS_SUCCEEDED;
    }
    OWN_BUFFER out = {0};
    struct terminal terminal;
    terminal_examine(invocation, STDOUT_FILENO, &terminal);
    int bad;
    if (given_flag(invocation, "man"))
        bad = manual_page(command, &out, err);
    else if (given_flag(invocation, "markdown"))
        bad = manual_markdown(&out, err);
    else if (command)
        bad = help_command(command, terminal.width, &out, err);
    else
        bad = help_overview(terminal.width, &out, err);
    if (bad < 0)
        return -1;
    print_buffer(&out);
    return STATUS_SUCCEEDED;
}

static const struct argument_entry arguments[] = {
    {.name = "COMMAND",
     .help = "the command to explain; none: list all",
     .complete = COMPLETE_COMMAND,
     .optional = true},
};
static const struct option_entry options[] = {
    {.name = "man", .help = "print the manual page's source instead"},
    {.name = "man-all",
     .value = "DIR",
     .complete = COMPLETE_DIRECTORY,
     .help = "write all manual pages into this folder"},
    {.name = "markdown", .help = "print the reference of all commands as Markdown"},
};

const struct command command_help = {
    .name = "help",
    .group = GROUP_HOUSE,
    .summary = "explain glovebox or one of its commands",
    .description = "Without COMMAND, lists the commands. With --json, prints the table that "
                   "parsing, help, manual and completion are made from.",
    COMMAND_ARGUMENTS(arguments),
    COMMAND_OPTIONS(options),
    .handle = handle,
};
