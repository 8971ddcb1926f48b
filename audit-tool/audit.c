/*
 * audit: see audit.h. Here: what comes in, receipts against receipts, and what it all comes to.
 */
#include "audit-tool/audit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit-tool/audit_internal.h"
#include "base/check.h"
#include "governance/founding.h"

#define AUDIT_ARENA_SIZE (16u << 20)

struct audit *audit_new(const struct audit_options *options) {
    struct audit *const audit = calloc(1, sizeof *audit);
    if (audit == NULL) {
        return NULL;
    }
    audit->options = *options;
    arena_init(&audit->arena, AUDIT_ARENA_SIZE);
    claims_init(&audit->claims);
    claims_init(&audit->aside);
    spill_init(&audit->waiting);
    spill_init(&audit->waiting_bytes);
    spill_init(&audit->brought);
    spill_init(&audit->brought_bytes);
    spill_init(&audit->left);
    watch_init(&audit->watch);
    audit->signatures = signatures_new(&options->configuration->service, options->jobs);
    audit->link_maker = link_maker_new();
    if (!eras_init(&audit->eras, options->genesis) || audit->signatures == NULL ||
        audit->link_maker == NULL ||
        !replayer_init(&audit->replayer, &audit->eras, audit->signatures, true)) {
        audit_free(audit);
        return NULL;
    }
    audit->replayer.trusting = options->trust_signatures;
    audit->report.coverage.signatures_trusted = options->trust_signatures;
    audit->start.next_index = 1;
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
    eras_free(&audit->eras);
    chain_free(audit->chain);
    spill_free(&audit->waiting);
    link_maker_free(audit->link_maker);
    spill_free(&audit->waiting_bytes);
    spill_free(&audit->brought);
    spill_free(&audit->brought_bytes);
    spill_free(&audit->left);
    claims_free(&audit->claims);
    claims_free(&audit->aside);
    resumption_free(audit->resumption);
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
    struct problem notice = {.code = code};
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(notice.text, sizeof notice.text, format, arguments);
    va_end(arguments);
    for (uint32_t i = 0; audit->resumption != NULL && i < report->notice_count; i++) {
        if (strcmp(report->notices[i].text, notice.text) == 0) {
            return; /* an earlier run said so */
        }
    }
    if (report->notice_count == AUDIT_NOTICES_MAX) {
        report->notices_further++;
        return;
    }
    report->notices[report->notice_count++] = notice;
}

const struct configuration *audit_configuration(const struct audit *audit, uint64_t number) {
    return eras_configuration(&audit->eras, number);
}

const struct configuration *audit_find_configuration(const struct audit *audit, uint64_t number) {
    return audit_configuration(audit, number);
}

uint64_t audit_first_configuration(const struct audit *audit) {
    const struct audit_start *const start = audit_began(audit);
    return start->seq == 0 ? FOUNDING_CONFIGURATION : start->config;
}

/* ---- input ---- */

void audit_learn_signed(struct audit *audit, const struct digest *statement) {
    signatures_learn(audit->signatures, statement);
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
static void compare_neighbours(struct audit *audit) {
    struct found_certificate previous;
    struct found_certificate current;
    bool has_previous = false;
    found_certificate_init(&previous);
    found_certificate_init(&current);
    for (uint64_t i = 0; i < claims_count(&audit->claims); i++) {
        const struct claim *const claim = claims_at(&audit->claims, i);
        if (!certificate_open(audit, &current, claims_certificate(&audit->claims, claim))) {
            continue;
        }
        const struct configuration *const configuration = audit_configuration(audit, claim->config);
        if (has_previous && configuration != NULL &&
            certificates_conflict(configuration, &previous.batch, &current.batch)) {
            blame_certificates(audit, &previous, &current);
        }
        struct found_certificate const swap = previous;
        previous = current;
        current = swap;
        has_previous = true;
    }
    found_certificate_free(&previous);
    found_certificate_free(&current);
}

bool audit_compare_claims(struct audit *audit) {
    if (!claims_sort(&audit->claims, CLAIMS_BY_VIEW)) {
        return false;
    }
    compare_neighbours(audit);
    if (!claims_sort(&audit->claims, CLAIMS_BY_SEQ)) {
        return false;
    }
    audit->claims_done = claims_first_at(&audit->claims, audit->seq + 1);
    return true;
}

/* ---- all of it ---- */

/* What the report says of the ledgers. */
static void cover_ledgers(struct audit *audit) {
    struct audit_coverage *const coverage = &audit->report.coverage;
    coverage->ledger_count = audit->ledger_count;
    for (uint32_t i = 0; i < audit->ledger_count; i++) {
        const struct audit_ledger *const ledger = &audit->ledgers[i];
        coverage->ledgers[i] = (struct ledger_coverage){
            .name = ledger->name, .state = ledger->state, .last_batch = ledger->last_seq};
    }
}

int audit_run(struct audit *audit, struct problem *problem) {
    if (audit->start.seq == 0) {
        replayer_start(&audit->replayer, audit->options.genesis);
    }
    audit->seq = audit_began(audit)->seq;
    bool any = false;
    if (!audit_take_waiting(audit, &any) || !audit_compare_claims(audit)) {
        return problem_set(problem, EXIT_ERROR, "out of memory for the receipts");
    }
    if (audit_walk(audit, problem) != 0) {
        return -1;
    }
    if (!audit_follow_links(audit) || !audit_take_waiting(audit, &any) ||
        (any && !audit_compare_claims(audit))) {
        return problem_set(problem, EXIT_ERROR, "out of memory for the receipts");
    }
    reconcile_rest(audit);
    audit_note_waiting(audit);
    audit_branches(audit);
    cover_ledgers(audit);
    return 0;
}

const struct audit_report *audit_report(const struct audit *audit) {
    return &audit->report;
}

enum exit_code audit_exit_code(const struct audit_report *report) {
    return report->finding_count != 0 ? EXIT_MISBEHAVIOUR : report->gravest_notice;
}
