/*
 * audit_views: tests of audit-tool/ on ledgers in which the view changed: honest ones blame nobody,
 * wherever each of them stopped; and whoever hides a certificate, leads into a view that does not
 * follow, or writes two ledgers in one view, is convicted by proofs that hold for a stranger.
 */
#include <criterion/criterion.h>

#include "ledger/derive.h"
#include "merkle/tree.h"
#include "tests/unit/audit_fixture.h"

TestSuite(audit_views, .init = set_up, .fini = tear_down, .timeout = 300);

static void change_view(struct forge *from, uint64_t view) {
    forge_change_view(from, &(struct forge_view_order){.view = view});
}

/* Honest batches, changes of view that lose nothing, and views without a batch of their own. */
static void tell_honestly(struct story *teller, uint32_t changes) {
    for (uint32_t i = 0; i < changes; i++) {
        story_append_honest(teller, 1 + story_draw(teller, 9));
        change_view(teller->forge, teller->forge->view + 1 + story_draw(teller, 3));
        if (story_draw(teller, 3) == 0) {
            change_view(teller->forge, teller->forge->view + 1);
        }
    }
}

/* ---- nothing to find ---- */

Test(audit_views, honest_ledgers) {
    for (uint32_t round = 0; round < 6; round++) {
        story.random = 100 + round;
        tell_honestly(&story, 12);
        story_append_honest(&story, round);
        give_ledger(&forge);
        give_ledger(&forge);
        uint64_t const given = give_receipts(&forge, 1, forge_seq(&forge));
        const struct audit_report *const report = run(EXIT_OK);
        cr_assert_eq(report->batches, forge_seq(&forge));
        cr_assert_eq(report->transactions, forge.next_index - 1);
        cr_assert_eq(report->receipts_reconciled, given);
        tear_down();
        set_up();
    }
}

/* Batches that only their primary and one backup ever saw, as many as the pipeline allows. */
static void append_unheard(struct story *teller, uint64_t count) {
    uint64_t const evidenced = teller->forge->evidence_upto;
    for (uint64_t i = 0; i < count && forge_seq(teller->forge) < evidenced + 4; i++) {
        story_append(teller, 1, forge_seq(teller->forge) + 1 - evidenced, RULE_NONE);
    }
}

/* A replica that was cut off has the end of its old view on its disk; another stopped earlier. */
Test(audit_views, replicas_that_were_cut_off) {
    for (uint32_t round = 0; round < 12; round++) {
        struct fork stale;
        struct fork early;
        fork_open(&stale);
        fork_open(&early);
        tell_honestly(&early.story, 1);
        tell_honestly(&stale.story, 2);
        story_append_honest(&stale.story, 5);
        tell_honestly(&story, 2);
        story_append_honest(&story, 5);
        stale.story.random ^= 77;
        uint64_t const agreed = forge_seq(&forge);
        append_unheard(&stale.story, round % 5);
        change_view(&forge, forge.view + 1 + round % 2);
        story_append_honest(&story, round % 3 == 0 ? 1 : 20);
        const struct forge *const order[] = {&stale.forge, &forge, &early.forge};
        for (uint32_t i = 0; i < 3; i++) {
            give_ledger(order[(i + round) % 3]);
        }
        uint64_t given = give_receipts(&forge, 1, forge_seq(&forge));
        given += give_receipts(&stale.forge, agreed - 3, agreed); /* as they were seen first */
        const struct audit_report *const report = run(EXIT_OK);
        cr_assert_eq(report->batches, forge_seq(&forge));
        cr_assert_eq(report->finding_count + report->notice_count, 0);
        cr_assert_eq(report->receipts_reconciled, given);
        fork_close(&stale);
        fork_close(&early);
        tear_down();
        set_up();
        story.random = 500 + round;
    }
}

/* One replica entered a view that the next one passed over; each has a new view in one place. */
Test(audit_views, a_view_that_was_passed_over) {
    for (uint32_t round = 0; round < 8; round++) {
        struct fork passed;
        fork_open(&passed);
        story_append_honest(&passed.story, 9 + round);
        story_append_honest(&story, 9 + round);
        forge_change_view(&passed.forge, &(struct forge_view_order){.view = 1, .unheard = true});
        append_unheard(&passed.story, round % 3);
        change_view(&forge, 2);
        story_append_honest(&story, 3 * round);
        give_ledger(round % 2 == 0 ? &passed.forge : &forge);
        give_ledger(round % 2 == 0 ? &forge : &passed.forge);
        uint64_t const given = give_receipts(&forge, 1, forge_seq(&forge));
        const struct audit_report *const report = run(EXIT_OK);
        cr_assert_eq(report->receipts_reconciled, given);
        cr_assert_eq(report->batches, forge_seq(&forge));
        fork_close(&passed);
        tear_down();
        set_up();
        story.random = 900 + round;
    }
}

/* With the ledger of one that was cut off alone, nothing can be said about what came later. */
Test(audit_views, a_stale_ledger_alone) {
    struct fork stale;
    fork_open(&stale);
    story_append_honest(&stale.story, 12);
    story_append_honest(&story, 12);
    stale.story.random ^= 5;
    append_unheard(&stale.story, 2);
    change_view(&forge, 1);
    story_append_honest(&story, 9);
    give_ledger(&stale.forge);
    give_receipts(&forge, 1, forge_seq(&forge));
    const struct audit_report *const report = run(EXIT_CANNOT_AUDIT);
    cr_assert_eq(report->finding_count, 0);
    cr_assert_gt(report->unchecked_first, 0);
    fork_close(&stale);
}

/* Nothing was ever prepared: the first views begin at genesis. */
Test(audit_views, views_before_the_first_batch) {
    change_view(&forge, 2);
    change_view(&forge, 3);
    story_append_honest(&story, 12);
    struct fork stale;
    fork_open(&stale);
    stale.story.random ^= 1;
    append_unheard(&stale.story, 2);
    give_ledger(&stale.forge);
    give_ledger(&forge);
    give_receipts(&forge, 1, 12);
    const struct audit_report *const report = run(EXIT_OK);
    cr_assert_eq(report->batches, 12);
    fork_close(&stale);
}

Test(audit_views, threads_change_nothing) {
    close_audit();
    open_audit(3);
    tell_honestly(&story, 6);
    give_ledger(&forge);
    give_receipts(&forge, 1, forge_seq(&forge));
    run(EXIT_OK);
}

/* ---- those who hide what they hold ---- */

/* All findings of one kind; who is blamed by them together. */
static uint64_t blamed_by(const struct audit_report *report, enum proof_kind kind) {
    uint64_t blamed = 0;
    for (uint32_t i = 0; i < report->finding_count; i++) {
        struct proof_verdict verdict;
        const struct buffer *const file = &report->findings[i].file;
        cr_assert_eq(proof_verify(&verdict, &consortium.configuration.service, buffer_span(file)),
                     PROOF_VALID);
        cr_assert_eq(verdict.blamed, report->findings[i].verdict.blamed);
        blamed |= verdict.kind == kind ? verdict.blamed : 0;
    }
    return blamed;
}

static const struct buffer *file_of(const struct audit_report *report, enum proof_kind kind) {
    for (uint32_t i = 0; i < report->finding_count; i++) {
        if (report->findings[i].verdict.kind == kind) {
            return &report->findings[i].file;
        }
    }
    cr_assert_fail("no such finding");
    return NULL;
}

/* Batches `lost` and later are in receipts, and in no view-change of those who ask for view 1. */
static void hide(uint64_t signers, uint64_t authors, uint64_t lost) {
    struct forge_view_order order = {.view = 1, .authors = authors};
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        order.stated[i] = lost - 1;
    }
    forge.signers = signers;
    story_append(&story, 2, 1, RULE_NONE);
    story_append(&story, 2, 1, RULE_NONE);
    give_receipts(&forge, lost, forge_seq(&forge));
    forge_change_view(&forge, &order);
}

Test(audit_views, receipts_that_were_lost) {
    static const struct {
        uint64_t signers;
        uint64_t authors;
    } sets[] = {{0x7, 0xe}, {0x7, 0x7}, {0xd, 0x7}, {0xb, 0xe}, {0x7, 0xb}};
    for (uint32_t i = 0; i < 3 * sizeof sets / sizeof sets[0]; i++) {
        uint64_t const signers = sets[i % 5].signers;
        uint64_t const authors = sets[i % 5].authors;
        story_append_honest(&story, 20 + i / 5);
        hide(signers, authors, forge_seq(&forge) + 1);
        story.random ^= 3; /* what now takes their place */
        story_append_honest(&story, i / 5 == 0 ? 0 : 3 * i / 5);
        give_ledger(&forge);
        const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
        cr_assert_eq(blamed_by(report, PROOF_UNDERSTATED_VIEW_CHANGE), signers & authors);
        cr_assert_eq(report->finding_count, 1);
        cr_assert_geq((uint32_t)__builtin_popcountll(signers & authors),
                      consortium.configuration.faults_max + 1);
        tear_down();
        set_up();
    }
}

Test(audit_views, larger_consortia) {
    for (uint32_t count = 5; count <= 10; count++) {
        tear_down();
        set_up_with(count);
        uint64_t const all = ((uint64_t)1 << count) - 1;
        uint64_t const signers = ((uint64_t)1 << consortium.configuration.quorum) - 1;
        uint64_t const authors = all & ~(all >> consortium.configuration.quorum);
        story_append_honest(&story, 12);
        hide(signers, authors, forge_seq(&forge) + 1);
        story_append_honest(&story, 5);
        give_ledger(&forge);
        const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
        uint64_t const blamed = blamed_by(report, PROOF_UNDERSTATED_VIEW_CHANGE);
        cr_assert_eq(blamed, signers & authors);
        cr_assert_geq((uint32_t)__builtin_popcountll(blamed),
                      consortium.configuration.faults_max + 1);
    }
}

/* The certificates lie in the ledger of one who was cut off. */
Test(audit_views, ledgers_that_were_lost) {
    for (uint32_t i = 0; i < 4; i++) {
        struct fork old;
        fork_open(&old);
        story_append_honest(&old.story, 15);
        story_append_honest(&story, 15);
        uint64_t const common = forge_seq(&forge);
        old.forge.signers = 0x7;
        for (uint32_t k = 0; k < 2 + 10 * i; k++) {
            story_append(&old.story, 1, 1, RULE_NONE);
        }
        forge_change_view(&forge, &(struct forge_view_order){.view = 1, .authors = 0xe});
        story.random ^= 9;
        story_append_honest(&story, 4);
        give_ledger(i % 2 == 0 ? &old.forge : &forge);
        give_ledger(i % 2 == 0 ? &forge : &old.forge);
        const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
        cr_assert_eq(blamed_by(report, PROOF_UNDERSTATED_VIEW_CHANGE), 0x6);
        for (uint32_t k = 0; k < report->finding_count; k++) {
            cr_assert_gt(report->findings[k].verdict.seq, common);
        }
        fork_close(&old);
        tear_down();
        set_up();
    }
}

/* A batch that its primary signed twice: the ledger that is not followed goes on to a new view. */
Test(audit_views, behind_a_batch_that_was_signed_twice) {
    struct fork other;
    fork_open(&other);
    story_append_honest(&other.story, 15);
    story_append_honest(&story, 15);
    other.story.random ^= 9;
    other.forge.signers = 0xd;
    story_append(&other.story, 1, 1, RULE_NONE);
    story_append(&other.story, 1, 1, RULE_NONE);
    forge_change_view(&other.forge, &(struct forge_view_order){.view = 1, .authors = 0xe});
    forge.signers = 0x7;
    for (uint32_t k = 0; k < 6; k++) {
        story_append(&story, 1, 1, RULE_NONE);
    }
    /* Up to the new view: the evidence for the batch before it would come with the next one. */
    give_beginning(&other.forge, forge_batch_at(&other.forge, 17)->first_entry);
    give_ledger(&forge);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    cr_assert_eq(blamed_by(report, PROOF_EQUIVOCATION), 0x1);
    cr_assert_eq(blamed_by(report, PROOF_UNDERSTATED_VIEW_CHANGE), 0x6);
    fork_close(&other);
}

/* A new view that nobody may enter lies aside; what contradicts it is evidenced only later. */
Test(audit_views, a_view_that_was_left_aside) {
    struct fork other;
    fork_open(&other);
    story_append_honest(&other.story, 12);
    story_append_honest(&story, 12);
    story_append(&other.story, 1, 1, RULE_NONE);
    story_append(&story, 1, 1, RULE_NONE); /* the same in both, and cut off for no reason */
    forge_change_view(&other.forge,
                      &(struct forge_view_order){.view = 1, .authors = 0xe, .lie = RULE_VIEW_CUT});
    forge.signers = 0x7;
    for (uint32_t k = 0; k < 12; k++) {
        story_append(&story, 1, 1, RULE_NONE);
    }
    change_view(&forge, 2);
    story_append_honest(&story, 4);
    give_ledger(&other.forge);
    give_ledger(&forge);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    cr_assert_eq(blamed_by(report, PROOF_BROKEN_NEW_VIEW) & 0x2, 0x2);
    cr_assert_eq(blamed_by(report, PROOF_UNDERSTATED_VIEW_CHANGE), 0x6);
    fork_close(&other);
}

/* One understates and the others do not: nothing is lost, and the ledger itself convicts it. */
Test(audit_views, one_hides_alone) {
    for (uint32_t lag = 1; lag <= 3; lag++) {
        struct forge_view_order order = {.view = 1, .authors = 0xb};
        story_append_honest(&story, 12);
        forge.signers = 0xb;
        for (uint32_t i = 0; i < 4; i++) {
            story_append(&story, 1, 1, RULE_NONE);
        }
        order.stated[3] = forge_seq(&forge) - 1 - lag;
        forge_change_view(&forge, &order);
        story_append_honest(&story, 6);
        give_ledger(&forge);
        const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
        cr_assert_eq(report->finding_count, 1);
        cr_assert_eq(blamed_by(report, PROOF_UNDERSTATED_VIEW_CHANGE), 0x8);
        cr_assert_eq(report->batches, forge_seq(&forge));
        tear_down();
        set_up();
    }
}

/* A nonce of a view is hidden by showing the view before, though no batch is lost by it. */
Test(audit_views, a_view_that_is_hidden) {
    struct fork committed;
    fork_open(&committed);
    struct story *const tellers[] = {&story, &committed.story};
    for (unsigned i = 0; i < 2; i++) {
        story_append_honest(tellers[i], 11);
        append_unheard(tellers[i], 3);
    }
    change_view(&committed.forge, 1);
    uint64_t const start = committed.forge.view_start;
    committed.forge.signers = 0x7;
    forge_change_view(&forge, &(struct forge_view_order){.view = 2, .authors = 0xd});
    give_receipts(&committed.forge, start - 1, start - 1);
    give_ledger(&forge);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    uint64_t const signers = forge_batch_at(&committed.forge, start - 1)->signers;
    cr_assert_eq(blamed_by(report, PROOF_UNDERSTATED_VIEW_CHANGE), signers & 0xd);
    cr_assert_eq(report->receipts_reconciled, report->receipts_valid);
    fork_close(&committed);
}

/* ---- new views that do not follow ---- */

static const enum rule view_lies[] = {RULE_CONFIGURATION, RULE_VIEW_CHANGES, RULE_VIEW_CHOICE,
                                      RULE_VIEW_CUT, RULE_VIEW_LINK};
#define VIEW_LIES (sizeof view_lies / sizeof view_lies[0])

/* Two views, of which the second is a lie, and what is signed in it. */
static void lie_about_view(enum rule lie, uint32_t batches, uint64_t signers) {
    struct forge_view_order order = {.view = 6, .only_enter = true, .lie = lie};
    story_append_honest(&story, 25 + story_draw(&story, 9));
    change_view(&forge, 1);
    story_append_honest(&story, 1 + story_draw(&story, 12));
    story_append(&story, 1, 1, RULE_NONE); /* so that the last batch shows evidence */
    forge_change_view(&forge, &order);
    forge.signers = signers;
    for (uint32_t i = 0; i < batches; i++) {
        story_append(&story, 1, 1, RULE_NONE);
    }
}

Test(audit_views, new_views_that_do_not_follow) {
    for (uint32_t i = 0; i < 3 * VIEW_LIES; i++) {
        enum rule const lie = view_lies[i % VIEW_LIES];
        uint32_t const batches = (uint32_t)(i / VIEW_LIES);
        story.random += i;
        lie_about_view(lie, batches, 0xd);
        give_ledger(&forge);
        const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
        cr_assert_eq(report->finding_count, 1);
        cr_assert_eq(report->findings[0].verdict.rule, lie, "%s",
                     rule_name(report->findings[0].verdict.rule));
        cr_assert_eq(report->findings[0].verdict.view, 6);
        cr_assert_eq(blamed_by(report, PROOF_BROKEN_NEW_VIEW), batches > 1 ? 0xd : 0x4);
        tear_down();
        set_up();
    }
}

/* Nobody may enter the view; who asked for it has hidden what a receipt shows all the same. */
Test(audit_views, understated_before_a_new_view_that_is_a_lie) {
    struct forge_view_order const order = {
        .view = 1, .stated = {8, 8, 8}, .only_enter = true, .lie = RULE_VIEW_CHOICE};
    story_append_honest(&story, 12);
    forge.signers = 0x7;
    story_append(&story, 1, 1, RULE_NONE);
    give_receipts(&forge, 13, 13);
    forge_change_view(&forge, &order);
    give_ledger(&forge);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    cr_assert_eq(blamed_by(report, PROOF_BROKEN_NEW_VIEW), 0x2);
    cr_assert_eq(blamed_by(report, PROOF_UNDERSTATED_VIEW_CHANGE), 0x7);
}

Test(audit_views, a_receipt_shows_who_prepared_in_it) {
    lie_about_view(RULE_VIEW_CHOICE, 3, 0x7);
    give_receipts(&forge, forge_seq(&forge), forge_seq(&forge));
    give_ledger(&forge);
    cr_assert_eq(blamed_by(run(EXIT_MISBEHAVIOUR), PROOF_BROKEN_NEW_VIEW), 0x7);
}

Test(audit_views, a_view_that_goes_back) {
    story_append_honest(&story, 9);
    change_view(&forge, 5);
    story_append_honest(&story, 9);
    forge_change_view(&forge, &(struct forge_view_order){.view = 3, .lie = RULE_VIEW_ORDER});
    give_ledger(&forge);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    cr_assert_eq(blamed_by(report, PROOF_BROKEN_NEW_VIEW) & 0x8, 0x8);
    cr_assert_eq(report->findings[0].verdict.rule, RULE_VIEW_ORDER);
}

Test(audit_views, what_was_not_signed_convicts_nobody) {
    static const enum rule rules[] = {RULE_SIGNATURE, RULE_LEDGER_ROOT, RULE_VIEW_SET};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        lie_about_view(rules[i], 2, 0x7);
        give_ledger(&forge);
        const struct audit_report *const report = run(EXIT_CORRUPT);
        cr_assert_eq(report->finding_count, 0);
        cr_assert(strstr(report->notices[0].text, "new view 6") != NULL, "%s",
                  report->notices[0].text);
        tear_down();
        set_up();
    }
}

/* A batch that the new view took over is proposed again with other contents. */
Test(audit_views, another_batch_in_place_of_one_taken_over) {
    story_append_honest(&story, 30);
    story_append(&story, 2, 2, RULE_NONE);
    forge_change_view(&forge, &(struct forge_view_order){.view = 2, .only_enter = true});
    forge.signers = 0xd;
    story_append(&story, 3, 1, RULE_REPROPOSAL);
    story_append(&story, 1, 1, RULE_NONE);
    give_ledger(&forge);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    cr_assert_eq(blamed_by(report, PROOF_BROKEN_BATCH), 0xd);
    cr_assert_eq(report->findings[0].verdict.rule, RULE_REPROPOSAL);
}

/* Every rule about batches, in a fragment with new views in it. */
Test(audit_views, lies_after_a_change_of_view) {
    static const enum rule lies[] = {
        RULE_VIEW,           RULE_VIEW_START, RULE_SEQUENCE,          RULE_FIRST_INDEX,
        RULE_EVIDENCE_NONCE, RULE_TIME,       RULE_CHECKPOINT_DIGEST, RULE_OUTCOME};
    for (uint32_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        story.random += i;
        tell_honestly(&story, 8);
        story_append_honest(&story, 6 + 3 * (i % 3));
        story_append(&story, 2, 1, lies[i]);
        uint64_t const signers = forge.signers;
        story_append(&story, 1, 1, RULE_NONE);
        give_ledger(&forge);
        const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
        cr_assert_eq(report->finding_count, 1);
        cr_assert_eq(report->findings[0].verdict.rule, lies[i]);
        cr_assert_eq(report->findings[0].verdict.blamed, signers);
        tear_down();
        set_up();
    }
}

/* ---- one view, two ledgers ---- */

/*
 * Receipts of a history that was forked within view 0, and the ledger of the other one, which has
 * changed its view since: what its new view chose convicts those who prepared both.
 */
static void fork_before_change(struct fork *fork, uint32_t behind) {
    fork_open(fork);
    story_append_honest(&story, 14);
    story_append_honest(&fork->story, 14);
    fork->story.random ^= 99;
    forge.signers = 0x7;
    fork->forge.signers = 0xd;
    story_append(&fork->story, 2, 1, RULE_NONE);
    append_unheard(&story, 1 + behind);
    give_receipts(&fork->forge, 15, 15);
    change_view(&forge, 1);
    story_append_honest(&story, 6);
    give_ledger(&forge);
}

Test(audit_views, a_fork_that_a_new_view_chose) {
    for (uint32_t behind = 0; behind < 3; behind++) {
        struct fork fork;
        fork_before_change(&fork, behind);
        const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
        cr_assert_eq(report->finding_count, 1);
        cr_assert_eq(blamed_by(report, PROOF_FORKED_VIEW), 0x5);
        cr_assert_eq(report->findings[0].verdict.seq_other, 15);
        fork_close(&fork);
        tear_down();
        set_up();
    }
}

/*
 * Two new views of one number, cut at different places. The receipts are of the one that was cut
 * earlier, and lie where the ledger of the other is still in the view before.
 */
static void fork_of_view(struct fork *fork, enum rule lie) {
    struct forge_view_order order = {.view = 1, .authors = 0xe, .only_enter = true};
    fork_open(fork);
    struct story *const tellers[] = {&story, &fork->story};
    for (unsigned i = 0; i < 2; i++) {
        story_append_honest(tellers[i], 13);
        story_append(tellers[i], 1, 1, RULE_NONE);
        append_unheard(tellers[i], 3);
        story_append(tellers[i], 4, 1, RULE_NONE);
    }
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        order.stated[i] = 17;
    }
    forge_change_view(&fork->forge, &order);
    fork->story.random ^= 99;
    fork->forge.signers = 0xe;
    story_append(&fork->story, 2, 1, lie);
    give_receipts(&fork->forge, forge_seq(&fork->forge), forge_seq(&fork->forge));
    forge.signers = 0x7;
    change_view(&forge, 1);
    for (uint32_t i = 0; i < 3; i++) {
        story_append(&story, 1, 1, RULE_NONE);
    }
    give_ledger(&forge);
}

Test(audit_views, two_new_views_of_one_number) {
    struct fork fork;
    fork_of_view(&fork, RULE_REPROPOSAL);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    cr_assert_eq(report->finding_count, 1);
    cr_assert_eq(blamed_by(report, PROOF_CONFLICTING_CERTIFICATES), 0x6);
    fork_close(&fork);
}

/* The numbers of both go together, and only the tree shows that the ledgers do not. */
Test(audit_views, two_ledgers_of_one_view) {
    struct fork fork;
    fork_of_view(&fork, RULE_VIEW_START);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    cr_assert_eq(report->finding_count, 1);
    cr_assert_eq(blamed_by(report, PROOF_FORKED_VIEW), 0x6);
    fork_close(&fork);
}

/* ---- proofs ---- */

Test(audit_views, changed_proofs_of_understatement) {
    story_append_honest(&story, 8);
    hide(0x7, 0xe, forge_seq(&forge) + 1);
    give_ledger(&forge);
    expect_no_change_holds(file_of(run(EXIT_MISBEHAVIOUR), PROOF_UNDERSTATED_VIEW_CHANGE), 0);
}

Test(audit_views, changed_proofs_of_new_views) {
    for (uint32_t batches = 0; batches < 4; batches += 3) {
        lie_about_view(RULE_VIEW_CHOICE, batches, 0x7);
        give_ledger(&forge);
        expect_no_change_holds(file_of(run(EXIT_MISBEHAVIOUR), PROOF_BROKEN_NEW_VIEW), 700);
        tear_down();
        set_up();
    }
}

Test(audit_views, changed_proofs_of_what_was_chosen) {
    struct fork fork;
    fork_before_change(&fork, 2);
    expect_no_change_holds(file_of(run(EXIT_MISBEHAVIOUR), PROOF_FORKED_VIEW), 0);
    fork_close(&fork);
}

Test(audit_views, changed_proofs_of_two_ledgers) {
    struct fork fork;
    fork_of_view(&fork, RULE_VIEW_START);
    const struct buffer *const file = file_of(run(EXIT_MISBEHAVIOUR), PROOF_FORKED_VIEW);
    struct forgery forgery;
    forgery_open(&forgery, file);
    cr_assert_gt(forgery.proof.path_count, 1);
    forgery_close(&forgery);
    expect_no_change_holds(file, 0);
    fork_close(&fork);
}

/* ---- what proves nothing ---- */

/* A proof put together from honest statements. */
static void accuse(struct forgery *forgery, enum proof_kind kind) {
    *forgery = (struct forgery){.proof = {.kind = kind}};
    arena_init(&forgery->arena, (size_t)1 << 20);
    buffer_init(&forgery->file, EVIDENCE_FILE_SIZE_MAX);
    forgery->proof.genesis = buffer_span(&consortium.genesis_bytes);
}

static struct span certificate_of(struct forgery *forgery, const struct forge *from, uint64_t seq) {
    struct buffer bytes;
    buffer_init(&bytes, COMMIT_CERTIFICATE_SIZE_MAX);
    forge_certificate(from, seq, &bytes);
    struct span const copy = arena_copy(&forgery->arena, buffer_span(&bytes));
    cr_assert(copy.data != NULL);
    buffer_free(&bytes);
    return copy;
}

/* The nth new view of a forged ledger. */
static void read_view(const struct forge *from, uint32_t nth, struct batch *batch) {
    struct forge_view view;
    memcpy(&view, from->views.data + nth * sizeof view, sizeof view);
    for (uint64_t i = 0; i < 2; i++) {
        struct entry const entry = forge_entry_at(from, view.first_entry + i);
        enum rule rule = RULE_NONE;
        cr_assert_eq(batch_add(batch, view.first_entry + i, &entry, &rule),
                     i == 0 ? BATCH_MORE : BATCH_VIEW);
    }
}

/* Every honest view-change against every nonce that its author revealed before, or after. */
Test(audit_views, honest_view_changes_hide_nothing) {
    struct fork before; /* as the batches were before they were proposed again */
    fork_open(&before);
    story_append_honest(&before.story, 16);
    story_append_honest(&story, 16);
    change_view(&forge, 1);
    story_append_honest(&story, 8);
    for (uint32_t nth = 0; nth < 3; nth++) {
        struct batch batch;
        batch_init(&batch);
        read_view(&forge, 0, &batch);
        struct forgery forgery;
        accuse(&forgery, PROOF_UNDERSTATED_VIEW_CHANGE);
        forgery.proof.statement_count = 1;
        forgery.proof.statements[0] = batch.view.set.view_changes[nth];
        forgery.proof.certificate_count = 1;
        for (uint64_t seq = 1; seq <= forge_seq(&forge); seq++) {
            forgery.proof.certificates[0] = certificate_of(&forgery, &forge, seq);
            cr_assert_eq(forgery_check(&forgery), PROOF_NO_CONFLICT);
            if (seq <= 16) {
                forgery.proof.certificates[0] = certificate_of(&forgery, &before.forge, seq);
                cr_assert_eq(forgery_check(&forgery), PROOF_NO_CONFLICT);
            }
        }
        forgery_close(&forgery);
        batch_free(&batch);
    }
    fork_close(&before);
}

/* One proof may name several; each once, in order, and all for what they did in one view. */
Test(audit_views, who_is_named_together) {
    story_append_honest(&story, 12);
    hide(0x7, 0x7, forge_seq(&forge) + 1);
    give_ledger(&forge);
    struct forgery forgery;
    forgery_open(&forgery, file_of(run(EXIT_MISBEHAVIOUR), PROOF_UNDERSTATED_VIEW_CHANGE));
    struct signed_body *const statements = forgery.proof.statements;
    cr_assert_eq(forgery.proof.statement_count, 3);
    struct signed_body const first = statements[0];
    statements[0] = statements[1];
    cr_assert_eq(forgery_check(&forgery), PROOF_STATEMENTS, "one of them twice");
    statements[1] = first;
    cr_assert_eq(forgery_check(&forgery), PROOF_STATEMENTS, "not in order");
    forgery.proof.statement_count = 1;
    cr_assert_eq(forgery_check(&forgery), PROOF_VALID);
    forgery.proof.statement_count = 0;
    cr_assert_eq(forgery_check(&forgery), PROOF_PARTS);
    forgery_close(&forgery);
}

/* It states less than others revealed: its author may have been cut off. */
Test(audit_views, who_revealed_nothing_hides_nothing) {
    struct forge_view_order order = {.view = 1, .authors = 0xe};
    story_append_honest(&story, 12);
    order.stated[3] = forge_seq(&forge);
    forge.signers = 0x7;
    for (uint32_t i = 0; i < 4; i++) {
        story_append(&story, 1, 1, RULE_NONE);
    }
    uint64_t const last = forge_seq(&forge);
    struct forgery forgery;
    accuse(&forgery, PROOF_UNDERSTATED_VIEW_CHANGE);
    forgery.proof.certificate_count = 1;
    forgery.proof.certificates[0] = certificate_of(&forgery, &forge, last);
    forge_change_view(&forge, &order);
    struct batch batch;
    batch_init(&batch);
    read_view(&forge, 0, &batch);
    forgery.proof.statement_count = 1;
    forgery.proof.statements[0] = batch.view.set.view_changes[2];
    cr_assert_eq(forgery_check(&forgery), PROOF_NO_CONFLICT);
    /* Two of its view-changes for one view, as after a crash, contradict nothing either. */
    forgery.proof.kind = PROOF_EQUIVOCATION;
    forgery.proof.certificate_count = 0;
    forgery.proof.statement_count = 2;
    forgery.proof.statements[1] = batch.view.set.view_changes[1];
    cr_assert_eq(forgery_check(&forgery), PROOF_STATEMENTS);
    give_ledger(&forge);
    run(EXIT_OK);
    forgery_close(&forgery);
    batch_free(&batch);
}

/* The leaf of M at this index and its path in the tree of the first `size` leaves. */
static uint32_t path_in(const struct forge *from, struct digest *path, uint64_t index,
                        uint64_t size) {
    struct tree tree;
    tree_init(&tree);
    for (uint64_t i = 0; i < forge_entry_count(from); i++) {
        struct entry const entry = forge_entry_at(from, i);
        if (entry.kind != ENTRY_REQUEST) {
            struct digest const leaf = ledger_leaf(entry.kind, entry.payload);
            cr_assert(tree_append(&tree, &leaf));
        }
    }
    path[0] = tree_leaf(&tree, index);
    uint32_t const count = 1 + tree_inclusion_path(&tree, path + 1, index, size);
    tree_free(&tree);
    return count;
}

Test(audit_views, batches_of_one_ledger_are_no_fork) {
    struct digest path[MERKLE_DEPTH_MAX + 1];
    story_append_honest(&story, 10);
    change_view(&forge, 1);
    story_append_honest(&story, 10);
    for (uint64_t a = 1; a <= 20; a++) {
        for (uint64_t b = 1; b <= 20; b++) {
            const struct pre_prepare *const later = &forge_batch_at(&forge, b)->body;
            struct forgery forgery;
            accuse(&forgery, PROOF_FORKED_VIEW);
            forgery.proof.certificate_count = 2;
            forgery.proof.certificates[0] = certificate_of(&forgery, &forge, a);
            forgery.proof.certificates[1] = certificate_of(&forgery, &forge, b);
            cr_assert_eq(forgery_check(&forgery), PROOF_NO_CONFLICT);
            forgery.proof.path = path;
            for (uint64_t index = 0; index < later->ledger_leaves; index += 3) {
                forgery.proof.path_count = path_in(&forge, path, index, later->ledger_leaves);
                cr_assert_eq(forgery_check(&forgery), PROOF_NO_CONFLICT);
            }
            uint64_t const own = forge_batch_at(&forge, a)->body.ledger_leaves;
            if (own < later->ledger_leaves) {
                forgery.proof.path_count = path_in(&forge, path, own, later->ledger_leaves);
                cr_assert_eq(forgery_check(&forgery), PROOF_NO_CONFLICT);
            }
            forgery_close(&forgery);
        }
    }
}

/*
 * A backup that crashed may have forgotten a prepare, and sign what comes later in another ledger:
 * the earlier batch must be the one with nonces.
 */
Test(audit_views, a_forgotten_prepare_is_no_fork) {
    struct fork fork;
    fork_before_change(&fork, 2);
    struct forgery forgery;
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    uint64_t const prepared = report->findings[0].verdict.seq;
    forgery_open(&forgery, file_of(report, PROOF_FORKED_VIEW));
    while (forge_seq(&fork.forge) <= prepared) {
        story_append(&fork.story, 1, 1, RULE_NONE);
    }
    forgery.proof.certificates[0] = certificate_of(&forgery, &fork.forge, prepared + 1);
    cr_assert_eq(forgery_check(&forgery), PROOF_NO_CONFLICT);
    forgery.proof.path_count = 0;
    cr_assert_eq(forgery_check(&forgery), PROOF_NO_CONFLICT);
    forgery.proof.certificates[0] = certificate_of(&forgery, &fork.forge, prepared);
    cr_assert_eq(forgery_check(&forgery), PROOF_VALID, "two statements for one batch");
    forgery_close(&forgery);
    fork_close(&fork);
}

Test(audit_views, honest_new_views_break_no_rule) {
    lie_about_view(RULE_VIEW_CHOICE, 0, 0x7);
    give_ledger(&forge);
    struct forgery forgery;
    struct forge_view first;
    memcpy(&first, forge.views.data, sizeof first);
    forgery_open(&forgery, file_of(run(EXIT_MISBEHAVIOUR), PROOF_BROKEN_NEW_VIEW));
    uint32_t const all = forgery.proof.fragment.entry_count;
    for (enum rule rule = RULE_NONE; rule < RULE_COUNT; rule = (enum rule)(rule + 1)) {
        forgery.proof.fragment.entry_count = all;
        forgery.proof.rule = span_text(rule_name(rule));
        cr_assert_eq(forgery_check(&forgery) == PROOF_VALID, rule == RULE_VIEW_CHOICE);
        forgery.proof.fragment.entry_count = all - 2; /* without the new view that is a lie */
        cr_assert_eq(forgery_check(&forgery), PROOF_NOTHING_BROKEN);
    }
    forgery_close(&forgery);
}

/*
 * A primary signed two new views of one number. Backups that followed the sound one are not to
 * blame for the other.
 */
Test(audit_views, who_prepared_in_another_view_of_that_number) {
    struct fork sound;
    fork_open(&sound);
    struct story *const tellers[] = {&story, &sound.story};
    for (unsigned i = 0; i < 2; i++) {
        story_append_honest(tellers[i], 12);
        story_append(tellers[i], 1, 1, RULE_NONE);
    }
    change_view(&sound.forge, 1);
    sound.forge.signers = 0xe;
    story_append_honest(&sound.story, 4);
    forge.signers = 0x7;
    forge_change_view(&forge, &(struct forge_view_order){.view = 1, .lie = RULE_VIEW_CHOICE});
    story_append(&story, 1, 1, RULE_NONE);
    story_append(&story, 1, 1, RULE_NONE);
    give_ledger(&forge);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    cr_assert_eq(blamed_by(report, PROOF_BROKEN_NEW_VIEW), 0x7);
    struct forgery forgery;
    forgery_open(&forgery, file_of(report, PROOF_BROKEN_NEW_VIEW));
    for (uint64_t seq = 12; seq <= forge_seq(&sound.forge); seq++) {
        forgery.proof.certificates[0] = certificate_of(&forgery, &sound.forge, seq);
        cr_assert_eq(forgery_check(&forgery), PROOF_FRAGMENT);
    }
    /* With a batch of the sound view behind the new view that is a lie. */
    const struct forge_batch *const first = forge_batch_at(&sound.forge, 13);
    struct entry *const entries =
        arena_alloc(&forgery.arena, (forgery.proof.fragment.entry_count + 2u) * sizeof *entries);
    uint32_t count = 0;
    while (forgery.proof.fragment.entries[count].kind != ENTRY_NEW_VIEW) {
        entries[count] = forgery.proof.fragment.entries[count];
        count++;
    }
    entries[count] = forgery.proof.fragment.entries[count];
    count++;
    for (uint32_t i = 0; i < first->entry_count; i++) {
        struct entry const entry = forge_entry_at(&sound.forge, first->first_entry + i);
        if (entry.kind != ENTRY_REQUEST) {
            entries[count++] = entry;
        }
    }
    forgery.proof.fragment.entries = entries;
    forgery.proof.fragment.entry_count = count;
    forgery.proof.certificates[0] = certificate_of(&forgery, &sound.forge, 13);
    cr_assert_eq(forgery_check(&forgery), PROOF_FRAGMENT);
    forgery_close(&forgery);
    fork_close(&sound);
}
