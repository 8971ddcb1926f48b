/*
 * state_transfer: a stored state is read in parts for a replica that joins, and a joining replica
 * builds its store from such parts (protocol §7; execution/state_parts.h says what a group is).
 *
 * A server hands out the commit before the last one, "the previous": when checkpoint (k + 1) C is
 * stored, its ledger proves checkpoint k C. The store keeps that commit readable until the next
 * refresh; an open state_snapshot keeps it readable until it is closed. LMDB does not reuse the
 * pages of a commit that is readable, so the file grows by what changes meanwhile: by about one
 * checkpoint's changes always, and by those of every checkpoint written while a snapshot is open.
 * Such space is used again later, but never given back to the system; hence who opens a snapshot
 * limits for how long. In memory a snapshot takes 32 bytes a group and one key for every
 * STATE_PLACES_STEP groups, once it is indexed.
 *
 * A snapshot is used by one thread at a time, which need not be the loop's nor the checkpoint
 * thread; so is a build. There is at most one open snapshot of a store.
 */
#ifndef ONUS_HOST_STATE_TRANSFER_H
#define ONUS_HOST_STATE_TRANSFER_H

#include "base/problem.h"
#include "host/state_store.h"

/* ---- reading ---- */

struct state_snapshot;

/*
 * Any thread: pin the store's previous commit. The store must outlive the snapshot.
 * Returns: NULL with a problem; NULL without one when there is no previous commit, which is so
 * after each start until the loop refreshes to the first checkpoint written since.
 */
MUST_USE struct state_snapshot *state_snapshot_open(struct state_store *store,
                                                    struct problem *problem);
/* NULL is ignored. */
void state_snapshot_close(struct state_snapshot *snapshot);

/* Which commit it is: seq, count, root and the snapshot's bytes, valid until it is closed. */
const struct state_checkpoint *state_snapshot_checkpoint(const struct state_snapshot *snapshot);

/*
 * Compute the digests of all groups, and where they lie: once, before the two functions below. It
 * reads the whole state. `stop` may be NULL; it is asked now and then, and true ends the walk.
 * Returns: 1; 0 when it was stopped, or the state has more than JOIN_GROUPS_MAX groups; -1 with a
 * problem (EXIT_CORRUPT: what was read does not lead to the checkpoint's root).
 */
MUST_USE int state_snapshot_index(struct state_snapshot *snapshot, bool (*stop)(void *context),
                                  void *context, struct problem *problem);

/* The digests of all groups, *count of them (state_group_count); valid until it is closed. */
const struct digest *state_snapshot_digests(const struct state_snapshot *snapshot, uint64_t *count);

/* Which groups are wanted. */
struct state_part {
    uint64_t first_group;
    uint64_t groups_max;    /* at least 1 */
    uint64_t size_soft_max; /* bytes of keys and values: after a group past this none is added */
};

/*
 * Visit the items of whole groups from first_group on, at least one; the spans stay valid until the
 * snapshot is closed. Costs what the groups cost, and to find the first, whichever it is, at most
 * STATE_PLACES_STEP groups of keys.
 * Returns: how many groups; 0 when there is no group first_group; -1 with a problem, or when the
 * visitor stopped, without one.
 */
MUST_USE int64_t state_snapshot_read(struct state_snapshot *snapshot, const struct state_part *part,
                                     state_visitor visitor, void *context, struct problem *problem);

/* ---- building ---- */

struct state_build;

/*
 * Begin a store in data_directory/state, which must be absent or an empty directory.
 * Returns: NULL with a problem of code EXIT_ERROR.
 */
MUST_USE struct state_build *
state_build_open(const char *data_directory, const struct digest *service, struct problem *problem);
/*
 * Put the next item: keys not empty and strictly ascending, sizes within the limits of a state
 * (state_groups_check has said so). Commits now and then; nothing is durable before the end.
 * Returns: 0, or -1 with a problem: EXIT_INVALID when it is not that, EXIT_ERROR otherwise. Then
 * only state_build_discard may be called.
 */
MUST_USE int state_build_put(struct state_build *build, struct span key, struct span value,
                             struct problem *problem);
/*
 * All items were put. Compare them with the checkpoint's count and root, store the checkpoint, and
 * make all of it and its directory durable. From then on state_store_open opens it. Frees the build
 * in either case.
 * In: checkpoint: present is true; snapshot is at most SNAPSHOT_SIZE_MAX bytes.
 * Returns: 0, or -1 with a problem: EXIT_INVALID when count or root differ, EXIT_ERROR otherwise;
 * what was built is then removed.
 */
MUST_USE int state_build_finish(struct state_build *build,
                                const struct state_checkpoint *checkpoint, struct problem *problem);
/* Remove what was built, and free the build. NULL is ignored. What cannot be removed stays. */
void state_build_discard(struct state_build *build);

#endif
