/*
 * view_change: when a replica loses patience with a primary, and what it and others then say
 * (protocol §6).
 *
 * Suspicion is cheap: it travels with the status, unsigned, and passes when batches commit again.
 * Only when f + 1 replicas suspect, so at least one correct one, is a view-change signed; from
 * then on nothing is signed or revealed for lower views, so that a slow or cut-off replica must not
 * get there alone. A replica joins when f + 1 others have signed, or when the primary itself gives
 * its view up.
 */
#include "base/check.h"
#include "consensus/state.h"

static uint64_t ledger_view(const struct replica *replica) {
    return checker_position(replica->checker)->view;
}

static uint32_t faulty_max(const struct replica *replica) {
    return replica->configuration->replica_count - replica->configuration->quorum;
}

uint64_t patience_ms(const struct replica *replica) {
    uint32_t const doublings = replica->failed_views < VIEW_TIMEOUT_DOUBLINGS_MAX
                                   ? replica->failed_views
                                   : VIEW_TIMEOUT_DOUBLINGS_MAX;
    return (uint64_t)VIEW_TIMEOUT_MS << doublings;
}

/* ---- asking ---- */

static void send_own(struct replica *replica) {
    struct asked *const own = &replica->asked[replica->self];
    if (own->view != replica->asked_view) {
        return;
    }
    effect_send_all(replica, MESSAGE_VIEW_CHANGE, effect_keep(replica, buffer_span(&own->bytes)),
                    replica->sign_position);
    replica->ask_due_ms = replica->now_ms + VIEW_CHANGE_RETRY_MS;
}

void ask_for_view(struct replica *replica, uint64_t view) {
    bool const may_ask = replica->guard == GUARD_NONE && !replica->stopping && is_member(replica) &&
                         replica->configuration->number == replica->reached_config;
    if (!may_ask || view <= ledger_view(replica) || view < replica->asked_view) {
        return;
    }
    replica->failed_views += replica->asked_view < view ? 1 : 0;
    raise_asked_view(replica, view);
    rank_ask(replica);
    replica->quorum_ms = 0;
    replica->choice_excluded = 0;
    replica->sync_tries = 0;
    replica->sync_entries = 0;
    replica->sync_goes_on = false;
    replica->suspects = false;
    send_own(replica);
    replica->status_due_ms = replica->now_ms;
    effect_note(replica, NOTE_VIEW_ASKED, configuration_primary(replica->configuration, view), view,
                RULE_NONE);
}

/* The highest view for which f + 1 other replicas ask: one of them at least is correct. */
static uint64_t view_to_join(const struct replica *replica) {
    uint64_t best = 0;
    for (uint32_t r = 0; r < replica->configuration->replica_count; r++) {
        uint64_t const view = r == replica->self ? 0 : replica->asked[r].view;
        uint32_t count = 0;
        for (uint32_t k = 0; k < replica->configuration->replica_count; k++) {
            count += k != replica->self && replica->asked[k].view >= view;
        }
        if (count > faulty_max(replica) && view > best) {
            best = view;
        }
    }
    return best;
}

static void join(struct replica *replica) {
    uint64_t const view = view_to_join(replica);
    uint64_t const current = replica->asked_view;
    uint32_t const primary = configuration_primary(replica->configuration, current);
    if (view > current) {
        ask_for_view(replica, view);
    } else if (primary != replica->self && replica->asked[primary].view > current) {
        ask_for_view(replica, current + 1); /* it does not lead this view, or not any more */
    }
}

/* ---- view-changes of others ---- */

bool collector_check(void *context, const struct sign_check *check, enum rule rule) {
    struct collector *const collector = context;
    struct sign_check kept = *check;
    (void)rule;
    kept.body = effect_keep(collector->replica, check->body);
    collector->overflow |= !buffer_append(&collector->checks, span_of(&kept, sizeof kept));
    return true;
}

uint64_t effect_verify(struct replica *replica, const struct buffer *checks) {
    struct span const kept = effect_keep(replica, buffer_span(checks));
    struct effect *const effect = effect_add(replica, EFFECT_VERIFY);
    if (effect == NULL) {
        return 0;
    }
    effect->verify.token = ++replica->next_token;
    effect->verify.count = (uint32_t)(checks->size / sizeof(struct sign_check));
    effect->verify.checks = (const struct sign_check *)(const void *)kept.data;
    return effect->verify.token;
}

/* What was checked becomes what this replica has asked for. */
static void accept(struct asked *asked) {
    struct buffer const bytes = asked->bytes;
    struct arena const arena = asked->arena;
    asked->bytes = asked->next_bytes;
    asked->arena = asked->next_arena;
    asked->claim = asked->next_claim;
    asked->view = asked->claim.view_change.view;
    asked->next_bytes = bytes;
    asked->next_arena = arena;
}

/* Is it worth the work: newer than what is here, and not one of too many? */
static bool is_worth_a_look(const struct replica *replica, const struct asked *asked,
                            const struct peer_message *message) {
    const struct view_change *const body = &message->view_change.body;
    bool const comes_too_fast =
        asked->heard_ms != 0 && replica->now_ms < asked->heard_ms + VIEW_CHANGE_INTERVAL_MS;
    if (asked->token != 0 || comes_too_fast || message->from == replica->self ||
        body->config != replica->configuration->number || body->view < asked->view ||
        body->view <= ledger_view(replica)) {
        return false;
    }
    struct digest const digest = hash_statement(LABEL_VIEW_CHANGE, &replica->configuration->service,
                                                message->view_change.statement.body,
                                                &message->view_change.statement.signature);
    return body->view != asked->view || !digest_equal(&digest, &asked->claim.digest);
}

void on_view_change(struct replica *replica, const struct peer_message *message) {
    struct asked *const asked = &replica->asked[message->from];
    if (!is_worth_a_look(replica, asked, message)) {
        return;
    }
    struct signed_body statement;
    struct collector collector = {.replica = replica};
    struct sign_sink const sink = {.context = &collector, .check = collector_check};
    buffer_init(&collector.checks, (REPLICAS_MAX + PIPELINE_MAX + 1) * sizeof(struct sign_check));
    asked->heard_ms = replica->now_ms;
    buffer_clear(&asked->next_bytes);
    arena_reset(&asked->next_arena);
    if (!signed_encode(&asked->next_bytes, &message->view_change.statement) ||
        signed_decode(&statement, &asked->next_arena, buffer_span(&asked->next_bytes),
                      asked->next_bytes.size) != CODEC_OK) {
        replica->failed = true;
    } else if (view_change_judge(&asked->next_claim, &asked->next_arena, replica->configuration,
                                 &statement, &sink) == RULE_NONE &&
               !collector.overflow) {
        asked->token = effect_verify(replica, &collector.checks);
    }
    buffer_free(&collector.checks);
}

bool on_view_verified(struct replica *replica, uint64_t token, bool all_hold) {
    for (uint32_t r = 0; r < replica->configuration->replica_count; r++) {
        struct asked *const asked = &replica->asked[r];
        if (asked->token != token || token == 0) {
            continue;
        }
        asked->token = 0;
        if (all_hold) {
            accept(asked);
            check_own_claim(replica, &asked->claim);
            join(replica);
        }
        return true;
    }
    return on_new_view_verified(replica, token, all_hold);
}

/* ---- suspecting ---- */

/* Others that suspect the primary of this view, or have asked for another already. */
static uint32_t count_suspecting(const struct replica *replica) {
    uint64_t const view = ledger_view(replica);
    uint32_t count = 0;
    for (uint32_t r = 0; r < replica->configuration->replica_count; r++) {
        const struct peer *const peer = &replica->peers[r];
        bool const suspects =
            peer_is_current(replica, r) && ((peer->status.suspects && peer->status.view == view) ||
                                            peer->status.asked_view > view);
        count += r != replica->self && (suspects || replica->asked[r].view > view);
    }
    return count;
}

void suspect(struct replica *replica) {
    if (!replica->suspects && !is_changing_view(replica)) {
        replica->suspects = true;
        replica->status_due_ms = replica->now_ms;
    }
}

/* Do f + 1 others commit, and have more? Then the view works, and this replica has to catch up. */
static bool others_get_on(const struct replica *replica) {
    uint32_t count = 0;
    for (uint32_t r = 0; r < replica->configuration->replica_count; r++) {
        const struct peer *const peer = &replica->peers[r];
        count += peer->known && peer->status.committed_seq > replica->committed_seq &&
                 replica->now_ms < peer->progress_ms + patience_ms(replica);
    }
    return count > faulty_max(replica);
}

/* The oldest request that could be executed now; those that never can are dropped on the way. */
static struct pool_entry *oldest_request(struct replica *replica) {
    uint64_t const next = checker_next_index(replica->checker);
    const struct pool_entry *first_skipped = NULL;
    for (uint32_t i = 0; i < POOL_SKIPS_MAX; i++) {
        struct pool_entry *const entry = pool_first(replica->pool);
        if (entry == NULL || entry == first_skipped) {
            return NULL;
        }
        bool const is_over =
            checker_is_expired(replica->checker, entry->min_index, entry->call_count);
        if (is_over || window_find(checker_window(replica->checker), &entry->id, NULL)) {
            if (is_over && entry->origin != 0) {
                reply_reject(replica, entry->origin, &entry->id, REJECT_EXPIRED);
            }
            pool_remove(replica->pool, entry);
        } else if (next < entry->min_index) {
            first_skipped = first_skipped == NULL ? entry : first_skipped;
            pool_put_last(replica->pool, entry);
        } else {
            return entry;
        }
    }
    return NULL;
}

static void relay_request(struct replica *replica, struct pool_entry *entry) {
    uint32_t const primary = configuration_primary(replica->configuration, ledger_view(replica));
    struct requests_message const message = {.count = 1, .requests = &entry->bytes};
    buffer_clear(&replica->encode);
    if (!requests_message_encode(&replica->encode, &message)) {
        replica->failed = true;
        return;
    }
    entry->relayed_ms = replica->now_ms;
    effect_send(replica, primary, MESSAGE_REQUESTS,
                effect_keep(replica, buffer_span(&replica->encode)), 0);
}

/*
 * A request that waits here while many that came later are executed: the primary ignores it, or
 * has never heard of it. So it is passed on first. How many may overtake it grows with the queue
 * that it found, for the queue of a busy primary may be another.
 */
static bool is_overdue(struct replica *replica, struct pool_entry *entry) {
    uint64_t const patience = patience_ms(replica);
    if (entry == NULL || is_primary(replica) || replica->now_ms < entry->added_ms + patience / 2) {
        return false;
    }
    if (replica->now_ms >= entry->relayed_ms + patience / 2) {
        relay_request(replica, entry);
    }
    return replica->now_ms >= entry->added_ms + 2 * patience &&
           pool_overtaken(replica->pool, entry) > OVERTAKEN_MIN + 4 * (uint64_t)entry->ahead;
}

/* Is there anything that the primary must get committed? */
static bool something_waits(const struct replica *replica, const struct pool_entry *oldest) {
    const struct slot *const next = &replica->slots[(replica->executed_seq + 1) % SLOTS_MAX];
    bool const has_next = next->seq == replica->executed_seq + 1 && next->stage == SLOT_RECEIVED;
    const struct ledger_position *const now = checker_position(replica->checker);
    bool const changes = checker_next_kind(replica->checker) != BATCH_NORMAL;
    return replica->executed_seq > replica->committed_seq || has_next || changes ||
           now->seq < now->view_start || oldest != NULL;
}

/* Does the primary itself say that it cannot lead? It is believed that much without a signature. */
static bool primary_gives_up(const struct replica *replica) {
    uint64_t const view = ledger_view(replica);
    uint32_t const id = configuration_primary(replica->configuration, view);
    const struct peer *const primary = &replica->peers[id];
    return peer_is_current(replica, id) && primary->status.view == view && primary->status.suspects;
}

static void watch_primary(struct replica *replica) {
    const struct slot *const next = &replica->slots[(replica->executed_seq + 1) % SLOTS_MAX];
    /* The first batch of a configuration may stand behind another copy of the boundary than here.
     */
    bool const is_refused = next->seq == replica->executed_seq + 1 && next->refused &&
                            !checker_may_leave(replica->checker);
    struct pool_entry *const oldest = oldest_request(replica);
    if (!something_waits(replica, oldest)) {
        replica->waiting_ms = 0;
    } else if (replica->waiting_ms == 0) {
        replica->waiting_ms = replica->now_ms;
    }
    uint64_t const since =
        replica->waiting_ms > replica->commit_ms ? replica->waiting_ms : replica->commit_ms;
    bool const is_late = replica->waiting_ms != 0 &&
                         replica->now_ms >= since + patience_ms(replica) && !others_get_on(replica);
    if (is_refused || is_late || is_overdue(replica, oldest) || primary_gives_up(replica)) {
        suspect(replica);
    } else if (replica->commit_ms == replica->now_ms || replica->waiting_ms == 0) {
        replica->suspects = false;
    }
    if (replica->suspects && count_suspecting(replica) >= faulty_max(replica)) {
        ask_for_view(replica, ledger_view(replica) + 1);
    }
}

/* A primary that must not propose, since it does not know what it has proposed already. */
static bool must_resign(const struct replica *replica) {
    return is_primary(replica) && is_voting(replica) &&
           ledger_view(replica) <= replica->barred_view &&
           replica->executed_seq < replica->barred_seq;
}

/* ---- waiting for a new view ---- */

static uint32_t count_asking(const struct replica *replica) {
    uint32_t count = 0;
    for (uint32_t r = 0; r < replica->configuration->replica_count; r++) {
        count += replica->asked[r].view >= replica->asked_view;
    }
    return count;
}

/*
 * Does a quorum ask for the view, or a later one? A new view that holds says so, too. It may build
 * on a batch that nobody gives any more: who had it on disk is gone, and its primary, whose disk
 * still has the tail before (hold.c), lacks the votes of those who cannot follow.
 */
static bool quorum_asks(const struct replica *replica) {
    return count_asking(replica) >= replica->configuration->quorum ||
           replica->incoming.view >= replica->asked_view;
}

static void wait_for_view(struct replica *replica) {
    if (replica->entered_view >= replica->asked_view) {
        /* It was there, and has left it in memory for what a later view builds on. */
        replica->quorum_ms = replica->quorum_ms == 0 ? replica->now_ms : replica->quorum_ms;
        if (replica->now_ms - replica->quorum_ms >= patience_ms(replica)) {
            ask_for_view(replica, replica->asked_view + 1);
        }
        return;
    }
    if (replica->asked[replica->self].view != replica->asked_view) {
        /* After a restart; or later, in a configuration that it comes back to. What it shows must
         * be on its disk by then, as it is when a journal record goes before. */
        replica->sign_position = replica->disk_position;
        rank_ask(replica);
        replica->ask_due_ms = 0;
    }
    if (replica->now_ms >= replica->ask_due_ms) {
        send_own(replica);
    }
    bool const is_its_turn =
        configuration_primary(replica->configuration, replica->asked_view) == replica->self;
    if (is_its_turn && replica->asked_view <= replica->made_view) {
        /* It may have made this view before it stopped, with others' view-changes: never twice. */
        ask_for_view(replica, replica->asked_view + 1);
        return;
    }
    if (!quorum_asks(replica)) {
        replica->quorum_ms = 0;
    } else if (replica->quorum_ms == 0) {
        replica->quorum_ms = replica->now_ms;
    } else if (replica->now_ms >= replica->quorum_ms + patience_ms(replica)) {
        ask_for_view(replica, replica->asked_view + 1);
    }
}

void view_tick(struct replica *replica) {
    if (replica->guard != GUARD_NONE && is_primary(replica)) {
        suspect(replica); /* it asks for nothing, but says that others should */
    }
    if (replica->guard != GUARD_NONE || replica->stopping || replica->range_token != 0 ||
        !is_member(replica) || replica->configuration->number < replica->reached_config) {
        return; /* who is not part of the configuration, or done with it, asks for nothing */
    }
    if (replica->now_ms >= replica->status_due_ms) {
        join(replica);
    }
    if (is_changing_view(replica)) {
        wait_for_view(replica);
    } else if (must_resign(replica)) {
        ask_for_view(replica, ledger_view(replica) + 1);
    } else {
        watch_primary(replica);
    }
}
