/*
 * join_service: hands the previous checkpoint of this replica to peers that join (protocol §7): the
 * offer, with a certificate from the ledger; the digests of the state's parts; the parts. All is
 * read on a thread of its own, of low priority, one request at a time for each peer.
 *
 * An auditor who demands it (protocol §10) gets the same, one demand at a time, with this replica's
 * signature under it.
 *
 * While anybody asks for it, one snapshot of the state stays open, and all are offered that one;
 * not for longer than JOIN_PIN_MS_MAX, since the store's file grows meanwhile.
 */
#ifndef ONUS_NODE_JOIN_SERVICE_H
#define ONUS_NODE_JOIN_SERVICE_H

#include "base/problem.h"
#include "ledger/wire.h"

struct node;

MUST_USE int join_service_start(struct node *node, struct problem *problem);
void join_service_take(struct node *node, uint32_t peer,
                       const struct fetch_checkpoint_message *message);
/*
 * The same for an auditor who demands it: not more than one at a time. It is read and signed for on
 * the same thread, and goes to demand_service_answer. What is not there is signed for as empty.
 * Returns: false: out of memory, nothing will come.
 */
MUST_USE bool join_service_demand(struct node *node, const struct fetch_checkpoint_message *wanted,
                                  const struct digest *demand);
void join_service_stop(struct node *node);
void join_service_free(struct node *node);

#endif
