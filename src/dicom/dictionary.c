/* The data dictionary, value representations and transfer syntaxes. */
#include "dicom/private-dicom.h"

#include <stdlib.h>

#include "dicom-tables.h"

/* ------------------------------------------------- value representations */

static const struct {
    char name[3];
    bool text, long_header;
    uint8_t width;
    char padding;
} vrs[DICOM_VR_COUNT] = {
    [DICOM_VR_NONE] = {"??", false, true, 0, '\0'}, [DICOM_AE] = {"AE", true, false, 0, ' '},
    [DICOM_AS] = {"AS", true, false, 0, ' '},       [DICOM_AT] = {"AT", false, false, 4, '\0'},
    [DICOM_CS] = {"CS", true, false, 0, ' '},       [DICOM_DA] = {"DA", true, false, 0, ' '},
    [DICOM_DS] = {"DS", true, false, 0, ' '},       [DICOM_DT] = {"DT", true, false, 0, ' '},
    [DICOM_FD] = {"FD", false, false, 8, '\0'},     [DICOM_FL] = {"FL", false, false, 4, '\0'},
    [DICOM_IS] = {"IS", true, false, 0, ' '},       [DICOM_LO] = {"LO", true, false, 0, ' '},
    [DICOM_LT] = {"LT", true, false, 0, ' '},       [DICOM_OB] = {"OB", false, true, 1, '\0'},
    [DICOM_OD] = {"OD", false, true, 8, '\0'},      [DICOM_OF] = {"OF", false, true, 4, '\0'},
    [DICOM_OL] = {"OL", false, true, 4, '\0'},      [DICOM_OV] = {"OV", false, true, 8, '\0'},
    [DICOM_OW] = {"OW", false, true, 2, '\0'},      [DICOM_PN] = {"PN", true, false, 0, ' '},
    [DICOM_SH] = {"SH", true, false, 0, ' '},       [DICOM_SL] = {"SL", false, false, 4, '\0'},
    [DICOM_SQ] = {"SQ", false, true, 0, '\0'},      [DICOM_SS] = {"SS", false, false, 2, '\0'},
    [DICOM_ST] = {"ST", true, false, 0, ' '},       [DICOM_SV] = {"SV", false, true, 8, '\0'},
    [DICOM_TM] = {"TM", true, false, 0, ' '},       [DICOM_UC] = {"UC", true, true, 0, ' '},
    [DICOM_UI] = {"UI", true, false, 0, '\0'},      [DICOM_UL] = {"UL", false, false, 4, '\0'},
    [DICOM_UN] = {"UN", false, true, 1, '\0'},      [DICOM_UR] = {"UR", true, true, 0, ' '},
    [DICOM_US] = {"US", false, false, 2, '\0'},     [DICOM_UT] = {"UT", true, true, 0, ' '},
    [DICOM_UV] = {"UV", false, true, 8, '\0'},
};

const char *dicom_vr_name(enum dicom_vr vr) {
    return vrs[vr].name;
}

enum dicom_vr dicom_vr_find(char first, char second) {
    for (size_t i = 1; i < DICOM_VR_COUNT; i++) {
        if (vrs[i].name[0] == first && vrs[i].name[1] == second)
            return (enum dicom_vr)i;
    }
    return DICOM_VR_NONE;
}

bool dicom_vr_is_text(enum dicom_vr vr) {
    return vrs[vr].text;
}

size_t dicom_vr_width(enum dicom_vr vr) {
    return vrs[vr].width;
}

bool dicom_vr_has_long_header(enum dicom_vr vr) {
    return vrs[vr].long_header;
}

char dicom_vr_padding(enum dicom_vr vr) {
    return vrs[vr].padding;
}

/* ---------------------------------------------------------------- attributes */

static int compare_attribute(const void *key, const void *item) {
    uint32_t tag = *(const uint32_t *)key;
    uint32_t other = ((const struct dicom_attribute *)item)->tag;
    return tag < other ? -1 : tag > other;
}

const struct dicom_attribute *dicom_attribute(uint32_t tag) {
    if (dicom_tag_is_private(tag))
        return NULL;
    const struct dicom_attribute *found =
        bsearch(&tag, attributes_single, ARRAY_SIZE(attributes_single),
                sizeof(attributes_single[0]), compare_attribute);
    if (found)
        return found;
    for (size_t i = 0; i < ARRAY_SIZE(attributes_repeating); i++) {
        if ((tag & attributes_repeating[i].mask) == attributes_repeating[i].tag)
            return &attributes_repeating[i];
    }
    return NULL;
}

static const struct dicom_attribute *find_keyword(const char *keyword) {
    for (size_t i = 0; i < ARRAY_SIZE(attributes_single); i++) {
        if (text_equal(attributes_single[i].keyword, keyword))
            return &attributes_single[i];
    }
    return NULL;
}

int dicom_tag_parse(const char *text, uint32_t *ret_tag, struct error **err) {
    const struct dicom_attribute *attribute = text[0] ? find_keyword(text) : NULL;
    if (attribute) {
        *ret_tag = attribute->tag;
        return 0;
    }
    char digits[9];
    size_t count = 0;
    for (const char *c = text; *c && count < 9; c++) {
        if (!strchr("(), ", *c))
            digits[count++] = *c;
    }
    uint8_t bytes[4];
    if (count == 8) {
        digits[8] = '\0';
        if (hex_decode(digits, bytes, 4, NULL) == 0) {
            *ret_tag = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 |
                       (uint32_t)bytes[2] << 8 | bytes[3];
            return 0;
        }
    }
    return error_set(err, ERROR_USAGE, "%s is neither a DICOM keyword nor a tag like 0010,0020",
                     text);
}

/* ------------------------------------------------------------------- profile */

char dicom_profile_action(uint32_t tag) {
    /* Rows with wildcards lie among the others in order of their lowest tag: too few to matter,
     * so they are looked at after the exact search fails. */
    size_t low = 0, high = ARRAY_SIZE(profile_rows);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (profile_rows[middle].tag < tag)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < ARRAY_SIZE(profile_rows) && profile_rows[low].tag == tag)
        return profile_rows[low].action;
    for (size_t i = 0; i < ARRAY_SIZE(profile_rows); i++) {
        if (profile_rows[i].mask != UINT32_MAX &&
            (tag & profile_rows[i].mask) == profile_rows[i].tag)
            return profile_rows[i].action;
    }
    return 0;
}

const char dicom_deidentify_source[] =
    "DICOM PS3.15 Table E.1-1, Basic Application Level Confidentiality Profile, edition 2024b";

/* ----------------------------------------------------------- transfer syntaxes */

static const struct dicom_syntax syntaxes[] = {
    {"1.2.840.10008.1.2", "Implicit VR Little Endian", DICOM_IMPLICIT, CODEC_NATIVE},
    {"1.2.840.10008.1.2.1", "Explicit VR Little Endian", DICOM_EXPLICIT, CODEC_NATIVE},
    {"1.2.840.10008.1.2.1.99", "Deflated Explicit VR Little Endian", DICOM_DEFLATED, CODEC_NATIVE},
    {"1.2.840.10008.1.2.2", "Explicit VR Big Endian", DICOM_BIG_ENDIAN, CODEC_NATIVE},
    {"1.2.840.10008.1.2.4.50", "JPEG Baseline", DICOM_ENCAPSULATED, CODEC_JPEG},
    {"1.2.840.10008.1.2.4.51", "JPEG Extended", DICOM_ENCAPSULATED, CODEC_JPEG_EXTENDED},
    {"1.2.840.10008.1.2.4.57", "JPEG Lossless", DICOM_ENCAPSULATED, CODEC_JPEG_LOSSLESS},
    {"1.2.840.10008.1.2.4.70", "JPEG Lossless SV1", DICOM_ENCAPSULATED, CODEC_JPEG_LOSSLESS},
    {"1.2.840.10008.1.2.4.80", "JPEG-LS Lossless", DICOM_ENCAPSULATED, CODEC_JPEG_LS},
    {"1.2.840.10008.1.2.4.81", "JPEG-LS Near-lossless", DICOM_ENCAPSULATED, CODEC_JPEG_LS},
    {"1.2.840.10008.1.2.4.90", "JPEG 2000 Lossless", DICOM_ENCAPSULATED, CODEC_JPEG_2000},
    {"1.2.840.10008.1.2.4.91", "JPEG 2000", DICOM_ENCAPSULATED, CODEC_JPEG_2000},
    {"1.2.840.10008.1.2.5", "RLE Lossless", DICOM_ENCAPSULATED, CODEC_RLE},
};

const struct dicom_syntax *dicom_syntax(const char *uid) {
    for (size_t i = 0; i < ARRAY_SIZE(syntaxes); i++) {
        if (text_equal(syntaxes[i].uid, uid))
            return &syntaxes[i];
    }
    /* Others exist (HTJ2K, video, JPIP…): all are explicit little endian around the pixels. */
    return NULL;
}
