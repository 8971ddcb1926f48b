/*
 * fuzz_client: frames of clients to a replica, and of replicas to a client: a byte for the kind,
 * then the payload.
 */
#include <stdlib.h>

#include "base/check.h"
#include "ledger/codec_served.h"
#include "ledger/served.h"
#include "ledger/wire.h"
#include "tests/fuzz/target.h"

/* A part of a checkpoint, as an auditor decodes it. */
static enum codec_result take_part(enum served_part part, struct arena *arena,
                                   struct span payload) {
    static union {
        struct checkpoint_offer_message offer;
        struct checkpoint_digests_message digests;
        struct checkpoint_items_message items;
    } out;
    switch (part) {
    case SERVED_ENTRIES:
        break;
    case SERVED_OFFER:
        return checkpoint_offer_message_decode(&out.offer, arena, payload);
    case SERVED_DIGESTS:
        return checkpoint_digests_message_decode(&out.digests, arena, payload);
    case SERVED_ITEMS:
        return checkpoint_items_message_decode(&out.items, arena, payload);
    }
    return CODEC_OK;
}

/* What a replica answers: whatever it hands over, there is a judgement about it. */
static enum codec_result take_served(struct arena *arena, struct span payload) {
    struct served_message message;
    struct served served;
    enum codec_result result = served_message_decode(&message, arena, payload);
    if (result == CODEC_OK) {
        result = served_decode(&served, arena, message.statement.body);
    }
    const struct configuration *const configuration = &target_consortium()->configuration;
    if (result == CODEC_OK && served.part == SERVED_ENTRIES &&
        served.range_config == configuration->number) {
        struct served_judgement const judgement =
            served_range_judge(configuration, &served, message.payload, NULL);
        CHECK(rule_name(judgement.rule) != NULL);
    } else if (result == CODEC_OK) {
        result = take_part(served.part, arena, message.payload);
    }
    return result;
}

static enum codec_result take_demand(struct arena *arena, struct span payload) {
    struct signed_body statement;
    struct demand demand;
    enum codec_result const result =
        signed_decode(&statement, arena, payload, message_size_max(MESSAGE_DEMAND));
    return result == CODEC_OK ? demand_decode(&demand, arena, statement.body) : result;
}

static enum codec_result decode(uint8_t kind, struct arena *arena, struct span payload) {
    static union {
        struct request request;
        struct reply_message reply;
        struct result_message result;
        struct reject_message reject;
        struct status_reply_message status;
        struct receipt_reply_message receipt;
        struct chain_reply_message chain;
        uint64_t config;
        struct digest id;
    } out;
    const struct digest *const service = &target_consortium()->configuration.service;
    switch (kind) {
    case MESSAGE_REQUEST:
        return request_decode(&out.request, arena, service, payload);
    case MESSAGE_STATUS_QUERY:
        return status_query_decode(arena, payload);
    case MESSAGE_RECEIPT_QUERY:
        return receipt_query_decode(&out.id, arena, payload);
    case MESSAGE_REPLY:
        return reply_message_decode(&out.reply, arena, payload);
    case MESSAGE_RESULT:
        return result_message_decode(&out.result, arena, payload);
    case MESSAGE_REJECT:
        return reject_message_decode(&out.reject, arena, payload);
    case MESSAGE_STATUS_REPLY:
        return status_reply_message_decode(&out.status, arena, payload);
    case MESSAGE_RECEIPT_REPLY:
        return receipt_reply_message_decode(&out.receipt, arena, payload);
    case MESSAGE_CHAIN_QUERY:
        return chain_query_decode(&out.config, arena, payload);
    case MESSAGE_CHAIN_REPLY:
        return chain_reply_message_decode(&out.chain, arena, payload);
    case MESSAGE_DEMAND:
        return take_demand(arena, payload);
    case MESSAGE_SERVED:
        return take_served(arena, payload);
    default:
        return CODEC_RANGE;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena arena;
    if (size == 0 || size - 1 > message_size_max(data[0])) {
        return 0; /* a link ends there */
    }
    arena_init(&arena, (size_t)64 << 20);
    enum codec_result const result = decode(data[0], &arena, span_of(data + 1, size - 1));
    CHECK(codec_result_text(result) != NULL);
    arena_free(&arena);
    return 0;
}
