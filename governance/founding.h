/*
 * founding: the beginning of the governance chain (protocol §1, §9): from the genesis transaction
 * to constitution 1. Who knows the service id knows genesis, and with it every key to begin with.
 * The constitutions that votes bring about follow from the one before: proposal.h.
 */
#ifndef ONUS_GOVERNANCE_FOUNDING_H
#define ONUS_GOVERNANCE_FOUNDING_H

#include "base/problem.h"
#include "governance/constitution.h"
#include "ledger/codec.h"

#define FOUNDING_CONFIGURATION 1u

/* How a founding consortium votes: more than half of all members. Genesis has no say in it. */
#define FOUNDING_RULE_NUMERATOR 1u
#define FOUNDING_RULE_DENOMINATOR 2u

/*
 * Make constitution 1 of a decoded genesis, after checking what decoding does not: that every key
 * may be admitted (§2), that no key is used twice, whatever for, and that each replica is endorsed
 * by its member.
 * Returns: 0, or -1 with a problem of code EXIT_INVALID that names what is wrong.
 */
MUST_USE int constitution_found(struct constitution *out, const struct genesis *genesis,
                                struct problem *problem);

/* The configuration that follows from it, for those who need no more. Returns: the same. */
MUST_USE int founding_configuration(struct configuration *out, const struct genesis *genesis,
                                    struct problem *problem);

#endif
