/* Elements, sequences and fragments: from bytes to the tree. */
#include "dicom/private-dicom.h"

struct header {
    uint32_t tag, length;
    enum dicom_vr vr;
    size_t size; /* of the header itself */
};

void dataset_append(struct dicom_dataset *dataset, struct dicom_element *element) {
    if (dataset->last)
        dataset->last->next = element;
    else
        dataset->first = element;
    dataset->last = element;
    dataset->count++;
}

void element_append_item(struct dicom_element *element, struct dicom_item *item) {
    if (element->last_item)
        element->last_item->next = item;
    else
        element->items = item;
    element->last_item = item;
    element->item_count++;
}

/* The bytes end too early. With only the head of a file that is no error. */
static int ran_out(struct parser *parser, size_t offset, const char *where, struct error **err) {
    parser->ran_out = true;
    if (parser->partial)
        return 0;
    return error_set(err, ERROR_CORRUPT, "the file is cut off: it ends inside %s at byte %zu",
                     where, offset);
}

static uint32_t read32(const struct parser *parser, const uint8_t *bytes) {
    return parser->big_endian ? (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 |
                                    (uint32_t)bytes[2] << 8 | bytes[3]
                              : load32(bytes);
}

static uint16_t read16(const struct parser *parser, const uint8_t *bytes) {
    return parser->big_endian ? (uint16_t)(bytes[0] << 8 | bytes[1]) : load16(bytes);
}

static uint32_t read_tag(const struct parser *parser, const uint8_t *bytes) {
    return DICOM_TAG(read16(parser, bytes), read16(parser, bytes + 2));
}

static enum dicom_vr dictionary_vr(const struct parser *parser, uint32_t tag) {
    if (dicom_tag_is_private(tag)) /* (gggg,0010-00FF) reserve blocks by name */
        return DICOM_ELEMENT(tag) >= 0x10 && DICOM_ELEMENT(tag) <= 0xff ? DICOM_LO : DICOM_UN;
    if (DICOM_ELEMENT(tag) == 0)
        return DICOM_UL;
    const struct dicom_attribute *attribute = dicom_attribute(tag);
    if (!attribute || attribute->vr == DICOM_VR_NONE)
        return DICOM_UN;
    return attribute->either_sign && parser->is_signed ? DICOM_SS : attribute->vr;
}

static bool is_upper(uint8_t c) {
    return c >= 'A' && c <= 'Z';
}

/* A representation that no edition knows. Future ones have long headers (PS3.5 7.1.2); some
 * writers leave an implicit element between explicit ones; others write nonsense such as "??". */
static void read_odd_header(const struct parser *parser, const uint8_t *bytes, size_t room,
                            struct header *ret) {
    ret->vr = DICOM_UN;
    if (is_upper(bytes[4]) && is_upper(bytes[5]) && bytes[6] == 0 && bytes[7] == 0 && room >= 12) {
        ret->length = read32(parser, bytes + 8);
        ret->size = 12;
        return;
    }
    uint32_t implicit_length = read32(parser, bytes + 4);
    if (!(is_upper(bytes[4]) && is_upper(bytes[5])) && implicit_length <= room - 8 &&
        dicom_attribute(ret->tag)) {
        ret->vr = dictionary_vr(parser, ret->tag);
        ret->length = implicit_length;
        ret->size = 8;
        return;
    }
    ret->length = read16(parser, bytes + 6);
    ret->size = 8;
}

/* False: the bytes end inside the header. */
static bool read_header(const struct parser *parser, size_t offset, size_t end,
                        struct header *ret) {
    const uint8_t *bytes = parser->bytes + offset;
    size_t room = end - offset;
    if (room < 8)
        return false;
    ret->tag = read_tag(parser, bytes);
    ret->size = 8;
    if (DICOM_GROUP(ret->tag) == 0xfffe) {
        ret->vr = DICOM_VR_NONE;
        ret->length = read32(parser, bytes + 4);
        return true;
    }
    if (parser->implicit) {
        ret->vr = dictionary_vr(parser, ret->tag);
        ret->length = read32(parser, bytes + 4);
        return true;
    }
    ret->vr = dicom_vr_find((char)bytes[4], (char)bytes[5]);
    if (ret->vr == DICOM_VR_NONE) {
        read_odd_header(parser, bytes, room, ret);
        return true;
    }
    if (!dicom_vr_has_long_header(ret->vr)) {
        ret->length = read16(parser, bytes + 6);
        return true;
    }
    if (room < 12)
        return false;
    ret->length = read32(parser, bytes + 8);
    ret->size = 12;
    return true;
}

static struct dicom_item *new_item(struct parser *parser, struct dicom_element *element,
                                   struct error **err) {
    struct dicom_item *item = arena_allocate(parser->file->arena, sizeof(*item));
    if (!item) {
        error_set(err, ERROR_LIMIT, "the file has too many items");
        return NULL;
    }
    element_append_item(element, item);
    return item;
}

/* Fragments of encapsulated pixel data, up to the sequence delimiter. */
static int parse_fragments(struct parser *parser, struct dicom_element *element, size_t *offset,
                           size_t end, struct error **err) {
    element->encapsulated = true;
    for (;;) {
        struct header header;
        if (!read_header(parser, *offset, end, &header))
            return ran_out(parser, *offset, "pixel fragments", err);
        *offset += header.size;
        if (header.tag == TAG_SEQUENCE_END)
            return 0;
        if (header.tag != TAG_ITEM || header.length == DICOM_UNDEFINED)
            return error_set(err, ERROR_CORRUPT, "unexpected tag (%04x,%04x) among pixel fragments",
                             DICOM_GROUP(header.tag), DICOM_ELEMENT(header.tag));
        if (header.length > end - *offset)
            return ran_out(parser, *offset, "a pixel fragment", err);
        struct dicom_item *item = new_item(parser, element, err);
        if (!item)
            return -1;
        item->bytes = parser->bytes + *offset;
        item->size = header.length;
        *offset += header.length;
    }
}

/* Items of a sequence: up to `end`, or to the delimiter when the length is undefined. */
static int parse_items(struct parser *parser, struct dicom_dataset *dataset,
                       struct dicom_element *element, size_t *offset, size_t end, bool undefined,
                       struct error **err) {
    while (undefined || *offset < end) {
        struct header header;
        if (!read_header(parser, *offset, end, &header))
            return ran_out(parser, *offset, "a sequence", err);
        if (header.tag == TAG_SEQUENCE_END) {
            *offset += header.size;
            return 0;
        }
        if (header.tag != TAG_ITEM)
            return error_set(err, ERROR_CORRUPT,
                             "unexpected tag (%04x,%04x) in sequence (%04x,%04x)",
                             DICOM_GROUP(header.tag), DICOM_ELEMENT(header.tag),
                             DICOM_GROUP(element->tag), DICOM_ELEMENT(element->tag));
        *offset += header.size;
        bool item_undefined = header.length == DICOM_UNDEFINED;
        if (!item_undefined && header.length > end - *offset)
            return ran_out(parser, *offset, "an item", err);
        size_t item_end = item_undefined ? end : *offset + header.length;
        struct dicom_item *item = new_item(parser, element, err);
        if (!item)
            return -1;
        item->dataset.parent = dataset;
        if (parse_dataset(parser, &item->dataset, offset, item_end, err) != 0)
            return -1;
        if (parser->ran_out)
            return 0;
        if (!item_undefined)
            *offset = item_end;
    }
    return 0;
}

static int parse_sequence(struct parser *parser, struct dicom_dataset *dataset,
                          struct dicom_element *element, size_t *offset, size_t end, bool undefined,
                          struct error **err) {
    if (parser->depth >= DICOM_MAXIMUM_DEPTH)
        return error_set(err, ERROR_LIMIT, "sequences are nested deeper than %d",
                         DICOM_MAXIMUM_DEPTH);
    struct parser saved = *parser;
    /* A sequence of unknown representation is written in implicit little endian (CP-246). */
    if (element->vr == DICOM_UN) {
        parser->implicit = true;
        parser->big_endian = false;
        element->vr = DICOM_SQ;
    }
    parser->depth++;
    int result = parse_items(parser, dataset, element, offset, end, undefined, err);
    parser->depth = saved.depth;
    parser->implicit = saved.implicit;
    parser->big_endian = saved.big_endian;
    parser->is_signed = saved.is_signed;
    return result;
}

static void swap(uint8_t *bytes, size_t size, size_t width) {
    for (size_t i = 0; i + width <= size; i += width) {
        for (size_t j = 0; j < width / 2; j++) {
            uint8_t byte = bytes[i + j];
            bytes[i + j] = bytes[i + width - 1 - j];
            bytes[i + width - 1 - j] = byte;
        }
    }
}

static void swap_value(const struct dicom_dataset *dataset, struct dicom_element *element,
                       uint8_t *bytes) {
    size_t width = dicom_vr_width(element->vr);
    if (element->vr == DICOM_AT)
        width = 2;
    /* Pixels of 32 bits are written as whole numbers, though OW speaks of 16-bit words. */
    if (element->tag == TAG_PIXEL_DATA && element->vr == DICOM_OW &&
        dicom_get_integer(dataset, DICOM_TAG(0x0028, 0x0100), 0) == 32)
        width = 4;
    if (width > 1)
        swap(bytes, element->size, width);
}

/* A sequence hidden in an element of unknown representation: shown as what it is, so that
 * de-identification reaches inside. Left alone when the bytes do not parse. */
static void open_unknown_sequence(struct parser *parser, struct dicom_dataset *dataset,
                                  struct dicom_element *element, size_t offset) {
    OWN_ERROR ignored = NULL;
    struct dicom_element attempt = {.tag = element->tag, .vr = DICOM_UN};
    size_t end = offset + element->size;
    if (element->size < 8 ||
        parse_sequence(parser, dataset, &attempt, &offset, end, false, &ignored) != 0 ||
        parser->ran_out) {
        parser->ran_out = false;
        return;
    }
    element->vr = DICOM_SQ;
    element->items = attempt.items;
    element->last_item = attempt.last_item;
    element->item_count = attempt.item_count;
}

static int parse_value(struct parser *parser, struct dicom_dataset *dataset,
                       struct dicom_element *element, uint32_t length, size_t *offset, size_t end,
                       struct error **err) {
    if (length == DICOM_UNDEFINED) {
        if (element->tag == TAG_PIXEL_DATA || element->vr == DICOM_OB || element->vr == DICOM_OW)
            return parse_fragments(parser, element, offset, end, err);
        if (element->vr != DICOM_SQ && element->vr != DICOM_UN && !parser->implicit)
            return error_set(err, ERROR_CORRUPT, "element (%04x,%04x) %s has no length",
                             DICOM_GROUP(element->tag), DICOM_ELEMENT(element->tag),
                             dicom_vr_name(element->vr));
        if (element->vr != DICOM_UN)
            element->vr = DICOM_SQ;
        return parse_sequence(parser, dataset, element, offset, end, true, err);
    }
    if (length > end - *offset) {
        if (!parser->partial)
            return error_set(err, ERROR_CORRUPT,
                             "the file is cut off: element (%04x,%04x) has %u bytes, %zu are left",
                             DICOM_GROUP(element->tag), DICOM_ELEMENT(element->tag), length,
                             end - *offset);
        parser->ran_out = true;
        return 0;
    }
    if (element->vr == DICOM_SQ) {
        size_t value_end = *offset + length;
        if (parse_sequence(parser, dataset, element, offset, value_end, false, err) != 0)
            return -1;
        *offset = value_end;
        return 0;
    }
    element->bytes = parser->bytes + *offset;
    element->size = length;
    if (element->vr == DICOM_UN && !parser->big_endian) {
        enum dicom_vr known = dictionary_vr(parser, element->tag);
        if (known == DICOM_SQ || known == DICOM_UN)
            open_unknown_sequence(parser, dataset, element, *offset);
        else
            element->vr = known;
    }
    if (parser->big_endian)
        swap_value(dataset, element, parser->bytes + *offset);
    *offset += length;
    return 0;
}

static bool only_zeros(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (bytes[i])
            return false;
    }
    return true;
}

static int parse_element(struct parser *parser, struct dicom_dataset *dataset,
                         const struct header *header, size_t *offset, size_t end,
                         struct error **err) {
    struct dicom_element *element = arena_allocate(parser->file->arena, sizeof(*element));
    if (!element)
        return error_set(err, ERROR_LIMIT, "the file has too many elements");
    element->tag = header->tag;
    element->vr = header->vr;
    *offset += header->size;
    if (parse_value(parser, dataset, element, header->length, offset, end, err) != 0)
        return -1;
    if (parser->ran_out)
        return 0;
    dataset_append(dataset, element);
    int64_t representation;
    if (element->tag == TAG_PIXEL_REPRESENTATION && dicom_integer(element, 0, &representation))
        parser->is_signed = representation == 1;
    return 0;
}

int parse_dataset(struct parser *parser, struct dicom_dataset *dataset, size_t *offset, size_t end,
                  struct error **err) {
    bool top = parser->depth == 0;
    while (*offset < end) {
        struct header header;
        if (!read_header(parser, *offset, end, &header)) {
            if (top && only_zeros(parser->bytes + *offset, end - *offset)) {
                *offset = end;
                return 0;
            }
            return ran_out(parser, *offset, "an element's header", err);
        }
        if (top && parser->stop && header.tag >= parser->stop)
            return 0;
        if (top && parser->only_group && DICOM_GROUP(header.tag) != parser->only_group)
            return 0;
        if (header.tag == TAG_ITEM_END && !top) {
            *offset += header.size;
            return 0;
        }
        if (header.tag == TAG_SEQUENCE_END && !top) /* the item's own end is missing */
            return 0;
        if (DICOM_GROUP(header.tag) == 0xfffe)
            return error_set(err, ERROR_CORRUPT, "unexpected delimiter (%04x,%04x) at byte %zu",
                             DICOM_GROUP(header.tag), DICOM_ELEMENT(header.tag), *offset);
        if (top && header.tag == 0 && only_zeros(parser->bytes + *offset, end - *offset)) {
            *offset = end; /* padding after the data set */
            return 0;
        }
        if (parse_element(parser, dataset, &header, offset, end, err) != 0)
            return -1;
        if (parser->ran_out)
            return 0;
    }
    return 0;
}
