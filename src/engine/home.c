/* A home: its folder, its database, its lock. */
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

extern const char runs_sql[], results_sql[], deliveries_sql[], power_sql[], images_sql[],
    reporting_sql[];

static const char *const scripts[] = {digests_sql, runs_sql,   results_sql,  deliveries_sql,
                                      power_sql,   images_sql, reporting_sql};
const struct store_migrations home_migrations = {scripts, ARRAY_SIZE(scripts)};

char *engine_default_home(const char *given, struct error **err) {
    const char *from = given && *given ? given : getenv("GLOVEBOX_HOME");
    const char *data = getenv("XDG_DATA_HOME"), *user = getenv("HOME");
    char *path = NULL;
    char here[4096];
    if (from && *from == '/')
        path = memory_copy_string(from);
    else if (from && *from && getcwd(here, sizeof(here)))
        path = path_join(here, from);
    else if (data && *data == '/')
        path = path_join(data, "glovebox");
    else if (user && *user == '/')
        path = path_join(user, ".local/share/glovebox");
    else {
        error_set(err, ERROR_USAGE, "no home: neither --home nor $GLOVEBOX_HOME nor $HOME is set");
        return NULL;
    }
    if (!path)
        error_set_memory(err);
    return path;
}

const char *engine_who(void) {
    struct passwd *entry = getpwuid(getuid());
    return entry ? entry->pw_name : "unknown";
}

char *home_path(const struct engine *engine, const char *format, ...) {
    OWN_BUFFER path = {.maximum = 8192};
    buffer_format(&path, "%s/", engine->home);
    va_list list;
    va_start(list, format);
    buffer_format_list(&path, format, list);
    va_end(list);
    return buffer_take(&path, NULL);
}

/* Below a folder that hands its group down (set-gid), what tasks leave would not be ours alone: the
 * users of an image can be given no file of a group that they do not know. */
static int own_work(struct engine *engine, struct error **err) {
    struct stat status;
    OWN_FD work = file_open(engine->home_fd, "work", O_RDONLY | O_DIRECTORY, 0, err);
    if (work < 0)
        return -1;
    if (fstat(work, &status) < 0 || status.st_uid != geteuid() || !(status.st_mode & S_ISGID))
        return 0;
    if (fchown(work, (uid_t)-1, getegid()) < 0 || fchmod(work, 0700) < 0)
        return error_set_errno(err, errno, "the work folder of %s", engine->home);
    return 0;
}

/* The folders of a home, made by whoever comes first. */
static int make_folders(struct engine *engine, struct error **err) {
    static const char *const folders[] = {"runs", "results", "work", "empty"};
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
        if (directory_make(engine->home_fd, folders[i], 0700, err) < 0)
            return error_wrap(err, "%s", engine->home);
    return own_work(engine, err);
}

int engine_open(const struct engine_options *options, struct engine **ret, struct error **err) {
    OWN_ENGINE engine = memory_allocate(sizeof(*engine));
    if (!engine)
        return error_set_memory(err);
    engine->home_fd = engine->lock_fd = -1;
    engine->read_only = options->read_only;
    engine->home = memory_copy_string(options->home);
    engine->driver = compute_driver(options->driver ? options->driver : "process");
    if (!engine->home)
        return error_set_memory(err);
    if (options->make && directory_make(AT_FDCWD, options->home, 0700, err) < 0) {
        error_wrap(err, "home");
        return error_hint(err, "--home or GLOVEBOX_HOME names another place");
    }
    engine->home_fd = file_open(AT_FDCWD, options->home, O_RDONLY | O_DIRECTORY, 0, NULL);
    if (engine->home_fd < 0) {
        error_set_errno(err, errno, "no home at %s", options->home);
        return error_hint(err, "`glovebox run PIPELINE` makes one; --home or GLOVEBOX_HOME names "
                               "another");
    }
    if (!options->make && !file_exists(engine->home_fd, "glovebox.db")) {
        error_set(err, ERROR_NOT_FOUND, "nothing has run in %s yet", options->home);
        return error_hint(err, "start with `glovebox run PIPELINE`; --home or GLOVEBOX_HOME names "
                               "another home");
    }
    if (!options->read_only && make_folders(engine, err) < 0)
        return -1;
    OWN_STRING database = home_path(engine, "glovebox.db");
    if (!database)
        return error_set_memory(err);
    /* Names of partitions are often names of patients: nobody else reads the database, even where
     * the home itself stands open. */
    mode_t before = umask(077);
    int opened = store_open(database, &home_migrations, options->read_only ? STORE_READ_ONLY : 0,
                            &engine->store, err);
    umask(before);
    if (opened < 0 && err && (*err)->code == ERROR_CORRUPT)
        error_hint(err, "it is damaged, or somebody else's file: put back a copy of it, or name "
                        "another home with --home or GLOVEBOX_HOME");
    if (opened < 0)
        return -1;
    if (policy_read(options->home, &engine->policy, err) < 0)
        return -1;
    *ret = take(&engine);
    return 0;
}

void engine_close(struct engine *engine) {
    if (!engine)
        return;
    while (engine->runs) {
        struct run *run = engine->runs;
        engine->runs = run->next;
        run_free(run);
    }
    store_close(engine->store);
    file_close(&engine->lock_fd);
    file_close(&engine->home_fd);
    expression_cache_free(engine->expressions);
    pipeline_free(engine->asked);
    policy_free(engine->policy);
    error_free(engine->failure);
    memory_free(engine->home);
    memory_free(engine->own_folder);
    memory_free(engine);
}

void engine_cleanup(struct engine **engine) {
    engine_close(*engine);
    *engine = NULL;
}

const char *engine_home(const struct engine *engine) {
    return engine->home;
}

/* 1: taken, 0: somebody else has it. */
static int take_lock(struct engine *engine, int how, struct error **err) {
    if (engine->lock_fd < 0) {
        engine->lock_fd = file_open(engine->home_fd, "lock", O_RDWR | O_CREAT, 0600, err);
        if (engine->lock_fd < 0)
            return -1;
    }
    if (flock(engine->lock_fd, how | LOCK_NB) == 0)
        return 1;
    if (errno == EWOULDBLOCK || errno == EINTR)
        return 0;
    return error_set_errno(err, errno, "cannot lock %s", engine->home);
}

int home_lock(struct engine *engine, struct error **err) {
    return take_lock(engine, LOCK_EX, err);
}

/* Said, not left to the closing: a program that we have just started has the descriptor, too, until
 * its exec() comes to closing it, which may be after posix_spawn() has returned. */
void home_unlock(struct engine *engine) {
    if (engine->lock_fd >= 0)
        (void)flock(engine->lock_fd, LOCK_UN);
    file_close(&engine->lock_fd);
}

bool engine_is_driven(struct engine *engine) {
    if (engine->driving)
        return true;
    /* Shared: two that look at once do not take each other for who drives. */
    int locked = take_lock(engine, LOCK_SH, NULL);
    home_unlock(engine);
    return locked == 0;
}

int engine_write(struct engine *engine, struct error **err) {
    return store_in_transaction(engine->store) ? 0 : store_begin(engine->store, err);
}
