/*
 * primitives: what the hot path pays for hashing and signatures on this machine.
 *
 * Prints nanoseconds for one SHA-256 of 64 and of 4096 bytes by each library that the project
 * could use, and microseconds for one Ed25519 signature and check. It exists so that the choice in
 * base/hash.c can be made again elsewhere: compare figures within one run only.
 */
#include <mbedtls/sha256.h>
#include <nettle/sha2.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#define ROUNDS 200000u
#define SIGN_ROUNDS 4000u

static double now_ns(void) {
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) {
        return 0;
    }
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void hash_nettle(uint8_t out[32], const uint8_t *data, size_t size) {
    struct sha256_ctx context;
    sha256_init(&context);
    sha256_update(&context, size, data);
    sha256_digest(&context, 32, out);
}

static void hash_sodium(uint8_t out[32], const uint8_t *data, size_t size) {
    (void)crypto_hash_sha256(out, data, size);
}

static void hash_mbedtls(uint8_t out[32], const uint8_t *data, size_t size) {
    (void)mbedtls_sha256_ret(data, size, out, 0);
}

static void measure_hash(const char *name, void (*hash)(uint8_t *, const uint8_t *, size_t),
                         size_t size) {
    static uint8_t data[4096];
    uint32_t const rounds = size > 64 ? ROUNDS / 16 : ROUNDS;
    double const start = now_ns();
    for (uint32_t i = 0; i < rounds; i++) {
        hash(data, data, size); /* each round feeds the next: nothing can be left out */
    }
    printf("sha256 %-10s %5zu bytes  %8.1f ns\n", name, size, (now_ns() - start) / rounds);
}

static void measure_signatures(void) {
    uint8_t key[crypto_sign_PUBLICKEYBYTES];
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    uint8_t signature[crypto_sign_BYTES];
    uint8_t message[128] = {0};
    uint32_t bad = 0;
    if (crypto_sign_keypair(key, secret) != 0) {
        return;
    }
    double const start = now_ns();
    for (uint32_t i = 0; i < SIGN_ROUNDS; i++) {
        message[i % sizeof message]++;
        (void)crypto_sign_detached(signature, NULL, message, sizeof message, secret);
    }
    double const middle = now_ns();
    for (uint32_t i = 0; i < SIGN_ROUNDS; i++) {
        bad += crypto_sign_verify_detached(signature, message, sizeof message, key) != 0;
    }
    printf("ed25519 sign   %6.1f us\n", (middle - start) / SIGN_ROUNDS / 1000);
    printf("ed25519 verify %6.1f us  (%u failed)\n", (now_ns() - middle) / SIGN_ROUNDS / 1000, bad);
}

int main(void) {
    if (sodium_init() < 0) {
        return 1;
    }
    for (size_t size = 64; size <= 4096; size *= 64) {
        measure_hash("nettle", hash_nettle, size);
        measure_hash("libsodium", hash_sodium, size);
        measure_hash("mbedTLS", hash_mbedtls, size);
    }
    measure_signatures();
    return 0;
}
