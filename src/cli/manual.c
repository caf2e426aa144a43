/* Manual pages, doc/commands.md and the table as JSON, all made from the command table. */
#include "cli/private-command.h"

#include <ctype.h>

/* --------------------------------------------------------------------- troff */

#define TROFF_COLUMNS 72

/* Text for troff: backslashes, dashes that must stay ASCII, and leading dots and quotes. `fill`:
 * source lines are broken at blanks when they grow long, and after each sentence. */
static void troff(struct buffer *out, const char *text, size_t size, bool fill) {
    size_t begin = 0; /* of the source line */
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        bool sentence = i > 0 && (text[i - 1] == '.' || text[i - 1] == ':') && c == ' ';
        size_t word = c == ' ' ? strcspn(text + i + 1, " \n") : 0;
        if (fill && c == ' ' && (sentence || i - begin + word > TROFF_COLUMNS)) {
            buffer_append_char(out, '\n');
            begin = i + 1;
            continue;
        }
        if (i == begin && (c == '.' || c == '\''))
            buffer_append(out, "\\&");
        if (c == '\\')
            buffer_append(out, "\\e");
        else if (c == '-')
            buffer_append(out, "\\-");
        else if (c == '~')
            buffer_append(out, "\\(ti");
        else if (c == '^')
            buffer_append(out, "\\(ha");
        else
            buffer_append_char(out, c);
    }
}

static void troff_text(struct buffer *out, const char *text) {
    troff(out, text, strlen(text), true);
}

static void troff_help(struct buffer *out, const char *help, const char *choices) {
    OWN_BUFFER text = {0};
    buffer_append(&text, help);
    if (choices)
        buffer_format(&text, " (%s)", choices);
    buffer_append_char(&text, '.');
    troff_text(out, buffer_text(&text));
}

/* Paragraphs, and indented lines as literal blocks. */
static void troff_description(struct buffer *out, const char *text) {
    bool literal = false, start = true;
    while (*text) {
        size_t size = strcspn(text, "\n");
        bool is_literal = size > 0 && text[0] == ' ';
        if (literal && !is_literal)
            buffer_append(out, ".EE\n.RE\n");
        if (is_literal && !literal)
            buffer_append(out, start ? ".RS 4\n.EX\n" : ".PP\n.RS 4\n.EX\n");
        else if (!is_literal && size > 0 && !start && (literal || text[-2] == '\n'))
            buffer_append(out, ".PP\n");
        literal = is_literal;
        if (size > 0) {
            size_t skip = is_literal ? strspn(text, " ") : 0;
            troff(out, text + skip, size - skip, !is_literal);
            buffer_append_char(out, '\n');
            start = false;
        }
        text += size;
        text += *text == '\n';
    }
    if (literal)
        buffer_append(out, ".EE\n.RE\n");
}

static void troff_heading(struct buffer *out, const char *name) {
    buffer_append(out, ".TH ");
    for (const char *at = name; *at; at++)
        buffer_append_char(out, (char)toupper((unsigned char)*at));
    buffer_format(out, " 1 %s \"glovebox %s\" \"Glovebox manual\"\n", GLOVEBOX_RELEASE_DATE,
                  GLOVEBOX_VERSION);
}

static void troff_options(struct buffer *out, const struct option_entry *options, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const struct option_entry *option = &options[i];
        buffer_append(out, ".TP\n");
        if (option->letter)
            buffer_format(out, "\\fB\\-%c\\fP, ", option->letter);
        buffer_append(out, "\\fB\\-\\-");
        troff_text(out, option->name);
        buffer_append(out, "\\fP");
        if (option->value)
            buffer_format(out, " \\fI%s\\fP", option->value);
        buffer_append_char(out, '\n');
        troff_help(out, option->help, option->choices);
        buffer_append_char(out, '\n');
        if (option->repeats)
            buffer_append(out, "May be given several times.\n");
    }
}

static void troff_arguments(struct buffer *out, const struct command *command) {
    if (command->argument_count)
        buffer_append(out, ".SH ARGUMENTS\n");
    for (size_t i = 0; i < command->argument_count; i++) {
        const struct argument_entry *entry = &command->arguments[i];
        buffer_append(out, ".TP\n\\fI");
        troff_text(out, entry->name);
        buffer_append(out, "\\fP\n");
        troff_help(out, entry->help, entry->choices);
        buffer_append_char(out, '\n');
    }
}

static void troff_statuses(struct buffer *out) {
    buffer_append(out, ".SH EXIT STATUS\n");
    for (size_t i = 0; i < status_text_count; i++) {
        buffer_format(out, ".TP\n%d\n", status_texts[i].status);
        troff_text(out, status_texts[i].text);
        buffer_append_char(out, '\n');
    }
}

static void troff_pairs(struct buffer *out, const char *title, const struct named_pair *pairs,
                        size_t count) {
    buffer_format(out, ".SH %s\n", title);
    for (size_t i = 0; i < count; i++) {
        buffer_append(out, ".TP\n");
        troff_text(out, pairs[i].name);
        buffer_append_char(out, '\n');
        troff_text(out, pairs[i].text);
        buffer_append_char(out, '\n');
    }
}

static void troff_examples(struct buffer *out, const char *examples) {
    buffer_append(out, ".SH EXAMPLES\n");
    for (const char *at = examples; *at;) {
        size_t size = strcspn(at, "\n");
        if (at[0] == '#') {
            buffer_append(out, ".TP\n");
            troff(out, at + 2, size - 2, true);
            buffer_append(out, "\n");
        } else {
            buffer_append(out, "\\fB");
            troff(out, at, size, false);
            buffer_append(out, "\\fP\n");
        }
        at += size + (at[size] == '\n');
    }
}

static int manual_main(struct buffer *out, struct error **err) {
    troff_heading(out, "glovebox");
    buffer_append(out, ".SH NAME\nglovebox \\- ");
    troff_text(out, program_summary);
    buffer_append(out, "\n.SH SYNOPSIS\n\\fBglovebox\\fP [\\fIOPTION\\fP]... \\fICOMMAND\\fP "
                       "[\\fIARGUMENT\\fP]...\n.SH DESCRIPTION\n");
    troff_description(out, program_description);
    buffer_append(out, ".SH COMMANDS\n");
    for (int group = 0; group < GROUP_COUNT; group++) {
        buffer_format(out, ".SS %s\n", command_group_title((enum command_group)group));
        for (size_t i = 0; i < command_count; i++) {
            const struct command *command = command_table[i];
            if (command->hidden || (int)command->group != group)
                continue;
            OWN_STRING word = command_word(command);
            buffer_append(out, ".TP\n.BR glovebox\\-");
            troff_text(out, word ? word : "");
            buffer_append(out, " (1)\n");
            troff_text(out, command->summary);
            buffer_append(out, ".\n");
        }
    }
    buffer_append(out, ".SH OPTIONS\n");
    troff_options(out, global_options, global_option_count);
    troff_statuses(out);
    troff_pairs(out, "ENVIRONMENT", environment_texts, environment_text_count);
    troff_pairs(out, "FILES", file_texts, file_text_count);
    return buffer_check(out, err);
}

int manual_page(const struct command *command, struct buffer *out, struct error **err) {
    if (!command)
        return manual_main(out, err);
    OWN_STRING word = command_word(command);
    OWN_STRING name = word ? memory_format("glovebox-%s", word) : NULL;
    struct synopsis synopsis CLEANUP(synopsis_release) = {0};
    if (!name)
        return error_set_memory(err);
    if (synopsis_make(command, &synopsis, err) < 0)
        return -1;
    troff_heading(out, name);
    buffer_append(out, ".SH NAME\n");
    troff_text(out, name);
    buffer_append(out, " \\- ");
    troff_text(out, command->summary);
    buffer_append(out, "\n.SH SYNOPSIS\n.nh\n.ad l\n\\fB");
    troff_text(out, synopsis.parts[0]);
    buffer_append(out, "\\fP\n");
    for (size_t i = 1; i < synopsis.count; i++) {
        troff_text(out, synopsis.parts[i]);
        buffer_append_char(out, '\n');
    }
    buffer_append(out, ".ad\n.hy\n.SH DESCRIPTION\n");
    troff_description(out, command->description);
    troff_arguments(out, command);
    buffer_append(out, ".SH OPTIONS\n");
    troff_options(out, command->options, command->option_count);
    troff_options(out, global_options, global_option_count);
    troff_statuses(out);
    if (command->examples)
        troff_examples(out, command->examples);
    buffer_append(out, ".SH SEE ALSO\n.BR glovebox (1)\n");
    return buffer_check(out, err);
}

/* ------------------------------------------------------------------ Markdown */

static void markdown_cell(struct buffer *out, const char *text) {
    for (; *text; text++) {
        if (*text == '|' || *text == '<' || *text == '*' || *text == '_')
            buffer_append_char(out, '\\');
        buffer_append_char(out, *text);
    }
}

static void markdown_options(struct buffer *out, const struct option_entry *options, size_t count) {
    buffer_append(out, "\n| option | what it does |\n|---|---|\n");
    for (size_t i = 0; i < count; i++) {
        buffer_append(out, "| `");
        if (options[i].letter)
            buffer_format(out, "-%c`, `", options[i].letter);
        buffer_format(out, "--%s", options[i].name);
        if (options[i].value)
            buffer_format(out, " %s", options[i].value);
        buffer_append(out, "` | ");
        markdown_cell(out, options[i].help);
        if (options[i].choices)
            buffer_format(out, " (%s)", options[i].choices);
        if (options[i].repeats)
            buffer_append(out, "; may be given several times");
        buffer_append(out, " |\n");
    }
}

static int markdown_command(const struct command *command, struct buffer *out, struct error **err) {
    struct synopsis synopsis CLEANUP(synopsis_release) = {0};
    if (synopsis_make(command, &synopsis, err) < 0)
        return -1;
    buffer_format(out, "\n## glovebox %s\n\n", command->name);
    markdown_cell(out, command->summary);
    buffer_append(out, ".\n\n```text\n");
    for (size_t i = 0; i < synopsis.count; i++)
        buffer_format(out, "%s%s", i ? " " : "", synopsis.parts[i]);
    buffer_append(out, "\n```\n\n");
    buffer_append(out, command->description);
    buffer_append_char(out, '\n');
    if (command->argument_count)
        buffer_append(out, "\n| argument | what it is |\n|---|---|\n");
    for (size_t i = 0; i < command->argument_count; i++) {
        buffer_format(out, "| `%s` | ", command->arguments[i].name);
        markdown_cell(out, command->arguments[i].help);
        if (command->arguments[i].choices)
            buffer_format(out, " (%s)", command->arguments[i].choices);
        buffer_append(out, " |\n");
    }
    if (command->option_count)
        markdown_options(out, command->options, command->option_count);
    if (command->examples)
        buffer_format(out, "\n```sh\n%s```\n", command->examples);
    return 0;
}

int manual_markdown(struct buffer *out, struct error **err) {
    buffer_append(out, "# Commands\n\n<!-- Made from the command table by script/generate; a test "
                       "holds it. -->\n\n");
    buffer_append(out, program_description);
    buffer_append(out, "\n\n## Options of every command\n");
    markdown_options(out, global_options, global_option_count);
    buffer_append(out, "\n## Exit status\n\n| status | meaning |\n|---|---|\n");
    for (size_t i = 0; i < status_text_count; i++)
        buffer_format(out, "| %d | %s |\n", status_texts[i].status, status_texts[i].text);
    for (size_t i = 0; i < command_count; i++)
        if (!command_table[i]->hidden && markdown_command(command_table[i], out, err) < 0)
            return -1;
    return buffer_check(out, err);
}

/* ---------------------------------------------------------------------- JSON */

static json_t *options_json(const struct option_entry *options, size_t count) {
    json_t *array = json_array();
    for (size_t i = 0; array && i < count; i++) {
        char letter[2] = {options[i].letter, '\0'};
        json_t *one =
            json_pack("{s:s, s:s*, s:s*, s:s, s:s*, s:b}", "name", options[i].name, "letter",
                      letter[0] ? letter : NULL, "value", options[i].value, "help", options[i].help,
                      "choices", options[i].choices, "repeats", options[i].repeats);
        if (json_array_append_new(array, one) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *arguments_json(const struct command *command) {
    json_t *array = json_array();
    for (size_t i = 0; array && i < command->argument_count; i++) {
        const struct argument_entry *entry = &command->arguments[i];
        json_t *one = json_pack("{s:s, s:s, s:s*, s:b, s:b}", "name", entry->name, "help",
                                entry->help, "choices", entry->choices, "optional", entry->optional,
                                "repeats", entry->repeats);
        if (json_array_append_new(array, one) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

json_t *command_table_json(struct error **err) {
    OWN_JSON commands = json_array();
    for (size_t i = 0; commands && i < command_count; i++) {
        const struct command *command = command_table[i];
        json_t *one = json_pack("{s:s, s:s, s:b, s:o, s:o}", "name", command->name, "summary",
                                command->summary, "hidden", command->hidden, "arguments",
                                arguments_json(command), "options",
                                options_json(command->options, command->option_count));
        if (json_array_append_new(commands, one) < 0) {
            error_set_memory(err);
            return NULL;
        }
    }
    json_t *all = json_pack("{s:O, s:o}", "commands", commands, "options",
                            options_json(global_options, global_option_count));
    if (!all)
        error_set_memory(err);
    return all;
}
