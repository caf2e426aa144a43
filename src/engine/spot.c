/* Where the item of a partition lies: below an input, a file parameter, or what a task left. An
 * item may be a part of an item one level up (a fan inside a sub-pipeline that fans out itself). */
#include "private.h"

void spot_release(struct spot *spot) {
    memory_free(spot->path);
}

int spot_of_item(struct run *run, size_t fan_step, struct node *node, const char *below,
                 struct spot *ret, struct error **err) {
    const struct fan *fan = &run->pipeline->steps[fan_step].fan;
    OWN_STRING own = path_join(fan->over.path, node->path);
    OWN_STRING path = own ? path_join(own, below) : NULL;
    if (!path)
        return error_set_memory(err);
    if (fan->over.kind == REFERENCE_ITEM) {
        size_t above = fan->over.index;
        return spot_of_item(run, above, node_at_level(node, run->axes[above]->level), path, ret,
                            err);
    }
    memset(ret, 0, sizeof(*ret));
    if (fan->over.kind == REFERENCE_STEP)
        ret->task = run->steps[fan->over.index].tasks[node->parent->index];
    else if (fan->over.kind == REFERENCE_INPUT)
        ret->source = &run->input_sources[fan->over.index];
    else
        ret->source = &run->parameter_sources[fan->over.index];
    ret->path = take(&path);
    return 0;
}

char *spot_host_path(const struct spot *spot, struct error **err) {
    if (spot->task)
        return result_inside(spot->task, spot->path, err);
    if (!spot->source->path) {
        error_set(err, ERROR_NOT_FOUND, "there is no such item");
        return NULL;
    }
    OWN_STRING inside = path_resolve_beneath(spot->source->path, spot->path, err);
    return inside ? path_join(spot->source->path, inside) : NULL;
}
