/* An attempt ended well: its outputs are checked, hashed, and moved to where results lie. */
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct finish_job {
    struct pool_job job;
    struct flight *flight;
    /* Of the task, which a command may rebuild while the pool works. */
    const struct step *step;
    uint8_t key[SHA256_SIZE], output[SHA256_SIZE];
    uint64_t bytes, files;
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

static int read_result(struct finish_job *job, const char *place, struct error **err) {
    OWN_STRING path = path_join(place, "result.json");
    struct stat status;
    if (!path)
        return error_set_memory(err);
    if (lstat(path, &status) < 0 || !S_ISREG(status.st_mode))
        return 0;
    OWN_FD folder = file_open(AT_FDCWD, place, O_RDONLY | O_DIRECTORY, 0, err);
    OWN_JSON result =
        folder < 0 ? NULL : json_read_file(folder, "result.json", RESULT_JSON_MAXIMUM, err);
    if (!result)
        return -1;
    if (!json_is_object(result))
        return error_set(err, ERROR_INVALID, "result.json is not an object");
    job->result = json_canonical(result, err);
    return job->result ? 0 : -1;
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

static bool same_text(const char *a, const char *b) {
    OWN_BUFFER one = {.maximum = (size_t)64 << 20}, two = {.maximum = (size_t)64 << 20};
    return file_read_all(AT_FDCWD, a, one.maximum - 1, &one, NULL) == 0 &&
           file_read_all(AT_FDCWD, b, two.maximum - 1, &two, NULL) == 0 && one.size == two.size &&
           memcmp(buffer_text(&one), buffer_text(&two), one.size) == 0;
}

/* Something lies there already. The same outputs stay as they are, for somebody may be reading
 * them. Others are exchanged; the mark tells recover() that this has happened. */
static int replace(const struct flight *flight, const char *made, const char *folder,
                   struct error **err) {
    OWN_STRING list = path_join(made, "manifest");
    OWN_STRING mark = path_join(made, flight->job);
    OWN_STRING old_list = path_join(folder, "manifest");
    OWN_STRING old_output = path_join(folder, "output");
    if (!list || !mark || !old_list || !old_output)
        return error_set_memory(err);
    if (file_exists(AT_FDCWD, old_output) && same_text(list, old_list))
        return 0;
    if (file_write_atomic(AT_FDCWD, mark, "", 0, 0600, err) < 0)
        return -1;
    if (renameat2(AT_FDCWD, made, AT_FDCWD, folder, RENAME_EXCHANGE) < 0)
        return error_set_errno(err, errno, "cannot replace outputs");
    return 0; /* the old ones go with the work folder */
}

/* work/JOB/{output, manifest} becomes results/ab/KEY, replacing what is there. */
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
    if (rename(made, folder) == 0)
        return 0;
    if (errno != EEXIST && errno != ENOTEMPTY)
        return error_set_errno(err, errno, "cannot store outputs");
    return replace(flight, made, folder, err);
}

/* We may have died while we stored them before: *ret_stored when they lie in their place. */
static int recover(const struct flight *flight, const char *folder, bool *ret_stored,
                   struct error **err) {
    if (file_exists(AT_FDCWD, flight->out))
        return 0;
    OWN_STRING half = path_join(flight->work, "result/output");
    OWN_STRING mark = path_join(folder, flight->job);
    if (!half || !mark)
        return error_set_memory(err);
    if (file_exists(AT_FDCWD, half) && !file_exists(AT_FDCWD, mark)) {
        if (rename(half, flight->out) < 0)
            return error_set_errno(err, errno, "cannot take outputs up again");
        return 0;
    }
    *ret_stored = true;
    return 0;
}

/* In the pool. */
static void store_outputs(struct pool_job *base) {
    struct finish_job *job = (struct finish_job *)base;
    struct flight *flight = job->flight;
    bool stored = false;
    OWN_STRING folder = result_folder(flight->engine, job->key);
    if (!folder) {
        error_set_memory(&job->failure);
        return;
    }
    if (recover(flight, folder, &stored, &job->failure) < 0)
        return;
    OWN_STRING place = stored ? path_join(folder, "output") : memory_copy_string(flight->out);
    if (!place) {
        error_set_memory(&job->failure);
        return;
    }
    OWN_MANIFEST manifest = manifest_build(place, MANIFEST_STRICT, NULL, &job->refused);
    if (!manifest || check_inputs(flight, &job->refused) < 0 ||
        check_declared(job, manifest, &job->refused) < 0 ||
        read_result(job, place, &job->refused) < 0)
        return;
    if (!manifest_digest(manifest, "", job->output)) {
        error_set_memory(&job->failure);
        return;
    }
    job->bytes = manifest->bytes;
    job->files = manifest->count;
    if (job->files && !stored && adopt(job, manifest, &job->failure) < 0)
        return;
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

int flight_finish(struct flight *flight, struct error **err) {
    if (!flight->task->step->step->output_count && !flight->watched_count && left_nothing(flight)) {
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
    memcpy(job->key, flight->task->key, SHA256_SIZE);
    return pool_queue(flight->task->step->run, &job->job, err);
}
