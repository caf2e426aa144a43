/*
 * A look at a jq program before it is compiled: words that would read the environment, files or
 * the terminal, or end the process, are refused. It knows as much of jq's grammar as it needs to
 * tell a call from a field (.input), a key ({input: 1}), a variable ($input) and a string.
 */
#include "pipeline/private-expression.h"

#include <ctype.h>

static const char *const refused[] = {"input",
                                      "inputs",
                                      "debug",
                                      "stderr",
                                      "env",
                                      "input_filename",
                                      "input_line_number",
                                      "halt",
                                      "import",
                                      "halt_error",
                                      "include",
                                      "get_search_list",
                                      "modulemeta",
                                      "$ENV",
                                      "$__prog_args"};

#define NESTING_MAXIMUM 100

struct scanner {
    const char *at, *start;
    unsigned nesting;
    bool unbalanced; /* a bracket that is not closed, or closed before it is opened */
};

static bool is_word_character(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

static int check_word(const char *word, size_t size, struct error **err) {
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
        if (strlen(refused[i]) == size && memcmp(refused[i], word, size) == 0) {
            error_set(err, ERROR_INVALID, "`%.*s` is not allowed in jq here", (int)size, word);
            return error_hint(err, "an expression sees its input and its $variables only");
        }
    return 0;
}

static int scan_program(struct scanner *scanner, char until, struct error **err);

/* After the opening quote. Interpolated \( … ) is program again. */
static int scan_string(struct scanner *scanner, struct error **err) {
    while (*scanner->at && *scanner->at != '"') {
        if (*scanner->at++ != '\\' || !*scanner->at)
            continue;
        if (*scanner->at++ != '(')
            continue;
        if (++scanner->nesting > NESTING_MAXIMUM)
            return error_set(err, ERROR_LIMIT, "nested too deep");
        if (scan_program(scanner, ')', err) < 0)
            return -1;
        scanner->nesting--;
    }
    scanner->at += *scanner->at == '"';
    return 0;
}

static int scan_word(struct scanner *scanner, struct error **err) {
    const char *word = scanner->at;
    bool dollar = *word == '$';
    scanner->at += dollar;
    while (is_word_character(*scanner->at))
        scanner->at++;
    const char *after = scanner->at + strspn(scanner->at, " \t\r\n");
    const char *before = word;
    while (before > scanner->start && isspace((unsigned char)before[-1]))
        before--;
    bool is_field = before > scanner->start && before[-1] == '.' && !dollar;
    bool is_key = *after == ':' && !dollar;
    if (is_field || is_key)
        return 0;
    return check_word(word, (size_t)(scanner->at - word), err);
}

static int scan_program(struct scanner *scanner, char until, struct error **err) {
    long depth = 0;
    while (*scanner->at) {
        char c = *scanner->at;
        if (c == '"') {
            scanner->at++;
            if (scan_string(scanner, err) < 0)
                return -1;
        } else if (c == '#') {
            scanner->at += strcspn(scanner->at, "\n");
        } else if (isalpha((unsigned char)c) || c == '_' || c == '$') {
            if (scan_word(scanner, err) < 0)
                return -1;
        } else if (isdigit((unsigned char)c)) {
            while (is_word_character(*scanner->at) || *scanner->at == '.')
                scanner->at++;
        } else {
            scanner->at++;
            if (c == ')' && until == ')' && depth == 0)
                return 0;
            depth += strchr("([{", c) ? 1 : (strchr(")]}", c) ? -1 : 0);
            scanner->unbalanced = scanner->unbalanced || depth < 0;
        }
    }
    scanner->unbalanced = scanner->unbalanced || depth || until;
    return 0;
}

int expression_check_words(const char *program, struct error **err) {
    struct scanner scanner = {.at = program, .start = program};
    return scan_program(&scanner, '\0', err);
}

bool expression_is_balanced(const char *program) {
    struct scanner scanner = {.at = program, .start = program};
    return scan_program(&scanner, '\0', NULL) == 0 && !scanner.unbalanced;
}
