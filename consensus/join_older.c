/*
 * join_older: what lies before the ledger of a replica that began with a checkpoint, fetched beside
 * its work (protocol §7). Peers are asked in turn, one range at a time; what came is judged
 * elsewhere (execution/history.h), and the next is asked for when that is done.
 *
 * Nobody is barred for good: a peer may lack these entries today and have them tomorrow.
 */
#include "base/check.h"
#include "consensus/join_internal.h"

#define BUSY_MS 200u /* the replica catches up: look again after this */

static void pause_peer(struct join *join, uint64_t ms) {
    join->peers[join->source].after_ms = join->now_ms + ms;
    join->is_asked = false;
}

/* It has nothing, or is slow. */
static void was_useless(struct join *join) {
    pause_peer(join, JOIN_PAUSE_MS);
}

/* What it sent broke a rule. */
static void was_wrong(struct join *join) {
    if (join->source == REPLICAS_MAX) {
        return; /* nobody knows any more who it was */
    }
    struct candidate *const peer = &join->peers[join->source];
    peer->was_wrong = true;
    pause_peer(join, peer->pause_ms);
    peer->pause_ms *= 2;
    if (peer->pause_ms > JOIN_PAUSE_MS_MAX) {
        peer->pause_ms = JOIN_PAUSE_MS_MAX;
    }
    join_note(join, JOIN_NOTE_OLDER_REFUSED, join->source, join->older.next_entry);
}

/* The next peer that may be asked now, beginning with whoever served last. */
static bool find_source(struct join *join) {
    uint32_t const count = join->peer_count;
    uint32_t const first = join->source < count ? join->source : 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t const peer = (first + i) % count;
        if (peer != join->self && join->now_ms >= join->peers[peer].after_ms) {
            join->source = peer;
            return true;
        }
    }
    return false;
}

static void ask(struct join *join, bool replica_is_busy) {
    join->ask_due_ms = join->now_ms + BUSY_MS;
    if (!join->is_asked && !join->is_storing && !replica_is_busy && find_source(join)) {
        join_fetch_range(join, join->source, join->older.next_entry);
        join_begin_waiting(join);
    }
}

static void on_range(struct join *join, const struct range_message *range) {
    if (range->count == 0) {
        was_useless(join);
        return;
    }
    join->is_asked = false;
    join->is_storing = true;
    struct join_effect *const effect = join_effect_add(join, JOIN_EFFECT_OLDER);
    effect->older.peer = join->source;
    effect->older.range = range;
}

static void on_taken(struct join *join, uint64_t next_entry, bool good) {
    CHECK(join->is_storing && next_entry >= join->older.next_entry &&
          next_entry <= join->older.end_entry);
    join->is_storing = false;
    bool const has_gained = next_entry > join->older.next_entry;
    join->older.next_entry = next_entry;
    if (!good || !has_gained) {
        was_wrong(join);
    }
}

/* A link came up: what it could not do before it may do now, unless that was to tell the truth. */
static void on_peer_up(struct join *join, uint32_t peer) {
    if (peer < join->peer_count && !join->peers[peer].was_wrong) {
        join->peers[peer].after_ms = 0;
    }
}

void join_set_peers(struct join *join, uint32_t count, uint32_t self) {
    CHECK(join->phase == JOIN_OLDER && count <= REPLICAS_MAX);
    join->peer_count = count;
    join->self = self;
    join->source = REPLICAS_MAX;
    join->is_asked = false;
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        join->peers[i].after_ms = 0;
        join->peers[i].pause_ms = JOIN_PAUSE_MS;
        join->peers[i].was_wrong = false;
    }
}

void join_older_step(struct join *join, const struct join_event *event) {
    switch (event->kind) {
    case JOIN_EVENT_TICK:
        if (join->is_asked && join->now_ms >= join->deadline_ms) {
            was_useless(join);
        }
        break;
    case JOIN_EVENT_PEER_UP:
        on_peer_up(join, event->peer);
        break;
    case JOIN_EVENT_MESSAGE:
        if (event->message->kind == MESSAGE_RANGE && join_takes(join, event->message)) {
            on_range(join, &event->message->range);
        }
        break;
    case JOIN_EVENT_LINKED:
    case JOIN_EVENT_STORED:
        break; /* of a checkpoint */
    case JOIN_EVENT_TAKEN:
        on_taken(join, event->taken.next_entry, event->taken.good);
        break;
    }
    if (join->older.next_entry == join->older.end_entry) {
        (void)join_effect_add(join, JOIN_EFFECT_OLDER_DONE);
        join->phase = JOIN_FINISHED;
        return;
    }
    ask(join, event->replica_is_busy);
}

uint64_t join_older_deadline(const struct join *join) {
    if (join->is_storing) {
        return UINT64_MAX;
    }
    return join->is_asked ? join->deadline_ms : join->ask_due_ms;
}
