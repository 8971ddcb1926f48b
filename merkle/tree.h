/*
 * tree: a Merkle tree (RFC 9162) that keeps its leaves, for proofs: inclusion of a leaf or of a
 * run of leaves, and consistency of two sizes. The batch tree G, the calls tree of a request and
 * the auditor's view of M are such trees.
 *
 * Inner nodes of complete subtrees are kept, so a root at any earlier size and any proof cost
 * O(log n) hashes; memory is two digests a leaf. Roll back drops leaves from the end.
 */
#ifndef ONUS_MERKLE_TREE_H
#define ONUS_MERKLE_TREE_H

#include "base/bytes.h"
#include "base/limits.h"
#include "merkle/frontier.h"

/* Most digests a range proof can need: two flanks, each at most one digest a level. */
#define MERKLE_RANGE_PROOF_MAX (2u * MERKLE_DEPTH_MAX)

struct tree {
    struct digest *levels[MERKLE_DEPTH_MAX + 1]; /* levels[k]: roots of complete subtrees of 2^k */
    uint64_t capacities[MERKLE_DEPTH_MAX + 1];
    uint64_t leaf_count;
};

/* An empty tree. Allocates nothing yet. */
void tree_init(struct tree *tree);
void tree_free(struct tree *tree);
/* Forget all leaves, keep the memory. */
void tree_clear(struct tree *tree);
/* Returns: false when memory is exhausted; the tree is then unchanged. */
MUST_USE bool tree_append(struct tree *tree, const struct digest *leaf);
/* Keep only the first leaf_count leaves (at most the present number). */
void tree_rollback(struct tree *tree, uint64_t leaf_count);
struct digest tree_root(const struct tree *tree);
/* The root that the tree had when it held `size` leaves (0..leaf_count). */
struct digest tree_root_at(const struct tree *tree, uint64_t size);
/* The hash of one leaf. */
struct digest tree_leaf(const struct tree *tree, uint64_t index);

/*
 * Inclusion proof of leaf `index` in the tree of the first `size` leaves: RFC 9162 §2.1.3.1.
 * Out: path: room for MERKLE_DEPTH_MAX digests, leaf's sibling first.
 * Returns: the number of digests.
 */
unsigned tree_inclusion_path(const struct tree *tree, struct digest *path, uint64_t index,
                             uint64_t size);

/* Consistency proof between sizes first <= second: RFC 9162 §2.1.4.1. Room as above + 1. */
unsigned tree_consistency_path(const struct tree *tree, struct digest *path, uint64_t first,
                               uint64_t second);

/*
 * Range proof: the digests outside leaves [first, first + count) from which, with those leaves,
 * the root of all leaves follows. Order: as a left-to-right, depth-first walk meets them.
 * Out: proof: room for MERKLE_RANGE_PROOF_MAX digests. count >= 1.
 * Returns: the number of digests.
 */
unsigned tree_range_proof(const struct tree *tree, struct digest *proof, uint64_t first,
                          uint64_t count);

/* ---- verification: pure, no tree needed; every input may be hostile ---- */

/*
 * The root that an inclusion path implies (RFC 9162 §2.1.3.2).
 * Returns: false when index >= size or the path has the wrong length for that place.
 */
MUST_USE bool merkle_root_from_path(struct digest *root, const struct digest *leaf, uint64_t index,
                                    uint64_t size, const struct digest *path, unsigned path_count);

/* Does the tree of `second` leaves extend that of `first` (RFC 9162 §2.1.4.2)? */
MUST_USE bool merkle_consistency_holds(uint64_t first, const struct digest *first_root,
                                       uint64_t second, const struct digest *second_root,
                                       const struct digest *path, unsigned path_count);

/*
 * The root that a range proof implies for `count` adjacent leaves from `first` in a tree of
 * `size`; and, when paths is not NULL, each leaf's own inclusion path.
 * Out: paths: count * MERKLE_DEPTH_MAX digests, leaf k's at k * MERKLE_DEPTH_MAX; path_counts.
 * Returns: false when the range does not fit, the proof has the wrong length, or memory is short.
 * size is at most BATCH_CALLS_MAX.
 */
MUST_USE bool merkle_range_root(struct digest *root, struct digest *paths, unsigned *path_counts,
                                const struct digest *leaves, uint64_t first, uint64_t count,
                                uint64_t size, const struct digest *proof, unsigned proof_count);

#endif
