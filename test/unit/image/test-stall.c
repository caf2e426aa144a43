/* A pull that stands still is noticed, one that is slow is not. */
#include "image/private-image.h"
#include "tap.h"

TEST(nothing_came) {
    struct stall stall = {0};
    CHECK(!stall_notice(&stall, 0, 1000));
    CHECK(!stall_notice(&stall, 0, 1000 + STALL_MAXIMUM - 1));
    CHECK(stall_notice(&stall, 0, 1000 + STALL_MAXIMUM));
}

TEST(a_byte_now_and_then_is_enough) {
    struct stall stall = {0};
    int64_t now = 1000;
    for (uint64_t done = 0; done < 10; done++, now += STALL_MAXIMUM - 1)
        CHECK(!stall_notice(&stall, done, now));
}

TEST(what_begins_anew_does_not_stand_still) {
    struct stall stall = {0};
    CHECK(!stall_notice(&stall, 7, 1000));
    CHECK(!stall_notice(&stall, 3, 1000 + STALL_MAXIMUM));
    CHECK(!stall_notice(&stall, 3, 1001 + STALL_MAXIMUM));
    CHECK(stall_notice(&stall, 3, 1000 + 2 * STALL_MAXIMUM));
}

TAP_MAIN
