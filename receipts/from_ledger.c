/*
 * from_ledger: see from_ledger.h. The batches are whole (ledger/batch.h) but need not have passed
 * the checker, so nothing is taken for granted about the counts in them.
 */
#include "receipts/from_ledger.h"

#include "ledger/derive.h"

bool certificate_from_ledger(struct certificate *out, const struct signed_body *statement,
                             uint64_t seq, const struct batch *later) {
    const struct pre_prepare *const body = &later->pre_prepare;
    const struct evidence *const evidence = later->seal.evidence;
    if (evidence == NULL || evidence->batch_count != body->evidence_count) {
        return false;
    }
    for (uint32_t i = 0; i < evidence->batch_count; i++) {
        const struct batch_evidence *const batch = &evidence->batches[i];
        uint64_t const signers = body->evidence_signers[i];
        if (batch->seq != seq || batch->nonce_count == 0 ||
            (uint32_t)__builtin_popcountll(signers) != batch->nonce_count ||
            batch->signature_count != batch->nonce_count - 1) {
            continue;
        }
        *out = (struct certificate){
            .pre_prepare = statement->body,
            .pre_prepare_signature = statement->signature,
            .signers = signers,
            .signature_count = batch->signature_count,
            .signatures = batch->signatures,
            .nonce_count = batch->nonce_count,
            .nonces = batch->nonces,
        };
        return true;
    }
    return false;
}

static bool request_leaves(struct tree *tree, struct arena *arena, const struct digest *service,
                           struct span payload) {
    struct request_entry entry;
    struct request request;
    if (request_entry_decode(&entry, arena, payload) != CODEC_OK ||
        request_decode(&request, arena, service, entry.request) != CODEC_OK ||
        request.call_count != entry.outcome_count) {
        return false;
    }
    for (uint32_t i = 0; i < request.call_count; i++) {
        struct digest const outcome = hash_labelled(LABEL_OUTCOME, service, entry.outcomes[i]);
        struct digest const leaf = batch_leaf(&request.digest, i, entry.first_index + i, &outcome);
        if (!tree_append(tree, &leaf)) {
            return false;
        }
    }
    return true;
}

bool batch_tree_from_ledger(struct tree *tree, struct arena *arena, const struct digest *service,
                            const struct batch *batch) {
    tree_clear(tree);
    for (uint32_t i = 0; i < batch->request_count; i++) {
        arena_reset(arena);
        if (!request_leaves(tree, arena, service, batch_request_payload(batch, i))) {
            return false;
        }
    }
    return true;
}
