/* Tasks that cost no process: people, time, dummies, notices; and what `next` leads to. */
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define POLL_DEFAULT 5000 /* ms between looks at a file or a condition */

static char *expand_text(struct task *task, const char *text, struct error **err) {
    OWN_JSON values = values_of(task, strstr(text, "results") != NULL, err);
    return values ? template_expand(text, values, err) : NULL;
}

/* ------------------------------------------------------------------- review */

char *people_review_folder(struct task *task, struct error **err) {
    OWN_STRING partition = text_safe_name(*task->node->key ? task->node->key : "all");
    char *path = partition ? home_path(task->step->run->engine, "runs/%s/review/%s/%s",
                                       task->step->run->name, task->step->step->id, partition)
                           : NULL;
    if (!path)
        error_set_memory(err);
    return path;
}

/* What is to be looked at is linked into the folder `in`; what a person leaves in `out` becomes
 * the step's outputs. */
static int put_aside(const struct task *task, const char *out, struct error **err) {
    OWN_STRING kept = memory_format("%s.%u", out, (unsigned)task->attempts);
    if (!kept)
        return error_set_memory(err);
    if (task->attempts && rename(out, kept) < 0 && errno != ENOENT)
        return error_set_errno(err, errno, "cannot put aside what an earlier review left");
    return 0;
}

static int make_review_folder(struct task *task, struct error **err) {
    OWN_STRING folder = people_review_folder(task, err);
    OWN_STRING out = folder ? path_join(folder, "out") : NULL;
    OWN_STRING in = folder ? path_join(folder, "in") : NULL;
    if (!in || !out)
        return error_set_memory(err);
    if (put_aside(task, out, err) < 0 || directory_make(AT_FDCWD, out, 0700, err) < 0 ||
        directory_make(AT_FDCWD, in, 0700, err) < 0)
        return -1;
    const struct step *step = task->step->step;
    for (size_t i = 0; i < step->input_count; i++) {
        const struct reference *reference = &step->inputs[i];
        if (reference->kind != REFERENCE_STEP || reference->relation == RELATION_JOIN)
            continue;
        struct task *other = graph_upstream(task, reference->index);
        OWN_STRING source =
            other && task_has_data(other) ? result_inside(other, reference->path, err) : NULL;
        if (!source && other && task_has_data(other))
            return -1;
        OWN_STRING link = path_join(in, *reference->name ? reference->name : "data");
        if (!link)
            return error_set_memory(err);
        if (source && unlink(link) < 0 && errno != ENOENT) /* of an earlier round */
            return error_set_errno(err, errno, "cannot link what is to be reviewed");
        if (source && symlink(source, link) < 0)
            return error_set_errno(err, errno, "cannot link what is to be reviewed");
    }
    return 0;
}

/* The first declared file that is not there yet, or NULL. */
static int find_missing(const struct step *step, const char *folder, const char **ret,
                        struct error **err) {
    *ret = NULL;
    for (size_t i = 0; i < step->output_count && !*ret; i++) {
        OWN_STRING path = memory_format("%s/out/%s", folder, step->outputs[i]);
        if (!path)
            return error_set_memory(err);
        if (!file_exists(AT_FDCWD, path))
            *ret = step->outputs[i];
    }
    return 0;
}

static int review_is_done(struct task *task, bool *ret, struct error **err) {
    const struct step *step = task->step->step;
    const char *missing = NULL;
    *ret = false;
    OWN_STRING folder = people_review_folder(task, err);
    if (!folder || find_missing(step, folder, &missing, err) < 0)
        return -1;
    if (missing)
        return 0;
    if (step->wait_file) {
        OWN_STRING path = expand_text(task, step->wait_file, err);
        OWN_STRING full = path ? path_join(folder, path) : NULL;
        if (!full)
            return -1;
        *ret = file_exists(AT_FDCWD, full);
        return 0;
    }
    *ret = step->output_count > 0;
    return 0;
}

/* An approval of what is not there would only fail the review. */
static int check_review(struct task *task, struct error **err) {
    const char *missing = NULL;
    OWN_STRING folder = people_review_folder(task, err);
    if (!folder || find_missing(task->step->step, folder, &missing, err) < 0)
        return -1;
    if (!missing)
        return 0;
    error_set(err, ERROR_INVALID, "the review has not left its \"%s\" yet", missing);
    return error_hint(err, "it belongs into %s/out", folder);
}

/* The folder `out` goes the way of an attempt's outputs. */
static int finish_review(struct task *task, const char *reason, struct error **err) {
    OWN_STRING folder = people_review_folder(task, err);
    OWN_STRING out = folder ? path_join(folder, "out") : NULL;
    if (!out)
        return error_set_memory(err);
    OWN_ERROR refused = NULL;
    OWN_MANIFEST manifest =
        manifest_build(out, MANIFEST_STRICT | MANIFEST_NAMES_ONLY, NULL, &refused);
    if (!manifest && refused->code == ERROR_DENIED) { /* said before anything is taken over */
        task->cause = CAUSE_OUTPUT;
        return task_move(task, TASK_FAILED, refused->message, err);
    }
    if (!manifest)
        return error_move(err, take(&refused));
    struct flight *flight = flight_new_review(task, out, err);
    if (!flight)
        return -1;
    if (task_move(task, TASK_RUNNING, reason, err) < 0 ||
        finish_note_links(task, manifest->outside, err) < 0) /* the copy is without them */
        return -1;
    return flight_finish(flight, err);
}

/* --------------------------------------------------------------------- wait */

static int wait_is_over(struct task *task, bool *ret, struct error **err) {
    const struct step *step = task->step->step;
    *ret = !step->wait_file && !step->wait_until;
    if (step->wait_file) {
        OWN_STRING path = expand_text(task, step->wait_file, err);
        if (!path)
            return -1;
        *ret = file_exists(AT_FDCWD, path);
    }
    if (step->wait_until && (*ret || !step->wait_file)) {
        OWN_JSON input = value_input(task, err);
        OWN_JSON values = input ? values_of(task, true, err) : NULL;
        struct expression *expression =
            values
                ? expression_cache_get(task->step->run->engine->expressions, step->wait_until, err)
                : NULL;
        if (!expression || expression_test(expression, input, values, ret, err) < 0)
            return error_wrap(err, "`until`");
    }
    return 0;
}

static int sleep_on(struct task *task, int64_t milliseconds, const char *reason,
                    struct error **err) {
    task->wake = clock_wall() + milliseconds;
    return task_move(task, TASK_SLEEPING, reason, err);
}

static int64_t poll_interval(const struct step *step) {
    return step->wait_every ? step->wait_every : POLL_DEFAULT;
}

static int look_again(struct task *task, struct error **err) {
    bool over = false;
    if (wait_is_over(task, &over, err) < 0)
        return -1;
    if (over)
        return next_settle(task, TASK_SUCCEEDED, NULL, err);
    return sleep_on(task, poll_interval(task->step->step), "waits for its condition", err);
}

/* -------------------------------------------------------------------- begin */

static int ask(struct task *task, struct error **err) {
    const struct step *step = task->step->step;
    struct run *run = task->step->run;
    OWN_STRING message = step->message ? expand_text(task, step->message, err) : NULL;
    if (step->message && !message)
        return -1;
    if (step->type == STEP_MANUAL_REVIEW && make_review_folder(task, err) < 0)
        return -1;
    if (event_add(run->engine, run->id, task->id, "asks", json_pack("{s:s*}", "message", message),
                  err) < 0)
        return -1;
    const char *text = message && *message ? message : "waits for a person";
    if (step->type != STEP_MANUAL_REVIEW)
        return task_move(task, TASK_DECIDING, text, err);
    OWN_STRING folder = people_review_folder(task, err);
    OWN_STRING reason =
        folder ? memory_format("%s (see %s/in, leave results in %s/out)", text, folder, folder)
               : NULL;
    if (!reason)
        return folder ? error_set_memory(err) : -1;
    return task_move(task, TASK_DECIDING, reason, err);
}

static int notify(struct task *task, struct error **err) {
    struct run *run = task->step->run;
    const char *text = task->step->step->message;
    OWN_STRING message = expand_text(task, text ? text : "", err);
    if (!message || event_add(run->engine, run->id, task->id, "notice",
                              json_pack("{s:s}", "message", message), err) < 0)
        return -1;
    return next_settle(task, TASK_SUCCEEDED, message, err);
}

static int begin(struct task *task, struct error **err) {
    const struct step *step = task->step->step;
    switch (step->type) {
    case STEP_MANUAL_APPROVAL:
    case STEP_MANUAL_REVIEW:
        return ask(task, err);
    case STEP_NOTIFY:
        return notify(task, err);
    case STEP_WAIT:
        return step->wait_for ? sleep_on(task, step->wait_for, "waits for its time", err)
                              : look_again(task, err);
    default:
        return next_settle(task, TASK_SUCCEEDED, NULL, err);
    }
}

int task_fail(struct task *task, struct error *problem, struct error **err) {
    OWN_ERROR own = problem;
    bool ours = own->code == ERROR_MEMORY || own->code == ERROR_INTERNAL ||
                own->code == ERROR_BUSY || own->code == ERROR_CORRUPT;
    if (ours || task_state_is_final(task->state))
        return error_move(err, take(&own));
    task->cause = own->code == ERROR_DENIED ? CAUSE_POLICY : CAUSE_NOT_STARTED;
    OWN_STRING reason = own->hint ? memory_format("%s (%s)", own->message, own->hint)
                                  : memory_copy_string(own->message);
    return reason ? task_move(task, TASK_FAILED, reason, err) : error_set_memory(err);
}

int people_begin(struct task *task, struct error **err) {
    struct error *problem = NULL;
    return begin(task, &problem) == 0 ? 0 : task_fail(task, problem, err);
}

int people_decide(struct task *task, bool approved, const char *note, const char *who,
                  struct error **err) {
    struct run *run = task->step->run;
    if (task->state != TASK_DECIDING)
        return error_set(err, ERROR_INVALID, "nothing is to be decided there: it is %s",
                         task_state_name(task->state));
    if (approved && task->step->step->type == STEP_MANUAL_REVIEW && check_review(task, err) < 0)
        return -1;
    if (event_add(
            run->engine, run->id, task->id, "decided",
            json_pack("{s:b, s:s*, s:s}", "approved", (int)approved, "note", note, "who", who),
            err) < 0)
        return -1;
    OWN_JSON result = json_pack("{s:s, s:s*, s:s}", "decision", approved ? "approved" : "rejected",
                                "note", note, "who", who);
    OWN_STRING text = result ? json_canonical(result, err) : NULL;
    if (!text)
        return error_set_memory(err);
    if (store_run(run->engine->store, err, "UPDATE task SET result = ? WHERE id = ?", "si", text,
                  task->id) < 0)
        return -1;
    OWN_STRING reason = memory_format("%s by %s%s%s", approved ? "approved" : "rejected", who,
                                      note && *note ? ": " : "", note ? note : "");
    if (!reason)
        return error_set_memory(err);
    if (!approved) {
        task->cause = CAUSE_REJECTED;
        return task_move(task, TASK_FAILED, reason, err);
    }
    if (task->step->step->type == STEP_MANUAL_REVIEW)
        return finish_review(task, reason, err);
    return next_settle(task, TASK_SUCCEEDED, reason, err);
}

/* --------------------------------------------------------------------- poll */

static bool runs_process(const struct step *step) {
    return step->type == STEP_COMMAND || step->type == STEP_TOOL || step->type == STEP_CONTAINER;
}

static int poll_sleeper(struct task *task, struct error **err) {
    const struct step *step = task->step->step;
    if (task->chosen == NEXT_POLLS)
        return next_wake(task, err);
    if (runs_process(step))
        return task_move(task, TASK_READY, "tried again", err);
    if (step->type == STEP_WAIT && step->wait_for)
        return next_settle(task, TASK_SUCCEEDED, NULL, err);
    return look_again(task, err);
}

static int poll_task(struct task *task, int64_t now, struct error **err) {
    if (task->state == TASK_SLEEPING && task->wake <= now)
        return poll_sleeper(task, err);
    if (task->state != TASK_DECIDING || task->step->step->type != STEP_MANUAL_REVIEW)
        return 0;
    bool done = false;
    if (review_is_done(task, &done, err) < 0)
        return -1;
    return done ? finish_review(task, "its files are there", err) : 0;
}

void people_shift(struct run *run, int64_t milliseconds) {
    for (size_t i = 0; i < run->pipeline->step_count; i++) {
        struct run_step *step = &run->steps[i];
        for (size_t n = 0; step->counts[TASK_SLEEPING] && n < step->task_capacity; n++)
            if (step->tasks[n] && step->tasks[n]->state == TASK_SLEEPING)
                step->tasks[n]->wake += milliseconds;
    }
}

int people_poll(struct run *run, int64_t now, struct error **err) {
    for (size_t i = 0; i < run->pipeline->step_count; i++) {
        struct run_step *step = &run->steps[i];
        for (size_t n = 0; n < step->task_capacity; n++) {
            if (!step->counts[TASK_SLEEPING] && !step->counts[TASK_DECIDING])
                break;
            struct error *problem = NULL;
            if (step->tasks[n] && poll_task(step->tasks[n], now, &problem) < 0 &&
                task_fail(step->tasks[n], problem, err) < 0)
                return -1;
        }
    }
    return graph_drain(run, err);
}
