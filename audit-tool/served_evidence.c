/*
 * served_evidence: see served_evidence.h.
 */
#include "audit-tool/served_evidence.h"

#include <stdlib.h>

static bool encode_and_verify(struct buffer *file, struct proof_verdict *verdict,
                              const struct proof *proof) {
    struct digest const no_service = {{0}};
    struct digest const service = hash_labelled(LABEL_GENESIS, &no_service, proof->genesis);
    return evidence_file_encode(file, proof) &&
           proof_verify(verdict, &service, buffer_span(file)) == PROOF_VALID;
}

bool served_evidence(struct buffer *file, struct proof_verdict *verdict, struct span genesis,
                     const struct signed_body *statement, struct span payload) {
    struct proof *const proof = calloc(1, sizeof *proof);
    struct proof_verdict *const own = malloc(sizeof *own);
    struct buffer encoded;
    bool proven = proof != NULL && own != NULL;
    buffer_init(&encoded, EVIDENCE_FILE_SIZE_MAX);
    if (proven) {
        proof->kind = PROOF_MALFORMED_RANGE;
        proof->genesis = genesis;
        proof->statement_count = 1;
        proof->statements[0] = *statement;
        proof->served = payload;
        proven =
            encode_and_verify(&encoded, own, proof) && buffer_append(file, buffer_span(&encoded));
    }
    if (proven && verdict != NULL) {
        *verdict = *own;
    }
    buffer_free(&encoded);
    free(proof);
    free(own);
    return proven;
}
