/*
 * older_ledger: what a replica that began with a checkpoint has of the ledger before it (protocol
 * §7): older/ledger and older/state, and the second reading (execution/history.h) that fills them.
 *
 * Everything that is kept stood: signatures, rules, outcomes, checkpoint digests. It blocks; one
 * thread at a time, but for the flag `stopping`. Problems are of the disk or of memory; what peers
 * gave is only ever good or not.
 */
#ifndef ONUS_NODE_OLDER_LEDGER_H
#define ONUS_NODE_OLDER_LEDGER_H

#include <stdatomic.h>

#include "execution/history.h"
#include "host/disk.h"
#include "host/state_store.h"
#include "ledger/segment.h"
#include "node/range_piece.h"

struct node;
struct older_era;

struct older_ledger {
    const struct node *node;
    _Atomic bool stopping; /* any thread: have what is under way end soon, unfinished */

    /* private */
    bool is_open;
    struct host_disk disk;
    struct segment_writer writer;
    struct state_store *store;
    struct state_base base;
    struct older_era *era; /* in which history began; NULL: closed */
    struct history *history;
    /* what came holds this replica's own votes: that is written down, and to be told the replica */
    bool signed_elsewhere;
};

/*
 * Open older/, and bring the reading to where it stood. Damage is logged, and has it begin anew.
 * Returns: 0, or -1 with a problem; close it in either case.
 */
MUST_USE int older_ledger_open(struct older_ledger *older, struct problem *problem);
void older_ledger_close(struct older_ledger *older);

/* The first entry that is missing; at most where the replica's own ledger begins. */
uint64_t older_ledger_next(const struct older_ledger *older);

/*
 * Judge a range, and keep what stands. Out: good: false when something in it broke a rule.
 * Returns: 0, or -1 with a problem: open it again.
 */
MUST_USE int older_ledger_take(struct older_ledger *older, bool *good,
                               const struct range_message *range, struct problem *problem);

/*
 * Nothing is missing: read the replica's own ledger up to the checkpoint that it began with. Out:
 * leads: whether it leads there.
 * Returns: 0, or -1 with a problem.
 */
MUST_USE int older_ledger_check(struct older_ledger *older, bool *leads, struct problem *problem);

/*
 * It leads there: put it in front of the replica's ledger, beside its one writer, and remove
 * older/. Out: size: bytes that the ledger has grown by.
 * Returns: 0, or -1 with a problem: the next start carries it on.
 */
MUST_USE int older_ledger_merge(struct older_ledger *older, uint64_t *size,
                                struct problem *problem);

/* A merge that was begun before this start is carried to its end; the ledger is not open yet. */
MUST_USE int older_ledger_carry_on(const struct node *node, struct problem *problem);

#endif
