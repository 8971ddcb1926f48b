/*
 * walk: all ledgers side by side, batch by batch (protocol §10 steps 3 to 5).
 *
 * Invariant: everything up to the replayer's position is the same in all ledgers that are still
 * followed, and breaks no rule. So wherever they part, it is just after that position.
 */
#include <stdlib.h>

#include "audit-tool/audit_internal.h"
#include "base/check.h"

/* Is this a ledger to be judged now? */
static bool is_here(const struct audit_ledger *ledger) {
    return ledger->state == LEDGER_FOLLOWED && ledger->has_batch;
}

static void leave(struct audit *audit, struct audit_ledger *ledger, const struct problem *problem) {
    ledger->state = LEDGER_LEFT;
    ledger->has_batch = false;
    audit_notice(audit, problem->code, "%s", problem->text);
}

static void open_ledgers(struct audit *audit) {
    for (uint32_t i = 0; i < audit->ledger_count; i++) {
        struct audit_ledger *const ledger = &audit->ledgers[i];
        struct problem problem = {.code = EXIT_OK};
        int const status = batch_reader_open(&ledger->reader, audit->options.genesis, &problem);
        if (status == 0) {
            problem_set(&problem, EXIT_CANNOT_AUDIT, "%s: the ledger is empty", ledger->name);
        }
        if (status != 1) {
            leave(audit, ledger, &problem);
        }
    }
}

/* Read the next batch of every ledger that is followed. Returns: whether there is any. */
static bool advance(struct audit *audit) {
    bool any = false;
    for (uint32_t i = 0; i < audit->ledger_count; i++) {
        struct audit_ledger *const ledger = &audit->ledgers[i];
        struct problem problem = {.code = EXIT_OK};
        if (ledger->state != LEDGER_FOLLOWED) {
            continue;
        }
        int const status = ledger->has_batch ? 1 : batch_reader_next(&ledger->reader, &problem);
        ledger->has_batch = status == 1;
        any |= status == 1;
        if (status < 0) {
            leave(audit, ledger, &problem);
        } else if (status == 0) {
            ledger->state = LEDGER_ENDED;
        }
    }
    return any;
}

static struct digest digest_of(const struct audit *audit, const struct batch *batch) {
    return hash_statement(LABEL_PRE_PREPARE, &audit->options.configuration->service,
                          batch->seal.statement.body, &batch->seal.statement.signature);
}

/* ---- what does not fit ---- */

/* Two signed batches where one belongs; `ours` is in the way that is followed. */
static void blame_fork(struct audit *audit, const struct audit_ledger *ours,
                       const struct audit_ledger *theirs) {
    struct found_certificate ours_found;
    struct found_certificate theirs_found;
    found_certificate_init(&ours_found);
    found_certificate_init(&theirs_found);
    if (certificate_find(audit, &ours_found, ours) &&
        certificate_find(audit, &theirs_found, theirs)) {
        blame_certificates(audit, &ours_found, &theirs_found);
    } else {
        blame_primary(audit, &ours->reader.batch.seal.statement,
                      &theirs->reader.batch.seal.statement);
    }
    found_certificate_free(&ours_found);
    found_certificate_free(&theirs_found);
}

/* What lies there is not what was signed. */
static void note_damage(struct audit *audit, const struct audit_ledger *ledger, enum rule rule) {
    audit_notice(audit, EXIT_CORRUPT, "%s/%s: offset %llu: batch %llu: %s; nobody signed this",
                 ledger->disk->place, ledger->reader.spot.file_name,
                 (unsigned long long)ledger->reader.spot.offset,
                 (unsigned long long)replayer_position(&audit->replayer)->seq + 1, rule_text(rule));
}

/* Whatever lies under it: did the primary sign two pre-prepares for this place? */
static bool is_signed_twice(const struct audit *audit, const struct audit_ledger *ours,
                            const struct audit_ledger *theirs) {
    const struct configuration *const configuration = audit->options.configuration;
    const struct batch *const a = &ours->reader.batch;
    const struct batch *const b = &theirs->reader.batch;
    struct sign_check const check = {
        .key =
            configuration->replicas[configuration_primary(configuration, b->pre_prepare.view)].key,
        .signature = b->seal.statement.signature,
        .body = b->seal.statement.body,
        .label = LABEL_PRE_PREPARE,
    };
    return a->pre_prepare.config == b->pre_prepare.config &&
           a->pre_prepare.view == b->pre_prepare.view && a->pre_prepare.seq == b->pre_prepare.seq &&
           !span_equal(a->seal.statement.body, b->seal.statement.body) &&
           sign_verify_universal(&configuration->service, &check);
}

/* A ledger goes another way than the one that is followed; or none is, and ours is NULL. */
static void judge_astray(struct audit *audit, struct audit_ledger *theirs, enum rule rule,
                         const struct audit_ledger *ours) {
    if (rule == RULE_NONE) {
        CHECK(ours != NULL);
        blame_fork(audit, ours, theirs);
    } else if (rule_convicts(rule)) {
        blame_batch(audit, theirs, rule);
    } else if (ours != NULL && is_signed_twice(audit, ours, theirs)) {
        blame_primary(audit, &ours->reader.batch.seal.statement,
                      &theirs->reader.batch.seal.statement);
    } else {
        note_damage(audit, theirs, rule);
    }
}

/* Everybody who has this ledger's batch leaves. */
static void leave_alike(struct audit *audit, const struct audit_ledger *like) {
    for (uint32_t i = 0; i < audit->ledger_count; i++) {
        struct audit_ledger *const ledger = &audit->ledgers[i];
        if (ledger != like && is_here(ledger) &&
            batch_equal(&ledger->reader.batch, &like->reader.batch)) {
            ledger->state = LEDGER_LEFT;
        }
    }
}

/* ---- which way to follow ---- */

/* A way to go on from here, and the first ledger that takes it. */
struct way {
    struct audit_ledger *ledger;
    enum rule rule;
    bool certified;
};

static uint32_t collect_ways(struct audit *audit, struct way *ways) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < audit->ledger_count; i++) {
        struct audit_ledger *const ledger = &audit->ledgers[i];
        bool is_new = is_here(ledger);
        for (uint32_t k = 0; is_new && k < count; k++) {
            is_new = !batch_equal(&ways[k].ledger->reader.batch, &ledger->reader.batch);
        }
        if (is_new) {
            ways[count++] = (struct way){.ledger = ledger};
        }
    }
    return count;
}

/* The soundest way: one that breaks no rule, and if possible one that a quorum vouches for. */
static struct way *choose_way(struct audit *audit, struct way *ways, uint32_t count) {
    struct way *chosen = NULL;
    for (uint32_t i = 0; i < count; i++) {
        struct found_certificate found;
        ways[i].rule = replayer_judge(&audit->replayer, &ways[i].ledger->reader.batch);
        if (ways[i].rule != RULE_NONE) {
            continue;
        }
        found_certificate_init(&found);
        ways[i].certified = certificate_find(audit, &found, ways[i].ledger);
        found_certificate_free(&found);
        if (chosen == NULL || (ways[i].certified && !chosen->certified)) {
            chosen = &ways[i];
        }
    }
    return chosen;
}

/* The ledgers part here. Returns: the one to follow, or NULL. */
static struct audit_ledger *part(struct audit *audit, struct way *ways, uint32_t count) {
    const struct way *const chosen = choose_way(audit, ways, count);
    struct audit_ledger *const ours = chosen == NULL ? NULL : chosen->ledger;
    for (uint32_t i = 0; i < count; i++) {
        if (&ways[i] != chosen) {
            judge_astray(audit, ways[i].ledger, ways[i].rule, ours);
            leave_alike(audit, ways[i].ledger);
            ways[i].ledger->state = LEDGER_LEFT;
        }
    }
    return ours;
}

/* ---- receipts against the ledger (§10 step 4) ---- */

static void contradict(struct audit *audit, const struct claim *claim,
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
            blame_primary(audit, &statement, &ledger->reader.batch.seal.statement);
        }
    }
    found_certificate_free(&claimed);
    found_certificate_free(&found);
}

/* All claims about this sequence number, against what the ledger has there. */
static void reconcile(struct audit *audit, const struct audit_ledger *ledger, uint64_t seq,
                      bool is_sound) {
    struct digest const digest = digest_of(audit, &ledger->reader.batch);
    while (audit->claims_done < claims_count(&audit->claims)) {
        const struct claim *const claim = claims_at(&audit->claims, audit->claims_done);
        if (claim->seq > seq) {
            return;
        }
        bool const agrees = digest_equal(&claim->digest, &digest);
        if (!agrees) {
            contradict(audit, claim, ledger);
        } else if (is_sound) {
            audit->report.receipts_reconciled += claim->receipts;
        }
        audit->claims_done++;
    }
}

/* ---- step by step ---- */

static void step(struct audit *audit, struct audit_ledger *ledger) {
    uint64_t const seq = replayer_position(&audit->replayer)->seq + 1;
    enum rule const rule = replayer_step(&audit->replayer, &ledger->reader.batch);
    bool const is_signed = rule == RULE_NONE || rule_convicts(rule);
    if (is_signed) {
        reconcile(audit, ledger, seq, rule == RULE_NONE);
    }
    if (rule != RULE_NONE) {
        judge_astray(audit, ledger, rule, NULL);
        leave_alike(audit, ledger);
        ledger->state = LEDGER_LEFT;
        return;
    }
    audit->report.batches++;
    audit->report.transactions += ledger->reader.batch.pre_prepare.tx_count;
    for (uint32_t i = 0; i < audit->ledger_count; i++) {
        audit->ledgers[i].has_batch = false; /* whoever is still here has this very batch */
    }
}

int audit_walk(struct audit *audit, struct problem *problem) {
    struct way *const ways = calloc(AUDIT_LEDGERS_MAX, sizeof *ways);
    if (ways == NULL) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    open_ledgers(audit);
    while (!replayer_failed(&audit->replayer) && advance(audit)) {
        uint32_t const count = collect_ways(audit, ways);
        struct audit_ledger *const ledger = count == 1 ? ways[0].ledger : part(audit, ways, count);
        if (ledger != NULL) {
            step(audit, ledger);
        }
    }
    free(ways);
    if (replayer_failed(&audit->replayer)) {
        return problem_set(problem, EXIT_ERROR, "out of memory while replaying the ledgers");
    }
    return 0;
}
