/*
 * scripted: see scripted.h.
 */
#include "tests/unit/scripted.h"

#include <criterion/criterion.h>

#include "base/sign.h"
#include "ledger/derive.h"

struct configuration configuration;
static struct secret_key replica_secrets[N];
static struct secret_key user_secret;
static struct public_key user_key;

void scripted_init(void) {
    cr_assert(sign_init());
    uint8_t seed[32] = {1};
    configuration = (struct configuration){
        .service = {{7}},
        .number = 1,
        .parameters = {.pipeline = 4,
                       .checkpoint_interval = 100,
                       .window = BATCH_CALLS_MAX,
                       .batch_calls_max = BATCH_CALLS_MAX,
                       .batch_size_soft_max = 1u << 20},
        .replica_count = N,
        .faults_max = 1,
        .quorum = 3,
        .author_count = 1,
    };
    for (uint32_t r = 0; r < N; r++) {
        seed[1] = (uint8_t)(r + 1);
        sign_key_from_seed(&replica_secrets[r], &configuration.replicas[r].key, seed);
    }
    seed[1] = 100;
    sign_key_from_seed(&user_secret, &user_key, seed);
    configuration.authors[0] = user_key;
}

void scripted_go_on(void) {
    uint8_t const seed[32] = {2, (uint8_t)++configuration.number};
    sign_key_from_seed(&replica_secrets[N - 1], &configuration.replicas[N - 1].key, seed);
}

/* ---- requests -------------------------------------------------------------------------------- */

void request_make(struct test_request *out, uint32_t call_count, uint8_t nonce) {
    struct buffer calls;
    struct buffer header;
    struct span spans[CALLS_MAX];
    size_t ends[CALLS_MAX];
    uint8_t const unique[REQUEST_NONCE_SIZE] = {nonce};
    buffer_init(&calls, REQUEST_SIZE_MAX);
    buffer_init(&header, STATEMENT_SIZE_MAX);
    buffer_init(&out->bytes, REQUEST_SIZE_MAX);
    arena_init(&out->arena, 1u << 22);
    for (uint32_t i = 0; i < call_count; i++) {
        uint8_t const key[2] = {(uint8_t)('a' + i % 26), nonce};
        struct span const arguments[2] = {span_of(key, sizeof key), span_text("value")};
        cr_assert(call_encode(&calls, span_text("kv.put"), 2, arguments));
        ends[i] = calls.size;
    }
    for (uint32_t i = 0; i < call_count; i++) {
        size_t const begin = i == 0 ? 0 : ends[i - 1];
        spans[i] = span_of(calls.data + begin, ends[i] - begin);
    }
    cr_assert(request_header_encode(&header, &user_key, 1, unique, REQUEST_INDEPENDENT, call_count,
                                    spans));
    struct signature const signature = sign_labelled(&user_secret, &user_key, LABEL_REQUEST,
                                                     &configuration.service, buffer_span(&header));
    cr_assert(request_encode(&out->bytes, buffer_span(&header), &signature, call_count, spans));
    cr_assert_eq(request_decode(&out->request, &out->arena, &configuration.service,
                                buffer_span(&out->bytes)),
                 CODEC_OK);
    buffer_free(&calls);
    buffer_free(&header);
}

void request_free(struct test_request *request) {
    buffer_free(&request->bytes);
    arena_free(&request->arena);
}

/* ---- batches --------------------------------------------------------------------------------- */

static void batch_vote(struct test_batch *batch, uint32_t replica) {
    struct prepared_batch const prepared = {.config = configuration.number,
                                            .view = batch->pre_prepare.view,
                                            .seq = batch->pre_prepare.seq,
                                            .digest = batch->digest};
    struct prepare prepare;
    struct buffer body;
    buffer_init(&body, STATEMENT_SIZE_MAX);
    prepare_rebuild(&prepare, &configuration.service, &prepared, replica, &batch->nonces[replica]);
    cr_assert(prepare_encode(&body, &prepare));
    batch->votes[replica] =
        sign_labelled(&replica_secrets[replica], &configuration.replicas[replica].key,
                      LABEL_PREPARE, &configuration.service, buffer_span(&body));
    buffer_free(&body);
}

static void batch_sign(struct test_batch *batch) {
    struct pre_prepare *const body = &batch->pre_prepare;
    for (uint32_t r = 0; r < N; r++) {
        memset(batch->nonces[r].bytes, (int)(r + 1 + body->seq), NONCE_SIZE);
    }
    body->nonce_hash = nonce_commit(&configuration.service, body->config, PRIMARY, body->view,
                                    body->seq, &batch->nonces[PRIMARY]);
    buffer_clear(&batch->body);
    cr_assert(pre_prepare_encode(&batch->body, body));
    batch->signature =
        sign_labelled(&replica_secrets[PRIMARY], &configuration.replicas[PRIMARY].key,
                      LABEL_PRE_PREPARE, &configuration.service, buffer_span(&batch->body));
    batch->digest = hash_statement(LABEL_PRE_PREPARE, &configuration.service,
                                   buffer_span(&batch->body), &batch->signature);
    for (uint32_t r = 0; r < N; r++) {
        batch_vote(batch, r);
    }
    batch->votes[PRIMARY] = batch->signature;
}

void batch_make(struct test_batch *batch, uint64_t seq, uint64_t first_index,
                struct test_request *const *requests, uint32_t count) {
    struct tree tree;
    uint64_t index = first_index;
    memset(batch, 0, sizeof *batch);
    buffer_init(&batch->body, STATEMENT_SIZE_MAX);
    buffer_init(&batch->outcome, OUTCOME_SIZE_MAX);
    struct outcome const ok = {.status = OUTCOME_OK};
    cr_assert(outcome_encode(&batch->outcome, &ok));
    struct digest const outcome_digest =
        hash_labelled(LABEL_OUTCOME, &configuration.service, buffer_span(&batch->outcome));
    for (uint32_t i = 0; i < CALLS_MAX; i++) {
        batch->outcomes[i] = buffer_span(&batch->outcome);
    }
    tree_init(&tree);
    batch->count = count;
    for (uint32_t i = 0; i < count; i++) {
        const struct request *const request = &requests[i]->request;
        batch->results[i] = (struct request_result){
            .request_id = request->id,
            .first_index = index,
            .leaf = index - first_index,
            .outcome_count = request->call_count,
            .outcomes = batch->outcomes,
        };
        for (uint32_t k = 0; k < request->call_count; k++) {
            struct digest const leaf = batch_leaf(&request->digest, k, index++, &outcome_digest);
            cr_assert(tree_append(&tree, &leaf));
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        struct request_result *const result = &batch->results[i];
        result->flank_count =
            tree_range_proof(&tree, batch->flanks[i], result->leaf, result->outcome_count);
        result->flanks = batch->flanks[i];
    }
    batch->pre_prepare = (struct pre_prepare){
        .config = configuration.number,
        .seq = seq,
        .ledger_leaves = 2 * seq,
        .batch_root = tree_root(&tree),
        .first_index = first_index,
        .tx_count = (uint32_t)(index - first_index),
        .kind = BATCH_NORMAL,
        .time_ms = 1,
    };
    batch_sign(batch);
    tree_free(&tree);
}

void batch_free(struct test_batch *batch) {
    buffer_free(&batch->body);
    buffer_free(&batch->outcome);
}

void batch_certificate(const struct test_batch *batch, struct buffer *out) {
    struct certificate const certificate = {
        .pre_prepare = buffer_span(&batch->body),
        .pre_prepare_signature = batch->signature,
        .signers = 7,
        .signature_count = 2,
        .signatures = batch->votes + 1,
        .nonce_count = 3,
        .nonces = batch->nonces,
    };
    cr_assert(certificate_encode(out, &certificate));
}
