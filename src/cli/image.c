/* glovebox image: loading and looking at container images. */
#include "cli/image.h"

#include <unistd.h>

#define PROGRESS_INTERVAL 200 /* ms */

/* One line that is drawn over again, on a terminal only. */
static void show_progress(void *context, const char *what, uint64_t done, uint64_t total) {
    struct image_session *session = context;
    int64_t now = clock_monotonic();
    if (now - session->told < PROGRESS_INTERVAL)
        return;
    session->told = now;
    session->shown = true;
    OWN_BUFFER line = {0};
    buffer_format(&line, "\r%s ", what);
    text_format_size(&line, done);
    if (total) {
        buffer_append(&line, " of ");
        text_format_size(&line, total);
    }
    buffer_append(&line, "\x1b[K");
    (void)fwrite(buffer_text(&line), 1, line.size, stderr);
    (void)fflush(stderr);
}

static int ask_policy(void *context, const struct image_candidate *candidate, struct error **err) {
    const struct image_session *session = context;
    return policy_check_image(session->policy, candidate, err);
}

int image_session_open(const struct invocation *invocation, bool make, struct image_session *ret,
                       struct error **err) {
    struct image_session *session = ret;
    *session = (struct image_session){.invocation = invocation};
    session->home = engine_default_home(given_value(invocation, "home", NULL), err);
    if (!session->home || policy_read(session->home, &session->policy, err) < 0 ||
        image_store_open(session->home, make, &session->store, err) < 0)
        return -1;
    terminal_examine(invocation, STDERR_FILENO, &session->terminal);
    session->options.context = session;
    session->options.allow = ask_policy;
    session->options.maximum = policy_image_maximum(session->policy);
    session->options.maximum_files = policy_image_maximum_files(session->policy);
    if (session->terminal.is_terminal && !given_flag(invocation, "quiet"))
        session->options.progress = show_progress;
    return 0;
}

void image_session_close(struct image_session *session) {
    if (session->shown)
        (void)fputs("\r\x1b[K", stderr);
    image_store_close(session->store);
    policy_free(session->policy);
    memory_free(session->home);
}

void text_append_digest(struct buffer *out, const char *digest) {
    buffer_format(out, "%.19s", digest);
}

json_t *image_needed(const struct invocation *invocation, struct error **err) {
    OWN_ENGINE engine = NULL;
    OWN_ERROR problem = NULL;
    if (session_open(invocation, SESSION_ASK, &engine, &problem) == 0)
        return engine_images_needed(engine, err);
    if (problem && problem->code == ERROR_NOT_FOUND)
        return json_array();
    error_move(err, take(&problem));
    return NULL;
}

/* ---------------------------------------------------------------------- load */

/* What a bundle has besides images: where it lies now, and how to run it. */
static void report_pipeline(const json_t *one, struct buffer *out) {
    const char *name;
    json_t *value;
    if (!json_is_true(json_object_get(one, "placed"))) {
        buffer_append(out, "pipeline ");
        text_append_printable(out, json_get_string(one, "pipeline", ""));
        buffer_append(out, " is in it too: --into DIR puts it there\n");
        return;
    }
    buffer_append(out, "glovebox run");
    json_object_foreach(json_object_get(one, "parameters"), name, value) {
        OWN_STRING pair = memory_format("%s=%s", name, json_string_value(value));
        buffer_append(out, " --param ");
        text_append_argument(out, pair ? pair : name);
    }
    buffer_append_char(out, ' ');
    text_append_argument(out, json_get_string(one, "path", ""));
    buffer_append_char(out, '\n');
}

int image_report_added(const struct invocation *invocation, const json_t *loaded,
                       struct error **err) {
    if (given_flag(invocation, "json"))
        return print_json(loaded, false, err);
    size_t i;
    const json_t *one;
    OWN_BUFFER out = {0};
    json_array_foreach(loaded, i, one) {
        if (json_object_get(one, "pipeline")) {
            report_pipeline(one, &out);
            continue;
        }
        text_append_printable(&out, json_get_string(one, "reference", "-"));
        buffer_append_char(&out, ' ');
        text_append_digest(&out, json_get_string(one, "digest", ""));
        buffer_append(&out, json_is_true(json_object_get(one, "new")) ? "\n" : " was here\n");
    }
    return print_checked(&out, err);
}

static int load(const struct invocation *invocation, struct error **err) {
    OWN_IMAGE_SESSION session = {0};
    OWN_JSON loaded = NULL;
    if (image_session_open(invocation, true, &session, err) < 0)
        return -1;
    session.options.name = given_value(invocation, "name", NULL);
    session.options.into = given_value(invocation, "into", NULL);
    if (image_load(session.store, given_argument(invocation, 0), &session.options, &loaded, err) <
        0)
        return -1;
    return image_report_added(invocation, loaded, err) < 0 ? -1 : STATUS_SUCCEEDED;
}

static const struct argument_entry load_arguments[] = {
    {.name = "FILE", .help = "the archive, the folder or the .sif file", .complete = COMPLETE_FILE},
};
static const struct option_entry load_options[] = {
    {.name = "name",
     .letter = 'n',
     .value = "NAME",
     .help = "the name to keep the image under, instead of the one that it brings"},
    {.name = "into",
     .value = "DIR",
     .complete = COMPLETE_DIRECTORY,
     .help = "put the pipelines of a bundle there, with the files they need"},
};

const struct command command_image_load = {
    .name = "image load",
    .group = GROUP_IMAGE,
    .summary = "load container images from a file",
    .description =
        "Loads the images of a file: an archive that docker save or podman save wrote, an OCI "
        "archive or an OCI folder, a bundle of glovebox image save, or a Singularity file. "
        "Archives "
        "may be compressed by gzip, xz, zstd or bzip2. No registry, no daemon and no network is "
        "needed. Each image is unpacked once, checked against its digests, and shared by all "
        "tasks. "
        "Prints the name and the digest of each.",
    .examples = "# Load what docker save wrote\n"
                "glovebox image load rano.tar\n"
                "# Load a Singularity file under a name of your own\n"
                "glovebox image load --name example/segment:1.0 segment.sif\n",
    COMMAND_ARGUMENTS(load_arguments),
    COMMAND_OPTIONS(load_options),
    .handle = load,
};

/* ---------------------------------------------------------------------- list */

static void list_line(struct buffer *out, const json_t *one, unsigned width) {
    bool used = json_is_true(json_object_get(one, "in_use"));
    const char *name = json_get_string(one, "reference", NULL);
    OWN_BUFFER size = {0};
    text_append_field(out, name ? name : "(no name)", width, true);
    buffer_append(out, "  ");
    text_append_digest(out, json_get_string(one, "digest", ""));
    text_format_size(&size, (uint64_t)json_get_integer(one, "size", 0));
    buffer_format(out, "  %10s  ", buffer_text(&size));
    text_append_time(out, json_get_integer(one, "made", 0));
    buffer_append(out, used ? "  in use\n" : "\n");
}

/* Adds whether something needs the image; times in JSON are texts. */
static int complete(json_t *one, const json_t *needed, bool for_json, struct error **err) {
    char text[CLOCK_TEXT_SIZE];
    bool used = false;
    size_t i;
    const json_t *digest;
    json_array_foreach(needed, i, digest) {
        used = used || text_equal(json_string_value(digest), json_get_string(one, "digest", ""));
    }
    if (json_object_set_new(one, "in_use", json_boolean(used)) < 0)
        return error_set_memory(err);
    if (!for_json)
        return 0;
    clock_format(json_get_integer(one, "made", 0), text);
    return json_object_set_new(one, "made", json_string(text)) < 0 ? error_set_memory(err) : 0;
}

static int list(const struct invocation *invocation, struct error **err) {
    OWN_IMAGE_SESSION session = {0};
    if (image_session_open(invocation, false, &session, err) < 0)
        return -1;
    OWN_JSON needed = image_needed(invocation, err);
    OWN_JSON images = needed ? image_list(session.store, err) : NULL;
    OWN_BUFFER out = {0};
    size_t i, width = 20;
    json_t *one;
    if (!images)
        return -1;
    json_array_foreach(images, i, one) {
        size_t size = text_width(json_get_string(one, "reference", ""));
        width = size > width ? size : width;
        if (complete(one, needed, given_flag(invocation, "json"), err) < 0)
            return -1;
    }
    json_array_foreach(images, i, one) {
        if (given_flag(invocation, "quiet")) {
            text_append_printable(
                &out, json_get_string(one, "reference", json_get_string(one, "digest", "")));
            buffer_append_char(&out, '\n');
        } else {
            list_line(&out, one, (unsigned)width);
        }
    }
    if (given_flag(invocation, "json"))
        return print_json(images, false, err) < 0 ? -1 : STATUS_SUCCEEDED;
    if (json_array_size(images) == 0)
        tell(invocation,
             "no images; \"glovebox image load\" and \"glovebox image pull\" bring some\n");
    return print_checked(&out, err) < 0 ? -1 : STATUS_SUCCEEDED;
}

const struct command command_image_list = {
    .name = "image list",
    .group = GROUP_IMAGE,
    .summary = "list the container images that are here",
    .description = "Lists names, what digest each points to, the size of what was loaded, when it "
                   "came, and whether a run or a task needs it. With --quiet, only the names.",
    .handle = list,
};

/* ---------------------------------------------------------------------- show */

static void show_words(struct buffer *out, const char *title, const json_t *words) {
    size_t i;
    const json_t *word;
    if (json_array_size(words) == 0)
        return;
    buffer_format(out, "%-12s", title);
    json_array_foreach(words, i, word) {
        buffer_append_char(out, ' ');
        text_append_argument(out, json_string_value(word) ? json_string_value(word) : "?");
    }
    buffer_append_char(out, '\n');
}

static void show_text(struct buffer *out, const char *title, const char *text) {
    if (!text || !*text)
        return;
    buffer_format(out, "%-12s ", title);
    text_append_printable(out, text);
    buffer_append_char(out, '\n');
}

/* Names only: values may be secrets that somebody built in. */
static void show_environment(struct buffer *out, const json_t *environment) {
    size_t i;
    const json_t *item;
    if (json_array_size(environment) == 0)
        return;
    buffer_format(out, "%-12s", "environment");
    json_array_foreach(environment, i, item) {
        const char *text = json_string_value(item);
        OWN_STRING name = text ? memory_copy_bytes(text, strcspn(text, "=")) : NULL;
        buffer_append_char(out, ' ');
        text_append_printable(out, name ? name : "?");
    }
    buffer_append_char(out, '\n');
}

static void show_all(struct buffer *out, const json_t *image) {
    const json_t *config = json_object_get(image, "config"),
                 *inner = json_object_get(config, "config"),
                 *layers = json_object_get(json_object_get(image, "manifest"), "layers"), *layer;
    show_text(out, "name", json_get_string(image, "reference", ""));
    show_text(out, "digest", json_get_string(image, "digest", ""));
    show_words(out, "index", json_object_get(image, "indexes"));
    show_words(out, "names", json_object_get(image, "names"));
    OWN_BUFFER text = {0};
    text_format_size(&text, (uint64_t)json_get_integer(image, "size", 0));
    show_text(out, "size", buffer_text(&text));
    buffer_clear(&text);
    text_append_time(&text, json_get_integer(image, "made", 0));
    show_text(out, "came", buffer_text(&text));
    show_text(out, "signed", json_get_string(image, "signer", "not verified"));
    buffer_clear(&text);
    buffer_format(&text, "%s/%s", json_get_string(config, "os", "linux"),
                  json_get_string(config, "architecture", "?"));
    show_text(out, "platform", buffer_text(&text));
    show_words(out, "entrypoint", json_object_get(inner, "Entrypoint"));
    show_words(out, "command", json_object_get(inner, "Cmd"));
    show_text(out, "user", json_get_string(inner, "User", ""));
    show_text(out, "folder", json_get_string(inner, "WorkingDir", ""));
    show_environment(out, json_object_get(inner, "Env"));
    size_t i;
    json_array_foreach(layers, i, layer) {
        buffer_format(out, "%-12s %.19s ", i ? "" : "layers", json_get_string(layer, "digest", ""));
        text_format_size(out, (uint64_t)json_get_integer(layer, "size", 0));
        buffer_append_char(out, '\n');
    }
    const json_t *policy = json_object_get(image, "policy");
    show_text(out, "policy", json_get_string(policy, "reason", "allowed"));
    show_text(out, "in use", json_is_true(json_object_get(image, "in_use")) ? "yes" : "no");
}

/* What the policy says of it now: it may have become stricter since the image came. */
static int add_verdict(const struct image_session *session, const char *name, json_t *image,
                       struct error **err) {
    OWN_ERROR refusal = NULL;
    bool allowed = policy_check_pinned(session->policy, session->home, name,
                                       json_get_string(image, "reference", name), &refusal) == 0;
    json_t *verdict =
        json_pack("{s:b, s:s?}", "allowed", allowed, "reason", refusal ? refusal->message : NULL);
    return json_object_set_new(image, "policy", verdict) < 0 ? error_set_memory(err) : 0;
}

static int show(const struct invocation *invocation, struct error **err) {
    OWN_IMAGE_SESSION session = {0};
    if (image_session_open(invocation, false, &session, err) < 0)
        return -1;
    OWN_JSON needed = image_needed(invocation, err);
    OWN_JSON image = needed ? image_show(session.store, given_argument(invocation, 0), err) : NULL;
    bool for_json = given_flag(invocation, "json");
    if (!image || complete(image, needed, for_json, err) < 0 ||
        add_verdict(&session, given_argument(invocation, 0), image, err) < 0)
        return -1;
    if (for_json)
        return print_json(image, false, err) < 0 ? -1 : STATUS_SUCCEEDED;
    OWN_BUFFER out = {0};
    show_all(&out, image);
    return print_checked(&out, err) < 0 ? -1 : STATUS_SUCCEEDED;
}

static const struct argument_entry show_arguments[] = {
    {.name = "IMAGE", .help = "the name of an image, or its digest"},
};

const struct command command_image_show = {
    .name = "image show",
    .group = GROUP_IMAGE,
    .summary = "show what an image is and what it runs",
    .description = "Shows the digest that a name points to, where the image came from, how its "
                   "signature was verified, what it runs and as whom, and its layers. Of the "
                   "environment only names are shown; --json has all.",
    .examples = "# What would run\n"
                "glovebox image show mlcommons/rano-data-prep-workflow:0.0.2\n",
    COMMAND_ARGUMENTS(show_arguments),
    .handle = show,
};
