/* JPEG of 8 bits (baseline, extended, progressive) by libjpeg-turbo. */
#include "dicom/private-dicom.h"

#include <jpeglib.h>
#include <setjmp.h>

/* libjpeg's way out of an error is a jump; everything that must be freed after it lives here. */
struct jpeg {
    struct jpeg_decompress_struct decoder;
    struct jpeg_error_mgr errors;
    jmp_buf escape;
    bool cut_off;
    struct samples *samples;
    struct error **err;
};

static void on_error(j_common_ptr common) {
    struct jpeg *jpeg = common->client_data;
    char text[JMSG_LENGTH_MAX];
    common->err->format_message(common, text);
    error_set(jpeg->err, ERROR_CORRUPT, "JPEG: %s", text);
    longjmp(jpeg->escape, 1);
}

static void on_message(j_common_ptr common, int level) {
    (void)common;
    (void)level;
}

/* Asked for more bytes than there are: an end-of-image marker lets libjpeg finish. */
static boolean on_more(j_decompress_ptr decoder) {
    static const JOCTET end[2] = {0xff, JPEG_EOI};
    struct jpeg *jpeg = decoder->client_data;
    jpeg->cut_off = true;
    decoder->src->next_input_byte = end;
    decoder->src->bytes_in_buffer = sizeof(end);
    return TRUE;
}

static void on_output(j_common_ptr common) {
    (void)common;
}

/* The image's own markers tell the colour model best; without any, the DICOM header does. */
static void settle_colour(struct jpeg *jpeg, const struct dicom_image *image) {
    struct jpeg_decompress_struct *decoder = &jpeg->decoder;
    if (decoder->num_components == 1) {
        decoder->out_color_space = JCS_GRAYSCALE;
        return;
    }
    if (!decoder->saw_JFIF_marker && !decoder->saw_Adobe_marker &&
        image->photometric == PHOTOMETRIC_RGB)
        decoder->jpeg_color_space = JCS_RGB;
    decoder->out_color_space = JCS_RGB;
}

static int decode(struct jpeg *jpeg, const uint8_t *bytes, size_t size,
                  const struct dicom_image *image) {
    struct jpeg_decompress_struct *decoder = &jpeg->decoder;
    if (setjmp(jpeg->escape))
        return -1;
    jpeg_create_decompress(decoder);
    jpeg_mem_src(decoder, bytes, size);
    decoder->src->fill_input_buffer = on_more;
    jpeg_read_header(decoder, TRUE);
    if (decoder->data_precision != 8)
        return error_set(jpeg->err, ERROR_UNSUPPORTED, "JPEG of %d bits is not supported",
                         decoder->data_precision);
    if (decoder->image_width != image->columns || decoder->image_height != image->rows ||
        decoder->num_components != (int)image->samples)
        return error_set(jpeg->err, ERROR_CORRUPT,
                         "the JPEG is %ux%u with %d components, the header says %ux%u with %u",
                         decoder->image_width, decoder->image_height, decoder->num_components,
                         image->columns, image->rows, image->samples);
    settle_colour(jpeg, image);
    jpeg_start_decompress(decoder);
    unsigned channels = decoder->num_components == 1 ? 1 : 3;
    if (samples_allocate(jpeg->samples, decoder->output_width, decoder->output_height, channels, 8,
                         jpeg->err) != 0)
        return -1;
    jpeg->samples->is_rgb = channels == 3;
    size_t stride = (size_t)decoder->output_width * channels;
    while (decoder->output_scanline < decoder->output_height) {
        JSAMPROW row = (uint8_t *)jpeg->samples->data + stride * decoder->output_scanline;
        jpeg_read_scanlines(decoder, &row, 1);
    }
    if (jpeg->cut_off)
        return error_set(jpeg->err, ERROR_CORRUPT, "the JPEG image is cut off");
    return 0;
}

int codec_jpeg(const uint8_t *bytes, size_t size, const struct dicom_image *image,
               struct samples *ret, struct error **err) {
    struct jpeg jpeg = {.samples = ret, .err = err};
    jpeg.decoder.err = jpeg_std_error(&jpeg.errors);
    jpeg.errors.error_exit = on_error;
    jpeg.errors.emit_message = on_message;
    jpeg.errors.output_message = on_output;
    jpeg.decoder.client_data = &jpeg;
    int result = decode(&jpeg, bytes, size, image);
    jpeg_destroy_decompress(&jpeg.decoder);
    return result;
}
