/*
 * chain_store: the governance chain in the data directory (protocol §9), in the file `chain`, in
 * the format of receipts/chain.h. It holds nothing that the ledger does not: what is damaged, torn
 * by a crash or missing is cut off, and made again. Reached through ledger/disk.h; it blocks.
 */
#ifndef ONUS_NODE_CHAIN_STORE_H
#define ONUS_NODE_CHAIN_STORE_H

#include <stdatomic.h>

#include "ledger/disk.h"
#include "receipts/chain.h"

#define CHAIN_NAME "chain"
#define CHAIN_NEW_NAME "chain.new"

struct chain_store {
    const struct disk *disk; /* of the data directory */
    struct digest service;
    struct span genesis;          /* encoded; the caller's */
    const _Atomic bool *stopping; /* any thread: end soon */

    struct chain *chain; /* what the file says, verified; NULL before it was opened */
    uint64_t size;       /* of the file; 0: there is none */
    uint64_t first;      /* where the first link is in it, or will be */
    struct buffer ends;  /* of uint64_t: where each link ends in the file */
    bool was_damaged;    /* when it was opened: something was cut off */
};

void chain_store_init(struct chain_store *store, const struct disk *disk,
                      const struct digest *service, struct span genesis,
                      const _Atomic bool *stopping);
void chain_store_free(struct chain_store *store);

/*
 * Read and verify the file, and cut off what does not hold. It may be opened again, to see what is
 * on the disk. Returns: 0; -1 with a problem, or without one for `stopping`: open it again then.
 */
MUST_USE int chain_store_open(struct chain_store *store, struct problem *problem);

/*
 * Judge the next link, and make it durable.
 * Returns: 0; -1 with a problem: EXIT_CORRUPT when it does not hold, and nothing has changed; after
 * another one the store must be opened again.
 */
MUST_USE int chain_store_append(struct chain_store *store, struct span link,
                                struct problem *problem);

/*
 * The same of a link from elsewhere, which may be known, or not hold: verdict says what came of it.
 * Only one that holds and is the next one (CHAIN_VALID) is put down.
 * Returns: 0, or -1 with a problem of memory or the disk: the store must be opened again.
 */
MUST_USE int chain_store_take(struct chain_store *store, struct span link,
                              struct chain_verdict *verdict, struct problem *problem);

/* Where some links are in the file, each with its size before it. */
struct chain_piece {
    uint64_t offset;
    size_t size;
    uint32_t link_count;
};

/*
 * As many links as fit into one message to a client (ledger/wire.h).
 * In: first: where the first link is in the file; ends: as in the store; nth: the link to begin
 * with, from 0, which is there.
 */
struct chain_piece chain_piece_choose(uint64_t first, struct span ends, uint64_t nth);

/*
 * Read a piece of the file, on any thread. Appended to `out`, which has the room.
 * Returns: -1 with a problem, also when the file is shorter.
 */
MUST_USE int chain_piece_read(struct buffer *out, const struct disk *disk,
                              const struct chain_piece *piece, struct problem *problem);

#endif
