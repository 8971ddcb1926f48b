/*
 * entry_codec: lists of ledger entries as they travel between replicas and in proofs. Internal to
 * the codec of this room.
 */
#ifndef ONUS_LEDGER_ENTRY_CODEC_H
#define ONUS_LEDGER_ENTRY_CODEC_H

#include "ledger/codec.h"
#include "ledger/field.h"
#include "ledger/onus.pb-c.h"

/* A repeated LedgerEntry field as protobuf-c has it. */
struct entry_messages {
    size_t count;
    Onus__Pb__LedgerEntry *const *items;
};

/* Kinds that exist, payloads of 1..ENTRY_SIZE_MAX bytes, their number within bounds. */
void entries_take(enum codec_result *result, struct arena *arena, const struct entry **out,
                  uint32_t *count, struct entry_messages in, struct bounds bounds);

/* Append entries as elements of a repeated field; and the size that takes. */
MUST_USE bool entries_encode(struct buffer *out, uint32_t field, const struct entry *entries,
                             uint32_t count);
size_t entries_size(uint32_t field, const struct entry *entries, uint32_t count);

#endif
