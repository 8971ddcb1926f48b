/*
 * joiner: drives consensus/join.h beside the replica (protocol §7). At genesis it has a checkpoint
 * fetched into joining/, while the replica rests, and then the process run again from it; in a
 * replica that began with a checkpoint it fetches the older ledger for older.h. The checkpoint may
 * be of a later configuration: then peers are asked for links of the governance chain first, and
 * those that hold are kept (chain_keeper.h). Peers are believed nothing; all writing is done on the
 * reader's thread, one message at a time.
 *
 * The loop's functions.
 */
#ifndef ONUS_NODE_JOINER_H
#define ONUS_NODE_JOINER_H

#include "base/problem.h"
#include "consensus/message.h"

struct node;

MUST_USE int joiner_open(struct node *node, struct problem *problem);
/* Once the links run. A replica at genesis begins to look for a checkpoint. */
void joiner_start(struct node *node);
/* The governance chain was read, or cannot be: what waited for that begins. */
void joiner_chain_opened(struct node *node);
/*
 * Links that the chain's keeper was given were judged. newest: the configuration that the chain
 * reaches now; good: false when one does not hold.
 */
void joiner_linked(struct node *node, uint64_t newest, bool good);
/* Before the reader's thread is stopped, and after. */
void joiner_stop(struct node *node);
void joiner_free(struct node *node);

void joiner_peer_up(struct node *node, uint32_t peer);

/* What becomes of a message from a peer. */
enum joiner_answer {
    JOINER_PASSES, /* it is the replica's; it may have been looked at */
    JOINER_DROPS,  /* it is nobody's: free it */
    JOINER_KEEPS   /* it is freed here */
};
enum joiner_answer joiner_take(struct node *node, struct peer_message *message);

/* The older ledger is to be fetched, from next_entry on, up to end_entry. */
void joiner_older(struct node *node, uint64_t next_entry, uint64_t end_entry);
/* The range that older_take was given was judged. */
void joiner_taken(struct node *node, uint64_t next_entry, bool good);
/* Nothing is to be fetched any more. */
void joiner_end(struct node *node);

/* What an operator should know; empty: nothing. room has STATUS_ERROR_SIZE_MAX bytes. */
const char *joiner_text(const struct node *node, char *room);

#endif
