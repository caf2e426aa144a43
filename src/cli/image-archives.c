/* Archives that a pipeline names instead of images: MedPerf's DockerArchive and SingularityFile. */
#include "cli/image.h"

/* What a task is given: the name with its digest, or the digest where the archive has no name. */
static int pin_loaded(const char *path, const json_t *loaded, json_t *images, struct error **err) {
    const json_t *one = json_array_get(loaded, 0);
    const char *digest = json_get_string(one, "digest", "");
    const char *reference = json_get_string(one, "reference", NULL);
    if (json_array_size(loaded) != 1) {
        error_set(err, ERROR_INVALID, "%s has %zu images, not one", path, json_array_size(loaded));
        return error_hint(err, "load it by `glovebox image load`, and name the image instead");
    }
    OWN_STRING pinned =
        reference ? image_pinned_name(reference, digest, err) : memory_copy_string(digest);
    if (!pinned)
        return reference ? -1 : error_set_memory(err);
    return json_object_set_new(images, path, json_string(pinned)) < 0 ? error_set_memory(err) : 0;
}

int image_load_archives(const struct invocation *invocation, const struct pipeline *pipeline,
                        json_t **ret, struct error **err) {
    OWN_IMAGE_SESSION session = {0};
    OWN_JSON images = json_object();
    if (!images)
        return error_set_memory(err);
    for (size_t i = 0; i < pipeline->step_count; i++) {
        const char *image = pipeline->steps[i].image;
        OWN_JSON loaded = NULL;
        if (!image || *image != '/' || json_object_get(images, image))
            continue;
        if ((!session.store && image_session_open(invocation, true, &session, err) < 0) ||
            image_load(session.store, image, &session.options, &loaded, err) < 0 ||
            pin_loaded(image, loaded, images, err) < 0)
            return -1;
    }
    *ret = take(&images);
    return 0;
}
