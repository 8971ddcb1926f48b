/*
 * recovery: what a replica may say after it has lost its memory, and what it must still be able to
 * show (protocol §5 "Durable before a nonce", §6 "On disk").
 */
#include "tests/scenarios/telling.h"

#define PIPELINE 4u

static void crash_all(struct cluster *c) {
    for (uint32_t node = 0; node < c->node_count; node++) {
        cluster_crash(c, node);
    }
}

static void start_all(struct cluster *c) {
    for (uint32_t node = 0; node < c->node_count; node++) {
        cluster_start(c, node);
    }
}

static void set_sync(struct cluster *c, uint64_t us_min, uint64_t us_max) {
    c->sync_us_min = us_min;
    c->sync_us_max = us_max;
}

static uint64_t durable_seq(const struct cluster *c, uint32_t node) {
    return entry_last_whole(&c->nodes[node].disk.durable);
}

/* Every receipt that a client holds is given out again, by any replica, and says the same. */
static void expect_receipts_again(struct cluster *c) {
    for (uint32_t i = 0; i < c->request_count; i++) {
        uint64_t const before = c->requests[i].receipts;
        cluster_query_receipt(c, i, i % c->node_count);
        cluster_run_ms(c, 5);
        cr_assert(c->requests[i].receipts > before, "request %u", i);
    }
}

/* ---- the power goes everywhere ---- */

/* Votes are out, and no disk knows of them: they are for places where nobody votes again. */
Test(recovery, all_lose_power_with_votes_sent_and_nothing_synced) {
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct meddler m;
        bool prepared[4][2 * PIPELINE];
        struct cluster *const c = begin(&m, seed);
        uint64_t const end_seq = cluster_committed(c, 0);
        set_sync(c, 40000, 60000);
        for (unsigned i = 0; i < 3; i++) {
            cluster_submit(c, "kv.put a 1");
            cluster_run_ms(c, 3);
        }
        crash_all(c);
        for (uint32_t node = 1; node < 4; node++) {
            cr_assert(cluster_has_prepared(c, node, 0, end_seq + 1));
            for (uint64_t i = 0; i < 2 * PIPELINE; i++) {
                prepared[node][i] = cluster_has_prepared(c, node, 0, end_seq + 1 + i);
            }
        }
        set_sync(c, 200, 1500);
        start_all(c);
        run_until_view(c, 2, 1, 1000); /* without waiting for anybody's patience to end */
        put_some(c, 10);
        cluster_run_until_done(c, 5000);
        for (uint32_t node = 1; node < 4; node++) {
            for (uint64_t i = 0; i < 2 * PIPELINE; i++) {
                cr_assert(cluster_has_prepared(c, node, 0, end_seq + 1 + i) == prepared[node][i]);
            }
        }
        end(&m);
    }
}

/* No replica knows that the batch committed, but its client does; all that is left are journals. */
Test(recovery, all_lose_power_and_only_a_client_knows_of_the_last_batch) {
    for (uint64_t seed = 20; seed < 26; seed++) {
        struct meddler m;
        struct cluster *const c = begin(&m, seed);
        uint64_t const seq = cluster_committed(c, 0) + 1;
        lose(&m, ANYBODY, ANYBODY, MESSAGE_COMMIT);
        uint32_t const request = cluster_submit(c, "kv.put a 1");
        cluster_run_until_done(c, 100);
        const struct batch_facts *const then = batch_at(c, 0, seq);
        for (uint32_t node = 0; node < 4; node++) {
            cr_assert(cluster_committed(c, node) < seq);
        }
        crash_all(c);
        meddler_release(&m);
        start_all(c);
        put_some(c, 3);
        cluster_run_until_done(c, 5000);
        cluster_run_until_level(c, 5000);
        for (uint32_t node = 0; node < 4; node++) {
            expect_taken_over(then, batch_at(c, node, seq));
        }
        cr_assert(c->requests[request].seq == seq);
        cluster_run_ms(c, 500);
        expect_receipts_again(c);
        end(&m);
    }
}

/* At one moment after the other, so that no order of writes, syncs and sends is left out. */
Test(recovery, all_lose_power_after_any_event) {
    for (uint64_t moment = 1; moment < 160; moment += 3) {
        struct meddler m;
        struct cluster *const c = begin_with(
            &m, &(struct cluster_options){.seed = 30 + moment % 2, .cheap_signatures = true});
        cluster_submit(c, "kv.put a 1");
        cluster_submit(c, "kv.put a 2");
        for (uint64_t i = 0; i < moment; i++) {
            cr_assert(cluster_run_one(c, c->now_us + 1000000));
        }
        crash_all(c);
        cluster_run_ms(c, 5);
        start_all(c);
        cluster_run_until_done(c, 10000);
        cluster_run_ms(c, 500);
        expect_receipts_again(c);
        end(&m);
    }
}

/* ---- one is gone for a moment ---- */

static void crashes_after_any_event(uint32_t node) {
    for (uint64_t moment = 1; moment < 120; moment += 2) {
        struct meddler m;
        struct cluster *const c = begin_with(
            &m, &(struct cluster_options){.seed = 40 + moment % 3, .cheap_signatures = true});
        c->nodes[node].disk.extra_us = moment % 3 == 0 ? 2000 : 0;
        cluster_submit(c, "kv.put a 1");
        cluster_submit(c, "kv.put a 2");
        for (uint64_t i = 0; i < moment; i++) {
            cr_assert(cluster_run_one(c, c->now_us + 1000000));
        }
        cluster_crash(c, node);
        cluster_run_ms(c, moment % 7);
        cluster_start(c, node);
        cluster_run_until_done(c, 10000);
        end(&m);
    }
}

Test(recovery, the_primary_crashes_after_any_event) {
    crashes_after_any_event(0);
}

Test(recovery, a_backup_crashes_after_any_event) {
    crashes_after_any_event(2);
}

Test(recovery, a_backup_that_crashed_is_silent_for_as_many_batches_as_it_may_have_forgotten) {
    struct meddler m;
    struct cluster *const c = begin(&m, 50);
    cluster_crash(c, 2);
    cluster_start(c, 2);
    uint64_t const end_seq = cluster_status(c, 2).executed_seq;
    put_some(c, 20);
    cluster_run_until_level(c, 500);
    uint64_t const last = cluster_status(c, 2).executed_seq;
    cr_assert(last > end_seq + 2 * PIPELINE);
    for (uint64_t seq = end_seq + 1; seq <= last; seq++) {
        cr_assert(cluster_has_prepared(c, 2, 0, seq) == (seq > end_seq + PIPELINE), "batch %llu",
                  (unsigned long long)seq);
    }
    expect_view(c, 0, 0);
    end(&m);
}

Test(recovery, a_primary_that_crashed_resigns_at_once) {
    struct meddler m;
    struct cluster *const c = begin(&m, 51);
    cluster_crash(c, 0);
    uint64_t const proposals = c->nodes[0].sent[MESSAGE_PRE_PREPARE];
    cluster_start(c, 0);
    cluster_submit(c, "kv.put a 1");
    cluster_run_until_done(c, 1000); /* half of the others' patience */
    expect_view(c, 1, 1);
    cr_assert(c->nodes[0].sent[MESSAGE_PRE_PREPARE] == proposals);
    end(&m);
}

/* What was signed is in the ledger, and the journal says so: nothing has been forgotten. */
Test(recovery, after_an_orderly_end_a_replica_votes_at_once) {
    struct meddler m;
    struct cluster *const c = begin(&m, 52);
    for (uint32_t node = 0; node < 4; node++) {
        put_some(c, 3);
        cluster_stop(c, node);
        cluster_run_ms(c, 20);
        cr_assert(!c->nodes[node].up);
        cluster_start(c, node);
        uint64_t const end_seq = cluster_status(c, node).executed_seq;
        cluster_run_ms(c, 300);
        put_some(c, 3);
        cluster_run_until_done(c, 1000);
        cr_assert(node == 0 || cluster_has_prepared(c, node, 0, end_seq + 1) ||
                  cluster_has_prepared(c, node, 0, end_seq + 2));
        expect_view(c, 0, 0);
    }
    end(&m);
}

Test(recovery, after_an_orderly_end_of_all_the_view_goes_on) {
    struct meddler m;
    struct cluster *const c = begin(&m, 53);
    put_some(c, 5);
    for (uint32_t node = 0; node < 4; node++) {
        cluster_stop(c, node);
    }
    cluster_run_ms(c, 50);
    for (uint32_t node = 0; node < 4; node++) {
        cr_assert(!c->nodes[node].up);
    }
    start_all(c);
    put_some(c, 5);
    cluster_run_until_done(c, 1000);
    expect_view(c, 0, 0);
    end(&m);
}

/* ---- what must be durable first ---- */

static bool has_nonce_record(const struct cluster *c, uint32_t node, uint64_t seq) {
    const struct journal_list *const journal = &c->nodes[node].disk.journal;
    for (uint64_t i = 0; i < journal->count; i++) {
        if (journal->items[i].kind == JOURNAL_NONCE && journal->items[i].seq == seq) {
            return true;
        }
    }
    return false;
}

/* The vote goes out at once, the nonce after one sync for the batch and one for the record. */
Test(recovery, a_nonce_waits_for_the_ledger_and_for_the_journal) {
    struct meddler m;
    struct cluster *const c = begin(&m, 60);
    uint64_t const seq = cluster_committed(c, 2) + 1;
    uint64_t const nonces = c->nodes[2].sent[MESSAGE_COMMIT];
    bool waited_for_ledger = false;
    bool waited_for_journal = false;
    c->nodes[2].disk.extra_us = 50000;
    meddle(&m, &(struct meddler_rule){MEDDLING_HOLD, ANYBODY, 2, MESSAGE_PREPARE, 2, NULL, 0});
    cluster_submit(c, "kv.put a 1");
    cluster_run_ms(c, 10); /* the first sync has begun when the batch is prepared */
    meddler_release(&m);
    while (c->nodes[2].sent[MESSAGE_COMMIT] == nonces) {
        bool const has_ledger = durable_seq(c, 2) >= seq;
        bool const has_record = has_nonce_record(c, 2, seq);
        cr_assert(!(has_ledger && has_record), "it could have left already");
        waited_for_ledger |= !has_ledger && cluster_has_prepared(c, 2, 0, seq);
        waited_for_journal |= has_ledger && !has_record;
        cr_assert(cluster_run_one(c, c->now_us + 1000000));
    }
    cr_assert(durable_seq(c, 2) >= seq && has_nonce_record(c, 2, seq));
    cr_assert(waited_for_ledger && waited_for_journal);
    end(&m);
}

/* A disk without space: nothing that binds for the next view leaves, and nothing for this one. */
Test(recovery, a_view_change_waits_for_its_record) {
    struct meddler m;
    struct cluster *const c = begin(&m, 61);
    lose_proposals_of(&m, 0);
    cluster_submit(c, "kv.put a 1");
    cluster_run_ms(c, 1900);
    c->nodes[2].disk.full_until_us = c->now_us + 2000000;
    run_until_asked(c, 2, 1, 500);
    cluster_run_ms(c, 1000);
    cr_assert(c->nodes[1].sent[MESSAGE_VIEW_CHANGE] > 0);
    cr_assert(c->nodes[2].sent[MESSAGE_VIEW_CHANGE] == 0);
    cluster_crash(c, 2);
    cluster_start(c, 2);
    c->nodes[2].disk.full_until_us = 0;
    cluster_run_until_done(c, 10000);
    end(&m);
}

/* ---- a crash in the middle of a change of view ---- */

static struct frame proposals[16];
static uint32_t proposal_count;

/* They come later. */
static bool keep_proposal(struct cluster *c, const struct frame *frame, struct buffer *out) {
    (void)out;
    if (proposal_count < 16) {
        proposals[proposal_count] = *frame;
        proposals[proposal_count++].payload = cluster_keep(c, frame->payload);
    }
    return true;
}

/* It has asked for view 1, and then the proposal of view 0 comes: too late, crash or no crash. */
Test(recovery, a_replica_that_asked_for_a_view_signs_nothing_below_it) {
    for (unsigned crashes = 0; crashes < 2; crashes++) {
        struct meddler m;
        struct cluster *const c = begin(&m, 70);
        uint64_t const seq = cluster_committed(c, 2) + 1;
        proposal_count = 0;
        watch(&m, 0, ANYBODY, MESSAGE_PRE_PREPARE, keep_proposal);
        lose(&m, ANYBODY, ANYBODY, MESSAGE_NEW_VIEW);
        cluster_submit(c, "kv.put a 1");
        run_until_asked(c, 2, 1, 4000);
        cluster_run_ms(c, 20);
        cr_assert(c->nodes[2].sent[MESSAGE_VIEW_CHANGE] > 0 && proposal_count >= 3);
        if (crashes == 1) {
            cluster_crash(c, 2);
            cluster_start(c, 2);
        }
        cr_assert(cluster_status(c, 2).asked_view == 1);
        for (uint32_t i = 0; i < proposal_count; i++) {
            cluster_forge(c, 0, proposals[i].to, MESSAGE_PRE_PREPARE, proposals[i].payload);
        }
        cluster_run_ms(c, 300);
        cr_assert(cluster_status(c, 2).executed_seq == seq); /* it follows */
        for (uint32_t node = 1; node < 4; node++) {
            cr_assert(!cluster_has_prepared(c, node, 0, seq));
        }
        end(&m);
    }
}

/* ---- a new tail for the ledger ---- */

/* What a run that crashed nowhere has seen of node 3's tail. */
struct tail_times {
    uint64_t written; /* events until it was on its way to the disk */
    uint64_t durable; /* and until it was there */
    uint64_t old_count;
    uint64_t new_count;
};

static bool tail_is_on_its_way(const struct cluster *c) {
    const struct sim_disk *const disk = &c->nodes[3].disk;
    for (uint32_t i = 0; i < disk->op_count; i++) {
        if (disk->ops[i].kind == DISK_TRUNCATE) {
            return true;
        }
    }
    return false;
}

/* Batches that were prepared nowhere end all ledgers; view 1 is about to cut them off. */
static struct cluster *begin_with_a_tail(struct meddler *m, uint64_t seed) {
    struct cluster *const c =
        begin_with(m, &(struct cluster_options){.seed = seed, .cheap_signatures = true});
    lose(m, ANYBODY, ANYBODY, MESSAGE_PREPARE);
    for (unsigned i = 0; i < 6; i++) {
        cluster_submit(c, "kv.put a 1");
        cluster_run_ms(c, 5);
    }
    run_until_asked(c, 3, 1, 4000);
    meddler_release(m);
    c->nodes[3].disk.extra_us = 3000;
    return c;
}

static void run_events(struct cluster *c, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        cr_assert(cluster_run_one(c, c->now_us + 1000000));
    }
}

static struct tail_times measure(uint64_t seed) {
    struct meddler m;
    struct tail_times times = {.written = 0};
    struct cluster *const c = begin_with_a_tail(&m, seed);
    while (!tail_is_on_its_way(c)) {
        run_events(c, 1);
        times.written++;
    }
    times.old_count = c->nodes[3].disk.durable.count;
    times.new_count = c->nodes[3].disk.live.count;
    times.durable = times.written;
    while (tail_is_on_its_way(c)) {
        run_events(c, 1);
        times.durable++;
    }
    cr_assert(entry_last_view(&c->nodes[3].disk.durable) == 1);
    end(&m);
    return times;
}

/* The crash comes after so many events. Then view 2 asks what node 3 ranks by. Returns: its view.
 */
static uint64_t crash_near_tail(uint64_t seed, uint64_t events, const struct tail_times *times) {
    struct meddler m;
    struct cluster *const c = begin_with_a_tail(&m, seed);
    run_events(c, events);
    cluster_crash(c, 3);
    const struct entry_list *const ledger = &c->nodes[3].disk.durable;
    uint64_t const view = entry_last_view(ledger);
    cr_assert(view == 0 ? ledger->count == times->old_count : ledger->count >= times->new_count,
              "%llu entries", (unsigned long long)ledger->count);
    c->nodes[3].disk.extra_us = 0;
    cluster_start(c, 3);
    cr_assert(cluster_status(c, 3).guard == GUARD_NONE);
    cr_assert(cluster_status(c, 3).view == view);
    cluster_crash(c, 1);
    cluster_submit(c, "kv.put a 2");
    cluster_run_until_done(c, 20000);
    cluster_start(c, 1);
    end(&m);
    return view;
}

Test(recovery, a_new_tail_is_there_or_not) {
    unsigned old_tails = 0;
    unsigned new_tails = 0;
    for (uint64_t seed = 80; seed < 84; seed++) {
        struct tail_times const times = measure(seed);
        uint64_t const first = times.written < 4 ? 0 : times.written - 4;
        for (uint64_t at = first; at < times.durable + 12; at++) {
            bool const has_new = crash_near_tail(seed, at, &times) == 1;
            cr_assert(!has_new || at >= times.written);
            cr_assert(has_new || at < times.durable);
            old_tails += at >= times.written && !has_new;
            new_tails += at < times.durable && has_new;
        }
    }
    cr_assert(old_tails > 0 && new_tails > 0); /* both were seen while it was on its way */
}
