/*
 * view_takeover: what follows a new view. The chain it chose must lead from the ledger to what was
 * signed (RULE_VIEW_LINK), its batches must be proposed again as they were (RULE_REPROPOSAL), and
 * the first of them brings back the evidence that was cut off (RULE_EVIDENCE_RANGE).
 *
 * The ledger: batches 1..5, each with evidence for all before it, then 6 and 7 without; so the
 * chain of batch 7 is 5, 6, 7 behind batch 4, and its first item has evidence.
 */
#include <criterion/criterion.h>

#include "ledger/derive.h"
#include "tests/unit/view_fixture.h"

#define Q 3u
#define BASE 4u
#define LAST 7u
#define VIEW 8u
#define CHAIN (LAST - BASE)

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

TestSuite(view_takeover, .init = set_up, .fini = tear_down, .timeout = 120);

/* ---- the link ---- */

typedef void (*body_lie)(struct pre_prepare bodies[static CHAIN]);

/* What colluders do to the pre-prepares of a chain before they sign them again. */
struct chain_lie {
    body_lie lie;
    bool relink;           /* state the roots that the chain then has */
    uint32_t wrong_root;   /* but for the batch in this place, counted from 1; 0: for all */
    uint64_t leaves_added; /* to the leaves that each of them states */
};

/* Put the nth batch into the chain, with its root if that is wanted, and its leaf into M. */
static void put_item(struct claim_draft *draft, struct frontier *leaves, uint32_t nth,
                     const struct pre_prepare *stated, const struct chain_lie *lie) {
    struct chain_item *const item = &draft->chain[nth];
    struct pre_prepare body = *stated;
    struct buffer encoded;
    if (item->has_evidence) {
        frontier_append(leaves, &item->evidence_leaf);
    }
    if (lie->relink) {
        body.ledger_root = frontier_root(leaves);
        body.ledger_leaves = leaves->leaf_count + lie->leaves_added;
        body.ledger_root.bytes[31] ^= lie->wrong_root == nth + 1;
    }
    item->pre_prepare = book_sign_pre_prepare(&book, &body);
    buffer_init(&encoded, STATEMENT_SIZE_MAX);
    cr_assert(signed_encode(&encoded, &item->pre_prepare));
    struct digest const leaf = ledger_leaf(ENTRY_PRE_PREPARE, buffer_span(&encoded));
    frontier_append(leaves, &leaf);
    buffer_free(&encoded);
}

static void claims_of(struct signed_body claims[static Q], const struct book_batch *shown,
                      const struct chain_lie *lie) {
    struct pre_prepare bodies[CHAIN];
    const struct book_batch *batch = shown;
    for (uint32_t i = CHAIN; i > 0; i--, batch = batch->before) {
        bodies[i - 1] = batch->body;
    }
    lie->lie(bodies);
    for (uint32_t r = 0; r < Q; r++) {
        struct claim_draft draft;
        struct frontier leaves = book_base_of(&book, shown)->after.frontier;
        book_draft_claim(&book, &draft, &(struct claim_order){r, VIEW, shown});
        for (uint32_t i = 0; i < CHAIN; i++) {
            put_item(&draft, &leaves, i, &bodies[i], lie);
        }
        book_certify(&book, &draft, draft.body.signers);
        claims[r] = book_sign_claim(&book, &draft);
    }
}

static enum rule enter_with(const struct signed_body claims[static Q]) {
    struct view_draft draft;
    book_draft_view(&book, &draft, VIEW, claims, Q);
    return book_enter(&book, book_sign_view(&book, &draft));
}

static enum rule enter_lie(const struct chain_lie *lie) {
    struct signed_body claims[Q];
    claims_of(claims, last, lie);
    book_go(&book, book_base_of(&book, last));
    return enter_with(claims);
}

static void truth(struct pre_prepare bodies[static CHAIN]) {
    (void)bodies;
}

static void link_root_of_first(struct pre_prepare bodies[static CHAIN]) {
    bodies[0].ledger_root.bytes[0] ^= 1;
}

static void link_root_of_last(struct pre_prepare bodies[static CHAIN]) {
    bodies[2].ledger_root.bytes[0] ^= 1;
}

/* Its root is right, but the next one is not over it. */
static void link_other_body(struct pre_prepare bodies[static CHAIN]) {
    bodies[0].nonce_hash.bytes[0] ^= 1;
}

static void link_leaves(struct pre_prepare bodies[static CHAIN]) {
    for (uint32_t i = 0; i < CHAIN; i++) {
        bodies[i].ledger_leaves++;
    }
}

Test(view_takeover, a_chain_leads_to_the_root_that_is_signed) {
    static const body_lie lies[] = {link_root_of_first, link_root_of_last, link_other_body,
                                    link_leaves};
    const struct book_unit *const end = book.end;
    cr_assert(rule_convicts(RULE_VIEW_LINK));
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        expect_rule(enter_lie(&(struct chain_lie){.lie = lies[i]}), RULE_VIEW_LINK);
        book_go(&book, end);
    }
    expect_rule(enter_lie(&(struct chain_lie){.lie = truth}), RULE_NONE);
}

/* The last root is over a chain in which an earlier batch states a wrong one. */
Test(view_takeover, every_root_of_a_chain_is_right) {
    const struct book_unit *const end = book.end;
    for (uint32_t wrong = 1; wrong <= CHAIN; wrong++) {
        expect_rule(
            enter_lie(&(struct chain_lie){.lie = truth, .relink = true, .wrong_root = wrong}),
            RULE_VIEW_LINK);
        book_go(&book, end);
    }
    expect_rule(enter_lie(&(struct chain_lie){.lie = truth, .relink = true, .leaves_added = 1}),
                RULE_VIEW_LINK);
    book_go(&book, end);
    expect_rule(enter_lie(&(struct chain_lie){.lie = truth, .relink = true}), RULE_NONE);
}

Test(view_takeover, leaves_of_evidence_are_those_signed) {
    struct signed_body claims[Q];
    for (uint32_t r = 0; r < Q; r++) {
        struct claim_draft draft;
        book_draft_claim(&book, &draft, &(struct claim_order){r, VIEW, last});
        draft.chain[0].evidence_leaf.bytes[r] ^= 1;
        claims[r] = book_sign_claim(&book, &draft);
    }
    book_go(&book, book_base_of(&book, last));
    expect_rule(enter_with(claims), RULE_VIEW_LINK);
}

/* The same number, view and indices, on other ground. */
Test(view_takeover, a_chain_continues_this_ledger) {
    struct signed_body claims[Q];
    book_claims(&book, claims, VIEW, last);
    book_go(&book, book.genesis);
    book_append(&book, BASE);
    cr_assert_eq(book_now(&book)->entries, book_base_of(&book, last)->after.entries);
    expect_rule(enter_with(claims), RULE_VIEW_LINK);
    book_go(&book, book_base_of(&book, last));
    expect_rule(enter_with(claims), RULE_NONE);
}

/*
 * Colluders certify, in a view that took over 5..7, other batches under these numbers, and show
 * that. The new view that chooses it would lose what was committed before, and nobody but those
 * who signed in that view could be blamed: their chain does not follow from its new view.
 */
static void other_content(struct pre_prepare bodies[static CHAIN]) {
    bodies[1].batch_root.bytes[0] ^= 1;
}

static void other_time(struct pre_prepare bodies[static CHAIN]) {
    bodies[2].time_ms++;
}

/* Or they state that less was taken over, so that less ranks. */
static void other_view_start(struct pre_prepare bodies[static CHAIN]) {
    for (uint32_t i = 0; i < CHAIN; i++) {
        bodies[i].view_start = 0;
    }
}

Test(view_takeover, a_chain_holds_what_its_own_view_took_over) {
    static const body_lie lies[] = {other_content, other_time, other_view_start};
    book_change_view(&book, 1, last);
    book_repropose(&book);
    const struct book_unit *const end = book.end;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct signed_body claims[Q];
        claims_of(claims, end->last, &(struct chain_lie){.lie = lies[i], .relink = true});
        book_go(&book, book_base_of(&book, end->last));
        enum rule const rule = enter_with(claims);
        cr_assert(rule_convicts(rule), "lie %zu: %s", i, rule_name(rule));
        book_go(&book, end);
    }
}

/* ---- proposing again ---- */

typedef void (*batch_lie)(struct book_batch *batch);

/* The next batch that is owed, with a lie before it is signed. */
static struct book_batch *draft_owed(batch_lie lie) {
    struct book_batch *const batch =
        book_draft(&book, &(struct batch_order){.again = book_owed(&book),
                                                .evidence_upto = BOOK_EVIDENCE_ALL});
    lie(batch);
    book_sign(&book, batch);
    return batch;
}

static void batch_truth(struct book_batch *batch) {
    (void)batch;
}

static void batch_other_requests(struct book_batch *batch) {
    batch->requests[0] = book_request(&book);
    book_put_requests(&book, batch);
}

static void batch_fewer_requests(struct book_batch *batch) {
    batch->request_count--;
    book_put_requests(&book, batch);
}

static void batch_more_requests(struct book_batch *batch) {
    batch->requests[batch->request_count++] = book_request(&book);
    book_put_requests(&book, batch);
}

static void batch_no_requests(struct book_batch *batch) {
    batch->request_count = 0;
    book_put_requests(&book, batch);
}

static void batch_later(struct book_batch *batch) {
    batch->body.time_ms++;
}

static void batch_earlier(struct book_batch *batch) {
    batch->body.time_ms--;
}

/* The batch that comes next but one, under this number: the one owed is missing. */
static void batch_of_next(struct book_batch *batch) {
    const struct book_view *const view = book.end->in_force;
    const struct book_batch *const next = view->carried[batch->body.seq - BASE];
    batch->request_count = next->request_count;
    memcpy(batch->requests, next->requests, sizeof next->requests);
    batch->body.time_ms = next->body.time_ms;
    book_put_requests(&book, batch);
}

Test(view_takeover, proposes_the_same_batches_again) {
    static const batch_lie lies[] = {
        batch_other_requests, batch_fewer_requests, batch_more_requests, batch_no_requests,
        batch_later,          batch_earlier,        batch_of_next};
    cr_assert(rule_convicts(RULE_REPROPOSAL));
    book_change_view(&book, VIEW, last);
    while (book_owed(&book) != NULL) {
        bool const is_last = book_now(&book)->seq + 1 == LAST;
        for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
            if (!is_last || lies[i] != batch_of_next) {
                expect_rule(book_add(&book, draft_owed(lies[i])), RULE_REPROPOSAL);
            }
        }
        expect_rule(book_add(&book, draft_owed(batch_truth)), RULE_NONE);
    }
    book_append(&book, 1);
}

Test(view_takeover, proposes_requests_in_the_same_order) {
    book_go(&book, book_base_of(&book, last));
    struct book_batch *const two = book_draft(
        &book, &(struct batch_order){.request_count = 2, .evidence_upto = BOOK_EVIDENCE_ALL});
    book_sign(&book, two);
    expect_rule(book_add(&book, two), RULE_NONE);
    book_change_view(&book, VIEW, two);
    struct book_batch *const batch =
        book_draft(&book, &(struct batch_order){.again = two, .evidence_upto = BASE});
    batch->requests[0] = two->requests[1];
    batch->requests[1] = two->requests[0];
    book_put_requests(&book, batch);
    book_sign(&book, batch);
    expect_rule(book_add(&book, batch), RULE_REPROPOSAL);
    expect_rule(book_add(&book, draft_owed(batch_truth)), RULE_NONE);
}

/* ---- a batch that is owed breaks other rules first ---- */

static void batch_skips(struct book_batch *batch) {
    batch->body.seq++;
}

static void batch_repeats(struct book_batch *batch) {
    batch->body.seq--;
}

static void batch_of_old_view(struct book_batch *batch) {
    batch->body.view = 0;
}

static void batch_of_next_view(struct book_batch *batch) {
    batch->body.view++;
}

static void batch_no_view_start(struct book_batch *batch) {
    batch->body.view_start = 0;
}

static void batch_lower_view_start(struct book_batch *batch) {
    batch->body.view_start--;
}

static void batch_higher_view_start(struct book_batch *batch) {
    batch->body.view_start++;
}

static void batch_index(struct book_batch *batch) {
    batch->body.first_index++;
    book_put_requests(&book, batch);
}

static void batch_count(struct book_batch *batch) {
    batch->body.tx_count++;
}

Test(view_takeover, stands_in_its_place_in_the_new_view) {
    static const struct {
        batch_lie lie;
        enum rule rule;
    } lies[] = {
        {batch_skips, RULE_SEQUENCE},
        {batch_repeats, RULE_SEQUENCE},
        {batch_of_old_view, RULE_VIEW},
        {batch_of_next_view, RULE_VIEW},
        {batch_no_view_start, RULE_VIEW_START},
        {batch_lower_view_start, RULE_VIEW_START},
        {batch_higher_view_start, RULE_VIEW_START},
        {batch_index, RULE_FIRST_INDEX},
        {batch_count, RULE_TX_COUNT},
    };
    book_change_view(&book, VIEW, last);
    for (unsigned round = 0; round < 2; round++) { /* among those taken over, and after them */
        for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
            struct book_batch *const batch =
                book_draft(&book, &(struct batch_order){.request_count = 1,
                                                        .again = book_owed(&book),
                                                        .evidence_upto = BOOK_EVIDENCE_ALL});
            lies[i].lie(batch);
            book_sign(&book, batch);
            expect_rule(book_add(&book, batch), lies[i].rule);
        }
        book_repropose(&book);
    }
}

/* ---- what colluders certified ---- */

/*
 * A chain that links, and that nobody could have made by the rules: the new view obliges to every
 * part of it, so that a batch which keeps the other rules is not the one taken over.
 */
static void carried_root(struct pre_prepare bodies[static CHAIN]) {
    bodies[0].batch_root.bytes[0] ^= 1;
}

static void carried_index(struct pre_prepare bodies[static CHAIN]) {
    for (uint32_t i = 0; i < CHAIN; i++) {
        bodies[i].first_index++;
    }
}

static void carried_count(struct pre_prepare bodies[static CHAIN]) {
    bodies[0].tx_count++;
    bodies[1].first_index++;
    bodies[2].first_index++;
}

static void carried_time(struct pre_prepare bodies[static CHAIN]) {
    bodies[0].time_ms--;
}

static void carried_kind(struct pre_prepare bodies[static CHAIN]) {
    bodies[0].kind = BATCH_END_OF_CONFIGURATION;
}

static void carried_governance(struct pre_prepare bodies[static CHAIN]) {
    bodies[0].gov_index++;
}

Test(view_takeover, every_part_of_a_batch_is_owed) {
    static const body_lie lies[] = {carried_root, carried_index, carried_count,
                                    carried_time, carried_kind,  carried_governance};
    const struct book_unit *const end = book.end;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        expect_rule(enter_lie(&(struct chain_lie){.lie = lies[i], .relink = true}), RULE_NONE);
        struct book_batch *const batch =
            book_draft(&book, &(struct batch_order){.again = book_batch_at(&book, BASE),
                                                    .evidence_upto = BOOK_EVIDENCE_ALL});
        const struct book_batch *const was = end->last->before->before;
        batch->request_count = was->request_count;
        memcpy(batch->requests, was->requests, sizeof was->requests);
        batch->body.time_ms = was->body.time_ms;
        book_put_requests(&book, batch);
        book_sign(&book, batch);
        cr_assert(digest_equal(&batch->body.batch_root, &was->body.batch_root));
        expect_rule(book_add(&book, batch), RULE_REPROPOSAL);
        book_go(&book, end);
    }
}

/* And what is owed but breaks another rule cannot be proposed at all. */
Test(view_takeover, a_batch_that_is_owed_breaks_no_other_rule) {
    static const struct {
        body_lie lie;
        enum rule rule;
    } lies[] = {
        {carried_index, RULE_FIRST_INDEX},
        {carried_kind, RULE_BATCH_KIND},
        {carried_governance, RULE_GOVERNANCE_INDEX},
    };
    const struct book_unit *const end = book.end;
    const struct book_batch *const was = end->last->before->before;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct pre_prepare stated[CHAIN] = {was->body, was->body, was->body};
        expect_rule(enter_lie(&(struct chain_lie){.lie = lies[i].lie, .relink = true}), RULE_NONE);
        lies[i].lie(stated);
        struct book_batch *const batch = book_draft(
            &book, &(struct batch_order){.again = was, .evidence_upto = BOOK_EVIDENCE_ALL});
        batch->body.first_index = stated[0].first_index;
        batch->body.kind = stated[0].kind;
        batch->body.gov_index = stated[0].gov_index;
        book_put_requests(&book, batch);
        book_sign(&book, batch);
        expect_rule(book_add(&book, batch), lies[i].rule);
        book_go(&book, end);
    }
}

/* ---- evidence ---- */

/* The next batch that is owed, with evidence up to this one. */
static enum rule propose_upto(uint64_t upto) {
    struct book_batch *const batch =
        book_draft(&book, &(struct batch_order){.again = book_owed(&book), .evidence_upto = upto});
    book_sign(&book, batch);
    return book_add(&book, batch);
}

Test(view_takeover, the_first_batch_brings_all_evidence_back) {
    book_change_view(&book, 1, last);
    cr_assert_eq(book_now(&book)->evidence_upto, BASE - 1); /* that for 4 was cut off */
    for (uint64_t upto = 0; upto <= LAST; upto++) {
        if (upto != BASE) {
            expect_rule(propose_upto(upto), RULE_EVIDENCE_RANGE);
        }
    }
    expect_rule(propose_upto(BASE), RULE_NONE);
    expect_rule(propose_upto(BASE), RULE_NONE); /* the second may lag */
    expect_rule(propose_upto(BASE + 1), RULE_NONE);
    /* and so it is in the next view, after several new views too */
    book_change_view(&book, 2, book.end->last);
    cr_assert_eq(book_now(&book)->view_seq, BASE + 1);
    book_repropose(&book);
    book_change_view(&book, 3, book.end->last);
    cr_assert_eq(book_now(&book)->view_seq, BASE + 1);
    cr_assert_eq(book_now(&book)->evidence_upto, BASE);
    expect_rule(propose_upto(BASE), RULE_EVIDENCE_RANGE);
    expect_rule(propose_upto(BASE + 1), RULE_NONE);
}

/* In view 0, and where no view begins, evidence may lag by a pipeline. */
Test(view_takeover, other_batches_may_lag) {
    book_append_bare(&book, 1);
    struct book_batch *const batch = book_draft(
        &book, &(struct batch_order){.request_count = 1, .evidence_upto = BOOK_EVIDENCE_NONE});
    book_sign(&book, batch);
    expect_rule(book_add(&book, batch), RULE_EVIDENCE_RANGE);
    book_change_view(&book, 1, book.end->last);
    book_repropose(&book);
    cr_assert_eq(book_now(&book)->seq, 8);
    struct book_batch *const next = book_draft(
        &book, &(struct batch_order){.request_count = 1, .evidence_upto = BOOK_EVIDENCE_NONE});
    book_sign(&book, next);
    expect_rule(book_add(&book, next), RULE_EVIDENCE_RANGE);
}

/* Evidence for the base is that of the view in which it was proposed, by its primary. */
Test(view_takeover, evidence_is_for_the_batch_that_stands) {
    book_change_view(&book, 1, last);
    struct book_batch *batch =
        book_draft(&book, &(struct batch_order){.again = book_owed(&book),
                                                .evidence_upto = BOOK_EVIDENCE_ALL});
    batch->body.evidence_signers[0] = 0xe; /* a quorum, but without the primary of view 0 */
    book_sign(&book, batch);
    expect_rule(book_add(&book, batch), RULE_EVIDENCE_SIGNERS);
    book_repropose(&book);
    const struct book_batch *const first = book_batch_at(&book, BASE + 1);
    cr_assert_eq(first->signers, 0xe);
    batch = book_draft(
        &book, &(struct batch_order){.request_count = 1, .evidence_upto = BOOK_EVIDENCE_ALL});
    batch->body.evidence_signers[0] = 0xd; /* a quorum, but without the primary of view 1 */
    book_sign(&book, batch);
    expect_rule(book_add(&book, batch), RULE_EVIDENCE_SIGNERS);
}

/* ---- empty batches ---- */

Test(view_takeover, an_empty_batch_may_be_taken_over) {
    book_go(&book, book_base_of(&book, last)->before);
    book_append_bare(&book, 2);
    struct book_batch *const empty = book_draft(
        &book, &(struct batch_order){.evidence_upto = BASE - 1}); /* nothing but evidence */
    book_sign(&book, empty);
    expect_rule(book_add(&book, empty), RULE_NONE);
    book_change_view(&book, VIEW, empty);
    const struct book_unit *const base = book.end;
    book_repropose(&book);
    cr_assert_eq(book.end->last->body.tx_count, 0);
    cr_assert_eq(book.end->last->body.evidence_count, 0);
    cr_assert_eq(book_now(&book)->seq, empty->body.seq);
    struct book_batch *const next =
        book_draft(&book, &(struct batch_order){.evidence_upto = BOOK_EVIDENCE_NONE});
    book_sign(&book, next);
    expect_rule(book_add(&book, next), RULE_BATCH_EMPTY);
    /* instead of one that is owed and not empty */
    book_go(&book, base);
    struct book_batch *const first =
        book_draft(&book, &(struct batch_order){.evidence_upto = BOOK_EVIDENCE_ALL});
    book_sign(&book, first);
    expect_rule(book_add(&book, first), RULE_REPROPOSAL);
}
