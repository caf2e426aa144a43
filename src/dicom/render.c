/* From stored values to what is shown: modality transform, window, inversion. */
#include "dicom/private-dicom.h"

#include <math.h>

#define TAG_INTERCEPT          DICOM_TAG(0x0028, 0x1052)
#define TAG_SLOPE              DICOM_TAG(0x0028, 0x1053)
#define TAG_CENTER             DICOM_TAG(0x0028, 0x1050)
#define TAG_WIDTH              DICOM_TAG(0x0028, 0x1051)
#define TAG_WINDOW_FUNCTION    DICOM_TAG(0x0028, 0x1056)
#define TAG_PADDING            DICOM_TAG(0x0028, 0x0120)
#define TAG_PADDING_LIMIT      DICOM_TAG(0x0028, 0x0121)
#define TAG_MODALITY_LUT       DICOM_TAG(0x0028, 0x3000)
#define TAG_VOI_LUT            DICOM_TAG(0x0028, 0x3010)
#define TAG_LUT_DESCRIPTOR     DICOM_TAG(0x0028, 0x3002)
#define TAG_LUT_DATA           DICOM_TAG(0x0028, 0x3006)
#define TAG_PRESENTATION_SHAPE DICOM_TAG(0x2050, 0x0020)
#define TAG_SHARED_GROUPS      DICOM_TAG(0x5200, 0x9229)
#define TAG_FRAME_GROUPS       DICOM_TAG(0x5200, 0x9230)
#define TAG_VALUE_TRANSFORM    DICOM_TAG(0x0028, 0x9145)
#define TAG_FRAME_VOI          DICOM_TAG(0x0028, 0x9132)

void picture_release(struct picture *picture) {
    memory_free(picture->pixels);
    picture->pixels = NULL;
}

/* ------------------------------------------------------- transform in force */

struct lut {
    const uint8_t *values; /* NULL: none */
    bool wide;             /* 16-bit entries */
    uint32_t count;
    int32_t first;
    double largest; /* the output range is 0 … largest */
};

enum window_shape { SHAPE_LINEAR, SHAPE_EXACT, SHAPE_SIGMOID };
struct transform {
    double slope, intercept;
    struct lut modality, voi;
    bool has_window;
    double center, width;
    enum window_shape shape;
    bool invert;
    bool has_padding;
    int64_t padding_low, padding_high; /* stored values that are no image */
    unsigned depth;
};

static const struct dicom_dataset *item_at(const struct dicom_dataset *dataset, uint32_t tag,
                                           size_t index) {
    const struct dicom_element *element = dataset ? dicom_find(dataset, tag) : NULL;
    const struct dicom_item *item = element && !element->encapsulated ? element->items : NULL;
    while (item && index-- > 0)
        item = item->next;
    return item ? &item->dataset : NULL;
}

/* The dataset that holds a macro's attributes for this frame: the frame's functional group, the
 * shared one, or the top level. */
static const struct dicom_dataset *macro(const struct dicom_file *file, uint32_t frame,
                                         uint32_t tag) {
    const struct dicom_dataset *found =
        item_at(item_at(&file->dataset, TAG_FRAME_GROUPS, frame), tag, 0);
    if (!found)
        found = item_at(item_at(&file->dataset, TAG_SHARED_GROUPS, 0), tag, 0);
    return found ? found : &file->dataset;
}

static bool get_number(const struct dicom_dataset *dataset, uint32_t tag, double *ret) {
    const struct dicom_element *element = dicom_find(dataset, tag);
    return element && dicom_number(element, 0, ret) && isfinite(*ret);
}

static void load_lut(const struct dicom_dataset *item, bool is_signed, struct lut *ret) {
    const struct dicom_element *descriptor = item ? dicom_find(item, TAG_LUT_DESCRIPTOR) : NULL;
    const struct dicom_element *data = item ? dicom_find(item, TAG_LUT_DATA) : NULL;
    if (!descriptor || descriptor->size < 6 || !data || !data->bytes)
        return;
    uint32_t count = load16(descriptor->bytes);
    count = count ? count : 65536;
    unsigned bits = load16(descriptor->bytes + 4);
    bool wide = data->size >= 2 * (size_t)count;
    if ((!wide && data->size < count) || bits < 1 || bits > 16)
        return;
    uint16_t first = load16(descriptor->bytes + 2);
    *ret = (struct lut){
        .values = data->bytes,
        .wide = wide,
        .count = count,
        .first = is_signed || descriptor->vr == DICOM_SS ? (int16_t)first : first,
        .largest = (double)((1u << bits) - 1),
    };
}

static double lut_at(const struct lut *lut, double value) {
    double index = value - lut->first;
    uint32_t entry = index <= 0 ? 0 : index >= lut->count - 1 ? lut->count - 1 : (uint32_t)index;
    return lut->wide ? load16(lut->values + 2 * (size_t)entry) : lut->values[entry];
}

static void load_padding(const struct dicom_file *file, struct transform *transform) {
    const struct dicom_element *padding = dicom_find(&file->dataset, TAG_PADDING);
    int64_t first, limit;
    if (!padding || !dicom_integer(padding, 0, &first))
        return;
    limit = dicom_get_integer(&file->dataset, TAG_PADDING_LIMIT, first);
    transform->has_padding = true;
    transform->padding_low = first < limit ? first : limit;
    transform->padding_high = first < limit ? limit : first;
}

static void load_window(const struct dicom_file *file, const struct dicom_image *image,
                        const struct dicom_frame *frame, struct transform *transform) {
    const struct dicom_dataset *where = macro(file, frame->index, TAG_FRAME_VOI);
    load_lut(item_at(where, TAG_VOI_LUT, 0), image->is_signed, &transform->voi);
    if (transform->voi.values)
        return;
    char function[20];
    dicom_get_text(where, TAG_WINDOW_FUNCTION, function, sizeof(function));
    transform->shape = text_equal(function, "LINEAR_EXACT") ? SHAPE_EXACT
                       : text_equal(function, "SIGMOID")    ? SHAPE_SIGMOID
                                                            : SHAPE_LINEAR;
    transform->has_window = get_number(where, TAG_CENTER, &transform->center) &&
                            get_number(where, TAG_WIDTH, &transform->width) && transform->width > 0;
}

static double modality_value(const struct transform *transform, const struct dicom_frame *frame,
                             int32_t stored) {
    double value = frame->halved ? 2.0 * stored : stored;
    if (transform->modality.values)
        return lut_at(&transform->modality, value);
    return value * transform->slope + transform->intercept;
}

/* 0 … 1 */
static double shown_value(const struct transform *transform, double value) {
    if (transform->voi.values)
        return lut_at(&transform->voi, value) / transform->voi.largest;
    double center = transform->center, width = transform->width;
    if (transform->shape == SHAPE_SIGMOID)
        return 1 / (1 + exp(-4 * (value - center) / width));
    if (transform->shape == SHAPE_LINEAR) {
        center -= 0.5;
        width -= 1;
    }
    if (width <= 0)
        return value > center ? 1 : 0;
    double shown = (value - center) / width + 0.5;
    return shown < 0 ? 0 : shown > 1 ? 1 : shown;
}

/* ------------------------------------------------------------------ ranges */

struct range {
    int32_t low, high;
    bool empty;
};

static bool is_padding(const struct transform *transform, const struct dicom_frame *frame,
                       int32_t stored) {
    int64_t value = frame->halved ? 2 * (int64_t)stored : stored;
    return transform->has_padding && value >= transform->padding_low &&
           value <= transform->padding_high;
}

/* Smallest and largest stored value; padding counts only when there is nothing else. */
static struct range frame_range(const struct dicom_frame *frame,
                                const struct transform *transform) {
    size_t pixels = (size_t)frame->width * frame->height;
    struct range range = {.empty = true}, all = {frame->grey[0], frame->grey[0], false};
    for (size_t i = 0; i < pixels; i++) {
        int32_t value = frame->grey[i];
        all.low = value < all.low ? value : all.low;
        all.high = value > all.high ? value : all.high;
        if (transform && is_padding(transform, frame, value))
            continue;
        range.low = range.empty || value < range.low ? value : range.low;
        range.high = range.empty || value > range.high ? value : range.high;
        range.empty = false;
    }
    return range.empty ? all : range;
}

/* Cuts `percent` % off both ends, by a histogram of at most 65536 bins. */
static int percentile_range(const struct dicom_frame *frame, const struct transform *transform,
                            double percent, struct range *range, struct error **err) {
    size_t pixels = (size_t)frame->width * frame->height, counted = 0;
    uint64_t span = (uint64_t)((int64_t)range->high - range->low) + 1;
    uint64_t bin = span / 65536 + 1, bins = (span + bin - 1) / bin;
    OWN_MEMORY(uint32_t) histogram = memory_array((size_t)bins, sizeof(uint32_t));
    if (!histogram)
        return error_set_memory(err);
    for (size_t i = 0; i < pixels; i++) {
        int32_t value = frame->grey[i];
        if (value < range->low || value > range->high || is_padding(transform, frame, value))
            continue;
        histogram[(uint64_t)((int64_t)value - range->low) / bin]++;
        counted++;
    }
    double cut = (double)counted * percent / 100, seen = 0;
    int64_t first = range->low;
    uint64_t low = 0, high = bins - 1;
    while (low < high && (seen += histogram[low]) <= cut)
        low++;
    seen = 0;
    while (high > low && (seen += histogram[high]) <= cut)
        high--;
    range->low = (int32_t)(first + (int64_t)(low * bin));
    range->high = (int32_t)(first + (int64_t)(high * bin));
    return 0;
}

/* A window that maps `range` to black … white exactly. */
static void window_of_range(struct transform *transform, const struct dicom_frame *frame,
                            struct range range) {
    double low = modality_value(transform, frame, range.low);
    double high = modality_value(transform, frame, range.high);
    if (low > high) {
        double swap = low;
        low = high;
        high = swap;
    }
    transform->voi.values = NULL;
    transform->shape = SHAPE_EXACT;
    transform->width = high > low ? high - low : 1; /* one value only: black */
    transform->center = low + transform->width / 2;
    transform->has_window = true;
}

/* --------------------------------------------------------------- rendering */

static int prepare(const struct dicom_file *file, const struct dicom_image *image,
                   const struct dicom_frame *frame, const struct dicom_render_options *options,
                   struct transform *transform, struct error **err) {
    const struct dicom_dataset *where = macro(file, frame->index, TAG_VALUE_TRANSFORM);
    if (!get_number(where, TAG_SLOPE, &transform->slope) || transform->slope == 0)
        transform->slope = 1;
    get_number(where, TAG_INTERCEPT, &transform->intercept);
    load_lut(item_at(&file->dataset, TAG_MODALITY_LUT, 0), image->is_signed, &transform->modality);
    load_padding(file, transform);
    char shape[20];
    dicom_get_text(&file->dataset, TAG_PRESENTATION_SHAPE, shape, sizeof(shape));
    transform->invert = image->inverted || text_equal(shape, "INVERSE");
    transform->depth = options->depth == 16 ? 16 : 8;
    if (options->source == WINDOW_FILE)
        load_window(file, image, frame, transform);
    if (options->source == WINDOW_GIVEN) {
        transform->center = options->center;
        transform->width = options->width;
        transform->has_window = true;
        if (!(options->width > 0))
            return error_set(err, ERROR_USAGE, "a window's width must be above 0");
    }
    if (transform->has_window || transform->voi.values)
        return 0;
    struct range range = frame_range(frame, transform);
    if (options->source == WINDOW_PERCENTILE &&
        percentile_range(frame, transform, options->percentile, &range, err) != 0)
        return -1;
    window_of_range(transform, frame, range);
    return 0;
}

static uint16_t quantise(const struct transform *transform, const struct dicom_frame *frame,
                         int32_t stored) {
    double shown = shown_value(transform, modality_value(transform, frame, stored));
    if (transform->invert)
        shown = 1 - shown;
    return (uint16_t)(shown * (transform->depth == 16 ? 65535 : 255) + 0.5);
}

static void store_pixel(struct picture *picture, size_t index, uint16_t value) {
    if (picture->depth == 16)
        ((uint16_t *)picture->pixels)[index] = value;
    else
        ((uint8_t *)picture->pixels)[index] = (uint8_t)value;
}

/* Few frames use more than 65,536 different values: each is computed once. */
static int render_grey(const struct dicom_frame *frame, const struct transform *transform,
                       struct picture *picture, struct error **err) {
    size_t pixels = (size_t)frame->width * frame->height;
    struct range range = frame_range(frame, NULL);
    uint64_t span = (uint64_t)((int64_t)range.high - range.low) + 1;
    if (span > 65536) {
        for (size_t i = 0; i < pixels; i++)
            store_pixel(picture, i, quantise(transform, frame, frame->grey[i]));
        return 0;
    }
    OWN_MEMORY(uint16_t) table = memory_array((size_t)span, sizeof(uint16_t));
    if (!table)
        return error_set_memory(err);
    for (uint64_t i = 0; i < span; i++)
        table[i] = quantise(transform, frame, (int32_t)(range.low + (int64_t)i));
    for (size_t i = 0; i < pixels; i++)
        store_pixel(picture, i, table[(int64_t)frame->grey[i] - range.low]);
    return 0;
}

int dicom_render(const struct dicom_file *file, const struct dicom_image *image,
                 const struct dicom_frame *frame, const struct dicom_render_options *options,
                 struct picture *ret, struct dicom_render_options *used, struct error **err) {
    size_t pixels = (size_t)frame->width * frame->height;
    struct dicom_render_options applied = *options;
    OWN_PICTURE picture = {.width = frame->width, .height = frame->height, .depth = 8};
    if (frame->colour) {
        picture.channels = 3;
        picture.pixels = memory_copy_bytes(frame->rgb, pixels * 3);
        if (!picture.pixels)
            return error_set_memory(err);
        applied.center = applied.width = 0;
    } else {
        struct transform transform = {0};
        if (prepare(file, image, frame, options, &transform, err) != 0)
            return -1;
        picture.channels = 1;
        picture.depth = transform.depth;
        picture.pixels = memory_array(pixels, transform.depth / 8);
        if (!picture.pixels)
            return error_set_memory(err);
        if (render_grey(frame, &transform, &picture, err) != 0)
            return -1;
        applied.center = transform.voi.values ? 0 : transform.center;
        applied.width = transform.voi.values ? 0 : transform.width;
    }
    applied.depth = picture.depth;
    *ret = picture;
    picture.pixels = NULL;
    if (used)
        *used = applied;
    return 0;
}
