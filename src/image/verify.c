/* Comparing what is in the store with what came in. */
#include "private-image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROBLEMS_MAXIMUM 100 /* that are told, of each image */

struct verification {
    struct image_store *store;
    const struct image_options *options;
    json_t *problems;
    int64_t problem_count;
    uint64_t done;
    bool blobs_are_good;
    uid_t owner;    /* of the store, and of all that is unpacked in it */
    size_t foreign; /* files of others */
    /* the list, read beside the walk */
    FILE *list;
    char *line; /* of the list, not yet met; NULL: at its end */
    size_t capacity;
    struct buffer found;
};

static int add_problem(struct verification *verification, struct error **err, const char *format,
                       ...) PRINTF_LIKE(3, 4);
static int add_problem(struct verification *verification, struct error **err, const char *format,
                       ...) {
    if (++verification->problem_count > PROBLEMS_MAXIMUM)
        return 0;
    OWN_BUFFER text = {0};
    va_list list;
    va_start(list, format);
    buffer_format_list(&text, format, list);
    va_end(list);
    if (buffer_check(&text, err) < 0)
        return -1;
    return json_array_append_new(verification->problems, json_string(buffer_text(&text))) < 0
               ? error_set_memory(err)
               : 0;
}

/* ---------------------------------------------------------------------- blobs */

static int check_blob(struct verification *verification, const char *digest, struct error **err) {
    uint8_t hash[SHA256_SIZE];
    char found[IMAGE_DIGEST_SIZE] = "sha256:";
    uint64_t size = 0;
    OWN_STRING path = memory_format("blobs/sha256/%s", digest_is_valid(digest) ? digest + 7 : "?");
    if (!path)
        return error_set_memory(err);
    bool there = file_exists(verification->store->directory, path);
    bool good = there && sha256_file(verification->store->directory, path, hash, &size, NULL) == 0;
    if (good)
        hex_encode(hash, sizeof(hash), found + 7);
    verification->done += size;
    if (verification->options->progress)
        verification->options->progress(verification->options->context, "verified",
                                        verification->done, 0);
    if (good && text_equal(found, digest))
        return 0;
    verification->blobs_are_good = false;
    return there ? add_problem(verification, err, "the blob %.80s is damaged", digest)
                 : add_problem(verification, err, "the blob %.80s is missing", digest);
}

static int check_blobs(struct verification *verification, const char *digest, struct error **err) {
    verification->blobs_are_good = true;
    OWN_STRING path = memory_format("blobs/sha256/%s", digest + 7);
    if (!path)
        return error_set_memory(err);
    if (check_blob(verification, digest, err) < 0)
        return -1;
    if (!verification->blobs_are_good)
        return 0;
    OWN_JSON manifest =
        json_read_file(verification->store->directory, path, IMAGE_DOCUMENT_MAXIMUM, err);
    if (!manifest || manifest_check(manifest, err) < 0)
        return -1;
    const json_t *layers = json_object_get(manifest, "layers"), *layer;
    size_t i;
    json_array_foreach(layers, i, layer) {
        if (check_blob(verification, json_get_string(layer, "digest", ""), err) < 0)
            return -1;
    }
    return check_blob(verification,
                      json_get_string(json_object_get(manifest, "config"), "digest", ""), err);
}

/* ----------------------------------------------------------------------- root */

static int next_line(struct verification *verification, struct error **err) {
    errno = 0;
    ssize_t size = verification->line || !feof(verification->list)
                       ? getline(&verification->line, &verification->capacity, verification->list)
                       : -1;
    if (size < 0) {
        if (ferror(verification->list))
            return error_set_errno(err, errno ? errno : EIO, "cannot read the list of its files");
        free(verification->line);
        verification->line = NULL;
        return 0;
    }
    if (size && verification->line[size - 1] == '\n')
        verification->line[size - 1] = '\0';
    return 0;
}

/* The path is the last word of a line. */
static const char *path_of(const char *line) {
    const char *blank = strrchr(line, ' ');
    return blank ? blank + 1 : line;
}

/* In the order of a walk: byte order of names, so '/' is the smallest. */
static int compare_paths(const char *a, const char *b) {
    while (*a && *a == *b) {
        a++;
        b++;
    }
    int left = *a == '/' ? 1 : (unsigned char)*a, right = *b == '/' ? 1 : (unsigned char)*b;
    return left - right;
}

/* Which word of two lines of one path differs first. */
static const char *difference(const char *a, const char *b) {
    static const char *const texts[] = {"is of another kind", "has another mode",
                                        "has another owner",  "has another group",
                                        "has another size",   "has another content"};
    size_t word = 0;
    for (; *a && *a == *b; a++, b++)
        word += *a == ' ';
    return texts[word < ARRAY_SIZE(texts) ? word : ARRAY_SIZE(texts) - 1];
}

/* Paths of the list that the walk passed by are missing. */
static int pass(struct verification *verification, const char *until, struct error **err) {
    while (verification->line &&
           (!until || compare_paths(path_of(verification->line), until) < 0)) {
        if (add_problem(verification, err, "%s is missing", path_of(verification->line)) < 0 ||
            next_line(verification, err) < 0)
            return -1;
    }
    return 0;
}

static int visit(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                 struct error **err) {
    struct verification *verification = context;
    if (root_line(entry, &verification->found, err) < 0)
        return -1;
    verification->foreign += entry->status->st_uid != verification->owner;
    verification->done += S_ISREG(entry->status->st_mode) ? (uint64_t)entry->status->st_size : 0;
    if (verification->options->progress)
        verification->options->progress(verification->options->context, "verified",
                                        verification->done, 0);
    const char *line = buffer_text(&verification->found), *path = path_of(line);
    if (pass(verification, path, err) < 0)
        return -1;
    if (!verification->line || !text_equal(path_of(verification->line), path))
        return add_problem(verification, err, "%s was not in the image", path);
    if (!text_equal(verification->line, line) &&
        add_problem(verification, err, "%s %s", path, difference(verification->line, line)) < 0)
        return -1;
    return next_line(verification, err);
}

/* A task cannot read, or not write, what is not its owner's. */
static int tell_foreign(struct verification *verification, struct error **err) {
    size_t count = verification->foreign;
    if (!count)
        return 0;
    return add_problem(verification, err,
                       "%zu of its files %s not of the owner of this home, as an older version "
                       "unpacked it: `glovebox image verify --repair`, or remove and load it anew",
                       count, count == 1 ? "is" : "are");
}

static int check_root(struct verification *verification, const char *digest, struct error **err) {
    struct image_store *store = verification->store;
    OWN_STRING folder = root_folder(digest);
    OWN_STRING rootfs = folder ? path_join(folder, "rootfs") : NULL;
    OWN_STRING list = folder ? path_join(folder, "list") : NULL;
    if (!rootfs || !list)
        return error_set_memory(err);
    if (!file_exists(store->directory, rootfs) || !file_exists(store->directory, list))
        return add_problem(verification, err, "%s is gone", folder);
    int fd = file_open(store->directory, list, O_RDONLY, 0, err);
    if (fd < 0)
        return -1;
    verification->list = fdopen(fd, "r");
    if (!verification->list) {
        file_close(&fd);
        return error_set_memory(err);
    }
    struct stat status;
    if (fstat(store->directory, &status) == 0)
        verification->owner = status.st_uid;
    int bad = next_line(verification, err);
    bad = bad ? bad : tree_walk(store->directory, rootfs, visit, verification, err);
    bad = bad ? bad : pass(verification, NULL, err);
    bad = bad ? bad : tell_foreign(verification, err);
    free(verification->line);
    verification->line = NULL;
    (void)fclose(verification->list);
    buffer_release(&verification->found);
    return bad;
}

/* -------------------------------------------------------------------- repairing */

static int unpack_anew(struct verification *verification, const char *digest, struct error **err) {
    struct image_store *store = verification->store;
    struct staging staging CLEANUP(staging_release) = {0};
    OWN_WORK_FOLDER old = {store, NULL};
    OWN_STRING folder = root_folder(digest);
    if (!folder || staging_begin(&staging, store, verification->options, err) < 0)
        return folder ? -1 : error_set_memory(err);
    OWN_JSON manifest = staging_json(&staging, digest, err);
    if (!manifest || !(old.path = store_make_folder(store, err)))
        return -1;
    OWN_STRING aside = path_join(old.path, "root");
    if (!aside)
        return error_set_memory(err);
    if (renameat(store->directory, folder, store->directory, aside) < 0 && errno != ENOENT)
        return error_set_errno(err, errno, "cannot put the damaged files aside");
    if (root_unpack(&staging, digest, manifest, err) == 0)
        return 0;
    (void)renameat(store->directory, aside, store->directory, folder);
    return -1;
}

/* 1: repaired, 0: it could not be. */
static int repair(struct verification *verification, const char *digest, struct error **err) {
    if (!verification->blobs_are_good)
        return 0;
    return unpack_anew(verification, digest, err) < 0 ? -1 : 1;
}

static int verify_one(struct image_store *store, const char *reference, const char *digest,
                      bool mend, const struct image_options *options, json_t *list,
                      struct error **err) {
    OWN_JSON problems = json_array();
    struct verification verification = {.store = store, .options = options, .problems = problems};
    if (!problems)
        return error_set_memory(err);
    if (check_blobs(&verification, digest, err) < 0 || check_root(&verification, digest, err) < 0)
        return error_wrap(err, "image %.19s", digest);
    int repaired = 0;
    if (mend && verification.problem_count)
        repaired = repair(&verification, digest, err);
    if (repaired < 0)
        return -1;
    json_t *one =
        json_pack("{s:s?, s:s, s:b, s:O, s:I, s:b}", "reference", reference, "digest", digest,
                  "good", verification.problem_count == 0, "problems", problems, "problem_count",
                  (json_int_t)verification.problem_count, "repaired", repaired);
    return json_array_append_new(list, one) < 0 ? error_set_memory(err) : 0;
}

static int verify_all(struct image_store *store, const char *reference, bool mend,
                      const struct image_options *options, json_t *list, struct error **err) {
    if (reference) {
        const char *digest = NULL;
        OWN_STRING name = NULL;
        if (store_resolve(store, reference, &digest, &name, err) < 0)
            return -1;
        if (!digest)
            return store_not_there(reference, err);
        return verify_one(store, name, digest, mend, options, list, err);
    }
    OWN_JSON images = image_list(store, err);
    OWN_JSON seen = json_object();
    size_t i;
    const json_t *one;
    if (!images || !seen)
        return images ? error_set_memory(err) : -1;
    json_array_foreach(images, i, one) {
        const char *digest = json_get_string(one, "digest", "");
        if (json_object_get(seen, digest))
            continue;
        if (json_object_set_new(seen, digest, json_true()) < 0)
            return error_set_memory(err);
        if (verify_one(store, json_get_string(one, "reference", NULL), digest, mend, options, list,
                       err) < 0)
            return -1;
    }
    return 0;
}

int image_verify(struct image_store *store, const char *reference, bool mend,
                 const struct image_options *options, json_t **ret, struct error **err) {
    OWN_JSON list = json_array();
    if (!list)
        return error_set_memory(err);
    bool locked = store->lock >= 0;
    if (locked && store_lock(store, mend ? STORE_DROPPING : STORE_ADDING, err) < 0)
        return -1;
    int bad = verify_all(store, reference, mend, options, list, err);
    store_unlock(store);
    if (!bad)
        *ret = take(&list);
    return bad;
}
