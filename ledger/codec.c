/*
 * codec: the words for refused bytes, and the kinds that belong to no room of their own: signed
 * bodies and outcomes. The other kinds are in codec_*.c beside this.
 */
#include "ledger/codec.h"

#include "base/check.h"
#include "ledger/field.h"
#include "ledger/onus.pb-c.h"
#include "ledger/pack.h"
#include "ledger/strict.h"

const char *codec_result_text(enum codec_result result) {
    switch (result) {
    case CODEC_OK:
        return "well formed";
    case CODEC_OVERSIZE:
        return "larger than its limit";
    case CODEC_SYNTAX:
        return "not protobuf, or over the memory budget";
    case CODEC_NOT_CANONICAL:
        return "not in the canonical encoding";
    case CODEC_LENGTH:
        return "a field has the wrong length";
    case CODEC_RANGE:
        return "a number or count is out of range";
    case CODEC_MISMATCH:
        return "its parts do not belong together";
    }
    UNREACHABLE();
}

/* ---- signed bodies --------------------------------------------------------------------------- */

enum codec_result signed_decode(struct signed_body *out, struct arena *arena, struct span bytes,
                                size_t size_max) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__signed__descriptor, size_max, bytes);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__Signed *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_span(&result, &out->body, in->body, (struct bounds){1, size_max});
    field_take_signature(&result, &out->signature, in->signature);
    return result;
}

bool signed_encode(struct buffer *out, const struct signed_body *in) {
    Onus__Pb__Signed message = ONUS__PB__SIGNED__INIT;
    message.body = pack_span(in->body);
    message.signature = pack_signature(&in->signature);
    return pack_message(out, &message.base);
}

/* ---- outcomes -------------------------------------------------------------------------------- */

static_assert((int)OUTCOME_OK == (int)ONUS__PB__OUTCOME_STATUS__OUTCOME_STATUS_OK &&
                  (int)OUTCOME_ABORTED == (int)ONUS__PB__OUTCOME_STATUS__OUTCOME_STATUS_ABORTED,
              "statuses are numbered as in the schema");

enum codec_result outcome_decode(struct outcome *outcome, struct arena *arena, struct span bytes) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__outcome__descriptor, OUTCOME_SIZE_MAX, bytes);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__Outcome *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_check_range(&result, (uint64_t)in->status, (struct bounds){OUTCOME_OK, OUTCOME_ABORTED});
    outcome->status = (enum outcome_status)in->status;
    field_take_spans(&result, arena, &outcome->reply, &outcome->reply_count,
                     (struct elements){in->n_reply, in->reply}, (struct bounds){0, REPLY_SIZE_MAX},
                     (struct bounds){0, REPLY_ITEMS_MAX});
    field_take_digest(&result, &outcome->write_digest, in->write_digest);
    size_t reply_size = 0;
    for (size_t i = 0; i < in->n_reply; i++) {
        reply_size += in->reply[i].len;
    }
    if (reply_size > REPLY_SIZE_MAX) {
        field_fail(&result, CODEC_LENGTH);
    }
    return result;
}

bool outcome_encode(struct buffer *out, const struct outcome *outcome) {
    ProtobufCBinaryData reply[REPLY_ITEMS_MAX];
    if (outcome->reply_count > REPLY_ITEMS_MAX) {
        return pack_refuse(out);
    }
    pack_spans(reply, outcome->reply, outcome->reply_count);
    Onus__Pb__Outcome message = ONUS__PB__OUTCOME__INIT;
    message.status = (Onus__Pb__OutcomeStatus)outcome->status;
    message.n_reply = outcome->reply_count;
    message.reply = reply;
    message.write_digest = pack_digest(&outcome->write_digest);
    return pack_message(out, &message.base);
}
