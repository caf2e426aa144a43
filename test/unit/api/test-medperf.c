/* What answers of a MedPerf server mean, and what of them is repeated. */
#include "api/private-medperf.h"
#include "tap.h"

#define TOKEN "s3cret"

static char server[] = "https://api.medperf.org/api/v0", token_file[] = "/t";
static const struct reporting to = {.server = server, .dataset = 7, .token_file = token_file};

/* NULL when the report was accepted. */
static struct error *judge(int status, const char *body) {
    OWN_NET_RESPONSE response = {.status = status};
    struct error *problem = NULL;
    buffer_append(&response.body, body);
    CHECK((medperf_judge(&response, &to, TOKEN, &problem) < 0) == (problem != NULL));
    return problem;
}

static void check(int status, const char *body, enum error_code code, const char *message) {
    OWN_ERROR problem = judge(status, body);
    REQUIRE(problem);
    CHECK_INTEGER(problem->code, code);
    CHECK_TEXT(problem->message, message);
    CHECK(problem->hint);
}

TEST(servers) {
    static const char *const pairs[][2] = {
        {"https://a", "https://a/api/v0"},
        {"https://a/", "https://a/api/v0"},
        {"https://a/api/v0/", "https://a/api/v0"},
        {"https://a/medperf//", "https://a/medperf/api/v0"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        OWN_STRING found = medperf_server(pairs[i][0], NULL);
        CHECK_TEXT(found, pairs[i][1]);
    }
    CHECK(!medperf_server("http://a", NULL));
}

TEST(only_the_dataset_itself_is_a_yes) {
    CHECK(!judge(200, "{\"id\": 7, \"report\": {}}"));
    static const char *const others[] = {"",      "{}", "[7]", "{\"id\": 8}", "{\"id\": \"7\"}",
                                         "<html>"};
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        check(200, others[i], ERROR_INVALID,
              "api.medperf.org did not answer as a MedPerf server does");
}

TEST(reasons) {
    check(401, "{\"detail\": \"Token is expired\", \"code\": \"x\"}", ERROR_DENIED,
          "api.medperf.org refused the report with status 401: Token is expired; code: x");
    check(400, "{\"report\": [\"bad\", \"worse\"], \"id\": [7]}", ERROR_INVALID,
          "api.medperf.org refused the report with status 400: report: bad");
    check(400, "{\"detail\": \"Übung, größer\"}", ERROR_INVALID,
          "api.medperf.org refused the report with status 400: Übung, größer");
    check(403, "<html>", ERROR_DENIED, "api.medperf.org refused the report with status 403");
    check(404, "", ERROR_NOT_FOUND, "api.medperf.org refused the report with status 404");
    check(502, "[1]", ERROR_IO, "api.medperf.org refused the report with status 502");
}

TEST(no_token_is_repeated) {
    check(400, "{\"detail\": \"Bearer " TOKEN ", or x" TOKEN "x\"}", ERROR_INVALID,
          "api.medperf.org refused the report with status 400: Bearer (…), or (…)");
    check(400, "{\"detail\": \"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9\"}", ERROR_INVALID,
          "api.medperf.org refused the report with status 400: (…)");
    check(400, "{\"" TOKEN "\": \"no\"}", ERROR_INVALID,
          "api.medperf.org refused the report with status 400: (…): no");
}

TEST(what_is_repeated_is_bounded_and_printable) {
    OWN_BUFFER long_text = {0};
    buffer_append(&long_text, "{\"detail\": \"\\u001b[31m\\n");
    for (int i = 0; i < 10000; i++)
        buffer_append(&long_text, " word");
    buffer_append(&long_text, "\"}");
    OWN_ERROR problem = judge(400, buffer_text(&long_text));
    REQUIRE(problem);
    CHECK(strlen(problem->message) < 400);
    CHECK(!strpbrk(problem->message, "\x1b\n"));
    CHECK(strstr(problem->message, "(…)"));
}

TAP_MAIN
