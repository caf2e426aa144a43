/* Housekeeping: bytes go, knowledge stays. */
#include "private.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

struct victim {
    uint8_t key[SHA256_SIZE];
    uint64_t bytes;
};

/* What the outputs of the home's runs are, into the table `kept`. */
static int keep_outputs_of(struct engine *engine, const char *name, struct error **err) {
    OWN_PIPELINE pipeline = engine_pipeline(engine, name, err);
    if (!pipeline)
        return -1;
    for (size_t i = 0; i < pipeline->output_count; i++)
        if (pipeline->outputs[i].from.kind == REFERENCE_STEP &&
            store_run(
                engine->store, err,
                "INSERT OR IGNORE INTO kept SELECT key FROM task JOIN run ON "
                "run.id = task.run WHERE run.name = ? AND step = ? AND task.state >= 0 AND key IS "
                "NOT NULL",
                "si", name, (int64_t)pipeline->outputs[i].from.index) < 0)
            return -1;
    return 0;
}

static int keep_outputs(struct engine *engine, struct error **err) {
    if (store_script(engine->store,
                     "CREATE TEMP TABLE IF NOT EXISTS kept(key BLOB PRIMARY KEY) WITHOUT ROWID;"
                     "DELETE FROM kept;",
                     err) < 0)
        return -1;
    OWN_JSON names = json_array();
    struct rows *rows = store_query(engine->store, err, "SELECT name FROM run", "");
    int more = rows && names ? 0 : -1;
    while (more >= 0 && (more = rows_next(rows, err)) > 0)
        if (json_array_append_new(names, json_string(rows_text(rows, 0))) < 0)
            more = error_set_memory(err);
    rows_close(rows);
    if (more < 0)
        return -1;
    size_t index;
    json_t *name;
    json_array_foreach(names, index, name) {
        if (keep_outputs_of(engine, json_string_value(name), err) < 0)
            return -1;
    }
    return 0;
}

/* A result is needed while a run under way stands on it, or hands it over. */
static const char victims_sql[] =
    "SELECT key, bytes FROM result WHERE dropped IS NULL AND files > 0 AND used < ? AND NOT EXISTS("
    "SELECT 1 FROM task JOIN run ON run.id = task.run WHERE run.state < 4 AND task.key = "
    "result.key) AND key NOT IN (SELECT key FROM kept)";

static int list_victims(struct engine *engine, int64_t before, struct victim **ret,
                        size_t *ret_count, struct error **err) {
    size_t capacity = 0;
    OWN_ROWS rows = store_query(engine->store, err, victims_sql, "i", before);
    if (!rows)
        return -1;
    int more;
    while ((more = rows_next(rows, err)) > 0) {
        size_t size = 0;
        const void *key = rows_bytes(rows, 0, &size);
        if (size != SHA256_SIZE)
            continue;
        if (array_reserve(ret, &capacity, *ret_count, sizeof(**ret), (size_t)64 << 20, err) < 0)
            return -1;
        memcpy((*ret)[*ret_count].key, key, SHA256_SIZE);
        (*ret)[(*ret_count)++].bytes = (uint64_t)rows_integer(rows, 1);
    }
    return more;
}

static int drop(struct engine *engine, const struct victim *victim, struct error **err) {
    /* First the word, then the deed: a crash between leaves bytes that nobody counts on. */
    if (store_run(engine->store, err, "UPDATE result SET dropped = ? WHERE key = ?", "ib",
                  clock_wall(), (const void *)victim->key, (size_t)SHA256_SIZE) < 0)
        return -1;
    OWN_STRING folder = result_folder(engine, victim->key);
    OWN_STRING output = folder ? path_join(folder, "output") : NULL;
    return output ? tree_remove(AT_FDCWD, output, err) : error_set_memory(err);
}

static int is_running(struct engine *engine, const char *job, bool *ret, struct error **err) {
    int64_t task = 0, number = 0, running = 0;
    if (flight_parse_job(job, &task, &number) &&
        store_integer(engine->store, 0, &running, err,
                      "SELECT count(*) FROM attempt JOIN task ON task.id = attempt.task WHERE "
                      "task = ? AND number = ? AND job = ? AND task.state = 2",
                      "iis", task, number, job) < 0)
        return -1;
    *ret = running > 0;
    return 0;
}

/* One that cannot be removed does not keep the others. */
int gc_sweep_work(struct engine *engine, bool dry_run, struct gc_report *ret, struct error **err) {
    OWN_STRING path = home_path(engine, "work");
    OWN_ERROR first = NULL;
    DIR *stream = path ? opendir(path) : NULL;
    int result = 0;
    for (struct dirent *entry; stream && result == 0 && (entry = readdir(stream));) {
        bool running = false;
        struct error *problem = NULL;
        if (entry->d_name[0] == '.' ||
            (result = is_running(engine, entry->d_name, &running, err)) < 0 || running)
            continue;
        if (dry_run || tree_remove(dirfd(stream), entry->d_name, &problem) == 0) {
            ret->work_folders++;
        } else if (first) {
            error_free(problem);
        } else {
            error_wrap(&problem, "%s/%s", path, entry->d_name);
            error_hint(&problem, "is something mounted in it, or does it belong to somebody else? "
                                 "End that, then run glovebox gc");
            first = problem;
        }
    }
    if (stream)
        closedir(stream);
    return result < 0 || !first ? result : error_move(err, take(&first));
}

static int lock_or_say(struct engine *engine, struct error **err) {
    int locked = home_lock(engine, err);
    if (locked > 0)
        return 0;
    home_unlock(engine);
    if (locked < 0)
        return -1;
    error_set(err, ERROR_BUSY, "a run is being driven in %s", engine->home);
    return error_hint(err, "wait until it ends, or `glovebox pause` it");
}

int engine_gc(struct engine *engine, int64_t older_than, bool dry_run, struct gc_report *ret,
              struct error **err) {
    memset(ret, 0, sizeof(*ret));
    if (lock_or_say(engine, err) < 0)
        return -1;
    struct victim *victims = NULL;
    size_t count = 0;
    int result = keep_outputs(engine, err);
    if (result == 0)
        result = list_victims(engine, clock_wall() - older_than + 1, &victims, &count, err);
    for (size_t i = 0; i < count && result == 0; i++) {
        ret->results++;
        ret->bytes += victims[i].bytes;
        if (!dry_run)
            result = drop(engine, &victims[i], err);
    }
    memory_free(victims);
    if (result == 0)
        result = gc_sweep_work(engine, dry_run, ret, err);
    home_unlock(engine);
    return result;
}

static int count_bytes(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                       struct error **err) {
    (void)verdict;
    (void)err;
    *(uint64_t *)context += (uint64_t)entry->status->st_size;
    return 0;
}

int engine_remove(struct engine *engine, const char *run, bool dry_run, struct gc_report *ret,
                  struct error **err) {
    memset(ret, 0, sizeof(*ret));
    int64_t id = run_id_of(engine, run, err), running = 0;
    if (id < 0)
        return -1;
    if (store_integer(engine->store, 0, &running, err,
                      "SELECT count(*) FROM task WHERE run = ? AND state = 2", "i", id) < 0)
        return -1;
    int64_t state = 0;
    if (store_integer(engine->store, 0, &state, err, "SELECT state FROM run WHERE id = ?", "i",
                      id) < 0)
        return -1;
    if (running || state == RUN_RUNNING) {
        error_set(err, ERROR_BUSY, "run %s has not ended", run);
        return error_hint(err, "`glovebox cancel %s` first", run);
    }
    if (reporting_check_told(engine, run, err) < 0)
        return -1;
    OWN_STRING folder = home_path(engine, "runs/%s", run);
    if (!folder)
        return error_set_memory(err);
    if (file_exists(AT_FDCWD, folder) &&
        tree_walk(AT_FDCWD, folder, count_bytes, &ret->bytes, err) < 0)
        return -1;
    if (dry_run)
        return 0;
    if (lock_or_say(engine, err) < 0)
        return -1;
    int result = store_run(engine->store, err, "DELETE FROM run WHERE id = ?", "i", id);
    if (result == 0)
        result = tree_remove(AT_FDCWD, folder, err);
    home_unlock(engine);
    return result;
}
