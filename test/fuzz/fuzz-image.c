/* What claims to be an image. The first byte says what it is: t: a tar archive; s: a Singularity
 * file; n: a name; m: a manifest or an index. */
#include "fuzz.h"
#include "image/private-image.h"

struct source {
    const uint8_t *bytes;
    size_t left;
};

static ssize_t read_source(void *context, void *bytes, size_t size, struct error **err) {
    struct source *source = context;
    size = size < source->left ? size : source->left;
    memcpy(bytes, source->bytes, size);
    source->bytes += size;
    source->left -= size;
    return (ssize_t)size;
}

static void read_tar(const uint8_t *bytes, size_t size) {
    struct source source = {bytes, size};
    OWN_TAR tar = tar_open(read_source, &source);
    struct tar_entry entry;
    OWN_ERROR error = NULL;
    uint64_t content = 0;
    while (tar && tar_next(tar, &entry, &error) > 0) {
        uint8_t buffer[700];
        ssize_t got;
        while ((got = tar_read(tar, buffer, sizeof(buffer), &error)) > 0)
            content += (uint64_t)got;
        if (got < 0)
            break;
        fuzz_require(entry.name && entry.link && content <= size);
    }
    if (error)
        fuzz_check_error(error);
}

static void read_sif(const uint8_t *bytes, size_t size) {
    struct sif sif = {0};
    OWN_ERROR error = NULL;
    if (sif_parse(bytes, size, size, &sif, &error) < 0)
        fuzz_check_error(error);
    else
        fuzz_require(sif.offset <= size && sif.size <= size - sif.offset);
}

static void read_name(const char *text) {
    OWN_IMAGE_REFERENCE reference = {0};
    OWN_ERROR error = NULL;
    if (image_reference_parse(text, &reference, &error) < 0) {
        fuzz_check_error(error);
        return;
    }
    /* what was completed means itself */
    OWN_STRING whole = image_reference_text(&reference, NULL);
    OWN_IMAGE_REFERENCE again = {0};
    fuzz_require(whole && image_reference_parse(whole, &again, NULL) == 0);
    OWN_STRING same = image_reference_text(&again, NULL);
    fuzz_require(same && text_equal(whole, same));
}

static void read_manifest(const char *text, size_t size) {
    OWN_ERROR error = NULL;
    OWN_JSON json = json_parse(text, size, &error);
    OWN_ERROR wrong = NULL;
    OWN_ERROR none = NULL;
    if (!json)
        return;
    if (manifest_check(json, &wrong) < 0)
        fuzz_check_error(wrong);
    if (json_object_get(json, "manifests") && !index_choose(json, &none))
        fuzz_check_error(none);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    OWN_STRING text = size ? memory_copy_bytes(bytes + 1, size - 1) : NULL;
    if (!text)
        return 0;
    switch (bytes[0]) {
    case 't':
        read_tar(bytes + 1, size - 1);
        break;
    case 's':
        read_sif(bytes + 1, size - 1);
        break;
    case 'n':
        read_name(text);
        break;
    case 'm':
        read_manifest(text, size - 1);
        break;
    default:
        break;
    }
    return 0;
}
