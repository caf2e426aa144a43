#include "tools/private-model.h"
#include "tools/private-tools.h"

#include "tap.h"

#include <stdlib.h>
#include <unistd.h>

/* Parses words after the tool's name. */
static int parse(const struct tool *tool, const char *const *words, int count,
                 struct tool_call *call, const char **values, struct error **err) {
    char *argv[8] = {(char *)(uintptr_t)tool->name};
    for (int i = 0; i < count; i++)
        argv[i + 1] = (char *)(uintptr_t)words[i];
    return tool_parse(tool, count + 1, argv, call, values, err);
}

TEST(every_tool_is_whole) {
    for (size_t i = 0; i < tool_count; i++) {
        const struct tool *tool = tools[i];
        OWN_BUFFER help = {0};
        CHECK(tool_find(tool->name) == tool);
        CHECK(tool->run && tool->summary && tool->input && tool->output && tool->help);
        tool_help(tool, &help);
        for (size_t j = 0; j < tool->option_count; j++) {
            OWN_STRING option = memory_format("\n  --%s", tool->options[j].name);
            CHECK(option && strstr(buffer_text(&help), option));
        }
        for (const char *line = buffer_text(&help); *line;) {
            size_t width = strcspn(line, "\n");
            CHECK(width <= 80);
            line += width + (line[width] == '\n');
        }
    }
    CHECK(tool_find("no-such-tool") == NULL);
}

TEST(options_in_both_forms_and_places) {
    static const char *const words[] = {"--depth=16", "in",       "--window",
                                        "40,400",     "--strict", "out"};
    const char *values[32];
    struct tool_call call;
    REQUIRE(parse(&tool_dicom_convert, words, 6, &call, values, NULL) == 0);
    CHECK_TEXT(call.input, "in");
    CHECK_TEXT(call.output, "out");
    CHECK_TEXT(tool_value(&call, "depth"), "16");
    CHECK_TEXT(tool_value(&call, "window"), "40,400");
    CHECK_TEXT(tool_value(&call, "frame"), "all"); /* the table's own */
    CHECK(tool_switch(&call, "strict") && !tool_switch(&call, "lenient"));
}

static void check_wrong(const char *const *words, int count, const char *message,
                        const char *hint) {
    const char *values[32];
    struct tool_call call;
    OWN_ERROR error = NULL;
    CHECK_INTEGER(parse(&tool_dicom_convert, words, count, &call, values, &error), -1);
    REQUIRE(error);
    CHECK_INTEGER(error->code, ERROR_USAGE);
    CHECK_TEXT(error->message, message);
    CHECK_TEXT(error->hint ? error->hint : "", hint);
}

static void count_complaint(size_t at, const char *message, const char *hint, void *context) {
    unsigned *count = context;
    (void)at;
    CHECK(message && *message);
    (void)hint;
    (*count)++;
}

/* What the check of a pipeline lets pass is what the tool takes, and the other way round. */
TEST(checking_and_parsing_agree) {
    static const struct {
        const char *const words[4];
        int count;
        bool good;
    } rows[] = {
        {{"--model", "m"}, 2, true},
        {{"--model=m", "--strict"}, 2, true},
        {{"--model", "m", "--threads", "2"}, 4, true},
        {{"--model=--m"}, 1, true},
        {{"--threads", "2"}, 2, false},
        {{"--model"}, 1, false},
        {{"--model", "--strict"}, 2, false},
        {{"--modle", "m"}, 2, false},
        {{"--model", "m", "n"}, 3, false},
        {{"--model", "m", "--strict=1"}, 3, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *words[6] = {"in", "out"}, *values[32];
        struct tool_call call;
        unsigned complaints = 0;
        for (int w = 0; w < rows[i].count; w++)
            words[w + 2] = rows[i].words[w];
        CHECK(tool_check("classify", rows[i].words, (size_t)rows[i].count, count_complaint,
                         &complaints, NULL) == 0);
        CHECK_INTEGER(complaints, rows[i].good ? 0 : 1);
        CHECK_INTEGER(parse(&tool_classify, words, rows[i].count + 2, &call, values, NULL),
                      rows[i].good ? 0 : -1);
    }
}

TEST(wrong_usage_is_told) {
    check_wrong((const char *[]){"in"}, 1, "dicom-convert needs INPUT and OUTPUT", "");
    check_wrong((const char *[]){"a", "b", "c"}, 3, "dicom-convert takes one INPUT and one OUTPUT",
                "");
    check_wrong((const char *[]){"a", "b", "--windw", "x"}, 4,
                "dicom-convert has no option --windw", "did you mean --window?");
    check_wrong((const char *[]){"a", "b", "--window"}, 3, "--window needs a value: WINDOW", "");
    check_wrong((const char *[]){"a", "b", "--strict=1"}, 3, "--strict takes no value", "");
}

/* A description of `text`, through a temporary file. */
static int describe(const char *text, struct model_description *ret, struct error **err) {
    char path[] = "/tmp/glovebox-test-XXXXXX";
    OWN_FD fd = mkstemp(path);
    if (fd < 0 || file_write_all(fd, text, strlen(text), NULL) != 0)
        return -1;
    int result = model_describe(path, ret, err);
    unlink(path);
    return result;
}

TEST(model_descriptions) {
    struct model_description model;
    OWN_ERROR error = NULL;
    REQUIRE(describe("{\"name\": \"m\", \"stand_in\": true, \"notice\": \"\", \"input\": "
                     "{\"width\": 2, \"height\": 2, \"channels\": 3, \"layout\": \"NHWC\", "
                     "\"crop_top\": 0.5, \"mean\": [0, 1, 2]}, \"output\": {\"classes\": [\"a\", "
                     "{\"label\": \"b\", \"key\": \"B\"}]}}",
                     &model, NULL) == 0);
    CHECK(model.stand_in && model.channels_last && model.class_count == 2);
    CHECK(strstr(model.notice, "NOT FOR CLINICAL USE")); /* an empty notice cannot hide it */
    CHECK_TEXT(model.classes[0].key, "a");
    CHECK_TEXT(model.classes[1].key, "B");
    CHECK(describe("{\"input\": {\"width\": 0, \"height\": 2}}", &model, &error) == -1);
    CHECK(error && strstr(error->message, "input.width"));
    error_free(take(&error));
    CHECK(describe("{\"input\": {\"width\": 2, \"height\": 2}, \"output\": {\"classes\": [1, 2]}}",
                   &model, &error) == -1);
    CHECK(error && strstr(error->message, "output.classes[0] has no label"));
    error_free(take(&error));
    CHECK(describe("{", &model, &error) == -1);
}

TEST(pictures_are_cropped_and_shrunk_by_area) {
    /* 4 x 6; the top third is cut, then the middle square is all there is: 4 x 4 -> 2 x 2 */
    static uint8_t pixels[24] = {9, 9, 9,  9,  9,   9,   9,   9,   0,   4,   10,  10,
                                 8, 8, 10, 10, 100, 100, 255, 255, 100, 100, 255, 255};
    struct picture picture = {.width = 4, .height = 6, .channels = 1, .depth = 8, .pixels = pixels};
    struct model_description model = {.width = 2,
                                      .height = 2,
                                      .channels = 1,
                                      .crop_top = 1.0 / 3,
                                      .crop_square = true,
                                      .scale = 1,
                                      .mean = {5},
                                      .deviation = {5, 1, 1}};
    size_t count = 0;
    OWN_MEMORY(float) input = model_prepare(&model, &picture, &count, NULL);
    REQUIRE(input && count == 4);
    CHECK(input[0] == 0 && input[1] == 1 && input[2] == 19 && input[3] == 50);
}

TEST(colour_to_grey_and_back) {
    static uint8_t red[3] = {255, 0, 0};
    struct picture picture = {.width = 1, .height = 1, .channels = 3, .depth = 8, .pixels = red};
    struct model_description model = {
        .width = 1, .height = 1, .channels = 1, .scale = 1, .deviation = {1, 1, 1}};
    size_t count;
    OWN_MEMORY(float) grey = model_prepare(&model, &picture, &count, NULL);
    REQUIRE(grey);
    CHECK(count == 1 && grey[0] > 76.2f && grey[0] < 76.3f);
    model.channels = 3;
    OWN_MEMORY(float) colour = model_prepare(&model, &picture, &count, NULL);
    REQUIRE(colour);
    CHECK(count == 3 && colour[0] == 255 && colour[1] == 0);
}

TEST(suffixes) {
    static const char *const cases[][2] = {{"a/b.dcm", "a/b.png"},
                                           {"a.DCM", "a.png"},
                                           {"a/.dcm", "a/.dcm.png"},
                                           {"IM0001", "IM0001.png"},
                                           {"1.2.840.5", "1.2.840.5.png"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        OWN_STRING path = path_with_suffix(cases[i][0], ".png");
        CHECK_TEXT(path, cases[i][1]);
    }
}

TAP_MAIN
