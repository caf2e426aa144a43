/*
 * Loading: node tree -> pipeline. In order:
 *   foreign.c      rewrites files of MedPerf and ChRIS that are not of our language
 *   subpipeline.c  puts the files of sub-pipelines into the tree
 *   load.c         collects scopes (a pipeline and its sub-pipelines) and drafts of their steps
 *   load-*.c       fill each draft from its node, finding what it names
 *   link.c         edges, order, axes and relations; then the drafts become the steps
 */
#ifndef GLOVEBOX_PIPELINE_LOAD_H
#define GLOVEBOX_PIPELINE_LOAD_H

#include "pipeline/private-node.h"

/* GCC and clang both know them; there is no error path of uthash's own. */
#define HASH_NONFATAL_OOM               1
#define HASH_FUNCTION(key, size, value) HASH_OAT(key, size, value) /* builds clean in clang */
#include <uthash.h>

#define SUBPIPELINE_MAXIMUM_DEPTH 8
#define STEP_MAXIMUM              50000
#define NAME_MAXIMUM              100 /* bytes of an id */

/* The whole pipeline, or one call of a sub-pipeline. */
struct scope {
    struct scope *parent; /* NULL: the whole */
    const struct node *document;
    const char *prefix; /* "" or "outer." */
    size_t caller;      /* draft of the calling step (its dummy) */
    unsigned depth;
    const struct node *partition; /* its `partition` or `partition_def`, or NULL */
    struct fan fan;               /* read from it when a step asks for it */
    bool fan_read;
};

struct condition {
    const struct scope *scope;
    const char *id, *jq, *function;
    struct condition *next;
};

struct program;

/* Full name -> index, of parameters and of inputs. */
struct name_index {
    const char *name;
    size_t index;
    UT_hash_handle hh;
};

/* ${results.STEP…} in a step's texts: the step must wait for STEP. */
struct result_use {
    size_t step;
    const struct node *node;
    struct result_use *next;
};

/* A step on its way. All indexes into steps are indexes of drafts until link.c renames them. */
struct draft {
    struct step step;
    const struct node *node;
    struct scope *scope;
    struct scope *child;   /* of a step that calls a sub-pipeline */
    bool shares_partition; /* fans out over the pipeline's `partition` */
    bool fan_is_edge;      /* FAN_STEP that also waits */
    const struct node *fan_node;
    struct result_use *result_uses;
    const struct node *item_use, *partition_use; /* first template that needs a partition */
    const struct node **input_nodes;             /* one for each step.inputs */
    const struct node **edge_nodes;
    size_t *needs;
    const struct node **need_nodes;
    size_t need_count;
    const struct node *failure_node;
    struct edge *edges; /* while linking; heap */
    size_t edge_count, edge_capacity;
    size_t place; /* in the final order */
    UT_hash_handle hh;
};

struct loader {
    struct arena *arena;
    struct trouble trouble;
    const struct pipeline_options *options;
    struct pipeline *pipeline;
    struct draft **drafts;
    size_t draft_count, draft_capacity;
    struct draft *by_id;
    struct condition *conditions;
    struct parameter *parameters;
    size_t parameter_count, parameter_capacity;
    struct pipeline_input *inputs;
    size_t input_count, input_capacity;
    struct scope **scopes; /* the whole first; callers before what they call */
    size_t scope_count, scope_capacity;
    bool medperf;
    struct name_index *parameter_names, *input_names;
    struct name_index *image_names; /* the site was asked about them */
    struct program *programs;       /* jq to be checked */
};

/* --- load-value.c: typed values of keys; they report what is wrong and go on */
void *loader_allocate(struct loader *loader, size_t size);
/* Texts in the arena. Never NULL: without memory they are "" and the trouble is noted. */
const char *loader_format(struct loader *loader, const char *format, ...) PRINTF_LIKE(2, 3);
const char *loader_take(struct loader *loader, const struct buffer *text);
/* True (and noted) when something failed for want of memory, and not for what the file says. */
bool note_no_memory(struct loader *loader, const struct error *error);
/* "did you mean `x`?" or `otherwise`. */
const char *nearest_hint(struct loader *loader, const char *text, const char *const *candidates,
                         size_t count, const char *otherwise);
/* Reports the keys that `where` does not have. `type` is the step's, or NULL. */
void check_keys(struct loader *loader, const struct node *mapping, const char *where,
                const char *type);
bool is_language_key(const char *where, const char *name);
bool expect_kind(struct loader *loader, const struct node *node, enum node_kind kind,
                 const char *what);
/* The text of a scalar, or NULL. Null values count as absent. */
const char *scalar_text(struct loader *loader, const struct node *node, const char *what);
const char *key_text(struct loader *loader, const struct node *mapping, const char *key);
bool key_boolean(struct loader *loader, const struct node *mapping, const char *key, bool fallback);
bool node_boolean(struct loader *loader, const struct node *node, const char *what, bool fallback);
bool node_integer(struct loader *loader, const struct node *node, const char *what, int64_t minimum,
                  int64_t maximum, int64_t *ret);
bool node_number(struct loader *loader, const struct node *node, const char *what, double minimum,
                 double maximum, double *ret);
unsigned key_count(struct loader *loader, const struct node *mapping, const char *key,
                   unsigned minimum, unsigned maximum, unsigned fallback);
int64_t key_duration(struct loader *loader, const struct node *mapping, const char *key,
                     int64_t fallback);
uint64_t key_size(struct loader *loader, const struct node *mapping, const char *key);
/* Index of the text among `words`, or -1 when it was reported. `otherwise` when absent. */
int key_word(struct loader *loader, const struct node *mapping, const char *key,
             const char *const *words, size_t count, int otherwise);
/* A list of nodes: a list's items, or the scalar alone. Null: none. */
size_t node_items(struct loader *loader, const struct node *node, const char *what,
                  struct node *const **ret_items);
bool is_name(const char *text);

/* --- load-text.c: templates and jq, checked, and made to mean the same inside a sub-pipeline */
const char *load_template(struct loader *loader, struct draft *draft, const struct node *node,
                          const char *what);
/* The same for a line of the shell, with a warning where the shell would not look at a ${…}. */
const char *load_shell_text(struct loader *loader, struct draft *draft, const struct node *node,
                            const char *what);
const char *load_path_template(struct loader *loader, struct draft *draft, const struct node *node,
                               const char *path);
const char *load_jq(struct loader *loader, const struct scope *scope, const struct node *node,
                    const char *what);

/* --- load-program.c: compiling takes milliseconds, so the programs of a pipeline are compiled
 * together, and one by one only when there is a mistake among them */
void add_program(struct loader *loader, const struct node *node, const char *what,
                 const char *program);
void check_programs(struct loader *loader);
void forget_programs(struct loader *loader);

/* --- load-reference.c */
/* The id of a step that a file calls `name`: MedPerf makes what no id can hold an underscore. */
const char *step_name(struct loader *loader, const char *name);
/* The id as the file has it, without the name of the calling step. */
const char *draft_own_id(const struct draft *draft);
struct draft *find_draft(struct loader *loader, const struct scope *scope, const char *name);
/* Finds the step that `node` names; reports it when there is none. */
struct draft *require_draft(struct loader *loader, const struct scope *scope,
                            const struct node *node, const char *name);
bool parse_reference(struct loader *loader, struct draft *draft, const struct scope *scope,
                     const struct node *node, const char *text, struct reference *ret);
void load_inputs(struct loader *loader, struct draft *draft);
void load_outputs(struct loader *loader, struct scope *scope);
bool step_has_outputs(const struct step *step);

/* --- load-top.c */
void load_parameters(struct loader *loader, const struct scope *scope);
void load_pipeline_inputs(struct loader *loader, const struct scope *scope);
void load_conditions(struct loader *loader, const struct scope *scope);
const struct parameter *find_parameter(const struct loader *loader, const struct scope *scope,
                                       const char *name, size_t *ret_index);
const struct pipeline_input *find_input(const struct loader *loader, const struct scope *scope,
                                        const char *name, size_t *ret_index);
/* False when the site was asked about this image already: a workflow may have it in every step. */
bool note_image(struct loader *loader, const char *image);
/* Adds an input unless there is one of that name. */
bool declare_input(struct loader *loader, struct pipeline_input input);

/* --- load-step.c, load-run.c, load-flow.c, load-fan.c, load-mount.c: parts of a step */
void load_step(struct loader *loader, struct draft *draft);
void load_running(struct loader *loader, struct draft *draft);
void load_flow(struct loader *loader, struct draft *draft);
void load_fan(struct loader *loader, struct draft *draft);
/* The fan that `node` describes; `draft` is who fans out. */
void parse_fan(struct loader *loader, struct draft *draft, const struct scope *scope,
               const struct node *node, struct fan *fan);
void load_mounts(struct loader *loader, struct draft *draft);
/* Declares what MedPerf's mounts take for granted: data_path, output_path… */
void declare_mounted_inputs(struct loader *loader, const struct scope *scope);
/* The kind of a step: from `type`, or from what it has. */
const char *step_kind(const struct node *step);

/* --- foreign.c: files of other programs as documents of our language */
/* The document itself when it is ours; NULL when mistakes were reported. */
struct node *translate_foreign(struct loader *loader, struct node *document);

/* --- subpipeline.c */
/* The tree with every `pipeline: FILE` replaced by the file's own tree. */
struct node *inline_subpipelines(struct loader *loader, struct node *document);
/* For messages: the folder of a source file and a path in it, joined. */
char *join_to_source(struct loader *loader, const struct source *source, const char *path);
bool source_read(struct loader *loader, const char *path, struct source **ret, struct error **err);
/* Adds the module of "module.name" to the pipeline's files, when it lies beside the pipeline. */
void keep_module(struct loader *loader, const struct node *place, const char *function);

/* --- link.c: edges and order; axis.c: axes, relations, what follows from them */
void link_steps(struct loader *loader);
/* The edges of every draft. */
void make_edges(struct loader *loader);
/* Axes and relations, in `order` (indexes of drafts, upstream first). */
void make_axes(struct loader *loader, const size_t *order);
void check_reachable(struct loader *loader);

/* --- bind-value.c: one value of a parameter */
/* The value as the parameter's type, or NULL; what is wrong goes to *ret_problem (arena or static
 * text is not needed: the caller frees it). */
json_t *parameter_value(const struct parameter *parameter, const json_t *given, char **ret_problem);

#endif
