/*
 * A container's config.json (OCI runtime specification 1.0). Its paths are those of the bundle that
 * the keeper lays out (keeper/vessel.c): mounts/N are the job's mounts, ../dev and so on what all
 * containers share. Namespaces of processes, network, ipc and names are the vessel's, which crun
 * starts in; here are those of users and mounts.
 */
#include "compute/private-oci.h"

#include "compute/keeper/protocol.h"

#include <unistd.h>

void oci_container_release(struct oci_container *container) {
    buffer_release(&container->config);
    memory_free(container->directory);
    memory_free(container->program);
    *container = (struct oci_container){0};
}

/* ------------------------------------------------------------------------ small parts */

/* Writes `,` between the members of a list. */
static void separate(struct buffer *out) {
    if (out->size && !strchr("[{:", out->data[out->size - 1]))
        buffer_append_char(out, ',');
}

static void add_text(struct buffer *out, const char *text) {
    separate(out);
    json_append_string(out, text);
}

static int add_json(struct buffer *out, const json_t *json, struct error **err) {
    OWN_STRING text = json_text(json, JSON_COMPACT, err);
    if (!text)
        return -1;
    separate(out);
    buffer_append(out, text);
    return 0;
}

static int add_list(struct buffer *out, const json_t *list, struct error **err) {
    size_t index;
    json_t *item;
    json_array_foreach(list, index, item) {
        if (add_json(out, item, err) < 0)
            return -1;
    }
    return 0;
}

/* Texts of an image's configuration that are no texts are as if they were not there. */
static void add_texts(struct buffer *out, const json_t *list) {
    size_t index;
    json_t *item;
    json_array_foreach(list, index, item) {
        if (json_is_string(item))
            add_text(out, json_string_value(item));
    }
}

static bool is_there(const json_t *list) {
    return json_array_size(list) > 0;
}

/* ------------------------------------------------------------------------- the process */

static bool is_set(const char *const *environment, const char *name, size_t size) {
    for (size_t i = 0; environment && environment[i]; i++) {
        if (strncmp(environment[i], name, size) == 0 && environment[i][size] == '=')
            return true;
    }
    return false;
}

static bool image_sets(const json_t *environment, const char *name) {
    size_t index, size = strlen(name);
    json_t *item;
    json_array_foreach(environment, index, item) {
        const char *text = json_string_value(item);
        if (text && strncmp(text, name, size) == 0 && text[size] == '=')
            return true;
    }
    return false;
}

/* The image's, the devices', the job's: who comes later wins. */
static void write_environment(struct buffer *out, const struct job *job,
                              const struct oci_image *image, const struct oci_devices *devices) {
    const json_t *own = json_object_get(image->config, "Env");
    size_t index;
    json_t *item;
    buffer_append(out, "\"env\":[");
    json_array_foreach(own, index, item) {
        const char *text = json_string_value(item);
        size_t size = text ? strcspn(text, "=") : 0;
        if (size && text[size] && !is_set(job->environment, text, size))
            add_text(out, text);
    }
    if (!image_sets(own, "PATH") && !is_set(job->environment, "PATH", 4))
        add_text(out, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    if (!image_sets(own, "HOME") && !is_set(job->environment, "HOME", 4)) {
        OWN_STRING home = memory_format("HOME=%s", image->user.home);
        add_text(out, home ? home : "HOME=/");
    }
    add_texts(out, devices ? devices->environment : NULL);
    for (size_t i = 0; job->environment && job->environment[i]; i++)
        add_text(out, job->environment[i]);
    buffer_append(out, "]");
}

/* As Docker has it: another entry point also takes the image's command away. */
static int write_arguments(struct buffer *out, const struct job *job, struct oci_container *ret,
                           struct error **err) {
    const json_t *config = ret->image->config;
    const json_t *entrypoint = json_object_get(config, "Entrypoint");
    const json_t *command = json_object_get(config, "Cmd");
    bool replaced = job->entrypoint && job->entrypoint[0];
    bool given = job->arguments && job->arguments[0];
    const char *program = replaced               ? job->entrypoint[0]
                          : is_there(entrypoint) ? json_string_value(json_array_get(entrypoint, 0))
                          : given                ? job->arguments[0]
                          : is_there(command)    ? json_string_value(json_array_get(command, 0))
                                                 : NULL;
    if (!program || !program[0]) {
        error_set(err, ERROR_INVALID, "the image has neither an entry point nor a command");
        return error_hint(err, "say in the step what is to run: command: [program, argument]");
    }
    ret->program = memory_copy_string(program);
    buffer_append(out, "\"args\":[");
    for (size_t i = 0; replaced && job->entrypoint[i]; i++)
        add_text(out, job->entrypoint[i]);
    if (!replaced)
        add_texts(out, entrypoint);
    for (size_t i = 0; given && job->arguments[i]; i++)
        add_text(out, job->arguments[i]);
    if (!given && !replaced)
        add_texts(out, command);
    buffer_append(out, "],");
    return ret->program ? 0 : error_set_memory(err);
}

/* Only where there are more than one. */
static int write_groups(struct buffer *out, const struct oci_user *user, struct error **err) {
    static const char hint[] = "take it out of groups in the image's /etc/group, or name its group "
                               "in the image's USER";
    if (user->group_count > GROUPS_MAXIMUM) {
        error_set(err, ERROR_LIMIT, "the image's user is in more than %d groups", GROUPS_MAXIMUM);
        return error_hint(err, "%s", hint);
    }
    buffer_append(out, ",\"additionalGids\":[");
    for (size_t i = 0; i < user->group_count; i++) {
        if (user->groups[i] >= IMAGE_IDS) {
            error_set(
                err, ERROR_UNSUPPORTED,
                "the image's user is in the group %u, and \"users: image\" has those below %d "
                "only",
                user->groups[i], IMAGE_IDS);
            return error_hint(err, "%s", hint);
        }
        separate(out);
        buffer_format(out, "%u", user->groups[i]);
    }
    buffer_append_char(out, ']');
    return 0;
}

/* None, or what changing user takes: all of them count for the container's own ids only, and for
 * root alone. Nothing that would reach further: no mounts, devices, networks, other processes. */
static void write_capabilities(struct buffer *out, bool users) {
    static const char *const sets[] = {"bounding", "effective", "permitted"};
    buffer_append(out, "\"capabilities\":{\"inheritable\":[],\"ambient\":[]");
    for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
        buffer_format(out, ",\"%s\":[%s]", sets[i],
                      users ? "\"CAP_CHOWN\",\"CAP_DAC_OVERRIDE\",\"CAP_FOWNER\",\"CAP_KILL\","
                              "\"CAP_SETGID\",\"CAP_SETUID\""
                            : "");
    buffer_append(out, "},");
}

static int write_process(struct buffer *out, const struct job *job,
                         const struct oci_devices *devices, struct oci_container *ret,
                         struct error **err) {
    const struct oci_image *image = ret->image;
    const char *own = json_get_string(image->config, "WorkingDir", "");
    ret->directory = memory_copy_string(job->directory  ? job->directory
                                        : own[0] == '/' ? own
                                                        : "/");
    if (!ret->directory)
        return error_set_memory(err);
    buffer_format(out, "\"process\":{\"user\":{\"uid\":%u,\"gid\":%u", image->user.user,
                  image->user.group);
    if (job->users && write_groups(out, &image->user, err) < 0)
        return -1;
    buffer_append(out, "},\"cwd\":");
    json_append_string(out, ret->directory);
    buffer_append_char(out, ',');
    if (write_arguments(out, job, ret, err) < 0)
        return -1;
    write_environment(out, job, image, devices);
    /* The vessel's init and crun's own may be counted, too. */
    unsigned processes = job->limits.processes ? job->limits.processes + 4 : DEFAULT_PROCESSES;
    buffer_append(out, ",\"noNewPrivileges\":true,");
    write_capabilities(out, job->users);
    buffer_format(out, "\"rlimits\":[{\"type\":\"RLIMIT_NPROC\",\"soft\":%u,\"hard\":%u}]},",
                  processes, processes);
    return 0;
}

/* ------------------------------------------------------------------------------ mounts */

static bool mounts_at(const struct job *job, const char *target) {
    for (size_t i = 0; i < job->mount_count; i++) {
        if (text_equal(job->mounts[i].target, target))
            return true;
    }
    return false;
}

static void add_bind(struct buffer *out, const struct job *job, const char *source,
                     const char *target, const char *options) {
    if (mounts_at(job, target))
        return;
    separate(out);
    buffer_append(out, "{\"type\":\"bind\",\"source\":");
    json_append_string(out, source);
    buffer_append(out, ",\"destination\":");
    json_append_string(out, target);
    buffer_format(out, ",\"options\":[%s]}", options);
}

static void add_tmpfs(struct buffer *out, const char *target, uint64_t size, const char *mode) {
    separate(out);
    buffer_append(out, "{\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"destination\":");
    json_append_string(out, target);
    /* A page for each inode is the least that one takes. */
    buffer_format(
        out, ",\"options\":[\"nosuid\",\"nodev\",\"mode=%s\",\"size=%llu\",\"nr_inodes=%llu\"]}",
        mode, (unsigned long long)size, (unsigned long long)(size / 4096 + 64));
}

#define SHOWN "\"nosuid\",\"nodev\",\"noexec\""

/* What every container has. Devices are bound from the shared folder, unless some are to be added:
 * then crun makes the usual ones in a fresh one. */
static int add_own_mounts(struct buffer *out, const struct job *job,
                          const struct oci_devices *devices, struct error **err) {
    const struct compute_limits *limits = &job->limits;
    add_bind(out, job, "/proc", "/proc", "\"bind\",\"ro\"," SHOWN);
    if (devices)
        add_tmpfs(out, "/dev", 1 << 20, "755");
    else
        add_bind(out, job, "../dev", "/dev", "\"rbind\",\"ro\",\"nosuid\",\"noexec\"");
    if (!mounts_at(job, "/dev/shm"))
        add_tmpfs(out, "/dev/shm", limits->shared_memory ? limits->shared_memory : DEFAULT_SHARED,
                  "1777");
    add_bind(out, job, "../sys", "/sys", "\"rbind\",\"ro\"," SHOWN);
    if (!mounts_at(job, "/tmp"))
        add_tmpfs(out, "/tmp", limits->scratch ? limits->scratch : DEFAULT_SCRATCH, "1777");
    add_bind(out, job, "../etc/hosts", "/etc/hosts", "\"bind\",\"ro\"," SHOWN);
    add_bind(out, job, "../etc/hostname", "/etc/hostname", "\"bind\",\"ro\"," SHOWN);
    if (job->network && text_equal(job->network, "host") && access("/etc/resolv.conf", R_OK) == 0)
        add_bind(out, job, "/etc/resolv.conf", "/etc/resolv.conf", "\"bind\",\"ro\"," SHOWN);
    return devices ? add_list(out, devices->mounts, err) : 0;
}

static int write_mounts(struct buffer *out, const struct job *job,
                        const struct oci_devices *devices, struct error **err) {
    buffer_append(out, "\"mounts\":[");
    if (add_own_mounts(out, job, devices, err) < 0)
        return -1;
    for (size_t i = 0; i < job->mount_count; i++) {
        const struct compute_mount *mount = &job->mounts[i];
        uint64_t scratch = job->limits.scratch ? job->limits.scratch : DEFAULT_SCRATCH;
        if (!mount->source) {
            add_tmpfs(out, mount->target, scratch, mount->writable ? "1777" : "755");
            continue;
        }
        separate(out);
        buffer_format(out, "{\"type\":\"bind\",\"source\":\"mounts/%zu\",\"destination\":", i);
        json_append_string(out, mount->target);
        buffer_format(out, ",\"options\":[\"rbind\",\"%s\",\"nosuid\",\"nodev\"]}",
                      mount->writable ? "rw" : "ro");
    }
    buffer_append(out, "],");
    return 0;
}

/* ------------------------------------------------------------------------------- whole */

static void write_range(struct buffer *out, uint32_t first, uint32_t end, uint32_t outside) {
    if (end > first)
        buffer_format(out, ",{\"containerID\":%u,\"size\":%u,\"hostID\":%u}", first, end - first,
                      outside + first);
}

/* Leaves blanks for the number of who the container's user is outside. Others, where there are any,
 * follow from `others` on in their order. */
static size_t write_mapping(struct buffer *out, const char *key, uint32_t id,
                            const uint32_t *others) {
    buffer_format(out, "\"%s\":[{\"containerID\":%u,\"size\":1,\"hostID\":", key, id);
    size_t at = out->size;
    buffer_append_repeat(out, ' ', HOST_ID_SIZE);
    buffer_append_char(out, '}');
    if (others) {
        write_range(out, 0, id < IMAGE_IDS ? id : IMAGE_IDS, *others);
        write_range(out, id < IMAGE_IDS ? id + 1 : IMAGE_IDS, IMAGE_IDS, *others);
    }
    buffer_append(out, "],");
    return at;
}

static void write_linux(struct buffer *out, struct oci_container *ret,
                        const struct oci_range *range) {
    const struct oci_user *user = &ret->image->user;
    buffer_append(out, "\"linux\":{");
    ret->host_user_at =
        write_mapping(out, "uidMappings", user->user, range ? &range->seen_user : NULL);
    ret->host_group_at =
        write_mapping(out, "gidMappings", user->group, range ? &range->seen_group : NULL);
    buffer_append(out, "\"namespaces\":[{\"type\":\"user\"},{\"type\":\"mount\"}],"
                       "\"maskedPaths\":[\"/proc/keys\",\"/proc/kcore\",\"/proc/timer_list\","
                       "\"/proc/kallsyms\",\"/proc/sched_debug\",\"/proc/slabinfo\"]},");
}

int oci_configure(const struct job *job, const struct oci_image *image,
                  const struct oci_devices *devices, const struct oci_range *range,
                  const char *filter, struct oci_container *ret, struct error **err) {
    struct oci_container container CLEANUP(oci_container_release) = {.image = image};
    struct buffer *out = &container.config;
    out->maximum = MESSAGE_MAXIMUM;
    buffer_append(out, "{\"ociVersion\":\"1.0.2\",");
    write_linux(out, &container, job->users ? range : NULL);
    buffer_format(out, "\"root\":{\"path\":\"rootfs\",\"readonly\":%s},",
                  job->writable_root ? "false" : "true");
    if (write_process(out, job, devices, &container, err) < 0 ||
        write_mounts(out, job, devices, err) < 0)
        return -1;
    if (devices && json_object_size(devices->hooks)) {
        buffer_append(out, "\"hooks\":");
        if (add_json(out, devices->hooks, err) < 0)
            return -1;
        buffer_append_char(out, ',');
    }
    buffer_format(out, "\"annotations\":{\"run.oci.seccomp_bpf_data\":\"%s\"}}", filter);
    if (out->failed)
        return error_set(err, ERROR_LIMIT, "job %s: its command and environment exceed %zu KiB",
                         job->name, MESSAGE_MAXIMUM >> 10);
    *ret = container;
    container = (struct oci_container){0};
    return 0;
}
