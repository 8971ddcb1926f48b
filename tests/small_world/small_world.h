/*
 * small_world: every order of messages, to a stated depth, in a world of four replicas, two
 * requests and two changes of view, on the real core (docs/testing.md, main.c).
 *
 * A replica does not draw, read or wait: what it does follows from the events that it was given.
 * So the world is explored in two halves. Below, a *local* is one replica as some sequence of
 * events left it: core, disk, and all that it has said. What an event makes of a local is computed
 * once, by running the real core again through its whole sequence, and remembered. Above, a *state*
 * is no more than the locals of four replicas, and a transition is a look into that memory. The
 * network is the set of all that was ever said: anything may arrive at any time, twice, or never.
 *
 * Two sequences that leave a replica in the same condition give one local. What the condition
 * consists of is written down in print.c; local.c holds it against the core (fingerprint checks).
 */
#ifndef ONUS_TESTS_SMALL_WORLD_SMALL_WORLD_H
#define ONUS_TESTS_SMALL_WORLD_SMALL_WORLD_H

#include <stdio.h>

#include "consensus/replica.h"
#include "tests/forge/consortium.h"

#define WORLD_REPLICAS 4u
#define WORLD_REQUESTS 2u
#define WORLD_VIEWS 2u /* changes of view: no replica asks for a view above */
#define WORLD_PIPELINE 2u
#define WORLD_BATCHES 8u    /* batch numbers stay below this */
#define WORLD_SENT_MAX 160u /* statements of one replica */
#define WORLD_NET_MAX 1024u /* and of all, with what the liar can say */
#define WORLD_NONE UINT32_MAX
#define WORLD_TIMEOUTS_MAX 2u /* of one replica */
#define DEPTH_MAX 400u
#define CRASHES_MAX 4u

/* ---- bytes and numbers for them (store.c) ---- */

/* A map from a number that is not 0 to another one. */
struct map {
    uint64_t *keys;
    uint32_t *values;
    uint64_t count;
    uint64_t capacity; /* a power of two */
};

/* Returns: the value, WORLD_NONE when the key is new; it is then to be set. */
uint32_t *map_at(struct map *map, uint64_t key);
void map_free(struct map *map);

/* Bytes, each kept once, by number; from 0. */
struct store {
    struct map by_digest;
    struct span *items;
    uint32_t count;
    uint32_t capacity;
    struct arena arena;
};

void store_init(struct store *store);
void store_free(struct store *store);
uint32_t store_keep(struct store *store, struct span bytes);
struct span store_bytes(const struct store *store, uint32_t number);
/* A list of numbers as bytes. */
uint32_t store_keep_list(struct store *store, const uint32_t *numbers, uint32_t count);
const uint32_t *store_list(const struct store *store, uint32_t number, uint32_t *count);
/* Make room for one more item of a growing array. */
void *world_grow(void *items, uint64_t count, uint64_t *capacity, size_t item_size);

/* Numbers in a row. */
struct number_list {
    uint32_t *items;
    uint64_t count;
    uint64_t capacity;
};

void list_push(struct number_list *list, uint32_t number);

/* Something that a replica said, in the network for good. */
struct message {
    enum message_kind kind;
    uint32_t author;
    uint32_t payload; /* in the store */
    uint64_t view;
    uint64_t seq;
    uint64_t view_start;    /* of a pre-prepare */
    uint64_t evidence_upto; /* the same */
    uint32_t subject;       /* digest of the pre-prepare that it is, names, or commits; stored */
    uint32_t content;       /* of a pre-prepare: what its batch holds */
    struct rank rank;       /* stated by a view-change, chosen by a new view */
};

/* ---- one replica (process.c, print.c, local.c) ---- */

/* What happens to one replica: a kind, and a number that goes with it. */
enum local_kind {
    LOCAL_START,   /* the process starts, and hears all its peers once */
    LOCAL_MESSAGE, /* a message arrives: its number */
    LOCAL_REQUEST, /* a client's request arrives: 0 or 1 */
    LOCAL_ASK,     /* it loses patience with its primary, and hears that others have */
    LOCAL_TIMEOUT, /* ten seconds pass */
    LOCAL_SYNC,    /* all that it has written becomes durable */
    LOCAL_CRASH    /* it starts again; 0: what was not durable is lost, 1: it is not */
};

typedef uint32_t local_event;
#define EVENT_NUMBER_BITS 28u

static inline local_event local_event_of(enum local_kind kind, uint32_t number) {
    return (local_event)kind << EVENT_NUMBER_BITS | number;
}
static inline enum local_kind local_event_kind(local_event event) {
    return (enum local_kind)(event >> EVENT_NUMBER_BITS);
}
static inline uint32_t local_event_number(local_event event) {
    return event & ((1u << EVENT_NUMBER_BITS) - 1);
}

/* One batch number in a replica's ledger, in memory. */
struct slot_facts {
    bool known; /* executed, or to be proposed again */
    bool executed;
    bool certified;
    uint8_t view;
    uint8_t prepared_by;
    uint8_t nonces_good;
    uint32_t content;
    uint32_t subject;
};

/* What choices and judgement need to know of a local. */
struct facts {
    uint8_t view; /* of the ledger in memory */
    uint8_t disk_view;
    uint8_t asked_view;
    uint8_t executed;
    uint8_t committed;
    uint8_t restarts;
    uint8_t timeouts;
    uint8_t requests; /* bitmap: those that a client gave it */
    bool writes_wait;
    bool range_wanted; /* it has asked range_peer for a range */
    bool waits;        /* a change of view waits for a range, asked for or not */
    uint8_t range_peer;
    uint8_t range_first;
    uint8_t heard[WORLD_VIEWS + 1]; /* bitmap: whose view-changes for a view it holds */
    struct slot_facts slots[WORLD_BATCHES];
};

struct local {
    uint32_t replica;
    uint32_t parent; /* the local that it came from, and by what; WORLD_NONE: the start */
    local_event event;
    uint32_t other_parent; /* another way to it, if there is one */
    local_event other_event;
    uint32_t depth;
    uint32_t ledger; /* stored list of stored entries, each a byte for the kind and the payload */
    uint32_t sent;   /* stored list of messages, ascending */
    struct digest core;  /* print.c */
    struct digest print; /* the same, and what was sent */
    struct facts facts;
};

struct world_options {
    uint32_t crashes; /* of all replicas together */
    bool slow_disk;   /* what is written becomes durable by a choice, not at once */
    bool has_liar;
    uint32_t liar;
    uint64_t check_every; /* of so many merged locals one is checked; 0: none is */
};

struct process;

struct world {
    struct world_options options;
    struct consortium consortium;
    const struct configuration *configuration;
    struct span requests[WORLD_REQUESTS];
    struct buffer request_bytes[WORLD_REQUESTS];
    struct store store;

    struct message *messages;
    uint64_t message_count;
    uint64_t message_capacity;
    struct map message_by_digest;
    struct map pre_prepares; /* by 1 + subject */

    struct local *locals;
    uint64_t local_count;
    uint64_t local_capacity;
    struct map local_by_print;
    struct map transitions; /* from local and event */
    struct map ledgers;     /* by 1 + number: those that were judged */
    uint32_t starts[WORLD_REPLICAS];

    struct number_list openings; /* what the liar says unasked, */
    struct map answers;          /* and to each pre-prepare */

    /* counts */
    uint64_t steps;  /* of the core */
    uint64_t merged; /* locals reached in another way */
    uint64_t checks; /* of the fingerprint */
};

void world_init(struct world *world, const struct world_options *options);
void world_free(struct world *world);

/* Number of a message; new ones are described from their payload. */
uint32_t message_keep(struct world *world, uint32_t author, enum message_kind kind,
                      struct span payload);
/* A nonce says nothing about what it is for: its author does. */
uint32_t message_keep_nonce(struct world *world, uint32_t author, struct span payload,
                            uint32_t subject);
const struct message *message_at(const struct world *world, uint32_t number);
/* What a nonce claims: its batch, or all that its view took over if that is more. */
struct rank message_claim(struct world *world, const struct message *nonce);
/* "pre-prepare 0.1 3fa2", in a text of NAME_SIZE bytes. */
#define NAME_SIZE 160u
void message_title(const struct world *world, uint32_t number, char *text);
/* What a batch holds, as a number. */
uint32_t content_keep(struct world *world, const struct digest *batch_root, uint64_t first_index,
                      uint32_t tx_count, uint64_t time_ms);

const struct local *local_at(const struct world *world, uint32_t number);
/* The local that an event makes of a local; WORLD_NONE: it cannot happen there, or leads too far.
 */
uint32_t local_after(struct world *world, uint32_t local, local_event event);
/* The answer to range_wanted by a replica in this condition: a message's number, or WORLD_NONE. */
uint32_t local_serve(struct world *world, uint32_t local, uint64_t first_entry);

/* ---- judgement (judge.c) ---- */

/* Something does not hold: say what, how it came about, and end. */
_Noreturn void world_violation(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Who tells how it came about. */
void world_explain_by(void (*explain)(void *context, FILE *out), void *context);

/* A replica is about to say this for the first time. */
void judge_said(const struct process *process, uint32_t number);
/* A replica's files hold this ledger (judge_ledger.c). Each is judged once. */
void judge_ledger(struct world *world, uint32_t replica, uint32_t ledger);

/* A batch that Q replicas have revealed their nonces for. */
struct committed {
    uint64_t view;
    uint64_t seq;
    uint32_t content;
};

struct net;
#define COMMITTED_MAX (4u * WORLD_BATCHES)
/* Judge a state. Out: what is committed in it. Returns: how many are. */
uint32_t judge_state(const struct world *world, const uint32_t locals[WORLD_REPLICAS],
                     const struct net *net, struct committed out[COMMITTED_MAX]);

/* ---- the network (net.c, liar.c) ---- */

/* All that was said in a state, and what follows from it at a glance. */
struct net {
    uint32_t count;
    uint32_t items[WORLD_NET_MAX];
    uint8_t asked[WORLD_VIEWS + 1]; /* bitmap: correct replicas that ask for a view */
    bool has_new_view[WORLD_VIEWS + 1];
    bool voted[WORLD_VIEWS + 1][WORLD_BATCHES]; /* a correct backup has prepared */
};

void net_gather(struct world *world, const uint32_t locals[WORLD_REPLICAS], struct net *net);
/* Once the starts are made. */
void liar_init(struct world *world);
/* Add what the liar can say, given what was said. */
void liar_gather(struct world *world, struct net *net);

static inline bool is_liar(const struct world *world, uint32_t replica) {
    return world->options.has_liar && world->options.liar == replica;
}
static inline uint32_t quorum_of(const struct world *world) {
    return world->configuration->quorum;
}

/* ---- choices (moves.c) ---- */

struct move_options {
    bool single;       /* each message arrives by itself, in every order; else in rounds */
    bool no_changes;   /* nobody asks for another view */
    bool changes_only; /* of view 0 nothing more arrives but late prepares */
    bool brief;        /* the last change of view is probed, and not gone through (probe.c) */
};

#define MOVE_EVENTS_MAX 12u
#define MOVES_MAX 2048u

struct move {
    uint32_t replica;
    uint32_t count;
    local_event events[MOVE_EVENTS_MAX];
    const char *text; /* for its name, with subject */
    uint32_t subject; /* a message, or WORLD_NONE */
};

struct moves {
    uint32_t count;
    struct move items[MOVES_MAX];
};

void moves_list(struct world *world, const struct move_options *options,
                const uint32_t locals[WORLD_REPLICAS], const struct net *net, struct moves *out);
/* What the replica becomes. WORLD_NONE: not possible. */
uint32_t move_apply(struct world *world, const uint32_t locals[WORLD_REPLICAS],
                    const struct move *move);
/* "pre-prepare 0.1 3fa2 > 2", in a text of NAME_SIZE bytes. */
void move_name(const struct world *world, const struct move *move, char *text);
/* Could this message still make a difference to anybody? */
bool message_lives(const struct world *world, const struct move_options *options,
                   const uint32_t locals[WORLD_REPLICAS], const struct net *net, uint32_t number);

/* ---- the last change of view (probe.c) ---- */

struct probe_counts {
    uint64_t tried;   /* quorums asked for the last view in a state */
    uint64_t begun;   /* and its primary began it */
    uint64_t entered; /* replicas entered it */
};

/*
 * In this state, let each quorum that can change to the last view, and judge what its primary
 * makes, and each replica that enters. The net is overwritten.
 */
void probe_last_view(struct world *world, const uint32_t locals[WORLD_REPLICAS], struct net *net,
                     struct probe_counts *counts);
/* What the probe under way has tried, for whoever tells a violation; "": none is under way. */
const char *probe_text(void);

/* ---- the search (explore.c) ---- */

struct explore_options {
    struct move_options moves;
    bool from_batches;   /* begin with every state that view 0 leads to, in rounds */
    uint32_t depth;      /* choices */
    uint64_t states_max; /* 0: no bound */
    bool quiet;
    const char *command; /* these options as a text, each after a space */
};

/* Search breadth first, and print what was found; ends the process at the first violation. */
void explore(struct world *world, const struct explore_options *options);
/* Follow the moves named in a text, separated by commas. Returns: false when one cannot happen. */
bool explore_replay(struct world *world, const struct explore_options *options, const char *names);

#endif
