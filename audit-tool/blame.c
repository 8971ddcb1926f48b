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
    return certificate_scan(audit, out, ledger);
}

/* ---- findings ---- */

bool blame_is_news(const struct audit *audit, enum proof_kind kind, uint64_t replicas) {
    return (replicas & ~audit->blamed[kind]) != 0;
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

/* ---- fragments ---- */

/* A fragment being put together. */
struct gathering {
    struct buffer bytes;   /* keys and values, or payloads of entries */
    struct buffer records; /* of struct gathered */
};

struct gathered {
    uint32_t kind;
    size_t first_size;  /* of a payload, or of a key */
    size_t second_size; /* of a value */
};

static void gathering_init(struct gathering *gathering) {
    buffer_init(&gathering->bytes, PROOF_SIZE_MAX);
    buffer_init(&gathering->records, PROOF_SIZE_MAX);
}

static void gathering_free(struct gathering *gathering) {
    buffer_free(&gathering->bytes);
    buffer_free(&gathering->records);
}

static bool gather(struct gathering *gathering, enum entry_kind kind, struct span first,
                   struct span second) {
    struct gathered const record = {
        .kind = (uint32_t)kind, .first_size = first.size, .second_size = second.size};
    return buffer_append(&gathering->bytes, first) && buffer_append(&gathering->bytes, second) &&
           buffer_append(&gathering->records, span_of(&record, sizeof record));
}

static bool gather_all(struct gathering *gathering, const struct gathering *from) {
    return buffer_append(&gathering->bytes, buffer_span(&from->bytes)) &&
           buffer_append(&gathering->records, buffer_span(&from->records));
}

static uint32_t gathered_count(const struct gathering *gathering) {
    return (uint32_t)(gathering->records.size / sizeof(struct gathered));
}

static bool gather_item(void *context, struct span key, struct span value, bool deleted) {
    (void)deleted; /* deletions do not appear in the whole state */
    return gather(context, ENTRY_GENESIS, key, value);
}

/* The entries from `first` to before `end`. */
static bool gather_entries(struct audit *audit, struct gathering *out,
                           const struct audit_ledger *ledger, uint64_t first, uint64_t end) {
    struct segment_reader reader;
    struct problem ignored = {.code = EXIT_OK}; /* they have all been read before */
    segment_reader_init(&reader, ledger->disk, &audit->options.configuration->service, true);
    bool going = segment_reader_seek(&reader, first, &ignored) == 1;
    for (uint64_t index = first; going && index < end; index++) {
        struct segment_record record;
        going = segment_reader_next(&reader, &record, &ignored) == 1 &&
                gather(out, record.kind, record.payload, (struct span){0});
    }
    segment_reader_free(&reader);
    return going;
}

static struct entry *entries_of(const struct gathering *gathering) {
    uint32_t const count = gathered_count(gathering);
    struct entry *const entries = calloc(count + 1u, sizeof *entries);
    size_t offset = 0;
    for (uint32_t i = 0; entries != NULL && i < count; i++) {
        struct gathered record;
        memcpy(&record, gathering->records.data + i * sizeof record, sizeof record);
        entries[i].kind = (enum entry_kind)record.kind;
        entries[i].payload = span_of(gathering->bytes.data + offset, record.first_size);
        offset += record.first_size;
    }
    return entries;
}

static struct state_item *state_of(const struct gathering *gathering) {
    uint32_t const count = gathered_count(gathering);
    struct state_item *const items = calloc(count + 1u, sizeof *items);
    size_t offset = 0;
    for (uint32_t i = 0; items != NULL && i < count; i++) {
        struct gathered record;
        memcpy(&record, gathering->records.data + i * sizeof record, sizeof record);
        items[i].key = span_of(gathering->bytes.data + offset, record.first_size);
        offset += record.first_size;
        items[i].value = span_of(gathering->bytes.data + offset, record.second_size);
        offset += record.second_size;
    }
    return items;
}

/* With everything gathered: the proof. */
static void add_fragment(struct audit *audit, struct proof *proof, const struct gathering *state,
                         const struct gathering *entries) {
    struct state_item *const items = state_of(state);
    struct entry *const list = entries_of(entries);
    proof->has_fragment = true;
    proof->fragment.state = items;
    proof->fragment.state_count = gathered_count(state);
    proof->fragment.entries = list;
    proof->fragment.entry_count = gathered_count(entries);
    if (items != NULL && list != NULL) {
        blame_with(audit, proof);
    } else {
        audit_notice(audit, EXIT_CANNOT_AUDIT, "out of memory for a proof of misbehaviour");
    }
    free(items);
    free(list);
}

/*
 * Where a fragment must begin so that it is bound: at the checkpoint that the batch before the
 * blamed one carries, or at genesis.
 */
static bool gather_fragment(struct audit *audit, const struct audit_ledger *ledger,
                            struct proof *proof, struct gathering *state,
                            struct gathering *entries) {
    uint64_t const checkpoint = replayer_position(&audit->replayer)->checkpoint_seq;
    uint64_t first = 0;
    if (checkpoint != 0) {
        const struct replayer_cut *const cut = replayer_cut_at(&audit->replayer, checkpoint);
        CHECK(cut != NULL);
        first = cut->cut.header.entries;
        proof->fragment.snapshot = buffer_span(&cut->snapshot);
        if (!engine_visit_state(audit->replayer.engine, checkpoint, gather_item, state)) {
            return false;
        }
    }
    return gather_entries(audit, entries, ledger, first, ledger->reader.next_entry);
}

/* The kind of proof for a rule that a batch, or a new view, breaks. */
static enum proof_kind kind_of(const struct audit_ledger *ledger, enum rule rule) {
    if (ledger_is_at_view(ledger)) {
        return PROOF_BROKEN_NEW_VIEW;
    }
    if (rule == RULE_OUTCOME) {
        return PROOF_WRONG_OUTCOME;
    }
    return rule == RULE_CHECKPOINT_DIGEST ? PROOF_WRONG_CHECKPOINT : PROOF_BROKEN_BATCH;
}

/*
 * Who prepared in a view that must not have been: the certificate of one of its batches, and the
 * leaves of M up to that batch, which tie it to the new view.
 */
static bool gather_prepared(struct audit *audit, const struct audit_ledger *ledger,
                            struct found_certificate *certificate, struct gathering *entries) {
    struct problem ignored = {.code = EXIT_OK};
    struct gathering leaves;
    bool found = false;
    struct audit_ledger *const at = ledger_open_at(audit, ledger, ledger->reader.next_entry);
    uint32_t const batches_max = 2 * audit->options.configuration->parameters.pipeline;
    bool going = at != NULL;
    gathering_init(&leaves);
    for (uint32_t i = 0; going && i < batches_max && !ledger_is_at_view(at); i++) {
        const struct batch *const batch = &at->reader.batch;
        for (uint32_t k = 0; going && k + batch->request_count < batch_entry_count(batch); k++) {
            struct entry const entry = batch_entry_at(batch, k);
            going = gather(&leaves, entry.kind, entry.payload, (struct span){0});
        }
        found = going && certificate_find(audit, certificate, at);
        going = going && !found && batch_reader_next(&at->reader, &ignored) == 1;
    }
    ledger_close(at);
    found = found && gather_all(entries, &leaves);
    gathering_free(&leaves);
    return found;
}

static bool gather_proof(struct audit *audit, const struct audit_ledger *ledger,
                         struct proof *proof, struct found_certificate *certificate,
                         struct gathering *state, struct gathering *entries) {
    if (!gather_fragment(audit, ledger, proof, state, entries)) {
        return false;
    }
    bool const is_certified = ledger_is_at_view(ledger)
                                  ? gather_prepared(audit, ledger, certificate, entries)
                                  : certificate_find(audit, certificate, ledger);
    if (is_certified) {
        proof->certificate_count = 1;
        proof->certificates[0] = buffer_span(&certificate->bytes);
    }
    return true;
}

/* Say that what was found cannot be shown. */
static void note_unproven(struct audit *audit, const struct audit_ledger *ledger, enum rule rule) {
    uint64_t const number = ledger_is_at_view(ledger) ? ledger->reader.batch.view.new_view.view
                                                      : ledger->reader.batch.pre_prepare.seq;
    audit_notice(audit, EXIT_CANNOT_AUDIT,
                 "%s: %s %llu: %s, but the proof cannot be put together: it is larger than a file "
                 "of evidence may be, or the ledger can no longer be read",
                 ledger->name, ledger_is_at_view(ledger) ? "new view" : "batch",
                 (unsigned long long)number, rule_text(rule));
}

void blame_batch(struct audit *audit, const struct audit_ledger *ledger, enum rule rule) {
    struct found_certificate certificate;
    struct gathering state;
    struct gathering entries;
    struct proof proof = {.kind = kind_of(ledger, rule)};
    if (proof.kind == PROOF_BROKEN_BATCH || proof.kind == PROOF_BROKEN_NEW_VIEW) {
        proof.rule = span_text(rule_name(rule));
    }
    found_certificate_init(&certificate);
    gathering_init(&state);
    gathering_init(&entries);
    if (gather_proof(audit, ledger, &proof, &certificate, &state, &entries)) {
        add_fragment(audit, &proof, &state, &entries);
    } else {
        note_unproven(audit, ledger, rule);
    }
    gathering_free(&state);
    gathering_free(&entries);
    found_certificate_free(&certificate);
}
