/* glovebox tool file-join: files of several folders in one. */
#include "tools/private-tools.h"

#include <fcntl.h>
#include <regex.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOURCES_MAXIMUM 1000

static const struct tool_option options[] = {
    {"sources", "NAME,NAME",
     "the folders below INPUT that are joined, in this order; without it all of them", NULL},
    {"filters", "REGEX,REGEX",
     "one for each source: only files whose path matches this extended regular expression", NULL},
    {"by-source", NULL, "each source gets a folder of its own below OUTPUT", NULL},
};

struct joiner {
    int input, output;
    const char *filters; /* what is left of them, or NULL */
    bool by_source;
    const char *source; /* the one at hand */
    regex_t pattern;
    bool filtered;
    size_t files, links;
};

static int copy_entry(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                      struct error **err) {
    struct joiner *self = context;
    (void)verdict;
    self->links += S_ISLNK(entry->status->st_mode);
    if (!S_ISREG(entry->status->st_mode))
        return 0;
    if (self->filtered && regexec(&self->pattern, entry->path, 0, NULL, 0) != 0)
        return 0;
    OWN_STRING path =
        self->by_source ? path_join(self->source, entry->path) : memory_copy_string(entry->path);
    if (!path)
        return error_set_memory(err);
    size_t folder = strlen(path) - strlen(path_base_name(path));
    OWN_STRING parent = folder ? memory_copy_bytes(path, folder - 1) : NULL;
    if (folder && !parent)
        return error_set_memory(err);
    if (parent && directory_make(self->output, parent, 0755, err) < 0)
        return -1;
    if (file_exists(self->output, path)) /* an earlier source's is kept, as in ChRIS */
        return 0;
    self->files++;
    return file_copy(entry->directory, entry->name, self->output, path,
                     entry->status->st_mode & 0777, err);
}

/* The next part of `--filters`; \d is understood as in Python. */
static int next_filter(struct joiner *self, struct error **err) {
    OWN_BUFFER text = {0};
    self->filtered = false;
    if (!self->filters)
        return 0;
    size_t size = strcspn(self->filters, ",");
    for (size_t i = 0; i < size; i++) {
        bool digit = self->filters[i] == '\\' && self->filters[i + 1] == 'd';
        if (digit)
            buffer_append(&text, "[0-9]");
        else
            buffer_append_char(&text, self->filters[i]);
        i += digit;
    }
    self->filters += size + (self->filters[size] == ',');
    if (buffer_check(&text, err) < 0)
        return -1;
    if (regcomp(&self->pattern, buffer_text(&text), REG_EXTENDED | REG_NOSUB) != 0)
        return error_set(err, ERROR_USAGE, "`%s` is not a regular expression", buffer_text(&text));
    self->filtered = true;
    return 0;
}

static int join_source(struct joiner *self, const char *name, struct error **err) {
    if (!path_is_safe_relative(name))
        return error_set(err, ERROR_USAGE, "`%s` cannot be the name of a source", name);
    if (next_filter(self, err) < 0)
        return -1;
    self->source = name;
    int result = file_exists(self->input, name)
                     ? tree_walk(self->input, name, copy_entry, self, err)
                     : error_set(err, ERROR_NOT_FOUND, "INPUT has no folder \"%s\"", name);
    if (self->filtered)
        regfree(&self->pattern);
    return result;
}

static int join_named(struct joiner *self, const char *names, struct error **err) {
    for (const char *at = names; *at;) {
        size_t size = strcspn(at, ",");
        OWN_STRING name = memory_copy_bytes(at, size);
        if (!name)
            return error_set_memory(err);
        if (join_source(self, name, err) < 0)
            return -1;
        at += size + (at[size] == ',');
    }
    return 0;
}

static int add_name(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                    struct error **err) {
    struct buffer *names = context;
    *verdict = TREE_SKIP;
    if (!S_ISDIR(entry->status->st_mode))
        return 0;
    if (strchr(entry->name, ','))
        return error_set(err, ERROR_INVALID, "a source has a comma in its name");
    buffer_format(names, "%s%s", names->size ? "," : "", entry->name);
    return 0;
}

static int run(const struct tool_call *call, struct error **err) {
    const char *names = tool_value(call, "sources");
    OWN_BUFFER all = {0};
    if (directory_make(AT_FDCWD, call->output, 0755, err) < 0)
        return -1;
    OWN_FD input = file_open(AT_FDCWD, call->input, O_RDONLY | O_DIRECTORY, 0, err);
    if (input < 0)
        return -1;
    OWN_FD output = file_open(AT_FDCWD, call->output, O_RDONLY | O_DIRECTORY, 0, err);
    if (output < 0)
        return -1;
    if (!names && tree_walk(input, ".", add_name, &all, err) < 0)
        return -1;
    struct joiner self = {.input = input,
                          .output = output,
                          .filters = tool_value(call, "filters"),
                          .by_source = tool_switch(call, "by-source")};
    if (join_named(&self, names ? names : buffer_text(&all), err) < 0)
        return -1;
    printf("%zu files\n", self.files);
    if (self.links) /* in words that name none: they may tell of patients */
        printf("%zu links left out\n", self.links);
    return TOOL_OK;
}

const struct tool tool_file_join = {
    .name = "file-join",
    .summary = "Puts the files of several folders into one",
    .input = "a folder with a folder for each source",
    .output = "the files of all of them",
    .help = "Copies what the sources hold into one folder, as plugins of type ts do in ChRIS. "
            "Where two sources have a file of the same name, the earlier one's is kept. Links are "
            "left out.",
    .options = options,
    .option_count = ARRAY_SIZE(options),
    .run = run,
};
