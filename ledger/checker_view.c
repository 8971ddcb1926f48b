/*
 * checker_view: new views, and going back over them (protocol §6). See checker.h.
 *
 * A new view stands between two batches. Before it is appended, the position is put aside, so that
 * a later new view which cuts it off again finds the ledger as it was.
 */
#include "base/check.h"
#include "ledger/checker_internal.h"
#include "ledger/derive.h"

/* Decoded view-changes with their chains: some times the size of their bytes. */
#define CLAIMS_BUDGET (16 * (size_t)VIEW_CHANGE_SET_SIZE_MAX)

/* ---- what a view took over ---- */

void checker_record_view(struct checker *checker, const struct view_record *record) {
    checker->view_records[checker->view_record_next % VIEW_RECORDS_MAX] = *record;
    checker->view_record_next++;
}

static const struct carried_batch *carried_in(const struct checker *checker, uint64_t view,
                                              uint64_t seq) {
    for (uint32_t i = 1; i <= VIEW_RECORDS_MAX && i <= checker->view_record_next; i++) {
        const struct view_record *const record =
            &checker->view_records[(checker->view_record_next - i) % VIEW_RECORDS_MAX];
        if (record->view != view) {
            continue;
        }
        for (uint32_t k = 0; k < record->carried_count; k++) {
            if (record->carried[k].seq == seq) {
                return &record->carried[k];
            }
        }
        return NULL;
    }
    return NULL;
}

const struct carried_batch *checker_carried(const struct checker *checker, uint64_t seq) {
    const struct ledger_position *const now = &checker->now;
    return now->view == 0 || seq > now->view_start ? NULL : carried_in(checker, now->view, seq);
}

bool carried_matches(const struct carried_batch *carried, const struct pre_prepare *body) {
    return carried != NULL && digest_equal(&carried->batch_root, &body->batch_root) &&
           carried->first_index == body->first_index && carried->tx_count == body->tx_count &&
           carried->kind == body->kind && carried->gov_index == body->gov_index &&
           carried->time_ms == body->time_ms;
}

/* Is the chain one that the view of this position could hold, with what it took over itself? */
static bool chain_follows_view(const struct checker *checker, const struct ledger_position *at,
                               const struct view_claim *claim) {
    for (uint32_t i = 0; i < claim->view_change.chain_count; i++) {
        const struct pre_prepare *const body = &claim->batches[i];
        bool const is_taken_over = at->view != 0 && body->seq <= at->view_start;
        if (body->view_start != at->view_start ||
            (is_taken_over && !carried_matches(carried_in(checker, at->view, body->seq), body))) {
            return false;
        }
    }
    return true;
}

bool checker_claim_continues(const struct checker *checker, const struct ledger_position *at,
                             const struct view_claim *claim) {
    return view_claim_links(claim, &at->frontier) && chain_follows_view(checker, at, claim);
}

/* ---- judging ---- */

struct view_judgement {
    struct view_claim *claims;
    uint32_t count;
    uint32_t chosen;
    struct frontier before; /* M before the new-view entry */
    struct arena arena;
};

/* Is what lies here what was signed? */
static enum rule judge_binding(const struct checker *checker, const struct view_unit *unit,
                               const struct frontier *before, const struct sign_sink *sink) {
    const struct configuration *const configuration = checker->configuration;
    const struct new_view *const body = &unit->new_view;
    struct sign_check const signature = {
        .key = configuration->replicas[configuration_primary(configuration, body->view)].key,
        .signature = unit->statement.signature,
        .body = unit->statement.body,
        .label = LABEL_NEW_VIEW,
    };
    if (!sink->check(sink->context, &signature, RULE_SIGNATURE)) {
        return RULE_SIGNATURE;
    }
    struct digest const root = frontier_root(before);
    if (body->ledger_leaves != before->leaf_count || !digest_equal(&root, &body->ledger_root)) {
        return RULE_LEDGER_ROOT;
    }
    return view_unit_is_bound(unit, &configuration->service) ? RULE_NONE : RULE_VIEW_SET;
}

/* Q view-changes of different replicas for this view, in ascending order, each of which holds. */
static enum rule judge_view_changes(const struct checker *checker, const struct view_unit *unit,
                                    struct view_judgement *judgement,
                                    const struct sign_sink *sink) {
    const struct configuration *const configuration = checker->configuration;
    if (unit->set.count != configuration->quorum) {
        return RULE_VIEW_CHANGES;
    }
    for (uint32_t i = 0; i < unit->set.count; i++) {
        struct view_claim *const claim = &judgement->claims[i];
        if (view_change_judge(claim, &judgement->arena, configuration, &unit->set.view_changes[i],
                              sink) != RULE_NONE ||
            claim->view_change.view != unit->new_view.view ||
            (i != 0 && claim->view_change.replica <= claim[-1].view_change.replica)) {
            return RULE_VIEW_CHANGES;
        }
    }
    return RULE_NONE;
}

/* The highest certificate is chosen, and the ledger is cut where its chain begins (§6). */
static enum rule judge_choice(const struct checker *checker, const struct ledger_position *at,
                              const struct view_unit *unit, struct view_judgement *judgement) {
    judgement->chosen = view_claims_choose(judgement->claims, unit->set.count);
    const struct view_claim *const chosen = &judgement->claims[judgement->chosen];
    struct rank const stated = {.view = unit->new_view.chosen_view,
                                .seq = unit->new_view.chosen_seq};
    if (rank_compare(chosen->rank, stated) != 0) {
        return RULE_VIEW_CHOICE;
    }
    uint32_t const count = chosen->view_change.chain_count;
    uint64_t const cut_seq =
        count == 0 ? at->config_start : chosen->batches[count - 1].evidence_upto;
    if (at->seq != cut_seq || at->view != chosen->rank.view) {
        return RULE_VIEW_CUT;
    }
    return checker_claim_continues(checker, at, chosen) ? RULE_NONE : RULE_VIEW_LINK;
}

static enum rule judge(const struct checker *checker, const struct ledger_position *at,
                       const struct view_unit *unit, struct view_judgement *judgement,
                       const struct sign_sink *sink) {
    enum rule rule = judge_binding(checker, unit, &judgement->before, sink);
    if (rule != RULE_NONE) {
        return rule;
    }
    if (unit->new_view.config != checker->configuration->number) {
        return RULE_CONFIGURATION;
    }
    if (unit->new_view.view <= at->view) {
        return RULE_VIEW_ORDER;
    }
    rule = judge_view_changes(checker, unit, judgement, sink);
    if (judgement->arena.exhausted) {
        return RULE_ENTRY_ENCODING; /* nothing was found out, and nobody is to blame for that */
    }
    return rule == RULE_NONE ? judge_choice(checker, at, unit, judgement) : rule;
}

static void put_mark_aside(struct checker *checker) {
    if (checker->view_mark_count == VIEW_MARKS_MAX) {
        memmove(&checker->view_marks[0], &checker->view_marks[1],
                (VIEW_MARKS_MAX - 1) * sizeof checker->view_marks[0]);
        checker->view_mark_count--;
    }
    checker->view_marks[checker->view_mark_count++] = checker->now;
}

static void advance(struct checker *checker, const struct view_unit *unit,
                    const struct view_judgement *judgement) {
    const struct view_claim *const chosen = &judgement->claims[judgement->chosen];
    struct ledger_position *const now = &checker->now;
    struct view_record record = {.view = unit->new_view.view,
                                 .carried_count = chosen->view_change.chain_count};
    for (uint32_t i = 0; i < record.carried_count; i++) {
        record.carried[i] = view_claim_carried(chosen, i);
    }
    put_mark_aside(checker);
    checker_record_view(checker, &record);
    struct digest const leaf = ledger_leaf(ENTRY_NEW_VIEW, unit->entry_payload);
    now->frontier = judgement->before;
    frontier_append(&now->frontier, &leaf);
    now->entries += 2;
    now->view = unit->new_view.view;
    now->view_start = chosen->rank.seq;
    now->view_seq = now->seq;
    checker_mark_now(checker);
}

static bool judgement_init(struct view_judgement *judgement, const struct ledger_position *at,
                           const struct view_unit *unit) {
    *judgement = (struct view_judgement){.before = at->frontier};
    struct digest const leaf = ledger_leaf(ENTRY_VIEW_CHANGE_SET, unit->set_payload);
    frontier_append(&judgement->before, &leaf);
    arena_init(&judgement->arena, CLAIMS_BUDGET);
    judgement->claims =
        arena_alloc(&judgement->arena, (unit->set.count + 1u) * sizeof *judgement->claims);
    return judgement->claims != NULL;
}

enum rule checker_view_judge(const struct checker *checker, const struct ledger_position *at,
                             const struct view_unit *unit, const struct sign_sink *sink) {
    struct view_judgement judgement;
    enum rule const rule = judgement_init(&judgement, at, unit)
                               ? judge(checker, at, unit, &judgement, sink)
                               : RULE_ENTRY_ENCODING;
    arena_free(&judgement.arena);
    return rule;
}

enum rule checker_view_add(struct checker *checker, const struct view_unit *unit,
                           const struct sign_sink *sink) {
    CHECK(!checker->in_batch);
    struct view_judgement judgement;
    enum rule rule = RULE_ENTRY_ENCODING;
    if (judgement_init(&judgement, &checker->now, unit)) {
        rule = judge(checker, &checker->now, unit, &judgement, sink);
    } else {
        checker->failed = true;
    }
    if (rule == RULE_NONE) {
        advance(checker, unit, &judgement);
    }
    arena_free(&judgement.arena);
    return rule;
}

/* ---- history ---- */

/* Forget what views took over that are no longer in the ledger, or they would crowd others out. */
static void drop_records_above(struct checker *checker, uint64_t view) {
    while (checker->view_record_next != 0 &&
           checker->view_records[(checker->view_record_next - 1) % VIEW_RECORDS_MAX].view > view) {
        checker->view_record_next--;
    }
}

/* Forget positions that are no longer behind the ledger's end. */
static void drop_marks_from(struct checker *checker, const struct ledger_position *now) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < checker->view_mark_count; i++) {
        const struct ledger_position *const mark = &checker->view_marks[i];
        if (mark->seq < now->seq || (mark->seq == now->seq && mark->view < now->view)) {
            checker->view_marks[kept++] = *mark;
        }
    }
    checker->view_mark_count = kept;
}

void checker_rollback(struct checker *checker, uint64_t seq) {
    checker_rollback_in(checker, seq, UINT64_MAX);
}

const struct ledger_position *checker_position_in(const struct checker *checker, uint64_t seq,
                                                  uint64_t view) {
    const struct ledger_position *const last = checker_position_at(checker, seq);
    if (last == NULL || last->view <= view) {
        return last;
    }
    const struct ledger_position *found = NULL;
    for (uint32_t i = 0; i < checker->view_mark_count; i++) {
        const struct ledger_position *const mark = &checker->view_marks[i];
        if (mark->seq == seq && mark->view <= view) {
            found = mark;
        }
    }
    return found;
}

const struct ledger_position *checker_position_before_views(const struct checker *checker,
                                                            uint64_t seq) {
    const struct ledger_position *found = checker_position_at(checker, seq);
    for (uint32_t i = checker->view_mark_count; i > 0; i--) {
        if (checker->view_marks[i - 1].seq == seq) {
            found = &checker->view_marks[i - 1];
        }
    }
    bool const is_behind_view = found != NULL && found->view != 0 && found->view_seq == seq;
    return is_behind_view ? NULL : found;
}

void checker_rollback_in(struct checker *checker, uint64_t seq, uint64_t view) {
    CHECK(!checker->in_batch);
    CHECK(seq >= checker->settled_seq);
    const struct ledger_position *const mark = checker_position_in(checker, seq, view);
    CHECK(mark != NULL);
    struct ledger_position const position = *mark;
    drop_marks_from(checker, &position);
    drop_records_above(checker, position.view);
    checker->now = position;
    checker_mark_now(checker);
    window_rollback(checker->window, seq);
    anchors_cut(&checker->anchors, position.entries);
}
