/*
 * cluster: a whole consortium in one process: the real core, checker and engine of every replica,
 * its clients, and a simulated network, disk and clock. Every decision comes from one seed: the
 * same seed and the same calls give the same run, which cluster_trace_hash pins down.
 *
 * After every step it is judged (cluster_watch.c): invariants of each core, agreement, one vote
 * for one batch over all bytes ever sent, nothing revealed that is not durable, ledgers that are
 * prefixes of one another, one execution of each request, receipts that verify. What does not hold
 * ends the process, with the seed and the last lines of the trace; ONUS_TRACE=1 prints all lines.
 *
 * Times are microseconds since the cluster began. Nodes are replicas 0..N-1. All bytes that travel
 * live until the cluster is freed.
 */
#ifndef ONUS_TESTS_SIM_CLUSTER_H
#define ONUS_TESTS_SIM_CLUSTER_H

#include "base/prng.h"
#include "consensus/replica.h"
#include "receipts/receipt.h"
#include "tests/forge/consortium.h"

#define CLUSTER_NODES_MAX 7u
#define CLUSTER_CLIENTS CONSORTIUM_USERS
#define TRACE_LINES 60u
#define TRACE_LINE_SIZE 160u
#define VERIFIED_MAX 8192u
#define CLUSTER_SEQ_MAX 16384u /* longer runs are not judged, and fail */

/* ---- what lies on a disk (cluster_disk.c) ---- */

struct entry_list {
    struct entry *items;
    uint64_t count;
    uint64_t capacity;
};

enum disk_op_kind { DISK_APPEND, DISK_TRUNCATE, DISK_JOURNAL };

struct disk_op {
    enum disk_op_kind kind;
    uint64_t position;
    struct entry entry;
    uint64_t entries;    /* of DISK_TRUNCATE */
    struct span journal; /* an encoded record */
};

struct journal_list {
    struct span *items;
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
    uint32_t syncing; /* as many of them become durable next; 0: no sync is under way */
};

/* ---- a replica and its surroundings ---- */

struct waiting_send {
    uint64_t after;
    bool to_client;
    uint64_t to;
    enum message_kind kind;
    struct span payload;
};

struct node {
    bool puppet; /* no core runs: a scenario speaks for it */
    bool up;
    uint32_t incarnation;
    uint64_t boot_us;
    uint64_t tick_us;
    uint64_t durable;       /* disk position */
    uint64_t disk_position; /* the last one given out */
    struct checker *checker;
    struct engine *engine;
    struct replica *replica;
    struct effects effects;
    struct sim_disk disk;

    struct waiting_send *outbox;
    uint32_t outbox_count;
    uint32_t outbox_capacity;

    bool cut_waits; /* a checkpoint waits for the ledger before it to be durable */
    bool cut_runs;
    uint64_t cut_after;
    uint64_t cut_extra_us; /* what a checkpoint takes here beyond what it takes elsewhere */
    struct checkpoint_cut cut;

    uint64_t judged_seq; /* committed batches up to here were held against the others' */
    uint64_t judged_entries;
    struct digest *pre_prepares; /* by sequence number: what this key ever signed */
    struct digest *prepares;
    struct nonce *nonces;

    /* counts, for scenarios */
    uint64_t notes[NOTE_CONFLICT + 1];
    enum rule last_rule;
    uint64_t evidence_count; /* EFFECT_EVIDENCE */
    uint64_t sent[MESSAGE_RANGE + 1];
};

/* ---- clients (cluster_client.c) ---- */

struct client_request {
    uint32_t client;
    struct span bytes;
    struct digest id;
    struct request request;
    bool done;      /* a receipt for every call was verified */
    bool abandoned; /* nobody waits for it */
    uint32_t rejects;
    enum reject_reason reject;
    uint64_t seq;
    uint64_t first_index;
    uint64_t receipts; /* receipt messages and results that led to one */
    struct span outcomes[4];
    uint64_t sent_us;
    uint64_t done_us;
};

struct client_reply {
    struct digest digest;
    uint32_t replica;
    struct signature signature;
    struct nonce nonce;
    uint64_t seq;
    uint64_t view;
};

struct client_claim {
    struct signed_body pre_prepare;
    struct digest digest;
    uint64_t view;
    uint64_t seq;
    uint32_t request; /* number of the client_request */
    struct request_result result;
    bool used;
};

/* ---- the cluster ---- */

enum sim_kind { SIM_FRAME, SIM_TO_CLIENT, SIM_SYNCED, SIM_VERIFIED, SIM_CHECKPOINT, SIM_RETRY };

struct sim_event {
    uint64_t at_us;
    uint64_t order;
    enum sim_kind kind;
    uint32_t node;
    uint32_t from; /* a node, or CLUSTER_NODES_MAX + client */
    uint32_t incarnation;
    uint8_t message;
    bool good;
    uint64_t number;
    struct span payload;
};

/* A frame about to travel between nodes. */
struct frame {
    uint32_t from;
    uint32_t to;
    uint8_t kind;
    struct span payload;
};

struct cluster;
/* Told of each frame that a node sends to a node. Returns: whether it travels. */
typedef bool (*frame_filter)(void *context, struct cluster *cluster, const struct frame *frame);

struct network {
    uint64_t delay_us_min;
    uint64_t delay_us_max;
    uint32_t drop_permille;
    uint32_t duplicate_permille;
    bool reorder; /* also within a link */
    bool cut[CLUSTER_NODES_MAX][CLUSTER_NODES_MAX];
    uint64_t last_us[CLUSTER_NODES_MAX][CLUSTER_NODES_MAX];
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
    bool no_retries;              /* clients send once */
};

struct cluster {
    struct cluster_options options;
    struct prng prng;
    struct consortium consortium;
    const struct configuration *configuration;
    uint32_t node_count;
    struct node nodes[CLUSTER_NODES_MAX];
    struct network network;
    uint64_t sync_us_min;
    uint64_t sync_us_max;
    uint64_t checkpoint_us;
    int64_t wall_ms; /* the wall clock when the cluster began; scenarios may shift it */
    frame_filter filter;
    void *filter_context;

    uint64_t now_us;
    uint64_t next_order;
    struct sim_event *heap;
    uint32_t heap_count;
    uint32_t heap_capacity;
    struct arena arena;

    struct client_request *requests;
    uint32_t request_count;
    uint32_t request_capacity;
    struct client_reply *replies;
    uint32_t reply_count;
    uint32_t reply_capacity;
    struct client_claim *claims;
    uint32_t claim_count;
    uint32_t claim_capacity;
    uint64_t requests_made;
    struct receipt_memory receipt_memory;
    uint64_t receipts_verified;

    /* what all must agree on */
    struct digest *agreed; /* pre-prepare digest by sequence number; zero: none yet */
    struct digest *checkpoints;
    struct entry_list canonical;
    uint64_t committed_seq; /* of any node */

    struct digest *verified; /* a cache of signature checks that held */
    uint64_t checks_done;
    char trace[TRACE_LINES][TRACE_LINE_SIZE];
    uint64_t trace_count;
    struct digest trace_hash;
    bool trace_aloud;
};

struct cluster *cluster_new(const struct cluster_options *options);
/* Judges the whole ledgers once more, then frees. */
void cluster_end(struct cluster *cluster);

/* ---- time ---- */

void cluster_run_ms(struct cluster *cluster, uint64_t ms);
/* Run until every request so far has its receipt. Fails after ms. */
void cluster_run_until_done(struct cluster *cluster, uint64_t ms);
/* Run until all nodes that are up and vote have committed all that any has executed. */
void cluster_run_until_level(struct cluster *cluster, uint64_t ms);

/* ---- clients ---- */

/* Send a new request with one call ("kv.put a 1") to all replicas. Returns: its number. */
uint32_t cluster_submit(struct cluster *cluster, const char *call);
/* The same with all choices: order->number 0 makes one up; order->author chooses the client. */
uint32_t cluster_submit_order(struct cluster *cluster, uint32_t client, const struct order *order);
/* Make it, but send nothing. */
uint32_t cluster_prepare_order(struct cluster *cluster, uint32_t client, const struct order *order);
/* Send it, again perhaps, to one replica. */
void cluster_send_request(struct cluster *cluster, uint32_t request, uint32_t node);
void cluster_query_receipt(struct cluster *cluster, uint32_t request, uint32_t node);
bool cluster_is_done(const struct cluster *cluster, uint32_t request);
/* The first outcome of a receipted request, its reply items joined by spaces. */
const char *cluster_reply_text(struct cluster *cluster, uint32_t request);

/* ---- faults ---- */

void cluster_crash(struct cluster *cluster, uint32_t number);
void cluster_start(struct cluster *cluster, uint32_t number);
/* Cut all that goes from one node to another; or heal it. */
void cluster_cut(struct cluster *cluster, uint32_t from, uint32_t to, bool cut);
/* Cut a node off from all the others, both ways; or heal it. */
void cluster_isolate(struct cluster *cluster, uint32_t node, bool cut);
void cluster_heal(struct cluster *cluster);

/* ---- speaking for a puppet ---- */

/* Put a frame on the network as if `from` had sent it; no filter, no judge. */
void cluster_forge(struct cluster *cluster, uint32_t from, uint32_t to, enum message_kind kind,
                   struct span payload);

/* ---- looking ---- */

struct replica_status cluster_status(const struct cluster *cluster, uint32_t node);
uint64_t cluster_committed(const struct cluster *cluster, uint32_t node);
struct digest cluster_trace_hash(const struct cluster *cluster);

/* ---- between the files of the cluster ---- */

_Noreturn __attribute__((format(printf, 2, 3))) void cluster_fail(const struct cluster *cluster,
                                                                  const char *format, ...);
__attribute__((format(printf, 2, 3))) void cluster_trace(struct cluster *cluster,
                                                         const char *format, ...);
/* A copy that lives until the cluster is freed. */
struct span cluster_keep(struct cluster *cluster, struct span bytes);
/* Room for one more item of item_size bytes in a list. */
void list_reserve(void *items, uint64_t count, uint64_t *capacity, size_t item_size);
void cluster_schedule(struct cluster *cluster, const struct sim_event *event);
/* One event for a node's core, and its effects carried out. */
void node_step(struct cluster *cluster, uint32_t node, struct event *event);
void node_take_frame(struct cluster *cluster, uint32_t number, uint32_t from, uint8_t kind,
                     struct span payload);
void node_take_client_frame(struct cluster *cluster, uint32_t number, uint32_t client, uint8_t kind,
                            struct span payload);
void node_recover(struct cluster *cluster, uint32_t number);
void node_release(struct node *node);
bool check_holds(struct cluster *cluster, const struct sign_check *check);
void send_to_client(struct cluster *cluster, uint32_t node, uint64_t origin, enum message_kind kind,
                    struct span payload);
void transmit(struct cluster *cluster, uint32_t from, uint32_t to, enum message_kind kind,
              struct span payload);

void entry_push(struct entry_list *list, const struct entry *entry);
void disk_write(struct cluster *cluster, uint32_t node, const struct disk_op *op);
void disk_synced(struct cluster *cluster, uint32_t node);
void disk_crash(struct cluster *cluster, struct sim_disk *disk);
void disk_free(struct sim_disk *disk);
void store_write(struct cluster *cluster, struct sim_store *store, const struct engine *engine,
                 struct checkpoint_cut *cut);
struct state_base store_base(struct sim_store *store);

void serve_range(struct cluster *cluster, uint32_t node, uint32_t peer, uint64_t first_entry,
                 uint64_t end_entry);
void serve_receipt(struct cluster *cluster, uint32_t node, uint64_t origin,
                   const struct digest *request_id, const struct window_place *place);

void client_take(struct cluster *cluster, uint32_t client, uint32_t from, uint8_t kind,
                 struct span payload);
void client_retry(struct cluster *cluster, uint32_t request);

void watch_sent(struct cluster *cluster, uint32_t node, enum message_kind kind,
                struct span payload);
void watch_node(struct cluster *cluster, uint32_t node);
void watch_checkpoint(struct cluster *cluster, uint64_t seq, const struct digest *root);
void watch_end(struct cluster *cluster);

#endif
