/* Private to engine/: a home, its runs and tasks as they are in memory. The database has the last
 * word: all of this is rebuilt from it by run_load(). */
#ifndef GLOVEBOX_ENGINE_PRIVATE_H
#define GLOVEBOX_ENGINE_PRIVATE_H

#include "data/data.h"
#include "engine/engine.h"
#include "store/store.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <uv.h>

#define LEVELS_MAXIMUM        8
#define TASKS_MAXIMUM         ((size_t)2 << 20) /* of one run */
#define RUN_MEMORY_MAXIMUM    ((size_t)2 << 30)
#define RESULT_JSON_MAXIMUM   ((size_t)1 << 20)
#define FAILED_RESULT_MAXIMUM ((size_t)256 << 10) /* read on the loop thread */
#define LOST_MAXIMUM          5 /* times that an attempt may be lost before its task fails */
#define NAME_SIZE             128
#define STATE_GONE            (-1) /* of a task on record whose partition is not made any more */
#define NOT_STARTED           "the run ended before its turn came"
#define WAITS_FOR_SAME        "waits for the same work"
#define NOTE_CANCELLING       "cancelling"
#define NEXT_POLLS            UINT16_MAX       /* no condition of `next` holds yet */
#define NEXT_NONE             (UINT16_MAX - 1) /* none held, and none will be asked again */

/* Why a task was skipped. The order stands in the database. */
enum skip {
    SKIP_NONE,
    SKIP_WHEN,             /* its own `when` was false */
    SKIP_UPSTREAM_SKIPPED, /* what it reads was never made */
    SKIP_UPSTREAM_FAILED,
    SKIP_PARTITION, /* a failure that on_failure: skip_partition tolerates */
    SKIP_TRIGGER,   /* its trigger rule did not hold */
    SKIP_PERSON,
    SKIP_SELECTION, /* --only left it out */
    SKIP_NOT_FIRED, /* no `next` ever named it */
    SKIP_COUNT
};

/* A partition: one node of the tree that the fans make. */
struct node {
    const char *key;   /* "" for the root */
    const char *path;  /* of the item below what was listed */
    const char *item;  /* JSON text or NULL */
    const char *files; /* JSON text or NULL */
    struct node *parent;
    uint32_t index, level;
    UT_hash_handle hh; /* in its axis, by key */
};
struct range {
    uint32_t first, count;
    bool made, listing; /* listing: the pool is at it */
    uint8_t outcome;    /* enum skip: stands for the tasks that were not made */
};
/* All partitions that one step's `foreach` made, below those of the axis above. */
struct axis {
    size_t fan_step;
    struct axis *above; /* NULL for the root axis */
    uint32_t level;
    struct node **nodes;
    size_t count, capacity;
    struct node *by_key;
    struct range *ranges; /* by index of the node above */
    size_t range_capacity;
};

struct task {
    int64_t id;
    struct run_step *step;
    struct node *node;
    uint8_t state, cause, skip;
    bool fresh, fired, fire_again, has_key, has_output, busy; /* busy: the pool works for it */
    bool counted;                                             /* its resources are taken */
    bool needed; /* its outputs were dropped, and somebody must read them */
    bool reset;  /* by the command that is being applied */
    bool woken;  /* in the run's list of tasks to look at */
    uint16_t attempts, tries, lost;
    uint16_t chosen; /* branch of `next` + 1, or NEXT_POLLS while none holds */
    int exit;
    uint32_t waiting; /* edges that are still open */
    int64_t wake;
    int64_t queued;         /* when it became ready, by the monotonic clock */
    const char *new_result; /* its result.json, while it moves to a final state */
    bool has_new_result;
    uint8_t key[SHA256_SIZE], output[SHA256_SIZE];
    struct task *queue_next; /* in its step's ready queue, or among the woken */
    struct flight *flight;   /* while an attempt is being prepared, runs, or is being finished */
};

struct counters {
    uint32_t *items;
    size_t capacity;
};
struct dependent {
    struct run_step *step;
    size_t edge;
};
struct run_step {
    struct run *run;
    const struct step *step;
    struct axis *axis;
    struct task **tasks; /* by index of the node */
    size_t task_capacity;
    uint32_t counts[TASK_STATE_COUNT];
    uint32_t ok, failed, tolerated, skipped; /* of the final ones, as joins see them */
    uint32_t fresh;
    struct counters open[LEVELS_MAXIMUM + 1]; /* [l][i]: not final below node i of level l */
    struct dependent *dependents;
    size_t dependent_count;
    struct task *queue_first, *queue_last; /* ready */
    uint32_t in_flight;
    uint64_t passed;            /* the scheduler's round in which its tasks did not fit */
    struct resources resources; /* what its tasks ask for, its flavor included */
    unsigned weight;            /* steps on the longest path from here to an end */
    unsigned timed;             /* how many ends `pace` is made of, up to 4 */
    int64_t pace;               /* how long its tasks took of late: microseconds */
    bool selected;
    bool starts; /* by itself, as --only left out what would fire it */
    bool has_log_folder;
    bool reopened; /* by a command: tasks of it that were skipped are looked at again */
};

enum manifest_of { MANIFEST_OF_INPUT, MANIFEST_OF_PARAMETER };
struct source { /* an input or a file parameter, with what is in it */
    const char *path;
    struct manifest *manifest; /* NULL: not bound, or a writable input */
    bool writable;
};

struct run {
    struct engine *engine;
    int64_t id;
    char name[NAME_SIZE];
    enum run_state state;
    struct pipeline *pipeline;
    json_t *parameters, *inputs, *selection;
    json_t *images; /* {name: what it was pinned to} */
    char *output;
    struct arena *arena;
    struct run_step *steps;
    struct axis **axes; /* one a fan step, plus the root at [step_count] */
    struct source *input_sources, *parameter_sources;
    bool sources_ready, sources_busy;
    bool loading; /* counters are being rebuilt: nobody is woken */
    struct task *woken_first, *woken_last;
    struct task *parked;     /* ready, but another task does the same work */
    struct task *reset_list; /* while a command is applied */
    bool undone;             /* a fan was taken back by it */
    bool stopping;           /* a failure ended it: nothing new starts but clean-up */
    bool dropped_any;        /* some results lost their bytes by gc */
    bool warned;             /* that limits are weaker than was asked for */
    bool cancelling;
    bool finishing; /* outputs are being delivered */
    bool ended;
    uint32_t in_flight;             /* tasks launched or about to be */
    struct manifest *kept_manifest; /* of the outputs with kept_key: see inputs.c */
    uint8_t kept_key[SHA256_SIZE];
    uint32_t pool;  /* pieces of work in the pool */
    uint32_t calls; /* of host-side functions, under way */
    char *report;   /* MedPerf's, as it was written last; see report.c */
    int64_t report_time, report_looked;
    struct run *next;
};

/* An attempt on its way: see flight.c. */
struct flight;

struct engine {
    char *home;
    int home_fd, lock_fd;
    bool read_only;
    struct store *store;
    int64_t data_version;
    struct policy *policy;
    const struct driver *driver;
    struct compute *compute;
    struct compute_capacity capacity;
    double cpus_taken;
    uint64_t memory_taken;
    unsigned gpus_taken;
    uint64_t round; /* of the scheduler */
    uv_loop_t *loop;
    int64_t newest; /* id of the newest run that was taken up */
    int64_t boot;   /* the wall clock's time when the monotonic one was 0, at the last poll */
    bool driving, dirty;
    struct error *failure; /* ends the drive */
    struct run *runs;
    struct pipeline *asked; /* of the run that was asked about last */
    char asked_name[NAME_SIZE];
    struct flight *launches; /* prepared in this turn: launched after the commit */
    struct flight *flights;  /* all, to find one by its job's name */
    struct flight *landed;   /* stored in this turn: forgotten after the commit */
    struct call *calls;      /* of host-side functions, under way */
    unsigned calls_made;
    struct expression_cache *expressions;
    int64_t sync_round; /* results stored now are safe after the sync that ends it */
    bool rebooted;      /* runs are under way that are older than the last start of the machine */
    bool ending;        /* a run's end is in this turn's commit */
    char *own_folder;   /* of our executable, mounted for tools */
};

/* ------------------------------------------------------------------- home.c */
char *home_path(const struct engine *engine, const char *format, ...) PRINTF_LIKE(2, 3) MUST_CHECK;
/* 1: we hold the lock now; 0: somebody else does; -1: error. */
int home_lock(struct engine *engine, struct error **err) MUST_CHECK;
void home_unlock(struct engine *engine);
/* Opens a transaction unless one is open. The turn's end commits. */
int engine_write(struct engine *engine, struct error **err) MUST_CHECK;
const char *engine_who(void);

/* ----------------------------------------------------------------- secret.c */
/* The one secret that the home makes itself, of random bytes, when a step first asks for it. */
#define SECRET_PSEUDONYMS "pseudonyms"
/* A digest of HOME/secrets/NAME that says nothing about it to who has not the home's salt, and
 * whether it may be used: ERROR_DENIED when others than its owner can read it. */
int secret_identify(const struct engine *engine, const char *name, char text[SHA256_HEX_SIZE],
                    struct error **err) MUST_CHECK;

/* ----------------------------------------------------------------- images.c */
/* Nobody drops an image until *ret is closed; it stays NULL when no step has one. */
struct image_store;
int images_keep(const struct engine *engine, const struct pipeline *pipeline,
                struct image_store **ret, struct error **err) MUST_CHECK;
/* {name: name@digest} of the images of all steps, `known` (or NULL) taken over; ERROR_NOT_FOUND,
 * with a hint, for one that is not here. */
json_t *images_pin(const struct engine *engine, const struct pipeline *pipeline,
                   const json_t *known, struct error **err) MUST_CHECK;
/* What the step's image was pinned to; NULL: it has none. */
const char *images_of(const struct run *run, const struct step *step);
/* The digest in what an image was pinned to, or all of it. */
const char *images_digest(const char *pinned);

/* ------------------------------------------------------------------- load.c */
/* Builds a run from the database. */
int run_load(struct engine *engine, const char *name, struct run **ret,
             struct error **err) MUST_CHECK;
void run_free(struct run *run);
void run_cleanup(struct run **run);
/* Forgets and rebuilds tasks and counters after commands changed them in the database. */
int run_reload(struct run *run, struct error **err) MUST_CHECK;
int64_t run_id_of(struct engine *engine, const char *name, struct error **err) MUST_CHECK;

/* ------------------------------------------------------------------- axis.c */
struct node *node_at_level(struct node *node, uint32_t level);
struct node *axis_add(struct run *run, struct axis *axis, struct node *above, const char *key,
                      struct error **err) MUST_CHECK;
/* Calls `use` for every node of `axis` below (or at) `node`, which lies on one of its axes. */
typedef int (*node_visitor)(struct node *node, void *context, struct error **err);
int axis_visit(const struct axis *axis, struct node *node, node_visitor use, void *context,
               struct error **err) MUST_CHECK;
struct range *axis_range(struct axis *axis, const struct node *above,
                         struct error **err) MUST_CHECK;
uint32_t *counter_at(struct run_step *step, uint32_t level, uint32_t index,
                     struct error **err) MUST_CHECK;

struct node *axis_find(const struct axis *axis, const char *key);
void axis_clear(struct axis *axis);

/* ------------------------------------------------------------------ graph.c */
/* Makes the task object of a step at a node (already in the database, or about to be). */
struct task *task_new(struct run_step *step, struct node *node, struct error **err) MUST_CHECK;
/* A fan below `above` has been made with `count` nodes: opens and closes counters. */
int graph_expanded(struct run *run, struct axis *axis, struct node *above,
                   struct error **err) MUST_CHECK;
/* Sets how many edges the task waits for, from what is final already. */
int graph_connect(struct task *task, struct error **err) MUST_CHECK;
/* Tells everybody who waits that `task` became final. */
int graph_settled(struct task *task, struct error **err) MUST_CHECK;
/* A final task is open again. */
int graph_reopened(struct task *task, struct error **err) MUST_CHECK;
/* Puts a waiting task on the list of those to look at; graph_drain() looks: a task stays, becomes
 * ready, or is skipped. A list and not a recursion: chains may be long. */
void graph_wake(struct task *task);
int graph_drain(struct run *run, struct error **err) MUST_CHECK;
/* Counts a task that is final when a run is loaded. */
int graph_count_final(struct task *task, struct error **err) MUST_CHECK;
int graph_fire(struct task *task, struct error **err) MUST_CHECK;
/* Nothing of the step is under way any more: a clean-up that waited for that may go on. */
void graph_wake_cleanup(struct run_step *step);
/* The upstream task that an edge or reference (not a join) means. */
struct task *graph_upstream(const struct task *task, size_t step);
bool task_counts_as_failed(const struct task *task);
bool task_has_data(const struct task *task);

/* ------------------------------------------------------------------ state.c */
/* The one function that changes a task's state: memory, database and event together.
 * `reason` says why in words, or NULL. */
int task_move(struct task *task, enum task_state state, const char *reason,
              struct error **err) MUST_CHECK;
int task_skip(struct task *task, enum skip skip, struct error **err) MUST_CHECK;
/* Unless it has ended or runs: what runs is stopped (flight_stop()), when nobody drives as soon as
 * somebody does. */
int task_cancel(struct task *task, struct error **err) MUST_CHECK;
const char *skip_sentence(enum skip skip);
int run_move(struct run *run, enum run_state state, const char *note,
             struct error **err) MUST_CHECK;
int event_add(struct engine *engine, int64_t run, int64_t task, const char *kind, json_t *data,
              struct error **err) MUST_CHECK; /* takes over data */

/* ----------------------------------------------------------------- expand.c */
/* Makes the partitions of a fan below `above`, with the tasks of all steps on its axis. */
int expand_make(struct run *run, size_t fan_step, struct node *above,
                const struct partition_list *list, struct error **err) MUST_CHECK;
/* The upstream of this fan below `above` will never give data. */
int expand_blocked(struct run *run, size_t fan_step, struct node *above, enum skip outcome,
                   struct error **err) MUST_CHECK;
/* A task became final: makes (or closes) the fans over its outputs. */
int expand_after(struct task *task, struct error **err) MUST_CHECK;
/* The same for all final tasks: after a run was loaded. */
int expand_ready(struct run *run, struct error **err) MUST_CHECK;
/* Lists a fan's partitions; safe in the pool. */
int expand_list(const json_t *parameters, const struct fan *fan, const char *path,
                const struct manifest *manifest, struct partition_list *list,
                struct error **err) MUST_CHECK;
bool expand_leads_to(const char *key, const char *wanted, bool above);
int expand_check(const struct run *run, size_t fan_step, const struct partition_list *list,
                 struct error **err) MUST_CHECK;
/* A fan over an input was listed (or could not be: takes over `problem`). */
int expand_from_source(struct run *run, size_t fan_step, const struct partition_list *list,
                       struct error *problem, struct error **err) MUST_CHECK;

/* ---------------------------------------------------------------- sources.c */
/* Lists a fan over the input at `path`; `manifest` NULL: it is looked at now. */
int sources_list(const struct fan *fan, const char *path, const struct manifest *manifest,
                 const json_t *parameters, struct partition_list *ret,
                 struct error **err) MUST_CHECK;
/* Reads (hashes) inputs and file parameters in the pool; then the run goes on. */
int sources_begin(struct run *run, struct error **err) MUST_CHECK;

/* ----------------------------------------------------------------- values.c */
/* {params, inputs, partition, item, results, run, step, in, out} for templates and jq. */
json_t *values_of(struct task *task, bool with_results, struct error **err) MUST_CHECK;
/* What `.` is in a step's `when`: the result of what it reads. */
json_t *value_input(struct task *task, struct error **err) MUST_CHECK;
json_t *task_result(struct task *task, struct error **err) MUST_CHECK; /* null when none */
int task_test_when(struct task *task, bool *ret, struct error **err) MUST_CHECK;

/* --------------------------------------------------------------- schedule.c */
void schedule_queue(struct task *task);
void schedule_unqueue(struct task *task);
int schedule_dispatch(struct engine *engine, struct error **err) MUST_CHECK;
/* Takes a ready task out of its queue until the work under its key was done. */
void schedule_park(struct task *task);
void schedule_unpark(struct engine *engine, const uint8_t key[SHA256_SIZE]);
/* Gives back what a task had taken. */
void schedule_release(struct task *task);
void schedule_take(struct task *task); /* of an attempt that was found running */
/* Microseconds that may go by before anything needs us: many ends then share one commit. */
unsigned schedule_leisure(const struct engine *engine);
void schedule_timed(struct run_step *step, int64_t duration); /* ms that one took */

/* ----------------------------------------------------------------- flight.c */
/* Starts an attempt: inputs, key, reuse or command line; launch follows after the commit. */
int flight_begin(struct task *task, struct error **err) MUST_CHECK;
/* The task and the attempt that a job is of; false: no name that we give to attempts. */
bool flight_parse_job(const char *job, int64_t *ret_task, int64_t *ret_number);
/* After the commit: hands over what was prepared in this turn, forgets what was stored. */
int flight_after_commit(struct engine *engine, struct error **err) MUST_CHECK;
void flight_forget_landed(struct engine *engine);
/* Tells the driver to forget what an earlier program had stored and not yet said so. */
void flight_forget_settled(struct engine *engine);
/* Finds an attempt again that was running when the last driver of the home went away. */
int flight_attach(struct task *task, struct error **err) MUST_CHECK;
void flight_exited(void *engine, const struct exit_report *report);
int flight_stop(struct task *task, enum cause cause, struct error **err) MUST_CHECK;
void flight_free(struct flight *flight);
/* The outputs of a final task are known but dropped: it runs once more before others go on. */
int flight_need(struct task *task, struct error **err) MUST_CHECK;

/* --------------------------------------------------------------- prepare.c */
#include "engine/flight.h"

/* ----------------------------------------------------------------- people.c */
/* A ready task that needs no process: people, time, dummy, notify. */
int people_begin(struct task *task, struct error **err) MUST_CHECK;
/* What is wrong with one step fails its task and not the driver; only what is wrong with us (no
 * memory, a broken database) is handed on. Takes over `problem`. */
int task_fail(struct task *task, struct error *problem, struct error **err) MUST_CHECK;
/* Looks at sleeping and deciding tasks: time, files, conditions. */
int people_poll(struct run *run, int64_t now, struct error **err) MUST_CHECK;
/* Moves the time until which tasks sleep. */
void people_shift(struct run *run, int64_t milliseconds);
int people_decide(struct task *task, bool approved, const char *note, const char *who,
                  struct error **err) MUST_CHECK;
char *people_review_folder(struct task *task, struct error **err) MUST_CHECK;
/* ------------------------------------------------------------------- next.c */
/* After a success: fires what `next` names. */
int next_follow(struct task *task, struct error **err) MUST_CHECK;
/* A task's work is done: it succeeds, or sleeps until a condition of `next` holds. */
int next_settle(struct task *task, enum task_state state, const char *reason,
                struct error **err) MUST_CHECK;
int next_wake(struct task *task, struct error **err) MUST_CHECK;
/* The functions among the conditions have answered: `branch` is taken, or -1. */
int next_answered(struct task *task, int branch, struct error **err) MUST_CHECK;
/* Any final task: jumps to a step that waits for all its partitions. */
int next_join(struct task *task, struct error **err) MUST_CHECK;
/* A task that was not there yet when steps that lead to it ended. */
int next_catch_up(struct task *task, struct error **err) MUST_CHECK;

/* ------------------------------------------------------------------- call.c */
/* MedPerf's host-side Python functions, each call a sealed job of its own. */
struct call;
/* Asks `fan.function` of a step for its partitions; expand_from_source() gets the answer. */
int call_partitions(struct run *run, size_t fan_step, struct error **err) MUST_CHECK;
/* False while the task's conditions are asked already, or too many calls are under way. */
bool call_is_possible(const struct task *task);
/* Asks `functions` in turn; next_answered() gets the branch of the first that holds, or
 * `fallback`. The task is SLEEPING with NEXT_POLLS. */
int call_conditions(struct task *task, const json_t *functions, const json_t *branches,
                    int fallback, struct error **err) MUST_CHECK;
/* True when the job was a call. Its failure to be used is in *err. */
bool call_exited(struct engine *engine, const struct exit_report *report, struct error **err);
void call_forget_all(struct engine *engine);
/* Tidies up after the last driver of the home. */
int call_recover(struct engine *engine, struct error **err) MUST_CHECK;

/* ---------------------------------------------------------------- command.c */
int commands_apply(struct engine *engine, bool *ret_any, struct error **err) MUST_CHECK;

/* ------------------------------------------------------------------ drive.c */
/* The parts of engine_drive(), for a loop and for the simulation of one. Once drive_begin() was
 * called, drive_end() must be, with 0 or -1 for what came before it: what is open is committed, or
 * rolled back; nothing may be in the pool any more. */
int drive_begin(struct engine *engine, const char *name, int64_t *ret_id,
                struct error **err) MUST_CHECK;
/* What is new in the database: runs, commands; who has slept enough. */
int drive_poll(struct engine *engine, struct error **err) MUST_CHECK;
/* All that can be done now is done, committed, and only then launched. */
int drive_turn(struct engine *engine, struct error **err) MUST_CHECK;
int drive_end(struct engine *engine, int result, struct error **err) MUST_CHECK;
/* Loads a run and sets it going. */
int drive_take_up(struct engine *engine, const char *name, struct run **ret,
                  struct error **err) MUST_CHECK;
/* Frees all runs and what is under way; the database and the keeper know the rest. */
void drive_forget(struct engine *engine);
void engine_touch(struct engine *engine); /* there is something to do in the next turn */
void engine_fail(struct engine *engine, struct error *error);
struct run *engine_loaded_run(struct engine *engine, int64_t id);
/* Runs `work` in the pool, then `done` on the loop thread. Without a loop: both at once. */
struct pool_job {
    uv_work_t request;
    struct run *run;
    void (*work)(struct pool_job *job);
    int (*done)(struct pool_job *job, struct error **err); /* frees the job */
};
int pool_queue(struct run *run, struct pool_job *job, struct error **err) MUST_CHECK;

/* ----------------------------------------------------------------- record.c */
/* Delivers outputs and writes the run's record; in the pool. */
int record_finish(struct run *run, enum run_state state, struct error **err) MUST_CHECK;
int record_write(struct run *run, struct error **err) MUST_CHECK;
/* The same without the tasks, for a run that begins to wait; trouble is only logged. */
void record_note(struct run *run);

/* ------------------------------------------------------------------ crate*.c */
/* Writes ro-crate-metadata.json beside the record; `record` is query_record()'s. */
int crate_write(struct engine *engine, const char *run, const json_t *record,
                struct error **err) MUST_CHECK;
/* Writes the files of a pipeline below a run's `folder`, for its crate; `path` is the pipeline's
 * own as the run's record has it. */
int crate_keep_files(const struct pipeline *pipeline, const char *path, const char *folder,
                     struct error **err) MUST_CHECK;
/* {name: {sha256, parts}} of the outputs of a run that succeeded. */
json_t *crate_output_digests(struct run *run, struct error **err) MUST_CHECK;
/* Adds `recorded` to the status of a run that was made from a crate. */
int query_add_recorded(struct engine *engine, int64_t run, json_t *status,
                       struct error **err) MUST_CHECK;

/* ----------------------------------------------------------------- report.c */
/* MedPerf's report file, when the run is one of MedPerf's files. Says so in the log when it cannot
 * be written; `now` false: only when it changed, and not more often than was asked for. */
void report_write(struct run *run, bool now);
/* In percent with up to three places, as Python writes round(x, 3). */
void report_append_share(struct buffer *out, uint64_t done, uint64_t all);

/* ------------------------------------------------------------- reporting.c */
/* ms between writings of the report file. */
int reporting_interval(struct engine *engine, int64_t run, int64_t *ret,
                       struct error **err) MUST_CHECK;
/* Adds `reporting` to the status of a run that reports to a server. */
int query_add_reporting(struct engine *engine, const char *run, json_t *status,
                        struct error **err) MUST_CHECK;
/* ERROR_BUSY when the end of a run has not been told yet. */
int reporting_check_told(struct engine *engine, const char *run, struct error **err) MUST_CHECK;

/* ---------------------------------------------------------------- deliver.c */
struct delivery;
struct delivery_item {
    char *source, *target; /* host paths; the target lies in the run's folder for outputs */
};
/* Reads what earlier runs delivered. *ret is the caller's to free, also after an error. */
int delivery_new(const struct run *run, struct delivery **ret, struct error **err) MUST_CHECK;
void delivery_free(struct delivery *delivery);
/* In the pool: copies the items to their places; then removes what lies there from before. */
int delivery_put(struct delivery *delivery, const struct delivery_item *items, size_t count,
                 struct error **err) MUST_CHECK;
int delivery_tidy(struct delivery *delivery, struct error **err) MUST_CHECK;
/* Records what was put; not `whole`: it was cut short, so that what was there before counts still.
 */
int delivery_save(const struct run *run, const struct delivery *delivery, bool whole,
                  struct error **err) MUST_CHECK;

/* ------------------------------------------------------------------ power.c */
/* When driving begins: looks at what a power cut may have taken since the home was last driven. */
int power_begin(struct engine *engine, struct error **err) MUST_CHECK;
/* In the pool: all that was stored before is safe. Then the results of that round are marked so. */
int power_sync(const struct engine *engine, struct error **err) MUST_CHECK;
int power_synced(struct engine *engine, int64_t round, struct error **err) MUST_CHECK;

/* --------------------------------------------------------------------- gc.c */
/* Removes work folders of attempts that no running task owns. Only while we hold the lock. */
int gc_sweep_work(struct engine *engine, bool dry_run, struct gc_report *ret,
                  struct error **err) MUST_CHECK;

/* -------------------------------------------------------------------- spot.c */
struct spot { /* below one of the two */
    const struct source *source;
    struct task *task;
    char *path;
};
void spot_release(struct spot *spot);
/* Of the item that `fan_step` gave `node`, or of `below` inside it. */
int spot_of_item(struct run *run, size_t fan_step, struct node *node, const char *below,
                 struct spot *ret, struct error **err) MUST_CHECK;
/* Links are resolved and never lead outside. */
char *spot_host_path(const struct spot *spot, struct error **err) MUST_CHECK;

/* ------------------------------------------------------------------- query.c */
/* As engine_pipeline(), but kept by the engine until it is asked about another run. */
const struct pipeline *query_pipeline(struct engine *engine, const char *run,
                                      struct error **err) MUST_CHECK;
/* The status with all that went in: parameters, inputs, digests. */
json_t *query_record(struct engine *engine, const char *run, struct error **err) MUST_CHECK;
json_t *query_time(int64_t wall);
json_t *query_parse(const char *text); /* JSON null when it is none */
/* What the run's last event of the kind says; {} when there is none. Not for kind "state". */
json_t *query_last_event(struct engine *engine, int64_t run, const char *kind,
                         struct error **err) MUST_CHECK;
/* Sets `code`, with the nearest name as hint. */
int query_unknown_step(const struct pipeline *pipeline, const char *id, enum error_code code,
                       struct error **err);
/* Index of a step, -1 for NULL; ERROR_NOT_FOUND with the nearest name. */
int query_step(const struct pipeline *pipeline, const char *id, int64_t *ret,
               struct error **err) MUST_CHECK;
/* ----------------------------------------------------------------- inputs.c */
/* A writable input that was left out: one folder (or file) of the run, shared by its steps. Made
 * when it is not there. Caller frees. */
char *run_volume(const struct run *run, size_t input, struct error **err) MUST_CHECK;

/* The manifest of a task's outputs; the last one read is kept by its run, since many items of one
 * step's outputs are asked for in a row. */
const struct manifest *result_manifest(struct task *task, struct error **err) MUST_CHECK;
/* ------------------------------------------------------------------ result.c */
char *result_folder(const struct engine *engine, const uint8_t key[SHA256_SIZE]) MUST_CHECK;
/* Folder (or file) with a task's outputs at `path`; an empty folder when it left none. */
char *result_path(const struct task *task, const char *path) MUST_CHECK;
/* The same with links resolved, refusing to leave the outputs: what a guest wrote is not trusted.
 */
char *result_inside(const struct task *task, const char *path, struct error **err) MUST_CHECK;

/* The object in FOLDER/result.json, canonical; *ret stays NULL when there is none. */
int result_read(const char *folder, size_t maximum, char **ret, struct error **err) MUST_CHECK;

extern const struct store_migrations home_migrations;

#endif
