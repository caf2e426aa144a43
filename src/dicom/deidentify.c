/*
 * The Basic Application Level Confidentiality Profile (PS3.15 annex E), applied to the tree.
 *
 * Beyond the table: private attributes go; so do attributes that the dictionary does not know,
 * group lengths and trailing padding. A sequence that the table wants as a dummy keeps its
 * structure and every text in it becomes a dummy, save the coded names and units of measurements
 * that a structured report cannot do without.
 */
#include "dicom/private-dicom.h"

#define TAG_ISSUER       DICOM_TAG(0x0010, 0x0021)
#define TAG_REMOVED      DICOM_TAG(0x0012, 0x0062)
#define TAG_METHOD       DICOM_TAG(0x0012, 0x0063)
#define TAG_METHOD_CODES DICOM_TAG(0x0012, 0x0064)
#define TAG_TEMPORAL     DICOM_TAG(0x0028, 0x0303)
#define TAG_CONCEPT_NAME DICOM_TAG(0x0040, 0xa043)
#define TAG_UNITS        DICOM_TAG(0x0040, 0x08ea)
#define TAG_CODE_VALUE   DICOM_TAG(0x0008, 0x0100)
#define TAG_CODE_SCHEME  DICOM_TAG(0x0008, 0x0102)
#define TAG_CODE_MEANING DICOM_TAG(0x0008, 0x0104)

const char *deidentify_action_name(enum deidentify_action action) {
    static const char *const names[DEIDENTIFY_COUNT] = {"removed",   "emptied", "dummy",  "uid",
                                                        "pseudonym", "private", "unknown"};
    return names[action];
}

struct deidentifier {
    struct dicom_file *file;
    const struct dicom_key *key;
    struct deidentify_report *report;
    char pseudonym[32]; /* "" when the file names no patient */
    struct error **err;
};

/* ------------------------------------------------------------ keyed values */

/* Decimal text of a 128-bit number, most significant byte first. */
static void decimal_of(const uint8_t bytes[16], char text[40]) {
    char reversed[40];
    size_t count = 0;
    uint8_t number[16];
    memcpy(number, bytes, 16);
    bool left = true;
    while (left) {
        unsigned remainder = 0;
        left = false;
        for (size_t i = 0; i < 16; i++) {
            unsigned value = remainder << 8 | number[i];
            number[i] = (uint8_t)(value / 10);
            remainder = value % 10;
            left = left || number[i];
        }
        reversed[count++] = (char)('0' + remainder);
    }
    for (size_t i = 0; i < count; i++)
        text[i] = reversed[count - 1 - i];
    text[count] = '\0';
}

static size_t trim(const uint8_t *bytes, size_t size) {
    while (size > 0 && (bytes[size - 1] == ' ' || bytes[size - 1] == '\0'))
        size--;
    return size;
}

/* "2.25." and a UUID made from the key and the old UID (PS3.5 B.2). */
static int new_uid(struct deidentifier *self, const uint8_t *old, size_t size, char text[64]) {
    uint8_t digest[SHA256_SIZE];
    if (hmac_sha256_of(self->key->bytes, "uid", old, size, digest, self->err) != 0)
        return -1;
    digest[6] = (digest[6] & 0x0f) | 0x80; /* version 8: made by its owner's rule */
    digest[8] = (digest[8] & 0x3f) | 0x80;
    char number[40];
    decimal_of(digest, number);
    snprintf(text, 64, "2.25.%s", number);
    return 0;
}

int dicom_neutral_name(const struct dicom_file *file, const struct dicom_key *key, char *name,
                       size_t size, struct error **err) {
    char uid[66], modality[20], hex[SHA256_HEX_SIZE];
    uint8_t digest[SHA256_SIZE];
    dicom_get_text(&file->dataset, TAG_SOP_INSTANCE, uid, sizeof(uid));
    dicom_get_text(&file->dataset, TAG_MODALITY, modality, sizeof(modality));
    int result;
    if (uid[0]) /* without a UID, the bytes themselves */
        result = hmac_sha256_of(key->bytes, "name", uid, strlen(uid), digest, err);
    else
        result =
            hmac_sha256_of(key->bytes, "name", file->bytes.data, file->bytes.size, digest, err);
    if (result != 0)
        return -1;
    hex_encode(digest, 6, hex);
    bool plain = strlen(modality) == 2; /* CT, MR…; anything else is not trusted in a name */
    for (const char *c = modality; *c; c++)
        plain = plain && *c >= 'A' && *c <= 'Z';
    snprintf(name, size, "%s-%s", plain ? modality : "image", hex);
    return 0;
}

/* ----------------------------------------------------------------- actions */

static void count(struct deidentifier *self, uint32_t tag, enum deidentify_action action) {
    if (!self->report)
        return;
    self->report->counts[action]++;
    if (self->report->act)
        self->report->act(tag, action, self->report->context);
}

static void set_empty(struct dicom_element *element) {
    element->bytes = (const uint8_t *)"";
    element->size = 0;
    element->items = element->last_item = NULL;
    element->item_count = 0;
    element->encapsulated = false;
}

static const char *dummy_text(enum dicom_vr vr) {
    switch (vr) {
    case DICOM_AS:
        return "000D";
    case DICOM_DA:
        return "19000101";
    case DICOM_DS:
    case DICOM_IS:
        return "0";
    case DICOM_DT:
        return "19000101000000";
    case DICOM_TM:
        return "000000";
    case DICOM_UR:
        return "about:blank";
    default:
        return "ANONYMIZED";
    }
}

static int set_text(struct deidentifier *self, struct dicom_element *element, const char *text) {
    if (!dicom_vr_is_text(element->vr)) /* a name hidden in another representation */
        element->vr = DICOM_LO;
    return dicom_set_bytes(self->file, element, text, strlen(text), self->err);
}

static int remap_uids(struct deidentifier *self, struct dicom_element *element) {
    OWN_BUFFER text = {0};
    const uint8_t *at = element->bytes, *end = element->bytes + element->size;
    while (at && at < end) {
        const uint8_t *stop = memchr(at, '\\', (size_t)(end - at));
        size_t size = trim(at, (size_t)((stop ? stop : end) - at));
        char fresh[64] = "";
        bool of_the_standard = size > 14 && memcmp(at, "1.2.840.10008.", 14) == 0;
        if (of_the_standard) /* well-known frames of reference and the like */
            buffer_append_bytes(&text, at, size);
        else if (size > 0 && new_uid(self, at, size, fresh) != 0)
            return -1;
        buffer_append(&text, fresh);
        if (!stop)
            break;
        buffer_append_char(&text, '\\');
        at = stop + 1;
    }
    if (buffer_check(&text, self->err) != 0)
        return -1;
    count(self, element->tag, DEIDENTIFY_UID);
    return dicom_set_bytes(self->file, element, buffer_text(&text), text.size, self->err);
}

static int clean_dataset(struct deidentifier *self, struct dicom_dataset *dataset, bool all_texts);

static int clean_items(struct deidentifier *self, struct dicom_element *element, bool all_texts) {
    for (struct dicom_item *item = element->items; item; item = item->next) {
        if (clean_dataset(self, &item->dataset, all_texts) != 0)
            return -1;
    }
    return 0;
}

static int make_dummy(struct deidentifier *self, struct dicom_element *element) {
    count(self, element->tag, DEIDENTIFY_DUMMY);
    if (element->vr == DICOM_UI)
        return remap_uids(self, element);
    if (dicom_vr_is_text(element->vr))
        return set_text(self, element, dummy_text(element->vr));
    static const uint8_t zeros[8];
    size_t width = dicom_vr_width(element->vr);
    return dicom_set_bytes(self->file, element, zeros, width < 2 ? 2 : width, self->err);
}

static int make_pseudonym(struct deidentifier *self, struct dicom_element *element) {
    if (!element->items && trim(element->bytes, element->size) == 0)
        return 0;
    count(self, element->tag, DEIDENTIFY_PSEUDONYM);
    return set_text(self, element, self->pseudonym);
}

/* Texts that could be anything. Codes, numbers and dates that the table leaves alone stay. */
static bool is_free_text(enum dicom_vr vr) {
    return vr == DICOM_PN || vr == DICOM_LO || vr == DICOM_SH || vr == DICOM_LT || vr == DICOM_ST ||
           vr == DICOM_UT || vr == DICOM_UC || vr == DICOM_UR || vr == DICOM_AE || vr == DICOM_DA ||
           vr == DICOM_TM || vr == DICOM_DT || vr == DICOM_AS;
}

/* What to do with an element; 0: nothing, 'P': private, 'N': unknown to the dictionary. */
static char action_of(const struct dicom_element *element) {
    if (dicom_tag_is_private(element->tag))
        return 'P';
    if (DICOM_ELEMENT(element->tag) == 0 || element->tag == TAG_TRAILING_PADDING)
        return 'X';
    char action = dicom_profile_action(element->tag);
    if (action)
        return action;
    const struct dicom_attribute *attribute = dicom_attribute(element->tag);
    /* A sequence that did not parse as one may hide anything. */
    if (!attribute || (attribute->vr == DICOM_SQ && element->vr != DICOM_SQ) ||
        DICOM_GROUP(element->tag) <= 0x0002)
        return 'N';
    return 0;
}

static bool is_removal(char action) {
    return action == 'X' || action == 'P' || action == 'N';
}

static int clean_element(struct deidentifier *self, struct dicom_element *element, char action,
                         bool all_texts) {
    bool keeps_codes = element->tag == TAG_CONCEPT_NAME || element->tag == TAG_UNITS;
    if (element->tag == TAG_PATIENT_ID || element->tag == TAG_PATIENT_NAME)
        return make_pseudonym(self, element);
    if (element->vr == DICOM_SQ && action == 'Z') {
        count(self, element->tag, DEIDENTIFY_EMPTIED);
        set_empty(element);
        return 0;
    }
    if (element->vr == DICOM_SQ) {
        if (action == 'D')
            count(self, element->tag, DEIDENTIFY_DUMMY);
        return clean_items(self, element, (all_texts || action == 'D') && !keeps_codes);
    }
    if (element->encapsulated && action) { /* a document in fragments, say */
        count(self, element->tag, DEIDENTIFY_EMPTIED);
        set_empty(element);
        return 0;
    }
    if (element->encapsulated)
        return 0; /* pixels */
    if (action == 'U')
        return element->vr == DICOM_UI ? remap_uids(self, element) : make_dummy(self, element);
    if (action == 'Z') {
        count(self, element->tag, DEIDENTIFY_EMPTIED);
        set_empty(element);
        return 0;
    }
    if (action == 'D' || (all_texts && is_free_text(element->vr) && element->size > 0))
        return make_dummy(self, element);
    return 0;
}

static int clean_dataset(struct deidentifier *self, struct dicom_dataset *dataset, bool all_texts) {
    struct dicom_element *previous = NULL;
    for (struct dicom_element *element = dataset->first; element; element = element->next) {
        char action = action_of(element);
        if (is_removal(action)) {
            count(self, element->tag,
                  action == 'P'   ? DEIDENTIFY_PRIVATE
                  : action == 'N' ? DEIDENTIFY_UNKNOWN
                                  : DEIDENTIFY_REMOVED);
            if (previous)
                previous->next = element->next;
            else
                dataset->first = element->next;
            dataset->count--;
            continue;
        }
        if (clean_element(self, element, action, all_texts) != 0)
            return -1;
        previous = element;
    }
    dataset->last = previous;
    return 0;
}

/* ---------------------------------------------------------------- the whole */

static int make_patient(struct deidentifier *self) {
    OWN_BUFFER who = {0};
    const struct dicom_dataset *dataset = &self->file->dataset;
    const struct dicom_element *id = dicom_find(dataset, TAG_PATIENT_ID);
    const struct dicom_element *issuer = dicom_find(dataset, TAG_ISSUER);
    const struct dicom_element *name = dicom_find(dataset, TAG_PATIENT_NAME);
    if (id && trim(id->bytes, id->size) > 0) {
        buffer_append_bytes(&who, id->bytes, trim(id->bytes, id->size));
        buffer_append_char(&who, '\n');
        if (issuer)
            buffer_append_bytes(&who, issuer->bytes, trim(issuer->bytes, issuer->size));
    } else if (name) {
        buffer_append_bytes(&who, name->bytes, trim(name->bytes, name->size));
    }
    uint8_t digest[SHA256_SIZE];
    char hex[11];
    if (buffer_check(&who, self->err) != 0 ||
        hmac_sha256_of(self->key->bytes, "patient", buffer_text(&who), who.size, digest,
                       self->err) != 0)
        return -1;
    hex_encode(digest, 5, hex);
    for (char *c = hex; *c; c++)
        *c = (char)(*c >= 'a' ? *c - 'a' + 'A' : *c);
    snprintf(self->pseudonym, sizeof(self->pseudonym), "ANON-%s", hex);
    return 0;
}

static int record_method(struct dicom_file *file, struct error **err) {
    struct dicom_dataset *dataset = &file->dataset;
    /* Earlier methods stay true, but their texts are free texts: only ours is kept. */
    struct dicom_element *codes = dicom_find(dataset, TAG_METHOD_CODES);
    if (codes)
        set_empty(codes);
    if (dicom_set_text(file, dataset, TAG_REMOVED, DICOM_CS, "YES", err) != 0 ||
        dicom_set_text(file, dataset, TAG_METHOD, DICOM_LO,
                       "Glovebox: PS3.15 Basic Profile, table of 2024b", err) != 0 ||
        dicom_set_text(file, dataset, TAG_TEMPORAL, DICOM_CS, "REMOVED", err) != 0)
        return -1;
    struct dicom_dataset *code = dicom_add_item(file, dataset, TAG_METHOD_CODES, err);
    if (!code)
        return -1;
    if (dicom_set_text(file, code, TAG_CODE_VALUE, DICOM_SH, "113100", err) != 0 ||
        dicom_set_text(file, code, TAG_CODE_SCHEME, DICOM_SH, "DCM", err) != 0 ||
        dicom_set_text(file, code, TAG_CODE_MEANING, DICOM_LO,
                       "Basic Application Confidentiality Profile", err) != 0)
        return -1;
    return 0;
}

int dicom_deidentify(struct dicom_file *file, const struct dicom_key *key,
                     struct deidentify_report *report, struct error **err) {
    struct deidentifier self = {.file = file, .key = key, .report = report, .err = err};
    char burned_in[20];
    dicom_get_text(&file->dataset, TAG_BURNED_IN, burned_in, sizeof(burned_in));
    if (report)
        report->burned_in = text_equal(burned_in, "YES");
    if (make_patient(&self) != 0 || clean_dataset(&self, &file->dataset, false) != 0)
        return -1;
    /* The writer makes a fresh preamble and meta header; the old one must not be read again. */
    file->meta = (struct dicom_dataset){0};
    return record_method(file, err);
}
