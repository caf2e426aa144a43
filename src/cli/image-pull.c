/* glovebox image pull */
#include "cli/image.h"

/* What was verified, of every key that was asked for. */
static int add_signers(const json_t *keys, struct buffer *out, struct error **err) {
    size_t i;
    const json_t *key;
    json_array_foreach(keys, i, key) {
        OWN_STRING signer = policy_signer(json_string_value(key), err);
        if (!signer)
            return -1;
        buffer_format(out, "%s%s", i ? ", " : "", signer);
    }
    return 0;
}

static int pull_one(struct image_session *session, const char *name, json_t *all,
                    struct error **err) {
    const struct invocation *invocation = session->invocation;
    OWN_IMAGE_REFERENCE reference = {0};
    if (image_reference_parse(name, &reference, err) < 0)
        return -1;
    OWN_STRING whole = image_reference_text(&reference, err);
    OWN_JSON keys = whole ? policy_image_keys(session->policy, whole, err) : NULL;
    OWN_JSON registry = keys ? policy_registry(session->policy, reference.domain, err) : NULL;
    OWN_BUFFER signer = {0};
    OWN_JSON pulled = NULL;
    if (!registry || add_signers(keys, &signer, err) < 0)
        return -1;
    struct image_source source = {
        .credentials =
            given_value(invocation, "credentials", json_get_string(registry, "credentials", NULL)),
        .certificates = given_value(invocation, "certificates",
                                    json_get_string(registry, "certificates", NULL)),
        .insecure = json_is_true(json_object_get(registry, "insecure")),
        .registry = reference.domain,
        .mirrors = json_object_get(registry, "mirrors"),
        .signatures = json_get_string(registry, "signatures", NULL),
        .keys = keys,
        .signer = buffer_text(&signer)};
    if (image_pull(session->store, name, &source, &session->options, &pulled, err) < 0)
        return -1;
    return json_array_extend(all, pulled) < 0 ? error_set_memory(err) : 0;
}

static int handle(const struct invocation *invocation, struct error **err) {
    OWN_IMAGE_SESSION session = {0};
    OWN_JSON all = json_array();
    if (!all)
        return error_set_memory(err);
    if (image_session_open(invocation, true, &session, err) < 0)
        return -1;
    for (size_t i = 0; i < invocation->argument_count; i++)
        if (pull_one(&session, invocation->arguments[i], all, err) < 0)
            return -1;
    return image_report_added(invocation, all, err) < 0 ? -1 : STATUS_SUCCEEDED;
}

static const struct argument_entry arguments[] = {
    {.name = "IMAGE",
     .help = "the name of an image, as Docker writes it, with a tag or a digest",
     .repeats = true},
};
static const struct option_entry options[] = {
    {.name = "credentials",
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "a file with passwords, as skopeo login --authfile or docker login writes it"},
    {.name = "certificates",
     .value = "DIR",
     .complete = COMPLETE_DIRECTORY,
     .help = "a folder with the *.crt of the authority that signed the registry's certificate, and "
             "*.cert and *.key to show to the registry"},
};

const struct command command_image_pull = {
    .name = "image pull",
    .group = GROUP_IMAGE,
    .summary = "pull container images from a registry",
    .description =
        "Pulls images by skopeo, unpacks each once, and keeps it under its name and under the "
        "digest "
        "that the registry knows. Digests are verified, and signatures where the policy asks for "
        "them. The policy also says which images may come at all, and by which mirrors. Runs never "
        "pull: what they need has to be here before.",
    .examples = "# Pull by a tag\n"
                "glovebox image pull docker.io/library/busybox:1.36\n"
                "# From a registry with a password and a certificate of its own\n"
                "glovebox image pull --credentials auth.json --certificates ca "
                "registry.example.org/team/tool:1.0\n",
    COMMAND_ARGUMENTS(arguments),
    COMMAND_OPTIONS(options),
    .handle = handle,
};
