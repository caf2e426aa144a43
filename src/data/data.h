/*
 * data — what files are there and what is in them: manifests with digests, and the partitions
 * that a pipeline fans out over.
 *
 * A manifest is the list of everything below a root with the SHA-256 of each file. The digest of a
 * (sub)tree depends on names, contents and the executable bit, not on times or owners: the same
 * data has the same digest wherever it lies.
 */
#ifndef GLOVEBOX_DATA_H
#define GLOVEBOX_DATA_H

#include "base/base.h"
#include "pipeline/pipeline.h"
#include "store/store.h"

/* ------------------------------------------------------------------ manifests */

enum entry_kind { ENTRY_FILE = 'f', ENTRY_DIRECTORY = 'd', ENTRY_LINK = 'l' };
struct manifest_entry {
    const char *path; /* relative; "" when the root itself is a file */
    enum entry_kind kind;
    bool executable;
    uint64_t size;
    int64_t modified;            /* ns, when it was listed; no part of any digest */
    uint8_t digest[SHA256_SIZE]; /* of the content, or of a link's target; zero for directories */
};
struct manifest {
    struct arena *arena;
    struct manifest_entry *entries; /* in order of path components, parents first */
    size_t count, capacity;
    uint64_t bytes;
    size_t ignored; /* sockets, FIFOs and devices */
    size_t outside; /* links that lead outside: whoever copies or joins the tree leaves them out */
};
#define MANIFEST_MAXIMUM_ENTRIES ((size_t)8 << 20)
#define MANIFEST_MAXIMUM_MEMORY  ((size_t)2 << 30)

/* Remembers digests of files that did not change (path, inode, size, mtime, ctime), so that a
 * dataset is read once. Loaded and saved by the thread that owns the store; used by one
 * manifest_build() at a time, on any thread. */
struct digest_cache;
struct digest_cache *digest_cache_load(struct store *store, const char *root,
                                       struct error **err) MUST_CHECK;
int digest_cache_save(struct store *store, struct digest_cache *cache,
                      struct error **err) MUST_CHECK;
void digest_cache_free(struct digest_cache *cache);
extern const char digests_sql[]; /* the migration that makes the cache's table */

enum manifest_flags {
    MANIFEST_NAMES_ONLY = 1, /* do not read contents: digests are zero */
    MANIFEST_STRICT = 2, /* a socket, FIFO, device or set-uid file is an error (guests' outputs) */
};
/* Lists (and hashes) what is below `root`, a directory or a file. `cache` may be NULL. */
struct manifest *manifest_build(const char *root, unsigned flags, struct digest_cache *cache,
                                struct error **err) MUST_CHECK;
void manifest_free(struct manifest *manifest);
void manifest_cleanup(struct manifest **manifest);
#define OWN_MANIFEST CLEANUP(manifest_cleanup) struct manifest *
/* Digest of the tree at `path` ("" for all), with paths relative to it. False when there is
 * nothing at `path`. */
bool manifest_digest(const struct manifest *manifest, const char *path,
                     uint8_t digest[SHA256_SIZE]);
/* ERROR_INVALID when a file at or below `path` is not what it was when the manifest was built, by
 * its size and time. Looks at *budget files at most, and counts them down. */
int manifest_check_unchanged(const struct manifest *manifest, const char *root, const char *path,
                             size_t *budget, struct error **err) MUST_CHECK;
/* The entry at `path`, or NULL. */
const struct manifest_entry *manifest_find(const struct manifest *manifest, const char *path);
/* Text form, a line an entry: "f 0644|0755 SIZE SHA256 PATH\n". Not synced: that is up to
 * whoever puts it in its place. */
int manifest_write(const struct manifest *manifest, int directory, const char *path,
                   struct error **err) MUST_CHECK;
struct manifest *manifest_read(int directory, const char *path, struct error **err) MUST_CHECK;

/* ----------------------------------------------------------------- partitions */

struct partition {
    const char *name;         /* the key: unique in its list, as people know it */
    const char *path;         /* of the item, relative to the listed root; "" for none */
    const char *const *files; /* DICOM: the item's files, relative to the root; else NULL */
    size_t file_count;
    unsigned line; /* CSV: where it stands; else 0 */
    json_t *item;  /* for expressions: a string, or an object; owned by the list */
};
struct partition_list {
    struct arena *arena;
    struct partition *items;
    size_t count, capacity;
    size_t ignored; /* files that were not DICOM */
};
#define PARTITIONS_MAXIMUM ((size_t)1 << 20)
void partition_list_release(struct partition_list *list);

/* Lists the partitions of `fan` (FAN_DIRECTORIES, FAN_GLOB, FAN_DICOM, FAN_CSV) below `root`,
 * whose manifest is given. For FAN_GLOB `glob`, for FAN_CSV the file is `root` itself. Sorted by
 * name. ERROR_INVALID when the data cannot be fanned out that way (no such column, two rows with
 * one key, …). */
int partition_list_make(const struct fan *fan, const char *root, const struct manifest *manifest,
                        struct partition_list *ret, struct error **err) MUST_CHECK;
/* Adds a partition; copies everything but takes over `item`. Refuses a name that is already there
 * (checked by partition_list_finish), empty, or over 1,000 bytes. */
int partition_list_add(struct partition_list *list, const char *name, const char *path,
                       json_t *item, struct error **err) MUST_CHECK;
/* Sorts by name and refuses duplicates. */
int partition_list_finish(struct partition_list *list, struct error **err) MUST_CHECK;

#endif
