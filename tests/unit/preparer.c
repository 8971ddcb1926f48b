/*
 * preparer: tests of audit-tool/preparer.h: what threads prepare is what one would prepare alone,
 * however early the batch is left, and a ledger comes to the same rule with and without them.
 */
#include <criterion/criterion.h>

#include "audit-tool/replayer.h"
#include "tests/forge/story.h"

#define REQUESTS 80u /* several portions */
#define ROUNDS 30u
#define JOBS 4u
#define ARENA_SIZE (4u << 20)

static struct consortium consortium;
static struct forge forge;
static struct story story;
static struct signatures *signatures;

static void set_up(void) {
    consortium_found(&consortium, &(struct consortium_options){0});
    forge_init(&forge, &consortium);
    story = (struct story){.forge = &forge, .random = 7};
    signatures = signatures_new(&consortium.configuration.service, JOBS);
    cr_assert(signatures != NULL);
}

static void tear_down(void) {
    signatures_free(signatures);
    forge_free(&forge);
    consortium_free(&consortium);
}

TestSuite(preparer, .init = set_up, .fini = tear_down, .timeout = 120);

static void append_large(enum rule lie) {
    struct buffer encoded[REQUESTS];
    struct span requests[REQUESTS];
    for (uint32_t i = 0; i < REQUESTS; i++) {
        buffer_init(&encoded[i], REQUEST_SIZE_MAX);
        story_request(&story, &encoded[i]);
        requests[i] = buffer_span(&encoded[i]);
    }
    forge_append(
        &forge, &(struct forge_order){.request_count = REQUESTS, .requests = requests, .lie = lie});
    for (uint32_t i = 0; i < REQUESTS; i++) {
        buffer_free(&encoded[i]);
    }
}

/* Is it what this thread makes of the same bytes? */
static void expect_same(const struct replay_request *got, struct arena *arena,
                        struct span payload) {
    struct replay_request own;
    arena_reset(arena);
    replay_request_prepare(&own, arena, &consortium.configuration.service, payload);
    cr_assert_eq(got->decodes, own.decodes);
    if (!own.decodes) {
        return;
    }
    cr_assert_eq(got->entry.first_index, own.entry.first_index);
    cr_assert_eq(got->request.call_count, own.request.call_count);
    cr_assert(digest_equal(&got->request.digest, &own.request.digest));
    for (uint32_t i = 0; i < own.request.call_count; i++) {
        cr_assert(digest_equal(&got->outcomes[i], &own.outcomes[i]));
        cr_assert(digest_equal(&got->leaves[i], &own.leaves[i]));
        cr_assert(span_equal(got->request.calls[i].bytes, own.request.calls[i].bytes));
    }
}

/* Take so many requests of the batch, then leave it. */
static void prepare_some(struct preparer *preparer, const struct batch *batch, uint32_t count) {
    struct arena arena;
    arena_init(&arena, ARENA_SIZE);
    struct replay_source const source = preparer_begin(preparer, batch);
    cr_assert(source.next != NULL);
    for (uint32_t i = 0; i < count; i++) {
        expect_same(source.next(source.context), &arena, batch_request_payload(batch, i));
    }
    preparer_end(preparer);
    arena_free(&arena);
}

Test(preparer, threads_prepare_what_one_would) {
    struct batch batch;
    struct preparer *const preparer = preparer_new(&consortium.configuration.service, signatures);
    cr_assert(preparer != NULL);
    batch_init(&batch);
    append_large(RULE_NONE);
    forge_read(&forge, 1, &batch);
    cr_assert_eq(batch.request_count, REQUESTS);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        prepare_some(preparer, &batch, round % 3 == 0 ? REQUESTS : story_draw(&story, REQUESTS));
    }
    /* One that does not decode is nobody else's trouble. */
    struct span const payload = batch_request_payload(&batch, REQUESTS / 2);
    batch.bytes.data[payload.data - batch.bytes.data] ^= 0xff;
    prepare_some(preparer, &batch, REQUESTS);
    batch_free(&batch);
    preparer_free(preparer);
}

Test(preparer, a_batch_of_one_portion_needs_no_threads) {
    struct batch batch;
    struct preparer *const preparer = preparer_new(&consortium.configuration.service, signatures);
    cr_assert(preparer != NULL);
    batch_init(&batch);
    story_append(&story, 1, 1, RULE_NONE);
    forge_read(&forge, 1, &batch);
    cr_assert(preparer_begin(preparer, &batch).next == NULL);
    preparer_end(preparer);
    batch_free(&batch);
    preparer_free(preparer);
}

/* What the replayers here borrow. */
static struct eras *founding_era(void) {
    static struct eras eras;
    if (eras.count == 0) {
        cr_assert(eras_init(&eras, buffer_span(&consortium.genesis_bytes)));
    }
    return &eras;
}

/* Replay all of the forged ledger. Out: where it ends. Returns: the rule that its last batch
 * breaks. */
static enum rule replay_all(struct signatures *helpers, struct ledger_position *position) {
    struct replayer replayer;
    struct batch batch;
    enum rule rule = RULE_NONE;
    batch_init(&batch);
    cr_assert(replayer_init(&replayer, founding_era(), helpers, false));
    replayer_start(&replayer, buffer_span(&consortium.genesis_bytes));
    for (uint64_t seq = 1; seq <= forge_seq(&forge); seq++) {
        cr_assert_eq(rule, RULE_NONE);
        forge_read(&forge, seq, &batch);
        rule = replayer_step(&replayer, &batch);
        batch_clear(&batch);
    }
    *position = *replayer_position(&replayer);
    cr_assert(!replayer_failed(&replayer));
    replayer_free(&replayer);
    batch_free(&batch);
    return rule;
}

Test(preparer, a_ledger_comes_to_the_same_rule) {
    static const enum rule lies[] = {RULE_NONE, RULE_OUTCOME, RULE_ENTRY_ORDER, RULE_BATCH_ROOT,
                                     RULE_SIGNATURE};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct ledger_position alone;
        struct ledger_position helped;
        append_large(RULE_NONE);
        append_large(RULE_NONE);
        append_large(lies[i]);
        cr_expect_eq(replay_all(NULL, &alone), lies[i], "%s", rule_name(lies[i]));
        cr_expect_eq(replay_all(signatures, &helped), lies[i], "%s", rule_name(lies[i]));
        cr_expect_eq(memcmp(&alone, &helped, sizeof alone), 0);
        tear_down();
        set_up();
    }
}
