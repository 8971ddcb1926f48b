/*
 * account: what is said of a search: what it is about, how far it got, and, when something does not
 * hold, by which choices it came to that. Since the search is breadth first, no fewer choices of
 * those it makes lead there.
 */
#include <stdlib.h>

#include "base/check.h"
#include "tests/small_world/search.h"

#define CHAIN_MAX 512u
#define REPLAY_NAME_MAX 256u

/* ---- how a state came about ---- */

/* The name of the move that led from a state to a later one. */
static void name_move(struct search *search, uint64_t from, uint64_t to, char *name) {
    static struct moves moves;
    const struct record *const record = &search->records[from];
    const struct move_options *const options =
        to < search->prefix_count ? &prefix_moves : &search->moves_of;
    net_gather(search->world, record->locals, &search->next_net);
    moves_list(search->world, options, record->locals, &search->next_net, &moves);
    CHECK(search->records[to].move < moves.count);
    move_name(search->world, &moves.items[search->records[to].move], name);
}

static void tell(void *context, FILE *out) {
    struct search *const search = context;
    uint64_t chain[CHAIN_MAX];
    char name[NAME_SIZE];
    uint32_t count = 0;
    for (uint64_t at = search->at; at != NO_PARENT && count < CHAIN_MAX && at < search->count;
         at = search->records[at].parent) {
        chain[count++] = at;
    }
    (void)fprintf(out, "replay: small-world%s --replay '", search->options->command);
    while (count > 1) {
        count--;
        name_move(search, chain[count], chain[count - 1], name);
        (void)fprintf(out, "%s,", name);
    }
    if (search->move != NO_MOVE && search->move < search->moves.count) {
        move_name(search->world, &search->moves.items[search->move], name);
        (void)fputs(name, out);
    }
    (void)fprintf(out, "'%s\n", probe_text());
}

/* The core's invariants end the process, too: by the linker's hand they end it here. */
_Noreturn void __wrap_check_failed(const char *file, int line, const char *expression);
_Noreturn void __wrap_check_failed(const char *file, int line, const char *expression) {
    world_violation("an invariant does not hold: %s:%d: %s", file, line, expression);
}

/* ---- while it goes on ---- */

static double seconds_since(const struct timespec *began) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - began->tv_sec) + (double)(now.tv_nsec - began->tv_nsec) / 1e9;
}

static void describe(const struct search *search) {
    const struct world_options *const world = &search->world->options;
    const struct explore_options *const options = search->options;
    (void)printf("small world: %u replicas, %u requests, %u changes of view, %u crashes%s", //
                 WORLD_REPLICAS, WORLD_REQUESTS, WORLD_VIEWS, world->crashes,
                 world->slow_disk ? ", disks that take their time" : "");
    if (world->has_liar) {
        (void)printf(", replica %u lies", world->liar);
    }
    (void)printf("\norders: %s\nbegins: %s\nlast change of view: %s\n",
                 options->moves.single
                     ? "each message by itself, in every order"
                     : "rounds; of orders that differ in moves that do not meet, one",
                 options->from_batches ? "in each state that view 0 can come to by rounds"
                                       : "when all replicas have just started",
                 options->moves.brief ? "tried in each state, and judged" : "gone through");
}

void account_begin(struct search *search) {
    (void)clock_gettime(CLOCK_MONOTONIC, &search->began);
    describe(search);
    world_explain_by(tell, search);
}

void account_state(struct search *search, const uint32_t locals[WORLD_REPLICAS],
                   const struct committed *committed, uint32_t count) {
    bool in_view[WORLD_VIEWS + 1] = {false};
    bool committed_in[WORLD_VIEWS + 1] = {false};
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
    for (uint32_t view = 0; view <= WORLD_VIEWS; view++) {
        search->coverage.in_view[view] += in_view[view];
        search->coverage.committed_in[view] += committed_in[view];
    }
    search->coverage.committed_two += two;
    search->coverage.carried += carried;
}

void account_depth(const struct search *search, uint32_t depth) {
    if (!search->options->quiet) {
        (void)printf("depth %2u: %9llu states, %llu conditions of replicas, %.1f s\n", depth,
                     (unsigned long long)search->count,
                     (unsigned long long)search->world->local_count, seconds_since(&search->began));
        (void)fflush(stdout);
    }
}

/* ---- at the end ---- */

static void sum_up_states(const struct search *search) {
    const struct coverage *const coverage = &search->coverage;
    for (uint32_t view = 0; view <= WORLD_VIEWS; view++) {
        (void)printf("view %u: a replica is there in %llu states; with a batch committed: %llu\n",
                     view, (unsigned long long)coverage->in_view[view],
                     (unsigned long long)coverage->committed_in[view]);
    }
    (void)printf("two batches committed: %llu; a committed batch proposed again: %llu\n",
                 (unsigned long long)coverage->committed_two,
                 (unsigned long long)coverage->carried);
    if (search->options->moves.brief) {
        (void)printf(
            "last change of view: tried %llu times, begun %llu times, entered %llu times\n",
            (unsigned long long)search->probes.tried, (unsigned long long)search->probes.begun,
            (unsigned long long)search->probes.entered);
    }
}

static void sum_up_world(const struct search *search) {
    const struct world *const world = search->world;
    (void)printf("conditions of replicas: %llu, reached again %llu times, held against another way "
                 "%llu times; messages: %llu; steps of the core: %llu\n",
                 (unsigned long long)world->local_count, (unsigned long long)world->merged,
                 (unsigned long long)world->checks, (unsigned long long)world->message_count,
                 (unsigned long long)world->steps);
}

void account_end(const struct search *search, uint32_t depth, bool all_left) {
    const char *const extent = !all_left                        ? "not exhausted: too many states"
                               : depth < search->options->depth ? "exhausted: nothing lies beyond"
                                                                : "exhausted to this depth";
    sum_up_states(search);
    sum_up_world(search);
    (void)printf("depth %u, %s; %llu states, %llu transitions, %llu led to states seen before; "
                 "%llu distinct ledgers; no violation; %.1f s\n",
                 depth, extent, (unsigned long long)search->count,
                 (unsigned long long)search->transitions, (unsigned long long)search->seen_again,
                 (unsigned long long)search->world->ledgers.count, seconds_since(&search->began));
    world_explain_by(NULL, NULL);
}

/* ---- replay ---- */

/* The move of that name, among those of the search or of its prefix. */
static bool find_move(struct search *search, const uint32_t locals[WORLD_REPLICAS],
                      const char *wanted) {
    const struct move_options *const sets[] = {&search->options->moves, &prefix_moves};
    char name[NAME_SIZE];
    net_gather(search->world, locals, &search->net);
    for (uint32_t set = 0; set < (search->options->from_batches ? 2u : 1u); set++) {
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

/* Take the next name off a text of names. Returns: false when there is none left. */
static bool next_name(const char **names, char name[REPLAY_NAME_MAX]) {
    size_t const size = strcspn(*names, ",");
    size_t const used = size < REPLAY_NAME_MAX - 1 ? size : REPLAY_NAME_MAX - 1;
    memcpy(name, *names, used);
    name[used] = '\0';
    *names += size + ((*names)[size] == ',');
    return size != 0;
}

static bool replay_move(struct search *search, uint32_t locals[WORLD_REPLICAS], const char *name) {
    (void)printf("%s\n", name);
    if (!find_move(search, locals, name)) {
        char other[NAME_SIZE];
        (void)printf("cannot happen here; what can:\n");
        for (uint32_t i = 0; i < search->moves.count; i++) {
            move_name(search->world, &search->moves.items[i], other);
            (void)printf("   %s\n", other);
        }
        return false;
    }
    const struct move *const move = &search->moves.items[search->move];
    uint32_t const after = move_apply(search->world, locals, move);
    if (after == WORLD_NONE) {
        (void)printf("leads out of the small world\n");
        return false;
    }
    locals[move->replica] = after;
    show(search->world, locals);
    return true;
}

bool explore_replay(struct world *world, const struct explore_options *options, const char *names) {
    static struct search search;
    uint32_t locals[WORLD_REPLICAS];
    char name[REPLAY_NAME_MAX];
    search = (struct search){.world = world, .options = options, .move = NO_MOVE};
    search.moves_of = options->moves;
    account_begin(&search);
    world_explain_by(NULL, NULL); /* who replays sees how it comes about */
    memcpy(locals, world->starts, sizeof locals);
    search_visit(&search, locals, NO_PARENT, NO_MOVE, 0);
    bool possible = true;
    while (possible && next_name(&names, name)) {
        possible = replay_move(&search, locals, name);
        if (possible) {
            search_visit(&search, locals, 0, search.move, 1);
        }
        if (possible && options->moves.brief) {
            probe_last_view(world, locals, &search.next_net, &search.probes);
        }
    }
    world_explain_by(NULL, NULL);
    free(search.records);
    free(search.index);
    if (possible) {
        (void)printf("no violation\n");
    }
    return possible;
}
