#include "compute/keeper/keeper.h"
#include <errno.h>
struct box *box_open(struct groups **groups, const char **reason) {
    *reason = "not built yet";
    return NULL;
}
pid_t box_start(struct keeper *keeper, struct job *job) {
    errno = ENOSYS;
    return -1;
}
