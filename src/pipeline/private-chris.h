/* ChRIS: a plugin (chris-plugin.c) as it is used by a pipeline (chris.c). */
#ifndef GLOVEBOX_PIPELINE_CHRIS_H
#define GLOVEBOX_PIPELINE_CHRIS_H

#include "pipeline/private-foreign.h"

struct plugin_use {
    const struct node *plugin;   /* its descriptor */
    const struct node *place;    /* the node of the pipeline's tree */
    const struct node *defaults; /* what that node says of the parameters, a mapping, or NULL */
    const char *id, *title;
    const char *prefix; /* of its parameters: "" or "ID." */
    const char *from;   /* reference to what it reads, or NULL */
};

const char *plugin_type(const struct node *plugin); /* "ds", "fs" or "ts" */
/* It has something at /share/incoming. */
bool plugin_reads(struct loader *loader, const struct node *plugin);
/* The step; adds the plugin's parameters to *params. */
struct node *plugin_step(struct loader *loader, const struct plugin_use *use, struct node **params);
/* The parts that both kinds of document end with. `reads`: the root sees the input `incoming`. */
void put_parts(struct loader *loader, struct node **made, struct node *params, bool reads,
               struct node *outputs, struct node *steps);

#endif
