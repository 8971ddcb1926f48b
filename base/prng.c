/*
 * prng: see prng.h. The generators are those of Blackman and Vigna; their state is never all zero
 * after splitmix64.
 */
#include "base/prng.h"

#include "base/check.h"

static uint64_t splitmix64(uint64_t *state) {
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

void prng_init(struct prng *prng, uint64_t seed) {
    for (unsigned i = 0; i < 4; i++) {
        prng->state[i] = splitmix64(&seed);
    }
}

static uint64_t rotate_left(uint64_t x, unsigned bits) {
    return x << bits | x >> (64 - bits);
}

uint64_t prng_next(struct prng *prng) {
    uint64_t *const s = prng->state;
    uint64_t const result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t const t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t prng_below(struct prng *prng, uint64_t bound) {
    CHECK(bound != 0);
    uint64_t const unfair = UINT64_MAX - UINT64_MAX % bound;
    uint64_t drawn = prng_next(prng);
    while (drawn >= unfair) {
        drawn = prng_next(prng);
    }
    return drawn % bound;
}

uint64_t prng_between(struct prng *prng, uint64_t first, uint64_t last) {
    CHECK(first <= last && last - first < UINT64_MAX);
    return first + prng_below(prng, last - first + 1);
}

bool prng_chance(struct prng *prng, uint32_t permille) {
    return prng_below(prng, 1000) < permille;
}
