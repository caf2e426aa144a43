/* What the commands of `glovebox image` share. Private to the room. */
#ifndef GLOVEBOX_CLI_IMAGE_H
#define GLOVEBOX_CLI_IMAGE_H

#include "cli/session.h"
#include "cli/terminal.h"
#include "image/image.h"

/* A command on the store of the home. */
struct image_session {
    const struct invocation *invocation;
    char *home;
    struct image_store *store;
    struct policy *policy;
    struct terminal terminal; /* standard error */
    int64_t told;             /* when progress was last shown, monotonic */
    bool shown;               /* a line of progress stands there */
    struct image_options options;
};
int image_session_open(const struct invocation *invocation, bool make, struct image_session *ret,
                       struct error **err) MUST_CHECK;
void image_session_close(struct image_session *session);
#define OWN_IMAGE_SESSION CLEANUP(image_session_close) struct image_session

/* What came in, as image_load() and image_pull() return it. */
int image_report_added(const struct invocation *invocation, const json_t *added,
                       struct error **err) MUST_CHECK;
/* Loads the archives that steps have for images: *ret gets {path: pinned name}. */
int image_load_archives(const struct invocation *invocation, const struct pipeline *pipeline,
                        json_t **ret, struct error **err) MUST_CHECK;
/* Digests of the images that runs need which are not over; of a home in which nothing has run yet,
 * none. */
json_t *image_needed(const struct invocation *invocation, struct error **err) MUST_CHECK;
/* "sha256:0123456789ab" */
void text_append_digest(struct buffer *out, const char *digest);

#endif
