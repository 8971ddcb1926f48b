/*
 * segment_reader: entries in order from segment files; see segment.h.
 *
 * Invariants: while a file is at hand, `offset` is where the record of entry `index` starts, or the
 * end. The window holds bytes [window_offset, window_offset + window_size) of that file. Nothing a
 * file says is believed before it is checked against the file's size and the limits; a record is
 * handed out only after its check held.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "ledger/segment.h"
#include "ledger/segment_format.h"

/* How many bytes the search for a good record after a bad one may hash: a second or less. */
#define SEARCH_HASHED_SIZE_MAX ((uint64_t)256 << 20)

enum look {
    LOOK_PROBLEM = -1,
    LOOK_END = 0, /* nothing after the last record */
    LOOK_RECORD,
    LOOK_BAD
};

struct record_header {
    uint32_t size;
    uint32_t kind;
    uint8_t check[SEGMENT_CHECK_SIZE];
};

void segment_reader_init(struct segment_reader *reader, const struct disk *disk,
                         const struct digest *service, bool torn_tail_tolerated) {
    *reader = (struct segment_reader){
        .disk = disk,
        .service = *service,
        .torn_tail_tolerated = torn_tail_tolerated,
        .file = -1,
    };
}

static void file_drop(struct segment_reader *reader) {
    if (reader->file >= 0) {
        reader->disk->close(reader->disk->context, reader->file);
        reader->file = -1;
    }
    reader->window_size = 0;
}

void segment_reader_free(struct segment_reader *reader) {
    file_drop(reader);
    free(reader->window);
    reader->window = NULL;
    reader->window_capacity = 0;
}

void segment_reader_rewind(struct segment_reader *reader) {
    reader->offset = SEGMENT_HEADER_SIZE;
    reader->index = reader->segment.first;
    reader->skipped = false;
}

/* ---- files ---- */

void segment_reader_take(struct segment_reader *reader, const char *file_name,
                         const struct segment_name *name, int file, uint64_t file_size) {
    CHECK(reader->file < 0 && strlen(file_name) < sizeof reader->file_name);
    reader->segment = *name;
    memcpy(reader->file_name, file_name, strlen(file_name) + 1);
    reader->file = file;
    reader->file_size = file_size;
    segment_reader_rewind(reader);
}

/* Open the file of entry `index`. Returns: 1, 0 when the ledger ends before it, -1 on a problem. */
static int file_find_in(struct segment_reader *reader, const struct segment_list *list,
                        uint64_t index, bool *gone, struct problem *problem) {
    if (list->count != 0 && index < list->names[0].first) {
        return problem_set(problem, EXIT_CANNOT_AUDIT,
                           "%s: entry %" PRIu64 " is missing: the files start at entry %" PRIu64,
                           reader->disk->place, index, list->names[0].first);
    }
    for (size_t i = list->count; i-- > 0;) {
        const struct segment_name *const name = &list->names[i];
        if (index < name->first) {
            continue;
        }
        if (!name->open && index > name->last) {
            return 0;
        }
        int file = -1;
        uint64_t file_size = 0;
        int const opened = segment_file_open(&file, &file_size, reader->disk, name, DISK_READ,
                                             &reader->service, problem);
        if (opened == 1) {
            char text[SEGMENT_NAME_SIZE];
            segment_name_format(text, name);
            segment_reader_take(reader, text, name, file, file_size);
        }
        *gone = opened == 0;
        return opened;
    }
    return 0;
}

static int file_find(struct segment_reader *reader, uint64_t index, struct problem *problem) {
    file_drop(reader);
    struct segment_list list = {0};
    int result = 0;
    bool gone = true; /* renamed by the writer between the list and the opening: look again */
    for (unsigned attempt = 0; gone && attempt < SEGMENT_LIST_ATTEMPTS_MAX; attempt++) {
        gone = false;
        result = segment_list_read(&list, reader->disk, problem);
        if (result == 0) {
            result = file_find_in(reader, &list, index, &gone, problem);
        }
    }
    segment_list_free(&list);
    return result;
}

/* Ask again how large the open segment is. */
static int file_measure(struct segment_reader *reader, struct problem *problem) {
    int64_t const size = reader->disk->size(reader->disk->context, reader->file);
    if (size < 0) {
        return segment_problem_os(problem, reader->disk, reader->file_name, "measuring", size);
    }
    reader->file_size = (uint64_t)size;
    return 0;
}

/*
 * The open segment has no more to read: it may have been closed under its new name since.
 * Returns: 1 when there is more to look at, 0 at the end, -1 on a problem.
 */
static int open_segment_end(struct segment_reader *reader, struct problem *problem) {
    struct segment_list list = {0};
    int result = segment_list_read(&list, reader->disk, problem);
    for (size_t i = 0; result == 0 && i < list.count; i++) {
        const struct segment_name *const name = &list.names[i];
        if (name->first == reader->segment.first && !name->open) {
            reader->segment = *name;
            segment_name_format(reader->file_name, name);
            result = file_measure(reader, problem) == 0 ? 1 : -1;
        }
    }
    segment_list_free(&list);
    return result;
}

/* ---- the window ---- */

static bool window_reserve(struct segment_reader *reader, size_t size) {
    if (size <= reader->window_capacity) {
        return true;
    }
    size_t const capacity = size > SEGMENT_WINDOW_SIZE ? size : SEGMENT_WINDOW_SIZE;
    uint8_t *const grown = realloc(reader->window, capacity);
    if (grown == NULL) {
        return false;
    }
    reader->window = grown;
    reader->window_capacity = capacity;
    return true;
}

/* Keep what the window holds from `offset` on, at its front. */
static void window_move(struct segment_reader *reader, uint64_t offset) {
    uint64_t const end = reader->window_offset + reader->window_size;
    if (offset >= reader->window_offset && offset < end) {
        size_t const dropped = (size_t)(offset - reader->window_offset);
        reader->window_size -= dropped;
        memmove(reader->window, reader->window + dropped, reader->window_size);
    } else {
        reader->window_size = 0;
    }
    reader->window_offset = offset;
}

/*
 * Have `size` bytes at `offset`, which the file's size says are there.
 * Returns: the bytes; NULL with a problem; NULL without one when the file is shorter after all.
 */
static const uint8_t *window_at(struct segment_reader *reader, uint64_t offset, size_t size,
                                struct problem *problem) {
    CHECK(offset <= reader->file_size && size <= reader->file_size - offset);
    if (offset >= reader->window_offset &&
        offset - reader->window_offset + size <= reader->window_size) {
        return reader->window + (offset - reader->window_offset);
    }
    window_move(reader, offset);
    if (!window_reserve(reader, size)) {
        (void)problem_set(problem, EXIT_ERROR, "%s/%s: out of memory for an entry of %zu bytes",
                          reader->disk->place, reader->file_name, size);
        return NULL;
    }
    while (reader->window_size < size) {
        int64_t const got = reader->disk->read_at(reader->disk->context, reader->file,
                                                  reader->window + reader->window_size,
                                                  reader->window_capacity - reader->window_size,
                                                  reader->window_offset + reader->window_size);
        if (got < 0) {
            (void)segment_problem_os(problem, reader->disk, reader->file_name, "reading", got);
            return NULL;
        }
        if (got == 0) {
            reader->file_size = reader->window_offset + reader->window_size;
            return NULL;
        }
        reader->window_size += (size_t)got;
    }
    return reader->window;
}

/* ---- records ---- */

/* Are there `size` bytes from offset on? The open segment may have grown. */
static int bytes_present(struct segment_reader *reader, uint64_t size, struct problem *problem) {
    if (reader->file_size < reader->offset || reader->file_size - reader->offset < size) {
        if (reader->segment.open && file_measure(reader, problem) != 0) {
            return -1;
        }
    }
    return reader->file_size >= reader->offset && reader->file_size - reader->offset >= size;
}

static enum look header_look(struct segment_reader *reader, struct record_header *header,
                             struct problem *problem) {
    int const present = bytes_present(reader, RECORD_HEADER_SIZE, problem);
    if (present < 0) {
        return LOOK_PROBLEM;
    }
    bool const complete = !reader->segment.open && reader->index > reader->segment.last;
    if (reader->file_size == reader->offset && (complete || reader->segment.open)) {
        return LOOK_END;
    }
    if (!present || complete) {
        return LOOK_BAD;
    }
    const uint8_t *const bytes = window_at(reader, reader->offset, RECORD_HEADER_SIZE, problem);
    if (bytes == NULL) {
        return problem->code == EXIT_OK ? LOOK_BAD : LOOK_PROBLEM;
    }
    header->size = load_u32_be(bytes);
    header->kind = load_u32_be(bytes + 4);
    memcpy(header->check, bytes + 8, SEGMENT_CHECK_SIZE);
    if (header->size > ENTRY_SIZE_MAX || !record_kind_valid(header->kind)) {
        return LOOK_BAD;
    }
    int const whole = bytes_present(reader, (uint64_t)RECORD_HEADER_SIZE + header->size, problem);
    return whole < 0 ? LOOK_PROBLEM : whole == 0 ? LOOK_BAD : LOOK_RECORD;
}

static enum look record_look(struct segment_reader *reader, struct segment_record *record,
                             struct problem *problem) {
    struct record_header header;
    enum look const look = header_look(reader, &header, problem);
    if (look != LOOK_RECORD) {
        return look;
    }
    const uint8_t *const bytes =
        window_at(reader, reader->offset, RECORD_HEADER_SIZE + header.size, problem);
    if (bytes == NULL) {
        return problem->code == EXIT_OK ? LOOK_BAD : LOOK_PROBLEM;
    }
    struct span const payload = span_of(bytes + RECORD_HEADER_SIZE, header.size);
    uint8_t check[SEGMENT_CHECK_SIZE];
    record_check_compute(check, &reader->service, reader->index, header.kind, payload);
    if (memcmp(check, header.check, SEGMENT_CHECK_SIZE) != 0) {
        return LOOK_BAD;
    }
    *record = (struct segment_record){
        .index = reader->index,
        .kind = (enum entry_kind)header.kind,
        .payload = payload,
        .file_name = reader->file_name,
        .offset = reader->offset,
    };
    return LOOK_RECORD;
}

static void record_step(struct segment_reader *reader, uint64_t payload_size) {
    reader->offset += RECORD_HEADER_SIZE + payload_size;
    reader->index++;
}

/* ---- damage ---- */

/*
 * Is there a good record of a later entry at `offset`? How many entries the damage before it
 * swallowed is unknown, so each number that has room is tried, as far as the budget goes.
 */
static bool good_record_at(struct segment_reader *reader, uint64_t offset, uint64_t *budget,
                           struct problem *problem) {
    const uint8_t *bytes = window_at(reader, offset, RECORD_HEADER_SIZE, problem);
    if (bytes == NULL) {
        return false;
    }
    uint32_t const size = load_u32_be(bytes);
    uint32_t const kind = load_u32_be(bytes + 4);
    if (!record_kind_valid(kind) || size > ENTRY_SIZE_MAX ||
        size > reader->file_size - offset - RECORD_HEADER_SIZE) {
        return false;
    }
    bytes = window_at(reader, offset, RECORD_HEADER_SIZE + size, problem);
    if (bytes == NULL) {
        return false;
    }
    uint64_t const swallowed_max = (offset - reader->offset) / RECORD_HEADER_SIZE;
    uint64_t const cost = (uint64_t)size + SEGMENT_HEADER_SIZE;
    for (uint64_t swallowed = 1; swallowed <= swallowed_max && *budget >= cost; swallowed++) {
        uint8_t check[SEGMENT_CHECK_SIZE];
        record_check_compute(check, &reader->service, reader->index + swallowed, kind,
                             span_of(bytes + RECORD_HEADER_SIZE, size));
        *budget -= cost;
        if (memcmp(check, bytes + 8, SEGMENT_CHECK_SIZE) == 0) {
            return true;
        }
    }
    return false;
}

/* A tail is torn only if nothing good follows; otherwise what was once whole has been damaged. */
static bool good_record_follows(struct segment_reader *reader, struct problem *problem) {
    uint64_t budget = SEARCH_HASHED_SIZE_MAX;
    uint64_t offset = reader->offset + RECORD_HEADER_SIZE;
    while (offset + RECORD_HEADER_SIZE <= reader->file_size && problem->code == EXIT_OK) {
        if (good_record_at(reader, offset, &budget, problem)) {
            return true;
        }
        offset++;
    }
    return false;
}

/* Returns: 0 for a torn tail that is tolerated, else -1. */
static int open_segment_damage(struct segment_reader *reader, struct problem *problem) {
    if (good_record_follows(reader, problem)) {
        return problem_set(problem, EXIT_CORRUPT,
                           "%s/%s: offset %" PRIu64 ": the record of entry %" PRIu64
                           " is damaged, and whole ones follow it; restore the file from a copy",
                           reader->disk->place, reader->file_name, reader->offset, reader->index);
    }
    if (problem->code != EXIT_OK) {
        return -1;
    }
    reader->torn_size = reader->file_size > reader->offset ? reader->file_size - reader->offset : 0;
    reader->window_size = 0; /* the writer may be in the middle of it: read it afresh next time */
    if (reader->torn_tail_tolerated) {
        return 0;
    }
    return problem_set(problem, EXIT_CORRUPT,
                       "%s/%s: offset %" PRIu64 ": the record of entry %" PRIu64
                       " is torn or damaged: %" PRIu64 " bytes after the last whole record",
                       reader->disk->place, reader->file_name, reader->offset, reader->index,
                       reader->torn_size);
}

static int closed_segment_damage(struct segment_reader *reader, struct problem *problem) {
    if (reader->index > reader->segment.last) {
        return problem_set(problem, EXIT_CORRUPT,
                           "%s/%s: offset %" PRIu64 ": %" PRIu64
                           " bytes follow the last entry that its name gives it",
                           reader->disk->place, reader->file_name, reader->offset,
                           reader->file_size - reader->offset);
    }
    if (reader->offset >= reader->file_size) {
        return problem_set(problem, EXIT_CORRUPT,
                           "%s/%s: offset %" PRIu64 ": ends before entry %" PRIu64
                           ", which its name gives it; restore the file from a copy",
                           reader->disk->place, reader->file_name, reader->offset, reader->index);
    }
    return problem_set(problem, EXIT_CORRUPT,
                       "%s/%s: offset %" PRIu64 ": the record of entry %" PRIu64
                       " is damaged; restore the file from a copy",
                       reader->disk->place, reader->file_name, reader->offset, reader->index);
}

/* Read the file again from its start, with checks. Returns: what ends it, at that place. */
static enum look file_verify(struct segment_reader *reader, struct problem *problem) {
    segment_reader_rewind(reader);
    struct segment_record record;
    enum look look = record_look(reader, &record, problem);
    while (look == LOOK_RECORD) {
        record_step(reader, record.payload.size);
        look = record_look(reader, &record, problem);
    }
    return look;
}

/*
 * The record at hand is bad, or the file ends after records that were stepped over. What was
 * stepped over may have led astray, so the place to name is found by reading it all.
 * Returns: 0 at an end, else -1.
 */
static int damage_report(struct segment_reader *reader, struct problem *problem) {
    enum look look = LOOK_BAD;
    if (reader->skipped) {
        look = file_verify(reader, problem);
    }
    switch (look) {
    case LOOK_PROBLEM:
        return -1;
    case LOOK_END:
        return 0;
    case LOOK_RECORD:
    case LOOK_BAD:
        break;
    }
    return reader->segment.open ? open_segment_damage(reader, problem)
                                : closed_segment_damage(reader, problem);
}

/* ---- moving ---- */

/* At the end of a file. Returns: 1 to look again, 0 at the end of the ledger, -1 on a problem. */
static int file_end(struct segment_reader *reader, struct problem *problem) {
    if (reader->segment.open) {
        return open_segment_end(reader, problem);
    }
    file_drop(reader);
    return 1;
}

/* One step towards an entry further on in the file at hand. Returns as file_end. */
static int header_step(struct segment_reader *reader, struct problem *problem) {
    struct record_header header;
    enum look const look = header_look(reader, &header, problem);
    switch (look) {
    case LOOK_RECORD:
        reader->skipped = true;
        record_step(reader, header.size);
        return 1;
    case LOOK_BAD:
        return damage_report(reader, problem);
    case LOOK_PROBLEM:
        return -1;
    case LOOK_END:
        break;
    }
    int const more = file_end(reader, problem);
    return more == 0 && reader->skipped ? damage_report(reader, problem) : more;
}

int segment_reader_seek(struct segment_reader *reader, uint64_t index, struct problem *problem) {
    CHECK(problem->code == EXIT_OK);
    int result = 1;
    while (result == 1) {
        bool const reachable = reader->file >= 0 && index >= reader->index &&
                               (reader->segment.open || index <= reader->segment.last);
        if (!reachable) {
            result = file_find(reader, index, problem);
        } else if (reader->index == index) {
            return 1;
        } else {
            result = header_step(reader, problem);
        }
    }
    file_drop(reader); /* whoever reads on looks for this entry afresh */
    reader->index = index;
    return result;
}

int segment_reader_next(struct segment_reader *reader, struct segment_record *record,
                        struct problem *problem) {
    CHECK(problem->code == EXIT_OK);
    reader->torn_size = 0;
    int more = 1;
    while (more == 1) {
        if (reader->file < 0) {
            more = segment_reader_seek(reader, reader->index, problem);
            continue;
        }
        enum look const look = record_look(reader, record, problem);
        switch (look) {
        case LOOK_RECORD:
            reader->skipped = false;
            record_step(reader, record->payload.size);
            return 1;
        case LOOK_BAD:
            return damage_report(reader, problem);
        case LOOK_PROBLEM:
            return -1;
        case LOOK_END:
            more = file_end(reader, problem);
            break;
        }
    }
    return more;
}
