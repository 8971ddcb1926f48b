/*
 * journal: what a replica promised comes back after any crash, a torn last record is cut, damage
 * anywhere else is found and changes nothing, and the file stays small. What its records hold is
 * the codec's (codec_view.c).
 */
#include <criterion/criterion.h>

#include <errno.h>

#include "node/journal.h"
#include "tests/sim/fake_disk.h"

#define PAYLOAD_SIZE 300u
#define SEEN_MAX 8192u

static const struct journal_owner owner = {.service = {{7}}, .replica = 3};

/* Record n is made of n alone, so whatever is read can be told from what should be there. */
static struct span payload_of(uint8_t bytes[static PAYLOAD_SIZE], uint64_t n) {
    for (unsigned i = 0; i < PAYLOAD_SIZE; i++) {
        bytes[i] = (uint8_t)(n * 131 + i * 7);
    }
    store_u64_be(bytes, n);
    return span_of(bytes, PAYLOAD_SIZE - n % 17);
}

/* A record with this bit is a standing one; the others are promises, in ascending order. */
#define STANDING (UINT64_C(1) << 63)

struct seen {
    uint64_t first; /* promise */
    uint64_t count; /* of promises */
    bool wrong;
    uint64_t standing;    /* the last one */
    uint64_t standing_at; /* after how many promises it stood */
    uint64_t standing_count;
};

static enum journal_role see(void *context, struct span payload) {
    struct seen *const seen = context;
    uint8_t expected[PAYLOAD_SIZE];
    uint64_t const n = payload.size < 8 ? UINT64_MAX : load_u64_be(payload.data);
    seen->wrong |= !span_equal(payload, payload_of(expected, n));
    if ((n & STANDING) != 0) {
        seen->standing = n;
        seen->standing_at = seen->count;
        seen->standing_count++;
        return JOURNAL_STANDING;
    }
    if (seen->count == 0) {
        seen->first = n;
    }
    seen->wrong |= n != seen->first + seen->count;
    seen->count++;
    return JOURNAL_PROMISE;
}

static void must_append(struct journal *journal, uint64_t n) {
    uint8_t bytes[PAYLOAD_SIZE];
    struct problem problem = {0};
    enum journal_role const role = (n & STANDING) != 0 ? JOURNAL_STANDING : JOURNAL_PROMISE;
    cr_assert_eq(journal_append(journal, role, payload_of(bytes, n), &problem), JOURNAL_OK, "%s",
                 problem.text);
}

struct opened {
    struct journal journal;
    enum journal_result result;
    uint64_t torn_size;
    struct seen seen;
    struct problem problem;
};

static struct opened open_journal(struct fake_disk *fake) {
    struct opened opened = {.torn_size = 0};
    opened.result = journal_open(&opened.journal, &opened.torn_size, &fake->disk, &owner, see,
                                 &opened.seen, &opened.problem);
    return opened;
}

static struct fake_disk *journal_of(uint64_t count) {
    struct fake_disk *const fake = fake_disk_new();
    struct problem problem = {0};
    cr_assert_eq(journal_create(&fake->disk, &owner, &problem), 0, "%s", problem.text);
    struct opened opened = open_journal(fake);
    cr_assert_eq(opened.result, JOURNAL_OK, "%s", opened.problem.text);
    for (uint64_t n = 0; n < count; n++) {
        must_append(&opened.journal, n);
        cr_assert_eq(journal_sync(&opened.journal, &problem), 0, "%s", problem.text);
    }
    journal_close(&opened.journal);
    return fake;
}

Test(journal, records_come_back_in_order) {
    struct fake_disk *const fake = journal_of(100);
    fake_disk_crash(fake, &(struct fake_crash){0});
    struct opened opened = open_journal(fake);
    cr_assert_eq(opened.result, JOURNAL_OK, "%s", opened.problem.text);
    cr_expect(!opened.seen.wrong && opened.seen.first == 0 && opened.seen.count == 100);
    cr_expect_eq(opened.torn_size, 0);
    journal_close(&opened.journal);
    cr_expect_eq(fake->handles, 0);
    fake_disk_free(fake);
}

Test(journal, missing_is_told_apart_and_nothing_is_made) {
    struct fake_disk *const fake = fake_disk_new();
    struct opened const opened = open_journal(fake);
    cr_expect_eq(opened.result, JOURNAL_MISSING);
    cr_expect_null(fake_disk_content(fake, JOURNAL_NAME));
    struct problem problem = {0};
    cr_expect_eq(journal_check_owner(&fake->disk, &owner, &problem), 0);
    fake_disk_free(fake);
}

Test(journal, is_never_created_over_another) {
    struct fake_disk *const fake = journal_of(5);
    struct problem problem = {0};
    cr_expect_eq(journal_create(&fake->disk, &owner, &problem), -1);
    cr_expect_eq(problem.code, EXIT_ERROR);
    struct opened opened = open_journal(fake);
    cr_expect_eq(opened.seen.count, 5);
    journal_close(&opened.journal);
    fake_disk_free(fake);
}

Test(journal, belongs_to_one_service_and_one_replica) {
    struct fake_disk *const fake = journal_of(1);
    struct journal_owner other = owner;
    struct problem problem = {0};
    other.replica = 2;
    cr_expect_eq(journal_check_owner(&fake->disk, &other, &problem), -1);
    cr_expect(strstr(problem.text, "replica 3") != NULL &&
              strstr(problem.text, "replica 2") != NULL);
    other = owner;
    other.service.bytes[0] = 8;
    problem = (struct problem){0};
    cr_expect_eq(journal_check_owner(&fake->disk, &other, &problem), -1);
    cr_expect(strstr(problem.text, "0700000000") != NULL && strstr(problem.text, "0800000") != NULL,
              "both services are named: %s", problem.text);
    cr_expect_eq(fake->handles, 0);
    fake_disk_free(fake);
}

/* A crash keeps any number of the last record's bytes, with or without zeros behind them. */
Test(journal, a_torn_last_record_is_cut) {
    for (unsigned kept = 0; kept < PAYLOAD_SIZE + JOURNAL_RECORD_HEADER_SIZE; kept += 7) {
        struct fake_disk *const fake = journal_of(3);
        struct opened opened = open_journal(fake);
        uint8_t bytes[PAYLOAD_SIZE];
        struct problem problem = {0};
        struct span const last = payload_of(bytes, 3);
        must_append(&opened.journal, 3);
        journal_close(&opened.journal);
        fake_disk_crash(fake,
                        &(struct fake_crash){.unsynced_kept = kept, .rest_zeroed = kept % 2 == 1});
        opened = open_journal(fake);
        bool const whole = kept >= last.size + JOURNAL_RECORD_HEADER_SIZE;
        cr_assert_eq(opened.result, JOURNAL_OK, "%u: %s", kept, opened.problem.text);
        cr_expect_eq(opened.seen.count, whole ? 4 : 3);
        cr_expect(!opened.seen.wrong);
        /* What was cut leaves room for the next record. */
        uint64_t const next = whole ? 4 : 3;
        must_append(&opened.journal, next);
        cr_assert_eq(journal_sync(&opened.journal, &problem), 0);
        journal_close(&opened.journal);
        opened = open_journal(fake);
        cr_expect_eq(opened.seen.count, next + 1);
        cr_expect(!opened.seen.wrong);
        journal_close(&opened.journal);
        fake_disk_free(fake);
    }
}

/* Every flipped byte before the last record is damage, and what is there stays as it is. */
Test(journal, damage_before_the_end_is_corrupt) {
    struct fake_disk *const fake = journal_of(4);
    struct buffer *const content = fake_disk_content(fake, JOURNAL_NAME);
    size_t const last = content->size - JOURNAL_RECORD_HEADER_SIZE - (PAYLOAD_SIZE - 3);
    for (size_t at = 0; at < last; at++) {
        if (at >= 8 && at < 16) {
            continue; /* version and replica: below */
        }
        content->data[at] ^= 0x40;
        struct buffer copy;
        buffer_init(&copy, content->size);
        cr_assert(buffer_append(&copy, buffer_span(content)));
        struct opened const opened = open_journal(fake);
        cr_expect_eq(opened.result, JOURNAL_FAILED, "byte %zu", at);
        cr_expect_eq(opened.problem.code, EXIT_CORRUPT, "byte %zu: %s", at, opened.problem.text);
        cr_expect(span_equal(buffer_span(&copy), buffer_span(content)), "byte %zu", at);
        buffer_free(&copy);
        content->data[at] ^= 0x40;
    }
    cr_expect_eq(fake->handles, 0);
    fake_disk_free(fake);
}

/* A record that lies at another's place is not taken for it. */
Test(journal, records_cannot_change_places) {
    struct fake_disk *const fake = journal_of(18);
    struct buffer *const content = fake_disk_content(fake, JOURNAL_NAME);
    uint8_t *const first = content->data + JOURNAL_HEADER_SIZE;
    size_t const size = JOURNAL_RECORD_HEADER_SIZE + PAYLOAD_SIZE; /* records 0 and 17 */
    uint8_t *const other = content->data + content->size - size;
    uint8_t swap[JOURNAL_RECORD_HEADER_SIZE + PAYLOAD_SIZE];
    memcpy(swap, first, size);
    memcpy(first, other, size);
    memcpy(other, swap, size);
    struct opened const opened = open_journal(fake);
    cr_expect_eq(opened.result, JOURNAL_FAILED);
    cr_expect_eq(opened.problem.code, EXIT_CORRUPT);
    fake_disk_free(fake);
}

Test(journal, stays_small_and_keeps_the_last_records) {
    uint64_t const count = 5 * JOURNAL_SIZE_SOFT_MAX / (PAYLOAD_SIZE + JOURNAL_RECORD_HEADER_SIZE);
    cr_assert_lt(count, FAKE_FILES_MAX * 100);
    struct fake_disk *const fake = journal_of(count);
    cr_expect_leq(fake_disk_content(fake, JOURNAL_NAME)->size,
                  JOURNAL_SIZE_SOFT_MAX + PAYLOAD_SIZE + JOURNAL_RECORD_HEADER_SIZE);
    fake_disk_crash(fake, &(struct fake_crash){0});
    struct opened opened = open_journal(fake);
    cr_assert_eq(opened.result, JOURNAL_OK, "%s", opened.problem.text);
    cr_expect(!opened.seen.wrong);
    cr_expect_geq(opened.seen.count, JOURNAL_RECORDS_KEPT);
    cr_expect_eq(opened.seen.first + opened.seen.count, count);
    journal_close(&opened.journal);
    cr_expect_eq(fake->handles, 0);
    fake_disk_free(fake);
}

/* Fill a journal with promises until the next sync has it rewritten. Returns: the next one. */
static uint64_t fill(struct journal *journal, uint64_t n) {
    while (journal->size <= JOURNAL_SIZE_SOFT_MAX) {
        must_append(journal, n);
        n++;
    }
    return n;
}

static void must_rewrite(struct journal *journal) {
    struct problem problem = {0};
    uint64_t const number = journal->next_number;
    cr_assert_gt(journal->size, JOURNAL_SIZE_SOFT_MAX);
    cr_assert_eq(journal_sync(journal, &problem), 0, "%s", problem.text);
    cr_assert_lt(journal->size, JOURNAL_SIZE_SOFT_MAX / 2);
    cr_assert_eq(journal->next_number, number);
}

/* Close it, cut the power, read it again. */
static struct opened reopen(struct fake_disk *fake, struct journal *journal) {
    journal_close(journal);
    fake_disk_crash(fake, &(struct fake_crash){0});
    struct opened const opened = open_journal(fake);
    cr_assert_eq(opened.result, JOURNAL_OK, "%s", opened.problem.text);
    cr_assert(!opened.seen.wrong);
    return opened;
}

/* However many promises follow it, the last standing record is not lost, nor its place. */
Test(journal, keeps_where_the_replica_stands) {
    struct fake_disk *const fake = journal_of(0);
    struct opened opened = open_journal(fake);
    must_append(&opened.journal, STANDING | 1);
    must_append(&opened.journal, STANDING | 2);
    uint64_t next = fill(&opened.journal, 0);
    must_rewrite(&opened.journal);
    next = fill(&opened.journal, next);
    must_rewrite(&opened.journal);
    opened = reopen(fake, &opened.journal);
    cr_expect(opened.seen.standing == (STANDING | 2) && opened.seen.standing_at == 0);
    cr_expect_eq(opened.seen.standing_count, 1);
    cr_expect_eq(opened.seen.count, JOURNAL_RECORDS_KEPT);
    cr_expect_eq(opened.seen.first + opened.seen.count, next);
    /* A rewrite after a restart knows it too. */
    next = fill(&opened.journal, next);
    must_rewrite(&opened.journal);
    opened = reopen(fake, &opened.journal);
    cr_expect(opened.seen.standing == (STANDING | 2) && opened.seen.standing_at == 0);
    /* Between promises. */
    next = fill(&opened.journal, next);
    must_append(&opened.journal, STANDING | 3);
    for (unsigned i = 0; i < 5; i++) {
        must_append(&opened.journal, next);
        next++;
    }
    must_rewrite(&opened.journal);
    opened = reopen(fake, &opened.journal);
    cr_expect_eq(opened.seen.standing, STANDING | 3);
    cr_expect_eq(opened.seen.standing_at, JOURNAL_RECORDS_KEPT - 5);
    cr_expect_eq(opened.seen.first + opened.seen.count, next);
    journal_close(&opened.journal);
    cr_expect_eq(fake->handles, 0);
    fake_disk_free(fake);
}

/* Many views without a batch: the promises of long ago stay, and what is last stays last. */
Test(journal, standing_records_push_no_promise_out) {
    struct fake_disk *const fake = journal_of(7);
    struct opened opened = open_journal(fake);
    uint64_t views = 0;
    for (unsigned round = 0; round < 3; round++) {
        while (opened.journal.size <= JOURNAL_SIZE_SOFT_MAX) {
            views++;
            must_append(&opened.journal, STANDING | views);
        }
        must_rewrite(&opened.journal);
        opened = reopen(fake, &opened.journal);
        cr_expect(opened.seen.first == 0 && opened.seen.count == 7);
        cr_expect_eq(opened.seen.standing_count, 1);
        cr_expect_eq(opened.seen.standing, STANDING | views);
        cr_expect_eq(opened.seen.standing_at, opened.seen.count);
    }
    journal_close(&opened.journal);
    fake_disk_free(fake);
}

/* The power goes at every single step of a rewrite: the old journal is there, or the new one. */
Test(journal, a_rewrite_survives_any_crash) {
    struct fake_disk *const before = fake_disk_new();
    struct problem problem = {0};
    uint8_t bytes[PAYLOAD_SIZE];
    uint64_t count = 0;
    cr_assert_eq(journal_create(&before->disk, &owner, &problem), 0);
    struct opened opened = open_journal(before);
    must_append(&opened.journal, STANDING | 1);
    count = fill(&opened.journal, count);
    /* Durable, but not yet rewritten. */
    cr_assert_eq(before->disk.sync(before->disk.context, opened.journal.file), 0);
    journal_close(&opened.journal);
    for (unsigned off_at = 1; off_at < 9; off_at++) {
        for (unsigned names_kept = 0; names_kept < 3; names_kept++) {
            struct fake_disk *const fake = fake_disk_clone(before);
            opened = open_journal(fake);
            cr_assert_eq(opened.result, JOURNAL_OK);
            fake->power_off_at = fake->changes + off_at;
            if (journal_append(&opened.journal, JOURNAL_PROMISE, payload_of(bytes, count),
                               &problem) == JOURNAL_OK) {
                (void)!journal_sync(&opened.journal, &problem);
            }
            journal_close(&opened.journal);
            fake_disk_crash(fake, &(struct fake_crash){.names_kept = names_kept});
            opened = open_journal(fake);
            cr_assert_eq(opened.result, JOURNAL_OK, "%u %u: %s", off_at, names_kept,
                         opened.problem.text);
            cr_expect(!opened.seen.wrong && opened.seen.count >= JOURNAL_RECORDS_KEPT);
            cr_expect_geq(opened.seen.first + opened.seen.count, count);
            cr_expect(opened.seen.standing == (STANDING | 1) && opened.seen.standing_at == 0);
            journal_close(&opened.journal);
            fake_disk_free(fake);
        }
    }
    fake_disk_free(before);
}

Test(journal, a_full_disk_keeps_nothing_and_is_no_failure) {
    struct fake_disk *const fake = journal_of(2);
    struct opened opened = open_journal(fake);
    struct problem problem = {0};
    uint8_t bytes[PAYLOAD_SIZE];
    fake->capacity = fake_disk_content(fake, JOURNAL_NAME)->size + 100;
    cr_expect_eq(journal_append(&opened.journal, JOURNAL_PROMISE, payload_of(bytes, 2), &problem),
                 JOURNAL_FULL);
    fake->capacity += 1000;
    cr_expect_eq(journal_append(&opened.journal, JOURNAL_PROMISE, payload_of(bytes, 2), &problem),
                 JOURNAL_OK);
    cr_expect_eq(journal_sync(&opened.journal, &problem), 0);
    journal_close(&opened.journal);
    opened = open_journal(fake);
    cr_expect(opened.seen.count == 3 && !opened.seen.wrong);
    journal_close(&opened.journal);
    fake_disk_free(fake);
}

Test(journal, a_failed_sync_is_fatal) {
    struct fake_disk *const fake = journal_of(2);
    struct opened opened = open_journal(fake);
    struct problem problem = {0};
    uint8_t bytes[PAYLOAD_SIZE];
    cr_assert_eq(journal_append(&opened.journal, JOURNAL_PROMISE, payload_of(bytes, 2), &problem),
                 JOURNAL_OK);
    fake->fail_at[FAKE_SYNC] = fake->calls[FAKE_SYNC] + 1;
    fake->fail_with[FAKE_SYNC] = -EIO;
    cr_expect_eq(journal_sync(&opened.journal, &problem), -1);
    cr_expect_eq(problem.code, EXIT_ERROR);
    journal_close(&opened.journal);
    fake_disk_free(fake);
}
