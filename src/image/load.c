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

static int look_at(const char *path, bool *ret_sif, struct error **err) {
    char bytes[64] = {0};
    OWN_FD fd = file_open(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, err);
    if (fd < 0)
        return -1;
    ssize_t size = read(fd, bytes, sizeof(bytes));
    *ret_sif = size > 0 && sif_is_one(bytes, (size_t)size);
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

/* localhost/FILE: letters, digits and single dashes of the file's name up to its first dot. */
static char *name_of_file(const char *path) {
    OWN_BUFFER name = {0};
    OWN_STRING copy = memory_copy_string(path);
    size_t size = copy ? strlen(copy) : 0;
    while (size > 1 && copy[size - 1] == '/')
        copy[--size] = '\0';
    buffer_append(&name, "localhost/");
    for (const char *at = copy ? path_base_name(copy) : ""; *at && *at != '.' && name.size < 100;
         at++) {
        char c = *at >= 'A' && *at <= 'Z' ? (char)(*at + 32) : *at;
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (plain)
            buffer_append_char(&name, c);
        else if (name.size > 10 && name.data[name.size - 1] != '-')
            buffer_append_char(&name, '-');
    }
    while (name.size > 10 && name.data[name.size - 1] == '-')
        buffer_truncate(&name, name.size - 1);
    if (name.size == 10)
        buffer_append(&name, "image");
    return buffer_take(&name, NULL);
}

static int load(struct staging *staging, const char *path, struct error **err) {
    struct stat status;
    staging->fallback = name_of_file(path);
    if (!staging->fallback)
        return error_set_memory(err);
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        staging->source = file_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0, err);
        return staging->source < 0 ? -1 : import(staging, err);
    }
    bool sif = false;
    if (look_at(path, &sif, err) < 0)
        return -1;
    if (sif)
        return sif_import(staging, path, err);
    if (staging_read_archive(staging, path, err) < 0 || import(staging, err) < 0)
        return -1;
    return staging_has(staging, BUNDLE_DOCUMENT) ? bundle_import(staging, err) : 0;
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
