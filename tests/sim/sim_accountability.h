/*
 * sim_accountability: the phase of the simulator in which more replicas lie than the protocol
 * withstands, and the auditor must convict them (docs/testing.md). Rows of the table are by number
 * of replicas and of liars; row 0 is of the runs in which nobody did anything wrong.
 */
#ifndef ONUS_TESTS_SIM_SIM_ACCOUNTABILITY_H
#define ONUS_TESTS_SIM_SIM_ACCOUNTABILITY_H

#include "tests/sim/simulation.h"

#define ACCOUNT_REPLICAS_MAX 7u

struct account_row {
    uint64_t runs;
    uint64_t failed;
    struct account_result sum;
};

struct account_table {
    struct account_row rows[ACCOUNT_REPLICAS_MAX + 1][ACCOUNT_REPLICAS_MAX + 1];
    uint64_t kinds[PROOF_KIND_END];
};

/* As simulation_run. options->replicas: at most ACCOUNT_REPLICAS_MAX; byzantine: any number. */
void accountability_run(struct sim_result *result, const struct sim_options *options);

void account_add(struct account_table *table, const struct sim_result *result);
void account_print(const struct account_table *table);

#endif
