/*
 * join: see join.h. Here: whether a checkpoint is needed, which one, and whose turn it is.
 *
 * The choice is made once everybody was heard, or one patience after the first offer of use: the
 * peers that cost least so far come first, of those the newest checkpoint, of equals the lowest id.
 */
#include "consensus/join_internal.h"

#include <stdlib.h>

#include "base/check.h"

#define ARENA_BUDGET (1u << 20)
#define SCRATCH_BUDGET (4 * (size_t)ENTRY_SIZE_MAX)
#define OFFER_SIZE_MAX (128u << 10)
#define PATIENCE_DOUBLINGS_MAX 4u
#define NOBODY REPLICAS_MAX
#define LONG_INTERVALS                                                                             \
    5u /* who has run for so many has a checkpoint to offer that is far ahead                      \
        */

/* ---- making one ------------------------------------------------------------------------------ */

struct join *join_new(const struct join_options *options) {
    struct join *const join = calloc(1, sizeof *join);
    if (join == NULL) {
        return NULL;
    }
    join->configuration = options->configuration;
    join->chain = options->chain;
    join->newest = options->configuration->number;
    join->self = options->self;
    join->audits = options->self == REPLICAS_MAX && !options->is_outsider;
    join->peer_count = options->configuration->replica_count;
    join->retry_ms = options->retry_ms == 0 ? JOIN_RETRY_MS : options->retry_ms;
    join->source = NOBODY;
    if (options->older != NULL) {
        CHECK(options->older->next_entry <= options->older->end_entry);
        join->phase = JOIN_OLDER;
        join->older = *options->older;
    }
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        buffer_init(&join->peers[i].offer, OFFER_SIZE_MAX);
        join->peers[i].pause_ms = JOIN_PAUSE_MS;
    }
    buffer_init(&join->digests, (size_t)JOIN_GROUPS_MAX * DIGEST_SIZE);
    buffer_init(&join->last_key, KEY_SIZE_MAX);
    batch_init(&join->batch);
    tree_init(&join->tree);
    arena_init(&join->scratch, SCRATCH_BUDGET);
    arena_init(&join->arena, ARENA_BUDGET);
    arena_init(&join->entries.arena, 0);
    return join;
}

void join_free(struct join *join) {
    if (join == NULL) {
        return;
    }
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        buffer_free(&join->peers[i].offer);
    }
    join_entries_free(&join->entries);
    free(join->judged);
    buffer_free(&join->digests);
    buffer_free(&join->last_key);
    batch_free(&join->batch);
    tree_free(&join->tree);
    arena_free(&join->scratch);
    arena_free(&join->arena);
    free(join);
}

/* ---- effects --------------------------------------------------------------------------------- */

struct join_effect *join_effect_add(struct join *join, enum join_effect_kind kind) {
    CHECK(join->effects->count < JOIN_EFFECTS_MAX);
    struct join_effect *const effect = &join->effects->items[join->effects->count++];
    *effect = (struct join_effect){.kind = kind};
    return effect;
}

void join_note(struct join *join, enum join_note_kind kind, uint32_t peer, uint64_t seq) {
    struct join_effect *const effect = join_effect_add(join, JOIN_EFFECT_NOTE);
    effect->note.kind = kind;
    effect->note.peer = peer;
    effect->note.seq = seq;
}

void join_send(struct join *join, uint32_t peer, enum message_kind kind, struct span payload) {
    struct span const kept = arena_copy(&join->arena, payload);
    if (kept.size != payload.size || (payload.size != 0 && kept.data == NULL)) {
        join->failed = true;
        return;
    }
    struct join_effect *const effect = join_effect_add(join, JOIN_EFFECT_SEND);
    effect->send.peer = peer;
    effect->send.kind = kind;
    effect->send.payload = kept;
}

void join_fetch_range(struct join *join, uint32_t peer, uint64_t first_entry) {
    uint8_t memory[64];
    struct buffer encoded;
    buffer_init_on(&encoded, memory, sizeof memory);
    join->failed |= !fetch_range_message_encode(&encoded, first_entry);
    join_send(join, peer, MESSAGE_FETCH_RANGE, buffer_span(&encoded));
}

void join_fetch_part(struct join *join, uint32_t peer, enum checkpoint_part part,
                     uint64_t first_group) {
    uint8_t memory[64];
    struct buffer encoded;
    buffer_init_on(&encoded, memory, sizeof memory);
    struct fetch_checkpoint_message const message = {
        .part = part,
        .seq = part == CHECKPOINT_OFFER ? 0 : join->seq,
        .first_group = first_group,
    };
    join->failed |= !fetch_checkpoint_message_encode(&encoded, &message);
    join_send(join, peer, MESSAGE_FETCH_CHECKPOINT, buffer_span(&encoded));
}

/* ---- turns ----------------------------------------------------------------------------------- */

void join_begin_waiting(struct join *join) {
    join->is_asked = true;
    join->deadline_ms = join->now_ms + (join->retry_ms << join->patience);
}

void join_progress_made(struct join *join) {
    join->is_asked = false;
    join->patience = 0;
}

static void end_turn(struct join *join) {
    join->is_asked = false;
    join->turn_is_over = true;
}

void join_bar_source(struct join *join, enum join_note_kind why) {
    join->peers[join->source].barred = true;
    join_note(join, why, join->source, why == JOIN_NOTE_LINKS_REFUSED ? join->newest : join->seq);
    end_turn(join);
}

void join_lose_turn(struct join *join) {
    struct candidate *const peer = &join->peers[join->source];
    peer->lost_turn = true;
    peer->turns_lost++;
    join->patience += join->patience < PATIENCE_DOUBLINGS_MAX;
    join_note(join, JOIN_NOTE_SLOW, join->source, join->seq);
    end_turn(join);
}

/* ---- offers ---------------------------------------------------------------------------------- */

const struct configuration *join_configuration(struct join *join, uint64_t number) {
    if (number == join->configuration->number || join->chain.find == NULL) {
        return join->configuration; /* without a chain, nothing else is known */
    }
    const struct constitution *const constitution = join->chain.find(join->chain.context, number);
    if (join->judged == NULL) {
        join->judged = malloc(sizeof *join->judged);
        join->failed |= join->judged == NULL;
    }
    if (constitution == NULL || join->judged == NULL) {
        return NULL;
    }
    constitution_configuration(join->judged, constitution);
    return join->judged;
}

bool join_offer_holds(struct join *join, struct offer *out, struct arena *arena,
                      const struct checkpoint_offer_message *message) {
    struct offer_configs configs;
    if (!offer_find_configs(&configs, arena, message)) {
        return false;
    }
    const struct configuration *const signers = join_configuration(join, configs.signed_in);
    return signers != NULL && offer_verify(out, arena, signers, message);
}

static bool may_serve(const struct candidate *peer) {
    return peer->seq != 0 && !peer->barred && !peer->lost_turn;
}

/* Does a go before b? Both may serve, and b has the lower id. */
static bool goes_before(const struct candidate *a, const struct candidate *b) {
    return a->turns_lost != b->turns_lost ? a->turns_lost < b->turns_lost : a->seq > b->seq;
}

/* The best of all, or of those that offer the checkpoint chosen. NOBODY: there is none. */
static uint32_t choose(const struct join *join, bool only_chosen) {
    uint32_t best = NOBODY;
    for (uint32_t i = 0; i < join->peer_count; i++) {
        const struct candidate *const peer = &join->peers[i];
        bool const fits =
            !only_chosen || (peer->seq == join->seq && digest_equal(&peer->digest, &join->digest));
        if (may_serve(peer) && fits && (best == NOBODY || goes_before(peer, &join->peers[best]))) {
            best = i;
        }
    }
    return best;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void ask_for_offer(struct join *join, uint32_t peer) {
    if (peer != join->self && !join->peers[peer].answered && !join->peers[peer].barred) {
        join_fetch_part(join, peer, CHECKPOINT_OFFER, 0);
    }
}

static void ask_all(struct join *join) {
    join->ask_due_ms = join->now_ms + join->retry_ms;
    for (uint32_t i = 0; i < join->peer_count; i++) {
        ask_for_offer(join, i);
    }
}

static void begin_round(struct join *join) {
    join->resume_phase = join->phase;
    join->phase = JOIN_ASKING;
    join->answered_ms = 0;
    join->offered_ms = 0;
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        struct candidate *const peer = &join->peers[i];
        peer->answered = false;
        peer->has_none = false;
        peer->has_nothing = false;
        peer->lost_turn = false;
        peer->leads_to = 0;
        peer->seq = 0;
    }
    ask_all(join);
}

static void not_needed(struct join *join) {
    (void)join_effect_add(join, JOIN_EFFECT_NOT_NEEDED);
    join->phase = JOIN_FINISHED;
}

/*
 * Is this checkpoint, or ledger, so far ahead that ranges are the longer way? An auditor weighs no
 * ways, but an audit from the first checkpoint on begins at genesis.
 */
static bool is_far_ahead(const struct join *join, uint64_t seq) {
    uint64_t const intervals = join->audits ? 1 : 2;
    return seq > intervals * join->configuration->parameters.checkpoint_interval;
}

static void go_on(struct join *join) {
    if (join->phase == JOIN_LEDGER) {
        join_ledger_begin(join);
    } else {
        join_state_ask(join);
    }
}

/* A checkpoint is chosen. If it is that of the last round, what is here stays. */
static void begin(struct join *join, uint32_t source) {
    const struct candidate *const peer = &join->peers[source];
    bool const same =
        join->has_begun && peer->seq == join->seq && digest_equal(&peer->digest, &join->digest);
    join->source = source;
    join_note(join, JOIN_NOTE_OFFER_TAKEN, source, peer->seq);
    if (same) {
        join->phase = join->resume_phase;
        go_on(join);
        return;
    }
    struct checkpoint_offer_message message;
    struct offer_configs configs;
    struct offer offer;
    arena_reset(&join->scratch);
    /* It was verified when it came, and is the same. */
    CHECK(checkpoint_offer_message_decode(&message, &join->scratch, buffer_span(&peer->offer)) ==
          CODEC_OK);
    if (!offer_find_configs(&configs, &join->scratch, &message) ||
        !join_offer_holds(join, &offer, &join->scratch, &message)) {
        join->failed = true;
        return;
    }
    join->has_begun = true;
    join->seq = offer.seq;
    join->digest = offer.digest;
    join->header = offer.header;
    join->signed_in = configs.signed_in;
    struct join_effect *const effect = join_effect_add(join, JOIN_EFFECT_BEGIN);
    effect->begin.seq = offer.seq;
    effect->begin.state_count = offer.header.state_count;
    effect->begin.state_root = offer.header.state_root;
    effect->begin.end_entry = offer.header.entries;
    join_state_begin(join);
    join_state_ask(join);
}

/*
 * Has this peer nothing that is worth a checkpoint? How long its ledger is, it says a moment after
 * it has answered, perhaps; who never says so is not waited for.
 */
static bool is_against(const struct join *join, const struct candidate *peer) {
    bool const may_be_long = peer->has_nothing && !peer->is_far && !peer->is_near &&
                             join->now_ms < join->answered_ms + join->retry_ms;
    return (peer->has_none && !may_be_long) || peer->is_near;
}

/* How many peers have nothing that is worth a checkpoint, and was everybody heard? */
static uint32_t count_against(const struct join *join, bool *all_heard) {
    uint32_t against = 0;
    *all_heard = true;
    for (uint32_t i = 0; i < join->peer_count; i++) {
        const struct candidate *const peer = &join->peers[i];
        if (i == join->self || peer->barred) {
            continue;
        }
        against += is_against(join, peer);
        *all_heard &= peer->answered;
    }
    return against;
}

static void decide(struct join *join, bool replica_has_genesis) {
    bool all_heard = false;
    uint32_t const against = count_against(join, &all_heard);
    uint32_t const best = choose(join, false);
    uint32_t const lead = join_links_choose(join);
    bool const is_under_way = !join->has_begun && !replica_has_genesis;
    bool const is_tired =
        join->answered_ms != 0 && join->now_ms >= join->answered_ms + JOIN_PATIENCE_MS;
    /* An auditor has no other way: one offer that holds is enough for it, so it hears them all. */
    bool const is_outvoted = join->audits ? all_heard : against > join->configuration->faults_max;
    bool const is_settled = all_heard || join->now_ms >= join->offered_ms + join->retry_ms;
    /* Who has led nowhere has another try when nothing else is left, and there is time. */
    bool const is_led = lead != NOBODY && (join->peers[lead].turns_lost == 0 ||
                                           (best == NOBODY && !is_tired && !is_outvoted));
    if (is_led && !is_under_way) {
        if (is_settled) {
            join_links_begin(join, lead);
        }
    } else if (best != NOBODY && !is_under_way) {
        if (is_settled) {
            begin(join, best);
        }
    } else if (is_under_way || is_tired || is_outvoted) {
        not_needed(join);
    }
}

/* The turn of one is over: another that offers the same, or all are asked again. */
static void next_turn(struct join *join) {
    if (join->phase == JOIN_LINKS) {
        join_links_turn_over(join);
        return;
    }
    uint32_t const next = choose(join, true);
    if (next == NOBODY) {
        begin_round(join);
        return;
    }
    join->source = next;
    go_on(join);
}

/* ---- messages -------------------------------------------------------------------------------- */

static void keep_offer(struct join *join, uint32_t from,
                       const struct checkpoint_offer_message *message, const struct offer *offer) {
    struct candidate *const peer = &join->peers[from];
    buffer_clear(&peer->offer);
    if (!checkpoint_offer_message_encode(&peer->offer, message)) {
        join->failed = true;
        return;
    }
    peer->seq = offer->seq;
    peer->digest = offer->digest;
    join->offered_ms = join->offered_ms == 0 ? join->now_ms : join->offered_ms;
}

/*
 * One that has nothing to offer, though its ledger is so long, has started a short while ago: that
 * is no reason to go the longer way, and it may have something soon.
 */
static void ask_again_if_long(struct candidate *peer) {
    if (peer->has_nothing && peer->is_long) {
        peer->has_nothing = false;
        peer->has_none = false;
        peer->answered = false;
    }
}

static void on_offer(struct join *join, uint32_t from,
                     const struct checkpoint_offer_message *message) {
    struct candidate *const peer = &join->peers[from];
    if (join->phase != JOIN_ASKING || peer->answered || peer->barred) {
        return;
    }
    peer->answered = true;
    if (!is_far_ahead(join, message->seq)) {
        peer->has_none = true;
        peer->has_nothing = message->seq == 0;
        ask_again_if_long(peer);
        return;
    }
    struct offer_configs configs;
    struct offer offer;
    arena_reset(&join->scratch);
    bool const decodes = offer_find_configs(&configs, &join->scratch, message);
    bool const is_later = decodes && join->chain.find != NULL && configs.signed_in > join->newest &&
                          configs.signed_in <= CHAIN_LINKS_MAX + 1;
    arena_reset(&join->scratch);
    if (is_later) {
        join_links_lead(join, from, configs.signed_in);
    } else if (decodes && join_offer_holds(join, &offer, &join->scratch, message)) {
        keep_offer(join, from, message, &offer);
    } else {
        peer->barred = true;
        join_note(join, JOIN_NOTE_OFFER_REFUSED, from, message->seq);
    }
}

static void on_status(struct join *join, uint32_t from, const struct status_message *status) {
    struct candidate *const peer = &join->peers[from];
    peer->is_far = is_far_ahead(join, status->executed_seq);
    peer->is_near = !peer->is_far;
    peer->is_long =
        status->executed_seq > LONG_INTERVALS * join->configuration->parameters.checkpoint_interval;
    ask_again_if_long(peer);
}

static void on_message(struct join *join, const struct peer_message *message) {
    uint32_t const from = message->from;
    if (from == join->self || from >= join->peer_count) {
        return;
    }
    if (join->answered_ms == 0) {
        join->answered_ms = join->now_ms;
    }
    if (message->kind == MESSAGE_STATUS) {
        on_status(join, from, &message->status);
    } else if (message->kind == MESSAGE_CHECKPOINT_OFFER) {
        on_offer(join, from, &message->checkpoint_offer);
    } else if (from != join->source || join->is_storing) {
        return; /* of a turn that is over */
    } else if (message->kind == MESSAGE_CHAIN_REPLY) {
        join_on_links(join, &message->chain_reply);
    } else if (message->kind == MESSAGE_CHECKPOINT_DIGESTS) {
        join_on_digests(join, &message->checkpoint_digests);
    } else if (message->kind == MESSAGE_CHECKPOINT_ITEMS) {
        join_on_items(join, &message->checkpoint_items);
    } else if (join_takes(join, message)) {
        join_on_entries(join, &message->range);
    }
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void on_stored(struct join *join) {
    CHECK(join->is_storing);
    if (join->phase == JOIN_STATE) {
        join_state_stored(join);
    } else if (join->phase == JOIN_LEDGER) {
        join_ledger_stored(join);
    }
}

static void on_tick(struct join *join) {
    if (join->phase == JOIN_ASKING && join->now_ms >= join->ask_due_ms) {
        ask_all(join);
    } else if (join->is_asked && join->now_ms >= join->deadline_ms) {
        join_lose_turn(join);
    }
}

static void step(struct join *join, const struct join_event *event) {
    if (!join->has_started) {
        join->has_started = true;
        ask_all(join);
    }
    switch (event->kind) {
    case JOIN_EVENT_TICK:
        on_tick(join);
        break;
    case JOIN_EVENT_PEER_UP:
        if (join->phase == JOIN_ASKING && event->peer < join->peer_count) {
            ask_for_offer(join, event->peer);
        }
        break;
    case JOIN_EVENT_MESSAGE:
        on_message(join, event->message);
        break;
    case JOIN_EVENT_LINKED:
        join_on_linked(join, event->linked.newest, event->linked.good);
        break;
    case JOIN_EVENT_STORED:
        on_stored(join);
        break;
    case JOIN_EVENT_TAKEN:
        break; /* of the older ledger */
    }
    while (join->turn_is_over && !join->failed) {
        join->turn_is_over = false;
        next_turn(join);
    }
    if (join->phase == JOIN_ASKING) {
        decide(join, event->replica_has_genesis);
    }
}

bool join_step(struct join *join, const struct join_event *event, struct join_effects *effects) {
    effects->count = 0;
    join->effects = effects;
    join->now_ms = event->now_ms;
    arena_reset(&join->arena);
    if (join->phase == JOIN_OLDER) {
        join_older_step(join, event);
    } else if (join->phase != JOIN_FINISHED) {
        step(join, event);
    }
    join->effects = NULL;
    return !join->failed;
}

uint64_t join_deadline(const struct join *join) {
    if (join->phase == JOIN_OLDER) {
        return join_older_deadline(join);
    }
    if (join->phase == JOIN_FINISHED || join->is_storing) {
        return UINT64_MAX;
    }
    if (join->phase != JOIN_ASKING) {
        return join->is_asked ? join->deadline_ms : UINT64_MAX;
    }
    uint64_t due = join->ask_due_ms;
    uint64_t const offered = join->offered_ms + join->retry_ms;
    uint64_t const answered = join->answered_ms + JOIN_PATIENCE_MS;
    due = join->offered_ms != 0 && offered < due ? offered : due;
    return join->answered_ms != 0 && answered < due ? answered : due;
}

/* ---- questions ------------------------------------------------------------------------------- */

enum join_phase join_phase(const struct join *join) {
    return join->phase;
}

bool join_takes(const struct join *join, const struct peer_message *message) {
    if (message->kind == MESSAGE_RANGE) {
        uint64_t const next =
            join->phase == JOIN_OLDER ? join->older.next_entry : join->entries.next_entry;
        return (join->phase == JOIN_OLDER || join->phase == JOIN_LEDGER) && join->is_asked &&
               message->from == join->source && message->range.first_entry == next;
    }
    return message->kind == MESSAGE_CHECKPOINT_OFFER ||
           message->kind == MESSAGE_CHECKPOINT_DIGESTS ||
           message->kind == MESSAGE_CHECKPOINT_ITEMS || message->kind == MESSAGE_CHAIN_REPLY;
}

bool join_holds_ranges(const struct join *join) {
    bool is_far = false;
    for (uint32_t i = 0; i < join->peer_count; i++) {
        const struct candidate *const peer = &join->peers[i];
        is_far |= peer->is_far || peer->seq != 0 || peer->leads_to != 0;
    }
    return (join->phase == JOIN_ASKING || join->phase == JOIN_LINKS) && is_far;
}

void join_progress(const struct join *join, struct join_progress *progress) {
    bool const is_older = join->phase == JOIN_OLDER;
    *progress = (struct join_progress){
        .seq = join->seq,
        .groups = join->next_group,
        .groups_total = state_group_count(join->header.state_count),
        .next_entry = is_older ? join->older.next_entry : join->entries.next_entry,
        .end_entry = is_older ? join->older.end_entry : join->header.entries,
    };
}
