/* Bash completion, made from the command table. */
#include "cli/private-command.h"
#include "cli/terminal.h"

static void option_words(struct buffer *out, const struct option_entry *options, size_t count) {
    for (size_t i = 0; i < count; i++) {
        buffer_format(out, " --%s", options[i].name);
        if (options[i].letter)
            buffer_format(out, " -%c", options[i].letter);
    }
}

/* The shell commands that fill COMPREPLY for one kind of word. */
static void complete_kind(struct buffer *out, enum completion kind, const char *choices) {
    if (choices) {
        buffer_format(out, "mapfile -t COMPREPLY < <(compgen -W '%s' -- \"$word\")", choices);
        return;
    }
    switch (kind) {
    case COMPLETE_DIRECTORY:
        buffer_append(out, "mapfile -t COMPREPLY < <(compgen -d -- \"$word\"); "
                           "compopt -o filenames");
        break;
    case COMPLETE_FILE:
        buffer_append(out, "mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); "
                           "compopt -o filenames");
        break;
    case COMPLETE_RUN:
        buffer_append(out, "mapfile -t COMPREPLY < <(compgen -W \"last $(glovebox runs --quiet "
                           "2>/dev/null)\" -- \"$word\")");
        break;
    case COMPLETE_COMMAND:
        buffer_append(out, "mapfile -t COMPREPLY < <(compgen -W \"$commands\" -- \"$word\")");
        break;
    case COMPLETE_TOOL:
        buffer_append(out, "mapfile -t COMPREPLY < <(compgen -W \"$(glovebox tool --quiet "
                           "2>/dev/null)\" -- \"$word\")");
        break;
    case COMPLETE_NOTHING:
    default:
        buffer_append(out, "COMPREPLY=()");
        break;
    }
}

/* case "$previous" in --output|-o) … */
static void value_cases(struct buffer *out, const char *scope, const struct option_entry *options,
                        size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!options[i].value)
            continue;
        buffer_format(out, "    %s:--%s", scope, options[i].name);
        if (options[i].letter)
            buffer_format(out, " | %s:-%c", scope, options[i].letter);
        buffer_append(out, ")\n        ");
        complete_kind(out, options[i].complete, options[i].choices);
        buffer_append(out, "\n        return ;;\n");
    }
}

/* The patterns of options that take a value, for skipping it. */
static void takes_value(struct buffer *out, const char *scope, const struct option_entry *options,
                        size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!options[i].value)
            continue;
        buffer_format(out, "%s:--%s | ", scope, options[i].name);
        if (options[i].letter)
            buffer_format(out, "%s:-%c | ", scope, options[i].letter);
    }
}

static void argument_cases(struct buffer *out, const char *scope, const struct command *command) {
    for (size_t i = 0; i < command->argument_count; i++) {
        const struct argument_entry *entry = &command->arguments[i];
        if (entry->repeats)
            buffer_format(out, "    %s:*)\n        ", scope);
        else
            buffer_format(out, "    %s:%zu)\n        ", scope, i);
        complete_kind(out, entry->complete, entry->choices);
        buffer_append(out, " ;;\n");
    }
}

/* First words, each once; or the second words of a family. */
static void command_words(struct buffer *out, const char *family) {
    const char *join = "";
    for (size_t i = 0; i < command_count; i++) {
        const struct command *command = command_table[i];
        size_t first = strcspn(command->name, " ");
        const char *word = command->name;
        if (command->hidden)
            continue;
        if (family) {
            if (strncmp(word, family, first) != 0 || family[first] || !word[first])
                continue;
            word += first + 1;
            first = strlen(word);
        } else if (word[first]) {
            OWN_STRING name = memory_copy_bytes(word, first);
            if (!name || command_family(name) != command)
                continue;
        }
        buffer_format(out, "%s%.*s", join, (int)first, word);
        join = " ";
    }
}

/* Calls `use` for the first command of each family, with its first word. */
static void for_families(struct buffer *out, void (*use)(struct buffer *out, const char *family)) {
    for (size_t i = 0; i < command_count; i++) {
        const char *name = command_table[i]->name;
        OWN_STRING family = memory_copy_bytes(name, strcspn(name, " "));
        if (family && command_family(family) == command_table[i])
            use(out, family);
    }
}

static void family_word(struct buffer *out, const char *family) {
    buffer_format(out, "%s ", family);
}

static void family_case(struct buffer *out, const char *family) {
    buffer_format(out, "    %s:*)\n        mapfile -t COMPREPLY < <(compgen -W '", family);
    command_words(out, family);
    buffer_append(out, "' -- \"$word\") ;;\n");
}

typedef void (*command_use)(struct buffer *out, const char *scope, const struct command *command);
static void for_commands(struct buffer *out, command_use use) {
    for (size_t i = 0; i < command_count; i++) {
        OWN_STRING scope = command_word(command_table[i]);
        if (scope && !command_table[i]->hidden)
            use(out, scope, command_table[i]);
    }
}

static void command_takes_value(struct buffer *out, const char *scope,
                                const struct command *command) {
    takes_value(out, scope, command->options, command->option_count);
}

static void command_value_cases(struct buffer *out, const char *scope,
                                const struct command *command) {
    value_cases(out, scope, command->options, command->option_count);
}

static void option_list(struct buffer *out, const char *scope, const struct command *command) {
    if (command->option_count == 0)
        return;
    buffer_format(out, "    %s) options='", scope);
    option_words(out, command->options, command->option_count);
    buffer_append(out, "' ;;\n");
}

static void function_head(struct buffer *out) {
    buffer_append(out,
                  "# Completion of glovebox for bash. Made by `glovebox completion bash`.\n"
                  "_glovebox() {\n"
                  "    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
                  "    local command='' count=0 at options\n"
                  "    local commands='");
    command_words(out, NULL);
    buffer_append(out, "'\n    COMPREPLY=()\n"
                       "    # The command is the first word that is no option nor the value of "
                       "one.\n"
                       "    for ((at = 1; at < COMP_CWORD; at++)); do\n"
                       "        case $command:${COMP_WORDS[at]} in\n"
                       "        ");
    takes_value(out, "*", global_options, global_option_count);
    for_commands(out, command_takes_value);
    /* bash takes NAME=PATH for three words. */
    buffer_append(out, "*:=) ((at += 1)) ;;\n"
                       "        *:-*) ;;\n"
                       "        *) if [[ -z $command ]]; then command=${COMP_WORDS[at]}; "
                       "elif [[ ' ");
    for_families(out, family_word);
    buffer_append(out, "' == *\" $command \"* ]]; then command+=-${COMP_WORDS[at]}; "
                       "else ((count += 1)); fi ;;\n"
                       "        esac\n"
                       "    done\n"
                       "    if [[ $word == = || $previous == = ]]; then\n"
                       "        mapfile -t COMPREPLY < <(compgen -f -- \"${word#=}\")\n"
                       "        compopt -o filenames\n"
                       "        return\n"
                       "    fi\n");
}

static void option_lists(struct buffer *out) {
    buffer_append(out, "    case $command in\n");
    for_commands(out, option_list);
    buffer_append(out, "    *) options='' ;;\n    esac\n    options+='");
    option_words(out, global_options, global_option_count);
    buffer_append(out, "'\n"
                       "    if [[ $word == -* ]]; then\n"
                       "        mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$word\")\n"
                       "        return\n"
                       "    fi\n");
}

int completion_bash(struct buffer *out, struct error **err) {
    function_head(out);
    buffer_append(out, "    case $command:$previous in\n");
    for_commands(out, command_value_cases);
    value_cases(out, "*", global_options, global_option_count);
    buffer_append(out, "    esac\n");
    option_lists(out);
    buffer_append(out, "    if [[ -z $command ]]; then\n"
                       "        mapfile -t COMPREPLY < <(compgen -W \"$commands\" -- \"$word\")\n"
                       "        return\n"
                       "    fi\n"
                       "    case $command:$count in\n");
    for_commands(out, argument_cases);
    for_families(out, family_case);
    buffer_append(out, "    esac\n}\ncomplete -F _glovebox glovebox\n");
    return buffer_check(out, err);
}

static int handle(const struct invocation *invocation, struct error **err) {
    OWN_BUFFER out = {0};
    if (completion_bash(&out, err) < 0)
        return -1;
    print_buffer(&out);
    return STATUS_SUCCEEDED;
}

static const struct argument_entry arguments[] = {
    {.name = "SHELL", .help = "the shell to make it for", .choices = "bash"},
};

const struct command command_completion = {
    .name = "completion",
    .group = GROUP_HOUSE,
    .summary = "print the completion script of a shell",
    .description = "Prints a script that completes commands, options and runs. The build installs "
                   "it where bash looks for it.",
    COMMAND_ARGUMENTS(arguments),
    .hidden = true,
    .handle = handle,
};
