/* Writing Part 10 files. */
#include "dicom/private-dicom.h"

/* This implementation's own UID (a random one below 2.25) and name. */
#define IMPLEMENTATION_UID  "2.25.58680883158784833487053729500152400680"
#define IMPLEMENTATION_NAME "GLOVEBOX"

struct writer {
    int fd;
    struct buffer pending;
    struct error **err;
    bool failed;
};

static void flush(struct writer *writer) {
    if (!writer->failed && writer->pending.size > 0 &&
        (buffer_check(&writer->pending, writer->err) != 0 ||
         file_write_all(writer->fd, writer->pending.data, writer->pending.size, writer->err) != 0))
        writer->failed = true;
    buffer_clear(&writer->pending);
}

static void put(struct writer *writer, const void *bytes, size_t size) {
    if (writer->failed || size == 0)
        return;
    if (size > 65536) { /* pixels go straight from where they were read */
        flush(writer);
        if (!writer->failed && file_write_all(writer->fd, bytes, size, writer->err) != 0)
            writer->failed = true;
        return;
    }
    buffer_append_bytes(&writer->pending, bytes, size);
    if (writer->pending.size > (1 << 18))
        flush(writer);
}

static void put_item_header(struct writer *writer, uint32_t tag, uint32_t length) {
    uint8_t header[8];
    store16(header, DICOM_GROUP(tag));
    store16(header + 2, DICOM_ELEMENT(tag));
    store32(header + 4, length);
    put(writer, header, sizeof(header));
}

static void put_header(struct writer *writer, uint32_t tag, enum dicom_vr vr, uint32_t length) {
    uint8_t header[12] = {0};
    const char *name = dicom_vr_name(vr);
    store16(header, DICOM_GROUP(tag));
    store16(header + 2, DICOM_ELEMENT(tag));
    header[4] = (uint8_t)name[0];
    header[5] = (uint8_t)name[1];
    if (dicom_vr_has_long_header(vr)) {
        store32(header + 8, length);
        put(writer, header, 12);
    } else {
        store16(header + 6, (uint16_t)length);
        put(writer, header, 8);
    }
}

static void put_value(struct writer *writer, uint32_t tag, enum dicom_vr vr, const void *bytes,
                      size_t size) {
    size_t padded = size + (size & 1);
    if (padded >= DICOM_UNDEFINED) {
        error_set(writer->err, ERROR_LIMIT, "element (%04x,%04x) is too long", DICOM_GROUP(tag),
                  DICOM_ELEMENT(tag));
        writer->failed = true;
        return;
    }
    if (vr == DICOM_VR_NONE || (padded > 0xfffe && !dicom_vr_has_long_header(vr)))
        vr = DICOM_UN; /* PS3.5 6.2.2: too long for its own header */
    put_header(writer, tag, vr, (uint32_t)padded);
    put(writer, bytes, size);
    if (size & 1) {
        char padding = dicom_vr_padding(vr);
        put(writer, &padding, 1);
    }
}

static void put_dataset(struct writer *writer, const struct dicom_dataset *dataset);

static void put_items(struct writer *writer, const struct dicom_element *element) {
    bool fragments = element->encapsulated;
    put_header(writer, element->tag, fragments ? DICOM_OB : DICOM_SQ, DICOM_UNDEFINED);
    for (const struct dicom_item *item = element->items; item; item = item->next) {
        if (fragments) {
            put_item_header(writer, TAG_ITEM, (uint32_t)(item->size + (item->size & 1)));
            put(writer, item->bytes, item->size);
            put(writer, "", item->size & 1);
        } else {
            put_item_header(writer, TAG_ITEM, DICOM_UNDEFINED);
            put_dataset(writer, &item->dataset);
            put_item_header(writer, TAG_ITEM_END, 0);
        }
    }
    put_item_header(writer, TAG_SEQUENCE_END, 0);
}

/* Depth is that of the parsed tree, so bounded. Group lengths would be wrong now: left out. */
static void put_dataset(struct writer *writer, const struct dicom_dataset *dataset) {
    for (const struct dicom_element *element = dataset->first; element && !writer->failed;
         element = element->next) {
        if (DICOM_ELEMENT(element->tag) == 0 || element->tag == TAG_TRAILING_PADDING)
            continue;
        if (element->encapsulated || element->items)
            put_items(writer, element);
        else if (element->vr == DICOM_SQ)
            put_header(writer, element->tag, DICOM_SQ, 0);
        else
            put_value(writer, element->tag, element->vr, element->bytes, element->size);
    }
}

static bool has_fragments(const struct dicom_dataset *dataset) {
    const struct dicom_element *pixels = dicom_find(dataset, TAG_PIXEL_DATA);
    return pixels && pixels->encapsulated;
}

static void put_meta(struct writer *writer, const struct dicom_file *file, struct buffer *meta) {
    char class_uid[66], instance_uid[66];
    dicom_get_text(&file->dataset, TAG_SOP_CLASS, class_uid, sizeof(class_uid));
    dicom_get_text(&file->dataset, TAG_SOP_INSTANCE, instance_uid, sizeof(instance_uid));
    const char *syntax = file->transfer_syntax;
    bool keep = has_fragments(&file->dataset) || (syntax[0] && !file->syntax);
    if (!keep)
        syntax = "1.2.840.10008.1.2.1";
    struct writer inner = {.fd = -1, .err = writer->err};
    static const uint8_t version[2] = {0, 1};
    put_value(&inner, DICOM_TAG(2, 0x0001), DICOM_OB, version, 2);
    put_value(&inner, DICOM_TAG(2, 0x0002), DICOM_UI, class_uid, strlen(class_uid));
    put_value(&inner, DICOM_TAG(2, 0x0003), DICOM_UI, instance_uid, strlen(instance_uid));
    put_value(&inner, DICOM_TAG(2, 0x0010), DICOM_UI, syntax, strlen(syntax));
    put_value(&inner, DICOM_TAG(2, 0x0012), DICOM_UI, IMPLEMENTATION_UID,
              strlen(IMPLEMENTATION_UID));
    put_value(&inner, DICOM_TAG(2, 0x0013), DICOM_SH, IMPLEMENTATION_NAME,
              strlen(IMPLEMENTATION_NAME));
    *meta = inner.pending;
    uint8_t length[4];
    store32(length, (uint32_t)meta->size);
    put_value(writer, DICOM_TAG(2, 0x0000), DICOM_UL, length, 4);
    put(writer, meta->data, meta->size);
}

int dicom_write(const struct dicom_file *file, int fd, struct error **err) {
    struct writer writer = {.fd = fd, .err = err};
    uint8_t preamble[132] = {0};
    memcpy(preamble + 128, "DICM", 4);
    put(&writer, preamble, sizeof(preamble));
    OWN_BUFFER meta = {0};
    put_meta(&writer, file, &meta);
    if (buffer_check(&meta, err) != 0)
        writer.failed = true;
    put_dataset(&writer, &file->dataset);
    flush(&writer);
    buffer_release(&writer.pending);
    return writer.failed ? -1 : 0;
}
