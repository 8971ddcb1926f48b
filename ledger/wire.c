/*
 * wire: see wire.h. Messages are envelopes: what is inside a statement, a request or an entry is
 * decoded by whoever uses it, from the same bytes.
 */
#include "ledger/wire.h"

#include "base/check.h"
#include "ledger/entry_codec.h"
#include "ledger/field.h"
#include "ledger/onus.pb-c.h"
#include "ledger/pack.h"
#include "ledger/strict.h"
#include "merkle/tree.h"

#define FIELD_RANGE_ENTRIES 2u
#define FIELD_RESULTS 3u
#define STATUS_WANTS_ANSWER 1u
#define STATUS_SUSPECTS 2u

/* Messages of a few numbers and at most two signatures' worth of bytes. */
#define SMALL_SIZE_MAX 256u

#define PAYLOAD_SIZE_MAX (FRAME_SIZE_MAX - FRAME_HEADER_SIZE)
#define PRE_PREPARE_SIZE_MAX                                                                       \
    (STATEMENT_SIZE_MAX + EVIDENCE_SIZE_MAX + WIRE_DIGESTS_MAX * DIGEST_SIZE + SMALL_SIZE_MAX)
#define NEW_VIEW_SIZE_MAX (VIEW_CHANGE_SET_SIZE_MAX + STATEMENT_SIZE_MAX + SMALL_SIZE_MAX)
#define OFFER_SIZE_MAX                                                                             \
    (COMMIT_CERTIFICATE_SIZE_MAX + SNAPSHOT_OFFERED_SIZE_MAX +                                     \
     (MERKLE_DEPTH_MAX + 1u) * DIGEST_SIZE + SMALL_SIZE_MAX)
#define DIGESTS_SIZE_MAX (WIRE_DIGESTS_MAX * DIGEST_SIZE + SMALL_SIZE_MAX)
#define FETCH_REQUESTS_SIZE_MAX (WIRE_REQUESTS_MAX * DIGEST_SIZE + SMALL_SIZE_MAX)
#define STATUS_REPLY_SIZE_MAX (STATUS_ERROR_SIZE_MAX + SMALL_SIZE_MAX)

static_assert(PRE_PREPARE_SIZE_MAX <= PAYLOAD_SIZE_MAX, "the largest pre-prepare fits a frame");
static_assert(NEW_VIEW_SIZE_MAX <= PAYLOAD_SIZE_MAX, "the largest new view fits a frame");
static_assert(PAYLOAD_SIZE_MAX >= ENTRY_SIZE_MAX + COMMIT_CERTIFICATE_SIZE_MAX +
                                      MERKLE_RANGE_PROOF_MAX * DIGEST_SIZE + SMALL_SIZE_MAX,
              "the results of the largest request fit a frame with their proof");
static_assert(PAYLOAD_SIZE_MAX >= RANGE_SIZE_SOFT_MAX +
                                      STATE_GROUP_ITEMS * (KEY_SIZE_MAX + VALUE_SIZE_MAX + 16u) +
                                      SMALL_SIZE_MAX,
              "a group of the largest items fits a frame behind the soft limit");
static_assert(PAYLOAD_SIZE_MAX >= SERVED_PAYLOAD_SIZE_MAX + 2u * SMALL_SIZE_MAX + 64u,
              "an answer fits a frame with what was signed under it");
static_assert(WIRE_ITEMS_MAX % STATE_GROUP_ITEMS == 0, "only whole groups travel");
static_assert(WIRE_REQUESTS_MAX <= WIRE_DIGESTS_MAX, "what is asked for was named before");

size_t message_size_max(uint8_t kind) {
    switch ((enum message_kind)kind) {
    case MESSAGE_PRE_PREPARE:
        return PRE_PREPARE_SIZE_MAX;
    case MESSAGE_PREPARE:
        return STATEMENT_SIZE_MAX;
    case MESSAGE_VIEW_CHANGE:
        return VIEW_CHANGE_SIGNED_SIZE_MAX;
    case MESSAGE_NEW_VIEW:
        return NEW_VIEW_SIZE_MAX;
    case MESSAGE_FETCH_REQUESTS:
        return FETCH_REQUESTS_SIZE_MAX;
    case MESSAGE_CHECKPOINT_OFFER:
        return OFFER_SIZE_MAX;
    case MESSAGE_CHECKPOINT_DIGESTS:
        return DIGESTS_SIZE_MAX;
    case MESSAGE_REQUESTS:
    case MESSAGE_RANGE:
    case MESSAGE_CHECKPOINT_ITEMS:
    case MESSAGE_RESULT:
    case MESSAGE_RECEIPT_REPLY:
    case MESSAGE_SERVED:
    case MESSAGE_CHAIN_REPLY:
        return PAYLOAD_SIZE_MAX;
    case MESSAGE_REQUEST:
        return REQUEST_SIZE_MAX;
    case MESSAGE_STATUS_REPLY:
        return STATUS_REPLY_SIZE_MAX;
    case MESSAGE_COMMIT:
    case MESSAGE_STATUS:
    case MESSAGE_FETCH_RANGE:
    case MESSAGE_FETCH_CHECKPOINT:
    case MESSAGE_STATUS_QUERY:
    case MESSAGE_RECEIPT_QUERY:
    case MESSAGE_DEMAND:
    case MESSAGE_CHAIN_QUERY:
    case MESSAGE_REPLY:
    case MESSAGE_REJECT:
        return SMALL_SIZE_MAX;
    }
    return 0;
}

void frame_header_encode(uint8_t out[static FRAME_HEADER_SIZE], enum message_kind kind,
                         size_t payload_size) {
    CHECK(payload_size <= message_size_max((uint8_t)kind));
    store_u32_be(out, (uint32_t)payload_size);
    out[4] = (uint8_t)kind;
}

/* ---- between replicas ------------------------------------------------------------------------ */

enum codec_result pre_prepare_message_decode(struct pre_prepare_message *out, struct arena *arena,
                                             struct span payload) {
    struct unpacked const unpacked = strict_unpack(
        arena, &onus__pb__pre_prepare_message__descriptor, PRE_PREPARE_SIZE_MAX, payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__PrePrepareMessage *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_span(&result, &out->statement.body, in->pre_prepare,
                    (struct bounds){1, STATEMENT_SIZE_MAX});
    field_take_signature(&result, &out->statement.signature, in->signature);
    field_take_span(&result, &out->evidence, in->evidence, (struct bounds){0, EVIDENCE_SIZE_MAX});
    field_take_digests(&result, &out->request_digests, &out->request_count, in->request_digests,
                       (struct bounds){0, WIRE_DIGESTS_MAX});
    return result;
}

bool pre_prepare_message_encode(struct buffer *out, const struct pre_prepare_message *in) {
    Onus__Pb__PrePrepareMessage message = ONUS__PB__PRE_PREPARE_MESSAGE__INIT;
    message.pre_prepare = pack_span(in->statement.body);
    message.signature = pack_signature(&in->statement.signature);
    message.evidence = pack_span(in->evidence);
    message.request_digests =
        pack_span(span_of(in->request_digests, (size_t)in->request_count * DIGEST_SIZE));
    return pack_message(out, &message.base);
}

enum codec_result new_view_message_decode(struct new_view_message *out, struct arena *arena,
                                          struct span payload) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__new_view_message__descriptor, NEW_VIEW_SIZE_MAX, payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__NewViewMessage *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_span(&result, &out->set, in->set, (struct bounds){1, VIEW_CHANGE_SET_SIZE_MAX});
    field_take_span(&result, &out->new_view, in->new_view, (struct bounds){1, STATEMENT_SIZE_MAX});
    return result;
}

bool new_view_message_encode(struct buffer *out, const struct new_view_message *in) {
    Onus__Pb__NewViewMessage message = ONUS__PB__NEW_VIEW_MESSAGE__INIT;
    message.set = pack_span(in->set);
    message.new_view = pack_span(in->new_view);
    return pack_message(out, &message.base);
}

enum codec_result commit_message_decode(struct commit_message *out, struct arena *arena,
                                        struct span payload) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__commit_message__descriptor, SMALL_SIZE_MAX, payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__CommitMessage *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_number(&result, &out->config, in->config);
    field_take_number(&result, &out->view, in->view);
    field_take_seq(&result, &out->seq, in->seq);
    field_take_u32(&result, &out->replica, in->replica, (struct bounds){0, REPLICAS_MAX - 1});
    field_take_nonce(&result, &out->nonce, in->nonce);
    return result;
}

bool commit_message_encode(struct buffer *out, const struct commit_message *in) {
    Onus__Pb__CommitMessage message = ONUS__PB__COMMIT_MESSAGE__INIT;
    message.config = in->config;
    message.view = in->view;
    message.seq = in->seq;
    message.replica = in->replica;
    message.nonce = pack_span(span_of(in->nonce.bytes, NONCE_SIZE));
    return pack_message(out, &message.base);
}

enum codec_result status_message_decode(struct status_message *out, struct arena *arena,
                                        struct span payload) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__status_message__descriptor, SMALL_SIZE_MAX, payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__StatusMessage *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_number(&result, &out->config, in->config);
    field_take_number(&result, &out->view, in->view);
    field_take_number(&result, &out->executed_seq, in->executed_seq);
    field_take_number(&result, &out->committed_seq, in->committed_seq);
    field_take_number(&result, &out->evidenced_seq, in->evidenced_seq);
    field_take_number(&result, &out->evidenced_entries, in->evidenced_entries);
    field_check_range(&result, in->flags,
                      (struct bounds){0, STATUS_WANTS_ANSWER | STATUS_SUSPECTS});
    out->wants_answer = (in->flags & STATUS_WANTS_ANSWER) != 0;
    out->suspects = (in->flags & STATUS_SUSPECTS) != 0;
    field_take_number(&result, &out->asked_view, in->asked_view);
    return result;
}

bool status_message_encode(struct buffer *out, const struct status_message *in) {
    Onus__Pb__StatusMessage message = ONUS__PB__STATUS_MESSAGE__INIT;
    message.config = in->config;
    message.view = in->view;
    message.executed_seq = in->executed_seq;
    message.committed_seq = in->committed_seq;
    message.evidenced_seq = in->evidenced_seq;
    message.evidenced_entries = in->evidenced_entries;
    message.flags =
        (in->wants_answer ? STATUS_WANTS_ANSWER : 0) | (in->suspects ? STATUS_SUSPECTS : 0);
    message.asked_view = in->asked_view;
    return pack_message(out, &message.base);
}

enum codec_result fetch_requests_message_decode(struct fetch_requests_message *out,
                                                struct arena *arena, struct span payload) {
    struct unpacked const unpacked = strict_unpack(
        arena, &onus__pb__fetch_requests_message__descriptor, FETCH_REQUESTS_SIZE_MAX, payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__FetchRequestsMessage *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_seq(&result, &out->seq, in->seq);
    field_take_digests(&result, &out->digests, &out->digest_count, in->request_digests,
                       (struct bounds){1, WIRE_REQUESTS_MAX});
    return result;
}

bool fetch_requests_message_encode(struct buffer *out, const struct fetch_requests_message *in) {
    Onus__Pb__FetchRequestsMessage message = ONUS__PB__FETCH_REQUESTS_MESSAGE__INIT;
    message.seq = in->seq;
    message.request_digests =
        pack_span(span_of(in->digests, (size_t)in->digest_count * DIGEST_SIZE));
    return pack_message(out, &message.base);
}

enum codec_result requests_message_decode(struct requests_message *out, struct arena *arena,
                                          struct span payload) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__requests_message__descriptor, PAYLOAD_SIZE_MAX, payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__RequestsMessage *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_spans(&result, arena, &out->requests, &out->count,
                     (struct elements){in->n_requests, in->requests},
                     (struct bounds){1, REQUEST_SIZE_MAX}, (struct bounds){1, WIRE_REQUESTS_MAX});
    return result;
}

bool requests_message_encode(struct buffer *out, const struct requests_message *in) {
    ProtobufCBinaryData requests[WIRE_REQUESTS_MAX];
    if (in->count > WIRE_REQUESTS_MAX) {
        return pack_refuse(out);
    }
    pack_spans(requests, in->requests, in->count);
    Onus__Pb__RequestsMessage message = ONUS__PB__REQUESTS_MESSAGE__INIT;
    message.n_requests = in->count;
    message.requests = requests;
    return pack_message(out, &message.base);
}

enum codec_result fetch_range_message_decode(uint64_t *first_entry, struct arena *arena,
                                             struct span payload) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__fetch_range_message__descriptor, SMALL_SIZE_MAX, payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__FetchRangeMessage *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_number(&result, first_entry, in->first_entry);
    return result;
}

bool fetch_range_message_encode(struct buffer *out, uint64_t first_entry) {
    Onus__Pb__FetchRangeMessage message = ONUS__PB__FETCH_RANGE_MESSAGE__INIT;
    message.first_entry = first_entry;
    return pack_message(out, &message.base);
}

enum codec_result range_message_decode(struct range_message *out, struct arena *arena,
                                       struct span payload) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__range_message__descriptor, PAYLOAD_SIZE_MAX, payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__RangeMessage *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_number(&result, &out->first_entry, in->first_entry);
    entries_take(&result, arena, &out->entries, &out->count,
                 (struct entry_messages){in->n_entries, in->entries},
                 (struct bounds){0, WIRE_ENTRIES_MAX});
    return result;
}

bool range_message_encode(struct buffer *out, const struct range_message *in) {
    if (in->count > WIRE_ENTRIES_MAX) {
        return pack_refuse(out);
    }
    Onus__Pb__RangeMessage message = ONUS__PB__RANGE_MESSAGE__INIT;
    message.first_entry = in->first_entry;
    return pack_message(out, &message.base) &&
           entries_encode(out, FIELD_RANGE_ENTRIES, in->entries, in->count);
}

/* ---- replica to client ----------------------------------------------------------------------- */

enum codec_result reply_message_decode(struct reply_message *out, struct arena *arena,
                                       struct span payload) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__reply_message__descriptor, SMALL_SIZE_MAX, payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__ReplyMessage *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_number(&result, &out->view, in->view);
    field_take_seq(&result, &out->seq, in->seq);
    field_take_u32(&result, &out->replica, in->replica, (struct bounds){0, REPLICAS_MAX - 1});
    field_take_digest(&result, &out->pre_prepare_digest, in->pre_prepare_digest);
    field_take_signature(&result, &out->signature, in->signature);
    field_take_nonce(&result, &out->nonce, in->nonce);
    return result;
}

bool reply_message_encode(struct buffer *out, const struct reply_message *in) {
    Onus__Pb__ReplyMessage message = ONUS__PB__REPLY_MESSAGE__INIT;
    message.view = in->view;
    message.seq = in->seq;
    message.replica = in->replica;
    message.pre_prepare_digest = pack_digest(&in->pre_prepare_digest);
    message.signature = pack_signature(&in->signature);
    message.nonce = pack_span(span_of(in->nonce.bytes, NONCE_SIZE));
    return pack_message(out, &message.base);
}

static void take_request_result(enum codec_result *result, struct request_result *out,
                                struct arena *arena, const Onus__Pb__RequestResult *in) {
    if (in == NULL) {
        field_fail(result, CODEC_LENGTH);
        return;
    }
    field_take_digest(result, &out->request_id, in->request_id);
    field_take_number(result, &out->first_index, in->first_index);
    field_check_range(result, in->leaf, (struct bounds){0, BATCH_CALLS_MAX - 1});
    out->leaf = in->leaf;
    field_take_spans(result, arena, &out->outcomes, &out->outcome_count,
                     (struct elements){in->n_outcomes, in->outcomes},
                     (struct bounds){1, OUTCOME_SIZE_MAX}, (struct bounds){1, CALLS_MAX});
    field_take_digests(result, &out->flanks, &out->flank_count, in->flanks,
                       (struct bounds){0, MERKLE_RANGE_PROOF_MAX});
}

/* Borrows from `in`; outcomes has room for CALLS_MAX, which in->outcome_count does not exceed. */
static Onus__Pb__RequestResult request_result_message(const struct request_result *in,
                                                      ProtobufCBinaryData *outcomes) {
    Onus__Pb__RequestResult message = ONUS__PB__REQUEST_RESULT__INIT;
    pack_spans(outcomes, in->outcomes, in->outcome_count);
    message.request_id = pack_digest(&in->request_id);
    message.first_index = in->first_index;
    message.leaf = in->leaf;
    message.n_outcomes = in->outcome_count;
    message.outcomes = outcomes;
    message.flanks = pack_span(span_of(in->flanks, (size_t)in->flank_count * DIGEST_SIZE));
    return message;
}

enum codec_result result_message_decode(struct result_message *out, struct arena *arena,
                                        struct span payload) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__result_message__descriptor, PAYLOAD_SIZE_MAX, payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__ResultMessage *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_span(&result, &out->pre_prepare.body, in->pre_prepare,
                    (struct bounds){1, STATEMENT_SIZE_MAX});
    field_take_signature(&result, &out->pre_prepare.signature, in->signature);
    field_check_range(&result, in->n_results, (struct bounds){1, WIRE_RESULTS_MAX});
    if (result != CODEC_OK) {
        return result;
    }
    struct request_result *const results =
        field_alloc(&result, arena, in->n_results, sizeof *results);
    for (size_t i = 0; result == CODEC_OK && i < in->n_results; i++) {
        take_request_result(&result, &results[i], arena, in->results[i]);
    }
    out->count = (uint32_t)in->n_results;
    out->results = results;
    return result;
}

bool result_message_encode(struct buffer *out, const struct result_message *in) {
    ProtobufCBinaryData outcomes[CALLS_MAX];
    if (in->count > WIRE_RESULTS_MAX) {
        return pack_refuse(out);
    }
    Onus__Pb__ResultMessage message = ONUS__PB__RESULT_MESSAGE__INIT;
    message.pre_prepare = pack_span(in->pre_prepare.body);
    message.signature = pack_signature(&in->pre_prepare.signature);
    if (!pack_message(out, &message.base)) {
        return false;
    }
    for (uint32_t i = 0; i < in->count; i++) {
        if (in->results[i].outcome_count > CALLS_MAX) {
            return pack_refuse(out);
        }
        Onus__Pb__RequestResult const result = request_result_message(&in->results[i], outcomes);
        if (!pack_element(out, FIELD_RESULTS, &result.base)) {
            return false;
        }
    }
    return true;
}

static_assert((int)REJECT_BUSY == (int)ONUS__PB__REJECT_REASON__REJECT_REASON_BUSY &&
                  (int)REJECT_NOT_VOTING == (int)ONUS__PB__REJECT_REASON__REJECT_REASON_NOT_VOTING,
              "reasons are numbered as in the schema");

enum codec_result reject_message_decode(struct reject_message *out, struct arena *arena,
                                        struct span payload) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__reject_message__descriptor, SMALL_SIZE_MAX, payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__RejectMessage *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_digest(&result, &out->request_id, in->request_id);
    field_check_range(&result, (uint64_t)in->reason,
                      (struct bounds){REJECT_BUSY, REJECT_NOT_VOTING});
    out->reason = (enum reject_reason)in->reason;
    field_take_number(&result, &out->next_index, in->next_index);
    return result;
}

bool reject_message_encode(struct buffer *out, const struct reject_message *in) {
    Onus__Pb__RejectMessage message = ONUS__PB__REJECT_MESSAGE__INIT;
    message.request_id = pack_digest(&in->request_id);
    message.reason = (Onus__Pb__RejectReason)in->reason;
    message.next_index = in->next_index;
    return pack_message(out, &message.base);
}

/* ---- status and receipts on demand ----------------------------------------------------------- */

enum codec_result status_query_decode(struct arena *arena, struct span payload) {
    return strict_unpack(arena, &onus__pb__status_query_message__descriptor, SMALL_SIZE_MAX,
                         payload)
        .result;
}

/* Text that can go to a terminal: no control characters. */
static void take_error_text(enum codec_result *result, struct span *out, ProtobufCBinaryData in) {
    field_take_span(result, out, in, (struct bounds){0, STATUS_ERROR_SIZE_MAX});
    for (size_t i = 0; *result == CODEC_OK && i < in.len; i++) {
        if (in.data[i] < ' ' || in.data[i] == 0x7f) {
            field_fail(result, CODEC_RANGE);
        }
    }
}

enum codec_result status_reply_message_decode(struct status_reply_message *out, struct arena *arena,
                                              struct span payload) {
    struct unpacked const unpacked = strict_unpack(
        arena, &onus__pb__status_reply_message__descriptor, STATUS_REPLY_SIZE_MAX, payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__StatusReplyMessage *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_digest(&result, &out->service, in->service);
    field_take_u32(&result, &out->replica, in->replica, (struct bounds){0, REPLICAS_MAX - 1});
    field_take_number(&result, &out->config, in->config);
    field_take_number(&result, &out->view, in->view);
    field_take_u32(&result, &out->primary, in->primary, (struct bounds){0, REPLICAS_MAX - 1});
    field_take_number(&result, &out->executed_seq, in->executed_seq);
    field_take_number(&result, &out->committed_seq, in->committed_seq);
    field_take_number(&result, &out->next_index, in->next_index);
    field_take_number(&result, &out->ledger_size, in->ledger_size);
    out->voting = in->voting != 0;
    take_error_text(&result, &out->last_error, in->last_error);
    field_take_number(&result, &out->committed_index, in->committed_index);
    return result;
}

bool status_reply_message_encode(struct buffer *out, const struct status_reply_message *in) {
    Onus__Pb__StatusReplyMessage message = ONUS__PB__STATUS_REPLY_MESSAGE__INIT;
    message.service = pack_digest(&in->service);
    message.replica = in->replica;
    message.config = in->config;
    message.view = in->view;
    message.primary = in->primary;
    message.executed_seq = in->executed_seq;
    message.committed_seq = in->committed_seq;
    message.next_index = in->next_index;
    message.ledger_size = in->ledger_size;
    message.voting = in->voting;
    message.last_error = pack_span(in->last_error);
    message.committed_index = in->committed_index;
    return pack_message(out, &message.base);
}

enum codec_result receipt_query_decode(struct digest *request_id, struct arena *arena,
                                       struct span payload) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__receipt_query_message__descriptor, SMALL_SIZE_MAX, payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__ReceiptQueryMessage *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_digest(&result, request_id, in->request_id);
    return result;
}

bool receipt_query_encode(struct buffer *out, const struct digest *request_id) {
    Onus__Pb__ReceiptQueryMessage message = ONUS__PB__RECEIPT_QUERY_MESSAGE__INIT;
    message.request_id = pack_digest(request_id);
    return pack_message(out, &message.base);
}

enum codec_result receipt_reply_message_decode(struct receipt_reply_message *out,
                                               struct arena *arena, struct span payload) {
    struct unpacked const unpacked = strict_unpack(
        arena, &onus__pb__receipt_reply_message__descriptor, PAYLOAD_SIZE_MAX, payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__ReceiptReplyMessage *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_digest(&result, &out->request_id, in->request_id);
    field_take_span(&result, &out->certificate, in->certificate,
                    (struct bounds){1, COMMIT_CERTIFICATE_SIZE_MAX});
    take_request_result(&result, &out->result, arena, in->result);
    return result;
}

bool receipt_reply_message_encode(struct buffer *out, const struct receipt_reply_message *in) {
    ProtobufCBinaryData outcomes[CALLS_MAX];
    if (in->result.outcome_count > CALLS_MAX) {
        return pack_refuse(out);
    }
    Onus__Pb__RequestResult result = request_result_message(&in->result, outcomes);
    Onus__Pb__ReceiptReplyMessage message = ONUS__PB__RECEIPT_REPLY_MESSAGE__INIT;
    message.request_id = pack_digest(&in->request_id);
    message.certificate = pack_span(in->certificate);
    message.result = &result;
    return pack_message(out, &message.base);
}
