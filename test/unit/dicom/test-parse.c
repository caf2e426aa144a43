#include "sample.h"
#include "tap.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define UNDEFINED 0xffffffffu
#define TAG_CODES DICOM_TAG(0x0008, 0x1032)

/* Names, numbers, a nested sequence of each kind of length, and pixels. */
static void fill(struct sample *sample) {
    sample_text(sample, TAG_SOP_INSTANCE, "UI", "1.2.3.4");
    sample_text(sample, TAG_MODALITY, "CS", "CT");
    sample_header(sample, TAG_CODES, "SQ", UNDEFINED);
    sample_item(sample, UNDEFINED);
    sample_text(sample, DICOM_TAG(0x8, 0x100), "SH", "inner");
    sample_item_end(sample);
    sample_sequence_end(sample);
    sample_text(sample, TAG_PATIENT_ID, "LO", "id 1");
    sample_text(sample, TAG_STUDY_INSTANCE, "UI", "1.2.3");
    sample_text(sample, TAG_INSTANCE_NUMBER, "IS", "-17");
    sample_image(sample, 2, 2, 16, "MONOCHROME2", 1);
    uint8_t pixels[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    sample_bytes(sample, TAG_PIXEL_DATA, "OW", pixels, sizeof(pixels));
}

static void check_filled(const struct dicom_file *file) {
    char text[70];
    dicom_get_text(&file->dataset, TAG_PATIENT_ID, text, sizeof(text));
    CHECK_TEXT(text, "id 1");
    dicom_get_text(&file->dataset, TAG_SOP_INSTANCE, text, sizeof(text));
    CHECK_TEXT(text, "1.2.3.4");
    CHECK_INTEGER(dicom_get_integer(&file->dataset, TAG_INSTANCE_NUMBER, 0), -17);
    CHECK_INTEGER(dicom_get_integer(&file->dataset, DICOM_TAG(0x28, 0x10), 0), 2);
    const struct dicom_element *codes = dicom_find(&file->dataset, TAG_CODES);
    REQUIRE(codes && codes->items);
    CHECK_INTEGER(codes->item_count, 1);
    dicom_get_text(&codes->items->dataset, DICOM_TAG(0x8, 0x100), text, sizeof(text));
    CHECK_TEXT(text, "inner");
    const struct dicom_element *pixels = dicom_find(&file->dataset, TAG_PIXEL_DATA);
    REQUIRE(pixels);
    CHECK_INTEGER(pixels->size, 8);
}

TEST(three_native_forms_give_one_tree) {
    static const enum sample_form forms[] = {SAMPLE_EXPLICIT, SAMPLE_IMPLICIT, SAMPLE_BIG};
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        struct sample sample;
        OWN_DICOM file = NULL;
        OWN_ERROR error = NULL;
        sample_begin(&sample, forms[i], NULL);
        fill(&sample);
        CHECK_INTEGER(sample_parse(&sample, &file, &error), DICOM_OK);
        REQUIRE(file);
        check_filled(file);
        const struct dicom_element *pixels = dicom_find(&file->dataset, TAG_PIXEL_DATA);
        CHECK_INTEGER(pixels->bytes[0], forms[i] == SAMPLE_BIG ? 2 : 1);
    }
}

TEST(no_preamble_and_no_meta_header) {
    static const enum sample_form forms[] = {SAMPLE_EXPLICIT, SAMPLE_IMPLICIT, SAMPLE_BIG};
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        struct sample sample = {.form = forms[i]};
        OWN_DICOM file = NULL;
        fill(&sample);
        CHECK_INTEGER(sample_parse(&sample, &file, NULL), DICOM_OK);
        REQUIRE(file);
        CHECK(!file->has_meta);
        check_filled(file);
    }
}

TEST(other_files_are_not_dicom) {
    static const char *const others[] = {"", "hello, world: this is a text of some length\n",
                                         "{\"json\": [1, 2, 3, 4, 5, 6, 7, 8, 9]}",
                                         "\x89PNG\r\n\x1a\n0000IHDR000000000000000000"};
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        OWN_BUFFER bytes = {0};
        OWN_ERROR error = NULL;
        struct dicom_file *file = NULL;
        buffer_append(&bytes, others[i]);
        CHECK_INTEGER(dicom_parse(&bytes, &file, &error), DICOM_NOT);
        CHECK(!file && !error);
    }
}

/* Every prefix of a file is an error or a shorter data set, never a crash or a read beyond. */
TEST(every_cut_is_noticed) {
    struct sample sample;
    sample_begin(&sample, SAMPLE_EXPLICIT, NULL);
    fill(&sample);
    size_t size = sample.bytes.size, whole = 0;
    for (size_t cut = 132; cut < size; cut++) {
        OWN_BUFFER bytes = {0};
        OWN_ERROR error = NULL;
        OWN_DICOM file = NULL;
        buffer_append_bytes(&bytes, sample.bytes.data, cut);
        int result = dicom_parse(&bytes, &file, &error);
        if (result == DICOM_OK)
            whole++;
        else
            CHECK(result == -1 && error && strstr(error->message, "cut off"));
    }
    CHECK(whole < 25); /* cuts between two elements: nothing tells that more should come */
    buffer_release(&sample.bytes);
}

TEST(cut_pixels_say_what_is_missing) {
    struct sample sample;
    OWN_ERROR error = NULL;
    OWN_DICOM file = NULL;
    sample_begin(&sample, SAMPLE_EXPLICIT, NULL);
    fill(&sample);
    buffer_truncate(&sample.bytes, sample.bytes.size - 3);
    CHECK_INTEGER(sample_parse(&sample, &file, &error), -1);
    REQUIRE(error);
    CHECK_TEXT(error->message, "the file is cut off: element (7fe0,0010) has 8 bytes, 5 are left");
}

TEST(depth_is_bounded) {
    struct sample sample;
    OWN_ERROR error = NULL;
    OWN_DICOM file = NULL;
    sample_begin(&sample, SAMPLE_EXPLICIT, NULL);
    for (size_t i = 0; i < 100000; i++) {
        sample_header(&sample, TAG_CODES, "SQ", UNDEFINED);
        sample_item(&sample, UNDEFINED);
    }
    CHECK_INTEGER(sample_parse(&sample, &file, &error), -1);
    REQUIRE(error);
    CHECK_INTEGER(error->code, ERROR_LIMIT);
}

TEST(sequence_in_unknown_representation_is_opened) {
    struct sample sample;
    OWN_DICOM file = NULL;
    sample_begin(&sample, SAMPLE_EXPLICIT, NULL);
    sample_text(&sample, TAG_MODALITY, "CS", "CT");
    sample_header(&sample, DICOM_TAG(0x0009, 0x1001), "UN", UNDEFINED);
    sample.form = SAMPLE_IMPLICIT; /* CP-246 */
    sample_item(&sample, UNDEFINED);
    sample_text(&sample, TAG_PATIENT_ID, "LO", "hidden");
    sample_item_end(&sample);
    sample_sequence_end(&sample);
    sample.form = SAMPLE_EXPLICIT;
    sample_text(&sample, TAG_PATIENT_ID, "LO", "open");
    CHECK_INTEGER(sample_parse(&sample, &file, NULL), DICOM_OK);
    REQUIRE(file);
    const struct dicom_element *sequence = dicom_find(&file->dataset, DICOM_TAG(0x9, 0x1001));
    REQUIRE(sequence && sequence->items);
    char text[20];
    dicom_get_text(&sequence->items->dataset, TAG_PATIENT_ID, text, sizeof(text));
    CHECK_TEXT(text, "hidden");
    dicom_get_text(&file->dataset, TAG_PATIENT_ID, text, sizeof(text));
    CHECK_TEXT(text, "open");
}

TEST(writing_keeps_what_was_read) {
    static const enum sample_form forms[] = {SAMPLE_EXPLICIT, SAMPLE_IMPLICIT, SAMPLE_BIG};
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        struct sample sample;
        OWN_DICOM file = NULL;
        OWN_DICOM again = NULL;
        OWN_BUFFER bytes = {0};
        sample_begin(&sample, forms[i], NULL);
        fill(&sample);
        REQUIRE(sample_parse(&sample, &file, NULL) == DICOM_OK);
        REQUIRE(sample_write(file, &bytes, NULL) == 0);
        CHECK_INTEGER(dicom_parse(&bytes, &again, NULL), DICOM_OK);
        REQUIRE(again);
        CHECK_TEXT(again->transfer_syntax, "1.2.840.10008.1.2.1");
        check_filled(again);
    }
}

TEST(identity_is_read_from_the_head) {
    char path[] = "/tmp/glovebox-test-XXXXXX";
    struct sample sample;
    struct dicom_identity identity;
    OWN_FD fd = mkstemp(path);
    REQUIRE(fd >= 0);
    sample_begin(&sample, SAMPLE_IMPLICIT, NULL);
    sample_text(&sample, TAG_MODALITY, "CS", "MR");
    OWN_MEMORY(char) bulk = memory_allocate(50000); /* pushes the rest beyond the first read */
    sample_bytes(&sample, DICOM_TAG(0x0009, 0x1010), "UN", bulk, 50000);
    sample_text(&sample, TAG_PATIENT_ID, "LO", "p-1");
    sample_text(&sample, TAG_SERIES_INSTANCE, "UI", "1.9");
    sample_text(&sample, TAG_INSTANCE_NUMBER, "IS", "12");
    sample_header(&sample, TAG_PIXEL_DATA, "OW", 1000); /* cut off: nobody looks there */
    REQUIRE(file_write_all(fd, sample.bytes.data, sample.bytes.size, NULL) == 0);
    CHECK_INTEGER(dicom_identify(AT_FDCWD, path, &identity, NULL), DICOM_OK);
    CHECK_TEXT(identity.patient_id, "p-1");
    CHECK_TEXT(identity.series_uid, "1.9");
    CHECK_TEXT(identity.modality, "MR");
    CHECK(identity.has_instance_number && identity.instance_number == 12);
    CHECK_INTEGER(dicom_identify(AT_FDCWD, "/dev/null", &identity, NULL), -1);
    unlink(path);
    buffer_release(&sample.bytes);
}

/* Everything that the room does with a file, on damaged ones: it may refuse, and that is all. */
static void use(const struct buffer *bytes) {
    static const struct dicom_render_options render = {.depth = 8};
    static const struct dicom_key key;
    OWN_BUFFER copy = {0}, out = {0};
    OWN_DICOM file = NULL;
    struct dicom_image image;
    buffer_append_bytes(&copy, bytes->data, bytes->size);
    if (dicom_parse(&copy, &file, NULL) != DICOM_OK)
        return;
    if (dicom_dump(file, DICOM_DUMP_TEXT, NULL, &out, NULL) != 0 ||
        dicom_dump(file, DICOM_DUMP_JSON, NULL, &out, NULL) != 0)
        return;
    if (dicom_image(file, &image, NULL) == 0) {
        struct dicom_frame frame = {0};
        OWN_PICTURE picture = {0};
        if (dicom_decode(file, &image, 0, &frame, NULL) == 0)
            CHECK(dicom_render(file, &image, &frame, &render, &picture, NULL, NULL) <= 0);
        dicom_frame_release(&frame);
    }
    CHECK(dicom_deidentify(file, &key, NULL, NULL) <= 0);
}

TEST(damaged_files_do_no_harm) {
    static const enum sample_form forms[] = {SAMPLE_EXPLICIT, SAMPLE_IMPLICIT, SAMPLE_BIG};
    unsigned seed = 1;
    for (size_t i = 0; i < 3000; i++) {
        struct sample sample;
        sample_begin(&sample, forms[i % 3], NULL);
        fill(&sample);
        for (size_t j = 0; j < 1 + i % 4; j++) {
            size_t at = 132 + (size_t)rand_r(&seed) % (sample.bytes.size - 132);
            sample.bytes.data[at] = (char)(rand_r(&seed) % 3 ? rand_r(&seed) : 0xff);
        }
        use(&sample.bytes);
        buffer_release(&sample.bytes);
    }
}

TEST(every_failed_allocation_is_survived) {
    for (uint64_t n = 1; n < 60; n++) {
        struct sample sample;
        OWN_DICOM file = NULL;
        OWN_ERROR error = NULL;
        sample_begin(&sample, SAMPLE_EXPLICIT, NULL);
        fill(&sample);
        memory_fail_at(n);
        int result = sample_parse(&sample, &file, &error);
        memory_fail_at(0);
        CHECK((result == DICOM_OK) == (file != NULL));
        buffer_release(&sample.bytes);
    }
}

TEST(tags_by_keyword_and_number) {
    uint32_t tag = 0;
    CHECK(dicom_tag_parse("PatientName", &tag, NULL) == 0 && tag == TAG_PATIENT_NAME);
    CHECK(dicom_tag_parse("(0010,0020)", &tag, NULL) == 0 && tag == TAG_PATIENT_ID);
    CHECK(dicom_tag_parse("7FE00010", &tag, NULL) == 0 && tag == TAG_PIXEL_DATA);
    OWN_ERROR error = NULL;
    CHECK_INTEGER(dicom_tag_parse("PatientNome", &tag, &error), -1);
    CHECK(dicom_attribute(DICOM_TAG(0x6002, 0x3000)) != NULL); /* a repeating group */
    CHECK(dicom_attribute(DICOM_TAG(0x0009, 0x0010)) == NULL);
}

TAP_MAIN
