/*
 * replica_kit: what a replica needs on its own machine: its signing key, its nonce secret, its TLS
 * key and certificate, and replica.yaml. All is made where it is used; only the public key and the
 * certificate go anywhere else.
 */
#ifndef ONUS_CLIENT_REPLICA_KIT_H
#define ONUS_CLIENT_REPLICA_KIT_H

#include "base/problem.h"
#include "base/sign.h"

struct replica_kit {
    const char *directory; /* made with mode 0700 if it is not there */
    uint32_t replica;
    const char *genesis; /* for replica.yaml: relative to the directory, or absolute */
    const char *listen_peer;
    const char *listen_client;
};

/*
 * Make all files; an existing one is never replaced.
 * Out: key, tls_digest: what an endorsement names.
 * Returns: 0 or -1.
 */
MUST_USE int replica_kit_make(const struct replica_kit *kit, struct public_key *key,
                              struct digest *tls_digest, struct problem *problem);

/*
 * Where to listen: at what was asked for; else at the planned address, or, where that is a name, at
 * every address of this machine. out: ADDRESS_TEXT_SIZE characters; asked: NULL when nothing was.
 * Returns: 0 or -1.
 */
MUST_USE int replica_kit_listen(char *out, const char *asked, const char *planned,
                                struct problem *problem);

/* Make a directory of mode 0700, unless it is there. Returns: 0 or -1. */
MUST_USE int directory_make(const char *path, struct problem *problem);

#endif
