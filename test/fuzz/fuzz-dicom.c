/* An image file against everything that is done with one: parse, name, dump, decode, render,
 * de-identify, write. PNG files come in by the same door. */
#include "dicom/dicom.h"
#include "fuzz.h"

#define SAMPLES_MAXIMUM ((uint64_t)1 << 20) /* decoding a large frame of nothing takes long */

static void draw(const struct dicom_file *file) {
    struct dicom_image image;
    if (dicom_image(file, &image, NULL) != 0)
        return;
    if ((uint64_t)image.rows * image.columns * 3 > SAMPLES_MAXIMUM)
        return;
    struct dicom_frame frame CLEANUP(dicom_frame_release) = {0};
    if (dicom_decode(file, &image, 0, &frame, NULL) < 0)
        return;
    for (unsigned depth = 8; depth <= 16; depth += 8) {
        OWN_PICTURE picture = {0};
        OWN_BUFFER png = {0};
        const struct dicom_render_options options = {.depth = depth};
        if (dicom_render(file, &image, &frame, &options, &picture, NULL, NULL) == 0)
            fuzz_require(png_write(&picture, &png, NULL) == 0);
    }
}

static void work_on(struct dicom_file *file) {
    for (int format = 0; format <= DICOM_DUMP_HTML; format++) {
        OWN_BUFFER out = {0};
        const struct dicom_dump_options options = {0};
        if (dicom_dump(file, (enum dicom_dump_format)format, &options, &out, NULL) == 0)
            fuzz_require(text_is_utf8(buffer_text(&out), out.size));
    }
    draw(file);
    const struct dicom_key key = {0};
    struct deidentify_report report = {0};
    OWN_ERROR error = NULL;
    if (dicom_deidentify(file, &key, &report, &error) < 0)
        return;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    (void)dicom_write(file, fd, NULL);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    OWN_BUFFER buffer = {0};
    OWN_DICOM file = NULL;
    OWN_ERROR error = NULL;
    OWN_PICTURE picture = {0};
    if (size > 24 && bytes[0] == 0x89 && bytes[18] == 0 && bytes[22] == 0) /* small enough */
        (void)png_read(bytes, size, &picture, NULL);
    buffer_append_bytes(&buffer, bytes, size);
    int kind = dicom_parse(&buffer, &file, &error);
    if (kind < 0)
        fuzz_check_error(error);
    if (file)
        work_on(file);
    return 0;
}
