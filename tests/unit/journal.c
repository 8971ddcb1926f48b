/*
 * journal: what a replica promised comes back after any crash, a torn last record is cut, damage
 * anywhere else is found and changes nothing, and the file stays small. Its records decode
 * strictly.
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdlib.h>

#include "ledger/codec_journal.h"
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

struct seen {
    uint64_t first;
    uint64_t count;
    bool wrong;
};

static void see(void *context, struct span payload) {
    struct seen *const seen = context;
    uint8_t expected[PAYLOAD_SIZE];
    uint64_t const n = payload.size < 8 ? UINT64_MAX : load_u64_be(payload.data);
    if (seen->count == 0) {
        seen->first = n;
    }
    seen->wrong |= n != seen->first + seen->count || !span_equal(payload, payload_of(expected, n));
    seen->count++;
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
    uint8_t bytes[PAYLOAD_SIZE];
    for (uint64_t n = 0; n < count; n++) {
        cr_assert_eq(journal_append(&opened.journal, payload_of(bytes, n), &problem), JOURNAL_OK);
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
        cr_assert_eq(journal_append(&opened.journal, last, &problem), JOURNAL_OK);
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
        cr_assert_eq(journal_append(&opened.journal, payload_of(bytes, next), &problem),
                     JOURNAL_OK);
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

/* The power goes at every single step of a rewrite: the old journal is there, or the new one. */
Test(journal, a_rewrite_survives_any_crash) {
    struct fake_disk *const before = fake_disk_new();
    struct problem problem = {0};
    uint8_t bytes[PAYLOAD_SIZE];
    uint64_t count = 0;
    cr_assert_eq(journal_create(&before->disk, &owner, &problem), 0);
    struct opened opened = open_journal(before);
    while (opened.journal.size <= JOURNAL_SIZE_SOFT_MAX) {
        cr_assert_eq(journal_append(&opened.journal, payload_of(bytes, count), &problem),
                     JOURNAL_OK);
        count++;
    }
    /* Durable, but not yet rewritten. */
    cr_assert_eq(before->disk.sync(before->disk.context, opened.journal.file), 0);
    journal_close(&opened.journal);
    for (unsigned off_at = 1; off_at < 9; off_at++) {
        for (unsigned names_kept = 0; names_kept < 3; names_kept++) {
            struct fake_disk *const fake = fake_disk_clone(before);
            opened = open_journal(fake);
            cr_assert_eq(opened.result, JOURNAL_OK);
            fake->power_off_at = fake->changes + off_at;
            if (journal_append(&opened.journal, payload_of(bytes, count), &problem) == JOURNAL_OK) {
                (void)!journal_sync(&opened.journal, &problem);
            }
            journal_close(&opened.journal);
            fake_disk_crash(fake, &(struct fake_crash){.names_kept = names_kept});
            opened = open_journal(fake);
            cr_assert_eq(opened.result, JOURNAL_OK, "%u %u: %s", off_at, names_kept,
                         opened.problem.text);
            cr_expect(!opened.seen.wrong && opened.seen.count >= JOURNAL_RECORDS_KEPT);
            cr_expect_geq(opened.seen.first + opened.seen.count, count);
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
    cr_expect_eq(journal_append(&opened.journal, payload_of(bytes, 2), &problem), JOURNAL_FULL);
    fake->capacity += 1000;
    cr_expect_eq(journal_append(&opened.journal, payload_of(bytes, 2), &problem), JOURNAL_OK);
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
    cr_assert_eq(journal_append(&opened.journal, payload_of(bytes, 2), &problem), JOURNAL_OK);
    fake->fail_at[FAKE_SYNC] = fake->calls[FAKE_SYNC] + 1;
    fake->fail_with[FAKE_SYNC] = -EIO;
    cr_expect_eq(journal_sync(&opened.journal, &problem), -1);
    cr_expect_eq(problem.code, EXIT_ERROR);
    journal_close(&opened.journal);
    fake_disk_free(fake);
}

/* ---- its records ---- */

static struct journal_record sample(void) {
    static struct signature signatures[2];
    static struct digest hashes[2];
    memset(signatures, 0x11, sizeof signatures);
    memset(hashes, 0x22, sizeof hashes);
    return (struct journal_record){.config = 1,
                                   .view = 2,
                                   .seq = 30,
                                   .ledger_seq = 33,
                                   .ledger_entries = 400,
                                   .pre_prepare_digest = {{9}},
                                   .signers = 0x6,
                                   .signature_count = 2,
                                   .signatures = signatures,
                                   .nonce_hashes = hashes};
}

Test(journal, record_round_trip) {
    struct journal_record const in = sample();
    struct journal_record out;
    struct buffer bytes;
    struct arena arena;
    buffer_init(&bytes, JOURNAL_RECORD_SIZE_MAX);
    arena_init(&arena, 1 << 20);
    cr_assert(journal_record_encode(&bytes, &in));
    cr_assert_eq(journal_record_decode(&out, &arena, buffer_span(&bytes)), CODEC_OK);
    cr_expect(out.config == 1 && out.view == 2 && out.seq == 30 && out.ledger_seq == 33 &&
              out.ledger_entries == 400 && out.signers == 0x6 && out.signature_count == 2);
    cr_expect(digest_equal(&out.pre_prepare_digest, &in.pre_prepare_digest));
    cr_expect_arr_eq(out.signatures, in.signatures, 2 * sizeof *in.signatures);
    cr_expect_arr_eq(out.nonce_hashes, in.nonce_hashes, 2 * sizeof *in.nonce_hashes);
    /* Cut after its fifth field it is a whole record without certificate, anywhere else none. */
    for (size_t size = 0; size < bytes.size; size++) {
        struct span const cut = span_of(bytes.data, size);
        bool const decodes = journal_record_decode(&out, &arena, cut) == CODEC_OK;
        cr_expect(!decodes || (out.signers == 0 && out.signature_count == 0), "cut to %zu", size);
        arena_reset(&arena);
    }
    arena_free(&arena);
    buffer_free(&bytes);
}

Test(journal, record_counts_must_match_its_signers) {
    struct journal_record wrong = sample();
    struct journal_record out;
    struct buffer bytes;
    struct arena arena;
    buffer_init(&bytes, JOURNAL_RECORD_SIZE_MAX);
    arena_init(&arena, 1 << 20);
    wrong.signers = 0x7;
    cr_assert(journal_record_encode(&bytes, &wrong));
    cr_expect_eq(journal_record_decode(&out, &arena, buffer_span(&bytes)), CODEC_MISMATCH);
    buffer_clear(&bytes);
    wrong = sample();
    wrong.seq = 0;
    cr_assert(journal_record_encode(&bytes, &wrong));
    cr_expect_eq(journal_record_decode(&out, &arena, buffer_span(&bytes)), CODEC_RANGE);
    arena_free(&arena);
    buffer_free(&bytes);
}
