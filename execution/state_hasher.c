/*
 * state_hasher: the root of a state, which a checkpoint's digest covers (protocol §7).
 */
#include "execution/engine.h"

void state_hasher_init(struct state_hasher *hasher) {
    hasher->count = 0;
    frontier_init(&hasher->frontier);
}

/* The leaf's runs are hashed where they lie, whatever their size: an auditor's may be hostile. */
void state_hasher_add(struct state_hasher *hasher, struct span key, struct span value) {
    static const uint8_t leaf_prefix = 0; /* RFC 9162 §2.1.1 */
    struct hash_state state;
    hash_init(&state);
    hash_update(&state, span_of(&leaf_prefix, 1));
    hash_update_u32(&state, (uint32_t)key.size);
    hash_update(&state, key);
    hash_update(&state, value);
    struct digest const leaf = hash_final(&state);
    frontier_append(&hasher->frontier, &leaf);
    hasher->count++;
}

struct digest state_hasher_final(struct state_hasher *hasher) {
    return frontier_root(&hasher->frontier);
}
