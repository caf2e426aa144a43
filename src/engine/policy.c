/*
 * What this machine allows: the site's file, and the home's. Each may forbid what the other allows,
 * so that nobody who has a home of his own can loosen what the site says. What no file allows is
 * forbidden.
 */
#include "private-policy.h"
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define POLICY_SIZE_MAXIMUM ((size_t)1 << 20)

/* ------------------------------------------------------------------- reading */

int policy_unknown_key(const char *key, const char *const *known, size_t count, const char *where,
                       struct error **err) {
    OWN_BUFFER all = {0};
    for (size_t i = 0; i < count; i++)
        buffer_format(&all, "%s%s", i ? ", " : "", known[i]);
    const char *near = text_nearest(key, known, count);
    error_set(err, ERROR_INVALID, "%sunknown key \"%.100s\"", where, key);
    return near ? error_hint(err, "did you mean \"%s\"?", near)
                : error_hint(err, "the keys are: %s", buffer_text(&all));
}

bool policy_is_known(const char *key, const char *const *known, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (text_equal(key, known[i]))
            return true;
    return false;
}

int policy_wrong_kind(const char *what, const char *kind, struct error **err) {
    error_set(err, ERROR_INVALID, "\"%.100s\" must be %s", what, kind);
    return error_hint(err, "for example {\"allow_box_off\": false, \"networks\": [\"internet\"], "
                           "\"flavors\": {\"small\": {\"cpus\": 1, \"memory\": \"2GiB\"}}}");
}

/* A size, as {"cpus", "memory", …} gives it. */
struct size_key {
    const char *name;
    enum { SIZE_NUMBER, SIZE_COUNT, SIZE_BYTES } kind;
};
static const struct size_key flavor_keys[] = {
    {"cpus", SIZE_NUMBER}, {"memory", SIZE_BYTES}, {"gpus", SIZE_COUNT}};
static const struct size_key default_keys[] = {
    {"cpus", SIZE_NUMBER},  {"memory", SIZE_BYTES},       {"scratch", SIZE_BYTES},
    {"output", SIZE_BYTES}, {"output_files", SIZE_COUNT}, {"processes", SIZE_COUNT}};

static int check_size(const struct size_key *key, const json_t *value, struct error **err) {
    uint64_t bytes = 0;
    switch (key->kind) {
    case SIZE_NUMBER:
        return json_number_value(value) > 0 ? 0 : policy_wrong_kind(key->name, "a number", err);
    case SIZE_COUNT:
        return json_is_integer(value) && json_integer_value(value) >= 0 &&
                       json_integer_value(value) <= INT32_MAX
                   ? 0
                   : policy_wrong_kind(key->name, "a number", err);
    default:
        return json_is_string(value) && text_parse_size(json_string_value(value), &bytes, NULL) == 0
                   ? 0
                   : policy_wrong_kind(key->name, "a size such as \"2GiB\"", err);
    }
}

static int check_sizes(const char *name, json_t *sizes, const struct size_key *keys, size_t count,
                       const char *where, struct error **err) {
    const char *names[ARRAY_SIZE(default_keys)], *key;
    for (size_t i = 0; i < count; i++)
        names[i] = keys[i].name;
    if (!json_is_object(sizes))
        return policy_wrong_kind(name, "an object", err);
    json_t *value;
    json_object_foreach(sizes, key, value) {
        size_t i = 0;
        while (i < count && !text_equal(names[i], key))
            i++;
        if (i == count)
            return policy_unknown_key(key, names, count, where, err);
        if (check_size(&keys[i], value, err) < 0)
            return -1;
    }
    return 0;
}

static int check_flavor(const char *name, json_t *flavor, struct error **err) {
    return check_sizes(name, flavor, flavor_keys, ARRAY_SIZE(flavor_keys), "a flavor has an ", err);
}

static int check_rule(const char *key, json_t *value, struct error **err) {
    const char *name;
    json_t *item;
    size_t i;
    if (text_equal(key, "allow_box_off") || text_equal(key, "allow_image_users"))
        return json_is_boolean(value) ? 0 : policy_wrong_kind(key, "true or false", err);
    if (text_equal(key, "networks")) {
        if (!json_is_array(value))
            return policy_wrong_kind(key, "a list of names", err);
        json_array_foreach(value, i, item) if (!json_is_string(item)) return policy_wrong_kind(
            key, "a list of names", err);
        return 0;
    }
    if (text_equal(key, "function_timeout"))
        return json_integer_value(value) > 0 && json_integer_value(value) < 1000000
                   ? 0
                   : policy_wrong_kind(key, "a number of seconds", err);
    if (!json_is_object(value))
        return policy_wrong_kind(key, "an object", err);
    if (text_equal(key, "images"))
        return policy_check_images(value, err);
    if (text_equal(key, "defaults"))
        return check_sizes(key, value, default_keys, ARRAY_SIZE(default_keys), "defaults have an ",
                           err);
    json_object_foreach(value, name, item) if (check_flavor(name, item, err) < 0) return -1;
    return 0;
}

static int check_rules(json_t *rules, struct error **err) {
    static const char *const keys[] = {"allow_box_off",    "networks", "flavors",          "images",
                                       "function_timeout", "defaults", "allow_image_users"};
    if (!json_is_object(rules))
        return policy_wrong_kind("all of it", "an object", err);
    const char *key;
    json_t *value;
    json_object_foreach(rules, key, value) {
        if (!policy_is_known(key, keys, ARRAY_SIZE(keys)))
            return policy_unknown_key(key, keys, ARRAY_SIZE(keys), "", err);
        if (check_rule(key, value, err) < 0)
            return -1;
    }
    return 0;
}

/* Only a file that is not there says nothing; one that cannot be read stops everything. */
static int read_file(struct policy_file *file, struct error **err) {
    if (access(file->path, F_OK) < 0 &&
        (errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG))
        return 0; /* a home that cannot be is told by whoever opens it */
    file->rules = json_read_file(AT_FDCWD, file->path, POLICY_SIZE_MAXIMUM, err);
    if (!file->rules)
        return -1;
    return check_rules(file->rules, err) < 0 ? error_wrap(err, "%s", file->path) : 0;
}

int policy_read(const char *home, struct policy **ret, struct error **err) {
    OWN_POLICY policy = memory_allocate(sizeof(*policy));
    if (!policy)
        return error_set_memory(err);
    policy->files[0].path = memory_copy_string(GLOVEBOX_SITE_FOLDER "/policy.json");
    policy->files[1].path = path_join(home, "policy.json");
    for (size_t i = 0; i < ARRAY_SIZE(policy->files); i++) {
        if (!policy->files[i].path)
            return error_set_memory(err);
        if (read_file(&policy->files[i], err) < 0)
            return -1;
    }
    *ret = take(&policy);
    return 0;
}

void policy_free(struct policy *policy) {
    for (size_t i = 0; policy && i < ARRAY_SIZE(policy->files); i++) {
        memory_free(policy->files[i].path);
        json_decref(policy->files[i].rules);
    }
    memory_free(policy);
}

void policy_cleanup(struct policy **policy) {
    policy_free(*policy);
    *policy = NULL;
}

/* -------------------------------------------------------------------- asking */

static bool has_name(const json_t *list, const char *name) {
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item) {
        if (text_equal(json_string_value(item), name))
            return true;
    }
    return false;
}

/* Whether the rule `key` allows `value`; a step outside the box, and one whose image has users, are
 * matters of yes or no. */
static bool rule_allows(const json_t *rule, const char *value) {
    return json_is_array(rule) ? has_name(rule, value) : json_is_true(rule);
}

/* `what` is allowed by one file that speaks of it at least, and forbidden by none. */
static int ask(const struct policy *policy, const char *key, const char *value, const char *what,
               const char *remedy, struct error **err) {
    bool said = false;
    for (size_t i = 0; i < ARRAY_SIZE(policy->files); i++) {
        const json_t *rule = json_object_get(policy->files[i].rules, key);
        if (rule && !rule_allows(rule, value)) {
            error_set(err, ERROR_DENIED, "%s does not allow %s", policy->files[i].path, what);
            return error_hint(err, "an administrator may %s there", remedy);
        }
        said = said || rule;
    }
    if (said)
        return 0;
    error_set(err, ERROR_DENIED, "no policy of this site allows %s", what);
    return error_hint(err, "an administrator may %s in %s, or for this home alone in %s", remedy,
                      policy->files[0].path, policy->files[1].path);
}

static int no_flavor(const struct policy *policy, const char *name, struct error **err) {
    error_set(err, ERROR_INVALID, "this site has no flavor \"%.100s\"", name);
    return error_hint(err,
                      "an administrator names flavors in %s or %s: "
                      "{\"flavors\": {\"small\": {\"cpus\": 1, \"memory\": \"2GiB\"}}}",
                      policy->files[0].path, policy->files[1].path);
}

int policy_allows(const struct policy *policy, const char *key, const char *value,
                  struct error **err) {
    if (text_equal(key, "flavor"))
        return policy_flavor(policy, value, NULL, err);
    if (text_equal(key, "box"))
        return ask(policy, "allow_box_off", value, "steps outside the box",
                   "set \"allow_box_off\": true", err);
    if (text_equal(key, "users"))
        return ask(policy, "allow_image_users", value, "images that change user",
                   "set \"allow_image_users\": true", err);
    OWN_STRING what = memory_format("the network \"%.100s\"", value);
    return what ? ask(policy, "networks", value, what, "add it to \"networks\"", err)
                : error_set_memory(err);
}

/* Of two files that know the name, the smaller size of each kind. */
int policy_flavor(const struct policy *policy, const char *name, struct resources *ret,
                  struct error **err) {
    struct resources least = {0};
    bool found = false, counts_gpus = false;
    for (size_t i = 0; i < ARRAY_SIZE(policy->files); i++) {
        const json_t *flavors = json_object_get(policy->files[i].rules, "flavors");
        const json_t *flavor = json_object_get(flavors, name);
        double cpus = json_number_value(json_object_get(flavor, "cpus"));
        const json_t *gpus = json_object_get(flavor, "gpus");
        const char *text = json_get_string(flavor, "memory", NULL);
        uint64_t memory = 0;
        if (text && text_parse_size(text, &memory, err) < 0)
            return -1;
        if (cpus > 0 && (!(least.cpus > 0) || cpus < least.cpus))
            least.cpus = cpus;
        if (memory && (!least.memory || memory < least.memory))
            least.memory = memory;
        if (gpus && (!counts_gpus || json_integer_value(gpus) < (json_int_t)least.gpus))
            least.gpus = (unsigned)json_integer_value(gpus);
        counts_gpus = counts_gpus || gpus;
        found = found || flavor;
    }
    if (!found)
        return no_flavor(policy, name, err);
    if (ret)
        *ret = least;
    return 0;
}

/* Of two files that give a size, the smaller one; 0 when neither does. */
static double least_size(const struct policy *policy, const struct size_key *key) {
    double least = 0;
    for (size_t i = 0; i < ARRAY_SIZE(policy->files); i++) {
        const json_t *value =
            json_object_get(json_object_get(policy->files[i].rules, "defaults"), key->name);
        uint64_t bytes = 0;
        if (json_is_string(value) &&
            text_parse_size(json_string_value(value), &bytes, NULL) < 0) /* it was checked */
            continue;
        double size = json_is_string(value) ? (double)bytes : json_number_value(value);
        if (size > 0 && (!(least > 0) || size < least))
            least = size;
    }
    return least;
}

void policy_defaults(const struct policy *policy, struct compute_limits *ret) {
    double sizes[ARRAY_SIZE(default_keys)];
    for (size_t i = 0; i < ARRAY_SIZE(default_keys); i++)
        sizes[i] = least_size(policy, &default_keys[i]);
    *ret = (struct compute_limits){
        .cpus = sizes[0],
        .memory = (uint64_t)sizes[1],
        .scratch = (uint64_t)sizes[2],
        .output = (uint64_t)sizes[3],
        .output_files = (uint64_t)sizes[4],
        .processes = (unsigned)sizes[5],
    };
}

int64_t policy_seconds(const struct policy *policy, const char *key, int64_t fallback) {
    int64_t least = 0;
    for (size_t i = 0; i < ARRAY_SIZE(policy->files); i++) {
        int64_t seconds = json_get_integer(policy->files[i].rules, key, 0);
        if (seconds && (!least || seconds < least))
            least = seconds;
    }
    return least ? least : fallback;
}

char *policy_describe(const struct policy *policy, struct error **err) {
    OWN_BUFFER out = {0};
    const char *join = "";
    for (size_t i = 0; i < ARRAY_SIZE(policy->files); i++)
        if (policy->files[i].rules) {
            buffer_format(&out, "%s%s", join, policy->files[i].path);
            join = " and ";
        }
    if (!out.size)
        buffer_format(&out, "neither %s nor %s is there", policy->files[0].path,
                      policy->files[1].path);
    buffer_append(&out, policy_allows(policy, "box", "off", NULL) == 0
                            ? "; steps outside the box are allowed"
                            : "; no step runs outside the box");
    if (policy_allows(policy, "users", "image", NULL) == 0)
        buffer_append(&out, "; images may change user");
    buffer_append(&out, "; networks: ");
    join = "";
    for (size_t i = 0; i < ARRAY_SIZE(policy->files); i++) {
        const json_t *list = json_object_get(policy->files[i].rules, "networks"), *item;
        size_t k;
        json_array_foreach(list, k, item) {
            const char *name = json_string_value(item);
            bool told = i && has_name(json_object_get(policy->files[0].rules, "networks"), name);
            if (told || policy_allows(policy, "network", name, NULL) < 0)
                continue;
            buffer_append(&out, join);
            text_append_printable(&out, name);
            join = ", ";
        }
    }
    buffer_append(&out, *join ? "" : "none");
    policy_describe_images(policy, &out);
    return buffer_take(&out, err);
}
