/*
 * bytes: the fixed-size values of the protocol as struct types, and a borrowed run of bytes.
 *
 * A digest is never mistaken for a key because they are different types. A span borrows: it is
 * valid as long as what it points into. Nothing here allocates but the buffer.
 */
#ifndef ONUS_BASE_BYTES_H
#define ONUS_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MUST_USE __attribute__((warn_unused_result))

#define DIGEST_SIZE 32u
#define PUBLIC_KEY_SIZE 32u
#define SIGNATURE_SIZE 64u
#define NONCE_SIZE 32u

/* A SHA-256 digest (protocol §2). */
struct digest {
    uint8_t bytes[DIGEST_SIZE];
};

/* An Ed25519 public key: an encoded point. */
struct public_key {
    uint8_t bytes[PUBLIC_KEY_SIZE];
};

/* An Ed25519 signature: R, then S. */
struct signature {
    uint8_t bytes[SIGNATURE_SIZE];
};

/* The secret whose hash a pre-prepare or prepare carries, and which a commit reveals (§3). */
struct nonce {
    uint8_t bytes[NONCE_SIZE];
};

/* Borrowed bytes. data may be NULL only when size is 0. */
struct span {
    const uint8_t *data;
    size_t size;
};

static inline struct span span_of(const void *data, size_t size) {
    return (struct span){.data = (const uint8_t *)data, .size = size};
}

static inline struct span span_text(const char *text) {
    return span_of(text, strlen(text));
}

static inline bool span_equal(struct span a, struct span b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Lexicographic order of unsigned bytes; a prefix sorts first. Returns <0, 0, >0. */
static inline int span_compare(struct span a, struct span b) {
    size_t const common = a.size < b.size ? a.size : b.size;
    int const order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0) {
        return order;
    }
    return (a.size > b.size) - (a.size < b.size);
}

static inline bool digest_equal(const struct digest *a, const struct digest *b) {
    return memcmp(a->bytes, b->bytes, DIGEST_SIZE) == 0;
}

static inline bool public_key_equal(const struct public_key *a, const struct public_key *b) {
    return memcmp(a->bytes, b->bytes, PUBLIC_KEY_SIZE) == 0;
}

static inline void store_u32_be(uint8_t out[static 4], uint32_t value) {
    for (unsigned i = 0; i < 4; i++) {
        out[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

static inline void store_u64_be(uint8_t out[static 8], uint64_t value) {
    for (unsigned i = 0; i < 8; i++) {
        out[i] = (uint8_t)(value >> (56 - 8 * i));
    }
}

static inline uint32_t load_u32_be(const uint8_t in[static 4]) {
    uint32_t value = 0;
    for (unsigned i = 0; i < 4; i++) {
        value = value << 8 | in[i];
    }
    return value;
}

static inline uint64_t load_u64_be(const uint8_t in[static 8]) {
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++) {
        value = value << 8 | in[i];
    }
    return value;
}

/*
 * Lower-case hexadecimal of `in`, NUL-terminated.
 * Out: text: 2 * in.size + 1 characters.
 */
void hex_encode(char *text, struct span in);

/*
 * Decode exactly 2 * size hexadecimal digits (either case).
 * Returns: false when text has another length or another character; out is then unspecified.
 */
MUST_USE bool hex_decode(uint8_t *out, size_t size, const char *text);

/*
 * A growing buffer of bytes with a hard limit; the owner frees it. Once an append has failed the
 * buffer keeps refusing (`failed`), so a writer may check once at the end.
 */
struct buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t size_max;
    bool failed;
};

/* An empty buffer that will never hold more than size_max bytes. Allocates nothing yet. */
void buffer_init(struct buffer *buffer, size_t size_max);
/*
 * An empty buffer on the caller's memory, for what must not fail for want of any: it holds up to
 * `size` bytes, never allocates, and must not be freed.
 */
void buffer_init_on(struct buffer *buffer, uint8_t *memory, size_t size);
void buffer_free(struct buffer *buffer);
/* Keep the memory, forget the content and the failure. */
void buffer_clear(struct buffer *buffer);
/* Room for `size` more bytes at the end, counted as content, or NULL (limit or memory; failed). */
MUST_USE uint8_t *buffer_extend(struct buffer *buffer, size_t size);
/* Returns: false when the limit or memory is exhausted; the content is then unchanged. */
bool buffer_append(struct buffer *buffer, struct span bytes);
/* Drop `size` bytes (at most the content) from the front. */
void buffer_consume(struct buffer *buffer, size_t size);

static inline struct span buffer_span(const struct buffer *buffer) {
    return span_of(buffer->data, buffer->size);
}

#endif
