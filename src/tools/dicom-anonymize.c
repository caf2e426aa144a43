/* glovebox tool dicom-anonymize */
#include "tools/private-tools.h"

#include "dicom/dicom.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct anonymizer {
    struct dicom_key key;
    json_t *actions; /* tag -> action -> count */
    json_t *burned_in;
    uint64_t counts[DEIDENTIFY_COUNT];
};

static const struct tool_option options[] = {
    {"key-file", "FILE",
     "secret for new UIDs and pseudonyms: with the same file, every run gives the same ones; "
     "without, a random key is used for this run and thrown away",
     NULL},
    TOOL_BATCH_OPTIONS,
};

static int load_key(const char *path, struct dicom_key *key, struct error **err) {
    if (!path)
        return random_bytes(key->bytes, sizeof(key->bytes), err);
    OWN_BUFFER secret = {0};
    if (file_read_all(AT_FDCWD, path, 1 << 20, &secret, err) != 0)
        return -1;
    if (secret.size < 16)
        return error_set(err, ERROR_INVALID, "the key file has %zu bytes, at least 16 are needed",
                         secret.size);
    sha256_of(secret.data, secret.size, key->bytes);
    return 0;
}

/* DICOMDIRs list file names and patients of a medium that no longer exists as it was. */
static bool is_directory_file(const struct dicom_file *file) {
    char uid[66];
    dicom_get_text(&file->meta, DICOM_TAG(0x0002, 0x0002), uid, sizeof(uid));
    return text_equal(uid, "1.2.840.10008.1.3.10");
}

static void on_action(uint32_t tag, enum deidentify_action action, void *context) {
    struct anonymizer *self = context;
    char key[10];
    /* Private tags are told as one: their numbers say which vendor's machine it was. */
    if (action == DEIDENTIFY_PRIVATE || action == DEIDENTIFY_UNKNOWN)
        return;
    snprintf(key, sizeof(key), "%08X", tag);
    json_t *entry = json_object_get(self->actions, key);
    if (!entry) {
        const struct dicom_attribute *attribute = dicom_attribute(tag);
        entry = json_pack("{s:s, s:s, s:i}", "keyword", attribute ? attribute->keyword : "",
                          "action", deidentify_action_name(action), "count", 0);
        json_object_set_new(self->actions, key, entry);
    }
    json_object_set_new(entry, "count", json_integer(json_get_integer(entry, "count", 0) + 1));
}

/* A name that is not taken: instance UIDs should be unique, and sometimes are not. */
static int open_output(struct batch *batch, const char *base, char *name, size_t size,
                       struct error **err) {
    for (unsigned i = 1; i < 100000; i++) {
        if (i == 1)
            snprintf(name, size, "%s.dcm", base);
        else
            snprintf(name, size, "%s-%u.dcm", base, i);
        int fd = openat(batch->output, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd >= 0)
            return fd;
        if (errno != EEXIST)
            return error_set_errno(err, errno, "cannot write the output");
    }
    return error_set(err, ERROR_LIMIT, "too many files with one instance UID");
}

static int anonymize_one(struct batch *batch, struct error **err) {
    struct anonymizer *self = batch->context;
    struct deidentify_report report = {.act = on_action, .context = self};
    OWN_DICOM file = NULL;
    char base[64], name[80];
    int outcome = dicom_read(batch->directory, batch->name, &file, err);
    if (outcome != DICOM_OK)
        return outcome == DICOM_NOT ? BATCH_SKIPPED : -1;
    if (is_directory_file(file))
        return BATCH_SKIPPED;
    if (dicom_neutral_name(file, &self->key, base, sizeof(base), err) != 0 ||
        dicom_deidentify(file, &self->key, &report, err) != 0)
        return -1;
    OWN_FD fd = open_output(batch, base, name, sizeof(name), err);
    if (fd < 0)
        return -1;
    if (dicom_write(file, fd, err) != 0) {
        unlinkat(batch->output, name, 0);
        return -1;
    }
    for (size_t i = 0; i < DEIDENTIFY_COUNT; i++)
        self->counts[i] += report.counts[i];
    if (report.burned_in)
        json_array_append_new(self->burned_in, json_string(name));
    return BATCH_DONE;
}

static int add_report(struct batch *batch, struct anonymizer *self, struct error **err) {
    json_t *counts = json_object();
    for (size_t i = 0; i < DEIDENTIFY_COUNT; i++)
        json_object_set_new(counts, deidentify_action_name((enum deidentify_action)i),
                            json_integer((json_int_t)self->counts[i]));
    OWN_JSON more =
        json_pack("{s:s, s:s, s:o, s:O, s:O}", "profile", dicom_deidentify_source, "key",
                  tool_value(batch->call, "key-file") ? "file" : "random", "actions", counts,
                  "attributes", self->actions, "burned_in", self->burned_in);
    if (!more || json_object_update(batch->result, more) != 0)
        return error_set_memory(err);
    if (json_array_size(self->burned_in) > 0)
        log_message(LOG_WARNING,
                    "dicom-anonymize: %zu files say that their pixels carry identifying text; "
                    "pixels are not changed",
                    json_array_size(self->burned_in));
    return 0;
}

static int run(const struct tool_call *call, struct error **err) {
    OWN_JSON actions = json_object();
    OWN_JSON burned_in = json_array();
    struct anonymizer self = {.actions = actions, .burned_in = burned_in};
    OWN_BATCH batch = {
        .kind = "DICOM file",
        .each = anonymize_one,
        .context = &self,
        .hide_names = true,
        .output = -1,
    };
    if (!actions || !burned_in)
        return error_set_memory(err);
    if (load_key(tool_value(call, "key-file"), &self.key, err) != 0 ||
        batch_open(&batch, call, err) != 0 || batch_walk(&batch, err) != 0 ||
        add_report(&batch, &self, err) != 0)
        return -1;
    return batch_finish(&batch, err);
}

const struct tool tool_dicom_anonymize = {
    .name = "dicom-anonymize",
    .summary = "Removes identity from DICOM files, by the Basic Profile of PS3.15 Annex E",
    .input = "a DICOM file, or a directory of them",
    .output = "one MODALITY-DIGITS.dcm a file, and result.json",
    .help =
        "Attributes are removed, emptied, replaced by dummies or given new UIDs as Table E.1-1 "
        "says, in nested sequences too; private attributes and those that the standard does not "
        "know are removed. PatientID and PatientName become one pseudonym a patient. The preamble "
        "is zeroed and the meta header is made anew; Patient Identity Removed and the method are "
        "recorded. Pixels are not changed: files that say that they carry burned-in text are "
        "listed in result.json.\n"
        "New UIDs and pseudonyms are made from a key (HMAC-SHA256), so that within a run studies, "
        "series and references stay together. To get the same ones in a later run, or in runs "
        "that each see one patient, pass the same --key-file and keep it secret.\n"
        "result.json counts the actions by attribute, never values; broken files are told by "
        "their number in byte order of their paths, because names may carry identity.",
    .options = options,
    .option_count = ARRAY_SIZE(options),
    .run = run,
};
