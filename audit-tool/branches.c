/*
 * branches: ledgers that go their own way, further than they were tried (protocol §10). Behind the
 * end of a configuration such a ledger may have come to another next one, and then whoever signs in
 * it is judged by its own chain alone. So it is audited by itself, from genesis, and what that
 * finds is taken over.
 */
#include <string.h>

#include "audit-tool/audit_internal.h"
#include "base/check.h"

static bool is_any(const struct audit *audit) {
    bool any = false;
    for (uint32_t i = 0; i < audit->ledger_count; i++) {
        any |= audit->ledgers[i].goes_its_way;
    }
    return any;
}

static void note_not_followed(struct audit *audit) {
    for (uint32_t i = 0; i < audit->ledger_count; i++) {
        const struct audit_ledger *const ledger = &audit->ledgers[i];
        if (ledger->goes_its_way) {
            audit_notice(audit, EXIT_CANNOT_AUDIT,
                         "%s: not followed beyond batch %llu, since other ledgers left its way "
                         "behind it; audit it by itself as well",
                         ledger->name, (unsigned long long)ledger->last_seq);
        }
    }
}

/* ---- what it found ---- */

/* Are they the same replicas in the same places? Forked chains number others alike. */
static bool is_same_configuration(const struct configuration *a, const struct configuration *b) {
    bool same = a->number == b->number && a->replica_count == b->replica_count;
    for (uint32_t i = 0; same && i < a->replica_count; i++) {
        same = public_key_equal(&a->replicas[i].key, &b->replicas[i].key);
    }
    return same;
}

/* Equivocation says no more than conflicting certificates. */
static bool says_as_much(enum proof_kind kind, enum proof_kind other) {
    return kind == other || (kind == PROOF_CONFLICTING_CERTIFICATES && other == PROOF_EQUIVOCATION);
}

static bool is_found(const struct audit_report *report, const struct proof_verdict *verdict) {
    for (uint32_t i = 0; i < report->finding_count; i++) {
        const struct proof_verdict *const known = &report->findings[i].verdict;
        if (says_as_much(known->kind, verdict->kind) &&
            is_same_configuration(&known->configuration, &verdict->configuration) &&
            (verdict->blamed & ~known->blamed) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_noted(const struct audit_report *report, const struct problem *notice) {
    for (uint32_t i = 0; i < report->notice_count; i++) {
        if (strcmp(report->notices[i].text, notice->text) == 0) {
            return true;
        }
    }
    return false;
}

/* The branch was verified as any ledger is, and each of its proofs as a stranger would. */
static void take_over(struct audit *audit, struct audit *branch) {
    struct audit_report *const report = &audit->report;
    struct audit_report *const theirs = &branch->report;
    for (uint32_t i = 0; i < theirs->finding_count; i++) {
        struct audit_finding *const finding = &theirs->findings[i];
        if (is_found(report, &finding->verdict) || report->finding_count == AUDIT_FINDINGS_MAX) {
            report->findings_further++;
        } else {
            report->findings[report->finding_count++] = *finding;
            buffer_init(&finding->file, 0); /* it has moved */
        }
    }
    for (uint32_t i = 0; i < theirs->notice_count; i++) {
        const struct problem *const notice = &theirs->notices[i];
        if (!is_noted(report, notice)) {
            audit_notice(audit, notice->code, "%s", notice->text);
        }
    }
    report->findings_further += theirs->findings_further;
    report->notices_further += theirs->notices_further;
}

/* ---- one after the other ---- */

/* What goes its own way from there, too, is the next branch. */
static void mark_further(struct audit *audit, const struct audit *branch) {
    uint32_t nth = 0;
    for (uint32_t i = 0; i < audit->ledger_count; i++) {
        struct audit_ledger *const ledger = &audit->ledgers[i];
        if (ledger->goes_its_way) {
            CHECK(nth < branch->ledger_count && branch->ledgers[nth].disk == ledger->disk);
            ledger->goes_its_way = branch->ledgers[nth++].goes_its_way;
        }
    }
}

static bool run_branch(struct audit *audit, struct audit *branch) {
    struct problem problem = {.code = EXIT_OK};
    branch->is_branch = true;
    for (uint32_t i = 0; i < audit->ledger_count; i++) {
        const struct audit_ledger *const ledger = &audit->ledgers[i];
        if (ledger->goes_its_way &&
            audit_add_ledger(branch, ledger->name, ledger->disk, &problem) != 0) {
            return false;
        }
    }
    if (audit_run(branch, &problem) != 0) {
        return false;
    }
    take_over(audit, branch);
    mark_further(audit, branch);
    return true;
}

void audit_branches(struct audit *audit) {
    const struct audit_start *const start = audit_began(audit);
    if (audit->is_branch) {
        return; /* whoever runs it sees to that */
    }
    if (start->seq != 0 || audit->is_own) {
        note_not_followed(audit);
        return;
    }
    struct audit_options options = audit->options;
    options.watcher = NULL;
    bool good = true;
    /* Each has at least one ledger less than the one before: that which it follows to its end. */
    for (uint32_t i = 0; good && is_any(audit) && i < AUDIT_LEDGERS_MAX; i++) {
        struct audit *const branch = audit_new(&options);
        good = branch != NULL && run_branch(audit, branch);
        audit_free(branch);
    }
    if (!good) {
        audit_notice(audit, EXIT_ERROR, "out of memory where ledgers part; audit fewer at once");
    }
}
