/* Bringing in the images of a file or a folder, whatever its form. */
#include "private-image.h"

#include <fcntl.h>
#include <unistd.h>

/* Files of which somebody may say "load this image", and what they are instead. */
static const struct {
    size_t size;
    const char *begin, *what;
} encrypted[] = {
    {8, "Salted__", "by openssl"},
    {22, "age-encryption.org/v1\n", "by age"},
    {27, "-----BEGIN PGP MESSAGE-----", "by gpg"},
    {6, "gAAAAA", "by Fernet"},
};

static int look_at(const char *path, struct error **err) {
    char bytes[32] = {0};
    OWN_FD fd = file_open(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, err);
    if (fd < 0)
        return -1;
    ssize_t size = read(fd, bytes, sizeof(bytes));
    for (size_t i = 0; i < ARRAY_SIZE(encrypted); i++) {
        if (size < (ssize_t)encrypted[i].size ||
            memcmp(bytes, encrypted[i].begin, encrypted[i].size) != 0)
            continue;
        error_set(err, ERROR_UNSUPPORTED, "it is encrypted %s", encrypted[i].what);
        return error_hint(err, "decrypt it with the key that its owner gave you, then load what "
                               "comes out; Glovebox asks for no keys of containers");
    }
    return 0;
}

static int import(struct staging *staging, struct error **err) {
    OWN_ERROR problem = NULL;
    OWN_JSON docker = staging_has(staging, "manifest.json")
                          ? staging_document(staging, "manifest.json", &problem)
                          : NULL;
    if (problem)
        return error_move(err, take(&problem));
    /* Docker of today writes both: the index has the digests that registries know */
    if (staging_has(staging, "index.json")) {
        OWN_JSON index = staging_document(staging, "index.json", err);
        return index ? layout_import(staging, index, docker, err) : -1;
    }
    if (docker)
        return docker_import(staging, docker, err);
    error_set(err, ERROR_INVALID, "there is no image in it: neither manifest.json nor index.json");
    return error_hint(err, "what \"docker save\" writes can be loaded, not what \"docker export\" "
                           "does; and OCI archives and folders, and Singularity files");
}

static int load(struct staging *staging, const char *path, struct error **err) {
    struct stat status;
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        staging->source = file_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0, err);
        return staging->source < 0 ? -1 : import(staging, err);
    }
    if (look_at(path, err) < 0 || staging_read_archive(staging, path, err) < 0)
        return -1;
    return import(staging, err);
}

int image_load(struct image_store *store, const char *path, const struct image_options *options,
               json_t **ret, struct error **err) {
    struct staging staging CLEANUP(staging_release) = {0};
    if (store_lock(store, STORE_ADDING, err) < 0)
        return -1;
    int bad = staging_begin(&staging, store, options, err);
    bad = bad ? bad : load(&staging, path, err);
    if (bad) {
        error_wrap(err, "%s", path);
    } else {
        *ret = take(&staging.result);
    }
    work_folder_release(&staging.work);
    store_unlock(store);
    return bad;
}
