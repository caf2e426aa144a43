#include "sample.h"
#include "tap.h"

#define SECRET "Zebra^Secret"

static struct dicom_key key_of(uint8_t first) {
    struct dicom_key key = {{0}};
    key.bytes[0] = first;
    return key;
}

/* The secret in every kind of place. */
static void plant(struct sample *sample) {
    memcpy(sample->bytes.data, SECRET, strlen(SECRET)); /* the preamble */
    sample_text(sample, TAG_SOP_CLASS, "UI", "1.2.840.10008.5.1.4.1.1.2");
    sample_text(sample, TAG_SOP_INSTANCE, "UI", "1.2.3.4");
    sample_text(sample, DICOM_TAG(0x8, 0x20), "DA", "20010203");
    sample_text(sample, TAG_MODALITY, "CS", "CT");
    sample_text(sample, DICOM_TAG(0x8, 0x80), "LO", SECRET);
    sample_header(sample, DICOM_TAG(0x8, 0x1140), "SQ", 0xffffffffu); /* kept, UIDs inside */
    sample_item(sample, 0xffffffffu);
    sample_text(sample, DICOM_TAG(0x8, 0x1155), "UI", "1.2.3.4");
    sample_text(sample, TAG_PATIENT_NAME, "PN", SECRET);
    sample_text(sample, DICOM_TAG(0x9, 0x10), "LO", SECRET);
    sample_text(sample, DICOM_TAG(0x9, 0x1001), "LO", SECRET);
    sample_item_end(sample);
    sample_sequence_end(sample);
    sample_text(sample, DICOM_TAG(0x9, 0x10), "LO", "ACME");
    sample_text(sample, DICOM_TAG(0x9, 0x1001), "UT", SECRET);
    sample_text(sample, TAG_PATIENT_NAME, "PN", SECRET);
    sample_text(sample, TAG_PATIENT_ID, "LO", SECRET);
    sample_text(sample, DICOM_TAG(0x10, 0x4000), "LT", SECRET);
    sample_text(sample, DICOM_TAG(0x20, 0xbbbb), "UN", SECRET); /* no attribute of the standard */
    sample_text(sample, TAG_STUDY_INSTANCE, "UI", "1.2.3");
    sample_text(sample, DICOM_TAG(0x20, 0x52), "UI", "1.2.840.10008.1.4.1.1");
    sample_header(sample, DICOM_TAG(0x40, 0xa730), "SQ", 0xffffffffu); /* a report's content */
    sample_item(sample, 0xffffffffu);
    sample_text(sample, DICOM_TAG(0x40, 0xa160), "UT", SECRET);
    sample_text(sample, DICOM_TAG(0x8, 0x104), "LO", SECRET);
    sample_item_end(sample);
    sample_sequence_end(sample);
    sample_text(sample, DICOM_TAG(0x6000, 0x4000), "LT", SECRET);
    sample_image(sample, 1, 2, 8, "MONOCHROME2", 0);
    sample_bytes(sample, TAG_PIXEL_DATA, "OB", "px", 2);
    sample_text(sample, DICOM_TAG(0xfffc, 0xfffc), "OB", SECRET);
}

static struct dicom_file *cleaned(enum sample_form form, uint8_t key_byte, struct buffer *bytes,
                                  struct deidentify_report *report) {
    struct sample sample;
    OWN_DICOM file = NULL;
    struct dicom_file *again = NULL;
    OWN_BUFFER copy = {0};
    struct dicom_key key = key_of(key_byte);
    sample_begin(&sample, form, NULL);
    plant(&sample);
    if (!CHECK(sample_parse(&sample, &file, NULL) == DICOM_OK) ||
        !CHECK(dicom_deidentify(file, &key, report, NULL) == 0) ||
        !CHECK(sample_write(file, bytes, NULL) == 0))
        return NULL;
    buffer_append_bytes(&copy, bytes->data, bytes->size);
    CHECK_INTEGER(dicom_parse(&copy, &again, NULL), DICOM_OK);
    return again;
}

TEST(nothing_of_the_secret_is_left) {
    static const enum sample_form forms[] = {SAMPLE_EXPLICIT, SAMPLE_IMPLICIT, SAMPLE_BIG};
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        OWN_BUFFER bytes = {0};
        OWN_DICOM file = cleaned(forms[i], 1, &bytes, NULL);
        REQUIRE(file);
        CHECK(!sample_contains(&bytes, "Zebra"));
        CHECK(!sample_contains(&bytes, "Secret"));
        CHECK(!sample_contains(&bytes, "20010203"));
        CHECK(!sample_contains(&bytes, "ACME"));
        CHECK(!sample_contains(&bytes, "1.2.3.4"));
        CHECK(sample_contains(&bytes, "px"));
    }
}

TEST(what_stands_there_instead) {
    OWN_BUFFER bytes = {0};
    struct deidentify_report report = {0};
    OWN_DICOM file = cleaned(SAMPLE_EXPLICIT, 1, &bytes, &report);
    REQUIRE(file);
    const struct dicom_dataset *dataset = &file->dataset;
    char text[70], name[70];
    dicom_get_text(dataset, TAG_PATIENT_ID, text, sizeof(text));
    dicom_get_text(dataset, TAG_PATIENT_NAME, name, sizeof(name));
    CHECK(text_starts_with(text, "ANON-") && strlen(text) == 15);
    CHECK_TEXT(name, text);
    CHECK(dicom_find(dataset, DICOM_TAG(0x8, 0x20)) != NULL); /* Study Date: emptied */
    CHECK(!dicom_get_text(dataset, DICOM_TAG(0x8, 0x20), text, sizeof(text)));
    CHECK(dicom_find(dataset, DICOM_TAG(0x10, 0x4000)) == NULL);
    CHECK(dicom_find(dataset, DICOM_TAG(0x20, 0xbbbb)) == NULL);
    dicom_get_text(dataset, DICOM_TAG(0x12, 0x62), text, sizeof(text));
    CHECK_TEXT(text, "YES");
    CHECK(dicom_get_text(dataset, DICOM_TAG(0x12, 0x63), text, sizeof(text)));
    const struct dicom_element *codes = dicom_find(dataset, DICOM_TAG(0x12, 0x64));
    REQUIRE(codes && codes->items);
    dicom_get_text(&codes->items->dataset, DICOM_TAG(0x8, 0x100), text, sizeof(text));
    CHECK_TEXT(text, "113100");
    dicom_get_text(dataset, DICOM_TAG(0x28, 0x303), text, sizeof(text));
    CHECK_TEXT(text, "REMOVED");
    dicom_get_text(dataset, DICOM_TAG(0x20, 0x52), text, sizeof(text));
    CHECK_TEXT(text, "1.2.840.10008.1.4.1.1"); /* well known: identifies nobody */
    CHECK(report.counts[DEIDENTIFY_PRIVATE] == 4 && report.counts[DEIDENTIFY_UNKNOWN] == 1);
    CHECK_INTEGER(report.counts[DEIDENTIFY_PSEUDONYM], 3);
}

TEST(uids_follow_the_key) {
    OWN_BUFFER one = {0}, same = {0}, other = {0};
    OWN_DICOM first = cleaned(SAMPLE_EXPLICIT, 1, &one, NULL);
    OWN_DICOM second = cleaned(SAMPLE_BIG, 1, &same, NULL);
    OWN_DICOM third = cleaned(SAMPLE_EXPLICIT, 2, &other, NULL);
    REQUIRE(first && second && third);
    char a[70], b[70], c[70], meta[70], nested[70];
    dicom_get_text(&first->dataset, TAG_SOP_INSTANCE, a, sizeof(a));
    dicom_get_text(&second->dataset, TAG_SOP_INSTANCE, b, sizeof(b));
    dicom_get_text(&third->dataset, TAG_SOP_INSTANCE, c, sizeof(c));
    dicom_get_text(&first->meta, DICOM_TAG(2, 3), meta, sizeof(meta));
    const struct dicom_element *references = dicom_find(&first->dataset, DICOM_TAG(0x8, 0x1140));
    REQUIRE(references && references->items);
    dicom_get_text(&references->items->dataset, DICOM_TAG(0x8, 0x1155), nested, sizeof(nested));
    CHECK(text_starts_with(a, "2.25.") && strlen(a) <= 64);
    CHECK_TEXT(b, a);
    CHECK_TEXT(meta, a);
    CHECK_TEXT(nested, a);
    CHECK(!text_equal(a, c));
    OWN_BUFFER again = {0};
    OWN_DICOM fourth = cleaned(SAMPLE_EXPLICIT, 1, &again, NULL);
    CHECK(fourth && again.size == one.size && memcmp(again.data, one.data, one.size) == 0);
}

TEST(odd_representations_do_not_hide_a_name) {
    struct sample sample;
    OWN_DICOM file = NULL;
    OWN_BUFFER bytes = {0};
    struct dicom_key key = key_of(3);
    sample_begin(&sample, SAMPLE_EXPLICIT, NULL);
    sample_text(&sample, TAG_MODALITY, "CS", "CT");
    sample_text(&sample, DICOM_TAG(0x8, 0x80), "OB", SECRET);
    sample_text(&sample, TAG_PATIENT_NAME, "OB", SECRET);
    sample_header(&sample, TAG_PATIENT_ID, "SQ", 0xffffffffu);
    sample_item(&sample, 0xffffffffu);
    sample_text(&sample, DICOM_TAG(0x8, 0x104), "LO", SECRET);
    sample_item_end(&sample);
    sample_sequence_end(&sample);
    sample_header(&sample, DICOM_TAG(0x42, 0x11), "OB", 0xffffffffu); /* encapsulated document */
    sample_item(&sample, 0);
    sample_item(&sample, 12);
    buffer_append(&sample.bytes, SECRET);
    sample_sequence_end(&sample);
    REQUIRE(sample_parse(&sample, &file, NULL) == DICOM_OK);
    REQUIRE(dicom_deidentify(file, &key, NULL, NULL) == 0);
    REQUIRE(sample_write(file, &bytes, NULL) == 0);
    CHECK(!sample_contains(&bytes, "Zebra"));
}

TAP_MAIN
