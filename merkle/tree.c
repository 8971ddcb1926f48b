/*
 * tree: see tree.h.
 *
 * Invariant: levels[k] holds, in order, the roots of the leaf_count >> k complete subtrees of 2^k
 * leaves. Everything RFC 9162 defines by recursion is a walk along these levels: node i of level k
 * covers leaves [i * 2^k, (i + 1) * 2^k), cut off at the tree's size, and the only node of a level
 * that can be cut off is its last one, whose root is folded from the levels below. A last node
 * that would be a lone left child is its own parent ("promoted").
 */
#include "merkle/tree.h"

#include <stdlib.h>

#include "base/check.h"

#define LEVEL_CAPACITY_MIN 8u

void tree_init(struct tree *tree) {
    *tree = (struct tree){0};
}

void tree_free(struct tree *tree) {
    for (unsigned level = 0; level <= MERKLE_DEPTH_MAX; level++) {
        free(tree->levels[level]);
    }
    tree_init(tree);
}

void tree_clear(struct tree *tree) {
    tree->leaf_count = 0;
}

static bool level_reserve(struct tree *tree, unsigned level, uint64_t count) {
    if (count <= tree->capacities[level]) {
        return true;
    }
    uint64_t const doubled = 2 * tree->capacities[level];
    uint64_t const capacity = doubled > LEVEL_CAPACITY_MIN ? doubled : LEVEL_CAPACITY_MIN;
    if (capacity > SIZE_MAX / sizeof(struct digest)) {
        return false;
    }
    struct digest *const grown =
        realloc(tree->levels[level], (size_t)capacity * sizeof(struct digest));
    if (grown == NULL) {
        return false;
    }
    tree->levels[level] = grown;
    tree->capacities[level] = capacity;
    return true;
}

bool tree_append(struct tree *tree, const struct digest *leaf) {
    uint64_t const leaf_count = tree->leaf_count + 1;
    /* The new leaf completes one subtree on each level up to the lowest set bit of the new size. */
    unsigned const top = (unsigned)__builtin_ctzll(leaf_count);
    CHECK(top < MERKLE_DEPTH_MAX);
    for (unsigned level = 0; level <= top; level++) {
        if (!level_reserve(tree, level, leaf_count >> level)) {
            return false;
        }
    }
    struct digest node = *leaf;
    for (unsigned level = 0; level <= top; level++) {
        uint64_t const place = (leaf_count >> level) - 1;
        tree->levels[level][place] = node;
        if (level < top) {
            node = merkle_node_hash(&tree->levels[level][place - 1], &node);
        }
    }
    tree->leaf_count = leaf_count;
    return true;
}

void tree_rollback(struct tree *tree, uint64_t leaf_count) {
    CHECK(leaf_count <= tree->leaf_count);
    tree->leaf_count = leaf_count;
}

/* The root of leaves [size - count, size), where count > 0 is made of the low bits of size. */
static struct digest suffix_root(const struct tree *tree, uint64_t size, uint64_t count) {
    unsigned level = (unsigned)__builtin_ctzll(count);
    struct digest root = tree->levels[level][(size >> level) - 1];
    for (level++; count >> level != 0; level++) {
        if ((count >> level & 1) != 0) {
            root = merkle_node_hash(&tree->levels[level][(size >> level) - 1], &root);
        }
    }
    return root;
}

struct digest tree_root_at(const struct tree *tree, uint64_t size) {
    CHECK(size <= tree->leaf_count);
    return size == 0 ? merkle_empty_root() : suffix_root(tree, size, size);
}

struct digest tree_root(const struct tree *tree) {
    return tree_root_at(tree, tree->leaf_count);
}

struct digest tree_leaf(const struct tree *tree, uint64_t index) {
    CHECK(index < tree->leaf_count);
    return tree->levels[0][index];
}

/* Node `index` of a level in the tree of `size` leaves; it may be cut off. */
static struct digest node_at(const struct tree *tree, unsigned level, uint64_t index,
                             uint64_t size) {
    if (index < size >> level) {
        return tree->levels[level][index];
    }
    return suffix_root(tree, size, size - (index << level));
}

/* The siblings from node `index` of `level` up to the root of the first `size` leaves. */
static unsigned siblings_of(const struct tree *tree, struct digest *path, unsigned level,
                            uint64_t index, uint64_t size) {
    unsigned count = 0;
    uint64_t last = (size - 1) >> level;
    while (last > 0) {
        uint64_t const sibling = index ^ 1;
        if (sibling <= last) {
            path[count++] = node_at(tree, level, sibling, size);
        }
        level++;
        index >>= 1;
        last >>= 1;
    }
    return count;
}

unsigned tree_inclusion_path(const struct tree *tree, struct digest *path, uint64_t index,
                             uint64_t size) {
    CHECK(index < size && size <= tree->leaf_count);
    return siblings_of(tree, path, 0, index, size);
}

unsigned tree_consistency_path(const struct tree *tree, struct digest *path, uint64_t first,
                               uint64_t second) {
    CHECK(first <= second && second <= tree->leaf_count);
    if (first == 0 || first == second) {
        return 0;
    }
    /* The last complete subtree of the first tree is where the two trees' walks part. */
    unsigned const level = (unsigned)__builtin_ctzll(first);
    uint64_t const index = (first >> level) - 1;
    unsigned count = 0;
    if (index != 0) { /* otherwise it is the whole first tree, and the verifier has its root */
        path[count++] = tree->levels[level][index];
    }
    return count + siblings_of(tree, path + count, level, index, second);
}

unsigned tree_range_proof(const struct tree *tree, struct digest *proof, uint64_t first,
                          uint64_t count) {
    uint64_t const size = tree->leaf_count;
    CHECK(count >= 1 && first < size && count <= size - first);
    unsigned digests = 0;
    for (unsigned level = MERKLE_DEPTH_MAX; level-- > 0;) {
        if ((first >> level & 1) != 0) {
            proof[digests++] = tree->levels[level][(first >> level) - 1];
        }
    }
    uint64_t index = first + count - 1;
    uint64_t last = size - 1;
    for (unsigned level = 0; last > 0; level++) {
        if ((index & 1) == 0 && index < last) {
            proof[digests++] = node_at(tree, level, index + 1, size);
        }
        index >>= 1;
        last >>= 1;
    }
    return digests;
}

/* ---- verification ---- */

bool merkle_root_from_path(struct digest *root, const struct digest *leaf, uint64_t index,
                           uint64_t size, const struct digest *path, unsigned path_count) {
    if (index >= size) {
        return false;
    }
    struct digest node = *leaf;
    unsigned used = 0;
    uint64_t last = size - 1;
    while (last > 0) {
        if ((index & 1) != 0 || index < last) {
            if (used == path_count) {
                return false;
            }
            const struct digest *const sibling = &path[used++];
            node = (index & 1) != 0 ? merkle_node_hash(sibling, &node)
                                    : merkle_node_hash(&node, sibling);
        }
        index >>= 1;
        last >>= 1;
    }
    *root = node;
    return used == path_count;
}

/* The walk of RFC 9162 §2.1.4.2 for 0 < first < second: both roots from one path. */
static bool consistency_roots(struct digest roots[static 2], uint64_t first, uint64_t second,
                              const struct digest *path, unsigned path_count) {
    unsigned const level = (unsigned)__builtin_ctzll(first);
    uint64_t index = (first >> level) - 1;
    uint64_t last = (second - 1) >> level;
    unsigned used = 0;
    if (index != 0) {
        if (path_count == 0) {
            return false;
        }
        roots[0] = path[used++];
    }
    roots[1] = roots[0];
    while (last > 0) {
        if ((index & 1) != 0 || index < last) {
            if (used == path_count) {
                return false;
            }
            const struct digest *const sibling = &path[used++];
            if ((index & 1) != 0) {
                roots[0] = merkle_node_hash(sibling, &roots[0]);
                roots[1] = merkle_node_hash(sibling, &roots[1]);
            } else {
                roots[1] = merkle_node_hash(&roots[1], sibling);
            }
        }
        index >>= 1;
        last >>= 1;
    }
    return used == path_count;
}

bool merkle_consistency_holds(uint64_t first, const struct digest *first_root, uint64_t second,
                              const struct digest *second_root, const struct digest *path,
                              unsigned path_count) {
    struct digest const empty = merkle_empty_root();
    if (first > second || (first == 0 && !digest_equal(first_root, &empty)) ||
        (second == 0 && !digest_equal(second_root, &empty))) {
        return false;
    }
    if (first == second) {
        return path_count == 0 && digest_equal(first_root, second_root);
    }
    if (first == 0) { /* every tree extends the empty one */
        return path_count == 0;
    }
    struct digest roots[2] = {*first_root, *first_root};
    return consistency_roots(roots, first, second, path, path_count) &&
           digest_equal(&roots[0], first_root) && digest_equal(&roots[1], second_root);
}

/*
 * The nodes of one level that follow from the range and the proof: node `first` of the level is at
 * nodes[0]. Climbing joins them in pairs, in place.
 */
struct climb {
    struct digest *nodes;
    uint64_t first;
    uint64_t count;
    uint64_t last; /* index of the level's last node */
};

/* Add the proof's digests at this level: the left flank is stored top first, the right bottom. */
static void climb_widen(struct climb *climb, const struct digest *proof, unsigned *left,
                        unsigned *right) {
    if ((climb->first & 1) != 0) {
        memmove(climb->nodes + 1, climb->nodes, (size_t)climb->count * sizeof(struct digest));
        climb->nodes[0] = proof[--*left];
        climb->first--;
        climb->count++;
    }
    uint64_t const end = climb->first + climb->count;
    if ((end & 1) != 0 && end <= climb->last) {
        climb->nodes[climb->count++] = proof[(*right)++];
    }
}

static void climb_join(struct climb *climb) {
    uint64_t joined = 0;
    for (uint64_t i = 0; i < climb->count; i += 2) {
        climb->nodes[joined++] = i + 1 < climb->count
                                     ? merkle_node_hash(&climb->nodes[i], &climb->nodes[i + 1])
                                     : climb->nodes[i];
    }
    climb->first >>= 1;
    climb->last >>= 1;
    climb->count = joined;
}

/* Each leaf's sibling at this level, if it has one, is among the widened nodes. */
static void climb_extract(const struct climb *climb, struct digest *paths, unsigned *path_counts,
                          uint64_t first, uint64_t count, unsigned level) {
    for (uint64_t leaf = 0; leaf < count; leaf++) {
        uint64_t const sibling = ((first + leaf) >> level) ^ 1;
        if (sibling <= climb->last) {
            paths[leaf * MERKLE_DEPTH_MAX + path_counts[leaf]++] =
                climb->nodes[sibling - climb->first];
        }
    }
}

static unsigned right_flank_count(uint64_t index, uint64_t size) {
    unsigned count = 0;
    for (uint64_t last = size - 1; last > 0; last >>= 1) {
        count += (index & 1) == 0 && index < last;
        index >>= 1;
    }
    return count;
}

bool merkle_range_root(struct digest *root, struct digest *paths, unsigned *path_counts,
                       const struct digest *leaves, uint64_t first, uint64_t count, uint64_t size,
                       const struct digest *proof, unsigned proof_count) {
    if (size > BATCH_CALLS_MAX || first >= size || count == 0 || count > size - first) {
        return false;
    }
    unsigned left = frontier_peak_count(first);
    unsigned right = left;
    if (proof_count != left + right_flank_count(first + count - 1, size)) {
        return false;
    }
    struct climb climb = {.first = first, .count = count, .last = size - 1};
    climb.nodes = malloc(((size_t)count + 2) * sizeof(struct digest)); /* and two flanks */
    if (climb.nodes == NULL) {
        return false;
    }
    memcpy(climb.nodes, leaves, (size_t)count * sizeof(struct digest));
    if (paths != NULL) {
        memset(path_counts, 0, (size_t)count * sizeof *path_counts);
    }
    for (unsigned level = 0; climb.last > 0; level++) {
        climb_widen(&climb, proof, &left, &right);
        if (paths != NULL) {
            climb_extract(&climb, paths, path_counts, first, count, level);
        }
        climb_join(&climb);
    }
    *root = climb.nodes[0];
    free(climb.nodes);
    return true;
}
