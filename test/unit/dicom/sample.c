#include "sample.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static void put16(struct sample *sample, uint16_t value) {
    bool big = sample->form == SAMPLE_BIG;
    buffer_append_char(&sample->bytes, (char)(big ? value >> 8 : value));
    buffer_append_char(&sample->bytes, (char)(big ? value : value >> 8));
}

static void put32(struct sample *sample, uint32_t value) {
    bool big = sample->form == SAMPLE_BIG;
    put16(sample, (uint16_t)(big ? value >> 16 : value));
    put16(sample, (uint16_t)(big ? value : value >> 16));
}

static void put_tag(struct sample *sample, uint32_t tag) {
    put16(sample, DICOM_GROUP(tag));
    put16(sample, DICOM_ELEMENT(tag));
}

void sample_header(struct sample *sample, uint32_t tag, const char *vr, uint32_t length) {
    put_tag(sample, tag);
    if (sample->form == SAMPLE_IMPLICIT) {
        put32(sample, length);
        return;
    }
    buffer_append_bytes(&sample->bytes, vr, 2);
    bool is_long = strstr("OB OD OF OL OV OW SQ SV UC UN UR UT UV", vr) != NULL;
    if (is_long) {
        put16(sample, 0);
        put32(sample, length);
    } else {
        put16(sample, (uint16_t)length);
    }
}

void sample_bytes(struct sample *sample, uint32_t tag, const char *vr, const void *bytes,
                  size_t size) {
    sample_header(sample, tag, vr, (uint32_t)(size + (size & 1)));
    buffer_append_bytes(&sample->bytes, bytes, size);
    if (size & 1)
        buffer_append_char(&sample->bytes, text_equal(vr, "UI") ? '\0' : ' ');
}

void sample_text(struct sample *sample, uint32_t tag, const char *vr, const char *text) {
    sample_bytes(sample, tag, vr, text, strlen(text));
}

void sample_short(struct sample *sample, uint32_t tag, uint16_t value) {
    sample_header(sample, tag, "US", 2);
    put16(sample, value);
}

void sample_item(struct sample *sample, uint32_t length) {
    put_tag(sample, DICOM_TAG(0xfffe, 0xe000));
    put32(sample, length);
}

void sample_item_end(struct sample *sample) {
    put_tag(sample, DICOM_TAG(0xfffe, 0xe00d));
    put32(sample, 0);
}

void sample_sequence_end(struct sample *sample) {
    put_tag(sample, DICOM_TAG(0xfffe, 0xe0dd));
    put32(sample, 0);
}

void sample_begin(struct sample *sample, enum sample_form form, const char *syntax) {
    static const char *const syntaxes[] = {"1.2.840.10008.1.2.1", "1.2.840.10008.1.2",
                                           "1.2.840.10008.1.2.2"};
    *sample = (struct sample){.form = SAMPLE_EXPLICIT}; /* as the meta header always is */
    buffer_append_repeat(&sample->bytes, '\0', 128);
    buffer_append(&sample->bytes, "DICM");
    sample_text(sample, TAG_TRANSFER_SYNTAX, "UI", syntax ? syntax : syntaxes[form]);
    sample->form = form;
}

void sample_image(struct sample *sample, uint16_t rows, uint16_t columns, uint16_t bits,
                  const char *photometric, uint16_t is_signed) {
    sample_short(sample, DICOM_TAG(0x28, 0x2), text_equal(photometric, "RGB") ? 3 : 1);
    sample_text(sample, DICOM_TAG(0x28, 0x4), "CS", photometric);
    sample_short(sample, DICOM_TAG(0x28, 0x10), rows);
    sample_short(sample, DICOM_TAG(0x28, 0x11), columns);
    sample_short(sample, DICOM_TAG(0x28, 0x100), bits);
    sample_short(sample, DICOM_TAG(0x28, 0x101), bits);
    sample_short(sample, DICOM_TAG(0x28, 0x102), (uint16_t)(bits - 1));
    sample_short(sample, DICOM_TAG(0x28, 0x103), is_signed);
}

int sample_parse(struct sample *sample, struct dicom_file **ret, struct error **err) {
    return dicom_parse(&sample->bytes, ret, err);
}

int sample_write(const struct dicom_file *file, struct buffer *ret, struct error **err) {
    char path[] = "/tmp/glovebox-test-XXXXXX";
    OWN_FD fd = mkstemp(path);
    if (fd < 0)
        return -1;
    int result = dicom_write(file, fd, err);
    if (result == 0)
        result = file_read_all(AT_FDCWD, path, 1 << 24, ret, err);
    unlink(path);
    return result;
}

bool sample_contains(const struct buffer *bytes, const char *text) {
    return bytes->data && memmem(bytes->data, bytes->size, text, strlen(text)) != NULL;
}
