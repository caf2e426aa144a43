/* Axes, relations, and the checks that need them. */
#include "pipeline/private-load.h"

#define AXIS_MAXIMUM 8

static bool set_axis(struct loader *loader, struct draft *draft, const struct draft *base,
                     bool and_own) {
    struct step *step = &draft->step;
    size_t below = base ? base->step.axis_count : 0;
    size_t *axis = loader_allocate(loader, (below + 1) * sizeof(*axis));
    if (!axis)
        return false;
    if (below)
        memcpy(axis, base->step.axis, below * sizeof(*axis));
    if (and_own)
        axis[below] = step->index;
    step->axis = axis;
    step->axis_count = below + and_own;
    if (step->axis_count > AXIS_MAXIMUM)
        node_error(&loader->trouble, draft->fan_node, NULL,
                   "foreach within foreach more than %d levels deep", AXIS_MAXIMUM);
    return true;
}

/* The first of the steps that share the pipeline's partition carries its fan. */
static void share_axis(struct loader *loader, struct draft *draft, size_t *owners) {
    struct scope *scope = draft->scope;
    size_t number = 0;
    while (loader->scopes[number] != scope)
        number++;
    struct step *step = &draft->step;
    if (owners[number] == SIZE_MAX) {
        owners[number] = step->index;
        step->fan = scope->fan;
        return;
    }
    step->fan.kind = FAN_STEP;
    step->fan.over =
        (struct reference){.kind = REFERENCE_STEP, .index = owners[number], .name = "", .path = ""};
}

static void check_fan_step(struct loader *loader, const struct draft *draft,
                           const struct draft *over) {
    if (over->step.axis_count || over->step.fan.kind != FAN_NONE)
        return;
    node_error(
        &loader->trouble, draft->fan_node,
        loader_format(loader, "write %s/*.dcm for a task a file of its outputs", over->step.id),
        "step `%s` has no partitions to fan out over", over->step.id);
}

/* A fan over a pipeline input starts an axis of its own, which a caller's partitions cannot
 * join. */
static void check_new_axis(struct loader *loader, const struct draft *draft) {
    const struct scope *scope = draft->scope;
    if (!scope->parent || !loader->drafts[scope->caller]->step.axis_count)
        return;
    node_error(&loader->trouble, draft->fan_node, "give the sub-pipeline `item` as its input",
               "this runs in a sub-pipeline that is fanned out itself, and lists an input of the "
               "whole pipeline");
}

static void make_axis(struct loader *loader, struct draft *draft, size_t *owners) {
    struct step *step = &draft->step;
    if (draft->shares_partition)
        share_axis(loader, draft, owners);
    const struct reference *over = &step->fan.over;
    const struct draft *base = NULL;
    switch (step->fan.kind) {
    case FAN_NONE:
        return;
    case FAN_STEP:
        base = loader->drafts[over->index];
        check_fan_step(loader, draft, base);
        set_axis(loader, draft, base, false);
        return;
    case FAN_FUNCTION:
        break;
    default:
        if (over->kind == REFERENCE_STEP || over->kind == REFERENCE_ITEM)
            base = loader->drafts[over->index];
        else
            check_new_axis(loader, draft);
    }
    set_axis(loader, draft, base, true);
}

/* How a task of `step` meets tasks of `upstream`. */
static enum relation relate(const struct step *step, const struct step *upstream,
                            size_t *ret_common) {
    size_t common = 0;
    while (common < step->axis_count && common < upstream->axis_count &&
           step->axis[common] == upstream->axis[common])
        common++;
    *ret_common = common;
    if (common < upstream->axis_count)
        return RELATION_JOIN;
    return step->axis_count == upstream->axis_count ? RELATION_SAME : RELATION_ANCESTOR;
}

static void relate_reference(struct loader *loader, const struct step *step,
                             struct reference *reference) {
    if (reference->kind == REFERENCE_STEP)
        reference->relation =
            relate(step, &loader->drafts[reference->index]->step, &reference->common);
}

static void warn_about_join(struct loader *loader, const struct draft *draft, size_t input) {
    const struct reference *reference = &draft->step.inputs[input];
    if (reference->kind != REFERENCE_STEP || reference->relation != RELATION_JOIN ||
        reference->common || !draft->step.axis_count)
        return;
    const char *other = loader->drafts[reference->index]->step.id;
    node_warning(&loader->trouble, draft->input_nodes[input],
                 loader_format(loader, "`foreach: %s` gives each the one of its own", other),
                 "each partition of `%s` reads all partitions of `%s`", draft->step.id, other);
}

static void make_relations(struct loader *loader, struct draft *draft) {
    struct step *step = &draft->step;
    for (size_t i = 0; i < step->input_count; i++) {
        relate_reference(loader, step, (struct reference *)&step->inputs[i]);
        warn_about_join(loader, draft, i);
    }
    for (size_t i = 0; i < step->mount_count; i++)
        relate_reference(loader, step, (struct reference *)&step->mounts[i].from);
    if (step->fan.kind != FAN_NONE && step->fan.kind != FAN_FUNCTION)
        relate_reference(loader, step, &step->fan.over);
    for (size_t i = 0; i < draft->edge_count; i++) {
        struct edge *edge = &draft->edges[i];
        edge->relation = relate(step, &loader->drafts[edge->step]->step, &edge->common);
    }
    for (size_t i = 0; i < step->next_count; i++) {
        struct next_edge *edge = (struct next_edge *)&step->next[i];
        edge->relation = relate(&loader->drafts[edge->target]->step, step, &edge->common);
    }
}

static void check_partition_use(struct loader *loader, const struct draft *draft) {
    const struct step *step = &draft->step;
    const struct node *use = draft->item_use ? draft->item_use : draft->partition_use;
    if (use && !step->axis_count && !draft->child) {
        node_error(&loader->trouble, use, "give the step a `foreach`",
                   "step `%s` has no partitions, so there is no %s", step->id,
                   draft->item_use ? "item" : "partition");
        return;
    }
    for (size_t i = 0; i < step->input_count; i++) {
        const struct reference *input = &step->inputs[i];
        if (input->kind != REFERENCE_ITEM || input->index >= loader->draft_count)
            continue;
        const struct step *owner = &loader->drafts[input->index]->step;
        if (!owner->axis_count)
            continue;
        const struct step *fan = &loader->drafts[owner->axis[owner->axis_count - 1]]->step;
        if (fan->fan.kind == FAN_CSV || fan->fan.kind == FAN_JSON || fan->fan.kind == FAN_FUNCTION)
            node_error(&loader->trouble, draft->input_nodes[i],
                       "use its values: ${item.COLUMN}, ${item}",
                       "the items here are values, not files to read");
    }
}

/* A result that is used must be there by then. */
static void check_results(struct loader *loader, const struct draft *draft) {
    for (const struct result_use *use = draft->result_uses; use; use = use->next) {
        bool found = draft->step.index == SIZE_MAX;
        for (size_t i = 0; i < draft->edge_count && !found; i++)
            found = draft->edges[i].step == use->step;
        const char *other = loader->drafts[use->step]->step.id;
        if (!found)
            node_error(&loader->trouble, use->node, loader_format(loader, "needs: [%s]", other),
                       "step `%s` uses the result of `%s`, but does not wait for it",
                       draft->step.id, other);
    }
}

static void check_cleanup(struct loader *loader, const struct draft *draft) {
    if (draft->step.cleanup_only && draft->step.fired)
        node_error(&loader->trouble, draft->node, NULL,
                   "step `%s` is a clean-up step, and a `next` leads to it too", draft->step.id);
    for (size_t i = 0; i < draft->edge_count; i++) {
        const struct draft *upstream = loader->drafts[draft->edges[i].step];
        if (upstream->step.cleanup_only && !draft->step.cleanup_only)
            node_error(&loader->trouble, draft->node, NULL,
                       "step `%s` waits for `%s`, which runs only to clean up", draft->step.id,
                       upstream->step.id);
    }
}

static void relate_outputs(struct loader *loader) {
    static const struct step after_all = {0};
    for (size_t i = 0; i < loader->pipeline->output_count; i++)
        relate_reference(loader, &after_all,
                         (struct reference *)&loader->pipeline->outputs[i].from);
}

void make_axes(struct loader *loader, const size_t *order) {
    size_t *owners = loader_allocate(loader, loader->scope_count * sizeof(*owners));
    if (!owners)
        return;
    for (size_t i = 0; i < loader->scope_count; i++)
        owners[i] = SIZE_MAX;
    for (size_t i = 0; i < loader->draft_count && !loader->trouble.no_memory; i++)
        make_axis(loader, loader->drafts[order[i]], owners);
    for (size_t i = 0; i < loader->draft_count && !loader->trouble.no_memory; i++) {
        make_relations(loader, loader->drafts[i]);
        check_partition_use(loader, loader->drafts[i]);
        check_results(loader, loader->drafts[i]);
        check_cleanup(loader, loader->drafts[i]);
    }
    relate_outputs(loader);
}

/* -------------------------------------------------------------- reachability */

/* A step runs when all its edges are met and, if some `next` leads to it, when one has fired.
 * `missing` counts what is not yet met. */
struct reach {
    struct loader *loader;
    size_t *missing, *queue, head, tail;
    size_t *first,
        *targets; /* downstream steps of step i: targets[first[i]] … [first[i + 1] - 1] */
    bool *hit;    /* a fired step was fired */
};

static void meet(struct reach *reach, size_t step) {
    if (--reach->missing[step] == 0)
        reach->queue[reach->tail++] = step;
}

static bool build_targets(struct reach *reach) {
    struct loader *loader = reach->loader;
    size_t count = loader->draft_count, edges = 0;
    for (size_t i = 0; i < count; i++)
        edges += loader->drafts[i]->edge_count;
    reach->first = loader_allocate(loader, (count + 2) * sizeof(size_t));
    reach->targets = loader_allocate(loader, edges * sizeof(size_t));
    if (!reach->first || !reach->targets)
        return false;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < loader->drafts[i]->edge_count; k++)
            reach->first[loader->drafts[i]->edges[k].step + 2]++;
    for (size_t i = 2; i < count + 2; i++)
        reach->first[i] += reach->first[i - 1];
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < loader->drafts[i]->edge_count; k++)
            reach->targets[reach->first[loader->drafts[i]->edges[k].step + 1]++] = i;
    return true;
}

static void leave(struct reach *reach, size_t at) {
    const struct step *step = &reach->loader->drafts[at]->step;
    for (size_t k = reach->first[at]; k < reach->first[at + 1]; k++)
        meet(reach, reach->targets[k]);
    for (size_t k = 0; k < step->next_count; k++) {
        size_t target = step->next[k].target;
        if (!reach->hit[target]) {
            reach->hit[target] = true;
            meet(reach, target);
        }
    }
}

void check_reachable(struct loader *loader) {
    size_t count = loader->draft_count;
    struct reach reach = {.loader = loader};
    reach.missing = loader_allocate(loader, count * sizeof(size_t));
    reach.queue = loader_allocate(loader, count * sizeof(size_t));
    reach.hit = loader_allocate(loader, count * sizeof(bool));
    if (!reach.missing || !reach.queue || !reach.hit || !build_targets(&reach))
        return;
    for (size_t i = 0; i < count; i++) {
        const struct draft *draft = loader->drafts[i];
        reach.missing[i] = draft->edge_count + draft->step.fired;
        if (!reach.missing[i])
            reach.queue[reach.tail++] = i;
    }
    while (reach.head < reach.tail)
        leave(&reach, reach.queue[reach.head++]);
    for (size_t i = 0; i < count; i++) {
        if (!reach.missing[i] || !loader->drafts[i]->step.fired || reach.hit[i])
            continue;
        node_error(&loader->trouble, loader->drafts[i]->node,
                   "some step before the circle must lead into it",
                   "step `%s` can never run: only steps that come after it lead to it",
                   loader->drafts[i]->step.id);
        /* What it would have led to is not another mistake. */
        reach.hit[i] = true;
        meet(&reach, i);
        while (reach.head < reach.tail)
            leave(&reach, reach.queue[reach.head++]);
    }
}
