/*
 * reconfiguration: tests of the checker where one configuration ends and the next begins (protocol
 * §9): what must follow a vote that passes, in any view; by whose keys it holds; and what a
 * checkpoint there keeps.
 */
#include <criterion/criterion.h>

#include "tests/unit/view_fixture.h"

static struct consortium founders;
static struct consortium successors;
static struct book book;

/* The keys of a consortium follow from numbers; others must sit in the same places here. */
static void exchange(struct consortium *consortium, uint32_t a, uint32_t b) {
    struct replica_keys const keys = consortium->replicas[a];
    struct replica_identity const identity = consortium->configuration.replicas[a];
    consortium->replicas[a] = consortium->replicas[b];
    consortium->replicas[b] = keys;
    consortium->configuration.replicas[a] = consortium->configuration.replicas[b];
    consortium->configuration.replicas[b] = identity;
}

/* Five replicas, in other places, go on with the founders' service. */
static void set_up(void) {
    consortium_found(&founders, &(struct consortium_options){.seed = 1});
    consortium_found(&successors, &(struct consortium_options){.seed = 9, .replica_count = 5});
    successors.configuration.service = founders.configuration.service;
    successors.configuration.number = founders.configuration.number + 1;
    exchange(&successors, 0, 3);
    exchange(&successors, 1, 4);
    book_open(&book, &founders);
}

static void tear_down(void) {
    book_close(&book);
    consortium_free(&founders);
    consortium_free(&successors);
}

TestSuite(reconfiguration, .init = set_up, .fini = tear_down, .timeout = 60);

static const struct batch_order empty = {.evidence_upto = BOOK_EVIDENCE_ALL};

static struct book_batch *draft(const struct batch_order *order) {
    return book_draft(&book, order);
}

static void expect_added(struct book_batch *batch, enum rule expected) {
    book_sign(&book, batch);
    expect_rule(book_add(&book, batch), expected);
}

/* A batch whose last call makes the next configuration. */
static void vote(void) {
    expect_added(draft(&(struct batch_order){
                     .request_count = 2, .evidence_upto = BOOK_EVIDENCE_ALL, .closes = true}),
                 RULE_NONE);
}

static void end_configuration(void) {
    vote();
    expect_added(draft(&empty), RULE_NONE);
    expect_added(draft(&empty), RULE_NONE);
    cr_assert(checker_is_closed(book.checker));
}

/* ---- the end of a configuration ---- */

Test(reconfiguration, two_batches_end_it) {
    book_append(&book, 3);
    vote();
    uint64_t const index = book_now(&book)->next_index - 1;
    cr_assert_eq(book_now(&book)->gov_index, 0);
    for (uint32_t i = 0; i < CLOSING_BATCHES; i++) {
        cr_assert_not(checker_is_closed(book.checker));
        cr_assert_eq(checker_next_kind(book.checker), BATCH_END_OF_CONFIGURATION);
        expect_added(draft(&empty), RULE_NONE);
        cr_assert_eq(book_now(&book)->gov_index, index);
    }
    cr_assert(checker_is_closed(book.checker));
}

/* What a primary fills in is what stands in the book. */
Test(reconfiguration, a_primary_knows_what_is_next) {
    static const enum batch_kind kinds[] = {BATCH_NORMAL,
                                            BATCH_NORMAL,
                                            BATCH_END_OF_CONFIGURATION,
                                            BATCH_END_OF_CONFIGURATION,
                                            BATCH_START_OF_CONFIGURATION,
                                            BATCH_NORMAL};
    for (uint32_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (i == 4) {
            book_enter_configuration(&book, &successors);
        }
        bool const is_normal = kinds[i] == BATCH_NORMAL;
        struct book_batch *const batch = draft(&(struct batch_order){
            .request_count = is_normal, .evidence_upto = BOOK_EVIDENCE_ALL, .closes = i == 1});
        struct pre_prepare filled = {.time_ms = batch->body.time_ms};
        checker_batch_begin(book.checker);
        checker_batch_fill(book.checker, &filled, batch->evidence_payload);
        checker_batch_abandon(book.checker);
        cr_assert_eq(filled.kind, kinds[i]);
        cr_assert_eq(filled.gov_index, batch->body.gov_index);
        cr_assert_eq(filled.config, batch->body.config);
        cr_assert_eq(filled.checkpoint_seq, batch->body.checkpoint_seq);
        expect_added(batch, RULE_NONE);
    }
}

Test(reconfiguration, nothing_else_may_follow_a_vote) {
    vote();
    struct book_batch *batch = draft(&empty);
    batch->body.kind = BATCH_NORMAL;
    expect_added(batch, RULE_BATCH_KIND);
    batch = draft(&empty);
    batch->body.kind = BATCH_START_OF_CONFIGURATION;
    expect_added(batch, RULE_BATCH_KIND);
    expect_added(
        draft(&(struct batch_order){.request_count = 1, .evidence_upto = BOOK_EVIDENCE_ALL}),
        RULE_BATCH_KIND);
    expect_added(draft(&(struct batch_order){.evidence_upto = BOOK_EVIDENCE_NONE}),
                 RULE_EVIDENCE_RANGE);
    batch = draft(&empty);
    batch->body.gov_index = 0;
    expect_added(batch, RULE_GOVERNANCE_INDEX);
    batch = draft(&empty);
    batch->body.gov_index++;
    expect_added(batch, RULE_GOVERNANCE_INDEX);
    expect_added(draft(&empty), RULE_NONE);
    expect_added(draft(&(struct batch_order){.evidence_upto = BOOK_EVIDENCE_NONE}),
                 RULE_EVIDENCE_RANGE);
    expect_added(draft(&empty), RULE_NONE);
    expect_added(draft(&empty), RULE_BATCH_KIND); /* no third one */
}

Test(reconfiguration, nothing_ends_without_a_vote) {
    static const enum batch_kind kinds[] = {BATCH_END_OF_CONFIGURATION,
                                            BATCH_START_OF_CONFIGURATION};
    book_append(&book, 2);
    for (uint32_t i = 0; i < 2; i++) {
        struct book_batch *const batch = draft(&empty);
        batch->body.kind = kinds[i];
        expect_added(batch, RULE_BATCH_KIND);
    }
    book_append(&book, 1);
}

Test(reconfiguration, a_vote_that_is_rolled_back_was_none) {
    book_append(&book, 2);
    const struct book_unit *const before = book.end;
    vote();
    expect_added(draft(&empty), RULE_NONE);
    book_go(&book, before);
    book_expect_position(book.checker, book_now(&book));
    cr_assert_eq(checker_next_kind(book.checker), BATCH_NORMAL);
    book_append(&book, 3);
}

/* ---- the beginning of the next ---- */

Test(reconfiguration, the_next_one_goes_on) {
    book_append(&book, 3);
    end_configuration();
    uint64_t const end = book_now(&book)->seq;
    uint64_t const carried = book_now(&book)->checkpoint_seq;
    book_enter_configuration(&book, &successors);
    struct book_batch *const start = draft(&empty);
    cr_assert_eq(start->body.config, 2);
    cr_assert_eq(start->body.view, 0);
    cr_assert_eq(start->body.view_start, end);
    cr_assert_eq(start->body.checkpoint_seq, carried);
    cr_assert_eq(start->body.kind, BATCH_START_OF_CONFIGURATION);
    cr_assert_eq(start->evidence.batch_count, 1);
    expect_added(start, RULE_NONE);
    book_append(&book, 6);
    end_configuration();
}

Test(reconfiguration, how_the_next_one_must_begin) {
    end_configuration();
    book_enter_configuration(&book, &successors);
    struct book_batch *batch = draft(&empty);
    batch->body.kind = BATCH_NORMAL;
    expect_added(batch, RULE_BATCH_KIND);
    batch = draft(&empty);
    batch->body.kind = BATCH_END_OF_CONFIGURATION;
    batch->body.gov_index = 0;
    expect_added(batch, RULE_BATCH_KIND);
    batch = draft(&empty);
    batch->body.config = 1;
    expect_added(batch, RULE_CONFIGURATION);
    expect_added(draft(&(struct batch_order){.evidence_upto = BOOK_EVIDENCE_NONE}),
                 RULE_EVIDENCE_RANGE);
    expect_added(
        draft(&(struct batch_order){.request_count = 1, .evidence_upto = BOOK_EVIDENCE_ALL}),
        RULE_BATCH_KIND);
    batch = draft(&empty);
    batch->body.checkpoint_seq = book_now(&book)->config_start;
    expect_added(batch, RULE_CHECKPOINT_SEQUENCE);
    expect_added(draft(&empty), RULE_NONE);
    expect_added(draft(&empty), RULE_NONE); /* an empty one that evidences the first */
}

/* The last batch of a configuration is committed by those who were in it, and by no others. */
Test(reconfiguration, the_last_batch_is_evidenced_by_the_old_keys) {
    end_configuration();
    struct book_batch *const last = (struct book_batch *)(uintptr_t)book.end->last;
    book_enter_configuration(&book, &successors);
    last->consortium = &successors;
    last->signers = 0xf;
    expect_added(draft(&empty), RULE_EVIDENCE_SIGNERS);
    last->signers = 0x7;
    expect_added(draft(&empty), RULE_EVIDENCE_SIGNATURE);
    last->consortium = &founders;
    expect_added(draft(&empty), RULE_NONE);
}

/* ---- changes of view ---- */

Test(reconfiguration, a_view_takes_over_the_end) {
    for (uint32_t certified = 0; certified <= CLOSING_BATCHES; certified++) {
        book_append(&book, 2);
        vote();
        for (uint32_t i = 0; i < certified; i++) {
            expect_added(draft(&empty), RULE_NONE);
        }
        uint64_t const end = book_now(&book)->seq;
        book_change_view(&book, 1, book.end->last);
        book_repropose(&book);
        cr_assert_eq(book_now(&book)->seq, end);
        cr_assert_eq(book_now(&book)->closing_seq, end - certified);
        while (!checker_is_closed(book.checker)) {
            expect_added(draft(&empty), RULE_NONE);
        }
        book_enter_configuration(&book, &successors);
        expect_added(draft(&empty), RULE_NONE);
        tear_down();
        set_up();
    }
}

/* Nothing of the new configuration was prepared: its next view begins where it began. */
Test(reconfiguration, a_view_before_the_first_batch) {
    book_append(&book, 2);
    end_configuration();
    uint64_t const end = book_now(&book)->seq;
    book_enter_configuration(&book, &successors);
    book_change_view(&book, 2, NULL);
    cr_assert_eq(book_now(&book)->seq, end);
    book_change_view(&book, 3, NULL);
    expect_added(draft(&(struct batch_order){.evidence_upto = BOOK_EVIDENCE_NONE}),
                 RULE_EVIDENCE_RANGE);
    expect_added(draft(&empty), RULE_NONE);
    book_append(&book, 3);
}

Test(reconfiguration, a_view_takes_over_the_first_batch) {
    book_append(&book, 2);
    end_configuration();
    uint64_t const end = book_now(&book)->seq;
    book_enter_configuration(&book, &successors);
    expect_added(draft(&empty), RULE_NONE);
    book_append_bare(&book, 2);
    book_change_view(&book, 1, book.end->last);
    cr_assert_eq(book_now(&book)->seq, end);
    book_repropose(&book);
    cr_assert_eq(book_now(&book)->seq, end + 3);
    book_append(&book, 3);
}

/* ---- going back ---- */

/* Until its beginning is settled, a configuration can be left for another copy of the boundary. */
Test(reconfiguration, a_boundary_may_be_left_again) {
    book_append(&book, 3);
    end_configuration();
    struct ledger_position const closed = *book_now(&book);
    cr_assert_not(checker_may_leave(book.checker));
    checker_enter(book.checker, &successors.configuration);
    cr_assert(checker_may_leave(book.checker));
    cr_assert_eq(checker_configuration(book.checker)->number, 2);
    checker_leave(book.checker);
    cr_assert_eq(checker_configuration(book.checker)->number, 1);
    book_expect_position(book.checker, &closed);
    cr_assert(checker_is_closed(book.checker));
    book_enter_configuration(&book, &successors);
    expect_added(draft(&empty), RULE_NONE);
    expect_added(draft(&empty), RULE_NONE);
    checker_leave(book.checker);
    book_expect_position(book.checker, &closed);
    checker_rollback(book.checker, closed.seq - 1);
    cr_assert_eq(checker_next_kind(book.checker), BATCH_END_OF_CONFIGURATION);
}

Test(reconfiguration, a_settled_boundary_stays) {
    end_configuration();
    book_enter_configuration(&book, &successors);
    expect_added(draft(&empty), RULE_NONE);
    checker_settle(book.checker, book_now(&book)->config_start);
    cr_assert_not(checker_may_leave(book.checker));
}

/* ---- checkpoints ---- */

/* What the last batch carried is carried on, and the boundary's not sooner than C batches later. */
Test(reconfiguration, the_boundary_is_carried_in_time) {
    book_append(&book, 3);
    end_configuration();
    uint64_t const end = book_now(&book)->seq;
    uint64_t const carried = book_now(&book)->checkpoint_seq;
    uint64_t const interval = successors.configuration.parameters.checkpoint_interval;
    book_enter_configuration(&book, &successors);
    expect_added(draft(&empty), RULE_NONE);
    cr_assert_eq(checker_checkpoint_for(book.checker, end + 2), carried);
    uint64_t const first = (end + 2 * interval - 1) / interval * interval;
    cr_assert_eq(checker_checkpoint_for(book.checker, first - 1), carried);
    cr_assert_eq(checker_checkpoint_for(book.checker, first), end);
    cr_assert_eq(checker_checkpoint_for(book.checker, first + interval - 1), end);
    cr_assert_eq(checker_checkpoint_for(book.checker, first + interval), first);
}

Test(reconfiguration, a_checkpoint_at_the_boundary) {
    book_append(&book, 2);
    vote();
    cr_assert_not(checker_cut_is_due(book.checker));
    expect_added(draft(&empty), RULE_NONE);
    expect_added(draft(&empty), RULE_NONE);
    cr_assert(checker_cut_is_due(book.checker));
}

/* A checker that was loaded where a configuration is ending knows that it is. */
Test(reconfiguration, what_is_ending_is_kept) {
    for (uint32_t ended = 0; ended <= CLOSING_BATCHES; ended++) {
        struct checkpoint_cut cut;
        struct buffer bytes;
        struct checker_snapshot snapshot;
        struct arena arena;
        struct digest digest;
        vote();
        for (uint32_t i = 0; i < ended; i++) {
            expect_added(draft(&empty), RULE_NONE);
        }
        checker_cut(book.checker, &cut);
        buffer_init(&bytes, SNAPSHOT_SIZE_MAX);
        cr_assert(checkpoint_cut_digest(&digest, &bytes, &founders.configuration.service, &cut));
        buffer_clear(&bytes);
        arena_init(&arena, 2 * (size_t)SNAPSHOT_SIZE_MAX);
        cr_assert(checkpoint_cut_snapshot(&bytes, &cut, checker_window(book.checker)));
        cr_assert_eq(checker_snapshot_decode(&snapshot, &arena, buffer_span(&bytes)), CODEC_OK);
        checker_free(book.checker);
        book.checker = checker_new(&founders.configuration);
        cr_assert(book.checker != NULL);
        cr_assert(checker_load(book.checker, &snapshot, &arena, false));
        while (!checker_is_closed(book.checker)) {
            expect_added(draft(&empty), RULE_NONE);
        }
        book_enter_configuration(&book, &successors);
        book.boundary = ended == CLOSING_BATCHES ? digest : book.boundary;
        expect_added(draft(&empty), RULE_NONE);
        arena_free(&arena);
        buffer_free(&bytes);
        tear_down();
        set_up();
    }
}
