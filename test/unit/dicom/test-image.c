#include "sample.h"
#include "tap.h"

/* Decodes frame 0 and renders it to `out` (8 bit, at most 16 pixels). */
static bool shown(struct sample *sample, const struct dicom_render_options *options, uint8_t *out,
                  size_t count) {
    OWN_DICOM file = NULL;
    OWN_ERROR error = NULL;
    OWN_PICTURE picture = {0};
    struct dicom_image image;
    struct dicom_frame frame = {0};
    if (!CHECK(sample_parse(sample, &file, &error) == DICOM_OK))
        return false;
    bool ok = dicom_image(file, &image, &error) == 0 &&
              dicom_decode(file, &image, 0, &frame, &error) == 0 &&
              dicom_render(file, &image, &frame, options, &picture, NULL, &error) == 0;
    dicom_frame_release(&frame);
    if (!ok)
        printf("# %s\n", error ? error->message : "?");
    if (ok)
        memcpy(out, picture.pixels, count);
    return ok;
}

static const struct dicom_render_options by_file = {.source = WINDOW_FILE, .depth = 8};

TEST(signed_rescaled_and_windowed) {
    static const int16_t pixels[4] = {-1000, 0, 40, 3000};
    struct sample sample;
    uint8_t out[4];
    sample_begin(&sample, SAMPLE_EXPLICIT, NULL);
    sample_image(&sample, 2, 2, 16, "MONOCHROME2", 1);
    sample_text(&sample, DICOM_TAG(0x28, 0x1050), "DS", "40.5\\1");
    sample_text(&sample, DICOM_TAG(0x28, 0x1051), "DS", "401\\2");
    sample_text(&sample, DICOM_TAG(0x28, 0x1052), "DS", "0");
    sample_text(&sample, DICOM_TAG(0x28, 0x1053), "DS", "1");
    sample_bytes(&sample, TAG_PIXEL_DATA, "OW", pixels, sizeof(pixels));
    REQUIRE(shown(&sample, &by_file, out, 4));
    CHECK_INTEGER(out[0], 0);
    CHECK_INTEGER(out[1], 102); /* (0 - 40) / 400 + 0.5 = 0.4 */
    CHECK_INTEGER(out[2], 128);
    CHECK_INTEGER(out[3], 255);
}

TEST(monochrome1_is_inverted_and_padding_is_not_counted) {
    static const uint8_t pixels[4] = {200, 10, 20, 30};
    struct sample sample;
    uint8_t out[4];
    sample_begin(&sample, SAMPLE_EXPLICIT, NULL);
    sample_image(&sample, 2, 2, 8, "MONOCHROME1", 0);
    sample_short(&sample, DICOM_TAG(0x28, 0x120), 200);
    sample_bytes(&sample, TAG_PIXEL_DATA, "OB", pixels, sizeof(pixels));
    REQUIRE(shown(&sample, &by_file, out, 4));
    CHECK_INTEGER(out[1], 255);
    CHECK_INTEGER(out[2], 128);
    CHECK_INTEGER(out[3], 0);
}

TEST(big_endian_words) {
    static const uint8_t pixels[4] = {0x00, 0x10, 0x01, 0x00}; /* 16 and 256 */
    static const struct dicom_render_options window = {
        .source = WINDOW_GIVEN, .center = 256.5, .width = 513, .depth = 8};
    struct sample sample;
    uint8_t out[2];
    sample_begin(&sample, SAMPLE_BIG, NULL);
    sample_image(&sample, 1, 2, 16, "MONOCHROME2", 0);
    sample_bytes(&sample, TAG_PIXEL_DATA, "OW", pixels, sizeof(pixels));
    REQUIRE(shown(&sample, &window, out, 2));
    CHECK_INTEGER(out[0], 8);
    CHECK_INTEGER(out[1], 128);
}

TEST(planar_colour) {
    static const uint8_t pixels[6] = {1, 2, 11, 12, 21, 22};
    struct sample sample;
    uint8_t out[6];
    sample_begin(&sample, SAMPLE_EXPLICIT, NULL);
    sample_image(&sample, 1, 2, 8, "RGB", 0);
    sample_short(&sample, DICOM_TAG(0x28, 0x6), 1);
    sample_bytes(&sample, TAG_PIXEL_DATA, "OB", pixels, sizeof(pixels));
    REQUIRE(shown(&sample, &by_file, out, 6));
    static const uint8_t expected[6] = {1, 11, 21, 2, 12, 22};
    CHECK(memcmp(out, expected, 6) == 0);
}

/* A file with one RLE fragment of one segment. */
static void rle_sample(struct sample *sample, const uint8_t *packed, size_t size, uint32_t offset) {
    uint8_t frame[128] = {1, 0, 0, 0};
    frame[4] = (uint8_t)offset;
    frame[5] = (uint8_t)(offset >> 8);
    memcpy(frame + 64, packed, size);
    sample_begin(sample, SAMPLE_EXPLICIT, "1.2.840.10008.1.2.5");
    sample_image(sample, 2, 4, 8, "MONOCHROME2", 0);
    sample_header(sample, TAG_PIXEL_DATA, "OB", 0xffffffffu);
    sample_item(sample, 0);
    sample_item(sample, (uint32_t)(64 + size));
    buffer_append_bytes(&sample->bytes, frame, 64 + size);
    sample_sequence_end(sample);
}

TEST(rle) {
    static const struct dicom_render_options window = {
        .source = WINDOW_GIVEN, .center = 128, .width = 256, .depth = 8};
    static const uint8_t packed[6] = {0xfc, 7, 2, 1, 2, 3}; /* five times 7, then 1 2 3 */
    static const uint8_t expected[8] = {7, 7, 7, 7, 7, 1, 2, 3};
    struct sample sample;
    uint8_t out[8];
    rle_sample(&sample, packed, sizeof(packed), 64);
    REQUIRE(shown(&sample, &window, out, 8));
    CHECK(memcmp(out, expected, 8) == 0);
}

static void check_refused(struct sample *sample, const char *message) {
    OWN_DICOM file = NULL;
    OWN_ERROR error = NULL;
    struct dicom_image image;
    struct dicom_frame frame = {0};
    REQUIRE(sample_parse(sample, &file, NULL) == DICOM_OK);
    int result = dicom_image(file, &image, &error);
    if (result == 0)
        result = dicom_decode(file, &image, 0, &frame, &error);
    dicom_frame_release(&frame);
    CHECK_INTEGER(result, -1);
    CHECK_TEXT(error ? error->message : "", message);
}

TEST(lying_headers_are_refused) {
    static const uint8_t packed[4] = {0xfe, 7, 0, 0};
    struct sample sample;
    rle_sample(&sample, packed, 2, 64);
    check_refused(&sample, "RLE: segment 1 ends early");
    rle_sample(&sample, packed, 4, 4000);
    check_refused(&sample, "RLE: segment 1 lies outside the frame");
    sample_begin(&sample, SAMPLE_EXPLICIT, NULL);
    sample_image(&sample, 60000, 60000, 16, "MONOCHROME2", 0);
    sample_bytes(&sample, TAG_PIXEL_DATA, "OW", "12", 2);
    check_refused(&sample, "the image is too large");
    sample_begin(&sample, SAMPLE_EXPLICIT, NULL);
    sample_image(&sample, 10, 10, 16, "MONOCHROME2", 0);
    sample_bytes(&sample, TAG_PIXEL_DATA, "OW", "12", 2);
    check_refused(&sample, "the pixel data has 2 bytes, frame 1 ends at 200");
    sample_begin(&sample, SAMPLE_EXPLICIT, "1.2.840.10008.1.2.4.50");
    sample_image(&sample, 2, 2, 8, "MONOCHROME2", 0);
    sample_header(&sample, TAG_PIXEL_DATA, "OB", 0xffffffffu);
    sample_item(&sample, 0);
    sample_item(&sample, 4);
    buffer_append(&sample.bytes, "nope");
    sample_sequence_end(&sample);
    check_refused(&sample, "JPEG: Not a JPEG file: starts with 0x6e 0x6f");
    sample_begin(&sample, SAMPLE_EXPLICIT, NULL);
    sample_text(&sample, TAG_MODALITY, "CS", "SR");
    check_refused(&sample, "the file has no image");
}

TEST(png_there_and_back) {
    uint16_t grey[6] = {0, 1, 256, 40000, 65535, 7};
    uint8_t rgb[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    struct picture wide = {.width = 3, .height = 2, .channels = 1, .depth = 16, .pixels = grey};
    struct picture colour = {.width = 2, .height = 2, .channels = 3, .depth = 8, .pixels = rgb};
    OWN_BUFFER bytes = {0}, more = {0};
    OWN_PICTURE back = {0}, back_colour = {0};
    REQUIRE(png_write(&wide, &bytes, NULL) == 0 && png_write(&colour, &more, NULL) == 0);
    REQUIRE(png_read(bytes.data, bytes.size, &back, NULL) == 0);
    CHECK(back.width == 3 && back.height == 2 && back.channels == 1);
    CHECK_INTEGER(((uint8_t *)back.pixels)[4], 255);
    REQUIRE(png_read(more.data, more.size, &back_colour, NULL) == 0);
    CHECK(memcmp(back_colour.pixels, rgb, sizeof(rgb)) == 0);
    for (size_t cut = 0; cut < bytes.size; cut++) {
        OWN_PICTURE none = {0};
        OWN_ERROR error = NULL;
        int result = png_read(bytes.data, cut, &none, &error);
        CHECK((result == -1) == (error != NULL));
    }
}

TAP_MAIN
