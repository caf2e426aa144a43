/* Ids of the host for the users of an image besides its own: ranges that the machine's
 * administrator gave to whoever runs it. */
#include "compute/private-oci.h"

#include "compute/keeper/protocol.h"

#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    RANGES_MAXIMUM = 1 << 20,
    /* For root, where /etc/subuid has nothing for it: the last of those that systemd sets aside for
     * containers, which others take from the front. */
    ROOT_FIRST = 0x6fff0000
};

char *oci_find_program(const char *name) {
    const char *path = getenv("PATH");
    OWN_STRING folders = memory_format("%s:/usr/local/bin:/usr/bin:/usr/local/sbin:/usr/sbin",
                                       path ? path : "/usr/bin");
    char *rest = NULL;
    for (char *folder = folders ? strtok_r(folders, ":", &rest) : NULL; folder;
         folder = strtok_r(NULL, ":", &rest)) {
        OWN_STRING found = folder[0] == '/' ? path_join(folder, name) : NULL;
        if (found && access(found, X_OK) == 0)
            return take(&found);
    }
    return NULL;
}

void oci_range_release(struct oci_range *range) {
    memory_free(range->user_mapper);
    memory_free(range->group_mapper);
    *range = (struct oci_range){0};
}

/* The first id of a large enough range of `owner`, by name or number; 0: there is none. A line is
 * OWNER:FIRST:COUNT. */
static int64_t find_first(const char *path, const char *owner, const char *number) {
    OWN_BUFFER text = {0};
    if (file_read_all(AT_FDCWD, path, RANGES_MAXIMUM, &text, NULL) < 0 || !text.data)
        return 0;
    char *rest = NULL;
    for (char *line = strtok_r(text.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        int64_t first, count;
        char *second = strchr(line, ':'), *third = second ? strchr(second + 1, ':') : NULL;
        if (!third)
            continue;
        *second = *third = '\0';
        if ((text_equal(line, owner) || text_equal(line, number)) &&
            text_parse_integer(second + 1, 1, UINT32_MAX - IMAGE_IDS, &first, NULL) == 0 &&
            text_parse_integer(third + 1, IMAGE_IDS, UINT32_MAX, &count, NULL) == 0)
            return first;
    }
    return 0;
}

static int refuse(struct error **err, const char *what, const char *owner) {
    error_set(err, ERROR_UNSUPPORTED, "\"users: image\" needs %d subordinate ids, and %s",
              IMAGE_IDS, what);
    return error_hint(
        err, "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s", owner);
}

/* Root of a container that is short of ids itself has none to give. */
static bool is_mapped(const char *path, int64_t first) {
    OWN_BUFFER text = {0};
    if (file_read_all(AT_FDCWD, path, RANGES_MAXIMUM, &text, NULL) < 0 || !text.data)
        return false;
    char *rest = NULL;
    for (char *line = strtok_r(text.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *at;
        int64_t begin = strtoll(line, &at, 10);
        (void)strtoll(at, &at, 10);
        int64_t count = strtoll(at, NULL, 10);
        if (first >= begin && first + IMAGE_IDS <= begin + count)
            return true;
    }
    return false;
}

static int find_mappers(struct oci_range *range, struct error **err) {
    range->user_mapper = oci_find_program("newuidmap");
    range->group_mapper = oci_find_program("newgidmap");
    if (range->user_mapper && range->group_mapper)
        return 0;
    error_set(err, ERROR_UNSUPPORTED,
              "\"users: image\" needs newuidmap and newgidmap, which are not installed");
    return error_hint(err, "install them: Debian's package is called uidmap");
}

int oci_find_range(struct oci_range *ret, struct error **err) {
    struct oci_range range CLEANUP(oci_range_release) = {0};
    const struct passwd *account = getpwuid(geteuid());
    char number[16];
    (void)snprintf(number, sizeof(number), "%u", geteuid());
    OWN_STRING owner = memory_copy_string(account ? account->pw_name : number);
    if (!owner)
        return error_set_memory(err);
    int64_t user = find_first("/etc/subuid", owner, number);
    int64_t group = find_first("/etc/subgid", owner, number);
    bool root = geteuid() == 0;
    if (root && !(user && group))
        user = group = ROOT_FIRST;
    if (!user || !group)
        return refuse(
            err, user ? "/etc/subgid gives this user none" : "/etc/subuid gives this user none",
            owner);
    if (!root && find_mappers(&range, err) < 0)
        return -1;
    if (root && !(is_mapped("/proc/self/uid_map", user) && is_mapped("/proc/self/gid_map", group)))
        return refuse(err, "those of root are not there, in this container or user namespace",
                      owner);
    range.user = (uint32_t)user;
    range.group = (uint32_t)group;
    /* An ordinary user's keeper sees them right after itself. */
    range.seen_user = root ? range.user : 1;
    range.seen_group = root ? range.group : 1;
    *ret = range;
    range = (struct oci_range){0};
    return 0;
}
