/*
 * signing: cheap keyed hashes in place of Ed25519, for simulations. Ed25519 is most of what a
 * simulated cluster would compute, and says nothing about the protocol.
 *
 * Production code has no switch for this: programs that link this file wrap sign_labelled,
 * sign_verify and sign_verify_universal with the linker (--wrap), and each run chooses. As long as
 * cheap signatures are not asked for, the real ones are made and checked.
 *
 * A cheap signature can be made by anybody who knows the public key. Whoever simulates an
 * adversary signs only with the keys that the adversary holds.
 */
#ifndef ONUS_TESTS_SIM_SIGNING_H
#define ONUS_TESTS_SIM_SIGNING_H

#include "base/sign.h"

void signing_use_cheap(bool cheap);
bool signing_is_cheap(void);

/*
 * Another valid signature under the same body, which only the key's owner can make; with real
 * signatures there is none at hand. Returns: false then, and signature is as it was.
 */
bool signing_vary(struct signature *signature, const struct public_key *key, enum label label,
                  const struct digest *service, struct span body, uint8_t variant);

/* A check of cheap signatures for tests/sim/second_verifier.h. */
bool signing_check_named(const struct digest *service, const char *name,
                         const struct public_key *key, struct span body,
                         const struct signature *signature);

/* The linker's names for what is wrapped, and for the wrappers. */
struct signature __real_sign_labelled(const struct secret_key *secret, const struct public_key *key,
                                      enum label label, const struct digest *service,
                                      struct span body);
bool __real_sign_verify(const struct digest *service, const struct sign_check *check);
bool __real_sign_verify_universal(const struct digest *service, const struct sign_check *check);
struct signature __wrap_sign_labelled(const struct secret_key *secret, const struct public_key *key,
                                      enum label label, const struct digest *service,
                                      struct span body);
bool __wrap_sign_verify(const struct digest *service, const struct sign_check *check);
bool __wrap_sign_verify_universal(const struct digest *service, const struct sign_check *check);

#endif
