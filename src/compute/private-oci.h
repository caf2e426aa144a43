/* oci — a job with an image as a container of crun: its image, its user, its configuration. */
#ifndef GLOVEBOX_COMPUTE_PRIVATE_OCI_H
#define GLOVEBOX_COMPUTE_PRIVATE_OCI_H

#include "base/base.h"
#include "compute/compute.h"

enum { GROUPS_MAXIMUM = 64 };

/* Who an image's program runs as, inside. */
struct oci_user {
    uint32_t user, group;
    /* Others that its /etc/group puts it in, unless USER names a group. One more than there is room
     * for: too many. */
    uint32_t groups[GROUPS_MAXIMUM];
    size_t group_count;
    char name[64];  /* "" when its /etc/passwd has none for it */
    char home[256]; /* "/" when its /etc/passwd names none */
};

/* oci-user.c: what USER of an image's configuration means in its root folder: "", "1000",
 * "1000:100", "name", "name:group". */
int oci_find_user(const char *root, const char *text, struct oci_user *ret,
                  struct error **err) MUST_CHECK;

/* What an image asks for; all of it owned. */
struct oci_image {
    char *name; /* as the job named it */
    char *root;
    json_t *config; /* {"Env", "Entrypoint", "Cmd", "WorkingDir"…}, borrowed from `whole` */
    json_t *whole;
    struct oci_user user;
};
void oci_image_release(struct oci_image *image);

/* Devices and what belongs to them, as the machine's CDI files describe them. */
struct oci_devices {
    json_t *mounts;      /* of the configuration: device nodes and files */
    json_t *environment; /* "K=V" */
    json_t *hooks;       /* {"createContainer": […]…} */
};
void oci_devices_release(struct oci_devices *devices);
/* oci-devices.c: the GPUs that CDI files of this machine describe: [{"name"…}]. */
json_t *oci_list_devices(struct error **err) MUST_CHECK;
/* `count` GPUs that no job of `taken`, {job: [name…]}, has; their names are appended to
 * `ret_names`. ERROR_UNSUPPORTED says what was looked for. */
int oci_find_devices(unsigned count, const json_t *taken, struct oci_devices *ret,
                     json_t *ret_names, struct error **err) MUST_CHECK;

/* oci-range.c: ids of the host for an image's users, 0 to IMAGE_IDS - 1, besides its own. */
struct oci_range {
    uint32_t user, group;             /* the first ones */
    uint32_t seen_user, seen_group;   /* as the keeper sees them */
    char *user_mapper, *group_mapper; /* newuidmap and newgidmap; NULL for root */
};
void oci_range_release(struct oci_range *range);
/* ERROR_UNSUPPORTED says what is missing, and how to come by it. */
int oci_find_range(struct oci_range *ret, struct error **err) MUST_CHECK;
/* The path of a program, or NULL. Caller frees. */
char *oci_find_program(const char *name) MUST_CHECK;

/* What message.c needs of a container. */
struct oci_container {
    const struct oci_image *image;
    struct buffer config; /* config.json, with blanks where the keeper writes two numbers */
    size_t host_user_at, host_group_at;
    char *directory; /* where the program starts */
    char *program;
};
void oci_container_release(struct oci_container *container);

/* oci-config.c: `filter` is the system-call filter in base64; `range` counts when the job says
 * `users`. */
int oci_configure(const struct job *job, const struct oci_image *image,
                  const struct oci_devices *devices, const struct oci_range *range,
                  const char *filter, struct oci_container *ret, struct error **err) MUST_CHECK;

/* oci.c: the images of a home, and how its jobs become containers. */
struct oci;
struct oci *oci_new(const char *home) MUST_CHECK;
void oci_free(struct oci *oci);
/* What `image` means for a home now: its name with its digest. */
int oci_pin(const char *home, const char *image, char **ret, struct error **err) MUST_CHECK;
int oci_contain(struct oci *oci, const struct job *job, const struct oci_range *range,
                struct oci_container *ret, struct error **err) MUST_CHECK;
/* The job has ended: its GPUs are free. */
void oci_forget(struct oci *oci, const char *job);
/* An image that is in no store: a root folder, whose user is root. */
int oci_add_image(struct oci *oci, const char *name, const char *root,
                  struct error **err) MUST_CHECK;
/* The path of crun, or NULL. Caller frees. */
char *oci_find_runtime(struct error **err) MUST_CHECK;

#endif
