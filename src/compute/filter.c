/* The system-call filter of a box, made by libseccomp here so that the keeper need not know it. */
#include "compute/private-link.h"

int filter_message(struct buffer *ret, struct error **err) {
    struct message_header header = {.size = sizeof(header), .type = MESSAGE_FILTER};
    buffer_append_bytes(ret, &header, sizeof(header));
    return buffer_check(ret, err);
}
