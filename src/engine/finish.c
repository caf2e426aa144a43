/* An attempt ended well: its outputs are checked, hashed, and moved to where results lie. */
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is on record under the key already. */
struct known {
    bool any, dropped;
    uint8_t output[SHA256_SIZE];
};

struct finish_job {
    struct pool_job job;
    struct flight *flight;
    /* Of the task, which a command may rebuild while the pool works. */
    const struct step *step;
    uint8_t key[SHA256_SIZE], output[SHA256_SIZE];
    struct known known;
    uint64_t bytes, files;
    size_t outside;        /* links among them that lead outside */
    char *result;          /* of result.json, canonical */
    struct error *refused; /* what the guest did wrong */
    struct error *failure; /* what went wrong with us */
};

static void finish_job_free(struct finish_job *job) {
    memory_free(job->result);
    error_free(job->refused);
    error_free(job->failure);
    memory_free(job);
}

static void finish_job_cleanup(struct finish_job **job) {
    finish_job_free(*job);
}

static bool is_known(const struct finish_job *job) {
    return job->known.any && memcmp(job->known.output, job->output, SHA256_SIZE) == 0;
}

/* A result under the key of other bytes would be reused for them. The look is a short one: of a
 * large input only so many files. */
#define WATCHED_FILES 10000

static int check_inputs(const struct flight *flight, struct error **err) {
    size_t budget = WATCHED_FILES;
    for (size_t i = 0; i < flight->watched_count && budget; i++) {
        const struct watched *watched = &flight->watched[i];
        if (manifest_check_unchanged(watched->source->manifest, watched->source->path,
                                     watched->path, &budget, err) < 0) {
            error_wrap(err, "an input changed while the run read it");
            return error_hint(err, "when it is complete, `glovebox retry` goes on");
        }
    }
    return 0;
}

static int check_declared(const struct finish_job *job, const struct manifest *manifest,
                          struct error **err) {
    for (size_t i = 0; i < job->step->output_count; i++)
        if (!manifest_find(manifest, job->step->outputs[i])) {
            error_set(err, ERROR_NOT_FOUND, "it did not leave its output \"%s\"",
                      job->step->outputs[i]);
            return error_hint(err, "outputs belong below $GLOVEBOX_OUT");
        }
    return 0;
}

/* The same outputs are on record. They stay as they are, for somebody may be reading them; where
 * their bytes were dropped, these take their place. */
static int restore(const struct finish_job *job, const char *made, const char *folder,
                   struct error **err) {
    OWN_STRING list = path_join(made, "manifest");
    OWN_STRING output = path_join(made, "output");
    OWN_STRING old_list = path_join(folder, "manifest");
    OWN_STRING old_output = path_join(folder, "output");
    if (!list || !output || !old_list || !old_output)
        return error_set_memory(err);
    if (!job->known.dropped && file_exists(AT_FDCWD, old_output))
        return 0;
    if (directory_make(AT_FDCWD, folder, 0755, err) < 0 ||
        tree_remove(AT_FDCWD, old_output, err) < 0)
        return -1;
    if (rename(list, old_list) < 0 || rename(output, old_output) < 0)
        return error_set_errno(err, errno, "cannot put outputs back");
    return 0;
}

/* work/JOB/{output, manifest} becomes results/ab/KEY. */
static int adopt(const struct finish_job *job, const struct manifest *manifest,
                 struct error **err) {
    const struct flight *flight = job->flight;
    OWN_STRING folder = result_folder(flight->engine, job->key);
    OWN_STRING made = path_join(flight->work, "result");
    OWN_STRING output = made ? path_join(made, "output") : NULL;
    OWN_STRING list = made ? path_join(made, "manifest") : NULL;
    OWN_STRING parent =
        folder ? memory_copy_bytes(folder, (size_t)(path_base_name(folder) - folder) - 1) : NULL;
    if (!parent || !list || !output)
        return error_set_memory(err);
    if (directory_make(AT_FDCWD, made, 0755, err) < 0 ||
        directory_make(AT_FDCWD, parent, 0700, err) < 0)
        return -1;
    if (rename(flight->out, output) < 0)
        return error_set_errno(err, errno, "cannot move outputs");
    if (manifest_write(manifest, AT_FDCWD, list, err) < 0)
        return -1;
    if (is_known(job))
        return restore(job, made, folder, err);
    if (rename(made, folder) == 0)
        return 0;
    if (errno != EEXIST && errno != ENOTEMPTY)
        return error_set_errno(err, errno, "cannot store outputs");
    /* Nobody knows of what lies there: its record was lost with the machine's power. */
    if (tree_remove(AT_FDCWD, folder, err) < 0)
        return -1;
    return rename(made, folder) == 0 ? 0 : error_set_errno(err, errno, "cannot store outputs");
}

/* We may have died while we stored them before: *ret_place is where they lie now. */
static int recover(struct finish_job *job, char **ret_place, bool *ret_stored, struct error **err) {
    const struct flight *flight = job->flight;
    uint8_t own_key[SHA256_SIZE];
    OWN_STRING half = path_join(flight->work, "result/output");
    if (!half)
        return error_set_memory(err);
    *ret_stored = !file_exists(AT_FDCWD, flight->out) && !file_exists(AT_FDCWD, half);
    if (!*ret_stored) {
        if (!file_exists(AT_FDCWD, flight->out) && rename(half, flight->out) < 0)
            return error_set_errno(err, errno, "cannot take outputs up again");
        *ret_place = memory_copy_string(flight->out);
        return *ret_place ? 0 : error_set_memory(err);
    }
    if (flight_own_key(flight, own_key, err) < 0)
        return -1;
    OWN_STRING own = result_folder(flight->engine, own_key);
    if (own && file_exists(AT_FDCWD, own))
        memcpy(job->key, own_key, SHA256_SIZE);
    OWN_STRING folder = result_folder(flight->engine, job->key);
    *ret_place = own && folder ? path_join(folder, "output") : NULL;
    return *ret_place ? 0 : error_set_memory(err);
}

/* In the pool. */
static void store_outputs(struct pool_job *base) {
    struct finish_job *job = (struct finish_job *)base;
    bool stored = false;
    OWN_STRING place = NULL;
    if (recover(job, &place, &stored, &job->failure) < 0)
        return;
    OWN_MANIFEST manifest = manifest_build(place, MANIFEST_STRICT, NULL, &job->refused);
    if (!manifest || check_inputs(job->flight, &job->refused) < 0 ||
        check_declared(job, manifest, &job->refused) < 0 ||
        result_read(place, RESULT_JSON_MAXIMUM, &job->result, &job->refused) < 0)
        return;
    if (!manifest_digest(manifest, "", job->output)) {
        error_set_memory(&job->failure);
        return;
    }
    job->bytes = manifest->bytes;
    job->files = manifest->count;
    job->outside = manifest->outside;
    if (job->known.any && !is_known(job) &&
        flight_own_key(job->flight, job->key, &job->failure) < 0)
        return; /* the same work, done anew, left something else: that lies apart */
    if (job->files && !stored && adopt(job, manifest, &job->failure) < 0)
        return;
}

int finish_note_links(const struct task *task, size_t outside, struct error **err) {
    const struct run *run = task->step->run;
    return outside ? event_add(run->engine, run->id, task->id, "links",
                               json_pack("{s:I}", "outside", (json_int_t)outside), err)
                   : 0;
}

static int outputs_stored(struct pool_job *base, struct error **err) {
    CLEANUP(finish_job_cleanup) struct finish_job *job = (struct finish_job *)base;
    struct flight *flight = job->flight;
    struct error *problem = job->refused ? job->refused : job->failure;
    if (problem) {
        flight->report.cause = job->refused ? CAUSE_OUTPUT : CAUSE_NOT_STARTED;
        memory_free(flight->detail);
        flight->detail = problem->hint ? memory_format("%s (%s)", problem->message, problem->hint)
                                       : memory_copy_string(problem->message);
        return flight_failed(flight, err);
    }
    memcpy(flight->task->key, job->key, SHA256_SIZE);
    memcpy(flight->task->output, job->output, SHA256_SIZE);
    flight->task->has_output = job->files > 0;
    if (finish_note_links(flight->task, job->outside, err) < 0)
        return -1;
    return flight_succeeded(flight, job->result, job->bytes, job->files, err);
}

/* Most steps of some pipelines leave nothing: rmdir finds that out and tidies up at once. */
static bool left_nothing(const struct flight *flight) {
    if (rmdir(flight->out) == 0)
        return true;
    if (errno != ENOENT)
        return false;
    /* So we found before we died. */
    OWN_STRING half = path_join(flight->work, "result");
    OWN_STRING folder = result_folder(flight->engine, flight->task->key);
    return half && folder && !file_exists(AT_FDCWD, half) && !file_exists(AT_FDCWD, folder);
}

static int find_known(const struct flight *flight, struct known *ret, struct error **err) {
    OWN_ROWS rows =
        store_query(flight->engine->store, err, "SELECT output, dropped FROM result WHERE key = ?",
                    "b", (const void *)flight->task->key, (size_t)SHA256_SIZE);
    if (!rows)
        return -1;
    int more = rows_next(rows, err);
    if (more <= 0)
        return more;
    size_t size = 0;
    const void *output = rows_bytes(rows, 0, &size);
    ret->any = size == SHA256_SIZE;
    ret->dropped = !rows_null(rows, 1);
    if (ret->any)
        memcpy(ret->output, output, SHA256_SIZE);
    return 0;
}

int flight_finish(struct flight *flight, struct error **err) {
    struct known known = {0};
    if (find_known(flight, &known, err) < 0)
        return -1;
    if (!known.any && !flight->task->step->step->output_count && !flight->watched_count &&
        left_nothing(flight)) {
        sha256_of("", 0, flight->task->output);
        flight->task->has_output = false;
        return flight_succeeded(flight, NULL, 0, 0, err);
    }
    struct finish_job *job = memory_allocate(sizeof(*job));
    if (!job)
        return error_set_memory(err);
    job->job = (struct pool_job){
        .run = flight->task->step->run, .work = store_outputs, .done = outputs_stored};
    job->flight = flight;
    job->step = flight->task->step->step;
    job->known = known;
    memcpy(job->key, flight->task->key, SHA256_SIZE);
    return pool_queue(flight->task->step->run, &job->job, err);
}
