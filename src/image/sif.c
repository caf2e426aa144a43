/* Singularity files: a header, a table of descriptors, and a file system among what they describe.
 * Read by ourselves, within bounds; the file system is squashfs, which unsquashfs unpacks. */
#include "private-image.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define HEADER_SIZE         128
#define DESCRIPTOR_SIZE     585
#define DESCRIPTORS_MAXIMUM 1000
#define DATA_PARTITION      0x4004
#define SYSTEM_SQUASHFS     1
#define SYSTEM_ENCRYPTED    5
#define PART_PRIMARY        2
#define SCRIPT_MAXIMUM      ((size_t)256 << 10)

static uint32_t read_32(const uint8_t *bytes) {
    uint32_t value;
    memcpy(&value, bytes, sizeof(value));
    return le32toh(value);
}

static uint64_t read_64(const uint8_t *bytes) {
    uint64_t value;
    memcpy(&value, bytes, sizeof(value));
    return le64toh(value);
}

bool sif_is_one(const void *bytes, size_t size) {
    return size >= 42 && memcmp((const uint8_t *)bytes + 32, "SIF_MAGIC", 10) == 0;
}

static int damaged(struct error **err) {
    error_set(err, ERROR_INVALID,
              "the Singularity file is damaged: what it describes is not in it");
    return error_hint(err, "copy it anew and compare its size or digest with the original's");
}

static bool is_ours(const uint8_t *architecture) {
    static const char *const pairs[][2] = {{"02", "amd64"},   {"03", "arm"},   {"04", "arm64"},
                                           {"06", "ppc64le"}, {"11", "s390x"}, {"12", "riscv64"}};
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
        if (memcmp(architecture, pairs[i][0], 2) == 0)
            return text_equal(pairs[i][1], machine_architecture());
    return false;
}

static int take_partition(const uint8_t *descriptor, uint64_t total, struct sif *ret,
                          struct error **err) {
    uint32_t system_kind = read_32(descriptor + 201);
    if (system_kind == SYSTEM_ENCRYPTED) {
        error_set(err, ERROR_UNSUPPORTED, "the Singularity file is encrypted");
        return error_hint(err, "ask its owner for one that is not, or decrypt it where its key is: "
                               "Glovebox asks for no keys of containers");
    }
    if (system_kind != SYSTEM_SQUASHFS) {
        error_set(err, ERROR_UNSUPPORTED,
                  "the Singularity file holds no squashfs but a file system "
                  "of kind %u",
                  system_kind);
        return error_hint(err, "build it anew by Singularity 3 or Apptainer");
    }
    if (!is_ours(descriptor + 209)) {
        error_set(err, ERROR_UNSUPPORTED,
                  "the Singularity file is made for another machine; this "
                  "one is linux on %s",
                  machine_architecture());
        return error_hint(err, "load the one that is made for this machine");
    }
    ret->offset = read_64(descriptor + 17);
    ret->size = read_64(descriptor + 25);
    return ret->offset > total || ret->size > total - ret->offset || ret->size < 96 ? damaged(err)
                                                                                    : 0;
}

int sif_parse(const void *bytes, size_t size, uint64_t total, struct sif *ret, struct error **err) {
    const uint8_t *header = bytes;
    if (size < HEADER_SIZE || !sif_is_one(bytes, size))
        return damaged(err);
    uint64_t count = read_64(header + 88), table = read_64(header + 96);
    if (count > DESCRIPTORS_MAXIMUM || table > size || count * DESCRIPTOR_SIZE > size - table)
        return damaged(err);
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *descriptor = header + table + i * DESCRIPTOR_SIZE;
        bool used = descriptor[4] != 0;
        if (used && read_32(descriptor) == DATA_PARTITION &&
            read_32(descriptor + 205) == PART_PRIMARY)
            return take_partition(descriptor, total, ret, err);
    }
    error_set(err, ERROR_INVALID, "the Singularity file holds no system to run");
    return error_hint(err, "build it anew by Singularity 3 or Apptainer");
}

/* ------------------------------------------------------------------ taking it in */

struct part {
    int fd;
    uint64_t left;
};

static ssize_t read_part(void *context, void *bytes, size_t size, struct error **err) {
    struct part *part = context;
    size = size < part->left ? size : (size_t)part->left;
    for (;;) {
        ssize_t got = size ? read(part->fd, bytes, size) : 0;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(err, errno, "cannot read the Singularity file");
        if (got == 0 && size)
            return damaged(err);
        part->left -= (uint64_t)got;
        return got;
    }
}

static int find_part(int fd, struct sif *ret, struct error **err) {
    struct stat status;
    OWN_MEMORY(uint8_t) bytes = memory_allocate(SIF_HEADER_SIZE);
    size_t have = 0;
    if (!bytes)
        return error_set_memory(err);
    if (fstat(fd, &status) < 0)
        return error_set_errno(err, errno, "cannot look at the Singularity file");
    while (have < SIF_HEADER_SIZE) {
        ssize_t got = pread(fd, bytes + have, SIF_HEADER_SIZE - have, (off_t)have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(err, errno, "cannot read the Singularity file");
        if (got == 0)
            break;
        have += (size_t)got;
    }
    return sif_parse(bytes, have, (uint64_t)status.st_size, ret, err);
}

/* The text of a file of the image; "" when it has none. */
static int read_inside(struct staging *staging, const char *program, const char *squashfs,
                       const char *path, struct buffer *ret, struct error **err) {
    const char *argv[] = {program, "-cat", squashfs, path, NULL};
    struct program run = {
        .argv = argv, .package = "squashfs-tools", .input = staging->store->lock, .output = ret};
    OWN_ERROR problem = NULL;
    if (program_run(&run, &problem) == 0)
        return 0;
    if (problem->code == ERROR_LIMIT)
        return error_move(err, take(&problem));
    buffer_clear(ret);
    return 0;
}

/* `export NAME="${NAME:-"VALUE"}"` or `export NAME="VALUE"`, as docker2singularity writes them. */
static int add_variable(json_t *environment, char *line, struct error **err) {
    if (!text_starts_with(line, "export "))
        return 0;
    char *name = line + strlen("export "), *value = strchr(name, '=');
    if (!value || value == name)
        return 0;
    *value++ = '\0';
    OWN_STRING begin = memory_format("\"${%s:-\"", name);
    if (!begin)
        return error_set_memory(err);
    size_t size = strlen(value);
    if (text_starts_with(value, begin) && text_ends_with(value, "\"}\"") &&
        size >= strlen(begin) + 3) {
        value[size - 3] = '\0';
        value += strlen(begin);
    } else if (size >= 2 && (*value == '"' || *value == '\'') && value[size - 1] == *value) {
        value[size - 1] = '\0';
        value++;
    }
    if (strpbrk(value, "$`\\\"") || !text_is_utf8(value, strlen(value)))
        return 0; /* a shell would have to work it out */
    OWN_STRING pair = memory_format("%s=%s", name, value);
    return !pair || json_array_append_new(environment, json_string(pair)) < 0
               ? error_set_memory(err)
               : 0;
}

static json_t *make_config(struct staging *staging, const char *program, const char *squashfs,
                           const char *digest, struct error **err) {
    OWN_BUFFER script = {.maximum = SCRIPT_MAXIMUM};
    OWN_BUFFER variables = {.maximum = SCRIPT_MAXIMUM};
    OWN_JSON environment = json_array();
    OWN_JSON inner = json_object();
    if (!environment || !inner) {
        error_set_memory(err);
        return NULL;
    }
    if (read_inside(staging, program, squashfs, ".singularity.d/runscript", &script, err) < 0 ||
        read_inside(staging, program, squashfs, ".singularity.d/env/10-docker2singularity.sh",
                    &variables, err) < 0)
        return NULL;
    for (char *rest = variables.data, *line; rest && (line = strsep(&rest, "\n"));)
        if (add_variable(environment, line, err) < 0)
            return NULL;
    if (json_object_set(inner, "Env", environment) < 0 ||
        (script.size && json_object_set_new(inner, "Entrypoint",
                                            json_pack("[s]", "/.singularity.d/runscript")) < 0)) {
        error_set_memory(err);
        return NULL;
    }
    json_t *config = json_pack("{s:s, s:s, s:O, s:{s:s, s:[s]}}", "os", "linux", "architecture",
                               machine_architecture(), "config", inner, "rootfs", "type", "layers",
                               "diff_ids", digest);
    if (!config)
        error_set_memory(err);
    return config;
}

static int import_squashfs(struct staging *staging, const char *digest, uint64_t size,
                           struct error **err) {
    OWN_STRING program = program_find("unsquashfs", "squashfs-tools", err);
    OWN_STRING blob = program ? staging_path(staging, digest, err) : NULL;
    OWN_STRING squashfs = blob ? path_join(staging->store->path, blob) : NULL;
    char config_digest[IMAGE_DIGEST_SIZE];
    if (!squashfs)
        return blob ? error_set_memory(err) : -1;
    OWN_JSON config = make_config(staging, program, squashfs, digest, err);
    OWN_STRING text = config ? json_canonical(config, err) : NULL;
    if (!text || staging_write(staging, text, strlen(text), config_digest, err) < 0)
        return -1;
    OWN_JSON manifest =
        json_pack("{s:i, s:s, s:{s:s, s:s, s:I}, s:[{s:s, s:s, s:I}]}", "schemaVersion", 2,
                  "mediaType", MEDIA_MANIFEST, "config", "mediaType", MEDIA_CONFIG, "digest",
                  config_digest, "size", (json_int_t)strlen(text), "layers", "mediaType",
                  MEDIA_SQUASHFS, "digest", digest, "size", (json_int_t)size);
    return manifest ? manifest_import(staging, manifest, err) : error_set_memory(err);
}

int sif_import(struct staging *staging, const char *path, struct error **err) {
    struct sif sif = {0};
    char magic[4], digest[IMAGE_DIGEST_SIZE];
    OWN_FD fd = file_open(AT_FDCWD, path, O_RDONLY | O_NOCTTY, 0, err);
    if (fd < 0 || find_part(fd, &sif, err) < 0)
        return -1;
    if (pread(fd, magic, 4, (off_t)sif.offset) != 4 || memcmp(magic, "hsqs", 4) != 0)
        return damaged(err);
    if (lseek(fd, (off_t)sif.offset, SEEK_SET) < 0)
        return error_set_errno(err, errno, "cannot read the Singularity file");
    struct part part = {fd, sif.size};
    if (staging_stream(staging, read_part, &part, NULL, digest, err) < 0)
        return -1;
    return import_squashfs(staging, digest, sif.size, err);
}
