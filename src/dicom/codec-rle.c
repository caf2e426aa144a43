/* RLE Lossless (PS3.5 annex G): PackBits, one segment a byte plane, highest byte first. */
#include "dicom/private-dicom.h"

/* Decodes one segment into every `stride`-th byte. False: it ends early. */
static bool unpack(const uint8_t *bytes, size_t size, uint8_t *out, size_t count, size_t stride) {
    size_t at = 0, done = 0;
    while (done < count) {
        if (at >= size)
            return false;
        uint8_t control = bytes[at++];
        if (control == 128)
            continue;
        bool literal = control < 128;
        size_t run = literal ? (size_t)control + 1 : 257 - (size_t)control;
        if (at + (literal ? run : 1) > size)
            return false;
        for (size_t i = 0; i < run && done < count; i++, done++)
            out[done * stride] = bytes[literal ? at + i : at];
        at += literal ? run : 1;
    }
    return true;
}

int codec_rle(const uint8_t *bytes, size_t size, const struct dicom_image *image, uint8_t *ret,
              size_t expected, struct error **err) {
    size_t width = image->bits_allocated / 8;
    size_t pixels = (size_t)image->rows * image->columns;
    uint32_t segments = size >= 64 ? load32(bytes) : 0;
    if (segments != width * image->samples || segments > 15 || expected != pixels * segments)
        return error_set(err, ERROR_CORRUPT, "RLE: %u segments where %zu are needed", segments,
                         width * image->samples);
    for (uint32_t i = 0; i < segments; i++) {
        size_t from = load32(bytes + 4 + 4 * (size_t)i);
        size_t to = i + 1 < segments ? load32(bytes + 8 + 4 * (size_t)i) : size;
        if (from < 64 || from > to || to > size)
            return error_set(err, ERROR_CORRUPT, "RLE: segment %u lies outside the frame", i + 1);
        size_t sample = i / width, byte = width - 1 - i % width;
        if (!unpack(bytes + from, to - from, ret + sample * pixels * width + byte, pixels, width))
            return error_set(err, ERROR_CORRUPT, "RLE: segment %u ends early", i + 1);
    }
    return 0;
}
