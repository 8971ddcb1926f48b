/*
 * reform: what stories about changes of configuration have in common: a governed cluster, members
 * who propose and vote, and waiting until all are on the other side.
 */
#ifndef ONUS_TESTS_SCENARIOS_REFORM_H
#define ONUS_TESTS_SCENARIOS_REFORM_H

#include "tests/sim/cluster.h"

struct cluster *reform_cluster(uint64_t seed, uint32_t founders, uint32_t spares);

/* Propose, and vote until it passes. Returns: the request with the last vote. */
uint32_t reform_change(struct cluster *c, uint32_t count, const struct action *actions);

/* Until all who are up, and in this configuration or the one before, are in it. */
void reform_run_until_in(struct cluster *c, uint64_t number, uint32_t ms);

/* So many requests, one every two milliseconds. */
void reform_load(struct cluster *c, uint32_t count);

#endif
