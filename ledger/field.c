/*
 * field: see field.h. Nothing here trusts a length; nothing here fails on an invariant of ours.
 */
#include "ledger/field.h"

void field_fail(enum codec_result *result, enum codec_result why) {
    if (*result == CODEC_OK) {
        *result = why;
    }
}

void field_check_range(enum codec_result *result, uint64_t value, struct bounds bounds) {
    if (value < bounds.min || value > bounds.max) {
        field_fail(result, CODEC_RANGE);
    }
}

void field_take_number(enum codec_result *result, uint64_t *out, uint64_t in) {
    field_check_range(result, in, (struct bounds){0, NUMBER_MAX});
    *out = in;
}

void field_take_seq(enum codec_result *result, uint64_t *out, uint64_t in) {
    field_check_range(result, in, (struct bounds){1, NUMBER_MAX});
    *out = in;
}

void field_take_u32(enum codec_result *result, uint32_t *out, uint32_t in, struct bounds bounds) {
    field_check_range(result, in, bounds);
    *out = in;
}

void field_take_fixed(enum codec_result *result, void *out, size_t size, ProtobufCBinaryData in) {
    if (in.len != size) {
        field_fail(result, CODEC_LENGTH);
        return;
    }
    memcpy(out, in.data, size);
}

void field_take_digest(enum codec_result *result, struct digest *out, ProtobufCBinaryData in) {
    field_take_fixed(result, out->bytes, sizeof out->bytes, in);
}

void field_take_key(enum codec_result *result, struct public_key *out, ProtobufCBinaryData in) {
    field_take_fixed(result, out->bytes, sizeof out->bytes, in);
}

void field_take_signature(enum codec_result *result, struct signature *out,
                          ProtobufCBinaryData in) {
    field_take_fixed(result, out->bytes, sizeof out->bytes, in);
}

void field_take_nonce(enum codec_result *result, struct nonce *out, ProtobufCBinaryData in) {
    field_take_fixed(result, out->bytes, sizeof out->bytes, in);
}

void field_take_span(enum codec_result *result, struct span *out, ProtobufCBinaryData in,
                     struct bounds size) {
    if (in.len < size.min || in.len > size.max) {
        field_fail(result, CODEC_LENGTH);
    }
    *out = span_of(in.data, in.len);
}

static bool name_character(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
}

void field_take_name(enum codec_result *result, struct span *out, ProtobufCBinaryData in) {
    field_take_span(result, out, in, (struct bounds){1, NAME_SIZE_MAX});
    for (size_t i = 0; *result == CODEC_OK && i < in.len; i++) {
        if (!name_character(in.data[i])) {
            field_fail(result, CODEC_RANGE);
        }
    }
}

void field_take_address(enum codec_result *result, struct span *out, ProtobufCBinaryData in) {
    field_take_span(result, out, in, (struct bounds){1, ADDRESS_SIZE_MAX});
    for (size_t i = 0; *result == CODEC_OK && i < in.len; i++) {
        field_check_range(result, in.data[i], (struct bounds){'!', '~'});
    }
}

/* How many values of `size` bytes a field holds. */
static uint32_t run_count(enum codec_result *result, size_t size, ProtobufCBinaryData in,
                          struct bounds bounds) {
    if (in.len % size != 0) {
        field_fail(result, CODEC_LENGTH);
    }
    field_check_range(result, in.len / size, bounds);
    return (uint32_t)(in.len / size);
}

/* The structs below hold bytes only, so that a run of bytes is an array of them as it stands. */
static_assert(sizeof(struct digest) == DIGEST_SIZE && _Alignof(struct digest) == 1,
              "digests lie in a run of bytes without gaps");
static_assert(sizeof(struct signature) == SIGNATURE_SIZE && _Alignof(struct signature) == 1,
              "signatures lie in a run of bytes without gaps");
static_assert(sizeof(struct nonce) == NONCE_SIZE && _Alignof(struct nonce) == 1,
              "nonces lie in a run of bytes without gaps");

void field_take_digests(enum codec_result *result, const struct digest **out, uint32_t *count,
                        ProtobufCBinaryData in, struct bounds bounds) {
    *count = run_count(result, DIGEST_SIZE, in, bounds);
    *out = (const struct digest *)in.data;
}

void field_take_signatures(enum codec_result *result, const struct signature **out, uint32_t *count,
                           ProtobufCBinaryData in, struct bounds bounds) {
    *count = run_count(result, SIGNATURE_SIZE, in, bounds);
    *out = (const struct signature *)in.data;
}

void field_take_nonces(enum codec_result *result, const struct nonce **out, uint32_t *count,
                       ProtobufCBinaryData in, struct bounds bounds) {
    *count = run_count(result, NONCE_SIZE, in, bounds);
    *out = (const struct nonce *)in.data;
}

void *field_alloc(enum codec_result *result, struct arena *arena, size_t count, size_t size) {
    void *const place = count > SIZE_MAX / size ? NULL : arena_alloc(arena, count * size);
    if (place == NULL) {
        field_fail(result, CODEC_SYNTAX);
    }
    return place;
}

void field_take_spans(enum codec_result *result, struct arena *arena, const struct span **out,
                      uint32_t *count, struct elements in, struct bounds size,
                      struct bounds bounds) {
    *out = NULL;
    *count = (uint32_t)in.count;
    field_check_range(result, in.count, bounds);
    if (*result != CODEC_OK || in.count == 0) {
        return;
    }
    struct span *const spans = field_alloc(result, arena, in.count, sizeof *spans);
    for (size_t i = 0; spans != NULL && i < in.count; i++) {
        field_take_span(result, &spans[i], in.items[i], size);
    }
    *out = spans;
}
