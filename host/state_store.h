/*
 * state_store: the state of the last durable checkpoint, in LMDB, and nothing else. Everything
 * newer lies in the engine's layers and in the ledger; everything here can be rebuilt from the
 * ledger. LMDB is never on the path of a batch.
 *
 * Two threads use a store. The loop holds one long-lived read transaction: a stable snapshot that
 * is the engine's base, and moves only when it calls state_store_refresh. The checkpoint thread
 * writes: one synchronous transaction a checkpoint takes the store from one checkpoint to the
 * next, or changes nothing. What each function is for says which thread it is for.
 *
 *   checkpoint thread   state_store_write(seq)      changes, root, snapshot: one commit
 *   loop thread         state_store_refresh         the snapshot now holds seq
 *   loop thread         engine_absorb(seq)          the layers below the cut are dropped
 *
 * A refresh to a newer commit keeps the one before it readable until the next, so that it can be
 * handed to a replica that joins: host/state_transfer.h says how, and what it costs. What is handed
 * over must be signed for: where the new commit's batch carries an older checkpoint than the one
 * just before, as at the end of a configuration, the older one stays. There, and for
 * state_store_visit, a third thread may be in the store.
 *
 * The environment is the directory "state" with LMDB's data.mdb and lock.mdb. Its map is
 * STATE_MAP_SIZE of address space; the file is as large as the data needs. Opening verifies the
 * whole content against the root that was committed with it, in a child process, so that damage
 * on the disk is found (EXIT_CORRUPT) before a wrong outcome can follow from it.
 */
#ifndef ONUS_HOST_STATE_STORE_H
#define ONUS_HOST_STATE_STORE_H

#include "base/problem.h"
#include "execution/engine.h"
#include "ledger/checker.h"

struct state_store;

/* What one commit wrote. */
struct state_checkpoint {
    bool present; /* false: no checkpoint was ever written; the state is empty */
    uint64_t seq;
    uint64_t count;       /* items of the state */
    struct digest root;   /* state_hasher's over all items */
    struct span snapshot; /* the caller's bytes; valid until the next refresh or close */
};

/*
 * Open the store in data_directory/state, making it when it is missing, and verify it. It forks,
 * and waits for its child: nobody may reap that behind this function's back. Other threads may run:
 * the child needs of what it inherits no more than memory, which glibc keeps in order for it.
 * Returns: NULL with a problem: EXIT_CORRUPT when the content is damaged; EXIT_ERROR when it
 * belongs to another service, was written by another version, or cannot be opened.
 */
MUST_USE struct state_store *
state_store_open(const char *data_directory, const struct digest *service, struct problem *problem);
/* No other thread may be in the store. NULL is ignored. */
void state_store_close(struct state_store *store);

/* Loop thread. The engine's base: the snapshot's state. The store must outlive the engine. */
struct state_base state_store_base(struct state_store *store);
/* Loop thread. Why get or seek of the base failed; its code is EXIT_OK when none did. */
const struct problem *state_store_failure(const struct state_store *store);
/* Loop thread. The snapshot's checkpoint. */
const struct state_checkpoint *state_store_checkpoint(const struct state_store *store);
/*
 * Loop thread, with no call into the engine under way: move the snapshot to the last commit.
 * Returns: 0, or -1 with a problem, after which the base must not be used.
 */
MUST_USE int state_store_refresh(struct state_store *store, struct problem *problem);
/* The same after a checkpoint whose batch carries checkpoint `carried`. */
MUST_USE int state_store_refresh_carrying(struct state_store *store, uint64_t carried,
                                          struct problem *problem);

/*
 * Make the snapshot that is committed with a state of this root and count: append it to `out`,
 * which holds at most SNAPSHOT_SIZE_MAX bytes. Return false to give the commit up.
 */
typedef bool (*state_snapshot_builder)(void *context, struct buffer *out, const struct digest *root,
                                       uint64_t count);

/*
 * Checkpoint thread. In one transaction: apply what the engine's layers up to the settled cut
 * `seq` change, compute the root of the result, ask the builder for the snapshot that names this
 * root, store it, and commit to the disk.
 * Returns: 0 when it is durable; -1 with a problem when nothing changed. A problem of code
 * EXIT_ERROR (a full disk, a full map, memory) leaves the store usable.
 */
MUST_USE int state_store_write(struct state_store *store, const struct engine *engine, uint64_t seq,
                               state_snapshot_builder builder, void *context,
                               struct problem *problem);

/*
 * The same for a checkpoint's cut, under the snapshot that a recovery starts from.
 * Out: cut: state_count and state_root of its header are filled in.
 */
MUST_USE int state_store_write_cut(struct state_store *store, const struct engine *engine,
                                   struct checkpoint_cut *cut, struct problem *problem);

/*
 * Any thread: visit all items of the last commit in key order, in a snapshot of their own.
 * Out: checkpoint: which commit this is; its snapshot span is empty.
 * Returns: 0 also when the visitor stopped, or -1 with a problem.
 */
MUST_USE int state_store_visit(struct state_store *store, struct state_checkpoint *checkpoint,
                               state_visitor visitor, void *context, struct problem *problem);

#endif
