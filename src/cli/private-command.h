/*
 * The command table and what a handler is given. To add a command:
 *   1. write NAME.c with its options, arguments, handler and `const struct command command_NAME`;
 *   2. declare it below and put it into the table in commands.c, in its group;
 *   3. add NAME.c to meson.build;
 *   4. build, then `script/generate` brings doc/commands.md up to date; test it in test/program.
 */
#ifndef GLOVEBOX_CLI_PRIVATE_COMMAND_H
#define GLOVEBOX_CLI_PRIVATE_COMMAND_H

#include "base/base.h"
#include "cli/cli.h"

/* What the shell may offer for a value. */
enum completion {
    COMPLETE_NOTHING,
    COMPLETE_FILE,
    COMPLETE_DIRECTORY,
    COMPLETE_RUN,
    COMPLETE_COMMAND,
    COMPLETE_TOOL
};

struct option_entry {
    const char *name;    /* long name, without dashes */
    char letter;         /* short name, or 0 */
    const char *value;   /* what it takes ("NAME=PATH"); NULL: a flag */
    const char *help;    /* a sentence without its full stop */
    const char *choices; /* the only values, separated by blanks; NULL: any */
    enum completion complete;
    bool repeats;
};

struct argument_entry {
    const char *name; /* "RUN" */
    const char *help;
    const char *choices;
    enum completion complete;
    bool optional, repeats; /* only the last ones may be */
};

enum command_group {
    GROUP_PIPELINE,
    GROUP_ASK,
    GROUP_CHANGE,
    GROUP_IMAGE,
    GROUP_HOUSE,
    GROUP_COUNT
};
const char *command_group_title(enum command_group group);

struct invocation;

struct command {
    const char *name; /* a word, or two: "image load" */
    enum command_group group;
    const char *summary;     /* a phrase, no capital, no full stop */
    const char *description; /* paragraphs parted by an empty line; indented lines are literal */
    const char *examples;    /* "# what it does\ncommand\n" …, or NULL */
    const struct option_entry *options;
    size_t option_count;
    const struct argument_entry *arguments;
    size_t argument_count;
    bool hidden;     /* not listed, no manual page */
    bool hands_over; /* everything after the first argument belongs to somebody else */
    /* Returns an exit status, or -1 with an error: then it is printed and the status follows
     * from its code. */
    int (*handle)(const struct invocation *invocation, struct error **err);
};

#define COMMAND_OPTIONS(table)   .options = (table), .option_count = ARRAY_SIZE(table)
#define COMMAND_ARGUMENTS(table) .arguments = (table), .argument_count = ARRAY_SIZE(table)

extern const struct command *const command_table[];
extern const size_t command_count;
extern const struct option_entry global_options[];
extern const size_t global_option_count;

extern const struct command command_run, command_check, command_graph, command_schema;
extern const struct command command_runs, command_status, command_tasks, command_logs, command_why;
extern const struct command command_retry, command_restart, command_cancel, command_pause,
    command_resume, command_skip, command_succeed, command_decide, command_report;
extern const struct command command_image_pull, command_image_load, command_image_save,
    command_image_list, command_image_show, command_image_verify, command_image_remove,
    command_image_gc, command_image_plugin;
extern const struct command command_remove, command_gc, command_tool, command_doctor, command_help,
    command_version, command_completion, command_drive;

const struct command *command_find(const char *name); /* or NULL */
/* A name of two words, "image load", belongs to the family of its first word. Whether `word` is
 * one: its first command, or NULL. */
const struct command *command_family(const char *word);
/* "image-load": the name as one word, of a page or in a script. Caller frees; NULL: no memory. */
char *command_word(const struct command *command) MUST_CHECK;

/* -------------------------------------------------------------- an invocation */

struct given_option {
    const struct option_entry *option;
    const char *value;
};
struct invocation {
    const struct command *command;
    struct given_option *options;
    size_t option_count;
    const char **arguments; /* NULL-terminated */
    size_t argument_count;
    char **rest; /* argv from the first argument on, for commands that hand over */
    int rest_count;
};
/* There is no command of this name: ERROR_USAGE; `prefix` goes before the hint's better name. */
int command_unknown(const char *name, const char *prefix, struct error **err);
void invocation_release(struct invocation *invocation);

/* argv -> invocation. ERROR_USAGE with a hint when it does not fit the table. `--help` becomes an
 * invocation of `help`, `--version` one of `version`. The strings stay in argv. */
int invocation_parse(int argc, char **argv, struct invocation *ret, struct error **err) MUST_CHECK;

bool given_flag(const struct invocation *invocation, const char *option);
/* The last value given, or `fallback`. */
const char *given_value(const struct invocation *invocation, const char *option,
                        const char *fallback);
/* Walks a repeated option: start with *position 0; NULL at the end. */
const char *given_next(const struct invocation *invocation, const char *option, size_t *position);
/* The n-th argument, or NULL. */
const char *given_argument(const struct invocation *invocation, size_t number);

/* ------------------------------------------------------ made from the table */

/* "glovebox run [-i NAME=PATH]… PIPELINE" as parts that may be wrapped between them. */
struct synopsis {
    char **parts;
    size_t count, capacity;
};
int synopsis_make(const struct command *command, struct synopsis *ret,
                  struct error **err) MUST_CHECK;
void synopsis_release(struct synopsis *synopsis);

int help_overview(unsigned width, struct buffer *out, struct error **err) MUST_CHECK;
int help_family(const char *family, unsigned width, struct buffer *out,
                struct error **err) MUST_CHECK;
int help_command(const struct command *command, unsigned width, struct buffer *out,
                 struct error **err) MUST_CHECK;
/* Troff source, man(7) macros. `command` NULL: glovebox(1) itself. */
int manual_page(const struct command *command, struct buffer *out, struct error **err) MUST_CHECK;
int manual_markdown(struct buffer *out, struct error **err) MUST_CHECK;
int completion_bash(struct buffer *out, struct error **err) MUST_CHECK;
json_t *command_table_json(struct error **err) MUST_CHECK;

/* Texts that stand in several of them. */
struct status_text {
    int status;
    const char *text;
};
extern const struct status_text status_texts[];
extern const size_t status_text_count;
struct named_pair {
    const char *name, *text;
};
extern const struct named_pair environment_texts[], file_texts[];
extern const size_t environment_text_count, file_text_count;
extern const char program_summary[], program_description[];

#endif
