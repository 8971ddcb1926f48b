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

/* Scratch memory of replays; reuse it. */
struct replay {
    struct execution execution;
    struct arena arena;

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
