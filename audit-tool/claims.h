/*
 * claims: what the receipts at hand claim, one line for each certificate: that this batch stands in
 * the ledger under this number (protocol §10 steps 1 and 2). A receipt's own contents are bound to
 * its batch by Merkle paths, so that holding the batches against the ledger reconciles them all.
 */
#ifndef ONUS_AUDIT_TOOL_CLAIMS_H
#define ONUS_AUDIT_TOOL_CLAIMS_H

#include "receipts/receipt.h"

struct claim {
    uint64_t view;
    uint64_t seq;
    struct digest digest; /* of the pre-prepare */
    uint64_t receipts;    /* how many make it */
    uint64_t index_first; /* the least transaction index among them */
    uint64_t index_last;  /* the greatest */
    size_t offset;        /* of the encoded certificate */
    size_t size;
};

struct claims {
    struct buffer list;  /* of struct claim */
    struct buffer bytes; /* their certificates */
};

void claims_init(struct claims *claims);
void claims_free(struct claims *claims);

/* Add a verified receipt. Returns: false when memory is short. */
MUST_USE bool claims_add(struct claims *claims, const struct verified_batch *batch,
                         const struct receipt *receipt);
/* Sort by view, sequence number and digest, and join what says the same. */
void claims_sort(struct claims *claims);

uint64_t claims_count(const struct claims *claims);
const struct claim *claims_at(const struct claims *claims, uint64_t nth);
/* The encoded certificate; valid until the next add. */
struct span claims_certificate(const struct claims *claims, const struct claim *claim);
/* The claim about this very batch, or NULL. The claims must be sorted. */
const struct claim *claims_find(const struct claims *claims, uint64_t view, uint64_t seq,
                                const struct digest *digest);

#endif
