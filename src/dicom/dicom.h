/*
 * dicom — reading, naming, showing, de-identifying and writing DICOM files.
 *
 * A file is read whole into memory and parsed into a tree of datasets, elements and items that
 * lives in one arena beside it. Whatever the transfer syntax was, the tree is the same: values of
 * big-endian files are swapped while parsing, so bytes are little endian everywhere; elements of
 * implicit files get their value representation from the dictionary; deflated files are inflated.
 * Only encapsulated pixel data keeps its form (as fragments).
 *
 * Files come from outside: every length, count and depth is checked against the file's size and
 * the bounds below, and a broken file is an error with a message that names the place but never a
 * value (values are patient data).
 *
 * Three outcomes of reading: DICOM_OK, DICOM_NOT (it is something else: a text file, an image; no
 * error is set) and -1 (it is DICOM, and broken or unreadable).
 */
#ifndef GLOVEBOX_DICOM_H
#define GLOVEBOX_DICOM_H

#include "base/base.h"

#define DICOM_OK  0
#define DICOM_NOT 1

#define DICOM_MAXIMUM_FILE     ((size_t)4 << 30) /* bytes of a file */
#define DICOM_MAXIMUM_INFLATED ((size_t)1 << 30) /* bytes of a deflated data set */
#define DICOM_MAXIMUM_DEPTH    48                /* nested sequences */
#define DICOM_MAXIMUM_PIXELS   ((size_t)1 << 28) /* samples of one frame */

/* ---------------------------------------------------------------- dictionary */

enum dicom_vr {
    DICOM_VR_NONE, /* item delimiters and unknown */
    DICOM_AE,
    DICOM_AS,
    DICOM_AT,
    DICOM_CS,
    DICOM_DA,
    DICOM_DS,
    DICOM_DT,
    DICOM_FD,
    DICOM_FL,
    DICOM_IS,
    DICOM_LO,
    DICOM_LT,
    DICOM_OB,
    DICOM_OD,
    DICOM_OF,
    DICOM_OL,
    DICOM_OV,
    DICOM_OW,
    DICOM_PN,
    DICOM_SH,
    DICOM_SL,
    DICOM_SQ,
    DICOM_SS,
    DICOM_ST,
    DICOM_SV,
    DICOM_TM,
    DICOM_UC,
    DICOM_UI,
    DICOM_UL,
    DICOM_UN,
    DICOM_UR,
    DICOM_US,
    DICOM_UT,
    DICOM_UV,
    DICOM_VR_COUNT
};
const char *dicom_vr_name(enum dicom_vr vr);          /* "PN"; "??" for none */
enum dicom_vr dicom_vr_find(char first, char second); /* DICOM_VR_NONE when unknown */
bool dicom_vr_is_text(enum dicom_vr vr);              /* the value is characters */
size_t dicom_vr_width(enum dicom_vr vr); /* bytes of one binary value; 0 for text, SQ */

#define DICOM_TAG(group, element) ((uint32_t)(group) << 16 | (uint32_t)(element))
#define DICOM_GROUP(tag)          ((uint16_t)((tag) >> 16))
#define DICOM_ELEMENT(tag)        ((uint16_t)((tag)&0xffff))
static inline bool dicom_tag_is_private(uint32_t tag) {
    return DICOM_GROUP(tag) & 1;
}

/* An attribute of the standard (PS3.6), also of a repeating group (60xx). */
struct dicom_attribute {
    uint32_t tag, mask; /* bits of the tag that must match */
    enum dicom_vr vr;   /* the first where the standard leaves a choice */
    const char *multiplicity, *keyword, *name;
    bool retired;
    bool either_sign; /* US or SS, by Pixel Representation; `vr` says US */
};
const struct dicom_attribute *dicom_attribute(uint32_t tag); /* NULL: not in the standard */
/* By keyword ("PatientName"), "(0010,0010)", "0010,0010" or "00100010". */
int dicom_tag_parse(const char *text, uint32_t *ret_tag, struct error **err) MUST_CHECK;

/* Tags that the house's code speaks of. */
enum {
    TAG_TRANSFER_SYNTAX = DICOM_TAG(0x0002, 0x0010),
    TAG_CHARACTER_SET = DICOM_TAG(0x0008, 0x0005),
    TAG_SOP_CLASS = DICOM_TAG(0x0008, 0x0016),
    TAG_SOP_INSTANCE = DICOM_TAG(0x0008, 0x0018),
    TAG_MODALITY = DICOM_TAG(0x0008, 0x0060),
    TAG_PATIENT_NAME = DICOM_TAG(0x0010, 0x0010),
    TAG_PATIENT_ID = DICOM_TAG(0x0010, 0x0020),
    TAG_BODY_PART = DICOM_TAG(0x0018, 0x0015),
    TAG_STUDY_INSTANCE = DICOM_TAG(0x0020, 0x000d),
    TAG_SERIES_INSTANCE = DICOM_TAG(0x0020, 0x000e),
    TAG_INSTANCE_NUMBER = DICOM_TAG(0x0020, 0x0013),
    TAG_PIXEL_REPRESENTATION = DICOM_TAG(0x0028, 0x0103),
    TAG_BURNED_IN = DICOM_TAG(0x0028, 0x0301),
    TAG_PIXEL_DATA = DICOM_TAG(0x7fe0, 0x0010),
};

/* ------------------------------------------------------------------ the tree */

struct dicom_dataset {
    struct dicom_element *first, *last;
    size_t count;
    const struct dicom_dataset *parent; /* of a sequence's item; else NULL */
};
/* An item of a sequence, or a fragment of encapsulated pixel data. */
struct dicom_item {
    struct dicom_item *next;
    struct dicom_dataset dataset;
    const uint8_t *bytes; /* fragments only */
    size_t size;
};
struct dicom_element {
    struct dicom_element *next;
    uint32_t tag;
    enum dicom_vr vr;
    bool encapsulated;    /* items are fragments; the first is the offset table */
    const uint8_t *bytes; /* little endian, as long as the file lives */
    size_t size;
    struct dicom_item *items, *last_item; /* of SQ or encapsulated */
    size_t item_count;
};

enum dicom_syntax_form {
    DICOM_IMPLICIT,
    DICOM_EXPLICIT,
    DICOM_BIG_ENDIAN,
    DICOM_DEFLATED,
    DICOM_ENCAPSULATED
};
enum dicom_codec {
    CODEC_NATIVE,
    CODEC_RLE,
    CODEC_JPEG,
    CODEC_JPEG_EXTENDED,
    CODEC_JPEG_LOSSLESS,
    CODEC_JPEG_LS,
    CODEC_JPEG_2000,
    CODEC_OTHER
};
struct dicom_syntax {
    const char *uid, *name;
    enum dicom_syntax_form form;
    enum dicom_codec codec;
};
const struct dicom_syntax *dicom_syntax(const char *uid); /* NULL: unknown */

struct dicom_file {
    struct arena *arena;
    struct buffer bytes;    /* as on disk */
    struct buffer inflated; /* the data set of a deflated file */
    bool has_preamble, has_meta, partial;
    char transfer_syntax[66];
    const struct dicom_syntax *syntax; /* NULL: unknown, parsed as explicit little endian */
    struct dicom_dataset meta;         /* group 0002 */
    struct dicom_dataset dataset;
};
void dicom_free(struct dicom_file *file);
void dicom_cleanup(struct dicom_file **file);
#define OWN_DICOM CLEANUP(dicom_cleanup) struct dicom_file *

/* Reads and parses one file. */
int dicom_read(int directory, const char *path, struct dicom_file **ret,
               struct error **err) MUST_CHECK;
/* The same from memory; takes the bytes out of `bytes`. */
int dicom_parse(struct buffer *bytes, struct dicom_file **ret, struct error **err) MUST_CHECK;

/* What a file is, read from its head alone. Texts are UTF-8, "" when absent, cut when longer. */
struct dicom_identity {
    char patient_id[256]; /* PatientID and, when it has one, its issuer are not merged here */
    char study_uid[66], series_uid[66], instance_uid[66], sop_class_uid[66];
    char modality[20];
    bool has_instance_number;
    int64_t instance_number;
};
int dicom_identify(int directory, const char *path, struct dicom_identity *ret,
                   struct error **err) MUST_CHECK;

/* First element with this tag, or NULL. */
struct dicom_element *dicom_find(const struct dicom_dataset *dataset, uint32_t tag);

/* ----------------------------------------------------------------- values */

/* How many values an element has (backslash or width); items for sequences. */
size_t dicom_value_count(const struct dicom_element *element);
/* The n-th value as a number, of binary and of text (IS, DS) representations. False: no such. */
bool dicom_number(const struct dicom_element *element, size_t index, double *ret);
bool dicom_integer(const struct dicom_element *element, size_t index, int64_t *ret);
/* Tag `tag` of a dataset as an integer, or the fallback. */
int64_t dicom_get_integer(const struct dicom_dataset *dataset, uint32_t tag, int64_t fallback);
/* The whole value as UTF-8, by the character set in force in `dataset`; values separated by
 * backslashes, padding removed, numbers in decimal, AT as (gggg,eeee). Invalid bytes become
 * U+FFFD. Nothing is appended for SQ and for bulk data (OB, OW, UN…). */
void dicom_text(const struct dicom_dataset *dataset, const struct dicom_element *element,
                struct buffer *out);
/* The n-th value the same way. False when there is none. */
bool dicom_text_value(const struct dicom_dataset *dataset, const struct dicom_element *element,
                      size_t index, struct buffer *out);
/* First value of a tag, cut at a character's end to fit `text`. False and "" when absent. */
bool dicom_get_text(const struct dicom_dataset *dataset, uint32_t tag, char *text, size_t size);

/* ------------------------------------------------------------------- editing */

/* New bytes for an element (copied into the file's arena). */
int dicom_set_bytes(struct dicom_file *file, struct dicom_element *element, const void *bytes,
                    size_t size, struct error **err) MUST_CHECK;
/* Sets, or inserts at its place in tag order, a text element. */
int dicom_set_text(struct dicom_file *file, struct dicom_dataset *dataset, uint32_t tag,
                   enum dicom_vr vr, const char *text, struct error **err) MUST_CHECK;
/* Appends an empty item to a sequence, making the sequence when it is not there. */
struct dicom_dataset *dicom_add_item(struct dicom_file *file, struct dicom_dataset *dataset,
                                     uint32_t tag, struct error **err) MUST_CHECK;

/* ------------------------------------------------------------------- writing */

/* Part 10: zeroed preamble, fresh meta header, the data set in explicit little endian;
 * encapsulated pixel data as it was, in its own transfer syntax. */
int dicom_write(const struct dicom_file *file, int fd, struct error **err) MUST_CHECK;

/* ------------------------------------------------------------------- showing */

enum dicom_dump_format { DICOM_DUMP_TEXT, DICOM_DUMP_JSON, DICOM_DUMP_CSV, DICOM_DUMP_HTML };
struct dicom_dump_options {
    const uint32_t *tags; /* only these at the top level; NULL: all */
    size_t tag_count;
    bool with_meta;
    const char *label; /* CSV: first column; HTML: heading */
};
/* Text: one line an element, as dcmdump. JSON: the DICOM JSON model (PS3.18 F), bulk data left
 * out. CSV: label, path, keyword, VR, value; one row an element, also nested ones. HTML: a table
 * (rows only: dicom_dump_head and _tail give what stands around them). */
int dicom_dump(const struct dicom_file *file, enum dicom_dump_format format,
               const struct dicom_dump_options *options, struct buffer *out,
               struct error **err) MUST_CHECK;
json_t *dicom_json(const struct dicom_file *file, const struct dicom_dump_options *options,
                   struct error **err) MUST_CHECK;
void dicom_dump_head(enum dicom_dump_format format, struct buffer *out);
void dicom_dump_tail(enum dicom_dump_format format, struct buffer *out);

/* -------------------------------------------------------------------- pixels */

struct dicom_image { /* what the header says of the pixels */
    uint32_t rows, columns, frames, samples;
    uint32_t bits_allocated, bits_stored, high_bit;
    bool is_signed, planar, inverted /* MONOCHROME1 */;
    enum dicom_photometric {
        PHOTOMETRIC_MONOCHROME,
        PHOTOMETRIC_PALETTE,
        PHOTOMETRIC_RGB,
        PHOTOMETRIC_YBR_FULL,
        PHOTOMETRIC_YBR_FULL_422,
        PHOTOMETRIC_YBR_OTHER /* only inside a codec that undoes it */
    } photometric;
    const struct dicom_element *pixels;
};
/* ERROR_NOT_FOUND: the file has no image. */
int dicom_image(const struct dicom_file *file, struct dicom_image *ret,
                struct error **err) MUST_CHECK;

/* One decoded frame: grey values as stored (sign-extended), or 8-bit RGB triples. */
struct dicom_frame {
    uint32_t width, height, index;
    bool colour;
    bool halved; /* 32-bit unsigned values, kept as half of what they are */
    int32_t *grey;
    uint8_t *rgb;
};
void dicom_frame_release(struct dicom_frame *frame);
int dicom_decode(const struct dicom_file *file, const struct dicom_image *image, uint32_t frame,
                 struct dicom_frame *ret, struct error **err) MUST_CHECK;

/* What is shown: 8 or 16 bit grey, or 8-bit RGB. */
struct picture {
    uint32_t width, height;
    unsigned channels; /* 1 or 3 */
    unsigned depth;    /* 8 or 16 (grey only; native byte order) */
    void *pixels;      /* rows without padding */
};
void picture_release(struct picture *picture);
#define OWN_PICTURE CLEANUP(picture_release) struct picture

enum dicom_window_source {
    WINDOW_FILE,       /* the file's first window or VOI LUT; without one: min-max */
    WINDOW_MINMAX,     /* smallest to largest value of the frame */
    WINDOW_PERCENTILE, /* `percentile` % cut off at both ends */
    WINDOW_GIVEN       /* center and width */
};
struct dicom_render_options {
    enum dicom_window_source source;
    double center, width, percentile;
    unsigned depth; /* 8 or 16 */
};
/* `used`, when not NULL, gets the window that was applied (width 0 for colour and for a LUT). */
int dicom_render(const struct dicom_file *file, const struct dicom_image *image,
                 const struct dicom_frame *frame, const struct dicom_render_options *options,
                 struct picture *ret, struct dicom_render_options *used,
                 struct error **err) MUST_CHECK;

int png_write(const struct picture *picture, struct buffer *out, struct error **err) MUST_CHECK;
/* Any PNG becomes 8-bit grey or RGB (alpha dropped, 16 bit cut to its high byte). */
int png_read(const void *bytes, size_t size, struct picture *ret, struct error **err) MUST_CHECK;

/* --------------------------------------------------------- de-identification */

/* The Basic Application Level Confidentiality Profile of PS3.15 Annex E, applied at every depth
 * from the table in deidentify.tsv. Where the table leaves a choice by the type of the attribute
 * in its IOD (X/Z, X/D, Z/D, X/Z/D), the last one is taken: it conforms whatever the type.
 *
 * UIDs and pseudonyms come from a key by HMAC-SHA256: one key gives the same new UID for the same
 * old one in every file, run and process, so studies stay together; who lacks the key cannot
 * search for the old values. Whoever needs consistency beyond one call keeps the key. */
#define DICOM_KEY_SIZE SECRET_KEY_SIZE
enum deidentify_action { /* what was done; the order of deidentify_action_name */
                         DEIDENTIFY_REMOVED,
                         DEIDENTIFY_EMPTIED,
                         DEIDENTIFY_DUMMY,
                         DEIDENTIFY_UID,
                         DEIDENTIFY_PSEUDONYM,
                         DEIDENTIFY_PRIVATE, /* removed because private */
                         DEIDENTIFY_UNKNOWN, /* removed because the dictionary does not know it */
                         DEIDENTIFY_COUNT
};
const char *deidentify_action_name(enum deidentify_action action);
struct deidentify_report {
    uint64_t counts[DEIDENTIFY_COUNT];
    bool burned_in; /* the file says that its pixels carry identifying text */
    /* Called for every action, if not NULL: tags and actions, never values. */
    void (*act)(uint32_t tag, enum deidentify_action action, void *context);
    void *context;
};
extern const char dicom_deidentify_source[]; /* edition and origin of the table */
struct dicom_key {
    uint8_t bytes[DICOM_KEY_SIZE];
};
int dicom_deidentify(struct dicom_file *file, const struct dicom_key *key,
                     struct deidentify_report *report, struct error **err) MUST_CHECK;
/* A name for the output that carries no identity: "MODALITY-" and hex digits from the key and the
 * (old) instance UID. Call before dicom_deidentify. */
int dicom_neutral_name(const struct dicom_file *file, const struct dicom_key *key, char *name,
                       size_t size, struct error **err) MUST_CHECK;

#endif
