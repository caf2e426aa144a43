/* Private to net/: an address in its parts, which point into it. */
#ifndef GLOVEBOX_NET_PRIVATE_URL_H
#define GLOVEBOX_NET_PRIVATE_URL_H

#include "net/net.h"

struct url {
    const char *host;
    size_t host_size, authority_size; /* authority: "HOST:PORT", from `host` on */
    bool secure, here;                /* here: this machine itself */
};
int url_parse(const char *url, struct url *ret, struct error **err) MUST_CHECK;

#endif
