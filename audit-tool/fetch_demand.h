/*
 * fetch_demand: makes the demands that replicas are challenged with (protocol §10).
 */
#ifndef ONUS_AUDIT_TOOL_FETCH_DEMAND_H
#define ONUS_AUDIT_TOOL_FETCH_DEMAND_H

#include "audit-tool/fetch_answer.h"

/* Whose word a demand is. */
struct fetch_author {
    const struct secret_key *secret;
    const struct public_key *key;
};

/*
 * Sign a demand with a new challenge, made now. question: what is demanded, and of whom; its digest
 * is filled in. encoded: appended to, an encoded Signed. Returns: false when out of memory.
 */
MUST_USE bool fetch_demand_make(struct fetch_question *question, struct buffer *encoded,
                                const struct fetch_author *author, uint64_t deadline_ms);

#endif
