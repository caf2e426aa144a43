/* glovebox image: verifying, removing and sweeping container images. */
#include "cli/image.h"

/* -------------------------------------------------------------------- verify */

static void verified_line(struct buffer *out, const json_t *one) {
    const json_t *problems = json_object_get(one, "problems"), *problem;
    bool good = json_is_true(json_object_get(one, "good"));
    size_t i;
    text_append_printable(out, json_get_string(one, "reference", "(no name)"));
    buffer_append_char(out, ' ');
    text_append_digest(out, json_get_string(one, "digest", ""));
    buffer_append(out, good ? " good\n" : " differs\n");
    json_array_foreach(problems, i, problem) {
        buffer_append(out, "  ");
        text_append_printable(out, json_string_value(problem));
        buffer_append_char(out, '\n');
    }
    int64_t more = json_get_integer(one, "problem_count", 0) - (int64_t)json_array_size(problems);
    if (more > 0)
        buffer_format(out, "  and %lld more\n", (long long)more);
    if (json_is_true(json_object_get(one, "repaired")))
        buffer_append(out, "  unpacked anew\n");
}

static int verify(const struct invocation *invocation, struct error **err) {
    OWN_IMAGE_SESSION session = {0};
    OWN_JSON list = NULL;
    OWN_BUFFER out = {0};
    bool bad = false, repair = given_flag(invocation, "repair");
    size_t i;
    const json_t *one;
    if (image_session_open(invocation, repair, &session, err) < 0 ||
        image_verify(session.store, given_argument(invocation, 0), repair, &session.options, &list,
                     err) < 0)
        return -1;
    json_array_foreach(list, i, one) {
        bad = bad || !(json_is_true(json_object_get(one, "good")) ||
                       json_is_true(json_object_get(one, "repaired")));
        verified_line(&out, one);
    }
    int printed =
        given_flag(invocation, "json") ? print_json(list, false, err) : print_checked(&out, err);
    return printed < 0 ? -1 : bad ? STATUS_FAILED : STATUS_SUCCEEDED;
}

static const struct argument_entry verify_arguments[] = {
    {.name = "IMAGE", .help = "the name of an image, or its digest; none: all", .optional = true},
};
static const struct option_entry verify_options[] = {
    {.name = "repair", .help = "unpack anew what differs, from blobs that are whole"},
};

const struct command command_image_verify = {
    .name = "image verify",
    .group = GROUP_IMAGE,
    .summary = "compare container images with their digests",
    .description =
        "Reads what was loaded and every file that was unpacked from it, compares them with their "
        "digests, and tells what differs. The exit status is 1 when anything does and could not be "
        "repaired.",
    COMMAND_ARGUMENTS(verify_arguments),
    COMMAND_OPTIONS(verify_options),
    .handle = verify,
};

/* ------------------------------------------------------------- remove and gc */

static int report_dropped(const struct invocation *invocation, bool dry_run,
                          const struct image_gc_report *report, struct error **err) {
    if (given_flag(invocation, "json")) {
        OWN_JSON json = json_pack("{s:b, s:I, s:I, s:I}", "dry_run", dry_run, "names",
                                  (json_int_t)report->names, "images", (json_int_t)report->images,
                                  "bytes", (json_int_t)report->bytes);
        return json ? print_json(json, false, err) : error_set_memory(err);
    }
    OWN_BUFFER out = {0};
    if (report->names)
        buffer_format(&out, "%zu name%s, ", report->names, report->names == 1 ? "" : "s");
    buffer_format(&out, "%zu image%s, ", report->images, report->images == 1 ? "" : "s");
    text_format_size(&out, report->bytes);
    buffer_append(&out, dry_run ? ", would be dropped\n" : ", dropped\n");
    return print_checked(&out, err);
}

static json_t *list_needed(const void *context, struct error **err) {
    return image_needed(context, err);
}

static int remove_image(const struct invocation *invocation, struct error **err) {
    OWN_IMAGE_SESSION session = {0};
    struct image_gc_report total = {0};
    bool dry_run = given_flag(invocation, "dry-run");
    if (image_session_open(invocation, false, &session, err) < 0)
        return -1;
    const struct image_needs needs = {list_needed, invocation};
    for (size_t i = 0; i < invocation->argument_count; i++) {
        struct image_gc_report one = {0};
        if (image_remove(session.store, invocation->arguments[i], &needs, dry_run, &one, err) < 0)
            return -1;
        total.names += one.names;
        total.images += one.images;
        total.bytes += one.bytes;
    }
    return report_dropped(invocation, dry_run, &total, err) < 0 ? -1 : STATUS_SUCCEEDED;
}

static const struct argument_entry remove_arguments[] = {
    {.name = "IMAGE", .help = "the name of an image, or its digest", .repeats = true},
};
static const struct option_entry dry_run_options[] = {
    {.name = "dry-run", .letter = 'n', .help = "only say what would be dropped"},
};

const struct command command_image_remove = {
    .name = "image remove",
    .group = GROUP_IMAGE,
    .summary = "remove names of container images, and the images",
    .description =
        "Removes a name; when it was the last of its image, the image too. By digest, an "
        "image goes with all its names. An image that a run needs which is not over "
        "stays, and the command fails.",
    COMMAND_ARGUMENTS(remove_arguments),
    COMMAND_OPTIONS(dry_run_options),
    .handle = remove_image,
};

static int gc(const struct invocation *invocation, struct error **err) {
    OWN_IMAGE_SESSION session = {0};
    struct image_gc_report report = {0};
    bool dry_run = given_flag(invocation, "dry-run");
    if (image_session_open(invocation, false, &session, err) < 0)
        return -1;
    const struct image_needs needs = {list_needed, invocation};
    if (image_gc(session.store, &needs, dry_run, &report, err) < 0)
        return -1;
    return report_dropped(invocation, dry_run, &report, err) < 0 ? -1 : STATUS_SUCCEEDED;
}

const struct command command_image_gc = {
    .name = "image gc",
    .group = GROUP_IMAGE,
    .summary = "drop container images that have no name any more",
    .description =
        "Drops images to which no name points, as when a newer one was loaded under the same name, "
        "and what commands that were killed left half-done. Images that runs need stay.",
    COMMAND_OPTIONS(dry_run_options),
    .handle = gc,
};
