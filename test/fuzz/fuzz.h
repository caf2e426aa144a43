/* What the fuzz targets share. With clang, meson builds each on demand:
 *   ninja -C build-clang fuzz-table && build-clang/test/fuzz/fuzz-table test/fuzz/corpus/fuzz-table
 */
#ifndef GLOVEBOX_FUZZ_H
#define GLOVEBOX_FUZZ_H

#include "base/base.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* A promise that is broken: the fuzzer keeps the input. */
static inline void fuzz_require(bool promise) {
    if (!promise)
        abort();
}

/* What is said may go to a terminal and into a log: one line of text. */
static inline void fuzz_check_error(const struct error *error) {
    fuzz_require(error && error->message && *error->message);
    fuzz_require(text_is_utf8(error->message, strlen(error->message)));
    fuzz_require(!strchr(error->message, '\n'));
}

/* A file that holds the bytes and is gone when the descriptor is closed. */
struct fuzz_file {
    int fd;
    char path[32];
};
static inline void fuzz_file_close(struct fuzz_file *file) {
    close(file->fd);
}
#define OWN_FUZZ_FILE CLEANUP(fuzz_file_close) struct fuzz_file

static inline struct fuzz_file fuzz_file_make(const uint8_t *bytes, size_t size) {
    struct fuzz_file file = {.fd = memfd_create("fuzz", MFD_CLOEXEC)};
    fuzz_require(file.fd >= 0 && file_write_all(file.fd, bytes, size, NULL) == 0);
    (void)snprintf(file.path, sizeof(file.path), "/proc/self/fd/%d", file.fd);
    return file;
}

#endif
