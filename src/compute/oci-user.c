/* Users of an image: its own /etc/passwd and /etc/group say who they are. The image is a
 * stranger's: its files are opened without leaving its root folder and read within a bound. */
#include "compute/private-oci.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ACCOUNTS_MAXIMUM = 1 << 20 };

/* "" when there is no such file. Links lead where they would inside the container. */
static int read_accounts(const char *root, const char *path, struct buffer *ret,
                         struct error **err) {
    struct open_how how = {.flags = O_PATH | O_CLOEXEC,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    struct stat status;
    char again[64];
    OWN_FD folder = file_open(AT_FDCWD, root, O_RDONLY | O_DIRECTORY, 0, err);
    if (folder < 0)
        return -1;
    OWN_FD fd = (int)syscall(SYS_openat2, folder, path, &how, sizeof(how));
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
                   ? 0
                   : error_set_errno(err, errno, "the image's %s", path);
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
        return 0;
    (void)snprintf(again, sizeof(again), "/proc/self/fd/%d", fd);
    if (file_read_all(AT_FDCWD, again, ACCOUNTS_MAXIMUM, ret, err) < 0)
        return error_wrap(err, "the image's %s", path);
    return 0;
}

/* Takes the next line apart at its colons; false at the end. The text is written to. */
static bool next_account(char **at, const char *fields[7]) {
    while (**at) {
        char *line = *at, *end = line + strcspn(line, "\n");
        *at = *end ? end + 1 : end;
        *end = '\0';
        size_t count = 0;
        for (char *field = line; field && count < 7; count++) {
            fields[count] = field;
            char *colon = strchr(field, ':');
            if (colon)
                *colon++ = '\0';
            field = colon;
        }
        for (size_t i = count; i < 7; i++)
            fields[i] = "";
        if (count >= 3 && fields[0][0])
            return true;
    }
    return false;
}

static bool parse_id(const char *text, uint32_t *ret) {
    int64_t value;
    if (text_parse_integer(text, 0, UINT32_MAX - 1, &value, NULL) < 0)
        return false;
    *ret = (uint32_t)value;
    return true;
}

static bool find_user(char *accounts, const char *name, struct oci_user *ret) {
    const char *fields[7];
    uint32_t wanted = 0, user, group;
    bool number = parse_id(name, &wanted);
    while (next_account(&accounts, fields)) {
        if (!parse_id(fields[2], &user) || !parse_id(fields[3], &group) ||
            !(number ? user == wanted : text_equal(fields[0], name)))
            continue;
        ret->user = user;
        ret->group = group;
        (void)snprintf(ret->name, sizeof(ret->name), "%s", fields[0]);
        if (fields[5][0] == '/' && strlen(fields[5]) < sizeof(ret->home))
            (void)snprintf(ret->home, sizeof(ret->home), "%s", fields[5]);
        return true;
    }
    if (number)
        *ret = (struct oci_user){.user = wanted, .home = "/"};
    return number;
}

static bool find_group(char *accounts, const char *name, uint32_t *ret) {
    const char *fields[7];
    if (parse_id(name, ret))
        return true;
    while (next_account(&accounts, fields)) {
        if (text_equal(fields[0], name) && parse_id(fields[2], ret))
            return true;
    }
    return false;
}

/* Whether `list`, "a,b,c", has the name. */
static bool has_member(const char *list, const char *name) {
    size_t size = strlen(name);
    for (; *list; list += strcspn(list, ","), list += *list == ',') {
        if (strcspn(list, ",") == size && strncmp(list, name, size) == 0)
            return true;
    }
    return false;
}

static void find_memberships(char *accounts, struct oci_user *user) {
    const char *fields[7];
    uint32_t group;
    while (next_account(&accounts, fields)) {
        if (!user->name[0] || !has_member(fields[3], user->name) || !parse_id(fields[2], &group))
            continue;
        if (user->group_count < GROUPS_MAXIMUM)
            user->groups[user->group_count] = group;
        user->group_count += user->group_count <= GROUPS_MAXIMUM;
    }
}

static int refuse(struct error **err, const char *what, const char *name) {
    OWN_BUFFER shown = {0};
    text_append_printable(&shown, name);
    if (name[0] && !name[strspn(name, "0123456789")])
        return error_set(err, ERROR_INVALID,
                         "the image's USER names the %s %.64s, which cannot be mapped: numbers end "
                         "at %u",
                         what, buffer_text(&shown), UINT32_MAX - 1);
    return error_set(err, ERROR_INVALID,
                     "the image's USER names the %s \"%.64s\", which the image does not have", what,
                     buffer_text(&shown));
}

int oci_find_user(const char *root, const char *text, struct oci_user *ret, struct error **err) {
    const char *colon = strchr(text, ':');
    OWN_STRING name = memory_copy_bytes(text, colon ? (size_t)(colon - text) : strlen(text));
    OWN_BUFFER users = {0};
    OWN_BUFFER groups = {0};
    struct oci_user found = {.home = "/"};
    static char none[1];
    if (!name)
        return error_set_memory(err);
    if (read_accounts(root, "etc/passwd", &users, err) < 0)
        return -1;
    if (!find_user(users.data ? users.data : none, name[0] ? name : "0", &found))
        return refuse(err, "user", name);
    bool named = colon && colon[1];
    if (read_accounts(root, "etc/group", &groups, named ? err : NULL) < 0) {
        if (named)
            return -1;
        buffer_clear(&groups);
    }
    if (!named)
        find_memberships(groups.data ? groups.data : none, &found);
    else if (!find_group(groups.data ? groups.data : none, colon + 1, &found.group))
        return refuse(err, "group", colon + 1);
    *ret = found;
    return 0;
}
