/*
 * slot: one batch on its way, in a ring over sequence numbers. See state.h.
 */
#include "base/check.h"
#include "consensus/state.h"

/* A slot's encoded message: two statements' worth, evidence, and a digest a request. */
#define STATEMENT_MESSAGE_SIZE_MAX                                                                 \
    (STATEMENT_SIZE_MAX + EVIDENCE_SIZE_MAX + BATCH_CALLS_MAX * DIGEST_SIZE + 1024u)
/* Buffers larger than this are given back once a batch is settled. */
#define SLOT_KEEP_SIZE (16u << 10)

struct slot *slot_find(struct replica *replica, uint64_t seq) {
    struct slot *const slot = &replica->slots[seq % SLOTS_MAX];
    return seq != 0 && slot->seq == seq ? slot : NULL;
}

static void limits_set(struct slot *slot) {
    slot->statement.size_max = STATEMENT_MESSAGE_SIZE_MAX;
    slot->entries.size_max = BATCH_SIZE_MAX;
    slot->entry_sizes.size_max = BATCH_CALLS_MAX * sizeof(uint32_t);
    slot->outcomes.size_max = BATCH_SIZE_MAX;
    slot->outcome_sizes.size_max = BATCH_CALLS_MAX * sizeof(uint32_t);
    slot->requests.size_max = BATCH_CALLS_MAX * sizeof(struct slot_request);
    slot->arena.budget = 4 * (size_t)STATEMENT_MESSAGE_SIZE_MAX;
}

void slot_reset_batch(struct slot *slot) {
    slot->stage = SLOT_EMPTY;
    slot->refused = false;
    slot->evidence_verified = false;
    slot->verify_token = 0;
    slot->fetch_after_ms = 0;
    slot->prepared_by = 0;
    slot->nonces_good = 0;
    slot->position = 0;
    buffer_clear(&slot->statement);
    buffer_clear(&slot->entries);
    buffer_clear(&slot->entry_sizes);
    buffer_clear(&slot->outcomes);
    buffer_clear(&slot->outcome_sizes);
    buffer_clear(&slot->requests);
    tree_clear(&slot->tree);
    arena_reset(&slot->arena);
}

static void retire(struct replica *replica, struct buffer *buffer) {
    if (buffer->data == NULL) {
        return;
    }
    if (buffer_append(&replica->retired, span_of(buffer, sizeof *buffer))) {
        *buffer = (struct buffer){.size_max = buffer->size_max};
    } else {
        replica->failed = true;
    }
}

void slot_retire(struct replica *replica, struct slot *slot) {
    retire(replica, &slot->statement);
    retire(replica, &slot->entries);
}

void retired_free(struct replica *replica) {
    for (size_t at = 0; at < replica->retired.size; at += sizeof(struct buffer)) {
        struct buffer buffer;
        memcpy(&buffer, replica->retired.data + at, sizeof buffer);
        buffer_free(&buffer);
    }
    buffer_clear(&replica->retired);
}

void slot_reset(struct slot *slot) {
    slot_reset_batch(slot);
    slot->nonces_come = 0;
    slot->revealed = false;
    slot->reveal_position = 0;
    memset(slot->votes, 0, sizeof slot->votes);
}

bool slot_is_certified(const struct replica *replica, const struct slot *slot) {
    return slot->stage == SLOT_EXECUTED && (uint32_t)__builtin_popcountll(slot->prepared_by) + 1 >=
                                               slot_configuration(replica, slot)->quorum;
}

bool slot_is_free(const struct replica *replica, uint64_t seq) {
    return seq > replica->evidenced_seq && seq < replica->evidenced_seq + SLOTS_MAX;
}

bool slot_is_open(const struct replica *replica, uint64_t seq) {
    uint64_t const ahead = 2 * (uint64_t)replica->configuration->parameters.pipeline;
    return slot_is_free(replica, seq) && seq <= replica->executed_seq + ahead;
}

struct slot *slot_claim(struct replica *replica, uint64_t seq) {
    struct slot *const slot = &replica->slots[seq % SLOTS_MAX];
    if (slot->seq == seq) {
        return slot;
    }
    CHECK(slot->seq <= replica->evidenced_seq);
    limits_set(slot);
    slot_reset(slot);
    slot->seq = seq;
    return slot;
}

static void buffer_shrink(struct buffer *buffer) {
    buffer_clear(buffer);
    if (buffer->capacity > SLOT_KEEP_SIZE) {
        buffer_free(buffer);
    }
}

void slot_shrink(struct slot *slot) {
    buffer_shrink(&slot->entries);
    buffer_shrink(&slot->entry_sizes);
    buffer_shrink(&slot->outcomes);
    buffer_shrink(&slot->outcome_sizes);
    buffer_shrink(&slot->requests);
    if (slot->tree.leaf_count > SLOT_KEEP_SIZE / DIGEST_SIZE) {
        tree_free(&slot->tree);
        tree_init(&slot->tree);
    } else {
        tree_clear(&slot->tree);
    }
}

void slot_free(struct slot *slot) {
    buffer_free(&slot->statement);
    buffer_free(&slot->entries);
    buffer_free(&slot->entry_sizes);
    buffer_free(&slot->outcomes);
    buffer_free(&slot->outcome_sizes);
    buffer_free(&slot->requests);
    tree_free(&slot->tree);
    arena_free(&slot->arena);
}

bool slot_store_statement(struct replica *replica, struct slot *slot,
                          const struct pre_prepare_message *message) {
    struct arena *const arena = &slot->arena;
    buffer_clear(&slot->statement);
    arena_reset(arena);
    if (!pre_prepare_message_encode(&slot->statement, message) ||
        pre_prepare_message_decode(&slot->message, arena, buffer_span(&slot->statement)) !=
            CODEC_OK ||
        pre_prepare_decode(&slot->body, arena, slot->message.statement.body) != CODEC_OK) {
        slot_reset_batch(slot);
        return false;
    }
    slot->digest = hash_statement(LABEL_PRE_PREPARE, &replica->configuration->service,
                                  slot->message.statement.body, &slot->message.statement.signature);
    slot->stage = SLOT_RECEIVED;
    slot_recount(replica, slot);
    return true;
}

bool slot_note_request(struct slot *slot, const struct slot_request *record, size_t entry_size,
                       const struct span *outcomes) {
    uint32_t const size = (uint32_t)entry_size;
    bool noted = buffer_append(&slot->entry_sizes, span_of(&size, sizeof size)) &&
                 buffer_append(&slot->requests, span_of(record, sizeof *record));
    for (uint32_t i = 0; noted && i < record->call_count; i++) {
        uint32_t const outcome_size = (uint32_t)outcomes[i].size;
        noted = buffer_append(&slot->outcomes, outcomes[i]) &&
                buffer_append(&slot->outcome_sizes, span_of(&outcome_size, sizeof outcome_size));
    }
    return noted;
}

uint32_t slot_request_count(const struct slot *slot) {
    return (uint32_t)(slot->requests.size / sizeof(struct slot_request));
}

struct slot_request *slot_request_at(const struct slot *slot, uint32_t nth) {
    CHECK(nth < slot_request_count(slot));
    /* The buffer holds nothing but whole slot_requests, and malloc aligns it. */
    return (struct slot_request *)(void *)slot->requests.data + nth;
}
