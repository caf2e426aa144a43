/* glovebox tool classify */
#include "tools/private-model.h"
#include "tools/private-onnx.h"
#include "tools/private-tools.h"

#include <fcntl.h>
#include <math.h>

#define MAXIMUM_MODEL ((size_t)2 << 30)
#define MAXIMUM_IMAGE ((size_t)512 << 20)

struct classifier {
    struct model_description model;
    char digest[SHA256_HEX_SIZE];
    struct onnx *onnx;
    json_t *images;
};

static const struct tool_option options[] = {
    {"model", "FILE", "the ONNX model", NULL, true},
    {"description", "FILE", "the model's description; the model's name with .json when not given",
     NULL},
    {"runtime", "FILE", "ONNX Runtime's library (also: GLOVEBOX_ONNXRUNTIME)", NULL},
    {"threads", "N", "threads that the model may use", "1"},
    TOOL_BATCH_OPTIONS,
};

static char *description_path(const char *model) {
    size_t length = strlen(model);
    if (text_ends_with(model, ".onnx"))
        length -= strlen(".onnx");
    return memory_format("%.*s.json", (int)length, model);
}

/* The stand-in says so in its own bytes too, so that no other description can hide it. */
static void mark_stand_in(struct model_description *model, const struct buffer *bytes) {
    static const char mark[] = "STAND-IN MODEL";
    if (bytes->data && memmem(bytes->data, bytes->size, mark, sizeof(mark) - 1)) {
        model->stand_in = true;
        snprintf(model->notice, sizeof(model->notice), "%s", STAND_IN_NOTICE);
    }
}

static int load(struct classifier *self, const struct tool_call *call, struct error **err) {
    const char *path = tool_value(call, "model");
    int64_t threads;
    if (text_parse_integer(tool_value(call, "threads"), 1, 256, &threads, err) != 0)
        return error_wrap(err, "--threads");
    OWN_STRING beside = description_path(path);
    if (!beside)
        return error_set_memory(err);
    const char *description = tool_value(call, "description");
    OWN_BUFFER bytes = {.maximum = MAXIMUM_MODEL};
    if (file_read_all(AT_FDCWD, path, MAXIMUM_MODEL, &bytes, err) != 0 ||
        model_describe(description ? description : beside, &self->model, err) != 0)
        return -1;
    uint8_t digest[SHA256_SIZE];
    sha256_of(bytes.data, bytes.size, digest);
    hex_encode(digest, sizeof(digest), self->digest);
    if (self->model.digest[0] && !text_equal(self->model.digest, self->digest))
        return error_set(err, ERROR_INVALID,
                         "the description is that of another model: its sha256 differs");
    mark_stand_in(&self->model, &bytes);
    self->onnx = onnx_open(tool_value(call, "runtime"), err);
    if (!self->onnx)
        return -1;
    return onnx_load(self->onnx, bytes.data, bytes.size, (unsigned)threads, err);
}

/* Scores to probabilities; the largest is taken off first so that exp() stays finite. */
static void softmax(float *values, size_t count) {
    float largest = values[0];
    double sum = 0;
    for (size_t i = 1; i < count; i++)
        largest = values[i] > largest ? values[i] : largest;
    for (size_t i = 0; i < count; i++)
        sum += exp((double)(values[i] - largest));
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(exp((double)(values[i] - largest)) / sum);
}

static int infer(struct classifier *self, const struct picture *picture, float *output,
                 struct error **err) {
    const struct model_description *model = &self->model;
    size_t count;
    OWN_MEMORY(float) input = model_prepare(model, picture, &count, err);
    if (!input)
        return -1;
    int64_t first[4] = {1, model->channels, model->height, model->width};
    int64_t last[4] = {1, model->height, model->width, model->channels};
    if (onnx_run(self->onnx, input, count, model->channels_last ? last : first, 4, output,
                 model->class_count, err) != 0)
        return -1;
    if (model->softmax)
        softmax(output, model->class_count);
    for (size_t i = 0; i < model->class_count; i++) {
        if (!isfinite(output[i]))
            return error_set(err, ERROR_INVALID, "the model gives no finite numbers");
    }
    return 0;
}

/* As COVID-Net's plugin writes it: probabilities are strings. */
static int write_prediction(struct batch *batch, struct classifier *self, const float *output,
                            size_t best, const char *folder, struct error **err) {
    const struct model_description *model = &self->model;
    OWN_JSON prediction = json_pack(
        "{s:s, s:s}", "**DISCLAIMER**",
        model->notice[0] ? model->notice
                         : "A program's output, not a diagnosis. A physician must judge it.",
        "prediction", model->classes[best].label);
    for (size_t i = 0; prediction && i < model->class_count; i++) {
        char text[32];
        snprintf(text, sizeof(text), "%.9g", (double)output[i]);
        json_object_set_new(prediction, model->classes[i].key, json_string(text));
    }
    OWN_STRING path = folder ? path_join(folder, "prediction-default.json")
                             : memory_copy_string("prediction-default.json");
    if (!prediction || !path)
        return error_set_memory(err);
    return output_write_json(batch->output, path, prediction, err);
}

static json_t *describe_result(const struct classifier *self, const char *image,
                               const float *output, size_t best) {
    const struct model_description *model = &self->model;
    json_t *classes = json_object();
    for (size_t i = 0; i < model->class_count; i++)
        json_object_set_new(classes, model->classes[i].label, json_real((double)output[i]));
    OWN_BUFFER name = {0};
    text_append_printable(&name, image);
    return json_pack("{s:s, s:s, s:f, s:o}", "image", buffer_text(&name), "label",
                     model->classes[best].label, "confidence", (double)output[best],
                     "probabilities", classes);
}

static int classify_one(struct batch *batch, struct error **err) {
    struct classifier *self = batch->context;
    OWN_BUFFER bytes = {.maximum = MAXIMUM_IMAGE};
    OWN_PICTURE picture = {0};
    float output[MODEL_MAXIMUM_CLASSES];
    if (!text_ends_with(batch->path, ".png"))
        return BATCH_SKIPPED;
    if (file_read_all(batch->directory, batch->name, MAXIMUM_IMAGE, &bytes, err) != 0 ||
        png_read(bytes.data, bytes.size, &picture, err) != 0 ||
        infer(self, &picture, output, err) != 0)
        return -1;
    size_t best = 0;
    for (size_t i = 1; i < self->model.class_count; i++)
        best = output[i] > output[best] ? i : best;
    json_t *entry = describe_result(self, batch->path, output, best);
    if (json_array_append_new(self->images, entry) != 0)
        return error_set_memory(err);
    if (batch->directory < 0) /* the only one: see promote_single */
        return BATCH_DONE;
    OWN_STRING folder = path_with_suffix(batch->path, "");
    if (!folder)
        return error_set_memory(err);
    return write_prediction(batch, self, output, best, folder, err) == 0 ? BATCH_DONE : -1;
}

/* With one image: its label and confidence stand at the top of result.json, its prediction at the
 * top of the output, where COVID-Net's plugin puts it. */
static int promote_single(struct batch *batch, struct classifier *self, struct error **err) {
    if (json_array_size(self->images) != 1)
        return 0;
    float output[MODEL_MAXIMUM_CLASSES];
    size_t best = 0;
    const json_t *entry = json_array_get(self->images, 0);
    const json_t *classes = json_object_get(entry, "probabilities");
    for (size_t i = 0; i < self->model.class_count; i++) {
        output[i] =
            (float)json_number_value(json_object_get(classes, self->model.classes[i].label));
        best = output[i] > output[best] ? i : best;
    }
    if (json_object_set(batch->result, "label", json_object_get(entry, "label")) != 0 ||
        json_object_set(batch->result, "confidence", json_object_get(entry, "confidence")) != 0)
        return error_set_memory(err);
    return write_prediction(batch, self, output, best, NULL, err);
}

static int add_provenance(struct batch *batch, struct classifier *self, struct error **err) {
    const struct model_description *model = &self->model;
    OWN_JSON more = json_pack("{s:{s:s, s:s, s:s, s:b, s:s}, s:s, s:O}", "model", "name",
                              model->name, "version", model->version, "sha256", self->digest,
                              "stand_in", model->stand_in, "notice", model->notice, "runtime",
                              onnx_version(self->onnx), "images", self->images);
    if (!more || json_object_update(batch->result, more) != 0)
        return error_set_memory(err);
    return 0;
}

static int classify_all(struct batch *batch, struct classifier *self, struct error **err) {
    if (load(self, batch->call, err) != 0 || batch_open(batch, batch->call, err) != 0)
        return -1;
    fprintf(stderr, "classify: model %s %s, sha256 %s, ONNX Runtime %s\n", self->model.name,
            self->model.version, self->digest, onnx_version(self->onnx));
    if (self->model.notice[0])
        fprintf(stderr, "classify: %s\n", self->model.notice);
    if (batch_walk(batch, err) != 0 || promote_single(batch, self, err) != 0 ||
        add_provenance(batch, self, err) != 0)
        return -1;
    return batch_finish(batch, err);
}

static int run(const struct tool_call *call, struct error **err) {
    OWN_JSON images = json_array();
    struct classifier *self = memory_allocate(sizeof(*self));
    OWN_BATCH batch = {.call = call, .kind = "PNG image", .each = classify_one, .output = -1};
    if (!images || !self) {
        memory_free(self);
        return error_set_memory(err);
    }
    self->images = images;
    batch.context = self;
    int result = classify_all(&batch, self, err);
    onnx_close(self->onnx);
    memory_free(self);
    return result;
}

const struct tool tool_classify = {
    .name = "classify",
    .summary = "Classifies images with an ONNX model",
    .input = "a PNG image, or a directory of them",
    .output = "prediction-default.json (of several images: one in a folder each) and result.json",
    .help = "The model's description, a JSON file beside the model, says how images are cropped, "
            "resized and scaled for it, what its classes are, and whether it is a stand-in; see "
            "models/README.md. prediction-default.json has COVID-Net's form. result.json has the "
            "label and confidence of every image, at its top when there is one image only, and "
            "the model's name and digest.\n"
            "ONNX Runtime is loaded when the tool starts; script/fetch-onnxruntime gets it.",
    .options = options,
    .option_count = ARRAY_SIZE(options),
    .run = run,
};
