/*
 * proof_fragment: proofs that enclose a piece of the ledger, which is run again: a batch or a new
 * view that breaks a rule (protocol §10). Every byte is hostile.
 */
#include <stdlib.h>

#include "audit-tool/proof_internal.h"
#include "audit-tool/replayer.h"
#include "base/check.h"
#include "ledger/derive.h"

/* A fragment at work. */
struct fragment_walk {
    struct replayer replayer;
    struct batch batch;
    enum batch_step step;     /* what that is */
    uint32_t next;            /* entry of the fragment */
    uint64_t first_index;     /* in the ledger, of the fragment's first entry */
    struct digest checkpoint; /* d_C of the snapshot, which must have been signed */
    uint64_t checkpoint_seq;  /* 0: the fragment begins at genesis */
};

static bool walk_begin(struct fragment_walk *walk, struct arena *arena, const struct proof *proof) {
    const struct fragment *const fragment = &proof->fragment;
    if (fragment->snapshot.size == 0) {
        const struct entry *const genesis = &fragment->entries[0];
        walk->next = 1;
        replayer_start(&walk->replayer, proof->genesis);
        return fragment->state_count == 0 && genesis->kind == ENTRY_GENESIS &&
               span_equal(genesis->payload, proof->genesis);
    }
    struct checker_snapshot snapshot;
    if (checker_snapshot_decode(&snapshot, arena, fragment->snapshot) != CODEC_OK ||
        !replayer_load(&walk->replayer, arena, fragment->snapshot, fragment->state,
                       fragment->state_count)) {
        return false;
    }
    walk->checkpoint =
        hash_labelled(LABEL_CHECKPOINT, &walk->replayer.configuration->service, snapshot.header);
    walk->checkpoint_seq = replayer_position(&walk->replayer)->seq;
    walk->first_index = replayer_position(&walk->replayer)->entries;
    return true;
}

/* Put the next batch or new view together. Returns: false when the entries are none. */
static bool walk_read(struct fragment_walk *walk, const struct fragment *fragment) {
    batch_clear(&walk->batch);
    while (walk->next < fragment->entry_count) {
        enum rule rule = RULE_NONE;
        uint64_t const index = walk->first_index + walk->next;
        walk->step = batch_add(&walk->batch, index, &fragment->entries[walk->next++], &rule);
        if (walk->step != BATCH_MORE) {
            return walk->step != BATCH_BROKEN;
        }
    }
    return false;
}

/*
 * The ledger up to the blamed batch is bound by the root that it signs, but not the state and the
 * window below. They count only if the batch before carries their digest: whoever signed the
 * blamed batch has checked that one too.
 */
static bool walk_is_bound(const struct fragment_walk *walk) {
    const struct ledger_position *const before = replayer_position(&walk->replayer);
    return walk->checkpoint_seq == 0 ||
           (before->seq > walk->checkpoint_seq && before->checkpoint_seq == walk->checkpoint_seq &&
            digest_equal(&before->checkpoint_digest, &walk->checkpoint));
}

/*
 * Go on to the first batch or new view that breaks a rule, which must be bound. Without one:
 * PROOF_NOTHING_BROKEN.
 */
static enum proof_check walk_to_broken(enum rule *rule, struct fragment_walk *walk,
                                       const struct fragment *fragment) {
    while (walk->next < fragment->entry_count) {
        if (!walk_read(walk, fragment) ||
            (walk->step == BATCH_WHOLE && !replayer_is_ready(&walk->replayer))) {
            return PROOF_FRAGMENT;
        }
        *rule = walk->step == BATCH_VIEW ? replayer_enter(&walk->replayer, &walk->batch.view)
                                         : replayer_step(&walk->replayer, &walk->batch);
        if (replayer_failed(&walk->replayer)) {
            return PROOF_MEMORY;
        }
        if (*rule != RULE_NONE) {
            return walk_is_bound(walk) ? PROOF_VALID : PROOF_CHECKPOINT;
        }
    }
    return PROOF_NOTHING_BROKEN;
}

/* ---- who signed it ---- */

/* Who signed the last batch: those of its certificate, or its primary alone. */
static enum proof_check blame_signers(struct proof_verdict *out, struct arena *arena,
                                      const struct proof *proof, const struct batch *batch) {
    const struct signed_body *const statement = &batch->seal.statement;
    struct digest const digest =
        hash_statement(LABEL_PRE_PREPARE, &out->service, statement->body, &statement->signature);
    struct certificate certificate;
    struct verified_batch verified;
    if (proof->certificate_count == 0) {
        out->blamed =
            (uint64_t)1 << configuration_primary(&out->configuration, batch->pre_prepare.view);
        return PROOF_VALID;
    }
    if (!proof_certificate(out, &verified, &certificate, arena, proof, 0)) {
        return PROOF_CERTIFICATE;
    }
    out->blamed = verified.signers;
    return digest_equal(&digest, &verified.digest) ? PROOF_VALID : PROOF_PARTS;
}

/*
 * What follows a broken new view is nothing but leaves of M, up to a certified batch of that view:
 * the root that this batch signs ties it to the new view, and its signers with it. Another new view
 * of the same number, which they may have followed, would make another root.
 */
static enum proof_check blame_prepared(struct proof_verdict *out, struct arena *arena,
                                       const struct proof *proof, struct fragment_walk *walk) {
    const struct fragment *const fragment = &proof->fragment;
    const struct view_unit *const unit = &walk->batch.view;
    struct frontier frontier = replayer_position(&walk->replayer)->frontier;
    struct digest leaf = ledger_leaf(ENTRY_VIEW_CHANGE_SET, unit->set_payload);
    struct certificate certificate;
    struct verified_batch verified;
    if (walk->next == fragment->entry_count) {
        return PROOF_PARTS;
    }
    if (!proof_certificate(out, &verified, &certificate, arena, proof, 0)) {
        return PROOF_CERTIFICATE;
    }
    frontier_append(&frontier, &leaf);
    leaf = ledger_leaf(ENTRY_NEW_VIEW, unit->entry_payload);
    frontier_append(&frontier, &leaf);
    for (; walk->next + 1 < fragment->entry_count; walk->next++) {
        const struct entry *const entry = &fragment->entries[walk->next];
        if (entry->kind != ENTRY_EVIDENCE && entry->kind != ENTRY_PRE_PREPARE) {
            return PROOF_FRAGMENT;
        }
        leaf = ledger_leaf(entry->kind, entry->payload);
        frontier_append(&frontier, &leaf);
    }
    const struct entry *const last = &fragment->entries[walk->next];
    struct digest const root = frontier_root(&frontier);
    struct signed_body statement;
    if (last->kind != ENTRY_PRE_PREPARE ||
        signed_decode(&statement, arena, last->payload, STATEMENT_SIZE_MAX) != CODEC_OK ||
        !span_equal(statement.body, certificate.pre_prepare) ||
        memcmp(statement.signature.bytes, certificate.pre_prepare_signature.bytes,
               SIGNATURE_SIZE) != 0 ||
        verified.pre_prepare.view != unit->new_view.view ||
        verified.pre_prepare.ledger_leaves != frontier.leaf_count ||
        !digest_equal(&root, &verified.pre_prepare.ledger_root)) {
        return PROOF_FRAGMENT;
    }
    out->blamed |= verified.signers;
    return PROOF_VALID;
}

static enum proof_check blame_view(struct proof_verdict *out, struct arena *arena,
                                   const struct proof *proof, struct fragment_walk *walk) {
    const struct new_view *const body = &walk->batch.view.new_view;
    out->config = body->config;
    out->view = body->view;
    out->seq = replayer_position(&walk->replayer)->seq;
    out->seq_other = out->seq;
    out->roots[0] = body->ledger_root;
    out->blamed = (uint64_t)1 << configuration_primary(&out->configuration, body->view);
    if (proof->certificate_count != 0) {
        return blame_prepared(out, arena, proof, walk);
    }
    return walk->next == proof->fragment.entry_count ? PROOF_VALID : PROOF_FRAGMENT;
}

static enum proof_check blame_batch(struct proof_verdict *out, struct arena *arena,
                                    const struct proof *proof, const struct fragment_walk *walk) {
    const struct pre_prepare *const body = &walk->batch.pre_prepare;
    out->config = body->config;
    out->view = body->view;
    out->seq = replayer_position(&walk->replayer)->seq + 1;
    out->seq_other = out->seq;
    out->roots[0] = body->batch_root;
    out->roots[1] = body->checkpoint_digest;
    if (walk->next != proof->fragment.entry_count) {
        return PROOF_FRAGMENT;
    }
    return blame_signers(out, arena, proof, &walk->batch);
}

/* ---- all of it ---- */

/* The kind and the rule that a proof must name for what replay finds. */
static enum proof_kind kind_of_rule(enum batch_step step, enum rule rule) {
    if (step == BATCH_VIEW) {
        return PROOF_BROKEN_NEW_VIEW;
    }
    if (rule == RULE_OUTCOME) {
        return PROOF_WRONG_OUTCOME;
    }
    return rule == RULE_CHECKPOINT_DIGEST ? PROOF_WRONG_CHECKPOINT : PROOF_BROKEN_BATCH;
}

static bool rule_is_named(const struct proof *proof, enum batch_step step, enum rule rule) {
    bool const has_name = proof->kind == PROOF_BROKEN_BATCH || proof->kind == PROOF_BROKEN_NEW_VIEW;
    struct span const name = has_name ? span_text(rule_name(rule)) : (struct span){0};
    return rule_convicts(rule) && proof->kind == kind_of_rule(step, rule) &&
           span_equal(proof->rule, name);
}

static enum proof_check judge_walk(struct proof_verdict *out, struct arena *arena,
                                   const struct proof *proof, struct fragment_walk *walk) {
    if (!walk_begin(walk, arena, proof)) {
        return PROOF_FRAGMENT;
    }
    enum proof_check const check = walk_to_broken(&out->rule, walk, &proof->fragment);
    if (check != PROOF_VALID) {
        return check;
    }
    if (!rule_is_named(proof, walk->step, out->rule)) {
        return PROOF_NOTHING_BROKEN;
    }
    out->wrong_index = walk->replayer.replay.wrong_index;
    return walk->step == BATCH_VIEW ? blame_view(out, arena, proof, walk)
                                    : blame_batch(out, arena, proof, walk);
}

/*
 * A correct replica signs a batch or a new view, and prepares in it, only if it breaks no rule, and
 * what it signs fixes the ledger below it: the checker and execution, fed with that very ledger,
 * must come to the same for all.
 */
enum proof_check judge_fragment(struct proof_verdict *out, struct arena *arena,
                                const struct proof *proof) {
    if (!proof->has_fragment || proof->fragment.entry_count == 0 || proof->statement_count != 0 ||
        proof->certificate_count > 1 || proof->path_count != 0) {
        return PROOF_PARTS;
    }
    struct fragment_walk *const walk = calloc(1, sizeof *walk);
    if (walk == NULL) {
        return PROOF_MEMORY;
    }
    batch_init(&walk->batch);
    enum proof_check check = PROOF_MEMORY;
    if (replayer_init(&walk->replayer, &out->configuration, NULL, false)) {
        check = judge_walk(out, arena, proof, walk);
    }
    replayer_free(&walk->replayer);
    batch_free(&walk->batch);
    free(walk);
    return check;
}
