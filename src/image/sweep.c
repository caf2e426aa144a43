/* Taking away: what was left half-done, what belongs to no image, images that nobody wants. */
#include "private-image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int add_size(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                    struct error **err) {
    *(uint64_t *)context += (uint64_t)entry->status->st_blocks * 512;
    return 0;
}

/* ------------------------------------------------------------------- sweeping */

struct sweep {
    struct image_store *store;
    json_t *wanted; /* names that stay, as keys */
    const char *trash;
    bool dry_run;
    uint64_t bytes;
    size_t count;
};

/* Moved out of sight under the lock, removed later without it. */
static int sweep_entry(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                       struct error **err) {
    struct sweep *sweep = context;
    *verdict = TREE_SKIP;
    if (json_object_get(sweep->wanted, entry->name) ||
        (sweep->trash && text_equal(entry->name, path_base_name(sweep->trash))))
        return 0;
    if (!S_ISDIR(entry->status->st_mode))
        sweep->bytes += (uint64_t)entry->status->st_blocks * 512;
    else if (tree_walk(entry->directory, entry->name, add_size, &sweep->bytes, err) < 0)
        return -1;
    if (sweep->dry_run)
        return 0;
    OWN_STRING target = memory_format("%s/%zu", sweep->trash, sweep->count++);
    if (!target)
        return error_set_memory(err);
    return renameat(entry->directory, entry->name, sweep->store->directory, target) < 0
               ? error_set_errno(err, errno, "cannot take %s away", entry->name)
               : 0;
}

static int want(json_t *wanted, const char *name, struct error **err) {
    return json_object_set_new(wanted, name, json_true()) < 0 ? error_set_memory(err) : 0;
}

static int want_blobs(json_t *wanted, const char *digest, const json_t *record,
                      struct error **err) {
    const json_t *layer;
    size_t i;
    const char *config = json_get_string(record, "config", "");
    if (want(wanted, digest + 7, err) < 0 ||
        (digest_is_valid(config) && want(wanted, config + 7, err) < 0))
        return -1;
    json_array_foreach(json_object_get(record, "indexes"), i, layer) {
        const char *one = json_string_value(layer);
        if (digest_is_valid(one) && want(wanted, one + 7, err) < 0)
            return -1;
    }
    json_array_foreach(json_object_get(record, "layers"), i, layer) {
        const char *one = json_string_value(layer);
        if (digest_is_valid(one) && want(wanted, one + 7, err) < 0)
            return -1;
    }
    return 0;
}

static int sweep_folder(struct sweep *sweep, const char *folder, json_t *wanted,
                        struct error **err) {
    sweep->wanted = wanted;
    return tree_walk(sweep->store->directory, folder, sweep_entry, sweep, err);
}

static int sweep_all(struct sweep *sweep, struct error **err) {
    struct image_store *store = sweep->store;
    OWN_JSON blobs = json_object();
    OWN_JSON roots = json_object();
    OWN_JSON nothing = json_object();
    const char *digest;
    json_t *record;
    if (!blobs || !roots || !nothing)
        return error_set_memory(err);
    if (store_read(store, err) < 0)
        return -1;
    json_object_foreach(json_object_get(store->index, "images"), digest, record) {
        OWN_STRING root = root_folder(digest);
        if (!root)
            return error_set_memory(err);
        if (want(roots, path_base_name(root), err) < 0 ||
            want_blobs(blobs, digest, record, err) < 0)
            return -1;
    }
    if (sweep_folder(sweep, "tmp", nothing, err) < 0 ||
        sweep_folder(sweep, "roots", roots, err) < 0)
        return -1;
    return sweep_folder(sweep, "blobs/sha256", blobs, err);
}

int store_sweep(struct image_store *store, bool dry_run, uint64_t *ret_bytes, struct error **err) {
    OWN_WORK_FOLDER trash = {store, NULL}; /* removed at the end of the scope, after the lock */
    if (!dry_run && !(trash.path = store_make_folder(store, err)))
        return -1;
    struct sweep sweep = {.store = store, .trash = trash.path, .dry_run = dry_run};
    int bad = sweep_all(&sweep, err);
    store_unlock(store);
    if (ret_bytes)
        *ret_bytes = sweep.bytes;
    return bad;
}

/* ------------------------------------------------------------------- dropping */

struct dropping {
    struct image_store *store;
    const struct image_needs *needs;
    json_t *needed;     /* as it said */
    const char *digest; /* this one, or NULL: all that have no name */
    const char *name;   /* only this name of it; NULL: all */
    bool dry_run;
    struct image_gc_report *report;
};

static int drop_names(json_t *names, const struct dropping *dropping, bool *ret_left,
                      struct error **err) {
    const char *name;
    json_t *value;
    void *next;
    *ret_left = false;
    json_object_foreach_safe(names, next, name, value) {
        if (!text_equal(json_string_value(value), dropping->digest))
            continue;
        if (dropping->name && !text_equal(name, dropping->name)) {
            *ret_left = true;
            continue;
        }
        dropping->report->names++;
        if (!dropping->dry_run && json_object_del(names, name) < 0)
            return error_set_memory(err);
    }
    return 0;
}

static int refuse_if_used(const struct dropping *dropping, struct error **err) {
    if (!list_has(dropping->needed, dropping->digest))
        return 0;
    error_set(err, ERROR_BUSY, "image %.19s is in use by a run that is not over", dropping->digest);
    return error_hint(err, "wait until its runs are over, or cancel them; \"glovebox runs\" lists "
                           "them");
}

static int drop_one(json_t *index, void *context, struct error **err) {
    const struct dropping *dropping = context;
    bool left = false;
    if (drop_names(json_object_get(index, "names"), dropping, &left, err) < 0)
        return -1;
    if (left)
        return 0;
    if (refuse_if_used(dropping, err) < 0)
        return -1;
    dropping->report->images++;
    if (dropping->dry_run)
        return 0;
    return json_object_del(json_object_get(index, "images"), dropping->digest) < 0
               ? error_set_memory(err)
               : 0;
}

static bool has_name(const json_t *index, const char *digest) {
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(index, "names"), name, value) {
        if (text_equal(json_string_value(value), digest))
            return true;
    }
    return false;
}

static int drop_unnamed(json_t *index, void *context, struct error **err) {
    const struct dropping *dropping = context;
    json_t *images = json_object_get(index, "images"), *record;
    const char *digest;
    void *next;
    json_object_foreach_safe(images, next, digest, record) {
        if (has_name(index, digest) || list_has(dropping->needed, digest))
            continue;
        dropping->report->images++;
        if (json_object_del(images, digest) < 0)
            return error_set_memory(err);
    }
    return 0;
}

/* What would go away with the records: they are only forgotten in memory, and counted. */
static int count(struct dropping *dropping,
                 int (*change)(json_t *index, void *context, struct error **err),
                 struct error **err) {
    struct image_store *store = dropping->store;
    if (store_read(store, err) < 0 || change(store->index, dropping, err) < 0)
        return -1;
    if (dropping->digest && dropping->report->images &&
        json_object_del(json_object_get(store->index, "images"), dropping->digest) < 0)
        return error_set_memory(err);
    return 0;
}

static int drop(struct dropping *dropping,
                int (*change)(json_t *index, void *context, struct error **err),
                struct error **err) {
    struct image_store *store = dropping->store;
    if (store_lock(store, STORE_DROPPING, err) < 0)
        return -1;
    /* Under the lock: a run that is being made has been written down by now, or finds none. */
    OWN_JSON needed = dropping->needs->list(dropping->needs->context, err);
    dropping->needed = needed;
    int bad = !needed             ? -1
              : dropping->dry_run ? count(dropping, change, err)
                                  : store_change(store, change, dropping, err);
    if (!bad)
        bad = store_sweep(store, dropping->dry_run, &dropping->report->bytes, err);
    if (dropping->dry_run) {
        json_decref(store->index);
        store->index = NULL;
    }
    store_unlock(store);
    return bad;
}

int image_remove(struct image_store *store, const char *reference, const struct image_needs *needs,
                 bool dry_run, struct image_gc_report *ret, struct error **err) {
    const char *digest = NULL;
    OWN_STRING name = NULL;
    *ret = (struct image_gc_report){0};
    if (store_resolve(store, reference, &digest, &name, err) < 0)
        return -1;
    if (!digest)
        return store_not_there(reference, err);
    OWN_STRING kept = memory_copy_string(digest); /* the index is read anew */
    bool by_name = json_object_get(json_object_get(store->index, "names"), name) != NULL;
    if (!kept)
        return error_set_memory(err);
    struct dropping dropping = {store, needs, NULL, kept, by_name ? name : NULL, dry_run, ret};
    return drop(&dropping, drop_one, err);
}

int image_gc(struct image_store *store, const struct image_needs *needs, bool dry_run,
             struct image_gc_report *ret, struct error **err) {
    *ret = (struct image_gc_report){0};
    if (store->directory < 0)
        return 0;
    struct dropping dropping = {store, needs, NULL, NULL, NULL, dry_run, ret};
    return drop(&dropping, drop_unnamed, err);
}
