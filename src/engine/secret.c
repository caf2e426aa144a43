/* Secrets: HOME/secrets/NAME, each readable by its owner alone. Their values stand in no pipeline,
 * record or log; recipes hold a keyed digest, so that a changed secret makes a changed key. */
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define SECRET_MAXIMUM ((size_t)1 << 20)

/* Whoever drives the home holds its lock: nobody else makes the file at the same time. */
static int make_random_file(const struct engine *engine, const char *path, struct error **err) {
    uint8_t bytes[SECRET_KEY_SIZE];
    if (file_exists(engine->home_fd, path))
        return 0;
    if (random_bytes(bytes, sizeof(bytes), err) < 0)
        return -1;
    return file_write_atomic(engine->home_fd, path, bytes, sizeof(bytes), 0600, err);
}

static int read_secret(const struct engine *engine, const char *name, const char *path,
                       struct buffer *ret, struct error **err) {
    struct stat status;
    if (fstatat(engine->home_fd, path, &status, 0) < 0) {
        if (errno != ENOENT)
            return error_set_errno(err, errno, "cannot look at the secret \"%s\"", name);
        error_set(err, ERROR_NOT_FOUND, "there is no secret \"%s\"", name);
        return error_hint(err, "put it, mode 0600, into HOME/secrets/%s", name);
    }
    OWN_STRING what = memory_format("the secret \"%s\"", name);
    if (!what)
        return error_set_memory(err);
    if (file_check_private(&status, what, err) < 0)
        return -1;
    return file_read_all(engine->home_fd, path, SECRET_MAXIMUM, ret, err);
}

int secret_identify(const struct engine *engine, const char *name, char text[SHA256_HEX_SIZE],
                    struct error **err) {
    OWN_STRING path = memory_format("secrets/%s", name);
    OWN_BUFFER salt = {0}, secret = {0};
    uint8_t digest[SHA256_SIZE];
    if (!path)
        return error_set_memory(err);
    if (text_equal(name, SECRET_PSEUDONYMS) &&
        (directory_make(engine->home_fd, "secrets", 0700, err) < 0 ||
         make_random_file(engine, path, err) < 0))
        return -1;
    if (read_secret(engine, name, path, &secret, err) < 0)
        return -1;
    if (make_random_file(engine, "salt", err) < 0 ||
        file_read_all(engine->home_fd, "salt", SECRET_MAXIMUM, &salt, err) < 0)
        return -1;
    if (salt.size != SECRET_KEY_SIZE)
        return error_set(err, ERROR_CORRUPT, "the home's file \"salt\" is damaged");
    if (hmac_sha256_of((const uint8_t *)salt.data, name, secret.data, secret.size, digest, err) < 0)
        return -1;
    hex_encode(digest, sizeof(digest), text);
    return 0;
}
