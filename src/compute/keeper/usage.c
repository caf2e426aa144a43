/* What a running job uses just now. */
#include "compute/keeper/keeper.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* What a running job used so far: from its cgroups, else summed over its processes. */

enum { PROCESSES_MEASURED = 256 };

static ssize_t read_text(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t count = read(fd, text, size - 1);
    close(fd);
    text[count > 0 ? count : 0] = '\0';
    return count;
}

static void add_process(pid_t pid, struct record *record, int64_t tick) {
    char path[64], text[4096];
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (read_text(path, text, sizeof(text)) <= 0)
        return;
    const char *at = strrchr(text, ')');
    for (int field = 2; at && field < 14; field++)
        at = strchr(at + 1, ' ');
    if (!at)
        return;
    char *end;
    int64_t user = (int64_t)strtoull(at + 1, &end, 10);
    int64_t kernel = (int64_t)strtoull(end, &end, 10);
    user += strtoll(end, &end, 10); /* of children that were waited for */
    kernel += strtoll(end, &end, 10);
    record->cpu_user += user * tick;
    record->cpu_system += kernel * tick;
    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    if (read_text(path, text, sizeof(text)) <= 0)
        return;
    const char *peak = strstr(text, "VmHWM:");
    if (peak)
        record->peak_memory += strtoull(peak + 6, NULL, 10) * 1024;
}

static size_t add_children(pid_t pid, pid_t *found, size_t count) {
    char path[64], text[4096];
    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
    if (read_text(path, text, sizeof(text)) <= 0)
        return count;
    char *at = text;
    for (;;) {
        char *end;
        long child = strtol(at, &end, 10);
        if (end == at || count == PROCESSES_MEASURED)
            return count;
        found[count++] = (pid_t)child;
        at = end;
    }
}

void usage_measure(struct keeper *keeper, const struct job *job, struct record *record) {
    int64_t tick = 1000000 / sysconf(_SC_CLK_TCK);
    pid_t found[PROCESSES_MEASURED] = {job->pid};
    size_t count = 1;
    for (size_t i = 0; i < count; i++) {
        add_process(found[i], record, tick);
        count = add_children(found[i], found, count);
    }
    (void)group_read(keeper->groups, &job->group, record);
}
