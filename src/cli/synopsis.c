/* The help that is shown on the terminal, and the synopsis that all texts share. */
#include "cli/private-command.h"
#include "cli/terminal.h"

void synopsis_release(struct synopsis *synopsis) {
    for (size_t i = 0; i < synopsis->count; i++)
        memory_free(synopsis->parts[i]);
    memory_free(synopsis->parts);
    *synopsis = (struct synopsis){0};
}

static int add_part(struct synopsis *synopsis, char *part, struct error **err) {
    if (!part)
        return error_set_memory(err);
    if (array_reserve(&synopsis->parts, &synopsis->capacity, synopsis->count,
                      sizeof(*synopsis->parts), 100, err) < 0) {
        memory_free(part);
        return -1;
    }
    synopsis->parts[synopsis->count++] = part;
    return 0;
}

static char *option_part(const struct option_entry *option) {
    const char *more = option->repeats ? "..." : "";
    if (option->letter && option->value)
        return memory_format("[-%c %s]%s", option->letter, option->value, more);
    if (option->letter)
        return memory_format("[-%c]%s", option->letter, more);
    if (option->value)
        return memory_format("[--%s %s]%s", option->name, option->value, more);
    return memory_format("[--%s]%s", option->name, more);
}

int synopsis_make(const struct command *command, struct synopsis *ret, struct error **err) {
    struct synopsis synopsis = {0};
    int bad = add_part(&synopsis, memory_format("glovebox %s", command->name), err);
    for (size_t i = 0; !bad && i < command->option_count; i++)
        bad = add_part(&synopsis, option_part(&command->options[i]), err);
    for (size_t i = 0; !bad && i < command->argument_count; i++) {
        const struct argument_entry *entry = &command->arguments[i];
        const char *more = entry->repeats ? "..." : "";
        bad = add_part(&synopsis,
                       entry->optional ? memory_format("[%s%s]", entry->name, more)
                                       : memory_format("%s%s", entry->name, more),
                       err);
    }
    if (bad) {
        synopsis_release(&synopsis);
        return -1;
    }
    *ret = synopsis;
    return 0;
}

/* ------------------------------------------------------------------ overview */

static void overview_line(const struct command *command, unsigned width, struct buffer *out) {
    buffer_format(out, "  %-12s ", command->name);
    text_append_wrapped(out, command->summary, 15, 15, width);
}

int help_family(const char *family, unsigned width, struct buffer *out, struct error **err) {
    width = width > 100 ? 100 : width;
    buffer_format(out, "usage: glovebox %s COMMAND [OPTION]... [ARGUMENT]...\n\n", family);
    size_t size = strlen(family);
    for (size_t i = 0; i < command_count; i++)
        if (text_starts_with(command_table[i]->name, family) && command_table[i]->name[size] == ' ')
            overview_line(command_table[i], width, out);
    buffer_format(out, "\n\"glovebox help %s COMMAND\" explains one and its options.\n", family);
    return buffer_check(out, err);
}

int help_overview(unsigned width, struct buffer *out, struct error **err) {
    width = width > 100 ? 100 : width;
    buffer_format(out, "glovebox - %s\n\nusage: glovebox [OPTION]... COMMAND [ARGUMENT]...\n",
                  program_summary);
    for (int group = 0; group < GROUP_COUNT; group++) {
        buffer_format(out, "\n%s\n", command_group_title((enum command_group)group));
        for (size_t i = 0; i < command_count; i++)
            if (!command_table[i]->hidden && (int)command_table[i]->group == group)
                overview_line(command_table[i], width, out);
    }
    buffer_append(out, "\n\"glovebox help COMMAND\" explains a command and its options.\n");
    return buffer_check(out, err);
}

/* --------------------------------------------------------------- one command */

static void describe(struct buffer *out, const char *text, unsigned width) {
    while (*text) {
        size_t size = strcspn(text, "\n");
        if (size == 0) {
            buffer_append_char(out, '\n');
        } else if (text[0] == ' ') {
            buffer_format(out, "  %.*s\n", (int)size, text);
        } else {
            OWN_STRING line = memory_format("%.*s", (int)size, text);
            if (line)
                text_append_wrapped(out, line, 0, 0, width);
        }
        text += size;
        text += *text == '\n';
    }
}

#define HELP_COLUMN 24

static void entry(struct buffer *out, const char *left, const char *help, const char *choices,
                  unsigned width) {
    buffer_format(out, "  %s", left);
    unsigned column = 2 + (unsigned)text_width(left);
    if (column >= HELP_COLUMN - 1) {
        buffer_append_char(out, '\n');
        column = 0;
    }
    buffer_append_repeat(out, ' ', HELP_COLUMN - column);
    OWN_STRING whole = choices ? memory_format("%s (%s)", help, choices) : memory_copy_string(help);
    text_append_wrapped(out, whole ? whole : help, HELP_COLUMN, HELP_COLUMN, width);
}

static void options(struct buffer *out, const struct option_entry *list, size_t count,
                    unsigned width) {
    for (size_t i = 0; i < count; i++) {
        OWN_BUFFER left = {0};
        if (list[i].letter)
            buffer_format(&left, "-%c, ", list[i].letter);
        buffer_format(&left, "--%s", list[i].name);
        if (list[i].value)
            buffer_format(&left, " %s", list[i].value);
        entry(out, buffer_text(&left), list[i].help, list[i].choices, width);
    }
}

static int usage(const struct command *command, struct buffer *out, unsigned width,
                 struct error **err) {
    struct synopsis synopsis CLEANUP(synopsis_release) = {0};
    if (synopsis_make(command, &synopsis, err) < 0)
        return -1;
    buffer_append(out, "usage:");
    size_t column = 6, indent = 7 + strlen(synopsis.parts[0]);
    for (size_t i = 0; i < synopsis.count; i++) {
        size_t size = strlen(synopsis.parts[i]);
        if (i > 1 && column + 1 + size > width) {
            buffer_append_char(out, '\n');
            buffer_append_repeat(out, ' ', indent);
            column = indent;
        }
        buffer_format(out, " %s", synopsis.parts[i]);
        column += 1 + size;
    }
    buffer_append(out, "\n");
    return 0;
}

int help_command(const struct command *command, unsigned width, struct buffer *out,
                 struct error **err) {
    width = width > 100 ? 100 : width;
    buffer_format(out, "glovebox %s - %s\n\n", command->name, command->summary);
    if (usage(command, out, width, err) < 0)
        return -1;
    buffer_append_char(out, '\n');
    describe(out, command->description, width);
    if (command->argument_count)
        buffer_append(out, "\nArguments\n");
    for (size_t i = 0; i < command->argument_count; i++)
        entry(out, command->arguments[i].name, command->arguments[i].help,
              command->arguments[i].choices, width);
    if (command->option_count)
        buffer_append(out, "\nOptions\n");
    options(out, command->options, command->option_count, width);
    buffer_append(out, "\nOptions of every command\n");
    options(out, global_options, global_option_count, width);
    if (command->examples) {
        buffer_append(out, "\nExamples\n");
        for (const char *at = command->examples; *at;) {
            size_t size = strcspn(at, "\n");
            buffer_format(out, "  %.*s\n", (int)size, at);
            at += size + (at[size] == '\n');
        }
    }
    buffer_append(out, "\nExit status\n");
    for (size_t i = 0; i < status_text_count; i++) {
        OWN_STRING number = memory_format("%d", status_texts[i].status);
        buffer_format(out, "  %-4s ", number ? number : "");
        text_append_wrapped(out, status_texts[i].text, 7, 7, width);
    }
    return buffer_check(out, err);
}
