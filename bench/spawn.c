/* The least that starting processes costs: COUNT times `true`, PARALLEL at a time, by posix_spawn
 * and wait, without a shell, a log or a memory of it. bench-spawn COUNT PARALLEL [PROGRAM] */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

extern char **environ;

int main(int argc, char **argv) {
    long count = argc > 1 ? strtol(argv[1], NULL, 10) : 10000;
    long parallel = argc > 2 ? strtol(argv[2], NULL, 10) : 2;
    char *program = argc > 3 ? argv[3] : (char[]){"/bin/true"};
    char *arguments[] = {program, NULL};
    long running = 0, failed = 0;
    for (long started = 0; started < count || running;) {
        int status;
        if (started < count && running < parallel) {
            if (posix_spawn(&(pid_t){0}, program, NULL, NULL, arguments, environ) != 0)
                return 1;
            started++;
            running++;
        } else if (wait(&status) > 0) {
            running--;
            failed += status != 0;
        }
    }
    if (failed)
        (void)fprintf(stderr, "%ld failed\n", failed);
    return failed != 0;
}
