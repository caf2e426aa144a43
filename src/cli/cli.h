/*
 * cli — the command line: a table of commands, one file a command, and what they print.
 *
 * The table (private-command.h, commands.c) is the one truth about what can be typed. Parsing,
 * `--help`, the manual pages, bash completion and doc/commands.md are all made from it.
 *
 * Standard output carries what was asked for and nothing else; progress, errors and hints go to
 * standard error. An error is printed once, here, by cli_main(): libraries below only return it.
 */
#ifndef GLOVEBOX_CLI_H
#define GLOVEBOX_CLI_H

/* Exit statuses, the same for every command. */
enum exit_status {
    STATUS_SUCCEEDED = 0,
    STATUS_FAILED = 1,  /* the run failed, or the command could not do its work */
    STATUS_USAGE = 2,   /* the command line is wrong */
    STATUS_INVALID = 3, /* the pipeline, its parameters or its inputs are invalid or unreadable */
    STATUS_WAITING = 4, /* stopped while waiting for a person's decision */
    /* 128 + the number of the signal that interrupted a foreground run */
};

/* Parses the command line, runs the command, prints its error if it has one. Returns the exit
 * status. The caller has prepared locale, signals and standard descriptors. */
int cli_main(int argc, char **argv);

#endif
