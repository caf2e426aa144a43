/*
 * Where boxes and lines go, in the manner of Sugiyama: layers by longest path, bends where an
 * edge passes a layer, order within a layer by the mean of the neighbours, then columns.
 */
#include "pipeline/private-graph.h"

#include <stdlib.h>

#define GAP            3 /* columns between boxes */
#define LINKS_MAXIMUM  20000
#define PLACES_MAXIMUM 20000
#define SWEEPS         8

struct arc {
    size_t from, to;
    bool is_next;
};
struct arcs {
    struct arc *items;
    size_t count, capacity;
};

static int add_arc(struct arcs *arcs, struct arc arc, struct error **err) {
    for (size_t i = 0; i < arcs->count; i++)
        if (arcs->items[i].from == arc.from && arcs->items[i].to == arc.to)
            return 0;
    if (array_reserve(&arcs->items, &arcs->capacity, arcs->count, sizeof(arc), LINKS_MAXIMUM, err) <
        0)
        return -1;
    arcs->items[arcs->count++] = arc;
    return 0;
}

/* ----------------------------------------------------------------- reachability */

/* reach[a * count + b]: b can be come to from a by the arcs (a itself not included). */
static void reach_from(const struct arcs *arcs, size_t count, size_t from, bool *reach,
                       size_t *stack) {
    size_t depth = 0;
    stack[depth++] = from;
    while (depth) {
        size_t at = stack[--depth];
        for (size_t i = 0; i < arcs->count; i++)
            if (arcs->items[i].from == at && !reach[from * count + arcs->items[i].to]) {
                reach[from * count + arcs->items[i].to] = true;
                stack[depth++] = arcs->items[i].to;
            }
    }
}

/* A `next` that would close a circle is a way back. */
static int collect(const struct pipeline *pipeline, struct arcs *arcs, struct layout *layout,
                   struct error **err) {
    size_t count = pipeline->step_count;
    OWN_MEMORY(bool) reach = memory_array(count * count, sizeof(bool));
    OWN_MEMORY(size_t) stack = memory_array(count + 1, sizeof(size_t));
    if (!reach || !stack)
        return error_set_memory(err);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < pipeline->steps[i].edge_count; k++)
            if (add_arc(arcs, (struct arc){pipeline->steps[i].edges[k].step, i, false}, err) < 0)
                return -1;
    for (size_t i = 0; i < count; i++) {
        const struct step *step = &pipeline->steps[i];
        for (size_t k = 0; k < step->next_count; k++) {
            size_t target = step->next[k].target;
            memset(reach, 0, count * count * sizeof(bool));
            reach_from(arcs, count, target, reach, stack);
            if (target == i || reach[target * count + i]) {
                if (array_reserve(&layout->backs, &layout->back_capacity, layout->back_count,
                                  sizeof(*layout->backs), LINKS_MAXIMUM, err) < 0)
                    return -1;
                layout->backs[layout->back_count++] = (struct back_link){i, target};
            } else if (add_arc(arcs, (struct arc){i, target, true}, err) < 0) {
                return -1;
            }
        }
        if (step->on_failure == ON_FAILURE_RUN &&
            add_arc(arcs, (struct arc){i, step->on_failure_step, true}, err) < 0)
            return -1;
    }
    return 0;
}

/* Drops arcs that say what others say already: a -> c beside a -> b -> c. */
static int reduce(struct arcs *arcs, size_t count, struct error **err) {
    OWN_MEMORY(bool) reach = memory_array(count * count, sizeof(bool));
    OWN_MEMORY(size_t) stack = memory_array(count + 1, sizeof(size_t));
    OWN_MEMORY(bool) drop = memory_array(arcs->count, sizeof(bool));
    if (!reach || !stack || !drop)
        return error_set_memory(err);
    for (size_t i = 0; i < count; i++)
        reach_from(arcs, count, i, reach, stack);
    for (size_t i = 0; i < arcs->count; i++)
        for (size_t k = 0; k < arcs->count && !drop[i]; k++)
            drop[i] = arcs->items[k].from == arcs->items[i].from && k != i &&
                      arcs->items[k].to != arcs->items[i].to &&
                      reach[arcs->items[k].to * count + arcs->items[i].to];
    size_t kept = 0;
    for (size_t i = 0; i < arcs->count; i++)
        if (!drop[i])
            arcs->items[kept++] = arcs->items[i];
    arcs->count = kept;
    return 0;
}

/* ----------------------------------------------------------------------- layers */

static int add_place(struct layout *layout, struct place place, struct error **err) {
    if (array_reserve(&layout->places, &layout->place_capacity, layout->place_count, sizeof(place),
                      PLACES_MAXIMUM, err) < 0)
        return -1;
    layout->places[layout->place_count++] = place;
    return 0;
}

static int add_link(struct layout *layout, size_t from, size_t to, bool is_next,
                    struct error **err) {
    if (array_reserve(&layout->links, &layout->link_capacity, layout->link_count,
                      sizeof(*layout->links), LINKS_MAXIMUM, err) < 0)
        return -1;
    layout->links[layout->link_count++] = (struct link){from, to, is_next};
    return 0;
}

/* Longest path from the top. The arcs have no circle, so `count` rounds are enough. */
static void find_layers(struct layout *layout, const struct arcs *arcs) {
    bool changed = true;
    while (changed) {
        changed = false;
        for (size_t i = 0; i < arcs->count; i++) {
            const struct arc *arc = &arcs->items[i];
            size_t below = layout->places[arc->from].layer + 1;
            if (layout->places[arc->to].layer < below) {
                layout->places[arc->to].layer = below;
                changed = true;
            }
        }
    }
}

static int add_bends(struct layout *layout, const struct arcs *arcs, struct error **err) {
    for (size_t i = 0; i < arcs->count; i++) {
        size_t from = arcs->items[i].from, to = arcs->items[i].to;
        while (layout->places[from].layer + 1 < layout->places[to].layer) {
            struct place bend = {
                .step = SIZE_MAX, .layer = layout->places[from].layer + 1, .width = 1};
            if (add_place(layout, bend, err) < 0 ||
                add_link(layout, from, layout->place_count - 1, arcs->items[i].is_next, err) < 0)
                return -1;
            from = layout->place_count - 1;
        }
        if (add_link(layout, from, to, arcs->items[i].is_next, err) < 0)
            return -1;
    }
    return 0;
}

static int fill_layers(struct layout *layout, struct error **err) {
    for (size_t i = 0; i < layout->place_count; i++)
        if (layout->places[i].layer >= layout->layer_count)
            layout->layer_count = layout->places[i].layer + 1;
    layout->layers = memory_array(layout->layer_count, sizeof(*layout->layers));
    layout->layer_sizes = memory_array(layout->layer_count, sizeof(*layout->layer_sizes));
    if (!layout->layers || !layout->layer_sizes)
        return error_set_memory(err);
    for (size_t i = 0; i < layout->place_count; i++)
        layout->layer_sizes[layout->places[i].layer]++;
    for (size_t i = 0; i < layout->layer_count; i++) {
        layout->layers[i] = memory_array(layout->layer_sizes[i], sizeof(size_t));
        layout->layer_sizes[i] = 0;
        if (!layout->layers[i])
            return error_set_memory(err);
    }
    for (size_t i = 0; i < layout->place_count; i++) {
        struct place *place = &layout->places[i];
        place->order = layout->layer_sizes[place->layer]++;
        layout->layers[place->layer][place->order] = i;
    }
    return 0;
}

/* ------------------------------------------------------------------------ order */

static double order_of(const struct place *place) {
    return (double)place->order;
}

static double centre_of(const struct place *place) {
    return (double)place->centre;
}

/* The mean of the neighbours above (or below); its own where it has none. */
static void wish(struct layout *layout, size_t index, bool from_above,
                 double (*of)(const struct place *place)) {
    double sum = 0, count = 0;
    for (size_t i = 0; i < layout->link_count; i++) {
        const struct link *link = &layout->links[i];
        if ((from_above ? link->to : link->from) != index)
            continue;
        sum += of(&layout->places[from_above ? link->from : link->to]);
        count++;
    }
    struct place *place = &layout->places[index];
    place->wish = count > 0 ? sum / count : of(place);
}

/* Insertion sort: stable, and layers are short. */
static void sort_layer(struct layout *layout, size_t layer, bool from_above) {
    size_t *row = layout->layers[layer], size = layout->layer_sizes[layer];
    for (size_t i = 0; i < size; i++)
        wish(layout, row[i], from_above, order_of);
    for (size_t i = 1; i < size; i++)
        for (size_t k = i; k > 0 && layout->places[row[k]].wish < layout->places[row[k - 1]].wish;
             k--) {
            size_t swap = row[k];
            row[k] = row[k - 1];
            row[k - 1] = swap;
        }
    for (size_t i = 0; i < size; i++)
        layout->places[row[i]].order = i;
}

static void sort_layers(struct layout *layout) {
    for (unsigned sweep = 0; sweep < SWEEPS; sweep++) {
        for (size_t i = 1; i < layout->layer_count; i++)
            sort_layer(layout, i, true);
        if (sweep + 1 == SWEEPS)
            break;
        for (size_t i = layout->layer_count - 1; i-- > 0;)
            sort_layer(layout, i, false);
    }
}

/* ---------------------------------------------------------------------- columns */

/* Half of a box to the left and to the right of its centre. */
static long left_of(const struct place *place) {
    return place->centre - place->width / 2;
}
static long right_of(const struct place *place) {
    return left_of(place) + place->width;
}

/* Puts the boxes of a layer as near to their wishes as their order and widths allow: each at its
 * wish or pushed to the right, and then the ones that were pushed back to the left. */
static void place_layer(struct layout *layout, size_t layer, bool from_above) {
    size_t *row = layout->layers[layer], size = layout->layer_sizes[layer];
    long edge = 0;
    for (size_t i = 0; i < size; i++) {
        struct place *place = &layout->places[row[i]];
        wish(layout, row[i], from_above, centre_of);
        place->centre = (long)(place->wish + 0.5);
        if (left_of(place) < edge)
            place->centre = edge + place->width / 2;
        edge = right_of(place) + GAP;
    }
    /* Runs of touching boxes move together, so that they stand balanced below their parents. */
    for (size_t i = size; i-- > 0;) {
        struct place *place = &layout->places[row[i]];
        size_t first = i;
        double excess = (double)place->centre - place->wish;
        while (first > 0 &&
               left_of(&layout->places[row[first]]) - right_of(&layout->places[row[first - 1]]) ==
                   GAP) {
            first--;
            excess += (double)layout->places[row[first]].centre - layout->places[row[first]].wish;
        }
        long shift = (long)(excess / (double)(i - first + 1) + 0.5);
        long room = first ? left_of(&layout->places[row[first]]) -
                                right_of(&layout->places[row[first - 1]]) - GAP
                          : left_of(&layout->places[row[first]]);
        if (shift > room)
            shift = room;
        for (size_t k = first; shift > 0 && k <= i; k++)
            layout->places[row[k]].centre -= shift;
        i = first;
    }
}

static void place_all(struct layout *layout) {
    for (size_t i = 0; i < layout->layer_count; i++) {
        long edge = 0;
        for (size_t k = 0; k < layout->layer_sizes[i]; k++) {
            struct place *place = &layout->places[layout->layers[i][k]];
            place->centre = edge + place->width / 2;
            edge += place->width + GAP;
        }
    }
    for (unsigned sweep = 0; sweep < 4; sweep++) {
        for (size_t i = layout->layer_count; i-- > 0;)
            place_layer(layout, i, false);
        for (size_t i = 0; i < layout->layer_count; i++)
            place_layer(layout, i, true);
    }
    long least = layout->place_count ? left_of(&layout->places[0]) : 0;
    for (size_t i = 0; i < layout->place_count; i++)
        if (left_of(&layout->places[i]) < least)
            least = left_of(&layout->places[i]);
    for (size_t i = 0; i < layout->place_count; i++) {
        layout->places[i].centre -= least;
        if (right_of(&layout->places[i]) > layout->width)
            layout->width = right_of(&layout->places[i]);
    }
}

int layout_make(const struct pipeline *pipeline, const long *widths, struct layout *layout,
                struct error **err) {
    struct arcs arcs = {0};
    int status = 0;
    memset(layout, 0, sizeof(*layout));
    for (size_t i = 0; i < pipeline->step_count && status == 0; i++)
        status = add_place(layout, (struct place){.step = i, .width = widths[i]}, err);
    if (status == 0)
        status = collect(pipeline, &arcs, layout, err);
    if (status == 0)
        status = reduce(&arcs, pipeline->step_count, err);
    if (status == 0) {
        find_layers(layout, &arcs);
        status = add_bends(layout, &arcs, err);
    }
    if (status == 0)
        status = fill_layers(layout, err);
    if (status == 0) {
        sort_layers(layout);
        place_all(layout);
    }
    memory_free(arcs.items);
    return status;
}

void layout_release(struct layout *layout) {
    for (size_t i = 0; layout->layers && i < layout->layer_count; i++)
        memory_free(layout->layers[i]);
    memory_free(layout->layers);
    memory_free(layout->layer_sizes);
    memory_free(layout->places);
    memory_free(layout->links);
    memory_free(layout->backs);
    memset(layout, 0, sizeof(*layout));
}
