/* link — the connection to one keeper: starts it, finds it again, exchanges messages. */
#ifndef GLOVEBOX_COMPUTE_PRIVATE_LINK_H
#define GLOVEBOX_COMPUTE_PRIVATE_LINK_H

#include "base/base.h"
#include "compute/compute.h"
#include "compute/keeper/protocol.h"

#include <uv.h>

struct link {
    enum keeper_kind kind;
    int directory; /* HOME/compute/process, borrowed */
    uv_loop_t *loop;
    uv_poll_t *poll; /* NULL while not connected */
    int fd;
    pid_t pid;                /* of the keeper */
    const char *arguments[6]; /* of a keeper of containers, NULL-terminated: see main.c there.
                                 Borrowed */
    struct buffer output;
    size_t output_sent;
    bool writing; /* waits for room in the socket */
    struct record input;
    size_t input_size;
    void *context;
    void (*received)(void *context, struct link *link, const struct record *record);
    void (*readable)(void *context, struct link *link); /* some were received: deliver */
    void (*ended)(void *context, struct link *link);    /* the keeper is gone */
};

bool link_is_open(const struct link *link);
/* True when a journal of this kind exists: somebody left jobs behind. */
bool link_has_journal(const struct link *link);
/* Connects to the keeper, starting one when none answers, then hands every record of its journal
 * to `received`. */
int link_open(struct link *link, struct error **err) MUST_CHECK;
void link_close(struct link *link);
/* Queues a message; link_flush() writes as much as the socket takes. */
int link_queue(struct link *link, const void *message, size_t size, struct error **err) MUST_CHECK;
void link_flush(struct link *link);
/* Waits for the answer to a MESSAGE_USAGE; records that come before it go to `received`. */
int link_ask(struct link *link, const struct name_message *question, struct record *ret,
             struct error **err) MUST_CHECK;
/* Whether waiting for this keeper keeps the loop alive. */
void link_hold(struct link *link, bool hold);
/* The keeper's executable. Caller frees. */
char *link_keeper_path(struct error **err) MUST_CHECK;

/* message.c: checks a job and encodes it as a MESSAGE_LAUNCH; `container`: what its image made of
 * it, else NULL. */
struct oci_container;
int launch_check(const struct job *job, struct error **err) MUST_CHECK;
int launch_encode(const struct job *job, const struct oci_container *container, struct buffer *ret,
                  struct error **err) MUST_CHECK;
/* The report's sentences, made from a record. */
void describe_detail(const struct record *record, struct buffer *ret);
void describe_sandbox(const struct record *record, struct buffer *ret);
void describe_weaker(const struct record *record, struct buffer *ret);

/* filter.c: the system-call filter of a box, as a MESSAGE_FILTER ready to send. */
int filter_message(struct buffer *ret, struct error **err) MUST_CHECK;

#endif
