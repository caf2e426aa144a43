/* What people ask for: written down first, applied by whoever drives the home. */
#include "private.h"

#include <unistd.h>

#define ANSWER_WAIT 10000 /* ms that we wait for the driver's answer */

/* ------------------------------------------------------------------- targets */

struct where {
    char *step, *partition; /* partition NULL: all */
};
static void where_release(struct where *where) {
    memory_free(where->step);
    memory_free(where->partition);
}

static int parse_where(const char *text, struct where *ret, struct error **err) {
    size_t size = strcspn(text, "@");
    ret->step = memory_copy_bytes(text, size);
    ret->partition = text[size] ? memory_copy_string(text + size + 1) : NULL;
    return ret->step && (ret->partition || !text[size]) ? 0 : error_set_memory(err);
}

/* Calls `use` for each task that `text` means; NULL means all. */
static int for_tasks(struct run *run, const char *text,
                     int (*use)(struct task *task, void *context, struct error **err),
                     void *context, struct error **err) {
    CLEANUP(where_release) struct where where = {0};
    if (text && parse_where(text, &where, err) < 0)
        return -1;
    const struct step *only = NULL;
    if (where.step && !(only = pipeline_find_step(run->pipeline, where.step)))
        return query_unknown_step(run->pipeline, where.step, ERROR_NOT_FOUND, err);
    bool found = false;
    for (size_t i = 0; i < run->pipeline->step_count; i++) {
        struct run_step *step = &run->steps[i];
        if (only && step->step != only)
            continue;
        for (size_t n = 0; n < step->task_capacity; n++) {
            struct task *task = step->tasks[n];
            if (!task || (where.partition && !text_equal(where.partition, task->node->key)))
                continue;
            found = true;
            if (use(task, context, err) < 0)
                return -1;
        }
    }
    if (!found && where.partition)
        return error_set(err, ERROR_NOT_FOUND, "step %s has no such partition", where.step);
    return 0;
}

/* ------------------------------------------------------------------ resetting */

struct reset {
    bool fresh, all; /* all: whatever state; else only those that did not end well */
    size_t count;
};

static int reset_task(struct task *task, bool fresh, struct error **err) {
    struct run *run = task->step->run;
    if (task->flight)
        return 0; /* it is under way; its end will be seen */
    task->reset = true;
    task->fresh |= fresh;
    return store_run(run->engine->store, err,
                     "UPDATE task SET state = 0, skip = 0, cause = 0, exit = -1, tries = 0, "
                     "fresh = ?, chosen = 0, started = NULL, ended = NULL, reason = NULL, "
                     "output = NULL, result = NULL WHERE id = ?",
                     "ii", (int64_t)task->fresh, task->id);
}

static void push_reset(struct task *task) {
    struct run *run = task->step->run;
    task->queue_next = run->reset_list;
    run->reset_list = task;
}

/* Below which node those are that an edge from this node leads to. */
static struct node *top_of(enum relation relation, size_t common, struct node *node) {
    return relation == RELATION_JOIN ? node_at_level(node, (uint32_t)common) : node;
}

/* A task that depends on one that was reset. What was not begun yet waits anew, as what has ended
 * does. */
static int reset_at(struct node *node, void *context, struct error **err) {
    const struct run_step *step = context;
    struct task *task = node->index < step->task_capacity ? step->tasks[node->index] : NULL;
    if (!task || task->reset || (task->state == TASK_WAITING && !task->flight))
        return 0;
    if (task->flight || task->state == TASK_RUNNING) {
        error_set(err, ERROR_INVALID, "tasks of step %s that depend on it are running",
                  step->step->id);
        return error_hint(err, "wait for them, or `glovebox cancel %s %s` first", step->run->name,
                          step->step->id);
    }
    if (task->step->step->fired) {
        task->fired = false;
        if (store_run(step->run->engine->store, err, "UPDATE task SET fired = 0 WHERE id = ?", "i",
                      task->id) < 0)
            return -1;
    }
    if (reset_task(task, false, err) < 0)
        return -1;
    push_reset(task);
    return 0;
}

static bool is_on_axis(const struct step *step, size_t fan_step) {
    for (size_t level = 0; level < step->axis_count; level++)
        if (step->axis[level] == fan_step)
            return true;
    return false;
}

/* The partitions that `fan_step` made below a task, and those that were made below them. */
static int undo_fan(struct task *task, size_t fan_step, struct error **err) {
    struct run *run = task->step->run;
    const char *key = task->node->key;
    for (size_t s = 0; s < run->pipeline->step_count; s++) {
        if (!is_on_axis(&run->pipeline->steps[s], fan_step))
            continue;
        if (axis_visit(run->steps[s].axis, task->node, reset_at, &run->steps[s], err) < 0 ||
            (run->axes[s] &&
             store_run(run->engine->store, err,
                       "DELETE FROM expansion WHERE run = ?1 AND step = ?2 AND (?3 = '' OR "
                       "parent = ?3 OR substr(parent, 1, length(?3) + 1) = ?3 || '/')",
                       "iis", run->id, (int64_t)s, key) < 0))
            return -1;
    }
    run->undone = true;
    return 0;
}

/* What a step leads to, by data, order or `next`, is marked and put on the heap. */
static void spread(const struct run *run, const struct run_step *step, bool *seen, size_t *heap,
                   size_t *count) {
    size_t total = step->dependent_count + step->step->next_count;
    for (size_t i = 0; i < total; i++) {
        const struct run_step *to =
            i < step->dependent_count
                ? step->dependents[i].step
                : &run->steps[step->step->next[i - step->dependent_count].target];
        if (!seen[to->step->index])
            heap[(*count)++] = to->step->index;
        seen[to->step->index] = true;
    }
}

/* The jump back of a loop: what lies there came before the step that is done anew, and is named
 * again if the loop goes round again. 1, 0, or -1. */
static int jumps_back(const struct run *run, const struct step *step, size_t target,
                      struct error **err) {
    if (target > step->index)
        return 0;
    size_t steps = run->pipeline->step_count, count = 1;
    bool *seen = memory_allocate(steps * sizeof(*seen));
    size_t *heap = memory_allocate(steps * sizeof(*heap));
    if (!seen || !heap) {
        memory_free(seen);
        memory_free(heap);
        return error_set_memory(err);
    }
    heap[0] = target;
    seen[target] = true;
    while (count && !seen[step->index])
        spread(run, &run->steps[heap[--count]], seen, heap, &count);
    bool loop = seen[step->index];
    memory_free(seen);
    memory_free(heap);
    return loop;
}

/* Everything that depends on a task that was reset, at any distance. A fan over its outputs is
 * undone: its partitions may be others now. */
static int reset_dependents(struct task *task, struct error **err) {
    struct run *run = task->step->run;
    for (size_t i = 0; i < run->pipeline->step_count; i++) {
        const struct fan *fan = &run->pipeline->steps[i].fan;
        if (fan->kind > FAN_STEP && fan->over.kind == REFERENCE_STEP &&
            fan->over.index == task->step->step->index && undo_fan(task, i, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < task->step->dependent_count; i++) {
        struct run_step *other = task->step->dependents[i].step;
        const struct edge *edge = &other->step->edges[task->step->dependents[i].edge];
        struct node *top = top_of(edge->relation, edge->common, task->node);
        if (axis_visit(other->axis, top, reset_at, other, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < task->step->step->next_count; i++) {
        const struct next_edge *edge = &task->step->step->next[i];
        struct run_step *other = &run->steps[edge->target];
        struct node *top = top_of(edge->relation, edge->common, task->node);
        int back = jumps_back(run, task->step->step, edge->target, err);
        if (back < 0 || (!back && axis_visit(other->axis, top, reset_at, other, err) < 0))
            return -1;
    }
    return 0;
}

static int reset_chosen(struct task *task, void *context, struct error **err) {
    struct reset *reset = context;
    bool bad = task->state == TASK_FAILED || task->state == TASK_CANCELLED;
    if (task->reset || (!bad && !reset->all) || !task_state_is_final(task->state))
        return 0;
    reset->count++;
    if (reset_task(task, reset->fresh, err) < 0)
        return -1;
    push_reset(task);
    return 0;
}

/* Tasks that were skipped because of others get another look. */
static int reset_blocked(struct task *task, void *context, struct error **err) {
    (void)context;
    if (task->reset || task->state != TASK_SKIPPED || task->skip == SKIP_WHEN ||
        task->skip == SKIP_PERSON || task->skip == SKIP_SELECTION)
        return 0;
    task->step->reopened = true;
    return reset_task(task, false, err);
}

/* What has not begun waits anew for what is looked at again. */
static int call_back(struct task *task, void *context, struct error **err) {
    const struct step *step = task->step->step;
    bool sleeps = task->state == TASK_SLEEPING && task->chosen != NEXT_POLLS;
    (void)context;
    if (task->reset || task->flight || (task->state != TASK_READY && !sleeps))
        return 0;
    for (size_t i = 0; i < step->edge_count; i++) {
        const struct edge *edge = &step->edges[i];
        const struct task *other = graph_upstream(task, edge->step);
        if (edge->relation == RELATION_JOIN ? task->step->run->steps[edge->step].reopened
                                            : other && other->reset)
            return reset_task(task, false, err);
    }
    return 0;
}

static int look_again(struct run *run, struct error **err) {
    if (for_tasks(run, NULL, reset_blocked, NULL, err) < 0)
        return -1;
    return for_tasks(run, NULL, call_back, NULL, err);
}

/* Fans over inputs that could not be made are listed again. */
static int reset_fans(struct run *run, struct error **err) {
    run->sources_ready = false;
    return store_run(run->engine->store, err,
                     "DELETE FROM expansion WHERE run = ? AND outcome <> 0", "i", run->id);
}

/* Tasks of `step` below partitions of `fan_step` that are not made any more. */
#define UNDONE                                                                                     \
    "WHERE run = ?1 AND step = ?2 AND state = 0 AND NOT EXISTS(SELECT 1 FROM expansion e JOIN "    \
    "task f ON f.run = e.run AND f.step = e.step AND f.parent = e.parent WHERE e.run = task.run "  \
    "AND e.step = ?3 AND f.state >= 0 AND (task.partition = f.partition OR "                       \
    "substr(task.partition, 1, length(f.partition) + 1) = f.partition || '/'))"

/* Tasks below fans that were undone are made anew with their partitions. What was attempted stays
 * on record. */
static int forget_undone(struct run *run, struct error **err) {
    struct store *store = run->engine->store;
    for (size_t i = 0; i < run->pipeline->step_count; i++) {
        if (!run->axes[i] || run->pipeline->steps[i].fan.over.kind != REFERENCE_STEP)
            continue;
        for (size_t s = 0; s < run->pipeline->step_count; s++) {
            if (!is_on_axis(&run->pipeline->steps[s], i))
                continue;
            if (store_run(store, err, "DELETE FROM task " UNDONE " AND attempts = 0", "iii",
                          run->id, (int64_t)s, (int64_t)i) < 0 ||
                store_run(store, err, "UPDATE task SET state = -1 " UNDONE, "iii", run->id,
                          (int64_t)s, (int64_t)i) < 0)
                return -1;
        }
    }
    return 0;
}

static int reset_run(struct run *run, const char *where, struct reset *reset, struct error **err) {
    if (for_tasks(run, where, reset_chosen, reset, err) < 0)
        return -1;
    while (run->reset_list) {
        struct task *task = run->reset_list;
        run->reset_list = task->queue_next;
        if (reset_dependents(task, err) < 0)
            return -1;
    }
    if (look_again(run, err) < 0 || reset_fans(run, err) < 0 ||
        (run->undone && forget_undone(run, err) < 0))
        return -1;
    run->undone = false;
    run->cancelling = false;
    run->stopping = false;
    run->ended = false;
    return run_move(run, RUN_RUNNING, NULL, err);
}

/* ---------------------------------------------------------------- cancelling */

static int cancel_task(struct task *task, void *context, struct error **err) {
    (void)context;
    return task->flight ? flight_stop(task, CAUSE_CANCELLED, err) : task_cancel(task, err);
}

static int cancel_run(struct run *run, struct error **err) {
    if (run->state >= RUN_SUCCEEDED)
        return error_set(err, ERROR_INVALID, "run %s has ended already: it %s", run->name,
                         run->state == RUN_CANCELLED ? "was cancelled"
                                                     : run_state_name(run->state));
    run->cancelling = true;
    if (for_tasks(run, NULL, cancel_task, NULL, err) < 0)
        return -1;
    return run_move(run, RUN_RUNNING, NOTE_CANCELLING, err);
}

/* --------------------------------------------------------------------- verbs */

static int apply_pause(struct run *run, const json_t *arguments, struct error **err) {
    (void)arguments;
    if (run->state >= RUN_SUCCEEDED)
        return error_set(err, ERROR_INVALID, "run %s has ended already", run->name);
    if (run->cancelling)
        return error_set(err, ERROR_INVALID, "run %s is being cancelled", run->name);
    return run_move(run, RUN_PAUSED, "paused by a person", err);
}

static int apply_resume(struct run *run, const json_t *arguments, struct error **err) {
    (void)arguments;
    if (run->state >= RUN_SUCCEEDED)
        return 0; /* nothing is left to do: resuming what ended well is no mistake */
    return run_move(run, RUN_RUNNING, run->cancelling ? NOTE_CANCELLING : NULL, err);
}

static int apply_cancel(struct run *run, const json_t *arguments, struct error **err) {
    const char *where = json_get_string(arguments, "where", NULL);
    return where ? for_tasks(run, where, cancel_task, NULL, err) : cancel_run(run, err);
}

static int apply_retry(struct run *run, const json_t *arguments, struct error **err) {
    struct reset reset = {.fresh = false, .all = false};
    return reset_run(run, json_get_string(arguments, "where", NULL), &reset, err);
}

static int apply_restart(struct run *run, const json_t *arguments, struct error **err) {
    struct reset reset = {.fresh = true, .all = true};
    const char *where = json_get_string(arguments, "where", NULL);
    if (!where)
        return error_set(err, ERROR_USAGE, "restart needs a step");
    if (reset_run(run, where, &reset, err) < 0)
        return -1;
    return 0;
}

struct mark {
    bool succeeded;
    const char *reason, *who;
};

static int mark_task(struct task *task, void *context, struct error **err) {
    const struct mark *mark = context;
    if (task->flight)
        return error_set(err, ERROR_INVALID, "it is running: cancel it first");
    if (task_has_data(task))
        return error_set(err, ERROR_INVALID, "it has succeeded already");
    struct run *run = task->step->run;
    task->reset = true;
    OWN_STRING reason =
        memory_format("%s by %s: %s", mark->succeeded ? "marked as succeeded" : "skipped",
                      mark->who, mark->reason);
    if (!reason)
        return error_set_memory(err);
    if (event_add(run->engine, run->id, task->id, "marked",
                  json_pack("{s:s, s:s, s:s}", "as", mark->succeeded ? "succeeded" : "skipped",
                            "reason", mark->reason, "who", mark->who),
                  err) < 0)
        return -1;
    return store_run(run->engine->store, err,
                     "UPDATE task SET state = ?, skip = ?, cause = 0, reason = ?, ended = ? "
                     "WHERE id = ?",
                     "iisii", (int64_t)(mark->succeeded ? TASK_SUCCEEDED : TASK_SKIPPED),
                     (int64_t)(mark->succeeded ? SKIP_NONE : SKIP_PERSON), reason, clock_wall(),
                     task->id);
}

static int apply_mark(struct run *run, const json_t *arguments, struct error **err) {
    struct mark mark = {json_is_true(json_object_get(arguments, "succeeded")),
                        json_get_string(arguments, "reason", ""),
                        json_get_string(arguments, "who", "unknown")};
    if (for_tasks(run, json_get_string(arguments, "where", NULL), mark_task, &mark, err) < 0 ||
        look_again(run, err) < 0)
        return -1;
    if (run->state < RUN_SUCCEEDED)
        return 0;
    run->ended = false;
    run->stopping = false;
    return run_move(run, RUN_PLANNED, NULL, err);
}

struct decide {
    bool approved;
    const char *note, *who;
    size_t count;
    const char *other;
};

static int decide_task(struct task *task, void *context, struct error **err) {
    struct decide *decide = context;
    if (task->state != TASK_DECIDING) {
        decide->other = task_state_name(task->state);
        return 0;
    }
    decide->count++;
    return people_decide(task, decide->approved, decide->note, decide->who, err);
}

static int apply_decide(struct run *run, const json_t *arguments, struct error **err) {
    struct decide decide = {json_is_true(json_object_get(arguments, "approved")),
                            json_get_string(arguments, "note", NULL),
                            json_get_string(arguments, "who", "unknown"), 0, NULL};
    const char *where = json_get_string(arguments, "where", NULL);
    if (for_tasks(run, where, decide_task, &decide, err) < 0)
        return -1;
    if (decide.count)
        return 0;
    error_set(err, ERROR_INVALID, "nothing is to be decided at %s: it is %s", where ? where : "all",
              decide.other ? decide.other : "not there");
    return error_hint(err, "`glovebox status %s` shows what waits for a person", run->name);
}

static const struct verb {
    const char *name;
    int (*apply)(struct run *run, const json_t *arguments, struct error **err);
    bool reload; /* it changed tasks in the database only */
} verbs[] = {
    {"pause", apply_pause, false},    {"resume", apply_resume, false},
    {"cancel", apply_cancel, false},  {"retry", apply_retry, true},
    {"restart", apply_restart, true}, {"mark", apply_mark, true},
    {"decide", apply_decide, false},
};

/* ------------------------------------------------------------------ applying */

static int apply_verb(struct run *run, const char *name, const json_t *arguments,
                      struct error **err) {
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
        if (!text_equal(verbs[i].name, name))
            continue;
        if (verbs[i].apply(run, arguments, err) < 0)
            return -1;
        if (verbs[i].reload && run_reload(run, err) < 0)
            return -1;
        if (verbs[i].reload && run->engine->compute &&
            (sources_begin(run, err) < 0 || expand_ready(run, err) < 0))
            return -1;
        engine_touch(run->engine);
        return graph_drain(run, err);
    }
    return error_set(err, ERROR_INTERNAL, "unknown command %s", name);
}

struct order {
    int64_t id, run;
    char *name, *verb;
    json_t *arguments;
};
static void order_release(struct order *order) {
    memory_free(order->name);
    memory_free(order->verb);
    json_decref(order->arguments);
}

/* 1: the oldest order that is open; 0: none. */
static int next_order(struct engine *engine, struct order *ret, struct error **err) {
    OWN_ROWS rows = store_query(engine->store, err,
                                "SELECT command.id, run, name, verb, arguments, command.who "
                                "FROM command "
                                "JOIN run ON run.id = command.run WHERE applied IS NULL "
                                "ORDER BY command.id LIMIT 1",
                                "");
    if (!rows)
        return -1;
    int more = rows_next(rows, err);
    if (more <= 0)
        return more;
    ret->id = rows_integer(rows, 0);
    ret->run = rows_integer(rows, 1);
    ret->name = memory_copy_string(rows_text(rows, 2));
    ret->verb = memory_copy_string(rows_text(rows, 3));
    const char *arguments = rows_text(rows, 4);
    ret->arguments = json_parse(arguments, strlen(arguments), err);
    if (!ret->name || !ret->verb)
        return error_set_memory(err);
    if (!ret->arguments)
        return -1;
    if (!json_object_get(ret->arguments, "who")) /* who asked, and not who drives */
        json_object_set_new(ret->arguments, "who", json_string(rows_text(rows, 5)));
    return 1;
}

static int apply_order(struct engine *engine, const struct order *order, struct error **err) {
    if (engine_write(engine, err) < 0)
        return -1;
    /* A mistake must leave nothing half done: it is undone to here. */
    if (store_script(engine->store, "SAVEPOINT an_order", err) < 0)
        return -1;
    struct run *run = engine_loaded_run(engine, order->run);
    struct error *problem = NULL;
    int result = run ? 0 : drive_take_up(engine, order->name, &run, &problem);
    if (result == 0)
        result = apply_verb(run, order->verb, order->arguments, &problem);
    OWN_ERROR own = problem;
    if (result < 0) {
        bool theirs = own->code == ERROR_INVALID || own->code == ERROR_NOT_FOUND ||
                      own->code == ERROR_USAGE || (!run && own->code == ERROR_CORRUPT);
        if (!theirs)
            return error_move(err, take(&own));
        if (store_script(engine->store, "ROLLBACK TO an_order", err) < 0 ||
            (run && run_reload(run, err) < 0))
            return -1;
    }
    if (store_script(engine->store, "RELEASE an_order", err) < 0)
        return -1;
    OWN_JSON answer = own ? json_pack("{s:s, s:s*, s:i}", "message", own->message, "hint",
                                      own->hint, "code", (int)own->code)
                          : NULL;
    OWN_STRING text = answer ? json_canonical(answer, err) : NULL;
    return store_run(engine->store, err, "UPDATE command SET applied = ?, problem = ? WHERE id = ?",
                     "isi", clock_wall(), text, order->id);
}

int commands_apply(struct engine *engine, bool *ret_any, struct error **err) {
    for (*ret_any = false;; *ret_any = true) {
        CLEANUP(order_release) struct order order = {0};
        int found = next_order(engine, &order, err);
        if (found <= 0)
            return found;
        const struct run *run = engine_loaded_run(engine, order.run);
        if (run && run->finishing)
            return 0; /* its outputs are being delivered: what is asked comes after that */
        if (apply_order(engine, &order, err) < 0)
            return -1;
    }
}

/* -------------------------------------------------------------------- giving */

static int give(struct engine *engine, int64_t run, const char *verb, const json_t *arguments,
                int64_t *ret_id, struct error **err) {
    OWN_STRING text = json_canonical(arguments, err);
    if (!text || store_script(engine->store, "PRAGMA synchronous = FULL", err) < 0 ||
        store_begin(engine->store, err) < 0)
        return -1;
    if (store_run(engine->store, err,
                  "INSERT INTO command(run, verb, arguments, who, at) VALUES(?, ?, ?, ?, ?)",
                  "isssi", run, verb, text, engine_who(), clock_wall()) < 0) {
        store_rollback(engine->store);
        return -1;
    }
    *ret_id = store_last_id(engine->store);
    if (store_commit(engine->store, err) < 0)
        return -1;
    return store_script(engine->store, "PRAGMA synchronous = NORMAL", err);
}

/* Nobody drives: what can be done without a process is done here. */
static int apply_here(struct engine *engine, struct error **err) {
    bool any = false;
    if (!engine->expressions && !(engine->expressions = expression_cache_new()))
        return error_set_memory(err);
    int result = commands_apply(engine, &any, err);
    if (result == 0 && store_in_transaction(engine->store))
        result = store_commit(engine->store, err);
    store_rollback(engine->store);
    drive_forget(engine);
    return result;
}

/* 1: answered (an error is set when it was refused); 0: not yet. */
static int read_answer(struct engine *engine, int64_t id, struct error **err) {
    OWN_ROWS rows = store_query(engine->store, err,
                                "SELECT applied, problem FROM command WHERE id = ?", "i", id);
    if (!rows || rows_next(rows, err) < 0)
        return -1;
    if (rows_null(rows, 0))
        return 0;
    const char *text = rows_text(rows, 1);
    if (!text)
        return 1;
    OWN_JSON problem = json_parse(text, strlen(text), err);
    if (!problem)
        return -1;
    error_set(err, (enum error_code)json_get_integer(problem, "code", ERROR_INVALID), "%s",
              json_get_string(problem, "message", "refused"));
    const char *hint = json_get_string(problem, "hint", NULL);
    return hint ? error_hint(err, "%s", hint) : -1;
}

static int command(struct engine *engine, const char *name, const char *verb, json_t *arguments,
                   struct error **err) {
    OWN_JSON own = arguments;
    int64_t run = run_id_of(engine, name, err), id = 0;
    if (run < 0 || !own || give(engine, run, verb, own, &id, err) < 0)
        return own || run < 0 ? -1 : error_set_memory(err);
    int64_t until = clock_monotonic() + ANSWER_WAIT;
    while (clock_monotonic() < until) {
        int locked = home_lock(engine, err);
        if (locked < 0)
            return -1;
        int result = locked ? apply_here(engine, err) : 0;
        home_unlock(engine);
        int answered = result < 0 ? -1 : read_answer(engine, id, err);
        if (answered)
            return answered < 0 ? -1 : 0;
        usleep(20000);
    }
    return 0; /* durable; the driver is busy */
}

int engine_cancel(struct engine *engine, const char *run, const char *where, struct error **err) {
    if (command(engine, run, "cancel", json_pack("{s:s*}", "where", where), err) < 0)
        return -1;
    if (where || engine_is_driven(engine))
        return 0;
    /* What still runs is stopped, and the run's record is written. */
    struct drive_options options = {.interval = 1000};
    enum run_state state;
    return engine_drive(engine, run, &options, &state, err);
}

int engine_pause(struct engine *engine, const char *run, struct error **err) {
    return command(engine, run, "pause", json_object(), err);
}

int engine_resume(struct engine *engine, const char *run, struct error **err) {
    return command(engine, run, "resume", json_object(), err);
}

int engine_retry(struct engine *engine, const char *run, const char *where, struct error **err) {
    return command(engine, run, "retry", json_pack("{s:s*}", "where", where), err);
}

int engine_restart(struct engine *engine, const char *run, const char *where, struct error **err) {
    return command(engine, run, "restart", json_pack("{s:s*}", "where", where), err);
}

int engine_mark(struct engine *engine, const char *run, const char *where, bool succeeded,
                const char *reason, struct error **err) {
    return command(engine, run, "mark",
                   json_pack("{s:s*, s:b, s:s}", "where", where, "succeeded", (int)succeeded,
                             "reason", reason),
                   err);
}

int engine_decide(struct engine *engine, const char *run, const char *where, bool approved,
                  const char *note, const char *who, struct error **err) {
    return command(engine, run, "decide",
                   json_pack("{s:s*, s:b, s:s*, s:s}", "where", where, "approved", (int)approved,
                             "note", note, "who", who),
                   err);
}
