/*
 * chain_link: one link of the governance chain, made from the ledger on the disk (protocol §9).
 *
 * The configuration's first batch is found by halving, then all its batches are read up to its end:
 * a proposal and its votes may lie anywhere in it. This takes as long as the configuration is
 * large, and memory that does not depend on it. It blocks: for a thread that may. The ledger may
 * grow, and its tail be replaced meanwhile: what was then read wrongly gives a link that does not
 * hold, or none, so the caller judges the link (chain_add), and tries again.
 */
#ifndef ONUS_NODE_CHAIN_LINK_H
#define ONUS_NODE_CHAIN_LINK_H

#include <stdatomic.h>

#include "base/problem.h"
#include "governance/constitution.h"
#include "ledger/disk.h"

struct chain_link_source {
    const struct disk *disk;        /* with the ledger's segments, from genesis on */
    const struct constitution *now; /* of the configuration that the link leads away from */
    uint64_t end_entry;             /* entries that the ledger has, or a few less */
    const _Atomic bool *stopping;   /* end soon, without a link */
};

/*
 * Append the encoded link.
 * Returns: 1; 0 when the ledger does not show yet how the configuration ended, or for `stopping`;
 * -1 with a problem: of the disk or memory, or the ledger is no such thing.
 */
MUST_USE int chain_link_find(struct buffer *out, const struct chain_link_source *source,
                             struct problem *problem);

#endif
