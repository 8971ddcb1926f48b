/*
 * target: what is fuzzed: one entry point in each fuzz_*.c, called with anything at all. It runs
 * under libFuzzer (./dev fuzz), and as a plain program over samples and their mutations.
 */
#ifndef ONUS_TESTS_FUZZ_TARGET_H
#define ONUS_TESTS_FUZZ_TARGET_H

#include "tests/forge/consortium.h"

/* Returns: 0, always. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The service of the samples, founded at the first call. */
const struct consortium *target_consortium(void);

#endif
