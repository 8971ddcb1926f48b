/*
 * checkpoint: cuts whose state is digested elsewhere, one at a time, oldest first (protocol §7).
 */
#include "base/check.h"
#include "consensus/state.h"

/* The oldest cut, if its batch is settled and none is under way. */
static struct cut *next_cut(struct replica *replica) {
    struct cut *oldest = NULL;
    for (unsigned i = 0; i < CUTS_MAX; i++) {
        struct cut *const cut = &replica->cuts[i];
        if (cut->used && cut->started) {
            return NULL;
        }
        if (cut->used && (oldest == NULL || cut->cut.header.seq < oldest->cut.header.seq)) {
            oldest = cut;
        }
    }
    bool const settled = oldest != NULL && oldest->cut.header.seq <= replica->evidenced_seq;
    return settled ? oldest : NULL;
}

void start_checkpoint(struct replica *replica) {
    struct cut *const cut = next_cut(replica);
    struct effect *const effect = cut == NULL ? NULL : effect_add(replica, EFFECT_CHECKPOINT);
    if (effect != NULL) {
        cut->started = true;
        effect->checkpoint = &cut->cut;
    }
}

void learn_checkpoint(struct replica *replica, uint64_t seq, uint64_t state_count,
                      const struct digest *state_root) {
    for (unsigned i = 0; i < CUTS_MAX; i++) {
        struct cut *const cut = &replica->cuts[i];
        if (!cut->used || !cut->started || cut->cut.header.seq != seq) {
            continue;
        }
        struct digest digest;
        cut->cut.header.state_count = state_count;
        cut->cut.header.state_root = *state_root;
        buffer_clear(&replica->encode);
        if (!checkpoint_cut_digest(&digest, &replica->encode, &replica->configuration->service,
                                   &cut->cut)) {
            replica->failed = true;
            return;
        }
        checker_checkpoint_learn(replica->checker, cut->cut.header.seq, &digest);
        engine_absorb(replica->engine, cut->cut.header.seq);
        cut->used = false;
        return;
    }
}

/* ---- recovery ---- */

const struct checkpoint_cut *replica_load_cut(struct replica *replica) {
    struct cut *const cut = next_cut(replica);
    if (cut == NULL) {
        return NULL;
    }
    cut->started = true;
    return &cut->cut;
}

void replica_load_checkpoint(struct replica *replica, uint64_t seq, uint64_t state_count,
                             const struct digest *state_root) {
    learn_checkpoint(replica, seq, state_count, state_root);
}
