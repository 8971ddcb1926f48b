/*
 * demand_service: hands this replica's ledger, and parts of its checkpoint, to auditors who demand
 * them with a signed challenge, and signs for what it hands over (protocol §10).
 *
 * Demands are the least of a replica's concerns: they are read, judged and signed on a thread of
 * their own, of low priority, one at a time, and each client has one under way; those for parts of
 * a checkpoint on the thread of join_service. It answers whether or not it votes.
 *
 * How far its ledger goes: to the last batch or new view that is durable on its disk. What is not
 * settled yet is handed over too, and so is a tail that a new view in memory is about to replace:
 * until it is replaced this replica ranks by it, and would show it to a new primary (§6). A later
 * answer may then hold something else from the last evidenced batch on, which accuses nobody; an
 * auditor asks again from there. Handed over is only what this replica has verified itself (§7),
 * and what served_range_judge finds well formed: a damaged disk must not make it sign what convicts
 * it. Where no batch or new view begins in its ledger there is no range: REJECT_MALFORMED, as an
 * auditor meets who holds another history. What cannot be read is REJECT_UNKNOWN.
 */
#ifndef ONUS_NODE_DEMAND_SERVICE_H
#define ONUS_NODE_DEMAND_SERVICE_H

#include "base/problem.h"
#include "ledger/codec_served.h"

struct node;
struct verify_item;

/* A demand whose signature is being checked. */
struct demand_check {
    struct demand demand;
    struct digest digest;
};

MUST_USE int demand_service_start(struct node *node, struct problem *problem);
void demand_service_stop(struct node *node);
void demand_service_free(struct node *node);

/*
 * A place for a client's demand, before its signature is paid for. author: its place among the
 * configuration's authors.
 * Returns: false: this client has one under way, or its author or all together have too many.
 */
MUST_USE bool demand_service_reserve(struct node *node, uint64_t origin, uint32_t author);
/* The check of a demand that has a place is done. good: it holds, and is to be answered. */
void demand_service_checked(struct node *node, uint64_t origin, const struct demand_check *check,
                            bool good);

/* What the demand for a part of a checkpoint that is being read comes to; empty: out of memory. */
void demand_service_answer(struct node *node, struct span message);

/* The ledger was given to the disk up to this many entries, where a batch or new view ends. */
void demand_service_wrote(struct node *node, uint64_t position, uint64_t entries);
/* The ledger's tail beyond these entries is about to be replaced. */
void demand_service_cut(struct node *node, uint64_t entries);
/* The disk got further. */
void demand_service_durable(struct node *node);

#endif
