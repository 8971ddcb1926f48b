/*
 * chain_keeper: the governance chain of a running replica (protocol §9). A thread of its own, of
 * low priority, reads the file (chain_store.h), makes the links that it lacks from the ledger on
 * the disk (chain_link.h), and writes each down once its configuration was entered: all that is in
 * a link is evidenced then, and stays, though the very end of the configuration before may not. So
 * one that leaves, and is told no more, has it too. Clients, and replicas that join, are given
 * links out of the file, which the reader's thread fetches.
 *
 * One that joins itself has peers' links judged and kept here, before there is a ledger.
 *
 * Nothing waits for any of it: a replica without links votes and serves like others, and says that
 * it has none.
 *
 * The loop's functions.
 */
#ifndef ONUS_NODE_CHAIN_KEEPER_H
#define ONUS_NODE_CHAIN_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/problem.h"
#include "governance/constitution.h"

struct node;

/* Start the thread, and open the file. */
MUST_USE int chain_keeper_start(struct node *node, struct problem *problem);
void chain_keeper_stop(struct node *node);
void chain_keeper_free(struct node *node);

/* A configuration was entered, by what has been given to the disk's thread. */
void chain_keeper_entered(struct node *node, uint64_t number);
/* The disk got further, or the ledger has its beginning now. */
void chain_keeper_go_on(struct node *node);

/* A client or peer wants links (clients_ and peers_next_chain_query have their questions). */
void chain_keeper_serve(struct node *node);

/*
 * Judge links that a peer gave to join with, and keep those that hold. They must live until
 * joiner_linked is called, which is not before this returns. peer: for the log.
 * Returns: false, and nothing comes of it: the file cannot be written now.
 */
MUST_USE bool chain_keeper_take(struct node *node, uint32_t peer, const struct span *links,
                                uint32_t count);
/* Has the file been read? While it has not joiner_chain_opened is yet to be called. */
bool chain_keeper_is_open(const struct node *node);
/* The newest configuration that the chain reaches, while no job is under way; else the founding. */
uint64_t chain_keeper_newest(const struct node *node);
/* The constitution of that number, valid until the next call; NULL: the chain does not reach it. */
const struct constitution *chain_keeper_find(struct node *node, uint64_t number);

/* For an operator: why links are missing; NULL: nothing keeps them. */
const char *chain_keeper_obstacle(const struct node *node);

#endif
