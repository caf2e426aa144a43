/* The tags of all images in one folder, beside the report. */
#include "tools/private-report.h"
#include "tools/private-tools.h"

#include <fcntl.h>
#include <sys/stat.h>

#define MAXIMUM_DUMP ((size_t)256 << 20)

struct tag_gathering {
    int output; /* OUTPUT/tags */
    int table;  /* OUTPUT/tags/tags.csv, -1 until there is a row */
};

/* Every part has the same first line: the names of the columns. */
static int add_rows(struct tag_gathering *self, const struct buffer *part, struct error **err) {
    const char *rows = buffer_text(part);
    if (self->table < 0) {
        self->table = file_open(self->output, "tags.csv", O_WRONLY | O_CREAT | O_TRUNC, 0644, err);
        if (self->table < 0)
            return -1;
    } else {
        rows += strcspn(rows, "\n");
        rows += *rows == '\n';
    }
    return file_write_all(self->table, rows, part->size - (size_t)(rows - buffer_text(part)), err);
}

static int add_part(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                    struct error **err) {
    struct tag_gathering *self = context;
    OWN_BUFFER bytes = {.maximum = MAXIMUM_DUMP};
    (void)verdict;
    bool table = text_equal(entry->name, "tags.csv");
    if (!S_ISREG(entry->status->st_mode) || text_equal(entry->name, "result.json") ||
        (!table && !text_ends_with(entry->name, ".json")))
        return 0;
    if (file_read_all(entry->directory, entry->name, bytes.maximum, &bytes, err) != 0)
        return -1;
    if (table)
        return add_rows(self, &bytes, err);
    if (file_exists(self->output, entry->name))
        return error_set(err, ERROR_EXISTS, "two images have the same name");
    return output_write(self->output, entry->name, bytes.data, bytes.size, err);
}

int report_gather_tags(int input, int output, struct error **err) {
    struct tag_gathering self = {.output = -1, .table = -1};
    if (!file_exists(input, "tags"))
        return 0;
    if (directory_make(output, "tags", 0755, err) != 0)
        return -1;
    self.output = file_open(output, "tags", O_RDONLY | O_DIRECTORY, 0, err);
    int result = self.output < 0 ? -1 : tree_walk(input, "tags", add_part, &self, err);
    file_close(&self.table);
    file_close(&self.output);
    return result;
}
