/*
 * anchor: places where a ledger may begin (protocol §7). M can be continued from any place whose
 * frontier is known, and from no other; so each checkpoint remembers a few of those before it. A
 * replica that joins begins its ledger at one, which must lie before all that the checkpoint still
 * needs: the replay window, and the batches that a view-change may have to show.
 */
#ifndef ONUS_LEDGER_ANCHOR_H
#define ONUS_LEDGER_ANCHOR_H

#include "ledger/codec.h"
#include "merkle/frontier.h"

struct anchor {
    uint64_t entries;
    struct frontier frontier;
};

/* Ascending entries. Plain memory. */
struct anchors {
    uint32_t count;
    struct anchor items[ANCHORS_MAX];
};

/*
 * Remember one more place, behind all others. needed_entry: nothing before this entry is needed
 * any more; of the places up to it only the last is kept. Of too many the one is given up
 * whose neighbours are closest, so that a place not far before any entry needed later remains.
 */
void anchors_add(struct anchors *anchors, const struct anchor *anchor, uint64_t needed_entry);
/* The ledger was cut: forget the places beyond so many entries. */
void anchors_cut(struct anchors *anchors, uint64_t entries);
/* The last place that is not beyond this entry; NULL: there is none. */
const struct anchor *anchors_find(const struct anchors *anchors, uint64_t entry);

/* Returns: false when frontiers do not fit their leaves, or a place lies beyond so many entries. */
MUST_USE bool anchors_load(struct anchors *anchors, const struct checker_snapshot *snapshot,
                           uint64_t entries);
/* Put them into a snapshot, which borrows their frontiers. */
void anchors_save(const struct anchors *anchors, struct checker_snapshot *snapshot);

#endif
