/*
 * segment_writer: the one writer of the ledger's files; see segment.h.
 *
 * Invariants: file_size is where the next record goes, and everything before it is whole records.
 * Every change of names is durable before the next step relies on it. After a failure that leaves
 * the content of a file unknown, `failure` is set and nothing is written any more: a sync is never
 * tried twice (§5).
 */
#include <errno.h>
#include <inttypes.h>

#include "base/check.h"
#include "ledger/segment.h"
#include "ledger/segment_format.h"

/* ---- failing ---- */

enum segment_result segment_writer_fail(struct segment_writer *writer, const char *doing,
                                        const char *file_name, int64_t result,
                                        struct problem *problem) {
    (void)segment_problem_os(&writer->failure, writer->disk, file_name, doing, result);
    (void)problem_set(problem, writer->failure.code, "%s", writer->failure.text);
    return SEGMENT_FAILED;
}

/* As above, about the segment being written. */
static enum segment_result writer_fail_open(struct segment_writer *writer, const char *doing,
                                            int64_t result, struct problem *problem) {
    char text[SEGMENT_NAME_SIZE];
    segment_name_format(text, &writer->segment);
    return segment_writer_fail(writer, doing, text, result, problem);
}

enum segment_result segment_writer_fail_with(struct segment_writer *writer,
                                             struct problem *problem) {
    CHECK(problem->code != EXIT_OK);
    (void)problem_set(&writer->failure, problem->code, "%s", problem->text);
    return SEGMENT_FAILED;
}

bool segment_writer_failed(const struct segment_writer *writer, struct problem *problem) {
    if (writer->failure.code == EXIT_OK) {
        return false;
    }
    (void)problem_set(problem, writer->failure.code, "%s", writer->failure.text);
    return true;
}

static bool means_full(int64_t result) {
    return result == -ENOSPC || result == -EDQUOT || result == -EFBIG;
}

static void file_drop(struct segment_writer *writer) {
    if (writer->file >= 0) {
        writer->disk->close(writer->disk->context, writer->file);
        writer->file = -1;
    }
    writer->file_size = 0;
    writer->dirty = false;
}

/* ---- small steps; each is fatal when it fails ---- */

static enum segment_result step_sync(struct segment_writer *writer, struct problem *problem) {
    int const result = writer->disk->sync(writer->disk->context, writer->file);
    if (result < 0) {
        return writer_fail_open(writer, "syncing", result, problem);
    }
    writer->dirty = false;
    return SEGMENT_OK;
}

enum segment_result segment_writer_sync_directory(struct segment_writer *writer,
                                                  struct problem *problem) {
    int const result = writer->disk->sync_directory(writer->disk->context);
    return result < 0 ? segment_writer_fail(writer, "syncing the directory", ".", result, problem)
                      : SEGMENT_OK;
}

static enum segment_result step_rename(struct segment_writer *writer,
                                       const struct segment_name *from,
                                       const struct segment_name *to, struct problem *problem) {
    char from_text[SEGMENT_NAME_SIZE];
    char to_text[SEGMENT_NAME_SIZE];
    segment_name_format(from_text, from);
    segment_name_format(to_text, to);
    int const result = writer->disk->rename(writer->disk->context, from_text, to_text);
    if (result < 0) {
        return segment_writer_fail(writer, "renaming", from_text, result, problem);
    }
    return segment_writer_sync_directory(writer, problem);
}

/* Cut the open segment to `size` and make that durable, before anything is written after it. */
static enum segment_result step_cut(struct segment_writer *writer, uint64_t size,
                                    struct problem *problem) {
    int const result = writer->disk->truncate(writer->disk->context, writer->file, size);
    if (result < 0) {
        return writer_fail_open(writer, "truncating", result, problem);
    }
    writer->total_size -= writer->file_size - size;
    writer->file_size = size;
    return step_sync(writer, problem);
}

static enum segment_result step_open(struct segment_writer *writer, const struct segment_name *name,
                                     struct problem *problem) {
    int const opened = segment_file_open(&writer->file, &writer->file_size, writer->disk, name,
                                         DISK_WRITE, &writer->options.service, problem);
    if (opened == 1) {
        writer->segment = *name;
        return SEGMENT_OK;
    }
    if (opened == 0) {
        char text[SEGMENT_NAME_SIZE];
        segment_name_format(text, name);
        return segment_writer_fail(writer, "opening", text, -ENOENT, problem);
    }
    return segment_writer_fail_with(writer, problem);
}

/* ---- opening ---- */

/* Read the last file to its end. Out: torn, when its tail is. */
static enum segment_result last_file_scan(struct segment_writer *writer,
                                          const struct segment_name *name,
                                          struct segment_torn_tail *torn, struct problem *problem) {
    struct segment_reader reader;
    struct segment_record record;
    segment_reader_init(&reader, writer->disk, &writer->options.service, true);
    int more = segment_reader_seek(&reader, name->first, problem);
    while (more == 1) {
        more = segment_reader_next(&reader, &record, problem);
    }
    writer->next_index = reader.index;
    *torn = (struct segment_torn_tail){
        .size = reader.torn_size, .offset = reader.offset, .index = reader.index};
    segment_name_format(torn->file_name, name);
    segment_reader_free(&reader);
    return more < 0 ? segment_writer_fail_with(writer, problem) : SEGMENT_OK;
}

/* Check names and headers, and add up the sizes. */
static enum segment_result files_check(struct segment_writer *writer,
                                       const struct segment_list *list, struct problem *problem) {
    uint64_t const first = writer->options.first_index;
    if (list->count != 0 && list->names[0].first > first) {
        (void)problem_set(problem, EXIT_CORRUPT,
                          "%s: entries %" PRIu64 " to %" PRIu64
                          " are missing; restore them from a copy",
                          writer->disk->place, first, list->names[0].first - 1);
        return segment_writer_fail_with(writer, problem);
    }
    writer->first_index = list->count == 0 ? first : list->names[0].first;
    writer->next_index = writer->first_index;
    for (size_t i = 0; i < list->count; i++) {
        if (step_open(writer, &list->names[i], problem) != SEGMENT_OK) {
            return SEGMENT_FAILED;
        }
        writer->total_size += writer->file_size;
        file_drop(writer);
    }
    return SEGMENT_OK;
}

static enum segment_result end_find(struct segment_writer *writer, const struct segment_list *list,
                                    struct segment_torn_tail *torn, struct problem *problem) {
    if (files_check(writer, list, problem) != SEGMENT_OK) {
        return SEGMENT_FAILED;
    }
    if (list->count == 0) {
        return SEGMENT_OK;
    }
    const struct segment_name *const last = &list->names[list->count - 1];
    if (last_file_scan(writer, last, torn, problem) != SEGMENT_OK) {
        return SEGMENT_FAILED;
    }
    if (!last->open) {
        return SEGMENT_OK;
    }
    if (torn->size != 0 && !writer->options.torn_tail_cut) {
        return SEGMENT_TORN;
    }
    if (step_open(writer, last, problem) != SEGMENT_OK) {
        return SEGMENT_FAILED;
    }
    /* What a killed process left in the page cache counts as found only once it is durable. */
    return step_cut(writer, torn->offset, problem);
}

/* Files whose making was interrupted mean nothing. */
static enum segment_result leftovers_remove(struct segment_writer *writer,
                                            struct problem *problem) {
    static const char *const names[] = {SEGMENT_NEW_NAME, SEGMENT_TAIL_NEW_NAME};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int const removed = writer->disk->remove(writer->disk->context, names[i]);
        if (removed < 0 && removed != -ENOENT) {
            return segment_writer_fail(writer, "removing", names[i], removed, problem);
        }
    }
    return segment_writer_sync_directory(writer, problem);
}

/* The process ended in the middle of replacing the tail: go on with it. */
static enum segment_result tail_resume(struct segment_writer *writer, struct problem *problem) {
    enum segment_result const result = segment_tail_finish(writer, problem);
    if (result == SEGMENT_FULL) {
        (void)problem_set(problem, EXIT_ERROR,
                          "%s/%s: no space left on the disk to put this into the ledger; free some",
                          writer->disk->place, SEGMENT_TAIL_NAME);
        return segment_writer_fail_with(writer, problem);
    }
    return result;
}

enum segment_result segment_writer_open(struct segment_writer *writer,
                                        struct segment_torn_tail *torn, const struct disk *disk,
                                        const struct segment_writer_options *options,
                                        struct problem *problem) {
    CHECK(problem->code == EXIT_OK);
    memset(writer, 0, sizeof *writer);
    memset(torn, 0, sizeof *torn);
    writer->disk = disk;
    writer->options = *options;
    writer->file = -1;
    if (writer->options.size_soft_max == 0) {
        writer->options.size_soft_max = SEGMENT_SIZE_SOFT_MAX;
    }
    struct segment_list list = {0};
    if (segment_list_read(&list, disk, problem) != 0) {
        segment_list_free(&list);
        return segment_writer_fail_with(writer, problem);
    }
    enum segment_result result = end_find(writer, &list, torn, problem);
    segment_list_free(&list);
    if (result != SEGMENT_OK) {
        return result;
    }
    return leftovers_remove(writer, problem) == SEGMENT_OK ? tail_resume(writer, problem)
                                                           : SEGMENT_FAILED;
}

void segment_writer_close(struct segment_writer *writer) {
    file_drop(writer);
}

/* ---- segments come and go ---- */

int64_t segment_parts_write(const struct disk *disk, int file, struct span *parts, unsigned count,
                            uint64_t offset) {
    unsigned at = 0;
    while (at < count) {
        int64_t const wrote = disk->write_at(disk->context, file, parts + at, count - at, offset);
        if (wrote <= 0) {
            return wrote < 0 ? wrote : -EIO;
        }
        offset += (uint64_t)wrote;
        size_t rest = (size_t)wrote;
        while (at < count && rest >= parts[at].size) {
            rest -= parts[at].size;
            at++;
        }
        if (rest != 0) {
            CHECK(at < count);
            parts[at].data += rest;
            parts[at].size -= rest;
        }
    }
    return 0;
}

enum segment_result segment_writer_give_up(struct segment_writer *writer, const char *file_name,
                                           int file, const char *doing, int64_t result,
                                           struct problem *problem) {
    const struct disk *const disk = writer->disk;
    if (file >= 0) {
        disk->close(disk->context, file);
    }
    if (!means_full(result)) {
        return segment_writer_fail(writer, doing, file_name, result, problem);
    }
    int const removed = disk->remove(disk->context, file_name);
    if (removed < 0 && removed != -ENOENT) {
        return segment_writer_fail(writer, "removing", file_name, removed, problem);
    }
    return SEGMENT_FULL;
}

static enum segment_result segment_start(struct segment_writer *writer, struct problem *problem) {
    const struct disk *const disk = writer->disk;
    int const file = disk->open(disk->context, SEGMENT_NEW_NAME, DISK_CREATE);
    if (file < 0) {
        return segment_writer_give_up(writer, SEGMENT_NEW_NAME, file, "creating", file, problem);
    }
    uint8_t header[SEGMENT_HEADER_SIZE];
    segment_header_encode(header, &writer->options.service, writer->next_index);
    struct span part = span_of(header, sizeof header);
    int64_t const wrote = segment_parts_write(disk, file, &part, 1, 0);
    if (wrote < 0) {
        return segment_writer_give_up(writer, SEGMENT_NEW_NAME, file, "writing", wrote, problem);
    }
    int const synced = disk->sync(disk->context, file);
    if (synced < 0) {
        disk->close(disk->context, file);
        return segment_writer_fail(writer, "syncing", SEGMENT_NEW_NAME, synced, problem);
    }
    struct segment_name const name = {.first = writer->next_index, .open = true};
    char text[SEGMENT_NAME_SIZE];
    segment_name_format(text, &name);
    int const renamed = disk->rename(disk->context, SEGMENT_NEW_NAME, text);
    if (renamed < 0) {
        return segment_writer_give_up(writer, SEGMENT_NEW_NAME, file, "renaming", renamed, problem);
    }
    writer->file = file;
    writer->segment = name;
    writer->file_size = SEGMENT_HEADER_SIZE;
    writer->total_size += SEGMENT_HEADER_SIZE;
    return segment_writer_sync_directory(writer, problem);
}

static enum segment_result segment_finish(struct segment_writer *writer, struct problem *problem) {
    if (step_sync(writer, problem) != SEGMENT_OK) {
        return SEGMENT_FAILED;
    }
    struct segment_name const closed = {.first = writer->segment.first,
                                        .last = writer->next_index - 1};
    if (step_rename(writer, &writer->segment, &closed, problem) != SEGMENT_OK) {
        return SEGMENT_FAILED;
    }
    file_drop(writer);
    return SEGMENT_OK;
}

static enum segment_result segment_remove(struct segment_writer *writer,
                                          const struct segment_name *name,
                                          struct problem *problem) {
    file_drop(writer);
    if (step_open(writer, name, problem) != SEGMENT_OK) {
        return SEGMENT_FAILED;
    }
    writer->total_size -= writer->file_size;
    file_drop(writer);
    char text[SEGMENT_NAME_SIZE];
    segment_name_format(text, name);
    int const result = writer->disk->remove(writer->disk->context, text);
    if (result < 0) {
        return segment_writer_fail(writer, "removing", text, result, problem);
    }
    return segment_writer_sync_directory(writer, problem);
}

/* A segment without entries has no closed name; it was left by a cut, and goes. */
enum segment_result segment_writer_finish(struct segment_writer *writer, struct problem *problem) {
    if (segment_writer_failed(writer, problem)) {
        return SEGMENT_FAILED;
    }
    if (writer->file < 0) {
        return SEGMENT_OK;
    }
    struct segment_name const name = writer->segment;
    return writer->next_index > name.first ? segment_finish(writer, problem)
                                           : segment_remove(writer, &name, problem);
}

/* ---- appending ---- */

unsigned segment_records_gather(struct segment_writer *writer, uint64_t index,
                                const struct entry *entries, size_t count, uint64_t *size) {
    unsigned part_count = 0;
    CHECK(count <= SEGMENT_WRITE_RECORDS_MAX);
    *size = 0;
    for (size_t i = 0; i < count; i++) {
        record_header_encode(writer->headers[i], &writer->options.service, index + i, &entries[i]);
        writer->parts[part_count++] = span_of(writer->headers[i], RECORD_HEADER_SIZE);
        if (entries[i].payload.size != 0) {
            writer->parts[part_count++] = entries[i].payload;
        }
        *size += RECORD_HEADER_SIZE + entries[i].payload.size;
    }
    return part_count;
}

/* One gathered write of up to SEGMENT_WRITE_RECORDS_MAX entries. Returns: as parts_write. */
static int64_t records_write(struct segment_writer *writer, const struct entry *entries,
                             size_t count) {
    uint64_t size = 0;
    unsigned const part_count =
        segment_records_gather(writer, writer->next_index, entries, count, &size);
    writer->dirty = true;
    int64_t const result = segment_parts_write(writer->disk, writer->file, writer->parts,
                                               part_count, writer->file_size);
    if (result == 0) {
        writer->file_size += size;
        writer->total_size += size;
        writer->next_index += count;
    }
    return result;
}

enum segment_result segment_writer_append(struct segment_writer *writer,
                                          const struct entry *entries, size_t count, bool boundary,
                                          struct problem *problem) {
    if (segment_writer_failed(writer, problem)) {
        return SEGMENT_FAILED;
    }
    if (writer->file < 0 && count != 0) {
        enum segment_result const started = segment_start(writer, problem);
        if (started != SEGMENT_OK) {
            return started;
        }
    }
    uint64_t const size_before = writer->file_size;
    uint64_t const index_before = writer->next_index;
    for (size_t at = 0; at < count;) {
        size_t const left = count - at;
        size_t const chunk = left < SEGMENT_WRITE_RECORDS_MAX ? left : SEGMENT_WRITE_RECORDS_MAX;
        int64_t const result = records_write(writer, entries + at, chunk);
        if (means_full(result)) {
            writer->next_index = index_before;
            return step_cut(writer, size_before, problem) == SEGMENT_OK ? SEGMENT_FULL
                                                                        : SEGMENT_FAILED;
        }
        if (result < 0) {
            return writer_fail_open(writer, "writing", result, problem);
        }
        at += chunk;
    }
    if (boundary && writer->file >= 0 && writer->file_size >= writer->options.size_soft_max &&
        writer->next_index > writer->segment.first) {
        return segment_finish(writer, problem);
    }
    return SEGMENT_OK;
}

enum segment_result segment_writer_sync(struct segment_writer *writer, struct problem *problem) {
    if (segment_writer_failed(writer, problem)) {
        return SEGMENT_FAILED;
    }
    return writer->dirty ? step_sync(writer, problem) : SEGMENT_OK;
}

/* ---- truncating ---- */

/* Where in its file the record of entry `index` ends; the record is checked, so the place holds. */
static enum segment_result entry_end_find(struct segment_writer *writer, uint64_t index,
                                          uint64_t *end, struct problem *problem) {
    struct segment_reader reader;
    struct segment_record record;
    segment_reader_init(&reader, writer->disk, &writer->options.service, false);
    int found = segment_reader_seek(&reader, index, problem);
    if (found == 1) {
        found = segment_reader_next(&reader, &record, problem);
    }
    *end = reader.offset;
    segment_reader_free(&reader);
    if (found == 1) {
        return SEGMENT_OK;
    }
    (void)problem_set(problem, EXIT_CORRUPT, "%s: entry %" PRIu64 " is missing",
                      writer->disk->place, index);
    return segment_writer_fail_with(writer, problem);
}

/* Cut the last segment that remains after entry `index` - 1, opening it again if it was closed. */
static enum segment_result last_segment_cut(struct segment_writer *writer,
                                            const struct segment_name *name, uint64_t index,
                                            uint64_t end, struct problem *problem) {
    if (!name->open && name->last == index - 1) {
        return SEGMENT_OK;
    }
    struct segment_name const open = {.first = name->first, .open = true};
    if (!name->open && step_rename(writer, name, &open, problem) != SEGMENT_OK) {
        return SEGMENT_FAILED;
    }
    if (writer->file < 0 && step_open(writer, &open, problem) != SEGMENT_OK) {
        return SEGMENT_FAILED;
    }
    return step_cut(writer, end, problem);
}

static enum segment_result list_truncate(struct segment_writer *writer, struct segment_list *list,
                                         uint64_t index, struct problem *problem) {
    uint64_t const first = list->count == 0 ? writer->first_index : list->names[0].first;
    uint64_t end = 0;
    if (index > first && entry_end_find(writer, index - 1, &end, problem) != SEGMENT_OK) {
        return SEGMENT_FAILED;
    }
    /* From the newest to the oldest, so that a crash never leaves a gap. */
    while (list->count > 0 && list->names[list->count - 1].first >= index) {
        if (segment_remove(writer, &list->names[list->count - 1], problem) != SEGMENT_OK) {
            return SEGMENT_FAILED;
        }
        list->count--;
    }
    writer->next_index = index;
    return list->count == 0
               ? SEGMENT_OK
               : last_segment_cut(writer, &list->names[list->count - 1], index, end, problem);
}

enum segment_result segment_writer_truncate(struct segment_writer *writer, uint64_t index,
                                            struct problem *problem) {
    CHECK(index >= writer->first_index && index <= writer->next_index);
    if (segment_writer_failed(writer, problem)) {
        return SEGMENT_FAILED;
    }
    if (index == writer->next_index) {
        return SEGMENT_OK;
    }
    struct segment_list list = {0};
    enum segment_result const result = segment_list_read(&list, writer->disk, problem) == 0
                                           ? list_truncate(writer, &list, index, problem)
                                           : segment_writer_fail_with(writer, problem);
    segment_list_free(&list);
    return result;
}
