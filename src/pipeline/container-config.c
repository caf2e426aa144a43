/* MedPerf's container_config.yaml: its tasks become steps, mounted as MedPerf mounts them. */
#include "pipeline/private-foreign.h"

#include <fcntl.h>

/* MedPerf's tasks; those of data preparation follow each other. */
static const char *const tasks_known[] = {"prepare", "sanity_check", "statistics", "infer",
                                          "evaluate"};

/* What the tasks after `prepare` read is what it left. */
static const char *const prepared[][2] = {{"data_path", "output_path"},
                                          {"labels_path", "output_labels_path"},
                                          {"metadata_path", "metadata_path"}};

bool is_container_config(const struct node *document) {
    const struct node *tasks = node_get(document, "tasks");
    return node_get(document, "container_type") ||
           (tasks && node_get(document, "image") && !node_get(document, "steps"));
}

static void check_top(struct loader *loader, const struct node *document) {
    static const char *const types[] = {"DockerImage", "DockerArchive", "EncryptedDockerArchive",
                                        "SingularityFile", "EncryptedSingularityFile"};
    const struct node *type = node_get_value(document, "container_type");
    const char *word = type ? scalar_text(loader, type, "container_type") : NULL;
    bool known = !word;
    for (size_t i = 0; i < ARRAY_SIZE(types) && !known; i++)
        known = text_equal(types[i], word);
    if (!known)
        node_error(
            &loader->trouble, type,
            nearest_hint(loader, word, types, ARRAY_SIZE(types), "it is DockerImage in most files"),
            "unknown container_type `%.100s`", word);
    if (!node_get_value(document, "image"))
        node_error(&loader->trouble, document, "image: NAME:TAG",
                   "a container config needs `image`");
    if (!node_get_value(document, "tasks"))
        node_error(&loader->trouble, document,
                   "a container config has a mapping of `tasks`, a workflow a list of `steps`",
                   "a container config needs `tasks`");
}

/* ----------------------------------------------------------------- image archives */

/* What somebody has downloaded from a URL is used when it lies here under the URL's last name. */
static const char *downloaded_file(struct loader *loader, const struct node *image) {
    const char *url = loader_format(loader, "%.*s", (int)strcspn(image->text, "?#"), image->text);
    const char *name = path_base_name(url);
    char *path = *name ? join_to_source(loader, image->source, name) : NULL;
    if (path && file_exists(AT_FDCWD, path))
        return name;
    node_error(&loader->trouble, image,
               loader_format(loader, "download it to %s: then it is loaded from there",
                             path ? path : "a file"),
               "`%.200s` is not fetched from the network", image->text);
    return NULL;
}

/* A path of our language: it begins with a dot or a slash. */
static struct node *archive_image(struct loader *loader, const struct node *image) {
    const char *text = scalar_text(loader, image, "image");
    const char *file = text && strstr(text, "://") ? downloaded_file(loader, image) : text;
    if (!file || *file == '/' || *file == '.')
        return new_text(loader, image, file);
    return new_text(loader, image, loader_format(loader, "./%s", file));
}

/* The image as the steps have it; NULL when it was reported. */
static struct node *image_of(struct loader *loader, const struct node *document) {
    struct node *type = node_get_value(document, "container_type");
    struct node *image = node_get_value(document, "image");
    const char *word = type && node_is_scalar(type) ? type->text : "DockerImage";
    if (text_starts_with(word, "Encrypted")) {
        node_error(&loader->trouble, type,
                   "ask its owner for the image itself; `glovebox image load FILE` takes it, and "
                   "here it is a DockerArchive or a SingularityFile",
                   "an encrypted image needs a key that MedPerf hands out: it cannot be run here");
        return NULL;
    }
    bool archive = text_equal(word, "DockerArchive") || text_equal(word, "SingularityFile");
    return image && archive ? archive_image(loader, image) : image;
}

/* ---------------------------------------------------------------------- run_args */

/* Docker's --gpus: all, a number, or device=0,1. */
static struct node *gpu_count(struct loader *loader, const struct node *node) {
    const char *text = scalar_text(loader, node, "gpus");
    if (!text || !*text)
        return NULL;
    if (text_equal(text, "all")) {
        node_warning(&loader->trouble, node, "gpus: NUMBER says how many it takes",
                     "`all` GPUs are counted as one here");
        return new_word(loader, node, "1");
    }
    if (!text_starts_with(text, "device="))
        return new_word(loader, node, text);
    unsigned count = 1;
    for (const char *at = text; *at; at++)
        count += *at == ',';
    return new_word(loader, node, loader_format(loader, "%u", count));
}

static void put_run_args(struct loader *loader, struct node **step, const struct node *arguments) {
    struct node *resources = new_mapping(loader, *step);
    for (size_t i = 0; i < arguments->count; i++) {
        const struct node *key = arguments->keys[i];
        struct node *value = arguments->values[i];
        if (value->kind == NODE_NULL)
            continue;
        if (text_equal(key->text, "command"))
            put(loader, step, "command",
                value->kind == NODE_LIST ? value : split_shell_words(loader, value));
        else if (text_equal(key->text, "entrypoint")) {
            struct node *list = value->kind == NODE_LIST ? value : new_list(loader, value, 1);
            if (list && list != value)
                push(list, value);
            put(loader, step, "entrypoint", list);
        } else if (text_equal(key->text, "environment"))
            put(loader, step, "env", value);
        else if (text_equal(key->text, "shm_size"))
            put(loader, &resources, "shm", value);
        else if (text_equal(key->text, "gpus"))
            put(loader, &resources, "gpus", gpu_count(loader, value));
        else
            node_error(&loader->trouble, key,
                       "allowed are command, entrypoint, environment, gpus and shm_size",
                       "`%.100s` is not allowed in run_args", key->text);
    }
    if (resources && resources->count)
        put(loader, step, "resources", resources);
}

/* ------------------------------------------------------------------------- mounts */

static bool prepare_leaves(const struct node *tasks, const char *mount) {
    const struct node *task = node_get_value(tasks, "prepare");
    return node_get_value(node_get_value(task, "output_volumes"), mount);
}

/* An input is read-only, even where it is what another task leaves. */
static struct node *input_volume(struct loader *loader, const struct node *tasks, const char *task,
                                 const char *name, struct node *volume) {
    bool of_data = text_equal(task, "sanity_check") || text_equal(task, "statistics");
    if (volume->kind != NODE_MAPPING)
        return volume;
    put(loader, &volume, "writable", new_word(loader, volume, "false"));
    for (size_t i = 0; of_data && i < ARRAY_SIZE(prepared); i++) {
        if (!text_equal(prepared[i][0], name) || !prepare_leaves(tasks, prepared[i][1]))
            continue;
        struct node *from = new_mapping(loader, volume);
        put_text(loader, &from, "step", volume, "prepare");
        put_text(loader, &from, "mount", volume, prepared[i][1]);
        put(loader, &volume, "from", from);
    }
    return volume;
}

static struct node *volumes_of(struct loader *loader, const struct node *tasks,
                               const struct node *task, const char *id, const char *side) {
    struct node *volumes = node_get_value(task, side);
    bool inputs = text_equal(side, "input_volumes");
    if (!volumes || !expect_kind(loader, volumes, NODE_MAPPING, side))
        return NULL;
    struct node *made = new_mapping(loader, volumes);
    for (size_t i = 0; i < volumes->count; i++) {
        const char *name = volumes->keys[i]->text;
        struct node *volume = volumes->values[i];
        if (inputs)
            volume = input_volume(loader, tasks, id, name, volume);
        if (!inputs && text_equal(id, "statistics") && text_equal(name, "output_path"))
            name = "statistics_file"; /* a workflow's name of it */
        put(loader, &made, name, volume);
    }
    return made;
}

/* -------------------------------------------------------------------------- steps */

static struct node *make_step(struct loader *loader, const struct node *document,
                              struct node *image, const struct node *key, const struct node *task) {
    const struct node *tasks = node_get_value(document, "tasks");
    static const char *const sides[] = {"input_volumes", "output_volumes"};
    static const char *const keys[] = {"run_args", "input_volumes", "output_volumes"};
    if (!expect_kind(loader, task, NODE_MAPPING, "a task"))
        return NULL;
    for (size_t i = 0; i < task->count; i++) {
        bool known = false;
        for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
            known = known || text_equal(keys[k], task->keys[i]->text);
        if (!known)
            node_warning(&loader->trouble, task->keys[i],
                         nearest_hint(loader, task->keys[i]->text, keys, ARRAY_SIZE(keys), NULL),
                         "unknown key `%.100s` is ignored, as MedPerf does", task->keys[i]->text);
    }
    struct node *step = new_mapping(loader, task), *mounts = new_mapping(loader, task);
    put_text(loader, &step, "id", key, key->text);
    put_text(loader, &step, "type", key, "container");
    put(loader, &step, "image", image);
    put(loader, &step, "command", new_list(loader, task, 1)); /* the image's own */
    const struct node *arguments = node_get_value(task, "run_args");
    if (arguments && expect_kind(loader, arguments, NODE_MAPPING, "run_args"))
        put_run_args(loader, &step, arguments);
    for (size_t i = 0; i < 2; i++)
        put(loader, &mounts, sides[i], volumes_of(loader, tasks, task, key->text, sides[i]));
    put(loader, &step, "mounts", mounts);
    return step;
}

/* The task that comes after `id` in data preparation, of those there are. */
static const char *follower(const struct node *tasks, const char *id) {
    for (size_t i = 0; i < 2; i++)
        if (text_equal(tasks_known[i], id))
            for (size_t k = i + 1; k < 3; k++)
                if (node_get_value(tasks, tasks_known[k]))
                    return tasks_known[k];
    return NULL;
}

static bool is_known(const char *id) {
    for (size_t i = 0; i < ARRAY_SIZE(tasks_known); i++)
        if (text_equal(tasks_known[i], id))
            return true;
    return false;
}

/* MedPerf's own tasks in MedPerf's order; all of them where none is MedPerf's. */
static struct node *make_steps(struct loader *loader, const struct node *document,
                               struct node *image) {
    const struct node *tasks = node_get_value(document, "tasks");
    struct node *steps = new_list(loader, tasks, tasks->count);
    bool any = false;
    for (size_t i = 0; i < ARRAY_SIZE(tasks_known); i++)
        for (size_t k = 0; k < tasks->count; k++) {
            if (!text_equal(tasks->keys[k]->text, tasks_known[i]))
                continue;
            any = true;
            struct node *step =
                make_step(loader, document, image, tasks->keys[k], tasks->values[k]);
            const char *next = follower(tasks, tasks_known[i]);
            if (next)
                put_text(loader, &step, "next", tasks->keys[k], next);
            push(steps, step);
        }
    for (size_t k = 0; k < tasks->count; k++) {
        const struct node *key = tasks->keys[k];
        if (any && !is_known(key->text))
            node_warning(
                &loader->trouble, key,
                nearest_hint(loader, key->text, tasks_known, ARRAY_SIZE(tasks_known), NULL),
                "task `%.100s` is none of MedPerf's and is left out", key->text);
        else if (!any)
            push(steps, make_step(loader, document, image, key, tasks->values[k]));
    }
    return steps;
}

struct node *translate_container_config(struct loader *loader, const struct node *document) {
    const struct node *tasks = node_get_value(document, "tasks");
    check_top(loader, document);
    if (tasks && !expect_kind(loader, tasks, NODE_MAPPING, "tasks"))
        return NULL;
    struct node *image = image_of(loader, document);
    struct node *steps = tasks ? make_steps(loader, document, image) : NULL;
    if (!steps || !image)
        return NULL; /* other mistakes would follow from this one only */
    struct node *made = new_mapping(loader, document);
    put(loader, &made, "steps", steps);
    /* Marks it as MedPerf's, whatever its steps look like. */
    struct node *none = new_word(loader, document, "null");
    put(loader, &made, "partition_def", none);
    return made;
}
