/*
 * proof_view: proofs about changes of view (protocol §6, §10). Every byte is hostile. Both kinds
 * rest on a certificate with nonces: a nonce is revealed only after its batch, and a certificate
 * that ranks as high, can no longer be forgotten. A prepare alone says nothing of the sort, since
 * a replica may lose it in a crash.
 */
#include "audit-tool/claims.h"
#include "audit-tool/proof_internal.h"
#include "ledger/derive.h"
#include "merkle/tree.h"

static bool check_universally(void *context, const struct sign_check *check, enum rule rule) {
    (void)rule;
    const struct proof_verdict *const verdict = context;
    return sign_verify_universal(&verdict->service, check);
}

/* ---- a view-change that states less than its author revealed ---- */

/* The rank that a view-change states, whatever it is worth. Returns: false: it does not decode. */
static bool rank_stated(struct rank *rank, struct arena *arena, const struct view_change *in) {
    struct pre_prepare body;
    *rank = (struct rank){0};
    if (in->chain_count == 0) {
        return true;
    }
    if (pre_prepare_decode(&body, arena, in->chain[in->chain_count - 1].pre_prepare.body) !=
        CODEC_OK) {
        return false;
    }
    *rank = (struct rank){.view = body.view, .seq = body.seq};
    return true;
}

/* One signed view-change: who asks for which view, and what it states. */
struct stated_facts {
    uint32_t replica;
    uint64_t view;
    struct rank rank;
};

static enum proof_check read_view_change(struct stated_facts *facts, struct arena *arena,
                                         const struct configuration *configuration,
                                         const struct signed_body *statement) {
    struct view_change view_change;
    if (view_change_decode(&view_change, arena, statement->body) != CODEC_OK ||
        view_change.config != configuration->number ||
        view_change.replica >= configuration->replica_count ||
        !rank_stated(&facts->rank, arena, &view_change)) {
        return PROOF_STATEMENTS;
    }
    struct sign_check const check = {
        .key = configuration->replicas[view_change.replica].key,
        .signature = statement->signature,
        .body = statement->body,
        .label = LABEL_VIEW_CHANGE,
    };
    facts->replica = view_change.replica;
    facts->view = view_change.view;
    return sign_verify_universal(&configuration->service, &check) ? PROOF_VALID : PROOF_SIGNATURE;
}

/*
 * Whoever revealed a nonce for a batch of view v holds a certificate of rank (v, s) or higher, and
 * one for all that v took over; it never loses either, and it asks for a later view only after the
 * last nonce below that. So each of its view-changes for a later view states that rank at least.
 * A proof holds one certificate against view-changes for one view, in ascending order of authors.
 */
enum proof_check judge_understated(struct proof_verdict *out, struct arena *arena,
                                   const struct proof *proof) {
    struct verified_batch batch;
    struct certificate certificate;
    struct stated_facts facts;
    struct proof_parts const parts = {.statements = proof->statement_count, .certificates = 1};
    if (proof->statement_count == 0 || !proof_has_parts(proof, &parts)) {
        return PROOF_PARTS;
    }
    if (!proof_certificate(out, &batch, &certificate, arena, proof, 0)) {
        return PROOF_CERTIFICATE;
    }
    struct rank const revealed = batch_rank(&batch.pre_prepare);
    for (uint32_t i = 0; i < proof->statement_count; i++) {
        enum proof_check const check =
            read_view_change(&facts, arena, &out->configuration, &proof->statements[i]);
        if (check != PROOF_VALID) {
            return check;
        }
        if (i != 0 && (facts.view != out->view_asked || out->blamed >> facts.replica != 0)) {
            return PROOF_STATEMENTS;
        }
        if ((batch.signers >> facts.replica & 1) == 0 || revealed.view >= facts.view ||
            rank_compare(facts.rank, revealed) >= 0) {
            return PROOF_NO_CONFLICT;
        }
        out->view_asked = facts.view;
        out->stated = rank_compare(facts.rank, out->stated) > 0 ? facts.rank : out->stated;
        out->blamed |= (uint64_t)1 << facts.replica;
    }
    out->config = batch.pre_prepare.config;
    out->view = batch.pre_prepare.view;
    out->seq = batch.pre_prepare.seq;
    out->seq_other = out->seq;
    out->roots[0] = batch.pre_prepare.batch_root;
    return PROOF_VALID;
}

/* ---- one view, two ledgers ---- */

/* A batch that was prepared, at least. */
struct prepared_facts {
    const struct pre_prepare *body;
    struct digest digest;
    uint64_t signers;
};

/* The second batch comes with a certificate, or as what a view-change shows. */
static enum proof_check read_second(struct prepared_facts *facts, struct proof_verdict *out,
                                    struct verified_batch *batch, struct view_claim *claim,
                                    struct arena *arena, const struct proof *proof) {
    const struct configuration *const configuration = &out->configuration;
    struct certificate certificate;
    if (proof->certificate_count == 2) {
        *facts = (struct prepared_facts){.body = &batch->pre_prepare};
        if (!proof_certificate(out, batch, &certificate, arena, proof, 1)) {
            return PROOF_CERTIFICATE;
        }
        facts->digest = batch->digest;
        facts->signers = batch->signers;
        return PROOF_VALID;
    }
    struct sign_sink const sink = {.context = out, .check = check_universally};
    if (view_change_judge(claim, arena, configuration, &proof->statements[0], &sink) != RULE_NONE ||
        claim->view_change.chain_count == 0) {
        return PROOF_STATEMENTS;
    }
    uint32_t const last = claim->view_change.chain_count - 1;
    facts->body = &claim->batches[last];
    facts->digest = claim->batch_digests[last];
    facts->signers = claim->view_change.signers |
                     (uint64_t)1 << configuration_primary(configuration, facts->body->view);
    return PROOF_VALID;
}

/* Does the ledger below `later` hold something else where the first batch stands? */
static bool is_replaced(const struct certificate *first, const struct pre_prepare *body,
                        const struct pre_prepare *later, const struct proof *proof) {
    struct buffer encoded;
    struct digest root;
    struct signed_body const statement = {.body = first->pre_prepare,
                                          .signature = first->pre_prepare_signature};
    buffer_init(&encoded, STATEMENT_SIZE_MAX + 256u);
    bool replaced = false;
    if (proof->path_count != 0 && signed_encode(&encoded, &statement)) {
        struct digest const leaf = ledger_leaf(ENTRY_PRE_PREPARE, buffer_span(&encoded));
        replaced =
            !digest_equal(&leaf, &proof->path[0]) &&
            merkle_root_from_path(&root, &proof->path[0], body->ledger_leaves, later->ledger_leaves,
                                  proof->path + 1, proof->path_count - 1) &&
            digest_equal(&root, &later->ledger_root);
    }
    buffer_free(&encoded);
    return replaced;
}

/*
 * A correct replica extends one chain in each view. After the nonce for the first batch it holds
 * that batch for good, so that all it prepares behind it in this view has it in its ledger. Of the
 * second batch the prepares are enough, and it must not be the earlier one.
 */
enum proof_check judge_forked_view(struct proof_verdict *out, struct arena *arena,
                                   const struct proof *proof) {
    struct proof_parts const two = {.certificates = 2, .may_have_path = true};
    struct proof_parts const shown = {.statements = 1, .certificates = 1, .may_have_path = true};
    struct verified_batch batches[2];
    struct certificate certificate;
    struct view_claim claim;
    struct prepared_facts later;
    if (!proof_has_parts(proof, &two) && !proof_has_parts(proof, &shown)) {
        return PROOF_PARTS;
    }
    if (!proof_certificate(out, &batches[0], &certificate, arena, proof, 0)) {
        return PROOF_CERTIFICATE;
    }
    enum proof_check const check = read_second(&later, out, &batches[1], &claim, arena, proof);
    if (check != PROOF_VALID) {
        return check;
    }
    const struct pre_prepare *const first = &batches[0].pre_prepare;
    if (first->view != later.body->view || first->seq > later.body->seq) {
        return PROOF_NO_CONFLICT;
    }
    bool const differs = first->seq == later.body->seq
                             ? !digest_equal(&batches[0].digest, &later.digest)
                             : !batch_extends(&out->configuration, first, later.body);
    /* One contradiction, one proof: a path is there only when nothing simpler shows it. */
    if (proof->path_count != 0 && differs) {
        return PROOF_PARTS;
    }
    if (!differs && !is_replaced(&certificate, first, later.body, proof)) {
        return PROOF_NO_CONFLICT;
    }
    out->config = first->config;
    out->view = first->view;
    out->seq_other = first->seq;
    out->seq = later.body->seq;
    out->roots[0] = first->batch_root;
    out->roots[1] = later.body->batch_root;
    out->blamed = batches[0].signers & later.signers;
    return PROOF_VALID;
}
