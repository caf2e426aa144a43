/* glovebox version */
#include "cli/private-command.h"
#include "cli/terminal.h"

static int handle(const struct invocation *invocation, struct error **err) {
    if (given_flag(invocation, "json")) {
        OWN_JSON json =
            json_pack("{s:s, s:s}", "version", GLOVEBOX_VERSION, "released", GLOVEBOX_RELEASE_DATE);
        if (!json)
            return error_set_memory(err);
        return print_json(json, false, err) < 0 ? -1 : STATUS_SUCCEEDED;
    }
    printf("glovebox %s\n", GLOVEBOX_VERSION);
    return STATUS_SUCCEEDED;
}

const struct command command_version = {
    .name = "version",
    .group = GROUP_HOUSE,
    .summary = "print the version",
    .description = "Prints the version of this program.",
    .handle = handle,
};
