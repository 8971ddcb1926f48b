/*
 * follower: what a client or auditor knows of the consortium's configurations (protocol §9): the
 * chain of its context, which grows by the links that replicas hand over. Each link is judged, then
 * kept in the context's file, so that the next run begins where this one ends.
 */
#ifndef ONUS_HOST_FOLLOWER_H
#define ONUS_HOST_FOLLOWER_H

#include "host/context_chain.h"

struct follower;

/* Read the context's chain. context is borrowed. Returns: NULL with a problem. */
MUST_USE struct follower *follower_open(const struct context *context, struct problem *problem);
void follower_close(struct follower *follower);

/* The newest constitution; valid until the next link is taken. */
const struct constitution *follower_constitution(const struct follower *follower);

/*
 * The newest configuration, with the addresses that the context has for its replicas. The one
 * returned before stays as it is until a still later one is returned.
 */
const struct configuration *follower_configuration(struct follower *follower);

/* The configuration of a number; valid until the next call. NULL: the chain does not reach it. */
const struct configuration *follower_find(struct follower *follower, uint64_t number);

/*
 * Take links, in their order. Those that hold and lead on are kept, also when a later one is bad.
 * Returns: how many lead on; -1: one does not hold. Either way problem says, when its code is not
 * EXIT_OK, why a link is bad or could not be written down (it counts for this run all the same).
 */
int follower_take(struct follower *follower, const struct span *links, uint32_t count,
                  struct problem *problem);

#endif
