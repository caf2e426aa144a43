/* Where a run's progress is told, what is told, and what of it has been. */
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#define FILE_INTERVAL   2000  /* ms between writings of the file, unless a person said */
#define SEND_INTERVAL   30000 /* the same for what is sent, and the first wait after a failure */
#define WAIT_MAXIMUM    3600000
#define DOUBLINGS       12
#define PROBLEM_MAXIMUM 600

static void reporting_release(struct reporting *to) {
    memory_free(to->server);
    memory_free(to->token_file);
    memory_free(to->ca_file);
    *to = (struct reporting){0};
}

void report_release(struct report *report) {
    reporting_release(&report->to);
    memory_free(report->run);
    memory_free(report->body);
    *report = (struct report){0};
}

int reporting_interval(struct engine *engine, int64_t run, int64_t *ret, struct error **err) {
    return store_integer(engine->store, FILE_INTERVAL, ret, err,
                         "SELECT every FROM reporting WHERE run = ? AND every > 0", "i", run);
}

/* -------------------------------------------------------------------- saying */

/* Commits what was done in it, or undoes it. */
static int close_transaction(struct engine *engine, int result, struct error **err) {
    if (result == 0)
        result = store_commit(engine->store, err);
    if (result < 0)
        store_rollback(engine->store);
    return result;
}

/* What another server accepted says nothing about this one. */
static int forget_sent(struct engine *engine, int64_t run, const struct reporting *to,
                       struct error **err) {
    return store_run(engine->store, err,
                     "UPDATE reporting SET sent = NULL, sent_ended = NULL, sent_at = NULL "
                     "WHERE run = ? AND (server IS NOT ? OR dataset <> ?)",
                     "isi", run, to->server, to->dataset);
}

int engine_report_to(struct engine *engine, const char *run, const struct reporting *to,
                     struct error **err) {
    int64_t id = run_id_of(engine, run, err);
    if (id < 0 || store_begin(engine->store, err) < 0)
        return -1;
    int result = forget_sent(engine, id, to, err);
    if (result == 0)
        result = store_run(
            engine->store, err,
            "INSERT INTO reporting (run, server, dataset, token_file, ca_file, progress, every, "
            "who, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run) DO UPDATE SET server = "
            "excluded.server, dataset = excluded.dataset, token_file = excluded.token_file, "
            "ca_file = excluded.ca_file, progress = excluded.progress, every = excluded.every, "
            "who = excluded.who, at = excluded.at, tries = 0, next = 0, problem = NULL",
            "isissiisi", id, to->server, to->dataset, to->token_file, to->ca_file,
            (int64_t)to->progress, to->every, engine_who(), clock_wall());
    if (result == 0 && to->server)
        result = event_add(engine, id, 0, "reporting",
                           json_pack("{s:s, s:I, s:b, s:s}", "server", to->server, "dataset",
                                     (json_int_t)to->dataset, "progress", (int)to->progress, "who",
                                     engine_who()),
                           err);
    return close_transaction(engine, result, err);
}

int engine_report_stop(struct engine *engine, const char *run, struct error **err) {
    int64_t id = run_id_of(engine, run, err);
    if (id < 0 || store_begin(engine->store, err) < 0)
        return -1;
    int result = store_run(engine->store, err, "DELETE FROM reporting WHERE run = ?", "i", id);
    if (result == 0 && store_changes(engine->store) > 0)
        result = event_add(engine, id, 0, "reporting",
                           json_pack("{s:n, s:s}", "server", "who", engine_who()), err);
    return close_transaction(engine, result, err);
}

/* ---------------------------------------------------------------------- body */

/* In MedPerf's words. A run that should move and that nobody drives was left. */
static const char *status_word(struct engine *engine, enum run_state state) {
    switch (state) {
    case RUN_PLANNED:
        return "started";
    case RUN_SUCCEEDED:
        return "finished";
    case RUN_FAILED:
        return "failed";
    case RUN_PAUSED:
    case RUN_CANCELLED:
        return "interrupted";
    case RUN_RUNNING:
        return engine_is_driven(engine) ? "running" : "interrupted";
    default:
        return "running";
    }
}

/* Steps are named by whoever wrote the pipeline. Partitions, which are named by the data, are only
 * counted. */
static int append_progress(struct engine *engine, int64_t run, const struct pipeline *pipeline,
                           struct buffer *out, struct error **err) {
    OWN_MEMORY(uint64_t) done = memory_array(pipeline->step_count, 2 * sizeof(*done));
    if (!done)
        return error_set_memory(err);
    uint64_t *all = done + pipeline->step_count;
    OWN_ROWS rows = store_query(engine->store, err,
                                "SELECT step, sum(state IN (5, 6)), count(*) FROM task WHERE "
                                "run = ? AND state >= 0 GROUP BY step",
                                "i", run);
    if (!rows)
        return -1;
    int more;
    while ((more = rows_next(rows, err)) > 0) {
        size_t step = (size_t)rows_integer(rows, 0);
        if (step >= pipeline->step_count)
            continue;
        done[step] = (uint64_t)rows_integer(rows, 1);
        all[step] = (uint64_t)rows_integer(rows, 2);
    }
    for (size_t i = 0; i < pipeline->step_count; i++) {
        buffer_append(out, i ? ", " : "");
        json_append_string(out, pipeline->steps[i].id);
        buffer_append(out, ": ");
        report_append_share(out, done[i], all[i]);
    }
    return more;
}

char *engine_report_body(struct engine *engine, const char *run, bool progress,
                         struct error **err) {
    int64_t id = run_id_of(engine, run, err), state = 0;
    const struct pipeline *pipeline = id < 0 ? NULL : query_pipeline(engine, run, err);
    if (!pipeline || store_integer(engine->store, 0, &state, err,
                                   "SELECT state FROM run WHERE id = ?", "i", id) < 0)
        return NULL;
    OWN_BUFFER out = {0};
    buffer_append(&out, "{\"report\": {\"progress\": {");
    if (progress && append_progress(engine, id, pipeline, &out, err) < 0)
        return NULL;
    buffer_format(&out, "}, \"execution_status\": \"%s\"}}",
                  status_word(engine, (enum run_state)state));
    return buffer_take(&out, err);
}

/* ------------------------------------------------------------------- telling */

/* 1 when the run reports to a server, else 0. */
static int find(struct engine *engine, const char *run, struct report *ret, struct error **err) {
    OWN_REPORT report = {0};
    OWN_ROWS rows = store_query(
        engine->store, err,
        "SELECT server, dataset, token_file, ca_file, progress, reporting.every, sent, run.ended "
        "FROM reporting JOIN run ON run.id = reporting.run WHERE run.name = ? AND server NOT NULL",
        "s", run);
    int more = rows ? rows_next(rows, err) : -1;
    if (more <= 0)
        return more;
    const char *ca_file = rows_text(rows, 3), *sent = rows_text(rows, 6);
    report.to.server = memory_copy_string(rows_text(rows, 0));
    report.to.dataset = rows_integer(rows, 1);
    report.to.token_file = memory_copy_string(rows_text(rows, 2));
    report.to.ca_file = memory_copy_string(ca_file);
    report.to.progress = rows_integer(rows, 4);
    report.to.every = rows_integer(rows, 5);
    report.ended = rows_integer(rows, 7);
    report.run = memory_copy_string(run);
    OWN_STRING before = memory_copy_string(sent);
    if (!report.to.server || !report.to.token_file || !report.run ||
        (ca_file && !report.to.ca_file) || (sent && !before))
        return error_set_memory(err);
    report.body = engine_report_body(engine, run, report.to.progress, err);
    if (!report.body)
        return -1;
    report.news = !before || !text_equal(before, report.body);
    *ret = report;
    report = (struct report){0};
    return 1;
}

int engine_report(struct engine *engine, const char *run, struct report *ret, struct error **err) {
    if (run_id_of(engine, run, err) < 0)
        return -1;
    int found = find(engine, run, ret, err);
    if (found != 0)
        return found < 0 ? -1 : 0;
    error_set(err, ERROR_NOT_FOUND, "run %s reports to no server", run);
    return error_hint(err, "`glovebox report %s --medperf URL --dataset N --token-file FILE`", run);
}

/* Longer each time, and not at the same moment as everybody else whom the server failed. */
static int wait_after(const struct report *report, int64_t tries, int64_t *ret,
                      struct error **err) {
    uint32_t chance;
    if (random_bytes(&chance, sizeof(chance), err) < 0)
        return -1;
    int64_t wait =
        report->to.every > 0 && report->to.every < SEND_INTERVAL ? report->to.every : SEND_INTERVAL;
    wait <<= tries < DOUBLINGS ? tries : DOUBLINGS;
    if (wait > WAIT_MAXIMUM)
        wait = WAIT_MAXIMUM;
    *ret = wait / 2 + chance % (wait / 2 + 1);
    return 0;
}

static int record_failure(struct engine *engine, int64_t run, const struct report *report,
                          const char *problem, struct error **err) {
    OWN_BUFFER text = {0};
    int64_t tries = 0, wait = 0;
    text_append_printable(&text, problem);
    size_t size = text.size < PROBLEM_MAXIMUM ? text.size : PROBLEM_MAXIMUM;
    while (size && (buffer_text(&text)[size] & 0xc0) == 0x80) /* in the middle of a character */
        size--;
    buffer_truncate(&text, size);
    if (store_integer(engine->store, 0, &tries, err, "SELECT tries FROM reporting WHERE run = ?",
                      "i", run) < 0 ||
        wait_after(report, tries, &wait, err) < 0)
        return -1;
    return store_run(engine->store, err,
                     "UPDATE reporting SET tries = tries + 1, next = ?, problem = ? WHERE run = ?",
                     "isi", clock_wall() + wait, buffer_text(&text), run);
}

int engine_report_done(struct engine *engine, const struct report *report, const char *problem,
                       struct error **err) {
    int64_t id = run_id_of(engine, report->run, err), now = clock_wall();
    int64_t every = report->to.every ? report->to.every : SEND_INTERVAL;
    if (id < 0)
        return -1;
    if (problem)
        return record_failure(engine, id, report, problem, err);
    return store_run(engine->store, err,
                     "UPDATE reporting SET sent = ?, sent_ended = nullif(?, 0), "
                     "sent_at = CASE WHEN ? THEN ? ELSE sent_at END, tries = 0, next = ?, "
                     "problem = NULL WHERE run = ? AND server IS ? AND dataset = ?",
                     "siiiiisi", report->body, report->ended, (int64_t)report->news, now,
                     now + every, id, report->to.server, report->to.dataset);
}

/* A clock that was set back does not silence a run. */
json_t *engine_reports_due(struct engine *engine, bool all, struct error **err) {
    OWN_JSON names = json_array();
    OWN_ROWS rows = store_query(
        engine->store, err,
        "SELECT name FROM reporting JOIN run ON run.id = reporting.run WHERE server NOT NULL AND "
        "(state < 4 OR sent_ended IS NOT ended) AND (?1 OR next <= ?2 OR next > ?2 + ?3 OR "
        "(state >= 4 AND tries = 0)) ORDER BY run.id",
        "iii", (int64_t)all, clock_wall(), (int64_t)2 * WAIT_MAXIMUM);
    if (!rows || !names)
        return NULL;
    int more;
    while ((more = rows_next(rows, err)) > 0)
        if (json_array_append_new(names, json_string(rows_text(rows, 0))) < 0) {
            error_set_memory(err);
            return NULL;
        }
    return more < 0 ? NULL : take(&names);
}

int engine_lock_reports(struct engine *engine, struct error **err) {
    OWN_FD fd = file_open(engine->home_fd, "reports.lock", O_RDWR | O_CREAT, 0600, err);
    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        int locked = fd;
        fd = -1;
        return locked;
    }
    if (errno != EWOULDBLOCK)
        return error_set_errno(err, errno, "cannot lock the reports of %s", engine->home);
    return error_set(err, ERROR_BUSY, "another program sends the reports of %s", engine->home);
}

/* -------------------------------------------------------------------- asking */

int query_add_reporting(struct engine *engine, const char *run, json_t *status,
                        struct error **err) {
    OWN_REPORT report = {0};
    int found = find(engine, run, &report, err);
    if (found <= 0)
        return found;
    OWN_ROWS rows =
        store_query(engine->store, err,
                    "SELECT sent_at, tries, reporting.next, problem, reporting.who FROM reporting "
                    "JOIN run ON run.id = reporting.run WHERE run.name = ?",
                    "s", run);
    if (!rows || rows_next(rows, err) < 0)
        return -1;
    bool failing = rows_integer(rows, 1) > 0;
    json_t *object = json_pack(
        "{s:s, s:I, s:b, s:s, s:b, s:o, s:I, s:s?, s:o}", "server", report.to.server, "dataset",
        (json_int_t)report.to.dataset, "progress", (int)report.to.progress, "agreed_by",
        rows_text(rows, 4), "sent", (int)!report.news, "sent_at", query_time(rows_integer(rows, 0)),
        "failures", (json_int_t)rows_integer(rows, 1), "problem", rows_text(rows, 3), "next",
        query_time(failing ? rows_integer(rows, 2) : 0));
    return object && json_object_set_new(status, "reporting", object) == 0 ? 0
                                                                           : error_set_memory(err);
}

int reporting_check_told(struct engine *engine, const char *run, struct error **err) {
    int64_t open = 0;
    if (store_integer(engine->store, 0, &open, err,
                      "SELECT count(*) FROM reporting JOIN run ON run.id = reporting.run WHERE "
                      "name = ? AND server NOT NULL AND sent_ended IS NOT ended",
                      "s", run) < 0)
        return -1;
    if (!open)
        return 0;
    error_set(err, ERROR_BUSY, "the last report of run %s has not been sent", run);
    return error_hint(err, "`glovebox report %s` sends it, `glovebox report %s --stop` gives it up",
                      run, run);
}
