/*
 * effects: how a step's answers are put together. See state.h and replica.h.
 */
#include <stdlib.h>

#include "base/check.h"
#include "consensus/state.h"

#define EFFECTS_BUDGET ((size_t)256u << 20)
#define EFFECTS_CAPACITY_MIN 64u

void effects_init(struct effects *effects) {
    *effects = (struct effects){0};
    arena_init(&effects->arena, EFFECTS_BUDGET);
}

void effects_free(struct effects *effects) {
    free(effects->items);
    arena_free(&effects->arena);
    *effects = (struct effects){0};
}

struct effect *effect_add(struct replica *replica, enum effect_kind kind) {
    struct effects *const effects = replica->effects;
    if (effects->count == effects->capacity) {
        uint32_t const capacity =
            effects->capacity == 0 ? EFFECTS_CAPACITY_MIN : 2 * effects->capacity;
        struct effect *const items = realloc(effects->items, capacity * sizeof *items);
        if (items == NULL) {
            replica->failed = true;
            return NULL;
        }
        effects->items = items;
        effects->capacity = capacity;
    }
    struct effect *const effect = &effects->items[effects->count++];
    *effect = (struct effect){.kind = kind};
    return effect;
}

struct span effect_keep(struct replica *replica, struct span bytes) {
    struct span const kept = arena_copy(&replica->effects->arena, bytes);
    if (kept.size != bytes.size) {
        replica->failed = true;
    }
    return kept;
}

void effect_note(struct replica *replica, enum note_kind kind, uint32_t peer, uint64_t seq,
                 enum rule rule) {
    struct effect *const effect = effect_add(replica, EFFECT_NOTE);
    if (effect != NULL) {
        effect->note.kind = kind;
        effect->note.rule = rule;
        effect->note.replica = peer;
        effect->note.seq = seq;
    }
}

void effect_send(struct replica *replica, uint32_t peer, enum message_kind kind,
                 struct span payload, uint64_t after) {
    const struct replica_identity *const to = replica_peer(replica, peer);
    struct effect *const effect = to == NULL ? NULL : effect_add(replica, EFFECT_SEND);
    if (effect != NULL) {
        effect->send.to = to;
        effect->send.peer = peer;
        effect->send.kind = kind;
        effect->send.payload = payload;
        effect->send.after = after;
    }
}

void effect_send_all(struct replica *replica, enum message_kind kind, struct span payload,
                     uint64_t after) {
    for (uint32_t peer = 0; peer < replica->configuration->replica_count; peer++) {
        if (peer != replica->self) {
            effect_send(replica, peer, kind, payload, after);
        }
    }
}

void effect_append(struct replica *replica, enum entry_kind kind, struct span payload,
                   bool batch_end) {
    struct effect *const effect = effect_add(replica, EFFECT_APPEND);
    if (effect != NULL) {
        effect->append.position = ++replica->disk_position;
        effect->append.entry = (struct entry){.kind = kind, .payload = payload};
        effect->append.batch_end = batch_end;
        replica->disk_entries++;
    }
}

uint64_t effect_journal(struct replica *replica, const struct journal_record *record) {
    struct effect *const effect = effect_add(replica, EFFECT_JOURNAL);
    if (effect != NULL) {
        effect->journal.position = ++replica->disk_position;
        effect->journal.record = *record;
    }
    return replica->disk_position;
}

void effect_append_slot(struct replica *replica, struct slot *slot) {
    uint32_t const count = (uint32_t)(slot->entry_sizes.size / sizeof(uint32_t));
    if (slot->message.evidence.size != 0) {
        effect_append(replica, ENTRY_EVIDENCE, effect_keep(replica, slot->message.evidence), false);
    }
    buffer_clear(&replica->encode);
    if (!signed_encode(&replica->encode, &slot->message.statement)) {
        replica->failed = true;
        return;
    }
    effect_append(replica, ENTRY_PRE_PREPARE, effect_keep(replica, buffer_span(&replica->encode)),
                  count == 0);
    size_t offset = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size = 0;
        memcpy(&size, slot->entry_sizes.data + i * sizeof size, sizeof size);
        effect_append(replica, ENTRY_REQUEST, span_of(slot->entries.data + offset, size),
                      i + 1 == count);
        offset += size;
    }
    CHECK(offset == slot->entries.size);
    slot->position = replica->disk_position;
    replica->disk_seq = slot->seq;
    replica->disk_seq_position = slot->position;
    slot->stage = SLOT_EXECUTED;
}
