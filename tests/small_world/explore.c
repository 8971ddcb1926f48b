/*
 * explore: breadth first through all states, each once (see small_world.h).
 *
 * Two states are one when no replica could tell them apart, now or later: the same condition of
 * every replica, the same of what was said that could still make a difference to anybody, and the
 * same of what judgement goes by: what is committed, whose nonces are out for what is not, and the
 * highest that each replica's nonces claim. They are known by 128 bits of a digest of all that.
 */
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "tests/small_world/small_world.h"

#define NO_PARENT UINT32_MAX
#define NO_MOVE UINT16_MAX
#define REPLAY_NAME_MAX 256u

struct identity {
    uint64_t high;
    uint64_t low;
};

struct record {
    uint32_t locals[WORLD_REPLICAS];
    struct identity identity;
    uint32_t parent;
    uint16_t move; /* of the parent */
    uint16_t depth;
};

/* How far it got, for whoever reads the result. */
struct coverage {
    uint64_t in_view[WORLD_VIEWS_MAX + 1];        /* states with a replica in the view */
    uint64_t committed_in[WORLD_VIEWS_MAX + 1];   /* with a batch committed there */
    uint64_t committed_two;                       /* with two batches committed */
    uint64_t carried; /* with a batch committed in one view and proposed again in a later one */
};

struct search {
    struct world *world;
    const struct explore_options *options;
    const struct move_options *moves_of; /* in force */
    struct record *records;
    uint64_t count;
    uint64_t capacity;
    uint32_t *index; /* 1 + number of a record */
    uint64_t index_capacity;
    uint64_t prefix_count; /* states to begin with */
    uint64_t transitions;
    uint64_t seen_again;
    struct coverage coverage;
    uint64_t at; /* the state whose moves are made, */
    uint32_t move; /* and the move */
    struct moves moves;
    struct net net;
    struct net next_net;
    struct timespec began;
};

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
        if (message->kind != MESSAGE_COMMIT || is_puppet(world, message->author)) {
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
            message_lives(world, search->moves_of, locals, net, net->items[i]) ||
            (message->kind == MESSAGE_COMMIT && !is_committed(committed, committed_count, message));
        if (counts && !is_puppet(world, message->author)) {
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

/* ---- telling how a state came about ---- */

/* The moves of a record as they were listed when it was left. */
static void list_again(struct search *search, uint64_t number, struct moves *moves) {
    const struct record *const record = &search->records[number];
    const struct move_options *const options =
        search->options->has_prefix && number < search->prefix_count && record->depth != 0
            ? &search->options->prefix
            : search->moves_of;
    net_gather(search->world, record->locals, &search->next_net);
    moves_list(search->world, options, record->locals, &search->next_net, moves);
}

static void tell(void *context, FILE *out) {
    struct search *const search = context;
    static struct moves moves;
    char name[NAME_SIZE];
    uint64_t chain[512];
    uint32_t count = 0;
    for (uint64_t at = search->at; at != NO_PARENT && count < 512; at = search->records[at].parent) {
        chain[count++] = at;
    }
    (void)fprintf(out, "choices: %u\n--replay '", count - 1 + (search->move != NO_MOVE));
    while (count > 1) {
        count--;
        list_again(search, chain[count], &moves);
        move_name(search->world, &moves.items[search->records[chain[count - 1]].move], name);
        (void)fprintf(out, "%s,", name);
    }
    if (search->move != NO_MOVE && search->move < search->moves.count) {
        move_name(search->world, &search->moves.items[search->move], name);
        (void)fputs(name, out);
    }
    (void)fputs("'\n", out);
}

static struct search *last_words_of;

/*
 * Only this process's own abort raises the signal, and the process ends after it: that the standard
 * library is not meant for signal handlers does not matter here.
 */
static void last_words(int number) {
    (void)number;
    if (last_words_of != NULL) {
        struct search *const search = last_words_of;
        last_words_of = NULL;
        (void)puts("violation: an invariant of the core"); /* NOLINT(bugprone-signal-handler) */
        tell(search, stdout);
        (void)fflush(stdout); /* NOLINT(bugprone-signal-handler) */
    }
}

/* ---- the search ---- */

static void cover(struct search *search, const uint32_t locals[WORLD_REPLICAS],
                  const struct committed *committed, uint32_t count) {
    bool in_view[WORLD_VIEWS_MAX + 1] = {false};
    bool committed_in[WORLD_VIEWS_MAX + 1] = {false};
    bool two = false;
    bool carried = false;
    for (uint32_t r = 0; r < WORLD_REPLICAS; r++) {
        in_view[local_at(search->world, locals[r])->facts.view] = true;
    }
    for (uint32_t i = 0; i < count; i++) {
        committed_in[committed[i].view] = true;
        two |= committed[i].seq != committed[0].seq;
        for (uint32_t r = 0; r < WORLD_REPLICAS; r++) {
            const struct slot_facts *const slot =
                &local_at(search->world, locals[r])->facts.slots[committed[i].seq];
            carried |= slot->executed && slot->view > committed[i].view;
        }
    }
    for (uint32_t view = 0; view <= WORLD_VIEWS_MAX; view++) {
        search->coverage.in_view[view] += in_view[view];
        search->coverage.committed_in[view] += committed_in[view];
    }
    search->coverage.committed_two += two;
    search->coverage.carried += carried;
}

static void visit(struct search *search, const uint32_t locals[WORLD_REPLICAS], uint64_t parent,
                  uint32_t move, uint32_t depth) {
    struct committed committed[COMMITTED_MAX];
    struct record record = {.parent = parent == UINT64_MAX ? NO_PARENT : (uint32_t)parent,
                            .move = (uint16_t)move,
                            .depth = (uint16_t)depth};
    memcpy(record.locals, locals, sizeof record.locals);
    net_gather(search->world, locals, &search->next_net);
    uint32_t const count = judge_state(search->world, locals, &search->next_net, committed);
    record.identity = identify(search, locals, &search->next_net, committed, count);
    if (remember(search, &record)) {
        cover(search, locals, committed, count);
    }
}

/* Make all moves of one state. */
static void leave_state(struct search *search, uint64_t number) {
    struct record const record = search->records[number];
    search->at = number;
    search->move = NO_MOVE;
    net_gather(search->world, record.locals, &search->net);
    moves_list(search->world, search->moves_of, record.locals, &search->net, &search->moves);
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
        visit(search, locals, number, i, record.depth + 1u);
    }
    search->move = NO_MOVE;
}

static double seconds_since(const struct timespec *began) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - began->tv_sec) + (double)(now.tv_nsec - began->tv_nsec) / 1e9;
}

static void report_depth(const struct search *search, uint32_t depth) {
    if (!search->options->quiet) {
        (void)printf("depth %2u: %9llu states, %llu locals, %.1f s\n", depth,
                     (unsigned long long)search->count,
                     (unsigned long long)search->world->local_count,
                     seconds_since(&search->began));
        (void)fflush(stdout);
    }
}

/* From the record `first` on. Returns: false when there are too many states. */
static bool search_from(struct search *search, uint64_t first, uint32_t depth_max,
                        uint32_t *depth) {
    *depth = 0;
    for (uint64_t at = first; at < search->count; at++) {
        if (search->records[at].depth > *depth) {
            report_depth(search, *depth);
            *depth = search->records[at].depth;
        }
        if (search->options->states_max != 0 && search->count > search->options->states_max) {
            return false;
        }
        if (search->records[at].depth < depth_max) {
            leave_state(search, at);
        }
    }
    report_depth(search, *depth);
    return true;
}

/* All that the prefix leads to are states to begin with. */
static void begin_again(struct search *search) {
    search->prefix_count = search->count;
    search->moves_of = &search->options->moves;
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

static void summarize(const struct search *search, uint32_t depth, bool whole) {
    const struct world *const world = search->world;
    const struct coverage *const coverage = &search->coverage;
    (void)printf("states with a replica in view 0, 1, 2: %llu, %llu, %llu; with a batch committed "
                 "there: %llu, %llu, %llu\n",
                 (unsigned long long)coverage->in_view[0], (unsigned long long)coverage->in_view[1],
                 (unsigned long long)coverage->in_view[2],
                 (unsigned long long)coverage->committed_in[0],
                 (unsigned long long)coverage->committed_in[1],
                 (unsigned long long)coverage->committed_in[2]);
    (void)printf("states with two batches committed: %llu; with a committed batch proposed again: "
                 "%llu\n",
                 (unsigned long long)coverage->committed_two,
                 (unsigned long long)coverage->carried);
    (void)printf("conditions of replicas: %llu, reached again %llu times, held against another "
                 "way %llu times; messages: %llu; steps of the core: %llu\n",
                 (unsigned long long)world->local_count, (unsigned long long)world->merged,
                 (unsigned long long)world->checks, (unsigned long long)world->message_count,
                 (unsigned long long)world->steps);
    (void)printf("depth %u%s, states %llu, transitions %llu, cut as seen %llu, violations 0, "
                 "%.1f s\n",
                 depth, whole ? "" : " (not all of it)", (unsigned long long)search->count,
                 (unsigned long long)search->transitions, (unsigned long long)search->seen_again,
                 seconds_since(&search->began));
}

static void search_init(struct search *search, struct world *world,
                        const struct explore_options *options) {
    *search = (struct search){.world = world,
                              .options = options,
                              .moves_of = options->has_prefix ? &options->prefix : &options->moves,
                              .move = NO_MOVE};
    (void)clock_gettime(CLOCK_MONOTONIC, &search->began);
    world_explain_by(tell, search);
    last_words_of = search;
    (void)signal(SIGABRT, last_words);
}

bool explore(struct world *world, const struct explore_options *options) {
    static struct search search;
    uint32_t depth = 0;
    search_init(&search, world, options);
    visit(&search, world->starts, UINT64_MAX, NO_MOVE, 0);
    bool whole = true;
    if (options->has_prefix) {
        whole = search_from(&search, 0, UINT16_MAX, &depth);
        begin_again(&search);
    }
    whole = whole && search_from(&search, 0, options->depth, &depth);
    summarize(&search, depth, whole);
    last_words_of = NULL;
    free(search.records);
    free(search.index);
    return whole;
}

/* ---- replay ---- */

/* The move of that name, among those of the search or of its prefix. */
static bool find_move(struct search *search, const uint32_t locals[WORLD_REPLICAS],
                      const char *wanted) {
    const struct move_options *const sets[] = {&search->options->moves, &search->options->prefix};
    char name[NAME_SIZE];
    net_gather(search->world, locals, &search->net);
    for (uint32_t set = 0; set < (search->options->has_prefix ? 2u : 1u); set++) {
        moves_list(search->world, sets[set], locals, &search->net, &search->moves);
        for (uint32_t i = 0; i < search->moves.count; i++) {
            move_name(search->world, &search->moves.items[i], name);
            if (strcmp(name, wanted) == 0) {
                search->move = i;
                return true;
            }
        }
    }
    return false;
}

static void show(const struct world *world, const uint32_t locals[WORLD_REPLICAS]) {
    for (uint32_t r = 0; r < WORLD_REPLICAS; r++) {
        const struct facts *const facts = &local_at(world, locals[r])->facts;
        (void)printf("   %u: view %u, asked %u, executed %u, committed %u%s%s\n", r, facts->view,
                     facts->asked_view, facts->executed, facts->committed,
                     facts->range_wanted ? ", wants a range" : "",
                     facts->restarts != 0 ? ", restarted" : "");
    }
}

int explore_replay(struct world *world, const struct explore_options *options, const char *names) {
    static struct search search;
    uint32_t locals[WORLD_REPLICAS];
    char wanted[REPLAY_NAME_MAX];
    search_init(&search, world, options);
    memcpy(locals, world->starts, sizeof locals);
    visit(&search, locals, UINT64_MAX, NO_MOVE, 0);
    while (*names != '\0') {
        size_t const size = strcspn(names, ",");
        size_t const used = size < sizeof wanted - 1 ? size : sizeof wanted - 1;
        memcpy(wanted, names, used);
        wanted[used] = '\0';
        names += size + (names[size] == ',');
        (void)printf("%s\n", wanted);
        if (!find_move(&search, locals, wanted)) {
            (void)printf("cannot happen here; what can:\n");
            for (uint32_t i = 0; i < search.moves.count; i++) {
                move_name(world, &search.moves.items[i], wanted);
                (void)printf("   %s\n", wanted);
            }
            return 2;
        }
        const struct move *const move = &search.moves.items[search.move];
        uint32_t const after = move_apply(world, locals, move);
        if (after == WORLD_NONE) {
            (void)printf("leads out of the small world\n");
            return 2;
        }
        locals[move->replica] = after;
        show(world, locals);
        visit(&search, locals, 0, search.move, 1);
    }
    (void)printf("no violation\n");
    return 0;
}
