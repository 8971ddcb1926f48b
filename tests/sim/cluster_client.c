/*
 * cluster_client: clients that send requests, collect replies and results, and make receipts of
 * them (see cluster.h). A receipt that does not verify fails the run, unless a puppet had a part in
 * it; so do two receipts of one request that differ.
 */
#include <stdio.h>

#include "base/check.h"
#include "ledger/derive.h"
#include "tests/sim/cluster.h"
#include "tests/sim/second_verifier.h"

#define RETRY_US 1000000u
#define RETRIES_MAX 200u

/* ---- sending ---- */

uint32_t cluster_prepare_order(struct cluster *cluster, uint32_t client,
                               const struct order *order) {
    struct buffer encoded;
    struct order made = *order;
    uint64_t capacity = cluster->request_capacity;
    if (made.author == NULL) {
        made.author = &cluster->consortium.users[client];
    }
    if (made.number == 0) {
        made.number = 1000000 + ++cluster->requests_made;
    }
    buffer_init(&encoded, REQUEST_SIZE_MAX);
    order_encode(&encoded, &cluster->consortium, &made);
    list_reserve(&cluster->requests, cluster->request_count, &capacity, sizeof *cluster->requests);
    cluster->request_capacity = (uint32_t)capacity;
    struct client_request *const request = &cluster->requests[cluster->request_count];
    *request = (struct client_request){.client = client,
                                       .bytes = cluster_keep(cluster, buffer_span(&encoded))};
    CHECK(request_decode(&request->request, &cluster->arena, &cluster->configuration->service,
                         request->bytes) == CODEC_OK);
    request->id = request->request.id;
    buffer_free(&encoded);
    return cluster->request_count++;
}

static void send_frame(struct cluster *cluster, uint32_t client, uint32_t node,
                       enum message_kind kind, struct span payload) {
    uint64_t const delay = prng_between(&cluster->prng, 100, 400);
    cluster_schedule(cluster, &(struct sim_event){.at_us = cluster->now_us + delay,
                                                  .kind = SIM_FRAME,
                                                  .node = node,
                                                  .from = CLUSTER_NODES_MAX + client,
                                                  .message = (uint8_t)kind,
                                                  .payload = payload});
}

void cluster_send_request(struct cluster *cluster, uint32_t request, uint32_t node) {
    struct client_request *const at = &cluster->requests[request];
    if (at->sent_us == 0) {
        at->sent_us = cluster->now_us + 1;
    }
    send_frame(cluster, at->client, node, MESSAGE_REQUEST, at->bytes);
}

void cluster_query_receipt(struct cluster *cluster, uint32_t request, uint32_t node) {
    struct client_request *const at = &cluster->requests[request];
    struct buffer encoded;
    buffer_init(&encoded, STATEMENT_SIZE_MAX);
    CHECK(receipt_query_encode(&encoded, &at->id));
    send_frame(cluster, at->client, node, MESSAGE_RECEIPT_QUERY,
               cluster_keep(cluster, buffer_span(&encoded)));
    buffer_free(&encoded);
}

static void send_to_all(struct cluster *cluster, uint32_t request) {
    for (uint32_t node = 0; node < cluster->node_count; node++) {
        cluster_send_request(cluster, request, node);
    }
    if (!cluster->options.no_retries) {
        cluster_schedule(cluster, &(struct sim_event){.at_us = cluster->now_us + RETRY_US,
                                                      .kind = SIM_RETRY,
                                                      .node = request});
    }
}

void client_retry(struct cluster *cluster, uint32_t request) {
    if (!cluster->requests[request].done) {
        send_to_all(cluster, request);
    }
}

uint32_t cluster_submit_order(struct cluster *cluster, uint32_t client, const struct order *order) {
    uint32_t const request = cluster_prepare_order(cluster, client, order);
    send_to_all(cluster, request);
    return request;
}

uint32_t cluster_submit(struct cluster *cluster, const char *call) {
    return cluster_submit_order(cluster, cluster->request_count % CLUSTER_CLIENTS,
                                &(struct order){.call_count = 1, .calls = &call});
}

/* ---- receipts ---- */

static struct client_request *request_by_id(struct cluster *cluster, const struct digest *id,
                                            uint32_t *number) {
    for (uint32_t i = cluster->request_count; i > 0; i--) {
        if (digest_equal(&cluster->requests[i - 1].id, id)) {
            *number = i - 1;
            return &cluster->requests[i - 1];
        }
    }
    return NULL;
}

/* Two answers for one request are one answer. */
static void judge_result(struct cluster *cluster, uint32_t number, uint64_t seq,
                         const struct request_result *result) {
    struct client_request *const request = &cluster->requests[number];
    uint32_t const kept = request->request.call_count < 4 ? request->request.call_count : 4;
    request->receipts++;
    if (request->done) {
        bool same = request->seq == seq && request->first_index == result->first_index;
        for (uint32_t i = 0; i < kept; i++) {
            same = same && span_equal(request->outcomes[i], result->outcomes[i]);
        }
        if (!same) {
            cluster_fail(cluster, "request %u has two different receipts", number);
        }
        return;
    }
    request->done = true;
    request->done_us = cluster->now_us;
    request->seq = seq;
    request->first_index = result->first_index;
    for (uint32_t i = 0; i < kept; i++) {
        request->outcomes[i] = cluster_keep(cluster, result->outcomes[i]);
    }
    cluster_trace(cluster, "request %u has its receipt: batch %llu, index %llu", number,
                  (unsigned long long)seq, (unsigned long long)result->first_index);
}

static bool receipt_of_call(struct cluster *cluster, const struct client_request *request,
                            const struct request_result *result, struct span certificate,
                            const struct tree *calls_tree, uint32_t position,
                            const struct digest *path, unsigned path_count) {
    struct receipt_parts const parts = {.request = &request->request,
                                        .calls_tree = calls_tree,
                                        .position = position,
                                        .index = result->first_index + position,
                                        .outcome = result->outcomes[position],
                                        .batch_path_count = path_count,
                                        .batch_path = path,
                                        .certificate = certificate};
    struct buffer receipt;
    struct arena arena;
    struct verified_receipt verified;
    buffer_init(&receipt, RECEIPT_SIZE_MAX);
    arena_init(&arena, 4 * (size_t)RECEIPT_SIZE_MAX);
    bool holds = receipt_build(&receipt, &parts) &&
                 receipt_verify(&verified, &cluster->receipt_memory, &arena, cluster->configuration,
                                buffer_span(&receipt)) == RECEIPT_VALID;
    if (holds && cluster->receipts_verified++ % 16 == 0) {
        holds = second_verifier_accepts(cluster->configuration, buffer_span(&receipt));
    }
    arena_free(&arena);
    buffer_free(&receipt);
    return holds;
}

/* Make and verify the receipts of all calls of a request. Returns: whether all verify. */
static bool receipts_hold(struct cluster *cluster, const struct client_request *request,
                          const struct request_result *result, struct span certificate) {
    struct digest leaves[CALLS_MAX];
    struct digest root;
    unsigned path_counts[CALLS_MAX];
    struct certificate decoded;
    struct pre_prepare body;
    struct arena arena;
    struct tree calls_tree;
    uint32_t const count = request->request.call_count;
    arena_init(&arena, 4u << 20);
    tree_init(&calls_tree);
    struct digest *const paths = arena_alloc(&arena, count * MERKLE_DEPTH_MAX * sizeof *paths);
    bool holds = paths != NULL && result->outcome_count == count &&
                 certificate_decode(&decoded, &arena, certificate) == CODEC_OK &&
                 pre_prepare_decode(&body, &arena, decoded.pre_prepare) == CODEC_OK &&
                 receipt_calls_tree(&calls_tree, &request->request);
    for (uint32_t i = 0; holds && i < count; i++) {
        struct digest const outcome =
            hash_labelled(LABEL_OUTCOME, &cluster->configuration->service, result->outcomes[i]);
        leaves[i] = batch_leaf(&request->request.digest, i, result->first_index + i, &outcome);
    }
    holds = holds && merkle_range_root(&root, paths, path_counts, leaves, result->leaf, count,
                                       body.tx_count, result->flanks, result->flank_count);
    for (uint32_t i = 0; holds && i < count; i++) {
        holds = receipt_of_call(cluster, request, result, certificate, &calls_tree, i,
                                &paths[i * MERKLE_DEPTH_MAX], path_counts[i]);
    }
    tree_free(&calls_tree);
    arena_free(&arena);
    return holds;
}

/* Replies of Q replicas to the claim's batch, the primary's among them, or false. */
static bool gather(struct cluster *cluster, const struct client_claim *claim,
                   struct certificate *out, struct signature *signatures, struct nonce *nonces) {
    const struct configuration *const configuration = cluster->configuration;
    const struct client_reply *by_replica[CLUSTER_NODES_MAX] = {0};
    uint32_t const primary = configuration_primary(configuration, claim->view);
    for (uint32_t i = 0; i < cluster->reply_count; i++) {
        if (digest_equal(&cluster->replies[i].digest, &claim->digest)) {
            by_replica[cluster->replies[i].replica] = &cluster->replies[i];
        }
    }
    *out = (struct certificate){.pre_prepare = claim->pre_prepare.body,
                                .pre_prepare_signature = claim->pre_prepare.signature,
                                .signatures = signatures,
                                .nonces = nonces};
    uint32_t others = configuration->quorum - 1;
    for (uint32_t r = 0; r < cluster->node_count; r++) {
        if (by_replica[r] == NULL || (r != primary && others == 0)) {
            continue;
        }
        out->signers |= UINT64_C(1) << r;
        nonces[out->nonce_count++] = by_replica[r]->nonce;
        if (r != primary) {
            signatures[out->signature_count++] = by_replica[r]->signature;
            others--;
        }
    }
    return out->nonce_count == configuration->quorum && by_replica[primary] != NULL;
}

static void try_claim(struct cluster *cluster, struct client_claim *claim) {
    struct certificate certificate;
    struct signature signatures[CLUSTER_NODES_MAX];
    struct nonce nonces[CLUSTER_NODES_MAX];
    struct buffer encoded;
    if (claim->used || !gather(cluster, claim, &certificate, signatures, nonces)) {
        return;
    }
    claim->used = true;
    buffer_init(&encoded, COMMIT_CERTIFICATE_SIZE_MAX);
    CHECK(certificate_encode(&encoded, &certificate));
    if (receipts_hold(cluster, &cluster->requests[claim->request], &claim->result,
                      buffer_span(&encoded))) {
        judge_result(cluster, claim->request, claim->seq, &claim->result);
    } else if (cluster->options.puppets == 0 && cluster->filter == NULL) {
        cluster_fail(cluster, "the receipt of request %u does not verify", claim->request);
    }
    buffer_free(&encoded);
}

static void try_claims(struct cluster *cluster, const struct digest *digest) {
    for (uint32_t i = 0; i < cluster->claim_count; i++) {
        if (digest_equal(&cluster->claims[i].digest, digest)) {
            try_claim(cluster, &cluster->claims[i]);
        }
    }
}

static void take_reply(struct cluster *cluster, uint32_t from, struct span payload) {
    struct reply_message reply;
    uint64_t capacity = cluster->reply_capacity;
    if (reply_message_decode(&reply, &cluster->arena, payload) != CODEC_OK ||
        reply.replica != from) {
        cluster_fail(cluster, "node %u sent a reply that does not decode", from);
    }
    for (uint32_t i = 0; i < cluster->reply_count; i++) {
        if (cluster->replies[i].replica == from &&
            digest_equal(&cluster->replies[i].digest, &reply.pre_prepare_digest)) {
            return;
        }
    }
    list_reserve(&cluster->replies, cluster->reply_count, &capacity, sizeof *cluster->replies);
    cluster->reply_capacity = (uint32_t)capacity;
    cluster->replies[cluster->reply_count++] =
        (struct client_reply){.digest = reply.pre_prepare_digest,
                              .replica = from,
                              .signature = reply.signature,
                              .nonce = reply.nonce,
                              .seq = reply.seq,
                              .view = reply.view};
    try_claims(cluster, &reply.pre_prepare_digest);
}

static void take_result(struct cluster *cluster, uint32_t from, struct span payload) {
    struct result_message message;
    struct pre_prepare body;
    if (result_message_decode(&message, &cluster->arena, payload) != CODEC_OK ||
        pre_prepare_decode(&body, &cluster->arena, message.pre_prepare.body) != CODEC_OK) {
        cluster_fail(cluster, "node %u sent a result that does not decode", from);
    }
    struct digest const digest =
        hash_statement(LABEL_PRE_PREPARE, &cluster->configuration->service,
                       message.pre_prepare.body, &message.pre_prepare.signature);
    for (uint32_t i = 0; i < message.count; i++) {
        struct client_claim claim = {.pre_prepare = message.pre_prepare,
                                     .digest = digest,
                                     .view = body.view,
                                     .seq = body.seq,
                                     .result = message.results[i]};
        uint64_t capacity = cluster->claim_capacity;
        if (request_by_id(cluster, &message.results[i].request_id, &claim.request) == NULL) {
            cluster_fail(cluster, "node %u answered what nobody asked", from);
        }
        list_reserve(&cluster->claims, cluster->claim_count, &capacity, sizeof *cluster->claims);
        cluster->claim_capacity = (uint32_t)capacity;
        cluster->claims[cluster->claim_count++] = claim;
    }
    try_claims(cluster, &digest);
}

static void take_receipt(struct cluster *cluster, uint32_t from, struct span payload) {
    struct receipt_reply_message reply;
    struct certificate certificate;
    struct pre_prepare body;
    uint32_t number = 0;
    if (receipt_reply_message_decode(&reply, &cluster->arena, payload) != CODEC_OK ||
        certificate_decode(&certificate, &cluster->arena, reply.certificate) != CODEC_OK ||
        pre_prepare_decode(&body, &cluster->arena, certificate.pre_prepare) != CODEC_OK ||
        request_by_id(cluster, &reply.request_id, &number) == NULL) {
        cluster_fail(cluster, "node %u sent a receipt that does not decode", from);
    }
    if (!receipts_hold(cluster, &cluster->requests[number], &reply.result, reply.certificate)) {
        cluster_fail(cluster, "the receipt of request %u from the ledger does not verify", number);
    }
    judge_result(cluster, number, body.seq, &reply.result);
}

static void take_reject(struct cluster *cluster, struct span payload) {
    struct reject_message reject;
    uint32_t number = 0;
    CHECK(reject_message_decode(&reject, &cluster->arena, payload) == CODEC_OK);
    struct client_request *const request = request_by_id(cluster, &reject.request_id, &number);
    if (request != NULL) {
        request->rejects++;
        request->reject = reject.reason;
        cluster_trace(cluster, "request %u is rejected: %u", number, reject.reason);
    }
}

void client_take(struct cluster *cluster, uint32_t client, uint32_t from, uint8_t kind,
                 struct span payload) {
    (void)client;
    if (kind == MESSAGE_REPLY) {
        take_reply(cluster, from, payload);
    } else if (kind == MESSAGE_RESULT) {
        take_result(cluster, from, payload);
    } else if (kind == MESSAGE_RECEIPT_REPLY) {
        take_receipt(cluster, from, payload);
    } else if (kind == MESSAGE_REJECT) {
        take_reject(cluster, payload);
    } else {
        cluster_fail(cluster, "node %u sent message %u to a client", from, kind);
    }
}

/* ---- looking ---- */

bool cluster_is_done(const struct cluster *cluster, uint32_t request) {
    return cluster->requests[request].done;
}

const char *cluster_reply_text(struct cluster *cluster, uint32_t request) {
    static char text[512];
    struct outcome outcome;
    size_t at = 0;
    CHECK(cluster->requests[request].done);
    CHECK(outcome_decode(&outcome, &cluster->arena, cluster->requests[request].outcomes[0]) ==
          CODEC_OK);
    text[0] = '\0';
    for (uint32_t i = 0; i < outcome.reply_count && at < sizeof text; i++) {
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%.*s", i == 0 ? "" : " ",
                               (int)outcome.reply[i].size, (const char *)outcome.reply[i].data);
    }
    return text;
}
