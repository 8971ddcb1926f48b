/*
 * views: changes of view among correct replicas, on networks and with crashes that are not kind to
 * them (protocol §6). That what committed survives, the cluster's judge holds after every step.
 */
#include "tests/scenarios/telling.h"

/* ---- the primary is gone ---- */

Test(views, the_primary_dies_when_nothing_is_under_way) {
    struct meddler m;
    struct cluster *const c = begin(&m, 1);
    cluster_crash(c, 0);
    cluster_run_ms(c, 10000);
    expect_view(c, 1, 0); /* nobody waits for anything, so nobody misses it */
    put_some(c, 5);
    cluster_run_until_done(c, 4000);
    expect_view(c, 1, 1);
    cluster_start(c, 0);
    end(&m);
}

Test(views, the_primary_dies_under_load) {
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct meddler m;
        struct cluster *const c = begin(&m, seed);
        for (unsigned i = 0; i < 60; i++) {
            cluster_submit(c, "kv.put a 1");
            cluster_run_ms(c, 1);
            if (i == 30) {
                cluster_crash(c, 0);
            }
        }
        cluster_run_until_done(c, 5000);
        expect_view(c, 1, 1);
        cr_assert(cluster_status(c, 1).next_index == 64);
        cluster_start(c, 0);
        cluster_run_until_level(c, 5000);
        expect_view(c, 0, 1);
        end(&m);
    }
}

/* Each of them is waited for twice as long as the one before; and then all is forgiven. */
Test(views, three_primaries_are_dead) {
    struct meddler m;
    struct cluster *const c =
        begin_with(&m, &(struct cluster_options){.seed = 3, .replica_count = 10});
    uint64_t asked_us[5] = {0};
    cluster_crash(c, 0);
    cluster_crash(c, 1);
    cluster_crash(c, 2);
    asked_us[0] = c->now_us;
    cluster_submit(c, "kv.put a 1");
    for (uint64_t view = 1; view <= 3; view++) {
        run_until_asked(c, 9, view, 20000);
        asked_us[view] = c->now_us;
        uint64_t const waited_ms = (asked_us[view] - asked_us[view - 1]) / 1000;
        uint64_t const patience_ms = (uint64_t)VIEW_TIMEOUT_MS << (view - 1);
        cr_assert(waited_ms >= patience_ms && waited_ms < patience_ms + 1000, "%llu ms",
                  (unsigned long long)waited_ms);
    }
    cluster_run_until_done(c, 1000);
    expect_view(c, 3, 3);
    for (uint32_t node = 0; node < 3; node++) {
        cluster_start(c, node);
    }
    put_some(c, 3);
    cluster_run_until_level(c, 10000);
    cluster_run_ms(c, 1000);
    cluster_crash(c, 3);
    cluster_submit(c, "kv.put a 2");
    run_until_asked(c, 9, 4, VIEW_TIMEOUT_MS + 1000);
    cluster_run_until_done(c, 1000);
    cluster_start(c, 3);
    end(&m);
}

/* ---- suspicion ---- */

static bool says_that_it_suspects[CLUSTER_NODES_MAX];

static bool watch_suspicion(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct status_message status;
    (void)out;
    cr_assert(status_message_decode(&status, &c->arena, frame->payload) == CODEC_OK);
    says_that_it_suspects[frame->from] = status.suspects;
    return false;
}

/* A request that only these nodes have heard of, and that they cannot pass on to the primary. */
static void keep_from_primary(struct meddler *m, uint32_t request, uint32_t node) {
    lose(m, node, 0, MESSAGE_REQUESTS);
    cluster_send_request(m->cluster, request, node);
}

Test(views, one_that_suspects_changes_nothing_and_two_do) {
    static const char *const call = "kv.put a 1";
    struct meddler m;
    struct cluster *const c = begin(&m, 4);
    uint32_t const request =
        cluster_prepare_order(c, 0, &(struct order){.call_count = 1, .calls = &call});
    watch(&m, 3, ANYBODY, MESSAGE_STATUS, watch_suspicion);
    keep_from_primary(&m, request, 3);
    cluster_run_ms(c, 20000);
    cr_assert(says_that_it_suspects[3]);
    cr_assert(sent_of(c, MESSAGE_VIEW_CHANGE) == 0);
    expect_view(c, 0, 0);

    keep_from_primary(&m, request, 2);
    cluster_run_ms(c, VIEW_TIMEOUT_MS + 500);
    expect_view(c, 0, 1);
    cluster_send_request(c, request, 0);
    cluster_send_request(c, request, 1);
    cluster_run_until_done(c, 500);
    end(&m);
}

/* Requests wait with it, and it gets nothing done; but it sees that the others do. */
Test(views, one_that_is_cut_off_knows_that_others_get_on) {
    struct meddler m;
    struct cluster *const c = begin(&m, 5);
    watch(&m, 3, ANYBODY, MESSAGE_STATUS, watch_suspicion);
    lose(&m, ANYBODY, 3, MESSAGE_RANGE);
    cluster_cut(c, 0, 3, true);
    for (unsigned round = 0; round < 20; round++) {
        put_some(c, 10);
        cluster_run_ms(c, 300);
        cr_assert(!says_that_it_suspects[3]);
    }
    cr_assert(cluster_committed(c, 3) + 100 < cluster_committed(c, 1));
    cr_assert(sent_of(c, MESSAGE_VIEW_CHANGE) == 0);
    meddler_release(&m);
    put_some(c, 10);
    cluster_run_ms(c, 5000);
    cr_assert(cluster_committed(c, 3) + 12 >= cluster_committed(c, 1));
    end(&m);
}

/* What was executed is answered, and is nothing to wait for; what was not is waited for once. */
Test(views, requests_that_are_sent_again_move_no_timer) {
    struct meddler m;
    struct cluster *const c =
        begin_with(&m, &(struct cluster_options){.seed = 6, .no_retries = true});
    cluster_crash(c, 0);
    for (unsigned round = 0; round < 100; round++) {
        for (uint32_t node = 1; node < 4; node++) {
            cluster_send_request(c, round % 3, node);
        }
        cluster_run_ms(c, 100);
    }
    cr_assert(c->requests[0].receipts > 90);
    for (uint32_t node = 1; node < 4; node++) {
        cr_assert(cluster_status(c, node).asked_view == 0);
    }
    uint32_t const fresh = cluster_submit(c, "kv.put a 1");
    for (unsigned round = 0; round < (VIEW_TIMEOUT_MS + 500) / 100; round++) {
        for (uint32_t node = 1; node < 4; node++) {
            cluster_send_request(c, fresh, node);
        }
        cluster_run_ms(c, 100);
    }
    expect_view(c, 1, 1);
    cluster_run_until_done(c, 500);
    cluster_start(c, 0);
    end(&m);
}

/* ---- the client that the primary does not hear ---- */

/* Others' requests keep coming, some hundred a second. */
static void serve_others(struct cluster *c, unsigned count) {
    static const char *const call = "kv.put b 2";
    for (unsigned i = 0; i < count; i++) {
        cluster_submit_order(c, 1 + i % 2, &(struct order){.call_count = 1, .calls = &call});
        cluster_run_ms(c, 10);
    }
}

static struct cluster *begin_deaf(struct meddler *m, uint64_t seed, uint32_t *victim) {
    static const char *const call = "kv.put a 1";
    struct cluster *const c =
        begin_with(m, &(struct cluster_options){.seed = seed, .cheap_signatures = true});
    c->nodes[0].deaf_to = 1;
    *victim = cluster_submit_order(c, 0, &(struct order){.call_count = 1, .calls = &call});
    return c;
}

Test(views, a_client_that_the_primary_cannot_hear_is_passed_on) {
    struct meddler m;
    uint32_t victim = 0;
    struct cluster *const c = begin_deaf(&m, 7, &victim);
    serve_others(c, 350); /* it is passed on after a second; the client asks every second */
    cr_assert(cluster_is_done(c, victim));
    serve_others(c, 450);
    cluster_run_until_done(c, 100);
    expect_view(c, 0, 0);
    end(&m);
}

Test(views, a_primary_that_ignores_a_client_is_replaced) {
    struct meddler m;
    uint32_t victim = 0;
    struct cluster *const c = begin_deaf(&m, 8, &victim);
    lose(&m, ANYBODY, 0, MESSAGE_REQUESTS);
    serve_others(c, 150);
    cr_assert(!cluster_is_done(c, victim));
    expect_view(c, 0, 0);
    serve_others(c, 400);
    cr_assert(cluster_is_done(c, victim));
    cluster_run_until_done(c, 100);
    expect_view(c, 0, 1);
    end(&m);
}

/* ---- what a new view takes over ---- */

/* Prepared by all, and no nonce is heard of: only the client may have them all. */
static void survives_when_prepared(uint64_t seed, bool client_has_receipt) {
    struct meddler m;
    struct cluster *const c = begin(&m, seed);
    uint64_t const seq = cluster_committed(c, 1) + 1;
    lose(&m, ANYBODY, ANYBODY, MESSAGE_COMMIT);
    if (!client_has_receipt) {
        lose(&m, ANYBODY, ANYBODY, MESSAGE_REPLY);
    }
    uint32_t const request = cluster_submit(c, "kv.put a 1");
    cluster_run_ms(c, 200);
    cr_assert(cluster_is_done(c, request) == client_has_receipt);
    cr_assert(cluster_committed(c, 1) < seq);
    const struct batch_facts *const then = batch_at(c, 1, seq);
    cluster_crash(c, 0);
    meddler_release(&m);
    put_some(c, 5);
    cluster_run_until_done(c, 5000);
    for (uint32_t node = 1; node < 4; node++) {
        expect_taken_over(then, batch_at(c, node, seq));
    }
    cr_assert(c->requests[request].first_index == then->first_index);
    cluster_start(c, 0);
    end(&m);
}

Test(views, a_batch_that_was_prepared_survives) {
    survives_when_prepared(9, false);
}

Test(views, a_batch_that_only_its_client_knows_to_be_committed_survives) {
    survives_when_prepared(10, true);
}

Test(views, a_batch_that_committed_at_one_replica_only_survives) {
    struct meddler m;
    struct cluster *const c = begin(&m, 11);
    uint64_t const seq = cluster_committed(c, 1) + 1;
    for (uint32_t node = 0; node < 3; node++) {
        lose(&m, ANYBODY, node, MESSAGE_COMMIT);
    }
    cluster_submit(c, "kv.put a 1");
    cluster_run_ms(c, 20);
    cr_assert(cluster_committed(c, 3) == seq && cluster_committed(c, 1) < seq);
    const struct batch_facts *const then = batch_at(c, 3, seq);
    cluster_isolate(c, 3, true);
    run_until_view(c, 1, 1, 4000);
    meddler_release(&m);
    put_some(c, 5);
    cluster_run_until_done(c, 5000);
    expect_taken_over(then, batch_at(c, 1, seq));
    cluster_isolate(c, 3, false);
    cluster_run_until_level(c, 5000);
    expect_taken_over(then, batch_at(c, 3, seq));
    end(&m);
}

/* Nobody can have committed it: its requests wait again, though no client sends them twice. */
Test(views, a_batch_that_was_prepared_nowhere_is_dropped_and_its_requests_come_again) {
    struct meddler m;
    struct cluster *const c =
        begin_with(&m, &(struct cluster_options){.seed = 12, .no_retries = true});
    uint64_t const seq = cluster_committed(c, 1) + 1;
    lose(&m, ANYBODY, ANYBODY, MESSAGE_PREPARE);
    for (unsigned i = 0; i < 8; i++) {
        cluster_submit(c, "kv.put a 1");
        cluster_run_ms(c, 5);
    }
    for (uint32_t node = 0; node < 4; node++) {
        cr_assert(cluster_status(c, node).executed_seq >= seq);
    }
    run_until_view(c, 1, 1, 4000);
    meddler_release(&m);
    cluster_run_until_done(c, 1000);
    const struct batch_facts *const now = batch_at(c, 1, seq);
    cr_assert(now->view == 1 && now->view_start < seq);
    cr_assert(now->first_index == 4 && cluster_status(c, 1).next_index == 12);
    end(&m);
}

/* ---- the new primary, and its new view ---- */

/*
 * Primary 1 was away, and has neither the batches nor the requests of what it must propose again;
 * for so long no range reaches it.
 */
static void lags_for(uint64_t seed, uint64_t ms) {
    static const char *const call = "kv.put a 1";
    struct meddler m;
    struct cluster *const c = begin(&m, seed);
    cluster_isolate(c, 1, true);
    put_some(c, 20);
    cluster_run_until_done(c, 500);
    cluster_run_ms(c, 300);
    uint64_t const seq = cluster_committed(c, 2) + 1;
    lose(&m, ANYBODY, ANYBODY, MESSAGE_COMMIT);
    lose(&m, ANYBODY, 1, MESSAGE_RANGE);
    uint32_t const request =
        cluster_prepare_order(c, 0, &(struct order){.call_count = 1, .calls = &call});
    cluster_send_request(c, request, 0);
    cluster_send_request(c, request, 2);
    cluster_send_request(c, request, 3);
    cluster_run_ms(c, 100);
    const struct batch_facts *const then = batch_at(c, 2, seq);
    cluster_crash(c, 0);
    cluster_isolate(c, 1, false);
    run_until_asked(c, 1, 1, 4000);
    cluster_run_ms(c, ms);
    cr_assert(cluster_status(c, 1).executed_seq + 15 < seq);
    cr_assert(c->nodes[1].sent[MESSAGE_NEW_VIEW] == 0);
    meddler_release(&m);
    put_some(c, 3);
    cluster_run_until_done(c, 3000);
    expect_view(c, 1, 1);
    for (uint32_t node = 1; node < 4; node++) {
        expect_taken_over(then, batch_at(c, node, seq));
    }
    cluster_start(c, 0);
    end(&m);
}

Test(views, a_new_primary_that_lags_fetches_first) {
    lags_for(13, 500);
}

/* What it takes over while it changes the view is no success of a view: it may take its time. */
Test(views, a_new_primary_that_catches_up_keeps_its_patience) {
    lags_for(13, 1500);
}

/* Whoever is in it passes it on. */
Test(views, a_new_view_that_reaches_one_replica_reaches_all) {
    struct meddler m;
    struct cluster *const c = begin(&m, 14);
    lose(&m, 1, 3, MESSAGE_NEW_VIEW);
    cluster_crash(c, 0);
    put_some(c, 3);
    cluster_run_until_done(c, 4000);
    expect_view(c, 1, 1);
    cr_assert(c->nodes[2].sent[MESSAGE_NEW_VIEW] > 0);
    cluster_start(c, 0);
    end(&m);
}

/* One has followed it, in memory only; the next view builds on what all of them had before. */
Test(views, a_new_view_that_reaches_one_replica_only_and_ends_there) {
    struct meddler m;
    struct cluster *const c =
        begin_with(&m, &(struct cluster_options){.seed = 15, .replica_count = 7});
    uint64_t const seq = cluster_committed(c, 1) + 1;
    lose(&m, ANYBODY, ANYBODY, MESSAGE_COMMIT);
    cluster_submit(c, "kv.put a 1");
    cluster_run_ms(c, 100);
    const struct batch_facts *const then = batch_at(c, 6, seq);
    cluster_crash(c, 0);
    for (uint32_t node = 3; node < 7; node++) {
        lose(&m, ANYBODY, node, MESSAGE_NEW_VIEW);
    }
    run_until_view(c, 2, 1, 4000);
    cluster_run_ms(c, 100);
    cluster_crash(c, 1);
    meddler_release(&m);
    put_some(c, 3);
    cluster_run_until_done(c, 8000);
    expect_view(c, 2, 2);
    for (uint32_t node = 2; node < 7; node++) {
        expect_taken_over(then, batch_at(c, node, seq));
        cr_assert(batch_at(c, node, seq)->view == 2);
    }
    cluster_start(c, 0);
    cluster_start(c, 1);
    end(&m);
}

/*
 * 1 alone has on its disk what view 2 builds on, and is never seen again. 2, which leads view 2,
 * has it in memory, and cannot write it down before others follow; and these have nobody who could
 * give it to them. The new view shows them that a quorum had asked for it: they ask for the next
 * one.
 */
Test(views, what_a_new_view_builds_on_is_gone) {
    struct meddler m;
    struct cluster *const c = begin(&m, 24);
    lose(&m, ANYBODY, ANYBODY, MESSAGE_COMMIT);
    cluster_submit(c, "kv.put a 1");
    cluster_run_ms(c, 100);
    cluster_isolate(c, 0, true);
    lose(&m, ANYBODY, 2, MESSAGE_PREPARE);
    lose(&m, ANYBODY, 3, MESSAGE_PREPARE);
    run_until_view(c, 2, 1, 4000);
    run_until_view(c, 3, 1, 4000);
    cluster_run_ms(c, 500);
    cluster_crash(c, 3);
    cluster_isolate(c, 0, false);
    lose(&m, ANYBODY, 0, MESSAGE_NEW_VIEW);
    lose(&m, ANYBODY, 0, MESSAGE_RANGE);
    cluster_crash(c, 1); /* it led view 1, and does not know what it has proposed there */
    cluster_start(c, 1);
    run_until_view(c, 2, 2, 4000);
    cluster_crash(c, 1);
    c->nodes[1].left_out = true;
    cluster_crash(c, 0); /* nor does it remember who asked for view 2 */
    cluster_start(c, 0);
    cluster_start(c, 3);
    meddler_release(&m);
    cluster_submit(c, "kv.put a 2");
    cluster_run_until_done(c, 20000);
    expect_view(c, 2, 3);
    end(&m);
}

static unsigned new_views_of_view_1;

static bool count_new_views(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct new_view_message message;
    struct signed_body statement;
    struct new_view body;
    (void)out;
    cr_assert(new_view_message_decode(&message, &c->arena, frame->payload) == CODEC_OK);
    cr_assert(signed_decode(&statement, &c->arena, message.new_view, STATEMENT_SIZE_MAX) ==
              CODEC_OK);
    cr_assert(new_view_decode(&body, &c->arena, statement.body) == CODEC_OK);
    new_views_of_view_1 += body.view == 1;
    return true; /* and nothing travels instead */
}

/* It does not remember the view-changes that it used; others might lead to another new view. */
Test(views, a_primary_that_crashes_does_not_make_its_view_twice) {
    struct meddler m;
    struct cluster *const c = begin(&m, 16);
    lose_proposals_of(&m, 0);
    watch(&m, 1, ANYBODY, MESSAGE_NEW_VIEW, count_new_views);
    cluster_submit(c, "kv.put a 1");
    run_until_view(c, 1, 1, 4000);
    cluster_run_ms(c, 50);
    cr_assert(new_views_of_view_1 > 0);
    cluster_crash(c, 1);
    new_views_of_view_1 = 0;
    cluster_start(c, 1);
    cr_assert(cluster_status(c, 1).asked_view == 1);
    run_until_asked(c, 1, 2, 100); /* it knows better than to wait */
    run_until_view(c, 2, 2, 20000);
    cr_assert(new_views_of_view_1 == 0);
    end(&m);
}

/* ---- votes, receipts and ledgers across views ---- */

static struct frame old_votes[64];
static uint32_t old_vote_count;
static bool votes_are_kept;

/* To node 2 they come later, or never. */
static bool keep_vote(struct cluster *c, const struct frame *frame, struct buffer *out) {
    (void)out;
    if (votes_are_kept && old_vote_count < 64) {
        old_votes[old_vote_count] = *frame;
        old_votes[old_vote_count++].payload = cluster_keep(c, frame->payload);
    }
    return true;
}

Test(views, votes_of_an_old_view_count_for_nothing_in_a_new_one) {
    struct meddler m;
    struct cluster *const c = begin(&m, 17);
    uint64_t const seq = cluster_committed(c, 2) + 1;
    for (uint32_t from = 0; from < 4; from++) {
        watch(&m, from, 2, MESSAGE_PREPARE, keep_vote);
        watch(&m, from, 2, MESSAGE_COMMIT, keep_vote);
    }
    votes_are_kept = true;
    cluster_submit(c, "kv.put a 1");
    cluster_run_ms(c, 20);
    cr_assert(cluster_committed(c, 1) == seq && cluster_committed(c, 2) < seq);
    votes_are_kept = false;
    cr_assert(old_vote_count >= 5); /* two prepares, three nonces */
    cluster_crash(c, 0);
    cluster_submit(c, "kv.put a 2");
    run_until_view(c, 2, 1, 4000);
    cluster_run_ms(c, 100);
    uint64_t const nonces = c->nodes[2].sent[MESSAGE_COMMIT];
    for (uint32_t i = 0; i < old_vote_count; i++) {
        cluster_forge(c, old_votes[i].from, 2, (enum message_kind)old_votes[i].kind,
                      old_votes[i].payload);
    }
    cluster_run_ms(c, 300);
    expect_view(c, 1, 1);
    cr_assert(c->nodes[2].sent[MESSAGE_COMMIT] == nonces);
    cr_assert(cluster_committed(c, 2) < seq);
    meddler_release(&m);
    cluster_run_until_done(c, 3000);
    for (uint32_t node = 1; node < 4; node++) { /* nobody has said two things */
        cr_assert(c->nodes[node].notes[NOTE_CONFLICT] == 0 && c->nodes[node].evidence_count == 0);
    }
    cluster_start(c, 0);
    end(&m);
}

/* Replies got lost, and with the primary the one who would add results. */
Test(views, one_replica_gives_the_whole_receipt_when_the_primary_is_gone) {
    struct meddler m;
    struct cluster *const c =
        begin_with(&m, &(struct cluster_options){.seed = 18, .no_retries = true});
    uint64_t const seq = cluster_committed(c, 2) + 1;
    lose(&m, ANYBODY, ANYBODY, MESSAGE_REPLY);
    lose(&m, ANYBODY, ANYBODY, MESSAGE_RESULT);
    uint32_t const request = cluster_submit(c, "kv.put a 1");
    while (cluster_committed(c, 2) < seq || cluster_committed(c, 3) < seq) {
        cluster_run_ms(c, 1);
    }
    cluster_crash(c, 0);
    cr_assert(cluster_status(c, 2).evidenced_seq < seq); /* its ledger alone does not show it */
    cluster_query_receipt(c, request, 2);
    cluster_run_ms(c, 10);
    cr_assert(c->requests[request].receipts == 1);

    uint32_t const later = cluster_submit(c, "kv.put a 2");
    run_until_view(c, 3, 1, 4000);
    while (cluster_committed(c, 3) <= seq) {
        cluster_run_ms(c, 1);
    }
    cluster_crash(c, 1);
    uint32_t const asked[] = {0, request, later}; /* settled long ago, in view 0, in view 1 */
    for (unsigned i = 0; i < 3; i++) {
        uint64_t const before = c->requests[asked[i]].receipts;
        cluster_query_receipt(c, asked[i], 3);
        cluster_run_ms(c, 10);
        cr_assert(c->requests[asked[i]].receipts == before + 1, "request %u", asked[i]);
    }
    cluster_start(c, 0);
    cluster_start(c, 1);
    end(&m);
}

Test(views, a_replica_that_slept_through_two_views_catches_up_and_votes) {
    struct meddler m;
    struct cluster *const c = begin(&m, 19);
    uint64_t new_views = 0;
    cluster_isolate(c, 3, true);
    for (uint32_t primary = 0; primary < 2; primary++) {
        lose_proposals_of(&m, primary);
        cluster_submit(c, "kv.put a 1");
        cluster_run_until_done(c, 6000);
        put_some(c, 15);
    }
    cluster_run_until_done(c, 1000);
    cr_assert(cluster_status(c, 3).view == 0 && cluster_status(c, 2).view == 2);
    cluster_isolate(c, 3, false);
    cluster_run_ms(c, 3000);
    cr_assert(c->nodes[3].notes[NOTE_CAUGHT_UP] > 0);
    expect_view(c, 0, 2);
    for (uint64_t i = 0; i < c->nodes[3].disk.live.count; i++) {
        new_views += c->nodes[3].disk.live.items[i].kind == ENTRY_NEW_VIEW;
    }
    cr_assert(new_views == 2);
    uint64_t const seq = cluster_status(c, 3).executed_seq + 1;
    put_some(c, 1);
    cluster_run_until_done(c, 500);
    cr_assert(cluster_has_prepared(c, 3, 2, seq));
    end(&m);
}
