/*
 * segment_fixture: see segment_fixture.h.
 */
#include "tests/unit/segment_fixture.h"

#include <criterion/criterion.h>

#define PAYLOAD_SIZE_MAX 160u

const struct digest service = {{0x5e, 0x41}};
const struct digest other_service = {{0x5e, 0x42}};

struct entry entry_of(uint64_t i, unsigned variant) {
    static _Thread_local uint8_t payloads[4][ENTRIES_MAX][PAYLOAD_SIZE_MAX];
    cr_assert_lt(i, ENTRIES_MAX);
    cr_assert_lt(variant, 4u);
    uint8_t *const bytes = payloads[variant][i];
    size_t const size = 1 + (size_t)(i * 37 + variant * 11) % PAYLOAD_SIZE_MAX;
    for (size_t k = 0; k < size; k++) {
        /* Every few entries look like headers, to tempt whoever searches for one. */
        bytes[k] = i % 5 == 4 ? (uint8_t)(k % 8 == 7) : (uint8_t)(i * 7 + k * 13 + variant);
    }
    return (struct entry){.kind = i == 0 ? ENTRY_GENESIS : (enum entry_kind)(2 + i % 3),
                          .payload = span_of(bytes, size)};
}

void expect_entry(const struct segment_record *record, uint64_t i, unsigned variant) {
    struct entry const entry = entry_of(i, variant);
    cr_assert_eq(record->index, i);
    cr_assert_eq(record->kind, entry.kind);
    cr_assert(span_equal(record->payload, entry.payload));
}

enum segment_result open_writer(struct segment_writer *writer, struct fake_disk *fake,
                                struct segment_torn_tail *torn, bool cut, struct problem *problem) {
    struct segment_writer_options const options = {
        .service = service, .torn_tail_cut = cut, .size_soft_max = 600};
    return segment_writer_open(writer, torn, &fake->disk, &options, problem);
}

void must_open(struct segment_writer *writer, struct fake_disk *fake) {
    struct segment_torn_tail torn;
    struct problem problem = {0};
    cr_assert_eq(open_writer(writer, fake, &torn, true, &problem), SEGMENT_OK, "%s", problem.text);
}

enum segment_result append_upto(struct segment_writer *writer, uint64_t end, unsigned variant,
                                struct problem *problem) {
    while (segment_writer_next_index(writer) < end) {
        struct entry entries[4];
        size_t count = 0;
        uint64_t const next = segment_writer_next_index(writer);
        while (count < 4 && next + count < end) {
            entries[count] = entry_of(next + count, variant);
            count++;
        }
        enum segment_result const result =
            segment_writer_append(writer, entries, count, true, problem);
        if (result != SEGMENT_OK) {
            return result;
        }
    }
    return SEGMENT_OK;
}

void must_append(struct segment_writer *writer, uint64_t end, unsigned variant) {
    struct problem problem = {0};
    cr_assert_eq(append_upto(writer, end, variant, &problem), SEGMENT_OK, "%s", problem.text);
}

struct fake_disk *ledger_of(uint64_t end) {
    struct fake_disk *const fake = fake_disk_new();
    static struct segment_writer writer;
    struct problem problem = {0};
    must_open(&writer, fake);
    must_append(&writer, end < 4 ? 0 : end - 4, 0);
    while (segment_writer_next_index(&writer) < end) {
        struct entry const entry = entry_of(segment_writer_next_index(&writer), 0);
        cr_assert_eq(segment_writer_append(&writer, &entry, 1, false, &problem), SEGMENT_OK);
    }
    cr_assert_eq(segment_writer_sync(&writer, &problem), SEGMENT_OK);
    segment_writer_close(&writer);
    cr_assert_eq(fake->handles, 0u);
    return fake;
}

int read_all(struct fake_disk *fake, bool tolerate, unsigned variant, uint64_t *end,
             struct problem *problem) {
    struct segment_reader reader;
    struct segment_record record;
    segment_reader_init(&reader, &fake->disk, &service, tolerate);
    int more = 1;
    *end = 0;
    while ((more = segment_reader_next(&reader, &record, problem)) == 1) {
        expect_entry(&record, *end, variant);
        (*end)++;
    }
    segment_reader_free(&reader);
    return more;
}

void expect_whole(struct fake_disk *fake, uint64_t end) {
    struct problem problem = {0};
    uint64_t at = 0;
    cr_assert_eq(read_all(fake, false, 0, &at, &problem), 0, "%s", problem.text);
    cr_assert_eq(at, end);
}
