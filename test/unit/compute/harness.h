/* A driver with a home of its own and a loop: what the tests of this room share. */
#ifndef GLOVEBOX_TEST_COMPUTE_HARNESS_H
#define GLOVEBOX_TEST_COMPUTE_HARNESS_H

#include "compute/compute.h"
#include "tap.h"

#include <uv.h>

enum { REPORTS_MAXIMUM = 512 };

struct report {
    char name[104];
    enum cause cause;
    int exit_code, signal;
    int64_t started, ended;
    uint64_t peak_memory;
    int64_t cpu_user, cpu_system;
    char detail[256], sandbox[512];
};

struct bed {
    char home[64]; /* a fresh folder below TMPDIR */
    char work[96]; /* home/work */
    char log[96];  /* home/log, shared by jobs that name no other */
    uv_loop_t loop;
    const struct driver *driver;
    struct compute *compute;
    struct report reports[REPORTS_MAXIMUM];
    size_t count;
    size_t troubles;
};

bool bed_make(struct bed *bed);   /* home and driver */
bool bed_open(struct bed *bed);   /* the driver again, after bed_close */
void bed_close(struct bed *bed);  /* the driver; jobs go on */
void bed_remove(struct bed *bed); /* all */
/* Runs the loop until `count` reports are there or `patience` ms went by: $TEST_PATIENCE times as
 * long on slow machines. */
bool bed_wait(struct bed *bed, size_t count, int64_t patience);
void bed_pause(struct bed *bed, int64_t milliseconds);
const struct report *bed_report(const struct bed *bed, const char *name);
/* A job that runs `sh -c script`. */
struct job bed_shell(struct bed *bed, const char *name, const char *const *arguments);
bool bed_launch(struct bed *bed, const struct job *job);
/* Runs one job to its end and returns its report, or NULL. */
const struct report *bed_run(struct bed *bed, const struct job *job);
/* The log's text; static memory. */
const char *bed_log(struct bed *bed);
/* Ids of the keepers of this home; returns how many. A copy of one, which is just becoming a box's
 * init, is counted as long as it has not closed what is the keeper's. */
size_t bed_keepers(const struct bed *bed, pid_t *pids, size_t maximum);
/* Waits until there is one keeper, and no copy of it; returns 0 when that does not come. */
pid_t bed_only_keeper(const struct bed *bed);
/* True when the process is gone, or a zombie, within a second. */
bool process_ends(pid_t pid);

#define SHELL(script)                                                                              \
    (const char *const[]) {                                                                        \
        "sh", "-c", (script), NULL                                                                 \
    }

#endif
