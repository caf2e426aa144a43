/*
 * net — the client: HTTP over TLS. Knows nothing of whom it calls.
 *
 * A request is one bounded, blocking call: bounded in time, in the size of what comes back, and in
 * how far it goes: it follows no redirect, so what it carries reaches the host that was named and
 * no other. The server's certificate is always verified. Whoever must not wait lets a program of
 * its own make the request (as `glovebox run` does): then a server that hangs holds up nothing.
 *
 * libcurl is loaded when the first request is made: most programs of ours never make one, and to
 * load it takes as long as to start them.
 */
#ifndef GLOVEBOX_NET_H
#define GLOVEBOX_NET_H

#include "base/base.h"

#define NET_URL_MAXIMUM ((size_t)2048)

struct net_request {
    const char *method;         /* "PUT" */
    const char *url;            /* see net_check_url() */
    const char *const *headers; /* "Name: value", none of them a line break */
    size_t header_count;
    const char *body; /* or NULL */
    size_t body_size;
    const char *ca_file; /* who may vouch for the server, and nobody else; NULL: the system's */
    int64_t timeout;     /* ms for all of it; 0: 30 seconds */
    size_t maximum;      /* bytes of an answer; 0: 1 MiB */
};
struct net_response {
    int status;
    struct buffer body;
};

/* https://HOST[:PORT][/PATH]; http only to this machine itself (localhost, 127.0.0.1, [::1]). No
 * user, no query, no fragment: what is secret has no place in an address. ERROR_USAGE with a hint
 * else. */
int net_check_url(const char *url, struct error **err) MUST_CHECK;
/* Returns 0 when the server answered, whatever it said. Errors name the host: ERROR_NOT_FOUND for
 * an unknown name, ERROR_IO for one that cannot be reached or hangs up, ERROR_DENIED for a
 * certificate that is not to be trusted, ERROR_LIMIT for an answer that is too long or too slow. */
int net_request(const struct net_request *request, struct net_response *ret,
                struct error **err) MUST_CHECK;
void net_response_release(struct net_response *response);
#define OWN_NET_RESPONSE CLEANUP(net_response_release) struct net_response
/* "HOST[:PORT]" of an address that net_check_url() took. Caller frees. */
char *net_host(const char *url) MUST_CHECK;

#endif
