/*
 * pack: see pack.h. Sizes are known before anything is written, so nothing is moved afterwards.
 */
#include "ledger/pack.h"

#include "base/check.h"

#define WIRE_TYPE_PREFIXED 2u

ProtobufCBinaryData pack_span(struct span bytes) {
    /* protobuf-c's struct serves both ways and has no const; packing does not write to it. */
    return (ProtobufCBinaryData){.len = bytes.size, .data = (uint8_t *)(uintptr_t)bytes.data};
}

ProtobufCBinaryData pack_digest(const struct digest *digest) {
    return pack_span(span_of(digest->bytes, DIGEST_SIZE));
}

ProtobufCBinaryData pack_signature(const struct signature *signature) {
    return pack_span(span_of(signature->bytes, SIGNATURE_SIZE));
}

void pack_spans(ProtobufCBinaryData *items, const struct span *spans, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        items[i] = pack_span(spans[i]);
    }
}

bool pack_message(struct buffer *out, const ProtobufCMessage *message) {
    size_t const size = protobuf_c_message_get_packed_size(message);
    if (size == 0) {
        return !out->failed;
    }
    uint8_t *const place = buffer_extend(out, size);
    if (place == NULL) {
        return false;
    }
    CHECK(protobuf_c_message_pack(message, place) == size);
    return true;
}

static size_t varint_size(uint64_t value) {
    size_t size = 1;
    while (value >= 0x80) {
        value >>= 7;
        size++;
    }
    return size;
}

static bool append_varint(struct buffer *out, uint64_t value) {
    uint8_t bytes[10];
    size_t size = 0;
    while (value >= 0x80) {
        bytes[size++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    bytes[size++] = (uint8_t)value;
    return buffer_append(out, span_of(bytes, size));
}

bool pack_prefix(struct buffer *out, uint32_t field, size_t size) {
    return append_varint(out, (uint64_t)field << 3 | WIRE_TYPE_PREFIXED) &&
           append_varint(out, size);
}

size_t pack_prefix_size(uint32_t field, size_t size) {
    return varint_size((uint64_t)field << 3) + varint_size(size);
}

bool pack_element_bytes(struct buffer *out, uint32_t field, struct span bytes) {
    return pack_prefix(out, field, bytes.size) && buffer_append(out, bytes);
}

bool pack_element(struct buffer *out, uint32_t field, const ProtobufCMessage *message) {
    return pack_prefix(out, field, protobuf_c_message_get_packed_size(message)) &&
           pack_message(out, message);
}

bool pack_refuse(struct buffer *out) {
    out->failed = true;
    return false;
}
