/* When a step runs: needs, next, when, triggers, failure. */
#include "pipeline/private-load.h"

#define TARGETS_MAXIMUM 10000

static void load_needs(struct loader *loader, struct draft *draft) {
    const struct node *needs = node_get_value(draft->node, "needs");
    struct node *const *items = NULL;
    size_t count = needs ? node_items(loader, needs, "needs", &items) : 0;
    draft->needs = loader_allocate(loader, count * sizeof(*draft->needs));
    draft->need_nodes = loader_allocate(loader, count * sizeof(*draft->need_nodes));
    if (!draft->needs || !draft->need_nodes)
        return;
    for (size_t i = 0; i < count; i++) {
        const char *name = scalar_text(loader, items[i], "needs");
        const struct draft *other =
            name ? require_draft(loader, draft->scope, items[i], name) : NULL;
        if (!other)
            continue;
        if (other == draft)
            node_error(&loader->trouble, items[i], NULL, "step `%s` needs itself", name);
        else {
            draft->need_nodes[draft->need_count] = items[i];
            draft->needs[draft->need_count++] = other->step.index;
        }
    }
}

/* ---------------------------------------------------------------------- next */

struct next_list {
    struct next_edge *items;
    const struct node **nodes;
    size_t count;
};

static void add_targets(struct loader *loader, struct draft *draft, struct next_list *list,
                        const struct node *node, struct next_edge pattern) {
    struct node *const *items = NULL;
    size_t count = node_items(loader, node, "next", &items);
    for (size_t i = 0; i < count && list->count < TARGETS_MAXIMUM; i++) {
        const char *name = scalar_text(loader, items[i], "next");
        const struct draft *target =
            name ? require_draft(loader, draft->scope, items[i], name) : NULL;
        if (!target)
            continue;
        pattern.target = target->step.index;
        list->nodes[list->count] = items[i];
        list->items[list->count++] = pattern;
    }
}

static void find_condition(struct loader *loader, struct draft *draft, const struct node *entry,
                           struct next_edge *edge) {
    const struct node *jq = node_get_value(entry, "jq");
    const struct node *named = node_get_value(entry, "condition");
    if (!jq == !named) {
        node_error(&loader->trouble, entry, NULL, "an `if` needs a `condition` or a `jq`%s",
                   jq ? ", not both" : "");
        return;
    }
    if (jq) {
        edge->condition = load_jq(loader, draft->scope, jq, "jq");
        return;
    }
    const char *name = scalar_text(loader, named, "condition"), *names[100];
    size_t count = 0;
    for (const struct condition *c = loader->conditions; name && c; c = c->next) {
        if (c->scope != draft->scope || !c->id)
            continue;
        if (text_equal(c->id, name)) {
            edge->condition = c->jq;
            edge->function = c->function;
            return;
        }
        if (count < ARRAY_SIZE(names))
            names[count++] = c->id;
    }
    if (name)
        node_error(&loader->trouble, named,
                   nearest_hint(loader, name, names, count,
                                "name it in the pipeline's `conditions`, or write `jq: …`"),
                   "no condition is called `%.100s`", name);
}

static bool is_own_name(struct loader *loader, const struct draft *draft, const struct node *node) {
    const char *id = draft_own_id(draft);
    if (node->kind == NODE_LIST && node->count == 1)
        node = node->values[0];
    return node->kind == NODE_STRING && text_equal(step_name(loader, node->text), id);
}

static void load_conditional(struct loader *loader, struct draft *draft, const struct node *next,
                             struct next_list *list) {
    check_keys(loader, next, "next", NULL);
    const struct node *entries = node_get_value(next, "if");
    const struct node *otherwise = node_get(next, "else");
    draft->step.next_wait = key_duration(loader, next, "wait", 60000);
    if (!entries) {
        node_error(&loader->trouble, next, "next: {if: [{condition: …, target: …}], else: …}",
                   "a `next` mapping needs `if`");
        return;
    }
    if (!expect_kind(loader, entries, NODE_LIST, "if"))
        return;
    for (size_t i = 0; i < entries->count; i++) {
        const struct node *entry = entries->values[i];
        struct next_edge edge = {.branch = i};
        if (!expect_kind(loader, entry, NODE_MAPPING, "an entry of `if`"))
            continue;
        check_keys(loader, entry, "if", NULL);
        find_condition(loader, draft, entry, &edge);
        const struct node *target = node_get_value(entry, "target");
        if (target)
            add_targets(loader, draft, list, target, edge);
        else
            node_error(&loader->trouble, entry, NULL, "an `if` needs a `target`");
    }
    /* `else` with the step itself means: ask again. */
    draft->step.next_polls = !otherwise || is_own_name(loader, draft, otherwise) ||
                             (loader->medperf && otherwise->kind == NODE_NULL);
    if (!draft->step.next_polls)
        add_targets(loader, draft, list, otherwise, (struct next_edge){.branch = entries->count});
}

static size_t count_scalars(const struct node *node) {
    size_t count = 1;
    for (size_t i = 0; i < node->count; i++)
        count += count_scalars(node->values[i]);
    return count;
}

static void load_next(struct loader *loader, struct draft *draft) {
    const struct node *next = node_get_value(draft->node, "next");
    if (!next)
        return;
    size_t most = count_scalars(next);
    struct next_list list = {loader_allocate(loader, most * sizeof(*list.items)),
                             loader_allocate(loader, most * sizeof(*list.nodes)), 0};
    if (!list.items || !list.nodes)
        return;
    if (next->kind == NODE_MAPPING)
        load_conditional(loader, draft, next, &list);
    else
        add_targets(loader, draft, &list, next, (struct next_edge){0});
    for (size_t i = 0; i < list.count; i++)
        loader->drafts[list.items[i].target]->step.fired = true;
    draft->step.next = list.items;
    draft->step.next_count = list.count;
    draft->edge_nodes = list.nodes;
}

/* ------------------------------------------------------------------- failure */

static void load_failure(struct loader *loader, struct draft *draft) {
    static const char *const words[] = {"fail", "continue", "skip_partition"};
    const struct node *node = node_get_value(draft->node, "on_failure");
    if (!node)
        return;
    draft->failure_node = node;
    if (node->kind != NODE_MAPPING) {
        int word = key_word(loader, draft->node, "on_failure", words, 3, 0);
        draft->step.on_failure = word < 0 ? ON_FAILURE_FAIL : (enum on_failure)word;
        return;
    }
    check_keys(loader, node, "on_failure", NULL);
    const struct node *run = node_get_value(node, "run");
    const char *name = run ? scalar_text(loader, run, "run") : NULL;
    if (!run)
        node_error(&loader->trouble, node, "on_failure: {run: STEP}", "on_failure needs `run`");
    struct draft *target = name ? require_draft(loader, draft->scope, run, name) : NULL;
    if (!target)
        return;
    if (target == draft)
        node_error(&loader->trouble, run, NULL, "step `%s` cannot clean up after itself", name);
    draft->step.on_failure = ON_FAILURE_RUN;
    draft->step.on_failure_step = target->step.index;
    target->step.cleanup_only = true;
}

void load_flow(struct loader *loader, struct draft *draft) {
    static const char *const rules[] = {"all_succeeded", "all_done",    "any_failed",
                                        "any_succeeded", "none_failed", "all_failed"};
    struct step *step = &draft->step;
    const struct node *when = node_get_value(draft->node, "when");
    load_needs(loader, draft);
    load_next(loader, draft);
    load_failure(loader, draft);
    if (when)
        step->when = load_jq(loader, draft->scope, when, "when");
    int rule = key_word(loader, draft->node, "trigger_rule", rules, ARRAY_SIZE(rules), 0);
    step->trigger_rule = rule < 0 ? TRIGGER_ALL_SUCCEEDED : (enum trigger_rule)rule;
    step->limit = key_count(loader, draft->node, "limit", 1, 1000000, 0);
}
