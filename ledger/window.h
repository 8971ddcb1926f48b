/*
 * window: which requests were executed lately (protocol §5 step 1).
 *
 * A request is valid for W transaction indices from its min_index on, so to execute each at most
 * once it is enough to remember the requests of the last W indices. The window is a queue of
 * batches and an index over their request ids. Memory is bounded by W and by the batches that
 * could still be rolled back.
 */
#ifndef ONUS_LEDGER_WINDOW_H
#define ONUS_LEDGER_WINDOW_H

#include "base/bytes.h"
#include "ledger/codec.h"

struct window;

/* length: W, in transaction indices. NULL: out of memory. */
MUST_USE struct window *window_new(const struct digest *service, uint64_t length);
void window_free(struct window *window);

/* Where a request was executed. */
struct window_place {
    uint64_t seq;
    uint64_t entry; /* index of the batch's pre-prepare entry */
    uint64_t first_index;
};

/* Returns: whether the request is in the window; place may be NULL. */
bool window_find(const struct window *window, const struct digest *request_id,
                 struct window_place *place);

/*
 * Collect one batch: add its requests in order, then either commit it under its place in the
 * ledger, or abandon it. A collected request is found by window_find at once.
 */
MUST_USE bool window_add(struct window *window, const struct digest *request_id,
                         uint32_t call_count);
MUST_USE bool window_commit(struct window *window, uint64_t seq, uint64_t first_index,
                            uint64_t entry);
void window_abandon(struct window *window);

/* Forget all batches after `seq`: they were rolled back. */
void window_rollback(struct window *window, uint64_t seq);

/*
 * Free what no request can replay any more: batches that end W indices before next_index and
 * will not be rolled back (seq <= settled_seq).
 */
void window_expire(struct window *window, uint64_t next_index, uint64_t settled_seq);

/*
 * The root over the batches up to `seq` that end within W of next_index: part of a checkpoint. A
 * leaf is the LABEL_WINDOW digest of the encoded window_batch. Out: first_entry: of the first such
 * batch, 0 when there is none.
 */
struct digest window_root(const struct window *window, uint64_t seq, uint64_t next_index,
                          uint64_t *first_entry);

/* The encoded live batches up to `seq`, oldest first. Returns: false to stop early, or at once. */
typedef bool (*window_visitor)(void *context, struct span encoded);
bool window_visit(const struct window *window, uint64_t seq, uint64_t next_index,
                  window_visitor visitor, void *context);

/* Add one batch as a snapshot holds it. Returns: false when out of order or out of memory. */
MUST_USE bool window_load(struct window *window, const struct window_batch *batch);

#endif
