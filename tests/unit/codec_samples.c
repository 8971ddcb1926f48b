/*
 * codec_samples: see codec_samples.h.
 */
#include "codec_samples.h"

#include <criterion/criterion.h>

const struct digest sample_service = {.bytes = {7, 7, 7}};

/* ---- decode, then encode what was understood ------------------------------------------------- */

REENCODER(outcome)
REENCODER(pre_prepare)
REENCODER(prepare)
REENCODER(endorsement)
REENCODER(genesis)
REENCODER(evidence)
REENCODER(request_entry)
REENCODER(checkpoint_header)
REENCODER(window_batch)
REENCODER(checker_snapshot)
REENCODER(certificate)
REENCODER(receipt)
REENCODER(proof)
REENCODER(view_change)
REENCODER(view_change_set)
REENCODER(new_view)
REENCODER(journal_record)

static enum codec_result reencode_call(struct buffer *out, struct arena *arena, struct span bytes) {
    struct call call;
    enum codec_result const result = call_decode(&call, arena, bytes);
    if (result == CODEC_OK) {
        cr_assert(call_encode(out, call.procedure, call.argument_count, call.arguments));
    }
    return result;
}

static enum codec_result reencode_request(struct buffer *out, struct arena *arena,
                                          struct span bytes) {
    struct request request;
    struct span calls[CALLS_MAX];
    enum codec_result const result = request_decode(&request, arena, &sample_service, bytes);
    if (result == CODEC_OK) {
        for (uint32_t i = 0; i < request.call_count; i++) {
            calls[i] = request.calls[i].bytes;
        }
        cr_assert(
            request_encode(out, request.header, &request.signature, request.call_count, calls));
    }
    return result;
}

static enum codec_result reencode_header(struct buffer *out, struct arena *arena,
                                         struct span bytes) {
    struct request request;
    struct signature const signature = signature_of(1);
    enum codec_result const result =
        request_header_decode(&request, arena, &sample_service, bytes, &signature);
    if (result == CODEC_OK) { /* the calls are not there to encode from, so by hand */
        put_bytes(out, 1, span_of(request.author.bytes, PUBLIC_KEY_SIZE));
        if (request.min_index != 0) {
            put_number(out, 2, request.min_index);
        }
        put_bytes(out, 3, span_of(request.nonce, REQUEST_NONCE_SIZE));
        put_number(out, 4, request.mode);
        put_number(out, 5, request.call_count);
        put_bytes(out, 6, span_of(request.calls_root.bytes, DIGEST_SIZE));
    }
    return result;
}

static enum codec_result reencode_signed(struct buffer *out, struct arena *arena,
                                         struct span bytes) {
    struct signed_body value;
    enum codec_result const result = signed_decode(&value, arena, bytes, STATEMENT_SIZE_MAX);
    if (result == CODEC_OK) {
        cr_assert(signed_encode(out, &value));
    }
    return result;
}

/* ---- samples --------------------------------------------------------------------------------- */

struct span const sample_arguments[] = {
    {.data = (const uint8_t *)"alice", .size = 5},
    {.data = NULL, .size = 0},
    {.data = (const uint8_t *)"25", .size = 2},
};

static void encode_call(struct buffer *out) {
    cr_assert(call_encode(out, span_text("bank.send_payment"), 3, sample_arguments));
}

void sample_header(struct buffer *out, uint32_t call_count, const struct span *calls) {
    struct public_key const author = key_of(9);
    cr_assert(request_header_encode(out, &author, 300, filler(40, REQUEST_NONCE_SIZE).data,
                                    REQUEST_ATOMIC, call_count, calls));
}

void sample_request(struct buffer *out, uint32_t call_count, const struct span *calls) {
    struct buffer header = buffer_new();
    struct signature const signature = signature_of(80);
    sample_header(&header, call_count, calls);
    cr_assert(request_encode(out, buffer_span(&header), &signature, call_count, calls));
    buffer_free(&header);
}

static void encode_request(struct buffer *out) {
    struct buffer call = buffer_new();
    struct buffer other = buffer_new();
    encode_call(&call);
    cr_assert(call_encode(&other, span_text("kv.get"), 0, NULL));
    struct span const calls[] = {buffer_span(&call), buffer_span(&other), buffer_span(&call)};
    sample_request(out, 3, calls);
    buffer_free(&call);
    buffer_free(&other);
}

static void encode_header_sample(struct buffer *out) {
    struct span const call = span_text("call");
    sample_header(out, 1, &call);
}

static void encode_outcome(struct buffer *out) {
    struct outcome const outcome = {.status = OUTCOME_REFUSED,
                                    .reply_count = 3,
                                    .reply = sample_arguments,
                                    .write_digest = digest_of(3)};
    cr_assert(outcome_encode(out, &outcome));
}

struct pre_prepare sample_pre_prepare(void) {
    return (struct pre_prepare){
        .config = 1,
        .view = 0,
        .seq = 412,
        .view_start = 2,
        .ledger_root = digest_of(10),
        .ledger_leaves = 900,
        .batch_root = digest_of(20),
        .first_index = 18000,
        .tx_count = 64,
        .kind = BATCH_NORMAL,
        .nonce_hash = digest_of(30),
        .evidence_upto = 410,
        .evidence_count = 2,
        .evidence_signers = {7, (uint64_t)1 << 63 | 3},
        .gov_index = 5,
        .checkpoint_seq = 400,
        .checkpoint_digest = digest_of(40),
        .time_ms = 1700000000000,
    };
}

static void encode_pre_prepare(struct buffer *out) {
    struct pre_prepare const sample = sample_pre_prepare();
    cr_assert(pre_prepare_encode(out, &sample));
}

static void encode_prepare(struct buffer *out) {
    struct prepare const sample = {.config = 1,
                                   .view = 3,
                                   .seq = 412,
                                   .replica = 2,
                                   .pre_prepare_digest = digest_of(1),
                                   .nonce_hash = digest_of(2)};
    cr_assert(prepare_encode(out, &sample));
}

static void encode_endorsement_of(struct buffer *out, uint32_t replica) {
    struct endorsement const sample = {.member = replica % 2,
                                       .replica = replica,
                                       .replica_key = key_of((uint8_t)(50 + replica)),
                                       .tls_digest = digest_of((uint8_t)(90 + replica)),
                                       .peer_address = span_text("127.0.0.1:7400"),
                                       .client_address = span_text("[::1]:7500")};
    cr_assert(endorsement_encode(out, &sample));
}

static void encode_endorsement(struct buffer *out) {
    encode_endorsement_of(out, 3);
}

static void encode_signed(struct buffer *out) {
    struct signed_body const sample = {.body = span_text("body"), .signature = signature_of(5)};
    cr_assert(signed_encode(out, &sample));
}

struct parameters const sample_parameters = {
    .pipeline = 4,
    .checkpoint_interval = 100,
    .window = 100000,
    .batch_calls_max = 1024,
    .batch_size_soft_max = 1u << 20,
};

void sample_prologue(struct buffer *out) {
    cr_assert(genesis_prologue_encode(out, span_text("demo"), filler(1, 32).data, 1700000000000,
                                      &sample_parameters));
}

static void encode_genesis(struct buffer *out) {
    struct buffer prologue = buffer_new();
    struct buffer bodies[4];
    struct signed_body endorsements[4];
    sample_prologue(&prologue);
    for (uint32_t i = 0; i < 4; i++) {
        bodies[i] = buffer_new();
        encode_endorsement_of(&bodies[i], i);
        endorsements[i] = (struct signed_body){.body = buffer_span(&bodies[i]),
                                               .signature = signature_of((uint8_t)i)};
    }
    struct named_key const members[] = {{.name = span_text("bank-a"), .key = key_of(1)},
                                        {.name = span_text("bank-b"), .key = key_of(2)}};
    struct named_key const users[] = {{.name = span_text("alice"), .key = key_of(3)}};
    struct genesis const sample = {.prologue = buffer_span(&prologue),
                                   .member_count = 2,
                                   .members = members,
                                   .replica_count = 4,
                                   .endorsements = endorsements,
                                   .user_count = 1,
                                   .users = users};
    cr_assert(genesis_encode(out, &sample));
    buffer_free(&prologue);
    for (uint32_t i = 0; i < 4; i++) {
        buffer_free(&bodies[i]);
    }
}

static void encode_evidence(struct buffer *out) {
    struct signature const signatures[] = {signature_of(1), signature_of(2)};
    struct nonce nonces[3];
    memcpy(nonces, filler(3, sizeof nonces).data, sizeof nonces);
    struct evidence sample = {.batch_count = 2};
    for (uint32_t i = 0; i < 2; i++) {
        sample.batches[i] = (struct batch_evidence){.seq = 10 + i,
                                                    .signature_count = 2,
                                                    .signatures = signatures,
                                                    .nonce_count = 3,
                                                    .nonces = nonces};
    }
    cr_assert(evidence_encode(out, &sample));
}

static void encode_request_entry(struct buffer *out) {
    struct span const outcomes[] = {span_text("one"), span_text("two")};
    struct request_entry const sample = {.request = span_text("request"),
                                         .first_index = 77,
                                         .outcome_count = 2,
                                         .outcomes = outcomes};
    cr_assert(request_entry_encode(out, &sample));
}

static void encode_checkpoint_header(struct buffer *out) {
    struct checkpoint_header const sample = {
        .config = 1,
        .seq = 200,
        .next_index = 4000,
        .ledger_leaves = 601,
        .ledger_root = digest_of(1),
        .evidence_upto = 198,
        .time_ms = 1700000000000,
        .checkpoint_seq = 100,
        .checkpoint_digest = digest_of(2),
        .state_count = 10,
        .state_root = digest_of(3),
        .window_root = digest_of(4),
        .entries = 620,
        .pending_count = 2,
        .pending = {{.seq = 199, .pre_prepare_digest = digest_of(5), .nonce_hash = digest_of(6)},
                    {.seq = 200, .pre_prepare_digest = digest_of(7), .nonce_hash = digest_of(8)}},
        .carried_count = 2,
        .carried = {{.seq = 201,
                     .batch_root = digest_of(9),
                     .first_index = 4000,
                     .tx_count = 12,
                     .kind = BATCH_NORMAL,
                     .gov_index = 3,
                     .time_ms = 1700000000001},
                    {.seq = 202, .batch_root = digest_of(10), .kind = BATCH_NORMAL}},
    };
    cr_assert(checkpoint_header_encode(out, &sample));
}

static void encode_window_batch(struct buffer *out) {
    struct digest const ids[] = {digest_of(1), digest_of(2)};
    uint16_t const counts[] = {1, 256};
    struct window_batch const sample = {.seq = 12,
                                        .first_index = 90,
                                        .entry = 40,
                                        .request_count = 2,
                                        .request_ids = ids,
                                        .call_counts = counts};
    cr_assert(window_batch_encode(out, &sample));
}

static void encode_checker_snapshot(struct buffer *out) {
    struct span const window[] = {span_text("first"), span_text("second")};
    struct checker_snapshot const sample = {.header = span_text("header"),
                                            .frontier = filler(1, 2 * DIGEST_SIZE),
                                            .window_count = 2,
                                            .window = window,
                                            .window_entry = 300,
                                            .past_entry = 280};
    cr_assert(checker_snapshot_encode(out, &sample));
}

static void encode_certificate(struct buffer *out) {
    struct signature const signatures[] = {signature_of(1), signature_of(2)};
    struct nonce nonces[3];
    memcpy(nonces, filler(3, sizeof nonces).data, sizeof nonces);
    struct certificate const sample = {.pre_prepare = span_text("pre-prepare"),
                                       .pre_prepare_signature = signature_of(3),
                                       .signers = 13,
                                       .signature_count = 2,
                                       .signatures = signatures,
                                       .nonce_count = 3,
                                       .nonces = nonces};
    cr_assert(certificate_encode(out, &sample));
}

static void encode_receipt(struct buffer *out) {
    struct digest const path[] = {digest_of(1), digest_of(2)};
    struct receipt const sample = {.request_header = span_text("header"),
                                   .request_signature = signature_of(1),
                                   .call = span_text("call"),
                                   .position = 3,
                                   .call_path_count = 2,
                                   .call_path = path,
                                   .index = 18190,
                                   .outcome = span_text("outcome"),
                                   .batch_path_count = 1,
                                   .batch_path = path,
                                   .certificate = span_text("certificate")};
    cr_assert(receipt_encode(out, &sample));
}

static void encode_proof(struct buffer *out) {
    static const uint64_t places[] = {0, 300};
    struct digest const path[] = {digest_of(1), digest_of(2)};
    struct state_item const state[] = {{.key = span_text("a"), .value = {0}},
                                       {.key = span_text("ab"), .value = span_text("1")}};
    struct entry const entries[] = {{.kind = ENTRY_PRE_PREPARE, .payload = span_text("statement")},
                                    {.kind = ENTRY_REQUEST, .payload = span_text("request")}};
    struct proof const sample = {
        .kind = PROOF_BROKEN_BATCH,
        .genesis = span_text("genesis"),
        .certificate_count = 1,
        .certificates = {span_text("certificate")},
        .statement_count = 2,
        .statements = {{.body = span_text("one"), .signature = signature_of(1)},
                       {.body = span_text("two"), .signature = signature_of(2)}},
        .rule = span_text("gov-index"),
        .has_fragment = true,
        .fragment = {.snapshot = span_text("snapshot"),
                     .state_count = 2,
                     .state = state,
                     .entry_count = 2,
                     .entries = entries,
                     .place_count = 2,
                     .places = places,
                     .path_count = 2,
                     .path = path},
        .path_count = 2,
        .path = path,
    };
    cr_assert(proof_encode(out, &sample));
}

/* ---- changes of view, and the journal -------------------------------------------------------- */

struct view_change sample_view_change(void) {
    static struct signature signatures[2];
    static struct digest nonce_hashes[2];
    static struct chain_item chain[2];
    for (uint8_t i = 0; i < 2; i++) {
        signatures[i] = signature_of((uint8_t)(1 + i));
        nonce_hashes[i] = digest_of((uint8_t)(70 + i));
        chain[i].pre_prepare.signature = signature_of((uint8_t)(90 + i));
    }
    chain[0].pre_prepare.body = span_text("first");
    chain[1].pre_prepare.body = span_text("second");
    chain[1].has_evidence = true;
    chain[1].evidence_leaf = digest_of(30);
    return (struct view_change){.config = 1,
                                .view = 7,
                                .replica = 3,
                                .signers = 5,
                                .signature_count = 2,
                                .signatures = signatures,
                                .nonce_hashes = nonce_hashes,
                                .chain_count = 2,
                                .chain = chain};
}

static void encode_view_change(struct buffer *out) {
    struct view_change const sample = sample_view_change();
    cr_assert(view_change_encode(out, &sample));
}

static void encode_view_change_set(struct buffer *out) {
    struct signed_body const view_changes[] = {
        {.body = span_text("of replica 0"), .signature = signature_of(1)},
        {.body = span_text("of replica 2"), .signature = signature_of(2)},
        {.body = span_text("of replica 3"), .signature = signature_of(3)}};
    struct view_change_set const sample = {.count = 3, .view_changes = view_changes};
    cr_assert(view_change_set_encode(out, &sample));
}

struct new_view sample_new_view(void) {
    static struct digest digests[3];
    for (uint8_t i = 0; i < 3; i++) {
        digests[i] = digest_of((uint8_t)(1 + i));
    }
    return (struct new_view){.config = 1,
                             .view = 7,
                             .view_change_count = 3,
                             .view_change_digests = digests,
                             .chosen_view = 5,
                             .chosen_seq = 412,
                             .ledger_root = digest_of(50),
                             .ledger_leaves = 900};
}

static void encode_new_view(struct buffer *out) {
    struct new_view const sample = sample_new_view();
    cr_assert(new_view_encode(out, &sample));
}

struct journal_record sample_journal_record(void) {
    static struct signature signatures[2];
    static struct digest nonce_hashes[2];
    for (uint8_t i = 0; i < 2; i++) {
        signatures[i] = signature_of((uint8_t)(1 + i));
        nonce_hashes[i] = digest_of((uint8_t)(70 + i));
    }
    return (struct journal_record){.kind = JOURNAL_NONCE,
                                   .config = 1,
                                   .view = 2,
                                   .seq = 30,
                                   .ledger_view = 2,
                                   .ledger_seq = 33,
                                   .ledger_entries = 400,
                                   .pre_prepare_digest = digest_of(9),
                                   .signers = 6,
                                   .signature_count = 2,
                                   .signatures = signatures,
                                   .nonce_hashes = nonce_hashes};
}

static void encode_journal_record(struct buffer *out) {
    struct journal_record const sample = sample_journal_record();
    cr_assert(journal_record_encode(out, &sample));
}

const struct kind kinds[KINDS] = {
    {"call", encode_call, reencode_call},
    {"request header", encode_header_sample, reencode_header},
    {"request", encode_request, reencode_request},
    {"outcome", encode_outcome, reencode_outcome},
    {"pre-prepare", encode_pre_prepare, reencode_pre_prepare},
    {"prepare", encode_prepare, reencode_prepare},
    {"endorsement", encode_endorsement, reencode_endorsement},
    {"signed", encode_signed, reencode_signed},
    {"genesis", encode_genesis, reencode_genesis},
    {"evidence", encode_evidence, reencode_evidence},
    {"request entry", encode_request_entry, reencode_request_entry},
    {"checkpoint header", encode_checkpoint_header, reencode_checkpoint_header},
    {"window batch", encode_window_batch, reencode_window_batch},
    {"checker snapshot", encode_checker_snapshot, reencode_checker_snapshot},
    {"certificate", encode_certificate, reencode_certificate},
    {"receipt", encode_receipt, reencode_receipt},
    {"proof", encode_proof, reencode_proof},
    {"view-change", encode_view_change, reencode_view_change},
    {"view-change set", encode_view_change_set, reencode_view_change_set},
    {"new-view", encode_new_view, reencode_new_view},
    {"journal record", encode_journal_record, reencode_journal_record},
};

const struct kind *kind_named(const char *name) {
    for (size_t i = 0; i < KINDS; i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            return &kinds[i];
        }
    }
    cr_assert_fail("no kind is named %s", name);
    return NULL;
}
