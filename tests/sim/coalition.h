/*
 * coalition: more replicas lie than the protocol withstands (docs/testing.md, accountability).
 *
 * The coalition lives in several worlds at once. A world is a whole cluster of real cores: in the
 * first, every replica runs; in each further one, every member of the coalition again, from what
 * its disk was at some time, or with a part of it taken off, and some of the correct replicas. A
 * correct replica's key lives in one world at a time: it takes its disk along when it moves. Each
 * world changes its views, loses processes and answers clients by itself, and none of its cores
 * lies: it is the coalition that is in two places, or has forgotten.
 *
 * A coalition that is a quorum can write what no core would, too (endings.c). The forge holds all
 * keys, so endings.c checks that it signs with none but the coalition's.
 *
 * What all of them leave behind is the stock: ledgers and receipts, from which each audit of a run
 * is handed a part (handing.c).
 */
#ifndef ONUS_TESTS_SIM_COALITION_H
#define ONUS_TESTS_SIM_COALITION_H

#include "tests/sim/oracle.h"
#include "tests/sim/simulation.h"

#define WORLDS_MAX 4u
#define ENDINGS_MAX 3u
#define STOCK_LEDGERS_MAX 64u
#define STOCK_RECEIPTS_MAX 2048u

struct world {
    struct cluster *cluster;
    uint32_t members;  /* replicas that have a node here */
    uint64_t begun_us; /* when it began, on the first world's clock */
};

/* A ledger that somebody could hand in. */
struct stock_ledger {
    char name[48];
    struct entry *entries; /* what they point to belongs to a cluster or a forge */
    bool *ends_unit;
    uint64_t count;
    uint64_t lie_shown; /* with so many entries it shows a lie and a certificate for it; 0: none */
};

struct coalition {
    struct prng prng;
    struct sim_result *result;
    struct cluster_options options;
    uint32_t replicas;
    uint32_t quorum;
    uint32_t liars; /* bitmap of the coalition */
    uint32_t liar_count;
    bool rests; /* a control: nobody does anything wrong */
    uint32_t keys;
    uint32_t submit_max;
    uint64_t step_us_max;
    uint32_t fault_permille;
    uint64_t next_number; /* of requests, over all worlds */
    uint32_t world_count;
    struct world worlds[WORLDS_MAX];
    uint32_t ending_count;
    struct forge *endings[ENDINGS_MAX];
    uint32_t ledger_count;
    struct stock_ledger ledgers[STOCK_LEDGERS_MAX];
    uint32_t receipt_count;
    struct span receipts[STOCK_RECEIPTS_MAX];
};

__attribute__((format(printf, 2, 3))) void coalition_say(struct coalition *coalition,
                                                         const char *format, ...);

/* worlds.c: run all worlds. */
void worlds_run(struct coalition *coalition);
void worlds_free(struct coalition *coalition);
/* Any replica of a set that is not empty. */
uint32_t coalition_pick(struct coalition *coalition, uint32_t set);
/* A new request of some client, encoded. */
void coalition_request(struct coalition *coalition, uint64_t min_index, struct buffer *out);

/*
 * coalition_eras.c: in place of all else: the first world changes its configuration, and a quorum
 * of any of them writes another history of its time. Audits and judges that, too.
 */
void eras_run(struct coalition *coalition);

/* endings.c: what a quorum of liars writes by hand, and its receipts, into the stock. */
void endings_write(struct coalition *coalition);
void endings_free(struct coalition *coalition);

/* handing.c: what the worlds left goes into the stock. */
void stock_take_worlds(struct coalition *coalition);
/* Copies the list, not what its entries point to. */
void stock_take_ledger(struct coalition *coalition, const char *name, const struct entry *entries,
                       uint64_t count, uint64_t lie_shown);
void stock_take_receipt(struct coalition *coalition, struct span receipt);
void stock_free(struct coalition *coalition);
/* Hand parts of the stock to the real auditor, several times over, and judge what it says. */
void stock_audit(struct coalition *coalition);

#endif
