/*
 * doc/pipeline.md against the program: its tables of keys are those of the language's table, and
 * every example that is a whole pipeline loads. UPDATE_EXPECTED=1 writes the tables anew.
 */
#include "pipeline/pipeline.h"
#include "tap.h"

#include <fcntl.h>
#include <stdlib.h>

static void cell(struct buffer *out, const char *text) {
    for (; *text; text++) {
        if (*text == '|')
            buffer_append_char(out, '\\');
        buffer_append_char(out, *text);
    }
}

static void table(struct buffer *out, const char *where) {
    buffer_append(out, "| key | what it says | its value | example |\n|---|---|---|---|\n");
    for (size_t i = 0; i < language_key_count; i++) {
        const struct language_key *key = &language_keys[i];
        if (!text_equal(key->where, where))
            continue;
        buffer_format(out, "| `%s` | ", key->name);
        cell(out, key->help);
        if (key->steps)
            buffer_format(out, " (%s)", key->steps);
        buffer_append(out, " | ");
        cell(out, key->type);
        buffer_append(out, " | `");
        cell(out, key->example);
        buffer_append(out, "` |\n");
    }
}

#define OPEN  "<!-- keys of "
#define CLOSE "<!-- end of keys -->"

/* The document with every table made anew. `found` gets the names of the tables. */
static void fill(const char *text, struct buffer *out, struct buffer *found) {
    for (;;) {
        const char *open = strstr(text, OPEN), *end = open ? strstr(open, " -->\n") : NULL;
        const char *close = end ? strstr(end, CLOSE) : NULL;
        if (!close)
            break;
        OWN_STRING where =
            memory_copy_bytes(open + strlen(OPEN), (size_t)(end - open) - strlen(OPEN));
        buffer_append_bytes(out, text, (size_t)(end + strlen(" -->\n") - text));
        table(out, where);
        buffer_format(found, " %s ", where);
        text = close;
    }
    buffer_append(out, text);
}

TEST(the_manual_has_every_key) {
    OWN_BUFFER text = {0};
    OWN_BUFFER out = {0};
    OWN_BUFFER found = {0};
    REQUIRE(file_read_all(AT_FDCWD, MANUAL, 1 << 20, &text, NULL) == 0);
    fill(buffer_text(&text), &out, &found);
    if (getenv("UPDATE_EXPECTED"))
        CHECK(file_write_atomic(AT_FDCWD, MANUAL, buffer_text(&out), out.size, 0644, NULL) == 0);
    else
        CHECK(text_equal(buffer_text(&out), buffer_text(&text)));
    for (size_t i = 0; i < language_key_count; i++) {
        OWN_STRING where = memory_format(" %s ", language_keys[i].where);
        if (!strstr(buffer_text(&found), where))
            tap_fail(__FILE__, __LINE__, "no table of the keys of%s", where);
        CHECK(*language_keys[i].help && language_keys[i].example && *language_keys[i].example);
    }
}

static bool is_whole(const char *text) {
    return text_starts_with(text, "steps:") || strstr(text, "\nsteps:");
}

static void load_example(const char *text, unsigned line) {
    const struct pipeline_options options = {.can_run_images = true};
    struct diagnostics diagnostics = {0};
    OWN_BUFFER said = {0};
    OWN_STRING name = memory_format("doc/pipeline.md, from line %u", line);
    OWN_PIPELINE pipeline = pipeline_parse(text, strlen(text), name, &options, &diagnostics, NULL);
    diagnostics_print(&diagnostics, false, &said);
    if (diagnostics.count)
        tap_fail(__FILE__, __LINE__, "%s", buffer_text(&said));
    CHECK(pipeline != NULL);
    diagnostics_release(&diagnostics);
}

TEST(the_manuals_examples_load) {
    OWN_BUFFER text = {0};
    unsigned line = 1, examples = 0;
    REQUIRE(file_read_all(AT_FDCWD, MANUAL, 1 << 20, &text, NULL) == 0);
    const char *at = buffer_text(&text);
    for (const char *open; (open = strstr(at, "```yaml\n"));) {
        const char *from = open + strlen("```yaml\n"), *end = strstr(from, "```\n");
        REQUIRE(end != NULL);
        for (; at < from; at++)
            line += *at == '\n';
        OWN_STRING example = memory_copy_bytes(from, (size_t)(end - from));
        if (is_whole(example)) {
            load_example(example, line);
            examples++;
        }
        for (end += strlen("```\n"); at < end; at++)
            line += *at == '\n';
    }
    printf("# %u examples\n", examples);
    CHECK(examples >= 10);
}

TAP_MAIN
