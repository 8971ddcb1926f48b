/*
 * base: bytes, hexadecimal, buffer, arena, hashing with its labels, and the accepted set of
 * Ed25519 (protocol §2): what every other room takes for granted.
 */
#include <criterion/criterion.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/problem.h"
#include "base/sign.h"

static void expect_hex(struct span bytes, const char *expected) {
    char text[2 * 64 + 1];
    cr_assert_leq(bytes.size, 64u);
    hex_encode(text, bytes);
    cr_expect_str_eq(text, expected);
}

/* ---- bytes ---- */

Test(base, hex_round_trip_and_refusals) {
    uint8_t bytes[4];
    cr_assert(hex_decode(bytes, 4, "00fFA91b"));
    expect_hex(span_of(bytes, 4), "00ffa91b");
    expect_hex(span_of(NULL, 0), "");
    cr_expect(!hex_decode(bytes, 4, "00ffa91"));
    cr_expect(!hex_decode(bytes, 4, "00ffa91b0"));
    cr_expect(!hex_decode(bytes, 4, "00ffa91b00"));
    cr_expect(!hex_decode(bytes, 4, "00ffa9g0"));
    cr_expect(!hex_decode(bytes, 4, "00ffa9 0"));
    cr_expect(!hex_decode(bytes, 4, ""));
    cr_expect(hex_decode(bytes, 0, ""));
}

Test(base, spans_compare_as_unsigned_bytes) {
    static const uint8_t high[] = {0x80};
    static const uint8_t low[] = {0x7f, 0xff};
    cr_expect_gt(span_compare(span_of(high, 1), span_of(low, 2)), 0);
    cr_expect_lt(span_compare(span_of(low, 1), span_of(low, 2)), 0);
    cr_expect_gt(span_compare(span_of(low, 2), span_of(low, 1)), 0);
    cr_expect_eq(span_compare(span_of(low, 2), span_of(low, 2)), 0);
    cr_expect_lt(span_compare(span_of(NULL, 0), span_of(low, 1)), 0);
    cr_expect(span_equal(span_of(NULL, 0), span_text("")));
    cr_expect(!span_equal(span_text("ab"), span_text("abc")));
    cr_expect(!span_equal(span_text("abd"), span_text("abc")));
}

Test(base, integers_are_big_endian) {
    uint8_t bytes[8];
    store_u64_be(bytes, UINT64_C(0x0123456789abcdef));
    expect_hex(span_of(bytes, 8), "0123456789abcdef");
    cr_expect_eq(load_u64_be(bytes), UINT64_C(0x0123456789abcdef));
    store_u32_be(bytes, UINT32_C(0xfedcba98));
    expect_hex(span_of(bytes, 4), "fedcba98");
    cr_expect_eq(load_u32_be(bytes), UINT32_C(0xfedcba98));
    memset(bytes, 0xff, sizeof bytes);
    cr_expect_eq(load_u64_be(bytes), UINT64_MAX);
    cr_expect_eq(load_u32_be(bytes), UINT32_MAX);
}

Test(base, buffer_keeps_its_limit) {
    struct buffer buffer;
    buffer_init(&buffer, 1000);
    for (unsigned i = 0; i < 100; i++) {
        cr_assert(buffer_append(&buffer, span_text("0123456789")));
    }
    cr_expect_eq(buffer.size, 1000u);
    cr_expect(buffer_append(&buffer, span_of(NULL, 0)));
    cr_expect(!buffer_append(&buffer, span_text("x")));
    cr_expect(!buffer_append(&buffer, span_of(NULL, 0)), "a failed buffer stays failed");
    cr_expect_null(buffer_extend(&buffer, 0));
    cr_expect_eq(buffer.size, 1000u);
    buffer_clear(&buffer);
    cr_expect_eq(buffer.size, 0u);
    cr_expect(!buffer_append(&buffer, span_of(buffer.data, 1001)));
    buffer_clear(&buffer);
    cr_expect(buffer_append(&buffer, span_text("abcdef")));
    buffer_consume(&buffer, 0);
    buffer_consume(&buffer, 4);
    cr_expect(span_equal(buffer_span(&buffer), span_text("ef")));
    buffer_consume(&buffer, 2);
    cr_expect_eq(buffer.size, 0u);
    uint8_t *const place = buffer_extend(&buffer, 3);
    cr_assert_not_null(place);
    memcpy(place, "xyz", 3);
    cr_expect(span_equal(buffer_span(&buffer), span_text("xyz")));
    buffer_free(&buffer);
    cr_expect(buffer_append(&buffer, span_text("again")), "a freed buffer may be used again");
    buffer_free(&buffer);
}

Test(base, buffer_refuses_sizes_that_wrap) {
    struct buffer buffer;
    buffer_init(&buffer, SIZE_MAX);
    cr_assert(buffer_append(&buffer, span_text("abc")));
    cr_expect_null(buffer_extend(&buffer, SIZE_MAX - 1));
    cr_expect_eq(buffer.size, 3u);
    buffer_free(&buffer);
}

/* ---- arena ---- */

Test(base, arena_is_aligned_and_within_budget) {
    struct arena arena;
    arena_init(&arena, 64u << 10);
    uint8_t *last = NULL;
    size_t count = 0;
    for (;;) {
        uint8_t *const place = arena_alloc(&arena, 100);
        if (place == NULL) {
            break;
        }
        cr_assert_eq((uintptr_t)place % 16, 0u);
        cr_assert(place != last);
        memset(place, (int)(count & 255), 100);
        last = place;
        count++;
    }
    cr_expect_eq(count, (64u << 10) / 112, "each takes 100 bytes rounded up to 112");
    cr_expect_null(arena_alloc(&arena, SIZE_MAX));
    cr_expect_null(arena_alloc(&arena, SIZE_MAX - 8));
    arena_reset(&arena);
    cr_expect_eq(arena.used, 0u);
    cr_expect_not_null(arena_alloc(&arena, 64u << 10));
    cr_expect_null(arena_alloc(&arena, 1));
    arena_reset(&arena);
    struct span const copy = arena_copy(&arena, span_text("kept"));
    cr_expect(span_equal(copy, span_text("kept")));
    cr_expect_null(arena_copy(&arena, span_of(copy.data, (64u << 10) + 1)).data);
    cr_expect_null(arena_copy(&arena, span_of(NULL, 0)).data);
    arena_free(&arena);
    arena_free(&arena);
}

Test(base, arena_without_budget_gives_nothing) {
    struct arena arena;
    arena_init(&arena, 0);
    cr_expect_null(arena_alloc(&arena, 1));
    arena_free(&arena);
}

/* ---- problem ---- */

Test(base, the_first_problem_stays) {
    struct problem problem = {0};
    cr_expect_eq(problem_set(&problem, EXIT_CORRUPT, "file %s", "a"), -1);
    cr_expect_eq(problem_set(&problem, EXIT_ERROR, "file %s", "b"), -1);
    cr_expect_eq(problem.code, EXIT_CORRUPT);
    cr_expect_str_eq(problem.text, "file a");
    char large[2 * PROBLEM_TEXT_SIZE];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    struct problem cut = {0};
    cr_expect_eq(problem_set(&cut, EXIT_ERROR, "%s", large), -1);
    cr_expect_eq(strlen(cut.text), PROBLEM_TEXT_SIZE - 1u);
}

/* ---- hash ---- */

Test(base, sha256_known_answers) {
    static const struct {
        const char *text;
        const char *digest;
    } vectors[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmno"
         "ijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        struct digest const digest = hash_bytes(span_text(vectors[i].text));
        expect_hex(span_of(digest.bytes, DIGEST_SIZE), vectors[i].digest);
    }
    struct hash_state state;
    hash_init(&state);
    for (unsigned i = 0; i < 10000; i++) {
        static const char run[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        hash_update(&state, span_text(run));
    }
    struct digest const million = hash_final(&state);
    expect_hex(span_of(million.bytes, DIGEST_SIZE),
               "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

Test(base, hash_state_may_be_forked) {
    struct hash_state state;
    hash_init(&state);
    hash_update(&state, span_text("a"));
    struct hash_state fork = state;
    hash_update(&fork, span_text("x"));
    hash_update(&state, span_text("bc"));
    struct digest const digest = hash_final(&state);
    struct digest const expected = hash_bytes(span_text("abc"));
    cr_expect(digest_equal(&digest, &expected));
    struct hash_state numbers;
    hash_init(&numbers);
    hash_update_u32(&numbers, UINT32_C(0x61626364));
    hash_update_u64(&numbers, UINT64_C(0x65666768696a6b6c));
    struct digest const of_numbers = hash_final(&numbers);
    struct digest const of_text = hash_bytes(span_text("abcdefghijkl"));
    cr_expect(digest_equal(&of_numbers, &of_text));
}

Test(base, labels_are_distinct_and_bind_the_service) {
    struct digest digests[LABEL_COUNT];
    struct digest service = {{7}};
    for (unsigned i = 0; i < LABEL_COUNT; i++) {
        struct span const text = label_text((enum label)i);
        cr_assert_gt(text.size, strlen("onus/v1/"));
        cr_assert_eq(memcmp(text.data, "onus/v1/", 8), 0);
        digests[i] = hash_labelled((enum label)i, &service, span_text("body"));
        for (unsigned j = 0; j < i; j++) {
            cr_assert(!digest_equal(&digests[i], &digests[j]));
        }
        service.bytes[31] ^= 1;
        struct digest const other = hash_labelled((enum label)i, &service, span_text("body"));
        service.bytes[31] ^= 1;
        cr_assert(!digest_equal(&digests[i], &other));
    }
    /* By hand: the label, a zero byte, the service id, the body. */
    struct hash_state state;
    hash_init(&state);
    hash_update(&state, span_of("onus/v1/prepare", sizeof "onus/v1/prepare"));
    hash_update(&state, span_of(service.bytes, DIGEST_SIZE));
    hash_update(&state, span_text("body"));
    struct digest const by_hand = hash_final(&state);
    cr_expect(digest_equal(&by_hand, &digests[LABEL_PREPARE]));
}

Test(base, statement_digest_covers_the_signature) {
    struct digest const service = {{7}};
    struct signature signature = {{9}};
    struct digest const one = hash_statement(LABEL_PREPARE, &service, span_text("b"), &signature);
    signature.bytes[63] ^= 1;
    struct digest const two = hash_statement(LABEL_PREPARE, &service, span_text("b"), &signature);
    cr_expect(!digest_equal(&one, &two));
}

Test(base, prf_depends_on_everything) {
    struct digest const service = {{1}};
    struct digest const other_service = {{2}};
    uint8_t secret[32] = {3};
    struct nonce const one = hash_prf(LABEL_NONCE_SECRET, &service, secret, span_text("a"));
    struct nonce const again = hash_prf(LABEL_NONCE_SECRET, &service, secret, span_text("a"));
    struct nonce const body = hash_prf(LABEL_NONCE_SECRET, &service, secret, span_text("b"));
    struct nonce const label = hash_prf(LABEL_NONCE, &service, secret, span_text("a"));
    struct nonce const bound = hash_prf(LABEL_NONCE_SECRET, &other_service, secret, span_text("a"));
    secret[31] ^= 1;
    struct nonce const keyed = hash_prf(LABEL_NONCE_SECRET, &service, secret, span_text("a"));
    cr_expect_arr_eq(one.bytes, again.bytes, NONCE_SIZE);
    cr_expect_arr_neq(one.bytes, body.bytes, NONCE_SIZE);
    cr_expect_arr_neq(one.bytes, label.bytes, NONCE_SIZE);
    cr_expect_arr_neq(one.bytes, bound.bytes, NONCE_SIZE);
    cr_expect_arr_neq(one.bytes, keyed.bytes, NONCE_SIZE);
}

/* ---- sign ---- */

static struct public_key key_of(const char *text) {
    struct public_key key;
    cr_assert(hex_decode(key.bytes, PUBLIC_KEY_SIZE, text));
    return key;
}

Test(base, ed25519_keys_of_rfc_8032) {
    static const struct {
        const char *seed;
        const char *key;
    } vectors[] = {
        {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
         "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"},
        {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
         "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"},
        {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
         "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"},
        {"f5e5767cf153319517630f226876b86c8160cc583bc013744c6bf255f5cc0ee5",
         "278117fc144c72340f67d0f2316e8386ceffbf2b2428c9c51fef7c597f1d426e"},
        {"833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
         "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf"},
    };
    cr_assert(sign_init());
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        uint8_t seed[32];
        cr_assert(hex_decode(seed, sizeof seed, vectors[i].seed));
        struct secret_key secret;
        struct public_key key;
        sign_key_from_seed(&secret, &key, seed);
        expect_hex(span_of(key.bytes, PUBLIC_KEY_SIZE), vectors[i].key);
        cr_expect(public_key_valid(&key));
        sign_key_wipe(&secret);
        static const struct secret_key wiped;
        cr_expect_arr_eq(secret.bytes, wiped.bytes, sizeof wiped.bytes);
    }
}

Test(base, keys_outside_the_prime_order_group_are_refused) {
    static const char *const refused[] = {
        /* the eight points of small order */
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        /* other encodings of them: y + p, or a sign bit on x = 0 */
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        /* not canonical, or not on the curve */
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "0200000000000000000000000000000000000000000000000000000000000000",
        /* a point of prime order plus a point of order 8, 4 and 2 */
        "aca3144d07d64f898f04d11821bf05e3d8f6b3d9753711a679855df29d57a683",
        "e553430c170566cbd0a7d52a929b2f473fe70c8938598f066f9e9c64986ffc4c",
        "9c6c2f583dc18fe2f93c9b941bb7addf3e68a16f72dc9626a919b394985c63bb",
    };
    cr_assert(sign_init());
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct public_key const key = key_of(refused[i]);
        cr_expect(!public_key_valid(&key), "%s", refused[i]);
    }
}

/*
 * Signatures over label prepare, service id 01 00.., body "onus", made with known scalars. Those
 * under the mixed key satisfy libsodium's equation, and libraries disagree about them: the key is
 * refused.
 */
Test(base, signatures_outside_the_accepted_set_are_refused) {
    static const char mixed[] = "aca3144d07d64f898f04d11821bf05e3d8f6b3d9753711a679855df29d57a683";
    static const char clean[] = "5193d0a7c23e701d06c3646be4485220c1975e908d2369d956e64c6b67a39c44";
    static const struct {
        const char *why;
        const char *key;
        const char *signature;
        bool holds;
        bool universal;
    } vectors[] = {
        {"a good one", clean,
         "b862409fb5c4c4123df2abf7462b88f041ad36dd6864ce872fd5472be363c5b1"
         "0d93d00ca977ab5512839c65308e8b2d8c1470622c2c4680fde758284c703e02",
         true, true},
        {"S + L", clean,
         "b862409fb5c4c4123df2abf7462b88f041ad36dd6864ce872fd5472be363c5b1"
         "fa66c669c3dabdade81f94080f886a428c1470622c2c4680fde758284c703e12",
         false, false},
        {"R of mixed order, holds only when multiplied by the cofactor", clean,
         "e9b2fe981587efae6478f48ba1fa60cec6126d0e26dde72a0a24f640dcd783e5"
         "1445a2625b8cd5c0779b4d523f49ae96b9607e03e2de4fdd74f7df3ae67bff03",
         false, false},
        {"R the identity", clean,
         "0100000000000000000000000000000000000000000000000000000000000000"
         "d9f36b5c4f61f5a1565dba7720dfa4dce9c06cc4ba2e5d1e1a13d623f2fc1407",
         false, false},
        {"R the identity, encoded as p + 1", clean,
         "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"
         "c118f2528f3dc62b3740f94f66dca1b5b5a891e7c76b4116c9d9dc9a37f3b20a",
         false, false},
        {"key of mixed order, R of prime order", mixed,
         "801f40eaaee1ef8723279a28b2cf4037b889dad222604678748b53ed0db0db92"
         "84741ada86c657dfc60ddb0e5c17ba0d32f9d1ec8e2deaf34172d114d60bd904",
         true, false},
        {"key and R of mixed order", mixed,
         "2d1498eb2b2924e8775127208e45be4ff2a1779dfd0ce4a1d081a0eb47ec6d79"
         "28824418ba6427ba2fb62692532ca014a715463b1460db09d91dd68ba006f80c",
         true, false},
    };
    static const struct digest service = {{1}};
    cr_assert(sign_init());
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        struct sign_check check = {
            .key = key_of(vectors[i].key), .label = LABEL_PREPARE, .body = span_text("onus")};
        cr_assert(hex_decode(check.signature.bytes, SIGNATURE_SIZE, vectors[i].signature));
        cr_expect_eq(sign_verify(&service, &check), vectors[i].holds, "%s", vectors[i].why);
        /* The accepted set begins with the key: nobody admits a mixed one. */
        bool const admitted = public_key_valid(&check.key);
        cr_expect_eq(admitted && sign_verify_universal(&service, &check), vectors[i].universal,
                     "%s", vectors[i].why);
        /* R is a valid point, whether the verifier had to look at it or not. */
        struct public_key r;
        memcpy(r.bytes, check.signature.bytes, sizeof r.bytes);
        cr_expect_eq(admitted && sign_verify_universal(&service, &check),
                     admitted && sign_verify(&service, &check) && public_key_valid(&r), "%s",
                     vectors[i].why);
    }
}

Test(base, signature_binds_label_service_body_and_key) {
    static const uint8_t seed[32] = {5};
    static const uint8_t other_seed[32] = {6};
    static const struct digest service = {{1}};
    static const struct digest other_service = {{2}};
    cr_assert(sign_init());
    struct secret_key secret;
    struct secret_key other_secret;
    struct public_key key;
    struct public_key other_key;
    sign_key_from_seed(&secret, &key, seed);
    sign_key_from_seed(&other_secret, &other_key, other_seed);
    struct sign_check const good = {
        .key = key,
        .label = LABEL_PREPARE,
        .body = span_text("body"),
        .signature = sign_labelled(&secret, &key, LABEL_PREPARE, &service, span_text("body")),
    };
    cr_expect(sign_verify(&service, &good));
    cr_expect(sign_verify_universal(&service, &good));
    cr_expect(!sign_verify(&other_service, &good));
    struct sign_check bad = good;
    bad.label = LABEL_PRE_PREPARE;
    cr_expect(!sign_verify(&service, &bad));
    bad = good;
    bad.body = span_text("bodY");
    cr_expect(!sign_verify(&service, &bad));
    bad.body = span_text("bod");
    cr_expect(!sign_verify(&service, &bad));
    bad = good;
    bad.key = other_key;
    cr_expect(!sign_verify(&service, &bad));
    for (unsigned bit = 0; bit < 8 * SIGNATURE_SIZE; bit++) {
        bad = good;
        bad.signature.bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        cr_assert(!sign_verify(&service, &bad), "bit %u", bit);
        cr_assert(!sign_verify_universal(&service, &bad), "bit %u", bit);
    }
}

Test(base, bodies_over_the_limit_are_refused) {
    static const uint8_t seed[32] = {5};
    static const struct digest service = {{1}};
    static uint8_t body[REQUEST_SIZE_MAX + 1];
    cr_assert(sign_init());
    struct secret_key secret;
    struct public_key key;
    sign_key_from_seed(&secret, &key, seed);
    struct sign_check check = {.key = key, .label = LABEL_REQUEST};
    check.body = span_of(body, STATEMENT_SIZE_MAX);
    check.signature = sign_labelled(&secret, &key, check.label, &service, check.body);
    cr_expect(sign_verify(&service, &check));
    check.body = span_of(body, STATEMENT_SIZE_MAX + 1);
    cr_expect(!sign_verify(&service, &check));
    check.body = span_of(body, sizeof body);
    cr_expect(!sign_verify_universal(&service, &check));
}
