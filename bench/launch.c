/* Launches N no-ops through the driver and prints the seconds it took:
 *   bench-launch plain|box[-limited] N PARALLEL [PROGRAM]
 *   bench-launch container[-limited] N PARALLEL PROGRAM HOME IMAGE
 * HOME: where the image is. The last line has the times of single launches, from the call of the
 * driver to the report of the end, in ms. */
#include "compute/compute.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

struct bench {
    const struct driver *driver;
    struct compute *compute;
    enum box_mode box;
    bool limited;
    const char *program, *work, *image;
    int64_t *times; /* of each: when it was launched, then how long it took, in us */
    long next, total, ended, failed;
    int64_t cpu;
};

static void launch_next(struct bench *bench) {
    if (bench->next == bench->total)
        return;
    char name[32], log[4096];
    bench->times[bench->next] = clock_monotonic_us();
    (void)snprintf(name, sizeof(name), "noop-%ld", bench->next++);
    (void)snprintf(log, sizeof(log), "%s/%s.log", bench->work, name);
    const char *const arguments[] = {bench->program, NULL};
    static const struct compute_limits limits = {.cpus = 1, .memory = 1 << 30, .processes = 100};
    struct job job = {.name = name,
                      .image = bench->image,
                      .arguments = arguments,
                      .work = bench->work,
                      .log = log,
                      .limits = bench->limited ? limits : (struct compute_limits){0},
                      .box = bench->box};
    OWN_ERROR error = NULL;
    if (bench->driver->launch(bench->compute, &job, &error) < 0) {
        (void)fprintf(stderr, "%s\n", error->message);
        exit(1);
    }
}

static void exited(void *context, const struct exit_report *report) {
    struct bench *bench = context;
    if (report->cause != CAUSE_NONE && bench->failed++ == 0)
        (void)fprintf(stderr, "%s: %s %s\n", report->name, cause_name(report->cause),
                      report->detail);
    int64_t *time = &bench->times[strtol(report->name + 5, NULL, 10)];
    *time = clock_monotonic_us() - *time;
    bench->cpu += report->cpu_user + report->cpu_system;
    bench->driver->forget(bench->compute, report->name);
    bench->ended++;
    launch_next(bench);
    (void)bench->driver->flush(bench->compute, NULL);
}

static void troubled(void *context, const char *message) {
    (void)fprintf(stderr, "troubled: %s\n", message);
}

static int compare(const void *a, const void *b) {
    const int64_t *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

/* The home's images are seen in the bench's own home. */
static int show_images(const char *from, const char *home) {
    OWN_STRING images = path_join(from, "images");
    OWN_STRING here = path_join(home, "images");
    return images && here ? symlink(images, here) : -1;
}

int main(int argc, char **argv) {
    int64_t total, parallel;
    OWN_ERROR error = NULL;
    if (argc < 4 || text_parse_integer(argv[2], 1, 1000000, &total, &error) < 0 ||
        text_parse_integer(argv[3], 1, 1000, &parallel, &error) < 0) {
        (void)fprintf(stderr, "usage: bench-launch plain|box[-limited] N PARALLEL [PROGRAM]\n");
        return 2;
    }
    const char *folder = getenv("TMPDIR");
    OWN_STRING home = path_join(folder ? folder : "/tmp", "bench-launch-XXXXXX");
    if (!home || !mkdtemp(home))
        return 1;
    if (argc > 6 && show_images(argv[5], home) < 0)
        return 1;
    OWN_MEMORY(int64_t) times = memory_array((size_t)total, sizeof(int64_t));
    OWN_STRING work = path_join(home, "work");
    if (!times || directory_make(AT_FDCWD, work, 0700, &error) < 0)
        return 1;
    uv_loop_t loop;
    (void)uv_loop_init(&loop);
    struct bench bench = {.driver = compute_driver("process"),
                          .box = text_starts_with(argv[1], "box") ? BOX_SEALED : BOX_OFF,
                          .limited = text_ends_with(argv[1], "-limited"),
                          .program = argc > 4 ? argv[4] : "true",
                          .image = argc > 6 ? argv[6] : NULL,
                          .times = times,
                          .work = work,
                          .total = total};
    struct compute_host host = {
        .loop = &loop, .home = home, .context = &bench, .exited = exited, .troubled = troubled};
    int64_t start = clock_monotonic_us();
    if (bench.driver->open(&host, &bench.compute, &error) < 0) {
        (void)fprintf(stderr, "%s\n", error->message);
        return 1;
    }
    for (int64_t i = 0; i < parallel; i++)
        launch_next(&bench);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    int64_t elapsed = clock_monotonic_us() - start;
    bench.driver->close(bench.compute);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop);
    printf("%s\t%ld jobs\t%.2f s\t%.3f ms each\ttask cpu %.3f ms each\tfailed %ld\n", argv[1],
           bench.ended, (double)elapsed / 1e6, (double)elapsed / 1e3 / (double)bench.total,
           (double)bench.cpu / 1e3 / (double)bench.total, bench.failed);
    qsort(times, (size_t)total, sizeof(*times), compare);
    printf("p50 %.2f p99 %.2f\n", (double)times[total / 2] / 1e3,
           (double)times[total * 99 / 100] / 1e3);
    if (tree_remove(AT_FDCWD, home, &error) < 0)
        return 1;
    return bench.failed != 0 || bench.ended != bench.total;
}
