/*
 * proof_internal: what the files of the verifier share; not for others. proof.c judges statements
 * and certificates, proof_fragment.c runs a piece of a ledger again, proof_view.c judges changes of
 * view, proof_served.c what a replica handed over.
 */
#ifndef ONUS_AUDIT_TOOL_PROOF_INTERNAL_H
#define ONUS_AUDIT_TOOL_PROOF_INTERNAL_H

#include "audit-tool/proof.h"

/* Which parts a proof must have, and no others. */
struct proof_parts {
    uint32_t statements;
    uint32_t certificates;
    bool has_rule;
    bool has_fragment;
    bool may_have_path;
    bool may_have_served;
};

bool proof_has_parts(const struct proof *proof, const struct proof_parts *parts);

/* The nth certificate, decoded and verified; why not is in out->certificate. */
MUST_USE bool proof_certificate(struct proof_verdict *out, struct verified_batch *batch,
                                struct certificate *certificate, struct arena *arena,
                                const struct proof *proof, uint32_t nth);

/* A batch, or a new view, that breaks a rule. */
enum proof_check judge_fragment(struct proof_verdict *out, struct arena *arena,
                                const struct eras *eras, const struct proof *proof);

enum proof_check judge_understated(struct proof_verdict *out, struct arena *arena,
                                   const struct proof *proof);
enum proof_check judge_forked_view(struct proof_verdict *out, struct arena *arena,
                                   const struct proof *proof);

/* What a replica signed for, and is no range of a ledger. */
enum proof_check judge_served(struct proof_verdict *out, struct arena *arena,
                              const struct eras *eras, const struct proof *proof);

/* Within one view a correct replica signs the batches of one chain: can b extend a? */
bool batch_extends(const struct configuration *configuration, const struct pre_prepare *a,
                   const struct pre_prepare *b);

#endif
