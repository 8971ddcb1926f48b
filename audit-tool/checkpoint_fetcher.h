/*
 * checkpoint_fetcher: demands a checkpoint of the replicas of a service, each demand a signed
 * challenge, and keeps it as a saved state (protocol §7, §10). Who has no ledger from its first
 * batch, because it is long or nobody has it, audits from there.
 *
 * What a replica that joins verifies is verified here, by the same code (consensus/join.h): the
 * checkpoint is one that a quorum signed, and every byte that is kept hashes to it. Nothing is kept
 * of an attempt that does not come to its end; the next one begins anew.
 *
 * Bytes that are not of that checkpoint convict nobody: who sent them is left out, and told.
 */
#ifndef ONUS_AUDIT_TOOL_CHECKPOINT_FETCHER_H
#define ONUS_AUDIT_TOOL_CHECKPOINT_FETCHER_H

#include "audit-tool/fetcher.h"

enum checkpoint_fetch_outcome {
    CHECKPOINT_NOT_FETCHED = 0, /* nothing was tried */
    CHECKPOINT_FETCHED,
    CHECKPOINT_NOT_OFFERED, /* nobody has one that would be of use */
    CHECKPOINT_LATE         /* the deadline came first, or nobody was there who helped */
};

struct checkpoint_fetch {
    enum checkpoint_fetch_outcome outcome;
    struct fetch_mark mark; /* where the ledger behind it begins */
    bool was_asked[REPLICAS_MAX];
    struct fetch_result results[REPLICAS_MAX]; /* of those who were asked; entries are 0 */
};

/*
 * Fetch one. options: as of a fetcher; directory: where the saved state goes, made when needed.
 * stop: asked now and then, true ends it; may be NULL. Blocks. Free out in any case.
 * Returns: 0, or -1 when this end fails (disk, memory).
 */
MUST_USE int checkpoint_fetch_run(struct checkpoint_fetch *out,
                                  const struct fetcher_options *options,
                                  bool (*stop)(void *context), void *context,
                                  struct problem *problem);
void checkpoint_fetch_free(struct checkpoint_fetch *fetch);

#endif
