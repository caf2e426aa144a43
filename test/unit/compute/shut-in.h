/* What the tests of boxes and of containers share. */
#ifndef GLOVEBOX_TEST_COMPUTE_SHUT_IN_H
#define GLOVEBOX_TEST_COMPUTE_SHUT_IN_H

#include "harness.h"

/* Each of the three says what shutting in means. */
bool shut_in_make(struct bed *bed); /* as bed_make() */
struct job shut_in(struct bed *bed, const char *name, const char *const *arguments);

/* It may change user, with what that takes of rights. */
extern const bool shut_in_users;

bool write_text(const char *folder, const char *name, const char *text, mode_t mode);
/* Where a part of these tests is: "hostile", "guests". Caller frees. */
char *part_path(const char *name);

#endif
