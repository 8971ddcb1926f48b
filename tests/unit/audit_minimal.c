/*
 * audit_minimal: tests of what evidence holds: no more than it takes to be checked, however large
 * the state; and nothing that could be left out, added, or put another way without being noticed.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "ledger/checker.h"
#include "tests/unit/audit_fixture.h"

#define KEYS 2048u /* several levels of the state's tree */

TestSuite(audit_minimal, .init = set_up, .fini = tear_down, .timeout = 300);

/* One request of as many calls as it may hold, with these keys. */
static void append_puts(uint32_t first) {
    char texts[CALLS_MAX][32];
    const char *calls[CALLS_MAX];
    for (uint32_t i = 0; i < CALLS_MAX; i++) {
        (void)snprintf(texts[i], sizeof texts[i], "kv.put key%06u %u", 2 * (first + i), first + i);
        calls[i] = texts[i];
    }
    story_append_order(&story,
                       &(struct order){.author = &consortium.users[1],
                                       .min_index = forge.next_index,
                                       .number = first,
                                       .call_count = CALLS_MAX,
                                       .calls = calls},
                       RULE_NONE, 0);
}

static void append_calls(const char *const *calls, uint32_t count, enum rule lie) {
    story_append_order(&story,
                       &(struct order){.author = &consortium.users[2],
                                       .min_index = forge.next_index,
                                       .number = forge.next_index,
                                       .call_count = count,
                                       .calls = calls},
                       lie, 0);
}

/* A large state, then checkpoints, then a batch that reads of it in every way and lies. */
static void lie_over_large_state(enum rule lie) {
    static const char *const calls[] = {
        "kv.get key000200",           /* there */
        "kv.get key000201",           /* between two */
        "kv.get a",                   /* before all */
        "kv.get z",                   /* behind all */
        "kv.cas key000300 150 other", /* there, and written */
        "kv.delete key000400",
        "kv.scan key000390 key000410 5", /* over what was deleted */
        "kv.scan zz  3",                 /* nothing there */
        "kv.get key000400",
    };
    for (uint32_t first = 0; first < KEYS; first += CALLS_MAX) {
        append_puts(first);
    }
    story_append_honest(&story, 24 - KEYS / CALLS_MAX);
    append_calls(calls, sizeof calls / sizeof calls[0], RULE_NONE);
    forge.signers = 0xd;
    append_calls(calls, sizeof calls / sizeof calls[0], lie);
    story_append(&story, 1, 1, RULE_NONE);
    give_ledger(&forge);
}

static void open_finding(struct forgery *forgery) {
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    cr_assert_eq(report->finding_count, 1);
    cr_assert_eq(report->findings[0].verdict.blamed, 0xd);
    forgery_open(forgery, &report->findings[0].file);
}

Test(audit_minimal, a_wrong_outcome_brings_what_it_reads) {
    struct forgery forgery;
    lie_over_large_state(RULE_OUTCOME);
    open_finding(&forgery);
    const struct fragment *const fragment = &forgery.proof.fragment;
    cr_assert_gt(fragment->snapshot.size, 0, "it begins at a checkpoint");
    cr_assert_lt(fragment->state_count, 40, "%u items of the state", fragment->state_count);
    cr_assert_eq(fragment->place_count, fragment->state_count);
    cr_assert_gt(fragment->path_count, 0);
    cr_assert_eq(forgery_check(&forgery), PROOF_VALID);
    forgery_close(&forgery);
}

Test(audit_minimal, items_cannot_be_left_out_or_added) {
    struct forgery forgery;
    struct state_item items[64];
    uint64_t places[64];
    lie_over_large_state(RULE_OUTCOME);
    open_finding(&forgery);
    struct fragment *const fragment = &forgery.proof.fragment;
    struct fragment const whole = *fragment;
    for (uint32_t gone = 0; gone < whole.state_count; gone++) {
        for (uint32_t i = 0, k = 0; i < whole.state_count; i++) {
            items[k] = whole.state[i];
            places[k] = whole.places[i];
            k += i == gone ? 0 : 1;
        }
        fragment->state = items;
        fragment->places = places;
        fragment->state_count = whole.state_count - 1;
        fragment->place_count = whole.state_count - 1;
        cr_assert_eq(forgery_check(&forgery), PROOF_FRAGMENT);
    }
    for (uint32_t i = 0; i < whole.state_count; i++) {
        *fragment = whole;
        memcpy(items, whole.state, whole.state_count * sizeof items[0]);
        items[i].value = span_text("other");
        fragment->state = items;
        cr_assert_eq(forgery_check(&forgery), PROOF_FRAGMENT);
    }
    *fragment = whole;
    fragment->place_count = 0;
    fragment->path_count = 0;
    cr_assert_eq(forgery_check(&forgery), PROOF_FRAGMENT, "some items are not the whole state");
    forgery_close(&forgery);
}

/* Nothing but the batch itself comes with its requests, and no state at all. */
static void expect_skimmed(struct forgery *forgery, uint64_t seq) {
    const struct fragment *const fragment = &forgery->proof.fragment;
    uint32_t requests = 0;
    for (uint32_t i = 0; i < fragment->entry_count; i++) {
        requests += fragment->entries[i].kind == ENTRY_REQUEST ? 1 : 0;
    }
    struct batch batch;
    batch_init(&batch);
    forge_read(&forge, seq, &batch);
    cr_assert_eq(requests, batch.request_count);
    cr_assert_eq(fragment->state_count + fragment->place_count + fragment->path_count, 0);
    batch_free(&batch);
}

Test(audit_minimal, a_broken_rule_brings_no_state) {
    struct forgery forgery;
    lie_over_large_state(RULE_TIME);
    open_finding(&forgery);
    expect_skimmed(&forgery, forge_seq(&forge) - 1);
    forgery_close(&forgery);
}

Test(audit_minimal, another_checkpoint_than_before_brings_no_state) {
    struct forgery forgery;
    lie_over_large_state(RULE_CHECKPOINT_DIGEST);
    cr_assert_neq((forge_seq(&forge) - 1) % 12, 0);
    open_finding(&forgery);
    expect_skimmed(&forgery, forge_seq(&forge) - 1);
    forgery_close(&forgery);
}

/* The first batch with a checkpoint is shown with all of it, for all of it is digested. */
Test(audit_minimal, the_first_of_a_checkpoint_brings_the_whole_state) {
    struct forgery forgery;
    append_puts(0);
    story_append_honest(&story, 34);
    forge.signers = 0xd;
    story_append(&story, 1, 1, RULE_CHECKPOINT_DIGEST);
    story_append(&story, 1, 1, RULE_NONE);
    give_ledger(&forge);
    open_finding(&forgery);
    cr_assert_eq(forge_seq(&forge) - 1, 36);
    cr_assert_geq(forgery.proof.fragment.state_count, CALLS_MAX);
    cr_assert_eq(forgery.proof.fragment.place_count, 0);
    forgery_close(&forgery);
}

/* What a snapshot may hold beyond what its digest covers is not accepted in evidence. */
Test(audit_minimal, snapshots_hold_what_is_signed) {
    struct forgery forgery;
    struct checker_snapshot snapshot;
    struct buffer bytes;
    lie_over_large_state(RULE_TIME);
    open_finding(&forgery);
    buffer_init(&bytes, SNAPSHOT_SIZE_MAX);
    struct span const before = forgery.proof.fragment.snapshot;
    cr_assert_eq(checker_snapshot_decode(&snapshot, &forgery.arena, before), CODEC_OK);
    cr_assert_eq(snapshot.window_count, 0);
    for (unsigned i = 0; i < 3; i++) {
        struct checker_snapshot changed = snapshot;
        struct span const window = span_text("window");
        changed.window_entry = i == 0 ? 7 : 0;
        changed.past_entry = i == 1 ? 7 : 0;
        changed.window_count = i == 2 ? 1 : 0;
        changed.window = &window;
        buffer_clear(&bytes);
        cr_assert(checker_snapshot_encode(&bytes, &changed));
        forgery.proof.fragment.snapshot = buffer_span(&bytes);
        cr_assert_eq(forgery_check(&forgery), PROOF_FRAGMENT);
    }
    forgery.proof.fragment.snapshot = before;
    cr_assert_eq(forgery_check(&forgery), PROOF_VALID);
    buffer_free(&bytes);
    forgery_close(&forgery);
}

/* A request that came twice: the first time long ago, or since the checkpoint. */
Test(audit_minimal, duplicates_bring_the_window_or_what_came_since) {
    static const char *const calls[] = {"kv.put a 1"};
    static const uint32_t between[] = {13, 4};
    for (unsigned i = 0; i < 2; i++) {
        struct order const order = {
            .author = &consortium.users[0], .min_index = 1, .call_count = 1, .calls = calls};
        struct forgery forgery;
        struct checker_snapshot snapshot;
        story_append_honest(&story, 11);
        story_append_order(&story, &order, RULE_NONE, 0);
        story_append_honest(&story, between[i]);
        forge.signers = 0xd;
        story_append_order(&story, &order, RULE_REQUEST_DUPLICATE, 0);
        story_append(&story, 1, 1, RULE_NONE);
        give_ledger(&forge);
        open_finding(&forgery);
        const struct fragment *const fragment = &forgery.proof.fragment;
        cr_assert_eq(fragment->state_count, 0);
        if (fragment->snapshot.size != 0) {
            cr_assert_eq(checker_snapshot_decode(&snapshot, &forgery.arena, fragment->snapshot),
                         CODEC_OK);
            cr_assert_neq(snapshot.window_count, 0);
            expect_skimmed(&forgery, forge_seq(&forge) - 1);
        }
        cr_assert_eq(fragment->snapshot.size != 0, i == 0);
        forgery_close(&forgery);
        tear_down();
        set_up();
    }
}

/* Two statements or certificates stand in one order. */
Test(audit_minimal, one_contradiction_is_one_proof) {
    for (uint32_t batches = 1; batches < 4; batches += 2) {
        struct fork fork;
        struct forgery forgery;
        fork_open(&fork);
        story_append_honest(&story, 5);
        story_append_honest(&fork.story, 5);
        fork.story.random ^= 12345;
        for (uint32_t i = 0; i < batches; i++) {
            story_append(&story, 1, 1, RULE_NONE);
            story_append(&fork.story, 1, 1, RULE_NONE);
        }
        give_ledger(&forge);
        give_ledger(&fork.forge);
        forgery_open(&forgery, &run(EXIT_MISBEHAVIOUR)->findings[0].file);
        cr_assert_eq(forgery_check(&forgery), PROOF_VALID);
        struct signed_body const statement = forgery.proof.statements[0];
        struct span const certificate = forgery.proof.certificates[0];
        forgery.proof.statements[0] = forgery.proof.statements[1];
        forgery.proof.statements[1] = statement;
        forgery.proof.certificates[0] = forgery.proof.certificates[1];
        forgery.proof.certificates[1] = certificate;
        cr_assert_eq(forgery_check(&forgery), batches == 1 ? PROOF_STATEMENTS : PROOF_PARTS);
        proof_order(&forgery.proof);
        cr_assert_eq(forgery_check(&forgery), PROOF_VALID);
        forgery_close(&forgery);
        fork_close(&fork);
        tear_down();
        set_up();
    }
}
