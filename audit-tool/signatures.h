/*
 * signatures: every signature of a ledger, checked by a few threads while the batch executes. The
 * threads can be sent on other errands too.
 *
 * The ledger checker hands signatures to a sign_sink. One sink answers at once; the other collects
 * them for the threads and answers for all of a batch at its end. Both judge alike.
 */
#ifndef ONUS_AUDIT_TOOL_SIGNATURES_H
#define ONUS_AUDIT_TOOL_SIGNATURES_H

#include "ledger/checker.h"

#define SIGNATURE_JOBS_MAX 64u

/*
 * Does it hold? Where a failure would convict those who relied on the signature, it is judged as
 * they judged it; where it would only make the ledger worthless as evidence, as everybody can
 * (§2: a signature that fails only the check of R convicts nobody but its author).
 */
bool signature_holds(const struct digest *service, const struct sign_check *check, enum rule rule);

/* A sink that answers at once. service is borrowed. */
struct sign_sink signatures_sink_at_once(const struct digest *service);

struct signatures;

/* jobs: how many threads, this one included: 1..SIGNATURE_JOBS_MAX. NULL: no memory or threads. */
MUST_USE struct signatures *signatures_new(const struct digest *service, uint32_t jobs);
void signatures_free(struct signatures *signatures);

/*
 * Remember that a signature holds, universally: of a request, by its digest (LABEL_REQUEST_DIGEST);
 * of a pre-prepare or prepare, by its own with signature (hash_statement by its label). So what
 * receipts have shown is not paid for again in the ledger. The memory is of one size; what finds no
 * place is checked again. Not while anything is collected.
 */
void signatures_learn(struct signatures *signatures, const struct digest *statement);

/* Are there threads besides the calling one? */
bool signatures_have_help(const struct signatures *signatures);

/*
 * Something else for its threads to do, before signatures: run is called again and again, by
 * several of them at once, until it returns false.
 */
struct errand {
    void *context;
    bool (*run)(void *context);
};
/* One at a time. */
void signatures_send(struct signatures *signatures, struct errand errand);
/* Wait until nobody is at it. */
void signatures_recall(struct signatures *signatures);

/* A sink that collects; it answers false only when memory is short. */
struct sign_sink signatures_sink(struct signatures *signatures);
/* Wait for everything collected, and forget it. Returns: whether all of it holds. */
MUST_USE bool signatures_settle(struct signatures *signatures);

#endif
