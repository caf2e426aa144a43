/* What commands begin with: a home, a run, a pipeline. */
#include "cli/session.h"

#include "cli/crate.h"
#include "cli/terminal.h"
#include "compute/compute.h"
#include "tools/tools.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int session_open(const struct invocation *invocation, enum session_use use, struct engine **ret,
                 struct error **err) {
    OWN_STRING home = engine_default_home(given_value(invocation, "home", NULL), err);
    if (!home)
        return -1;
    struct engine_options options = {
        .home = home, .read_only = use == SESSION_ASK, .make = use == SESSION_MAKE};
    return engine_open(&options, ret, err);
}

int session_open_run(const struct invocation *invocation, enum session_use use, struct engine **ret,
                     char **ret_run, struct error **err) {
    OWN_ENGINE engine = NULL;
    if (session_open(invocation, use, &engine, err) < 0 ||
        engine_find_run(engine, given_argument(invocation, 0), ret_run, err) < 0)
        return -1;
    *ret = take(&engine);
    return 0;
}

/* --------------------------------------------------------------- pipelines */

/* The one that would run images here, or NULL. */
static const struct driver *image_driver(void) {
    const struct driver *const *driver = compute_drivers();
    while (*driver && !(*driver)->runs_images)
        driver++;
    return *driver;
}

struct site {
    const struct policy *policy;
    const char *home;
};

/* An image must be here, and is not looked for anywhere else; an archive is loaded when it is run.
 */
static int site_allows(const void *context, const char *key, const char *value,
                       struct error **err) {
    const struct site *site = context;
    if (!text_equal(key, "image"))
        return policy_allows(site->policy, key, value, err);
    if (*value == '/')
        return file_exists(AT_FDCWD, value)
                   ? 0
                   : error_set(err, ERROR_NOT_FOUND, "there is no archive %s", value);
    const struct driver *driver = image_driver();
    OWN_STRING pinned = NULL;
    if (!driver)
        return 0;
    if (driver->pin(site->home, value, &pinned, err) < 0)
        return -1;
    return policy_check_pinned(site->policy, site->home, value, pinned, err);
}

#define NO_HOME "/nonexistent" /* nobody's, as in a container */

/* Without a home there is still the site's. */
int session_read_policy(const struct invocation *invocation, struct policy **ret,
                        struct error **err) {
    OWN_STRING home = engine_default_home(given_value(invocation, "home", NULL), NULL);
    return policy_read(home ? home : NO_HOME, ret, err);
}

struct pipeline *session_load(const struct invocation *invocation, const char *path,
                              const struct policy *policy, bool only_warn, struct crate *ret_crate,
                              struct diagnostics *diagnostics, struct error **err) {
    OWN_STRING home = engine_default_home(given_value(invocation, "home", NULL), NULL);
    struct site here = {policy, home ? home : NO_HOME};
    struct pipeline_site site = {site_allows, &here, only_warn};
    OWN_MEMORY(const char *) names = memory_array(tool_count, sizeof(*names));
    if (!names) {
        error_set_memory(err);
        return NULL;
    }
    for (size_t i = 0; i < tool_count; i++)
        names[i] = tools[i]->name;
    struct pipeline_options options = {
        .site = policy ? &site : NULL,
        .tools = names,
        .tool_count = tool_count,
        .check_tool = tool_check,
        .can_run_images = image_driver() != NULL,
        .image_remedy = "this version of glovebox has no container driver: install a version that "
                        "has one, or make the step a tool or a command",
        .plugin_folder = given_value(invocation, "plugins", NULL),
    };
    if (!crate_is_one(path))
        return pipeline_load(path, &options, diagnostics, err);
    OWN_CRATE crate = {0};
    if (crate_read(path, &crate, err) < 0)
        return NULL;
    struct pipeline *pipeline = crate_pipeline(&crate, &options, err);
    if (pipeline && ret_crate) {
        *ret_crate = crate;
        crate = (struct crate){0};
    }
    return pipeline;
}

int session_print_diagnostics(const struct invocation *invocation,
                              const struct diagnostics *diagnostics, struct error **err) {
    struct terminal terminal;
    terminal_examine(invocation, STDERR_FILENO, &terminal);
    OWN_BUFFER out = {0};
    diagnostics_print(diagnostics, terminal.colour, &out);
    if (diagnostics->errors > 1)
        buffer_format(&out, "%zu errors\n", diagnostics->errors);
    if (buffer_check(&out, err) < 0)
        return -1;
    (void)fwrite(buffer_text(&out), 1, out.size, stderr);
    return 0;
}

int session_own_program(char *path, size_t size, struct error **err) {
    ssize_t length = readlink("/proc/self/exe", path, size - 1);
    if (length < 0)
        return error_set_errno(err, errno, "cannot read /proc/self/exe");
    path[length] = '\0';
    return 0;
}

/* One line each; names in messages may come from files. */
static void print_line(const char *prefix, const char *text) {
    OWN_BUFFER out = {0};
    buffer_append(&out, prefix);
    text_append_printable(&out, text);
    buffer_append_char(&out, '\n');
    (void)fwrite(buffer_text(&out), 1, out.size, stderr);
}

void session_print_error(const struct error *error) {
    (void)fflush(stdout);
    print_line("glovebox: error: ", error ? error->message : "it failed without saying why");
    if (error && error->hint)
        print_line("hint: ", error->hint);
}
