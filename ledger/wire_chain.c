/*
 * wire_chain: the messages by which a client gets links of the governance chain (protocol §9). See
 * wire.h. Whether links hold is for whoever asked to find out (receipts/chain.h).
 */
#include "ledger/field.h"
#include "ledger/onus.pb-c.h"
#include "ledger/pack.h"
#include "ledger/strict.h"
#include "ledger/wire.h"

#define FIELD_LINKS 2u

static_assert(WIRE_LINKS_SIZE_MAX >= CHAIN_LINK_SIZE_MAX + WIRE_LINK_EXTRA,
              "a replica can always hand over the next link");

enum codec_result chain_query_decode(uint64_t *config, struct arena *arena, struct span payload) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__chain_query_message__descriptor,
                      message_size_max(MESSAGE_CHAIN_QUERY), payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__ChainQueryMessage *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_seq(&result, config, in->config);
    return result;
}

bool chain_query_encode(struct buffer *out, uint64_t config) {
    Onus__Pb__ChainQueryMessage message = ONUS__PB__CHAIN_QUERY_MESSAGE__INIT;
    message.config = config;
    return pack_message(out, &message.base);
}

enum codec_result chain_reply_message_decode(struct chain_reply_message *out, struct arena *arena,
                                             struct span payload) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__chain_reply_message__descriptor,
                      message_size_max(MESSAGE_CHAIN_REPLY), payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__ChainReplyMessage *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_seq(&result, &out->config, in->config);
    field_take_spans(&result, arena, &out->links, &out->link_count,
                     (struct elements){in->n_links, in->links},
                     (struct bounds){1, CHAIN_LINK_SIZE_MAX}, (struct bounds){0, WIRE_LINKS_MAX});
    if (result == CODEC_OK && out->link_count >= out->config) {
        return CODEC_MISMATCH;
    }
    return result;
}

bool chain_reply_message_encode(struct buffer *out, const struct chain_reply_message *in) {
    Onus__Pb__ChainReplyMessage message = ONUS__PB__CHAIN_REPLY_MESSAGE__INIT;
    message.config = in->config;
    if (in->link_count > WIRE_LINKS_MAX) {
        return pack_refuse(out);
    }
    bool packed = pack_message(out, &message.base);
    for (uint32_t i = 0; packed && i < in->link_count; i++) {
        packed = pack_element_bytes(out, FIELD_LINKS, in->links[i]);
    }
    return packed;
}
