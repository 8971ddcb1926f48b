/*
 * segment_crash: the ledger's files over a disk that loses, tears, fails and runs full, and once
 * over a real one. What was synced is always readable and byte-identical.
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/disk.h"
#include "tests/unit/segment_fixture.h"

/* ---- a disk that fails ---- */

Test(segment_crash, a_failed_sync_is_final) {
    struct fake_disk *const fake = fake_disk_new();
    static struct segment_writer writer;
    struct problem problem = {0};
    must_open(&writer, fake);
    must_append(&writer, 3, 0);
    cr_assert_eq(segment_writer_sync(&writer, &problem), SEGMENT_OK);
    must_append(&writer, 5, 0);
    fake->fail_at[FAKE_SYNC] = fake->calls[FAKE_SYNC] + 1;
    fake->fail_with[FAKE_SYNC] = -EIO;
    cr_assert_eq(segment_writer_sync(&writer, &problem), SEGMENT_FAILED);
    cr_expect_eq(problem.code, EXIT_ERROR);
    cr_expect_not_null(strstr(problem.text, "-open.seg: syncing"), "%s", problem.text);
    unsigned const changes = fake->changes;
    unsigned const syncs = fake->calls[FAKE_SYNC];
    struct entry const entry = entry_of(5, 0);
    for (unsigned i = 0; i < 3; i++) {
        struct problem again = {0};
        cr_expect_eq(segment_writer_sync(&writer, &again), SEGMENT_FAILED);
        cr_expect_str_eq(again.text, problem.text);
        struct problem append = {0};
        cr_expect_eq(segment_writer_append(&writer, &entry, 1, true, &append), SEGMENT_FAILED);
        struct problem truncate = {0};
        cr_expect_eq(segment_writer_truncate(&writer, 1, &truncate), SEGMENT_FAILED);
    }
    cr_expect_eq(fake->changes, changes, "nothing is written after a failed sync");
    cr_expect_eq(fake->calls[FAKE_SYNC], syncs, "a sync is never tried again");
    segment_writer_close(&writer);
    fake_disk_free(fake);
}

Test(segment_crash, a_full_disk_leaves_whole_records, .timeout = 120) {
    for (uint64_t capacity = 0; capacity < 2500; capacity += 3) {
        struct fake_disk *const fake = fake_disk_new();
        fake->capacity = capacity;
        static struct segment_writer writer;
        struct problem problem = {0};
        must_open(&writer, fake);
        enum segment_result const result = append_upto(&writer, 60, 0, &problem);
        cr_assert_eq(result, SEGMENT_FULL, "%s", problem.text);
        cr_assert_eq(problem.code, EXIT_OK);
        uint64_t const next = segment_writer_next_index(&writer);
        cr_assert_eq(next % 4, 0u, "a call is kept whole or not at all");
        expect_whole(fake, next);
        cr_assert_eq(append_upto(&writer, 60, 0, &problem), SEGMENT_FULL);
        cr_assert_eq(segment_writer_sync(&writer, &problem), SEGMENT_OK);
        fake->capacity = UINT64_MAX;
        must_append(&writer, 60, 0);
        segment_writer_close(&writer);
        cr_assert_eq(fake->handles, 0u);
        expect_whole(fake, 60);
        fake_disk_free(fake);
    }
}

Test(segment_crash, every_failing_call_is_reported, .timeout = 120) {
    for (unsigned call = 0; call < FAKE_LINK; call++) { /* which no writer makes */
        for (unsigned nth = 1;; nth++) {
            struct fake_disk *const fake = ledger_of(10);
            memset(fake->calls, 0, sizeof fake->calls);
            fake->fail_at[call] = nth;
            fake->fail_with[call] = -EIO;
            static struct segment_writer writer;
            struct segment_torn_tail torn;
            struct problem problem = {0};
            enum segment_result result = open_writer(&writer, fake, &torn, true, &problem);
            if (result == SEGMENT_OK) {
                result = append_upto(&writer, 40, 0, &problem);
            }
            if (result == SEGMENT_OK) {
                result = segment_writer_truncate(&writer, 9, &problem);
            }
            segment_writer_close(&writer);
            cr_assert_eq(fake->handles, 0u);
            bool const hit = fake->calls[call] >= nth;
            bool const retried = call == FAKE_LIST; /* a list is simply made again */
            cr_assert(!hit || retried || (result == SEGMENT_FAILED && problem.code == EXIT_ERROR),
                      "call %u number %u: %s", call, nth, problem.text);
            fake_disk_free(fake);
            if (!hit) {
                cr_assert_gt(nth, 1u);
                break;
            }
        }
    }
}

/* ---- crashes ---- */

/* What a writer was told is durable when the power went. */
struct history {
    uint64_t durable; /* entries */
    unsigned variant; /* of the entries from `changed` on */
    uint64_t changed;
};

#define CHANGED_AT 11u

/* Batches, syncs, a truncation over closed files, another history from there. */
static void scenario(struct fake_disk *fake, struct history *history) {
    static struct segment_writer writer;
    struct segment_torn_tail torn;
    struct problem problem = {0};
    *history = (struct history){.changed = UINT64_MAX};
    bool going = open_writer(&writer, fake, &torn, true, &problem) == SEGMENT_OK;
    for (uint64_t end = 4; going && end <= 28; end += 4) {
        going = append_upto(&writer, end, 0, &problem) == SEGMENT_OK;
        if (going && end % 8 == 0) {
            going = segment_writer_sync(&writer, &problem) == SEGMENT_OK;
            history->durable = going ? end : history->durable;
        }
    }
    if (going) {
        history->durable = CHANGED_AT; /* more may be left if the power goes now */
        going = segment_writer_truncate(&writer, CHANGED_AT, &problem) == SEGMENT_OK;
    }
    if (going) {
        history->changed = CHANGED_AT;
        history->variant = 1;
        going = append_upto(&writer, 21, 1, &problem) == SEGMENT_OK &&
                segment_writer_sync(&writer, &problem) == SEGMENT_OK;
        history->durable = going ? 21 : history->durable;
    }
    if (going) {
        (void)append_upto(&writer, 30, 1, &problem);
    }
    segment_writer_close(&writer);
}

static void expect_recovered(struct fake_disk *fake, const struct history *history) {
    static struct segment_writer writer;
    must_open(&writer, fake);
    uint64_t const end = segment_writer_next_index(&writer);
    cr_assert_geq(end, history->durable, "what was synced is there");
    struct segment_reader reader;
    struct segment_record record;
    struct problem problem = {0};
    segment_reader_init(&reader, &fake->disk, &service, false);
    for (uint64_t i = 0; i < end; i++) {
        cr_assert_eq(segment_reader_next(&reader, &record, &problem), 1, "%s", problem.text);
        expect_entry(&record, i, i >= history->changed ? history->variant : 0);
    }
    cr_assert_eq(segment_reader_next(&reader, &record, &problem), 0, "%s", problem.text);
    segment_reader_free(&reader);
    must_append(&writer, end + 9, 2);
    cr_assert_eq(segment_writer_sync(&writer, &problem), SEGMENT_OK);
    segment_writer_close(&writer);
    fake_disk_crash(fake, &(struct fake_crash){0});
    segment_reader_init(&reader, &fake->disk, &service, false);
    for (uint64_t i = end; i < end + 9; i++) {
        cr_assert_eq(segment_reader_seek(&reader, i, &problem), 1, "%s", problem.text);
        cr_assert_eq(segment_reader_next(&reader, &record, &problem), 1, "%s", problem.text);
        expect_entry(&record, i, 2);
    }
    segment_reader_free(&reader);
}

Test(segment_crash, whatever_was_synced_survives_any_crash, .timeout = 120) {
    static const uint64_t kept[] = {0, 1, 15, 16, 17, 63, 90, 200, 311, UINT64_MAX};
    static const unsigned names[] = {0, 1, 2, FAKE_PENDING_MAX};
    bool finished = false;
    for (unsigned power = 1; !finished; power++) {
        for (size_t k = 0; k < sizeof kept / sizeof kept[0]; k++) {
            for (size_t n = 0; n < 2 * sizeof names / sizeof names[0]; n++) {
                struct fake_disk *const fake = fake_disk_new();
                fake->power_off_at = power;
                struct history history;
                scenario(fake, &history);
                finished = !fake->off;
                fake_disk_crash(fake, &(struct fake_crash){.unsynced_kept = kept[k],
                                                           .names_kept = names[n / 2],
                                                           .rest_zeroed = n % 2 == 1});
                expect_recovered(fake, &history);
                fake_disk_free(fake);
            }
        }
        cr_assert_lt(power, 500u);
    }
}

/* ---- a real disk ---- */

Test(segment_crash, on_a_real_disk) {
    const char *const base = getenv("TMPDIR");
    char place[256];
    (void)snprintf(place, sizeof place, "%s/onus-segment-XXXXXX", base == NULL ? "/tmp" : base);
    cr_assert_not_null(mkdtemp(place));
    char path[300];
    (void)snprintf(path, sizeof path, "%s/ledger", place);
    struct host_disk host;
    struct host_disk second;
    struct problem problem = {0};
    cr_assert_eq(host_disk_open(&host, path, HOST_DISK_WRITE, &problem), 0, "%s", problem.text);
    struct problem busy = {0};
    cr_expect_eq(host_disk_open(&second, path, HOST_DISK_WRITE, &busy), -1);
    cr_expect_not_null(strstr(busy.text, "another process"));

    static struct segment_writer writer;
    struct segment_torn_tail torn;
    struct segment_writer_options const options = {.service = service, .size_soft_max = 600};
    cr_assert_eq(segment_writer_open(&writer, &torn, &host.disk, &options, &problem), SEGMENT_OK);
    must_append(&writer, 40, 0);
    cr_assert_eq(segment_writer_truncate(&writer, 7, &problem), SEGMENT_OK, "%s", problem.text);
    must_append(&writer, 60, 0);
    cr_assert_eq(segment_writer_sync(&writer, &problem), SEGMENT_OK);
    segment_writer_close(&writer);

    cr_assert_eq(host_disk_open(&second, path, HOST_DISK_READ, &problem), 0);
    struct segment_reader reader;
    struct segment_record record;
    segment_reader_init(&reader, &second.disk, &service, false);
    for (uint64_t i = 0; i < 60; i++) {
        cr_assert_eq(segment_reader_next(&reader, &record, &problem), 1, "%s", problem.text);
        expect_entry(&record, i, 0);
    }
    cr_expect_eq(segment_reader_next(&reader, &record, &problem), 0);
    char file[400];
    (void)snprintf(file, sizeof file, "%s/%s", path, record.file_name);
    struct stat status;
    cr_assert_eq(stat(file, &status), 0);
    cr_expect_eq(status.st_mode & 0777, 0600u);
    segment_reader_free(&reader);

    cr_expect_eq(second.disk.open(&second, "x", DISK_CREATE), -EROFS);
    cr_expect_eq(second.disk.remove(&second, "x"), -EROFS);
    cr_expect_eq(host.disk.open(&host, "../x", DISK_CREATE), -EINVAL);
    cr_expect_eq(host.disk.open(&host, "..", DISK_READ), -EINVAL);
    cr_expect_eq(host.disk.rename(&host, "a", "b/c"), -EINVAL);
    cr_expect_eq(host.disk.open(&host, "absent", DISK_READ), -ENOENT);
    (void)snprintf(file, sizeof file, "%s/pipe", path);
    cr_assert_eq(mkfifo(file, 0600), 0);
    cr_expect_lt(host.disk.open(&host, "pipe", DISK_READ), 0);
    (void)snprintf(file, sizeof file, "%s/link", path);
    cr_assert_eq(symlink("/etc/hostname", file), 0);
    cr_expect_eq(host.disk.open(&host, "link", DISK_READ), -ELOOP);
    host_disk_close(&second);
    host_disk_close(&host);
    (void)snprintf(file, sizeof file, "rm -r '%s'", place);
    cr_expect_eq(system(file), 0);
}
