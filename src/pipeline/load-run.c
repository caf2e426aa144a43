/* What a step runs: program, environment, resources, retries. */
#include "pipeline/private-load.h"

#include <ctype.h>

struct words {
    const char **list;
    size_t count;
};

static void add_word(struct loader *loader, struct draft *draft, const struct node *node,
                     const char *text, struct words *words) {
    struct node *part = node_new_string(loader->arena, node, text);
    if (!part) {
        loader->trouble.no_memory = true;
        return;
    }
    const char *word = load_template(loader, draft, part, "command");
    if (word)
        words->list[words->count++] = word;
}

/* At blanks, but not inside ${…}. MedPerf: at every single blank, as Python's split(" "). */
static void split_words(struct loader *loader, struct draft *draft, const struct node *node,
                        const char *text, struct words *words) {
    words->list = loader_allocate(loader, (strlen(text) + 4) * sizeof(*words->list));
    OWN_BUFFER word = {0};
    unsigned braces = 0;
    for (const char *at = text; words->list; at++) {
        if (at[0] == '$' && at[1] == '{')
            braces++;
        else if (*at == '}' && braces)
            braces--;
        bool blank = loader->medperf ? *at == ' ' : isspace((unsigned char)*at) && !braces;
        if (*at && !blank) {
            buffer_append_char(&word, *at);
            continue;
        }
        if (word.size || loader->medperf)
            add_word(loader, draft, node, buffer_text(&word), words);
        buffer_clear(&word);
        if (!*at)
            break;
    }
    loader->trouble.no_memory = loader->trouble.no_memory || word.failed;
}

static void load_words(struct loader *loader, struct draft *draft, const struct node *node,
                       const char *what, struct words *words) {
    if (node->kind != NODE_LIST) {
        const char *text = scalar_text(loader, node, what);
        if (text)
            split_words(loader, draft, node, text, words);
        return;
    }
    words->list = loader_allocate(loader, (node->count + 3) * sizeof(*words->list));
    for (size_t i = 0; words->list && i < node->count; i++) {
        bool shell = i == 2 && words->count == 2 && draft->step.type != STEP_TOOL &&
                     words_begin_shell(words->list, 2);
        const char *word = shell ? load_shell_text(loader, draft, node->values[i], what)
                                 : load_template(loader, draft, node->values[i], what);
        if (word)
            words->list[words->count++] = word;
    }
}

/* Who knows `command: text` of command steps may take an image's for a line for the shell, too. */
static void warn_of_shell(struct loader *loader, const struct node *command,
                          const struct words *words) {
    static const char *const signs[] = {">", ">>", "<", "|", "||", "&", "&&", ";", "2>", "2>&1"};
    for (size_t i = 0; i < words->count; i++) {
        for (size_t j = 0; j < ARRAY_SIZE(signs); j++) {
            if (!text_equal(words->list[i], signs[j]))
                continue;
            node_warning(&loader->trouble, command, "command: [sh, -c, \"…\"], if it has one",
                         "the image's program gets `%s` as a word, no shell looks at it", signs[j]);
            return;
        }
    }
}

/* `command: text` of a command step: a line for the shell. */
static void load_shell(struct loader *loader, struct draft *draft, const struct node *node,
                       struct words *words) {
    words->list = loader_allocate(loader, 5 * sizeof(*words->list));
    const char *text = load_shell_text(loader, draft, node, "command");
    if (!words->list || !text)
        return;
    words->list[words->count++] = "sh";
    words->list[words->count++] = "-c";
    words->list[words->count++] = text;
}

static void load_command(struct loader *loader, struct draft *draft) {
    struct step *step = &draft->step;
    struct words words = {NULL, 0};
    const struct node *command =
        node_get_value(draft->node, step->type == STEP_TOOL ? "args" : "command");
    const struct node *entrypoint = node_get_value(draft->node, "entrypoint");
    if (command && step->type == STEP_COMMAND && command->kind != NODE_LIST)
        load_shell(loader, draft, command, &words);
    else if (command)
        load_words(loader, draft, command, step->type == STEP_TOOL ? "args" : "command", &words);
    if (command && step->type == STEP_CONTAINER && command->kind != NODE_LIST && !loader->medperf)
        warn_of_shell(loader, command, &words);
    if (command && step->type == STEP_COMMAND && command->kind == NODE_LIST && !command->count)
        node_error(&loader->trouble, command, NULL, "the command is empty");
    if (loader->medperf && draft->shares_partition && words.list) {
        words.list[words.count++] = "--partition"; /* all readers above leave room */
        words.list[words.count++] = "${partition}";
    }
    step->command = words.list;
    step->command_count = words.count;
    if (entrypoint) {
        words = (struct words){NULL, 0};
        load_words(loader, draft, entrypoint, "entrypoint", &words);
        step->entrypoint = words.list;
        step->entrypoint_count = words.count;
    }
}

static bool is_variable(const char *text) {
    if (!isalpha((unsigned char)*text) && *text != '_')
        return false;
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && *text != '_')
            return false;
    return true;
}

static void load_environment(struct loader *loader, struct draft *draft) {
    const struct node *env = node_get_value(draft->node, "env");
    if (!env || !expect_kind(loader, env, NODE_MAPPING, "env"))
        return;
    struct named_text *list = loader_allocate(loader, env->count * sizeof(*list));
    if (!list)
        return;
    for (size_t i = 0; i < env->count; i++) {
        if (!is_variable(env->keys[i]->text))
            node_error(&loader->trouble, env->keys[i], NULL,
                       "`%.100s` cannot be the name of an environment variable",
                       env->keys[i]->text);
        const char *text = load_template(loader, draft, env->values[i], "a value of env");
        if (text)
            list[draft->step.environment_count++] = (struct named_text){env->keys[i]->text, text};
    }
    draft->step.environment = list;
}

static void load_secrets(struct loader *loader, struct draft *draft) {
    const struct node *secrets = node_get_value(draft->node, "secrets");
    struct node *const *items = NULL;
    size_t count = secrets ? node_items(loader, secrets, "secrets", &items) : 0;
    const char **list = loader_allocate(loader, count * sizeof(*list));
    if (!list)
        return;
    for (size_t i = 0; i < count; i++) {
        const char *name = scalar_text(loader, items[i], "secrets");
        if (name && !is_name(name))
            node_error(&loader->trouble, items[i], "use letters, digits, - and _",
                       "`%.100s` cannot be the name of a secret", name);
        else if (name)
            list[draft->step.secret_count++] = name;
    }
    draft->step.secrets = list;
}

/* Asks the site whether the step may say `key: value`. */
static void ask_site(struct loader *loader, const struct draft *draft, const struct node *node,
                     const char *key, const char *value) {
    const struct pipeline_site *site = loader->options ? loader->options->site : NULL;
    OWN_ERROR error = NULL;
    if (!site || !value || site->allows(site->context, key, value, &error) == 0)
        return;
    if (!error || error->code == ERROR_MEMORY)
        loader->trouble.no_memory = true;
    else
        (site->only_warn ? node_warning : node_error)(&loader->trouble, node, error->hint,
                                                      "step `%s` cannot run here: %s",
                                                      draft->step.id, error->message);
}

static void load_resources(struct loader *loader, struct draft *draft) {
    const struct node *node = node_get_value(draft->node, "resources");
    struct resources *resources = &draft->step.resources;
    if (!node || !expect_kind(loader, node, NODE_MAPPING, "resources"))
        return;
    check_keys(loader, node, "resources", NULL);
    const struct node *cpus = node_get_value(node, "cpus");
    if (cpus)
        node_number(loader, cpus, "cpus", 0.01, 100000, &resources->cpus);
    resources->memory = key_size(loader, node, "memory");
    resources->shared_memory = key_size(loader, node, "shm");
    resources->scratch = key_size(loader, node, "scratch");
    resources->output = key_size(loader, node, "output");
    resources->files = key_count(loader, node, "files", 1, 100000000, 0);
    resources->processes = key_count(loader, node, "processes", 1, 1000000, 0);
    resources->gpus = key_count(loader, node, "gpus", 0, 1000, 0);
    resources->flavor = key_text(loader, node, "flavor");
    ask_site(loader, draft, node_get_value(node, "flavor"), "flavor", resources->flavor);
    if (resources->memory && resources->memory < (1u << 20))
        node_error(&loader->trouble, node_get_value(node, "memory"), "write 512m or 4g",
                   "memory: less than one megabyte");
}

static void load_causes(struct loader *loader, const struct node *node, struct retries *retries) {
    struct node *const *items = NULL;
    size_t count = node_items(loader, node, "causes", &items);
    for (size_t i = 0; i < count; i++) {
        const char *text = scalar_text(loader, items[i], "causes");
        enum cause cause = CAUSE_NONE;
        if (!text)
            continue;
        const char *names[CAUSE_COUNT];
        size_t known = 0;
        for (int c = CAUSE_NONE + 1; c < CAUSE_COUNT; c++)
            if (c != CAUSE_CANCELLED && c != CAUSE_POLICY)
                names[known++] = cause_name((enum cause)c);
        bool found = cause_parse(text, &cause, NULL) == 0 && cause != CAUSE_NONE;
        if (found && (cause == CAUSE_CANCELLED || cause == CAUSE_POLICY))
            node_error(&loader->trouble, items[i], NULL,
                       "what was stopped by `%s` is not tried again", text);
        else if (!found)
            node_error(&loader->trouble, items[i], nearest_hint(loader, text, names, known, NULL),
                       "unknown cause `%.100s`", text);
        else
            retries->causes |= 1u << cause;
    }
}

static void load_retries(struct loader *loader, struct draft *draft) {
    const struct node *node = node_get_value(draft->node, "retries");
    struct retries *retries = &draft->step.retries;
    retries->backoff = 1000;
    retries->cap = 300000;
    if (!node)
        return;
    if (node->kind != NODE_MAPPING) {
        retries->count = key_count(loader, draft->node, "retries", 0, 1000, 0);
        return;
    }
    check_keys(loader, node, "retries", NULL);
    retries->count = key_count(loader, node, "count", 0, 1000, 1);
    retries->backoff = key_duration(loader, node, "backoff", retries->backoff);
    retries->cap = key_duration(loader, node, "cap",
                                retries->backoff > retries->cap ? retries->backoff : retries->cap);
    if (retries->cap < retries->backoff)
        node_error(&loader->trouble, node_get_value(node, "cap"), NULL,
                   "cap is shorter than backoff");
    if (node_get_value(node, "causes"))
        load_causes(loader, node_get_value(node, "causes"), retries);
}

static void load_box(struct loader *loader, struct draft *draft) {
    static const char *const words[] = {"sealed", "off"};
    struct step *step = &draft->step;
    const struct node *box = node_get_value(draft->node, "box");
    if (box && box->kind == NODE_BOOLEAN)
        node_error(&loader->trouble, box, "write sealed or off", "box is not true or false");
    else
        step->box =
            key_word(loader, draft->node, "box", words, 2, 0) == 1 ? BOX_WISH_OFF : BOX_WISH_SEALED;
    if (step->box == BOX_WISH_OFF && step->type == STEP_CONTAINER)
        node_error(&loader->trouble, box, "make it a command to run it without a box",
                   "a container is a box: step `%s` cannot be without one", draft_own_id(draft));
    else
        ask_site(loader, draft, box, "box", step->box == BOX_WISH_OFF ? "off" : NULL);
    step->cache = key_boolean(loader, draft->node, "cache", true) ? CACHE_ON : CACHE_OFF;
    const struct node *network = node_get_value(draft->node, "network");
    if (network && network->kind == NODE_BOOLEAN && network->boolean)
        node_error(&loader->trouble, network, "network: internet",
                   "name the network that the step needs");
    else if (network && network->kind != NODE_BOOLEAN)
        step->network = scalar_text(loader, network, "network");
    if (step->network && text_equal(step->network, "none"))
        step->network = NULL;
    else if (step->network && !is_name(step->network))
        node_error(&loader->trouble, network, NULL, "`%.100s` cannot be the name of a network",
                   step->network);
    else
        ask_site(loader, draft, network, "network", step->network);
}

/* The same for this pipeline wherever it is read from: links in its path are resolved. */
static const char *archive_path(struct loader *loader, const char *path) {
    OWN_ERROR problem = NULL; /* a record may be older than its file is there */
    OWN_STRING file = path_resolve(loader->pipeline->path, &problem);
    if (!file && note_no_memory(loader, problem))
        return path;
    const char *own = file ? file : loader->pipeline->path;
    path += text_starts_with(path, "./") ? 2 : 0;
    if (*path == '/' || *own != '/')
        return path;
    return loader_format(loader, "%.*s%s", (int)(path_base_name(own) - own), own, path);
}

static void load_image(struct loader *loader, struct draft *draft) {
    const struct node *node = node_get_value(draft->node, "image");
    const struct pipeline_options *options = loader->options;
    const char *image = key_text(loader, draft->node, "image");
    bool archive = image && (*image == '.' || *image == '/');
    if (archive)
        image = archive_path(loader, image);
    draft->step.image = image;
    if (options && !options->can_run_images)
        node_error(&loader->trouble, node ? node : draft->node,
                   options->image_remedy ? options->image_remedy : "install crun, skopeo and umoci",
                   "step `%s` runs a container, and nothing on this machine can run one",
                   draft_own_id(draft));
    if (!image)
        return;
    if (!archive && (!*image || strpbrk(image, " \t\n") || *image == '-' || strstr(image, "${"))) {
        node_error(&loader->trouble, node, NULL, "`%.200s` is not the name of an image", image);
        return;
    }
    if (options && options->can_run_images && note_image(loader, image))
        ask_site(loader, draft, node, "image", image);
}

static void load_users(struct loader *loader, struct draft *draft) {
    static const char *const words[] = {"one", "image"};
    struct step *step = &draft->step;
    const struct node *users = node_get_value(draft->node, "users");
    step->users =
        key_word(loader, draft->node, "users", words, 2, 0) == 1 ? USERS_IMAGE : USERS_ONE;
    ask_site(loader, draft, users, "users", step->users == USERS_IMAGE ? "image" : NULL);
}

void load_running(struct loader *loader, struct draft *draft) {
    struct step *step = &draft->step;
    step->tool = step->type == STEP_TOOL ? key_text(loader, draft->node, "tool") : NULL;
    if (step->type == STEP_CONTAINER) {
        load_image(loader, draft);
        /* MedPerf's files were written for Docker, which lets programs write to their image. */
        step->writable_root = key_boolean(loader, draft->node, "writable_root", loader->medperf);
        load_users(loader, draft);
    }
    if (step->type == STEP_COMMAND || step->type == STEP_TOOL || step->type == STEP_CONTAINER)
        load_command(loader, draft);
    load_environment(loader, draft);
    load_secrets(loader, draft);
    load_resources(loader, draft);
    load_retries(loader, draft);
    load_box(loader, draft);
    step->timeout = key_duration(loader, draft->node, "timeout", 0);
}
