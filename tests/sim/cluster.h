/*
 * cluster: a whole consortium in one process: the real core, checker and engine of every replica,
 * its clients, and a simulated network, disk and clock. Every decision comes from one seed: the
 * same seed and the same calls give the same run, which cluster_trace_hash pins down.
 *
 * After every step it is judged (watch_votes.c, watch_ledger.c): invariants of each core,
 * agreement, one vote for one batch of one view over all bytes ever sent, nothing revealed that is
 * not durable, ledgers that agree wherever they are settled, one execution of each request,
 * receipts that verify. What does not hold ends the process, with the seed and the last lines of
 * the trace; ONUS_TRACE=1 prints all lines.
 *
 * A node is a process; a replica is who it speaks as. They are the same but for twins: two nodes
 * that share one key. Nodes 0..N-1 are the replicas', twins come after them. What is said of
 * correct nodes is judged; what Byzantine ones or those with a restored disk say is not.
 *
 * Times are microseconds since the cluster began.
 */
#ifndef ONUS_TESTS_SIM_CLUSTER_H
#define ONUS_TESTS_SIM_CLUSTER_H

#include "base/prng.h"
#include "client/session.h"
#include "consensus/join.h"
#include "consensus/replica.h"
#include "execution/history.h"
#include "receipts/receipt.h"
#include "tests/forge/charter.h"
#include "tests/forge/consortium.h"
#include "tests/sim/table.h"

#define CLUSTER_NODES_MAX 16u
#define CLUSTER_CLIENTS CONSORTIUM_USERS
#define CLUSTER_KINDS (MESSAGE_CHAIN_REPLY + 1) /* of messages between replicas */
#define CLUSTER_NOTES (NOTE_NEW_VIEW_REFUSED + 1)
#define CLUSTER_JOIN_NOTES (JOIN_NOTE_SLOW + 1)
#define TRACE_LINES 60u
#define TRACE_LINE_SIZE 160u
#define VERIFIED_MAX 8192u
#define REPLAYS_MAX 256u /* old frames kept, to be sent again */

/* ---- what lies on a disk (cluster_disk.c) ---- */

/* What one pre-prepare entry says, for the judge. */
struct batch_facts {
    uint64_t entry; /* its index */
    uint64_t seq;
    uint64_t view;
    uint64_t view_start;
    uint64_t first_index;
    uint64_t time_ms;
    uint64_t evidence_upto;
    uint32_t tx_count;
    struct digest batch_root;
    struct digest digest; /* LABEL_PRE_PREPARE, with signature */
};

/* Where an entry stands: the last pre-prepare up to it (NULL: none), and the calls behind that. */
struct entry_mark {
    const struct batch_facts *facts;
    uint64_t view; /* of the ledger */
    uint64_t calls;
    bool ends_unit; /* with this entry a batch or a new view is complete */
};

/* Entries are where their numbers say: a ledger that begins later has empty ones in front. */
struct entry_list {
    struct entry *items;
    struct entry_mark *marks; /* of the same items */
    uint64_t first;           /* the entries before it are not there */
    uint64_t count;
    uint64_t capacity;
    uint64_t mark_capacity;
};

enum disk_op_kind { DISK_APPEND, DISK_TRUNCATE, DISK_JOURNAL };

struct journal_item {
    struct span bytes;
    enum journal_kind kind;
    uint64_t view;
    uint64_t seq;
    uint32_t incarnation;
};

struct disk_op {
    enum disk_op_kind kind;
    uint64_t position;
    struct entry entry;
    struct entry_mark mark;
    uint64_t entries; /* of DISK_TRUNCATE */
    uint64_t upto;    /* the same: what replaces the tail ends with this position */
    struct journal_item journal;
};

struct journal_list {
    struct journal_item *items;
    uint64_t count;
    uint64_t capacity;
};

/* One key of the state at the last checkpoint. */
struct state_row {
    struct span key;
    struct span value;
};

struct sim_store {
    bool present;
    uint64_t seq;
    struct digest root;
    struct span snapshot;
    struct state_row *rows; /* ascending keys */
    uint64_t row_count;
};

/* A directory beside the ledger's (cluster_join.c): joining/, joined/ or older/. */
struct sim_place {
    bool present;
    bool has_ledger;
    bool has_state;
    struct entry_list ledger;
    struct sim_store store;
    struct digest digest; /* of the checkpoint, as the offer kept there proves */
    uint64_t seq;
    uint64_t first_entry; /* F, and the end of the ledger at the checkpoint, from the same offer */
    uint64_t end_entry;
};

/* A copy of a whole disk, or of a part of it, to be restored later. */
struct disk_copy {
    bool present;
    struct entry_list ledger;
    struct journal_list journal;
};

struct sim_disk {
    struct entry_list durable; /* genesis is entry 0 */
    struct entry_list live;    /* and what was written since */
    struct journal_list journal;
    bool journal_missing;
    enum guard guard; /* written down: this key must never vote again */
    struct sim_store store;

    struct disk_op *ops; /* written, not durable; oldest first */
    uint32_t op_count;
    uint32_t op_capacity;
    uint32_t syncing;       /* as many of them become durable next */
    bool sync_runs;         /* a sync is under way, or waits for space */
    uint64_t extra_us;      /* what a sync takes here beyond what it takes elsewhere */
    uint64_t full_until_us; /* no space: nothing becomes durable before */
    bool fails_next;        /* the next sync ends the process */
    struct sim_place joining;
    struct sim_place joined;
    struct sim_place older;
    uint64_t
        links_lead_to;   /* the configuration that the chain, as it was given it, reaches; or 0 */
    bool ledger_is_away; /* between two renames */
    bool state_is_away;
    struct disk_copy copy;
};

/* ---- what travels ---- */

/* Bytes on their way, held by every event that will deliver them. */
struct parcel {
    uint32_t holders;
    size_t size;
    uint8_t bytes[];
};

struct parcel *parcel_new(struct span bytes);
struct parcel *parcel_hold(struct parcel *parcel);
void parcel_drop(struct parcel *parcel);

/* ---- a replica and its surroundings ---- */

struct cluster;

/* Whose links of the governance chain (cluster_links.c). */
struct links_of {
    struct cluster *cluster;
    uint32_t node;
};

struct waiting_send {
    uint64_t after;
    bool to_client;
    uint64_t to;
    enum message_kind kind;
    struct span payload;
    struct parcel *parcel; /* owns the payload while it waits */
};

/* What a key has said so far that binds it (watch_votes.c). */
struct voice {
    uint64_t asked_view;   /* of its view-changes */
    struct rank stated;    /* by the last of them */
    struct rank rank;      /* the highest of its nonces */
    struct rank vote;      /* and of its pre-prepares and prepares */
    bool guarded;          /* its guard was engaged when it started */
    uint64_t barred_view;  /* what it signed up to there it may have forgotten when it started */
    uint64_t barred_seq;   /* 0: it knows all */
    uint64_t doubted_view; /* 1 + the view that it has given up, suspecting or asking for another */
    uint8_t last_kind;     /* the last message, which is often sent to many */
    struct buffer last;
};

struct node {
    uint32_t id;    /* the replica that it speaks as */
    bool puppet;    /* no core runs: a scenario speaks for it */
    bool byzantine; /* its key is not judged */
    bool restored;  /* nor this one: its disk went back in time */
    bool left_out;  /* faulty for good: nobody waits for it */
    bool up;
    uint32_t deaf_to; /* 1 + the client whose frames it ignores; 0: none */
    uint32_t incarnation;
    uint64_t boot_us;
    uint64_t tick_us;
    uint64_t paused_until_us; /* a stopped process: events wait */
    bool stopping;            /* ends once stop_after is durable */
    uint64_t stop_after;
    uint64_t tail_seen_us; /* since when a new tail is on its way to the disk; for simulations */
    int64_t wall_offset_ms;
    uint64_t durable;       /* disk position */
    uint64_t disk_position; /* the last one given out */
    struct checker *checker;
    struct engine *engine;
    struct replica *replica;
    struct effects effects;
    struct sim_disk disk;
    struct voice voice;

    struct waiting_send *outbox;
    uint32_t outbox_count;
    uint32_t outbox_capacity;

    bool cut_waits; /* a checkpoint waits for the ledger before it to be durable */
    bool cut_runs;
    uint64_t cut_after;
    uint64_t cut_extra_us; /* what a checkpoint takes here beyond what it takes elsewhere */
    struct checkpoint_cut cut;

    struct join *join; /* NULL: nothing is fetched */
    bool rests;        /* the replica, while a checkpoint is fetched */
    uint64_t joins_in; /* the configuration by which peers have their numbers; 0: the replica's */
    uint64_t asks_in;  /* the older ledger is asked of the replicas of this one */
    uint64_t join_due_us;
    struct join_effects *join_effects;
    struct links_of links;     /* what the join has of the governance chain */
    struct history *history;   /* while there is an older ledger to be read */
    struct sim_store previous; /* the checkpoint before the last, in memory: what is offered */
    uint64_t previous_carrier; /* the batch that carries it, 0: there is none */
    uint64_t pinned_us;        /* since when it must not change; 0: it may */
    uint64_t offer_used_us;

    uint64_t judged_seq;     /* committed batches up to here were held against the others' */
    uint64_t judged_entries; /* settled entries that were: never cut again */

    /* counts, for scenarios */
    uint64_t notes[CLUSTER_NOTES];
    enum rule last_rule;     /* that a note was about */
    uint64_t evidence_count; /* EFFECT_EVIDENCE */
    uint64_t sent[CLUSTER_KINDS];
    uint64_t joins; /* checkpoints installed */
    uint64_t merges;
    uint64_t join_notes[CLUSTER_JOIN_NOTES];
};

/* ---- clients (cluster_client.c, cluster_session.c) ---- */

struct client_request {
    uint32_t client;
    struct span bytes;
    struct digest id;
    struct request request;
    bool done;        /* a receipt for every call was verified */
    bool abandoned;   /* nobody waits for it */
    bool in_session;  /* its client's session works on it */
    bool was_refused; /* the session said that it will not be executed */
    uint32_t rejects;
    enum reject_reason reject;
    uint64_t seq;
    uint64_t first_index;
    uint64_t floor_index; /* the highest index that had a receipt when this was first sent */
    uint64_t receipts;    /* receipt messages and results that led to one */
    struct span outcomes[4];
    struct span receipt; /* of its first call, encoded */
    uint64_t sent_us;
    uint64_t done_us;
};

/* What clients heard of one pre-prepare: replies, and results that wait for enough of them. */
struct client_batch {
    struct signed_body pre_prepare;
    bool has_claims;
    uint64_t config;
    uint64_t view;
    uint64_t seq;
    uint64_t replied; /* bitmap */
    struct signature signatures[CLUSTER_NODES_MAX];
    struct nonce nonces[CLUSTER_NODES_MAX];
    struct span certificate; /* once it holds */
    uint32_t first_claim;    /* 1 + index into claims; 0: none */
};

struct client_claim {
    uint32_t from;
    uint32_t request; /* number of the client_request */
    struct request_result result;
    uint32_t next; /* 1 + index of the batch's next claim */
    bool used;
};

struct sim_client {
    struct session *session; /* NULL: cluster_options.sessions is off */
    struct cluster *cluster;
    uint32_t number;
    bool outdated;          /* the session is to go over to another configuration */
    uint64_t links_lead_to; /* the newest that it has links to */
};

/* ---- the cluster ---- */

enum sim_kind {
    SIM_FRAME,
    SIM_HAND_OVER, /* a frame that a node reads from its own disk */
    SIM_TO_CLIENT,
    SIM_SYNCED,
    SIM_VERIFIED,
    SIM_CHECKPOINT,
    SIM_RETRY,
    SIM_JOIN_STORED,
    SIM_JOIN_TAKEN
};

struct sim_event {
    uint64_t at_us;
    uint64_t order;
    enum sim_kind kind;
    uint32_t node;
    uint32_t from; /* a replica, or CLUSTER_NODES_MAX + client */
    uint32_t incarnation;
    uint8_t message;
    bool good;
    uint64_t number;
    struct parcel *parcel; /* of frames; the event holds it */
};

/* A frame about to travel between nodes. */
struct frame {
    uint32_t from;      /* the replica that it comes from */
    uint32_t from_node; /* the same, unless twins speak for it */
    uint32_t to;        /* a node, or CLUSTER_NODES_MAX + client */
    uint8_t kind;
    struct span payload;
};

/* A frame kept to be sent again. */
struct old_frame {
    struct frame frame;
    struct parcel *parcel;
};

struct cluster;
/* Told of each frame that a node sends. Returns: whether it travels. */
typedef bool (*frame_filter)(void *context, struct cluster *cluster, const struct frame *frame);

struct network {
    uint64_t delay_us_min;
    uint64_t delay_us_max;
    uint32_t drop_permille;
    uint32_t duplicate_permille;
    uint32_t replay_permille; /* an old frame is sent again beside this one */
    uint32_t client_drop_permille;
    bool reorder; /* also within a link */
    bool cut[CLUSTER_NODES_MAX][CLUSTER_NODES_MAX];
    uint64_t last_us[CLUSTER_NODES_MAX][CLUSTER_NODES_MAX];
    struct old_frame old[REPLAYS_MAX];
    uint64_t old_count; /* frames offered so far */
};

struct cluster_options {
    uint32_t replica_count; /* 0: 4 */
    uint64_t seed;
    uint32_t pipeline;            /* 0: 4 */
    uint64_t checkpoint_interval; /* 0: 9, the least for a pipeline of 4 */
    uint64_t window;              /* 0: the least */
    uint32_t batch_calls_max;     /* 0: the least */
    uint32_t pool_requests_max;   /* 0: 1000 */
    size_t pool_size_max;         /* 0: 8 MiB */
    uint32_t puppets;             /* bitmap of nodes without a core */
    uint32_t byzantine;           /* bitmap of replicas whose keys are not judged */
    uint32_t twins;               /* bitmap of replicas that run twice; Byzantine, too */
    bool no_retries;              /* clients send once */
    bool no_joins;                /* who begins at genesis catches up by ranges */
    bool sessions;                /* clients are client/session.h, not our own */
    bool cheap_signatures;        /* tests/sim/signing.h */
    bool governed;                /* members may change the configuration */
    uint32_t spares;     /* the last so many of replica_count are in no configuration yet */
    bool overrun;        /* more than f lie: a request may be answered in two ways */
    uint64_t events_max; /* then the run fails; 0: any number */
};

/* What was injected, for summaries. */
enum fault {
    FAULT_DROP,
    FAULT_DUPLICATE,
    FAULT_REPLAY,
    FAULT_CUT,
    FAULT_CRASH,
    FAULT_STOP,
    FAULT_PAUSE,
    FAULT_CLOCK,
    FAULT_DISK_SLOW,
    FAULT_DISK_FULL,
    FAULT_DISK_ERROR,
    FAULT_RESTORE,
    FAULT_FLIPPED_BIT,
    FAULT_MISDIRECTED_WRITE,
    FAULT_LIE,
    FAULT_LOST_DISK,
    FAULT_LATE_START,
    FAULT_JOIN,       /* no fault, but what comes of one: a checkpoint installed */
    FAULT_JOIN_LATER, /* of these, those of a later configuration than the founding one */
    FAULT_COUNT
};

#define CLUSTER_ERAS_MAX 16u
#define CLUSTER_SPARE_NUMBER 9000u /* keys of spares are made of their id and this */

/* A configuration that some node has entered. */
struct cluster_era {
    bool known;
    uint64_t start; /* the last batch before it */
    uint64_t views; /* the highest that any correct node has entered */
    struct digest digest;
    struct constitution constitution;
    struct configuration configuration;
};

struct agreed_batch {
    bool known;
    uint64_t view; /* the lowest in which somebody committed it */
    uint64_t first_index;
    uint64_t time_ms;
    uint32_t tx_count;
    struct digest batch_root;
};

struct cluster {
    struct cluster_options options;
    struct prng prng;
    struct consortium consortium;
    const struct configuration *configuration; /* the founding one */
    struct charter *charter;                   /* NULL: it stays */
    struct cluster_era eras[CLUSTER_ERAS_MAX]; /* by number, from 1 */
    struct replica_keys keys[CLUSTER_NODES_MAX];
    uint32_t replica_count;
    uint32_t node_count; /* replicas and twins */
    struct node nodes[CLUSTER_NODES_MAX];
    struct network network;
    uint64_t sync_us_min;
    uint64_t sync_us_max;
    uint64_t checkpoint_us;
    uint32_t crash_in_install_permille; /* of renames, when a checkpoint is installed or merged */
    int64_t wall_ms; /* the wall clock when the cluster began; scenarios may shift it */
    frame_filter filter;
    void *filter_context;

    uint64_t now_us;
    uint64_t next_order;
    struct sim_event *heap;
    uint32_t heap_count;
    uint32_t heap_capacity;
    struct arena arena;

    struct sim_client clients[CLUSTER_CLIENTS];
    struct client_request *requests;
    uint32_t request_count;
    uint32_t request_capacity;
    struct table request_numbers; /* by id */
    struct table client_batches;  /* by digest: 1 + index of batches */
    struct client_batch *batches;
    uint64_t batch_count;
    uint64_t batch_capacity;
    struct client_claim *claims;
    uint64_t claim_count;
    uint64_t claim_capacity;
    uint64_t requests_made;
    struct receipt_memory receipt_memory;
    uint64_t receipts_verified;
    struct span *receipts; /* all that differ and were verified, encoded, in the arena */
    uint64_t receipt_count;
    uint64_t receipt_capacity;
    struct table receipts_seen; /* by digest */
    uint64_t highest_index;     /* with a receipt that a client holds */

    /* what all must agree on */
    struct agreed_batch *agreed; /* by sequence number */
    uint64_t agreed_capacity;
    struct table checkpoints; /* state roots by sequence number */
    struct table said;        /* digests of statements and nonces by key, view and seq */
    struct table secrets;     /* where each nonce was revealed */
    struct entry_list canonical;
    uint64_t committed_seq; /* of any node */
    uint64_t highest_view;  /* that any correct node has entered */
    uint64_t judgements;    /* statements, batches, entries, receipts held against something */

    struct digest *verified; /* a cache of signature checks that held */
    uint64_t checks_done;
    uint64_t faults[FAULT_COUNT];
    uint64_t events;
    uint64_t recoveries;
    char trace[TRACE_LINES][TRACE_LINE_SIZE];
    uint64_t trace_count;
    struct digest trace_hash;
    bool trace_aloud;
};

/* ---- configurations (cluster_charter.c): ids of nodes are not positions ---- */

void cluster_charter_set_up(struct cluster *cluster);
void cluster_charter_free(struct cluster *cluster);
bool cluster_knows_configuration(const struct cluster *cluster, uint64_t number);
/* Fails when nobody has entered it. */
const struct configuration *cluster_configuration(struct cluster *cluster, uint64_t number);
/* The number of the configuration whose batch this is. */
uint64_t cluster_config_at(const struct cluster *cluster, uint64_t seq);
/* CLUSTER_NODES_MAX: nobody's. */
uint32_t cluster_id_of(const struct cluster *cluster, const struct public_key *key);
/* REPLICAS_MAX: it is not in it. */
uint32_t cluster_position(struct cluster *cluster, uint64_t number, uint32_t id);
/* The id of the primary of a view. */
uint32_t cluster_primary(struct cluster *cluster, uint64_t number, uint64_t view);
void cluster_configuration_came(struct cluster *cluster, uint32_t number,
                                const struct constitution *constitution);
/* Views of all configurations in one order; those of the founding one are as they are. */
static inline uint64_t cluster_view(uint64_t config, uint64_t view) {
    return (config - 1) << 40 | view;
}

static inline uint64_t cluster_config_of(uint64_t view) {
    return (view >> 40) + 1;
}

static inline uint64_t cluster_view_of(uint64_t view) {
    return view & ((UINT64_C(1) << 40) - 1);
}

/* Are these two of one configuration? */
static inline bool same_configuration(uint64_t view, uint64_t other) {
    return view - cluster_view_of(view) == other - cluster_view_of(other);
}

struct cluster *cluster_new(const struct cluster_options *options);
/* Judges the whole ledgers once more, then frees. */
void cluster_end(struct cluster *cluster);
void cluster_free(struct cluster *cluster);

/* Is its key judged: is it neither Byzantine nor a puppet, and did its disk never go back? */
bool node_is_correct(const struct node *node);

/* ---- time ---- */

void cluster_run_ms(struct cluster *cluster, uint64_t ms);
/* Run until every request so far has its receipt. Fails after ms. */
void cluster_run_until_done(struct cluster *cluster, uint64_t ms);
/*
 * Run until all nodes that are up and vote have committed all that any has executed. The first
 * returns whether they have within ms, the second fails.
 */
bool cluster_becomes_level(struct cluster *cluster, uint64_t ms);
void cluster_run_until_level(struct cluster *cluster, uint64_t ms);
/* Run until every node that is up has its ledger from genesis on. Fails after ms. */
void cluster_run_until_whole(struct cluster *cluster, uint64_t ms);
/* Let the next thing happen, unless it comes after end_us. Returns: whether it did. */
bool cluster_run_one(struct cluster *cluster, uint64_t end_us);
bool cluster_all_done(const struct cluster *cluster);

/* ---- clients ---- */

/* Send a new request with one call ("kv.put a 1") to all replicas. Returns: its number. */
uint32_t cluster_submit(struct cluster *cluster, const char *call);
/* The same with all choices: order->number 0 makes one up; order->author chooses the client. */
uint32_t cluster_submit_order(struct cluster *cluster, uint32_t client, const struct order *order);
/* Make it, but send nothing. */
uint32_t cluster_prepare_order(struct cluster *cluster, uint32_t client, const struct order *order);
/* Send it, again perhaps, to one node. */
void cluster_send_request(struct cluster *cluster, uint32_t request, uint32_t node);
void cluster_query_receipt(struct cluster *cluster, uint32_t request, uint32_t node);
bool cluster_is_done(const struct cluster *cluster, uint32_t request);
/* The first outcome of a receipted request, its reply items joined by spaces. */
const char *cluster_reply_text(struct cluster *cluster, uint32_t request);

/* ---- faults ---- */

void cluster_crash(struct cluster *cluster, uint32_t number);
void cluster_start(struct cluster *cluster, uint32_t number);
/* An orderly end: it ends once it has put down that it does, if nothing comes between. */
void cluster_stop(struct cluster *cluster, uint32_t number);
/* The process starts from its disk again, which nothing was lost of. */
void cluster_restart(struct cluster *cluster, uint32_t number);
/* Nothing happens there for so long; what arrives waits. */
void cluster_pause(struct cluster *cluster, uint32_t number, uint64_t us);
/* Cut all that goes from one node to another; or heal it. */
void cluster_cut(struct cluster *cluster, uint32_t from, uint32_t to, bool cut);
/* Cut a node off from all the others, both ways; or heal it. */
void cluster_isolate(struct cluster *cluster, uint32_t node, bool cut);
void cluster_heal(struct cluster *cluster);

/* All that lies on a disk is gone, journal and all; the node must be down. */
void cluster_lose_disk(struct cluster *cluster, uint32_t number);

/* ---- speaking for a puppet ---- */

/* Put a frame on the network as if node `from` had sent it; no filter, no judge. */
void cluster_forge(struct cluster *cluster, uint32_t from, uint32_t to, enum message_kind kind,
                   struct span payload);
void cluster_forge_to_client(struct cluster *cluster, uint32_t from, uint32_t client,
                             enum message_kind kind, struct span payload);

/* ---- looking ---- */

struct replica_status cluster_status(const struct cluster *cluster, uint32_t node);
uint64_t cluster_committed(const struct cluster *cluster, uint32_t node);
/* Did its key ever sign a prepare for this batch? */
bool cluster_has_prepared(const struct cluster *cluster, uint32_t node, uint64_t view,
                          uint64_t seq);
struct digest cluster_trace_hash(const struct cluster *cluster);
/* Where cluster_fail leaves its words, beside standard error; NULL: nowhere. */
void cluster_leave_words_in(char *text, size_t size);

/* ---- between the files of the cluster ---- */

_Noreturn __attribute__((format(printf, 2, 3))) void cluster_fail(const struct cluster *cluster,
                                                                  const char *format, ...);
__attribute__((format(printf, 2, 3))) void cluster_trace(struct cluster *cluster,
                                                         const char *format, ...);
/* A copy that lives until the cluster is freed. */
struct span cluster_keep(struct cluster *cluster, struct span bytes);
void *cluster_zeroed(size_t count, size_t size);
/* Room for one more item of item_size bytes in a list. */
void list_reserve(void *items, uint64_t count, uint64_t *capacity, size_t item_size);
/* Takes over the event's parcel. */
void cluster_schedule(struct cluster *cluster, const struct sim_event *event);
bool check_holds(struct cluster *cluster, const struct sign_check *check);

/* One event for a node's core, and its effects carried out (cluster_effects.c). */
void node_step(struct cluster *cluster, uint32_t number, struct event *event);
/* What is due of its core and its join. */
void node_tick(struct cluster *cluster, uint32_t number);
/* A sync has come to its end. */
void node_synced(struct cluster *cluster, uint32_t number);
void node_checkpointed(struct cluster *cluster, uint32_t number);
void node_take_frame(struct cluster *cluster, uint32_t number, uint32_t from, uint8_t kind,
                     struct span payload);
void node_take_client_frame(struct cluster *cluster, uint32_t number, uint32_t client, uint8_t kind,
                            struct span payload);
/* For the trace. */
const char *message_name(uint8_t kind);
void node_recover(struct cluster *cluster, uint32_t number);
void node_release(struct node *node);
void outbox_clear(struct node *node);

/* To every node that speaks as replica `to` (cluster_network.c). */
void transmit(struct cluster *cluster, uint32_t from_node, uint32_t to, enum message_kind kind,
              struct span payload);
void send_to_client(struct cluster *cluster, uint32_t node, uint64_t origin, enum message_kind kind,
                    struct span payload);
void send_from_client(struct cluster *cluster, uint32_t client, uint32_t node,
                      enum message_kind kind, struct span payload);

void entry_push(struct cluster *cluster, struct entry_list *list, const struct entry *entry);
/* The same when the mark is known. */
void entry_push_marked(struct entry_list *list, const struct entry *entry,
                       const struct entry_mark *mark);
/* The entry of batch seq's pre-prepare, or 0. */
uint64_t entry_find(const struct entry_list *list, uint64_t seq);
/* One past the last entry of a whole batch, or 0. */
uint64_t entry_batch_end(const struct entry_list *list, uint64_t seq);
/* The last batch that is whole; what a recovery would come to. */
uint64_t entry_last_whole(const struct entry_list *list);
/* The view of that ledger. */
uint64_t entry_last_view(const struct entry_list *list);
void entry_list_copy(struct entry_list *to, const struct entry_list *from, uint64_t count);
void entry_list_free(struct entry_list *list);
void disk_write(struct cluster *cluster, uint32_t node, const struct disk_op *op);
/* Begin a sync of what was written, unless one is under way. Called between steps only. */
void disk_kick(struct cluster *cluster, uint32_t node);
/* Returns: false when the process must end: the sync failed, or waits for space. */
bool disk_synced(struct cluster *cluster, uint32_t node);
void disk_crash(struct cluster *cluster, struct sim_disk *disk);
/* All that was written becomes durable at once: an orderly end of the process that wrote it. */
void disk_drain(struct sim_disk *disk);
/* Nothing is left but genesis, which a new process writes; and the journal is missing. */
void disk_lose(struct cluster *cluster, struct sim_disk *disk);
void disk_copy_take(struct sim_disk *disk);
/* Put back ledger, journal or both as they were when the copy was taken; the node must be down. */
void disk_copy_restore(struct cluster *cluster, struct sim_disk *disk, bool ledger, bool journal);
void disk_free(struct sim_disk *disk);
void store_forget(struct sim_store *store);
void store_copy(struct sim_store *to, const struct sim_store *from);
void store_write(struct cluster *cluster, struct sim_store *store, const struct engine *engine,
                 struct checkpoint_cut *cut);
struct state_base store_base(struct sim_store *store);

/* The next batch or new view of a ledger. Returns: BATCH_MORE at its end. */
enum batch_step read_unit(struct batch *batch, const struct entry_list *ledger, uint64_t *index,
                          uint64_t end);
void serve_range(struct cluster *cluster, uint32_t node, uint32_t peer, uint64_t first_entry,
                 uint64_t end_entry);
void serve_receipt(struct cluster *cluster, uint32_t node, uint64_t origin,
                   const struct digest *request_id, const struct window_place *place);

void client_take(struct cluster *cluster, uint32_t client, uint32_t from, uint8_t kind,
                 struct span payload);
void client_retry(struct cluster *cluster, uint32_t request);
void client_judge_result(struct cluster *cluster, uint32_t number, uint64_t seq,
                         const struct request_result *result);
/* Build and verify the receipts of all calls of a request; keeps the first when it is new. */
bool client_receipts_hold(struct cluster *cluster, struct client_request *request,
                          const struct request_result *result, struct span certificate);
/* The request's number, or false. */
bool client_find(struct cluster *cluster, const struct digest *id, uint32_t *number);
void sessions_open(struct cluster *cluster);
void sessions_close(struct cluster *cluster);
void session_client_submit(struct cluster *cluster, uint32_t request);
/* A frame from the node with this id. */
void session_client_take(struct cluster *cluster, uint32_t client, uint32_t from, uint8_t kind,
                         struct span payload);
/* A node's answer to a query for links; encoded. Returns: false when the query is none. */
bool session_links_answer(struct cluster *cluster, uint32_t node, struct buffer *out,
                          struct span query);
/* A replica's clients' links came up or went down. */
void sessions_link(struct cluster *cluster, uint32_t replica, bool up);
/* When the first of the sessions wants its tick, and giving it. */
uint64_t sessions_deadline_us(const struct cluster *cluster);
void sessions_tick(struct cluster *cluster);
uint64_t client_now_ms(const struct cluster *cluster);

/* ---- a node that joins, or has joined (cluster_join.c), and whoever serves it ---- */

/* Carry on with what a crash interrupted, before anything else is read. */
void join_recover(struct cluster *cluster, uint32_t number);
/* Begin to ask for a checkpoint, or for what lies before the ledger. */
void join_open(struct cluster *cluster, uint32_t number);
void join_close(struct node *node);
void join_tick(struct cluster *cluster, uint32_t number);
void join_peer_up(struct cluster *cluster, uint32_t number, uint32_t peer);
/* Returns: whether the message is not the replica's. */
bool join_take(struct cluster *cluster, uint32_t number, const struct peer_message *message);
void join_stored(struct cluster *cluster, uint32_t number);
void join_taken(struct cluster *cluster, uint32_t number, uint64_t next, bool good);
/* The first entry that this node may serve: what it verified itself. */
uint64_t join_first_served(const struct node *node);
bool join_is_whole(const struct node *node);
/* What a crash leaves of the older ledger, which is not synced with every range. */
void join_crash(struct cluster *cluster, struct sim_disk *disk);
void place_free(struct sim_place *place);
void place_clear(struct sim_place *place);

/* ---- the governance chain among nodes (cluster_links.c) ---- */

/* By which peers of this node have their numbers. */
const struct configuration *links_numbering(struct cluster *cluster, uint32_t number);
/* The number of the replica with this id. Returns: false: the node does not know it. */
bool links_find_peer(struct cluster *cluster, uint32_t number, uint32_t id, uint32_t *peer);
/* The other way. CLUSTER_NODES_MAX: nobody has this number. */
uint32_t links_peer_id(struct cluster *cluster, uint32_t number, uint32_t peer);
/* The newest configuration that it has been given links to; 1: none. */
uint64_t links_newest(const struct node *node);
/* For join_chain, with a struct links_of: what they prove. */
const struct constitution *links_find(void *context, uint64_t number);
/* Send the replica with this id the links that the node has, from a configuration on. */
void links_serve(struct cluster *cluster, uint32_t number, uint32_t to, uint64_t from);
/* Keep those that hold, up to the first that does not. Returns: false: there is such a one. */
bool links_judge(struct cluster *cluster, uint32_t number, const struct join_effect *effect);

/* The checkpoint that was the last one until now may be offered from here on (cluster_offer.c). */
void offer_keep(struct cluster *cluster, uint32_t number);
void offer_forget(struct node *node);
void offer_serve(struct cluster *cluster, uint32_t number, uint32_t peer,
                 const struct fetch_checkpoint_message *message);

/* It starts from what its disk holds. */
void watch_started(struct cluster *cluster, uint32_t number);
void watch_sent(struct cluster *cluster, uint32_t node, enum message_kind kind,
                struct span payload);
/* A pre-prepare, or a set of view-changes, that leaves inside of a range. */
void watch_entry_sent(struct cluster *cluster, uint32_t node, const struct entry *entry);
/* It has ended in order. */
void watch_stopped(struct cluster *cluster, uint32_t number);
void watch_append(struct cluster *cluster, uint32_t node, const struct entry_mark *mark);
void watch_node(struct cluster *cluster, uint32_t node);
void watch_checkpoint(struct cluster *cluster, uint32_t node, uint64_t seq,
                      const struct digest *root);
/* Is what is settled left alone? */
void watch_truncate(struct cluster *cluster, uint32_t node, uint64_t entries);
void watch_end(struct cluster *cluster);
/* Does a ledger, replayed from genesis, lead where its checkpoint leads (watch_replay.c)? */
void watch_replay(struct cluster *cluster, uint32_t node);
/* Were votes counted only in their own configuration, and is one in force for each batch? */
void watch_eras(struct cluster *cluster, uint32_t node);
/* Is every range of its ledger well formed for an auditor (watch_served.c)? */
void watch_served(struct cluster *cluster, uint32_t node);
/* Is what was just installed what the others have? */
void watch_joined(struct cluster *cluster, uint32_t node);
/* The same of its whole ledger, from genesis on. */
void watch_whole(struct cluster *cluster, uint32_t node);
/* A range that leaves begins with this entry. */
void watch_range(struct cluster *cluster, uint32_t node, uint64_t first_entry);

#endif
