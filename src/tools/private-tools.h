/* What the tools share. */
#ifndef GLOVEBOX_PRIVATE_TOOLS_H
#define GLOVEBOX_PRIVATE_TOOLS_H

#include "tools/tools.h"

extern const struct tool tool_file_fetch, tool_file_join, tool_dicom_anonymize, tool_dicom_tags,
    tool_dicom_convert, tool_classify, tool_report;

/* ------------------------------------------------------------------ batches */

#define TOOL_BATCH_OPTIONS                                                                         \
    {"strict", NULL, "stop at the first broken file", NULL}, {                                     \
        "lenient", NULL, "exit with status 0 although some files were broken", NULL                \
    }

enum batch_outcome { BATCH_DONE, BATCH_SKIPPED };
struct batch;
/* Works on one file. Returns an outcome, or -1 with the reason why this file failed. */
typedef int (*batch_each)(struct batch *batch, struct error **err);

struct batch {
    const struct tool_call *call;
    const char *kind; /* what is looked for: "DICOM file" */
    batch_each each;
    void *context;
    bool hide_names; /* result.json names files by number: names may carry identity */
    int output;      /* descriptor of the output directory */
    json_t *result;  /* becomes result.json; the tool adds to it */
    json_t *failed;  /* borrowed: result's "failed" */
    /* the file at hand */
    int directory;    /* descriptor that holds it */
    const char *name; /* in that directory */
    const char *path; /* relative to INPUT; the base name when INPUT is a file */
    size_t number;    /* from 1, in byte order of paths */
    size_t done, skipped, broken;
};
void batch_release(struct batch *batch);
#define OWN_BATCH CLEANUP(batch_release) struct batch
/* Opens the output and makes the result object. */
int batch_open(struct batch *batch, const struct tool_call *call, struct error **err) MUST_CHECK;
/* Visits INPUT. Afterwards the tool may add to batch->result. */
int batch_walk(struct batch *batch, struct error **err) MUST_CHECK;
/* Writes result.json and gives the tool's return value. */
int batch_finish(struct batch *batch, struct error **err) MUST_CHECK;
/* All three. */
int batch_run(struct batch *batch, const struct tool_call *call, struct error **err) MUST_CHECK;

/* ------------------------------------------------------------------- helpers */

/* Writes below the output directory, making folders; whole or not at all. */
int output_write(int output, const char *path, const void *bytes, size_t size,
                 struct error **err) MUST_CHECK;
int output_write_json(int output, const char *path, const json_t *json,
                      struct error **err) MUST_CHECK;
/* `path` with a known image suffix (.dcm, .dicom, .ima, .png) replaced by `suffix`. */
char *path_with_suffix(const char *path, const char *suffix) MUST_CHECK;
/* The current date and time, RFC 3339; SOURCE_DATE_EPOCH is respected. */
void date_text(char text[CLOCK_TEXT_SIZE]);

#endif
