/*
 * certificate: see certificate.h. Every input is hostile. The prepares are not in a certificate:
 * each is rebuilt from the pre-prepare's digest and its author's nonce, and its signature checked.
 */
#include "receipts/certificate.h"

#include "base/check.h"
#include "base/sign.h"
#include "ledger/derive.h"

const char *receipt_check_text(enum receipt_check check) {
    switch (check) {
    case RECEIPT_VALID:
        return "everything holds";
    case RECEIPT_ENCODING:
        return "it is not a receipt, or damaged";
    case RECEIPT_CERTIFICATE_ENCODING:
        return "the certificate is damaged";
    case RECEIPT_CONFIGURATION:
        return "it is of another configuration";
    case RECEIPT_SIGNERS:
        return "the signers are not a quorum with the primary";
    case RECEIPT_PRIMARY_SIGNATURE:
        return "the primary's signature does not hold";
    case RECEIPT_COMMITMENT:
        return "the primary's nonce is not the one it committed to";
    case RECEIPT_PREPARE_SIGNATURE:
        return "the signature of a backup does not hold";
    case RECEIPT_AUTHOR:
        return "the request's author is no user or member";
    case RECEIPT_REQUEST_SIGNATURE:
        return "the request's signature does not hold";
    case RECEIPT_CALL_PATH:
        return "the call is not part of the request";
    case RECEIPT_INDEX:
        return "the index does not lie in the batch";
    case RECEIPT_WINDOW:
        return "the index lies outside the request's window";
    case RECEIPT_BATCH_PATH:
        return "the transaction with this outcome is not part of the batch";
    case RECEIPT_CHECK_COUNT:
        break;
    }
    UNREACHABLE();
}

/* The body of the prepare that a backup's nonce makes, in memory that is large enough. */
static bool prepare_body(struct buffer *body, const struct configuration *configuration,
                         const struct prepared_batch *batch, uint32_t replica,
                         const struct nonce *nonce) {
    struct prepare prepare;
    prepare_rebuild(&prepare, &configuration->service, batch, replica, nonce);
    return prepare_encode(body, &prepare);
}

/* Does the signature of a backup hold under the prepare that its nonce makes? */
static bool backup_holds(const struct configuration *configuration,
                         const struct prepared_batch *batch, uint32_t replica,
                         const struct nonce *nonce, const struct signature *signature) {
    uint8_t memory[STATEMENT_SIZE_MAX];
    struct buffer body;
    buffer_init_on(&body, memory, sizeof memory);
    if (!prepare_body(&body, configuration, batch, replica, nonce)) {
        return false;
    }
    struct sign_check const check = {
        .key = configuration->replicas[replica].key,
        .signature = *signature,
        .body = buffer_span(&body),
        .label = LABEL_PREPARE,
    };
    return sign_verify_universal(&configuration->service, &check);
}

static bool primary_signed(const struct configuration *configuration, uint32_t primary,
                           const struct certificate *certificate) {
    struct sign_check const check = {
        .key = configuration->replicas[primary].key,
        .signature = certificate->pre_prepare_signature,
        .body = certificate->pre_prepare,
        .label = LABEL_PRE_PREPARE,
    };
    return sign_verify_universal(&configuration->service, &check);
}

static struct prepared_batch prepared_of(const struct verified_batch *batch) {
    return (struct prepared_batch){
        .config = batch->pre_prepare.config,
        .view = batch->pre_prepare.view,
        .seq = batch->pre_prepare.seq,
        .digest = batch->digest,
    };
}

/* Nonces and signatures, both by ascending replica; the primary has no signature here. */
static enum receipt_check signers_hold(const struct verified_batch *batch, uint32_t primary,
                                       const struct configuration *configuration,
                                       const struct certificate *certificate) {
    const struct pre_prepare *const body = &batch->pre_prepare;
    struct prepared_batch const prepared = prepared_of(batch);
    const struct nonce *nonce = certificate->nonces;
    const struct signature *signature = certificate->signatures;
    for (uint32_t replica = 0; replica < configuration->replica_count; replica++) {
        if ((certificate->signers >> replica & 1) == 0) {
            continue;
        }
        if (replica == primary) {
            struct digest const commitment = nonce_commit(&configuration->service, body->config,
                                                          primary, body->view, body->seq, nonce);
            if (!digest_equal(&commitment, &body->nonce_hash)) {
                return RECEIPT_COMMITMENT;
            }
        } else if (!backup_holds(configuration, &prepared, replica, nonce, signature++)) {
            return RECEIPT_PREPARE_SIGNATURE;
        }
        nonce++;
    }
    return RECEIPT_VALID;
}

enum receipt_check certificate_verify(struct verified_batch *out, struct arena *arena,
                                      const struct configuration *configuration,
                                      const struct certificate *certificate) {
    if (pre_prepare_decode(&out->pre_prepare, arena, certificate->pre_prepare) != CODEC_OK) {
        return RECEIPT_CERTIFICATE_ENCODING;
    }
    if (out->pre_prepare.config != configuration->number) {
        return RECEIPT_CONFIGURATION;
    }
    uint32_t const primary = configuration_primary(configuration, out->pre_prepare.view);
    if (!configuration_is_quorum(configuration, certificate->signers) ||
        (certificate->signers >> primary & 1) == 0 ||
        certificate->nonce_count != configuration->quorum ||
        certificate->signature_count != configuration->quorum - 1) {
        return RECEIPT_SIGNERS;
    }
    if (!primary_signed(configuration, primary, certificate)) {
        return RECEIPT_PRIMARY_SIGNATURE;
    }
    out->signers = certificate->signers;
    out->digest = hash_statement(LABEL_PRE_PREPARE, &configuration->service,
                                 certificate->pre_prepare, &certificate->pre_prepare_signature);
    return signers_hold(out, primary, configuration, certificate);
}

uint32_t certificate_statements(struct digest *out, const struct configuration *configuration,
                                const struct verified_batch *batch,
                                const struct certificate *certificate) {
    uint32_t const primary = configuration_primary(configuration, batch->pre_prepare.view);
    struct prepared_batch const prepared = prepared_of(batch);
    const struct nonce *nonce = certificate->nonces;
    const struct signature *signature = certificate->signatures;
    uint32_t count = 0;
    out[count++] = batch->digest;
    for (uint32_t replica = 0; replica < configuration->replica_count; replica++) {
        if ((certificate->signers >> replica & 1) == 0) {
            continue;
        }
        uint8_t memory[STATEMENT_SIZE_MAX];
        struct buffer body;
        buffer_init_on(&body, memory, sizeof memory);
        if (replica != primary && prepare_body(&body, configuration, &prepared, replica, nonce)) {
            out[count++] = hash_statement(LABEL_PREPARE, &configuration->service,
                                          buffer_span(&body), signature);
        }
        signature += replica == primary ? 0 : 1;
        nonce++;
    }
    return count;
}
