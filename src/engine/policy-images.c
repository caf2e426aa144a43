/* Which container images a site lets in, by registry, name, digest or signature. */
#include "image/image.h"
#include "private-policy.h"

#include <fcntl.h>

static const char allow_example[] =
    "a list of rules: \"registry.example.org\", \"docker.io/team/**\", \"sha256:…\", "
    "{\"name\": \"registry.example.org/team/**\", \"signed_by\": \"/etc/glovebox/team.gpg\"}";

/* ------------------------------------------------------------------- checking */

static int check_rule(const char *list, const json_t *rule, struct error **err) {
    static const char *const keys[] = {"name", "signed_by"};
    if (json_is_string(rule) && json_string_length(rule) > 0)
        return 0;
    if (!json_is_object(rule) || text_equal(list, "deny"))
        return policy_wrong_kind(list, allow_example, err);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)rule, key, value) {
        if (!policy_is_known(key, keys, ARRAY_SIZE(keys)))
            return policy_unknown_key(key, keys, ARRAY_SIZE(keys), "a rule of images has an ", err);
        if (!json_is_string(value) || json_string_length(value) == 0)
            return policy_wrong_kind(key, "a text", err);
    }
    if (!json_object_get(rule, "name"))
        return policy_wrong_kind(list, allow_example, err);
    const char *key_file = json_get_string(rule, "signed_by", "/");
    return key_file[0] == '/' ? 0 : policy_wrong_kind("signed_by", "an absolute path", err);
}

static int check_list(const char *name, const json_t *list, struct error **err) {
    size_t i;
    const json_t *rule;
    if (!json_is_array(list))
        return policy_wrong_kind(name, allow_example, err);
    json_array_foreach(list, i, rule) {
        if (check_rule(name, rule, err) < 0)
            return -1;
    }
    return 0;
}

static int check_registry(const char *name, const json_t *registry, struct error **err) {
    static const char *const keys[] = {"mirrors", "insecure", "certificates", "credentials",
                                       "signatures"};
    const char *key;
    json_t *value;
    if (!json_is_object(registry))
        return policy_wrong_kind(name, "an object such as {\"mirrors\": [\"mirror.example.org\"]}",
                                 err);
    json_object_foreach((json_t *)(uintptr_t)registry, key, value) {
        size_t i;
        const json_t *mirror;
        if (!policy_is_known(key, keys, ARRAY_SIZE(keys)))
            return policy_unknown_key(key, keys, ARRAY_SIZE(keys), "a registry has an ", err);
        if (text_equal(key, "insecure") && !json_is_boolean(value))
            return policy_wrong_kind(key, "true or false", err);
        if (text_equal(key, "mirrors") && !json_is_array(value))
            return policy_wrong_kind(key, "a list of places", err);
        json_array_foreach(value, i, mirror) {
            if (!json_is_string(mirror))
                return policy_wrong_kind(key, "a list of places", err);
        }
        if (text_equal(key, "signatures") && !json_is_string(value))
            return policy_wrong_kind(key, "a URL", err);
        bool path = text_equal(key, "certificates") || text_equal(key, "credentials");
        if (path && json_get_string(registry, key, "")[0] != '/')
            return policy_wrong_kind(key, "an absolute path", err);
    }
    return 0;
}

int policy_check_images(const json_t *images, struct error **err) {
    static const char *const keys[] = {"allow", "deny", "registries", "maximum_size",
                                       "maximum_files"};
    const char *key, *name;
    json_t *value, *registry;
    uint64_t bytes = 0;
    json_object_foreach((json_t *)(uintptr_t)images, key, value) {
        if (!policy_is_known(key, keys, ARRAY_SIZE(keys)))
            return policy_unknown_key(key, keys, ARRAY_SIZE(keys), "images has an ", err);
        if (text_equal(key, "maximum_size")) {
            if (!json_is_string(value) ||
                text_parse_size(json_string_value(value), &bytes, NULL) < 0 || bytes == 0)
                return policy_wrong_kind(key, "a size such as \"20GiB\"", err);
        } else if (text_equal(key, "maximum_files")) {
            if (json_integer_value(value) <= 0)
                return policy_wrong_kind(key, "a number above 0", err);
        } else if (text_equal(key, "registries")) {
            if (!json_is_object(value))
                return policy_wrong_kind(key, "an object", err);
            json_object_foreach(value, name, registry) {
                if (check_registry(name, registry, err) < 0)
                    return -1;
            }
        } else if (check_list(key, value, err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* ------------------------------------------------------------------- matching */

struct asked {
    char *repository; /* domain/path */
    char *name;       /* domain/path:tag, or the repository */
    char *domain;
    const char *digest, *index;
    const json_t *indexes;
};

static void asked_release(struct asked *asked) {
    memory_free(asked->repository);
    memory_free(asked->name);
    memory_free(asked->domain);
}

static int asked_make(const char *reference, struct asked *ret, struct error **err) {
    const char *slash = strchr(reference, '/'), *at = strchr(reference, '@');
    size_t size = at ? (size_t)(at - reference) : strlen(reference);
    ret->name = memory_copy_bytes(reference, size);
    ret->domain = memory_copy_bytes(reference, slash ? (size_t)(slash - reference) : 0);
    const char *last = ret->name ? strrchr(ret->name, '/') : NULL;
    const char *colon = last ? strchr(last, ':') : NULL;
    ret->repository = ret->name ? memory_copy_bytes(ret->name, colon ? (size_t)(colon - ret->name)
                                                                     : strlen(ret->name))
                                : NULL;
    return ret->repository && ret->domain ? 0 : error_set_memory(err);
}

/* "sha256:…", a registry, a name without a tag, or one with a tag; all but the first with * and **.
 */
static bool pattern_matches(const char *pattern, const struct asked *asked) {
    if (text_starts_with(pattern, "sha256:")) {
        size_t i;
        const json_t *index;
        json_array_foreach(asked->indexes, i, index) {
            if (text_equal(pattern, json_string_value(index)))
                return true;
        }
        return (asked->digest && text_equal(pattern, asked->digest)) ||
               (asked->index && text_equal(pattern, asked->index));
    }
    const char *slash = strrchr(pattern, '/');
    if (!slash)
        return text_equal(pattern, "*") || text_equal(pattern, "**") ||
               text_glob_match(pattern, asked->domain);
    return text_glob_match(pattern, strchr(slash, ':') ? asked->name : asked->repository);
}

static const char *rule_pattern(const json_t *rule) {
    return json_is_string(rule) ? json_string_value(rule) : json_get_string(rule, "name", "");
}

char *policy_signer(const char *key_file, struct error **err) {
    uint8_t hash[SHA256_SIZE];
    char text[SHA256_HEX_SIZE];
    if (sha256_file(AT_FDCWD, key_file, hash, NULL, err) < 0) {
        error_wrap(err, "the key of a rule of images");
        return NULL;
    }
    hex_encode(hash, sizeof(hash), text);
    char *signer = memory_format("key sha256:%s", text);
    if (!signer)
        error_set_memory(err);
    return signer;
}

/* An image may have been verified with several keys. */
static int signed_by(const char *signer, const char *key_file, struct error **err) {
    if (!signer)
        return 0;
    OWN_STRING wanted = policy_signer(key_file, err);
    return wanted ? strstr(signer, wanted) != NULL : -1;
}

static void shown_name(struct buffer *out, const char *name) {
    text_append_printable(out, name);
}

static int denied(const struct policy_file *file, const struct asked *asked, struct error **err) {
    const json_t *rules = json_object_get(json_object_get(file->rules, "images"), "deny"), *rule;
    size_t i;
    json_array_foreach(rules, i, rule) {
        if (!pattern_matches(rule_pattern(rule), asked))
            continue;
        OWN_BUFFER name = {0};
        shown_name(&name, asked->name);
        error_set(err, ERROR_DENIED, "%s forbids the image %s: rule \"%.200s\" of images.deny",
                  file->path, buffer_text(&name), rule_pattern(rule));
        return error_hint(err, "an administrator may change it there");
    }
    return 0;
}

static int allowed(const struct policy_file *file, const struct asked *asked, const char *signer,
                   struct error **err) {
    const json_t *rules = json_object_get(json_object_get(file->rules, "images"), "allow"), *rule;
    const json_t *unsigned_by = NULL;
    size_t i;
    if (!rules)
        return 0;
    json_array_foreach(rules, i, rule) {
        const char *key = json_get_string(rule, "signed_by", NULL);
        if (!asked->digest && text_starts_with(rule_pattern(rule), "sha256:"))
            return 0; /* it may turn out to be this one */
        if (!pattern_matches(rule_pattern(rule), asked))
            continue;
        int good = key && asked->digest ? signed_by(signer, key, err) : 1;
        if (good != 0)
            return good < 0 ? -1 : 0;
        unsigned_by = unsigned_by ? unsigned_by : rule;
    }
    OWN_BUFFER name = {0};
    shown_name(&name, asked->name);
    if (unsigned_by) {
        error_set(err, ERROR_DENIED,
                  "%s allows the image %s only when it is signed: rule \"%.200s\" of images.allow "
                  "asks for a signature by %.300s, and none was verified",
                  file->path, buffer_text(&name), rule_pattern(unsigned_by),
                  json_get_string(unsigned_by, "signed_by", ""));
        return error_hint(err,
                          "signatures are verified by \"glovebox image pull\"; an archive has "
                          "none. An administrator may allow this image by its digest, %s",
                          asked->digest ? asked->digest : "sha256:…");
    }
    error_set(err, ERROR_DENIED, "%s does not allow the image %s: no rule of images.allow fits it",
              file->path, buffer_text(&name));
    return error_hint(err,
                      "an administrator may add its name, its registry or its digest there: "
                      "%.80s",
                      asked->digest ? asked->digest : "sha256:…");
}

enum judging { JUDGE_DENY = 1, JUDGE_ALLOW = 2 };

static int judge(const struct policy *policy, const struct image_candidate *candidate,
                 unsigned judging, struct error **err) {
    struct asked asked CLEANUP(asked_release) = {
        .digest = candidate->digest, .index = candidate->index, .indexes = candidate->indexes};
    if (asked_make(candidate->reference, &asked, err) < 0)
        return -1;
    for (size_t i = 0; i < POLICY_FILES; i++) {
        if ((judging & JUDGE_DENY) && denied(&policy->files[i], &asked, err) < 0)
            return -1;
        if ((judging & JUDGE_ALLOW) &&
            allowed(&policy->files[i], &asked, candidate->signer, err) < 0)
            return -1;
    }
    return 0;
}

int policy_check_image(const struct policy *policy, const struct image_candidate *candidate,
                       struct error **err) {
    return judge(policy, candidate, JUDGE_DENY | JUDGE_ALLOW, err);
}

static bool has_rules(const struct policy *policy) {
    for (size_t i = 0; i < POLICY_FILES; i++) {
        const json_t *images = json_object_get(policy->files[i].rules, "images");
        if (json_object_get(images, "allow") || json_object_get(images, "deny"))
            return true;
    }
    return false;
}

static struct image_candidate candidate_of(const struct image *image, const char *name,
                                           const char *pinned) {
    const char *at = strchr(pinned, '@');
    return (struct image_candidate){name,
                                    image->digest ? image->digest
                                    : at          ? at + 1
                                                  : "?",
                                    image->index, image_signer(image->signers, name),
                                    image->indexes};
}

/* All that an image is called, completed; first what the user calls it, unless that is no name but
 * a digest or an archive's path. */
static json_t *all_names(const struct image *image, const char *name, const char *pinned,
                         struct error **err) {
    bool is_name = *name != '/' && !image_is_digest(name);
    const char *said[] = {is_name ? name : pinned, pinned};
    OWN_JSON names = json_array();
    for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
        OWN_IMAGE_REFERENCE reference = {0};
        if (image_reference_parse(said[i], &reference, err) < 0)
            return NULL;
        OWN_STRING whole = image_reference_text(&reference, err);
        if (!whole)
            return NULL;
        if (json_array_append_new(names, json_string(whole)) < 0) {
            error_set_memory(err);
            return NULL;
        }
    }
    if ((image->names && json_array_extend(names, image->names) < 0) ||
        (image->repositories && json_array_extend(names, image->repositories) < 0)) {
        error_set_memory(err);
        return NULL;
    }
    return take(&names);
}

int policy_check_pinned(const struct policy *policy, const char *home, const char *name,
                        const char *pinned, struct error **err) {
    OWN_IMAGE_STORE store = NULL;
    OWN_IMAGE image = {0};
    if (!has_rules(policy))
        return 0;
    if (image_store_open(home, false, &store, err) < 0 ||
        image_find(store, pinned, &image, err) < 0)
        return -1;
    OWN_JSON names = all_names(&image, name, pinned, err);
    if (!names)
        return -1;
    const json_t *one;
    size_t i;
    /* whoever forbids a name forbids these bytes, whatever else they are called */
    json_array_foreach(names, i, one) {
        struct image_candidate candidate = candidate_of(&image, json_string_value(one), pinned);
        if (judge(policy, &candidate, JUDGE_DENY, err) < 0)
            return -1;
    }
    /* a name must be allowed itself; a digest under any of its names */
    size_t count = *name == '/' || image_is_digest(name) ? json_array_size(names) : 1;
    OWN_ERROR refusal = NULL;
    for (i = 0; i < count; i++) {
        struct image_candidate candidate =
            candidate_of(&image, json_string_value(json_array_get(names, i)), pinned);
        if (judge(policy, &candidate, JUDGE_ALLOW, refusal ? NULL : &refusal) == 0)
            return 0;
    }
    return error_move(err, take(&refusal));
}

/* Of each file: none when a rule without a key fits, else the first that fits. */
json_t *policy_image_keys(const struct policy *policy, const char *reference, struct error **err) {
    struct asked asked CLEANUP(asked_release) = {0};
    OWN_JSON keys = json_array();
    if (!keys || asked_make(reference, &asked, err) < 0) {
        if (!keys)
            error_set_memory(err);
        return NULL;
    }
    for (size_t i = 0; i < POLICY_FILES; i++) {
        const json_t *images = json_object_get(policy->files[i].rules, "images"), *rule;
        const char *key = NULL;
        bool needs = true;
        size_t k;
        json_array_foreach(json_object_get(images, "allow"), k, rule) {
            const char *one = json_get_string(rule, "signed_by", NULL);
            if (!pattern_matches(rule_pattern(rule), &asked))
                continue;
            needs = needs && one;
            key = key ? key : one;
        }
        if (needs && key && json_array_append_new(keys, json_string(key)) < 0) {
            error_set_memory(err);
            return NULL;
        }
    }
    return take(&keys);
}

/* -------------------------------------------------------------------- numbers */

uint64_t policy_image_maximum(const struct policy *policy) {
    uint64_t least = 0;
    for (size_t i = 0; i < POLICY_FILES; i++) {
        const json_t *images = json_object_get(policy->files[i].rules, "images");
        const char *text = json_get_string(images, "maximum_size", NULL);
        uint64_t bytes = 0;
        if (text && text_parse_size(text, &bytes, NULL) == 0 && (!least || bytes < least))
            least = bytes;
    }
    return least;
}

uint64_t policy_image_maximum_files(const struct policy *policy) {
    uint64_t least = 0;
    for (size_t i = 0; i < POLICY_FILES; i++) {
        const json_t *images = json_object_get(policy->files[i].rules, "images");
        uint64_t files = (uint64_t)json_get_integer(images, "maximum_files", 0);
        if (files && (!least || files < least))
            least = files;
    }
    return least;
}

json_t *policy_registry(const struct policy *policy, const char *domain, struct error **err) {
    OWN_JSON found = json_object();
    bool insecure = false, forbidden = false;
    for (size_t i = POLICY_FILES;
         found && i-- > 0;) { /* the site's last: it goes over the home's */
        const json_t *images = json_object_get(policy->files[i].rules, "images");
        json_t *one = json_object_get(json_object_get(images, "registries"), domain);
        const json_t *said = json_object_get(one, "insecure");
        insecure = insecure || json_is_true(said);
        forbidden = forbidden || json_is_false(said);
        if (one && json_object_update(found, one) < 0)
            json_cleanup(&found);
    }
    if (!found ||
        json_object_set_new(found, "insecure", json_boolean(insecure && !forbidden)) < 0) {
        error_set_memory(err);
        return NULL;
    }
    return take(&found);
}

void policy_describe_images(const struct policy *policy, struct buffer *out) {
    size_t rules = 0, files = 0;
    for (size_t i = 0; i < POLICY_FILES; i++) {
        const json_t *images = json_object_get(policy->files[i].rules, "images");
        const json_t *allow = json_object_get(images, "allow");
        files += json_is_array(allow);
        rules += json_array_size(allow);
    }
    if (files)
        buffer_format(out, "; images: those that %zu rule%s allow%s", rules, rules == 1 ? "" : "s",
                      rules == 1 ? "s" : "");
    else
        buffer_append(out, "; images: all that nobody forbids");
}
