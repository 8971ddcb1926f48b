/*
 * from_ledger: certificates and batch trees out of a ledger (protocol §4, §8). The evidence for a
 * batch stands with a later pre-prepare: together with the batch's own it makes the certificate.
 */
#ifndef ONUS_RECEIPTS_FROM_LEDGER_H
#define ONUS_RECEIPTS_FROM_LEDGER_H

#include "ledger/batch.h"
#include "merkle/tree.h"

/*
 * The certificate of batch `seq`, of which `statement` is the pre-prepare, from the batch `later`
 * that evidences it. Spans of the result point into statement and later.
 * Returns: false when `later` does not carry evidence of seq in its place. The certificate is not
 * verified here.
 */
MUST_USE bool certificate_from_ledger(struct certificate *out, const struct signed_body *statement,
                                      uint64_t seq, const struct batch *later);

/*
 * The tree G of a whole batch, made from what its entries state. tree: cleared first.
 * Returns: false when a request does not decode, or memory is short.
 */
MUST_USE bool batch_tree_from_ledger(struct tree *tree, struct arena *arena,
                                     const struct digest *service, const struct batch *batch);

#endif
