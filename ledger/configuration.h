/*
 * configuration: who takes part, and with which parameters (protocol §1): what statements are
 * judged against. Plain data, made by governance/ from the genesis transaction, and from votes.
 */
#ifndef ONUS_LEDGER_CONFIGURATION_H
#define ONUS_LEDGER_CONFIGURATION_H

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"
#include "ledger/codec.h"

struct member {
    char name[NAME_SIZE_MAX + 1];
    struct public_key key;
};

struct replica_identity {
    struct public_key key;
    struct digest tls_digest;
    uint32_t member; /* who answers for it */
    char peer_address[ADDRESS_SIZE_MAX + 1];
    char client_address[ADDRESS_SIZE_MAX + 1];
};

struct configuration {
    struct digest service;
    uint64_t number; /* 1 for the founding configuration */
    struct parameters parameters;
    uint32_t replica_count; /* N */
    uint32_t faults_max;    /* f = floor((N - 1) / 3) */
    uint32_t quorum;        /* Q = N - f */
    uint32_t member_count;
    uint32_t author_count;
    struct replica_identity replicas[REPLICAS_MAX];
    struct member members[MEMBERS_MAX];
    struct public_key authors[USERS_MAX + MEMBERS_MAX]; /* users and members, sorted by bytes */
};

/* f and Q of N replicas (§1). */
static inline uint32_t configuration_faults_max(uint32_t replica_count) {
    return (replica_count - 1) / 3;
}

/* The number of the replica with this key; REPLICAS_MAX: it is none of them. */
uint32_t configuration_find_replica(const struct configuration *configuration,
                                    const struct public_key *key);

/* The replica that leads a view. */
static inline uint32_t configuration_primary(const struct configuration *configuration,
                                             uint64_t view) {
    CHECK(configuration->replica_count != 0);
    return (uint32_t)(view % configuration->replica_count);
}

/* Which checkpoint batch `seq` must carry: the last but one multiple of C (§7). */
static inline uint64_t configuration_checkpoint_for(const struct configuration *configuration,
                                                    uint64_t seq) {
    uint64_t const interval = configuration->parameters.checkpoint_interval;
    CHECK(interval != 0);
    uint64_t const passed = seq / interval;
    return passed < 2 ? 0 : (passed - 1) * interval;
}

/* Is this the key of a user or member? */
bool configuration_has_author(const struct configuration *configuration,
                              const struct public_key *key);

/* As above, and where it stands among the authors. */
bool configuration_find_author(const struct configuration *configuration,
                               const struct public_key *key, uint32_t *place);

/* The name of the member who operates a replica. */
const char *configuration_member_of(const struct configuration *configuration, uint32_t replica);

/* Does the set name exactly Q existing replicas? */
bool configuration_is_quorum(const struct configuration *configuration, uint64_t signers);

#endif
