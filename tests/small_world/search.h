/*
 * search: what explore.c, which searches, and account.c, which tells of it, have in common.
 */
#ifndef ONUS_TESTS_SMALL_WORLD_SEARCH_H
#define ONUS_TESTS_SMALL_WORLD_SEARCH_H

#include <time.h>

#include "tests/small_world/small_world.h"

#define NO_PARENT UINT32_MAX
#define NO_MOVE UINT16_MAX

static_assert(MOVES_MAX < NO_MOVE, "a move of a record fits");

struct identity {
    uint64_t high;
    uint64_t low;
};

/* A state, and how it was first reached. */
struct record {
    uint32_t locals[WORLD_REPLICAS];
    struct identity identity;
    uint32_t parent;
    uint16_t move; /* of the parent */
    uint16_t depth;
};

/* How far it got, for whoever reads the result: numbers of states. */
struct coverage {
    uint64_t in_view[WORLD_VIEWS + 1];      /* with a replica in the view */
    uint64_t committed_in[WORLD_VIEWS + 1]; /* with a batch committed there */
    uint64_t committed_two;                 /* with two batches committed */
    uint64_t carried; /* with a batch committed in one view and proposed again in a later one */
};

struct search {
    struct world *world;
    const struct explore_options *options;
    struct move_options moves_of; /* in force */
    struct record *records;
    uint64_t count;
    uint64_t capacity;
    uint32_t *index; /* 1 + number of a record, at the place of its identity */
    uint64_t index_capacity;
    uint64_t prefix_count; /* of states to begin with, when it does not begin with one */
    uint64_t transitions;
    uint64_t seen_again;
    struct coverage coverage;
    struct probe_counts probes;
    uint64_t at;   /* the state whose moves are made, */
    uint32_t move; /* and the move; NO_MOVE: none is */
    struct moves moves;
    struct net net;
    struct net next_net;
    struct timespec began;
};

/* The moves by which the states to begin with are found: nobody asks for another view. */
extern const struct move_options prefix_moves;

/* Judge a state, and keep it if it is new. */
void search_visit(struct search *search, const uint32_t locals[WORLD_REPLICAS], uint32_t parent,
                  uint32_t move, uint32_t depth);

/* ---- account.c ---- */

/* What the search is about, and from here on how a violation came about. */
void account_begin(struct search *search);
/* Count what a new state is like. */
void account_state(struct search *search, const uint32_t locals[WORLD_REPLICAS],
                   const struct committed *committed, uint32_t count);
void account_depth(const struct search *search, uint32_t depth);
/* depth: of the last states; all_left: all moves were made that the depth allows. */
void account_end(const struct search *search, uint32_t depth, bool all_left);

#endif
