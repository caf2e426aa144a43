/* Images become root folders: umoci and unsquashfs unpack, we bound, clean and list what they
 * leave. */
#include "private-image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

char *root_folder(const char *digest) {
    return memory_format("roots/sha256-%s", digest + 7);
}

/* ------------------------------------------------------------------ bounding */

struct guard {
    struct staging *staging;
    const char *folder; /* relative to the store */
    struct statvfs first;
    uint64_t checked_bytes, checked_files; /* what had gone when the folder was looked at */
    int64_t next_look;                     /* where the file system does not count files */
};

struct count {
    uint64_t size, files;
};

static int count_entry(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                       struct error **err) {
    struct count *count = context;
    count->size += (uint64_t)entry->status->st_blocks * 512;
    count->files++;
    return 0;
}

static bool may_be_too_much(uint64_t used, uint64_t maximum, uint64_t *checked) {
    if (used < maximum || used < *checked + maximum / 16)
        return false;
    *checked = used;
    return true;
}

static int look(struct guard *guard, struct error **err) {
    struct staging *staging = guard->staging;
    struct count count = {0};
    int64_t begin = clock_monotonic();
    /* it grows while we look: what vanishes or is closed to us is looked at in the end */
    if (tree_walk(staging->store->directory, guard->folder, count_entry, &count, NULL) < 0)
        log_message(LOG_DEBUG, "an image that is being unpacked could be counted in part only");
    int64_t now = clock_monotonic();
    guard->next_look = now + 10 * (now - begin);
    if (count.files > staging_maximum_files(staging))
        return staging_too_many(staging, err);
    return count.size > staging_maximum(staging) ? staging_too_large(staging, err) : 0;
}

/* The space and the files that went are a cheap hint, others write too; only when it could be too
 * much is the folder looked at. Some file systems, as btrfs, count no files: there it is looked at
 * now and then. */
static int watch(void *context, struct error **err) {
    struct guard *guard = context;
    struct staging *staging = guard->staging;
    const struct statvfs *first = &guard->first;
    struct statvfs now = *first;
    (void)fstatvfs(staging->store->directory, &now);
    uint64_t bytes = now.f_bfree < first->f_bfree
                         ? (uint64_t)(first->f_bfree - now.f_bfree) * first->f_frsize
                         : 0;
    uint64_t files = now.f_ffree < first->f_ffree ? first->f_ffree - now.f_ffree : 0;
    if (staging->options->progress)
        staging->options->progress(staging->options->context, "unpacking", bytes, 0);
    bool wanted = first->f_files == 0 && clock_monotonic() >= guard->next_look;
    wanted |= may_be_too_much(bytes, staging_maximum(staging), &guard->checked_bytes);
    wanted |= may_be_too_much(files, staging_maximum_files(staging), &guard->checked_files);
    return wanted ? look(guard, err) : 0;
}

/* ------------------------------------------------------------------ unpacking */

/* Layers as umoci takes them: plain or gzip'ed, by OCI's names. */
static json_t *convert_layer(struct staging *staging, const json_t *layer, const char *blobs,
                             struct error **err) {
    enum packing packing;
    uint64_t size = 0;
    const char *digest = json_get_string(layer, "digest", "");
    OWN_STRING kept = memory_format("blobs/sha256/%s", digest + 7);
    OWN_STRING linked = memory_format("%s/%s", blobs, digest + 7);
    char unpacked[IMAGE_DIGEST_SIZE];
    int directory = staging->store->directory;
    if (!kept || !linked) {
        error_set_memory(err);
        return NULL;
    }
    if (staging_look(staging, digest, &packing, &size, err) < 0)
        return NULL;
    if (packing != PACKING_NONE && packing != PACKING_GZIP) {
        if (staging_unpack_blob(staging, kept, unpacked, &size, err) < 0)
            return NULL;
        OWN_STRING from = staging_path(staging, unpacked, err);
        memory_free(linked);
        linked = memory_format("%s/%s", blobs, unpacked + 7);
        if (!from || !linked || renameat(directory, from, directory, linked) < 0) {
            error_set_errno(err, errno, "cannot keep an unpacked layer");
            return NULL;
        }
        digest = unpacked;
        packing = PACKING_NONE;
    } else if (linkat(directory, kept, directory, linked, 0) < 0 && errno != EEXIST) {
        error_set_errno(err, errno, "cannot link a layer");
        return NULL;
    }
    json_t *made = json_pack("{s:s+, s:s, s:I}", "mediaType", MEDIA_LAYER,
                             packing == PACKING_GZIP ? "+gzip" : "", "digest", digest, "size",
                             (json_int_t)size);
    if (!made)
        error_set_memory(err);
    return made;
}

static int write_text(int directory, const char *folder, const char *name, const char *text,
                      struct error **err) {
    OWN_STRING path = path_join(folder, name);
    OWN_FD fd = path ? file_open(directory, path, O_WRONLY | O_CREAT | O_TRUNC, 0600, err)
                     : error_set_memory(err);
    return fd < 0 ? -1 : file_write_all(fd, text, strlen(text), err);
}

static int write_json(int directory, const char *folder, const char *name, const json_t *json,
                      char digest[IMAGE_DIGEST_SIZE], int64_t *ret_size, struct error **err) {
    uint8_t hash[SHA256_SIZE];
    OWN_STRING text = json ? json_canonical(json, err) : NULL;
    if (!text)
        return json ? -1 : error_set_memory(err);
    sha256_of(text, strlen(text), hash);
    memcpy(digest, "sha256:", 7);
    hex_encode(hash, sizeof(hash), digest + 7);
    *ret_size = (int64_t)strlen(text);
    return write_text(directory, folder, name ? name : digest + 7, text, err);
}

/* A layout of this one image, whose layers are links to the store's. */
static int make_layout(struct staging *staging, const char *work, const json_t *manifest,
                       struct error **err) {
    int directory = staging->store->directory;
    OWN_STRING layout = path_join(work, "layout");
    OWN_STRING blobs = path_join(work, "layout/blobs/sha256");
    OWN_JSON layers = json_array();
    if (!layout || !blobs || !layers)
        return error_set_memory(err);
    if (directory_make(directory, blobs, 0700, err) < 0)
        return -1;
    size_t i;
    const json_t *layer;
    json_array_foreach(json_object_get(manifest, "layers"), i, layer) {
        json_t *converted = convert_layer(staging, layer, blobs, err);
        if (!converted)
            return -1;
        if (json_array_append_new(layers, converted) < 0)
            return error_set_memory(err);
    }
    const json_t *described = json_object_get(manifest, "config");
    const char *config_digest = json_get_string(described, "digest", "");
    OWN_JSON config = staging_json(staging, config_digest, err);
    char digest[IMAGE_DIGEST_SIZE];
    int64_t size = 0;
    if (!config || write_json(directory, blobs, NULL, config, digest, &size, err) < 0)
        return -1;
    OWN_JSON whole = json_pack("{s:i, s:s, s:{s:s, s:s, s:I}, s:O}", "schemaVersion", 2,
                               "mediaType", MEDIA_MANIFEST, "config", "mediaType", MEDIA_CONFIG,
                               "digest", digest, "size", (json_int_t)size, "layers", layers);
    if (write_json(directory, blobs, NULL, whole, digest, &size, err) < 0)
        return -1;
    OWN_JSON index = json_pack("{s:i, s:[{s:s, s:s, s:I, s:{s:s}}]}", "schemaVersion", 2,
                               "manifests", "mediaType", MEDIA_MANIFEST, "digest", digest, "size",
                               (json_int_t)size, "annotations", ANNOTATION_NAME, "image");
    if (write_json(directory, layout, "index.json", index, digest, &size, err) < 0)
        return -1;
    return write_text(directory, layout, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}", err);
}

static int run_unpacker(struct staging *staging, const char *work, const char *const *argv,
                        const char *package, struct error **err) {
    struct image_store *store = staging->store;
    OWN_STRING folder = path_join(store->path, work);
    OWN_STRING rootfs = path_join(work, "root/rootfs");
    if (!folder || !rootfs)
        return error_set_memory(err);
    struct guard guard = {.staging = staging, .folder = rootfs};
    if (fstatvfs(store->directory, &guard.first) < 0)
        return error_set_errno(err, errno, "cannot see how much space is left");
    struct program program = {.argv = argv,
                              .package = package,
                              .directory = folder,
                              .input = store->lock,
                              .watch = watch,
                              .context = &guard};
    return program_run(&program, err);
}

static int unpack_layers(struct staging *staging, const char *work, const json_t *manifest,
                         struct error **err) {
    OWN_STRING umoci = program_find("umoci", "umoci", err);
    if (!umoci || make_layout(staging, work, manifest, err) < 0)
        return -1;
    const char *argv[] = {umoci,          "raw",         "unpack", "--image",
                          "layout:image", "root/rootfs", NULL,     NULL};
    if (geteuid() != 0) {
        argv[5] = "--rootless";
        argv[6] = "root/rootfs";
    }
    return run_unpacker(staging, work, argv, "umoci", err);
}

/* A Singularity file's file system. */
static int unpack_squashfs(struct staging *staging, const char *work, const json_t *manifest,
                           struct error **err) {
    const json_t *layer = json_array_get(json_object_get(manifest, "layers"), 0);
    OWN_STRING program = program_find("unsquashfs", "squashfs-tools", err);
    OWN_STRING blob =
        memory_format("../../blobs/sha256/%s", json_get_string(layer, "digest", "sha256:") + 7);
    if (!program || !blob)
        return program ? error_set_memory(err) : -1;
    const char *argv[] = {program,       "-no-progress", "-no-xattrs", "-dest",
                          "root/rootfs", blob,           NULL};
    return run_unpacker(staging, work, argv, "squashfs-tools", err);
}

static bool is_squashfs(const json_t *manifest) {
    const json_t *layers = json_object_get(manifest, "layers");
    return json_array_size(layers) == 1 &&
           text_equal(json_get_string(json_array_get(layers, 0), "mediaType", ""), MEDIA_SQUASHFS);
}

int root_unpack(struct staging *staging, const char *digest, const json_t *manifest,
                struct error **err) {
    int directory = staging->store->directory;
    OWN_STRING target = root_folder(digest);
    OWN_WORK_FOLDER work = {staging->store, NULL};
    if (!target)
        return error_set_memory(err);
    if (file_exists(directory, target))
        return 0;
    work.path = store_make_folder(staging->store, err);
    OWN_STRING root = work.path ? path_join(work.path, "root") : NULL;
    if (!root)
        return work.path ? error_set_memory(err) : -1;
    if (directory_make(directory, root, 0700, err) < 0)
        return -1;
    int bad = is_squashfs(manifest) ? unpack_squashfs(staging, work.path, manifest, err)
                                    : unpack_layers(staging, work.path, manifest, err);
    if (bad < 0) {
        if (err && *err && !(*err)->hint)
            error_hint(err, "its layers may be damaged: copy, save or pull it anew");
        return error_wrap(err, "cannot unpack image %.19s", digest);
    }
    if (root_list(staging, root, err) < 0)
        return error_wrap(err, "image %.19s", digest);
    if (renameat2(directory, root, directory, target, RENAME_NOREPLACE) < 0 && errno != EEXIST)
        return error_set_errno(err, errno, "cannot keep the unpacked image");
    return 0; /* there already: another command was faster */
}
