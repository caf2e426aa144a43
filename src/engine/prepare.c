/* From a task to a job: command line, environment, mounts, and the recipe whose digest is the
 * task's key. */
#include "private.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#define TOOLS_FOLDER "/opt/glovebox"

int flight_add_mount(struct flight *flight, const char *source, const char *target, bool writable,
                     struct error **err) {
    if (array_reserve(&flight->mounts, &flight->mount_capacity, flight->mount_count,
                      sizeof(*flight->mounts), FLIGHT_MAXIMUM_PARTS, err) < 0)
        return -1;
    struct compute_mount *mount = &flight->mounts[flight->mount_count];
    mount->source = arena_copy_string(flight->arena, source);
    mount->target = arena_copy_string(flight->arena, target);
    mount->writable = writable;
    if (!mount->source || !mount->target)
        return error_set_memory(err);
    flight->mount_count++;
    return 0;
}

int flight_add_farm(struct flight *flight, const char *source, const char *target,
                    struct error **err) {
    if (array_reserve(&flight->farms, &flight->farm_capacity, flight->farm_count,
                      sizeof(*flight->farms), FLIGHT_MAXIMUM_FARMS, err) < 0)
        return -1;
    struct farm *farm = &flight->farms[flight->farm_count];
    farm->source = arena_copy_string(flight->arena, source);
    farm->target = arena_copy_string(flight->arena, target);
    if (!farm->source || !farm->target)
        return error_set_memory(err);
    flight->farm_count++;
    return 0;
}

/* Keeps room for the NULL at the end. */
static int add_text(const char ***items, size_t *capacity, size_t *count, const char *text,
                    struct error **err) {
    if (!text)
        return error_set_memory(err);
    if (array_reserve(items, capacity, *count + 1, sizeof(**items), FLIGHT_MAXIMUM_PARTS, err) < 0)
        return -1;
    (*items)[(*count)++] = text;
    (*items)[*count] = NULL;
    return 0;
}

static int add_argument(struct flight *flight, const char *text, struct error **err) {
    return add_text(&flight->arguments, &flight->argument_capacity, &flight->argument_count, text,
                    err);
}

static int add_environment(struct flight *flight, const char *name, const char *value,
                           struct error **err) {
    return add_text(&flight->environment, &flight->environment_capacity, &flight->environment_count,
                    arena_format(flight->arena, "%s=%s", name, value), err);
}

/* ----------------------------------------------------------- file parameters */

static bool text_mentions(const char *text, const char *what) {
    const char *at = text ? strstr(text, what) : NULL;
    size_t size = strlen(what);
    for (; at; at = strstr(at + 1, what)) {
        char next = at[size];
        if (!((next >= 'a' && next <= 'z') || (next >= 'A' && next <= 'Z') ||
              (next >= '0' && next <= '9') || next == '_' || next == '-'))
            return true;
    }
    return false;
}

static bool step_mentions(const struct step *step, const char *what) {
    bool found = false;
    for (size_t i = 0; i < step->command_count; i++)
        found |= text_mentions(step->command[i], what);
    for (size_t i = 0; i < step->entrypoint_count; i++)
        found |= text_mentions(step->entrypoint[i], what);
    for (size_t i = 0; i < step->environment_count; i++)
        found |= text_mentions(step->environment[i].text, what);
    return found;
}

struct sidecars {
    struct flight *flight;
    const char *stem, *target;
};

/* Files beside a file parameter that share its stem ("model.onnx", "model.json") come along. */
static int mount_sidecar(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                         struct error **err) {
    const struct sidecars *sidecars = context;
    *verdict = S_ISDIR(entry->status->st_mode) ? TREE_SKIP : TREE_CONTINUE;
    size_t size = strlen(sidecars->stem);
    if (!S_ISREG(entry->status->st_mode) ||
        strncmp(path_base_name(entry->name), path_base_name(sidecars->stem),
                strlen(path_base_name(sidecars->stem))) != 0 ||
        entry->name[strlen(path_base_name(sidecars->stem))] != '.')
        return 0;
    OWN_STRING source =
        memory_format("%.*s%s", (int)(size - strlen(path_base_name(sidecars->stem))),
                      sidecars->stem, entry->name);
    OWN_STRING target = path_join(sidecars->target, entry->name);
    uint8_t digest[SHA256_SIZE];
    char text[SHA256_HEX_SIZE];
    if (!source || !target)
        return error_set_memory(err);
    if (sha256_file(AT_FDCWD, source, digest, NULL, err) < 0)
        return -1;
    hex_encode(digest, sizeof(digest), text);
    json_object_set_new(json_object_get(sidecars->flight->recipe, "files"), target,
                        json_string(text));
    return flight_add_mount(sidecars->flight, source, target, false, err);
}

static int mount_parameter(struct flight *flight, const struct parameter *parameter,
                           const char *path, json_t *parameters, struct error **err) {
    const char *target = arena_format(flight->arena, "/params/%s", parameter->name);
    if (!target)
        return error_set_memory(err);
    if (parameter->type == VALUE_DIRECTORY) {
        json_object_set_new(parameters, parameter->name, json_string(target));
        return flight_add_mount(flight, path, target, false, err);
    }
    const char *name = path_base_name(path), *dot = strrchr(name, '.');
    OWN_STRING folder = memory_copy_bytes(path, (size_t)(name - path));
    OWN_STRING stem =
        memory_copy_bytes(path, dot && dot != name ? (size_t)(dot - path) : strlen(path));
    OWN_STRING shown = path_join(target, name);
    if (!folder || !stem || !shown)
        return error_set_memory(err);
    json_object_set_new(parameters, parameter->name, json_string(shown));
    if (!dot || dot == name)
        return flight_add_mount(flight, path, shown, false, err);
    struct sidecars sidecars = {flight, stem, target};
    return tree_walk(AT_FDCWD, *folder ? folder : ".", mount_sidecar, &sidecars, err);
}

/* Parameters as the step sees them: files where they are mounted. */
static int show_parameters(struct flight *flight, json_t *values, struct error **err) {
    const struct run *run = flight->task->step->run;
    const struct step *step = flight->task->step->step;
    OWN_JSON parameters = json_copy(run->parameters);
    if (!parameters)
        return error_set_memory(err);
    for (size_t i = 0; i < run->pipeline->parameter_count; i++) {
        const struct parameter *parameter = &run->pipeline->parameters[i];
        const struct source *source = &run->parameter_sources[i];
        OWN_STRING mention = memory_format("params.%s", parameter->name);
        if (!mention)
            return error_set_memory(err);
        if (!source->path || !step_mentions(step, mention))
            continue;
        uint8_t digest[SHA256_SIZE];
        char text[SHA256_HEX_SIZE];
        if (!source->manifest || !manifest_digest(source->manifest, "", digest))
            return error_set(err, ERROR_NOT_FOUND, "parameter %s: no such file", parameter->name);
        hex_encode(digest, sizeof(digest), text);
        json_object_set_new(json_object_get(flight->recipe, "files"), mention, json_string(text));
        if (step->box == BOX_WISH_SEALED &&
            mount_parameter(flight, parameter, source->path, parameters, err) < 0)
            return error_wrap(err, "parameter %s", parameter->name);
    }
    json_object_set(values, "params", parameters);
    return 0;
}

/* ------------------------------------------------------------------ command */

/* End of the "${…}" that starts at `text`, or NULL. Braces and strings inside are jq's. */
static const char *template_end(const char *text) {
    unsigned depth = 0;
    bool quoted = false;
    for (; *text; text++) {
        if (*text == '\\' && quoted && text[1])
            text++;
        else if (*text == '"')
            quoted = !quoted;
        else if (*text == '{' && !quoted)
            depth++;
        else if (*text == '}' && !quoted && --depth == 0)
            return text + 1;
    }
    return NULL;
}

/* In a shell command a value must not become shell text: "${x}" becomes a shell variable that
 * holds it, and quoting works as people know it from the shell. */
static int shell_command(struct flight *flight, const char *text, const json_t *values,
                         struct error **err) {
    OWN_BUFFER out = {.maximum = 1 << 20};
    unsigned count = 0;
    while (*text) {
        if (text_starts_with(text, "$${")) {
            buffer_append(&out, "${");
            text += 3;
            continue;
        }
        const char *end = text_starts_with(text, "${") ? template_end(text) : NULL;
        if (!end) {
            buffer_append_char(&out, *text++);
            continue;
        }
        OWN_STRING one = memory_copy_bytes(text, (size_t)(end - text));
        OWN_STRING value =
            one ? template_expand_cached(one, values, flight->engine->expressions, err) : NULL;
        if (!value)
            return one ? -1 : error_set_memory(err);
        char name[32];
        (void)snprintf(name, sizeof(name), "GLOVEBOX_%u", ++count);
        if (add_environment(flight, name, value, err) < 0)
            return -1;
        buffer_format(&out, "${%s}", name);
        text = end;
    }
    if (buffer_check(&out, err) < 0)
        return -1;
    return add_argument(flight, arena_copy_string(flight->arena, buffer_text(&out)), err);
}

static int add_expanded(struct flight *flight, const char *text, const json_t *values,
                        struct error **err) {
    OWN_JSON words = template_expand_words(text, values, flight->engine->expressions, err);
    size_t index;
    json_t *word;
    if (!words)
        return -1;
    json_array_foreach(words, index, word) {
        if (add_argument(flight, arena_copy_string(flight->arena, json_string_value(word)), err) <
            0)
            return -1;
    }
    return 0;
}

static int make_tool_command(struct flight *flight, const char *in, const char *out,
                             struct error **err) {
    bool sealed = flight->task->step->step->box == BOX_WISH_SEALED;
    const char *own = sealed ? TOOLS_FOLDER : flight->engine->own_folder;
    if (add_argument(flight, arena_format(flight->arena, "%s/glovebox", own), err) < 0 ||
        add_argument(flight, "tool", err) < 0 ||
        add_argument(flight, flight->task->step->step->tool, err) < 0 ||
        add_argument(flight, in, err) < 0 || add_argument(flight, out, err) < 0)
        return -1;
    return sealed ? flight_add_mount(flight, flight->engine->own_folder, TOOLS_FOLDER, false, err)
                  : 0;
}

/* It stands before the command's words, which whoever reads a recipe or a log knows as one line. */
static int make_entrypoint(struct flight *flight, const json_t *values, struct error **err) {
    const struct step *step = flight->task->step->step;
    for (size_t i = 0; i < step->entrypoint_count; i++)
        if (add_expanded(flight, step->entrypoint[i], values, err) < 0)
            return -1;
    size_t count = flight->argument_count;
    if (!step->entrypoint_count || !count)
        return 0;
    flight->entrypoint = arena_allocate(flight->arena, (count + 1) * sizeof(*flight->entrypoint));
    if (!flight->entrypoint)
        return error_set_memory(err);
    memcpy(flight->entrypoint, flight->arguments, count * sizeof(*flight->entrypoint));
    flight->entrypoint_count = count;
    json_object_set_new(flight->recipe, "entrypoint", json_integer((json_int_t)count));
    return 0;
}

static int make_command(struct flight *flight, const json_t *values, const char *in,
                        const char *out, struct error **err) {
    const struct step *step = flight->task->step->step;
    if (step->type == STEP_TOOL && make_tool_command(flight, in, out, err) < 0)
        return -1;
    if (make_entrypoint(flight, values, err) < 0)
        return error_wrap(err, "entrypoint");
    /* An image may have a command of its own: then the list is empty, but there. */
    if (array_reserve(&flight->arguments, &flight->argument_capacity, flight->argument_count,
                      sizeof(*flight->arguments), FLIGHT_MAXIMUM_PARTS, err) < 0)
        return -1;
    bool shell = step->type != STEP_TOOL && words_begin_shell(step->command, step->command_count);
    for (size_t i = 0; i < step->command_count; i++) {
        int result = shell && i == 2 ? shell_command(flight, step->command[i], values, err)
                                     : add_expanded(flight, step->command[i], values, err);
        if (result < 0)
            return error_wrap(err, "command");
    }
    return 0;
}

/* An image brings its own. */
static int add_host_environment(struct flight *flight, struct error **err) {
    bool sealed = flight->task->step->step->box == BOX_WISH_SEALED;
    if (add_environment(flight, "PATH",
                        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", err) < 0 ||
        add_environment(flight, "HOME", sealed ? "/tmp" : flight->work, err) < 0 ||
        add_environment(flight, "TMPDIR", sealed ? "/tmp" : flight->work, err) < 0)
        return -1;
    return add_environment(flight, "LANG", "C.UTF-8", err);
}

static int make_environment(struct flight *flight, const json_t *values, const char *in,
                            const char *out, struct error **err) {
    const struct step *step = flight->task->step->step;
    const char *key = flight->task->node->key;
    if ((!step->image && add_host_environment(flight, err) < 0) ||
        add_environment(flight, "GLOVEBOX_IN", in, err) < 0 ||
        add_environment(flight, "GLOVEBOX_OUT", out, err) < 0 ||
        add_environment(flight, "GLOVEBOX_PARTITION", key, err) < 0)
        return -1;
    for (size_t i = 0; i < step->environment_count; i++) {
        OWN_STRING value = template_expand_cached(step->environment[i].text, values,
                                                  flight->engine->expressions, err);
        if (!value)
            return error_wrap(err, "env %s", step->environment[i].name);
        if (add_environment(flight, step->environment[i].name, value, err) < 0)
            return -1;
    }
    return 0;
}

static int mount_secrets(struct flight *flight, struct error **err) {
    const struct step *step = flight->task->step->step;
    json_t *digests = step->secret_count ? json_object() : NULL;
    if (digests)
        json_object_set_new(flight->recipe, "secrets", digests);
    for (size_t i = 0; i < step->secret_count; i++) {
        OWN_STRING source = home_path(flight->engine, "secrets/%s", step->secrets[i]);
        OWN_STRING target = memory_format("/run/secrets/%s", step->secrets[i]);
        char digest[SHA256_HEX_SIZE];
        if (!source || !target)
            return error_set_memory(err);
        if (secret_identify(flight->engine, step->secrets[i], digest, err) < 0 ||
            flight_add_mount(flight, source, target, false, err) < 0)
            return -1;
        json_object_set_new(digests, step->secrets[i], json_string(digest));
    }
    return 0;
}

/* ------------------------------------------------------------------- recipe */

static json_t *text_array(const char *const *items, size_t count) {
    json_t *array = json_array();
    for (size_t i = 0; array && i < count; i++)
        json_array_append_new(array, json_string(items[i]));
    return array;
}

static int begin_recipe(struct flight *flight, struct error **err) {
    const struct step *step = flight->task->step->step;
    flight->recipe =
        json_pack("{s:i, s:s, s:s*, s:s*, s:s, s:{}, s:{}, s:{}, s:s*}", "recipe", 1, "type",
                  step_type_name(step->type), "tool", step->tool, "image",
                  images_digest(images_of(flight->task->step->run, step)), "partition",
                  flight->task->node->key, "inputs", "mounts", "files", "network", step->network);
    if (flight->recipe && step->writable_root)
        json_object_set_new(flight->recipe, "writable_root", json_true());
    if (flight->recipe && step->users == USERS_IMAGE)
        json_object_set_new(flight->recipe, "users", json_string("image"));
    flight->in_paths = json_object();
    return flight->recipe && flight->in_paths ? 0 : error_set_memory(err);
}

/* The digest must not depend on where this attempt happens to work: with the box off, host paths
 * in the command line stand in the recipe as they would look in a box. */
static int finish_recipe(struct flight *flight, struct error **err) {
    json_object_set_new(flight->recipe, "command",
                        text_array(flight->arguments, flight->argument_count));
    json_object_set_new(flight->recipe, "environment",
                        text_array(flight->environment, flight->environment_count));
    if (flight->task->step->step->type == STEP_TOOL)
        json_object_set_new(flight->recipe, "glovebox", json_string(GLOVEBOX_VERSION));
    OWN_STRING text = json_canonical(flight->recipe, err);
    if (!text)
        return -1;
    const char *from = flight->work;
    OWN_BUFFER neutral = {.maximum = (size_t)16 << 20};
    for (const char *at = text; *at;) {
        const char *hit = strstr(at, from);
        buffer_append_bytes(&neutral, at, hit ? (size_t)(hit - at) : strlen(at));
        if (!hit)
            break;
        buffer_append(&neutral, "/work");
        at = hit + strlen(from);
    }
    flight->recipe_text = buffer_take(&neutral, err);
    if (!flight->recipe_text)
        return -1;
    sha256_of(flight->recipe_text, strlen(flight->recipe_text), flight->recipe_key);
    memcpy(flight->task->key, flight->recipe_key, SHA256_SIZE);
    flight->task->has_key = true;
    return 0;
}

/* The pipeline was checked against it when the run was made; it may be another one by now. */
static int check_policy(const struct flight *flight, struct error **err) {
    const struct step *step = flight->task->step->step;
    const struct policy *policy = flight->engine->policy;
    if (step->box == BOX_WISH_OFF && policy_allows(policy, "box", "off", err) < 0)
        return -1;
    if (step->users == USERS_IMAGE && policy_allows(policy, "users", "image", err) < 0)
        return -1;
    const char *pinned = images_of(flight->task->step->run, step);
    if (pinned && policy_check_pinned(policy, flight->engine->home, step->image, pinned, err) < 0)
        return -1;
    if (!step->network || text_equal(step->network, "none"))
        return 0;
    return policy_allows(policy, "network", step->network, err);
}

static int compare_targets(const void *a, const void *b) {
    const struct compute_mount *x = a, *y = b;
    return strcmp(x->target, y->target);
}

/* A folder before what is mounted inside it. */
static void sort_mounts(struct flight *flight) {
    if (flight->mount_count)
        qsort(flight->mounts, flight->mount_count, sizeof(*flight->mounts), compare_targets);
}

int flight_prepare(struct flight *flight, struct error **err) {
    const struct step *step = flight->task->step->step;
    bool sealed = step->box == BOX_WISH_SEALED;
    flight->cacheable = step->cache == CACHE_ON;
    if (check_policy(flight, err) < 0 || begin_recipe(flight, err) < 0 ||
        flight_prepare_inputs(flight, err) < 0 || flight_prepare_mounts(flight, err) < 0)
        return -1;
    const char *in = json_get_string(flight->in_paths, "", NULL);
    if (!in && sealed)
        in = "/in";
    if (!in)
        in = arena_format(flight->arena, "%s/in", flight->work);
    const char *out = sealed ? "/out" : flight->out;
    OWN_JSON values = values_of(flight->task, step_mentions(step, "results"), err);
    if (!values || !in)
        return -1;
    json_t *single = json_object_get(flight->in_paths, "");
    json_object_set(values, "in", single ? single : flight->in_paths);
    json_object_set_new(values, "out", json_string(out));
    /* MedPerf's steps know their own mounts only, which may be called /in and /out too. */
    bool ours = flight->task->step->run->pipeline->dialect != DIALECT_MEDPERF;
    if (sealed && ours && flight_add_mount(flight, flight->out, "/out", true, err) < 0)
        return -1;
    if (sealed && ours && !json_object_size(flight->in_paths)) {
        OWN_STRING empty = home_path(flight->engine, "empty");
        if (!empty || flight_add_mount(flight, empty, "/in", false, err) < 0)
            return error_set_memory(err);
    }
    if (mount_secrets(flight, err) < 0 || show_parameters(flight, values, err) < 0 ||
        make_environment(flight, values, in, out, err) < 0 ||
        make_command(flight, values, in, out, err) < 0)
        return -1;
    sort_mounts(flight);
    return finish_recipe(flight, err);
}
