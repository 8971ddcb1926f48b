/*
 * clock: the two clocks of the machine. The pure rooms get time only through events.
 */
#ifndef ONUS_HOST_CLOCK_H
#define ONUS_HOST_CLOCK_H

#include <stdint.h>
#include <time.h>

#include "base/check.h"

static inline uint64_t clock_read_ms(clockid_t clock) {
    struct timespec now;
    CHECK(clock_gettime(clock, &now) == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Milliseconds since some fixed point; never runs back. For timeouts and measurements. */
static inline uint64_t clock_monotonic_ms(void) {
    return clock_read_ms(CLOCK_MONOTONIC);
}

/* The same in microseconds: for measurements. */
static inline uint64_t clock_monotonic_us(void) {
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Milliseconds since 1970, as the machine believes. For the time in pre-prepares and logs. */
static inline uint64_t clock_wall_ms(void) {
    return clock_read_ms(CLOCK_REALTIME);
}

#endif
