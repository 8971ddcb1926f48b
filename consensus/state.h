/*
 * state: what a replica remembers, private to consensus/.
 *
 * Batches live in slots, a ring over sequence numbers. Invariants between steps
 * (replica_check_invariants): evidenced <= committed <= executed; revealed <= executed unless the
 * range was fetched; slots (evidenced, executed] are SLOT_EXECUTED and in the ledger's order.
 */
#ifndef ONUS_CONSENSUS_STATE_H
#define ONUS_CONSENSUS_STATE_H

#include "consensus/pool.h"
#include "consensus/replica.h"
#include "execution/replay.h"

/* A ring large enough for every batch that may still be rolled back, answered or received. */
#define SLOTS_MAX CHECKER_MARKS_MAX

#define STATUS_INTERVAL_MS 200u /* how often peers hear how far this replica is */
#define STUCK_AFTER_MS 400u     /* no progress for so long: ask for what is missing */
#define FETCH_AFTER_MS 100u     /* requests of a pre-prepare come from clients; then ask for them */
#define FETCH_AFTER_IDLE_MS 10u /* when no others wait here: the client may be gone already */
#define FETCH_RETRY_MS 200u     /* ask again for requests of a pre-prepare */
#define RANGE_RETRY_MS 2000u    /* ask another peer for a range */
#define EVIDENCE_IDLE_MS 30u    /* an idle primary evidences its last batches after this */
#define CUTS_MAX 4u             /* checkpoints under way */
#define REQUEST_AGE_MS_MAX 60000u /* a request that nobody proposes is forgotten */
#define LISTEN_MS 5000u           /* a primary that started lets its past come, see propose.c */
#define CONFLICTS_MAX 16u         /* proofs handed out against one peer: one would do */
#define POOL_SKIPS_MAX 64u        /* requests passed over, because it is too early, in one look */
#define RANGE_BATCHES_MAX 64u     /* batches applied from one range */

static_assert(LISTEN_MS > 2 * RANGE_RETRY_MS, "two peers can be asked meanwhile");
static_assert(SLOTS_MAX >= RANGE_BATCHES_MAX + 2 * PIPELINE_MAX,
              "a range is applied while a pipeline is still settling");

/* One replica's prepare for a batch, as it came; the signature holds. */
struct vote {
    bool present;
    struct digest pre_prepare_digest;
    struct digest nonce_hash;
    struct signature signature;
};

/* One request of an executed batch: what its author will be told. */
struct slot_request {
    struct digest id;
    uint64_t origin;
    uint64_t first_index;
    uint64_t leaf;
    uint32_t call_count;
};

enum slot_stage {
    SLOT_EMPTY,     /* votes may have come early */
    SLOT_RECEIVED,  /* the pre-prepare is here, not yet executed */
    SLOT_TENTATIVE, /* executed from a fetched range whose signatures are being checked */
    SLOT_EXECUTED   /* executed and appended */
};

struct slot {
    uint64_t seq; /* 0: free */
    enum slot_stage stage;

    /* from SLOT_RECEIVED on */
    struct buffer statement; /* the encoded pre-prepare message; decoded below */
    struct arena arena;
    struct pre_prepare_message message;
    struct pre_prepare body;
    struct digest digest;
    bool refused;           /* it breaks a rule: nothing will ever be signed for it */
    bool evidence_verified; /* signatures of its evidence that were unknown hold */
    uint64_t verify_token;  /* they are being checked; 0: not */
    uint64_t fetch_after_ms;

    /* from SLOT_TENTATIVE on */
    struct buffer entries;       /* request entries, one after the other */
    struct buffer entry_sizes;   /* of uint32_t */
    struct buffer outcomes;      /* encoded outcomes, one after the other */
    struct buffer outcome_sizes; /* of uint32_t */
    struct buffer requests;      /* of struct slot_request */
    struct tree tree;            /* G */
    uint64_t engine_mark;        /* after the batch */
    uint64_t position;           /* disk position of its last entry */

    /* votes and nonces */
    struct vote votes[REPLICAS_MAX];
    struct nonce nonces[REPLICAS_MAX];
    uint64_t nonces_come; /* bitmap: as received */
    uint64_t nonces_good; /* bitmap: match their commitment */
    uint64_t prepared_by; /* bitmap: votes for this very digest */
    bool voted;           /* this replica signed it */
    bool revealed;
    uint64_t reveal_position;
};

/* A checkpoint under way: its cut is made, its state not yet digested. */
struct cut {
    bool used;
    bool started; /* EFFECT_CHECKPOINT has been emitted */
    struct checkpoint_cut cut;
};

struct peer {
    bool known;
    struct status_message status;
    uint64_t helped_ms;      /* when it was last answered because it is stuck */
    uint64_t range_after_ms; /* not asked for a range before */
    uint32_t conflicts;      /* pairs of statements that convict it, handed out so far */
};

struct replica {
    const struct configuration *configuration;
    uint32_t self;
    struct public_key key;
    struct secret_key signing_key;
    uint8_t nonce_secret[32];
    struct checker *checker;
    struct engine *engine;
    struct pool *pool;
    struct slot *slots; /* SLOTS_MAX */
    enum guard guard;

    uint64_t executed_seq;
    uint64_t committed_seq;
    uint64_t evidenced_seq;
    uint64_t revealed_seq;
    uint64_t loaded_seq; /* the ledger's end when this process started */
    uint64_t base_mark;  /* engine mark at the base */

    uint64_t disk_position; /* last one given out */
    uint64_t step_position; /* the same when the step began */
    uint64_t durable_position;
    uint64_t next_token;

    struct cut cuts[CUTS_MAX];
    struct peer peers[REPLICAS_MAX];

    /* catching up */
    bool catching_up; /* ranges follow each other until one is empty */
    bool range_asked;
    uint32_t range_peer;
    uint64_t range_deadline_ms;
    uint64_t range_token; /* a fetched range is tentative until this is verified; 0: none */
    uint64_t range_base_seq;

    /* time */
    bool listened; /* may propose: see propose.c */
    uint64_t started_ms;
    uint64_t now_ms;
    uint64_t wall_ms;
    uint64_t status_due_ms;
    uint64_t progress_ms;         /* when committed_seq or executed_seq last moved */
    uint32_t last_batch_requests; /* of the last batch that this primary proposed */

    /* scratch */
    struct execution execution;
    struct arena scratch;
    struct buffer encode;
    struct replay replay;
    struct effects *effects; /* of the step in progress */
    bool failed;
};

/* ---- slots ---- */

/* The slot of a sequence number if it is in use, or NULL. */
struct slot *slot_find(struct replica *replica, uint64_t seq);
/* May messages for this sequence number take a slot: not settled, and not too far ahead? */
bool slot_is_open(const struct replica *replica, uint64_t seq);
/* Could its slot be taken over at all? A range may reach further than messages may. */
bool slot_is_free(const struct replica *replica, uint64_t seq);
/* The slot of a sequence number, taken over from a settled batch if need be. */
struct slot *slot_claim(struct replica *replica, uint64_t seq);
/* Keep votes, forget the pre-prepare and what was executed. */
void slot_reset_batch(struct slot *slot);
/* Drop what only unsettled batches need. */
void slot_shrink(struct slot *slot);
void slot_free(struct slot *slot);
/* Store an encoded pre-prepare message. Returns: false when out of memory or not decodable. */
MUST_USE bool slot_store_statement(struct replica *replica, struct slot *slot,
                                   const struct pre_prepare_message *message);
/*
 * Note one executed request whose entry, of entry_size bytes, was just appended to slot->entries;
 * outcomes: one a call. Returns: false when out of memory or over the limit of a batch.
 */
MUST_USE bool slot_note_request(struct slot *slot, const struct slot_request *record,
                                size_t entry_size, const struct span *outcomes);
uint32_t slot_request_count(const struct slot *slot);
struct slot_request *slot_request_at(const struct slot *slot, uint32_t nth);

/* ---- effects ---- */

/* A new effect at the end of the list, or NULL when memory is exhausted (replica->failed). */
struct effect *effect_add(struct replica *replica, enum effect_kind kind);
void effect_note(struct replica *replica, enum note_kind kind, uint32_t peer, uint64_t seq,
                 enum rule rule);
/* Send the bytes in `payload`, which must outlive the step (a slot's, or the effects' arena). */
void effect_send(struct replica *replica, uint32_t peer, enum message_kind kind,
                 struct span payload, uint64_t after);
void effect_send_all(struct replica *replica, enum message_kind kind, struct span payload,
                     uint64_t after);
/* Copy bytes so that they live as long as the effects. */
struct span effect_keep(struct replica *replica, struct span bytes);
/* Append the entries of an executed slot to the ledger; sets its position. */
void effect_append_slot(struct replica *replica, struct slot *slot);

/* ---- one file each ---- */

bool is_primary(const struct replica *replica);
/* May it sign? */
bool is_voting(const struct replica *replica);

void on_pre_prepare(struct replica *replica, const struct peer_message *message);
void on_prepare(struct replica *replica, const struct peer_message *message);
void on_commit(struct replica *replica, const struct peer_message *message);
void on_status(struct replica *replica, const struct peer_message *message);
void on_fetch_requests(struct replica *replica, const struct peer_message *message);
void on_fetch_range(struct replica *replica, const struct peer_message *message);
void on_range(struct replica *replica, const struct peer_message *message);
/* Replay one whole batch of a ledger into a slot; it stands tentatively when RULE_NONE. */
enum rule take_ledger_batch(struct replica *replica, const struct batch *batch,
                            const struct sign_sink *sink);
void on_range_verified(struct replica *replica, bool all_hold);
/* The last peer asked gave nothing that could be used: leave it alone for a while. */
void range_was_useless(struct replica *replica, uint64_t pause_ms);
void on_request(struct replica *replica, uint64_t origin, const struct request *request);
void on_receipt_query(struct replica *replica, uint64_t origin, const struct digest *request_id);

/* Execute the next received pre-prepare, if it is complete. Returns: whether anything moved. */
bool try_execute(struct replica *replica);
/* The primary's turn: propose the next batch if there is room and reason. */
bool try_propose(struct replica *replica);
/* Reveal, commit and settle what can be. */
bool try_finish(struct replica *replica);

/* Begin a batch in checker and slot; then take its requests; see execute.c. */
void batch_open(struct replica *replica, struct slot *slot);
/* May the batch in progress take this request, too (genesis' limits of a batch)? */
bool batch_has_room(const struct replica *replica, const struct slot *slot,
                    const struct pool_entry *entry);
MUST_USE bool batch_take_request(struct replica *replica, struct slot *slot,
                                 const struct pool_entry *entry);
void batch_cancel(struct replica *replica, struct slot *slot, uint64_t engine_mark);
/* After the checker sealed the batch of this slot: marks, tree, cut. */
void batch_sealed(struct replica *replica, struct slot *slot);
/* Seal with the slot's statement; unknown evidence signatures are collected. */
enum rule batch_seal_statement(struct replica *replica, struct slot *slot,
                               const struct sign_sink *sink);
/* Go back to just after batch seq, which is not settled. */
void rollback_to(struct replica *replica, uint64_t seq);

/*
 * Does a batch's evidence, whose signatures hold, show this key's vote for a batch that this
 * replica never voted for? Then it has forgotten what it signed: engage the guard for good (§5).
 */
void check_own_votes(struct replica *replica, const struct slot *slot);
/* What the ledger evidences is committed, whether or not the nonces came here one by one. */
void learn_from_evidence(struct replica *replica);

/* Sign this batch as a backup, unless this replica must not. */
void vote_for(struct replica *replica, struct slot *slot);
/* Count votes and nonces against the digest that the slot has now. */
void slot_recount(struct replica *replica, struct slot *slot);
void slot_check_nonce(struct replica *replica, struct slot *slot, uint32_t from);
/* This replica's nonce for the slot's batch (§3). */
bool slot_own_nonce(const struct replica *replica, const struct slot *slot, struct nonce *nonce);

/* Emit EFFECT_CHECKPOINT for the next settled cut, if none is under way. */
void start_checkpoint(struct replica *replica);
void learn_checkpoint(struct replica *replica, uint64_t seq, uint64_t state_count,
                      const struct digest *state_root);

/* Answer the clients of a batch whose nonce was just revealed. */
void reply_batch(struct replica *replica, struct slot *slot, bool with_result);
void reply_executed(struct replica *replica, uint64_t origin, const struct digest *request_id,
                    const struct window_place *place);
void reply_reject(struct replica *replica, uint64_t origin, const struct digest *request_id,
                  enum reject_reason reason);

/* Send a peer what this replica said about a batch, once more. */
void resend_slot(struct replica *replica, const struct slot *slot, uint32_t peer);

void send_status(struct replica *replica);
void catch_up_tick(struct replica *replica);

#endif
