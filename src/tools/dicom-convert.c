/* glovebox tool dicom-convert */
#include "tools/private-tools.h"

#include "dicom/dicom.h"

struct converter {
    struct dicom_render_options options;
    enum { FRAMES_ALL, FRAMES_MIDDLE, FRAMES_ONE } which;
    uint32_t frame; /* from 0 */
    const char *name;
    json_t *files;
};

static const struct tool_option options[] = {
    {"to", "FORMAT", "png is the only one", "png"},
    {"depth", "BITS", "8, or 16 for grey images", "8"},
    {"window", "WINDOW",
     "file (the file's own window or VOI table; its smallest to largest value when it has none), "
     "minmax, percentile, or CENTER,WIDTH",
     "file"},
    {"percentile", "PERCENT", "what --window percentile cuts off at each end", "0.5"},
    {"frame", "WHICH", "all, middle, or a number from 1", "all"},
    {"name", "NAME", "name of the image when INPUT is one file, without .png", NULL},
    TOOL_BATCH_OPTIONS,
};

static int parse_window(const char *text, struct converter *self, struct error **err) {
    struct dicom_render_options *to = &self->options;
    const char *comma = strchr(text, ',');
    if (text_equal(text, "file")) {
        to->source = WINDOW_FILE;
    } else if (text_equal(text, "minmax")) {
        to->source = WINDOW_MINMAX;
    } else if (text_equal(text, "percentile")) {
        to->source = WINDOW_PERCENTILE;
    } else if (comma) {
        OWN_STRING center = memory_copy_bytes(text, (size_t)(comma - text));
        if (!center)
            return error_set_memory(err);
        to->source = WINDOW_GIVEN;
        if (text_parse_number(center, &to->center, err) != 0 ||
            text_parse_number(comma + 1, &to->width, err) != 0)
            return error_wrap(err, "--window");
        if (!(to->width > 0))
            return error_set(err, ERROR_USAGE, "--window: the width must be above 0");
    } else {
        return error_set(err, ERROR_USAGE,
                         "--window is file, minmax, percentile or CENTER,WIDTH, not %s", text);
    }
    return 0;
}

static int parse_frame(const char *text, struct converter *self, struct error **err) {
    int64_t number;
    if (text_equal(text, "all")) {
        self->which = FRAMES_ALL;
    } else if (text_equal(text, "middle")) {
        self->which = FRAMES_MIDDLE;
    } else if (text_parse_integer(text, 1, INT32_MAX, &number, NULL) == 0) {
        self->which = FRAMES_ONE;
        self->frame = (uint32_t)(number - 1);
    } else {
        return error_set(err, ERROR_USAGE, "--frame is all, middle or a number, not %s", text);
    }
    return 0;
}

static int parse(const struct tool_call *call, struct converter *self, struct error **err) {
    const char *depth = tool_value(call, "depth");
    if (!text_equal(tool_value(call, "to"), "png"))
        return error_set(err, ERROR_USAGE, "--to knows png only, not %s", tool_value(call, "to"));
    if (!text_equal(depth, "8") && !text_equal(depth, "16"))
        return error_set(err, ERROR_USAGE, "--depth is 8 or 16, not %s", depth);
    self->options.depth = text_equal(depth, "16") ? 16 : 8;
    self->name = tool_value(call, "name");
    if (self->name && (!path_is_safe_relative(self->name) || strchr(self->name, '/')))
        return error_set(err, ERROR_USAGE, "--name must be a plain file name");
    if (text_parse_number(tool_value(call, "percentile"), &self->options.percentile, err) != 0)
        return error_wrap(err, "--percentile");
    if (self->options.percentile < 0 || self->options.percentile >= 50)
        return error_set(err, ERROR_USAGE, "--percentile is from 0 to below 50");
    if (parse_window(tool_value(call, "window"), self, err) != 0)
        return -1;
    return parse_frame(tool_value(call, "frame"), self, err);
}

/* Where a frame goes: a/b/slice.dcm -> a/b/slice.png, of several a/b/slice-0001.png. */
static char *output_path(struct batch *batch, const struct converter *self, uint32_t frame,
                         bool several) {
    char suffix[32];
    snprintf(suffix, sizeof(suffix), several ? "-%04u.png" : ".png", frame + 1);
    if (self->name && batch->directory < 0)
        return memory_format("%s%s", self->name, suffix);
    return path_with_suffix(batch->path, suffix);
}

static int convert_frame(struct batch *batch, const struct dicom_file *file,
                         const struct dicom_image *image, uint32_t index, bool several,
                         json_t *entry, struct error **err) {
    struct converter *self = batch->context;
    struct dicom_frame frame = {0};
    struct dicom_render_options used;
    OWN_PICTURE picture = {0};
    OWN_BUFFER png = {.maximum = (size_t)2 << 30};
    if (dicom_decode(file, image, index, &frame, err) != 0)
        return -1;
    int result = dicom_render(file, image, &frame, &self->options, &picture, &used, err);
    dicom_frame_release(&frame);
    if (result != 0 || png_write(&picture, &png, err) != 0)
        return -1;
    OWN_STRING path = output_path(batch, self, index, several);
    if (!path)
        return error_set_memory(err);
    if (output_write(batch->output, path, png.data, png.size, err) != 0)
        return -1;
    OWN_BUFFER shown = {0};
    text_append_printable(&shown, path);
    json_array_append_new(json_object_get(entry, "images"), json_string(buffer_text(&shown)));
    if (used.width > 0 && !json_object_get(entry, "window"))
        json_object_set_new(entry, "window",
                            json_pack("{s:f, s:f}", "center", used.center, "width", used.width));
    return 0;
}

static json_t *describe(const struct batch *batch, const struct dicom_file *file,
                        const struct dicom_image *image) {
    char patient[256], modality[20], body_part[64];
    dicom_get_text(&file->dataset, TAG_PATIENT_ID, patient, sizeof(patient));
    dicom_get_text(&file->dataset, TAG_MODALITY, modality, sizeof(modality));
    dicom_get_text(&file->dataset, TAG_BODY_PART, body_part, sizeof(body_part));
    OWN_BUFFER name = {0};
    text_append_printable(&name, batch->path);
    json_t *entry = json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:[]}", "file",
                              buffer_text(&name), "patient", patient, "modality", modality,
                              "body_part", body_part, "rows", (int)image->rows, "columns",
                              (int)image->columns, "frames", (int)image->frames, "images");
    const struct dicom_element *number = dicom_find(&file->dataset, TAG_INSTANCE_NUMBER);
    int64_t instance;
    if (entry && number && dicom_integer(number, 0, &instance))
        json_object_set_new(entry, "instance_number", json_integer(instance));
    return entry;
}

static int convert_one(struct batch *batch, struct error **err) {
    struct converter *self = batch->context;
    OWN_DICOM file = NULL;
    OWN_ERROR problem = NULL;
    struct dicom_image image;
    int outcome = dicom_read(batch->directory, batch->name, &file, err);
    if (outcome != DICOM_OK)
        return outcome == DICOM_NOT ? BATCH_SKIPPED : -1;
    if (dicom_image(file, &image, &problem) != 0) {
        if (problem && problem->code == ERROR_NOT_FOUND) /* a report, a plan: no picture */
            return BATCH_SKIPPED;
        return error_move(err, take(&problem));
    }
    OWN_JSON entry = describe(batch, file, &image);
    if (!entry)
        return error_set_memory(err);
    uint32_t first = self->which == FRAMES_ALL      ? 0
                     : self->which == FRAMES_MIDDLE ? image.frames / 2
                                                    : self->frame;
    uint32_t last = self->which == FRAMES_ALL ? image.frames - 1 : first;
    for (uint32_t i = first; i <= last; i++) {
        if (convert_frame(batch, file, &image, i, last > first, entry, err) != 0)
            return -1;
    }
    return json_array_append(self->files, entry) == 0 ? BATCH_DONE : error_set_memory(err);
}

static int run(const struct tool_call *call, struct error **err) {
    OWN_JSON files = json_array();
    struct converter self = {.files = files};
    OWN_BATCH batch = {.kind = "DICOM image", .each = convert_one, .context = &self, .output = -1};
    if (!files)
        return error_set_memory(err);
    if (parse(call, &self, err) != 0 || batch_open(&batch, call, err) != 0 ||
        batch_walk(&batch, err) != 0)
        return -1;
    if (json_object_set(batch.result, "files", files) != 0)
        return error_set_memory(err);
    return batch_finish(&batch, err);
}

const struct tool tool_dicom_convert = {
    .name = "dicom-convert",
    .summary = "Turns DICOM images into PNG",
    .input = "a DICOM file, or a directory of them",
    .output = "NAME.png for each file, NAME-0001.png… for several frames, and result.json",
    .help = "Rescale, window, padding, palettes and MONOCHROME1 are applied as a viewer would. "
            "Reads native and RLE pixels, JPEG of 8 bits, JPEG-LS and JPEG 2000. Files without an "
            "image are skipped.",
    .options = options,
    .option_count = ARRAY_SIZE(options),
    .run = run,
};
