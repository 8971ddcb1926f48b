/*
 * older: the background of a replica that began with a checkpoint (protocol §7): a thread of its
 * own, of low priority, that has older_ledger.h judge and keep what came before, and in the end put
 * it in front of the replica's ledger. Peers are asked for it by joiner.h, one range at a time.
 *
 * The loop's functions.
 */
#ifndef ONUS_NODE_OLDER_H
#define ONUS_NODE_OLDER_H

#include "base/problem.h"
#include "ledger/wire.h"

struct node;

/* Start the thread, if this replica's ledger lacks its beginning; joiner_older is told when. */
MUST_USE int older_start(struct node *node, struct problem *problem);
/* Judge a range, which must live until joiner_taken is called. */
void older_take(struct node *node, const struct range_message *range);
/* All entries are there: hold them against the checkpoint, and put them in front. */
void older_finish(struct node *node);
void older_stop(struct node *node);
void older_free(struct node *node);

/* For an operator: why it does not go on; NULL: nothing keeps it. */
const char *older_obstacle(const struct node *node);

#endif
