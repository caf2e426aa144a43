/* Files of MedPerf and ChRIS: what becomes of them without memory, and words that multiply. */
#include "pipeline/pipeline.h"
#include "tap.h"

static const char *const tools[] = {"file-join"};
static const struct pipeline_options everything = {
    .tools = tools, .tool_count = 1, .can_run_images = true};

static json_t *json(const char *text) {
    return json_parse(text, strlen(text), NULL);
}

/* With the n-th allocation failing, a load ends with ERROR_MEMORY or with the very same document.
 */
static void check_failing_allocations(const char *name) {
    OWN_STRING path = memory_format("%s/%s", FILES, name);
    struct diagnostics none = {0};
    REQUIRE(path);
    OWN_PIPELINE whole = pipeline_load(path, &everything, &none, NULL);
    REQUIRE(whole);
    bool over = false;
    for (uint64_t n = 1; n < 200000 && !over; n++) {
        struct diagnostics diagnostics = {0};
        OWN_ERROR error = NULL;
        memory_fail_at(n);
        OWN_PIPELINE pipeline = pipeline_load(path, &everything, &diagnostics, &error);
        over = memory_fail_at(0) < n;
        bool right = pipeline ? json_equal(pipeline->document, whole->document)
                              : !error || error->code == ERROR_MEMORY;
        if (!right)
            tap_fail(__FILE__, __LINE__, "%s, allocation %llu: %s", name, (unsigned long long)n,
                     diagnostics.count ? diagnostics.items[0].message
                     : error           ? error->message
                                       : "another document");
        diagnostics_release(&diagnostics);
    }
    CHECK(over);
    diagnostics_release(&none);
}

TEST(no_memory_for_a_workflow) {
    check_failing_allocations("medperf/review/workflow.yaml");
}

TEST(no_memory_for_a_container_config) {
    check_failing_allocations("medperf/container/container_config.yaml");
    check_failing_allocations("medperf/container/archive.yaml");
}

TEST(no_memory_for_a_tree) {
    check_failing_allocations("chris/tree.yaml");
}

TEST(no_memory_for_a_plugin) {
    check_failing_allocations("chris/plugins/pl-report.json");
}

/* What was written into a run's record gives the same steps. */
TEST(a_record_gives_the_same_back) {
    static const char *const names[] = {"medperf/container/container_config.yaml",
                                        "medperf/container/archive.yaml", "chris/tree.yaml",
                                        "chris/plugins/pl-report.json"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        OWN_STRING path = memory_format("%s/%s", FILES, names[i]);
        struct diagnostics diagnostics = {0};
        REQUIRE(path);
        OWN_PIPELINE first = pipeline_load(path, &everything, &diagnostics, NULL);
        REQUIRE(first);
        OWN_PIPELINE second = pipeline_from_document(first->document, path, &everything, NULL);
        REQUIRE(second);
        CHECK(json_equal(first->document, second->document));
        CHECK_INTEGER(second->step_count, first->step_count);
        CHECK(first->dialect == second->dialect);
        CHECK_TEXT(second->steps[0].image, first->steps[0].image);
        diagnostics_release(&diagnostics);
    }
}

static void check_words(const char *text, const char *expected) {
    OWN_JSON values = json("{\"params\": {\"a.b\": true, \"list\": [\"x y\", 2], \"t\": \"v\"}}");
    OWN_ERROR error = NULL;
    OWN_JSON words = template_expand_words(text, values, NULL, &error);
    OWN_STRING actual = words ? json_canonical(words, NULL) : NULL;
    CHECK_TEXT(actual ? actual : error->message, expected);
}

TEST(one_word_may_be_many) {
    check_words("plain", "[\"plain\"]");
    check_words("", "[\"\"]");
    check_words("${params.t}", "[\"v\"]");
    check_words("${ $params.list[] }", "[\"x y\",\"2\"]");
    check_words("${params.list}", "[\"[\\\"x y\\\",2]\"]");
    check_words("${if $params[\"a.b\"] then \"--flag\" else empty end}", "[\"--flag\"]");
    check_words("${if $params[\"a.b\"] then empty else \"--flag\" end}", "[]");
    check_words("x${$params.list[]}", "${$params.list[]} gives 2 values, not one");
    check_words("${$params.t}${$params.t}", "[\"vv\"]");
    check_words("$${$params.list[]}", "[\"${$params.list[]}\"]");
}

TAP_MAIN
