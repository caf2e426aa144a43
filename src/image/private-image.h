/*
 * What the files of the room share.
 */
#ifndef GLOVEBOX_IMAGE_PRIVATE_IMAGE_H
#define GLOVEBOX_IMAGE_PRIVATE_IMAGE_H

#include "image/image.h"

#include <sys/stat.h>

#define IMAGE_DEFAULT_MAXIMUM  ((uint64_t)64 << 30)
#define IMAGE_DEFAULT_FILES    ((uint64_t)1000000)
#define IMAGE_DOCUMENT_MAXIMUM ((size_t)8 << 20) /* a manifest, an index, a configuration */
#define IMAGE_LAYERS_MAXIMUM   512
#define IMAGE_DIGEST_SIZE      72 /* "sha256:", 64 digits, NUL */
#define BUNDLE_DOCUMENT        "glovebox.json"
#define MEDIA_MANIFEST         "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_CONFIG           "application/vnd.oci.image.config.v1+json"
#define MEDIA_LAYER            "application/vnd.oci.image.layer.v1.tar"
#define MEDIA_SQUASHFS         "application/vnd.glovebox.image.squashfs.v1"
#define ANNOTATION_NAME        "org.opencontainers.image.ref.name"
#define ANNOTATION_DOCKER_NAME "io.containerd.image.name"

/* ---------------------------------------------------------------- the store */

struct image_store {
    char *path;    /* HOME/images, absolute */
    int directory; /* -1: the store was never made */
    int lock;      /* of the file `lock`: see store_lock() */
    json_t *index; /* as last read */
    struct stat index_status;
};

enum store_lock { STORE_ADDING, STORE_DROPPING };
/* Adding: many at once. Dropping: alone; ERROR_BUSY when somebody adds or drops. Programs that we
 * start while adding keep the lock by their standard input, so that nothing is swept under one
 * before it has ended with us. */
int store_lock(struct image_store *store, enum store_lock how, struct error **err) MUST_CHECK;
void store_unlock(struct image_store *store);

/* Reads the index anew if it changed. The index belongs to the store. */
int store_read(struct image_store *store, struct error **err) MUST_CHECK;
/* Calls `change` with the newest index, under a lock, and writes it. Everything of the store that
 * was written before is on disk before. */
int store_change(struct image_store *store,
                 int (*change)(json_t *index, void *context, struct error **err), void *context,
                 struct error **err) MUST_CHECK;
/* The record of a digest in the index, or NULL. */
json_t *store_record(const json_t *index, const char *digest);
/* A new folder "tmp/XXXXXX", relative to the store; caller frees and removes. */
char *store_make_folder(struct image_store *store, struct error **err) MUST_CHECK;
/* Takes away what was being made when a program died, and blobs and roots of no image. Needs
 * STORE_DROPPING, which it gives back as soon as nothing of it can be found any more; then it is
 * removed. `ret_bytes` may be NULL; `dry_run`: only counted. */
int store_sweep(struct image_store *store, bool dry_run, uint64_t *ret_bytes,
                struct error **err) MUST_CHECK;
/* The digest of what a name means now; *ret stays NULL when it means nothing here. `ret_name` gets
 * the name, completed. */
int store_resolve(struct image_store *store, const char *reference, const char **ret,
                  char **ret_name, struct error **err) MUST_CHECK;
bool list_has(const json_t *list, const char *text);
int store_not_there(const char *what, struct error **err);

/* A temporary folder that goes with its scope. */
struct work_folder {
    struct image_store *store;
    char *path;
};
void work_folder_release(struct work_folder *folder);
#define OWN_WORK_FOLDER CLEANUP(work_folder_release) struct work_folder

/* --------------------------------------------------------------- references */

bool digest_is_valid(const char *text); /* "sha256:" and 64 lower-case digits */
/* domain/path of a normalized reference; caller frees. */
char *reference_repository(const char *reference, struct error **err) MUST_CHECK;

/* ----------------------------------------------------------------- programs */

struct program {
    const char *const *argv;
    const char *package;   /* Debian's, for the hint when it is missing */
    const char *directory; /* where it runs; NULL: here */
    const char *const *environment;
    int input;             /* -1: nothing */
    struct buffer *output; /* what it prints, at most its maximum; NULL: thrown away */
    /* Called every quarter of a second; -1 ends the program and fails with that error. */
    int (*watch)(void *context, struct error **err);
    void *context;
};
/* Runs a program to its end, or until we die; what it said last becomes the error's message if it
 * fails. */
int program_run(const struct program *program, struct error **err) MUST_CHECK;
/* Notices when the same has been done for too long. */
#define STALL_MAXIMUM (INT64_C(5) * 60 * 1000)
struct stall {
    uint64_t done;
    int64_t since; /* clock_monotonic(); 0: nothing was noted yet */
};
bool stall_notice(struct stall *stall, uint64_t done, int64_t now);
/* The path of a program of PATH, or ERROR_UNSUPPORTED with the package to install. */
char *program_find(const char *name, const char *package, struct error **err) MUST_CHECK;

/* ------------------------------------------------------------------ streams */

/* A file that is read from its beginning to its end, uncompressed on the way. */
struct stream;
int stream_open(int directory, const char *path, struct stream **ret,
                struct error **err) MUST_CHECK;
/* Bytes read, 0 at the end. At the end it is known whether the file was whole. */
ssize_t stream_read(struct stream *stream, void *bytes, size_t size, struct error **err) MUST_CHECK;
void stream_close(struct stream *stream);
void stream_cleanup(struct stream **stream);
#define OWN_STREAM CLEANUP(stream_cleanup) struct stream *
/* Bytes of the file itself that were read so far, and that it has. */
void stream_progress(const struct stream *stream, uint64_t *ret_done, uint64_t *ret_total);

enum packing { PACKING_NONE, PACKING_GZIP, PACKING_XZ, PACKING_ZSTD, PACKING_BZIP2 };
enum packing packing_of(const void *bytes, size_t size);

/* ---------------------------------------------------------------------- tar */

struct tar_entry {
    char *name; /* as written, but without leading "./" */
    char *link;
    char type; /* '0' file, '1' hard link, '2' symbolic link, '5' folder, else as written */
    uint64_t size;
};
struct tar;
/* `read` as stream_read(). Understands ustar, pax and GNU's long names. */
typedef ssize_t (*tar_reader)(void *context, void *bytes, size_t size, struct error **err);
struct tar *tar_open(tar_reader read, void *context) MUST_CHECK; /* NULL: no memory */
void tar_close(struct tar *tar);
void tar_cleanup(struct tar **tar);
#define OWN_TAR CLEANUP(tar_cleanup) struct tar *
/* 1: an entry, valid until the next call; 0: the end; -1: error. */
int tar_next(struct tar *tar, struct tar_entry *ret, struct error **err) MUST_CHECK;
/* Content of the entry: bytes read, 0 at its end. */
ssize_t tar_read(struct tar *tar, void *bytes, size_t size, struct error **err) MUST_CHECK;

/* ------------------------------------------------------- what is on its way in */

/* Files of an archive or a folder by name, and blobs by digest, that wait in a work folder. */
struct staging {
    struct image_store *store;
    const struct image_options *options;
    struct work_folder work; /* has "blobs/sha256" */
    json_t *names;           /* name in the archive -> digest, or {"link": name} */
    int source;              /* descriptor of an OCI folder, or -1 */
    struct stream *stream;   /* of the archive that is being read */
    void (*progress)(const struct staging *staging);
    uint64_t size;      /* bytes that came in */
    const char *signer; /* how the signature of what comes was verified, or NULL */
    char *fallback;     /* the name of an image that brings none */
    json_t *result;     /* list for image_load()'s caller */
};
int staging_begin(struct staging *staging, struct image_store *store,
                  const struct image_options *options, struct error **err) MUST_CHECK;
void staging_release(struct staging *staging);
uint64_t staging_maximum(const struct staging *staging);
int staging_too_large(const struct staging *staging, struct error **err);
uint64_t staging_maximum_files(const struct staging *staging);
int staging_too_many(const struct staging *staging, struct error **err);
/* Writes bytes as a blob. */
int staging_write(struct staging *staging, const void *bytes, size_t size,
                  char digest[IMAGE_DIGEST_SIZE], struct error **err) MUST_CHECK;
/* Streams a blob in; `expected` NULL: any digest. */
int staging_stream(struct staging *staging, tar_reader read, void *context, const char *expected,
                   char digest[IMAGE_DIGEST_SIZE], struct error **err) MUST_CHECK;
/* Unpacks a compressed file of the store into a blob. */
int staging_unpack_blob(struct staging *staging, const char *path, char digest[IMAGE_DIGEST_SIZE],
                        uint64_t *ret_size, struct error **err) MUST_CHECK;
/* Makes sure that a blob is at hand, from wherever it may be: 1 it is, 0 it is not. */
int staging_need(struct staging *staging, const char *digest, struct error **err) MUST_CHECK;
/* How a blob is packed and how large it is; an error when it is not at hand. */
int staging_look(struct staging *staging, const char *digest, enum packing *ret_packing,
                 uint64_t *ret_size, struct error **err) MUST_CHECK;
/* Reads a blob that is JSON. */
json_t *staging_json(struct staging *staging, const char *digest, struct error **err) MUST_CHECK;
/* Path of a blob relative to the store, wherever it is; caller frees. */
char *staging_path(struct staging *staging, const char *digest, struct error **err) MUST_CHECK;
/* Reads an archive's entries into the staging. */
int staging_read_archive(struct staging *staging, const char *path, struct error **err) MUST_CHECK;
/* Digest of a file of the archive, links followed; NULL: it has none of this name. */
const char *staging_digest(const struct staging *staging, const char *name);
bool staging_has(const struct staging *staging, const char *name);
/* Reads a file of the archive or the folder that is JSON. */
json_t *staging_document(struct staging *staging, const char *name, struct error **err) MUST_CHECK;

/* The images that a `docker save` archive's manifest.json, or an OCI layout's index.json names.
 * `docker` may be NULL: where an archive is both. */
int docker_import(struct staging *staging, const json_t *manifest, struct error **err) MUST_CHECK;
/* Where the file system lies in a Singularity file. `bytes` are the file's beginning, `total` its
 * size. */
#define SIF_HEADER_SIZE ((size_t)1 << 20) /* at most this much of the file is looked at */
struct sif {
    uint64_t offset, size;
};
bool sif_is_one(const void *bytes, size_t size);
int sif_parse(const void *bytes, size_t size, uint64_t total, struct sif *ret,
              struct error **err) MUST_CHECK;
/* Takes in a Singularity file. */
int sif_import(struct staging *staging, const char *path, struct error **err) MUST_CHECK;
/* Takes in a manifest that we wrote; under its fallback name, or the one that was asked for. */
int manifest_import(struct staging *staging, const json_t *manifest, struct error **err) MUST_CHECK;
/* Puts the files of a bundle into options->into. */
int bundle_import(struct staging *staging, struct error **err) MUST_CHECK;
int layout_import(struct staging *staging, const json_t *index, const json_t *docker,
                  struct error **err) MUST_CHECK;

/* An image whose blobs are at hand comes into the store: checked, allowed, unpacked, recorded. */
struct arrival {
    const char *digest;            /* of the manifest */
    const char *const *references; /* normalized */
    size_t reference_count;
    const char *index_digest; /* of the index it was chosen from, or NULL */
    const char *signer;
};
int arrival_take(struct staging *staging, const struct arrival *arrival,
                 struct error **err) MUST_CHECK;

/* ---------------------------------------------------------------- manifests */

/* Checks the form of a manifest (OCI's or Docker's schema 2): ERROR_INVALID. */
int manifest_check(const json_t *manifest, struct error **err) MUST_CHECK;
int descriptor_check(const json_t *descriptor, const char *what, struct error **err) MUST_CHECK;
/* This machine's manifest in an index: its descriptor, which belongs to the index. */
json_t *index_choose(const json_t *index, struct error **err) MUST_CHECK;
bool media_is_index(const char *media_type);
const char *machine_architecture(void);

/* ----------------------------------------------------------------- unpacking */

/* Unpacks into roots/ unless it is there. */
int root_unpack(struct staging *staging, const char *digest, const json_t *manifest,
                struct error **err) MUST_CHECK;
/* Cleans root/rootfs and writes root/list. */
int root_list(struct staging *staging, const char *root, struct error **err) MUST_CHECK;
/* The line of a list about a file. */
int root_line(const struct tree_entry *entry, struct buffer *out, struct error **err) MUST_CHECK;
/* "roots/sha256-HEX" */
char *root_folder(const char *digest) MUST_CHECK;

#endif
