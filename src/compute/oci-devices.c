/*
 * GPUs, by the Container Device Interface (CDI 0.6): files of /etc/cdi and /var/run/cdi, which the
 * devices' own tools write, say what a container needs to use one: device nodes, files, variables
 * and hooks. A GPU is a device of a kind whose class is "gpu", such as nvidia.com/gpu=0.
 */
#include "compute/private-oci.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libfyaml.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SPECIFICATION_MAXIMUM = 4 << 20, FILES_MAXIMUM = 64, DEVICES_MAXIMUM = 256 };

void oci_devices_release(struct oci_devices *devices) {
    json_decref(devices->mounts);
    json_decref(devices->environment);
    json_decref(devices->hooks);
    *devices = (struct oci_devices){0};
}

static const char *folders_text(void) {
    const char *given = getenv("GLOVEBOX_CDI_PATH");
    return given && given[0] ? given : "/etc/cdi:/var/run/cdi";
}

/* --------------------------------------------------------------------------- reading */

static json_t *parse_yaml(const char *text, size_t size, struct error **err) {
    struct fy_parse_cfg quiet = {.flags = FYPCF_QUIET | FYPCF_RESOLVE_DOCUMENT};
    struct fy_document *document = fy_document_build_from_string(&quiet, text, size);
    char *converted =
        document ? fy_emit_document_to_string(document, FYECF_MODE_JSON_ONELINE) : NULL;
    json_t *json = NULL;
    if (converted)
        json = json_parse(converted, strlen(converted), err);
    else
        error_set(err, ERROR_INVALID, "it is no YAML");
    free(converted);
    fy_document_destroy(document);
    return json;
}

static json_t *read_specification(const char *folder, const char *name, struct error **err) {
    OWN_STRING path = path_join(folder, name);
    OWN_BUFFER text = {.maximum = SPECIFICATION_MAXIMUM};
    if (!path) {
        error_set_memory(err);
        return NULL;
    }
    if (file_read_all(AT_FDCWD, path, SPECIFICATION_MAXIMUM, &text, err) < 0)
        return NULL;
    json_t *json = text_ends_with(name, ".json") ? json_parse(buffer_text(&text), text.size, err)
                                                 : parse_yaml(buffer_text(&text), text.size, err);
    if (!json)
        error_wrap(err, "%s", path);
    return json;
}

/* Appends {"name", "edits", "common"} for each GPU of a file; "all" and its like are other names
 * for them together. */
static int add_gpus(json_t *found, json_t *specification, struct error **err) {
    const char *kind = json_get_string(specification, "kind", "");
    json_t *common = json_object_get(specification, "containerEdits");
    size_t index;
    json_t *device;
    if (!text_ends_with(kind, "/gpu"))
        return 0;
    json_array_foreach(json_object_get(specification, "devices"), index, device) {
        const char *name = json_get_string(device, "name", "");
        if (!name[0] || text_equal(name, "all") || json_array_size(found) == DEVICES_MAXIMUM)
            continue;
        OWN_STRING whole = memory_format("%s=%s", kind, name);
        json_t *item = json_pack("{s:s?, s:O?, s:O?}", "name", whole, "edits",
                                 json_object_get(device, "containerEdits"), "common", common);
        if (!whole || !item || json_array_append_new(found, item) < 0)
            return error_set_memory(err);
    }
    return 0;
}

static int is_specification(const struct dirent *entry) {
    return text_ends_with(entry->d_name, ".json") || text_ends_with(entry->d_name, ".yaml") ||
           text_ends_with(entry->d_name, ".yml");
}

static int add_folder(json_t *found, const char *folder, struct error **err) {
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_specification, alphasort);
    int bad = 0;
    for (int i = 0; i < count; i++) {
        if (!bad && i < FILES_MAXIMUM) {
            OWN_JSON specification = read_specification(folder, entries[i]->d_name, err);
            bad = specification ? add_gpus(found, specification, err) : -1;
        }
        free(entries[i]);
    }
    free(entries);
    return bad;
}

json_t *oci_list_devices(struct error **err) {
    OWN_JSON found = json_array();
    OWN_STRING folders = memory_copy_string(folders_text());
    if (!found || !folders) {
        error_set_memory(err);
        return NULL;
    }
    char *rest = NULL;
    for (char *folder = strtok_r(folders, ":", &rest); folder;
         folder = strtok_r(NULL, ":", &rest)) {
        if (add_folder(found, folder, err) < 0)
            return NULL;
    }
    return take(&found);
}

/* --------------------------------------------------------------------------- applying */

static int bind(struct oci_devices *ret, const char *host, const char *inside,
                const char *const options[3], struct error **err) {
    if (host[0] != '/' || inside[0] != '/')
        return error_set(err, ERROR_INVALID, "a CDI file has a path that is not absolute");
    json_t *mount = json_pack("{s:s, s:s, s:s, s:[s, s, s]}", "type", "bind", "source", host,
                              "destination", inside, "options", options[0], options[1], options[2]);
    return mount && json_array_append_new(ret->mounts, mount) == 0 ? 0 : error_set_memory(err);
}

/* The host's node itself is shown, which an ordinary user may do as well as root. */
static int add_node(const json_t *said, struct oci_devices *ret, struct error **err) {
    const char *path = json_get_string(said, "path", "");
    const char *host = json_get_string(said, "hostPath", path);
    struct stat status;
    if (stat(host, &status) < 0 || !(S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)))
        return error_set(err, ERROR_UNSUPPORTED, "the GPU's device %s is not there", host);
    return bind(ret, host, path, (const char *const[]){"bind", "nosuid", "noexec"}, err);
}

/* Whatever the file says: read-only. */
static int add_mount(const json_t *said, struct oci_devices *ret, struct error **err) {
    return bind(ret, json_get_string(said, "hostPath", ""),
                json_get_string(said, "containerPath", ""),
                (const char *const[]){"rbind", "ro", "nosuid"}, err);
}

static int add_hook(json_t *said, struct oci_devices *ret, struct error **err) {
    const char *name = json_get_string(said, "hookName", "createContainer");
    json_t *list = json_object_get(ret->hooks, name);
    json_t *hook = json_copy(said);
    if (!list && json_object_set_new(ret->hooks, name, list = json_array()) < 0)
        list = NULL;
    if (hook)
        (void)json_object_del(hook, "hookName");
    return list && hook && json_array_append_new(list, hook) == 0 ? 0 : error_set_memory(err);
}

static int apply(const json_t *edits, struct oci_devices *ret, struct error **err) {
    size_t index;
    json_t *item;
    json_array_foreach(json_object_get(edits, "deviceNodes"), index, item) {
        if (add_node(item, ret, err) < 0)
            return -1;
    }
    json_array_foreach(json_object_get(edits, "mounts"), index, item) {
        if (add_mount(item, ret, err) < 0)
            return -1;
    }
    json_array_foreach(json_object_get(edits, "hooks"), index, item) {
        if (add_hook(item, ret, err) < 0)
            return -1;
    }
    json_array_foreach(json_object_get(edits, "env"), index, item) {
        if (json_is_string(item) && json_array_append(ret->environment, item) < 0)
            return error_set_memory(err);
    }
    return 0;
}

/* True when a job has it. */
static bool is_taken(const json_t *taken, const char *device) {
    const char *job;
    json_t *names;
    json_object_foreach((json_t *)(uintptr_t)taken, job, names) {
        size_t index;
        json_t *name;
        json_array_foreach(names, index, name) {
            if (text_equal(json_string_value(name), device))
                return true;
        }
    }
    return false;
}

static int choose(json_t *all, const json_t *taken, unsigned count, struct oci_devices *ret,
                  json_t *ret_names, struct error **err) {
    size_t index;
    json_t *device, *last = NULL;
    unsigned left = count;
    json_array_foreach(all, index, device) {
        json_t *name = json_object_get(device, "name");
        if (!left || is_taken(taken, json_string_value(name)))
            continue;
        json_t *common = json_object_get(device, "common");
        if ((common != last && apply(common, ret, err) < 0) ||
            apply(json_object_get(device, "edits"), ret, err) < 0)
            return -1;
        if (json_array_append(ret_names, name) < 0)
            return error_set_memory(err);
        last = common;
        left--;
    }
    return left ? error_set(err, ERROR_UNSUPPORTED,
                            "%u of the %zu GPUs here are free, and %u wanted", count - left,
                            json_array_size(all), count)
                : 0;
}

int oci_find_devices(unsigned count, const json_t *taken, struct oci_devices *ret,
                     json_t *ret_names, struct error **err) {
    struct oci_devices devices CLEANUP(oci_devices_release) = {json_array(), json_array(),
                                                               json_object()};
    OWN_JSON all = oci_list_devices(err);
    if (!all)
        return -1;
    if (!devices.mounts || !devices.environment || !devices.hooks)
        return error_set_memory(err);
    if (json_array_size(all) == 0) {
        error_set(err, ERROR_UNSUPPORTED,
                  "there is no GPU here: no file of %s describes a device of a kind like "
                  "nvidia.com/gpu",
                  folders_text());
        return error_hint(err, "the GPU's tools write one: nvidia-ctk cdi generate "
                               "--output=/etc/cdi/nvidia.yaml");
    }
    if (choose(all, taken, count, &devices, ret_names, err) < 0)
        return -1;
    *ret = devices;
    devices = (struct oci_devices){0};
    return 0;
}
