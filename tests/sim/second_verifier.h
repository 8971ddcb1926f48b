/*
 * second_verifier: a receipt verifier written from docs/formats.md alone, a second time and in
 * another way, for tests to hold against receipts/receipt.h. It shares the decoders, SHA-256 and
 * the configuration's look-ups with the first one, and nothing else.
 */
#ifndef ONUS_TESTS_SIM_SECOND_VERIFIER_H
#define ONUS_TESTS_SIM_SECOND_VERIFIER_H

#include "ledger/configuration.h"

/* Does this encoded receipt prove what it says, in this configuration? */
bool second_verifier_accepts(const struct configuration *configuration, struct span receipt);

/* Does the signature hold under the label "onus/v1/" name? */
typedef bool named_check(const struct digest *service, const char *name,
                         const struct public_key *key, struct span body,
                         const struct signature *signature);

/* For simulations whose signatures are not Ed25519's: check them so. NULL: as they are. */
void second_verifier_use(named_check *check);

#endif
