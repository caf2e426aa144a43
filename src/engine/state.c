/* States change here and nowhere else. */
#include "private.h"

static const char *const task_names[TASK_STATE_COUNT] = {
    [TASK_WAITING] = "waiting",     [TASK_READY] = "ready",       [TASK_RUNNING] = "running",
    [TASK_DECIDING] = "deciding",   [TASK_SLEEPING] = "sleeping", [TASK_SUCCEEDED] = "succeeded",
    [TASK_REUSED] = "reused",       [TASK_SKIPPED] = "skipped",   [TASK_FAILED] = "failed",
    [TASK_CANCELLED] = "cancelled",
};
static const char *const run_names[RUN_STATE_COUNT] = {
    [RUN_PLANNED] = "planned",     [RUN_RUNNING] = "running",     [RUN_PAUSED] = "paused",
    [RUN_WAITING] = "waiting",     [RUN_SUCCEEDED] = "succeeded", [RUN_FAILED] = "failed",
    [RUN_CANCELLED] = "cancelled",
};

const char *task_state_name(enum task_state state) {
    if ((int)state == STATE_GONE)
        return "gone";
    return (unsigned)state < TASK_STATE_COUNT ? task_names[state] : "unknown";
}

const char *run_state_name(enum run_state state) {
    return (unsigned)state < RUN_STATE_COUNT ? run_names[state] : "unknown";
}

bool task_state_is_final(enum task_state state) {
    return state >= TASK_SUCCEEDED;
}

const char *skip_sentence(enum skip skip) {
    static const char *const sentences[SKIP_COUNT] = {
        [SKIP_NONE] = "",
        [SKIP_WHEN] = "its condition `when` was false",
        [SKIP_UPSTREAM_SKIPPED] = "what it reads was never made: an earlier step was skipped",
        [SKIP_UPSTREAM_FAILED] = "an earlier step failed",
        [SKIP_PARTITION] = "an earlier step failed for this partition, which is left out",
        [SKIP_TRIGGER] = "its trigger rule did not hold",
        [SKIP_PERSON] = "a person skipped it",
        [SKIP_SELECTION] = "it was not selected with --only",
        [SKIP_NOT_FIRED] = "no step named it in `next`",
    };
    return (unsigned)skip < SKIP_COUNT ? sentences[skip] : "";
}

int event_add(struct engine *engine, int64_t run, int64_t task, const char *kind, json_t *data,
              struct error **err) {
    OWN_JSON own = data;
    OWN_STRING text = NULL;
    if (own && !(text = json_canonical(own, err)))
        return -1;
    if (engine_write(engine, err) < 0)
        return -1;
    return store_run(
        engine->store, err,
        "INSERT INTO event(run, task, at, kind, data) VALUES(?, nullif(?, 0), ?, ?, ?)", "iiiss",
        run, task, clock_wall(), kind, text);
}

static int save(struct task *task, const char *reason, int64_t now, struct error **err) {
    struct engine *engine = task->step->run->engine;
    bool final = task_state_is_final(task->state), running = task->state == TASK_RUNNING;
    if (store_run(
            engine->store, err,
            "UPDATE task SET state = ?, skip = ?, cause = ?, exit = ?, attempts = ?, "
            "key = ?, output = ?, result = CASE WHEN ? THEN ? ELSE result END, tries = ?, "
            "fresh = ?, fired = ?, chosen = ?, reason = CASE WHEN ? THEN ? ELSE coalesce(?, "
            "reason) END, wake = ?, "
            "started = CASE WHEN ? THEN ? ELSE started END, "
            "ended = CASE WHEN ? THEN max(?, coalesce(started, 0)) ELSE NULL END WHERE id = ?",
            "iiiiibbisiiiiissiiiiii", (int64_t)task->state, (int64_t)task->skip,
            (int64_t)task->cause, (int64_t)task->exit, (int64_t)task->attempts,
            (const void *)task->key, (size_t)(task->has_key ? SHA256_SIZE : 0),
            (const void *)task->output, (size_t)(task->has_output ? SHA256_SIZE : 0),
            (int64_t)task->has_new_result, task->new_result, (int64_t)task->tries,
            (int64_t)task->fresh, (int64_t)task->fired, (int64_t)task->chosen, (int64_t)running,
            reason, reason, task->wake, (int64_t)running, now, (int64_t) final, now, task->id) < 0)
        return -1;
    task->has_new_result = false;
    task->new_result = NULL;
    return store_run(engine->store, err,
                     "INSERT INTO event(run, task, at, kind, data) VALUES(?, ?, ?, 'state', ?)",
                     "iiis", task->step->run->id, task->id, now, task_state_name(task->state));
}

/* To become ready for the first time is no event: it follows from those before it. */
static int save_ready(const struct task *task, struct error **err) {
    return store_run(task->step->run->engine->store, err,
                     "UPDATE task SET state = ?, fresh = ?, fired = ? WHERE id = ?", "iiii",
                     (int64_t)TASK_READY, (int64_t)task->fresh, (int64_t)task->fired, task->id);
}

/* What follows from the new state; the database knows it already. */
static int enter(struct task *task, struct error **err) {
    struct run *run = task->step->run;
    switch (task->state) {
    case TASK_READY:
        schedule_queue(task);
        return 0;
    case TASK_SUCCEEDED:
    case TASK_REUSED:
        if (graph_settled(task, err) < 0 || next_follow(task, err) < 0 || next_join(task, err) < 0)
            return -1;
        break;
    case TASK_FAILED:
        if (task->step->step->on_failure == ON_FAILURE_FAIL ||
            task->step->step->on_failure == ON_FAILURE_RUN)
            run->stopping = true;
        if (task->step->step->on_failure == ON_FAILURE_RUN) {
            struct run_step *cleanup = &run->steps[task->step->step->on_failure_step];
            struct node *node = task->node;
            if (cleanup->axis->level < node->level)
                node = node_at_level(node, cleanup->axis->level);
            struct task *other =
                node->index < cleanup->task_capacity ? cleanup->tasks[node->index] : NULL;
            if (other && graph_fire(other, err) < 0)
                return -1;
        }
        return graph_settled(task, err) < 0 ? -1 : next_join(task, err);
    case TASK_SKIPPED:
    case TASK_CANCELLED:
        return graph_settled(task, err) < 0 ? -1 : next_join(task, err);
    default:
        return 0;
    }
    if (task->fire_again) {
        task->fire_again = false;
        return graph_fire(task, err);
    }
    return 0;
}

int task_move(struct task *task, enum task_state state, const char *reason, struct error **err) {
    struct run_step *step = task->step;
    if (engine_write(step->run->engine, err) < 0)
        return -1;
    if (task->state == TASK_READY)
        schedule_unqueue(task);
    if (state != TASK_SLEEPING)
        task->wake = 0;
    step->counts[task->state]--;
    step->counts[state]++;
    task->state = (uint8_t)state;
    bool plain = state == TASK_READY && !reason;
    if (plain && save_ready(task, err) < 0)
        return -1;
    if (!plain && save(task, reason, clock_wall(), err) < 0)
        return -1;
    engine_touch(step->run->engine);
    return enter(task, err);
}

int task_skip(struct task *task, enum skip skip, struct error **err) {
    task->skip = (uint8_t)skip;
    return task_move(task, TASK_SKIPPED, skip_sentence(skip), err);
}

int task_cancel(struct task *task, struct error **err) {
    if (task_state_is_final(task->state) || task->flight || task->state == TASK_RUNNING)
        return 0;
    task->cause = CAUSE_CANCELLED;
    return task_move(task, TASK_CANCELLED, "cancelled by a person", err);
}

int run_move(struct run *run, enum run_state state, const char *note, struct error **err) {
    if (engine_write(run->engine, err) < 0)
        return -1;
    int64_t now = clock_wall();
    bool ended = state >= RUN_SUCCEEDED;
    run->state = state;
    if (store_run(run->engine->store, err,
                  "UPDATE run SET state = ?, note = ?, started = coalesce(started, ?), "
                  "ended = CASE WHEN ? THEN max(?, coalesce(started, 0)) ELSE NULL END "
                  "WHERE id = ?",
                  "isiiii", (int64_t)state, note, now, (int64_t)ended, now, run->id) < 0)
        return -1;
    return event_add(run->engine, run->id, 0, "run",
                     json_pack("{s:s, s:s*}", "state", run_state_name(state), "note", note), err);
}
