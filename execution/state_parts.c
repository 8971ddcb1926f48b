/*
 * state_parts: see state_parts.h.
 *
 * Invariants: a grouper's frontier covers the items of the group at hand, fewer than
 * STATE_GROUP_ITEMS, and is empty between two groups. Checking reads an item's bytes only after its
 * sizes were found within the limits.
 */
#include "execution/state_parts.h"

#include "execution/engine.h"

static_assert((STATE_GROUP_ITEMS & (STATE_GROUP_ITEMS - 1)) == 0,
              "only then is the tree over the groups the top of the tree over the items");

uint32_t state_group_size(uint64_t group, uint64_t item_count) {
    uint64_t const whole = item_count / STATE_GROUP_ITEMS;
    if (group < whole) {
        return STATE_GROUP_ITEMS;
    }
    return group == whole ? (uint32_t)(item_count % STATE_GROUP_ITEMS) : 0;
}

/* ---- making ---- */

void state_grouper_init(struct state_grouper *grouper) {
    grouper->count = 0;
    frontier_init(&grouper->frontier);
}

static struct digest group_end(struct state_grouper *grouper) {
    struct digest const digest = frontier_root(&grouper->frontier);
    frontier_init(&grouper->frontier);
    return digest;
}

bool state_grouper_add(struct state_grouper *grouper, struct digest *digest, struct span key,
                       struct span value) {
    struct digest const leaf = state_item_leaf(key, value);
    frontier_append(&grouper->frontier, &leaf);
    grouper->count++;
    if (grouper->frontier.leaf_count < STATE_GROUP_ITEMS) {
        return false;
    }
    *digest = group_end(grouper);
    return true;
}

bool state_grouper_finish(struct state_grouper *grouper, struct digest *digest) {
    if (grouper->frontier.leaf_count == 0) {
        return false;
    }
    *digest = group_end(grouper);
    return true;
}

/* ---- checking ---- */

bool state_groups_hold(const struct digest *digests, uint64_t group_count, uint64_t item_count,
                       const struct digest *root) {
    if (group_count != state_group_count(item_count)) {
        return false;
    }
    struct frontier frontier;
    frontier_init(&frontier);
    for (uint64_t i = 0; i < group_count; i++) {
        frontier_append(&frontier, &digests[i]);
    }
    struct digest const found = frontier_root(&frontier);
    return digest_equal(&found, root);
}

/* An empty key ascends from none. */
static bool item_stands(const struct state_item *item, struct span key_before) {
    return item->key.size <= KEY_SIZE_MAX && item->value.size <= VALUE_SIZE_MAX &&
           span_compare(key_before, item->key) < 0;
}

/* Are these items, `size` of them, one group of this digest? */
static bool group_stands(const struct state_item *items, uint32_t size, struct span key_before,
                         const struct digest *digest) {
    struct frontier frontier;
    frontier_init(&frontier);
    for (uint32_t i = 0; i < size; i++) {
        if (!item_stands(&items[i], i == 0 ? key_before : items[i - 1].key)) {
            return false;
        }
        struct digest const leaf = state_item_leaf(items[i].key, items[i].value);
        frontier_append(&frontier, &leaf);
    }
    struct digest const found = frontier_root(&frontier);
    return digest_equal(&found, digest);
}

uint64_t state_groups_check(const struct state_groups *groups, const struct state_item *items,
                            size_t count) {
    uint64_t group = groups->first_group;
    struct span key_before = groups->last_key;
    for (size_t at = 0; at < count; group++) {
        uint32_t const size = state_group_size(group, groups->item_count);
        if (size == 0 || size > count - at ||
            !group_stands(&items[at], size, key_before, &groups->digests[group])) {
            return 0;
        }
        at += size;
        key_before = items[at - 1].key;
    }
    return group - groups->first_group;
}
