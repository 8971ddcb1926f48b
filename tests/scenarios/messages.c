/*
 * messages: protocol messages that come early, late, twice or never (protocol §5).
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/sim/meddler.h"

static struct cluster *begin(struct meddler *meddler, uint64_t seed) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = seed});
    meddler_attach(meddler, c);
    cluster_run_ms(c, 10);
    return c;
}

static void put_some(struct cluster *c, unsigned count) {
    char call[64];
    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(call, sizeof call, "kv.put k%u v", i);
        cluster_submit(c, call);
        cluster_run_ms(c, 4);
    }
}

static void end(struct cluster *c) {
    cluster_run_until_done(c, 5000);
    cluster_run_until_level(c, 5000);
    cluster_end(c);
}

Test(messages, prepares_and_commits_before_the_pre_prepare) {
    struct meddler m;
    struct cluster *const c = begin(&m, 1);
    meddle(&m, &(struct meddler_rule){MEDDLING_HOLD, 0, 3, MESSAGE_PRE_PREPARE, ALWAYS, NULL, 0});
    put_some(c, 3);
    cluster_run_ms(c, 30);
    cr_assert(cluster_committed(c, 0) >= 3);
    cr_assert(cluster_status(c, 3).executed_seq == 0);
    meddler_release(&m);
    cluster_run_ms(c, 10);
    cr_assert(cluster_committed(c, 3) >= 3);
    end(c);
}

Test(messages, the_second_pre_prepare_before_the_first) {
    struct meddler m;
    struct cluster *const c = begin(&m, 2);
    meddle(&m, &(struct meddler_rule){MEDDLING_HOLD, 0, ANYBODY, MESSAGE_PRE_PREPARE, 3, NULL, 0});
    put_some(c, 3);
    cluster_run_ms(c, 30);
    for (uint32_t node = 1; node < 4; node++) {
        cr_assert(cluster_status(c, node).executed_seq == 0);
    }
    meddler_release(&m);
    cluster_run_ms(c, 20);
    cr_assert(cluster_committed(c, 3) >= 3);
    end(c);
}

Test(messages, everything_comes_twice) {
    static const enum message_kind kinds[] = {MESSAGE_PRE_PREPARE, MESSAGE_PREPARE, MESSAGE_COMMIT,
                                              MESSAGE_STATUS};
    struct meddler m;
    struct cluster *const c = begin(&m, 3);
    for (unsigned i = 0; i < 4; i++) {
        meddle(&m, &(struct meddler_rule){MEDDLING_REPEAT, ANYBODY, ANYBODY, kinds[i], ALWAYS, NULL,
                                          0});
    }
    put_some(c, 10);
    cluster_run_until_done(c, 100);
    for (uint32_t node = 0; node < 4; node++) {
        cr_assert(c->nodes[node].evidence_count == 0 && c->nodes[node].notes[NOTE_CONFLICT] == 0);
    }
    end(c);
}

/* Each kind of message lost once, to each of the others, with one replica down: all are needed. */
Test(messages, each_kind_lost_once_is_said_again) {
    static const enum message_kind kinds[] = {MESSAGE_PRE_PREPARE, MESSAGE_PREPARE, MESSAGE_COMMIT};
    for (uint32_t from = 0; from < 3; from++) {
        for (uint32_t to = 0; to < 3; to++) {
            for (unsigned kind = 0; kind < 3 && from != to; kind++) {
                struct meddler m;
                struct cluster *const c = begin(&m, 4);
                cluster_crash(c, 3);
                const struct meddler_rule *const rule = meddle(
                    &m, &(struct meddler_rule){MEDDLING_DROP, from, to, kinds[kind], 1, NULL, 0});
                cluster_submit(c, "kv.put a 1");
                cluster_run_until_done(c, 3000);
                bool const is_sent =
                    from == 0 ? kinds[kind] != MESSAGE_PREPARE : kinds[kind] != MESSAGE_PRE_PREPARE;
                cr_assert(rule->applied == (is_sent ? 1 : 0));
                cluster_run_until_level(c, 3000);
                cluster_start(c, 3);
                end(c);
            }
        }
    }
}

/*
 * Without the primary's nonce there is no certificate, however many others have come; only the
 * evidence in the ledger tells a little later that the primary had revealed it.
 */
Test(messages, without_the_primarys_commit_nothing_commits) {
    struct meddler m;
    struct cluster *const c = begin(&m, 9);
    meddle(&m, &(struct meddler_rule){MEDDLING_DROP, 0, ANYBODY, MESSAGE_COMMIT, ALWAYS, NULL, 0});
    cluster_submit(c, "kv.put a 1");
    cluster_run_ms(c, 20);
    for (uint32_t node = 0; node < 4; node++) {
        cr_assert(cluster_committed(c, node) == (node == 0 ? 1 : 0));
        cr_assert(cluster_status(c, node).executed_seq == 1);
    }
    cluster_run_ms(c, 100);
    cr_assert(cluster_committed(c, 3) == 1);
    meddler_release(&m);
    end(c);
}

/* A backup that never hears of a batch from the primary gets it with the ledger. */
Test(messages, pre_prepares_that_never_come) {
    struct meddler m;
    struct cluster *const c = begin(&m, 5);
    meddle(&m, &(struct meddler_rule){MEDDLING_DROP, 0, 3, MESSAGE_PRE_PREPARE, ALWAYS, NULL, 0});
    put_some(c, 20);
    cluster_run_until_done(c, 1000);
    cluster_run_ms(c, 6000);
    cr_assert(cluster_committed(c, 3) + 1 >= cluster_committed(c, 0));
    meddler_release(&m);
    end(c);
}

Test(messages, a_missing_request_is_fetched_from_the_primary) {
    struct meddler m;
    struct cluster *const c = begin(&m, 6);
    const char *const call = "kv.put a 1";
    uint32_t const request =
        cluster_prepare_order(c, 0, &(struct order){.call_count = 1, .calls = &call});
    cluster_send_request(c, request, 0);
    cluster_run_ms(c, 500);
    for (uint32_t node = 0; node < 4; node++) {
        cr_assert(cluster_committed(c, node) >= 1);
    }
    cr_assert(c->nodes[0].sent[MESSAGE_REQUESTS] == 3);
    cluster_send_request(c, request, 1);
    cluster_send_request(c, request, 2);
    end(c);
}

/* The client is gone, the primary has written the batch down and started again. */
Test(messages, a_missing_request_is_fetched_from_a_primary_that_restarted) {
    struct meddler m;
    struct cluster *const c = begin(&m, 7);
    const char *const call = "kv.put a 1";
    uint32_t const request =
        cluster_prepare_order(c, 0, &(struct order){.call_count = 1, .calls = &call});
    c->requests[request].abandoned = true;
    meddle(&m, &(struct meddler_rule){MEDDLING_DROP, 0, ANYBODY, MESSAGE_PRE_PREPARE, 3, NULL, 0});
    cluster_send_request(c, request, 0);
    cluster_run_ms(c, 10);
    for (uint32_t node = 0; node < 4; node++) {
        cluster_stop(c, node); /* after a crash it would have to give up its view */
    }
    cluster_run_ms(c, 10);
    for (uint32_t node = 0; node < 4; node++) {
        cluster_start(c, node);
    }
    cr_assert(cluster_status(c, 0).executed_seq == 1);
    cluster_run_ms(c, 3000);
    for (uint32_t node = 0; node < 4; node++) {
        cr_assert(cluster_committed(c, node) >= 1);
    }
    end(c);
}

/* More requests than one message may name are missing at once. */
Test(messages, hundreds_of_missing_requests_are_fetched) {
    struct meddler m;
    const char *const call = "kv.put a 1";
    struct cluster *const c = cluster_new(
        &(struct cluster_options){.seed = 8, .batch_calls_max = 1000, .pool_requests_max = 2000});
    meddler_attach(&m, c);
    cluster_run_ms(c, 300);
    meddle(&m,
           &(struct meddler_rule){MEDDLING_HOLD, 0, ANYBODY, MESSAGE_PRE_PREPARE, ALWAYS, NULL, 0});
    for (uint32_t i = 0; i < 900; i++) {
        uint32_t const request =
            cluster_prepare_order(c, i % 3, &(struct order){.call_count = 1, .calls = &call});
        c->requests[request].abandoned = true;
        cluster_send_request(c, request, 0);
    }
    cluster_run_ms(c, 50);
    meddler_release(&m);
    cluster_run_ms(c, 700);
    for (uint32_t node = 0; node < 4; node++) {
        cr_assert(cluster_status(c, node).committed_index >= 900);
    }
    end(c);
}
