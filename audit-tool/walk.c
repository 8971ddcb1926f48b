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

static void leave(struct audit *audit, struct audit_ledger *ledger, const struct problem *problem) {
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

/* Read what is next in every ledger that is followed. Returns: whether there is any. */
static bool advance(struct audit *audit) {
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
            leave(audit, ledger, &problem);
        } else if (status == 0) {
            ledger->state = LEDGER_ENDED;
        }
    }
    return any;
}

/* ---- what does not fit ---- */

/* What lies there is not what was signed. */
static void note_damage(struct audit *audit, const struct audit_ledger *ledger, enum rule rule) {
    unsigned long long const offset = ledger->reader.spot.offset;
    const char *const place = ledger->disk->place;
    const char *const file = ledger->reader.spot.file_name;
    if (ledger_is_at_view(ledger)) {
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
    const struct configuration *const configuration = audit->options.configuration;
    const struct batch *const a = &ours->reader.batch;
    const struct batch *const b = &theirs->reader.batch;
    if (ledger_is_at_view(ours) || ledger_is_at_view(theirs)) {
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
    } else if (ours != NULL && is_signed_twice(audit, ours, theirs)) {
        blame_primary(audit, &ours->reader.batch.seal.statement,
                      &theirs->reader.batch.seal.statement);
    } else {
        note_damage(audit, theirs, rule);
    }
}

/* ---- step by step ---- */

/* What was replayed stands. Returns: false when memory is short. */
static bool note_sound(struct audit *audit, const struct audit_ledger *ledger) {
    audit->followed = ledger;
    if (ledger_is_at_view(ledger)) {
        return watch_view(audit, ledger);
    }
    audit->report.batches++;
    audit->report.transactions += ledger->reader.batch.pre_prepare.tx_count;
    watch_batch(audit, ledger);
    return true;
}

/* Returns: false when memory is short. */
static bool step(struct audit *audit, struct audit_ledger *ledger) {
    enum rule const rule = ledger_take(audit, ledger);
    if (replayer_failed(&audit->replayer)) {
        return false;
    }
    if (!ledger_is_at_view(ledger) && (rule == RULE_NONE || rule_convicts(rule))) {
        reconcile_batch(audit, ledger, rule == RULE_NONE);
    }
    if (rule != RULE_NONE) {
        judge_astray(audit, ledger, rule, NULL);
        ledger_leave_alike(audit, ledger);
        ledger->state = LEDGER_LEFT;
        return true;
    }
    bool const noted = note_sound(audit, ledger);
    for (uint32_t i = 0; i < audit->ledger_count; i++) {
        audit->ledgers[i].has_next = false; /* whoever is still here stands on the very same */
    }
    return noted;
}

int audit_walk(struct audit *audit, struct problem *problem) {
    bool going = true;
    open_ledgers(audit);
    while (going && advance(audit)) {
        struct audit_ledger *const ledger = audit_choose_way(audit);
        if (ledger != NULL) {
            going = step(audit, ledger);
        }
        going = going && !replayer_failed(&audit->replayer);
    }
    if (!going) {
        return problem_set(problem, EXIT_ERROR, "out of memory while replaying the ledgers");
    }
    return 0;
}
