/* The table. Its order is the order of the help, the manual and the documents. */
#include "cli/private-command.h"

const struct command *const command_table[] = {
    /* GROUP_PIPELINE */
    &command_run,
    &command_check,
    &command_graph,
    &command_schema,
    /* GROUP_ASK */
    &command_runs,
    &command_status,
    &command_tasks,
    &command_logs,
    &command_why,
    /* GROUP_CHANGE */
    &command_decide,
    &command_retry,
    &command_restart,
    &command_cancel,
    &command_pause,
    &command_resume,
    &command_skip,
    &command_succeed,
    &command_report,
    /* GROUP_IMAGE */
    &command_image_pull,
    &command_image_load,
    &command_image_save,
    &command_image_list,
    &command_image_show,
    &command_image_verify,
    &command_image_remove,
    &command_image_gc,
    &command_image_plugin,
    /* GROUP_HOUSE */
    &command_tool,
    &command_doctor,
    &command_remove,
    &command_gc,
    &command_help,
    &command_version,
    /* hidden */
    &command_completion,
    &command_drive,
};
const size_t command_count = ARRAY_SIZE(command_table);

const struct option_entry global_options[] = {
    {.name = "home",
     .value = "DIR",
     .complete = COMPLETE_DIRECTORY,
     .help = "keep runs, logs and results here, instead of $GLOVEBOX_HOME or "
             "~/.local/share/glovebox"},
    {.name = "json", .help = "print JSON, as doc/json.md describes it"},
    {.name = "verbose", .letter = 'v', .help = "say more; twice: say everything", .repeats = true},
    {.name = "quiet", .letter = 'q', .help = "say nothing but what was asked for, and errors"},
    {.name = "color",
     .value = "WHEN",
     .choices = "auto always never",
     .help = "use colours; auto: on a terminal, unless NO_COLOR is set"},
    {.name = "help", .letter = 'h', .help = "explain the command and end"},
    {.name = "version", .help = "print the version and end"},
};
const size_t global_option_count = ARRAY_SIZE(global_options);

const char *command_group_title(enum command_group group) {
    static const char *const titles[GROUP_COUNT] = {
        [GROUP_PIPELINE] = "Write and run pipelines",
        [GROUP_ASK] = "See what happens",
        [GROUP_CHANGE] = "Step in",
        [GROUP_IMAGE] = "Keep container images",
        [GROUP_HOUSE] = "Keep house",
    };
    return titles[group];
}

const struct command *command_find(const char *name) {
    for (size_t i = 0; i < command_count; i++)
        if (text_equal(command_table[i]->name, name))
            return command_table[i];
    return NULL;
}

const struct command *command_family(const char *word) {
    size_t size = strlen(word);
    for (size_t i = 0; i < command_count; i++)
        if (text_starts_with(command_table[i]->name, word) && command_table[i]->name[size] == ' ')
            return command_table[i];
    return NULL;
}

char *command_word(const struct command *command) {
    char *word = memory_copy_string(command->name);
    for (char *at = word; at && *at; at++)
        *at = *at == ' ' ? '-' : *at;
    return word;
}

const char program_summary[] = "run medical-imaging pipelines where the images are";

const char program_description[] =
    "Glovebox runs a pipeline, a YAML file of steps, over images that must not leave the place "
    "they are in. Each step runs in a sealed box: no network, inputs read-only, nothing kept but "
    "what it writes to its output. Runs are durable: whatever dies, the next command goes on where "
    "things stood, and work that was done before is not done again.\n"
    "\n"
    "A RUN is named by its name (covidnet-7), a beginning of it that no other run has, its number "
    "(7), or the word last. A task is named STEP or, in a step that fans out, STEP@PARTITION.";

const struct status_text status_texts[] = {
    {STATUS_SUCCEEDED, "It succeeded."},
    {STATUS_FAILED, "The run failed or was cancelled, or the command could not do its work."},
    {STATUS_USAGE, "The command line is wrong."},
    {STATUS_INVALID, "The pipeline, its parameters or its inputs are invalid or unreadable; "
                     "nothing was started."},
    {STATUS_WAITING, "The run waits for a person: for a decision, or, when it was paused, for "
                     "glovebox resume."},
    {130, "A foreground run was left by Ctrl-C (129: terminal closed, 143: terminated). Its "
          "running tasks go on; glovebox resume takes it up again."},
};
const size_t status_text_count = ARRAY_SIZE(status_texts);

const struct named_pair environment_texts[] = {
    {"GLOVEBOX_HOME", "The home, when --home is not given."},
    {"XDG_DATA_HOME", "The home is its folder glovebox, when GLOVEBOX_HOME is not set."},
    {"NO_COLOR", "When set and not empty: no colours, unless --color=always."},
    {"COLUMNS", "The width to fit output to, when it is not a terminal that says so itself."},
};
const size_t environment_text_count = ARRAY_SIZE(environment_texts);

const struct named_pair file_texts[] = {
    {"~/.local/share/glovebox", "The home: the database, and runs/NAME for each run."},
    {"HOME/images", "Container images: glovebox image."},
    {"HOME/runs/NAME/drive.log", "What a run said that was started with --detach."},
    {"/etc/glovebox/policy.json", "What the site allows. A HOME/policy.json may only be stricter."},
};
const size_t file_text_count = ARRAY_SIZE(file_texts);
