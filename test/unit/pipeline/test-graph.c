/* Drawings, and the schema. */
#include "pipeline/pipeline.h"
#include "tap.h"

static struct pipeline *parse(const char *text) {
    static const struct pipeline_options options = {.can_run_images = true};
    struct diagnostics diagnostics = {0};
    struct pipeline *pipeline =
        pipeline_parse(text, strlen(text), "test.yaml", &options, &diagnostics, NULL);
    CHECK_INTEGER(diagnostics.errors, 0);
    diagnostics_release(&diagnostics);
    return pipeline;
}

static char *draw(const struct pipeline *pipeline, enum graph_format format, unsigned width,
                  const char *const *states) {
    OWN_BUFFER out = {0};
    if (pipeline_graph(pipeline, format, width, false, states, &out, NULL) < 0)
        return NULL;
    return buffer_take(&out, NULL);
}

static const char diamond[] =
    "inputs: {d: {}}\n"
    "steps:\n"
    "- {id: split, command: x, in: inputs.d}\n"
    "- {id: left, tool: t, in: split}\n"
    "- {id: right, image: 'a/b:1', foreach: split/*.png}\n"
    "- {id: join, type: manual_review, in: {a: left, b: right, c: split}}\n";

TEST(boxes_in_layers) {
    OWN_PIPELINE pipeline = parse(diamond);
    REQUIRE(pipeline);
    OWN_STRING text = draw(pipeline, GRAPH_TEXT, 80, NULL);
    CHECK_TEXT(text, "        ┌─────────┐\n"
                     "        │ split   │\n"
                     "        │ command │\n"
                     "        └────┬────┘\n"
                     "     ┌───────┴───────┐\n"
                     "     │               │\n"
                     "┌────┴───┐   ┌───────┴──────┐\n"
                     "│ left   │   │ right × file │\n"
                     "│ tool t │   │ image b:1    │\n"
                     "└────┬───┘   └───────┬──────┘\n"
                     "     └───────┬───────┘\n"
                     "             │\n"
                     "   ┌─────────┴────────┐\n"
                     "   │ join             │\n"
                     "   │ a person reviews │\n"
                     "   └──────────────────┘\n");
}

TEST(narrow_terminals_get_a_list) {
    OWN_PIPELINE pipeline = parse(diamond);
    REQUIRE(pipeline);
    OWN_STRING text = draw(pipeline, GRAPH_TEXT, 20, NULL);
    CHECK_TEXT(text, "split  command\n"
                     "left   tool t  ← split\n"
                     "right  image b:1 × file  ← split\n"
                     "join   a person reviews  ← left, right, split\n");
}

TEST(no_line_is_wider_than_the_terminal) {
    OWN_BUFFER yaml = {0};
    buffer_append(&yaml, "steps:\n");
    for (int i = 0; i < 60; i++)
        buffer_format(&yaml, "- {id: a-rather-long-name-%d, command: x%s%d%s%d}\n", i,
                      i ? ", needs: [a-rather-long-name-" : ", limit: ", i ? i / 2 : 1,
                      i ? "], limit: " : ", timeout: ", i + 1);
    OWN_PIPELINE pipeline = parse(buffer_text(&yaml));
    REQUIRE(pipeline);
    for (unsigned width = 20; width < 200; width += 30) {
        OWN_STRING text = draw(pipeline, GRAPH_TEXT, width, NULL);
        REQUIRE(text);
        if (!strstr(text, "┌"))
            continue;
        for (char *line = text; *line;) {
            char *end = strchr(line, '\n');
            REQUIRE(end);
            *end = '\0';
            CHECK(text_width(line) <= width);
            line = end + 1;
        }
    }
}

TEST(states_stand_in_the_boxes) {
    static const char *const states[] = {"succeeded", "failed 1/3", NULL, "waiting"};
    OWN_PIPELINE pipeline = parse(diamond);
    REQUIRE(pipeline);
    OWN_STRING text = draw(pipeline, GRAPH_TEXT, 80, states);
    OWN_STRING json = draw(pipeline, GRAPH_JSON, 80, states);
    OWN_STRING dot = draw(pipeline, GRAPH_DOT, 80, states);
    CHECK(strstr(text, "failed 1/3") && strstr(text, "waiting"));
    CHECK(strstr(json, "\"state\": \"succeeded\"") && strstr(dot, "\\nfailed 1/3"));
}

TEST(loops_are_written_out) {
    OWN_PIPELINE pipeline =
        parse("steps:\n- {id: a, command: x, next: b}\n"
              "- {id: b, command: x, next: {if: [{jq: '.\"q\" == \"<\"', target: c}], else: d}}\n"
              "- {id: c, command: x, next: b}\n- {id: d, type: dummy}\n");
    REQUIRE(pipeline);
    OWN_STRING text = draw(pipeline, GRAPH_TEXT, 80, NULL);
    CHECK(strstr(text, "↺ c leads back to b") != NULL);
    OWN_STRING dot = draw(pipeline, GRAPH_DOT, 80, NULL);
    CHECK(strstr(dot, "label=\".\\\"q\\\" == \\\"<\\\"\"") != NULL);
    OWN_STRING mermaid = draw(pipeline, GRAPH_MERMAID, 80, NULL);
    CHECK(strstr(mermaid, "s1 ==>|\".#34;q#34; == #34;#60;#34;\"| s2") != NULL);
}

TEST(large_graphs_do_not_take_long) {
    OWN_BUFFER yaml = {0};
    buffer_append(&yaml, "steps:\n- {id: s0, command: x}\n");
    for (int i = 1; i < 20000; i++)
        buffer_format(&yaml, "- {id: s%d, command: 'x ${results.s%d.x}', in: s%d, when: .x > %d}\n",
                      i, i - 1, i - 1, i % 7);
    int64_t start = clock_monotonic();
    OWN_PIPELINE pipeline = parse(buffer_text(&yaml));
    REQUIRE(pipeline);
    printf("# 20,000 steps loaded in %lld ms\n", (long long)(clock_monotonic() - start));
    CHECK_INTEGER(pipeline->step_count, 20000);
    OWN_STRING text = draw(pipeline, GRAPH_TEXT, 80, NULL);
    CHECK(text && text_starts_with(text, "s0 "));
}

TEST(a_drawing_survives_failing_allocations) {
    OWN_PIPELINE pipeline = parse(diamond);
    REQUIRE(pipeline);
    OWN_STRING whole = draw(pipeline, GRAPH_TEXT, 80, NULL);
    for (uint64_t n = 1; n < 10000; n++) {
        memory_fail_at(n);
        OWN_STRING text = draw(pipeline, GRAPH_TEXT, 80, NULL);
        uint64_t made = memory_fail_at(0);
        if (made < n) {
            CHECK_TEXT(text, whole);
            return;
        }
    }
    tap_fail(__FILE__, __LINE__, "it never draws");
}

TEST(the_schema_names_every_key) {
    OWN_JSON schema = pipeline_schema(NULL);
    REQUIRE(schema);
    for (size_t i = 0; i < language_key_count; i++) {
        const struct language_key *key = &language_keys[i];
        const json_t *definition = json_object_get(json_object_get(schema, "$defs"), key->where);
        CHECK(json_object_get(json_object_get(definition, "properties"), key->name) != NULL);
    }
}

TAP_MAIN
