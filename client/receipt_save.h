/*
 * receipt_save: a receipt into a file of its own that whoever gets it can verify with genesis
 * alone: one of a later configuration takes along the links of the governance chain that lead
 * there.
 */
#ifndef ONUS_CLIENT_RECEIPT_SAVE_H
#define ONUS_CLIENT_RECEIPT_SAVE_H

#include "host/context.h"

/* Write it, in place of what is there. Returns: 0 or -1. */
MUST_USE int receipt_save(const struct context *context, const char *path, struct span receipt,
                          struct problem *problem);

/*
 * Read such a file, of either kind. file: not initialised yet, and the caller's to free in any
 * case; receipt and links point into it (receipt_file_open). Returns: 0; -1 with EXIT_INVALID when
 * it is no receipt file, or why it cannot be read.
 */
MUST_USE int receipt_open(struct buffer *file, struct span *receipt, struct span *links,
                          const char *path, struct problem *problem);

/*
 * Hand over the links of the context's chain, in order, up to the one that leads to `config`.
 * take returns false when it cannot go on. Returns: 0; or -1 with a problem, of EXIT_INVALID when
 * the chain does not lead there.
 */
MUST_USE int context_each_link(const struct context *context, uint64_t config,
                               bool (*take)(void *user, struct span link), void *user,
                               struct problem *problem);

#endif
