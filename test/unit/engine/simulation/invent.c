/* A random pipeline. */
#include "simulation.h"

static const char *const rules[] = {"all_done", "any_failed", "any_succeeded", "none_failed",
                                    "all_failed"};

static unsigned below(unsigned limit) {
    return chance_below(&world.chance, limit);
}

static struct part *add_part(const char *id) {
    struct part *part = &world.parts[world.part_count++];
    memset(part, 0, sizeof(*part));
    (void)snprintf(part->id, sizeof(part->id), "%s", id);
    part->salt = mix_text(1, id);
    return part;
}

/* What any step that runs a program may say besides. */
static void add_habits(struct buffer *text, struct part *part) {
    static const char *const cpus[] = {"0.5", "1", "2"};
    buffer_format(text, ", retries: {count: %u, backoff: %us}", below(3), below(3));
    if (!below(2))
        buffer_format(text, ", resources: {cpus: %s, memory: %um}", cpus[below(3)],
                      100 + below(8) * 100);
    if (!below(4)) {
        part->limit = 1 + below(2);
        buffer_format(text, ", limit: %u", part->limit);
    }
    if (!below(3))
        buffer_append(text, ", timeout: 10s");
}

static void add_command(struct buffer *text, const char *id) {
    buffer_format(text, "- {id: %s, command: [play, %s], on_failure: %s", id, id,
                  below(4) ? "continue" : "skip_partition");
    add_habits(text, add_part(id));
}

/* Names of earlier steps, some of them. */
static void add_list(struct buffer *text, const char *key, const char (*names)[32], size_t count,
                     unsigned rarity, bool named) {
    OWN_BUFFER list = {0};
    for (size_t i = 0, taken = 0; i < count && taken < 3; i++) {
        if (below(rarity))
            continue;
        buffer_append(&list, taken++ ? ", " : "");
        if (named)
            buffer_format(&list, "d%zu: ", i);
        buffer_append(&list, names[i]);
    }
    if (list.size)
        buffer_format(text, ", %s: %c%s%c", key, named ? '{' : '[', buffer_text(&list),
                      named ? '}' : ']');
}

static void add_fan(struct buffer *text, bool json) {
    if (json) {
        add_command(text, "list");
        world.parts[world.part_count - 1].lists = true;
        buffer_append(text, "}\n");
    }
    add_command(text, "s0");
    buffer_append(text, json ? ", foreach: {json: list/list.json}}\n"
                             : ", foreach: {csv: inputs.table, key: k}}\n");
}

static void add_loop(struct buffer *text, const char *before) {
    buffer_append(text, "- {id: start, type: dummy, on_failure: continue, next: work");
    if (before && below(2))
        buffer_format(text, ", needs: [%s]", before);
    buffer_append(text, "}\n");
    add_command(text, "work");
    buffer_append(text, ", next: check}\n");
    add_command(text, "check");
    world.parts[world.part_count - 1].loops = true;
    buffer_format(text, ", next: {if: [{jq: .n < %u, target: work}], else: done}}\n", 2 + below(2));
    add_command(text, "done");
    buffer_append(text, "}\n");
}

static void add_step(struct buffer *text, size_t number, bool fan, char (*data)[32],
                     size_t *data_count, char (*all)[32], size_t *all_count) {
    char id[32];
    (void)snprintf(id, sizeof(id), "s%zu", number);
    unsigned kind = below(12);
    if (kind == 0)
        buffer_format(text, "- {id: %s, type: dummy, on_failure: continue", id);
    else if (kind == 1)
        buffer_format(text, "- {id: %s, type: wait, on_failure: continue, for: %us", id,
                      1 + below(5));
    else if (kind == 2)
        buffer_format(text, "- {id: %s, type: manual_approval, on_failure: continue, message: well",
                      id);
    else
        add_command(text, id);
    if (!below(4))
        buffer_format(text, ", trigger_rule: %s", rules[below(ARRAY_SIZE(rules))]);
    if (fan && below(2))
        buffer_append(text, ", foreach: s0");
    if (kind > 2)
        add_list(text, "in", (const char(*)[32])data, *data_count, 2, true);
    add_list(text, "needs", (const char(*)[32])all, *all_count, 3, false);
    buffer_append(text, "}\n");
    if (kind > 2)
        memcpy(data[(*data_count)++], id, sizeof(id));
    memcpy(all[(*all_count)++], id, sizeof(id));
}

void pipeline_invent(struct buffer *text) {
    char data[PARTS_MAXIMUM][32], all[PARTS_MAXIMUM][32];
    size_t data_count = 0, all_count = 0, steps = 2 + below(6);
    unsigned shape = below(24); /* jq takes its time: seldom */
    bool fan = shape > 7;
    world.part_count = 0;
    world.limit = below(4) ? 0 : 2 + below(2);
    buffer_append(text, "name: simulated\ninputs: {table: {type: file}}\n");
    if (world.limit)
        buffer_format(text, "limit: %u\n", world.limit);
    buffer_append(text, "steps:\n");
    if (fan) {
        add_fan(text, shape == 23);
        memcpy(data[data_count++], "s0", 3);
        memcpy(all[all_count++], "s0", 3);
    }
    for (size_t i = 1; i <= steps; i++)
        add_step(text, i, fan, data, &data_count, all, &all_count);
    if (!below(20))
        add_loop(text, all_count ? all[below((unsigned)all_count)] : NULL);
    buffer_append(text, "outputs: {");
    if (data_count)
        buffer_format(text, "last: %s", data[data_count - 1]);
    buffer_append(text, "}\n");
}
