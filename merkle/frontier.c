/*
 * frontier: see frontier.h. Also the three hashes of every Merkle tree here (RFC 9162 §2.1.1).
 *
 * Invariant: peaks[0 .. popcount(leaf_count)) are the roots of the perfect subtrees that the set
 * bits of leaf_count name, the highest bit's first. Appending a leaf is a binary increment: each
 * carry joins the two rightmost peaks.
 */
#include "merkle/frontier.h"

#include "base/check.h"
#include "base/hash.h"

/* A leaf and an inner node never hash the same bytes: RFC 9162's prefixes. */
#define LEAF_PREFIX 0u
#define NODE_PREFIX 1u

struct digest merkle_leaf_hash_pair(struct span first, struct span second) {
    static const uint8_t prefix = LEAF_PREFIX;
    struct hash_state state;
    hash_init(&state);
    hash_update(&state, span_of(&prefix, 1));
    hash_update(&state, first);
    hash_update(&state, second);
    return hash_final(&state);
}

struct digest merkle_leaf_hash(struct span data) {
    return merkle_leaf_hash_pair(data, (struct span){0});
}

struct digest merkle_node_hash(const struct digest *left, const struct digest *right) {
    uint8_t bytes[1 + 2 * DIGEST_SIZE];
    bytes[0] = NODE_PREFIX;
    memcpy(bytes + 1, left->bytes, DIGEST_SIZE);
    memcpy(bytes + 1 + DIGEST_SIZE, right->bytes, DIGEST_SIZE);
    return hash_bytes(span_of(bytes, sizeof bytes));
}

struct digest merkle_empty_root(void) {
    return hash_bytes((struct span){0});
}

unsigned frontier_peak_count(uint64_t leaf_count) {
    return (unsigned)__builtin_popcountll(leaf_count);
}

void frontier_init(struct frontier *frontier) {
    *frontier = (struct frontier){0};
}

void frontier_append(struct frontier *frontier, const struct digest *leaf) {
    CHECK(frontier->leaf_count < UINT64_MAX);
    unsigned top = frontier_peak_count(frontier->leaf_count);
    struct digest node = *leaf;
    for (uint64_t carry = frontier->leaf_count; (carry & 1) != 0; carry >>= 1) {
        top--;
        node = merkle_node_hash(&frontier->peaks[top], &node);
    }
    frontier->peaks[top] = node;
    frontier->leaf_count++;
}

void frontier_append_perfect(struct frontier *frontier, unsigned level, const struct digest *root) {
    uint64_t const size = (uint64_t)1 << level;
    CHECK(level < MERKLE_DEPTH_MAX && (frontier->leaf_count & (size - 1)) == 0);
    CHECK(frontier->leaf_count < ((uint64_t)1 << MERKLE_DEPTH_MAX) - size);
    unsigned top = frontier_peak_count(frontier->leaf_count);
    struct digest node = *root;
    for (uint64_t carry = frontier->leaf_count >> level; (carry & 1) != 0; carry >>= 1) {
        top--;
        node = merkle_node_hash(&frontier->peaks[top], &node);
    }
    frontier->peaks[top] = node;
    frontier->leaf_count += size;
}

struct digest frontier_root(const struct frontier *frontier) {
    unsigned rest = frontier_peak_count(frontier->leaf_count);
    if (rest == 0) {
        return merkle_empty_root();
    }
    rest--;
    struct digest root = frontier->peaks[rest];
    while (rest > 0) {
        rest--;
        root = merkle_node_hash(&frontier->peaks[rest], &root);
    }
    return root;
}

bool frontier_load(struct frontier *frontier, uint64_t leaf_count, struct span peaks) {
    size_t const size = (size_t)frontier_peak_count(leaf_count) * DIGEST_SIZE;
    if (leaf_count >= (uint64_t)1 << MERKLE_DEPTH_MAX || peaks.size != size) {
        return false;
    }
    frontier_init(frontier);
    frontier->leaf_count = leaf_count;
    if (size != 0) {
        memcpy(frontier->peaks, peaks.data, size);
    }
    return true;
}
