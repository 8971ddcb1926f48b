/*
 * segment_tail: the end of a ledger is replaced. Whenever the power goes, while replacing or while
 * recovering from that, the ledger ends up with all of the old tail or all of the new one; a full
 * disk only delays it; a damaged file of the new tail changes nothing.
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdlib.h>

#include "tests/unit/segment_fixture.h"

#define OLD_END 30u    /* entries of the old ledger, variant 0 */
#define SYNCED_END 20u /* of which these were synced */
#define NEW_END 33u    /* entries of the new one, variant 1 from the cut on */

static const uint64_t kept[] = {0, 1, 17, 90, UINT64_MAX};
static const unsigned names[] = {0, 1, 2, FAKE_PENDING_MAX};
/* In an open segment, at a segment's end, over several segments, from the start, after the end. */
static const uint64_t cuts[] = {29, 24, 11, 1, OLD_END};

/* A ledger of OLD_END entries of which the last were not synced. */
static struct fake_disk *old_ledger(struct segment_writer *writer) {
    struct fake_disk *const fake = fake_disk_new();
    struct problem problem = {0};
    must_open(writer, fake);
    must_append(writer, SYNCED_END, 0);
    cr_assert_eq(segment_writer_sync(writer, &problem), SEGMENT_OK);
    must_append(writer, OLD_END, 0);
    return fake;
}

static enum segment_result replace(struct segment_writer *writer, uint64_t cut, uint64_t end,
                                   struct problem *problem) {
    struct entry entries[ENTRIES_MAX];
    for (uint64_t i = cut; i < end; i++) {
        entries[i - cut] = entry_of(i, 1);
    }
    return segment_writer_replace(writer, cut, entries, (size_t)(end - cut), problem);
}

/* Read it all. Returns: its end; variant is that of the entries from the cut on. */
static uint64_t read_ledger(struct fake_disk *fake, uint64_t cut, unsigned variant) {
    struct segment_reader reader;
    struct segment_record record;
    struct problem problem = {0};
    uint64_t end = 0;
    segment_reader_init(&reader, &fake->disk, &service, false);
    while (segment_reader_next(&reader, &record, &problem) == 1) {
        expect_entry(&record, end, end >= cut ? variant : 0);
        end++;
    }
    cr_assert_eq(problem.code, EXIT_OK, "%s", problem.text);
    segment_reader_free(&reader);
    return end;
}

static bool is_new(struct fake_disk *fake, uint64_t cut) {
    struct segment_reader reader;
    struct segment_record record;
    struct problem problem = {0};
    segment_reader_init(&reader, &fake->disk, &service, false);
    cr_assert_geq(segment_reader_seek(&reader, cut, &problem), 0, "%s", problem.text);
    bool const there = segment_reader_next(&reader, &record, &problem) == 1;
    bool const same = there && span_equal(record.payload, entry_of(cut, 1).payload);
    segment_reader_free(&reader);
    return same;
}

/* After recovery: all of the old or all of the new, and a ledger that can be written on. */
static void expect_old_or_new(struct fake_disk *fake, uint64_t cut, bool must_be_new) {
    static struct segment_writer writer;
    bool const new = is_new(fake, cut);
    cr_assert(new || !must_be_new);
    uint64_t const end = read_ledger(fake, cut, new ? 1 : 0);
    cr_assert(new ? end == NEW_END : end >= SYNCED_END &&end <= OLD_END);
    cr_assert_null(fake_disk_content(fake, SEGMENT_TAIL_NAME));
    cr_assert_null(fake_disk_content(fake, SEGMENT_TAIL_NEW_NAME));
    must_open(&writer, fake);
    struct problem problem = {0};
    must_append(&writer, end + 5, 2);
    cr_assert_eq(segment_writer_sync(&writer, &problem), SEGMENT_OK);
    segment_writer_close(&writer);
    fake_disk_crash(fake, &(struct fake_crash){0});
    must_open(&writer, fake);
    cr_assert_eq(segment_writer_next_index(&writer), end + 5, "what came after it stays");
    segment_writer_close(&writer);
    cr_assert_eq(fake->handles, 0u);
}

Test(segment_tail, is_replaced) {
    for (size_t c = 0; c < sizeof cuts / sizeof cuts[0]; c++) {
        static struct segment_writer writer;
        struct problem problem = {0};
        struct fake_disk *const fake = old_ledger(&writer);
        cr_assert_eq(replace(&writer, cuts[c], NEW_END, &problem), SEGMENT_OK, "%s", problem.text);
        cr_expect_eq(segment_writer_next_index(&writer), NEW_END);
        must_append(&writer, NEW_END + 3, 1);
        segment_writer_close(&writer);
        cr_expect_eq(read_ledger(fake, cuts[c], 1), NEW_END + 3);
        fake_disk_crash(fake, &(struct fake_crash){0});
        expect_old_or_new(fake, cuts[c], true);
        fake_disk_free(fake);
    }
}

Test(segment_tail, may_be_replaced_by_nothing) {
    static struct segment_writer writer;
    struct problem problem = {0};
    struct fake_disk *const fake = old_ledger(&writer);
    cr_assert_eq(replace(&writer, 11, 11, &problem), SEGMENT_OK, "%s", problem.text);
    segment_writer_close(&writer);
    expect_whole(fake, 11);
    fake_disk_free(fake);
}

Test(segment_tail, a_crash_leaves_the_old_or_the_new, .timeout = 170) {
    for (size_t c = 0; c < sizeof cuts / sizeof cuts[0]; c++) {
        bool finished = false;
        bool old_seen = false;
        bool new_seen = false;
        for (unsigned power = 1; !finished; power++) {
            for (size_t k = 0; k < sizeof kept / sizeof kept[0]; k++) {
                for (size_t n = 0; n < 2 * sizeof names / sizeof names[0]; n++) {
                    static struct segment_writer writer;
                    struct problem problem = {0};
                    struct fake_disk *const fake = old_ledger(&writer);
                    fake->power_off_at = fake->changes + power;
                    enum segment_result const result = replace(&writer, cuts[c], NEW_END, &problem);
                    finished = !fake->off;
                    cr_assert_eq(result == SEGMENT_OK, finished);
                    segment_writer_close(&writer);
                    fake_disk_crash(fake, &(struct fake_crash){.unsynced_kept = kept[k],
                                                               .names_kept = names[n / 2],
                                                               .rest_zeroed = n % 2 == 1});
                    must_open(&writer, fake);
                    segment_writer_close(&writer);
                    bool const new = is_new(fake, cuts[c]);
                    old_seen |= !new;
                    new_seen |= new;
                    expect_old_or_new(fake, cuts[c], finished);
                    fake_disk_free(fake);
                }
            }
            cr_assert_lt(power, 200u);
        }
        cr_expect(old_seen && new_seen, "both ends were met");
    }
}

/* The power goes a second time while the first crash is being recovered from. */
Test(segment_tail, a_crash_while_recovering_too, .timeout = 170) {
    static const struct fake_crash crashes[] = {
        {0},
        {.unsynced_kept = 40, .rest_zeroed = true, .names_kept = 1},
        {.unsynced_kept = UINT64_MAX, .names_kept = FAKE_PENDING_MAX}};
    bool finished = false;
    for (unsigned power = 1; !finished; power++) {
        for (size_t a = 0; a < sizeof crashes / sizeof crashes[0]; a++) {
            bool recovered = false;
            for (unsigned again = 1; !recovered; again++) {
                static struct segment_writer writer;
                struct segment_torn_tail torn;
                struct problem problem = {0};
                struct fake_disk *const fake = old_ledger(&writer);
                fake->power_off_at = fake->changes + power;
                finished = replace(&writer, 11, NEW_END, &problem) == SEGMENT_OK;
                segment_writer_close(&writer);
                fake_disk_crash(fake, &crashes[a]);
                fake->power_off_at = again;
                problem = (struct problem){0};
                recovered = open_writer(&writer, fake, &torn, true, &problem) == SEGMENT_OK;
                segment_writer_close(&writer);
                fake_disk_crash(fake, &crashes[(a + again) % 3]);
                must_open(&writer, fake);
                segment_writer_close(&writer);
                expect_old_or_new(fake, 11, finished);
                fake_disk_free(fake);
                cr_assert_lt(again, 200u);
            }
        }
        cr_assert_lt(power, 200u);
    }
}

/* ---- a full disk ---- */

static uint64_t used(struct fake_disk *fake) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < fake->history[fake->pending].count; i++) {
        bytes += fake_disk_content(fake, fake->history[fake->pending].names[i].text)->size;
    }
    return bytes;
}

Test(segment_tail, a_full_disk_only_delays_it, .timeout = 170) {
    bool in_the_middle = false;
    for (uint64_t room = 0; room < 8000; room += 41) {
        for (unsigned crashed = 0; crashed < 2; crashed++) {
            static struct segment_writer writer;
            struct problem problem = {0};
            struct fake_disk *const fake = old_ledger(&writer);
            fake->capacity = used(fake) + room;
            enum segment_result result = replace(&writer, 11, NEW_END, &problem);
            in_the_middle |= result == SEGMENT_FULL && writer.tail_decided;
            cr_assert(result == SEGMENT_FULL || result == SEGMENT_OK, "%s", problem.text);
            cr_assert_eq(problem.code, EXIT_OK);
            if (result == SEGMENT_FULL && !writer.tail_decided) {
                cr_assert_eq(read_ledger(fake, 0, 0), OLD_END, "nothing is given up before");
            }
            if (crashed == 1) {
                segment_writer_close(&writer);
                fake_disk_crash(fake, &(struct fake_crash){.unsynced_kept = UINT64_MAX});
                must_open(&writer, fake);
            } else if (result == SEGMENT_FULL) {
                fake->capacity += 7;
                result = replace(&writer, 11, NEW_END, &problem);
                fake->capacity = UINT64_MAX;
                if (result == SEGMENT_FULL) {
                    result = replace(&writer, 11, NEW_END, &problem);
                }
                cr_assert_eq(result, SEGMENT_OK, "%s", problem.text);
            }
            segment_writer_close(&writer);
            fake_disk_crash(fake, &(struct fake_crash){.unsynced_kept = UINT64_MAX});
            expect_old_or_new(fake, 11, result == SEGMENT_OK);
            fake_disk_free(fake);
        }
    }
    cr_expect(in_the_middle, "it was also full between the cut and the end");
}

/* A disk on which the replacement is decided, and the power went right after. */
static struct fake_disk *decided(void) {
    for (unsigned power = 1; power < 200; power++) {
        static struct segment_writer writer;
        struct problem problem = {0};
        struct fake_disk *const fake = old_ledger(&writer);
        fake->power_off_at = fake->changes + power;
        (void)!replace(&writer, 11, NEW_END, &problem);
        segment_writer_close(&writer);
        fake_disk_crash(fake, &(struct fake_crash){0});
        if (fake_disk_content(fake, SEGMENT_TAIL_NAME) != NULL) {
            return fake;
        }
        fake_disk_free(fake);
    }
    cr_assert_fail("it is never decided");
    return NULL;
}

Test(segment_tail, opening_says_that_it_needs_space) {
    static struct segment_writer writer;
    struct segment_torn_tail torn;
    struct problem problem = {0};
    struct fake_disk *const fake = decided();
    /* Even what the cut frees is not there. */
    fake->capacity = used(fake) / 2;
    cr_assert_eq(open_writer(&writer, fake, &torn, true, &problem), SEGMENT_FAILED);
    cr_expect_eq(problem.code, EXIT_ERROR);
    cr_expect_not_null(strstr(problem.text, "ledger.tail: no space"), "%s", problem.text);
    segment_writer_close(&writer);
    fake->capacity = UINT64_MAX;
    must_open(&writer, fake);
    cr_expect(writer.tail_replaced);
    segment_writer_close(&writer);
    expect_old_or_new(fake, 11, true);
    fake_disk_free(fake);
}

/* ---- what fails, what is damaged ---- */

Test(segment_tail, every_failing_call_is_reported, .timeout = 170) {
    for (unsigned call = 0; call < FAKE_LINK; call++) { /* which no writer makes */
        for (unsigned nth = 1;; nth++) {
            static struct segment_writer writer;
            struct problem problem = {0};
            struct fake_disk *const fake = old_ledger(&writer);
            memset(fake->calls, 0, sizeof fake->calls);
            fake->fail_at[call] = nth;
            fake->fail_with[call] = -EIO;
            enum segment_result const result = replace(&writer, 11, NEW_END, &problem);
            bool const hit = fake->calls[call] >= nth;
            bool const retried = call == FAKE_LIST; /* a list is simply made again */
            cr_assert(!hit || retried || (result == SEGMENT_FAILED && problem.code == EXIT_ERROR),
                      "call %u number %u: %s", call, nth, problem.text);
            if (hit && !retried) {
                struct problem again = {0};
                unsigned const changes = fake->changes;
                cr_assert_eq(replace(&writer, 11, NEW_END, &again), SEGMENT_FAILED);
                cr_assert_eq(fake->changes, changes, "nothing is written after a failure");
            }
            segment_writer_close(&writer);
            cr_assert_eq(fake->handles, 0u);
            fake_disk_crash(fake, &(struct fake_crash){0});
            must_open(&writer, fake);
            segment_writer_close(&writer);
            expect_old_or_new(fake, 11, !hit);
            fake_disk_free(fake);
            if (!hit) {
                break;
            }
        }
    }
}

Test(segment_tail, a_damaged_file_changes_nothing, .timeout = 170) {
    struct fake_disk *const whole = decided();
    size_t const size = fake_disk_content(whole, SEGMENT_TAIL_NAME)->size;
    for (size_t at = 0; at < size + 2; at++) {
        static struct segment_writer writer;
        struct segment_torn_tail torn;
        struct problem problem = {0};
        struct fake_disk *const fake = fake_disk_clone(whole);
        struct buffer *const content = fake_disk_content(fake, SEGMENT_TAIL_NAME);
        if (at < size) {
            content->data[at] ^= 0x10;
        } else if (at == size) {
            content->size--;
        } else {
            cr_assert(buffer_append(content, span_text("x")));
        }
        uint64_t const before = read_ledger(fake, 0, 0);
        cr_assert_eq(open_writer(&writer, fake, &torn, true, &problem), SEGMENT_FAILED);
        cr_assert_eq(problem.code, EXIT_CORRUPT, "byte %zu: %s", at, problem.text);
        cr_assert_not_null(strstr(problem.text, "fake/ledger.tail: offset "), "%s", problem.text);
        segment_writer_close(&writer);
        cr_assert_eq(fake->handles, 0u);
        cr_assert_eq(read_ledger(fake, 0, 0), before);
        fake_disk_free(fake);
    }
    fake_disk_free(whole);
}

Test(segment_tail, needs_the_ledger_that_it_was_made_for) {
    static struct segment_writer writer;
    struct segment_torn_tail torn;
    struct problem problem = {0};
    struct fake_disk *const whole = decided();
    struct fake_disk *const fake = ledger_of(9);
    fake_disk_put(fake, SEGMENT_TAIL_NAME,
                  buffer_span(fake_disk_content(whole, SEGMENT_TAIL_NAME)));
    cr_assert_eq(open_writer(&writer, fake, &torn, true, &problem), SEGMENT_FAILED);
    cr_expect_eq(problem.code, EXIT_CORRUPT);
    cr_expect_not_null(strstr(problem.text, "ends before entry 11"), "%s", problem.text);
    segment_writer_close(&writer);
    expect_whole(fake, 9);
    fake_disk_free(fake);
    fake_disk_free(whole);
}
