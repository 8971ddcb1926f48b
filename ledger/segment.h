/*
 * segment: the ledger on disk: write-ahead log, archive and what auditors read (docs/formats.md).
 *
 * A directory of files `<first>-<last>.seg`, closed, and at most one `<first>-open.seg`, the last,
 * which is being written. first and last are entry indices, decimal, zero padded to 12 digits;
 * together the files hold every entry once, from 0 on, or, where a replica joined by a checkpoint
 * (protocol §7), from a later one on until the older entries are put in front. All integers are big
 * endian.
 *
 *   file    header, then one record for each entry
 *   header  magic "ONUSSEG\0", u32 version (1), u32 zero, 32-byte service id, u64 index of the
 * first entry, 8-byte check: the start of the digest labelled LABEL_SEGMENT of the 56 before record
 * u32 payload size, u32 kind, 8-byte check, payload check   the start of the digest labelled
 * LABEL_RECORD of u64 entry index, u32 kind, u32 size, payload: a flipped, a misplaced and a
 * foreign record are all told from a good one
 *
 * A new file is written and synced as `segment.new`, then renamed: an open segment always has a
 * good header. A segment is closed (synced, renamed, directory synced) at the end of a batch.
 *
 * When the tail of the ledger is replaced (protocol §6), what comes in its place is written and
 * synced first, as `ledger.tail`; from then on the replacement is decided, and whoever opens the
 * ledger for writing carries it to its end:
 *
 *   file    header, then one record for each entry, as in a segment
 *   header  magic "ONUSTAIL", u32 version (1), u32 number of entries, 32-byte service id, u64 index
 *           of the first entry, which is also how many entries are kept, 8-byte check as above
 *
 * Damage is reported with code EXIT_CORRUPT, file and offset; nobody is blamed for it. Intact files
 * of another service give EXIT_INVALID. What the operating system refuses gives EXIT_ERROR.
 */
#ifndef ONUS_LEDGER_SEGMENT_H
#define ONUS_LEDGER_SEGMENT_H

#include "base/bytes.h"
#include "base/limits.h"
#include "base/problem.h"
#include "ledger/codec.h"
#include "ledger/disk.h"

#define SEGMENT_HEADER_SIZE 64u
#define RECORD_HEADER_SIZE 16u
#define SEGMENT_NAME_SIZE 48u /* with the terminating zero */
#define SEGMENT_NEW_NAME "segment.new"
#define SEGMENT_TAIL_NAME "ledger.tail" /* what is to replace the end of the ledger */
#define SEGMENT_TAIL_NEW_NAME "ledger.tail.new"

/* What a file name says. */
struct segment_name {
    uint64_t first;
    uint64_t last; /* meaningless when open */
    bool open;
};

void segment_name_format(char text[static SEGMENT_NAME_SIZE], const struct segment_name *name);
/* Returns: false when the text is not exactly what segment_name_format would write. */
MUST_USE bool segment_name_parse(struct segment_name *name, const char *text);

/* ---- reader ---------------------------------------------------------------------------------- */

/*
 * Reads entries in order, each checked before it is handed out. Several readers may be at work,
 * also while the writer appends. While it truncates or replaces, a reader may be given entries of
 * both sides of the change, or a problem: what was read must then be thrown away, so its owner has
 * to know when that happens.
 */
struct segment_reader {
    const struct disk *disk;
    struct digest service;
    bool torn_tail_tolerated;

    struct segment_name segment; /* the file at hand */
    char file_name[SEGMENT_NAME_SIZE];
    int file; /* or negative: none */
    uint64_t file_size;
    uint64_t offset; /* of the next record */
    uint64_t index;  /* of the next entry */
    bool skipped;    /* the records before offset were stepped over unchecked */
    uint64_t torn_size;

    uint8_t *window; /* bytes of the file from window_offset on */
    size_t window_capacity;
    size_t window_size;
    uint64_t window_offset;
};

/* One entry and where it lies. */
struct segment_record {
    uint64_t index;
    enum entry_kind kind;
    struct span payload; /* valid until the next call on the reader, like file_name */
    const char *file_name;
    uint64_t offset; /* of the record in its file */
};

/*
 * A reader at entry 0; seek before the first read of a ledger that begins later. disk and what it
 * names stay the caller's.
 * In: torn_tail_tolerated: let an incomplete or failing record at the very end of the open segment
 *     be the end (torn_size then says how many bytes were left), rather than EXIT_CORRUPT.
 */
void segment_reader_init(struct segment_reader *reader, const struct disk *disk,
                         const struct digest *service, bool torn_tail_tolerated);
void segment_reader_free(struct segment_reader *reader);

/*
 * Go to an entry; its file is found by name, its place by stepping over record headers.
 * Returns: 1; 0 when the ledger ends before it (reading on then waits for it); -1 on a problem
 * (EXIT_CANNOT_AUDIT: the files start later).
 */
MUST_USE int segment_reader_seek(struct segment_reader *reader, uint64_t index,
                                 struct problem *problem);

/*
 * The next entry.
 * Returns: 1; 0 at the end (a later call looks again); -1 on a problem.
 */
MUST_USE int segment_reader_next(struct segment_reader *reader, struct segment_record *record,
                                 struct problem *problem);

/* ---- writer ---------------------------------------------------------------------------------- */

struct segment_writer_options {
    struct digest service;
    bool torn_tail_cut;     /* cut a torn tail off; otherwise only report it */
    uint64_t size_soft_max; /* close a segment at a batch boundary past this; 0: the default */
    uint64_t first_index;   /* of an empty directory; entries below it need not be here */
};

/* The one writer of a directory; it blocks, so it belongs to the disk's thread. */
struct segment_writer {
    const struct disk *disk;
    struct segment_writer_options options;
    struct segment_name segment; /* the open segment */
    int file;                    /* or negative: none yet */
    uint64_t file_size;
    uint64_t first_index; /* of the oldest entry here when it was opened */
    uint64_t next_index;
    uint64_t total_size; /* bytes of all files */
    bool dirty;
    bool tail_decided;  /* SEGMENT_TAIL_NAME is in place, and not yet in the ledger */
    bool tail_replaced; /* since it was opened, or on opening, if it had been decided on before */
    struct problem failure; /* the first fatal one; it stays */
    struct span parts[2 * SEGMENT_WRITE_RECORDS_MAX];
    uint8_t headers[SEGMENT_WRITE_RECORDS_MAX][RECORD_HEADER_SIZE];
};

/* What was left behind after the last good record. */
struct segment_torn_tail {
    uint64_t size; /* bytes; 0: nothing */
    uint64_t offset;
    uint64_t index; /* of the entry that was being written there */
    char file_name[SEGMENT_NAME_SIZE];
};

enum segment_result {
    SEGMENT_FAILED = -1, /* fatal: every later call fails too, and must not be retried */
    SEGMENT_OK = 0,
    SEGMENT_TORN, /* on open: there is a torn tail and options.torn_tail_cut is not set */
    SEGMENT_FULL  /* on append: the disk is full; nothing of this call was kept */
};

/*
 * Open a directory, which may be empty, and find its end. All names and headers are checked, and
 * every record of the last file; what was found is then durable. A torn tail is an incomplete or
 * failing record in the open segment after which no good record follows; any other damage is a
 * problem with code EXIT_CORRUPT. A replacement of the tail that was decided on is carried to its
 * end (tail_replaced); a disk without space for it is a problem with code EXIT_ERROR. A ledger that
 * begins after entry options.first_index is one of which files were lost: EXIT_CORRUPT; one that
 * begins at or before it is taken as it is (first_index).
 * Out: torn: what was, or would be, cut off.
 * Returns: SEGMENT_OK, SEGMENT_TORN (nothing was changed; close the writer) or SEGMENT_FAILED.
 */
MUST_USE enum segment_result segment_writer_open(struct segment_writer *writer,
                                                 struct segment_torn_tail *torn,
                                                 const struct disk *disk,
                                                 const struct segment_writer_options *options,
                                                 struct problem *problem);
/* Close the files; what was not synced may be lost. */
void segment_writer_close(struct segment_writer *writer);

/*
 * Append entries with gathered writes; not durable yet. Payloads are at most ENTRY_SIZE_MAX bytes.
 * In: boundary: the last of the entries ends a batch, so the segment may be closed after it.
 * Returns: SEGMENT_OK; SEGMENT_FULL, with the file as it was before; or SEGMENT_FAILED.
 */
MUST_USE enum segment_result segment_writer_append(struct segment_writer *writer,
                                                   const struct entry *entries, size_t count,
                                                   bool boundary, struct problem *problem);

/* Make everything appended durable (§5). Returns: SEGMENT_OK or SEGMENT_FAILED. */
MUST_USE enum segment_result segment_writer_sync(struct segment_writer *writer,
                                                 struct problem *problem);

/*
 * The ledger ends here, at the end of a batch: sync and close the open segment, if there is one, so
 * that all files are closed ones. What is appended later begins a new segment.
 * Returns: SEGMENT_OK or SEGMENT_FAILED.
 */
MUST_USE enum segment_result segment_writer_finish(struct segment_writer *writer,
                                                   struct problem *problem);

/*
 * Keep only the entries below `index` (at most the next index, and not below the first entry), also
 * across closed segments. The result is durable; a crash on the way leaves a whole ledger that ends
 * somewhere between.
 * Returns: SEGMENT_OK or SEGMENT_FAILED.
 */
MUST_USE enum segment_result segment_writer_truncate(struct segment_writer *writer, uint64_t index,
                                                     struct problem *problem);

/*
 * Keep only the entries below `index` (at most the next index), and append these behind them, the
 * last of which ends a batch: all or nothing. The result is durable. Whenever the power goes, the
 * next segment_writer_open finds all of the old tail or all of the new one.
 * Returns: SEGMENT_OK; SEGMENT_FULL: not done yet, and nothing is lost: call again with the same
 * arguments, and nothing else before that succeeds; or SEGMENT_FAILED.
 */
MUST_USE enum segment_result segment_writer_replace(struct segment_writer *writer, uint64_t index,
                                                    const struct entry *entries, size_t count,
                                                    struct problem *problem);

/* The index that the next entry will get. */
static inline uint64_t segment_writer_next_index(const struct segment_writer *writer) {
    return writer->next_index;
}

/* Bytes of all segment files. */
static inline uint64_t segment_writer_total_size(const struct segment_writer *writer) {
    return writer->total_size;
}

/* ---- older entries are put in front (protocol §7) -------------------------------------------- */

/*
 * Where a ledger begins, by the names of its files. Opens none of them.
 * Returns: 1 with the index of the first entry, 0 for a directory without segments, -1 on a
 * problem.
 */
MUST_USE int segment_first_index(uint64_t *index, const struct disk *disk, struct problem *problem);

/* What one call of segment_prepend did. */
struct segment_prepended {
    uint64_t files;       /* moved, or found moved already */
    uint64_t size;        /* bytes of the files that were moved now */
    uint64_t first_index; /* where the ledger begins now */
};

/*
 * Move the closed segments of `older`, another directory of the same file system, in front of the
 * ledger in `disk`, at most files_max (at least 1) of them, from the last to the first. Each is
 * linked into the ledger and made durable there before it goes from `older`: the ledger has no gap
 * at any moment, nothing is lost whenever the power goes, and who calls again carries on. Readers
 * of the ledger and its one writer may be at work on other threads; in `older` nobody else may. The
 * writer's total size does not know of these files: see segment_writer_grew.
 * Returns: 1 when more are to be moved, 0 when none is left in `older`, -1 on a problem:
 * EXIT_CORRUPT when `older` does not end where the ledger begins or one of its segments is still
 * open, EXIT_INVALID when it is of another service. Nothing is undone then, and the ledger is
 * whole; but since a sync must not be tried twice (§5), nobody calls again before the process is
 * started anew.
 */
MUST_USE int segment_prepend(struct segment_prepended *done, const struct disk *disk,
                             const struct disk *older, const struct digest *service,
                             size_t files_max, struct problem *problem);

/* The writer's thread: count in what segment_prepend has moved. */
void segment_writer_grew(struct segment_writer *writer, const struct segment_prepended *done);

#endif
