/* Digests of what a run delivers, and how a run that was made from a crate compares with it. */
#include "engine/private-crate.h"

#include <fcntl.h>

struct sum {
    struct run *run;
    const struct pipeline_output *output;
    struct sha256 *hash;
    uint8_t last[SHA256_SIZE]; /* of the last part */
    int64_t parts;
};

static void sum_release(struct sum *sum) {
    sha256_free(sum->hash);
}

/* 1: found; 0: this partition left none. */
static int part_digest(struct sum *sum, struct task *task, struct error **err) {
    const char *path = sum->output->from.path;
    if (!*path) {
        memcpy(sum->last, task->output, SHA256_SIZE);
        return 1;
    }
    OWN_STRING root = result_path(task, "");
    if (!root)
        return error_set_memory(err);
    OWN_STRING inside = file_exists(AT_FDCWD, root) ? path_resolve_beneath(root, path, NULL)
                                                    : memory_copy_string(path);
    const struct manifest *manifest = inside ? result_manifest(task, err) : NULL;
    if (inside && !manifest)
        return -1;
    return manifest && manifest_digest(manifest, inside, sum->last);
}

static int add_part(struct node *node, void *context, struct error **err) {
    struct sum *sum = context;
    const struct run_step *step = &sum->run->steps[sum->output->from.index];
    struct task *task = node->index < step->task_capacity ? step->tasks[node->index] : NULL;
    if (!task || !task_has_data(task) || !task->has_output)
        return 0;
    int found = part_digest(sum, task, err);
    if (found <= 0)
        return found;
    sha256_add(sum->hash, node->key, strlen(node->key) + 1);
    sha256_add(sum->hash, sum->last, SHA256_SIZE);
    sum->parts++;
    return 0;
}

static int add_output(struct run *run, const struct pipeline_output *output, json_t *digests,
                      struct error **err) {
    struct sum sum CLEANUP(sum_release) = {.run = run, .output = output, .hash = sha256_new()};
    const struct run_step *step = &run->steps[output->from.index];
    struct node *root = run->axes[run->pipeline->step_count]->nodes[0];
    if (!sum.hash)
        return error_set_memory(err);
    if (axis_visit(step->axis, root, add_part, &sum, err) < 0)
        return -1;
    if (!sum.parts)
        return 0;
    uint8_t whole[SHA256_SIZE];
    char text[SHA256_HEX_SIZE];
    sha256_finish(sum.hash, whole);
    hex_encode(step->step->axis_count ? whole : sum.last, SHA256_SIZE, text);
    return json_object_set_new(
               digests, output->name,
               json_pack("{s:s, s:I}", "sha256", text, "parts", (json_int_t)sum.parts)) < 0
               ? error_set_memory(err)
               : 0;
}

json_t *crate_output_digests(struct run *run, struct error **err) {
    OWN_JSON digests = json_object();
    if (!digests)
        error_set_memory(err);
    for (size_t i = 0; digests && i < run->pipeline->output_count; i++) {
        const struct pipeline_output *output = &run->pipeline->outputs[i];
        if (output->from.kind == REFERENCE_STEP && add_output(run, output, digests, err) < 0)
            return NULL;
    }
    return take(&digests);
}

/* ---------------------------------------------------------------- comparison */

static const char *digest_now(const json_t *sources, const json_t *outputs, const json_t *images,
                              const char *name) {
    static const char prefix[] = "outputs.";
    if (text_starts_with(name, CRATE_IMAGES)) {
        const char *pinned = json_get_string(images, name + strlen(CRATE_IMAGES), NULL);
        return pinned ? images_digest(pinned) + strlen("sha256:") : NULL;
    }
    const json_t *found = text_starts_with(name, prefix)
                              ? json_object_get(outputs, name + strlen(prefix))
                              : json_object_get(sources, name);
    return json_get_string(found, "sha256", NULL);
}

int query_add_recorded(struct engine *engine, int64_t run, json_t *status, struct error **err) {
    OWN_ROWS rows = store_query(engine->store, err,
                                "SELECT selection, digests FROM run WHERE id = ?", "i", run);
    if (!rows || rows_next(rows, err) < 0)
        return -1;
    OWN_JSON selection = query_parse(rows_text(rows, 0));
    OWN_JSON sources = query_parse(rows_text(rows, 1));
    OWN_JSON outputs = query_last_event(engine, run, "digests", err);
    json_t *recorded = json_object_get(selection, "recorded"), *digest;
    if (!outputs)
        return -1;
    if (!recorded)
        return 0;
    json_t *items = json_array();
    const json_t *images = json_object_get(status, "images");
    const char *name;
    json_object_foreach(json_object_get(recorded, "digests"), name, digest) {
        const char *now = digest_now(sources, outputs, images, name),
                   *then = json_string_value(digest);
        json_array_append_new(items, json_pack("{s:s, s:s, s:s?, s:b}", "name", name, "recorded",
                                               then ? then : "", "found", now, "same",
                                               now && then && text_equal(now, then)));
    }
    return json_object_set_new(status, "recorded",
                               json_pack("{s:s, s:o}", "run", json_get_string(recorded, "run", ""),
                                         "items", items)) < 0
               ? error_set_memory(err)
               : 0;
}
