/* Batches of files, result.json, and writing below the output directory. */
#include "tools/private-tools.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAXIMUM_LISTED 1000 /* broken files that are named; all are counted */

/* ------------------------------------------------------------------- helpers */

int output_write(int output, const char *path, const void *bytes, size_t size, struct error **err) {
    const char *slash = strrchr(path, '/');
    if (slash) {
        OWN_STRING folder = memory_copy_bytes(path, (size_t)(slash - path));
        if (!folder)
            return error_set_memory(err);
        if (directory_make(output, folder, 0755, err) != 0)
            return -1;
    }
    return file_write_atomic(output, path, bytes, size, 0644, err);
}

int output_write_json(int output, const char *path, const json_t *json, struct error **err) {
    char *text = json_dumps(json, JSON_INDENT(1));
    if (!text)
        return error_set_memory(err);
    OWN_BUFFER line = {0};
    buffer_append(&line, text);
    buffer_append_char(&line, '\n');
    free(text);
    if (buffer_check(&line, err) != 0)
        return -1;
    return output_write(output, path, buffer_text(&line), line.size, err);
}

char *path_with_suffix(const char *path, const char *suffix) {
    static const char *const known[] = {".dcm", ".dicom", ".ima", ".png"};
    size_t length = strlen(path);
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        size_t size = strlen(known[i]);
        if (length > size && strcasecmp(path + length - size, known[i]) == 0 &&
            path[length - size - 1] != '/')
            return memory_format("%.*s%s", (int)(length - size), path, suffix);
    }
    return memory_format("%s%s", path, suffix);
}

void date_text(char text[CLOCK_TEXT_SIZE]) {
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    int64_t seconds;
    if (epoch && text_parse_integer(epoch, 0, INT64_C(253402300799), &seconds, NULL) == 0)
        clock_format(seconds * 1000, text);
    else
        clock_format(clock_wall(), text);
}

/* ------------------------------------------------------------------- batches */

void batch_release(struct batch *batch) {
    file_close(&batch->output);
    json_decref(batch->result);
    batch->result = NULL;
}

int batch_open(struct batch *batch, const struct tool_call *call, struct error **err) {
    batch->call = call;
    batch->output = -1;
    batch->result = json_pack("{s:s, s:[]}", "tool", call->tool->name, "failed");
    if (!batch->result)
        return error_set_memory(err);
    batch->failed = json_object_get(batch->result, "failed");
    if (directory_make(AT_FDCWD, call->output, 0755, err) != 0)
        return -1;
    batch->output = file_open(AT_FDCWD, call->output, O_RDONLY | O_DIRECTORY, 0, err);
    return batch->output < 0 ? -1 : 0;
}

static int note_failure(struct batch *batch, struct error *reason, struct error **err) {
    batch->broken++;
    if (tool_switch(batch->call, "strict"))
        return error_set(err, reason->code, "file %zu: %s", batch->number, reason->message);
    if (batch->broken > MAXIMUM_LISTED)
        return 0;
    OWN_STRING number = memory_format("#%zu", batch->number);
    OWN_BUFFER name = {0};
    if (!batch->hide_names) /* file names are bytes; JSON is UTF-8 */
        text_append_printable(&name, batch->path);
    json_t *entry = json_pack("{s:s, s:s}", "file", name.size ? buffer_text(&name) : number,
                              "reason", reason->message);
    return json_array_append_new(batch->failed, entry) == 0 ? 0 : error_set_memory(err);
}

/* The file at hand, whatever becomes of it. -1 only when the batch must stop. */
static int work_on(struct batch *batch, struct error **err) {
    OWN_ERROR reason = NULL;
    batch->number++;
    int outcome = batch->each(batch, &reason);
    if (outcome == BATCH_DONE)
        batch->done++;
    else if (outcome == BATCH_SKIPPED)
        batch->skipped++;
    else if (reason && reason->code == ERROR_MEMORY)
        return error_move(err, take(&reason));
    else
        return note_failure(batch, reason, err);
    return 0;
}

static int visit(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                 struct error **err) {
    struct batch *batch = context;
    (void)verdict;
    if (!S_ISREG(entry->status->st_mode))
        return 0;
    batch->directory = entry->directory;
    batch->name = entry->name;
    batch->path = entry->path;
    return work_on(batch, err);
}

int batch_walk(struct batch *batch, struct error **err) {
    struct stat status;
    const char *input = batch->call->input;
    if (stat(input, &status) != 0)
        return error_set_errno(err, errno, "cannot look at the input %s", input);
    if (S_ISDIR(status.st_mode))
        return tree_walk(AT_FDCWD, input, visit, batch, err);
    batch->directory = AT_FDCWD;
    batch->name = input;
    batch->path = path_base_name(input);
    return work_on(batch, err);
}

int batch_finish(struct batch *batch, struct error **err) {
    if (json_object_set_new(batch->result, "done", json_integer((json_int_t)batch->done)) != 0 ||
        json_object_set_new(batch->result, "skipped", json_integer((json_int_t)batch->skipped)) !=
            0 ||
        json_object_set_new(batch->result, "broken", json_integer((json_int_t)batch->broken)) != 0)
        return error_set_memory(err);
    if (output_write_json(batch->output, "result.json", batch->result, err) != 0)
        return -1;
    if (batch->done == 0 && batch->broken == 0)
        return error_set(err, ERROR_NOT_FOUND, "there is no %s in the input (%zu files looked at)",
                         batch->kind, batch->skipped);
    if (batch->done == 0)
        return error_set(err, ERROR_INVALID, "all %zu files are broken; the first: %s",
                         batch->broken,
                         json_get_string(json_array_get(batch->failed, 0), "reason", "?"));
    if (batch->broken == 0)
        return TOOL_OK;
    log_message(LOG_WARNING, "%s: %zu of %zu files are broken, see result.json",
                batch->call->tool->name, batch->broken, batch->broken + batch->done);
    return tool_switch(batch->call, "lenient") ? TOOL_OK : TOOL_PARTIAL;
}

int batch_run(struct batch *batch, const struct tool_call *call, struct error **err) {
    if (batch_open(batch, call, err) != 0 || batch_walk(batch, err) != 0)
        return -1;
    return batch_finish(batch, err);
}
