/* Reading archives in pieces of any size, and what is no archive. */
#include "image/private-image.h"
#include "tap.h"

struct source {
    const uint8_t *bytes;
    size_t left, piece;
};

static ssize_t read_source(void *context, void *bytes, size_t size, struct error **err) {
    struct source *source = context;
    size = size < source->left ? size : source->left;
    size = size < source->piece ? size : source->piece;
    memcpy(bytes, source->bytes, size);
    source->bytes += size;
    source->left -= size;
    return (ssize_t)size;
}

static void put_header(uint8_t *block, const char *name, char type, unsigned size) {
    memcpy(block, name, strlen(name));
    (void)snprintf((char *)block + 124, 12, "%011o", size);
    memset(block + 148, ' ', 8);
    block[156] = (uint8_t)type;
    memcpy(block + 257,
           "ustar\0"
           "00",
           8);
    unsigned sum = 0;
    for (size_t i = 0; i < 512; i++)
        sum += block[i];
    (void)snprintf((char *)block + 148, 8, "%06o", sum);
}

/* A pax header with a long name, its file, another file, the end. */
static size_t make(uint8_t archive[512 * 8]) {
    memset(archive, 0, (size_t)512 * 8);
    put_header(archive, "pax", 'x', 20);
    memcpy(archive + 512, "20 path=a/long/name\n", 20);
    put_header(archive + 1024, "short", '0', 5);
    memcpy(archive + 1536, "hello", 5);
    put_header(archive + 2048, "./second", '0', 0);
    return (size_t)512 * 8;
}

TEST(an_archive_reads_the_same_in_pieces_of_any_size) {
    uint8_t archive[512 * 8];
    size_t size = make(archive);
    for (size_t piece = 1; piece < 2000; piece = piece * 3 + 1) {
        struct source source = {archive, size, piece};
        OWN_TAR tar = tar_open(read_source, &source);
        struct tar_entry entry = {0};
        char text[16] = {0};
        REQUIRE(tar);
        REQUIRE(tar_next(tar, &entry, NULL) == 1);
        CHECK_TEXT(entry.name, "a/long/name");
        CHECK_INTEGER(entry.size, 5);
        size_t have = 0;
        ssize_t got;
        while ((got = tar_read(tar, text + have, 3, NULL)) > 0)
            have += (size_t)got;
        CHECK_TEXT(text, "hello");
        REQUIRE(tar_next(tar, &entry, NULL) == 1);
        CHECK_TEXT(entry.name, "second");
        CHECK_INTEGER(tar_next(tar, &entry, NULL), 0);
        CHECK_INTEGER(tar_next(tar, &entry, NULL), 0);
    }
}

TEST(cut_off_anywhere_it_says_so_once) {
    uint8_t archive[512 * 8];
    (void)make(archive);
    for (size_t size = 1; size < 2048; size += 7) {
        struct source source = {archive, size, 4096};
        OWN_TAR tar = tar_open(read_source, &source);
        struct tar_entry entry = {0};
        OWN_ERROR error = NULL;
        int more;
        REQUIRE(tar);
        while ((more = tar_next(tar, &entry, &error)) > 0)
            continue;
        CHECK(more < 0 || size % 512 == 0);
        CHECK((more < 0) == (error != NULL));
    }
}

TAP_MAIN
