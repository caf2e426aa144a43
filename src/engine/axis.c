/* The tree of partitions, and counters over it. */
#include "private.h"

struct node *node_at_level(struct node *node, uint32_t level) {
    while (node->level > level)
        node = node->parent;
    return node;
}

struct node *axis_add(struct run *run, struct axis *axis, struct node *above, const char *key,
                      struct error **err) {
    if (array_reserve(&axis->nodes, &axis->capacity, axis->count, sizeof(*axis->nodes),
                      TASKS_MAXIMUM, err) < 0)
        return NULL;
    struct node *node = arena_allocate(run->arena, sizeof(*node));
    char *copy = arena_copy_string(run->arena, key);
    if (!node || !copy) {
        error_set_memory(err);
        return NULL;
    }
    node->key = copy;
    node->path = "";
    node->parent = above;
    node->level = axis->level;
    node->index = (uint32_t)axis->count;
    HASH_ADD_KEYPTR(hh, axis->by_key, node->key, strlen(node->key), node);
    if (!node->hh.tbl) {
        error_set_memory(err);
        return NULL;
    }
    axis->nodes[axis->count++] = node;
    return node;
}

struct range *axis_range(struct axis *axis, const struct node *above, struct error **err) {
    while (above->index >= axis->range_capacity)
        if (array_reserve(&axis->ranges, &axis->range_capacity, axis->range_capacity,
                          sizeof(*axis->ranges), TASKS_MAXIMUM, err) < 0)
            return NULL;
    return &axis->ranges[above->index];
}

uint32_t *counter_at(struct run_step *step, uint32_t level, uint32_t index, struct error **err) {
    struct counters *counters = &step->open[level];
    while (index >= counters->capacity)
        if (array_reserve(&counters->items, &counters->capacity, counters->capacity,
                          sizeof(*counters->items), TASKS_MAXIMUM, err) < 0)
            return NULL;
    return &counters->items[index];
}

static int visit_down(const struct axis *const *chain, size_t depth, struct node *node,
                      node_visitor use, void *context, struct error **err) {
    if (!depth)
        return use(node, context, err);
    const struct axis *axis = chain[depth - 1];
    if (node->index >= axis->range_capacity)
        return 0;
    struct range range = axis->ranges[node->index];
    for (uint32_t i = 0; i < range.count; i++)
        if (visit_down(chain, depth - 1, axis->nodes[range.first + i], use, context, err) < 0)
            return -1;
    return 0;
}

int axis_visit(const struct axis *axis, struct node *node, node_visitor use, void *context,
               struct error **err) {
    const struct axis *chain[LEVELS_MAXIMUM];
    size_t depth = 0;
    for (const struct axis *at = axis; at->level > node->level; at = at->above)
        chain[depth++] = at;
    return visit_down(chain, depth, node, use, context, err);
}

struct node *axis_find(const struct axis *axis, const char *key) {
    struct node *node = NULL;
    HASH_FIND_STR(axis->by_key, key, node);
    return node;
}

void axis_clear(struct axis *axis) {
    HASH_CLEAR(hh, axis->by_key);
    memory_free(axis->nodes);
    memory_free(axis->ranges);
    axis->nodes = NULL;
    axis->ranges = NULL;
    axis->count = axis->capacity = axis->range_capacity = 0;
}
