/*
 * audit_run: tests of what an audit says it checked, of parts that begin at a checkpoint, and of
 * going on with a run that was cut off. Whatever is lost or tampered with between the runs, nobody
 * is blamed who did nothing, and nothing is said to be checked that was not.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "audit-tool/saved_state.h"
#include "audit-tool/spill.h"
#include "tests/unit/audit_fixture.h"

#define INTERVAL 12u /* of checkpoints, in the fixture's service */
#define SAVED_MAX 32u

TestSuite(audit_run, .init = set_up, .fini = tear_down, .timeout = 300);

/* ---- what a watcher keeps -------------------------------------------------------------------- */

/* All states and all progress of a run. */
struct keeper {
    struct audit_watcher watcher;
    uint32_t count;
    uint64_t seqs[SAVED_MAX];
    struct buffer states[SAVED_MAX];
    struct buffer progress[SAVED_MAX];
    uint64_t batches;
    uint64_t stop_after; /* checkpoints; 0: never */
};

static void on_batch(void *context, const struct audit_report *report) {
    struct keeper *const keeper = context;
    keeper->batches = report->batches;
}

static int on_checkpoint(void *context, const struct audit *of, uint64_t seq,
                         struct problem *problem) {
    struct keeper *const keeper = context;
    struct buffer *const state = &keeper->states[keeper->count];
    struct buffer *const progress = &keeper->progress[keeper->count];
    char *data = NULL;
    size_t size = 0;
    cr_assert_lt(keeper->count, SAVED_MAX);
    buffer_init(state, (size_t)1 << 30);
    buffer_init(progress, (size_t)1 << 30);
    FILE *const stream = open_memstream(&data, &size);
    cr_assert(audit_save_state(of, stream, seq));
    cr_assert_eq(fclose(stream), 0);
    cr_assert(buffer_append(state, span_of(data, size)));
    free(data);
    cr_assert(audit_save_progress(of, progress, seq));
    keeper->seqs[keeper->count++] = seq;
    return keeper->stop_after == keeper->count ? problem_set(problem, EXIT_ERROR, "killed") : 0;
}

static void keeper_open(struct keeper *keeper) {
    *keeper = (struct keeper){
        .watcher = {.context = keeper, .on_batch = on_batch, .on_checkpoint = on_checkpoint}};
}

static void keeper_close(struct keeper *keeper) {
    for (uint32_t i = 0; i < keeper->count; i++) {
        buffer_free(&keeper->states[i]);
        buffer_free(&keeper->progress[i]);
    }
}

/* A fresh audit in place of the last one; ledgers must be given again. */
static void open_part(struct keeper *keeper, uint64_t last_batch) {
    close_audit();
    audit = audit_new(&(struct audit_options){
        .configuration = &consortium.configuration,
        .genesis = buffer_span(&consortium.genesis_bytes),
        .jobs = 2,
        .last_batch = last_batch,
        .watcher = keeper == NULL ? NULL : &keeper->watcher,
    });
    cr_assert(audit != NULL);
}

/* Begin at a saved state. Returns: as audit_begin_at. */
static int begin(const struct buffer *state, struct problem *problem) {
    struct buffer genesis;
    uint64_t seq = 0;
    FILE *const in = fmemopen(state->data, state->size, "rb");
    buffer_init(&genesis, GENESIS_SIZE_MAX);
    int status = saved_state_read_head(in, &consortium.configuration.service, &genesis, &seq,
                                       "state", problem);
    if (status == 0) {
        status = audit_begin_at(audit, in, seq, "state", problem);
    }
    buffer_free(&genesis);
    cr_assert_eq(fclose(in), 0);
    return status;
}

static void begin_well(const struct buffer *state) {
    struct problem problem = {.code = EXIT_OK};
    cr_assert_eq(begin(state, &problem), 0, "%s", problem.text);
}

/* Run it once over the whole of the ledger, and keep what a watcher may. */
static void keep_all(struct keeper *keeper) {
    keeper_open(keeper);
    open_part(keeper, 0);
    give_ledger(&forge);
    run(EXIT_OK);
    cr_assert_geq(keeper->count, 3);
}

static uint64_t index_after(uint64_t seq) {
    const struct forge_batch *const batch = forge_batch_at(&forge, seq);
    return batch->body.first_index + batch->body.tx_count;
}

/* ---- coverage -------------------------------------------------------------------------------- */

Test(audit_run, a_whole_ledger) {
    story_append_honest(&story, 50);
    give_ledger(&forge);
    uint64_t const given = give_receipts(&forge, 3, 40);
    const struct audit_report *const report = run(EXIT_OK);
    const struct audit_coverage *const coverage = &report->coverage;
    cr_assert_eq(coverage->start_seq, 0);
    cr_assert_eq(coverage->first_batch, 1);
    cr_assert_eq(coverage->last_batch, 50);
    cr_assert_eq(coverage->first_index, 1);
    cr_assert_eq(coverage->next_index, index_after(50));
    cr_assert_eq(coverage->evidenced, forge_batch_at(&forge, 50)->body.evidence_upto);
    cr_assert_eq(coverage->resumed_seq, 0);
    cr_assert_eq(coverage->views, 0);
    /* Batch 50 carries checkpoint 36, and before it 12 and 24 were carried. */
    cr_assert_eq(coverage->checkpoints, 3);
    cr_assert_eq(coverage->last_checkpoint, 48);
    cr_assert_not(coverage->signatures_trusted);
    cr_assert_not(coverage->ends_early);
    cr_assert_eq(coverage->receipts_before + coverage->receipts_beyond, 0);
    cr_assert_eq(report->receipts_reconciled, given);
    cr_assert_eq(coverage->ledger_count, 1);
    cr_assert_eq(coverage->ledgers[0].state, LEDGER_ENDED);
    cr_assert_eq(coverage->ledgers[0].last_batch, 50);
}

Test(audit_run, ledgers_of_unlike_length) {
    struct forge shorter;
    struct story again = {.forge = &shorter, .random = 11};
    story_append_honest(&story, 40);
    forge_init(&shorter, &consortium);
    story_append_honest(&again, 13);
    give_ledger(&shorter);
    give_ledger(&forge);
    const struct audit_coverage *const coverage = &run(EXIT_OK)->coverage;
    cr_assert_eq(coverage->ledgers[0].last_batch, 13);
    cr_assert_eq(coverage->ledgers[1].last_batch, 40);
    forge_free(&shorter);
}

Test(audit_run, views_are_counted) {
    story_append_honest(&story, 20);
    forge_change_view(&forge, &(struct forge_view_order){.view = 1});
    story_append_honest(&story, 20);
    forge_change_view(&forge, &(struct forge_view_order){.view = 3});
    story_append_honest(&story, 5);
    give_ledger(&forge);
    const struct audit_coverage *const coverage = &run(EXIT_OK)->coverage;
    cr_assert_eq(coverage->views, 2);
    cr_assert_eq(coverage->last_view, 3);
    cr_assert_eq(coverage->last_batch, forge_seq(&forge));
}

Test(audit_run, an_end_that_is_named) {
    story_append_honest(&story, 40);
    open_part(NULL, 25);
    give_ledger(&forge);
    uint64_t const before = give_receipts(&forge, 1, 25);
    uint64_t const beyond = give_receipts(&forge, 26, 40);
    const struct audit_report *const report = run(EXIT_OK);
    cr_assert(report->coverage.ends_early);
    cr_assert_eq(report->coverage.last_batch, 25);
    cr_assert_eq(report->coverage.receipts_beyond, beyond);
    cr_assert_eq(report->receipts_reconciled, before);
    cr_assert_eq(report->coverage.ledgers[0].state, LEDGER_FOLLOWED);
}

/* What lies where no ledger was given is named to the transaction. */
Test(audit_run, a_range_that_is_missing) {
    struct forge shorter;
    struct story again = {.forge = &shorter, .random = 11};
    story_append_honest(&story, 40);
    forge_init(&shorter, &consortium);
    story_append_honest(&again, 20);
    give_ledger(&shorter);
    uint64_t const met = give_receipts(&forge, 1, 20);
    uint64_t const open = give_receipts(&forge, 21, 40);
    const struct audit_report *const report = run(EXIT_CANNOT_AUDIT);
    cr_assert(report->has_unchecked);
    cr_assert_eq(report->unchecked_first, index_after(20));
    cr_assert_leq(report->unchecked_last, index_after(40) - 1);
    cr_assert_eq(report->receipts_reconciled, met);
    cr_assert_eq(report->receipts_valid, met + open);
    cr_assert_eq(report->coverage.receipts_beyond, 0);
    cr_assert_eq(report->coverage.last_batch, 20);
    forge_free(&shorter);
}

Test(audit_run, an_empty_ledger_checks_nothing) {
    give_ledger(&forge);
    const struct audit_coverage *const coverage = &run(EXIT_OK)->coverage;
    cr_assert_eq(coverage->first_batch, 0);
    cr_assert_eq(coverage->last_checkpoint, 0);
}

/* ---- parts ----------------------------------------------------------------------------------- */

Test(audit_run, from_every_checkpoint) {
    struct keeper keeper;
    story_append_honest(&story, 60);
    keep_all(&keeper);
    struct audit_coverage const whole = audit_report(audit)->coverage;
    for (uint32_t i = 0; i < keeper.count; i++) {
        uint64_t const seq = keeper.seqs[i];
        open_part(NULL, 0);
        begin_well(&keeper.states[i]);
        give_ledger(&forge);
        uint64_t const before = give_receipts(&forge, 1, seq);
        uint64_t const within = give_receipts(&forge, seq + 1, 60);
        const struct audit_report *const report = run(EXIT_OK);
        const struct audit_coverage *const coverage = &report->coverage;
        cr_assert_eq(coverage->start_seq, seq);
        cr_assert_eq(coverage->start_signed_in, seq + INTERVAL);
        cr_assert_eq(__builtin_popcountll(coverage->start_signers),
                     consortium.configuration.quorum);
        cr_assert_eq(coverage->first_batch, seq + 1);
        cr_assert_eq(coverage->last_batch, 60);
        cr_assert_eq(coverage->first_index, index_after(seq));
        cr_assert_eq(coverage->receipts_before, before);
        cr_assert_eq(report->receipts_reconciled, within);
        cr_assert_eq(report->batches, 60 - seq);
        cr_assert_eq(coverage->last_checkpoint, whole.last_checkpoint);
        cr_assert(digest_equal(&coverage->last_checkpoint_digest, &whole.last_checkpoint_digest));
    }
    keeper_close(&keeper);
}

/* One machine does the beginning, the other the rest: the digests between them are the same. */
Test(audit_run, two_parts_meet) {
    struct keeper keeper;
    story_append_honest(&story, 60);
    keep_all(&keeper);
    open_part(NULL, 3 * INTERVAL);
    give_ledger(&forge);
    struct audit_coverage const first = run(EXIT_OK)->coverage;
    cr_assert_eq(first.last_checkpoint, 3 * INTERVAL);
    open_part(NULL, 0);
    begin_well(&keeper.states[2]);
    give_ledger(&forge);
    const struct audit_coverage *const second = &run(EXIT_OK)->coverage;
    cr_assert_eq(second->start_seq, first.last_checkpoint);
    cr_assert_eq(second->first_batch, first.last_batch + 1);
    cr_assert(digest_equal(&second->start_digest, &first.last_checkpoint_digest));
    keeper_close(&keeper);
}

/* A part proves what it finds, like the whole, if it begins a checkpoint earlier. */
Test(audit_run, a_lie_in_a_part) {
    static const enum rule lies[] = {RULE_OUTCOME, RULE_CHECKPOINT_DIGEST, RULE_EVIDENCE_NONCE,
                                     RULE_TIME};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct keeper keeper;
        story_append_honest(&story, 60);
        keep_all(&keeper);
        forge.signers = 0xb;
        story_append(&story, 2, 1, lies[i]);
        story_append(&story, 1, 1, RULE_NONE);
        story_append(&story, 1, 1, RULE_NONE);
        for (uint32_t k = 0; k < keeper.count; k++) {
            open_part(NULL, 0);
            begin_well(&keeper.states[k]);
            give_ledger(&forge);
            const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
            cr_assert_eq(report->finding_count, 1);
            cr_assert_eq(report->findings[0].verdict.blamed, 0xb);
            cr_assert_eq(report->coverage.last_batch, 60);
        }
        keeper_close(&keeper);
        tear_down();
        set_up();
    }
}

/*
 * Right behind the start the proof takes the checkpoint before it: it is said that there is none,
 * and nobody is blamed by less.
 */
Test(audit_run, a_lie_just_behind_the_start) {
    struct keeper keeper;
    struct fork fork;
    fork_open(&fork);
    story_append_honest(&story, 3 * INTERVAL + 2);
    story_append_honest(&fork.story, 3 * INTERVAL + 2);
    story_append_honest(&story, 30);
    keep_all(&keeper);
    cr_assert_eq(keeper.seqs[2], 3 * INTERVAL);
    fork.story.random = 99;
    story_append(&fork.story, 2, 1, RULE_OUTCOME);
    for (unsigned i = 0; i < 2 * INTERVAL; i++) {
        story_append(&fork.story, 1, 1, RULE_NONE);
    }
    open_part(NULL, 0);
    begin_well(&keeper.states[2]);
    give_ledger(&fork.forge);
    const struct audit_report *const report = run(EXIT_CANNOT_AUDIT);
    cr_assert_eq(report->finding_count, 0);
    cr_assert_eq(report->notice_count, 1);
    cr_assert_eq(report->coverage.last_batch, 3 * INTERVAL + 2);
    open_part(NULL, 0);
    begin_well(&keeper.states[1]);
    give_ledger(&fork.forge);
    cr_assert_eq(run(EXIT_MISBEHAVIOUR)->finding_count, 1);
    fork_close(&fork);
    keeper_close(&keeper);
}

/* It ends before any batch that a quorum signed could carry the checkpoint. */
Test(audit_run, a_ledger_too_short_for_the_start) {
    struct keeper keeper;
    struct fork fork;
    struct problem problem = {.code = EXIT_OK};
    fork_open(&fork);
    story_append_honest(&fork.story, 3 * INTERVAL + 2);
    story_append_honest(&story, 50);
    keep_all(&keeper);
    open_part(NULL, 0);
    begin_well(&keeper.states[2]);
    give_ledger(&fork.forge);
    cr_assert_eq(audit_run(audit, &problem), -1);
    cr_assert_eq(problem.code, EXIT_CANNOT_AUDIT);
    fork_close(&fork);
    keeper_close(&keeper);
}

Test(audit_run, a_state_that_was_changed) {
    struct keeper keeper;
    story_append_honest(&story, 55);
    keep_all(&keeper);
    struct buffer *const state = &keeper.states[2];
    for (size_t at = 0; at < state->size; at += 1 + state->size / 200) {
        struct problem problem = {.code = EXIT_OK};
        state->data[at] ^= 1;
        open_part(NULL, 0);
        if (begin(state, &problem) == 0) {
            /* The genesis in it is for whoever has no other. */
            give_ledger(&forge);
            int const status = audit_run(audit, &problem);
            cr_assert(status == 0 || problem.code == EXIT_CANNOT_AUDIT, "%s", problem.text);
            cr_assert_eq(audit_report(audit)->finding_count, 0);
        } else {
            cr_assert(problem.code == EXIT_INVALID || problem.code == EXIT_ERROR);
        }
        state->data[at] ^= 1;
    }
    for (size_t size = 0; size < state->size; size += 1 + state->size / 50) {
        struct buffer cut = *state;
        struct problem problem = {.code = EXIT_OK};
        cut.size = size;
        open_part(NULL, 0);
        cr_assert(size == 0 || begin(&cut, &problem) == -1);
    }
    keeper_close(&keeper);
}

/* A sound state, but of another history: a quorum signed another digest for that number. */
Test(audit_run, a_state_of_another_history) {
    struct keeper keeper;
    struct fork fork;
    fork_open(&fork);
    fork.story.random = 77;
    story_append_honest(&fork.story, 55);
    story_append_honest(&story, 55);
    keep_all(&keeper);
    open_part(NULL, 0);
    begin_well(&keeper.states[1]);
    give_ledger(&fork.forge);
    struct problem problem = {.code = EXIT_OK};
    cr_assert_eq(audit_run(audit, &problem), -1);
    cr_assert_eq(problem.code, EXIT_CANNOT_AUDIT, "%s", problem.text);
    cr_assert_eq(audit_report(audit)->finding_count, 0);
    fork_close(&fork);
    keeper_close(&keeper);
}

Test(audit_run, only_execution) {
    story_append_honest(&story, 30);
    close_audit();
    audit = audit_new(&(struct audit_options){.configuration = &consortium.configuration,
                                              .genesis = buffer_span(&consortium.genesis_bytes),
                                              .jobs = 1,
                                              .trust_signatures = true});
    cr_assert(audit != NULL);
    give_ledger(&forge);
    const struct audit_report *const report = run(EXIT_OK);
    cr_assert(report->coverage.signatures_trusted);
    cr_assert_eq(report->coverage.last_batch, 30);
}

/* ---- going on -------------------------------------------------------------------------------- */

static int go_on(const struct keeper *keeper, uint32_t nth, struct problem *problem) {
    int const status = begin(&keeper->states[nth], problem);
    return status != 0 ? status : audit_resume(audit, buffer_span(&keeper->progress[nth]), problem);
}

Test(audit_run, going_on_from_every_checkpoint) {
    struct keeper keeper;
    story_append_honest(&story, 25);
    forge_change_view(&forge, &(struct forge_view_order){.view = 1});
    story_append_honest(&story, 30);
    keep_all(&keeper);
    uint64_t const last = forge_seq(&forge);
    struct audit_report const whole = *audit_report(audit);
    for (uint32_t i = 0; i < keeper.count; i++) {
        struct problem problem = {.code = EXIT_OK};
        open_part(NULL, 0);
        give_ledger(&forge);
        uint64_t const given = give_receipts(&forge, 1, last);
        cr_assert_eq(go_on(&keeper, i, &problem), 0, "%s", problem.text);
        const struct audit_report *const report = run(EXIT_OK);
        cr_assert_eq(report->receipts_reconciled, given);
        cr_assert_eq(report->batches, whole.batches);
        cr_assert_eq(report->transactions, whole.transactions);
        cr_assert_eq(report->coverage.resumed_seq, keeper.seqs[i]);
        cr_assert_eq(report->coverage.start_seq, 0);
        cr_assert_eq(report->coverage.first_batch, 1);
        cr_assert_eq(report->coverage.last_batch, last);
        cr_assert_eq(report->coverage.views, 1);
        cr_assert_eq(report->coverage.checkpoints, whole.coverage.checkpoints);
        cr_assert_eq(report->coverage.evidenced, whole.coverage.evidenced);
    }
    keeper_close(&keeper);
}

/* Two histories part with batch 6, each signed by others; then the ledger goes on honestly. */
static void fork_at_six(struct fork *fork, uint32_t further_batches) {
    fork_open(fork);
    story_append_honest(&story, 5);
    story_append_honest(&fork->story, 5);
    fork->story.random ^= 12345;
    fork->forge.signers = 0xd;
    story_append(&fork->story, 2, 1, RULE_NONE);
    for (uint32_t i = 0; i < further_batches; i++) {
        story_append(&fork->story, 1, 1, RULE_NONE);
    }
    forge.signers = 0x7;
    story_append(&story, 2, 1, RULE_NONE);
    story_append_honest(&story, 60);
}

/* Receipts that are new contradict what an earlier run had passed. */
Test(audit_run, new_receipts_after_going_on) {
    struct keeper keeper;
    struct fork fork;
    fork_at_six(&fork, 0);
    keep_all(&keeper);
    struct problem problem = {.code = EXIT_OK};
    open_part(NULL, 0);
    give_ledger(&forge);
    give_receipts(&fork.forge, 6, 6);
    cr_assert_eq(go_on(&keeper, 3, &problem), 0, "%s", problem.text);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    cr_assert_eq(report->findings[0].verdict.kind, PROOF_CONFLICTING_CERTIFICATES);
    cr_assert_eq(report->findings[0].verdict.blamed, 0x5);
    fork_close(&fork);
    keeper_close(&keeper);
}

/* What an earlier run found is there, once, and verified again. */
Test(audit_run, findings_are_kept) {
    struct keeper keeper;
    struct fork fork;
    fork_at_six(&fork, 1);
    keeper_open(&keeper);
    open_part(&keeper, 0);
    give_ledger(&fork.forge);
    give_ledger(&forge);
    cr_assert_eq(run(EXIT_MISBEHAVIOUR)->finding_count, 1);
    for (uint32_t i = 0; i < keeper.count; i++) {
        struct problem problem = {.code = EXIT_OK};
        open_part(NULL, 0);
        give_ledger(&fork.forge);
        give_ledger(&forge);
        cr_assert_eq(go_on(&keeper, i, &problem), 0, "%s", problem.text);
        const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
        cr_assert_eq(report->finding_count, 1);
        cr_assert_eq(report->findings[0].verdict.blamed, 0x5);
        cr_assert_eq(report->coverage.ledgers[0].state, LEDGER_LEFT);
        cr_assert_eq(report->coverage.ledgers[0].last_batch, 5);
        cr_assert_eq(report->coverage.ledgers[1].last_batch, forge_seq(&forge));
    }
    fork_close(&fork);
    keeper_close(&keeper);
}

/* The ledger is another one now, before the checkpoint or behind it. */
Test(audit_run, another_ledger_starts_anew) {
    struct keeper keeper;
    struct fork fork;
    fork_open(&fork);
    story_append_honest(&story, 12);
    story_append_honest(&fork.story, 12);
    fork.story.random ^= 12345;
    story_append_honest(&fork.story, 55);
    story_append_honest(&story, 55);
    keep_all(&keeper);
    for (uint32_t i = 1; i < keeper.count; i++) {
        struct problem problem = {.code = EXIT_OK};
        open_part(NULL, 0);
        give_ledger(&fork.forge);
        cr_assert_eq(go_on(&keeper, i, &problem), 0, "%s", problem.text);
        cr_assert_eq(audit_run(audit, &problem), -1);
        cr_assert(audit_must_start_anew(audit), "%s", problem.text);
        cr_assert_eq(audit_report(audit)->finding_count, 0);
    }
    fork_close(&fork);
    keeper_close(&keeper);
}

Test(audit_run, progress_that_was_changed) {
    struct keeper keeper;
    story_append_honest(&story, 55);
    keep_all(&keeper);
    struct buffer *const progress = &keeper.progress[2];
    for (size_t at = 0; at < progress->size; at++) {
        struct problem problem = {.code = EXIT_OK};
        struct audit_progress head;
        progress->data[at] ^= 1;
        open_part(NULL, 0);
        give_ledger(&forge);
        if (audit_progress_decode(&head, &consortium.configuration.service,
                                  buffer_span(progress)) &&
            go_on(&keeper, 2, &problem) == 0) {
            int const status = audit_run(audit, &problem);
            cr_assert(status == 0 || problem.code == EXIT_CANNOT_AUDIT, "%s", problem.text);
        }
        cr_assert_eq(audit_report(audit)->finding_count, 0);
        progress->data[at] ^= 1;
    }
    keeper_close(&keeper);
}

Test(audit_run, other_ledgers_than_before) {
    struct keeper keeper;
    story_append_honest(&story, 55);
    keep_all(&keeper);
    struct problem problem = {.code = EXIT_OK};
    open_part(NULL, 0);
    give_ledger(&forge);
    give_ledger(&forge);
    cr_assert_eq(go_on(&keeper, 1, &problem), -1);
    cr_assert(audit_must_start_anew(audit));
    keeper_close(&keeper);
}

/* ---- many claims ----------------------------------------------------------------------------- */

struct record {
    uint64_t key;
    uint64_t nth;
};

static int by_key(const void *first, const void *second) {
    const struct record *const a = first;
    const struct record *const b = second;
    return (a->key > b->key) - (a->key < b->key);
}

/* More than stays in memory. */
Test(audit_run, lists_that_go_to_the_disk) {
    struct spill spill;
    uint64_t const count = 3 * SPILL_MEMORY_MAX / sizeof(struct record) + 12345;
    uint64_t random = 1;
    spill_init(&spill);
    for (uint64_t i = 0; i < count; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        struct record const record = {.key = random >> 40, .nth = i};
        cr_assert(spill_append(&spill, span_of(&record, sizeof record)));
    }
    cr_assert_geq(spill.file, 0);
    cr_assert(spill_sort(&spill, sizeof(struct record), by_key));
    cr_assert_eq(spill.size, count * sizeof(struct record));
    const struct record *const records = (const struct record *)(const void *)spill.data;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count; i++) {
        sum += records[i].nth;
        cr_assert(i == 0 || records[i - 1].key <= records[i].key, "%d", (int)i);
    }
    cr_assert_eq(sum, count * (count - 1) / 2);
    spill_free(&spill);
}
