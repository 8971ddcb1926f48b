/*
 * proof_served: proofs about what a replica handed to an auditor (protocol §10). Every byte is
 * hostile.
 *
 * A correct replica signs only for what it took from its verified ledger and judged once more with
 * this very judge (ledger/served.h), so bytes that the judge refuses are not a correct replica's.
 * Its statement binds their digest: other bytes cannot be put in their place.
 *
 * It states the constitutions that it has its number in and that it judged by. Both must be those
 * to which the chain that is given leads: whoever forked that convicts nobody who went by another
 * one.
 */
#include "audit-tool/proof_internal.h"
#include "ledger/served.h"

static bool check_universally(void *context, const struct sign_check *check, enum rule rule) {
    (void)rule;
    const struct proof_verdict *const verdict = context;
    return sign_verify_universal(&verdict->service, check);
}

static enum proof_check read_served(struct served *served, struct arena *arena,
                                    const struct eras *eras, const struct proof *proof) {
    const struct configuration *const configuration = eras_configuration(eras, eras->count);
    const struct signed_body *const statement = &proof->statements[0];
    if (served_decode(served, arena, statement->body) != CODEC_OK ||
        served->part != SERVED_ENTRIES || served->config != configuration->number ||
        served->replica >= configuration->replica_count ||
        !eras_is(eras, served->config, &served->constitution) ||
        !eras_is(eras, served->range_config, &served->range_constitution)) {
        return PROOF_STATEMENTS;
    }
    struct sign_check const check = {
        .key = configuration->replicas[served->replica].key,
        .signature = statement->signature,
        .body = statement->body,
        .label = LABEL_SERVED_RANGE,
    };
    if (!sign_verify_universal(&configuration->service, &check)) {
        return PROOF_SIGNATURE;
    }
    struct digest const digest = served_bytes_digest(&configuration->service, proof->served);
    return digest_equal(&digest, &served->digest) ? PROOF_VALID : PROOF_STATEMENTS;
}

enum proof_check judge_served(struct proof_verdict *out, struct arena *arena,
                              const struct eras *eras, const struct proof *proof) {
    struct served served;
    if (!proof_has_parts(proof, &(struct proof_parts){.statements = 1, .may_have_served = true})) {
        return PROOF_PARTS;
    }
    enum proof_check const check = read_served(&served, arena, eras, proof);
    if (check != PROOF_VALID) {
        return check;
    }
    struct sign_sink const sink = {.context = out, .check = check_universally};
    struct served_judgement const judgement = served_range_judge(
        eras_configuration(eras, served.range_config), &served, proof->served, &sink);
    if (judgement.failed) {
        return PROOF_MEMORY;
    }
    if (judgement.rule == RULE_NONE) {
        return PROOF_WELL_FORMED;
    }
    out->config = served.config;
    out->rule = judgement.rule;
    out->entry = judgement.entry;
    out->first = served.first;
    out->end = served.end;
    out->roots[0] = served.digest;
    out->blamed = (uint64_t)1 << served.replica;
    return PROOF_VALID;
}
