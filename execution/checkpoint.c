/*
 * checkpoint: see checkpoint.h. One pass over the state in key order.
 */
#include "execution/checkpoint.h"

static bool hash_item(void *context, struct span key, struct span value, bool deleted) {
    (void)deleted; /* deletions do not appear in the whole state */
    state_hasher_add(context, key, value);
    return true;
}

bool checkpoint_fill(struct checkpoint_cut *cut, const struct engine *engine) {
    struct state_hasher hasher;
    state_hasher_init(&hasher);
    if (!engine_visit_state(engine, cut->header.seq, hash_item, &hasher)) {
        return false;
    }
    cut->header.state_count = hasher.count;
    cut->header.state_root = state_hasher_final(&hasher);
    return true;
}
