/* Images of a home and the containers made of them: what an image's configuration and root folder
 * say is read once for each and kept. */
#include "compute/private-oci.h"

#include "compute/private-link.h"
#include "image/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { IMAGES_MAXIMUM = 64, TAKEN_MAXIMUM = 1 << 20 };

#define TAKEN_FILE "compute/process/devices.json"

struct oci {
    char *home;
    char *filter; /* base64, NULL until it is needed */
    struct image_store *store;
    struct oci_image images[IMAGES_MAXIMUM];
    size_t image_count, next;
    json_t *taken; /* GPUs: {job: [name…]}; NULL until one is wanted */
};

void oci_image_release(struct oci_image *image) {
    memory_free(image->name);
    memory_free(image->root);
    json_decref(image->whole);
    *image = (struct oci_image){0};
}

struct oci *oci_new(const char *home) {
    struct oci *oci = memory_allocate(sizeof(*oci));
    if (oci && !(oci->home = memory_copy_string(home))) {
        oci_free(oci);
        return NULL;
    }
    return oci;
}

void oci_free(struct oci *oci) {
    if (!oci)
        return;
    for (size_t i = 0; i < oci->image_count; i++)
        oci_image_release(&oci->images[i]);
    image_store_close(oci->store);
    json_decref(oci->taken);
    memory_free(oci->filter);
    memory_free(oci->home);
    memory_free(oci);
}

/* ------------------------------------------------------------------------------- crun */

char *oci_find_runtime(struct error **err) {
    char *found = oci_find_program("crun");
    if (found)
        return found;
    error_set(err, ERROR_UNSUPPORTED, "crun, which runs images, is not installed");
    error_hint(err, "install it: Debian's package is called crun");
    return NULL;
}

/* ----------------------------------------------------------------------------- images */

static int find(struct image_store *store, const char *name, struct image *ret,
                struct error **err) {
    int found = image_find(store, name, ret, err);
    if (found)
        return found < 0 ? -1 : 0;
    OWN_BUFFER shown = {0};
    text_append_printable(&shown, name);
    error_set(err, ERROR_NOT_FOUND, "there is no image %s here", buffer_text(&shown));
    return error_hint(err, "glovebox image pull %s, or glovebox image load FILE",
                      buffer_text(&shown));
}

int oci_pin(const char *home, const char *name, char **ret, struct error **err) {
    OWN_IMAGE_STORE store = NULL;
    OWN_IMAGE image = {0};
    if (image_store_open(home, false, &store, err) < 0 || find(store, name, &image, err) < 0)
        return -1;
    *ret = image_pinned_name(image.reference, image.digest, err);
    return *ret ? 0 : -1;
}

static int read_image(struct oci *oci, const char *name, struct oci_image *ret,
                      struct error **err) {
    OWN_IMAGE found = {0};
    struct oci_image image CLEANUP(oci_image_release) = {.name = memory_copy_string(name)};
    if (!image.name)
        return error_set_memory(err);
    if ((!oci->store && image_store_open(oci->home, false, &oci->store, err) < 0) ||
        find(oci->store, name, &found, err) < 0)
        return -1;
    image.root = take(&found.root);
    image.whole = take(&found.config);
    image.config = json_object_get(image.whole, "config");
    if (!image.root)
        return error_set(err, ERROR_CORRUPT, "the image %s has no root folder", name);
    if (oci_find_user(image.root, json_get_string(image.config, "User", ""), &image.user, err) < 0)
        return -1;
    *ret = image;
    image = (struct oci_image){0};
    return 0;
}

static const struct oci_image *keep_image(struct oci *oci, struct oci_image image) {
    size_t at = oci->next++ % IMAGES_MAXIMUM;
    if (oci->image_count < IMAGES_MAXIMUM)
        oci->image_count = at + 1;
    oci_image_release(&oci->images[at]);
    oci->images[at] = image;
    return &oci->images[at];
}

/* The image of a pinned name never changes, but somebody may have removed it. */
static const struct oci_image *get_image(struct oci *oci, const char *name, struct error **err) {
    for (size_t i = 0; i < oci->image_count; i++) {
        if (text_equal(oci->images[i].name, name) && access(oci->images[i].root, F_OK) == 0 &&
            strstr(name, "@sha256:"))
            return &oci->images[i];
    }
    struct oci_image image = {0};
    return read_image(oci, name, &image, err) < 0 ? NULL : keep_image(oci, image);
}

int oci_add_image(struct oci *oci, const char *name, const char *root, struct error **err) {
    struct oci_image image CLEANUP(oci_image_release) = {
        .name = memory_copy_string(name), .root = memory_copy_string(root), .user = {.home = "/"}};
    if (!image.name || !image.root)
        return error_set_memory(err);
    (void)keep_image(oci, image);
    image = (struct oci_image){0};
    return 0;
}

/* ------------------------------------------------------------------------- containers */

static void append_base64(struct buffer *out, const uint8_t *bytes, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t group = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                         (left > 2 ? bytes[i + 2] : 0);
        buffer_append_char(out, digits[group >> 18]);
        buffer_append_char(out, digits[group >> 12 & 63]);
        buffer_append_char(out, left > 1 ? digits[group >> 6 & 63] : '=');
        buffer_append_char(out, left > 2 ? digits[group & 63] : '=');
    }
}

static int make_filter(struct oci *oci, struct error **err) {
    OWN_BUFFER message = {0};
    OWN_BUFFER text = {0};
    if (oci->filter)
        return 0;
    if (filter_message(&message, err) < 0)
        return -1;
    size_t header = sizeof(struct message_header);
    append_base64(&text, (const uint8_t *)message.data + header, message.size - header);
    oci->filter = buffer_take(&text, err);
    return oci->filter ? 0 : -1;
}

/* ------------------------------------------------------------------------------- GPUs */

/* Which job has which is written down, for the next program. Jobs are few where GPUs are. */
static int save_taken(struct oci *oci, struct error **err) {
    OWN_STRING path = path_join(oci->home, TAKEN_FILE);
    OWN_STRING text = path ? json_canonical(oci->taken, err) : NULL;
    if (!path)
        return error_set_memory(err);
    return text ? file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, err) : -1;
}

static int load_taken(struct oci *oci, struct error **err) {
    OWN_STRING path = path_join(oci->home, TAKEN_FILE);
    if (!path)
        return error_set_memory(err);
    if (!oci->taken)
        oci->taken = file_exists(AT_FDCWD, path)
                         ? json_read_file(AT_FDCWD, path, TAKEN_MAXIMUM, err)
                         : json_object();
    return oci->taken ? 0 : -1;
}

static int take_devices(struct oci *oci, const struct job *job, struct oci_devices *ret,
                        struct error **err) {
    OWN_JSON names = json_array();
    if (!names)
        return error_set_memory(err);
    if (load_taken(oci, err) < 0 ||
        oci_find_devices(job->limits.gpus, oci->taken, ret, names, err) < 0)
        return -1;
    if (json_object_set(oci->taken, job->name, names) < 0)
        return error_set_memory(err);
    return save_taken(oci, err);
}

void oci_forget(struct oci *oci, const char *job) {
    OWN_ERROR error = NULL;
    OWN_STRING path = path_join(oci->home, TAKEN_FILE);
    if (!oci->taken && (!path || !file_exists(AT_FDCWD, path)))
        return;
    if (load_taken(oci, &error) < 0 || !json_object_get(oci->taken, job))
        return;
    (void)json_object_del(oci->taken, job);
    if (save_taken(oci, &error) < 0)
        log_message(LOG_WARNING, "cannot note that a GPU is free: %s", error->message);
}

int oci_contain(struct oci *oci, const struct job *job, const struct oci_range *range,
                struct oci_container *ret, struct error **err) {
    struct oci_devices devices CLEANUP(oci_devices_release) = {0};
    const struct oci_image *image = get_image(oci, job->image, err);
    if (!image || make_filter(oci, err) < 0)
        return -1;
    if (job->limits.gpus && take_devices(oci, job, &devices, err) < 0)
        return -1;
    return oci_configure(job, image, job->limits.gpus ? &devices : NULL, range, oci->filter, ret,
                         err);
}
