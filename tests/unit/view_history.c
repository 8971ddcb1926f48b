/*
 * view_history: going back over new views, and starting again between batches that a view took
 * over. What the checker remembers is held against the book, which knows every position on its
 * way; where the checker does not remember, it must say so, and never name another position.
 */
#include <criterion/criterion.h>

#include "base/check.h"
#include "execution/replay.h"
#include "tests/unit/view_fixture.h"

#define Q 3u
#define INTERVAL 12u /* C of the consortium, where checkpoints matter */
#define NO_CHECKPOINTS 1000u

static struct consortium consortium;
static struct book book;

static void set_up(void) {
    consortium_found(&consortium,
                     &(struct consortium_options){.checkpoint_interval = NO_CHECKPOINTS});
    book_open(&book, &consortium);
}

static void tear_down(void) {
    book_close(&book);
    consortium_free(&consortium);
}

TestSuite(view_history, .init = set_up, .fini = tear_down, .timeout = 120);

/* ---- positions ---- */

/* The last position on the way after batch `seq` that is not above `view`, or NULL. */
static const struct ledger_position *position_in(uint64_t seq, uint64_t view) {
    const struct book_unit *unit = book.end;
    while (unit != NULL && (unit->after.seq != seq || unit->after.view > view)) {
        unit = unit->before;
    }
    return unit == NULL ? NULL : &unit->after;
}

static const struct ledger_position *position_before_views(uint64_t seq) {
    const struct ledger_position *found = NULL;
    for (const struct book_unit *unit = book.end; unit != NULL; unit = unit->before) {
        found = unit->after.seq == seq ? &unit->after : found;
    }
    return found;
}

/* One that the test knows to be there. */
static const struct ledger_position *known(const struct ledger_position *position) {
    CHECK(position != NULL);
    return position;
}

static bool is_same(const struct ledger_position *a, const struct ledger_position *b) {
    struct digest const a_root = frontier_root(&a->frontier);
    struct digest const b_root = frontier_root(&b->frontier);
    return a->entries == b->entries && a->seq == b->seq && a->view == b->view &&
           a->view_start == b->view_start && a->view_seq == b->view_seq &&
           a->evidence_upto == b->evidence_upto && a->next_index == b->next_index &&
           a->time_ms == b->time_ms && digest_equal(&a_root, &b_root);
}

/* may_forget: what the checker does not remember any more must be NULL, and nothing else. */
static void expect_remembered(const struct ledger_position *remembered,
                              const struct ledger_position *position, bool may_forget) {
    if (remembered == NULL) {
        cr_assert(position == NULL || may_forget);
    } else {
        cr_assert(position != NULL);
        cr_assert(is_same(remembered, position));
    }
}

static void expect_history(bool may_forget) {
    const struct ledger_position *const now = book_now(&book);
    for (uint64_t seq = 0; seq <= now->seq + 1; seq++) {
        expect_remembered(checker_position_at(book.checker, seq), position_in(seq, UINT64_MAX),
                          false);
        expect_remembered(checker_position_before_views(book.checker, seq),
                          position_before_views(seq), may_forget);
        for (uint64_t view = 0; view <= now->view + 1; view++) {
            expect_remembered(checker_position_in(book.checker, seq, view), position_in(seq, view),
                              may_forget);
        }
    }
}

/* Views that follow each other after one batch; each takes over what the one before it did. */
static void change_views(uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        book_change_view(&book, book_now(&book)->view + 1, book.end->last);
        book_repropose(&book);
    }
}

Test(view_history, remembers_every_position) {
    book_append(&book, 5);
    book_append_bare(&book, 2);
    expect_history(false);
    change_views(3);
    expect_history(false);
    book_append(&book, 6);
    change_views(2);
    book_append_bare(&book, 3);
    expect_history(false);
    change_views(4);
    expect_history(false);
}

Test(view_history, remembers_new_views_after_genesis) {
    for (uint64_t view = 1; view < 6; view++) {
        book_change_view(&book, view, NULL);
        expect_history(false);
        book_append_bare(&book, 1);
        book_change_view(&book, 10 + view, book.end->last);
        book_repropose(&book);
        book_change_view(&book, 20 + view, book.end->last);
        expect_history(false);
        cr_assert_eq(known(position_before_views(0))->entries, 1);
        cr_assert_eq(known(position_in(0, 10 + view - 1))->view, view);
    }
}

Test(view_history, rolls_back_to_every_position) {
    book_append(&book, 3);
    change_views(3);
    book_append_bare(&book, 2);
    change_views(3);
    book_append(&book, 4);
    const struct book_unit *const end = book.end;
    for (const struct book_unit *unit = end; unit != NULL; unit = unit->before) {
        book_go(&book, unit);
        expect_history(false);
        book_go(&book, end);
        expect_history(false);
    }
}

/* checker_rollback keeps the new views that followed the batch directly. */
Test(view_history, rolls_back_to_a_batch_with_its_new_views) {
    book_append(&book, 4);
    change_views(2);
    const struct book_unit *unit = book.end;
    book_append(&book, 3);
    while (unit->view == NULL) {
        unit = unit->before;
    }
    cr_assert_eq(unit->after.view, 2);
    checker_rollback(book.checker, unit->after.seq);
    book.end = unit;
    book_expect_position(book.checker, &unit->after);
    expect_history(false);
    checker_rollback(book.checker, unit->after.seq); /* and again, to where it stands */
    book_expect_position(book.checker, &unit->after);
    book_repropose(&book);
    book_append(&book, 3);
    expect_history(false);
}

Test(view_history, another_new_view_in_the_same_place) {
    book_append(&book, 4);
    book_append_bare(&book, 3);
    const struct book_batch *const shorter = book_batch_at(&book, 6);
    const struct book_batch *const longer = book_batch_at(&book, 7);
    for (unsigned round = 0; round < 4; round++) {
        book_change_view(&book, 1, shorter);
        expect_history(false);
        cr_assert_eq(book_now(&book)->view_start, 6);
        cr_assert(checker_carried(book.checker, 7) == NULL);
        book_repropose(&book);
        const struct book_batch *const of_first = book.end->last;
        book_change_view(&book, 2, of_first);
        book_repropose(&book);
        book_change_view(&book, 1, longer); /* the same view, and another choice */
        expect_history(false);
        cr_assert_eq(book_now(&book)->view_start, 7);
        cr_assert(checker_carried(book.checker, 7) != NULL);
        book_repropose(&book);
        book_change_view(&book, 2, book.end->last);
        book_repropose(&book);
        expect_history(false);
        book_change_view(&book, 3, of_first); /* back on the first way */
        cr_assert_eq(book_now(&book)->view_start, 6);
        book_repropose(&book);
        expect_history(false);
        book_append(&book, 2);
    }
}

/* What is in force again after a rollback is what it was before. */
Test(view_history, owes_again_what_it_owed_before_a_rollback) {
    book_append(&book, 4);
    book_append_bare(&book, 3);
    book_change_view(&book, 1, book.end->last);
    const struct book_unit *const entered = book.end;
    book_repropose(&book);
    const struct book_batch *const whole = book.end->last;
    book_change_view(&book, 2, whole);
    book_repropose(&book);
    book_append(&book, 1);
    book_go(&book, entered);
    for (uint64_t seq = 4; seq <= 7; seq++) {
        const struct carried_batch *const carried = checker_carried(book.checker, seq);
        cr_assert(
            carried != NULL &&
            digest_equal(&carried->batch_root, &entered->view->carried[seq - 4]->body.batch_root));
    }
    book_repropose(&book);
}

/* ---- more new views than are remembered ---- */

/* The latest ones are remembered; of the others it says that they are not. */
static void expect_latest_remembered(void) {
    const struct ledger_position *const now = book_now(&book);
    for (uint64_t view = 0; view <= now->view; view++) {
        expect_remembered(checker_position_in(book.checker, now->view_seq, view),
                          position_in(now->view_seq, view), view + VIEW_MARKS_MAX < now->view);
    }
}

Test(view_history, says_which_new_views_it_forgot) {
    book_append(&book, 2);
    book_append_bare(&book, 1);
    change_views(VIEW_MARKS_MAX);
    expect_history(false);
    change_views(1);
    expect_latest_remembered();
    change_views(VIEW_MARKS_MAX + 3);
    expect_latest_remembered();
    book_append(&book, 2);
    expect_latest_remembered();
}

/* A position after new views is not one before them. */
Test(view_history, never_takes_a_later_position_for_the_one_before_new_views) {
    book_append(&book, 2);
    book_append_bare(&book, 1);
    change_views(VIEW_MARKS_MAX + 1);
    uint64_t const base = book_now(&book)->view_seq;
    const struct ledger_position *const before = checker_position_before_views(book.checker, base);
    cr_assert(before == NULL || before->view == 0, "a position in view %d is named",
              before == NULL ? 0 : (int)before->view);
    expect_history(true);
}

/* Where it can still go back to, it still knows what is owed there. */
Test(view_history, goes_on_from_every_new_view_that_it_remembers) {
    book_append(&book, 2);
    book_append_bare(&book, 1);
    change_views(2 * VIEW_MARKS_MAX + 5);
    const struct book_unit *const end = book.end;
    uint64_t const base = book_now(&book)->view_seq;
    uint64_t view = book_now(&book)->view;
    for (; checker_position_in(book.checker, base, view) != NULL; view--) {
        const struct book_unit *unit = end;
        while (unit->view == NULL || unit->after.view != view) {
            unit = unit->before;
        }
        book_go(&book, unit);
        cr_assert(checker_carried(book.checker, base + 1) != NULL, "%d views back",
                  (int)(end->after.view - view));
        book_repropose(&book);
        book_go(&book, end);
    }
    cr_assert_gt(end->after.view - view, VIEW_MARKS_MAX);
}

/*
 * New views that were tried and undone, as a replica does with a peer's range and an auditor at a
 * parting, must not make a checker forget what the view in force took over.
 */
Test(view_history, new_views_that_were_undone_leave_nothing_behind) {
    book_append(&book, 4);
    book_append_bare(&book, 3);
    book_change_view(&book, 1, book.end->last);
    const struct book_unit *const entered = book.end;
    const struct book_batch *const owed = book_owed(&book);
    book_repropose(&book);
    const struct book_batch *const whole = book.end->last;
    struct signed_body claims[Q];
    struct view_draft draft;
    book_claims(&book, claims, 2, whole);
    book_go(&book, entered);
    book_draft_view(&book, &draft, 2, claims, Q);
    const struct book_view *const tried = book_sign_view(&book, &draft);
    for (uint32_t i = 0; i < 2 * VIEW_MARKS_MAX; i++) {
        expect_rule(checker_view_add(book.checker, &tried->unit, &sign_sink_trust), RULE_NONE);
        checker_rollback_in(book.checker, entered->after.seq, entered->after.view);
        book_expect_position(book.checker, &entered->after);
    }
    expect_history(false);
    const struct carried_batch *const carried = checker_carried(book.checker, owed->body.seq);
    cr_assert(carried != NULL, "what view 1 took over is forgotten");
    book_repropose(&book);
}

/* ---- settled ---- */

Test(view_history, a_settled_end_can_still_be_left_for_a_new_view) {
    book_append(&book, 5);
    book_append_bare(&book, 2);
    checker_settle(book.checker, 4);
    change_views(3);
    checker_settle(book.checker, 4);
    book_append(&book, 3);
    expect_history(false);
}

/* ---- checkpoints between batches that are proposed again ---- */

/* View 1 took over the batches from INTERVAL - 1 to INTERVAL + 2; that of the checkpoint is the
 * last proposed again. */
struct between {
    struct checkpoint_cut cut;
    struct digest digest;
    struct buffer snapshot;
};

static void open_with_checkpoints(void) {
    tear_down();
    consortium_found(&consortium, &(struct consortium_options){.checkpoint_interval = INTERVAL});
    book_open(&book, &consortium);
}

static void propose_next(void) {
    bool const is_first = book_now(&book)->seq == book_now(&book)->view_seq;
    struct book_batch *const batch =
        book_draft(&book, &(struct batch_order){.again = book_owed(&book),
                                                .evidence_upto = is_first ? BOOK_EVIDENCE_ALL
                                                                          : BOOK_EVIDENCE_NONE});
    book_sign(&book, batch);
    expect_rule(book_add(&book, batch), RULE_NONE);
}

/* The checkpoint of a cut whose state is empty. */
static void close_cut(struct between *between) {
    struct buffer header;
    between->cut.header.state_root = merkle_empty_root();
    buffer_init(&header, CHECKPOINT_HEADER_SIZE_MAX);
    cr_assert(checkpoint_cut_digest(&between->digest, &header, &consortium.configuration.service,
                                    &between->cut));
    buffer_free(&header);
    buffer_init(&between->snapshot, SNAPSHOT_SIZE_MAX);
    cr_assert(
        checkpoint_cut_snapshot(&between->snapshot, &between->cut, checker_window(book.checker)));
}

static void stand_between(struct between *between) {
    open_with_checkpoints();
    book_append(&book, INTERVAL - 1);
    book_append_bare(&book, 3);
    cr_assert_eq(book.end->last->body.evidence_upto, INTERVAL - 2);
    book_change_view(&book, 1, book.end->last);
    while (book_now(&book)->seq < INTERVAL) {
        propose_next();
    }
    checker_cut(book.checker, &between->cut);
    close_cut(between);
    cr_assert_eq(between->cut.header.seq, INTERVAL);
    cr_assert_eq(between->cut.header.view, 1);
    cr_assert_eq(between->cut.header.view_start, INTERVAL + 2);
    cr_assert_eq(between->cut.header.carried_count, 2);
}

/* Start a checker from an encoded snapshot. NULL: it is refused. */
static struct checker *load(struct span snapshot) {
    struct checker *const checker = checker_new(&consortium.configuration);
    struct checker_snapshot decoded;
    struct arena arena;
    arena_init(&arena, 1u << 24);
    cr_assert(checker != NULL);
    bool const loaded = checker_snapshot_decode(&decoded, &arena, snapshot) == CODEC_OK &&
                        checker_load(checker, &decoded, &arena, false);
    arena_free(&arena);
    if (!loaded) {
        checker_free(checker);
        return NULL;
    }
    return checker;
}

Test(view_history, a_checkpoint_names_what_is_still_owed) {
    struct between between;
    stand_between(&between);
    for (uint32_t i = 0; i < 2; i++) {
        const struct carried_batch *const carried = &between.cut.header.carried[i];
        const struct pre_prepare *const body = &book.end->in_force->carried[2 + i]->body;
        cr_assert_eq(carried->seq, INTERVAL + 1 + i);
        cr_assert(digest_equal(&carried->batch_root, &body->batch_root));
        cr_assert_eq(carried->first_index, body->first_index);
        cr_assert_eq(carried->tx_count, body->tx_count);
        cr_assert_eq(carried->time_ms, body->time_ms);
    }
    struct checker *const loaded = load(buffer_span(&between.snapshot));
    cr_assert(loaded != NULL);
    book_expect_position(loaded, book_now(&book));
    cr_assert(checker_carried(loaded, INTERVAL) == NULL);
    cr_assert(checker_carried(loaded, INTERVAL + 1) != NULL);
    cr_assert(checker_carried(loaded, INTERVAL + 2) != NULL);
    cr_assert(checker_carried(loaded, INTERVAL + 3) == NULL);
    checker_free(loaded);
    buffer_free(&between.snapshot);
}

Test(view_history, what_is_owed_is_owed_after_a_checkpoint_too) {
    struct between between;
    struct sign_sink const sink = book_sink(&book);
    stand_between(&between);
    struct checker *const loaded = load(buffer_span(&between.snapshot));
    cr_assert(loaded != NULL);
    while (book_owed(&book) != NULL) {
        struct book_batch *const other = book_draft(
            &book, &(struct batch_order){.request_count = 1, .evidence_upto = BOOK_EVIDENCE_NONE});
        book_sign(&book, other);
        expect_rule(book_judge(loaded, other, &sink), RULE_REPROPOSAL);
        expect_rule(book_add(&book, other), RULE_REPROPOSAL);
        propose_next();
        expect_rule(book_judge(loaded, book.end->last, &sink), RULE_NONE);
        book_expect_position(loaded, book_now(&book));
    }
    checker_free(loaded);
    buffer_free(&between.snapshot);
}

/* From the checkpoint on through other new views, up to batches that carry that checkpoint. */
Test(view_history, goes_on_from_a_checkpoint_between) {
    struct between between;
    stand_between(&between);
    const struct book_unit *const at_cut = book.end;
    struct checker *const loaded = load(buffer_span(&between.snapshot));
    cr_assert(loaded != NULL);
    checker_checkpoint_learn(book.checker, INTERVAL, &between.digest);
    book.checkpoints[1] = between.digest;
    book_repropose(&book);
    book_append(&book, 2);
    change_views(2);
    book_append_bare(&book, 2);
    change_views(1);
    book_append(&book, 8);
    cr_assert_eq(book_now(&book)->checkpoint_seq, INTERVAL);
    struct sign_sink const sink = book_sink(&book);
    book_follow(&book, loaded, at_cut, &sink);
    checker_free(loaded);
    buffer_free(&between.snapshot);
}

/* A checkpoint cannot be gone behind, and its own view is the least that it remembers. */
Test(view_history, remembers_nothing_before_its_checkpoint) {
    struct between between;
    stand_between(&between);
    struct checker *const loaded = load(buffer_span(&between.snapshot));
    cr_assert(loaded != NULL);
    cr_assert(checker_position_at(loaded, INTERVAL - 1) == NULL);
    cr_assert(checker_position_in(loaded, INTERVAL - 1, 1) == NULL);
    cr_assert(checker_position_in(loaded, INTERVAL, 0) == NULL);
    cr_assert(checker_position_in(loaded, INTERVAL, 1) != NULL);
    cr_assert(checker_position_before_views(loaded, INTERVAL) != NULL);
    checker_free(loaded);
    buffer_free(&between.snapshot);
}

/* ---- snapshots that contradict themselves ---- */

typedef void (*header_lie)(struct checkpoint_header *header);

/* The snapshot of the same cut, but for a lie in its header. */
static struct checker *load_lie(const struct between *between, header_lie lie) {
    struct between other = {.cut = between->cut};
    lie(&other.cut.header);
    close_cut(&other);
    struct checker *const loaded = load(buffer_span(&other.snapshot));
    buffer_free(&other.snapshot);
    return loaded;
}

static void header_truth(struct checkpoint_header *header) {
    (void)header;
}

static void carries_less(struct checkpoint_header *header) {
    header->carried_count--;
}

static void carries_nothing(struct checkpoint_header *header) {
    header->carried_count = 0;
}

static void carries_more(struct checkpoint_header *header) {
    header->carried[2] = header->carried[1];
    header->carried[2].seq++;
    header->carried_count++;
}

static void carries_gap(struct checkpoint_header *header) {
    header->carried[1].seq++;
}

static void carries_earlier(struct checkpoint_header *header) {
    header->carried[0].seq--;
    header->carried[1].seq--;
}

static void carries_twice(struct checkpoint_header *header) {
    header->carried[1] = header->carried[0];
}

static void carries_backwards(struct checkpoint_header *header) {
    struct carried_batch const first = header->carried[0];
    header->carried[0] = header->carried[1];
    header->carried[1] = first;
}

static void takes_over_more(struct checkpoint_header *header) {
    header->view_start++;
}

static void takes_over_less(struct checkpoint_header *header) {
    header->view_start--;
}

static void takes_over_nothing(struct checkpoint_header *header) {
    header->view_start = 0;
}

static void takes_over_too_much(struct checkpoint_header *header) {
    header->view_start = header->seq + PIPELINE_MAX + 1;
    header->carried_count = PIPELINE_MAX;
    for (uint32_t i = 0; i < PIPELINE_MAX; i++) {
        header->carried[i] = header->carried[0];
        header->carried[i].seq = header->seq + 1 + i;
    }
}

static void pends_less(struct checkpoint_header *header) {
    header->pending_count--;
}

static void pends_gap(struct checkpoint_header *header) {
    header->pending[1].seq++;
}

Test(view_history, snapshots_that_carry_something_else_are_refused) {
    static const header_lie lies[] = {
        carries_less,    carries_nothing,    carries_more,        carries_gap,
        carries_earlier, carries_twice,      carries_backwards,   takes_over_more,
        takes_over_less, takes_over_nothing, takes_over_too_much, pends_less,
        pends_gap,
    };
    struct between between;
    stand_between(&between);
    cr_assert_eq(between.cut.header.pending_count, 2);
    struct checker *loaded = load_lie(&between, header_truth);
    cr_assert(loaded != NULL);
    checker_free(loaded);
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        loaded = load_lie(&between, lies[i]);
        cr_assert(loaded == NULL, "lie %zu", i);
    }
    buffer_free(&between.snapshot);
}

/* View 0 took nothing over, so nothing of it can be owed. */
static void view_zero_takes_over(struct checkpoint_header *header) {
    header->view = 0;
}

Test(view_history, snapshots_of_view_0_carry_nothing) {
    struct between between;
    stand_between(&between);
    struct checker *const loaded = load_lie(&between, view_zero_takes_over);
    cr_assert(loaded == NULL);
    buffer_free(&between.snapshot);
}

/* What is carried is part of what the checkpoint's digest covers. */
static void carries_other_root(struct checkpoint_header *header) {
    header->carried[0].batch_root.bytes[0] ^= 1;
}

static void carries_other_index(struct checkpoint_header *header) {
    header->carried[0].first_index++;
}

static void carries_other_count(struct checkpoint_header *header) {
    header->carried[1].tx_count++;
}

static void carries_other_time(struct checkpoint_header *header) {
    header->carried[1].time_ms++;
}

static void carries_other_kind(struct checkpoint_header *header) {
    header->carried[1].kind = BATCH_END_OF_CONFIGURATION;
}

static void carries_other_governance(struct checkpoint_header *header) {
    header->carried[1].gov_index++;
}

Test(view_history, a_checkpoint_covers_what_it_carries) {
    static const header_lie lies[] = {carries_other_root,  carries_other_index,
                                      carries_other_count, carries_other_time,
                                      carries_other_kind,  carries_other_governance};
    struct between between;
    stand_between(&between);
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct between other = {.cut = between.cut};
        lies[i](&other.cut.header);
        close_cut(&other);
        cr_assert(!digest_equal(&other.digest, &between.digest), "lie %zu", i);
        buffer_free(&other.snapshot);
    }
    buffer_free(&between.snapshot);
}

/* ---- where the batches before a checkpoint begin ---- */

/* What a snapshot without window says: the entries after batch s - 2 P, and its new views. */
static void expect_past(uint64_t past_seq) {
    struct checkpoint_cut cut;
    struct buffer encoded;
    struct checker_snapshot decoded;
    struct arena arena;
    checker_cut(book.checker, &cut);
    cut.header.state_root = merkle_empty_root();
    cr_assert_eq(cut.past_entry, known(position_in(past_seq, UINT64_MAX))->entries);
    arena_init(&arena, 1u << 24);
    buffer_init(&encoded, SNAPSHOT_SIZE_MAX);
    cr_assert(checkpoint_cut_snapshot(&encoded, &cut, NULL));
    cr_assert_eq(checker_snapshot_decode(&decoded, &arena, buffer_span(&encoded)), CODEC_OK);
    cr_assert_eq(decoded.past_entry, cut.past_entry);
    buffer_clear(&encoded);
    cr_assert(checkpoint_cut_snapshot(&encoded, &cut, checker_window(book.checker)));
    arena_reset(&arena);
    cr_assert_eq(checker_snapshot_decode(&decoded, &arena, buffer_span(&encoded)), CODEC_OK);
    cr_assert_eq(decoded.past_entry, 0);
    buffer_free(&encoded);
    arena_free(&arena);
}

Test(view_history, the_past_begins_two_pipelines_before) {
    uint64_t const span = 2 * (uint64_t)consortium.configuration.parameters.pipeline;
    expect_past(0);
    for (uint64_t seq = 1; seq <= span + 3; seq++) {
        book_append(&book, 1);
        expect_past(seq > span ? seq - span : 0);
    }
    change_views(2);
    uint64_t const base = book_now(&book)->view_seq;
    while (book_now(&book)->seq < base + span) {
        expect_past(book_now(&book)->seq - span);
        book_append(&book, 1);
    }
    expect_past(base);
    cr_assert_eq(known(position_in(base, UINT64_MAX))->view, 2); /* behind its new views */
}

/* A checker that began at a checkpoint remembers no batches before it. */
Test(view_history, the_past_does_not_begin_before_a_checkpoint) {
    struct between between;
    struct checkpoint_cut cut;
    stand_between(&between);
    struct checker *const loaded = load(buffer_span(&between.snapshot));
    cr_assert(loaded != NULL);
    checker_cut(loaded, &cut);
    cr_assert_eq(cut.past_entry, book_now(&book)->entries);
    cr_assert_eq(memcmp(&cut.header.ledger_root, &between.cut.header.ledger_root, DIGEST_SIZE), 0);
    cr_assert_eq(cut.header.carried_count, between.cut.header.carried_count);
    checker_free(loaded);
    buffer_free(&between.snapshot);
}
