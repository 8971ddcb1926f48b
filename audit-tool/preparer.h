/*
 * preparer: the requests of the batch at hand, decoded and hashed by the threads that check
 * signatures, while another executes those before (replay_request_prepare). Whoever is first does
 * the work; nobody waits while something is left to do. Memory is bounded by one batch.
 */
#ifndef ONUS_AUDIT_TOOL_PREPARER_H
#define ONUS_AUDIT_TOOL_PREPARER_H

#include "audit-tool/signatures.h"
#include "execution/replay.h"

struct preparer;

/* Both are borrowed. NULL: memory is short. */
MUST_USE struct preparer *preparer_new(const struct digest *service, struct signatures *signatures);
void preparer_free(struct preparer *preparer);

/*
 * Begin with a batch, borrowed until preparer_end. The source belongs to this thread. It is empty
 * (next is NULL) where threads are of no use, or memory is short.
 */
struct replay_source preparer_begin(struct preparer *preparer, const struct batch *batch);
void preparer_end(struct preparer *preparer);

#endif
