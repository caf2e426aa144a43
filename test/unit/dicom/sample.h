/* Builds DICOM files in memory, in any of the native forms, for tests. */
#ifndef GLOVEBOX_TEST_SAMPLE_H
#define GLOVEBOX_TEST_SAMPLE_H

#include "dicom/dicom.h"

enum sample_form { SAMPLE_EXPLICIT, SAMPLE_IMPLICIT, SAMPLE_BIG };
struct sample {
    struct buffer bytes;
    enum sample_form form;
};
/* Preamble and meta header with the form's transfer syntax, or the one given. */
void sample_begin(struct sample *sample, enum sample_form form, const char *syntax);
void sample_text(struct sample *sample, uint32_t tag, const char *vr, const char *text);
void sample_bytes(struct sample *sample, uint32_t tag, const char *vr, const void *bytes,
                  size_t size);
void sample_short(struct sample *sample, uint32_t tag, uint16_t value);
/* A header alone: length 0xffffffff opens a sequence of undefined length. */
void sample_header(struct sample *sample, uint32_t tag, const char *vr, uint32_t length);
void sample_item(struct sample *sample, uint32_t length); /* (fffe,e000) */
void sample_item_end(struct sample *sample);
void sample_sequence_end(struct sample *sample);
/* Rows, Columns and what goes with them for a grey image. */
void sample_image(struct sample *sample, uint16_t rows, uint16_t columns, uint16_t bits,
                  const char *photometric, uint16_t is_signed);
/* Parses and takes the bytes. */
int sample_parse(struct sample *sample, struct dicom_file **ret, struct error **err);
/* Writes a file to memory, through a temporary one. */
int sample_write(const struct dicom_file *file, struct buffer *ret, struct error **err);
/* Does the byte string occur? */
bool sample_contains(const struct buffer *bytes, const char *text);

#endif
