/*
 * keeper — the tiny parent of the jobs of one installation. It starts them, waits for them,
 * keeps their time, and writes their ends into a journal. It outlives the program that asked
 * for the jobs, and serves the next one that connects.
 *
 * It is a separate static executable without libraries: small to clone, with little in it that
 * can fail. There is one for each kind of job (enum keeper_kind), started when first needed.
 */
#ifndef GLOVEBOX_COMPUTE_KEEPER_H
#define GLOVEBOX_COMPUTE_KEEPER_H

#include "base/base.h" /* only enum cause and the attributes; nothing of base is linked */
#include "compute/keeper/protocol.h"

#include <linux/filter.h>
#include <sys/resource.h>
#include <time.h>

/* What a child tells of its fate, in memory shared with the keeper: one for each slot. */
struct outcome {
    uint32_t stage;
    int32_t number;
    uint32_t sandbox; /* what the child could set up */
    uint32_t finished;
    uint32_t network_used; /* something was sent in the box's net namespace */
    int32_t status;        /* of the task, as wait gives it; valid when finished */
    int32_t mount;         /* which mount failed, from 1 */
    char subject[56];      /* STAGE_RUNTIME: what it says; STAGE_ROOT, STAGE_MOUNT: a path, or "" */
    uint64_t peak_memory;
    uint64_t processes; /* that were left when the task failed */
    int64_t cpu_user, cpu_system;
    uint64_t walk_of, walk_bytes, walk_files; /* output.c: the last look at its work folder */
    uint64_t files;                           /* users.c: what it left */
};

/* A launch message taken apart; points into the message. */
struct launch {
    const struct launch_message *message;
    const char *log, *work, *directory;
    const char *image; /* an image's root folder, or "" */
    char *config;      /* of its container */
    char **arguments, **environment;
    struct launch_mount {
        const char *source, *target;
        bool writable;
    } mounts[MOUNTS_MAXIMUM];
    const char *path; /* of the environment, for the look-up of the program */
};

/* The cgroups of one job. */
struct cgroup {
    char name[32]; /* "" when the job has none */
    bool memory, cpu, processes;
};

struct job {
    struct entry *entry;
    struct outcome *outcome;
    pid_t pid;
    int log; /* kept open to watch its size */
    uint64_t log_maximum;
    off_t log_size;   /* at the last look */
    int64_t deadline; /* monotonic ms, INT64_MAX: none */
    int64_t kill_at;
    int64_t grace;
    enum cause stop_cause;
    uint32_t remark;
    uint32_t sandbox;
    uid_t log_owner; /* given back at the end when it was lent to the task's user */
    gid_t log_group;
    int64_t note_at; /* when to write the process id down; a short job never needs it */
    bool log_lent, log_trimmed, log_cut, killed;
    struct cgroup group;
    uint64_t memory, processes; /* its limits; 0: none of memory */
    int network;                /* the box's net namespace, -1: none of ours */
    struct {
        char *folder; /* owned; NULL: not watched */
        uint64_t bytes, files;
        uint64_t number; /* of the look under way, or of the next */
        int64_t look_at;
        bool looking;
    } output;
    struct {        /* of an image with users: users.c */
        char *note; /* what is to be given back; owned, NULL: nothing */
        size_t size;
        int fd, status;
        struct rusage usage;
        bool giving; /* the task has ended, `pid` is a helper */
    } users;
};

/* KEEPER_USERS: the ids of the host that its images' users have. */
struct range {
    uint32_t user, group;                   /* the first ones, 0: none */
    const char *user_mapper, *group_mapper; /* newuidmap and newgidmap, "" for root */
};

/* A name that the keeper answers for, from launch to forget. */
struct entry {
    struct entry *next;
    struct job *job;       /* while it runs */
    struct timespec begun; /* record.started by the monotonic clock: the wall's may be set back */
    bool just_lost;        /* found running in the journal of a dead keeper of this boot */
    struct launch_message *message; /* while it waits for another to end: owned */
    struct entry *after;            /* the one it waits for; NULL once that has ended */
    struct entry *followers;        /* those that wait for this one, in order of arrival */
    struct entry *next_follower;    /* also in the list of those that are due */
    struct record record;
};

struct journal {
    int directory, fd;
    char name[32], temporary_name[32];
    size_t written;         /* records in the file */
    struct record *pending; /* not yet in the file */
    size_t pending_count, pending_capacity;
    struct entry **buckets;
    size_t entry_count;
    uint64_t boot;
};

struct box;
struct groups;

struct keeper {
    enum keeper_kind kind;
    bool boxed; /* of a kind that is shut in: box or container */
    int directory, lock, listener, client, signals, null;
    int alive; /* a descriptor of this process itself: readable once it is dead */
    struct journal journal;
    struct job jobs[RUNNING_MAXIMUM];
    uint16_t running[RUNNING_MAXIMUM]; /* slots in use come first, then the free ones */
    size_t running_count;
    bool journal_failed; /* the last commit: nothing may start */
    struct entry *due;   /* what they waited for has ended */
    struct outcome *outcomes;
    struct launch launch; /* scratch: too large for the stack */
    char *arguments[2 * ARGUMENTS_MAXIMUM + 2];
    char *input;
    size_t input_size;
    char *output;
    size_t output_size, output_sent, output_capacity;
    int64_t next_tick;
    uint64_t walks; /* numbers of looks at work folders */
    struct sock_fprog filter;
    const char *runtime; /* of containers: the path of crun */
    struct range range;
    struct box *box;
    struct groups *groups;
    _Alignas(16) char stack[(size_t)64 << 10]; /* of a plain job's child until it executes */
};

/* --- clock --- */
int64_t now_wall(void);
int64_t now_monotonic(void);

/* --- journal.c: the names, and what is written about them --- */
/* Reads the old journal and rewrites it; what was running then is recorded as lost. */
int journal_open(struct journal *journal, int directory, enum keeper_kind kind);
/* Ends what a dead keeper may have left of plain jobs. */
void journal_end_leftovers(struct journal *journal);
struct entry *journal_find(struct journal *journal, const char *name);
/* NULL when there is no room. */
struct entry *journal_add(struct journal *journal, const char *name);
void journal_remove(struct journal *journal, struct entry *entry);
int journal_append(struct journal *journal, struct record *record);
/* Writes what was appended, in one call; rewrites the file when it is mostly stale. */
int journal_commit(struct journal *journal);
void journal_close(struct journal *journal);

/* --- launch.c --- */
int launch_parse(struct keeper *keeper, const struct launch_message *message);
/* In the child: standard files, signals, and the program. Returns only on failure. */
void launch_execute(const struct keeper *keeper, int log, struct outcome *outcome);
/* Resource limits that a process sets on itself. */
int launch_limits(const struct launch *launch, uint32_t sandbox);
/* Starts a plain job. Returns its process id, or -1 with errno. */
pid_t launch_plain(struct keeper *keeper, struct job *job);

/* --- job.c: plain jobs, the end of all jobs --- */
/* Starts what the message describes; its name is in the journal. A failure becomes an exit
 * record. */
void job_start(struct keeper *keeper, struct entry *entry, const struct launch_message *message);
/* Starts it when `before` has ended. */
void job_start_after(struct keeper *keeper, struct entry *entry, struct entry *before,
                     const struct launch_message *message);
/* Starts those whose turn has come. */
void job_start_due(struct keeper *keeper);
/* Ends a job that still waits for another: it never starts. Its followers take its place. */
void job_withdraw(struct keeper *keeper, struct entry *entry, enum cause cause);
/* Records the ends of all that ended. */
void job_reap(struct keeper *keeper);
void job_stop(struct keeper *keeper, struct job *job, enum cause cause, int64_t grace);
/* Time limits and logs; returns when to call again (monotonic ms). */
int64_t job_tick(struct keeper *keeper, int64_t now);
/* Ends what left its job's process group, once no job runs. */
void job_end_strays(void);

/* --- log.c --- */
/* Drops the middle of a log that outgrew its bound. -1 when it cannot be kept within it. */
int log_trim(struct job *job);

/* --- output.c --- */
/* From now on the job's work folder is kept within its bounds by output_check(), each tick. */
void output_watch(struct keeper *keeper, struct job *job, const struct launch *launch);
void output_check(struct keeper *keeper, struct job *job, int64_t now);
void output_release(struct job *job);

/* --- users.c: what users of an image leave, which the caller may not even remove --- */
/* Notes what to look through after the job; -1 with errno. Then its init. */
int users_note(struct keeper *keeper, struct job *job);
void users_note_init(struct job *job, pid_t pid);
/* The job's init has ended: a helper gives the caller what is there, and is the job's process from
 * now on. False: that is not needed, or is done. */
bool users_begin_giving(struct keeper *keeper, struct job *job, int status,
                        const struct rusage *usage);
/* The helper has ended. */
void users_end_giving(struct keeper *keeper, struct job *job, int status);
void users_release(struct keeper *keeper, struct job *job);
/* What jobs left whose keeper was killed. */
void users_give_leftovers(const struct keeper *keeper);

/* --- main.c --- */
/* Sends a record to the driver; drops the driver when it does not read. */
void keeper_send(struct keeper *keeper, const struct record *record);

/* --- usage.c --- */
void usage_measure(struct keeper *keeper, const struct job *job, struct record *record);

/* --- cgroup.c --- */
struct groups *groups_open(bool boxed);
/* Makes the groups that the limits ask for and notes in `sandbox` what was to be had. */
void group_make(struct groups *groups, struct cgroup *group, const struct launch_message *limits,
                uint32_t *sandbox);
/* In the child: joins them. */
int group_join(const struct groups *groups, const struct cgroup *group);
/* The peak of its memory, where a group knows it, and which limits it ran into. */
struct group_end {
    bool out_of_memory; /* the kernel killed for it */
    bool full;          /* of processes: some could not be started */
};
struct group_end group_read(const struct groups *groups, const struct cgroup *group,
                            struct record *record);
void group_kill(const struct groups *groups, const struct cgroup *group);
void group_remove(struct groups *groups, struct cgroup *group);
/* Removes groups that could not be removed before; true while there are such. */
bool groups_tidy(struct groups *groups);
/* What limits are to be had, as flags of enum sandbox. */
unsigned groups_found(const struct groups *groups);

/* --- box.c --- */
/* Makes the parts that all boxes share, in this process's own mount (and user) namespace. */
struct box *box_open(const struct keeper *keeper, struct groups **groups, const char **reason);
/* Starts a boxed job: returns the process id of its init, or -1 with errno. */
pid_t box_start(struct keeper *keeper, struct job *job);
/* After the end: what the box had borrowed. */
void box_finish(struct keeper *keeper, struct job *job);

#endif
