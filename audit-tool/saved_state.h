/*
 * saved_state: the state after a checkpoint as one file, from which an audit can begin (docs/
 * formats.md §12). Nothing in it is believed: all of it hashes to the checkpoint's digest, and
 * whether that one was signed is asked of the ledger.
 *
 *   line     "onus-audit-state-v1\n"
 *   32 bytes service id
 *   u64      number of the checkpoint
 *   u32 size, then as many bytes: genesis
 *   u32 size, then as many bytes: CheckerSnapshot, with its window
 *   u64      number of items, then each, by ascending key:
 *            u32 size, key, u32 size, value
 *
 * Numbers are big endian; the file ends with the last item.
 */
#ifndef ONUS_AUDIT_TOOL_SAVED_STATE_H
#define ONUS_AUDIT_TOOL_SAVED_STATE_H

#include <stdio.h>

#include "audit-tool/replayer.h"
#include "audit-tool/spill.h"
#include "base/problem.h"

#define SAVED_STATE_MAGIC "onus-audit-state-v1\n"

/* Which of the replayer's checkpoints, of which service. */
struct saved_state {
    const struct digest *service;
    struct span genesis;
    uint64_t seq;
};

/*
 * Write a checkpoint that the replayer still keeps. The stream is the caller's to flush.
 * Returns: false when there is no such checkpoint any more, or the stream fails.
 */
MUST_USE bool saved_state_write(FILE *out, const struct replayer *replayer,
                                const struct saved_state *state);

/*
 * The same of a checkpoint that came from elsewhere: snapshot with its window, and its items, of
 * which there are `count`, as saved_state_item makes them. All of it was verified before.
 */
MUST_USE bool saved_state_write_parts(FILE *out, const struct saved_state *state,
                                      struct span snapshot, uint64_t count, struct span items);
/* One item as in the file, appended. Returns: false when memory or disk is short. */
MUST_USE bool saved_state_item(struct spill *out, const struct state_item *item);

/*
 * Read the snapshot behind the head. snapshot: appended to. Nothing of it is verified.
 * Returns: false when the file is cut short, or the snapshot too large.
 */
MUST_USE bool saved_state_read_snapshot(FILE *in, struct buffer *snapshot);

/*
 * Read the beginning of a file, which says what it is about. genesis: appended to.
 * Returns: 0, or -1 with EXIT_INVALID: not such a file, or it belongs to another service.
 */
MUST_USE int saved_state_read_head(FILE *in, const struct digest *service, struct buffer *genesis,
                                   uint64_t *seq, const char *name, struct problem *problem);

/*
 * Read the rest into a replayer that has not begun. After -1 the replayer must not be used.
 * Returns: 0, or -1 with EXIT_INVALID: the file contradicts itself, or EXIT_ERROR: memory.
 */
MUST_USE int saved_state_read(FILE *in, struct replayer *replayer, uint64_t seq, const char *name,
                              struct problem *problem);

#endif
