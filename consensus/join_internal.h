/*
 * join_internal: what a join remembers; shared by join.c (offers and turns), join_links.c (the
 * governance chain), join_state.c (the state), join_ledger.c (the end of the ledger) and
 * join_older.c (what lies before it).
 *
 * A *round* begins with asking everybody for offers. In it each peer has one turn for a checkpoint:
 * it loses it by being slow, or by no longer having what it offered. Who was wrong is barred.
 */
#ifndef ONUS_CONSENSUS_JOIN_INTERNAL_H
#define ONUS_CONSENSUS_JOIN_INTERNAL_H

#include "base/arena.h"
#include "consensus/join.h"
#include "execution/state_parts.h"
#include "governance/founding.h"
#include "ledger/batch.h"
#include "merkle/tree.h"

struct candidate {
    bool up;          /* it was heard of */
    bool answered;    /* this round, with an offer or with none */
    bool has_none;    /* its answer was none, or of no use */
    bool has_nothing; /* it was none */
    bool is_long;     /* by its status, it is so far ahead that it should have some */
    bool is_near;     /* by its status, it is not far ahead */
    bool is_far;      /* by its status, it is */
    bool barred;      /* for the whole join */
    bool lost_turn;   /* in this round */
    uint32_t turns_lost;
    bool asked_for_all; /* its links, one of which did not hold */
    uint64_t
        leads_to; /* its offer was signed in this configuration, not proved; 0: there is none */
    uint64_t seq; /* of the offer; 0: none that is of use */
    struct digest digest;
    struct buffer offer; /* encoded */

    uint64_t after_ms; /* not asked before: for links, or the older ledger */

    /* of the older ledger */
    uint64_t pause_ms; /* how long the next pause will be */
    bool was_wrong;
};

/* The entries from F on (join_ledger.c). */
struct join_entries {
    struct offer *offer;                /* of the peer whose turn it is; NULL: none is begun */
    struct arena arena;                 /* owns what it points to */
    struct configuration configuration; /* in force at the checkpoint */
    struct checker *checker;
    uint64_t window_entry;
    uint64_t past_entry;
    bool past_begins; /* a unit begins at past_entry */
    struct frontier frontier;
    uint64_t next_entry;
};

struct join {
    const struct configuration *configuration;
    struct join_chain chain;
    struct configuration *judged; /* by which something is judged; NULL: not needed so far */
    uint32_t self;
    bool audits;
    uint32_t peer_count; /* numbers of peers are below it */
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

    /* links */
    uint64_t newest;      /* configuration that the chain reaches */
    uint64_t reply_leads; /* how far the peer whose turn it is says to have links */

    /* the checkpoint chosen; seq 0: none */
    uint64_t seq;
    struct digest digest;
    struct checkpoint_header header;
    uint64_t signed_in;           /* the configuration of those who signed it */
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
    bool governs; /* what the state says of governance was held against the chain */
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

/*
 * Does an offer hold, by the configuration in which it was signed? arena, and what is in it: as for
 * offer_verify.
 */
MUST_USE bool join_offer_holds(struct join *join, struct offer *out, struct arena *arena,
                               const struct checkpoint_offer_message *message);
/* One that the chain has proved; valid until the next call. NULL: there is none. */
const struct configuration *join_configuration(struct join *join, uint64_t number);

/* ---- links ---- */

/* A peer offers what was signed in a configuration that is not proved. */
void join_links_lead(struct join *join, uint32_t peer, uint64_t config);
/* Whom to ask for links; REPLICAS_MAX: nobody. */
uint32_t join_links_choose(const struct join *join);
void join_links_begin(struct join *join, uint32_t peer);
void join_on_links(struct join *join, const struct chain_reply_message *message);
void join_on_linked(struct join *join, uint64_t newest, bool good);
/* The turn of one is over: it had none, was slow, or wrong. */
void join_links_turn_over(struct join *join);

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
