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

#endif
