/*
 * state_hasher: the root of a state, which a checkpoint's digest covers (protocol §7).
 */
#include "execution/engine.h"

/* The leaf's runs are hashed where they lie, whatever their size: an auditor's may be hostile. */
struct digest state_item_leaf(struct span key, struct span value) {
    static const uint8_t leaf_prefix = 0; /* RFC 9162 §2.1.1 */
    struct hash_state state;
    hash_init(&state);
    hash_update(&state, span_of(&leaf_prefix, 1));
    hash_update_u32(&state, (uint32_t)key.size);
    hash_update(&state, key);
    hash_update(&state, value);
    return hash_final(&state);
}

void state_hasher_init(struct state_hasher *hasher) {
    hasher->count = 0;
    frontier_init(&hasher->frontier);
}

void state_hasher_add(struct state_hasher *hasher, struct span key, struct span value) {
    struct digest const leaf = state_item_leaf(key, value);
    frontier_append(&hasher->frontier, &leaf);
    hasher->count++;
}

struct digest state_hasher_final(struct state_hasher *hasher) {
    return frontier_root(&hasher->frontier);
}
