/*
 * proposal: what a vote may change, and into what (protocol §9). One function decides, for the
 * replicas that execute a call and for whoever verifies the governance chain: the same proposal
 * makes the same constitution everywhere, or is refused for the same reason.
 */
#ifndef ONUS_GOVERNANCE_PROPOSAL_H
#define ONUS_GOVERNANCE_PROPOSAL_H

#include "governance/constitution.h"

/* Which rule a proposal breaks. */
enum proposal_rule {
    PROPOSAL_SOUND = 0,
    PROPOSAL_CONFIGURATION, /* it is made for another configuration */
    PROPOSAL_NAME_TAKEN,
    PROPOSAL_NO_MEMBER, /* that it names */
    PROPOSAL_NO_USER,
    PROPOSAL_NO_REPLICA,
    PROPOSAL_KEY_INVALID,
    PROPOSAL_KEY_TAKEN,
    PROPOSAL_POSSESSION,
    PROPOSAL_ENDORSER, /* who endorses is no member */
    PROPOSAL_ENDORSEMENT,
    PROPOSAL_TLS_TAKEN,
    PROPOSAL_MEMBERS_MANY,
    PROPOSAL_USERS_MANY,
    PROPOSAL_REPLICAS_MANY,
    PROPOSAL_PARAMETERS,
    PROPOSAL_WINDOW,
    PROPOSAL_VOTING_RULE,
    PROPOSAL_NOTHING, /* here and below it is the whole that is wrong */
    PROPOSAL_MEMBERS_NONE,
    PROPOSAL_REPLICAS_FEW,
    PROPOSAL_OPERATOR, /* of a replica is no member any more */
    PROPOSAL_REPLICAS_GONE,
    PROPOSAL_REPLICAS_FRESH,
    PROPOSAL_RULE_COUNT
};

/* One sentence for the one who proposes. */
const char *proposal_rule_text(enum proposal_rule rule);

struct proposal_verdict {
    enum proposal_rule rule;
    uint32_t action; /* which of its actions breaks it, from 1; 0: the proposal as a whole */
};

/*
 * Make the constitution that follows from `now`, number + 1. All signatures in the proposal are
 * checked, universally (§2).
 * Out: next, which means nothing unless the verdict is PROPOSAL_SOUND.
 */
struct proposal_verdict proposal_apply(struct constitution *next, const struct constitution *now,
                                       const struct proposal *proposal);

/*
 * How many replicas of n a proposal may remove or replace: f of them, so that a quorum of n
 * remains as it was, and with it everything that was committed.
 */
uint32_t proposal_gone_max(uint32_t replicas_now);
/*
 * How many replicas of n + 1 may have keys that no replica of n has. Newcomers know nothing of
 * the ledger but what others tell them. So any quorum of n + 1, of Q' = N' - f' replicas, must
 * hold f' + 1 that were in n: one of them at least is correct by the faults that n + 1 allows for,
 * and knows how n ended. Hence at most Q' - f' - 1. From 4 replicas one proposal can lead to 5 or
 * 6, but not to 7.
 */
uint32_t proposal_fresh_max(uint32_t replicas_next);

#endif
