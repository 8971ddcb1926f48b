/*
 * audit_parts: tests of audits that begin at a checkpoint, or go on at one, in any configuration of
 * a consortium that changes itself (protocol §9, §10).
 */
#include <criterion/criterion.h>

#include "audit-tool/saved_state.h"
#include "tests/forge/reform.h"
#include "tests/unit/audit_fixture.h"

static struct reform reform;

static void set_up_reform(void) {
    set_up();
    reform_init(&reform, &forge);
    story_append_honest(&story, 5);
}

static void tear_down_reform(void) {
    tear_down();
    reform_free(&reform);
}

TestSuite(audit_parts, .init = set_up_reform, .fini = tear_down_reform, .timeout = 120);

static void change(void) {
    reform_shift(&reform);
}

/* ---- going on with an earlier run ---- */

#define SAVED_MAX 16u

struct keeper {
    uint32_t count;
    uint64_t seqs[SAVED_MAX];
    struct buffer states[SAVED_MAX];
    struct buffer progress[SAVED_MAX];
    struct buffer chains[SAVED_MAX];
};

static struct keeper keeper;

static void on_batch(void *context, const struct audit_report *report) {
    (void)context;
    (void)report;
}

static int on_checkpoint(void *context, const struct audit *of, uint64_t seq,
                         struct problem *problem) {
    struct keeper *const all = context;
    uint32_t const nth = all->count++;
    char *data = NULL;
    size_t size = 0;
    (void)problem;
    cr_assert_lt(nth, SAVED_MAX);
    buffer_init(&all->states[nth], (size_t)1 << 30);
    buffer_init(&all->progress[nth], (size_t)1 << 30);
    buffer_init(&all->chains[nth], CHAIN_SIZE_MAX);
    FILE *const stream = open_memstream(&data, &size);
    cr_assert(audit_save_state(of, stream, seq));
    cr_assert_eq(fclose(stream), 0);
    cr_assert(buffer_append(&all->states[nth], span_of(data, size)));
    free(data);
    cr_assert(audit_save_progress(of, &all->progress[nth], seq));
    cr_assert(audit_save_chain(of, &all->chains[nth]));
    all->seqs[nth] = seq;
    return 0;
}

static const struct audit_watcher watcher = {
    .context = &keeper, .on_batch = on_batch, .on_checkpoint = on_checkpoint};

static void open_watched(void) {
    audit = audit_new(&(struct audit_options){.configuration = &consortium.configuration,
                                              .genesis = buffer_span(&consortium.genesis_bytes),
                                              .jobs = 1,
                                              .watcher = &watcher});
    cr_assert(audit != NULL);
}

static int begin(uint32_t nth, bool knows_chain, struct problem *problem) {
    struct buffer genesis;
    uint64_t seq = 0;
    FILE *const in = fmemopen(keeper.states[nth].data, keeper.states[nth].size, "rb");
    if (knows_chain && keeper.chains[nth].size != 0) {
        cr_assert_eq(audit_know_chain(audit, "chain", buffer_span(&keeper.chains[nth]), problem),
                     0);
    }
    buffer_init(&genesis, GENESIS_SIZE_MAX);
    cr_assert_eq(saved_state_read_head(in, &consortium.configuration.service, &genesis, &seq,
                                       "state", problem),
                 0);
    int const status = audit_begin_at(audit, in, seq, "state", problem);
    buffer_free(&genesis);
    cr_assert_eq(fclose(in), 0);
    return status;
}

Test(audit_parts, an_audit_goes_on_in_any_configuration) {
    struct problem problem = {.code = EXIT_OK};
    close_audit();
    open_watched();
    story_append_honest(&story, 20);
    change();
    story_append_honest(&story, 30);
    change();
    story_append_honest(&story, 30);
    give_ledger(&forge);
    uint64_t const given = give_receipts(&forge, 1, forge_seq(&forge) - 1);
    struct audit_coverage const whole = run(EXIT_OK)->coverage;
    cr_assert_geq(keeper.count, 4);
    uint32_t const saved = keeper.count;
    for (uint32_t i = 0; i < saved; i++) {
        close_audit();
        open_audit(1);
        cr_assert_eq(begin(i, true, &problem), 0, "%s", problem.text);
        give_ledger(&forge);
        cr_assert_eq(audit_resume(audit, buffer_span(&keeper.progress[i]), &problem), 0);
        cr_assert_eq(give_receipts(&forge, 1, forge_seq(&forge) - 1), given);
        const struct audit_report *const report = run(EXIT_OK);
        cr_assert_eq(report->receipts_reconciled, given);
        cr_assert_eq(report->coverage.resumed_seq, keeper.seqs[i]);
        cr_assert_eq(report->coverage.last_batch, whole.last_batch);
        cr_assert_eq(report->coverage.checkpoints, whole.checkpoints);
        cr_assert_eq(report->coverage.last_config, 3);
    }
    close_audit();
    open_audit(1);
    cr_assert_eq(begin(saved - 1, false, &problem), -1);
    cr_assert_eq(problem.code, EXIT_CANNOT_AUDIT);
    for (uint32_t i = 0; i < saved; i++) {
        buffer_free(&keeper.states[i]);
        buffer_free(&keeper.progress[i]);
        buffer_free(&keeper.chains[i]);
    }
}

/* ---- parts ---- */

static void set_interval(uint32_t interval) {
    struct action action = {.kind = ACTION_SET_PARAMETERS};
    action.parameters = reform.charter.now.parameters;
    action.parameters.checkpoint_interval = interval;
    reform_end(&reform, 1, &action);
    reform_start(&reform);
}

static bool was_kept(uint64_t seq) {
    bool kept = false;
    for (uint32_t i = 0; i < keeper.count; i++) {
        kept |= keeper.seqs[i] == seq;
    }
    return kept;
}

/* Of the audit that kept them: exactly these are checkpoints. */
static void expect_checkpoints(void) {
    struct audit_checkpoint at;
    uint64_t before = 0;
    uint64_t nth = 0;
    for (uint64_t seq = 1; seq <= keeper.seqs[keeper.count - 1]; seq++) {
        at = audit_checkpoint_at(audit, seq);
        cr_assert_eq(at.is_one, was_kept(seq), "batch %llu", (unsigned long long)seq);
        cr_assert_eq(at.before, before, "batch %llu", (unsigned long long)seq);
        nth += at.is_one;
        cr_assert_eq(at.nth, nth, "batch %llu", (unsigned long long)seq);
        before = at.is_one ? seq : before;
    }
}

/* A part may begin at any checkpoint, also at a boundary, however far apart they are there. */
Test(audit_parts, parts_begin_at_checkpoints_of_any_configuration) {
    struct problem problem = {.code = EXIT_OK};
    uint32_t const interval = (uint32_t)consortium.configuration.parameters.checkpoint_interval;
    close_audit();
    open_watched();
    story_append_honest(&story, 2 * interval);
    set_interval(interval + 5);
    story_append_honest(&story, 3 * interval);
    change();
    set_interval(interval + 1);
    story_append_honest(&story, 4 * interval);
    give_ledger(&forge);
    struct audit_coverage const whole = run(EXIT_OK)->coverage;
    expect_checkpoints();
    uint32_t const saved = keeper.count;
    for (uint32_t i = 0; i < saved; i++) {
        uint64_t const from = keeper.seqs[i];
        close_audit();
        open_audit(1);
        cr_assert_eq(begin(i, true, &problem), 0, "%s", problem.text);
        give_ledger(&forge);
        uint64_t const given = give_receipts(&forge, from + 1, forge_seq(&forge) - 1);
        const struct audit_report *const report = run(EXIT_OK);
        cr_assert_eq(report->receipts_reconciled, given);
        cr_assert_eq(report->coverage.start_seq, from);
        cr_assert_neq(report->coverage.start_signers, 0);
        cr_assert_eq(report->coverage.last_batch, whole.last_batch);
        cr_assert(
            digest_equal(&report->coverage.last_checkpoint_digest, &whole.last_checkpoint_digest));
    }
    close_audit();
    open_audit(1);
    for (uint32_t i = 0; i < saved; i++) {
        buffer_free(&keeper.states[i]);
        buffer_free(&keeper.progress[i]);
        buffer_free(&keeper.chains[i]);
    }
}

/* Who lies behind a part's beginning is convicted as by the whole audit. */
Test(audit_parts, a_part_of_a_later_configuration_convicts) {
    struct problem problem = {.code = EXIT_OK};
    close_audit();
    open_watched();
    change();
    story_append_honest(&story, 40);
    story_append(&story, 1, 1, RULE_OUTCOME);
    uint64_t const signers = forge_batch_at(&forge, forge_seq(&forge))->signers;
    story_append(&story, 1, 1, RULE_NONE);
    give_ledger(&forge);
    (void)run(EXIT_MISBEHAVIOUR);
    uint32_t const saved = keeper.count;
    uint32_t convicted = 0;
    for (uint32_t i = 0; i + 1 < saved; i++) {
        close_audit();
        open_audit(1);
        cr_assert_eq(begin(i, true, &problem), 0, "%s", problem.text);
        give_ledger(&forge);
        const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
        cr_assert_eq(report->findings[0].verdict.kind, PROOF_WRONG_OUTCOME);
        cr_assert_eq(report->findings[0].verdict.configuration.number, 2);
        cr_assert_eq(report->findings[0].verdict.blamed, signers);
        cr_assert_eq(check_bytes(buffer_span(&report->findings[0].file)), PROOF_VALID);
        convicted++;
    }
    cr_assert_geq(convicted, 1);
    for (uint32_t i = 0; i < saved; i++) {
        buffer_free(&keeper.states[i]);
        buffer_free(&keeper.progress[i]);
        buffer_free(&keeper.chains[i]);
    }
}
