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

#endif
