/*
 * Makes the n-th allocation, or the n-th system call, of what is linked into a test fail. The
 * functions of the C library are replaced at link time (--wrap), so only our own code is meant;
 * jansson and SQLite allocate through us as well. Single-threaded.
 */
#ifndef GLOVEBOX_TEST_FAULTS_H
#define GLOVEBOX_TEST_FAULTS_H

#include "base/base.h"

enum fault {
    FAULT_ALLOCATION,  /* ours: no memory */
    FAULT_LIBRARY,     /* of jansson and SQLite: no memory */
    FAULT_CALL,        /* a system call: EIO */
    FAULT_FULL,        /* one that writes: ENOSPC */
    FAULT_INTERRUPTED, /* read, write, open: EINTR, which is no error */
    FAULT_SHORT,       /* read, write: one byte, which is no error */
    FAULT_COUNT
};
extern const char *const fault_names[FAULT_COUNT];

/* Once, before anything else. */
void faults_prepare(void);

/* What is tried: works in the folder `scratch`, which is empty, and tells into `out` what came of
 * it. Everything in it may fail. */
typedef int (*fault_operation)(const char *scratch, struct buffer *out, struct error **err);
/* Runs it once without a fault, then with the first, the second, the third… of each kind failing
 * until none is reached any more. Each time it must say that it failed, or come to the same, and
 * must come to the same without a fault afterwards. Returns how many faults were tried. */
size_t faults_try(const char *name, fault_operation operation);

#endif
