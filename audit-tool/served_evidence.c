/*
 * served_evidence: see served_evidence.h.
 */
#include "audit-tool/served_evidence.h"

#include <stdlib.h>

#include "governance/founding.h"
#include "ledger/codec_served.h"

static bool encode_and_verify(struct buffer *file, struct proof_verdict *verdict,
                              const struct proof *proof) {
    struct digest const no_service = {{0}};
    struct digest const service = hash_labelled(LABEL_GENESIS, &no_service, proof->genesis);
    return evidence_file_encode(file, proof) &&
           proof_verify(verdict, &service, buffer_span(file)) == PROOF_VALID;
}

/* In which configuration it was signed; 0: it does not decode. */
static uint64_t signed_config(const struct signed_body *statement) {
    struct arena arena;
    struct served served;
    arena_init(&arena, 4 * (size_t)STATEMENT_SIZE_MAX);
    bool const decodes = served_decode(&served, &arena, statement->body) == CODEC_OK;
    arena_free(&arena);
    return decodes ? served.config : 0;
}

bool served_evidence(struct buffer *file, struct proof_verdict *verdict, struct span genesis,
                     const struct eras *eras, const struct signed_body *statement,
                     struct span payload) {
    struct proof *const proof = calloc(1, sizeof *proof);
    struct proof_verdict *const own = malloc(sizeof *own);
    uint64_t const config = signed_config(statement);
    struct span *links = NULL;
    struct buffer encoded;
    bool const is_linked =
        config == FOUNDING_CONFIGURATION || (config != 0 && config <= CHAIN_LINKS_MAX &&
                                             eras != NULL && eras_links(eras, config, &links));
    bool proven = proof != NULL && own != NULL && is_linked;
    buffer_init(&encoded, EVIDENCE_FILE_SIZE_MAX);
    if (proven) {
        proof->kind = PROOF_MALFORMED_RANGE;
        proof->genesis = genesis;
        proof->links = links;
        proof->link_count = (uint32_t)(config - FOUNDING_CONFIGURATION);
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
    free(links);
    free(proof);
    free(own);
    return proven;
}
