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

/* Look for evidence of the batch in what follows it in its ledger. */
static bool certificate_scan(struct audit *audit, struct found_certificate *out,
                             const struct audit_ledger *ledger) {
    const struct signed_body *const statement = &ledger->reader.batch.seal.statement;
    uint64_t const seq = ledger->reader.batch.pre_prepare.seq;
    struct batch_reader *const ahead = malloc(sizeof *ahead);
    struct problem ignored = {.code =
                                  EXIT_OK}; /* damage further on is met when the walk gets there */
    bool found = false;
    if (ahead == NULL) {
        return false;
    }
    batch_reader_init(ahead, ledger->disk, &audit->options.configuration->service);
    bool going = batch_reader_seek(ahead, ledger->reader.next_entry, &ignored) == 1;
    while (going && !found && batch_reader_next(ahead, &ignored) == 1) {
        struct certificate certificate;
        found = certificate_from_ledger(&certificate, statement, seq, &ahead->batch) &&
                certificate_keep(audit, out, &certificate);
        going = ahead->batch.pre_prepare.evidence_upto < seq;
    }
    batch_reader_free(ahead);
    free(ahead);
    return found;
}

bool certificate_find(struct audit *audit, struct found_certificate *out,
                      const struct audit_ledger *ledger) {
    const struct batch *const batch = &ledger->reader.batch;
    const struct signed_body *const statement = &batch->seal.statement;
    struct digest const digest =
        hash_statement(LABEL_PRE_PREPARE, &audit->options.configuration->service, statement->body,
                       &statement->signature);
    const struct claim *const claim =
        claims_find(&audit->claims, batch->pre_prepare.view, batch->pre_prepare.seq, &digest);
    if (claim != NULL) {
        return certificate_open(audit, out, claims_certificate(&audit->claims, claim));
    }
    return certificate_scan(audit, out, ledger);
}

/* ---- findings ---- */

/* Does it blame anybody whom nothing of its kind blames yet? */
static bool is_news(const struct audit *audit, enum proof_kind kind, uint64_t replicas) {
    return (replicas & ~audit->blamed[kind]) != 0;
}

static void keep_finding(struct audit *audit, const struct proof_verdict *verdict,
                         struct buffer *file) {
    struct audit_report *const report = &audit->report;
    if (!is_news(audit, verdict->kind, verdict->blamed) ||
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

static void add_proof(struct audit *audit, struct proof *proof) {
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
    if (!is_news(audit, PROOF_CONFLICTING_CERTIFICATES, a->batch.signers & b->batch.signers)) {
        audit->report.findings_further++;
        return;
    }
    struct proof proof = {
        .kind = PROOF_CONFLICTING_CERTIFICATES,
        .certificate_count = 2,
        .certificates = {buffer_span(&a->bytes), buffer_span(&b->bytes)},
    };
    add_proof(audit, &proof);
}

void blame_primary(struct audit *audit, const struct signed_body *a, const struct signed_body *b) {
    struct proof proof = {
        .kind = PROOF_EQUIVOCATION,
        .statement_count = 2,
        .statements = {*a, *b},
    };
    add_proof(audit, &proof);
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
        add_proof(audit, proof);
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

void blame_batch(struct audit *audit, const struct audit_ledger *ledger, enum rule rule) {
    struct found_certificate certificate;
    struct gathering state;
    struct gathering entries;
    struct proof proof = {.kind = PROOF_BROKEN_BATCH, .rule = span_text(rule_name(rule))};
    if (rule == RULE_OUTCOME || rule == RULE_CHECKPOINT_DIGEST) {
        proof.kind = rule == RULE_OUTCOME ? PROOF_WRONG_OUTCOME : PROOF_WRONG_CHECKPOINT;
        proof.rule = (struct span){0};
    }
    found_certificate_init(&certificate);
    gathering_init(&state);
    gathering_init(&entries);
    if (certificate_find(audit, &certificate, ledger)) {
        proof.certificate_count = 1;
        proof.certificates[0] = buffer_span(&certificate.bytes);
    }
    if (gather_fragment(audit, ledger, &proof, &state, &entries)) {
        add_fragment(audit, &proof, &state, &entries);
    } else {
        audit_notice(audit, EXIT_CANNOT_AUDIT,
                     "%s: batch %llu: %s, but the proof cannot be put together: it is larger than "
                     "a file of evidence may be, or the ledger can no longer be read",
                     ledger->name, (unsigned long long)ledger->reader.batch.pre_prepare.seq,
                     rule_text(rule));
    }
    gathering_free(&state);
    gathering_free(&entries);
    found_certificate_free(&certificate);
}
