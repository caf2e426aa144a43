/* Private to data/: what manifest_build() asks of the cache. */
#ifndef GLOVEBOX_DATA_DIGEST_CACHE_H
#define GLOVEBOX_DATA_DIGEST_CACHE_H

#include "data/data.h"

#include <sys/stat.h>

/* True and the digest when the file at `path` (below the root) is known and unchanged. */
bool digest_cache_find(struct digest_cache *cache, const char *path, const struct stat *status,
                       uint8_t digest[SHA256_SIZE]);
/* Remembers; a failure to do so is no failure of the caller. */
void digest_cache_add(struct digest_cache *cache, const char *path, const struct stat *status,
                      const uint8_t digest[SHA256_SIZE]);

#endif
