/*
 * segment_format: what the reader and the writer of segment files share: headers, checks, and the
 * list of a directory. Private to ledger/segment*.c.
 */
#ifndef ONUS_LEDGER_SEGMENT_FORMAT_H
#define ONUS_LEDGER_SEGMENT_FORMAT_H

#include "ledger/segment.h"

#define SEGMENT_VERSION 1u
#define SEGMENT_CHECK_SIZE 8u

/* A directory is listed while its writer may be renaming: what looks wrong is looked at again. */
#define SEGMENT_LIST_ATTEMPTS_MAX 4u

/* The segments of a directory, ascending and adjacent. */
struct segment_list {
    struct segment_name *names;
    size_t count;
    size_t capacity;
};

/* Returns: 0, or -1 on a problem; the list is freed by the caller in either case. */
MUST_USE int segment_list_read(struct segment_list *list, const struct disk *disk,
                               struct problem *problem);
void segment_list_free(struct segment_list *list);

void segment_header_encode(uint8_t out[static SEGMENT_HEADER_SIZE], const struct digest *service,
                           uint64_t first);

/*
 * Open a segment and check its header against its name and the service.
 * Out: file: a handle, the caller's to close; file_size.
 * Returns: 1, 0 when there is no such file, or -1 on a problem.
 */
MUST_USE int segment_file_open(int *file, uint64_t *file_size, const struct disk *disk,
                               const struct segment_name *name, enum disk_mode mode,
                               const struct digest *service, struct problem *problem);

/* Returns: false when the number names no kind of entry. */
MUST_USE bool record_kind_valid(uint32_t kind);
void record_check_compute(uint8_t out[static SEGMENT_CHECK_SIZE], const struct digest *service,
                          uint64_t index, uint32_t kind, struct span payload);
void record_header_encode(uint8_t out[static RECORD_HEADER_SIZE], const struct digest *service,
                          uint64_t index, const struct entry *entry);

/* A problem from the operating system about one file. Returns: -1. */
int segment_problem_os(struct problem *problem, const struct disk *disk, const char *file_name,
                       const char *doing, int64_t result);

/*
 * Have a reader that has no file at hand read this one, which is closed and need not be a segment;
 * the reader owns the handle from now on. The header was judged by the caller. Nothing is to be
 * read behind the last record that `name` gives it.
 */
void segment_reader_take(struct segment_reader *reader, const char *file_name,
                         const struct segment_name *name, int file, uint64_t file_size);
/* Go back to the first record of the file at hand. */
void segment_reader_rewind(struct segment_reader *reader);

/* ---- steps of the writer, shared with the replacement of its tail (segment_tail.c) ---- */

/* A failure stays: the caller is told the first one again and again. Returns: SEGMENT_FAILED. */
enum segment_result segment_writer_fail(struct segment_writer *writer, const char *doing,
                                        const char *file_name, int64_t result,
                                        struct problem *problem);
/* As above for a problem that a reader of our own files met. */
enum segment_result segment_writer_fail_with(struct segment_writer *writer,
                                             struct problem *problem);
/* Has it failed before? Then the problem says how. */
MUST_USE bool segment_writer_failed(const struct segment_writer *writer, struct problem *problem);
/*
 * A new file was not finished: close it, if file >= 0, and take away what there is of it.
 * Returns: SEGMENT_FULL when the disk is full, else SEGMENT_FAILED.
 */
enum segment_result segment_writer_give_up(struct segment_writer *writer, const char *file_name,
                                           int file, const char *doing, int64_t result,
                                           struct problem *problem);
MUST_USE enum segment_result segment_writer_sync_directory(struct segment_writer *writer,
                                                           struct problem *problem);
/* Write all parts at an offset. Returns: 0 or the disk's negative result. */
MUST_USE int64_t segment_parts_write(const struct disk *disk, int file, struct span *parts,
                                     unsigned count, uint64_t offset);
/*
 * Put the records of up to SEGMENT_WRITE_RECORDS_MAX entries, the first of which is entry `index`,
 * into writer->parts. Out: size: bytes of all of them. Returns: how many parts.
 */
unsigned segment_records_gather(struct segment_writer *writer, uint64_t index,
                                const struct entry *entries, size_t count, uint64_t *size);

/*
 * Carry a replacement of the tail that was decided on to its end; there may be none.
 * Returns: SEGMENT_OK; SEGMENT_FULL, and nothing is lost; SEGMENT_FAILED.
 */
MUST_USE enum segment_result segment_tail_finish(struct segment_writer *writer,
                                                 struct problem *problem);

#endif
