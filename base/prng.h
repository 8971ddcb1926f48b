/*
 * prng: pseudo-random numbers from a seed, for tests and simulations only: the same seed gives the
 * same numbers on every machine. Never for keys, nonces or anything that must not be guessed.
 */
#ifndef ONUS_BASE_PRNG_H
#define ONUS_BASE_PRNG_H

#include <stdbool.h>
#include <stdint.h>

/* xoshiro256**, seeded through splitmix64. Plain memory: copy it to fork it. */
struct prng {
    uint64_t state[4];
};

void prng_init(struct prng *prng, uint64_t seed);
uint64_t prng_next(struct prng *prng);
/* Evenly from 0 to bound - 1; bound is not 0. */
uint64_t prng_below(struct prng *prng, uint64_t bound);
/* Evenly from first to last, both included. */
uint64_t prng_between(struct prng *prng, uint64_t first, uint64_t last);
/* True in `permille` of 1000 cases. */
bool prng_chance(struct prng *prng, uint32_t permille);

#endif
