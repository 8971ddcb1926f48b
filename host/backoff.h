/*
 * backoff: how long to wait before the next attempt to reach somebody: doubling, with half of the
 * time random, so that replicas which lost the same peer do not return in step.
 */
#ifndef ONUS_HOST_BACKOFF_H
#define ONUS_HOST_BACKOFF_H

#include "base/limits.h"
#include "host/random.h"

struct backoff {
    uint32_t delay_ms; /* 0: the last attempt succeeded */
};

/* Forget the failures: call when the link is up. */
static inline void backoff_reset(struct backoff *backoff) {
    backoff->delay_ms = 0;
}

/* Milliseconds to wait after one more failure, at most LINK_RETRY_MS_MAX. */
static inline uint32_t backoff_next_ms(struct backoff *backoff) {
    uint32_t const doubled = backoff->delay_ms * 2;
    backoff->delay_ms = doubled < LINK_RETRY_MS_MIN   ? LINK_RETRY_MS_MIN
                        : doubled > LINK_RETRY_MS_MAX ? LINK_RETRY_MS_MAX
                                                      : doubled;
    uint32_t const half = backoff->delay_ms / 2;
    return half + (uint32_t)(random_u64() % (half + 1));
}

#endif
