/*
 * disk_thread: what is reported as durable is so, a record of the journal comes after the ledger
 * that it speaks of and waits for no more than that, and a tail is replaced as a whole or not.
 */
#include <criterion/criterion.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/disk.h"
#include "node/disk_thread.h"
#include "tests/unit/segment_fixture.h"

#define OLD_END 20u /* entries of the ledger to begin with */

/* A disk's thread with a loop, and a disk for each of its files. */
struct rig {
    uv_loop_t loop;
    uv_timer_t timer;
    struct fake_disk *ledger_disk;
    struct fake_disk *journal_disk;
    struct segment_writer ledger;
    struct journal journal;
    struct disk_thread *thread;
    uint64_t durable;
    uint64_t wanted;
};

static const struct journal_owner owner = {.service = {{7}}, .replica = 3};

static enum journal_role count_record(void *context, struct span payload) {
    (void)payload;
    ++*(unsigned *)context;
    return JOURNAL_PROMISE;
}

static void on_durable(void *context, uint64_t position) {
    struct rig *const rig = context;
    cr_assert_gt(position, rig->durable, "reports ascend");
    rig->durable = position;
    if (position >= rig->wanted) {
        uv_stop(&rig->loop);
    }
}

static void on_timer(uv_timer_t *timer) {
    uv_stop(timer->loop);
}

static struct rig *rig_start(bool with_journal) {
    struct rig *const rig = calloc(1, sizeof *rig);
    struct problem problem = {0};
    unsigned records = 0;
    uint64_t torn = 0;
    cr_assert_not_null(rig);
    rig->ledger_disk = ledger_of(OLD_END);
    rig->journal_disk = fake_disk_new();
    must_open(&rig->ledger, rig->ledger_disk);
    cr_assert_eq(journal_create(&rig->journal_disk->disk, &owner, &problem), 0);
    cr_assert_eq(journal_open(&rig->journal, &torn, &rig->journal_disk->disk, &owner, count_record,
                              &records, &problem),
                 JOURNAL_OK);
    cr_assert_eq(uv_loop_init(&rig->loop), 0);
    cr_assert_eq(uv_timer_init(&rig->loop, &rig->timer), 0);
    struct disk_thread_options const options = {.loop = &rig->loop,
                                                .ledger = &rig->ledger,
                                                .journal = with_journal ? &rig->journal : NULL,
                                                .on_durable = on_durable,
                                                .context = rig};
    rig->thread = disk_thread_start(&options, &problem);
    cr_assert_not_null(rig->thread);
    return rig;
}

/* Run the loop until this position is durable, or for a while. */
static void rig_run(struct rig *rig, uint64_t wanted, unsigned timeout_ms) {
    rig->wanted = wanted;
    disk_thread_flush(rig->thread);
    cr_assert_eq(uv_timer_start(&rig->timer, on_timer, timeout_ms, 0), 0);
    if (rig->durable < wanted) {
        (void)uv_run(&rig->loop, UV_RUN_DEFAULT);
    }
}

/* End the thread; what its files hold is left to look at. */
static void rig_stop(struct rig *rig) {
    disk_thread_stop(rig->thread);
    uv_close((uv_handle_t *)&rig->timer, NULL);
    (void)uv_run(&rig->loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&rig->loop), 0);
    segment_writer_close(&rig->ledger);
    journal_close(&rig->journal);
}

static void rig_free(struct rig *rig) {
    cr_assert_eq(rig->ledger_disk->handles, 0u);
    cr_assert_eq(rig->journal_disk->handles, 0u);
    fake_disk_free(rig->ledger_disk);
    fake_disk_free(rig->journal_disk);
    free(rig);
}

static void append(struct rig *rig, uint64_t position, uint64_t index, unsigned variant) {
    struct entry const entry = entry_of(index, variant);
    cr_assert(disk_thread_append(rig->thread, position, &entry, true));
}

static void record(struct rig *rig, uint64_t position) {
    uint8_t const bytes[40] = {1};
    cr_assert(
        disk_thread_journal(rig->thread, position, JOURNAL_PROMISE, span_of(bytes, sizeof bytes)));
}

static unsigned records_on_disk(struct rig *rig) {
    struct journal journal;
    struct problem problem = {0};
    unsigned records = 0;
    uint64_t torn = 0;
    fake_disk_crash(rig->journal_disk, &(struct fake_crash){0});
    cr_assert_eq(journal_open(&journal, &torn, &rig->journal_disk->disk, &owner, count_record,
                              &records, &problem),
                 JOURNAL_OK);
    journal_close(&journal);
    return records;
}

/* Entries [0, cut) of the old ledger, and those up to `end` of the new one; durable. */
static void expect_ledger(struct rig *rig, uint64_t cut, uint64_t end) {
    struct segment_reader reader;
    struct segment_record entry;
    struct problem problem = {0};
    fake_disk_crash(rig->ledger_disk, &(struct fake_crash){0});
    must_open(&rig->ledger, rig->ledger_disk);
    segment_reader_init(&reader, &rig->ledger_disk->disk, &service, false);
    for (uint64_t i = 0; i < end; i++) {
        cr_assert_eq(segment_reader_next(&reader, &entry, &problem), 1, "%s", problem.text);
        expect_entry(&entry, i, i >= cut ? 1 : 0);
    }
    cr_assert_eq(segment_reader_next(&reader, &entry, &problem), 0);
    segment_reader_free(&reader);
    segment_writer_close(&rig->ledger);
}

Test(disk_thread, what_is_reported_is_durable) {
    struct rig *const rig = rig_start(true);
    uint64_t position = 0;
    for (uint64_t i = OLD_END; i < OLD_END + 60; i++) {
        append(rig, ++position, i, 1);
        record(rig, ++position);
        if (i % 7 == 0) {
            rig_run(rig, position, 10000);
            cr_assert_eq(rig->durable, position);
        }
    }
    rig_run(rig, position, 10000);
    cr_expect_eq(rig->durable, position);
    cr_expect_eq(disk_thread_backlog(rig->thread), 0u);
    cr_expect_eq(disk_thread_ledger_version(rig->thread), 0u);
    rig_stop(rig);
    expect_ledger(rig, OLD_END, OLD_END + 60);
    cr_expect_eq(records_on_disk(rig), 60u);
    rig_free(rig);
}

/* The ledger's disk is full: records that came before do not wait for it, those after it do. */
Test(disk_thread, a_record_waits_for_its_ledger_alone) {
    struct rig *const rig = rig_start(true);
    rig->ledger_disk->capacity = 0;
    record(rig, 1);
    append(rig, 2, OLD_END, 1);
    record(rig, 3);
    rig_run(rig, 3, 300);
    cr_expect_eq(rig->durable, 1u);
    cr_expect(disk_thread_is_full(rig->thread));
    rig_stop(rig);
    expect_ledger(rig, OLD_END, OLD_END);
    cr_expect_eq(records_on_disk(rig), 1u);
    rig_free(rig);
}

/* A new tail may be what a record before it promises: the record is durable first. */
Test(disk_thread, a_tail_waits_for_the_records_before_it) {
    struct rig *const rig = rig_start(true);
    rig->journal_disk->capacity = 0;
    append(rig, 1, OLD_END, 0);
    record(rig, 2);
    cr_assert(disk_thread_replace(rig->thread, 3, 9, 4));
    append(rig, 4, 9, 1);
    rig_run(rig, 4, 300);
    cr_expect_eq(rig->durable, 1u);
    cr_expect_eq(disk_thread_ledger_version(rig->thread), 0u);
    rig_stop(rig);
    expect_ledger(rig, ENTRIES_MAX, OLD_END + 1);
    cr_expect_eq(records_on_disk(rig), 0u);
    rig_free(rig);
}

Test(disk_thread, a_missing_journal_holds_nothing_up) {
    struct rig *const rig = rig_start(false);
    record(rig, 1);
    append(rig, 2, OLD_END, 1);
    record(rig, 3);
    rig_run(rig, 3, 10000);
    cr_expect_eq(rig->durable, 3u);
    rig_stop(rig);
    expect_ledger(rig, OLD_END, OLD_END + 1);
    rig_free(rig);
}

Test(disk_thread, a_tail_is_replaced_as_a_whole) {
    struct rig *const rig = rig_start(true);
    append(rig, 1, OLD_END, 0);
    record(rig, 2);
    cr_assert(disk_thread_replace(rig->thread, 3, 9, 12));
    for (uint64_t i = 9; i < 17; i++) {
        append(rig, i - 5, i, 1);
    }
    /* All but its last entry are there: it must not begin, nor what was queued before hurry. */
    rig_run(rig, 2, 200);
    cr_expect_lt(rig->durable, 3u);
    cr_expect_eq(disk_thread_ledger_version(rig->thread), 0u);
    append(rig, 12, 17, 1);
    append(rig, 13, 18, 1);
    record(rig, 14);
    rig_run(rig, 14, 10000);
    cr_expect_eq(rig->durable, 14u);
    cr_expect_eq(disk_thread_ledger_version(rig->thread), 2u);
    /* And again, by nothing. */
    cr_assert(disk_thread_replace(rig->thread, 15, 15, 15));
    rig_run(rig, 15, 10000);
    cr_expect_eq(rig->durable, 15u);
    cr_expect_eq(disk_thread_ledger_version(rig->thread), 4u);
    rig_stop(rig);
    expect_ledger(rig, 9, 15);
    cr_expect_eq(records_on_disk(rig), 2u);
    rig_free(rig);
}

/* The process ends before all of a new tail was queued: what came before it counts, it does not. */
Test(disk_thread, half_a_tail_is_none) {
    struct rig *const rig = rig_start(true);
    append(rig, 1, OLD_END, 1);
    cr_assert(disk_thread_replace(rig->thread, 2, 9, 5));
    append(rig, 3, 9, 1);
    append(rig, 4, 10, 1);
    rig_run(rig, 1, 100);
    rig_stop(rig);
    expect_ledger(rig, OLD_END, OLD_END + 1);
    rig_free(rig);
}

/* The disk is full in the middle, and the process ends: the next start finds one or the other. */
Test(disk_thread, a_full_disk_loses_no_tail, .timeout = 120) {
    for (uint64_t room = 0; room < 3000; room += 300) {
        struct rig *const rig = rig_start(true);
        uint64_t used = 0;
        const struct fake_names *const names = &rig->ledger_disk->history[0];
        for (unsigned i = 0; i < names->count; i++) {
            used += fake_disk_content(rig->ledger_disk, names->names[i].text)->size;
        }
        rig->ledger_disk->capacity = used + room;
        cr_assert(disk_thread_replace(rig->thread, 1, 9, 14));
        for (uint64_t i = 9; i < 22; i++) {
            append(rig, i - 7, i, 1);
        }
        rig_run(rig, 14, 100);
        bool const done = rig->durable == 14;
        cr_assert(done || rig->durable == 0);
        cr_assert(done || disk_thread_is_full(rig->thread));
        bool const decided = done || fake_disk_content(rig->ledger_disk, SEGMENT_TAIL_NAME) != NULL;
        rig_stop(rig);
        expect_ledger(rig, decided ? 9 : OLD_END, decided ? 22 : OLD_END);
        rig_free(rig);
    }
}

/* ---- readers on other threads ---- */

/* Entries that stay, and those that each round puts behind them, which tell the round. */
#define TAIL_CUT 40u
#define TAIL_SIZE 60u
#define ROUNDS 60u
#define ROUND_ENTRY_SIZE_MAX 30000u /* a tail is more than a reader asks for at a time */

struct watch {
    struct host_disk host;
    struct disk_thread *thread;
    atomic_bool over;
    unsigned whole; /* times that all of a tail was read */
    unsigned mixed; /* times that a version that stood had lied */
    struct problem problem;
};

static struct entry round_entry(uint8_t bytes[static ROUND_ENTRY_SIZE_MAX], uint64_t round,
                                uint64_t index) {
    memset(bytes, (int)(index & 0xff), ROUND_ENTRY_SIZE_MAX);
    store_u64_be(bytes, index < TAIL_CUT ? 0 : round);
    return (struct entry){.kind = ENTRY_REQUEST,
                          .payload = span_of(bytes, ROUND_ENTRY_SIZE_MAX - index % 600)};
}

/* Read all there is. Returns: whether it is the ledger of one round, or broke off. */
static bool read_round(struct watch *watch, uint64_t *end, struct problem *problem) {
    struct segment_reader reader;
    struct segment_record record;
    uint64_t round = 0;
    bool same = true;
    *end = 0;
    segment_reader_init(&reader, &watch->host.disk, &service, true);
    while (segment_reader_next(&reader, &record, problem) == 1) {
        uint8_t bytes[ROUND_ENTRY_SIZE_MAX];
        if (*end == TAIL_CUT) {
            round = load_u64_be(record.payload.data);
        }
        same = same && span_equal(record.payload, round_entry(bytes, round, *end).payload);
        *end += 1;
    }
    segment_reader_free(&reader);
    return same;
}

static void watch_main(void *argument) {
    struct watch *const watch = argument;
    while (!atomic_load(&watch->over)) {
        struct problem problem = {0};
        uint64_t end = 0;
        uint64_t const version = disk_thread_ledger_version(watch->thread);
        bool const same = read_round(watch, &end, &problem);
        if (version % 2 == 1 || disk_thread_ledger_version(watch->thread) != version) {
            continue; /* whatever was read does not count */
        }
        watch->mixed += !same || problem.code != EXIT_OK;
        watch->whole += end == TAIL_CUT + TAIL_SIZE;
        if (problem.code != EXIT_OK) {
            watch->problem = problem;
        }
    }
}

static void put_round(struct disk_thread *thread, uint64_t *position, uint64_t round) {
    uint8_t bytes[ROUND_ENTRY_SIZE_MAX];
    if (round > 0) {
        *position += 1;
        cr_assert(
            disk_thread_replace(thread, *position, TAIL_CUT, *position + (uint64_t)TAIL_SIZE));
    }
    for (uint64_t i = round == 0 ? 0 : TAIL_CUT; i < TAIL_CUT + TAIL_SIZE; i++) {
        struct entry const entry = round_entry(bytes, round, i);
        *position += 1;
        cr_assert(disk_thread_append(thread, *position, &entry, true));
    }
}

/* Readers of a real directory never take bytes of two tails for those of one. */
Test(disk_thread, readers_know_when_the_tail_was_replaced, .timeout = 120) {
    const char *const base = getenv("TMPDIR");
    char place[256];
    static struct watch watch;
    static struct rig rig;
    static struct host_disk host;
    struct segment_torn_tail torn;
    struct problem problem = {0};
    uv_thread_t reader;
    uint64_t position = 0;
    (void)snprintf(place, sizeof place, "%s/onus-disk-XXXXXX", base == NULL ? "/tmp" : base);
    cr_assert_not_null(mkdtemp(place));
    cr_assert_eq(host_disk_open(&host, place, HOST_DISK_WRITE, &problem), 0, "%s", problem.text);
    cr_assert_eq(host_disk_open(&watch.host, place, HOST_DISK_READ, &problem), 0);
    struct segment_writer_options const writer = {.service = service, .size_soft_max = 8000};
    cr_assert_eq(segment_writer_open(&rig.ledger, &torn, &host.disk, &writer, &problem),
                 SEGMENT_OK);
    cr_assert_eq(uv_loop_init(&rig.loop), 0);
    cr_assert_eq(uv_timer_init(&rig.loop, &rig.timer), 0);
    struct disk_thread_options const options = {
        .loop = &rig.loop, .ledger = &rig.ledger, .on_durable = on_durable, .context = &rig};
    rig.thread = disk_thread_start(&options, &problem);
    cr_assert_not_null(rig.thread);
    watch.thread = rig.thread;
    cr_assert_eq(uv_thread_create(&reader, watch_main, &watch), 0);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        put_round(rig.thread, &position, round);
        rig_run(&rig, position, 20000);
        cr_assert_eq(rig.durable, position);
        uv_sleep((unsigned)(round % 3)); /* now and then there is time for a whole look */
    }
    atomic_store(&watch.over, true);
    cr_assert_eq(uv_thread_join(&reader), 0);
    cr_expect_eq(watch.mixed, 0u, "%s", watch.problem.text);
    cr_expect_gt(watch.whole, 0u);
    cr_expect_eq(disk_thread_ledger_version(rig.thread), 2u * (ROUNDS - 1u));
    disk_thread_stop(rig.thread);
    uv_close((uv_handle_t *)&rig.timer, NULL);
    (void)uv_run(&rig.loop, UV_RUN_DEFAULT);
    segment_writer_close(&rig.ledger);
    host_disk_close(&watch.host);
    host_disk_close(&host);
    char command[300];
    (void)snprintf(command, sizeof command, "rm -r '%s'", place);
    cr_expect_eq(system(command), 0);
}
