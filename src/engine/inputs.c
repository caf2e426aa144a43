/* What an attempt reads: from references to mounts, links and digests. */
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static bool is_file(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

static bool sealed(const struct flight *flight) {
    return flight->task->step->step->box == BOX_WISH_SEALED;
}

/* One thing found for a reference. */
struct found {
    char *source;
    const char *name; /* as it was asked for; NULL: that of the source */
    char digest[SHA256_HEX_SIZE + 8];
};
static void found_release(struct found *found) {
    memory_free(found->source);
}

static void set_digest(struct found *found, const uint8_t digest[SHA256_SIZE]) {
    hex_encode(digest, SHA256_SIZE, found->digest);
}

static int find_nothing(struct flight *flight, struct found *ret, struct error **err) {
    ret->source = home_path(flight->engine, "empty");
    (void)snprintf(ret->digest, sizeof(ret->digest), "nothing");
    return ret->source ? 0 : error_set_memory(err);
}

/* The key says what was read when the run began: it is looked at again at the end. */
static int watch(struct flight *flight, const struct source *source, const char *path,
                 struct error **err) {
    if (array_reserve(&flight->watched, &flight->watched_capacity, flight->watched_count,
                      sizeof(*flight->watched), MANIFEST_MAXIMUM_ENTRIES, err) < 0)
        return -1;
    const char *copy = arena_copy_string(flight->arena, path);
    if (!copy)
        return error_set_memory(err);
    flight->watched[flight->watched_count++] = (struct watched){source, copy};
    return 0;
}

static int find_in_source(struct flight *flight, const struct source *source, const char *path,
                          struct found *ret, struct error **err) {
    if (!source->path)
        return find_nothing(flight, ret, err);
    OWN_STRING inside = path_resolve_beneath(source->path, path, err);
    if (!inside)
        return -1;
    ret->source = path_join(source->path, inside);
    ret->name = *path ? path_base_name(path) : NULL;
    if (!ret->source)
        return error_set_memory(err);
    if (source->writable) {
        flight->cacheable = false;
        (void)snprintf(ret->digest, sizeof(ret->digest), "writable");
        return 0;
    }
    uint8_t digest[SHA256_SIZE];
    if (!source->manifest || !manifest_digest(source->manifest, inside, digest))
        return error_set(err, ERROR_NOT_FOUND, "the input has no \"%s\"", path);
    set_digest(ret, digest);
    return watch(flight, source, inside, err);
}

const struct manifest *result_manifest(struct task *task, struct error **err) {
    struct run *run = task->step->run;
    if (run->kept_manifest && memcmp(run->kept_key, task->key, SHA256_SIZE) == 0)
        return run->kept_manifest;
    OWN_STRING folder = result_folder(run->engine, task->key);
    OWN_STRING path = folder ? path_join(folder, "manifest") : NULL;
    if (!path) {
        error_set_memory(err);
        return NULL;
    }
    struct manifest *manifest = manifest_read(AT_FDCWD, path, err);
    if (!manifest)
        return NULL;
    manifest_free(run->kept_manifest);
    run->kept_manifest = manifest;
    memcpy(run->kept_key, task->key, SHA256_SIZE);
    return manifest;
}

static int find_in_task(struct flight *flight, struct task *task, const char *path,
                        struct found *ret, struct error **err) {
    if (!task || !task_has_data(task) || !task->has_output)
        return find_nothing(flight, ret, err);
    OWN_STRING root = result_path(task, "");
    if (!root)
        return error_set_memory(err);
    /* Dropped bytes have nothing to resolve; their digests are known all the same. */
    OWN_STRING inside = file_exists(AT_FDCWD, root) ? path_resolve_beneath(root, path, err)
                                                    : memory_copy_string(path);
    if (!inside)
        return -1;
    ret->source = path_join(root, inside);
    ret->name = *path ? path_base_name(path) : NULL;
    if (!ret->source)
        return error_set_memory(err);
    if (!*path) {
        set_digest(ret, task->output);
        return 0;
    }
    uint8_t digest[SHA256_SIZE];
    const struct manifest *manifest = result_manifest(task, err);
    if (!manifest)
        return -1;
    if (!manifest_digest(manifest, inside, digest))
        return error_set(err, ERROR_NOT_FOUND, "step %s left no \"%s\"", task->step->step->id,
                         path);
    set_digest(ret, digest);
    return 0;
}

/* Where it is seen from inside, and how it gets there. `base` is /in or /in/NAME. */
static int place(struct flight *flight, const struct found *found, const char *base,
                 const char *name, struct error **err) {
    const char *shown = NULL;
    const char *own = found->name ? found->name : path_base_name(found->source);
    if (!sealed(flight)) {
        shown = arena_copy_string(flight->arena, found->source);
    } else {
        shown = is_file(found->source) ? arena_format(flight->arena, "%s/%s", base, own)
                                       : arena_copy_string(flight->arena, base);
        if (shown && flight_add_mount(flight, found->source, shown, false, err) < 0)
            return -1;
    }
    if (!shown)
        return error_set_memory(err);
    json_t *inputs = json_object_get(flight->recipe, "inputs");
    json_object_set_new(inputs, *name ? name : "in",
                        json_pack("{s:s, s:s}", "digest", found->digest, "name",
                                  is_file(found->source) ? own : ""));
    json_object_set_new(flight->in_paths, name, json_string(shown));
    return 0;
}

/* A folder of links below the attempt's work folder, for what lies in several places. */
static int find_farm(const char *farm, json_t *parts, struct found *ret, struct error **err) {
    OWN_STRING text = json_canonical(parts, err);
    if (!text)
        return -1;
    uint8_t digest[SHA256_SIZE];
    sha256_of(text, strlen(text), digest);
    set_digest(ret, digest);
    ret->source = memory_copy_string(farm);
    return ret->source ? directory_make(AT_FDCWD, farm, 0755, err) : error_set_memory(err);
}

/* ------------------------------------------------------------ many into one */

struct join {
    struct flight *flight;
    const struct reference *reference;
    const struct run_step *upstream;
    const char *farm;
    json_t *parts;
};

static int join_task(struct node *node, void *context, struct error **err) {
    struct join *join = context;
    struct task *task =
        node->index < join->upstream->task_capacity ? join->upstream->tasks[node->index] : NULL;
    if (!task || !task_has_data(task))
        return 0;
    CLEANUP(found_release) struct found found = {0};
    if (find_in_task(join->flight, task, join->reference->path, &found, err) < 0)
        return -1;
    /* Within a group the group's own key says nothing. */
    const char *group = node_at_level(node, (uint32_t)join->reference->common)->key;
    const char *key = *group ? node->key + strlen(group) + 1 : node->key;
    if (!*node->key || !*key)
        key = "all";
    OWN_STRING safe = path_is_safe_relative(key) ? memory_copy_string(key) : text_safe_name(key);
    OWN_STRING target = safe ? path_join(join->farm, safe) : NULL;
    if (!target)
        return error_set_memory(err);
    if (is_file(found.source)) {
        if (directory_make(AT_FDCWD, target, 0755, err) < 0)
            return -1;
        OWN_STRING file = path_join(target, found.name ? found.name : path_base_name(found.source));
        if (!file)
            return error_set_memory(err);
        memory_free(target);
        target = take(&file);
    }
    json_array_append_new(join->parts, json_pack("[s, s]", node->key, found.digest));
    return flight_add_farm(join->flight, found.source, target, err);
}

static int find_join(struct flight *flight, const struct reference *reference, const char *farm,
                     struct found *ret, struct error **err) {
    struct run *run = flight->task->step->run;
    OWN_JSON parts = json_array();
    if (!parts)
        return error_set_memory(err);
    struct join join = {flight, reference, &run->steps[reference->index], farm, parts};
    struct node *top = node_at_level(flight->task->node, (uint32_t)reference->common);
    if (axis_visit(join.upstream->axis, top, join_task, &join, err) < 0)
        return -1;
    return find_farm(farm, parts, ret, err);
}

/* ------------------------------------------------------------------ the item */

static int find_in_spot(struct flight *flight, const struct spot *spot, struct found *ret,
                        struct error **err) {
    return spot->task ? find_in_task(flight, spot->task, spot->path, ret, err)
                      : find_in_source(flight, spot->source, spot->path, ret, err);
}

/* One file of a DICOM group: linked under its own name into the group's folder. */
static int add_group_file(struct flight *flight, size_t fan_step, struct node *node,
                          const char *path, const char *farm, json_t *parts, struct error **err) {
    CLEANUP(spot_release) struct spot spot = {0};
    CLEANUP(found_release) struct found found = {0};
    if (!path_is_safe_relative(path))
        return error_set(err, ERROR_CORRUPT, "a file of the group has a bad name");
    if (spot_of_item(flight->task->step->run, fan_step, node, path, &spot, err) < 0 ||
        find_in_spot(flight, &spot, &found, err) < 0)
        return -1;
    OWN_STRING target = path_join(farm, path);
    if (!target)
        return error_set_memory(err);
    json_array_append_new(parts, json_pack("[s, s]", path, found.digest));
    return flight_add_farm(flight, found.source, target, err);
}

static int find_group(struct flight *flight, size_t fan_step, struct node *node, const char *farm,
                      struct found *ret, struct error **err) {
    OWN_JSON files = json_parse(node->files, strlen(node->files), err);
    OWN_JSON parts = json_array();
    if (!files || !parts)
        return files ? error_set_memory(err) : -1;
    size_t index;
    json_t *file;
    json_array_foreach(files, index, file) {
        if (add_group_file(flight, fan_step, node, json_string_value(file), farm, parts, err) < 0)
            return -1;
    }
    return find_farm(farm, parts, ret, err);
}

/* Leaves ret->source NULL for a row, which is no file: it is seen through ${item}. */
static int find_item(struct flight *flight, const struct reference *reference, const char *farm,
                     struct found *ret, struct error **err) {
    struct run *run = flight->task->step->run;
    struct node *node = node_at_level(flight->task->node, (uint32_t)reference->level + 1);
    size_t fan_step = flight->task->step->step->axis[reference->level];
    const struct fan *fan = &run->pipeline->steps[fan_step].fan;
    if (node->files)
        return find_group(flight, fan_step, node, farm, ret, err);
    if (!*node->path && (fan->kind == FAN_CSV || fan->kind == FAN_JSON))
        return 0;
    CLEANUP(spot_release) struct spot spot = {0};
    if (spot_of_item(run, fan_step, node, reference->path, &spot, err) < 0 ||
        find_in_spot(flight, &spot, ret, err) < 0)
        return -1;
    if (!ret->name)
        return 0;
    ret->name = arena_copy_string(flight->arena, ret->name); /* it was the spot's */
    return ret->name ? 0 : error_set_memory(err);
}

/* -------------------------------------------------------------- references */

/* `farm`: the host path of the folder of links, if one is needed. */
static int find_reference(struct flight *flight, const struct reference *reference,
                          const char *farm, struct found *ret, struct error **err) {
    struct run *run = flight->task->step->run;
    switch (reference->kind) {
    case REFERENCE_INPUT:
        return find_in_source(flight, &run->input_sources[reference->index], reference->path, ret,
                              err);
    case REFERENCE_PARAMETER:
        return find_in_source(flight, &run->parameter_sources[reference->index], reference->path,
                              ret, err);
    case REFERENCE_ITEM:
        return find_item(flight, reference, farm, ret, err);
    case REFERENCE_STEP:
        break;
    }
    if (reference->relation == RELATION_JOIN)
        return find_join(flight, reference, farm, ret, err);
    return find_in_task(flight, graph_upstream(flight->task, reference->index), reference->path,
                        ret, err);
}

static int prepare_reference(struct flight *flight, const struct reference *reference,
                             struct error **err) {
    const char *base =
        *reference->name ? arena_format(flight->arena, "/in/%s", reference->name) : "/in";
    const char *farm = arena_format(flight->arena, "%s/in/%s", flight->work,
                                    *reference->name ? reference->name : "in");
    CLEANUP(found_release) struct found found = {0};
    if (!base || !farm)
        return error_set_memory(err);
    if (find_reference(flight, reference, farm, &found, err) < 0)
        return -1;
    return found.source ? place(flight, &found, base, reference->name, err) : 0;
}

int flight_prepare_inputs(struct flight *flight, struct error **err) {
    const struct step *step = flight->task->step->step;
    for (size_t i = 0; i < step->input_count; i++)
        if (prepare_reference(flight, &step->inputs[i], err) < 0)
            return *step->inputs[i].name ? error_wrap(err, "in %s", step->inputs[i].name)
                                         : error_wrap(err, "in");
    return 0;
}

/* ----------------------------------------------------------- explicit mounts */

char *run_volume(const struct run *run, size_t input, struct error **err) {
    const char *name = run->pipeline->inputs[input].name;
    bool file = run->pipeline->inputs[input].type == VALUE_FILE;
    OWN_STRING path = home_path(run->engine, "runs/%s/volumes/%s", run->name, name);
    if (!path) {
        error_set_memory(err);
        return NULL;
    }
    OWN_STRING parent = file ? memory_copy_bytes(path, strlen(path) - strlen(name)) : NULL;
    if (directory_make(AT_FDCWD, file ? parent : path, 0755, err) < 0)
        return NULL;
    if (file) {
        OWN_FD fd = file_open(AT_FDCWD, path, O_WRONLY | O_CREAT, 0644, err);
        if (fd < 0)
            return NULL;
    }
    return take(&path);
}

static int prepare_mount(struct flight *flight, const struct step_mount *mount, size_t number,
                         struct error **err) {
    const struct run *run = flight->task->step->run;
    CLEANUP(found_release) struct found found = {0};
    if (mount->is_fresh) {
        found.source = path_join(flight->out, mount->name);
        if (!found.source)
            return error_set_memory(err);
        if (directory_make(AT_FDCWD, found.source, 0777, err) < 0)
            return -1;
    } else if (mount->from.kind == REFERENCE_INPUT &&
               run->pipeline->inputs[mount->from.index].writable &&
               !run->input_sources[mount->from.index].path) {
        flight->cacheable = false;
        found.source = run_volume(run, mount->from.index, err);
        if (!found.source)
            return -1;
    } else {
        const char *farm = arena_format(flight->arena, "%s/mounts/%zu", flight->work, number);
        if (!farm)
            return error_set_memory(err);
        if (find_reference(flight, &mount->from, farm, &found, err) < 0)
            return -1;
        if (!found.source)
            return error_set(err, ERROR_INVALID, "the item is a value, not a file to mount");
    }
    if (mount->writable && !mount->is_fresh)
        flight->cacheable = false;
    json_object_set_new(json_object_get(flight->recipe, "mounts"), mount->target,
                        json_string(found.digest));
    return flight_add_mount(flight, found.source, mount->target, mount->writable, err);
}

int flight_prepare_mounts(struct flight *flight, struct error **err) {
    const struct step *step = flight->task->step->step;
    for (size_t i = 0; i < step->mount_count; i++)
        if (prepare_mount(flight, &step->mounts[i], i, err) < 0)
            return error_wrap(err, "mount %s", step->mounts[i].name);
    return 0;
}
