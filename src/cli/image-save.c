/* glovebox image save: images, or pipelines with all that they need, as one file. */
#include "cli/image.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXTRAS_MAXIMUM 10000

struct bundle {
    struct image_session *session;
    json_t *images, *pipelines;
    struct image_extra *extras;
    size_t extra_count, extra_capacity;
    struct pipeline **loaded; /* their texts are extras */
    size_t loaded_count;
};

static void bundle_release(struct bundle *bundle) {
    for (size_t i = 0; i < bundle->extra_count; i++) {
        memory_free((char *)(uintptr_t)bundle->extras[i].name);
        memory_free((char *)(uintptr_t)bundle->extras[i].source);
    }
    for (size_t i = 0; bundle->loaded && i < bundle->loaded_count; i++)
        pipeline_free(bundle->loaded[i]);
    memory_free(bundle->loaded);
    memory_free(bundle->extras);
    json_decref(bundle->images);
    json_decref(bundle->pipelines);
}

/* Takes over `name` and `source`. */
static int add_extra(struct bundle *bundle, char *name, char *source, const char *text, size_t size,
                     struct error **err) {
    if (!name || array_reserve(&bundle->extras, &bundle->extra_capacity, bundle->extra_count,
                               sizeof(*bundle->extras), EXTRAS_MAXIMUM, err) < 0) {
        if (!name)
            error_set_memory(err);
        memory_free(name);
        memory_free(source);
        return -1;
    }
    bundle->extras[bundle->extra_count++] = (struct image_extra){name, source, text, size};
    return 0;
}

static int add_image(struct bundle *bundle, const char *name, struct error **err) {
    size_t i;
    const json_t *one;
    json_array_foreach(bundle->images, i, one) {
        if (text_equal(json_string_value(one), name))
            return 0;
    }
    return json_array_append_new(bundle->images, json_string(name)) < 0 ? error_set_memory(err) : 0;
}

/* ------------------------------------------------------- a pipeline's places */

/* The folder that all files of a pipeline are below: what they call each other stays true. */
struct places {
    const struct pipeline *pipeline;
    char *own;    /* the pipeline's file, resolved */
    char *common; /* with a slash at its end */
    char *prefix; /* "pipelines/NAME/" */
};

static void places_release(struct places *places) {
    memory_free(places->own);
    memory_free(places->common);
    memory_free(places->prefix);
}

static void narrow(char *common, const char *path) {
    size_t size = 0, slash = 0;
    while (common[size] && common[size] == path[size]) {
        slash = common[size] == '/' ? size + 1 : slash;
        size++;
    }
    common[slash] = '\0';
}

/* A default that is a path, of a parameter of type file: relative to the pipeline's file, as
 * pipeline_bind_parameters() takes it. NULL: it has none, or none that is there. */
static char *default_path(const struct places *places, const struct parameter *parameter) {
    const char *text = json_string_value(parameter->fallback);
    if (parameter->type != VALUE_FILE || !text || parameter->derived)
        return NULL;
    const char *base = path_base_name(places->own);
    OWN_STRING folder = memory_copy_bytes(places->own, (size_t)(base - places->own));
    OWN_STRING whole = folder ? path_join(folder, text) : NULL;
    struct stat status;
    if (!whole || stat(whole, &status) < 0 || !S_ISREG(status.st_mode))
        return NULL;
    return path_resolve(whole, NULL);
}

static int find_places(struct places *places, struct error **err) {
    const struct pipeline *pipeline = places->pipeline;
    places->own = path_resolve(pipeline->path, err);
    if (!places->own)
        return -1;
    OWN_STRING safe = text_safe_name(pipeline->name);
    const char *base = path_base_name(places->own);
    places->common = memory_copy_bytes(places->own, (size_t)(base - places->own));
    places->prefix = safe ? memory_format("pipelines/%s/", safe) : NULL;
    if (!places->common || !places->prefix)
        return error_set_memory(err);
    for (const struct pipeline_file *file = pipeline->files; file; file = file->next) {
        OWN_STRING path = path_resolve(file->path, err);
        if (!path)
            return -1;
        narrow(places->common, path);
    }
    for (size_t i = 0; i < pipeline->parameter_count; i++) {
        const char *text = json_string_value(pipeline->parameters[i].fallback);
        OWN_STRING path = default_path(places, &pipeline->parameters[i]);
        if (path &&
            *text != '/') /* an absolute one would lead up to the root, and stays no default */
            narrow(places->common, path);
    }
    return 0;
}

static char *place_of(const struct places *places, const char *path) {
    return memory_format("%s%s", places->prefix, path + strlen(places->common));
}

/* Models, and whatever a parameter names by default. */
static int add_parameters(struct bundle *bundle, const struct places *places, json_t *named,
                          struct error **err) {
    for (size_t i = 0; i < places->pipeline->parameter_count; i++) {
        const struct parameter *parameter = &places->pipeline->parameters[i];
        char *path = default_path(places, parameter);
        if (!path) {
            if (parameter->type == VALUE_FILE && json_is_string(parameter->fallback))
                tell(bundle->session->invocation,
                     "parameter %s: no file is where its default says: it will have to be given\n",
                     parameter->name);
            continue;
        }
        bool absolute = *json_string_value(parameter->fallback) == '/';
        OWN_STRING safe = text_safe_name(parameter->name);
        char *name =
            !absolute ? place_of(places, path)
            : safe    ? memory_format("%sfiles/%s/%s", places->prefix, safe, path_base_name(path))
                      : NULL;
        if (name && absolute &&
            json_object_set_new(named, parameter->name, json_string(name)) < 0) {
            memory_free(name);
            name = NULL;
        }
        if (add_extra(bundle, name, path, NULL, 0, err) < 0)
            return -1;
    }
    return 0;
}

static int add_files(struct bundle *bundle, const struct places *places, struct error **err) {
    for (const struct pipeline_file *file = places->pipeline->files; file; file = file->next) {
        OWN_STRING path = path_resolve(file->path, err);
        if (!path ||
            add_extra(bundle, place_of(places, path), NULL, file->text, file->size, err) < 0)
            return -1;
    }
    return 0;
}

static int add_pipeline(struct bundle *bundle, struct pipeline *pipeline, struct error **err) {
    struct places places CLEANUP(places_release) = {.pipeline = pipeline};
    OWN_JSON named = json_object();
    if (!named)
        return error_set_memory(err);
    if (find_places(&places, err) < 0 || add_files(bundle, &places, err) < 0 ||
        add_parameters(bundle, &places, named, err) < 0)
        return -1;
    for (size_t i = 0; i < pipeline->step_count; i++)
        if (pipeline->steps[i].image && add_image(bundle, pipeline->steps[i].image, err) < 0)
            return -1;
    OWN_STRING path = place_of(&places, places.own);
    json_t *one =
        json_pack("{s:s, s:s, s:O}", "pipeline", pipeline->name, "path", path, "parameters", named);
    return json_array_append_new(bundle->pipelines, one) < 0 ? error_set_memory(err) : 0;
}

/* -------------------------------------------------------------------- the command */

static bool is_pipeline(const char *word) {
    struct stat status;
    bool yaml = text_ends_with(word, ".yaml") || text_ends_with(word, ".yml");
    return yaml || (strchr(word, '/') && stat(word, &status) == 0 && S_ISREG(status.st_mode));
}

/* A pipeline with mistakes is not worth carrying: STATUS_INVALID. */
static int collect(struct bundle *bundle, const char *word, struct error **err) {
    const struct invocation *invocation = bundle->session->invocation;
    if (!is_pipeline(word))
        return add_image(bundle, word, err);
    OWN_DIAGNOSTICS diagnostics = {0};
    struct pipeline *pipeline =
        session_load(invocation, word, bundle->session->policy, true, NULL, &diagnostics, err);
    if (diagnostics.count && session_print_diagnostics(invocation, &diagnostics, err) < 0) {
        pipeline_free(pipeline);
        return -1;
    }
    if (!pipeline)
        return diagnostics.errors ? STATUS_INVALID : -1;
    bundle->loaded[bundle->loaded_count++] = pipeline;
    return add_pipeline(bundle, pipeline, err);
}

static int report(const struct bundle *bundle, const char *path, struct error **err) {
    const struct invocation *invocation = bundle->session->invocation;
    struct stat status = {0};
    if (stat(path, &status) < 0)
        status.st_size = 0;
    if (given_flag(invocation, "json")) {
        OWN_JSON json = json_pack("{s:s, s:I, s:O, s:O, s:I}", "path", path, "size",
                                  (json_int_t)status.st_size, "images", bundle->images, "pipelines",
                                  bundle->pipelines, "files", (json_int_t)bundle->extra_count);
        return json ? print_json(json, false, err) : error_set_memory(err);
    }
    OWN_BUFFER size = {0};
    text_format_size(&size, (uint64_t)status.st_size);
    tell(invocation, "%s: %zu pipeline%s, %zu file%s, %zu image%s, %s\n", path,
         json_array_size(bundle->pipelines), json_array_size(bundle->pipelines) == 1 ? "" : "s",
         bundle->extra_count, bundle->extra_count == 1 ? "" : "s", json_array_size(bundle->images),
         json_array_size(bundle->images) == 1 ? "" : "s", buffer_text(&size));
    return 0;
}

static int handle(const struct invocation *invocation, struct error **err) {
    OWN_IMAGE_SESSION session = {0};
    struct bundle bundle CLEANUP(bundle_release) = {.session = &session};
    const char *path = given_value(invocation, "output", NULL);
    if (!path) {
        error_set(err, ERROR_USAGE, "image save: --output is missing");
        return error_hint(err, "for example: glovebox image save -o bundle.tar pipeline.yaml");
    }
    if (image_session_open(invocation, false, &session, err) < 0)
        return -1;
    bundle.images = json_array();
    bundle.pipelines = json_array();
    bundle.loaded = memory_array(invocation->argument_count + 1, sizeof(struct pipeline *));
    if (!bundle.images || !bundle.pipelines || !bundle.loaded)
        return error_set_memory(err);
    for (size_t i = 0; i < invocation->argument_count; i++) {
        int status = collect(&bundle, invocation->arguments[i], err);
        if (status != 0)
            return status;
    }
    bool bundled = json_array_size(bundle.pipelines) > 0;
    if (image_save(session.store, bundle.images, bundle.extras, bundle.extra_count,
                   bundled ? bundle.pipelines : NULL, path, &session.options, err) < 0 ||
        report(&bundle, path, err) < 0)
        return -1;
    return STATUS_SUCCEEDED;
}

static const struct argument_entry arguments[] = {
    {.name = "WHAT",
     .help = "the file of a pipeline, or the name of an image",
     .complete = COMPLETE_FILE,
     .repeats = true},
};
static const struct option_entry options[] = {
    {.name = "output",
     .letter = 'o',
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "the file to write"},
    SESSION_PLUGINS_OPTION,
};

const struct command command_image_save = {
    .name = "image save",
    .group = GROUP_IMAGE,
    .summary = "write pipelines with all their images as one file",
    .description =
        "Writes a bundle for a machine without a network: pipelines, their sub-pipelines and "
        "plugins, "
        "the models and other files that their parameters name by default, and all their images. "
        "\"glovebox image load --into DIR\" takes it in elsewhere and compares every digest. With "
        "names of images alone, what is written is an OCI archive; a bundle is one too, so other "
        "programs can read its images.",
    .examples = "# All of a study in one file\n"
                "glovebox image save -o study.tar workflow.yaml\n"
                "# On the other machine\n"
                "glovebox image load --into study study.tar\n"
                "# Only an image\n"
                "glovebox image save -o busybox.tar busybox\n",
    COMMAND_ARGUMENTS(arguments),
    COMMAND_OPTIONS(options),
    .handle = handle,
};
