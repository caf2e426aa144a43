/*
 * The engine with everything around it played: the clock, the disk, the pool of threads and the
 * place where tasks run. One thread, no time that passes by itself, every choice from one seed: a
 * schedule that fails is played again by its number.
 *
 *   clock    clock_wall() and clock_monotonic() are replaced at link time (--wrap); time moves when
 *            the schedule says so, now and then backwards.
 *   disk     the database lies in memory behind a file system for SQLite (database.c), which can
 *            fail, tear a write, and lose what was never synced; system calls on files really
 *            happen, in a folder in memory, and fail when the schedule says so (disk.c).
 *   pool     pool_queue() is replaced: work is done, and reported, when the schedule says so.
 *   tasks    a `struct driver` that plays them (driver.c).
 *
 * A crash freezes the disk at some operation: from then on nothing has any effect any more. The
 * engine is closed, and what it left is opened by a new one.
 */
#ifndef GLOVEBOX_TEST_SIMULATION_H
#define GLOVEBOX_TEST_SIMULATION_H

#include "engine/private.h"

/* -------------------------------------------------------------------- chance */

struct chance {
    uint64_t state;
};
unsigned chance_below(struct chance *chance, unsigned below);
uint64_t mix(uint64_t a, uint64_t b);
uint64_t mix_text(uint64_t a, const char *text);

/* ---------------------------------------------------------------------- disk */

struct disk {
    bool inside;       /* the engine is at work: only then anything fails */
    bool frozen;       /* it has crashed */
    int64_t crash_in;  /* operations until then, 0: not */
    int64_t fault_in;  /* operations until the first that fails */
    int64_t fault_for; /* how many fail then */
    int fault_number;  /* ENOSPC or EIO */
    int64_t faults;    /* how many have failed, without the crash */
};
enum disk_use { DISK_READS, DISK_WRITES };
/* True when this operation must fail, with errno set. */
bool disk_fails(enum disk_use use);

void database_register(void);
void database_keep(void);    /* as it is, for database_restore() */
bool database_restore(void); /* false when none was kept */
void database_drop_kept(void);
void database_forget(void);                      /* all files */
void database_lose_power(struct chance *chance); /* some of what was not synced is gone */

/* -------------------------------------------------------------------- driver */

struct play {
    char name[104], step[32], partition[64];
    char *out, **ins; /* host folders */
    size_t in_count;
    double cpus;
    uint64_t memory;
    enum { PLAY_SENT, PLAY_RUNS, PLAY_ENDED, PLAY_FORGOTTEN } state;
    bool wanted, reported;
    enum cause stop, cause, decision;
    bool decided; /* it came to its own end: the same one, should it be played again */
    unsigned launches;
    struct play *next;
};

/* What a step of the pipeline does when it is played. */
struct part {
    char id[32];
    bool loops; /* leaves {"n": how often `work` of its partition succeeded} */
    bool lists; /* leaves a list of partitions */
    uint64_t salt;
    double cpus;
    unsigned limit;
};
#define PARTS_MAXIMUM 16
#define CPUS          2
#define MEMORY        ((uint64_t)1000 << 20)

struct waiting { /* in the pool */
    struct pool_job *job;
    bool worked;
    struct waiting *next;
};

struct world {
    struct chance chance;
    uint64_t seed;
    int64_t now;
    struct disk disk;
    struct engine *engine;
    struct expression_cache *expressions;
    struct compute_host host;
    bool open;
    struct play *plays;
    struct waiting *pool;
    struct part parts[PARTS_MAXIMUM];
    size_t part_count;
    unsigned limit;       /* of the run */
    bool simple_failures; /* a task fails always or never: it may be tried any number of times */
    bool verbose;
    unsigned keeper_deaths, boots;
    char boot[160];    /* the file that says which boot of the machine this is */
    char problem[512]; /* what the schedule was found guilty of, or "" */
};
extern struct world world;

void blame(const char *format, ...) PRINTF_LIKE(1, 2); /* the first one counts */
void trace(const char *format, ...) PRINTF_LIKE(1, 2);

extern const struct driver simulated_driver;
void plays_free(void);
struct play *play_pick(bool (*is_wanted)(const struct play *play));
bool play_is_sent(const struct play *play);
bool play_runs(const struct play *play);
bool play_is_to_report(const struct play *play);
void play_end(struct play *play);
void play_report(struct play *play);
void keeper_dies(void);
void driver_process_died(bool power); /* our process, or the machine */
/* Ends of a task by their own doing: good ones, bad ones. */
unsigned plays_ended(const char *step, const char *partition, bool well);

/* ------------------------------------------------------------------ pipeline */

/* Writes a random pipeline into `text` and notes its parts. */
void pipeline_invent(struct buffer *text);

#endif
