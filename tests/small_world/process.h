/*
 * process: a replica that runs: the real core, and what surrounds it. Used to work out one event of
 * a local (local.c), and then thrown away.
 */
#ifndef ONUS_TESTS_SMALL_WORLD_PROCESS_H
#define ONUS_TESTS_SMALL_WORLD_PROCESS_H

#include "tests/small_world/small_world.h"

/* A statement that a replica wants to leave while it still waits for the disk. */
struct waiting {
    uint64_t after;
    enum message_kind kind;
    uint32_t payload; /* stored */
};

struct written {
    enum { WRITTEN_ENTRY, WRITTEN_CUT, WRITTEN_RECORD } kind;
    uint64_t position;
    uint32_t item; /* stored */
    uint64_t entries;
};

/* A replica that runs, and what surrounds it. */
struct process {
    struct world *world;
    uint32_t id;
    struct checker *checker;
    struct engine *engine;
    struct replica *replica;
    struct effects effects;
    uint64_t now_ms;
    uint64_t soft_ms; /* passed since the last timeout */
    uint64_t position;
    uint64_t durable;
    struct number_list ledger;  /* written */
    struct number_list settled; /* durable */
    struct number_list journal; /* durable */
    struct written *written;
    uint64_t written_count;
    uint64_t written_capacity;
    struct waiting *waiting;
    uint64_t waiting_count;
    uint64_t waiting_capacity;
    uint32_t sent[WORLD_SENT_MAX]; /* ascending */
    uint32_t sent_count;
    uint32_t requests;
    uint32_t restarts;
    uint32_t timeouts;
    uint64_t verified[4]; /* tokens of signatures that were checked, and hold */
    uint32_t verified_count;
    uint32_t handed; /* a range from its own disk, stored; WORLD_NONE: none */
};

/* A replica that has taken LOCAL_START. */
struct process *process_start(struct world *world, uint32_t id);
void process_free(struct process *process);
/* Returns: false when the event cannot happen here, or leads too far; the process is then spent. */
bool process_take(struct process *process, local_event event);

/* effects.c */
void process_carry_out(struct process *process, const struct effect *effect);
/* All that was written is durable. */
void process_settle(struct process *process);
/* What need not wait for the disk any more leaves. */
void process_flush(struct process *process);

/* print.c: all that decides what a replica will do; and what of it the others must know. */
struct digest process_print(struct process *process);
void process_facts(struct process *process, struct facts *facts);

#endif
