/*
 * story: ledgers for tests, drawn from a number: batches of every shape, full, empty, with evidence
 * early and late. The same number tells the same story, so that two forges can share a beginning.
 */
#ifndef ONUS_TESTS_FORGE_STORY_H
#define ONUS_TESTS_FORGE_STORY_H

#include "tests/forge/forge.h"

struct story {
    struct forge *forge;
    uint64_t random;
};

/* A number below bound. */
uint32_t story_draw(struct story *story, uint32_t bound);

/* A random request of a user, allowed from the next index on. */
void story_request(struct story *story, struct buffer *out);

/* A batch of random requests that leaves `lag` batches without evidence, and the rule it breaks. */
void story_append(struct story *story, uint32_t request_count, uint64_t lag, enum rule lie);

/* Correct batches of every shape, signed by changing quorums. */
void story_append_honest(struct story *story, uint32_t count);

/*
 * A batch of one request. flipped_byte: of its signature, or 0 to leave it as it is.
 */
void story_append_order(struct story *story, const struct order *order, enum rule lie,
                        uint32_t flipped_byte);

#endif
