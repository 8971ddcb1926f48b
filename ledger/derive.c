/*
 * derive: see derive.h. Pure functions of their arguments.
 */
#include "ledger/derive.h"

#include "merkle/frontier.h"

struct digest ledger_leaf(enum entry_kind kind, struct span payload) {
    uint8_t const tag = (uint8_t)kind;
    return merkle_leaf_hash_pair(span_of(&tag, 1), payload);
}

struct digest batch_leaf(const struct digest *request, uint32_t position, uint64_t index,
                         const struct digest *outcome) {
    uint8_t data[DIGEST_SIZE + 4 + 8 + DIGEST_SIZE];
    memcpy(data, request->bytes, DIGEST_SIZE);
    store_u32_be(data + DIGEST_SIZE, position);
    store_u64_be(data + DIGEST_SIZE + 4, index);
    memcpy(data + DIGEST_SIZE + 12, outcome->bytes, DIGEST_SIZE);
    return merkle_leaf_hash(span_of(data, sizeof data));
}

void prepare_rebuild(struct prepare *out, const struct digest *service,
                     const struct prepared_batch *batch, uint32_t replica,
                     const struct nonce *nonce) {
    *out = (struct prepare){
        .config = batch->config,
        .view = batch->view,
        .seq = batch->seq,
        .replica = replica,
        .pre_prepare_digest = batch->digest,
        .nonce_hash = nonce_commit(service, batch->config, replica, batch->view, batch->seq, nonce),
    };
}
