/*
 * reconcile: receipts against the ledger that is followed (protocol §10 step 4).
 *
 * A receipt is met by the batch that it names, or by the same contents under the same number in
 * another view, which proposed them again. What contradicts the ledger within one view is answered
 * at once. Of what contradicts it across views, view-changes that understate are found by views.c
 * whenever a new view is met; here is the rest of the argument of §6.
 */
#include "audit-tool/audit_internal.h"
#include "base/check.h"

/* Two batches of one view and number. */
static void contradict_in_view(struct audit *audit, const struct claim *claim,
                               const struct audit_ledger *ledger) {
    struct found_certificate claimed;
    struct found_certificate found;
    struct certificate certificate;
    found_certificate_init(&claimed);
    found_certificate_init(&found);
    if (certificate_open(audit, &claimed, claims_certificate(&audit->claims, claim))) {
        if (certificate_find(audit, &found, ledger)) {
            blame_certificates(audit, &claimed, &found);
        } else if (certificate_decode(&certificate, &audit->arena, buffer_span(&claimed.bytes)) ==
                   CODEC_OK) {
            struct signed_body const statement = {.body = certificate.pre_prepare,
                                                  .signature = certificate.pre_prepare_signature};
            blame_primary(audit, claim->config, &statement, &ledger->reader.batch.seal.statement);
        }
    }
    found_certificate_free(&claimed);
    found_certificate_free(&found);
}

/*
 * The ledger changed from the claim's view to a later one, without this batch. Either those who
 * asked for it understated, or what they showed is of the claim's own view, and another ledger.
 * Returns: was the choice of the new view of that view?
 */
static bool contradict_choice(struct audit *audit, const struct claim *claim,
                              const struct view_seen *seen) {
    struct found_certificate claimed;
    bool answered = false;
    struct audit_ledger *const at = ledger_open_at(audit, audit->followed, seen->entry);
    found_certificate_init(&claimed);
    if (at != NULL && ledger_is_at_view(at) &&
        certificate_open(audit, &claimed, claims_certificate(&audit->claims, claim))) {
        answered = blame_fork_chosen(audit, &claimed, at);
    }
    found_certificate_free(&claimed);
    ledger_close(at);
    return answered;
}

static bool is_same(const struct claim *claim, const struct pre_prepare *body,
                    const struct digest *digest) {
    struct batch_content const content = batch_content_of(body);
    if (claim->config != body->config) {
        return false; /* what one configuration committed, no other proposes again */
    }
    return claim->view == body->view ? digest_equal(&claim->digest, digest)
                                     : batch_content_equal(&claim->content, &content);
}

static struct digest digest_of(const struct audit *audit, const struct batch *batch) {
    return hash_statement(LABEL_PRE_PREPARE, &audit->options.configuration->service,
                          batch->seal.statement.body, &batch->seal.statement.signature);
}

/* The ledger changed its view between the claim's and its own, and dropped the claim's batch. */
static void contradict_across(struct audit *audit, struct claim *claim) {
    struct view_seen seen;
    int const found = watch_first_above(audit, claim->config, claim->view, &seen);
    if (found < 0) {
        return; /* stays open, and is told in the end */
    }
    if (found > 0) {
        (void)contradict_choice(audit, claim, &seen); /* else views.c found who understated */
    }
    claim->state = CLAIM_ANSWERED;
}

static void reconcile_claim(struct audit *audit, struct claim *claim,
                            const struct audit_ledger *ledger, bool is_sound) {
    const struct pre_prepare *const body = &ledger->reader.batch.pre_prepare;
    struct digest const digest = digest_of(audit, &ledger->reader.batch);
    if (is_same(claim, body, &digest)) {
        claim->state = is_sound ? CLAIM_MET : CLAIM_ANSWERED;
    } else if (claim->config != body->config) {
        return; /* another end of a configuration: two views of it, perhaps; told in the end */
    } else if (claim->view == body->view) {
        contradict_in_view(audit, claim, ledger);
        claim->state = CLAIM_ANSWERED;
    } else if (claim->view < body->view && is_sound) {
        contradict_across(audit, claim);
    }
    /* A later view's batch may only be stale here; reconcile_rest sees how the ledger goes on. */
}

void reconcile_batch(struct audit *audit, const struct audit_ledger *ledger, bool is_sound) {
    uint64_t const seq = is_sound ? ledger->reader.batch.pre_prepare.seq
                                  : replayer_position(&audit->replayer)->seq + 1;
    while (audit->claims_done < claims_count(&audit->claims)) {
        struct claim *const claim = claims_at(&audit->claims, audit->claims_done);
        if (claim->seq > seq) {
            return;
        }
        reconcile_claim(audit, claim, ledger, is_sound);
        audit->claims_done++;
    }
}

void reconcile_aside(struct audit *audit, const struct audit_ledger *ledger) {
    const struct pre_prepare *const body = &ledger->reader.batch.pre_prepare;
    struct digest const digest = digest_of(audit, &ledger->reader.batch);
    for (uint64_t i = claims_first_at(&audit->claims, body->seq); i < claims_count(&audit->claims);
         i++) {
        struct claim *const claim = claims_at(&audit->claims, i);
        if (claim->seq != body->seq) {
            return;
        }
        if (claim->state == CLAIM_OPEN && is_same(claim, body, &digest)) {
            claim->state = CLAIM_MET;
        }
    }
}

/* ---- what is left ---- */

/* Some batch of the claim's view in the ledger followed that is certified, from its new view on. */
static bool contradict_behind(struct audit *audit, const struct claim *claim,
                              struct audit_ledger *at) {
    struct problem ignored = {.code = EXIT_OK};
    struct found_certificate claimed;
    struct found_certificate found;
    bool answered = false;
    found_certificate_init(&claimed);
    found_certificate_init(&found);
    while (!answered && batch_reader_next(&at->reader, &ignored) == 1 && !ledger_is_at_view(at)) {
        if (certificate_find(audit, &found, at) &&
            certificate_open(audit, &claimed, claims_certificate(&audit->claims, claim))) {
            blame_fork_behind(audit, &claimed, at);
            answered = true;
        }
    }
    found_certificate_free(&claimed);
    found_certificate_free(&found);
    return answered;
}

/*
 * The ledger holds another batch of an earlier view under the claim's number. It contradicts the
 * claim only if it reaches the claim's view, or passes it.
 */
static bool contradict_later(struct audit *audit, const struct claim *claim) {
    struct view_seen own;
    struct view_seen above;
    if (claim->view == 0 || watch_first_above(audit, claim->config, claim->view - 1, &own) != 1) {
        return false;
    }
    if (own.view != claim->view) {
        return true; /* passed it: all who asked for that view understated, and were found */
    }
    struct audit_ledger *const at = ledger_open_at(audit, audit->followed, own.entry);
    bool const answered = at != NULL && contradict_behind(audit, claim, at);
    ledger_close(at);
    return answered || (watch_first_above(audit, claim->config, claim->view, &above) == 1 &&
                        contradict_choice(audit, claim, &above));
}

/*
 * The claim is for a place where its configuration was not in force: behind the batches that end
 * it, or before the one that begins it. Of one view, these and the claim are of two ledgers.
 */
static bool contradict_boundary(struct audit *audit, struct claim *claim) {
    struct found_certificate claimed;
    struct found_certificate found;
    const struct era *const era = eras_find(&audit->eras, claim->config);
    bool answered = false;
    if (era == NULL) {
        return false;
    }
    bool const is_behind = era->end.entry != 0 && claim->seq > era->end.seq;
    bool const is_before = era->start.entry != 0 && claim->seq < era->start.seq;
    const struct era_place *const place = is_behind ? &era->end : &era->start;
    if ((!is_behind && !is_before) || place->view < claim->view) {
        return false; /* the ledger may have been left for that view */
    }
    if (place->view > claim->view) {
        contradict_across(audit, claim);
        return claim->state == CLAIM_ANSWERED;
    }
    struct audit_ledger *const at = ledger_open_at(audit, audit->followed, place->entry);
    found_certificate_init(&claimed);
    found_certificate_init(&found);
    if (at != NULL && certificate_find(audit, &found, at) &&
        certificate_open(audit, &claimed, claims_certificate(&audit->claims, claim)) &&
        certificates_conflict(&era->configuration, &found.batch, &claimed.batch)) {
        blame_certificates(audit, &claimed, &found);
        answered = true;
    }
    found_certificate_free(&claimed);
    found_certificate_free(&found);
    ledger_close(at);
    return answered;
}

static bool is_of_view(const struct claim *claim, const struct pre_prepare *body) {
    return claim->config == body->config && claim->view == body->view;
}

/*
 * A batch that the ledger evidences, of those that it ends with, and the next claim of its view,
 * which the ledger does not reach or holds otherwise without evidence: their numbers must go
 * together. Claims behind that one go together with it, or have been answered.
 */
static int contradict_end(void *context, const struct verified_batch *batch,
                          struct span certificate) {
    struct audit *const audit = context;
    uint64_t const count = claims_count(&audit->claims);
    uint64_t next = claims_first_at(&audit->claims, batch->pre_prepare.seq + 1);
    struct found_certificate evidenced;
    struct found_certificate claimed;
    const struct configuration *const configuration =
        audit_configuration(audit, batch->pre_prepare.config);
    while (next < count && !is_of_view(claims_at(&audit->claims, next), &batch->pre_prepare)) {
        next++;
    }
    if (next == count || configuration == NULL) {
        return 0;
    }
    struct claim *const claim = claims_at(&audit->claims, next);
    found_certificate_init(&evidenced);
    found_certificate_init(&claimed);
    if (certificate_open(audit, &evidenced, certificate) &&
        certificate_open(audit, &claimed, claims_certificate(&audit->claims, claim)) &&
        certificates_conflict(configuration, &evidenced.batch, &claimed.batch)) {
        blame_certificates(audit, &evidenced, &claimed);
        claim->state = CLAIM_ANSWERED;
    }
    found_certificate_free(&evidenced);
    found_certificate_free(&claimed);
    return 0;
}

static void note_unchecked(struct audit *audit, const struct claim *claim) {
    struct audit_report *const report = &audit->report;
    if (!report->has_unchecked || claim->index_first < report->unchecked_first) {
        report->unchecked_first = claim->index_first;
    }
    if (!report->has_unchecked || claim->index_last > report->unchecked_last) {
        report->unchecked_last = claim->index_last;
    }
    report->has_unchecked = true;
}

/* Receipts for batches that were not to be looked at here. Returns: is this claim theirs? */
static bool is_outside(struct audit *audit, const struct claim *claim) {
    struct audit_coverage *const coverage = &audit->report.coverage;
    const struct audit_start *const start = audit_began(audit);
    if (claim->seq <= start->seq) {
        coverage->receipts_before += claim->receipts;
        return true;
    }
    if (coverage->ends_early && claim->seq > audit->seq) {
        coverage->receipts_beyond += claim->receipts;
        return true;
    }
    return false;
}

static void note_open(struct audit *audit, const struct claim *claim) {
    const struct audit_report *const report = &audit->report;
    if (claim->seq <= audit->seq && audit->start.seq != 0) {
        audit_notice(audit, EXIT_CANNOT_AUDIT,
                     "transactions %llu..%llu: receipts of view %llu name other batches than this "
                     "ledger holds, and it changed its view where this part of the audit does not "
                     "reach; audit from genesis",
                     (unsigned long long)report->unchecked_first,
                     (unsigned long long)report->unchecked_last, (unsigned long long)claim->view);
        return;
    }
    audit_notice(audit, EXIT_CANNOT_AUDIT,
                 "transactions %llu..%llu: receipts name them, but no ledger given reaches "
                 "batch %llu of view %llu; get the ledger of a replica that signed them",
                 (unsigned long long)report->unchecked_first,
                 (unsigned long long)report->unchecked_last, (unsigned long long)claim->seq,
                 (unsigned long long)claim->view);
}

int audit_visit_claims(struct audit *audit, audit_claim_visitor visitor, void *context) {
    int status = 0;
    for (uint64_t i = 0; status == 0 && i < claims_count(&audit->claims); i++) {
        const struct claim *const claim = claims_at(&audit->claims, i);
        status = visitor(context, &(struct audit_claim){
                                      .seq = claim->seq,
                                      .view = claim->view,
                                      .digest = claim->digest,
                                      .is_met = claim->state == CLAIM_MET,
                                      .is_answered = claim->state == CLAIM_ANSWERED,
                                  });
    }
    return status;
}

void reconcile_rest(struct audit *audit) {
    struct claim first;
    bool has_first = false;
    int const visited = audit_visit_revealed(audit, contradict_end, audit);
    CHECK(visited == 0); /* contradict_end never stops it */
    watch_hold_left(audit);
    for (uint64_t i = 0; i < claims_count(&audit->claims); i++) {
        struct claim *const claim = claims_at(&audit->claims, i);
        if (claim->state == CLAIM_OPEN && is_outside(audit, claim)) {
            continue;
        }
        if (claim->state == CLAIM_OPEN &&
            (contradict_boundary(audit, claim) ||
             (claim->seq <= audit->seq && contradict_later(audit, claim)))) {
            claim->state = CLAIM_ANSWERED;
        }
        if (claim->state == CLAIM_MET) {
            audit->report.receipts_reconciled += claim->receipts;
        } else if (claim->state == CLAIM_OPEN && claim->receipts != 0) {
            first = has_first ? first : *claim;
            has_first = true;
            note_unchecked(audit, claim);
        }
    }
    if (has_first) {
        note_open(audit, &first);
    }
}
