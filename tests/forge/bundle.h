/*
 * bundle: for tests: the receipts of a forged request as clients keep and exchange them.
 */
#ifndef ONUS_TESTS_FORGE_BUNDLE_H
#define ONUS_TESTS_FORGE_BUNDLE_H

#include "tests/forge/forge.h"

/* Append the receipts of that batch's request, as receipt_bundle_encode does. */
void forge_bundle(const struct forge *forge, uint64_t seq, uint32_t request, struct buffer *out);

#endif
