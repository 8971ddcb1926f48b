/*
 * cluster_client: clients that send requests, collect replies and results, and make receipts of
 * them (see cluster.h). With cluster_options.sessions the requests are in the hands of
 * client/session.h, and this file only looks on. A receipt that does not verify fails the run,
 * unless somebody Byzantine had a part in it; so do two receipts of one request that differ, and a
 * request that was ordered before one whose receipt was already held.
 */
#include <stdio.h>

#include "base/check.h"
#include "ledger/derive.h"
#include "tests/sim/cluster.h"
#include "tests/sim/second_verifier.h"

#define RETRY_US 1000000u
#define OUTCOMES_KEPT 4u
#define SECOND_VERIFIER_EVERY 16u

/* ---- sending ---- */

bool client_find(struct cluster *cluster, const struct digest *id, uint32_t *number) {
    struct table_key const key = table_key_of(id);
    const struct digest *const value = table_find(&cluster->request_numbers, &key);
    *number = value == NULL ? 0 : (uint32_t)table_number(value);
    return value != NULL;
}

uint32_t cluster_prepare_order(struct cluster *cluster, uint32_t client,
                               const struct order *order) {
    struct buffer encoded;
    struct order made = *order;
    uint64_t capacity = cluster->request_capacity;
    bool is_new = false;
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
    struct table_key const key = table_key_of(&request->id);
    table_number_set(table_at(&cluster->request_numbers, &key, &is_new), cluster->request_count);
    return cluster->request_count++;
}

static void note_sent(struct cluster *cluster, struct client_request *request) {
    if (request->sent_us == 0) {
        request->sent_us = cluster->now_us + 1;
        request->floor_index = cluster->highest_index;
    }
}

void cluster_send_request(struct cluster *cluster, uint32_t request, uint32_t node) {
    struct client_request *const at = &cluster->requests[request];
    note_sent(cluster, at);
    send_from_client(cluster, at->client, node, MESSAGE_REQUEST, at->bytes);
}

void cluster_query_receipt(struct cluster *cluster, uint32_t request, uint32_t node) {
    struct client_request *const at = &cluster->requests[request];
    struct buffer encoded;
    buffer_init(&encoded, STATEMENT_SIZE_MAX);
    CHECK(receipt_query_encode(&encoded, &at->id));
    send_from_client(cluster, at->client, node, MESSAGE_RECEIPT_QUERY, buffer_span(&encoded));
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
    if (cluster->options.sessions) {
        note_sent(cluster, &cluster->requests[request]);
        session_client_submit(cluster, request);
    } else {
        send_to_all(cluster, request);
    }
    return request;
}

uint32_t cluster_submit(struct cluster *cluster, const char *call) {
    return cluster_submit_order(cluster, cluster->request_count % CLUSTER_CLIENTS,
                                &(struct order){.call_count = 1, .calls = &call});
}

/* ---- receipts ---- */

static void first_result(struct cluster *cluster, uint32_t number, uint64_t seq,
                         const struct request_result *result) {
    struct client_request *const request = &cluster->requests[number];
    uint32_t const count = request->request.call_count;
    uint64_t const last_index = result->first_index + count - 1;
    request->done = true;
    request->done_us = cluster->now_us;
    request->seq = seq;
    request->first_index = result->first_index;
    for (uint32_t i = 0; i < count && i < OUTCOMES_KEPT; i++) {
        request->outcomes[i] = cluster_keep(cluster, result->outcomes[i]);
    }
    if (result->first_index <= request->floor_index && !cluster->options.overrun) {
        cluster_fail(cluster,
                     "request %u has index %llu, and index %llu had its receipt before it was sent",
                     number, (unsigned long long)result->first_index,
                     (unsigned long long)request->floor_index);
    }
    if (result->first_index < request->request.min_index) {
        cluster_fail(cluster, "request %u was executed before its window", number);
    }
    if (last_index > cluster->highest_index) {
        cluster->highest_index = last_index;
    }
    cluster_trace(cluster, "request %u has its receipt: batch %llu, index %llu", number,
                  (unsigned long long)seq, (unsigned long long)result->first_index);
}

/* Two answers for one request are one answer. */
void client_judge_result(struct cluster *cluster, uint32_t number, uint64_t seq,
                         const struct request_result *result) {
    struct client_request *const request = &cluster->requests[number];
    uint32_t const count = request->request.call_count;
    request->receipts++;
    cluster->judgements++;
    if (!request->done) {
        first_result(cluster, number, seq, result);
        return;
    }
    bool same = request->seq == seq && request->first_index == result->first_index;
    for (uint32_t i = 0; i < count && i < OUTCOMES_KEPT; i++) {
        same = same && span_equal(request->outcomes[i], result->outcomes[i]);
    }
    if (!same && !cluster->options.overrun) {
        cluster_fail(cluster, "request %u has two different receipts", number);
    }
}

/* Clients lose nothing: of one call there may be receipts of several views and of many signers. */
static struct span keep_receipt(struct cluster *cluster, struct span receipt) {
    struct digest const digest = hash_bytes(receipt);
    struct table_key const key = table_key_of(&digest);
    bool is_new = false;
    struct digest *const number = table_at(&cluster->receipts_seen, &key, &is_new);
    if (is_new) {
        list_reserve(&cluster->receipts, cluster->receipt_count, &cluster->receipt_capacity,
                     sizeof *cluster->receipts);
        table_number_set(number, cluster->receipt_count);
        cluster->receipts[cluster->receipt_count++] = cluster_keep(cluster, receipt);
    }
    return cluster->receipts[table_number(number)];
}

static bool receipt_of_call(struct cluster *cluster, uint64_t config,
                            struct client_request *request, const struct receipt_parts *parts) {
    struct buffer receipt;
    struct arena arena;
    struct verified_receipt verified;
    buffer_init(&receipt, RECEIPT_SIZE_MAX);
    arena_init(&arena, 4 * (size_t)RECEIPT_SIZE_MAX);
    const struct configuration *const configuration = cluster_configuration(cluster, config);
    bool holds = receipt_build(&receipt, parts) &&
                 receipt_verify(&verified, &cluster->receipt_memory, &arena, configuration,
                                buffer_span(&receipt)) == RECEIPT_VALID;
    if (holds && cluster->receipts_verified++ % SECOND_VERIFIER_EVERY == 0) {
        holds = second_verifier_accepts(configuration, buffer_span(&receipt));
    }
    if (holds) {
        struct span const kept = keep_receipt(cluster, buffer_span(&receipt));
        request->receipt = request->receipt.size == 0 ? kept : request->receipt;
    }
    arena_free(&arena);
    buffer_free(&receipt);
    return holds;
}

bool client_receipts_hold(struct cluster *cluster, struct client_request *request,
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
                 cluster_knows_configuration(cluster, body.config) &&
                 receipt_calls_tree(&calls_tree, &request->request);
    for (uint32_t i = 0; holds && i < count; i++) {
        struct digest const outcome =
            hash_labelled(LABEL_OUTCOME, &cluster->configuration->service, result->outcomes[i]);
        leaves[i] = batch_leaf(&request->request.digest, i, result->first_index + i, &outcome);
    }
    holds = holds && merkle_range_root(&root, paths, path_counts, leaves, result->leaf, count,
                                       body.tx_count, result->flanks, result->flank_count);
    for (uint32_t i = 0; holds && i < count; i++) {
        struct receipt_parts const parts = {.request = &request->request,
                                            .calls_tree = &calls_tree,
                                            .position = i,
                                            .index = result->first_index + i,
                                            .outcome = result->outcomes[i],
                                            .batch_path_count = path_counts[i],
                                            .batch_path = &paths[i * MERKLE_DEPTH_MAX],
                                            .certificate = certificate};
        holds = receipt_of_call(cluster, body.config, request, &parts);
    }
    tree_free(&calls_tree);
    arena_free(&arena);
    return holds;
}

/* ---- from replies and results to certificates ---- */

static struct client_batch *batch_of(struct cluster *cluster, const struct digest *digest) {
    struct table_key const key = table_key_of(digest);
    bool is_new = false;
    struct digest *const value = table_at(&cluster->client_batches, &key, &is_new);
    if (is_new) {
        list_reserve(&cluster->batches, cluster->batch_count, &cluster->batch_capacity,
                     sizeof *cluster->batches);
        cluster->batches[cluster->batch_count] = (struct client_batch){.seq = 0};
        table_number_set(value, cluster->batch_count++);
    }
    return &cluster->batches[table_number(value)];
}

/* May what this replica says be worthless? */
static bool may_lie(const struct cluster *cluster, uint32_t replica) {
    return !node_is_correct(&cluster->nodes[replica]);
}

/* The node at this position of the batch's configuration. */
static uint32_t id_at(struct cluster *cluster, const struct client_batch *batch, uint32_t r) {
    return cluster_id_of(cluster, &cluster_configuration(cluster, batch->config)->replicas[r].key);
}

/* Does this reply, by itself, vouch for the batch? Asked of those who may lie only. */
static bool reply_holds(struct cluster *cluster, const struct client_batch *batch,
                        const struct digest *digest, uint32_t replica) {
    const struct configuration *const configuration = cluster_configuration(cluster, batch->config);
    struct buffer body;
    bool encoded = false;
    if (replica == configuration_primary(configuration, batch->view)) {
        return true; /* its commitment is in the pre-prepare: the certificate's check */
    }
    buffer_init(&body, STATEMENT_SIZE_MAX);
    struct prepare const prepare = {
        .config = configuration->number,
        .view = batch->view,
        .seq = batch->seq,
        .replica = replica,
        .pre_prepare_digest = *digest,
        .nonce_hash = nonce_commit(&configuration->service, configuration->number, replica,
                                   batch->view, batch->seq, &batch->nonces[replica]),
    };
    encoded = prepare_encode(&body, &prepare);
    struct sign_check const check = {.key = configuration->replicas[replica].key,
                                     .signature = batch->signatures[replica],
                                     .body = buffer_span(&body),
                                     .label = LABEL_PREPARE};
    bool const holds = encoded && check_holds(cluster, &check);
    buffer_free(&body);
    return holds;
}

/* Choose Q of those who replied, the primary among them. Returns: 0 when there are too few. */
static uint64_t choose_signers(struct cluster *cluster, const struct client_batch *batch,
                               const struct digest *digest) {
    const struct configuration *const configuration = cluster_configuration(cluster, batch->config);
    uint32_t const primary = configuration_primary(configuration, batch->view);
    uint32_t others = configuration->quorum - 1;
    uint64_t signers = UINT64_C(1) << primary;
    if ((batch->replied & signers) == 0) {
        return 0;
    }
    for (uint32_t r = 0; r < configuration->replica_count && others > 0; r++) {
        if (r == primary || (batch->replied >> r & 1) == 0 ||
            (may_lie(cluster, id_at(cluster, batch, r)) &&
             !reply_holds(cluster, batch, digest, r))) {
            continue;
        }
        signers |= UINT64_C(1) << r;
        others--;
    }
    return others == 0 ? signers : 0;
}

static void certify(struct cluster *cluster, struct client_batch *batch, uint64_t signers) {
    const struct configuration *const configuration = cluster_configuration(cluster, batch->config);
    uint32_t const primary = configuration_primary(configuration, batch->view);
    struct signature signatures[CLUSTER_NODES_MAX];
    struct nonce nonces[CLUSTER_NODES_MAX];
    struct certificate certificate = {.pre_prepare = batch->pre_prepare.body,
                                      .pre_prepare_signature = batch->pre_prepare.signature,
                                      .signers = signers,
                                      .signatures = signatures,
                                      .nonces = nonces};
    struct buffer encoded;
    for (uint32_t r = 0; r < configuration->replica_count; r++) {
        if ((signers >> r & 1) == 0) {
            continue;
        }
        nonces[certificate.nonce_count++] = batch->nonces[r];
        if (r != primary) {
            signatures[certificate.signature_count++] = batch->signatures[r];
        }
    }
    buffer_init(&encoded, COMMIT_CERTIFICATE_SIZE_MAX);
    CHECK(certificate_encode(&encoded, &certificate));
    batch->certificate = cluster_keep(cluster, buffer_span(&encoded));
    buffer_free(&encoded);
}

static void try_claims(struct cluster *cluster, const struct digest *digest) {
    struct client_batch *const batch = batch_of(cluster, digest);
    if (!batch->has_claims) {
        return;
    }
    uint32_t const primary = cluster_primary(cluster, batch->config, batch->view);
    if (batch->certificate.size == 0) {
        uint64_t const signers = choose_signers(cluster, batch, digest);
        if (signers == 0) {
            return;
        }
        certify(cluster, batch, signers);
    }
    for (uint32_t at = batch->first_claim; at != 0; at = cluster->claims[at - 1].next) {
        struct client_claim *const claim = &cluster->claims[at - 1];
        struct client_request *const request = &cluster->requests[claim->request];
        if (claim->used) {
            continue;
        }
        claim->used = true;
        if (client_receipts_hold(cluster, request, &claim->result, batch->certificate)) {
            client_judge_result(cluster, claim->request, batch->seq, &claim->result);
        } else if (!may_lie(cluster, primary) && !may_lie(cluster, claim->from)) {
            cluster_fail(cluster, "the receipt of request %u does not verify", claim->request);
        }
    }
}

/* Is this its author's position, in the configuration of that batch or in one that was then? */
static bool is_position_of(struct cluster *cluster, const struct reply_message *reply,
                           uint32_t from) {
    for (uint64_t config = cluster_config_at(cluster, reply->seq); config >= 1; config--) {
        if (reply->replica == cluster_position(cluster, config, from)) {
            return true;
        }
    }
    return false;
}

static void take_reply(struct cluster *cluster, uint32_t from, struct arena *arena,
                       struct span payload) {
    struct reply_message reply;
    bool const is_good = reply_message_decode(&reply, arena, payload) == CODEC_OK &&
                         reply.replica < CLUSTER_NODES_MAX && is_position_of(cluster, &reply, from);
    if (!is_good) {
        if (may_lie(cluster, from)) {
            return;
        }
        cluster_fail(cluster, "node %u sent a reply that does not decode", from);
    }
    struct client_batch *const batch = batch_of(cluster, &reply.pre_prepare_digest);
    batch->replied |= UINT64_C(1) << reply.replica;
    batch->signatures[reply.replica] = reply.signature;
    batch->nonces[reply.replica] = reply.nonce;
    try_claims(cluster, &reply.pre_prepare_digest);
}

/* A copy that lives until the cluster is freed. */
static struct request_result keep_result(struct cluster *cluster,
                                         const struct request_result *result) {
    struct request_result kept = *result;
    struct span *const outcomes =
        arena_alloc(&cluster->arena, (result->outcome_count + 1u) * sizeof *outcomes);
    CHECK(outcomes != NULL);
    for (uint32_t i = 0; i < result->outcome_count; i++) {
        outcomes[i] = cluster_keep(cluster, result->outcomes[i]);
    }
    kept.outcomes = outcomes;
    kept.flanks = (const struct digest *)(const void *)cluster_keep(
                      cluster, span_of(result->flanks, result->flank_count * DIGEST_SIZE))
                      .data;
    return kept;
}

/* Did this replica claim something about this request and batch before? */
static bool is_claimed(const struct cluster *cluster, const struct client_batch *batch,
                       uint32_t from, uint32_t request) {
    for (uint32_t at = batch->first_claim; at != 0; at = cluster->claims[at - 1].next) {
        if (cluster->claims[at - 1].from == from && cluster->claims[at - 1].request == request) {
            return true;
        }
    }
    return false;
}

static void add_claim(struct cluster *cluster, uint32_t from, struct client_batch *batch,
                      const struct request_result *result) {
    struct client_claim claim = {.from = from, .next = batch->first_claim};
    if (!client_find(cluster, &result->request_id, &claim.request)) {
        if (may_lie(cluster, from)) {
            return;
        }
        cluster_fail(cluster, "node %u answered what nobody asked", from);
    }
    if (is_claimed(cluster, batch, from, claim.request)) {
        return;
    }
    claim.result = keep_result(cluster, result);
    list_reserve(&cluster->claims, cluster->claim_count, &cluster->claim_capacity,
                 sizeof *cluster->claims);
    cluster->claims[cluster->claim_count++] = claim;
    batch->first_claim = (uint32_t)cluster->claim_count;
}

static void take_result(struct cluster *cluster, uint32_t from, struct arena *arena,
                        struct span payload) {
    struct result_message message;
    struct pre_prepare body;
    if (result_message_decode(&message, arena, payload) != CODEC_OK ||
        pre_prepare_decode(&body, arena, message.pre_prepare.body) != CODEC_OK ||
        !cluster_knows_configuration(cluster, body.config)) {
        if (may_lie(cluster, from)) {
            return;
        }
        cluster_fail(cluster, "node %u sent a result that does not decode", from);
    }
    struct digest const digest =
        hash_statement(LABEL_PRE_PREPARE, &cluster->configuration->service,
                       message.pre_prepare.body, &message.pre_prepare.signature);
    struct client_batch *const batch = batch_of(cluster, &digest);
    if (!batch->has_claims) {
        batch->has_claims = true;
        batch->pre_prepare.body = cluster_keep(cluster, message.pre_prepare.body);
        batch->pre_prepare.signature = message.pre_prepare.signature;
        batch->config = body.config;
        batch->view = body.view;
        batch->seq = body.seq;
    }
    for (uint32_t i = 0; i < message.count; i++) {
        add_claim(cluster, from, batch, &message.results[i]);
    }
    try_claims(cluster, &digest);
}

/* ---- receipts out of ledgers, and rejections ---- */

static void take_receipt(struct cluster *cluster, uint32_t from, struct arena *arena,
                         struct span payload) {
    struct receipt_reply_message reply;
    struct certificate certificate;
    struct pre_prepare body;
    uint32_t number = 0;
    bool const reads = receipt_reply_message_decode(&reply, arena, payload) == CODEC_OK &&
                       certificate_decode(&certificate, arena, reply.certificate) == CODEC_OK &&
                       pre_prepare_decode(&body, arena, certificate.pre_prepare) == CODEC_OK &&
                       client_find(cluster, &reply.request_id, &number);
    if (reads && client_receipts_hold(cluster, &cluster->requests[number], &reply.result,
                                      reply.certificate)) {
        client_judge_result(cluster, number, body.seq, &reply.result);
    } else if (!may_lie(cluster, from)) {
        cluster_fail(cluster, "the receipt of request %u from node %u's ledger does not verify",
                     number, from);
    }
}

static void take_reject(struct cluster *cluster, uint32_t from, struct arena *arena,
                        struct span payload) {
    struct reject_message reject;
    uint32_t number = 0;
    if (reject_message_decode(&reject, arena, payload) != CODEC_OK) {
        CHECK(may_lie(cluster, from));
        return;
    }
    if (client_find(cluster, &reject.request_id, &number)) {
        cluster->requests[number].rejects++;
        cluster->requests[number].reject = reject.reason;
        cluster_trace(cluster, "request %u is rejected: %u", number, reject.reason);
    }
}

void client_take(struct cluster *cluster, uint32_t client, uint32_t from, uint8_t kind,
                 struct span payload) {
    session_client_take(cluster, client, from, kind, payload);
    if (kind == MESSAGE_CHAIN_REPLY) {
        return; /* the session's alone */
    }
    struct arena arena;
    arena_init(&arena, 2 * (size_t)FRAME_SIZE_MAX);
    if (kind == MESSAGE_REPLY) {
        take_reply(cluster, from, &arena, payload);
    } else if (kind == MESSAGE_RESULT) {
        take_result(cluster, from, &arena, payload);
    } else if (kind == MESSAGE_RECEIPT_REPLY) {
        take_receipt(cluster, from, &arena, payload);
    } else if (kind == MESSAGE_REJECT) {
        take_reject(cluster, from, &arena, payload);
    } else if (!may_lie(cluster, from)) {
        cluster_fail(cluster, "node %u sent message %u to a client", from, kind);
    }
    arena_free(&arena);
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
