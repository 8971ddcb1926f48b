/*
 * joiner: see joiner.h.
 *
 * Invariants: while `busy`, a job or older.h reads what the last step pointed to, and the join is
 * not stepped; `held` is the message it points into. What the reader's thread builds is its alone
 * while jobs are on their way. A failure of the disk ends this attempt: the replica then catches up
 * by ranges, or the next start tries again.
 */
#include "node/joiner.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "consensus/join.h"
#include "governance/founding.h"
#include "node/joining.h"
#include "node/node.h"
#include "node/older.h"

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
    bool told_later;           /* the log was, of checkpoints that cannot be joined from */
    struct peer_message *held; /* what is being stored or judged points into it; or NULL */
    uint32_t jobs;             /* on their way through the reader's thread */
    struct joining joining;    /* that thread's while there are any */
};

/* One thing to be written. What the effect points to lives until the next step. */
struct store_job {
    struct background_job job;
    struct joiner *joiner;
    struct join_effect effect;
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

/* The replica takes part, as it is. */
static void wake_replica(struct node *node) {
    struct event event = {.kind = EVENT_TICK};
    if (node->resting) {
        node->resting = false;
        node_step(node, &event);
    }
}

/* ---- for the operator ------------------------------------------------------------------------ */

static void note(const struct join_effect *effect) {
    static const char *const reasons[] = {
        [JOIN_NOTE_OFFER_TAKEN] = "",
        [JOIN_NOTE_OFFER_REFUSED] = "its checkpoint is not one that a quorum signed",
        [JOIN_NOTE_DIGESTS_REFUSED] = "its digests do not lead to the state's root",
        [JOIN_NOTE_ITEMS_REFUSED] = "its items are not those of the state",
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
    case JOIN_NOTE_OFFER_REFUSED:
    case JOIN_NOTE_DIGESTS_REFUSED:
    case JOIN_NOTE_ITEMS_REFUSED:
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
    if (node->resting) {
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
    const struct configuration *const configuration = &node->identity.founding.configuration;
    struct status_message const status = {.config = configuration->number};
    buffer_clear(&node->scratch);
    if (!status_message_encode(&node->scratch, &status)) {
        return; /* the next will do as well */
    }
    for (uint32_t peer = 0; peer < configuration->replica_count; peer++) {
        if (peer != node->identity.founding_place) {
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
    store->result = joining_carry_out(&store->joiner->joining, &store->effect, &store->problem);
}

static void store(struct joiner *joiner, const struct join_effect *effect);

/* This attempt is over, and the replica catches up by ranges. */
static void give_up(struct joiner *joiner) {
    struct join_effect const clean = {.kind = JOIN_EFFECT_NOT_NEEDED};
    store(joiner, &clean);
    joiner_end(joiner->node);
    wake_replica(joiner->node);
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

static void store(struct joiner *joiner, const struct join_effect *effect) {
    struct store_job *const store = calloc(1, sizeof *store);
    if (store == NULL) {
        node_fail(joiner->node, "joining from a checkpoint", "out of memory");
        return;
    }
    *store =
        (struct store_job){.job = {.run = run, .done = done}, .joiner = joiner, .effect = *effect};
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

/* Nothing was executed meanwhile: it rested. But what it had asked for before may have come. */
static void complete(struct joiner *joiner, const struct join_effect *effect) {
    struct replica_status status;
    replica_status(joiner->node->replica, &status);
    if (status.entries != 1) {
        give_up(joiner);
        return;
    }
    joiner->busy = true;
    store(joiner, effect);
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

/* Events that come while the last message is being stored are lost, as they may be on a link. */
static void step(struct joiner *joiner, struct join_event *event) {
    struct node *const node = joiner->node;
    struct replica_status status;
    if (joiner->join == NULL || joiner->busy || node->stopping) {
        return;
    }
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
    if (joiner->join != NULL) {
        set_tick(joiner);
    }
}

/* ---- messages -------------------------------------------------------------------------------- */

/* Is it an offer of a checkpoint that was made after the founding configuration? */
static bool is_later_offer(const struct peer_message *message) {
    struct checker_snapshot snapshot;
    struct checkpoint_header header = {.config = 0};
    struct arena arena;
    if (message->kind != MESSAGE_CHECKPOINT_OFFER || message->checkpoint_offer.seq == 0) {
        return false;
    }
    arena_init(&arena, 2 * (size_t)SNAPSHOT_SIZE_MAX);
    bool const decodes = checker_snapshot_decode(&snapshot, &arena,
                                                 message->checkpoint_offer.snapshot) == CODEC_OK &&
                         checkpoint_header_decode(&header, &arena, snapshot.header) == CODEC_OK;
    arena_free(&arena);
    return decodes && header.config > FOUNDING_CONFIGURATION;
}

/* Who signed for such a checkpoint is known only to those who have followed from genesis. */
static void pass_over(struct joiner *joiner, const struct peer_message *message) {
    if (!joiner->told_later) {
        joiner->told_later = true;
        log_event(LOG_WARN,
                  "the peers' checkpoints are of a later configuration than genesis: this replica "
                  "cannot join from one, and follows from genesis on, which takes longer",
                  (struct log_field[]){log_number("peer", message->from),
                                       log_number("seq", message->checkpoint_offer.seq),
                                       log_end()});
    }
}

enum joiner_answer joiner_take(struct node *node, struct peer_message *message) {
    struct joiner *const joiner = node->joiner;
    struct join_event event = {.kind = JOIN_EVENT_MESSAGE, .message = message};
    bool const for_replica = !node->resting && message->kind < MESSAGE_FETCH_CHECKPOINT;
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
    if (is_later_offer(message)) {
        pass_over(joiner, message);
        return JOINER_DROPS;
    }
    step(joiner, &event);
    if (!joiner->busy) {
        return JOINER_DROPS;
    }
    joiner->held = message;
    return JOINER_KEEPS;
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

static void begin_join(struct joiner *joiner, const struct join_older *older) {
    struct node *const node = joiner->node;
    struct join_event first = {.kind = JOIN_EVENT_TICK};
    struct join_options const options = {.configuration = &node->identity.founding.configuration,
                                         .self = node->identity.founding_place,
                                         .older = older};
    joiner->join = join_new(&options);
    if (joiner->join == NULL) {
        node_fail(node, "joining from a checkpoint", "out of memory");
        return;
    }
    step(joiner, &first);
}

void joiner_older(struct node *node, uint64_t next_entry, uint64_t end_entry) {
    struct join_older const older = {.next_entry = next_entry, .end_entry = end_entry};
    joiner_end(node);
    log_event(LOG_INFO, "fetching the older ledger",
              (struct log_field[]){log_number("entry", next_entry), log_number("upto", end_entry),
                                   log_end()});
    begin_join(node->joiner, &older);
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
    struct replica_status status;
    replica_status(node->replica, &status);
    /* One that is not of the founding configuration follows from genesis on. */
    if (status.entries == 1 && !node->beginning.present && !node->stopping &&
        node->identity.founding_place != REPLICAS_MAX) {
        begin_join(node->joiner, NULL);
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
