#include "sample.h"
#include "tap.h"

/* The text of an element under a character set. */
static void check_decoded(const char *set, const char *vr, const char *raw, const char *expected) {
    struct sample sample;
    OWN_DICOM file = NULL;
    OWN_BUFFER text = {0};
    uint32_t tag = text_equal(vr, "PN") ? TAG_PATIENT_NAME : DICOM_TAG(0x0008, 0x1030);
    sample_begin(&sample, SAMPLE_EXPLICIT, NULL);
    if (set)
        sample_text(&sample, TAG_CHARACTER_SET, "CS", set);
    sample_text(&sample, tag, vr, raw);
    REQUIRE(sample_parse(&sample, &file, NULL) == DICOM_OK);
    dicom_text(&file->dataset, dicom_find(&file->dataset, tag), &text);
    CHECK_TEXT(buffer_text(&text), expected);
}

/* Names of PS3.5 annexes H, I, J and K. */
TEST(character_sets) {
    check_decoded("ISO_IR 100", "PN", "Buc^J\xe9r\xf4me", "Buc^Jérôme");
    check_decoded("ISO_IR 192", "PN", "Wang^XiaoDong=\xe7\x8e\x8b^\xe5\xb0\x8f\xe6\x9d\xb1",
                  "Wang^XiaoDong=王^小東");
    check_decoded("ISO_IR 144", "LO", "\xbb\xee\xda", "Люк");
    check_decoded("GB18030", "PN", "Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab",
                  "Wang^XiaoDong=王^小东");
    check_decoded("\\ISO 2022 IR 87", "PN", "Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B",
                  "Yamada^Tarou=山田^太郎");
    check_decoded("\\ISO 2022 IR 149", "PN", "Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7",
                  "Hong^Gildong=洪^吉洞");
}

TEST(broken_text_is_shown_as_such) {
    check_decoded("ISO_IR 192", "LO",
                  "a\xff"
                  "b",
                  "a\xef\xbf\xbd"
                  "b");
    check_decoded("NO SUCH SET", "LO", "\xe9", "é");
    check_decoded(NULL, "LO", "\xe9t\xe9", "été");
    check_decoded(NULL, "LO", "one\\two ", "one\\two");
}

TEST(numbers_of_text_and_binary) {
    struct sample sample;
    OWN_DICOM file = NULL;
    double number;
    int64_t integer;
    uint8_t single[4] = {0xcd, 0xcc, 0xcc, 0x3d};
    sample_begin(&sample, SAMPLE_EXPLICIT, NULL);
    sample_text(&sample, DICOM_TAG(0x0018, 0x0050), "DS", " 1.25 \\-3e2\\x\\1,5");
    sample_bytes(&sample, DICOM_TAG(0x0018, 0x605a), "FL", single, 4);
    sample_text(&sample, DICOM_TAG(0x0020, 0x0013), "IS", "99999999999999999999999");
    REQUIRE(sample_parse(&sample, &file, NULL) == DICOM_OK);
    const struct dicom_element *texts = dicom_find(&file->dataset, DICOM_TAG(0x0018, 0x0050));
    CHECK(dicom_number(texts, 0, &number) && number == 1.25);
    CHECK(dicom_number(texts, 1, &number) && number == -300);
    CHECK(!dicom_number(texts, 2, &number));
    CHECK(dicom_number(texts, 3, &number) && number == 1.5);
    CHECK(!dicom_number(texts, 4, &number));
    CHECK(!dicom_integer(texts, 0, &integer));
    CHECK(!dicom_integer(dicom_find(&file->dataset, TAG_INSTANCE_NUMBER), 0, &integer));
    OWN_BUFFER text = {0};
    dicom_text(&file->dataset, dicom_find(&file->dataset, DICOM_TAG(0x0018, 0x605a)), &text);
    CHECK_TEXT(buffer_text(&text), "0.1");
}

TEST(dumps) {
    struct sample sample;
    OWN_DICOM file = NULL;
    OWN_BUFFER text = {0}, csv = {0}, html = {0};
    sample_begin(&sample, SAMPLE_EXPLICIT, NULL);
    sample_text(&sample, TAG_PATIENT_NAME, "PN", "A<b>^\"C\", d");
    sample_header(&sample, DICOM_TAG(0x0040, 0xa730), "SQ", 0xffffffffu);
    sample_item(&sample, 0xffffffffu);
    sample_text(&sample, DICOM_TAG(0x0040, 0xa160), "UT", "x");
    sample_item_end(&sample);
    sample_sequence_end(&sample);
    REQUIRE(sample_parse(&sample, &file, NULL) == DICOM_OK);
    REQUIRE(dicom_dump(file, DICOM_DUMP_TEXT, NULL, &text, NULL) == 0);
    CHECK(strstr(buffer_text(&text), "(0010,0010) PN [A<b>^\"C\", d]"));
    CHECK(strstr(buffer_text(&text), "\n  (0040,a160) UT [x]"));
    struct dicom_dump_options options = {.label = "f,1"};
    REQUIRE(dicom_dump(file, DICOM_DUMP_CSV, &options, &csv, NULL) == 0);
    CHECK(strstr(buffer_text(&csv), "\"f,1\",00100010,PatientName,PN,\"A<b>^\"\"C\"\", d\"\r\n"));
    CHECK(strstr(buffer_text(&csv), "\"f,1\",0040A730[0].0040A160,TextValue,UT,x\r\n"));
    REQUIRE(dicom_dump(file, DICOM_DUMP_HTML, &options, &html, NULL) == 0);
    CHECK(strstr(buffer_text(&html), "A&lt;b&gt;^&quot;C&quot;, d"));
    CHECK(!strstr(buffer_text(&html), "<b>"));
    OWN_JSON json = dicom_json(file, NULL, NULL);
    REQUIRE(json);
    OWN_STRING canonical = json_canonical(json, NULL);
    CHECK_TEXT(canonical, "{\"00100010\":{\"Value\":[{\"Alphabetic\":\"A<b>^\\\"C\\\", d\"}],"
                          "\"vr\":\"PN\"},\"0040A730\":{\"Value\":[{\"0040A160\":{\"Value\":"
                          "[\"x\"],\"vr\":\"UT\"}}],\"vr\":\"SQ\"}}");
}

TAP_MAIN
