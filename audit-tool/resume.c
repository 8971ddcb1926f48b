/*
 * resume: going on with an earlier run of the same audit (audit.h).
 *
 * The progress names the checkpoint that was reached, and keeps what was found up to then: proofs,
 * which are verified again, notices, and the certificates of ways that were not followed. What lies
 * before is skimmed: every entry that M covers is read, and their root must be the one that was
 * replayed. Receipts and changes of view are held against it as they are while replaying, so that
 * nothing need be remembered of them, and receipts may be new.
 */
#include <stdlib.h>

#include "audit-tool/audit_internal.h"
#include "base/check.h"
#include "ledger/derive.h"

#define PROGRESS_MAGIC "onus-audit-progress-v2\n"

/* What an earlier run left of a ledger. */
#define PROGRESS_LEDGER_HERE 0u
#define PROGRESS_LEDGER_LEFT 1u
#define PROGRESS_LEDGER_BRANCH 2u /* left, and still to be audited by itself */

struct audit_resumption {
    struct audit_start start; /* of the first of all runs */
    bool trusted;             /* that run looked at no signatures */
};

void resumption_free(struct audit_resumption *resumption) {
    free(resumption);
}

const struct audit_start *audit_began(const struct audit *audit) {
    return audit->resumption != NULL ? &audit->resumption->start : &audit->start;
}

bool audit_must_start_anew(const struct audit *audit) {
    return audit->starts_anew;
}

/* ---- writing --------------------------------------------------------------------------------- */

static bool put_u32(struct buffer *out, uint32_t value) {
    uint8_t bytes[4];
    store_u32_be(bytes, value);
    return buffer_append(out, span_of(bytes, sizeof bytes));
}

static bool put_u64(struct buffer *out, uint64_t value) {
    uint8_t bytes[8];
    store_u64_be(bytes, value);
    return buffer_append(out, span_of(bytes, sizeof bytes));
}

static bool put_sized(struct buffer *out, struct span bytes) {
    return bytes.size <= UINT32_MAX && put_u32(out, (uint32_t)bytes.size) &&
           buffer_append(out, bytes);
}

static bool put_start(struct buffer *out, const struct audit_start *start) {
    unsigned const peaks = frontier_peak_count(start->frontier.leaf_count);
    return put_u64(out, start->seq) && put_u64(out, start->config) && put_u64(out, start->view) &&
           put_u64(out, start->entries) && put_u64(out, start->next_index) &&
           put_u64(out, start->signers) && put_u64(out, start->signed_in) &&
           buffer_append(out, span_of(start->digest.bytes, DIGEST_SIZE)) &&
           put_u64(out, start->frontier.leaf_count) &&
           put_sized(out, span_of(start->frontier.peaks, peaks * DIGEST_SIZE));
}

static bool put_ledgers(struct buffer *out, const struct audit *audit) {
    bool good = put_u32(out, audit->ledger_count);
    for (uint32_t i = 0; i < audit->ledger_count; i++) {
        const struct audit_ledger *const ledger = &audit->ledgers[i];
        good = good && put_sized(out, span_text(ledger->name)) &&
               put_u32(out, ledger->state != LEDGER_LEFT ? PROGRESS_LEDGER_HERE
                            : ledger->goes_its_way       ? PROGRESS_LEDGER_BRANCH
                                                         : PROGRESS_LEDGER_LEFT) &&
               put_u64(out, ledger->last_seq);
    }
    return good;
}

static bool put_found(struct buffer *out, const struct audit_report *report) {
    bool good = put_u32(out, report->finding_count);
    for (uint32_t i = 0; i < report->finding_count; i++) {
        good = good && put_sized(out, buffer_span(&report->findings[i].file));
    }
    good = good && put_u32(out, report->notice_count);
    for (uint32_t i = 0; i < report->notice_count; i++) {
        good = good && put_u32(out, (uint32_t)report->notices[i].code) &&
               put_sized(out, span_text(report->notices[i].text));
    }
    return good;
}

static bool put_aside(struct buffer *out, struct claims *aside) {
    bool good = put_u32(out, (uint32_t)claims_count(aside));
    for (uint64_t i = 0; i < claims_count(aside); i++) {
        good = good && put_sized(out, claims_certificate(aside, claims_at(aside, i)));
    }
    return good;
}

bool audit_save_progress(const struct audit *audit, struct buffer *out, uint64_t seq) {
    const struct audit_start *const start = audit_began(audit);
    const struct replayer_cut *const cut = replayer_cut_at(&audit->replayer, seq);
    struct claims aside = audit->aside; /* a look at it; what it points to does not move */
    return buffer_append(out, span_text(PROGRESS_MAGIC)) &&
           buffer_append(out, span_of(audit->options.configuration->service.bytes, DIGEST_SIZE)) &&
           put_u64(out, seq) && cut != NULL &&
           buffer_append(out, span_of(cut->digest.bytes, DIGEST_SIZE)) && put_start(out, start) &&
           put_u32(out, audit->options.trust_signatures) && put_ledgers(out, audit) &&
           put_found(out, &audit->report) && put_aside(out, &aside);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* What is left to read; once something does not fit, nothing does. */
struct progress_reader {
    struct span left;
    bool failed;
};

static struct span take(struct progress_reader *reader, size_t size) {
    if (reader->failed || size > reader->left.size) {
        reader->failed = true;
        return (struct span){0};
    }
    struct span const taken = span_of(reader->left.data, size);
    reader->left = span_of(reader->left.data + size, reader->left.size - size);
    return taken;
}

static uint32_t take_u32(struct progress_reader *reader) {
    struct span const taken = take(reader, 4);
    return taken.size == 4 ? load_u32_be(taken.data) : 0;
}

static uint64_t take_u64(struct progress_reader *reader) {
    struct span const taken = take(reader, 8);
    return taken.size == 8 ? load_u64_be(taken.data) : 0;
}

static struct span take_sized(struct progress_reader *reader) {
    return take(reader, take_u32(reader));
}

static void take_start(struct progress_reader *reader, struct audit_start *start) {
    start->seq = take_u64(reader);
    start->config = take_u64(reader);
    start->view = take_u64(reader);
    start->entries = take_u64(reader);
    start->next_index = take_u64(reader);
    start->signers = take_u64(reader);
    start->signed_in = take_u64(reader);
    struct span const digest = take(reader, DIGEST_SIZE);
    uint64_t const leaves = take_u64(reader);
    struct span const peaks = take_sized(reader);
    if (reader->failed || !frontier_load(&start->frontier, leaves, peaks)) {
        reader->failed = true;
        return;
    }
    memcpy(start->digest.bytes, digest.data, DIGEST_SIZE);
}

static void take_head(struct progress_reader *reader, const struct digest *service,
                      struct audit_progress *out, struct audit_start *start) {
    struct span const magic = span_text(PROGRESS_MAGIC);
    struct span const own = take(reader, magic.size);
    struct span const own_service = take(reader, DIGEST_SIZE);
    reader->failed = reader->failed || !span_equal(own, magic) ||
                     !span_equal(own_service, span_of(service->bytes, DIGEST_SIZE));
    out->seq = take_u64(reader);
    struct span const digest = take(reader, DIGEST_SIZE);
    if (digest.size == DIGEST_SIZE) {
        memcpy(out->digest.bytes, digest.data, DIGEST_SIZE);
    }
    take_start(reader, start);
    out->start_seq = start->seq;
    reader->failed |= out->seq <= out->start_seq;
}

bool audit_progress_decode(struct audit_progress *out, const struct digest *service,
                           struct span bytes) {
    struct audit_start start = {.seq = 0};
    struct progress_reader reader = {.left = bytes};
    take_head(&reader, service, out, &start);
    return !reader.failed;
}

static void take_ledgers(struct progress_reader *reader, struct audit *audit) {
    reader->failed |= take_u32(reader) != audit->ledger_count;
    for (uint32_t i = 0; !reader->failed && i < audit->ledger_count; i++) {
        struct audit_ledger *const ledger = &audit->ledgers[i];
        struct span const name = take_sized(reader);
        uint32_t const state = take_u32(reader);
        uint64_t const last_seq = take_u64(reader);
        reader->failed |=
            state > PROGRESS_LEDGER_BRANCH || !span_equal(name, span_text(ledger->name));
        if (state != PROGRESS_LEDGER_HERE) {
            ledger->state = LEDGER_LEFT;
            ledger->last_seq = last_seq;
            ledger->goes_its_way = state == PROGRESS_LEDGER_BRANCH;
        }
    }
}

/* Each proof is verified as a stranger's would be. */
static void take_findings(struct progress_reader *reader, struct audit *audit) {
    struct audit_report *const report = &audit->report;
    uint32_t const count = take_u32(reader);
    reader->failed |= count > AUDIT_FINDINGS_MAX;
    for (uint32_t i = 0; !reader->failed && i < count; i++) {
        struct audit_finding *const finding = &report->findings[report->finding_count];
        struct span const file = take_sized(reader);
        if (proof_verify(&finding->verdict, &audit->options.configuration->service, file) !=
            PROOF_VALID) {
            reader->failed = true;
            return;
        }
        report->finding_count++;
        buffer_init(&finding->file, file.size);
        reader->failed |= !buffer_append(&finding->file, file);
        blame_note(audit, &finding->verdict);
    }
}

static bool is_notice_code(uint32_t code) {
    return code == EXIT_INVALID || code == EXIT_CANNOT_AUDIT || code == EXIT_CORRUPT ||
           code == EXIT_ERROR;
}

static void take_notices(struct progress_reader *reader, struct audit *audit) {
    uint32_t const count = take_u32(reader);
    reader->failed |= count > AUDIT_NOTICES_MAX;
    for (uint32_t i = 0; !reader->failed && i < count; i++) {
        uint32_t const code = take_u32(reader);
        struct span const text = take_sized(reader);
        if (reader->failed || !is_notice_code(code) || text.size > INT32_MAX) {
            reader->failed = true;
        } else if (code != EXIT_INVALID) { /* a bad receipt, which is told again if it is given */
            audit_notice(audit, (enum exit_code)code, "%.*s", (int)text.size,
                         (const char *)text.data);
        }
    }
}

static void take_aside(struct progress_reader *reader, struct audit *audit) {
    uint32_t const count = take_u32(reader);
    for (uint32_t i = 0; !reader->failed && i < count; i++) {
        struct span const bytes = take_sized(reader);
        reader->failed = reader->failed || !audit_take_aside(audit, bytes);
    }
}

int audit_resume(struct audit *audit, struct span progress, struct problem *problem) {
    struct progress_reader reader = {.left = progress};
    struct audit_progress head = {.seq = 0};
    struct audit_resumption *const own = calloc(1, sizeof *own);
    audit->starts_anew = true;
    if (own == NULL) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    audit->resumption = own;
    take_head(&reader, &audit->options.configuration->service, &head, &own->start);
    reader.failed |=
        head.seq != audit->start.seq || !digest_equal(&head.digest, &audit->start.digest);
    reader.failed |= take_u32(&reader) != (uint32_t)audit->options.trust_signatures;
    take_ledgers(&reader, audit);
    take_findings(&reader, audit);
    take_notices(&reader, audit);
    take_aside(&reader, audit);
    if (reader.failed || reader.left.size != 0) {
        return problem_set(problem, EXIT_CANNOT_AUDIT,
                           "the progress that was noted is not that of an audit of these ledgers");
    }
    audit->starts_anew = false;
    return 0;
}

int audit_continue(struct audit *audit, bool reads_before, struct problem *problem) {
    CHECK(audit->start.seq != 0 && audit->resumption == NULL);
    audit->is_own = true;
    if (reads_before) {
        audit->resumption = calloc(1, sizeof *audit->resumption);
        if (audit->resumption == NULL) {
            return problem_set(problem, EXIT_ERROR, "out of memory");
        }
        audit->resumption->start.next_index = 1;
    }
    return 0;
}

uint64_t audit_saveable(const struct audit *audit) {
    /* A batch that was taken carries its digest. */
    uint64_t const carried = replayer_position(&audit->replayer)->checkpoint_seq;
    return carried > audit->start.seq && replayer_cut_at(&audit->replayer, carried) != NULL
               ? carried
               : 0;
}

/* ---- what was replayed before ---------------------------------------------------------------- */

/* All ledgers that are followed must still be the same. Returns: one of them; NULL when not. */
static struct audit_ledger *same_in_all(struct audit *audit) {
    struct audit_ledger *first = NULL;
    for (uint32_t i = 0; i < audit->ledger_count; i++) {
        struct audit_ledger *const ledger = &audit->ledgers[i];
        if (ledger_is_here(ledger) && first == NULL) {
            first = ledger;
        } else if (ledger_is_here(ledger) &&
                   !batch_equal(&first->reader.batch, &ledger->reader.batch)) {
            return NULL;
        }
    }
    return first;
}

/* Every entry that M covers: all but the requests, which come last in a batch. */
static void append_leaves(struct frontier *frontier, const struct batch *batch, bool is_view) {
    uint32_t const requests = is_view ? 0 : batch->request_count;
    for (uint32_t i = 0; i + requests < batch_entry_count(batch); i++) {
        struct entry const entry = batch_entry_at(batch, i);
        struct digest const leaf = ledger_leaf(entry.kind, entry.payload);
        frontier_append(frontier, &leaf);
    }
}

/* What lies behind where the first run began: M so far, and the checkpoint carried last. */
struct skimming {
    struct frontier frontier;
    uint64_t carried;
};

/* Another checkpoint that was compared, made by the runs before. */
static void skim_checkpoint(struct audit *audit, struct skimming *skimming, uint64_t carried) {
    if (carried > skimming->carried) {
        audit->report.coverage.checkpoints++;
        skimming->carried = carried;
    }
}

/* Returns: false when this is not what was replayed, or memory is short. */
static bool skim_next(struct audit *audit, struct skimming *skimming) {
    struct audit_ledger *const ledger = same_in_all(audit);
    if (ledger == NULL) {
        return false;
    }
    const struct batch *const batch = &ledger->reader.batch;
    bool const is_view = ledger_is_at_view(ledger);
    append_leaves(&skimming->frontier, batch, is_view);
    if (!is_view) {
        if (batch->pre_prepare.seq != audit->seq + 1) {
            return false;
        }
        audit->seq++;
        skim_checkpoint(audit, skimming, batch->pre_prepare.checkpoint_seq);
        reconcile_batch(audit, ledger, true);
    }
    if (!audit_note_sound(audit, ledger)) {
        return false;
    }
    ledgers_pass(audit, audit->seq);
    if (audit->options.watcher != NULL && !is_view) {
        audit->options.watcher->on_batch(audit->options.watcher->context, &audit->report);
    }
    return true;
}

/* How many entries the ledgers were followed to. */
static uint64_t entries_passed(const struct audit *audit) {
    return audit->followed == NULL ? 0 : audit->followed->reader.next_entry;
}

int audit_skim(struct audit *audit, struct problem *problem) {
    struct audit_coverage *const coverage = &audit->report.coverage;
    struct skimming skimming = {.frontier = audit->resumption->start.frontier,
                                .carried = audit->resumption->start.seq};
    if (skimming.carried == 0) {
        struct digest const leaf = ledger_leaf(ENTRY_GENESIS, audit->options.genesis);
        frontier_init(&skimming.frontier);
        frontier_append(&skimming.frontier, &leaf);
    }
    bool good = true;
    while (good && entries_passed(audit) < audit->start.entries && ledgers_advance(audit)) {
        good = skim_next(audit, &skimming);
    }
    struct digest const root = frontier_root(&skimming.frontier);
    struct digest const replayed = frontier_root(&audit->start.frontier);
    if (!good || entries_passed(audit) != audit->start.entries || audit->seq != audit->start.seq ||
        skimming.frontier.leaf_count != audit->start.frontier.leaf_count ||
        !digest_equal(&root, &replayed)) {
        audit->starts_anew = true;
        return problem_set(problem, EXIT_CANNOT_AUDIT,
                           "the ledger up to batch %llu is not the one that was audited before",
                           (unsigned long long)audit->start.seq);
    }
    coverage->resumed_seq = audit->start.seq;
    coverage->last_checkpoint = audit->start.seq;
    coverage->last_checkpoint_digest = audit->start.digest;
    return 0;
}
