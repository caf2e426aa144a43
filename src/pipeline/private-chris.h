/* ChRIS: a plugin (chris-plugin.c) as it is used by a pipeline (chris.c). */
#ifndef GLOVEBOX_PIPELINE_CHRIS_H
#define GLOVEBOX_PIPELINE_CHRIS_H

#include "pipeline/private-foreign.h"

#define PLUGIN_INCOMING "/share/incoming"
#define PLUGIN_OUTGOING "/share/outgoing"

struct plugin_use {
    const struct node *plugin;   /* its descriptor */
    const struct node *place;    /* the node of the pipeline's tree */
    const struct node *defaults; /* what that node says of the parameters, a mapping, or NULL */
    const char *id, *title;
    const char *prefix; /* of its parameters: "" or "ID." */
    const char *from;   /* reference to what it reads, or NULL */
    const char *joined; /* names of what a plugin of type ts joins, or NULL */
};

const char *plugin_type(const struct node *plugin); /* "ds", "fs" or "ts" */
/* It has something at /share/incoming. */
bool plugin_reads(struct loader *loader, const struct node *plugin);
/* The step; adds the plugin's parameters to *params. */
struct node *plugin_step(struct loader *loader, const struct plugin_use *use, struct node **params);

/* A plugin of type ts (chris-join.c) joins what others left. ChRIS starts its image with nothing at
 * hand, and then adds the joined files to what it wrote, except where it wrote one of that name. */
struct plugin_join {
    struct plugin_use use;
    const char *incoming, *outgoing; /* ids of the joining steps, before and after the plugin */
    struct node *in;                 /* what is joined, by its names */
    const char *order;               /* their names, "NAME,NAME"; NULL: the input `incoming` */
};
#define JOIN_STEPS 3 /* that it takes at most */
static const char *const plugin_join_parameters[] = {"plugininstances", "filter",
                                                     "groupByInstance"};
bool is_join_parameter(const struct node *plugin, const char *name);
/* pl-topologicalcopy, which every ChRIS has: its program does nothing. */
bool plugin_is_only_join(const struct node *plugin);
/* What the node says of the parameter, else the descriptor; or NULL. Where that is said. */
const struct node *plugin_value(const struct plugin_use *use, const char *name);
const char *plugin_text(struct loader *loader, const struct plugin_use *use, const char *name);
const struct node *plugin_value_place(const struct plugin_use *use, const char *name);
void push_join_steps(struct loader *loader, const struct plugin_join *join, struct node *steps,
                     struct node **params);

/* The parts that both kinds of document end with. `reads`: the root sees the input `incoming`. */
void put_parts(struct loader *loader, struct node **made, struct node *params, bool reads,
               struct node *outputs, struct node *steps);

#endif
