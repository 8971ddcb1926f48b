/*
 * codec_served: see codec_served.h.
 */
#include "ledger/codec_served.h"

#include "ledger/field.h"
#include "ledger/onus.pb-c.h"
#include "ledger/pack.h"
#include "ledger/strict.h"
#include "ledger/wire.h"

static_assert((int)SERVED_ENTRIES == (int)ONUS__PB__SERVED_PART__SERVED_PART_ENTRIES &&
                  (int)SERVED_OFFER == (int)ONUS__PB__SERVED_PART__SERVED_PART_OFFER &&
                  (int)SERVED_ITEMS == (int)ONUS__PB__SERVED_PART__SERVED_PART_ITEMS,
              "parts are numbered as in the schema");

static void take_part(enum codec_result *result, enum served_part *out, Onus__Pb__ServedPart in) {
    field_check_range(result, (uint64_t)in, (struct bounds){SERVED_ENTRIES, SERVED_ITEMS});
    *out = (enum served_part)in;
}

/* Does the part speak of groups of a checkpoint's items? */
static bool has_groups(enum served_part part) {
    return part == SERVED_DIGESTS || part == SERVED_ITEMS;
}

enum codec_result demand_decode(struct demand *out, struct arena *arena, struct span body) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__demand__descriptor, STATEMENT_SIZE_MAX, body);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__Demand *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_key(&result, &out->author, in->author);
    field_take_fixed(&result, out->challenge, CHALLENGE_SIZE, in->challenge);
    field_take_u32(&result, &out->replica, in->replica, (struct bounds){0, REPLICAS_MAX - 1});
    field_take_number(&result, &out->time_ms, in->time_ms);
    field_check_range(&result, in->deadline_ms, (struct bounds){1, DEMAND_DEADLINE_MS_MAX});
    out->deadline_ms = in->deadline_ms;
    take_part(&result, &out->part, in->part);
    field_take_number(&result, &out->seq, in->seq);
    field_take_number(&result, &out->first, in->first);
    if (has_groups(out->part) != (in->seq != 0) || (out->part == SERVED_OFFER && in->first != 0)) {
        field_fail(&result, CODEC_MISMATCH);
    }
    return result;
}

bool demand_encode(struct buffer *out, const struct demand *in) {
    Onus__Pb__Demand message = ONUS__PB__DEMAND__INIT;
    message.author = pack_span(span_of(in->author.bytes, PUBLIC_KEY_SIZE));
    message.challenge = pack_span(span_of(in->challenge, CHALLENGE_SIZE));
    message.replica = in->replica;
    message.time_ms = in->time_ms;
    message.deadline_ms = in->deadline_ms;
    message.part = (Onus__Pb__ServedPart)in->part;
    message.seq = in->seq;
    message.first = in->first;
    return pack_message(out, &message.base);
}

/* Each part has its own numbers, and the others are 0. */
static bool numbers_fit(const struct served *served) {
    switch (served->part) {
    case SERVED_ENTRIES:
        return served->seq == 0 && served->first <= served->end &&
               (served->end <= served->available || served->first == served->end);
    case SERVED_OFFER:
        return served->first == 0 && served->end == 0 && served->available == 0;
    case SERVED_DIGESTS:
    case SERVED_ITEMS:
        return served->seq != 0 && served->first <= served->end &&
               (served->end <= served->available || served->first == served->end);
    }
    return false;
}

/* Only entries lie in a configuration, which may be an earlier one. */
static bool range_fits(const struct served *served) {
    bool const has_entries = served->part == SERVED_ENTRIES && served->first < served->end;
    return served->range_config < served->config
               ? has_entries
               : served->range_config == served->config &&
                     digest_equal(&served->range_constitution, &served->constitution);
}

enum codec_result served_decode(struct served *out, struct arena *arena, struct span body) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__served__descriptor, STATEMENT_SIZE_MAX, body);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__Served *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_number(&result, &out->config, in->config);
    field_take_u32(&result, &out->replica, in->replica, (struct bounds){0, REPLICAS_MAX - 1});
    field_take_digest(&result, &out->demand, in->demand);
    take_part(&result, &out->part, in->part);
    field_take_number(&result, &out->seq, in->seq);
    field_take_number(&result, &out->first, in->first);
    field_take_number(&result, &out->end, in->end);
    field_take_number(&result, &out->available, in->available);
    field_take_digest(&result, &out->digest, in->digest);
    field_take_digest(&result, &out->constitution, in->constitution);
    field_take_seq(&result, &out->range_config, in->range_config);
    field_take_digest(&result, &out->range_constitution, in->range_constitution);
    if (result == CODEC_OK && (!numbers_fit(out) || !range_fits(out))) {
        field_fail(&result, CODEC_MISMATCH);
    }
    return result;
}

bool served_encode(struct buffer *out, const struct served *in) {
    Onus__Pb__Served message = ONUS__PB__SERVED__INIT;
    message.config = in->config;
    message.replica = in->replica;
    message.demand = pack_digest(&in->demand);
    message.part = (Onus__Pb__ServedPart)in->part;
    message.seq = in->seq;
    message.first = in->first;
    message.end = in->end;
    message.available = in->available;
    message.digest = pack_digest(&in->digest);
    message.constitution = pack_digest(&in->constitution);
    message.range_config = in->range_config;
    message.range_constitution = pack_digest(&in->range_constitution);
    return pack_message(out, &message.base);
}

enum codec_result served_message_decode(struct served_message *out, struct arena *arena,
                                        struct span payload) {
    struct unpacked const unpacked = strict_unpack(arena, &onus__pb__served_message__descriptor,
                                                   message_size_max(MESSAGE_SERVED), payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__ServedMessage *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_span(&result, &out->statement.body, in->served,
                    (struct bounds){1, STATEMENT_SIZE_MAX});
    field_take_signature(&result, &out->statement.signature, in->signature);
    field_take_span(&result, &out->payload, in->payload,
                    (struct bounds){0, SERVED_PAYLOAD_SIZE_MAX});
    return result;
}

bool served_message_encode(struct buffer *out, const struct served_message *in) {
    Onus__Pb__ServedMessage message = ONUS__PB__SERVED_MESSAGE__INIT;
    if (in->payload.size > SERVED_PAYLOAD_SIZE_MAX) {
        return pack_refuse(out);
    }
    message.served = pack_span(in->statement.body);
    message.signature = pack_signature(&in->statement.signature);
    message.payload = pack_span(in->payload);
    return pack_message(out, &message.base);
}
