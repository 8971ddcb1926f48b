/*
 * codec_view: what is said and kept when the view changes (protocol §6): view-changes, the set of
 * them that a new primary used, and its new-view. Strict, as everything in ledger/codec.h; whether
 * a view-change holds is ledger/view.h's question.
 */
#ifndef ONUS_LEDGER_CODEC_VIEW_H
#define ONUS_LEDGER_CODEC_VIEW_H

#include "ledger/codec.h"

/* One batch of a chain: the leaves that it adds to M, in order. */
struct chain_item {
    bool has_evidence;
    struct digest evidence_leaf; /* of its evidence entry, when it has one */
    struct signed_body pre_prepare;
};

/*
 * What one replica states when it asks for a view: its highest ranking prepared certificate, with
 * the batches before it that the ledger does not evidence yet. The last item of the chain is the
 * batch of the certificate; signers, signatures and nonce hashes are those of its Q-1 prepares. A
 * replica that never held a certificate has an empty chain.
 */
struct view_change {
    uint64_t config;
    uint64_t view; /* 1..: the view asked for */
    uint32_t replica;
    uint64_t signers; /* bitmap, without the primary; 0 when the chain is empty */
    uint32_t signature_count;
    const struct signature *signatures; /* ascending replica id */
    const struct digest *nonce_hashes;  /* same count, same order */
    uint32_t chain_count;               /* 0..PIPELINE_MAX */
    const struct chain_item *chain;
};

/*
 * CODEC_MISMATCH: not as many signatures and nonce hashes as signers, or signers without a chain,
 * or a chain without signers. Statements in the chain are not decoded.
 */
MUST_USE enum codec_result view_change_decode(struct view_change *out, struct arena *arena,
                                              struct span body);
MUST_USE bool view_change_encode(struct buffer *out, const struct view_change *in);

/* The payload of an entry of kind ENTRY_VIEW_CHANGE_SET: Q signed view-changes. */
struct view_change_set {
    uint32_t count; /* 1..REPLICAS_MAX */
    const struct signed_body *view_changes;
};

MUST_USE enum codec_result view_change_set_decode(struct view_change_set *out, struct arena *arena,
                                                  struct span payload);
MUST_USE bool view_change_set_encode(struct buffer *out, const struct view_change_set *in);

/* The body that a new primary signs; an entry of kind ENTRY_NEW_VIEW is an encoded Signed of it. */
struct new_view {
    uint64_t config;
    uint64_t view;                            /* 1.. */
    uint32_t view_change_count;               /* 1..REPLICAS_MAX */
    const struct digest *view_change_digests; /* LABEL_VIEW_CHANGE, with signature; in the order of
                                                 the set */
    uint64_t chosen_view;                     /* rank (v*, s*); 0, 0: no certificate was shown */
    uint64_t chosen_seq;
    struct digest ledger_root; /* of M just before this entry */
    uint64_t ledger_leaves;
};

MUST_USE enum codec_result new_view_decode(struct new_view *out, struct arena *arena,
                                           struct span body);
MUST_USE bool new_view_encode(struct buffer *out, const struct new_view *in);

#endif
