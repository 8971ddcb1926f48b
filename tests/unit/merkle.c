/*
 * merkle: frontier and tree against a naive reference written straight from the recursive
 * definitions of RFC 9162 §2.1, exhaustively over small trees; the known vectors of Certificate
 * Transparency; and what must not verify.
 */
#include <criterion/criterion.h>

#include "base/hash.h"
#include "merkle/frontier.h"
#include "merkle/tree.h"

#define SIZE_TESTED_MAX 70u
#define PATH_ROOM (2u * MERKLE_DEPTH_MAX + 2u)

/* ---- the reference: RFC 9162's own words ---- */

struct path {
    struct digest digests[PATH_ROOM];
    unsigned count;
};

/* "the largest power of two smaller than n (i.e., k < n <= 2k)" */
static uint64_t split_of(uint64_t n) {
    uint64_t k = 1;
    while (2 * k < n) {
        k *= 2;
    }
    return k;
}

static struct digest naive_root(const struct digest *leaves, uint64_t n) {
    if (n == 0) {
        return hash_bytes((struct span){0});
    }
    if (n == 1) {
        return leaves[0];
    }
    uint64_t const k = split_of(n);
    struct digest const left = naive_root(leaves, k);
    struct digest const right = naive_root(leaves + k, n - k);
    static const uint8_t prefix = 1;
    struct hash_state state;
    hash_init(&state);
    hash_update(&state, span_of(&prefix, 1));
    hash_update(&state, span_of(left.bytes, DIGEST_SIZE));
    hash_update(&state, span_of(right.bytes, DIGEST_SIZE));
    return hash_final(&state);
}

static void push(struct path *path, struct digest digest) {
    cr_assert_lt(path->count, PATH_ROOM);
    path->digests[path->count++] = digest;
}

/* PATH(m, D[n]); shape gets 'L' or 'R' for the side each sibling is on. */
static void naive_path(struct path *path, char *shape, const struct digest *leaves, uint64_t m,
                       uint64_t n) {
    if (n == 1) {
        return;
    }
    uint64_t const k = split_of(n);
    if (m < k) {
        naive_path(path, shape, leaves, m, k);
        shape[path->count] = 'R';
        push(path, naive_root(leaves + k, n - k));
    } else {
        naive_path(path, shape, leaves + k, m - k, n - k);
        shape[path->count] = 'L';
        push(path, naive_root(leaves, k));
    }
}

/* SUBPROOF(m, D[n], b) */
static void naive_subproof(struct path *path, const struct digest *leaves, uint64_t m, uint64_t n,
                           bool whole) {
    if (m == n) {
        if (!whole) {
            push(path, naive_root(leaves, n));
        }
        return;
    }
    uint64_t const k = split_of(n);
    if (m <= k) {
        naive_subproof(path, leaves, m, k, whole);
        push(path, naive_root(leaves + k, n - k));
    } else {
        naive_subproof(path, leaves + k, m - k, n - k, false);
        push(path, naive_root(leaves, k));
    }
}

/* The maximal subtrees outside [first, end), as a depth-first walk from leaf `at` meets them. */
static void naive_range(struct path *path, const struct digest *leaves, uint64_t at, uint64_t n,
                        uint64_t first, uint64_t end) {
    if (at + n <= first || at >= end) {
        push(path, naive_root(leaves + at, n));
        return;
    }
    if (at >= first && at + n <= end) {
        return;
    }
    uint64_t const k = split_of(n);
    naive_range(path, leaves, at, k, first, end);
    naive_range(path, leaves, at + k, n - k, first, end);
}

/* ---- fixtures ---- */

static struct digest leaf_of(uint64_t i) {
    uint8_t bytes[8];
    store_u64_be(bytes, i);
    return merkle_leaf_hash(span_of(bytes, sizeof bytes));
}

static struct digest leaves[SIZE_TESTED_MAX + 1];
static struct tree tree;

static void setup(void) {
    tree_init(&tree);
    for (uint64_t i = 0; i < SIZE_TESTED_MAX; i++) {
        leaves[i] = leaf_of(i);
        cr_assert(tree_append(&tree, &leaves[i]));
    }
}

static void teardown(void) {
    tree_free(&tree);
}

TestSuite(merkle, .init = setup, .fini = teardown);

static bool same(const struct digest *a, const struct digest *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

static bool same_path(const struct path *path, const struct digest *digests, unsigned count) {
    return path->count == count &&
           (count == 0 || memcmp(path->digests, digests, count * sizeof *digests) == 0);
}

static struct digest from_hex(const char *text) {
    struct digest digest;
    cr_assert(hex_decode(digest.bytes, DIGEST_SIZE, text));
    return digest;
}

/* ---- known answers ---- */

static const char *const ct_leaves[8] = {
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
};

static const char *const ct_roots[9] = {
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
};

static void ct_tree(struct tree *out) {
    tree_init(out);
    for (unsigned i = 0; i < 8; i++) {
        uint8_t bytes[16];
        size_t const size = strlen(ct_leaves[i]) / 2;
        cr_assert(hex_decode(bytes, size, ct_leaves[i]));
        struct digest const leaf = merkle_leaf_hash(span_of(bytes, size));
        struct digest const paired = merkle_leaf_hash_pair(
            span_of(bytes, size / 2), span_of(bytes + size / 2, size - size / 2));
        cr_assert(same(&leaf, &paired));
        cr_assert(tree_append(out, &leaf));
    }
}

Test(merkle, certificate_transparency_roots) {
    struct tree ct;
    ct_tree(&ct);
    struct frontier frontier;
    frontier_init(&frontier);
    for (unsigned size = 0; size <= 8; size++) {
        struct digest const expected = from_hex(ct_roots[size]);
        struct digest const root = tree_root_at(&ct, size);
        struct digest const edge = frontier_root(&frontier);
        cr_expect(same(&root, &expected), "tree root at %u", size);
        cr_expect(same(&edge, &expected), "frontier root at %u", size);
        if (size < 8) {
            struct digest const leaf = tree_leaf(&ct, size);
            frontier_append(&frontier, &leaf);
        }
    }
    struct digest const empty = merkle_empty_root();
    struct digest const expected = from_hex(ct_roots[0]);
    cr_expect(same(&empty, &expected));
    tree_free(&ct);
}

Test(merkle, certificate_transparency_paths) {
    static const char *const inclusion_0_8[] = {
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    };
    static const char *const consistency_6_8[] = {
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    };
    struct tree ct;
    ct_tree(&ct);
    struct digest path[PATH_ROOM];
    cr_assert_eq(tree_inclusion_path(&ct, path, 0, 8), 3u);
    for (unsigned i = 0; i < 3; i++) {
        struct digest const expected = from_hex(inclusion_0_8[i]);
        cr_expect(same(&path[i], &expected), "inclusion digest %u", i);
    }
    cr_assert_eq(tree_consistency_path(&ct, path, 6, 8), 3u);
    for (unsigned i = 0; i < 3; i++) {
        struct digest const expected = from_hex(consistency_6_8[i]);
        cr_expect(same(&path[i], &expected), "consistency digest %u", i);
    }
    tree_free(&ct);
}

/* ---- against the reference, exhaustively ---- */

Test(merkle, roots_equal_reference) {
    struct frontier frontier;
    frontier_init(&frontier);
    for (uint64_t size = 0; size <= SIZE_TESTED_MAX; size++) {
        struct digest const expected = naive_root(leaves, size);
        struct digest const root = tree_root_at(&tree, size);
        struct digest const edge = frontier_root(&frontier);
        cr_expect(same(&root, &expected));
        cr_expect(same(&edge, &expected));
        cr_expect_eq(frontier.leaf_count, size);

        struct frontier loaded;
        size_t const peaks_size = frontier_peak_count(size) * DIGEST_SIZE;
        cr_assert(frontier_load(&loaded, size, span_of(frontier.peaks, peaks_size)));
        struct digest const again = frontier_root(&loaded);
        cr_expect(same(&again, &expected));
        cr_expect(!frontier_load(&loaded, size, span_of(frontier.peaks, peaks_size + 1)));
        cr_expect(!frontier_load(&loaded, size, span_of(frontier.peaks, peaks_size + 32)));
        if (peaks_size != 0) {
            cr_expect(!frontier_load(&loaded, size, span_of(frontier.peaks, peaks_size - 32)));
        }
        frontier_append(&frontier, &leaves[size]);
    }
}

Test(merkle, frontier_refuses_impossible_sizes) {
    struct frontier frontier;
    uint8_t peaks[64 * DIGEST_SIZE] = {0};
    cr_expect(frontier_load(&frontier, UINT64_MAX >> 1, span_of(peaks, 63 * DIGEST_SIZE)));
    cr_expect(!frontier_load(&frontier, (uint64_t)1 << 63, span_of(peaks, DIGEST_SIZE)));
    cr_expect(!frontier_load(&frontier, UINT64_MAX, span_of(peaks, sizeof peaks)));
}

Test(merkle, inclusion_equals_reference_and_verifies) {
    for (uint64_t size = 1; size <= SIZE_TESTED_MAX; size++) {
        struct digest const expected = naive_root(leaves, size);
        for (uint64_t index = 0; index < size; index++) {
            struct path reference = {.count = 0};
            char shape[PATH_ROOM] = {0};
            naive_path(&reference, shape, leaves, index, size);
            struct digest path[PATH_ROOM];
            unsigned const count = tree_inclusion_path(&tree, path, index, size);
            cr_assert(same_path(&reference, path, count));
            struct digest root;
            cr_assert(merkle_root_from_path(&root, &leaves[index], index, size, path, count));
            cr_assert(same(&root, &expected));
        }
    }
}

Test(merkle, consistency_equals_reference_and_verifies) {
    for (uint64_t second = 0; second <= SIZE_TESTED_MAX; second++) {
        struct digest const second_root = naive_root(leaves, second);
        for (uint64_t first = 0; first <= second; first++) {
            struct path reference = {.count = 0};
            if (first != 0 && first != second) {
                naive_subproof(&reference, leaves, first, second, true);
            }
            struct digest path[PATH_ROOM];
            unsigned const count = tree_consistency_path(&tree, path, first, second);
            cr_assert(same_path(&reference, path, count));
            struct digest const first_root = naive_root(leaves, first);
            cr_assert(
                merkle_consistency_holds(first, &first_root, second, &second_root, path, count));
        }
    }
}

static void range_check(struct tree *grown, uint64_t first, uint64_t count) {
    uint64_t const size = grown->leaf_count;
    struct path reference = {.count = 0};
    naive_range(&reference, leaves, 0, size, first, first + count);
    struct digest proof[PATH_ROOM];
    unsigned const proof_count = tree_range_proof(grown, proof, first, count);
    cr_assert(same_path(&reference, proof, proof_count));

    struct digest const expected = naive_root(leaves, size);
    static struct digest paths[SIZE_TESTED_MAX * MERKLE_DEPTH_MAX];
    unsigned path_counts[SIZE_TESTED_MAX];
    struct digest root;
    cr_assert(merkle_range_root(&root, paths, path_counts, leaves + first, first, count, size,
                                proof, proof_count));
    cr_assert(same(&root, &expected));
    for (uint64_t k = 0; k < count; k++) {
        struct path own = {.count = 0};
        char shape[PATH_ROOM] = {0};
        naive_path(&own, shape, leaves, first + k, size);
        cr_assert(same_path(&own, paths + k * MERKLE_DEPTH_MAX, path_counts[k]));
        cr_assert(merkle_root_from_path(&root, &leaves[first + k], first + k, size,
                                        paths + k * MERKLE_DEPTH_MAX, path_counts[k]));
        cr_assert(same(&root, &expected));
    }
    cr_assert(merkle_range_root(&root, NULL, NULL, leaves + first, first, count, size, proof,
                                proof_count));
    cr_assert(same(&root, &expected));
    if (proof_count > 0) {
        cr_assert(!merkle_range_root(&root, NULL, NULL, leaves + first, first, count, size, proof,
                                     proof_count - 1));
        proof[proof_count / 2].bytes[7] ^= 1;
        cr_assert(merkle_range_root(&root, NULL, NULL, leaves + first, first, count, size, proof,
                                    proof_count));
        cr_assert(!same(&root, &expected));
    }
    cr_assert(!merkle_range_root(&root, NULL, NULL, leaves + first, first, count, size, proof,
                                 proof_count + 1));
}

Test(merkle, ranges_equal_reference_and_verify) {
    struct tree grown;
    tree_init(&grown);
    for (uint64_t size = 1; size <= SIZE_TESTED_MAX; size++) {
        cr_assert(tree_append(&grown, &leaves[size - 1]));
        /* All ranges of the smaller sizes; of the larger ones every third length. */
        uint64_t const step = size <= 36 ? 1 : 3;
        for (uint64_t first = 0; first < size; first++) {
            for (uint64_t count = 1; count <= size - first; count += step) {
                range_check(&grown, first, count);
            }
            range_check(&grown, first, size - first);
        }
    }
    tree_free(&grown);
}

Test(merkle, rollback_then_append_equals_fresh) {
    for (uint64_t size = 0; size <= SIZE_TESTED_MAX; size += 7) {
        for (uint64_t keep = 0; keep <= size; keep++) {
            struct tree rolled;
            tree_init(&rolled);
            for (uint64_t i = 0; i < size; i++) {
                struct digest const other = leaf_of(1000 + i);
                cr_assert(tree_append(&rolled, i < keep ? &leaves[i] : &other));
            }
            tree_rollback(&rolled, keep);
            for (uint64_t i = keep; i < SIZE_TESTED_MAX; i++) {
                cr_assert(tree_append(&rolled, &leaves[i]));
            }
            for (uint64_t at = 0; at <= SIZE_TESTED_MAX; at++) {
                struct digest const root = tree_root_at(&rolled, at);
                struct digest const expected = tree_root_at(&tree, at);
                cr_assert(same(&root, &expected));
            }
            tree_clear(&rolled);
            struct digest const root = tree_root(&rolled);
            struct digest const empty = merkle_empty_root();
            cr_assert(same(&root, &empty));
            tree_free(&rolled);
        }
    }
}

Test(merkle, large_tree_equals_frontier) {
    struct tree large;
    struct frontier frontier;
    tree_init(&large);
    frontier_init(&frontier);
    for (uint64_t i = 0; i < 5000; i++) {
        struct digest const leaf = leaf_of(i);
        cr_assert(tree_append(&large, &leaf));
        frontier_append(&frontier, &leaf);
        struct digest const root = tree_root(&large);
        struct digest const edge = frontier_root(&frontier);
        cr_assert(same(&root, &edge));
    }
    uint64_t held = 0;
    for (unsigned level = 0; level <= MERKLE_DEPTH_MAX; level++) {
        held += large.leaf_count >> level;
    }
    cr_expect_leq(held, 2 * large.leaf_count);
    tree_free(&large);
}

/* ---- what must not verify ---- */

static bool includes(const struct digest *leaf, uint64_t index, uint64_t size,
                     const struct digest *path, unsigned count, const struct digest *expected) {
    struct digest root;
    return merkle_root_from_path(&root, leaf, index, size, path, count) && same(&root, expected);
}

Test(merkle, wrong_place_is_refused) {
    for (uint64_t size = 1; size <= 24; size++) {
        struct digest const root = naive_root(leaves, size);
        for (uint64_t index = 0; index < size; index++) {
            struct path right = {.count = 0};
            char shape[PATH_ROOM] = {0};
            naive_path(&right, shape, leaves, index, size);
            for (uint64_t other_size = 0; other_size <= 26; other_size++) {
                for (uint64_t other = 0; other <= 26; other++) {
                    /* The same walk means the same root whatever it is called; no other does. */
                    struct path there = {.count = 0};
                    char other_shape[PATH_ROOM] = {0};
                    if (other < other_size) {
                        naive_path(&there, other_shape, leaves, other, other_size);
                    }
                    bool const holds = other < other_size && strcmp(shape, other_shape) == 0;
                    cr_assert_eq(includes(&leaves[index], other, other_size, right.digests,
                                          right.count, &root),
                                 holds);
                }
            }
        }
    }
}

Test(merkle, huge_places_are_refused) {
    struct digest root;
    struct digest const path[2] = {leaves[1], leaves[2]};
    cr_expect(!merkle_root_from_path(&root, &leaves[0], 0, 0, NULL, 0));
    cr_expect(!merkle_root_from_path(&root, &leaves[0], UINT64_MAX, UINT64_MAX, path, 2));
    cr_expect(!merkle_root_from_path(&root, &leaves[0], UINT64_MAX - 1, UINT64_MAX, path, 2));
    cr_expect(!merkle_root_from_path(&root, &leaves[0], 0, UINT64_MAX, path, 2));
    cr_expect(!merkle_consistency_holds(1, &leaves[0], UINT64_MAX, &leaves[1], path, 2));
    cr_expect(!merkle_consistency_holds(UINT64_MAX, &leaves[0], 1, &leaves[1], path, 2));
    cr_expect(!merkle_range_root(&root, NULL, NULL, leaves, 0, 1, UINT64_MAX, path, 2));
    cr_expect(!merkle_range_root(&root, NULL, NULL, leaves, 1, UINT64_MAX, 3, path, 2));
    cr_expect(!merkle_range_root(&root, NULL, NULL, leaves, 3, 1, 3, path, 2));
    cr_expect(!merkle_range_root(&root, NULL, NULL, leaves, 2, 2, 3, path, 1));
    cr_expect(!merkle_range_root(&root, NULL, NULL, leaves, 0, 0, 3, path, 2));
    cr_expect(!merkle_range_root(&root, NULL, NULL, leaves, 0, 1, 0, path, 0));
    cr_expect(!merkle_range_root(&root, NULL, NULL, leaves, 0, 1, BATCH_CALLS_MAX + 1, path, 2));
}

Test(merkle, damaged_inclusion_is_refused) {
    for (uint64_t size = 2; size <= 40; size++) {
        struct digest const root = naive_root(leaves, size);
        for (uint64_t index = 0; index < size; index++) {
            struct digest path[PATH_ROOM];
            unsigned const count = tree_inclusion_path(&tree, path, index, size);
            path[count] = root;
            cr_assert(includes(&leaves[index], index, size, path, count, &root));
            cr_assert(!includes(&leaves[index], index, size, path, count + 1, &root));
            cr_assert(!includes(&leaves[index], index, size, path, count - 1, &root));
            cr_assert(!includes(&leaves[index], index, size, path + 1, count - 1, &root));
            cr_assert(!includes(&leaves[index], index, size, path, 0, &root));
            cr_assert(!includes(&leaves[(index + 1) % size], index, size, path, count, &root));
            cr_assert(!includes(&root, index, size, path, 0, &root));
            for (unsigned i = 0; i < count; i++) {
                path[i].bytes[i % DIGEST_SIZE] ^= 0x80;
                cr_assert(!includes(&leaves[index], index, size, path, count, &root));
                path[i].bytes[i % DIGEST_SIZE] ^= 0x80;
                if (i + 1 < count) {
                    struct digest const kept = path[i];
                    path[i] = path[i + 1];
                    path[i + 1] = kept;
                    cr_assert(!includes(&leaves[index], index, size, path, count, &root));
                    path[i + 1] = path[i];
                    path[i] = kept;
                }
            }
        }
    }
}

Test(merkle, damaged_consistency_is_refused) {
    for (uint64_t second = 1; second <= 40; second++) {
        struct digest const new_root = naive_root(leaves, second);
        for (uint64_t first = 1; first <= second; first++) {
            struct digest const old_root = naive_root(leaves, first);
            struct digest path[PATH_ROOM];
            unsigned const count = tree_consistency_path(&tree, path, first, second);
            path[count] = new_root;
            cr_assert(
                !merkle_consistency_holds(first, &old_root, second, &new_root, path, count + 1));
            cr_assert(!merkle_consistency_holds(0, &old_root, second, &new_root, path, count));
            if (first == second) {
                cr_assert(
                    !merkle_consistency_holds(first, &leaves[60], second, &new_root, path, 0));
                continue;
            }
            cr_assert(!merkle_consistency_holds(second, &old_root, first, &new_root, path, count));
            cr_assert(!merkle_consistency_holds(second, &new_root, first, &old_root, path, count));
            cr_assert(!merkle_consistency_holds(first, &new_root, second, &old_root, path, count));
            cr_assert(
                !merkle_consistency_holds(first, &leaves[60], second, &new_root, path, count));
            cr_assert(
                !merkle_consistency_holds(first, &old_root, second, &leaves[60], path, count));
            cr_assert(
                !merkle_consistency_holds(first, &old_root, second, &new_root, path, count - 1));
            cr_assert(!merkle_consistency_holds(first, &old_root, second, &new_root, path, 0));
            cr_assert(
                !merkle_consistency_holds(first + 1, &old_root, second, &new_root, path, count));
            for (unsigned i = 0; i < count; i++) {
                path[i].bytes[31 - i] ^= 1;
                cr_assert(
                    !merkle_consistency_holds(first, &old_root, second, &new_root, path, count));
                path[i].bytes[31 - i] ^= 1;
            }
        }
    }
}

Test(merkle, the_empty_tree_is_defined) {
    struct digest const empty = merkle_empty_root();
    struct digest const root = naive_root(leaves, 5);
    struct digest const zero = {{0}};
    cr_expect(merkle_consistency_holds(0, &empty, 0, &empty, NULL, 0));
    cr_expect(merkle_consistency_holds(0, &empty, 5, &root, NULL, 0));
    cr_expect(!merkle_consistency_holds(0, &zero, 5, &root, NULL, 0));
    cr_expect(!merkle_consistency_holds(0, &zero, 0, &zero, NULL, 0));
    cr_expect(!merkle_consistency_holds(0, &empty, 0, &root, NULL, 0));
    cr_expect(!merkle_consistency_holds(0, &empty, 5, &root, leaves, 1));
}
