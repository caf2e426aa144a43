/* What a report says, and the pages that say it. */
#ifndef GLOVEBOX_PRIVATE_REPORT_H
#define GLOVEBOX_PRIVATE_REPORT_H

#include "base/base.h"
#include "dicom/dicom.h"

/* An image and what was found in it. Texts live in the report's arena. */
struct finding {
    const char *path;     /* of the image, below images/ */
    const char *patient;  /* pseudonym, "" when unknown */
    const char *modality; /* "" when unknown */
    const char *label;    /* NULL: this image has no result */
    double confidence;
    int64_t instance_number;     /* -1: none */
    const json_t *probabilities; /* label -> number; borrowed */
};
struct report {
    struct arena *arena;
    const char *title, *pipeline, *date;
    const char *model, *model_digest, *runtime, *notice; /* "" when unknown */
    bool stand_in;
    struct finding *findings;
    size_t count, capacity;
    json_t *documents; /* every result.json read: owns what findings borrow */
};
#define REPORT_MAXIMUM_IMAGES 5000

/* Reads the picture of a finding when its page is drawn, so that one is in memory at a time. */
typedef int (*report_picture)(const struct finding *finding, void *context, struct picture *ret,
                              struct error **err);
/* Draws the whole. `font` is a TrueType file or NULL (then only Latin-1 is shown). */
int report_draw(const struct report *report, const char *font, report_picture picture,
                void *context, struct buffer *out, size_t *ret_pages,
                struct error **err) MUST_CHECK;

/* What dicom-tags left below `input`/tags becomes one folder: OUTPUT/tags/NAME.json, and one table,
 * OUTPUT/tags/tags.csv. Folders of partitions are not told: they are named after what the images
 * were before their identity was removed. Without `input`/tags, nothing is done. */
int report_gather_tags(int input, int output, struct error **err) MUST_CHECK;

#endif
