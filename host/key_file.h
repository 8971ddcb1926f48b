/*
 * key_file: secrets at rest. A key file holds the seed of an Ed25519 key, a secret file the key of
 * the PRF that makes a replica's nonces (protocol §3), kept apart from the signing key.
 *
 * Both are two lines of text: the magic ("onus-key-v1", "onus-secret-v1"), then 64 hexadecimal
 * digits. They must be closed to group and others and belong to us or root, or they are refused.
 * All functions return 0, or -1 with a problem that names the file and the remedy.
 */
#ifndef ONUS_HOST_KEY_FILE_H
#define ONUS_HOST_KEY_FILE_H

#include "base/problem.h"
#include "base/sign.h"

#define PRF_SECRET_SIZE 32u

/* The key of the nonce PRF. Wipe it when done (prf_secret_wipe). */
struct prf_secret {
    uint8_t bytes[PRF_SECRET_SIZE];
};

/* Out: secret: the caller wipes it with sign_key_wipe. */
MUST_USE int key_file_load(struct secret_key *secret, struct public_key *key, const char *path,
                           struct problem *problem);
/* A fresh key in a new file; an existing file is never replaced. Out: its public key. */
MUST_USE int key_file_generate(struct public_key *key, const char *path, struct problem *problem);

MUST_USE int secret_file_load(struct prf_secret *secret, const char *path, struct problem *problem);
MUST_USE int secret_file_generate(const char *path, struct problem *problem);
void prf_secret_wipe(struct prf_secret *secret);

#endif
