/*
 * walk: all ledgers side by side, batch by batch and new view by new view (protocol §10 steps 3
 * to 5).
 *
 * Invariant: everything up to the replayer's position is the same in all ledgers that are still
 * followed, and breaks no rule. So wherever they part, it is just after that position.
 */
#include <stdlib.h>

#include "audit-tool/audit_internal.h"
#include "base/check.h"

bool ledger_is_here(const struct audit_ledger *ledger) {
    return ledger->state == LEDGER_FOLLOWED && ledger->has_next;
}

bool ledger_is_at_view(const struct audit_ledger *ledger) {
    return ledger->reader.step == BATCH_VIEW;
}

enum rule ledger_take(struct audit *audit, const struct audit_ledger *ledger) {
    return ledger_is_at_view(ledger) ? replayer_enter(&audit->replayer, &ledger->reader.batch.view)
                                     : replayer_step(&audit->replayer, &ledger->reader.batch);
}

void ledger_leave(struct audit *audit, struct audit_ledger *ledger, const struct problem *problem) {
    ledger->state = LEDGER_LEFT;
    ledger->has_next = false;
    audit_notice(audit, problem->code, "%s", problem->text);
}

void ledger_leave_alike(struct audit *audit, const struct audit_ledger *like) {
    for (uint32_t i = 0; i < audit->ledger_count; i++) {
        struct audit_ledger *const ledger = &audit->ledgers[i];
        if (ledger != like && ledger_is_here(ledger) &&
            batch_equal(&ledger->reader.batch, &like->reader.batch)) {
            ledger->state = LEDGER_LEFT;
        }
    }
}

struct audit_ledger *ledger_open_at(struct audit *audit, const struct audit_ledger *ledger,
                                    uint64_t entry) {
    struct problem ignored = {.code = EXIT_OK}; /* damage is told when the walk gets there */
    struct audit_ledger *const again = calloc(1, sizeof *again);
    if (again == NULL) {
        return NULL;
    }
    again->name = ledger->name;
    again->disk = ledger->disk;
    batch_reader_init(&again->reader, ledger->disk, &audit->options.configuration->service);
    if (batch_reader_seek(&again->reader, entry, &ignored) != 1 ||
        batch_reader_next(&again->reader, &ignored) != 1) {
        ledger_close(again);
        return NULL;
    }
    return again;
}

void ledger_close(struct audit_ledger *ledger) {
    if (ledger != NULL) {
        batch_reader_free(&ledger->reader);
        free(ledger);
    }
}

/* Go to where the audit begins. Returns: 0, or -1 when this ledger does not reach that far. */
static int open_ledger(struct audit *audit, struct audit_ledger *ledger, struct problem *problem) {
    const struct audit_start *const start = audit_began(audit);
    bool const from_genesis = start->seq == 0;
    int const status = from_genesis
                           ? batch_reader_open(&ledger->reader, audit->options.genesis, problem)
                           : batch_reader_seek(&ledger->reader, start->entries, problem);
    if (status == 0 && audit->is_own) {
        ledger->state = LEDGER_ENDED; /* it may get there yet; the caller knows */
        return 0;
    }
    if (status == 0) {
        problem_set(problem, EXIT_CANNOT_AUDIT,
                    from_genesis ? "%s: the ledger is empty"
                                 : "%s: the ledger ends before the checkpoint to begin at",
                    ledger->name);
    }
    return status == 1 ? 0 : -1;
}

static void open_ledgers(struct audit *audit) {
    for (uint32_t i = 0; i < audit->ledger_count; i++) {
        struct audit_ledger *const ledger = &audit->ledgers[i];
        struct problem problem = {.code = EXIT_OK};
        if (ledger->state == LEDGER_FOLLOWED && open_ledger(audit, ledger, &problem) != 0) {
            ledger_leave(audit, ledger, &problem);
        }
    }
}

bool ledgers_advance(struct audit *audit) {
    bool any = false;
    for (uint32_t i = 0; i < audit->ledger_count; i++) {
        struct audit_ledger *const ledger = &audit->ledgers[i];
        struct problem problem = {.code = EXIT_OK};
        if (ledger->state != LEDGER_FOLLOWED) {
            continue;
        }
        int const status = ledger->has_next ? 1 : batch_reader_next(&ledger->reader, &problem);
        ledger->has_next = status == 1;
        any |= status == 1;
        if (status < 0) {
            ledger_leave(audit, ledger, &problem);
        } else if (status == 0) {
            ledger->state = LEDGER_ENDED;
        }
    }
    return any;
}

void ledgers_pass(struct audit *audit, uint64_t seq) {
    for (uint32_t i = 0; i < audit->ledger_count; i++) {
        struct audit_ledger *const ledger = &audit->ledgers[i];
        if (ledger_is_here(ledger)) {
            ledger->last_seq = seq;
        }
        ledger->has_next = false;
    }
}

/* ---- what does not fit ---- */

/* What lies there is not what was signed. */
static void note_damage(struct audit *audit, const struct audit_ledger *ledger, enum rule rule) {
    unsigned long long const offset = ledger->reader.spot.offset;
    const char *const place = ledger->disk->place;
    const char *const file = ledger->reader.spot.file_name;
    if (audit->start.seq != 0 && audit->seq == audit->start.seq) {
        audit_notice(
            audit, EXIT_CANNOT_AUDIT,
            "%s/%s: offset %llu: the ledger does not go on from checkpoint %llu: %s; audit "
            "it from genesis",
            place, file, offset, (unsigned long long)audit->seq, rule_text(rule));
    } else if (ledger_is_at_view(ledger)) {
        audit_notice(audit, EXIT_CORRUPT,
                     "%s/%s: offset %llu: new view %llu: %s; nobody signed this", place, file,
                     offset, (unsigned long long)ledger->reader.batch.view.new_view.view,
                     rule_text(rule));
    } else {
        audit_notice(audit, EXIT_CORRUPT, "%s/%s: offset %llu: batch %llu: %s; nobody signed this",
                     place, file, offset,
                     (unsigned long long)replayer_position(&audit->replayer)->seq + 1,
                     rule_text(rule));
    }
}

/* Whatever lies under it: did the primary sign two pre-prepares for this place? */
static bool is_signed_twice(const struct audit *audit, const struct audit_ledger *ours,
                            const struct audit_ledger *theirs) {
    const struct batch *const a = &ours->reader.batch;
    const struct batch *const b = &theirs->reader.batch;
    const struct configuration *const configuration =
        audit_configuration(audit, b->pre_prepare.config);
    if (ledger_is_at_view(ours) || ledger_is_at_view(theirs) || configuration == NULL) {
        return false;
    }
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

void judge_astray(struct audit *audit, const struct audit_ledger *theirs, enum rule rule,
                  const struct audit_ledger *ours) {
    if (rule_convicts(rule)) {
        blame_batch(audit, theirs, rule);
        /* Whoever asked for a view that nobody may enter has stated something all the same. */
        if (ledger_is_at_view(theirs) && rule != RULE_VIEW_CHANGES) {
            struct digest constitution;
            if (!constitution_digest(&constitution, &audit->replayer.era->constitution) ||
                !watch_leave(audit, theirs, theirs->reader.batch.first_entry, &constitution)) {
                audit_notice(audit, EXIT_ERROR, "out of memory where ledgers part");
            }
        }
    } else if (ours != NULL && is_signed_twice(audit, ours, theirs)) {
        blame_primary(audit, theirs->reader.batch.pre_prepare.config,
                      &ours->reader.batch.seal.statement, &theirs->reader.batch.seal.statement);
    } else {
        note_damage(audit, theirs, rule);
    }
}

/* ---- what was checked ---- */

static void cover_batch(struct audit_coverage *coverage, const struct pre_prepare *body) {
    if (coverage->first_batch == 0) {
        coverage->first_batch = body->seq;
        coverage->first_index = body->first_index;
    }
    coverage->last_batch = body->seq;
    coverage->next_index = body->first_index + body->tx_count;
    coverage->evidenced = body->evidence_upto;
    coverage->last_config = body->config;
}

/*
 * Where a configuration begins and ends. What ends it may be proposed again in a later view, and
 * what begins it too; the last time counts.
 */
static void note_boundary(struct audit *audit, const struct batch *batch) {
    const struct pre_prepare *const body = &batch->pre_prepare;
    struct era *const era = eras_find(&audit->eras, body->config);
    struct era_place const place = {
        .entry = batch->first_entry, .view = body->view, .seq = body->seq};
    if (era == NULL) {
        return;
    }
    if (body->kind == BATCH_START_OF_CONFIGURATION) {
        era->start = place;
    } else if (body->kind == BATCH_END_OF_CONFIGURATION &&
               (era->end.entry == 0 || era->end.view < body->view)) {
        era->end = place;
    }
}

bool audit_note_sound(struct audit *audit, const struct audit_ledger *ledger) {
    struct audit_report *const report = &audit->report;
    audit->followed = ledger;
    if (ledger_is_at_view(ledger)) {
        report->coverage.views++;
        report->coverage.last_view = ledger->reader.batch.view.new_view.view;
        report->coverage.views_config = ledger->reader.batch.view.new_view.config;
        return watch_view(audit, ledger);
    }
    report->batches++;
    report->transactions += ledger->reader.batch.pre_prepare.tx_count;
    cover_batch(&report->coverage, &ledger->reader.batch.pre_prepare);
    watch_batch(audit, ledger);
    note_boundary(audit, &ledger->reader.batch);
    audit_meet_left(audit, ledger);
    era_link_note(audit, &ledger->reader.batch);
    return true;
}

/* Of a batch that was replayed: which of our checkpoints it was held against, and which is new. */
static void cover_checkpoints(struct audit *audit, uint64_t carried_before) {
    struct audit_coverage *const coverage = &audit->report.coverage;
    uint64_t const carried = replayer_position(&audit->replayer)->checkpoint_seq;
    const struct replayer_cut *const cut = replayer_cut_at(&audit->replayer, audit->seq);
    coverage->checkpoints += carried != carried_before && carried > audit_began(audit)->seq;
    if (cut != NULL) {
        coverage->last_checkpoint = audit->seq;
        coverage->last_checkpoint_digest = cut->digest;
    }
}

/* ---- step by step ---- */

/* Tell who watches. Returns: 0, or -1 with a problem. */
static int tell(const struct audit *audit, uint64_t carried_before, struct problem *problem) {
    const struct audit_watcher *const watcher = audit->options.watcher;
    uint64_t const carried = replayer_position(&audit->replayer)->checkpoint_seq;
    if (watcher == NULL) {
        return 0;
    }
    watcher->on_batch(watcher->context, &audit->report);
    /* This batch is the first to carry it, so it was compared. */
    bool const is_due = carried != carried_before && carried != 0 &&
                        replayer_cut_at(&audit->replayer, carried) != NULL;
    return is_due ? watcher->on_checkpoint(watcher->context, audit, carried, problem) : 0;
}

/* The ledger has come to a configuration: receipts may have waited for it. */
static bool reach(struct audit *audit) {
    if (audit->eras.count == audit->eras_taken) {
        return true;
    }
    audit->eras_taken = audit->eras.count;
    era_link_make(audit, replayer_position(&audit->replayer)->closing_seq);
    bool any = false;
    return audit_take_waiting(audit, &any) && (!any || audit_compare_claims(audit));
}

/* What was replayed stands. Returns: 0, or -1 with a problem. */
static int step_sound(struct audit *audit, const struct audit_ledger *ledger,
                      uint64_t carried_before, struct problem *problem) {
    bool const is_view = ledger_is_at_view(ledger);
    if (!audit_note_sound(audit, ledger)) {
        return -1;
    }
    ledgers_pass(audit, audit->seq);
    if (is_view) {
        return 0;
    }
    cover_checkpoints(audit, carried_before);
    if (!reach(audit)) {
        return -1;
    }
    return tell(audit, carried_before, problem);
}

/* Returns: 0, or -1 with a problem, or without one when memory is short. */
static int step(struct audit *audit, struct audit_ledger *ledger, struct problem *problem) {
    uint64_t const carried_before = replayer_position(&audit->replayer)->checkpoint_seq;
    enum rule const rule = ledger_take(audit, ledger);
    if (replayer_failed(&audit->replayer)) {
        return -1;
    }
    audit->seq = replayer_position(&audit->replayer)->seq;
    if (!ledger_is_at_view(ledger) && (rule == RULE_NONE || rule_convicts(rule))) {
        reconcile_batch(audit, ledger, rule == RULE_NONE);
    }
    if (rule == RULE_NONE) {
        return step_sound(audit, ledger, carried_before, problem);
    }
    judge_astray(audit, ledger, rule, NULL);
    ledger_leave_alike(audit, ledger);
    ledger->state = LEDGER_LEFT;
    return 0;
}

/* Nobody can say who may sign what follows. */
static void leave_all(struct audit *audit, const char *why) {
    for (uint32_t i = 0; i < audit->ledger_count; i++) {
        struct audit_ledger *const ledger = &audit->ledgers[i];
        if (ledger->state == LEDGER_FOLLOWED) {
            struct problem problem = {.code = EXIT_OK};
            (void)problem_set(&problem, EXIT_CANNOT_AUDIT, "%s: not followed beyond batch %llu: %s",
                              ledger->name, (unsigned long long)audit->seq, why);
            ledger_leave(audit, ledger, &problem);
        }
    }
}

/* Is there more to do? */
static bool goes_on(struct audit *audit) {
    uint64_t const last = audit->options.last_batch;
    audit->report.coverage.ends_early = last != 0 && audit->seq >= last;
    const char *const stuck = audit->replayer.stuck;
    bool const more = !audit->report.coverage.ends_early && ledgers_advance(audit);
    if (more && stuck != NULL) {
        leave_all(audit, stuck);
    }
    return more && stuck == NULL;
}

static int walk(struct audit *audit, struct problem *problem) {
    int status = 0;
    while (status == 0 && !replayer_failed(&audit->replayer) && goes_on(audit)) {
        struct audit_ledger *const ledger = audit_choose_way(audit);
        status = ledger == NULL ? 0 : step(audit, ledger, problem);
    }
    if (status != 0 || replayer_failed(&audit->replayer)) {
        return problem_set(problem, EXIT_ERROR, "out of memory while replaying the ledgers");
    }
    return 0;
}

int audit_walk(struct audit *audit, struct problem *problem) {
    open_ledgers(audit);
    if (audit->resumption != NULL && audit_skim(audit, problem) != 0) {
        return -1;
    }
    if (audit->start.seq != 0 && audit_confirm_start(audit, problem) != 0) {
        return -1;
    }
    return walk(audit, problem);
}
