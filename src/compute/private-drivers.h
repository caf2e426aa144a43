/* drivers — every driver of this build. */
#ifndef GLOVEBOX_COMPUTE_PRIVATE_DRIVERS_H
#define GLOVEBOX_COMPUTE_PRIVATE_DRIVERS_H

#include "compute/compute.h"

extern const struct driver driver_process; /* process.c */

/* Its images. */
struct oci;
struct oci *process_oci(struct compute *compute);

#endif
