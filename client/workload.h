/*
 * workload: the calls that `onus bench` makes, drawn from a seeded generator so that two runs ask
 * for the same. SmallBank with its usual mix over accounts chosen evenly, or puts and gets.
 */
#ifndef ONUS_CLIENT_WORKLOAD_H
#define ONUS_CLIENT_WORKLOAD_H

#include "client/onus.h"

#define WORKLOAD_WORD_SIZE 72u

enum workload_kind { WORKLOAD_SMALLBANK, WORKLOAD_KV };

struct workload {
    enum workload_kind kind;
    uint32_t accounts;
    uint64_t state; /* of the generator */
};

/* One call with the text of its arguments. */
struct workload_call {
    struct onus_call call;
    struct span arguments[3];
    char words[3][WORKLOAD_WORD_SIZE];
};

/* Calls over so many accounts (or keys), at least two. */
void workload_init(struct workload *workload, enum workload_kind kind, uint32_t accounts,
                   uint64_t seed);
/* Fill in the call that makes account (or key) number `account`. It must not move while in use. */
void workload_create(const struct workload *workload, struct workload_call *out, uint32_t account);
/* Fill in the next call of the mix. */
void workload_next(struct workload *workload, struct workload_call *out);

#endif
