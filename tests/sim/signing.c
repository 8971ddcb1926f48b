/*
 * signing: see signing.h. A cheap signature is a salt of 32 bytes and SHA-256 over key, salt,
 * label, service and body. The salt is zero unless somebody wants another signature.
 */
#include "tests/sim/signing.h"

#include "base/check.h"
#include "base/limits.h"

static bool is_cheap;

void signing_use_cheap(bool cheap) {
    is_cheap = cheap;
}

bool signing_is_cheap(void) {
    return is_cheap;
}

static void cheap_sign(struct signature *signature, const struct public_key *key, enum label label,
                       const struct digest *service, struct span body) {
    struct hash_state state;
    hash_init(&state);
    hash_update(&state, span_of(key->bytes, PUBLIC_KEY_SIZE));
    hash_update(&state, span_of(signature->bytes, DIGEST_SIZE));
    hash_update_u32(&state, (uint32_t)label);
    hash_update(&state, span_of(service->bytes, DIGEST_SIZE));
    hash_update(&state, body);
    struct digest const digest = hash_final(&state);
    memcpy(signature->bytes + DIGEST_SIZE, digest.bytes, DIGEST_SIZE);
}

static bool cheap_holds(const struct digest *service, const struct sign_check *check) {
    struct signature expected = check->signature;
    cheap_sign(&expected, &check->key, check->label, service, check->body);
    return memcmp(expected.bytes, check->signature.bytes, SIGNATURE_SIZE) == 0;
}

bool signing_vary(struct signature *signature, const struct public_key *key, enum label label,
                  const struct digest *service, struct span body, uint8_t variant) {
    if (!is_cheap) {
        return false;
    }
    memset(signature->bytes, variant, DIGEST_SIZE);
    cheap_sign(signature, key, label, service, body);
    return true;
}

bool signing_check_named(const struct digest *service, const char *name,
                         const struct public_key *key, struct span body,
                         const struct signature *signature) {
    struct sign_check check = {.key = *key, .signature = *signature, .body = body};
    for (enum label label = LABEL_FOUNDING; label < LABEL_COUNT; label++) {
        struct span const text = label_text(label);
        if (text.size > 8 && span_equal(span_of(text.data + 8, text.size - 8), span_text(name))) {
            check.label = label;
            return cheap_holds(service, &check);
        }
    }
    return false;
}

struct signature __wrap_sign_labelled(const struct secret_key *secret, const struct public_key *key,
                                      enum label label, const struct digest *service,
                                      struct span body) {
    struct signature signature = {{0}};
    if (!is_cheap) {
        return __real_sign_labelled(secret, key, label, service, body);
    }
    CHECK(body.size <= (label == LABEL_VIEW_CHANGE ? VIEW_CHANGE_SIZE_MAX : STATEMENT_SIZE_MAX));
    CHECK(memcmp(secret->bytes + 32, key->bytes, PUBLIC_KEY_SIZE) == 0);
    cheap_sign(&signature, key, label, service, body);
    return signature;
}

bool __wrap_sign_verify(const struct digest *service, const struct sign_check *check) {
    return is_cheap ? cheap_holds(service, check) : __real_sign_verify(service, check);
}

bool __wrap_sign_verify_universal(const struct digest *service, const struct sign_check *check) {
    return is_cheap ? cheap_holds(service, check) : __real_sign_verify_universal(service, check);
}
