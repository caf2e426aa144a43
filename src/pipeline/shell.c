/* Where ${…} stands in a shell command: inside single quotes the shell does not look at it. */
#include "pipeline/private-template.h"

#include <ctype.h>

/* How deep "$(… "$(…)" …)" is followed. Deeper, nothing is said. */
#define DEPTH_MAXIMUM 32

struct shell_scan {
    const char *from, *at;
    char open[DEPTH_MAXIMUM]; /* '"' or '(' */
    size_t depth;
    size_t marks; /* seen so far */
    void (*quoted)(size_t mark, void *context);
    void *context;
};

bool words_begin_shell(const char *const *words, size_t count) {
    return count >= 2 && text_ends_with(path_base_name(words[0]), "sh") && words[1][0] == '-' &&
           words[1][1] != '-' && strchr(words[1], 'c');
}

/* The words before a quote are "sh -c": what it holds is read by a shell of its own, which knows
 * the variables. */
static bool begins_shell(const char *from, const char *quote) {
    const char *end = quote;
    while (end > from && isblank((unsigned char)end[-1]))
        end--;
    const char *flags = end;
    while (flags > from && !isspace((unsigned char)flags[-1]))
        flags--;
    const char *shell = flags;
    while (shell > from && isblank((unsigned char)shell[-1]))
        shell--;
    return end > flags && flags[0] == '-' && flags[1] != '-' && end[-1] == 'c' &&
           shell >= from + 2 && shell[-1] == 'h' && shell[-2] == 's';
}

static void tell(struct shell_scan *scan, const char *until, bool quoted) {
    for (; scan->at < until; scan->at++)
        if (*scan->at == SHELL_MARK) {
            if (quoted)
                scan->quoted(scan->marks, scan->context);
            scan->marks++;
        }
}

static const char *line_end(const char *at) {
    return at + strcspn(at, "\n");
}

/* A text that follows in the next lines: `<<END`, or `<<'END'` in which nothing is replaced. */
static void here_document(struct shell_scan *scan) {
    const char *word = scan->at + 2;
    bool tabs = *word == '-';
    word += tabs;
    word += strspn(word, " \t");
    bool quoted = *word == '\'' || *word == '"' || *word == '\\';
    word += quoted;
    size_t size = strcspn(word, " \t\n'\";|&<>()");
    const char *line = line_end(word);
    tell(scan, line, false);
    while (*line) {
        const char *text = line + 1 + (tabs ? strspn(line + 1, "\t") : 0);
        const char *end = line_end(text);
        if ((size_t)(end - text) == size && memcmp(text, word, size) == 0)
            break;
        line = end;
    }
    tell(scan, line, quoted);
}

static void single_quotes(struct shell_scan *scan) {
    bool quoted = !begins_shell(scan->from, scan->at);
    const char *end = strchr(scan->at + 1, '\'');
    tell(scan, end ? end + 1 : scan->at + strlen(scan->at), quoted);
}

static void open_or_close(struct shell_scan *scan) {
    char top = scan->depth ? scan->open[scan->depth - 1] : 0;
    char at = *scan->at;
    if ((at == '"' && top == '"') || (at == ')' && top == '('))
        scan->depth--;
    else if (at == '"' || (at == '(' && top != '"') || text_starts_with(scan->at, "$("))
        scan->open[scan->depth++] = at == '"' ? '"' : '(';
    tell(scan, scan->at + (text_starts_with(scan->at, "$(") ? 2 : 1), false);
}

void shell_find_quoted(const char *text, void (*quoted)(size_t mark, void *context),
                       void *context) {
    struct shell_scan scan = {.from = text, .at = text, .quoted = quoted, .context = context};
    while (*scan.at && scan.depth < DEPTH_MAXIMUM) {
        bool inside = scan.depth && scan.open[scan.depth - 1] == '"';
        bool word = scan.at == text || strchr(" \t\n;&|(", scan.at[-1]);
        if (scan.at[0] == '\\' && scan.at[1])
            tell(&scan, scan.at + 2, false);
        else if (!inside && scan.at[0] == '\'')
            single_quotes(&scan);
        else if (!inside && scan.at[0] == '#' && word)
            tell(&scan, line_end(scan.at), false);
        else if (!inside && text_starts_with(scan.at, "<<<"))
            tell(&scan, scan.at + 3, false);
        else if (!inside && text_starts_with(scan.at, "<<"))
            here_document(&scan);
        else
            open_or_close(&scan);
    }
}
