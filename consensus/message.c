/*
 * message: see message.h. What a link's owner may say in somebody else's name:
 * only what proves itself, a new view with its signature and a nonce with its commitment.
 */
#include "consensus/message.h"

static enum codec_result decode_pre_prepare(struct peer_message *message,
                                            const struct configuration *configuration,
                                            struct span payload) {
    struct pre_prepare_message *const out = &message->pre_prepare.message;
    enum codec_result result = pre_prepare_message_decode(out, &message->arena, payload);
    if (result == CODEC_OK) {
        result =
            pre_prepare_decode(&message->pre_prepare.body, &message->arena, out->statement.body);
    }
    if (result != CODEC_OK) {
        return result;
    }
    if (message->pre_prepare.body.config != configuration->number) {
        return CODEC_OK;
    }
    if (configuration_primary(configuration, message->pre_prepare.body.view) != message->from) {
        return CODEC_MISMATCH;
    }
    message->signed_statement = true;
    message->check = (struct sign_check){
        .key = configuration->replicas[message->from].key,
        .signature = out->statement.signature,
        .body = out->statement.body,
        .label = LABEL_PRE_PREPARE,
    };
    return CODEC_OK;
}

static enum codec_result decode_prepare(struct peer_message *message,
                                        const struct configuration *configuration,
                                        struct span payload) {
    struct signed_body *const statement = &message->prepare.statement;
    enum codec_result result =
        signed_decode(statement, &message->arena, payload, STATEMENT_SIZE_MAX);
    if (result == CODEC_OK) {
        result = prepare_decode(&message->prepare.body, &message->arena, statement->body);
    }
    if (result != CODEC_OK) {
        return result;
    }
    if (message->prepare.body.config != configuration->number) {
        return CODEC_OK;
    }
    if (message->prepare.body.replica >= configuration->replica_count) {
        return CODEC_MISMATCH;
    }
    message->signed_statement = true;
    message->check = (struct sign_check){
        .key = configuration->replicas[message->prepare.body.replica].key,
        .signature = statement->signature,
        .body = statement->body,
        .label = LABEL_PREPARE,
    };
    return CODEC_OK;
}

static enum codec_result decode_view_change(struct peer_message *message,
                                            const struct configuration *configuration,
                                            struct span payload) {
    struct signed_body *const statement = &message->view_change.statement;
    enum codec_result result =
        signed_decode(statement, &message->arena, payload, VIEW_CHANGE_SIGNED_SIZE_MAX);
    if (result == CODEC_OK) {
        result = view_change_decode(&message->view_change.body, &message->arena, statement->body);
    }
    if (result != CODEC_OK) {
        return result;
    }
    if (message->view_change.body.config != configuration->number) {
        return CODEC_OK;
    }
    if (message->view_change.body.replica != message->from ||
        message->from >= configuration->replica_count) {
        return CODEC_MISMATCH;
    }
    message->signed_statement = true;
    message->check = (struct sign_check){
        .key = configuration->replicas[message->from].key,
        .signature = statement->signature,
        .body = statement->body,
        .label = LABEL_VIEW_CHANGE,
    };
    return CODEC_OK;
}

static enum codec_result decode_new_view(struct peer_message *message,
                                         const struct configuration *configuration,
                                         struct span payload) {
    struct signed_body *const statement = &message->new_view.statement;
    enum codec_result result =
        new_view_message_decode(&message->new_view.message, &message->arena, payload);
    if (result == CODEC_OK) {
        result = signed_decode(statement, &message->arena, message->new_view.message.new_view,
                               STATEMENT_SIZE_MAX);
    }
    if (result == CODEC_OK) {
        result = new_view_decode(&message->new_view.body, &message->arena, statement->body);
    }
    if (result != CODEC_OK) {
        return result;
    }
    if (message->new_view.body.config != configuration->number) {
        return CODEC_OK;
    }
    uint32_t const primary = configuration_primary(configuration, message->new_view.body.view);
    message->signed_statement = true;
    message->check = (struct sign_check){
        .key = configuration->replicas[primary].key,
        .signature = statement->signature,
        .body = statement->body,
        .label = LABEL_NEW_VIEW,
    };
    return CODEC_OK;
}

static enum codec_result decode_commit(struct peer_message *message,
                                       const struct configuration *configuration,
                                       struct span payload) {
    enum codec_result const result =
        commit_message_decode(&message->commit, &message->arena, payload);
    if (result != CODEC_OK || message->commit.config != configuration->number) {
        return result;
    }
    return message->commit.replica < configuration->replica_count ? CODEC_OK : CODEC_MISMATCH;
}

enum codec_result peer_message_decode(struct peer_message *message,
                                      const struct configuration *configuration, uint32_t from,
                                      uint8_t kind, struct span payload) {
    message->kind = (enum message_kind)kind;
    message->from = from;
    message->signed_statement = false;
    /* Decoded structures are a few times larger than their bytes; items of a state, which may be
     * tiny, many times. */
    size_t const factor = message->kind == MESSAGE_CHECKPOINT_ITEMS ? 32 : 8;
    arena_init(&message->arena, factor * payload.size + (64u << 10));
    struct arena *const arena = &message->arena;
    switch (message->kind) {
    case MESSAGE_PRE_PREPARE:
        return decode_pre_prepare(message, configuration, payload);
    case MESSAGE_PREPARE:
        return decode_prepare(message, configuration, payload);
    case MESSAGE_COMMIT:
        return decode_commit(message, configuration, payload);
    case MESSAGE_VIEW_CHANGE:
        return decode_view_change(message, configuration, payload);
    case MESSAGE_NEW_VIEW:
        return decode_new_view(message, configuration, payload);
    case MESSAGE_STATUS:
        return status_message_decode(&message->status, arena, payload);
    case MESSAGE_FETCH_REQUESTS:
        return fetch_requests_message_decode(&message->fetch_requests, arena, payload);
    case MESSAGE_REQUESTS:
        return requests_message_decode(&message->requests, arena, payload);
    case MESSAGE_FETCH_RANGE:
        return fetch_range_message_decode(&message->fetch_range_first_entry, arena, payload);
    case MESSAGE_RANGE:
        return range_message_decode(&message->range, arena, payload);
    case MESSAGE_FETCH_CHECKPOINT:
        return fetch_checkpoint_message_decode(&message->fetch_checkpoint, arena, payload);
    case MESSAGE_CHECKPOINT_OFFER:
        return checkpoint_offer_message_decode(&message->checkpoint_offer, arena, payload);
    case MESSAGE_CHECKPOINT_DIGESTS:
        return checkpoint_digests_message_decode(&message->checkpoint_digests, arena, payload);
    case MESSAGE_CHECKPOINT_ITEMS:
        return checkpoint_items_message_decode(&message->checkpoint_items, arena, payload);
    case MESSAGE_CHAIN_QUERY:
        return chain_query_decode(&message->chain_query_config, arena, payload);
    case MESSAGE_CHAIN_REPLY:
        return chain_reply_message_decode(&message->chain_reply, arena, payload);
    case MESSAGE_REQUEST:
    case MESSAGE_STATUS_QUERY:
    case MESSAGE_RECEIPT_QUERY:
    case MESSAGE_REPLY:
    case MESSAGE_RESULT:
    case MESSAGE_REJECT:
    case MESSAGE_STATUS_REPLY:
    case MESSAGE_RECEIPT_REPLY:
    case MESSAGE_DEMAND:
    case MESSAGE_SERVED:
        break;
    }
    return CODEC_RANGE;
}

void peer_message_free(struct peer_message *message) {
    arena_free(&message->arena);
}
