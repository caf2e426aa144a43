/* Private to crate*.c: a Workflow Run RO-Crate on its way. */
#ifndef GLOVEBOX_ENGINE_CRATE_H
#define GLOVEBOX_ENGINE_CRATE_H

#include "engine/private.h"

#define CRATE_LANGUAGE "#glovebox-language"
#define CRATE_TREE     "glovebox-tree-sha256:" /* before a digest of names and contents */
#define CRATE_IMAGES   "images." /* before the name of an image, where digests are compared */
/* More steps than these are not described one by one: the record beside it has them all. */
#define CRATE_STEPS_MAXIMUM 2000

/* What happened to the tasks of one step. */
struct crate_step {
    int64_t states[TASK_STATE_COUNT], causes[CAUSE_COUNT];
    int64_t total, launches, started, ended; /* times are 0 when there is none */
    int64_t cpu, peak_memory;                /* microseconds, bytes */
    char *sandbox;                           /* as one of its attempts was shut in, or NULL */
    int64_t sandboxes;                       /* how many different ones there were */
    bool has_output;
    uint8_t output[SHA256_SIZE]; /* of partition names and the digests of what they left */
};

struct crate_writer {
    struct engine *engine;
    const char *run;
    int64_t id;
    char *folder;
    const struct pipeline *pipeline;
    const json_t *record;             /* see query_record() */
    json_t *digests;                  /* of outputs, by name */
    json_t *graph;                    /* the rest are members of it */
    json_t *root, *workflow, *action; /* the whole run */
    struct crate_step *steps;
    bool no_memory;
};

/* A new entity; borrowed. `type` is one type, or several parted by blanks. */
json_t *crate_entity(struct crate_writer *crate, const char *id, const char *type);
/* "PREFIXNAME" as an @id: bytes that have a meaning in URIs are encoded. */
const char *crate_id(struct crate_writer *crate, const char *prefix, const char *name,
                     struct buffer *out);
void crate_set(struct crate_writer *crate, json_t *entity, const char *key, json_t *value);
void crate_set_text(struct crate_writer *crate, json_t *entity, const char *key, const char *text);
/* NULL and 0 leave it out. */
void crate_set_time(struct crate_writer *crate, json_t *entity, const char *key, int64_t at);
/* Adds a reference: one stands alone, several make a list. */
void crate_refer(struct crate_writer *crate, json_t *entity, const char *key, const char *id);

/* crate-workflow.c: what was to be run: files, parameters, inputs, outputs. */
int crate_add_workflow(struct crate_writer *crate, struct error **err) MUST_CHECK;
void crate_add_values(struct crate_writer *crate);
/* crate-steps.c: how each step went. */
int crate_add_steps(struct crate_writer *crate, struct error **err) MUST_CHECK;

#endif
