/*
 * journal: the second file that a replica makes durable (protocol §5): what it has promised. One
 * checksummed record for each nonce that may have left, each certificate by which it ranks, each
 * view below which it signs nothing any more, each start and orderly end (ledger/codec_journal.h).
 *
 *   file    header, then records; all integers are big endian
 *   header  magic "ONUSJRN\0", u32 version (2), u32 replica id, 32-byte service id, u64 number of
 *           the first record, 8-byte check: the start of the digest labelled LABEL_JOURNAL of the
 *           56 bytes before
 *   record  u32 payload size, u32 zero, 8-byte check, payload
 *   check   the start of the digest labelled LABEL_JOURNAL of u64 record number, u32 size, payload
 *
 * The file is bounded: past JOURNAL_SIZE_SOFT_MAX it is written anew with the records that still
 * matter, beside the old one, and takes its place by a rename. Those are its last
 * JOURNAL_RECORDS_KEPT promises and the last standing record, in their order. Reached through
 * ledger/disk.h; it blocks, so it belongs to the disk's thread once the replica runs.
 */
#ifndef ONUS_NODE_JOURNAL_H
#define ONUS_NODE_JOURNAL_H

#include "base/limits.h"
#include "base/problem.h"
#include "ledger/codec_journal.h"
#include "ledger/disk.h"

#define JOURNAL_NAME "journal"
#define JOURNAL_NEW_NAME "journal.new"
#define JOURNAL_HEADER_SIZE 64u
#define JOURNAL_RECORD_HEADER_SIZE 16u

/* Whose journal it is. */
struct journal_owner {
    struct digest service;
    uint32_t replica;
};

/* What a record is to those that keep the file small. */
enum journal_role {
    JOURNAL_PROMISE, /* one of many, all of which hold: a nonce, a certificate */
    JOURNAL_STANDING /* where the replica stands; takes the place of all such before it */
};

enum journal_role journal_role_of(enum journal_kind kind);

struct journal {
    const struct disk *disk;
    struct journal_owner owner;
    int file; /* or negative */
    uint64_t size;
    uint64_t next_number;
    bool dirty;
    uint64_t promise_count;                  /* in the file */
    uint64_t promises[JOURNAL_RECORDS_KEPT]; /* offset of promise n at n % JOURNAL_RECORDS_KEPT */
    uint64_t standing;                       /* offset of the last standing record; 0: none */
};

enum journal_result {
    JOURNAL_FAILED = -1, /* fatal; the problem says why */
    JOURNAL_OK = 0,
    JOURNAL_MISSING, /* on open: there is no such file */
    JOURNAL_FULL     /* on append: the disk is full; nothing of this call was kept */
};

/* Make an empty journal, durable. Never replaces one. Returns: 0, or -1 with a problem. */
MUST_USE int journal_create(const struct disk *disk, const struct journal_owner *owner,
                            struct problem *problem);

/*
 * Whose is it? Reads its header alone, and changes nothing; it may be absent. Returns: 0, or -1
 * with a problem when it is damaged or another replica's.
 */
MUST_USE int journal_check_owner(const struct disk *disk, const struct journal_owner *owner,
                                 struct problem *problem);

/* Told each record, oldest first; the payload is valid during the call. Returns: its role. */
typedef enum journal_role journal_visit(void *context, struct span payload);

/*
 * Open and read it whole. A torn last record is cut off (torn_size: its bytes); damage elsewhere
 * is a problem of code EXIT_CORRUPT with file and offset, and changes nothing. A journal of another
 * service or replica gives EXIT_ERROR. Out: journal: journal_close it after JOURNAL_OK.
 */
MUST_USE enum journal_result journal_open(struct journal *journal, uint64_t *torn_size,
                                          const struct disk *disk,
                                          const struct journal_owner *owner, journal_visit *visit,
                                          void *context, struct problem *problem);
void journal_close(struct journal *journal);

/* Append one record; not durable yet. */
MUST_USE enum journal_result journal_append(struct journal *journal, enum journal_role role,
                                            struct span payload, struct problem *problem);
/* Make everything appended durable; then keep the file small. Returns: 0, or -1. */
MUST_USE int journal_sync(struct journal *journal, struct problem *problem);

#endif
