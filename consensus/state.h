/*
 * state: what a replica remembers, private to consensus/.
 *
 * Batches live in slots, a ring over sequence numbers. Invariants between steps
 * (replica_check_invariants): evidenced <= committed <= executed; revealed <= executed; slots
 * (evidenced, executed] are SLOT_EXECUTED and in the ledger's order, in the view of the ledger or
 * before it was entered.
 *
 * The ledger in memory (checker, engine, slots) may be ahead of the one on disk, or part from it,
 * while a new view is followed: `held`. What this replica ranks by is always on disk.
 */
#ifndef ONUS_CONSENSUS_STATE_H
#define ONUS_CONSENSUS_STATE_H

#include "consensus/pool.h"
#include "consensus/replica.h"
#include "execution/replay.h"
#include "ledger/codec_governance.h"

/* A ring large enough for every batch that may still be rolled back, answered or received. */
#define SLOTS_MAX CHECKER_MARKS_MAX

#define STATUS_INTERVAL_MS 200u         /* how often peers hear how far this replica is */
#define STUCK_AFTER_MS 400u             /* no progress for so long: ask for what is missing */
#define RETURN_AFTER_MS VIEW_TIMEOUT_MS /* nobody shows how the configuration before has ended */
#define VIEWS_CALLED_MAX                                                                           \
    64u                     /* beyond the boundary's, that one replica alone may call others to    \
                             */
#define FETCH_AFTER_MS 100u /* requests of a pre-prepare come from clients; then ask for them */
#define FETCH_AFTER_IDLE_MS 10u       /* when no others wait here: the client may be gone already */
#define FETCH_RETRY_MS 200u           /* ask again for requests of a pre-prepare */
#define RANGE_RETRY_MS 2000u          /* ask another peer for a range */
#define EVIDENCE_IDLE_MS 30u          /* an idle primary evidences its last batches after this */
#define CUTS_MAX 4u                   /* checkpoints under way */
#define PEERS_MAX (2u * REPLICAS_MAX) /* those of the configuration, and of the one before */
#define REQUEST_AGE_MS_MAX 60000u     /* a request that nobody proposes is forgotten */
#define LISTEN_MS 5000u               /* a primary that started lets its past come, see propose.c */
#define CONFLICTS_MAX 16u             /* proofs handed out against one peer: one would do */
#define OVERTAKEN_MIN 16u             /* so many requests may overtake one before it is overdue */
#define POOL_SKIPS_MAX 64u    /* requests passed over, because it is too early, in one look */
#define RANGE_BATCHES_MAX 64u /* batches applied from one range */
#define RETIRED_MAX (8u * SLOTS_MAX) /* buffers put aside in one step */
#define RANGE_VIEWS_MAX 16u          /* new views applied from one range */
#define SIGNED_RANGES_MAX 32u        /* views of which this process knows what it signed */

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

/* The requests, in order, of a batch that a view took over and that is to be proposed again. */
struct carried_content {
    uint64_t seq; /* 0: free */
    struct digest batch_root;
    struct buffer digests; /* of struct digest; the requests wait in the pool, taken */
};

/* The two entries of a new view. */
struct kept_view {
    uint64_t after_seq; /* the batch before it */
    uint64_t config;
    uint64_t view;
    bool on_disk;
    struct buffer set;
    struct buffer entry;
};

/* The last view-change of one replica that holds, and the one that is being checked. */
struct asked {
    uint64_t view;       /* 0: none */
    struct buffer bytes; /* an encoded Signed */
    struct arena arena;
    struct view_claim claim;

    uint64_t heard_ms;
    uint64_t token; /* being checked; 0: none is */
    struct buffer next_bytes;
    struct arena next_arena;
    struct view_claim next_claim;
};

/* A new view that came in. */
struct incoming_view {
    uint64_t view;  /* 0: none */
    uint64_t token; /* its view-changes are being checked; 0: they hold */
    struct buffer set;
    struct buffer entry;
    struct arena arena;
    struct view_unit unit;
    struct view_claim *claims;
    uint32_t chosen;
};

/* What this process signed in one view: batches first..last. */
struct signed_range {
    uint64_t view;
    uint64_t first;
    uint64_t last;
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
    uint64_t progress_ms;    /* when it last claimed to have committed more than before */
    uint64_t helped_ms;      /* when it was last answered because it is stuck */
    uint64_t helped_first;   /* the first batch that it lacked then; 0: it never was */
    uint64_t range_after_ms; /* not asked for a range before */
    uint32_t conflicts;      /* pairs of statements that convict it, handed out so far */
};

/*
 * What this key has said in one configuration, and what it ranks by there. It is put aside when
 * the configuration is left, in case one comes back to it.
 */
struct tenure {
    uint64_t config; /* 0: none */
    uint64_t asked_view;
    uint64_t made_view;
    uint64_t entered_view;
    uint64_t signed_view;
    uint64_t signed_seq;
    struct digest signed_digests[SLOTS_MAX];
    struct signed_range signed_ranges[SIGNED_RANGES_MAX];
    uint32_t signed_range_count;
    uint64_t barred_view;
    uint64_t barred_seq;
    uint64_t loaded_view;
    uint64_t loaded_seq;
    uint64_t anchored_view;
    struct buffer best_bytes;
    struct rank best_rank;
    struct digest best_digest;
};

/* A configuration that was entered here, and what it follows from. */
struct era {
    struct constitution constitution;
    struct configuration configuration;
};

/* One that is left, the one in force, and one more to make the next. */
#define ERAS_MAX 3u

struct replica {
    const struct configuration *configuration;
    const struct constitution *constitution; /* NULL: no governance */
    uint32_t self;                           /* REPLICAS_MAX: not in this configuration */
    enum guard guard;
    struct public_key key;
    struct secret_key signing_key;
    uint8_t nonce_secret[32];
    struct checker *checker;
    struct engine *engine;
    struct pool *pool;
    struct slot *slots; /* SLOTS_MAX */

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
    struct peer peers[PEERS_MAX];

    /* configurations: reconfigure.c */
    const struct configuration *before; /* that this one followed here; NULL: none did */
    const struct constitution *constitution_before;
    uint64_t reached_config;   /* the highest of which this replica knows that it has begun: it
                                  speaks in no other */
    uint64_t announced_config; /* the last one in EFFECT_CONFIGURATION */
    uint64_t settled_config;   /* the last one that it said to be settled */
    uint64_t journal_config;   /* a later one in which this key has asked for journal_view */
    uint64_t journal_view;
    uint64_t
        nonce_view; /* recovery: highest one of the configuration before with a nonce of its own */
    uint64_t called_view; /* of the configuration that it went back to; 0: it did not */
    uint64_t called_ms;
    struct era *eras;         /* ERAS_MAX */
    struct tenure tenures[2]; /* put aside, by number modulo 2 */

    /* catching up */
    bool catching_up;  /* ranges follow each other until one is empty */
    bool batch_closes; /* the batch in progress ends with the vote for the next one */
    bool range_asked;
    bool range_afresh;    /* it starts at the settled end: what lies here beyond may differ */
    bool range_parted;    /* what the last peer has does not continue what lies here */
    bool range_resumes;   /* the last range was all known: the next begins where it ended */
    uint32_t self_before; /* the position in the configuration before */
    uint32_t range_peer;
    uint64_t range_deadline_ms;
    uint64_t range_token;    /* a fetched range is tentative until this is verified; 0: none */
    uint64_t range_base_seq; /* where the range was put on, and in which view */
    uint64_t range_base_view;
    uint64_t range_base_config;
    uint64_t range_first_entry; /* what was asked for: what follows this batch and this view */
    uint64_t range_first_seq;
    uint64_t range_first_view;
    uint64_t range_resume_seq;
    uint64_t range_resume_view;

    /* changes of view: view_change.c, new_view.c */
    uint64_t asked_view; /* nothing is signed for a view below this one */
    struct asked asked[REPLICAS_MAX];
    struct incoming_view checked; /* being checked */
    struct incoming_view
        incoming; /* holds, and waits until the ledger can be cut where it begins */
    uint64_t refused_views[REPLICAS_MAX]; /* of each primary the highest that did not hold: neither
                                             it nor one below is looked at again */
    uint64_t refused_ms[REPLICAS_MAX];    /* when that was; 0: never */
    uint64_t entered_view;                /* the highest that the ledger in memory has been in */
    uint64_t made_view;       /* this replica has signed new views up to here, or may have */
    uint64_t choice_excluded; /* bitmap: whose view-changes led to nothing in this view */
    uint32_t failed_views;    /* since the last commit: patience doubles with each */
    uint32_t view_count;
    uint32_t sync_tries;
    bool sync_goes_on; /* the last one did not lead to the end */
    bool suspects;
    uint64_t sync_due_ms;
    uint64_t sync_entries; /* how far ranges for this change of view have led */
    uint64_t ask_due_ms;   /* when to send the view-change again */
    uint64_t quorum_ms;    /* since when Q replicas ask for asked_view; 0: they do not */
    uint64_t waiting_ms;   /* since when something waits to be committed; 0: nothing does */
    struct carried_content carried[PIPELINE_MAX];
    struct kept_view views[VIEW_UNITS_MAX];

    /* what this replica ranks by (rank.c), and how the disk follows (hold.c) */
    struct buffer best_bytes; /* an encoded view-change; its view is still to be set */
    struct rank best_rank;
    struct digest best_digest; /* of its batch's pre-prepare */
    uint64_t anchored_view; /* the journal has the certificate for all that this view took over */
    bool held;              /* the ledger in memory is not on disk beyond held_entries */
    uint64_t held_entries;
    uint64_t held_seq;
    uint64_t disk_entries; /* of the ledger on disk, written or about to be */
    uint64_t disk_seq;     /* its last batch */
    uint64_t disk_seq_position;
    uint64_t durable_seq; /* the last batch on disk that is durable */

    /* what this key has signed (signing.c) */
    bool started; /* the journal says so */
    bool stopping;
    bool loaded_clean;
    enum journal_kind loaded_kind; /* of the last record; 0: there was none */
    uint32_t signed_range_count;
    uint64_t sign_position; /* nothing signed leaves before this is durable */
    uint64_t voted_seq;     /* batches up to here were voted for in this view, or passed over */
    uint64_t signed_view;   /* highest (view, seq) signed */
    uint64_t signed_seq;
    struct digest signed_digests[SLOTS_MAX]; /* in signed_view, by seq; zero: not signed */
    struct signed_range signed_ranges[SIGNED_RANGES_MAX]; /* a ring; oldest are overwritten */
    uint64_t barred_view; /* after an unclean stop: nothing up to (barred_view, barred_seq) */
    uint64_t barred_seq;
    uint64_t loaded_view;

    /* time */
    bool listened;                /* may propose: see propose.c */
    uint32_t last_batch_requests; /* of the last batch that this primary proposed */
    uint64_t started_ms;
    uint64_t now_ms;
    uint64_t wall_ms;
    uint64_t status_due_ms;
    uint64_t progress_ms; /* when committed_seq or executed_seq last moved */
    uint64_t commit_ms;   /* when committed_seq last moved */

    /* scratch */
    struct execution execution;
    struct arena scratch;
    struct buffer encode;
    struct replay replay;
    struct buffer retired;   /* of struct buffer: effects of this step point into them */
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
/* Forget everything about the batch: another view begins. */
void slot_reset(struct slot *slot);
/* Are there Q-1 prepares for the batch executed here? */
bool slot_is_certified(const struct replica *replica, const struct slot *slot);
/* Put aside, until the next step, the buffers that effects of this step may point into. */
void slot_retire(struct replica *replica, struct slot *slot);
void retired_free(struct replica *replica);
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
/* Append one entry to the ledger on disk. */
void effect_append(struct replica *replica, enum entry_kind kind, struct span payload,
                   bool batch_end);
/* Append the entries of an executed slot to the ledger on disk; sets its position. */
void effect_append_slot(struct replica *replica, struct slot *slot);
/* Put a record into the journal. Returns: its disk position. */
uint64_t effect_journal(struct replica *replica, const struct journal_record *record);

/* ---- one file each ---- */

/* reconfigure.c: from one configuration to the next (§9) */

/* The one by whose replicas the slot's batch is, and this replica's position there. */
const struct configuration *slot_configuration(const struct replica *replica,
                                               const struct slot *slot);
uint32_t slot_self(const struct replica *replica, const struct slot *slot);
uint32_t slot_primary(const struct replica *replica, const struct slot *slot);
/* Is this replica one of the configuration? */
static inline bool is_member(const struct replica *replica) {
    return replica->self < replica->configuration->replica_count;
}
/* Was this statement made in the configuration in force? */
static inline bool is_current(const struct replica *replica, uint64_t config) {
    return config == replica->configuration->number;
}
/* Does what this peer last said of views mean anything here? */
static inline bool peer_is_current(const struct replica *replica, uint32_t peer) {
    return replica->peers[peer].known && is_current(replica, replica->peers[peer].status.config);
}
/* The last batch before the configuration in force. */
uint64_t config_start(const struct replica *replica);
/* Enter the next configuration in memory, behind the last batch of this one. */
void configuration_enter(struct replica *replica);
/* Go back to just after that batch, in the configuration before. */
void configuration_leave(struct replica *replica);
/* Enter when the last batch is committed. Returns: whether anything moved. */
bool try_configure(struct replica *replica);
/*
 * Go back to end the configuration before, when too many cannot without it, or when nobody can show
 * how it has ended. As try_configure.
 */
bool try_return(struct replica *replica);
/* Does this replica rank by any batch of this configuration? */
bool has_certified(struct replica *replica);
/* What it has said in the configuration before; NULL: there is none here. */
const struct tenure *tenure_before(const struct replica *replica);
/* It was in the next configuration: does it rank there, by what its disk has and nothing here
 * shows? */
bool ranks_beyond(const struct replica *replica);
/* Has it signed a batch there, or asked for a view? */
bool has_spoken_beyond(const struct replica *replica);
/* Has it gone back for a view that has not begun, and not waited for it in vain? */
bool is_called(const struct replica *replica);
/* Recovery: the next thing in the ledger is of the next configuration. */
void load_configuration(struct replica *replica, const struct batch *batch, enum batch_step step);
/* Tell the driver what it must know by now. */
void tell_configuration(struct replica *replica);

bool is_primary(const struct replica *replica);
/* May it say again, in the view of its ledger, what it has said? */
bool may_speak(const struct replica *replica);
/* May it take part in the view of its ledger? */
bool is_voting(const struct replica *replica);
/* Has it asked for a view that it has not entered? */
static inline bool is_changing_view(const struct replica *replica) {
    return replica->asked_view > checker_position(replica->checker)->view;
}

/* signing.c: one statement for one place, for ever (§5). */

/* May this replica sign this statement for a batch of its ledger's view? */
bool may_sign(const struct replica *replica, uint64_t seq, const struct digest *digest);
/* Has it signed it, as far as this process knows? */
bool has_signed(const struct replica *replica, const struct slot *slot);
void note_signed(struct replica *replica, uint64_t view, uint64_t seq, const struct digest *digest);
/* May this key have signed for this place, as far as this process can know? */
bool may_have_signed(const struct replica *replica, uint64_t view, uint64_t seq);
/* The same for what may have left before the disk had it; a nonce may not. */
bool may_have_sent(const struct replica *replica, uint64_t view, uint64_t seq);
/* This key has signed what this replica does not know: engage the guard for good (§5). */
void note_forgotten(struct replica *replica, uint64_t seq);
/* Does a view-change that holds show a statement of this key that it cannot have made? */
void check_own_claim(struct replica *replica, const struct view_claim *claim);
/* From now on nothing is signed for a view below this one; the journal says so first. */
void raise_asked_view(struct replica *replica, uint64_t view);
/* Say in the journal that this process runs, before it signs anything. */
void journal_start(struct replica *replica);
void journal_stop(struct replica *replica);
/* A record of this kind with no batch in it. */
struct journal_record journal_plain(const struct replica *replica, enum journal_kind kind);
/* The certificate of a slot as a record; what it points to lives as long as the effects. */
struct journal_record journal_certificate(struct replica *replica, const struct slot *slot,
                                          enum journal_kind kind);

/* rank.c: the highest certificate (§6). */

/* Remember the highest ranking certificate of the ledger on disk, before it is left. */
void rank_capture(struct replica *replica);
/* The highest ranking certified batch of the ledger in memory, or NULL. */
struct slot *rank_highest(struct replica *replica);
/* The batch that was captured stands in memory again: so does its certificate. */
void rank_restore(struct replica *replica, struct slot *slot);
/* This replica's view-change for asked_view, signed and kept among the others. */
void rank_ask(struct replica *replica);

/* hold.c: the disk follows when a new view can no longer be lost. */

/* Has the view of the ledger the certificate from which on its batches rank? */
bool has_anchor(const struct replica *replica);
/* The ledger in memory parts from the one on disk at this position. */
void hold_from(struct replica *replica, const struct ledger_position *position);
/* Append a batch that now stands in memory, at once or when it is no longer held. */
void append_slot(struct replica *replica, struct slot *slot);
/* Forget new views that were cut off, and old ones that the disk has. */
void tidy_views(struct replica *replica);
/* Can one more new view be kept at hand? Many failed in a row, with none on disk, before it cannot.
 */
bool has_room_for_view(struct replica *replica);
/* Keep the entries of a new view that now stands in memory. */
void append_view(struct replica *replica, const struct view_unit *unit, bool on_disk);
/* The new view that stands after batch seq with this number, if it is kept. */
const struct kept_view *find_view(const struct replica *replica, uint64_t after_seq, uint64_t view);
/* Write the new views after batch seq that are not on disk, unless they are held. */
void append_views_after(struct replica *replica, uint64_t seq);
/* Write what was held, if it ranks. Returns: whether it did. */
bool try_release(struct replica *replica);
void learn_durable(struct replica *replica);

/* view_change.c, new_view.c */

void on_view_change(struct replica *replica, const struct peer_message *message);
void on_new_view(struct replica *replica, const struct peer_message *message);
/* Is it the answer to the check of a new view's signatures? Then it is acted upon. */
bool on_new_view_verified(struct replica *replica, uint64_t token, bool all_hold);
/* Signatures of view-changes that were checked. Returns: whether the token was one of theirs. */
bool on_view_verified(struct replica *replica, uint64_t token, bool all_hold);
/* How long a view may take before it is given up; twice as long after each that failed. */
uint64_t patience_ms(const struct replica *replica);
/* Ask for a view, and stop taking part in those below. */
void ask_for_view(struct replica *replica, uint64_t view);
/* Time has passed: suspect, ask, repeat. */
void view_tick(struct replica *replica);
/* Is the primary of the current view beyond doubt to blame, or too slow? */
void suspect(struct replica *replica);
/* Make or enter a new view, when all it takes is here. Returns: whether anything moved. */
bool try_change_view(struct replica *replica);
/* Does a change of view wait for a range of somebody's ledger? */
bool view_waits_for_range(const struct replica *replica);
/* A range was all known, and there may be more behind it. */
void view_range_was_known(struct replica *replica);
/* A range was applied. */
void view_range_was_taken(struct replica *replica);
/* A range led nowhere. */
void view_range_was_useless(struct replica *replica);
/* A new view has been entered, by itself or in a range. */
void view_was_entered(struct replica *replica);
void send_new_view(struct replica *replica, uint32_t peer);
/* Ask for signatures to be checked; they live as long as the effects. Returns: the token. */
uint64_t effect_verify(struct replica *replica, const struct buffer *checks);
/* A sink that keeps what is to be checked: struct sign_check items in a buffer. */
struct collector {
    struct replica *replica;
    struct buffer checks;
    bool overflow;
};
bool collector_check(void *context, const struct sign_check *check, enum rule rule);

/* carry.c: what a view takes over. */

/* Before the ledger is cut: keep the requests of the batches that this claim carries. */
void carry_over(struct replica *replica, const struct view_claim *claim);
/* After it was cut: take them out of the queue again. */
void carry_take(struct replica *replica);
/* Are all requests of this claim's batches at hand? */
bool carry_is_complete(struct replica *replica, const struct view_claim *claim);
const struct carried_content *carry_find(const struct replica *replica, uint64_t seq);
void carry_free(struct replica *replica);

void on_pre_prepare(struct replica *replica, const struct peer_message *message);
void on_prepare(struct replica *replica, const struct peer_message *message);
void on_commit(struct replica *replica, const struct peer_message *message);
void on_status(struct replica *replica, const struct peer_message *message);
void on_fetch_requests(struct replica *replica, const struct peer_message *message);
void on_fetch_range(struct replica *replica, const struct peer_message *message);
void on_range(struct replica *replica, const struct peer_message *message);
/* Ask a peer, or this replica's own disk, for its ledger from here on. */
void ask_for_range(struct replica *replica, uint32_t peer, bool afresh);
/* Replay one whole batch of a ledger into a slot; it stands tentatively when RULE_NONE. */
enum rule take_ledger_batch(struct replica *replica, const struct batch *batch,
                            const struct sign_sink *sink);
void on_range_verified(struct replica *replica, bool all_hold);
/* The last peer asked gave nothing that could be used: leave it alone for a while. */
void range_was_useless(struct replica *replica, uint64_t pause_ms);
/* Does a pre-prepare that was received wait for this request? */
bool batch_waits_for(const struct replica *replica, const struct digest *request_digest);
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
/* Is there room for one more checkpoint under way, in case the next batch calls for one? */
bool has_room_for_cut(const struct replica *replica);
/* After the checker sealed the batch of this slot: marks, tree, cut. */
void batch_sealed(struct replica *replica, struct slot *slot);
/* Seal with the slot's statement; unknown evidence signatures are collected. */
enum rule batch_seal_statement(struct replica *replica, struct slot *slot,
                               const struct sign_sink *sink);
/* Go back to just after batch seq, which is not below settled, and new views up to this view. */
void rollback_to(struct replica *replica, uint64_t seq, uint64_t view);

/*
 * Does a batch's evidence, whose signatures hold, show this key's vote for a batch that this
 * replica never voted for? Then it has forgotten what it signed: engage the guard for good (§5).
 */
void check_own_votes(struct replica *replica, const struct slot *slot);
/* What the ledger evidences is committed, whether or not the nonces came here one by one. */
void learn_from_evidence(struct replica *replica);
/* All batches up to here are known to be committed. */
void commit_upto(struct replica *replica, uint64_t seq);

/* Keep the votes and nonces that a batch's evidence, which holds, shows. */
void absorb_evidence(struct replica *replica, const struct slot *slot);
/* Sign the batch as a backup; the encoded vote is in replica->encode. */
void make_vote(struct replica *replica, struct slot *slot);
/* Sign batches as a backup as far as this replica may. Returns: whether anything moved. */
bool try_vote(struct replica *replica);
/* Count votes and nonces against the digest that the slot has now. */
void slot_recount(struct replica *replica, struct slot *slot);
void slot_check_nonce(struct replica *replica, struct slot *slot, uint32_t from);
/*
 * Take over the prepares of a certificate that this replica held for the slot's batch: signatures
 * and nonce hashes of the signers, by ascending replica. A prepare that counts already stays: its
 * author's nonce was perhaps matched with it, and a liar may have signed two.
 */
void restore_votes(struct replica *replica, struct slot *slot, uint64_t signers,
                   const struct signature *signatures, const struct digest *nonce_hashes);
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

/* What must be durable before the nonce of this batch may leave. */
uint64_t reveal_after(const struct replica *replica, const struct slot *slot);
/* Can this replica itself evidence the batch, with Q signatures and nonces? */
bool slot_can_evidence(const struct replica *replica, const struct slot *slot);
/* Q signers of a batch that it can evidence, the primary among them. */
uint64_t slot_choose_signers(const struct replica *replica, const struct slot *slot);
/* Signatures and nonces of one batch's signers. */
struct evidence_parts {
    struct signature signatures[REPLICAS_MAX];
    struct nonce nonces[REPLICAS_MAX];
};
/* Fill in parts and what points into them. */
void slot_gather(const struct replica *replica, const struct slot *slot, uint64_t signers,
                 struct evidence_parts *parts, struct batch_evidence *out);
/*
 * Send a peer the nonces of a committed batch, for those who revealed them may be gone; and the
 * prepares that they belong to, for a liar may have signed another one for this peer alone.
 */
void relay_votes(struct replica *replica, const struct slot *slot, uint32_t peer);
/* Send a peer what this replica said about a batch, once more. */
void resend_slot(struct replica *replica, const struct slot *slot, uint32_t peer);

void send_status(struct replica *replica);
void catch_up_tick(struct replica *replica);

#endif
