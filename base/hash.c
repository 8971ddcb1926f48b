/*
 * hash: see hash.h. The label texts below are part of the protocol: changing one changes every
 * signature and digest of its kind.
 */
#include "base/hash.h"

#include <nettle/hmac.h>

#include "base/check.h"

void hash_init(struct hash_state *state) {
    sha256_init(&state->sha256);
}

void hash_update(struct hash_state *state, struct span bytes) {
    if (bytes.size != 0) {
        sha256_update(&state->sha256, bytes.size, bytes.data);
    }
}

void hash_update_u32(struct hash_state *state, uint32_t value) {
    uint8_t encoded[4];
    store_u32_be(encoded, value);
    sha256_update(&state->sha256, sizeof encoded, encoded);
}

void hash_update_u64(struct hash_state *state, uint64_t value) {
    uint8_t encoded[8];
    store_u64_be(encoded, value);
    sha256_update(&state->sha256, sizeof encoded, encoded);
}

struct digest hash_final(struct hash_state *state) {
    struct digest digest;
    sha256_digest(&state->sha256, sizeof digest.bytes, digest.bytes);
    return digest;
}

struct digest hash_bytes(struct span bytes) {
    struct hash_state state;
    hash_init(&state);
    hash_update(&state, bytes);
    return hash_final(&state);
}

struct span label_text(enum label label) {
    static const char *const texts[LABEL_COUNT] = {
        [LABEL_FOUNDING] = "onus/v1/founding",
        [LABEL_GENESIS] = "onus/v1/genesis",
        [LABEL_ENDORSEMENT] = "onus/v1/endorsement",
        [LABEL_REQUEST] = "onus/v1/request",
        [LABEL_REQUEST_ID] = "onus/v1/request-id",
        [LABEL_REQUEST_DIGEST] = "onus/v1/request-digest",
        [LABEL_OUTCOME] = "onus/v1/outcome",
        [LABEL_WRITE_SET] = "onus/v1/write-set",
        [LABEL_PRE_PREPARE] = "onus/v1/pre-prepare",
        [LABEL_BATCH] = "onus/v1/batch",
        [LABEL_PREPARE] = "onus/v1/prepare",
        [LABEL_NONCE] = "onus/v1/nonce",
        [LABEL_NONCE_SECRET] = "onus/v1/nonce-secret",
        [LABEL_CHECKPOINT] = "onus/v1/checkpoint",
        [LABEL_WINDOW] = "onus/v1/window",
        [LABEL_SERVED_RANGE] = "onus/v1/served-range",
        [LABEL_SERVED_BYTES] = "onus/v1/served-bytes",
        [LABEL_DEMAND] = "onus/v1/demand",
        [LABEL_DEMAND_REPORT] = "onus/v1/demand-report",
        [LABEL_VIEW_CHANGE] = "onus/v1/view-change",
        [LABEL_NEW_VIEW] = "onus/v1/new-view",
        [LABEL_PROPOSAL] = "onus/v1/proposal",
        [LABEL_CONSTITUTION] = "onus/v1/constitution",
        [LABEL_REPLICA_GIVEN] = "onus/v1/replica-endorsement",
        [LABEL_POSSESSION] = "onus/v1/possession",
        [LABEL_SEGMENT] = "onus/v1/segment",
        [LABEL_RECORD] = "onus/v1/record",
        [LABEL_JOURNAL] = "onus/v1/journal",
    };
    CHECK((unsigned)label < LABEL_COUNT);
    return span_text(texts[label]);
}

void hash_init_labelled(struct hash_state *state, enum label label, const struct digest *service) {
    static const uint8_t zero = 0;
    hash_init(state);
    hash_update(state, label_text(label));
    hash_update(state, span_of(&zero, 1));
    hash_update(state, span_of(service->bytes, DIGEST_SIZE));
}

struct digest hash_labelled(enum label label, const struct digest *service, struct span body) {
    struct hash_state state;
    hash_init_labelled(&state, label, service);
    hash_update(&state, body);
    return hash_final(&state);
}

struct digest hash_statement(enum label label, const struct digest *service, struct span body,
                             const struct signature *signature) {
    struct hash_state state;
    hash_init_labelled(&state, label, service);
    hash_update(&state, body);
    hash_update(&state, span_of(signature->bytes, SIGNATURE_SIZE));
    return hash_final(&state);
}

struct nonce hash_prf(enum label label, const struct digest *service,
                      const uint8_t secret[static 32], struct span body) {
    static const uint8_t zero = 0;
    struct span const text = label_text(label);
    struct hmac_sha256_ctx hmac;
    hmac_sha256_set_key(&hmac, 32, secret);
    hmac_sha256_update(&hmac, text.size, text.data);
    hmac_sha256_update(&hmac, 1, &zero);
    hmac_sha256_update(&hmac, DIGEST_SIZE, service->bytes);
    hmac_sha256_update(&hmac, body.size, body.data);
    struct nonce nonce;
    hmac_sha256_digest(&hmac, sizeof nonce.bytes, nonce.bytes);
    return nonce;
}
