/* Making runs, and finding them by what people type. */
#include "image/image.h"
#include "private.h"

#include <ctype.h>
#include <fcntl.h>
#include <unistd.h>

/* What a fan reads that is known before the run starts, or NULL. */
static const char *known_source(const struct pipeline *pipeline, const struct fan *fan,
                                const struct run_request *request) {
    if (fan->over.kind == REFERENCE_INPUT)
        return json_get_string(request->inputs, pipeline->inputs[fan->over.index].name, NULL);
    if (fan->over.kind == REFERENCE_PARAMETER)
        return json_get_string(request->parameters, pipeline->parameters[fan->over.index].name,
                               NULL);
    return NULL;
}

static int no_partition(const struct step *step, const char *wanted,
                        const struct partition_list *list, struct error **err) {
    OWN_MEMORY(const char *) names = memory_array(list->count, sizeof(*names));
    for (size_t i = 0; names && i < list->count; i++)
        names[i] = list->items[i].name;
    error_set(err, ERROR_INVALID, "step %s has no partition \"%s\"", step->id, wanted);
    const char *near = names ? text_nearest(wanted, names, list->count) : NULL;
    return near ? error_hint(err, "did you mean \"%s@%s\"?", step->id, near) : -1;
}

/* As far as partitions come from the names of inputs; a run looks at the others when they are made.
 */
static int check_partition(const struct pipeline *pipeline, const struct step *step,
                           const char *wanted, const struct run_request *request,
                           struct error **err) {
    if (!step->axis_count) {
        error_set(err, ERROR_INVALID, "step %s has no partitions", step->id);
        return error_hint(err, "say \"%s\" alone", step->id);
    }
    const struct fan *fan = &pipeline->steps[step->axis[0]].fan;
    const char *path = fan->kind == FAN_DICOM ? NULL : known_source(pipeline, fan, request);
    CLEANUP(partition_list_release) struct partition_list list = {0};
    if (!path || !*path || sources_list(fan, path, NULL, request->parameters, &list, NULL) < 0)
        return 0; /* what is wrong with an input, the run will say */
    for (size_t i = 0; i < list.count; i++)
        if (expand_leads_to(list.items[i].name, wanted, step->axis_count > 1))
            return 0;
    return no_partition(step, wanted, &list, err);
}

static int check_selection(const struct pipeline *pipeline, const struct run_request *request,
                           struct error **err) {
    for (size_t i = 0; i <= request->only_count; i++) {
        const char *given = i < request->only_count ? request->only[i] : request->from;
        if (!given)
            continue;
        OWN_STRING id = memory_copy_bytes(given, strcspn(given, "@"));
        if (!id)
            return error_set_memory(err);
        const struct step *step = pipeline_find_step(pipeline, id);
        if (!step)
            return query_unknown_step(pipeline, id, ERROR_INVALID, err);
        if (given != request->from && strchr(given, '@')) {
            error_set(err, ERROR_INVALID, "--only takes whole steps, not one partition of %s", id);
            return error_hint(err, "say \"%s\" alone", id);
        }
        if (given == request->from && strchr(given, '@') &&
            check_partition(pipeline, step, strchr(given, '@') + 1, request, err) < 0)
            return -1;
    }
    return 0;
}

static json_t *selection_of(const struct run_request *request) {
    json_t *only = json_array();
    for (size_t i = 0; only && i < request->only_count; i++)
        json_array_append_new(only, json_string(request->only[i]));
    return json_pack("{s:s*, s:o, s:b, s:O*}", "from", request->from, "only", only, "no_reuse",
                     (int)request->no_reuse, "recorded", request->recorded);
}

/* Sources of a crate, by paths that crate_read() found safe. */
static int keep_texts(const json_t *files, const char *folder, struct error **err) {
    const char *name;
    json_t *text;
    json_object_foreach((json_t *)(uintptr_t)files, name, text) {
        OWN_STRING path = path_join(folder, name);
        OWN_STRING parent =
            path ? memory_copy_bytes(path, (size_t)(path_base_name(path) - path)) : NULL;
        if (!parent)
            return error_set_memory(err);
        if (directory_make(AT_FDCWD, parent, 0700, err) < 0 ||
            file_write_atomic(AT_FDCWD, path, json_string_value(text), json_string_length(text),
                              0600, err) < 0)
            return -1;
    }
    return 0;
}

static int insert_run(struct engine *engine, const struct pipeline *pipeline,
                      const struct run_request *request, const json_t *images, char **ret_name,
                      struct error **err) {
    OWN_JSON selection = selection_of(request);
    OWN_STRING document = json_canonical(pipeline->document, err);
    OWN_STRING parameters = json_canonical(request->parameters, err);
    OWN_STRING inputs = json_canonical(request->inputs, err);
    OWN_STRING selected = selection ? json_canonical(selection, err) : NULL;
    OWN_STRING pinned = json_canonical(images, err);
    OWN_STRING path = path_resolve(pipeline->path, NULL);
    if (!document || !parameters || !inputs || !selected || !pinned)
        return error_set_memory(err);
    int64_t now = clock_wall(), number = 0;
    if (store_run(engine->store, err,
                  "INSERT INTO run(name, pipeline, version, path, document, parameters, inputs, "
                  "selection, images, output, state, who, created) "
                  "VALUES(hex(randomblob(16)), ?, ?, ?, ?, ?, ?, ?, ?, '', 0, ?, ?)",
                  "sssssssssi", pipeline->name, pipeline->version, path ? path : pipeline->path,
                  document, parameters, inputs, selected, pinned, engine_who(), now) < 0)
        return -1;
    number = store_last_id(engine->store);
    OWN_STRING safe = text_safe_name(pipeline->name);
    OWN_STRING name = safe ? memory_format("%.60s-%lld", safe, (long long)number) : NULL;
    OWN_STRING output = !name             ? NULL
                        : request->output ? memory_copy_string(request->output)
                                          : home_path(engine, "runs/%s/outputs", name);
    if (!output)
        return error_set_memory(err);
    if (store_run(engine->store, err, "UPDATE run SET name = ?, output = ? WHERE id = ?", "ssi",
                  name, output, number) < 0)
        return -1;
    OWN_STRING folder = home_path(engine, "runs/%s", name);
    if (!folder)
        return error_set_memory(err);
    if (directory_make(AT_FDCWD, folder, 0700, err) < 0 ||
        crate_keep_files(pipeline, path ? path : pipeline->path, folder, err) < 0 ||
        keep_texts(request->files, folder, err) < 0 ||
        event_add(engine, number, 0, "created", NULL, err) < 0)
        return -1;
    *ret_name = take(&name);
    return 0;
}

/* Better now than after days of work. */
static int check_output(const char *path, struct error **err) {
    OWN_ERROR problem = NULL;
    if (!path)
        return 0;
    if (directory_make(AT_FDCWD, path, 0755, &problem) < 0)
        return error_set(err, ERROR_INVALID, "outputs cannot go there: %s", problem->message);
    if (faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) < 0)
        return error_set(err, ERROR_INVALID, "outputs cannot go there: %s is not writable", path);
    return 0;
}

int engine_create_run(struct engine *engine, const struct pipeline *pipeline,
                      const struct run_request *request, char **ret_name, struct error **err) {
    if (check_selection(pipeline, request, err) < 0 || check_output(request->output, err) < 0)
        return -1;
    OWN_IMAGE_STORE kept = NULL; /* until the run is written down, which keeps its images */
    if (images_keep(engine, pipeline, &kept, err) < 0)
        return -1;
    OWN_JSON images = images_pin(engine, pipeline, request->images, err);
    if (!images || store_begin(engine->store, err) < 0)
        return -1;
    if (insert_run(engine, pipeline, request, images, ret_name, err) == 0 &&
        store_commit(engine->store, err) == 0)
        return 0;
    store_rollback(engine->store);
    return -1;
}

static int find_like(struct engine *engine, const char *given, char **ret_name,
                     struct error **err) {
    OWN_STRING low = memory_copy_string(given);
    OWN_STRING high = memory_format("%s\xef\xbf\xbf", given);
    if (!low || !high)
        return error_set_memory(err);
    OWN_ROWS rows =
        store_query(engine->store, err, "SELECT name FROM run WHERE name >= ? AND name < ? LIMIT 2",
                    "ss", low, high);
    if (!rows)
        return -1;
    int more = rows_next(rows, err);
    if (more <= 0)
        return more;
    OWN_STRING name = memory_copy_string(rows_text(rows, 0));
    if (!name)
        return error_set_memory(err);
    more = rows_next(rows, err);
    if (more < 0)
        return -1;
    if (more) {
        error_set(err, ERROR_INVALID, "\"%s\" could be %s or %s", given, name, rows_text(rows, 0));
        return error_hint(err, "type more of the name");
    }
    *ret_name = take(&name);
    return 1;
}

static int find_exact(struct engine *engine, const char *given, char **ret_name,
                      struct error **err) {
    bool number = *given && strspn(given, "0123456789") == strlen(given);
    OWN_ROWS rows =
        text_equal(given, "last")
            ? store_query(engine->store, err, "SELECT name FROM run ORDER BY id DESC LIMIT 1", "")
            : store_query(engine->store, err,
                          "SELECT name FROM run WHERE name = ? OR (? AND id = ?)", "sis", given,
                          (int64_t)number, given);
    if (!rows)
        return -1;
    int more = rows_next(rows, err);
    if (more <= 0)
        return more;
    *ret_name = memory_copy_string(rows_text(rows, 0));
    return *ret_name ? 1 : error_set_memory(err);
}

#define NEAREST_MAXIMUM 500

/* The name that was likely meant, of the newest runs. */
static int hint_nearest(struct engine *engine, const char *given, struct error **err) {
    OWN_JSON names = json_array();
    OWN_MEMORY(const char *) list = memory_array(NEAREST_MAXIMUM, sizeof(*list));
    OWN_ROWS rows =
        store_query(engine->store, NULL, "SELECT name FROM run ORDER BY id DESC LIMIT ?", "i",
                    (int64_t)NEAREST_MAXIMUM);
    size_t count = 0;
    while (rows && list && names && rows_next(rows, NULL) > 0 &&
           json_array_append_new(names, json_string(rows_text(rows, 0))) == 0) {
        list[count] = json_string_value(json_array_get(names, count));
        count++;
    }
    const char *near = count ? text_nearest(given, list, count) : NULL;
    if (near)
        return error_hint(err, "did you mean \"%s\"? `glovebox runs` lists them", near);
    return error_hint(err, count ? "`glovebox runs` lists them"
                                 : "nothing has run in this home yet: `glovebox run PIPELINE`");
}

int engine_find_run(struct engine *engine, const char *given, char **ret_name, struct error **err) {
    int found = find_exact(engine, given, ret_name, err);
    if (found == 0)
        found = find_like(engine, given, ret_name, err);
    if (found != 0)
        return found < 0 ? -1 : 0;
    error_set(err, ERROR_NOT_FOUND, "there is no run \"%s\" in %s", given, engine->home);
    return hint_nearest(engine, given, err);
}
