/*
 * transact: one call, one answer, for commands that look at the outcome themselves. It goes the way
 * of all requests (onus.h): signed, written down, sent to all replicas, with a receipt that is
 * verified and kept.
 */
#ifndef ONUS_CLIENT_TRANSACT_H
#define ONUS_CLIENT_TRANSACT_H

#include "client/command.h"

#define TRANSACT_ARENA_SIZE (2u * OUTCOME_SIZE_MAX + (64u << 10))

struct answer {
    struct digest id; /* of the transaction */
    uint64_t index;
    struct outcome outcome; /* spans point into the arena */
    struct arena arena;
};

void answer_init(struct answer *answer);
void answer_free(struct answer *answer);

/* Connect, and send again what an earlier run left without receipt. Returns: 0 or -1. */
MUST_USE int transact_begin(struct client *client, struct problem *problem);

/*
 * Execute a call. Returns: 0 whatever the outcome; -1 with a problem, EXIT_REJECTED when the
 * service will never execute it, EXIT_UNREACHABLE when there was no receipt in time.
 */
MUST_USE int transact(struct client *client, const struct onus_call *call, struct answer *answer,
                      struct problem *problem);

/* What a rejection means to a person. */
const char *transact_rejection_text(enum reject_reason reason);

/* An outcome that is not OK, as a problem with EXIT_REJECTED. Returns: 0 when it is OK, else -1. */
MUST_USE int answer_check(const struct answer *answer, const char *procedure,
                          struct problem *problem);

#endif
