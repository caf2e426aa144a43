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

/* One option at argv[*at]; moves *at past its value. */
static int parse_option(const struct tool *tool, int argc, char **argv, int *at,
                        const char **values, struct error **err) {
    OWN_STRING name = memory_copy_string(argv[*at] + 2);
    if (!name)
        return error_set_memory(err);
    char *equals = strchr(name, '=');
    const char *value = equals ? strchr(argv[*at], '=') + 1 : NULL;
    if (equals)
        *equals = '\0';
    for (size_t i = 0; i < tool->option_count; i++) {
        if (!text_equal(tool->options[i].name, name))
            continue;
        if (!tool->options[i].argument) {
            values[i] = "true";
            return value ? error_set(err, ERROR_USAGE, "--%s takes no value", name) : 0;
        }
        if (!value && *at + 1 < argc)
            value = argv[++*at];
        if (!value)
            return error_set(err, ERROR_USAGE, "--%s needs a value: %s", name,
                             tool->options[i].argument);
        values[i] = value;
        return 0;
    }
    return unknown_option(tool, name, err);
}

int tool_parse(const struct tool *tool, int argc, char **argv, struct tool_call *ret,
               const char **values, struct error **err) {
    struct tool_call call = {.tool = tool, .values = values};
    bool only_paths = false;
    for (size_t i = 0; i < tool->option_count; i++)
        values[i] = tool->options[i].fallback;
    for (int i = 1; i < argc; i++) {
        if (!only_paths && text_equal(argv[i], "--")) {
            only_paths = true;
        } else if (!only_paths && text_starts_with(argv[i], "--")) {
            if (parse_option(tool, argc, argv, &i, values, err) != 0)
                return -1;
        } else if (!call.input) {
            call.input = argv[i];
        } else if (!call.output) {
            call.output = argv[i];
        } else {
            return error_set(err, ERROR_USAGE, "%s takes one INPUT and one OUTPUT", tool->name);
        }
    }
    if (!call.output)
        return error_set(err, ERROR_USAGE, "%s needs INPUT and OUTPUT", tool->name);
    *ret = call;
    return 0;
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
