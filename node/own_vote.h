/*
 * own_vote: does a ledger that this replica is given hold its own votes (protocol §5, "The amnesia
 * guard")? A replica that joins at genesis has revealed no nonce, as far as it knows: evidence that
 * names it shows that its key has signed before, and that it has forgotten what.
 */
#ifndef ONUS_NODE_OWN_VOTE_H
#define ONUS_NODE_OWN_VOTE_H

#include "ledger/codec.h"

/* Is this replica among the signers that one of these entries names? */
bool own_vote_in(const struct entry *entries, uint32_t count, uint32_t self);

#endif
