/* The store of images: its folder, its lock, its index, and finding in it. */
#include "private-image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#define INDEX_MAXIMUM  ((size_t)64 << 20)
#define DIGITS_MINIMUM 12

void image_release(struct image *image) {
    memory_free(image->reference);
    memory_free(image->digest);
    memory_free(image->root);
    memory_free(image->index);
    memory_free(image->signer);
    json_decref(image->indexes);
    json_decref(image->config);
    json_decref(image->names);
    json_decref(image->repositories);
    json_decref(image->signers);
    *image = (struct image){0};
}

/* ------------------------------------------------------------ open and close */

static int make_folders(struct image_store *store, struct error **err) {
    static const char *const folders[] = {"blobs/sha256", "roots", "tmp"};
    if (directory_make(AT_FDCWD, store->path, 0700, err) < 0)
        return -1;
    store->directory = file_open(AT_FDCWD, store->path, O_RDONLY | O_DIRECTORY, 0, err);
    if (store->directory < 0)
        return -1;
    /* roots have programs of others: nobody else on this machine is to reach them */
    if (fchmod(store->directory, 0700) < 0)
        return error_set_errno(err, errno, "cannot close %s to others", store->path);
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
        if (directory_make(store->directory, folders[i], 0700, err) < 0)
            return -1;
    store->lock = file_open(store->directory, "lock", O_RDWR | O_CREAT, 0600, err);
    return store->lock < 0 ? -1 : 0;
}

static int open_at(struct image_store *store, const char *home, bool make, struct error **err) {
    if (make && directory_make(AT_FDCWD, home, 0700, err) < 0)
        return -1;
    if (!make && !file_exists(AT_FDCWD, home))
        return 0;
    OWN_STRING folder = path_resolve(home, err);
    if (!folder)
        return -1;
    store->path = path_join(folder, "images");
    if (!store->path)
        return error_set_memory(err);
    if (make) {
        if (make_folders(store, err) < 0)
            return -1;
        return store_lock(store, STORE_DROPPING, NULL) == 0 ? store_sweep(store, false, NULL, err)
                                                            : 0;
    }
    if (!file_exists(AT_FDCWD, store->path))
        return 0;
    store->directory = file_open(AT_FDCWD, store->path, O_RDONLY | O_DIRECTORY, 0, err);
    if (store->directory < 0)
        return -1;
    /* only to look, in a home that may not be ours to write */
    store->lock = file_open(store->directory, "lock", O_RDWR, 0, NULL);
    return 0;
}

int image_store_open(const char *home, bool make, struct image_store **ret, struct error **err) {
    OWN_IMAGE_STORE store = memory_allocate(sizeof(*store));
    if (!store)
        return error_set_memory(err);
    store->directory = store->lock = -1;
    if (open_at(store, home, make, err) < 0)
        return error_wrap(err, "images of %s", home);
    store_unlock(store);
    *ret = take(&store);
    return 0;
}

void image_store_close(struct image_store *store) {
    if (!store)
        return;
    file_close(&store->lock);
    file_close(&store->directory);
    json_decref(store->index);
    memory_free(store->path);
    memory_free(store);
}

void image_store_cleanup(struct image_store **store) {
    image_store_close(*store);
    *store = NULL;
}

/* ---------------------------------------------------------------------- lock */

static int lock_file(int fd, int how, struct error **err) {
    while (flock(fd, how) < 0) {
        if (errno == EINTR)
            continue;
        if (errno != EWOULDBLOCK)
            return error_set_errno(err, errno, "cannot lock the store of images");
        error_set(err, ERROR_BUSY, "images are just being added or dropped by another command");
        return error_hint(err, "try again when it has ended");
    }
    return 0;
}

int store_lock(struct image_store *store, enum store_lock how, struct error **err) {
    if (store->lock < 0) {
        error_set(err, ERROR_NOT_FOUND, "this home has no images");
        return error_hint(err, "\"glovebox image load\" and \"glovebox image pull\" bring some");
    }
    return lock_file(store->lock, how == STORE_ADDING ? LOCK_SH : LOCK_EX | LOCK_NB, err);
}

int image_store_keep(struct image_store *store, struct error **err) {
    return store->lock < 0 ? 0 : store_lock(store, STORE_ADDING, err);
}

void store_unlock(struct image_store *store) {
    if (store->lock >= 0)
        (void)flock(store->lock, LOCK_UN);
}

/* --------------------------------------------------------------------- index */

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_dev == b->st_dev &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static json_t *index_parts(json_t *index) {
    bool good = json_get_integer(index, "version", 0) == 1 &&
                json_is_object(json_object_get(index, "images")) &&
                json_is_object(json_object_get(index, "names"));
    return good ? index : NULL;
}

int store_read(struct image_store *store, struct error **err) {
    struct stat status = {0};
    if (store->directory < 0 || fstatat(store->directory, "index.json", &status, 0) < 0) {
        if (store->directory >= 0 && errno != ENOENT)
            return error_set_errno(err, errno, "cannot look at %s/index.json", store->path);
        json_decref(store->index);
        store->index = json_pack("{s:i, s:{}, s:{}}", "version", 1, "images", "names");
        store->index_status = (struct stat){0};
        return store->index ? 0 : error_set_memory(err);
    }
    if (store->index && same_file(&status, &store->index_status))
        return 0;
    json_t *index = json_read_file(store->directory, "index.json", INDEX_MAXIMUM, err);
    if (!index)
        return error_wrap(err, "%s", store->path);
    if (!index_parts(index)) {
        json_decref(index);
        error_set(err, ERROR_CORRUPT, "%s/index.json is not what this version writes", store->path);
        return error_hint(err, "a newer glovebox may have written it; else restore it from a copy, "
                               "or remove it and load the images again");
    }
    json_decref(store->index);
    store->index = index;
    store->index_status = status;
    return 0;
}

json_t *store_record(const json_t *index, const char *digest) {
    return json_object_get(json_object_get(index, "images"), digest);
}

static int write_index(struct image_store *store, struct error **err) {
    OWN_STRING text = json_text(store->index, JSON_SORT_KEYS | JSON_INDENT(1), err);
    if (!text)
        return -1;
    if (syncfs(store->directory) < 0)
        return error_set_errno(err, errno, "cannot bring images to the disk");
    return file_write_atomic(store->directory, "index.json", text, strlen(text), 0600, err);
}

int store_change(struct image_store *store,
                 int (*change)(json_t *index, void *context, struct error **err), void *context,
                 struct error **err) {
    OWN_FD lock = file_open(store->directory, "index.lock", O_RDWR | O_CREAT, 0600, err);
    if (lock < 0 || lock_file(lock, LOCK_EX, err) < 0 || store_read(store, err) < 0)
        return -1;
    int bad = change(store->index, context, err);
    bad = bad ? bad : write_index(store, err);
    if (bad) { /* what is in memory is not what is there */
        json_decref(store->index);
        store->index = NULL;
    }
    return bad;
}

/* ------------------------------------------------------------------- sweeping */

char *store_make_folder(struct image_store *store, struct error **err) {
    uint8_t bytes[8];
    char name[17];
    if (random_bytes(bytes, sizeof(bytes), err) < 0)
        return NULL;
    hex_encode(bytes, sizeof(bytes), name);
    OWN_STRING path = memory_format("tmp/%s", name);
    if (!path) {
        error_set_memory(err);
        return NULL;
    }
    return directory_make(store->directory, path, 0700, err) < 0 ? NULL : take(&path);
}

void work_folder_release(struct work_folder *folder) {
    if (folder->path)
        if (tree_remove(folder->store->directory, folder->path, NULL) < 0)
            log_message(LOG_INFO, "a temporary folder of images stays until the next sweep");
    memory_free(folder->path);
    folder->path = NULL;
}

/* ------------------------------------------------------------------- finding */

bool list_has(const json_t *list, const char *text) {
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item) {
        if (text_equal(json_string_value(item), text))
            return true;
    }
    return false;
}

/* The image with this digest, or chosen from an index with it, that came as `repository`. */
static const char *find_pinned(const json_t *index, const char *repository, const char *wanted) {
    const char *digest;
    json_t *record;
    json_object_foreach(json_object_get(index, "images"), digest, record) {
        if (!text_equal(digest, wanted) && !list_has(json_object_get(record, "indexes"), wanted))
            continue;
        if (list_has(json_object_get(record, "repositories"), repository))
            return digest;
    }
    return NULL;
}

/* "sha256:" and some digits: *ret stays NULL when there is none. */
static int find_beginning(const json_t *index, const char *beginning, const char **ret,
                          struct error **err) {
    const char *digest;
    json_t *record;
    json_object_foreach(json_object_get(index, "images"), digest, record) {
        if (!text_starts_with(digest, beginning))
            continue;
        if (*ret) {
            error_set(err, ERROR_INVALID, "several images have a digest that begins with %s",
                      beginning);
            return error_hint(err, "say more of its digits");
        }
        *ret = digest;
    }
    return 0;
}

bool image_is_digest(const char *text) {
    return strncmp(text, "sha256:", 7) == 0 && strlen(text) >= 7 + DIGITS_MINIMUM &&
           strspn(text + 7, "0123456789abcdef") == strlen(text + 7);
}

const char *image_signer(const json_t *signers, const char *name) {
    const char *repository;
    json_t *signer;
    json_object_foreach((json_t *)(uintptr_t)signers, repository, signer) {
        size_t size = strlen(repository);
        if (strncmp(name, repository, size) == 0 && strchr(":@", name[size]))
            return json_string_value(signer); /* strchr() finds the end as well */
    }
    return NULL;
}

static json_t *copy_or(const json_t *value, json_t *fallback) {
    if (!value)
        return fallback;
    json_decref(fallback);
    return json_deep_copy(value);
}

/* All that the image is called, and by whom each was signed. */
static int describe_names(const struct image_store *store, const json_t *record, struct image *ret,
                          struct error **err) {
    const char *name;
    json_t *digest;
    ret->names = json_array();
    ret->repositories = copy_or(json_object_get(record, "repositories"), json_array());
    ret->signers = copy_or(json_object_get(record, "signers"), json_object());
    if (!ret->names || !ret->repositories || !ret->signers)
        return error_set_memory(err);
    json_object_foreach(json_object_get(store->index, "names"), name, digest) {
        if (text_equal(json_string_value(digest), ret->digest) &&
            json_array_append_new(ret->names, json_string(name)) < 0)
            return error_set_memory(err);
    }
    return 0;
}

/* What the image is, by `digest` of the index; a root that is gone makes it unusable. */
static int describe(struct image_store *store, const char *digest, struct image *ret,
                    struct error **err) {
    const json_t *record = store_record(store->index, digest);
    OWN_STRING folder = root_folder(digest);
    OWN_STRING root = folder ? memory_format("%s/%s/rootfs", store->path, folder) : NULL;
    const char *config = json_get_string(record, "config", "");
    OWN_STRING blob = memory_format("blobs/sha256/%s", strlen(config) > 7 ? config + 7 : "");
    if (!root || !blob)
        return error_set_memory(err);
    if (!file_exists(AT_FDCWD, root)) {
        error_set(err, ERROR_CORRUPT, "the unpacked files of image %s are gone", digest);
        return error_hint(err, "\"glovebox image verify --repair\" unpacks them again");
    }
    ret->config = json_read_file(store->directory, blob, IMAGE_DOCUMENT_MAXIMUM, err);
    if (!ret->config)
        return error_wrap(err, "image %s", digest);
    ret->digest = memory_copy_string(digest);
    ret->root = take(&root);
    ret->size = (uint64_t)json_get_integer(record, "size", 0);
    ret->made = json_get_integer(record, "made", 0);
    ret->indexes = json_incref(json_object_get(record, "indexes"));
    ret->index = memory_copy_string(
        json_string_value(json_array_get(json_object_get(record, "indexes"),
                                         json_array_size(json_object_get(record, "indexes")) - 1)));
    return ret->digest ? describe_names(store, record, ret, err) : error_set_memory(err);
}

/* The digest of what a name means now; *ret stays NULL when it means nothing here. `ret_name` gets
 * the name, completed. */
int store_resolve(struct image_store *store, const char *reference, const char **ret,
                  char **ret_name, struct error **err) {
    if (store_read(store, err) < 0)
        return -1;
    if (image_is_digest(reference)) {
        if (find_beginning(store->index, reference, ret, err) < 0)
            return -1;
        const json_t *record = *ret ? store_record(store->index, *ret) : NULL;
        const json_t *first = json_array_get(json_object_get(record, "repositories"), 0);
        *ret_name = *ret ? memory_format("%s@%s", json_string_value(first), *ret)
                         : memory_copy_string(reference);
        return *ret_name ? 0 : error_set_memory(err);
    }
    OWN_IMAGE_REFERENCE parts = {0};
    if (image_reference_parse(reference, &parts, err) < 0)
        return -1;
    OWN_STRING name = image_reference_text(&parts, err);
    OWN_STRING repository = name ? memory_format("%s/%s", parts.domain, parts.path) : NULL;
    if (!repository)
        return name ? error_set_memory(err) : -1;
    *ret = parts.digest ? find_pinned(store->index, repository, parts.digest)
                        : json_get_string(json_object_get(store->index, "names"), name, NULL);
    *ret_name = take(&name);
    return 0;
}

int image_find(struct image_store *store, const char *reference, struct image *ret,
               struct error **err) {
    const char *digest = NULL;
    OWN_STRING name = NULL;
    OWN_IMAGE image = {0};
    if (store_resolve(store, reference, &digest, &name, err) < 0)
        return -1;
    if (!digest || !store_record(store->index, digest))
        return 0;
    if (describe(store, digest, &image, err) < 0)
        return -1;
    image.signer = memory_copy_string(image_signer(image.signers, name));
    image.reference = take(&name);
    *ret = image;
    image = (struct image){0};
    return 1;
}

int store_not_there(const char *what, struct error **err) {
    OWN_BUFFER shown = {0};
    text_append_printable(&shown, what);
    error_set(err, ERROR_NOT_FOUND, "there is no image \"%.300s\" here", buffer_text(&shown));
    return error_hint(err, "\"glovebox image list\" lists those that are; \"glovebox image pull\" "
                           "and \"glovebox image load\" bring others");
}
