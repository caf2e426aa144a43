/* glovebox help: from the table to the terminal, to manual pages, to documents. */
#include "cli/private-command.h"
#include "cli/terminal.h"

#include <fcntl.h>
#include <unistd.h>

static int write_page(const struct command *command, const char *folder, struct error **err) {
    OWN_BUFFER page = {0};
    OWN_STRING word = command ? command_word(command) : memory_copy_string("");
    OWN_STRING path =
        word ? memory_format("%s/glovebox%s%s.1", folder, command ? "-" : "", word) : NULL;
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
    const char *second = given_argument(invocation, 1);
    OWN_STRING both = second ? memory_format("%s %s", name, second) : NULL;
    const struct command *command = name ? command_find(second && both ? both : name) : NULL;
    bool family = name && !second && !command && command_family(name);
    if (name && !command && !family)
        return command_unknown(second && both ? both : name, "help ", err);
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
    else if (family)
        bad = help_family(name, terminal.width, &out, err);
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
    {.name = "WORD", .help = "the second word of a command that has two", .optional = true},
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
