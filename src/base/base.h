/*
 * base — what every room stands on: errors, memory, text, hashing, files,
 * processes, clocks and the log.
 *
 * Conventions of the whole house:
 *  - A function that can fail returns 0 (or a pointer) on success and -1 (or
 *    NULL) on failure, and takes `struct error **err` as its last argument.
 *    On success *err is untouched; on failure it is set exactly once.
 *    `err` may be NULL when the caller does not want the reason.
 *  - Names ending in _free release an object and accept NULL; names ending in
 *    _release empty an object that the caller embeds.
 *  - OWN(type) variables are released at the end of their scope; take() moves
 *    one out.
 *  - Sizes are bytes, times are milliseconds unless the name says otherwise.
 */
#ifndef GLOVEBOX_BASE_H
#define GLOVEBOX_BASE_H

#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

/* ---------------------------------------------------------------- attributes */

#define PRINTF_LIKE(template_, first) __attribute__((format(printf, template_, first)))
#define MUST_CHECK                    __attribute__((warn_unused_result))
#define CLEANUP(function)             __attribute__((cleanup(function)))
#define UNUSED                        __attribute__((unused))

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* Moves a pointer out of an owning variable: `return take(&buffer);` */
#define take(pointer)                                                                              \
    ({                                                                                             \
        __typeof__(*(pointer)) taken_ = *(pointer);                                                \
        *(pointer) = NULL;                                                                         \
        taken_;                                                                                    \
    })

/* -------------------------------------------------------------------- errors */

enum error_code {
    ERROR_INTERNAL = 1, /* a promise inside the program was broken */
    ERROR_MEMORY,       /* no memory, or a memory bound was reached */
    ERROR_IO,           /* a system call failed; errno is in `number` */
    ERROR_USAGE,        /* the command line is wrong */
    ERROR_INVALID,      /* a pipeline, an input or a parameter is wrong */
    ERROR_NOT_FOUND,
    ERROR_EXISTS,
    ERROR_BUSY,        /* somebody else holds it; try again later */
    ERROR_LIMIT,       /* a bound that protects us was reached */
    ERROR_DENIED,      /* policy or permission */
    ERROR_UNSUPPORTED, /* this machine or this build cannot */
    ERROR_CORRUPT,     /* stored data is not what we wrote */
};

struct error {
    enum error_code code;
    int number;    /* errno of ERROR_IO, else 0 */
    char *message; /* one line, no trailing full stop */
    char *hint;    /* what the reader can do about it, or NULL */
};

/* Sets *err (if err is not NULL). Returns -1, so `return error_set(...)` works. */
int error_set(struct error **err, enum error_code code, const char *format, ...) PRINTF_LIKE(3, 4);
/* As error_set with ERROR_IO (or ERROR_NOT_FOUND, ERROR_DENIED where errno says so), the errno
 * value `number`, and ": strerror" appended. */
int error_set_errno(struct error **err, int number, const char *format, ...) PRINTF_LIKE(3, 4);
int error_set_memory(struct error **err);
/* Prefixes the message with "context: ". Does nothing when *err is NULL. Returns -1. */
int error_wrap(struct error **err, const char *format, ...) PRINTF_LIKE(2, 3);
/* Replaces the hint. Does nothing when *err is NULL. Returns -1. */
int error_hint(struct error **err, const char *format, ...) PRINTF_LIKE(2, 3);
void error_free(struct error *error);
void error_cleanup(struct error **error);
/* Moves `error` into *err, or frees it when nobody wants it. Returns -1. */
int error_move(struct error **err, struct error *error);
/* A word for a code ("invalid", "io"…), stable for JSON. */
const char *error_code_name(enum error_code code);
#define OWN_ERROR CLEANUP(error_cleanup) struct error *

/* -------------------------------------------------------------------- memory */

/* All allocation goes through these, so that tests can make the n-th one fail. They return NULL
 * when there is no memory. Zero-sized requests return a valid pointer. */
void *memory_allocate(size_t size) MUST_CHECK;                  /* zeroed */
void *memory_reallocate(void *pointer, size_t size) MUST_CHECK; /* new bytes not zeroed */
void *memory_array(size_t count, size_t size) MUST_CHECK;       /* zeroed, overflow checked */
void memory_free(void *pointer);
char *memory_copy_string(const char *text) MUST_CHECK;              /* NULL in, NULL out */
char *memory_copy_bytes(const void *bytes, size_t size) MUST_CHECK; /* NUL appended */
char *memory_format(const char *format, ...) PRINTF_LIKE(1, 2) MUST_CHECK;
/* Test seam: the n-th allocation from now (1 = the next) returns NULL; 0 turns it off. Returns how
 * many allocations were made since the last call. */
uint64_t memory_fail_at(uint64_t n);
void memory_free_cleanup(void *pointer_to_pointer);
#define OWN_STRING       CLEANUP(memory_free_cleanup) char *
#define OWN_MEMORY(type) CLEANUP(memory_free_cleanup) type *

/* Makes room for one more element in a growing array. *items has *capacity elements of
 * `item_size`; `count` are in use; at most `maximum` are ever allowed (ERROR_LIMIT). */
int array_reserve(void *items, size_t *capacity, size_t count, size_t item_size, size_t maximum,
                  struct error **err) MUST_CHECK;

/* An arena: many small objects that die together. Bounded by `maximum` bytes in all. */
struct arena;
struct arena *arena_new(size_t maximum) MUST_CHECK;
void arena_free(struct arena *arena);
void *arena_allocate(struct arena *arena, size_t size) MUST_CHECK; /* zeroed, aligned to 16 */
char *arena_copy_string(struct arena *arena, const char *text) MUST_CHECK;
char *arena_copy_bytes(struct arena *arena, const void *bytes, size_t size) MUST_CHECK;
char *arena_format(struct arena *arena, const char *format, ...) PRINTF_LIKE(2, 3) MUST_CHECK;
size_t arena_size(const struct arena *arena);

/* -------------------------------------------------------------------- buffer */

/* A growing, NUL-terminated byte string with a cap. A failed append (no memory, or beyond the
 * cap) marks the buffer; later appends do nothing; buffer_check() reports it once at the end. */
struct buffer {
    char *data;  /* NULL while empty; use buffer_text() to read */
    size_t size; /* without the NUL */
    size_t capacity;
    size_t maximum; /* 0 means BUFFER_DEFAULT_MAXIMUM */
    bool failed;
};
#define BUFFER_DEFAULT_MAXIMUM ((size_t)64 << 20)
#define OWN_BUFFER             CLEANUP(buffer_release) struct buffer

void buffer_release(struct buffer *buffer);
void buffer_clear(struct buffer *buffer); /* keeps the memory */
void buffer_append(struct buffer *buffer, const char *text);
void buffer_append_bytes(struct buffer *buffer, const void *bytes, size_t size);
void buffer_append_char(struct buffer *buffer, char c);
void buffer_append_repeat(struct buffer *buffer, char c, size_t count);
void buffer_format(struct buffer *buffer, const char *format, ...) PRINTF_LIKE(2, 3);
void buffer_format_list(struct buffer *buffer, const char *format, va_list list) PRINTF_LIKE(2, 0);
void buffer_truncate(struct buffer *buffer, size_t size);
const char *buffer_text(const struct buffer *buffer); /* never NULL */
int buffer_check(const struct buffer *buffer, struct error **err) MUST_CHECK;
/* The text, owned by the caller; the buffer is left empty. NULL when it had failed. */
char *buffer_take(struct buffer *buffer, struct error **err) MUST_CHECK;

/* ---------------------------------------------------------------------- text */

static inline bool text_equal(const char *a, const char *b) {
    return strcmp(a, b) == 0;
}
bool text_starts_with(const char *text, const char *prefix);
bool text_ends_with(const char *text, const char *suffix);
/* True for valid UTF-8 without surrogates or overlong forms (RFC 3629). */
bool text_is_utf8(const char *text, size_t size);
/* Columns that a UTF-8 text takes on a terminal (wcwidth of each character, C locale safe). */
size_t text_width(const char *text);
/* The candidate nearest to `text` by Damerau-Levenshtein distance, or NULL when none is near
 * enough to be a likely misspelling (distance over a third of the length). */
const char *text_nearest(const char *text, const char *const *candidates, size_t count);
/* fnmatch-like match of a relative path: '*' and '?' stay inside a name, "**" crosses
 * directories, [a-z] classes. */
bool text_glob_match(const char *pattern, const char *path);
/* "90", "90s", "15m", "2h", "1d", "250ms" -> milliseconds. Plain numbers are seconds. */
int text_parse_duration(const char *text, int64_t *ret_milliseconds, struct error **err) MUST_CHECK;
/* "512", "64k", "4g", "4GiB", "500MB" -> bytes. Like Docker, k/m/g without i are 1024-based;
 * kB/MB/GB are 1000-based as in SI. */
int text_parse_size(const char *text, uint64_t *ret_bytes, struct error **err) MUST_CHECK;
/* Whole-string integers in decimal, range checked. */
int text_parse_integer(const char *text, int64_t minimum, int64_t maximum, int64_t *ret_value,
                       struct error **err) MUST_CHECK;
/* Whole-string finite floating point number, '.' as the point whatever the locale. */
int text_parse_number(const char *text, double *ret_value, struct error **err) MUST_CHECK;
void text_format_size(struct buffer *buffer, uint64_t bytes);           /* "1.5 GiB" */
void text_format_duration(struct buffer *buffer, int64_t milliseconds); /* "2m 05s", "0.4s" */
/* A name that is safe as one path component: letters, digits, '-', '_' and '.' stay; every other
 * byte becomes '_' and then a short hash of the whole is appended, so that two different names
 * never meet. Never "", "." or "..", at most 120 bytes. */
char *text_safe_name(const char *name) MUST_CHECK;
/* Appends `text` with control characters and invalid UTF-8 made visible (\n, \x1b), so that
 * untrusted names cannot drive a terminal. */
void text_append_printable(struct buffer *buffer, const char *text);
/* Constant-time comparison of two byte strings of equal length. */
bool bytes_equal_constant_time(const void *a, const void *b, size_t size);

/* ---------------------------------------------------------------------- JSON */

void json_cleanup(json_t **json);
#define OWN_JSON CLEANUP(json_cleanup) json_t *
/* As json_dumps(), which leaves out names, and says nothing, when there is no memory. Caller frees.
 */
char *json_text(const json_t *json, size_t flags, struct error **err) MUST_CHECK;
/* Canonical text: keys sorted, no spaces; the same value gives the same bytes. */
char *json_canonical(const json_t *json, struct error **err) MUST_CHECK;
/* Appends `text` (UTF-8) as a JSON string with its quotes; NULL as null. Much cheaper than a json_t
 * where many lines are written. Bytes that are no UTF-8 become U+FFFD. */
void json_append_string(struct buffer *buffer, const char *text);
/* Parses a whole text; duplicate keys are refused. Errors say where, and quote nothing. */
json_t *json_parse(const char *text, size_t size, struct error **err) MUST_CHECK;
/* The same for a file of at most `maximum` bytes, with or without a byte order mark. */
json_t *json_read_file(int directory, const char *path, size_t maximum,
                       struct error **err) MUST_CHECK;
/* Object members with a default; never NULL for strings when `fallback` is not NULL. */
const char *json_get_string(const json_t *object, const char *key, const char *fallback);
int64_t json_get_integer(const json_t *object, const char *key, int64_t fallback);

/* ------------------------------------------------------------------- hashing */

#define SHA256_SIZE     32
#define SHA256_HEX_SIZE 65 /* with NUL */
struct sha256;
struct sha256 *sha256_new(void) MUST_CHECK;
void sha256_free(struct sha256 *hash);
void sha256_cleanup(struct sha256 **hash);
void sha256_add(struct sha256 *hash, const void *bytes, size_t size);
void sha256_finish(struct sha256 *hash, uint8_t digest[SHA256_SIZE]); /* ready for the next */
void sha256_of(const void *bytes, size_t size, uint8_t digest[SHA256_SIZE]);
/* HMAC-SHA256 (RFC 2104) of a purpose, its NUL and the bytes, so that uses of one key never meet.
 */
#define SECRET_KEY_SIZE 32
int hmac_sha256_of(const uint8_t key[SECRET_KEY_SIZE], const char *purpose, const void *bytes,
                   size_t size, uint8_t digest[SHA256_SIZE], struct error **err) MUST_CHECK;
/* Lower-case hexadecimal of `size` bytes; `text` has room for 2 * size + 1. */
void hex_encode(const uint8_t *bytes, size_t size, char *text);
int hex_decode(const char *text, uint8_t *bytes, size_t size, struct error **err) MUST_CHECK;
/* SHA-256 of a whole file, read in 1 MiB blocks. `ret_size` may be NULL. */
int sha256_file(int directory, const char *path, uint8_t digest[SHA256_SIZE], uint64_t *ret_size,
                struct error **err) MUST_CHECK;
/* Cryptographically strong random bytes (getrandom). */
int random_bytes(void *bytes, size_t size, struct error **err) MUST_CHECK;

/* --------------------------------------------------------------------- files */

/* All descriptors are opened with O_CLOEXEC. `directory` is a descriptor or AT_FDCWD. */
#define OWN_FD CLEANUP(file_close_cleanup) int
void file_close_cleanup(int *fd);
void file_close(int *fd); /* closes if >= 0 and sets to -1 */
int file_open(int directory, const char *path, int flags, mode_t mode,
              struct error **err) MUST_CHECK;
int file_read_all(int directory, const char *path, size_t maximum, struct buffer *ret,
                  struct error **err) MUST_CHECK;
int file_write_all(int fd, const void *bytes, size_t size, struct error **err) MUST_CHECK;
/* Writes path.tmp-RANDOM, fsyncs, renames over `path`, fsyncs the directory. Readers see the old
 * bytes or the new ones, never a mixture. */
int file_write_atomic(int directory, const char *path, const void *bytes, size_t size, mode_t mode,
                      struct error **err) MUST_CHECK;
bool file_exists(int directory, const char *path);
/* A file that holds a secret: ERROR_DENIED, with a hint, when it is none or others than its owner
 * may use it. `what` names it in the message. */
struct stat;
int file_check_private(const struct stat *status, const char *what, struct error **err) MUST_CHECK;
/* Copies bytes by copy_file_range where the kernel can, else by read and write. */
int file_copy(int from_directory, const char *from, int to_directory, const char *to, mode_t mode,
              struct error **err) MUST_CHECK;
/* mkdir -p below `directory`; `path` is relative to it or absolute. */
int directory_make(int directory, const char *path, mode_t mode, struct error **err) MUST_CHECK;
/* Canonical absolute path of something that exists. Caller frees. */
char *path_resolve(const char *path, struct error **err) MUST_CHECK;
/* "a" + "b/c" -> "a/b/c"; an absolute second part wins. Caller frees; NULL when no memory. */
char *path_join(const char *a, const char *b) MUST_CHECK;
const char *path_base_name(const char *path); /* the part after the last slash */
/* False for "", absolute paths, and any component that is "." or "..". */
bool path_is_safe_relative(const char *path);

/* Resolves `path` below `root`, links included, without ever leaving `root`: the way to open what
 * somebody else wrote there. Returns the path below root without links ("" for root itself), the
 * caller's to free. ERROR_DENIED when it leads outside. Linux 5.6's openat2(2). */
char *path_resolve_beneath(const char *root, const char *path, struct error **err) MUST_CHECK;

/* What a walk finds. `path` is relative to the root, valid during the call. */
struct tree_entry {
    const char *path;
    const char *name; /* last component of path */
    int directory;    /* descriptor of the folder that holds it: openat(directory, name) */
    const struct stat *status;
    unsigned depth; /* 1 for the root's own entries */
};
enum tree_verdict { TREE_CONTINUE, TREE_SKIP /* do not enter this directory */, TREE_STOP };
typedef int (*tree_visitor)(const struct tree_entry *entry, void *context,
                            enum tree_verdict *verdict, struct error **err);
#define TREE_MAXIMUM_DEPTH 64
/* Visits everything below `root` in byte order of names, parents before children, without
 * following symbolic links. A visitor that returns -1 ends the walk with its error. */
int tree_walk(int directory, const char *root, tree_visitor visitor, void *context,
              struct error **err) MUST_CHECK;
/* rm -r without following links; a missing path is success. */
int tree_remove(int directory, const char *path, struct error **err) MUST_CHECK;
/* Whether a link `depth` levels below a root (1: in the root itself) leads to a place below it, by
 * its text alone: it is not absolute and never climbs above the root. */
bool tree_link_stays_inside(const char *target, unsigned depth);
/* Recreates a tree by hard links, and by copies where links are refused (other file system,
 * protected_hardlinks). Symbolic links are copied as links only when they stay inside. */
int tree_link(int from_directory, const char *from, int to_directory, const char *to,
              struct error **err) MUST_CHECK;

/* The same by copies alone, for whoever may change them. What is there already is replaced. */
int tree_copy(int from_directory, const char *from, int to_directory, const char *to,
              struct error **err) MUST_CHECK;

/* ------------------------------------------------------------------- process */

/* Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat), so that a
 * re-used process id is not mistaken for the old process. 0 when there is no such process. */
uint64_t process_start_time(pid_t pid);
/* True cause of the end of something that was run. Names (cause_name) are stable: they stand in
 * JSON and in the pipeline language's `retries.causes`. */
enum cause {
    CAUSE_NONE,          /* "" : succeeded */
    CAUSE_EXIT,          /* "exit": non-zero exit status */
    CAUSE_SIGNAL,        /* "signal": killed by a signal that nobody of us sent */
    CAUSE_OUT_OF_MEMORY, /* "out_of_memory": the kernel's memory limit killed it */
    CAUSE_TIMEOUT,       /* "timeout": we stopped it after its time */
    CAUSE_CANCELLED,     /* "cancelled": a person stopped it */
    CAUSE_LOST,          /* "lost": the host or the keeper died with it; how it ended is unknown */
    CAUSE_IMAGE_NOT_FOUND, /* "image_not_found" */
    CAUSE_NOT_STARTED,     /* "not_started": program missing, box refused, no space */
    CAUSE_POLICY,          /* "policy": the site's policy forbids it */
    CAUSE_OUTPUT,          /* "output": ended well but left outputs we refuse or cannot find */
    CAUSE_REJECTED,        /* "rejected": a person said no */
    CAUSE_COUNT
};
const char *cause_name(enum cause cause);
int cause_parse(const char *name, enum cause *ret_cause, struct error **err) MUST_CHECK;

struct process_options {
    const char *const *argv;        /* argv[0] is the program's path */
    const char *const *environment; /* NULL: inherit */
    const char *directory;          /* NULL: inherit */
    int input, output, error;       /* -1: /dev/null; else duplicated to 0, 1, 2 */
    bool new_session;
};
/* posix_spawn; never forks the large process. */
int process_spawn(const struct process_options *options, pid_t *ret_pid,
                  struct error **err) MUST_CHECK;
/* The folder of the running executable. Caller frees. */
char *process_executable_directory(struct error **err) MUST_CHECK;

/* --------------------------------------------------------------------- clock */

int64_t clock_wall(void);      /* ms since 1970, may jump */
int64_t clock_monotonic(void); /* ms, never goes back */
int64_t clock_monotonic_us(void);
/* "2026-11-21T03:04:05.678Z" (RFC 3339, UTC). */
#define CLOCK_TEXT_SIZE 32
void clock_format(int64_t wall, char text[CLOCK_TEXT_SIZE]);

/* ----------------------------------------------------------------------- log */

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
/* The one global of the house. Default: warnings and errors to stderr as text. Never log patient
 * data: partition names, file names below inputs, and values read from images are patient data. */
void log_configure(enum log_level level, bool json, int fd);
bool log_enabled(enum log_level level);
void log_message(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
