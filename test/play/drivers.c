/*
 * The drivers of the program for tests of what runs in containers: it takes the
 * place of compute/compute.c, so that its one driver never comes into the product.
 *
 * The driver "play" is the driver "process" but for container steps: those it plays, by a program
 * that the test brings. $GLOVEBOX_PLAY names a folder that holds it; it is mounted at /play, and
 * `/play/play IMAGE ARGUMENT…` runs in the sealed box, with the step's own mounts. Every image is
 * there, whatever its name; the digest is the name's.
 */
#include "compute/private-drivers.h"

#include <stdlib.h>

#define PARTS_MAXIMUM 4096

static const char *play_folder(void) {
    const char *folder = getenv("GLOVEBOX_PLAY");
    return folder && *folder == '/' ? folder : NULL;
}

static int pin(const char *home, const char *image, char **ret, struct error **err) {
    uint8_t digest[SHA256_SIZE];
    char text[SHA256_HEX_SIZE];
    (void)home;
    sha256_of(image, strlen(image), digest);
    hex_encode(digest, sizeof(digest), text);
    *ret = memory_format("%s@sha256:%s", image, text);
    return *ret ? 0 : error_set_memory(err);
}

static size_t count_texts(const char *const *texts) {
    size_t count = 0;
    while (texts && texts[count])
        count++;
    return count;
}

/* Appends to a list that has room. */
static void add_texts(const char **list, const char *const *texts) {
    size_t size = count_texts(list), more = count_texts(texts);
    if (more)
        memcpy(list + size, texts, more * sizeof(*list));
}

static int launch_played(struct compute *compute, const struct job *job, const char *folder,
                         struct error **err) {
    size_t arguments = count_texts(job->entrypoint) + count_texts(job->arguments);
    size_t variables = count_texts(job->environment);
    if (arguments + variables > PARTS_MAXIMUM || job->mount_count > PARTS_MAXIMUM)
        return error_set(err, ERROR_LIMIT, "too much for a play");
    OWN_MEMORY(const char *) argv = memory_array(arguments + 3, sizeof(*argv));
    OWN_MEMORY(const char *) environment = memory_array(variables + 3, sizeof(*environment));
    OWN_MEMORY(struct compute_mount)
    mounts = memory_array(job->mount_count + 1, sizeof(*mounts));
    OWN_STRING name = memory_copy_bytes(job->image, strcspn(job->image, "@"));
    if (!argv || !environment || !mounts || !name)
        return error_set_memory(err);
    argv[0] = "/play/play";
    argv[1] = name;
    add_texts(argv, job->entrypoint);
    add_texts(argv, job->arguments);
    environment[0] = "PATH=/usr/local/bin:/usr/bin:/bin";
    environment[1] = "HOME=/tmp";
    add_texts(environment, job->environment);
    for (size_t i = 0; i < job->mount_count; i++)
        mounts[i] = job->mounts[i];
    mounts[job->mount_count] = (struct compute_mount){.source = folder, .target = "/play"};
    struct job played = *job;
    played.image = NULL;
    played.entrypoint = NULL;
    played.environment = environment;
    played.arguments = argv;
    played.mounts = mounts;
    played.mount_count = job->mount_count + 1;
    played.limits.gpus = 0;
    return driver_process.launch(compute, &played, err);
}

static int play_launch(struct compute *compute, const struct job *job, struct error **err) {
    const char *folder = job->image ? play_folder() : NULL;
    return folder ? launch_played(compute, job, folder, err)
                  : driver_process.launch(compute, job, err);
}

static struct driver driver_play = {.name = "play", .runs_images = true, .pin = pin};

const struct driver *const *compute_drivers(void) {
    static const struct driver *const drivers[] = {&driver_play, NULL};
    return drivers;
}

/* Whatever is asked for. */
const struct driver *compute_driver(const char *name) {
    driver_play = driver_process;
    driver_play.name = "play";
    driver_play.runs_images = true;
    driver_play.pin = pin;
    driver_play.launch = play_launch;
    return &driver_play;
}
