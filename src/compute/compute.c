/* The drivers of this build. */
#include "compute/private-drivers.h"

static const struct driver *const drivers[] = {&driver_process, NULL};

const struct driver *const *compute_drivers(void) {
    return drivers;
}

const struct driver *compute_driver(const char *name) {
    for (size_t i = 0; drivers[i]; i++) {
        if (text_equal(drivers[i]->name, name))
            return drivers[i];
    }
    return NULL;
}
