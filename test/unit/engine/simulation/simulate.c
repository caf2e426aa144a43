/* Plays schedules of the engine: see simulation.h.
 *
 *   simulate                 as many as a test needs, on two processors, as one line of TAP
 *   simulate --count N       so many
 *   simulate SEED            this one, telling what happens
 */
#include "simulation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ACTIONS_MAXIMUM 20000
#define IDLE_MAXIMUM    60 /* looks at the database, with time passing, in which nothing happens */

struct schedule {
    char home[160], table[160];
    char run[NAME_SIZE];
    struct pipeline *pipeline;
    int64_t run_id;
    bool disturbed; /* else: what it should come to */
    bool faults, power;
    unsigned meddling;      /* commands that people give meanwhile, and no end is foretold */
    unsigned next_meddling; /* the action before which the next comes */
    unsigned budget;        /* of disturbances */
    unsigned actions, idle, opens;
    bool ended;
    int64_t faults_before; /* those that the open transaction cannot suffer from */
};

static unsigned below(unsigned limit) {
    return chance_below(&world.chance, limit);
}

/* --------------------------------------------------------------------- pool */

int __wrap_pool_queue(struct run *run, struct pool_job *job, struct error **err);
int __wrap_pool_queue(struct run *run, struct pool_job *job, struct error **err) {
    struct waiting *waiting = memory_allocate(sizeof(*waiting));
    if (!waiting)
        return error_set_memory(err);
    waiting->job = job;
    waiting->next = world.pool;
    world.pool = waiting;
    run->pool++;
    return 0;
}

static void pool_step(struct waiting *waiting) {
    struct pool_job *job = waiting->job;
    struct run *run = job->run;
    struct engine *engine = run->engine;
    if (!waiting->worked) {
        job->work(job);
        waiting->worked = true;
        return;
    }
    struct waiting **at = &world.pool;
    while (*at != waiting)
        at = &(*at)->next;
    *at = waiting->next;
    memory_free(waiting);
    struct error *problem = NULL;
    run->pool--;
    engine_touch(engine);
    if (job->done(job, &problem) < 0)
        engine_fail(engine, problem);
}

static struct waiting *pool_pick(void) {
    unsigned count = 0;
    struct waiting *chosen = NULL;
    for (struct waiting *waiting = world.pool; waiting; waiting = waiting->next)
        if (!below(++count))
            chosen = waiting;
    return chosen;
}

/* ------------------------------------------------------------------- engine */

/* A failure of the engine is right only where the disk failed. */
static void judge_failure(const struct error *problem, int64_t faults) {
    trace("the engine gives up: %s", problem ? problem->message : "?");
    if (!world.disk.frozen && world.disk.faults == faults)
        blame("the engine gave up without a reason: %s", problem ? problem->message : "?");
}

/* Closes what is there; `result` is 0 for an orderly end. */
static void engine_down(struct schedule *schedule, int result) {
    struct error *problem = NULL;
    world.disk.inside = true;
    while (world.pool)
        pool_step(pool_pick());
    world.expressions = take(&world.engine->expressions); /* dear, and no state: kept */
    int ended = drive_end(world.engine, result, &problem);
    if (ended < 0 && result == 0 && !world.disk.frozen && !world.disk.faults)
        blame("the end of driving failed: %s", problem ? problem->message : "?");
    if (problem)
        error_free(problem);
    if (world.engine->cpus_taken || world.engine->memory_taken)
        blame("resources are still taken after the end");
    engine_close(world.engine);
    world.disk.inside = false;
    world.engine = NULL;
    world.disk.frozen = false;
    world.disk.crash_in = world.disk.fault_in = world.disk.fault_for = 0;
    (void)schedule;
    driver_process_died(false);
}

static int engine_up_once(struct schedule *schedule, struct error **err) {
    struct engine_options options = {.home = schedule->home, .make = true};
    struct engine *engine = NULL;
    if (engine_open(&options, &engine, err) < 0)
        return -1;
    world.engine = engine;
    engine->driver = &simulated_driver;
    engine->expressions = take(&world.expressions);
    schedule->run_id = -1;
    schedule->faults_before = world.disk.faults;
    return drive_begin(engine, schedule->run, &schedule->run_id, err);
}

/* Opens the home and takes the run up, again and again while the disk fails. */
static void engine_up(struct schedule *schedule) {
    for (int tries = 0; tries < 50 && !world.problem[0]; tries++) {
        struct error *problem = NULL;
        int64_t faults = world.disk.faults;
        schedule->opens++;
        trace("open");
        world.disk.inside = true;
        int result = engine_up_once(schedule, &problem);
        world.disk.inside = false;
        if (result == 0 && !world.disk.frozen)
            return;
        if (result < 0)
            judge_failure(problem, faults);
        error_free(problem);
        if (world.engine) {
            engine_down(schedule, -1);
        } else {
            world.disk.frozen = false;
            world.disk.crash_in = world.disk.fault_in = world.disk.fault_for = 0;
        }
    }
    blame("the home cannot be opened");
}

/* After each visit to the engine: did it crash, did it fail? A fault may have undone a transaction
 * that only the next turn wants to commit. */
static void look_after(struct schedule *schedule, int result, struct error *problem) {
    world.disk.inside = false;
    if (result == 0 && !world.disk.frozen && !world.engine->failure) {
        if (!store_in_transaction(world.engine->store))
            schedule->faults_before = world.disk.faults;
        error_free(problem);
        return;
    }
    if (!world.disk.frozen)
        judge_failure(problem ? problem : world.engine->failure, schedule->faults_before);
    error_free(problem);
    engine_down(schedule, -1);
    engine_up(schedule);
}

static void take_turn(struct schedule *schedule) {
    struct error *problem = NULL;
    world.disk.inside = true;
    int result = drive_turn(world.engine, &problem);
    look_after(schedule, result, problem);
}

static void poll_home(struct schedule *schedule) {
    struct error *problem = NULL;
    world.now += below(4) ? below(500) : below(5000);
    world.disk.inside = true;
    int result = drive_poll(world.engine, &problem);
    look_after(schedule, result, problem);
}

static void run_pool(struct schedule *schedule) {
    world.disk.inside = true;
    pool_step(pool_pick());
    look_after(schedule, 0, NULL);
}

static void report(struct schedule *schedule) {
    world.disk.inside = true;
    play_report(play_pick(play_is_to_report));
    look_after(schedule, 0, NULL);
}

/* ------------------------------------------------------------- disturbances */

static void command(struct schedule *schedule, const char *verb, const char *arguments) {
    trace("command %s %s", verb, arguments);
    if (store_run(world.engine->store, NULL,
                  "INSERT INTO command(run, verb, arguments, who, at) VALUES(?, ?, ?, 'test', ?)",
                  "issi", schedule->run_id, verb, arguments, world.now) < 0)
        blame("a command cannot be given");
}

/* What a person may ask of a run under way; most of it will be refused. */
static void meddle(struct schedule *schedule) {
    static const struct {
        const char *verb, *more;
    } verbs[] = {{"cancel", ""},
                 {"cancel", ""},
                 {"retry", ""},
                 {"restart", ""},
                 {"pause", NULL},
                 {"resume", NULL},
                 {"retry", NULL},
                 {"mark", ",\"succeeded\":true,\"reason\":\"so\""},
                 {"mark", ",\"succeeded\":false,\"reason\":\"so\""},
                 {"cancel", NULL}};
    size_t verb = below(below(4) ? ARRAY_SIZE(verbs) - 1 : ARRAY_SIZE(verbs));
    const char *more = verbs[verb].more;
    const struct step *step =
        &schedule->pipeline->steps[below((unsigned)schedule->pipeline->step_count)];
    OWN_STRING text = more ? memory_format("{\"where\":\"%s\"%s}", step->id, more) : NULL;
    schedule->meddling--;
    schedule->next_meddling = schedule->actions + 1 + below(200);
    command(schedule, verbs[verb].verb, text ? text : "{}");
}

static void boot_anew(void) {
    OWN_STRING text = memory_format("boot-%u\n", ++world.boots);
    if (file_write_atomic(AT_FDCWD, world.boot, text, strlen(text), 0644, NULL) < 0)
        blame("no boot");
}

static void lose_power(struct schedule *schedule) {
    trace("power fails");
    world.disk.frozen = true;
    engine_down(schedule, -1);
    database_lose_power(&world.chance);
    boot_anew();
    driver_process_died(true);
    engine_up(schedule);
}

static void disturb(struct schedule *schedule) {
    schedule->budget--;
    switch (below(10)) {
    case 0:
        trace("left");
        engine_down(schedule, 0);
        engine_up(schedule);
        return;
    case 1:
    case 2:
    case 3:
    case 4:
        world.disk.crash_in = 1 + below(below(3) ? 12 : 80);
        trace("crash in %lld", (long long)world.disk.crash_in);
        return;
    case 5:
        if (world.keeper_deaths++ < 4) { /* an attempt may be lost five times */
            trace("the keeper dies");
            keeper_dies();
        }
        return;
    case 6:
        world.now -= 1 + below(20000);
        return;
    case 7:
        if (!store_in_transaction(world.engine->store)) {
            command(schedule, "pause", "{}");
            command(schedule, "resume", "{}");
        }
        return;
    case 8:
        if (schedule->power)
            lose_power(schedule);
        return;
    default:
        if (!schedule->faults)
            return;
        world.disk.fault_number = below(2) ? ENOSPC : EIO;
        world.disk.fault_in = 1 + below(30);
        world.disk.fault_for = below(2) ? 1 : 1 + below(40);
        trace("fault in %lld, for %lld", (long long)world.disk.fault_in,
              (long long)world.disk.fault_for);
    }
}

/* ------------------------------------------------------------------- course */

static const struct run *current(const struct schedule *schedule) {
    return engine_loaded_run(world.engine, schedule->run_id);
}

static void decide_all(struct schedule *schedule) {
    const struct run *run = current(schedule);
    for (size_t i = 0; run && i < run->pipeline->step_count; i++) {
        if (!run->steps[i].counts[TASK_DECIDING])
            continue;
        OWN_STRING text = memory_format(
            "{\"where\":\"%s\",\"approved\":%s,\"who\":\"test\"}", run->pipeline->steps[i].id,
            mix_text(world.seed, run->pipeline->steps[i].id) % 4 ? "true" : "false");
        command(schedule, "decide", text);
    }
}

static bool nothing_to_do(void) {
    return !world.pool && !play_pick(play_is_sent) && !play_pick(play_runs) &&
           !play_pick(play_is_to_report) && !world.engine->dirty;
}

/* One thing that happens, whatever comes first. */
static void act(struct schedule *schedule) {
    if (schedule->disturbed && schedule->budget && !below(12)) {
        disturb(schedule);
        return;
    }
    struct play *play;
    switch (below(8)) {
    case 0:
        if ((play = play_pick(play_is_sent)))
            play->state = PLAY_RUNS;
        return;
    case 1:
    case 2:
        if ((play = play_pick(play_runs)))
            play_end(play);
        return;
    case 3:
        if (play_pick(play_is_to_report))
            report(schedule);
        return;
    case 4:
    case 5:
        if (world.pool)
            run_pool(schedule);
        return;
    case 6:
        if (nothing_to_do()) {
            schedule->idle++;
            decide_all(schedule);
            const struct run *run = current(schedule);
            if (run && run->state == RUN_PAUSED) /* the power went before `resume` was safe */
                command(schedule, "resume", "{}");
        }
        poll_home(schedule);
        return;
    default:
        take_turn(schedule);
    }
}

/* An end that is not committed yet may still be undone. */
static bool is_over(const struct schedule *schedule) {
    const struct run *run = current(schedule);
    return !run || (run->ended && !store_in_transaction(world.engine->store));
}

static void play_on(struct schedule *schedule) {
    uint32_t before = 0;
    while (!world.problem[0] && !is_over(schedule)) {
        if (schedule->meddling && schedule->actions >= schedule->next_meddling &&
            !store_in_transaction(world.engine->store))
            meddle(schedule);
        act(schedule);
        if (++schedule->actions > ACTIONS_MAXIMUM) {
            blame("it does not come to an end");
            return;
        }
        const struct run *run = world.engine ? current(schedule) : NULL;
        uint32_t done = 0;
        for (size_t i = 0; run && i < run->pipeline->step_count; i++)
            for (int state = TASK_RUNNING; state < TASK_STATE_COUNT; state++)
                done += run->steps[i].counts[state] * (uint32_t)(state + 1);
        if (done != before || !nothing_to_do())
            schedule->idle = done != before ? 0 : schedule->idle;
        before = done;
        if (schedule->idle > IDLE_MAXIMUM) {
            blame("nothing happens any more, and the run has not ended");
            return;
        }
    }
}

/* ------------------------------------------------------------------ judging */

/* What the run came to, as lines. */
static int summarize(struct schedule *schedule, bool at_end, bool counts, struct buffer *text,
                     struct error **err) {
    struct store *store = world.engine->store;
    OWN_ROWS rows = store_query(
        store, err,
        "SELECT step, partition, CASE state WHEN 6 THEN 5 ELSE state END, skip, hex(output), "
        "coalesce(result, '-') FROM task WHERE run = ? ORDER BY step, partition",
        "i", schedule->run_id);
    if (!rows)
        return -1;
    int more;
    while ((more = rows_next(rows, err)) > 0) {
        const char *id = schedule->pipeline->steps[rows_integer(rows, 0)].id;
        const char *partition = rows_text(rows, 1);
        /* How often `work` succeeded is not told where an end may have to come twice. */
        bool vague = world.simple_failures && text_equal(id, "check");
        enum task_state state = (enum task_state)rows_integer(rows, 2);
        if (at_end && !task_state_is_final(state))
            blame("%s@%s is %s at the end", id, partition, task_state_name(state));
        buffer_format(text, "%s@%s %s %lld %.8s %s", id, partition, task_state_name(state),
                      (long long)rows_integer(rows, 3), vague ? "-" : rows_text(rows, 4),
                      vague ? "-" : rows_text(rows, 5));
        if (counts)
            buffer_format(text, " %u well %u badly", plays_ended(id, partition, true),
                          plays_ended(id, partition, false));
        buffer_append(text, "\n");
    }
    return more;
}

static void check_none(const struct schedule *schedule, const char *sql, const char *what) {
    int64_t odd = 0;
    if (store_integer(world.engine->store, 0, &odd, NULL, sql, "i", schedule->run_id) < 0 || odd)
        blame("%lld %s", (long long)odd, what);
}

static void check_attempts(const struct schedule *schedule) {
    check_none(schedule,
               "SELECT count(*) FROM attempt a JOIN task t ON t.id = a.task WHERE t.run = ? "
               "AND a.ended IS NULL",
               "attempts have no end");
    check_none(schedule,
               "SELECT count(*) FROM task t WHERE run = ? AND attempts <> "
               "(SELECT count(*) FROM attempt a WHERE a.task = t.id) AND attempts > 0",
               "tasks count their attempts wrongly");
    check_none(schedule,
               "SELECT count(*) FROM (SELECT task, count(*) AS n, (SELECT count(*) FROM "
               "attempt a WHERE a.task = e.task AND a.cause = 0) AS good FROM event e WHERE "
               "run = ? AND kind = 'state' AND data = 'succeeded' GROUP BY task) "
               "WHERE good > 0 AND n <> good",
               "tasks succeeded more often than their attempts");
}

/* It ended as cancelled when that was the last that was asked. */
static void check_cancelled(const struct schedule *schedule) {
    check_none(schedule,
               "SELECT count(*) FROM run r WHERE id = ? AND state <> 6 AND (SELECT verb = 'cancel' "
               "AND arguments = '{}' AND problem IS NULL FROM command c WHERE c.run = r.id AND "
               "applied IS NOT NULL ORDER BY id DESC LIMIT 1)",
               "runs went on though they were cancelled");
}

static int count_entry(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                       struct error **err) {
    (void)err;
    *verdict = TREE_SKIP;
    if ((*(unsigned *)context)++ == 0)
        blame("a work folder stays behind: %s", entry->name);
    return 0;
}

static void check_leftovers(struct schedule *schedule) {
    unsigned count = 0;
    OWN_STRING work = path_join(schedule->home, "work");
    if (!world.disk.faults && !schedule->power &&
        tree_walk(AT_FDCWD, work, count_entry, &count, NULL) < 0)
        blame("there is no folder for work");
    for (const struct play *play = world.plays; play; play = play->next)
        if (play->state != PLAY_FORGOTTEN && !schedule->power && !world.disk.faults)
            blame("%s is still known to the keeper after the end", play->name);
}

/* For who looks into a seed. */
static void tell_attempts(void) {
    OWN_ROWS rows = store_query(world.engine->store, NULL,
                                "SELECT job, launched, ended, coalesce(cause, -1), "
                                "coalesce(detail, '') FROM attempt ORDER BY launched",
                                "");
    while (rows && rows_next(rows, NULL) > 0)
        trace("%s launched %lld ended %lld: %s (%s)", rows_text(rows, 0),
              (long long)rows_integer(rows, 1), (long long)rows_integer(rows, 2),
              cause_name((enum cause)rows_integer(rows, 3)), rows_text(rows, 4));
    OWN_ROWS events = store_query(world.engine->store, NULL,
                                  "SELECT e.at, coalesce(t.step, -1), coalesce(t.partition, ''), "
                                  "e.kind, coalesce(e.data, '') FROM event e LEFT JOIN task t ON "
                                  "t.id = e.task ORDER BY e.id",
                                  "");
    while (events && rows_next(events, NULL) > 0)
        trace("%lld step %lld@%s %s %s", (long long)rows_integer(events, 0),
              (long long)rows_integer(events, 1), rows_text(events, 2), rows_text(events, 3),
              rows_text(events, 4));
}

/* Failures that the disk caused are tried again, with a disk that works. */
static void retry_what_failed(struct schedule *schedule, const char *expected) {
    for (int tries = 0; tries < 4 && !world.problem[0]; tries++) {
        OWN_BUFFER now = {0};
        if (summarize(schedule, false, false, &now, NULL) < 0 ||
            text_equal(buffer_text(&now), expected))
            return;
        schedule->idle = 0;
        command(schedule, "retry", "{}");
        poll_home(schedule);
        take_turn(schedule);
        play_on(schedule);
    }
}

/* --------------------------------------------------------------- a schedule */

static int create(struct schedule *schedule, struct error **err) {
    struct engine_options options = {.home = schedule->home, .make = true};
    OWN_ENGINE engine = NULL;
    OWN_JSON inputs = json_pack("{s:s}", "table", schedule->table);
    OWN_JSON parameters = json_object();
    OWN_STRING name = NULL;
    struct run_request request = {.parameters = parameters, .inputs = inputs};
    if (engine_open(&options, &engine, err) < 0 ||
        engine_create_run(engine, schedule->pipeline, &request, &name, err) < 0)
        return -1;
    (void)snprintf(schedule->run, sizeof(schedule->run), "%s", name);
    return 0;
}

/* A home that has just been made. */
static void prepare_home(const struct schedule *schedule, struct error **err) {
    struct engine_options options = {.home = schedule->home, .make = true};
    struct engine *engine = NULL;
    if (database_restore() || engine_open(&options, &engine, err) < 0)
        return;
    engine_close(engine);
    database_keep();
}

static void begin(struct schedule *schedule) {
    OWN_ERROR problem = NULL;
    plays_free();
    world.disk = (struct disk){0};
    world.now = 1800000000000;
    world.keeper_deaths = 0;
    boot_anew();
    if (tree_remove(AT_FDCWD, schedule->home, &problem) == 0)
        prepare_home(schedule, &problem);
    if (problem || create(schedule, &problem) < 0)
        blame("no run: %s", problem->message);
    else
        engine_up(schedule);
}

static void end(struct schedule *schedule) {
    if (!world.engine)
        return;
    engine_down(schedule, 0);
}

/* Returns what it came to. */
static char *play_schedule(struct schedule *schedule, const char *expected) {
    OWN_BUFFER text = {0};
    OWN_ERROR problem = NULL;
    bool exact = !world.simple_failures;
    begin(schedule);
    if (world.engine)
        play_on(schedule);
    if (!world.problem[0]) {
        world.disk.crash_in = world.disk.fault_in = world.disk.fault_for = 0;
        schedule->budget = 0;
        if (expected && world.disk.faults)
            retry_what_failed(schedule, expected);
    }
    /* Nobody tries again where the disk failed and people meddled. */
    bool whole = expected || !world.disk.faults;
    if (!world.problem[0] && summarize(schedule, whole, exact, &text, &problem) < 0)
        blame("the record cannot be read: %s", problem->message);
    if (!world.problem[0])
        check_attempts(schedule);
    if (!world.problem[0])
        check_cancelled(schedule);
    if (world.verbose && world.engine)
        tell_attempts();
    end(schedule);
    if (!world.problem[0])
        check_leftovers(schedule);
    return buffer_take(&text, NULL);
}

/* A pipeline and what it comes to; several schedules share it. */
struct subject {
    uint64_t number;
    struct buffer text;
    struct pipeline *pipeline;
    char *expected;
};
#define SCHEDULES_EACH 10

static void subject_release(struct subject *subject) {
    buffer_release(&subject->text);
    pipeline_free(subject->pipeline);
    memory_free(subject->expected);
    *subject = (struct subject){.number = UINT64_MAX};
}

static struct pipeline *invent(uint64_t number, struct buffer *text) {
    struct diagnostics diagnostics = {0};
    world.chance.state = mix(number, 7);
    pipeline_invent(text);
    OWN_ERROR error = NULL;
    struct pipeline *pipeline =
        pipeline_parse(buffer_text(text), text->size, "simulated.yaml", NULL, &diagnostics, &error);
    if (!pipeline)
        blame("a pipeline that is none: %s", diagnostics.count ? diagnostics.items[0].message
                                             : error           ? error->message
                                                               : "?");
    diagnostics_release(&diagnostics);
    return pipeline;
}

static void schedule_init(struct schedule *schedule, const char *root,
                          const struct subject *subject) {
    (void)snprintf(schedule->home, sizeof(schedule->home), "%s/home", root);
    (void)snprintf(world.boot, sizeof(world.boot), "%s/boot", root);
    (void)snprintf(schedule->table, sizeof(schedule->table), "%s/table.csv", root);
    schedule->pipeline = subject->pipeline;
}

static void subject_make(struct subject *subject, const char *root, uint64_t number) {
    subject_release(subject);
    subject->number = world.seed = number;
    world.simple_failures = mix(number, 3) % 2;
    subject->pipeline = invent(number, &subject->text);
    if (!subject->pipeline)
        return;
    struct schedule schedule = {0};
    schedule_init(&schedule, root, subject);
    subject->expected = play_schedule(&schedule, NULL);
}

static bool simulate(const char *root, struct subject *subject, uint64_t seed, bool verbose) {
    world.problem[0] = '\0';
    world.verbose = verbose;
    if (subject->number != seed / SCHEDULES_EACH)
        subject_make(subject, root, seed / SCHEDULES_EACH);
    trace("\n%s# -------- disturbed", buffer_text(&subject->text));
    struct schedule schedule = {.disturbed = true};
    schedule_init(&schedule, root, subject);
    world.chance.state = mix(seed, 9);
    unsigned kind = world.simple_failures ? 1 + below(3) : 0;
    schedule.faults = kind & 1;
    schedule.power = kind & 2;
    schedule.budget = 3 + below(15);
    schedule.meddling = mix(seed, 5) % 8 == 0 ? 1 + below(6) : 0;
    schedule.next_meddling = 1 + below(1 + below(400));
    bool foretold = !schedule.meddling;
    OWN_STRING found = NULL;
    if (!world.problem[0])
        found = play_schedule(&schedule, foretold ? subject->expected : NULL);
    if (!world.problem[0] && foretold && !text_equal(subject->expected, found))
        blame("it came to something else");
    if (!world.problem[0])
        return true;
    /* Where meson shows it. */
    (void)fprintf(stderr, "# seed %llu: %s\n", (unsigned long long)seed, world.problem);
    if (verbose)
        printf("# expected\n%s# found\n%s", subject->expected ? subject->expected : "",
               found ? found : "");
    return false;
}

/* --------------------------------------------------------------------- main */

static char *make_root(void) {
    char *root = memory_copy_string("/dev/shm/glovebox-simulation-XXXXXX");
    if (root && !mkdtemp(root)) { /* no such file system: slower, but as good */
        memory_free(root);
        root = memory_copy_string("/tmp/glovebox-simulation-XXXXXX");
        if (!root || !mkdtemp(root))
            abort();
    }
    OWN_STRING table = path_join(root, "table.csv");
    static const char text[] = "k,n\na,1\nb,2\nc,3\n";
    if (file_write_atomic(AT_FDCWD, table, text, strlen(text), 0644, NULL) < 0)
        abort();
    return root;
}

/* Those of every second pipeline, or all; returns how many failed. */
static int simulate_many(uint64_t first, uint64_t end, unsigned every, unsigned which,
                         bool verbose) {
    OWN_STRING root = make_root();
    CLEANUP(subject_release) struct subject subject = {.number = UINT64_MAX};
    int failed = 0;
    database_register();
    for (uint64_t seed = first; seed < end && failed < 10; seed++)
        if (seed / SCHEDULES_EACH % every == which)
            failed += !simulate(root, &subject, seed, verbose);
    database_forget();
    database_drop_kept();
    plays_free();
    expression_cache_free(take(&world.expressions));
    if (tree_remove(AT_FDCWD, root, NULL) < 0) {
        (void)fprintf(stderr, "# %s cannot be removed\n", root);
        failed++;
    }
    return failed;
}

#if defined(__SANITIZE_ADDRESS__)
#define COUNT 500
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COUNT 500
#endif
#endif
#ifndef COUNT
#define COUNT 10000
#endif

static int64_t seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* As many programs as processors: the engine has one thread. */
static int simulate_all(int64_t count) {
    int64_t began = seconds();
    pid_t children[2] = {0};
    int failed = 0;
    for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
        OWN_STRING to = memory_format("%lld", (long long)count);
        const char *const argv[] = {"/proc/self/exe", "--half", i ? "1" : "0", to, NULL};
        struct process_options options = {.argv = argv, .input = -1, .output = 1, .error = 2};
        if (process_spawn(&options, &children[i], NULL) < 0)
            failed++;
    }
    for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
        int status = 0;
        if (children[i] > 0 && waitpid(children[i], &status, 0) == children[i] && !status)
            continue;
        (void)fprintf(stderr, "# half %zu: status %#x\n", i, (unsigned)status);
        failed++;
    }
    printf("# %lld schedules in %lld s\n", (long long)count, (long long)(seconds() - began));
    printf("%s 1 - schedules_of_the_engine\n1..1\n", failed ? "not ok" : "ok");
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static bool number(const char *text, int64_t *ret) {
    return text_parse_integer(text, 0, (int64_t)1 << 60, ret, NULL) == 0;
}

int main(int argc, char **argv) {
    int64_t first = 0, count = COUNT, end = 0;
    int failed = -1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    log_configure(LOG_ERROR, false, STDERR_FILENO);
    if (argc == 1 || (argc == 3 && text_equal(argv[1], "--count") && number(argv[2], &count)))
        return simulate_all(count);
    if (argc == 2 && number(argv[1], &first))
        failed = simulate_many((uint64_t)first, (uint64_t)first + 1, 1, 0, true);
    if (argc == 4 && text_equal(argv[1], "--half") && number(argv[2], &first) &&
        number(argv[3], &end))
        failed = simulate_many(0, (uint64_t)end, 2, (unsigned)first, false);
    if (failed < 0)
        (void)fprintf(stderr, "usage: simulate [SEED | --count N]\n");
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
