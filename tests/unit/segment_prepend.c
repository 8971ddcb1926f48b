/*
 * segment_prepend: ledgers that begin later than with genesis, and get what is older put in front.
 * Whenever the power goes on either of the two disks, no entry is lost, the ledger has no gap, and
 * who carries on comes to the same end.
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/disk.h"
#include "tests/unit/segment_fixture.h"

#define FIRST 40u /* where the ledger begins */
#define END 60u   /* and ends */
#define ALL SIZE_MAX

/* ---- a ledger that begins later ---- */

static enum segment_result open_from(struct segment_writer *writer, struct fake_disk *fake,
                                     uint64_t first, struct problem *problem) {
    struct segment_torn_tail torn;
    struct segment_writer_options const options = {
        .service = service, .torn_tail_cut = true, .size_soft_max = 600, .first_index = first};
    return segment_writer_open(writer, &torn, &fake->disk, &options, problem);
}

static void must_open_from(struct segment_writer *writer, struct fake_disk *fake, uint64_t first) {
    struct problem problem = {0};
    cr_assert_eq(open_from(writer, fake, first, &problem), SEGMENT_OK, "%s", problem.text);
}

/* Entries [FIRST, END), the last of them in an open segment. */
static struct fake_disk *later_ledger(void) {
    static struct segment_writer writer;
    struct fake_disk *const fake = fake_disk_new();
    struct problem problem = {0};
    must_open_from(&writer, fake, FIRST);
    cr_assert_eq(writer.first_index, FIRST);
    must_append(&writer, END, 0);
    cr_assert_eq(segment_writer_sync(&writer, &problem), SEGMENT_OK);
    segment_writer_close(&writer);
    return fake;
}

/* Entries [0, FIRST), all closed. */
static struct fake_disk *older_ledger(void) {
    static struct segment_writer writer;
    struct fake_disk *const fake = fake_disk_new();
    struct problem problem = {0};
    must_open(&writer, fake);
    must_append(&writer, FIRST, 0);
    cr_assert_eq(segment_writer_finish(&writer, &problem), SEGMENT_OK, "%s", problem.text);
    segment_writer_close(&writer);
    return fake;
}

static uint64_t first_of(struct fake_disk *fake) {
    struct problem problem = {0};
    uint64_t first = UINT64_MAX;
    cr_assert_eq(segment_first_index(&first, &fake->disk, &problem), 1, "%s", problem.text);
    return first;
}

/* Read it whole. */
static void expect_from(struct fake_disk *fake, uint64_t first, uint64_t end) {
    struct segment_reader reader;
    struct segment_record record;
    struct problem problem = {0};
    cr_assert_eq(first_of(fake), first);
    segment_reader_init(&reader, &fake->disk, &service, false);
    cr_assert_eq(segment_reader_seek(&reader, first, &problem), 1, "%s", problem.text);
    for (uint64_t i = first; i < end; i++) {
        cr_assert_eq(segment_reader_next(&reader, &record, &problem), 1, "%s", problem.text);
        expect_entry(&record, i, 0);
    }
    cr_assert_eq(segment_reader_next(&reader, &record, &problem), 0, "%s", problem.text);
    segment_reader_free(&reader);
}

static bool has_open_segment(struct fake_disk *fake) {
    const struct fake_names *const names = &fake->history[fake->pending];
    bool found = false;
    for (unsigned i = 0; i < names->count; i++) {
        found |= strstr(names->names[i].text, "-open.seg") != NULL;
    }
    return found;
}

Test(segment_prepend, a_ledger_may_begin_later) {
    static struct segment_writer writer;
    struct problem problem = {0};
    struct fake_disk *const fake = later_ledger();
    expect_from(fake, FIRST, END);
    must_open_from(&writer, fake, FIRST);
    cr_assert_eq(writer.first_index, FIRST);
    cr_assert_eq(segment_writer_next_index(&writer), END);
    must_append(&writer, END + 8, 0);
    cr_assert_eq(segment_writer_truncate(&writer, FIRST + 3, &problem), SEGMENT_OK);
    must_append(&writer, END, 0);
    segment_writer_close(&writer);
    expect_from(fake, FIRST, END);
    must_open_from(&writer, fake, FIRST + 5); /* more is here than must be */
    cr_assert_eq(writer.first_index, FIRST);
    cr_assert_eq(segment_writer_truncate(&writer, FIRST, &problem), SEGMENT_OK, "all of it");
    cr_assert_eq(segment_writer_next_index(&writer), FIRST);
    must_append(&writer, END, 0);
    cr_assert_eq(segment_writer_sync(&writer, &problem), SEGMENT_OK);
    segment_writer_close(&writer);
    expect_from(fake, FIRST, END);
    cr_assert_eq(fake->handles, 0u);
    fake_disk_free(fake);
}

Test(segment_prepend, missing_files_are_still_missed) {
    static struct segment_writer writer;
    struct problem problem = {0};
    struct problem reading = {0};
    struct segment_reader reader;
    struct fake_disk *const fake = later_ledger();
    cr_assert_eq(open_from(&writer, fake, FIRST - 1, &problem), SEGMENT_FAILED);
    cr_expect_eq(problem.code, EXIT_CORRUPT);
    cr_expect_not_null(strstr(problem.text, "entries 39 to 39 are missing"), "%s", problem.text);
    segment_writer_close(&writer);
    segment_reader_init(&reader, &fake->disk, &service, false);
    cr_expect_eq(segment_reader_seek(&reader, FIRST - 1, &reading), -1);
    cr_expect_eq(reading.code, EXIT_CANNOT_AUDIT);
    segment_reader_free(&reader);
    fake_disk_free(fake);
}

Test(segment_prepend, its_tail_can_be_replaced) {
    static struct segment_writer writer;
    struct fake_disk *const fake = later_ledger();
    for (uint64_t cut = FIRST; cut <= END; cut += 5) {
        struct problem problem = {0};
        struct entry entries[END - FIRST];
        for (uint64_t i = cut; i < END; i++) {
            entries[i - cut] = entry_of(i, 0);
        }
        must_open_from(&writer, fake, FIRST);
        cr_assert_eq(segment_writer_replace(&writer, cut, entries, (size_t)(END - cut), &problem),
                     SEGMENT_OK, "%s", problem.text);
        segment_writer_close(&writer);
        expect_from(fake, FIRST, END);
    }
    fake_disk_free(fake);
}

/* A decided tail of another ledger does not fit in front of this one. */
Test(segment_prepend, a_tail_from_before_the_beginning_is_damage) {
    static struct segment_writer writer;
    struct fake_disk *const whole = ledger_of(30);
    struct problem problem = {0};
    struct entry const entry = entry_of(20, 0);
    must_open(&writer, whole);
    whole->fail_at[FAKE_TRUNCATE] = whole->calls[FAKE_TRUNCATE] + 1; /* after it was decided */
    whole->fail_with[FAKE_TRUNCATE] = -EIO;
    cr_assert_eq(segment_writer_replace(&writer, 20, &entry, 1, &problem), SEGMENT_FAILED);
    segment_writer_close(&writer);
    cr_assert_not_null(fake_disk_content(whole, SEGMENT_TAIL_NAME));
    struct fake_disk *const fake = later_ledger();
    fake_disk_put(fake, SEGMENT_TAIL_NAME,
                  buffer_span(fake_disk_content(whole, SEGMENT_TAIL_NAME)));
    problem = (struct problem){0};
    cr_assert_eq(open_from(&writer, fake, FIRST, &problem), SEGMENT_FAILED);
    cr_expect_eq(problem.code, EXIT_CORRUPT);
    cr_expect_not_null(strstr(problem.text, "begins with entry 40"), "%s", problem.text);
    segment_writer_close(&writer);
    expect_from(fake, FIRST, END);
    fake_disk_free(fake);
    fake_disk_free(whole);
}

/* ---- the end of a ledger ---- */

Test(segment_prepend, the_open_segment_is_closed) {
    static struct segment_writer writer;
    struct problem problem = {0};
    struct fake_disk *const fake = fake_disk_new();
    must_open(&writer, fake);
    cr_assert_eq(segment_writer_finish(&writer, &problem), SEGMENT_OK, "nothing is there");
    must_append(&writer, 17, 0);
    cr_assert_eq(segment_writer_finish(&writer, &problem), SEGMENT_OK);
    cr_assert(!has_open_segment(fake));
    fake_disk_crash(fake, &(struct fake_crash){0});
    fake->handles = 0;
    expect_whole(fake, 17);
    cr_assert_eq(segment_writer_finish(&writer, &problem), SEGMENT_OK, "again");
    must_append(&writer, 18, 0);
    cr_assert(has_open_segment(fake));
    cr_assert_eq(segment_writer_truncate(&writer, 17, &problem), SEGMENT_OK);
    must_append(&writer, 19, 0);
    cr_assert_eq(segment_writer_finish(&writer, &problem), SEGMENT_OK);
    segment_writer_close(&writer);
    expect_whole(fake, 19);
    cr_assert_eq(fake->handles, 0u);
    fake_disk_free(fake);
}

/* A full disk leaves an open segment without entries; it has no closed name. */
Test(segment_prepend, an_open_segment_without_entries_goes) {
    static struct segment_writer writer;
    struct problem problem = {0};
    struct fake_disk *const fake = older_ledger();
    must_open(&writer, fake);
    uint64_t const size = segment_writer_total_size(&writer);
    fake->capacity = size + SEGMENT_HEADER_SIZE;
    struct entry const entry = entry_of(FIRST, 0);
    cr_assert_eq(segment_writer_append(&writer, &entry, 1, true, &problem), SEGMENT_FULL);
    cr_assert(has_open_segment(fake));
    cr_assert_eq(segment_writer_finish(&writer, &problem), SEGMENT_OK, "%s", problem.text);
    cr_assert(!has_open_segment(fake));
    cr_assert_eq(segment_writer_total_size(&writer), size);
    segment_writer_close(&writer);
    expect_whole(fake, FIRST);
    fake_disk_free(fake);
}

/* ---- put in front ---- */

static int prepend(struct fake_disk *fake, struct fake_disk *older, size_t files_max,
                   struct segment_prepended *done, struct problem *problem) {
    return segment_prepend(done, &fake->disk, &older->disk, &service, files_max, problem);
}

static void expect_merged(struct fake_disk *fake, struct fake_disk *older) {
    struct problem problem = {0};
    uint64_t first = 0;
    cr_assert_eq(segment_first_index(&first, &older->disk, &problem), 0);
    expect_from(fake, 0, END);
    cr_assert_eq(fake->handles + older->handles, 0u);
}

Test(segment_prepend, one_by_one) {
    static struct segment_writer writer;
    struct fake_disk *const fake = later_ledger();
    struct fake_disk *const older = older_ledger();
    struct problem problem = {0};
    struct segment_prepended done;
    uint64_t first = FIRST;
    unsigned files = 0;
    int more = 1;
    must_open_from(&writer, fake, FIRST);
    while (more == 1) {
        more = prepend(fake, older, 1, &done, &problem);
        cr_assert_geq(more, 0, "%s", problem.text);
        cr_assert(done.files == 1 && done.size > SEGMENT_HEADER_SIZE);
        cr_assert_lt(done.first_index, first);
        first = done.first_index;
        segment_writer_grew(&writer, &done);
        expect_from(fake, first, segment_writer_next_index(&writer));
        must_append(&writer, segment_writer_next_index(&writer) + 3, 0);
        files++;
    }
    cr_assert(files > 4 && first == 0 && writer.first_index == 0);
    cr_assert_eq(prepend(fake, older, ALL, &done, &problem), 0, "%s", problem.text);
    cr_assert(done.files == 0 && done.size == 0 && done.first_index == 0);
    uint64_t const size = segment_writer_total_size(&writer);
    uint64_t const end = segment_writer_next_index(&writer);
    cr_assert_eq(segment_writer_sync(&writer, &problem), SEGMENT_OK);
    segment_writer_close(&writer);
    fake_disk_crash(fake, &(struct fake_crash){0});
    must_open(&writer, fake);
    cr_assert_eq(segment_writer_total_size(&writer), size);
    cr_assert_eq(segment_writer_truncate(&writer, 11, &problem), SEGMENT_OK, "%s", problem.text);
    must_append(&writer, end, 0);
    segment_writer_close(&writer);
    expect_whole(fake, end);
    fake_disk_free(fake);
    fake_disk_free(older);
}

/* Each disk's own crash: names that changed last may be kept on one and lost on the other. */
static const unsigned names_kept[] = {0, 1, 2, FAKE_PENDING_MAX};
#define KEPT_WAYS (sizeof names_kept / sizeof names_kept[0])

static void crash_both(struct fake_disk *fake, struct fake_disk *older, size_t way) {
    struct fake_crash const ours = {.names_kept = names_kept[way % KEPT_WAYS]};
    struct fake_crash const theirs = {.names_kept = names_kept[way / KEPT_WAYS]};
    fake_disk_crash(fake, &ours);
    fake_disk_crash(older, &theirs);
}

/* Nothing is in neither of the two; the ledger is whole, and its owner can open it. */
static void expect_nothing_lost(struct fake_disk *fake, struct fake_disk *older) {
    static struct segment_writer writer;
    struct problem problem = {0};
    uint64_t older_end = 0;
    uint64_t const first = first_of(fake);
    cr_assert_eq(read_all(older, false, 0, &older_end, &problem), 0, "%s", problem.text);
    cr_assert_geq(older_end, first);
    expect_from(fake, first, END);
    must_open_from(&writer, fake, FIRST);
    segment_writer_close(&writer);
}

Test(segment_prepend, whenever_the_power_goes, .timeout = 170) {
    for (unsigned which = 0; which < 2; which++) {
        bool finished = false;
        bool between = false;
        for (unsigned power = 1; !finished; power++) {
            for (size_t way = 0; way < KEPT_WAYS * KEPT_WAYS; way++) {
                struct fake_disk *const fake = later_ledger();
                struct fake_disk *const older = older_ledger();
                struct fake_disk *const failing = which == 0 ? fake : older;
                struct problem problem = {0};
                struct segment_prepended done;
                failing->power_off_at = failing->changes + power;
                int const result = prepend(fake, older, ALL, &done, &problem);
                finished = !failing->off;
                cr_assert_eq(result, finished ? 0 : -1);
                crash_both(fake, older, way);
                expect_nothing_lost(fake, older);
                between |= first_of(fake) != FIRST && first_of(fake) != 0;
                problem = (struct problem){0};
                cr_assert_eq(prepend(fake, older, ALL, &done, &problem), 0, "%s", problem.text);
                fake_disk_crash(fake, &(struct fake_crash){0});
                fake_disk_crash(older, &(struct fake_crash){0});
                expect_merged(fake, older);
                fake_disk_free(fake);
                fake_disk_free(older);
            }
            cr_assert_lt(power, 200u);
        }
        cr_expect(between);
    }
}

/* The power goes a second time while it is carried on. */
Test(segment_prepend, and_when_it_goes_again, .timeout = 170) {
    for (unsigned power = 1; power < 20; power++) {
        for (unsigned again = 1; again < 8; again++) {
            for (size_t way = 0; way < KEPT_WAYS * KEPT_WAYS; way += 3) {
                struct fake_disk *const fake = later_ledger();
                struct fake_disk *const older = older_ledger();
                struct problem problem = {0};
                struct segment_prepended done;
                fake->power_off_at = fake->changes + power;
                (void)!prepend(fake, older, ALL, &done, &problem);
                crash_both(fake, older, way);
                struct fake_disk *const failing = power % 2 == 0 ? fake : older;
                failing->power_off_at = again;
                problem = (struct problem){0};
                (void)!prepend(fake, older, ALL, &done, &problem);
                crash_both(fake, older, (way + again) % (KEPT_WAYS * KEPT_WAYS));
                expect_nothing_lost(fake, older);
                problem = (struct problem){0};
                cr_assert_eq(prepend(fake, older, ALL, &done, &problem), 0, "%s", problem.text);
                expect_merged(fake, older);
                fake_disk_free(fake);
                fake_disk_free(older);
            }
        }
    }
}

Test(segment_prepend, every_failing_call_is_reported, .timeout = 170) {
    static const int errors[] = {-EIO, -ENOSPC};
    for (unsigned which = 0; which < 2 * FAKE_CALLS; which++) {
        unsigned const call = which / 2;
        bool hit = true;
        for (unsigned nth = 1; hit; nth++) {
            struct fake_disk *const fake = later_ledger();
            struct fake_disk *const older = older_ledger();
            struct fake_disk *const failing = which % 2 == 0 ? fake : older;
            struct problem problem = {0};
            struct segment_prepended done;
            memset(failing->calls, 0, sizeof failing->calls);
            failing->fail_at[call] = nth;
            failing->fail_with[call] = errors[nth % 2];
            int const result = prepend(fake, older, ALL, &done, &problem);
            hit = failing->calls[call] >= nth;
            bool const retried = call == FAKE_LIST; /* a list is simply made again */
            cr_assert(!hit || retried || (result == -1 && problem.code == EXIT_ERROR),
                      "call %u number %u: %s", call, nth, problem.text);
            cr_assert_eq(fake->handles + older->handles, 0u);
            failing->fail_at[call] = 0;
            expect_nothing_lost(fake, older);
            fake_disk_free(fake);
            fake_disk_free(older);
            cr_assert_lt(nth, 100u);
        }
    }
}

/* ---- what does not belong ---- */

static void expect_refused(struct fake_disk *fake, struct fake_disk *older, enum exit_code code,
                           const char *text) {
    struct problem problem = {0};
    struct segment_prepended done;
    unsigned const changes = fake->changes + older->changes;
    cr_assert_eq(prepend(fake, older, ALL, &done, &problem), -1);
    cr_assert_eq(problem.code, code, "%s", problem.text);
    cr_assert_not_null(strstr(problem.text, text), "%s", problem.text);
    cr_assert_eq(fake->changes + older->changes, changes, "nothing is moved");
    cr_assert_eq(fake->handles + older->handles, 0u);
    fake_disk_free(fake);
    fake_disk_free(older);
}

Test(segment_prepend, what_does_not_fit_is_refused) {
    static struct segment_writer writer;
    struct problem problem = {0};
    struct fake_disk *older = older_ledger();
    must_open(&writer, older);
    cr_assert_eq(segment_writer_truncate(&writer, FIRST - 1, &problem), SEGMENT_OK);
    cr_assert_eq(segment_writer_finish(&writer, &problem), SEGMENT_OK);
    segment_writer_close(&writer);
    expect_refused(later_ledger(), older, EXIT_CORRUPT, "ends with entry 38, but fake begins");

    older = older_ledger();
    must_open(&writer, older);
    must_append(&writer, FIRST + 1, 0);
    cr_assert_eq(segment_writer_finish(&writer, &problem), SEGMENT_OK);
    segment_writer_close(&writer);
    expect_refused(later_ledger(), older, EXIT_CORRUPT, "ends with entry 40, but fake begins");

    older = older_ledger();
    must_open(&writer, older);
    must_append(&writer, FIRST + 1, 0);
    segment_writer_close(&writer);
    expect_refused(later_ledger(), older, EXIT_CORRUPT, "the segment of entry 40 is open");

    expect_refused(fake_disk_new(), older_ledger(), EXIT_CORRUPT, "there is no segment");
    expect_refused(ledger_of(FIRST), later_ledger(), EXIT_CORRUPT, "is open");
}

Test(segment_prepend, only_whole_segments_of_the_service_are_put_in_front) {
    struct fake_disk *const list = older_ledger();
    char last[FAKE_NAME_SIZE] = "";
    for (unsigned i = 0; i < list->history[0].count; i++) {
        const char *const text = list->history[0].names[i].text;
        if (strcmp(text, last) > 0) {
            memcpy(last, text, sizeof last);
        }
    }
    fake_disk_free(list);
    for (unsigned at = 0; at < SEGMENT_HEADER_SIZE; at++) {
        struct fake_disk *const older = older_ledger();
        fake_disk_content(older, last)->data[at] ^= 1;
        expect_refused(later_ledger(), older, EXIT_CORRUPT, "the header is damaged");
    }
    struct problem problem = {0};
    struct segment_prepended done;
    struct fake_disk *const fake = later_ledger();
    struct fake_disk *const older = older_ledger();
    cr_assert_eq(segment_prepend(&done, &fake->disk, &older->disk, &other_service, ALL, &problem),
                 -1);
    cr_assert_eq(problem.code, EXIT_INVALID, "%s", problem.text);
    fake_disk_free(fake);
    fake_disk_free(older);
}

/* ---- real disks, with the writer and a reader at work ---- */

struct real {
    struct host_disk ledger;
    struct host_disk older;
    atomic_bool stop;
    uint64_t end;
};

static void *append_on(void *argument) {
    static struct segment_writer writer;
    struct real *const real = argument;
    struct problem problem = {0};
    struct segment_torn_tail torn;
    struct segment_writer_options const options = {
        .service = service, .size_soft_max = 600, .first_index = FIRST};
    cr_assert_eq(segment_writer_open(&writer, &torn, &real->ledger.disk, &options, &problem),
                 SEGMENT_OK, "%s", problem.text);
    while (!atomic_load(&real->stop) && segment_writer_next_index(&writer) < ENTRIES_MAX - 4) {
        must_append(&writer, segment_writer_next_index(&writer) + 2, 0);
        cr_assert_eq(segment_writer_sync(&writer, &problem), SEGMENT_OK, "%s", problem.text);
    }
    real->end = segment_writer_next_index(&writer);
    segment_writer_close(&writer);
    return NULL;
}

static void *read_on(void *argument) {
    struct real *const real = argument;
    while (!atomic_load(&real->stop)) {
        struct segment_reader reader;
        struct segment_record record;
        struct problem problem = {0};
        uint64_t first = 0;
        cr_assert_eq(segment_first_index(&first, &real->ledger.disk, &problem), 1, "%s",
                     problem.text);
        segment_reader_init(&reader, &real->ledger.disk, &service, true);
        cr_assert_eq(segment_reader_seek(&reader, first, &problem), 1, "%s", problem.text);
        int more = 1;
        for (uint64_t i = first; more == 1; i++) {
            more = segment_reader_next(&reader, &record, &problem);
            cr_assert_geq(more, 0, "%s", problem.text);
            if (more == 1) {
                expect_entry(&record, i, 0);
            }
        }
        segment_reader_free(&reader);
    }
    return NULL;
}

/* A ledger of entries [first, end), the last segment closed or open. */
static void real_ledger(struct host_disk *host, const char *place, const char *name, uint64_t first,
                        uint64_t end) {
    static struct segment_writer writer;
    struct problem problem = {0};
    struct segment_torn_tail torn;
    char path[300];
    (void)snprintf(path, sizeof path, "%s/%s", place, name);
    cr_assert_eq(host_disk_open(host, path, HOST_DISK_WRITE, &problem), 0, "%s", problem.text);
    struct segment_writer_options const options = {
        .service = service, .size_soft_max = 300, .first_index = first};
    cr_assert_eq(segment_writer_open(&writer, &torn, &host->disk, &options, &problem), SEGMENT_OK);
    must_append(&writer, end, 0);
    cr_assert_eq(segment_writer_finish(&writer, &problem), SEGMENT_OK);
    segment_writer_close(&writer);
}

Test(segment_prepend, on_real_disks_beside_writer_and_reader, .timeout = 170) {
    const char *const base = getenv("TMPDIR");
    char place[256];
    (void)snprintf(place, sizeof place, "%s/onus-prepend-XXXXXX", base == NULL ? "/tmp" : base);
    cr_assert_not_null(mkdtemp(place));
    struct real real = {.end = 0};
    real_ledger(&real.ledger, place, "ledger", FIRST, END);
    real_ledger(&real.older, place, "older", 0, FIRST);
    pthread_t writing;
    pthread_t reading;
    cr_assert_eq(pthread_create(&writing, NULL, append_on, &real), 0);
    cr_assert_eq(pthread_create(&reading, NULL, read_on, &real), 0);
    struct problem problem = {0};
    struct segment_prepended done;
    int more = 1;
    while (more == 1) {
        more = segment_prepend(&done, &real.ledger.disk, &real.older.disk, &service, 1, &problem);
        cr_assert_geq(more, 0, "%s", problem.text);
        (void)usleep(2000);
    }
    atomic_store(&real.stop, true);
    cr_assert_eq(pthread_join(writing, NULL), 0);
    cr_assert_eq(pthread_join(reading, NULL), 0);
    struct segment_reader reader;
    struct segment_record record;
    segment_reader_init(&reader, &real.ledger.disk, &service, false);
    for (uint64_t i = 0; i < real.end; i++) {
        cr_assert_eq(segment_reader_next(&reader, &record, &problem), 1, "%s", problem.text);
        expect_entry(&record, i, 0);
    }
    segment_reader_free(&reader);
    cr_assert_eq(segment_first_index(&done.first_index, &real.older.disk, &problem), 0);

    struct host_disk *const ledger = &real.ledger;
    struct fake_disk *const fake = fake_disk_new();
    cr_expect_eq(ledger->disk.link_from(ledger, &fake->disk, "x"), -EXDEV);
    cr_expect_eq(fake->disk.link_from(fake, &ledger->disk, "x"), -EXDEV);
    cr_expect_eq(ledger->disk.link_from(ledger, &real.older.disk, "absent"), -ENOENT);
    cr_expect_eq(ledger->disk.link_from(ledger, &real.older.disk, "../x"), -EINVAL);
    real.older.writable = false;
    cr_expect_eq(ledger->disk.link_from(ledger, &real.older.disk, "absent"), -EROFS);
    fake_disk_free(fake);
    host_disk_close(&real.ledger);
    host_disk_close(&real.older);
    char command[400];
    (void)snprintf(command, sizeof command, "rm -r '%s'", place);
    cr_expect_eq(system(command), 0);
}
