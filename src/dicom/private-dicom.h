/* What the files of this room share among themselves. */
#ifndef GLOVEBOX_PRIVATE_DICOM_H
#define GLOVEBOX_PRIVATE_DICOM_H

#include "dicom/dicom.h"

/* ------------------------------------------------------------------- tables */

/* A row of the confidentiality profile: X remove, Z empty, D dummy, U new UID. */
struct profile_row {
    uint32_t tag, mask;
    char action;
};
/* The action for a tag of the standard, or 0. */
char dicom_profile_action(uint32_t tag);

bool dicom_vr_has_long_header(enum dicom_vr vr); /* explicit form with a 32-bit length */
char dicom_vr_padding(enum dicom_vr vr);

static inline uint16_t load16(const uint8_t *bytes) {
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}
static inline uint32_t load32(const uint8_t *bytes) {
    return (uint32_t)load16(bytes) | (uint32_t)load16(bytes + 2) << 16;
}
static inline uint64_t load64(const uint8_t *bytes) {
    return (uint64_t)load32(bytes) | (uint64_t)load32(bytes + 4) << 32;
}
static inline void store16(uint8_t *bytes, uint16_t value) {
    bytes[0] = (uint8_t)value;
    bytes[1] = (uint8_t)(value >> 8);
}
static inline void store32(uint8_t *bytes, uint32_t value) {
    store16(bytes, (uint16_t)value);
    store16(bytes + 2, (uint16_t)(value >> 16));
}

/* ------------------------------------------------------------------- parsing */

#define DICOM_UNDEFINED      0xffffffffu
#define TAG_ITEM             DICOM_TAG(0xfffe, 0xe000)
#define TAG_ITEM_END         DICOM_TAG(0xfffe, 0xe00d)
#define TAG_SEQUENCE_END     DICOM_TAG(0xfffe, 0xe0dd)
#define TAG_TRAILING_PADDING DICOM_TAG(0xfffc, 0xfffc)

/* Bytes being parsed. `partial`: only the head of a file was read, so running out of bytes ends
 * the parse quietly with `ran_out` set; values may then be missing. */
struct parser {
    struct dicom_file *file;
    uint8_t *bytes;
    size_t size;
    bool implicit, big_endian;
    bool partial, ran_out;
    uint32_t stop;       /* at the top level, this tag and later ones are not wanted; 0: all are */
    uint16_t only_group; /* at the top level, another group ends the parse; 0: none does */
    bool is_signed;      /* Pixel Representation in force: settles "US or SS" */
    unsigned depth;
};
/* Parses elements from *offset to `end` into `dataset`. */
int parse_dataset(struct parser *parser, struct dicom_dataset *dataset, size_t *offset, size_t end,
                  struct error **err) MUST_CHECK;
/* Meta header and data set of file->bytes. `stop` as in struct parser. */
int parse_file(struct dicom_file *file, uint32_t stop, bool *ran_out,
               struct error **err) MUST_CHECK;
/* True when the bytes look like a Part 10 file or a bare data set; *ret_start is where the first
 * element is. */
bool dicom_recognise(const uint8_t *bytes, size_t size, size_t *ret_start);
void dataset_append(struct dicom_dataset *dataset, struct dicom_element *element);
void element_append_item(struct dicom_element *element, struct dicom_item *item);

/* Decodes text of a dataset's character set (PS3.5 6.1) to UTF-8; `names` for PN, whose
 * delimiters reset the code extensions. */
void charset_decode(const char *terms, const uint8_t *bytes, size_t size, bool names,
                    struct buffer *out);

/* -------------------------------------------------------------------- pixels */

/* The bytes of one encapsulated frame, joined from its fragments. */
int pixel_frame_bytes(const struct dicom_image *image, uint32_t frame, struct buffer *ret,
                      struct error **err) MUST_CHECK;

/* What a codec gives back: interleaved samples, 8 bits each or 16 (native order). */
struct samples {
    uint32_t width, height;
    unsigned channels, depth; /* 1 or 3; 8 or 16 */
    bool is_rgb;              /* colour is RGB already */
    void *data;
};
void samples_release(struct samples *samples);
#define OWN_SAMPLES CLEANUP(samples_release) struct samples
/* Checks the bound and allocates. */
int samples_allocate(struct samples *samples, uint64_t width, uint64_t height, unsigned channels,
                     unsigned depth, struct error **err) MUST_CHECK;
int codec_jpeg(const uint8_t *bytes, size_t size, const struct dicom_image *image,
               struct samples *ret, struct error **err) MUST_CHECK;
int codec_jpeg_2000(const uint8_t *bytes, size_t size, const struct dicom_image *image,
                    struct samples *ret, struct error **err) MUST_CHECK;
int codec_jpeg_ls(const uint8_t *bytes, size_t size, const struct dicom_image *image,
                  struct samples *ret, struct error **err) MUST_CHECK;
/* RLE gives native little-endian samples, plane by plane; `expected` bytes in all. */
int codec_rle(const uint8_t *bytes, size_t size, const struct dicom_image *image, uint8_t *ret,
              size_t expected, struct error **err) MUST_CHECK;

#endif
