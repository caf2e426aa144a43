/*
 * The driver "process": programs of the host, boxed or plain, and images in containers, started and
 * kept by glovebox-keeper.
 *
 * What this file holds is a mirror of the keepers' journals: which names exist and how they
 * ended. All truth about a job is the keeper's, so that this program may die at any moment.
 */
#include "compute/private-drivers.h"
#include "compute/private-link.h"
#include "compute/private-oci.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>
/* The default function falls through its cases without saying so. */
#define HASH_FUNCTION(key, size, value) HASH_FNV(key, size, value)
#define HASH_NONFATAL_OOM               1
#include <uthash.h>
#include <uv.h>

struct known {
    char name[KEEPER_NAME_SIZE];
    enum keeper_kind kind;
    bool journalled; /* the keeper wrote it down; only told apart when a keeper has died */
    bool wanted;     /* the engine asked for its report: by launch() or find() */
    bool reported;
    bool ready; /* in the list of reports to deliver */
    struct record record;
    char *refusal; /* why this driver itself would not launch it */
    struct known *next_ready;
    UT_hash_handle hh;
};

struct compute {
    struct compute_host host;
    int directory;
    struct link links[KEEPER_KINDS];
    struct known *known;
    struct known *ready_first, *ready_last;
    uv_idle_t *deferred; /* delivers and flushes in the next turn of the loop */
    bool deferring, delivering, closed;
    struct oci *oci;
    char *runtime;          /* the path of crun, NULL while it was not looked for or is not there */
    struct oci_range range; /* as it was when the keeper of such jobs was last looked for */
    char range_first[2][16];
    size_t waiting[KEEPER_KINDS]; /* wanted and not yet ended, of each link */
};

/* ----------------------------------------------------------------------- reports */

static void defer(struct compute *compute);

static void make_ready(struct compute *compute, struct known *known) {
    if (known->ready || known->reported || !known->wanted || known->record.type != RECORD_EXITED)
        return;
    known->ready = true;
    known->next_ready = NULL;
    if (compute->ready_last)
        compute->ready_last->next_ready = known;
    else
        compute->ready_first = known;
    compute->ready_last = known;
    defer(compute);
}

static void hold_links(struct compute *compute) {
    for (size_t i = 0; i < KEEPER_KINDS; i++)
        link_hold(&compute->links[i], compute->waiting[i] > 0);
}

static void report(struct compute *compute, struct known *known) {
    OWN_BUFFER detail = {0};
    OWN_BUFFER sandbox = {0};
    OWN_BUFFER weaker = {0};
    const struct record record = known->record; /* the callee may forget the name */
    if (known->refusal)
        buffer_append(&detail, known->refusal);
    else
        describe_detail(&record, &detail);
    describe_sandbox(&record, &sandbox);
    describe_weaker(&record, &weaker);
    struct exit_report exit = {.name = record.name,
                               .cause = (enum cause)record.cause,
                               .exit_code = record.exit_code,
                               .signal = record.signal,
                               .started = record.started,
                               .ended = record.ended,
                               .peak_memory = record.peak_memory,
                               .cpu_user = record.cpu_user,
                               .cpu_system = record.cpu_system,
                               .detail = buffer_text(&detail),
                               .weaker = buffer_text(&weaker),
                               .sandbox = buffer_text(&sandbox)};
    known->reported = true;
    if (known->kind >= KEEPER_CONTAINER)
        oci_forget(compute->oci, record.name);
    compute->waiting[known->kind]--;
    compute->host.exited(compute->host.context, &exit);
}

static void release(struct compute *compute);

static void deliver(struct compute *compute) {
    if (compute->delivering)
        return;
    compute->delivering = true;
    while (compute->ready_first && !compute->closed) {
        struct known *known = compute->ready_first;
        compute->ready_first = known->next_ready;
        if (!compute->ready_first)
            compute->ready_last = NULL;
        known->ready = false;
        report(compute, known);
    }
    compute->delivering = false;
    if (compute->closed)
        release(compute);
    else
        hold_links(compute);
}

static void on_deferred(uv_idle_t *idle) {
    struct compute *compute = idle->data;
    compute->deferring = false;
    (void)uv_idle_stop(idle);
    for (size_t i = 0; i < KEEPER_KINDS; i++)
        link_flush(&compute->links[i]);
    deliver(compute);
}

static void defer(struct compute *compute) {
    if (compute->deferring || !compute->deferred)
        return;
    compute->deferring = true;
    (void)uv_idle_start(compute->deferred, on_deferred);
}

/* ------------------------------------------------------------------- the keepers */

static struct known *find_known(struct compute *compute, const char *name) {
    struct known *known;
    HASH_FIND_STR(compute->known, name, known);
    return known;
}

static struct known *add_known(struct compute *compute, const char *name, enum keeper_kind kind) {
    struct known *known = memory_allocate(sizeof(*known));
    if (!known)
        return NULL;
    (void)snprintf(known->name, sizeof(known->name), "%s", name);
    memcpy(known->record.name, known->name, sizeof(known->name));
    known->kind = kind;
    known->record.type = RECORD_LAUNCHED;
    HASH_ADD_STR(compute->known, name, known);
    if (!known->hh.tbl) { /* no memory for the table */
        memory_free(known);
        return NULL;
    }
    return known;
}

static void free_known(struct known *known) {
    memory_free(known->refusal);
    memory_free(known);
}

static void want(struct compute *compute, struct known *known) {
    if (!known->wanted)
        compute->waiting[known->kind]++;
    known->wanted = true;
}

static void remove_known(struct compute *compute, struct known *known) {
    if (known->wanted && !known->reported)
        compute->waiting[known->kind]--;
    HASH_DEL(compute->known, known);
    free_known(known);
}

/* A record from a socket or from a journal; the same one may come by both ways. */
static void on_record(void *context, struct link *link, const struct record *record) {
    struct compute *compute = context;
    struct known *known = find_known(compute, record->name);
    if (record->type == RECORD_FORGOTTEN) {
        if (known && !known->ready)
            remove_known(compute, known);
        return;
    }
    if (record->type != RECORD_LAUNCHED && record->type != RECORD_EXITED)
        return;
    if (!known)
        known = add_known(compute, record->name, link->kind);
    if (!known) {
        log_message(LOG_ERROR, "no memory to note the end of a job");
        return;
    }
    known->journalled = true;
    if (known->record.type == RECORD_EXITED)
        return;
    known->record = *record;
    make_ready(compute, known);
}

static void on_readable(void *context, struct link *link) {
    deliver(context);
}

static void lose(struct compute *compute, enum keeper_kind kind, bool only_unwritten) {
    struct known *known, *next;
    HASH_ITER(hh, compute->known, known, next) {
        if (known->kind != kind || known->record.type != RECORD_LAUNCHED ||
            (only_unwritten && known->journalled))
            continue;
        known->record.type = RECORD_EXITED;
        known->record.cause = CAUSE_LOST;
        known->record.exit_code = -1;
        known->record.remark = REMARK_KEEPER_DIED;
        int64_t now = clock_wall();
        known->record.ended = now > known->record.started ? now : known->record.started;
        make_ready(compute, known);
    }
}

/* Which ids its images' users have outside. Without any, it can still tell how they ended. */
static void describe_range(struct compute *compute, struct link *link) {
    const struct oci_range *range = &compute->range;
    if (!range->user && oci_find_range(&compute->range, NULL) < 0)
        compute->range = (struct oci_range){0};
    (void)snprintf(compute->range_first[0], sizeof(compute->range_first[0]), "%u", range->user);
    (void)snprintf(compute->range_first[1], sizeof(compute->range_first[1]), "%u", range->group);
    const char *const arguments[] = {compute->range_first[0], compute->range_first[1],
                                     range->user_mapper ? range->user_mapper : "",
                                     range->group_mapper ? range->group_mapper : ""};
    memcpy(link->arguments + 1, arguments, sizeof(arguments));
}

/* Without crun, a keeper of containers can still tell how they ended. */
static int open_link(struct compute *compute, enum keeper_kind kind, struct error **err) {
    struct link *link = &compute->links[kind];
    if (kind >= KEEPER_CONTAINER && !compute->runtime)
        compute->runtime = oci_find_runtime(NULL);
    if (kind >= KEEPER_CONTAINER)
        link->arguments[0] = compute->runtime ? compute->runtime : "/nonexistent/crun";
    if (kind == KEEPER_USERS && !link_is_open(link))
        describe_range(compute, link);
    return link_open(link, err);
}

/* The keeper is gone: it left because it had nothing to do, or it was killed. A new one reads
 * the journal and says which jobs were lost. */
static void on_ended(void *context, struct link *link) {
    struct compute *compute = context;
    if (compute->waiting[link->kind] == 0)
        return;
    struct known *known, *next;
    HASH_ITER(hh, compute->known, known, next) {
        if (known->kind == link->kind)
            known->journalled = false;
    }
    OWN_ERROR error = NULL;
    if (open_link(compute, link->kind, &error) < 0) {
        lose(compute, link->kind, false);
        compute->host.troubled(compute->host.context, error->message);
    } else {
        lose(compute, link->kind, true); /* those whose launch it had not read yet */
    }
    hold_links(compute);
    defer(compute);
}

/* --------------------------------------------------------------------- open, close */

static void release(struct compute *compute) {
    for (size_t i = 0; i < KEEPER_KINDS; i++)
        link_close(&compute->links[i]);
    struct known *known, *next;
    HASH_ITER(hh, compute->known, known, next) {
        HASH_DEL(compute->known, known);
        free_known(known);
    }
    oci_free(compute->oci);
    memory_free(compute->runtime);
    oci_range_release(&compute->range);
    file_close(&compute->directory);
    memory_free((void *)(uintptr_t)compute->host.home);
    memory_free(compute);
}

static void free_handle(uv_handle_t *handle) {
    memory_free(handle);
}

static void process_close(struct compute *compute) {
    if (!compute)
        return;
    for (size_t i = 0; i < KEEPER_KINDS; i++)
        link_flush(&compute->links[i]);
    if (compute->deferred)
        uv_close((uv_handle_t *)take(&compute->deferred), free_handle);
    compute->closed = true;
    if (!compute->delivering)
        release(compute);
}

static int open_parts(struct compute *compute, const struct compute_host *host,
                      struct error **err) {
    compute->host = *host;
    compute->host.home = memory_copy_string(host->home);
    compute->oci = oci_new(host->home);
    OWN_STRING folder = path_join(host->home, "compute/process");
    if (!folder || !compute->host.home || !compute->oci)
        return error_set_memory(err);
    if (directory_make(AT_FDCWD, folder, 0700, err) < 0)
        return -1;
    compute->directory = file_open(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY, 0, err);
    if (compute->directory < 0)
        return -1;
    compute->deferred = memory_allocate(sizeof(*compute->deferred));
    if (!compute->deferred)
        return error_set_memory(err);
    (void)uv_idle_init(host->loop, compute->deferred);
    compute->deferred->data = compute;
    for (size_t i = 0; i < KEEPER_KINDS; i++) {
        struct link *link = &compute->links[i];
        link->directory = compute->directory;
        if (link_has_journal(link) && open_link(compute, (enum keeper_kind)i, err) < 0)
            return -1;
    }
    return 0;
}

static int process_open(const struct compute_host *host, struct compute **ret, struct error **err) {
    if (!host->loop)
        return error_set(err, ERROR_UNSUPPORTED, "the driver \"process\" needs a loop");
    struct compute *compute = memory_allocate(sizeof(*compute));
    if (!compute)
        return error_set_memory(err);
    compute->directory = -1;
    for (size_t i = 0; i < KEEPER_KINDS; i++)
        compute->links[i] = (struct link){.kind = (enum keeper_kind)i,
                                          .fd = -1,
                                          .directory = -1,
                                          .loop = host->loop,
                                          .context = compute,
                                          .received = on_record,
                                          .readable = on_readable,
                                          .ended = on_ended};
    if (open_parts(compute, host, err) < 0) {
        process_close(compute);
        return error_wrap(err, "compute \"process\"");
    }
    *ret = compute;
    return 0;
}

/* ------------------------------------------------------------------------- launch */

static enum keeper_kind kind_of(const struct job *job) {
    if (job->image)
        return job->users ? KEEPER_USERS : KEEPER_CONTAINER;
    return job->box == BOX_SEALED ? KEEPER_BOX : KEEPER_PLAIN;
}

/* What this driver cannot run is reported as an exit, as other failures to start are. */
static int check_possible(const struct job *job, struct error **err) {
    if (job->limits.gpus && !job->image) {
        error_set(err, ERROR_UNSUPPORTED, "this compute offers GPUs to containers only");
        return error_hint(err, "give the step an image");
    }
    if (job->network && !text_equal(job->network, "none") && !text_equal(job->network, "host"))
        return error_set(err, ERROR_UNSUPPORTED,
                         "this compute knows the networks \"none\" and \"host\" only");
    return 0;
}

static int prepare(struct compute *compute, const struct job *job, struct oci_container *ret,
                   struct error **err) {
    if (check_possible(job, err) < 0)
        return -1;
    if (!job->image)
        return 0;
    if (!compute->runtime && !(compute->runtime = oci_find_runtime(err)))
        return -1;
    if (job->users && !compute->range.user && oci_find_range(&compute->range, err) < 0)
        return -1;
    return oci_contain(compute->oci, job, &compute->range, ret, err);
}

static int refuse(struct compute *compute, struct known *known, const struct error *why,
                  bool image) {
    known->refusal = why->hint ? memory_format("%s (%s)", why->message, why->hint)
                               : memory_copy_string(why->message);
    known->record.type = RECORD_EXITED;
    known->record.cause = image && why->code == ERROR_NOT_FOUND ? CAUSE_IMAGE_NOT_FOUND
                          : why->code == ERROR_DENIED           ? CAUSE_POLICY
                                                                : CAUSE_NOT_STARTED;
    known->record.exit_code = -1;
    known->record.ended = known->record.started;
    make_ready(compute, known);
    return known->refusal ? 0 : -1;
}

static int process_launch(struct compute *compute, const struct job *job, struct error **err) {
    struct oci_container container CLEANUP(oci_container_release) = {0};
    OWN_BUFFER message = {0};
    OWN_ERROR refusal = NULL;
    if (launch_check(job, err) < 0)
        return -1;
    if (find_known(compute, job->name))
        return error_set(err, ERROR_EXISTS, "a job named %s was launched before", job->name);
    enum keeper_kind kind = kind_of(job);
    struct link *link = &compute->links[kind];
    if (prepare(compute, job, &container, &refusal) < 0 && refusal->code == ERROR_MEMORY)
        return error_move(err, take(&refusal));
    if (!refusal && launch_encode(job, job->image ? &container : NULL, &message, err) < 0)
        return -1;
    if (!refusal && open_link(compute, kind, err) < 0)
        return -1;
    if (find_known(compute, job->name)) /* a journal read just now told of it */
        return error_set(err, ERROR_EXISTS, "a job named %s was launched before", job->name);
    struct known *known = add_known(compute, job->name, kind);
    if (!known)
        return error_set_memory(err);
    if (!refusal && link_queue(link, message.data, message.size, err) < 0) {
        remove_known(compute, known);
        return -1;
    }
    known->record.started = clock_wall();
    want(compute, known);
    link_hold(link, true);
    if (refusal && refuse(compute, known, refusal, job->image) < 0) {
        remove_known(compute, known);
        return error_set_memory(err);
    }
    defer(compute);
    return 0;
}

static int process_flush(struct compute *compute, struct error **err) {
    for (size_t i = 0; i < KEEPER_KINDS; i++)
        link_flush(&compute->links[i]);
    return 0;
}

struct oci *process_oci(struct compute *compute) {
    return compute->oci;
}

static enum job_state process_find(struct compute *compute, const char *name) {
    struct known *known = find_known(compute, name);
    if (!known)
        return JOB_UNKNOWN;
    want(compute, known);
    make_ready(compute, known);
    link_hold(&compute->links[known->kind], compute->waiting[known->kind] > 0);
    return known->record.type == RECORD_EXITED ? JOB_EXITED : JOB_RUNNING;
}

static int send_named(struct compute *compute, struct known *known, enum message_type type,
                      enum cause cause, int64_t grace, struct error **err) {
    struct name_message message = {
        .header = {.size = sizeof(message), .type = type}, .cause = (int32_t)cause, .grace = grace};
    memcpy(message.name, known->name, sizeof(message.name));
    struct link *link = &compute->links[known->kind];
    if (!link_is_open(link) && type == MESSAGE_FORGET && !known->journalled)
        return 0;
    if (open_link(compute, known->kind, err) < 0)
        return -1;
    defer(compute);
    return link_queue(link, &message, sizeof(message), err);
}

static int process_stop(struct compute *compute, const char *name, enum cause cause, int64_t grace,
                        struct error **err) {
    struct known *known = find_known(compute, name);
    if (!known)
        return error_set(err, ERROR_NOT_FOUND, "no job named %s", name);
    if (known->record.type == RECORD_EXITED)
        return 0; /* its report is on the way */
    return send_named(compute, known, MESSAGE_STOP, cause, grace, err);
}

static int process_usage(struct compute *compute, const char *name, struct exit_report *ret,
                         struct error **err) {
    struct known *known = find_known(compute, name);
    if (!known || known->record.type == RECORD_EXITED)
        return error_set(err, ERROR_NOT_FOUND, "no running job named %s", name);
    struct name_message question = {.header = {.size = sizeof(question), .type = MESSAGE_USAGE}};
    memcpy(question.name, known->name, sizeof(question.name));
    struct link *link = &compute->links[known->kind];
    struct record answer;
    if (open_link(compute, known->kind, err) < 0 || link_ask(link, &question, &answer, err) < 0)
        return -1;
    if (answer.cause < 0)
        return error_set(err, ERROR_NOT_FOUND, "no running job named %s", name);
    *ret = (struct exit_report){.name = known->name,
                                .exit_code = -1,
                                .started = answer.started,
                                .peak_memory = answer.peak_memory,
                                .cpu_user = answer.cpu_user,
                                .cpu_system = answer.cpu_system,
                                .detail = "",
                                .weaker = "",
                                .sandbox = ""};
    return 0;
}

static void process_forget(struct compute *compute, const char *name) {
    struct known *known = find_known(compute, name);
    if (!known || known->record.type != RECORD_EXITED || known->ready)
        return;
    OWN_ERROR error = NULL;
    if (!known->refusal && send_named(compute, known, MESSAGE_FORGET, CAUSE_NONE, 0, &error) < 0)
        log_message(LOG_WARNING, "cannot tell the keeper to forget a job: %s", error->message);
    remove_known(compute, known);
}

static void process_list_ended(struct compute *compute,
                               void (*use)(void *context, const char *name), void *context) {
    struct known *known, *next;
    HASH_ITER(hh, compute->known, known, next) {
        if (known->record.type == RECORD_EXITED && !known->wanted)
            use(context, known->name);
    }
}

/* ----------------------------------------------------------------------- capacity */

static uint64_t read_number(const char *path) {
    OWN_BUFFER text = {0};
    int64_t value;
    if (file_read_all(AT_FDCWD, path, 64, &text, NULL) < 0)
        return UINT64_MAX;
    while (text.size && text.data[text.size - 1] == '\n')
        buffer_truncate(&text, text.size - 1);
    return text_parse_integer(buffer_text(&text), 0, INT64_MAX, &value, NULL) < 0 ? UINT64_MAX
                                                                                  : (uint64_t)value;
}

/* The smallest limit of memory of this program's control group and those above it; UINT64_MAX:
 * none. In version 1 of control groups only what a container sees as the uppermost is looked at. */
static uint64_t group_memory(void) {
    OWN_BUFFER groups = {0};
    char path[4096], file[4200];
    uint64_t memory = read_number("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    if (file_read_all(AT_FDCWD, "/proc/self/cgroup", 65536, &groups, NULL) < 0)
        return memory;
    const char *unified = strstr(buffer_text(&groups), "0::/");
    (void)snprintf(path, sizeof(path), "%s", unified ? unified + 3 : "/");
    path[strcspn(path, "\n")] = '\0';
    for (char *end = path + strlen(path); end; end = strrchr(path, '/')) {
        *end = '\0';
        (void)snprintf(file, sizeof(file), "/sys/fs/cgroup%s/memory.max", path);
        uint64_t limit = read_number(file);
        memory = limit < memory ? limit : memory;
    }
    return memory;
}

/* What one program may use: the machine's, or less where a container or a unit shuts us in. */
static int process_capacity(struct compute *compute, struct compute_capacity *ret,
                            struct error **err) {
    cpu_set_t cpus;
    if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
        return error_set_errno(err, errno, "cannot count processors");
    uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t limit = group_memory();
    memory = limit < memory ? limit : memory;
    OWN_ERROR ignored = NULL;
    OWN_JSON gpus = oci_list_devices(&ignored);
    *ret = (struct compute_capacity){
        .cpus = CPU_COUNT(&cpus), .memory = memory, .gpus = (unsigned)json_array_size(gpus)};
    return 0;
}

const struct driver driver_process = {.name = "process",
                                      .runs_images = true,
                                      .chains = true,
                                      .open = process_open,
                                      .close = process_close,
                                      .pin = oci_pin,
                                      .launch = process_launch,
                                      .flush = process_flush,
                                      .find = process_find,
                                      .stop = process_stop,
                                      .usage = process_usage,
                                      .capacity = process_capacity,
                                      .forget = process_forget,
                                      .list_ended = process_list_ended};
