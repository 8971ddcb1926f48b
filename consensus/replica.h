/*
 * replica: the L-PBFT replica as a pure state machine (protocol §5).
 *
 * It is given events and answers with effects. It reads no clock, opens nothing, draws no
 * randomness: the same events give the same effects, byte for byte. Whoever drives it (node/, a
 * test, a simulator) carries out effects in order and reports back what came of them.
 *
 * A batch goes through: proposed (primary) or received (backup); executed early and appended;
 * prepared (a pre-prepare and Q-1 prepares); revealed (this replica's nonce may leave, in order of
 * sequence numbers); committed (Q nonces, the primary's among them); evidenced (a later batch of
 * the ledger carries those). What is evidenced is settled: never rolled back.
 *
 * Durability: every append and every journal record takes the next disk position. A send names the
 * position that must be durable before it may leave: a nonce waits for the ledger through its batch
 * and for the journal's record with the prepared certificate, anything signed for the record of its
 * view (§5).
 *
 * A new view (§6) is followed in memory first: the ledger on disk stays the one that this replica's
 * rank speaks of until the new view's certificate for all that it took over is held, and is then
 * replaced at once.
 *
 * Ownership: what an event points to lives until the step returns, what effects point to until the
 * next step. To keep bytes, copy them.
 */
#ifndef ONUS_CONSENSUS_REPLICA_H
#define ONUS_CONSENSUS_REPLICA_H

#include "base/arena.h"
#include "base/sign.h"
#include "consensus/message.h"
#include "execution/engine.h"
#include "ledger/batch.h"
#include "ledger/checker.h"
#include "ledger/codec.h"
#include "ledger/codec_journal.h"
#include "ledger/wire.h"

struct replica;

struct replica_limits {
    uint32_t pool_requests_max; /* requests waiting, of all authors */
    size_t pool_size_max;       /* bytes of them */
};

struct replica_options {
    const struct configuration *configuration; /* borrowed: where the checker stands */
    const struct constitution *constitution;   /* borrowed: the same, or NULL: no governance */
    struct public_key key; /* this replica is whose key this is; nobody's: it signs nothing */
    struct secret_key signing_key;
    uint8_t nonce_secret[32];
    struct checker *checker; /* borrowed; at genesis or loaded from a snapshot */
    struct engine *engine;   /* borrowed; its base at the same place */
    struct replica_limits limits;
};

/* NULL: out of memory. */
MUST_USE struct replica *replica_new(const struct replica_options *options);
void replica_free(struct replica *replica);

/* ---- recovery: before the first step, in this order ---- */

/*
 * A batch of this replica's own ledger at or before the checkpoint from which it starts: kept at
 * hand, since a view-change may have to show it. In order, from the snapshot's past_entry on; new
 * views among them are left out.
 */
void replica_load_past(struct replica *replica, const struct batch *batch);

/*
 * Replay the next batch, or new view, of this replica's own ledger: what the assembler answered
 * BATCH_WHOLE or BATCH_VIEW for. Returns: the rule broken, if any.
 */
MUST_USE enum rule replica_load_batch(struct replica *replica, const struct batch *batch,
                                      enum batch_step step);

/*
 * A ledger's tail may reach over checkpoints that the store has not seen. After each batch: the
 * settled cut that must be stored and digested now, or NULL. Answer it with
 * replica_load_checkpoint once the base holds it; no batch may be loaded before.
 */
const struct checkpoint_cut *replica_load_cut(struct replica *replica);
void replica_load_checkpoint(struct replica *replica, uint64_t seq, uint64_t state_count,
                             const struct digest *state_root);

/* Have a look at each record of the journal, before replica_load_end. */
void replica_look_at_journal(struct replica *replica, const struct journal_record *record);

/*
 * All that the ledger holds was loaded. Returns: the entries that are to stay; the others are cut
 * off. They are new views of a configuration behind whose end the ledger shows nothing committed:
 * were they kept, nobody might say again what is needed to commit that end (protocol §9). Not cut
 * are those behind another copy of the end than the one for which this replica has said most.
 */
MUST_USE uint64_t replica_load_end(struct replica *replica);

/*
 * Load one record of the journal, oldest first, after all batches. A nonce for a batch that the
 * ledger does not hold, and whose view it has not left behind, engages the amnesia guard.
 */
void replica_load_journal(struct replica *replica, const struct journal_record *record);
/* All records were loaded: what may be signed from here on follows from the last of them (§5). */
void replica_load_done(struct replica *replica);

/* Why a replica does not vote. */
enum guard {
    GUARD_NONE = 0,
    GUARD_JOURNAL_MISSING, /* nobody knows what this key signed before */
    GUARD_LEDGER_SHORT,    /* the journal remembers more than the ledger holds */
    GUARD_SIGNED_ELSEWHERE /* a peer's ledger holds this key's signature for what ours lacks */
};

/* Never vote with this key again (§5). It serves and follows. */
void replica_engage_guard(struct replica *replica, enum guard guard);
const char *guard_text(enum guard guard);

/* ---- configurations (§9) ---- */

/*
 * A replica goes from one configuration to the next by itself, when the last batch of the one is
 * committed; and may go back, to another copy of that batch, until the next has begun for good.
 * What it is in now; valid until the next step.
 */
const struct configuration *replica_configuration(const struct replica *replica);
/* NULL: there is no governance here. */
const struct constitution *replica_constitution(const struct replica *replica);
/* That of another configuration, if it is at hand: those just passed are. NULL: it is not. */
const struct constitution *replica_constitution_of(const struct replica *replica, uint64_t number);
/* Its position in it, or REPLICAS_MAX: it is not in it, and follows without a word. */
uint32_t replica_self(const struct replica *replica);

/*
 * Peers are numbered by their position in the configuration; those of the one before that are not
 * in it any more, by REPLICAS_MAX and their position there. A driver that has a peer's key asks
 * for its number whenever it hands over a message. Returns: false when it is nobody's.
 */
MUST_USE bool replica_find_peer(const struct replica *replica, const struct public_key *key,
                                uint32_t *peer);
/* Who a peer is; NULL: nobody has this number. */
const struct replica_identity *replica_peer(const struct replica *replica, uint32_t peer);

/* ---- events ---- */

enum event_kind {
    EVENT_TICK,          /* time has passed */
    EVENT_PEER_UP,       /* a link to a peer came up */
    EVENT_MESSAGE,       /* from a peer; its signature, if it has one, holds */
    EVENT_REQUEST,       /* from a client or fetched from a peer; decoded, its signature holds */
    EVENT_RECEIPT_QUERY, /* a client asks for an executed request's receipt */
    EVENT_DURABLE,       /* all disk positions up to this one are durable */
    EVENT_VERIFIED,      /* the answer to EFFECT_VERIFY */
    EVENT_CHECKPOINT,    /* the answer to EFFECT_CHECKPOINT; the engine's base now holds it */
    EVENT_STOP           /* an orderly end: sign nothing more, and put that down */
};

struct event {
    enum event_kind kind;
    uint64_t now_ms;  /* monotonic */
    uint64_t wall_ms; /* since the epoch */
    union {
        uint32_t peer;
        const struct peer_message *message;
        struct {
            uint64_t origin; /* who wants the reply; 0: nobody (fetched from a peer) */
            const struct request *request;
        } request;
        struct {
            uint64_t origin;
            struct digest request_id;
        } receipt_query;
        uint64_t durable;
        struct {
            uint64_t token;
            bool all_hold;
        } verified;
        struct {
            uint64_t seq;
            uint64_t state_count;
            struct digest state_root;
        } checkpoint;
    };
};

/* ---- effects ---- */

enum effect_kind {
    EFFECT_APPEND,        /* an entry to the ledger: takes disk position `position` */
    EFFECT_TRUNCATE,      /* replace the ledger's tail: keep `entries` entries, then append what
                             the next effects say up to position `upto`; after a crash there is
                             all of the old tail or all of the new. Takes `position` itself */
    EFFECT_JOURNAL,       /* a record to the journal: takes disk position `position` */
    EFFECT_SEND,          /* a frame to a peer, once `after` is durable */
    EFFECT_SEND_CLIENT,   /* a frame to a client, once `after` is durable */
    EFFECT_SERVE_RANGE,   /* read whole batches and new views from first_entry on, and send them
                             to the peer as MESSAGE_RANGE; to this replica itself: hand them over
                             as EVENT_MESSAGE */
    EFFECT_SERVE_RECEIPT, /* make a receipt reply from the ledger on disk and send it */
    EFFECT_VERIFY,        /* check signatures, answer with EVENT_VERIFIED */
    EFFECT_CHECKPOINT,    /* bring the base to the cut, digest its state, EVENT_CHECKPOINT */
    EFFECT_EVIDENCE,      /* two statements that convict their author: keep them */
    EFFECT_CONFIGURATION, /* a new configuration was entered, or has begun for good */
    EFFECT_NOTE           /* something an operator should read */
};

/* What an operator reads in the log. */
enum note_kind {
    NOTE_PRE_PREPARE_REFUSED, /* the primary proposed what breaks `rule` */
    NOTE_RANGE_REFUSED,       /* a peer served entries that break `rule` */
    NOTE_CAUGHT_UP,           /* a range was applied, up to `seq` */
    NOTE_GUARD,               /* the amnesia guard was engaged: write it down at once, and engage
                                 it again after every restart */
    NOTE_NONCE_REFUSED,       /* a nonce that does not match its commitment */
    NOTE_CONFLICT,            /* two statements of one replica for one batch */
    NOTE_VIEW_ASKED,          /* this replica asks for view `seq` */
    NOTE_VIEW_ENTERED,        /* it entered view `seq`, of primary `replica` */
    NOTE_NEW_VIEW_REFUSED     /* the new view `seq` of `replica` breaks `rule` */
};

struct effect {
    enum effect_kind kind;
    union {
        struct {
            uint64_t position;
            struct entry entry;
            bool batch_end; /* the batch is complete with this entry: a segment may close */
        } append;
        struct {
            uint64_t position;
            uint64_t entries;
            uint64_t upto;
        } truncate;
        struct {
            uint64_t position;
            struct journal_record record;
        } journal;
        struct {
            uint64_t after;
            uint32_t peer; /* when it was made: the configuration may have changed in this step */
            const struct replica_identity *to;
            enum message_kind kind;
            struct span payload;
        } send;
        struct {
            uint64_t after;
            uint64_t origin;
            enum message_kind kind;
            struct span payload;
        } send_client;
        struct {
            uint32_t peer;
            const struct replica_identity *to;
            uint64_t first_entry;
            uint64_t end_entry; /* one past the last entry of the ledger on disk */
        } serve_range;
        struct {
            uint64_t origin;
            struct digest request_id;
            struct window_place place;
        } serve_receipt;
        struct {
            uint64_t token;
            uint32_t count;
            const struct sign_check *checks; /* bodies live as long as the effects */
        } verify;
        const struct checkpoint_cut *checkpoint; /* state_count and state_root still open */
        struct {
            enum label label; /* LABEL_PRE_PREPARE or LABEL_PREPARE */
            uint32_t replica;
            struct signed_body first;
            struct signed_body second;
        } evidence;
        struct {
            const struct constitution *constitution; /* valid until another is entered */
            bool settled; /* the ledger evidences the last batch before it, for good */
        } configuration;
        struct {
            enum note_kind kind;
            enum rule rule;
            uint32_t replica;
            uint64_t seq;
        } note;
    };
};

/* The effects of one step, in the order in which they must be carried out. */
struct effects {
    struct effect *items;
    uint32_t count;
    uint32_t capacity;
    struct arena arena; /* owns what items point to */
};

void effects_init(struct effects *effects);
void effects_free(struct effects *effects);

/* ---- running ---- */

enum verdict {
    VERDICT_OK,
    VERDICT_FATAL /* memory or the store failed: end the process, restart from the disk */
};

MUST_USE enum verdict replica_step(struct replica *replica, const struct event *event,
                                   struct effects *effects);

/* When the next EVENT_TICK is due, in now_ms. */
uint64_t replica_deadline(const struct replica *replica);

/* Is this digest one of a request that a pre-prepare waits for? Others are not worth a check. */
bool replica_wants_request(const struct replica *replica, const struct digest *request_digest);

/*
 * Would this request be taken now? Asked before its signature is paid for. Returns 0, or why not.
 * REJECT_UNKNOWN never; a request already executed or waiting is taken (0): it gets its reply.
 */
enum reject_reason replica_request_refusal(const struct replica *replica,
                                           const struct request *request);

struct replica_status {
    uint64_t config;
    uint64_t view;       /* of its ledger */
    uint64_t asked_view; /* larger: it has asked for this view and waits for it */
    uint32_t primary;
    uint64_t executed_seq;
    uint64_t committed_seq;
    uint64_t evidenced_seq;
    uint64_t next_index;
    uint64_t committed_index;
    uint64_t entries;
    uint64_t pool_requests;
    bool catching_up; /* it waits for a range, or for its signatures */
    enum guard guard;
};

void replica_status(const struct replica *replica, struct replica_status *status);

/* Assert what must hold between steps. Cheap enough for every step of a simulation. */
void replica_check_invariants(const struct replica *replica);

#endif
