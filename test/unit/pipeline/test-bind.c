/* Parameters and inputs as given for a run. */
#include "pipeline/pipeline.h"
#include "tap.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct pipeline *parse(const char *text, const char *path) {
    struct diagnostics diagnostics = {0};
    struct pipeline *pipeline = pipeline_parse(text, strlen(text), path, NULL, &diagnostics, NULL);
    OWN_BUFFER out = {0};
    diagnostics_print(&diagnostics, false, &out);
    if (!pipeline)
        printf("# %s\n", buffer_text(&out));
    diagnostics_release(&diagnostics);
    return pipeline;
}

/* The bound values, or the messages one a line. */
static char *bind(const struct pipeline *pipeline, const char *given, bool inputs) {
    struct diagnostics diagnostics = {0};
    OWN_JSON json = json_parse(given, strlen(given), NULL);
    OWN_JSON values = inputs ? pipeline_bind_inputs(pipeline, json, &diagnostics, NULL)
                             : pipeline_bind_parameters(pipeline, json, &diagnostics, NULL);
    OWN_BUFFER text = {0};
    for (size_t i = 0; i < diagnostics.count; i++)
        buffer_format(&text, "%s\n", diagnostics.items[i].message);
    diagnostics_release(&diagnostics);
    return values ? json_canonical(values, NULL) : buffer_take(&text, NULL);
}

static void check_bind(const char *params, const char *given, const char *expected) {
    OWN_STRING text = memory_format("params: %s\nsteps: [{id: a, command: a}]\n", params);
    OWN_PIPELINE pipeline = parse(text, "p.yaml");
    REQUIRE(pipeline);
    char *actual = bind(pipeline, given, false);
    CHECK_TEXT(actual, expected);
    memory_free(actual);
}

TEST(texts_become_typed_values) {
    check_bind("{i: {type: integer}, n: {type: number}, b: {type: boolean}, s: {}, l: {type: "
               "list}}",
               "{\"i\":\"7\",\"n\":\"1e-3\",\"b\":\"yes\",\"s\":\"7\",\"l\":\"a,b\"}",
               "{\"b\":true,\"i\":7,\"l\":[\"a\",\"b\"],\"n\":0.001,\"s\":\"7\"}");
    check_bind("{i: {type: integer}, b: {type: boolean}, l: {type: list}, s: {}}",
               "{\"i\":7,\"b\":false,\"l\":[\"x\"],\"s\":5}",
               "{\"b\":false,\"i\":7,\"l\":[\"x\"],\"s\":\"5\"}");
}

TEST(defaults_fill_in) {
    check_bind("{a: {default: x}, b: {type: integer, default: 3}}", "{}", "{\"a\":\"x\",\"b\":3}");
}

TEST(every_mistake_is_reported) {
    check_bind("{i: {type: integer, minimum: 1, maximum: 9}, c: {choices: [x, y]}, p: {pattern: "
               "'[a-c]+|z'}, r: {}}",
               "{\"i\":\"10\",\"c\":\"z\",\"p\":\"abcd\",\"q\":\"1\"}",
               "the pipeline has no parameter `q`\n"
               "parameter `i`: 10 is above the maximum, 9\n"
               "parameter `c`: `z` is not one of: x, y\n"
               "parameter `p`: `abcd` does not match the pattern [a-c]+|z\n"
               "parameter `r` needs a value: -p r=…\n");
    check_bind("{i: {type: integer}, b: {type: boolean}, n: {type: number}}",
               "{\"i\":\"1.5\",\"b\":\"maybe\",\"n\":\"\"}",
               "parameter `i`: `1.5` is not a whole number\n"
               "parameter `b`: `maybe` is not true or false\n"
               "parameter `n`: `` is not a number\n");
}

TEST(integers_keep_all_their_digits) {
    check_bind("{i: {type: integer}}", "{\"i\":\"9223372036854775807\"}",
               "{\"i\":9223372036854775807}");
}

static char folder[] = "/tmp/glovebox-bind-XXXXXX";

TEST(paths_are_resolved_and_checked) {
    REQUIRE(mkdtemp(folder) && chdir(folder) == 0);
    REQUIRE(mkdir("scans", 0700) == 0 && mkdir("there", 0700) == 0);
    REQUIRE(file_write_atomic(AT_FDCWD, "there/m.onnx", "x", 1, 0600, NULL) == 0);
    OWN_PIPELINE pipeline = parse("params: {m: {type: file, default: m.onnx}}\n"
                                  "inputs: {scans: {}, list: {type: file, optional: true}}\n"
                                  "steps: [{id: a, command: a}]\n",
                                  "there/p.yaml");
    REQUIRE(pipeline);
    OWN_STRING whole = memory_format("{\"m\":\"%s/there/m.onnx\"}", folder);
    char *actual = bind(pipeline, "{}", false);
    CHECK_TEXT(actual, whole);
    memory_free(actual);
    OWN_STRING scans = memory_format("{\"scans\":\"%s/scans\"}", folder);
    actual = bind(pipeline, "{\"scans\":\"scans/../scans\"}", true);
    CHECK_TEXT(actual, scans);
    memory_free(actual);
    actual = bind(pipeline, "{\"list\":\"scans\",\"scnas\":\"x\"}", true);
    CHECK_TEXT(actual, "the pipeline has no input `scnas`\n"
                       "input `scans` needs a directory: -i scans=PATH\n"
                       "input `list`: scans is not a file\n");
    memory_free(actual);
}

TEST(a_sub_pipelines_values_follow_its_callers) {
    REQUIRE(chdir(folder) == 0);
    OWN_PIPELINE pipeline = parse(
        "params: {who: {default: you}, m: {type: file}}\n"
        "steps: [{id: s, params: {x: 'hi ${params.who}', f: '${params.m}'}, pipeline: {"
        "params: {x: {}, f: {type: file}, y: {default: 1}}, steps: [{id: a, command: a}]}}]\n",
        "p.yaml");
    REQUIRE(pipeline);
    char *actual = bind(pipeline, "{\"m\":\"there/m.onnx\",\"who\":\"me\"}", false);
    OWN_STRING expected = memory_format(
        "{\"m\":\"%s/there/m.onnx\",\"s.f\":\"%s/there/m.onnx\",\"s.x\":\"hi me\",\"s.y\":\"1\","
        "\"who\":\"me\"}",
        folder, folder);
    CHECK_TEXT(actual, expected);
    memory_free(actual);
    actual = bind(pipeline, "{\"m\":\"there/m.onnx\",\"s.x\":\"own\"}", false);
    CHECK(strstr(actual, "\"s.x\":\"own\"") != NULL);
    memory_free(actual);
}

TEST(failing_allocations_are_survived) {
    OWN_PIPELINE pipeline = parse(
        "params: {l: {type: list, pattern: '[a-z]'}, c: {choices: [x, y]}, i: {type: integer}}\n"
        "inputs: {d: {}}\nsteps: [{id: a, command: a}]\n",
        "p.yaml");
    REQUIRE(pipeline);
    OWN_JSON given = json_pack("{s:s, s:s, s:s}", "l", "a,b", "c", "y", "i", "4");
    OWN_JSON where = json_pack("{s:s}", "d", "/");
    for (uint64_t n = 1; n < 1000; n++) {
        struct diagnostics diagnostics = {0};
        OWN_ERROR error = NULL;
        memory_fail_at(n);
        OWN_JSON values = pipeline_bind_parameters(pipeline, given, &diagnostics, &error);
        OWN_JSON inputs =
            values ? pipeline_bind_inputs(pipeline, where, &diagnostics, &error) : NULL;
        uint64_t made = memory_fail_at(0);
        if (values && inputs)
            CHECK(json_integer_value(json_object_get(values, "i")) == 4 &&
                  json_array_size(json_object_get(values, "l")) == 2);
        diagnostics_release(&diagnostics);
        if (made < n) {
            CHECK(values && inputs);
            return;
        }
    }
    tap_fail(__FILE__, __LINE__, "it never binds");
}

TEST(medperfs_folders_are_made) {
    REQUIRE(chdir(folder) == 0);
    OWN_PIPELINE pipeline = parse("steps:\n- id: a\n  type: command\n  command: x\n  mounts:\n"
                                  "    input_volumes: {data_path: {mount_path: /d}}\n"
                                  "    output_volumes: {output_path: {mount_path: /o}, "
                                  "statistics_file: {mount_path: /s, type: file}}\n",
                                  "p.yaml");
    REQUIRE(pipeline);
    CHECK_INTEGER(pipeline->dialect, DIALECT_MEDPERF);
    char *actual = bind(pipeline, "{\"data_path\":\"scans\"}", true);
    CHECK(strstr(actual, "data_path") && !strstr(actual, "output_path"));
    memory_free(actual);
    actual = bind(pipeline,
                  "{\"data_path\":\"scans\",\"output_path\":\"new/o\",\"statistics_file\":\"new/"
                  "s/stats.yaml\"}",
                  true);
    CHECK(strstr(actual, "new/o") && strstr(actual, "stats.yaml"));
    CHECK(file_exists(AT_FDCWD, "new/o") && file_exists(AT_FDCWD, "new/s/stats.yaml"));
    memory_free(actual);
    CHECK(tree_remove(AT_FDCWD, folder, NULL) == 0);
}

TAP_MAIN
