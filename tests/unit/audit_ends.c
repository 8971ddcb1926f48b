/*
 * audit_ends: tests of audits whose ledgers part around the end of a configuration (protocol §10):
 * before its last batches, between them, and behind them on different copies. Who signed both sides
 * is named, and what lies behind is judged by each ledger's own chain.
 */
#include <criterion/criterion.h>

#include "tests/forge/reform.h"
#include "tests/unit/audit_fixture.h"

/* A ledger that is told beside others, with its own charter. */
struct branch {
    struct fork fork;
    struct reform reform;
};

static struct branch ours;
static struct branch theirs;

static void branch_open(struct branch *branch) {
    fork_open(&branch->fork);
    reform_init(&branch->reform, &branch->fork.forge);
    branch->fork.story.random = 11;
    story_append_honest(&branch->fork.story, 5);
}

static void branch_close(struct branch *branch) {
    fork_close(&branch->fork);
    reform_free(&branch->reform);
}

static void set_up_branches(void) {
    set_up();
    branch_open(&ours);
    branch_open(&theirs);
}

static void tear_down_branches(void) {
    branch_close(&ours);
    branch_close(&theirs);
    tear_down();
}

TestSuite(audit_ends, .init = set_up_branches, .fini = tear_down_branches, .timeout = 240);

static struct action add_dave(struct branch *branch) {
    return charter_named(&branch->reform.charter, ACTION_ADD_USER, "dave", 7000);
}

static struct action add_erin(struct branch *branch) {
    return charter_named(&branch->reform.charter, ACTION_ADD_USER, "erin", 7100);
}

static void append(struct branch *branch, uint32_t requests, enum rule lie) {
    story_append(&branch->fork.story, requests, 1, lie);
}

static void append_honest(struct branch *branch, uint32_t count) {
    story_append_honest(&branch->fork.story, count);
}

static void end_with(struct branch *branch, const struct action *action) {
    reform_end(&branch->reform, 1, action);
}

static void end(struct branch *branch) {
    struct action const action = add_dave(branch);
    end_with(branch, &action);
}

static void enter(struct branch *branch) {
    struct reform *const reform = &branch->reform;
    forge_enter_configuration(&branch->fork.forge, &reform->consortiums[reform->count - 1],
                              &reform->constitutions[reform->count]);
}

/* The next configuration begins in view 0, signed by these. */
static void begin(struct branch *branch, uint64_t signers) {
    enter(branch);
    branch->fork.forge.signers = signers;
    append(branch, 0, RULE_NONE);
}

static void change_view(struct branch *branch, uint64_t view) {
    forge_change_view(&branch->fork.forge, &(struct forge_view_order){.view = view});
}

/* They ask for a view, and show nothing. */
static void hide_all(struct branch *branch, uint64_t view, uint64_t authors) {
    struct forge_view_order order = {.view = view, .authors = authors};
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        order.stated[i] = FORGE_NO_CERTIFICATE;
    }
    forge_change_view(&branch->fork.forge, &order);
}

/* They ask for a view, and show no later batch than this. */
static void hide_behind(struct branch *branch, uint64_t view, uint64_t authors, uint64_t seq) {
    struct forge_view_order order = {.view = view, .authors = authors};
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        order.stated[i] = seq;
    }
    forge_change_view(&branch->fork.forge, &order);
}

/* Whoever is named first must not matter. */
static void give_both(bool swapped) {
    give_ledger(swapped ? &theirs.fork.forge : &ours.fork.forge);
    give_ledger(swapped ? &ours.fork.forge : &theirs.fork.forge);
}

static void again(void) {
    tear_down_branches();
    set_up_branches();
}

static uint64_t signers_of(const struct branch *branch, uint64_t seq) {
    return forge_batch_at(&branch->fork.forge, seq)->signers;
}

static uint64_t last(const struct branch *branch) {
    return forge_seq(&branch->fork.forge);
}

/* Are exactly these of configuration `number` named by a proof of this kind, for a stranger? */
static bool is_blamed(const struct audit_report *report, enum proof_kind kind, uint64_t number,
                      uint64_t blamed) {
    for (uint32_t i = 0; i < report->finding_count; i++) {
        const struct audit_finding *const finding = &report->findings[i];
        if (finding->verdict.kind == kind && finding->verdict.configuration.number == number &&
            finding->verdict.blamed == blamed) {
            cr_assert_eq(check_bytes(buffer_span(&finding->file)), PROOF_VALID);
            return true;
        }
    }
    return false;
}

static void expect_only(enum proof_kind kind, uint64_t number, uint64_t blamed) {
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    cr_assert_eq(report->finding_count, 1);
    cr_assert(is_blamed(report, kind, number, blamed), "kind %d of %llu: %llx",
              (int)report->findings[0].verdict.kind,
              (unsigned long long)report->findings[0].verdict.configuration.number,
              (unsigned long long)report->findings[0].verdict.blamed);
}

/* ---- copies of an end, and what lies behind them ---- */

/* The last batch was committed in two views, as may be; the first of the next one was as well. */
Test(audit_ends, two_beginnings_behind_two_copies) {
    for (int swapped = 0; swapped < 2; swapped++) {
        end(&ours);
        end(&theirs);
        change_view(&theirs, 1);
        begin(&ours, 0x7);
        begin(&theirs, 0xd);
        append(&ours, 1, RULE_NONE);
        append(&theirs, 1, RULE_NONE);
        give_both(swapped != 0);
        expect_only(PROOF_CONFLICTING_CERTIFICATES, 2, 0x5);
        again();
    }
}

/* Only their primary answers for one of them. */
Test(audit_ends, a_beginning_that_its_primary_signed_twice) {
    for (int swapped = 0; swapped < 2; swapped++) {
        end(&ours);
        end(&theirs);
        change_view(&theirs, 1);
        begin(&ours, 0x7);
        append(&ours, 1, RULE_NONE);
        append(&ours, 1, RULE_NONE);
        begin(&theirs, 0xd);
        give_both(swapped != 0);
        expect_only(PROOF_EQUIVOCATION, 2, 0x1);
        again();
    }
}

/* Who asks for a view behind the one copy hides what was committed behind the other. */
Test(audit_ends, a_beginning_that_is_hidden_behind_another_copy) {
    for (int swapped = 0; swapped < 2; swapped++) {
        end(&ours);
        end(&theirs);
        change_view(&theirs, 1);
        begin(&ours, 0x7);
        append(&ours, 1, RULE_NONE);
        append(&ours, 1, RULE_NONE);
        enter(&theirs);
        hide_all(&theirs, 2, 0xd);
        append(&theirs, 0, RULE_NONE);
        append_honest(&theirs, 9);
        give_both(swapped != 0);
        expect_only(PROOF_UNDERSTATED_VIEW_CHANGE, 2, 0x5);
        again();
    }
}

/* The same, where the ledger that hides is the one that is left. */
Test(audit_ends, a_new_view_aside_that_hides_a_beginning) {
    for (int swapped = 0; swapped < 2; swapped++) {
        end(&ours);
        end(&theirs);
        change_view(&theirs, 1);
        begin(&ours, 0x7);
        append_honest(&ours, 30);
        change_view(&ours, 5);
        append_honest(&ours, 30);
        enter(&theirs);
        hide_all(&theirs, 2, 0xd);
        append(&theirs, 0, RULE_NONE);
        give_both(swapped != 0);
        const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
        cr_assert_eq(report->findings[0].verdict.kind, PROOF_UNDERSTATED_VIEW_CHANGE);
        cr_assert_eq(report->findings[0].verdict.configuration.number, 2);
        cr_assert_eq(report->findings[0].verdict.blamed & ~UINT64_C(0xd), 0);
        cr_assert_geq(__builtin_popcountll(report->findings[0].verdict.blamed), 2);
        cr_assert_eq(report->coverage.last_batch, last(&ours));
        again();
    }
}

/* Nobody lied: a copy of the end that lies on one disk alone, and a view in which nothing came. */
Test(audit_ends, the_one_that_has_gone_on_is_followed) {
    for (int swapped = 0; swapped < 2; swapped++) {
        end(&ours);
        end(&theirs);
        change_view(&theirs, 1);
        enter(&ours);
        hide_all(&ours, 2, 0);
        append(&ours, 0, RULE_NONE);
        append_honest(&ours, 60);
        enter(&theirs);
        hide_all(&theirs, 1, 0);
        append(&theirs, 0, RULE_NONE);
        give_both(swapped != 0);
        uint64_t const given = give_receipts(&ours.fork.forge, 1, last(&ours) - 1);
        const struct audit_report *const report = run(EXIT_OK);
        cr_assert_eq(report->coverage.last_batch, last(&ours));
        cr_assert_eq(report->receipts_reconciled, given);
        again();
    }
}

/* A copy that goes on alone, with a lie in the next configuration. */
Test(audit_ends, a_lie_behind_the_copy_that_is_left) {
    end(&ours);
    end(&theirs);
    change_view(&theirs, 1);
    enter(&ours);
    hide_all(&ours, 2, 0);
    append(&ours, 0, RULE_NONE);
    append_honest(&ours, 20);
    enter(&theirs);
    hide_all(&theirs, 1, 0);
    append(&theirs, 0, RULE_NONE);
    append(&theirs, 1, RULE_OUTCOME);
    uint64_t const liars = signers_of(&theirs, last(&theirs));
    append(&theirs, 1, RULE_NONE);
    give_both(false);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    cr_assert(is_blamed(report, PROOF_WRONG_OUTCOME, 2, liars));
}

/* ---- before and between the last batches ---- */

/* The last batch, twice, in one view. */
Test(audit_ends, two_last_batches_in_one_view) {
    for (uint32_t before = 1; before <= CLOSING_BATCHES; before++) {
        struct action const action = add_dave(&ours);
        struct action const same = add_dave(&theirs);
        struct span const proposal = reform_vote(&ours.reform, 1, &action);
        struct span const again_proposed = reform_vote(&theirs.reform, 1, &same);
        for (uint32_t i = 1; i < before; i++) {
            append(&ours, 0, RULE_NONE);
            append(&theirs, 0, RULE_NONE);
        }
        ours.fork.forge.signers = 0x7;
        theirs.fork.forge.signers = 0xd;
        theirs.fork.forge.time_ms += 7;
        reform_close(&ours.reform, proposal);
        reform_close(&theirs.reform, again_proposed);
        begin(&ours, 0x7);
        append_honest(&ours, 3);
        begin(&theirs, 0x7);
        append_honest(&theirs, 9);
        append(&theirs, 1, RULE_OUTCOME);
        uint64_t const liars = signers_of(&theirs, last(&theirs));
        append(&theirs, 1, RULE_NONE);
        append_honest(&ours, 30);
        give_both(false);
        const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
        cr_assert(is_blamed(report, PROOF_CONFLICTING_CERTIFICATES, 1, 0x5));
        cr_assert(is_blamed(report, PROOF_WRONG_OUTCOME, 2, liars), "%u", before);
        again();
    }
}

/* One has ended; the other hides the passing vote, and goes on without. Each lies later on. */
Test(audit_ends, one_has_ended_and_the_other_goes_on) {
    for (int swapped = 0; swapped < 2; swapped++) {
        uint64_t const before = last(&ours);
        ours.fork.forge.signers = 0x7;
        end(&ours);
        begin(&ours, 0x7);
        append_honest(&ours, 40);
        append(&ours, 1, RULE_OUTCOME);
        uint64_t const liars = signers_of(&ours, last(&ours));
        append(&ours, 1, RULE_NONE);
        hide_behind(&theirs, 1, 0xe, before);
        append_honest(&theirs, 40);
        append(&theirs, 1, RULE_CHECKPOINT_DIGEST);
        uint64_t const others = signers_of(&theirs, last(&theirs));
        append(&theirs, 1, RULE_NONE);
        give_both(swapped != 0);
        const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
        cr_assert(is_blamed(report, PROOF_UNDERSTATED_VIEW_CHANGE, 1, 0x6));
        cr_assert(is_blamed(report, PROOF_WRONG_OUTCOME, 2, liars));
        cr_assert(is_blamed(report, PROOF_WRONG_CHECKPOINT, 1, others));
        cr_assert_eq(report->finding_count, 3);
        again();
    }
}

/* ---- different outcomes ---- */

/* Both have ended, with different decisions: each branch is judged by its own chain. */
Test(audit_ends, each_branch_of_a_forked_chain_is_judged) {
    for (int swapped = 0; swapped < 2; swapped++) {
        struct action const action = add_erin(&theirs);
        ours.fork.forge.signers = 0x7;
        theirs.fork.forge.signers = 0xd;
        end(&ours);
        end_with(&theirs, &action);
        begin(&ours, 0x7);
        append_honest(&ours, 20);
        append(&ours, 1, RULE_OUTCOME);
        uint64_t const liars = signers_of(&ours, last(&ours));
        append(&ours, 1, RULE_NONE);
        begin(&theirs, 0x7);
        append_honest(&theirs, 30);
        append(&theirs, 1, RULE_CHECKPOINT_DIGEST);
        uint64_t const others = signers_of(&theirs, last(&theirs));
        append(&theirs, 1, RULE_NONE);
        give_both(swapped != 0);
        const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
        cr_assert(is_blamed(report, PROOF_CONFLICTING_CERTIFICATES, 1, 0x5));
        cr_assert(is_blamed(report, PROOF_WRONG_OUTCOME, 2, liars));
        cr_assert(is_blamed(report, PROOF_WRONG_CHECKPOINT, 2, others));
        cr_assert_eq(report->finding_count, 3);
        again();
    }
}

/* The same across a change of view, and other replicas behind it: places mean others there. */
Test(audit_ends, a_chain_forked_by_a_change_of_view) {
    for (int swapped = 0; swapped < 2; swapped++) {
        struct action const action = add_erin(&theirs);
        uint64_t const before = last(&ours);
        ours.fork.forge.signers = 0x7;
        reform_shift(&ours.reform);
        append_honest(&ours, 20);
        append(&ours, 1, RULE_OUTCOME);
        uint64_t const liars = signers_of(&ours, last(&ours));
        append(&ours, 1, RULE_NONE);
        hide_behind(&theirs, 1, 0xe, before);
        end_with(&theirs, &action);
        reform_start(&theirs.reform);
        append_honest(&theirs, 20);
        append(&theirs, 1, RULE_CHECKPOINT_DIGEST);
        uint64_t const others = signers_of(&theirs, last(&theirs));
        append(&theirs, 1, RULE_NONE);
        give_both(swapped != 0);
        const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
        cr_assert(is_blamed(report, PROOF_UNDERSTATED_VIEW_CHANGE, 1, 0x6));
        cr_assert(is_blamed(report, PROOF_WRONG_OUTCOME, 2, liars));
        cr_assert(is_blamed(report, PROOF_WRONG_CHECKPOINT, 2, others));
        cr_assert_eq(report->finding_count, 3);
        again();
    }
}

/* Three ways: of those that are left, each goes its own again. */
Test(audit_ends, three_ledgers_that_go_their_own_ways) {
    struct action const action = add_erin(&theirs);
    struct fork third;
    fork_open(&third);
    third.story.random = 11;
    story_append_honest(&third.story, 5);
    ours.fork.forge.signers = 0x7;
    theirs.fork.forge.signers = 0xd;
    uint64_t const before = last(&ours);
    end(&ours);
    end_with(&theirs, &action);
    begin(&ours, 0x7);
    begin(&theirs, 0x7);
    append_honest(&ours, 20);
    append_honest(&theirs, 20);
    append(&theirs, 1, RULE_OUTCOME);
    uint64_t const liars = signers_of(&theirs, last(&theirs));
    append(&theirs, 1, RULE_NONE);
    struct forge_view_order order = {.view = 1, .authors = 0xe};
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        order.stated[i] = before;
    }
    forge_change_view(&third.forge, &order);
    story_append_honest(&third.story, 40);
    story_append(&third.story, 1, 1, RULE_CHECKPOINT_DIGEST);
    uint64_t const others = forge_batch_at(&third.forge, forge_seq(&third.forge))->signers;
    story_append(&third.story, 1, 1, RULE_NONE);
    give_ledger(&third.forge);
    give_both(false);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    cr_assert(is_blamed(report, PROOF_CONFLICTING_CERTIFICATES, 1, 0x5));
    cr_assert(is_blamed(report, PROOF_WRONG_OUTCOME, 2, liars));
    cr_assert(is_blamed(report, PROOF_WRONG_CHECKPOINT, 1, others));
    fork_close(&third);
}

/* Both are of one configuration, and those who signed both are convicted where they part. */
Test(audit_ends, a_lie_in_the_history_that_is_left) {
    for (int swapped = 0; swapped < 2; swapped++) {
        end(&ours);
        end(&theirs);
        begin(&ours, 0x7);
        begin(&theirs, 0x7);
        theirs.fork.story.random++;
        theirs.fork.forge.signers = 0xd;
        append(&ours, 1, RULE_NONE);
        append(&theirs, 1, RULE_NONE);
        append_honest(&ours, 9);
        append(&theirs, 1, RULE_OUTCOME);
        uint64_t const liars = signers_of(&theirs, last(&theirs));
        append(&theirs, 1, RULE_NONE);
        give_both(swapped != 0);
        const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
        cr_assert(is_blamed(report, PROOF_CONFLICTING_CERTIFICATES, 2, 0x5));
        cr_assert(is_blamed(report, PROOF_WRONG_OUTCOME, 2, liars));
        again();
    }
}
