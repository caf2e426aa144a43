/*
 * Images with users of their own. Outside these have a range of ids that belongs to nobody else: an
 * ordinary user's is mapped into the keeper's user namespace by newuidmap and newgidmap, which may.
 * What these users leave in a job's writable mounts is given to the job's owner before its end is
 * told. What is to be given is noted on disk before the job starts, since an ordinary user whose
 * keeper was killed could not even remove it: the next keeper does it then.
 */
#include "compute/keeper/private-box.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    DEPTH_MAXIMUM = 128,   /* folders within folders; what lies deeper is brought up */
    NOTE_MAXIMUM = 1 << 20 /* more than all mounts of a message come to */
};
#define NOTES "users"
#define DEEP  ".glovebox-deep-"

/* ------------------------------------------------------------------- the namespace */

/* The program maps `own`, and then the range, into the process's user namespace. */
static int run_mapper(const char *mapper, pid_t process, uint32_t own, uint32_t first) {
    char texts[4][16];
    const uint32_t numbers[] = {(uint32_t)process, own, first, IMAGE_IDS};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        (void)snprintf(texts[i], sizeof(texts[i]), "%u", numbers[i]);
    const char *const arguments[] = {mapper, texts[0], "0",      texts[1], "1",
                                     "1",    texts[2], texts[3], NULL};
    static char *const environment[] = {NULL};
    pid_t pid = (pid_t)syscall(SYS_clone, (unsigned long)SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        (void)dup2(STDERR_FILENO, STDOUT_FILENO); /* which is the driver's */
        (void)execve(mapper, (char *const *)(uintptr_t)arguments, environment);
        _exit(127);
    }
    int status = -1;
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

/* Calls `map` in a copy of this process that stays outside, once this one is in a user namespace of
 * its own. 1; 0: it is there, and not mapped; -1: it is not. */
static int unshare_mapped(unsigned long namespaces, int (*map)(const void *context),
                          const void *context) {
    int ends[2], status = -1;
    char go = 0;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    pid_t pid = (pid_t)syscall(SYS_clone, (unsigned long)SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        close(ends[1]);
        _exit(read(ends[0], &go, 1) != 1 || map(context) < 0);
    }
    close(ends[0]);
    int left = pid < 0 ? -1 : unshare((int)namespaces);
    if (left == 0 && write(ends[1], &go, 1) != 1)
        status = -1; /* which the copy finds, too */
    close(ends[1]);
    if (pid > 0 && waitpid(pid, &status, 0) != pid)
        status = -1;
    return left < 0 ? -1 : status == 0;
}

struct entering {
    const struct range *range;
    pid_t keeper;
    uid_t user;
    gid_t group;
};

static int map_keeper(const void *context) {
    const struct entering *entering = context;
    const struct range *range = entering->range;
    if (run_mapper(range->user_mapper, entering->keeper, entering->user, range->user) < 0)
        return -1;
    return run_mapper(range->group_mapper, entering->keeper, entering->group, range->group);
}

int users_enter_namespace(const struct range *range) {
    struct entering entering = {range, getpid(), geteuid(), getegid()};
    return unshare_mapped(CLONE_NEWUSER | CLONE_NEWNS, map_keeper, &entering);
}

static const char *const map_files[] = {"uid_map", "gid_map"};

struct same {
    int self;
    char maps[2][512];
};

/* The ids that this process has, each as it is. */
static int read_same(struct same *same) {
    for (size_t i = 0; i < ARRAY_SIZE(map_files); i++) {
        char text[512], *at = text;
        int fd = openat(same->self, map_files[i], O_RDONLY | O_CLOEXEC);
        ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
        if (fd >= 0)
            close(fd);
        text[size > 0 ? size : 0] = '\0';
        size_t used = 0;
        for (unsigned long first, count; *at && used < sizeof(same->maps[i]) - 64;
             at += strspn(at, " \n")) {
            first = strtoul(at, &at, 10);
            (void)strtoul(at, &at, 10);
            if ((count = strtoul(at, &at, 10)) == 0)
                return -1;
            used += (size_t)snprintf(same->maps[i] + used, sizeof(same->maps[i]) - used,
                                     "%lu %lu %lu\n", first, first, count);
        }
        if (!used)
            return -1;
    }
    return 0;
}

static int map_same(const void *context) {
    const struct same *same = context;
    for (size_t i = 0; i < ARRAY_SIZE(map_files); i++) {
        ssize_t size = (ssize_t)strlen(same->maps[i]);
        int fd = openat(same->self, map_files[i], O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, same->maps[i], (size_t)size) != size)
            return -1;
        close(fd);
    }
    return 0;
}

int users_count_alone(int self) {
    struct same same = {.self = self};
    if (read_same(&same) < 0)
        return -1;
    return unshare_mapped(CLONE_NEWUSER, map_same, &same) == 1 ? 0 : -1;
}

/* ------------------------------------------------------------------ what is given */

struct giving {
    const struct box *box;
    uid_t user; /* to whom */
    gid_t group;
    int root;    /* the folder that it began with */
    unsigned up; /* folders that were brought up into it, out of the depth */
    uint64_t files;
};

static bool is_theirs(const struct giving *giving, const struct stat *status) {
    const struct box *box = giving->box;
    return box->ranged && (status->st_uid - box->range_user < IMAGE_IDS ||
                           status->st_gid - box->range_group < IMAGE_IDS);
}

/* `name` is "" for the folder itself. Links are given themselves, and set-uid bits go with it. What
 * is given is what was looked at, though somebody else may be at work in a folder that several
 * share. */
static void give_one(const struct giving *giving, int parent, const char *name,
                     const struct stat *status) {
    struct stat again;
    if (!is_theirs(giving, status))
        return;
    int fd = *name ? openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC) : parent;
    if (fd >= 0 && fstat(fd, &again) == 0 && is_theirs(giving, &again) &&
        fchownat(fd, "", giving->user, giving->group, AT_EMPTY_PATH) < 0)
        errno = 0; /* another file system */
    if (*name && fd >= 0)
        close(fd);
}

/* Never through a link, never into another mount; a FIFO is no folder, so is not waited for. */
static int open_folder(int parent, const char *name) {
    struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
    return (int)syscall(SYS_openat2, parent, name, &how, sizeof(how));
}

/* A name that a task has taken for itself counts as well: that folder is only looked at twice. */
static void bring_up(struct giving *giving, int parent, const char *name) {
    for (char place[32];; giving->up++) {
        (void)snprintf(place, sizeof(place), DEEP "%u", giving->up);
        if (renameat2(parent, name, giving->root, place, RENAME_NOREPLACE) == 0)
            break;
        if (errno != EEXIST)
            return;
    }
    giving->up++;
}

/* Takes the descriptor. */
static void give_below(struct giving *giving, int fd, unsigned depth) {
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (!list && fd >= 0)
        close(fd);
    for (struct dirent *entry; list && (entry = readdir(list));) {
        struct stat status;
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
            fstatat(fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        giving->files++;
        give_one(giving, fd, name, &status);
        if (S_ISDIR(status.st_mode) && depth == DEPTH_MAXIMUM)
            bring_up(giving, fd, name);
        else if (S_ISDIR(status.st_mode))
            give_below(giving, open_folder(fd, name), depth + 1);
    }
    if (list)
        (void)closedir(list);
}

/* A mount's source: its path is the driver's, not the task's. */
static void give(struct giving *giving, const char *path) {
    struct stat status;
    int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fstat(fd, &status) == 0) {
        give_one(giving, fd, "", &status);
        if (S_ISDIR(status.st_mode)) {
            giving->root = fd;
            give_below(giving, open_folder(fd, "."), 1);
            for (unsigned done = 0; done < giving->up; done++) {
                char place[32];
                (void)snprintf(place, sizeof(place), DEEP "%u", done);
                give_below(giving, open_folder(fd, place), 1);
            }
        }
    }
    close(fd);
}

/* Looks through `note`, "UID GID PATH" and a NUL for each folder, for one of this path. */
static bool tells_of(const char *note, size_t size, const char *path) {
    for (const char *at = note; at < note + size; at += strlen(at) + 1) {
        const char *space = strchr(at, ' ');
        space = space ? strchr(space + 1, ' ') : NULL;
        if (space && strcmp(space + 1, path) == 0)
            return true;
    }
    return false;
}

/* Another job whose task still runs has this folder, too, and gives it when it ends: what its users
 * own must stay theirs until then. */
static bool is_in_use(const struct keeper *keeper, const struct job *own, const char *path) {
    for (size_t i = 0; i < keeper->running_count; i++) {
        const struct job *job = &keeper->jobs[keeper->running[i]];
        if (job != own && job->users.note && !job->users.giving &&
            tells_of(job->users.note, job->users.size, path))
            return true;
    }
    return false;
}

/* All that a note tells of. `job`: whose it is, or NULL when no task runs any more. Returns how
 * many files there are in the job's work folder. */
static uint64_t give_all(const struct keeper *keeper, const struct job *job, const char *note,
                         size_t size) {
    const char *work = job ? job->output.folder : NULL;
    uint64_t files = 0;
    for (const char *at = note; at < note + size; at += strlen(at) + 1) {
        char *path;
        struct giving giving = {.box = keeper->box};
        giving.user = (uid_t)strtoul(at, &path, 10);
        giving.group = (gid_t)strtoul(path, &path, 10);
        if (*path == ' ' && !(job && is_in_use(keeper, job, path + 1)))
            give(&giving, path + 1);
        if (work && *path && strncmp(path + 1, work, strlen(work)) == 0)
            files += giving.files;
    }
    return files;
}

/* ----------------------------------------------------------------------- the notes */

/* As root, what lies in a folder goes to the folder's owner. An ordinary user's keeper can give to
 * that user only: it sees other owners as nobody, whose number is one of the range. */
static char *write_sources(const struct box *box, const struct launch *launch, size_t *ret_size) {
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_size);
    if (!out)
        return NULL;
    for (uint32_t i = 0; i < launch->message->mount_count; i++) {
        const struct launch_mount *mount = &launch->mounts[i];
        struct stat status;
        if (mount->writable && mount->source[0] && stat(mount->source, &status) == 0)
            (void)fprintf(out, "%u %u %s%c", box->privileged ? status.st_uid : 0,
                          box->privileged ? status.st_gid : 0, mount->source, 0);
    }
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static int open_notes(const struct keeper *keeper) {
    if (mkdirat(keeper->directory, NOTES, 0700) < 0 && errno != EEXIST)
        return -1;
    return openat(keeper->directory, NOTES, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* The first line is the process id of the container's init, blank until there is one. */
int users_note(struct keeper *keeper, struct job *job) {
    int notes = open_notes(keeper);
    int fd = notes < 0 ? -1
                       : openat(notes, job->entry->record.name,
                                O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (notes >= 0)
        close(notes);
    job->users.note = write_sources(keeper->box, &keeper->launch, &job->users.size);
    if (fd >= 0 && job->users.note && dprintf(fd, "%15s\n", "") == 16 &&
        write(fd, job->users.note, job->users.size) == (ssize_t)job->users.size && fsync(fd) == 0) {
        job->users.fd = fd;
        return 0;
    }
    int number = errno ? errno : EIO;
    if (fd >= 0)
        close(fd);
    users_release(keeper, job);
    errno = number;
    return -1;
}

void users_note_init(struct job *job, pid_t pid) {
    char text[32];
    (void)snprintf(text, sizeof(text), "%15d", (int)pid);
    if (pwrite(job->users.fd, text, 15, 0) < 0)
        errno = 0; /* the next keeper would not wait for it */
    close(job->users.fd);
}

void users_release(struct keeper *keeper, struct job *job) {
    char path[sizeof(NOTES) + KEEPER_NAME_SIZE + 1];
    if (keeper->kind != KEEPER_USERS)
        return;
    (void)snprintf(path, sizeof(path), NOTES "/%s", job->entry->record.name);
    (void)unlinkat(keeper->directory, path, 0);
    free(job->users.note);
    job->users.note = NULL;
}

/* Gone is a process only when all of its container is. */
static void wait_for_init(pid_t pid) {
    const struct timespec pause = {.tv_nsec = 10000000};
    for (int tries = 0; pid > 1 && tries < 300; tries++) {
        if (kill(pid, 0) < 0 && errno == ESRCH)
            return;
        (void)nanosleep(&pause, NULL);
    }
}

static void give_leftover(const struct keeper *keeper, int notes, const char *name) {
    int fd = openat(notes, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    char *text = malloc(NOTE_MAXIMUM + 1);
    ssize_t size = fd >= 0 && text ? read(fd, text, NOTE_MAXIMUM) : -1;
    if (size >= 16) {
        text[size] = '\0';
        wait_for_init((pid_t)strtol(text, NULL, 10));
        (void)give_all(keeper, NULL, text + 16, (size_t)size - 16);
    }
    if (fd >= 0)
        close(fd);
    free(text);
    if (size >= 16)
        (void)unlinkat(notes, name, 0);
}

void users_give_leftovers(const struct keeper *keeper) {
    int notes = keeper->box->ranged ? open_notes(keeper) : -1;
    DIR *list = notes >= 0 ? fdopendir(notes) : NULL;
    if (!list && notes >= 0)
        close(notes);
    for (struct dirent *entry; list && (entry = readdir(list));) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            give_leftover(keeper, notes, entry->d_name);
    }
    if (list)
        (void)closedir(list);
}

/* -------------------------------------------------------------------- after a job */

static void give_job(const struct keeper *keeper, struct job *job) {
    job->outcome->files = give_all(keeper, job, job->users.note, job->users.size);
}

bool users_begin_giving(struct keeper *keeper, struct job *job, int status,
                        const struct rusage *usage) {
    if (!job->users.note || job->users.giving)
        return false;
    job->users.giving = true;
    job->users.status = status;
    job->users.usage = *usage;
    job->deadline = job->kill_at = INT64_MAX;
    pid_t pid = box_clone_holder(0);
    if (pid == 0) {
        give_job(keeper, job);
        _exit(0);
    }
    if (pid > 0)
        job->pid = pid;
    else
        give_job(keeper, job);
    return pid > 0;
}

void users_end_giving(struct keeper *keeper, struct job *job, int status) {
    /* The helper was killed, by want of memory or by hand. */
    if (status != 0)
        give_job(keeper, job);
    if (job->output.folder && job->outcome->files > job->output.files &&
        job->stop_cause == CAUSE_NONE) {
        job->stop_cause = CAUSE_OUTPUT;
        job->remark = REMARK_OUTPUT_FILES;
    }
    users_release(keeper, job);
}
