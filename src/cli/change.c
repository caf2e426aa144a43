/* What the commands that change a run share: who asks, and what came of it. */
#include "cli/change.h"

#include "cli/follow.h"
#include "cli/session.h"
#include "cli/terminal.h"

#include <pwd.h>
#include <unistd.h>

char *change_who(void) {
    struct passwd entry, *found = NULL;
    char space[4096];
    if (getpwuid_r(getuid(), &entry, space, sizeof(space), &found) == 0 && found)
        return memory_copy_string(found->pw_name);
    return memory_format("uid %u", (unsigned)getuid());
}

int change_report(const struct invocation *invocation, const char *run, const char *where,
                  const char *done, struct error **err) {
    if (given_flag(invocation, "json")) {
        OWN_JSON json = json_pack("{s:s, s:s, s:s?}", "run", run, "command",
                                  invocation->command->name, "where", where);
        return json ? print_json(json, false, err) : error_set_memory(err);
    }
    OWN_BUFFER out = {0};
    text_append_printable(&out, run);
    if (where) {
        buffer_append_char(&out, ' ');
        text_append_printable(&out, where);
    }
    buffer_format(&out, ": %s\n", done);
    tell(invocation, "%s", buffer_text(&out));
    return 0;
}

int change_go_on(const struct invocation *invocation, struct engine *engine, const char *run,
                 struct error **err) {
    static const char *const under_way[] = {"planned", "running", "waiting"};
    if (given_flag(invocation, "no-resume") || engine_is_driven(engine))
        return 0;
    OWN_JSON status = engine_status(engine, run, err);
    if (!status)
        return -1;
    const char *state = json_string_value(json_object_get(status, "state"));
    bool goes = false;
    for (size_t i = 0; i < ARRAY_SIZE(under_way); i++)
        goes = goes || text_equal(state, under_way[i]);
    if (!goes)
        return 0;
    if (follow_detach(engine, run, err) < 0)
        return -1;
    tell(invocation, "%s goes on in the background; \"glovebox status %s\" says how far it is\n",
         run, run);
    return 0;
}
