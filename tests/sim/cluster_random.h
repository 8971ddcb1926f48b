/*
 * cluster_random: one run of a cluster under faults drawn from its seed: first anything may go
 * wrong, then everything heals and all that is pending must be receipted (see cluster.h).
 */
#ifndef ONUS_TESTS_SIM_CLUSTER_RANDOM_H
#define ONUS_TESTS_SIM_CLUSTER_RANDOM_H

#include "tests/sim/cluster.h"

/* What happened in a run, to sum up. */
struct random_summary {
    uint64_t batches;
    uint64_t requests;
    uint64_t crashes;
    uint64_t cuts;
    uint64_t lies;
    uint64_t frames;
    uint64_t simulated_ms;
    struct digest trace_hash;
};

/* Fails, with the seed, when anything does not hold. */
struct random_summary cluster_random_run(uint64_t seed);

#endif
