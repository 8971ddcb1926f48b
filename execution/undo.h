/*
 * undo: what it takes to take back writes and cuts, newest first (protocol §5 step 3: roll back).
 *
 * A position counts every record ever pushed and not popped: positions stay true when settled
 * records are dropped from the front. The ring's memory follows the largest number of unsettled
 * records.
 */
#ifndef ONUS_EXECUTION_UNDO_H
#define ONUS_EXECUTION_UNDO_H

#include "execution/layer.h"

enum undo_kind {
    UNDO_INSERT,  /* the top layer had no item for the key: remove it */
    UNDO_REPLACE, /* the item's value was `previous` (NULL: deleted) */
    UNDO_CUT,     /* a new top layer was started */
    UNDO_CHARGE   /* a member's governance in this batch had cost `spent` */
};

/* The item lies in the layer that was the top when the record was pushed. */
struct undo_record {
    enum undo_kind kind;
    uint16_t member; /* of UNDO_CHARGE */
    uint16_t spent;
    struct item *item;
    struct item_value *previous; /* owned by the record */
};

struct undo_log {
    struct undo_record *records;
    uint64_t capacity; /* 0 or a power of two */
    uint64_t front;    /* position of the oldest record kept */
    uint64_t end;      /* position after the newest */
};

void undo_init(struct undo_log *log);
void undo_free(struct undo_log *log);
/* Make room for one record, so that the next push cannot fail. False: out of memory. */
MUST_USE bool undo_reserve(struct undo_log *log);
/* Room must have been reserved. */
void undo_push(struct undo_log *log, struct undo_record record);
/* Take the newest record away; the caller owns its previous value. */
struct undo_record undo_pop(struct undo_log *log);
/* The record at a position kept. */
const struct undo_record *undo_at(const struct undo_log *log, uint64_t position);
/* Forget all records before the position. */
void undo_settle(struct undo_log *log, uint64_t position);

#endif
