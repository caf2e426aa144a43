/* glovebox tool report: gathers images and results; report-page.c draws them. */
#include "tools/private-report.h"

#include "tools/private-model.h"
#include "tools/private-tools.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAXIMUM_RESULT ((size_t)64 << 20)
#define MAXIMUM_TEXT   ((size_t)64 << 20)

static const struct tool_option options[] = {
    {"title", "TEXT", "at the top of the pages", "Image classification report"},
    {"pipeline", "TEXT", "name and version of the pipeline, for the record", ""},
    {"patient", "TEXT", "pseudonym to show when the images tell none", ""},
    {"font", "FILE", "a TrueType font for texts beyond Latin-1; DejaVu Sans when it is installed",
     NULL},
};

struct gathering {
    struct report *report;
    const char *input;
    int directory; /* the input */
};

/* -------------------------------------------------------------- gathering */

static int add_image(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                     struct error **err) {
    struct gathering *self = context;
    struct report *report = self->report;
    (void)verdict;
    if (!S_ISREG(entry->status->st_mode) || !text_ends_with(entry->name, ".png"))
        return 0;
    if (array_reserve(&report->findings, &report->capacity, report->count,
                      sizeof(*report->findings), REPORT_MAXIMUM_IMAGES, err) != 0)
        return -1;
    char *path = arena_copy_string(report->arena, entry->path);
    if (!path)
        return error_set_memory(err);
    report->findings[report->count++] =
        (struct finding){.path = path, .patient = "", .modality = "", .instance_number = -1};
    return 0;
}

static int compare_path(const void *a, const void *b) {
    return strcmp(((const struct finding *)a)->path, ((const struct finding *)b)->path);
}

/* The image `name` of the result.json that lies in `folder` ("" or "part/"). */
static struct finding *find_image(struct report *report, const char *folder, const char *name) {
    OWN_STRING path = memory_format("%s%s", folder, name);
    struct finding key = {.path = path};
    return path && report->count ? bsearch(&key, report->findings, report->count,
                                           sizeof(*report->findings), compare_path)
                                 : NULL;
}

static const char *keep(struct report *report, const char *text) {
    const char *copy = arena_copy_string(report->arena, text);
    return copy ? copy : "";
}

/* dicom-convert's result.json: who and what the image shows. */
static void apply_conversion(struct report *report, const char *folder, const json_t *json) {
    size_t i, j;
    json_t *file, *image;
    json_array_foreach(json_object_get(json, "files"), i, file) {
        json_array_foreach(json_object_get(file, "images"), j, image) {
            const char *name = json_string_value(image);
            struct finding *finding = name ? find_image(report, folder, name) : NULL;
            if (!finding)
                continue;
            finding->patient = json_get_string(file, "patient", "");
            finding->modality = json_get_string(file, "modality", "");
            finding->instance_number = json_get_integer(file, "instance_number", -1);
        }
    }
}

/* classify's result.json: what was found, and by which model. */
static void apply_classification(struct report *report, const char *folder, const json_t *json) {
    const json_t *model = json_object_get(json, "model");
    size_t i;
    json_t *image;
    if (model) {
        OWN_STRING name = memory_format("%s %s", json_get_string(model, "name", ""),
                                        json_get_string(model, "version", ""));
        report->model = keep(report, name ? name : "");
        report->model_digest = json_get_string(model, "sha256", "");
        report->runtime = json_get_string(json, "runtime", "");
        report->notice = json_get_string(model, "notice", "");
        report->stand_in = report->stand_in || json_is_true(json_object_get(model, "stand_in"));
    }
    json_array_foreach(json_object_get(json, "images"), i, image) {
        struct finding *finding = find_image(report, folder, json_get_string(image, "image", ""));
        if (!finding)
            continue;
        finding->label = json_get_string(image, "label", NULL);
        finding->confidence = json_number_value(json_object_get(image, "confidence"));
        finding->probabilities = json_object_get(image, "probabilities");
    }
}

static int read_result(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                       struct error **err) {
    struct gathering *self = context;
    (void)verdict;
    if (!S_ISREG(entry->status->st_mode) || !text_equal(entry->name, "result.json"))
        return 0;
    json_t *json = json_read_file(entry->directory, entry->name, MAXIMUM_RESULT, err);
    if (!json)
        return -1;
    if (json_array_append_new(self->report->documents, json) != 0)
        return error_set_memory(err);
    size_t length = strlen(entry->path) - strlen(entry->name);
    OWN_STRING folder = memory_copy_bytes(entry->path, length);
    if (!folder)
        return error_set_memory(err);
    const char *tool = json_get_string(json, "tool", "");
    if (text_equal(tool, "dicom-convert"))
        apply_conversion(self->report, folder, json);
    else if (text_equal(tool, "classify"))
        apply_classification(self->report, folder, json);
    return 0;
}

static int compare_finding(const void *a, const void *b) {
    const struct finding *x = a, *y = b;
    int order = strcmp(x->patient, y->patient);
    if (order == 0)
        order = strcmp(x->modality, y->modality);
    if (order == 0 && x->instance_number != y->instance_number)
        order = x->instance_number < y->instance_number ? -1 : 1;
    return order ? order : strcmp(x->path, y->path);
}

static int gather(struct gathering *self, const char *patient, struct error **err) {
    struct report *report = self->report;
    if (tree_walk(self->directory, "images", add_image, self, err) != 0)
        return error_wrap(err, "images");
    if (report->count == 0)
        return error_set(err, ERROR_NOT_FOUND, "there is no PNG image below images/");
    qsort(report->findings, report->count, sizeof(*report->findings), compare_path);
    if (tree_walk(self->directory, "images", read_result, self, err) != 0)
        return error_wrap(err, "images");
    if (tree_walk(self->directory, "results", read_result, self, err) != 0)
        return error_wrap(err, "results");
    for (size_t i = 0; i < report->count; i++) {
        if (!report->findings[i].patient[0])
            report->findings[i].patient = patient;
    }
    qsort(report->findings, report->count, sizeof(*report->findings), compare_finding);
    return 0;
}

/* ----------------------------------------------------------------- writing */

static int load_picture(const struct finding *finding, void *context, struct picture *ret,
                        struct error **err) {
    const struct gathering *self = context;
    OWN_BUFFER bytes = {.maximum = (size_t)512 << 20};
    OWN_STRING path = path_join("images", finding->path);
    if (!path)
        return error_set_memory(err);
    if (file_read_all(self->directory, path, bytes.maximum, &bytes, err) != 0)
        return -1;
    return png_read(bytes.data, bytes.size, ret, err);
}

static const char *find_font(const char *given) {
    static const char *const places[] = {
        "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
        "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
        "/usr/share/fonts/TTF/DejaVuSans.ttf",
    };
    if (given)
        return given;
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        if (file_exists(AT_FDCWD, places[i]))
            return places[i];
    }
    return NULL;
}

static json_t *count_labels(const struct report *report) {
    json_t *labels = json_object();
    for (size_t i = 0; i < report->count; i++) {
        const char *label = report->findings[i].label ? report->findings[i].label : "no result";
        json_object_set_new(labels, label, json_integer(json_get_integer(labels, label, 0) + 1));
    }
    return labels;
}

static int write_report(const struct tool_call *call, struct gathering *self, struct error **err) {
    const struct report *report = self->report;
    OWN_BUFFER pdf = {.maximum = (size_t)2 << 30};
    size_t pages;
    if (report_draw(report, find_font(tool_value(call, "font")), load_picture, self, &pdf, &pages,
                    err) != 0)
        return -1;
    OWN_JSON result = json_pack(
        "{s:s, s:s, s:I, s:I, s:o, s:{s:s, s:s, s:b, s:s}}", "tool", call->tool->name, "report",
        "report.pdf", "pages", (json_int_t)pages, "images", (json_int_t)report->count, "labels",
        count_labels(report), "model", "name", report->model, "sha256", report->model_digest,
        "stand_in", report->stand_in, "notice", report->notice);
    if (!result)
        return error_set_memory(err);
    OWN_FD output = -1;
    if (directory_make(AT_FDCWD, call->output, 0755, err) != 0)
        return -1;
    output = file_open(AT_FDCWD, call->output, O_RDONLY | O_DIRECTORY, 0, err);
    if (output < 0 || output_write(output, "report.pdf", pdf.data, pdf.size, err) != 0)
        return -1;
    if (report_gather_tags(self->directory, output, err) != 0)
        return error_wrap(err, "tags");
    return output_write_json(output, "result.json", result, err);
}

static int run_in(const struct tool_call *call, struct report *report, struct error **err) {
    char date[CLOCK_TEXT_SIZE];
    date_text(date);
    report->title = tool_value(call, "title");
    report->pipeline = tool_value(call, "pipeline");
    report->date = date;
    report->model = report->model_digest = report->runtime = report->notice = "";
    report->arena = arena_new(MAXIMUM_TEXT);
    report->documents = json_array();
    if (!report->arena || !report->documents)
        return error_set_memory(err);
    OWN_FD directory = file_open(AT_FDCWD, call->input, O_RDONLY | O_DIRECTORY, 0, err);
    struct gathering self = {.report = report, .input = call->input, .directory = directory};
    if (directory < 0 || gather(&self, tool_value(call, "patient"), err) != 0)
        return -1;
    if (report->stand_in) {
        report->notice = STAND_IN_NOTICE;
        fprintf(stderr, "report: %s\n", report->notice);
    }
    return write_report(call, &self, err) == 0 ? TOOL_OK : -1;
}

static int run(const struct tool_call *call, struct error **err) {
    struct report report = {0};
    int result = run_in(call, &report, err);
    memory_free(report.findings);
    json_decref(report.documents);
    arena_free(report.arena);
    return result;
}

const struct tool tool_report = {
    .name = "report",
    .summary = "Makes a PDF of images and what was found in them",
    .input = "a directory with images/ (PNG, and dicom-convert's result.json) and results/ "
             "(classify's result.json), each whole or with one folder a partition; tags/ "
             "(dicom-tags's output) may be there too",
    .output = "report.pdf, tags/ (all tags in one folder) and result.json",
    .help = "A summary, then a page an image: the patient's pseudonym, the image, the probability "
            "of every class, and where it comes from: model and its SHA-256, pipeline, date. When "
            "the model's description calls it a stand-in, every page says so.",
    .options = options,
    .option_count = ARRAY_SIZE(options),
    .run = run,
};
