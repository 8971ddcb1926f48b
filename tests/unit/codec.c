/*
 * The codec: every kind comes out as it went in and withstands codec_attack; requests, genesis,
 * evidence and fragments keep their parts together; encodings are the documented bytes. Rules
 * about single fields are in codec_rules.c.
 */
#include "ledger/codec.h"

#include <criterion/criterion.h>

#include "codec_samples.h"
#include "merkle/frontier.h"

Test(codec, every_kind_withstands_attacks) {
    for (size_t i = 0; i < KINDS; i++) {
        struct buffer sample = buffer_new();
        kinds[i].encode(&sample);
        attack_decoder(kinds[i].name, kinds[i].reencode, buffer_span(&sample));
        buffer_free(&sample);
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

Test(codec, request_is_understood) {
    struct buffer bytes = buffer_new();
    struct arena arena;
    struct request request;
    arena_init(&arena, 1u << 20);
    kind_named("request")->encode(&bytes);
    cr_assert_eq(request_decode(&request, &arena, &sample_service, buffer_span(&bytes)), CODEC_OK);
    cr_assert_eq(request.call_count, 3);
    cr_assert_eq(request.min_index, 300);
    cr_assert_eq(request.mode, REQUEST_ATOMIC);
    cr_assert(span_equal(request.calls[0].procedure, span_text("bank.send_payment")));
    cr_assert_eq(request.calls[0].argument_count, 3);
    cr_assert(span_equal(request.calls[2].arguments[2], span_text("25")));
    cr_assert_eq(request.calls[0].arguments[1].size, 0);
    cr_assert_eq(request.calls[1].argument_count, 0);
    cr_assert_eq(request.bytes.data, bytes.data);

    struct digest const id = hash_labelled(LABEL_REQUEST_ID, &sample_service, request.header);
    struct digest const digest =
        hash_statement(LABEL_REQUEST_DIGEST, &sample_service, request.header, &request.signature);
    cr_assert(digest_equal(&request.id, &id));
    cr_assert(digest_equal(&request.digest, &digest));

    /* RFC 9162 for three leaves, by hand. */
    struct digest leaves[3];
    for (uint32_t i = 0; i < 3; i++) {
        leaves[i] = merkle_leaf_hash(request.calls[i].bytes);
    }
    struct digest const left = merkle_node_hash(&leaves[0], &leaves[1]);
    struct digest const root = merkle_node_hash(&left, &leaves[2]);
    cr_assert(digest_equal(&request.calls_root, &root));

    struct request header;
    cr_assert_eq(
        request_header_decode(&header, &arena, &sample_service, request.header, &request.signature),
        CODEC_OK);
    cr_assert(digest_equal(&header.id, &request.id));
    cr_assert(digest_equal(&header.digest, &request.digest));
    cr_assert_null(header.calls);
    arena_free(&arena);
    buffer_free(&bytes);
}

Test(codec, request_calls_must_match_the_header) {
    struct buffer header = buffer_new();
    struct buffer call = buffer_new();
    struct buffer other = buffer_new();
    struct buffer bytes = buffer_new();
    struct signature const signature = signature_of(1);
    kind_named("call")->encode(&call);
    cr_assert(call_encode(&other, span_text("kv.get"), 0, NULL));
    struct span const calls[] = {buffer_span(&call), buffer_span(&other)};
    struct span const swapped[] = {buffer_span(&other), buffer_span(&call)};
    sample_header(&header, 2, calls);
    cr_assert(request_encode(&bytes, buffer_span(&header), &signature, 2, calls));
    expect_result("request", kind_named("request")->reencode, buffer_span(&bytes), CODEC_OK);
    buffer_clear(&bytes);
    cr_assert(request_encode(&bytes, buffer_span(&header), &signature, 2, swapped));
    expect_result("calls swapped", kind_named("request")->reencode, buffer_span(&bytes),
                  CODEC_MISMATCH);
    buffer_clear(&bytes);
    cr_assert(request_encode(&bytes, buffer_span(&header), &signature, 1, calls));
    expect_result("a call missing", kind_named("request")->reencode, buffer_span(&bytes),
                  CODEC_MISMATCH);
    buffer_clear(&bytes);
    cr_assert(request_encode(&bytes, buffer_span(&header), &signature, 0, NULL));
    expect_result("no calls", kind_named("request")->reencode, buffer_span(&bytes), CODEC_MISMATCH);
    buffer_clear(&bytes);
    buffer_clear(&header);
    struct span const broken[] = {buffer_span(&call), span_text("not a call")};
    sample_header(&header, 2, broken);
    cr_assert(request_encode(&bytes, buffer_span(&header), &signature, 2, broken));
    cr_assert_neq(attack_result(kind_named("request")->reencode, buffer_span(&bytes)), CODEC_OK);
    buffer_free(&header);
    buffer_free(&call);
    buffer_free(&other);
    buffer_free(&bytes);
}

Test(codec, the_largest_request_fits) {
    static struct span calls[CALLS_MAX];
    struct buffer call = buffer_new();
    struct buffer bytes = buffer_new();
    struct span const argument = filler(1, 3900);
    cr_assert(call_encode(&call, span_text("kv.put"), 1, &argument));
    for (uint32_t i = 0; i < CALLS_MAX; i++) {
        calls[i] = buffer_span(&call);
    }
    sample_request(&bytes, CALLS_MAX, calls);
    expect_result("the largest request", kind_named("request")->reencode, buffer_span(&bytes),
                  CODEC_OK);
    buffer_clear(&call);
    buffer_clear(&bytes);
    struct span const larger = filler(1, 4200);
    cr_assert(call_encode(&call, span_text("kv.put"), 1, &larger));
    for (uint32_t i = 0; i < CALLS_MAX; i++) {
        calls[i] = buffer_span(&call);
    }
    sample_request(&bytes, CALLS_MAX, calls);
    expect_result("a request over its limit", kind_named("request")->reencode, buffer_span(&bytes),
                  CODEC_OVERSIZE);
    buffer_free(&call);
    buffer_free(&bytes);
}

/* ---- known bytes ----------------------------------------------------------------------------- */

Test(codec, encodings_are_the_documented_bytes) {
    struct buffer expected = buffer_new();
    struct buffer got = buffer_new();
    put_bytes(&expected, 1, span_text("bank.send_payment"));
    put_bytes(&expected, 2, span_text("alice"));
    put_bytes(&expected, 2, (struct span){0});
    put_bytes(&expected, 2, span_text("25"));
    kind_named("call")->encode(&got);
    cr_assert(span_equal(buffer_span(&expected), buffer_span(&got)));

    buffer_clear(&expected);
    buffer_clear(&got);
    put_number(&expected, 1, 1); /* view is 0, so it is left out */
    put_number(&expected, 3, 412);
    put_number(&expected, 4, 2);
    put_bytes(&expected, 5, filler(10, 32));
    put_number(&expected, 6, 900);
    put_bytes(&expected, 7, filler(20, 32));
    put_number(&expected, 8, 18000);
    put_number(&expected, 9, 64);
    put_number(&expected, 10, 1);
    struct span const before_nonce = buffer_span(&expected);
    put_bytes(&expected, 11, filler(30, 32));
    put_number(&expected, 12, 410);
    put_bytes(&expected, 13, span_of("\x07\x83\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11));
    put_number(&expected, 14, 5);
    put_number(&expected, 15, 400);
    put_bytes(&expected, 16, filler(40, 32));
    put_number(&expected, 17, 1700000000000);
    kind_named("pre-prepare")->encode(&got);
    cr_assert(span_equal(buffer_span(&expected), buffer_span(&got)));

    /* The batch digest covers the same bytes without field 11. */
    struct pre_prepare sample = sample_pre_prepare();
    struct digest digest;
    struct buffer body = buffer_new();
    cr_assert(buffer_append(&body, span_of(expected.data, before_nonce.size)));
    cr_assert(buffer_append(&body, span_of(expected.data + before_nonce.size + 34,
                                           expected.size - before_nonce.size - 34)));
    struct digest const wanted = hash_labelled(LABEL_BATCH, &sample_service, buffer_span(&body));
    cr_assert(pre_prepare_batch_digest(&digest, &sample_service, &sample));
    cr_assert(digest_equal(&digest, &wanted));
    sample.nonce_hash = digest_of(99);
    cr_assert(pre_prepare_batch_digest(&digest, &sample_service, &sample));
    cr_assert(digest_equal(&digest, &wanted));
    sample.evidence_count = EVIDENCE_BATCHES_MAX + 1;
    cr_assert_not(pre_prepare_batch_digest(&digest, &sample_service, &sample));
    buffer_free(&expected);
    buffer_free(&got);
    buffer_free(&body);
}

Test(codec, a_snapshot_is_the_documented_bytes) {
    struct buffer expected = buffer_new();
    struct buffer got = buffer_new();
    put_bytes(&expected, 1, span_text("header"));
    put_bytes(&expected, 2, filler(1, 2 * DIGEST_SIZE));
    put_number(&expected, 3, 300);
    put_bytes(&expected, 4, span_text("first"));
    put_bytes(&expected, 4, span_text("second"));
    put_number(&expected, 5, 280);
    kind_named("checker snapshot")->encode(&got);
    cr_assert(span_equal(buffer_span(&expected), buffer_span(&got)));
    buffer_free(&expected);
    buffer_free(&got);
}

Test(codec, a_nonce_commitment_binds_who_uses_it_where) {
    struct nonce nonce = {.bytes = {1, 2, 3}};
    uint8_t body[8 + 4 + 8 + 8 + NONCE_SIZE];
    store_u64_be(body, 1);
    store_u32_be(body + 8, 2);
    store_u64_be(body + 12, 3);
    store_u64_be(body + 20, 4);
    memcpy(body + 28, nonce.bytes, NONCE_SIZE);
    struct digest const wanted =
        hash_labelled(LABEL_NONCE, &sample_service, span_of(body, sizeof body));
    struct digest const got = nonce_commit(&sample_service, 1, 2, 3, 4, &nonce);
    cr_assert(digest_equal(&got, &wanted));
    struct digest const other = nonce_commit(&sample_service, 1, 3, 3, 4, &nonce);
    cr_assert_not(digest_equal(&other, &wanted));
}

/* ---- genesis --------------------------------------------------------------------------------- */

static void expect_parameters(struct parameters parameters, enum codec_result expected) {
    struct buffer prologue = buffer_new();
    struct buffer sample = buffer_new();
    struct buffer genesis = buffer_new();
    cr_assert(
        genesis_prologue_encode(&prologue, span_text("demo"), filler(1, 32).data, 5, &parameters));
    kind_named("genesis")->encode(&sample);
    with_bytes(&genesis, buffer_span(&sample), 2, buffer_span(&prologue));
    expect_result("parameters", kind_named("genesis")->reencode, buffer_span(&genesis), expected);
    buffer_free(&prologue);
    buffer_free(&sample);
    buffer_free(&genesis);
}

Test(codec, genesis_parameters_stay_in_range) {
    struct parameters p = sample_parameters;
    expect_parameters(p, CODEC_OK);
    p.checkpoint_interval = 3 * (uint64_t)p.pipeline;
    expect_parameters(p, CODEC_OK);
    p.checkpoint_interval = 3 * (uint64_t)p.pipeline - 1;
    expect_parameters(p, CODEC_RANGE);
    p.checkpoint_interval = CHECKPOINT_INTERVAL_MAX + 1;
    expect_parameters(p, CODEC_RANGE);
    p = sample_parameters;
    p.pipeline = 0;
    expect_parameters(p, CODEC_RANGE);
    p.pipeline = PIPELINE_MAX + 1;
    expect_parameters(p, CODEC_RANGE);
    p = sample_parameters;
    p.window = BATCH_CALLS_MAX - 1;
    expect_parameters(p, CODEC_RANGE);
    p.window = (uint64_t)WINDOW_MAX + 1;
    expect_parameters(p, CODEC_RANGE);
    p = sample_parameters;
    p.batch_calls_max = CALLS_MAX - 1;
    expect_parameters(p, CODEC_RANGE);
    p.batch_calls_max = BATCH_CALLS_MAX + 1;
    expect_parameters(p, CODEC_RANGE);
    p = sample_parameters;
    p.batch_size_soft_max = 0;
    expect_parameters(p, CODEC_RANGE);
    p.batch_size_soft_max = BATCH_SIZE_SOFT_MAX + 1;
    expect_parameters(p, CODEC_RANGE);
}

static void expect_genesis(const struct genesis *in, enum codec_result expected) {
    struct buffer bytes = buffer_new();
    cr_assert(genesis_encode(&bytes, in));
    expect_result("genesis", kind_named("genesis")->reencode, buffer_span(&bytes), expected);
    buffer_free(&bytes);
}

Test(codec, genesis_lists_are_distinct_and_in_order) {
    struct buffer bytes = buffer_new();
    struct arena arena;
    struct genesis sample;
    arena_init(&arena, 1u << 20);
    kind_named("genesis")->encode(&bytes);
    cr_assert_eq(genesis_decode(&sample, &arena, buffer_span(&bytes)), CODEC_OK);
    cr_assert_eq(sample.replicas[3].replica, 3);
    cr_assert(span_equal(sample.replicas[2].client_address, span_text("[::1]:7500")));
    static const struct digest zeros;
    struct digest const id = hash_labelled(LABEL_GENESIS, &zeros, buffer_span(&bytes));
    struct digest const founding = hash_labelled(LABEL_FOUNDING, &zeros, sample.prologue);
    cr_assert(digest_equal(&sample.service, &id));
    cr_assert(digest_equal(&sample.founding, &founding));

    struct signed_body endorsements[4];
    memcpy(endorsements, sample.endorsements, sizeof endorsements);
    struct genesis changed = sample;
    changed.endorsements = endorsements;
    endorsements[0] = sample.endorsements[1];
    endorsements[1] = sample.endorsements[0];
    expect_genesis(&changed, CODEC_MISMATCH); /* replicas out of order */
    changed = sample;
    changed.replica_count = 3;
    expect_genesis(&changed, CODEC_RANGE);
    changed = sample;
    changed.member_count = 1; /* an endorsement names a member there is not */
    expect_genesis(&changed, CODEC_MISMATCH);
    changed.member_count = 0;
    expect_genesis(&changed, CODEC_RANGE);
    changed = sample;
    changed.user_count = 0;
    expect_genesis(&changed, CODEC_OK);
    struct named_key const same_name[] = {{.name = span_text("x"), .key = key_of(1)},
                                          {.name = span_text("x"), .key = key_of(2)}};
    struct named_key const same_key[] = {{.name = span_text("x"), .key = key_of(1)},
                                         {.name = span_text("y"), .key = key_of(1)}};
    changed = sample;
    changed.members = same_name;
    expect_genesis(&changed, CODEC_MISMATCH);
    changed.members = same_key;
    expect_genesis(&changed, CODEC_MISMATCH);
    changed = sample;
    changed.user_count = 2;
    changed.users = same_name;
    expect_genesis(&changed, CODEC_MISMATCH);
    changed.users = same_key;
    expect_genesis(&changed, CODEC_MISMATCH);
    arena_free(&arena);
    buffer_free(&bytes);
}

Test(codec, a_replica_has_keys_of_its_own) {
    struct buffer bytes = buffer_new();
    struct arena arena;
    struct genesis sample;
    arena_init(&arena, 1u << 20);
    kind_named("genesis")->encode(&bytes);
    cr_assert_eq(genesis_decode(&sample, &arena, buffer_span(&bytes)), CODEC_OK);
    for (unsigned which = 0; which < 3; which++) {
        struct signed_body endorsements[4];
        struct endorsement copy = sample.replicas[3];
        struct buffer body = buffer_new();
        memcpy(endorsements, sample.endorsements, sizeof endorsements);
        copy.replica_key = which == 0 ? sample.replicas[1].replica_key : copy.replica_key;
        copy.tls_digest = which == 1 ? sample.replicas[1].tls_digest : copy.tls_digest;
        cr_assert(endorsement_encode(&body, &copy));
        endorsements[3].body = buffer_span(&body);
        struct genesis changed = sample;
        changed.endorsements = endorsements;
        expect_genesis(&changed, which == 2 ? CODEC_OK : CODEC_MISMATCH);
        buffer_free(&body);
    }
    arena_free(&arena);
    buffer_free(&bytes);
}

/* ---- order and belonging --------------------------------------------------------------------- */

static struct arena decode_arena(void) {
    struct arena arena;
    arena_init(&arena, 1u << 20);
    return arena;
}

Test(codec, evidence_is_ordered_and_whole) {
    struct buffer bytes = buffer_new();
    struct arena arena = decode_arena();
    struct evidence evidence;
    kind_named("evidence")->encode(&bytes);
    cr_assert_eq(evidence_decode(&evidence, &arena, buffer_span(&bytes)), CODEC_OK);
    cr_assert_eq(memcmp(&evidence.batches[1].signatures[1], filler(2, 64).data, 64), 0);
    cr_assert_eq(memcmp(&evidence.batches[1].nonces[2], filler(3 + 64, 32).data, 32), 0);
    struct evidence const sample = evidence;
    static const struct {
        uint64_t seq;
        uint32_t signatures;
        uint32_t nonces;
        enum codec_result expected;
    } cases[] = {
        {11, 2, 3, CODEC_OK},       {10, 2, 3, CODEC_MISMATCH},
        {9, 2, 3, CODEC_MISMATCH},  {0, 2, 3, CODEC_RANGE},
        {11, 2, 2, CODEC_MISMATCH}, {11, 1, 3, CODEC_MISMATCH},
        {11, 0, 3, CODEC_RANGE},    {11, 2, 0, CODEC_RANGE},
        {11, 1, 2, CODEC_OK},       {UINT64_MAX, 2, 3, CODEC_RANGE},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        evidence = sample;
        evidence.batches[1].seq = cases[i].seq;
        evidence.batches[1].signature_count = cases[i].signatures;
        evidence.batches[1].nonce_count = cases[i].nonces;
        buffer_clear(&bytes);
        cr_assert(evidence_encode(&bytes, &evidence));
        expect_result("evidence", kind_named("evidence")->reencode, buffer_span(&bytes),
                      cases[i].expected);
    }
    expect_result("no evidence", kind_named("evidence")->reencode, (struct span){0}, CODEC_RANGE);
    arena_free(&arena);
    buffer_free(&bytes);
}

Test(codec, a_signer_set_is_not_empty) {
    struct pre_prepare sample = sample_pre_prepare();
    struct buffer bytes = buffer_new();
    sample.evidence_signers[1] = 0;
    cr_assert(pre_prepare_encode(&bytes, &sample));
    expect_result("no signers", kind_named("pre-prepare")->reencode, buffer_span(&bytes),
                  CODEC_RANGE);
    buffer_free(&bytes);
}

Test(codec, fragments_are_ordered_and_of_known_kinds) {
    struct buffer bytes = buffer_new();
    struct arena arena = decode_arena();
    struct proof proof;
    kind_named("proof")->encode(&bytes);
    cr_assert_eq(proof_decode(&proof, &arena, buffer_span(&bytes)), CODEC_OK);
    cr_assert(proof.has_fragment);
    cr_assert_eq(proof.fragment.entries[1].kind, ENTRY_REQUEST);
    struct proof const sample = proof;
    struct state_item const unordered[] = {sample.fragment.state[1], sample.fragment.state[0]};
    struct state_item const twice[] = {sample.fragment.state[0], sample.fragment.state[0]};
    struct entry const unknown[] = {{.kind = (enum entry_kind)7, .payload = span_text("x")}};
    struct entry const empty[] = {{.kind = ENTRY_REQUEST, .payload = {0}}};
    uint64_t const backwards[] = {5, 5};
    struct fragment const bad[] = {
        {.state_count = 2, .state = unordered, .entry_count = 2, .entries = proof.fragment.entries},
        {.state_count = 2, .state = twice, .entry_count = 2, .entries = proof.fragment.entries},
        {.entry_count = 1, .entries = unknown},
        {.entry_count = 1, .entries = empty},
        {.entry_count = 0},
        {.state_count = 2,
         .state = sample.fragment.state,
         .entry_count = 2,
         .entries = sample.fragment.entries,
         .place_count = 1,
         .places = sample.fragment.places},
        {.state_count = 2,
         .state = sample.fragment.state,
         .entry_count = 2,
         .entries = sample.fragment.entries,
         .place_count = 2,
         .places = backwards},
        {.entry_count = 2,
         .entries = sample.fragment.entries,
         .place_count = 2,
         .places = sample.fragment.places},
    };
    enum codec_result const expected[] = {CODEC_MISMATCH, CODEC_MISMATCH, CODEC_RANGE,
                                          CODEC_LENGTH,   CODEC_RANGE,    CODEC_MISMATCH,
                                          CODEC_MISMATCH, CODEC_MISMATCH};
    for (size_t i = 0; i < COUNT(bad); i++) {
        proof.fragment = bad[i];
        buffer_clear(&bytes);
        cr_assert(proof_encode(&bytes, &proof));
        expect_result("fragment", kind_named("proof")->reencode, buffer_span(&bytes), expected[i]);
    }
    proof = sample;
    proof.has_fragment = false;
    proof.rule = (struct span){0};
    proof.certificate_count = 0;
    buffer_clear(&bytes);
    cr_assert(proof_encode(&bytes, &proof));
    expect_result("a proof without fragment", kind_named("proof")->reencode, buffer_span(&bytes),
                  CODEC_OK);
    arena_free(&arena);
    buffer_free(&bytes);
}

Test(codec, checkpoints_name_pending_batches_in_order) {
    struct checkpoint_header header = {.seq = 5, .pending_count = 2};
    struct buffer bytes = buffer_new();
    reencoder const reencode = kind_named("checkpoint header")->reencode;
    for (uint64_t second = 3; second <= 5; second++) {
        header.pending[0].seq = 4;
        header.pending[1].seq = second;
        buffer_clear(&bytes);
        cr_assert(checkpoint_header_encode(&bytes, &header));
        expect_result("pending", reencode, buffer_span(&bytes),
                      second > 4 ? CODEC_OK : CODEC_MISMATCH);
    }
    header.pending[0].seq = 0;
    buffer_clear(&bytes);
    cr_assert(checkpoint_header_encode(&bytes, &header));
    expect_result("pending", reencode, buffer_span(&bytes), CODEC_RANGE);
    buffer_free(&bytes);
}

/* One carried batch after batch 5 with one field changed, or left out. */
static void expect_carried(uint32_t field, struct span bytes, enum codec_result expected) {
    struct checkpoint_header const header = {.seq = 5};
    struct buffer item = buffer_new();
    struct buffer changed = buffer_new();
    struct buffer message = buffer_new();
    put_number(&item, 1, 6);
    put_bytes(&item, 2, filler(1, DIGEST_SIZE));
    put_number(&item, 4, BATCH_CALLS_MAX);
    put_number(&item, 5, BATCH_NORMAL);
    with_bytes(&changed, buffer_span(&item), field, bytes);
    cr_assert(checkpoint_header_encode(&message, &header));
    put_bytes(&message, 20, buffer_span(&changed));
    expect_result("carried", kind_named("checkpoint header")->reencode, buffer_span(&message),
                  expected);
    buffer_free(&item);
    buffer_free(&changed);
    buffer_free(&message);
}

static void expect_carried_seqs(uint64_t first, uint64_t second, enum codec_result expected) {
    struct carried_batch const batch = {.kind = BATCH_NORMAL, .tx_count = 1};
    struct checkpoint_header header = {.seq = 5, .carried_count = 2, .carried = {batch, batch}};
    struct buffer bytes = buffer_new();
    header.carried[0].seq = first;
    header.carried[1].seq = second;
    cr_assert(checkpoint_header_encode(&bytes, &header));
    expect_result("carried", kind_named("checkpoint header")->reencode, buffer_span(&bytes),
                  expected);
    buffer_free(&bytes);
}

Test(codec, checkpoints_name_the_batches_that_a_view_has_yet_to_take_over) {
    expect_carried_seqs(6, 7, CODEC_OK);
    expect_carried_seqs(6, 9, CODEC_OK);
    expect_carried_seqs(6, 6, CODEC_MISMATCH);
    expect_carried_seqs(7, 6, CODEC_MISMATCH);
    expect_carried_seqs(5, 6, CODEC_MISMATCH); /* the checkpoint's own batch */
    expect_carried_seqs(0, 6, CODEC_RANGE);
    expect_carried_seqs(6, UINT64_MAX, CODEC_RANGE);
    expect_carried(900, (struct span){0}, CODEC_OK);
    expect_carried(2, filler(1, DIGEST_SIZE - 1), CODEC_LENGTH);
    expect_carried(2, (struct span){0}, CODEC_LENGTH);
    expect_carried(5, (struct span){0}, CODEC_RANGE); /* no kind */
    expect_carried(1, (struct span){0}, CODEC_RANGE); /* no number */
    struct checkpoint_header header = {.seq = 5, .carried_count = 1};
    struct buffer bytes = buffer_new();
    reencoder const reencode = kind_named("checkpoint header")->reencode;
    for (unsigned i = 0; i < 5; i++) {
        header.carried[0] = (struct carried_batch){
            .seq = 6,
            .first_index = i == 0 ? UINT64_MAX : 0,
            .tx_count = i == 1 ? BATCH_CALLS_MAX + 1 : 0,
            .kind = i == 2 ? (enum batch_kind)4 : BATCH_START_OF_CONFIGURATION,
            .gov_index = i == 3 ? UINT64_MAX : 0,
            .time_ms = i == 4 ? UINT64_MAX : 0,
        };
        buffer_clear(&bytes);
        cr_assert(checkpoint_header_encode(&bytes, &header));
        expect_result("carried", reencode, buffer_span(&bytes), CODEC_RANGE);
    }
    buffer_free(&bytes);
}

Test(codec, the_largest_checkpoint_header_fits) {
    uint64_t const most = UINT64_MAX >> 1;
    struct checkpoint_header header = {.config = most,
                                       .view = most,
                                       .seq = most - PIPELINE_MAX,
                                       .view_start = most,
                                       .next_index = most,
                                       .ledger_leaves = most,
                                       .evidence_upto = most,
                                       .gov_index = most,
                                       .time_ms = most,
                                       .checkpoint_seq = most,
                                       .state_count = most,
                                       .entries = most,
                                       .pending_count = EVIDENCE_BATCHES_MAX,
                                       .carried_count = PIPELINE_MAX};
    for (uint32_t i = 0; i < EVIDENCE_BATCHES_MAX; i++) {
        header.pending[i].seq = most - EVIDENCE_BATCHES_MAX + i;
        header.pending[i].view = most;
    }
    for (uint32_t i = 0; i < PIPELINE_MAX; i++) {
        header.carried[i] = (struct carried_batch){.seq = header.seq + 1 + i,
                                                   .first_index = most,
                                                   .tx_count = BATCH_CALLS_MAX,
                                                   .kind = BATCH_NORMAL,
                                                   .gov_index = most,
                                                   .time_ms = most};
    }
    struct buffer bytes = buffer_new();
    cr_assert(checkpoint_header_encode(&bytes, &header));
    expect_result("the largest checkpoint header", kind_named("checkpoint header")->reencode,
                  buffer_span(&bytes), CODEC_OK);
    buffer_free(&bytes);
}

Test(codec, a_window_counts_calls_that_can_be) {
    struct digest const ids[] = {digest_of(1), digest_of(2)};
    struct buffer bytes = buffer_new();
    for (uint16_t count = 0; count < 600; count++) {
        uint16_t const counts[] = {1, count};
        struct window_batch const batch = {
            .seq = 1, .request_count = 2, .request_ids = ids, .call_counts = counts};
        buffer_clear(&bytes);
        cr_assert(window_batch_encode(&bytes, &batch));
        expect_result("window batch", kind_named("window batch")->reencode, buffer_span(&bytes),
                      count >= 1 && count <= CALLS_MAX ? CODEC_OK : CODEC_RANGE);
    }
    struct window_batch const empty = {.seq = 1};
    buffer_clear(&bytes);
    cr_assert(window_batch_encode(&bytes, &empty));
    expect_result("an empty batch", kind_named("window batch")->reencode, buffer_span(&bytes),
                  CODEC_RANGE);
    buffer_free(&bytes);
}

Test(codec, a_certificate_has_a_signature_less_than_nonces) {
    struct signature const signatures[] = {signature_of(1), signature_of(2), signature_of(3)};
    struct nonce const nonces[] = {nonce_of(1), nonce_of(2), nonce_of(3), nonce_of(4)};
    struct buffer bytes = buffer_new();
    for (uint32_t i = 0; i < 4 * 5; i++) {
        struct certificate const certificate = {.pre_prepare = span_text("x"),
                                                .signers = 7,
                                                .signature_count = i % 4,
                                                .signatures = signatures,
                                                .nonce_count = i / 4,
                                                .nonces = nonces};
        enum codec_result const expected = i / 4 == 0                 ? CODEC_RANGE
                                           : i / 4 == 3 && i % 4 == 2 ? CODEC_OK
                                                                      : CODEC_MISMATCH;
        buffer_clear(&bytes);
        cr_assert(certificate_encode(&bytes, &certificate));
        expect_result("certificate", kind_named("certificate")->reencode, buffer_span(&bytes),
                      expected);
    }
    buffer_free(&bytes);
}

Test(codec, a_reply_is_limited_as_a_whole) {
    struct buffer bytes = buffer_new();
    for (uint32_t size = REPLY_SIZE_MAX / 2; size <= REPLY_SIZE_MAX / 2 + 1; size++) {
        struct span const reply[] = {filler(1, size), filler(1, size)};
        struct outcome const outcome = {.status = OUTCOME_OK, .reply_count = 2, .reply = reply};
        buffer_clear(&bytes);
        cr_assert(outcome_encode(&bytes, &outcome));
        expect_result("outcome", kind_named("outcome")->reencode, buffer_span(&bytes),
                      2 * size <= REPLY_SIZE_MAX ? CODEC_OK : CODEC_LENGTH);
    }
    buffer_free(&bytes);
}
