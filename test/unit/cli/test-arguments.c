/* argv against the command table. */
#include "cli/private-command.h"
#include "tap.h"

#include <stdlib.h>

#define PARSE(...)                                                                                 \
    char *argv[] = {(char *)"glovebox", __VA_ARGS__, NULL};                                        \
    OWN_ERROR error = NULL;                                                                        \
    struct invocation invocation CLEANUP(invocation_release) = {0};                                \
    int bad = invocation_parse((int)ARRAY_SIZE(argv) - 1, argv, &invocation, &error)
#define WORD(text) ((char *)(uintptr_t)(text))

TEST(long_and_short_options) {
    PARSE(WORD("run"), WORD("-qi"), WORD("a=1"), WORD("--input=b=2"), WORD("p.yaml"), WORD("-oout"),
          WORD("--param"), WORD("c=3"));
    REQUIRE(bad == 0);
    CHECK(invocation.command == &command_run);
    CHECK(given_flag(&invocation, "quiet"));
    size_t position = 0;
    CHECK_TEXT(given_next(&invocation, "input", &position), "a=1");
    CHECK_TEXT(given_next(&invocation, "input", &position), "b=2");
    CHECK(given_next(&invocation, "input", &position) == NULL);
    CHECK_TEXT(given_value(&invocation, "output", NULL), "out");
    CHECK_TEXT(given_value(&invocation, "param", NULL), "c=3");
    CHECK_TEXT(given_value(&invocation, "home", "none"), "none");
    CHECK_TEXT(given_argument(&invocation, 0), "p.yaml");
    CHECK(given_argument(&invocation, 1) == NULL);
}

TEST(global_options_before_the_command) {
    PARSE(WORD("--home"), WORD("/h"), WORD("--json"), WORD("status"), WORD("last"));
    REQUIRE(bad == 0);
    CHECK(invocation.command == &command_status);
    CHECK_TEXT(given_value(&invocation, "home", NULL), "/h");
    CHECK(given_flag(&invocation, "json"));
}

TEST(two_dashes_end_the_options) {
    PARSE(WORD("check"), WORD("--"), WORD("--home"));
    REQUIRE(bad == 0);
    CHECK_TEXT(given_argument(&invocation, 0), "--home");
    CHECK(!given_flag(&invocation, "home"));
}

TEST(a_tool_gets_everything_after_its_name) {
    PARSE(WORD("-q"), WORD("tool"), WORD("report"), WORD("--json"), WORD("-x"));
    REQUIRE(bad == 0);
    CHECK(invocation.command == &command_tool);
    CHECK_INTEGER(invocation.rest_count, 3);
    CHECK_TEXT(invocation.rest[1], "--json");
    CHECK(!given_flag(&invocation, "json"));
}

TEST(help_wins) {
    PARSE(WORD("restart"), WORD("--help"));
    REQUIRE(bad == 0);
    CHECK(invocation.command == &command_help);
    CHECK_TEXT(given_argument(&invocation, 0), "restart");
}

static void check_refused(struct error *error, int bad, const char *message, const char *hint) {
    REQUIRE(bad < 0 && error != NULL);
    CHECK_INTEGER(error->code, ERROR_USAGE);
    CHECK_TEXT(error->message, message);
    CHECK(error->hint != NULL);
    if (hint)
        CHECK_TEXT(error->hint ? error->hint : "", hint);
}

TEST(misspelt_command) {
    PARSE(WORD("stauts"), WORD("last"));
    check_refused(error, bad, "unknown command \"stauts\"", "did you mean \"glovebox status\"?");
}

TEST(misspelt_option) {
    PARSE(WORD("run"), WORD("--ouptut"), WORD("x"), WORD("p.yaml"));
    check_refused(error, bad, "unknown option \"--ouptut\"", "did you mean \"--output\"?");
}

TEST(control_characters_are_made_visible) {
    PARSE(WORD("run"), WORD("--\033[2J"));
    check_refused(error, bad, "unknown option \"--\\x1b[2J\"", NULL);
}

TEST(missing_value) {
    PARSE(WORD("run"), WORD("p.yaml"), WORD("-o"));
    check_refused(error, bad, "option \"-o\" needs a value, DIR", "try \"glovebox help run\"");
}

TEST(missing_argument) {
    PARSE(WORD("status"));
    check_refused(error, bad, "status: RUN is missing",
                  "RUN is the run: a name, a number, or last; try \"glovebox help status\"");
}

TEST(one_argument_too_many) {
    PARSE(WORD("status"), WORD("last"), WORD("more"));
    check_refused(error, bad, "status: \"more\" is one argument too many",
                  "try \"glovebox help status\"");
}

TEST(wrong_choice) {
    PARSE(WORD("decide"), WORD("last"), WORD("look"), WORD("aprove"));
    check_refused(error, bad, "DECISION: \"aprove\" is not one of: approve reject",
                  "did you mean \"approve\"?");
}

/* Each allocation fails once: an error, no leak, no crash. */
TEST(no_memory) {
    char *argv[] = {WORD("glovebox"), WORD("decide"), WORD("last"),    WORD("look"),
                    WORD("reject"),   WORD("--note"), WORD("unclear"), NULL};
    bool succeeded = false;
    for (uint64_t n = 1; n < 100 && !succeeded; n++) {
        OWN_ERROR error = NULL;
        struct invocation invocation CLEANUP(invocation_release) = {0};
        memory_fail_at(n);
        int bad = invocation_parse(7, argv, &invocation, &error);
        memory_fail_at(0);
        succeeded = bad == 0;
        CHECK(succeeded ? n > 1 : error && error->code == ERROR_MEMORY);
    }
    CHECK(succeeded);
}

/* What the generators rely on. */
TEST(the_table_is_well_formed) {
    for (size_t i = 0; i < command_count; i++) {
        const struct command *command = command_table[i];
        CHECK(command->summary && command->description && command->handle);
        CHECK(command_find(command->name) == command);
        for (size_t o = 0; o < command->option_count; o++) {
            const struct option_entry *option = &command->options[o];
            CHECK(!text_ends_with(option->help, "."));
            for (size_t g = 0; g < global_option_count; g++) {
                CHECK(!text_equal(option->name, global_options[g].name));
                CHECK(!option->letter || option->letter != global_options[g].letter);
            }
            for (size_t p = 0; p < o; p++) {
                CHECK(!text_equal(option->name, command->options[p].name));
                CHECK(!option->letter || option->letter != command->options[p].letter);
            }
        }
        for (size_t a = 1; a < command->argument_count; a++)
            CHECK(!command->arguments[a - 1].repeats &&
                  (!command->arguments[a - 1].optional || command->arguments[a].optional));
    }
}

TAP_MAIN
