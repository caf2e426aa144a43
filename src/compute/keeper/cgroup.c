/*
 * Limits by cgroups, version 1 (a hierarchy for each controller) and 2 (one for all). A job gets a
 * group only in the controllers that its limits ask for: making one is not free. Groups are
 * called "glovebox-PID-N", below the keeper's own group or an ancestor that permits it.
 */
#include "compute/keeper/keeper.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

enum controller { MEMORY, CPU, PROCESSES, CONTROLLERS };
enum { STALE_MAXIMUM = 256 };

static const char *const controller_names[] = {"memory", "cpu", "pids"};

struct groups {
    bool boxed;
    bool unified;             /* version 2 */
    int folders[CONTROLLERS]; /* where job groups are made, -1: not to be had */
    unsigned next;
    char stale[STALE_MAXIMUM][32]; /* could not be removed yet */
    size_t stale_count;
};

/* ----------------------------------------------------------------- small files */

static ssize_t read_at(int folder, const char *group, const char *file, char *text, size_t size) {
    char path[160];
    (void)snprintf(path, sizeof(path), "%s/%s", group, file);
    int fd = openat(folder, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t count = read(fd, text, size - 1);
    close(fd);
    text[count > 0 ? count : 0] = '\0';
    return count;
}

static int write_at(int folder, const char *group, const char *file, const char *text) {
    char path[160];
    (void)snprintf(path, sizeof(path), "%s/%s", group, file);
    int fd = openat(folder, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t count = write(fd, text, strlen(text));
    int number = errno;
    close(fd);
    errno = number;
    return count < 0 ? -1 : 0;
}

static int write_number(int folder, const char *group, const char *file, uint64_t value) {
    char text[32];
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    return write_at(folder, group, file, text);
}

/* The number after `key` in a file of "key value" lines. */
static uint64_t read_key(int folder, const char *group, const char *file, const char *key) {
    char text[2048];
    if (read_at(folder, group, file, text, sizeof(text)) <= 0)
        return 0;
    size_t size = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, size) == 0 && line[size] == ' ')
            return strtoull(line + size, NULL, 10);
    }
    return 0;
}

/* ---------------------------------------------------------- finding the hierarchies */

static bool has_word(const char *list, const char *word) {
    size_t size = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += size) {
        bool starts = at == list || strchr(", \n", at[-1]);
        if (starts && (at[size] == '\0' || strchr(", \n", at[size])))
            return true;
    }
    return false;
}

/* The keeper's group in the hierarchy of `controller` (NULL: version 2), from
 * "4:memory:/path" or "0::/path". */
static bool own_group(const char *controller, char *path, size_t size) {
    FILE *file = fopen("/proc/self/cgroup", "re");
    char line[4096];
    bool found = false;
    while (file && !found && fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        char *list = strchr(line, ':');
        char *group = list ? strchr(list + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = '\0';
        found = controller ? has_word(list + 1, controller) : strcmp(line, "0:") == 0;
        if (found)
            (void)snprintf(path, size, "%s", group);
    }
    if (file)
        (void)fclose(file);
    return found;
}

/* Where that hierarchy is mounted; `root` is which group stands there. Fields of a mountinfo line:
 * id parent device root point options… - type source super-options. */
static bool mount_point(const char *controller, char *point, char *root, size_t size) {
    FILE *file = fopen("/proc/self/mountinfo", "re");
    char line[8192];
    bool found = false;
    while (file && !found && fgets(line, sizeof(line), file)) {
        char *end = strstr(line, " - ");
        char type[32] = "", options[1024] = "";
        if (!end || sscanf(end, " - %31s %*s %1023s", type, options) != 2)
            continue;
        bool right = controller ? strcmp(type, "cgroup") == 0 && has_word(options, controller)
                                : strcmp(type, "cgroup2") == 0;
        found =
            right && size >= 4096 && sscanf(line, "%*s %*s %*s %4095s %4095s", root, point) == 2;
    }
    if (file)
        (void)fclose(file);
    return found;
}

static int open_own(const char *controller, char *base, size_t size) {
    char group[4096], point[4096], root[4096];
    if (!own_group(controller, group, sizeof(group)) ||
        !mount_point(controller, point, root, sizeof(point)))
        return -1;
    size_t length = strcmp(root, "/") == 0 ? 0 : strlen(root);
    const char *below = strncmp(group, root, length) == 0 ? group + length : "";
    if ((size_t)snprintf(base, size, "%s%s", point, below) >= size)
        return -1;
    while (strlen(base) > 1 && base[strlen(base) - 1] == '/')
        base[strlen(base) - 1] = '\0';
    int fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* The path may lie outside of what is mounted, as in some containers. */
    return fd >= 0 ? fd : open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* ------------------------------------------------------------------- trying them out */

/* Really makes a group, moves a process into it, and removes it. */
static bool works(int folder, const char *file) {
    char name[32];
    (void)snprintf(name, sizeof(name), "glovebox-%d-try", (int)getpid());
    if (mkdirat(folder, name, 0755) < 0)
        return false;
    bool good = read_at(folder, name, file, (char[64]){0}, 64) >= 0;
    pid_t pid = good ? (pid_t)syscall(SYS_clone, (unsigned long)SIGCHLD, 0, 0, 0, 0) : -1;
    if (pid == 0)
        _exit(write_at(folder, name, "cgroup.procs", "0") < 0);
    int status = 1;
    if (pid > 0 && waitpid(pid, &status, 0) != pid)
        status = 1;
    (void)unlinkat(folder, name, AT_REMOVEDIR);
    return status == 0;
}

/* Groups that a dead keeper left behind. */
static void remove_leftovers(int folder) {
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy >= 0 ? fdopendir(copy) : NULL;
    for (struct dirent *entry; list && (entry = readdir(list));) {
        int pid;
        if (sscanf(entry->d_name, "glovebox-%d-", &pid) == 1 && kill(pid, 0) < 0 && errno == ESRCH)
            (void)unlinkat(folder, entry->d_name, AT_REMOVEDIR);
    }
    if (list)
        (void)closedir(list);
}

static void open_version_1(struct groups *groups) {
    static const char *const files[] = {"memory.limit_in_bytes", "cpu.cfs_quota_us", "pids.max"};
    for (int i = 0; i < CONTROLLERS; i++) {
        char base[8192];
        int folder = open_own(controller_names[i], base, sizeof(base));
        if (folder >= 0 && works(folder, files[i])) {
            groups->folders[i] = folder;
            remove_leftovers(folder);
        } else if (folder >= 0) {
            close(folder);
        }
    }
}

/* Which controllers limit groups made in this folder, as bits. */
static unsigned usable(int folder) {
    static const char *const files[] = {"memory.max", "cpu.max", "pids.max"};
    char enabled[256];
    unsigned found = 0;
    if (read_at(folder, ".", "cgroup.subtree_control", enabled, sizeof(enabled)) <= 0)
        return 0;
    for (int i = 0; i < CONTROLLERS; i++) {
        if (has_word(enabled, controller_names[i]) && works(folder, files[i]))
            found |= 1u << i;
    }
    return found;
}

/* systemd marks the groups that it leaves to their processes. */
static bool is_delegated(int folder) {
    static const char *const marks[] = {"user.delegate", "trusted.delegate"};
    for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
        char value;
        if (fgetxattr(folder, marks[i], &value, 1) == 1 && value == '1')
            return true;
    }
    return false;
}

/* Controllers are for groups below one that has no processes itself: all of ours move into a group
 * of their own, this program's starters among them. */
static void make_room(int folder) {
    static const char aside[] = "glovebox-programs";
    if (mkdirat(folder, aside, 0755) < 0 && errno != EEXIST)
        return;
    bool moved = true;
    for (int pass = 0; moved && pass < 16; pass++) { /* each may find children born meanwhile */
        char text[8192], number[32];
        if (read_at(folder, ".", "cgroup.procs", text, sizeof(text)) <= 0)
            break;
        char *at = text;
        for (long pid; moved && (pid = strtol(at, &at, 10)) > 0 && (*at == '\n');) {
            (void)snprintf(number, sizeof(number), "%ld", pid);
            moved = write_at(folder, aside, "cgroup.procs", number) == 0 || errno == ESRCH;
        }
    }
    for (int i = 0; moved && i < CONTROLLERS; i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "+%s", controller_names[i]);
        (void)write_at(folder, ".", "cgroup.subtree_control", text);
    }
    (void)unlinkat(folder, aside, AT_REMOVEDIR); /* when nobody could be moved */
}

static int open_parent(int folder) {
    int parent = openat(folder, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0 || faccessat(parent, "cgroup.procs", F_OK, 0) == 0)
        return parent;
    close(parent); /* that was the uppermost */
    return -1;
}

/* Of this group and those above it the nearest with the most of the controllers that can be had. */
static int find_best(int folder, unsigned *ret_controllers) {
    int best = -1;
    *ret_controllers = 0;
    while (folder >= 0) {
        unsigned controllers = usable(folder);
        int parent = open_parent(folder);
        if (__builtin_popcount(controllers) > __builtin_popcount(*ret_controllers)) {
            if (best >= 0)
                close(best);
            best = folder;
            *ret_controllers = controllers;
        } else {
            close(folder);
        }
        folder = parent;
    }
    return best;
}

/* In a group that was left to us, what groups need is made there; else it has to be found. That an
 * ordinary user may write to it says that it was; of root that says nothing. */
static void open_version_2(struct groups *groups) {
    char base[8192];
    unsigned controllers = 0;
    int own = open_own(NULL, base, sizeof(base));
    if (own < 0)
        return;
    if (is_delegated(own))
        make_room(own);
    int folder = find_best(fcntl(own, F_DUPFD_CLOEXEC, 3), &controllers);
    if (folder < 0 && geteuid() != 0) {
        make_room(own);
        folder = find_best(fcntl(own, F_DUPFD_CLOEXEC, 3), &controllers);
    }
    close(own);
    if (folder < 0)
        return;
    for (int i = 0; i < CONTROLLERS; i++) {
        if (controllers & 1u << i)
            groups->folders[i] = fcntl(folder, F_DUPFD_CLOEXEC, 3);
    }
    groups->unified = true;
    remove_leftovers(folder);
    close(folder);
}

struct groups *groups_open(bool boxed) {
    struct groups *groups = calloc(1, sizeof(*groups));
    if (!groups)
        return NULL;
    groups->boxed = boxed;
    for (int i = 0; i < CONTROLLERS; i++)
        groups->folders[i] = -1;
    open_version_1(groups);
    if (groups->folders[MEMORY] < 0 && groups->folders[CPU] < 0 && groups->folders[PROCESSES] < 0)
        open_version_2(groups);
    return groups;
}

/* --------------------------------------------------------------------- a job's groups */

static bool set_memory(const struct groups *groups, const char *name, uint64_t memory) {
    int folder = groups->folders[MEMORY];
    if (groups->unified) {
        (void)write_at(folder, name, "memory.swap.max", "0");
        return write_number(folder, name, "memory.max", memory) == 0;
    }
    if (write_number(folder, name, "memory.limit_in_bytes", memory) < 0)
        return false;
    /* Memory and swap together; where swap is not accounted, at least do not prefer it. */
    if (write_number(folder, name, "memory.memsw.limit_in_bytes", memory) < 0)
        (void)write_at(folder, name, "memory.swappiness", "0");
    return true;
}

static bool set_cpu(const struct groups *groups, const char *name, uint64_t quota) {
    char text[64];
    if (!groups->unified)
        return write_number(groups->folders[CPU], name, "cpu.cfs_quota_us", quota) == 0;
    (void)snprintf(text, sizeof(text), "%llu 100000", (unsigned long long)quota);
    return write_at(groups->folders[CPU], name, "cpu.max", text) == 0;
}

/* In version 2 one folder serves all: it may be there already. */
static bool make(const struct groups *groups, const struct cgroup *group, enum controller which) {
    if (groups->folders[which] < 0)
        return false;
    return mkdirat(groups->folders[which], group->name, 0755) == 0 || errno == EEXIST;
}

void group_make(struct groups *groups, struct cgroup *group, const struct launch_message *limits,
                uint32_t *sandbox) {
    uint64_t processes = limits->processes;
    if (!groups || !(limits->memory || limits->cpu_quota || processes)) {
        *sandbox |= groups && groups->boxed ? SANDBOX_PROCESSES_USER : 0;
        return;
    }
    (void)snprintf(group->name, sizeof(group->name), "glovebox-%d-%u", (int)getpid(),
                   groups->next++);
    if (limits->memory) {
        group->memory =
            make(groups, group, MEMORY) && set_memory(groups, group->name, limits->memory);
        *sandbox |= group->memory ? SANDBOX_MEMORY_CGROUP : SANDBOX_MEMORY_PROCESS;
    }
    if (limits->cpu_quota) {
        group->cpu = make(groups, group, CPU) && set_cpu(groups, group->name, limits->cpu_quota);
        *sandbox |= group->cpu ? SANDBOX_CPU_CGROUP : SANDBOX_CPU_NONE;
    }
    if (processes) {
        /* The box's init is ours, not the task's. */
        group->processes = make(groups, group, PROCESSES) &&
                           write_number(groups->folders[PROCESSES], group->name, "pids.max",
                                        processes + (groups->boxed ? 1 : 0)) == 0;
        *sandbox |= group->processes ? SANDBOX_PROCESSES_CGROUP : SANDBOX_PROCESSES_USER;
    } else if (groups->boxed) {
        *sandbox |= SANDBOX_PROCESSES_USER;
    }
    if (groups->unified)
        *sandbox |= SANDBOX_CGROUP_V2;
}

static bool uses(const struct cgroup *group, enum controller which) {
    return which == MEMORY ? group->memory : which == CPU ? group->cpu : group->processes;
}

int group_join(const struct groups *groups, const struct cgroup *group) {
    for (int i = 0; group->name[0] && i < CONTROLLERS; i++) {
        if (uses(group, (enum controller)i) &&
            write_at(groups->folders[i], group->name, "cgroup.procs", "0") < 0)
            return -1;
    }
    return 0;
}

struct group_end group_read(const struct groups *groups, const struct cgroup *group,
                            struct record *record) {
    struct group_end end = {0};
    if (group->processes)
        end.full = read_key(groups->folders[PROCESSES], group->name, "pids.events", "max") > 0;
    if (!group->memory)
        return end;
    int folder = groups->folders[MEMORY];
    char text[64];
    const char *peak = groups->unified ? "memory.peak" : "memory.max_usage_in_bytes";
    if (read_at(folder, group->name, peak, text, sizeof(text)) > 0 && isdigit(text[0]))
        record->peak_memory = strtoull(text, NULL, 10);
    const char *events = groups->unified ? "memory.events" : "memory.oom_control";
    end.out_of_memory = read_key(folder, group->name, events, "oom_kill") > 0;
    return end;
}

void group_kill(const struct groups *groups, const struct cgroup *group) {
    for (int i = 0; group->name[0] && i < CONTROLLERS; i++) {
        if (!uses(group, (enum controller)i))
            continue;
        if (groups->unified && write_at(groups->folders[i], group->name, "cgroup.kill", "1") == 0)
            return;
        /* Each pass may find children born meanwhile. */
        for (int pass = 0; pass < 16; pass++) {
            char text[8192];
            if (read_at(groups->folders[i], group->name, "cgroup.procs", text, sizeof(text)) <= 0)
                return;
            char *at = text;
            for (long pid; (pid = strtol(at, &at, 10)) > 1;)
                (void)kill((pid_t)pid, SIGKILL);
        }
        return;
    }
}

static bool remove_group(const struct groups *groups, const char *name) {
    bool gone = true;
    for (int i = 0; i < CONTROLLERS; i++) {
        if (groups->folders[i] >= 0 && unlinkat(groups->folders[i], name, AT_REMOVEDIR) < 0 &&
            errno != ENOENT)
            gone = false;
    }
    return gone;
}

void group_remove(struct groups *groups, struct cgroup *group) {
    if (!group->name[0])
        return;
    /* Processes that were just killed keep it for a moment. */
    if (!remove_group(groups, group->name) && groups->stale_count < STALE_MAXIMUM)
        memcpy(groups->stale[groups->stale_count++], group->name, sizeof(group->name));
    group->name[0] = '\0';
}

bool groups_tidy(struct groups *groups) {
    for (size_t i = 0; groups && i < groups->stale_count;) {
        if (remove_group(groups, groups->stale[i]))
            memmove(groups->stale[i], groups->stale[--groups->stale_count], 32);
        else
            i++;
    }
    return groups && groups->stale_count > 0;
}

unsigned groups_found(const struct groups *groups) {
    unsigned found = groups->unified ? SANDBOX_CGROUP_V2 : 0;
    found |= groups->folders[MEMORY] >= 0 ? SANDBOX_MEMORY_CGROUP : SANDBOX_MEMORY_PROCESS;
    found |= groups->folders[CPU] >= 0 ? SANDBOX_CPU_CGROUP : SANDBOX_CPU_NONE;
    found |= groups->folders[PROCESSES] >= 0 ? SANDBOX_PROCESSES_CGROUP : SANDBOX_PROCESSES_USER;
    return found;
}
