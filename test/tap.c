#include "tap.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct tap_test *tap_tests;
int tap_failures;
const char *tap_skip_reason;

void tap_register(struct tap_test *test) {
    struct tap_test **end = &tap_tests;
    while (*end)
        end = &(*end)->next;
    *end = test;
}

void tap_fail(const char *file, int line, const char *format, ...) {
    va_list list;
    va_start(list, format);
    (void)fprintf(stderr, "# %s:%d: failed: ", file, line);
    (void)vfprintf(stderr, format, list);
    (void)fputc('\n', stderr);
    va_end(list);
    tap_failures++;
}

bool tap_check_text(const char *file, int line, const char *what, const char *actual,
                    const char *expected) {
    if (actual == expected || (actual && expected && strcmp(actual, expected) == 0))
        return true;
    tap_fail(file, line, "%s is \"%s\", expected \"%s\"", what, actual ? actual : "(null)",
             expected ? expected : "(null)");
    return false;
}

bool tap_check_integer(const char *file, int line, const char *what, long long actual,
                       long long expected) {
    if (actual == expected)
        return true;
    tap_fail(file, line, "%s is %lld, expected %lld", what, actual, expected);
    return false;
}

static bool wanted(const char *name, int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (strstr(name, argv[i]))
            return true;
    return argc < 2;
}

/* Arguments, if any, are parts of names of tests to run. */
int tap_run(int argc, char **argv) {
    int number = 0, failed = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (struct tap_test *test = tap_tests; test; test = test->next) {
        if (!wanted(test->name, argc, argv))
            continue;
        tap_failures = 0;
        tap_skip_reason = NULL;
        test->run();
        number++;
        failed += tap_failures != 0;
        printf("%s %d - %s%s%s\n", tap_failures ? "not ok" : "ok", number, test->name,
               tap_skip_reason ? " # SKIP " : "", tap_skip_reason ? tap_skip_reason : "");
    }
    printf("1..%d\n", number);
    return failed || !number ? EXIT_FAILURE : EXIT_SUCCESS;
}
