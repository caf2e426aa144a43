/* glovebox schema */
#include "cli/private-command.h"
#include "cli/terminal.h"
#include "pipeline/pipeline.h"

static int handle(const struct invocation *invocation, struct error **err) {
    OWN_JSON schema = pipeline_schema(err);
    if (!schema)
        return -1;
    return print_json(schema, false, err) < 0 ? -1 : STATUS_SUCCEEDED;
}

const struct command command_schema = {
    .name = "schema",
    .group = GROUP_PIPELINE,
    .summary = "print the JSON Schema of the pipeline language",
    .description = "Prints the JSON Schema (2020-12) of pipeline files, made from the same table "
                   "that check uses. Editors complete and check pipelines with it.",
    .examples = "# Let an editor's YAML language server know it\n"
                "glovebox schema > ~/.config/glovebox.schema.json\n",
    .handle = handle,
};
