/* jq expressions and ${…} templates. */
#include "pipeline/pipeline.h"
#include "tap.h"

static json_t *json(const char *text) {
    return json_parse(text, strlen(text), NULL);
}

/* All outputs as canonical text, or the error's message. Caller frees. */
static char *run(const char *program, const char *input, const char *values) {
    OWN_ERROR error = NULL;
    struct expression *expression = expression_new(program, expression_variables, &error);
    OWN_JSON in = json(input);
    OWN_JSON variables = json(values);
    OWN_JSON outputs = expression ? expression_run(expression, in, variables, &error) : NULL;
    expression_free(expression);
    return outputs ? json_canonical(outputs, NULL) : memory_copy_string(error->message);
}

static void check_run(const char *program, const char *input, const char *values,
                      const char *expected) {
    char *actual = run(program, input, values);
    if (!CHECK_TEXT(actual, expected))
        printf("# program: %s\n", program);
    memory_free(actual);
}

TEST(outputs_come_as_an_array) {
    check_run(".a[]", "{\"a\":[1,\"x\",null,true,1.5,{\"b\":[]}]}", "{}",
              "[1,\"x\",null,true,1.5,{\"b\":[]}]");
    check_run("empty", "1", "{}", "[]");
    check_run(".", "9007199254740992", "{}", "[9007199254740992]");
    check_run("\"\\(.) é\"", "\"ü\"", "{}", "[\"ü é\"]");
}

TEST(variables_change_between_runs) {
    OWN_ERROR error = NULL;
    struct expression *expression =
        expression_new(".x > $params.t and $partition != \"b\"", expression_variables, &error);
    REQUIRE(expression);
    bool truth = false;
    OWN_JSON in = json("{\"x\":5}");
    for (int i = 0; i < 10; i++) {
        OWN_JSON values = json_pack("{s:{s:i}, s:s}", "params", "t", i, "partition", "a");
        CHECK(expression_test(expression, in, values, &truth, &error) == 0);
        CHECK(truth == (5 > i));
    }
    expression_free(expression);
}

TEST(truth_is_as_in_jq) {
    static const struct {
        const char *program;
        bool truth;
    } rows[] = {{"1", true},      {"0", true},      {"\"\"", true}, {"null", false},
                {"false", false}, {"empty", false}, {"true", true}, {"false, true", false}};
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct expression *expression = expression_new(rows[i].program, NULL, NULL);
        REQUIRE(expression);
        bool truth = !rows[i].truth;
        CHECK(expression_test(expression, NULL, NULL, &truth, NULL) == 0);
        CHECK(truth == rows[i].truth);
        expression_free(expression);
    }
}

TEST(mistakes_are_said_in_jqs_words) {
    check_run(".a = = 1", "1", "{}", "syntax error, unexpected '='");
    check_run("$nope", "1", "{}", "$nope is not defined");
    check_run("nope(1)", "1", "{}", "nope/1 is not defined");
    check_run("  ", "1", "{}", "the expression is empty");
    check_run(".a", "[1]", "{}", "Cannot index array with string \"a\"");
    check_run("error({a: 1})", "1", "{}", "{\"a\":1}");
}

TEST(the_world_is_out_of_reach) {
    static const char *const refused[] = {"env",
                                          "$ENV",
                                          "$ENV.PATH",
                                          "input",
                                          "[inputs]",
                                          "debug",
                                          "stderr",
                                          "input_filename",
                                          "halt",
                                          "\"a\" | halt_error",
                                          "import \"a\" as a; 1",
                                          "include \"a\"; 1",
                                          "\"\\(env)\"",
                                          "\"\\(\"\\($ENV)\")\"",
                                          ".a | if . then env else 1 end",
                                          "{a: env}"};
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        OWN_ERROR error = NULL;
        struct expression *expression = expression_new(refused[i], expression_variables, &error);
        if (!CHECK(!expression))
            printf("# %s\n", refused[i]);
        CHECK(error && strstr(error->message, "is not allowed in jq here"));
        expression_free(expression);
    }
    check_run(".env, .input, {env: 1}.env, \"env # input\" # debug", "{\"env\":2,\"input\":3}",
              "{}", "[2,3,1,\"env # input\"]");
}

TEST(an_endless_program_is_stopped) {
    check_run("last(range(1; infinite))", "1", "{}",
              "the expression ran for more than 5 s of processor time and was stopped");
    check_run("repeat(1)", "1", "{}", "the expression gives too much");
}

TEST(a_stopped_expression_runs_again) {
    OWN_ERROR error = NULL;
    struct expression *expression =
        expression_new("if . then last(range(1; infinite)) else 7 end", NULL, &error);
    REQUIRE(expression);
    OWN_JSON yes = json_true();
    OWN_JSON no = json_false();
    OWN_JSON first = expression_run(expression, yes, NULL, &error);
    CHECK(!first && error && error->code == ERROR_LIMIT);
    OWN_JSON second = expression_run(expression, no, NULL, NULL);
    CHECK(second && json_integer_value(json_array_get(second, 0)) == 7);
    expression_free(expression);
}

/* ----------------------------------------------------------------- templates */

static const char values_text[] =
    "{\"params\":{\"model\":\"m.onnx\",\"n\":3,\"outer.t\":0.5,\"list\":[\"a\",\"b\"],"
    "\"dash-ed\":1},\"partition\":\"s 1/t\",\"item\":{\"age\":61,\"no\":null},"
    "\"results\":{\"seg.find\":{\"label\":\"x\"}},\"in\":\"/in\"}";

static void check_expand(const char *text, const char *expected) {
    OWN_JSON values = json(values_text);
    OWN_ERROR error = NULL;
    char *actual = template_expand(text, values, &error);
    CHECK_TEXT(actual ? actual : (error ? error->message : "?"), expected);
    memory_free(actual);
}

TEST(paths_are_looked_up) {
    check_expand("plain", "plain");
    check_expand("", "");
    check_expand("a ${params.model} b ${ params.n }", "a m.onnx b 3");
    check_expand("${params.list}", "[\"a\",\"b\"]");
    check_expand("${params.list.1}", "b");
    check_expand("${params.dash-ed}", "1");
    check_expand("${params.outer.t}", "0.5");
    check_expand("${results.seg.find.label}", "x");
    check_expand("${item.age} ${item.no} ${partition}", "61 null s 1/t");
    check_expand("${params.gone}", "${params.gone} has no value here");
}

TEST(other_things_are_jq) {
    check_expand("${$params.n + 1}", "4");
    check_expand("${ .params.list | join(\",\") }x", "a,bx");
    check_expand("${ {a: \"}\"} | .a }", "}");
    check_expand("${1, 2}", "${1, 2} gives 2 values, not one");
}

TEST(dollars_are_literal_elsewhere) {
    check_expand("$HOME $ $$ $${params.model} 5$", "$HOME $ $$ ${params.model} 5$");
    check_expand("$$${params.n}", "$${params.n}");
    check_expand("a ${params.n", "${ without its }");
    check_expand("${}", "there is nothing between ${ and }");
}

TEST(escaping_gives_the_text_back) {
    static const char *const texts[] = {"", "a", "${x}", "$${x}", "a${b}c$", "$$$${"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        OWN_STRING escaped = template_escape(texts[i]);
        REQUIRE(escaped);
        OWN_STRING back = template_expand(escaped, NULL, NULL);
        CHECK_TEXT(back, texts[i]);
    }
}

static int count(const char *inside, size_t offset, void *context) {
    (void)inside;
    *(size_t *)context += offset;
    return 0;
}

TEST(scanning_finds_every_use) {
    size_t sum = 0;
    CHECK(template_scan("ab${x} $${y} ${ z }", count, &sum) == 0);
    CHECK_INTEGER(sum, 4 + 16);
    CHECK(template_scan("${x", count, &sum) < 0);
}

TEST(a_cache_compiles_once) {
    struct expression_cache *cache = expression_cache_new();
    OWN_JSON values = json(values_text);
    REQUIRE(cache);
    int64_t start = clock_monotonic();
    for (int i = 0; i < 1000; i++) {
        OWN_STRING text = template_expand_cached("${$params.n * 2}", values, cache, NULL);
        CHECK_TEXT(text, "6");
    }
    printf("# 1000 cached expansions: %lld ms\n", (long long)(clock_monotonic() - start));
    struct expression *first = expression_cache_get(cache, "1", NULL);
    CHECK(first == expression_cache_get(cache, "1", NULL));
    expression_cache_free(cache);
}

TEST(paths_are_fast) {
    OWN_JSON values = json(values_text);
    int64_t start = clock_monotonic();
    for (int i = 0; i < 100000; i++) {
        OWN_STRING text = template_expand("--model ${params.model} ${partition}", values, NULL);
        if (!text)
            CHECK(text != NULL);
    }
    printf("# 100,000 expansions of two paths: %lld ms\n", (long long)(clock_monotonic() - start));
}

TAP_MAIN
