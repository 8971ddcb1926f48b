/*
 * The wire messages: each comes out as it went in, withstands what codec_attack throws at it, and
 * obeys its limits. Frame headers name known kinds only.
 */
#include "ledger/wire.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "codec_attack.h"

REENCODER(pre_prepare_message)
REENCODER(new_view_message)
REENCODER(commit_message)
REENCODER(status_message)
REENCODER(fetch_requests_message)
REENCODER(requests_message)
REENCODER(range_message)
REENCODER(fetch_checkpoint_message)
REENCODER(checkpoint_offer_message)
REENCODER(checkpoint_digests_message)
REENCODER(checkpoint_items_message)
REENCODER(reply_message)
REENCODER(result_message)
REENCODER(reject_message)
REENCODER(status_reply_message)
REENCODER(receipt_reply_message)
REENCODER(chain_reply_message)

/* The payload of prepares and view-changes; only the size differs. */
static enum codec_result reencode_signed(struct buffer *out, struct arena *arena,
                                         struct span bytes) {
    struct signed_body value;
    enum codec_result const result =
        signed_decode(&value, arena, bytes, message_size_max(MESSAGE_VIEW_CHANGE));
    if (result == CODEC_OK) {
        cr_assert(signed_encode(out, &value));
    }
    return result;
}

static enum codec_result reencode_fetch_range(struct buffer *out, struct arena *arena,
                                              struct span bytes) {
    uint64_t first_entry;
    enum codec_result const result = fetch_range_message_decode(&first_entry, arena, bytes);
    if (result == CODEC_OK) {
        cr_assert(fetch_range_message_encode(out, first_entry));
    }
    return result;
}

static enum codec_result reencode_chain_query(struct buffer *out, struct arena *arena,
                                              struct span bytes) {
    uint64_t config;
    enum codec_result const result = chain_query_decode(&config, arena, bytes);
    if (result == CODEC_OK) {
        cr_assert(chain_query_encode(out, config));
    }
    return result;
}

static enum codec_result reencode_receipt_query(struct buffer *out, struct arena *arena,
                                                struct span bytes) {
    struct digest request_id;
    enum codec_result const result = receipt_query_decode(&request_id, arena, bytes);
    if (result == CODEC_OK) {
        cr_assert(receipt_query_encode(out, &request_id));
    }
    return result;
}

static enum codec_result reencode_status_query(struct buffer *out, struct arena *arena,
                                               struct span bytes) {
    (void)out; /* its encoding is empty */
    return status_query_decode(arena, bytes);
}

/* ---- samples --------------------------------------------------------------------------------- */

static void encode_pre_prepare(struct buffer *out) {
    struct digest const digests[] = {digest_of(1), digest_of(2)};
    struct pre_prepare_message const sample = {
        .statement = {.body = span_text("pre-prepare"), .signature = signature_of(1)},
        .evidence = span_text("evidence"),
        .request_count = 2,
        .request_digests = digests};
    cr_assert(pre_prepare_message_encode(out, &sample));
}

static void encode_view_change(struct buffer *out) {
    struct signed_body const sample = {.body = span_text("view-change"),
                                       .signature = signature_of(1)};
    cr_assert(signed_encode(out, &sample));
}

static void encode_new_view(struct buffer *out) {
    struct new_view_message const sample = {.set = span_text("view-changes"),
                                            .new_view = span_text("signed new-view")};
    cr_assert(new_view_message_encode(out, &sample));
}

static void encode_commit(struct buffer *out) {
    struct commit_message const sample = {
        .config = 1, .view = 2, .seq = 412, .replica = 63, .nonce = nonce_of(1)};
    cr_assert(commit_message_encode(out, &sample));
}

static void encode_status(struct buffer *out) {
    struct status_message const sample = {.config = 1,
                                          .view = 2,
                                          .asked_view = 3,
                                          .executed_seq = 12,
                                          .committed_seq = 11,
                                          .evidenced_seq = 10,
                                          .evidenced_entries = 300,
                                          .wants_answer = true,
                                          .suspects = true};
    cr_assert(status_message_encode(out, &sample));
}

static void encode_fetch_requests(struct buffer *out) {
    struct digest const digests[] = {digest_of(1), digest_of(2), digest_of(3)};
    struct fetch_requests_message const sample = {.seq = 9, .digest_count = 3, .digests = digests};
    cr_assert(fetch_requests_message_encode(out, &sample));
}

static void encode_requests(struct buffer *out) {
    struct span const requests[] = {span_text("one"), span_text("two")};
    struct requests_message const sample = {.count = 2, .requests = requests};
    cr_assert(requests_message_encode(out, &sample));
}

static void encode_fetch_range(struct buffer *out) {
    cr_assert(fetch_range_message_encode(out, 70000));
}

static void encode_range(struct buffer *out) {
    struct entry const entries[] = {{.kind = ENTRY_EVIDENCE, .payload = span_text("one")},
                                    {.kind = ENTRY_NEW_VIEW, .payload = span_text("two")}};
    struct range_message const sample = {.first_entry = 5, .count = 2, .entries = entries};
    cr_assert(range_message_encode(out, &sample));
}

static void encode_fetch_checkpoint(struct buffer *out) {
    struct fetch_checkpoint_message const sample = {
        .part = CHECKPOINT_ITEMS, .seq = 90, .first_group = 70000};
    cr_assert(fetch_checkpoint_message_encode(out, &sample));
}

static void encode_checkpoint_offer(struct buffer *out) {
    struct digest const peaks[] = {digest_of(1), digest_of(2)};
    struct checkpoint_offer_message const sample = {.seq = 90,
                                                    .certificate = span_text("certificate"),
                                                    .snapshot = span_text("snapshot"),
                                                    .first_entry = 4,
                                                    .first_leaves = 3,
                                                    .peaks = span_of(peaks, sizeof peaks)};
    cr_assert(checkpoint_offer_message_encode(out, &sample));
}

static void encode_checkpoint_digests(struct buffer *out) {
    struct digest const digests[] = {digest_of(1), digest_of(2)};
    struct checkpoint_digests_message const sample = {
        .seq = 90, .first_group = 8192, .count = 2, .digests = digests};
    cr_assert(checkpoint_digests_message_encode(out, &sample));
}

static void encode_checkpoint_items(struct buffer *out) {
    struct state_item const items[] = {{.key = span_text("kv/a"), .value = span_text("one")},
                                       {.key = span_text("kv/b"), .value = span_text("")}};
    struct checkpoint_items_message const sample = {
        .seq = 90, .first_group = 5, .count = 2, .items = items};
    cr_assert(checkpoint_items_message_encode(out, &sample));
}

static void encode_reply(struct buffer *out) {
    struct reply_message const sample = {.view = 1,
                                         .seq = 2,
                                         .replica = 3,
                                         .pre_prepare_digest = digest_of(1),
                                         .signature = signature_of(2),
                                         .nonce = nonce_of(3)};
    cr_assert(reply_message_encode(out, &sample));
}

static struct span const outcomes_sample[] = {
    {.data = (const uint8_t *)"first", .size = 5},
    {.data = (const uint8_t *)"second", .size = 6},
};

static struct request_result result_sample(const struct digest flanks[2]) {
    return (struct request_result){.request_id = digest_of(4),
                                   .first_index = 1000,
                                   .leaf = 17,
                                   .outcome_count = 2,
                                   .outcomes = outcomes_sample,
                                   .flank_count = 2,
                                   .flanks = flanks};
}

static void encode_result(struct buffer *out) {
    struct digest const flanks[] = {digest_of(5), digest_of(6)};
    struct request_result const results[] = {result_sample(flanks), result_sample(flanks)};
    struct result_message const sample = {
        .pre_prepare = {.body = span_text("pre-prepare"), .signature = signature_of(1)},
        .count = 2,
        .results = results};
    cr_assert(result_message_encode(out, &sample));
}

static void encode_reject(struct buffer *out) {
    struct reject_message const sample = {
        .request_id = digest_of(1), .reason = REJECT_EXPIRED, .next_index = 4000};
    cr_assert(reject_message_encode(out, &sample));
}

static void encode_status_query(struct buffer *out) {
    (void)out;
}

static void encode_status_reply(struct buffer *out) {
    struct status_reply_message const sample = {.service = digest_of(1),
                                                .replica = 1,
                                                .config = 1,
                                                .view = 5,
                                                .primary = 2,
                                                .executed_seq = 9,
                                                .committed_seq = 8,
                                                .next_index = 100,
                                                .committed_index = 90,
                                                .ledger_size = 41u << 20,
                                                .voting = true,
                                                .last_error = span_text("disk: full")};
    cr_assert(status_reply_message_encode(out, &sample));
}

static void encode_receipt_query(struct buffer *out) {
    struct digest const id = digest_of(1);
    cr_assert(receipt_query_encode(out, &id));
}

static void encode_receipt_reply(struct buffer *out) {
    struct digest const flanks[] = {digest_of(5), digest_of(6)};
    struct receipt_reply_message const sample = {.request_id = digest_of(4),
                                                 .certificate = span_text("certificate"),
                                                 .result = result_sample(flanks)};
    cr_assert(receipt_reply_message_encode(out, &sample));
}

static void encode_chain_query(struct buffer *out) {
    cr_assert(chain_query_encode(out, 3));
}

static void encode_chain_reply(struct buffer *out) {
    struct span const links[] = {span_text("link"), span_text("another")};
    struct chain_reply_message const sample = {.config = 9, .link_count = 2, .links = links};
    cr_assert(chain_reply_message_encode(out, &sample));
}

static const struct kind {
    const char *name;
    enum message_kind kind;
    void (*encode)(struct buffer *out);
    reencoder reencode;
} kinds[] = {
    {"pre-prepare", MESSAGE_PRE_PREPARE, encode_pre_prepare, reencode_pre_prepare_message},
    {"commit", MESSAGE_COMMIT, encode_commit, reencode_commit_message},
    {"status", MESSAGE_STATUS, encode_status, reencode_status_message},
    {"fetch requests", MESSAGE_FETCH_REQUESTS, encode_fetch_requests,
     reencode_fetch_requests_message},
    {"requests", MESSAGE_REQUESTS, encode_requests, reencode_requests_message},
    {"fetch range", MESSAGE_FETCH_RANGE, encode_fetch_range, reencode_fetch_range},
    {"range", MESSAGE_RANGE, encode_range, reencode_range_message},
    {"view-change", MESSAGE_VIEW_CHANGE, encode_view_change, reencode_signed},
    {"new view", MESSAGE_NEW_VIEW, encode_new_view, reencode_new_view_message},
    {"fetch checkpoint", MESSAGE_FETCH_CHECKPOINT, encode_fetch_checkpoint,
     reencode_fetch_checkpoint_message},
    {"checkpoint offer", MESSAGE_CHECKPOINT_OFFER, encode_checkpoint_offer,
     reencode_checkpoint_offer_message},
    {"checkpoint digests", MESSAGE_CHECKPOINT_DIGESTS, encode_checkpoint_digests,
     reencode_checkpoint_digests_message},
    {"checkpoint items", MESSAGE_CHECKPOINT_ITEMS, encode_checkpoint_items,
     reencode_checkpoint_items_message},
    {"reply", MESSAGE_REPLY, encode_reply, reencode_reply_message},
    {"result", MESSAGE_RESULT, encode_result, reencode_result_message},
    {"reject", MESSAGE_REJECT, encode_reject, reencode_reject_message},
    {"status query", MESSAGE_STATUS_QUERY, encode_status_query, reencode_status_query},
    {"status reply", MESSAGE_STATUS_REPLY, encode_status_reply, reencode_status_reply_message},
    {"receipt query", MESSAGE_RECEIPT_QUERY, encode_receipt_query, reencode_receipt_query},
    {"receipt reply", MESSAGE_RECEIPT_REPLY, encode_receipt_reply, reencode_receipt_reply_message},
    {"chain query", MESSAGE_CHAIN_QUERY, encode_chain_query, reencode_chain_query},
    {"chain reply", MESSAGE_CHAIN_REPLY, encode_chain_reply, reencode_chain_reply_message},
};

Test(wire, every_message_withstands_attacks) {
    for (size_t i = 0; i < COUNT(kinds); i++) {
        struct buffer sample = buffer_new();
        kinds[i].encode(&sample);
        cr_assert_leq(sample.size, message_size_max((uint8_t)kinds[i].kind));
        attack_decoder(kinds[i].name, kinds[i].reencode, buffer_span(&sample));
        buffer_free(&sample);
    }
}

/* ---- frames ---------------------------------------------------------------------------------- */

Test(wire, only_known_kinds_have_a_size) {
    unsigned known = 0;
    for (unsigned kind = 0; kind < 256; kind++) {
        size_t const size_max = message_size_max((uint8_t)kind);
        cr_assert_leq(size_max + FRAME_HEADER_SIZE, FRAME_SIZE_MAX);
        known += size_max != 0;
    }
    cr_assert_eq(known, 26);
    cr_assert_eq(message_size_max(0), 0);
    cr_assert_eq(message_size_max(15), 0);
    cr_assert_eq(message_size_max(255), 0);
    cr_assert_leq(message_size_max(MESSAGE_REQUEST), FRAME_FROM_CLIENT_SIZE_MAX);
    cr_assert_geq(message_size_max(MESSAGE_RANGE), ENTRY_SIZE_MAX + 64);
}

Test(wire, frame_header_is_size_and_kind) {
    uint8_t header[FRAME_HEADER_SIZE];
    frame_header_encode(header, MESSAGE_RESULT, 0x010203);
    cr_assert_eq(memcmp(header, "\x00\x01\x02\x03\x41", sizeof header), 0);
}

/* The decoder refuses what is over the limit that is checked on the header, too. */
Test(wire, oversize_payloads_are_refused) {
    for (size_t i = 0; i < COUNT(kinds); i++) {
        size_t const size = message_size_max((uint8_t)kinds[i].kind) + 1;
        uint8_t *const bytes = calloc(1, size);
        cr_assert_not_null(bytes);
        expect_result(kinds[i].name, kinds[i].reencode, span_of(bytes, size), CODEC_OVERSIZE);
        free(bytes);
    }
}

/* ---- rules ----------------------------------------------------------------------------------- */

static const struct kind *kind_of(enum message_kind kind) {
    size_t i = 0;
    while (i < COUNT(kinds) && kinds[i].kind != kind) {
        i++;
    }
    cr_assert_lt(i, COUNT(kinds));
    return &kinds[i];
}

static void expect_length(enum message_kind which, uint32_t field, size_t size,
                          enum codec_result expected) {
    const struct kind *const kind = kind_of(which);
    struct buffer sample = buffer_new();
    struct buffer changed = buffer_new();
    kind->encode(&sample);
    with_bytes(&changed, buffer_span(&sample), field, filler(1, size));
    expect_result(kind->name, kind->reencode, buffer_span(&changed), expected);
    buffer_free(&sample);
    buffer_free(&changed);
}

static void expect_number(enum message_kind which, uint32_t field, uint64_t value,
                          enum codec_result expected) {
    const struct kind *const kind = kind_of(which);
    struct buffer sample = buffer_new();
    struct buffer changed = buffer_new();
    kind->encode(&sample);
    with_number(&changed, buffer_span(&sample), field, value);
    expect_result(kind->name, kind->reencode, buffer_span(&changed), expected);
    buffer_free(&sample);
    buffer_free(&changed);
}

Test(wire, fixed_sizes_are_exact) {
    static const struct {
        enum message_kind kind;
        uint32_t field;
        size_t size;
    } fields[] = {
        {MESSAGE_PRE_PREPARE, 2, 64},   {MESSAGE_COMMIT, 5, 32},
        {MESSAGE_REPLY, 4, 32},         {MESSAGE_REPLY, 5, 64},
        {MESSAGE_REPLY, 6, 32},         {MESSAGE_RESULT, 2, 64},
        {MESSAGE_REJECT, 1, 32},        {MESSAGE_STATUS_REPLY, 1, 32},
        {MESSAGE_RECEIPT_QUERY, 1, 32}, {MESSAGE_RECEIPT_REPLY, 1, 32},
        {MESSAGE_VIEW_CHANGE, 2, 64},
    };
    for (size_t i = 0; i < COUNT(fields); i++) {
        expect_length(fields[i].kind, fields[i].field, 0, CODEC_LENGTH);
        expect_length(fields[i].kind, fields[i].field, fields[i].size - 1, CODEC_LENGTH);
        expect_length(fields[i].kind, fields[i].field, fields[i].size, CODEC_OK);
        expect_length(fields[i].kind, fields[i].field, fields[i].size + 1, CODEC_LENGTH);
    }
    expect_length(MESSAGE_PRE_PREPARE, 1, 0, CODEC_LENGTH);
    expect_length(MESSAGE_PRE_PREPARE, 1, STATEMENT_SIZE_MAX + 1, CODEC_LENGTH);
    expect_length(MESSAGE_PRE_PREPARE, 3, 0, CODEC_OK);
    expect_length(MESSAGE_PRE_PREPARE, 3, EVIDENCE_SIZE_MAX + 1, CODEC_LENGTH);
    expect_length(MESSAGE_PRE_PREPARE, 4, 0, CODEC_OK);
    expect_length(MESSAGE_PRE_PREPARE, 4, 33, CODEC_LENGTH);
    expect_length(MESSAGE_FETCH_REQUESTS, 2, 0, CODEC_RANGE);
    expect_length(MESSAGE_FETCH_REQUESTS, 2, 63, CODEC_LENGTH);
    expect_length(MESSAGE_FETCH_REQUESTS, 2, WIRE_REQUESTS_MAX * 32, CODEC_OK);
    expect_length(MESSAGE_FETCH_REQUESTS, 2, WIRE_REQUESTS_MAX * 32 + 32, CODEC_RANGE);
    expect_length(MESSAGE_REQUESTS, 1, FILLER_SIZE_MAX, CODEC_OK);
    expect_length(MESSAGE_RECEIPT_REPLY, 2, 0, CODEC_LENGTH);
    expect_length(MESSAGE_RECEIPT_REPLY, 3, 0, CODEC_LENGTH);
    expect_length(MESSAGE_STATUS_REPLY, 11, STATUS_ERROR_SIZE_MAX + 1, CODEC_LENGTH);
    expect_length(MESSAGE_VIEW_CHANGE, 1, 0, CODEC_LENGTH);
    expect_length(MESSAGE_VIEW_CHANGE, 1, VIEW_CHANGE_SIZE_MAX, CODEC_OK);
    expect_length(MESSAGE_NEW_VIEW, 1, 0, CODEC_LENGTH);
    expect_length(MESSAGE_NEW_VIEW, 1, FILLER_SIZE_MAX, CODEC_OK);
    expect_length(MESSAGE_NEW_VIEW, 2, 0, CODEC_LENGTH);
    expect_length(MESSAGE_NEW_VIEW, 2, STATEMENT_SIZE_MAX, CODEC_OK);
    expect_length(MESSAGE_NEW_VIEW, 2, STATEMENT_SIZE_MAX + 1, CODEC_LENGTH);
}

Test(wire, parts_of_a_checkpoint_are_bounded) {
    expect_length(MESSAGE_CHECKPOINT_OFFER, 2, COMMIT_CERTIFICATE_SIZE_MAX + 1, CODEC_LENGTH);
    expect_length(MESSAGE_CHECKPOINT_OFFER, 3, SNAPSHOT_OFFERED_SIZE_MAX, CODEC_OK);
    expect_length(MESSAGE_CHECKPOINT_OFFER, 3, SNAPSHOT_OFFERED_SIZE_MAX + 1, CODEC_LENGTH);
    expect_length(MESSAGE_CHECKPOINT_OFFER, 6, 33, CODEC_LENGTH);
    expect_length(MESSAGE_CHECKPOINT_OFFER, 6, (size_t)(MERKLE_DEPTH_MAX + 2) * 32, CODEC_RANGE);
    expect_length(MESSAGE_CHECKPOINT_DIGESTS, 3, 0, CODEC_OK);
    expect_length(MESSAGE_CHECKPOINT_DIGESTS, 3, 33, CODEC_LENGTH);
    expect_length(MESSAGE_CHECKPOINT_DIGESTS, 3, WIRE_DIGESTS_MAX * 32, CODEC_OK);
    expect_length(MESSAGE_CHECKPOINT_DIGESTS, 3, WIRE_DIGESTS_MAX * 32 + 32, CODEC_RANGE);
}

/* An offer is of nothing, or whole: a part of one is neither. */
Test(wire, an_offer_says_all_or_nothing) {
    struct digest const peak = digest_of(1);
    struct checkpoint_offer_message const whole = {.seq = 9,
                                                   .certificate = span_text("c"),
                                                   .snapshot = span_text("s"),
                                                   .first_entry = 1,
                                                   .first_leaves = 1,
                                                   .peaks = span_of(&peak, sizeof peak)};
    struct span const none = {.data = NULL, .size = 0};
    for (unsigned missing = 0; missing < 7; missing++) {
        struct checkpoint_offer_message offer = whole;
        offer.seq = missing == 1 ? 0 : offer.seq;
        offer.certificate = missing == 2 ? none : offer.certificate;
        offer.snapshot = missing == 3 ? none : offer.snapshot;
        offer.first_entry = missing == 4 ? 0 : offer.first_entry;
        offer.first_leaves = missing == 5 ? 0 : offer.first_leaves;
        offer.peaks = missing == 6 ? none : offer.peaks;
        struct buffer encoded = buffer_new();
        cr_assert(checkpoint_offer_message_encode(&encoded, &offer));
        expect_result("offer", reencode_checkpoint_offer_message, buffer_span(&encoded),
                      missing == 0 ? CODEC_OK : CODEC_MISMATCH);
        buffer_free(&encoded);
    }
    expect_result("offer of nothing", reencode_checkpoint_offer_message, none, CODEC_OK);
}

/* Only an offer is asked for without a number, and it has no parts. */
Test(wire, what_is_fetched_of_a_checkpoint_is_named) {
    static const struct {
        struct fetch_checkpoint_message message;
        enum codec_result expected;
    } cases[] = {
        {{.part = CHECKPOINT_OFFER}, CODEC_OK},
        {{.part = CHECKPOINT_OFFER, .seq = 9}, CODEC_MISMATCH},
        {{.part = CHECKPOINT_OFFER, .first_group = 1}, CODEC_MISMATCH},
        {{.part = CHECKPOINT_DIGESTS, .seq = 9}, CODEC_OK},
        {{.part = CHECKPOINT_DIGESTS}, CODEC_MISMATCH},
        {{.part = CHECKPOINT_ITEMS, .seq = 9, .first_group = 1}, CODEC_OK},
        {{.seq = 9}, CODEC_RANGE},
        {{.part = (enum checkpoint_part)4, .seq = 9}, CODEC_RANGE},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buffer encoded = buffer_new();
        cr_assert(fetch_checkpoint_message_encode(&encoded, &cases[i].message));
        expect_result("fetch checkpoint", reencode_fetch_checkpoint_message, buffer_span(&encoded),
                      cases[i].expected);
        buffer_free(&encoded);
    }
}

static void expect_items(const struct state_item *items, uint32_t count,
                         enum codec_result expected) {
    struct checkpoint_items_message const message = {.seq = 9, .count = count, .items = items};
    struct buffer encoded = buffer_new();
    cr_assert(checkpoint_items_message_encode(&encoded, &message));
    expect_result("items", reencode_checkpoint_items_message, buffer_span(&encoded), expected);
    buffer_free(&encoded);
}

Test(wire, items_of_a_state_are_bounded) {
    struct state_item const largest = {.key = filler(1, KEY_SIZE_MAX),
                                       .value = filler(2, VALUE_SIZE_MAX)};
    struct state_item const long_key = {.key = filler(1, KEY_SIZE_MAX + 1)};
    struct state_item const no_key = {.value = span_text("value")};
    struct state_item const long_value = {.key = span_text("k"),
                                          .value = filler(1, VALUE_SIZE_MAX + 1)};
    expect_items(&largest, 1, CODEC_OK);
    expect_items(&long_key, 1, CODEC_LENGTH);
    expect_items(&no_key, 1, CODEC_LENGTH);
    expect_items(&long_value, 1, CODEC_LENGTH);
    expect_items(NULL, 0, CODEC_OK);
    struct checkpoint_items_message const too_many = {.seq = 9, .count = WIRE_ITEMS_MAX + 1};
    struct buffer encoded = buffer_new();
    cr_assert_not(checkpoint_items_message_encode(&encoded, &too_many));
    buffer_free(&encoded);
}

Test(wire, a_new_view_has_room_for_the_largest_set) {
    uint8_t *const bytes = calloc(1, VIEW_CHANGE_SET_SIZE_MAX + 1);
    cr_assert_not_null(bytes);
    for (size_t over = 0; over < 2; over++) {
        struct new_view_message const message = {
            .set = span_of(bytes, VIEW_CHANGE_SET_SIZE_MAX + over), .new_view = span_text("x")};
        struct buffer encoded = buffer_new();
        cr_assert(new_view_message_encode(&encoded, &message));
        expect_result("new view", reencode_new_view_message, buffer_span(&encoded),
                      over == 0 ? CODEC_OK : CODEC_LENGTH);
        buffer_free(&encoded);
    }
    free(bytes);
}

/* Each of the two flags, and the view asked for, is told apart from the others. */
Test(wire, a_status_says_what_its_sender_wants) {
    for (unsigned flags = 0; flags < 4; flags++) {
        struct status_message const in = {
            .view = 2, .asked_view = 9, .wants_answer = flags % 2 == 1, .suspects = flags / 2 == 1};
        struct status_message out;
        struct buffer bytes = buffer_new();
        struct buffer expected = buffer_new();
        struct arena arena;
        arena_init(&arena, 1u << 20);
        put_number(&expected, 2, 2);
        if (flags != 0) {
            put_number(&expected, 7, flags);
        }
        put_number(&expected, 8, 9);
        cr_assert(status_message_encode(&bytes, &in));
        cr_assert(span_equal(buffer_span(&bytes), buffer_span(&expected)));
        cr_assert_eq(status_message_decode(&out, &arena, buffer_span(&bytes)), CODEC_OK);
        cr_assert(out.wants_answer == in.wants_answer && out.suspects == in.suspects);
        cr_assert(out.view == 2 && out.asked_view == 9);
        arena_free(&arena);
        buffer_free(&bytes);
        buffer_free(&expected);
    }
}

Test(wire, numbers_stay_in_range) {
    static const struct {
        enum message_kind kind;
        uint32_t field;
        uint64_t most;
    } fields[] = {
        {MESSAGE_COMMIT, 1, UINT64_MAX >> 1},
        {MESSAGE_COMMIT, 2, UINT64_MAX >> 1},
        {MESSAGE_COMMIT, 3, UINT64_MAX >> 1},
        {MESSAGE_COMMIT, 4, REPLICAS_MAX - 1},
        {MESSAGE_STATUS, 1, UINT64_MAX >> 1},
        {MESSAGE_STATUS, 2, UINT64_MAX >> 1},
        {MESSAGE_STATUS, 3, UINT64_MAX >> 1},
        {MESSAGE_STATUS, 4, UINT64_MAX >> 1},
        {MESSAGE_STATUS, 5, UINT64_MAX >> 1},
        {MESSAGE_STATUS, 6, UINT64_MAX >> 1},
        {MESSAGE_STATUS, 7, 3},
        {MESSAGE_STATUS, 8, UINT64_MAX >> 1},
        {MESSAGE_FETCH_REQUESTS, 1, UINT64_MAX >> 1},
        {MESSAGE_FETCH_RANGE, 1, UINT64_MAX >> 1},
        {MESSAGE_FETCH_CHECKPOINT, 2, UINT64_MAX >> 1},
        {MESSAGE_FETCH_CHECKPOINT, 3, UINT64_MAX >> 1},
        {MESSAGE_CHECKPOINT_OFFER, 1, UINT64_MAX >> 1},
        {MESSAGE_CHECKPOINT_OFFER, 4, UINT64_MAX >> 1},
        {MESSAGE_CHECKPOINT_OFFER, 5, UINT64_MAX >> 1},
        {MESSAGE_CHECKPOINT_DIGESTS, 1, UINT64_MAX >> 1},
        {MESSAGE_CHECKPOINT_DIGESTS, 2, UINT64_MAX >> 1},
        {MESSAGE_CHECKPOINT_ITEMS, 1, UINT64_MAX >> 1},
        {MESSAGE_CHECKPOINT_ITEMS, 2, UINT64_MAX >> 1},
        {MESSAGE_RANGE, 1, UINT64_MAX >> 1},
        {MESSAGE_REPLY, 1, UINT64_MAX >> 1},
        {MESSAGE_REPLY, 2, UINT64_MAX >> 1},
        {MESSAGE_REPLY, 3, REPLICAS_MAX - 1},
        {MESSAGE_REJECT, 2, REJECT_NOT_VOTING},
        {MESSAGE_REJECT, 3, UINT64_MAX >> 1},
        {MESSAGE_STATUS_REPLY, 2, REPLICAS_MAX - 1},
        {MESSAGE_STATUS_REPLY, 3, UINT64_MAX >> 1},
        {MESSAGE_STATUS_REPLY, 4, UINT64_MAX >> 1},
        {MESSAGE_STATUS_REPLY, 5, REPLICAS_MAX - 1},
        {MESSAGE_STATUS_REPLY, 6, UINT64_MAX >> 1},
        {MESSAGE_STATUS_REPLY, 7, UINT64_MAX >> 1},
        {MESSAGE_STATUS_REPLY, 8, UINT64_MAX >> 1},
        {MESSAGE_STATUS_REPLY, 9, UINT64_MAX >> 1},
        {MESSAGE_STATUS_REPLY, 12, UINT64_MAX >> 1},
    };
    for (size_t i = 0; i < COUNT(fields); i++) {
        expect_number(fields[i].kind, fields[i].field, fields[i].most, CODEC_OK);
        expect_number(fields[i].kind, fields[i].field, fields[i].most + 1, CODEC_RANGE);
    }
    expect_number(MESSAGE_STATUS_REPLY, 10, 2, CODEC_NOT_CANONICAL); /* true is 1 */
    expect_length(MESSAGE_COMMIT, 5, 32, CODEC_OK);
}

Test(wire, an_error_text_cannot_steer_a_terminal) {
    static const char *const texts[] = {"a\nb", "\x1b[2J", "\x7f", "tab\t"};
    struct buffer sample = buffer_new();
    struct buffer changed = buffer_new();
    encode_status_reply(&sample);
    for (size_t i = 0; i < COUNT(texts); i++) {
        with_bytes(&changed, buffer_span(&sample), 11, span_text(texts[i]));
        expect_result("status reply", reencode_status_reply_message, buffer_span(&changed),
                      CODEC_RANGE);
    }
    buffer_free(&sample);
    buffer_free(&changed);
}

Test(wire, unknown_fields_are_refused_at_depth) {
    static const struct {
        enum message_kind kind;
        uint32_t field;
    } fields[] = {{MESSAGE_RANGE, 2}, {MESSAGE_RESULT, 3}, {MESSAGE_RECEIPT_REPLY, 3}};
    struct buffer unknown = buffer_new();
    put_number(&unknown, 12, 5);
    for (size_t i = 0; i < COUNT(fields); i++) {
        struct buffer sample = buffer_new();
        struct buffer changed = buffer_new();
        kind_of(fields[i].kind)->encode(&sample);
        with_bytes(&changed, buffer_span(&sample), fields[i].field, buffer_span(&unknown));
        expect_result("unknown field", kind_of(fields[i].kind)->reencode, buffer_span(&changed),
                      CODEC_NOT_CANONICAL);
        buffer_free(&sample);
        buffer_free(&changed);
    }
    buffer_free(&unknown);
}

/* A result with one change to it, alone in a message. */
static void expect_in_result(uint32_t field, struct span bytes, enum codec_result expected) {
    struct buffer result = buffer_new();
    struct buffer changed = buffer_new();
    struct buffer message = buffer_new();
    put_bytes(&result, 1, filler(4, 32));
    put_number(&result, 3, 17);
    put_bytes(&result, 4, span_text("outcome"));
    with_bytes(&changed, buffer_span(&result), field, bytes);
    put_bytes(&message, 1, span_text("pre-prepare"));
    put_bytes(&message, 2, filler(1, 64));
    put_bytes(&message, 3, buffer_span(&changed));
    expect_result("result", reencode_result_message, buffer_span(&message), expected);
    buffer_free(&result);
    buffer_free(&changed);
    buffer_free(&message);
}

Test(wire, results_obey_their_limits) {
    expect_in_result(5, (struct span){0}, CODEC_OK);
    expect_in_result(5, filler(1, 32), CODEC_OK);
    expect_in_result(5, filler(1, 33), CODEC_LENGTH);
    expect_in_result(5, filler(1, 127 * 32), CODEC_RANGE);
    expect_in_result(4, (struct span){0}, CODEC_RANGE); /* no outcomes */
    expect_in_result(4, filler(1, OUTCOME_SIZE_MAX + 1), CODEC_LENGTH);
    expect_in_result(1, filler(1, 31), CODEC_LENGTH);
}

Test(wire, a_result_lies_within_a_batch) {
    struct digest const flanks[] = {digest_of(5), digest_of(6)};
    struct receipt_reply_message message = {.certificate = span_text("certificate"),
                                            .result = result_sample(flanks)};
    struct buffer bytes = buffer_new();
    for (uint64_t leaf = BATCH_CALLS_MAX - 1; leaf <= BATCH_CALLS_MAX; leaf++) {
        message.result.leaf = leaf;
        buffer_clear(&bytes);
        cr_assert(receipt_reply_message_encode(&bytes, &message));
        expect_result("receipt reply", reencode_receipt_reply_message, buffer_span(&bytes),
                      leaf < BATCH_CALLS_MAX ? CODEC_OK : CODEC_RANGE);
    }
    message.result.outcome_count = CALLS_MAX + 1;
    cr_assert_not(receipt_reply_message_encode(&bytes, &message));
    buffer_free(&bytes);
}

/* ---- links of the governance chain ----------------------------------------------------------- */

/* There is a configuration in front of every link, and links are neither empty nor too large. */
Test(wire, links_are_fewer_than_configurations) {
    struct buffer bytes = buffer_new();
    struct span links[WIRE_LINKS_MAX + 1];
    for (size_t i = 0; i < COUNT(links); i++) {
        links[i] = span_text("link");
    }
    for (uint32_t count = 0; count <= 3; count++) {
        struct chain_reply_message const message = {
            .config = 3, .link_count = count, .links = links};
        buffer_clear(&bytes);
        cr_assert(chain_reply_message_encode(&bytes, &message));
        expect_result("chain reply", reencode_chain_reply_message, buffer_span(&bytes),
                      count < 3 ? CODEC_OK : CODEC_MISMATCH);
    }
    buffer_clear(&bytes);
    struct chain_reply_message const most = {
        .config = WIRE_LINKS_MAX + 1, .link_count = WIRE_LINKS_MAX, .links = links};
    cr_assert(chain_reply_message_encode(&bytes, &most));
    expect_result("chain reply", reencode_chain_reply_message, buffer_span(&bytes), CODEC_OK);
    put_bytes(&bytes, 2, span_text("one more"));
    expect_result("chain reply", reencode_chain_reply_message, buffer_span(&bytes), CODEC_RANGE);
    buffer_clear(&bytes);
    links[1] = span_of(NULL, 0);
    struct chain_reply_message const hollow = {.config = 3, .link_count = 2, .links = links};
    cr_assert(chain_reply_message_encode(&bytes, &hollow));
    expect_result("chain reply", reencode_chain_reply_message, buffer_span(&bytes), CODEC_LENGTH);
    buffer_free(&bytes);
    struct chain_reply_message const over = {
        .config = WIRE_LINKS_MAX + 2, .link_count = WIRE_LINKS_MAX + 1, .links = links};
    struct buffer refused = buffer_new();
    cr_assert_not(chain_reply_message_encode(&refused, &over));
    buffer_free(&refused);
    expect_length(MESSAGE_CHAIN_REPLY, 2, CHAIN_LINK_SIZE_MAX, CODEC_OK);
    expect_length(MESSAGE_CHAIN_REPLY, 2, CHAIN_LINK_SIZE_MAX + 1, CODEC_LENGTH);
    expect_number(MESSAGE_CHAIN_REPLY, 1, 0, CODEC_NOT_CANONICAL);
    expect_number(MESSAGE_CHAIN_QUERY, 1, 0, CODEC_NOT_CANONICAL);
    expect_number(MESSAGE_CHAIN_QUERY, 1, 1, CODEC_OK);
}

/* A message that keeps to the bound on links of wire.h fits into a frame, at its largest. */
Test(wire, links_within_their_bound_fit_a_frame) {
    static uint8_t link[CHAIN_LINK_SIZE_MAX];
    struct span links[WIRE_LINKS_MAX];
    struct chain_reply_message message = {.config = UINT64_MAX >> 1, .links = links};
    struct buffer bytes;
    size_t left = WIRE_LINKS_SIZE_MAX;
    while (left > WIRE_LINK_EXTRA) {
        size_t const room = left - WIRE_LINK_EXTRA;
        links[message.link_count++] = span_of(link, room < sizeof link ? room : sizeof link);
        left -= links[message.link_count - 1].size + WIRE_LINK_EXTRA;
    }
    buffer_init(&bytes, FRAME_SIZE_MAX);
    cr_assert(chain_reply_message_encode(&bytes, &message));
    cr_assert_leq(bytes.size, message_size_max(MESSAGE_CHAIN_REPLY));
    buffer_free(&bytes);
}

/* ---- amplification --------------------------------------------------------------------------- */

static void expect_no_memory(const char *name, reencoder reencode, struct span bytes) {
    struct buffer output = buffer_new();
    struct arena arena;
    arena_init(&arena, 512u << 20);
    enum codec_result const result = reencode(&output, &arena, bytes);
    cr_assert_eq(result, CODEC_RANGE, "%s: %s", name, codec_result_text(result));
    cr_assert_eq(arena.used, 0, "%s took %zu bytes of memory", name, arena.used);
    arena_free(&arena);
    buffer_free(&output);
}

Test(wire, repeated_fields_cannot_amplify) {
    struct buffer bytes = buffer_new();
    for (size_t i = 0; i < FRAME_SIZE_MAX / 2 - 16; i++) {
        put_bytes(&bytes, 1, (struct span){0});
    }
    expect_no_memory("requests", reencode_requests_message, buffer_span(&bytes));
    for (size_t i = 0; i < bytes.size; i += 2) {
        bytes.data[i] = 2 << 3 | 2;
    }
    expect_no_memory("range", reencode_range_message, buffer_span(&bytes));
    for (size_t i = 0; i < bytes.size; i += 2) {
        bytes.data[i] = 3 << 3 | 2;
    }
    expect_no_memory("result", reencode_result_message, buffer_span(&bytes));
    buffer_free(&bytes);
}

/* Many results of many outcomes each: within the limits one by one, not together. */
Test(wire, nested_repeated_fields_cannot_amplify) {
    struct buffer result = buffer_new();
    struct buffer bytes = buffer_new();
    for (unsigned i = 0; i < CALLS_MAX; i++) {
        put_bytes(&result, 4, (struct span){0});
    }
    for (unsigned i = 0; i < BATCH_CALLS_MAX / CALLS_MAX + 1; i++) {
        put_bytes(&bytes, 3, buffer_span(&result));
    }
    expect_no_memory("result", reencode_result_message, buffer_span(&bytes));
    put_bytes(&result, 4, (struct span){0}); /* one too many for a single request */
    buffer_clear(&bytes);
    put_bytes(&bytes, 3, buffer_span(&result));
    expect_no_memory("result", reencode_result_message, buffer_span(&bytes));
    buffer_free(&result);
    buffer_free(&bytes);
}

Test(wire, encoders_refuse_counts_over_their_limits) {
    struct buffer out = buffer_new();
    struct requests_message const requests = {.count = WIRE_REQUESTS_MAX + 1};
    struct range_message const range = {.count = WIRE_ENTRIES_MAX + 1};
    struct result_message const results = {.count = WIRE_RESULTS_MAX + 1};
    cr_assert_not(requests_message_encode(&out, &requests));
    buffer_clear(&out);
    cr_assert_not(range_message_encode(&out, &range));
    buffer_clear(&out);
    cr_assert_not(result_message_encode(&out, &results));
    cr_assert(out.failed);
    buffer_free(&out);
}
