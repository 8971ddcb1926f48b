/*
 * context_chain: the governance chain of a context (protocol §9), in the file `chain` beside
 * genesis.onus: what a client knows of how the consortium has changed since its founding. Links
 * come from replicas, who need not be believed: the chain is verified from genesis whenever it is
 * read, and whoever appends a link has verified it before.
 *
 * The file is receipts/chain.h's (docs/formats.md §17). It is replaced as a whole, so a reader
 * finds the old chain or the longer one, never a part of a link; writers lock the directory.
 */
#ifndef ONUS_HOST_CONTEXT_CHAIN_H
#define ONUS_HOST_CONTEXT_CHAIN_H

#include "host/context.h"
#include "receipts/chain.h"

/* How long a writer waits for another one. */
#define CONTEXT_CHAIN_LOCK_MS_MAX 5000u

/*
 * The chain as far as this context knows it; of the founding configuration alone when there is no
 * file yet. Returns: NULL with a problem that names the file and says what to do about it:
 * EXIT_INVALID when it is damaged or of another service. The caller frees it with chain_free.
 */
MUST_USE struct chain *context_chain_load(const struct context *context, struct problem *problem);

/*
 * Append the chain file's bytes, to be handed on: begun with genesis when there is no file yet. Not
 * verified here. out: with room for CHAIN_SIZE_MAX. Returns: 0 or -1.
 */
MUST_USE int context_chain_read(const struct context *context, struct buffer *out,
                                struct problem *problem);

/*
 * As context_check_key, for the newest configuration that this context knows: for programs that do
 * not follow the consortium. Returns: 0 or -1.
 */
MUST_USE int context_chain_check_key(const struct context *context, struct problem *problem);

/*
 * Keep links that chain_add has found to hold, in the order of their numbers, durably. What is in
 * the file already, put there by another process for instance, is not written twice.
 * Returns: 0, or -1 with a problem: EXIT_INVALID when there is a gap before a link, or one is none.
 */
MUST_USE int context_chain_append(const struct context *context, const struct span *links,
                                  uint32_t count, struct problem *problem);

#endif
