/* Wall and monotonic time, and times as people and records write them. */
#include "base/base.h"

#include <time.h>

static int64_t read_clock(clockid_t id, int64_t per_second) {
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * per_second + now.tv_nsec / (1000000000 / per_second);
}

int64_t clock_wall(void) {
    return read_clock(CLOCK_REALTIME, 1000);
}
int64_t clock_monotonic(void) {
    return read_clock(CLOCK_MONOTONIC, 1000);
}
int64_t clock_monotonic_us(void) {
    return read_clock(CLOCK_MONOTONIC, 1000000);
}

void clock_format(int64_t wall, char text[CLOCK_TEXT_SIZE]) {
    int64_t milliseconds = wall % 1000;
    if (milliseconds < 0)
        milliseconds += 1000;
    time_t seconds = (time_t)((wall - milliseconds) / 1000);
    struct tm parts;
    if (!gmtime_r(&seconds, &parts) || parts.tm_year > 8099)
        memset(&parts, 0, sizeof(parts));
    size_t size = strftime(text, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(text + size, CLOCK_TEXT_SIZE - size, ".%03dZ", (int)milliseconds);
}
