/*
 * proof_fragment: proofs that enclose a piece of the ledger, which is run again: a batch or a new
 * view that breaks a rule (protocol §10). Every byte is hostile.
 */
#include <stdlib.h>

#include "audit-tool/proof_internal.h"
#include "audit-tool/rerun.h"
#include "ledger/derive.h"

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
                                       const struct proof *proof, struct rerun *rerun) {
    const struct fragment *const fragment = &proof->fragment;
    const struct view_unit *const unit = &rerun->batch.view;
    struct frontier frontier = rerun_position(rerun)->frontier;
    struct digest leaf = ledger_leaf(ENTRY_VIEW_CHANGE_SET, unit->set_payload);
    struct certificate certificate;
    struct verified_batch verified;
    if (rerun->next == fragment->entry_count) {
        return PROOF_PARTS;
    }
    if (!proof_certificate(out, &verified, &certificate, arena, proof, 0)) {
        return PROOF_CERTIFICATE;
    }
    frontier_append(&frontier, &leaf);
    leaf = ledger_leaf(ENTRY_NEW_VIEW, unit->entry_payload);
    frontier_append(&frontier, &leaf);
    for (; rerun->next + 1 < fragment->entry_count; rerun->next++) {
        const struct entry *const entry = &fragment->entries[rerun->next];
        if (entry->kind != ENTRY_EVIDENCE && entry->kind != ENTRY_PRE_PREPARE) {
            return PROOF_FRAGMENT;
        }
        leaf = ledger_leaf(entry->kind, entry->payload);
        frontier_append(&frontier, &leaf);
    }
    const struct entry *const last = &fragment->entries[rerun->next];
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
                                   const struct proof *proof, struct rerun *rerun) {
    const struct new_view *const body = &rerun->batch.view.new_view;
    out->config = body->config;
    out->view = body->view;
    out->seq = rerun_position(rerun)->seq;
    out->seq_other = out->seq;
    out->roots[0] = body->ledger_root;
    out->blamed = (uint64_t)1 << configuration_primary(&out->configuration, body->view);
    if (proof->certificate_count != 0) {
        return blame_prepared(out, arena, proof, rerun);
    }
    return rerun->next == proof->fragment.entry_count ? PROOF_VALID : PROOF_FRAGMENT;
}

static enum proof_check blame_batch(struct proof_verdict *out, struct arena *arena,
                                    const struct proof *proof, const struct rerun *rerun) {
    const struct pre_prepare *const body = &rerun->batch.pre_prepare;
    out->config = body->config;
    out->view = body->view;
    out->seq = rerun_position(rerun)->seq + 1;
    out->seq_other = out->seq;
    out->roots[0] = body->batch_root;
    out->roots[1] = body->checkpoint_digest;
    if (rerun->next != proof->fragment.entry_count) {
        return PROOF_FRAGMENT;
    }
    return blame_signers(out, arena, proof, &rerun->batch);
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

static enum proof_check judge_rerun(struct proof_verdict *out, struct arena *arena,
                                    const struct proof *proof, struct rerun *rerun) {
    enum proof_check const check = rerun_to_broken(rerun, &out->rule, &proof->fragment);
    if (check != PROOF_VALID) {
        return check;
    }
    if (!rule_is_named(proof, rerun->step, out->rule)) {
        return PROOF_NOTHING_BROKEN;
    }
    bool const is_minimal = rerun->form.digests || state_part_is_minimal(&rerun->part);
    if (!is_minimal || rerun->era->configuration.number != out->configuration.number) {
        return PROOF_PARTS;
    }
    out->wrong_index = rerun->replay.wrong_index;
    return rerun->step == BATCH_VIEW ? blame_view(out, arena, proof, rerun)
                                     : blame_batch(out, arena, proof, rerun);
}

/*
 * A correct replica signs a batch or a new view, and prepares in it, only if it breaks no rule, and
 * what it signs fixes the ledger below it: the checker and execution, fed with that very ledger,
 * must come to the same for all.
 */
enum proof_check judge_fragment(struct proof_verdict *out, struct arena *arena,
                                const struct eras *eras, const struct proof *proof) {
    struct rerun_form form;
    if (!proof->has_fragment || proof->fragment.entry_count == 0 || proof->statement_count != 0 ||
        proof->certificate_count > 1 || proof->path_count != 0) {
        return PROOF_PARTS;
    }
    if (!rerun_form_of(&form, arena, eras, proof)) {
        return PROOF_FRAGMENT;
    }
    struct rerun *const rerun = malloc(sizeof *rerun);
    if (rerun == NULL) {
        return PROOF_MEMORY;
    }
    enum proof_check check = rerun_init(rerun, arena, eras, &form, proof);
    if (check == PROOF_VALID) {
        check = judge_rerun(out, arena, proof, rerun);
    }
    rerun_free(rerun);
    free(rerun);
    return check;
}
