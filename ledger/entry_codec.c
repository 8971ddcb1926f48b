/*
 * entry_codec: see entry_codec.h. Payloads stay opaque here; each kind has its own decoder.
 */
#include "ledger/entry_codec.h"

#include "ledger/pack.h"

void entries_take(enum codec_result *result, struct arena *arena, const struct entry **out,
                  uint32_t *count, struct entry_messages in, struct bounds bounds) {
    *out = NULL;
    *count = (uint32_t)in.count;
    field_check_range(result, in.count, bounds);
    if (*result != CODEC_OK || in.count == 0) {
        return;
    }
    struct entry *const entries = field_alloc(result, arena, in.count, sizeof *entries);
    for (size_t i = 0; *result == CODEC_OK && i < in.count; i++) {
        field_check_range(result, in.items[i]->kind,
                          (struct bounds){ENTRY_GENESIS, ENTRY_NEW_VIEW});
        entries[i].kind = (enum entry_kind)in.items[i]->kind;
        field_take_span(result, &entries[i].payload, in.items[i]->payload,
                        (struct bounds){1, ENTRY_SIZE_MAX});
    }
    *out = entries;
}

static Onus__Pb__LedgerEntry entry_message(const struct entry *entry) {
    Onus__Pb__LedgerEntry message = ONUS__PB__LEDGER_ENTRY__INIT;
    message.kind = (uint32_t)entry->kind;
    message.payload = pack_span(entry->payload);
    return message;
}

bool entries_encode(struct buffer *out, uint32_t field, const struct entry *entries,
                    uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        Onus__Pb__LedgerEntry const message = entry_message(&entries[i]);
        if (!pack_element(out, field, &message.base)) {
            return false;
        }
    }
    return !out->failed;
}

size_t entries_size(uint32_t field, const struct entry *entries, uint32_t count) {
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++) {
        Onus__Pb__LedgerEntry const message = entry_message(&entries[i]);
        size_t const inner = onus__pb__ledger_entry__get_packed_size(&message);
        size += pack_prefix_size(field, inner) + inner;
    }
    return size;
}
