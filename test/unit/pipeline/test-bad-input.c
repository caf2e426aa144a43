/*
 * Every folder of test/bad-input holds a pipeline.yaml that is wrong and expected.txt, what is
 * said about it. UPDATE_EXPECTED=1 writes expected.txt anew: look at the difference before you
 * commit it. Those with a file `command` are called by test/program/test_bad_input.py.
 */
#include "pipeline/pipeline.h"
#include "tap.h"
#include "tools/tools.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static void run_case(const char *name) {
    const char *names[64];
    for (size_t i = 0; i < tool_count && i < ARRAY_SIZE(names); i++)
        names[i] = tools[i]->name;
    const struct pipeline_options options = {.tools = names,
                                             .tool_count = tool_count,
                                             .check_tool = tool_check,
                                             .can_run_images = text_starts_with(name, "medperf") ||
                                                               text_starts_with(name, "chris"),
                                             .image_remedy = "install crun"};
    struct diagnostics diagnostics = {0};
    OWN_ERROR error = NULL;
    OWN_BUFFER out = {0};
    OWN_BUFFER expected = {0};
    OWN_PIPELINE pipeline = pipeline_load("pipeline.yaml", &options, &diagnostics, &error);
    diagnostics_print(&diagnostics, false, &out);
    OWN_JSON json = diagnostics_json(&diagnostics);
    if (pipeline || !error || error->code != ERROR_INVALID || !diagnostics.errors)
        tap_fail(__FILE__, __LINE__, "%s: no mistake was found", name);
    if (json_array_size(json) != diagnostics.count)
        tap_fail(__FILE__, __LINE__, "%s: the JSON lacks some", name);
    diagnostics_release(&diagnostics);
    if (getenv("UPDATE_EXPECTED"))
        CHECK(file_write_atomic(AT_FDCWD, "expected.txt", buffer_text(&out), out.size, 0644,
                                NULL) == 0);
    if (file_read_all(AT_FDCWD, "expected.txt", 1 << 20, &expected, NULL) < 0)
        tap_fail(__FILE__, __LINE__, "%s: expected.txt is missing", name);
    else if (!text_equal(buffer_text(&out), buffer_text(&expected)))
        tap_fail(__FILE__, __LINE__, "%s:\n--- actual\n%s--- expected\n%s", name, buffer_text(&out),
                 buffer_text(&expected));
}

TEST(every_bad_input_gets_its_answer) {
    DIR *folder = opendir(BAD_INPUT);
    unsigned cases = 0;
    REQUIRE(folder);
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        OWN_STRING path = memory_format("%s/%s", BAD_INPUT, entry->d_name);
        OWN_STRING file = memory_format("%s/pipeline.yaml", path ? path : "");
        OWN_STRING command = memory_format("%s/command", path ? path : "");
        if (*entry->d_name == '.' || !file || !command || !file_exists(AT_FDCWD, file) ||
            file_exists(AT_FDCWD, command) || chdir(path) < 0)
            continue;
        run_case(entry->d_name);
        cases++;
    }
    closedir(folder);
    printf("# %u cases\n", cases);
    CHECK(cases > 60);
}

TAP_MAIN
