/*
 * blame: proofs, from what the audit found. A proof becomes a finding only after it has been
 * verified as a stranger would: whatever is wrong in here can make the audit say less, but cannot
 * make it accuse.
 */
#include <stdlib.h>

#include "audit-tool/audit_internal.h"
#include "base/check.h"
#include "governance/founding.h"
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

enum receipt_check audit_check_certificate(const struct audit *audit, struct verified_batch *batch,
                                           struct arena *arena,
                                           const struct certificate *certificate) {
    struct pre_prepare body;
    if (pre_prepare_decode(&body, arena, certificate->pre_prepare) != CODEC_OK) {
        return RECEIPT_CERTIFICATE_ENCODING;
    }
    const struct configuration *const configuration = audit_configuration(audit, body.config);
    return configuration == NULL ? RECEIPT_CONFIGURATION
                                 : certificate_verify(batch, arena, configuration, certificate);
}

bool certificate_holds(const struct audit *audit, struct verified_batch *batch, struct arena *arena,
                       const struct certificate *certificate) {
    return audit_check_certificate(audit, batch, arena, certificate) == RECEIPT_VALID;
}

static bool certificate_keep(struct audit *audit, struct found_certificate *out,
                             const struct certificate *certificate) {
    arena_reset(&audit->arena);
    buffer_clear(&out->bytes);
    return certificate_holds(audit, &out->batch, &audit->arena, certificate) &&
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
static bool is_named_together(const struct audit_report *report, uint64_t config,
                              enum proof_kind kind, uint64_t replicas) {
    for (uint32_t i = 0; i < report->finding_count; i++) {
        const struct proof_verdict *const verdict = &report->findings[i].verdict;
        if (verdict->kind == kind && verdict->configuration.number == config &&
            (replicas & ~verdict->blamed) == 0) {
            return true;
        }
    }
    return false;
}

uint64_t blame_found(const struct audit *audit, uint64_t config, enum proof_kind kind) {
    const struct era *const era = eras_find(&audit->eras, config);
    return era == NULL ? 0 : era->blamed[kind];
}

void blame_note(struct audit *audit, const struct proof_verdict *verdict) {
    struct era *const era = eras_find(&audit->eras, verdict->configuration.number);
    if (era == NULL) {
        return; /* it can only be told twice for that */
    }
    era->blamed[verdict->kind] |= verdict->blamed;
    if (verdict->kind == PROOF_CONFLICTING_CERTIFICATES) {
        era->blamed[PROOF_EQUIVOCATION] |= verdict->blamed; /* it says no less */
    }
}

bool blame_is_news(const struct audit *audit, uint64_t config, enum proof_kind kind,
                   uint64_t replicas) {
    const struct configuration *const configuration = audit_configuration(audit, config);
    if (configuration == NULL || (replicas & ~blame_found(audit, config, kind)) != 0) {
        return true;
    }
    /* Who hides a receipt's batch is named with f others, though each may be named already. */
    return kind == PROOF_UNDERSTATED_VIEW_CHANGE &&
           (uint32_t)__builtin_popcountll(replicas) > configuration->faults_max &&
           !is_named_together(&audit->report, config, kind, replicas);
}

static void keep_finding(struct audit *audit, const struct proof_verdict *verdict,
                         struct buffer *file) {
    struct audit_report *const report = &audit->report;
    if (!blame_is_news(audit, verdict->configuration.number, verdict->kind, verdict->blamed) ||
        report->finding_count == AUDIT_FINDINGS_MAX) {
        report->findings_further++;
        buffer_free(file);
        return;
    }
    blame_note(audit, verdict);
    report->findings[report->finding_count++] =
        (struct audit_finding){.verdict = *verdict, .file = *file};
}

/* Verify a file of evidence as a stranger would, and keep it if it holds; takes the file over. */
static void verify_and_keep(struct audit *audit, struct buffer *file) {
    struct proof_verdict *const verdict = malloc(sizeof *verdict);
    enum proof_check const check =
        verdict == NULL
            ? PROOF_MEMORY
            : proof_verify(verdict, &audit->options.configuration->service, buffer_span(file));
    if (check == PROOF_VALID) {
        keep_finding(audit, verdict, file);
    } else {
        audit_notice(audit, EXIT_CANNOT_AUDIT, "what looks like misbehaviour cannot be proven: %s",
                     proof_check_text(check));
        buffer_free(file);
    }
    free(verdict);
}

void blame_with(struct audit *audit, uint64_t config, struct proof *proof) {
    struct buffer file;
    struct span *links = NULL;
    buffer_init(&file, EVIDENCE_FILE_SIZE_MAX);
    proof->genesis = audit->options.genesis;
    proof_order(proof);
    bool const is_linked = eras_links(&audit->eras, config, &links);
    proof->links = links;
    proof->link_count = (uint32_t)(config - FOUNDING_CONFIGURATION);
    if (!is_linked) {
        audit_notice(audit, EXIT_CANNOT_AUDIT,
                     "misbehaviour was found in configuration %llu, but the governance chain that "
                     "leads there is not at hand to prove it with",
                     (unsigned long long)config);
    } else if (!evidence_file_encode(&file, proof)) {
        audit_notice(audit, EXIT_CANNOT_AUDIT,
                     "misbehaviour was found, but its proof is larger than a file of evidence may "
                     "be (%u bytes)",
                     PROOF_SIZE_MAX);
        buffer_free(&file);
    } else {
        verify_and_keep(audit, &file);
    }
    proof->links = NULL;
    free(links);
}

void blame_certificates(struct audit *audit, const struct found_certificate *a,
                        const struct found_certificate *b) {
    if (!blame_is_news(audit, a->batch.pre_prepare.config, PROOF_CONFLICTING_CERTIFICATES,
                       a->batch.signers & b->batch.signers)) {
        audit->report.findings_further++;
        return;
    }
    struct proof proof = {
        .kind = PROOF_CONFLICTING_CERTIFICATES,
        .certificate_count = 2,
        .certificates = {buffer_span(&a->bytes), buffer_span(&b->bytes)},
    };
    blame_with(audit, a->batch.pre_prepare.config, &proof);
}

void blame_primary(struct audit *audit, uint64_t config, const struct signed_body *a,
                   const struct signed_body *b) {
    struct proof proof = {
        .kind = PROOF_EQUIVOCATION,
        .statement_count = 2,
        .statements = {*a, *b},
    };
    blame_with(audit, config, &proof);
}
