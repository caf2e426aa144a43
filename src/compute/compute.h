/*
 * compute — places where tasks run, behind one table of functions.
 *
 * The engine knows only this header. A driver (process, later oci, docker, kubernetes, slurm,
 * remote) fills in `struct driver`. What a driver launched survives the death of the program:
 * after a restart the driver finds it again by its name.
 *
 * A job's life, as the engine sees it:
 *   launch(job) -> [launched] -> exited(report) -> forget(name)
 * `exited` is called from the loop, once for each name, also for jobs that ended while nobody
 * was looking (the engine calls find() after a restart). A launch that cannot start (program not
 * found, box refused) is reported through `exited` too, with its cause.
 */
#ifndef GLOVEBOX_COMPUTE_H
#define GLOVEBOX_COMPUTE_H

#include "base/base.h"

struct uv_loop_s;
struct compute;

enum box_mode {
    BOX_SEALED, /* own namespaces, read-only root, no network, no privileges, seccomp */
    BOX_OFF     /* a plain child process; only where the site's policy allows it */
};

struct compute_mount {
    const char *source; /* host path; NULL for a fresh tmpfs */
    const char *target; /* absolute path inside the box */
    bool writable;
};

struct compute_limits {
    double cpus;            /* 0: no limit */
    uint64_t memory;        /* bytes, 0: no limit */
    uint64_t shared_memory; /* bytes of /dev/shm, 0: 64 MiB */
    uint64_t scratch;       /* bytes of /tmp, 0: the driver's default */
    uint64_t output;        /* bytes left in `work`, 0: half of what is free there; looked at now
                               and then, so more may be written for a moment */
    uint64_t output_files;  /* the same of files and folders, 0: a million */
    unsigned processes;     /* 0: the driver's default */
    unsigned gpus;
    int64_t timeout; /* ms of wall time, 0: none; TERM first, KILL after `grace` */
    int64_t grace;   /* ms, 0: 10 seconds */
};

/* One attempt to launch. Everything is copied by launch(). */
struct job {
    const char *name; /* unique for ever on this compute: [A-Za-z0-9._-]{1,100} */
    /* Starts when the job of this name has ended, however it ended; at once when it is unknown or
     * over. So the next one is at hand without waiting for this program. NULL: at once. Only where
     * the driver `chains`. */
    const char *after;
    const char *image;              /* container steps: as pin() gave it; NULL for host programs */
    const char *const *entrypoint;  /* of an image: replaces its own; NULL: its own */
    const char *const *arguments;   /* argv, NULL-terminated; argv[0] is looked up in the box's
                                       PATH. Of an image: what follows its entry point; an empty
                                       list: the image's own command */
    const char *const *environment; /* "K=V", the whole environment, NULL-terminated. Of an image:
                                       what is said besides the image's own, and goes before it; the
                                       driver adds PATH and HOME where neither has them */
    const char *directory; /* working directory inside the box; NULL: the image's own; else "/" or,
                              box off, the host folder `work` */
    const char *work;      /* host folder private to this attempt (exists, writable) */
    const struct compute_mount *mounts;
    size_t mount_count;
    const char *log;      /* host path; stdout and stderr are appended, in order of writing */
    uint64_t log_maximum; /* bytes kept of the log, 0: 64 MiB. RLIMIT_FSIZE is not it. */
    const char *network;  /* NULL or "none": no network; "host": the host's; else a name */
    struct compute_limits limits;
    enum box_mode box;
    bool writable_root; /* of an image: its program may write anywhere in it, for the time of the
                           job and within limits.scratch. Else it may write to /tmp only */
    bool users;         /* of an image: besides its own user it has the others, 0 to 65535, and may
                           change to them. What they leave in writable mounts and in the log belongs
                           to the caller before exited(); as root, to each mount's owner */
};

struct exit_report {
    const char *name;
    enum cause cause;
    int exit_code;                /* -1 when it did not exit by itself */
    int signal;                   /* 0 when not killed by one */
    int64_t started, ended;       /* wall clock, ms */
    uint64_t peak_memory;         /* bytes, 0: unknown */
    int64_t cpu_user, cpu_system; /* microseconds */
    const char *detail;           /* a sentence for people, or "" */
    const char *weaker;  /* a sentence when the box is weaker than it should be, here, or "" */
    const char *sandbox; /* how it was shut in, for the run's record: words such as "namespaces:
                            mount,pid,ipc,uts,net; seccomp; memory: cgroup", or "" */
};

struct compute_capacity {
    double cpus;
    uint64_t memory; /* bytes */
    unsigned gpus;
};

/* What the engine lends to a driver. */
struct compute_host {
    struct uv_loop_s *loop; /* the one loop thread; NULL in simulations */
    const char *home;       /* the folder of this installation, absolute; the driver may keep its
                               own folder "compute/NAME" below it */
    void *context;
    void (*exited)(void *context, const struct exit_report *report);
    /* The driver lost and cannot regain contact; running jobs will be reported CAUSE_LOST. */
    void (*troubled)(void *context, const char *message);
};

enum job_state { JOB_UNKNOWN, JOB_PENDING, JOB_RUNNING, JOB_EXITED };

/* The table that a driver fills in. All functions are called from the loop thread. */
struct driver {
    const char *name;
    bool runs_images; /* can run steps of type container */
    bool chains;      /* holds a job back until another has ended: see struct job */
    int (*open)(const struct compute_host *host, struct compute **ret, struct error **err);
    void (*close)(struct compute *compute); /* leaves jobs running; accepts NULL */
    /* The name with digest that `image` means for the home now, owned by the caller: what a run is
     * recorded with. Asked by whoever makes a run, without open(). ERROR_NOT_FOUND with a hint
     * where there is no such image. NULL unless `runs_images`. */
    int (*pin)(const char *home, const char *image, char **ret, struct error **err);
    /* Hands a job over. Success means that the driver now answers for the name: it will call
     * `exited` once, even after a restart of this program. May be called many times in a row;
     * flush() ends such a batch. */
    int (*launch)(struct compute *compute, const struct job *job, struct error **err);
    int (*flush)(struct compute *compute, struct error **err);
    /* Finds a job again after a restart. JOB_RUNNING and JOB_PENDING: exited() will follow.
     * JOB_EXITED: exited() is called from the loop soon. JOB_UNKNOWN: never launched, or
     * forgotten. */
    enum job_state (*find)(struct compute *compute, const char *name);
    /* Asks a job to end: SIGTERM, then SIGKILL after `grace` ms (0: at once), to every process
     * in it. `cause` (CANCELLED or TIMEOUT) is what the report will say. */
    int (*stop)(struct compute *compute, const char *name, enum cause cause, int64_t grace,
                struct error **err);
    /* Current use of a running job: peak memory so far and CPU time. */
    int (*usage)(struct compute *compute, const char *name, struct exit_report *ret,
                 struct error **err);
    int (*capacity)(struct compute *compute, struct compute_capacity *ret, struct error **err);
    /* The engine has stored the report: drop all that is kept under the name. */
    void (*forget)(struct compute *compute, const char *name);
    /* Calls `use` for each job that has ended and was neither launched nor found since open().
     * Whoever stored its report may have died before forget(); `use` may call that. */
    void (*list_ended)(struct compute *compute, void (*use)(void *context, const char *name),
                       void *context);
};

/* All drivers of this build, NULL-terminated; compute_driver finds one by name or returns NULL. */
const struct driver *const *compute_drivers(void);
const struct driver *compute_driver(const char *name);

/* What this machine can do, for `glovebox doctor`, `check` and the run's record. */
struct compute_check {
    const char *name; /* "namespaces", "cgroup memory"… */
    enum { CHECK_OK, CHECK_LIMITED, CHECK_MISSING } verdict;
    char *finding; /* one line */
    char *remedy;  /* what to do, or NULL */
};
struct compute_checks {
    struct compute_check *items;
    size_t count, capacity;
};
/* Really tries each facility (a box is made and run), takes well under a second. */
int compute_examine(const char *home, struct compute_checks *ret, struct error **err) MUST_CHECK;
void compute_checks_release(struct compute_checks *checks);

#endif
