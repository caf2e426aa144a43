/*
 * pipeline — a YAML file read, checked whole, and turned into a graph.
 *
 * pipeline_load() reads a file (and the sub-pipelines it names), checks everything and reports
 * every mistake with file, line and column. Only a pipeline without errors comes back. The graph
 * is immutable, lives in one arena, and knows nothing of runs.
 *
 * Words: a *step* is a node. Its *axis* says which partitions it fans out over: the chain of
 * steps whose `foreach` made the levels of its partition keys. Steps with the same axis have the
 * same partitions. A key on a deeper axis is "outer/inner".
 */
#ifndef GLOVEBOX_PIPELINE_H
#define GLOVEBOX_PIPELINE_H

#include "base/base.h"

/* --------------------------------------------------------------- diagnostics */

enum severity { SEVERITY_ERROR, SEVERITY_WARNING };
struct diagnostic {
    enum severity severity;
    char *file;
    unsigned line, column; /* from 1; 0 when the whole file is meant */
    char *message;
    char *hint;   /* "did you mean …", or NULL */
    char *source; /* the offending line, without its end, or NULL */
};
struct diagnostics {
    struct diagnostic *items;
    size_t count, capacity;
    size_t errors; /* of severity error, also those beyond the cap */
};
#define DIAGNOSTICS_MAXIMUM 200
void diagnostics_release(struct diagnostics *diagnostics);
/* "file:line:col: error: message", the line, a caret, "hint: …", as a compiler prints them. */
void diagnostics_print(const struct diagnostics *diagnostics, bool colour, struct buffer *out);
/* Array of {severity, file, line, column, message, hint}. */
json_t *diagnostics_json(const struct diagnostics *diagnostics) MUST_CHECK;

/* ---------------------------------------------------------------- the graph */

enum value_type {
    VALUE_STRING,
    VALUE_INTEGER,
    VALUE_NUMBER,
    VALUE_BOOLEAN,
    VALUE_FILE,
    VALUE_DIRECTORY,
    VALUE_LIST /* of strings */
};
const char *value_type_name(enum value_type type);

struct parameter {
    const char *name, *help;
    enum value_type type;
    json_t *fallback;    /* default; NULL: required */
    bool derived;        /* of a sub-pipeline: the default is a template of other parameters */
    json_t *choices;     /* array or NULL */
    const char *pattern; /* POSIX extended regular expression for strings, or NULL */
    bool has_minimum, has_maximum;
    double minimum, maximum;
};

struct pipeline_input {
    const char *name, *help;
    enum value_type type; /* VALUE_FILE or VALUE_DIRECTORY */
    const char *fallback; /* path, relative to the pipeline's file; NULL: required */
    bool optional;        /* may be left out: then steps see an empty directory */
    bool writable;        /* a shared mutable directory (MedPerf's way). When it is optional too and
                             left out: one folder (or file) of the run, shared by its steps. When
                             given, pipeline_bind_inputs() makes what is not there yet */
};

enum step_type {
    STEP_COMMAND,
    STEP_TOOL,
    STEP_CONTAINER,
    STEP_MANUAL_REVIEW,
    STEP_MANUAL_APPROVAL,
    STEP_WAIT,
    STEP_DUMMY,
    STEP_NOTIFY
    /* `type: pipeline` is expanded while loading: into a dummy step of its id, which carries its
     * `foreach` and `needs`, and the sub-pipeline's steps as "ID.INNER". Its parameters become
     * parameters "ID.NAME" of the whole. */
};
const char *step_type_name(enum step_type type);
/* "sh -c", whichever shell and however it was written down: the third word is shell text. */
bool words_begin_shell(const char *const *words, size_t count);

/* A dataflow reference: what a step reads. */
enum reference_kind {
    REFERENCE_INPUT,    /* a pipeline input, whole or a path below it */
    REFERENCE_STEP,     /* outputs of an upstream step, whole or a path below them */
    REFERENCE_ITEM,     /* the item that foreach gave this partition, see `level` */
    REFERENCE_PARAMETER /* a parameter of type file or directory */
};
/* How tasks of this step meet tasks of the upstream step (from their axes). */
enum relation {
    RELATION_SAME,     /* same axis: the task with the same key */
    RELATION_ANCESTOR, /* upstream is shallower: the task whose key is our prefix ("" included) */
    RELATION_JOIN      /* upstream is deeper or elsewhere: all tasks below our common prefix */
};
struct reference {
    enum reference_kind kind;
    const char *name;       /* as mounted: /in/NAME; "" when `in` was a single reference: /in */
    size_t index;           /* of the input, parameter or step */
    const char *path;       /* below it; "" for the whole */
    enum relation relation; /* REFERENCE_STEP */
    size_t common;          /* RELATION_JOIN: levels of key shared with the upstream step */
    size_t level;           /* REFERENCE_ITEM: of which level of the step's axis, from 0; the last
                               one except inside a sub-pipeline that fans out further */
};

enum edge_kind { EDGE_DATA, EDGE_NEEDS };
struct edge {    /* AND edges: this step waits for the other */
    size_t step; /* upstream */
    enum edge_kind kind;
    enum relation relation;
    size_t common;
};
/* `next`: each success of the owner fires `target` (OR; cycles allowed). Edges without an `if` all
 * have branch 0. With `if`, entry number n (from 0) gives the edges of branch n, of which the first
 * branch whose condition is true is taken, and `else` gives the last branch, without a condition.
 * When no branch is taken: see step.next_polls. */
struct next_edge {
    size_t target;
    size_t branch;
    enum relation relation; /* how a task of the target meets tasks of the owner: SAME key;
                               ANCESTOR: one owner fires all tasks below its key; JOIN: the target
                               is fired when all owner's tasks below the `common` prefix are done */
    size_t common;
    const char *condition; /* jq over the owner's result, NULL: always */
    const char *function;  /* MedPerf: host-side Python function "module.name", NULL: none */
};

enum fan_kind {
    FAN_NONE,
    FAN_STEP, /* same partitions as another step. Makes no edge by itself: `foreach: STEP` comes
                 with an edge, `partition: true` without */
    FAN_DIRECTORIES,
    FAN_GLOB,
    FAN_DICOM,
    FAN_CSV,
    FAN_JSON,
    FAN_FUNCTION /* MedPerf: host-side Python function */
};
enum dicom_level { DICOM_PATIENT, DICOM_STUDY, DICOM_SERIES, DICOM_INSTANCE };
extern const char *const dicom_levels[]; /* their names */
struct fan {
    enum fan_kind kind;
    struct reference over;  /* what is listed: an input or an upstream step's outputs */
    unsigned depth;         /* FAN_DIRECTORIES: levels below (1 = direct children) */
    const char *glob;       /* FAN_GLOB: pattern below `over`; also filters FAN_DIRECTORIES */
    enum dicom_level level; /* FAN_DICOM */
    const char *key;        /* FAN_CSV: column name; FAN_JSON: jq giving the key, or NULL */
    const char *items;      /* FAN_JSON: jq giving the items, as a stream or one array */
    const char *function;   /* FAN_FUNCTION */
    bool allow_empty;       /* no partition at all is success, not an error */
};

enum trigger_rule {                        /* Airflow's words in our spelling */
                    TRIGGER_ALL_SUCCEEDED, /* default: every upstream succeeded, was reused, or was
                                              skipped by its own `when` */
                    TRIGGER_ALL_DONE,
                    TRIGGER_ANY_FAILED,
                    TRIGGER_ANY_SUCCEEDED,
                    TRIGGER_NONE_FAILED,
                    TRIGGER_ALL_FAILED
};
enum on_failure { ON_FAILURE_FAIL, ON_FAILURE_CONTINUE, ON_FAILURE_SKIP_PARTITION, ON_FAILURE_RUN };
enum cache_mode { CACHE_ON, CACHE_OFF };

struct step_mount { /* explicit mounts (MedPerf's `mounts`, or a list in our own style) */
    const char *name;
    const char *target; /* absolute, in the box */
    bool writable;
    bool is_file;
    struct reference from; /* what is mounted, unless it is a fresh output */
    bool is_output;        /* listed as an output. MedPerf's: `from` is the bound (or the run's own)
                              writable input of the same name */
    bool is_fresh;         /* no `from`: the folder NAME below the step's own outputs */
};
struct named_text {
    const char *name, *text;
};

struct resources {
    double cpus;                                     /* 0: not said, counted as 1 */
    uint64_t memory, shared_memory, scratch, output; /* bytes; 0: not said */
    unsigned gpus, processes, files;                 /* 0: not said */
    const char *flavor;                              /* or NULL */
};
struct retries {
    unsigned count;       /* further attempts after the first */
    int64_t backoff, cap; /* ms: backoff * 2^n, at most cap */
    uint32_t causes;      /* bit set of enum cause; 0: every cause but cancelled and policy */
};

struct step {
    size_t index;
    const char *id, *title, *help;
    enum step_type type;
    unsigned line, column;

    /* what runs */
    const char *tool;              /* STEP_TOOL */
    const char *image;             /* STEP_CONTAINER */
    const char *const *entrypoint; /* NULL: the image's own */
    const char *const *command;    /* argv templates; a string command is {"sh","-c",text} for
                                      STEP_COMMAND and split at blanks for containers */
    size_t entrypoint_count, command_count;
    const struct named_text *environment; /* values are templates */
    size_t environment_count;
    const char *const *secrets; /* names; mounted at /run/secrets/NAME */
    size_t secret_count;

    /* what it reads and writes */
    const struct reference *inputs;
    size_t input_count;
    const struct step_mount *mounts;
    size_t mount_count;
    const char *const *outputs; /* declared paths below the output folder that must exist */
    size_t output_count;

    /* when it runs */
    struct fan fan;
    const size_t *axis; /* steps whose fan made each level of the key, outermost first */
    size_t axis_count;
    const struct edge *edges;
    size_t edge_count;
    const struct next_edge *next;
    size_t next_count;
    int64_t next_wait; /* ms between polls of the conditions */
    bool next_polls;   /* no condition true: ask again after next_wait; else the step is done */
    bool fired;        /* some step names it in `next`: it waits to be fired */
    const char *when;  /* jq; NULL: always */
    enum trigger_rule trigger_rule;
    unsigned limit; /* tasks of this step at once; 0: no own limit */
    struct retries retries;
    int64_t timeout; /* ms; 0: none */
    struct resources resources;
    const char *network; /* NULL: none */
    enum box_mode_wish { BOX_WISH_SEALED, BOX_WISH_OFF } box;
    bool writable_root; /* STEP_CONTAINER: its program may write anywhere in the image */
    enum image_users { USERS_ONE, USERS_IMAGE } users; /* STEP_CONTAINER: who there is in it */
    enum cache_mode cache;
    enum on_failure on_failure;
    size_t on_failure_step; /* ON_FAILURE_RUN */
    bool cleanup_only;      /* runs only as another step's clean-up */

    /* people and time */
    const char *message;          /* what a person is asked, or told (template) */
    const char *wait_until;       /* STEP_WAIT, STEP_MANUAL_REVIEW: jq as `when`, or NULL */
    const char *wait_file;        /* STEP_WAIT, STEP_MANUAL_REVIEW: path template that must exist */
    int64_t wait_for, wait_every; /* ms */
};

struct pipeline_output {
    const char *name, *help;
    struct reference from;
};

/* A file that the pipeline was read from, byte for byte. */
struct pipeline_file {
    const char *path, *text; /* path: as it was opened */
    size_t size;
    struct pipeline_file *next;
};

struct pipeline {
    struct arena *arena;
    const char *path, *name, *version, *description;
    struct pipeline_file *files; /* its own first, then those of sub-pipelines and plugins, and
                                    modules of functions, each once; NULL when it was made from a
                                    document */
    const struct parameter *parameters;
    size_t parameter_count;
    const struct pipeline_input *inputs;
    size_t input_count;
    const struct step *steps; /* in an order in which every AND edge points backwards */
    size_t step_count;
    const struct pipeline_output *outputs;
    size_t output_count;
    unsigned limit;   /* tasks of a run at once; 0: none */
    json_t *document; /* the resolved document: aliases and merges expanded */
    enum pipeline_dialect { DIALECT_GLOVEBOX, DIALECT_MEDPERF } dialect;
};

/* Where modules of Python functions are looked for, below the folder of the pipeline's file; NULL
 * behind the last place. */
const char *pipeline_function_folder(size_t index);

/* What the place where a pipeline is to run has to say. */
struct pipeline_site {
    /* May a step say `key: value` (box, network, flavor, image)? Else -1, with who forbids it, or
     * ERROR_NOT_FOUND for an image that is not here. */
    int (*allows)(const void *context, const char *key, const char *value, struct error **err);
    const void *context;
    bool only_warn; /* the pipeline may be meant for another place */
};
struct pipeline_options {
    const struct pipeline_site *site; /* NULL: everything is allowed */
    const char *const *tools;         /* names of the built-in tools, to check `tool:` against */
    size_t tool_count;
    /* Checks the arguments of a tool, templates as they stand in the file; NULL: nobody does.
     * `complain` is called for each mistake, with the index of the argument, or `count` when one is
     * missing. */
    int (*check_tool)(const char *tool, const char *const *arguments, size_t count,
                      void (*complain)(size_t at, const char *message, const char *hint,
                                       void *context),
                      void *context, struct error **err);
    bool can_run_images; /* some driver can; else container steps are errors that say what to
                            install */
    const char *image_remedy;
    const char *plugin_folder; /* where descriptors of ChRIS's plugins lie too, or NULL */
    bool trusted; /* it was checked before, when its run was made: its jq programs are not compiled
                     to be checked again, which takes longer than all the rest */
};
/* Reads and checks. Mistakes in the file go to `diagnostics`; returns NULL with ERROR_INVALID when
 * there are any of severity error, or another code when the file cannot be read. */
struct pipeline *pipeline_load(const char *path, const struct pipeline_options *options,
                               struct diagnostics *diagnostics, struct error **err) MUST_CHECK;
/* The same from memory; `path` names it in messages and anchors relative paths. */
struct pipeline *pipeline_parse(const char *text, size_t size, const char *path,
                                const struct pipeline_options *options,
                                struct diagnostics *diagnostics, struct error **err) MUST_CHECK;
void pipeline_free(struct pipeline *pipeline);
void pipeline_cleanup(struct pipeline **pipeline);
#define OWN_PIPELINE CLEANUP(pipeline_cleanup) struct pipeline *
/* Rebuilds a pipeline from the resolved document that a run's record keeps. */
struct pipeline *pipeline_from_document(const json_t *document, const char *path,
                                        const struct pipeline_options *options,
                                        struct error **err) MUST_CHECK;
const struct step *pipeline_find_step(const struct pipeline *pipeline, const char *id);

/* Values given on the command line -> checked, typed object with defaults filled in. `given` maps
 * names to strings (command line) or JSON values. Reports every mistake. File parameters are
 * resolved: given ones against the working directory, defaults against the pipeline's folder. */
json_t *pipeline_bind_parameters(const struct pipeline *pipeline, const json_t *given,
                                 struct diagnostics *diagnostics, struct error **err) MUST_CHECK;
/* {name: absolute path} for every input; checks existence and type. */
json_t *pipeline_bind_inputs(const struct pipeline *pipeline, const json_t *given,
                             struct diagnostics *diagnostics, struct error **err) MUST_CHECK;

/* --------------------------------------------------------------- expressions */

/* jq programs (conditions, mappings). Input and output are JSON; time and output are bounded. */
struct expression;
/* Compiles; `variables` are the names that may be used as $name, NULL-terminated. */
struct expression *expression_new(const char *program, const char *const *variables,
                                  struct error **err) MUST_CHECK;
void expression_free(struct expression *expression);
/* All outputs, as an array. `values` is an object with a member for each variable. */
json_t *expression_run(struct expression *expression, const json_t *input, const json_t *values,
                       struct error **err) MUST_CHECK;
/* First output as a truth value, as jq's `if` sees it; no output is false. */
int expression_test(struct expression *expression, const json_t *input, const json_t *values,
                    bool *ret, struct error **err) MUST_CHECK;
/* The variables that `when`, `${}` and conditions may use. Their input (`.`) is the result of the
 * step that `foreach: STEP` or else `in` names; for `next`, the owner's own result. */
extern const char *const expression_variables[];

/* "…${params.model}…" -> text. `values` is an object {params, inputs, in, out, partition, item,
 * results, run, step}; a dotted path is looked up there, anything else is a jq program over it
 * with the same names as $variables. Strings are inserted as they are, other values as JSON.
 * "$${" gives a literal "${". */
char *template_expand(const char *text, const json_t *values, struct error **err) MUST_CHECK;
/* Keeps compiled jq programs (compiling one takes milliseconds): for whoever expands the same
 * templates for many tasks. Holds the EXPRESSION_CACHE_MAXIMUM last used. */
#define EXPRESSION_CACHE_MAXIMUM 256
struct expression_cache;
struct expression_cache *expression_cache_new(void) MUST_CHECK;
void expression_cache_free(struct expression_cache *cache);
/* The program, compiled with expression_variables; owned by the cache, valid until the next call.
 */
struct expression *expression_cache_get(struct expression_cache *cache, const char *program,
                                        struct error **err) MUST_CHECK;
/* As template_expand; `cache` may be NULL. */
char *template_expand_cached(const char *text, const json_t *values, struct expression_cache *cache,
                             struct error **err) MUST_CHECK;
/* For a word of a command: an array of texts. One, unless the whole word is one ${…} with a jq
 * program in it: then as many as that gives, none included. */
json_t *template_expand_words(const char *text, const json_t *values,
                              struct expression_cache *cache, struct error **err) MUST_CHECK;
/* Makes a plain text a template that gives it back: "${" becomes "$${". */
char *template_escape(const char *text) MUST_CHECK;
/* Calls `use` for every ${…} with its inside, to check it before a run. */
int template_scan(const char *text, int (*use)(const char *inside, size_t offset, void *context),
                  void *context) MUST_CHECK;

/* -------------------------------------------------------------------- graphs */

enum graph_format { GRAPH_TEXT, GRAPH_DOT, GRAPH_MERMAID, GRAPH_JSON };
/* `states`, if not NULL, is an array of step_count words to colour or annotate steps with. */
int pipeline_graph(const struct pipeline *pipeline, enum graph_format format, unsigned width,
                   bool colour, const char *const *states, struct buffer *out,
                   struct error **err) MUST_CHECK;

/* ------------------------------------------------- the language's own table */

/* Every key of the language, with its help: drives the checks, doc/pipeline.md and the schema. */
struct language_key {
    const char *where; /* "pipeline", "step", "foreach", "retries"… */
    const char *name;
    const char *type; /* see the top of language.c */
    const char *help, *example;
    const char *steps; /* types of step that may have it, "container command"; NULL: all */
};
extern const struct language_key language_keys[];
extern const size_t language_key_count;
/* JSON Schema (2020-12) of the language, made from the table. */
json_t *pipeline_schema(struct error **err) MUST_CHECK;

#endif
