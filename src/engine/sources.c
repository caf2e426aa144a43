/* Reading what a run starts from: inputs and file parameters are listed and hashed, fans over
 * inputs are listed; all in the pool, since a dataset may be large. */
#include "private.h"

struct source_job {
    struct pool_job job;
    struct digest_cache **caches; /* inputs, then parameters; NULL where nothing is read */
    size_t count;
    struct partition_list *lists; /* by step */
    struct error **problems;
    struct error *failure;
};

static struct source *source_at(struct run *run, size_t index) {
    size_t inputs = run->pipeline->input_count;
    return index < inputs ? &run->input_sources[index] : &run->parameter_sources[index - inputs];
}

static void source_job_free(struct source_job *job) {
    if (!job)
        return;
    size_t steps = job->job.run->pipeline->step_count;
    for (size_t i = 0; job->caches && i < job->count; i++)
        digest_cache_free(job->caches[i]);
    for (size_t i = 0; i < steps; i++) {
        if (job->lists)
            partition_list_release(&job->lists[i]);
        if (job->problems)
            error_free(job->problems[i]);
    }
    memory_free(job->caches);
    memory_free(job->lists);
    memory_free(job->problems);
    error_free(job->failure);
    memory_free(job);
}

static void source_job_cleanup(struct source_job **job) {
    source_job_free(*job);
}

static const char *source_name(const struct run *run, size_t i) {
    size_t inputs = run->pipeline->input_count;
    return i < inputs ? run->pipeline->inputs[i].name : run->pipeline->parameters[i - inputs].name;
}

int sources_list(const struct fan *fan, const char *path, const struct manifest *manifest,
                 const json_t *parameters, struct partition_list *ret, struct error **err) {
    OWN_STRING inside = path_resolve_beneath(path, fan->over.path, err);
    if (!inside)
        return -1;
    OWN_STRING full = path_join(path, inside);
    if (!full)
        return error_set_memory(err);
    OWN_MANIFEST below = NULL;
    if ((!manifest || *fan->over.path) && fan->kind != FAN_CSV && fan->kind != FAN_JSON) {
        below = manifest_build(full, MANIFEST_NAMES_ONLY, NULL, err);
        if (!below)
            return -1;
    }
    return expand_list(parameters, fan, full, below ? below : manifest, ret, err);
}

/* In the pool. Touches only the run's sources, which nobody else uses meanwhile. */
static void read_sources(struct pool_job *base) {
    struct source_job *job = (struct source_job *)base;
    struct run *run = base->run;
    for (size_t i = 0; i < job->count && !job->failure; i++) {
        struct source *source = source_at(run, i);
        if (source->path && !source->manifest)
            source->manifest =
                manifest_build(source->path, source->writable ? MANIFEST_NAMES_ONLY : 0,
                               job->caches[i], &job->failure);
        if (job->failure)
            error_wrap(&job->failure, "%s", source_name(run, i));
    }
    for (size_t i = 0; i < run->pipeline->step_count && !job->failure; i++) {
        const struct fan *fan = &run->pipeline->steps[i].fan;
        if (fan->kind <= FAN_STEP || fan->kind == FAN_FUNCTION ||
            (fan->over.kind != REFERENCE_INPUT && fan->over.kind != REFERENCE_PARAMETER))
            continue;
        const struct source *source = fan->over.kind == REFERENCE_INPUT
                                          ? &run->input_sources[fan->over.index]
                                          : &run->parameter_sources[fan->over.index];
        if (!source->path)
            continue;
        if (sources_list(fan, source->path, source->manifest, run->parameters, &job->lists[i],
                         &job->problems[i]) < 0)
            continue;
    }
}

/* Adds {name: digest} of each source to the run's record. */
static int save_digests(struct run *run, struct error **err) {
    OWN_JSON digests = json_object();
    size_t inputs = run->pipeline->input_count;
    size_t count = inputs + run->pipeline->parameter_count;
    for (size_t i = 0; digests && i < count; i++) {
        const struct source *source = source_at(run, i);
        if (!source->manifest || source->writable)
            continue;
        uint8_t digest[SHA256_SIZE];
        char text[SHA256_HEX_SIZE];
        if (!manifest_digest(source->manifest, "", digest))
            return error_set_memory(err);
        hex_encode(digest, sizeof(digest), text);
        OWN_STRING name =
            i < inputs ? memory_format("inputs.%s", run->pipeline->inputs[i].name)
                       : memory_format("params.%s", run->pipeline->parameters[i - inputs].name);
        if (!name)
            return error_set_memory(err);
        json_object_set_new(digests, name,
                            json_pack("{s:s, s:i, s:I}", "sha256", text, "files",
                                      (int)source->manifest->count, "bytes",
                                      (json_int_t)source->manifest->bytes));
    }
    OWN_STRING text = digests ? json_canonical(digests, err) : NULL;
    if (!text)
        return error_set_memory(err);
    return store_run(run->engine->store, err, "UPDATE run SET digests = ? WHERE id = ?", "si", text,
                     run->id);
}

/* Lists the fan's partitions, unless it was done before this program drove the run. */
static int ask_function(struct run *run, size_t fan_step, struct error **err) {
    const struct node *root = run->axes[run->pipeline->step_count]->nodes[0];
    struct range *range = axis_range(run->axes[fan_step], root, err);
    struct error *problem = NULL;
    if (!range || range->made || call_partitions(run, fan_step, &problem) == 0)
        return range ? 0 : -1;
    const struct partition_list none = {0};
    return expand_from_source(run, fan_step, &none, problem, err);
}

/* A pipe or a socket has no content to hash, and whoever reads it may wait for ever. */
static int warn_of_ignored(struct run *run, size_t i, struct error **err) {
    const struct manifest *manifest = source_at(run, i)->manifest;
    if (!manifest || !manifest->ignored)
        return 0;
    OWN_STRING message =
        memory_format("%s: not a file, folder or link, so left out of account: %zu",
                      source_name(run, i), manifest->ignored);
    if (!message)
        return error_set_memory(err);
    return event_add(run->engine, run->id, 0, "warning",
                     json_pack("{s:s, s:s}", "message", message, "hint",
                               "remove the pipes, sockets and devices from it"),
                     err);
}

static int sources_done(struct pool_job *base, struct error **err) {
    CLEANUP(source_job_cleanup) struct source_job *job = (struct source_job *)base;
    struct run *run = base->run;
    run->sources_busy = false;
    run->sources_ready = true;
    if (engine_write(run->engine, err) < 0)
        return -1;
    if (job->failure) {
        OWN_ERROR failure = take(&job->failure);
        run->stopping = true; /* what runs goes on; then the run fails */
        return event_add(
            run->engine, run->id, 0, "problem",
            json_pack("{s:s, s:s*}", "message", failure->message, "hint", failure->hint), err);
    }
    for (size_t i = 0; i < job->count; i++)
        if ((job->caches[i] && digest_cache_save(run->engine->store, job->caches[i], err) < 0) ||
            warn_of_ignored(run, i, err) < 0)
            return -1;
    if (save_digests(run, err) < 0)
        return -1;
    for (size_t i = 0; i < run->pipeline->step_count; i++) {
        const struct fan *fan = &run->pipeline->steps[i].fan;
        if (fan->kind == FAN_FUNCTION && ask_function(run, i, err) < 0)
            return -1;
        if (fan->kind > FAN_STEP && fan->kind != FAN_FUNCTION && fan->over.kind != REFERENCE_STEP &&
            fan->over.kind != REFERENCE_ITEM &&
            expand_from_source(run, i, &job->lists[i], take(&job->problems[i]), err) < 0)
            return -1;
    }
    return graph_drain(run, err);
}

static int bind_sources(struct run *run, struct source_job *job, struct error **err) {
    const struct pipeline *pipeline = run->pipeline;
    for (size_t i = 0; i < pipeline->input_count; i++) {
        struct source *source = &run->input_sources[i];
        source->path = json_get_string(run->inputs, pipeline->inputs[i].name, NULL);
        source->writable = pipeline->inputs[i].writable;
    }
    for (size_t i = 0; i < pipeline->parameter_count; i++) {
        enum value_type type = pipeline->parameters[i].type;
        if (type == VALUE_FILE || type == VALUE_DIRECTORY)
            run->parameter_sources[i].path =
                json_get_string(run->parameters, pipeline->parameters[i].name, NULL);
    }
    for (size_t i = 0; i < job->count; i++) {
        struct source *source = source_at(run, i);
        if (source->path && *source->path == '\0')
            source->path = NULL;
        if (!source->path || source->writable || source->manifest)
            continue;
        job->caches[i] = digest_cache_load(run->engine->store, source->path, err);
        if (!job->caches[i])
            return -1;
    }
    return 0;
}

int sources_begin(struct run *run, struct error **err) {
    if (run->sources_ready || run->sources_busy)
        return 0;
    CLEANUP(source_job_cleanup) struct source_job *job = memory_allocate(sizeof(*job));
    if (!job)
        return error_set_memory(err);
    job->job = (struct pool_job){.run = run, .work = read_sources, .done = sources_done};
    job->count = run->pipeline->input_count + run->pipeline->parameter_count;
    job->caches = memory_array(job->count, sizeof(*job->caches));
    job->lists = memory_array(run->pipeline->step_count, sizeof(*job->lists));
    job->problems = memory_array(run->pipeline->step_count, sizeof(*job->problems));
    if (!job->caches || !job->lists || !job->problems)
        return error_set_memory(err);
    if (bind_sources(run, job, err) < 0)
        return -1;
    run->sources_busy = true;
    return pool_queue(run, &take(&job)->job, err);
}
