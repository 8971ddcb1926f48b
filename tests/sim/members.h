/*
 * members: what the members of a governed cluster say when a change of configuration is all that
 * they are about: one proposes, and they vote for it one after the other.
 */
#ifndef ONUS_TESTS_SIM_MEMBERS_H
#define ONUS_TESTS_SIM_MEMBERS_H

#include "tests/sim/cluster.h"

#define MATTER_CALL_SIZE (32u + 2 * DIGEST_SIZE)

/* A proposal, and the call of a vote for it. */
struct matter {
    struct span bytes;
    struct digest id;
    char vote[MATTER_CALL_SIZE];
};

/* Returns: the request. */
uint32_t members_say(struct cluster *cluster, uint32_t member, const char *call,
                     struct span argument);
/* The first member proposes it, and waits for the answer, at most ms. Returns: the request. */
uint32_t members_propose(struct cluster *cluster, uint32_t count, const struct action *actions,
                         uint64_t ms, struct matter *out);
/* So many of the first members are enough. */
uint32_t members_enough(const struct cluster *cluster);
/* Returns: the request. */
uint32_t members_vote(struct cluster *cluster, const struct matter *matter, uint32_t member);

#endif
