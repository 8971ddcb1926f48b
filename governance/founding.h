/*
 * founding: the first link of the governance chain (protocol §1, §9): from the genesis transaction
 * to configuration 1. Who knows the service id knows genesis, and with it every key to begin with.
 * The configurations that votes bring about follow from the one before, in files of their own.
 */
#ifndef ONUS_GOVERNANCE_FOUNDING_H
#define ONUS_GOVERNANCE_FOUNDING_H

#include "base/problem.h"
#include "ledger/codec.h"
#include "ledger/configuration.h"

#define FOUNDING_CONFIGURATION 1u

/*
 * Make configuration 1 of a decoded genesis, after checking what decoding does not: that every key
 * may be admitted (§2), that no key is used twice, whatever for, and that each replica is endorsed
 * by its member.
 * Returns: 0, or -1 with a problem of code EXIT_INVALID that names what is wrong.
 */
MUST_USE int founding_configuration(struct configuration *out, const struct genesis *genesis,
                                    struct problem *problem);

#endif
