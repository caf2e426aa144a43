/*
 * engine — runs: planning, the task state machine, scheduling, reuse, decisions.
 *
 * A *home* is a folder that holds everything of one installation: the database, the runs' records
 * and logs, the results. Any number of programs may open a home to ask or to command; at most one
 * at a time *drives* it (holds its lock, launches tasks, writes states). Whoever calls
 * engine_drive() while another drives becomes a follower: it watches, and takes over when the
 * driver goes away, however that happened.
 *
 * Everything that changes a run goes through a command in the database. A command is durable when
 * engine_command() returns and is applied by the driver, or at the next drive.
 */
#ifndef GLOVEBOX_ENGINE_H
#define GLOVEBOX_ENGINE_H

#include "base/base.h"
#include "compute/compute.h"
#include "pipeline/pipeline.h"

enum task_state {
    TASK_WAITING, /* for what comes before it */
    TASK_READY,   /* for room to run */
    TASK_RUNNING,
    TASK_DECIDING, /* for a person */
    TASK_SLEEPING, /* for a time, a file or a condition */
    TASK_SUCCEEDED,
    TASK_REUSED, /* succeeded without running: the same work was done before */
    TASK_SKIPPED,
    TASK_FAILED,
    TASK_CANCELLED,
    TASK_STATE_COUNT
};
const char *task_state_name(enum task_state state);
bool task_state_is_final(enum task_state state);

enum run_state {
    RUN_PLANNED, /* nobody has driven it yet */
    RUN_RUNNING,
    RUN_PAUSED,  /* by a person */
    RUN_WAITING, /* only people can move it on */
    RUN_SUCCEEDED,
    RUN_FAILED,
    RUN_CANCELLED,
    RUN_STATE_COUNT
};
const char *run_state_name(enum run_state state);

struct engine;

struct engine_options {
    const char *home;   /* absolute */
    const char *driver; /* name of a compute driver; NULL: "process" */
    bool read_only;     /* only ask */
    bool make; /* makes it (mode 0700) when it is not there; else that is ERROR_NOT_FOUND */
};
/* Opens a home. ERROR_UNSUPPORTED when it was written by a newer version of this program. */
int engine_open(const struct engine_options *options, struct engine **ret,
                struct error **err) MUST_CHECK;
void engine_close(struct engine *engine);
void engine_cleanup(struct engine **engine);
#define OWN_ENGINE CLEANUP(engine_cleanup) struct engine *
/* What --home, $GLOVEBOX_HOME, $XDG_DATA_HOME and $HOME say, in this order. Caller frees. */
char *engine_default_home(const char *given, struct error **err) MUST_CHECK;
const char *engine_home(const struct engine *engine);

/* -------------------------------------------------------- what the site allows */

/* The site's policy (/etc/glovebox/policy.json, the folder is set when building) and the home's
 * (policy.json in it). A file that does not speak of something leaves it to the other; where both
 * speak, the stricter holds; what neither allows is forbidden. */
struct policy;
/* `home` need not exist. An error names the file that it is in. */
int policy_read(const char *home, struct policy **ret, struct error **err) MUST_CHECK;
void policy_free(struct policy *policy);
void policy_cleanup(struct policy **policy);
#define OWN_POLICY CLEANUP(policy_cleanup) struct policy *
/* May a step say `key: value`, of the keys box, network and flavor? Else -1 with who forbids it. */
int policy_allows(const struct policy *policy, const char *key, const char *value,
                  struct error **err) MUST_CHECK;
/* What a flavor gives; 0 where it says nothing. `ret` may be NULL. */
int policy_flavor(const struct policy *policy, const char *name, struct resources *ret,
                  struct error **err) MUST_CHECK;
/* What a task is held to that does not say itself what it needs; 0 where nothing is said. */
void policy_defaults(const struct policy *policy, struct compute_limits *ret);
/* A time that a file gives, the shorter one of two; for "function_timeout". */
int64_t policy_seconds(const struct policy *policy, const char *key, int64_t fallback);
/* May this image come in, and run? (image/image.h has what a candidate is.) ERROR_DENIED says which
 * rule of which file refused it. Asked when an image is pulled or loaded, and again when a run
 * begins. Without a digest: may it be asked for at all? */
struct image_candidate;
int policy_check_image(const struct policy *policy, const struct image_candidate *candidate,
                       struct error **err) MUST_CHECK;
/* The same of an image that is here under a pinned name, repository@digest: `name` is what a
 * pipeline calls it. It is forbidden when any name that points to it, or any repository that it
 * came as, is. Allowed must be `name`; or any of those when it is a digest or an archive's path. */
int policy_check_pinned(const struct policy *policy, const char *home, const char *name,
                        const char *pinned, struct error **err) MUST_CHECK;
/* The key files that must have signed an image of this name: a list of paths, empty when none has
 * to. */
json_t *policy_image_keys(const struct policy *policy, const char *reference,
                          struct error **err) MUST_CHECK;
/* What `signer` is when the key of this file verified a signature. Caller frees. */
char *policy_signer(const char *key_file, struct error **err) MUST_CHECK;
/* Bytes, and files, that an image may have; 0: no file says. */
uint64_t policy_image_maximum(const struct policy *policy);
uint64_t policy_image_maximum_files(const struct policy *policy);
/* How to reach a registry: {"mirrors": [places], "insecure", "certificates", "credentials",
 * "signatures"}, each of them optional; the site's file goes before the home's, and both must allow
 * what is insecure.
 */
json_t *policy_registry(const struct policy *policy, const char *domain,
                        struct error **err) MUST_CHECK;
/* A line for people: the files that apply, and what they come to. Caller frees. */
char *policy_describe(const struct policy *policy, struct error **err) MUST_CHECK;

/* ---------------------------------------------------------------- making runs */

struct run_request {
    const json_t *parameters; /* bound: see pipeline_bind_parameters() */
    const json_t *inputs;     /* bound: see pipeline_bind_inputs() */
    const char *output; /* folder for the pipeline's outputs, absolute; NULL: in the run's folder */
    const char *from;   /* "STEP" or "STEP@PARTITION": run it and what follows anew; or NULL */
    const char *const *only; /* "STEP"…: run these and what they need; the rest is skipped */
    size_t only_count;
    bool no_reuse;        /* run everything anew */
    const json_t *images; /* {name or archive: pinned} of those that are pinned already, or NULL */
    /* From a crate: the texts of the pipeline's files by path, and what was recorded. Or NULL. */
    const json_t *files, *recorded;
};
/* Records a run durably; nothing starts. *ret_name ("covidnet-7") is the caller's to free. */
int engine_create_run(struct engine *engine, const struct pipeline *pipeline,
                      const struct run_request *request, char **ret_name,
                      struct error **err) MUST_CHECK;
/* The full name for what a person typed: a name, a unique prefix, a number, or "last". */
int engine_find_run(struct engine *engine, const char *given, char **ret_name,
                    struct error **err) MUST_CHECK;

/* ------------------------------------------------------------------ RO-Crates */

/* Beside the record of a run that has ended, or waits for people, lies a Workflow Run RO-Crate
 * (ro-crate-metadata.json). Such a folder, here or elsewhere, says all that is needed to run the
 * same again. */
struct crate {
    char *folder;
    char *path;         /* of the pipeline's file in it: names it in messages */
    json_t *document;   /* for pipeline_from_document(): not checked yet */
    json_t *parameters; /* by name, as they were bound */
    json_t *inputs;     /* paths by name, where they are known */
    json_t *only;       /* list of steps, or NULL */
    json_t *files;      /* see struct run_request */
    json_t *recorded; /* {run, digests: {"inputs.NAME"…, "params.NAME"…, "outputs.NAME"…}} */
};
/* Whether `path` is a crate's folder, or the ro-crate-metadata.json in it. */
bool crate_is_one(const char *path);
/* ERROR_INVALID, with the reason, for a crate that is not as we wrote it. */
int crate_read(const char *path, struct crate *ret, struct error **err) MUST_CHECK;
void crate_release(struct crate *crate);
#define OWN_CRATE CLEANUP(crate_release) struct crate

/* -------------------------------------------------------------------- driving */

struct drive_options {
    bool wait; /* go on waiting for people instead of returning RUN_WAITING */
    /* Called from the loop about every `interval` ms and at each end of a task; return false to
     * stop driving (running tasks go on under their keeper). May be NULL. */
    bool (*progress)(void *context);
    void *context;
    int64_t interval;
};
/* Drives (or follows) until the run ends, waits for people, or is paused. Other runs of the home
 * that are under way are driven along, but not waited for. */
int engine_drive(struct engine *engine, const char *run, const struct drive_options *options,
                 enum run_state *ret_state, struct error **err) MUST_CHECK;
/* True while some program drives this home. */
bool engine_is_driven(struct engine *engine);

/* ------------------------------------------------------------------- commands */

/* `where` below is "STEP", "STEP@PARTITION" or NULL (the whole run). Each returns when the
 * command is durable; with a driver it takes effect at once, else it is applied here and now as
 * far as no task must run. ERROR_NOT_FOUND (with the nearest name as hint) for an unknown step or
 * partition, ERROR_INVALID when the state does not allow it. */
int engine_cancel(struct engine *engine, const char *run, const char *where,
                  struct error **err) MUST_CHECK;
int engine_pause(struct engine *engine, const char *run, struct error **err) MUST_CHECK;
int engine_resume(struct engine *engine, const char *run, struct error **err) MUST_CHECK;
/* Failed, cancelled and blocked tasks get another chance. */
int engine_retry(struct engine *engine, const char *run, const char *where,
                 struct error **err) MUST_CHECK;
/* This task (these tasks) and all that depends on them run anew, even if nothing changed. */
int engine_restart(struct engine *engine, const char *run, const char *where,
                   struct error **err) MUST_CHECK;
/* A person says that a task need not run. `succeeded` false: it is skipped. */
int engine_mark(struct engine *engine, const char *run, const char *where, bool succeeded,
                const char *reason, struct error **err) MUST_CHECK;
int engine_decide(struct engine *engine, const char *run, const char *where, bool approved,
                  const char *note, const char *who, struct error **err) MUST_CHECK;

/* ------------------------------------------------------------------ questions */

/* Array, newest first, of {run, pipeline, version, state, created, started, ended, tasks: {…}}. */
json_t *engine_runs(struct engine *engine, unsigned maximum, struct error **err) MUST_CHECK;
/* {run, pipeline, version, state, created, started, ended, output, note, tasks: {counts by
 * state}, steps: [{step, type, title, tasks: {counts by state}, total (known so far), expanded
 * (whether that is all), seconds (mean of the finished, null)}], waiting: [{step, partition,
 * message, since}], failed: [{step, partition, cause, exit, detail, log}] (the first 20),
 * running: [{step, partition, started}] (the first 20), images: {NAME: NAME@DIGEST} (of
 * container steps: what the names meant when the run was made)}. A run that was made from a crate
 * also has recorded: {run, items: [{name, recorded, found (digest or null), same}]}. */
json_t *engine_status(struct engine *engine, const char *run, struct error **err) MUST_CHECK;
/* Calls `use` with each task {step, partition, state, attempts, exit, cause, started, ended} in
 * order of step and partition. `step` and `state` filter when not NULL. */
int engine_tasks(struct engine *engine, const char *run, const char *step, const char *state,
                 int (*use)(const json_t *task, void *context, struct error **err), void *context,
                 struct error **err) MUST_CHECK;
/* One task whole: as above plus attempts: [{number, command, started, ended, exit, signal, cause,
 * detail, peak_memory, cpu_user, cpu_system, log, box}], key, output (digest), output_path,
 * result, reason. */
json_t *engine_task(struct engine *engine, const char *run, const char *where,
                    struct error **err) MUST_CHECK;
/* {step, partition, state, because: "sentence", details: [...]} for people and scripts. */
json_t *engine_why(struct engine *engine, const char *run, const char *where,
                   struct error **err) MUST_CHECK;
/* Events of a run after `after` (0: from the start), oldest first, at most `maximum`:
 * [{id, at, kind, step, partition, …}]. */
json_t *engine_events(struct engine *engine, const char *run, int64_t after, unsigned maximum,
                      struct error **err) MUST_CHECK;
/* The run's pipeline as it was when the run was made. */
struct pipeline *engine_pipeline(struct engine *engine, const char *run,
                                 struct error **err) MUST_CHECK;
/* The run's own folder. Caller frees. */
char *engine_run_folder(struct engine *engine, const char *run, struct error **err) MUST_CHECK;

/* -------------------------------------------------------------------- reports */

/* Where a run's progress is told. What is told is made anew from the run as it stands whenever it
 * is to be sent, so nothing waits in a queue and nothing is lost with a program: all that is kept
 * is what was accepted last. */
struct reporting {
    char *server; /* address of a MedPerf server; NULL: only the file is written */
    int64_t dataset;
    char *token_file, *ca_file; /* ca_file may be NULL */
    bool progress; /* a person agreed that percentages leave the site; else only how the run is */
    int64_t every; /* ms between reports while the run is driven; 0: as is usual */
};
/* Replaces what was said before. */
int engine_report_to(struct engine *engine, const char *run, const struct reporting *to,
                     struct error **err) MUST_CHECK;
/* Nothing of the run is told any more. */
int engine_report_stop(struct engine *engine, const char *run, struct error **err) MUST_CHECK;

struct report {
    char *run;
    struct reporting to;
    char *body;    /* JSON: percentages of steps and how the run is; never a partition */
    int64_t ended; /* when the run did, or 0 */
    bool news;     /* the server has not accepted this one already */
};
/* The report as it would be sent now. ERROR_NOT_FOUND when the run reports to nobody. */
int engine_report(struct engine *engine, const char *run, struct report *ret,
                  struct error **err) MUST_CHECK;
/* The body alone. Caller frees. */
char *engine_report_body(struct engine *engine, const char *run, bool progress,
                         struct error **err) MUST_CHECK;
void report_release(struct report *report);
#define OWN_REPORT CLEANUP(report_release) struct report
/* What became of sending it; `problem` NULL: it was accepted, or is no news. After a problem the
 * next is due later and later, up to an hour. */
int engine_report_done(struct engine *engine, const struct report *report, const char *problem,
                       struct error **err) MUST_CHECK;
/* Names of runs that may have something to tell: of those that it is time for, or of all. */
json_t *engine_reports_due(struct engine *engine, bool all, struct error **err) MUST_CHECK;
/* Only one program sends at a time, so that a newer report is never followed by an older one. A
 * descriptor to close in the end; -1 with ERROR_BUSY while somebody else sends. */
int engine_lock_reports(struct engine *engine, struct error **err) MUST_CHECK;

/* ---------------------------------------------------------------- housekeeping */

struct gc_report {
    uint64_t results, bytes; /* dropped, or what would be */
    uint64_t work_folders;
};
/* Drops the bytes of results: those that no run's outputs need and that are older than
 * `older_than` ms. Recipes and digests stay, so that a later run still knows what is unchanged. */
int engine_gc(struct engine *engine, int64_t older_than, bool dry_run, struct gc_report *ret,
              struct error **err) MUST_CHECK;
/* Digests of the images that runs need which are not over. */
json_t *engine_images_needed(struct engine *engine, struct error **err) MUST_CHECK;
/* Removes a finished run, its logs and its record. */
int engine_remove(struct engine *engine, const char *run, bool dry_run, struct gc_report *ret,
                  struct error **err) MUST_CHECK;

#endif
