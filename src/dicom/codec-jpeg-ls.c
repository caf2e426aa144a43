/* JPEG-LS by CharLS. */
#include "dicom/private-dicom.h"

#include <charls/charls.h>

static int decode(charls_jpegls_decoder *decoder, const uint8_t *bytes, size_t size,
                  const struct dicom_image *image, struct samples *ret, struct error **err) {
    charls_frame_info info;
    charls_interleave_mode mode;
    size_t needed;
    int status = charls_jpegls_decoder_set_source_buffer(decoder, bytes, size);
    if (status == 0)
        status = charls_jpegls_decoder_read_header(decoder);
    if (status == 0)
        status = charls_jpegls_decoder_get_frame_info(decoder, &info);
    if (status == 0)
        status = charls_jpegls_decoder_get_interleave_mode(decoder, &mode);
    if (status == 0)
        status = charls_jpegls_decoder_get_destination_size(decoder, 0, &needed);
    if (status != 0)
        return error_set(err, ERROR_CORRUPT, "JPEG-LS: %s", charls_get_error_message(status));
    if (info.width != image->columns || info.height != image->rows ||
        info.component_count != (int)image->samples || info.bits_per_sample > 16)
        return error_set(err, ERROR_CORRUPT,
                         "the JPEG-LS image has another size than the header says");
    if (samples_allocate(ret, info.width, info.height, image->samples,
                         info.bits_per_sample > 8 ? 16 : 8, err) != 0)
        return -1;
    size_t room = (size_t)ret->width * ret->height * ret->channels * (ret->depth / 8);
    if (needed != room)
        return error_set(err, ERROR_CORRUPT, "the JPEG-LS image has another size than expected");
    status = charls_jpegls_decoder_decode_to_buffer(decoder, ret->data, room, 0);
    if (status != 0)
        return error_set(err, ERROR_CORRUPT, "JPEG-LS: %s", charls_get_error_message(status));
    if (ret->channels == 1 || mode != CHARLS_INTERLEAVE_MODE_NONE)
        return 0;
    if (ret->depth != 8)
        return error_set(err, ERROR_UNSUPPORTED, "planar JPEG-LS over 8 bits is not supported");
    /* plane by plane: interleave */
    size_t pixels = (size_t)ret->width * ret->height;
    uint8_t *planes = ret->data, *mixed = memory_allocate(room);
    if (!mixed)
        return error_set_memory(err);
    for (size_t i = 0; i < room; i++)
        mixed[i] = planes[i % 3 * pixels + i / 3];
    memory_free(planes);
    ret->data = mixed;
    return 0;
}

int codec_jpeg_ls(const uint8_t *bytes, size_t size, const struct dicom_image *image,
                  struct samples *ret, struct error **err) {
    charls_jpegls_decoder *decoder = charls_jpegls_decoder_create();
    if (!decoder)
        return error_set_memory(err);
    int result = decode(decoder, bytes, size, image, ret, err);
    charls_jpegls_decoder_destroy(decoder);
    return result;
}
