/*
 * join: how a replica that has only genesis gets a checkpoint and, later, what lies before it
 * (protocol §7). Pure like the replica, beside which it runs: events in, effects out.
 *
 * It asks peers for offers and takes the newest one that Q replicas signed for; fetches the state,
 * each part of which is held against the signed root before it is kept; and the end of the ledger,
 * which is held against the signed root of M. Then whoever drives it installs the files and starts
 * the replica from them. After that a second one, of the older ledger, asks for the entries before:
 * those are judged by execution/history.h, and not here.
 *
 * Nothing that a peer says is believed. What is wrong bars it from this join; who is slow loses its
 * turn. Memory is bounded: 32 bytes for each group of the state, an offer for each peer, and one
 * message. One request is under way at a time.
 *
 * A checkpoint may be of a later configuration than those whose replicas it knows (§9). Then it
 * asks who offers it for the links of the governance chain (JOIN_LINKS), which the driver verifies
 * and keeps; and when the chain has grown, this join is over (JOIN_EFFECT_CONFIGURATION), and the
 * driver begins another one among the replicas of the newest configuration that is proved. What was
 * signed in that one, or in any before it, is judged by the chain, whoever offers it.
 *
 * While nothing is decided (JOIN_ASKING, JOIN_LINKS) the replica takes part as always, but for
 * this: ranges are kept from it while join_holds_ranges, lest it leaves genesis before a checkpoint
 * can be had. From JOIN_EFFECT_BEGIN until it is started anew, or JOIN_EFFECT_NOT_NEEDED, it rests:
 * it gets no ticks, messages, requests or peers, only the answers to its own effects and an orderly
 * end.
 *
 * An auditor gets a checkpoint in the same way. It has no ledger, so any checkpoint but those that
 * are as good as genesis will do; it hears no status, and JOIN_EFFECT_NOT_NEEDED means that there
 * is none to be had.
 *
 * Ownership: what an event points to lives until the effects of its step have been carried out,
 * since those point into it; everything else that they point to lives until the next step.
 */
#ifndef ONUS_CONSENSUS_JOIN_H
#define ONUS_CONSENSUS_JOIN_H

#include "consensus/message.h"
#include "governance/constitution.h"
#include "ledger/checker.h"
#include "ledger/wire.h"

#define JOIN_RETRY_MS 1000u     /* a peer that brings nothing for so long loses its turn */
#define JOIN_PATIENCE_MS 10000u /* then it goes on without a checkpoint */
#define JOIN_PAUSE_MS 2000u     /* a peer whose older entries are wrong is left alone; doubles */
#define JOIN_PAUSE_MS_MAX 600000u
#define JOIN_EFFECTS_MAX (4u * REPLICAS_MAX)

struct join;

/* Where the background's part begins: with what older/ledger holds already. */
struct join_older {
    uint64_t next_entry; /* the first that is missing */
    uint64_t end_entry;  /* F: where the replica's own ledger begins; not below next_entry */
};

/* What the governance chain has proved so far, as the driver keeps it. */
struct join_chain {
    void *context;
    /* Valid until it is asked again. NULL: the chain does not reach it. NULL for all: no chain. */
    const struct constitution *(*find)(void *context, uint64_t number);
};

struct join_options {
    /* Borrowed: who is asked, under their numbers in it; the newest that the chain reaches. */
    const struct configuration *configuration;
    uint32_t self;                  /* REPLICAS_MAX: none of them, but an auditor */
    bool is_outsider;               /* the same, but a replica that will follow */
    uint64_t retry_ms;              /* 0: JOIN_RETRY_MS */
    const struct join_older *older; /* NULL: begin with a checkpoint; otherwise copied */
    struct join_chain chain;        /* without one, only its configuration is believed */
};

enum join_phase {
    JOIN_ASKING,   /* for offers */
    JOIN_LINKS,    /* fetching links of the governance chain */
    JOIN_DIGESTS,  /* fetching the roots of the state's groups */
    JOIN_STATE,    /* fetching its items */
    JOIN_LEDGER,   /* fetching the entries from F to the checkpoint */
    JOIN_OLDER,    /* fetching what lies before F */
    JOIN_FINISHED, /* nothing more will come of it: free it */
};

/* NULL: out of memory. */
MUST_USE struct join *join_new(const struct join_options *options);
void join_free(struct join *join);

/* ---- events ---- */

enum join_event_kind {
    JOIN_EVENT_TICK,    /* time has passed; give one at the start */
    JOIN_EVENT_PEER_UP, /* a link to a peer came up */
    JOIN_EVENT_MESSAGE, /* what join_takes, and every status */
    JOIN_EVENT_LINKED,  /* the answer to JOIN_EFFECT_LINKS */
    JOIN_EVENT_STORED,  /* the answer to JOIN_EFFECT_ITEMS and JOIN_EFFECT_ENTRIES: taken over */
    JOIN_EVENT_TAKEN    /* the answer to JOIN_EFFECT_OLDER */
};

struct join_event {
    enum join_event_kind kind;
    uint64_t now_ms;          /* monotonic */
    bool replica_has_genesis; /* the ledger beside it, in memory and on disk, is genesis alone */
    bool replica_is_busy;     /* it catches up itself: nothing older is asked for meanwhile */
    union {
        uint32_t peer;
        const struct peer_message *message;
        struct {
            uint64_t newest; /* configuration that the chain reaches now */
            bool good;       /* false: a link does not hold */
        } linked;
        struct {
            uint64_t next_entry; /* not below the one before; at most end_entry */
            bool good;           /* false: what came broke a rule */
        } taken;
    };
};

/* ---- effects ---- */

enum join_effect_kind {
    JOIN_EFFECT_SEND,          /* a frame to a peer */
    JOIN_EFFECT_LINKS,         /* links of the chain, unverified: judge them in their order, keep
                                  those that hold, and answer JOIN_EVENT_LINKED */
    JOIN_EFFECT_CONFIGURATION, /* the chain reaches a later configuration: begin another join with
                                  it, and have the replica rest until that one is over */
    JOIN_EFFECT_BEGIN,         /* a checkpoint is fetched: make joining/ anew, empty; the replica
                                  rests from here on. It may come again */
    JOIN_EFFECT_ITEMS,         /* items of the state, in key order and verified: put them behind
                                  those before. Answer JOIN_EVENT_STORED */
    JOIN_EFFECT_LEDGER_BEGIN,  /* forget all entries fetched so far: the ledger in joining/ begins
                                  with first_entry. It may come again */
    JOIN_EFFECT_ENTRIES,       /* whole batches and new views: append. Answer JOIN_EVENT_STORED */
    JOIN_EFFECT_COMPLETE,      /* all is there and verified: commit the state under this snapshot,
                                  keep the offer, sync, rename, start the replica from the disk */
    JOIN_EFFECT_NOT_NEEDED,    /* no checkpoint: remove joining/ if it is there, let the replica
                                  catch up by ranges */
    JOIN_EFFECT_OLDER,         /* older entries, unverified: have history judge and keep them, and
                                  answer JOIN_EVENT_TAKEN */
    JOIN_EFFECT_OLDER_DONE,    /* the older ledger has reached F */
    JOIN_EFFECT_NOTE           /* something for the log */
};

enum join_note_kind {
    JOIN_NOTE_OFFER_TAKEN,     /* of checkpoint `seq`, from `peer` */
    JOIN_NOTE_OFFER_LATER,     /* `peer` offers one that was signed in configuration `seq` */
    JOIN_NOTE_OFFER_REFUSED,   /* the offer, and the peer with it */
    JOIN_NOTE_LINKS_REFUSED,   /* a link of the chain, from the one to `seq` on */
    JOIN_NOTE_DIGESTS_REFUSED, /* they do not lead to the state's root */
    JOIN_NOTE_ITEMS_REFUSED,   /* they are not those of their groups */
    JOIN_NOTE_STATE_REFUSED,   /* what it says of governance is not what the chain says */
    JOIN_NOTE_ENTRIES_REFUSED, /* they are not those of the signed ledger */
    JOIN_NOTE_OLDER_REFUSED,   /* they broke a rule, as the driver said */
    JOIN_NOTE_SLOW             /* the peer lost its turn */
};

struct join_effect {
    enum join_effect_kind kind;
    union {
        struct {
            uint32_t peer;
            enum message_kind kind;
            struct span payload;
        } send;
        struct {
            uint32_t peer;
            uint32_t count;
            const struct span *links;
        } links;
        uint64_t configuration; /* its number */
        struct {
            uint64_t seq;
            uint64_t state_count;
            struct digest state_root;
            uint64_t end_entry; /* entries of the ledger at the checkpoint */
        } begin;
        struct {
            uint64_t first_group;
            uint32_t count;
            const struct state_item *items;
        } items;
        uint64_t ledger_first_entry;
        struct {
            uint64_t first_entry;
            uint32_t count;
            const struct entry *entries;
        } entries;
        struct {
            uint64_t seq;
            uint64_t first_entry; /* F */
            uint64_t end_entry;
            struct digest digest; /* d_C, which Q replicas signed */
            uint64_t config;      /* in force there; the replica starts in it */
            uint64_t signed_in;   /* of those who signed; the offer is judged by it */
            struct span snapshot; /* to be committed with the state: an encoded snapshot */
            struct span offer;    /* an encoded offer message, to be kept as it is */
        } complete;
        struct {
            uint32_t peer;
            const struct range_message *range;
        } older;
        struct {
            enum join_note_kind kind;
            uint32_t peer;
            uint64_t seq;
        } note;
    };
};

struct join_effects {
    uint32_t count;
    struct join_effect items[JOIN_EFFECTS_MAX];
};

/* ---- running ---- */

/*
 * Out: effects: what is to be done, in this order; overwritten.
 * Returns: false when memory ran out, and the process must end.
 */
MUST_USE bool join_step(struct join *join, const struct join_event *event,
                        struct join_effects *effects);
/* When the next JOIN_EVENT_TICK is due, in now_ms. UINT64_MAX: none is. */
uint64_t join_deadline(const struct join *join);
enum join_phase join_phase(const struct join *join);

/* Is this message for the join, and not for the replica? */
bool join_takes(const struct join *join, const struct peer_message *message);
/* Are ranges to be kept from the replica for now? Never for longer than JOIN_PATIENCE_MS. */
bool join_holds_ranges(const struct join *join);
/*
 * In JOIN_EFFECT_COMPLETE: the checkpoint for one who has no ledger to read the window from: an
 * encoded checker_snapshot with its window and without anchors, as saved states hold it. Appended.
 * Returns: false when out of memory.
 */
MUST_USE bool join_encode_snapshot(const struct join *join, struct buffer *out);
/* In JOIN_EFFECT_COMPLETE: M as it was at the checkpoint. Valid until the next step. */
const struct frontier *join_frontier(const struct join *join);

/*
 * Of the older ledger alone: the replica beside it went over to another configuration, in which so
 * many have these numbers, and it has this one (REPLICAS_MAX: none). Who was asked is forgotten.
 */
void join_set_peers(struct join *join, uint32_t count, uint32_t self);

/* How far it is, for the log and for status. */
struct join_progress {
    uint64_t seq; /* of the checkpoint; 0: none is chosen */
    uint64_t groups;
    uint64_t groups_total;
    uint64_t next_entry;
    uint64_t end_entry;
};
void join_progress(const struct join *join, struct join_progress *progress);

/* ---- offers: for those who serve one, and for those who kept one (offer.c) ---- */

/* The configurations that an offer speaks of; nothing of it is verified. */
struct offer_configs {
    uint64_t made_in;   /* in force at the checkpoint */
    uint64_t signed_in; /* that of the certificate, which may be a later one */
};
/* Returns: false when it does not decode, or was signed before it was made. */
MUST_USE bool offer_find_configs(struct offer_configs *out, struct arena *arena,
                                 const struct checkpoint_offer_message *message);

/* What an offer says, decoded and held against itself and its certificate. */
struct offer {
    uint64_t seq;
    struct digest digest; /* d_C, which the certificate's batch carries */
    struct checkpoint_header header;
    uint64_t first_entry;     /* F */
    struct frontier frontier; /* of M at F */
    struct span snapshot;     /* encoded, with F as its only anchor; the arena's */
};

/*
 * Verify an offer from a peer, or one that was kept: every signature, every digest. All is hostile.
 * configuration: that in which it was signed.
 * arena: needs about 256 KiB. Returns: false when anything does not hold; out is then unspecified.
 */
MUST_USE bool offer_verify(struct offer *out, struct arena *arena,
                           const struct configuration *configuration,
                           const struct checkpoint_offer_message *message);

/*
 * Make the offer of this replica's own checkpoint: its snapshot as it was stored, and the encoded
 * certificate of a batch that carries it. Appends the payload of MESSAGE_CHECKPOINT_OFFER.
 * Returns: false when the snapshot names no place where a ledger could begin, or when out of
 * memory; out is then as it was.
 */
MUST_USE bool offer_encode(struct buffer *out, struct span snapshot, struct span certificate);
/* The offer of nothing. */
MUST_USE bool offer_encode_none(struct buffer *out);

#endif
