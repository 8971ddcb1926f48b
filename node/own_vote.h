/*
 * own_vote: does a ledger that this replica is given hold its own votes (protocol §5, "The amnesia
 * guard")? A replica that joins at genesis has revealed no nonce, as far as it knows: evidence that
 * names it shows that its key has signed before, and that it has forgotten what. Evidence names
 * replicas by their numbers in the configuration that the batch was of.
 */
#ifndef ONUS_NODE_OWN_VOTE_H
#define ONUS_NODE_OWN_VOTE_H

#include "ledger/codec.h"

/* What this replica's number is in a configuration. */
struct own_place {
    void *context;
    uint32_t (*find)(void *context, uint64_t config); /* REPLICAS_MAX: it is none of them */
};

/* Is this replica among the signers that one of these entries names? */
bool own_vote_in(const struct entry *entries, uint32_t count, const struct own_place *self);

#endif
