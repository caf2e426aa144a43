/*
 * libjq 1.6 offers no limit on time, but looks at its `halted` flag before every instruction.
 * A timer's thread sets it. What counts is the processor time of the thread that evaluates, which
 * is the one that evaluated first: on a machine that stands still for a while nothing is stopped.
 * Builtins that loop inside one instruction (a regular expression, a very long repeated string)
 * are not reached by this.
 */
#include "pipeline/private-expression.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

struct watchdog {
    jq_state *jq;
    timer_t timer;
    bool has_timer;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool fired;
};

static void on_time(union sigval value) {
    struct watchdog *watchdog = value.sival_ptr;
    pthread_mutex_lock(&watchdog->lock);
    jq_halt(watchdog->jq, jv_null(), jv_null());
    watchdog->fired = true;
    pthread_cond_signal(&watchdog->changed);
    pthread_mutex_unlock(&watchdog->lock);
}

struct watchdog *watchdog_new(jq_state *jq) {
    struct watchdog *watchdog = memory_allocate(sizeof(*watchdog));
    if (!watchdog)
        return NULL;
    watchdog->jq = jq;
    pthread_mutex_init(&watchdog->lock, NULL);
    pthread_cond_init(&watchdog->changed, NULL);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD};
    event.sigev_value.sival_ptr = watchdog;
    event.sigev_notify_function = on_time;
    watchdog->has_timer = timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &watchdog->timer) == 0;
    return watchdog;
}

void watchdog_free(struct watchdog *watchdog) {
    if (!watchdog)
        return;
    if (watchdog->has_timer)
        timer_delete(watchdog->timer);
    pthread_mutex_destroy(&watchdog->lock);
    pthread_cond_destroy(&watchdog->changed);
    memory_free(watchdog);
}

void watchdog_start(struct watchdog *watchdog, int64_t milliseconds) {
    if (!watchdog || !watchdog->has_timer)
        return;
    watchdog->fired = false;
    struct itimerspec time = {
        .it_value = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000}};
    timer_settime(watchdog->timer, 0, &time, NULL);
}

bool watchdog_stop(struct watchdog *watchdog) {
    if (!watchdog || !watchdog->has_timer)
        return false;
    struct itimerspec none = {0}, left = {0};
    timer_settime(watchdog->timer, 0, &none, &left);
    if (left.it_value.tv_sec || left.it_value.tv_nsec)
        return false;
    /* It has expired: its thread is on the way, and must be done before jq is touched again. */
    pthread_mutex_lock(&watchdog->lock);
    while (!watchdog->fired)
        pthread_cond_wait(&watchdog->changed, &watchdog->lock);
    pthread_mutex_unlock(&watchdog->lock);
    return true;
}
