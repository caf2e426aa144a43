/* The block of lines that shows a run; a function of its status, the time and the terminal. */
#include "cli/progress.h"

#define NAME_MAXIMUM   28
#define BAR_MAXIMUM    32
#define NAMES_RUNNING  3
#define LINES_WAITING  3
#define ESTIMATE_TASKS 3 /* means of fewer finished tasks say too little */

struct picture {
    const struct terminal *terminal;
    const json_t *status;
    int64_t now;
    unsigned width;  /* of a line */
    unsigned name;   /* columns of the longest step name */
    unsigned counts; /* columns of the longest "12/345" */
    unsigned bar;
    struct buffer *out;
};

static int64_t done_of(const json_t *counts) {
    return json_count(counts, "succeeded") + json_count(counts, "reused") +
           json_count(counts, "skipped") + json_count(counts, "failed") +
           json_count(counts, "cancelled");
}

/* ------------------------------------------------------------------- estimate */

static bool waits_for_people(const json_t *step) {
    const char *type = json_get_string(step, "type", "");
    return text_starts_with(type, "manual") || text_equal(type, "wait");
}

/* Work that was done and work that is left, in seconds of tasks. A step that has not finished a
 * task yet is taken to be like the mean of those that have. */
struct work {
    double done, left, mean;
    int64_t finished;
};

static void add_work(const json_t *step, struct work *work, bool left) {
    const json_t *counts = json_object_get(step, "tasks");
    const json_t *seconds = json_object_get(step, "seconds");
    int64_t ran = json_count(counts, "succeeded") + json_count(counts, "failed");
    if (!left) {
        if (json_is_number(seconds) && ran > 0) {
            work->done += json_number_value(seconds) * (double)ran;
            work->finished += ran;
        }
        return;
    }
    int64_t remaining = json_get_integer(step, "total", 0) - done_of(counts);
    if (waits_for_people(step) || remaining <= 0)
        return;
    double mean = json_is_number(seconds) ? json_number_value(seconds) : work->mean;
    work->left += mean * (double)remaining;
}

int64_t progress_left(const json_t *status, int64_t now) {
    const json_t *steps = json_object_get(status, "steps");
    int64_t started = json_time(status, "started");
    struct work work = {0};
    size_t i;
    const json_t *step;
    json_array_foreach(steps, i, step) add_work(step, &work, false);
    if (started < 0 || now <= started || work.finished < ESTIMATE_TASKS || work.done <= 0)
        return -1;
    work.mean = work.done / (double)work.finished;
    json_array_foreach(steps, i, step) {
        if (json_is_false(json_object_get(step, "expanded")))
            return -1;
        add_work(step, &work, true);
    }
    /* How much work a second of the clock does, as seen so far. */
    double pace = work.done * 1000 / (double)(now - started);
    if (pace < 0.05)
        return -1;
    return (int64_t)(work.left * 1000 / pace);
}

/* ---------------------------------------------------------------------- lines */

static void end_line(struct picture *picture) {
    buffer_append_char(picture->out, '\n');
}

/* Text cut to the columns that are left in the line. */
static void rest_of_line(struct picture *picture, const char *text, unsigned used,
                         enum style style) {
    unsigned room = picture->width > used ? picture->width - used : 0;
    size_t width = text_width(text);
    style_begin(picture->out, picture->terminal->colour, style);
    text_append_field(picture->out, text, (unsigned)(width < room ? width : room),
                      picture->terminal->unicode);
    style_end(picture->out, picture->terminal->colour, style);
}

static void draw_head(struct picture *picture) {
    const json_t *status = picture->status;
    OWN_BUFFER text = {0};
    const char *name = json_get_string(status, "run", ""),
               *state = json_get_string(status, "state", "");
    int64_t started = json_time(status, "started"), ended = json_time(status, "ended");
    int64_t now = ended >= 0 ? ended : picture->now;
    if (started >= 0) {
        buffer_append(&text, "  ");
        text_format_duration(&text, now > started ? now - started : 0);
    }
    int64_t left = text_equal(state, "running") ? progress_left(status, picture->now) : -1;
    if (left >= 0) {
        buffer_append(&text, left < 10000 ? ", a few seconds" : ", about ");
        if (left >= 10000)
            text_format_duration(&text, left);
        buffer_append(&text, " left");
    }
    unsigned used = (unsigned)(text_width(name) + 2 + strlen(state));
    if (used > picture->width) {
        rest_of_line(picture, name, 0, STYLE_STRONG);
    } else {
        style_text(picture->out, picture->terminal->colour, STYLE_STRONG, name);
        buffer_append(picture->out, "  ");
        style_text(picture->out, picture->terminal->colour, style_of_state(state), state);
        rest_of_line(picture, buffer_text(&text), used, STYLE_PLAIN);
    }
    end_line(picture);
}

enum mark { MARK_IDLE, MARK_BUSY, MARK_ASK, MARK_DONE, MARK_SKIPPED, MARK_BAD };
static enum mark mark_of(const json_t *step) {
    const json_t *counts = json_object_get(step, "tasks");
    int64_t total = json_get_integer(step, "total", 0), done = done_of(counts);
    if (json_count(counts, "failed") + json_count(counts, "cancelled") > 0)
        return MARK_BAD;
    if (json_count(counts, "deciding") > 0)
        return MARK_ASK;
    if (json_count(counts, "running") + json_count(counts, "sleeping") > 0)
        return MARK_BUSY;
    if (total == 0 || done < total || json_is_false(json_object_get(step, "expanded")))
        return done > 0 ? MARK_BUSY : MARK_IDLE;
    return json_count(counts, "skipped") == total ? MARK_SKIPPED : MARK_DONE;
}

static void draw_mark(struct picture *picture, enum mark mark) {
    static const struct {
        const char *unicode, *ascii;
        enum style style;
    } marks[] = {
        [MARK_IDLE] = {"·", ".", STYLE_FAINT},    [MARK_BUSY] = {"▸", ">", STYLE_BUSY},
        [MARK_ASK] = {"?", "?", STYLE_ASK},       [MARK_DONE] = {"✓", "+", STYLE_GOOD},
        [MARK_SKIPPED] = {"-", "-", STYLE_FAINT}, [MARK_BAD] = {"✗", "x", STYLE_BAD},
    };
    style_text(picture->out, picture->terminal->colour, marks[mark].style,
               picture->terminal->unicode ? marks[mark].unicode : marks[mark].ascii);
}

/* Columns of the bar for each part; what there is at least one of gets at least one column. */
static void draw_bar(struct picture *picture, const json_t *counts, int64_t total) {
    static const struct {
        const char *state, *unicode, *ascii;
        enum style style;
    } parts[] = {
        {"succeeded", "█", "#", STYLE_GOOD}, {"reused", "█", "#", STYLE_GOOD},
        {"skipped", "▒", "-", STYLE_FAINT},  {"failed", "█", "X", STYLE_BAD},
        {"cancelled", "▒", "X", STYLE_BAD},  {"running", "▓", "=", STYLE_BUSY},
        {"sleeping", "▓", "=", STYLE_BUSY},  {"deciding", "▓", "?", STYLE_ASK},
    };
    unsigned left = picture->bar;
    int64_t sum = 0;
    bool unicode = picture->terminal->unicode;
    for (size_t i = 0; i < ARRAY_SIZE(parts) && total > 0; i++) {
        int64_t count = json_count(counts, parts[i].state);
        if (count <= 0)
            continue;
        /* Where this part ends, counted from the start: rounding does not add up. */
        sum += count;
        unsigned begin = picture->bar - left, end = (unsigned)(sum * picture->bar / total);
        unsigned columns = end > begin ? end - begin : 1;
        columns = columns > left ? left : columns;
        style_begin(picture->out, picture->terminal->colour, parts[i].style);
        for (unsigned c = 0; c < columns; c++)
            buffer_append(picture->out, unicode ? parts[i].unicode : parts[i].ascii);
        style_end(picture->out, picture->terminal->colour, parts[i].style);
        left -= columns;
    }
    if (left == 0)
        return;
    style_begin(picture->out, picture->terminal->colour, STYLE_FAINT);
    for (; left > 0; left--)
        buffer_append(picture->out, unicode ? "░" : ".");
    style_end(picture->out, picture->terminal->colour, STYLE_FAINT);
}

static void count_text(const json_t *step, struct buffer *out) {
    int64_t done = done_of(json_object_get(step, "tasks")),
            total = json_get_integer(step, "total", 0);
    bool open = json_is_false(json_object_get(step, "expanded"));
    if (open && total == 0)
        buffer_format(out, "%lld/?", (long long)done);
    else
        buffer_format(out, "%lld/%lld%s", (long long)done, (long long)total, open ? "+" : "");
}

static void note_text(const json_t *step, struct buffer *out) {
    static const struct {
        const char *state, *say;
    } notes[] = {
        {"failed", "failed"},   {"cancelled", "cancelled"}, {"deciding", "for you to decide"},
        {"running", "running"}, {"sleeping", "sleeping"},   {"reused", "reused"},
        {"skipped", "skipped"},
    };
    const json_t *counts = json_object_get(step, "tasks");
    for (size_t i = 0; i < ARRAY_SIZE(notes); i++) {
        int64_t count = json_count(counts, notes[i].state);
        if (count > 0)
            buffer_format(out, "%s%lld %s", out->size ? ", " : "", (long long)count, notes[i].say);
    }
    const json_t *seconds = json_object_get(step, "seconds");
    if (json_is_number(seconds) && json_number_value(seconds) >= 0.05) {
        buffer_append(out, out->size ? ", " : "");
        text_format_duration(out, (int64_t)(json_number_value(seconds) * 1000));
        if (json_get_integer(step, "total", 0) > 1)
            buffer_append(out, " each");
    }
}

static void draw_step(struct picture *picture, const json_t *step) {
    OWN_BUFFER counts = {0}, note = {0};
    count_text(step, &counts);
    note_text(step, &note);
    buffer_append(picture->out, "  ");
    draw_mark(picture, mark_of(step));
    buffer_append_char(picture->out, ' ');
    text_append_field(picture->out, json_step(step), picture->name, picture->terminal->unicode);
    buffer_append(picture->out, "  ");
    unsigned used = 4 + picture->name + 2;
    if (picture->bar > 0) {
        draw_bar(picture, json_object_get(step, "tasks"), json_get_integer(step, "total", 0));
        buffer_append(picture->out, "  ");
        used += picture->bar + 2;
    }
    unsigned pad = picture->counts - (unsigned)counts.size;
    if (used + picture->counts <= picture->width) {
        buffer_append_repeat(picture->out, ' ', pad);
        buffer_append(picture->out, buffer_text(&counts));
        used += picture->counts;
        if (note.size && used + 2 < picture->width) {
            buffer_append(picture->out, "  ");
            rest_of_line(picture, buffer_text(&note), used + 2, STYLE_FAINT);
        }
    }
    end_line(picture);
}

static void draw_running(struct picture *picture) {
    const json_t *running = json_object_get(picture->status, "running");
    OWN_BUFFER text = {0};
    size_t i;
    const json_t *task;
    json_array_foreach(running, i, task) {
        if (i >= NAMES_RUNNING)
            break;
        buffer_append(&text, i ? ", " : "");
        text_append_task(&text, json_step(task), json_partition(task));
        int64_t started = json_time(task, "started");
        if (started >= 0 && picture->now - started >= 1000) {
            buffer_append_char(&text, ' ');
            text_format_duration(&text, (picture->now - started) / 1000 * 1000);
        }
    }
    if (json_array_size(running) > NAMES_RUNNING)
        buffer_append(&text, picture->terminal->unicode ? ", …" : ", ...");
    buffer_append(picture->out, "  now: ");
    rest_of_line(picture, buffer_text(&text), 7, STYLE_PLAIN);
    end_line(picture);
}

static void draw_waiting(struct picture *picture, unsigned most) {
    const json_t *waiting = json_object_get(picture->status, "waiting");
    size_t i;
    const json_t *task;
    json_array_foreach(waiting, i, task) {
        if (i >= most)
            return;
        OWN_BUFFER text = {0};
        text_append_task(&text, json_step(task), json_partition(task));
        const char *message = json_get_string(task, "message", "");
        buffer_append(&text, *message ? ": " : "");
        text_append_printable(&text, message);
        buffer_append(picture->out, "  ");
        style_text(picture->out, picture->terminal->colour, STYLE_ASK, "waits for you: ");
        rest_of_line(picture, buffer_text(&text), 17, STYLE_PLAIN);
        end_line(picture);
    }
}

/* --------------------------------------------------------------------- layout */

static void measure(struct picture *picture, const json_t *steps) {
    size_t i;
    const json_t *step;
    unsigned name = 4, counts = 3;
    json_array_foreach(steps, i, step) {
        OWN_BUFFER text = {0};
        count_text(step, &text);
        unsigned width = (unsigned)text_width(json_step(step));
        name = width > name ? width : name;
        counts = text.size > counts ? (unsigned)text.size : counts;
    }
    name = name > NAME_MAXIMUM ? NAME_MAXIMUM : name;
    unsigned third = picture->width / 3;
    picture->name = name > third && third > 4 ? third : name;
    picture->counts = counts;
    /* 4 before the name, 2 around the bar, and 16 for the note if they can be had. */
    unsigned fixed = 4 + picture->name + 2 + counts + 2;
    unsigned room = picture->width > fixed + 18 ? picture->width - fixed - 18 : 0;
    picture->bar = room > BAR_MAXIMUM ? BAR_MAXIMUM : room < 4 ? 0 : room;
}

/* When the terminal is lower than the run has steps: those that move or need somebody come first,
 * then what is next, then what is done; shown in the pipeline's order. */
static unsigned rank_of(const json_t *step) {
    switch (mark_of(step)) {
    case MARK_BAD:
    case MARK_ASK:
        return 0;
    case MARK_BUSY:
        return 1;
    case MARK_IDLE:
        return 2;
    default:
        return 3;
    }
}

static void draw_steps(struct picture *picture, const json_t *steps, size_t lines) {
    size_t total = json_array_size(steps), i;
    const json_t *step;
    if (total <= lines) {
        json_array_foreach(steps, i, step) draw_step(picture, step);
        return;
    }
    /* How many of each rank there is room for, one line being kept for what is left out. */
    size_t room = lines > 0 ? lines - 1 : 0, shown = 0, allowed[4] = {0};
    for (unsigned rank = 0; rank < 4; rank++) {
        json_array_foreach(steps, i, step) {
            if (rank_of(step) == rank && shown < room) {
                allowed[rank]++;
                shown++;
            }
        }
    }
    json_array_foreach(steps, i, step) {
        unsigned rank = rank_of(step);
        if (allowed[rank] == 0)
            continue;
        allowed[rank]--;
        draw_step(picture, step);
    }
    if (lines > 0) {
        OWN_STRING more = memory_format("and %zu more steps", total - shown);
        buffer_append(picture->out, "    ");
        rest_of_line(picture, more ? more : "", 4, STYLE_FAINT);
        end_line(picture);
    }
}

void progress_draw(const json_t *status, const struct terminal *terminal, int64_t now,
                   struct buffer *out) {
    const json_t *steps = json_object_get(status, "steps");
    /* The last column stays free: some terminals wrap when it is written. */
    struct picture picture = {.terminal = terminal,
                              .status = status,
                              .now = now,
                              .width = terminal->width > 1 ? terminal->width - 1 : 1,
                              .out = out};
    measure(&picture, steps);
    unsigned lines = terminal->height > 2 ? terminal->height - 1 : 1;
    size_t waiting = json_array_size(json_object_get(status, "waiting"));
    waiting = waiting > LINES_WAITING ? LINES_WAITING : waiting;
    bool running = json_array_size(json_object_get(status, "running")) > 0;
    size_t below = waiting + (running ? 1 : 0);
    if (lines < 3 + below) { /* a very low terminal: the head and what fits of the steps */
        below = 0;
        running = false;
        waiting = 0;
    }
    draw_head(&picture);
    if (lines > 1)
        draw_steps(&picture, steps, lines - 1 - below);
    if (running)
        draw_running(&picture);
    draw_waiting(&picture, (unsigned)waiting);
}
