/* What the header says of the pixels, fragments, native pixels, and frames from samples. */
#include "dicom/private-dicom.h"

#define TAG_ROWS           DICOM_TAG(0x0028, 0x0010)
#define TAG_COLUMNS        DICOM_TAG(0x0028, 0x0011)
#define TAG_SAMPLES        DICOM_TAG(0x0028, 0x0002)
#define TAG_PHOTOMETRIC    DICOM_TAG(0x0028, 0x0004)
#define TAG_PLANAR         DICOM_TAG(0x0028, 0x0006)
#define TAG_FRAMES         DICOM_TAG(0x0028, 0x0008)
#define TAG_BITS_ALLOCATED DICOM_TAG(0x0028, 0x0100)
#define TAG_BITS_STORED    DICOM_TAG(0x0028, 0x0101)
#define TAG_HIGH_BIT       DICOM_TAG(0x0028, 0x0102)
#define TAG_RED_DESCRIPTOR DICOM_TAG(0x0028, 0x1101)
#define TAG_RED_TABLE      DICOM_TAG(0x0028, 0x1201)

void dicom_frame_release(struct dicom_frame *frame) {
    memory_free(frame->grey);
    memory_free(frame->rgb);
    frame->grey = NULL;
    frame->rgb = NULL;
}

void samples_release(struct samples *samples) {
    memory_free(samples->data);
    samples->data = NULL;
}

int samples_allocate(struct samples *samples, uint64_t width, uint64_t height, unsigned channels,
                     unsigned depth, struct error **err) {
    if (width == 0 || height == 0 || width > UINT16_MAX || height > UINT16_MAX ||
        width * height * channels > DICOM_MAXIMUM_PIXELS)
        return error_set(err, ERROR_LIMIT, "an image of %llu x %llu pixels is refused",
                         (unsigned long long)width, (unsigned long long)height);
    samples->width = (uint32_t)width;
    samples->height = (uint32_t)height;
    samples->channels = channels;
    samples->depth = depth;
    samples->data = memory_array((size_t)(width * height), (size_t)channels * (depth / 8));
    return samples->data ? 0 : error_set_memory(err);
}

/* ------------------------------------------------------------- description */

static int photometric_of(const struct dicom_dataset *dataset, struct dicom_image *image,
                          struct error **err) {
    static const struct {
        const char *name;
        enum dicom_photometric photometric;
        uint32_t samples;
    } names[] = {
        {"MONOCHROME1", PHOTOMETRIC_MONOCHROME, 1},
        {"MONOCHROME2", PHOTOMETRIC_MONOCHROME, 1},
        {"PALETTE COLOR", PHOTOMETRIC_PALETTE, 1},
        {"RGB", PHOTOMETRIC_RGB, 3},
        {"YBR_FULL", PHOTOMETRIC_YBR_FULL, 3},
        {"YBR_FULL_422", PHOTOMETRIC_YBR_FULL_422, 3},
        {"YBR_PARTIAL_422", PHOTOMETRIC_YBR_OTHER, 3},
        {"YBR_PARTIAL_420", PHOTOMETRIC_YBR_OTHER, 3},
        {"YBR_ICT", PHOTOMETRIC_YBR_OTHER, 3},
        {"YBR_RCT", PHOTOMETRIC_YBR_OTHER, 3},
    };
    char name[20];
    dicom_get_text(dataset, TAG_PHOTOMETRIC, name, sizeof(name));
    if (!name[0]) { /* required, but a few files leave it out */
        image->photometric = image->samples == 3 ? PHOTOMETRIC_RGB : PHOTOMETRIC_MONOCHROME;
        return 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (!text_equal(name, names[i].name))
            continue;
        if (names[i].samples != image->samples)
            return error_set(err, ERROR_CORRUPT, "%s with %u samples a pixel", names[i].name,
                             image->samples);
        image->photometric = names[i].photometric;
        image->inverted = text_equal(name, "MONOCHROME1");
        return 0;
    }
    return error_set(err, ERROR_UNSUPPORTED, "this photometric interpretation is not supported");
}

int dicom_image(const struct dicom_file *file, struct dicom_image *ret, struct error **err) {
    const struct dicom_dataset *dataset = &file->dataset;
    struct dicom_image image = {.pixels = dicom_find(dataset, TAG_PIXEL_DATA)};
    if (!image.pixels)
        return error_set(err, ERROR_NOT_FOUND, "the file has no image");
    int64_t rows = dicom_get_integer(dataset, TAG_ROWS, 0);
    int64_t columns = dicom_get_integer(dataset, TAG_COLUMNS, 0);
    int64_t samples = dicom_get_integer(dataset, TAG_SAMPLES, 1);
    int64_t frames = dicom_get_integer(dataset, TAG_FRAMES, 1);
    int64_t allocated = dicom_get_integer(dataset, TAG_BITS_ALLOCATED, 0);
    int64_t stored = dicom_get_integer(dataset, TAG_BITS_STORED, allocated);
    int64_t high = dicom_get_integer(dataset, TAG_HIGH_BIT, stored - 1);
    if (rows < 1 || rows > UINT16_MAX || columns < 1 || columns > UINT16_MAX)
        return error_set(err, ERROR_CORRUPT, "the image has no size (Rows, Columns)");
    if (samples != 1 && samples != 3)
        return error_set(err, ERROR_UNSUPPORTED, "%lld samples a pixel are not supported",
                         (long long)samples);
    if (allocated != 1 && allocated != 8 && allocated != 16 && allocated != 32)
        return error_set(err, ERROR_UNSUPPORTED, "%lld bits allocated are not supported",
                         (long long)allocated);
    if (stored < 1 || stored > allocated || high < stored - 1 || high >= allocated)
        return error_set(err, ERROR_CORRUPT, "Bits Stored or High Bit do not fit Bits Allocated");
    if (allocated == 1 && samples != 1)
        return error_set(err, ERROR_UNSUPPORTED, "colour of one bit is not supported");
    if (frames < 1 || frames > UINT32_MAX)
        frames = 1;
    if ((uint64_t)(rows * columns * samples) > DICOM_MAXIMUM_PIXELS)
        return error_set(err, ERROR_LIMIT, "the image is too large");
    image.rows = (uint32_t)rows;
    image.columns = (uint32_t)columns;
    image.samples = (uint32_t)samples;
    image.frames = (uint32_t)frames;
    image.bits_allocated = (uint32_t)allocated;
    image.bits_stored = (uint32_t)stored;
    image.high_bit = (uint32_t)high;
    image.is_signed = dicom_get_integer(dataset, TAG_PIXEL_REPRESENTATION, 0) == 1;
    image.planar = dicom_get_integer(dataset, TAG_PLANAR, 0) == 1;
    if (photometric_of(dataset, &image, err) != 0)
        return -1;
    *ret = image;
    return 0;
}

/* ---------------------------------------------------------------- fragments */

static const struct dicom_item *first_fragment(const struct dicom_image *image) {
    return image->pixels->items ? image->pixels->items->next : NULL;
}

/* Does a frame start here, as its bytes tell? For streams cut into several fragments a frame. */
static bool starts_stream(const struct dicom_item *item) {
    return item->size >= 2 && item->bytes[0] == 0xff &&
           (item->bytes[1] == 0xd8 || item->bytes[1] == 0x4f);
}

/* First fragment of a frame and of the next one (NULL: to the end), by the offset table. */
static bool range_by_table(const struct dicom_image *image, uint32_t frame,
                           const struct dicom_item **ret_from, const struct dicom_item **ret_to) {
    const struct dicom_item *table = image->pixels->items;
    if (!table || table->size / 4 < image->frames)
        return false;
    uint32_t from = load32(table->bytes + 4 * (size_t)frame);
    bool last = frame + 1 == image->frames;
    uint32_t to = last ? 0 : load32(table->bytes + 4 * (size_t)(frame + 1));
    uint64_t offset = 0;
    *ret_from = *ret_to = NULL;
    for (const struct dicom_item *item = table->next; item; item = item->next) {
        if (offset == from)
            *ret_from = item;
        if (!last && offset == to)
            *ret_to = item;
        offset += 8 + item->size;
    }
    return *ret_from && (last || *ret_to) && *ret_from != *ret_to;
}

static bool range_by_streams(const struct dicom_image *image, uint32_t frame,
                             const struct dicom_item **ret_from, const struct dicom_item **ret_to) {
    uint64_t seen = 0;
    *ret_from = *ret_to = NULL;
    for (const struct dicom_item *item = first_fragment(image); item; item = item->next) {
        if (!starts_stream(item))
            continue;
        if (seen == frame)
            *ret_from = item;
        if (seen == (uint64_t)frame + 1)
            *ret_to = item;
        seen++;
    }
    return *ret_from && seen == image->frames;
}

static bool frame_range(const struct dicom_image *image, uint32_t frame,
                        const struct dicom_item **ret_from, const struct dicom_item **ret_to) {
    size_t fragments = image->pixels->item_count - 1;
    if (image->frames == 1) {
        *ret_from = first_fragment(image);
        *ret_to = NULL;
        return true;
    }
    if (fragments == image->frames) {
        *ret_from = first_fragment(image);
        for (uint32_t i = 0; i < frame; i++)
            *ret_from = (*ret_from)->next;
        *ret_to = (*ret_from)->next;
        return true;
    }
    return range_by_table(image, frame, ret_from, ret_to) ||
           range_by_streams(image, frame, ret_from, ret_to);
}

int pixel_frame_bytes(const struct dicom_image *image, uint32_t frame, struct buffer *ret,
                      struct error **err) {
    const struct dicom_item *from = NULL, *to = NULL;
    if (!first_fragment(image))
        return error_set(err, ERROR_CORRUPT, "the pixel data has no fragments");
    if (!frame_range(image, frame, &from, &to))
        return error_set(err, ERROR_CORRUPT, "cannot tell which fragments frame %u is made of",
                         frame + 1);
    ret->maximum = DICOM_MAXIMUM_FILE;
    for (const struct dicom_item *item = from; item && item != to; item = item->next)
        buffer_append_bytes(ret, item->bytes, item->size);
    return buffer_check(ret, err);
}

/* ------------------------------------------------------------ native pixels */

/* YBR_FULL_422 native: Y Y Cb Cr for two pixels of a row. */
static void expand_422(const uint8_t *bytes, struct samples *samples) {
    uint8_t *out = samples->data;
    size_t pixels = (size_t)samples->width * samples->height;
    for (size_t i = 0; i < pixels; i++) {
        const uint8_t *pair = bytes + i / 2 * 4;
        out[3 * i] = pair[i & 1];
        out[3 * i + 1] = pair[2];
        out[3 * i + 2] = pair[3];
    }
}

static void interleave(const uint8_t *bytes, bool planar, struct samples *samples) {
    size_t pixels = (size_t)samples->width * samples->height;
    size_t count = pixels * samples->channels;
    for (size_t i = 0; i < count; i++) {
        size_t from = planar ? i % samples->channels * pixels + i / samples->channels : i;
        if (samples->depth == 8)
            ((uint8_t *)samples->data)[i] = bytes[from];
        else
            ((uint16_t *)samples->data)[i] = load16(bytes + 2 * from);
    }
}

static void expand_bits(const uint8_t *bytes, uint64_t first, struct samples *samples) {
    size_t pixels = (size_t)samples->width * samples->height;
    for (size_t i = 0; i < pixels; i++)
        ((uint8_t *)samples->data)[i] = bytes[(first + i) / 8] >> ((first + i) & 7) & 1;
}

/* 32-bit samples do not go through struct samples. */
static int frame_of_32(const struct dicom_image *image, const uint8_t *bytes,
                       struct dicom_frame *frame, struct error **err) {
    size_t pixels = (size_t)image->rows * image->columns;
    if (image->samples != 1) { /* colour: the high byte is what can be shown */
        frame->colour = true;
        frame->rgb = memory_array(pixels, 3);
        if (!frame->rgb)
            return error_set_memory(err);
        for (size_t i = 0; i < 3 * pixels; i++) {
            size_t from = image->planar ? i % 3 * pixels + i / 3 : i;
            frame->rgb[i] = bytes[4 * from + 3];
        }
        return 0;
    }
    frame->grey = memory_array(pixels, sizeof(int32_t));
    if (!frame->grey)
        return error_set_memory(err);
    frame->halved = !image->is_signed;
    for (size_t i = 0; i < pixels; i++) {
        uint32_t value = load32(bytes + 4 * i);
        frame->grey[i] = image->is_signed ? (int32_t)value : (int32_t)(value / 2);
    }
    return 0;
}

static uint64_t native_bits(const struct dicom_image *image) {
    uint64_t samples = image->photometric == PHOTOMETRIC_YBR_FULL_422 ? 2 : image->samples;
    return (uint64_t)image->rows * image->columns * samples * image->bits_allocated;
}

/* ------------------------------------------------------- samples to a frame */

struct palette {
    uint32_t entries[3];
    int32_t first;
    uint8_t *values[3];
    uint8_t *memory; /* three tables of 65536 */
};

static int load_palette(const struct dicom_file *file, const struct dicom_image *image,
                        struct palette *palette, struct error **err) {
    for (uint32_t channel = 0; channel < 3; channel++) {
        const struct dicom_element *descriptor =
            dicom_find(&file->dataset, TAG_RED_DESCRIPTOR + channel);
        const struct dicom_element *table = dicom_find(&file->dataset, TAG_RED_TABLE + channel);
        if (!descriptor || descriptor->size < 6 || !table || !table->bytes)
            return error_set(err, ERROR_UNSUPPORTED, "the colour palette is missing or segmented");
        uint32_t entries = load16(descriptor->bytes);
        entries = entries ? entries : 65536;
        palette->first = image->is_signed ? (int16_t)load16(descriptor->bytes + 2)
                                          : load16(descriptor->bytes + 2);
        bool wide = table->size >= 2 * (size_t)entries;
        if (!wide && table->size < entries)
            return error_set(err, ERROR_CORRUPT, "the colour palette is shorter than it says");
        uint8_t *values = palette->memory + (size_t)channel * 65536;
        uint16_t largest = 0;
        for (uint32_t i = 0; wide && i < entries; i++)
            largest =
                load16(table->bytes + 2 * i) > largest ? load16(table->bytes + 2 * i) : largest;
        for (uint32_t i = 0; i < entries; i++) {
            uint16_t value = wide ? load16(table->bytes + 2 * i) : table->bytes[i];
            values[i] = (uint8_t)(wide && largest > 255 ? value >> 8 : value);
        }
        palette->entries[channel] = entries;
        palette->values[channel] = values;
    }
    return 0;
}

static int32_t stored_value(const struct dicom_image *image, uint32_t raw, bool shift) {
    if (shift)
        raw >>= image->high_bit + 1 - image->bits_stored;
    uint32_t mask = image->bits_stored >= 32 ? UINT32_MAX : (1u << image->bits_stored) - 1;
    raw &= mask;
    if (image->is_signed && raw & 1u << (image->bits_stored - 1))
        return (int32_t)(raw | ~mask);
    return (int32_t)raw;
}

static uint32_t sample_at(const struct samples *samples, size_t index) {
    return samples->depth == 8 ? ((const uint8_t *)samples->data)[index]
                               : ((const uint16_t *)samples->data)[index];
}

static int grey_frame(const struct dicom_file *file, const struct dicom_image *image,
                      const struct samples *samples, struct dicom_frame *frame,
                      struct error **err) {
    size_t pixels = (size_t)samples->width * samples->height;
    bool shift = !image->pixels->encapsulated || (file->syntax && file->syntax->codec == CODEC_RLE);
    frame->grey = memory_array(pixels, sizeof(int32_t));
    if (!frame->grey)
        return error_set_memory(err);
    for (size_t i = 0; i < pixels; i++)
        frame->grey[i] = stored_value(image, sample_at(samples, i), shift);
    return 0;
}

static int palette_frame(const struct dicom_file *file, const struct dicom_image *image,
                         struct dicom_frame *frame, struct error **err) {
    OWN_MEMORY(uint8_t) memory = memory_array(3, 65536);
    if (!memory)
        return error_set_memory(err);
    struct palette palette = {.memory = memory};
    if (load_palette(file, image, &palette, err) != 0)
        return -1;
    size_t pixels = (size_t)frame->width * frame->height;
    frame->rgb = memory_array(pixels, 3);
    if (!frame->rgb)
        return error_set_memory(err);
    for (size_t i = 0; i < pixels; i++) {
        int64_t index = (int64_t)frame->grey[i] - palette.first;
        for (size_t channel = 0; channel < 3; channel++) {
            int64_t last = (int64_t)palette.entries[channel] - 1;
            int64_t entry = index < 0 ? 0 : index > last ? last : index;
            frame->rgb[3 * i + channel] = palette.values[channel][entry];
        }
    }
    frame->colour = true;
    memory_free(frame->grey);
    frame->grey = NULL;
    return 0;
}

static uint8_t clamp_byte(double value) {
    return value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)(value + 0.5);
}

static int colour_frame(const struct dicom_image *image, const struct samples *samples,
                        struct dicom_frame *frame, struct error **err) {
    size_t pixels = (size_t)samples->width * samples->height;
    frame->colour = true;
    frame->rgb = memory_array(pixels, 3);
    if (!frame->rgb)
        return error_set_memory(err);
    unsigned down = image->bits_stored > 8 && samples->depth == 16 ? image->bits_stored - 8 : 0;
    for (size_t i = 0; i < 3 * pixels; i++)
        frame->rgb[i] = (uint8_t)(sample_at(samples, i) >> down);
    bool ybr = image->photometric == PHOTOMETRIC_YBR_FULL ||
               image->photometric == PHOTOMETRIC_YBR_FULL_422;
    for (size_t i = 0; ybr && !samples->is_rgb && i < pixels; i++) {
        uint8_t *pixel = frame->rgb + 3 * i;
        double y = pixel[0], blue = pixel[1] - 128.0, red = pixel[2] - 128.0;
        pixel[0] = clamp_byte(y + 1.402 * red);
        pixel[1] = clamp_byte(y - 0.344136 * blue - 0.714136 * red);
        pixel[2] = clamp_byte(y + 1.772 * blue);
    }
    return 0;
}

static int frame_of_samples(const struct dicom_file *file, const struct dicom_image *image,
                            const struct samples *samples, struct dicom_frame *frame,
                            struct error **err) {
    if (samples->width != image->columns || samples->height != image->rows ||
        samples->channels != image->samples)
        return error_set(err, ERROR_CORRUPT,
                         "the compressed image is %ux%u with %u samples, the "
                         "header says %ux%u with %u",
                         samples->width, samples->height, samples->channels, image->columns,
                         image->rows, image->samples);
    if (samples->channels == 3)
        return colour_frame(image, samples, frame, err);
    if (grey_frame(file, image, samples, frame, err) != 0)
        return -1;
    return image->photometric == PHOTOMETRIC_PALETTE ? palette_frame(file, image, frame, err) : 0;
}

/* ----------------------------------------------------------------- decoding */

static int decode_native(const struct dicom_file *file, const struct dicom_image *image,
                         const uint8_t *bytes, uint64_t first_bit, bool planar,
                         struct dicom_frame *frame, struct error **err) {
    if (image->bits_allocated == 32) {
        struct dicom_image as_stored = *image;
        as_stored.planar = planar;
        return frame_of_32(&as_stored, bytes + first_bit / 8, frame, err);
    }
    OWN_SAMPLES samples = {0};
    if (samples_allocate(&samples, image->columns, image->rows, image->samples,
                         image->bits_allocated > 8 ? 16 : 8, err) != 0)
        return -1;
    if (image->bits_allocated == 1)
        expand_bits(bytes, first_bit, &samples);
    else if (image->photometric == PHOTOMETRIC_YBR_FULL_422 && !image->pixels->encapsulated)
        expand_422(bytes + first_bit / 8, &samples);
    else
        interleave(bytes + first_bit / 8, planar, &samples);
    return frame_of_samples(file, image, &samples, frame, err);
}

static int decode_rle(const struct dicom_file *file, const struct dicom_image *image,
                      const struct buffer *stream, struct dicom_frame *frame, struct error **err) {
    size_t expected =
        (size_t)image->rows * image->columns * image->samples * (image->bits_allocated / 8);
    if (image->bits_allocated == 1)
        return error_set(err, ERROR_UNSUPPORTED, "RLE of one bit is not supported");
    OWN_MEMORY(uint8_t) bytes = memory_allocate(expected);
    if (!bytes)
        return error_set_memory(err);
    if (codec_rle((const uint8_t *)stream->data, stream->size, image, bytes, expected, err) != 0)
        return -1;
    return decode_native(file, image, bytes, 0, true, frame, err);
}

static int decode_encapsulated(const struct dicom_file *file, const struct dicom_image *image,
                               uint32_t index, struct dicom_frame *frame, struct error **err) {
    OWN_BUFFER stream = {0};
    OWN_SAMPLES samples = {0};
    if (pixel_frame_bytes(image, index, &stream, err) != 0)
        return -1;
    const uint8_t *bytes = (const uint8_t *)stream.data;
    int result;
    switch (file->syntax ? file->syntax->codec : CODEC_OTHER) {
    case CODEC_RLE:
        return decode_rle(file, image, &stream, frame, err);
    case CODEC_JPEG:
    case CODEC_JPEG_EXTENDED: /* often 8 bits after all; the codec refuses 12 */
        result = codec_jpeg(bytes, stream.size, image, &samples, err);
        break;
    case CODEC_JPEG_2000:
        result = codec_jpeg_2000(bytes, stream.size, image, &samples, err);
        break;
    case CODEC_JPEG_LS:
        result = codec_jpeg_ls(bytes, stream.size, image, &samples, err);
        break;
    default:
        return error_set(err, ERROR_UNSUPPORTED, "no decoder for transfer syntax %s%s%s%s",
                         file->transfer_syntax, file->syntax ? " (" : "",
                         file->syntax ? file->syntax->name : "", file->syntax ? ")" : "");
    }
    return result == 0 ? frame_of_samples(file, image, &samples, frame, err) : -1;
}

int dicom_decode(const struct dicom_file *file, const struct dicom_image *image, uint32_t index,
                 struct dicom_frame *ret, struct error **err) {
    struct dicom_frame frame = {.width = image->columns, .height = image->rows, .index = index};
    int result;
    if (index >= image->frames)
        return error_set(err, ERROR_INVALID, "there is no frame %u, only %u", index + 1,
                         image->frames);
    if (image->pixels->encapsulated) {
        result = decode_encapsulated(file, image, index, &frame, err);
    } else {
        uint64_t bits = native_bits(image), first = bits * index;
        uint64_t needed = (first + bits + 7) / 8;
        /* Both factors are below 2^36, so a wrapped product would be seen by this division. */
        if ((index && first / index != bits) || needed > image->pixels->size)
            return error_set(err, ERROR_CORRUPT,
                             "the pixel data has %zu bytes, frame %u ends at %llu",
                             image->pixels->size, index + 1, (unsigned long long)needed);
        result =
            decode_native(file, image, image->pixels->bytes, first, image->planar, &frame, err);
    }
    if (result != 0) {
        dicom_frame_release(&frame);
        return -1;
    }
    *ret = frame;
    return 0;
}
