/*
 * chain_keeper: the governance chain of a running replica (protocol §9). A thread of its own, of
 * low priority, reads the file (chain_store.h), makes the links that it lacks from the ledger on
 * the disk (chain_link.h), and writes each down once its configuration was entered: all that is in
 * a link is evidenced then, and stays, though the very end of the configuration before may not. So
 * one that leaves, and is told no more, has it too. Clients are given links out of the file, which
 * the reader's thread fetches.
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

#include "base/problem.h"

struct node;

/* Start the thread, and open the file. */
MUST_USE int chain_keeper_start(struct node *node, struct problem *problem);
void chain_keeper_stop(struct node *node);
void chain_keeper_free(struct node *node);

/* A configuration was entered, by what has been given to the disk's thread. */
void chain_keeper_entered(struct node *node, uint64_t number);
/* The disk got further, or the ledger has its beginning now. */
void chain_keeper_go_on(struct node *node);

/* A client wants links (clients_next_chain_query has its question). */
void chain_keeper_serve(struct node *node);

/* For an operator: why links are missing; NULL: nothing keeps them. */
const char *chain_keeper_obstacle(const struct node *node);

#endif
