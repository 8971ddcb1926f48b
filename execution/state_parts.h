/*
 * state_parts: a state in parts that can be checked one by one (protocol §7).
 *
 * A *group* is STATE_GROUP_ITEMS items in key order; the last one of a state may be shorter. Its
 * digest is the root of the RFC 9162 tree over its items' leaves. Since a group holds a power of
 * two, the tree over the groups' digests, taken as leaves, is the top of the tree over all items
 * and has the same root: who has a state's root and count can check all digests at once, and then
 * each run of groups on its own.
 *
 *   the one who has the state   state_grouper       items in, a digest out every so often
 *   the one who wants it        state_groups_hold   are these digests those of that root?
 *                               state_groups_check  are these items whole groups of them?
 *
 * Pure. Digests and items that are checked may come from anybody.
 */
#ifndef ONUS_EXECUTION_STATE_PARTS_H
#define ONUS_EXECUTION_STATE_PARTS_H

#include "base/bytes.h"
#include "base/limits.h"
#include "ledger/codec.h" /* struct state_item */
#include "merkle/frontier.h"

/* How many groups a state of so many items has. */
static inline uint64_t state_group_count(uint64_t item_count) {
    return item_count / STATE_GROUP_ITEMS + (item_count % STATE_GROUP_ITEMS != 0);
}

/* How many items group `group` has in a state of item_count; 0 when there is no such group. */
uint32_t state_group_size(uint64_t group, uint64_t item_count);

/* ---- making ---------------------------------------------------------------------------------- */

struct state_grouper {
    uint64_t count;           /* items so far */
    struct frontier frontier; /* over those of the group at hand */
};

void state_grouper_init(struct state_grouper *grouper);
/* Feed the next item, in key order. Returns: true with a digest when it was the last of a group. */
MUST_USE bool state_grouper_add(struct state_grouper *grouper, struct digest *digest,
                                struct span key, struct span value);
/* No more items come. Returns: true with a digest when there is a last, shorter group. */
MUST_USE bool state_grouper_finish(struct state_grouper *grouper, struct digest *digest);

/* ---- checking -------------------------------------------------------------------------------- */

/*
 * Are these the digests of all groups of the state with this root and so many items?
 * Returns: false also when group_count is not state_group_count(item_count).
 */
MUST_USE bool state_groups_hold(const struct digest *digests, uint64_t group_count,
                                uint64_t item_count, const struct digest *root);

/* What is known of a state when items of it are checked. */
struct state_groups {
    const struct digest *digests; /* of all groups; state_groups_hold said yes */
    uint64_t item_count;          /* of the whole state */
    uint64_t first_group;         /* which the items at hand are to begin with */
    struct span last_key;         /* of the item before that group; empty for group 0 */
};

/*
 * Are these items the groups from first_group on, each whole, with keys that ascend strictly, also
 * from last_key, and keys and values within their limits (KEY_SIZE_MAX, not empty; VALUE_SIZE_MAX)?
 * Returns: how many groups they are; 0 when they are not that, or there are none.
 */
MUST_USE uint64_t state_groups_check(const struct state_groups *groups,
                                     const struct state_item *items, size_t count);

#endif
