/*
 * The codec's rules about single fields, each by what breaks it: lengths, ranges, alphabets,
 * unknown fields, counts and sizes.
 */
#include <criterion/criterion.h>

#include "codec_samples.h"

/* ---- each rule, by what breaks it ------------------------------------------------------------ */

/* A field of the sample made `size` bytes long, or left out. */
static void expect_length(const struct kind *kind, uint32_t field, size_t size) {
    struct buffer sample = buffer_new();
    struct buffer changed = buffer_new();
    kind->encode(&sample);
    with_bytes(&changed, buffer_span(&sample), field, filler(1, size));
    expect_result(kind->name, kind->reencode, buffer_span(&changed), CODEC_LENGTH);
    buffer_free(&sample);
    buffer_free(&changed);
}

Test(codec, digests_keys_signatures_and_nonces_have_one_length) {
    static const struct {
        const char *kind;
        uint32_t field;
        size_t size;
    } fields[] = {
        {"request header", 1, 32},
        {"request header", 3, 16},
        {"request header", 6, 32},
        {"request", 2, 64},
        {"outcome", 3, 32},
        {"pre-prepare", 5, 32},
        {"pre-prepare", 7, 32},
        {"pre-prepare", 11, 32},
        {"pre-prepare", 16, 32},
        {"prepare", 5, 32},
        {"prepare", 6, 32},
        {"endorsement", 3, 32},
        {"endorsement", 4, 32},
        {"signed", 2, 64},
        {"checkpoint header", 7, 32},
        {"checkpoint header", 12, 32},
        {"checkpoint header", 14, 32},
        {"checkpoint header", 15, 32},
        {"certificate", 2, 64},
        {"receipt", 2, 64},
        {"new-view", 6, 32},
        {"journal record", 8, 32},
    };
    for (size_t i = 0; i < COUNT(fields); i++) {
        const struct kind *const kind = kind_named(fields[i].kind);
        expect_length(kind, fields[i].field, 0);
        expect_length(kind, fields[i].field, 1);
        expect_length(kind, fields[i].field, fields[i].size - 1);
        expect_length(kind, fields[i].field, fields[i].size + 1);
        expect_length(kind, fields[i].field, 2 * fields[i].size);
    }
}

Test(codec, spans_stay_within_their_limits) {
    static const struct {
        const char *kind;
        uint32_t field;
        size_t size;
    } fields[] = {
        {"call", 1, 0},
        {"call", 1, PROCEDURE_SIZE_MAX + 1},
        {"call", 2, ARGUMENT_SIZE_MAX + 1},
        {"outcome", 2, REPLY_SIZE_MAX + 1},
        {"endorsement", 5, 0},
        {"endorsement", 5, ADDRESS_SIZE_MAX + 1},
        {"endorsement", 6, 0},
        {"signed", 1, 0},
        {"request", 1, 0},
        {"request", 3, CALL_SIZE_MAX + 1},
        {"request entry", 1, 0},
        {"request entry", 3, OUTCOME_SIZE_MAX + 1},
        {"window batch", 4, DIGEST_SIZE + 1},
        {"window batch", 5, 3},
        {"window batch", 5, 6},
        {"checker snapshot", 1, 0},
        {"checker snapshot", 1, CHECKPOINT_HEADER_SIZE_MAX + 1},
        {"checker snapshot", 2, DIGEST_SIZE - 1},
        {"certificate", 1, 0},
        {"certificate", 4, SIGNATURE_SIZE + 1},
        {"certificate", 5, NONCE_SIZE - 1},
        {"receipt", 1, 0},
        {"receipt", 3, 0},
        {"receipt", 5, DIGEST_SIZE + 1},
        {"receipt", 7, 0},
        {"receipt", 9, 0},
        {"receipt", 9, COMMIT_CERTIFICATE_SIZE_MAX + 1},
        {"proof", 2, 0},
        {"proof", 3, COMMIT_CERTIFICATE_SIZE_MAX + 1},
        {"proof", 5, NAME_SIZE_MAX + 1},
        {"proof", 7, DIGEST_SIZE + 1},
        {"view-change", 5, SIGNATURE_SIZE + 1},
        {"view-change", 6, DIGEST_SIZE - 1},
        {"new-view", 3, DIGEST_SIZE + 1},
        {"journal record", 10, SIGNATURE_SIZE - 1},
        {"journal record", 11, DIGEST_SIZE + 1},
    };
    for (size_t i = 0; i < COUNT(fields); i++) {
        expect_length(kind_named(fields[i].kind), fields[i].field, fields[i].size);
    }
}

static void expect_number(const char *name, uint32_t field, uint64_t value,
                          enum codec_result expected) {
    const struct kind *const kind = kind_named(name);
    struct buffer sample = buffer_new();
    struct buffer changed = buffer_new();
    kind->encode(&sample);
    with_number(&changed, buffer_span(&sample), field, value);
    enum codec_result const result = attack_result(kind->reencode, buffer_span(&changed));
    cr_assert_eq(result, expected, "%s, field %u, value %llu: %s", name, field,
                 (unsigned long long)value, codec_result_text(result));
    buffer_free(&sample);
    buffer_free(&changed);
}

/* Numbers that later arithmetic adds to stay below 2^63. */
Test(codec, numbers_stay_below_2_to_63) {
    static const struct {
        const char *kind;
        uint32_t field;
    } fields[] = {
        {"request header", 2},
        {"pre-prepare", 1},
        {"pre-prepare", 2},
        {"pre-prepare", 3},
        {"pre-prepare", 4},
        {"pre-prepare", 6},
        {"pre-prepare", 8},
        {"pre-prepare", 12},
        {"pre-prepare", 14},
        {"pre-prepare", 15},
        {"pre-prepare", 17},
        {"prepare", 1},
        {"prepare", 2},
        {"prepare", 3},
        {"request entry", 2},
        {"checkpoint header", 1},
        {"checkpoint header", 2},
        {"checkpoint header", 4},
        {"checkpoint header", 5},
        {"checkpoint header", 6},
        {"checkpoint header", 8},
        {"checkpoint header", 9},
        {"checkpoint header", 10},
        {"checkpoint header", 11},
        {"checkpoint header", 13},
        {"checkpoint header", 16},
        {"window batch", 1},
        {"window batch", 2},
        {"window batch", 3},
        {"checker snapshot", 3},
        {"checker snapshot", 5},
        {"receipt", 6},
        {"view-change", 1},
        {"view-change", 2},
        {"new-view", 1},
        {"new-view", 2},
        {"new-view", 4},
        {"new-view", 5},
        {"new-view", 7},
        {"journal record", 2},
        {"journal record", 3},
        {"journal record", 4},
        {"journal record", 5},
        {"journal record", 6},
        {"journal record", 7},
    };
    for (size_t i = 0; i < COUNT(fields); i++) {
        uint64_t const most = UINT64_MAX >> 1;
        expect_number(fields[i].kind, fields[i].field, most, CODEC_OK);
        expect_number(fields[i].kind, fields[i].field, most + 1, CODEC_RANGE);
        expect_number(fields[i].kind, fields[i].field, UINT64_MAX, CODEC_RANGE);
    }
    /* The batches that it names as yet to come are before that one. */
    expect_number("checkpoint header", 3, UINT64_MAX >> 1, CODEC_MISMATCH);
    expect_number("checkpoint header", 3, (UINT64_MAX >> 1) + 1, CODEC_RANGE);
}

Test(codec, enums_and_counts_stay_in_range) {
    static const struct {
        const char *kind;
        uint32_t field;
        uint64_t least_bad;
    } fields[] = {
        {"request header", 4, 3},
        {"request header", 5, CALLS_MAX + 1},
        {"outcome", 1, 5},
        {"pre-prepare", 9, BATCH_CALLS_MAX + 1},
        {"pre-prepare", 10, 4},
        {"prepare", 4, REPLICAS_MAX},
        {"endorsement", 1, MEMBERS_MAX},
        {"endorsement", 2, REPLICAS_MAX},
        {"genesis", 1, 2},
        {"receipt", 4, CALLS_MAX},
        {"proof", 1, PROOF_KIND_END},
        {"view-change", 3, REPLICAS_MAX},
        {"journal record", 1, JOURNAL_PREPARED + 1},
    };
    for (size_t i = 0; i < COUNT(fields); i++) {
        expect_number(fields[i].kind, fields[i].field, fields[i].least_bad, CODEC_RANGE);
        expect_number(fields[i].kind, fields[i].field, UINT32_MAX >> 1, CODEC_RANGE);
        /* More than its 32 bits hold: what is understood is not what came in. */
        expect_number(fields[i].kind, fields[i].field, ((uint64_t)1 << 32) + 1,
                      CODEC_NOT_CANONICAL);
        /* Zero is written by leaving the field out. */
        expect_number(fields[i].kind, fields[i].field, 0, CODEC_NOT_CANONICAL);
    }
    expect_number("request header", 4, UINT64_MAX, CODEC_RANGE); /* an enum of -1 */
    expect_number("certificate", 3, 0, CODEC_NOT_CANONICAL);
    expect_number("certificate", 3, 15, CODEC_MISMATCH);
    expect_number("certificate", 3, (uint64_t)7 << 61, CODEC_OK);
}

/* Left out means zero, and these may not be zero. */
Test(codec, what_is_left_out_is_zero) {
    static const struct {
        const char *kind;
        uint32_t field;
    } fields[] = {
        {"request header", 4}, {"request header", 5}, {"outcome", 1},        {"pre-prepare", 3},
        {"pre-prepare", 10},   {"prepare", 3},        {"genesis", 1},        {"window batch", 1},
        {"certificate", 3},    {"proof", 1},          {"view-change", 2},    {"new-view", 2},
        {"new-view", 3},       {"journal record", 1}, {"journal record", 6},
    };
    for (size_t i = 0; i < COUNT(fields); i++) {
        const struct kind *const kind = kind_named(fields[i].kind);
        struct buffer sample = buffer_new();
        struct buffer changed = buffer_new();
        kind->encode(&sample);
        with_bytes(&changed, buffer_span(&sample), fields[i].field, (struct span){0});
        expect_result(kind->name, kind->reencode, buffer_span(&changed), CODEC_RANGE);
        buffer_free(&sample);
        buffer_free(&changed);
    }
}

Test(codec, unknown_fields_are_refused_at_depth) {
    static const struct {
        const char *kind;
        uint32_t field;
    } fields[] = {{"genesis", 3},     {"genesis", 4},
                  {"genesis", 5},     {"evidence", 1},
                  {"proof", 4},       {"checkpoint header", 19},
                  {"proof", 6},       {"checkpoint header", 20},
                  {"view-change", 7}, {"view-change set", 1}};
    struct buffer unknown = buffer_new();
    put_number(&unknown, 12, 5);
    for (size_t i = 0; i < COUNT(fields); i++) {
        const struct kind *const kind = kind_named(fields[i].kind);
        struct buffer sample = buffer_new();
        struct buffer changed = buffer_new();
        kind->encode(&sample);
        with_bytes(&changed, buffer_span(&sample), fields[i].field, buffer_span(&unknown));
        expect_result(kind->name, kind->reencode, buffer_span(&changed), CODEC_NOT_CANONICAL);
        buffer_free(&sample);
        buffer_free(&changed);
    }
    struct buffer fragment = buffer_new(); /* two levels down, in a state item */
    struct buffer proof = buffer_new();
    put_bytes(&fragment, 2, buffer_span(&unknown));
    put_bytes(&proof, 6, buffer_span(&fragment));
    expect_result("proof", kind_named("proof")->reencode, buffer_span(&proof), CODEC_NOT_CANONICAL);
    buffer_free(&unknown);
    buffer_free(&fragment);
    buffer_free(&proof);
}

Test(codec, names_and_addresses_use_their_alphabet) {
    static const char *const names[] = {"Bank", "bank a", "bank_a", "b\xc3\xa4nk", "../x", "a\n"};
    static const char *const addresses[] = {"a b:1", "host:1\n", "h\xc3\xb6st:1", "\x7f:1"};
    struct buffer prologue = buffer_new();
    struct buffer changed = buffer_new();
    struct buffer sample = buffer_new();
    struct buffer genesis = buffer_new();
    sample_prologue(&prologue);
    kind_named("genesis")->encode(&sample);
    for (size_t i = 0; i < COUNT(names); i++) {
        with_bytes(&changed, buffer_span(&prologue), 1, span_text(names[i]));
        with_bytes(&genesis, buffer_span(&sample), 2, buffer_span(&changed));
        expect_result(names[i], kind_named("genesis")->reencode, buffer_span(&genesis),
                      CODEC_RANGE);
    }
    buffer_clear(&sample);
    kind_named("endorsement")->encode(&sample);
    for (size_t i = 0; i < COUNT(addresses); i++) {
        with_bytes(&changed, buffer_span(&sample), 5, span_text(addresses[i]));
        expect_result(addresses[i], kind_named("endorsement")->reencode, buffer_span(&changed),
                      CODEC_RANGE);
        with_bytes(&changed, buffer_span(&sample), 6, span_text(addresses[i]));
        expect_result(addresses[i], kind_named("endorsement")->reencode, buffer_span(&changed),
                      CODEC_RANGE);
    }
    buffer_free(&prologue);
    buffer_free(&changed);
    buffer_free(&sample);
    buffer_free(&genesis);
}

/* ---- amplification --------------------------------------------------------------------------- */

/* Many empty elements: refused by counting them, before a byte is allocated. */
static void expect_no_amplification(const char *name, reencoder reencode, uint32_t field,
                                    size_t count) {
    struct buffer bytes = buffer_new();
    struct buffer output = buffer_new();
    struct arena arena;
    for (size_t i = 0; i < count; i++) {
        put_bytes(&bytes, field, (struct span){0});
    }
    arena_init(&arena, 512u << 20);
    enum codec_result const result = reencode(&output, &arena, buffer_span(&bytes));
    cr_assert_eq(result, CODEC_RANGE, "%s: %s", name, codec_result_text(result));
    cr_assert_eq(arena.used, 0, "%s took %zu bytes of memory", name, arena.used);
    arena_free(&arena);
    buffer_free(&bytes);
    buffer_free(&output);
}

Test(codec, repeated_fields_cannot_amplify) {
    expect_no_amplification("call", kind_named("call")->reencode, 2, ARGUMENTS_MAX + 1);
    expect_no_amplification("call", kind_named("call")->reencode, 2, CALL_SIZE_MAX / 2);
    expect_no_amplification("request", kind_named("request")->reencode, 3, REQUEST_SIZE_MAX / 2);
    expect_no_amplification("outcome", kind_named("outcome")->reencode, 2, OUTCOME_SIZE_MAX / 2);
    expect_no_amplification("genesis", kind_named("genesis")->reencode, 3, MEMBERS_MAX + 1);
    expect_no_amplification("genesis", kind_named("genesis")->reencode, 4, REPLICAS_MAX + 1);
    expect_no_amplification("genesis", kind_named("genesis")->reencode, 5, GENESIS_SIZE_MAX / 2);
    expect_no_amplification("evidence", kind_named("evidence")->reencode, 1, EVIDENCE_SIZE_MAX / 2);
    expect_no_amplification("request entry", kind_named("request entry")->reencode, 3,
                            ENTRY_SIZE_MAX / 2);
    expect_no_amplification("checkpoint", kind_named("checkpoint header")->reencode, 19, 2000);
    expect_no_amplification("checkpoint", kind_named("checkpoint header")->reencode, 20,
                            PIPELINE_MAX + 1);
    expect_no_amplification("view-change", kind_named("view-change")->reencode, 7,
                            PIPELINE_MAX + 1);
    expect_no_amplification("view-change", kind_named("view-change")->reencode, 7,
                            VIEW_CHANGE_SIZE_MAX / 2);
    expect_no_amplification("view-change set", kind_named("view-change set")->reencode, 1,
                            REPLICAS_MAX + 1);
    expect_no_amplification("view-change set", kind_named("view-change set")->reencode, 1,
                            VIEW_CHANGE_SET_SIZE_MAX / 2);
    expect_no_amplification("snapshot", kind_named("checker snapshot")->reencode, 4,
                            SNAPSHOT_WINDOW_MAX + 1);
    expect_no_amplification("proof", kind_named("proof")->reencode, 3, PROOF_CERTIFICATES_MAX + 1);
    expect_no_amplification("proof", kind_named("proof")->reencode, 4, PROOF_STATEMENTS_MAX + 1);
    struct buffer bytes = buffer_new();
    put_bytes(&bytes, 13, filler(1, EVIDENCE_BATCHES_MAX + 1)); /* packed: one byte each */
    expect_result("pre-prepare", kind_named("pre-prepare")->reencode, buffer_span(&bytes),
                  CODEC_RANGE);
    buffer_free(&bytes);
}

Test(codec, a_proof_cannot_amplify_in_its_fragment) {
    for (uint32_t field = 2; field <= 3; field++) {
        struct buffer fragment = buffer_new();
        struct buffer bytes = buffer_new();
        for (size_t i = 0; i <= PROOF_ENTRIES_MAX; i++) {
            put_bytes(&fragment, field, (struct span){0});
        }
        put_bytes(&bytes, 6, buffer_span(&fragment));
        expect_result("fragment", kind_named("proof")->reencode, buffer_span(&bytes), CODEC_RANGE);
        buffer_free(&fragment);
        buffer_free(&bytes);
    }
}

Test(codec, sizes_are_checked_first) {
    static const struct {
        const char *kind;
        size_t size_max;
    } sizes[] = {
        {"call", CALL_SIZE_MAX},
        {"request header", STATEMENT_SIZE_MAX},
        {"outcome", OUTCOME_SIZE_MAX},
        {"pre-prepare", STATEMENT_SIZE_MAX},
        {"prepare", STATEMENT_SIZE_MAX},
        {"endorsement", STATEMENT_SIZE_MAX},
        {"signed", STATEMENT_SIZE_MAX},
        {"evidence", EVIDENCE_SIZE_MAX},
        {"checkpoint header", CHECKPOINT_HEADER_SIZE_MAX},
        {"window batch", WINDOW_BATCH_SIZE_MAX},
        {"certificate", COMMIT_CERTIFICATE_SIZE_MAX},
        {"receipt", RECEIPT_SIZE_MAX},
        {"view-change", VIEW_CHANGE_SIZE_MAX},
        {"new-view", STATEMENT_SIZE_MAX},
        {"journal record", JOURNAL_RECORD_SIZE_MAX},
    };
    for (size_t i = 0; i < COUNT(sizes); i++) {
        const struct kind *const kind = kind_named(sizes[i].kind);
        expect_result(kind->name, kind->reencode, filler(1, sizes[i].size_max + 1), CODEC_OVERSIZE);
        cr_assert_neq(attack_result(kind->reencode, filler(1, sizes[i].size_max)), CODEC_OVERSIZE);
    }
}

Test(codec, encoders_refuse_what_they_cannot_hold) {
    struct buffer small;
    struct pre_prepare sample = sample_pre_prepare();
    buffer_init(&small, 20);
    cr_assert_not(pre_prepare_encode(&small, &sample));
    cr_assert(small.failed);
    buffer_clear(&small);
    cr_assert_not(call_encode(&small, span_text("a"), ARGUMENTS_MAX + 1, sample_arguments));
    cr_assert(small.failed);
    buffer_free(&small);
    struct buffer large = buffer_new();
    struct checkpoint_header header = {.carried_count = PIPELINE_MAX + 1};
    cr_assert_not(checkpoint_header_encode(&large, &header));
    cr_assert(large.failed);
    buffer_clear(&large);
    header = (struct checkpoint_header){.pending_count = EVIDENCE_BATCHES_MAX + 1};
    cr_assert_not(checkpoint_header_encode(&large, &header));
    cr_assert(large.failed);
    buffer_free(&large);
}
