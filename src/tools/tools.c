/* The table of tools, their command lines and help. */
#include "tools/private-tools.h"

#include <stdlib.h>

const struct tool *const tools[] = {
    &tool_file_fetch,    &tool_file_join, &tool_dicom_anonymize, &tool_dicom_tags,
    &tool_dicom_convert, &tool_classify,  &tool_report,
};
const size_t tool_count = ARRAY_SIZE(tools);

#define MAXIMUM_OPTIONS 32

const struct tool *tool_find(const char *name) {
    for (size_t i = 0; i < tool_count; i++) {
        if (text_equal(tools[i]->name, name))
            return tools[i];
    }
    return NULL;
}

const char *tool_value(const struct tool_call *call, const char *option) {
    for (size_t i = 0; i < call->tool->option_count; i++) {
        if (text_equal(call->tool->options[i].name, option))
            return call->values[i];
    }
    return NULL;
}

/* ---------------------------------------------------------------------- help */

static void append_wrapped(struct buffer *out, const char *text, size_t indent, size_t width) {
    size_t column = indent;
    while (*text) {
        size_t word = strcspn(text, " \n");
        if (column > indent && column + 1 + word > width) {
            buffer_append_char(out, '\n');
            buffer_append_repeat(out, ' ', indent);
            column = indent;
        } else if (column > indent) {
            buffer_append_char(out, ' ');
            column++;
        }
        buffer_append_bytes(out, text, word);
        column += word;
        text += word;
        if (*text == '\n') { /* a paragraph ends */
            buffer_append(out, "\n");
            buffer_append_repeat(out, ' ', indent);
            column = indent;
        }
        text += strspn(text, " \n");
    }
    buffer_append_char(out, '\n');
}

static void append_option(const struct tool_option *option, struct buffer *out) {
    OWN_BUFFER left = {0}, help = {0};
    buffer_format(&left, "  --%s%s%s", option->name, option->argument ? " " : "",
                  option->argument ? option->argument : "");
    buffer_append(&help, option->help);
    if (option->fallback && option->fallback[0])
        buffer_format(&help, " (default: %s)", option->fallback);
    if (option->required)
        buffer_append(&help, " (required)");
    buffer_append(out, buffer_text(&left));
    if (left.size < 26)
        buffer_append_repeat(out, ' ', 26 - left.size);
    else
        buffer_append(out, "\n                          ");
    append_wrapped(out, buffer_text(&help), 26, 80);
}

void tool_help(const struct tool *tool, struct buffer *out) {
    if (!tool) {
        buffer_append(out, "Usage: glovebox tool NAME INPUT OUTPUT [options]\n\nTools:\n");
        for (size_t i = 0; i < tool_count; i++)
            buffer_format(out, "  %-18s %s\n", tools[i]->name, tools[i]->summary);
        buffer_append(out, "\nglovebox tool NAME --help tells more of one.\n");
        return;
    }
    buffer_format(out, "Usage: glovebox tool %s INPUT OUTPUT [options]\n\n%s.\n\n", tool->name,
                  tool->summary);
    buffer_append(out, "  INPUT   ");
    append_wrapped(out, tool->input, 10, 80);
    buffer_append(out, "  OUTPUT  ");
    append_wrapped(out, tool->output, 10, 80);
    buffer_append_char(out, '\n');
    append_wrapped(out, tool->help, 0, 80);
    buffer_append(out, "\nOptions:\n");
    for (size_t i = 0; i < tool->option_count; i++)
        append_option(&tool->options[i], out);
    static const struct tool_option help = {"help", NULL, "print this", NULL};
    append_option(&help, out);
    buffer_append(out, "\nExit status: 0 done, 1 failed, 2 wrong usage, 5 done but some files were "
                       "broken.\n");
}

/* ------------------------------------------------------------------- parsing */

static int unknown_option(const struct tool *tool, const char *name, struct error **err) {
    const char *names[MAXIMUM_OPTIONS];
    size_t count = 0;
    for (; count < tool->option_count && count < MAXIMUM_OPTIONS; count++)
        names[count] = tool->options[count].name;
    const char *near = text_nearest(name, names, count);
    error_set(err, ERROR_USAGE, "%s has no option --%s", tool->name, name);
    if (near)
        error_hint(err, "did you mean --%s?", near);
    return -1;
}

/* The option at arguments[*at]; moves *at to its last argument. */
static int parse_option(const struct tool *tool, size_t count, const char *const *arguments,
                        size_t *at, const char **values, struct error **err) {
    const char *text = arguments[*at] + 2, *equals = strchr(text, '=');
    OWN_STRING name = memory_copy_bytes(text, equals ? (size_t)(equals - text) : strlen(text));
    const char *value = equals ? equals + 1 : NULL;
    if (!name)
        return error_set_memory(err);
    for (size_t i = 0; i < tool->option_count; i++) {
        const struct tool_option *option = &tool->options[i];
        if (!text_equal(option->name, name))
            continue;
        if (!option->argument && value)
            return error_set(err, ERROR_USAGE, "--%s takes no value", name);
        if (option->argument && !value && *at + 1 < count &&
            !text_starts_with(arguments[*at + 1], "--"))
            value = arguments[++*at];
        values[i] = option->argument ? value : "true";
        if (values[i])
            return 0;
        values[i] = ""; /* it was given, though without a value */
        error_set(err, ERROR_USAGE, "--%s needs a value: %s", name, option->argument);
        if (*at + 1 < count)
            error_hint(err, "write --%s=VALUE for a value that begins with --", name);
        return -1;
    }
    return unknown_option(tool, name, err);
}

/* The first required option that was not given, or NULL. */
static const struct tool_option *missing_option(const struct tool *tool,
                                                const char *const *values) {
    for (size_t i = 0; i < tool->option_count; i++)
        if (tool->options[i].required && !values[i])
            return &tool->options[i];
    return NULL;
}

static int complain_of_missing(const struct tool *tool, const struct tool_option *option,
                               struct error **err) {
    return error_set(err, ERROR_USAGE, "%s needs --%s %s", tool->name, option->name,
                     option->argument);
}

int tool_parse(const struct tool *tool, int argc, char **argv, struct tool_call *ret,
               const char **values, struct error **err) {
    struct tool_call call = {.tool = tool, .values = values};
    const char *const *arguments = (const char *const *)argv;
    bool only_paths = false;
    for (size_t i = 0; i < tool->option_count; i++)
        values[i] = tool->options[i].fallback;
    for (size_t i = 1; i < (size_t)argc; i++) {
        if (!only_paths && text_equal(argv[i], "--")) {
            only_paths = true;
        } else if (!only_paths && text_starts_with(argv[i], "--")) {
            if (parse_option(tool, (size_t)argc, arguments, &i, values, err) != 0)
                return -1;
        } else if (!call.input) {
            call.input = argv[i];
        } else if (!call.output) {
            call.output = argv[i];
        } else {
            return error_set(err, ERROR_USAGE, "%s takes one INPUT and one OUTPUT", tool->name);
        }
    }
    const struct tool_option *missing = missing_option(tool, values);
    if (!call.output)
        return error_set(err, ERROR_USAGE, "%s needs INPUT and OUTPUT", tool->name);
    if (missing)
        return complain_of_missing(tool, missing, err);
    *ret = call;
    return 0;
}

/* Whether the word that says what the argument is has a part that is not known yet. */
static bool is_open(const char *argument) {
    const char *open = strstr(argument, "${");
    return open && strcspn(argument, "=") > (size_t)(open - argument);
}

static bool is_option(const char *argument) {
    return text_starts_with(argument, "--") && argument[2];
}

static int check_option(const struct tool *tool, const char *const *arguments, size_t count,
                        size_t *at, const char **values, struct error **err) {
    if (is_option(arguments[*at]))
        return parse_option(tool, count, arguments, at, values, err);
    error_set(err, ERROR_USAGE, "%s has no option %.100s", tool->name, arguments[*at]);
    return error_hint(err, "INPUT and OUTPUT are given by the step's `in` and by Glovebox");
}

static int check_missing(const struct tool *tool, const char *const *values, size_t count,
                         void (*complain)(size_t at, const char *message, const char *hint,
                                          void *context),
                         void *context, struct error **err) {
    const struct tool_option *missing = missing_option(tool, values);
    OWN_ERROR problem = NULL;
    if (!missing)
        return 0;
    complain_of_missing(tool, missing, &problem);
    error_hint(&problem, "give it in `args`: --%s %s, %s", missing->name, missing->argument,
               missing->help);
    if (problem->code != ERROR_USAGE)
        return error_move(err, take(&problem));
    complain(count, problem->message, problem->hint, context);
    return 0;
}

int tool_check(const char *name, const char *const *arguments, size_t count,
               void (*complain)(size_t at, const char *message, const char *hint, void *context),
               void *context, struct error **err) {
    const struct tool *tool = tool_find(name);
    const char *values[MAXIMUM_OPTIONS] = {NULL};
    bool open = false; /* what is missing may be in what is not known, or misspelt */
    for (size_t i = 0; tool && i < count; i++) {
        OWN_ERROR problem = NULL;
        size_t at = i;
        bool known = !is_open(arguments[i]) &&
                     check_option(tool, arguments, count, &i, values, &problem) == 0;
        if (problem && problem->code != ERROR_USAGE)
            return error_move(err, take(&problem));
        if (problem)
            complain(at, problem->message, problem->hint, context);
        open = open || !known;
        /* The next word is its value, whatever it is called. */
        if (!known && is_option(arguments[at]) && !strchr(arguments[at], '=') && i + 1 < count &&
            !is_option(arguments[i + 1]))
            i++;
    }
    return !tool || open ? 0 : check_missing(tool, values, count, complain, context, err);
}

/* ---------------------------------------------------------------------- main */

static bool wants_help(int argc, char **argv) {
    for (int i = 0; i < argc && !text_equal(argv[i], "--"); i++) {
        if (text_equal(argv[i], "--help") || text_equal(argv[i], "-h"))
            return true;
    }
    return false;
}

static int print_help(const struct tool *tool) {
    OWN_BUFFER text = {0};
    tool_help(tool, &text);
    fputs(buffer_text(&text), stdout);
    return fflush(stdout) == 0 ? TOOL_OK : TOOL_FAILED;
}

static int report_error(const char *name, const struct error *error) {
    OWN_BUFFER line = {0};
    text_append_printable(&line, error->message);
    fprintf(stderr, "glovebox tool %s: %s\n", name, buffer_text(&line));
    if (error->hint)
        fprintf(stderr, "  hint: %s\n", error->hint);
    return error->code == ERROR_USAGE ? TOOL_USAGE : TOOL_FAILED;
}

int tool_main(int argc, char **argv) {
    const struct tool *tool = argc > 0 ? tool_find(argv[0]) : NULL;
    if (wants_help(argc, argv))
        return print_help(tool);
    if (!tool) {
        OWN_BUFFER text = {0};
        tool_help(NULL, &text);
        if (argc > 0)
            fprintf(stderr, "glovebox tool: there is no tool %s\n", argv[0]);
        fputs(buffer_text(&text), stderr);
        return TOOL_USAGE;
    }
    OWN_ERROR error = NULL;
    struct tool_call call;
    const char *values[MAXIMUM_OPTIONS];
    if (tool_parse(tool, argc, argv, &call, values, &error) != 0)
        return report_error(tool->name, error);
    int result = tool->run(&call, &error);
    if (result < 0)
        return report_error(tool->name, error);
    return result;
}
