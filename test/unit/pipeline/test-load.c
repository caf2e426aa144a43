/* Loading: the graph that comes out of a file. */
#include "pipeline/pipeline.h"
#include "tap.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct pipeline_options everything = {.can_run_images = true};

/* Parses; prints what is wrong with it when it should have been right. */
static struct pipeline *parse(const char *text) {
    struct diagnostics diagnostics = {0};
    OWN_ERROR error = NULL;
    struct pipeline *pipeline =
        pipeline_parse(text, strlen(text), "test.yaml", &everything, &diagnostics, &error);
    if (!pipeline) {
        OWN_BUFFER out = {0};
        diagnostics_print(&diagnostics, false, &out);
        printf("# %s\n%s", error ? error->message : "no error", buffer_text(&out));
    }
    diagnostics_release(&diagnostics);
    return pipeline;
}

/* The first error of a text that must not load, or "". */
static char *mistake(const char *text) {
    struct diagnostics diagnostics = {0};
    OWN_PIPELINE pipeline =
        pipeline_parse(text, strlen(text), "test.yaml", &everything, &diagnostics, NULL);
    char *message = NULL;
    for (size_t i = 0; i < diagnostics.count && !message; i++)
        if (diagnostics.items[i].severity == SEVERITY_ERROR)
            message = memory_copy_string(diagnostics.items[i].message);
    CHECK(!pipeline == (diagnostics.errors > 0));
    diagnostics_release(&diagnostics);
    return message ? message : memory_copy_string("");
}

static const char covidnet[] =
    "name: covidnet\n"
    "version: 1.10\n"
    "params: {model: {type: file, default: standin.onnx}}\n"
    "inputs: {scans: {help: lung CT}}\n"
    "outputs: {report: report/report.pdf}\n"
    "steps:\n"
    "  - {id: report, tool: report, in: {images: slice, results: classify}, needs: [look]}\n"
    "  - {id: anonymize, tool: dicom-anonymize, in: inputs.scans}\n"
    "  - {id: slice, tool: dicom-convert, args: [--to, png], foreach: anonymize/*.dcm}\n"
    "  - {id: classify, tool: classify, args: [--model, \"${params.model}\"], foreach: slice}\n"
    "  - {id: look, type: manual_review, foreach: classify, when: .confidence < 0.9}\n";

TEST(steps_stand_after_what_they_wait_for) {
    OWN_PIPELINE pipeline = parse(covidnet);
    REQUIRE(pipeline);
    static const char *const order[] = {"anonymize", "slice", "classify", "look", "report"};
    REQUIRE(CHECK_INTEGER(pipeline->step_count, 5));
    for (size_t i = 0; i < 5; i++) {
        const struct step *step = &pipeline->steps[i];
        CHECK_TEXT(step->id, order[i]);
        CHECK_INTEGER(step->index, i);
        for (size_t k = 0; k < step->edge_count; k++)
            CHECK(step->edges[k].step < i);
    }
}

TEST(names_and_texts_are_kept_as_written) {
    OWN_PIPELINE pipeline = parse(covidnet);
    REQUIRE(pipeline);
    CHECK_TEXT(pipeline->name, "covidnet");
    CHECK_TEXT(pipeline->version, "1.10");
    CHECK_TEXT(pipeline->parameters[0].name, "model");
    CHECK_TEXT(json_string_value(pipeline->parameters[0].fallback), "standin.onnx");
    CHECK_INTEGER(pipeline->inputs[0].type, VALUE_DIRECTORY);
    CHECK(!pipeline->inputs[0].optional);
}

TEST(a_fan_over_outputs_extends_the_axis) {
    OWN_PIPELINE pipeline = parse(covidnet);
    REQUIRE(pipeline);
    const struct step *slice = pipeline_find_step(pipeline, "slice");
    const struct step *look = pipeline_find_step(pipeline, "look");
    CHECK_INTEGER(slice->fan.kind, FAN_GLOB);
    CHECK_TEXT(slice->fan.glob, "*.dcm");
    CHECK_INTEGER(slice->axis_count, 1);
    CHECK_INTEGER(slice->axis[0], slice->index);
    CHECK_INTEGER(look->axis_count, 1);
    CHECK_INTEGER(look->axis[0], slice->index);
    CHECK_INTEGER(slice->input_count, 1);
    CHECK_INTEGER(slice->inputs[0].kind, REFERENCE_ITEM);
    CHECK_INTEGER(look->inputs[0].kind, REFERENCE_STEP);
}

TEST(relations_follow_from_the_axes) {
    OWN_PIPELINE pipeline = parse(covidnet);
    REQUIRE(pipeline);
    const struct step *slice = pipeline_find_step(pipeline, "slice");
    const struct step *classify = pipeline_find_step(pipeline, "classify");
    const struct step *report = pipeline_find_step(pipeline, "report");
    CHECK_INTEGER(slice->edges[0].relation, RELATION_ANCESTOR);
    CHECK_INTEGER(classify->edges[0].relation, RELATION_SAME);
    CHECK_INTEGER(classify->edges[0].kind, EDGE_DATA);
    REQUIRE(CHECK_INTEGER(report->edge_count, 3));
    for (size_t i = 0; i < 3; i++)
        CHECK_INTEGER(report->edges[i].relation, RELATION_JOIN);
    CHECK_INTEGER(report->edges[2].kind, EDGE_NEEDS);
    CHECK_INTEGER(pipeline->outputs[0].from.index, report->index);
    CHECK_TEXT(pipeline->outputs[0].from.path, "report.pdf");
}

TEST(a_second_fan_makes_a_second_level) {
    OWN_PIPELINE pipeline = parse("inputs: {data: {}}\n"
                                  "steps:\n"
                                  "- {id: a, foreach: {directories: inputs.data}, command: a}\n"
                                  "- {id: b, foreach: a/*.png, command: b}\n"
                                  "- {id: c, foreach: a, in: {one: a, all: b}, command: c}\n"
                                  "- {id: d, in: b, command: d}\n");
    REQUIRE(pipeline);
    const struct step *b = pipeline_find_step(pipeline, "b");
    const struct step *c = pipeline_find_step(pipeline, "c");
    const struct step *d = pipeline_find_step(pipeline, "d");
    CHECK_INTEGER(b->axis_count, 2);
    CHECK_INTEGER(b->edges[0].relation, RELATION_ANCESTOR);
    CHECK_INTEGER(c->inputs[0].relation, RELATION_SAME);
    CHECK_INTEGER(c->inputs[1].relation, RELATION_JOIN);
    CHECK_INTEGER(c->inputs[1].common, 1);
    CHECK_INTEGER(d->inputs[0].relation, RELATION_JOIN);
    CHECK_INTEGER(d->inputs[0].common, 0);
}

TEST(commands_become_argument_lists) {
    OWN_PIPELINE pipeline = parse("steps:\n"
                                  "- {id: line, command: 'a b | c'}\n"
                                  "- {id: list, command: [a, 'b c', 3]}\n"
                                  "- {id: box, image: x:1, command: 'a  b ${ \"x y\" } c'}\n");
    REQUIRE(pipeline);
    const struct step *steps = pipeline->steps;
    CHECK_INTEGER(steps[0].command_count, 3);
    CHECK_TEXT(steps[0].command[0], "sh");
    CHECK_TEXT(steps[0].command[2], "a b | c");
    CHECK_INTEGER(steps[1].command_count, 3);
    CHECK_TEXT(steps[1].command[2], "3");
    CHECK_INTEGER(steps[2].type, STEP_CONTAINER);
    REQUIRE(CHECK_INTEGER(steps[2].command_count, 4));
    CHECK_TEXT(steps[2].command[2], "${\"x y\"}");
}

TEST(a_circle_that_nothing_enters_is_refused_once) {
    char *text =
        mistake("steps: [{id: a, command: a, next: b}, {id: b, type: dummy, next: [a, c]}, "
                "{id: c, type: dummy}]");
    CHECK_TEXT(text, "step `a` can never run: only steps that come after it lead to it");
    memory_free(text);
    OWN_PIPELINE pipeline =
        parse("steps: [{id: a, command: a, next: b}, {id: b, type: dummy, next: "
              "{if: [{jq: .again, target: c}], else: d}}, {id: c, type: dummy, "
              "next: b}, {id: d, type: dummy}]");
    CHECK(pipeline != NULL);
}

TEST(next_with_else_ends_and_without_polls) {
    OWN_PIPELINE pipeline =
        parse("conditions: [{id: yes, jq: .ok}]\n"
              "steps:\n"
              "- {id: a, command: a, next: {if: [{condition: yes, target: [b, c]}, {jq: .bad, "
              "target: b}], else: d, wait: 5s}}\n"
              "- {id: b, type: dummy}\n"
              "- {id: c, type: dummy, next: {if: [{jq: .x, target: d}]}}\n"
              "- {id: d, type: dummy, next: {if: [{jq: .x, target: b}], else: []}}\n");
    REQUIRE(pipeline);
    const struct step *a = pipeline_find_step(pipeline, "a");
    REQUIRE(CHECK_INTEGER(a->next_count, 4));
    CHECK_INTEGER(a->next[0].branch, 0);
    CHECK_INTEGER(a->next[1].branch, 0);
    CHECK_TEXT(a->next[1].condition, ".ok");
    CHECK_INTEGER(a->next[2].branch, 1);
    CHECK_INTEGER(a->next[3].branch, 2);
    CHECK(!a->next[3].condition);
    CHECK(!a->next_polls);
    CHECK_INTEGER(a->next_wait, 5000);
    CHECK(pipeline_find_step(pipeline, "c")->next_polls);
    CHECK(!pipeline_find_step(pipeline, "d")->next_polls);
    CHECK(!a->fired);
    CHECK(pipeline_find_step(pipeline, "b")->fired);
}

TEST(every_key_of_a_step_arrives) {
    OWN_PIPELINE pipeline = parse(
        "params: {n: {type: integer, default: 2}}\n"
        "inputs: {data: {writable: true}, weights: {type: file, optional: true}}\n"
        "limit: 7\n"
        "steps:\n"
        "- id: a\n"
        "  title: A title\n"
        "  help: helps\n"
        "  image: img:1\n"
        "  entrypoint: /bin/x -y\n"
        "  command: [run, \"${params.n}\"]\n"
        "  env: {N: \"${params.n}\", M: 3}\n"
        "  secrets: [key]\n"
        "  mounts: [{name: d, path: /data, from: inputs.data, writable: true}, {name: out1, path: "
        "/out1}]\n"
        "  in: {w: inputs.weights}\n"
        "  out: [r.json, sub/x]\n"
        "  limit: 3\n"
        "  retries: {count: 2, backoff: 5s, cap: 1m, causes: [lost, timeout]}\n"
        "  timeout: 2h\n"
        "  resources: {cpus: 1.5, memory: 4g, gpus: 1, shm: 64m, scratch: 1g, flavor: big}\n"
        "  network: internet\n"
        "  writable_root: true\n"
        "  cache: false\n"
        "  on_failure: {run: tidy}\n"
        "  trigger_rule: all_done\n"
        "- {id: tidy, command: rm, box: off}\n"
        "- {id: w, type: wait, for: 10s, file: '${inputs.data}/x', until: .ready, "
        "every: 5s, needs: a}\n"
        "- {id: n, type: notify, message: 'done ${params.n}', needs: w, when: .x}\n");
    REQUIRE(pipeline);
    const struct step *a = pipeline_find_step(pipeline, "a");
    CHECK_INTEGER(pipeline->limit, 7);
    CHECK_TEXT(a->title, "A title");
    CHECK_INTEGER(a->entrypoint_count, 2);
    CHECK_TEXT(a->command[1], "${params.n}");
    CHECK_INTEGER(a->environment_count, 2);
    CHECK_TEXT(a->environment[1].text, "3");
    CHECK_TEXT(a->secrets[0], "key");
    REQUIRE(CHECK_INTEGER(a->mount_count, 2));
    CHECK(a->mounts[0].writable && !a->mounts[0].is_fresh);
    CHECK(a->mounts[1].is_fresh && a->mounts[1].writable);
    CHECK_TEXT(a->inputs[0].name, "w");
    CHECK_INTEGER(a->output_count, 2);
    CHECK_INTEGER(a->limit, 3);
    CHECK_INTEGER(a->retries.count, 2);
    CHECK_INTEGER(a->retries.backoff, 5000);
    CHECK_INTEGER(a->retries.cap, 60000);
    CHECK_INTEGER(a->retries.causes, (1u << CAUSE_LOST) | (1u << CAUSE_TIMEOUT));
    CHECK_INTEGER(a->timeout, 7200000);
    CHECK(a->resources.cpus == 1.5);
    CHECK_INTEGER(a->resources.memory, (uint64_t)4 << 30);
    CHECK_INTEGER(a->resources.shared_memory, 64 << 20);
    CHECK_TEXT(a->resources.flavor, "big");
    CHECK_TEXT(a->network, "internet");
    CHECK(a->writable_root);
    CHECK_INTEGER(pipeline_find_step(pipeline, "tidy")->box, BOX_WISH_OFF);
    CHECK_INTEGER(a->cache, CACHE_OFF);
    CHECK_INTEGER(a->on_failure, ON_FAILURE_RUN);
    CHECK_TEXT(pipeline->steps[a->on_failure_step].id, "tidy");
    CHECK(pipeline_find_step(pipeline, "tidy")->cleanup_only);
    CHECK_INTEGER(a->trigger_rule, TRIGGER_ALL_DONE);
    const struct step *w = pipeline_find_step(pipeline, "w");
    CHECK_INTEGER(w->wait_for, 10000);
    CHECK_INTEGER(w->wait_every, 5000);
    CHECK_TEXT(w->wait_file, "${inputs.data}/x");
    CHECK_TEXT(pipeline_find_step(pipeline, "n")->when, ".x");
}

TEST(every_form_of_foreach) {
    OWN_PIPELINE pipeline = parse(
        "inputs: {d: {}}\n"
        "partition: {directories: inputs.d, depth: 2}\n"
        "steps:\n"
        "- {id: a, command: a, foreach: {directories: inputs.d, depth: 2, match: 's*'}}\n"
        "- {id: b, command: a, foreach: 'inputs.d/x/**/*.dcm'}\n"
        "- {id: c, command: a, foreach: {dicom: inputs.d, by: study}}\n"
        "- {id: e, command: 'a ${item.age}', foreach: {csv: inputs.d/l.csv, key: subject}}\n"
        "- {id: f, command: 'a ${item}', foreach: {json: a, items: '.x[]', key: .id, allow_empty: "
        "true}}\n"
        "- {id: g, command: a, foreach: {step: c}}\n"
        "- {id: h, command: a, partition: true}\n"
        "- {id: i, command: a, partition: true, in: h}\n"
        "- {id: j, command: a, partition: {glob: 'inputs.d/*'}}\n");
    REQUIRE(pipeline);
    const struct step *a = pipeline_find_step(pipeline, "a");
    CHECK_INTEGER(a->fan.kind, FAN_DIRECTORIES);
    CHECK_INTEGER(a->fan.depth, 2);
    CHECK_TEXT(a->fan.glob, "s*");
    const struct step *b = pipeline_find_step(pipeline, "b");
    CHECK_TEXT(b->fan.over.path, "x");
    CHECK_TEXT(b->fan.glob, "**/*.dcm");
    CHECK_INTEGER(pipeline_find_step(pipeline, "c")->fan.level, DICOM_STUDY);
    const struct step *e = pipeline_find_step(pipeline, "e");
    CHECK_TEXT(e->fan.key, "subject");
    CHECK_INTEGER(e->input_count, 0);
    const struct step *f = pipeline_find_step(pipeline, "f");
    CHECK_TEXT(f->fan.items, ".x[]");
    CHECK(f->fan.allow_empty);
    CHECK_INTEGER(f->axis_count, 2);
    CHECK_INTEGER(pipeline_find_step(pipeline, "g")->fan.kind, FAN_STEP);
    const struct step *h = pipeline_find_step(pipeline, "h");
    const struct step *i = pipeline_find_step(pipeline, "i");
    CHECK_INTEGER(h->fan.kind, FAN_DIRECTORIES);
    CHECK_INTEGER(i->fan.kind, FAN_STEP);
    CHECK_INTEGER(i->edge_count, 1);
    CHECK_INTEGER(i->edges[0].relation, RELATION_SAME);
    CHECK_INTEGER(pipeline_find_step(pipeline, "j")->fan.kind, FAN_GLOB);
}

TEST(only_true_and_false_are_booleans) {
    OWN_PIPELINE pipeline = parse("params: {country: {default: no}}\n"
                                  "steps: [{id: a, command: a, env: {C: no, D: 0o17, E: 1e3}}]\n");
    REQUIRE(pipeline);
    CHECK_TEXT(json_string_value(pipeline->parameters[0].fallback), "no");
    CHECK_TEXT(pipeline->steps[0].environment[0].text, "no");
    CHECK_TEXT(pipeline->steps[0].environment[1].text, "0o17");
    char *text = mistake("steps: [{id: a, command: a, cache: no}]");
    CHECK_TEXT(text, "cache must be true or false");
    memory_free(text);
}

/* ---------------------------------------------------------------------- YAML */

TEST(merges_take_mappings_and_lists) {
    OWN_PIPELINE pipeline = parse("base: &B\n"
                                  "  - {type: command, command: base, limit: 2}\n"
                                  "other: &O {limit: 3, timeout: 1s}\n"
                                  "steps:\n"
                                  "- {id: a, <<: *B}\n"
                                  "- {<<: *O, id: b, command: own}\n"
                                  "- {<<: [*O, {command: third, limit: 9}], id: c}\n");
    REQUIRE(pipeline);
    CHECK_TEXT(pipeline->steps[0].command[2], "base");
    CHECK_INTEGER(pipeline->steps[0].limit, 2);
    CHECK_TEXT(pipeline->steps[1].command[2], "own");
    CHECK_INTEGER(pipeline->steps[1].limit, 3);
    CHECK_INTEGER(pipeline->steps[2].limit, 3);
    CHECK_TEXT(pipeline->steps[2].command[2], "third");
    CHECK(!json_object_get(pipeline->document, "base"));
}

TEST(windows_line_ends_and_a_byte_order_mark) {
    OWN_PIPELINE pipeline =
        parse("\xEF\xBB\xBFname: x\r\nsteps:\r\n  - id: a\r\n    command: b\r\n");
    REQUIRE(pipeline);
    CHECK_TEXT(pipeline->name, "x");
    CHECK_TEXT(pipeline->steps[0].command[2], "b");
}

TEST(a_bomb_of_aliases_is_refused) {
    OWN_BUFFER text = {0};
    buffer_append(&text, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 10; i++) {
        buffer_format(&text, "a%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++)
            buffer_format(&text, "%s*a%d", k ? ", " : "", i - 1);
        buffer_append(&text, "]\n");
    }
    buffer_append(&text, "steps: *a9\n");
    char *message = mistake(buffer_text(&text));
    CHECK_TEXT(message, "with its aliases written out, this has more than 500000 values");
    memory_free(message);
}

TEST(an_anchor_cannot_hold_itself) {
    char *message = mistake("steps: &s [{id: a, command: a, env: *s}]");
    CHECK_TEXT(message, "*s refers to itself: it stands inside &s");
    memory_free(message);
}

TEST(deep_nesting_is_refused) {
    OWN_BUFFER text = {0};
    buffer_append(&text, "steps: ");
    buffer_append_repeat(&text, '[', 500);
    char *message = mistake(buffer_text(&text));
    CHECK_TEXT(message, "nested more than 64 levels deep");
    memory_free(message);
}

TEST(the_cap_of_diagnostics_holds) {
    OWN_BUFFER text = {0};
    struct diagnostics diagnostics = {0};
    buffer_append(&text, "steps:\n");
    for (int i = 0; i < 1000; i++)
        buffer_format(&text, "- {id: s%d, command: x, bogus: 1}\n", i);
    OWN_PIPELINE pipeline =
        pipeline_parse(buffer_text(&text), text.size, "t", &everything, &diagnostics, NULL);
    CHECK(!pipeline);
    CHECK_INTEGER(diagnostics.count, DIAGNOSTICS_MAXIMUM);
    CHECK_INTEGER(diagnostics.errors, 1000);
    diagnostics_release(&diagnostics);
}

/* --------------------------------------------------------------- round trips */

static json_t *graph_of(const struct pipeline *pipeline) {
    OWN_BUFFER out = {0};
    if (pipeline_graph(pipeline, GRAPH_JSON, 80, false, NULL, &out, NULL) < 0)
        return NULL;
    json_t *graph = json_parse(buffer_text(&out), out.size, NULL);
    for (size_t i = 0; i < json_array_size(json_object_get(graph, "nodes")); i++)
        json_object_del(json_array_get(json_object_get(graph, "nodes"), i), "line");
    return graph;
}

/* Through JSON text and back: the same graph, and the same document again. */
static void check_round_trip(const struct pipeline *pipeline) {
    OWN_STRING text = json_canonical(pipeline->document, NULL);
    OWN_JSON document = text ? json_parse(text, strlen(text), NULL) : NULL;
    OWN_ERROR error = NULL;
    OWN_PIPELINE again =
        document ? pipeline_from_document(document, pipeline->path, &everything, &error) : NULL;
    if (error)
        printf("# %s: %s\n", error->message, error->hint ? error->hint : "");
    REQUIRE(again);
    OWN_JSON first = graph_of(pipeline);
    OWN_JSON second = graph_of(again);
    CHECK(json_equal(first, second));
    CHECK(json_equal(pipeline->document, again->document));
    CHECK_TEXT(again->version, pipeline->version);
    CHECK_INTEGER(again->parameter_count, pipeline->parameter_count);
    for (size_t i = 0; i < again->step_count && i < pipeline->step_count; i++) {
        const struct step *a = &pipeline->steps[i], *b = &again->steps[i];
        CHECK_INTEGER(a->command_count, b->command_count);
        for (size_t k = 0; k < a->command_count && k < b->command_count; k++)
            CHECK_TEXT(b->command[k], a->command[k]);
        CHECK_INTEGER(a->input_count, b->input_count);
        CHECK_INTEGER(a->mount_count, b->mount_count);
        CHECK(a->resources.cpus == b->resources.cpus);
    }
}

TEST(the_document_gives_the_same_graph) {
    OWN_PIPELINE pipeline = parse(covidnet);
    REQUIRE(pipeline);
    check_round_trip(pipeline);
    OWN_PIPELINE numbers = parse("base: &B {resources: {cpus: 1.50, memory: 04g}}\n"
                                 "params: {n: {type: number, default: 1.10, minimum: 0.10}}\n"
                                 "steps: [{id: a, <<: *B, command: [x, 1.0, 0x10, +3]}]\n");
    REQUIRE(numbers);
    check_round_trip(numbers);
}

/* ------------------------------------------------------------ sub-pipelines */

static const char inner[] =
    "{name: seg, params: {t: {type: number, default: 0.5}, m: {type: file}},"
    " inputs: {images: {}, atlas: {optional: true}},"
    " outputs: {masks: merge/masks}, steps: ["
    "{id: find, command: [find, '${params.t}', '${params.m}'], in: "
    "inputs.images, when: '$params.t > 0 and $results.find'},"
    "{id: cut, foreach: find/*.png, command: cut},"
    "{id: raw, foreach: inputs.images/*.png, command: raw},"
    "{id: merge, in: cut, command: merge}]}";

TEST(a_sub_pipeline_becomes_steps) {
    OWN_STRING text = memory_format(
        "params: {model: {type: file, default: m.onnx}}\n"
        "inputs: {data: {}}\n"
        "outputs: {all: seg/masks}\n"
        "steps:\n"
        "- {id: split, command: split, in: inputs.data}\n"
        "- {id: seg, foreach: {directories: split}, pipeline: %s, in: {images: item}, params: {m: "
        "'${params.model}'}}\n"
        "- {id: one, foreach: seg, in: {m: seg/masks/x, s: split}, command: one}\n"
        "- {id: all, command: all, needs: seg}\n",
        inner);
    OWN_PIPELINE pipeline = parse(text);
    REQUIRE(pipeline);
    const struct step *seg = pipeline_find_step(pipeline, "seg");
    const struct step *find = pipeline_find_step(pipeline, "seg.find");
    const struct step *cut = pipeline_find_step(pipeline, "seg.cut");
    const struct step *raw = pipeline_find_step(pipeline, "seg.raw");
    const struct step *one = pipeline_find_step(pipeline, "one");
    REQUIRE(seg && find && cut && raw && one);
    CHECK_INTEGER(seg->type, STEP_DUMMY);
    CHECK_INTEGER(find->axis_count, 1);
    CHECK_INTEGER(find->axis[0], seg->index);
    CHECK_INTEGER(find->inputs[0].kind, REFERENCE_ITEM);
    CHECK_INTEGER(find->inputs[0].level, 0);
    CHECK_TEXT(find->command[1], "${params.seg.t}");
    CHECK(strstr(find->when, "startswith(\"seg.\")") != NULL);
    CHECK_INTEGER(cut->axis_count, 2);
    CHECK_INTEGER(raw->axis_count, 2);
    CHECK_INTEGER(raw->fan.over.kind, REFERENCE_ITEM);
    CHECK_INTEGER(raw->fan.over.level, 0);
    CHECK_TEXT(one->inputs[0].path, "masks/x");
    CHECK_TEXT(pipeline->steps[one->inputs[0].index].id, "seg.merge");
    CHECK_INTEGER(pipeline_find_step(pipeline, "all")->edge_count, 5);
    CHECK_TEXT(pipeline->parameters[1].name, "seg.t");
    CHECK_TEXT(pipeline->parameters[2].name, "seg.m");
    CHECK_TEXT(pipeline->inputs[1].name, "seg.atlas");
    check_round_trip(pipeline);
}

TEST(sub_pipelines_come_from_files) {
    char folder[] = "/tmp/glovebox-test-XXXXXX";
    REQUIRE(mkdtemp(folder) && chdir(folder) == 0);
    static const char sub[] = "params: {m: {type: file, default: m.onnx}}\n"
                              "inputs: {x: {default: demo}}\n"
                              "steps: [{id: a, command: '${params.m}'}]\n";
    static const char top[] = "steps: [{id: s, pipeline: parts/sub.yaml}]\n";
    static const char loop[] = "steps: [{id: s, pipeline: loop.yaml}]\n";
    REQUIRE(mkdir("parts", 0700) == 0);
    REQUIRE(file_write_atomic(AT_FDCWD, "parts/sub.yaml", sub, strlen(sub), 0600, NULL) == 0);
    REQUIRE(file_write_atomic(AT_FDCWD, "top.yaml", top, strlen(top), 0600, NULL) == 0);
    REQUIRE(file_write_atomic(AT_FDCWD, "loop.yaml", loop, strlen(loop), 0600, NULL) == 0);
    struct diagnostics diagnostics = {0};
    OWN_PIPELINE pipeline = pipeline_load("top.yaml", &everything, &diagnostics, NULL);
    REQUIRE(pipeline);
    CHECK_TEXT(json_string_value(pipeline->parameters[0].fallback), "parts/m.onnx");
    CHECK_TEXT(pipeline->inputs[0].fallback, "parts/demo");
    check_round_trip(pipeline);
    OWN_PIPELINE circle = pipeline_load("loop.yaml", &everything, &diagnostics, NULL);
    CHECK(!circle);
    CHECK_INTEGER(diagnostics.count, 1);
    CHECK_TEXT(diagnostics.items[0].message, "the sub-pipelines call each other in a circle");
    diagnostics_release(&diagnostics);
    OWN_ERROR error = NULL;
    OWN_PIPELINE missing = pipeline_load("none.yaml", &everything, &diagnostics, &error);
    CHECK(!missing && error && error->code == ERROR_NOT_FOUND);
    CHECK(tree_remove(AT_FDCWD, folder, NULL) == 0);
}

/* -------------------------------------------------------- failing allocations */

/* With the n-th allocation failing, a load ends with ERROR_MEMORY or with the very same graph. */
static void check_failing_allocations(const char *text) {
    OWN_PIPELINE whole = parse(text);
    REQUIRE(whole);
    OWN_JSON expected = graph_of(whole);
    for (uint64_t n = 1; n < 100000; n++) {
        struct diagnostics diagnostics = {0};
        OWN_ERROR error = NULL;
        memory_fail_at(n);
        OWN_PIPELINE pipeline =
            pipeline_parse(text, strlen(text), "test.yaml", &everything, &diagnostics, &error);
        uint64_t made = memory_fail_at(0);
        bool right = pipeline != NULL;
        if (pipeline) {
            OWN_JSON graph = graph_of(pipeline);
            right = json_equal(graph, expected) && json_equal(pipeline->document, whole->document);
        } else {
            /* A failure while an error is made leaves none behind. */
            right = !error || error->code == ERROR_MEMORY;
        }
        if (!right)
            tap_fail(__FILE__, __LINE__, "allocation %llu: %s", (unsigned long long)n,
                     error ? error->message : "another graph");
        if (diagnostics.errors && error && error->code != ERROR_MEMORY)
            printf("# %s\n", diagnostics.items[0].message);
        diagnostics_release(&diagnostics);
        if (made < n) {
            printf("# %llu allocations\n", (unsigned long long)made);
            return;
        }
    }
    tap_fail(__FILE__, __LINE__, "it never loads");
}

TEST(every_failing_allocation_is_survived) {
    check_failing_allocations(covidnet);
    OWN_STRING text = memory_format(
        "base: &b [{command: 'a ${params.model}', env: {A: '${params.model}'}}]\n"
        "params: {model: {type: string, default: m, pattern: '[a-z]', choices: [m, n]}}\n"
        "inputs: {data: {}}\n"
        "steps:\n"
        "- {id: split, <<: *b, in: inputs.data, image: x}\n"
        "- {id: seg, foreach: {directories: split}, pipeline: %s, in: {images: item}, params: {m: "
        "x}}\n",
        inner);
    check_failing_allocations(text);
}

TAP_MAIN
