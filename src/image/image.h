/*
 * image — container images without a daemon: a store below a home's folder, and what comes in and
 * goes out.
 *
 * An image is known by the digest of its manifest, and is unpacked once, by umoci, into a root
 * folder that all tasks share and none may write. Names (references, tags) point to digests.
 * Formats: OCI image specification 1.0 (layout, manifest, configuration), `docker save` archives,
 * Singularity files. Programs that are run: skopeo, umoci, unsquashfs, and gzip, xz, zstd and
 * bzip2.
 *
 * HOME/images/
 *   index.json        names and what is known of each image; replaced whole, so old or new
 *   blobs/sha256/HEX  manifests, configurations, layers, as they came
 *   roots/sha256-HEX/ rootfs: the unpacked image; list: every file of it with its digest
 *   tmp/              what is being made; swept when nobody makes anything
 *   lock              shared by whoever adds, exclusive for whoever drops
 *
 * Set-uid bits, devices, sockets and FIFOs are left out of a root: nothing needs them in a box, and
 * a root lies in a folder of this machine.
 */
#ifndef GLOVEBOX_IMAGE_H
#define GLOVEBOX_IMAGE_H

#include "base/base.h"

#include <jansson.h>

struct image_store;

/* An image that is in the store. */
struct image {
    char *reference; /* the name it was asked by, normalized: docker.io/library/busybox:latest */
    char *digest;    /* "sha256:…" of its manifest */
    char *root;      /* absolute path of the unpacked root folder */
    json_t *config;  /* the OCI image configuration, whole: {"architecture", "config": {"Env",
                        "Entrypoint", "Cmd", "User", "WorkingDir"…}} */
    uint64_t size;   /* bytes of its blobs */
    int64_t made;    /* wall ms when it came into the store */
    char *index;     /* digest of the index of several machines' images that it was chosen from, or
                        NULL: what a registry's tag may point to */
    json_t *indexes; /* all such digests that it ever came by */
    char *signer;    /* how its signature was verified when it came as `reference`, or NULL: it was
                        not */
    json_t *names;   /* all names that point to it now */
    json_t *repositories; /* all domain/path that it ever came as */
    json_t *signers;      /* {repository: how the signature that names it was verified} */
};
void image_release(struct image *image); /* what it holds; all-zero is fine */
#define OWN_IMAGE CLEANUP(image_release) struct image

/* Opens the store of a home; `make`: makes it when it is missing. A store that was never made is
 * an empty one. With `make`, what was left half-done is swept, if nobody is at work. */
int image_store_open(const char *home, bool make, struct image_store **ret,
                     struct error **err) MUST_CHECK;
void image_store_close(struct image_store *store); /* accepts NULL */
void image_store_cleanup(struct image_store **store);
#define OWN_IMAGE_STORE CLEANUP(image_store_cleanup) struct image_store *

/* ------------------------------------------------------------------- finding */

/* Finds an image by name (`busybox`, `registry.example.org/a/b:1.2`), by pinned name
 * (`a/b@sha256:…`: the manifest's digest, or that of the index it was chosen from; the image must
 * have come under that repository's name), or by digest (`sha256:…`, of which 12 digits do), as
 * Docker completes names. 1: found, 0: not here, -1: error. What changed since the last call is
 * seen. */
int image_find(struct image_store *store, const char *reference, struct image *ret,
               struct error **err) MUST_CHECK;

/* Is it a digest of 12 digits or more, to image_find(), and no name? */
bool image_is_digest(const char *text);
/* Of `signers`, as in struct image, the one of a name's repository; or NULL. */
const char *image_signer(const json_t *signers, const char *name);

/* All images, by name and then by digest: [{"reference" (null: it has no name any more), "digest",
 * "size", "made" (ms), "signer" (or null)}]. */
json_t *image_list(struct image_store *store, struct error **err) MUST_CHECK;
/* All that is known of one: {"reference", "digest", "indexes", "names", "size", "made", "signer",
 * "root", "manifest", "config"}. ERROR_NOT_FOUND when it is not here. */
json_t *image_show(struct image_store *store, const char *reference, struct error **err) MUST_CHECK;

/* Until image_store_close() nothing is dropped: what is found stays until whoever found it has
 * written down that it is needed. ERROR_BUSY is what a program gets that would drop something
 * meanwhile; one that drops already is waited for. */
int image_store_keep(struct image_store *store, struct error **err) MUST_CHECK;

/* A reference in its parts: domain/path[:tag][@digest]. */
struct image_reference {
    char *domain, *path; /* "docker.io", "library/busybox" */
    char *tag;           /* "latest", or NULL */
    char *digest;        /* "sha256:…", or NULL */
};
/* Completes as Docker does: docker.io, library/, and, without a digest, :latest. */
int image_reference_parse(const char *text, struct image_reference *ret,
                          struct error **err) MUST_CHECK;
void image_reference_release(struct image_reference *reference);
#define OWN_IMAGE_REFERENCE CLEANUP(image_reference_release) struct image_reference
/* domain/path:tag@digest; caller frees. */
char *image_reference_text(const struct image_reference *reference, struct error **err) MUST_CHECK;
/* domain/path@digest: what a run is recorded with. */
char *image_pinned_name(const char *reference, const char *digest, struct error **err) MUST_CHECK;

/* -------------------------------------------------------------------- adding */

/* What is about to come in, for whoever decides on it. */
struct image_candidate {
    const char *reference;      /* normalized; NULL: it has no name */
    const char *digest;         /* NULL: not known yet, it is about to be asked for */
    const char *index, *signer; /* as in struct image */
    const json_t *indexes;      /* of one that is here; NULL: none but `index` */
};

struct image_options {
    const char *name; /* instead of the names that an archive gives; one image only */
    /* NULL: all is allowed. Asked before anything is unpacked; -1 with an error: not allowed. */
    int (*allow)(void *context, const struct image_candidate *candidate, struct error **err);
    /* NULL: silent. `total` 0: unknown. Called a few times a second at most. */
    void (*progress)(void *context, const char *what, uint64_t done, uint64_t total);
    void *context;
    uint64_t maximum;       /* bytes that an image may have, packed or unpacked; 0: 64 GiB */
    uint64_t maximum_files; /* and files and folders, unpacked; 0: a million */
    const char *into; /* image_load(): the folder for a bundle's pipelines; NULL: they stay out */
};

/* Loads all images of a file: a `docker save` archive, an OCI archive, a bundle of image_save()
 * (each also compressed by gzip, xz, zstd or bzip2), an OCI folder, or a Singularity file. An
 * image that brings no name is called localhost/FILE. *ret gets a list of {"reference", "digest",
 * "new"}, and of {"pipeline" (its name), "path", "parameters", "placed"} for what a bundle has
 * besides: `path` is below `into`, or, not placed, below the bundle. */
int image_load(struct image_store *store, const char *path, const struct image_options *options,
               json_t **ret, struct error **err) MUST_CHECK;

/* A file that a bundle has besides its images. */
struct image_extra {
    const char *name;   /* in the bundle: "pipelines/…", a safe relative path */
    const char *source; /* a file; or NULL: `text` */
    const char *text;
    size_t size;
};
/* Writes images (a list of references or digests) and files as one tar archive: an OCI archive,
 * which other programs read as well; `pipelines` (NULL: none), a list of {"pipeline", "path",
 * "parameters"}, and the digests of the files stand in its glovebox.json. */
int image_save(struct image_store *store, const json_t *images, const struct image_extra *extras,
               size_t extra_count, const json_t *pipelines, const char *path,
               const struct image_options *options, struct error **err) MUST_CHECK;

/* Where and how to ask for an image; all may be NULL. */
struct image_source {
    const char *credentials;  /* file of `skopeo login --authfile`, as Docker's config.json */
    const char *certificates; /* folder with *.crt of who may have signed the registry's, and *.cert
                                 and *.key to show it */
    bool insecure;            /* speak without TLS, or with whoever answers */
    const char *registry;     /* the domain that `mirrors` and `signatures` are of */
    const json_t *mirrors;    /* places that are asked first: "mirror.example.org/hub" */
    const char *signatures;   /* URL where its signatures lie */
    const json_t *keys; /* files of the keys that must all have signed the image: gpg's, or PEM
                           for sigstore's */
    const char *signer; /* what to record when they did */
};
/* Pulls an image from a registry: by skopeo, which verifies digests and signatures. The digest that
 * the registry knows is kept. *ret as of image_load(). */
int image_pull(struct image_store *store, const char *reference, const struct image_source *source,
               const struct image_options *options, json_t **ret, struct error **err) MUST_CHECK;

/* ------------------------------------------------------------------ upkeep */

/* Compares an image (NULL: all) with its digests: its blobs, and every file of its root with the
 * list made when it was unpacked. *ret gets [{"reference", "digest", "good", "problems":
 * [sentences], "problem_count", "repaired"}]. `repair`: what differs is unpacked anew from blobs
 * that are whole. */
int image_verify(struct image_store *store, const char *reference, bool repair,
                 const struct image_options *options, json_t **ret, struct error **err) MUST_CHECK;

struct image_gc_report {
    size_t images, names;
    uint64_t bytes; /* of blobs and roots */
};
/* Who says which images must stay: `list` gives their digests, or NULL with an error. It is asked
 * when nobody can be in image_store_keep() any more. */
struct image_needs {
    json_t *(*list)(const void *context, struct error **err);
    const void *context;
};
/* Removes a name, and the image when it has no other; a digest goes with all its names. ERROR_BUSY
 * when somebody needs the image. */
int image_remove(struct image_store *store, const char *reference, const struct image_needs *needs,
                 bool dry_run, struct image_gc_report *ret, struct error **err) MUST_CHECK;
/* Drops images that have no name and that nobody needs, and all that was left half-done. */
int image_gc(struct image_store *store, const struct image_needs *needs, bool dry_run,
             struct image_gc_report *ret, struct error **err) MUST_CHECK;

#endif
