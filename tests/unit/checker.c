/*
 * checker: tests of ledger/checker.h, window.h, batch.h and execution/replay.h on whole ledgers,
 * written by a coalition that holds all keys (tests/forge): honest ones pass from genesis and from
 * every checkpoint, and each rule that is broken is reported as that rule and nothing else.
 */
#include <criterion/criterion.h>

#include "audit-tool/replayer.h"
#include "tests/forge/story.h"

#define INTERVAL 12u /* C of the consortium */

#define HONEST_BATCHES 300u
#define LIE_AFTER 21u
#define ARENA_SIZE (64u << 20)

static struct consortium consortium;
static struct forge forge;
static struct story story;

static void set_up(void) {
    consortium_found(&consortium, &(struct consortium_options){0});
    forge_init(&forge, &consortium);
    story = (struct story){.forge = &forge, .random = 7};
}

static void tear_down(void) {
    forge_free(&forge);
    consortium_free(&consortium);
}

TestSuite(checker, .init = set_up, .fini = tear_down, .timeout = 120);

static const char *const calls[] = {"kv.put a 1"};

/* ---- replaying ---- */

/* What the replayers here borrow. */
static struct eras *founding_era(void) {
    static struct eras eras;
    if (eras.count == 0) {
        cr_assert(eras_init(&eras, buffer_span(&consortium.genesis_bytes)));
    }
    return &eras;
}

static void replayer_open(struct replayer *replayer, struct signatures *signatures) {
    cr_assert(replayer_init(replayer, founding_era(), signatures, true));
    replayer_start(replayer, buffer_span(&consortium.genesis_bytes));
}

/* Feed a batch entry by entry; what the reader refuses counts as the rule it names. */
static enum rule replay_seq(struct replayer *replayer, uint64_t seq) {
    struct batch batch;
    const struct forge_batch *const at = forge_batch_at(&forge, seq);
    enum rule rule = RULE_NONE;
    batch_init(&batch);
    for (uint32_t i = 0; i < at->entry_count && rule == RULE_NONE; i++) {
        struct entry const entry = forge_entry_at(&forge, at->first_entry + i);
        enum batch_step const step = batch_add(&batch, at->first_entry + i, &entry, &rule);
        cr_assert_eq(step == BATCH_BROKEN, rule != RULE_NONE);
        if (step == BATCH_WHOLE) {
            rule = replayer_step(replayer, &batch);
            break;
        }
    }
    batch_free(&batch);
    cr_assert(!replayer_failed(replayer));
    return rule;
}

static void expect_position(const struct replayer *replayer, const struct ledger_position *other) {
    const struct ledger_position *const own = replayer_position(replayer);
    struct digest const own_root = frontier_root(&own->frontier);
    struct digest const other_root = frontier_root(&other->frontier);
    cr_assert_eq(own->seq, other->seq);
    cr_assert_eq(own->entries, other->entries);
    cr_assert_eq(own->next_index, other->next_index);
    cr_assert_eq(own->evidence_upto, other->evidence_upto);
    cr_assert_eq(own->checkpoint_seq, other->checkpoint_seq);
    cr_assert_eq(own->time_ms, other->time_ms);
    cr_assert(digest_equal(&own->checkpoint_digest, &other->checkpoint_digest));
    cr_assert(digest_equal(&own_root, &other_root));
}

Test(checker, an_honest_ledger_passes) {
    struct replayer replayer;
    story_append_honest(&story, HONEST_BATCHES);
    replayer_open(&replayer, NULL);
    for (uint64_t seq = 1; seq <= HONEST_BATCHES; seq++) {
        enum rule const rule = replay_seq(&replayer, seq);
        cr_assert_eq(rule, RULE_NONE, "batch %d: %s", (int)seq, rule_name(rule));
    }
    expect_position(&replayer, checker_position(forge.checker));
    cr_assert_eq(replayer_position(&replayer)->entries, forge_entry_count(&forge));
    replayer_free(&replayer);
}

Test(checker, threads_come_to_the_same) {
    struct replayer replayer;
    struct signatures *const signatures = signatures_new(&consortium.configuration.service, 3);
    cr_assert(signatures != NULL);
    story_append_honest(&story, 60);
    story_append(&story, 2, 1, RULE_EVIDENCE_SIGNATURE);
    replayer_open(&replayer, signatures);
    for (uint64_t seq = 1; seq <= 60; seq++) {
        cr_assert_eq(replay_seq(&replayer, seq), RULE_NONE);
    }
    cr_assert_eq(replay_seq(&replayer, 61), RULE_EVIDENCE_SIGNATURE);
    expect_position(&replayer, checker_position(forge.checker));
    replayer_free(&replayer);
    signatures_free(signatures);
}

/* ---- checkpoints ---- */

struct state_copy {
    struct buffer bytes;
    uint32_t count;
    size_t sizes[64][2];
};

static bool copy_item(void *context, struct span key, struct span value, bool deleted) {
    struct state_copy *const copy = context;
    cr_assert(!deleted && copy->count < 64);
    copy->sizes[copy->count][0] = key.size;
    copy->sizes[copy->count++][1] = value.size;
    return buffer_append(&copy->bytes, key) && buffer_append(&copy->bytes, value);
}

static uint32_t copy_state(struct state_copy *copy, struct state_item *items,
                           const struct replayer *replayer, uint64_t seq) {
    *copy = (struct state_copy){.count = 0};
    buffer_init(&copy->bytes, ARENA_SIZE);
    cr_assert(engine_visit_state(replayer->engine, seq, copy_item, copy));
    size_t offset = 0;
    for (uint32_t i = 0; i < copy->count; i++) {
        items[i].key = span_of(copy->bytes.data + offset, copy->sizes[i][0]);
        offset += copy->sizes[i][0];
        items[i].value = span_of(copy->bytes.data + offset, copy->sizes[i][1]);
        offset += copy->sizes[i][1];
    }
    return copy->count;
}

/* From the checkpoint just taken, a fresh replayer follows the rest of the ledger. */
static void follow_from(const struct replayer *first, uint64_t seq, uint64_t seq_last) {
    struct replayer second;
    struct state_copy copy;
    struct state_item items[64];
    struct arena arena;
    uint32_t const count = copy_state(&copy, items, first, seq);
    const struct replayer_cut *const cut = replayer_cut_at(first, seq);
    cr_assert(cut != NULL);
    arena_init(&arena, ARENA_SIZE);
    cr_assert(replayer_init(&second, founding_era(), NULL, false));
    cr_assert(replayer_load(&second, &arena, buffer_span(&cut->snapshot), items, count));
    expect_position(&second, replayer_position(first));
    for (uint64_t next = seq + 1; next <= seq_last; next++) {
        cr_assert(replayer_is_ready(&second));
        cr_assert_eq(replay_seq(&second, next), RULE_NONE);
    }
    expect_position(&second, checker_position(forge.checker));
    replayer_free(&second);
    buffer_free(&copy.bytes);
    arena_free(&arena);
}

Test(checker, goes_on_from_every_checkpoint) {
    struct replayer replayer;
    story_append_honest(&story, 70);
    replayer_open(&replayer, NULL);
    for (uint64_t seq = 1; seq <= 70; seq++) {
        cr_assert_eq(replay_seq(&replayer, seq), RULE_NONE);
        if (seq % INTERVAL == 0) {
            follow_from(&replayer, seq, 70);
        }
    }
    replayer_free(&replayer);
}

/*
 * What a snapshot says beyond its header must follow from the header, or evidence could be made
 * against correct replicas: no other snapshot with the same header may load.
 */
Test(checker, snapshots_are_bound_to_their_header, .timeout = 300) {
    struct replayer replayer;
    struct state_copy copy;
    struct state_item items[64];
    struct arena arena;
    story_append_honest(&story, 2 * INTERVAL);
    replayer_open(&replayer, NULL);
    for (uint64_t seq = 1; seq <= 2 * INTERVAL; seq++) {
        cr_assert_eq(replay_seq(&replayer, seq), RULE_NONE);
    }
    uint32_t const count = copy_state(&copy, items, &replayer, 2 * INTERVAL);
    const struct replayer_cut *const cut = replayer_cut_at(&replayer, 2 * INTERVAL);
    struct buffer snapshot = cut->snapshot;
    arena_init(&arena, ARENA_SIZE);
    for (size_t at = 0; at < snapshot.size; at++) {
        struct replayer other;
        snapshot.data[at] ^= 1;
        arena_reset(&arena);
        cr_assert(replayer_init(&other, founding_era(), NULL, false));
        if (replayer_load(&other, &arena, buffer_span(&snapshot), items, count)) {
            struct checker_snapshot decoded;
            cr_assert_eq(checker_snapshot_decode(&decoded, &arena, buffer_span(&snapshot)),
                         CODEC_OK);
            struct digest const digest =
                hash_labelled(LABEL_CHECKPOINT, &consortium.configuration.service, decoded.header);
            cr_assert(!digest_equal(&digest, &cut->digest), "byte %zu", at);
        }
        replayer_free(&other);
        snapshot.data[at] ^= 1;
    }
    replayer_free(&replayer);
    buffer_free(&copy.bytes);
    arena_free(&arena);
}

/* A batch that left the window long ago must not be smuggled back in to make a duplicate. */
Test(checker, snapshots_hold_no_dead_window) {
    const char *many[CALLS_MAX];
    for (uint32_t i = 0; i < CALLS_MAX; i++) {
        many[i] = "kv.put a 1";
    }
    struct order order = {.author = &consortium.users[0], .call_count = CALLS_MAX, .calls = many};
    while (forge_seq(&forge) < 5 * INTERVAL) { /* 11,520 transactions: the window holds 8,192 */
        order.min_index = forge.next_index;
        order.number++;
        story_append_order(&story, &order, RULE_NONE, 0);
    }
    struct replayer replayer;
    struct replayer other;
    struct state_copy copy;
    struct state_item items[64];
    struct arena arena;
    replayer_open(&replayer, NULL);
    struct buffer old;
    buffer_init(&old, SNAPSHOT_SIZE_MAX);
    for (uint64_t seq = 1; seq <= 5 * INTERVAL; seq++) {
        cr_assert_eq(replay_seq(&replayer, seq), RULE_NONE);
        if (seq == INTERVAL) {
            cr_assert(
                buffer_append(&old, buffer_span(&replayer_cut_at(&replayer, INTERVAL)->snapshot)));
        }
    }
    uint32_t const count = copy_state(&copy, items, &replayer, 5 * INTERVAL);
    struct checker_snapshot decoded;
    struct checker_snapshot decoded_old;
    arena_init(&arena, ARENA_SIZE);
    cr_assert_eq(
        checker_snapshot_decode(&decoded, &arena,
                                buffer_span(&replayer_cut_at(&replayer, 5 * INTERVAL)->snapshot)),
        CODEC_OK);
    cr_assert_eq(checker_snapshot_decode(&decoded_old, &arena, buffer_span(&old)), CODEC_OK);
    cr_assert_lt(decoded.window_count, 5 * INTERVAL);
    struct span window[64];
    window[0] = decoded_old.window[0];
    memcpy(window + 1, decoded.window, decoded.window_count * sizeof window[0]);
    decoded.window = window;
    decoded.window_count++;
    struct buffer forged;
    buffer_init(&forged, SNAPSHOT_SIZE_MAX);
    cr_assert(checker_snapshot_encode(&forged, &decoded));
    cr_assert(replayer_init(&other, founding_era(), NULL, false));
    cr_assert(!replayer_load(&other, &arena, buffer_span(&forged), items, count));
    replayer_free(&other);
    replayer_free(&replayer);
    buffer_free(&old);
    buffer_free(&forged);
    buffer_free(&copy.bytes);
    arena_free(&arena);
}

/* ---- rolling back ---- */

Test(checker, rolls_back_to_any_unsettled_batch) {
    struct checker *const checker = checker_new(&consortium.configuration);
    struct engine *const engine = engine_new(NULL);
    struct replay replay;
    struct batch batch;
    replay_init(&replay);
    batch_init(&batch);
    story_append_honest(&story, 15);
    checker_start(checker, buffer_span(&consortium.genesis_bytes));
    uint64_t marks[16] = {engine_mark(engine)};
    struct ledger_position positions[16] = {*checker_position(checker)};
    for (uint32_t round = 0; round < 40; round++) {
        while (checker_position(checker)->seq < 15) {
            uint64_t const seq = checker_position(checker)->seq + 1;
            forge_read(&forge, seq, &batch);
            cr_assert_eq(replay_batch(&replay, checker, engine, &batch, &sign_sink_trust),
                         RULE_NONE);
            marks[seq] = engine_mark(engine);
            if (round == 0) {
                positions[seq] = *checker_position(checker);
            }
            cr_assert_eq(memcmp(&positions[seq], checker_position(checker), sizeof positions[0]),
                         0);
        }
        uint64_t const back = 4 + story_draw(&story, 12);
        checker_rollback(checker, back);
        engine_rollback(engine, marks[back]);
        checker_settle(checker, 4);
        cr_assert_eq(memcmp(&positions[back], checker_position(checker), sizeof positions[0]), 0);
        cr_assert(checker_position_at(checker, back + 1) == NULL);
    }
    batch_free(&batch);
    replay_free(&replay);
    checker_free(checker);
    engine_free(engine);
}

/* ---- lies ---- */

/* After honest batches comes one that breaks the rule, then others, so that it is evidenced. */
static void expect_rule(enum rule expected) {
    struct replayer replayer;
    uint64_t const lie_seq = forge_seq(&forge);
    story_append(&story, 1, 1, RULE_NONE);
    story_append(&story, 1, 1, RULE_NONE);
    replayer_open(&replayer, NULL);
    for (uint64_t seq = 1; seq < lie_seq; seq++) {
        enum rule const rule = replay_seq(&replayer, seq);
        cr_assert_eq(rule, RULE_NONE, "batch %d breaks %s", (int)seq, rule_name(rule));
    }
    struct ledger_position const before = *replayer_position(&replayer);
    for (unsigned again = 0; again < 2; again++) {
        enum rule const rule = replay_seq(&replayer, lie_seq);
        cr_assert_eq(rule, expected, "%s instead of %s", rule_name(rule), rule_name(expected));
        cr_assert_eq(memcmp(&before, replayer_position(&replayer), sizeof before), 0);
    }
    replayer_free(&replayer);
}

static void expect_lie(enum rule lie) {
    story_append_honest(&story, LIE_AFTER);
    story_append(&story, 2, 1, lie);
    expect_rule(lie);
}

Test(checker, lies_about_what_was_signed) {
    static const enum rule rules[] = {RULE_ENTRY_ENCODING, RULE_ENTRY_ORDER, RULE_SIGNATURE,
                                      RULE_LEDGER_ROOT, RULE_BATCH_ROOT};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        cr_assert(!rule_convicts(rules[i]));
        expect_lie(rules[i]);
        tear_down();
        set_up();
    }
}

Test(checker, lies_in_the_pre_prepare) {
    static const enum rule rules[] = {RULE_CONFIGURATION,
                                      RULE_VIEW,
                                      RULE_SEQUENCE,
                                      RULE_VIEW_START,
                                      RULE_FIRST_INDEX,
                                      RULE_BATCH_KIND,
                                      RULE_EVIDENCE_RANGE,
                                      RULE_EVIDENCE_SIGNERS,
                                      RULE_EVIDENCE_CONTENT,
                                      RULE_EVIDENCE_NONCE,
                                      RULE_EVIDENCE_SIGNATURE,
                                      RULE_GOVERNANCE_INDEX,
                                      RULE_CHECKPOINT_SEQUENCE,
                                      RULE_CHECKPOINT_DIGEST,
                                      RULE_TIME,
                                      RULE_OUTCOME};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        cr_assert(rule_convicts(rules[i]));
        expect_lie(rules[i]);
        tear_down();
        set_up();
    }
}

Test(checker, an_empty_batch_without_evidence) {
    story_append_honest(&story, LIE_AFTER);
    story_append(&story, 1, 1, RULE_NONE); /* evidences all that there is */
    forge_append(&forge, &(struct forge_order){.evidence_lag = FORGE_EVIDENCE_NONE,
                                               .lie = RULE_BATCH_EMPTY});
    expect_rule(RULE_BATCH_EMPTY);
}

Test(checker, evidence_that_lags_too_far) {
    story_append_honest(&story, LIE_AFTER);
    story_append(&story, 1, 1, RULE_NONE);
    for (unsigned i = 0; i < 3; i++) {
        story_append(&story, 1, FORGE_EVIDENCE_NONE, RULE_NONE);
    }
    story_append(&story, 1, FORGE_EVIDENCE_NONE, RULE_EVIDENCE_RANGE);
    expect_rule(RULE_EVIDENCE_RANGE);
}

Test(checker, too_many_transactions) {
    const char *many[CALLS_MAX];
    for (uint32_t i = 0; i < CALLS_MAX; i++) {
        many[i] = "kv.get a";
    }
    story_append_honest(&story, LIE_AFTER);
    struct buffer encoded[2];
    struct span requests[2];
    for (uint32_t i = 0; i < 2; i++) {
        buffer_init(&encoded[i], REQUEST_SIZE_MAX);
        order_encode(&encoded[i], &consortium,
                     &(struct order){.author = &consortium.users[0],
                                     .min_index = 1,
                                     .number = i,
                                     .call_count = i == 0 ? CALLS_MAX : 1,
                                     .calls = many});
        requests[i] = buffer_span(&encoded[i]);
    }
    forge_append(&forge, &(struct forge_order){
                             .request_count = 2, .requests = requests, .lie = RULE_TX_COUNT});
    buffer_free(&encoded[0]);
    buffer_free(&encoded[1]);
    expect_rule(RULE_TX_COUNT);
}

Test(checker, a_request_of_a_stranger) {
    story_append_honest(&story, LIE_AFTER);
    story_append_order(
        &story,
        &(struct order){
            .author = &consortium.stranger, .min_index = 1, .call_count = 1, .calls = calls},
        RULE_REQUEST_AUTHOR, 0);
    expect_rule(RULE_REQUEST_AUTHOR);
}

Test(checker, a_request_nobody_signed) {
    story_append_honest(&story, LIE_AFTER);
    story_append_order(
        &story,
        &(struct order){
            .author = &consortium.users[0], .min_index = 1, .call_count = 1, .calls = calls},
        RULE_REQUEST_SIGNATURE, 40);
    expect_rule(RULE_REQUEST_SIGNATURE);
}

Test(checker, a_request_before_its_window) {
    story_append_honest(&story, LIE_AFTER);
    story_append_order(&story,
                       &(struct order){.author = &consortium.users[0],
                                       .min_index = forge.next_index + 1,
                                       .call_count = 1,
                                       .calls = calls},
                       RULE_REQUEST_WINDOW, 0);
    expect_rule(RULE_REQUEST_WINDOW);
}

Test(checker, a_request_executed_twice) {
    struct order const order = {
        .author = &consortium.users[0], .min_index = 1, .call_count = 1, .calls = calls};
    story_append_order(&story, &order, RULE_NONE, 0);
    story_append_honest(&story, LIE_AFTER);
    story_append_order(&story, &order, RULE_REQUEST_DUPLICATE, 0);
    expect_rule(RULE_REQUEST_DUPLICATE);
}

Test(checker, a_request_twice_in_one_batch) {
    story_append_honest(&story, LIE_AFTER);
    struct buffer encoded;
    buffer_init(&encoded, REQUEST_SIZE_MAX);
    story_request(&story, &encoded);
    struct span const twice[] = {buffer_span(&encoded), buffer_span(&encoded)};
    forge_append(&forge, &(struct forge_order){
                             .request_count = 2, .requests = twice, .lie = RULE_REQUEST_DUPLICATE});
    buffer_free(&encoded);
    expect_rule(RULE_REQUEST_DUPLICATE);
}

/* What was signed convicts; what somebody did to the ledger afterwards never does. */
Test(checker, a_ledger_changed_afterwards_convicts_nobody) {
    story_append_honest(&story, 12);
    for (uint32_t round = 0; round < 3000; round++) {
        struct replayer replayer;
        size_t const genesis_size = consortium.genesis_bytes.size;
        size_t const at =
            genesis_size + story_draw(&story, (uint32_t)(forge.bytes.size - genesis_size));
        uint8_t const mask = (uint8_t)(1u << story_draw(&story, 8));
        enum rule rule = RULE_NONE;
        forge.bytes.data[at] ^= mask;
        replayer_open(&replayer, NULL);
        for (uint64_t seq = 1; seq <= 12 && rule == RULE_NONE; seq++) {
            rule = replay_seq(&replayer, seq);
        }
        cr_assert_neq(rule, RULE_NONE, "byte %zu", at);
        cr_assert(!rule_convicts(rule), "byte %zu convicts: %s", at, rule_name(rule));
        forge.bytes.data[at] ^= mask;
        replayer_free(&replayer);
    }
}
