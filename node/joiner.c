/*
 * joiner: see joiner.h.
 *
 * Invariants: while `busy`, a job, the chain's keeper or older.h reads what the last step pointed
 * to, and the join is not stepped; `held` is the message it points into. What the reader's thread
 * builds is its alone while jobs are on their way. A failure of the disk ends this attempt: the
 * replica then catches up by ranges, or the next start tries again.
 *
 * A join is among the replicas of the newest configuration that the governance chain reaches. While
 * that is not the founding one, the replica rests, and numbers of peers are that one's
 * (node->joining): at genesis it knows nobody of them.
 */
#include "node/joiner.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "consensus/join.h"
#include "governance/founding.h"
#include "node/chain_keeper.h"
#include "node/constitutions.h"
#include "node/joining.h"
#include "node/node.h"
#include "node/older.h"
#include "node/own_vote.h"

/* The replica has taken a range so short a while ago that it is still catching up. */
#define CATCHING_UP_MS 1000u

struct joiner {
    struct node *node;
    struct join *join; /* NULL: there is nothing to do */
    struct join_effects effects;
    uv_timer_t tick;
    uv_timer_t report;
    bool closed;
    bool busy;
    bool waits;                /* for the chain to be read, to begin */
    uint64_t leads_to;         /* the chain was found to reach this configuration; 0: no further */
    uint64_t peers_of;         /* the older ledger is asked of the replicas of this configuration */
    struct configuration own;  /* what node->joining points to */
    struct peer_message *held; /* what is being stored or judged points into it; or NULL */
    uint32_t jobs;             /* on their way through the reader's thread */
    struct joining joining;    /* that thread's while there are any */
};

/* One thing to be written. What the effect points to lives until the next step. */
struct store_job {
    struct background_job job;
    struct joiner *joiner;
    struct join_effect effect;
    bool shows_own_vote; /* of JOIN_EFFECT_ENTRIES */
    struct problem problem;
    int result;
};

static void step(struct joiner *joiner, struct join_event *event);

static void message_free(struct peer_message *message) {
    if (message != NULL) {
        peer_message_free(message);
        free(message);
    }
}

static void release(struct joiner *joiner) {
    joiner->busy = false;
    message_free(joiner->held);
    joiner->held = NULL;
}

void joiner_end(struct node *node) {
    struct joiner *const joiner = node->joiner;
    release(joiner);
    join_free(joiner->join);
    joiner->join = NULL;
    (void)uv_timer_stop(&joiner->tick); /* neither can fail */
    (void)uv_timer_stop(&joiner->report);
}

/* The replica takes part, as it is, among those that it knows. */
static void wake_replica(struct node *node) {
    struct event event = {.kind = EVENT_TICK};
    if (node->joining != NULL) {
        node->joining = NULL;
        peers_update(node);
    }
    if (node->resting) {
        node->resting = false;
        node_step(node, &event);
    }
}

/* ---- for the operator ------------------------------------------------------------------------ */

static void note(const struct join_effect *effect) {
    static const char *const reasons[] = {
        [JOIN_NOTE_OFFER_TAKEN] = "",
        [JOIN_NOTE_OFFER_LATER] = "",
        [JOIN_NOTE_OFFER_REFUSED] = "its checkpoint is not one that a quorum signed",
        [JOIN_NOTE_LINKS_REFUSED] = "its links of the governance chain do not hold",
        [JOIN_NOTE_DIGESTS_REFUSED] = "its digests do not lead to the state's root",
        [JOIN_NOTE_ITEMS_REFUSED] = "its items are not those of the state",
        [JOIN_NOTE_STATE_REFUSED] = "its state and the governance chain, both signed, part",
        [JOIN_NOTE_ENTRIES_REFUSED] = "its entries are not those of the ledger",
        [JOIN_NOTE_OLDER_REFUSED] = "its older entries break a rule, or lead nowhere",
        [JOIN_NOTE_SLOW] = "it is slow",
    };
    struct log_field const fields[] = {log_number("peer", effect->note.peer),
                                       log_number("seq", effect->note.seq),
                                       log_text("reason", reasons[effect->note.kind]), log_end()};
    switch (effect->note.kind) {
    case JOIN_NOTE_OFFER_TAKEN:
        log_event(LOG_INFO, "takes a peer's checkpoint",
                  (struct log_field[]){fields[0], fields[1], log_end()});
        break;
    case JOIN_NOTE_OFFER_LATER:
        log_event(
            LOG_INFO, "a peer's checkpoint is of a later configuration; asking for its links",
            (struct log_field[]){fields[0], log_number("config", effect->note.seq), log_end()});
        break;
    case JOIN_NOTE_OFFER_REFUSED:
    case JOIN_NOTE_LINKS_REFUSED:
    case JOIN_NOTE_DIGESTS_REFUSED:
    case JOIN_NOTE_ITEMS_REFUSED:
    case JOIN_NOTE_STATE_REFUSED:
    case JOIN_NOTE_ENTRIES_REFUSED:
        log_event(LOG_ERROR, "refused what a peer gave to join with", fields);
        break;
    case JOIN_NOTE_OLDER_REFUSED:
        log_event(LOG_WARN, "refused a range of a peer's ledger", fields);
        break;
    case JOIN_NOTE_SLOW:
        log_event(LOG_WARN, "asks another peer", fields);
        break;
    }
}

const char *joiner_text(const struct node *node, char *room) {
    const struct joiner *const joiner = node->joiner;
    struct join_progress at;
    room[0] = '\0';
    if (joiner->join == NULL) {
        return room;
    }
    join_progress(joiner->join, &at);
    if (node->joining != NULL && at.seq == 0) {
        (void)snprintf(room, STATUS_ERROR_SIZE_MAX,
                       "joining: asking the replicas of configuration %llu for a checkpoint",
                       (unsigned long long)node->joining->number);
    } else if (node->resting) {
        (void)snprintf(room, STATUS_ERROR_SIZE_MAX,
                       "joining from checkpoint %llu: %llu of %llu parts of its state, ledger at "
                       "entry %llu of %llu",
                       (unsigned long long)at.seq, (unsigned long long)at.groups,
                       (unsigned long long)at.groups_total, (unsigned long long)at.next_entry,
                       (unsigned long long)at.end_entry);
    } else if (join_phase(joiner->join) == JOIN_FINISHED) {
        (void)snprintf(room, STATUS_ERROR_SIZE_MAX, "in service; verifying the older ledger");
    } else if (node->beginning.present) {
        (void)snprintf(room, STATUS_ERROR_SIZE_MAX,
                       "in service; fetching the older ledger: entry %llu of %llu",
                       (unsigned long long)at.next_entry, (unsigned long long)at.end_entry);
    }
    return room;
}

/* The replica says nothing while it rests: what keeps the links alive is said here. */
static void send_status(struct node *node) {
    const struct configuration *const configuration =
        node->joining != NULL ? node->joining : &node->identity.founding.configuration;
    /* It is at genesis, wherever it will go: nobody is to count it among those who are there. */
    struct status_message const status = {.config = FOUNDING_CONFIGURATION};
    buffer_clear(&node->scratch);
    if (!status_message_encode(&node->scratch, &status)) {
        return; /* the next will do as well */
    }
    for (uint32_t peer = 0; peer < configuration->replica_count; peer++) {
        if (!public_key_equal(&configuration->replicas[peer].key, &node->identity.key)) {
            peers_send(node, peer, MESSAGE_STATUS, buffer_span(&node->scratch));
        }
    }
}

static void on_report(uv_timer_t *timer) {
    struct joiner *const joiner = timer->data;
    struct node *const node = joiner->node;
    struct join_progress at;
    if (joiner->join == NULL || node->stopping) {
        return;
    }
    join_progress(joiner->join, &at);
    if (node->resting) {
        log_event(LOG_INFO, "joining",
                  (struct log_field[]){log_number("seq", at.seq), log_number("parts", at.groups),
                                       log_number("of", at.groups_total),
                                       log_number("entry", at.next_entry),
                                       log_number("upto", at.end_entry), log_end()});
        send_status(node);
    } else if (join_phase(joiner->join) == JOIN_FINISHED) {
        log_event(LOG_INFO, "verifying the older ledger", (struct log_field[]){log_end()});
    } else if (node->beginning.present) {
        log_event(LOG_INFO, "fetching the older ledger",
                  (struct log_field[]){log_number("entry", at.next_entry),
                                       log_number("upto", at.end_entry), log_end()});
    }
}

static void report_from_now_on(struct joiner *joiner) {
    CHECK(uv_timer_start(&joiner->report, on_report, JOIN_REPORT_MS, JOIN_REPORT_MS) == 0);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void run(struct background_job *job) {
    struct store_job *const store = (struct store_job *)job;
    if (store->shows_own_vote) {
        joining_note_own_vote(&store->joiner->joining);
    }
    store->result = joining_carry_out(&store->joiner->joining, &store->effect, &store->problem);
}

static void store(struct joiner *joiner, const struct join_effect *effect);

static void begin_checkpoint_join(struct joiner *joiner);

static bool is_at_genesis(const struct node *node) {
    struct replica_status status;
    replica_status(node->replica, &status);
    return status.entries == 1 && !node->beginning.present;
}

static void on_again(uv_timer_t *timer) {
    struct joiner *const joiner = timer->data;
    if (joiner->join == NULL && is_at_genesis(joiner->node) && !joiner->node->stopping) {
        begin_checkpoint_join(joiner);
    }
}

/*
 * This attempt is over, and the replica catches up by ranges. It may be that nobody of the founding
 * configuration is in office any more, and gives it any: then it tries to join again.
 */
static void give_up(struct joiner *joiner) {
    struct join_effect const clean = {.kind = JOIN_EFFECT_NOT_NEEDED};
    bool const is_later = joiner->node->joining != NULL;
    store(joiner, &clean);
    joiner_end(joiner->node);
    wake_replica(joiner->node);
    if (is_later) {
        CHECK(uv_timer_start(&joiner->tick, on_again, JOIN_AGAIN_MS, 0) == 0);
    }
}

static void stored(struct joiner *joiner, const struct store_job *store) {
    struct join_event event = {.kind = JOIN_EVENT_STORED};
    switch (store->effect.kind) {
    case JOIN_EFFECT_ITEMS:
    case JOIN_EFFECT_ENTRIES:
        release(joiner);
        step(joiner, &event);
        break;
    case JOIN_EFFECT_COMPLETE:
        log_event(LOG_INFO, "joined from a checkpoint; starting from it",
                  (struct log_field[]){log_number("seq", store->effect.complete.seq),
                                       log_number("entries", store->effect.complete.end_entry),
                                       log_end()});
        node_restart(joiner->node);
        break;
    case JOIN_EFFECT_BEGIN:
    case JOIN_EFFECT_LEDGER_BEGIN:
    case JOIN_EFFECT_NOT_NEEDED:
        break;
    case JOIN_EFFECT_SEND:
    case JOIN_EFFECT_LINKS:
    case JOIN_EFFECT_CONFIGURATION:
    case JOIN_EFFECT_OLDER:
    case JOIN_EFFECT_OLDER_DONE:
    case JOIN_EFFECT_NOTE:
        UNREACHABLE();
    }
}

static void done(struct background_job *job) {
    struct store_job *const store = (struct store_job *)job;
    struct joiner *const joiner = store->joiner;
    joiner->jobs--;
    if (joiner->node->stopping || joiner->join == NULL) {
        /* Ending; or the attempt is over, and this was on its way. */
    } else if (store->result == 0) {
        stored(joiner, store);
    } else {
        log_event(LOG_ERROR, "cannot join from a checkpoint; catching up by ranges",
                  (struct log_field[]){log_text("problem", store->problem.text), log_end()});
        give_up(joiner);
    }
    free(store);
}

/* What this replica is in a configuration, as far as the chain reaches. */
static uint32_t find_own_place(void *context, uint64_t config) {
    struct node *const node = context;
    const struct constitution *const constitution = chain_keeper_find(node, config);
    uint32_t place = 0;
    if (config == FOUNDING_CONFIGURATION) {
        return node->identity.founding_place;
    }
    return constitution != NULL &&
                   constitution_find_replica(constitution, &node->identity.key, &place)
               ? place
               : REPLICAS_MAX;
}

static bool shows_own_vote(struct node *node, const struct join_effect *effect) {
    struct own_place const self = {.context = node, .find = find_own_place};
    return effect->kind == JOIN_EFFECT_ENTRIES &&
           own_vote_in(effect->entries.entries, effect->entries.count, &self);
}

static void store(struct joiner *joiner, const struct join_effect *effect) {
    struct store_job *const store = calloc(1, sizeof *store);
    if (store == NULL) {
        node_fail(joiner->node, "joining from a checkpoint", "out of memory");
        return;
    }
    *store =
        (struct store_job){.job = {.run = run, .done = done}, .joiner = joiner, .effect = *effect};
    store->shows_own_vote = shows_own_vote(joiner->node, effect);
    joiner->jobs++;
    background_add(joiner->node->reader, &store->job);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void begin(struct joiner *joiner, const struct join_effect *effect) {
    log_event(LOG_INFO, "joining from a checkpoint",
              (struct log_field[]){log_number("seq", effect->begin.seq),
                                   log_number("items", effect->begin.state_count),
                                   log_number("entries", effect->begin.end_entry), log_end()});
    joiner->node->resting = true;
    report_from_now_on(joiner);
    store(joiner, effect);
}

/* By these it is judged, and begins, when it starts from the checkpoint. */
static int keep_constitutions(struct node *node, const struct join_effect *effect,
                              struct problem *problem) {
    uint64_t const numbers[] = {effect->complete.config, effect->complete.signed_in};
    for (uint32_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        const struct constitution *const constitution = chain_keeper_find(node, numbers[i]);
        if (numbers[i] == FOUNDING_CONFIGURATION) {
            continue;
        }
        if (constitution == NULL) {
            return problem_set(problem, EXIT_ERROR, "the governance chain is not at hand");
        }
        if (constitution_keep(node, constitution, problem) != 0) {
            return -1;
        }
    }
    return 0;
}

/* Nothing was executed meanwhile: it rested. But what it had asked for before may have come. */
static void complete(struct joiner *joiner, const struct join_effect *effect) {
    struct replica_status status;
    struct problem problem = {0};
    replica_status(joiner->node->replica, &status);
    if (status.entries != 1) {
        give_up(joiner);
        return;
    }
    if (keep_constitutions(joiner->node, effect, &problem) != 0) {
        log_event(LOG_ERROR, "cannot join from a checkpoint; catching up by ranges",
                  (struct log_field[]){log_text("problem", problem.text), log_end()});
        give_up(joiner);
        return;
    }
    joiner->busy = true;
    store(joiner, effect);
}

static void take_links(struct joiner *joiner, const struct join_effect *effect) {
    joiner->busy = chain_keeper_take(joiner->node, effect->links.peer, effect->links.links,
                                     effect->links.count);
    if (!joiner->busy) {
        log_event(LOG_ERROR, "cannot join from a checkpoint; catching up by ranges",
                  (struct log_field[]){
                      log_text("problem", "the governance chain cannot be kept now"), log_end()});
        give_up(joiner);
    }
}

static void not_needed(struct joiner *joiner) {
    log_event(joiner->node->resting ? LOG_WARN : LOG_DEBUG,
              "no checkpoint to join from; catching up by ranges", (struct log_field[]){log_end()});
    give_up(joiner);
}

/* Returns: whether there may be more to carry out. */
static bool carry_out(struct joiner *joiner, const struct join_effect *effect) {
    struct node *const node = joiner->node;
    switch (effect->kind) {
    case JOIN_EFFECT_SEND:
        peers_send(node, effect->send.peer, effect->send.kind, effect->send.payload);
        break;
    case JOIN_EFFECT_LINKS:
        take_links(joiner, effect);
        break;
    case JOIN_EFFECT_CONFIGURATION:
        joiner->leads_to = effect->configuration;
        return false; /* it is the last one */
    case JOIN_EFFECT_BEGIN:
        begin(joiner, effect);
        break;
    case JOIN_EFFECT_LEDGER_BEGIN:
        store(joiner, effect);
        break;
    case JOIN_EFFECT_ITEMS:
    case JOIN_EFFECT_ENTRIES:
        joiner->busy = true;
        store(joiner, effect);
        break;
    case JOIN_EFFECT_COMPLETE:
        complete(joiner, effect);
        break;
    case JOIN_EFFECT_NOT_NEEDED:
        not_needed(joiner);
        break;
    case JOIN_EFFECT_OLDER:
        joiner->busy = true;
        older_take(node, effect->older.range);
        break;
    case JOIN_EFFECT_OLDER_DONE:
        joiner->busy = true;
        older_finish(node);
        break;
    case JOIN_EFFECT_NOTE:
        note(effect);
        break;
    }
    return joiner->join != NULL && !node->stopping;
}

static void on_tick(uv_timer_t *timer) {
    struct join_event event = {.kind = JOIN_EVENT_TICK};
    step(timer->data, &event);
}

static void set_tick(struct joiner *joiner) {
    uint64_t const now_ms = uv_now(&joiner->node->loop);
    uint64_t const at_ms = joiner->busy ? UINT64_MAX : join_deadline(joiner->join);
    if (at_ms == UINT64_MAX) {
        (void)uv_timer_stop(&joiner->tick); /* cannot fail */
        return;
    }
    CHECK(uv_timer_start(&joiner->tick, on_tick, at_ms > now_ms ? at_ms - now_ms : 0, 0) == 0);
}

/* The replica beside an older ledger's join may have gone over to another configuration. */
static void follow_replica(struct joiner *joiner) {
    const struct replica *const replica = joiner->node->replica;
    const struct configuration *const now = replica_configuration(replica);
    if (join_phase(joiner->join) == JOIN_OLDER && now->number != joiner->peers_of) {
        joiner->peers_of = now->number;
        join_set_peers(joiner->join, now->replica_count, replica_self(replica));
    }
}

/* The chain reaches further than it did: those who are in office there are asked from here on. */
static void go_over(struct joiner *joiner) {
    joiner->leads_to = 0;
    joiner_end(joiner->node);
    begin_checkpoint_join(joiner);
}

/* Events that come while the last message is being stored are lost, as they may be on a link. */
static void step(struct joiner *joiner, struct join_event *event) {
    struct node *const node = joiner->node;
    struct replica_status status;
    if (joiner->join == NULL || joiner->busy || node->stopping) {
        return;
    }
    follow_replica(joiner);
    replica_status(node->replica, &status);
    event->now_ms = uv_now(&node->loop);
    event->replica_has_genesis = status.executed_seq == 0 && status.entries == 1;
    event->replica_is_busy = event->now_ms < node->caught_up_ms + CATCHING_UP_MS;
    if (!join_step(joiner->join, event, &joiner->effects)) {
        node_fail(node, "joining from a checkpoint", "out of memory");
        return;
    }
    bool goes_on = true;
    for (uint32_t i = 0; goes_on && i < joiner->effects.count; i++) {
        goes_on = carry_out(joiner, &joiner->effects.items[i]);
    }
    if (joiner->leads_to != 0) {
        go_over(joiner);
    } else if (joiner->join != NULL) {
        set_tick(joiner);
    }
}

/* ---- messages -------------------------------------------------------------------------------- */

enum joiner_answer joiner_take(struct node *node, struct peer_message *message) {
    struct joiner *const joiner = node->joiner;
    struct join_event event = {.kind = JOIN_EVENT_MESSAGE, .message = message};
    bool const for_replica = !node->resting && message->kind < MESSAGE_FETCH_CHECKPOINT;
    if (joiner->waits) {
        bool const is_range = message->kind == MESSAGE_RANGE; /* it would lead away from genesis */
        return for_replica && !is_range ? JOINER_PASSES : JOINER_DROPS;
    }
    if (joiner->join == NULL || message->from >= REPLICAS_MAX) {
        return for_replica ? JOINER_PASSES : JOINER_DROPS;
    }
    if (message->kind == MESSAGE_STATUS) {
        step(joiner, &event);
        return node->resting ? JOINER_DROPS : JOINER_PASSES;
    }
    if (!join_takes(joiner->join, message)) {
        bool const held = message->kind == MESSAGE_RANGE && join_holds_ranges(joiner->join);
        return for_replica && !held ? JOINER_PASSES : JOINER_DROPS;
    }
    if (joiner->busy) {
        return JOINER_DROPS;
    }
    step(joiner, &event);
    if (!joiner->busy) {
        return JOINER_DROPS;
    }
    joiner->held = message;
    return JOINER_KEEPS;
}

void joiner_linked(struct node *node, uint64_t newest, bool good) {
    struct join_event event = {.kind = JOIN_EVENT_LINKED,
                               .linked = {.newest = newest, .good = good}};
    release(node->joiner);
    step(node->joiner, &event);
}

void joiner_peer_up(struct node *node, uint32_t peer) {
    struct join_event event = {.kind = JOIN_EVENT_PEER_UP, .peer = peer};
    if (peer < REPLICAS_MAX) {
        step(node->joiner, &event);
    }
}

void joiner_taken(struct node *node, uint64_t next_entry, bool good) {
    struct join_event event = {.kind = JOIN_EVENT_TAKEN,
                               .taken = {.next_entry = next_entry, .good = good}};
    release(node->joiner);
    step(node->joiner, &event);
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Its first step comes with the next turn of the loop. */
static void begin_join(struct joiner *joiner, const struct join_options *options) {
    joiner->join = join_new(options);
    if (joiner->join == NULL) {
        node_fail(joiner->node, "joining from a checkpoint", "out of memory");
        return;
    }
    set_tick(joiner);
}

static const struct constitution *find_constitution(void *context, uint64_t number) {
    return chain_keeper_find(context, number);
}

/* Whose replicas are asked: of the newest configuration that is proved. */
static const struct configuration *choose_configuration(struct joiner *joiner) {
    struct node *const node = joiner->node;
    uint64_t const newest = chain_keeper_newest(node);
    const struct constitution *const constitution = chain_keeper_find(node, newest);
    if (newest == FOUNDING_CONFIGURATION || constitution == NULL) {
        return &node->identity.founding.configuration;
    }
    constitution_configuration(&joiner->own, constitution);
    node->joining = &joiner->own;
    node->resting = true;
    log_event(LOG_INFO, "joining among the replicas of a later configuration than genesis",
              (struct log_field[]){log_number("config", newest),
                                   log_number("replicas", joiner->own.replica_count), log_end()});
    peers_update(node);
    report_from_now_on(joiner);
    return &joiner->own;
}

static void begin_checkpoint_join(struct joiner *joiner) {
    struct node *const node = joiner->node;
    const struct configuration *const configuration = choose_configuration(joiner);
    uint32_t const self = configuration_find_replica(configuration, &node->identity.key);
    struct join_options const options = {.configuration = configuration,
                                         .self = self,
                                         .is_outsider = self == REPLICAS_MAX,
                                         .chain = {.context = node, .find = find_constitution}};
    begin_join(joiner, &options);
}

void joiner_older(struct node *node, uint64_t next_entry, uint64_t end_entry) {
    struct join_older const older = {.next_entry = next_entry, .end_entry = end_entry};
    struct join_options const options = {.configuration = node->configuration,
                                         .self = REPLICAS_MAX,
                                         .is_outsider = true,
                                         .older = &older};
    joiner_end(node);
    node->joiner->peers_of = 0; /* the first step says who they are */
    log_event(LOG_INFO, "fetching the older ledger",
              (struct log_field[]){log_number("entry", next_entry), log_number("upto", end_entry),
                                   log_end()});
    begin_join(node->joiner, &options);
    report_from_now_on(node->joiner);
}

int joiner_open(struct node *node, struct problem *problem) {
    struct joiner *const joiner = calloc(1, sizeof *joiner);
    if (joiner == NULL) {
        return problem_set(problem, EXIT_ERROR, "set up joining: out of memory");
    }
    node->joiner = joiner;
    joiner->node = node;
    joining_init(&joiner->joining, node);
    CHECK(uv_timer_init(&node->loop, &joiner->tick) == 0); /* neither can fail */
    CHECK(uv_timer_init(&node->loop, &joiner->report) == 0);
    joiner->tick.data = joiner;
    joiner->report.data = joiner;
    return 0;
}

void joiner_start(struct node *node) {
    if (!is_at_genesis(node) || node->stopping) {
        return;
    }
    node->joiner->waits = !chain_keeper_is_open(node);
    if (!node->joiner->waits) {
        begin_checkpoint_join(node->joiner);
    }
}

void joiner_chain_opened(struct node *node) {
    if (node->joiner->waits) {
        node->joiner->waits = false;
        begin_checkpoint_join(node->joiner);
    }
}

void joiner_stop(struct node *node) {
    joiner_end(node);
    uv_close((uv_handle_t *)&node->joiner->tick, NULL);
    uv_close((uv_handle_t *)&node->joiner->report, NULL);
}

void joiner_free(struct node *node) {
    if (node->joiner != NULL) {
        CHECK(node->joiner->jobs == 0); /* the reader's thread has given all back */
        joining_free(&node->joiner->joining);
        free(node->joiner);
        node->joiner = NULL;
    }
}
