/*
 * joining_eras: replicas that begin with a checkpoint of a later configuration than the founding
 * one (protocol §7, §9). They have genesis alone: peers show them the governance chain, and from
 * there on they know who signs. Links are numbers here (tests/sim/cluster_links.c); what makes a
 * real one hold is told by tests/unit/chain.c, and by tests/e2e/join_later.py.
 */
#include <criterion/criterion.h>

#include "tests/scenarios/reform.h"
#include "tests/sim/meddler.h"

TestSuite(joining_eras, .timeout = 120);

#define FOUNDERS 4u
#define LOST 3u     /* the founding replica that loses its disk */
#define NEWCOMER 4u /* comes in configuration 3 */

static void grow_by_one(struct cluster *c) {
    cluster_submit_order(c, 0,
                         &(struct order){.min_index = c->highest_index + 1,
                                         .call_count = 1,
                                         .calls = (const char *const[]){"kv.put grown 1"}});
    cluster_run_ms(c, 12);
}

/* Batches enough for a checkpoint of the configuration in force to be worth it. */
static void grow(struct cluster *c) {
    for (uint32_t i = 0; i < 60; i++) {
        grow_by_one(c);
    }
    cluster_run_until_done(c, 20000);
}

static void add_user(struct cluster *c, const char *name, uint64_t config) {
    struct action const add =
        charter_named(c->charter, ACTION_ADD_USER, name, 7000 + (uint32_t)config);
    reform_change(c, 1, &add);
    cluster_run_until_done(c, 20000);
    reform_run_until_in(c, config, 10000);
}

/* So many transactions that the replay window has left the first batches behind. */
static void pass_window(struct cluster *c) {
    const char *calls[CALLS_MAX];
    for (uint32_t i = 0; i < CALLS_MAX; i++) {
        calls[i] = "kv.get grown";
    }
    for (uint32_t i = 0; i <= BATCH_CALLS_MAX / CALLS_MAX + 1; i++) {
        cluster_submit_order(c, 0,
                             &(struct order){.min_index = c->highest_index + 1,
                                             .call_count = CALLS_MAX,
                                             .calls = calls});
        cluster_run_ms(c, 12);
    }
    cluster_run_until_done(c, 10000);
}

/* Configuration 2 has a user more, configuration 3 a replica, which has not been started yet. */
static struct cluster *old_service(struct meddler *meddler, uint64_t seed) {
    struct cluster *const c = cluster_new(&(struct cluster_options){
        .seed = seed, .replica_count = FOUNDERS + 1, .spares = 1, .governed = true});
    meddler_attach(meddler, c);
    cluster_crash(c, NEWCOMER);
    grow(c);
    add_user(c, "dave", 2);
    pass_window(c);
    grow(c);
    struct action const add =
        charter_replica(c->charter, NULL, "bank-a", CLUSTER_SPARE_NUMBER + NEWCOMER);
    reform_change(c, 1, &add);
    cluster_run_until_done(c, 20000);
    reform_run_until_in(c, 3, 10000);
    grow(c);
    return c;
}

static void lose_disk(struct cluster *c) {
    cluster_crash(c, LOST);
    c->nodes[LOST].restored = true;
    cluster_lose_disk(c, LOST);
}

static void run_until_joined(struct cluster *c, uint32_t node, uint64_t ms) {
    for (uint64_t i = 0; i < ms && c->nodes[node].joins == 0; i++) {
        cluster_run_ms(c, 1);
    }
    cr_assert_eq(c->nodes[node].joins, 1);
}

static uint64_t noted(const struct cluster *c, uint32_t node, enum join_note_kind kind) {
    return c->nodes[node].join_notes[kind];
}

/* It has all, from genesis on, and it is what the others have. */
static void end(struct cluster *c, uint32_t node) {
    cluster_run_until_whole(c, 60000);
    grow(c);
    cluster_run_until_level(c, 20000);
    cr_assert_eq(c->nodes[node].disk.durable.first, 0);
    watch_whole(c, node);
    watch_replay(c, node);
    cluster_end(c);
}

Test(joining_eras, a_newcomer_begins_in_its_configuration_and_votes) {
    struct meddler m;
    struct cluster *const c = old_service(&m, 1);
    cluster_start(c, NEWCOMER);
    run_until_joined(c, NEWCOMER, 5000);
    cr_assert_eq(cluster_status(c, NEWCOMER).config, 3);
    cr_assert(c->nodes[NEWCOMER].disk.durable.first > 1);
    cr_assert_eq(noted(c, NEWCOMER, JOIN_NOTE_LINKS_REFUSED), 0);
    /* Without another one, the others need it. */
    cluster_run_until_level(c, 5000);
    cluster_crash(c, 1);
    grow(c);
    cluster_start(c, 1);
    cluster_restart(c, NEWCOMER);
    cr_assert_eq(cluster_status(c, NEWCOMER).config, 3);
    end(c, NEWCOMER);
}

Test(joining_eras, a_founding_replica_whose_disk_is_lost_knows_nobody_who_came_since) {
    struct meddler m;
    struct cluster *const c = old_service(&m, 2);
    cluster_start(c, NEWCOMER);
    run_until_joined(c, NEWCOMER, 5000);
    cluster_run_until_whole(c, 60000);
    lose_disk(c);
    cluster_start(c, LOST);
    run_until_joined(c, LOST, 5000);
    cr_assert_eq(cluster_status(c, LOST).config, 3);
    cr_assert_eq(cluster_status(c, LOST).guard, GUARD_JOURNAL_MISSING);
    end(c, LOST);
}

/* The checkpoint of the boundary itself: it begins in the configuration that ends there. */
Test(joining_eras, any_checkpoint_around_a_boundary_will_do) {
    for (uint64_t more = 0; more < 24; more += 3) {
        struct meddler m;
        struct cluster *const c = old_service(&m, 30 + more);
        add_user(c, "eve", 4);
        for (uint64_t i = 0; i < more; i++) {
            grow_by_one(c);
        }
        cluster_start(c, NEWCOMER);
        run_until_joined(c, NEWCOMER, 5000);
        cluster_run_until_level(c, 5000);
        cr_assert_eq(cluster_status(c, NEWCOMER).config, 4);
        end(c, NEWCOMER);
    }
}

/* ---- peers that lie -------------------------------------------------------------------------- */

static bool other_links(struct cluster *cluster, const struct frame *frame, struct buffer *out) {
    static const uint8_t nonsense[8] = {0, 0, 0, 0, 0, 0, 0, 99};
    struct span const link = span_of(nonsense, sizeof nonsense);
    struct chain_reply_message const reply = {.config = 3, .link_count = 1, .links = &link};
    (void)cluster;
    (void)frame;
    return chain_reply_message_encode(out, &reply);
}

static bool no_links(struct cluster *cluster, const struct frame *frame, struct buffer *out) {
    struct chain_reply_message const reply = {.config = 3};
    (void)cluster;
    (void)frame;
    return chain_reply_message_encode(out, &reply);
}

/* It promises ever more than it has. */
static bool endless_links(struct cluster *cluster, const struct frame *frame, struct buffer *out) {
    struct chain_reply_message reply;
    struct arena arena;
    (void)cluster;
    arena_init(&arena, 1u << 16);
    cr_assert_eq(chain_reply_message_decode(&reply, &arena, frame->payload), CODEC_OK);
    reply.config = UINT64_MAX >> 1;
    bool const encoded = chain_reply_message_encode(out, &reply);
    arena_free(&arena);
    return encoded;
}

/* It costs the liar its turn, or all of them; the next peer has what it takes. */
Test(joining_eras, who_lies_about_links_only_costs_time) {
    static const struct {
        frame_rewriter lie;
        enum join_note_kind note;
    } lies[] = {{other_links, JOIN_NOTE_LINKS_REFUSED},
                {no_links, JOIN_NOTE_SLOW},
                {endless_links, JOIN_NOTE_OFFER_LATER}};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct meddler m;
        struct cluster *const c = old_service(&m, 60 + i);
        c->nodes[0].byzantine = true;
        meddle(&m, &(struct meddler_rule){.meddling = MEDDLING_REWRITE,
                                          .from = 0,
                                          .to = NEWCOMER,
                                          .kind = MESSAGE_CHAIN_REPLY,
                                          .times = ALWAYS,
                                          .rewrite = lies[i].lie});
        cluster_start(c, NEWCOMER);
        run_until_joined(c, NEWCOMER, 8000);
        cr_assert_geq(noted(c, NEWCOMER, lies[i].note), 1, "lie %zu", i);
        cr_assert_eq(cluster_status(c, NEWCOMER).config, 3);
        end(c, NEWCOMER);
    }
}

Test(joining_eras, who_says_nothing_of_links_loses_its_turn) {
    struct meddler m;
    struct cluster *const c = old_service(&m, 70);
    meddle(&m, &(struct meddler_rule){.meddling = MEDDLING_DROP,
                                      .from = 0,
                                      .to = NEWCOMER,
                                      .kind = MESSAGE_CHAIN_REPLY,
                                      .times = ALWAYS});
    cluster_start(c, NEWCOMER);
    run_until_joined(c, NEWCOMER, 8000);
    cr_assert_eq(noted(c, NEWCOMER, JOIN_NOTE_SLOW), 1);
    end(c, NEWCOMER);
}

/* Nobody can show how it came to be: then it follows from genesis, which takes longer. */
Test(joining_eras, without_links_it_follows_from_genesis) {
    struct meddler m;
    struct cluster *const c = old_service(&m, 71);
    meddle(&m, &(struct meddler_rule){.meddling = MEDDLING_DROP,
                                      .from = ANYBODY,
                                      .to = NEWCOMER,
                                      .kind = MESSAGE_CHAIN_REPLY,
                                      .times = ALWAYS});
    cluster_start(c, NEWCOMER);
    cluster_run_ms(c, 2 * JOIN_PATIENCE_MS);
    cluster_run_until_level(c, 20000);
    cr_assert_eq(c->nodes[NEWCOMER].joins, 0);
    cr_assert_eq(cluster_status(c, NEWCOMER).config, 3);
    end(c, NEWCOMER);
}

/* ---- crashes, and changes meanwhile ---------------------------------------------------------- */

/* Run until the newcomer has sent so many frames of this kind, or for three seconds. */
static void run_until_sent(struct cluster *c, enum message_kind kind, uint64_t count) {
    uint64_t const end_us = c->now_us + 3000000;
    while (c->nodes[NEWCOMER].sent[kind] < count && cluster_run_one(c, end_us)) {
    }
}

/* What links it has are on its disk: it goes on from there. */
Test(joining_eras, a_joiner_that_crashes_keeps_its_links) {
    for (uint64_t parts = 1; parts <= 16; parts += 3) {
        struct meddler m;
        struct cluster *const c = old_service(&m, 80 + parts);
        cluster_start(c, NEWCOMER);
        run_until_sent(c, MESSAGE_FETCH_CHECKPOINT, parts);
        cluster_crash(c, NEWCOMER);
        cluster_start(c, NEWCOMER);
        run_until_joined(c, NEWCOMER, 8000);
        end(c, NEWCOMER);
    }
}

Test(joining_eras, the_configuration_changes_while_it_joins) {
    for (uint64_t parts = 1; parts <= 13; parts += 4) {
        struct meddler m;
        struct cluster *const c = old_service(&m, 100 + parts);
        cluster_start(c, NEWCOMER);
        run_until_sent(c, MESSAGE_FETCH_CHECKPOINT, parts);
        cluster_crash(c, NEWCOMER);
        add_user(c, "eve", 4);
        grow(c);
        add_user(c, "mallory", 5);
        grow(c);
        cluster_start(c, NEWCOMER);
        run_until_joined(c, NEWCOMER, 8000);
        cluster_run_until_level(c, 5000);
        cr_assert_eq(cluster_status(c, NEWCOMER).config, 5);
        end(c, NEWCOMER);
    }
}

/* While the older ledger comes, it goes over: peers have other numbers from there on. */
Test(joining_eras, the_older_ledger_comes_over_another_boundary) {
    struct meddler m;
    struct cluster *const c = old_service(&m, 120);
    const struct meddler_rule *const held =
        meddle(&m, &(struct meddler_rule){.meddling = MEDDLING_DROP,
                                          .from = NEWCOMER,
                                          .to = ANYBODY,
                                          .kind = MESSAGE_FETCH_RANGE,
                                          .times = ALWAYS});
    cluster_start(c, NEWCOMER);
    cluster_run_ms(c, 1);
    meddler_release(&m);
    run_until_joined(c, NEWCOMER, 8000);
    cr_assert_not(join_is_whole(&c->nodes[NEWCOMER]));
    struct action const remove = charter_replica_gone(&c->keys[0].signing.key);
    reform_change(c, 1, &remove);
    cluster_run_until_done(c, 20000);
    reform_run_until_in(c, 4, 20000);
    c->nodes[0].left_out = true;
    cr_assert_geq(held->applied, 0);
    end(c, NEWCOMER);
}
