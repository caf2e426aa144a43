#include "base/base.h"
#include "tap.h"

TEST(nearest_finds_the_likely_word) {
    static const char *const words[] = {"needs", "next", "retries", "resources"};
    CHECK_TEXT(text_nearest("need", words, 4), "needs");
    CHECK_TEXT(text_nearest("retreis", words, 4), "retries");
    CHECK_TEXT(text_nearest("resuorces", words, 4), "resources");
    CHECK(text_nearest("zebra", words, 4) == NULL);
}

TEST(glob_stays_inside_names) {
    CHECK(text_glob_match("*.dcm", "a.dcm"));
    CHECK(!text_glob_match("*.dcm", "x/a.dcm"));
    CHECK(text_glob_match("**/*.dcm", "x/y/a.dcm"));
    CHECK(text_glob_match("**/*.dcm", "a.dcm"));
    CHECK(text_glob_match("a[0-9]?", "a5x"));
    CHECK(!text_glob_match("a[!0-9]", "a5"));
    CHECK(!text_glob_match("a?b", "a/b"));
    CHECK(
        !text_glob_match("*a*a*a*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
}

TEST(durations_and_sizes) {
    int64_t duration = 0;
    uint64_t size = 0;
    OWN_ERROR error = NULL;
    CHECK(text_parse_duration("90", &duration, NULL) == 0 && duration == 90000);
    CHECK(text_parse_duration("1.5h", &duration, NULL) == 0 && duration == 5400000);
    CHECK(text_parse_duration("250ms", &duration, NULL) == 0 && duration == 250);
    CHECK(text_parse_duration("soon", &duration, &error) < 0);
    CHECK(error && error->code == ERROR_INVALID && error->hint);
    CHECK(text_parse_size("4GiB", &size, NULL) == 0 && size == 4ull << 30);
    CHECK(text_parse_size("500MB", &size, NULL) == 0 && size == 500000000);
    CHECK(text_parse_size("1g", &size, NULL) == 0 && size == 1ull << 30);
    CHECK(text_parse_size("-1", &size, NULL) < 0);
    CHECK(text_parse_size("5 parsecs", &size, NULL) < 0);
}

TEST(numbers_are_whole_or_nothing) {
    int64_t integer = 0;
    double number = 0;
    CHECK(text_parse_integer("-12", -20, 20, &integer, NULL) == 0 && integer == -12);
    CHECK(text_parse_integer("12x", -20, 20, &integer, NULL) < 0);
    CHECK(text_parse_integer("", -20, 20, &integer, NULL) < 0);
    CHECK(text_parse_integer("99999999999999999999", INT64_MIN, INT64_MAX, &integer, NULL) < 0);
    CHECK(text_parse_number("1.25", &number, NULL) == 0 && number == 1.25);
    CHECK(text_parse_number("nan", &number, NULL) < 0);
    CHECK(text_parse_number("0x10", &number, NULL) < 0);
}

TEST(safe_names_do_not_meet) {
    OWN_STRING plain = text_safe_name("patient-1_a.b");
    OWN_STRING slash = text_safe_name("a/b");
    OWN_STRING under = text_safe_name("a_b");
    OWN_STRING dots = text_safe_name("..");
    OWN_STRING empty = text_safe_name("");
    CHECK_TEXT(plain, "patient-1_a.b");
    CHECK(strcmp(slash, under) != 0);
    CHECK(dots[0] != '.' && !strchr(dots, '/'));
    CHECK(strlen(empty) > 0);
}

TEST(utf8) {
    CHECK(text_is_utf8("Grüße 漢字", strlen("Grüße 漢字")));
    CHECK(!text_is_utf8("\xc0\x80", 2));
    CHECK(!text_is_utf8("\xed\xa0\x80", 3));
    CHECK(!text_is_utf8("\xff", 1));
    CHECK_INTEGER(text_width("漢字ab"), 6);
    OWN_BUFFER shown = {0};
    text_append_printable(&shown, "a\x1b[2J\n\xff");
    CHECK_TEXT(buffer_text(&shown), "a\\x1b[2J\\n\\xff");
}

TEST(buffers_are_bounded) {
    OWN_BUFFER buffer = {.maximum = 10};
    OWN_ERROR error = NULL;
    buffer_append(&buffer, "12345");
    CHECK(buffer_check(&buffer, &error) == 0);
    buffer_append(&buffer, "1234567");
    buffer_append(&buffer, "1");
    CHECK(buffer_check(&buffer, &error) < 0);
    CHECK(error && error->code == ERROR_LIMIT);
}

TEST(errors_carry_context) {
    OWN_ERROR error = NULL;
    CHECK(error_set(&error, ERROR_INVALID, "bad %d", 7) == -1);
    error_wrap(&error, "file %s", "x");
    error_hint(&error, "try %s", "y");
    CHECK_TEXT(error->message, "file x: bad 7");
    CHECK_TEXT(error->hint, "try y");
}

TEST(canonical_json_is_the_same_for_the_same_value) {
    OWN_JSON a = json_parse("{\"b\": 1, \"a\": [1.5, \"x\"]}", 25, NULL);
    REQUIRE(a);
    char *text = json_canonical(a, NULL);
    CHECK_TEXT(text, "{\"a\":[1.5,\"x\"],\"b\":1}");
    memory_free(text);
    OWN_ERROR error = NULL;
    CHECK(json_parse("{\"a\":1,\"a\":2}", 13, &error) == NULL);
    CHECK(error && error->code == ERROR_INVALID);
}

TEST(hashes) {
    uint8_t digest[SHA256_SIZE], back[SHA256_SIZE];
    char text[SHA256_HEX_SIZE];
    sha256_of("abc", 3, digest);
    hex_encode(digest, sizeof(digest), text);
    CHECK_TEXT(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(hex_decode(text, back, sizeof(back), NULL) == 0);
    CHECK(bytes_equal_constant_time(digest, back, sizeof(back)));
}

/* The expected value is that of another program: Python's hmac. */
TEST(keyed_hashes) {
    uint8_t key[SECRET_KEY_SIZE], digest[SHA256_SIZE];
    char text[SHA256_HEX_SIZE];
    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)i;
    CHECK(hmac_sha256_of(key, "uid", "1.2.3", 5, digest, NULL) == 0);
    hex_encode(digest, sizeof(digest), text);
    CHECK_TEXT(text, "f327c820c0f135c32ff671c51d701a74ecb7080cf53c71110b4e0197cc236aaf");
}

TEST(times_are_rfc_3339) {
    char text[CLOCK_TEXT_SIZE];
    clock_format(1763694245678, text);
    CHECK_TEXT(text, "2025-11-21T03:04:05.678Z");
}

TAP_MAIN
