/*
 * handing: what a run's auditors are given, and the judgement of what they say; see coalition.h.
 *
 * Completeness: where the oracle (oracle.h) sees a contradiction, or a ledger shows a lie of an
 * ending together with the certificate for it, one of the auditor's proofs names f + 1 or more.
 * Soundness: no proof names anybody outside of the coalition; each verifies by itself; with any
 * byte changed it does not, or names no one else. A coalition that rests, or ledgers cut short
 * without any contradiction: nothing is found, and what is missing is said.
 */
#include <stdio.h>
#include <stdlib.h>

#include "audit-tool/audit.h"
#include "base/check.h"
#include "ledger/segment.h"
#include "tests/sim/coalition.h"
#include "tests/sim/fake_disk.h"

#define AUDITS 5u
#define FLIPS 4u

/* ---- the stock ---- */

void stock_take_ledger(struct coalition *coalition, const char *name, const struct entry *entries,
                       uint64_t count, uint64_t lie_shown) {
    CHECK(coalition->ledger_count < STOCK_LEDGERS_MAX && count > 0);
    struct stock_ledger *const ledger = &coalition->ledgers[coalition->ledger_count++];
    struct batch batch;
    *ledger = (struct stock_ledger){
        .entries = cluster_zeroed(count, sizeof *entries),
        .ends_unit = cluster_zeroed(count, sizeof(bool)),
        .count = 1,
        .lie_shown = lie_shown,
    };
    (void)snprintf(ledger->name, sizeof ledger->name, "%s", name);
    memcpy(ledger->entries, entries, count * sizeof *entries);
    ledger->ends_unit[0] = true;
    batch_init(&batch);
    for (uint64_t i = 1; i < count; i++) {
        enum rule rule = RULE_NONE;
        enum batch_step const step = batch_add(&batch, i, &entries[i], &rule);
        CHECK(step != BATCH_BROKEN);
        if (step != BATCH_MORE) {
            ledger->ends_unit[i] = true;
            ledger->count = i + 1;
            batch_clear(&batch);
        }
    }
    batch_free(&batch);
}

void stock_take_receipt(struct coalition *coalition, struct span receipt) {
    if (coalition->receipt_count < STOCK_RECEIPTS_MAX) {
        coalition->receipts[coalition->receipt_count++] = receipt;
    }
}

void stock_take_worlds(struct coalition *coalition) {
    for (uint32_t w = 0; w < coalition->world_count; w++) {
        const struct world *const world = &coalition->worlds[w];
        for (uint32_t i = 0; i < coalition->replicas; i++) {
            const struct entry_list *const list = &world->cluster->nodes[i].disk.durable;
            char name[48];
            (void)snprintf(name, sizeof name, "replica %u of world %u", i, w);
            if ((world->members >> i & 1) != 0 && list->first == 0) {
                stock_take_ledger(coalition, name, list->items, list->count, 0);
            }
        }
        for (uint32_t i = 0; i < world->cluster->request_count; i++) {
            if (world->cluster->requests[i].receipt.size != 0) {
                stock_take_receipt(coalition, world->cluster->requests[i].receipt);
            }
        }
    }
}

void stock_free(struct coalition *coalition) {
    for (uint32_t i = 0; i < coalition->ledger_count; i++) {
        free(coalition->ledgers[i].entries);
        free(coalition->ledgers[i].ends_unit);
    }
}

/* ---- one handing in ---- */

struct handed_ledger {
    const struct stock_ledger *stock;
    uint64_t count; /* entries of it */
    struct fake_disk *disk;
};

struct handing {
    struct coalition *coalition;
    struct cluster *cluster; /* for words */
    struct audit *audit;
    uint32_t ledger_count;
    struct handed_ledger ledgers[AUDIT_LEDGERS_MAX];
    uint32_t receipt_count;
    uint32_t receipts[STOCK_RECEIPTS_MAX]; /* numbers in the stock */
    struct oracle_judgement judgement;
    bool shows_lie;
    bool reaches_all; /* some ledger goes as far as every receipt */
    bool must_convict;
    uint64_t nth;
};

static void hand_ledger(struct handing *handing, const struct stock_ledger *stock, bool whole) {
    struct prng *const prng = &handing->coalition->prng;
    uint64_t count = whole ? stock->count : prng_between(prng, 1, stock->count);
    while (!stock->ends_unit[count - 1]) {
        count--;
    }
    if (handing->ledger_count < AUDIT_LEDGERS_MAX) {
        handing->ledgers[handing->ledger_count++] =
            (struct handed_ledger){.stock = stock, .count = count};
        handing->shows_lie |= stock->lie_shown != 0 && count >= stock->lie_shown;
    }
}

/* All, half, few, or one receipt; all ledgers, some or one; whole, or cut at some place. */
static void draw_handing(struct handing *handing) {
    static const uint32_t shares[] = {1000, 1000, 500, 100, 0};
    struct coalition *const coalition = handing->coalition;
    struct prng *const prng = &coalition->prng;
    uint32_t const of_receipts = shares[prng_below(prng, 5)];
    uint32_t const of_ledgers = shares[prng_below(prng, 5)];
    uint32_t const cut_permille = prng_chance(prng, 400) ? 500 : 0;
    for (uint32_t i = 0; i < coalition->ledger_count && handing->nth + 1 == AUDITS; i++) {
        if (coalition->ledgers[i].lie_shown != 0) {
            hand_ledger(handing, &coalition->ledgers[i], true);
            return; /* by itself: nothing but the lie convicts */
        }
    }
    for (uint32_t i = 0; i < coalition->receipt_count; i++) {
        if (prng_chance(prng, of_receipts)) {
            handing->receipts[handing->receipt_count++] = i;
        }
    }
    while (of_receipts == 0 && coalition->receipt_count != 0 && handing->receipt_count < 2) {
        handing->receipts[handing->receipt_count++] =
            (uint32_t)prng_below(prng, coalition->receipt_count);
    }
    for (uint32_t i = 0; i < coalition->ledger_count; i++) {
        if (prng_chance(prng, of_ledgers)) {
            hand_ledger(handing, &coalition->ledgers[i], !prng_chance(prng, cut_permille));
        }
    }
    if (handing->ledger_count == 0 && (handing->receipt_count == 0 || prng_chance(prng, 900))) {
        hand_ledger(handing, &coalition->ledgers[prng_below(prng, coalition->ledger_count)],
                    !prng_chance(prng, cut_permille));
    }
}

/* ---- what must come of it ---- */

static void consult_oracle(struct handing *handing) {
    const struct coalition *const coalition = handing->coalition;
    struct oracle_ledger ledgers[AUDIT_LEDGERS_MAX];
    struct oracle_batch *const receipts =
        cluster_zeroed(handing->receipt_count + 1, sizeof *receipts);
    uint64_t furthest = 0;
    uint64_t reached = 0;
    for (uint32_t i = 0; i < handing->receipt_count; i++) {
        receipts[i] = oracle_receipt_read(coalition->receipts[handing->receipts[i]]);
        furthest = receipts[i].seq > furthest ? receipts[i].seq : furthest;
    }
    for (uint32_t i = 0; i < handing->ledger_count; i++) {
        const struct handed_ledger *const handed = &handing->ledgers[i];
        oracle_ledger_read(&ledgers[i], handed->stock->entries, handed->count);
        reached = ledgers[i].batch_count > reached ? ledgers[i].batch_count : reached;
    }
    handing->judgement =
        oracle_judge(receipts, handing->receipt_count, ledgers, handing->ledger_count);
    handing->reaches_all = reached >= furthest;
    handing->must_convict = handing->judgement.rule != 0 || handing->shows_lie;
    for (uint32_t i = 0; i < handing->ledger_count; i++) {
        oracle_ledger_free(&ledgers[i]);
    }
    free(receipts);
}

/* ---- the auditor ---- */

static _Noreturn void fail(const struct handing *handing, const struct problem *problem) {
    cluster_fail(handing->cluster, "the audit fails: %s", problem->text);
}

static void write_ledger(const struct handing *handing, struct handed_ledger *handed) {
    struct segment_writer_options const options = {.service =
                                                       handing->cluster->configuration->service};
    struct segment_writer *const writer = cluster_zeroed(1, sizeof *writer);
    struct segment_torn_tail torn;
    struct problem problem = {.code = EXIT_OK};
    uint64_t first = 0;
    handed->disk = fake_disk_new();
    if (segment_writer_open(writer, &torn, &handed->disk->disk, &options, &problem) != SEGMENT_OK) {
        fail(handing, &problem);
    }
    for (uint64_t i = 0; i < handed->count; i++) {
        if (!handed->stock->ends_unit[i]) {
            continue;
        }
        if (segment_writer_append(writer, &handed->stock->entries[first], (size_t)(i + 1 - first),
                                  true, &problem) != SEGMENT_OK) {
            fail(handing, &problem);
        }
        first = i + 1;
    }
    if (segment_writer_sync(writer, &problem) != SEGMENT_OK) {
        fail(handing, &problem);
    }
    segment_writer_close(writer);
    free(writer);
}

static void run_audit(struct handing *handing) {
    const struct coalition *const coalition = handing->coalition;
    struct problem problem = {.code = EXIT_OK};
    handing->audit = audit_new(
        &(struct audit_options){.configuration = handing->cluster->configuration,
                                .genesis = buffer_span(&handing->cluster->consortium.genesis_bytes),
                                .jobs = 1});
    CHECK(handing->audit != NULL);
    for (uint32_t i = 0; i < handing->ledger_count; i++) {
        struct handed_ledger *const handed = &handing->ledgers[i];
        write_ledger(handing, handed);
        if (audit_add_ledger(handing->audit, handed->stock->name, &handed->disk->disk, &problem) !=
            0) {
            fail(handing, &problem);
        }
    }
    for (uint32_t i = 0; i < handing->receipt_count; i++) {
        if (audit_add_receipt(handing->audit, "receipt", coalition->receipts[handing->receipts[i]],
                              &problem) != 0) {
            fail(handing, &problem);
        }
    }
    if (audit_run(handing->audit, &problem) != 0) {
        fail(handing, &problem);
    }
}

/* ---- the judgement ---- */

static void say_what_was_handed(const struct handing *handing) {
    const struct audit_report *const report = audit_report(handing->audit);
    (void)fprintf(stderr, "audit %llu: %u receipts", (unsigned long long)handing->nth,
                  handing->receipt_count);
    for (uint32_t i = 0; i < handing->receipt_count && i < 4; i++) {
        struct oracle_batch const batch =
            oracle_receipt_read(handing->coalition->receipts[handing->receipts[i]]);
        (void)fprintf(stderr, " (%llu, %llu)", (unsigned long long)batch.view,
                      (unsigned long long)batch.seq);
    }
    for (uint32_t i = 0; i < handing->ledger_count; i++) {
        const struct handed_ledger *const handed = &handing->ledgers[i];
        struct oracle_ledger read;
        oracle_ledger_read(&read, handed->stock->entries, handed->count);
        (void)fprintf(stderr, "\n  %s: %llu of %llu entries, batches up to %llu, evidence to %llu;",
                      handed->stock->name, (unsigned long long)handed->count,
                      (unsigned long long)handed->stock->count,
                      (unsigned long long)read.batch_count, (unsigned long long)read.evidenced);
        for (uint64_t v = 0; v < read.view_count; v++) {
            (void)fprintf(stderr, " view %llu of (%llu, %llu)",
                          (unsigned long long)read.views[v].view,
                          (unsigned long long)read.views[v].chosen.view,
                          (unsigned long long)read.views[v].chosen.seq);
        }
        oracle_ledger_free(&read);
    }
    (void)fputs("\n", stderr);
    for (uint32_t i = 0; i < report->finding_count; i++) {
        const struct proof_verdict *const verdict = &report->findings[i].verdict;
        (void)fprintf(stderr, "  finding: kind %u blames %llx, view %llu, batch %llu: %s\n",
                      verdict->kind, (unsigned long long)verdict->blamed,
                      (unsigned long long)verdict->view, (unsigned long long)verdict->seq,
                      rule_name(verdict->rule));
    }
    for (uint32_t i = 0; i < report->notice_count; i++) {
        (void)fprintf(stderr, "  notice %d: %s\n", report->notices[i].code,
                      report->notices[i].text);
    }
}

/* Anybody else comes to the same; and a proof with another byte says nothing, or no more. */
static void judge_proof(struct handing *handing, const struct audit_finding *finding) {
    struct prng *const prng = &handing->coalition->prng;
    const struct digest *const service = &handing->cluster->configuration->service;
    struct proof_verdict verdict;
    struct buffer copy;
    if (proof_verify(&verdict, service, buffer_span(&finding->file)) != PROOF_VALID ||
        verdict.blamed != finding->verdict.blamed) {
        say_what_was_handed(handing);
        cluster_fail(handing->cluster, "a proof does not verify by itself");
    }
    buffer_init(&copy, EVIDENCE_FILE_SIZE_MAX);
    CHECK(buffer_append(&copy, buffer_span(&finding->file)));
    for (uint32_t i = 0; i < FLIPS; i++) {
        size_t const at = (size_t)prng_below(prng, copy.size);
        uint8_t const was = copy.data[at];
        copy.data[at] ^= (uint8_t)prng_between(prng, 1, 255);
        if (proof_verify(&verdict, service, buffer_span(&copy)) == PROOF_VALID &&
            (verdict.blamed & ~finding->verdict.blamed) != 0) {
            handing->coalition->result->account.false_accusations++;
            cluster_fail(handing->cluster, "with byte %zu changed, a proof names %llx, not %llx",
                         at, (unsigned long long)verdict.blamed,
                         (unsigned long long)finding->verdict.blamed);
        }
        copy.data[at] = was;
    }
    buffer_free(&copy);
}

static uint32_t judge_findings(struct handing *handing) {
    struct coalition *const coalition = handing->coalition;
    struct account_result *const account = &coalition->result->account;
    const struct audit_report *const report = audit_report(handing->audit);
    uint32_t most = 0;
    for (uint32_t i = 0; i < report->finding_count; i++) {
        const struct audit_finding *const finding = &report->findings[i];
        uint64_t const innocent = finding->verdict.blamed & ~(uint64_t)coalition->liars;
        uint32_t const named = (uint32_t)__builtin_popcountll(finding->verdict.blamed);
        if (innocent != 0 || coalition->rests) {
            account->false_accusations++;
            say_what_was_handed(handing);
            cluster_fail(
                handing->cluster, "the audit blames %llx, of whom %llx are correct",
                (unsigned long long)finding->verdict.blamed,
                (unsigned long long)(coalition->rests ? finding->verdict.blamed : innocent));
        }
        judge_proof(handing, finding);
        account->proofs++;
        account->kinds[finding->verdict.kind]++;
        most = named > most ? named : most;
    }
    return most;
}

static void judge_missing(struct handing *handing, uint32_t most) {
    struct coalition *const coalition = handing->coalition;
    struct account_result *const account = &coalition->result->account;
    uint32_t const due = handing->cluster->configuration->faults_max + 1;
    account->contradictions++;
    account->lies += handing->judgement.rule == 0;
    if (most < due) {
        account->missed++;
        say_what_was_handed(handing);
        cluster_fail(handing->cluster,
                     "the audit names %u of %x: rule %u of the oracle, claim (%llu, %llu) and "
                     "batch %llu%s",
                     most, coalition->liars, handing->judgement.rule,
                     (unsigned long long)handing->judgement.claim.view,
                     (unsigned long long)handing->judgement.claim.seq,
                     (unsigned long long)handing->judgement.seq,
                     handing->shows_lie ? ", and a ledger shows a lie" : "");
    }
    account->blamed_sum += most;
    if (account->blamed_min == 0 || most < account->blamed_min) {
        account->blamed_min = most;
    }
}

/* Nothing contradicts anything: what is missing is said, and nothing is damaged or bad. */
static void judge_quiet(const struct handing *handing) {
    const struct audit_report *const report = audit_report(handing->audit);
    enum exit_code const code = audit_exit_code(report);
    bool const is_bad = code != EXIT_OK && code != EXIT_CANNOT_AUDIT;
    if (report->finding_count == 0 && (is_bad || (code == EXIT_OK && !handing->reaches_all))) {
        say_what_was_handed(handing);
        cluster_fail(handing->cluster, "the audit of what is in order ends with %d", code);
    }
}

static void audit_once(struct coalition *coalition, uint64_t nth) {
    struct handing *const handing = cluster_zeroed(1, sizeof *handing);
    handing->coalition = coalition;
    handing->cluster = coalition->worlds[0].cluster;
    handing->nth = nth;
    draw_handing(handing);
    consult_oracle(handing);
    run_audit(handing);
    coalition->result->account.audits++;
    uint32_t const most = judge_findings(handing);
    if (handing->must_convict) {
        judge_missing(handing, most);
    } else {
        judge_quiet(handing);
    }
    cluster_trace(handing->cluster, "audit %llu: exit %d, %u findings of up to %u, rule %u",
                  (unsigned long long)nth, audit_exit_code(audit_report(handing->audit)),
                  audit_report(handing->audit)->finding_count, most, handing->judgement.rule);
    audit_free(handing->audit);
    for (uint32_t i = 0; i < handing->ledger_count; i++) {
        fake_disk_free(handing->ledgers[i].disk);
    }
    free(handing);
}

void stock_audit(struct coalition *coalition) {
    for (uint64_t i = 0; i < AUDITS; i++) {
        audit_once(coalition, i);
    }
}
