/*
 * sign: Ed25519 through libsodium, with the accepted set of protocol §2.
 *
 * Libraries disagree about edge cases of Ed25519 and a proof must verify for everyone. They agree
 * once the key A and the point R are valid points of the prime-order group: A is checked when a
 * key is admitted (public_key_valid), R in every universal verifier (sign_verify_universal).
 *
 * libsodium 1.0.18 computes SB - hA and compares its encoding with R, which must not be of small
 * order. With an admitted A that point is of the prime-order group, and its encoding canonical: a
 * signature that verifies has a valid R, and looking at R again could refuse nothing. What a
 * replica accepts from a peer holds in evidence too. Later versions decode R and multiply by the
 * cofactor; sign_init finds out, and with them R is looked at apart.
 *
 * Every signature is over: label, one zero byte, the 32-byte service id, the body.
 */
#ifndef ONUS_BASE_SIGN_H
#define ONUS_BASE_SIGN_H

#include "base/bytes.h"
#include "base/hash.h"

/* A signing key: seed and public key as libsodium lays them out. Wipe it when done. */
struct secret_key {
    uint8_t bytes[64];
};

/*
 * Initialise libsodium and run the self-test: a known signature verifies, the known edge cases are
 * rejected. Call once at start, before any other function here.
 * Returns: false when this build of libsodium must not be used.
 */
MUST_USE bool sign_init(void);

/* The key pair of a 32-byte seed. */
void sign_key_from_seed(struct secret_key *secret, struct public_key *key,
                        const uint8_t seed[static 32]);
void sign_key_wipe(struct secret_key *secret);
/* Overwrite secret bytes so that the compiler cannot leave it out. */
void secret_wipe(void *bytes, size_t size);

/* Is this an encoded point of the prime-order group, not of small order (§2)? */
MUST_USE bool public_key_valid(const struct public_key *key);

/* Sign a labelled body. Deterministic: the same inputs give the same signature. */
struct signature sign_labelled(const struct secret_key *secret, const struct public_key *key,
                               enum label label, const struct digest *service, struct span body);

/* One signature to check: what worker pools, the checker and the auditor pass around. */
struct sign_check {
    struct public_key key;
    struct signature signature;
    struct span body;
    enum label label;
};

/*
 * Does the signature hold? The key must have been admitted with public_key_valid.
 * A body of more than SIGNED_SIZE_MAX bytes is refused.
 */
MUST_USE bool sign_verify(const struct digest *service, const struct sign_check *check);

/*
 * As sign_verify, and R is a valid point of the prime-order group: what evidence must satisfy. The
 * key must have been admitted here too; configurations hold no others.
 */
MUST_USE bool sign_verify_universal(const struct digest *service, const struct sign_check *check);

#endif
