/* glovebox tool dicom-tags */
#include "tools/private-tools.h"

#include "dicom/dicom.h"

#include <fcntl.h>
#include <unistd.h>

#define MAXIMUM_TAGS 256

struct formats {
    enum dicom_dump_format format;
    const char *name, *suffix;
    bool one_file; /* a table of all files instead of a file each */
};
static const struct formats formats[] = {
    {DICOM_DUMP_TEXT, "text", ".txt", false},
    {DICOM_DUMP_JSON, "json", ".json", false},
    {DICOM_DUMP_CSV, "csv", "tags.csv", true},
    {DICOM_DUMP_HTML, "html", "tags.html", true},
};

struct tagger {
    bool wanted[ARRAY_SIZE(formats)];
    int table[ARRAY_SIZE(formats)]; /* descriptors of the tables, or -1 */
    uint32_t tags[MAXIMUM_TAGS];
    struct dicom_dump_options options;
};

static const struct tool_option options[] = {
    {"to", "LIST", "forms to write: text, json, csv, html, separated by commas", "json"},
    {"tags", "LIST",
     "only these attributes: keywords or tags such as 0010,0020, separated by "
     "semicolons or blanks",
     NULL},
    {"meta", NULL, "the file meta header too", NULL},
    TOOL_BATCH_OPTIONS,
};

static int parse_formats(const char *list, struct tagger *self, struct error **err) {
    while (*list) {
        size_t length = strcspn(list, ",");
        size_t i = 0;
        while (i < ARRAY_SIZE(formats) &&
               (strlen(formats[i].name) != length || strncmp(formats[i].name, list, length) != 0))
            i++;
        if (i == ARRAY_SIZE(formats))
            return error_set(err, ERROR_USAGE, "--to knows text, json, csv and html, not %.*s",
                             (int)length, list);
        self->wanted[i] = true;
        list += length + (list[length] == ',');
    }
    return 0;
}

static int parse_tags(const char *list, struct tagger *self, struct error **err) {
    if (!list)
        return 0;
    while (*(list += strspn(list, "; "))) {
        size_t length = strcspn(list, "; ");
        OWN_STRING text = memory_copy_bytes(list, length);
        if (!text)
            return error_set_memory(err);
        if (self->options.tag_count == MAXIMUM_TAGS)
            return error_set(err, ERROR_USAGE, "--tags takes at most %d", MAXIMUM_TAGS);
        if (dicom_tag_parse(text, &self->tags[self->options.tag_count], err) != 0)
            return -1;
        self->options.tag_count++;
        list += length;
    }
    self->options.tags = self->tags;
    return 0;
}

static int write_one(struct batch *batch, struct tagger *self, const struct dicom_file *file,
                     size_t which, struct error **err) {
    OWN_BUFFER out = {0};
    struct dicom_dump_options dump = self->options;
    dump.label = batch->path;
    if (dicom_dump(file, formats[which].format, &dump, &out, err) != 0)
        return -1;
    if (formats[which].one_file)
        return file_write_all(self->table[which], buffer_text(&out), out.size, err);
    OWN_STRING path = path_with_suffix(batch->path, formats[which].suffix);
    if (!path)
        return error_set_memory(err);
    return output_write(batch->output, path, buffer_text(&out), out.size, err);
}

static int tag_one(struct batch *batch, struct error **err) {
    struct tagger *self = batch->context;
    OWN_DICOM file = NULL;
    int outcome = dicom_read(batch->directory, batch->name, &file, err);
    if (outcome != DICOM_OK)
        return outcome == DICOM_NOT ? BATCH_SKIPPED : -1;
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
        if (self->wanted[i] && write_one(batch, self, file, i, err) != 0)
            return -1;
    }
    return BATCH_DONE;
}

/* Opens the tables and writes what stands before (or after) their rows. */
static int begin_tables(struct batch *batch, struct tagger *self, struct error **err) {
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
        OWN_BUFFER head = {0};
        if (!self->wanted[i] || !formats[i].one_file)
            continue;
        self->table[i] =
            file_open(batch->output, formats[i].suffix, O_WRONLY | O_CREAT | O_TRUNC, 0644, err);
        dicom_dump_head(formats[i].format, &head);
        if (self->table[i] < 0 ||
            file_write_all(self->table[i], buffer_text(&head), head.size, err) != 0)
            return -1;
    }
    return 0;
}

static int end_tables(struct tagger *self, struct error **err) {
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
        OWN_BUFFER tail = {0};
        dicom_dump_tail(formats[i].format, &tail);
        if (self->table[i] >= 0 && tail.size > 0 &&
            file_write_all(self->table[i], buffer_text(&tail), tail.size, err) != 0)
            return -1;
    }
    return 0;
}

static int dump_all(struct batch *batch, struct tagger *self, struct error **err) {
    if (batch_open(batch, batch->call, err) != 0 || begin_tables(batch, self, err) != 0 ||
        batch_walk(batch, err) != 0 || end_tables(self, err) != 0)
        return -1;
    return batch_finish(batch, err);
}

static int run(const struct tool_call *call, struct error **err) {
    struct tagger self = {.table = {-1, -1, -1, -1}};
    self.options.with_meta = tool_switch(call, "meta");
    OWN_BATCH batch = {
        .call = call, .kind = "DICOM file", .each = tag_one, .context = &self, .output = -1};
    if (parse_formats(tool_value(call, "to"), &self, err) != 0 ||
        parse_tags(tool_value(call, "tags"), &self, err) != 0)
        return -1;
    int result = dump_all(&batch, &self, err);
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
        file_close(&self.table[i]);
    return result;
}

const struct tool tool_dicom_tags = {
    .name = "dicom-tags",
    .summary = "Writes what DICOM headers say, as text, JSON, CSV or HTML",
    .input = "a DICOM file, or a directory of them",
    .output = "NAME.txt and NAME.json for each file, tags.csv and tags.html for all",
    .help = "Text is one line an element, as dcmdump prints it. JSON is the DICOM JSON model "
            "(PS3.18 annex F) without bulk data. CSV has one row an element, nested ones with the "
            "path that leads to them. Texts are UTF-8 whatever the file's character set.",
    .options = options,
    .option_count = ARRAY_SIZE(options),
    .run = run,
};
