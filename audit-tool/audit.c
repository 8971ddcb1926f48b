/*
 * audit: see audit.h. Here: what comes in, receipts against receipts, and what it all comes to.
 */
#include "audit-tool/audit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "audit-tool/audit_internal.h"
#include "base/check.h"

#define AUDIT_ARENA_SIZE (16u << 20)

struct audit *audit_new(const struct audit_options *options) {
    struct audit *const audit = calloc(1, sizeof *audit);
    if (audit == NULL) {
        return NULL;
    }
    audit->options = *options;
    arena_init(&audit->arena, AUDIT_ARENA_SIZE);
    claims_init(&audit->claims);
    watch_init(&audit->watch);
    audit->signatures = signatures_new(&options->configuration->service, options->jobs);
    if (!replayer_init(&audit->replayer, options->configuration, audit->signatures, true) ||
        audit->signatures == NULL) {
        audit_free(audit);
        return NULL;
    }
    replayer_start(&audit->replayer, options->genesis);
    return audit;
}

void audit_free(struct audit *audit) {
    if (audit == NULL) {
        return;
    }
    for (uint32_t i = 0; i < audit->ledger_count; i++) {
        batch_reader_free(&audit->ledgers[i].reader);
    }
    for (uint32_t i = 0; i < audit->report.finding_count; i++) {
        buffer_free(&audit->report.findings[i].file);
    }
    replayer_free(&audit->replayer);
    signatures_free(audit->signatures);
    claims_free(&audit->claims);
    watch_free(&audit->watch);
    arena_free(&audit->arena);
    free(audit);
}

/* The graver first: proof, damage, something missing, a bad receipt. */
static unsigned gravity_of(enum exit_code code) {
    switch (code) {
    case EXIT_OK:
        return 0;
    case EXIT_INVALID:
        return 1;
    case EXIT_CANNOT_AUDIT:
        return 2;
    case EXIT_CORRUPT:
        return 3;
    case EXIT_ERROR:
    case EXIT_USAGE:
    case EXIT_UNREACHABLE:
    case EXIT_REJECTED:
        return 4;
    case EXIT_MISBEHAVIOUR:
        return 5;
    }
    UNREACHABLE();
}

void audit_notice(struct audit *audit, enum exit_code code, const char *format, ...) {
    struct audit_report *const report = &audit->report;
    if (gravity_of(code) > gravity_of(report->gravest_notice)) {
        report->gravest_notice = code;
    }
    if (report->notice_count == AUDIT_NOTICES_MAX) {
        report->notices_further++;
        return;
    }
    struct problem *const notice = &report->notices[report->notice_count++];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(notice->text, sizeof notice->text, format, arguments);
    va_end(arguments);
    notice->code = code;
}

/* ---- input ---- */

int audit_add_receipt(struct audit *audit, const char *name, struct span receipt,
                      struct problem *problem) {
    struct verified_receipt verified;
    arena_reset(&audit->arena);
    enum receipt_check const check = receipt_verify(&verified, &audit->memory, &audit->arena,
                                                    audit->options.configuration, receipt);
    if (check != RECEIPT_VALID) {
        audit->report.receipts_invalid++;
        audit_notice(audit, EXIT_INVALID, "%s: not a valid receipt: %s", name,
                     receipt_check_text(check));
        return 0;
    }
    audit->report.receipts_valid++;
    if (!claims_add(&audit->claims, &audit->memory.batch, &verified.receipt)) {
        return problem_set(problem, EXIT_ERROR, "out of memory for receipts; audit fewer at once");
    }
    return 0;
}

int audit_add_ledger(struct audit *audit, const char *name, const struct disk *disk,
                     struct problem *problem) {
    if (audit->ledger_count == AUDIT_LEDGERS_MAX) {
        return problem_set(problem, EXIT_USAGE, "more than %u ledgers; audit fewer at once",
                           AUDIT_LEDGERS_MAX);
    }
    struct audit_ledger *const ledger = &audit->ledgers[audit->ledger_count++];
    ledger->name = name;
    ledger->disk = disk;
    batch_reader_init(&ledger->reader, disk, &audit->options.configuration->service);
    return 0;
}

/* ---- receipts against each other (§10 step 2) ---- */

/*
 * Sorted by view and number, each claim must go together with the one before. Then all of a view go
 * together: what certificates_conflict compares only ever grows along a ledger.
 */
void audit_compare_claims(struct audit *audit) {
    struct found_certificate previous;
    struct found_certificate current;
    bool has_previous = false;
    found_certificate_init(&previous);
    found_certificate_init(&current);
    claims_sort(&audit->claims, CLAIMS_BY_VIEW);
    for (uint64_t i = 0; i < claims_count(&audit->claims); i++) {
        const struct claim *const claim = claims_at(&audit->claims, i);
        if (!certificate_open(audit, &current, claims_certificate(&audit->claims, claim))) {
            continue;
        }
        if (has_previous &&
            certificates_conflict(audit->options.configuration, &previous.batch, &current.batch)) {
            blame_certificates(audit, &previous, &current);
        }
        struct found_certificate const swap = previous;
        previous = current;
        current = swap;
        has_previous = true;
    }
    found_certificate_free(&previous);
    found_certificate_free(&current);
    claims_sort(&audit->claims, CLAIMS_BY_SEQ);
    audit->claims_done =
        claims_first_at(&audit->claims, replayer_position(&audit->replayer)->seq + 1);
}

/* ---- all of it ---- */

int audit_run(struct audit *audit, struct problem *problem) {
    audit_compare_claims(audit);
    if (audit_walk(audit, problem) != 0) {
        return -1;
    }
    reconcile_rest(audit);
    return 0;
}

const struct audit_report *audit_report(const struct audit *audit) {
    return &audit->report;
}

enum exit_code audit_exit_code(const struct audit_report *report) {
    return report->finding_count != 0 ? EXIT_MISBEHAVIOUR : report->gravest_notice;
}
