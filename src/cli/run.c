/* glovebox run */
#include "cli/crate.h"
#include "cli/follow.h"
#include "cli/image.h"
#include "cli/private-command.h"
#include "cli/sender.h"
#include "cli/session.h"
#include "cli/terminal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* NAME=VALUE options -> an object of strings. */
static json_t *given_pairs(const struct invocation *invocation, const char *option,
                           struct error **err) {
    OWN_JSON pairs = json_object();
    size_t position = 0;
    for (const char *text; pairs && (text = given_next(invocation, option, &position));) {
        const char *equals = strchr(text, '=');
        OWN_BUFFER shown = {0};
        text_append_printable(&shown, text);
        if (!equals || equals == text) {
            error_set(err, ERROR_USAGE, "--%s \"%s\" is not of the form NAME=%s", option,
                      buffer_text(&shown), text_equal(option, "input") ? "PATH" : "VALUE");
            return NULL;
        }
        OWN_STRING name = memory_format("%.*s", (int)(equals - text), text);
        if (name && json_object_get(pairs, name)) {
            error_set(err, ERROR_USAGE, "--%s gives \"%s\" twice", option, name);
            return NULL;
        }
        json_t *value = json_string(equals + 1);
        if (!value) {
            error_set(err, ERROR_USAGE, "--%s \"%s\" is not valid UTF-8", option,
                      buffer_text(&shown));
            return NULL;
        }
        if (!name || json_object_set_new(pairs, name, value) < 0) {
            error_set_memory(err);
            return NULL;
        }
    }
    if (!pairs)
        error_set_memory(err);
    return take(&pairs);
}

static char *absolute_path(const char *path, struct error **err) {
    char *here = path[0] == '/' ? memory_copy_string("/") : getcwd(NULL, 0);
    char *whole = here ? path_join(here, path) : NULL;
    free(here);
    if (!whole)
        error_set_errno(err, errno ? errno : ENOMEM, "cannot tell where %s is", path);
    return whole;
}

/* ----------------------------------------------------------------------- plan */

static void plan_step(const struct pipeline *pipeline, const struct step *step,
                      struct buffer *out) {
    static const char *const fans[] = {
        [FAN_NONE] = NULL,
        [FAN_STEP] = "a task for each partition of",
        [FAN_DIRECTORIES] = "a task for each directory of",
        [FAN_GLOB] = "a task for each match in",
        [FAN_DICOM] = "a task for each DICOM group of",
        [FAN_CSV] = "a task for each row of",
        [FAN_JSON] = "a task for each item of",
        [FAN_FUNCTION] = "a task for each partition of a function over",
    };
    buffer_format(out, "  %zu. ", step->index + 1);
    text_append_printable(out, step->id);
    buffer_format(out, "  %s", step_type_name(step->type));
    if (step->tool || step->image) {
        buffer_append_char(out, ' ');
        text_append_printable(out, step->tool ? step->tool : step->image);
    }
    if (fans[step->fan.kind]) {
        const struct reference *over = &step->fan.over;
        buffer_format(out, "; %s ", fans[step->fan.kind]);
        if (over->kind == REFERENCE_STEP || step->fan.kind == FAN_STEP)
            text_append_printable(out, pipeline->steps[over->index].id);
        else if (over->kind == REFERENCE_INPUT)
            text_append_printable(out, pipeline->inputs[over->index].name);
        else
            buffer_append(out, "what it reads");
    }
    if (step->edge_count) {
        buffer_append(out, "; after ");
        for (size_t i = 0; i < step->edge_count; i++) {
            buffer_append(out, i ? ", " : "");
            text_append_printable(out, pipeline->steps[step->edges[i].step].id);
        }
    }
    buffer_append(out, step->cleanup_only ? "; only as a clean-up\n"
                       : step->fired      ? "; when it is fired\n"
                       : step->when       ? "; if its condition holds\n"
                                          : "\n");
}

static int print_plan(const struct invocation *invocation, const struct pipeline *pipeline,
                      const json_t *parameters, const json_t *inputs, struct error **err) {
    if (given_flag(invocation, "json")) {
        OWN_JSON steps = json_array();
        for (size_t i = 0; steps && i < pipeline->step_count; i++) {
            const struct step *step = &pipeline->steps[i];
            json_t *one =
                json_pack("{s:s, s:s, s:b}", "step", step->id, "type", step_type_name(step->type),
                          "partitioned", step->axis_count > 0);
            if (json_array_append_new(steps, one) < 0)
                return error_set_memory(err);
        }
        OWN_JSON plan = json_pack("{s:s, s:s?, s:O, s:O, s:O}", "pipeline", pipeline->name,
                                  "version", pipeline->version, "parameters", parameters, "inputs",
                                  inputs, "steps", steps);
        return plan ? print_json(plan, false, err) : error_set_memory(err);
    }
    OWN_BUFFER out = {0};
    text_append_printable(&out, pipeline->name);
    buffer_format(&out, ": %zu step%s would run\n", pipeline->step_count,
                  pipeline->step_count == 1 ? "" : "s");
    for (size_t i = 0; i < pipeline->step_count; i++)
        plan_step(pipeline, &pipeline->steps[i], &out);
    return print_checked(&out, err);
}

/* -------------------------------------------------------------------- running */

/* Everything that must be right before anything starts. */
struct request {
    struct pipeline *pipeline;
    struct crate crate; /* where it came from, or empty */
    json_t *parameters, *inputs;
    struct report report; /* only where to */
};

static void request_release(struct request *request) {
    pipeline_free(request->pipeline);
    crate_release(&request->crate);
    json_cleanup(&request->parameters);
    json_cleanup(&request->inputs);
    report_release(&request->report);
}

/* 0, or STATUS_INVALID after having said why, or -1. */
static int prepare(const struct invocation *invocation, struct request *request,
                   struct error **err) {
    OWN_JSON parameters = given_pairs(invocation, "param", err);
    if (!parameters)
        return -1;
    OWN_JSON inputs = given_pairs(invocation, "input", err);
    if (!inputs)
        return -1;
    OWN_POLICY policy = NULL;
    if (session_read_policy(invocation, &policy, err) < 0)
        return -1;
    OWN_DIAGNOSTICS diagnostics = {0};
    OWN_ERROR problem = NULL;
    OWN_ERROR second = NULL;
    request->pipeline = session_load(invocation, given_argument(invocation, 0), policy, false,
                                     &request->crate, &diagnostics, &problem);
    if (request->pipeline) {
        if (crate_fill(&request->crate, request->pipeline, parameters, inputs, err) < 0)
            return -1;
        request->parameters =
            pipeline_bind_parameters(request->pipeline, parameters, &diagnostics, &problem);
        request->inputs = pipeline_bind_inputs(request->pipeline, inputs, &diagnostics,
                                               request->parameters ? &problem : &second);
    }
    if (diagnostics.count && session_print_diagnostics(invocation, &diagnostics, err) < 0)
        return -1;
    if (request->parameters && request->inputs)
        return 0;
    if (diagnostics.errors == 0)
        session_print_error(problem ? problem : second);
    return STATUS_INVALID;
}

static const char **only_steps(const struct invocation *invocation, const struct crate *crate,
                               size_t *ret_count) {
    size_t position = 0, count = 0, recorded = json_array_size(crate->only);
    const char **only = memory_array(invocation->option_count + recorded + 1, sizeof(*only));
    for (const char *step; only && (step = given_next(invocation, "only", &position));)
        only[count++] = step;
    if (only && !count)
        for (; count < recorded; count++)
            only[count] = json_string_value(json_array_get(crate->only, count));
    *ret_count = count;
    return only;
}

static int create(const struct invocation *invocation, struct engine *engine,
                  const struct request *request, char **ret_name, struct error **err) {
    size_t only_count = 0;
    OWN_MEMORY(const char *) only = only_steps(invocation, &request->crate, &only_count);
    const char *folder = given_value(invocation, "output", NULL);
    OWN_STRING output = folder ? absolute_path(folder, err) : NULL;
    if (folder && !output)
        return -1;
    OWN_JSON images = NULL;
    if (!only)
        return error_set_memory(err);
    if (image_load_archives(invocation, request->pipeline, &images, err) < 0)
        return -1;
    struct run_request run = {.parameters = request->parameters,
                              .inputs = request->inputs,
                              .output = output,
                              .from = given_value(invocation, "from", NULL),
                              .only = only,
                              .only_count = only_count,
                              .no_reuse = given_flag(invocation, "no-reuse"),
                              .images = images,
                              .files = request->crate.files,
                              .recorded = request->crate.recorded};
    return engine_create_run(engine, request->pipeline, &run, ret_name, err);
}

static int handle(const struct invocation *invocation, struct error **err) {
    if (given_flag(invocation, "detach") && given_flag(invocation, "wait"))
        return error_set(err, ERROR_USAGE, "--detach and --wait exclude each other");
    struct request request CLEANUP(request_release) = {0};
    int status = sender_options(invocation, &request.report.to, err);
    bool reports = status > 0;
    if (status >= 0)
        status = prepare(invocation, &request, err);
    if (status != 0)
        return status;
    if (given_flag(invocation, "dry-run"))
        return print_plan(invocation, request.pipeline, request.parameters, request.inputs, err) < 0
                   ? -1
                   : STATUS_SUCCEEDED;
    OWN_ENGINE engine = NULL;
    OWN_STRING run = NULL;
    if (session_open(invocation, SESSION_MAKE, &engine, err) < 0)
        return -1;
    OWN_ERROR problem = NULL;
    if (create(invocation, engine, &request, &run, &problem) < 0) {
        bool invalid =
            problem && (problem->code == ERROR_INVALID || problem->code == ERROR_NOT_FOUND);
        if (!invalid)
            return error_move(err, take(&problem));
        session_print_error(problem);
        return STATUS_INVALID;
    }
    if (reports && engine_report_to(engine, run, &request.report.to, err) < 0)
        return -1;
    if (given_flag(invocation, "detach"))
        return follow_in_background(invocation, engine, run, err);
    return follow_run(invocation, engine, run, given_flag(invocation, "wait"), err);
}

static const struct argument_entry arguments[] = {
    {.name = "PIPELINE",
     .help = "a pipeline file, or the folder of a run or a copy of it (an RO-Crate)",
     .complete = COMPLETE_FILE},
};
static const struct option_entry options[] = {
    {.name = "input",
     .letter = 'i',
     .value = "NAME=PATH",
     .complete = COMPLETE_FILE,
     .help = "the file or folder for an input of the pipeline",
     .repeats = true},
    {.name = "param",
     .letter = 'p',
     .value = "NAME=VALUE",
     .help = "the value of a parameter",
     .repeats = true},
    {.name = "output",
     .letter = 'o',
     .value = "DIR",
     .complete = COMPLETE_DIRECTORY,
     .help = "put the pipeline's outputs here, instead of the run's own folder"},
    {.name = "from",
     .value = "STEP[@PARTITION]",
     .help = "run this and all that follows from it anew, even if nothing changed"},
    {.name = "only",
     .value = "STEP",
     .help = "run only this step and what it needs",
     .repeats = true},
    SESSION_PLUGINS_OPTION,
    SENDER_OPTIONS,
    {.name = "no-reuse", .help = "run everything anew, even if nothing changed"},
    {.name = "wait", .help = "go on waiting for people instead of ending with status 4"},
    {.name = "detach", .letter = 'd', .help = "run in the background; print the run's name"},
    {.name = "dry-run", .letter = 'n', .help = "check everything and print what would run"},
};

const struct command command_run = {
    .name = "run",
    .group = GROUP_PIPELINE,
    .summary = "run a pipeline",
    .description =
        "Checks the pipeline, its parameters and its inputs; nothing starts when there is a "
        "mistake in them. Then runs its steps, shows how they move, and ends with what came out. "
        "Work that was done before, with the same program on the same data, is not done again: "
        "\"glovebox why\" says for each task why it ran or did not.\n"
        "\n"
        "When only people can move the run on, it ends with status 4 and says what waits for "
        "whom; the answer is given with \"glovebox decide\".\n"
        "\n"
        "Ctrl-C leaves the run: the tasks that run go on, nothing new starts, and \"glovebox "
        "resume\" takes it up again. \"glovebox cancel\" stops it. Nothing that was done is lost "
        "either way, nor when this program is killed.\n"
        "\n"
        "A run leaves an RO-Crate in its folder. Given such a folder (or a copy, anywhere), the "
        "same pipeline runs again with the same parameters and inputs, except for those that are "
        "given; inputs that are written to must be given. At the end it says which inputs and "
        "outputs are as they were recorded.",
    .examples = "# Run a pipeline on a folder of images\n"
                "glovebox run pipelines/covidnet.yaml -i scans=lungs -o results\n"
                "# Use another model\n"
                "glovebox run pipelines/covidnet.yaml -i scans=lungs -p model=net.onnx\n"
                "# Start it in the background, from a script\n"
                "run=$(glovebox run --detach pipelines/hello.yaml)\n"
                "# Run again what somebody else ran, on this machine's copy of the images\n"
                "glovebox run their-run -i scans=lungs\n",
    COMMAND_ARGUMENTS(arguments),
    COMMAND_OPTIONS(options),
    .handle = handle,
};
