/* MedPerf's report file: how much of each step is done, for those who watch a federation. */
#include "private.h"

#include <fcntl.h>
#include <strings.h>

#define REPORT_INTERVAL 2000 /* ms between looks */

/* The input that says where the file goes; NULL when it goes to the run's own folder. False when
 * a container of the pipeline writes it. */
static bool find_place(const struct run *run, const char **ret) {
    const struct pipeline *pipeline = run->pipeline;
    *ret = NULL;
    for (size_t i = 0; i < pipeline->input_count; i++) {
        if (!text_equal(pipeline->inputs[i].name, "report_file"))
            continue;
        *ret = run->input_sources[i].path;
        for (size_t s = 0; s < pipeline->step_count; s++)
            for (size_t m = 0; m < pipeline->steps[s].mount_count; m++)
                if (pipeline->steps[s].mounts[m].from.kind == REFERENCE_INPUT &&
                    pipeline->steps[s].mounts[m].from.index == i)
                    return false;
    }
    return true;
}

/* Names that YAML takes for texts without quotes. */
static bool is_plain(const char *text) {
    static const char *const words[] = {"true", "false", "yes", "no", "on",
                                        "off",  "null",  "y",   "n"};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (strcasecmp(words[i], text) == 0)
            return false;
    bool letter = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z');
    return letter && strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "_-") == strlen(text);
}

/* In percent with up to three places, as Python writes round(x, 3). */
static void append_share(struct buffer *out, uint32_t done, uint32_t all) {
    uint64_t thousandths = all ? ((uint64_t)done * 200000 + all) / (2 * (uint64_t)all) : 0;
    char digits[8];
    (void)snprintf(digits, sizeof(digits), "%03u", (unsigned)(thousandths % 1000));
    size_t places = 3;
    while (places > 1 && digits[places - 1] == '0')
        places--;
    buffer_format(out, "%u.%.*s\n", (unsigned)(thousandths / 1000), (int)places, digits);
}

static void append_step(struct buffer *out, const struct run_step *step) {
    uint32_t all = 0;
    for (int state = 0; state < TASK_STATE_COUNT; state++)
        all += step->counts[state];
    buffer_append(out, "  ");
    if (is_plain(step->step->id))
        buffer_append(out, step->step->id);
    else
        json_append_string(out, step->step->id);
    buffer_append(out, ": ");
    append_share(out, step->counts[TASK_SUCCEEDED] + step->counts[TASK_REUSED], all);
}

static char *report_text(const struct run *run) {
    OWN_BUFFER out = {0};
    buffer_format(&out, "execution_status: %s\nprogress:\n",
                  run->state == RUN_SUCCEEDED  ? "done"
                  : run->state > RUN_SUCCEEDED ? "failed"
                                               : "running");
    for (size_t i = 0; i < run->pipeline->step_count; i++)
        append_step(&out, &run->steps[i]);
    return buffer_take(&out, NULL);
}

void report_write(struct run *run, bool now) {
    const char *given = NULL;
    int64_t time = clock_monotonic();
    if (run->pipeline->dialect != DIALECT_MEDPERF ||
        (!now && run->report_time && time - run->report_time < REPORT_INTERVAL) ||
        !find_place(run, &given))
        return;
    run->report_time = time;
    OWN_STRING text = report_text(run);
    OWN_STRING path = given ? memory_copy_string(given)
                            : home_path(run->engine, "runs/%s/report.yaml", run->name);
    OWN_ERROR problem = NULL;
    if (!text || !path || (run->report && text_equal(run->report, text)))
        return;
    if (file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644, &problem) < 0)
        log_message(LOG_WARNING, "the report of run %s could not be written: %s", run->name,
                    problem->message);
    memory_free(run->report);
    run->report = take(&text);
}
