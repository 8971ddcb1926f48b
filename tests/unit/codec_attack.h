/*
 * codec_attack: what every strict decoder must withstand, whatever it decodes; and a naive writer
 * of protobuf, independent of the one under test, to build encodings that no encoder would.
 */
#ifndef ONUS_TESTS_CODEC_ATTACK_H
#define ONUS_TESTS_CODEC_ATTACK_H

#include "ledger/codec.h"

/* Decode bytes and, when they are accepted, encode what was understood. */
typedef enum codec_result (*reencoder)(struct buffer *out, struct arena *arena, struct span bytes);

/* One for a kind that has a decoder and an encoder of its own. */
#define REENCODER(kind)                                                                            \
    static enum codec_result reencode_##kind(struct buffer *out, struct arena *arena,              \
                                             struct span bytes) {                                  \
        struct kind value;                                                                         \
        enum codec_result const result = kind##_decode(&value, arena, bytes);                      \
        if (result == CODEC_OK) {                                                                  \
            cr_assert(kind##_encode(out, &value));                                                 \
        }                                                                                          \
        return result;                                                                             \
    }

/*
 * The sample must be accepted and come out as it went in. Then every truncation, bit flip, random
 * mutation, repeated, swapped, overlong, unknown or oversized field, and every memory budget: each
 * is either refused or means exactly the bytes that went in.
 */
void attack_decoder(const char *name, reencoder reencode, struct span sample);

/* Only decode, with plenty of memory. */
enum codec_result attack_result(reencoder reencode, struct span bytes);

/* Fail unless the bytes are refused in this way. */
void expect_result(const char *name, reencoder reencode, struct span bytes,
                   enum codec_result expected);

/* ---- naive writer ---- */

void put_varint(struct buffer *out, uint64_t value);
void put_number(struct buffer *out, uint32_t field, uint64_t value);
void put_bytes(struct buffer *out, uint32_t field, struct span bytes);

/* The sample with the first occurrence of a field given another value; size 0 leaves it out. */
void with_bytes(struct buffer *out, struct span sample, uint32_t field, struct span bytes);
void with_number(struct buffer *out, struct span sample, uint32_t field, uint64_t value);

/* `size` bytes counting up from first: 1, 2, ... so that no two fields look alike. */
struct span filler(uint8_t first, size_t size);

#define FILLER_SIZE_MAX (1u << 20)

struct digest digest_of(uint8_t first);
struct public_key key_of(uint8_t first);
struct signature signature_of(uint8_t first);
struct nonce nonce_of(uint8_t first);

/* An empty buffer that holds whatever a test puts in. */
struct buffer buffer_new(void);

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

#endif
