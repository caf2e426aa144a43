/* What came of a run, in lines that can be acted upon. */
#include "cli/follow.h"

#define SHOWN_MAXIMUM 5 /* failures, and things that wait */

struct summary {
    const json_t *status;
    const struct terminal *terminal;
    const char *run;
    struct buffer *out;
};

static void head(const struct summary *summary) {
    const char *state = json_get_string(summary->status, "state", "");
    style_text(summary->out, summary->terminal->colour, STYLE_STRONG, summary->run);
    buffer_append_char(summary->out, ' ');
    style_text(summary->out, summary->terminal->colour, style_of_state(state),
               text_equal(state, "waiting") ? "waits for people" : state);
    int64_t started = json_time(summary->status, "started"),
            ended = json_time(summary->status, "ended");
    if (started >= 0) {
        buffer_append(summary->out, ended >= 0 ? " in " : " after ");
        text_format_duration(summary->out, (ended >= 0 ? ended : clock_wall()) - started);
    }
    bool first = true;
    const char *key;
    const json_t *count;
    json_object_foreach((json_t *)(uintptr_t)json_object_get(summary->status, "tasks"), key,
                        count) {
        if (!json_is_integer(count) || json_integer_value(count) == 0)
            continue;
        buffer_format(summary->out, "%s%lld %s", first ? ": " : ", ",
                      (long long)json_integer_value(count), key);
        first = false;
    }
    buffer_append_char(summary->out, '\n');
    const char *note = json_get_string(summary->status, "note", "");
    if (*note && !text_equal(state, "waiting")) {
        buffer_append(summary->out, "  ");
        text_append_printable(summary->out, note);
        buffer_append_char(summary->out, '\n');
    }
}

static void outputs(const struct summary *summary) {
    json_t *delivered = json_object_get(summary->status, "outputs"), *path;
    const char *name;
    if (json_object_size(delivered))
        buffer_append(summary->out, "outputs\n");
    json_object_foreach(delivered, name, path) {
        buffer_append(summary->out, "  ");
        text_append_printable(summary->out, name);
        buffer_append(summary->out, ": ");
        text_append_printable(summary->out, json_string_value(path));
        buffer_append_char(summary->out, '\n');
    }
}

/* What concerns the run as a whole: an input that cannot be read, a limit that does not hold. */
static void remarks(const struct summary *summary, const char *key, const char *word,
                    enum style style) {
    const json_t *list = json_object_get(summary->status, key), *remark;
    size_t i;
    json_array_foreach(list, i, remark) {
        const char *hint = json_get_string(remark, "hint", "");
        style_text(summary->out, summary->terminal->colour, style, word);
        buffer_append(summary->out, ": ");
        text_append_printable(summary->out, json_get_string(remark, "message", ""));
        if (*hint) {
            buffer_append(summary->out, "\n  hint: ");
            text_append_printable(summary->out, hint);
        }
        buffer_append_char(summary->out, '\n');
    }
}

static void one_failure(const struct summary *summary, const json_t *task) {
    struct buffer *out = summary->out;
    buffer_append(out, "  ");
    text_append_task(out, json_step(task), json_partition(task));
    const char *detail = json_get_string(task, "detail", ""),
               *cause = json_get_string(task, "cause", ""), *log = json_get_string(task, "log", "");
    buffer_append(out, ": ");
    if (text_equal(cause, "exit"))
        buffer_format(out, "exit status %lld", (long long)json_get_integer(task, "exit", -1));
    else
        text_append_printable(out, *cause ? cause : "failed");
    if (*detail) {
        buffer_append(out, ", ");
        text_append_printable(out, detail);
    }
    buffer_append_char(out, '\n');
    if (*log) {
        buffer_append(out, "    log: ");
        text_append_printable(out, log);
        buffer_append_char(out, '\n');
    }
}

static void failures(const struct summary *summary) {
    const json_t *failed = json_object_get(summary->status, "failed");
    size_t count = json_array_size(failed), i;
    const json_t *task;
    if (count == 0)
        return;
    int64_t all = json_count(json_object_get(summary->status, "tasks"), "failed");
    style_text(summary->out, summary->terminal->colour, STYLE_BAD, "failed");
    buffer_append_char(summary->out, '\n');
    json_array_foreach(failed, i, task) {
        if (i < SHOWN_MAXIMUM)
            one_failure(summary, task);
    }
    if (all > SHOWN_MAXIMUM)
        buffer_format(summary->out, "  and %lld more: glovebox tasks %s --state failed\n",
                      (long long)all - SHOWN_MAXIMUM, summary->run);
    task = json_array_get(failed, 0);
    buffer_append(summary->out, "look further\n");
    if (*json_get_string(task, "log", "")) {
        buffer_format(summary->out, "  glovebox logs %s ", summary->run);
        text_append_task_argument(summary->out, json_step(task), json_partition(task));
        buffer_append_char(summary->out, '\n');
    }
    buffer_format(summary->out, "  glovebox why %s ", summary->run);
    text_append_task_argument(summary->out, json_step(task), json_partition(task));
    buffer_format(
        summary->out,
        "\n  glovebox retry %s\n"
        "that tries the same once more; after an edit of the pipeline, \"glovebox run\" it "
        "again: what is done is reused\n",
        summary->run);
}

static void people(const struct summary *summary) {
    const json_t *waiting = json_object_get(summary->status, "waiting");
    size_t count = json_array_size(waiting), i;
    const json_t *task;
    if (count == 0)
        return;
    style_text(summary->out, summary->terminal->colour, STYLE_ASK, "waits for you");
    buffer_append_char(summary->out, '\n');
    json_array_foreach(waiting, i, task) {
        if (i >= SHOWN_MAXIMUM)
            break;
        const char *message = json_get_string(task, "message", "");
        buffer_append(summary->out, "  ");
        text_append_task(summary->out, json_step(task), json_partition(task));
        buffer_append(summary->out, *message ? ": " : "");
        text_append_printable(summary->out, message);
        buffer_format(summary->out, "\n    glovebox decide %s ", summary->run);
        text_append_task_argument(summary->out, json_step(task), json_partition(task));
        buffer_append(summary->out, " approve|reject\n");
    }
    if (count > SHOWN_MAXIMUM)
        buffer_format(summary->out, "  and more: glovebox tasks %s --state deciding\n",
                      summary->run);
}

/* Whether a run that was made from a crate read and made the same. */
static void recorded(const struct summary *summary) {
    static const char *const words[] = {"as recorded", "not as recorded", "recorded, but not made"};
    const json_t *recorded = json_object_get(summary->status, "recorded"), *item;
    const json_t *items = json_object_get(recorded, "items");
    for (size_t word = 0; word < ARRAY_SIZE(words); word++) {
        bool first = true;
        size_t i;
        json_array_foreach(items, i, item) {
            size_t verdict = json_is_true(json_object_get(item, "same"))      ? 0
                             : json_is_string(json_object_get(item, "found")) ? 1
                                                                              : 2;
            if (verdict != word)
                continue;
            if (first)
                style_text(summary->out, summary->terminal->colour,
                           word == 0 ? STYLE_GOOD : STYLE_ASK, words[word]);
            if (first && word == 0) {
                buffer_append(summary->out, " in ");
                text_append_printable(summary->out, json_get_string(recorded, "run", ""));
            }
            buffer_append(summary->out, first ? ": " : ", ");
            text_append_printable(summary->out, json_get_string(item, "name", ""));
            first = false;
        }
        if (!first)
            buffer_append_char(summary->out, '\n');
    }
}

/* What a MedPerf server was told. */
static void reporting(const struct summary *summary) {
    const json_t *to = json_object_get(summary->status, "reporting");
    const char *problem = json_get_string(to, "problem", "");
    int64_t sent = json_time(to, "sent_at");
    if (!to)
        return;
    buffer_append(summary->out, "reports to ");
    text_append_printable(summary->out, json_get_string(to, "server", ""));
    buffer_format(summary->out, ", dataset %lld%s: ", (long long)json_get_integer(to, "dataset", 0),
                  json_is_true(json_object_get(to, "progress")) ? "" : ", without progress");
    if (sent >= 0) {
        buffer_append(summary->out, "sent at ");
        text_append_time(summary->out, sent);
    } else
        buffer_append(summary->out, "nothing sent yet");
    buffer_append(summary->out, json_is_true(json_object_get(to, "sent")) ? "\n"
                                : sent >= 0 ? ", there is news since\n"
                                            : "\n");
    if (*problem) {
        buffer_append(summary->out, "  not sent: ");
        text_append_printable(summary->out, problem);
        buffer_format(summary->out, "\n  glovebox report %s    tries again now\n", summary->run);
    }
}

int summary_append(struct engine *engine, const char *run, const struct terminal *terminal,
                   unsigned parts, struct buffer *out, struct error **err) {
    OWN_JSON status = engine_status(engine, run, err);
    if (!status)
        return -1;
    struct summary summary = {status, terminal, run, out};
    const char *state = json_get_string(status, "state", "");
    if (parts & SUMMARY_HEAD)
        head(&summary);
    if (parts & SUMMARY_WRONG) {
        remarks(&summary, "problems", "error", STYLE_BAD);
        remarks(&summary, "warnings", "warning", STYLE_ASK);
        failures(&summary);
    }
    if (parts & SUMMARY_TOLD)
        reporting(&summary);
    if (!(parts & SUMMARY_REST))
        return 0;
    people(&summary);
    bool left = text_equal(state, "running") || text_equal(state, "planned");
    if (text_equal(state, "paused"))
        buffer_format(out, "goes on with\n  glovebox resume %s\n", run);
    else if (left && !engine_is_driven(engine))
        buffer_format(out, "nobody drives it; it goes on with\n  glovebox resume %s\n", run);
    outputs(&summary);
    recorded(&summary);
    return 0;
}
