/*
 * batch_reader: a ledger on disk, batch by batch (docs/formats.md §8, §12), with the new views that
 * stand between batches. It tells damage, which is nobody's guilt and has a place in a file, from
 * the end of the ledger. What a batch or a new view says is judged elsewhere.
 */
#ifndef ONUS_AUDIT_TOOL_BATCH_READER_H
#define ONUS_AUDIT_TOOL_BATCH_READER_H

#include "base/problem.h"
#include "ledger/batch.h"
#include "ledger/segment.h"

/* Where an entry lies, for messages. */
struct ledger_spot {
    char file_name[SEGMENT_NAME_SIZE];
    uint64_t offset;
};

struct batch_reader {
    const struct disk *disk;
    struct segment_reader reader;
    struct batch batch;      /* what was last read; valid until the next call */
    enum batch_step step;    /* what that is: BATCH_WHOLE or BATCH_VIEW */
    struct ledger_spot spot; /* of its first entry */
    uint64_t next_entry;     /* to be read next */
    bool ends_within_batch;  /* at the end: entries are left that make no whole batch */
};

/* disk and what it names are borrowed. Nothing is read yet. */
void batch_reader_init(struct batch_reader *reader, const struct disk *disk,
                       const struct digest *service);
void batch_reader_free(struct batch_reader *reader);

/*
 * Read entry 0, which must be this genesis.
 * Returns: 1; 0 when the ledger is empty; -1 on a problem.
 */
MUST_USE int batch_reader_open(struct batch_reader *reader, struct span genesis,
                               struct problem *problem);

/* Go to the first entry of a batch or new view. Returns: 1; 0 when the ledger ends before it; -1.
 */
MUST_USE int batch_reader_seek(struct batch_reader *reader, uint64_t entry,
                               struct problem *problem);

/*
 * The next whole batch or new view.
 * Returns: 1; 0 at the end; -1 on a problem: EXIT_CORRUPT with file and offset for damage and for
 * entries that make neither.
 */
MUST_USE int batch_reader_next(struct batch_reader *reader, struct problem *problem);

#endif
