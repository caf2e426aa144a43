/* Names of images, completed and checked as Docker and the OCI distribution specification do. */
#include "private-image.h"

#include <ctype.h>

#define REFERENCE_MAXIMUM 512

bool digest_is_valid(const char *text) {
    if (!text || strncmp(text, "sha256:", 7) != 0 || strlen(text) != 71)
        return false;
    return strspn(text + 7, "0123456789abcdef") == 64;
}

void image_reference_release(struct image_reference *reference) {
    memory_free(reference->domain);
    memory_free(reference->path);
    memory_free(reference->tag);
    memory_free(reference->digest);
    *reference = (struct image_reference){0};
}

/* The first part is a registry when it could not be a folder of Docker's own. */
static bool has_domain(const char *text, size_t *ret_size) {
    size_t size = strcspn(text, "/");
    if (text[size] != '/')
        return false;
    bool is = memchr(text, '.', size) || memchr(text, ':', size) ||
              (size == 9 && memcmp(text, "localhost", 9) == 0);
    for (size_t i = 0; i < size; i++)
        is = is || isupper((unsigned char)text[i]);
    *ret_size = size;
    return is;
}

static bool domain_is_valid(const char *text, size_t size) {
    size_t i = 0;
    if (size && text[0] == '[') {
        while (i < size && text[i] != ']')
            i++;
        if (i++ == size)
            return false;
    }
    for (; i < size && text[i] != ':'; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '.' && text[i] != '-')
            return false;
    if (i == size)
        return size > 0 && text[0] != '.' && text[0] != '-';
    size_t digits = 0;
    for (i++; i < size; i++, digits++)
        if (!isdigit((unsigned char)text[i]))
            return false;
    return digits > 0 && digits < 6 && text[0] != ':';
}

/* Words of lower-case letters and digits, parted by a slash, a dot, underscores or dashes. */
static bool path_is_valid(const char *text) {
    char before = '/';
    for (; *text; before = *text++) {
        bool word = islower((unsigned char)*text) || isdigit((unsigned char)*text);
        bool parted = before != '\0' && strchr("._-/", before);
        if (!word && !strchr("._-/", *text))
            return false;
        if (!word && parted && (before != *text || *text == '/' || *text == '.'))
            return false;
    }
    return !strchr("._-/", before);
}

static bool tag_is_valid(const char *text) {
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    size_t size = strlen(text);
    return size > 0 && size <= 128 && text[0] != '.' && text[0] != '-' &&
           strspn(text, letters) == size;
}

static int refuse(const char *text, const char *why, struct error **err) {
    OWN_BUFFER shown = {0};
    text_append_printable(&shown, text);
    error_set(err, ERROR_INVALID, "\"%.200s\" is no name of an image: %s", buffer_text(&shown),
              why);
    return error_hint(err, "names are like busybox, example/tool:1.2, "
                           "registry.example.org/a/b@sha256:… and in lower case");
}

/* Cuts tag and digest off a copy of the name. */
static int cut(char *text, struct image_reference *ret, const char *whole, struct error **err) {
    char *at = strchr(text, '@');
    if (at) {
        *at++ = '\0';
        if (!digest_is_valid(at))
            return refuse(whole, "after @ there must be sha256: and 64 hexadecimal digits", err);
        if (!(ret->digest = memory_copy_string(at)))
            return error_set_memory(err);
    }
    char *slash = strrchr(text, '/');
    char *colon = strchr(slash ? slash : text, ':');
    if (colon) {
        *colon++ = '\0';
        if (!tag_is_valid(colon))
            return refuse(whole, "what follows the colon is no tag", err);
    }
    if (colon || !at)
        ret->tag = memory_copy_string(colon ? colon : "latest");
    return (colon || !at) && !ret->tag ? error_set_memory(err) : 0;
}

static int parse(char *text, struct image_reference *ret, const char *whole, struct error **err) {
    size_t domain = 0;
    if (cut(text, ret, whole, err) < 0)
        return -1;
    if (has_domain(text, &domain)) {
        if (!domain_is_valid(text, domain))
            return refuse(whole, "the registry before the first slash is no host", err);
        ret->domain = memory_copy_bytes(text, domain);
        text += domain + 1;
        if (ret->domain && text_equal(ret->domain, "index.docker.io")) {
            memory_free(ret->domain);
            ret->domain = memory_copy_string("docker.io");
        }
    } else {
        ret->domain = memory_copy_string("docker.io");
    }
    if (!path_is_valid(text))
        return refuse(whole,
                      *text ? "letters, digits and single . _ - / between them are allowed"
                            : "it is empty",
                      err);
    bool official = ret->domain && text_equal(ret->domain, "docker.io") && !strchr(text, '/');
    ret->path = official ? memory_format("library/%s", text) : memory_copy_string(text);
    return ret->domain && ret->path ? 0 : error_set_memory(err);
}

int image_reference_parse(const char *text, struct image_reference *ret, struct error **err) {
    if (strlen(text) > REFERENCE_MAXIMUM)
        return refuse(text, "it is too long", err);
    OWN_STRING copy = memory_copy_string(text);
    OWN_IMAGE_REFERENCE reference = {0};
    if (!copy)
        return error_set_memory(err);
    if (parse(copy, &reference, text, err) < 0)
        return -1;
    *ret = reference;
    reference = (struct image_reference){0};
    return 0;
}

char *image_reference_text(const struct image_reference *reference, struct error **err) {
    char *text =
        memory_format("%s/%s%s%s%s%s", reference->domain, reference->path,
                      reference->tag ? ":" : "", reference->tag ? reference->tag : "",
                      reference->digest ? "@" : "", reference->digest ? reference->digest : "");
    if (!text)
        error_set_memory(err);
    return text;
}

char *reference_repository(const char *reference, struct error **err) {
    OWN_IMAGE_REFERENCE parts = {0};
    if (image_reference_parse(reference, &parts, err) < 0)
        return NULL;
    char *text = memory_format("%s/%s", parts.domain, parts.path);
    if (!text)
        error_set_memory(err);
    return text;
}

char *image_pinned_name(const char *reference, const char *digest, struct error **err) {
    OWN_STRING repository = reference_repository(reference, err);
    if (!repository)
        return NULL;
    char *text = memory_format("%s@%s", repository, digest);
    if (!text)
        error_set_memory(err);
    return text;
}
