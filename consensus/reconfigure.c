/*
 * reconfigure: from one configuration to the next (protocol §9).
 *
 * The last batch of a configuration evidences all before it, and is itself evidenced by the first
 * of the next. Until that one is settled, it may be that others entered behind another copy of the
 * last batch, proposed again in a later view of the configuration that ended. So entering can be
 * undone, and a peer's copy followed instead (range.c). What is signed in the next configuration
 * counts behind whatever copy it stands: a replica never forgets what it has said there, and, once
 * it knows the configuration to have ended, says no more in the one before.
 */
#include <stdlib.h>

#include "base/check.h"
#include "consensus/state.h"
#include "governance/constitution.h"

uint64_t config_start(const struct replica *replica) {
    return checker_position(replica->checker)->config_start;
}

const struct configuration *slot_configuration(const struct replica *replica,
                                               const struct slot *slot) {
    bool const is_before = slot->seq <= config_start(replica) && replica->before != NULL;
    return is_before ? replica->before : replica->configuration;
}

uint32_t slot_self(const struct replica *replica, const struct slot *slot) {
    return slot_configuration(replica, slot) == replica->configuration ? replica->self
                                                                       : replica->self_before;
}

uint32_t slot_primary(const struct replica *replica, const struct slot *slot) {
    return configuration_primary(slot_configuration(replica, slot), slot->body.view);
}

/* ---- who is who ---- */

const struct configuration *replica_configuration(const struct replica *replica) {
    return replica->configuration;
}

const struct constitution *replica_constitution(const struct replica *replica) {
    return replica->constitution;
}

const struct constitution *replica_constitution_of(const struct replica *replica, uint64_t number) {
    const struct constitution *const kept[] = {
        replica->constitution,
        replica->constitution_before,
        replica->eras == NULL ? NULL : &replica->eras[number % ERAS_MAX].constitution,
    };
    for (unsigned i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        if (kept[i] != NULL && kept[i]->number == number) {
            return kept[i];
        }
    }
    return NULL;
}

uint32_t replica_self(const struct replica *replica) {
    return replica->self;
}

bool replica_find_peer(const struct replica *replica, const struct public_key *key,
                       uint32_t *peer) {
    *peer = configuration_find_replica(replica->configuration, key);
    if (*peer == REPLICAS_MAX && replica->before != NULL) {
        *peer = REPLICAS_MAX + configuration_find_replica(replica->before, key);
    }
    return *peer < PEERS_MAX && (*peer != REPLICAS_MAX || replica->before != NULL);
}

const struct replica_identity *replica_peer(const struct replica *replica, uint32_t peer) {
    if (peer < replica->configuration->replica_count) {
        return &replica->configuration->replicas[peer];
    }
    bool const is_before = replica->before != NULL && peer >= REPLICAS_MAX &&
                           peer - REPLICAS_MAX < replica->before->replica_count;
    return is_before ? &replica->before->replicas[peer - REPLICAS_MAX] : NULL;
}

/* ---- what was said in each ---- */

static void put_aside(struct replica *replica) {
    /* A range may have led it through a view, and over, in one go. */
    uint64_t const view = checker_position(replica->checker)->view;
    struct tenure *const tenure = &replica->tenures[replica->configuration->number % 2];
    struct buffer const free_bytes = tenure->best_bytes;
    *tenure = (struct tenure){
        .config = replica->configuration->number,
        .asked_view = view > replica->asked_view ? view : replica->asked_view,
        .made_view = replica->made_view,
        .entered_view = view > replica->entered_view ? view : replica->entered_view,
        .signed_view = replica->signed_view,
        .signed_seq = replica->signed_seq,
        .signed_range_count = replica->signed_range_count,
        .barred_view = replica->barred_view,
        .barred_seq = replica->barred_seq,
        .loaded_view = replica->loaded_view,
        .loaded_seq = replica->loaded_seq,
        .anchored_view = replica->anchored_view,
        .best_bytes = replica->best_bytes,
        .best_rank = replica->best_rank,
        .best_digest = replica->best_digest,
    };
    memcpy(tenure->signed_digests, replica->signed_digests, sizeof tenure->signed_digests);
    memcpy(tenure->signed_ranges, replica->signed_ranges, sizeof tenure->signed_ranges);
    replica->best_bytes = free_bytes;
}

/*
 * How far it may have signed here before it stopped: so many batches beyond where its ledger ended
 * as it was allowed to here, which may be more than in the configuration before.
 */
static uint64_t bar(const struct replica *replica) {
    const struct configuration *const from = replica->before;
    if (from == NULL || replica->barred_seq == 0) {
        return replica->barred_seq;
    }
    uint64_t const end = replica->barred_seq - from->parameters.pipeline;
    uint64_t const barred_seq = end + replica->configuration->parameters.pipeline;
    return barred_seq > config_start(replica) ? barred_seq : 0;
}

/*
 * In a configuration that is new to it, this replica has signed nothing; unless it was there before
 * it stopped: then its journal knows the view, and the bar that was set at the start holds on.
 */
static void begin(struct replica *replica) {
    const struct ledger_position *const now = checker_position(replica->checker);
    uint64_t const start = now->config_start;
    bool const was_there =
        is_member(replica) && replica->journal_config == replica->configuration->number;
    uint64_t const asked = was_there ? replica->journal_view : 0;
    uint64_t const view = asked > now->view ? asked : now->view;
    replica->asked_view = view;
    replica->made_view = view;
    replica->entered_view = now->view;
    replica->signed_view = 0;
    replica->signed_seq = 0;
    replica->signed_range_count = 0;
    replica->barred_view = view;
    replica->barred_seq = bar(replica);
    replica->loaded_view = view;
    replica->loaded_seq = start > replica->loaded_seq ? start : replica->loaded_seq;
    replica->anchored_view = 0;
    replica->best_rank = (struct rank){0};
    buffer_clear(&replica->best_bytes);
    memset(replica->signed_digests, 0, sizeof replica->signed_digests);
}

static void take_up(struct replica *replica) {
    struct tenure *const tenure = &replica->tenures[replica->configuration->number % 2];
    if (tenure->config != replica->configuration->number) {
        begin(replica);
        return;
    }
    struct buffer const free_bytes = replica->best_bytes;
    replica->asked_view = tenure->asked_view;
    replica->made_view = tenure->made_view;
    replica->entered_view = tenure->entered_view;
    replica->signed_view = tenure->signed_view;
    replica->signed_seq = tenure->signed_seq;
    replica->signed_range_count = tenure->signed_range_count;
    replica->barred_view = tenure->barred_view;
    replica->barred_seq = tenure->barred_seq;
    replica->loaded_view = tenure->loaded_view;
    replica->loaded_seq = tenure->loaded_seq;
    replica->anchored_view = tenure->anchored_view;
    replica->best_bytes = tenure->best_bytes;
    replica->best_rank = tenure->best_rank;
    replica->best_digest = tenure->best_digest;
    memcpy(replica->signed_digests, tenure->signed_digests, sizeof tenure->signed_digests);
    memcpy(replica->signed_ranges, tenure->signed_ranges, sizeof tenure->signed_ranges);
    tenure->best_bytes = free_bytes;
    tenure->config = 0;
}

/* ---- going over ---- */

/* What peers said was for the configuration that is left, and so were their numbers. */
static void forget_peers(struct replica *replica) {
    memset(replica->peers, 0, sizeof replica->peers);
    for (uint32_t r = 0; r < REPLICAS_MAX; r++) {
        replica->asked[r].view = 0;
        replica->asked[r].token = 0;
        replica->asked[r].heard_ms = 0;
        replica->refused_views[r] = 0;
        replica->refused_ms[r] = 0;
    }
    replica->checked.token = 0;
    replica->incoming.view = 0;
    replica->range_peer = 0;
    replica->range_asked = false;
    replica->range_resumes = false;
}

static void settle_in(struct replica *replica) {
    const struct ledger_position *const now = checker_position(replica->checker);
    forget_peers(replica);
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        if (replica->slots[i].seq > now->seq) {
            slot_retire(replica, &replica->slots[i]);
            slot_reset(&replica->slots[i]);
        }
    }
    pool_set_configuration(replica->pool, replica->configuration);
    engine_govern(replica->engine, replica->constitution);
    replica->voted_seq = now->seq;
    replica->revealed_seq = now->seq;
    replica->failed_views = 0;
    replica->choice_excluded = 0;
    replica->sync_tries = 0;
    replica->sync_entries = 0;
    replica->sync_goes_on = false;
    replica->suspects = false;
    replica->quorum_ms = 0;
    replica->waiting_ms = 0;
    replica->commit_ms = replica->now_ms;
    replica->progress_ms = replica->now_ms;
    replica->status_due_ms = replica->now_ms;
}

static struct era *era_at(struct replica *replica, uint64_t number) {
    if (replica->eras == NULL) {
        replica->eras = calloc(ERAS_MAX, sizeof *replica->eras);
    }
    return replica->eras == NULL ? NULL : &replica->eras[number % ERAS_MAX];
}

void configuration_enter(struct replica *replica) {
    rank_capture(replica); /* what it must show, should it have to speak there again */
    struct era *const era = era_at(replica, replica->configuration->number + 1);
    if (era == NULL || !engine_next_constitution(replica->engine, &era->constitution)) {
        replica->failed = true; /* the vote is in the state: memory is short */
        return;
    }
    constitution_configuration(&era->configuration, &era->constitution);
    put_aside(replica);
    checker_enter(replica->checker, &era->configuration);
    replica->before = replica->configuration;
    replica->constitution_before = replica->constitution;
    replica->self_before = replica->self;
    replica->configuration = &era->configuration;
    replica->constitution = &era->constitution;
    replica->self = configuration_find_replica(replica->configuration, &replica->key);
    take_up(replica);
    settle_in(replica);
    replica->called_view = 0;
    replica->nonce_view = 0; /* of the configuration before this; recovery looks it up later */
}

void configuration_leave(struct replica *replica) {
    rollback_to(replica, config_start(replica), 0);
    put_aside(replica);
    checker_leave(replica->checker);
    replica->configuration = replica->before;
    replica->constitution = replica->constitution_before;
    replica->self = replica->self_before;
    replica->before = NULL;
    replica->constitution_before = NULL;
    take_up(replica);
    settle_in(replica);
    rank_capture(replica); /* after a restart only what lies here shows how it ranks there */
}

/* Does the ledger show that the configuration has begun for all? */
static void note_reached(struct replica *replica) {
    const struct ledger_position *const now = checker_position(replica->checker);
    if (replica->range_token == 0 && now->evidence_upto >= now->config_start &&
        replica->reached_config < replica->configuration->number) {
        replica->reached_config = replica->configuration->number;
    }
}

bool is_called(const struct replica *replica) {
    return replica->called_view > checker_position(replica->checker)->view &&
           replica->now_ms < replica->called_ms + 2 * patience_ms(replica);
}

bool try_configure(struct replica *replica) {
    note_reached(replica);
    if (!checker_is_closed(replica->checker) || replica->held || replica->range_token != 0 ||
        replica->committed_seq != replica->executed_seq || is_called(replica)) {
        return false;
    }
    configuration_enter(replica);
    replica->reached_config = replica->configuration->number;
    return true;
}

/* ---- going back ---- */

bool has_certified(struct replica *replica) {
    return replica->best_rank.seq != 0 || rank_highest(replica) != NULL;
}

const struct tenure *tenure_before(const struct replica *replica) {
    if (replica->before == NULL) {
        return NULL;
    }
    const struct tenure *const tenure = &replica->tenures[replica->before->number % 2];
    return tenure->config == replica->before->number ? tenure : NULL;
}

/* What it has said in the next configuration, which it left again; NULL: it was not there. */
static const struct tenure *tenure_beyond(const struct replica *replica) {
    uint64_t const next = replica->configuration->number + 1;
    const struct tenure *const tenure = &replica->tenures[next % 2];
    return tenure->config == next ? tenure : NULL;
}

bool ranks_beyond(const struct replica *replica) {
    const struct tenure *const tenure = tenure_beyond(replica);
    return tenure != NULL && tenure->best_rank.seq != 0;
}

bool has_spoken_beyond(const struct replica *replica) {
    const struct tenure *const tenure = tenure_beyond(replica);
    return tenure != NULL && (tenure->signed_seq != 0 || tenure->asked_view != 0);
}

/* What replica `r` of the configuration before asks for there; 0: nothing, or it went over too. */
static uint64_t asked_before(const struct replica *replica, uint32_t r) {
    uint32_t at = 0;
    if (r == replica->self_before ||
        !replica_find_peer(replica, &replica->before->replicas[r].key, &at) ||
        !replica->peers[at].known || replica->peers[at].status.config != replica->before->number) {
        return 0;
    }
    return replica->peers[at].status.asked_view;
}

/* The highest view, `most` at the most, for which so many others ask in the configuration before.
 */
static uint64_t view_called_for(const struct replica *replica, uint32_t callers, uint64_t most) {
    const struct configuration *const before = replica->before;
    uint64_t best = 0;
    for (uint32_t r = 0; r < before->replica_count; r++) {
        uint64_t const view = asked_before(replica, r);
        uint32_t count = 0;
        for (uint32_t k = 0; k < before->replica_count; k++) {
            count += asked_before(replica, k) >= view;
        }
        if (view > best && view <= most && count >= callers) {
            best = view;
        }
    }
    return best;
}

/*
 * Is nothing certified in this configuration, and could this replica still show in the one before
 * all that it said there? Its ledger may have a lower copy of the last batch than it has revealed a
 * nonce for, or prepared.
 */
static bool may_return(struct replica *replica, const struct slot *last) {
    const struct tenure *const tenure = &replica->tenures[replica->before->number % 2];
    return last->body.view >= replica->nonce_view && last->body.view >= tenure->best_rank.view &&
           replica->self_before < replica->before->replica_count &&
           checker_may_leave(replica->checker) && !has_certified(replica) &&
           replica->range_token == 0 && replica->guard == GUARD_NONE;
}

/*
 * Who calls? Of f + 1 a correct one does. One alone may lie; but when nothing begins here for long,
 * one may be missing here that is there alone. A lie takes a while then of which nothing came
 * anyway.
 */
static uint64_t view_called(const struct replica *replica, const struct slot *last,
                            uint64_t idle_ms) {
    uint32_t const enough = replica->before->faults_max + 1;
    if (idle_ms < STUCK_AFTER_MS) {
        return 0;
    }
    uint64_t const by_some = view_called_for(replica, enough, UINT64_MAX);
    uint64_t const by_one = idle_ms < 2 * RETURN_AFTER_MS
                                ? 0
                                : view_called_for(replica, 1, last->body.view + VIEWS_CALLED_MAX);
    return by_some > by_one ? by_some : by_one;
}

/*
 * The view to ask for in the configuration before; 0: none. Those who have seen the last batch
 * commit may be too few to begin with, and the others, who have left the view in which it did, too
 * few to end without them: they call. Or this replica has gone over behind a new view, and nobody
 * is there who could show it how the last batch was committed.
 */
static uint64_t view_to_return_for(const struct replica *replica, const struct slot *last) {
    uint64_t const idle_ms = replica->now_ms - replica->progress_ms;
    uint64_t const called = view_called(replica, last, idle_ms);
    bool const is_lost =
        replica->committed_seq < config_start(replica) && idle_ms >= RETURN_AFTER_MS;
    uint64_t const again = is_lost ? last->body.view + 1 : 0;
    uint64_t const view = called > again ? called : again;
    return view > last->body.view ? view : 0;
}

/* The last batch will be proposed again. */
static bool go_back(struct replica *replica) {
    const struct slot *const last =
        replica->before == NULL ? NULL : slot_find(replica, config_start(replica));
    uint64_t const view =
        last == NULL || !may_return(replica, last) ? 0 : view_to_return_for(replica, last);
    if (view == 0) {
        return false;
    }
    rank_capture(replica);
    configuration_leave(replica);
    const struct ledger_position *const now = checker_position(replica->checker);
    if (replica->disk_entries > now->entries) {
        hold_from(replica, now);
    }
    replica->reached_config = replica->configuration->number;
    replica->called_view = view;
    replica->called_ms = replica->now_ms;
    return true;
}

bool try_return(struct replica *replica) {
    if (replica->called_view == 0) {
        return go_back(replica);
    }
    if (replica->asked_view < replica->called_view) {
        ask_for_view(replica, replica->called_view);
    }
    return false;
}

void load_configuration(struct replica *replica, const struct batch *batch, enum batch_step step) {
    uint64_t const config =
        step == BATCH_VIEW ? batch->view.new_view.config : batch->pre_prepare.config;
    if (checker_is_closed(replica->checker) && config == replica->configuration->number + 1 &&
        replica->constitution != NULL) {
        configuration_enter(replica);
        replica->reached_config = replica->configuration->number;
    }
}

/*
 * What would commit the end of the configuration before was known here, and went with the power.
 * Every replica may have lost it so; as one of the configuration before it says its part again.
 */
static void fall_back(struct replica *replica) {
    struct effects discarded;
    effects_init(&discarded);
    replica->effects = &discarded;
    uint64_t const left = replica->configuration->number;
    configuration_leave(replica);
    replica->tenures[left % 2].config = 0; /* the journal knows what was said there */
    replica->reached_config = replica->configuration->number;
    replica->revealed_seq = checker_position(replica->checker)->evidence_upto;
    replica->effects = NULL;
    effects_free(&discarded);
}

void replica_look_at_journal(struct replica *replica, const struct journal_record *record) {
    if (replica->before == NULL || record->config != replica->before->number) {
        return;
    }
    struct tenure *const tenure = &replica->tenures[record->config % 2];
    tenure->asked_view = record->view > tenure->asked_view ? record->view : tenure->asked_view;
    if (record->kind == JOURNAL_NONCE && record->view > replica->nonce_view) {
        replica->nonce_view = record->view;
    }
}

/*
 * Should it be thrown back, or go back, to the configuration before: what this key may have said
 * there it does not say otherwise now.
 */
static void load_tenure(struct replica *replica) {
    struct tenure *const tenure = &replica->tenures[replica->before->number % 2];
    const struct ledger_position *const end =
        checker_position_at(replica->checker, config_start(replica));
    const struct slot *const last = slot_find(replica, config_start(replica));
    uint64_t const view = last != NULL ? last->body.view : end != NULL ? end->view : 0;
    tenure->asked_view = view > tenure->asked_view ? view : tenure->asked_view;
    tenure->made_view = tenure->asked_view;
    tenure->entered_view = view;
    tenure->loaded_view = tenure->asked_view;
    tenure->loaded_seq = config_start(replica);
    tenure->barred_view = tenure->asked_view;
    tenure->barred_seq = config_start(replica);
}

uint64_t replica_load_end(struct replica *replica) {
    const struct ledger_position *const now = checker_position(replica->checker);
    const struct slot *const last = slot_find(replica, now->seq);
    if (replica->before != NULL && now->seq == now->config_start &&
        replica->committed_seq < now->seq && last != NULL &&
        last->body.view >= replica->nonce_view) {
        fall_back(replica);
        replica->loaded_view = now->view;
        replica->disk_entries = now->entries;
    } else if (replica->before != NULL) {
        load_tenure(replica);
    }
    return now->entries;
}

/* ---- what the driver must know ---- */

static void tell(struct replica *replica, bool settled) {
    struct effect *const effect = effect_add(replica, EFFECT_CONFIGURATION);
    if (effect != NULL) {
        effect->configuration.constitution = replica->constitution;
        effect->configuration.settled = settled;
    }
}

void tell_configuration(struct replica *replica) {
    uint64_t const number = replica->configuration->number;
    if (replica->range_token != 0 || number != replica->reached_config) {
        return; /* it may be undone, or is on its way back */
    }
    if (replica->announced_config < number) {
        replica->announced_config = number;
        tell(replica, false);
    }
    if (replica->settled_config < number && replica->evidenced_seq >= config_start(replica)) {
        replica->settled_config = number;
        tell(replica, true);
    }
}
