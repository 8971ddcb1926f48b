/*
 * audit: tests of audit-tool/: for every lie there is one proof, which verifies for a stranger and
 * names those who told it; and whatever is done to honest ledgers, receipts and proofs, nobody is
 * blamed.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "ledger/segment.h"
#include "tests/unit/audit_fixture.h"

#define LIE_AFTER 37u /* so that fragments begin at a checkpoint, not at genesis */

TestSuite(audit, .init = set_up, .fini = tear_down, .timeout = 300);

static struct proof_verdict expect_finding(const struct audit_report *report, enum proof_kind kind,
                                           uint64_t blamed) {
    struct proof_verdict verdict;
    cr_assert_eq(report->finding_count, 1, "%u findings", report->finding_count);
    const struct buffer *const file = &report->findings[0].file;
    cr_assert_eq(proof_verify(&verdict, &consortium.configuration.service, buffer_span(file)),
                 PROOF_VALID);
    cr_assert_eq(verdict.kind, kind);
    cr_assert_eq(verdict.blamed, blamed, "%s: %llx", rule_name(verdict.rule),
                 (unsigned long long)verdict.blamed);
    return verdict;
}

/* ---- nothing to find ---- */

Test(audit, honest_ledgers_and_receipts) {
    story_append_honest(&story, 90);
    struct forge shorter;
    struct story again = {.forge = &shorter, .random = 11};
    forge_init(&shorter, &consortium);
    story_append_honest(&again, 33);
    give_ledger(&shorter);
    give_ledger(&forge);
    give_ledger(&forge);
    uint64_t const given = give_receipts(&forge, 1, 90);
    const struct audit_report *const report = run(EXIT_OK);
    cr_assert_eq(report->batches, 90);
    cr_assert_eq(report->transactions, forge.next_index - 1);
    cr_assert_eq(report->receipts_valid, given);
    cr_assert_eq(report->receipts_reconciled, given);
    cr_assert_eq(report->finding_count + report->notice_count, 0);
    forge_free(&shorter);
}

Test(audit, threads_change_nothing) {
    close_audit();
    open_audit(4);
    story_append_honest(&story, 40);
    story_append(&story, 2, 1, RULE_EVIDENCE_NONCE);
    story_append(&story, 1, 1, RULE_NONE);
    give_ledger(&forge);
    expect_finding(run(EXIT_MISBEHAVIOUR), PROOF_BROKEN_BATCH, forge.signers);
}

Test(audit, a_ledger_that_ends_within_a_batch) {
    story_append_honest(&story, 20);
    struct fake_disk *const disk = give_ledger(&forge);
    struct problem problem = {.code = EXIT_OK};
    struct segment_writer *const writer = malloc(sizeof *writer);
    struct segment_torn_tail torn;
    struct segment_writer_options const options = {.service = consortium.configuration.service};
    cr_assert_eq(segment_writer_open(writer, &torn, &disk->disk, &options, &problem), SEGMENT_OK);
    /* Crashed while writing: the last batch lacks its end. */
    cr_assert_eq(segment_writer_truncate(writer, forge_entry_count(&forge) - 1, &problem),
                 SEGMENT_OK);
    segment_writer_close(writer);
    free(writer);
    const struct audit_report *const report = run(EXIT_OK);
    cr_assert_eq(report->batches, 19);
}

Test(audit, bad_receipts_blame_nobody) {
    struct buffer receipt;
    struct problem problem = {.code = EXIT_OK};
    story_append_honest(&story, 9);
    give_ledger(&forge);
    give_receipts(&forge, 1, 9);
    buffer_init(&receipt, RECEIPT_SIZE_MAX);
    forge_receipt(&forge, &(struct forge_place){.seq = 1}, &receipt);
    for (size_t at = 0; at < receipt.size; at += 7) {
        receipt.data[at] ^= 4;
        cr_assert_eq(audit_add_receipt(audit, "bad", buffer_span(&receipt), &problem), 0);
        receipt.data[at] ^= 4;
    }
    const struct audit_report *const report = run(EXIT_INVALID);
    cr_assert_eq(report->finding_count, 0);
    cr_assert_eq(report->receipts_invalid, (receipt.size + 6) / 7);
    cr_assert_eq(report->receipts_reconciled, report->receipts_valid);
    buffer_free(&receipt);
}

Test(audit, receipts_beyond_the_ledger) {
    story_append_honest(&story, 9);
    give_ledger(&forge);
    uint64_t const next = forge.next_index;
    story_append_honest(&story, 9);
    give_receipts(&forge, 5, 18);
    const struct audit_report *const report = run(EXIT_CANNOT_AUDIT);
    cr_assert_eq(report->finding_count, 0);
    cr_assert(report->has_unchecked);
    cr_assert_geq(report->unchecked_first, next);
}

Test(audit, no_ledger_at_all) {
    story_append_honest(&story, 3);
    give_receipts(&forge, 1, 3);
    run(EXIT_CANNOT_AUDIT);
}

/* ---- one batch that breaks a rule ---- */

static void expect_broken(enum rule rule, uint64_t blamed) {
    enum proof_kind const kind = rule == RULE_OUTCOME             ? PROOF_WRONG_OUTCOME
                                 : rule == RULE_CHECKPOINT_DIGEST ? PROOF_WRONG_CHECKPOINT
                                                                  : PROOF_BROKEN_BATCH;
    give_ledger(&forge);
    struct proof_verdict const verdict = expect_finding(run(EXIT_MISBEHAVIOUR), kind, blamed);
    cr_assert_eq(verdict.rule, rule, "%s", rule_name(verdict.rule));
    cr_assert_eq(audit_report(audit)->notice_count, 0);
}

/* The rules that story_append can break by itself. */
static const enum rule lies[] = {
    RULE_VIEW,
    RULE_VIEW_START,
    RULE_SEQUENCE,
    RULE_FIRST_INDEX,
    RULE_BATCH_KIND,
    RULE_EVIDENCE_RANGE,
    RULE_EVIDENCE_SIGNERS,
    RULE_EVIDENCE_CONTENT,
    RULE_EVIDENCE_NONCE,
    RULE_EVIDENCE_SIGNATURE,
    RULE_GOVERNANCE_INDEX,
    RULE_CHECKPOINT_SEQUENCE,
    RULE_CHECKPOINT_DIGEST,
    RULE_TIME,
    RULE_OUTCOME,
};

Test(audit, every_lie_convicts_its_signers) {
    static const uint32_t lie_after[] = {5, LIE_AFTER};
    for (size_t i = 0; i < 2 * sizeof lies / sizeof lies[0]; i++) {
        story_append_honest(&story, lie_after[i % 2]);
        forge.signers = 0xb;
        story_append(&story, 2, 1, lies[i / 2]);
        story_append(&story, 1, 1, RULE_NONE);
        story_append(&story, 1, 1, RULE_NONE);
        expect_broken(lies[i / 2], 0xb);
        tear_down();
        set_up();
    }
}

Test(audit, a_lie_at_a_new_checkpoint) {
    for (uint32_t batches = 30; batches < 50; batches++) {
        story_append_honest(&story, batches);
        forge.signers = 0xd;
        story_append(&story, 1, 1, RULE_CHECKPOINT_DIGEST);
        story_append(&story, 1, 1, RULE_NONE);
        expect_broken(RULE_CHECKPOINT_DIGEST, 0xd);
        tear_down();
        set_up();
    }
}

Test(audit, without_evidence_the_primary_alone) {
    story_append_honest(&story, LIE_AFTER);
    story_append(&story, 2, 1, RULE_OUTCOME);
    expect_broken(RULE_OUTCOME, 0x1);
}

Test(audit, a_receipt_is_evidence_too) {
    story_append_honest(&story, LIE_AFTER);
    forge.signers = 0xd;
    story_append(&story, 2, 1, RULE_OUTCOME);
    give_receipts(&forge, 10, forge_seq(&forge));
    expect_broken(RULE_OUTCOME, 0xd);
}

Test(audit, a_batch_of_another_configuration) {
    story_append_honest(&story, LIE_AFTER);
    story_append(&story, 2, 1, RULE_CONFIGURATION);
    story_append(&story, 2, 1, RULE_NONE);
    expect_broken(RULE_CONFIGURATION, 0x1);
}

Test(audit, lies_about_requests) {
    static const char *const calls[] = {"kv.put a 1"};
    struct order order = {
        .author = &consortium.users[0], .min_index = 1, .call_count = 1, .calls = calls};
    for (unsigned i = 0; i < 4; i++) {
        static const enum rule rules[] = {RULE_REQUEST_AUTHOR, RULE_REQUEST_SIGNATURE,
                                          RULE_REQUEST_WINDOW, RULE_REQUEST_DUPLICATE};
        order.min_index = 1;
        order.author = &consortium.users[0];
        story_append_honest(&story, LIE_AFTER);
        story_append_order(&story, &order, RULE_NONE, 0);
        story_append_honest(&story, 20);
        forge.signers = 0x7;
        order.author = i == 0 ? &consortium.stranger : &consortium.users[0];
        order.min_index = i == 2 ? forge.next_index + 1 : 1;
        order.number = i == 3 ? 0 : 1;
        story_append_order(&story, &order, rules[i], i == 1 ? 40 : 0);
        order.number = 0;
        story_append(&story, 1, 1, RULE_NONE);
        expect_broken(rules[i], 0x7);
        tear_down();
        set_up();
    }
}

Test(audit, what_was_not_signed_convicts_nobody) {
    static const enum rule rules[] = {RULE_ENTRY_ENCODING, RULE_ENTRY_ORDER, RULE_SIGNATURE,
                                      RULE_LEDGER_ROOT, RULE_BATCH_ROOT};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        story_append_honest(&story, LIE_AFTER);
        story_append(&story, 2, 1, rules[i]);
        story_append(&story, 1, 1, RULE_NONE);
        give_ledger(&forge);
        const struct audit_report *const report = run(EXIT_CORRUPT);
        cr_assert_eq(report->finding_count, 0);
        cr_assert_eq(report->batches, LIE_AFTER);
        cr_assert(strstr(report->notices[0].text, ".seg: offset ") != NULL, "%s",
                  report->notices[0].text);
        tear_down();
        set_up();
    }
}

/* ---- two histories ---- */

/* Two histories that part after `common` batches, each signed by its own quorum. */
static void part_ways(struct fork *fork, uint32_t common, uint64_t ours, uint64_t theirs) {
    fork_open(fork);
    story_append_honest(&story, common);
    story_append_honest(&fork->story, common);
    fork->story.random ^= 12345;
    forge.signers = ours;
    fork->forge.signers = theirs;
}

static void go_on(struct fork *fork, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        story_append(&story, 1 + story_draw(&story, 3), 1, RULE_NONE);
        story_append(&fork->story, 1 + story_draw(&fork->story, 3), 1, RULE_NONE);
    }
}

Test(audit, two_ledgers) {
    struct fork fork;
    part_ways(&fork, 20, 0x7, 0xd);
    go_on(&fork, 10);
    give_ledger(&forge);
    give_ledger(&fork.forge);
    struct proof_verdict const verdict =
        expect_finding(run(EXIT_MISBEHAVIOUR), PROOF_CONFLICTING_CERTIFICATES, 0x5);
    cr_assert_eq(verdict.seq, 21);
    cr_assert_str_eq(configuration_member_of(&verdict.configuration, 2), "bank-c");
    fork_close(&fork);
}

Test(audit, a_ledger_and_receipts) {
    struct fork fork;
    part_ways(&fork, 20, 0x7, 0xb);
    go_on(&fork, 10);
    give_ledger(&forge);
    give_receipts(&fork.forge, 1, 25);
    struct proof_verdict const verdict =
        expect_finding(run(EXIT_MISBEHAVIOUR), PROOF_CONFLICTING_CERTIFICATES, 0x3);
    cr_assert_eq(verdict.seq, 21);
    fork_close(&fork);
}

Test(audit, receipts_alone) {
    struct fork fork;
    part_ways(&fork, 20, 0x7, 0xb);
    go_on(&fork, 10);
    give_receipts(&forge, 1, 22);
    give_receipts(&fork.forge, 1, 22);
    expect_finding(run(EXIT_MISBEHAVIOUR), PROOF_CONFLICTING_CERTIFICATES, 0x3);
    fork_close(&fork);
}

Test(audit, receipts_of_different_batches) {
    struct fork fork;
    part_ways(&fork, 20, 0x7, 0xb);
    /* Ours takes small steps, theirs large ones: soon the same indices lie in other batches. */
    for (uint32_t i = 0; i < 4; i++) {
        story_append(&story, 1, 1, RULE_NONE);
        story_append(&fork.story, 8, 1, RULE_NONE);
    }
    give_receipts(&forge, 24, 24);
    give_receipts(&fork.forge, 22, 22);
    struct proof_verdict const verdict =
        expect_finding(run(EXIT_MISBEHAVIOUR), PROOF_CONFLICTING_CERTIFICATES, 0x3);
    cr_assert_neq(verdict.seq, verdict.seq_other);
    fork_close(&fork);
}

Test(audit, the_last_batch_without_evidence) {
    struct fork fork;
    part_ways(&fork, 20, 0x7, 0xb);
    go_on(&fork, 1);
    give_ledger(&forge);
    give_ledger(&fork.forge);
    expect_finding(run(EXIT_MISBEHAVIOUR), PROOF_EQUIVOCATION, 0x1);
    fork_close(&fork);
}

Test(audit, a_receipt_and_a_batch_without_evidence) {
    struct fork fork;
    part_ways(&fork, 20, 0x7, 0xb);
    go_on(&fork, 1);
    give_ledger(&forge);
    give_receipts(&fork.forge, 21, 21);
    expect_finding(run(EXIT_MISBEHAVIOUR), PROOF_EQUIVOCATION, 0x1);
    fork_close(&fork);
}

Test(audit, larger_consortia) {
    for (uint32_t count = 5; count <= 10; count++) {
        struct fork fork;
        tear_down();
        set_up_with(count);
        uint64_t const quorum = consortium.configuration.quorum;
        uint64_t const first = ((uint64_t)1 << quorum) - 1;
        uint64_t const last = (first << (count - quorum)) | 1; /* as many others as possible */
        uint64_t const theirs = last & ~((uint64_t)1 << (count - quorum));
        part_ways(&fork, 12, first, (uint32_t)__builtin_popcountll(last) > quorum ? theirs : last);
        go_on(&fork, 6);
        give_ledger(&forge);
        give_ledger(&fork.forge);
        uint64_t const blamed = forge.signers & fork.forge.signers;
        cr_assert_geq((uint32_t)__builtin_popcountll(blamed),
                      consortium.configuration.faults_max + 1);
        expect_finding(run(EXIT_MISBEHAVIOUR), PROOF_CONFLICTING_CERTIFICATES, blamed);
        fork_close(&fork);
    }
}

/* The sound ledger is followed, whichever comes first, so that its receipts are reconciled. */
Test(audit, a_lie_beside_a_sound_ledger) {
    struct fork fork;
    part_ways(&fork, LIE_AFTER, 0x7, 0xd);
    story_append(&fork.story, 2, 1, RULE_OUTCOME);
    story_append(&fork.story, 2, 1, RULE_NONE);
    go_on(&fork, 5);
    give_ledger(&fork.forge);
    give_ledger(&forge);
    uint64_t const given = give_receipts(&forge, 1, forge_seq(&forge));
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    cr_assert_eq(report->receipts_reconciled, given);
    cr_assert_eq(report->batches, forge_seq(&forge));
    cr_assert_geq(report->finding_count, 1);
    cr_assert_eq(report->findings[0].verdict.blamed, 0xd);
    fork_close(&fork);
}

/* It ends before the receipt's batch, but gave out the receipt's indices to another. */
Test(audit, a_receipt_behind_a_ledger_that_took_its_indices) {
    struct fork fork;
    part_ways(&fork, 12, 0x7, 0xd);
    story_append(&story, 6, 1, RULE_NONE);
    story_append(&story, 1, 1, RULE_NONE); /* with the evidence for batch 13 */
    for (uint32_t i = 0; i < 3; i++) {
        story_append(&fork.story, 1, 1, RULE_NONE);
    }
    cr_assert_lt(forge_batch_at(&fork.forge, 15)->body.first_index,
                 forge_batch_at(&forge, 14)->body.first_index);
    give_ledger(&forge);
    give_receipts(&fork.forge, 15, 15);
    expect_finding(run(EXIT_MISBEHAVIOUR), PROOF_CONFLICTING_CERTIFICATES, 0x5);
    fork_close(&fork);
}

/* A ledger that ends with the batch does not show who vouches for it; another of the same does. */
Test(audit, evidence_in_the_longer_of_two_ledgers) {
    struct fork fork;
    part_ways(&fork, 12, 0x7, 0xd);
    go_on(&fork, 1);
    give_ledger(&forge); /* up to batch 13 */
    go_on(&fork, 4);
    give_ledger(&forge);
    give_ledger(&fork.forge);
    expect_finding(run(EXIT_MISBEHAVIOUR), PROOF_CONFLICTING_CERTIFICATES, 0x5);
    fork_close(&fork);
}

/* ---- damage ---- */

static void damage(struct forge *victim, uint32_t round) {
    size_t const first = consortium.genesis_bytes.size;
    size_t const at = first + story_draw(&story, (uint32_t)(victim->bytes.size - first));
    victim->bytes.data[at] ^= (uint8_t)(1u << (round % 8));
}

Test(audit, changed_contents_with_good_checksums) {
    story_append_honest(&story, 24);
    for (uint32_t round = 0; round < 150; round++) {
        size_t const size = forge.bytes.size;
        uint8_t *const copy = malloc(size);
        cr_assert(copy != NULL);
        memcpy(copy, forge.bytes.data, size);
        close_audit();
        open_audit(1);
        uint64_t const given = give_receipts(&forge, 1, 24);
        damage(&forge, round);
        struct fake_disk *const damaged = give_ledger(&forge);
        cr_assert(damaged != NULL);
        memcpy(forge.bytes.data, copy, size);
        if (round % 2 == 0) {
            give_ledger(&forge);
        }
        free(copy);
        struct problem problem = {.code = EXIT_OK};
        cr_assert_eq(audit_run(audit, &problem), 0);
        const struct audit_report *const report = audit_report(audit);
        cr_assert_eq(report->finding_count, 0, "round %u", round);
        cr_assert_eq(report->gravest_notice, EXIT_CORRUPT);
        if (round % 2 == 0) {
            cr_assert_eq(report->receipts_reconciled, given);
        }
    }
}

Test(audit, damaged_files) {
    story_append_honest(&story, 24);
    struct fake_disk *const whole = give_ledger(&forge);
    struct fake_names const *const names = &whole->history[whole->pending];
    cr_assert_eq(names->count, 1);
    char name[FAKE_NAME_SIZE];
    memcpy(name, names->names[0].text, sizeof name);
    struct fake_disk *const kept = fake_disk_clone(whole);
    size_t const size = fake_disk_content(kept, name)->size;
    for (uint32_t round = 0; round < 200; round++) {
        struct problem problem = {.code = EXIT_OK};
        close_audit();
        open_audit(1);
        struct fake_disk *const disk = fake_disk_clone(kept);
        disks[disk_count++] = disk;
        struct buffer *const content = fake_disk_content(disk, name);
        if (round % 4 == 3) {
            content->size = SEGMENT_HEADER_SIZE + 1 +
                            story_draw(&story, (uint32_t)size - SEGMENT_HEADER_SIZE - 2);
        } else {
            content->data[story_draw(&story, (uint32_t)size)] ^= (uint8_t)(1u << round % 8);
        }
        cr_assert_eq(audit_add_ledger(audit, "ledger", &disk->disk, &problem), 0);
        cr_assert_eq(audit_run(audit, &problem), 0);
        const struct audit_report *const report = audit_report(audit);
        cr_assert_eq(report->finding_count, 0);
        if (report->notice_count != 0) {
            cr_assert(report->gravest_notice == EXIT_CORRUPT ||
                      report->gravest_notice == EXIT_INVALID);
            cr_assert(strstr(report->notices[0].text, ".seg") != NULL, "%s",
                      report->notices[0].text);
        } else {
            cr_assert_eq(round % 4, 3, "only a cut between two records goes unnoticed");
        }
    }
    fake_disk_free(kept);
}

/* ---- proofs ---- */

Test(audit, changed_proofs_of_equivocation) {
    struct fork fork;
    part_ways(&fork, 3, 0x7, 0xb);
    go_on(&fork, 1);
    give_ledger(&forge);
    give_ledger(&fork.forge);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    expect_no_change_holds(&report->findings[0].file, 0);
    fork_close(&fork);
}

Test(audit, changed_proofs_of_conflict) {
    struct fork fork;
    part_ways(&fork, 3, 0x7, 0xb);
    go_on(&fork, 2);
    give_ledger(&forge);
    give_ledger(&fork.forge);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    cr_assert_eq(report->findings[0].verdict.kind, PROOF_CONFLICTING_CERTIFICATES);
    expect_no_change_holds(&report->findings[0].file, 0);
    fork_close(&fork);
}

static void expect_fragment_holds(enum rule lie, uint32_t lie_after) {
    story_append_honest(&story, lie_after);
    story_append(&story, 1, 1, lie);
    story_append(&story, 1, 1, RULE_NONE);
    give_ledger(&forge);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    expect_no_change_holds(&report->findings[0].file, 700);
}

Test(audit, changed_proofs_from_genesis) {
    expect_fragment_holds(RULE_TIME, 3);
}

Test(audit, changed_proofs_of_a_broken_batch) {
    expect_fragment_holds(RULE_GOVERNANCE_INDEX, 17);
}

Test(audit, changed_proofs_of_a_wrong_outcome) {
    expect_fragment_holds(RULE_OUTCOME, 22);
}

Test(audit, changed_proofs_of_a_wrong_checkpoint) {
    expect_fragment_holds(RULE_CHECKPOINT_DIGEST, 23);
}

/* In place of the batches from `seq` to `last`, as the fragment has them, batch `seq` whole. */
static void end_with_whole_batch(struct forgery *forgery, uint64_t seq, uint64_t last) {
    struct fragment *const fragment = &forgery->proof.fragment;
    const struct forge_batch *const batch = forge_batch_at(&forge, seq);
    uint32_t count = fragment->entry_count - forge_batch_at(&forge, last)->entry_count;
    for (uint64_t i = seq; i < last; i++) {
        uint32_t const first = (uint32_t)forge_batch_at(&forge, i)->first_entry;
        for (uint32_t k = 0; k < forge_batch_at(&forge, i)->entry_count; k++) {
            count -= forge_entry_at(&forge, first + k).kind == ENTRY_REQUEST ? 0 : 1;
        }
    }
    struct entry *const entries =
        arena_alloc(&forgery->arena, (count + batch->entry_count) * sizeof *entries);
    memcpy(entries, fragment->entries, count * sizeof *entries);
    for (uint32_t k = 0; k < batch->entry_count; k++) {
        entries[count++] = forge_entry_at(&forge, batch->first_entry + k);
    }
    fragment->entries = entries;
    fragment->entry_count = count;
}

Test(audit, honest_batches_are_not_convicted_under_any_name) {
    story_append_honest(&story, 30);
    story_append(&story, 1, 1, RULE_TIME);
    story_append(&story, 1, 1, RULE_NONE);
    give_ledger(&forge);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    struct forgery forgery;
    struct buffer certificate;
    forgery_open(&forgery, &report->findings[0].file);
    buffer_init(&certificate, COMMIT_CERTIFICATE_SIZE_MAX);
    /* Cut the fragment before the guilty batch: its signers of batch 30 did nothing wrong. */
    end_with_whole_batch(&forgery, 30, 31);
    forge_certificate(&forge, 30, &certificate);
    forgery.proof.certificates[0] = buffer_span(&certificate);
    for (enum rule rule = RULE_NONE; rule < RULE_COUNT; rule = (enum rule)(rule + 1)) {
        forgery.proof.kind = PROOF_BROKEN_BATCH;
        forgery.proof.rule = span_text(rule_name(rule));
        /* A request that came twice is shown with the window, or with all that came since. */
        enum proof_check const check = forgery_check(&forgery);
        cr_assert_eq(check, rule == RULE_REQUEST_DUPLICATE ? PROOF_FRAGMENT : PROOF_NOTHING_BROKEN,
                     "%s: %s", rule_name(rule), proof_check_text(check));
    }
    forgery.proof.rule = (struct span){0};
    forgery.proof.kind = PROOF_WRONG_CHECKPOINT;
    cr_assert_eq(forgery_check(&forgery), PROOF_NOTHING_BROKEN);
    forgery.proof.kind = PROOF_WRONG_OUTCOME;
    cr_assert_eq(forgery_check(&forgery), PROOF_FRAGMENT, "it lacks requests and state");
    buffer_free(&certificate);
    forgery_close(&forgery);
}

Test(audit, a_false_state_is_not_believed) {
    story_append_honest(&story, 38);
    story_append(&story, 1, 1, RULE_OUTCOME);
    story_append(&story, 1, 1, RULE_NONE);
    give_ledger(&forge);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    struct forgery forgery;
    forgery_open(&forgery, &report->findings[0].file);
    cr_assert_gt(forgery.proof.fragment.state_count, 0);
    /* Another balance, and a header that goes with it: with that, honest outcomes look wrong. */
    struct state_item items[64];
    struct checker_snapshot snapshot;
    struct checkpoint_header header;
    struct state_hasher hasher;
    memcpy(items, forgery.proof.fragment.state,
           forgery.proof.fragment.state_count * sizeof items[0]);
    items[0].value = span_text("forged");
    forgery.proof.fragment.state = items;
    cr_assert_eq(forgery_check(&forgery), PROOF_FRAGMENT, "the root is not the header's");
    state_hasher_init(&hasher);
    for (uint32_t i = 0; i < forgery.proof.fragment.state_count; i++) {
        state_hasher_add(&hasher, items[i].key, items[i].value);
    }
    cr_assert_eq(
        checker_snapshot_decode(&snapshot, &forgery.arena, forgery.proof.fragment.snapshot),
        CODEC_OK);
    cr_assert_eq(checkpoint_header_decode(&header, &forgery.arena, snapshot.header), CODEC_OK);
    header.state_root = state_hasher_final(&hasher);
    struct buffer bytes[2];
    buffer_init(&bytes[0], CHECKPOINT_HEADER_SIZE_MAX);
    buffer_init(&bytes[1], SNAPSHOT_SIZE_MAX);
    cr_assert(checkpoint_header_encode(&bytes[0], &header));
    snapshot.header = buffer_span(&bytes[0]);
    cr_assert(checker_snapshot_encode(&bytes[1], &snapshot));
    forgery.proof.fragment.snapshot = buffer_span(&bytes[1]);
    enum proof_check const check = forgery_check(&forgery);
    cr_assert(check == PROOF_CHECKPOINT || check == PROOF_FRAGMENT, "%s", proof_check_text(check));
    buffer_free(&bytes[0]);
    buffer_free(&bytes[1]);
    forgery_close(&forgery);
}

Test(audit, two_certificates_of_one_chain_are_no_conflict) {
    story_append_honest(&story, 20);
    struct buffer certificates[2];
    buffer_init(&certificates[0], COMMIT_CERTIFICATE_SIZE_MAX);
    buffer_init(&certificates[1], COMMIT_CERTIFICATE_SIZE_MAX);
    for (uint64_t a = 1; a <= 20; a += 3) {
        for (uint64_t b = 1; b <= 20; b++) {
            struct forgery forgery = {
                .proof = {.kind = PROOF_CONFLICTING_CERTIFICATES, .certificate_count = 2}};
            buffer_init(&forgery.file, EVIDENCE_FILE_SIZE_MAX);
            buffer_clear(&certificates[0]);
            buffer_clear(&certificates[1]);
            forge_certificate(&forge, a, &certificates[0]);
            forge_certificate(&forge, b, &certificates[1]);
            forgery.proof.genesis = buffer_span(&consortium.genesis_bytes);
            forgery.proof.certificates[0] = buffer_span(&certificates[0]);
            forgery.proof.certificates[1] = buffer_span(&certificates[1]);
            cr_assert_eq(forgery_check(&forgery), PROOF_NO_CONFLICT);
            buffer_free(&forgery.file);
        }
    }
    buffer_free(&certificates[0]);
    buffer_free(&certificates[1]);
}

Test(audit, one_statement_twice_is_no_equivocation) {
    story_append_honest(&story, 2);
    struct forgery forgery = {.proof = {.kind = PROOF_EQUIVOCATION, .statement_count = 2}};
    buffer_init(&forgery.file, EVIDENCE_FILE_SIZE_MAX);
    forgery.proof.genesis = buffer_span(&consortium.genesis_bytes);
    for (unsigned i = 0; i < 2; i++) {
        const struct forge_batch *const batch = forge_batch_at(&forge, 1);
        forgery.proof.statements[i] = (struct signed_body){.body = buffer_span(&batch->statement),
                                                           .signature = batch->signature};
    }
    cr_assert_eq(forgery_check(&forgery), PROOF_NO_CONFLICT);
    const struct forge_batch *const other = forge_batch_at(&forge, 2);
    forgery.proof.statements[1] =
        (struct signed_body){.body = buffer_span(&other->statement), .signature = other->signature};
    cr_assert_eq(forgery_check(&forgery), PROOF_STATEMENTS, "of two batches");
    buffer_free(&forgery.file);
}
