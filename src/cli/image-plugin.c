/* glovebox image plugin: what the image of a ChRIS plugin says of itself. A run of one step asks
 * it, in the box; the next time the answer is reused, for as long as the image is the same. */
#include "cli/image.h"

#include <fcntl.h>
#include <unistd.h>

#define DESCRIPTOR_MAXIMUM ((size_t)4 << 20)

/* Newer plugins have chris_plugin_info beside their program, older ones answer to --json. */
static const char ask[] =
    "if command -v chris_plugin_info >/dev/null 2>&1; then\n"
    "    exec chris_plugin_info -d \"$0\" >/out/descriptor.json\n"
    "fi\n"
    "if [ \"$1\" ]; then exec \"$1\" --json >/out/descriptor.json; fi\n"
    "echo 'the image has neither chris_plugin_info nor a command of its own' >&2\n"
    "exit 1\n";

/* The program that the image runs when it is told nothing; "" when it has none. */
static int find_program(const struct invocation *invocation, const char *image, char **ret,
                        struct error **err) {
    static const char *const keys[] = {"Entrypoint", "Cmd"};
    OWN_IMAGE_SESSION session = {0};
    OWN_IMAGE found = {0};
    const char *program = NULL;
    if (image_session_open(invocation, false, &session, err) < 0)
        return -1;
    int is_here = image_find(session.store, image, &found, err);
    if (is_here < 0)
        return -1;
    if (!is_here) {
        error_set(err, ERROR_NOT_FOUND, "there is no image %s here", image);
        return error_hint(err, "`glovebox image load FILE` brings it");
    }
    const json_t *config = json_object_get(found.config, "config");
    for (size_t i = 0; i < ARRAY_SIZE(keys) && !program; i++)
        program = json_string_value(json_array_get(json_object_get(config, keys[i]), 0));
    *ret = template_escape(program ? program : "");
    return *ret ? 0 : error_set_memory(err);
}

static struct pipeline *make_pipeline(const char *image, const char *program, struct error **err) {
    OWN_JSON document = json_pack(
        "{s:s, s:{s:s}, s:[{s:s, s:s, s:[s, s, s], s:[s, s], s:b}]}", "name", "chris-plugin",
        "outputs", "descriptor", "ask/descriptor.json", "steps", "id", "ask", "image", image,
        "entrypoint", "sh", "-c", ask, "command", image, program, "writable_root", 1);
    struct pipeline_options options = {.can_run_images = true};
    if (!document) {
        error_set_memory(err);
        return NULL;
    }
    return pipeline_from_document(document, "chris-plugin", &options, err);
}

/* Runs it to its end; *ret is the path of what the plugin said. */
static int run_to_end(struct engine *engine, const struct pipeline *pipeline, char **ret,
                      struct error **err) {
    OWN_JSON none = json_object();
    struct run_request request = {.parameters = none, .inputs = none};
    struct drive_options options = {0};
    enum run_state state = RUN_PLANNED;
    OWN_STRING run = NULL;
    if (!none)
        return error_set_memory(err);
    if (engine_create_run(engine, pipeline, &request, &run, err) < 0 ||
        engine_drive(engine, run, &options, &state, err) < 0)
        return -1;
    OWN_JSON status = engine_status(engine, run, err);
    if (!status)
        return -1;
    const char *path = json_get_string(json_object_get(status, "outputs"), "descriptor", NULL);
    if (state != RUN_SUCCEEDED || !path) {
        error_set(err, ERROR_INVALID, "the image does not say what plugin it is");
        return error_hint(err, "glovebox logs %s ask: what it said instead", run);
    }
    *ret = memory_copy_string(path);
    return *ret ? 0 : error_set_memory(err);
}

/* It must be one that a pipeline can use; the image is the one that was asked. */
static json_t *read_descriptor(const char *path, const char *image, struct error **err) {
    OWN_JSON plugin = json_read_file(AT_FDCWD, path, DESCRIPTOR_MAXIMUM, err);
    if (!plugin)
        return NULL;
    if (!json_is_object(plugin) ||
        json_object_set_new(plugin, "dock_image", json_string(image)) < 0) {
        error_set(err, ERROR_INVALID, "what the image says of itself is no descriptor");
        return NULL;
    }
    OWN_STRING text = json_text(plugin, 0, err);
    OWN_DIAGNOSTICS diagnostics = {0};
    struct pipeline_options options = {.can_run_images = true};
    OWN_PIPELINE pipeline = NULL;
    if (!text)
        return NULL;
    if (!(pipeline = pipeline_parse(text, strlen(text), image, &options, &diagnostics, err))) {
        if (diagnostics.errors)
            error_wrap(err, "%s", diagnostics.items[0].message);
        error_wrap(err, "what the image says of itself");
        return NULL;
    }
    return take(&plugin);
}

static bool is_file_name(const char *text) {
    return *text && *text != '.' && !strchr(text, '/') && strlen(text) < 100;
}

/* DIR/NAME-VERSION.json, where a pipeline that is beside DIR looks for it. */
static int save(const json_t *plugin, const char *folder, struct error **err) {
    const char *name = json_get_string(plugin, "name", "");
    const char *version = json_get_string(plugin, "version", "");
    if (!is_file_name(name) || !is_file_name(version))
        return error_set(err, ERROR_INVALID,
                         "the plugin's name or version cannot be a file's name");
    OWN_STRING path = memory_format("%s/%s-%s.json", folder, name, version);
    OWN_STRING text = json_text(plugin, JSON_INDENT(2), err);
    if (!path || !text)
        return error_set_memory(err);
    if (directory_make(AT_FDCWD, folder, 0777, err) < 0 ||
        file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644, err) < 0)
        return -1;
    OWN_BUFFER out = {0};
    text_append_printable(&out, path);
    buffer_append_char(&out, '\n');
    return print_checked(&out, err);
}

static int plugin(const struct invocation *invocation, struct error **err) {
    const char *image = given_argument(invocation, 0),
               *folder = given_value(invocation, "save", NULL);
    OWN_STRING program = NULL;
    OWN_STRING path = NULL;
    if (find_program(invocation, image, &program, err) < 0)
        return -1;
    OWN_PIPELINE pipeline = make_pipeline(image, program, err);
    OWN_ENGINE engine = NULL;
    if (!pipeline || session_open(invocation, SESSION_MAKE, &engine, err) < 0 ||
        run_to_end(engine, pipeline, &path, err) < 0)
        return -1;
    OWN_JSON descriptor = read_descriptor(path, image, err);
    if (!descriptor)
        return -1;
    int result = folder && !given_flag(invocation, "json") ? save(descriptor, folder, err)
                                                           : print_json(descriptor, false, err);
    return result < 0 ? -1 : STATUS_SUCCEEDED;
}

static const struct argument_entry arguments[] = {
    {.name = "IMAGE", .help = "the name of an image that is here"},
};
static const struct option_entry options[] = {
    {.name = "save",
     .value = "DIR",
     .complete = COMPLETE_DIRECTORY,
     .help = "write DIR/NAME-VERSION.json instead, and print its path"},
};

const struct command command_image_plugin = {
    .name = "image plugin",
    .group = GROUP_IMAGE,
    .summary = "ask the image of a ChRIS plugin for its descriptor",
    .description =
        "Runs \"chris_plugin_info\" of the image in the box, or its own program with \"--json\", "
        "and prints what it says: the name, the version and the parameters of the plugin. A "
        "pipeline of ChRIS finds the plugin when the descriptor lies in \"plugins\" beside it; by "
        "itself, the descriptor can be run.",
    .examples = "# For the pipelines of this folder\n"
                "glovebox image plugin fnndsc/pl-simpledsapp:2.1.0 --save plugins\n",
    COMMAND_ARGUMENTS(arguments),
    COMMAND_OPTIONS(options),
    .handle = plugin,
};
