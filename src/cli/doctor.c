/* glovebox doctor */
#include "cli/private-command.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "compute/compute.h"
#include "tools/tools.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

struct examination {
    json_t *checks; /* {name, verdict, finding, remedy} */
    bool missing;
};

static int add(struct examination *examination, const char *name, int verdict, const char *finding,
               const char *remedy, struct error **err) {
    static const char *const verdicts[] = {
        [CHECK_OK] = "ok", [CHECK_LIMITED] = "limited", [CHECK_MISSING] = "missing"};
    json_t *one = json_pack("{s:s, s:s, s:s, s:s?}", "name", name, "verdict", verdicts[verdict],
                            "finding", finding, "remedy", remedy);
    examination->missing = examination->missing || verdict == CHECK_MISSING;
    if (json_array_append_new(examination->checks, one) < 0)
        return error_set_memory(err);
    return 0;
}

/* The deepest folder on the way to `path` that is there. */
static char *existing_part(const char *path) {
    char *part = memory_copy_string(path);
    while (part && part[0] && access(part, F_OK) != 0) {
        char *slash = strrchr(part, '/');
        if (!slash)
            break;
        slash[slash == part ? 1 : 0] = '\0';
    }
    return part;
}

#define SPACE_LOW ((uint64_t)2 << 30)

static int examine_home(struct examination *examination, const char *home, struct error **err) {
    OWN_STRING part = existing_part(home);
    if (!part)
        return error_set_memory(err);
    bool made = text_equal(part, home);
    OWN_STRING remedy =
        memory_format("make %s yours, or choose another with --home or GLOVEBOX_HOME", part);
    OWN_STRING finding = memory_format("%s%s", home, made ? "" : " (not made yet)");
    if (!remedy || !finding)
        return error_set_memory(err);
    bool writable = access(part, W_OK | X_OK) == 0;
    if (add(examination, "home", writable ? CHECK_OK : CHECK_MISSING, finding,
            writable ? NULL : remedy, err) < 0)
        return -1;
    struct statvfs space;
    if (statvfs(part, &space) != 0)
        return add(examination, "space", CHECK_LIMITED, strerror(errno), NULL, err);
    uint64_t available = (uint64_t)space.f_bavail * space.f_frsize;
    OWN_BUFFER text = {0};
    text_format_size(&text, available);
    buffer_format(&text, " free on the file system of the home");
    return add(
        examination, "space", available < SPACE_LOW ? CHECK_LIMITED : CHECK_OK, buffer_text(&text),
        available < SPACE_LOW ? "free some: \"glovebox gc\" drops results that no run needs" : NULL,
        err);
}

/* A wrong clock makes wrong records; only the kernel knows whether somebody disciplines it. */
static int examine_clock(struct examination *examination, struct error **err) {
    char now[CLOCK_TEXT_SIZE];
    clock_format(clock_wall(), now);
    if (text_starts_with(now, "19") || strncmp(now, "2025", 4) < 0)
        return add(examination, "clock", CHECK_MISSING, now, "set the clock of this machine", err);
    struct timex state = {0};
    int verdict = adjtimex(&state);
    bool good = verdict >= 0 && verdict != TIME_ERROR;
    OWN_STRING finding = memory_format("%s%s", now, good ? ", synchronised" : ", not synchronised");
    if (!finding)
        return error_set_memory(err);
    return add(examination, "clock", good ? CHECK_OK : CHECK_LIMITED, finding,
               good ? NULL
                    : "times in records are those of this machine alone: start an NTP "
                      "service, such as chrony, if that matters",
               err);
}

static int examine_tools(struct examination *examination, struct error **err) {
    OWN_STRING finding = memory_format("%zu built in: \"glovebox tool\" lists them", tool_count);
    if (!finding)
        return error_set_memory(err);
    return add(examination, "tools", CHECK_OK, finding, NULL, err);
}

static int examine_policy(struct examination *examination, const char *home, struct error **err) {
    OWN_ERROR problem = NULL;
    OWN_POLICY policy = NULL;
    if (policy_read(home, &policy, &problem) < 0)
        return add(examination, "policy", CHECK_MISSING, problem->message,
                   problem->hint ? problem->hint : "nothing runs before the file is mended", err);
    OWN_STRING finding = policy_describe(policy, err);
    return finding ? add(examination, "policy", CHECK_OK, finding, NULL, err) : -1;
}

static int examine_all(struct examination *examination, const char *home, struct error **err) {
    struct compute_checks checks CLEANUP(compute_checks_release) = {0};
    if (compute_examine(home, &checks, err) < 0)
        return -1;
    for (size_t i = 0; i < checks.count; i++)
        if (add(examination, checks.items[i].name, (int)checks.items[i].verdict,
                checks.items[i].finding, checks.items[i].remedy, err) < 0)
            return -1;
    if (examine_home(examination, home, err) < 0 || examine_policy(examination, home, err) < 0 ||
        examine_clock(examination, err) < 0)
        return -1;
    return examine_tools(examination, err);
}

static int print_for_people(const struct invocation *invocation, const json_t *checks,
                            struct error **err) {
    struct terminal terminal;
    terminal_examine(invocation, STDOUT_FILENO, &terminal);
    unsigned widest = 0, column;
    size_t i;
    const json_t *check;
    json_array_foreach(checks, i, check) {
        unsigned width = (unsigned)strlen(json_get_string(check, "name", ""));
        widest = width > widest ? width : widest;
    }
    column = 2 + widest + 2 + 9;
    OWN_BUFFER out = {0};
    json_array_foreach(checks, i, check) {
        const char *verdict = json_get_string(check, "verdict", "");
        enum style style = text_equal(verdict, "ok")        ? STYLE_GOOD
                           : text_equal(verdict, "limited") ? STYLE_ASK
                                                            : STYLE_BAD;
        buffer_append(&out, "  ");
        text_append_field(&out, json_get_string(check, "name", ""), widest + 2, terminal.unicode);
        style_text(&out, terminal.colour, style, verdict);
        buffer_append_repeat(&out, ' ', 9 - strlen(verdict));
        text_append_wrapped(&out, json_get_string(check, "finding", ""), column, column,
                            terminal.width);
        const char *remedy = json_get_string(check, "remedy", NULL);
        if (remedy) {
            buffer_append_repeat(&out, ' ', column);
            text_append_wrapped(&out, remedy, column, column, terminal.width);
        }
    }
    return print_checked(&out, err);
}

static int handle(const struct invocation *invocation, struct error **err) {
    OWN_STRING home = engine_default_home(given_value(invocation, "home", NULL), err);
    if (!home)
        return -1;
    OWN_JSON checks = json_array();
    struct examination examination = {.checks = checks};
    if (!checks)
        return error_set_memory(err);
    if (examine_all(&examination, home, err) < 0)
        return -1;
    if (given_flag(invocation, "json")) {
        OWN_JSON all = json_pack("{s:b, s:O}", "ready", !examination.missing, "checks", checks);
        if (!all)
            return error_set_memory(err);
        if (print_json(all, false, err) < 0)
            return -1;
    } else if (print_for_people(invocation, checks, err) < 0) {
        return -1;
    }
    return examination.missing ? STATUS_FAILED : STATUS_SUCCEEDED;
}

const struct command command_doctor = {
    .name = "doctor",
    .group = GROUP_HOUSE,
    .summary = "say what of this machine is ready",
    .description =
        "Really tries what running needs: namespaces and the sealed box, control groups for "
        "limits, space, the clock; and reads the policy that holds. Each finding is ok, limited "
        "(it works, with less than it "
        "could) or missing (steps cannot run), with what to do about it. The exit status is 1 "
        "when something is missing.",
    .handle = handle,
};
