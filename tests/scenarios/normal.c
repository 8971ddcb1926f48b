/*
 * normal: what happens when nothing goes wrong (protocol §5).
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/sim/cluster.h"

Test(normal, four_replicas_commit_and_the_client_gets_its_receipt) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 1});
    uint32_t const put = cluster_submit(c, "kv.put fruit apple");
    cluster_run_until_done(c, 50);
    uint32_t const get = cluster_submit(c, "kv.get fruit");
    cluster_run_until_done(c, 50);
    cr_assert(c->requests[put].seq == 1 && c->requests[put].first_index == 1);
    cr_assert(c->requests[get].first_index == 2);
    cr_assert_str_eq(cluster_reply_text(c, get), "apple");
    cluster_run_until_level(c, 500);
    cluster_end(c);
}

Test(normal, five_six_and_seven_replicas_commit) {
    for (uint32_t count = 5; count <= 7; count++) {
        struct cluster *const c =
            cluster_new(&(struct cluster_options){.seed = count, .replica_count = count});
        for (uint32_t i = 0; i < 10; i++) {
            cluster_submit(c, "bank.create_account alice 100 100");
            cluster_run_ms(c, 3);
        }
        cluster_run_until_done(c, 200);
        cluster_run_until_level(c, 500);
        cluster_end(c);
    }
}

/* Requests queue while the pipeline is full: 300 of them must not take 300 batches. */
Test(normal, batches_grow_under_load) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 2});
    char call[64];
    for (unsigned i = 0; i < 300; i++) {
        (void)snprintf(call, sizeof call, "kv.put key%u %u", i % 7, i);
        cluster_submit(c, call);
    }
    cluster_run_until_done(c, 2000);
    cr_assert(cluster_committed(c, 0) < 30, "%llu batches",
              (unsigned long long)cluster_committed(c, 0));
    cr_assert(cluster_status(c, 0).next_index == 301);
    cluster_run_until_level(c, 500);
    cluster_end(c);
}

/* With slow disks the primary goes on proposing, but never beyond the pipeline's depth. */
Test(normal, the_pipeline_is_filled_and_never_overrun) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 3, .pipeline = 3});
    uint64_t deepest = 0;
    c->sync_us_min = 20000;
    c->sync_us_max = 30000;
    for (unsigned i = 0; i < 400; i++) {
        cluster_submit(c, "kv.put a 1");
        cluster_run_ms(c, 1);
        struct replica_status const status = cluster_status(c, 0);
        uint64_t const depth = status.executed_seq - status.committed_seq;
        deepest = depth > deepest ? depth : deepest;
    }
    cr_assert(deepest == 3);
    cluster_run_until_done(c, 5000);
    cluster_run_until_level(c, 500);
    cluster_end(c);
}

/* One empty batch carries the evidence for the last transactions; then nothing more is written. */
Test(normal, an_idle_primary_writes_one_batch_of_evidence_and_is_quiet) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 4});
    cluster_submit(c, "kv.put a 1");
    cluster_run_until_done(c, 50);
    cluster_run_ms(c, 500);
    cr_assert(cluster_committed(c, 0) == 2);
    uint64_t const entries = cluster_status(c, 3).entries;
    cr_assert(entries == 5); /* genesis, pre-prepare, request, evidence, pre-prepare */
    cluster_run_ms(c, 20000);
    cr_assert(cluster_status(c, 3).entries == entries);
    cluster_end(c);
}

Test(normal, a_request_sent_twice_is_executed_once_and_answered_twice) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 5, .no_retries = true});
    uint32_t const put = cluster_submit(c, "kv.put a 1");
    for (uint32_t node = 0; node < 4; node++) {
        cluster_send_request(c, put, node);
    }
    cluster_run_until_done(c, 50);
    uint64_t const answers = c->requests[put].receipts;
    cr_assert(cluster_status(c, 0).next_index == 2);

    /* Before its evidence is in the ledger the answer comes from memory... */
    for (uint32_t node = 0; node < 4; node++) {
        cluster_send_request(c, put, node);
    }
    cluster_run_ms(c, 5);
    /* ...and later from the ledger. */
    cluster_run_ms(c, 500);
    for (uint32_t node = 0; node < 4; node++) {
        cluster_send_request(c, put, node);
        cluster_query_receipt(c, put, node);
    }
    cluster_run_ms(c, 50);
    cr_assert(c->requests[put].receipts >= answers + 8);
    cr_assert(cluster_status(c, 0).next_index == 2);
    cluster_end(c);
}

Test(normal, a_receipt_that_nobody_knows_is_refused) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 6});
    const char *const call = "kv.put a 1";
    uint32_t const unsent =
        cluster_prepare_order(c, 0, &(struct order){.call_count = 1, .calls = &call});
    cluster_query_receipt(c, unsent, 2);
    cluster_run_ms(c, 20);
    cr_assert(c->requests[unsent].rejects == 1 && c->requests[unsent].reject == REJECT_UNKNOWN);
    cluster_end(c);
}

/* Each call of a request is a transaction with a receipt of its own; atomic ones stand together. */
Test(normal, many_calls_in_one_request) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 7});
    const char *const good[] = {"kv.put a 1", "kv.put b 2", "kv.get a"};
    const char *const half[] = {"kv.put a 9", "no.such.procedure", "kv.put b 9"};
    cluster_submit_order(c, 0,
                         &(struct order){.mode = REQUEST_ATOMIC, .call_count = 3, .calls = good});
    cluster_run_until_done(c, 50);
    cluster_submit_order(c, 1,
                         &(struct order){.mode = REQUEST_ATOMIC, .call_count = 3, .calls = half});
    cluster_run_until_done(c, 50);
    uint32_t const get = cluster_submit(c, "kv.get a");
    cluster_run_until_done(c, 50);
    cr_assert_str_eq(cluster_reply_text(c, get), "1");
    cr_assert(c->requests[get].first_index == 7);
    cluster_end(c);
}

/* Checkpoints every 12 batches: the state is written behind, and every node has the same. */
Test(normal, checkpoints_follow_one_another) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 8});
    for (uint32_t i = 0; i < 60; i++) {
        cluster_submit(c, "kv.put a 1");
        cluster_run_ms(c, 12);
    }
    cluster_run_until_done(c, 500);
    cluster_run_ms(c, 500);
    for (uint32_t node = 0; node < 4; node++) {
        cr_assert(c->nodes[node].disk.store.seq >= 36 && c->nodes[node].disk.store.seq % 12 == 0);
    }
    cluster_end(c);
}
