/*
 * writer: writes a receipt store on a thread of its own, so that the loop never waits for a disk.
 *
 * One commit takes everything that has come in while the last one ran. What somebody waits for (a
 * request must be durable before it is sent) starts a commit at once; what nobody waits for
 * (receipts, which could be fetched again) lets some time pass and goes with many others.
 *
 * All functions are called on the loop's thread, and so is on_committed. If a commit fails, nothing
 * is written any more: writer_problem says why, and on_committed still comes for everything.
 */
#ifndef ONUS_CLIENT_WRITER_H
#define ONUS_CLIENT_WRITER_H

#include <uv.h>

#include "host/receipt_store.h"

struct writer;

/* A change is durable, or given up when `failed`. number: of a pending request. */
typedef void (*writer_committed)(void *context, void *user, uint64_t number, bool failed);

/* store is borrowed; nobody else may write to it. Returns: NULL with a problem. */
MUST_USE struct writer *writer_create(uv_loop_t *loop, struct receipt_store *store,
                                      writer_committed on_committed, void *context,
                                      struct problem *problem);
/* Commits what is left, then stops the thread. Blocks. on_committed comes before it returns. */
void writer_close(struct writer *writer);

enum writer_urgency { WRITER_LAZY, WRITER_URGENT };

/*
 * Hand over a change; its bytes, key, certificate and digests are copied. user: handed back to
 * on_committed; NULL: no call. Returns: false when memory is exhausted.
 */
MUST_USE bool writer_put(struct writer *writer, const struct receipt_change *change,
                         enum writer_urgency urgency, void *user);
/* Commit everything soon. */
void writer_flush(struct writer *writer);
/* Changes not committed yet. */
uint32_t writer_backlog(const struct writer *writer);
/* Why writing has failed; its code is EXIT_OK when all is well. */
const struct problem *writer_problem(const struct writer *writer);

#endif
