/* Live progress: when to ask, and where to show it. */
#include "cli/progress.h"
#include "cli/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define REDRAW_INTERVAL 125
#define EVENTS_AT_ONCE  1000
#define MANY_PARTITIONS 50 /* steps of more report every tenth, not every task */
#define STEPS_MAXIMUM   10000

struct progress {
    struct engine *engine;
    char *run;
    enum { SHOW_NOTHING, SHOW_BLOCK, SHOW_LINES } how;
    struct terminal terminal;
    int64_t due;   /* monotonic time of the next look */
    bool troubled; /* the engine could not be asked; it will say so itself */
    /* SHOW_BLOCK */
    unsigned *widths; /* of the lines that stand on the terminal */
    size_t lines, line_capacity;
    int log_fd; /* messages of the log wait here until they can be shown above the block */
    off_t log_shown;
    /* SHOW_LINES */
    int64_t event;       /* the last one that was shown */
    unsigned char *tens; /* of each step, by its place: how many tenths were reported */
    size_t ten_count;
};

static void redirect_log(struct progress *progress) {
    progress->log_fd = memfd_create("glovebox-log", MFD_CLOEXEC);
    if (progress->log_fd < 0)
        return;
    (void)fcntl(progress->log_fd, F_SETFL, O_APPEND);
    for (int level = LOG_DEBUG; level >= LOG_ERROR; level--)
        if (log_enabled((enum log_level)level)) {
            log_configure((enum log_level)level, false, progress->log_fd);
            return;
        }
}

static void restore_log(struct progress *progress) {
    if (progress->log_fd < 0)
        return;
    for (int level = LOG_DEBUG; level >= LOG_ERROR; level--)
        if (log_enabled((enum log_level)level)) {
            log_configure((enum log_level)level, false, STDERR_FILENO);
            break;
        }
    file_close(&progress->log_fd);
}

/* Events before now are not news: a run that is taken up again has many. */
static int skip_events(struct progress *progress, struct error **err) {
    for (;;) {
        OWN_JSON events =
            engine_events(progress->engine, progress->run, progress->event, EVENTS_AT_ONCE, err);
        if (!events)
            return -1;
        size_t count = json_array_size(events);
        if (count > 0)
            progress->event = json_get_integer(json_array_get(events, count - 1), "id", 0);
        if (count < EVENTS_AT_ONCE)
            return 0;
    }
}

struct progress *progress_new(const struct invocation *invocation, struct engine *engine,
                              const char *run, struct error **err) {
    OWN_PROGRESS progress = memory_allocate(sizeof(*progress));
    if (progress)
        progress->log_fd = -1;
    if (!progress || !(progress->run = memory_copy_string(run))) {
        error_set_memory(err);
        return NULL;
    }
    progress->engine = engine;
    terminal_examine(invocation, STDERR_FILENO, &progress->terminal);
    if (given_flag(invocation, "quiet"))
        progress->how = SHOW_NOTHING;
    else
        progress->how = progress->terminal.is_terminal ? SHOW_BLOCK : SHOW_LINES;
    if (progress->how == SHOW_BLOCK)
        redirect_log(progress);
    if (progress->how == SHOW_LINES && skip_events(progress, err) < 0)
        return NULL;
    return take(&progress);
}

void progress_free(struct progress *progress) {
    if (!progress)
        return;
    restore_log(progress);
    memory_free(progress->run);
    memory_free(progress->widths);
    memory_free(progress->tens);
    memory_free(progress);
}

void progress_cleanup(struct progress **progress) {
    progress_free(*progress);
    *progress = NULL;
}

static void write_out(const struct buffer *out) {
    /* Nobody to tell when the terminal is gone. */
    if (file_write_all(STDERR_FILENO, buffer_text(out), out->size, NULL) < 0)
        return;
}

/* ---------------------------------------------------------------------- block */

/* Moves to the first line of the block. After a resize its lines may have wrapped. */
static void rewind_block(struct progress *progress, struct buffer *out) {
    size_t rows = 0;
    for (size_t i = 0; i < progress->lines; i++) {
        unsigned width = progress->widths[i], columns = progress->terminal.width;
        rows += width == 0 ? 1 : (width + columns - 1) / columns;
    }
    if (rows > 0)
        buffer_format(out, "\033[%zuA", rows);
    buffer_append(out, "\r\033[J");
    progress->lines = 0;
}

/* What was logged since the last look, above the block. */
static void show_log(struct progress *progress, struct buffer *out) {
    char text[4096];
    ssize_t size;
    while (progress->log_fd >= 0 &&
           (size = pread(progress->log_fd, text, sizeof(text), progress->log_shown)) > 0) {
        buffer_append_bytes(out, text, (size_t)size);
        progress->log_shown += size;
    }
}

/* Remembers the widths of the lines, without their escape sequences. */
static void remember_lines(struct progress *progress, const char *text) {
    unsigned width = 0;
    while (*text) {
        if (*text == '\033') {
            text += strcspn(text, "m");
            text += *text == 'm';
            continue;
        }
        if (*text == '\n') {
            if (array_reserve(&progress->widths, &progress->line_capacity, progress->lines,
                              sizeof(*progress->widths), STEPS_MAXIMUM, NULL) < 0)
                return;
            progress->widths[progress->lines++] = width;
            width = 0;
        } else if (((unsigned char)*text & 0xc0) != 0x80) {
            width++;
        }
        text++;
    }
}

static void show_block(struct progress *progress, const json_t *status) {
    OWN_BUFFER out = {0}, block = {0};
    terminal_resize(STDERR_FILENO, &progress->terminal);
    progress_draw(status, &progress->terminal, clock_wall(), &block);
    rewind_block(progress, &out);
    show_log(progress, &out);
    buffer_append(&out, buffer_text(&block));
    remember_lines(progress, buffer_text(&block));
    write_out(&out);
}

/* ---------------------------------------------------------------------- lines */

static void line_begin(struct buffer *out) {
    time_t now = (time_t)(clock_wall() / 1000);
    struct tm parts;
    char text[16] = "";
    if (localtime_r(&now, &parts))
        (void)strftime(text, sizeof(text), "%H:%M:%S", &parts);
    buffer_format(out, "%s  ", text);
}

static bool is_final(const char *state) {
    for (int i = TASK_SUCCEEDED; i < TASK_STATE_COUNT; i++)
        if (text_equal(state, task_state_name((enum task_state)i)))
            return true;
    return false;
}

static bool has_many(const json_t *steps, const char *step) {
    size_t i;
    const json_t *one;
    json_array_foreach(steps, i, one) if (text_equal(json_step(one), step)) return json_get_integer(
        one, "total", 0) > MANY_PARTITIONS;
    return false;
}

static void show_event(struct progress *progress, const json_t *event, const json_t *steps,
                       struct buffer *out) {
    const char *step = json_step(event), *state = json_get_string(event, "data", "");
    if (!text_equal(json_get_string(event, "kind", ""), "state") || !*step)
        return;
    bool asks = text_equal(state, "deciding"), failed = text_equal(state, "failed");
    if (!asks && (!is_final(state) || (has_many(steps, step) && !failed)))
        return;
    line_begin(out);
    text_append_task(out, step, json_partition(event));
    buffer_append(out, "  ");
    style_text(out, progress->terminal.colour, style_of_state(state),
               asks ? "waits for a decision" : state);
    buffer_append_char(out, '\n');
}

static void show_tenths(struct progress *progress, const json_t *steps, struct buffer *out) {
    size_t count = json_array_size(steps), i;
    const json_t *step;
    if (!progress->tens && count > 0) {
        progress->tens = memory_allocate(count);
        progress->ten_count = progress->tens ? count : 0;
    }
    json_array_foreach(steps, i, step) {
        const json_t *counts = json_object_get(step, "tasks");
        int64_t total = json_get_integer(step, "total", 0), done = 0;
        for (int state = TASK_SUCCEEDED; state < TASK_STATE_COUNT; state++)
            done += json_count(counts, task_state_name((enum task_state)state));
        if (total <= MANY_PARTITIONS || i >= progress->ten_count)
            continue;
        unsigned char tenth = (unsigned char)(done * 10 / total);
        if (tenth <= progress->tens[i])
            continue;
        progress->tens[i] = tenth;
        line_begin(out);
        text_append_printable(out, json_step(step));
        buffer_format(out, "  %lld of %lld done", (long long)done, (long long)total);
        int64_t failed = json_count(counts, "failed");
        if (failed > 0)
            buffer_format(out, ", %lld failed", (long long)failed);
        buffer_append_char(out, '\n');
    }
}

static void show_lines(struct progress *progress, const json_t *status) {
    const json_t *steps = json_object_get(status, "steps");
    OWN_BUFFER out = {0};
    size_t count;
    do {
        OWN_JSON events =
            engine_events(progress->engine, progress->run, progress->event, EVENTS_AT_ONCE, NULL);
        count = json_array_size(events);
        size_t i;
        const json_t *event;
        json_array_foreach(events, i, event) {
            show_event(progress, event, steps, &out);
            progress->event = json_get_integer(event, "id", progress->event);
        }
    } while (count == EVENTS_AT_ONCE);
    show_tenths(progress, steps, &out);
    if (out.size > 0)
        write_out(&out);
}

/* --------------------------------------------------------------------- public */

void progress_show(struct progress *progress, bool now) {
    int64_t begin = clock_monotonic();
    if (progress->how == SHOW_NOTHING || progress->troubled || (!now && begin < progress->due))
        return;
    OWN_ERROR error = NULL;
    OWN_JSON status = engine_status(progress->engine, progress->run, &error);
    if (!status) {
        progress->troubled = true;
        return;
    }
    if (progress->how == SHOW_BLOCK)
        show_block(progress, status);
    else
        show_lines(progress, status);
    /* A large run is looked at less often, so that looking takes at most a twentieth. */
    int64_t took = clock_monotonic() - begin;
    progress->due = begin + (took * 20 > REDRAW_INTERVAL ? took * 20 : REDRAW_INTERVAL);
}

void progress_end(struct progress *progress) {
    progress_show(progress, true);
    if (progress->how == SHOW_BLOCK) {
        OWN_BUFFER out = {0};
        show_log(progress, &out);
        write_out(&out);
    }
    restore_log(progress);
    progress->how = SHOW_NOTHING;
}
