/* Files: what is DICOM, the meta header, deflated data sets, reading and identifying. */
#include "dicom/private-dicom.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

void dicom_free(struct dicom_file *file) {
    if (!file)
        return;
    arena_free(file->arena);
    buffer_release(&file->bytes);
    buffer_release(&file->inflated);
    memory_free(file);
}

void dicom_cleanup(struct dicom_file **file) {
    dicom_free(*file);
}

struct dicom_element *dicom_find(const struct dicom_dataset *dataset, uint32_t tag) {
    for (struct dicom_element *element = dataset->first; element; element = element->next) {
        if (element->tag == tag)
            return element;
    }
    return NULL;
}

/* ------------------------------------------------------------ what it is */

static bool is_known_vr(const uint8_t *bytes) {
    return dicom_vr_find((char)bytes[0], (char)bytes[1]) != DICOM_VR_NONE;
}

/* A data set without preamble starts with group 0002 or 0008. Anything goes as a first file byte
 * of other formats, so the first element must make sense as a whole. */
static bool starts_like_dataset(const uint8_t *bytes, size_t size) {
    if (size < 16)
        return false;
    uint16_t group = load16(bytes), element = load16(bytes + 2);
    if (group == 0x0800) /* big endian */
        return is_known_vr(bytes + 4) &&
               dicom_attribute(DICOM_TAG(8, element >> 8 | (element & 0xff) << 8));
    if (group != 0x0002 && group != 0x0008)
        return false;
    if (!dicom_attribute(DICOM_TAG(group, element)) && element != 0)
        return false;
    if (is_known_vr(bytes + 4))
        return true;
    uint32_t length = load32(bytes + 4);
    return length <= 1024 && length <= size - 8;
}

bool dicom_recognise(const uint8_t *bytes, size_t size, size_t *ret_start) {
    if (size >= 132 && memcmp(bytes + 128, "DICM", 4) == 0) {
        *ret_start = 132;
        return true;
    }
    if (!starts_like_dataset(bytes, size))
        return false;
    *ret_start = 0;
    return true;
}

/* ------------------------------------------------------------- meta header */

static int parse_meta(struct dicom_file *file, size_t *offset, bool partial, bool *ret_ran_out,
                      struct error **err) {
    struct parser parser = {
        .file = file,
        .bytes = (uint8_t *)file->bytes.data,
        .size = file->bytes.size,
        .partial = partial,
        .only_group = 0x0002,
    };
    size_t start = *offset;
    if (parser.size - start < 8 || load16(parser.bytes + start) != 0x0002)
        return 0;
    file->has_meta = true;
    if (parse_dataset(&parser, &file->meta, offset, parser.size, err) != 0)
        return error_wrap(err, "file meta header");
    *ret_ran_out = parser.ran_out;
    dicom_get_text(&file->meta, TAG_TRANSFER_SYNTAX, file->transfer_syntax,
                   sizeof(file->transfer_syntax));
    return 0;
}

/* The meta header of a deflated file must end where its group length says: what follows is not
 * elements, and might look like one. */
static int deflated_start(const struct dicom_file *file, size_t start, size_t *ret_offset,
                          struct error **err) {
    int64_t length = dicom_get_integer(&file->meta, DICOM_TAG(0x0002, 0), -1);
    if (length < 0 || (uint64_t)length > file->bytes.size - start - 12)
        return length < 0 ? 0 : error_set(err, ERROR_CORRUPT, "the meta header's length is wrong");
    *ret_offset = start + 12 + (size_t)length;
    return 0;
}

static int inflate_dataset(struct dicom_file *file, size_t offset, struct error **err) {
    z_stream stream = {
        .next_in = (Bytef *)file->bytes.data + offset,
        .avail_in = (uInt)(file->bytes.size - offset),
    };
    if (file->bytes.size - offset > UINT32_MAX || inflateInit2(&stream, -15) != Z_OK)
        return error_set_memory(err);
    file->inflated.maximum = DICOM_MAXIMUM_INFLATED;
    char block[65536];
    int status;
    do {
        stream.next_out = (Bytef *)block;
        stream.avail_out = sizeof(block);
        status = inflate(&stream, Z_NO_FLUSH);
        buffer_append_bytes(&file->inflated, block, sizeof(block) - stream.avail_out);
    } while (status == Z_OK && !file->inflated.failed);
    inflateEnd(&stream);
    if (buffer_check(&file->inflated, err) != 0)
        return error_wrap(err, "deflated data set");
    if (status != Z_STREAM_END)
        return error_set(err, ERROR_CORRUPT, "the deflated data set is damaged or cut off");
    return 0;
}

/* ------------------------------------------------------------- data set */

/* Some files say one thing and do another: the first element shows what was meant. */
static void settle_form(const struct dicom_file *file, struct parser *parser, size_t offset) {
    const uint8_t *bytes = parser->bytes + offset;
    if (parser->size - offset < 8)
        return;
    bool looks_explicit = is_known_vr(bytes + 4);
    if (!file->transfer_syntax[0]) {
        parser->big_endian = load16(bytes) == 0x0800;
        parser->implicit = !parser->big_endian && !looks_explicit;
        return;
    }
    if (parser->big_endian)
        return;
    uint32_t tag = DICOM_TAG(load16(bytes), load16(bytes + 2));
    const struct dicom_attribute *attribute = dicom_attribute(tag);
    if (!attribute)
        return;
    if (parser->implicit && looks_explicit && load32(bytes + 4) > parser->size - offset - 8)
        parser->implicit = false;
    else if (!parser->implicit && !looks_explicit && load32(bytes + 4) <= parser->size - offset - 8)
        parser->implicit = true;
}

int parse_file(struct dicom_file *file, uint32_t stop, bool *ret_ran_out, struct error **err) {
    size_t start = 0;
    if (!dicom_recognise((const uint8_t *)file->bytes.data, file->bytes.size, &start))
        return DICOM_NOT;
    file->has_preamble = start > 0;
    size_t offset = start;
    *ret_ran_out = false;
    if (parse_meta(file, &offset, file->partial, ret_ran_out, err) != 0)
        return -1;
    if (*ret_ran_out)
        return DICOM_OK;
    file->syntax = dicom_syntax(file->transfer_syntax);
    struct parser parser = {.file = file, .partial = file->partial, .stop = stop};
    parser.bytes = (uint8_t *)file->bytes.data;
    parser.size = file->bytes.size;
    if (file->syntax && file->syntax->form == DICOM_DEFLATED) {
        if (file->partial) {
            *ret_ran_out = true; /* inflating needs the whole */
            return DICOM_OK;
        }
        if (deflated_start(file, start, &offset, err) != 0 ||
            inflate_dataset(file, offset, err) != 0)
            return -1;
        parser.bytes = (uint8_t *)file->inflated.data;
        parser.size = file->inflated.size;
        offset = 0;
    }
    parser.implicit = file->syntax && file->syntax->form == DICOM_IMPLICIT;
    parser.big_endian = file->syntax && file->syntax->form == DICOM_BIG_ENDIAN;
    settle_form(file, &parser, offset);
    if (parse_dataset(&parser, &file->dataset, &offset, parser.size, err) != 0)
        return -1;
    *ret_ran_out = parser.ran_out;
    return DICOM_OK;
}

/* --------------------------------------------------------------- reading */

static struct dicom_file *new_file(struct buffer *bytes, bool partial, struct error **err) {
    OWN_DICOM file = memory_allocate(sizeof(*file));
    if (!file) {
        error_set_memory(err);
        return NULL;
    }
    file->bytes = *bytes;
    *bytes = (struct buffer){0};
    file->partial = partial;
    /* An element takes 8 bytes at least and 64 in the tree; the rest is room for edits. A deflated
     * file grows by up to a thousand, so its bound is the bound of what it inflates to. */
    size_t weight =
        file->bytes.size < DICOM_MAXIMUM_INFLATED ? DICOM_MAXIMUM_INFLATED : file->bytes.size;
    file->arena = arena_new(weight);
    if (!file->arena) {
        error_set_memory(err);
        return NULL;
    }
    return take(&file);
}

int dicom_parse(struct buffer *bytes, struct dicom_file **ret, struct error **err) {
    OWN_DICOM file = new_file(bytes, false, err);
    bool ran_out;
    if (!file)
        return -1;
    int result = parse_file(file, 0, &ran_out, err);
    if (result == DICOM_OK)
        *ret = take(&file);
    return result;
}

/* Opens a regular file without following a link at the end and without waiting on a pipe. */
static int open_regular(int directory, const char *path, uint64_t *ret_size, struct error **err) {
    OWN_FD fd = openat(directory, path, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, errno, "cannot open the file");
    struct stat status;
    if (fstat(fd, &status) != 0)
        return error_set_errno(err, errno, "cannot look at the file");
    if (!S_ISREG(status.st_mode))
        return error_set(err, ERROR_INVALID, "not a regular file");
    *ret_size = (uint64_t)status.st_size;
    int result = fd;
    fd = -1;
    return result;
}

/* The first `size` bytes (fewer when the file has shrunk), in one allocation. */
static int read_head(int fd, size_t size, struct buffer *ret, struct error **err) {
    OWN_MEMORY(char) bytes = memory_reallocate(NULL, size + 1);
    if (!bytes)
        return error_set_memory(err);
    size_t done = 0;
    while (done < size) {
        ssize_t got = pread(fd, bytes + done, size - done, (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(err, errno, "cannot read the file");
        if (got == 0)
            break;
        done += (size_t)got;
    }
    bytes[done] = '\0';
    *ret = (struct buffer){
        .data = take(&bytes), .size = done, .capacity = size + 1, .maximum = size + 1};
    return 0;
}

int dicom_read(int directory, const char *path, struct dicom_file **ret, struct error **err) {
    uint64_t size;
    OWN_FD fd = open_regular(directory, path, &size, err);
    if (fd < 0)
        return -1;
    if (size > DICOM_MAXIMUM_FILE)
        return error_set(err, ERROR_LIMIT, "the file is larger than %zu bytes", DICOM_MAXIMUM_FILE);
    /* Do not load a film to learn that it is none of ours. */
    OWN_BUFFER head = {0};
    size_t start;
    if (read_head(fd, size < 1024 ? (size_t)size : 1024, &head, err) != 0)
        return -1;
    if (!dicom_recognise((const uint8_t *)head.data, head.size, &start))
        return DICOM_NOT;
    OWN_BUFFER bytes = {0};
    if (read_head(fd, (size_t)size, &bytes, err) != 0)
        return -1;
    return dicom_parse(&bytes, ret, err);
}

/* -------------------------------------------------------------- identity */

static void fill_identity(const struct dicom_file *file, struct dicom_identity *ret) {
    const struct dicom_dataset *dataset = &file->dataset;
    *ret = (struct dicom_identity){0};
    dicom_get_text(dataset, TAG_PATIENT_ID, ret->patient_id, sizeof(ret->patient_id));
    dicom_get_text(dataset, TAG_STUDY_INSTANCE, ret->study_uid, sizeof(ret->study_uid));
    dicom_get_text(dataset, TAG_SERIES_INSTANCE, ret->series_uid, sizeof(ret->series_uid));
    dicom_get_text(dataset, TAG_SOP_INSTANCE, ret->instance_uid, sizeof(ret->instance_uid));
    dicom_get_text(dataset, TAG_SOP_CLASS, ret->sop_class_uid, sizeof(ret->sop_class_uid));
    dicom_get_text(dataset, TAG_MODALITY, ret->modality, sizeof(ret->modality));
    const struct dicom_element *number = dicom_find(dataset, TAG_INSTANCE_NUMBER);
    ret->has_instance_number = number && dicom_integer(number, 0, &ret->instance_number);
}

int dicom_identify(int directory, const char *path, struct dicom_identity *ret,
                   struct error **err) {
    uint64_t size;
    OWN_FD fd = open_regular(directory, path, &size, err);
    if (fd < 0)
        return -1;
    if (size > DICOM_MAXIMUM_FILE)
        return error_set(err, ERROR_LIMIT, "the file is larger than %zu bytes", DICOM_MAXIMUM_FILE);
    /* Most heads fit in the first few KiB; private groups sometimes push them far out. */
    for (size_t head = 8192;; head *= 16) {
        bool partial = head < size;
        OWN_BUFFER bytes = {0};
        if (read_head(fd, partial ? head : (size_t)size, &bytes, err) != 0)
            return -1;
        OWN_DICOM file = new_file(&bytes, partial, err);
        OWN_ERROR problem = NULL;
        if (!file)
            return -1;
        bool ran_out;
        int result = parse_file(file, TAG_INSTANCE_NUMBER + 1, &ran_out, &problem);
        if (result == DICOM_NOT)
            return DICOM_NOT;
        if (result == DICOM_OK && !ran_out) {
            fill_identity(file, ret);
            return DICOM_OK;
        }
        if (!partial)
            return problem ? error_move(err, take(&problem))
                           : error_set(err, ERROR_CORRUPT, "the file is cut off");
    }
}
