/*
 * views: changes of view, held against what replicas have revealed (protocol §6, §10).
 *
 * Whoever revealed a nonce for a batch of a view holds a certificate that ranks at least as high,
 * and never loses it; so in every view-change for a later view it states that rank or a higher
 * one. The nonces are in receipts, and in the evidence of ledgers.
 *
 * A new view on the way that is followed is held against what came before it there. One that is
 * left aside is held against what the way that is followed shows, until that is in a view as high.
 */
#include "audit-tool/audit_internal.h"
#include "base/check.h"

void watch_init(struct view_watch *watch) {
    *watch = (struct view_watch){.seen = {0}};
    spill_init(&watch->seen);
    spill_init(&watch->left);
}

void watch_free(struct view_watch *watch) {
    spill_free(&watch->seen);
    spill_free(&watch->left);
}

static uint64_t seen_count(const struct view_watch *watch) {
    return watch->seen.size / sizeof(struct view_seen);
}

static const struct view_seen *seen_at(const struct view_watch *watch, uint64_t nth) {
    return (const struct view_seen *)(const void *)watch->seen.data + nth;
}

static bool is_above(const struct view_seen *seen, uint64_t config, uint64_t view) {
    return seen->config > config || (seen->config == config && seen->view > view);
}

/* Views only ever grow along a ledger, and begin anew in each configuration. */
static uint64_t first_above(const struct view_watch *watch, uint64_t config, uint64_t view) {
    uint64_t low = 0;
    uint64_t high = seen_count(watch);
    while (low < high) {
        uint64_t const middle = low + (high - low) / 2;
        if (!is_above(seen_at(watch, middle), config, view)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Look for it in the ledger before where the audit began. Returns: as watch_first_above. */
static int scan_before(struct audit *audit, uint64_t config, uint64_t view, uint64_t end,
                       struct view_seen *out) {
    struct problem ignored = {.code = EXIT_OK};
    struct audit_ledger *const at =
        audit->followed == NULL ? NULL : ledger_open_at(audit, audit->followed, 1);
    int status = at == NULL ? -1 : 1;
    bool found = false;
    while (status == 1 && !found && at->reader.batch.first_entry < end) {
        const struct new_view *const body = &at->reader.batch.view.new_view;
        found = ledger_is_at_view(at) && body->config == config && body->view > view;
        if (found) {
            *out = (struct view_seen){
                .config = config, .view = body->view, .entry = at->reader.batch.first_entry};
        } else {
            status = batch_reader_next(&at->reader, &ignored);
        }
    }
    ledger_close(at);
    return found ? 1 : status == 1 ? 0 : -1;
}

int watch_first_above(struct audit *audit, uint64_t config, uint64_t view, struct view_seen *out) {
    const struct view_watch *const watch = &audit->watch;
    const struct audit_start *const start = audit_began(audit);
    bool const may_be_before =
        config < start->config || (config == start->config && view < start->view);
    if (start->seq != 0 && may_be_before) {
        int const status = scan_before(audit, config, view, start->entries, out);
        if (status == 1) {
            watch_hold(audit, audit->followed, out->entry);
        }
        if (status != 0) {
            return status;
        }
    }
    uint64_t const nth = first_above(watch, config, view);
    if (nth == seen_count(watch) || seen_at(watch, nth)->config != config) {
        return 0;
    }
    *out = *seen_at(watch, nth);
    return 1;
}

/* ---- what view-changes owe ---- */

/* What the view-changes of a new view state, by replica; it is sound, so there is one of each. */
struct statements {
    uint64_t config;
    uint64_t view; /* asked for */
    uint64_t authors;
    struct rank stated[REPLICAS_MAX];
    uint32_t nth[REPLICAS_MAX]; /* in the set */
};

/* What shows that some of them understate: a claim's certificate, or evidence in the ledger. */
struct exposure {
    uint64_t replicas;         /* all that it convicts */
    uint32_t wanted;           /* so many of them are looked for */
    const struct claim *claim; /* or, when NULL: */
    uint64_t entry;            /* the batch that begins here, which the ledger evidences */
};

static void statements_read(struct audit *audit, struct statements *out,
                            const struct view_unit *unit) {
    struct arena arena;
    const struct configuration *const configuration =
        audit_configuration(audit, unit->new_view.config);
    arena_init(&arena, 16 * (size_t)VIEW_CHANGE_SIZE_MAX);
    *out = (struct statements){.config = unit->new_view.config, .view = unit->new_view.view};
    for (uint32_t i = 0; configuration != NULL && i < unit->set.count; i++) {
        struct view_claim claim;
        arena_reset(&arena);
        /* Its signatures were checked with the new view; the proof will check those it needs. */
        if (view_change_judge(&claim, &arena, configuration, &unit->set.view_changes[i],
                              &sign_sink_trust) == RULE_NONE) {
            uint32_t const replica = claim.view_change.replica;
            out->authors |= (uint64_t)1 << replica;
            out->stated[replica] = claim.rank;
            out->nth[replica] = i;
        }
    }
    arena_free(&arena);
}

/*
 * Those of these replicas of a configuration who state less than this rank, which they revealed a
 * nonce for there.
 */
static uint64_t who_understates(const struct statements *statements, uint64_t config,
                                uint64_t replicas, struct rank revealed) {
    uint64_t found = 0;
    if (config != statements->config || revealed.view >= statements->view) {
        return 0;
    }
    for (uint64_t left = replicas & statements->authors; left != 0; left &= left - 1) {
        uint32_t const replica = (uint32_t)__builtin_ctzll(left);
        if (rank_compare(statements->stated[replica], revealed) < 0) {
            found |= (uint64_t)1 << replica;
        }
    }
    return found;
}

/* Keep the one that convicts most of those looked for, and of these most in all. */
static void expose(struct exposure *best, uint64_t looked_for, const struct exposure *other) {
    uint32_t const wanted = (uint32_t)__builtin_popcountll(other->replicas & looked_for);
    bool const is_better = wanted > best->wanted || (wanted == best->wanted && wanted != 0 &&
                                                     __builtin_popcountll(other->replicas) >
                                                         __builtin_popcountll(best->replicas));
    if (is_better) {
        *best = *other;
        best->wanted = wanted;
    }
}

/* The one certificate that convicts most of these replicas, and whom else it convicts. */
static struct exposure find_exposure(struct audit *audit, const struct statements *statements,
                                     uint64_t looked_for) {
    struct exposure best = {.replicas = 0};
    for (uint64_t i = 0; i < claims_count(&audit->claims); i++) {
        const struct claim *const claim = claims_at(&audit->claims, i);
        struct exposure const other = {
            .replicas = who_understates(statements, claim->config, claim->signers, claim->rank),
            .claim = claim};
        expose(&best, looked_for, &other);
    }
    for (uint32_t replica = 0; replica < REPLICAS_MAX; replica++) {
        const struct batch_place *const place = &audit->watch.revealed[replica];
        struct exposure const other = {
            .replicas = place->entry == 0 ? 0
                                          : who_understates(statements, place->config,
                                                            place->signers, place->rank),
            .entry = place->entry};
        expose(&best, looked_for, &other);
    }
    return best;
}

static void blame_exposed(struct audit *audit, const struct exposure *exposure,
                          const struct statements *statements, const struct view_change_set *set) {
    struct found_certificate found;
    bool is_found = false;
    uint64_t nths = 0;
    found_certificate_init(&found);
    if (exposure->claim != NULL) {
        is_found =
            certificate_open(audit, &found, claims_certificate(&audit->claims, exposure->claim));
    } else {
        struct audit_ledger *const at = ledger_open_at(audit, audit->followed, exposure->entry);
        is_found = at != NULL && certificate_scan(audit, &found, at);
        ledger_close(at);
    }
    for (uint64_t left = exposure->replicas; left != 0; left &= left - 1) {
        nths |= (uint64_t)1 << statements->nth[__builtin_ctzll(left)];
    }
    if (is_found) {
        blame_understated(audit, &found, set, nths);
    }
    found_certificate_free(&found);
}

void watch_hold(struct audit *audit, const struct audit_ledger *ledger, uint64_t entry) {
    struct audit_ledger *const at = ledger_open_at(audit, ledger, entry);
    if (at != NULL && ledger_is_at_view(at)) {
        const struct view_unit *const unit = &at->reader.batch.view;
        struct statements statements;
        statements_read(audit, &statements, unit);
        struct exposure exposure = find_exposure(audit, &statements, UINT64_MAX);
        uint64_t const config = unit->new_view.config;
        uint64_t left = ~blame_found(audit, config, PROOF_UNDERSTATED_VIEW_CHANGE);
        if (!blame_is_news(audit, config, PROOF_UNDERSTATED_VIEW_CHANGE, exposure.replicas)) {
            exposure = find_exposure(audit, &statements, left);
        }
        while (exposure.wanted != 0) {
            blame_exposed(audit, &exposure, &statements, &unit->set);
            left &= ~exposure.replicas;
            exposure = find_exposure(audit, &statements, left);
        }
    }
    ledger_close(at);
}

/* ---- aside ---- */

static const struct view_left *left_at(const struct view_watch *watch, uint64_t nth) {
    return (const struct view_left *)(const void *)watch->left.data + nth;
}

static uint64_t left_count(const struct view_watch *watch) {
    return watch->left.size / sizeof(struct view_left);
}

/* The one that stays where it is, of a ledger that may have been opened again. */
static const struct audit_ledger *ledger_of(const struct audit *audit,
                                            const struct audit_ledger *ledger) {
    uint32_t nth = 0;
    while (nth < audit->ledger_count && audit->ledgers[nth].disk != ledger->disk) {
        nth++;
    }
    CHECK(nth < audit->ledger_count);
    return &audit->ledgers[nth];
}

static void hold_left(struct audit *audit, const struct view_left *left) {
    if (eras_is(&audit->eras, left->seen.config, &left->constitution)) {
        watch_hold(audit, left->ledger, left->seen.entry);
    }
}

bool watch_leave(struct audit *audit, const struct audit_ledger *ledger, uint64_t entry,
                 const struct digest *constitution) {
    struct audit_ledger *const at = ledger_open_at(audit, ledger, entry);
    bool kept = true;
    if (at != NULL && ledger_is_at_view(at)) {
        struct view_left const left = {.ledger = ledger_of(audit, ledger),
                                       .seen = {.config = at->reader.batch.view.new_view.config,
                                                .view = at->reader.batch.view.new_view.view,
                                                .entry = entry},
                                       .constitution = *constitution};
        kept = spill_append(&audit->watch.left, span_of(&left, sizeof left));
        hold_left(audit, &left);
    }
    ledger_close(at);
    return kept;
}

void watch_hold_left(struct audit *audit) {
    for (uint64_t i = 0; i < left_count(&audit->watch); i++) {
        struct view_left const left = *left_at(&audit->watch, i);
        hold_left(audit, &left);
    }
}

/* Nothing that was revealed in this view or a later one is owed to them. */
static void forget_left(struct view_watch *watch, uint64_t config, uint64_t view) {
    struct view_left *const left = (struct view_left *)(void *)watch->left.data;
    uint64_t kept = 0;
    for (uint64_t i = 0; i < left_count(watch); i++) {
        if (is_above(&left[i].seen, config, view)) {
            left[kept++] = left[i];
        }
    }
    spill_cut(&watch->left, kept * sizeof *left);
}

/* ---- along the ledger ---- */

/* Remember who revealed a nonce for this batch, if it is the highest so far. */
static void note_revealed(struct view_watch *watch, const struct batch_place *place,
                          uint64_t signers) {
    if (place->config != watch->config) {
        /* The replicas are others, who owe nothing for what these revealed. */
        memset(watch->revealed, 0, sizeof watch->revealed);
        watch->config = place->config;
    }
    for (uint32_t replica = 0; replica < REPLICAS_MAX; replica++) {
        if ((signers >> replica & 1) != 0 &&
            rank_compare(place->rank, watch->revealed[replica].rank) >= 0) {
            watch->revealed[replica] = *place;
            watch->revealed[replica].signers = signers;
        }
    }
}

void watch_batch(struct audit *audit, const struct audit_ledger *ledger) {
    struct view_watch *const watch = &audit->watch;
    const struct pre_prepare *const body = &ledger->reader.batch.pre_prepare;
    const struct evidence *const evidence = ledger->reader.batch.seal.evidence;
    bool is_first_of_view = false;
    for (uint32_t i = 0; evidence != NULL && i < evidence->batch_count; i++) {
        uint64_t const seq = evidence->batches[i].seq;
        const struct batch_place *const place = &watch->places[seq % BATCH_PLACES_MAX];
        if (place->seq == seq) {
            note_revealed(watch, place, body->evidence_signers[i]);
            is_first_of_view |= place->config != body->config || place->rank.view < body->view;
        }
    }
    watch->places[body->seq % BATCH_PLACES_MAX] = (struct batch_place){
        .seq = body->seq,
        .config = body->config,
        .rank = batch_rank(body),
        .entry = ledger->reader.batch.first_entry,
    };
    /* What the new view cut off was evidence too: its first batch brings it back. */
    if (is_first_of_view && seen_count(watch) != 0) {
        watch_hold(audit, ledger, seen_at(watch, seen_count(watch) - 1)->entry);
        watch_hold_left(audit);
        forget_left(watch, body->config, body->view);
    }
}

bool watch_view(struct audit *audit, const struct audit_ledger *ledger) {
    struct view_seen const seen = {
        .config = ledger->reader.batch.view.new_view.config,
        .view = ledger->reader.batch.view.new_view.view,
        .entry = ledger->reader.batch.first_entry,
    };
    if (!spill_append(&audit->watch.seen, span_of(&seen, sizeof seen))) {
        return false;
    }
    watch_hold_left(audit); /* what was revealed in the view before is now known */
    watch_hold(audit, ledger, seen.entry);
    return true;
}

/* ---- for an audit that begins later ---- */

/* Was the batch named for a replica before this one already? */
static bool is_named(const struct view_watch *watch, uint32_t replica) {
    for (uint32_t i = 0; i < replica; i++) {
        if (watch->revealed[i].entry == watch->revealed[replica].entry) {
            return true;
        }
    }
    return false;
}

int audit_visit_revealed(struct audit *audit, audit_revealed_visitor visitor, void *context) {
    int status = 0;
    struct found_certificate found;
    found_certificate_init(&found);
    for (uint32_t replica = 0; status == 0 && replica < REPLICAS_MAX; replica++) {
        const struct batch_place *const place = &audit->watch.revealed[replica];
        if (place->entry == 0 || audit->followed == NULL || is_named(&audit->watch, replica)) {
            continue;
        }
        struct audit_ledger *const at = ledger_open_at(audit, audit->followed, place->entry);
        if (at != NULL && certificate_scan(audit, &found, at)) {
            status = visitor(context, &found.batch, buffer_span(&found.bytes));
        }
        ledger_close(at);
    }
    found_certificate_free(&found);
    return status;
}
