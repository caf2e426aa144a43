/* The graph's counters against a plain model: random pipelines of steps that cost nothing, whose
 * tasks end in random order, well or badly, with the run rebuilt from the database now and then. */
#include "engine/private.h"
#include "tap.h"

#include <fcntl.h>
#include <stdlib.h>

#define PARTITIONS 3
#define STEPS      10

static char *scratch(void) {
    char *path = memory_copy_string("/tmp/glovebox-test-XXXXXX");
    return path && mkdtemp(path) ? path : NULL;
}

static uint64_t state_of_chance;
static unsigned chance(unsigned below) {
    state_of_chance = state_of_chance * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(state_of_chance >> 33) % below;
}

static const char *const rules[] = {"all_succeeded", "all_done",    "any_failed",
                                    "any_succeeded", "none_failed", "all_failed"};

/* Ten dummies; about half of them fan out over a table, each needs some of those before it. */
static char *random_pipeline(void) {
    OWN_BUFFER text = {0};
    buffer_append(&text, "name: random\ninputs: {table: {type: file}}\nsteps:\n"
                         "- {id: s0, type: dummy, on_failure: continue, "
                         "foreach: {csv: inputs.table, key: k}}\n");
    for (unsigned i = 1; i < STEPS; i++) {
        buffer_format(&text, "- {id: s%u, type: dummy, on_failure: %s, trigger_rule: %s", i,
                      chance(4) ? "continue" : "skip_partition", rules[chance(4) ? 0 : chance(6)]);
        if (chance(2))
            buffer_append(&text, ", foreach: s0");
        buffer_append(&text, ", needs: [");
        bool any = false;
        for (unsigned n = 0; n < i; n++) {
            if (chance(3))
                continue;
            buffer_format(&text, "%ss%u", any ? ", " : "", n);
            any = true;
        }
        buffer_append(&text, "]}\n");
    }
    return buffer_take(&text, NULL);
}

/* -------------------------------------------------------------------- model */

struct sums {
    unsigned open, ok, failed, tolerated;
    bool left_out; /* the same partition failed and is tolerated */
};

static void add(struct sums *sums, const struct task *task, bool own) {
    sums->open += !task_state_is_final(task->state);
    sums->ok += task->state == TASK_SUCCEEDED;
    bool failed = task->state == TASK_FAILED, skipped = task->state == TASK_SKIPPED;
    bool soft = task->step->step->on_failure == ON_FAILURE_SKIP_PARTITION;
    sums->failed += (failed && !soft) || (skipped && task->skip == SKIP_UPSTREAM_FAILED);
    bool tolerated = (failed && soft) || (skipped && task->skip == SKIP_PARTITION);
    sums->tolerated += tolerated;
    sums->left_out |= tolerated && own;
}

static struct sums upstream_of(const struct task *task) {
    struct run *run = task->step->run;
    const struct step *step = task->step->step;
    struct sums sums = {0};
    for (size_t i = 0; i < step->edge_count; i++) {
        struct run_step *other = &run->steps[step->edges[i].step];
        bool fans = other->step->axis_count, mine = step->axis_count;
        if (!fans || mine) {
            add(&sums, other->tasks[fans ? task->node->index : 0], true);
            continue;
        }
        for (size_t n = 0; n < PARTITIONS; n++)
            add(&sums, other->tasks[n], false);
    }
    return sums;
}

static bool would_run(const struct task *task, const struct sums *sums) {
    switch (task->step->step->trigger_rule) {
    case TRIGGER_ALL_SUCCEEDED:
    case TRIGGER_NONE_FAILED:
        return !sums->failed && !sums->left_out;
    case TRIGGER_ALL_DONE:
        return true;
    case TRIGGER_ANY_FAILED:
        return sums->failed + sums->tolerated > 0;
    case TRIGGER_ANY_SUCCEEDED:
        return sums->ok > 0;
    case TRIGGER_ALL_FAILED:
        return sums->failed + sums->tolerated > 0 && !sums->ok;
    }
    return false;
}

/* Every task is where the model says; the ready ones are collected. */
static size_t check_all(struct run *run, struct task **ready) {
    size_t count = 0;
    for (size_t i = 0; i < STEPS; i++) {
        struct run_step *step = &run->steps[i];
        size_t tasks = step->step->axis_count ? PARTITIONS : 1;
        for (size_t n = 0; n < tasks; n++) {
            struct task *task = step->tasks[n];
            struct sums sums = upstream_of(task);
            bool run_it = would_run(task, &sums);
            bool right = sums.open ? task->state == TASK_WAITING
                         : run_it  ? task->state != TASK_WAITING && task->state != TASK_SKIPPED
                                   : task->state == TASK_SKIPPED;
            if (!right)
                tap_fail(__FILE__, __LINE__, "%s@%s is %s: %u open, %u ok, %u failed, rule %d",
                         step->step->id, task->node->key, task_state_name(task->state), sums.open,
                         sums.ok, sums.failed, step->step->trigger_rule);
            if (task->state == TASK_READY)
                ready[count++] = task;
        }
    }
    return count;
}

static void play(struct run *run) {
    struct task *ready[STEPS * PARTITIONS];
    OWN_ERROR error = NULL;
    for (size_t left; (left = check_all(run, ready)) && !tap_failures;) {
        struct task *task = ready[chance((unsigned)left)];
        REQUIRE(task_move(task, chance(4) ? TASK_SUCCEEDED : TASK_FAILED, NULL, &error) == 0);
        REQUIRE(graph_drain(run, &error) == 0);
        if (!chance(5)) /* as after a crash */
            REQUIRE(run_reload(run, &error) == 0 && graph_drain(run, &error) == 0);
    }
    for (size_t i = 0; i < STEPS; i++)
        CHECK_INTEGER(run->steps[i].counts[TASK_WAITING], 0);
}

static void play_one(const char *root, uint64_t seed) {
    state_of_chance = seed * 7919 + 1;
    OWN_STRING home = memory_format("%s/home-%u", root, (unsigned)seed);
    OWN_STRING table = path_join(root, "table.csv");
    OWN_STRING text = random_pipeline();
    OWN_STRING name = NULL;
    OWN_ERROR error = NULL;
    OWN_ENGINE engine = NULL;
    struct diagnostics diagnostics = {0};
    OWN_PIPELINE pipeline =
        pipeline_parse(text, strlen(text), "random.yaml", NULL, &diagnostics, &error);
    diagnostics_release(&diagnostics);
    REQUIRE(pipeline);
    struct engine_options options = {.home = home, .make = true};
    REQUIRE(engine_open(&options, &engine, &error) == 0);
    OWN_JSON inputs = json_pack("{s:s}", "table", table);
    OWN_JSON parameters = json_object();
    struct run_request request = {.parameters = parameters, .inputs = inputs};
    REQUIRE(engine_create_run(engine, pipeline, &request, &name, &error) == 0);
    struct run *run = NULL;
    REQUIRE(drive_take_up(engine, name, &run, &error) == 0);
    for (size_t i = 0; i < STEPS; i++) /* the table has not been read */
        CHECK(!run->steps[i].step->axis_count || !run->steps[i].counts[TASK_READY]);
    REQUIRE(sources_begin(run, &error) == 0);
    REQUIRE(graph_drain(run, &error) == 0);
    play(run);
    if (tap_failures)
        printf("# seed %u\n%s", (unsigned)seed, text);
    store_rollback(engine->store);
}

TEST(tasks_become_ready_when_the_model_says_so) {
    OWN_STRING root = scratch();
    OWN_STRING table = path_join(root, "table.csv");
    REQUIRE(file_write_atomic(AT_FDCWD, table, "k\na\nb\nc\n", 8, 0644, NULL) == 0);
    for (uint64_t seed = 0; seed < 150 && !tap_failures; seed++)
        play_one(root, seed);
    CHECK(tree_remove(AT_FDCWD, root, NULL) == 0);
}

TAP_MAIN
