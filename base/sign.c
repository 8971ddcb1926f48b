/*
 * sign: see sign.h. The signed bytes are label, zero, service id, body. libsodium signs one run of
 * bytes, so they are laid out in one buffer: on the stack for statements, which are small.
 */
#include "base/sign.h"

#include <sodium.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/limits.h"

#define PREFIX_SIZE_MAX (32u + 1u + DIGEST_SIZE)
#define STACK_MESSAGE_SIZE (PREFIX_SIZE_MAX + SIGNED_SIZE_MAX)

static_assert(sizeof(struct secret_key) == crypto_sign_SECRETKEYBYTES, "libsodium's layout");
static_assert(sizeof(struct public_key) == crypto_sign_PUBLICKEYBYTES, "libsodium's layout");
static_assert(sizeof(struct signature) == crypto_sign_BYTES, "libsodium's layout");

static size_t message_lay_out(uint8_t *out, enum label label, const struct digest *service,
                              struct span body) {
    struct span const text = label_text(label);
    CHECK(text.size + 1 + DIGEST_SIZE <= PREFIX_SIZE_MAX);
    memcpy(out, text.data, text.size);
    out[text.size] = 0;
    memcpy(out + text.size + 1, service->bytes, DIGEST_SIZE);
    size_t const prefix_size = text.size + 1 + DIGEST_SIZE;
    if (body.size != 0) {
        memcpy(out + prefix_size, body.data, body.size);
    }
    return prefix_size + body.size;
}

void sign_key_from_seed(struct secret_key *secret, struct public_key *key,
                        const uint8_t seed[static 32]) {
    CHECK(crypto_sign_seed_keypair(key->bytes, secret->bytes, seed) == 0);
}

void sign_key_wipe(struct secret_key *secret) {
    secret_wipe(secret, sizeof *secret);
}

void secret_wipe(void *bytes, size_t size) {
    sodium_memzero(bytes, size);
}

bool public_key_valid(const struct public_key *key) {
    return crypto_core_ed25519_is_valid_point(key->bytes) == 1;
}

struct signature sign_labelled(const struct secret_key *secret, const struct public_key *key,
                               enum label label, const struct digest *service, struct span body) {
    CHECK(body.size <= SIGNED_SIZE_MAX);
    CHECK(memcmp(secret->bytes + 32, key->bytes, PUBLIC_KEY_SIZE) == 0);
    uint8_t message[STACK_MESSAGE_SIZE];
    size_t const size = message_lay_out(message, label, service, body);
    struct signature signature;
    CHECK(crypto_sign_detached(signature.bytes, NULL, message, size, secret->bytes) == 0);
    return signature;
}

bool sign_verify(const struct digest *service, const struct sign_check *check) {
    if (check->body.size > SIGNED_SIZE_MAX) {
        return false;
    }
    uint8_t message[STACK_MESSAGE_SIZE];
    size_t const size = message_lay_out(message, check->label, service, check->body);
    return crypto_sign_verify_detached(check->signature.bytes, message, size, check->key.bytes) ==
           0;
}

/*
 * Does libsodium's check imply that R is a valid point, as sign.h says? Found out once by
 * sign_init, before there are threads; until then R is looked at apart.
 */
static bool check_implies_point;

bool sign_verify_universal(const struct digest *service, const struct sign_check *check) {
    return sign_verify(service, check) &&
           (check_implies_point || crypto_core_ed25519_is_valid_point(check->signature.bytes) == 1);
}

/*
 * Signatures with an R that is no valid point, under a key that is one. Who judges by the equation
 * multiplied by the cofactor, or decodes R before comparing, takes at least one of them.
 */
static bool odd_points_refused(const struct digest *service) {
    static const char key[] = "5193d0a7c23e701d06c3646be4485220c1975e908d2369d956e64c6b67a39c44";
    static const char *const signatures[] = {
        /* R of mixed order */
        "e9b2fe981587efae6478f48ba1fa60cec6126d0e26dde72a0a24f640dcd783e5"
        "1445a2625b8cd5c0779b4d523f49ae96b9607e03e2de4fdd74f7df3ae67bff03",
        /* R the identity */
        "0100000000000000000000000000000000000000000000000000000000000000"
        "d9f36b5c4f61f5a1565dba7720dfa4dce9c06cc4ba2e5d1e1a13d623f2fc1407",
        /* R the identity, encoded as p + 1 */
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"
        "c118f2528f3dc62b3740f94f66dca1b5b5a891e7c76b4116c9d9dc9a37f3b20a",
    };
    struct sign_check check = {.label = LABEL_PREPARE, .body = span_text("onus")};
    bool all_refused = hex_decode(check.key.bytes, PUBLIC_KEY_SIZE, key);
    for (size_t i = 0; all_refused && i < sizeof signatures / sizeof signatures[0]; i++) {
        all_refused = hex_decode(check.signature.bytes, SIGNATURE_SIZE, signatures[i]) &&
                      !sign_verify(service, &check);
    }
    return all_refused;
}

/* RFC 8032 test 2's key, over our own labelled bytes, and edge cases that libraries disagree on. */
static bool self_test_holds(void) {
    static const uint8_t seed[32] = {0x4c, 0xcd, 0x08, 0x9b, 0x28, 0xff, 0x96, 0xda,
                                     0x9d, 0xb6, 0xc3, 0x46, 0xec, 0x11, 0x4e, 0x0f,
                                     0x5b, 0x8a, 0x31, 0x9f, 0x35, 0xab, 0xa6, 0x24,
                                     0xda, 0x8c, 0xf6, 0xed, 0x4f, 0xb8, 0xa6, 0xfb};
    static const struct public_key expected = {{0x3d, 0x40, 0x17, 0xc3, 0xe8, 0x43, 0x89, 0x5a,
                                                0x92, 0xb7, 0x0a, 0xa7, 0x4d, 0x1b, 0x7e, 0xbc,
                                                0x9c, 0x98, 0x2c, 0xcf, 0x2e, 0xc4, 0x96, 0x8c,
                                                0xc0, 0xcd, 0x55, 0xf1, 0x2a, 0xf4, 0x66, 0x0c}};
    static const struct digest service = {{1}};
    struct secret_key secret;
    struct public_key key;
    sign_key_from_seed(&secret, &key, seed);
    if (!public_key_equal(&key, &expected) || !public_key_valid(&key)) {
        return false;
    }
    struct sign_check check = {.key = key, .label = LABEL_PREPARE, .body = span_text("onus")};
    check.signature = sign_labelled(&secret, &key, check.label, &service, check.body);
    sign_key_wipe(&secret);
    if (!sign_verify_universal(&service, &check)) {
        return false;
    }
    check_implies_point = odd_points_refused(&service);
    check.label = LABEL_PRE_PREPARE;
    if (sign_verify(&service, &check)) {
        return false;
    }
    /* The identity and a point of order eight are no keys; nor is a non-canonical encoding. */
    struct public_key small = {{1}};
    struct public_key torsion = {{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b,
                                  0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39,
                                  0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a}};
    struct public_key overlong;
    memset(overlong.bytes, 0xff, sizeof overlong.bytes);
    return !public_key_valid(&small) && !public_key_valid(&torsion) && !public_key_valid(&overlong);
}

bool sign_init(void) {
    return sodium_init() >= 0 && self_test_holds();
}
