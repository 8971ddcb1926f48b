/*
 * segment_tail: the end of the ledger is replaced, all or nothing (protocol §6); see segment.h.
 *
 * What comes in place of the old tail is written to a file of its own, synced, and given its name:
 * with that the replacement is decided. Then the ledger is cut, the file's entries are appended and
 * synced, and the file goes. Each of these steps may be repeated from its beginning, so whoever
 * finds the file starts with the cut again, be it after a crash or after the disk was full.
 *
 * Invariants: everything below the cut is durable before the replacement is decided. Nothing is
 * appended behind the new tail before it is durable that the file has gone.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/check.h"
#include "base/hash.h"
#include "ledger/segment.h"
#include "ledger/segment_format.h"

#define TAIL_VERSION 1u
#define CHECKED_SIZE (SEGMENT_HEADER_SIZE - SEGMENT_CHECK_SIZE)

static const uint8_t magic[8] = {'O', 'N', 'U', 'S', 'T', 'A', 'I', 'L'};

/* What the file says it holds: entries [first, first + count). */
struct tail_extent {
    uint64_t first;
    uint32_t count;
};

/* ---- the header ---- */

static void header_encode(uint8_t out[static SEGMENT_HEADER_SIZE], const struct digest *service,
                          struct tail_extent extent) {
    memcpy(out, magic, sizeof magic);
    store_u32_be(out + 8, TAIL_VERSION);
    store_u32_be(out + 12, extent.count);
    memcpy(out + 16, service->bytes, DIGEST_SIZE);
    store_u64_be(out + 48, extent.first);
    struct digest const digest = hash_labelled(LABEL_SEGMENT, service, span_of(out, CHECKED_SIZE));
    memcpy(out + CHECKED_SIZE, digest.bytes, SEGMENT_CHECK_SIZE);
}

static int header_check(struct tail_extent *extent, const struct segment_writer *writer,
                        const uint8_t header[static SEGMENT_HEADER_SIZE], struct problem *problem) {
    uint8_t expected[SEGMENT_HEADER_SIZE];
    extent->count = load_u32_be(header + 12);
    extent->first = load_u64_be(header + 48);
    header_encode(expected, &writer->options.service, *extent);
    if (memcmp(expected, header, sizeof expected) == 0 && extent->first <= INT64_MAX) {
        return 0;
    }
    return problem_set(problem, EXIT_CORRUPT,
                       "%s/%s: offset 0: the header is damaged, or of another service; restore the "
                       "file from a copy",
                       writer->disk->place, SEGMENT_TAIL_NAME);
}

/* ---- deciding ---- */

/* Header and records. Returns: 0 or the disk's negative result. */
static int64_t content_write(struct segment_writer *writer, int file, uint64_t first,
                             const struct entry *entries, size_t count) {
    uint8_t header[SEGMENT_HEADER_SIZE];
    header_encode(header, &writer->options.service,
                  (struct tail_extent){.first = first, .count = (uint32_t)count});
    struct span part = span_of(header, sizeof header);
    int64_t result = segment_parts_write(writer->disk, file, &part, 1, 0);
    uint64_t offset = sizeof header;
    for (size_t at = 0; result == 0 && at < count;) {
        size_t const left = count - at;
        size_t const chunk = left < SEGMENT_WRITE_RECORDS_MAX ? left : SEGMENT_WRITE_RECORDS_MAX;
        uint64_t size = 0;
        unsigned const parts =
            segment_records_gather(writer, first + at, entries + at, chunk, &size);
        result = segment_parts_write(writer->disk, file, writer->parts, parts, offset);
        offset += size;
        at += chunk;
    }
    return result;
}

static enum segment_result decide(struct segment_writer *writer, uint64_t first,
                                  const struct entry *entries, size_t count,
                                  struct problem *problem) {
    const struct disk *const disk = writer->disk;
    const char *const name = SEGMENT_TAIL_NEW_NAME;
    int const file = disk->open(disk->context, name, DISK_CREATE);
    if (file < 0) {
        return segment_writer_give_up(writer, name, file, "creating", file, problem);
    }
    int64_t const wrote = content_write(writer, file, first, entries, count);
    if (wrote < 0) {
        return segment_writer_give_up(writer, name, file, "writing", wrote, problem);
    }
    int const synced = disk->sync(disk->context, file);
    disk->close(disk->context, file);
    if (synced < 0) {
        return segment_writer_fail(writer, "syncing", name, synced, problem);
    }
    int const renamed = disk->rename(disk->context, name, SEGMENT_TAIL_NAME);
    if (renamed < 0) {
        return segment_writer_give_up(writer, name, -1, "renaming", renamed, problem);
    }
    return segment_writer_sync_directory(writer, problem);
}

/* ---- carrying it out ---- */

/* Returns: how many bytes of the header there are, or the disk's negative result. */
static int64_t header_read(const struct disk *disk, int file,
                           uint8_t out[static SEGMENT_HEADER_SIZE]) {
    size_t have = 0;
    int64_t got = 1;
    while (have < SEGMENT_HEADER_SIZE && got > 0) {
        got = disk->read_at(disk->context, file, out + have, SEGMENT_HEADER_SIZE - have, have);
        have += got > 0 ? (size_t)got : 0;
    }
    return got < 0 ? got : (int64_t)have;
}

/*
 * Open the file and have a fresh reader at its first record.
 * Returns: 1, 0 when there is no such file, -1 on a problem.
 */
static int tail_open(struct segment_reader *reader, struct tail_extent *extent,
                     const struct segment_writer *writer, struct problem *problem) {
    const struct disk *const disk = writer->disk;
    int const file = disk->open(disk->context, SEGMENT_TAIL_NAME, DISK_READ);
    if (file == -ENOENT) {
        return 0;
    }
    if (file < 0) {
        return segment_problem_os(problem, disk, SEGMENT_TAIL_NAME, "opening", file);
    }
    uint8_t header[SEGMENT_HEADER_SIZE] = {0};
    int64_t const size = disk->size(disk->context, file);
    int64_t const got = size < 0 ? size : header_read(disk, file, header);
    int const checked = got < 0
                            ? segment_problem_os(problem, disk, SEGMENT_TAIL_NAME, "reading", got)
                            : header_check(extent, writer, header, problem);
    if (checked != 0) {
        disk->close(disk->context, file);
        return -1;
    }
    /* Without entries nothing is read, whatever the name says. */
    struct segment_name const name = {.first = extent->first,
                                      .last = extent->first + extent->count -
                                              (extent->count == 0 ? 0u : 1u)};
    segment_reader_take(reader, SEGMENT_TAIL_NAME, &name, file, (uint64_t)size);
    return 1;
}

/* Nothing of the ledger is given up for a file that is damaged: read all of it first. */
static int tail_verify(struct segment_reader *reader, struct tail_extent extent,
                       const struct segment_writer *writer, struct problem *problem) {
    for (uint32_t i = 0; i < extent.count; i++) {
        struct segment_record record;
        if (segment_reader_next(reader, &record, problem) != 1) {
            return -1;
        }
    }
    if (reader->offset != reader->file_size) {
        return problem_set(problem, EXIT_CORRUPT,
                           "%s/%s: offset %" PRIu64 ": more follows than its %" PRIu32
                           " entries; restore the file from a copy",
                           writer->disk->place, SEGMENT_TAIL_NAME, reader->offset, extent.count);
    }
    if (extent.first < writer->first_index) {
        return problem_set(problem, EXIT_CORRUPT,
                           "%s: begins with entry %" PRIu64 ", and %s replaces it from %" PRIu64
                           " on; restore the ledger from a copy",
                           writer->disk->place, writer->first_index, SEGMENT_TAIL_NAME,
                           extent.first);
    }
    if (segment_writer_next_index(writer) < extent.first) {
        return problem_set(problem, EXIT_CORRUPT,
                           "%s: ends before entry %" PRIu64 ", from which %s replaces it; restore "
                           "the ledger from a copy",
                           writer->disk->place, extent.first, SEGMENT_TAIL_NAME);
    }
    return 0;
}

static enum segment_result tail_append(struct segment_reader *reader, struct tail_extent extent,
                                       struct segment_writer *writer, struct problem *problem) {
    for (uint32_t i = 0; i < extent.count; i++) {
        struct segment_record record;
        if (segment_reader_next(reader, &record, problem) != 1) {
            return segment_writer_fail_with(writer, problem);
        }
        struct entry const entry = {.kind = record.kind, .payload = record.payload};
        enum segment_result const result =
            segment_writer_append(writer, &entry, 1, i + 1 == extent.count, problem);
        if (result != SEGMENT_OK) {
            return result;
        }
    }
    return segment_writer_sync(writer, problem);
}

/* Cut, append, let the file go: from the beginning, however far it came before. */
static enum segment_result carry_out(struct segment_reader *reader, struct tail_extent extent,
                                     struct segment_writer *writer, struct problem *problem) {
    const struct disk *const disk = writer->disk;
    writer->tail_decided = true;
    segment_reader_rewind(reader);
    enum segment_result result = segment_writer_truncate(writer, extent.first, problem);
    if (result == SEGMENT_OK) {
        result = tail_append(reader, extent, writer, problem);
    }
    if (result != SEGMENT_OK) {
        return result;
    }
    int const removed = disk->remove(disk->context, SEGMENT_TAIL_NAME);
    if (removed < 0) {
        return segment_writer_fail(writer, "removing", SEGMENT_TAIL_NAME, removed, problem);
    }
    writer->tail_decided = false;
    writer->tail_replaced = true;
    return segment_writer_sync_directory(writer, problem);
}

enum segment_result segment_tail_finish(struct segment_writer *writer, struct problem *problem) {
    struct segment_reader reader;
    struct tail_extent extent = {0};
    enum segment_result result = SEGMENT_OK;
    segment_reader_init(&reader, writer->disk, &writer->options.service, false);
    int const opened = tail_open(&reader, &extent, writer, problem);
    if (opened < 0 || (opened == 1 && tail_verify(&reader, extent, writer, problem) != 0)) {
        result = segment_writer_fail_with(writer, problem);
    } else if (opened == 1) {
        result = carry_out(&reader, extent, writer, problem);
    }
    segment_reader_free(&reader);
    return result;
}

enum segment_result segment_writer_replace(struct segment_writer *writer, uint64_t index,
                                           const struct entry *entries, size_t count,
                                           struct problem *problem) {
    CHECK(count <= UINT32_MAX);
    if (segment_writer_failed(writer, problem)) {
        return SEGMENT_FAILED;
    }
    if (!writer->tail_decided) {
        CHECK(index >= writer->first_index && index <= writer->next_index);
        enum segment_result result = segment_writer_sync(writer, problem);
        if (result == SEGMENT_OK) {
            result = decide(writer, index, entries, count, problem);
        }
        if (result != SEGMENT_OK) {
            return result;
        }
    }
    return segment_tail_finish(writer, problem);
}
