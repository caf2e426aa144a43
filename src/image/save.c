/* Writing images, and what else a bundle has, as one tar archive. */
#include "private-image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define BLOCK     512
#define COPY_SIZE ((size_t)1 << 20)

struct saving {
    struct image_store *store;
    const struct image_options *options;
    int file;
    json_t *written; /* names in the archive, as keys */
    json_t *files;   /* of glovebox.json */
    uint64_t done, total;
};

/* ------------------------------------------------------------------ tar entries */

static void octal(char *field, size_t size, uint64_t value) {
    field[--size] = '\0';
    while (size) {
        field[--size] = (char)('0' + (value & 7));
        value >>= 3;
    }
}

static int write_header(struct saving *saving, const char *name, char type, uint64_t size,
                        struct error **err) {
    char block[BLOCK] = {0};
    unsigned sum = 0;
    memcpy(block, name, strnlen(name, 99));
    octal(block + 100, 8, 0644);
    octal(block + 108, 8, 0);
    octal(block + 116, 8, 0);
    octal(block + 124, 12, size);
    octal(block + 136, 12, 0);
    memset(block + 148, ' ', 8);
    block[156] = type;
    memcpy(block + 257,
           "ustar\0"
           "00",
           8);
    for (size_t i = 0; i < BLOCK; i++)
        sum += (unsigned char)block[i];
    octal(block + 148, 7, sum);
    return file_write_all(saving->file, block, BLOCK, err);
}

static int pad(struct saving *saving, uint64_t size, struct error **err) {
    static const char zeros[BLOCK];
    size_t rest = (size_t)(size % BLOCK);
    return rest ? file_write_all(saving->file, zeros, BLOCK - rest, err) : 0;
}

/* "LENGTH KEY=VALUE\n", where the length counts itself. */
static void pax_record(struct buffer *out, const char *key, const char *value) {
    size_t size = strlen(key) + strlen(value) + 3, digits = 1;
    for (size_t limit = 10; size + digits >= limit; limit *= 10)
        digits++;
    buffer_format(out, "%zu %s=%s\n", size + digits, key, value);
}

static int begin_entry(struct saving *saving, const char *name, uint64_t size, struct error **err) {
    OWN_BUFFER extended = {0};
    if (strlen(name) > 99)
        pax_record(&extended, "path", name);
    if (size >> 33) {
        OWN_STRING number = memory_format("%llu", (unsigned long long)size);
        if (!number)
            return error_set_memory(err);
        pax_record(&extended, "size", number);
    }
    if (extended.size &&
        (buffer_check(&extended, err) < 0 ||
         write_header(saving, "pax", 'x', extended.size, err) < 0 ||
         file_write_all(saving->file, buffer_text(&extended), extended.size, err) < 0 ||
         pad(saving, extended.size, err) < 0))
        return -1;
    return write_header(saving, name, '0', size >> 33 ? 0 : size, err);
}

static int write_bytes(struct saving *saving, const char *name, const void *bytes, size_t size,
                       struct error **err) {
    if (begin_entry(saving, name, size, err) < 0 ||
        file_write_all(saving->file, bytes, size, err) < 0)
        return -1;
    return pad(saving, size, err);
}

/* Copies exactly the size that was announced, and hashes it on the way. */
static int copy_file(struct saving *saving, const char *name, int fd, uint8_t hash[SHA256_SIZE],
                     uint64_t *ret_size, struct error **err) {
    struct stat status;
    if (fstat(fd, &status) < 0)
        return error_set_errno(err, errno, "cannot look at %s", name);
    uint64_t left = (uint64_t)status.st_size;
    OWN_MEMORY(char) bytes = memory_allocate(COPY_SIZE);
    struct sha256 *sum CLEANUP(sha256_cleanup) = sha256_new();
    if (!bytes || !sum)
        return error_set_memory(err);
    if (begin_entry(saving, name, left, err) < 0)
        return -1;
    while (left) {
        ssize_t got = read(fd, bytes, left < COPY_SIZE ? (size_t)left : COPY_SIZE);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? error_set_errno(err, errno, "cannot read %s", name)
                           : error_set(err, ERROR_IO, "%s became shorter while it was read", name);
        sha256_add(sum, bytes, (size_t)got);
        if (file_write_all(saving->file, bytes, (size_t)got, err) < 0)
            return -1;
        left -= (uint64_t)got;
        saving->done += (uint64_t)got;
        if (saving->options->progress)
            saving->options->progress(saving->options->context, "saving", saving->done,
                                      saving->total);
    }
    sha256_finish(sum, hash);
    *ret_size = (uint64_t)status.st_size;
    return pad(saving, *ret_size, err);
}

/* ----------------------------------------------------------------------- images */

static int save_blob(struct saving *saving, const char *digest, struct error **err) {
    uint8_t hash[SHA256_SIZE];
    char found[SHA256_HEX_SIZE];
    uint64_t size = 0;
    OWN_STRING name = memory_format("blobs/sha256/%s", digest_is_valid(digest) ? digest + 7 : "?");
    if (!name)
        return error_set_memory(err);
    if (json_object_get(saving->written, name))
        return 0;
    if (json_object_set_new(saving->written, name, json_true()) < 0)
        return error_set_memory(err);
    OWN_FD fd = file_open(saving->store->directory, name, O_RDONLY, 0, err);
    if (fd < 0 || copy_file(saving, name, fd, hash, &size, err) < 0)
        return -1;
    hex_encode(hash, sizeof(hash), found);
    if (text_equal(found, digest + 7))
        return 0;
    error_set(err, ERROR_CORRUPT, "the blob %s is damaged", digest);
    return error_hint(err, "load or pull the image again");
}

static json_t *read_blob(struct saving *saving, const char *digest, struct error **err) {
    OWN_STRING path = memory_format("blobs/sha256/%s", digest + 7);
    if (!path) {
        error_set_memory(err);
        return NULL;
    }
    return json_read_file(saving->store->directory, path, IMAGE_DOCUMENT_MAXIMUM, err);
}

static int64_t blob_size(struct saving *saving, const char *digest) {
    struct stat status = {0};
    OWN_STRING path = memory_format("blobs/sha256/%s", digest + 7);
    if (!path || fstatat(saving->store->directory, path, &status, 0) < 0)
        return -1;
    return status.st_size;
}

/* All blobs, and the descriptor: of the index where there is one, which registries know. */
static json_t *save_image(struct saving *saving, const struct image *image, const char *name,
                          struct error **err) {
    OWN_JSON manifest = read_blob(saving, image->digest, err);
    size_t i;
    const json_t *layer;
    if (!manifest || save_blob(saving, image->digest, err) < 0 ||
        save_blob(saving, json_get_string(json_object_get(manifest, "config"), "digest", ""), err) <
            0)
        return NULL;
    json_array_foreach(json_object_get(manifest, "layers"), i, layer) {
        if (save_blob(saving, json_get_string(layer, "digest", ""), err) < 0)
            return NULL;
    }
    const char *top =
        image->index && blob_size(saving, image->index) >= 0 ? image->index : image->digest;
    if (save_blob(saving, top, err) < 0)
        return NULL;
    OWN_JSON document = read_blob(saving, top, err);
    if (!document)
        return NULL;
    const char *fallback = json_object_get(document, "manifests")
                               ? "application/vnd.oci.image.index.v1+json"
                               : MEDIA_MANIFEST;
    json_t *json = json_pack("{s:s, s:s, s:I, s:{s:s, s:s}}", "mediaType",
                             json_get_string(document, "mediaType", fallback), "digest", top,
                             "size", (json_int_t)blob_size(saving, top), "annotations",
                             ANNOTATION_NAME, name, ANNOTATION_DOCKER_NAME, name);
    if (!json)
        error_set_memory(err);
    return json;
}

static int save_images(struct saving *saving, const json_t *images, json_t *descriptors,
                       struct error **err) {
    size_t i;
    const json_t *one;
    json_array_foreach(images, i, one) {
        OWN_IMAGE image = {0};
        const char *reference = json_string_value(one);
        int found = image_find(saving->store, reference, &image, err);
        if (found <= 0)
            return found < 0 ? -1 : store_not_there(reference, err);
        json_t *descriptor = save_image(saving, &image, image.reference, err);
        if (!descriptor)
            return -1;
        if (json_array_append_new(descriptors, descriptor) < 0)
            return error_set_memory(err);
    }
    return 0;
}

/* ------------------------------------------------------------------------ extras */

static int save_extra(struct saving *saving, const struct image_extra *extra, struct error **err) {
    uint8_t hash[SHA256_SIZE];
    char digest[IMAGE_DIGEST_SIZE] = "sha256:";
    uint64_t size = extra->size;
    if (!path_is_safe_relative(extra->name) || !text_is_utf8(extra->name, strlen(extra->name)))
        return error_set(err, ERROR_INVALID, "a file's name cannot stand in a bundle");
    if (json_object_get(saving->files, extra->name))
        return 0;
    if (extra->source) {
        OWN_FD fd = file_open(AT_FDCWD, extra->source, O_RDONLY, 0, err);
        if (fd < 0 || copy_file(saving, extra->name, fd, hash, &size, err) < 0)
            return -1;
    } else {
        sha256_of(extra->text, extra->size, hash);
        if (write_bytes(saving, extra->name, extra->text, extra->size, err) < 0)
            return -1;
    }
    hex_encode(hash, sizeof(hash), digest + 7);
    json_t *one = json_pack("{s:s, s:I}", "digest", digest, "size", (json_int_t)size);
    return json_object_set_new(saving->files, extra->name, one) < 0 ? error_set_memory(err) : 0;
}

static int write_document(struct saving *saving, const char *name, const json_t *json,
                          struct error **err) {
    OWN_STRING text = json ? json_text(json, JSON_SORT_KEYS | JSON_INDENT(1), err) : NULL;
    if (!text)
        return json ? -1 : error_set_memory(err);
    return write_bytes(saving, name, text, strlen(text), err);
}

static int save_all(struct saving *saving, const json_t *images, const struct image_extra *extras,
                    size_t extra_count, const json_t *pipelines, struct error **err) {
    static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
    static const char end[2 * BLOCK];
    OWN_JSON descriptors = json_array();
    if (!descriptors)
        return error_set_memory(err);
    if (write_bytes(saving, "oci-layout", layout, strlen(layout), err) < 0 ||
        save_images(saving, images, descriptors, err) < 0)
        return -1;
    for (size_t i = 0; i < extra_count; i++)
        if (save_extra(saving, &extras[i], err) < 0)
            return -1;
    OWN_JSON index = json_pack("{s:i, s:s, s:O}", "schemaVersion", 2, "mediaType",
                               "application/vnd.oci.image.index.v1+json", "manifests", descriptors);
    if (write_document(saving, "index.json", index, err) < 0)
        return -1;
    if (pipelines) {
        OWN_JSON bundle = json_pack("{s:i, s:O, s:O}", "version", 1, "pipelines", pipelines,
                                    "files", saving->files);
        if (write_document(saving, BUNDLE_DOCUMENT, bundle, err) < 0)
            return -1;
    }
    if (file_write_all(saving->file, end, sizeof(end), err) < 0)
        return -1;
    return fsync(saving->file) < 0 ? error_set_errno(err, errno, "cannot bring it to the disk") : 0;
}

int image_save(struct image_store *store, const json_t *images, const struct image_extra *extras,
               size_t extra_count, const json_t *pipelines, const char *path,
               const struct image_options *options, struct error **err) {
    struct saving saving = {.store = store, .options = options, .file = -1};
    OWN_STRING aside = memory_format("%s.saving-%d", path, (int)getpid());
    OWN_JSON written = json_object();
    OWN_JSON files = json_object();
    saving.written = written;
    saving.files = files;
    if (!aside || !written || !files)
        return error_set_memory(err);
    if (store->lock >= 0 && store_lock(store, STORE_ADDING, err) < 0)
        return -1;
    saving.file = file_open(AT_FDCWD, aside, O_WRONLY | O_CREAT | O_TRUNC, 0666, err);
    int bad = saving.file < 0 ? -1 : save_all(&saving, images, extras, extra_count, pipelines, err);
    file_close(&saving.file);
    if (!bad && rename(aside, path) < 0)
        bad = error_set_errno(err, errno, "cannot name it");
    if (bad) {
        (void)unlink(aside);
        error_wrap(err, "%s", path);
    }
    store_unlock(store);
    return bad;
}
