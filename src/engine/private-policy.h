/*
 * What the files of the policy share.
 */
#ifndef GLOVEBOX_ENGINE_PRIVATE_POLICY_H
#define GLOVEBOX_ENGINE_PRIVATE_POLICY_H

#include "engine/engine.h"

#define POLICY_FILES 2

struct policy_file {
    char *path;
    json_t *rules; /* NULL: there is no such file */
};
struct policy {
    struct policy_file files[POLICY_FILES]; /* the site's, the home's */
};

/* Errors of a file's content: a key that is none of `known`; a value of another kind. */
int policy_unknown_key(const char *key, const char *const *known, size_t count, const char *where,
                       struct error **err);
bool policy_is_known(const char *key, const char *const *known, size_t count);
int policy_wrong_kind(const char *what, const char *kind, struct error **err);
/* Whether the value of "images" is well formed. */
int policy_check_images(const json_t *images, struct error **err) MUST_CHECK;
/* What the policy says of images, for policy_describe(). */
void policy_describe_images(const struct policy *policy, struct buffer *out);

#endif
