/*
 * blame: proofs, from what the audit found. A proof becomes a finding only after it has been
 * verified as a stranger would: whatever is wrong in here can make the audit say less, but cannot
 * make it accuse.
 */
#include <stdlib.h>

#include "audit-tool/audit_internal.h"
#include "base/check.h"
#include "receipts/from_ledger.h"

/* ---- certificates ---- */

void found_certificate_init(struct found_certificate *found) {
    *found = (struct found_certificate){.batch.signers = 0};
    buffer_init(&found->bytes, COMMIT_CERTIFICATE_SIZE_MAX);
}

void found_certificate_free(struct found_certificate *found) {
    buffer_free(&found->bytes);
}

bool certificate_open(struct audit *audit, struct found_certificate *out, struct span bytes) {
    struct certificate certificate;
    arena_reset(&audit->arena);
    buffer_clear(&out->bytes);
    if (!buffer_append(&out->bytes, bytes) ||
        certificate_decode(&certificate, &audit->arena, bytes) != CODEC_OK ||
        pre_prepare_decode(&out->batch.pre_prepare, &audit->arena, certificate.pre_prepare) !=
            CODEC_OK) {
        return false;
    }
    out->batch.signers = certificate.signers;
    out->batch.digest = hash_statement(LABEL_PRE_PREPARE, &audit->options.configuration->service,
                                       certificate.pre_prepare, &certificate.pre_prepare_signature);
    return true;
}

static bool certificate_keep(struct audit *audit, struct found_certificate *out,
                             const struct certificate *certificate) {
    arena_reset(&audit->arena);
    buffer_clear(&out->bytes);
    return certificate_verify(&out->batch, &audit->arena, audit->options.configuration,
                              certificate) == RECEIPT_VALID &&
           certificate_encode(&out->bytes, certificate);
}

bool certificate_scan(struct audit *audit, struct found_certificate *out,
                      const struct audit_ledger *ledger) {
    const struct signed_body *const statement = &ledger->reader.batch.seal.statement;
    uint64_t const seq = ledger->reader.batch.pre_prepare.seq;
    struct problem ignored = {.code = EXIT_OK}; /* damage is met when the walk gets there */
    bool found = false;
    bool going = true;
    struct audit_ledger *const ahead = ledger_open_at(audit, ledger, ledger->reader.next_entry);
    while (ahead != NULL && going && !found) {
        const struct batch *const batch = &ahead->reader.batch;
        struct certificate certificate;
        if (!ledger_is_at_view(ahead)) {
            found = certificate_from_ledger(&certificate, statement, seq, batch) &&
                    certificate_keep(audit, out, &certificate);
            going = batch->pre_prepare.evidence_upto < seq;
        }
        going = going && !found && batch_reader_next(&ahead->reader, &ignored) == 1;
    }
    ledger_close(ahead);
    return found;
}

/* The same, by evidence in another ledger that holds the very same batch in the same place. */
static bool certificate_scan_others(struct audit *audit, struct found_certificate *out,
                                    const struct audit_ledger *ledger) {
    const struct batch *const batch = &ledger->reader.batch;
    bool found = false;
    for (uint32_t i = 0; i < audit->ledger_count && !found; i++) {
        const struct audit_ledger *const other = &audit->ledgers[i];
        struct audit_ledger *const at =
            other->disk == ledger->disk ? NULL : ledger_open_at(audit, other, batch->first_entry);
        found = at != NULL && !ledger_is_at_view(at) && batch_equal(&at->reader.batch, batch) &&
                certificate_scan(audit, out, at);
        ledger_close(at);
    }
    return found;
}

bool certificate_find(struct audit *audit, struct found_certificate *out,
                      const struct audit_ledger *ledger) {
    const struct batch *const batch = &ledger->reader.batch;
    const struct signed_body *const statement = &batch->seal.statement;
    struct digest const digest =
        hash_statement(LABEL_PRE_PREPARE, &audit->options.configuration->service, statement->body,
                       &statement->signature);
    const struct claim *const claim = claims_find(&audit->claims, batch->pre_prepare.seq, &digest);
    if (claim != NULL) {
        return certificate_open(audit, out, claims_certificate(&audit->claims, claim));
    }
    return certificate_scan(audit, out, ledger) || certificate_scan_others(audit, out, ledger);
}

/* ---- findings ---- */

/* Does one proof of this kind name all of them? */
static bool is_named_together(const struct audit_report *report, enum proof_kind kind,
                              uint64_t replicas) {
    for (uint32_t i = 0; i < report->finding_count; i++) {
        const struct proof_verdict *const verdict = &report->findings[i].verdict;
        if (verdict->kind == kind && (replicas & ~verdict->blamed) == 0) {
            return true;
        }
    }
    return false;
}

bool blame_is_news(const struct audit *audit, enum proof_kind kind, uint64_t replicas) {
    if ((replicas & ~audit->blamed[kind]) != 0) {
        return true;
    }
    /* Who hides a receipt's batch is named with f others, though each may be named already. */
    return kind == PROOF_UNDERSTATED_VIEW_CHANGE &&
           (uint32_t)__builtin_popcountll(replicas) > audit->options.configuration->faults_max &&
           !is_named_together(&audit->report, kind, replicas);
}

static void keep_finding(struct audit *audit, const struct proof_verdict *verdict,
                         struct buffer *file) {
    struct audit_report *const report = &audit->report;
    if (!blame_is_news(audit, verdict->kind, verdict->blamed) ||
        report->finding_count == AUDIT_FINDINGS_MAX) {
        report->findings_further++;
        buffer_free(file);
        return;
    }
    audit->blamed[verdict->kind] |= verdict->blamed;
    if (verdict->kind == PROOF_CONFLICTING_CERTIFICATES) {
        audit->blamed[PROOF_EQUIVOCATION] |= verdict->blamed; /* it says no less */
    }
    report->findings[report->finding_count++] =
        (struct audit_finding){.verdict = *verdict, .file = *file};
}

void blame_with(struct audit *audit, struct proof *proof) {
    struct buffer file;
    struct proof_verdict *const verdict = malloc(sizeof *verdict);
    buffer_init(&file, EVIDENCE_FILE_SIZE_MAX);
    proof->genesis = audit->options.genesis;
    proof_order(proof);
    if (verdict == NULL || !evidence_file_encode(&file, proof)) {
        audit_notice(audit, EXIT_CANNOT_AUDIT,
                     "misbehaviour was found, but its proof is larger than a file of evidence may "
                     "be (%u bytes)",
                     PROOF_SIZE_MAX);
        buffer_free(&file);
        free(verdict);
        return;
    }
    enum proof_check const check =
        proof_verify(verdict, &audit->options.configuration->service, buffer_span(&file));
    if (check == PROOF_VALID) {
        keep_finding(audit, verdict, &file);
    } else {
        audit_notice(audit, EXIT_CANNOT_AUDIT, "what looks like misbehaviour cannot be proven: %s",
                     proof_check_text(check));
        buffer_free(&file);
    }
    free(verdict);
}

void blame_certificates(struct audit *audit, const struct found_certificate *a,
                        const struct found_certificate *b) {
    if (!blame_is_news(audit, PROOF_CONFLICTING_CERTIFICATES,
                       a->batch.signers & b->batch.signers)) {
        audit->report.findings_further++;
        return;
    }
    struct proof proof = {
        .kind = PROOF_CONFLICTING_CERTIFICATES,
        .certificate_count = 2,
        .certificates = {buffer_span(&a->bytes), buffer_span(&b->bytes)},
    };
    blame_with(audit, &proof);
}

void blame_primary(struct audit *audit, const struct signed_body *a, const struct signed_body *b) {
    struct proof proof = {
        .kind = PROOF_EQUIVOCATION,
        .statement_count = 2,
        .statements = {*a, *b},
    };
    blame_with(audit, &proof);
}
