/* The process: its descriptors, signals and locale. Everything else is in cli_main(). */
#include "cli/cli.h"

#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* A program started with closed standard descriptors would write its output into the first file
 * that it opens. */
static int fill_standard_descriptors(void) {
    for (int fd = open("/dev/null", O_RDWR); fd >= 0; fd = open("/dev/null", O_RDWR)) {
        if (fd > STDERR_FILENO)
            return close(fd);
    }
    return -1;
}

int main(int argc, char **argv) {
    if (fill_standard_descriptors() < 0)
        return STATUS_FAILED;
    /* A reader that goes away must not kill a program that drives a run: writes say EPIPE. */
    (void)signal(SIGPIPE, SIG_IGN);
    /* Characters only: numbers keep their point. An unknown locale leaves "C". */
    (void)setlocale(LC_CTYPE, "");
    return cli_main(argc, argv);
}
