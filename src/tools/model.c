/* A model's description, and pictures made ready for it. */
#include "tools/private-model.h"

#include <fcntl.h>
#include <math.h>

static void copy_text(char *to, size_t size, const char *text) {
    snprintf(to, size, "%s", text);
}

static double get_number(const json_t *object, const char *key, double fallback) {
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : fallback;
}

static bool get_flag(const json_t *object, const char *key) {
    return json_is_true(json_object_get(object, key));
}

/* One number for all channels, or an array of one each. */
static void get_channels(const json_t *object, const char *key, double fallback, double values[3]) {
    const json_t *array = json_object_get(object, key);
    for (size_t i = 0; i < 3; i++) {
        const json_t *value = json_is_array(array) ? json_array_get(array, i) : array;
        values[i] = json_is_number(value) ? json_number_value(value) : fallback;
    }
}

static int read_input(const json_t *input, struct model_description *model, struct error **err) {
    int64_t width = json_get_integer(input, "width", 0);
    int64_t height = json_get_integer(input, "height", 0);
    int64_t channels = json_get_integer(input, "channels", 1);
    const char *layout = json_get_string(input, "layout", "NCHW");
    if (width < 1 || width > MODEL_MAXIMUM_SIDE || height < 1 || height > MODEL_MAXIMUM_SIDE)
        return error_set(err, ERROR_INVALID, "input.width and input.height are from 1 to %d",
                         MODEL_MAXIMUM_SIDE);
    if (channels != 1 && channels != 3)
        return error_set(err, ERROR_INVALID, "input.channels is 1 or 3");
    if (!text_equal(layout, "NCHW") && !text_equal(layout, "NHWC"))
        return error_set(err, ERROR_INVALID, "input.layout is NCHW or NHWC");
    model->width = (unsigned)width;
    model->height = (unsigned)height;
    model->channels = (unsigned)channels;
    model->channels_last = text_equal(layout, "NHWC");
    model->crop_top = get_number(input, "crop_top", 0);
    model->crop_square = get_flag(input, "crop_square");
    model->scale = get_number(input, "scale", 1.0 / 255);
    get_channels(input, "mean", 0, model->mean);
    get_channels(input, "deviation", 1, model->deviation);
    for (size_t i = 0; i < 3; i++) {
        if (model->deviation[i] == 0)
            return error_set(err, ERROR_INVALID, "input.deviation must not be 0");
    }
    if (model->crop_top < 0 || model->crop_top > 0.9)
        return error_set(err, ERROR_INVALID, "input.crop_top is from 0 to 0.9");
    return 0;
}

static int read_output(const json_t *output, struct model_description *model, struct error **err) {
    const json_t *classes = json_object_get(output, "classes");
    size_t count = json_array_size(classes);
    if (count < 2 || count > MODEL_MAXIMUM_CLASSES)
        return error_set(err, ERROR_INVALID, "output.classes has from 2 to %d entries",
                         MODEL_MAXIMUM_CLASSES);
    for (size_t i = 0; i < count; i++) {
        const json_t *entry = json_array_get(classes, i);
        const char *label =
            json_is_string(entry) ? json_string_value(entry) : json_get_string(entry, "label", "");
        const char *key = json_get_string(entry, "key", label);
        if (!label[0])
            return error_set(err, ERROR_INVALID, "output.classes[%zu] has no label", i);
        copy_text(model->classes[i].label, sizeof(model->classes[i].label), label);
        copy_text(model->classes[i].key, sizeof(model->classes[i].key), key);
    }
    model->class_count = count;
    model->softmax = text_equal(json_get_string(output, "activation", "none"), "softmax");
    return 0;
}

int model_describe(const char *path, struct model_description *ret, struct error **err) {
    OWN_ERROR problem = NULL;
    OWN_JSON json = json_read_file(AT_FDCWD, path, 1 << 20, &problem);
    if (!json) {
        bool missing = problem && problem->code == ERROR_NOT_FOUND;
        error_move(err, take(&problem));
        error_wrap(err, "the model's description");
        if (missing)
            error_hint(err, "a JSON file beside the model says how images are prepared for it and "
                            "what its classes are; see models/README.md");
        return -1;
    }
    struct model_description model = {0};
    copy_text(model.name, sizeof(model.name), json_get_string(json, "name", "unnamed model"));
    copy_text(model.version, sizeof(model.version), json_get_string(json, "version", ""));
    copy_text(model.notice, sizeof(model.notice), json_get_string(json, "notice", ""));
    copy_text(model.digest, sizeof(model.digest), json_get_string(json, "sha256", ""));
    model.stand_in = get_flag(json, "stand_in");
    if (model.stand_in)
        copy_text(model.notice, sizeof(model.notice), STAND_IN_NOTICE);
    if (read_input(json_object_get(json, "input"), &model, err) != 0 ||
        read_output(json_object_get(json, "output"), &model, err) != 0)
        return error_wrap(err, "the model's description %s", path);
    *ret = model;
    return 0;
}

/* ---------------------------------------------------------------- preparing */

struct window {
    double left, top, width, height;
};

static struct window crop_of(const struct model_description *model, const struct picture *picture) {
    struct window window = {0, floor(picture->height * model->crop_top), picture->width, 0};
    window.height = picture->height - window.top;
    if (model->crop_square && window.width > window.height) {
        window.left = floor((window.width - window.height) / 2);
        window.width = window.height;
    } else if (model->crop_square) {
        window.top += floor((window.height - window.width) / 2);
        window.height = window.width;
    }
    return window;
}

static double channel_at(const struct picture *picture, size_t x, size_t y, unsigned channel,
                         unsigned wanted) {
    const uint8_t *pixel =
        (const uint8_t *)picture->pixels + (y * picture->width + x) * picture->channels;
    if (picture->channels == 1)
        return pixel[0];
    if (wanted == 1) /* luma of BT.601, as everybody turns colour to grey */
        return 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2];
    return pixel[channel];
}

/* Mean over the box that an output pixel covers; the nearest pixel when it covers less than one. */
static double area_mean(const struct picture *picture, double x0, double x1, double y0, double y1,
                        unsigned channel, unsigned wanted) {
    double sum = 0, weight = 0;
    for (size_t y = (size_t)y0; y < picture->height && (double)y < y1; y++) {
        double high = fmin(y1, (double)y + 1) - fmax(y0, (double)y);
        for (size_t x = (size_t)x0; x < picture->width && (double)x < x1; x++) {
            double share = high * (fmin(x1, (double)x + 1) - fmax(x0, (double)x));
            sum += share * channel_at(picture, x, y, channel, wanted);
            weight += share;
        }
    }
    return weight > 0 ? sum / weight : 0;
}

float *model_prepare(const struct model_description *model, const struct picture *picture,
                     size_t *ret_count, struct error **err) {
    size_t plane = (size_t)model->width * model->height;
    OWN_MEMORY(float) input = memory_array(plane * model->channels, sizeof(float));
    if (!input) {
        error_set_memory(err);
        return NULL;
    }
    struct window window = crop_of(model, picture);
    double step_x = window.width / model->width, step_y = window.height / model->height;
    for (size_t y = 0; y < model->height; y++) {
        for (size_t x = 0; x < model->width; x++) {
            double left = window.left + (double)x * step_x, top = window.top + (double)y * step_y;
            for (unsigned c = 0; c < model->channels; c++) {
                double value =
                    area_mean(picture, left, left + step_x, top, top + step_y, c, model->channels);
                size_t at = model->channels_last ? (y * model->width + x) * model->channels + c
                                                 : c * plane + y * model->width + x;
                input[at] = (float)((value * model->scale - model->mean[c]) / model->deviation[c]);
            }
        }
    }
    *ret_count = plane * model->channels;
    return take(&input);
}
