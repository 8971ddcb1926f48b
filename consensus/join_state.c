/*
 * join_state: the state of a checkpoint, fetched in parts (protocol §7): first the digests of all
 * groups, which together hash to the signed root; then the items, each message of which is held
 * against them. So a wrong message costs its sender's turn and one message's work.
 *
 * The state says itself which constitution was decided last. That is held against the governance
 * chain: if they part, those who signed the state and those who signed the chain are more than f
 * who lied, and nobody begins with that.
 */
#include "base/check.h"
#include "consensus/join_internal.h"
#include "governance/ballot.h"

static uint64_t groups_total(const struct join *join) {
    return state_group_count(join->header.state_count);
}

static const struct digest *digests_of(const struct join *join) {
    return (const struct digest *)(const void *)join->digests.data;
}

void join_state_begin(struct join *join) {
    buffer_clear(&join->digests);
    buffer_clear(&join->last_key);
    join->next_group = 0;
    join->governs = false;
    join->phase = JOIN_DIGESTS;
}

/* ---- what it says of governance -------------------------------------------------------------- */

/* Must it name a constitution, and is there a chain to hold that against? */
static bool must_govern(const struct join *join) {
    return join->header.config > FOUNDING_CONFIGURATION && join->chain.find != NULL;
}

/* Is this what the chain says? The one decided is in force, or follows when that one ends. */
static bool decided_holds(struct join *join, struct span value) {
    struct decided decided;
    struct digest digest;
    arena_reset(&join->scratch);
    if (decided_decode(&decided, &join->scratch, value) != CODEC_OK) {
        return false;
    }
    uint64_t const next = join->header.config + (join->header.closing_seq != 0 ? 1 : 0);
    const struct constitution *const constitution =
        join->chain.find(join->chain.context, decided.number);
    return decided.number == next &&
           (constitution == NULL || (constitution_digest(&digest, constitution) &&
                                     digest_equal(&digest, &decided.constitution)));
}

static bool items_govern(struct join *join, const struct checkpoint_items_message *message) {
    for (uint32_t i = 0; i < message->count && must_govern(join); i++) {
        if (span_equal(message->items[i].key, span_text(BALLOT_KEY_DECIDED))) {
            join->governs = decided_holds(join, message->items[i].value);
            return join->governs;
        }
    }
    return true;
}

/* ---- its parts ------------------------------------------------------------------------------- */

/* All digests are here: are they those of the state? Then its items are next. */
static bool digests_hold(struct join *join) {
    if (!state_groups_hold(digests_of(join), groups_total(join), join->header.state_count,
                           &join->header.state_root)) {
        buffer_clear(&join->digests);
        join_bar_source(join, JOIN_NOTE_DIGESTS_REFUSED);
        return false;
    }
    join->phase = JOIN_STATE;
    return true;
}

void join_state_ask(struct join *join) {
    bool const is_empty = join->phase == JOIN_DIGESTS && groups_total(join) == 0;
    if (is_empty && !digests_hold(join)) {
        return;
    }
    if (join->phase == JOIN_DIGESTS) {
        /* One peer for all of them: if they do not hold, it is known who was wrong. */
        buffer_clear(&join->digests);
        join_fetch_part(join, join->source, CHECKPOINT_DIGESTS, 0);
        join_begin_waiting(join);
    } else if (join->next_group < groups_total(join)) {
        join_fetch_part(join, join->source, CHECKPOINT_ITEMS, join->next_group);
        join_begin_waiting(join);
    } else if (must_govern(join) && !join->governs) {
        join_bar_source(join, JOIN_NOTE_STATE_REFUSED);
    } else {
        join_ledger_begin(join);
    }
}

void join_on_digests(struct join *join, const struct checkpoint_digests_message *message) {
    uint64_t const have = join->digests.size / DIGEST_SIZE;
    if (join->phase != JOIN_DIGESTS || !join->is_asked || message->seq != join->seq ||
        message->first_group != have) {
        return;
    }
    if (message->count == 0) {
        join_lose_turn(join);
        return;
    }
    if (message->count > groups_total(join) - have) {
        join_bar_source(join, JOIN_NOTE_DIGESTS_REFUSED);
        return;
    }
    if (!buffer_append(&join->digests,
                       span_of(message->digests, (size_t)message->count * DIGEST_SIZE))) {
        join->failed = true;
        return;
    }
    join_progress_made(join);
    if (have + message->count == groups_total(join)) {
        if (digests_hold(join)) {
            join_state_ask(join);
        }
    } else {
        join_fetch_part(join, join->source, CHECKPOINT_DIGESTS, have + message->count);
        join_begin_waiting(join);
    }
}

void join_on_items(struct join *join, const struct checkpoint_items_message *message) {
    if (join->phase != JOIN_STATE || !join->is_asked || message->seq != join->seq ||
        message->first_group != join->next_group) {
        return;
    }
    if (message->count == 0) {
        join_lose_turn(join);
        return;
    }
    struct state_groups const groups = {.digests = digests_of(join),
                                        .item_count = join->header.state_count,
                                        .first_group = join->next_group,
                                        .last_key = buffer_span(&join->last_key)};
    uint64_t const whole = state_groups_check(&groups, message->items, message->count);
    if (whole == 0) {
        join_bar_source(join, JOIN_NOTE_ITEMS_REFUSED);
        return;
    }
    if (!items_govern(join, message)) {
        join_bar_source(join, JOIN_NOTE_STATE_REFUSED);
        return;
    }
    struct join_effect *const effect = join_effect_add(join, JOIN_EFFECT_ITEMS);
    effect->items.first_group = join->next_group;
    effect->items.count = message->count;
    effect->items.items = message->items;
    join->next_group += whole;
    buffer_clear(&join->last_key);
    join->failed |= !buffer_append(&join->last_key, message->items[message->count - 1].key);
    join_progress_made(join);
    join->is_storing = true;
}

void join_state_stored(struct join *join) {
    join->is_storing = false;
    join_state_ask(join);
}
