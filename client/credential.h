/*
 * credential: what somebody on another machine signs for a proposal, in a small file (protocol §9,
 * docs/formats.md §17): that a new key is to be used for a member, a user or a replica, by that
 * key; and for a replica that its member answers for it, by the member's key. Everything in it is
 * public.
 *
 *   onus-credential-v1
 *   service 64 hexadecimal digits, as all keys and digests
 *   role member | user | replica
 *   name bank-e                        of the member or user; of the replica's member
 *   key …
 *   tls … · peer HOST:PORT · client HOST:PORT      of a replica, a line each
 *   possession 128 hexadecimal digits
 *   endorsement 128 hexadecimal digits             of a replica, once its member has signed
 */
#ifndef ONUS_CLIENT_CREDENTIAL_H
#define ONUS_CLIENT_CREDENTIAL_H

#include "base/problem.h"
#include "base/sign.h"
#include "ledger/codec_governance.h"

#define CREDENTIAL_SIZE_MAX 2048u

struct credential {
    struct digest service;
    enum holder_role role;
    char name[NAME_SIZE_MAX + 1];
    struct public_key key;
    struct digest tls_digest; /* these three: of a replica */
    char peer_address[ADDRESS_SIZE_MAX + 1];
    char client_address[ADDRESS_SIZE_MAX + 1];
    struct signature possession;
    bool endorsed;
    struct signature endorsement;
};

const char *credential_role_text(enum holder_role role);

/* Put in a name or an address, after checking it. Returns: 0 or -1 (EXIT_USAGE). */
MUST_USE int credential_set_name(struct credential *credential, const char *name,
                                 struct problem *problem);
MUST_USE int credential_set_addresses(struct credential *credential, const char *peer,
                                      const char *client, struct problem *problem);

/* By the new key, which becomes the credential's; all else is filled in. Returns: 0 or -1. */
MUST_USE int credential_possess(struct credential *credential, const struct secret_key *secret,
                                const struct public_key *key, struct problem *problem);
/* By the member's key, for a replica. Returns: 0 or -1. */
MUST_USE int credential_endorse(struct credential *credential, const struct secret_key *secret,
                                const struct public_key *key, struct problem *problem);

/* Append the body that an endorsement signs. Returns: false when memory is short. */
MUST_USE bool credential_endorsement_body(struct buffer *out, const struct credential *credential);

/* Append the file. Returns: false when memory is short. */
MUST_USE bool credential_format(struct buffer *out, const struct credential *credential);
/*
 * Take a file apart, and check that the new key has signed. Whether a member has endorsed is for
 * proposal_apply. path: for problems. Returns: 0 or -1 (EXIT_INVALID).
 */
MUST_USE int credential_parse(struct credential *out, struct span text, const char *path,
                              struct problem *problem);

/* The same with files; an existing one is never replaced. service: NULL, or whose it must be. */
MUST_USE int credential_save(const struct credential *credential, const char *path,
                             struct problem *problem);
MUST_USE int credential_load(struct credential *out, const struct digest *service, const char *path,
                             struct problem *problem);

#endif
