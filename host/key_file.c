/*
 * key_file: see key_file.h. Invariant: every copy of a secret made here is wiped before return,
 * also when the file turns out not to be one.
 */
#include "host/key_file.h"

#include <sodium.h>
#include <stdio.h>

#include "base/limits.h"
#include "host/file.h"
#include "host/random.h"

#define SECRET_SIZE 32u
#define TEXT_SIZE_MAX 96u

struct magic {
    const char *line;
    const char *what; /* as a person calls it */
};

static const struct magic magic_key = {"onus-key-v1\n", "a key file"};
static const struct magic magic_secret = {"onus-secret-v1\n", "a nonce secret file"};

static_assert(PRF_SECRET_SIZE == SECRET_SIZE, "seeds and PRF secrets share one format");

/* The text after the magic must be exactly 64 digits and a newline. */
static bool parse(uint8_t secret[static SECRET_SIZE], struct span content,
                  const struct magic *magic) {
    size_t const head = strlen(magic->line);
    if (content.size != head + 2 * SECRET_SIZE + 1 ||
        memcmp(content.data, magic->line, head) != 0 || content.data[content.size - 1] != '\n') {
        return false;
    }
    char digits[2 * SECRET_SIZE + 1];
    memcpy(digits, content.data + head, 2 * SECRET_SIZE);
    digits[2 * SECRET_SIZE] = '\0';
    bool const valid = hex_decode(secret, SECRET_SIZE, digits);
    sodium_memzero(digits, sizeof digits);
    return valid;
}

static int load(uint8_t secret[static SECRET_SIZE], const char *path, const struct magic *magic,
                struct problem *problem) {
    struct buffer content;
    buffer_init(&content, KEY_FILE_SIZE_MAX);
    int result = file_read(&content, path, FILE_PRIVATE, problem);
    if (result == 0 && !parse(secret, buffer_span(&content), magic)) {
        result = problem_set(problem, EXIT_ERROR,
                             "%s: not %s (line 1 \"%.*s\", line 2 64 hexadecimal digits); "
                             "name the right file, or restore it from a copy",
                             path, magic->what, (int)strlen(magic->line) - 1, magic->line);
    }
    file_wipe(&content);
    return result;
}

static int store(const uint8_t secret[static SECRET_SIZE], const char *path,
                 const struct magic *magic, struct problem *problem) {
    uint8_t text[TEXT_SIZE_MAX];
    char digits[2 * SECRET_SIZE + 1];
    size_t const head = strlen(magic->line);
    hex_encode(digits, span_of(secret, SECRET_SIZE));
    memcpy(text, magic->line, head);
    memcpy(text + head, digits, 2 * SECRET_SIZE);
    text[head + 2 * SECRET_SIZE] = '\n';
    int const result =
        file_write(path, span_of(text, head + 2 * SECRET_SIZE + 1), 0600, FILE_KEEP, problem);
    sodium_memzero(digits, sizeof digits);
    sodium_memzero(text, sizeof text);
    return result;
}

int key_file_load(struct secret_key *secret, struct public_key *key, const char *path,
                  struct problem *problem) {
    uint8_t seed[SECRET_SIZE];
    int const result = load(seed, path, &magic_key, problem);
    if (result == 0) {
        sign_key_from_seed(secret, key, seed);
    }
    sodium_memzero(seed, sizeof seed);
    return result;
}

int key_file_generate(struct public_key *key, const char *path, struct problem *problem) {
    uint8_t seed[SECRET_SIZE];
    random_bytes(seed, sizeof seed);
    int const result = store(seed, path, &magic_key, problem);
    if (result == 0) {
        struct secret_key secret;
        sign_key_from_seed(&secret, key, seed);
        sign_key_wipe(&secret);
    }
    sodium_memzero(seed, sizeof seed);
    return result;
}

int secret_file_load(struct prf_secret *secret, const char *path, struct problem *problem) {
    return load(secret->bytes, path, &magic_secret, problem);
}

int secret_file_generate(const char *path, struct problem *problem) {
    uint8_t bytes[SECRET_SIZE];
    random_bytes(bytes, sizeof bytes);
    int const result = store(bytes, path, &magic_secret, problem);
    sodium_memzero(bytes, sizeof bytes);
    return result;
}

void prf_secret_wipe(struct prf_secret *secret) {
    sodium_memzero(secret, sizeof *secret);
}
