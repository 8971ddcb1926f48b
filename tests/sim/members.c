/*
 * members: see members.h.
 */
#include "tests/sim/members.h"

#include <stdio.h>

#define VOTE_MS 20u /* a vote is on its way for that long before the next one */

uint32_t members_say(struct cluster *cluster, uint32_t member, const char *call,
                     struct span argument) {
    const struct charter *const charter = cluster->charter;
    struct order const order = {.author = charter_pair(charter, &charter->now.members[member].key),
                                .min_index = cluster->highest_index + 1,
                                .call_count = 1,
                                .calls = &call,
                                .argument = argument};
    return cluster_submit_order(cluster, 0, &order);
}

uint32_t members_propose(struct cluster *cluster, uint32_t count, const struct action *actions,
                         uint64_t ms, struct matter *out) {
    struct charter *const charter = cluster->charter;
    struct proposal proposal;
    char id[2 * DIGEST_SIZE + 1];
    out->bytes = charter_propose(charter, count, actions);
    uint32_t const request = members_say(cluster, 0, "gov.propose", out->bytes);
    cluster_run_until_done(cluster, ms);
    charter_decode(charter, &proposal, out->bytes);
    out->id = proposal.id;
    hex_encode(id, span_of(proposal.id.bytes, DIGEST_SIZE));
    (void)snprintf(out->vote, sizeof out->vote, "gov.vote %s yes", id);
    return request;
}

uint32_t members_enough(const struct cluster *cluster) {
    return cluster->charter->now.member_count / 2 + 1;
}

uint32_t members_vote(struct cluster *cluster, const struct matter *matter, uint32_t member) {
    uint32_t const request = members_say(cluster, member, matter->vote, (struct span){.size = 0});
    cluster_run_ms(cluster, VOTE_MS);
    return request;
}
