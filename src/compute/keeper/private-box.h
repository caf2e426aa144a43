/* box — the parts of a sealed box and of a container's vessel: the stage that all share, and the
 * root folder of one. */
#ifndef GLOVEBOX_COMPUTE_KEEPER_PRIVATE_BOX_H
#define GLOVEBOX_COMPUTE_KEEPER_PRIVATE_BOX_H

#include "compute/keeper/keeper.h"

#include <sys/stat.h>

enum { NETWORKS_MAXIMUM = 64, OWNERS_MAXIMUM = 16, LINKS_MAXIMUM = 8, MASKS_MAXIMUM = 8 };

struct box {
    bool privileged; /* root: no user namespace, tasks run as another user */
    uid_t caller, user;
    gid_t caller_group, group;
    bool containers; /* a keeper of these: the stage is for vessels, not for boxes */
    bool ranged;     /* whose images have users: theirs begin here, as the keeper sees them */
    uid_t range_user;
    gid_t range_group;
    const char *stage; /* the folder where the stage is mounted, in this mount namespace */
    struct {
        char name[16], target[48];
    } links[LINKS_MAXIMUM]; /* /bin -> usr/bin and so on, as the host has them */
    size_t link_count;
    const char *folders[LINKS_MAXIMUM]; /* staged folders, bound into each root */
    size_t folder_count;
    const char *masks[MASKS_MAXIMUM]; /* files of /proc that are covered */
    size_t mask_count;
    /* User namespaces whose only use is to map owners: they exchange two ids. */
    struct owner {
        uid_t user, other_user;
        gid_t group, other_group;
        int fd;
    } owners[OWNERS_MAXIMUM];
    size_t owner_count;
    int networks[NETWORKS_MAXIMUM]; /* empty net namespaces that no box uses now */
    size_t network_count;
};

/* --- box.c --- */
/* A copy of this process in new namespaces, which holds them until it is killed and never outlives
 * the keeper: its descriptors are the keeper's own, lock and socket among them. 0 in the copy, -1
 * with errno. */
pid_t box_clone_holder(unsigned long namespaces);

/* --- stage.c --- */
/* `runtime`: crun, shown on the stage read-only as "runtime"; NULL in a keeper of boxes. */
int stage_make(struct box *box, const char *runtime);

/* --- network.c --- */
/* An empty net namespace with a raised loopback interface, from the pool or new; -1 with errno.
 * network_give_back() keeps it for the next box when `pristine`, else drops it. */
int network_take(struct box *box);
void network_give_back(struct box *box, int network, bool pristine);
/* In a box's init: whether nothing was ever sent in this namespace. */
bool network_is_pristine(int devices);

/* --- owner.c --- */
/* Who the task of this job is. */
void owner_of_task(const struct box *box, const struct launch *launch, uid_t *ret_user,
                   gid_t *ret_group);
/* Makes the namespaces that the job's mounts need, in the keeper, so that they are made once. */
void owners_prepare(struct box *box, const struct launch *launch);
/* The namespace that shows files of `status`'s owner as the task's own; -1: none is needed;
 * -2: there is none. */
int owner_map(const struct box *box, const struct stat *status, uid_t user, gid_t group);

/* --- users.c --- */
/* Leaves for a user namespace with the caller as root, and the range from 1 on. 1; 0: it is there,
 * but the range could not be mapped; -1: it could not leave. */
int users_enter_namespace(const struct range *range);
/* In a vessel's init: into one more, with the same ids. `self` is the host's /proc/self. */
int users_count_alone(int self);

/* --- root.c --- */
struct root {
    const struct box *box;
    const struct launch *launch;
    struct outcome *outcome;
    int log;
    int fd;                    /* the root folder */
    int trees[MOUNTS_MAXIMUM]; /* detached copies of the job's mounts, -1: a fresh tmpfs */
    int image;                 /* the same of an image's root folder, -1: there is none */
    uid_t user;                /* who the task will be: set by root_make */
    gid_t group;
    bool unmappable; /* owners cannot be mapped here, whatever the job: the caller is the task */
};
/* In the box's init: builds the root folder and moves into it. STAGE_NONE, or where it failed,
 * with errno. */
enum stage root_make(struct root *root);
/* Decides who the task is and takes copies of the job's mounts as that user sees them. */
int root_choose_user(struct root *root);
int root_mount_tmpfs(const char *target, uint64_t size, const char *mode);

/* --- vessel.c --- */
/* In a vessel's init, in place of root_make(): lays out the bundle that crun will run, and makes
 * its folder the working directory. */
enum stage vessel_make(struct root *root);
/* The file in which crun will note the task's process id, opened while this process may do so. */
int vessel_open_number(void);
/* Starts crun there: returns its process id, or -1 with errno. */
pid_t vessel_start(struct keeper *keeper, int log);
/* Waits for crun to start the task and for the task to end; does not return. */
void vessel_wait(struct outcome *outcome, pid_t runtime, int number, int devices);

/* --- box.c, for the inits --- */
void box_fail(struct outcome *outcome, enum stage stage);
void box_add_usage(struct outcome *outcome, const struct rusage *usage);
/* The task has ended: so does the box. */
void box_end(struct outcome *outcome, int status, int devices);

#endif
