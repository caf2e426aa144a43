/* Names of images, completed as Docker completes them. */
#include "image/private-image.h"
#include "tap.h"

TEST(names_are_completed_as_docker_does) {
    static const char *const pairs[][2] = {
        {"busybox", "docker.io/library/busybox:latest"},
        {"busybox:1.36", "docker.io/library/busybox:1.36"},
        {"a/b", "docker.io/a/b:latest"},
        {"index.docker.io/a/b", "docker.io/a/b:latest"},
        {"localhost/a", "localhost/a:latest"},
        {"localhost:5000/a/b/c:x", "localhost:5000/a/b/c:x"},
        {"registry.example.org/a", "registry.example.org/a:latest"},
        {"[::1]:5000/a", "[::1]:5000/a:latest"},
        {"a__b/c--d.e", "docker.io/a__b/c--d.e:latest"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        OWN_IMAGE_REFERENCE reference = {0};
        OWN_ERROR error = NULL;
        REQUIRE(image_reference_parse(pairs[i][0], &reference, &error) == 0);
        OWN_STRING whole = image_reference_text(&reference, &error);
        REQUIRE(whole);
        CHECK_TEXT(whole, pairs[i][1]);
    }
}

TEST(a_digest_needs_no_tag_and_keeps_one) {
    static const char digits[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    OWN_STRING pinned = memory_format("a/b@sha256:%s", digits);
    OWN_STRING both = memory_format("a/b:1@sha256:%s", digits);
    OWN_IMAGE_REFERENCE one = {0};
    OWN_IMAGE_REFERENCE two = {0};
    REQUIRE(image_reference_parse(pinned, &one, NULL) == 0);
    CHECK(one.tag == NULL && one.digest && text_starts_with(one.digest, "sha256:0123"));
    REQUIRE(image_reference_parse(both, &two, NULL) == 0);
    CHECK_TEXT(two.tag, "1");
    OWN_STRING name = image_pinned_name("x:2", one.digest, NULL);
    OWN_STRING expected = memory_format("docker.io/library/x@sha256:%s", digits);
    CHECK_TEXT(name, expected);
}

TEST(what_is_no_name_is_refused) {
    static const char *const bad[] = {
        "",     "A",      "a//b",   "/a",           "a/",      ".a",          "a.",   "-",
        "a:",   "a:b:c",  "a@",     "a b",          "a@md5:1", "a@sha256:12", "a:-x", "a._b",
        "a..b", "a/../b", "x.y:/a", "x.y:123456/a", "[::1/a",  "a___/b-",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        OWN_IMAGE_REFERENCE reference = {0};
        OWN_ERROR error = NULL;
        CHECK(image_reference_parse(bad[i], &reference, &error) < 0);
        CHECK(error && error->hint);
    }
}

TAP_MAIN
