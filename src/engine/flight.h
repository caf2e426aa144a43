/* Private to engine/: an attempt on its way, from the decision to run a task until its outputs
 * are stored. */
#ifndef GLOVEBOX_ENGINE_FLIGHT_H
#define GLOVEBOX_ENGINE_FLIGHT_H

struct farm { /* a folder of links to make before the launch */
    char *source, *target;
};
#define FLIGHT_MAXIMUM_FARMS ((size_t)1 << 20)
#define FLIGHT_MAXIMUM_PARTS ((size_t)65536)

/* What an attempt reads of an input. */
struct watched {
    const struct source *source;
    const char *path;
};

struct flight {
    struct engine *engine;
    struct task *task;
    int64_t run_id, task_id; /* to find the task again after a reload */
    size_t step_index;
    bool counted;
    struct flight *next, *next_launch;
    struct flight *before,
        *heir;      /* of the same step: it starts when `before` ends; see schedule.c */
    unsigned ahead; /* how many are before it */
    bool going;     /* launched, or will be after the commit */
    char job[96];
    unsigned number;
    char *work, *out, *log; /* host paths */
    const char *in_name;    /* what ${in} expands to */
    struct arena *arena;
    const char **arguments, **environment; /* NULL-terminated */
    const char **entrypoint; /* of the arguments, those that replace an image's own; or NULL */
    size_t entrypoint_count;
    size_t argument_count, argument_capacity, environment_count, environment_capacity;
    struct compute_mount *mounts;
    size_t mount_count, mount_capacity;
    struct farm *farms;
    size_t farm_count, farm_capacity;
    struct watched *watched;
    size_t watched_count, watched_capacity;
    json_t *recipe;   /* what the key is the digest of */
    json_t *in_paths; /* for ${in} and ${in.NAME} */
    char *recipe_text;
    uint8_t recipe_key[SHA256_SIZE]; /* its digest */
    bool cacheable;
    bool ended_well;           /* by itself, whatever became of its outputs */
    bool doubtful;             /* launched before the machine went down */
    struct exit_report report; /* once it ended; `name` and `detail` are not kept */
    char *detail, *sandbox;
};

/* prepare.c: fills in mounts, environment, command line and recipe. */
int flight_prepare(struct flight *flight, struct error **err) MUST_CHECK;
int flight_add_mount(struct flight *flight, const char *source, const char *target, bool writable,
                     struct error **err) MUST_CHECK;
int flight_add_farm(struct flight *flight, const char *source, const char *target,
                    struct error **err) MUST_CHECK;
/* inputs.c: the `in` references and explicit mounts. */
int flight_prepare_inputs(struct flight *flight, struct error **err) MUST_CHECK;
int flight_prepare_mounts(struct flight *flight, struct error **err) MUST_CHECK;
/* flight.c: for a review, whose outputs lie in `out`. */
struct flight *flight_new_review(struct task *task, const char *out, struct error **err) MUST_CHECK;
/* A key for outputs that belong to this attempt alone. */
int flight_own_key(const struct flight *flight, uint8_t ret[SHA256_SIZE],
                   struct error **err) MUST_CHECK;
/* finish.c: stores outputs, then moves the task on. Takes over the flight. */
int flight_finish(struct flight *flight, struct error **err) MUST_CHECK;
/* The run warns of links among the outputs that lead outside: nobody will find them. */
int finish_note_links(const struct task *task, size_t outside, struct error **err) MUST_CHECK;
/* The task failed in this attempt: again, or for good. Takes over the flight. */
int flight_failed(struct flight *flight, struct error **err) MUST_CHECK;
/* It succeeded and its outputs are stored. Takes over the flight. */
int flight_succeeded(struct flight *flight, const char *result, uint64_t bytes, uint64_t files,
                     struct error **err) MUST_CHECK;
/* Gives back what the task had taken; the rest of the flight goes after the commit. */
void flight_land(struct flight *flight);
/* Before a launch: the work folder goes, the flight is freed. */
void flight_drop(struct flight *flight);

#endif
