/* A home with the images that test/images/guests makes. */
#ifndef GLOVEBOX_TEST_COMPUTE_GUESTS_H
#define GLOVEBOX_TEST_COMPUTE_GUESTS_H

#include "harness.h"

bool guests_make(struct bed *bed); /* as bed_make() */

#endif
