/* JPEG 2000 by OpenJPEG. */
#include "dicom/private-dicom.h"

#include <openjpeg.h>

struct memory_stream {
    const uint8_t *bytes;
    size_t size, at;
};

static OPJ_SIZE_T stream_read(void *out, OPJ_SIZE_T count, void *data) {
    struct memory_stream *stream = data;
    size_t left = stream->size - stream->at;
    if (left == 0)
        return (OPJ_SIZE_T)-1;
    if (count > left)
        count = left;
    memcpy(out, stream->bytes + stream->at, count);
    stream->at += count;
    return count;
}

static OPJ_OFF_T stream_skip(OPJ_OFF_T count, void *data) {
    struct memory_stream *stream = data;
    if (count < 0)
        return -1;
    size_t left = stream->size - stream->at;
    if ((uint64_t)count > left)
        count = (OPJ_OFF_T)left;
    stream->at += (size_t)count;
    return count;
}

static OPJ_BOOL stream_seek(OPJ_OFF_T position, void *data) {
    struct memory_stream *stream = data;
    if (position < 0 || (uint64_t)position > stream->size)
        return OPJ_FALSE;
    stream->at = (size_t)position;
    return OPJ_TRUE;
}

static void keep_message(const char *message, void *data) {
    char *text = data; /* the first one is the cause */
    if (!text[0])
        snprintf(text, 200, "%.*s", (int)strcspn(message, "\r\n"), message);
}

static void drop_message(const char *message, void *data) {
    (void)message;
    (void)data;
}

static int fits(const opj_image_t *coded, const struct dicom_image *image, struct error **err) {
    if (coded->x1 <= coded->x0 || coded->y1 <= coded->y0 ||
        coded->x1 - coded->x0 != image->columns || coded->y1 - coded->y0 != image->rows ||
        coded->numcomps != image->samples)
        return error_set(err, ERROR_CORRUPT,
                         "the JPEG 2000 image has another size than the header says");
    for (uint32_t i = 0; i < coded->numcomps; i++) {
        const opj_image_comp_t *component = &coded->comps[i];
        if (component->dx != 1 || component->dy != 1 || component->prec > 16 ||
            component->prec != coded->comps[0].prec)
            return error_set(err, ERROR_UNSUPPORTED,
                             "JPEG 2000 with subsampling or over 16 bits is not supported");
    }
    return 0;
}

static int copy_samples(const opj_image_t *coded, const struct dicom_image *image,
                        struct samples *ret, struct error **err) {
    unsigned depth = coded->comps[0].prec > 8 ? 16 : 8;
    if (samples_allocate(ret, image->columns, image->rows, image->samples, depth, err) != 0)
        return -1;
    ret->is_rgb =
        image->photometric == PHOTOMETRIC_RGB || image->photometric == PHOTOMETRIC_YBR_OTHER;
    size_t pixels = (size_t)ret->width * ret->height;
    for (uint32_t c = 0; c < coded->numcomps; c++) {
        const opj_image_comp_t *component = &coded->comps[c];
        if (!component->data || component->w != ret->width || component->h != ret->height)
            return error_set(err, ERROR_CORRUPT, "the JPEG 2000 image is incomplete");
        for (size_t i = 0; i < pixels; i++) {
            size_t to = i * coded->numcomps + c;
            if (depth == 8)
                ((uint8_t *)ret->data)[to] = (uint8_t)component->data[i];
            else
                ((uint16_t *)ret->data)[to] = (uint16_t)component->data[i];
        }
    }
    return 0;
}

static int decode(opj_codec_t *codec, opj_stream_t *stream, const struct dicom_image *image,
                  const char *message, struct samples *ret, struct error **err) {
    opj_dparameters_t parameters;
    opj_image_t *coded = NULL;
    opj_set_default_decoder_parameters(&parameters);
    int result = -1;
    if (!opj_setup_decoder(codec, &parameters) || !opj_read_header(stream, codec, &coded))
        error_set(err, ERROR_CORRUPT, "JPEG 2000: %s", message);
    else if (fits(coded, image, err) != 0)
        result = -1;
    else if (!opj_decode(codec, stream, coded))
        error_set(err, ERROR_CORRUPT, "JPEG 2000: %s", message);
    else
        result = copy_samples(coded, image, ret, err);
    opj_image_destroy(coded);
    return result;
}

int codec_jpeg_2000(const uint8_t *bytes, size_t size, const struct dicom_image *image,
                    struct samples *ret, struct error **err) {
    struct memory_stream memory = {bytes, size, 0};
    char message[200] = "";
    bool boxed = size >= 12 && memcmp(bytes, "\0\0\0\x0cjP", 6) == 0;
    opj_codec_t *codec = opj_create_decompress(boxed ? OPJ_CODEC_JP2 : OPJ_CODEC_J2K);
    opj_stream_t *stream = opj_stream_create(65536, OPJ_TRUE);
    int result = -1;
    if (codec && stream) {
        opj_set_error_handler(codec, keep_message, message);
        opj_set_warning_handler(codec, drop_message, NULL);
        opj_set_info_handler(codec, drop_message, NULL);
        opj_stream_set_user_data(stream, &memory, NULL);
        opj_stream_set_user_data_length(stream, size);
        opj_stream_set_read_function(stream, stream_read);
        opj_stream_set_skip_function(stream, stream_skip);
        opj_stream_set_seek_function(stream, stream_seek);
        result = decode(codec, stream, image, message, ret, err);
    } else {
        error_set_memory(err);
    }
    opj_stream_destroy(stream);
    opj_destroy_codec(codec);
    return result;
}
