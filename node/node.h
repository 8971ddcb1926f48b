/*
 * node: what onusd is made of, and what its files share. Everything here runs on the loop's thread.
 *
 *   main.c         the command line
 *   setup.c        configuration, keys, genesis, ports: checked before any state is written
 *   data.c         the data directory: making it, whose it is
 *   recovery.c     from the disk to a replica that stands where it stood
 *   node.c         the running replica: turns of the loop, signals, the end
 *   effects.c      one step of the replica, and what it asks for
 *   peers.c        links to and from the other replicas
 *   constitutions.c                       those that came into force, kept for a restart
 *   reconfigure.c                         from one configuration to the next
 *   clients.c      links from clients
 *   range_service.c, receipt_service.c, evidence.c, checkpointer.c     work for other threads
 *   joiner.c, joining.c, join_files.c     joining from a checkpoint
 *   join_service.c                        a checkpoint for a peer that joins
 *   demand_service.c                      its ledger for auditors, under its signature
 *   older.c, older_ledger.c               the ledger before the one that it joined with
 *   chain_keeper.c, chain_link.c, chain_store.c   the governance chain
 *
 * The replica itself (consensus/replica.h) is a pure state machine: events go in through node_step
 * and nowhere else, effects come out there.
 */
#ifndef ONUS_NODE_NODE_H
#define ONUS_NODE_NODE_H

#include <uv.h>

#include "consensus/replica.h"
#include "host/disk.h"
#include "host/genesis_file.h"
#include "host/key_file.h"
#include "host/link.h"
#include "host/state_store.h"
#include "node/background.h"
#include "node/config.h"
#include "node/disk_thread.h"
#include "node/outbox.h"
#include "node/workers.h"

struct chain_keeper;
struct clients;
struct demand_service;
struct join_service;
struct joiner;
struct older;
struct peers;
struct checkpointer;
struct receipt_search;

/* Numbers of peers: in the present configuration, and in the one before it (replica_find_peer). */
#define NODE_PEERS_MAX TLS_PINS_MAX
/*
 * Rows of peers (peers.c): a row is given to somebody else only when nothing of the one before is
 * being checked any more, so a few more are needed.
 */
#define NODE_ROWS_MAX (NODE_PEERS_MAX + REPLICAS_MAX)

/* What setup.c has read and checked. */
struct identity {
    struct founding founding; /* genesis, and configuration 1 */
    uint32_t founding_place;  /* in it, of our key; REPLICAS_MAX: governance has added it */
    struct public_key key;
    struct secret_key signing_key;
    struct prf_secret nonce_secret;
    struct tls_certificate *certificate;
    struct tls_context *tls_dial;   /* we call a peer */
    struct tls_context *tls_peer;   /* a peer calls us */
    struct tls_context *tls_client; /* a client calls us */
};

/* A ledger that begins with a checkpoint's, until the older one is in front of it (§7). */
struct beginning {
    bool present;
    uint64_t seq; /* of the checkpoint */
    struct digest digest;
    uint64_t first_entry; /* of the ledger; 0: genesis */
    uint64_t end_entry;   /* at the checkpoint: what this replica verified itself begins here */
};

/* A part of its own ledger that the replica wants to read: it waits for the disk. */
struct own_range {
    bool wanted;
    uint64_t first_entry;
    uint64_t end_entry;
    uint64_t after; /* disk position */
};

struct node {
    struct node_config config;
    struct identity identity;

    /* all that follows is of one run, see node_init */
    uv_loop_t loop;
    bool failed;            /* ends with EXIT_ERROR */
    bool again;             /* ends to run again, from what then lies on the disk */
    bool stopping;          /* the replica is given no more events */
    uint64_t stop_position; /* what an orderly end waits for; 0: nothing */

    /* the disk */
    struct host_disk data_disk;   /* the data directory: the journal */
    struct host_disk ledger_disk; /* the ledger's segments */
    struct journal journal;
    bool has_journal;
    struct segment_writer ledger;
    struct disk_thread *disk;
    uint64_t durable;        /* disk position */
    uint64_t disk_position;  /* the last one given to the disk's thread */
    uint64_t ledger_entries; /* given to the disk's thread */
    uint64_t ledger_version; /* disk_thread_ledger_version once that is durable */
    struct state_store *store;

    /* the core */
    struct checker *checker;
    struct engine *engine;
    struct replica *replica;
    struct constitution *constitution;   /* with which it started */
    struct configuration *configuration; /* that follows from it */
    /* While it joins, numbers of peers are by this one, the joiner's; NULL: by the replica's. */
    const struct configuration *joining;
    uint64_t kept_config; /* constitutions up to this one are on the disk */
    struct effects effects;
    struct buffer scratch; /* for one encoding at a time */
    bool guard_stored;
    struct beginning beginning;
    bool resting; /* it joins: the replica is given nothing */
    bool own_range_under_way;
    uint64_t caught_up_ms; /* when it last took a range from a peer */

    /* the world */
    struct peers *peers;
    struct clients *clients;
    struct workers *workers;
    struct outbox outbox;
    struct background *reader; /* reads the ledger for others, keeps evidence */
    struct checkpointer *checkpointer;
    struct joiner *joiner;
    struct join_service *join_service;
    struct demand_service *demand_service;
    struct older *older; /* NULL: its ledger has all there is */
    struct chain_keeper *chain_keeper;
    bool range_under_way[NODE_ROWS_MAX];
    struct own_range own_range;
    struct receipt_search *receipts; /* the reader's thread's */
    uint32_t receipt_jobs;
    uv_check_t turn;
    uv_idle_t turn_wanted;
    uv_timer_t tick;
    uint64_t tick_at_ms;
    uv_signal_t signals[2];
    char checkpoint_error[PROBLEM_TEXT_SIZE]; /* empty: the last checkpoint was written */
    struct log_limiter log_limiter;
};

/* ---- setup.c ---- */

/* Read and check what is named in the configuration, genesis first; nothing is changed. */
MUST_USE int identity_load_genesis(struct identity *identity, const struct node_config *config,
                                   struct problem *problem);
MUST_USE int identity_load_keys(struct identity *identity, const struct node_config *config,
                                struct problem *problem);
void identity_free(struct identity *identity);

/* ---- data.c ---- */

enum data_state { DATA_ABSENT, /* or empty */ DATA_PRESENT };

/* Does the data directory exist, and does what is in it belong to this replica and service? */
MUST_USE int data_inspect(enum data_state *state, const struct node *node, struct problem *problem);
/*
 * onusd --init: make the data directory, which must be absent or empty. guard: GUARD_NONE, or, of a
 * key that may have signed before (onusd --lost), why it must not vote.
 */
MUST_USE int data_create(const struct node *node, enum guard guard, struct problem *problem);
/* The path of a name in a directory. */
MUST_USE int data_path(char out[static PATH_SIZE_MAX], const char *directory, const char *name,
                       struct problem *problem);
/* Make genesis entry 0 of an empty ledger, durable. */
MUST_USE int data_write_genesis(struct segment_writer *writer, const struct node *node,
                                struct problem *problem);
/* Remove the state, which a ledger that was lost does not lead to; it is rebuilt. */
MUST_USE int data_forget_state(const struct node *node, struct problem *problem);
/* Write down that this key must never vote again (§5), so that no restart forgets it. */
MUST_USE int guard_store(const struct node *node, enum guard guard, struct problem *problem);
MUST_USE int guard_load(enum guard *guard, const struct node *node, struct problem *problem);

/* ---- recovery.c ---- */

/* Open the data directory and bring the replica to where it stood. node_close undoes it. */
MUST_USE int node_recover(struct node *node, struct problem *problem);

/* ---- node.c ---- */

/* What node_run answers when the replica is to run again. No exit code is negative. */
#define NODE_AGAIN (-2)

/* Make ready for node_open; configuration and identity stay as they are. */
void node_init(struct node *node);
/* Set up loop and links; the ports are bound from here on, but nobody is answered. */
MUST_USE int node_open(struct node *node, struct problem *problem);
/* Run until a signal or a failure. Returns: the exit code, or NODE_AGAIN. */
int node_run(struct node *node);
/* End this run in good order, and have the process begin another one. */
void node_restart(struct node *node);
void node_close(struct node *node);
/* End the process in good order, with EXIT_ERROR: something failed that no retry mends. */
void node_fail(struct node *node, const char *what, const char *why);
/* Have the end of this turn looked after (workers, disk, clock) before the loop waits. */
void node_want_turn(struct node *node);

/* ---- effects.c ---- */

/* One event for the replica; now_ms and wall_ms are filled in here. Carries out its effects. */
void node_step(struct node *node, struct event *event);
/* The disk is durable up to this position: let frames go, tell the replica, or end. */
void node_durable(void *context, uint64_t position);
/* A copy of the present constitution, for another thread; free() it. NULL: out of memory. */
MUST_USE struct constitution *node_copy_constitution(const struct node *node);
/* A signature check came back. */
void node_checked(void *context, const struct verify_item *item);
/* The replica's guard was engaged: tell, and write it down. */
void node_note_guard(struct node *node);

/* ---- peers.c ---- */

MUST_USE int peers_open(struct node *node, struct problem *problem);
/* Begin to call the others. */
void peers_start(struct node *node);
void peers_close(struct node *node);
void peers_free(struct node *node);
/* To the peer that has this number now; nothing is sent to one that is not there. */
void peers_send(struct node *node, uint32_t number, enum message_kind kind, struct span payload);
/* A peer's row stays the same when its number changes. Returns: false: there are no links to it. */
MUST_USE bool peers_find_row(struct node *node, const struct replica_identity *identity,
                             uint64_t *row);
void peers_send_row(struct node *node, uint64_t row, enum message_kind kind, struct span payload);
/* The number that it has now. Returns: false: it takes no part any more. */
MUST_USE bool peers_find_number(struct node *node, uint64_t row, uint32_t *number);
/* Who takes part has changed: make the links that are missing, drop the others. */
void peers_update(struct node *node);
/* As clients_next_chain_query: a peer that wants links of the governance chain, by its row. */
MUST_USE bool peers_next_chain_query(struct node *node, uint64_t *row, uint64_t *config);
void peers_chain_answered(struct node *node, uint64_t row);
/* A check that was charged to an incoming link is done. */
void peers_checked(struct node *node, const struct verify_item *item);

/* ---- reconfigure.c ---- */

/* A configuration was entered, or has begun for good. */
void node_reconfigured(struct node *node, const struct constitution *constitution, bool settled);
/* Tell of a TLS key that the others do not expect: governance may have given another one. */
void node_check_certificate(const struct node *node);
/* Keep those constitutions that the replica has entered and that are not on the disk yet. */
MUST_USE int node_keep_constitutions(struct node *node, struct problem *problem);

/* ---- clients.c ---- */

MUST_USE int clients_open(struct node *node, struct problem *problem);
void clients_close(struct node *node);
void clients_free(struct node *node);
void clients_send(struct node *node, uint64_t origin, enum message_kind kind, struct span payload);
void clients_reject(struct node *node, uint64_t origin, const struct digest *request_id,
                    enum reject_reason reason);
/* The check of a client's request or demand is done. Returns: whether it may go on. */
MUST_USE bool clients_checked(struct node *node, const struct verify_item *item);
/* Is the link still there on which this came? */
bool clients_is_there(struct node *node, uint64_t origin);
/* Bytes for all clients together that the system has not taken yet. */
size_t clients_backlog(const struct node *node);
/*
 * A client that wants links of the governance chain, from configuration `config` on; each in turn.
 * It is heard again on this once it was answered. Returns: false: there is none.
 */
MUST_USE bool clients_next_chain_query(struct node *node, uint64_t *origin, uint64_t *config);
void clients_chain_answered(struct node *node, uint64_t origin);
/* While the disk is behind, clients are not heard. */
void clients_hold(struct node *node, bool hold);

/* ---- work on threads of their own ---- */

/*
 * What is read of the ledger on another thread counts only if the ledger's version is the same
 * before and after: a new view may replace the tail meanwhile.
 */
void range_serve(struct node *node, const struct replica_identity *to, uint64_t first_entry,
                 uint64_t end_entry);
/* The disk got further: what the replica wants of its own ledger may be there now. */
void range_durable(struct node *node);
MUST_USE int receipts_open(struct node *node, struct problem *problem);
void receipts_free(struct node *node);
void receipt_serve(struct node *node, uint64_t origin, const struct digest *request_id,
                   const struct window_place *place);
void evidence_keep(struct node *node, uint32_t replica, const struct signed_body *first,
                   const struct signed_body *second);

MUST_USE int checkpointer_open(struct node *node, struct problem *problem);
/* Take the cut; it is written once all that lies before it is durable. */
void checkpointer_take(struct node *node, const struct checkpoint_cut *cut);
/* The disk got further. */
void checkpointer_durable(struct node *node);
void checkpointer_close(struct node *node);
void checkpointer_free(struct node *node);

#endif
