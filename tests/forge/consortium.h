/*
 * consortium: for tests: a service with its genesis, and whichever keys one wants to hold. Founded
 * from numbers, so that the same options always give the same service.
 */
#ifndef ONUS_TESTS_FORGE_CONSORTIUM_H
#define ONUS_TESTS_FORGE_CONSORTIUM_H

#include "base/problem.h"
#include "base/sign.h"
#include "ledger/codec.h"
#include "ledger/codec_served.h"
#include "ledger/configuration.h"

#define CONSORTIUM_USERS 3u

struct key_pair {
    struct secret_key secret;
    struct public_key key;
};

struct replica_keys {
    bool held;
    struct key_pair signing;
    uint8_t nonce_secret[32];
};

struct consortium {
    struct buffer genesis_bytes;
    struct arena arena;
    struct genesis genesis;
    struct configuration configuration;
    struct replica_keys replicas[REPLICAS_MAX];
    struct key_pair members[MEMBERS_MAX];
    struct key_pair users[CONSORTIUM_USERS];
    struct key_pair stranger; /* belongs to nobody of the service */
};

struct consortium_options {
    uint32_t replica_count;       /* 0: 4, one of each member; replicas beyond MEMBERS_MAX wrap */
    uint32_t pipeline;            /* 0: 4 */
    uint64_t checkpoint_interval; /* 0: 12, the least for a pipeline of 4 */
    uint64_t window;              /* 0: the least, BATCH_CALLS_MAX */
    uint32_t batch_calls_max;     /* 0: CALLS_MAX */
    uint32_t seed;
};

/* A key pair made from a number. */
struct key_pair key_pair_of(uint32_t number);

/* Found a service and hold all of its keys. Aborts when something does not work out. */
void consortium_found(struct consortium *consortium, const struct consortium_options *options);
/* Take genesis bytes of a service that exists, without any keys. Returns: 0 or -1. */
MUST_USE int consortium_load(struct consortium *consortium, struct span genesis,
                             struct problem *problem);
void consortium_free(struct consortium *consortium);

/* What an answer to a demand says of who signs, and of where its entries lie: the founding one. */
void consortium_state(const struct consortium *consortium, struct served *served);

/* What a request is made of; calls are text, split at spaces: "kv.put a 1". */
struct order {
    const struct key_pair *author;
    uint64_t min_index;
    uint64_t number;        /* makes the nonce */
    enum request_mode mode; /* 0: independent */
    uint32_t call_count;
    const char *const *calls;
    struct span argument; /* one more argument of the last call, any bytes; empty: there is none */
};

/* Append the encoded, signed request. Aborts when it cannot be made. */
void order_encode(struct buffer *out, const struct consortium *consortium,
                  const struct order *order);

#endif
