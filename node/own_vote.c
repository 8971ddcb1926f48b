/*
 * own_vote: see own_vote.h. Which replicas committed a batch is stated by the pre-prepare that
 * stands with its evidence: of its own configuration, but for the batch that starts one, which
 * evidences the end of the one before.
 */
#include "node/own_vote.h"

static bool names(const struct entry *entry, const struct own_place *self, struct arena *arena) {
    struct signed_body statement;
    struct pre_prepare body;
    arena_reset(arena);
    if (entry->kind != ENTRY_PRE_PREPARE ||
        signed_decode(&statement, arena, entry->payload, STATEMENT_SIZE_MAX) != CODEC_OK ||
        pre_prepare_decode(&body, arena, statement.body) != CODEC_OK) {
        return false;
    }
    uint64_t signers = 0;
    for (uint32_t i = 0; i < body.evidence_count; i++) {
        signers |= body.evidence_signers[i];
    }
    uint64_t const config = body.config - (body.kind == BATCH_START_OF_CONFIGURATION ? 1 : 0);
    uint32_t const place = signers == 0 ? REPLICAS_MAX : self->find(self->context, config);
    return place < REPLICAS_MAX && (signers >> place & 1) != 0;
}

bool own_vote_in(const struct entry *entries, uint32_t count, const struct own_place *self) {
    struct arena arena;
    bool found = false;
    arena_init(&arena, 4 * (size_t)STATEMENT_SIZE_MAX);
    for (uint32_t i = 0; i < count && !found; i++) {
        found = names(&entries[i], self, &arena);
    }
    arena_free(&arena);
    return found;
}
