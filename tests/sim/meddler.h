/*
 * meddler: somebody on the wire, for scenarios: drops, holds back, repeats or rewrites what nodes
 * send to each other. Holding a replica's key makes it that replica's Byzantine half: what it
 * rewrites is signed again.
 */
#ifndef ONUS_TESTS_SIM_MEDDLER_H
#define ONUS_TESTS_SIM_MEDDLER_H

#include "tests/sim/cluster.h"

#define ANYBODY UINT32_MAX
#define ALWAYS UINT32_MAX
#define MEDDLER_RULES_MAX 16u
#define MEDDLER_HELD_MAX 512u

enum meddling { MEDDLING_DROP, MEDDLING_HOLD, MEDDLING_REPEAT, MEDDLING_REWRITE };

/* Write what travels instead. Returns: false to let the frame travel as it is. */
typedef bool (*frame_rewriter)(struct cluster *cluster, const struct frame *frame,
                               struct buffer *out);

struct meddler_rule {
    enum meddling meddling;
    uint32_t from; /* or ANYBODY */
    uint32_t to;
    enum message_kind kind;
    uint32_t times; /* how often it still applies; ALWAYS */
    frame_rewriter rewrite;
    uint32_t applied;
};

struct meddler {
    struct cluster *cluster;
    struct meddler_rule rules[MEDDLER_RULES_MAX];
    uint32_t rule_count;
    struct frame held[MEDDLER_HELD_MAX];
    uint32_t held_count;
};

/* Put the meddler on the wire. It must outlive the cluster's runs. */
void meddler_attach(struct meddler *meddler, struct cluster *cluster);
/* The first rule that fits a frame is applied. Returns: the rule, to see how often it was. */
const struct meddler_rule *meddle(struct meddler *meddler, const struct meddler_rule *rule);
/* Let what was held back travel, in order; and stop meddling. */
void meddler_release(struct meddler *meddler);

/* ---- statements in a replica's name ---- */

struct prepare_parts {
    uint32_t replica;
    uint64_t seq;
    struct digest pre_prepare_digest;
    struct digest nonce_hash;
};
/* Append an encoded, signed prepare of configuration 1, view 0. */
void puppet_prepare(struct buffer *out, struct cluster *cluster, const struct prepare_parts *parts);
/* Sign a pre-prepare's body again and append the whole message with it. */
void puppet_pre_prepare(struct buffer *out, struct cluster *cluster, uint32_t replica,
                        const struct pre_prepare *body, const struct pre_prepare_message *message);
void puppet_commit(struct buffer *out, uint32_t replica, uint64_t seq, const struct nonce *nonce);

#endif
