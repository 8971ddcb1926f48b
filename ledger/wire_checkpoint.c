/*
 * wire_checkpoint: the messages by which a replica fetches a checkpoint (protocol §7). See wire.h.
 * Whether an offer holds and items belong to their groups is for whoever fetches them.
 */
#include "ledger/field.h"
#include "ledger/onus.pb-c.h"
#include "ledger/pack.h"
#include "ledger/strict.h"
#include "ledger/wire.h"

#define FIELD_ITEMS 3u
#define PEAKS_MAX (MERKLE_DEPTH_MAX + 1u)

static_assert((int)CHECKPOINT_OFFER == (int)ONUS__PB__CHECKPOINT_PART__CHECKPOINT_PART_OFFER &&
                  (int)CHECKPOINT_ITEMS == (int)ONUS__PB__CHECKPOINT_PART__CHECKPOINT_PART_ITEMS,
              "parts are numbered as in the schema");

enum codec_result fetch_checkpoint_message_decode(struct fetch_checkpoint_message *out,
                                                  struct arena *arena, struct span payload) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__fetch_checkpoint_message__descriptor,
                      message_size_max(MESSAGE_FETCH_CHECKPOINT), payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__FetchCheckpointMessage *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_check_range(&result, (uint64_t)in->part,
                      (struct bounds){CHECKPOINT_OFFER, CHECKPOINT_ITEMS});
    out->part = (enum checkpoint_part)in->part;
    field_take_number(&result, &out->seq, in->seq);
    field_take_number(&result, &out->first_group, in->first_group);
    bool const is_offer = out->part == CHECKPOINT_OFFER;
    if (is_offer != (in->seq == 0) || (is_offer && in->first_group != 0)) {
        field_fail(&result, CODEC_MISMATCH);
    }
    return result;
}

bool fetch_checkpoint_message_encode(struct buffer *out,
                                     const struct fetch_checkpoint_message *in) {
    Onus__Pb__FetchCheckpointMessage message = ONUS__PB__FETCH_CHECKPOINT_MESSAGE__INIT;
    message.part = (Onus__Pb__CheckpointPart)in->part;
    message.seq = in->seq;
    message.first_group = in->first_group;
    return pack_message(out, &message.base);
}

/* An offer of nothing says nothing else; one of something says all of it. */
static bool offer_is_whole(const struct checkpoint_offer_message *offer) {
    if (offer->seq == 0) {
        return offer->certificate.size == 0 && offer->snapshot.size == 0 &&
               offer->first_entry == 0 && offer->first_leaves == 0 && offer->peaks.size == 0;
    }
    return offer->certificate.size != 0 && offer->snapshot.size != 0 && offer->first_entry != 0 &&
           offer->first_leaves != 0 && offer->peaks.size != 0;
}

enum codec_result checkpoint_offer_message_decode(struct checkpoint_offer_message *out,
                                                  struct arena *arena, struct span payload) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__checkpoint_offer_message__descriptor,
                      message_size_max(MESSAGE_CHECKPOINT_OFFER), payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__CheckpointOfferMessage *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    const struct digest *peaks = NULL;
    uint32_t peak_count = 0;
    field_take_number(&result, &out->seq, in->seq);
    field_take_span(&result, &out->certificate, in->certificate,
                    (struct bounds){0, COMMIT_CERTIFICATE_SIZE_MAX});
    field_take_span(&result, &out->snapshot, in->snapshot,
                    (struct bounds){0, SNAPSHOT_OFFERED_SIZE_MAX});
    field_take_number(&result, &out->first_entry, in->first_entry);
    field_take_number(&result, &out->first_leaves, in->first_leaves);
    field_take_digests(&result, &peaks, &peak_count, in->peaks, (struct bounds){0, PEAKS_MAX});
    field_take_span(&result, &out->peaks, in->peaks,
                    (struct bounds){0, (uint64_t)PEAKS_MAX * DIGEST_SIZE});
    if (result == CODEC_OK && !offer_is_whole(out)) {
        field_fail(&result, CODEC_MISMATCH);
    }
    return result;
}

bool checkpoint_offer_message_encode(struct buffer *out,
                                     const struct checkpoint_offer_message *in) {
    Onus__Pb__CheckpointOfferMessage message = ONUS__PB__CHECKPOINT_OFFER_MESSAGE__INIT;
    message.seq = in->seq;
    message.certificate = pack_span(in->certificate);
    message.snapshot = pack_span(in->snapshot);
    message.first_entry = in->first_entry;
    message.first_leaves = in->first_leaves;
    message.peaks = pack_span(in->peaks);
    return pack_message(out, &message.base);
}

enum codec_result checkpoint_digests_message_decode(struct checkpoint_digests_message *out,
                                                    struct arena *arena, struct span payload) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__checkpoint_digests_message__descriptor,
                      message_size_max(MESSAGE_CHECKPOINT_DIGESTS), payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__CheckpointDigestsMessage *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_seq(&result, &out->seq, in->seq);
    field_take_number(&result, &out->first_group, in->first_group);
    field_take_digests(&result, &out->digests, &out->count, in->digests,
                       (struct bounds){0, WIRE_DIGESTS_MAX});
    return result;
}

bool checkpoint_digests_message_encode(struct buffer *out,
                                       const struct checkpoint_digests_message *in) {
    Onus__Pb__CheckpointDigestsMessage message = ONUS__PB__CHECKPOINT_DIGESTS_MESSAGE__INIT;
    message.seq = in->seq;
    message.first_group = in->first_group;
    message.digests = pack_span(span_of(in->digests, (size_t)in->count * DIGEST_SIZE));
    return pack_message(out, &message.base);
}

static void take_items(enum codec_result *result, struct checkpoint_items_message *out,
                       struct arena *arena, const Onus__Pb__CheckpointItemsMessage *in) {
    out->count = (uint32_t)in->n_items;
    out->items = NULL;
    field_check_range(result, in->n_items, (struct bounds){0, WIRE_ITEMS_MAX});
    if (*result != CODEC_OK || in->n_items == 0) {
        return;
    }
    struct state_item *const items = field_alloc(result, arena, in->n_items, sizeof *items);
    for (size_t i = 0; *result == CODEC_OK && i < in->n_items; i++) {
        field_take_span(result, &items[i].key, in->items[i]->key, (struct bounds){1, KEY_SIZE_MAX});
        field_take_span(result, &items[i].value, in->items[i]->value,
                        (struct bounds){0, VALUE_SIZE_MAX});
    }
    out->items = items;
}

enum codec_result checkpoint_items_message_decode(struct checkpoint_items_message *out,
                                                  struct arena *arena, struct span payload) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__checkpoint_items_message__descriptor,
                      message_size_max(MESSAGE_CHECKPOINT_ITEMS), payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__CheckpointItemsMessage *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_seq(&result, &out->seq, in->seq);
    field_take_number(&result, &out->first_group, in->first_group);
    take_items(&result, out, arena, in);
    return result;
}

bool checkpoint_items_message_encode(struct buffer *out,
                                     const struct checkpoint_items_message *in) {
    if (in->count > WIRE_ITEMS_MAX) {
        return pack_refuse(out);
    }
    Onus__Pb__CheckpointItemsMessage message = ONUS__PB__CHECKPOINT_ITEMS_MESSAGE__INIT;
    message.seq = in->seq;
    message.first_group = in->first_group;
    if (!pack_message(out, &message.base)) {
        return false;
    }
    for (uint32_t i = 0; i < in->count; i++) {
        Onus__Pb__StateItem item = ONUS__PB__STATE_ITEM__INIT;
        item.key = pack_span(in->items[i].key);
        item.value = pack_span(in->items[i].value);
        if (!pack_element(out, FIELD_ITEMS, &item.base)) {
            return false;
        }
    }
    return true;
}
