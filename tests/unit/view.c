/*
 * view: tests of ledger/view.h and of what ledger/checker_view.c judges: which new views follow
 * from their view-changes and from the ledger before them, and what a view must propose again.
 * Each rule has vectors that must fail with that very rule; histories are in view_history.c, what
 * random ones add in view_random.c.
 *
 * The ledger of most tests: batches 1..5, each with evidence for all before it, then 6 and 7
 * without. So the certificate of batch 7 shows a chain of 5, 6, 7 that continues batch 4.
 */
#include <criterion/criterion.h>

#include "execution/replay.h"
#include "tests/unit/view_fixture.h"

#define Q 3u /* of four replicas */
#define BASE 4u
#define LAST 7u
#define VIEW 8u /* asked for in most tests: its primary is replica 0, as that of view 0 */

static struct consortium consortium;
static struct book book;
static const struct book_batch *last;

static void set_up(void) {
    consortium_found(&consortium, &(struct consortium_options){.checkpoint_interval = 1000});
    book_open(&book, &consortium);
    book_append(&book, 5);
    book_append_bare(&book, 2);
    last = book_batch_at(&book, LAST);
}

static void tear_down(void) {
    book_close(&book);
    consortium_free(&consortium);
}

TestSuite(view, .init = set_up, .fini = tear_down, .timeout = 120);

/* Enter the view that an honest primary makes of these view-changes where the book ends. */
static enum rule enter_with(uint64_t view, const struct signed_body *claims, uint32_t count) {
    struct view_draft draft;
    book_draft_view(&book, &draft, view, claims, count);
    return book_enter(&book, book_sign_view(&book, &draft));
}

/* ---- what holds ---- */

Test(view, takes_over_what_was_prepared) {
    const struct book_batch *const again[] = {book_batch_at(&book, 5), book_batch_at(&book, 6),
                                              last};
    book_change_view(&book, VIEW, last);
    const struct ledger_position *const now = checker_position(book.checker);
    cr_assert_eq(now->seq, BASE);
    cr_assert_eq(now->view, VIEW);
    cr_assert_eq(now->view_start, LAST);
    cr_assert_eq(now->view_seq, BASE);
    for (uint64_t seq = 0; seq < 10; seq++) {
        const struct carried_batch *const carried = checker_carried(book.checker, seq);
        if (seq <= BASE || seq > LAST) {
            cr_assert(carried == NULL);
            continue;
        }
        const struct pre_prepare *const body = &again[seq - BASE - 1]->body;
        cr_assert_eq(carried->seq, seq);
        cr_assert(digest_equal(&carried->batch_root, &body->batch_root));
        cr_assert_eq(carried->first_index, body->first_index);
        cr_assert_eq(carried->tx_count, body->tx_count);
        cr_assert_eq(carried->time_ms, body->time_ms);
        cr_assert_eq(carried->kind, BATCH_NORMAL);
        cr_assert_eq(carried->gov_index, 0);
    }
    book_repropose(&book);
    cr_assert_eq(book_now(&book)->seq, LAST);
    book_append(&book, 3);
    cr_assert_eq(book_now(&book)->view_start, LAST);
}

Test(view, begins_at_genesis_when_nothing_was_prepared) {
    book_change_view(&book, VIEW, NULL);
    cr_assert_eq(book_now(&book)->entries, 3);
    cr_assert(checker_carried(book.checker, 1) == NULL);
    book_append(&book, 6);
}

Test(view, several_after_one_batch) {
    book_change_view(&book, 1, last);
    book_repropose(&book);
    const struct book_batch *const first = book.end->last;
    book_change_view(&book, 2, first);
    book_repropose(&book);
    book_change_view(&book, 9, book.end->last); /* skips views */
    cr_assert_eq(book_now(&book)->seq, BASE);
    cr_assert_eq(book.end->before->after.view, 2);
    cr_assert_eq(book.end->before->before->after.view, 1);
    book_repropose(&book);
    book_append(&book, 2);
    book_change_view(&book, 10, first); /* hides view 9, and what followed view 1 */
    cr_assert_eq(book.end->before->after.view, 1);
    cr_assert_eq(book_now(&book)->view_start, LAST);
    book_repropose(&book);
    book_append(&book, 2);
}

/* A certificate of the view before it, of its last batch; and view-changes that show less. */
Test(view, takes_the_highest_of_different_certificates) {
    struct signed_body claims[Q];
    for (uint32_t highest = 0; highest < Q; highest++) {
        for (uint32_t r = 0; r < Q; r++) {
            const struct book_batch *const shown = r == highest ? last
                                                   : r == 0     ? NULL
                                                                : book_batch_at(&book, 6);
            claims[r] = book_claim(&book, &(struct claim_order){r, VIEW, shown});
        }
        const struct book_unit *const end = book.end;
        book_go(&book, book_base_of(&book, last));
        expect_rule(enter_with(VIEW, claims, Q), RULE_NONE);
        cr_assert_eq(book_now(&book)->view_start, LAST);
        book_go(&book, end);
    }
}

Test(view, any_quorum_may_ask) {
    static const uint32_t authors[][Q] = {{0, 1, 2}, {0, 1, 3}, {0, 2, 3}, {1, 2, 3}};
    for (size_t i = 0; i < sizeof authors / sizeof authors[0]; i++) {
        struct signed_body claims[Q];
        for (uint32_t k = 0; k < Q; k++) {
            claims[k] = book_claim(&book, &(struct claim_order){authors[i][k], VIEW, last});
        }
        const struct book_unit *const end = book.end;
        book_go(&book, book_base_of(&book, last));
        expect_rule(enter_with(VIEW, claims, Q), RULE_NONE);
        book_go(&book, end);
    }
}

/* ---- by itself ---- */

Test(view, ranks_by_view_first) {
    static const struct rank ascending[] = {{0, 0}, {0, 1}, {0, UINT64_MAX},
                                            {1, 0}, {1, 7}, {2, 1}};
    for (size_t i = 0; i < sizeof ascending / sizeof ascending[0]; i++) {
        for (size_t k = 0; k < sizeof ascending / sizeof ascending[0]; k++) {
            int const order = rank_compare(ascending[i], ascending[k]);
            cr_assert_eq((order > 0) - (order < 0), (i > k) - (i < k));
        }
    }
    struct view_claim const claims[] = {{.rank = {0, 3}}, {.rank = {1, 2}}, {.rank = {1, 2}}};
    cr_assert_eq(view_claims_choose(claims, 1), 0);
    cr_assert_eq(view_claims_choose(claims, 3), 1);
}

static enum rule judge_claim(struct view_claim *claim, struct arena *arena,
                             const struct signed_body *statement) {
    struct sign_sink const sink = book_sink(&book);
    return view_change_judge(claim, arena, &consortium.configuration, statement, &sink);
}

Test(view, a_view_change_tells_what_it_shows) {
    struct view_claim claim;
    struct arena arena;
    arena_init(&arena, 1u << 20);
    struct signed_body statement = book_claim(&book, &(struct claim_order){2, VIEW, last});
    expect_rule(judge_claim(&claim, &arena, &statement), RULE_NONE);
    struct digest const digest = hash_statement(
        LABEL_VIEW_CHANGE, &consortium.configuration.service, statement.body, &statement.signature);
    cr_assert(digest_equal(&claim.digest, &digest));
    cr_assert_eq(claim.rank.view, 0);
    cr_assert_eq(claim.rank.seq, LAST);
    cr_assert_eq(claim.view_change.chain_count, LAST - BASE);
    for (uint32_t i = 0; i < LAST - BASE; i++) {
        const struct book_batch *const batch = book_batch_at(&book, BASE + 1 + i);
        cr_assert_eq(claim.batches[i].seq, BASE + 1 + i);
        cr_assert(digest_equal(&claim.batch_digests[i], &batch->digest));
        cr_assert(digest_equal(&claim.batches[i].batch_root, &batch->body.batch_root));
        cr_assert_eq(view_claim_carried(&claim, i).seq, BASE + 1 + i);
    }
    cr_assert(view_claim_links(&claim, &book_base_of(&book, last)->after.frontier));
    cr_assert(!view_claim_links(&claim, &book.end->after.frontier));
    statement = book_claim(&book, &(struct claim_order){2, VIEW, NULL});
    expect_rule(judge_claim(&claim, &arena, &statement), RULE_NONE);
    cr_assert_eq(rank_compare(claim.rank, (struct rank){0}), 0);
    cr_assert(view_claim_links(&claim, &book.end->after.frontier));
    arena_free(&arena);
}

Test(view, both_entries_must_decode) {
    struct signed_body claims[Q];
    struct view_draft draft;
    struct arena arena;
    struct view_unit unit;
    struct span const nothing = {.data = NULL};
    struct span const garbage = span_text("no entry");
    arena_init(&arena, 1u << 22);
    book_claims(&book, claims, VIEW, last);
    book_draft_view(&book, &draft, VIEW, claims, Q);
    const struct view_unit *const good = &book_sign_view(&book, &draft)->unit;
    cr_assert_eq(view_unit_decode(&unit, &arena, good->set_payload, good->entry_payload), CODEC_OK);
    cr_assert_neq(view_unit_decode(&unit, &arena, nothing, good->entry_payload), CODEC_OK);
    cr_assert_neq(view_unit_decode(&unit, &arena, garbage, good->entry_payload), CODEC_OK);
    cr_assert_neq(view_unit_decode(&unit, &arena, good->set_payload, nothing), CODEC_OK);
    cr_assert_neq(view_unit_decode(&unit, &arena, good->set_payload, garbage), CODEC_OK);
    cr_assert_neq(view_unit_decode(&unit, &arena, good->entry_payload, good->set_payload),
                  CODEC_OK);
    arena_free(&arena);
}

/* ---- what lies there is not what was signed ---- */

typedef void (*view_lie)(struct view_draft *draft);

/* An honest new view but for what the lie does to it before it is signed. */
static void expect_of_draft(view_lie lie, enum rule expected) {
    struct signed_body claims[Q];
    struct view_draft draft;
    const struct book_unit *const end = book.end;
    book_claims(&book, claims, VIEW, last);
    book_go(&book, book_base_of(&book, last));
    book_draft_view(&book, &draft, VIEW, claims, Q);
    const struct book_view *const honest = book_sign_view(&book, &draft);
    lie(&draft);
    expect_rule(book_enter(&book, book_sign_view(&book, &draft)), expected);
    expect_rule(book_enter(&book, honest), RULE_NONE);
    book_go(&book, end);
}

static void lie_signer(struct view_draft *draft) {
    draft->signer = 1;
}

static void lie_root(struct view_draft *draft) {
    draft->body.ledger_root.bytes[31] ^= 1;
}

static void lie_leaves(struct view_draft *draft) {
    draft->body.ledger_leaves++;
}

static void lie_digest(struct view_draft *draft) {
    draft->digests[1].bytes[7] ^= 1;
}

static void lie_digest_order(struct view_draft *draft) {
    struct digest const first = draft->digests[0];
    draft->digests[0] = draft->digests[1];
    draft->digests[1] = first;
}

static void lie_digest_less(struct view_draft *draft) {
    draft->body.view_change_count--;
}

static void lie_digest_more(struct view_draft *draft) {
    draft->body.view_change_count++;
}

Test(view, what_nobody_signed_convicts_nobody) {
    static const struct {
        view_lie lie;
        enum rule rule;
    } lies[] = {
        {lie_signer, RULE_SIGNATURE},      {lie_root, RULE_LEDGER_ROOT},
        {lie_leaves, RULE_LEDGER_ROOT},    {lie_digest, RULE_VIEW_SET},
        {lie_digest_order, RULE_VIEW_SET}, {lie_digest_less, RULE_VIEW_SET},
        {lie_digest_more, RULE_VIEW_SET},
    };
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        cr_assert(!rule_convicts(lies[i].rule));
        expect_of_draft(lies[i].lie, lies[i].rule);
    }
}

/* Other entries under the same signature; a signature in another place. */
Test(view, a_set_that_was_exchanged_convicts_nobody) {
    struct signed_body claims[Q];
    struct view_draft draft;
    struct arena arena;
    arena_init(&arena, 1u << 22);
    book_claims(&book, claims, VIEW, last);
    book_go(&book, book_base_of(&book, last));
    book_draft_view(&book, &draft, VIEW, claims, Q);
    struct book_view exchanged = *book_sign_view(&book, &draft);
    draft.claims[2] = book_claim(&book, &(struct claim_order){3, VIEW, last});
    const struct book_view *const other = book_sign_view(&book, &draft);
    cr_assert_eq(view_unit_decode(&exchanged.unit, &arena, other->unit.set_payload,
                                  exchanged.unit.entry_payload),
                 CODEC_OK);
    expect_rule(book_enter(&book, &exchanged), RULE_LEDGER_ROOT);
    expect_rule(book_enter(&book, other), RULE_LEDGER_ROOT); /* its statement is of the first set */
    arena_free(&arena);
}

Test(view, a_signature_that_does_not_hold_convicts_nobody) {
    struct signed_body claims[Q];
    struct view_draft draft;
    book_claims(&book, claims, VIEW, last);
    book_go(&book, book_base_of(&book, last));
    book_draft_view(&book, &draft, VIEW, claims, Q);
    struct book_view view = *book_sign_view(&book, &draft);
    for (uint32_t bit = 0; bit < 8 * SIGNATURE_SIZE; bit += 37) {
        view.unit.statement.signature.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        expect_rule(book_enter(&book, &view), RULE_SIGNATURE);
        view.unit.statement.signature.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    view.unit.statement.signature = claims[0].signature; /* of replica 0 too: another label */
    expect_rule(book_enter(&book, &view), RULE_SIGNATURE);
}

/* ---- the new view's own place ---- */

static void lie_config(struct view_draft *draft) {
    draft->body.config++;
}

Test(view, names_the_configuration_in_force) {
    cr_assert(rule_convicts(RULE_CONFIGURATION));
    expect_of_draft(lie_config, RULE_CONFIGURATION);
}

Test(view, rises) {
    struct signed_body claims[Q];
    book_change_view(&book, 5, last);
    book_repropose(&book);
    const struct book_batch *const shown = book.end->last;
    cr_assert(rule_convicts(RULE_VIEW_ORDER));
    book_go(&book, book_base_of(&book, shown));
    for (uint64_t view = 1; view <= 5; view++) {
        book_claims(&book, claims, view, shown);
        expect_rule(enter_with(view, claims, Q), RULE_VIEW_ORDER);
    }
    book_claims(&book, claims, 6, shown);
    expect_rule(enter_with(6, claims, Q), RULE_NONE);
}

/* ---- the choice ---- */

static void state_lower(struct view_draft *draft) {
    draft->body.chosen_seq--;
}

static void state_higher(struct view_draft *draft) {
    draft->body.chosen_seq++;
}

static void state_other_view(struct view_draft *draft) {
    draft->body.chosen_view++;
}

static void state_none(struct view_draft *draft) {
    draft->body.chosen_seq = 0;
}

Test(view, chooses_the_highest_certificate) {
    cr_assert(rule_convicts(RULE_VIEW_CHOICE));
    expect_of_draft(state_lower, RULE_VIEW_CHOICE);
    expect_of_draft(state_higher, RULE_VIEW_CHOICE);
    expect_of_draft(state_other_view, RULE_VIEW_CHOICE);
    expect_of_draft(state_none, RULE_VIEW_CHOICE);
}

/* What one view-change shows must not be overlooked, wherever it stands in the set. */
Test(view, ignores_no_certificate) {
    struct view_draft draft;
    struct signed_body claims[Q];
    const struct book_batch *const lower = book_batch_at(&book, 6);
    for (uint32_t highest = 0; highest < Q; highest++) {
        const struct book_unit *const end = book.end;
        for (uint32_t r = 0; r < Q; r++) {
            claims[r] =
                book_claim(&book, &(struct claim_order){r, VIEW, r == highest ? last : lower});
        }
        book_go(&book, book_base_of(&book, lower));
        book_draft_view(&book, &draft, VIEW, claims, Q);
        draft.body.chosen_seq = 6;
        expect_rule(book_enter(&book, book_sign_view(&book, &draft)), RULE_VIEW_CHOICE);
        book_go(&book, end);
    }
}

/* The longer chain of an earlier view does not outrank the shorter one of a later view. */
Test(view, chooses_by_view_before_number) {
    struct view_draft draft;
    struct signed_body claims[Q];
    book_append_bare(&book, 1);
    const struct book_batch *const longer = book.end->last;
    book_change_view(&book, 1, last);
    book_repropose(&book);
    const struct book_batch *const later = book.end->last;
    claims[0] = book_claim(&book, &(struct claim_order){0, 2, longer});
    claims[1] = book_claim(&book, &(struct claim_order){1, 2, NULL});
    claims[2] = book_claim(&book, &(struct claim_order){2, 2, later});
    book_go(&book, book_base_of(&book, longer));
    book_draft_view(&book, &draft, 2, claims, Q);
    draft.body.chosen_view = 0;
    draft.body.chosen_seq = 8;
    expect_rule(book_enter(&book, book_sign_view(&book, &draft)), RULE_VIEW_CHOICE);
    book_go(&book, book_base_of(&book, later));
    expect_rule(enter_with(2, claims, Q), RULE_NONE);
}

/* Two certificates for one number can only be colluders' work; the rules still decide. */
Test(view, of_equals_takes_the_first) {
    struct signed_body claims[Q];
    const struct book_batch *const ours = last;
    book_go(&book, ours->base->before);
    book_append_bare(&book, 2);
    const struct book_batch *const theirs = book.end->last;
    cr_assert_eq(theirs->body.seq, LAST);
    claims[0] = book_claim(&book, &(struct claim_order){0, VIEW, book_batch_at(&book, 6)});
    claims[1] = book_claim(&book, &(struct claim_order){1, VIEW, theirs});
    claims[2] = book_claim(&book, &(struct claim_order){2, VIEW, ours});
    book_go(&book, book_base_of(&book, ours));
    expect_rule(enter_with(VIEW, claims, Q), RULE_NONE);
    cr_assert(
        digest_equal(&checker_carried(book.checker, LAST)->batch_root, &theirs->body.batch_root));
    cr_assert(
        !digest_equal(&checker_carried(book.checker, LAST)->batch_root, &ours->body.batch_root));
    book_repropose(&book);
}

/* The first of equals is chosen even when its chain leads nowhere from here. */
Test(view, of_equals_does_not_take_the_one_that_fits) {
    struct signed_body claims[Q];
    book_go(&book, book.genesis);
    book_append(&book, 5);
    book_append_bare(&book, 2);
    const struct book_batch *const elsewhere = book.end->last;
    claims[0] = book_claim(&book, &(struct claim_order){0, VIEW, elsewhere});
    claims[1] = book_claim(&book, &(struct claim_order){1, VIEW, last});
    claims[2] = book_claim(&book, &(struct claim_order){2, VIEW, last});
    book_go(&book, book_base_of(&book, last));
    expect_rule(enter_with(VIEW, claims, Q), RULE_VIEW_LINK);
    book_go(&book, book_base_of(&book, elsewhere));
    expect_rule(enter_with(VIEW, claims, Q), RULE_NONE);
}

/* ---- where the ledger is cut ---- */

/* View-changes that all show this certificate, for a ledger that ends here. */
static void expect_cut(const struct book_unit *unit, uint64_t view, const struct book_batch *shown,
                       enum rule expected) {
    struct signed_body claims[Q];
    const struct book_unit *const end = book.end;
    book_claims(&book, claims, view, shown);
    book_go(&book, unit);
    expect_rule(enter_with(view, claims, Q), expected);
    book_go(&book, end);
}

Test(view, cuts_neither_too_deep_nor_too_shallow) {
    cr_assert(rule_convicts(RULE_VIEW_CUT));
    const struct book_unit *unit = book.end;
    for (; unit != NULL; unit = unit->before) {
        expect_cut(unit, VIEW, last, unit->after.seq == BASE ? RULE_NONE : RULE_VIEW_CUT);
        expect_cut(unit, VIEW, NULL, unit == book.genesis ? RULE_NONE : RULE_VIEW_CUT);
    }
}

Test(view, keeps_the_new_views_up_to_the_one_chosen) {
    const struct book_batch *shown[4] = {last}; /* of view v at v */
    const struct book_unit *units[4] = {book_base_of(&book, last)};
    for (uint64_t view = 1; view <= 3; view++) {
        book_change_view(&book, view, shown[view - 1]);
        units[view] = book.end;
        book_repropose(&book);
        shown[view] = book.end->last;
    }
    for (uint64_t chosen = 0; chosen <= 3; chosen++) {
        for (uint64_t kept = 0; kept <= 3; kept++) {
            expect_cut(units[kept], VIEW, shown[chosen],
                       kept == chosen ? RULE_NONE : RULE_VIEW_CUT);
        }
        expect_cut(units[chosen], VIEW, NULL, RULE_VIEW_CUT);
    }
}

Test(view, keeps_none_when_nothing_was_prepared) {
    book_change_view(&book, 1, NULL);
    const struct book_unit *const first = book.end;
    expect_cut(first, 2, NULL, RULE_VIEW_CUT);
    expect_cut(book.genesis, 2, NULL, RULE_NONE);
    book_append(&book, 1);
    const struct book_batch *const shown = book.end->last;
    expect_cut(first, 2, shown, RULE_NONE);
    expect_cut(book.genesis, 2, shown, RULE_VIEW_CUT);
}

/* ---- sinks ---- */

struct counted {
    uint32_t count;
    uint32_t refuse_at; /* the check that does not hold */
    uint32_t by_label[LABEL_COUNT];
    uint32_t by_rule[RULE_COUNT];
};

static bool count_check(void *context, const struct sign_check *check, enum rule rule) {
    struct counted *const counted = context;
    counted->by_label[check->label]++;
    counted->by_rule[rule]++;
    cr_assert(sign_verify(&consortium.configuration.service, check));
    return counted->count++ != counted->refuse_at;
}

Test(view, asks_for_each_signature_once) {
    uint32_t const chain = LAST - BASE;
    struct signed_body claims[Q];
    struct view_draft draft;
    book_claims(&book, claims, VIEW, last);
    book_go(&book, book_base_of(&book, last));
    book_draft_view(&book, &draft, VIEW, claims, Q);
    const struct view_unit *const unit = &book_sign_view(&book, &draft)->unit;
    struct counted counted = {.refuse_at = UINT32_MAX};
    struct sign_sink const sink = {.context = &counted, .check = count_check};
    expect_rule(checker_view_judge(book.checker, book_now(&book), unit, &sink), RULE_NONE);
    uint32_t const count = counted.count;
    cr_assert_eq(count, 1 + Q * (1 + chain + Q - 1));
    cr_assert_eq(counted.by_rule[RULE_SIGNATURE], 1);
    cr_assert_eq(counted.by_rule[RULE_VIEW_CHANGES], count - 1);
    cr_assert_eq(counted.by_label[LABEL_NEW_VIEW], 1);
    cr_assert_eq(counted.by_label[LABEL_VIEW_CHANGE], Q);
    cr_assert_eq(counted.by_label[LABEL_PRE_PREPARE], Q * chain);
    cr_assert_eq(counted.by_label[LABEL_PREPARE], Q * (Q - 1));
    for (uint32_t i = 0; i < count; i++) {
        counted = (struct counted){.refuse_at = i};
        enum rule const expected = i == 0 ? RULE_SIGNATURE : RULE_VIEW_CHANGES;
        expect_rule(checker_view_add(book.checker, unit, &sink), expected);
        cr_assert_eq(counted.count, i + 1); /* and nothing is asked behind it */
        book_expect_position(book.checker, book_now(&book));
    }
    counted = (struct counted){.refuse_at = UINT32_MAX};
    expect_rule(checker_view_add(book.checker, unit, &sink), RULE_NONE);
    cr_assert_eq(counted.count, count);
}

/* Whoever defers the question gets the answer that all else gives, and can go back. */
Test(view, a_deferred_signature_can_be_undone) {
    struct signed_body claims[Q];
    struct view_draft draft;
    book_claims(&book, claims, VIEW, last);
    claims[1].signature.bytes[0] ^= 1;
    book_go(&book, book_base_of(&book, last));
    book_draft_view(&book, &draft, VIEW, claims, Q);
    const struct book_view *const view = book_sign_view(&book, &draft);
    expect_rule(checker_view_add(book.checker, &view->unit, &sign_sink_trust), RULE_NONE);
    cr_assert_eq(checker_position(book.checker)->view, VIEW);
    checker_rollback_in(book.checker, BASE, 0);
    book_expect_position(book.checker, book_now(&book));
    expect_rule(book_enter(&book, view), RULE_VIEW_CHANGES);
}

/* ---- limits ---- */

/* All replicas that there can be, and the longest chain: sizes and budgets must suffice. */
Test(view, the_largest_new_view_there_is) {
    tear_down();
    consortium_found(&consortium, &(struct consortium_options){.replica_count = REPLICAS_MAX,
                                                               .pipeline = PIPELINE_MAX,
                                                               .checkpoint_interval = 1000});
    book_open(&book, &consortium);
    book_append_bare(&book, PIPELINE_MAX);
    const struct book_batch *const shown = book.end->last;
    book_change_view(&book, REPLICAS_MAX + 1, shown);
    cr_assert_eq(book.end->in_force->carried_count, PIPELINE_MAX);
    cr_assert_eq(book.end->view->unit.set.count, consortium.configuration.quorum);
    book_repropose(&book);
    book_append(&book, 1);
}
