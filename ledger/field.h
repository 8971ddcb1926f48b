/*
 * field: one unpacked field at a time, from protobuf-c's struct to ours, with its check.
 *
 * Each function takes a result that sticks at the first failure, so that a decoder reads like the
 * message's schema and asks once at the end. An output is unspecified unless the result is
 * CODEC_OK. Spans and runs borrow from the unpacked message.
 */
#ifndef ONUS_LEDGER_FIELD_H
#define ONUS_LEDGER_FIELD_H

#include <protobuf-c/protobuf-c.h>

#include "ledger/codec.h"

/* Both ends included. */
struct bounds {
    uint64_t min;
    uint64_t max;
};

/* Views, sequence numbers, indices, sizes and times stay below 2^63: sums cannot overflow. */
#define NUMBER_MAX (UINT64_MAX >> 1)

/* The first failure stays. */
void field_fail(enum codec_result *result, enum codec_result why);
/* CODEC_RANGE unless the value lies within the bounds. */
void field_check_range(enum codec_result *result, uint64_t value, struct bounds bounds);
/* CODEC_RANGE above NUMBER_MAX. */
void field_take_number(enum codec_result *result, uint64_t *out, uint64_t in);
/* The number of a batch, or of a configuration: 1..NUMBER_MAX. */
void field_take_seq(enum codec_result *result, uint64_t *out, uint64_t in);
void field_take_u32(enum codec_result *result, uint32_t *out, uint32_t in, struct bounds bounds);

/* CODEC_LENGTH unless the field has exactly the value's size. */
void field_take_fixed(enum codec_result *result, void *out, size_t size, ProtobufCBinaryData in);
void field_take_digest(enum codec_result *result, struct digest *out, ProtobufCBinaryData in);
void field_take_key(enum codec_result *result, struct public_key *out, ProtobufCBinaryData in);
void field_take_signature(enum codec_result *result, struct signature *out, ProtobufCBinaryData in);
void field_take_nonce(enum codec_result *result, struct nonce *out, ProtobufCBinaryData in);

/* CODEC_LENGTH unless the size lies within the bounds. */
void field_take_span(enum codec_result *result, struct span *out, ProtobufCBinaryData in,
                     struct bounds size);
/* 1..NAME_SIZE_MAX characters of [a-z0-9.-]: CODEC_LENGTH, CODEC_RANGE. */
void field_take_name(enum codec_result *result, struct span *out, ProtobufCBinaryData in);
/* 1..ADDRESS_SIZE_MAX visible ASCII characters. */
void field_take_address(enum codec_result *result, struct span *out, ProtobufCBinaryData in);

/* Values concatenated: CODEC_LENGTH unless whole, CODEC_RANGE unless count is within bounds. */
void field_take_digests(enum codec_result *result, const struct digest **out, uint32_t *count,
                        ProtobufCBinaryData in, struct bounds bounds);
void field_take_signatures(enum codec_result *result, const struct signature **out, uint32_t *count,
                           ProtobufCBinaryData in, struct bounds bounds);
void field_take_nonces(enum codec_result *result, const struct nonce **out, uint32_t *count,
                       ProtobufCBinaryData in, struct bounds bounds);

/* A repeated bytes field as protobuf-c has it. */
struct elements {
    size_t count;
    const ProtobufCBinaryData *items;
};

/* Each element's size within `size`, their number within `bounds`; the array is arena's. */
void field_take_spans(enum codec_result *result, struct arena *arena, const struct span **out,
                      uint32_t *count, struct elements in, struct bounds size,
                      struct bounds bounds);

/* `count` items of `size` bytes; NULL and CODEC_SYNTAX when the arena is exhausted. */
MUST_USE void *field_alloc(enum codec_result *result, struct arena *arena, size_t count,
                           size_t size);

#endif
