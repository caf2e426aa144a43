/* Images from registries: skopeo brings them and verifies digests and signatures. What a registry
 * calls the image, the digest of its manifest, is kept, also where skopeo writes it in OCI's form.
 */
#include "private-image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ARGUMENTS_MAXIMUM 32

struct pull {
    struct staging *staging;
    const struct image_source *source;
    struct image_reference reference;
    char *skopeo;
    char *folder;     /* absolute path of the work folder */
    char *policy;     /* paths of the files that we write for skopeo */
    char *registries; /* NULL: the machine's */
    char *signatures; /* NULL: the machine's */
    json_t *manifest; /* as the registry has it */
    char digest[IMAGE_DIGEST_SIZE], index[IMAGE_DIGEST_SIZE];
};

static void pull_release(struct pull *pull) {
    image_reference_release(&pull->reference);
    memory_free(pull->skopeo);
    memory_free(pull->folder);
    memory_free(pull->policy);
    memory_free(pull->registries);
    memory_free(pull->signatures);
    json_decref(pull->manifest);
}

/* --------------------------------------------------------- files for skopeo */

static int write_file(const char *path, const char *text, struct error **err) {
    OWN_FD fd = file_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0600, err);
    return fd < 0 ? -1 : file_write_all(fd, text, strlen(text), err);
}

/* Whom a signature must be of. We ask by digest, so that what is verified is what we saw; a gpg
 * signature must name the tag as well, else an older image that was signed could be put under a
 * newer tag. cosign's name no tag. */
static json_t *identity(const struct pull *pull, bool sigstore, struct error **err) {
    const struct image_reference *reference = &pull->reference;
    if (sigstore || !reference->tag || reference->digest)
        return json_pack("{s:s}", "type", "matchRepository");
    OWN_STRING name = image_reference_text(reference, err);
    return name ? json_pack("{s:s, s:s}", "type", "exactReference", "dockerReference", name) : NULL;
}

/* A key in PEM is sigstore's, any other is gpg's. */
static json_t *requirement(const struct pull *pull, const char *key, struct error **err) {
    char bytes[64] = {0};
    OWN_FD fd = file_open(AT_FDCWD, key, O_RDONLY, 0, err);
    if (fd < 0 || read(fd, bytes, sizeof(bytes) - 1) < 0) {
        if (fd >= 0)
            error_set_errno(err, errno, "cannot read %s", key);
        return NULL;
    }
    bool sigstore = strstr(bytes, "BEGIN PUBLIC KEY") != NULL;
    OWN_JSON signed_identity = identity(pull, sigstore, err);
    json_t *json = NULL;
    if (signed_identity && sigstore)
        json = json_pack("{s:s, s:s, s:O}", "type", "sigstoreSigned", "keyPath", key,
                         "signedIdentity", signed_identity);
    else if (signed_identity)
        json = json_pack("{s:s, s:s, s:s, s:O}", "type", "signedBy", "keyType", "GPGKeys",
                         "keyPath", key, "signedIdentity", signed_identity);
    if (!json && err && !*err)
        error_set_memory(err);
    return json;
}

static int write_policy(const struct pull *pull, struct error **err) {
    OWN_JSON rules = json_array();
    size_t i;
    const json_t *key;
    json_array_foreach(pull->source->keys, i, key) {
        json_t *one = requirement(pull, json_string_value(key), err);
        if (!one)
            return -1;
        if (json_array_append_new(rules, one) < 0)
            return error_set_memory(err);
    }
    if (json_array_size(rules) == 0 &&
        json_array_append_new(rules, json_pack("{s:s}", "type", "insecureAcceptAnything")) < 0)
        return error_set_memory(err);
    OWN_JSON policy = json_pack("{s:O}", "default", rules);
    OWN_STRING text = policy ? json_text(policy, 0, err) : NULL;
    if (!text)
        return policy ? -1 : error_set_memory(err);
    return write_file(pull->policy, text, err);
}

/* JSON's strings are TOML's and YAML's too. */
static int write_registries(struct pull *pull, struct error **err) {
    OWN_BUFFER text = {0};
    size_t i;
    const json_t *mirror;
    buffer_append(&text, "[[registry]]\nprefix = ");
    json_append_string(&text, pull->source->registry);
    buffer_append(&text, "\nlocation = ");
    json_append_string(&text, pull->source->registry);
    json_array_foreach(pull->source->mirrors, i, mirror) {
        buffer_append(&text, "\n[[registry.mirror]]\nlocation = ");
        json_append_string(&text, json_string_value(mirror));
        buffer_format(&text, "\ninsecure = %s\n", pull->source->insecure ? "true" : "false");
    }
    pull->registries = memory_format("%s/registries.conf", pull->folder);
    if (!pull->registries)
        return error_set_memory(err);
    if (buffer_check(&text, err) < 0)
        return -1;
    return write_file(pull->registries, buffer_text(&text), err);
}

static int write_signatures(struct pull *pull, struct error **err) {
    OWN_BUFFER text = {0};
    OWN_STRING file = NULL;
    pull->signatures = memory_format("%s/registries.d", pull->folder);
    file = pull->signatures ? memory_format("%s/glovebox.yaml", pull->signatures) : NULL;
    if (!file)
        return error_set_memory(err);
    buffer_append(&text, "docker:\n  ");
    json_append_string(&text, pull->source->registry);
    buffer_append(&text, ":\n    use-sigstore-attachments: true\n");
    if (pull->source->signatures) {
        buffer_append(&text, "    sigstore: ");
        json_append_string(&text, pull->source->signatures);
        buffer_append_char(&text, '\n');
    }
    if (buffer_check(&text, err) < 0 || directory_make(AT_FDCWD, pull->signatures, 0700, err) < 0)
        return -1;
    return write_file(file, buffer_text(&text), err);
}

static int prepare(struct pull *pull, struct error **err) {
    struct staging *staging = pull->staging;
    const struct image_source *source = pull->source;
    pull->skopeo = program_find("skopeo", "skopeo", err);
    if (!pull->skopeo)
        return -1;
    pull->folder = path_join(staging->store->path, staging->work.path);
    pull->policy = pull->folder ? memory_format("%s/policy.json", pull->folder) : NULL;
    if (!pull->policy)
        return error_set_memory(err);
    if (write_policy(pull, err) < 0)
        return -1;
    if (json_array_size(source->mirrors) && write_registries(pull, err) < 0)
        return -1;
    return (json_array_size(source->keys) || source->signatures) ? write_signatures(pull, err) : 0;
}

/* ------------------------------------------------------------------ running it */

struct arguments {
    const char *items[ARGUMENTS_MAXIMUM];
    size_t count;
};

static void add(struct arguments *arguments, const char *first, const char *second) {
    arguments->items[arguments->count++] = first;
    if (second)
        arguments->items[arguments->count++] = second;
}

/* What every call has. No secret is among them. */
static void add_common(struct arguments *arguments, const struct pull *pull) {
    add(arguments, pull->skopeo, NULL);
    add(arguments, "--policy", pull->policy);
    add(arguments, "--tmpdir", pull->folder);
    add(arguments, "--override-os", "linux");
    if (pull->signatures)
        add(arguments, "--registries.d", pull->signatures);
    if (pull->registries)
        add(arguments, "--registries-conf", pull->registries);
}

static void explain(const struct pull *pull, struct error **err) {
    static const struct {
        const char *words, *hint;
        enum error_code code;
    } known[] = {
        {"sigstore disabled",
         "this skopeo, as Debian 12's, is built without sigstore: sign the image with gpg, or put "
         "a "
         "skopeo that has it first in PATH",
         ERROR_UNSUPPORTED},
        {"x509",
         "its certificate must be signed by somebody this machine trusts: say "
         "--certificates DIR, with the authority's *.crt in DIR",
         ERROR_DENIED},
        {"unauthorized",
         "say --credentials FILE, a file as \"skopeo login --authfile FILE\" writes it",
         ERROR_DENIED},
        {"authentication required",
         "say --credentials FILE, a file as \"skopeo login --authfile "
         "FILE\" writes it",
         ERROR_DENIED},
        {"denied", "say --credentials FILE, a file as \"skopeo login --authfile FILE\" writes it",
         ERROR_DENIED},
        {"invalid username/password", "the password in the credentials file is not the registry's",
         ERROR_DENIED},
        {"ignature",
         "the policy asks for a signature: ask who publishes the image where its "
         "signatures lie and with which key they are made",
         ERROR_DENIED},
        {"server gave HTTP response",
         "it speaks without TLS; an administrator may allow that with "
         "\"insecure\" in policy.json",
         ERROR_DENIED},
        {"manifest unknown", "is the name right, and the tag?", ERROR_NOT_FOUND},
        {"name unknown", "is the name right?", ERROR_NOT_FOUND},
        {"no such host", "is the registry's name right, and is there a network?", ERROR_IO},
        {"connection refused", "is the registry's name right, and does it run?", ERROR_IO},
        {"no space left",
         "make room in the home's file system, for example by \"glovebox image gc\"", ERROR_IO},
    };
    if (!err || !*err || (*err)->code != ERROR_IO)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (!strstr((*err)->message, known[i].words))
            continue;
        (*err)->code = known[i].code;
        (void)error_hint(err, "%s", known[i].hint);
        return;
    }
}

static int run(const struct pull *pull, const struct arguments *arguments, struct buffer *output,
               int (*watch)(void *context, struct error **err), void *context, struct error **err) {
    struct program program = {.argv = arguments->items,
                              .package = "skopeo",
                              .input = pull->staging->store->lock,
                              .output = output,
                              .watch = watch,
                              .context = context};
    int bad = program_run(&program, err);
    if (bad < 0)
        explain(pull, err);
    return bad;
}

/* docker://domain/path, by a digest, or by the tag. */
static char *place(const struct pull *pull, const char *digest, struct error **err) {
    const struct image_reference *reference = &pull->reference;
    char *text =
        digest ? memory_format("docker://%s/%s@%s", reference->domain, reference->path, digest)
               : memory_format("docker://%s/%s:%s", reference->domain, reference->path,
                               reference->tag);
    if (!text)
        error_set_memory(err);
    return text;
}

static void add_inspect(struct arguments *arguments, const struct pull *pull) {
    add_common(arguments, pull);
    add(arguments, "--command-timeout", "2m");
    add(arguments, "inspect", "--raw");
    if (pull->source->credentials)
        add(arguments, "--authfile", pull->source->credentials);
    if (pull->source->certificates)
        add(arguments, "--cert-dir", pull->source->certificates);
    if (pull->source->insecure)
        add(arguments, "--tls-verify=false", NULL);
}

static int another_content(const char *digest, struct error **err) {
    error_set(err, ERROR_CORRUPT, "the registry gave something else than %s", digest);
    return error_hint(err, "somebody may have tampered with it, or with the way to it");
}

/* A manifest as the registry has it; `digest` NULL: what the tag points to. */
static int read_manifest(struct pull *pull, const char *digest, char found[IMAGE_DIGEST_SIZE],
                         json_t **ret, struct error **err) {
    struct arguments arguments = {0};
    OWN_BUFFER text = {.maximum = IMAGE_DOCUMENT_MAXIMUM};
    OWN_STRING what = place(pull, digest, err);
    if (!what)
        return -1;
    add_inspect(&arguments, pull);
    add(&arguments, what, NULL);
    if (run(pull, &arguments, &text, NULL, NULL, err) < 0 ||
        staging_write(pull->staging, buffer_text(&text), text.size, found, err) < 0)
        return -1;
    if (digest && !text_equal(found, digest))
        return another_content(digest, err);
    *ret = staging_json(pull->staging, found, err);
    return *ret ? 0 : -1;
}

static int choose_manifest(struct pull *pull, struct error **err) {
    OWN_JSON first = NULL;
    if (read_manifest(pull, pull->reference.digest, pull->digest, &first, err) < 0)
        return -1;
    if (!json_object_get(first, "manifests")) {
        pull->manifest = take(&first);
        return manifest_check(pull->manifest, err);
    }
    const json_t *chosen = index_choose(first, err);
    if (!chosen)
        return -1;
    (void)snprintf(pull->index, sizeof(pull->index), "%s", pull->digest);
    const char *digest = json_get_string(chosen, "digest", "");
    if (read_manifest(pull, digest, pull->digest, &pull->manifest, err) < 0)
        return -1;
    return manifest_check(pull->manifest, err);
}

/* ------------------------------------------------------------------- copying */

struct counting {
    const struct pull *pull;
    uint64_t done, total;
    struct stall stall;
};

static int count_file(const struct tree_entry *entry, void *context, enum tree_verdict *verdict,
                      struct error **err) {
    struct counting *counting = context;
    counting->done += S_ISREG(entry->status->st_mode) ? (uint64_t)entry->status->st_size : 0;
    return 0;
}

/* Finished blobs are in the store, those under way in the layout. */
static int watch(void *context, struct error **err) {
    struct counting *counting = context;
    struct staging *staging = counting->pull->staging;
    const json_t *layers = json_object_get(counting->pull->manifest, "layers"), *layer;
    counting->done = 0;
    OWN_STRING layout = path_join(counting->pull->folder, "layout");
    if (layout && tree_walk(AT_FDCWD, layout, count_file, counting, NULL) < 0)
        counting->done = 0; /* not there yet */
    if (counting->done > staging_maximum(staging))
        return staging_too_large(staging, err);
    size_t i;
    json_array_foreach(layers, i, layer) {
        OWN_STRING path =
            memory_format("blobs/sha256/%s", json_get_string(layer, "digest", "") + 7);
        if (path && file_exists(staging->store->directory, path))
            counting->done += (uint64_t)json_get_integer(layer, "size", 0);
    }
    if (staging->options->progress)
        staging->options->progress(staging->options->context, "pulling", counting->done,
                                   counting->total);
    if (!stall_notice(&counting->stall, counting->done, clock_monotonic()))
        return 0;
    error_set(err, ERROR_IO, "nothing came for %d minutes", (int)(STALL_MAXIMUM / 60000));
    return error_hint(err, "look whether the network and the registry work, then pull it again");
}

static uint64_t size_of(const json_t *manifest) {
    const json_t *layer;
    size_t i;
    uint64_t size = 0;
    json_array_foreach(json_object_get(manifest, "layers"), i, layer) {
        size += (uint64_t)json_get_integer(layer, "size", 0);
    }
    return size;
}

static int copy(struct pull *pull, struct error **err) {
    struct arguments arguments = {0};
    struct counting counting = {.pull = pull, .total = size_of(pull->manifest)};
    OWN_STRING what = place(pull, pull->digest, err);
    OWN_STRING target = memory_format("oci:%s/layout:image", pull->folder);
    OWN_STRING blobs = memory_format("%s/blobs", pull->staging->store->path);
    if (!what || !target || !blobs)
        return what ? error_set_memory(err) : -1;
    if (counting.total > staging_maximum(pull->staging))
        return staging_too_large(pull->staging, err);
    add_common(&arguments, pull);
    add(&arguments, "copy", "--quiet");
    add(&arguments, "--dest-shared-blob-dir", blobs);
    add(&arguments, "--dest-oci-accept-uncompressed-layers", NULL);
    if (pull->source->credentials)
        add(&arguments, "--src-authfile", pull->source->credentials);
    if (pull->source->certificates)
        add(&arguments, "--src-cert-dir", pull->source->certificates);
    if (pull->source->insecure)
        add(&arguments, "--src-tls-verify=false", NULL);
    add(&arguments, "--remove-signatures", NULL);
    add(&arguments, what, target);
    return run(pull, &arguments, NULL, watch, &counting, err);
}

/* skopeo rewrites a configuration of Docker's form; the manifest names the original. */
static int read_config(struct pull *pull, struct error **err) {
    struct arguments arguments = {0};
    const char *digest = json_get_string(json_object_get(pull->manifest, "config"), "digest", "");
    char found[IMAGE_DIGEST_SIZE];
    OWN_BUFFER text = {.maximum = IMAGE_DOCUMENT_MAXIMUM};
    int there = staging_need(pull->staging, digest, err);
    OWN_STRING what = there == 0 ? place(pull, pull->digest, err) : NULL;
    if (there)
        return there < 0 ? -1 : 0;
    if (!what)
        return -1;
    add_inspect(&arguments, pull);
    add(&arguments, "--config", what);
    if (run(pull, &arguments, &text, NULL, NULL, err) < 0 ||
        staging_write(pull->staging, buffer_text(&text), text.size, found, err) < 0)
        return -1;
    return text_equal(found, digest) ? 0 : another_content(digest, err);
}

static int ask_first(const struct pull *pull, const char *name, const char *digest,
                     struct error **err) {
    const struct image_options *options = pull->staging->options;
    struct image_candidate candidate = {name, digest, *pull->index ? pull->index : NULL,
                                        json_array_size(pull->source->keys) ? pull->source->signer
                                                                            : NULL};
    return options->allow ? options->allow(options->context, &candidate, err) : 0;
}

static int pull_image(struct pull *pull, const char *reference, struct error **err) {
    if (image_reference_parse(reference, &pull->reference, err) < 0)
        return -1;
    OWN_STRING name = image_reference_text(&pull->reference, err);
    if (!name || ask_first(pull, name, NULL, err) < 0 || prepare(pull, err) < 0 ||
        choose_manifest(pull, err) < 0 || ask_first(pull, name, pull->digest, err) < 0 ||
        copy(pull, err) < 0 || read_config(pull, err) < 0)
        return -1;
    const char *references[] = {name};
    struct arrival arrival = {.digest = pull->digest,
                              .references = references,
                              .reference_count = 1,
                              .index_digest = *pull->index ? pull->index : NULL,
                              .signer = json_array_size(pull->source->keys) ? pull->source->signer
                                                                            : NULL};
    return arrival_take(pull->staging, &arrival, err);
}

int image_pull(struct image_store *store, const char *reference, const struct image_source *source,
               const struct image_options *options, json_t **ret, struct error **err) {
    struct staging staging CLEANUP(staging_release) = {0};
    struct pull pull CLEANUP(pull_release) = {.staging = &staging, .source = source};
    if (store_lock(store, STORE_ADDING, err) < 0)
        return -1;
    int bad = staging_begin(&staging, store, options, err);
    bad = bad ? bad : pull_image(&pull, reference, err);
    if (bad)
        error_wrap(err, "%s", reference);
    else
        *ret = take(&staging.result);
    work_folder_release(&staging.work);
    store_unlock(store);
    return bad;
}
