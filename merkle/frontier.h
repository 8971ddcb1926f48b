/*
 * frontier: an append-only Merkle tree (RFC 9162 hashing) that remembers only its right edge.
 *
 * The ledger tree M lives here: a replica appends one leaf an entry and needs the current root,
 * nothing more. Memory is O(log n): one digest for each set bit of the size. A frontier is plain
 * memory; to roll back, keep a copy (protocol §4).
 */
#ifndef ONUS_MERKLE_FRONTIER_H
#define ONUS_MERKLE_FRONTIER_H

#include "base/bytes.h"
#include "base/limits.h"

struct frontier {
    uint64_t leaf_count;
    /* Roots of the perfect subtrees, largest (leftmost) first: popcount(leaf_count) of them. */
    struct digest peaks[MERKLE_DEPTH_MAX + 1];
};

/* H(0x00 || data). */
struct digest merkle_leaf_hash(struct span data);
/* H(0x00 || first || second): a leaf in two runs, to spare a copy. */
struct digest merkle_leaf_hash_pair(struct span first, struct span second);
/* H(0x01 || left || right). */
struct digest merkle_node_hash(const struct digest *left, const struct digest *right);
/* H(""): the root of the empty tree. */
struct digest merkle_empty_root(void);

void frontier_init(struct frontier *frontier);
/* Append one leaf hash. */
void frontier_append(struct frontier *frontier, const struct digest *leaf);
/*
 * Append the root of a perfect tree of 2^level leaves at once. leaf_count must be a multiple of
 * 2^level, and what comes out must stay below 2^63.
 */
void frontier_append_perfect(struct frontier *frontier, unsigned level, const struct digest *root);
struct digest frontier_root(const struct frontier *frontier);

/* How many peaks a frontier of this many leaves has. */
unsigned frontier_peak_count(uint64_t leaf_count);

/*
 * Rebuild a frontier from stored peaks, concatenated, largest first.
 * Returns: false when the number of bytes does not fit leaf_count, or leaf_count >= 2^63.
 */
MUST_USE bool frontier_load(struct frontier *frontier, uint64_t leaf_count, struct span peaks);

#endif
