/*
 * reply: what clients are told (protocol §5 steps 4 and 5).
 *
 * With its nonce a replica answers every client that has a request in the batch: one message a
 * client, whatever the number of its requests. The primary, without which no batch moves anyway,
 * adds results and Merkle paths; whoever retries gets them from every replica.
 */
#include <stdlib.h>

#include "base/check.h"
#include "consensus/state.h"

static void send_client(struct replica *replica, uint64_t origin, enum message_kind kind,
                        struct span payload, uint64_t after) {
    struct effect *const effect = effect_add(replica, EFFECT_SEND_CLIENT);
    if (effect != NULL) {
        effect->send_client.origin = origin;
        effect->send_client.kind = kind;
        effect->send_client.payload = payload;
        effect->send_client.after = after;
    }
}

/* This replica's part of the certificate, encoded once for all clients of the batch. */
static struct span encode_reply(struct replica *replica, const struct slot *slot) {
    uint32_t const self = slot_self(replica, slot);
    bool const primary = slot_primary(replica, slot) == self;
    struct reply_message const reply = {
        .view = slot->body.view,
        .seq = slot->seq,
        .replica = self,
        .pre_prepare_digest = slot->digest,
        .signature = primary ? slot->message.statement.signature : slot->votes[self].signature,
        .nonce = slot->nonces[self],
    };
    buffer_clear(&replica->encode);
    if (!reply_message_encode(&replica->encode, &reply)) {
        replica->failed = true;
    }
    return effect_keep(replica, buffer_span(&replica->encode));
}

/* Where each outcome of the slot lies. */
static struct span *outcome_spans(struct replica *replica, const struct slot *slot) {
    size_t const count = slot->outcome_sizes.size / sizeof(uint32_t);
    struct span *const spans = arena_alloc(&replica->effects->arena, (count + 1) * sizeof *spans);
    size_t offset = 0;
    for (size_t i = 0; spans != NULL && i < count; i++) {
        uint32_t size = 0;
        memcpy(&size, slot->outcome_sizes.data + i * sizeof size, sizeof size);
        spans[i] = span_of(slot->outcomes.data + offset, size);
        offset += size;
    }
    return spans;
}

static bool describe_result(struct replica *replica, const struct slot *slot,
                            const struct slot_request *request, const struct span *outcomes,
                            struct request_result *result) {
    struct digest *const flanks =
        arena_alloc(&replica->effects->arena, MERKLE_RANGE_PROOF_MAX * sizeof *flanks);
    if (flanks == NULL) {
        return false;
    }
    *result = (struct request_result){
        .request_id = request->id,
        .first_index = request->first_index,
        .leaf = request->leaf,
        .outcome_count = request->call_count,
        .outcomes = &outcomes[request->leaf],
        .flanks = flanks,
    };
    result->flank_count = tree_range_proof(&slot->tree, flanks, request->leaf, request->call_count);
    return true;
}

/* A result message must fit a frame: several are sent when outcomes are large. */
#define RESULT_SIZE_SOFT_MAX (FRAME_SIZE_MAX / 16)

static void send_results(struct replica *replica, const struct slot *slot, uint64_t origin,
                         struct request_result *results, uint32_t count) {
    struct result_message const message = {
        .pre_prepare = slot->message.statement, .count = count, .results = results};
    buffer_clear(&replica->encode);
    if (count == 0) {
        return;
    }
    if (!result_message_encode(&replica->encode, &message)) {
        replica->failed = true;
        return;
    }
    send_client(replica, origin, MESSAGE_RESULT,
                effect_keep(replica, buffer_span(&replica->encode)), reveal_after(replica, slot));
}

static void reply_one_client(struct replica *replica, struct slot *slot, uint64_t origin,
                             struct span reply, const struct span *outcomes,
                             struct request_result *results) {
    uint32_t count = 0;
    size_t size = 0;
    send_client(replica, origin, MESSAGE_REPLY, reply, reveal_after(replica, slot));
    for (uint32_t i = 0; outcomes != NULL && i < slot_request_count(slot); i++) {
        const struct slot_request *const request = slot_request_at(slot, i);
        if (request->origin != origin) {
            continue;
        }
        if (!describe_result(replica, slot, request, outcomes, &results[count])) {
            replica->failed = true;
            return;
        }
        for (uint32_t k = 0; k < request->call_count; k++) {
            size += outcomes[request->leaf + k].size + 64;
        }
        count++;
        if (size > RESULT_SIZE_SOFT_MAX) {
            send_results(replica, slot, origin, results, count);
            count = 0;
            size = 0;
        }
    }
    send_results(replica, slot, origin, results, count);
}

static int origin_compare(const void *a, const void *b) {
    uint64_t left = 0;
    uint64_t right = 0;
    memcpy(&left, a, sizeof left);
    memcpy(&right, b, sizeof right);
    return (left > right) - (left < right);
}

void reply_batch(struct replica *replica, struct slot *slot, bool with_result) {
    uint32_t const count = slot_request_count(slot);
    if (count == 0 || !slot->revealed) {
        return;
    }
    struct arena *const arena = &replica->effects->arena;
    uint64_t *const origins = arena_alloc(arena, count * sizeof *origins);
    struct request_result *const results = arena_alloc(arena, count * sizeof *results);
    struct span *const outcomes = with_result ? outcome_spans(replica, slot) : NULL;
    if (origins == NULL || results == NULL || (with_result && outcomes == NULL)) {
        replica->failed = true;
        return;
    }
    uint32_t origin_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t const candidate = slot_request_at(slot, i)->origin;
        if (candidate != 0) {
            origins[origin_count++] = candidate;
        }
    }
    if (origin_count == 0) {
        return;
    }
    qsort(origins, origin_count, sizeof *origins, origin_compare);
    struct span const reply = encode_reply(replica, slot);
    for (uint32_t i = 0; i < origin_count; i++) {
        if (i == 0 || origins[i] != origins[i - 1]) {
            reply_one_client(replica, slot, origins[i], reply, outcomes, results);
        }
    }
}

/* One client asks again for one request: give it all that this replica can say, and no more. */
static void reply_again(struct replica *replica, struct slot *slot,
                        const struct slot_request *request) {
    if (!slot->revealed || !is_voting(replica)) {
        return; /* the batch will be answered when it is, in whatever view */
    }
    const struct span *const outcomes = outcome_spans(replica, slot);
    struct request_result result;
    if (outcomes == NULL || !describe_result(replica, slot, request, outcomes, &result)) {
        replica->failed = true;
        return;
    }
    send_client(replica, request->origin, MESSAGE_REPLY, encode_reply(replica, slot),
                reveal_after(replica, slot));
    send_results(replica, slot, request->origin, &result, 1);
}

/*
 * The batch is committed, and the ledger does not evidence it yet: the certificate from what this
 * replica holds. Replies of Q replicas might never come together, for some may be gone.
 */
static void reply_receipt(struct replica *replica, const struct slot *slot,
                          const struct slot_request *request) {
    const struct span *const outcomes = outcome_spans(replica, slot);
    struct request_result result;
    struct evidence_parts parts;
    struct batch_evidence evidence;
    uint64_t const signers = slot_choose_signers(replica, slot);
    slot_gather(replica, slot, signers, &parts, &evidence);
    struct certificate const certificate = {
        .pre_prepare = slot->message.statement.body,
        .pre_prepare_signature = slot->message.statement.signature,
        .signers = signers,
        .signature_count = evidence.signature_count,
        .signatures = evidence.signatures,
        .nonce_count = evidence.nonce_count,
        .nonces = evidence.nonces,
    };
    buffer_clear(&replica->encode);
    if (outcomes == NULL || !describe_result(replica, slot, request, outcomes, &result) ||
        !certificate_encode(&replica->encode, &certificate)) {
        replica->failed = true;
        return;
    }
    struct receipt_reply_message const reply = {
        .request_id = request->id,
        .certificate = effect_keep(replica, buffer_span(&replica->encode)),
        .result = result,
    };
    buffer_clear(&replica->encode);
    if (!receipt_reply_message_encode(&replica->encode, &reply)) {
        replica->failed = true;
        return;
    }
    send_client(replica, request->origin, MESSAGE_RECEIPT_REPLY,
                effect_keep(replica, buffer_span(&replica->encode)), replica->sign_position);
}

void reply_reject(struct replica *replica, uint64_t origin, const struct digest *request_id,
                  enum reject_reason reason) {
    struct reject_message const reject = {
        .request_id = *request_id,
        .reason = reason,
        .next_index = checker_position(replica->checker)->next_index,
    };
    buffer_clear(&replica->encode);
    if (!reject_message_encode(&replica->encode, &reject)) {
        replica->failed = true;
        return;
    }
    send_client(replica, origin, MESSAGE_REJECT,
                effect_keep(replica, buffer_span(&replica->encode)), 0);
}

void reply_executed(struct replica *replica, uint64_t origin, const struct digest *request_id,
                    const struct window_place *place) {
    if (origin == 0) {
        return;
    }
    if (place->seq <= replica->evidenced_seq) {
        if (!replica->held && place->seq > checker_position(replica->checker)->evidence_upto) {
            return; /* a new view has just begun, and its first batch brings the evidence */
        }
        struct effect *const effect = effect_add(replica, EFFECT_SERVE_RECEIPT);
        if (effect != NULL) {
            effect->serve_receipt.origin = origin;
            effect->serve_receipt.request_id = *request_id;
            effect->serve_receipt.place = *place;
        }
        return;
    }
    struct slot *const slot = slot_find(replica, place->seq);
    for (uint32_t i = 0; slot != NULL && i < slot_request_count(slot); i++) {
        struct slot_request *const request = slot_request_at(slot, i);
        if (digest_equal(&request->id, request_id)) {
            request->origin = origin;
            if (slot->seq <= replica->committed_seq && slot_can_evidence(replica, slot)) {
                reply_receipt(replica, slot, request);
            } else {
                reply_again(replica, slot, request);
            }
            return;
        }
    }
}

void on_request(struct replica *replica, uint64_t origin, const struct request *request) {
    struct window_place place;
    if (window_find(checker_window(replica->checker), &request->id, &place)) {
        reply_executed(replica, origin, &request->id, &place);
        return;
    }
    bool taken = pool_add(replica->pool, request, origin, false, replica->now_ms) != NULL;
    if (!taken && batch_waits_for(replica, &request->digest)) {
        taken = pool_add(replica->pool, request, origin, true, replica->now_ms) != NULL;
    }
    if (!taken && origin != 0) {
        reply_reject(replica, origin, &request->id, REJECT_BUSY);
    }
}

void on_receipt_query(struct replica *replica, uint64_t origin, const struct digest *request_id) {
    struct window_place place;
    if (window_find(checker_window(replica->checker), request_id, &place)) {
        reply_executed(replica, origin, request_id, &place);
    } else {
        reply_reject(replica, origin, request_id, REJECT_UNKNOWN);
    }
}
