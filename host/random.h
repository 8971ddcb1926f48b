/*
 * random: unpredictable bytes from the kernel, through libsodium. Safe from any thread.
 */
#ifndef ONUS_HOST_RANDOM_H
#define ONUS_HOST_RANDOM_H

#include <sodium.h>
#include <stdint.h>

static inline void random_bytes(void *out, size_t size) {
    randombytes_buf(out, size);
}

static inline uint64_t random_u64(void) {
    uint64_t value;
    randombytes_buf(&value, sizeof value);
    return value;
}

#endif
