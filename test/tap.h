/*
 * A unit test is a file of TEST(name) { CHECK(...); } blocks and TAP_MAIN. Each test registers
 * itself; the program prints the Test Anything Protocol and fails when any check failed.
 */
#ifndef GLOVEBOX_TAP_H
#define GLOVEBOX_TAP_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct tap_test {
    const char *name;
    void (*run)(void);
    struct tap_test *next;
};
extern struct tap_test *tap_tests;
extern int tap_failures;
extern const char *tap_skip_reason;

void tap_register(struct tap_test *test);
int tap_run(int argc, char **argv);
void tap_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define TEST(test_name)                                                                            \
    static void test_##test_name(void);                                                            \
    __attribute__((constructor)) static void tap_register_##test_name(void) {                      \
        static struct tap_test test = {#test_name, test_##test_name, NULL};                        \
        tap_register(&test);                                                                       \
    }                                                                                              \
    static void test_##test_name(void)

/* A failed check is reported and the test goes on. */
#define CHECK(condition)                                                                           \
    ((condition) ? true : (tap_fail(__FILE__, __LINE__, "%s", #condition), false))
#define CHECK_TEXT(actual, expected)                                                               \
    tap_check_text(__FILE__, __LINE__, #actual, (actual), (expected))
#define CHECK_INTEGER(actual, expected)                                                            \
    tap_check_integer(__FILE__, __LINE__, #actual, (long long)(actual), (long long)(expected))
/* A check without which the rest of the test makes no sense: leaves the test. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!CHECK(condition))                                                                     \
            return;                                                                                \
    } while (0)
/* Leaves the test, which is then counted as skipped. */
#define SKIP(reason)                                                                               \
    do {                                                                                           \
        tap_skip_reason = (reason);                                                                \
        return;                                                                                    \
    } while (0)

bool tap_check_text(const char *file, int line, const char *what, const char *actual,
                    const char *expected);
bool tap_check_integer(const char *file, int line, const char *what, long long actual,
                       long long expected);

#define TAP_MAIN                                                                                   \
    int main(int argc, char **argv) {                                                              \
        return tap_run(argc, argv);                                                                \
    }

#endif
