/*
 * engine: executes calls against a key-value state, early and undoably (protocol §4, §5 step 2).
 *
 * The state is a stack: at the bottom the base (what the last durable checkpoint holds, reached
 * through a table of functions; none means an empty base), above it layers in memory. All writes
 * go to the top layer and into an undo log. A cut, made after a checkpoint's batch, freezes the
 * top layer and starts a new one; a frozen and settled layer never changes again, so that another
 * thread may read it while this one executes. Once the base holds its content it is absorbed.
 *
 * Deterministic: the same state and the same call give the same outcome, byte for byte.
 */
#ifndef ONUS_EXECUTION_ENGINE_H
#define ONUS_EXECUTION_ENGINE_H

#include "base/bytes.h"
#include "ledger/codec.h"
#include "merkle/frontier.h"

/*
 * The state below all layers. Spans returned stay valid until the base is next changed, which
 * happens only between calls into the engine. Return 1 for found, 0 for absent, -1 for a failure
 * of the store, after which the engine must not be used (engine_failed).
 */
struct state_base {
    void *context;
    int (*get)(void *context, struct span key, struct span *value);
    /* The first key not less than `key`. */
    int (*seek)(void *context, struct span key, struct span *found_key, struct span *value);
};

struct constitution; /* governance/constitution.h */
struct engine;

/* base may be NULL: an empty base, and absorbed layers stay in memory. NULL: out of memory. */
MUST_USE struct engine *engine_new(const struct state_base *base);
void engine_free(struct engine *engine);
/* Did the base or memory fail? Then the process must end: an outcome must never depend on it. */
bool engine_failed(const struct engine *engine);

/* ---- governance (§9) ---- */

/*
 * From here on gov.* are procedures, and members are those of `now`, which is borrowed: the
 * constitution in force. Call it again whenever another one comes into force, or is in force again
 * because it was left. Never called, or with NULL, gov.* are unknown. Out of memory: the engine
 * has failed.
 */
void engine_govern(struct engine *engine, const struct constitution *now);
/*
 * The constitution that a vote has decided and that is to follow the one in force, from the state
 * alone. Also for a state that others made: it is checked as the votes were.
 * Out: next, not the one that the engine borrows. Returns: false when governance is off, nothing
 * is decided, the state does not say what was, or the engine has failed.
 */
MUST_USE bool engine_next_constitution(struct engine *engine, struct constitution *next);
/*
 * A batch begins: each member may again do what a batch allows it (GOVERN_COST_MAX). Before the
 * first request of every batch, whoever executes it, or outcomes would differ.
 */
void engine_batch_begin(struct engine *engine);

/* Outcomes that are likely, with their digests: one that comes out so is not hashed again. */
struct execution_expected {
    uint32_t count; /* 0: none */
    const struct span *outcomes;
    const struct digest *digests; /* LABEL_OUTCOME of each */
};

/* The outcomes of one request's calls, valid until the next execute with the same struct. */
struct execution {
    struct execution_expected expected; /* the caller's; by place in the request */
    bool closes; /* its call passed a proposal: nothing may follow in its batch */
    uint32_t count;
    struct span outcomes[CALLS_MAX];  /* encoded */
    struct digest digests[CALLS_MAX]; /* LABEL_OUTCOME of each */
    enum outcome_status statuses[CALLS_MAX];
    struct buffer encoded; /* owns what outcomes point to */
};

void execution_init(struct execution *execution);
void execution_free(struct execution *execution);

/*
 * Execute all calls of a request, in order. In atomic mode, if one does not end OUTCOME_OK, all
 * writes are undone, the calls behind it are not tried, and the others' outcomes become
 * OUTCOME_ABORTED. When the engine fails (engine_failed) out->count is 0: there are no outcomes.
 */
void engine_execute(struct engine *engine, struct execution *out, const struct digest *service,
                    const struct request *request);

/* A place in the undo log, to roll back to. Marks grow; they survive settling. */
uint64_t engine_mark(const struct engine *engine);
/* Undo all writes and cuts made since the mark, which must not have been settled. */
void engine_rollback(struct engine *engine, uint64_t mark);
/* What was done before the mark will never be rolled back: forget how to. */
void engine_settle(struct engine *engine, uint64_t mark);

/*
 * Freeze the top layer as the state at the end of batch `seq`, greater than that of the cut
 * before, and start a new one. At most LAYERS_MAX - 1 cuts may wait to be absorbed.
 */
void engine_cut(struct engine *engine, uint64_t seq);
/*
 * The base now holds everything up to the cut `seq` (with no base: merge downwards). All writes
 * before that cut must be settled. Drops or merges the layers.
 */
void engine_absorb(struct engine *engine, uint64_t seq);

/* Called in key order; value is meaningless when deleted. Return false to stop. */
typedef bool (*state_visitor)(void *context, struct span key, struct span value, bool deleted);

/*
 * Visit what the layers between the base and the cut `seq` change, in key order, newest write
 * only, deletions included. Safe on another thread for settled cuts.
 * Returns: false when the visitor stopped or there is no such cut.
 */
bool engine_visit_changes(const struct engine *engine, uint64_t seq, state_visitor visitor,
                          void *context);
/*
 * Visit the whole state at the cut `seq`, base included, in key order; no deletions appear. It
 * reads the base, so it belongs to the thread that the base belongs to.
 * Returns: as above, and false when the base failed.
 */
bool engine_visit_state(const struct engine *engine, uint64_t seq, state_visitor visitor,
                        void *context);
/*
 * Put one item below all layers before anything was executed (base NULL): evidence, tests.
 * Returns: false when key or value are outside their limits, the key is there already, or memory
 * is short. The item may come from outside.
 */
MUST_USE bool engine_preload(struct engine *engine, struct span key, struct span value);

/* Current value, for tests and tools. Returns 1, 0, -1 as a base does. */
int engine_get(struct engine *engine, struct span key, struct span *value);

/*
 * Root of a state: RFC 9162 tree over its items in key order; a leaf is u32be key size, key,
 * value. Feed items, then finish.
 */
struct state_hasher {
    uint64_t count;
    struct frontier frontier;
};
/* The leaf of one item. */
struct digest state_item_leaf(struct span key, struct span value);
void state_hasher_init(struct state_hasher *hasher);
void state_hasher_add(struct state_hasher *hasher, struct span key, struct span value);
struct digest state_hasher_final(struct state_hasher *hasher);

#endif
