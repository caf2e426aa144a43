/* What is on its way in: the files of an archive, each under its digest, in a work folder. */
#include "private-image.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define NAMES_MAXIMUM 100000
#define COPY_SIZE     ((size_t)1 << 20)

uint64_t staging_maximum(const struct staging *staging) {
    uint64_t maximum = staging->options->maximum;
    return maximum ? maximum : IMAGE_DEFAULT_MAXIMUM;
}

int staging_too_large(const struct staging *staging, struct error **err) {
    OWN_BUFFER size = {0};
    text_format_size(&size, staging_maximum(staging));
    error_set(err, ERROR_LIMIT, "it holds more than %s", buffer_text(&size));
    return error_hint(err, "\"maximum_size\" of \"images\" in policy.json allows more");
}

uint64_t staging_maximum_files(const struct staging *staging) {
    uint64_t maximum = staging->options->maximum_files;
    return maximum ? maximum : IMAGE_DEFAULT_FILES;
}

int staging_too_many(const struct staging *staging, struct error **err) {
    error_set(err, ERROR_LIMIT, "it holds more than %llu files",
              (unsigned long long)staging_maximum_files(staging));
    return error_hint(err, "\"maximum_files\" of \"images\" in policy.json allows more");
}

void staging_release(struct staging *staging) {
    work_folder_release(&staging->work);
    json_decref(staging->names);
    json_decref(staging->result);
    memory_free(staging->fallback);
    file_close(&staging->source);
}

int staging_begin(struct staging *staging, struct image_store *store,
                  const struct image_options *options, struct error **err) {
    *staging = (struct staging){.store = store, .options = options, .source = -1};
    staging->names = json_object();
    staging->result = json_array();
    staging->work.store = store;
    if (!staging->names || !staging->result)
        return error_set_memory(err);
    staging->work.path = store_make_folder(store, err);
    if (!staging->work.path)
        return -1;
    OWN_STRING blobs = path_join(staging->work.path, "blobs/sha256");
    return blobs ? directory_make(store->directory, blobs, 0700, err) : error_set_memory(err);
}

/* --------------------------------------------------------------------- blobs */

static char *work_blob(const struct staging *staging, const char *name) {
    return memory_format("%s/blobs/sha256/%s", staging->work.path, name);
}

static int copy_in(struct staging *staging, tar_reader read, void *context, int fd,
                   uint8_t hash[SHA256_SIZE], struct error **err) {
    OWN_MEMORY(uint8_t) bytes = memory_allocate(COPY_SIZE);
    struct sha256 *sum CLEANUP(sha256_cleanup) = sha256_new();
    if (!bytes || !sum)
        return error_set_memory(err);
    ssize_t got;
    while ((got = read(context, bytes, COPY_SIZE, err)) > 0) {
        staging->size += (uint64_t)got;
        if (staging->size > staging_maximum(staging))
            return staging_too_large(staging, err);
        sha256_add(sum, bytes, (size_t)got);
        if (file_write_all(fd, bytes, (size_t)got, err) < 0)
            return -1;
        if (staging->progress)
            staging->progress(staging);
    }
    sha256_finish(sum, hash);
    return got < 0 ? -1 : 0;
}

int staging_stream(struct staging *staging, tar_reader read, void *context, const char *expected,
                   char digest[IMAGE_DIGEST_SIZE], struct error **err) {
    uint8_t hash[SHA256_SIZE];
    OWN_STRING new = work_blob(staging, "new");
    if (!new)
        return error_set_memory(err);
    OWN_FD fd = file_open(staging->store->directory, new, O_WRONLY | O_CREAT | O_TRUNC, 0600, err);
    if (fd < 0 || copy_in(staging, read, context, fd, hash, err) < 0)
        return -1;
    memcpy(digest, "sha256:", 7);
    hex_encode(hash, sizeof(hash), digest + 7);
    if (expected && !text_equal(expected, digest)) {
        error_set(err, ERROR_CORRUPT, "the content of %.100s has another digest, %s", expected,
                  digest);
        return error_hint(err, "it was damaged or changed on its way: copy or save it anew");
    }
    OWN_STRING path = work_blob(staging, digest + 7);
    if (!path)
        return error_set_memory(err);
    if (renameat(staging->store->directory, new, staging->store->directory, path) < 0)
        return error_set_errno(err, errno, "cannot name a blob");
    return 0;
}

struct memory_reader {
    const uint8_t *bytes;
    size_t left;
};
static ssize_t read_memory(void *context, void *bytes, size_t size, struct error **err) {
    struct memory_reader *reader = context;
    size = size < reader->left ? size : reader->left;
    memcpy(bytes, reader->bytes, size);
    reader->bytes += size;
    reader->left -= size;
    return (ssize_t)size;
}

int staging_write(struct staging *staging, const void *bytes, size_t size,
                  char digest[IMAGE_DIGEST_SIZE], struct error **err) {
    struct memory_reader reader = {bytes, size};
    return staging_stream(staging, read_memory, &reader, NULL, digest, err);
}

static ssize_t read_descriptor(void *context, void *bytes, size_t size, struct error **err) {
    for (;;) {
        ssize_t got = read(*(int *)context, bytes, size);
        if (got >= 0 || errno != EINTR)
            return got >= 0 ? got : error_set_errno(err, errno, "cannot read a blob");
    }
}

char *staging_path(struct staging *staging, const char *digest, struct error **err) {
    int directory = staging->store->directory;
    OWN_STRING work = work_blob(staging, digest + 7);
    OWN_STRING kept = memory_format("blobs/sha256/%s", digest + 7);
    if (!work || !kept) {
        error_set_memory(err);
        return NULL;
    }
    if (file_exists(directory, work))
        return take(&work);
    return file_exists(directory, kept) ? take(&kept) : NULL;
}

int staging_need(struct staging *staging, const char *digest, struct error **err) {
    if (!digest_is_valid(digest))
        return error_set(err, ERROR_INVALID, "\"%.100s\" is no sha256 digest", digest);
    OWN_ERROR problem = NULL;
    OWN_STRING path = staging_path(staging, digest, &problem);
    if (problem)
        return error_move(err, take(&problem));
    if (path)
        return 1;
    OWN_STRING name = memory_format("blobs/sha256/%s", digest + 7);
    if (!name)
        return error_set_memory(err);
    if (staging->source < 0 || !file_exists(staging->source, name))
        return 0;
    char found[IMAGE_DIGEST_SIZE];
    OWN_FD fd = file_open(staging->source, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, err);
    if (fd < 0 || staging_stream(staging, read_descriptor, &fd, digest, found, err) < 0)
        return -1;
    return 1;
}

json_t *staging_json(struct staging *staging, const char *digest, struct error **err) {
    int there = staging_need(staging, digest, err);
    if (there <= 0) {
        if (there == 0) {
            error_set(err, ERROR_INVALID, "the blob %.100s is missing in it", digest);
            error_hint(err, "copy or save it anew");
        }
        return NULL;
    }
    OWN_STRING path = staging_path(staging, digest, err);
    enum packing packing;
    uint64_t size = 0;
    if (!path || staging_look(staging, digest, &packing, &size, err) < 0)
        return NULL;
    if (size > IMAGE_DOCUMENT_MAXIMUM) {
        error_set(err, ERROR_LIMIT, "the document %.19s is larger than %zu MiB", digest,
                  IMAGE_DOCUMENT_MAXIMUM >> 20);
        return NULL;
    }
    OWN_BUFFER text = {.maximum = IMAGE_DOCUMENT_MAXIMUM + 1};
    if (file_read_all(staging->store->directory, path, IMAGE_DOCUMENT_MAXIMUM, &text, err) < 0)
        return NULL;
    /* not json_read_file(): its place in our work folder says nothing to anybody */
    return json_parse(buffer_text(&text), text.size, err);
}

/* ------------------------------------------------------------------- archives */

static ssize_t read_stream(void *context, void *bytes, size_t size, struct error **err) {
    return stream_read(context, bytes, size, err);
}

int staging_unpack_blob(struct staging *staging, const char *path, char digest[IMAGE_DIGEST_SIZE],
                        uint64_t *ret_size, struct error **err) {
    OWN_STREAM stream = NULL;
    enum packing packing;
    if (stream_open(staging->store->directory, path, &stream, err) < 0 ||
        staging_stream(staging, read_stream, stream, NULL, digest, err) < 0)
        return -1;
    return staging_look(staging, digest, &packing, ret_size, err);
}

/* What a link of the archive means, as a name of the archive: NULL when it leads out. */
static char *link_target(const struct tar_entry *entry) {
    if (entry->type == '1')
        return memory_copy_string(entry->link);
    OWN_STRING folder = memory_copy_string(entry->name);
    char *slash = folder ? strrchr(folder, '/') : NULL;
    if (folder)
        *(slash ? slash : folder) = '\0';
    const char *link = entry->link;
    while (folder && text_starts_with(link, "../")) {
        if (!*folder)
            return NULL;
        slash = strrchr(folder, '/');
        *(slash ? slash : folder) = '\0';
        link += 3;
    }
    return folder ? memory_format("%s%s%s", folder, *folder ? "/" : "", link) : NULL;
}

static ssize_t read_entry(void *context, void *bytes, size_t size, struct error **err) {
    return tar_read(context, bytes, size, err);
}

static int take_entry(struct staging *staging, struct tar *tar, const struct tar_entry *entry,
                      struct error **err) {
    if (json_object_size(staging->names) >= NAMES_MAXIMUM)
        return error_set(err, ERROR_LIMIT, "the archive has more than %d files", NAMES_MAXIMUM);
    json_t *value = NULL;
    if (!text_is_utf8(entry->name, strlen(entry->name)))
        return 0; /* of no document's naming */
    if (entry->type == '1' || entry->type == '2') {
        OWN_STRING target = link_target(entry);
        value = target ? json_pack("{s:s}", "link", target) : NULL;
        if (!value)
            return 0;
    } else if (entry->type == '0') {
        char digest[IMAGE_DIGEST_SIZE], expected[IMAGE_DIGEST_SIZE];
        bool blob = text_starts_with(entry->name, "blobs/sha256/");
        if (blob) {
            (void)snprintf(expected, sizeof(expected), "sha256:%s", entry->name + 13);
            if (!digest_is_valid(expected))
                return 0;
        }
        if (staging_stream(staging, read_entry, tar, blob ? expected : NULL, digest, err) < 0)
            return -1;
        value = json_string(digest);
        if (!value)
            return error_set_memory(err);
    } else {
        return 0;
    }
    return json_object_set_new(staging->names, entry->name, value) < 0 ? error_set_memory(err) : 0;
}

static void tell_read(const struct staging *staging) {
    uint64_t done = 0, total = 0;
    stream_progress(staging->stream, &done, &total);
    staging->options->progress(staging->options->context, "reading", done, total);
}

int staging_read_archive(struct staging *staging, const char *path, struct error **err) {
    OWN_STREAM stream = NULL;
    if (stream_open(AT_FDCWD, path, &stream, err) < 0)
        return -1;
    OWN_TAR tar = tar_open(read_stream, stream);
    if (!tar)
        return error_set_memory(err);
    staging->stream = stream;
    staging->progress = staging->options->progress ? tell_read : NULL;
    struct tar_entry entry;
    int more;
    while ((more = tar_next(tar, &entry, err)) > 0)
        if (take_entry(staging, tar, &entry, err) < 0) {
            more = -1;
            break;
        }
    staging->stream = NULL;
    staging->progress = NULL;
    return more;
}

const char *staging_digest(const struct staging *staging, const char *name) {
    for (int links = 0; links < 8; links++) {
        const json_t *value = json_object_get(staging->names, name);
        if (json_is_string(value))
            return json_string_value(value);
        name = json_get_string(value, "link", NULL);
        if (!name)
            return NULL;
    }
    return NULL;
}

bool staging_has(const struct staging *staging, const char *name) {
    return staging->source >= 0 ? file_exists(staging->source, name)
                                : staging_digest(staging, name) != NULL;
}

json_t *staging_document(struct staging *staging, const char *name, struct error **err) {
    if (staging->source >= 0)
        return json_read_file(staging->source, name, IMAGE_DOCUMENT_MAXIMUM, err);
    const char *digest = staging_digest(staging, name);
    json_t *json = digest ? staging_json(staging, digest, err) : NULL;
    if (digest && !json)
        error_wrap(err, "%s", name);
    return json;
}
