/*
 * ledger_read: batches and their certificates from this replica's ledger on the disk (protocol §8).
 * It blocks.
 */
#ifndef ONUS_NODE_LEDGER_READ_H
#define ONUS_NODE_LEDGER_READ_H

#include "ledger/batch.h"
#include "ledger/segment.h"

/*
 * The next batch; new views are passed over. Returns: false at the end, or when they are no batch.
 * A problem is only of the disk.
 */
MUST_USE bool ledger_read_batch(struct batch *batch, struct segment_reader *reader,
                                struct problem *problem);

/*
 * The certificate of batch `seq`, of which `statement` is the pre-prepare, encoded: from the first
 * batch after those read so far that evidences it. Out: out: cleared first; later: that batch.
 * Returns: false when there is none yet.
 */
MUST_USE bool ledger_read_certificate(struct buffer *out, struct batch *later,
                                      struct segment_reader *reader,
                                      const struct signed_body *statement, uint64_t seq,
                                      struct problem *problem);

#endif
