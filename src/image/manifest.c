/* Manifests and indexes of images: their form, and the one for this machine. */
#include "private-image.h"

#include <sys/utsname.h>

#define MANIFESTS_MAXIMUM 1000

const char *machine_architecture(void) {
    static const char *const pairs[][2] = {{"x86_64", "amd64"},    {"aarch64", "arm64"},
                                           {"ppc64le", "ppc64le"}, {"s390x", "s390x"},
                                           {"riscv64", "riscv64"}, {"armv7l", "arm"}};
    struct utsname machine;
    if (uname(&machine) < 0)
        return "unknown";
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
        if (text_equal(machine.machine, pairs[i][0]))
            return pairs[i][1];
    return "unknown";
}

bool media_is_index(const char *media_type) {
    return text_equal(media_type, "application/vnd.oci.image.index.v1+json") ||
           text_equal(media_type, "application/vnd.docker.distribution.manifest.list.v2+json");
}

int descriptor_check(const json_t *descriptor, const char *what, struct error **err) {
    const json_t *size = json_object_get(descriptor, "size");
    if (json_is_object(descriptor) &&
        digest_is_valid(json_get_string(descriptor, "digest", NULL)) && json_is_integer(size) &&
        json_integer_value(size) >= 0)
        return 0;
    error_set(err, ERROR_INVALID, "its %s is not described by a sha256 digest and a size", what);
    return error_hint(err, "save or pull it anew");
}

int manifest_check(const json_t *manifest, struct error **err) {
    const json_t *layers = json_object_get(manifest, "layers"), *layer;
    if (!json_is_object(manifest) || json_get_integer(manifest, "schemaVersion", 0) != 2 ||
        !json_is_array(layers)) {
        error_set(err, ERROR_INVALID, "its manifest is of no form that is known here");
        return error_hint(err, "images of Docker before 1.10 must be pulled and pushed anew by a "
                               "newer program");
    }
    if (json_array_size(layers) > IMAGE_LAYERS_MAXIMUM)
        return error_set(err, ERROR_LIMIT, "it has %zu layers; at most %d are allowed",
                         json_array_size(layers), IMAGE_LAYERS_MAXIMUM);
    if (descriptor_check(json_object_get(manifest, "config"), "configuration", err) < 0)
        return -1;
    size_t i;
    json_array_foreach(layers, i, layer) {
        if (descriptor_check(layer, "layer", err) < 0)
            return -1;
    }
    return 0;
}

static bool fits(const json_t *descriptor) {
    const json_t *platform = json_object_get(descriptor, "platform");
    return !platform ||
           (text_equal(json_get_string(platform, "os", ""), "linux") &&
            text_equal(json_get_string(platform, "architecture", ""), machine_architecture()));
}

json_t *index_choose(const json_t *index, struct error **err) {
    json_t *list = json_object_get(index, "manifests"), *found = NULL, *item;
    OWN_BUFFER others = {0};
    size_t i;
    if (json_array_size(list) > MANIFESTS_MAXIMUM) {
        error_set(err, ERROR_LIMIT, "its index has more than %d manifests", MANIFESTS_MAXIMUM);
        return NULL;
    }
    json_array_foreach(list, i, item) {
        const char *name = json_get_string(json_object_get(item, "platform"), "architecture", "?");
        if (descriptor_check(item, "manifest", err) < 0)
            return NULL;
        if (!found && fits(item))
            found = item;
        if (text_is_utf8(name, strlen(name)) && others.size < 200 && !text_equal(name, "unknown"))
            buffer_format(&others, "%s%.20s", others.size ? ", " : "", name);
    }
    if (found)
        return found;
    OWN_BUFFER shown = {0};
    text_append_printable(&shown, buffer_text(&others));
    error_set(err, ERROR_UNSUPPORTED, "it has nothing for this machine, linux on %s",
              machine_architecture());
    error_hint(err, "it is made for: %s", shown.size ? buffer_text(&shown) : "nothing");
    return NULL;
}
