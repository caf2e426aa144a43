/* MedPerf's report file: how much of each step is done, for those who watch a federation. */
#include "private.h"

#include <fcntl.h>
#include <strings.h>

#define LOOK_INTERVAL 1000 /* ms */

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

void report_append_share(struct buffer *out, uint64_t done, uint64_t all) {
    uint64_t thousandths = all ? (done * 200000 + all) / (2 * all) : 0;
    char digits[8];
    (void)snprintf(digits, sizeof(digits), "%03u", (unsigned)(thousandths % 1000));
    size_t places = 3;
    while (places > 1 && digits[places - 1] == '0')
        places--;
    buffer_format(out, "%u.%.*s", (unsigned)(thousandths / 1000), (int)places, digits);
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
    report_append_share(out, step->counts[TASK_SUCCEEDED] + step->counts[TASK_REUSED], all);
    buffer_append_char(out, '\n');
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

/* Whether it is time to look again: a person may have said how often. */
static bool is_due(struct run *run) {
    int64_t now = clock_monotonic(), every = 0;
    if (run->report_looked && now - run->report_looked < LOOK_INTERVAL)
        return false;
    run->report_looked = now;
    OWN_ERROR problem = NULL;
    if (reporting_interval(run->engine, run->id, &every, &problem) < 0)
        return false;
    return !run->report_time || now - run->report_time >= every;
}

void report_write(struct run *run, bool now) {
    const char *given = NULL;
    if (run->pipeline->dialect != DIALECT_MEDPERF || (!now && !is_due(run)) ||
        !find_place(run, &given))
        return;
    run->report_time = clock_monotonic();
    OWN_STRING text = report_text(run);
    OWN_STRING path = given ? memory_copy_string(given)
                            : home_path(run->engine, "runs/%s/report.yaml", run->name);
    OWN_ERROR problem = NULL;
    if (!text || !path ||
        (run->report && text_equal(run->report, text) && file_exists(AT_FDCWD, path)))
        return;
    if (file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644, &problem) < 0)
        log_message(LOG_WARNING, "the report of run %s could not be written: %s", run->name,
                    problem->message);
    memory_free(run->report);
    run->report = take(&text);
}
