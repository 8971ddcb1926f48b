/*
 * new_view: from Q view-changes to a view (protocol §6).
 *
 * The new primary chooses the highest certificate among Q view-changes, gets hold of its chain if
 * it lacks it, cuts the ledger where the chain begins, and signs the new view. A backup judges the
 * whole choice, cuts its own ledger at the same place, and enters. Either may have to fetch first
 * what lies below the cut; until then nothing changes. Proposing again is propose.c's.
 */
#include "base/check.h"
#include "consensus/state.h"
#include "ledger/derive.h"

static uint64_t ledger_view(const struct replica *replica) {
    return checker_position(replica->checker)->view;
}

/* ---- what a new view builds on ---- */

/* The batch after which the ledger is cut for this claim. */
static uint64_t cut_seq(const struct replica *replica, const struct view_claim *claim) {
    uint32_t const count = claim->view_change.chain_count;
    return count == 0 ? config_start(replica) : claim->batches[count - 1].evidence_upto;
}

/* Where this replica's ledger would be cut; NULL: it does not hold what the chain continues. */
static const struct ledger_position *cut_position(const struct replica *replica,
                                                  const struct view_claim *claim) {
    uint64_t const seq = cut_seq(replica, claim);
    const struct ledger_position *const position =
        seq < replica->evidenced_seq ? NULL
                                     : checker_position_in(replica->checker, seq, claim->rank.view);
    return position != NULL && position->view == claim->rank.view &&
                   checker_claim_continues(replica->checker, position, claim)
               ? position
               : NULL;
}

/* Some peer's ledger, from the settled end on, or what follows what it gave; else another peer's.
 */
static void fetch(struct replica *replica, uint32_t preferred) {
    uint32_t const count = replica->configuration->replica_count;
    if (replica->now_ms < replica->sync_due_ms) {
        return;
    }
    ask_for_range(replica, (preferred + replica->sync_tries) % count, !replica->sync_goes_on);
    replica->sync_goes_on = false;
    replica->sync_tries++;
    replica->sync_due_ms = replica->now_ms + VIEW_SYNC_RETRY_MS;
}

void view_range_was_useless(struct replica *replica) {
    uint64_t const soon = replica->now_ms + VIEW_SYNC_PAUSE_MS;
    replica->sync_due_ms = replica->sync_due_ms < soon ? replica->sync_due_ms : soon;
}

void view_range_was_known(struct replica *replica) {
    replica->sync_due_ms = replica->now_ms;
    replica->sync_tries -= replica->sync_tries > 0 ? 1 : 0;
}

void view_range_was_taken(struct replica *replica) {
    uint64_t const entries = checker_position(replica->checker)->entries;
    /* The same peer may have more; but back and forth between two ledgers leads nowhere. */
    replica->sync_goes_on = entries > replica->sync_entries;
    if (replica->sync_goes_on) {
        replica->sync_entries = entries;
        replica->sync_due_ms = replica->now_ms;
        replica->sync_tries -= replica->sync_tries > 0 ? 1 : 0;
    }
}

/* ---- entering ---- */

void view_was_entered(struct replica *replica) {
    const struct ledger_position *const now = checker_position(replica->checker);
    bool const arrived = replica->incoming.view <= now->view && replica->asked_view <= now->view;
    raise_asked_view(replica, now->view);
    replica->entered_view = now->view > replica->entered_view ? now->view : replica->entered_view;
    if (replica->incoming.view <= now->view) {
        replica->incoming.view = 0;
    }
    /* What the chosen chain evidences is committed; a boundary is by its first batch only (§9). */
    commit_upto(replica, now->view_seq > now->config_start ? now->view_seq : now->evidence_upto);
    replica->voted_seq = now->view_seq;
    replica->revealed_seq = now->view_seq;
    replica->suspects = false;
    replica->waiting_ms = 0;
    replica->quorum_ms = 0;
    replica->sync_goes_on = false;
    if (arrived) { /* otherwise it goes on asking in turn, lest two ledgers send it to and fro */
        replica->sync_tries = 0;
        replica->sync_entries = 0;
    }
    replica->choice_excluded = 0;
    replica->commit_ms = replica->now_ms;
    replica->progress_ms = replica->now_ms;
    replica->status_due_ms = replica->now_ms;
    effect_note(replica, NOTE_VIEW_ENTERED,
                configuration_primary(replica->configuration, now->view), now->view, RULE_NONE);
}

/* Cut the ledger, append the new view. Returns: the rule broken, if any; then nothing changed. */
static enum rule enter(struct replica *replica, const struct view_unit *unit,
                       const struct view_claim *chosen) {
    const struct ledger_position *const found = cut_position(replica, chosen);
    CHECK(found != NULL);
    struct ledger_position const cut = *found;
    enum rule rule = checker_view_judge(replica->checker, &cut, unit, &sign_sink_trust);
    if (rule != RULE_NONE) {
        return rule;
    }
    rank_capture(replica);
    carry_over(replica, chosen);
    rollback_to(replica, cut.seq, cut.view);
    carry_take(replica);
    hold_from(replica, &cut);
    rule = checker_view_add(replica->checker, unit, &sign_sink_trust);
    if (rule == RULE_NONE) {
        append_view(replica, unit, false);
        view_was_entered(replica);
    }
    return rule;
}

/* ---- a new view comes in ---- */

static bool decode_checked(struct replica *replica, const struct new_view_message *message) {
    struct incoming_view *const checked = &replica->checked;
    buffer_clear(&checked->set);
    buffer_clear(&checked->entry);
    arena_reset(&checked->arena);
    if (!buffer_append(&checked->set, message->set) ||
        !buffer_append(&checked->entry, message->new_view)) {
        replica->failed = true;
        return false;
    }
    if (view_unit_decode(&checked->unit, &checked->arena, buffer_span(&checked->set),
                         buffer_span(&checked->entry)) != CODEC_OK ||
        !view_unit_is_bound(&checked->unit, &replica->configuration->service)) {
        return false; /* its primary cannot answer for that: anybody may have passed it on */
    }
    checked->claims =
        arena_alloc(&checked->arena, checked->unit.set.count * sizeof *checked->claims);
    if (checked->claims == NULL) {
        replica->failed = true;
    }
    return checked->claims != NULL;
}

/* Everything of the new view that does not hang on the ledger. */
static enum rule judge_incoming(struct replica *replica, struct collector *collector) {
    struct incoming_view *const checked = &replica->checked;
    const struct view_change_set *const set = &checked->unit.set;
    struct sign_sink const sink = {.context = collector, .check = collector_check};
    if (set->count != replica->configuration->quorum) {
        return RULE_VIEW_CHANGES;
    }
    for (uint32_t i = 0; i < set->count; i++) {
        struct view_claim *const claim = &checked->claims[i];
        if (view_change_judge(claim, &checked->arena, replica->configuration, &set->view_changes[i],
                              &sink) != RULE_NONE ||
            claim->view_change.view != checked->unit.new_view.view) {
            return RULE_VIEW_CHANGES;
        }
    }
    checked->chosen = view_claims_choose(checked->claims, set->count);
    return collector->overflow ? RULE_VIEW_CHANGES : RULE_NONE;
}

/* It is its primary's doing: a liar, however far the views it makes up, shuts out only its own. */
static void refuse(struct replica *replica, struct incoming_view *incoming, enum rule rule) {
    uint32_t const primary = configuration_primary(replica->configuration, incoming->view);
    effect_note(replica, NOTE_NEW_VIEW_REFUSED, primary, incoming->view, rule);
    replica->refused_views[primary] = incoming->view;
    replica->refused_ms[primary] = replica->now_ms;
    incoming->view = 0;
}

/* Is it news, and not of somebody who has just made up another? */
static bool is_wanted(const struct replica *replica, const struct new_view *body) {
    uint32_t const primary = configuration_primary(replica->configuration, body->view);
    bool const comes_too_fast =
        replica->refused_ms[primary] != 0 &&
        replica->now_ms < replica->refused_ms[primary] + VIEW_CHANGE_INTERVAL_MS;
    /* One below the view that this replica has asked for is followed, too, in silence. */
    return body->config == replica->configuration->number && body->view > ledger_view(replica) &&
           body->view > replica->incoming.view && body->view > replica->refused_views[primary] &&
           !comes_too_fast && replica->checked.token == 0;
}

void on_new_view(struct replica *replica, const struct peer_message *message) {
    struct incoming_view *const checked = &replica->checked;
    if (!is_wanted(replica, &message->new_view.body) ||
        !decode_checked(replica, &message->new_view.message)) {
        return;
    }
    struct collector collector = {.replica = replica};
    buffer_init(&collector.checks, (size_t)REPLICAS_MAX * (REPLICAS_MAX + PIPELINE_MAX + 1) *
                                       sizeof(struct sign_check));
    checked->view = message->new_view.body.view;
    enum rule const rule = judge_incoming(replica, &collector);
    if (rule == RULE_NONE) {
        checked->token = effect_verify(replica, &collector.checks);
        replica->sync_tries = 0;
    } else {
        refuse(replica, checked, rule);
    }
    buffer_free(&collector.checks);
}

bool on_new_view_verified(struct replica *replica, uint64_t token, bool all_hold) {
    struct incoming_view *const checked = &replica->checked;
    if (checked->token != token || token == 0) {
        return false;
    }
    checked->token = 0;
    if (!all_hold) {
        refuse(replica, checked, RULE_VIEW_CHANGES);
        return true;
    }
    bool const is_own =
        configuration_primary(replica->configuration, checked->view) == replica->self;
    if (is_own && checked->view > replica->made_view) {
        note_forgotten(replica, replica->executed_seq);
    }
    for (uint32_t i = 0; i < checked->unit.set.count; i++) {
        check_own_claim(replica, &checked->claims[i]);
    }
    struct incoming_view const waited = replica->incoming;
    replica->incoming = *checked;
    *checked = waited;
    return true;
}

/* Could another copy of the last batch before this configuration still be followed? */
static bool may_follow_boundary(const struct replica *replica) {
    return checker_may_leave(replica->checker) &&
           replica->sync_tries <= replica->configuration->replica_count;
}

static bool try_enter(struct replica *replica) {
    struct incoming_view *const incoming = &replica->incoming;
    if (incoming->view == 0) {
        return false;
    }
    if (incoming->view <= ledger_view(replica)) {
        incoming->view = 0;
        return false;
    }
    const struct view_claim *const chosen = &incoming->claims[incoming->chosen];
    if (cut_position(replica, chosen) == NULL) {
        fetch(replica, configuration_primary(replica->configuration, incoming->view));
        return false;
    }
    if (!has_room_for_view(replica)) {
        return false;
    }
    enum rule const rule = enter(replica, &incoming->unit, chosen);
    if (rule != RULE_NONE && may_follow_boundary(replica)) {
        /* Its primary may have begun behind another copy of the boundary: see what it has. */
        fetch(replica, configuration_primary(replica->configuration, incoming->view));
        return false;
    }
    if (rule != RULE_NONE) {
        bool const is_behind_another = checker_may_leave(replica->checker);
        uint64_t const next = incoming->view + 1;
        refuse(replica, incoming, rule);
        if (is_behind_another && replica->guard == GUARD_NONE && is_member(replica)) {
            ask_for_view(replica, next); /* who is in that one waits for this replica in vain */
        }
    }
    return true;
}

/* ---- making one ---- */

/* Q view-changes for asked_view, this replica's own among them; 0: there are not enough. */
static uint64_t choose_set(const struct replica *replica) {
    uint64_t set = UINT64_C(1) << replica->self;
    uint32_t count = 1;
    for (uint32_t r = 0; r < replica->configuration->replica_count; r++) {
        bool const usable = r != replica->self && replica->asked[r].view == replica->asked_view &&
                            (replica->choice_excluded >> r & 1) == 0;
        if (usable && count < replica->configuration->quorum) {
            set |= UINT64_C(1) << r;
            count++;
        }
    }
    return count == replica->configuration->quorum ? set : 0;
}

/* The highest certificate of a set, of equals the first; the set is not empty. */
static const struct view_claim *chosen_of(const struct replica *replica, uint64_t set) {
    uint32_t chosen = (uint32_t)__builtin_ctzll(set);
    for (uint32_t r = chosen + 1; r < replica->configuration->replica_count; r++) {
        bool const is_higher =
            rank_compare(replica->asked[r].claim.rank, replica->asked[chosen].claim.rank) > 0;
        chosen = (set >> r & 1) != 0 && is_higher ? r : chosen;
    }
    return &replica->asked[chosen].claim;
}

static bool encode_set(struct replica *replica, uint64_t set, struct buffer *out,
                       struct digest *digests) {
    struct signed_body statements[REPLICAS_MAX];
    struct view_change_set encoded = {.view_changes = statements};
    struct arena arena;
    arena_init(&arena, 4 * (size_t)VIEW_CHANGE_SET_SIZE_MAX);
    bool good = true;
    for (uint32_t r = 0; good && r < replica->configuration->replica_count; r++) {
        const struct asked *const asked = &replica->asked[r];
        if ((set >> r & 1) == 0) {
            continue;
        }
        good = signed_decode(&statements[encoded.count], &arena, buffer_span(&asked->bytes),
                             asked->bytes.size) == CODEC_OK;
        digests[encoded.count++] = asked->claim.digest;
    }
    good = good && view_change_set_encode(out, &encoded);
    arena_free(&arena);
    return good;
}

/* The signed new view over the ledger as it will be cut. */
static bool sign_new_view(struct replica *replica, struct rank chosen,
                          const struct new_view *filled, const struct frontier *cut,
                          struct span set, struct buffer *out) {
    struct new_view body = *filled;
    struct frontier before = *cut;
    struct digest const leaf = ledger_leaf(ENTRY_VIEW_CHANGE_SET, set);
    frontier_append(&before, &leaf);
    body.config = replica->configuration->number;
    body.view = replica->asked_view;
    body.chosen_view = chosen.view;
    body.chosen_seq = chosen.seq;
    body.ledger_root = frontier_root(&before);
    body.ledger_leaves = before.leaf_count;
    buffer_clear(&replica->encode);
    if (!new_view_encode(&replica->encode, &body)) {
        return false;
    }
    struct signed_body statement = {.body = effect_keep(replica, buffer_span(&replica->encode))};
    statement.signature = sign_labelled(&replica->signing_key, &replica->key, LABEL_NEW_VIEW,
                                        &replica->configuration->service, statement.body);
    return signed_encode(out, &statement);
}

static void make_view(struct replica *replica, uint64_t set, const struct view_claim *chosen,
                      const struct frontier *cut) {
    struct digest digests[REPLICAS_MAX];
    struct new_view body = {.view_change_count = replica->configuration->quorum,
                            .view_change_digests = digests};
    struct buffer set_payload;
    struct buffer entry_payload;
    struct arena arena;
    struct view_unit unit;
    buffer_init(&set_payload, VIEW_CHANGE_SET_SIZE_MAX);
    buffer_init(&entry_payload, STATEMENT_SIZE_MAX + 128u);
    arena_init(&arena, 4 * (size_t)VIEW_CHANGE_SET_SIZE_MAX);
    bool const good = encode_set(replica, set, &set_payload, digests) &&
                      sign_new_view(replica, chosen->rank, &body, cut, buffer_span(&set_payload),
                                    &entry_payload) &&
                      view_unit_decode(&unit, &arena, buffer_span(&set_payload),
                                       buffer_span(&entry_payload)) == CODEC_OK;
    if (good) {
        replica->made_view = replica->asked_view;
        enum rule const rule = enter(replica, &unit, chosen);
        CHECK(rule == RULE_NONE || checker_failed(replica->checker));
        replica->listened = true; /* Q replicas have said how far they are */
        for (uint32_t r = 0; r < replica->configuration->replica_count; r++) {
            if (r != replica->self) {
                send_new_view(replica, r);
            }
        }
    } else {
        replica->failed = true;
    }
    arena_free(&arena);
    buffer_free(&set_payload);
    buffer_free(&entry_payload);
}

static bool try_make(struct replica *replica) {
    const struct configuration *const configuration = replica->configuration;
    bool const is_its_turn =
        is_changing_view(replica) && replica->guard == GUARD_NONE && !replica->stopping &&
        replica->asked_view > replica->made_view &&
        configuration_primary(configuration, replica->asked_view) == replica->self &&
        replica->asked[replica->self].view == replica->asked_view;
    uint64_t const set = is_its_turn ? choose_set(replica) : 0;
    if (set == 0) {
        return false;
    }
    const struct view_claim *const chosen = chosen_of(replica, set);
    const struct ledger_position *const cut = cut_position(replica, chosen);
    if (cut != NULL && carry_is_complete(replica, chosen) && has_room_for_view(replica)) {
        make_view(replica, set, chosen, &cut->frontier);
        return true;
    }
    if (replica->sync_tries > configuration->replica_count) {
        /* Nobody gives what this certificate speaks of: see whether it goes without its author. */
        replica->choice_excluded |= UINT64_C(1) << chosen->view_change.replica;
        replica->choice_excluded &= ~(UINT64_C(1) << replica->self);
        replica->sync_tries = 0;
        if (choose_set(replica) == 0) {
            replica->choice_excluded = 0;
        }
        return false;
    }
    fetch(replica, chosen->view_change.replica);
    return false;
}

bool view_waits_for_range(const struct replica *replica) {
    bool const to_enter = replica->incoming.view != 0 && replica->incoming.token == 0;
    bool const to_make =
        is_changing_view(replica) && replica->asked_view > replica->made_view &&
        configuration_primary(replica->configuration, replica->asked_view) == replica->self &&
        choose_set(replica) != 0;
    return to_enter || to_make;
}

bool try_change_view(struct replica *replica) {
    if (replica->range_token != 0) {
        return false;
    }
    return try_enter(replica) || try_make(replica);
}

void send_new_view(struct replica *replica, uint32_t peer) {
    const struct ledger_position *const now = checker_position(replica->checker);
    const struct kept_view *const kept = find_view(replica, now->view_seq, now->view);
    bool const is_own = configuration_primary(replica->configuration, now->view) == replica->self;
    if (kept == NULL || (is_own && !is_voting(replica))) {
        return;
    }
    struct new_view_message const message = {.set = buffer_span(&kept->set),
                                             .new_view = buffer_span(&kept->entry)};
    struct buffer encoded;
    buffer_init(&encoded, FRAME_SIZE_MAX);
    if (new_view_message_encode(&encoded, &message)) {
        effect_send(replica, peer, MESSAGE_NEW_VIEW, effect_keep(replica, buffer_span(&encoded)),
                    replica->sign_position);
    } else {
        replica->failed = true;
    }
    buffer_free(&encoded);
}
