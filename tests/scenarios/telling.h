/*
 * telling: words that the stories about views share: how they begin and end, who is silenced, and
 * what lies in whose ledger.
 */
#ifndef ONUS_TESTS_SCENARIOS_TELLING_H
#define ONUS_TESTS_SCENARIOS_TELLING_H

#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/sim/meddler.h"

static inline void put_some(struct cluster *c, unsigned count) {
    char call[64];
    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(call, sizeof call, "kv.put k%u v%u", i % 5, i);
        cluster_submit(c, call);
        cluster_run_ms(c, 12);
    }
}

/* Some batches have committed, all of them are settled everywhere, and nothing is under way. */
static inline struct cluster *begin_with(struct meddler *meddler,
                                         const struct cluster_options *options) {
    struct cluster *const c = cluster_new(options);
    meddler_attach(meddler, c);
    put_some(c, 3);
    cluster_run_until_done(c, 500);
    cluster_run_ms(c, 300);
    return c;
}

static inline struct cluster *begin(struct meddler *meddler, uint64_t seed) {
    return begin_with(meddler, &(struct cluster_options){.seed = seed});
}

/* Nothing goes wrong any more: all come to the same, and it is judged. */
static inline void end(struct meddler *meddler) {
    struct cluster *const c = meddler->cluster;
    meddler_release(meddler);
    cluster_heal(c);
    cluster_submit(c, "kv.put last 1");
    cluster_run_until_done(c, 60000);
    cluster_run_until_level(c, 60000);
    cluster_end(c);
}

/* ---- on the wire ---- */

static inline void lose(struct meddler *meddler, uint32_t from, uint32_t to,
                        enum message_kind kind) {
    meddle(meddler, &(struct meddler_rule){MEDDLING_DROP, from, to, kind, ALWAYS, NULL, 0});
}

/* A primary that is heard, but leads nobody anywhere. */
static inline void lose_proposals_of(struct meddler *meddler, uint32_t primary) {
    lose(meddler, primary, ANYBODY, MESSAGE_PRE_PREPARE);
}

/* What the rewriter looks at travels as it is, or as the rewriter says. */
static inline const struct meddler_rule *watch(struct meddler *meddler, uint32_t from, uint32_t to,
                                               enum message_kind kind, frame_rewriter rewriter) {
    return meddle(meddler,
                  &(struct meddler_rule){MEDDLING_REWRITE, from, to, kind, ALWAYS, rewriter, 0});
}

/* ---- time ---- */

static inline void run_until_view(struct cluster *c, uint32_t node, uint64_t view, uint64_t ms) {
    for (uint64_t i = 0; cluster_status(c, node).view < view; i++) {
        cr_assert(i < ms, "node %u is not in view %llu", node, (unsigned long long)view);
        cluster_run_ms(c, 1);
    }
}

static inline void run_until_asked(struct cluster *c, uint32_t node, uint64_t view, uint64_t ms) {
    for (uint64_t i = 0; cluster_status(c, node).asked_view < view; i++) {
        cr_assert(i < ms, "node %u does not ask for view %llu", node, (unsigned long long)view);
        cluster_run_ms(c, 1);
    }
}

/* ---- looking ---- */

static inline void expect_view(const struct cluster *c, uint32_t first_node, uint64_t view) {
    for (uint32_t node = first_node; node < c->node_count; node++) {
        cr_assert(cluster_status(c, node).view == view, "node %u is in view %llu", node,
                  (unsigned long long)cluster_status(c, node).view);
    }
}

/* The batch of this number in a node's ledger. */
static inline const struct batch_facts *batch_at(const struct cluster *c, uint32_t node,
                                                 uint64_t seq) {
    uint64_t const entry = entry_find(&c->nodes[node].disk.live, seq);
    cr_assert(entry != 0, "node %u has no batch %llu", node, (unsigned long long)seq);
    return c->nodes[node].disk.live.marks[entry].facts;
}

/* The same requests at the same indices at the same time: proposed again in a later view. */
static inline void expect_taken_over(const struct batch_facts *then,
                                     const struct batch_facts *now) {
    cr_assert(now->view > then->view && now->view_start >= now->seq);
    cr_assert(now->seq == then->seq && now->first_index == then->first_index &&
              now->tx_count == then->tx_count && now->time_ms == then->time_ms &&
              digest_equal(&now->batch_root, &then->batch_root));
}

static inline uint64_t sent_of(const struct cluster *c, enum message_kind kind) {
    uint64_t sent = 0;
    for (uint32_t node = 0; node < c->node_count; node++) {
        sent += c->nodes[node].sent[kind];
    }
    return sent;
}

#endif
