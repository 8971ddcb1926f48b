/*
 * scripted: requests and batches as correct replicas make them, with real keys, for tests that then
 * lose, reorder or falsify what comes of them. Four replicas; replica 0 is the primary.
 */
#ifndef ONUS_TESTS_UNIT_SCRIPTED_H
#define ONUS_TESTS_UNIT_SCRIPTED_H

#include "ledger/configuration.h"
#include "ledger/wire.h"
#include "merkle/tree.h"

#define N 4u
#define PRIMARY 0u
#define BATCH_REQUESTS_MAX 8u

extern struct configuration configuration;

/* Make the keys and the configuration, number 1. */
void scripted_init(void);
/* Go on to the next configuration: replica 3 gives its place to another one. */
void scripted_go_on(void);

struct test_request {
    struct buffer bytes;
    struct arena arena;
    struct request request;
};

/* A request of so many kv.put calls; `nonce` tells it from others. */
void request_make(struct test_request *out, uint32_t call_count, uint8_t nonce);
void request_free(struct test_request *request);

/* One batch, and what each replica says about it. */
struct test_batch {
    struct pre_prepare pre_prepare;
    struct buffer body;
    struct signature signature;
    struct digest digest;
    struct signature votes[N]; /* the primary's is that of the pre-prepare */
    struct nonce nonces[N];
    uint32_t count;
    struct request_result results[BATCH_REQUESTS_MAX];
    struct digest flanks[BATCH_REQUESTS_MAX][MERKLE_RANGE_PROOF_MAX];
    struct span outcomes[CALLS_MAX]; /* the same for all calls */
    struct buffer outcome;
};

/* A batch of the configuration of these requests, every call ending with `ok`. Results point into
 * the struct. */
void batch_make(struct test_batch *batch, uint64_t seq, uint64_t first_index,
                struct test_request *const *requests, uint32_t count);
void batch_free(struct test_batch *batch);
/* Append the certificate by replicas 0, 1 and 2. */
void batch_certificate(const struct test_batch *batch, struct buffer *out);

#endif
