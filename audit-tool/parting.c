/*
 * parting: where ledgers go different ways (protocol §10).
 *
 * Two batches in one place cannot both be right. A new view and a batch, or two new views, can:
 * a replica that was cut off still has the end of its old view on its disk. So each way is tried
 * for as long as a correct replica can have gone it alone, what it holds is noted, and the audit
 * goes on with the one that reaches furthest. Of two batches that only their primary answers for,
 * either may lead to a change of view that shows more of the guilty: these are tried as well.
 *
 * A way may lead over the end of a configuration, and behind another copy of it than others. What
 * it shows there is judged by what it has decided itself, and held against the way that is followed
 * when that has come to the same configuration.
 */
#include "audit-tool/audit_internal.h"
#include "base/check.h"

/* Where a batch stands: views begin anew in each configuration. */
struct standing {
    uint64_t config;
    struct rank rank;
};

/* How far a ledger reaches: the last batch that a quorum vouches for, and the last at all. */
struct reach {
    struct standing certified;
    struct standing last;
};

/* A way to go on from here, and the first ledger that takes it. */
struct way {
    struct audit_ledger *ledger;
    enum rule rule;
    struct reach reach;
};

/* What the ways that are not followed to their ends show. */
struct trials {
    struct claims found; /* certified batches */
    struct buffer views; /* of struct trial_view */
    bool failed;         /* memory ran out */
};

struct trial_view {
    const struct audit_ledger *ledger;
    uint64_t entry;
    struct digest constitution; /* by which it was judged */
    bool is_followed;
};

static uint32_t collect_ways(struct audit *audit, struct way *ways) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < audit->ledger_count; i++) {
        struct audit_ledger *const ledger = &audit->ledgers[i];
        bool is_new = ledger_is_here(ledger);
        for (uint32_t k = 0; is_new && k < count; k++) {
            is_new = !batch_equal(&ways[k].ledger->reader.batch, &ledger->reader.batch);
        }
        if (is_new) {
            ways[count++] = (struct way){.ledger = ledger};
        }
    }
    return count;
}

static bool is_on(const struct way *way, const struct audit_ledger *ledger) {
    return ledger_is_here(ledger) && batch_equal(&way->ledger->reader.batch, &ledger->reader.batch);
}

/* ---- how far ---- */

static struct standing standing_of(const struct pre_prepare *body) {
    return (struct standing){.config = body->config,
                             .rank = {.view = body->view, .seq = body->seq}};
}

static int standing_compare(const struct standing *a, const struct standing *b) {
    return a->config != b->config ? (a->config > b->config) - (a->config < b->config)
                                  : rank_compare(a->rank, b->rank);
}

/* The standing of the batch with this number, if its evidence holds; entries: where batches lie. */
static struct standing certified_standing(struct audit *audit, const struct audit_ledger *ledger,
                                          uint64_t seq, const uint64_t *entries) {
    struct standing standing = {.config = 0};
    struct found_certificate found;
    struct audit_ledger *const at =
        seq == 0 ? NULL : ledger_open_at(audit, ledger, entries[seq % BATCH_PLACES_MAX]);
    if (at == NULL) {
        return standing;
    }
    found_certificate_init(&found);
    if (!ledger_is_at_view(at) && at->reader.batch.pre_prepare.seq == seq &&
        certificate_find(audit, &found, at)) {
        standing = standing_of(&found.batch.pre_prepare);
    }
    found_certificate_free(&found);
    ledger_close(at);
    return standing;
}

/*
 * A certificate can be judged as far as the configurations are known to which the audit has come by
 * now, or to which the ledger comes on trial: one that goes on through more of them is vouched for
 * up to there.
 */
static struct reach measure_known(struct audit *audit, const struct audit_ledger *ledger) {
    struct problem ignored = {.code = EXIT_OK}; /* it only reaches as far as it can be read */
    struct reach reach = {0};
    uint64_t entries[BATCH_PLACES_MAX] = {0};
    uint64_t evidenced = 0;
    uint64_t last_known = 0;
    struct audit_ledger *const at = ledger_open_at(audit, ledger, ledger->reader.batch.first_entry);
    if (at == NULL) {
        return reach;
    }
    do {
        if (ledger_is_at_view(at)) {
            const struct new_view *const body = &at->reader.batch.view.new_view;
            reach.last = (struct standing){
                .config = body->config, .rank = {.view = body->view, .seq = reach.last.rank.seq}};
            continue;
        }
        const struct pre_prepare *const body = &at->reader.batch.pre_prepare;
        if (audit_find_configuration(audit, body->config) != NULL) {
            entries[body->seq % BATCH_PLACES_MAX] = at->reader.batch.first_entry;
            last_known = body->seq;
        }
        evidenced = body->evidence_upto < last_known ? body->evidence_upto : last_known;
        reach.last = standing_of(body);
    } while (batch_reader_next(&at->reader, &ignored) == 1);
    ledger_close(at);
    reach.certified = certified_standing(audit, ledger, evidenced, entries);
    return reach;
}

/* How far a ledger reaches, by its own chain where it comes to the end of a configuration. */
static struct reach measure(struct audit *audit, const struct audit_ledger *ledger) {
    struct problem ignored = {.code = EXIT_OK};
    struct audit_ledger *const at = ledger_open_at(audit, ledger, ledger->reader.batch.first_entry);
    bool going = at != NULL;
    replayer_trial_begin(&audit->replayer);
    while (going && !replayer_trial_is_over_there(&audit->replayer) &&
           replayer_trial_goes_on(&audit->replayer)) {
        going = ledger_take(audit, at) == RULE_NONE && !replayer_failed(&audit->replayer) &&
                batch_reader_next(&at->reader, &ignored) == 1;
    }
    struct reach const reach = measure_known(audit, ledger);
    replayer_trial_end(&audit->replayer);
    ledger_close(at);
    return reach;
}

static bool reaches_further(const struct reach *a, const struct reach *b) {
    int const certified = standing_compare(&a->certified, &b->certified);
    return certified > 0 || (certified == 0 && standing_compare(&a->last, &b->last) > 0);
}

static uint64_t stated_config(const struct audit_ledger *ledger) {
    const struct batch *const batch = &ledger->reader.batch;
    return ledger_is_at_view(ledger) ? batch->view.new_view.config : batch->pre_prepare.config;
}

static void judge_way(struct audit *audit, struct way *way) {
    replayer_trial_begin(&audit->replayer);
    way->rule = ledger_take(audit, way->ledger);
    replayer_trial_end(&audit->replayer);
}

/* Where a configuration has ended, what still states it is judged before the next is entered. */
static void judge_ways(struct audit *audit, struct way *ways, uint32_t count) {
    uint32_t left[AUDIT_LEDGERS_MAX];
    uint32_t left_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (replayer_goes_over(&audit->replayer, stated_config(ways[i].ledger))) {
            left[left_count++] = i;
        } else {
            judge_way(audit, &ways[i]);
        }
    }
    for (uint32_t i = 0; i < left_count; i++) {
        struct way *const way = &ways[left[i]];
        replayer_go_over(&audit->replayer, stated_config(way->ledger));
        judge_way(audit, way);
    }
}

/* The soundest way: one that breaks no rule, and of those the one that reaches furthest. */
static struct way *choose(struct audit *audit, struct way *ways, uint32_t count) {
    struct way *chosen = NULL;
    judge_ways(audit, ways, count);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; ways[i].rule == RULE_NONE && k < audit->ledger_count; k++) {
            if (is_on(&ways[i], &audit->ledgers[k])) {
                struct reach const reach = measure(audit, &audit->ledgers[k]);
                ways[i].reach = reaches_further(&reach, &ways[i].reach) ? reach : ways[i].reach;
            }
        }
        if (ways[i].rule == RULE_NONE &&
            (chosen == NULL || reaches_further(&ways[i].reach, &chosen->reach))) {
            chosen = &ways[i];
        }
    }
    return chosen;
}

/* ---- trying a way ---- */

/* A batch that was tried is sound: receipts for it are met, and its certificate is a claim. */
static void note_batch(struct audit *audit, struct trials *trials,
                       const struct audit_ledger *ledger) {
    struct found_certificate found;
    reconcile_aside(audit, ledger);
    found_certificate_init(&found);
    if (certificate_find(audit, &found, ledger)) {
        trials->failed |=
            !claims_add_certificate(&trials->found, &found.batch, buffer_span(&found.bytes));
    }
    found_certificate_free(&found);
}

/*
 * Behind the end of a configuration a batch without evidence may contradict one that the ledger
 * followed has yet to come to.
 */
static bool leave_batch(struct audit *audit, const struct audit_ledger *ledger,
                        const struct audit_ledger *at) {
    const struct pre_prepare *const body = &at->reader.batch.pre_prepare;
    struct batch_left left = {.ledger = ledger,
                              .entry = at->reader.batch.first_entry,
                              .config = body->config,
                              .rank = {.view = body->view, .seq = body->seq}};
    return !replayer_trial_is_over_there(&audit->replayer) ||
           (constitution_digest(&left.constitution, &audit->replayer.era->constitution) &&
            spill_append(&audit->left, span_of(&left, sizeof left)));
}

static bool note_view(struct audit *audit, struct trials *trials, struct trial_view view) {
    return constitution_digest(&view.constitution, &audit->replayer.era->constitution) &&
           buffer_append(&trials->views, span_of(&view, sizeof view));
}

/* Returns: does it go on? */
static bool try_next(struct audit *audit, struct trials *trials, struct audit_ledger *at,
                     struct audit_ledger *ledger, bool is_followed) {
    enum rule const rule = ledger_take(audit, at);
    if (replayer_failed(&audit->replayer)) {
        return false;
    }
    if (rule != RULE_NONE) {
        if (is_followed) {
            return false;
        }
        /* In another configuration it takes the links of its own chain to prove it. */
        ledger->goes_its_way |= replayer_trial_is_over_there(&audit->replayer);
        if (!ledger->goes_its_way) {
            judge_astray(audit, at, rule, NULL);
        }
        return false;
    }
    if (ledger_is_at_view(at)) {
        struct trial_view const view = {
            .ledger = ledger, .entry = at->reader.batch.first_entry, .is_followed = is_followed};
        trials->failed |= !note_view(audit, trials, view);
    } else {
        note_batch(audit, trials, at);
        trials->failed |= !is_followed && !leave_batch(audit, ledger, at);
    }
    struct problem problem = {.code = EXIT_OK};
    int const status = batch_reader_next(&at->reader, &problem);
    if (status < 0 && !is_followed) {
        audit_notice(audit, problem.code, "%s", problem.text);
    }
    return status == 1;
}

/* Go one ledger's way for as long as a replica can have gone it alone, and come back. */
static void try_ledger(struct audit *audit, struct trials *trials, struct audit_ledger *ledger,
                       bool is_followed) {
    struct audit_ledger *const at = ledger_open_at(audit, ledger, ledger->reader.batch.first_entry);
    if (at == NULL) {
        trials->failed = true;
        return;
    }
    bool going = true;
    replayer_trial_begin(&audit->replayer);
    while (going && replayer_trial_goes_on(&audit->replayer)) {
        going = try_next(audit, trials, at, ledger, is_followed);
    }
    replayer_trial_end(&audit->replayer);
    ledger->goes_its_way |= going && !is_followed;
    ledger_close(at);
}

/* What a way has shown is claimed, where it is not followed as well. */
static bool keep_found(struct audit *audit, struct claims *found) {
    bool kept = true;
    for (uint64_t i = 0; kept && i < claims_count(found); i++) {
        kept = audit_take_aside(audit, claims_certificate(found, claims_at(found, i)));
    }
    return kept;
}

static void try_all(struct audit *audit, const struct way *ways, uint32_t count,
                    const struct way *chosen) {
    struct trials trials = {.failed = false};
    claims_init(&trials.found);
    buffer_init(&trials.views, PROOF_SIZE_MAX);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; ways[i].rule == RULE_NONE && k < audit->ledger_count; k++) {
            if (is_on(&ways[i], &audit->ledgers[k])) {
                try_ledger(audit, &trials, &audit->ledgers[k], &ways[i] == chosen);
            }
        }
    }
    trials.failed |= !keep_found(audit, &trials.found) || !audit_compare_claims(audit);
    for (size_t i = 0; i < trials.views.size / sizeof(struct trial_view); i++) {
        struct trial_view view;
        memcpy(&view, trials.views.data + i * sizeof view, sizeof view);
        if (view.is_followed) {
            watch_hold(audit, view.ledger, view.entry);
        } else {
            trials.failed |= !watch_leave(audit, view.ledger, view.entry, &view.constitution);
        }
    }
    if (trials.failed) {
        audit_notice(audit, EXIT_ERROR, "out of memory where ledgers part; audit fewer at once");
    }
    claims_free(&trials.found);
    buffer_free(&trials.views);
}

static void meet(struct audit *audit, const struct batch_left *left,
                 const struct audit_ledger *ledger) {
    const struct signed_body *const ours = &ledger->reader.batch.seal.statement;
    struct audit_ledger *const at = ledger_open_at(audit, left->ledger, left->entry);
    if (at != NULL && !ledger_is_at_view(at) &&
        !span_equal(at->reader.batch.seal.statement.body, ours->body) &&
        eras_is(&audit->eras, left->config, &left->constitution)) {
        blame_primary(audit, left->config, ours, &at->reader.batch.seal.statement);
    }
    ledger_close(at);
}

void audit_meet_left(struct audit *audit, const struct audit_ledger *ledger) {
    const struct pre_prepare *const body = &ledger->reader.batch.pre_prepare;
    struct rank const rank = {.view = body->view, .seq = body->seq};
    struct batch_left *const list = (struct batch_left *)(void *)audit->left.data;
    uint64_t const count = audit->left.size / sizeof *list;
    uint64_t kept = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (list[i].config == body->config && rank_compare(list[i].rank, rank) == 0) {
            meet(audit, &list[i], ledger);
        } else if (list[i].config >= body->config) {
            list[kept++] = list[i];
        }
    }
    spill_cut(&audit->left, kept * sizeof *list);
}

/* ---- deciding ---- */

/* Two signed batches where one belongs. Returns: did a quorum vouch for both? */
static bool blame_fork(struct audit *audit, const struct audit_ledger *ours,
                       const struct audit_ledger *theirs) {
    struct found_certificate ours_found;
    struct found_certificate theirs_found;
    found_certificate_init(&ours_found);
    found_certificate_init(&theirs_found);
    bool const certified = certificate_find(audit, &ours_found, ours) &&
                           certificate_find(audit, &theirs_found, theirs);
    if (certified) {
        blame_certificates(audit, &ours_found, &theirs_found);
    } else {
        blame_primary(audit, ours->reader.batch.pre_prepare.config,
                      &ours->reader.batch.seal.statement, &theirs->reader.batch.seal.statement);
    }
    found_certificate_free(&ours_found);
    found_certificate_free(&theirs_found);
    return certified;
}

/*
 * All ways but the chosen one: what breaks a rule, and batches beside each other.
 * Returns: has a batch been signed twice by its primary alone, so that what lies behind it may show
 * others?
 */
static bool judge_others(struct audit *audit, const struct way *ways, uint32_t count,
                         const struct way *chosen) {
    const struct audit_ledger *const ours = chosen == NULL ? NULL : chosen->ledger;
    const struct audit_ledger *batch = ours != NULL && !ledger_is_at_view(ours) ? ours : NULL;
    bool primary_alone = false;
    for (uint32_t i = 0; i < count; i++) {
        const struct audit_ledger *const theirs = ways[i].ledger;
        if (&ways[i] == chosen) {
            continue;
        }
        if (ways[i].rule != RULE_NONE) {
            judge_astray(audit, theirs, ways[i].rule, ours);
        } else if (!ledger_is_at_view(theirs)) {
            if (batch != NULL) {
                primary_alone |= !blame_fork(audit, batch, theirs);
            } else {
                batch = theirs;
            }
        }
    }
    return primary_alone;
}

/* Can more than one way be right? */
static bool is_change_of_view(const struct way *ways, uint32_t count) {
    uint32_t sound = 0;
    bool has_view = false;
    for (uint32_t i = 0; i < count; i++) {
        sound += ways[i].rule == RULE_NONE;
        has_view |= ways[i].rule == RULE_NONE && ledger_is_at_view(ways[i].ledger);
    }
    return sound > 1 && has_view;
}

/* Nobody goes this way. untried: where it leads was not looked at, since it is convicted here. */
static void leave_way(struct audit *audit, const struct way *way, bool untried) {
    for (uint32_t i = 0; i < audit->ledger_count; i++) {
        struct audit_ledger *const ledger = &audit->ledgers[i];
        if (is_on(way, ledger)) {
            ledger->goes_its_way |= untried && way->rule == RULE_NONE;
        }
    }
    ledger_leave_alike(audit, way->ledger);
    way->ledger->state = LEDGER_LEFT;
}

struct audit_ledger *audit_choose_way(struct audit *audit) {
    struct way ways[AUDIT_LEDGERS_MAX];
    uint32_t const count = collect_ways(audit, ways);
    if (count <= 1) {
        return count == 0 ? NULL : ways[0].ledger;
    }
    const struct way *const chosen = choose(audit, ways, count);
    if (replayer_failed(&audit->replayer)) {
        return NULL;
    }
    bool const primary_alone = judge_others(audit, ways, count, chosen);
    bool const tried = primary_alone || is_change_of_view(ways, count);
    if (tried) {
        try_all(audit, ways, count, chosen);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (&ways[i] != chosen) {
            leave_way(audit, &ways[i], !tried);
        }
    }
    return chosen == NULL ? NULL : chosen->ledger;
}
