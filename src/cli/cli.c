/* From argv to an exit status. */
#include "cli/cli.h"
#include "cli/private-command.h"
#include "cli/session.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

static int status_of(const struct error *error) {
    return error && error->code == ERROR_USAGE ? STATUS_USAGE : STATUS_FAILED;
}

static void configure_log(const struct invocation *invocation) {
    enum log_level level = LOG_WARNING;
    for (size_t i = 0; i < invocation->option_count; i++)
        if (text_equal(invocation->options[i].option->name, "verbose"))
            level = level == LOG_WARNING ? LOG_INFO : LOG_DEBUG;
    if (given_flag(invocation, "quiet"))
        level = LOG_ERROR;
    log_configure(level, false, STDERR_FILENO);
}

/* errno is gone when an earlier write failed and nothing was left to be flushed. */
static bool reader_left(void) {
    struct pollfd output = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&output, 1, 0) > 0 && (output.revents & (POLLERR | POLLHUP));
}

/* What was asked for must have arrived: a full disk is a failure, a reader that left is one too,
 * but not worth a message. */
static int finish_output(int status) {
    bool bad = ferror(stdout) != 0;
    errno = 0;
    bad = fflush(stdout) != 0 || bad;
    if (!bad)
        return status;
    if (errno != EPIPE && !(errno == 0 && reader_left())) {
        OWN_ERROR error = NULL;
        error_set_errno(&error, errno ? errno : EIO, "cannot write to standard output");
        session_print_error(error);
    }
    return status == STATUS_SUCCEEDED ? STATUS_FAILED : status;
}

int cli_main(int argc, char **argv) {
    OWN_ERROR error = NULL;
    struct invocation invocation CLEANUP(invocation_release) = {0};
    if (invocation_parse(argc, argv, &invocation, &error) < 0) {
        session_print_error(error);
        return status_of(error);
    }
    configure_log(&invocation);
    int status = invocation.command->handle(&invocation, &error);
    if (status < 0) {
        /* finish_output() tells of output that did not arrive */
        if (!ferror(stdout) || !error || error->code != ERROR_IO)
            session_print_error(error);
        status = status_of(error);
    }
    return finish_output(status);
}
