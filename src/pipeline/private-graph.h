#ifndef GLOVEBOX_PIPELINE_GRAPH_H
#define GLOVEBOX_PIPELINE_GRAPH_H

#include "pipeline/pipeline.h"

#define GRAPH_MAXIMUM_BOXES 150 /* more steps than that are listed, not drawn */

/* "tool dicom-convert", "manual review": what a step is, for people. */
void graph_describe(const struct step *step, struct buffer *out);
/* "× folder × file", or nothing. */
void graph_axis(const struct pipeline *pipeline, const struct step *step, struct buffer *out);
bool graph_is_person(const struct step *step);

int graph_dot(const struct pipeline *pipeline, const char *const *states, struct buffer *out);
int graph_mermaid(const struct pipeline *pipeline, const char *const *states, struct buffer *out);
int graph_json(const struct pipeline *pipeline, const char *const *states, struct buffer *out,
               struct error **err) MUST_CHECK;
int graph_text(const struct pipeline *pipeline, unsigned width, bool colour,
               const char *const *states, struct buffer *out, struct error **err) MUST_CHECK;

/* ------------------------------------------------------------------- layout */

/* A box (a step), or a bend of an edge that passes a layer. */
struct place {
    size_t step; /* SIZE_MAX: a bend */
    size_t layer, order;
    long width, centre; /* in columns */
    double wish;
};
struct link { /* between places of neighbouring layers */
    size_t from, to;
    bool is_next; /* a `next`, not something it waits for */
};
struct back_link { /* `next` that leads back: written, not drawn */
    size_t from, to;
};
struct layout {
    struct place *places;
    size_t place_count, place_capacity;
    struct link *links;
    size_t link_count, link_capacity;
    struct back_link *backs;
    size_t back_count, back_capacity;
    size_t **layers; /* indexes of places, from the left */
    size_t *layer_sizes, layer_count;
    long width;
};
/* `widths[i]` is the width of the box of step i. */
int layout_make(const struct pipeline *pipeline, const long *widths, struct layout *layout,
                struct error **err) MUST_CHECK;
void layout_release(struct layout *layout);

#endif
