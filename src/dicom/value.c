/* Values of elements: as numbers, as UTF-8 text, and setting them. */
#include "dicom/private-dicom.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* LT, ST, UT and UR are one value: a backslash in them is a backslash. */
static bool has_one_value(enum dicom_vr vr) {
    return vr == DICOM_LT || vr == DICOM_ST || vr == DICOM_UT || vr == DICOM_UR;
}

static bool uses_character_set(enum dicom_vr vr) {
    return vr == DICOM_LO || vr == DICOM_LT || vr == DICOM_PN || vr == DICOM_SH || vr == DICOM_ST ||
           vr == DICOM_UC || vr == DICOM_UT;
}

static bool is_bulk(enum dicom_vr vr) {
    return vr == DICOM_OB || vr == DICOM_OD || vr == DICOM_OF || vr == DICOM_OL || vr == DICOM_OV ||
           vr == DICOM_OW || vr == DICOM_UN || vr == DICOM_VR_NONE;
}

static size_t trimmed(const uint8_t *bytes, size_t size) {
    while (size > 0 && (bytes[size - 1] == ' ' || bytes[size - 1] == '\0'))
        size--;
    return size;
}

/* --------------------------------------------------------------- numbers */

/* The n-th piece of a text value of single-byte characters. */
static bool text_piece(const struct dicom_element *element, size_t index, const uint8_t **ret,
                       size_t *ret_size) {
    const uint8_t *start = element->bytes, *end = element->bytes + element->size;
    for (;; index--) {
        const uint8_t *stop = memchr(start, '\\', (size_t)(end - start));
        if (index == 0) {
            if (!stop)
                stop = end;
            while (start < stop && *start == ' ')
                start++;
            *ret = start;
            *ret_size = trimmed(start, (size_t)(stop - start));
            return *ret_size > 0;
        }
        if (!stop)
            return false;
        start = stop + 1;
    }
}

static bool number_of_text(const struct dicom_element *element, size_t index, double *ret) {
    const uint8_t *bytes;
    size_t size;
    char text[65];
    if (element->size == 0 || !text_piece(element, index, &bytes, &size) || size >= sizeof(text))
        return false;
    memcpy(text, bytes, size);
    text[size] = '\0';
    char *comma = strchr(text, ','); /* some writers follow their locale */
    if (comma && !strchr(text, '.'))
        *comma = '.';
    return text_parse_number(text, ret, NULL) == 0;
}

bool dicom_number(const struct dicom_element *element, size_t index, double *ret) {
    if (element->vr == DICOM_IS || element->vr == DICOM_DS)
        return number_of_text(element, index, ret);
    size_t width = dicom_vr_width(element->vr);
    if (width < 2 || element->size / width <= index)
        return false;
    const uint8_t *bytes = element->bytes + index * width;
    float single;
    uint32_t bits;
    uint64_t long_bits;
    switch (element->vr) {
    case DICOM_US:
    case DICOM_OW:
        *ret = load16(bytes);
        return true;
    case DICOM_SS:
        *ret = (int16_t)load16(bytes);
        return true;
    case DICOM_UL:
    case DICOM_OL:
        *ret = load32(bytes);
        return true;
    case DICOM_SL:
        *ret = (int32_t)load32(bytes);
        return true;
    case DICOM_FL:
    case DICOM_OF:
        bits = load32(bytes);
        memcpy(&single, &bits, sizeof(single));
        *ret = (double)single;
        return true;
    case DICOM_FD:
    case DICOM_OD:
        long_bits = load64(bytes);
        memcpy(ret, &long_bits, sizeof(*ret));
        return true;
    case DICOM_UV:
    case DICOM_OV:
        *ret = (double)load64(bytes);
        return true;
    case DICOM_SV:
        *ret = (double)(int64_t)load64(bytes);
        return true;
    default:
        return false;
    }
}

bool dicom_integer(const struct dicom_element *element, size_t index, int64_t *ret) {
    double number;
    if (element->vr == DICOM_SV && element->size / 8 > index) {
        *ret = (int64_t)load64(element->bytes + index * 8);
        return true;
    }
    if (!dicom_number(element, index, &number) || !(fabs(number) <= 9007199254740992.0) ||
        number != floor(number))
        return false;
    *ret = (int64_t)number;
    return true;
}

int64_t dicom_get_integer(const struct dicom_dataset *dataset, uint32_t tag, int64_t fallback) {
    const struct dicom_element *element = dicom_find(dataset, tag);
    int64_t value;
    return element && dicom_integer(element, 0, &value) ? value : fallback;
}

size_t dicom_value_count(const struct dicom_element *element) {
    if (element->items || element->vr == DICOM_SQ)
        return element->item_count;
    if (element->size == 0)
        return 0;
    if (is_bulk(element->vr) || has_one_value(element->vr))
        return 1;
    if (!dicom_vr_is_text(element->vr))
        return element->size / dicom_vr_width(element->vr);
    /* Counting raw backslashes is right for every set but Shift-JIS and GBK inside LO, PN, SH. */
    size_t count = 1;
    for (size_t i = 0; i < element->size; i++)
        count += element->bytes[i] == '\\';
    return count;
}

/* ------------------------------------------------------------------ text */

static void terms_in_force(const struct dicom_dataset *dataset, char *terms, size_t size) {
    terms[0] = '\0';
    for (; dataset; dataset = dataset->parent) {
        const struct dicom_element *element = dicom_find(dataset, TAG_CHARACTER_SET);
        if (!element || !element->bytes)
            continue;
        size_t length = trimmed(element->bytes, element->size);
        if (length >= size)
            length = size - 1;
        memcpy(terms, element->bytes, length);
        terms[length] = '\0';
        return;
    }
}

static void append_float(double number, enum dicom_vr vr, struct buffer *out) {
    char text[40];
    bool single = vr == DICOM_FL || vr == DICOM_OF;
    for (int digits = single ? 6 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, number);
        double back = strtod(text, NULL);
        if (single ? (float)back == (float)number : back == number)
            break;
    }
    buffer_append(out, text);
}

static void append_number(const struct dicom_element *element, size_t index, struct buffer *out) {
    const uint8_t *bytes = element->bytes + index * dicom_vr_width(element->vr);
    double number = 0;
    switch (element->vr) {
    case DICOM_AT:
        buffer_format(out, "(%04x,%04x)", load16(bytes), load16(bytes + 2));
        break;
    case DICOM_UV:
        buffer_format(out, "%" PRIu64, load64(bytes));
        break;
    case DICOM_SV:
        buffer_format(out, "%" PRId64, (int64_t)load64(bytes));
        break;
    case DICOM_FL:
    case DICOM_FD:
        if (dicom_number(element, index, &number))
            append_float(number, element->vr, out);
        break;
    default:
        if (dicom_number(element, index, &number))
            buffer_format(out, "%.0f", number);
    }
}

static void append_decoded(const struct dicom_dataset *dataset, const struct dicom_element *element,
                           struct buffer *out) {
    size_t size = trimmed(element->bytes, element->size);
    char terms[256] = "";
    if (uses_character_set(element->vr))
        terms_in_force(dataset, terms, sizeof(terms));
    charset_decode(terms, element->bytes, size, element->vr == DICOM_PN, out);
}

void dicom_text(const struct dicom_dataset *dataset, const struct dicom_element *element,
                struct buffer *out) {
    if (!element->bytes || element->items || is_bulk(element->vr) || element->vr == DICOM_SQ)
        return;
    if (dicom_vr_is_text(element->vr)) {
        append_decoded(dataset, element, out);
        return;
    }
    size_t count = dicom_value_count(element);
    for (size_t i = 0; i < count && !out->failed; i++) {
        if (i)
            buffer_append_char(out, '\\');
        append_number(element, i, out);
    }
}

bool dicom_text_value(const struct dicom_dataset *dataset, const struct dicom_element *element,
                      size_t index, struct buffer *out) {
    if (!element->bytes || element->items || is_bulk(element->vr) || element->vr == DICOM_SQ)
        return false;
    if (!dicom_vr_is_text(element->vr)) {
        if (index >= dicom_value_count(element))
            return false;
        append_number(element, index, out);
        return true;
    }
    OWN_BUFFER text = {0};
    append_decoded(dataset, element, &text);
    const char *start = buffer_text(&text), *stop;
    if (has_one_value(element->vr)) {
        if (index > 0)
            return false;
        buffer_append(out, start);
        return element->size > 0;
    }
    for (; (stop = strchr(start, '\\')) && index > 0; index--)
        start = stop + 1;
    if (index > 0 || element->size == 0)
        return false;
    size_t size = stop ? (size_t)(stop - start) : strlen(start);
    buffer_append_bytes(out, start, trimmed((const uint8_t *)start, size));
    return true;
}

bool dicom_get_text(const struct dicom_dataset *dataset, uint32_t tag, char *text, size_t size) {
    text[0] = '\0';
    const struct dicom_element *element = dicom_find(dataset, tag);
    OWN_BUFFER value = {0};
    if (!element || !dicom_text_value(dataset, element, 0, &value))
        return false;
    const char *start = buffer_text(&value);
    while (*start == ' ')
        start++;
    size_t length = strlen(start);
    if (length >= size) {
        length = size - 1;
        while (length > 0 && ((uint8_t)start[length] & 0xc0) == 0x80)
            length--;
    }
    memcpy(text, start, length);
    text[length] = '\0';
    return length > 0;
}

/* --------------------------------------------------------------- editing */

int dicom_set_bytes(struct dicom_file *file, struct dicom_element *element, const void *bytes,
                    size_t size, struct error **err) {
    char *copy = arena_copy_bytes(file->arena, bytes, size);
    if (!copy)
        return error_set_memory(err);
    element->bytes = (const uint8_t *)copy;
    element->size = size;
    element->items = element->last_item = NULL;
    element->item_count = 0;
    element->encapsulated = false;
    return 0;
}

/* The element with this tag; a new one at its place in tag order when there is none. */
static struct dicom_element *element_for(struct dicom_file *file, struct dicom_dataset *dataset,
                                         uint32_t tag, struct error **err) {
    struct dicom_element *element = dicom_find(dataset, tag);
    if (element)
        return element;
    element = arena_allocate(file->arena, sizeof(*element));
    if (!element) {
        error_set_memory(err);
        return NULL;
    }
    element->tag = tag;
    struct dicom_element **link = &dataset->first;
    while (*link && (*link)->tag < tag)
        link = &(*link)->next;
    element->next = *link;
    *link = element;
    if (!element->next)
        dataset->last = element;
    dataset->count++;
    return element;
}

int dicom_set_text(struct dicom_file *file, struct dicom_dataset *dataset, uint32_t tag,
                   enum dicom_vr vr, const char *text, struct error **err) {
    struct dicom_element *element = element_for(file, dataset, tag, err);
    if (!element)
        return -1;
    element->vr = vr;
    return dicom_set_bytes(file, element, text, strlen(text), err);
}

struct dicom_dataset *dicom_add_item(struct dicom_file *file, struct dicom_dataset *dataset,
                                     uint32_t tag, struct error **err) {
    struct dicom_element *element = element_for(file, dataset, tag, err);
    struct dicom_item *item = arena_allocate(file->arena, sizeof(*item));
    if (!element)
        return NULL;
    if (!item) {
        error_set_memory(err);
        return NULL;
    }
    element->vr = DICOM_SQ;
    element->bytes = NULL;
    element->size = 0;
    element_append_item(element, item);
    item->dataset.parent = dataset;
    return &item->dataset;
}
