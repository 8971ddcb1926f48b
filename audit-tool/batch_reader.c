/*
 * batch_reader: see batch_reader.h. A running replica may be writing to the ledger: what looks torn
 * at its very end is looked at a few times more before it is called damage.
 */
#include "audit-tool/batch_reader.h"

#include <time.h>

#include "base/check.h"

#define TORN_LOOKS 5u
#define TORN_WAIT_MS 20u

void batch_reader_init(struct batch_reader *reader, const struct disk *disk,
                       const struct digest *service) {
    *reader = (struct batch_reader){.disk = disk};
    segment_reader_init(&reader->reader, disk, service, true);
    batch_init(&reader->batch);
}

void batch_reader_free(struct batch_reader *reader) {
    segment_reader_free(&reader->reader);
    batch_free(&reader->batch);
}

/* As segment_reader_next, but a tail that stays torn is a problem. */
static int next_record(struct batch_reader *reader, struct segment_record *record,
                       struct problem *problem) {
    for (unsigned look = 0; look < TORN_LOOKS; look++) {
        int const status = segment_reader_next(&reader->reader, record, problem);
        if (status != 0 || reader->reader.torn_size == 0) {
            return status;
        }
        struct timespec const pause = {.tv_nsec = TORN_WAIT_MS * 1000000L};
        (void)nanosleep(&pause, NULL);
    }
    return problem_set(problem, EXIT_CORRUPT,
                       "%s/%s: offset %llu: the last %llu bytes are no whole record; the file was "
                       "cut short, or its replica stopped while writing",
                       reader->disk->place, reader->reader.file_name,
                       (unsigned long long)reader->reader.offset,
                       (unsigned long long)reader->reader.torn_size);
}

int batch_reader_open(struct batch_reader *reader, struct span genesis, struct problem *problem) {
    struct segment_record record;
    int const status = next_record(reader, &record, problem);
    if (status != 1) {
        return status;
    }
    if (record.index != 0 || record.kind != ENTRY_GENESIS || !span_equal(record.payload, genesis)) {
        return problem_set(problem, EXIT_CORRUPT,
                           "%s/%s: offset %llu: the ledger does not begin with the genesis of "
                           "this service",
                           reader->disk->place, record.file_name,
                           (unsigned long long)record.offset);
    }
    reader->next_entry = 1;
    return 1;
}

int batch_reader_seek(struct batch_reader *reader, uint64_t entry, struct problem *problem) {
    batch_clear(&reader->batch);
    reader->next_entry = entry;
    return segment_reader_seek(&reader->reader, entry, problem);
}

static void spot_set(struct ledger_spot *spot, const struct segment_record *record) {
    size_t const size = strlen(record->file_name);
    CHECK(size < sizeof spot->file_name);
    memcpy(spot->file_name, record->file_name, size + 1);
    spot->offset = record->offset;
}

int batch_reader_next(struct batch_reader *reader, struct problem *problem) {
    batch_clear(&reader->batch);
    reader->ends_within_batch = false;
    for (;;) {
        struct segment_record record;
        int const status = next_record(reader, &record, problem);
        if (status != 1) {
            reader->ends_within_batch = status == 0 && !batch_is_empty(&reader->batch);
            return status;
        }
        if (batch_is_empty(&reader->batch)) {
            spot_set(&reader->spot, &record);
        }
        struct entry const entry = {.kind = record.kind, .payload = record.payload};
        enum rule rule = RULE_NONE;
        enum batch_step const step = batch_add(&reader->batch, record.index, &entry, &rule);
        if (step == BATCH_BROKEN) {
            return problem_set(problem, EXIT_CORRUPT, "%s/%s: offset %llu: entry %llu: %s",
                               reader->disk->place, record.file_name,
                               (unsigned long long)record.offset, (unsigned long long)record.index,
                               rule_text(rule));
        }
        reader->next_entry = record.index + 1;
        if (step != BATCH_MORE) {
            reader->step = step;
            return 1;
        }
    }
}
