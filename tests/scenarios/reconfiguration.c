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

/* ---- from few to many and back ---- */

/* What happens to the service while votes are under way, and for some seconds after. */
static void trouble(struct cluster *c, uint32_t step) {
    uint64_t const view = c->highest_view;
    uint32_t const primary = cluster_primary(c, cluster_config_of(view), cluster_view_of(view));
    if (step % 3 == 0) {
        cluster_isolate(c, primary, true); /* a change of view in the middle */
    } else if (step % 3 == 1) {
        cluster_crash(c, primary);
    } else { /* power fails */
        for (uint32_t i = 0; i < c->node_count; i++) {
            cluster_crash(c, i);
        }
        for (uint32_t i = 0; i < c->node_count; i++) {
            cluster_start(c, i);
        }
    }
    reform_load(c, 5);
    cluster_run_ms(c, 3000);
    cluster_heal(c);
    cluster_start(c, primary);
}

static void change_in_trouble(struct cluster *c, uint32_t count, const struct action *actions) {
    uint32_t const step = (uint32_t)c->charter->now.number;
    reform_load(c, 10);
    reform_change(c, count, actions);
    trouble(c, step);
    cluster_run_until_done(c, 60000);
    reform_run_until_in(c, step + 1, 20000);
    reform_load(c, 10);
    cluster_run_until_done(c, 60000);
}

/* In the end none of those who founded it is in it any more. */
Test(reconfiguration, from_four_to_thirteen_and_back) {
    static const uint32_t up[] = {6, 7, 9, 11, 13};
    static const uint32_t down[] = {9, 7, 5, 4};
    struct cluster *const c = reform_cluster(5, 4, 9);
    uint32_t in = 4;
    uint32_t out = 0;
    for (uint32_t i = 0; i < sizeof up / sizeof up[0]; i++) {
        struct action actions[2];
        uint32_t count = 0;
        while (in < up[i]) {
            actions[count++] = newcomer(c, in++);
        }
        change_in_trouble(c, count, actions);
    }
    cr_assert_eq(c->charter->now.replica_count, 13);
    for (uint32_t i = 0; i < sizeof down / sizeof down[0]; i++) {
        struct action actions[4];
        uint32_t count = 0;
        while (in - out > down[i]) {
            actions[count++] = charter_replica_gone(&c->keys[out++].signing.key);
        }
        change_in_trouble(c, count, actions);
    }
    cr_assert_eq(c->charter->now.replica_count, 4);
    for (uint32_t node = 0; node < 13; node++) {
        expect_position(c, node, c->charter->now.number, node >= 9);
        c->nodes[node].left_out = node < 9;
    }
    cluster_run_until_level(c, 20000);
    cluster_end(c);
}

/* ---- what was in memory only ---- */

/* Nobody proposes anything in the second configuration that others hear of. */
static bool no_proposals(void *context, struct cluster *cluster, const struct frame *frame) {
    const bool *const blocked = context;
    bool const proposes = frame->kind == MESSAGE_PRE_PREPARE || frame->kind == MESSAGE_RANGE;
    return !*blocked || !proposes || cluster_status(cluster, frame->from_node).config != 2;
}

/*
 * All have entered the next configuration, change its view, and nobody hears of its first batch.
 * Then power fails: who has the evidence for how the one before ended, of which no ledger speaks?
 */
Test(reconfiguration, the_end_is_voted_for_once_more) {
    struct cluster *const c = reform_cluster(6, 4, 0);
    bool blocked = true;
    reform_load(c, 10);
    c->filter = no_proposals;
    c->filter_context = &blocked;
    struct action const add = charter_named(c->charter, ACTION_ADD_USER, "dave", 7000);
    reform_change(c, 1, &add);
    reform_run_until_in(c, 2, 5000);
    reform_load(c, 5);
    cluster_run_ms(c, 20000);
    cr_assert_eq(cluster_config_of(c->highest_view), 2);
    cr_assert_geq(cluster_view_of(c->highest_view), 2);
    uint32_t const primary = cluster_primary(c, 2, cluster_view_of(c->highest_view));
    for (uint32_t i = 0; i < 4; i++) {
        cluster_crash(c, i);
    }
    blocked = false;
    for (uint32_t i = 0; i < 4; i++) {
        if (i != primary) { /* which had proposed that batch, and has it in its ledger */
            cluster_start(c, i);
        }
    }
    cluster_run_until_done(c, 60000);
    cluster_start(c, primary);
    reform_load(c, 5);
    cluster_run_until_done(c, 60000);
    reform_run_until_in(c, 2, 20000);
    cluster_run_until_level(c, 20000);
    cluster_end(c);
}
