/*
 * range_piece: a piece of a ledger on disk, whole batches and new views, as a range message holds
 * it. Where a batch begins is told by the kinds of entries alone; nothing here is judged.
 */
#ifndef ONUS_NODE_RANGE_PIECE_H
#define ONUS_NODE_RANGE_PIECE_H

#include "ledger/segment.h"
#include "ledger/wire.h"

struct range_piece {
    uint64_t first_entry;
    uint32_t count; /* entries, all of whole batches and new views */

    /* private */
    struct buffer payloads;
    struct buffer stored;  /* of where each entry lies in them, also of what is not whole */
    struct buffer entries; /* of struct entry, made by range_piece_message */
};

void range_piece_init(struct range_piece *piece);
void range_piece_free(struct range_piece *piece);

/*
 * Read from first_entry on, which begins a batch or new view, up to end_entry, where one ends; at
 * most RANGE_BATCHES_SERVED_MAX of them, and about RANGE_SIZE_SOFT_MAX bytes. What was read before
 * is forgotten. count is 0 when nothing whole is there.
 * Returns: 0, or -1 with a problem: what was whole before the damage is kept.
 */
MUST_USE int range_piece_read(struct range_piece *piece, struct segment_reader *reader,
                              uint64_t first_entry, uint64_t end_entry, struct problem *problem);

/*
 * Keep what lies in the configuration of the first batch or new view, and leave the rest out.
 * Out: the configuration; genesis lies in that which it founds.
 * Returns: false when nothing is there, or no configuration can be read in it.
 */
MUST_USE bool range_piece_keep_configuration(struct range_piece *piece, uint64_t *config);

/* Leave the last whole batch or new view out. Returns: false when it is the only one. */
MUST_USE bool range_piece_drop_last(struct range_piece *piece);

/* It as a message, which lives until the piece is read or freed. Returns: false: out of memory. */
MUST_USE bool range_piece_message(struct range_piece *piece, struct range_message *message);

#endif
