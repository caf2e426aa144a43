/* What a person gives for a run -> checked parameters and inputs. */
#include "pipeline/private-load.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct binder {
    const struct pipeline *pipeline;
    struct trouble trouble;
    struct source source;
    json_t *values;
};

static void complain(struct binder *binder, const char *hint, const char *format, ...)
    PRINTF_LIKE(3, 4);
static void complain(struct binder *binder, const char *hint, const char *format, ...) {
    OWN_BUFFER text = {0};
    va_list list;
    va_start(list, format);
    buffer_format_list(&text, format, list);
    va_end(list);
    trouble_add(&binder->trouble, SEVERITY_ERROR, &binder->source, 0, 0, hint, "%s",
                buffer_text(&text));
}

static void set(struct binder *binder, const char *name, json_t *value) {
    if (!value || json_object_set_new(binder->values, name, value) < 0)
        binder->trouble.no_memory = true;
}

static json_t *finish(struct binder *binder, size_t errors_before, struct error **err) {
    json_t *values = take(&binder->values);
    if (binder->trouble.no_memory)
        error_set_memory(err);
    else if (binder->trouble.diagnostics->errors > errors_before)
        error_set(err, ERROR_INVALID, "%zu mistakes in what was given to the pipeline",
                  binder->trouble.diagnostics->errors - errors_before);
    else
        return values;
    json_decref(values);
    return NULL;
}

#define NAMES_TOLD 10

/* The name that was meant, or those that there are. */
static void suggest(const char *key, const char *const *names, size_t count, struct buffer *ret) {
    const char *near = text_nearest(key, names, count);
    if (near) {
        buffer_format(ret, "did you mean `%s`?", near);
        return;
    }
    buffer_append(ret, count ? "it has: " : "it has none");
    for (size_t i = 0; i < count && i < NAMES_TOLD; i++)
        buffer_format(ret, "%s%s", i ? ", " : "", names[i]);
    if (count > NAMES_TOLD)
        buffer_format(ret, " and %zu more", count - NAMES_TOLD);
}

/* Names given that the pipeline does not know. */
static void check_names(struct binder *binder, const json_t *given, const char *const *names,
                        size_t count, const char *what) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)given, key, value) {
        bool found = false;
        for (size_t i = 0; i < count && !found; i++)
            found = text_equal(names[i], key);
        if (found)
            continue;
        OWN_BUFFER hint = {0};
        suggest(key, names, count, &hint);
        complain(binder, buffer_text(&hint), "the pipeline has no %s `%.100s`", what, key);
    }
}

/* ---------------------------------------------------------------- parameters */

/* Given paths are against the working directory, defaults against the pipeline's folder. */
static char *absolute_path(const struct pipeline *pipeline, const char *path, bool is_default,
                           struct error **err) {
    OWN_STRING folder = NULL;
    if (is_default) {
        size_t length = strlen(pipeline->path) - strlen(path_base_name(pipeline->path));
        folder = length ? memory_copy_bytes(pipeline->path, length) : memory_copy_string(".");
    } else {
        folder = memory_copy_string(".");
    }
    OWN_STRING joined = folder ? path_join(folder, path) : NULL;
    if (!joined) {
        error_set_memory(err);
        return NULL;
    }
    return path_resolve(joined, err);
}

static bool is_right_kind(const char *path, enum value_type type) {
    struct stat status;
    if (stat(path, &status) < 0)
        return false;
    return type == VALUE_DIRECTORY ? S_ISDIR(status.st_mode) : S_ISREG(status.st_mode);
}

static bool is_readable(const char *path, enum value_type type) {
    return access(path, type == VALUE_DIRECTORY ? R_OK | X_OK : R_OK) == 0;
}

static void set_path(struct binder *binder, const char *what, const char *name, const char *path,
                     enum value_type type, bool is_default) {
    OWN_ERROR error = NULL;
    OWN_STRING whole = absolute_path(binder->pipeline, path, is_default, &error);
    if (!whole)
        complain(binder,
                 is_default     ? "its default is relative to the pipeline's folder"
                 : *path == '/' ? "it must be there before the run"
                                : "it is relative to the folder that you are in",
                 "%s `%s`: %s", what, name, error ? error->message : "no memory");
    else if (!is_right_kind(whole, type))
        complain(binder,
                 type == VALUE_DIRECTORY ? "name the folder that holds the file"
                                         : "name one file; pipes, devices and folders are none",
                 "%s `%s`: %s is not a %s", what, name, path, value_type_name(type));
    else if (!is_readable(whole, type))
        complain(binder, "ask its owner, or copy it to where you may read",
                 "%s `%s`: %s cannot be read by this user", what, name, path);
    else
        set(binder, name, json_string(whole));
}

static void set_value(struct binder *binder, const struct parameter *parameter, const json_t *given,
                      bool is_default) {
    OWN_STRING problem = NULL;
    json_t *value = parameter_value(parameter, given, &problem);
    if (!value && problem) {
        complain(binder, *parameter->help ? parameter->help : NULL, "parameter `%s`: %s",
                 parameter->name, problem);
    } else if (value && (parameter->type == VALUE_FILE || parameter->type == VALUE_DIRECTORY)) {
        set_path(binder, "parameter", parameter->name, json_string_value(value), parameter->type,
                 is_default);
        json_decref(value);
    } else {
        set(binder, parameter->name, value);
    }
}

/* A sub-pipeline's parameter whose value its caller makes of other parameters. */
static void set_derived(struct binder *binder, const struct parameter *parameter) {
    OWN_ERROR error = NULL;
    OWN_JSON values = json_pack("{s:O}", "params", binder->values);
    OWN_STRING text =
        values ? template_expand(json_string_value(parameter->fallback), values, &error) : NULL;
    OWN_JSON json = text ? json_string(text) : NULL;
    if (json)
        set_value(binder, parameter, json, false);
    else if (!binder->trouble.diagnostics->errors)
        complain(binder, NULL, "parameter `%s`: %s", parameter->name,
                 error ? error->message : "no memory");
}

json_t *pipeline_bind_parameters(const struct pipeline *pipeline, const json_t *given,
                                 struct diagnostics *diagnostics, struct error **err) {
    struct binder binder = {
        pipeline, {diagnostics, false}, {.path = pipeline->path}, json_object()};
    size_t errors = diagnostics->errors, count = pipeline->parameter_count;
    OWN_MEMORY(const char *) names = memory_array(count, sizeof(*names));
    if (!names || !binder.values) {
        binder.trouble.no_memory = true;
        return finish(&binder, errors, err);
    }
    for (size_t i = 0; i < count; i++)
        names[i] = pipeline->parameters[i].name;
    check_names(&binder, given, names, count, "parameter");
    for (size_t i = 0; i < count; i++) {
        const struct parameter *parameter = &pipeline->parameters[i];
        const json_t *value = json_object_get(given, parameter->name);
        if (value)
            set_value(&binder, parameter, value, false);
        else if (!parameter->fallback)
            complain(&binder, *parameter->help ? parameter->help : NULL,
                     "parameter `%s` needs a value: -p %s=…", parameter->name, parameter->name);
        else if (!parameter->derived)
            set_value(&binder, parameter, parameter->fallback, true);
    }
    /* Callers stand before what they call, so one pass is enough. */
    for (size_t i = 0; i < count; i++) {
        const struct parameter *parameter = &pipeline->parameters[i];
        if (parameter->derived && !json_object_get(given, parameter->name))
            set_derived(&binder, parameter);
    }
    return finish(&binder, errors, err);
}

/* -------------------------------------------------------------------- inputs */

/* MedPerf makes the folders and files that a workflow writes. */
static int make_missing(const char *path, enum value_type type, struct error **err) {
    if (file_exists(AT_FDCWD, path))
        return 0;
    if (type == VALUE_DIRECTORY)
        return directory_make(AT_FDCWD, path, 0777, err);
    OWN_STRING folder = memory_copy_bytes(path, strlen(path) - strlen(path_base_name(path)));
    if (!folder)
        return error_set_memory(err);
    if (*folder && directory_make(AT_FDCWD, folder, 0777, err) < 0)
        return -1;
    OWN_FD fd = file_open(AT_FDCWD, path, O_WRONLY | O_CREAT, 0666, err);
    return fd < 0 ? -1 : 0;
}

static void set_input(struct binder *binder, const struct pipeline_input *input,
                      const json_t *given) {
    OWN_ERROR error = NULL;
    const char *path = given ? json_string_value(given) : input->fallback;
    if (given && !path) {
        complain(binder, NULL, "input `%s` is a path, not %s", input->name, "something else");
        return;
    }
    if (path && !*path) {
        complain(binder, *input->help ? input->help : NULL, "input `%s`: an empty path",
                 input->name);
        return;
    }
    if (!path && input->optional)
        return;
    if (!path) {
        complain(binder, *input->help ? input->help : NULL, "input `%s` needs a %s: -i %s=PATH",
                 input->name, value_type_name(input->type), input->name);
        return;
    }
    if (given && input->writable && input->optional &&
        make_missing(path, input->type, &error) < 0) {
        complain(binder, NULL, "input `%s`: %s", input->name, error ? error->message : "?");
        return;
    }
    set_path(binder, "input", input->name, path, input->type, !given);
}

json_t *pipeline_bind_inputs(const struct pipeline *pipeline, const json_t *given,
                             struct diagnostics *diagnostics, struct error **err) {
    struct binder binder = {
        pipeline, {diagnostics, false}, {.path = pipeline->path}, json_object()};
    size_t errors = diagnostics->errors, count = pipeline->input_count;
    OWN_MEMORY(const char *) names = memory_array(count, sizeof(*names));
    if (!names || !binder.values) {
        binder.trouble.no_memory = true;
        return finish(&binder, errors, err);
    }
    for (size_t i = 0; i < count; i++)
        names[i] = pipeline->inputs[i].name;
    check_names(&binder, given, names, count, "input");
    for (size_t i = 0; i < count; i++)
        set_input(&binder, &pipeline->inputs[i], json_object_get(given, pipeline->inputs[i].name));
    return finish(&binder, errors, err);
}
