/*
 * protocol — what a driver and its keeper say to each other, and what the keeper writes down.
 *
 * Driver to keeper: messages of any size up to MESSAGE_MAXIMUM over a Unix stream socket.
 * Keeper to driver: `struct record`, always of the same size, the same bytes that the keeper
 * appends to its journal. Both ends are of one build on one machine: native integers, and a
 * version that must agree. No pointer, no library: the keeper stays tiny.
 */
#ifndef GLOVEBOX_COMPUTE_KEEPER_PROTOCOL_H
#define GLOVEBOX_COMPUTE_KEEPER_PROTOCOL_H

#include <stddef.h>
#include <stdint.h>

#define KEEPER_PROTOCOL   4u
#define KEEPER_NAME_SIZE  104 /* 100 characters and a NUL, rounded up */
#define MESSAGE_MAXIMUM   ((size_t)256 << 10)
#define ARGUMENTS_MAXIMUM 4096 /* of a job: arguments, or environment entries */
#define MOUNTS_MAXIMUM    256
#define RUNNING_MAXIMUM   1024   /* jobs at the same time in one keeper */
#define NAMES_MAXIMUM     262144 /* names not yet forgotten */
#define FILTER_MAXIMUM    4096   /* instructions of a seccomp filter, the kernel's bound */
#define DEFAULT_LOG       ((uint64_t)64 << 20)
#define DEFAULT_SHARED    ((uint64_t)64 << 20)
#define DEFAULT_SCRATCH   ((uint64_t)1 << 30)
#define DEFAULT_PROCESSES 4096
#define DEFAULT_FILES     1000000
#define DEFAULT_GRACE     10000
#define BOX_USER          65534 /* who a boxed task is when the caller is root */

#define IMAGE_IDS 65536 /* users, and groups, of an image that has more than its own */

/* Which jobs a keeper has: processes as they are, programs of the host in a sealed box, images in
 * containers, and such images in containers that change user. Each kind has a keeper of its own,
 * whose files are named after it. Only the last one has ids besides its caller's. */
enum keeper_kind { KEEPER_PLAIN, KEEPER_BOX, KEEPER_CONTAINER, KEEPER_USERS, KEEPER_KINDS };

static inline const char *keeper_kind_name(enum keeper_kind kind) {
    static const char *const names[] = {"plain", "box", "container", "users"};
    return names[kind];
}

/* ------------------------------------------------------------------- records */

enum record_type {
    RECORD_HELLO = 1, /* first on a connection: `version`, and `pid` of the keeper */
    RECORD_LAUNCHED,  /* journal only: the keeper answers for the name from here on */
    RECORD_EXITED,
    RECORD_FORGOTTEN, /* journal only */
    RECORD_USAGE      /* answer to MESSAGE_USAGE; `cause` is -1 when the name does not run */
};

/* How the job was shut in. Stands in the run's record. */
enum sandbox {
    SANDBOX_BOX = 1 << 0,            /* own mount, pid, ipc, uts namespaces and the rest below */
    SANDBOX_NETWORK = 1 << 1,        /* own, empty net namespace */
    SANDBOX_USER = 1 << 2,           /* own user namespace */
    SANDBOX_CGROUP = 1 << 3,         /* own cgroup namespace */
    SANDBOX_SECCOMP = 1 << 4,        /* system-call filter */
    SANDBOX_OTHER_USER = 1 << 5,     /* runs as an unprivileged user, not as the caller */
    SANDBOX_MAPPED = 1 << 6,         /* mounts with mapped owners */
    SANDBOX_MEMORY_CGROUP = 1 << 7,  /* memory limit by cgroup */
    SANDBOX_MEMORY_PROCESS = 1 << 8, /* memory limit by rlimit, for each process */
    SANDBOX_MEMORY_NONE = 1 << 9,    /* asked for, not to be had */
    SANDBOX_CPU_CGROUP = 1 << 10,
    SANDBOX_CPU_NONE = 1 << 11,
    SANDBOX_PROCESSES_CGROUP = 1 << 12,
    SANDBOX_PROCESSES_USER = 1 << 13, /* by rlimit, counted over all processes of the user */
    SANDBOX_CGROUP_V2 = 1 << 14,      /* the cgroups are of version 2 */
    SANDBOX_ROOT = 1 << 15,           /* runs as root: some mount cannot have mapped owners */
    SANDBOX_CONTAINER = 1 << 16,      /* an image, by crun */
    SANDBOX_USERS = 1 << 17           /* which may change user */
};

/* Where a launch failed; the errno is in `number`, the object's name in `subject`. */
enum stage {
    STAGE_NONE,
    STAGE_REFUSED, /* a message the keeper cannot accept, or a name used before */
    STAGE_FULL,    /* RUNNING_MAXIMUM or NAMES_MAXIMUM reached */
    STAGE_JOURNAL,
    STAGE_LOG,
    STAGE_CLONE,
    STAGE_CGROUP,
    STAGE_NETWORK,
    STAGE_ROOT,  /* making the box's root folder */
    STAGE_MOUNT, /* one of the job's mounts: `subject` has its number, or its target */
    STAGE_PIVOT,
    STAGE_LIMIT,
    STAGE_PRIVILEGE, /* giving up privileges */
    STAGE_FILTER,
    STAGE_DIRECTORY,
    STAGE_PROGRAM,
    STAGE_INIT,
    STAGE_RUNTIME, /* the container runtime would not: `subject` has what it says */
    STAGE_RANGE,   /* the image's users have no ids outside: the range could not be mapped */
    STAGE_OWNERS   /* or what they own cannot be shown: no mounts with mapped owners here */
};

/* Remarks on an exit that was not a failure to start. */
enum remark {
    REMARK_NONE,
    REMARK_KEEPER_DIED,  /* cause LOST */
    REMARK_LOG_OVERFLOW, /* stopped: its log grew without bound and could not be trimmed */
    REMARK_LOG_TRIMMED,  /* the middle of the log was dropped */
    REMARK_MEMORY_LIMIT, /* out of memory: the job's own limit */
    REMARK_OUTPUT_SIZE,  /* cause OUTPUT: it left more bytes than it may */
    REMARK_OUTPUT_FILES, /* or more files */
    REMARK_LOG_CUT,      /* the job itself made its log shorter */
    REMARK_PROCESSES,    /* it reached its limit of processes, which is `number` */
    REMARK_NEAR_MEMORY   /* it failed when one of its processes had used nearly what each may */
};

struct record {
    uint32_t magic, crc; /* crc32 of the rest */
    uint32_t type;
    int32_t pid;
    char name[KEEPER_NAME_SIZE];
    int64_t started, ended; /* ms since 1970 */
    uint64_t peak_memory;
    int64_t cpu_user, cpu_system; /* microseconds */
    uint64_t boot;                /* which boot of the machine `pid` belongs to */
    int32_t cause, exit_code, signal;
    uint32_t sandbox;
    uint32_t stage;
    int32_t number;
    uint32_t remark;
    uint32_t version;
    char subject[56];
};
#define RECORD_MAGIC 0x476c6278u
_Static_assert(sizeof(struct record) == 256, "records are 256 bytes, so that none is ever torn");

static inline uint32_t record_crc(const struct record *record) {
    static const uint32_t nibbles[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
                                         0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                         0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                         0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    const unsigned char *bytes = (const unsigned char *)record;
    uint32_t crc = 0xffffffffu;
    for (size_t i = offsetof(struct record, type); i < sizeof(*record); i++) {
        crc ^= bytes[i];
        crc = (crc >> 4) ^ nibbles[crc & 15];
        crc = (crc >> 4) ^ nibbles[crc & 15];
    }
    return ~crc;
}

static inline void record_seal(struct record *record) {
    record->magic = RECORD_MAGIC;
    record->crc = record_crc(record);
}

static inline int record_is_valid(const struct record *record) {
    return record->magic == RECORD_MAGIC && record->crc == record_crc(record) &&
           record->name[KEEPER_NAME_SIZE - 1] == '\0' && record->subject[55] == '\0';
}

/* ------------------------------------------------------------------ messages */

enum message_type {
    MESSAGE_FILTER = 1, /* header, then struct sock_filter[]: the box's seccomp program */
    MESSAGE_LAUNCH,
    MESSAGE_STOP,
    MESSAGE_FORGET,
    MESSAGE_USAGE
};

struct message_header {
    uint32_t size; /* of the whole message, a multiple of 8 */
    uint32_t type;
};

/* STOP, FORGET, USAGE */
struct name_message {
    struct message_header header;
    char name[KEEPER_NAME_SIZE];
    int64_t grace;
    int32_t cause;
    uint32_t reserved;
};

enum launch_flags { LAUNCH_HOST_NETWORK = 1, LAUNCH_WRITABLE_ROOT = 2 };

/* Followed by NUL-terminated texts in this order: log, work, directory ("" for none), the root
 * folder of an image and the configuration of its container ("" for other jobs), the arguments, the
 * environment, and for each mount a letter ('r' or 'w'), its source ("" for a fresh tmpfs) and its
 * target. A container's arguments and environment stand in its configuration; here is only the
 * program's name. */
struct launch_message {
    struct message_header header;
    char name[KEEPER_NAME_SIZE];
    char after[KEEPER_NAME_SIZE]; /* starts when this one has ended; "": at once */
    uint32_t flags;
    uint32_t argument_count, environment_count, mount_count;
    uint64_t cpu_quota; /* microseconds in each 100 ms, 0: no limit */
    uint64_t memory, shared_memory, scratch, log_maximum;
    uint64_t processes;
    uint64_t output, output_files; /* of its work folder */
    int64_t timeout, grace;
    /* Of a container: where in the configuration its keeper has to write who the image's user is
     * outside: HOST_ID_SIZE blanks each. */
    uint32_t host_user_at, host_group_at;
};
#define HOST_ID_SIZE 10

#endif
