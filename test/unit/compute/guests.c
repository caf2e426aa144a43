/* The images of the tests of containers. */
#include "guests.h"

#include "image/image.h"
#include "shut-in.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The images are loaded once, into a store that each home shows as its own. */
static char store_home[64];

__attribute__((destructor)) static void remove_store(void) {
    if (store_home[0] && tree_remove(AT_FDCWD, store_home, NULL) < 0)
        printf("# %s stays behind\n", store_home);
}

static bool load(struct image_store *store, const char *name) {
    OWN_STRING guests = part_path("guests");
    OWN_STRING file = memory_format("%s/%s.tar", guests, name);
    struct image_options options = {0};
    OWN_JSON loaded = NULL;
    OWN_ERROR error = NULL;
    if (image_load(store, file, &options, &loaded, &error) == 0)
        return true;
    printf("# %s: %s (they are made while building, from Debian's busybox-static: remove %s and "
           "build again)\n",
           name, error->message, guests);
    return false;
}

static bool make_store(void) {
    static const char *const names[] = {"busybox",  "hostile", "entry",  "named",  "numbered",
                                        "stranger", "empty",   "user-0", "user-1", "user-2",
                                        "user-3",   "linked",  "looped"};
    char folder[] = "/tmp/glovebox-test-images-XXXXXX";
    OWN_IMAGE_STORE store = NULL;
    if (store_home[0])
        return true;
    if (!mkdtemp(folder) || image_store_open(folder, true, &store, NULL) < 0)
        return false;
    memcpy(store_home, folder, sizeof(folder));
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (!load(store, names[i]))
            return false;
    }
    return true;
}

bool guests_make(struct bed *bed) {
    if (!make_store() || !bed_make(bed))
        return false;
    OWN_STRING images = path_join(store_home, "images");
    OWN_STRING here = path_join(bed->home, "images");
    return symlink(images, here) == 0;
}
