/* What this machine can do. Not by looking for signs: a box and a container are made and run, with
 * every limit asked for, and the reports say what was to be had. */
#include "compute/private-drivers.h"
#include "compute/private-link.h"
#include "compute/private-oci.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { CHECKS_MAXIMUM = 32, PATIENCE_MS = 15000, PROBE_EXIT = 2 };

#define TRIAL_IMAGE "trial@sha256:0"

struct trial {
    bool ended;
    enum cause cause;
    int exit_code;
    char detail[256], sandbox[512];
};

static int add(struct compute_checks *checks, const char *name, int verdict, const char *finding,
               const char *remedy, struct error **err) {
    if (array_reserve(&checks->items, &checks->capacity, checks->count, sizeof(*checks->items),
                      CHECKS_MAXIMUM, err) < 0)
        return -1;
    struct compute_check check = {.name = name, .finding = memory_copy_string(finding)};
    check.verdict = verdict;
    check.remedy = memory_copy_string(remedy);
    if (!check.finding || (remedy && !check.remedy)) {
        memory_free(check.finding);
        memory_free(check.remedy);
        return error_set_memory(err);
    }
    checks->items[checks->count++] = check;
    return 0;
}

void compute_checks_release(struct compute_checks *checks) {
    for (size_t i = 0; i < checks->count; i++) {
        memory_free(checks->items[i].finding);
        memory_free(checks->items[i].remedy);
    }
    memory_free(checks->items);
    *checks = (struct compute_checks){0};
}

/* ---------------------------------------------------------------------- the trial */

struct trials {
    struct trial box, container, users;
    bool with_container, with_users; /* there is a crun; there are ids for users of images */
};

static void on_exited(void *context, const struct exit_report *report) {
    struct trials *trials = context;
    struct trial *trial = text_equal(report->name, "box")         ? &trials->box
                          : text_equal(report->name, "container") ? &trials->container
                                                                  : &trials->users;
    trial->ended = true;
    trial->cause = report->cause;
    trial->exit_code = report->exit_code;
    (void)snprintf(trial->detail, sizeof(trial->detail), "%s", report->detail);
    (void)snprintf(trial->sandbox, sizeof(trial->sandbox), "%s", report->sandbox);
}

static void on_troubled(void *context, const char *message) {
    struct trials *trials = context;
    (void)snprintf(trials->box.detail, sizeof(trials->box.detail), "%s", message);
}

static void on_late(uv_timer_t *timer) {
    *(bool *)timer->data = true;
}

/* The smallest of images: a program that needs nothing, which the keeper is. */
static int make_image(struct compute *compute, const char *folder, struct error **err) {
    OWN_STRING root = path_join(folder, "rootfs");
    OWN_STRING probe = path_join(folder, "rootfs/probe");
    OWN_STRING keeper = link_keeper_path(err);
    if (!root || !probe || !keeper)
        return keeper ? error_set_memory(err) : -1;
    if (directory_make(AT_FDCWD, root, 0755, err) < 0 ||
        file_copy(AT_FDCWD, keeper, AT_FDCWD, probe, 0755, err) < 0)
        return -1;
    return oci_add_image(process_oci(compute), TRIAL_IMAGE, root, err);
}

static int launch_containers(struct compute *compute, const char *folder, bool users,
                             struct error **err) {
    static const char *const arguments[] = {"/probe", NULL};
    struct job job = {.name = "container",
                      .image = TRIAL_IMAGE,
                      .arguments = arguments,
                      .work = folder,
                      .box = BOX_SEALED};
    const struct driver *driver = compute_driver("process");
    if (make_image(compute, folder, err) < 0 || driver->launch(compute, &job, err) < 0)
        return -1;
    job.name = "users";
    job.users = true;
    return users ? driver->launch(compute, &job, err) : 0;
}

static int launch_trials(struct compute *compute, const char *folder, const struct trials *trials,
                         struct error **err) {
    static const char *const arguments[] = {"true", NULL};
    struct compute_mount mount = {.source = folder, .target = "/mounted"};
    struct job job = {.name = "box",
                      .arguments = arguments,
                      .work = folder,
                      .mounts = &mount,
                      .mount_count = 1,
                      .limits = {.cpus = 1, .memory = (uint64_t)64 << 20, .processes = 16},
                      .box = BOX_SEALED};
    const struct driver *driver = compute_driver("process");
    if (driver->launch(compute, &job, err) < 0 ||
        (trials->with_container && launch_containers(compute, folder, trials->with_users, err) < 0))
        return -1;
    return driver->flush(compute, err);
}

static bool all_ended(const struct trials *trials) {
    return trials->box.ended && (trials->container.ended || !trials->with_container) &&
           (trials->users.ended || !trials->with_container || !trials->with_users);
}

static int run_trials(uv_loop_t *loop, const char *folder, struct trials *trials,
                      struct error **err) {
    const struct driver *driver = compute_driver("process");
    struct compute_host host = {.loop = loop,
                                .home = folder,
                                .context = trials,
                                .exited = on_exited,
                                .troubled = on_troubled};
    struct compute *compute;
    if (driver->open(&host, &compute, err) < 0)
        return -1;
    int bad = launch_trials(compute, folder, trials, err);
    bool late = false;
    uv_timer_t timer;
    (void)uv_timer_init(loop, &timer);
    timer.data = &late;
    (void)uv_timer_start(&timer, on_late, PATIENCE_MS, 0);
    while (!bad && !all_ended(trials) && !late)
        (void)uv_run(loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    driver->forget(compute, "box");
    driver->forget(compute, "container");
    driver->forget(compute, "users");
    driver->close(compute);
    (void)uv_run(loop, UV_RUN_DEFAULT);
    if (!bad && !trials->box.ended)
        return error_set(err, ERROR_BUSY, "a box did not end within %d s", PATIENCE_MS / 1000);
    return bad;
}

static int try_both(const char *home, struct trials *trials, struct error **err) {
    OWN_STRING beside = path_join(home, "examine-XXXXXX");
    char elsewhere[] = "/tmp/glovebox-examine-XXXXXX";
    if (!beside)
        return error_set_memory(err);
    /* In the home, whose file system is the one that matters; it need not exist yet. */
    char *folder = mkdtemp(beside) ? beside : mkdtemp(elsewhere);
    if (!folder)
        return error_set_errno(err, errno, "cannot make a folder for the trial");
    uv_loop_t loop;
    int bad = uv_loop_init(&loop);
    if (bad) {
        error_set(err, ERROR_IO, "cannot make a loop: %s", uv_strerror(bad));
    } else {
        bad = run_trials(&loop, folder, trials, err);
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        (void)uv_loop_close(&loop);
    }
    OWN_ERROR ignored = NULL;
    /* Its keeper may just be leaving: the second time finds what the first met half-way. */
    if (tree_remove(AT_FDCWD, folder, &ignored) < 0 && tree_remove(AT_FDCWD, folder, NULL) < 0)
        log_message(LOG_DEBUG, "the folder of the trial stays behind");
    return bad ? -1 : 0;
}

/* --------------------------------------------------------------------- the findings */

static const char cgroup_remedy[] =
    "run glovebox as root, or in a unit with delegated cgroups: systemd-run --user --scope -p "
    "Delegate=yes glovebox ...";

static int judge_limit(struct compute_checks *checks, const char *name, const char *sandbox,
                       const char *word, const char *without, struct error **err) {
    char wanted[64];
    (void)snprintf(wanted, sizeof(wanted), "; %s: cgroup v", word);
    const char *found = strstr(sandbox, wanted);
    if (!found)
        return add(checks, name, CHECK_LIMITED, without, cgroup_remedy, err);
    char finding[64];
    (void)snprintf(finding, sizeof(finding), "limited by cgroups, version %c",
                   found[strlen(wanted)]);
    return add(checks, name, CHECK_OK, finding, NULL, err);
}

static int judge_box(struct compute_checks *checks, const char *sandbox, struct error **err) {
    bool network = strstr(sandbox, ",net") != NULL;
    bool filter = strstr(sandbox, "; seccomp") != NULL;
    bool other = strstr(sandbox, "unprivileged user") != NULL;
    int bad = add(checks, "namespaces", network ? CHECK_OK : CHECK_MISSING,
                  "a sealed box was made and run: own mount, pid, ipc, uts and net namespaces",
                  NULL, err);
    bad = bad ? bad
              : add(checks, "seccomp", filter ? CHECK_OK : CHECK_MISSING,
                    filter ? "the system-call filter is in force" : "no system-call filter",
                    filter ? NULL : "use a kernel with CONFIG_SECCOMP_FILTER", err);
    if (geteuid() == 0)
        bad = bad ? bad
                  : add(checks, "task user", other ? CHECK_OK : CHECK_LIMITED,
                        other ? "tasks run as an unprivileged user, owners are mapped"
                              : "tasks run as root (uid 0) without capabilities: the home's file "
                                "system "
                                "cannot map owners",
                        other ? NULL
                              : "keep the home on ext4, XFS or Btrfs, or run glovebox as an "
                                "ordinary user",
                        err);
    else
        bad = bad ? bad
                  : add(checks, "task user", CHECK_OK,
                        "tasks run as this user, in a user namespace, without capabilities", NULL,
                        err);
    bad =
        bad ? bad
            : judge_limit(checks, "cgroup memory", sandbox, "memory",
                          "not to be had: memory is limited for each process by rlimit only", err);
    bad = bad ? bad
              : judge_limit(checks, "cgroup cpu", sandbox, "cpu",
                            "not to be had: processor time is not limited", err);
    return bad ? bad
               : judge_limit(checks, "cgroup pids", sandbox, "processes",
                             "not to be had: processes are limited by rlimit, all boxes together",
                             err);
}

static bool has_run(const struct trial *trial, struct buffer *finding) {
    bool good = trial->cause == CAUSE_EXIT && trial->exit_code == PROBE_EXIT;
    if (!good)
        buffer_append(finding, !trial->ended      ? "a container did not end in time"
                               : trial->detail[0] ? trial->detail
                                                  : cause_name(trial->cause));
    return good;
}

/* `missing`: why there are no ids for them, or NULL. */
static int judge_users(struct compute_checks *checks, const struct trial *trial,
                       const struct oci_range *range, const struct error *missing,
                       struct error **err) {
    OWN_BUFFER finding = {0};
    if (missing)
        return add(checks, "image users", CHECK_LIMITED, missing->message, missing->hint, err);
    bool good = has_run(trial, &finding);
    if (good)
        buffer_format(&finding,
                      "images may change user where a step says so: their ids are %u to %u, groups "
                      "%u to %u",
                      range->user, range->user + IMAGE_IDS - 1, range->group,
                      range->group + IMAGE_IDS - 1);
    return add(checks, "image users", good ? CHECK_OK : CHECK_LIMITED, buffer_text(&finding),
               good ? NULL : "steps that say \"users: image\" will fail as this one did", err);
}

static int judge_containers(struct compute_checks *checks, const char *runtime,
                            const struct trial *trial, struct error **err) {
    OWN_BUFFER finding = {0};
    if (!runtime)
        return add(checks, "containers", CHECK_LIMITED,
                   "crun is not installed: no images can be run", "install Debian's package crun",
                   err);
    buffer_format(&finding, "%s: ", runtime);
    bool good = has_run(trial, &finding);
    if (good)
        buffer_append(&finding, "a container was made and run");
    return add(checks, "containers", good ? CHECK_OK : CHECK_LIMITED, buffer_text(&finding),
               good ? NULL : "steps that run images will fail as this one did", err);
}

static int examine_keeper(struct compute_checks *checks, bool *ret_found, struct error **err) {
    OWN_ERROR error = NULL;
    OWN_STRING path = link_keeper_path(&error);
    *ret_found = path && access(path, X_OK) == 0;
    if (*ret_found)
        return add(checks, "keeper", CHECK_OK, path, NULL, err);
    return add(checks, "keeper", CHECK_MISSING, error ? error->message : path,
               "install glovebox-keeper beside glovebox", err);
}

static int examine_kernel(struct compute_checks *checks, struct error **err) {
    struct utsname name;
    if (uname(&name) < 0)
        return error_set_errno(err, errno, "cannot ask for the kernel's version");
    char *end;
    long major = strtol(name.release, &end, 10);
    long minor = *end == '.' ? strtol(end + 1, NULL, 10) : 0;
    bool good = major > 5 || (major == 5 && minor >= 12);
    return add(checks, "kernel", good ? CHECK_OK : CHECK_MISSING, name.release,
               good ? NULL : "boxes need Linux 5.12 or newer", err);
}

int compute_examine(const char *home, struct compute_checks *ret, struct error **err) {
    struct compute_checks checks CLEANUP(compute_checks_release) = {0};
    bool found;
    if (examine_kernel(&checks, err) < 0 || examine_keeper(&checks, &found, err) < 0)
        return -1;
    OWN_STRING runtime = oci_find_runtime(NULL);
    struct oci_range range CLEANUP(oci_range_release) = {0};
    OWN_ERROR missing = NULL;
    struct trials trials = {.with_container = runtime != NULL,
                            .with_users = oci_find_range(&range, &missing) == 0};
    const struct trial *box = &trials.box;
    OWN_ERROR error = NULL;
    int bad = 0;
    if (!found)
        bad = add(&checks, "namespaces", CHECK_MISSING, "not tried: there is no keeper", NULL, err);
    else if (try_both(home, &trials, &error) < 0 || box->cause != CAUSE_NONE)
        bad = add(&checks, "namespaces", CHECK_MISSING,
                  error            ? error->message
                  : box->detail[0] ? box->detail
                                   : cause_name(box->cause),
                  geteuid() == 0 ? "inside a container, allow it to make namespaces"
                                 : "allow user namespaces: sysctl user.max_user_namespaces, "
                                   "kernel.unprivileged_userns_clone, and "
                                   "kernel.apparmor_restrict_unprivileged_userns",
                  err);
    else
        bad = judge_box(&checks, box->sandbox, err) < 0 ||
              judge_containers(&checks, runtime, &trials.container, err) < 0 ||
              (runtime && judge_users(&checks, &trials.users, &range, missing, err) < 0);
    if (bad)
        return -1;
    *ret = checks;
    checks = (struct compute_checks){0};
    return 0;
}
