/*
 * segment: the ledger's files are read back as they were written, and every flipped, misplaced,
 * missing or superfluous byte is found in the right file at the right offset.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/segment_fixture.h"

/* Where the records of a healthy ledger lie. */
struct place {
    char file_name[SEGMENT_NAME_SIZE];
    uint64_t offset;
    uint64_t size;
};

static unsigned places_of(struct fake_disk *fake, struct place *places) {
    struct segment_reader reader;
    struct segment_record record;
    struct problem problem = {0};
    segment_reader_init(&reader, &fake->disk, &service, false);
    unsigned count = 0;
    while (segment_reader_next(&reader, &record, &problem) == 1) {
        struct place *const place = &places[count++];
        memcpy(place->file_name, record.file_name, SEGMENT_NAME_SIZE);
        place->offset = record.offset;
        place->size = RECORD_HEADER_SIZE + record.payload.size;
    }
    segment_reader_free(&reader);
    return count;
}

static bool says(const struct problem *problem, const char *file_name, uint64_t offset) {
    char text[128];
    (void)snprintf(text, sizeof text, "fake/%s: offset %llu:", file_name,
                   (unsigned long long)offset);
    return strncmp(problem->text, text, strlen(text)) == 0;
}

/* ---- names ---- */

Test(segment, names) {
    char text[SEGMENT_NAME_SIZE];
    segment_name_format(text, &(struct segment_name){.first = 0, .last = 41});
    cr_expect_str_eq(text, "000000000000-000000000041.seg");
    segment_name_format(text, &(struct segment_name){.first = 42, .open = true});
    cr_expect_str_eq(text, "000000000042-open.seg");
    struct segment_name const large = {.first = UINT64_C(1234567890123456),
                                       .last = UINT64_C(9223372036854775807)};
    segment_name_format(text, &large);
    cr_expect_str_eq(text, "1234567890123456-9223372036854775807.seg");
    struct segment_name name;
    cr_assert(segment_name_parse(&name, text));
    cr_expect(name.first == large.first && name.last == large.last && !name.open);
    cr_assert(segment_name_parse(&name, "000000000042-open.seg"));
    cr_expect(name.first == 42 && name.open);

    static const char *const refused[] = {
        "",
        ".seg",
        "-.seg",
        "0-open.seg",
        "000000000042-41.seg",
        "000000000042-000000000041.seg",
        "0000000000042-open.seg",
        "000000000042-open.seg2",
        "000000000042-open",
        "000000000042-opem.seg",
        "000000000042open.seg",
        "00000000004x-open.seg",
        "-00000000042-open.seg",
        "000000000001-9223372036854775808.seg",
        "000000000001-99999999999999999999999999.seg",
        "000000000001- 00000000001.seg",
        "../000000000001-open.seg",
        "000000000001-000000000002.seg.seg",
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        cr_expect(!segment_name_parse(&name, refused[i]), "%s", refused[i]);
    }
}

/* ---- writing and reading ---- */

Test(segment, round_trip_over_many_files) {
    struct fake_disk *const fake = ledger_of(100);
    expect_whole(fake, 100);
    static struct place places[ENTRIES_MAX];
    cr_assert_eq(places_of(fake, places), 100u);
    cr_assert_str_neq(places[0].file_name, places[50].file_name);
    uint64_t total = 0;
    for (unsigned i = 0; i < fake->history[fake->pending].count; i++) {
        total += fake_disk_content(fake, fake->history[fake->pending].names[i].text)->size;
    }
    static struct segment_writer writer;
    must_open(&writer, fake);
    cr_expect_eq(segment_writer_next_index(&writer), 100u);
    cr_expect_eq(segment_writer_total_size(&writer), total);
    must_append(&writer, 120, 0);
    segment_writer_close(&writer);
    expect_whole(fake, 120);
    fake_disk_free(fake);
}

Test(segment, an_empty_directory_is_an_empty_ledger) {
    struct fake_disk *const fake = ledger_of(0);
    expect_whole(fake, 0);
    cr_expect_eq(fake->history[0].count, 0u);
    fake_disk_free(fake);
}

Test(segment, the_largest_entry_fits) {
    struct fake_disk *const fake = fake_disk_new();
    static struct segment_writer writer;
    must_open(&writer, fake);
    uint8_t *const bytes = calloc(1, ENTRY_SIZE_MAX);
    cr_assert_not_null(bytes);
    bytes[ENTRY_SIZE_MAX - 1] = 9;
    struct entry const entries[] = {
        entry_of(0, 0),
        {.kind = ENTRY_REQUEST, .payload = span_of(bytes, ENTRY_SIZE_MAX)},
        {.kind = ENTRY_REQUEST, .payload = span_of(bytes, 0)}};
    struct problem problem = {0};
    cr_assert_eq(segment_writer_append(&writer, entries, 3, false, &problem), SEGMENT_OK);
    segment_writer_close(&writer);
    struct segment_reader reader;
    struct segment_record record;
    segment_reader_init(&reader, &fake->disk, &service, false);
    cr_assert_eq(segment_reader_seek(&reader, 1, &problem), 1);
    cr_assert_eq(segment_reader_next(&reader, &record, &problem), 1);
    cr_expect(span_equal(record.payload, entries[1].payload));
    cr_assert_eq(segment_reader_next(&reader, &record, &problem), 1);
    cr_expect_eq(record.payload.size, 0u);
    cr_assert_eq(segment_reader_next(&reader, &record, &problem), 0);
    segment_reader_free(&reader);
    free(bytes);
    fake_disk_free(fake);
}

Test(segment, seek_to_every_entry_from_everywhere) {
    struct fake_disk *const fake = ledger_of(60);
    struct segment_reader reader;
    struct segment_record record;
    struct problem problem = {0};
    segment_reader_init(&reader, &fake->disk, &service, false);
    for (uint64_t from = 0; from < 60; from += 7) {
        for (uint64_t to = 0; to < 60; to++) {
            cr_assert_eq(segment_reader_seek(&reader, from, &problem), 1);
            cr_assert_eq(segment_reader_next(&reader, &record, &problem), 1);
            expect_entry(&record, from, 0);
            cr_assert_eq(segment_reader_seek(&reader, to, &problem), 1);
            cr_assert_eq(segment_reader_next(&reader, &record, &problem), 1);
            expect_entry(&record, to, 0);
        }
    }
    cr_expect_eq(segment_reader_seek(&reader, 61, &problem), 0);
    cr_expect_eq(segment_reader_next(&reader, &record, &problem), 0);
    cr_expect_eq(segment_reader_seek(&reader, UINT64_MAX, &problem), 0);
    segment_reader_free(&reader);
    cr_expect_eq(fake->handles, 0u);
    fake_disk_free(fake);
}

Test(segment, readers_follow_the_writer) {
    struct fake_disk *const fake = fake_disk_new();
    static struct segment_writer writer;
    struct segment_reader follower;
    struct segment_reader waiter;
    struct segment_record record;
    struct problem problem = {0};
    segment_reader_init(&follower, &fake->disk, &service, true);
    segment_reader_init(&waiter, &fake->disk, &service, true);
    cr_assert_eq(segment_reader_next(&follower, &record, &problem), 0);
    cr_assert_eq(segment_reader_seek(&waiter, 47, &problem), 0);
    must_open(&writer, fake);
    for (uint64_t i = 0; i < 90; i++) {
        must_append(&writer, i + 1, 0);
        cr_assert_eq(segment_reader_next(&follower, &record, &problem), 1, "%s", problem.text);
        expect_entry(&record, i, 0);
        cr_assert_eq(segment_reader_next(&waiter, &record, &problem), i >= 47);
        if (i >= 47) {
            expect_entry(&record, i, 0);
        }
        if (i % 3 == 0) {
            cr_assert_eq(segment_reader_next(&follower, &record, &problem), 0);
        }
    }
    segment_reader_free(&follower);
    segment_reader_free(&waiter);
    segment_writer_close(&writer);
    fake_disk_free(fake);
}

Test(segment, short_reads_and_writes_are_continued) {
    for (size_t size = 1; size < 40; size += 3) {
        struct fake_disk *const fake = fake_disk_new();
        fake->write_size_max = size;
        fake->read_size_max = size;
        static struct segment_writer writer;
        must_open(&writer, fake);
        must_append(&writer, 40, 0);
        segment_writer_close(&writer);
        expect_whole(fake, 40);
        fake_disk_free(fake);
    }
}

Test(segment, truncate_to_every_length) {
    for (uint64_t keep = 0; keep <= 60; keep++) {
        struct fake_disk *const fake = ledger_of(60);
        static struct segment_writer writer;
        struct problem problem = {0};
        must_open(&writer, fake);
        cr_assert_eq(segment_writer_truncate(&writer, keep, &problem), SEGMENT_OK, "%s",
                     problem.text);
        fake_disk_crash(fake, &(struct fake_crash){0}); /* truncation is durable by itself */
        expect_whole(fake, keep);
        must_open(&writer, fake);
        cr_assert_eq(segment_writer_next_index(&writer), keep);
        cr_assert_eq(segment_writer_truncate(&writer, keep, &problem), SEGMENT_OK);
        must_append(&writer, 75, 0);
        cr_assert_eq(segment_writer_truncate(&writer, keep / 2, &problem), SEGMENT_OK);
        must_append(&writer, 75, 0);
        uint64_t const total = segment_writer_total_size(&writer);
        segment_writer_close(&writer);
        expect_whole(fake, 75);
        must_open(&writer, fake);
        cr_assert_eq(segment_writer_total_size(&writer), total);
        segment_writer_close(&writer);
        fake_disk_free(fake);
    }
}

/* The format, byte for byte, as another program computed it from docs/formats.md. */
Test(segment, known_bytes) {
    static const char expected[] =
        "4f4e55535345470000000001000000005e410000000000000000000000000000"
        "00000000000000000000000000000000000000000000000002e5683cb3696564"
        "00000007000000015003d2f04b8d662567656e65736973";
    struct fake_disk *const fake = fake_disk_new();
    static struct segment_writer writer;
    struct problem problem = {0};
    must_open(&writer, fake);
    struct entry const entry = {.kind = ENTRY_GENESIS, .payload = span_text("genesis")};
    cr_assert_eq(segment_writer_append(&writer, &entry, 1, true, &problem), SEGMENT_OK);
    segment_writer_close(&writer);
    const struct buffer *const content = fake_disk_content(fake, "000000000000-open.seg");
    cr_assert_not_null(content);
    char text[2 * 128 + 1];
    cr_assert_leq(content->size, 128u);
    hex_encode(text, buffer_span(content));
    cr_expect_str_eq(text, expected);
    fake_disk_free(fake);
}

/* ---- damage ---- */

/* The offset that a report of damage to this byte must name. */
static uint64_t offset_expected(const struct place *places, unsigned count, const char *file_name,
                                uint64_t byte) {
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(places[i].file_name, file_name) == 0 && byte >= places[i].offset &&
            byte < places[i].offset + places[i].size) {
            return places[i].offset;
        }
    }
    return 0;
}

/* Seeking past damage steps over headers; the report must still name the first bad place. */
static void expect_seek_finds(struct fake_disk *fake, const char *file_name, uint64_t offset) {
    struct segment_reader reader;
    struct segment_record record;
    struct segment_name name;
    cr_assert(segment_name_parse(&name, file_name));
    for (uint64_t to = name.first; to < 40 && (name.open || to <= name.last); to++) {
        struct problem problem = {0};
        segment_reader_init(&reader, &fake->disk, &service, false);
        int more = segment_reader_seek(&reader, to, &problem);
        if (more == 1) {
            more = segment_reader_next(&reader, &record, &problem);
        }
        if (more == 1) { /* an entry beside the damage */
            expect_entry(&record, to, 0);
        } else {
            cr_assert(says(&problem, file_name, offset), "%s", problem.text);
        }
        segment_reader_free(&reader);
    }
}

static void expect_flip_found(struct fake_disk *fake, const char *file_name, uint64_t offset,
                              bool last_record) {
    struct problem problem = {0};
    uint64_t end = 0;
    cr_assert_eq(read_all(fake, false, 0, &end, &problem), -1);
    cr_assert_eq(problem.code, EXIT_CORRUPT);
    cr_assert(says(&problem, file_name, offset), "offset %llu: %s", (unsigned long long)offset,
              problem.text);

    struct segment_name name;
    cr_assert(segment_name_parse(&name, file_name));
    if (name.open || offset == 0) {
        static struct segment_writer writer;
        struct segment_torn_tail torn;
        struct problem refusal = {0};
        enum segment_result const result = open_writer(&writer, fake, &torn, false, &refusal);
        cr_assert_eq(result, last_record ? SEGMENT_TORN : SEGMENT_FAILED, "%s", refusal.text);
        cr_assert(last_record ? torn.offset == offset && strcmp(torn.file_name, file_name) == 0
                              : says(&refusal, file_name, offset));
        segment_writer_close(&writer);
    }
}

Test(segment, every_flipped_byte_is_found, .timeout = 120) {
    struct fake_disk *const fake = ledger_of(40);
    static struct place places[ENTRIES_MAX];
    unsigned const count = places_of(fake, places);
    cr_assert_eq(count, 40u);
    unsigned const files = fake->history[0].count;
    cr_assert_geq(files, 3u);
    static const uint8_t masks[] = {0x01, 0x80, 0xff};
    for (unsigned f = 0; f < files; f++) {
        char file_name[FAKE_NAME_SIZE];
        memcpy(file_name, fake->history[0].names[f].text, FAKE_NAME_SIZE);
        struct buffer *const content = fake_disk_content(fake, file_name);
        for (size_t byte = 0; byte < content->size; byte++) {
            uint64_t const offset = offset_expected(places, count, file_name, byte);
            bool const last =
                strcmp(file_name, places[39].file_name) == 0 && offset == places[39].offset;
            for (size_t m = 0; m < sizeof masks; m++) {
                content->data[byte] ^= masks[m];
                expect_flip_found(fake, file_name, offset, last);
                if (byte % 5 == 0) {
                    expect_seek_finds(fake, file_name, offset);
                }
                content->data[byte] ^= masks[m];
            }
        }
    }
    expect_whole(fake, 40);
    fake_disk_free(fake);
}

Test(segment, every_truncation_is_found_or_recovered, .timeout = 120) {
    struct fake_disk *const whole = ledger_of(40);
    static struct place places[ENTRIES_MAX];
    unsigned const count = places_of(whole, places);
    for (unsigned f = 0; f < whole->history[0].count; f++) {
        char file_name[FAKE_NAME_SIZE];
        memcpy(file_name, whole->history[0].names[f].text, FAKE_NAME_SIZE);
        struct segment_name name;
        cr_assert(segment_name_parse(&name, file_name));
        size_t const size = fake_disk_content(whole, file_name)->size;
        for (size_t length = 0; length < size; length++) {
            struct fake_disk *const fake = fake_disk_clone(whole);
            fake_disk_content(fake, file_name)->size = length;
            uint64_t left = name.first; /* entries that are whole up to there */
            uint64_t offset = length < SEGMENT_HEADER_SIZE ? 0 : SEGMENT_HEADER_SIZE;
            for (unsigned i = 0; i < count; i++) {
                if (strcmp(places[i].file_name, file_name) == 0 &&
                    places[i].offset + places[i].size <= length) {
                    left = i + 1;
                    offset = places[i].offset + places[i].size;
                }
            }
            struct problem problem = {0};
            uint64_t end = 0;
            bool const clean = name.open && length == offset && offset != 0;
            cr_assert_eq(read_all(fake, false, 0, &end, &problem), clean ? 0 : -1);
            cr_assert_eq(end, left);
            cr_assert(clean || (problem.code == EXIT_CORRUPT && says(&problem, file_name, offset)),
                      "%zu: %s", length, problem.text);
            static struct segment_writer writer;
            if (name.open && length >= SEGMENT_HEADER_SIZE) {
                must_open(&writer, fake);
                cr_assert_eq(segment_writer_next_index(&writer), left);
                must_append(&writer, 50, 0);
                segment_writer_close(&writer);
                expect_whole(fake, 50);
            }
            fake_disk_free(fake);
        }
    }
    fake_disk_free(whole);
}

Test(segment, damage_over_several_records_is_no_torn_tail) {
    struct fake_disk *const fake = ledger_of(40);
    static struct place places[ENTRIES_MAX];
    unsigned const count = places_of(fake, places);
    unsigned first = count - 1;
    while (first > 0 && strcmp(places[first - 1].file_name, places[count - 1].file_name) == 0) {
        first--;
    }
    cr_assert_geq(count - first, 4u, "the open segment holds several records");
    struct buffer *const content = fake_disk_content(fake, places[first].file_name);
    uint64_t const from = places[first].offset;
    memset(content->data + from, 0, (size_t)(places[count - 1].offset - from) - 3);
    expect_flip_found(fake, places[first].file_name, from, false);
    /* Nothing good after it: torn. */
    memset(content->data + from, 0, content->size - (size_t)from);
    static struct segment_writer writer;
    must_open(&writer, fake);
    cr_expect_eq(segment_writer_next_index(&writer), first);
    segment_writer_close(&writer);
    fake_disk_free(fake);
}

/* Three records of one size, of one service. */
static struct fake_disk *three_of(const struct digest *of) {
    struct fake_disk *const fake = fake_disk_new();
    static struct segment_writer writer;
    struct segment_torn_tail torn;
    struct problem problem = {0};
    struct segment_writer_options const options = {.service = *of};
    cr_assert_eq(segment_writer_open(&writer, &torn, &fake->disk, &options, &problem), SEGMENT_OK);
    struct entry const entries[] = {{.kind = ENTRY_GENESIS, .payload = span_text("zero")},
                                    {.kind = ENTRY_REQUEST, .payload = span_text("one.")},
                                    {.kind = ENTRY_REQUEST, .payload = span_text("two.")}};
    cr_assert_eq(segment_writer_append(&writer, entries, 3, true, &problem), SEGMENT_OK);
    segment_writer_close(&writer);
    return fake;
}

Test(segment, misplaced_and_foreign_records_are_found) {
    static const char file_name[] = "000000000000-open.seg";
    size_t const record_size = RECORD_HEADER_SIZE + 4;
    struct fake_disk *const fake = three_of(&service);
    struct fake_disk *const foreign = three_of(&other_service);
    uint8_t *const records = fake_disk_content(fake, file_name)->data + SEGMENT_HEADER_SIZE;
    const uint8_t *const others = fake_disk_content(foreign, file_name)->data + SEGMENT_HEADER_SIZE;
    uint8_t kept[3 * (RECORD_HEADER_SIZE + 4)];
    memcpy(kept, records, sizeof kept);
    for (unsigned to = 0; to < 3; to++) {
        for (unsigned from = 0; from < 6; from++) {
            if (from == to) {
                continue;
            }
            memcpy(records + to * record_size,
                   from < 3 ? kept + from * record_size : others + (from - 3) * record_size,
                   record_size);
            struct segment_reader reader;
            struct segment_record record;
            struct problem problem = {0};
            segment_reader_init(&reader, &fake->disk, &service, false);
            unsigned read = 0;
            while (segment_reader_next(&reader, &record, &problem) == 1) {
                read++;
            }
            cr_expect_eq(read, to);
            cr_expect(says(&problem, file_name, SEGMENT_HEADER_SIZE + to * record_size), "%s",
                      problem.text);
            segment_reader_free(&reader);
            memcpy(records, kept, sizeof kept);
        }
    }
    fake_disk_free(fake);
    fake_disk_free(foreign);
}

static void expect_refused(struct fake_disk *fake, enum exit_code code, const char *part) {
    struct problem problem = {0};
    uint64_t end = 0;
    cr_expect_eq(read_all(fake, true, 0, &end, &problem), -1);
    cr_expect_eq(problem.code, code, "%s", problem.text);
    cr_expect_not_null(strstr(problem.text, part), "%s", problem.text);
    static struct segment_writer writer;
    struct segment_torn_tail torn;
    struct problem refusal = {0};
    cr_expect_eq(open_writer(&writer, fake, &torn, true, &refusal), SEGMENT_FAILED);
    segment_writer_close(&writer);
    cr_expect_eq(fake->handles, 0u);
    fake_disk_free(fake);
}

Test(segment, files_that_do_not_belong_together_are_refused) {
    struct fake_disk *const whole = ledger_of(40);
    static struct place places[ENTRIES_MAX];
    unsigned const count = places_of(whole, places);
    const char *const first = places[0].file_name;
    const char *const last = places[count - 1].file_name;
    unsigned middle_entry = 0;
    while (strcmp(places[middle_entry].file_name, first) == 0) {
        middle_entry++;
    }
    const char *const middle = places[middle_entry].file_name;
    cr_assert_str_neq(middle, last);

    struct fake_disk *fake = fake_disk_clone(whole);
    cr_assert_eq(fake->disk.remove(fake, middle), 0);
    expect_refused(fake, EXIT_CORRUPT, "are missing before it");

    fake = fake_disk_clone(whole);
    cr_assert_eq(fake->disk.remove(fake, first), 0);
    expect_refused(fake, EXIT_CANNOT_AUDIT, "entry 0 is missing");

    fake = fake_disk_clone(whole);
    fake_disk_put(fake, "000000000002-000000000003.seg", span_text("x"));
    expect_refused(fake, EXIT_CORRUPT, "overlaps");

    fake = fake_disk_clone(whole);
    fake_disk_put(fake, "000000000099-open.seg", span_text("x"));
    expect_refused(fake, EXIT_CORRUPT, "overlaps");

    fake = fake_disk_clone(whole);
    fake_disk_put(fake, "7-open.seg", span_text("x"));
    expect_refused(fake, EXIT_CORRUPT, "not the name of a segment file");

    fake = fake_disk_clone(whole);
    struct buffer *const moved = fake_disk_content(fake, middle);
    fake_disk_put(fake, first, buffer_span(moved));
    expect_refused(fake, EXIT_CORRUPT, "renamed or misplaced");

    /* A name that promises one entry more, or one less, at the end of the ledger. */
    fake = fake_disk_clone(whole);
    cr_assert_eq(fake->disk.rename(fake, last, "segment.tmp"), 0);
    struct segment_name name;
    char text[SEGMENT_NAME_SIZE];
    cr_assert(segment_name_parse(&name, last) && name.open);
    segment_name_format(text, &(struct segment_name){.first = name.first, .last = 40});
    cr_assert_eq(fake->disk.rename(fake, "segment.tmp", text), 0);
    expect_refused(fake, EXIT_CORRUPT, "ends before entry 40");

    fake = fake_disk_clone(whole);
    segment_name_format(text, &(struct segment_name){.first = name.first, .last = 38});
    cr_assert_eq(fake->disk.rename(fake, last, text), 0);
    expect_refused(fake, EXIT_CORRUPT, "bytes follow the last entry");
    fake_disk_free(whole);
}

Test(segment, another_service_is_refused) {
    struct fake_disk *const fake = ledger_of(10);
    struct segment_reader reader;
    struct segment_record record;
    struct problem problem = {0};
    segment_reader_init(&reader, &fake->disk, &other_service, true);
    cr_expect_eq(segment_reader_next(&reader, &record, &problem), -1);
    cr_expect_eq(problem.code, EXIT_INVALID);
    segment_reader_free(&reader);
    static struct segment_writer writer;
    struct segment_torn_tail torn;
    struct problem refusal = {0};
    struct segment_writer_options const options = {.service = other_service, .torn_tail_cut = true};
    cr_expect_eq(segment_writer_open(&writer, &torn, &fake->disk, &options, &refusal),
                 SEGMENT_FAILED);
    cr_expect_eq(refusal.code, EXIT_INVALID);
    segment_writer_close(&writer);
    expect_whole(fake, 10);
    fake_disk_free(fake);
}

Test(segment, random_files_never_crash, .timeout = 120) {
    struct fake_disk *const whole = ledger_of(12);
    static struct place places[ENTRIES_MAX];
    unsigned const count = places_of(whole, places);
    uint64_t seed = 1;
    for (unsigned round = 0; round < 3000; round++) {
        struct fake_disk *const fake = fake_disk_clone(whole);
        struct buffer *const content = fake_disk_content(fake, places[round % count].file_name);
        /* Everything, everything but the header, or a few bytes. */
        size_t const from = round % 3 == 0 ? 0 : SEGMENT_HEADER_SIZE;
        for (size_t i = from; i < content->size; i++) {
            seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            if (round % 3 != 2 || (seed >> 40) % 50 == 0) {
                content->data[i] = (uint8_t)((seed >> 33) % 4 == 0 ? seed >> 56 : seed >> 62);
            }
        }
        content->size -= (size_t)(seed >> 33) % (content->size / 4);
        struct problem problem = {0};
        uint64_t end = 0;
        cr_assert_leq(read_all(fake, round % 2 == 0, 0, &end, &problem), 0);
        static struct segment_writer writer;
        struct segment_torn_tail torn;
        struct problem refusal = {0};
        if (open_writer(&writer, fake, &torn, true, &refusal) == SEGMENT_OK) {
            cr_assert_leq(segment_writer_next_index(&writer), 12u);
        }
        segment_writer_close(&writer);
        cr_assert_eq(fake->handles, 0u);
        fake_disk_free(fake);
    }
    fake_disk_free(whole);
}
