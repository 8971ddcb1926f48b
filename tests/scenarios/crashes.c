/*
 * crashes: replicas that lose their memory, and what they had not made durable, at any moment
 * (protocol §5, "Durable before a nonce"). That nobody signs two things, and that nothing that was
 * told is lost, the cluster's judge holds after every step.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/sim/meddler.h"

static void put_one(struct cluster *c, unsigned number) {
    char call[64];
    (void)snprintf(call, sizeof call, "kv.put k%u v%u", number % 5, number);
    cluster_submit(c, call);
}

static void put_some(struct cluster *c, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        put_one(c, i);
        cluster_run_ms(c, 5);
    }
}

static void end(struct cluster *c) {
    cluster_submit(c, "kv.put last 1");
    cluster_run_until_done(c, 20000);
    cluster_run_until_level(c, 20000);
    cluster_end(c);
}

/* The node crashes after so many microseconds of work, again and again. */
static void crash_again_and_again(uint32_t node, bool everybody) {
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct cluster *const c = cluster_new(&(struct cluster_options){.seed = seed});
        for (unsigned i = 0; i < 40; i++) {
            put_one(c, i);
            put_one(c, i + 1);
            cluster_run_ms(c, prng_below(&c->prng, 9));
            for (uint32_t other = 0; other < 4; other++) {
                if (everybody || other == node) {
                    cluster_crash(c, other);
                }
            }
            cluster_run_ms(c, prng_below(&c->prng, 30));
            for (uint32_t other = 0; other < 4; other++) {
                cluster_start(c, other);
            }
        }
        end(c);
    }
}

Test(crashes, of_a_backup) {
    crash_again_and_again(2, false);
}

Test(crashes, of_the_primary) {
    crash_again_and_again(0, false);
}

Test(crashes, of_all_at_once) {
    crash_again_and_again(0, true);
}

/* What was written and not synced is gone; it was never said, so it can be said otherwise. */
Test(crashes, between_append_and_sync) {
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct cluster *const c = cluster_new(&(struct cluster_options){.seed = seed});
        put_some(c, 5);
        c->sync_us_min = 40000;
        c->sync_us_max = 60000;
        put_some(c, 4);
        for (uint32_t node = 0; node < 4; node++) {
            cr_assert(c->nodes[node].disk.op_count > 0 || node != 0);
            cluster_crash(c, node);
        }
        c->sync_us_min = 200;
        c->sync_us_max = 1500;
        for (uint32_t node = 0; node < 4; node++) {
            cluster_start(c, node);
        }
        end(c);
    }
}

/* One disk is far behind the others: its replica says nothing before it is durable there too. */
Test(crashes, of_one_whose_disk_is_slow) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 3});
    put_some(c, 5);
    for (unsigned round = 0; round < 10; round++) {
        c->sync_us_min = 80000;
        c->sync_us_max = 300000;
        put_some(c, 1);
        c->sync_us_min = 200;
        c->sync_us_max = 1500;
        put_some(c, 6);
        cluster_crash(c, round % 4);
        cluster_run_ms(c, 20);
        cluster_start(c, round % 4);
        cluster_run_ms(c, 300);
    }
    end(c);
}

Test(crashes, three_of_four_go_on) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 4});
    cluster_crash(c, 1);
    put_some(c, 30);
    cluster_run_until_done(c, 500);
    cluster_start(c, 1);
    end(c);
}

Test(crashes, two_of_four_commit_nothing_until_a_third_is_back) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 5});
    put_some(c, 3);
    cluster_run_until_done(c, 500);
    cluster_run_ms(c, 100);
    cluster_crash(c, 1);
    cluster_crash(c, 2);
    uint64_t const committed = cluster_committed(c, 0);
    put_some(c, 20);
    cluster_run_ms(c, 20000);
    cr_assert(cluster_committed(c, 0) == committed && cluster_committed(c, 3) == committed);
    cr_assert(cluster_status(c, 0).executed_seq <= committed + 4);
    cluster_start(c, 1);
    cluster_run_until_done(c, 5000);
    cluster_start(c, 2);
    end(c);
}

/* The primary alone has the last batches; nobody asks any more for what is in them. */
Test(crashes, of_everybody_when_the_primary_is_ahead) {
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct meddler m;
        struct cluster *const c = cluster_new(&(struct cluster_options){.seed = seed});
        put_some(c, 3);
        cluster_run_until_done(c, 500);
        meddler_attach(&m, c);
        meddle(&m, &(struct meddler_rule){MEDDLING_DROP, 0, ANYBODY, MESSAGE_PRE_PREPARE, ALWAYS,
                                          NULL, 0});
        put_some(c, 6);
        for (uint32_t i = 0; i < c->request_count; i++) {
            c->requests[i].abandoned = true;
        }
        for (uint32_t node = 0; node < 4; node++) {
            cluster_crash(c, node);
        }
        meddler_release(&m);
        for (uint32_t node = 0; node < 4; node++) {
            cluster_start(c, node);
        }
        cr_assert(cluster_status(c, 0).executed_seq > cluster_status(c, 1).executed_seq);
        cluster_run_until_level(c, 3000);
        end(c);
    }
}

/* Checkpoints that take longer than it takes to reach the batch that must carry them. */
Test(crashes, while_checkpoints_are_written) {
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct cluster *const c = cluster_new(&(struct cluster_options){.seed = seed});
        c->checkpoint_us = 40000;
        for (unsigned i = 0; i < 60; i++) {
            put_one(c, i);
            cluster_run_ms(c, 4);
            if (i % 7 == 6) {
                cluster_crash(c, i % 4);
                cluster_start(c, i % 4);
            }
        }
        end(c);
    }
}

/* The state is lost, the ledger is not: all of it is replayed, checkpoints and all. */
Test(crashes, the_state_is_rebuilt_from_the_ledger) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 6});
    for (unsigned i = 0; i < 60; i++) {
        put_one(c, i);
        cluster_run_ms(c, 12);
    }
    cluster_run_until_done(c, 500);
    cr_assert(c->nodes[2].disk.store.seq >= 36);
    cluster_crash(c, 2);
    c->nodes[2].disk.store.present = false;
    c->nodes[2].disk.store.row_count = 0;
    cluster_start(c, 2);
    cr_assert(cluster_status(c, 2).executed_seq >= 60 && c->nodes[2].disk.store.seq >= 36);
    end(c);
}

/* Clients' receipts survive: asked again after all lost power, the same answer comes back. */
Test(crashes, receipts_are_given_out_again) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 7});
    put_some(c, 12);
    cluster_run_until_done(c, 500);
    for (uint32_t node = 0; node < 4; node++) {
        cluster_crash(c, node);
    }
    for (uint32_t node = 0; node < 4; node++) {
        cluster_start(c, node);
    }
    cluster_run_ms(c, 2000);
    for (uint32_t i = 0; i < c->request_count; i++) {
        uint64_t const before = c->requests[i].receipts;
        cluster_query_receipt(c, i, i % 4);
        cluster_run_ms(c, 10);
        cr_assert(c->requests[i].receipts == before + 1, "request %u", i);
    }
    end(c);
}
