/*
 * replay: run one batch of a ledger again, and hold it against what was signed (protocol §7,
 * §10 steps 3 and 5). A replica that restarts or catches up, the auditor and the verifier of
 * evidence all go through replay_batch.
 */
#ifndef ONUS_EXECUTION_REPLAY_H
#define ONUS_EXECUTION_REPLAY_H

#include "execution/engine.h"
#include "ledger/batch.h"
#include "ledger/checker.h"

/*
 * One request of a batch, with all that can be known of it before it is executed: decoded, and the
 * outcomes that the ledger states hashed. It depends on nothing else, so threads can prepare them.
 */
struct replay_request {
    bool decodes; /* else the rest has no meaning */
    struct request_entry entry;
    struct request request;
    const struct digest *outcomes; /* LABEL_OUTCOME of each outcome stated */
    const struct digest *leaves;   /* of G, from the index that the entry states */
    bool closes;                   /* one of them says that a proposal has passed (§9) */
};

/* Spans point into payload, the rest into arena. Want of memory is as if it did not decode. */
void replay_request_prepare(struct replay_request *out, struct arena *arena,
                            const struct digest *service, struct span payload);

/* Where the requests of one batch come from, each when its turn comes; valid until the next. */
struct replay_source {
    void *context;
    const struct replay_request *(*next)(void *context);
};

/* Scratch memory of replays; reuse it. */
struct replay {
    struct execution execution;
    struct arena arena;
    struct replay_source source; /* of the batch that is replayed; next NULL: prepared here */

    /* What the last RULE_OUTCOME was about. */
    uint64_t wrong_index;
};

void replay_init(struct replay *replay);
void replay_free(struct replay *replay);

/*
 * Check and execute one whole batch. On RULE_NONE checker and engine stand after it; otherwise
 * both are as they were. The checker must know the checkpoint digest that the batch must carry.
 * engine: NULL: execute nothing, and take the outcomes as they are stated.
 */
enum rule replay_batch(struct replay *replay, struct checker *checker, struct engine *engine,
                       const struct batch *batch, const struct sign_sink *sink);

/* A sink that takes every signature on trust: it was checked before, or its owner did it. */
extern const struct sign_sink sign_sink_trust;

#endif
