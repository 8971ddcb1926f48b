/*
 * join_internal: what a join remembers; shared by join.c (offers and turns), join_state.c (the
 * state), join_ledger.c (the end of the ledger) and join_older.c (what lies before it).
 *
 * A *round* begins with asking everybody for offers. In it each peer has one turn for a checkpoint:
 * it loses it by being slow, or by no longer having what it offered. Who was wrong is barred.
 */
#ifndef ONUS_CONSENSUS_JOIN_INTERNAL_H
#define ONUS_CONSENSUS_JOIN_INTERNAL_H

#include "base/arena.h"
#include "consensus/join.h"
#include "execution/state_parts.h"
#include "ledger/batch.h"
#include "merkle/tree.h"

struct candidate {
    bool up;        /* it was heard of */
    bool answered;  /* this round, with an offer or with none */
    bool has_none;  /* its answer was none, or of no use */
    bool is_near;   /* by its status, it is not far ahead */
    bool is_far;    /* by its status, it is */
    bool barred;    /* for the whole join */
    bool lost_turn; /* in this round */
    uint32_t turns_lost;
    uint64_t seq; /* of the offer; 0: none that is of use */
    struct digest digest;
    struct buffer offer; /* encoded */

    /* of the older ledger */
    uint64_t pause_ms; /* how long the next pause will be */
    uint64_t after_ms; /* not asked before */
    bool was_wrong;
};

/* The entries from F on (join_ledger.c). */
struct join_entries {
    struct offer *offer; /* of the peer whose turn it is; NULL: none is begun */
    struct arena arena;  /* owns what it points to */
    struct checker *checker;
    uint64_t window_entry;
    uint64_t past_entry;
    bool past_begins; /* a unit begins at past_entry */
    struct frontier frontier;
    uint64_t next_entry;
};

struct join {
    const struct configuration *configuration;
    uint32_t self;
    uint64_t retry_ms;
    enum join_phase phase;
    bool failed;
    bool has_started;
    bool has_begun;
    uint64_t now_ms;
    struct candidate peers[REPLICAS_MAX];

    /* asking */
    uint64_t ask_due_ms;
    uint64_t answered_ms; /* since when somebody answers; 0: nobody does */
    uint64_t offered_ms;  /* since when there is an offer of use */

    /* the checkpoint chosen; seq 0: none */
    uint64_t seq;
    struct digest digest;
    struct checkpoint_header header;
    enum join_phase resume_phase; /* where the last round came to */

    /* the request under way */
    uint32_t source;
    bool is_asked;
    bool is_storing;   /* the driver takes over what came */
    bool turn_is_over; /* and the next peer's begins before the step ends */
    uint64_t deadline_ms;
    uint32_t patience; /* doublings, after turns lost in a row */

    struct buffer digests;
    uint64_t next_group;
    struct buffer last_key;

    struct join_entries entries;
    struct batch batch;
    struct tree tree;
    struct arena scratch;

    struct join_older older;

    struct arena arena; /* of the effects */
    struct join_effects *effects;
};

/* ---- effects ---- */

struct join_effect *join_effect_add(struct join *join, enum join_effect_kind kind);
void join_note(struct join *join, enum join_note_kind kind, uint32_t peer, uint64_t seq);
/* Copies the payload. */
void join_send(struct join *join, uint32_t peer, enum message_kind kind, struct span payload);
void join_fetch_range(struct join *join, uint32_t peer, uint64_t first_entry);
void join_fetch_part(struct join *join, uint32_t peer, enum checkpoint_part part,
                     uint64_t first_group);

/* ---- turns ---- */

/* The request that was just sent has so long. */
void join_begin_waiting(struct join *join);
/* Something good came. */
void join_progress_made(struct join *join);
/* Whoever's turn it is was wrong: never again. The next one goes on when the step ends. */
void join_bar_source(struct join *join, enum join_note_kind why);
/* It was slow, or has it no longer. */
void join_lose_turn(struct join *join);

/* ---- the state ---- */

void join_state_begin(struct join *join);
/* Ask whoever's turn it is for what comes next, in the phase that it is. */
void join_state_ask(struct join *join);
void join_on_digests(struct join *join, const struct checkpoint_digests_message *message);
void join_on_items(struct join *join, const struct checkpoint_items_message *message);
void join_state_stored(struct join *join);

/* ---- the end of the ledger ---- */

/* From the start, with whoever's turn it is. */
void join_ledger_begin(struct join *join);
void join_on_entries(struct join *join, const struct range_message *message);
void join_ledger_stored(struct join *join);
void join_entries_free(struct join_entries *entries);

/* ---- the older ledger ---- */

void join_older_step(struct join *join, const struct join_event *event);
uint64_t join_older_deadline(const struct join *join);

#endif
