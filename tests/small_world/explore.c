/*
 * explore: breadth first through all states, each once (see small_world.h).
 *
 * Two states are one when no replica could tell them apart, now or later: the same condition of
 * every replica, the same of what was said that could still make a difference to anybody, and the
 * same of what judgement goes by: what is committed, whose nonces are out for what is not, and the
 * highest that each replica's nonces claim. They are known by 128 bits of a digest of all that.
 */
#include <stdlib.h>

#include "base/check.h"
#include "tests/small_world/search.h"

const struct move_options prefix_moves = {.no_changes = true};

/* ---- identity ---- */

static bool is_committed(const struct committed *committed, uint32_t count,
                         const struct message *message) {
    for (uint32_t i = 0; i < count; i++) {
        if (committed[i].view == message->view && committed[i].seq == message->seq) {
            return true;
        }
    }
    return false;
}

static void put_claims(struct hash_state *state, struct world *world, const struct net *net) {
    struct rank claims[WORLD_REPLICAS] = {{0}};
    for (uint32_t i = 0; i < net->count; i++) {
        const struct message *const message = message_at(world, net->items[i]);
        if (message->kind != MESSAGE_COMMIT || is_liar(world, message->author)) {
            continue;
        }
        struct rank const claim = message_claim(world, message);
        if (rank_compare(claim, claims[message->author]) > 0) {
            claims[message->author] = claim;
        }
    }
    for (uint32_t r = 0; r < WORLD_REPLICAS; r++) {
        hash_update_u64(state, claims[r].view);
        hash_update_u64(state, claims[r].seq);
    }
}

static struct identity identify(const struct search *search, const uint32_t locals[WORLD_REPLICAS],
                                const struct net *net, const struct committed *committed,
                                uint32_t committed_count) {
    struct world *const world = search->world;
    struct hash_state state;
    hash_init(&state);
    for (uint32_t r = 0; r < WORLD_REPLICAS; r++) {
        hash_update(&state, span_of(local_at(world, locals[r])->core.bytes, DIGEST_SIZE));
    }
    for (uint32_t i = 0; i < net->count; i++) {
        const struct message *const message = message_at(world, net->items[i]);
        bool const counts =
            message_lives(world, &search->moves_of, locals, net, net->items[i]) ||
            (message->kind == MESSAGE_COMMIT && !is_committed(committed, committed_count, message));
        if (counts && !is_liar(world, message->author)) {
            hash_update_u32(&state, net->items[i]);
        }
    }
    hash_update_u32(&state, WORLD_NONE);
    for (uint32_t i = 0; i < committed_count; i++) {
        hash_update_u64(&state, committed[i].view);
        hash_update_u64(&state, committed[i].seq);
        hash_update_u32(&state, committed[i].content);
    }
    put_claims(&state, world, net);
    struct digest const digest = hash_final(&state);
    return (struct identity){.high = load_u64_be(digest.bytes),
                             .low = load_u64_be(digest.bytes + 8)};
}

/* ---- states that were seen ---- */

static uint64_t place_of(const struct search *search, const struct identity *identity) {
    uint64_t at = identity->high & (search->index_capacity - 1);
    while (search->index[at] != 0) {
        const struct identity *const other = &search->records[search->index[at] - 1].identity;
        if (other->high == identity->high && other->low == identity->low) {
            break;
        }
        at = (at + 1) & (search->index_capacity - 1);
    }
    return at;
}

static void index_renew(struct search *search, uint64_t capacity) {
    free(search->index);
    search->index_capacity = capacity;
    search->index = calloc(capacity, sizeof *search->index);
    CHECK(search->index != NULL);
    for (uint64_t i = 0; i < search->count; i++) {
        search->index[place_of(search, &search->records[i].identity)] = (uint32_t)(i + 1);
    }
}

/* Returns: false when this state was seen before. */
static bool remember(struct search *search, const struct record *record) {
    if (2 * search->count >= search->index_capacity) {
        index_renew(search, search->index_capacity == 0 ? 1u << 16 : 2 * search->index_capacity);
    }
    uint64_t const place = place_of(search, &record->identity);
    if (search->index[place] != 0) {
        search->seen_again++;
        return false;
    }
    search->records =
        world_grow(search->records, search->count, &search->capacity, sizeof *search->records);
    search->records[search->count++] = *record;
    CHECK(search->count < UINT32_MAX);
    search->index[place] = (uint32_t)search->count;
    return true;
}

/* ---- the search ---- */

void search_visit(struct search *search, const uint32_t locals[WORLD_REPLICAS], uint32_t parent,
                  uint32_t move, uint32_t depth) {
    struct committed committed[COMMITTED_MAX];
    struct record record = {.parent = parent, .move = (uint16_t)move, .depth = (uint16_t)depth};
    memcpy(record.locals, locals, sizeof record.locals);
    net_gather(search->world, locals, &search->next_net);
    uint32_t const count = judge_state(search->world, locals, &search->next_net, committed);
    record.identity = identify(search, locals, &search->next_net, committed, count);
    if (remember(search, &record)) {
        account_state(search, locals, committed, count);
    }
}

/* Make all moves of one state. */
static void leave_state(struct search *search, uint64_t number) {
    struct record const record = search->records[number];
    search->at = number;
    net_gather(search->world, record.locals, &search->net);
    moves_list(search->world, &search->moves_of, record.locals, &search->net, &search->moves);
    for (uint32_t i = 0; i < search->moves.count; i++) {
        const struct move *const move = &search->moves.items[i];
        search->move = i;
        uint32_t const after = move_apply(search->world, record.locals, move);
        if (after == WORLD_NONE || after == record.locals[move->replica]) {
            continue;
        }
        uint32_t locals[WORLD_REPLICAS];
        memcpy(locals, record.locals, sizeof locals);
        locals[move->replica] = after;
        search->transitions++;
        search_visit(search, locals, (uint32_t)number, i, record.depth + 1u);
    }
    search->move = NO_MOVE;
}

static void probe_state(struct search *search, uint64_t number) {
    if (search->moves_of.brief) {
        search->at = number;
        probe_last_view(search->world, search->records[number].locals, &search->next_net,
                        &search->probes);
    }
}

/* Out: depth: of the last states. Returns: false when there are too many of them. */
static bool search_all(struct search *search, uint32_t depth_max, uint32_t *depth) {
    *depth = 0;
    for (uint64_t at = 0; at < search->count; at++) {
        if (search->records[at].depth > *depth) {
            *depth = search->records[at].depth;
            account_depth(search, *depth);
        }
        if (search->options->states_max != 0 && search->count > search->options->states_max) {
            return false;
        }
        if (search->records[at].depth < depth_max) {
            leave_state(search, at);
        }
        probe_state(search, at);
    }
    return true;
}

/* All that was found becomes what to begin with, and is told apart by what can happen now. */
static void begin_again(struct search *search) {
    search->prefix_count = search->count;
    search->moves_of = search->options->moves;
    search->count = 0;
    index_renew(search, search->index_capacity);
    for (uint64_t i = 0; i < search->prefix_count; i++) {
        struct committed committed[COMMITTED_MAX];
        struct record *const record = &search->records[i];
        net_gather(search->world, record->locals, &search->next_net);
        uint32_t const count =
            judge_state(search->world, record->locals, &search->next_net, committed);
        record->identity = identify(search, record->locals, &search->next_net, committed, count);
        record->depth = 0;
        search->count++;
        search->index[place_of(search, &record->identity)] = (uint32_t)search->count;
    }
}

void explore(struct world *world, const struct explore_options *options) {
    static struct search search;
    uint32_t depth = 0;
    bool all_left = true;
    search = (struct search){.world = world, .options = options, .move = NO_MOVE};
    search.moves_of = options->from_batches ? prefix_moves : options->moves;
    account_begin(&search);
    search_visit(&search, world->starts, NO_PARENT, NO_MOVE, 0);
    if (options->from_batches) {
        all_left = search_all(&search, UINT16_MAX, &depth);
        begin_again(&search);
    }
    all_left = all_left && search_all(&search, options->depth, &depth);
    account_end(&search, depth, all_left);
    free(search.records);
    free(search.index);
}
