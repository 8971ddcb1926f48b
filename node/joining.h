/*
 * joining: what joiner.h has written into joining/, on the reader's thread: the state and the end
 * of the ledger of a checkpoint, part by part, and in the end the decision for them.
 */
#ifndef ONUS_NODE_JOINING_H
#define ONUS_NODE_JOINING_H

#include "consensus/join.h"
#include "host/disk.h"
#include "host/state_transfer.h"
#include "ledger/segment.h"

struct node;

struct joining {
    const struct node *node;

    /* private */
    bool failed; /* nothing more is written before it begins anew */
    bool has_ledger;
    bool signed_elsewhere; /* the entries hold this replica's own votes */
    struct host_disk disk;
    struct segment_writer writer;
    struct state_build *build;
    uint64_t state_count;
    struct digest state_root;
};

void joining_init(struct joining *joining, const struct node *node);
/* Close what is open; what was written stays. */
void joining_free(struct joining *joining);

/* The entries that come next hold this replica's own votes. */
void joining_note_own_vote(struct joining *joining);

/*
 * Do what an effect of the join asks for: JOIN_EFFECT_BEGIN, _ITEMS, _LEDGER_BEGIN, _ENTRIES,
 * _COMPLETE (after which joined/ is decided), _NOT_NEEDED (which removes everything). After a
 * failure only the first and the last do anything.
 * Returns: 0, or -1 with a problem.
 */
MUST_USE int joining_carry_out(struct joining *joining, const struct join_effect *effect,
                               struct problem *problem);

#endif
