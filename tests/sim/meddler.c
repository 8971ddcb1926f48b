/*
 * meddler: see meddler.h. It works as the cluster's filter.
 */
#include "tests/sim/meddler.h"

#include "base/check.h"

static bool fits(const struct meddler_rule *rule, const struct frame *frame) {
    return rule->times != 0 && rule->kind == frame->kind &&
           (rule->from == ANYBODY || rule->from == frame->from) &&
           (rule->to == ANYBODY || rule->to == frame->to);
}

static void hold(struct meddler *meddler, const struct frame *frame) {
    CHECK(meddler->held_count < MEDDLER_HELD_MAX);
    struct frame *const held = &meddler->held[meddler->held_count++];
    *held = *frame;
    held->payload = cluster_keep(meddler->cluster, frame->payload);
}

static bool rewrite(struct cluster *cluster, const struct meddler_rule *rule,
                    const struct frame *frame) {
    struct buffer out;
    buffer_init(&out, FRAME_SIZE_MAX);
    bool const rewritten = rule->rewrite(cluster, frame, &out);
    if (rewritten && out.size != 0) {
        cluster_forge(cluster, frame->from, frame->to, (enum message_kind)frame->kind,
                      buffer_span(&out));
    }
    buffer_free(&out);
    return rewritten;
}

/* Returns: whether the frame travels as it is. */
static bool apply(struct meddler *meddler, struct meddler_rule *rule, const struct frame *frame) {
    switch (rule->meddling) {
    case MEDDLING_DROP:
        return false;
    case MEDDLING_HOLD:
        hold(meddler, frame);
        return false;
    case MEDDLING_REPEAT:
        cluster_forge(meddler->cluster, frame->from, frame->to, (enum message_kind)frame->kind,
                      frame->payload);
        return true;
    case MEDDLING_REWRITE:
        return !rewrite(meddler->cluster, rule, frame);
    }
    UNREACHABLE();
}

static bool filter(void *context, struct cluster *cluster, const struct frame *frame) {
    struct meddler *const meddler = context;
    (void)cluster;
    for (uint32_t i = 0; i < meddler->rule_count; i++) {
        struct meddler_rule *const rule = &meddler->rules[i];
        if (fits(rule, frame)) {
            rule->applied++;
            rule->times -= rule->times == ALWAYS ? 0 : 1;
            return apply(meddler, rule, frame);
        }
    }
    return true;
}

void meddler_attach(struct meddler *meddler, struct cluster *cluster) {
    *meddler = (struct meddler){.cluster = cluster};
    cluster->filter = filter;
    cluster->filter_context = meddler;
}

const struct meddler_rule *meddle(struct meddler *meddler, const struct meddler_rule *rule) {
    CHECK(meddler->rule_count < MEDDLER_RULES_MAX);
    struct meddler_rule *const made = &meddler->rules[meddler->rule_count++];
    *made = *rule;
    return made;
}

void meddler_release(struct meddler *meddler) {
    for (uint32_t i = 0; i < meddler->rule_count; i++) {
        meddler->rules[i].times = 0;
    }
    for (uint32_t i = 0; i < meddler->held_count; i++) {
        const struct frame *const frame = &meddler->held[i];
        cluster_forge(meddler->cluster, frame->from, frame->to, (enum message_kind)frame->kind,
                      frame->payload);
    }
    meddler->held_count = 0;
}

/* ---- statements in a replica's name ---- */

static struct signature sign_as(const struct cluster *cluster, uint32_t replica, enum label label,
                                struct span body) {
    const struct key_pair *const pair = &cluster->consortium.replicas[replica].signing;
    return sign_labelled(&pair->secret, &pair->key, label, &cluster->configuration->service, body);
}

void puppet_prepare(struct buffer *out, struct cluster *cluster,
                    const struct prepare_parts *parts) {
    struct prepare const prepare = {.config = cluster->configuration->number,
                                    .seq = parts->seq,
                                    .replica = parts->replica,
                                    .pre_prepare_digest = parts->pre_prepare_digest,
                                    .nonce_hash = parts->nonce_hash};
    struct buffer body;
    buffer_init(&body, STATEMENT_SIZE_MAX);
    CHECK(prepare_encode(&body, &prepare));
    struct signed_body const statement = {
        .body = buffer_span(&body),
        .signature = sign_as(cluster, parts->replica, LABEL_PREPARE, buffer_span(&body))};
    CHECK(signed_encode(out, &statement));
    buffer_free(&body);
}

void puppet_pre_prepare(struct buffer *out, struct cluster *cluster, uint32_t replica,
                        const struct pre_prepare *body, const struct pre_prepare_message *message) {
    struct pre_prepare_message changed = *message;
    struct buffer encoded;
    buffer_init(&encoded, STATEMENT_SIZE_MAX);
    CHECK(pre_prepare_encode(&encoded, body));
    changed.statement.body = buffer_span(&encoded);
    changed.statement.signature =
        sign_as(cluster, replica, LABEL_PRE_PREPARE, changed.statement.body);
    CHECK(pre_prepare_message_encode(out, &changed));
    buffer_free(&encoded);
}

void puppet_commit(struct buffer *out, uint32_t replica, uint64_t seq, const struct nonce *nonce) {
    struct commit_message const commit = {
        .config = 1, .seq = seq, .replica = replica, .nonce = *nonce};
    CHECK(commit_message_encode(out, &commit));
}
