/*
 * Calls that invite mistakes do not compile. Included by the build into every C file
 * (-include), after the system headers that declare them.
 */
#ifndef GLOVEBOX_BANNED_H
#define GLOVEBOX_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Some C libraries define these as macros, which cannot be poisoned. */
#undef strcpy
#undef strcat
#undef strncat
#undef strncpy
#undef strtok
#undef sprintf
#undef vsprintf

/* clang-format off */
#pragma GCC poison strcpy strcat strncat strncpy /* use buffer_append() */
#pragma GCC poison sprintf vsprintf              /* use buffer_format() or snprintf() */
#pragma GCC poison gets strtok atoi atol atoll   /* use text_parse_integer() */
#pragma GCC poison system popen tmpnam mktemp    /* use process_spawn(), file_write_atomic() */
#pragma GCC poison gmtime localtime ctime asctime /* use clock_format() */
#pragma GCC poison fork /* use process_spawn() */
/* clang-format on */

#endif
