/* Images of container steps. They are pinned when a run is made: all its tasks run the same bytes,
 * however long that takes and wherever a name points meanwhile. */
#include "image/image.h"
#include "private.h"

/* The name must be known to the driver now; what it is pinned to goes into `images`. */
static int pin(const struct engine *engine, const struct step *step, json_t *images,
               struct error **err) {
    if (!step->image || json_object_get(images, step->image))
        return 0;
    if (!engine->driver || !engine->driver->pin)
        return error_set(err, ERROR_UNSUPPORTED, "step %s: nothing here runs images", step->id);
    OWN_STRING pinned = NULL;
    if (engine->driver->pin(engine->home, step->image, &pinned, err) < 0 ||
        policy_check_pinned(engine->policy, engine->home, step->image, pinned, err) < 0)
        return error_wrap(err, "step %s", step->id);
    return json_object_set_new(images, step->image, json_string(pinned)) < 0 ? error_set_memory(err)
                                                                             : 0;
}

int images_keep(const struct engine *engine, const struct pipeline *pipeline,
                struct image_store **ret, struct error **err) {
    bool any = false;
    for (size_t i = 0; i < pipeline->step_count && !any; i++)
        any = pipeline->steps[i].image;
    if (!any)
        return 0;
    if (image_store_open(engine->home, false, ret, err) < 0)
        return -1;
    return image_store_keep(*ret, err);
}

json_t *images_pin(const struct engine *engine, const struct pipeline *pipeline,
                   const json_t *known, struct error **err) {
    OWN_JSON images = known ? json_copy((json_t *)(uintptr_t)known) : json_object();
    if (!images) {
        error_set_memory(err);
        return NULL;
    }
    for (size_t i = 0; i < pipeline->step_count; i++)
        if (pin(engine, &pipeline->steps[i], images, err) < 0)
            return NULL;
    return take(&images);
}

const char *images_of(const struct run *run, const struct step *step) {
    return step->image ? json_get_string(run->images, step->image, step->image) : NULL;
}

const char *images_digest(const char *pinned) {
    const char *at = pinned ? strrchr(pinned, '@') : NULL;
    return at ? at + 1 : pinned;
}

json_t *engine_images_needed(struct engine *engine, struct error **err) {
    OWN_JSON needed = json_array();
    OWN_ROWS rows = store_query(engine->store, err,
                                "SELECT DISTINCT j.value FROM run, json_each(run.images) j "
                                "WHERE run.state < ?",
                                "i", (int64_t)RUN_SUCCEEDED);
    int more = rows ? 1 : -1;
    if (!needed) {
        error_set_memory(err);
        return NULL;
    }
    while (more > 0 && (more = rows_next(rows, err)) > 0) {
        const char *digest = images_digest(rows_text(rows, 0));
        if (json_array_append_new(needed, json_string(digest)) < 0) {
            error_set_memory(err); /* a list with a hole would let an image go */
            return NULL;
        }
    }
    return more < 0 ? NULL : take(&needed);
}
