/*
 * derive: what everybody computes the same way from a ledger: the leaves of its trees, and the
 * prepare of a backup from the nonce that it revealed (protocol §3, §4, §8).
 */
#ifndef ONUS_LEDGER_DERIVE_H
#define ONUS_LEDGER_DERIVE_H

#include "base/bytes.h"
#include "ledger/codec.h"

/* The leaf of M for one entry other than a request: its kind and its bytes. */
struct digest ledger_leaf(enum entry_kind kind, struct span payload);

/*
 * The leaf of G for one transaction.
 * request: LABEL_REQUEST_DIGEST of its request; position: of the call in it; index: of the
 * transaction; outcome: LABEL_OUTCOME of its outcome.
 */
struct digest batch_leaf(const struct digest *request, uint32_t position, uint64_t index,
                         const struct digest *outcome);

/* The batch that a prepare is about. */
struct prepared_batch {
    uint64_t config;
    uint64_t view;
    uint64_t seq;
    struct digest digest; /* LABEL_PRE_PREPARE of the pre-prepare with its signature */
};

/*
 * The only prepare for the batch that this replica can have signed, if this nonce is the one that
 * it committed to (§8). For the primary, nonce_hash of the result is what its pre-prepare states.
 */
void prepare_rebuild(struct prepare *out, const struct digest *service,
                     const struct prepared_batch *batch, uint32_t replica,
                     const struct nonce *nonce);

#endif
