/* argv against the table. */
#include "cli/private-command.h"

#include <stdlib.h>

static int usage_hint(const struct command *command, struct error **err) {
    if (command)
        return error_hint(err, "try \"glovebox help %s\"", command->name);
    return error_hint(err, "try \"glovebox help\"");
}

/* ------------------------------------------------------------------ the table */

static const struct option_entry *find_in(const struct option_entry *options, size_t count,
                                          const char *name, size_t size, char letter) {
    for (size_t i = 0; i < count; i++) {
        if (letter ? options[i].letter == letter
                   : strlen(options[i].name) == size && !memcmp(options[i].name, name, size))
            return &options[i];
    }
    return NULL;
}

static const struct option_entry *find_option(const struct command *command, const char *name,
                                              size_t size, char letter) {
    const struct option_entry *found = NULL;
    if (command)
        found = find_in(command->options, command->option_count, name, size, letter);
    return found ? found : find_in(global_options, global_option_count, name, size, letter);
}

static int unknown_option(const struct command *command, const char *name, size_t size,
                          struct error **err) {
    const char *candidates[64];
    size_t count = 0;
    for (size_t i = 0; command && i < command->option_count && count < 64; i++)
        candidates[count++] = command->options[i].name;
    for (size_t i = 0; i < global_option_count && count < 64; i++)
        candidates[count++] = global_options[i].name;
    OWN_STRING copy = memory_format("%.*s", (int)size, name);
    if (!copy)
        return error_set_memory(err);
    OWN_BUFFER shown = {0};
    text_append_printable(&shown, copy);
    error_set(err, ERROR_USAGE, "unknown option \"--%s\"", buffer_text(&shown));
    const char *near = text_nearest(copy, candidates, count);
    if (near)
        return error_hint(err, "did you mean \"--%s\"?", near);
    return usage_hint(command, err);
}

static int check_choice(const char *what, const char *choices, const char *value,
                        struct error **err) {
    if (!choices)
        return 0;
    OWN_STRING copy = memory_copy_string(choices);
    if (!copy)
        return error_set_memory(err);
    const char *words[16];
    size_t count = 0;
    char *rest = copy;
    for (char *word; (word = strsep(&rest, " ")) && count < ARRAY_SIZE(words);) {
        if (text_equal(word, value))
            return 0;
        words[count++] = word;
    }
    OWN_BUFFER shown = {0};
    text_append_printable(&shown, value);
    error_set(err, ERROR_USAGE, "%s: \"%s\" is not one of: %s", what, buffer_text(&shown), choices);
    const char *near = text_nearest(value, words, count);
    return near ? error_hint(err, "did you mean \"%s\"?", near) : -1;
}

/* -------------------------------------------------------------------- parsing */

struct parser {
    const char *family; /* "image", when the command has two words and the second is to come */
    int count, next;
    char **argv;
    bool only_arguments; /* after "--" */
    struct invocation *invocation;
};

static int add_option(struct parser *parser, const struct option_entry *option, const char *value,
                      struct error **err) {
    struct invocation *invocation = parser->invocation;
    OWN_STRING what = memory_format("--%s", option->name);
    if (!what)
        return error_set_memory(err);
    if (value && check_choice(what, option->choices, value, err) < 0)
        return -1;
    if (!option->repeats && value) {
        for (size_t i = 0; i < invocation->option_count; i++)
            if (invocation->options[i].option == option)
                return error_set(err, ERROR_USAGE, "option \"%s\" is given twice", what);
    }
    invocation->options[invocation->option_count++] = (struct given_option){option, value};
    return 0;
}

static int missing_value(const struct parser *parser, const char *name,
                         const struct option_entry *option, struct error **err) {
    error_set(err, ERROR_USAGE, "option \"%s\" needs a value, %s", name, option->value);
    return usage_hint(parser->invocation->command, err);
}

static int parse_long(struct parser *parser, const char *text, struct error **err) {
    const struct command *command = parser->invocation->command;
    const char *name = text + 2, *equals = strchr(name, '=');
    size_t size = equals ? (size_t)(equals - name) : strlen(name);
    const struct option_entry *option = find_option(command, name, size, 0);
    if (!option)
        return unknown_option(command, name, size, err);
    if (!option->value) {
        if (equals)
            return error_set(err, ERROR_USAGE, "option \"--%s\" takes no value", option->name);
        return add_option(parser, option, NULL, err);
    }
    if (equals)
        return add_option(parser, option, equals + 1, err);
    if (parser->next >= parser->count)
        return missing_value(parser, text, option, err);
    return add_option(parser, option, parser->argv[parser->next++], err);
}

/* "-q", "-qv", "-o DIR", "-oDIR". */
static int parse_short(struct parser *parser, const char *text, struct error **err) {
    for (const char *at = text + 1; *at; at++) {
        const struct option_entry *option = find_option(parser->invocation->command, NULL, 0, *at);
        if (!option) {
            OWN_BUFFER shown = {0};
            text_append_printable(&shown, text);
            error_set(err, ERROR_USAGE, "unknown option \"%s\"", buffer_text(&shown));
            return usage_hint(parser->invocation->command, err);
        }
        if (!option->value) {
            if (add_option(parser, option, NULL, err) < 0)
                return -1;
            continue;
        }
        if (at[1])
            return add_option(parser, option, at + 1, err);
        char name[3] = {'-', *at, '\0'};
        if (parser->next >= parser->count)
            return missing_value(parser, name, option, err);
        return add_option(parser, option, parser->argv[parser->next++], err);
    }
    return 0;
}

int command_unknown(const char *name, const char *prefix, struct error **err) {
    const char *candidates[64];
    size_t count = 0;
    for (size_t i = 0; i < command_count && count < 64; i++)
        if (!command_table[i]->hidden)
            candidates[count++] = command_table[i]->name;
    OWN_BUFFER shown = {0};
    text_append_printable(&shown, name);
    error_set(err, ERROR_USAGE, "unknown command \"%s\"", buffer_text(&shown));
    const char *near = text_nearest(name, candidates, count);
    if (near)
        return error_hint(err, "did you mean \"glovebox %s%s\"?", prefix, near);
    return error_hint(err, "\"glovebox help\" lists the commands");
}

static int parse_command(struct parser *parser, const char *name, struct error **err) {
    OWN_STRING both =
        parser->family ? memory_format("%s %s", parser->family, name) : memory_copy_string(name);
    if (!both)
        return error_set_memory(err);
    parser->invocation->command = command_find(both);
    if (parser->invocation->command)
        return 0;
    if (parser->family || !command_family(name))
        return command_unknown(both, "", err);
    parser->family = name;
    return 0;
}

static int parse_all(struct parser *parser, struct error **err) {
    struct invocation *invocation = parser->invocation;
    while (parser->next < parser->count) {
        char *text = parser->argv[parser->next++];
        int bad;
        if (parser->only_arguments || text[0] != '-' || text[1] == '\0') {
            if (!invocation->command) {
                bad = parse_command(parser, text, err);
            } else {
                invocation->arguments[invocation->argument_count++] = text;
                bad = 0;
                if (invocation->command->hands_over) {
                    invocation->rest = parser->argv + parser->next - 1;
                    invocation->rest_count = parser->count - parser->next + 1;
                    return 0;
                }
            }
        } else if (text_equal(text, "--")) {
            parser->only_arguments = true;
            bad = 0;
        } else if (text[1] == '-') {
            bad = parse_long(parser, text, err);
        } else {
            bad = parse_short(parser, text, err);
        }
        if (bad < 0)
            return -1;
    }
    return 0;
}

static int check_arguments(const struct invocation *invocation, struct error **err) {
    const struct command *command = invocation->command;
    for (size_t i = 0; i < command->argument_count; i++) {
        const struct argument_entry *entry = &command->arguments[i];
        if (i >= invocation->argument_count) {
            if (entry->optional)
                return 0;
            error_set(err, ERROR_USAGE, "%s: %s is missing", command->name, entry->name);
            return error_hint(err, "%s is %s; try \"glovebox help %s\"", entry->name, entry->help,
                              command->name);
        }
        if (check_choice(entry->name, entry->choices, invocation->arguments[i], err) < 0)
            return -1;
        if (entry->repeats)
            return 0;
    }
    if (command->hands_over || invocation->argument_count <= command->argument_count)
        return 0;
    OWN_BUFFER shown = {0};
    text_append_printable(&shown, invocation->arguments[command->argument_count]);
    error_set(err, ERROR_USAGE, "%s: \"%s\" is one argument too many", command->name,
              buffer_text(&shown));
    return usage_hint(command, err);
}

/* `--help` and `--version` win over everything else that was typed. */
static bool redirect(struct invocation *invocation, const char *family) {
    bool help = false, version = false;
    for (size_t i = 0; i < invocation->option_count; i++) {
        help = help || text_equal(invocation->options[i].option->name, "help");
        version = version || text_equal(invocation->options[i].option->name, "version");
    }
    if (!help && !version)
        return false;
    const struct command *about = invocation->command;
    invocation->argument_count = 0;
    invocation->command = help ? &command_help : &command_version;
    if (help && (about || family))
        invocation->arguments[invocation->argument_count++] = about ? about->name : family;
    invocation->arguments[invocation->argument_count] = NULL;
    return true;
}

int invocation_parse(int argc, char **argv, struct invocation *ret, struct error **err) {
    struct invocation invocation = {0};
    size_t most = (size_t)(argc > 0 ? argc : 1) + 2;
    /* A word like -qvv holds several options: count letters, not words. */
    size_t letters = most;
    for (int i = 1; i < argc; i++)
        letters += argv[i][0] == '-' ? strlen(argv[i]) : 0;
    invocation.options = memory_array(letters, sizeof(*invocation.options));
    invocation.arguments = memory_array(most, sizeof(*invocation.arguments));
    struct parser parser = {NULL, argc, 1, argv, false, &invocation};
    int bad = invocation.options && invocation.arguments ? 0 : error_set_memory(err);
    bad = bad ? bad : parse_all(&parser, err);
    if (!bad && !redirect(&invocation, parser.family)) {
        if (!invocation.command && parser.family) {
            error_set(err, ERROR_USAGE, "%s: which of its commands is not given", parser.family);
            bad = error_hint(err, "\"glovebox help %s\" lists them", parser.family);
        } else if (!invocation.command) {
            error_set(err, ERROR_USAGE, "no command is given");
            bad = error_hint(err, "\"glovebox help\" lists the commands");
        } else {
            bad = check_arguments(&invocation, err);
        }
    }
    if (bad < 0) {
        invocation_release(&invocation);
        return -1;
    }
    *ret = invocation;
    return 0;
}
