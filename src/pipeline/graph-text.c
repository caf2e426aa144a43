/* The graph for a terminal: boxes in layers, or a list where that would not fit. */
#include "pipeline/private-graph.h"

#include <stdlib.h>

enum direction { UP = 1, DOWN = 2, LEFT = 4, RIGHT = 8 };
enum { BOX_LINES = 2, TEXT_MAXIMUM = 256 };

struct canvas {
    uint8_t *lines; /* directions in each cell */
    struct label {
        size_t row;
        long column;
        char text[TEXT_MAXIMUM];
        const char *colour;
    } * labels;
    size_t rows, label_count, label_capacity;
    long columns;
};

struct drawing {
    const struct pipeline *pipeline;
    const char *const *states;
    struct layout layout;
    struct canvas canvas;
    size_t *layer_rows;  /* top row of each layer */
    size_t *tracks;      /* of each link: its row in the channel, from 0 */
    size_t *track_count; /* of each channel */
    size_t box_lines;
    size_t id_width; /* longest name before it is cut */
    bool *failed;    /* set where there was no memory for a text */
};

/* ------------------------------------------------------------------------ texts */

/* At most `width` columns; what is cut off shows as "…". */
static void fit(const struct buffer *text, size_t width, bool *failed, char out[TEXT_MAXIMUM]) {
    OWN_BUFFER shown = {0};
    text_append_printable(&shown, buffer_text(text));
    *failed |= text->failed || shown.failed;
    size_t size = shown.size < TEXT_MAXIMUM - 4 ? shown.size : TEXT_MAXIMUM - 4;
    memcpy(out, buffer_text(&shown), size);
    out[size] = '\0';
    if (text_width(out) <= width)
        return;
    while (size && text_width(out) + 1 > width) {
        do
            size--;
        while (size && ((unsigned char)out[size] & 0xC0) == 0x80);
        out[size] = '\0';
    }
    memcpy(out + size, "…", sizeof("…"));
}

static void box_text(const struct drawing *drawing, const struct step *step, size_t line,
                     char out[TEXT_MAXIMUM]) {
    OWN_BUFFER text = {0};
    if (line == 0) {
        buffer_append(&text, step->id);
        if (step->axis_count)
            buffer_append_char(&text, ' ');
        graph_axis(drawing->pipeline, step, &text);
    } else if (line == 1) {
        graph_describe(step, &text);
    } else if (drawing->states[step->index]) {
        buffer_append(&text, drawing->states[step->index]);
    }
    fit(&text, drawing->id_width, drawing->failed, out);
}

static long box_width(const struct drawing *drawing, const struct step *step) {
    size_t width = 0;
    for (size_t line = 0; line < drawing->box_lines; line++) {
        char text[TEXT_MAXIMUM];
        box_text(drawing, step, line, text);
        size_t columns = text_width(text);
        width = columns > width ? columns : width;
    }
    return (long)width + 4;
}

static const char *state_colour(const char *state) {
    static const struct {
        const char *word, *colour;
    } rows[] = {{"succeeded", "32"}, {"reused", "32"},   {"failed", "31"},  {"running", "36"},
                {"deciding", "33"},  {"sleeping", "33"}, {"skipped", "90"}, {"cancelled", "35"}};
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (strstr(state, rows[i].word))
            return rows[i].colour;
    return NULL;
}

/* ----------------------------------------------------------------------- canvas */

static void draw(struct canvas *canvas, size_t row, long column, unsigned directions) {
    if (row < canvas->rows && column >= 0 && column < canvas->columns)
        canvas->lines[row * (size_t)canvas->columns + (size_t)column] |= (uint8_t)directions;
}

static void draw_across(struct canvas *canvas, size_t row, long from, long to) {
    if (from > to) {
        long swap = from;
        from = to;
        to = swap;
    }
    for (long column = from; column <= to; column++)
        draw(canvas, row, column, (column > from ? LEFT : 0u) | (column < to ? RIGHT : 0u));
}

static void draw_down(struct canvas *canvas, size_t from, size_t to, long column) {
    for (size_t row = from; row <= to; row++)
        draw(canvas, row, column, (row > from ? UP : 0u) | (row < to ? DOWN : 0u));
}

static int draw_text(struct canvas *canvas, size_t row, long column, const char *text,
                     const char *colour, struct error **err) {
    if (array_reserve(&canvas->labels, &canvas->label_capacity, canvas->label_count,
                      sizeof(*canvas->labels), 10000, err) < 0)
        return -1;
    struct label *label = &canvas->labels[canvas->label_count++];
    label->row = row;
    label->column = column;
    label->colour = colour;
    snprintf(label->text, sizeof(label->text), "%s", text);
    return 0;
}

static const char *const glyphs[16] = {" ", "│", "│", "│", "─", "┘", "┐", "┤",
                                       "─", "└", "┌", "├", "─", "┴", "┬", "┼"};

static int by_column(const void *left, const void *right) {
    const struct label *a = left, *b = right;
    if (a->row != b->row)
        return a->row < b->row ? -1 : 1;
    return a->column < b->column ? -1 : a->column > b->column;
}

static void print_row(const struct canvas *canvas, size_t row, size_t *label, bool colour,
                      struct buffer *out) {
    long last = -1;
    for (long column = 0; column < canvas->columns; column++)
        if (canvas->lines[row * (size_t)canvas->columns + (size_t)column])
            last = column;
    for (long column = 0; column <= last; column++) {
        const struct label *next = *label < canvas->label_count ? &canvas->labels[*label] : NULL;
        if (next && next->row == row && next->column == column) {
            bool coloured = colour && next->colour;
            buffer_format(out, "%s%s%s%s%s", coloured ? "\x1b[" : "", coloured ? next->colour : "",
                          coloured ? "m" : "", next->text, coloured ? "\x1b[0m" : "");
            column += (long)text_width(next->text) - 1;
            ++*label;
            continue;
        }
        buffer_append(out, glyphs[canvas->lines[row * (size_t)canvas->columns + (size_t)column]]);
    }
    buffer_append(out, "\n");
}

static void print(struct canvas *canvas, bool colour, struct buffer *out) {
    size_t label = 0;
    if (canvas->label_count)
        qsort(canvas->labels, canvas->label_count, sizeof(*canvas->labels), by_column);
    for (size_t row = 0; row < canvas->rows; row++)
        print_row(canvas, row, &label, colour, out);
}

/* ----------------------------------------------------------------------- tracks */

/* The columns that the links leaving one place run across. */
struct span {
    size_t from;
    size_t to; /* where all of them lead; SIZE_MAX when not to the same place */
    long first, last;
    size_t track;
};

static struct span span_of(const struct layout *layout, size_t from) {
    long centre = layout->places[from].centre;
    struct span span = {.from = from, .to = SIZE_MAX, .first = centre, .last = centre};
    size_t links = 0;
    for (size_t i = 0; i < layout->link_count; i++) {
        if (layout->links[i].from != from)
            continue;
        long to = layout->places[layout->links[i].to].centre;
        span.to = links++ ? SIZE_MAX : layout->links[i].to;
        span.first = to < span.first ? to : span.first;
        span.last = to > span.last ? to : span.last;
    }
    return span;
}

/* Two may run in one row when they lie apart, or lead to the same place. */
static bool spans_clash(const struct span *a, const struct span *b) {
    return a->track == b->track && a->first <= b->last && b->first <= a->last &&
           (a->to != b->to || a->to == SIZE_MAX);
}

/* True when a link of `span` goes down in the column where `other` comes from: then `other` must
 * turn off above it, or the two would run in one line. */
static bool must_be_below(const struct layout *layout, const struct span *span,
                          const struct span *other) {
    long column = layout->places[other->from].centre;
    for (size_t i = 0; i < layout->link_count && span != other; i++)
        if (layout->links[i].from == span->from &&
            layout->places[layout->links[i].to].centre == column)
            return true;
    return false;
}

/* The next to get its row: one below which nothing else waits; in a circle, any. */
static size_t choose_span(const struct layout *layout, const struct span *spans, size_t done,
                          size_t count) {
    for (size_t i = done; i < count; i++) {
        bool free = true;
        for (size_t k = done; k < count && free; k++)
            free = !must_be_below(layout, &spans[i], &spans[k]);
        if (free)
            return i;
    }
    return done;
}

/* Each place's links share a row, and spans that overlap get rows of their own. */
static void find_tracks(struct drawing *drawing, size_t layer, struct span *spans) {
    struct layout *layout = &drawing->layout;
    size_t count = 0, most = 0;
    for (size_t i = 0; i < layout->layer_sizes[layer]; i++) {
        struct span span = span_of(layout, layout->layers[layer][i]);
        if (span.first != span.last) /* else straight down */
            spans[count++] = span;
    }
    for (size_t done = 0; done < count; done++) {
        size_t chosen = choose_span(layout, spans, done, count);
        struct span span = spans[chosen];
        spans[chosen] = spans[done];
        for (size_t k = 0; k < done; k++)
            if (must_be_below(layout, &span, &spans[k]) && spans[k].track >= span.track)
                span.track = spans[k].track + 1;
        for (bool clash = true; clash; span.track += clash) {
            clash = false;
            for (size_t k = 0; k < done && !clash; k++)
                clash = spans_clash(&spans[k], &span);
        }
        spans[done] = span;
        most = span.track + 1 > most ? span.track + 1 : most;
    }
    drawing->track_count[layer] = most;
    for (size_t i = 0; i < layout->link_count; i++)
        for (size_t k = 0; k < count; k++)
            if (layout->links[i].from == spans[k].from)
                drawing->tracks[i] = spans[k].track;
}

static int find_rows(struct drawing *drawing, struct error **err) {
    struct layout *layout = &drawing->layout;
    OWN_MEMORY(struct span) spans = memory_array(layout->place_count, sizeof(*spans));
    drawing->layer_rows = memory_array(layout->layer_count, sizeof(size_t));
    drawing->track_count = memory_array(layout->layer_count, sizeof(size_t));
    drawing->tracks = memory_array(layout->link_count, sizeof(size_t));
    if (!spans || !drawing->layer_rows || !drawing->track_count || !drawing->tracks)
        return error_set_memory(err);
    size_t row = 0;
    for (size_t i = 0; i < layout->layer_count; i++) {
        find_tracks(drawing, i, spans);
        drawing->layer_rows[i] = row;
        row += drawing->box_lines + 2; /* the box with its borders */
        if (i + 1 < layout->layer_count)
            row += drawing->track_count[i] + 1;
    }
    drawing->canvas.rows = row;
    drawing->canvas.columns = layout->width;
    drawing->canvas.lines = memory_array(row * (size_t)layout->width, 1);
    return drawing->canvas.lines ? 0 : error_set_memory(err);
}

/* ---------------------------------------------------------------------- drawing */

static int draw_box(struct drawing *drawing, const struct place *place, struct error **err) {
    const struct step *step = &drawing->pipeline->steps[place->step];
    struct canvas *canvas = &drawing->canvas;
    size_t top = drawing->layer_rows[place->layer], bottom = top + drawing->box_lines + 1;
    long left = place->centre - place->width / 2, right = left + place->width - 1;
    draw_across(canvas, top, left, right);
    draw_across(canvas, bottom, left, right);
    draw_down(canvas, top, bottom, left);
    draw_down(canvas, top, bottom, right);
    for (size_t line = 0; line < drawing->box_lines; line++) {
        char text[TEXT_MAXIMUM];
        box_text(drawing, step, line, text);
        const char *colour = line == 0 ? "1" : (line == 1 ? "2" : state_colour(text));
        if (line == 1 && graph_is_person(step))
            colour = "33";
        if (*text && draw_text(canvas, top + 1 + line, left + 2, text, colour, err) < 0)
            return -1;
    }
    return 0;
}

static void draw_link(struct drawing *drawing, size_t index) {
    const struct link *link = &drawing->layout.links[index];
    const struct place *from = &drawing->layout.places[link->from];
    const struct place *to = &drawing->layout.places[link->to];
    size_t start = drawing->layer_rows[from->layer] + drawing->box_lines + 1;
    size_t end = drawing->layer_rows[to->layer];
    size_t turn = start + 1 + drawing->tracks[index];
    if (from->centre == to->centre) {
        draw_down(&drawing->canvas, start, end, from->centre);
        return;
    }
    draw_down(&drawing->canvas, start, turn, from->centre);
    draw_across(&drawing->canvas, turn, from->centre, to->centre);
    draw_down(&drawing->canvas, turn, end, to->centre);
}

static int draw_all(struct drawing *drawing, struct error **err) {
    struct layout *layout = &drawing->layout;
    for (size_t i = 0; i < layout->link_count; i++)
        draw_link(drawing, i);
    for (size_t i = 0; i < layout->place_count; i++) {
        const struct place *place = &layout->places[i];
        size_t top = drawing->layer_rows[place->layer];
        if (place->step == SIZE_MAX)
            draw_down(&drawing->canvas, top, top + drawing->box_lines + 1, place->centre);
        else if (draw_box(drawing, place, err) < 0)
            return -1;
    }
    return 0;
}

static void print_backs(const struct drawing *drawing, struct buffer *out) {
    for (size_t i = 0; i < drawing->layout.back_count; i++) {
        const struct back_link *back = &drawing->layout.backs[i];
        buffer_format(out, "↺ %s leads back to %s\n", drawing->pipeline->steps[back->from].id,
                      drawing->pipeline->steps[back->to].id);
    }
}

static void drawing_release(struct drawing *drawing) {
    layout_release(&drawing->layout);
    memory_free(drawing->canvas.lines);
    memory_free(drawing->canvas.labels);
    memory_free(drawing->layer_rows);
    memory_free(drawing->track_count);
    memory_free(drawing->tracks);
    memset(&drawing->canvas, 0, sizeof(drawing->canvas));
    drawing->layer_rows = drawing->track_count = drawing->tracks = NULL;
}

/* Draws with names cut to `id_width`. *ret_drawn is false when that is too wide. */
static int try_boxes(struct drawing *drawing, unsigned width, bool colour, struct buffer *out,
                     bool *ret_drawn, struct error **err) {
    const struct pipeline *pipeline = drawing->pipeline;
    OWN_MEMORY(long) widths = memory_array(pipeline->step_count, sizeof(long));
    if (!widths)
        return error_set_memory(err);
    for (size_t i = 0; i < pipeline->step_count; i++)
        widths[i] = box_width(drawing, &pipeline->steps[i]);
    int status = layout_make(pipeline, widths, &drawing->layout, err);
    *ret_drawn = status == 0 && drawing->layout.width <= (long)width;
    if (*ret_drawn)
        status = find_rows(drawing, err);
    if (*ret_drawn && status == 0)
        status = draw_all(drawing, err);
    if (*ret_drawn && status == 0) {
        print(&drawing->canvas, colour, out);
        print_backs(drawing, out);
    }
    drawing_release(drawing);
    return status;
}

/* ------------------------------------------------------------------------- list */

static void list_step(const struct drawing *drawing, const struct step *step, size_t id_width,
                      struct buffer *out) {
    const struct step *steps = drawing->pipeline->steps;
    OWN_BUFFER what = {0};
    buffer_append(out, step->id);
    buffer_append_repeat(out, ' ', id_width - text_width(step->id) + 2);
    graph_describe(step, &what);
    if (step->axis_count)
        buffer_append_char(&what, ' ');
    graph_axis(drawing->pipeline, step, &what);
    *drawing->failed |= what.failed;
    buffer_append(out, buffer_text(&what));
    for (size_t i = 0; i < step->edge_count; i++)
        buffer_format(out, "%s%s", i ? ", " : "  ← ", steps[step->edges[i].step].id);
    for (size_t i = 0; i < step->next_count; i++)
        buffer_format(out, "%s%s", i ? ", " : "  → ", steps[step->next[i].target].id);
    if (drawing->states && drawing->states[step->index])
        buffer_format(out, "  %s", drawing->states[step->index]);
    buffer_append(out, "\n");
}

static void list(const struct drawing *drawing, struct buffer *out) {
    const struct pipeline *pipeline = drawing->pipeline;
    size_t width = 0;
    for (size_t i = 0; i < pipeline->step_count; i++) {
        size_t columns = text_width(pipeline->steps[i].id);
        width = columns > width ? columns : width;
    }
    for (size_t i = 0; i < pipeline->step_count; i++)
        list_step(drawing, &pipeline->steps[i], width, out);
}

int graph_text(const struct pipeline *pipeline, unsigned width, bool colour,
               const char *const *states, struct buffer *out, struct error **err) {
    static const size_t id_widths[] = {48, 28, 20, 14};
    bool drawn = false, failed = false;
    struct drawing drawing = {.pipeline = pipeline, .states = states, .failed = &failed};
    drawing.box_lines = BOX_LINES + (states != NULL);
    for (size_t i = 0; i < ARRAY_SIZE(id_widths) && !drawn; i++) {
        drawing.id_width = id_widths[i];
        if (pipeline->step_count > GRAPH_MAXIMUM_BOXES)
            break;
        if (try_boxes(&drawing, width, colour, out, &drawn, err) < 0)
            return -1;
    }
    if (!drawn)
        list(&drawing, out);
    return failed ? error_set_memory(err) : 0;
}
