/*
 * bench: one measured run of a workload against a service (docs/performance.md).
 */
#ifndef ONUS_CLIENT_BENCH_H
#define ONUS_CLIENT_BENCH_H

#include "client/onus.h"
#include "client/workload.h"

struct bench_options {
    uint32_t clients; /* requests in flight at any time */
    uint32_t duration_s;
    uint32_t bundle; /* calls of a request */
    enum workload_kind workload;
};

struct bench_result {
    double throughput_tps; /* calls with a verified receipt, a second */
    double latency_p50_ms; /* from submitting to the verified receipt */
    double latency_p99_ms;
    double batch_tx_mean; /* transactions of a batch */
    uint64_t calls;
    uint64_t requests;
    double verify_us; /* one Ed25519 check, measured in the same run */
    double sign_us;
    uint32_t replicas;
    uint32_t quorum;
    uint32_t cores;
    double crypto_bound_tps; /* if the cores did nothing but the signatures the protocol needs */
    double bound_ratio;
};

/*
 * Create the accounts, warm up, measure. The handle is connected, and nothing else uses it.
 * Returns: 0, or -1 with a problem; a request that is not executed is one.
 */
MUST_USE int bench_run(struct bench_result *out, struct onus *onus,
                       const struct configuration *configuration,
                       const struct bench_options *options, struct problem *problem);

#endif
