/*
 * tools — the built-in steps: `glovebox tool NAME INPUT OUTPUT [options]`.
 *
 * A tool reads INPUT (a file or a directory), writes into the directory OUTPUT (made when it is
 * not there) and knows nothing of pipelines. It may leave OUTPUT/result.json, an object that
 * `when:` and `foreach:` see as the step's result.
 *
 * Batches. A tool that is given a directory works on every file it understands; files of other
 * kinds are counted as skipped. A broken file does not stop the others: it is listed with its
 * reason under "failed" in result.json, and the exit status is TOOL_PARTIAL. When every file
 * failed, or none was understood, the tool fails. `--strict` stops at the first broken file;
 * `--lenient` makes the exit status 0 although some failed.
 *
 * One table row describes a tool: parsing, --help, documentation and the man page come from it.
 */
#ifndef GLOVEBOX_TOOLS_H
#define GLOVEBOX_TOOLS_H

#include "base/base.h"

/* Exit statuses of a tool. */
enum { TOOL_OK = 0, TOOL_FAILED = 1, TOOL_USAGE = 2, TOOL_PARTIAL = 5 };

struct tool_option {
    const char *name;     /* "window" for --window */
    const char *argument; /* placeholder ("CENTER,WIDTH"), or NULL: a switch */
    const char *help;     /* one line or more, no full stop at the end */
    const char *fallback; /* value when not given, or NULL */
    bool required;
};

struct tool_call;
struct tool {
    const char *name, *summary;
    const char *input, *output; /* what INPUT and OUTPUT are, one line each */
    const char *help;           /* a paragraph or more */
    const struct tool_option *options;
    size_t option_count;
    /* TOOL_OK or TOOL_PARTIAL, or -1 with an error. */
    int (*run)(const struct tool_call *call, struct error **err);
};
struct tool_call {
    const struct tool *tool;
    const char *input, *output;
    const char *const *values; /* one an option: what was given, its fallback, or NULL */
};

extern const struct tool *const tools[];
extern const size_t tool_count;
const struct tool *tool_find(const char *name); /* NULL: no such tool */

/* "Usage: …", the paragraphs and the options of one tool; the list of all when `tool` is NULL. */
void tool_help(const struct tool *tool, struct buffer *out);
/* Value of an option of the call's own table; a switch that was given is "true". */
const char *tool_value(const struct tool_call *call, const char *option);
static inline bool tool_switch(const struct tool_call *call, const char *option) {
    return tool_value(call, option) != NULL;
}

/* `glovebox tool …`: argv[0] is the tool's name, then its arguments; --help anywhere prints help.
 * Prints its error itself. Returns the exit status. */
int tool_main(int argc, char **argv);
/* The same in two halves: parse (ERROR_USAGE), then run. `values` has room for option_count. */
int tool_parse(const struct tool *tool, int argc, char **argv, struct tool_call *ret,
               const char **values, struct error **err) MUST_CHECK;
/* What that would say of a pipeline's step: `arguments` follow INPUT and OUTPUT. Parts in ${…} are
 * not known yet and are taken for what would be right. `complain` is called for each mistake, with
 * the index of the argument, or `count` when one is missing. Nothing is said of unknown tools. */
int tool_check(const char *name, const char *const *arguments, size_t count,
               void (*complain)(size_t at, const char *message, const char *hint, void *context),
               void *context, struct error **err) MUST_CHECK;

#endif
