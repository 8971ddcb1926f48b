/*
 * checkpoint_store: the checkpoint that onus-audit fetch begins with, as a saved state in a
 * directory that onus-audit run takes as --state (docs/formats.md §12).
 */
#ifndef ONUS_AUDIT_TOOL_CHECKPOINT_STORE_H
#define ONUS_AUDIT_TOOL_CHECKPOINT_STORE_H

#include "audit-tool/fetch_store.h"
#include "audit-tool/spill.h"
#include "host/genesis_file.h"

/* Bytes of a state that is fetched; each of them hashes to what a quorum signed. */
#define CHECKPOINT_STATE_SIZE_MAX ((size_t)64 << 30)

/* What was verified, all of it (consensus/join.h). */
struct checkpoint_parts {
    uint64_t seq;
    uint64_t item_count;
    struct span snapshot; /* encoded, with its window */
    struct span items;    /* as saved_state_item makes them */
};

/*
 * The oldest checkpoint in a directory, which may be missing. Out: where the ledger behind it
 * begins. Returns: 1; 0: there is none; -1 with a problem.
 */
MUST_USE int checkpoint_store_find(struct fetch_mark *out, const char *directory,
                                   const struct founding *founding, struct problem *problem);

/*
 * Put down the governance chain (receipts/chain.h) that leads to the configuration of a checkpoint,
 * before that one. A longer one that lies there stays; the directory is made. Returns: 0 or -1.
 */
MUST_USE int checkpoint_store_write_chain(const char *directory, struct span chain,
                                          struct problem *problem);
/* Write a checkpoint: it appears whole, or not at all. The directory is made. Returns: 0 or -1. */
MUST_USE int checkpoint_store_write(const char *directory, const struct founding *founding,
                                    const struct checkpoint_parts *parts, struct problem *problem);

#endif
