/*
 * chain_fetcher: asks replicas for what the governance chain of a context lacks (protocol §9), so
 * that an auditor who was away for long asks those who are replicas now.
 *
 * Links need nobody to be believed. Who is silent, has none or sends one that does not hold costs
 * its turn, and blames nobody; what the others have leads on.
 */
#ifndef ONUS_AUDIT_TOOL_CHAIN_FETCHER_H
#define ONUS_AUDIT_TOOL_CHAIN_FETCHER_H

#include "host/follower.h"

/*
 * Ask all replicas of the newest configuration that is known, and if that leads on, those of the
 * one that it leads to. Blocks; each round ends when all have answered or cannot be reached, or at
 * its deadline. What holds is kept as follower_take does.
 * Out: unkept: why links could not be written down, or code EXIT_OK.
 * Returns: 0, also when nobody answers; or -1 when this end fails.
 */
MUST_USE int chain_fetch(struct follower *follower, uint64_t round_ms, struct problem *unkept,
                         struct problem *problem);

#endif
