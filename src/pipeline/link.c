/* Edges and order: drafts that know each other by index -> the pipeline's steps. */
#include "pipeline/private-load.h"

#define EDGES_MAXIMUM 1000000

/* --------------------------------------------------------------------- edges */

static void add_edge(struct loader *loader, struct draft *draft, size_t upstream,
                     enum edge_kind kind) {
    for (size_t i = 0; i < draft->edge_count; i++)
        if (draft->edges[i].step == upstream) {
            if (kind == EDGE_DATA)
                draft->edges[i].kind = EDGE_DATA;
            return;
        }
    if (array_reserve(&draft->edges, &draft->edge_capacity, draft->edge_count,
                      sizeof(*draft->edges), EDGES_MAXIMUM, NULL) < 0) {
        loader->trouble.no_memory = true;
        return;
    }
    draft->edges[draft->edge_count++] = (struct edge){.step = upstream, .kind = kind};
}

static bool is_within(const struct loader *loader, const struct scope *scope,
                      const struct scope *outer) {
    for (; scope; scope = scope->parent)
        if (scope == outer)
            return true;
    return false;
}

/* `needs: [OUTER]` waits for every step of the sub-pipeline. */
static void add_need(struct loader *loader, struct draft *draft, size_t upstream) {
    const struct draft *other = loader->drafts[upstream];
    add_edge(loader, draft, upstream, EDGE_NEEDS);
    for (size_t i = upstream + 1; other->child && i < loader->draft_count; i++)
        if (is_within(loader, loader->drafts[i]->scope, other->child) &&
            !loader->drafts[i]->step.cleanup_only)
            add_edge(loader, draft, i, EDGE_NEEDS);
}

static void add_reference(struct loader *loader, struct draft *draft,
                          const struct reference *reference) {
    if (reference->kind == REFERENCE_STEP)
        add_edge(loader, draft, reference->index, EDGE_DATA);
}

/* A step without a fan of its own, in a sub-pipeline whose call fans out, runs once for each of
 * the call's partitions. */
static void inherit_fan(struct loader *loader, struct draft *draft) {
    struct step *step = &draft->step;
    const struct scope *scope = draft->scope;
    if (!scope->parent || step->fan.kind != FAN_NONE || draft->shares_partition)
        return;
    const struct draft *caller = loader->drafts[scope->caller];
    if (caller->step.fan.kind == FAN_NONE && !caller->shares_partition)
        return;
    step->fan.kind = FAN_STEP;
    step->fan.over =
        (struct reference){.kind = REFERENCE_STEP, .index = scope->caller, .name = "", .path = ""};
    draft->fan_node = draft->node;
}

static void make_draft_edges(struct loader *loader, struct draft *draft) {
    struct step *step = &draft->step;
    inherit_fan(loader, draft);
    for (size_t i = 0; i < step->input_count; i++)
        add_reference(loader, draft, &step->inputs[i]);
    for (size_t i = 0; i < step->mount_count; i++)
        if (!step->mounts[i].is_fresh)
            add_reference(loader, draft, &step->mounts[i].from);
    if (step->fan.kind == FAN_STEP && draft->fan_is_edge)
        add_edge(loader, draft, step->fan.over.index, EDGE_NEEDS);
    else if (step->fan.kind != FAN_NONE && step->fan.kind != FAN_STEP &&
             step->fan.kind != FAN_FUNCTION)
        add_reference(loader, draft, &step->fan.over);
    if (draft->shares_partition)
        add_reference(loader, draft, &draft->scope->fan.over);
    for (size_t i = 0; i < draft->need_count; i++)
        add_need(loader, draft, draft->needs[i]);
}

/* The first steps of a sub-pipeline wait for its call. */
static void wait_for_caller(struct loader *loader, struct draft *draft) {
    const struct scope *scope = draft->scope;
    if (!scope->parent || draft->step.fired)
        return;
    for (size_t i = 0; i < draft->edge_count; i++)
        if (is_within(loader, loader->drafts[draft->edges[i].step]->scope, scope))
            return;
    add_edge(loader, draft, scope->caller, EDGE_NEEDS);
}

void make_edges(struct loader *loader) {
    for (size_t i = 0; i < loader->draft_count; i++)
        make_draft_edges(loader, loader->drafts[i]);
    for (size_t i = 0; i < loader->draft_count; i++)
        wait_for_caller(loader, loader->drafts[i]);
}

/* --------------------------------------------------------------------- order */

/* Depth first, upstream first, steps as they stand in the file: keeps the author's order where
 * that is an order already. An explicit stack, since a chain may be as long as the file. */
enum mark { MARK_NEW, MARK_OPEN, MARK_DONE };
struct sorter {
    struct loader *loader;
    uint8_t *marks;
    size_t *stack, *next_edge;
    size_t depth;
    size_t *order;
    size_t count;
};

static void report_cycle(struct sorter *sorter, size_t again) {
    struct loader *loader = sorter->loader;
    OWN_BUFFER text = {0};
    size_t from = sorter->depth;
    while (from > 0 && sorter->stack[from - 1] != again)
        from--;
    size_t length = sorter->depth - (from ? from - 1 : 0);
    buffer_format(&text, "`%s`", loader->drafts[again]->step.id);
    for (size_t i = sorter->depth; i-- > (from ? from : 1) && i + 20 > sorter->depth;)
        buffer_format(&text, " → `%s`", loader->drafts[sorter->stack[i]]->step.id);
    if (length > 20)
        buffer_append(&text, " → …");
    buffer_format(&text, " → `%s`", loader->drafts[again]->step.id);
    node_error(&loader->trouble, loader->drafts[again]->node,
               "only `next` may lead back to an earlier step",
               "the steps wait for each other in a circle: %s", buffer_text(&text));
}

/* The n-th step that must come before `draft`, or SIZE_MAX. */
static size_t upstream_of(const struct draft *draft, size_t n) {
    if (n < draft->edge_count)
        return draft->edges[n].step;
    if (n == draft->edge_count && draft->step.fan.kind == FAN_STEP)
        return draft->step.fan.over.index;
    return SIZE_MAX;
}

static void visit(struct sorter *sorter, size_t root) {
    sorter->depth = 0;
    sorter->stack[sorter->depth] = root;
    sorter->next_edge[sorter->depth++] = 0;
    sorter->marks[root] = MARK_OPEN;
    while (sorter->depth) {
        size_t at = sorter->stack[sorter->depth - 1];
        size_t upstream =
            upstream_of(sorter->loader->drafts[at], sorter->next_edge[sorter->depth - 1]++);
        if (upstream == SIZE_MAX) {
            sorter->marks[at] = MARK_DONE;
            sorter->order[sorter->count++] = at;
            sorter->depth--;
        } else if (sorter->marks[upstream] == MARK_OPEN) {
            report_cycle(sorter, upstream);
        } else if (sorter->marks[upstream] == MARK_NEW) {
            sorter->marks[upstream] = MARK_OPEN;
            sorter->stack[sorter->depth] = upstream;
            sorter->next_edge[sorter->depth++] = 0;
        }
    }
}

/* Steps in an order in which every edge points backwards; NULL when there is none. */
static size_t *sort(struct loader *loader) {
    size_t count = loader->draft_count;
    struct sorter sorter = {.loader = loader};
    sorter.marks = loader_allocate(loader, count);
    sorter.stack = loader_allocate(loader, count * sizeof(size_t));
    sorter.next_edge = loader_allocate(loader, count * sizeof(size_t));
    sorter.order = loader_allocate(loader, count * sizeof(size_t));
    if (!sorter.marks || !sorter.stack || !sorter.next_edge || !sorter.order)
        return NULL;
    size_t errors = loader->trouble.diagnostics->errors;
    for (size_t i = 0; i < count; i++)
        if (sorter.marks[i] == MARK_NEW)
            visit(&sorter, i);
    return loader->trouble.diagnostics->errors == errors ? sorter.order : NULL;
}

/* -------------------------------------------------------------------- finish */

static size_t new_index(const struct loader *loader, size_t draft) {
    return draft < loader->draft_count ? loader->drafts[draft]->place : draft;
}

static void renumber_reference(const struct loader *loader, struct reference *reference) {
    if (reference->kind == REFERENCE_STEP)
        reference->index = new_index(loader, reference->index);
    else if (reference->kind == REFERENCE_ITEM) {
        const struct step *owner = &loader->drafts[reference->index]->step;
        reference->level = owner->axis_count ? owner->axis_count - 1 : 0;
        reference->index = new_index(loader, reference->index);
    }
}

static void renumber(struct loader *loader, struct draft *draft) {
    struct step *step = &draft->step;
    struct edge *edges = loader_allocate(loader, draft->edge_count * sizeof(*edges));
    if (!edges)
        return;
    if (draft->edge_count)
        memcpy(edges, draft->edges, draft->edge_count * sizeof(*edges));
    for (size_t i = 0; i < draft->edge_count; i++)
        edges[i].step = new_index(loader, edges[i].step);
    step->edges = edges;
    step->edge_count = draft->edge_count;
    /* What was filled in place is ours until the pipeline is handed over. */
    for (size_t i = 0; i < step->input_count; i++)
        renumber_reference(loader, (struct reference *)&step->inputs[i]);
    for (size_t i = 0; i < step->mount_count; i++)
        renumber_reference(loader, (struct reference *)&step->mounts[i].from);
    if (step->fan.kind != FAN_NONE && step->fan.kind != FAN_FUNCTION)
        renumber_reference(loader, &step->fan.over);
    for (size_t i = 0; i < step->next_count; i++) {
        struct next_edge *edge = (struct next_edge *)&step->next[i];
        edge->target = new_index(loader, edge->target);
    }
    size_t *axis = loader_allocate(loader, step->axis_count * sizeof(*axis));
    for (size_t i = 0; axis && i < step->axis_count; i++)
        axis[i] = new_index(loader, step->axis[i]);
    step->axis = axis;
    if (step->on_failure == ON_FAILURE_RUN)
        step->on_failure_step = new_index(loader, step->on_failure_step);
    step->index = draft->place;
}

static void finish(struct loader *loader, const size_t *order) {
    struct pipeline *pipeline = loader->pipeline;
    struct step *steps = loader_allocate(loader, loader->draft_count * sizeof(*steps));
    if (!steps)
        return;
    for (size_t i = 0; i < loader->draft_count; i++)
        loader->drafts[order[i]]->place = i;
    /* References to items look at other drafts' axes, so those change last. */
    for (size_t i = 0; i < pipeline->output_count; i++)
        renumber_reference(loader, (struct reference *)&pipeline->outputs[i].from);
    for (size_t i = 0; i < loader->draft_count; i++)
        renumber(loader, loader->drafts[i]);
    for (size_t i = 0; i < loader->draft_count; i++)
        steps[i] = loader->drafts[order[i]]->step;
    pipeline->steps = steps;
    pipeline->step_count = loader->draft_count;
}

void link_steps(struct loader *loader) {
    make_edges(loader);
    size_t *order = loader->trouble.no_memory ? NULL : sort(loader);
    if (!order)
        return;
    make_axes(loader, order);
    check_reachable(loader);
    if (!loader->trouble.no_memory)
        finish(loader, order);
}
