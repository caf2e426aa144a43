/* The block of lines that shows a run. */
#include "cli/progress.h"
#include "tap.h"

#define NOW 1000000

static struct terminal plain(unsigned width, unsigned height) {
    return (struct terminal){.width = width, .height = height};
}

/* `count` steps; step i has i of 10 tasks done. */
static json_t *status_of(size_t count) {
    json_t *steps = json_array();
    for (size_t i = 0; i < count; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "step-%zu", i);
        int done = (int)(i % 11);
        json_array_append_new(steps,
                              json_pack("{s:s, s:s, s:{s:i, s:i}, s:i, s:b, s:f}", "step", name,
                                        "type", "tool", "tasks", "succeeded", done, "waiting",
                                        10 - done, "total", 10, "expanded", 1, "seconds", 2.0));
    }
    return json_pack("{s:s, s:s, s:I, s:n, s:o, s:[], s:[]}", "run", "demo-1", "state", "running",
                     "started", (json_int_t)(NOW - 5000), "ended", "steps", steps, "waiting",
                     "running");
}

static size_t line_count(const char *text) {
    size_t lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

static size_t widest_line(const char *text) {
    size_t widest = 0;
    while (*text) {
        size_t size = strcspn(text, "\n");
        OWN_STRING line = memory_format("%.*s", (int)size, text);
        size_t width = line ? text_width(line) : 0;
        widest = width > widest ? width : widest;
        text += size + 1;
    }
    return widest;
}

TEST(a_line_a_step) {
    OWN_JSON status = status_of(3);
    struct terminal terminal = plain(60, 24);
    OWN_BUFFER out = {0};
    progress_draw(status, &terminal, NOW, &out);
    CHECK_TEXT(buffer_text(&out), "demo-1  running  5.0s, about 45s left\n"
                                  "  . step-0  .......................  0/10  2.0s each\n"
                                  "  > step-1  ##.....................  1/10  2.0s each\n"
                                  "  > step-2  ####...................  2/10  2.0s each\n");
}

TEST(fits_every_size) {
    for (unsigned height = 1; height < 40; height += 3) {
        for (unsigned width = 1; width < 130; width += 7) {
            OWN_JSON status = status_of(25);
            json_object_set_new(status, "running",
                                json_pack("[{s:s, s:s, s:I}]", "step", "step-3", "partition",
                                          "a-long-partition/of-several-levels/日本語", "started",
                                          (json_int_t)(NOW - 3000)));
            json_object_set_new(status, "waiting",
                                json_pack("[{s:s, s:s, s:s}]", "step", "look", "partition", "p",
                                          "message", "is this one right, do you think?"));
            struct terminal terminal = plain(width, height);
            terminal.unicode = width % 2;
            OWN_BUFFER out = {0};
            progress_draw(status, &terminal, NOW, &out);
            size_t lines = height > 2 ? height - 1 : 1;
            CHECK(line_count(buffer_text(&out)) <= lines);
            /* Below this a step's mark and shortened name have no room; nothing is lost. */
            if (width >= 24)
                CHECK(widest_line(buffer_text(&out)) < width);
        }
    }
}

TEST(a_low_terminal_shows_what_moves) {
    OWN_JSON status = status_of(11);
    struct terminal terminal = plain(80, 6);
    OWN_BUFFER out = {0};
    progress_draw(status, &terminal, NOW, &out);
    CHECK(strstr(buffer_text(&out), "step-1 ") != NULL);
    CHECK(strstr(buffer_text(&out), "step-0 ") == NULL);  /* not begun */
    CHECK(strstr(buffer_text(&out), "step-10 ") == NULL); /* done */
    CHECK(strstr(buffer_text(&out), "and 8 more steps") != NULL);
}

TEST(names_cannot_drive_the_terminal) {
    OWN_JSON status = status_of(1);
    json_object_set_new(status, "running",
                        json_pack("[{s:s, s:s, s:I}]", "step", "step-0", "partition", "\033[2J\n",
                                  "started", (json_int_t)NOW));
    struct terminal terminal = plain(80, 24);
    OWN_BUFFER out = {0};
    progress_draw(status, &terminal, NOW, &out);
    CHECK(strchr(buffer_text(&out), '\033') == NULL);
    CHECK(strstr(buffer_text(&out), "now: step-0@\\x1b[2J\\n\n") != NULL);
}

TEST(no_estimate_from_too_little) {
    OWN_JSON status = status_of(2); /* one task has finished */
    CHECK_INTEGER(progress_left(status, NOW), -1);
    OWN_JSON more = status_of(4); /* 0 + 1 + 2 + 3 done of 40: 12 s of work in 5 s */
    CHECK_INTEGER(progress_left(more, NOW), 34 * 2 * 1000 * 5 / 12);
    json_object_set_new(json_array_get(json_object_get(more, "steps"), 3), "expanded",
                        json_false());
    CHECK_INTEGER(progress_left(more, NOW), -1);
}

TEST(fields_are_cut_and_padded) {
    OWN_BUFFER out = {0};
    text_append_field(&out, "abcdef", 4, false);
    text_append_field(&out, "ab", 4, false);
    text_append_field(&out, "日本語", 4, true);
    CHECK_TEXT(buffer_text(&out), "abc>ab  日… ");
}

TEST(arguments_are_quoted_for_the_shell) {
    OWN_BUFFER out = {0};
    text_append_task_argument(&out, "look", "p 1/it's");
    buffer_append_char(&out, ' ');
    text_append_task_argument(&out, "look", "");
    CHECK_TEXT(buffer_text(&out), "'look@p 1/it'\\''s' look");
}

TEST(times) {
    OWN_JSON object = json_pack("{s:s, s:s, s:n, s:i}", "a", "1970-01-01T00:00:01.250Z", "b",
                                "1970-01-02T00:00:00Z", "c", "d", 7);
    CHECK_INTEGER(json_time(object, "a"), 1250);
    CHECK_INTEGER(json_time(object, "b"), 86400000);
    CHECK_INTEGER(json_time(object, "c"), -1);
    CHECK_INTEGER(json_time(object, "d"), 7);
    CHECK_INTEGER(json_time(object, "e"), -1);
}

TAP_MAIN
