/*
 * image — container images without a daemon: a store below a home's folder, its policy, and what
 * comes in and goes out.
 *
 * An image is known by the digest of its manifest, and is unpacked once, by umoci, into a root
 * folder that all tasks share and none may write. Names (references, tags) point to digests.
 * Formats: OCI image specification 1.0 (layout, manifest, configuration), `docker save` archives,
 * Singularity files. Programs that are run: skopeo, umoci, unsquashfs.
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
    char *root;      /* absolute path of the unpacked root folder; NULL: not unpacked yet */
    json_t *config;  /* the OCI image configuration, whole: {"architecture", "config": {"Env",
                        "Entrypoint", "Cmd", "User", "WorkingDir"…}} */
    uint64_t size;   /* bytes of its blobs */
    int64_t made;    /* wall ms when it came into the store */
};
void image_release(struct image *image); /* what it holds; all-zero is fine */

/* Opens the store of a home; `make`: makes it when it is missing. A store that was never made is
 * an empty one. */
int image_store_open(const char *home, bool make, struct image_store **ret,
                     struct error **err) MUST_CHECK;
void image_store_close(struct image_store *store); /* accepts NULL */

/* Finds an image by name (`busybox`, `registry.example.org/a/b:1.2`), by pinned name
 * (`a/b@sha256:…`), or by digest, as Docker completes names. 1: found, 0: not here, -1: error. */
int image_find(struct image_store *store, const char *reference, struct image *ret,
               struct error **err) MUST_CHECK;

#endif
