/*
 * The codec of view-changes, of the two entries of a new view, and of journal records: what must
 * go together does, in known bytes, and the largest of each fits its limit.
 */
#include "ledger/codec_view.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "codec_samples.h"
#include "ledger/view.h"
#include "ledger/wire.h"

/* ---- view-changes ---------------------------------------------------------------------------- */

static void expect_view_change(const struct view_change *in, enum codec_result expected) {
    struct buffer bytes = buffer_new();
    cr_assert(view_change_encode(&bytes, in));
    expect_result("view-change", kind_named("view-change")->reencode, buffer_span(&bytes),
                  expected);
    buffer_free(&bytes);
}

Test(codec, a_view_change_is_understood) {
    struct view_change const in = sample_view_change();
    struct view_change out;
    struct buffer bytes = buffer_new();
    struct arena arena;
    arena_init(&arena, 1u << 20);
    cr_assert(view_change_encode(&bytes, &in));
    cr_assert_eq(view_change_decode(&out, &arena, buffer_span(&bytes)), CODEC_OK);
    cr_assert(out.config == 1 && out.view == 7 && out.replica == 3 && out.signers == 5);
    cr_assert(out.signature_count == 2 && out.chain_count == 2);
    cr_assert_eq(memcmp(&out.signatures[1], filler(2, 64).data, 64), 0);
    cr_assert(digest_equal(&out.nonce_hashes[1], &in.nonce_hashes[1]));
    cr_assert(!out.chain[0].has_evidence && out.chain[1].has_evidence);
    cr_assert(digest_equal(&out.chain[1].evidence_leaf, &in.chain[1].evidence_leaf));
    cr_assert(span_equal(out.chain[0].pre_prepare.body, span_text("first")));
    cr_assert(span_equal(out.chain[1].pre_prepare.body, span_text("second")));
    cr_assert_eq(memcmp(&out.chain[1].pre_prepare.signature, filler(91, 64).data, 64), 0);
    arena_free(&arena);
    buffer_free(&bytes);
}

Test(codec, a_view_change_shows_a_whole_certificate_or_none) {
    struct view_change const sample = sample_view_change();
    struct view_change changed = sample;
    changed.signers = 7;
    expect_view_change(&changed, CODEC_MISMATCH);
    changed.signers = 4;
    expect_view_change(&changed, CODEC_MISMATCH);
    changed.signers = (uint64_t)1 << 63 | 1;
    expect_view_change(&changed, CODEC_OK);
    changed = sample;
    changed.signature_count = 1;
    expect_view_change(&changed, CODEC_MISMATCH);
    changed.signature_count = 0;
    expect_view_change(&changed, CODEC_MISMATCH);
    changed = sample;
    changed.chain_count = 0; /* signers of nothing */
    expect_view_change(&changed, CODEC_MISMATCH);
    changed.signers = 0;
    changed.signature_count = 0; /* never prepared */
    expect_view_change(&changed, CODEC_OK);
    changed.chain_count = 2; /* batches that nobody prepared */
    expect_view_change(&changed, CODEC_MISMATCH);

    struct buffer bytes = buffer_new();
    struct buffer fewer = buffer_new();
    kind_named("view-change")->encode(&bytes);
    with_bytes(&fewer, buffer_span(&bytes), 6, filler(70, DIGEST_SIZE));
    expect_result("a nonce hash less", kind_named("view-change")->reencode, buffer_span(&fewer),
                  CODEC_MISMATCH);
    with_bytes(&fewer, buffer_span(&bytes), 5, filler(1, SIGNATURE_SIZE));
    expect_result("a signature less", kind_named("view-change")->reencode, buffer_span(&fewer),
                  CODEC_MISMATCH);
    buffer_free(&bytes);
    buffer_free(&fewer);
}

/* A view-change whose only chain item has one field changed, or left out. */
static void expect_chain_item(uint32_t field, struct span bytes, enum codec_result expected) {
    struct buffer item = buffer_new();
    struct buffer changed = buffer_new();
    struct buffer message = buffer_new();
    put_bytes(&item, 2, span_text("pre-prepare"));
    put_bytes(&item, 3, filler(1, SIGNATURE_SIZE));
    with_bytes(&changed, buffer_span(&item), field, bytes);
    put_number(&message, 2, 1);
    put_number(&message, 4, 1);
    put_bytes(&message, 5, filler(1, SIGNATURE_SIZE));
    put_bytes(&message, 6, filler(1, DIGEST_SIZE));
    put_bytes(&message, 7, buffer_span(&changed));
    expect_result("chain item", kind_named("view-change")->reencode, buffer_span(&message),
                  expected);
    buffer_free(&item);
    buffer_free(&changed);
    buffer_free(&message);
}

Test(codec, a_chain_item_is_a_signed_statement_and_perhaps_a_leaf) {
    expect_chain_item(1, (struct span){0}, CODEC_OK);
    expect_chain_item(1, filler(0, DIGEST_SIZE), CODEC_OK);
    expect_chain_item(1, filler(1, DIGEST_SIZE - 1), CODEC_LENGTH);
    expect_chain_item(1, filler(1, DIGEST_SIZE + 1), CODEC_LENGTH);
    expect_chain_item(2, (struct span){0}, CODEC_LENGTH);
    expect_chain_item(2, filler(1, STATEMENT_SIZE_MAX), CODEC_OK);
    expect_chain_item(2, filler(1, STATEMENT_SIZE_MAX + 1), CODEC_LENGTH);
    expect_chain_item(3, (struct span){0}, CODEC_LENGTH);
    expect_chain_item(3, filler(1, SIGNATURE_SIZE - 1), CODEC_LENGTH);
    expect_chain_item(3, filler(1, SIGNATURE_SIZE + 1), CODEC_LENGTH);
    expect_chain_item(4, span_text("x"), CODEC_NOT_CANONICAL);
}

Test(codec, a_leaf_of_zeros_is_not_a_leaf_left_out) {
    struct view_change sample = sample_view_change();
    struct chain_item items[2] = {sample.chain[0], sample.chain[1]};
    struct buffer with = buffer_new();
    struct buffer without = buffer_new();
    sample.chain = items;
    items[1].evidence_leaf = (struct digest){{0}};
    cr_assert(view_change_encode(&with, &sample));
    expect_view_change(&sample, CODEC_OK);
    items[1].has_evidence = false;
    cr_assert(view_change_encode(&without, &sample));
    expect_view_change(&sample, CODEC_OK);
    cr_assert_eq(with.size, without.size + 2 + DIGEST_SIZE);
    buffer_free(&with);
    buffer_free(&without);
}

/* ---- the entries of a new view --------------------------------------------------------------- */

/* A set of one view-change with one field changed, or left out. */
static void expect_in_set(uint32_t field, struct span bytes, enum codec_result expected) {
    struct buffer item = buffer_new();
    struct buffer changed = buffer_new();
    struct buffer set = buffer_new();
    put_bytes(&item, 1, span_text("view-change"));
    put_bytes(&item, 2, filler(1, SIGNATURE_SIZE));
    with_bytes(&changed, buffer_span(&item), field, bytes);
    put_bytes(&set, 1, buffer_span(&changed));
    expect_result("view-change set", kind_named("view-change set")->reencode, buffer_span(&set),
                  expected);
    buffer_free(&item);
    buffer_free(&changed);
    buffer_free(&set);
}

Test(codec, a_set_holds_signed_view_changes) {
    expect_in_set(1, filler(1, VIEW_CHANGE_SIZE_MAX), CODEC_OK);
    expect_in_set(1, filler(1, VIEW_CHANGE_SIZE_MAX + 1), CODEC_LENGTH);
    expect_in_set(1, (struct span){0}, CODEC_LENGTH);
    expect_in_set(2, (struct span){0}, CODEC_LENGTH);
    expect_in_set(2, filler(1, SIGNATURE_SIZE - 1), CODEC_LENGTH);
    expect_in_set(2, filler(1, SIGNATURE_SIZE + 1), CODEC_LENGTH);
    expect_result("an empty set", kind_named("view-change set")->reencode, (struct span){0},
                  CODEC_RANGE);
}

Test(codec, a_set_over_its_limits_is_refused) {
    size_t const size = VIEW_CHANGE_SET_SIZE_MAX + 1;
    uint8_t *const bytes = calloc(1, size);
    cr_assert_not_null(bytes);
    expect_result("view-change set", kind_named("view-change set")->reencode, span_of(bytes, size),
                  CODEC_OVERSIZE);
    free(bytes);
    struct buffer out = buffer_new();
    struct view_change_set const set = {.count = REPLICAS_MAX + 1};
    cr_assert_not(view_change_set_encode(&out, &set));
    cr_assert(out.failed);
    buffer_clear(&out);
    struct view_change const view_change = {.chain_count = PIPELINE_MAX + 1};
    cr_assert_not(view_change_encode(&out, &view_change));
    cr_assert(out.failed);
    buffer_clear(&out);
    struct new_view const new_view = {.view_change_count = REPLICAS_MAX + 1};
    cr_assert_not(new_view_encode(&out, &new_view));
    cr_assert(out.failed);
    buffer_free(&out);
}

Test(codec, a_new_view_names_as_many_view_changes_as_there_can_be_replicas) {
    struct buffer sample = buffer_new();
    struct buffer changed = buffer_new();
    reencoder const reencode = kind_named("new-view")->reencode;
    kind_named("new-view")->encode(&sample);
    with_bytes(&changed, buffer_span(&sample), 3, filler(1, REPLICAS_MAX * DIGEST_SIZE));
    expect_result("new-view", reencode, buffer_span(&changed), CODEC_OK);
    with_bytes(&changed, buffer_span(&sample), 3, filler(1, (REPLICAS_MAX + 1) * DIGEST_SIZE));
    expect_result("new-view", reencode, buffer_span(&changed), CODEC_RANGE);
    /* Nobody showed a certificate. */
    with_bytes(&changed, buffer_span(&sample), 4, (struct span){0});
    expect_result("new-view", reencode, buffer_span(&changed), CODEC_OK);
    with_bytes(&sample, buffer_span(&changed), 5, (struct span){0});
    expect_result("new-view", reencode, buffer_span(&sample), CODEC_OK);
    buffer_free(&sample);
    buffer_free(&changed);
}

struct unit_bytes {
    struct buffer set;
    struct buffer body;
    struct buffer entry;
};

static struct unit_bytes sample_unit(void) {
    struct unit_bytes unit = {.set = buffer_new(), .body = buffer_new(), .entry = buffer_new()};
    kind_named("view-change set")->encode(&unit.set);
    kind_named("new-view")->encode(&unit.body);
    struct signed_body const statement = {.body = buffer_span(&unit.body),
                                          .signature = signature_of(8)};
    cr_assert(signed_encode(&unit.entry, &statement));
    return unit;
}

static void unit_free(struct unit_bytes *unit) {
    buffer_free(&unit->set);
    buffer_free(&unit->body);
    buffer_free(&unit->entry);
}

static enum codec_result unit_result(struct span set, struct span entry) {
    struct view_unit out;
    struct arena arena;
    arena_init(&arena, 64u << 20);
    enum codec_result const result = view_unit_decode(&out, &arena, set, entry);
    arena_free(&arena);
    return result;
}

Test(codec, a_view_unit_is_both_entries) {
    struct unit_bytes bytes = sample_unit();
    struct view_unit out;
    struct arena arena;
    arena_init(&arena, 1u << 20);
    cr_assert_eq(view_unit_decode(&out, &arena, buffer_span(&bytes.set), buffer_span(&bytes.entry)),
                 CODEC_OK);
    cr_assert(out.set_payload.data == bytes.set.data && out.set_payload.size == bytes.set.size);
    cr_assert(out.entry_payload.data == bytes.entry.data &&
              out.entry_payload.size == bytes.entry.size);
    cr_assert_eq(out.set.count, 3);
    cr_assert(span_equal(out.set.view_changes[1].body, span_text("of replica 2")));
    cr_assert(span_equal(out.statement.body, buffer_span(&bytes.body)));
    cr_assert_eq(memcmp(&out.statement.signature, filler(8, 64).data, 64), 0);
    cr_assert(out.new_view.config == 1 && out.new_view.view == 7);
    cr_assert(out.new_view.chosen_view == 5 && out.new_view.chosen_seq == 412);
    cr_assert(out.new_view.view_change_count == 3 && out.new_view.ledger_leaves == 900);
    arena_free(&arena);
    unit_free(&bytes);
}

/* Whichever of the three layers does not decode, the unit does not. */
Test(codec, a_view_unit_is_refused_with_either_entry) {
    struct unit_bytes bytes = sample_unit();
    struct span const set = buffer_span(&bytes.set);
    struct span const entry = buffer_span(&bytes.entry);
    cr_assert_eq(unit_result(set, entry), CODEC_OK);
    for (size_t size = 0; size < set.size; size++) {
        enum codec_result const whole =
            attack_result(kind_named("view-change set")->reencode, span_of(set.data, size));
        cr_assert_eq(unit_result(span_of(set.data, size), entry), whole, "cut to %zu", size);
    }
    for (size_t size = 0; size < entry.size; size++) {
        cr_assert_neq(unit_result(set, span_of(entry.data, size)), CODEC_OK, "cut to %zu", size);
    }
    cr_assert_neq(unit_result(entry, entry), CODEC_OK);
    cr_assert_neq(unit_result(set, set), CODEC_OK);

    struct buffer changed = buffer_new();
    struct buffer other = buffer_new();
    with_number(&changed, buffer_span(&bytes.body), 900, 1); /* in the body that was signed */
    struct signed_body const statement = {.body = buffer_span(&changed),
                                          .signature = signature_of(8)};
    cr_assert(signed_encode(&other, &statement));
    cr_assert_eq(unit_result(set, buffer_span(&other)), CODEC_NOT_CANONICAL);
    with_bytes(&other, entry, 1, filler(1, STATEMENT_SIZE_MAX));
    cr_assert_eq(unit_result(set, buffer_span(&other)), CODEC_OVERSIZE);
    buffer_free(&changed);
    buffer_free(&other);
    unit_free(&bytes);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void encode_largest_view_change(struct buffer *out) {
    static struct chain_item chain[PIPELINE_MAX];
    for (uint32_t i = 0; i < PIPELINE_MAX; i++) {
        chain[i] = (struct chain_item){
            .has_evidence = true,
            .evidence_leaf = digest_of(1),
            .pre_prepare = {.body = filler(1, STATEMENT_SIZE_MAX), .signature = signature_of(1)}};
    }
    struct span const signatures = filler(1, (REPLICAS_MAX - 1) * SIGNATURE_SIZE);
    struct span const hashes = filler(1, (REPLICAS_MAX - 1) * DIGEST_SIZE);
    struct view_change const largest = {.config = UINT64_MAX >> 1,
                                        .view = UINT64_MAX >> 1,
                                        .replica = REPLICAS_MAX - 1,
                                        .signers = UINT64_MAX - 1,
                                        .signature_count = REPLICAS_MAX - 1,
                                        .signatures = (const struct signature *)signatures.data,
                                        .nonce_hashes = (const struct digest *)hashes.data,
                                        .chain_count = PIPELINE_MAX,
                                        .chain = chain};
    cr_assert(view_change_encode(out, &largest));
}

Test(codec, the_largest_change_of_view_fits) {
    static struct signed_body view_changes[REPLICAS_MAX];
    struct buffer body = buffer_new();
    struct buffer statement = buffer_new();
    struct buffer set = buffer_new();
    struct buffer message = buffer_new();
    encode_largest_view_change(&body);
    expect_result("the largest view-change", kind_named("view-change")->reencode,
                  buffer_span(&body), CODEC_OK);
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        /* As large as a view-change may be at all, whatever it holds. */
        view_changes[i] = (struct signed_body){.body = filler(1, VIEW_CHANGE_SIZE_MAX),
                                               .signature = signature_of(1)};
    }
    cr_assert(signed_encode(&statement, &view_changes[0]));
    cr_assert_leq(statement.size, message_size_max(MESSAGE_VIEW_CHANGE));
    struct view_change_set const largest = {.count = REPLICAS_MAX, .view_changes = view_changes};
    cr_assert(view_change_set_encode(&set, &largest));
    cr_assert_leq(set.size, ENTRY_SIZE_MAX);
    expect_result("the largest set", kind_named("view-change set")->reencode, buffer_span(&set),
                  CODEC_OK);
    struct new_view_message const new_view = {.set = buffer_span(&set),
                                              .new_view = filler(1, STATEMENT_SIZE_MAX)};
    cr_assert(new_view_message_encode(&message, &new_view));
    cr_assert_leq(message.size, message_size_max(MESSAGE_NEW_VIEW));
    buffer_free(&body);
    buffer_free(&statement);
    buffer_free(&set);
    buffer_free(&message);
}

/* ---- known bytes ----------------------------------------------------------------------------- */

Test(codec, changes_of_view_are_the_documented_bytes) {
    struct buffer expected = buffer_new();
    struct buffer item = buffer_new();
    struct buffer got = buffer_new();
    put_number(&expected, 1, 1);
    put_number(&expected, 2, 7);
    put_number(&expected, 3, 3);
    put_number(&expected, 4, 5);
    struct signature const signatures[] = {signature_of(1), signature_of(2)};
    put_bytes(&expected, 5, span_of(signatures, sizeof signatures));
    struct digest const hashes[] = {digest_of(70), digest_of(71)};
    put_bytes(&expected, 6, span_of(hashes, sizeof hashes));
    put_bytes(&item, 2, span_text("first"));
    put_bytes(&item, 3, filler(90, 64));
    put_bytes(&expected, 7, buffer_span(&item));
    buffer_clear(&item);
    put_bytes(&item, 1, filler(30, 32));
    put_bytes(&item, 2, span_text("second"));
    put_bytes(&item, 3, filler(91, 64));
    put_bytes(&expected, 7, buffer_span(&item));
    kind_named("view-change")->encode(&got);
    cr_assert(span_equal(buffer_span(&expected), buffer_span(&got)));

    buffer_clear(&expected);
    buffer_clear(&got);
    put_number(&expected, 1, 1);
    put_number(&expected, 2, 7);
    struct digest const digests[] = {digest_of(1), digest_of(2), digest_of(3)};
    put_bytes(&expected, 3, span_of(digests, sizeof digests));
    put_number(&expected, 4, 5);
    put_number(&expected, 5, 412);
    put_bytes(&expected, 6, filler(50, 32));
    put_number(&expected, 7, 900);
    kind_named("new-view")->encode(&got);
    cr_assert(span_equal(buffer_span(&expected), buffer_span(&got)));
    buffer_free(&expected);
    buffer_free(&item);
    buffer_free(&got);
}

/* ---- journal records ------------------------------------------------------------------------- */

static void expect_record(const struct journal_record *in, enum codec_result expected) {
    struct buffer bytes = buffer_new();
    cr_assert(journal_record_encode(&bytes, in));
    expect_result("journal record", kind_named("journal record")->reencode, buffer_span(&bytes),
                  expected);
    buffer_free(&bytes);
}

Test(codec, a_journal_record_of_a_nonce_is_understood) {
    struct journal_record const in = sample_journal_record();
    struct journal_record out;
    struct buffer bytes = buffer_new();
    struct arena arena;
    arena_init(&arena, 1u << 20);
    cr_assert(journal_record_encode(&bytes, &in));
    cr_assert_eq(journal_record_decode(&out, &arena, buffer_span(&bytes)), CODEC_OK);
    cr_assert(out.kind == JOURNAL_NONCE && out.config == 1 && out.view == 2 && out.seq == 30);
    cr_assert(out.ledger_view == 2 && out.ledger_seq == 33 && out.ledger_entries == 400);
    cr_assert(out.signers == 6 && out.signature_count == 2);
    cr_assert(digest_equal(&out.pre_prepare_digest, &in.pre_prepare_digest));
    cr_assert_eq(memcmp(out.signatures, in.signatures, 2 * SIGNATURE_SIZE), 0);
    cr_assert_eq(memcmp(out.nonce_hashes, in.nonce_hashes, 2 * DIGEST_SIZE), 0);
    arena_free(&arena);
    buffer_free(&bytes);
}

static void expect_certificate(enum journal_kind kind) {
    struct journal_record sample = sample_journal_record();
    sample.kind = kind;
    expect_record(&sample, CODEC_OK);
    struct journal_record changed = sample;
    changed.signers = 7;
    expect_record(&changed, CODEC_MISMATCH);
    changed.signers = 0;
    changed.signature_count = 0;
    expect_record(&changed, CODEC_MISMATCH);
    changed = sample;
    changed.signature_count = 1;
    expect_record(&changed, CODEC_MISMATCH);
    changed = sample;
    changed.seq = 0;
    expect_record(&changed, CODEC_MISMATCH);
    changed = sample;
    changed.ledger_seq = 0; /* genesis alone reveals nothing */
    expect_record(&changed, CODEC_RANGE);
    struct buffer bytes = buffer_new();
    struct buffer fewer = buffer_new();
    cr_assert(journal_record_encode(&bytes, &sample));
    with_bytes(&fewer, buffer_span(&bytes), 10, filler(1, SIGNATURE_SIZE));
    expect_result("a signature less", kind_named("journal record")->reencode, buffer_span(&fewer),
                  CODEC_MISMATCH);
    with_bytes(&fewer, buffer_span(&bytes), 11, filler(1, DIGEST_SIZE));
    expect_result("a nonce hash less", kind_named("journal record")->reencode, buffer_span(&fewer),
                  CODEC_MISMATCH);
    with_bytes(&fewer, buffer_span(&bytes), 8, (struct span){0});
    expect_result("no digest", kind_named("journal record")->reencode, buffer_span(&fewer),
                  CODEC_LENGTH);
    buffer_free(&bytes);
    buffer_free(&fewer);
}

Test(codec, a_nonce_and_a_rank_are_recorded_with_their_certificate) {
    expect_certificate(JOURNAL_NONCE);
    expect_certificate(JOURNAL_PREPARED);
    struct journal_record unknown = sample_journal_record();
    unknown.kind = (enum journal_kind)(JOURNAL_PREPARED + 1);
    expect_record(&unknown, CODEC_RANGE);
    unknown.kind = (enum journal_kind)0;
    expect_record(&unknown, CODEC_RANGE);
}

Test(codec, other_journal_records_speak_of_no_batch) {
    struct journal_record const nonce = sample_journal_record();
    for (enum journal_kind kind = JOURNAL_VIEW; kind <= JOURNAL_STOPPED; kind++) {
        struct journal_record const sample = {.kind = kind,
                                              .config = 1,
                                              .view = 4,
                                              .ledger_view = 3,
                                              .ledger_seq = 33,
                                              .ledger_entries = 400};
        struct journal_record changed = sample;
        struct buffer bytes = buffer_new();
        cr_assert(journal_record_encode(&bytes, &sample));
        attack_decoder("journal record", kind_named("journal record")->reencode,
                       buffer_span(&bytes));
        changed.view = 0;
        changed.ledger_seq = 0; /* genesis alone */
        expect_record(&changed, CODEC_OK);
        changed = sample;
        changed.seq = 30;
        expect_record(&changed, CODEC_MISMATCH);
        changed = sample;
        changed.signers = nonce.signers;
        changed.signature_count = nonce.signature_count;
        changed.signatures = nonce.signatures;
        changed.nonce_hashes = nonce.nonce_hashes;
        expect_record(&changed, CODEC_MISMATCH);
        buffer_free(&bytes);
    }
}

/* The digest that they do not have is left out; zeros in its place are another encoding. */
Test(codec, a_journal_record_without_a_batch_has_no_digest) {
    struct journal_record const sample = {.kind = JOURNAL_STARTED, .config = 1};
    struct journal_record out;
    struct buffer bytes = buffer_new();
    struct buffer expected = buffer_new();
    struct buffer zeros = buffer_new();
    struct arena arena;
    put_number(&expected, 1, 3);
    put_number(&expected, 2, 1);
    cr_assert(journal_record_encode(&bytes, &sample));
    cr_assert(span_equal(buffer_span(&bytes), buffer_span(&expected)));
    arena_init(&arena, 1u << 20);
    memset(&out, 0xff, sizeof out);
    cr_assert_eq(journal_record_decode(&out, &arena, buffer_span(&bytes)), CODEC_OK);
    struct digest const zero = {{0}};
    cr_assert(digest_equal(&out.pre_prepare_digest, &zero));
    cr_assert(out.seq == 0 && out.signers == 0 && out.signature_count == 0);
    with_bytes(&zeros, buffer_span(&bytes), 8, span_of(zero.bytes, DIGEST_SIZE));
    expect_result("zeros", kind_named("journal record")->reencode, buffer_span(&zeros),
                  CODEC_MISMATCH);
    arena_free(&arena);
    buffer_free(&bytes);
    buffer_free(&expected);
    buffer_free(&zeros);
}

Test(codec, the_largest_journal_record_fits) {
    struct span const signatures = filler(1, (REPLICAS_MAX - 1) * SIGNATURE_SIZE);
    struct span const hashes = filler(1, (REPLICAS_MAX - 1) * DIGEST_SIZE);
    uint64_t const most = UINT64_MAX >> 1;
    struct journal_record const largest = {.kind = JOURNAL_NONCE,
                                           .config = most,
                                           .view = most,
                                           .seq = most,
                                           .ledger_view = most,
                                           .ledger_seq = most,
                                           .ledger_entries = most,
                                           .signers = UINT64_MAX - 1,
                                           .signature_count = REPLICAS_MAX - 1,
                                           .signatures = (const struct signature *)signatures.data,
                                           .nonce_hashes = (const struct digest *)hashes.data};
    expect_record(&largest, CODEC_OK);
}
