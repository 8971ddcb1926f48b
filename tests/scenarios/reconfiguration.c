/*
 * reconfiguration: members change what they are governed by, under load (protocol §9).
 */
#include <criterion/criterion.h>

#include "tests/scenarios/reform.h"

TestSuite(reconfiguration, .timeout = 120);

/* ---- stories ---- */

Test(reconfiguration, a_vote_that_passes_makes_a_configuration) {
    struct cluster *const c = reform_cluster(1, 4, 0);
    reform_load(c, 10);
    struct action const add = charter_named(c->charter, ACTION_ADD_USER, "dave", 7000);
    uint32_t const vote = reform_change(c, 1, &add);
    cluster_run_until_done(c, 20000);
    cr_assert_eq(strncmp(cluster_reply_text(c, vote), "passed 2 ", 9), 0);
    reform_run_until_in(c, 2, 5000);
    reform_load(c, 40);
    cluster_run_until_done(c, 20000);
    cluster_run_until_level(c, 5000);
    cluster_end(c);
}

/* An action that adds a spare, as member 0's replica. */
static struct action newcomer(struct cluster *c, uint32_t node) {
    return charter_replica(c->charter, NULL, "bank-a", CLUSTER_SPARE_NUMBER + node);
}

static void expect_position(struct cluster *c, uint32_t node, uint64_t config, bool is_in) {
    cr_assert_eq(cluster_position(c, config, node) != REPLICAS_MAX, is_in);
}

/* Newcomers follow from genesis, and vote in their first configuration. */
Test(reconfiguration, four_become_five_six_and_seven) {
    struct cluster *const c = reform_cluster(2, 4, 3);
    reform_load(c, 10);
    for (uint32_t node = 4; node < 7; node++) {
        struct action const add = newcomer(c, node);
        reform_change(c, 1, &add);
        reform_load(c, 10);
        cluster_run_until_done(c, 20000);
        reform_run_until_in(c, node - 2, 10000);
        expect_position(c, node, node - 2, true);
        expect_position(c, node, node - 3, false);
    }
    reform_load(c, 30);
    cluster_run_until_done(c, 20000);
    cluster_run_until_level(c, 10000);
    cluster_end(c);
}

/* A dead replica is replaced; the service needs the new one when another goes. */
Test(reconfiguration, a_dead_replica_is_replaced) {
    struct cluster *const c = reform_cluster(3, 4, 1);
    reform_load(c, 10);
    cluster_crash(c, 3);
    struct action const replace =
        charter_replica(c->charter, &c->keys[3].signing.key, "bank-d", CLUSTER_SPARE_NUMBER + 4);
    reform_change(c, 1, &replace);
    cluster_run_until_done(c, 30000);
    reform_run_until_in(c, 2, 10000);
    cluster_crash(c, 2);
    reform_load(c, 10);
    cluster_run_until_done(c, 60000);
    cluster_start(c, 2);
    reform_load(c, 10);
    cluster_run_until_done(c, 60000);
    reform_run_until_in(c, 2, 10000);
    c->nodes[3].left_out = true;
    cluster_run_until_level(c, 10000);
    cluster_end(c);
}

/* One that is removed learns how its last configuration ended, and says nothing more. */
Test(reconfiguration, a_removed_replica_stops_cleanly) {
    struct cluster *const c = reform_cluster(4, 5, 0);
    reform_load(c, 10);
    struct action const remove = charter_replica_gone(&c->keys[4].signing.key);
    reform_change(c, 1, &remove);
    reform_load(c, 30);
    cluster_run_until_done(c, 20000);
    reform_run_until_in(c, 2, 10000);
    expect_position(c, 4, 2, false);
    cluster_end(c);
}

/* Everybody is killed at some moment of the change, and comes back. */
Test(reconfiguration, power_fails_in_the_middle) {
    for (uint32_t ms = 0; ms < 30; ms++) {
        struct cluster *const c = reform_cluster(100 + ms, 4, 1);
        reform_load(c, 5);
        struct action const add = newcomer(c, 4);
        reform_change(c, 1, &add);
        cluster_run_ms(c, ms);
        for (uint32_t i = 0; i < 5; i++) {
            cluster_crash(c, i);
        }
        for (uint32_t i = 0; i < 5; i++) {
            cluster_start(c, i);
        }
        reform_load(c, 5);
        cluster_run_until_done(c, 60000);
        reform_run_until_in(c, 2, 20000);
        cluster_run_until_level(c, 20000);
        cluster_end(c);
    }
}

/* The primary is cut off at some moment of the change: the end is proposed again in a new view. */
Test(reconfiguration, the_primary_goes_in_the_middle) {
    for (uint32_t ms = 0; ms < 30; ms++) {
        struct cluster *const c = reform_cluster(200 + ms, 4, 0);
        reform_load(c, 5);
        struct action const add = charter_named(c->charter, ACTION_ADD_USER, "dave", 7000);
        reform_change(c, 1, &add);
        cluster_run_ms(c, ms / 2);
        cluster_isolate(c, ms % 4, true);
        reform_load(c, 5);
        cluster_run_ms(c, 3000);
        cluster_isolate(c, ms % 4, false);
        cluster_run_until_done(c, 60000);
        reform_run_until_in(c, 2, 20000);
        cluster_run_until_level(c, 20000);
        cluster_end(c);
    }
}
